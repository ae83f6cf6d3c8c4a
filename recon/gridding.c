/* gridding.c: filtered back-projection of parallel beams by a NUFFT. */
#include "projected.h"

static const double TOLERANCE = 1e-4;      /* of the transform: well below the noise of a scan, and what straight lines between elements err by */

static const kr_opt table[] = { PROJECTED_WINDOW, KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_filtered(out, scan, options, TOLERANCE, trace);
}

/* Points of k-space with their places, the fine grid and the image of complex numbers. */
static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    int e = projected_plan(cost, scan, 1, 0, 0);
    double n = (double)scan->grid.n[0] * (double)scan->grid.n[1], y = (double)kr_count(scan->shape) / (double)kr_parts(scan);
    cost->bytes = 4 * n * (double)kr_parts(scan) + 8 * n * 6 + 60 * y;
    return e;
}

const kr_recon kr_recon_gridding = { "gridding", "filtered back-projection of parallel beams by Fourier series and a NUFFT",
    "O'Sullivan, IEEE Trans Med Imaging 4:200 (1985); Matej et al., IEEE Trans Med Imaging 23:401 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE | KR_RAYS_DIRECT, table, sizeof(projected_window), run, plan };
