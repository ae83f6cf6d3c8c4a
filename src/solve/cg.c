/* cg.c: conjugate gradients for the normal equations. */
#include "kray/solve.h"
#include <math.h>

/* (N + lambda) x = r, which is used up, N the product `apply` with A. Letters: Hestenes and Stiefel 1952. */
static int solve(void (*apply)(const kr_linop *, kr_array *, const kr_array *), const kr_linop *A, kr_array *x, kr_array *r, float lambda, kr_stop stop, const kr_trace *trace)
{
    kr_scoped(array) p = kr_array_like(r);
    kr_scoped(array) Np = kr_array_like(r);
    if (!p || !Np)
        return kr_error_code();
    double start = kr_dot_re(r, r), rr;
    if (kr_dot_re(x, x) > 0) {
        apply(A, Np, x);
        kr_axpy(Np, lambda, x);
        kr_axpy(r, -1, Np);                                          /* r = b - N x         */
    }
    kr_array_assign(p, r);
    rr = kr_dot_re(r, r);
    if (!isfinite(rr))
        return kr_fail(KR_ENUMBER, "conjugate gradients: the data hold numbers that are not finite");
    double enough = stop.tolerance * stop.tolerance * start;
    int k = 0;
    for (; k < stop.iterations && rr > enough && rr > 0; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        apply(A, Np, p);                                   /* N p + lambda p */
        kr_axpy(Np, lambda, p);
        double pNp = kr_dot_re(p, Np);
        if (!isfinite(pNp))
            return kr_fail(KR_ENUMBER, "conjugate gradients: numbers are no longer finite after %d iterations", k);
        if (pNp <= 0)
            break;                                                   /* p is in the null space: nothing more to gain */
        double alpha = rr / pNp;
        kr_axpy(x, (float)alpha, p);                                 /* x = x + alpha p     */
        kr_axpy(r, (float)-alpha, Np);                               /* r = r - alpha N p   */
        double rr1 = kr_dot_re(r, r);
        kr_xpay(p, (float)(rr1 / rr), r);                            /* p = r + beta p      */
        rr = rr1;
    }
    return k;
}

int kr_cg_normal(const kr_linop *N, kr_array *x, const kr_array *b, float lambda, kr_stop stop, const kr_trace *trace)
{
    kr_scoped(array) r = kr_array_copy(b);
    return r ? solve(kr_apply, N, x, r, lambda, stop, trace) : kr_error_code();
}

int kr_cg(const kr_linop *A, kr_array *x, const kr_array *y, float lambda, kr_stop stop, const kr_trace *trace)
{
    kr_scoped(array) b = kr_array_new(x->type, kr_linop_domain(A));
    if (!b)
        return kr_error_code();
    kr_apply_adj(A, b, y);                                           /* b = A^H y           */
    return solve(kr_apply_normal, A, x, b, lambda, stop, trace);
}
