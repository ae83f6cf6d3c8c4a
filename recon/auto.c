/* auto.c: which method a scan wants, where nobody says. Figures: docs/figures/parallel_imaging.md, What auto takes. */
#include "kray/range.h"
#include "model.h"
#include "net_method.h"
#include <stdio.h>

/* l1-SPIRiT gave up to 1.4 dB more than l1-wavelets with coil maps, 10 dB and more where the object is larger than the field of view. It wants memory for
 * 8 + coils / 2 copies of a slice or volume. What it may take beside the scan where nobody sets a limit is a constant, so that a scan has one image on every machine. */
static const double MOST_BYTES = 2.0 * (1 << 30);
/* From so many calibration lines on it gave more than nlinv, which makes image and maps together (4 lines: 3 and 4 dB less, 6: 3 more and .4 less, 8: 2 to 6 more). */
enum { SPIRIT_LINES = 6 };
/* Maps of ESPIRiT from fewer lines are worse than nlinv's: 2 to 9 dB at R = 4; where samples are missing along two axes, 10 x 10 of them gave none at all. */
enum { MAP_LINES = KR_FEW_LINES, MAP_POINTS = 12 };

/* Along trajectories l1-wavelets gave .8 to 2 dB more than SENSE, and take 3 to 10 times as long: up to so many points of the image times coils. */
static const double MOST_POINTS = 1 << 24;

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

/* Of small volumes wavelets made far less than SENSE: NRMSE .27 to .43 beside .05 to .13 at 32 x 24 x 16, .07 to .17 beside .05 to .15 at 48 x 36 x 24; at 64 x 48 x 32 they gave more. */
static const long SMALL_VOLUME = 1 << 16;

static bool is_volume(const kr_scan *s) { return s->shape.n[KR_X] > 1 && s->shape.n[KR_Y] > 1 && s->shape.n[KR_Z] > 1; }

static const kr_recon *take(kr_auto_choice *a, const char *name, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
    return kr_recon_named(name);
}

/* Does the calibration area give as many equations as l1-SPIRiT's smallest kernel, of 3 samples an axis, has unknowns? Along how many axes are samples missing? */
static int decides(const kr_scan *s, int *missing)
{
    static const long all[3] = { 0, 0, 0 };
    kr_scoped(array) calib = kr_calibration(s, all);
    if (!calib)
        return kr_error_code();
    long equations = 1, unknowns = s->shape.n[KR_COIL];
    *missing = 0;
    for (int d = KR_X; d <= KR_Z; d++) {
        bool lacks = calib->n[d] < s->shape.n[d];
        *missing += lacks;
        if (d != KR_X && !lacks)
            continue;                                        /* each plane by itself */
        if (lacks && calib->n[d] < 3)
            return 0;
        equations *= calib->n[d] < 3 ? 1 : calib->n[d] - 2;
        unknowns *= calib->n[d] < 3 ? 1 : 3;
    }
    return equations >= unknowns;
}

/* Does one set of maps explain the slice in the middle? Negative: failed. */
static int maps_hold(const kr_scan *s, const long most[3], const kr_trace *trace)
{
    kr_scoped(scan) one = kr_scan_slices(s, s->shape.n[KR_SLICE] / 2, 1);
    kr_coils_opts how = kr_coils_preset;
    bool hold = false;
    for (int d = 0; d < 3; d++)
        how.calib[d] = most[d];
    return !one || kr_coils_hold(&hold, one, &how, trace) ? kr_error_code() : hold;
}

/* What a method takes for one slice, since slices may be worked on one after the other, against what it may. */
static int memory(double *wants, double *has, const kr_auto_choice *a, const kr_recon *m, const kr_scan *s)
{
    kr_auto void *presets = kr_alloc_zero(1, m->opts_size);
    kr_scan one = *s;
    one.shape.n[KR_SLICE] = 1;
    kr_cost cost = { 0 };
    if (!presets || kr_opt_defaults(m->opts, presets) || m->plan(&cost, &one, presets))
        return kr_error_code();
    *wants = cost.bytes;
    *has = a->bytes > 0 && a->bytes < MOST_BYTES ? a->bytes : MOST_BYTES;
    return 0;
}

/* Is so much left out that the learned regulariser is better than l1-SPIRiT? From R = 2.5 on it gave up to 2.3 dB more, and at R = 2 1 to 1.3 more on irregular lines, .4 less to .5 more on
 * regular ones, .3 to .8 less over the plane. Negative: failed. */
