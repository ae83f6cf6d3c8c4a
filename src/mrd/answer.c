/* answer.c: images as messages: geometry, counters and time stamps of the lines that they were made of, series, window, whole numbers. */
#include "session.h"
#include <ismrmrd/ismrmrd.h>
#include <math.h>
#include <string.h>
#include <strings.h>

static const int axis_of[COUNTERS] = { KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };
enum { TOP = 4095 };                                             /* 12 bits */

/* Numbers from 1, one for each kind of image and contrast, in the order in which they come. */
static struct series *series_of(answer *a, unsigned kind, long contrast, int *number)
{
    int i = 0;
    while (i < a->count && (a->series[i].kind != kind || a->series[i].contrast != contrast))
        i++;
    int most = (int)(sizeof a->series / sizeof *a->series);
    if (i == most)
        i = most - 1;                                            /* more than 255 contrasts share the last one */
    else if (i == a->count)
        a->series[a->count++] = (struct series){ kind, contrast, 0 };
    *number = i + 1;
    return &a->series[i];
}

/* The pixels of one image, of a magnitude if that is wanted; all kinds of numbers go to `to`, which has room for 8 bytes each. Returns bytes. */
static size_t pixels(void *to, answer *a, const kr_array *x, long at, long n, unsigned kind, const kr_mrd_ask *ask)
{
    if (kind == KR_MRD_COMPLEX) {
        memcpy(to, KR_C(x) + at, (size_t)n * 8);
        return (size_t)n * 8;
    }
    float *f = to;
    uint16_t *w = to;
    for (long i = 0; i < n; i++) {                               /* whole numbers are shorter than floats: in place */
        float v;
        if (kind == KR_MRD_PHASE)
            v = atan2f(kr_im(KR_C(x)[at + i]), kr_re(KR_C(x)[at + i]));
        else
            v = KR_R(x)[at + i];
        if (ask->pixels == KR_MRD_FLOAT) {
            f[i] = v;
            continue;
        }
        double whole = kind == KR_MRD_PHASE ? (v + M_PI) / (2 * M_PI) * TOP : v * a->scale;
        a->cut += whole > TOP + 0.5;
        w[i] = (uint16_t)lround(whole < 0 ? 0 : whole > TOP ? TOP : whole);
    }
    return (size_t)n * (ask->pixels == KR_MRD_FLOAT ? 4 : 2);
}

static void set_vector(float to[3], const double from[3])
{
    for (int d = 0; d < 3; d++)
        to[d] = (float)from[d];
}

/* Of an image with these counters: of the line nearest to the centre of k-space, of all along axes that the method put together; not known where none was
 * measured: there is no image. */
static const stamp *stamp_of(const kr_mrd_work *w, const kr_array *a, const long v[COUNTERS])
{
    const stamp *best = NULL;
    long c[COUNTERS] = { 0 };
    for (int k = 0; k < COUNTERS; ) {
        long at = 0;
        for (int d = COUNTERS; d-- > 0; )
            at = at * w->n[d] + (a->n[axis_of[d]] == 1 ? c[d] : v[d] < w->n[d] ? v[d] : 0);
        const stamp *s = &w->stamps[at];
        if (!best || (s->known && (!best->known || s->away < best->away)))
            best = s;
        for (k = 0; k < COUNTERS && (a->n[axis_of[k]] > 1 || ++c[k] == w->n[k]); k++)        /* the next along those axes */
            c[k] = 0;
    }
    return best;
}

static void counters_of(long v[COUNTERS], const kr_array *a, long n)
{
    for (int k = 0; k < COUNTERS; n /= a->n[axis_of[k++]])
        v[k] = n % a->n[axis_of[k]];
}

static ISMRMRD_ImageHeader head_of(const kr_mrd_work *w, const kr_array *a, const long v[COUNTERS], const stamp *s, unsigned kind, const kr_mrd_ask *ask)
{
    const kr_geom *g = w->image->geom;
    long slice = w->slice >= 0 ? w->slice : v[0], repetition = w->repetition >= 0 ? w->repetition + v[4] : v[4];
    ISMRMRD_ImageHeader h = { .version = 1, .channels = (uint16_t)a->n[KR_COIL], .measurement_uid = s->uid, .average = (uint16_t)v[5], .slice = (uint16_t)slice,
        .contrast = (uint16_t)v[1], .phase = (uint16_t)v[2], .repetition = (uint16_t)repetition, .set = (uint16_t)v[3], .acquisition_time_stamp = s->time_stamp };
    h.data_type = kind == KR_MRD_COMPLEX ? ISMRMRD_CXFLOAT : ask->pixels == KR_MRD_FLOAT ? ISMRMRD_FLOAT : ask->pixels == KR_MRD_USHORT ? ISMRMRD_USHORT : ISMRMRD_SHORT;
    h.image_type = kind == KR_MRD_COMPLEX ? ISMRMRD_IMTYPE_COMPLEX : kind == KR_MRD_PHASE ? ISMRMRD_IMTYPE_PHASE : ISMRMRD_IMTYPE_MAGNITUDE;
    memcpy(h.physiology_time_stamp, s->physio, sizeof s->physio);
    memcpy(h.patient_table_position, s->table, sizeof s->table);
    memcpy(h.user_int, s->user_int, sizeof s->user_int);
    memcpy(h.user_float, s->user_float, sizeof s->user_float);
    float vector[5][3];
    set_vector(vector[0], g->fov_mm);
    set_vector(vector[1], g->position_mm[v[0] < g->slices ? v[0] : 0]);
    set_vector(vector[2], g->read_dir);
    set_vector(vector[3], g->phase_dir);
    set_vector(vector[4], g->slice_dir);
    memcpy(h.field_of_view, vector[0], sizeof vector[0]);
    memcpy(h.position, vector[1], sizeof vector[1]);
    memcpy(h.read_dir, vector[2], sizeof vector[2]);
    memcpy(h.phase_dir, vector[3], sizeof vector[3]);
    memcpy(h.slice_dir, vector[4], sizeof vector[4]);
    for (int d = 0; d < 3; d++)
        h.matrix_size[d] = (uint16_t)a->n[d];
    return h;
}

