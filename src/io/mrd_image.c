/* mrd_image.c: series of ISMRMRD images (FORMATS 1.3, 1.9, 1.10). */
#include "mrd_image.h"
#include "mrd_h5.h"
#include "mrd_header.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COUNTERS = 6 };
static const int axis_of[COUNTERS] = { KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };

static long counter(const ISMRMRD_ImageHeader *h, int k)
{
    const uint16_t v[COUNTERS] = { h->slice, h->contrast, h->phase, h->set, h->repetition, h->average };
    return v[k];
}

/* ---- Reading ---- */
typedef struct series {
    const kr_mrd_images *from;
    ISMRMRD_ImageHeader *head;
    long count, used;                /* images; those of the first one's type */
    long *rank[COUNTERS];            /* counter -> place along its axis, -1: never seen */
    kr_shape shape;
    bool in_a_row;                   /* counters cannot tell the images apart: they stand along TIME as they come */
} series;

static bool alike(const series *s, long i) { return s->head[i].image_type == s->head[0].image_type; }

/* Counters that occur, closed up: images cut out of a longer series keep their numbers. */
static int rank_counters(series *s)
{
    long product = 1;
    for (long i = 0; i < s->count; i++)
        s->used += alike(s, i);
    for (int k = 0; k < COUNTERS; k++) {
        long *rank = s->rank[k] = kr_alloc(USHRT_MAX + 1, sizeof *rank), n = 0;
        if (!rank)
            return kr_error_code();
        for (long v = 0; v <= USHRT_MAX; v++)
            rank[v] = -1;
        for (long i = 0; i < s->count; i++)
            if (alike(s, i))
                rank[counter(&s->head[i], k)] = 0;
        for (long v = 0; v <= USHRT_MAX; v++)
            if (!rank[v])
                rank[v] = n++;
        s->shape.n[axis_of[k]] = n;
        if (__builtin_mul_overflow(product, n, &product))
            product = LONG_MAX;
    }
    s->in_a_row = product != s->used;
    kr_auto unsigned char *seen = s->in_a_row ? NULL : kr_alloc_zero((size_t)product, 1);
    if (!s->in_a_row && !seen)
        return kr_error_code();
    for (long i = 0; seen && i < s->count; i++) {
        long at = 0;
        for (int k = 0; k < COUNTERS; k++)
            at = at * s->shape.n[axis_of[k]] + s->rank[k][counter(&s->head[i], k)];
        s->in_a_row |= alike(s, i) && seen[at]++;
    }
    for (int k = 0; s->in_a_row && k < COUNTERS; k++)
        s->shape.n[axis_of[k]] = axis_of[k] == KR_TIME ? s->used : 1;
    return 0;
}

static bool unit(double to[3], const float *from)
{
    double n = sqrt((double)from[0] * from[0] + (double)from[1] * from[1] + (double)from[2] * from[2]);
    for (int k = 0; k < 3; k++)
        to[k] = from[k] / n;
    return n > 1e-6 && isfinite(n);
}

static int read_geom(kr_geom **out, const series *s)
{
    long slices = s->in_a_row ? 1 : s->shape.n[KR_SLICE];
    kr_geom *g = *out = kr_geom_new(slices);
    double dir[3][3];
    if (!g)
        return kr_error_code();
    ISMRMRD_ImageHeader h = s->head[0];
    bool read = unit(dir[0], h.read_dir), phase = unit(dir[1], h.phase_dir), slice = unit(dir[2], h.slice_dir);
    g->known = read && phase && slice;           /* all three are set, whichever is missing */
    if (g->known) {
        memcpy(g->read_dir, dir[0], sizeof dir[0]);
        memcpy(g->phase_dir, dir[1], sizeof dir[1]);
        memcpy(g->slice_dir, dir[2], sizeof dir[2]);
    }
    for (int d = 0; d < 3; d++)
        g->fov_mm[d] = isfinite(h.field_of_view[d]) && h.field_of_view[d] > 0 ? h.field_of_view[d] : 0;
    for (long i = s->count; i-- > 0; )
        for (int d = 0; d < 3 && alike(s, i); d++)
            g->position_mm[s->in_a_row ? 0 : s->rank[0][s->head[i].slice]][d] = isfinite(s->head[i].position[d]) ? s->head[i].position[d] : 0;
    return 0;
}

