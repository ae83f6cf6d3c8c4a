/* wavekern.c: one step of a wavelet transform of sixteen lines or of a row, built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#include "wavekern.h"
#include "vector.h"
#include <math.h>

typedef float near __attribute__((vector_size(4 * VL), aligned(4), may_alias));      /* at any address of a float */
INLINE vf get_near(const float *p) { return (vf)*(const near *)(const void *)p; }
INLINE void put_near(float *p, vf a) { *(near *)(void *)p = (near)a; }

/* The usual orders with their number of taps known to the compiler. */
#define BY_TAPS(f, ...) \
    do { \
        switch (taps) { \
        case 2: f(__VA_ARGS__, 2, half); break; \
        case 4: f(__VA_ARGS__, 4, half); break; \
        case 8: f(__VA_ARGS__, 8, half); break; \
        default: f(__VA_ARGS__, taps, half); \
        } \
    } while (0)

INLINE void panel_down(float *low, float *high, long apart, const float *in, const float *h, const float *g, int taps, long half)
{
    for (long k = 0; k < half; k++)
        for (int i = 0; i < KR_ROW; i += VL) {
            const float *x = in + 2 * k * KR_ROW + i;
            vf a = h[0] * get(x), b = g[0] * get(x);
            for (int j = 1; j < taps; j++) {
                vf v = get(x + j * KR_ROW);
                a += h[j] * v;
                b += g[j] * v;
            }
            put_near(low + k * apart + i, a);
            put_near(high + k * apart + i, b);
        }
}

INLINE void panel_up(float *out, long apart, const float *low, const float *high, const float *h, const float *g, int taps, long half)
{
    for (long k = 0; k < half; k++)
        for (int i = 0; i < KR_ROW; i += VL) {
            vf even = { 0 }, odd = { 0 };
            for (int m = 0; m < taps / 2; m++) {
                vf l = get(low + (k - m) * KR_ROW + i), u = get(high + (k - m) * KR_ROW + i);
                even += h[2 * m] * l + g[2 * m] * u;
                odd += h[2 * m + 1] * l + g[2 * m + 1] * u;
            }
            put_near(out + 2 * k * apart + i, even);
            put_near(out + (2 * k + 1) * apart + i, odd);
        }
}

INLINE void row_down(float *low, float *high, const float *even, const float *odd, const float *h, const float *g, int taps, long half)
{
    for (long k = 0; k < half; k += VL) {
        vf a = { 0 }, b = { 0 };
        for (int m = 0; m < taps / 2; m++) {
            vf e = get_near(even + k + m), o = get_near(odd + k + m);
            a += h[2 * m] * e + h[2 * m + 1] * o;
            b += g[2 * m] * e + g[2 * m + 1] * o;
        }
        put_near(low + k, a);
        put_near(high + k, b);
    }
}

INLINE void row_up(float *even, float *odd, const float *low, const float *high, const float *h, const float *g, int taps, long half)
{
    for (long k = 0; k < half; k += VL) {
        vf e = { 0 }, o = { 0 };
        for (int m = 0; m < taps / 2; m++) {
            vf l = get_near(low + k - m), u = get_near(high + k - m);
            e += h[2 * m] * l + g[2 * m] * u;
            o += h[2 * m + 1] * l + g[2 * m + 1] * u;
        }
        put_near(even + k, e);
        put_near(odd + k, o);
    }
}

static void analyse(float *low, float *high, long apart, const float *in, const float *h, const float *g, int taps, long half)
{
    BY_TAPS(panel_down, low, high, apart, in, h, g);
}

static void synthesise(float *out, long apart, const float *low, const float *high, const float *h, const float *g, int taps, long half)
{
    BY_TAPS(panel_up, out, apart, low, high, h, g);
}

static void analyse_row(float *low, float *high, const float *even, const float *odd, const float *h, const float *g, int taps, long half)
{
    BY_TAPS(row_down, low, high, even, odd, h, g);
}

static void synthesise_row(float *even, float *odd, const float *low, const float *high, const float *h, const float *g, int taps, long half)
{
    BY_TAPS(row_up, even, odd, low, high, h, g);
}

static void apart(float *restrict a, float *restrict b, const float *restrict x, long n)
{
    for (long k = 0; k < n; k++) {
        a[k] = x[2 * k];
        b[k] = x[2 * k + 1];
    }
}

static void together(float *restrict x, const float *restrict a, const float *restrict b, long n)
{
    for (long k = 0; k < n; k++) {
        x[2 * k] = a[k];
        x[2 * k + 1] = b[k];
    }
}

static void collect(float *restrict z, const float *restrict a, const float *restrict b, float factor, bool more, long n)
{
    if (!b)
        for (long k = 0; k < n; k++)
            z[k] = (more ? z[k] : 0) + factor * a[k];
    else if (more)
        for (long k = 0; k < n; k++) {
            z[2 * k] += factor * a[k];
            z[2 * k + 1] += factor * b[k];
        }
    else
        for (long k = 0; k < n; k++) {
            z[2 * k] = factor * a[k];
            z[2 * k + 1] = factor * b[k];
        }
}

static void shrink(float *v, long part, long parts, long next, long count, float t, long n)
{
    enum { RUN = 256 };
    float f[RUN];
    for (long from = 0; from < n; from += RUN) {
        long run = n - from < RUN ? n - from : RUN;
        for (long c = 0; c < count * parts; c++) {
            const float *restrict a = v + c / parts * next + c % parts * part + from;
            if (c == 0)
                for (long i = 0; i < run; i++)
                    f[i] = a[i] * a[i];
            else
                for (long i = 0; i < run; i++)
                    f[i] += a[i] * a[i];
        }
        for (long i = 0; i < run; i++)
            f[i] = f[i] > t * t ? 1 - t / sqrtf(f[i]) : 0;
        for (long c = 0; c < count * parts; c++) {
            float *restrict a = v + c / parts * next + c % parts * part + from;
            for (long i = 0; i < run; i++)
                a[i] *= f[i];
        }
    }
}

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_wavekern_, level)
const kr_wavekern NAME(KR_LEVEL) = { analyse, synthesise, analyse_row, synthesise_row, apart, together, collect, shrink };
