/* score_fastmri.c: as fastMRI's evaluate.py counts: one data range for the volume, sums over the volume, SSIM's mean over slices. */
#include "score.h"

static int see(kr_pair *p, const kr_extent *volume, bool many)
{
    (void)many;
    p->range = volume->t_max;
    return p->range > 0 ? 0 : kr_fail(KR_ENUMBER, "the target's largest value, %g, is no data range", p->range);
}

static int score(kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    static const kr_dialect d = { .group = KR_GROUP_VOLUME, .pooled = true, .single = true, .see = see };
    return kr_score_by(&d, slice, volume, target, recon, roi);
}

/* The square whose side is the target's number of columns. evaluate.py refuses targets with fewer rows than columns, so
 * the side is the smaller of the two, whichever axis the file's rows became. Its crop starts at (n - side) / 2. */
static int crop(kr_array **image, const kr_array *target, const char *name)
{
    (void)name;
    long side = target->n[KR_X] < target->n[KR_Y] ? target->n[KR_X] : target->n[KR_Y];
    for (int d = KR_X; d <= KR_Y; d++) {
        long n = (*image)->n[d];
        if (n < side)
            return kr_fail(KR_ESHAPE, "an image of %s cannot be cropped to the target's %ld x %ld", kr_shape_text(kr_array_shape(*image)), side, side);
        kr_array *c = kr_array_range(*image, d, (n - side) / 2, side);
        if (!c)
            return kr_error_code();
        kr_array_unref(image);
        *image = c;
    }
    return 0;
}

const kr_protocol kr_protocol_fastmri = { "fastmri",
    "range: maximum of the target volume; SSIM 7 x 7, mean over slices; NMSE and PSNR over the volume",
    "facebookresearch/fastMRI, evaluate.py; Zbontar et al., arXiv:1811.08839", "fastmri", score, crop };
