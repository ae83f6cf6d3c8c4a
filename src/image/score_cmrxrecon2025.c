/* score_cmrxrecon2025.c: as the CMRxRecon 2025 challenge counts: magnitudes divided by their own 99.5 % percentile, range
 * the maximum after that. Its Val_Score2025.py gives the target where Evaluation.py's calmetric expects the prediction;
 * calmetric itself exchanges the two unless there are slices and frames: so with frames, range and NMSE's denominator
 * come from the reconstruction, without them from the target. Scores that should equal the challenge's follow it. */
#include "score.h"
#include "kray/select.h"
#include <math.h>
#include <string.h>

/* Sets unit, returns the largest value as seen; negative on lack of memory. */
static double divide_by_percentile(kr_seen *v, long n)
{
    kr_auto float *a = kr_alloc((size_t)n, sizeof *a);
    if (!a)
        return -1;
    for (long i = 0; i < n; i++)
        a[i] = fabsf(v->p[i]);
    double at = 0.995 * (double)(n - 1);
    long k = (long)at;
    kr_select(a, n, k);
    float next = k + 1 < n ? a[k + 1] : a[k], largest = a[k];
    for (long i = k + 1; i < n; i++) {
        next = a[i] < next ? a[i] : next;
        largest = a[i] > largest ? a[i] : largest;
    }
    double q = a[k] + (at - (double)k) * ((double)next - a[k]);
    v->magnitude = true;
    v->unit = q > 0 ? q : 1;            /* the challenge leaves such pictures as they are */
    return largest / v->unit;
}

static int see(kr_pair *p, const kr_extent *own, bool many)
{
    (void)own;
    if (many) {
        kr_seen t = p->t;
        p->t = p->r;
        p->r = t;
    }
    p->range = divide_by_percentile(&p->t, p->nx * p->ny);
    double other = divide_by_percentile(&p->r, p->nx * p->ny);
    if (p->range < 0 || other < 0)
        return kr_error_code();
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "the %s is all zero", many ? "reconstruction" : "target");
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_PICTURE, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

static int crop(kr_array **image, const kr_array *target, const char *name)      /* run4Ranking_2025.m */
{
    (void)target;
    static const char *const keep[] = { "T1map", "T2map", "T2smap", "T1rho" };
    bool all = false;
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        all = all || strstr(name, keep[i]);
    return kr_crop_ranking(image, all);
}

const kr_protocol kr_protocol_cmrxrecon2025 = { "cmrxrecon2025",
    "each picture divided by its own 99.5 % percentile; range: maximum; SSIM 7 x 7; means over pictures",
    "CmrxRecon/CMRxRecon2025-snippets, evaluation-2025", "cmrxrecon", score, crop };
