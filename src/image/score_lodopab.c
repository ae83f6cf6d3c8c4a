/* score_lodopab.c: as DIVal counts for LoDoPaB-CT: values as they are, range from the target's smallest to its largest value, picture by picture. */
#include "score.h"

static int see(kr_pair *p, const kr_extent *own, bool many)
{
    (void)many;
    p->range = own->t_max - own->t_min;
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "the target is all zero, or the same everywhere, which gives no data range");
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_PICTURE, .single = true, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

const kr_protocol kr_protocol_lodopab = { "lodopab", "values as they are; range: of the target, from its smallest to its largest value; SSIM 7 x 7; means over slices",
    "jleuschn/dival, measure.py (PSNR, SSIM)", NULL, score, NULL };
