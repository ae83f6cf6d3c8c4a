/* ridgekern.c: see ridgekern.h. Loops that the compiler turns into vectors. */
#include "ridgekern.h"
#define KR_VL 16
#include "vector.h"
#include <math.h>

#define JOIN(a, b) a##b
#define NAME(level) JOIN(ridge_kern_, level)

static const float tiny = 1e-20f;

static void shrink(float *restrict re, float *restrict im, long n, float s, const ridge_profile *p)
{
    const float *restrict a = p->a, *restrict d = p->d;
    float per = 1 / p->step, last = (float)p->count;
    if (!im) {
        for (long i = 0; i < n; i++) {
            float t = s * fabsf(re[i]) + tiny, place = t * per;
            int j = (int)(place < last ? place : last);
            re[i] *= d[j] + a[j] / t;
        }
        return;
    }
    for (long i = 0; i < n; i++) {
        float t = s * sqrtf(re[i] * re[i] + im[i] * im[i]) + tiny, place = t * per;
        int j = (int)(place < last ? place : last);
        float g = d[j] + a[j] / t;
        re[i] *= g;
        im[i] *= g;
    }
}

static void turn(float *restrict vre, float *restrict vim, const float *restrict re, const float *restrict im, long n, float s, const ridge_profile *p)
{
    const float *restrict a = p->a, *restrict d = p->d;
    float per = 1 / p->step, last = (float)p->count;
    for (long i = 0; i < n; i++) {
        float m2 = re[i] * re[i] + im[i] * im[i] + tiny, t = s * sqrtf(m2), place = t * per;
        int j = (int)(place < last ? place : last);
        float g = d[j] + a[j] / t, along = (d[j] - g) * (re[i] * vre[i] + im[i] * vim[i]) / m2;
        vre[i] = g * vre[i] + along * re[i];
        vim[i] = g * vim[i] + along * im[i];
    }
}

/* K sums at once stay in registers. */
#define CORRELATE(K)                                                                                                        \
static void correlate_##K(double *sum, const float *d, const float *from, long rows, long columns, long row)                \
{                                                                                                                           \
    vf all[K] = { { 0 } };                                                                                                  \
    float rest[K] = { 0 };                                                                                                  \
    for (long y = 0; y < rows; y++, d += row, from += row) {                                                                \
        long x = 0;                                                                                                         \
        for (; x + VL <= columns; x += VL) {                                                                                \
            vf at = get(d + x);                                                                                             \
            _Pragma("GCC unroll 8") for (int i = 0; i < K; i++)                                                             \
                all[i] += at * get(from + x + i);                                                                           \
        }                                                                                                                   \
        for (; x < columns; x++)                                                                                            \
            for (int i = 0; i < K; i++)                                                                                     \
                rest[i] += d[x] * from[x + i];                                                                              \
    }                                                                                                                       \
    for (int i = 0; i < K; i++) {                                                                                           \
        double s = (double)rest[i];                                                                                         \
        for (int k = 0; k < VL; k++)                                                                                        \
            s += (double)all[i][k];                                                                                         \
        sum[i] += s;                                                                                                        \
    }                                                                                                                       \
}
CORRELATE(1)
CORRELATE(3)
CORRELATE(5)

static void correlate(double *sum, const float *d, const float *from, long rows, long columns, long row, long k)
{
    for (; k >= 5; k -= 5, sum += 5, from += 5)
        correlate_5(sum, d, from, rows, columns, row);
    for (; k >= 3; k -= 3, sum += 3, from += 3)
        correlate_3(sum, d, from, rows, columns, row);
    for (; k > 0; k--, sum++, from++)
        correlate_1(sum, d, from, rows, columns, row);
}

const ridge_kern NAME(KR_LEVEL) = { shrink, turn, correlate };
