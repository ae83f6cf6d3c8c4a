/* vexp.h: e^x of a vector of floats, to about 1e-7 of it, for |x| <= 80: 2^n of the nearest whole n, times a polynomial of what is left. To be included behind
 * vector.h. Private to the kernels of src/nn. */
#ifndef KRAY_VEXP_H
#define KRAY_VEXP_H
INLINE vf exp_within_80(vf x)
{
    const float magic = 12582912.f;                      /* 1.5 * 2^23: adding it rounds to a whole number */
    vf t = x * 1.44269504088896341f + magic, n = t - magic;
    vf f = x - n * 0.693145751953125f - n * 1.42860682030941723e-6f;
    vf p = f * (1.f / 720) + 1.f / 120;
    p = p * f + 1.f / 24;
    p = p * f + 1.f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.f;
    p = p * f + 1.f;
    return (vf)((vi)p + (((vi)t) << 23));
}
#endif
