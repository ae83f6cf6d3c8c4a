/* cmd_info.c: kray info FILE...: what is inside, for people and for scripts. */
#include "kray/io.h"
#include "kray/pulseq.h"
#include "kray/trajectory.h"
#include "json.h"
#include "info_rays.h"
#include "judge.h"
#include "kray/ct.h"
#include "tool.h"
#include "traj_plot.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct opts { const char *from, *plot; bool json, data; } opts;
static const kr_opt table[] = {
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: a list with an object for each file" },
    { "data", 0, KR_OPT_FLAG, offsetof(opts, data), NULL, NULL, "read all samples even of large scans: range of values, missing lines" },
    { "from", 0, KR_OPT_TEXT, offsetof(opts, from), NULL, "FORMAT", "read as this format, whatever the content looks like" },
    { "plot", 0, KR_OPT_OUT, offsetof(opts, plot), NULL, "FILE.png", "draw where the readouts of one file run through k-space" },
    KR_OPT_END };

/* ---- Facts ---- */
typedef struct range { bool complex; long count, odd, zeros; double least, most, mean; } range;   /* odd: not finite; complex: of |x| */

static range range_of(const kr_array *a)
{
    range r = { .complex = a->type == KR_C32, .count = kr_count(kr_array_shape(a)), .least = INFINITY, .most = -INFINITY };
    double sum = 0;
    for (long i = 0; i < r.count; i++) {
        double v = r.complex ? sqrt((double)kr_cabs2(KR_C(a)[i])) : KR_R(a)[i];
        if (!isfinite(v)) {
            r.odd++;
            continue;
        }
        r.zeros += v == 0;
        r.least = fmin(r.least, v);
        r.most = fmax(r.most, v);
        sum += v;
    }
    r.mean = r.count > r.odd ? sum / (double)(r.count - r.odd) : NAN;
    return r;
}

/* Noise of each channel, and how alike the two most alike channels are. */
typedef struct noise { long channels; double *deviation, correlation; long pair[2]; } noise;

static int noise_of(noise *n, const kr_array *samples)
{
    kr_scoped(array) c = kr_noise_covariance(samples);
    n->channels = samples->n[KR_COIL];
    n->deviation = c ? kr_alloc((size_t)n->channels, sizeof *n->deviation) : NULL;
    if (!n->deviation)
        return kr_error_code();
    for (long i = 0; i < n->channels; i++)
        n->deviation[i] = sqrt(kr_re(KR_C(c)[i * (n->channels + 1)]));
    for (long j = 0; j < n->channels; j++)
        for (long i = j + 1; i < n->channels; i++) {
            double both = n->deviation[i] * n->deviation[j], r = both > 0 ? sqrt(kr_cabs2(KR_C(c)[i + n->channels * j])) / both : 0;
            if (r > n->correlation) {
                n->correlation = r;
                n->pair[0] = j;
                n->pair[1] = i;
            }
        }
    return 0;
}

static double smallest(const double *v, long n)
{
    double m = INFINITY;
    for (long i = 0; i < n; i++)
        m = fmin(m, v[i]);
    return m;
}

static double largest(const double *v, long n)
{
    double m = 0;
    for (long i = 0; i < n; i++)
        m = fmax(m, v[i]);
    return m;
}

/* What is known of the sampling without, or with, looking at the data. */
typedef struct sampling { bool known; kr_mask_facts f; } sampling;

static int sampling_of(sampling *p, const kr_scan *s)
{
    bool grid = s->shape.n[KR_SAMPLE] <= 1 && s->shape.n[KR_VIEW] <= 1;
    kr_scoped(array) found = grid && s->data && !s->mask ? kr_scan_mask(s) : NULL;
    p->known = grid && (s->mask || s->data || s->lines[KR_LINES_IMAGING].count);
    if (!p->known)
        return 0;
    return s->data && !s->mask && !found ? kr_error_code() : kr_mask_describe(&p->f, s->mask ? s->mask : found, s->shape);
}

static double oversampling(const kr_scan *s)
{
    return s->enc.recon_mm[0] > 0 && s->enc.encoded_mm[0] > 0 ? s->enc.encoded_mm[0] / s->enc.recon_mm[0] : 0;
}

static double spacing(const kr_geom *g)
{
    double d = 0;
    for (int k = 0; g->slices > 1 && k < 3; k++)
        d += pow(g->position_mm[1][k] - g->position_mm[0][k], 2);
    return g->slices > 1 ? sqrt(d) : g->spacing_mm;
}

