/* auto.c: which method a scan wants, where nobody says. Figures: docs/figures/parallel_imaging.md, What auto takes. */
#include "kray/recon.h"
#include <stdio.h>

/* With fewer than KR_FEW_LINES calibration lines image and maps together (nlinv) gave 2 to 9 dB more on two real brains, R = 4. */

static int is_full(const kr_scan *s)
{
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_mask_facts f;
    return mask && !kr_mask_describe(&f, mask, s->shape) ? f.full : kr_error_code();
}

/* The shortest side of the calibration area among the axes where samples are missing; 0: the centre was not measured, negative: failed. */
static long lines_of(const kr_scan *s, const long most[3])
{
    kr_scoped(array) calib = kr_calibration(s, most);
    if (!calib) {
        if (kr_error_code() == KR_EMEM)
            return kr_error_code();
        kr_error_clear();
        return 0;
    }
    long least = calib->n[KR_X] * calib->n[KR_Y] * calib->n[KR_Z];
    for (int d = KR_X; d <= KR_Z; d++)
        if (calib->n[d] < s->shape.n[d] && calib->n[d] < (most[d] > 0 ? most[d] : KR_FEW_LINES) && !(s->in_image & KR_ON(d)))
            least = calib->n[d] < least ? calib->n[d] : least;
    return least;
}

static const kr_recon *take(kr_auto_choice *a, const char *name, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
    return kr_recon_named(name);
}

const kr_recon *kr_recon_auto(kr_auto_choice *a, const kr_scan *s, const kr_trace *trace)
{
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->rays && !a->given)
        return take(a, "fbp", "X-ray projections");
    if (s->traj && !a->given)
        return coils > 1 ? take(a, "sense", "samples along a trajectory") : take(a, KR_AUTO_USUAL, "samples along a trajectory, one coil");
    int full = s->traj || s->rays ? 0 : s->data ? is_full(s) : !s->mask && !a->undersampled;
    if (full < 0)
        return NULL;
    if (kr_is_multiband(s) && coils > 1)
        return take(a, KR_AUTO_USUAL, "slices measured together");
    if (a->given) {
        snprintf(a->why, sizeof a->why, "the method that --%s belongs to", a->given);
        return kr_recon_named(KR_AUTO_USUAL);
    }
    if (full && a->maps_asked && coils > 1)
        return take(a, "adjoint", "fully sampled, combined by the coil maps asked for");
    if (full)
        return take(a, "rss", "fully sampled");
    if (coils == 1)
        return take(a, KR_AUTO_USUAL, "undersampled, one coil");
    if (a->maps || !s->data)
        return take(a, KR_AUTO_USUAL, "undersampled, several coils");
    long lines = lines_of(s, a->calib);
    if (lines < 0)
        return NULL;
    if (!lines) {
        kr_say(trace, KR_WARNING, "%s: the centre of k-space was not measured, so that there is nothing to make coil maps from: the zero-filled image is written; "
               "give maps of another scan (--coils FILE)", s->file);
        return take(a, "rss", "undersampled, no calibration area");
    }
    if (lines < KR_FEW_LINES && !a->maps_asked && !s->calib)         /* nlinv looks at the data alone */
        return take(a, "nlinv", "undersampled, few calibration lines: image and coil maps together");
    return take(a, KR_AUTO_USUAL, "undersampled, several coils");
}
