/* backkern.c: sums of outer products of 16 inputs and 16 outputs over the pixels of some rows; as many inputs at a time as leave
 * their sums in registers; and what an instance norm passes back. Built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#define KR_LOOSE
#include "backkern.h"
#include "vector.h"

#define JOIN(a, b) a##b
#define NAME(level) JOIN(back_kern_, level)
#define UNROLL _Pragma("GCC unroll 16")

enum { PARTS = 16 / VL };            /* registers of a block of channels */

#define OUTER(N)                                                                                                            \
INLINE void outer_##N(double *sum, const float *x, long row, const float *d, long drow, long px, long rows)                 \
{                                                                                                                           \
    vf acc[N][PARTS];                                                                                                       \
    UNROLL for (int i = 0; i < N; i++)                                                                                      \
        UNROLL for (int o = 0; o < PARTS; o++)                                                                              \
            acc[i][o] = (vf){ 0 };                                                                                          \
    for (long r = 0; r < rows; r++, x += row - 16 * px, d += drow - 16 * px)                                                \
        for (long p = 0; p < px; p++, x += 16, d += 16) {                                                                   \
            vf v[PARTS];                                                                                                    \
            UNROLL for (int o = 0; o < PARTS; o++)                                                                          \
                v[o] = get(d + VL * o);                                                                                     \
            UNROLL for (int i = 0; i < N; i++)                                                                              \
                UNROLL for (int o = 0; o < PARTS; o++)                                                                      \
                    acc[i][o] += x[i] * v[o];                                                                               \
        }                                                                                                                   \
    float all[N][16];                                                                                                       \
    UNROLL for (int i = 0; i < N; i++)                                                                                      \
        UNROLL for (int o = 0; o < PARTS; o++)                                                                              \
            put(all[i] + VL * o, acc[i][o]);                                                                                \
    for (int i = 0; i < N; i++)                                                                                             \
        for (int o = 0; o < 16; o++)                                                                                        \
            sum[16 * i + o] += (double)all[i][o];                                                                           \
}

#if defined(__AVX512F__)
enum { WIDE = 16, NARROW = 4 };
OUTER(16) OUTER(4)
#define outer_wide outer_16
#define outer_narrow outer_4
#else
#if defined(__AVX2__)
enum { WIDE = 6, NARROW = 4 };        /* 16 = 6 + 6 + 4 */
OUTER(6) OUTER(4)
#define outer_wide outer_6
#define outer_narrow outer_4
#else
enum { WIDE = 2, NARROW = 2 };
OUTER(2)
#define outer_wide outer_2
#define outer_narrow outer_2
#endif
#endif

static void outer(double *sum, const float *x, long row, const float *d, long drow, long px, long rows, long n)
{
    for (long i = 0; i < n; i += WIDE)
        (n - i <= NARROW ? outer_narrow : outer_wide)(sum + 16 * i, x + i, row, d, drow, px, rows);
}

INLINE vf either(vi positive, vf yes, vf no) { return (vf)(((vi)yes & positive) | ((vi)no & ~positive)); }

typedef double vd __attribute__((vector_size(4 * VL), aligned(8)));
typedef float hf __attribute__((vector_size(2 * VL), aligned(4)));
enum { HALF = VL / 2 };
INLINE vd wide(vf v, int k)
{
    hf h[2];
    __builtin_memcpy(h, &v, sizeof h);
    return __builtin_convertvector(h[k], vd);
}

static void norm_sums(double sum[16], double along[16], const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, long n)
{
    for (int p = 0; p < 16; p += VL) {
        vf m = get(mean + p), s = get(scale + p);
        vd a[2] = { { 0 } }, b[2] = { { 0 } };
        for (long i = p; i < n; i += 16) {
            vf t = (get(x + i) - m) * s, d = get(dy + i);
            vi positive = t > 0;
            d = either(positive, d, slope * d);
            vf e = d * either(positive, t, low * t);
            UNROLL for (int k = 0; k < 2; k++) {
                a[k] += wide(d, k);
                b[k] += wide(e, k);
            }
        }
        for (int l = 0; l < VL; l++) {
            sum[p + l] += a[l / HALF][l % HALF];
            along[p + l] += b[l / HALF][l % HALF];
        }
    }
}

static void norm_back(float *dx, const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, const float *by, const float *sum, const float *along, long n, int add)
{
    for (int p = 0; p < 16; p += VL) {
        vf m = get(mean + p), s = get(scale + p), f = get(by + p), a = get(sum + p), b = get(along + p);
        for (long i = p; i < n; i += 16) {
            vf t = (get(x + i) - m) * s, d = get(dy + i);
            vi positive = t > 0;
            put(dx + i, (add ? get(dx + i) : (vf){ 0 }) + f * (either(positive, d, slope * d) - a - b * either(positive, t, low * t)));
        }
    }
}

const back_kern NAME(KR_LEVEL) = { outer, norm_sums, norm_back };
