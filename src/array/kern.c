/* kern.c: plain loops that the compiler turns into vectors; built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#include "kern.h"

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_kern_, level)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static void axpy(float *restrict y, float a, const float *restrict x, long n)
{
    for (long i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void xpay(float *restrict y, float a, const float *restrict x, long n)
{
    for (long i = 0; i < n; i++)
        y[i] = x[i] + a * y[i];
}

static void scale(float *y, float a, long n)
{
    for (long i = 0; i < n; i++)
        y[i] *= a;
}

/* Eight partial sums in a fixed order: what a vector register would keep, the same at every level. */
static double dot(const float *x, const float *y, long n)
{
    double s[8] = { 0 };
    long i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += (double)x[i + k] * (double)y[i + k];
    for (; i < n; i++)
        s[i & 7] += (double)x[i] * (double)y[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static void cdot(const float *x, const float *y, long n, double out[2])
{
    double re[4] = { 0 }, im[4] = { 0 };
    for (long i = 0; i < n; i++) {
        double a = x[2 * i], b = x[2 * i + 1], c = y[2 * i], d = y[2 * i + 1];
        re[i & 3] += a * c + b * d;
        im[i & 3] += a * d - b * c;
    }
    out[0] = (re[0] + re[1]) + (re[2] + re[3]);
    out[1] = (im[0] + im[1]) + (im[2] + im[3]);
}

static void cmul_add(float *restrict z, const float *restrict x, const float *restrict y, long n)
{
    for (long i = 0; i < n; i++) {
        float a = x[2 * i], b = x[2 * i + 1], c = y[2 * i], d = y[2 * i + 1];
        z[2 * i] += a * c - b * d;
        z[2 * i + 1] += a * d + b * c;
    }
}

static void cmulc_add(float *restrict z, const float *restrict x, const float *restrict y, long n)
{
    for (long i = 0; i < n; i++) {
        float a = x[2 * i], b = x[2 * i + 1], c = y[2 * i], d = y[2 * i + 1];
        z[2 * i] += a * c + b * d;
        z[2 * i + 1] += b * c - a * d;
    }
}

static void rmul_add(float *restrict z, const float *restrict x, const float *restrict y, long n)
{
    for (long i = 0; i < n; i++) {
        z[2 * i] += x[2 * i] * y[i];
        z[2 * i + 1] += x[2 * i + 1] * y[i];
    }
}

const kr_kern NAME(KR_LEVEL) = { TEXT(KR_LEVEL), axpy, xpay, scale, dot, cdot, cmul_add, cmulc_add, rmul_add };
