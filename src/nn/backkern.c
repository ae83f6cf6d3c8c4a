/* backkern.c: sums of outer products of 16 inputs and 16 outputs over the pixels of some rows; as many inputs at a time as leave
 * their sums in registers. Built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
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

const back_kern NAME(KR_LEVEL) = { outer };
