/* backprojection.c: filtered back-projection; of cone beams by Feldkamp, Davis and Kress. */
#include "projected.h"

static const kr_opt table[] = { PROJECTED_WINDOW, PROJECTED_BETWEEN, KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_filtered(out, scan, options, 0, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    int e = projected_plan(cost, scan, 1, 0, 0);
    double x = (double)scan->grid.n[0] * (double)scan->grid.n[1] * (double)scan->grid.n[2];
    cost->bytes = 4 * x * (double)kr_parts(scan) + (scan->rays ? kr_fbp_bytes(scan->rays, &scan->grid) : 0);
    return e;
}

const kr_recon kr_recon_backprojection = { "fbp", "filtered back-projection of X-ray projections (cone beams: FDK)",
    "Kak and Slaney, Principles of Computerized Tomographic Imaging (1988); Feldkamp et al., J Opt Soc Am A 1:612 (1984); Parker, Med Phys 9:254 (1982)",
    KR_TAKES_RAYS | KR_RAYS_ALONE | KR_RAYS_DIRECT, table, sizeof(projected_window), run, plan };
