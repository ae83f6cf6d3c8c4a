/* street.c: the whole street from a scan to an image. */
#include "kray/ct.h"
#include "street.h"
#include "kray/trajectory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Maps are about as large wherever the object is: the square of the largest value over the mean square is that of a few times the points
 * outside of it. Of k-space and of images with a bright spot it is thousands. */
enum { LIKE_NO_MAPS = 200 };

static int fits(const kr_array *maps, const kr_scan *s, const kr_trace *trace)
{
    static const int axes[] = { KR_X, KR_Y, KR_Z, KR_COIL };
    kr_shape want = kr_scan_image_shape(s);
    want.n[KR_COIL] = s->data->n[KR_COIL];
    for (int i = 0; i < 4; i++)
        if (maps->n[axes[i]] != (want.n[axes[i]] ? want.n[axes[i]] : 1))
            return kr_fail(KR_ESHAPE, "coil maps of shape %s for %s %s", kr_shape_text(kr_array_shape(maps)), s->traj ? "an image from coils" : "data of shape",
                           kr_shape_text(s->traj ? want : s->shape));
    if (maps->n[KR_SLICE] != 1 && maps->n[KR_SLICE] != s->data->n[KR_SLICE])
        return kr_fail(KR_ESHAPE, "coil maps of %ld slices for data of %ld", maps->n[KR_SLICE], s->data->n[KR_SLICE]);
    double size = kr_norm(maps), most = kr_max_abs(maps), peak = most / size * most / size * (double)kr_count(kr_array_shape(maps)) / (double)maps->n[KR_COIL];
    if (!isfinite(size) || size <= 0)
        return kr_fail(KR_ENUMBER, "the coil maps are all zero or not finite");
    if (peak > LIKE_NO_MAPS)
        kr_say(trace, KR_WARNING, "the coil maps hold nearly all of their energy in a few points (the largest square is %.3g times the mean): they look like k-space, not like maps", peak);
    return 0;
}

/* Points that are left of an image of n points along one axis. The header's own matrix, unless its field of view asks for more of the points
 * that were measured: a coarser image of the whole is not made by cutting. Fields of view are rounded: 5 %. */
static long within(const kr_encoding *e, int a, long n)
{
    long want = e->recon[a];
    if (want < 1 || want >= n)
        return n;
    double voxel = e->encoded[a] > 0 ? e->encoded_mm[a] / (double)e->encoded[a] : 0, points = voxel > 0 ? e->recon_mm[a] / voxel : 0;
    return points > 1.05 * (double)want ? (points < (double)n ? lround(points) : n) : want;
}

int warn_of_factor(const kr_scan *s, const kr_trace *trace)
{
    kr_mask_facts f;
    if (s->traj)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);                       /* also of data whose file says nothing of it */
    if (!mask || kr_mask_describe(&f, mask, s->shape))
        return kr_error_code();
    long coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->multiband.depth)                                /* empty planes need no unfolding */
        f.outer_accel = f.accel * (double)s->multiband.factor / (double)s->multiband.depth;
    if (f.outer_accel > (double)coils)
        kr_say(trace, KR_WARNING, "the acceleration of %.3g outside the ACS exceeds the %ld coils: expect noise amplification and aliasing; "
               "undersample less, or use --method wavelet", f.outer_accel, coils);
    return 0;
}

/* The image on the grid that the scan asks for: the middle where it is smaller than what was encoded. Voxels keep their size. */
static int crop(kr_image **image, const kr_scan *s, const kr_trace *trace)
{
    static const int axes[] = { KR_X, KR_Y, KR_Z };
    kr_image *im = *image;
    kr_array *a = kr_array_ref(im->data);
    bool whole = kr_meta_get(im->meta, "kray_uncropped");    /* the configuration of a network wants it so */
    for (int i = 0; a && i < 3; i++) {
        long want = s->enc.recon[i], have = a->n[axes[i]], keep = whole ? have : within(&s->enc, i, have);
        if (!whole && keep != want && want > 0 && want < have)
            kr_say(trace, KR_INFO, "the header asks for %ld points along %s in a field of view of %.4g mm; the %ld that were measured there are kept", want,
                   kr_axis_name(axes[i]), s->enc.recon_mm[i], keep);
        if (keep < have) {
            kr_array *c = kr_array_crop(a, axes[i], keep);
            kr_array_unref(&a);
            a = c;
        }
        if (s->enc.encoded_mm[i] > 0 && s->enc.encoded[i] > 0 && (have > 1 || !(im->geom->fov_mm[i] > 0)))
            im->geom->fov_mm[i] = s->enc.encoded_mm[i] / (double)s->enc.encoded[i] * (double)keep;
        else if (keep < have && s->enc.recon_mm[i] > 0 && s->enc.recon[i] > 0)
            im->geom->fov_mm[i] = s->enc.recon_mm[i] / (double)s->enc.recon[i] * (double)keep;
    }
    kr_array *packed = kr_array_packed(a);
    kr_array_unref(&a);
    if (!packed)
        return kr_error_code();
    kr_array_unref(&im->data);
    im->data = packed;
    return 0;
}

