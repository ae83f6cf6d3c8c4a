/* score_bart.c: as BART's measure (SSIM, PSNR) and nrmse count: the range is the target's maximum over X, Y and Z, further
 * axes apart; SSIM with biased variances in windows of X and Y; NRMSE over everything. BART's nrmse compares complex
 * numbers; here it is that of magnitudes. */
#include "score.h"
#include <math.h>

static int see(kr_pair *p, const kr_extent *block, bool many)
{
    (void)many;
    p->t.magnitude = p->r.magnitude = true;
    p->range = fmax(fabs(block->t_min), fabs(block->t_max));
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "the target is all zero, which gives no data range");
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_BLOCK, .pooled = true, .biased = true, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

const kr_protocol kr_protocol_bart = { "bart",
    "range: maximum of the target's X, Y, Z; SSIM 7 x 7 with biased variance; NRMSE and NMSE over everything",
    "mrirecon/bart, measure and nrmse", NULL, score, NULL };