/* ---- As text ---- */
static void line(kr_text *t, const char *label, const char *fmt, ...) KR_PRINTF(3, 4);
static void line(kr_text *t, const char *label, const char *fmt, ...)
{
    char b[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b, sizeof b, fmt, ap);
    va_end(ap);
    kr_text_add(t, "  %-12s %s\n", label, b);
}

static void range_line(kr_text *t, const range *r)
{
    char odd[64] = "";
    if (r->odd)
        snprintf(odd, sizeof odd, "; %ld of them are not finite", r->odd);
    if (r->odd == r->count)
        line(t, "numbers", "%ld, not one of them finite", r->count);
    else
        line(t, "numbers", "%ld, %s from %.6g to %.6g, mean %.6g%s", r->count, r->complex ? "magnitude" : "values", r->least, r->most, r->mean, odd);
}

static void grid_line(kr_text *t, const char *label, const long n[3], const double mm[3], const char *more)
{
    if (n[0] > 0 && !(mm[0] > 0))
        line(t, label, "%ld x %ld x %ld, field of view unknown%s", n[0], n[1], n[2], more);
    else if (n[0] > 0)
        line(t, label, "%ld x %ld x %ld of %.6g x %.6g x %.6g mm%s", n[0], n[1], n[2], mm[0], mm[1], mm[2], more);
}

/* A direction to three digits, without the dust of single precision. */
static const char *direction(char text[64], const double d[3])
{
    double v[3];
    for (int k = 0; k < 3; k++)
        v[k] = round(d[k] * 1e4) / 1e4 + 0.;                 /* + 0.: no -0 */
    snprintf(text, 64, "%.3g %.3g %.3g", v[0], v[1], v[2]);
    return text;
}

static const char *position(char text[64], const double mm[3])
{
    snprintf(text, 64, "%.5g %.5g %.5g", mm[0] + 0., mm[1] + 0., mm[2] + 0.);     /* + 0.: no -0 */
    return text;
}

static void geom_lines(kr_text *t, const kr_geom *g)
{
    const double *p = g->position_mm[0], *q = g->position_mm[g->slices - 1];
    char r[64], f[64], s[64];
    if (!g->known)
        return;
    if (g->slices > 1)
        line(t, "position", "%s to %s mm (left, back, head), %ld slices %.4g mm apart", position(r, p), position(f, q), g->slices, spacing(g));
    else
        line(t, "position", "%s mm (left, back, head)", position(r, p));
    line(t, "directions", "readout %s, phase %s, slice %s", direction(r, g->read_dir), direction(f, g->phase_dir), direction(s, g->slice_dir));
}

static void meta_line(kr_text *t, const char *label, const kr_meta *m, const char *const (*part)[3])
{
    kr_text all = { 0 };
    for (; (*part)[0]; part++) {
        const char *v = kr_meta_get(m, (*part)[0]);
        char rounded[32];
        if (v && !strcmp((*part)[0], "field_T") && strtod(v, NULL) > 0) {     /* as the scanner states it: 2.89362 */
            snprintf(rounded, sizeof rounded, "%.3g", strtod(v, NULL));
            v = rounded;
        }
        if (v && *v)
            kr_text_add(&all, "%s%s%s%s", all.len ? ", " : "", (*part)[1], v, (*part)[2]);
    }
    if (all.len)
        line(t, label, "%s", all.s);
    kr_text_clear(&all);
}

static void meta_lines(kr_text *t, const kr_meta *m)
{
    static const char *const sequence[][3] = { { "protocol", "", "" }, { "sequence", "", "" }, { "acquisition", "", "" }, { "sequence_type", "", "" },
        { "te_ms", "TE ", " ms" }, { "tr_ms", "TR ", " ms" }, { "ti_ms", "TI ", " ms" }, { "flip_deg", "flip angle ", " degrees" }, { NULL, NULL, NULL } };
    static const char *const system[][3] = { { "vendor", "", "" }, { "model", "", "" }, { "field_T", "", " T" }, { "institution", "", "" },
        { "patient_position", "patient ", "" }, { "study_date", "", "" }, { NULL, NULL, NULL } };
    meta_line(t, "sequence", m, sequence);
    meta_line(t, "system", m, system);
}

static void shape_line(kr_text *t, const kr_scan *s)
{
    long coils = s->shape.n[KR_COIL] ? s->shape.n[KR_COIL] : 1;
    kr_text in_image = { 0 };
    for (int d = 0; d < KR_AXES; d++)
        if (s->in_image & KR_ON(d))
            kr_text_add(&in_image, "%s%s", in_image.len ? ", " : "; in image space along ", kr_axis_name(d));
    line(t, "k-space", "%s, %ld coil%s%s", kr_shape_text(s->shape), coils, coils == 1 ? "" : "s", in_image.s ? in_image.s : "");
    kr_text_clear(&in_image);
}

