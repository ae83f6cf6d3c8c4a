/* noise_level.c: how much noise a scan's samples hold together. */
#include "kray/scan.h"
#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Squared distance from DC in units of the half widths, along the axes that are in k-space. */
static double radius(const kr_scan *s, long x, long y, long z)
{
    const long at[3] = { x, y, z };
    double sum = 0;
    for (int d = 0; d < 3; d++) {
        long n = s->data->n[d];
        if (n > 1 && !(s->in_image & KR_ON(d))) {
            double r = (double)(at[d] - n / 2) / (double)(n / 2);
            sum += r * r;
        }
    }
    return sum;
}

int kr_noise_level(double *noise, const kr_scan *s)
{
    enum { BINS = 4096 };
    kr_scoped(array) data = s->data ? kr_array_packed(s->data) : NULL;
    kr_auto long *bin = kr_alloc_zero(BINS, sizeof *bin);
    if (!data || !bin)
        return s->data ? kr_error_code() : kr_fail(KR_EREFUSED, "a scan without data has no noise");
    long nx = data->n[KR_X], ny = data->n[KR_Y], nz = data->n[KR_Z], volume = nx * ny * nz, rest = kr_count(kr_array_shape(data)) / volume, measured = 0;
    const kr_cfloat *v = data->data;
    for (long r = 0, i = 0; r < rest; r++)
        for (long z = 0; z < nz; z++)
            for (long y = 0; y < ny; y++)
                for (long x = 0; x < nx; x++, i++)
                    if (kr_cabs2(v[i]) > 0) {
                        bin[(long)(radius(s, x, y, z) / 3.0001 * BINS)]++;
                        measured++;
                    }
    long outer = 0, k = BINS;
    while (k > 0 && outer < measured / 20 + 1)
        outer += bin[--k];
    kr_auto float *power = kr_alloc((size_t)(outer + 1), sizeof *power);
    if (!power)
        return kr_error_code();
    long n = 0;
    for (long r = 0, i = 0; r < rest; r++)
        for (long z = 0; z < nz; z++)
            for (long y = 0; y < ny; y++)
                for (long x = 0; x < nx; x++, i++)
                    if (kr_cabs2(v[i]) > 0 && (long)(radius(s, x, y, z) / 3.0001 * BINS) >= k)
                        power[n++] = kr_cabs2(v[i]);
    if (!n)
        return kr_fail(KR_ENUMBER, "the data are all zero");
    qsort(power, (size_t)n, sizeof *power, by_value);
    double variance = (double)power[n / 2] / M_LN2;      /* the median of |n|^2 is ln 2 of its mean */
    if (s->whitened && variance > 1)
        variance = 1;                                    /* signal that reaches so far; averages have less */
    *noise = sqrt(variance * (double)measured);
    return 0;
}
