/* wavekern.h: one step of a wavelet transform on panels and on rows; built once per CPU level. Private to this folder. */
#ifndef KRAY_WAVEKERN_H
#define KRAY_WAVEKERN_H
#include "kray/lanes.h"

enum { KR_WAVE_OVER = 32 };           /* floats behind the end of a row that the kernels of rows may read and write */
typedef struct kr_wavekern {
    /* low_k = sum_j h_j x_(2k+j), high_k = sum_j g_j x_(2k+j), k < half; `in` holds 2 half + taps - 2 rows of KR_ROW floats, rows of low and high
     * begin `apart` floats from each other. */
    void (*analyse)(float *low, float *high, long apart, const float *in, const float *h, const float *g, int taps, long half);
    /* x_(2k) = sum_m h_(2m) low_(k-m) + g_(2m) high_(k-m), x_(2k+1) with odd taps; low and high have taps / 2 - 1 rows
     * before their first. Rows of out begin `apart` floats from each other. */
    void (*synthesise)(float *out, long apart, const float *low, const float *high, const float *h, const float *g, int taps, long half);
    /* The same along a row: x_(2k) = even_k, x_(2k+1) = odd_k, which go on periodically for taps / 2 - 1 numbers. */
    void (*analyse_row)(float *low, float *high, const float *even, const float *odd, const float *h, const float *g, int taps, long half);
    void (*synthesise_row)(float *even, float *odd, const float *low, const float *high, const float *h, const float *g, int taps, long half);
    void (*apart)(float *a, float *b, const float *x, long n);                /* a_k = x_(2k), b_k = x_(2k+1)                   */
    void (*together)(float *x, const float *a, const float *b, long n);       /* and back                                       */
    /* z_k = factor (a_k + i b_k), or more of z_k; b NULL: of a_k, real */
    void (*collect)(float *z, const float *a, const float *b, float factor, bool more, long n);
    /* n vectors of `parts` numbers of each of `count` rows, parts `apart`, rows `next` from each other: v (1 - t / |v|), or 0 */
    void (*shrink)(float *v, long apart, long parts, long next, long count, float t, long n);
} kr_wavekern;
extern const kr_wavekern kr_wavekern_base, kr_wavekern_v3, kr_wavekern_v4;
const kr_wavekern *kr_wavekern_best(void);
#endif
