/* score_cmrxrecon2024.c: as the CMRxRecon 2024 challenge counts: each picture less its mean, divided by its standard
 * deviation. Its Val_Score2024.py gives the target where Evaluation.py's calmetric expects the prediction; calmetric
 * itself exchanges the two unless the array has a fourth axis: so with frames, range and NMSE's denominator come from
 * the reconstruction. Scores that should equal the challenge's follow it. */
#include "score.h"
#include <math.h>
#include <string.h>

static void standardise(kr_seen *v, long n)
{
    double sum = 0, squares = 0;
    for (long i = 0; i < n; i++)
        sum += v->p[i];
    v->shift = sum / (double)n;
    for (long i = 0; i < n; i++)
        squares += (v->p[i] - v->shift) * (v->p[i] - v->shift);
    v->unit = sqrt(squares / (double)n) + 1e-8;
}

static int see(kr_pair *p, const kr_extent *own, bool many)
{
    double t_max = own->t_max;
    if (own->t_max <= own->t_min || own->r_max <= own->r_min)
        return kr_fail(KR_ENUMBER, "the %s is constant and cannot be divided by its deviation", own->t_max > own->t_min ? "reconstruction" : "target");
    if (many) {
        kr_seen t = p->t;
        p->t = p->r;
        p->r = t;
        t_max = own->r_max;
    }
    standardise(&p->t, p->nx * p->ny);
    standardise(&p->r, p->nx * p->ny);
    p->range = (t_max - p->t.shift) / p->t.unit;
    return 0;
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_PICTURE, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

static int crop(kr_array **image, const kr_array *target, const char *name)
{
    (void)target;
    return kr_crop_ranking(image, strstr(name, "map") != NULL);
}

const kr_protocol kr_protocol_cmrxrecon2024 = { "cmrxrecon2024",
    "each picture less its mean, divided by its deviation; range: maximum; SSIM 7 x 7; means over pictures",
    "CmrxRecon/CMRxRecon2025-snippets, evaluation-2024", "cmrxrecon", score, crop };
