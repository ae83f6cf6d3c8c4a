/* ridgekern.c: see ridgekern.h. Loops that the compiler turns into vectors. */
#include "ridgekern.h"
#define KR_LOOSE
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

/* By the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016. */
static void tile_in(float *points, long step, const float *const *rows, long n)
{
    for (long i = 0; i < n; i += VL) {
        vf d0 = get(rows[0] + i), d1 = get(rows[1] + i), d2 = get(rows[2] + i), d3 = get(rows[3] + i), d4 = get(rows[4] + i), d5 = get(rows[5] + i), d6 = get(rows[6] + i), d7 = get(rows[7] + i);
        vf a = d2 + d6 - 4.25f * d4, b = d1 + d5 - 4.25f * d3, e = d6 - 1.25f * d4 + 0.25f * d2, f = 2.f * d5 - 2.5f * d3 + 0.5f * d1, g = d6 - 5.f * d4 + 4.f * d2, h = 0.5f * d5 - 2.5f * d3 + 2.f * d1;
        float *to = points + i;
        put(to, d0 - d6 + 5.25f * (d4 - d2));
        put(to + step, a + b);
        put(to + 2 * step, a - b);
        put(to + 3 * step, e + f);
        put(to + 4 * step, e - f);
        put(to + 5 * step, g + h);
        put(to + 6 * step, g - h);
        put(to + 7 * step, d7 - d1 + 5.25f * (d3 - d5));
    }
}

static void tile_out(float *const *rows, const float *restrict points, long step, long n)
{
    float *restrict y0 = rows[0], *restrict y1 = rows[1], *restrict y2 = rows[2], *restrict y3 = rows[3];
    for (long i = 0; i < n; i++) {
        const float *m = points + i;
        float s = m[step] + m[2 * step], d = m[step] - m[2 * step], t = m[3 * step] + m[4 * step], e = m[3 * step] - m[4 * step], u = m[5 * step] + m[6 * step], f = m[5 * step] - m[6 * step];
        y0[i] = m[0] + s + t + u;
        y1[i] = d + 2 * e + 0.5f * f;
        y2[i] = s + 4 * t + 0.25f * u;
        y3[i] = d + 8 * e + 0.125f * f + m[7 * step];
    }
}

const ridge_kern NAME(KR_LEVEL) = { shrink, turn, correlate, tile_in, tile_out };
