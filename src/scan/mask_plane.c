/* mask_plane.c: masks that undersample two axes at once. */
#include "mask.h"
#include <math.h>

/* H W / R points drawn without replacement, p ~ sqrt(g_row g_col) of two Gaussians; an ellipse of half axes scale H,
 * scale W is fully sampled. Source: ATOMMIC's Gaussian 2D masks, with which CIRIM was trained. */
static int make_gaussian2d(mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, count = (long)((double)H * (double)W / j->accel);
    kr_auto double *row = kr_alloc((size_t)H, sizeof *row), *col = kr_alloc((size_t)W, sizeof *col);
    kr_auto double *p = kr_alloc((size_t)(H * W), sizeof *p);
    kr_auto long *at = kr_alloc((size_t)(H * W), sizeof *at);
    if (!row || !col || !p || !at)
        return KR_EMEM;
    kr_mask_gaussian(row, H, j->fwhm);
    kr_mask_gaussian(col, W, j->fwhm);
    for (long r = 0; r < H; r++)
        for (long c = 0; c < W; c++)
            p[r * W + c] = sqrt(row[r] * col[c]);
    if (kr_mt_choice(&j->rng, p, H * W, at, count))
        return kr_error_code();
    for (long i = 0; i < count; i++)
        m[at[i]] = 1;
    double a = j->scale * (double)H, b = j->scale * (double)W;
    for (long r = 0; r < H; r++)
        for (long c = 0; c < W; c++) {
            double y = ((double)r - (double)H / 2) / a, x = ((double)c - (double)W / 2) / b;
            if (y * y + x * x < 1)
                m[r * W + c] = 1;
        }
    return 0;
}

/* Samples along a line through DC, from edge to edge: the nearest point in every column, or in every row where the line
 * is steeper. Returns how many are new. */
static long spoke(const mask_job *j, uint8_t *m, double degrees)
{
    long H = j->rows, W = j->cols, fresh = 0;
    double a = degrees * acos(-1) / 180, c = cos(a), s = sin(a);
    bool steep = fabs(s) > fabs(c);
    for (long i = 0; i < (steep ? H : W); i++) {
        long y = steep ? i : H / 2 + (long)rint((double)(i - W / 2) * s / c);
        long x = steep ? W / 2 + (long)rint((double)(i - H / 2) * c / s) : i;
        if (y < 0 || y >= H || x < 0 || x >= W || m[y * W + x])
            continue;
        m[y * W + x] = 1;
        fresh++;
    }
    return fresh;
}

/* Spokes at the golden angle until the acceleration is met. Further frames go on turning. Source: Winkelmann 2007. */
static int make_radial(mask_job *j, uint8_t *m)
{
    long H = j->rows, W = j->cols, wanted = (long)rint((double)(H * W) / j->accel), held = 0;
    for (long y = H / 2 - j->calib[0] / 2, k = 0; k < j->calib[0]; k++)
        kr_mask_centre(m + (y + k) * W, W, j->calib[1]);
    held = j->calib[0] * j->calib[1];
    if (held > wanted)
        return kr_fail(KR_EUSAGE, "the %ld points at the centre alone are more than an acceleration of %g of %ld leaves", held, j->accel, H * W);
    double start = (double)j->frame * 137.5;
    for (long n = 0; held < wanted && n < 16 * (H + W); n++)
        held += spoke(j, m, fmod(start + (double)n * j->angle, 180));
    return held < wanted ? kr_fail(KR_EUSAGE, "spokes %g degrees apart reach %ld of the %ld points wanted", j->angle, held, wanted) : 0;
}

const mask_kind kr_masks_plane[] = {
    { "radial", "spokes at the golden angle, on the grid", "accel=6,calib=0,angle=111.246117975,axes,vary", MASK_PLANE, make_radial, NULL },
    { "gaussian2d", "ATOMMIC (CIRIM): points with Gaussian density, ellipse at the centre", "accel=5,fwhm=0.7,scale=0.02,seed,axes,vary", MASK_PLANE, make_gaussian2d, NULL },
    { 0 } };
