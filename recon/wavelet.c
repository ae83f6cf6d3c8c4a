/* wavelet.c: x = argmin 1/2 |P F S x - y|^2 + lambda |W x|_1, W an orthogonal wavelet transform. */
#include "regular.h"

static const kr_opt table[] = {
    KR_REGULAR_OPTS("0.003", "5000", "1e-3"),
    KR_REGULAR_WAVELET,
    KR_REGULAR_SHIFTS,
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "wavelet", trace);
}

static int follow(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, void **left, const kr_trace *trace)
{
    return kr_regular_follow(out, scan, coils, options, "wavelet", left, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return kr_regular_plan(cost, scan, options, "wavelet"); }

const kr_recon kr_recon_wavelet = { "wavelet", "l1-wavelet compressed sensing",
    "Lustig et al., Magn Reson Med 58:1182 (2007)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_RAYS | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan, .forget = kr_regular_forget, .follow = follow };
