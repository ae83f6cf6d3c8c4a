/* mask_line.c: masks of whole lines, as the fastMRI and CMRxRecon challenges and ATOMMIC draw them. */
#include "mask.h"
#include <math.h>

/* W lines, n of them at the centre. fastMRI puts the centre at (W - n + 1) / 2, which for odd W and even n is one
 * further than the others do. */
static void centre(const mask_job *j, uint8_t *m, long n)
{
    for (long i = (j->cols - n + 1) / 2, k = 0; k < n; k++)
        m[i + k] = 1;
}

int kr_mask_calib_lines(mask_job *j, uint8_t *m)
{
    centre(j, m, kr_mask_low_lines(j));
    return 0;
}

static int too_many(const mask_job *j, long n)
{
    return kr_fail(KR_EUSAGE, "%ld of %ld lines at the centre alone are more than an acceleration of %g allows", n, j->cols, j->accel);
}

static int check_lines(const mask_job *j, long n)
{
    return n > j->cols ? kr_fail(KR_EUSAGE, "%ld lines at the centre do not fit into %ld", n, j->cols) : 0;
}

static int offset_below(mask_job *j, long step, long *offset)
{
    if (j->offset >= step)
        return kr_fail(KR_EUSAGE, "lines are %ld apart, an offset of %ld is too large", step, j->offset);
    *offset = j->offset >= 0 ? j->offset : (long)kr_mt_below(&j->rng, (uint32_t)step);
    return 0;
}

/* Each line outside the centre with probability (W/R - n) / (W - n). */
static int make_random(mask_job *j, uint8_t *m)
{
    long n = kr_mask_low_lines(j);
    double W = (double)j->cols, left = W / j->accel - (double)n;
    if (left < 0)
        return too_many(j, n);
    double p = n < j->cols ? left / (W - (double)n) : 0;
    for (long i = 0; i < j->cols; i++)
        m[i] = kr_mt_uniform(&j->rng) < p;
    centre(j, m, n);
    return 0;
}

/* Every R-th line, and the centre on top. */
static int make_equispaced(mask_job *j, uint8_t *m)
{
    long n = kr_mask_low_lines(j), step = (long)rint(j->accel), offset = 0;
    if (check_lines(j, n) || offset_below(j, step, &offset))
        return kr_error_code();
    for (long i = offset; i < j->cols; i += step)
        m[i] = 1;
    centre(j, m, n);
    return 0;
}

/* Lines so far apart that together with the centre they are W/R. The positions repeat NumPy's arange and around to the
 * last bit: arange steps by the difference of its first two values. */
static int make_equispaced_fraction(mask_job *j, uint8_t *m)
{
    long n = kr_mask_low_lines(j), offset = 0;
    double W = (double)j->cols, low = (double)n;
    if (low * j->accel >= W && j->accel > 1)
        return too_many(j, n);
    double step = j->accel > 1 ? j->accel * (low - W) / (low * j->accel - W) : 1;
    if (offset_below(j, (long)rint(step), &offset))
        return kr_error_code();
    double first = (double)offset, delta = (first + step) - first;
    long count = (long)ceil((W - 1 - first) / step);
    for (long i = 0; i < count; i++) {
        long at = (long)rint(first + (double)i * delta);
        if (at < j->cols)
            m[at] = 1;
    }
    centre(j, m, n);
    return 0;
}

/* Two combs that are not mirror images of each other, so that conjugate symmetry adds lines. Offsets are counted from DC
 * outwards: to the right from `right`, to the left from `left`. */
static void two_combs(const mask_job *j, uint8_t *m, long step, long offset)
{
    long right = offset % 2 ? offset + 2 : offset + 1, left = offset % 2 ? offset - 1 : offset + 2;
    long W = j->cols, dc = W / 2;
    for (long i = right; i < (W + 1) / 2; i += step)
        m[dc + i] = 1;
    for (long i = left; i < W / 2; i += step)
        m[dc - 1 - i] = 1;
}

static int make_magic(mask_job *j, uint8_t *m)
{
    long n = kr_mask_low_lines(j), step = (long)rint(j->accel), offset = 0;
    if (check_lines(j, n) || offset_below(j, step, &offset))
        return kr_error_code();
    two_combs(j, m, step, offset);
    centre(j, m, n);
    return 0;
}

/* The centre gives way where the acceleration leaves less, but for one line. */
static long magic_lines(const mask_job *j, long wanted)
{
    long n = kr_mask_low_lines(j);
    n = n < wanted ? n : wanted;
    return n > 1 ? n : 1;
}