static int read_pixels(kr_array **out, series *s)
{
    for (long i = 0, row = 0; i < s->count; i++) {
        if (!alike(s, i))
            continue;
        kr_scoped(array) one = NULL;
        if (s->from->pixels(&one, s->from->self, i))
            return kr_error_code();
        static const int within[] = { KR_COIL, KR_Z, KR_Y, KR_X };
        for (int d = 0; d < 4 && !*out; d++)
            s->shape.n[within[d]] = one->n[within[d]];
        if (!*out && !(*out = kr_array_new(one->type, s->shape)))
            return kr_error_code();
        kr_array *to = kr_array_ref(*out);
        for (int k = 0; to && k < COUNTERS; k++) {
            long at = !s->in_a_row ? s->rank[k][counter(&s->head[i], k)] : axis_of[k] == KR_TIME ? row : 0;
            kr_array *next = kr_array_at(to, axis_of[k], at);
            kr_array_unref(&to);
            to = next;
        }
        if (!to)
            return kr_error_code();
        bool fits = one->type == to->type;
        for (int d = 0; d < KR_AXES; d++)
            fits &= one->n[d] == to->n[d];
        if (fits)
            kr_array_assign(to, one);
        else
            kr_fail(KR_EFORMAT, "image %ld is %s, the first one %s: images of one series have one size and type", i,
                    kr_shape_text(kr_array_shape(one)), kr_shape_text(kr_array_shape(to)));
        kr_array_unref(&to);
        if (!fits)
            return kr_error_code();
        row++;
    }
    return 0;
}

static int read_meta(kr_meta *meta, const series *s)
{
    kr_auto char *text = NULL;
    int e = s->from->attributes(&text, s->from->self);
    if (e || !text)
        return e;
    e = kr_mrd_meta_parse(meta, text);
    static const char *const same[][2] = { { "EchoTime", "te_ms" }, { "InversionTime", "ti_ms" }, { "SeriesDescription", "series" } };
    for (int i = 0; !e && i < 3; i++) {
        const char *theirs = kr_meta_get(meta, same[i][0]);
        if (theirs && !kr_meta_get(meta, same[i][1]))
            e = kr_meta_set(meta, same[i][1], "%s", theirs);
    }
    return e;
}

static int read_series(kr_image **out, series *s)
{
    kr_scoped(array) data = NULL;
    kr_scoped(geom) geom = NULL;
    kr_scoped(meta) meta = kr_meta_new();
    if (!meta || s->from->heads(&s->head, &s->count, s->from->self) || rank_counters(s) || read_geom(&geom, s)
        || read_pixels(&data, s) || read_meta(meta, s))
        return kr_error_code();
    if (s->used < s->count && kr_meta_set(meta, "note", "%ld images of other types than the first are left out", s->count - s->used))
        return kr_error_code();
    *out = kr_image_new(data, geom, meta);
    return *out ? 0 : kr_error_code();
}

int kr_mrd_images_read(kr_image **out, const kr_mrd_images *from)
{
    series s = { .from = from };
    *out = NULL;
    int e = read_series(out, &s);
    kr_free(s.head);
    for (int k = 0; k < COUNTERS; k++)
        kr_free(s.rank[k]);
    return e;
}

/* ---- From HDF5 ---- */
struct group { kr_h5 *f; const char *name; kr_h5_set *set; };

static int group_heads(ISMRMRD_ImageHeader **head, long *count, void *self)
{
    struct group *g = self;
    kr_auto char *name = kr_strf("%s/data", g->name);
    int e = kr_mrd_image_heads_read(head, count, g->f, g->name);
    if (e || !name || !(g->set = kr_h5_set_open(g->f, name)))
        return kr_error_code();
    return g->set->dims == 5 && g->set->n[0] >= *count ? 0
         : kr_fail(KR_EFORMAT, "%s has %d axes and %ld images where 5 and %ld are wanted", name, g->set->dims, g->set->n[0], *count);
}