static void sampling_lines(kr_text *t, const kr_scan *s, const sampling *p)
{
    kr_text facts = { 0 }, kinds = { 0 }, band = { 0 };
    const long *r = s->enc.accel;
    if (p->known)
        kr_mask_facts_text(&facts, &p->f);
    if (r[1] > 1)
        kr_text_add(&facts, "%sR = %ld x %ld by the header", facts.len ? "; " : "", r[0], r[1]);
    else if (r[0] > 1)
        kr_text_add(&facts, "%sR = %ld by the header", facts.len ? "; " : "", r[0]);
    line(t, "sampling", "%s", facts.len ? facts.s : "not looked for in the data (--data)");
    if (kr_is_multiband(s)) {
        if (labs(s->multiband.shift) > 1)
            kr_text_add(&band, ", neighbours FOV/%ld apart along y", s->multiband.shift);
        if (kr_multiband_distance(s) > 0)
            kr_text_add(&band, ", %.4g mm apart", kr_multiband_distance(s));
        long bands = s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1;
        line(t, "multiband", "%ld slices at a time, %ld in all%s", s->multiband.factor, s->multiband.factor * bands, band.len ? band.s : "");
    }
    kr_text_clear(&band);
    if (s->calib || s->calib_mask)
        line(t, kr_is_multiband(s) ? "single-band" : "calibration", "%s", kr_shape_text(kr_array_shape(s->calib ? s->calib : s->calib_mask)));
    for (int k = 0; k < KR_LINES_KINDS; k++)
        if (s->lines[k].count)
            kr_text_add(&kinds, "%s%ld %s", kinds.len ? ", " : "", s->lines[k].count, kr_line_kind_name(k));
    if (kinds.len)
        line(t, "lines", "%s", kinds.s);
    kr_text_clear(&facts);
    kr_text_clear(&kinds);
}

static void scan_text(kr_text *t, const kr_scan *s, const sampling *p, const noise *n, const range *r)
{
    char more[64] = "";
    shape_line(t, s);
    if (r)
        range_line(t, r);
    if (oversampling(s) > 1.01)
        snprintf(more, sizeof more, ", readout oversampled %.3g times", oversampling(s));
    grid_line(t, "encoded", s->enc.encoded, s->enc.encoded_mm, more);
    grid_line(t, "image", s->enc.recon, s->enc.recon_mm, "");
    if (*s->enc.trajectory && strcmp(s->enc.trajectory, "cartesian"))
        line(t, "trajectory", "%s%s%s", s->enc.trajectory, s->traj ? ", with k-space positions" : "", s->enc.ramp.read_us > 0 ? ", sampled on ramps" : "");
    kr_traj_facts facts;
    if (s->traj && !kr_traj_describe(&facts, s)) {
        kr_text words = { 0 };
        kr_traj_facts_text(&words, &facts);
        line(t, "positions", "%s", words.s ? words.s : "");
        kr_text_clear(&words);
    } else if (s->traj) {
        line(t, "positions", "%s", kr_error());
        kr_error_clear();
    }
    sampling_lines(t, s, p);
    if (s->dwell_us > 0)
        line(t, "dwell time", "%.4g us", s->dwell_us);
    if (s->noise)
        line(t, "noise", "%ld samples per channel, dwell time %.4g us", s->noise->n[KR_SAMPLE], s->noise_dwell_us);
    if (n->deviation)
        line(t, "", "deviation %.3g to %.3g; largest correlation %.2f (channels %ld, %ld)", smallest(n->deviation, n->channels),
             largest(n->deviation, n->channels), n->correlation, n->pair[0], n->pair[1]);
    if (s->coils)
        line(t, "coil maps", "%s", kr_shape_text(kr_array_shape(s->coils)));
    if (s->reference)
        line(t, "reference", "%s", kr_shape_text(kr_array_shape(s->reference->data)));
    geom_lines(t, s->geom);
    kr_text sign = { 0 };
    kr_scan_sign_text(&sign, s);
    if (sign.len)
        line(t, "", "%s", sign.s);
    kr_text_clear(&sign);
    meta_lines(t, s->meta);
    for (const char *note = s->notes.s; note && *note; ) {
        size_t len = strcspn(note, "\n");
        kr_text_add(t, "  %-12s %.*s\n", note == s->notes.s ? "notes" : "", (int)len, note);
        note += len + (note[len] == '\n');
    }
}