static int pays(const kr_scan *s)
{
    static const double least = 2.25, least_irregular = 1.9;
    enum { IRREGULAR_LINES = 1 };                            /* of kr_mask_family */
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_mask_facts f;
    if (!mask || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    return f.accel >= (kr_mask_family(&f) == IRREGULAR_LINES ? least_irregular : least);
}

/* The learned regulariser, where its weights are there and one set of coil maps holds: planes of one frame. Where an object is folded one set of maps costs 10 dB. NULL: not this scan, or failed. */
static const kr_recon *learned(kr_auto_choice *a, const kr_scan *s, const kr_trace *trace)
{
    kr_auto char *weights = shipped_weights("wcrr");
    bool series = false;
    double wants, has;
    int paying = s->data ? pays(s) : 1;
    for (int d = 0; d < KR_AXES; d++)
        series |= d != KR_X && d != KR_Y && d != KR_Z && d != KR_COIL && d != KR_SLICE && s->shape.n[d] > 1;
    if (paying < 0 || memory(&wants, &has, a, kr_recon_named("wcrr"), s))
        return NULL;
    if (!weights || wants > has || series || !paying || (s->shape.n[KR_X] > 1) + (s->shape.n[KR_Y] > 1) + (s->shape.n[KR_Z] > 1) > 2)
        return NULL;
    int hold = s->data && !a->maps ? maps_hold(s, a->calib, trace) : 1;
    return hold > 0 ? take(a, "wcrr", a->maps ? "undersampled, several coils, coil maps given: a learned regulariser" : "undersampled, several coils whose maps hold: a learned regulariser") : NULL;
}

/* Several coils and a calibration area; maps: of which coil maps can be made. */
static const kr_recon *of_coils(kr_auto_choice *a, const kr_scan *s, bool maps, const kr_trace *trace)
{
    if (is_volume(s) && s->shape.n[KR_X] * s->shape.n[KR_Y] * s->shape.n[KR_Z] < SMALL_VOLUME)
        return take(a, "sense", "undersampled, several coils, a small volume");
    if (is_volume(s))                                        /* kernels over three axes: minutes, and not shown to be better */
        return take(a, KR_AUTO_USUAL, "undersampled, several coils, a volume");
    const kr_recon *m = maps && !a->maps_asked ? learned(a, s, trace) : NULL;
    if (m || kr_error_code())
        return m;
    m = kr_recon_named("spirit");
    double bytes, most;
    if (memory(&bytes, &most, a, m, s))
        return NULL;
    if (bytes <= most)
        return take(a, m->name, "undersampled, several coils");
    char wants[32], has[32];
    kr_say(trace, KR_INFO, "%s: l1-SPIRiT (--method spirit) would need %s beside the scan, and auto gives it %s", s->file, kr_size_text(wants, bytes), kr_size_text(has, most));
    return take(a, KR_AUTO_USUAL, "undersampled, several coils, too large for l1-SPIRiT");
}

const kr_recon *kr_recon_auto(kr_auto_choice *a, const kr_scan *s, const kr_trace *trace)
{
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->rays && !a->given)
        return take(a, "fbp", "X-ray projections");
    if (s->traj && !a->given)
        return (double)(kr_count(kr_scan_image_shape(s)) * coils) > MOST_POINTS && coils > 1 ? take(a, "sense", "samples along a trajectory, too large for wavelets")
                                                                                       : take(a, KR_AUTO_USUAL, "samples along a trajectory");
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
    if (full && a->phase)
        return take(a, "adjoint", "fully sampled, with phase");
    if (full)
        return take(a, "rss", "fully sampled");
    if (coils == 1)
        return take(a, KR_AUTO_USUAL, "undersampled, one coil");
    if (a->maps) {
        const kr_recon *m = learned(a, s, trace);
        return m || kr_error_code() ? m : take(a, KR_AUTO_USUAL, "undersampled, several coils, coil maps given");
    }
    if (!s->data)
        return of_coils(a, s, true, trace);
    long lines = lines_of(s, a->calib);
    if (lines < 0)
        return NULL;
    if (!lines) {
        kr_say(trace, KR_WARNING, "%s: the centre of k-space was not measured, so that there is nothing to make coil maps from: the zero-filled image is written; "
               "give maps of another scan (--coils FILE)", s->file);
        return take(a, "rss", "undersampled, no calibration area");
    }
    int missing = 0, fits = decides(s, &missing);
    if (fits < 0)
        return NULL;
    bool few = lines < (fits ? SPIRIT_LINES : missing > 1 ? MAP_POINTS : MAP_LINES);
    if (few && !a->maps_asked && !s->calib)                  /* nlinv looks at the data alone */
        return take(a, "nlinv", "undersampled, few calibration lines: image and coil maps together");
    if ((few || !fits) && is_volume(s))
        return of_coils(a, s, false, trace);
    if (few || !fits)
        return take(a, KR_AUTO_USUAL, "undersampled, several coils, too few calibration lines for l1-SPIRiT");
    return of_coils(a, s, lines >= (missing > 1 ? MAP_POINTS : MAP_LINES), trace);
}
