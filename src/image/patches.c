/* patches.c: windows that slide over a volume, and what each voxel of one counts. Source: nnU-Net v2, sliding window inference. */
#include "kray/segment.h"
#include <math.h>
#include <stdlib.h>

/* Half to even, as NumPy rounds. */
static long nearest(double v) { return (long)rint(v); }

long kr_patch_starts(long **starts, long n, long patch, double step)
{
    long count = n <= patch ? 1 : (long)ceil((double)(n - patch) / ((double)patch * step)) + 1;
    *starts = kr_alloc((size_t)count, sizeof **starts);
    if (!*starts)
        return kr_error_code();
    for (long i = 0; i < count; i++)
        (*starts)[i] = count > 1 ? nearest((double)(n - patch) / (double)(count - 1) * (double)i) : 0;
    return count;
}

/* The nearest number of IEEE 754 binary16, ties to even. */
static double as_half(double v)
{
    if (v <= 0)
        return 0;
    int e;
    frexp(v, &e);
    double unit = ldexp(1, (e - 1 < -14 ? -14 : e - 1) - 10);
    return rint(v / unit) * unit;
}

int kr_patch_weights(float *out, const long patch[3])
{
    kr_auto double *g = kr_alloc((size_t)(patch[0] + patch[1] + patch[2]), sizeof *g);
    double *axis[3] = { g, g + patch[0], g ? g + patch[0] + patch[1] : NULL }, least = INFINITY;
    if (!g)
        return kr_error_code();
    for (int d = 0; d < 3; d++) {                            /* a Gaussian of sigma patch / 8 about patch / 2, cut at 4 sigma */
        double sigma = (double)patch[d] / 8;
        long reach = (long)(4 * sigma + 0.5);
        for (long i = 0; i < patch[d]; i++) {
            double x = (double)(i - patch[d] / 2);
            axis[d][i] = labs(i - patch[d] / 2) <= reach ? exp(-x * x / (2 * sigma * sigma)) : 0;
        }
        if (patch[d] == 1)
            axis[d][0] = 1;
    }
    long i = 0;
    for (long z = 0; z < patch[2]; z++)
        for (long y = 0; y < patch[1]; y++)
            for (long x = 0; x < patch[0]; x++, i++) {
                double v = as_half(10 * axis[0][x] * axis[1][y] * axis[2][z]);
                out[i] = (float)v;
                least = v > 0 && v < least ? v : least;
            }
    for (long k = 0; k < i; k++)
        out[k] = out[k] > 0 ? out[k] : (float)least;
    return 0;
}
