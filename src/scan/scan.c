/* scan.c: the life of a scan. */
#include "kray/scan.h"
#include "kray/fourier.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *kr_line_kind_name(int kind)
{
    static const char *const name[KR_LINES_KINDS] = { "imaging", "calibration", "noise", "phase correction", "navigation",
                                                      "feedback", "dummy", "surface coil", "phase stabilisation" };
    return kind >= 0 && kind < KR_LINES_KINDS ? name[kind] : "?";
}

kr_scan *kr_scan_new(void)
{
    kr_scan *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->geom = kr_geom_new(1);
    s->meta = s->geom ? kr_meta_new() : NULL;
    if (!s->meta)
        kr_scan_unref(&s);
    return s;
}

void kr_scan_unref(kr_scan **scan)
{
    kr_scan *s = *scan;
    if (!s)
        return;
    kr_array_unref(&s->data);
    kr_array_unref(&s->mask);
    kr_array_unref(&s->calib_area);
    kr_array_unref(&s->calib);
    kr_array_unref(&s->calib_mask);
    kr_array_unref(&s->noise);
    kr_array_unref(&s->traj);
    kr_array_unref(&s->density);
    kr_array_unref(&s->field);
    kr_rays_unref(&s->rays);
    kr_array_unref(&s->coils);
    kr_image_unref(&s->reference);
    kr_geom_unref(&s->geom);
    kr_meta_unref(&s->meta);
    kr_free(s->header_xml);
    for (int k = 0; k < KR_LINES_KINDS; k++) {
        kr_free(s->lines[k].line);
        kr_array_unref(&s->lines[k].data);
    }
    for (long i = 0; i < s->waveforms; i++)
        kr_free(s->waveform[i].data);
    kr_free(s->waveform);
    kr_free(s->file);
    kr_text_clear(&s->notes);
    kr_free(s);
    *scan = NULL;
}

void kr_scan_note(kr_scan *s, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    kr_text_add(&s->notes, "%s\n", line);
}

static bool part(kr_array **to, const kr_array *from, long at, long count)
{
    if (!from)
        return true;
    *to = from->n[KR_SLICE] == 1 ? kr_array_ref(from) : kr_array_range(from, KR_SLICE, at, count);
    return *to;
}

/* A single-band reference has more slices than the data, and all are wanted. */
static bool part_of_calib(kr_array **to, const kr_array *from, const kr_scan *s, long at, long count)
{
    return kr_is_multiband(s) ? !from || (*to = kr_array_ref(from)) : part(to, from, at, count);
}

/* Lines of these slices, and their samples where the kind keeps them. */
static bool part_of_lines(kr_lines *to, const kr_lines *lines, long at, long count)
{
    long n = 0;
    for (long i = 0; i < lines->count; i++)
        n += lines->line[i].slice >= at && lines->line[i].slice < at + count;
    if (!n)
        return true;
    to->line = kr_alloc((size_t)n, sizeof *to->line);
    if (!to->line || (lines->data && !(to->data = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = lines->data->n[KR_SAMPLE], [KR_COIL] = lines->data->n[KR_COIL], [KR_VIEW] = n)))))
        return false;
    for (long i = 0; i < lines->count; i++) {
        const kr_line *l = &lines->line[i];
        if (l->slice < at || l->slice >= at + count)
            continue;
        if (lines->data) {
            kr_scoped(array) from = kr_array_at(lines->data, KR_VIEW, i);
            kr_scoped(array) into = kr_array_at(to->data, KR_VIEW, to->count);
            if (!from || !into)
                return false;
            kr_array_assign(into, from);
        }
        to->line[to->count] = *l;
        to->line[to->count++].slice = (uint16_t)(l->slice - at);
    }
    return true;
}

