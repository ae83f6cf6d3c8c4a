/* gridding.c: filtered back-projection of parallel beams by a NUFFT. */
#include "projected.h"
#include <math.h>

static const double TOLERANCE = 1e-3;      /* of the transform: images err as with 1e-4, which takes a third longer */

static const kr_opt table[] = { PROJECTED_WINDOW, KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_filtered(out, scan, options, TOLERANCE, trace);
}

/* Of up to sixteen slices at a time, two in one complex number: points of k-space (of twice the columns) with their places, the fine grid and images; and what the slices hold. */
static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    int e = projected_plan(cost, scan, 1, 0, 0);
    double parts = (double)kr_parts(scan), n = (double)scan->grid.n[0] * (double)scan->grid.n[1], y = (double)kr_count(scan->shape) / parts, slices = parts < 16 ? parts : 16, pairs = ceil(slices / 2);
    double points = (slices > 1 ? 2.1 : 1.05) * y;
    cost->bytes = 4 * n * parts + 34 * n * pairs + (8 * pairs + 32) * points + 4 * slices * y;
    return e;
}

const kr_recon kr_recon_gridding = { "gridding", "filtered back-projection of parallel beams by Fourier series and a NUFFT",
    "O'Sullivan, IEEE Trans Med Imaging 4:200 (1985); Matej et al., IEEE Trans Med Imaging 23:401 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE | KR_RAYS_DIRECT, table, sizeof(projected_window), run, plan };
