/* reg_lowrank_sparse.c: x = L + S: lambda (sqrt(points / frames) |L|_* + |F S|_1): a series of a few images changing in strength, and what is sparse in frequency. */
#include "reg.h"
#include <math.h>

static int add(reg_problem *q, const reg_at *at)
{
    enum { SPACE = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) };
    enum kr_type type = at->type;
    kr_shape n = at->n;
    double points = (double)kr_count(kr_shape_only(n, SPACE)), frames = (double)kr_count(at->m->series);
    kr_prox *g[2] = { kr_prox_lowrank(type, n, at->lambda * sqrt(points / frames)), kr_prox_spectrum(type, n, at->frames, at->lambda) };
    q->g[0] = kr_prox_parts(g, 2);
    kr_linop *sum = reg_times(type, 1, n, reg_chans(n, 2)), *turned = kr_adjoint(kr_linop_ref(sum));
    q->N = kr_mul(turned, kr_mul(q->N, sum));
    q->bound *= 2;
    q->terms = 1;
    return q->g[0] && q->N ? 0 : kr_error_code();
}

const reg_kind reg_lowrank_sparse = { .name = "lowrank-sparse", .summary = "series: low rank plus sparse in x-f", .cite = "Otazo et al., Magn Reson Med 73:1125 (2015)",
    .series = true, .alone = true, .sum = true, .images = 10, .add = add };
