/* ttv.c: l1 of finite differences in time. */
#include "regular.h"

/* Maps break off, unlike those of the other methods: where they faded out, nothing but time would hold the image, and a point that stands still would be
 * as noisy there as the map is small. */

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.01", "3000", "1e-3"),
    KR_REGULAR_FRAMES,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "ttv", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "ttv"); }

const kr_recon kr_recon_ttv = { "ttv", "series: total variation in time",
    "Feng et al., Magn Reson Med 72:707 (2014)", KR_NEEDS_COILS | KR_TAKES_SLABS | KR_WANTS_SERIES | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