/* ---- As JSON ---- */
static json_t *range_json(const range *r)
{
    json_t *o = json_pack("{s:I,s:I,s:I,s:b}", "count", (json_int_t)r->count, "zeros", (json_int_t)r->zeros, "not_finite", (json_int_t)r->odd, "complex", r->complex);
    if (r->odd < r->count) {
        json_object_set_new(o, r->complex ? "least_magnitude" : "least", json_real(r->least));
        json_object_set_new(o, r->complex ? "largest_magnitude" : "largest", json_real(r->most));
        json_object_set_new(o, r->complex ? "mean_magnitude" : "mean", json_real(r->mean));
    }
    return o;
}

static json_t *geom_json(const kr_geom *g)
{
    json_t *positions = json_array();
    for (long i = 0; i < g->slices; i++)
        json_array_append_new(positions, json_numbers(g->position_mm[i], 3));
    return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:f}", "known", g->known, "fov_mm", json_numbers(g->fov_mm, 3), "read_dir", json_numbers(g->read_dir, 3),
                     "phase_dir", json_numbers(g->phase_dir, 3), "slice_dir", json_numbers(g->slice_dir, 3), "position_mm", positions, "spacing_mm", spacing(g));
}

static json_t *sampling_json(const kr_scan *s, const sampling *p)
{
    json_t *o = json_object();
    if (p->known) {
        kr_text t = { 0 };
        kr_mask_facts_text(&t, &p->f);
        json_object_set_new(o, "text", json_words(t.s ? t.s : ""));
        kr_text_clear(&t);
        json_object_set_new(o, "acceleration", json_real(p->f.accel));
        json_object_set_new(o, "acceleration_outside_centre", json_real(p->f.outer_accel));
        json_object_set_new(o, "fully_sampled", json_boolean(p->f.full));
        json_object_set_new(o, "encoded_lines", json_integers(p->f.encoded, 3));
        json_object_set_new(o, "centre", json_integers(p->f.centre, 3));
        json_object_set_new(o, "step_outside_centre", json_integers(p->f.step, 3));
        json_object_set_new(o, "partial_fourier", json_numbers(p->f.partial, 3));
    }
    if (s->enc.accel[0] > 0)
        json_object_set_new(o, "header_acceleration", json_integers(s->enc.accel, 2));
    return o;
}

