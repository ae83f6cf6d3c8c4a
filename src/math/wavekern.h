/* wavekern.h: one step of a wavelet transform on panels; built once per CPU level. Private to this folder. */
#ifndef KRAY_WAVEKERN_H
#define KRAY_WAVEKERN_H
#include "kray/lanes.h"

typedef struct kr_wavekern {
    /* low_k = sum_j h_j x_(2k+j), high_k = sum_j g_j x_(2k+j), k < half; `in` holds 2 half + taps - 2 rows. */
    void (*analyse)(float *low, float *high, const float *in, const float *h, const float *g, int taps, long half);
    /* x_(2k) = sum_m h_(2m) low_(k-m) + g_(2m) high_(k-m), x_(2k+1) with odd taps; low and high have taps / 2 - 1 rows
     * before their first. */
    void (*synthesise)(float *out, const float *low, const float *high, const float *h, const float *g, int taps, long half);
} kr_wavekern;
extern const kr_wavekern kr_wavekern_base, kr_wavekern_v3, kr_wavekern_v4;
#endif
