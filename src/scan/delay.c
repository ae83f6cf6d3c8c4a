/* delay.c: gradients that lag behind the samples, so that samples lie elsewhere than was planned. */
#include "kray/trajectory.h"
#include <math.h>
#include <string.h>

/* A readout at sample `at`, between and a little beyond those that there are: cubic through four neighbours, straight beyond the ends. */
static double between(const float *k, long n, double at)
{
    if (n < 2)
        return k[0];
    if (at <= 0)
        return k[0] + at * (double)(k[1] - k[0]);
    if (at >= (double)(n - 1))
        return k[n - 1] + (at - (double)(n - 1)) * (double)(k[n - 1] - k[n - 2]);
    long i = (long)at < n - 2 ? (long)at : n - 2;
    double f = at - (double)i, b = k[i], c = k[i + 1];
    if (i == 0 || i == n - 2)
        return b + f * (c - b);
    double a = k[i - 1], d = k[i + 2];
    return b + f * (.5 * (c - a) + f * (a - 2.5 * b + 2 * c - .5 * d + f * (1.5 * (b - c) + .5 * (d - a))));
}

int kr_traj_delay(kr_array *traj, const double delay[3][3])
{
    long n = traj->n[KR_SAMPLE], dims = traj->n[KR_CHAN], all = kr_count(kr_array_shape(traj)) / dims;
    if (traj->type != KR_R32 || dims < 2 || dims > 3 || !kr_array_contiguous(traj) || traj->step[KR_CHAN] != all)
        return kr_fail(KR_ESHAPE, "a trajectory of 2 or 3 real coordinates a sample is wanted, not %s", kr_shape_text(kr_array_shape(traj)));
    kr_auto float *old = kr_alloc((size_t)(n * dims), sizeof *old);
    if (!old)
        return kr_error_code();
    for (long v = 0; v < all / n; v++) {
        for (long d = 0; d < dims; d++)
            memcpy(old + d * n, KR_R(traj) + d * all + v * n, (size_t)n * sizeof *old);
        for (long d = 0; d < dims; d++)
            for (long e = 0; e < dims; e++)
                for (long s = 0; s < n && delay[d][e] != 0; s++)
                    KR_R(traj)[d * all + v * n + s] += (float)(between(old + e * n, n, (double)s - delay[d][e]) - (double)old[e * n + s]);
    }
    return 0;
}