static json_t *scan_json(const kr_scan *s, const sampling *p, const noise *n, const range *r)
{
    json_t *o = json_pack("{s:s,s:o,s:I,s:I,s:s}", "kind", "scan", "shape", json_shape(s->shape), "coils", (json_int_t)(s->shape.n[KR_COIL] ? s->shape.n[KR_COIL] : 1),
                          "slices", (json_int_t)(s->shape.n[KR_SLICE] ? s->shape.n[KR_SLICE] : 1), "trajectory", s->enc.trajectory);
    json_t *in_image = json_array(), *lines = json_object(), *notes = json_array();
    for (int d = 0; d < KR_AXES; d++)
        if (s->in_image & KR_ON(d))
            json_array_append_new(in_image, json_string(kr_axis_name(d)));
    json_object_set_new(o, "in_image_space", in_image);
    if (s->enc.ramp.read_us > 0)
        json_object_set_new(o, "ramp_us", json_pack("{s:f,s:f,s:f,s:f,s:f}", "up", s->enc.ramp.up_us, "flat", s->enc.ramp.flat_us, "down", s->enc.ramp.down_us,
                                                    "delay", s->enc.ramp.delay_us, "read", s->enc.ramp.read_us));
    if (s->enc.encoded[0] > 0)
        json_object_set_new(o, "encoded", json_pack("{s:o,s:o}", "matrix", json_integers(s->enc.encoded, 3), "fov_mm", json_numbers(s->enc.encoded_mm, 3)));
    if (s->enc.recon[0] > 0)
        json_object_set_new(o, "recon", json_pack("{s:o,s:o}", "matrix", json_integers(s->enc.recon, 3), "fov_mm", json_numbers(s->enc.recon_mm, 3)));
    if (oversampling(s) > 0)
        json_object_set_new(o, "readout_oversampling", json_real(oversampling(s)));
    json_object_set_new(o, "sampling", sampling_json(s, p));
    kr_traj_facts facts;
    if (s->traj && !kr_traj_describe(&facts, s))
        json_object_set_new(o, "positions", json_pack("{s:I,s:I,s:I,s:o,s:s,s:s,s:f,s:o}", "readouts", (json_int_t)facts.views, "samples", (json_int_t)facts.samples, "frames", (json_int_t)facts.frames,
                                                      "largest_k", json_numbers(facts.largest, facts.dims), "unit", facts.unit, "spokes", facts.spokes == 1 ? "through the centre" : facts.spokes ? "from the centre" : "none",
                                                      "full_sampling", facts.full, "covered", json_number(facts.covered)));
    else if (s->traj)
        kr_error_clear();
    if (kr_is_multiband(s))
        json_object_set_new(o, "multiband", json_pack("{s:I,s:I,s:f}", "factor", (json_int_t)s->multiband.factor, "shift", (json_int_t)s->multiband.shift,
                                                      "distance_mm", kr_multiband_distance(s)));
    if (s->calib || s->calib_mask)
        json_object_set_new(o, "calibration", json_shape(kr_array_shape(s->calib ? s->calib : s->calib_mask)));
    for (int k = 0; k < KR_LINES_KINDS; k++)
        if (s->lines[k].count)
            json_object_set_new(lines, kr_line_kind_name(k), json_integer(s->lines[k].count));
    json_object_set_new(o, "lines", lines);
    if (s->dwell_us > 0)
        json_object_set_new(o, "dwell_us", json_real(s->dwell_us));
    if (s->noise)
        json_object_set_new(o, "noise", json_pack("{s:I,s:f,s:o,s:f}", "samples", (json_int_t)s->noise->n[KR_SAMPLE], "dwell_us", s->noise_dwell_us,
                                                  "deviation", json_numbers(n->deviation, n->deviation ? n->channels : 0), "largest_correlation", n->correlation));
    if (s->coils)
        json_object_set_new(o, "coil_maps", json_shape(kr_array_shape(s->coils)));
    if (s->reference)
        json_object_set_new(o, "reference", json_shape(kr_array_shape(s->reference->data)));
    if (r)
        json_object_set_new(o, "numbers", range_json(r));
    json_object_set_new(o, "geometry", geom_json(s->geom));
    json_object_set_new(o, "meta", json_meta(s->meta));
    for (const char *note = s->notes.s; note && *note; ) {
        size_t len = strcspn(note, "\n");
        kr_auto char *one = kr_strf("%.*s", (int)len, note);
        json_array_append_new(notes, json_words(one ? one : ""));
        note += len + (note[len] == '\n');
    }
    json_object_set_new(o, "notes", notes);
    return o;
}

/* ---- One file ---- */
static int tell_scan(json_t **o, kr_text *t, const kr_scan *s)
{
    sampling p = { 0 };
    noise n = { 0 };
    range r;
    if (sampling_of(&p, s))
        return kr_error_code();
    if (s->noise && noise_of(&n, s->noise))
        kr_error_clear();                                    /* the noise is no better than that: the rest is still worth telling */
    if (s->data)
        r = range_of(s->data);
    if (o)
        *o = scan_json(s, &p, &n, s->data ? &r : NULL);
    else
        scan_text(t, s, &p, &n, s->data ? &r : NULL);
    kr_free(n.deviation);
    return 0;
}

static int tell_image(json_t **o, kr_text *t, const kr_image *im)
{
    kr_scoped(array) a = kr_array_packed(im->data);
    if (!a)
        return kr_error_code();
    range r = range_of(a);
    double affine[16], voxel[3];
    for (int d = 0; d < 3; d++)
        voxel[d] = im->geom->fov_mm[d] / (double)a->n[d];
    bool placed = im->geom->known && !kr_geom_affine(im->geom, a->n, affine);
    kr_error_clear();
    if (o) {
        *o = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "kind", "image", "shape", json_shape(kr_array_shape(a)), "numbers", range_json(&r), "voxel_mm", json_numbers(voxel, 3),
                       "geometry", geom_json(im->geom), "meta", json_meta(im->meta));
        json_object_set_new(*o, "unit", json_words(*kr_image_unit(im) ? kr_image_unit(im) : NULL));
        if (placed)
            json_object_set_new(*o, "affine_ras", json_numbers(affine, 16));
        return 0;
    }
    line(t, "image", "%s", kr_shape_text(kr_array_shape(a)));
    range_line(t, &r);
    if (*kr_image_unit(im))
        line(t, "unit", "%s", kr_image_unit(im));
    if (voxel[0] > 0)
        line(t, "voxel", "%.5g x %.5g x %.5g mm", voxel[0], voxel[1], voxel[2]);
    geom_lines(t, im->geom);
    meta_lines(t, im->meta);
    static const char *const made[][3] = { { "kray_method", "", "" }, { "kray_parameters", "", "" }, { "kray_version", "Kray ", "" }, { NULL, NULL, NULL } };
    meta_line(t, "made by", im->meta, made);
    if (kr_meta_get(im->meta, "place_unknown"))
        line(t, "place", "unknown: %s", kr_meta_get(im->meta, "place_unknown"));
    if (kr_meta_get(im->meta, "other_series"))
        line(t, "also here", "%s", kr_meta_get(im->meta, "other_series"));
    return 0;
}

