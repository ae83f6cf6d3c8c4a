/* score_calgary.c: as the Calgary-Campinas (MC-MRI) challenge counts: each slice divided by the target's maximum, range
 * from both images together, VIF with a noise variance of 0.4. */
#include "score.h"
#include <math.h>

static int see(kr_pair *p, const kr_extent *own, bool many)
{
    (void)many;
    if (!(own->t_max > 0))
        return kr_fail(KR_ENUMBER, "the target has no positive value to be divided by");
    p->t.unit = p->r.unit = own->t_max;
    p->range = (fmax(own->t_max, own->r_max) - fmin(own->t_min, own->r_min)) / own->t_max;
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "both pictures are the same constant");
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_PICTURE, .single = true, .vif = 0.4, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

const kr_protocol kr_protocol_calgary = { "calgary",
    "each slice divided by the target's maximum; range: of both images; SSIM 7 x 7; VIF; means over slices",
    "rmsouza01/MC-MRI-Rec, metrics.py; NKI-AI/direct, functionals/challenges", NULL, score, NULL };
