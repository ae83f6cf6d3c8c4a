/* lsqr.c: least squares of X-ray projections by bidiagonalisation. */
#include "projected.h"
#include <math.h>

typedef struct opts { long iterations; double damp; } opts;
static const kr_opt table[] = {
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "20", "N", "iterations at most" },
    { "damp", 0, KR_OPT_REAL, offsetof(opts, damp), "0", "D", "adds |D x|^2, D relative to the norm of the line integrals" },
    KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    if (!(o->damp >= 0) || !isfinite(o->damp))
        return kr_fail(KR_EREFUSED, "--damp %g: 0 or more is wanted", o->damp);
    int done = kr_lsqr(m->A, x, m->part->data, o->damp * sqrt(m->bound), (kr_stop){ (int)o->iterations, 0 }, trace);
    return done < 0 ? done : 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_iterate(out, scan, solve, ((const opts *)options)->iterations, options, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    return projected_plan(cost, scan, (double)((const opts *)options)->iterations, 2);
}

const kr_recon kr_recon_lsqr = { "lsqr", "least squares of X-ray projections by bidiagonalisation; few iterations, or --damp, regularise",
    "Paige and Saunders, ACM Trans Math Softw 8:43 (1982)", KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(opts), run, plan };
