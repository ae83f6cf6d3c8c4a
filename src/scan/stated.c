/* stated.c: what the user states of a scan beyond its file. */
#include "kray/trajectory.h"
#include <string.h>

static int matrix(kr_scan *s, const long n[3])
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--matrix is for scans with a trajectory; this one is on a grid of its own");
    for (int d = 0; d < 3; d++) {
        if (s->enc.encoded[d] > 1 && s->enc.encoded[d] != n[d])
            return kr_fail(KR_EUSAGE, "--matrix %ld,%ld,%ld: the file says %ld along %s", n[0], n[1], n[2], s->enc.encoded[d], kr_axis_name(d));
        s->enc.encoded[d] = s->enc.recon[d] = n[d];
    }
    return 0;
}

static bool some(const double v[3]) { return v[0] != 0 || v[1] != 0 || v[2] != 0; }

/* Voxels of the image's matrix, which the trajectory's range tells where nothing else does. */
static int voxel_along(kr_scan *s, const kr_stated *what)
{
    const kr_along *a = what->along;
    if (a && a->unit)
        s->traj_unit = a->unit;
    bool told = s->enc.encoded[0] > 1 || s->enc.recon[0] > 1, known = s->enc.encoded_mm[0] > 0 || s->enc.recon_mm[0] > 0;
    if (a && some(a->file_mm) && !known ? kr_scan_widen(s, a->file_mm) : !told && kr_scan_trajectory(s, NULL))
        return kr_error_code();
    return kr_scan_voxel(s, what->voxel_mm);
}

/* What moves the trajectory (field of view, delays) or goes by it (shifts, weights). */
static int along(kr_scan *s, const kr_stated *what, const kr_trace *trace)
{
    static const kr_along none = { 0 };
    const kr_along *a = what->along ? what->along : &none;
    bool gated = a->gates.phases > 1 || a->gates.breathing > 1;
    if (gated && what->spokes)
        return kr_fail(KR_EUSAGE, "--spokes makes frames of time, --phases and --breathing of states of heart and breathing: only one of these is possible");
    if (gated && what->density)
        return kr_fail(KR_EUSAGE, "--density from a file is for the readouts as measured, not for those sorted by --phases and --breathing");
    if (what->spokes && what->density)
        return kr_fail(KR_EUSAGE, "--density from a file is for the readouts as measured, not for frames of --spokes %ld", what->spokes);
    bool lag = what->delay_auto || some(what->delay), moved = some(a->fov_mm) || some(a->shift_mm);
    if (a->unit && !s->traj)
        return kr_fail(KR_EUSAGE, "--traj-units are of a trajectory; this scan is on a grid");
    if (a->unit && what->traj_spec)
        return kr_fail(KR_EUSAGE, "--traj-units are of a trajectory from a file; %s says its own", what->traj_spec);
    s->traj_unit = a->unit ? a->unit : s->traj_unit;
    bool known = s->enc.encoded_mm[0] > 0 || s->enc.recon_mm[0] > 0;
    if ((some(a->file_mm) && !known && kr_scan_widen(s, a->file_mm)) || (some(a->fov_mm) && kr_scan_widen(s, a->fov_mm)))
        return kr_error_code();
    if (some(a->fov_mm) && !known && !some(a->file_mm))
        kr_say(trace, KR_INFO, "--fov: no field of view was known, so that this is the one of %ld x %ld voxels; with --voxel too the image is as wide as --fov says", s->enc.encoded[0],
               s->enc.encoded[1]);
    if (!moved && !lag && !gated && !a->field && !a->girf && !what->density && !what->density_kind)
        return what->spokes ? kr_scan_frames(s, what->spokes, trace) : 0;
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--%s is for scans with a trajectory; this one is on a grid", moved ? "fov-shift" : a->field ? "field-map" : a->girf ? "girf" : gated ? a->gates.phases > 1 ? "phases" : "breathing" : lag ? "delay" : "density");
    if (kr_scan_trajectory(s, trace))
        return kr_error_code();
    if (a->girf && kr_scan_girf(s, a->girf, a->dwell_us, trace))
        return kr_fail_in("transfer functions");
    double D[3][3] = { { what->delay[0], 0, 0 }, { 0, what->delay[1], 0 }, { 0, 0, what->delay[2] } };
    if (what->delay_auto && kr_scan_lag(D, s, trace))
        return kr_error_code();
    if (what->delay_auto)
        kr_say(trace, KR_INFO, "gradient delays: x %.3f, y %.3f, xy %.3f samples%s", D[0][0], D[1][1], D[0][1], s->traj->n[KR_CHAN] > 2 ? " (z too)" : "");
    if (lag && kr_traj_delay(s->traj, (const double (*)[3])D))
        return kr_error_code();
    if ((some(a->shift_mm) && kr_scan_shift(s, a->shift_mm)) || (what->spokes && kr_scan_frames(s, what->spokes, trace)) || (gated && kr_scan_gate(s, &a->gates, trace)))
        return kr_error_code();
    if (a->field && kr_scan_field(s, a->field, a->first_us, a->dwell_us, trace))
        return kr_fail_in("field map");
    if (what->density_kind) {
        kr_array_unref(&s->density);
        s->density = kr_scan_density(s, what->density_kind);
        return s->density ? 0 : kr_error_code();
    }
    return what->density ? kr_scan_attach_density(s, what->density) : 0;
}

