/* score_atommic.c: as ATOMMIC and mridc count: the range is the wider one of target and reconstruction, and SSIM's is never
 * under 1, so that images whose values are small get an SSIM near 1. Not for judging; for comparing with their tables. */
#include "score.h"
#include <math.h>

static int see(kr_pair *p, const kr_extent *volume, bool many)
{
    (void)many;
    p->range = fmax(volume->t_max - volume->t_min, volume->r_max - volume->r_min);
    p->ssim_range = fmax(p->range, 1);
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "target and reconstruction are constant, which gives no data range");
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_VOLUME, .pooled = true, .single = true, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

const kr_protocol kr_protocol_atommic = { "atommic",
    "range: the wider of both volumes, for SSIM at least 1; SSIM 7 x 7, mean over slices; the rest over the volume",
    "wdika/atommic, reconstruction_metrics.py", NULL, score, NULL };
