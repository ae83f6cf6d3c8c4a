/* bidiagonal.c: least squares by Golub and Kahan's bidiagonalisation. Letters: Paige and Saunders, ACM Trans Math Softw 8:43 (1982). */
#include "kray/solve.h"
#include <math.h>

static double normalise(kr_array *a)
{
    double n = kr_norm(a);
    if (n > 0)
        kr_scale(a, (float)(1 / n));
    return n;
}

int kr_lsqr(const kr_linop *A, kr_array *x, const kr_array *y, double damp, kr_stop stop, const kr_trace *trace)
{
    kr_scoped(array) u = kr_array_copy(y);
    kr_scoped(array) Av = kr_array_like(y);
    kr_scoped(array) v = kr_array_new(x->type, kr_linop_domain(A));
    kr_scoped(array) w = kr_array_like(x);
    kr_scoped(array) Au = kr_array_like(x);
    if (!u || !Av || !v || !w || !Au)
        return kr_error_code();
    kr_fill(x, 0);
    double beta = normalise(u);
    kr_apply_adj(A, v, u);
    double alpha = normalise(v), phi = beta, rho = alpha, first = alpha * beta;
    if (!isfinite(first))
        return kr_fail(KR_ENUMBER, "lsqr: the data hold numbers that are not finite");
    kr_array_assign(w, v);
    int k = 0;
    while (k < stop.iterations && alpha * beta > 0) {
        if (kr_stopped(trace))
            return kr_error_code();
        kr_apply(A, Av, v);
        kr_xpay(u, (float)-alpha, Av);                               /* u = A v - alpha u    */
        beta = normalise(u);
        kr_apply_adj(A, Au, u);
        kr_xpay(v, (float)-beta, Au);
        alpha = normalise(v);
        double damped = hypot(rho, damp), kept = phi * rho / damped, r = hypot(damped, beta), c = damped / r, s = beta / r;      /* two rotations: damp, then beta */
        double theta = s * alpha, step = c * kept / r;
        rho = -c * alpha;
        phi = s * kept;
        kr_axpy(x, (float)step, w);
        kr_xpay(w, (float)(-theta / r), v);                          /* w = v - theta / r w  */
        k++;
        kr_progress(trace, "lsqr", k, stop.iterations);
        if (!isfinite(step))
            return kr_fail(KR_ENUMBER, "lsqr: numbers are no longer finite after %d iterations", k);
        if (fabs(phi * alpha * c) <= stop.tolerance * first)         /* |A^H r| */
            break;
    }
    return k;
}