static int tell_array(json_t **o, kr_text *t, const kr_array *a, const char *what)
{
    kr_scoped(array) packed = kr_array_packed(a);
    if (!packed)
        return kr_error_code();
    range r = range_of(packed);
    if (o)
        *o = json_pack("{s:s,s:o,s:o}", "kind", what, "shape", json_shape(kr_array_shape(a)), "numbers", range_json(&r));
    else {
        line(t, what, "%s %s", kr_shape_text(kr_array_shape(a)), r.complex ? "complex" : "real");
        range_line(t, &r);
    }
    return 0;
}

/* Files of several variables, where none is named: what can be. */
static int tell_variables(json_t **o, kr_text *t, const kr_format *f, const kr_source *src)
{
    kr_text all = { 0 };
    int e = f->list(&all, src);
    json_t *list = json_array();
    kr_auto char *names = all.s ? kr_strdup(all.s) : NULL;
    if (!e && all.s && !names)
        e = kr_error_code();
    for (char *rest = NULL, *one = names ? strtok_r(names, "\n", &rest) : NULL; one; one = strtok_r(NULL, "\n", &rest)) {
        char *what = strrchr(one, '(');
        *(what ? what - 1 : one + strlen(one)) = 0;
        json_array_append_new(list, json_pack("{s:s,s:s#}", "name", one, "is", what ? what + 1 : "", what ? (int)strlen(what) - 2 : 0));
        line(t, "variable", "%-12s %.*s", one, what ? (int)strlen(what) - 2 : 0, what ? what + 1 : "");
    }
    if (!o)
        line(t, "to read one", "%s:NAME@AXES, a name for each length: x, y, z, coil, slice, time...", src->path);
    kr_text_clear(&all);
    if (o)
        *o = json_pack("{s:s,s:O}", "kind", "variables", "variables", list);
    json_decref(list);
    return e;
}

/* Up to this many bytes a scan is read whole where its header does not tell what was measured. */
enum { SMALL = 64 << 20 };

static int read_scan(kr_scan **s, const char *file, const opts *p, const char *path, const kr_trace *trace)
{
    struct stat st;
    if (kr_scan_read(s, file, p->from, &(kr_read){ .header_only = true }, trace))
        return kr_error_code();
    bool along = (*s)->shape.n[KR_SAMPLE] > 1;                 /* whose positions stand beside the samples */
    bool known = !along && ((*s)->mask || (*s)->lines[KR_LINES_IMAGING].count), small = !stat(path, &st) && st.st_size <= SMALL;
    if (!(*s)->data && (p->data || (!known && small))) {
        kr_scan_unref(s);
        if (kr_scan_read(s, file, p->from, NULL, trace))
            return kr_error_code();
    }
    kr_text t = { 0 };
    int e = kr_scan_measured(&t, *s);
    for (const char *q = t.s, *end; !e && q && *q; q = *end ? end + 1 : end) {
        end = q + strcspn(q, "\n");
        kr_scan_note(*s, "%.*s", (int)(end - q), q);
    }
    kr_text_clear(&t);
    return e;
}

/* Formats of bare arrays read anything as k-space. Numbers that are all real are none. */
static bool is_kspace(const kr_scan *s)
{
    if (!s->data || s->enc.encoded[0] > 0 || s->shape.n[KR_COIL] > 1)
        return true;
    kr_scoped(array) a = kr_array_packed(s->data);
    for (long i = 0; a && i < kr_count(kr_array_shape(a)); i++)
        if (kr_im(KR_C(a)[i]) != 0)
            return true;
    return !a;
}

/* Coil maps look like k-space, too; who made them says what they are: kray coils, or a tool of BART. */
static bool is_maps(const kr_scan *s, const char *file)
{
    static const char *const makers[] = { "kray coils", "ecalib ", "caldir ", "ncalib " };
    const char *by = kr_meta_get(s->meta, "source_command");
    if (s->shape.n[KR_MAP] > 1)
        return true;
    if (s->enc.encoded[0] > 0 || s->shape.n[KR_COIL] < 2)
        return false;
    for (int i = 0; by && i < 4; i++)
        if (strstr(by, makers[i]))
            return true;
    kr_scoped(image) im = NULL;
    if (!by && kr_image_read(&im, file))
        kr_error_clear();
    by = im ? kr_meta_get(im->meta, "kray_method") : NULL;
    return by && !strncmp(by, "coils ", 6);
}

