/* lowrank_sparse.c: x = L + S, L of low rank, S sparse in temporal frequency. */
#include "regular.h"

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.01", "3000", "1e-3"),
    KR_REGULAR_FRAMES,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "lowrank-sparse", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "lowrank-sparse"); }

const kr_recon kr_recon_lowrank_sparse = { "lowrank-sparse", "series: low rank plus sparse in temporal frequency",
    "Otazo et al., Magn Reson Med 73:1125 (2015)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_SLABS | KR_WANTS_SERIES | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
