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
    kr_array_unref(&s->calib);
    kr_array_unref(&s->calib_mask);
    kr_array_unref(&s->noise);
    kr_array_unref(&s->traj);
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

kr_scan *kr_scan_slices(const kr_scan *s, long from, long count)
{
    long slices = s->shape.n[KR_SLICE] ? s->shape.n[KR_SLICE] : 1;
    if (from < 0 || count < 1 || from + count > slices) {
        kr_fail(KR_ESHAPE, "slices %ld to %ld asked of a scan with %ld", from, from + count - 1, slices);
        return NULL;
    }
    kr_scan *v = kr_scan_new();
    if (!v)
        return NULL;
    v->shape = s->shape;
    v->shape.n[KR_SLICE] = count;
    v->in_image = s->in_image;
    v->whitened = s->whitened;
    v->dwell_us = s->dwell_us;
    v->noise_dwell_us = s->noise_dwell_us;
    v->noise_bandwidth = s->noise_bandwidth;
    v->enc = s->enc;
    v->format = s->format;
    kr_geom_unref(&v->geom);
    kr_meta_unref(&v->meta);
    bool good = part(&v->data, s->data, from, count) && part(&v->mask, s->mask, from, count)
             && part(&v->calib, s->calib, from, count) && part(&v->calib_mask, s->calib_mask, from, count)
             && part(&v->noise, s->noise, 0, 1) && part(&v->traj, s->traj, 0, 1) && part(&v->coils, s->coils, from, count)
             && (v->geom = kr_geom_copy(s->geom)) && (v->meta = kr_meta_copy(s->meta))
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

int kr_scan_check(const kr_scan *s)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data");
    if (!kr_shape_equal(kr_array_shape(s->data), s->shape))
        return kr_fail(KR_ESHAPE, "k-space of shape %s where %s was announced", kr_shape_text(kr_array_shape(s->data)), kr_shape_text(s->shape));
    double size = kr_norm(s->data);       /* one pass tells both; NaN and infinity stay in sums of squares */
    if (!isfinite(size))
        return kr_fail(KR_ENUMBER, "the k-space data hold numbers that are not finite");
    if (size <= 0)
        return kr_fail(KR_ENUMBER, "the k-space data are all zero");
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