/* What a console shows of a series, on top of what the image says of itself. */
static char *attributes(const kr_image *im, const answer *a, unsigned kind, const kr_mrd_ask *ask)
{
    kr_scoped(image) with = kr_image_new(im->data, im->geom, im->meta);
    bool whole = ask->pixels != KR_MRD_FLOAT;
    double top = kind == KR_MRD_PHASE ? (whole ? TOP : M_PI) : whole ? a->window * a->scale : a->window;
    double centre = kind == KR_MRD_PHASE && !whole ? 0 : top / 2, width = kind == KR_MRD_PHASE && !whole ? 2 * M_PI : top;
    const char *kinds = kind == KR_MRD_PHASE ? "phase" : kind == KR_MRD_COMPLEX ? "complex" : "magnitude";
    if (!with || kr_meta_set(with->meta, "ImageProcessingHistory", "KRAY %s", ask->name) || kr_meta_set(with->meta, "SequenceDescriptionAdditional", "kray_%s", ask->name)
        || kr_meta_set(with->meta, "ImageComment", "%s, %s", ask->name, kinds)
        || (kind != KR_MRD_COMPLEX && (kr_meta_set(with->meta, "WindowCenter", "%.9g", centre) || kr_meta_set(with->meta, "WindowWidth", "%.9g", width))))
        return NULL;
    return kr_mrd_image_attributes(with);
}

static bool fits(const kr_array *a)
{
    unsigned known = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL);
    for (int k = 0; k < COUNTERS; k++)
        known |= KR_ON(axis_of[k]);
    for (int d = 0; d < KR_AXES; d++)
        if (a->n[d] > UINT16_MAX || (a->n[d] > 1 && !(known & KR_ON(d))))
            return false;
    return true;
}

static int kind_images(kr_text *out, answer *a, const kr_mrd_work *w, const kr_array *x, unsigned kind, const kr_mrd_ask *ask)
{
    long size = x->n[KR_X] * x->n[KR_Y] * x->n[KR_Z] * x->n[KR_COIL], images = kr_count(kr_array_shape(x)) / size;
    kr_auto void *room = kr_alloc((size_t)size, 8);
    kr_auto char *text = attributes(w->image, a, kind, ask);
    if (!room || !text)
        return kr_error_code();
    for (long n = 0; n < images; n++) {
        long v[COUNTERS];
        counters_of(v, x, n);
        const stamp *measured = stamp_of(w, x, v);
        if (!measured->known)
            continue;
        ISMRMRD_ImageHeader h = head_of(w, x, v, measured, kind, ask);
        int number;
        struct series *s = series_of(a, kind, h.contrast, &number);
        h.image_series_index = (uint16_t)number;
        h.image_index = (uint16_t)(++s->images);
        h.attribute_string_len = (uint32_t)strlen(text);
        size_t bytes = pixels(room, a, x, n * size, size, kind, ask);
        kr_mrd_put(out, &(kr_mrd_message){ .id = KR_MRD_IMAGE, .head = (const unsigned char *)&h, .head_bytes = sizeof h, .text = text, .text_bytes = strlen(text),
                                           .data = room, .data_bytes = bytes });
        a->sent++;
    }
    return 0;
}

int answer_images(kr_text *out, answer *a, const kr_mrd_work *w, const kr_mrd_ask *ask)
{
    kr_scoped(array) x = kr_array_packed(w->image->data);
    unsigned kinds = ask->images ? ask->images : KR_MRD_MAGNITUDE;
    if (!x)
        return kr_error_code();
    if (!fits(x))
        return kr_fail(KR_ESHAPE, "images of shape %s cannot be sent", kr_shape_text(kr_array_shape(x)));
    if (x->type != KR_C32 && kinds & ~(unsigned)KR_MRD_MAGNITUDE)
        return kr_fail(KR_EREFUSED, "%s gives magnitudes alone, and \"images\" asks for more", ask->name);
    if (!(a->window > 0)) {
        a->window = kr_max_abs(x);
        a->scale = 0.5 * TOP / a->window;                        /* later images may be up to twice as bright */
    }
    kr_scoped(image) whole = kr_image_magnitude(w->image);
    kr_scoped(array) magnitude = whole ? kr_array_packed(whole->data) : NULL;
    if (!magnitude)
        return kr_error_code();
    for (unsigned kind = KR_MRD_MAGNITUDE; kind <= KR_MRD_COMPLEX; kind <<= 1)
        if (kinds & kind && kind_images(out, a, w, kind == KR_MRD_MAGNITUDE ? magnitude : x, kind, ask))
            return kr_error_code();
    return 0;
}