void kept_drop(kept *k)
{
    kr_mixtures_unref(&k->mixtures);
    kr_array_unref(&k->maps);
    if (k->left)
        k->by->forget(&k->left);
}

/* Runs the method with the image's geometry in place of the scan's, whose directions belong to raw data. */
static int run_placed(kr_image **out, kr_scan *scan, const kr_recon *method, const kr_array *maps, const void *opts, kept *keep, const kr_trace *trace)
{
    kr_geom *stored = scan->geom, *placed = kr_scan_image_geom(scan);
    if (!placed)
        return kr_error_code();
    scan->geom = placed;
    int (*by)(kr_image **, const kr_scan *, const kr_array *, const void *, void **, const kr_trace *) = keep && keep->follow && method->follow ? method->follow : method->again;
    bool again = keep && by;
    if (again && keep->left && strcmp(keep->by->name, method->name))
        keep->by->forget(&keep->left);
    if (again)
        keep->by = kr_recon_named(method->name);     /* of the table: this may be a copy with other needs */
    int e = again ? by(out, scan, maps, opts, &keep->left, trace) : method->run(out, scan, maps, opts, trace);
    scan->geom = stored;
    kr_geom_unref(&placed);
    return e;
}

/* x = sqrt(sum over coils of |S|^2) x: what was found with weighted maps, on the scale of maps that are not. */
enum { RUN = 128 };
struct weighted { kr_array *x; const kr_array *maps; };

static int one_line(void *self, long i)
{
    const struct weighted *w = self;
    const kr_array *S = w->maps;
    long nx = S->n[KR_X], lines = S->n[KR_Y] * S->n[KR_Z], slice = S->n[KR_SLICE] > 1 ? i / lines % S->n[KR_SLICE] : 0;
    kr_cfloat *x = KR_C(w->x) + i * nx;
    const kr_cfloat *s = KR_C(S) + slice * S->step[KR_SLICE] + i % lines * nx;
    for (long from = 0; from < nx; from += RUN) {
        long n = nx - from < RUN ? nx - from : RUN;
        float sum[RUN] = { 0 };
        for (long c = 0; c < S->n[KR_COIL]; c++)
            for (long k = 0; k < n; k++)
                sum[k] += kr_cabs2(s[c * S->step[KR_COIL] + from + k]);
        for (long k = 0; k < n; k++)
            x[from + k] = kr_c(sqrtf(sum[k]) * kr_re(x[from + k]), sqrtf(sum[k]) * kr_im(x[from + k]));
    }
    return 0;
}

static int unweigh(kr_image *im, const kr_array *maps)
{
    struct weighted w = { im->data, maps };
    return kr_for(kr_count(kr_array_shape(im->data)) / maps->n[KR_X], one_line, &w);
}

/* Squares of data in units as small as 1e-20 or as large as 1e20 leave single precision: such data are worked on times a power of
 * two, which rounds nothing, and the image is taken back. Returns the exponent; 0: nothing is to be done. */
static int exponent_of(const kr_scan *s)
{
    int e = 0;
    double most = kr_max_abs(s->data);
    frexp(most, &e);
    return most > 0 && isfinite(most) && abs(e) > 40 ? e : 0;
}

static kr_array *scaled(const kr_array *a, int exponent)
{
    kr_array *c = a ? kr_array_copy(a) : NULL;
    if (c)
        for (int left = exponent, step; left; left -= step) {        /* 2^130 is no float */
            step = left > 100 ? 100 : left < -100 ? -100 : left;
            kr_scale(c, ldexpf(1, step));
        }
    return c;
}

static int take_back(kr_image *im, int exponent)
{
    kr_scoped(array) x = scaled(im->data, exponent);
    if (!x)
        return kr_error_code();
    kr_array *old = im->data;
    im->data = x;
    x = old;
    static const char *const in_units[] = { "kray_residual", "kray_scale" };
    for (int i = 0; i < 2; i++) {
        double v = kr_meta_number(im->meta, in_units[i], NAN);
        if (isfinite(v) && kr_meta_set(im->meta, in_units[i], "%.9g", ldexp(v, exponent)))
            return kr_error_code();
    }
    return 0;
}