static int group_pixels(kr_array **out, void *self, long i)
{
    static const int order[5] = { KR_AXES, KR_COIL, KR_Z, KR_Y, KR_X };
    const kr_h5_set *set = ((struct group *)self)->set;
    const long from[5] = { i }, count[5] = { 1, set->n[1], set->n[2], set->n[3], set->n[4] };
    return kr_h5_read(out, set, order, from, count);
}

static int group_attributes(char **text, void *self)
{
    const struct group *g = self;
    kr_auto char *name = kr_strf("%s/attributes", g->name);
    if (!name || !kr_h5_has(g->f, name))
        return name ? 0 : kr_error_code();
    *text = kr_h5_text(g->f, name);
    return *text ? 0 : kr_error_code();
}

int kr_mrd_image_read(kr_image **out, const kr_source *src)
{
    kr_mrd_groups g = { 0 };
    *out = NULL;
    kr_scoped(h5) f = kr_h5_open(src->path);
    int e = f ? kr_mrd_groups_find(&g, f) : kr_error_code();
    long i = e ? e : kr_mrd_groups_choose(&g, src->var, KR_MRD_IMAGES);
    e = i < 0 ? (int)i : 0;
    if (!e) {
        struct group from = { f, g.group[i].name, NULL };
        e = kr_mrd_images_read(out, &(kr_mrd_images){ group_heads, group_pixels, group_attributes, &from });
        kr_h5_set_unref(&from.set);
    }
    kr_mrd_groups_clear(&g);
    return e;
}

/* ---- Writing ---- */
static char *attributes(const kr_image *im)
{
    static const char *const direction[3] = { "ImageRowDir", "ImageColumnDir", "ImageSliceDir" };
    const double *dir[3] = { im->geom->read_dir, im->geom->phase_dir, im->geom->slice_dir };
    const char *image = "Image", *te = kr_meta_get(im->meta, "te_ms"), *ti = kr_meta_get(im->meta, "ti_ms");
    kr_text t = { 0 };
    kr_text_add(&t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ismrmrdMeta>");
    kr_mrd_meta_add(&t, "DataRole", &image, 1);
    for (int a = 0; a < 3; a++) {
        char v[3][40];
        for (int k = 0; k < 3; k++)
            snprintf(v[k], sizeof v[k], "%.18f", dir[a][k]);
        kr_mrd_meta_add(&t, direction[a], (const char *const[]){ v[0], v[1], v[2] }, 3);
    }
    if (te && !kr_meta_get(im->meta, "EchoTime"))
        kr_mrd_meta_add(&t, "EchoTime", &te, 1);
    if (ti && !kr_meta_get(im->meta, "InversionTime"))
        kr_mrd_meta_add(&t, "InversionTime", &ti, 1);
    for (long i = 0; i < kr_meta_count(im->meta); i++) {
        const char *key = kr_meta_key(im->meta, i), *value = kr_meta_value(im->meta, i);
        if (strcmp(key, "DataRole") && strcmp(key, direction[0]) && strcmp(key, direction[1]) && strcmp(key, direction[2]))
            kr_mrd_meta_add(&t, key, &value, 1);
    }
    kr_text_add(&t, "</ismrmrdMeta>");
    char *out = t.failed ? NULL : kr_strdup(t.s);
    kr_text_clear(&t);
    return out;
}

static ISMRMRD_ImageHeader head_of(const kr_image *im, const kr_array *a, long n, size_t length)
{
    const kr_geom *g = im->geom;
    long v[COUNTERS], rest = n;
    for (int k = 0; k < COUNTERS; k++) {
        v[k] = rest % a->n[axis_of[k]];
        rest /= a->n[axis_of[k]];
    }
    ISMRMRD_ImageHeader h = { .version = 1, .data_type = a->type == KR_C32 ? ISMRMRD_CXFLOAT : ISMRMRD_FLOAT, .channels = (uint16_t)a->n[KR_COIL],
        .slice = (uint16_t)v[0], .contrast = (uint16_t)v[1], .phase = (uint16_t)v[2], .set = (uint16_t)v[3], .repetition = (uint16_t)v[4],
        .average = (uint16_t)v[5], .image_type = a->type == KR_C32 ? ISMRMRD_IMTYPE_COMPLEX : ISMRMRD_IMTYPE_MAGNITUDE,
        .image_index = (uint16_t)(n + 1), .attribute_string_len = (uint32_t)length };
    for (int d = 0; d < 3; d++) {
        h.matrix_size[d] = (uint16_t)a->n[d];
        h.field_of_view[d] = (float)g->fov_mm[d];
        h.position[d] = (float)g->position_mm[v[0] < g->slices ? v[0] : 0][d];
        h.read_dir[d] = (float)g->read_dir[d];
        h.phase_dir[d] = (float)g->phase_dir[d];
        h.slice_dir[d] = (float)g->slice_dir[d];
    }
    return h;
}

/* (images, channels, z, y, x): what a contiguous array is already. Chunks are planes; the first axis may grow. */
static int write_pixels(kr_h5 *f, const kr_array *a, long images)
{
    const hsize_t n[5] = { (hsize_t)images, (hsize_t)a->n[KR_COIL], (hsize_t)a->n[KR_Z], (hsize_t)a->n[KR_Y], (hsize_t)a->n[KR_X] };
    const hsize_t most[5] = { H5S_UNLIMITED, n[1], n[2], n[3], n[4] }, chunk[5] = { 1, 1, 1, n[3], n[4] };
    hid_t type = a->type == KR_C32 ? H5Tcreate(H5T_COMPOUND, 8) : H5Tcopy(H5T_NATIVE_FLOAT);
    if (a->type == KR_C32) {
        H5Tinsert(type, "real", 0, H5T_NATIVE_FLOAT);
        H5Tinsert(type, "imag", 4, H5T_NATIVE_FLOAT);
    }
    hid_t space = H5Screate_simple(5, n, most), plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 5, chunk);
    hid_t d = H5Dcreate2(f->id, "dataset/image_0/data", type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    bool good = d >= 0 && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->data) >= 0;
    if (d >= 0)
        good = H5Dclose(d) >= 0 && good;
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
    return good ? 0 : kr_fail(KR_EFILE, "the images cannot be written; is the disk full?");
}

