/* diffusion.c: the schedule and the conjugate gradients of decomposed diffusion sampling. */
#include "kray/diffusion.h"
#include <complex.h>
#include <math.h>

void kr_diffusion_alpha(double alpha[KR_DIFFUSION_TIMES + 1])
{
    alpha[0] = 1;
    for (int t = 0; t < KR_DIFFUSION_TIMES; t++)
        alpha[t + 1] = alpha[t] * (1 - (1e-4 + (0.02 - 1e-4) * t / (KR_DIFFUSION_TIMES - 1)));
}

/* a^T b or a^H b. */
static double complex dot(const kr_array *a, const kr_array *b, bool plain)
{
    long n = kr_count(kr_array_shape(a));
    double re = 0, im = 0;
    for (long i = 0; i < n; i++) {
        if (a->type == KR_R32) {
            re += (double)KR_R(a)[i] * (double)KR_R(b)[i];
            continue;
        }
        kr_cfloat z = plain ? kr_cmul(KR_C(a)[i], KR_C(b)[i]) : kr_cmulc(KR_C(a)[i], KR_C(b)[i]);
        re += (double)kr_re(z);
        im += (double)kr_im(z);
    }
    return re + im * I;
}

/* y = b y + a x */
static void combine(kr_array *y, double complex b, double complex a, const kr_array *x)
{
    kr_cfloat p = kr_c((float)creal(a), (float)cimag(a)), q = kr_c((float)creal(b), (float)cimag(b));
    for (long i = 0, n = kr_count(kr_array_shape(y)); i < n; i++)
        if (y->type == KR_R32)
            KR_R(y)[i] = kr_re(q) * KR_R(y)[i] + kr_re(p) * KR_R(x)[i];
        else
            KR_C(y)[i] = kr_cmul(q, KR_C(y)[i]) + kr_cmul(p, KR_C(x)[i]);
}

static void normal(kr_array *z, const kr_linop *N, const kr_array *x, double gamma)
{
    kr_apply(N, z, x);
    if (gamma > 0)
        combine(z, gamma, 1, x);
}

int kr_diffusion_cg(kr_array *x, const kr_linop *N, const kr_array *b, double gamma, int iterations, double least, bool as_coded)
{
    kr_scoped(array) r = kr_array_copy(b);
    kr_scoped(array) q = kr_array_like(b);
    if (!r || !q)
        return kr_error_code();
    normal(q, N, x, gamma);
    combine(r, 1, -1, q);
    kr_scoped(array) p = kr_array_copy(r);
    if (!p)
        return kr_error_code();
    double complex rr = dot(r, r, as_coded);
    int k = 0;
    for (; k < iterations && sqrt(cabs(rr)) > 0; ) {
        normal(q, N, p, gamma);
        double complex a = rr / dot(p, q, as_coded);
        combine(x, 1, a, p);
        combine(r, 1, -a, q);
        double complex next = dot(r, r, as_coded);
        if (!isfinite(cabs(next)))
            return kr_fail(KR_ENUMBER, "data consistency led to numbers that are not finite");
        k++;
        if (sqrt(cabs(next)) < least)
            break;
        combine(p, next / rr, 1, r);
        rr = next;
    }
    return k;
}