/* A sequence as the scan that it would measure, without samples. */
static int read_seq(kr_scan **out, const char *path)
{
    kr_error_clear();
    kr_scan *s = *out = kr_scan_new();
    kr_seq_facts f;
    if (!s || kr_seq_read(&s->traj, &f, path))
        return kr_fail_in("%s", path);
    s->shape = kr_shape_without(kr_array_shape(s->traj), KR_ON(KR_CHAN));
    for (int i = 0; kr_traj_units[i]; i++)
        s->traj_unit = strcmp(kr_traj_units[i], "1/m") ? s->traj_unit : kr_traj_units[i];
    memcpy(s->enc.encoded_mm, f.fov_mm, sizeof f.fov_mm);
    s->dwell_us = f.dwell_us;
    snprintf(s->enc.trajectory, sizeof s->enc.trajectory, "pulseq %d.%d.%d", f.version[0], f.version[1], f.version[2]);
    if (f.left_out)
        kr_scan_note(s, "readouts marked as noise or navigators, or of another length than the others, left out: %ld", f.left_out);
    return 0;
}

/* As raw data, as an image or as an array, whichever it is first. */
static int tell(json_t **o, kr_text *t, const char *file, const opts *p, const kr_trace *trace)
{
    kr_source src;
    if (kr_source_parse(&src, file))
        return kr_error_code();
    const kr_format *f = p->from ? kr_format_named(p->from) : kr_format_of(src.path);
    kr_scoped(scan) s = NULL;
    kr_scoped(image) im = NULL;
    kr_scoped(array) a = NULL;
    bool seq = f && f->sequence;
    int e = f ? kr_fail(KR_EFORMAT, "%s: %s files are only written", file, f->name) : kr_error_code(), first = 0;
    bool maps = false;
    kr_auto char *unknown = f ? NULL : kr_strdup(kr_error());
    kr_projections *rays = NULL;
    int is = p->from || (f && f->read && !f->any) ? 0 : kr_ct_known(&rays, file, trace);
    if (is) {
        bool either = is > 0 && f && !strcmp(f->name, "metaimage");      /* RTK's projections, or any volume: the file does not say */
        if (is > 0 && !o)
            kr_text_add(t, "%s: %s\n", file, either ? "MetaImage" : "X-ray projections");
        e = either ? tell_array(o, t, rays->y, o ? "array" : "a volume, or X-ray projections") : is > 0 ? info_rays(o, t, rays) : is;
        if (!e && either && !o && rays->lengths)
            line(t, "pixel", "%.6g x %.6g mm", rays->pixel[0], rays->pixel[1]);
        kr_projections_unref(&rays);
        kr_source_clear(&src);
        return e;
    }
    if (!f)                                                  /* what was looked for since has cleared it */
        e = kr_fail(unknown ? e : KR_EMEM, "%s", unknown ? unknown : "no memory");
    if (f && !o)
        kr_text_add(t, "%s: %s\n", file, f->summary);
    if (seq && (e = read_seq(&s, src.path)) == 0)
        e = tell_scan(o, t, s);
    if (f && f->read && (first = e = read_scan(&s, file, p, src.path, trace)) == 0) {
        maps = f->read_array && is_maps(s, file);
        if (maps || (f->read_image && !is_kspace(s))) {
            kr_scan_unref(&s);
            e = KR_EFORMAT;
        } else
            e = tell_scan(o, t, s);
    }
    kr_auto char *why = first ? kr_strdup(kr_error()) : NULL;
    if (e && !s && !maps && f && f->read_image && (e = kr_image_read(&im, file)) == 0)
        e = tell_image(o, t, im);
    if (e && !s && !im && !seq && f && f->read_array && (e = kr_array_read(&a, file)) == 0)
        e = tell_array(o, t, a, maps ? "coil maps" : "array");
    if (e && first == KR_EUSAGE && !src.var && f->list)
        e = tell_variables(o, t, f, &src);
    if (e && first && why)                                   /* what the first attempt said fits best */
        e = kr_fail(first, "%s", why);
    if (!e && o)
        json_object_set_new(*o, "format", json_words(f->name));
    if (!e && p->plot)
        e = s ? traj_plot(s, p->plot) : kr_fail(KR_EUSAGE, "--plot draws the k-space positions of raw data or of a sequence, and %s is neither", file);
    kr_source_clear(&src);
    return e;
}

