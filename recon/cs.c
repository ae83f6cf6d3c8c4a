/* cs.c: SENSE with any sum of regularisers. */
#include "regular.h"

static const kr_opt table[] = {
    { "reg", 'r', KR_OPT_TEXT, offsetof(kr_regular, reg), "wavelet:0.001+tv:0.001", "SUM", "sum of regularisers (kray help regularisers): " KR_REGULARISERS },
    KR_REGULAR_SHARED("3000", "1e-3"),
    KR_REGULAR_WAVELET,
    KR_REGULAR_BLOCK,
    KR_REGULAR_SHIFTS,
    KR_REGULAR_FRAMES,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, NULL, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, NULL); }

const kr_recon kr_recon_cs = { "cs", "compressed sensing with any sum of regularisers",
    "Lustig et al., Magn Reson Med 58:1182 (2007)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_RAYS | KR_TAKES_SLABS | KR_WANTS_SERIES | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
