/* reg_tgv.c: total generalised variation of second order: unknowns x and v, one component an axis: lambda (|D x - v|_1 + 2 |E v|_1). */
#include "reg.h"

static int add(reg_problem *q, const reg_at *at)
{
    unsigned axes = at->space;
    kr_shape n = at->n;
    long dims = 0;
    for (int d = 0; d < 3; d++)
        dims += axes >> d & 1;
    kr_shape v = reg_chans(n, dims);
    enum kr_type type = at->type;
    kr_linop *D = kr_op_diff(type, n, axes), *E = kr_op_symdiff(type, n, axes);
    q->K[0] = kr_adjoint(kr_stack(kr_adjoint(D), reg_times(type, -1, v, v), KR_CHAN));                  /* [D, -1] */
    q->K[1] = kr_mul(E, kr_adjoint(kr_stack(reg_times(type, 0, n, v), kr_op_identity(type, v), KR_CHAN)));    /* [0, E]  */
    q->g[0] = kr_prox_l1(type, v, at->lambda);
    q->g[1] = kr_prox_l1(type, reg_chans(n, dims * (dims + 1) / 2), 2 * at->lambda);
    kr_linop *first = kr_adjoint(kr_stack(kr_op_identity(type, n), reg_times(type, 0, v, n), KR_CHAN));       /* x of (x, v) */
    kr_linop *turned = kr_adjoint(kr_linop_ref(first));
    q->N = kr_mul(turned, kr_mul(q->N, kr_linop_ref(first)));
    q->image = first;
    q->terms = 2;
    return q->K[0] && q->K[1] && q->g[0] && q->g[1] && q->N && q->image ? 0 : kr_error_code();
}

const reg_kind reg_tgv = { .name = "tgv", .summary = "total generalised variation of second order", .cite = "Knoll et al., Magn Reson Med 65:480 (2011)", .alone = true, .images = 3, .each = 27, .add = add };
