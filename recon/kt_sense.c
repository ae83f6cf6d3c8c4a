/* kt_sense.c: SENSE of a series whose signal at each point and temporal frequency is as large as a training series says. */
#include "regular.h"

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.001", "3000", "1e-3"),
    KR_REGULAR_FRAMES,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "kt-sense", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "kt-sense"); }

const kr_recon kr_recon_kt_sense = { "kt-sense", "series: k-t SENSE, least squares in x-f weighted by a training series from the central lines",
    "Tsao et al., Magn Reson Med 50:1031 (2003)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_SLABS | KR_WANTS_SERIES, table, sizeof(kr_regular), run, plan };
