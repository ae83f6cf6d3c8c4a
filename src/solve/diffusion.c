/* diffusion.c: the schedule and the conjugate gradients of decomposed diffusion sampling. */
#include "kray/diffusion.h"
#include <math.h>

void kr_diffusion_alpha(double alpha[KR_DIFFUSION_TIMES + 1])
{
    alpha[0] = 1;
    for (int t = 0; t < KR_DIFFUSION_TIMES; t++)
        alpha[t + 1] = alpha[t] * (1 - (1e-4 + (0.02 - 1e-4) * t / (KR_DIFFUSION_TIMES - 1)));
}

typedef struct number { double re, im; } number;
static number over(number a, number b)
{
    double d = b.re * b.re + b.im * b.im;
    return (number){ (a.re * b.re + a.im * b.im) / d, (a.im * b.re - a.re * b.im) / d };
}
static double size(number a) { return hypot(a.re, a.im); }
static const number one = { 1, 0 };

/* a^T b or a^H b. */
static number dot(const kr_array *a, const kr_array *b, bool plain)
{
    number sum = { 0, 0 };
    for (long i = 0, n = kr_count(kr_array_shape(a)); i < n; i++) {
        if (a->type == KR_R32) {
            sum.re += (double)KR_R(a)[i] * (double)KR_R(b)[i];
            continue;
        }
        kr_cfloat z = plain ? kr_cmul(KR_C(a)[i], KR_C(b)[i]) : kr_cmulc(KR_C(a)[i], KR_C(b)[i]);
        sum.re += (double)kr_re(z);
        sum.im += (double)kr_im(z);
    }
    return sum;
}

/* y = b y + a x */
static void combine(kr_array *y, number b, number a, const kr_array *x)
{
    kr_cfloat p = kr_c((float)a.re, (float)a.im), q = kr_c((float)b.re, (float)b.im);
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
        combine(z, (number){ gamma, 0 }, one, x);
}

int kr_diffusion_cg(kr_array *x, const kr_linop *N, const kr_array *b, double gamma, int iterations, double least, bool as_coded)
{
    kr_scoped(array) r = kr_array_copy(b);
    kr_scoped(array) q = kr_array_like(b);
    if (!r || !q)
        return kr_error_code();
    normal(q, N, x, gamma);
    combine(r, one, (number){ -1, 0 }, q);
    kr_scoped(array) p = kr_array_copy(r);
    if (!p)
        return kr_error_code();
    number rr = dot(r, r, as_coded);
    int k = 0;
    for (; k < iterations && size(rr) > 0; ) {
        normal(q, N, p, gamma);
        number a = over(rr, dot(p, q, as_coded));
        combine(x, one, a, p);
        combine(r, one, (number){ -a.re, -a.im }, q);
        number next = dot(r, r, as_coded);
        if (!isfinite(size(next)))
            return kr_fail(KR_ENUMBER, "data consistency led to numbers that are not finite");
        k++;
        if (sqrt(size(next)) < least)
            break;
        combine(p, over(next, rr), one, r);
        rr = next;
    }
    return k;
}
