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

const mask_kind kr_masks_plane[] = {
    { "gaussian2d", "ATOMMIC (CIRIM): points with Gaussian density, ellipse at the centre", "accel=5,fwhm=0.7,scale=0.02,seed,axes,vary", MASK_PLANE, make_gaussian2d },
    { 0 } };