static int write_series(kr_h5 *f, const kr_image *im, const kr_array *a, long images)
{
    kr_auto char *text = attributes(im);
    kr_auto ISMRMRD_ImageHeader *head = kr_alloc((size_t)images, sizeof *head);
    kr_auto char **all = kr_alloc((size_t)images, sizeof *all);
    if (!text || !head || !all)
        return kr_error_code();
    for (long n = 0; n < images; n++) {
        head[n] = head_of(im, a, n, strlen(text));
        all[n] = text;
    }
    if (kr_mrd_image_heads_write(f, "dataset/image_0", head, images) || kr_mrd_texts_write(f, "dataset/image_0/attributes", images, all))
        return kr_error_code();
    return write_pixels(f, a, images);
}

int kr_mrd_image_write(const kr_image *im, const char *path)
{
    unsigned known = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL);
    kr_scoped(array) a = kr_array_packed(im->data);
    long images = 1;
    if (!a)
        return kr_error_code();
    for (int k = 0; k < COUNTERS; k++) {
        known |= KR_ON(axis_of[k]);
        images *= a->n[axis_of[k]];
    }
    for (int d = 0; d < KR_AXES; d++)
        if (a->n[d] > USHRT_MAX || (a->n[d] > 1 && !(known & KR_ON(d))))
            return kr_fail(KR_ESHAPE, "ISMRMRD cannot hold images of shape %s", kr_shape_text(kr_array_shape(a)));
    kr_h5 *f = kr_h5_create(path, 0);
    int e = f ? write_series(f, im, a, images) : kr_error_code();
    if (!e)
        return kr_h5_close(&f);
    kr_h5_unref(&f);
    return e;
}
