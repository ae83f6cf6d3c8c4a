/* backkern.c: sums of outer products of 16 inputs and 16 outputs over the pixels of some rows; as many inputs at a time as leave
 * their sums in registers; and what an instance norm passes back. Built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#define KR_VL 16                     /* a block of channels */
#include "backkern.h"
#include "vector.h"

#define JOIN(a, b) a##b
#define NAME(level) JOIN(back_kern_, level)

#define OUTER(N)                                                                                                            \
INLINE void outer_##N(double *sum, const float *x, long row, const float *d, long drow, long px, long rows)                 \
{                                                                                                                           \
    vf acc[N];                                                                                                              \
    _Pragma("GCC unroll 16") for (int i = 0; i < N; i++)                                                                    \
        acc[i] = (vf){ 0 };                                                                                                 \
    for (long r = 0; r < rows; r++, x += row - 16 * px, d += drow - 16 * px)                                                \
        for (long p = 0; p < px; p++, x += 16, d += 16) {                                                                   \
            vf v = get(d);                                                                                                  \
            _Pragma("GCC unroll 16") for (int i = 0; i < N; i++)                                                            \
                acc[i] += x[i] * v;                                                                                         \
        }                                                                                                                   \
    _Pragma("GCC unroll 16") for (int i = 0; i < N; i++)                                                                    \
        for (int o = 0; o < 16; o++)                                                                                        \
            sum[16 * i + o] += (double)acc[i][o];                                                                           \
}

#if defined(__AVX512F__)
enum { WIDE = 16, NARROW = 4 };
OUTER(16) OUTER(4)
#define outer_wide outer_16
#define outer_narrow outer_4
#else
#if defined(__AVX2__)
enum { WIDE = 4, NARROW = 4 };
OUTER(4)
#define outer_wide outer_4
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
    if (n <= NARROW)
        outer_narrow(sum, x, row, d, drow, px, rows);
    else
        for (long i = 0; i < n; i += WIDE)
            outer_wide(sum + 16 * i, x + i, row, d, drow, px, rows);
}

INLINE vf either(vi positive, vf yes, vf no) { return (vf)(((vi)yes & positive) | ((vi)no & ~positive)); }

typedef double vd __attribute__((vector_size(64), aligned(8)));
typedef float hf __attribute__((vector_size(32), aligned(4)));

static void norm_sums(double sum[16], double along[16], const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, long n)
{
    vf m = get(mean), s = get(scale);
    vd a[2] = { { 0 } }, b[2] = { { 0 } };
    for (long i = 0; i < n; i += 16) {
        vf t = (get(x + i) - m) * s, d = get(dy + i);
        vi positive = t > 0;
        float each[2][16];
        d = either(positive, d, slope * d);
        put(each[0], d);
        put(each[1], d * either(positive, t, low * t));
        for (int k = 0; k < 2; k++) {
            a[k] += __builtin_convertvector(*(const hf *)(const void *)(each[0] + 8 * k), vd);
            b[k] += __builtin_convertvector(*(const hf *)(const void *)(each[1] + 8 * k), vd);
        }
    }
    for (int l = 0; l < 16; l++) {
        sum[l] += a[l / 8][l % 8];
        along[l] += b[l / 8][l % 8];
    }
}

static void norm_back(float *dx, const float *x, const float *dy, const float *mean, const float *scale, float low, float slope, const float *by, const float *sum, const float *along, long n)
{
    vf m = get(mean), s = get(scale), f = get(by), a = get(sum), b = get(along);
    for (long i = 0; i < n; i += 16) {
        vf t = (get(x + i) - m) * s, d = get(dy + i);
        vi positive = t > 0;
        put(dx + i, get(dx + i) + f * (either(positive, d, slope * d) - a - b * either(positive, t, low * t)));
    }
}

const back_kern NAME(KR_LEVEL) = { outer, norm_sums, norm_back };