static int calib_magic_fraction(mask_job *j, uint8_t *m)
{
    centre(j, m, magic_lines(j, (long)rint((double)j->cols / j->accel)));
    return 0;
}

static int make_magic_fraction(mask_job *j, uint8_t *m)
{
    long wanted = (long)rint((double)j->cols / j->accel), n = magic_lines(j, wanted);
    if (wanted > n) {
        long step = (long)rint((double)j->cols / (double)(wanted - n)), offset = 0;
        if (offset_below(j, step, &offset))
            return kr_error_code();
        two_combs(j, m, step, offset);
    }
    centre(j, m, n);
    return 0;
}

/* Every R-th line from the offset on, and so many lines at the centre that are not counted in R. */
static int make_uniform(mask_job *j, uint8_t *m)
{
    long n = kr_mask_low_lines(j), step = (long)rint(j->accel), offset = 0;
    if (check_lines(j, n) || offset_below(j, step, &offset))
        return kr_error_code();
    for (long i = offset; i < j->cols; i += step)
        m[i] = 1;
    kr_mask_centre(m, j->cols, n);
    return 0;
}

static int calib_uniform(mask_job *j, uint8_t *m)
{
    kr_mask_centre(m, j->cols, kr_mask_low_lines(j));
    return 0;
}

void kr_mask_gaussian(double *p, long n, double fwhm)
{
    double s = fwhm / sqrt(8 * log(2)), step = 2.0 / (double)(n - 1);
    for (long i = 0; i < n; i++) {
        double x = (double)i * step - 1;
        p[i] = exp(-(x * x / (2 * s * s)));
    }
}

/* W/R lines drawn without replacement with Gaussian probability. ATOMMIC then shifts the lines for k-space whose DC is at
 * index 0; Kray's k-space has it at N/2, so there is no shift here. */
static int make_gaussian1d(mask_job *j, uint8_t *m)
{
    long W = j->cols, count = (long)((double)W / j->accel), low = (long)((double)W * j->scale);
    kr_auto double *p = kr_alloc((size_t)W, sizeof *p);
    kr_auto long *at = kr_alloc((size_t)W, sizeof *at);
    if (!p || !at)
        return KR_EMEM;
    kr_mask_gaussian(p, W, j->fwhm);
    if (kr_mt_choice(&j->rng, p, W, at, count))
        return kr_error_code();
    for (long i = 0; i < count; i++)
        m[at[i]] = 1;
    for (long i = (W - low) / 2; i < (W - low) / 2 + low; i++)
        m[i] = 1;
    return 0;
}

static int make_full(mask_job *j, uint8_t *m)
{
    for (long i = 0; i < j->cols; i++)
        m[i] = 1;
    return 0;
}

const mask_kind kr_masks_line[] = {
    { "random", "fastMRI: random lines (knee)", "accel=4,center=0.08,lines,seed,axes,vary", MASK_LINES, make_random, kr_mask_calib_lines },
    { "equispaced", "fastMRI: every R-th line, the centre not counted", "accel=4,center=0.08,lines,seed,offset,axes,vary", MASK_LINES, make_equispaced, kr_mask_calib_lines },
    { "equispaced_fraction", "fastMRI: equispaced, the centre counted (brain)", "accel=4,center=0.08,lines,seed,offset,axes,vary", MASK_LINES, make_equispaced_fraction, kr_mask_calib_lines },
    { "magic", "fastMRI: two offset combs that conjugate symmetry fills", "accel=4,center=0.08,lines,seed,offset,axes,vary", MASK_LINES, make_magic, kr_mask_calib_lines },
    { "magic_fraction", "fastMRI: magic, the centre counted", "accel=4,center=0.08,lines,seed,offset,axes,vary", MASK_LINES, make_magic_fraction, calib_magic_fraction },
    { "uniform", "CMRxRecon 2024: every R-th line, 16 at the centre not counted (2023: lines=24)", "accel=4,lines=16,offset=0,axes", MASK_LINES, make_uniform, calib_uniform },
    { "gaussian1d", "ATOMMIC (CIRIM): lines with Gaussian density", "accel=4,fwhm=0.7,scale=0.02,seed,axes,vary", MASK_LINES, make_gaussian1d, NULL },
    { "full", "fully sampled", "axes", MASK_LINES, make_full, NULL },
    { 0 } };
