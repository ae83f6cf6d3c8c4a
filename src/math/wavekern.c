/* wavekern.c: one step of a wavelet transform of sixteen lines, built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#include "wavekern.h"
#include "vector.h"

static void analyse(float *low, float *high, const float *in, const float *h, const float *g, int taps, long half)
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
            put(low + k * KR_ROW + i, a);
            put(high + k * KR_ROW + i, b);
        }
}

static void synthesise(float *out, const float *low, const float *high, const float *h, const float *g, int taps, long half)
{
    for (long k = 0; k < half; k++)
        for (int i = 0; i < KR_ROW; i += VL) {
            vf even = { 0 }, odd = { 0 };
            for (int m = 0; m < taps / 2; m++) {
                vf l = get(low + (k - m) * KR_ROW + i), u = get(high + (k - m) * KR_ROW + i);
                even += h[2 * m] * l + g[2 * m] * u;
                odd += h[2 * m + 1] * l + g[2 * m + 1] * u;
            }
            put(out + 2 * k * KR_ROW + i, even);
            put(out + (2 * k + 1) * KR_ROW + i, odd);
        }
}

#define JOIN(a, b) a##b
#define NAME(level) JOIN(kr_wavekern_, level)
const kr_wavekern NAME(KR_LEVEL) = { analyse, synthesise };
