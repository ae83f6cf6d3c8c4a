/* wcrr.c: x = argmin 1/2 |P F S x - y|^2 + lambda level R(x / level), R learned. */
#include "regular.h"

static const kr_opt table[] = {
    { "lambda", 'l', KR_OPT_REAL, offsetof(kr_regular, lambda), "0", "X", "strength, relative to the image as that of wavelet is; 0: 0.43 times the noise of the scan (by a noise scan, or beside the object), from 0.004 to 0.03; 0.006 where neither tells, 0.008 of projections" },
    KR_REGULAR_SHARED("100", "1e-3"),
    { "level", 0, KR_OPT_REAL, offsetof(kr_regular, level), "0", "X", "answers of the filters above it count as edges, relative to the image; 0: lambda / 0.3, of projections lambda" },
    { "rounds", 0, KR_OPT_INT, offsetof(kr_regular, rounds), "0", "N", "solutions, each but the first with the answers of filters weighed by what a network makes of the one before; 1: none weighed; 0: 2 where the weights have such a network" },
    { "put-back", 0, KR_OPT_FLAG, offsetof(kr_regular, put_back), NULL, NULL, "on a grid: measured samples in the place of the image's, with their noise" },
    { "weights", 'w', KR_OPT_FILE, offsetof(kr_regular, weights), NULL, "FILE", "of kray train; default: those that come with Kray" },
    KR_OPT_END };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return kr_regularised(out, scan, coils, options, "wcrr", trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    int e = kr_regular_plan(cost, scan, options, "wcrr");
    cost->seconds *= 20;
    return e;
}

const kr_recon kr_recon_wcrr = { "wcrr", "a learned regulariser: weakly convex ridge functions",
    "Goujon, Neumayer and Unser, SIAM J Imaging Sci 17:91 (2024)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_RAYS | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, table, sizeof(kr_regular), run, plan };