/* Slices whose maps are not those that were asked for are counted by the caller, or told of here. */
static kr_array *estimate(const kr_scan *s, const kr_coils_opts *how, const kr_trace *trace)
{
    kr_coils_opts o = *how;
    kr_coils_facts facts = { 0, 0 };
    if (!o.facts)
        o.facts = &facts;
    kr_array *maps = kr_coils_estimate(s, &o, trace);
    if (maps)
        kr_say_coils(s->file, &facts, s->shape.n[KR_SLICE], trace);
    return maps;
}

static const double SPARSE = .8;                 /* 11 golden spokes sample as much of the middle 12 x 12 */

/* Gridding fills all of k-space, and coil maps are to be made of what was sampled. */
static int calibrate_within(kr_scan *grid, const kr_scan *scan, const kr_trace *trace)
{
    double part;
    kr_array_unref(&grid->calib_area);
    grid->calib_area = kr_scan_covered(&part, scan);
    if (grid->calib_area && part < SPARSE)
        kr_say(trace, KR_WARNING, "%s: readouts sample %.0f %% of the middle of k-space that coil maps are made from, too little to rely on them: take maps of another scan "
               "(--coils FILE), or more readouts", scan->file ? scan->file : "scan", 100 * part);
    return grid->calib_area ? 0 : kr_error_code();
}

static int reconstruct(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_array *coils,
                       const kr_coils_opts *coil_opts, kept *keep, const kr_trace *trace)
{
    bool maps_known = coils || (scan->coils && scan->coils->n[KR_COIL] == scan->shape.n[KR_COIL]) || (keep && keep->maps);
    bool gridded = scan->traj && (!(method->needs & KR_TAKES_TRAJECTORY) || (method->needs & KR_NEEDS_COILS && !maps_known));
    kr_scoped(scan) grid = gridded ? kr_scan_gridded(scan, scan->density) : NULL;        /* for coil maps, and for methods that want a grid */
    if (gridded && (!grid || calibrate_within(grid, scan, method->needs & KR_NEEDS_COILS && !maps_known ? trace : NULL)))
        return kr_error_code();
    if (grid && !(method->needs & KR_TAKES_TRAJECTORY)) {
        if (method->needs)
            kr_say(trace, KR_WARNING, "%s works on a Cartesian grid: the samples are gridded, as if all of k-space had been measured", method->name);
        scan = grid;
    }
    bool slab = scan->multiband.depth > 0;
    if (slab && !(method->needs & KR_TAKES_SLABS))
        return kr_fail(KR_EREFUSED, "%ld slices were measured together, which %s cannot tell apart: take --method slice-grappa, sense or a "
                       "regularised one", scan->multiband.factor, method->name);
    bool singles = slab && coils && coils->n[KR_Z] == 1;
    kr_scoped(array) maps = singles ? kr_multiband_stack(coils, scan) : coils ? kr_array_ref(coils) : NULL;
    if (coils && !maps)
        return kr_error_code();
    kr_coils_opts how = coil_opts ? *coil_opts : kr_coils_preset;
    how.prior = method->needs & KR_TAKES_PRIOR && how.crop < 0 && how.maps == 1;
    how.soft |= (method->needs & KR_SOFT_MAPS) != 0 && how.crop < 0;
    bool weighted = false;
    if (method->needs & KR_NEEDS_COILS) {
        if (!maps && scan->coils && scan->coils->n[KR_COIL] == scan->shape.n[KR_COIL])
            maps = slab ? kr_multiband_stack(scan->coils, scan) : kr_array_ref(scan->coils);
        else if (!maps && keep && keep->maps) {
            maps = kr_array_ref(keep->maps);
            weighted = keep->prior;
        } else if (!maps) {
            maps = estimate(grid ? grid : scan, &how, trace);
            weighted = how.prior;
            if (keep && maps) {
                keep->maps = kr_array_ref(maps);
                keep->prior = weighted;
            }
        }
        if (!maps)
            return kr_error_code();
    }
    if (maps && method->needs && fits(maps, scan, trace))
        return kr_error_code();
    if (scan != grid)                                        /* it has served */
        kr_scan_unref(&grid);
    if (kr_stopped(trace) || run_placed(out, scan, method, maps, opts, keep, trace))
        return kr_error_code();
    int e = weighted ? unweigh(*out, maps) : 0;
    if (!e && slab && (*out)->data->n[KR_Z] == scan->multiband.depth)        /* not where the method did */
        e = kr_multiband_close(*out, scan);
    if (!e)
        e = crop(out, scan, trace);
    if (!e)
        e = kr_image_check(*out);
    if (e)
        kr_image_unref(out);
    return e;
}

