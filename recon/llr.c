/* llr.c: locally low rank: nuclear norms of small blocks against time. */
#include "regular.h"

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.02", "2000", "1e-3"),
    KR_REGULAR_BLOCK,
    KR_REGULAR_SHIFTS,
    KR_REGULAR_FRAMES,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "llr", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "llr"); }

const kr_recon kr_recon_llr = { "llr", "series: locally low rank",
    "Trzasko and Manduca, Proc ISMRM 2011:4371; Zhang et al., Magn Reson Med 73:655 (2015)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_SLABS | KR_WANTS_SERIES | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
