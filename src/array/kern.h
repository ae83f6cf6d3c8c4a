/* kern.h: the loops over plain numbers, built once per CPU level and chosen at start. Private to this folder. */
#ifndef KRAY_KERN_H
#define KRAY_KERN_H
#include "kray/array.h"

typedef struct kr_kern {
    const char *level;
    void (*axpy)(float *y, float a, const float *x, long n);            /* y = y + a x */
    void (*xpay)(float *y, float a, const float *x, long n);            /* y = x + a y */
    void (*scale)(float *y, float a, long n);
    double (*dot)(const float *x, const float *y, long n);              /* sum x y, in double */
    void (*cdot)(const float *x, const float *y, long n, double out[2]); /* n complex pairs, sum conj(x) y */
    void (*cmul_add)(float *z, const float *x, const float *y, long n); /* z += x y, complex */
    void (*cmulc_add)(float *z, const float *x, const float *y, long n);/* z += x conj(y) */
    void (*rmul_add)(float *z, const float *x, const float *y, long n); /* z += x y, x complex, y real */
} kr_kern;
extern const kr_kern kr_kern_base, kr_kern_v3, kr_kern_v4;
const kr_kern *kr_kern_best(void);      /* KR_CPU=base|v3|v4 forces one */
#endif