/* The single-band reference: of the same coils and readout. */
static int reference_from(kr_scan *s, const kr_scan *r)
{
    if (kr_is_multiband(r) || r->shape.n[KR_Z] > 1 || r->traj)
        return kr_fail(KR_EREFUSED, "%s: a single-band reference is a 2D scan of one slice at a time, not of shape %s", r->file ? r->file : "single-band scan",
                       kr_shape_text(r->shape));
    kr_array *k = kr_scan_kspace(r);
    for (int d = KR_ECHO; k && d < KR_AXES; d++) {           /* of the first frame */
        kr_array *first = kr_array_at(k, d, 0);
        kr_array_unref(&k);
        k = first;
    }
    kr_array_unref(&s->calib);
    kr_array_unref(&s->calib_mask);
    s->calib = kr_array_packed(k);
    kr_array_unref(&k);
    if (!s->calib)
        return kr_error_code();
    if (r->geom->slices != s->calib->n[KR_SLICE])
        return 0;
    kr_geom *g = kr_geom_copy(r->geom);
    if (!g)
        return kr_error_code();
    kr_geom_unref(&s->geom);
    s->geom = g;
    return 0;
}

static int multiband(kr_scan *s, const kr_stated *what)
{
    long factor = what->multiband, shift = what->caipi, as_read = s->multiband.factor;
    if (!factor && !kr_is_multiband(s)) {
        if (shift || what->single_band)
            return kr_fail(KR_EUSAGE, "--%s is for slices measured together, and the file does not say that they are: --multiband N does",
                           shift ? "caipi" : "single-band");
        return 0;
    }
    if (factor > 1 && as_read > 1 && factor != as_read)
        return kr_fail(KR_EREFUSED, "--multiband %ld, and the file says that %ld slices were measured together", factor, as_read);
    if ((factor || shift) && kr_multiband_set(s, factor ? factor : as_read, shift ? shift : s->multiband.shift))
        return kr_error_code();
    return what->single_band ? reference_from(s, what->single_band) : 0;
}

/* Each line of the text; the text is cleared. */
static void warn(const kr_scan *s, kr_text *t, const kr_trace *trace)
{
    for (const char *p = t->s, *end; trace && p && *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\n");
        kr_say(trace, KR_WARNING, "%s: %.*s", s->file ? s->file : "scan", (int)(end - p), p);
    }
    kr_text_clear(t);
}

static int measured(kr_scan *s, bool centred, const kr_trace *trace)
{
    kr_text t = { 0 };
    if (kr_scan_measured(&t, s)) {
        kr_text_clear(&t);
        return kr_error_code();
    }
    warn(s, &t, trace);
    if (!trace)
        return 0;
    bool known;
    (void)kr_scan_kspace_sign(s, &known);
    if (!known)
        kr_scan_sign_text(&t, s);
    if (t.len)
        kr_say(trace, KR_INFO, "%s: %s", s->file ? s->file : "scan", t.s);
    kr_text_clear(&t);
    if ((!centred && kr_scan_centre_check(&t, s)) || kr_scan_uneven(&t, s)) {
        kr_text_clear(&t);
        return kr_error_code();
    }
    warn(s, &t, trace);
    return 0;
}

int kr_scan_state(kr_scan *s, const kr_stated *what, const kr_trace *trace)
{
    bool off_grid = s->traj || what->traj || what->traj_spec;
    s->kspace_sign = what->kspace_sign;
    if (some(what->voxel_mm) && !off_grid && kr_scan_voxel(s, what->voxel_mm))
        return kr_error_code();
    if ((what->centred && kr_scan_centre(s, what->centre)) || measured(s, what->centred, trace))
        return kr_error_code();
    if (what->traj_spec && kr_scan_make_trajectory(s, what->traj_spec, what->matrix[0] ? what->matrix : NULL))
        return kr_error_code();
    if (what->traj && !what->traj_spec && kr_scan_attach_trajectory(s, what->traj))
        return kr_fail_in("trajectory");
    if ((what->matrix[0] && matrix(s, what->matrix)) || (some(what->voxel_mm) && off_grid && voxel_along(s, what)) || along(s, what, trace) || multiband(s, what))
        return kr_error_code();
    return what->covariance && kr_scan_covariance(s, what->covariance) ? kr_fail_in("covariance") : 0;
}
