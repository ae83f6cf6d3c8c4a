/* score_cmrxrecon2023.c: as the CMRxRecon 2023 challenge counts: each picture divided by its own maximum, target and
 * reconstruction apart, so that their scales do not matter. */
#include "score.h"
#include <string.h>

static int see(kr_pair *p, const kr_extent *own, bool many)
{
    (void)many;
    if (!(own->t_max > 0) || !(own->r_max > 0))
        return kr_fail(KR_ENUMBER, "the %s has no positive value to be divided by", own->t_max > 0 ? "reconstruction" : "target");
    p->t.unit = own->t_max;
    p->r.unit = own->r_max;
    p->range = 1;
    return 0;
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_PICTURE, .single = true, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

static int crop(kr_array **image, const kr_array *target, const char *name)
{
    (void)target;
    return kr_crop_ranking(image, strstr(name, "map") != NULL);
}

const kr_protocol kr_protocol_cmrxrecon2023 = { "cmrxrecon2023",
    "each picture divided by its own maximum, range 1; SSIM 7 x 7; means over pictures",
    "CmrxRecon/CMRxRecon, Evaluation.py", "cmrxrecon", score, crop };
