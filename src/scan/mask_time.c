/* mask_time.c: masks that change from frame to frame, after the generators that CMRxRecon 2024 published. */
#include "mask.h"
#include <math.h>

static void centre_lines(const mask_job *j, uint8_t *m)
{
    for (long f = 0; f < j->frames; f++)
        kr_mask_centre(m + f * j->cols, j->cols, kr_mask_low_lines(j));
}

/* The lines 0, R, 2R, ... (rounded half up) of n. */
static bool on_comb(long i, double R, long n)
{
    double k = floor(((double)i + 0.5) / R);
    return i < n && (long)floor(k * R + 0.5) == i;
}

/* A comb that moves on by one line from frame to frame: sample (y, t) where |y - t| is on the comb. */
static int make_kt_uniform(mask_job *j, uint8_t *m)
{
    for (long t = 0; t < j->frames; t++)
        for (long y = 0; y < j->cols; y++)
            m[t * j->cols + y] = y >= t ? on_comb(y - t, j->accel, j->cols) : on_comb(t - y, j->accel, j->frames);
    centre_lines(j, m);
    return 0;
}

/* MATLAB's rng(s), which takes 0 for 5489. */
static void matlab_seed(kr_mt19937 *r, uint32_t s) { kr_mt_seed(r, s ? s : 5489); }

void kr_mask_spread(long *times, long n)
{
    for (long i = 0; i < n; i++)
        for (; times[i] > 1; times[i]--)
            for (long away = 1; away < n; away++) {
                long lower = i - away, upper = i + away;
                long to = lower >= 0 && !times[lower] ? lower : upper < n && !times[upper] ? upper : -1;
                if (to >= 0) {
                    times[to] = 1;
                    break;
                }
            }
}

/* W/R lines in each frame with density 0.1 + alpha / (1 - alpha) exp(-y^2 / s^2), s = W/5. */
static int make_kt_gaussian(mask_job *j, uint8_t *m)
{
    long W = j->cols, count = (long)floor((double)W / j->accel + 0.5);
    kr_auto double *cdf = kr_alloc((size_t)W, sizeof *cdf);
    kr_auto long *times = kr_alloc((size_t)W, sizeof *times);
    if (!cdf || !times)
        return KR_EMEM;
    double sum = 0, s = (double)W / 5;
    for (long i = 0; i < W; i++) {
        double y = (double)(i - W / 2);
        cdf[i] = sum += 0.1 + j->alpha / (1 - j->alpha + 1e-10) * exp(-(y * y) / (s * s));
    }
    for (long i = 0; i < W; i++)
        cdf[i] /= sum;
    if (!j->seed)
        matlab_seed(&j->rng, j->seed_number);
    for (long t = 0; t < j->frames; t++) {
        kr_mt19937 frame;
        matlab_seed(&frame, (uint32_t)floor(1e6 * kr_mt_uniform(&j->rng) + 0.5));
        for (long i = 0; i < W; i++)
            times[i] = 0;
        for (long k = 0; k < count; k++)
            times[kr_mt_below_cdf(&frame, cdf, W)]++;
        kr_mask_spread(times, W);
        for (long i = 0; i < W; i++)
            m[t * W + i] = times[i] > 0;
    }
    centre_lines(j, m);
    return 0;
}

/* floor(180 / 0.6 R) lines through the centre at equal angles, the whole star turned by `angle` from frame to frame;
 * a line is the row of points of a grid that is turned and read at the nearest point. */
static int make_kt_radial(mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, N = H > W ? H : W, beams = (long)floor(180 / (0.6 * j->accel));
    if (beams < 1)
        return kr_fail(KR_EUSAGE, "an acceleration of %g leaves no line through the centre", j->accel);
    double row = floor((double)N / 2 + 0.5) - 1, mid = ((double)N - 1) / 2, pi = acos(-1);
    for (long t = 0; t < j->frames; t++)
        for (long b = 0; b <= beams; b++) {
            double a = pi / 180 * (j->angle * (double)t + 180.0 / (double)beams * (double)b), c = cos(a), s = sin(a);
            for (long y = 0; y < H; y++)
                for (long x = 0; x < W; x++) {
                    double v = (double)(y + N / 2 - H / 2) - mid, u = (double)(x + N / 2 - W / 2) - mid;
                    double from_row = floor(c * v + s * u + mid + 0.5), from_col = floor(c * u - s * v + mid + 0.5);
                    if (from_row == row && from_col >= 0 && from_col < (double)N)
                        m[(t * H + y) * W + x] = 1;
                }
        }
    for (long t = 0; t < j->frames; t++)
        for (long y = H / 2 - j->calib[0] / 2, k = 0; k < j->calib[0]; k++)
            kr_mask_centre(m + (t * H + y + k) * W, W, j->calib[1]);
    return 0;
}

const mask_kind kr_masks_time[] = {
    { "kt_uniform", "CMRxRecon: every R-th line, shifted by one from frame to frame", "accel=8,lines=16,axes", MASK_LINES | MASK_TIME, make_kt_uniform, NULL },
    { "kt_gaussian", "CMRxRecon: lines with Gaussian density, drawn again for each frame", "accel=8,lines=16,alpha=0.2,seed,axes", MASK_LINES | MASK_TIME, make_kt_gaussian, NULL },
    { "kt_radial", "CMRxRecon: spokes on the grid, rotated from frame to frame", "accel=8,calib=16,angle=137.5,axes", MASK_PLANE | MASK_TIME, make_kt_radial, NULL },
    { 0 } };