static const double OUTSIDE = .05, SURROUND = .01;       /* of the energy; a twentieth is plainly seen, and the lesser is the rim of undersampled images */

int street_widens(bool *wide, double *outside, kr_scan *scan, const kr_recon *method, const kr_array *coils, const kept *keep, const kr_trace *trace)
{
    bool dense = scan->density;
    if (kr_scan_trajectory(scan, trace) || (!scan->density && !(scan->density = kr_scan_density(scan, NULL))))
        return kr_error_code();
    /* What is there already has the image's size, and a stream has no time. Methods without coil maps that work on the samples slice by slice find maps of their own. */
    bool solves = method->opts && (method->needs & KR_NEEDS_COILS || (method->needs & KR_TAKES_TRAJECTORY && method->needs & KR_EACH_SLICE));
    bool may = solves && !coils && !scan->coils && !scan->field && !dense && !keep;
    *outside = -1;
    if ((may || trace) && kr_scan_outside(outside, scan))
        return kr_error_code();
    *wide = may && *outside > SURROUND;
    return 0;
}

int reconstruct_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_array *coils, const kr_coils_opts *coil_opts,
                     kept *keep, const kr_trace *trace)
{
    *out = NULL;
    double grown = 1;                                        /* field of view that is solved for, over that of the image */
    if (scan->rays) {                                        /* no coils, no grid in k-space */
        int e = method->run(out, scan, NULL, opts, trace);
        e = e ? e : kr_ct_finish(*out, scan);
        e = e || !(kr_max_abs(scan->data) > 0) ? e : kr_image_check(*out);      /* planes of nothing but air: a part of a scan (ct.h) */
        if (e)
            kr_image_unref(out);
        return e;
    }
    if (scan->shape.n[KR_SAMPLE] > 1 || scan->shape.n[KR_VIEW] > 1) {
        if (!scan->traj)
            return kr_fail(KR_EREFUSED, "the readouts do not lie on a Cartesian grid (trajectory: %s), and there are no k-space positions: give them "
                           "(--traj FILE)", scan->enc.trajectory[0] ? scan->enc.trajectory : "unknown");
        bool wide = false;
        double outside = -1;
        if (street_widens(&wide, &outside, scan, method, coils, keep, trace))
            return kr_error_code();
        if (wide) {
            if (kr_scan_surround(scan, WIDER, &grown) || !(scan->density = kr_scan_density(scan, NULL)))
                return kr_error_code();
            kr_say(trace, KR_INFO, "%.0f %% of the signal comes from outside of the image's field of view: %ld x %ld voxels are solved for, and the image is the middle of them",
                   100 * outside, scan->enc.encoded[0], scan->enc.encoded[1]);
        } else if (outside > OUTSIDE)
            kr_say(trace, KR_WARNING, "%.0f %% of the signal comes from outside of the image's field of view, where no pixel explains it: expect streaks; a wider image (--fov, or a "
                   "larger --matrix) has none", 100 * outside);
    }
    int exponent = exponent_of(scan);
    if (!exponent) {
        if (reconstruct(out, scan, method, opts, coils, coil_opts, keep, trace))
            return kr_error_code();
        if (grown != 1)
            kr_scale((*out)->data, (float)(1 / grown));
        return 0;
    }
    kr_scan in_units = *scan;
    kr_scoped(array) data = scaled(scan->data, -exponent);
    kr_scoped(array) calib = scaled(scan->calib, -exponent);
    if (!data || (scan->calib && !calib))
        return kr_error_code();
    in_units.data = data;
    in_units.calib = calib;
    kr_say(trace, KR_DETAIL, "data are worked on times 2^%d", -exponent);
    int e = reconstruct(out, &in_units, method, opts, coils, coil_opts, keep, trace);
    if (!e && grown != 1)
        kr_scale((*out)->data, (float)(1 / grown));
    if (!e)
        e = take_back(*out, exponent);
    if (!e)
        e = kr_image_check(*out);
    if (e)
        kr_image_unref(out);
    return e;
}

int kr_reconstruct(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_prepare *prepare,
                   const kr_array *coils, const kr_coils_opts *coil_opts, const kr_trace *trace)
{
    *out = NULL;
    if (prepare) {
        kr_prepare how = *prepare;
        how.oversampling &= !(method->needs & KR_WHOLE_READOUT);
        if (kr_scan_prepare(scan, &how, trace))
            return kr_error_code();
    }
    return reconstruct_kept(out, scan, method, opts, coils, coil_opts, NULL, trace);
}
