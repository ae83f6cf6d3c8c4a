/* tgv.c: total generalised variation: edges as with TV, but slopes instead of steps. */
#include "regular.h"

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.002", "5000", "5e-3"),
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "tgv", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "tgv"); }

const kr_recon kr_recon_tgv = { "tgv", "total generalised variation of second order",
    "Knoll et al., Magn Reson Med 65:480 (2011)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_RAYS | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