/* A folder: a line for each file in it, or its JSON. Returns how many cannot be read, or a refusal. */
static int tell_folder(const char *folder, const opts *p, struct answer *a)
{
    struct judge_files f;
    char *word = (char *)folder;
    int e = judge_files(&f, 1, &word), failed = 0;
    size_t from = strlen(folder) + (folder[strlen(folder) - 1] != '/');
    if (!e && !p->json)
        kr_print("%s: %ld file%s\n", folder, f.count, f.count == 1 ? "" : "s");
    for (long i = 0; !e && i < f.count; i++) {
        json_t *one = NULL, *entry = answer_add(a, f.at[i].path);
        kr_text none = { 0 };
        if (kr_guard_try(f.at[i].path, p->from, KR_RAW) || tell(&one, &none, f.at[i].path, p, &a->trace)) {
            e = kr_error_code() == KR_ESTOPPED || kr_error_code() == KR_EMEM ? kr_error_code() : 0;
            failed++;
            answer_failed(a);
            kr_say(&a->trace, KR_WARNING, "%s", kr_error());
        } else if (!p->json) {
            const char *key, *kind = json_string_value(json_object_get(one, "kind")), *format = json_string_value(json_object_get(one, "format"));
            json_t *v;
            kr_text shape = { 0 };
            json_object_foreach(json_object_get(one, "shape"), key, v)
                kr_text_add(&shape, "%s%s=%lld", shape.len ? " " : " {", key, (long long)json_integer_value(v));
            kr_print("  %-28s %s%s%s, %s\n", f.at[i].path + from, kind ? kind : "", shape.s ? shape.s : "", shape.len ? "}" : "", format ? format : "");
            kr_text_clear(&shape);
        }
        kr_text_clear(&none);
        if (one)
            json_object_update_missing_new(entry, one);
    }
    judge_files_close(&f);
    return e ? e : failed;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int run(void *o, int files, char **file, const kr_trace *trace)
{
    const opts *p = o;
    int failed = 0, code = 0, e = 0;
    if (!files)
        return kr_fail(KR_EUSAGE, "which file?");
    if (p->plot && (files > 1 || is_folder(file[0])))
        return kr_fail(KR_EUSAGE, "--plot draws one file, not %s", files > 1 ? "several" : "a folder");
    struct answer a;
    answer_begin(&a, p->json, trace);
    for (int i = 0; i < files && e != KR_ESTOPPED; i++) {
        if (is_folder(file[i]) && !p->from && !kr_folder_format(file[i])) {
            e = tell_folder(file[i], p, &a);
            failed += e != 0;
            code = e < 0 ? e : e > 0 ? KR_EFORMAT : code;
            if (e > 0)
                kr_fail(KR_EFORMAT, "%s: %d file%s cannot be read", file[i], e, e == 1 ? "" : "s");
            e = e > 0 ? KR_EFORMAT : e;
            continue;
        }
        kr_text t = { 0 };
        json_t *one = NULL, *entry = answer_add(&a, file[i]);
        e = files > 1 ? kr_guard_try(file[i], p->from, KR_RAW) : 0;
        e = e ? e : tell(p->json ? &one : NULL, &t, file[i], p, &a.trace);
        if (!e && !p->json)
            kr_print("%s%s", i ? "\n" : "", t.s ? t.s : "");
        kr_text_clear(&t);
        if (one)
            json_object_update_missing_new(entry, one);
        if (!e)
            continue;
        failed++;
        code = e;
        answer_failed(&a);
        if (files > 1)
            kr_say(trace, KR_WARNING, "%s", kr_error());
    }
    if (failed && files > 1 && e != KR_ESTOPPED)
        e = kr_fail(code, "%d of %d files cannot be read", failed, files);
    return answer_end(&a, e);
}

const kr_tool kr_tool_info = { "info", "Data", "what a file holds: shape, sampling, noise, geometry", "FILE|FOLDER... [options]",
    "  kray info scan.h5                        # raw data of any format\n"
    "  kray info scan.h5:dataset2               # one of several ISMRMRD groups\n"
    "  kray info image.nii.gz maps.cfl          # images and arrays, too\n"
    "  kray info golden.h5 --plot golden.png    # where its readouts run through k-space\n"
    "  kray info study/                         # a line for each file of a folder\n"
    "  kray info --json *.h5 | jq '.[].sampling.acceleration'\n", table, sizeof(opts), NULL, run };