kr_scan *kr_scan_slices(const kr_scan *s, long from, long count)
{
    long slices = s->shape.n[KR_SLICE] ? s->shape.n[KR_SLICE] : 1;
    if (from < 0 || count < 1 || from + count > slices) {
        kr_fail(KR_ESHAPE, "slices %ld to %ld asked of a scan with %ld", from, from + count - 1, slices);
        return NULL;
    }
    if (kr_is_multiband(s) && count < slices) {
        kr_fail(KR_EREFUSED, "slices %ld to %ld of a scan that measured %ld at a time cannot be had alone", from, from + count - 1, s->multiband.factor);
        return NULL;
    }
    kr_scan *v = kr_scan_new();
    if (!v)
        return NULL;
    v->shape = s->shape;
    v->shape.n[KR_SLICE] = count;
    v->in_image = s->in_image;
    v->whitened = s->whitened;
    v->kspace_sign = s->kspace_sign;
    v->traj_unit = s->traj_unit;
    v->first_us = s->first_us;
    v->dwell_us = s->dwell_us;
    v->noise_dwell_us = s->noise_dwell_us;
    v->noise_bandwidth = s->noise_bandwidth;
    v->enc = s->enc;
    v->multiband = s->multiband;
    v->format = s->format;
    v->grid = s->grid;
    v->ray_model = s->ray_model;
    kr_geom_unref(&v->geom);
    kr_meta_unref(&v->meta);
    bool good = (!s->rays || (v->rays = kr_rays_copy(s->rays))) && part(&v->data, s->data, from, count) && part(&v->mask, s->mask, from, count)
             && part(&v->calib_area, s->calib_area, 0, 1)
             && part_of_calib(&v->calib, s->calib, s, from, count) && part_of_calib(&v->calib_mask, s->calib_mask, s, from, count)
             && part(&v->noise, s->noise, 0, 1) && part(&v->traj, s->traj, from, count) && part(&v->density, s->density, from, count) && part(&v->field, s->field, from, count) && part(&v->coils, s->coils, from, count)
             && (v->geom = kr_geom_copy(s->geom)) && (v->meta = kr_meta_copy(s->meta))
             && part_of_lines(&v->lines[KR_LINES_IMAGING], &s->lines[KR_LINES_IMAGING], from, count)       /* for kr_epi_prepare */
             && part_of_lines(&v->lines[KR_LINES_CALIB], &s->lines[KR_LINES_CALIB], from, count)
             && part_of_lines(&v->lines[KR_LINES_PHASECORR], &s->lines[KR_LINES_PHASECORR], from, count)
             && (!s->file || (v->file = kr_strdup(s->file)))
             && (!s->header_xml || (v->header_xml = kr_strdup(s->header_xml)));
    if (good && v->geom->slices == slices && count < slices) {
        memmove(v->geom->position_mm, v->geom->position_mm + from, (size_t)count * sizeof *v->geom->position_mm);
        v->geom->slices = count;
    }
    if (good && s->reference) {
        kr_array *d = NULL;
        good = part(&d, s->reference->data, from, count) && (v->reference = kr_image_new(d, v->geom, s->reference->meta));
        kr_array_unref(&d);
    }
    if (!good)
        kr_scan_unref(&v);
    return v;
}

enum kr_scan_kind kr_scan_kind_of(const kr_scan *s) { return s->rays ? KR_SCAN_RAYS : s->traj ? KR_SCAN_SAMPLES : KR_SCAN_GRID; }

/* How many numbers are none, and where the first is. */
static int not_finite(const kr_array *a, const char *what)
{
    kr_scoped(array) p = kr_array_packed(a);
    if (!p)
        return kr_error_code();
    long n = kr_count(kr_array_shape(p)), bad = 0, first = -1;
    for (long i = 0; i < n; i++)
        if (p->type == KR_C32 ? !isfinite(kr_re(KR_C(p)[i])) || !isfinite(kr_im(KR_C(p)[i])) : !isfinite(KR_R(p)[i])) {
            first = bad ? first : i;
            bad++;
        }
    if (!bad)                             /* sums of squares beyond all numbers */
        return kr_fail(KR_ENUMBER, "the %s are too large for single precision", what);
    kr_text at = { 0 };
    for (int d = 0; d < KR_AXES; first /= p->n[d++])
        if (p->n[d] > 1)
            kr_text_add(&at, "%s%s %ld", at.len ? ", " : "", kr_axis_name(d), first % p->n[d]);
    int e = kr_fail(KR_ENUMBER, "the %s hold numbers that are not finite: %ld of %ld, the first at %s", what, bad, n, at.s ? at.s : "the only one");
    kr_text_clear(&at);
    return e;
}

int kr_scan_check(const kr_scan *s)
{
    const char *what = s->rays ? "line integrals" : "k-space data";
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no %s", what);
    if (!kr_shape_equal(kr_array_shape(s->data), s->shape))
        return kr_fail(KR_ESHAPE, "k-space of shape %s where %s was announced", kr_shape_text(kr_array_shape(s->data)), kr_shape_text(s->shape));
    double size = kr_norm(s->data);       /* one pass tells both; NaN and infinity stay in sums of squares */
    if (!isfinite(size))
        return not_finite(s->data, what);
    if (size <= 0)
        return kr_fail(KR_ENUMBER, "the %s are all zero", what);
    for (int d = 0; s->mask && d < KR_AXES; d++)
        if (s->mask->n[d] != 1 && s->mask->n[d] != s->data->n[d])
            return kr_fail(KR_ESHAPE, "mask of shape %s for k-space of shape %s", kr_shape_text(kr_array_shape(s->mask)),
                           kr_shape_text(s->shape));
    if (s->mask && kr_max_abs(s->mask) <= 0)
        return kr_fail(KR_ENUMBER, "the sampling mask keeps nothing");
    return 0;
}

kr_array *kr_scan_kspace(const kr_scan *s)
{
    if (!s->data) {
        kr_fail(KR_EREFUSED, "there are no k-space data");
        return NULL;
    }
    kr_array *k = s->in_image ? kr_array_copy(s->data) : kr_array_ref(s->data);
    if (k && s->in_image && kr_fourier(k, s->in_image))
        kr_array_unref(&k);
    return k;
}
