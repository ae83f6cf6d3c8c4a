/* mrd_image.c: series of ISMRMRD images. */
#include "mrd_image.h"
#include "mrd_h5.h"
#include "mrd_header.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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
    long count, used, like;          /* images; those of the series, and its first one */
    bool numbered;                   /* several images share a series number: then it tells series apart */
    long *rank[COUNTERS], ranks[COUNTERS];      /* counter -> place along its axis, -1: never seen; how many are known */
    kr_shape shape;
    bool in_a_row;                   /* counters cannot tell the images apart: they stand along TIME as they come */
} series;

static bool same_series(const series *s, long i, long j)
{
    const ISMRMRD_ImageHeader *a = &s->head[i], *b = &s->head[j];
    return a->image_type == b->image_type && (!s->numbered || a->image_series_index == b->image_series_index);
}

static bool alike(const series *s, long i) { return same_series(s, i, s->like); }

static const char *type_name(int type)
{
    static const char *const name[] = { "unknown type", "magnitude", "phase", "real part", "imaginary part", "complex", "red, green, blue" };
    return name[type >= 0 && type < 7 ? type : 0];
}

/* The series that is wanted, by its number; sets `like`. Some writers number every image: no series then. */
static int choose_series(series *s)
{
    kr_auto unsigned char *seen = kr_alloc_zero(USHRT_MAX + 1, 1);
    long numbers = 0;
    if (!seen)
        return kr_error_code();
    for (long i = 0; i < s->count; i++)
        numbers += !seen[s->head[i].image_series_index]++;
    s->numbered = numbers > 1 && numbers < s->count;
    if (!s->from->series)
        return 0;
    char *end;
    long want = strtol(s->from->series, &end, 10);
    for (long i = 0; !*end && i < s->count; i++)
        if (s->head[i].image_series_index == want) {
            s->like = i;
            s->numbered = true;
            return 0;
        }
    kr_text t = { 0 };
    for (long v = 0; v <= USHRT_MAX && t.len < 300; v++)
        if (seen[v])
            kr_text_add(&t, "%s%ld", t.len ? ", " : "", v);
    kr_fail(KR_EFORMAT, "there is no series '%s' of images; there are %s", s->from->series, t.s ? t.s : "none");
    kr_text_clear(&t);
    return kr_error_code();
}

/* "phase (series 1, 12 images), ...": those of the same source that are left out. */
static void tell_others(kr_text *t, const series *s)
{
    for (long i = 0; i < s->count && t->len < 600; i++) {
        bool told = alike(s, i);
        long images = 0;
        for (long j = 0; j < i && !told; j++)
            told = same_series(s, i, j);
        for (long j = i; j < s->count && !told; j++)
            images += same_series(s, i, j);
        if (!told)
            kr_text_add(t, "%s%s (series %d, %ld image%s)", t->len ? ", " : "", type_name(s->head[i].image_type), s->head[i].image_series_index, images, images == 1 ? "" : "s");
    }
}

/* ---- Slices by their positions ---- */
/* packed: three floats of a header, which need not lie where floats may be read. */
static bool unit(double to[3], const void *packed)
{
    float from[3];
    memcpy(from, packed, sizeof from);
    double n = sqrt((double)from[0] * from[0] + (double)from[1] * from[1] + (double)from[2] * from[2]);
    for (int k = 0; k < 3; k++)
        to[k] = from[k] / n;
    return n > 1e-6 && isfinite(n);
}

typedef struct placed { double at; long image; } placed;

static int by_place(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->image > y->image) - (x->image < y->image);
}

/* Images sorted along the slice direction (0: they have none); *places: how many different places there are. */
static long sort_places(placed *p, long *places, const series *s)
{
    double dir[3];
    long n = 0;
    if (!unit(dir, s->head[s->like].slice_dir))
        return 0;
    for (long i = 0; i < s->count; i++)
        if (alike(s, i)) {
            float at[3];
            memcpy(at, s->head[i].position, sizeof at);
            p[n] = (placed){ at[0] * dir[0] + at[1] * dir[1] + at[2] * dir[2], i };
            if (!isfinite(p[n++].at))
                return 0;
        }
    qsort(p, (size_t)n, sizeof *p, by_place);
    *places = n > 0;
    for (long k = 1; k < n; k++)
        *places += p[k].at - p[k - 1].at > 1e-3;
    return n;
}

/* No counter tells these images apart, but their positions do: these become slices, and what lies in one place follows in time. */
static int slices_by_position(series *s)
{
    kr_auto placed *p = kr_alloc((size_t)s->count, sizeof *p);
    long places = 0, n = p ? sort_places(p, &places, s) : 0;
    if (!p)
        return kr_error_code();
    if (places < 2 || n % places || places > USHRT_MAX || n / places > USHRT_MAX)
        return 0;
    long slice = 0, row = 0, frames = n / places;
    for (int pass = 0; pass < 2; pass++)                     /* first: is each place as full as the others? */
        for (long k = slice = row = 0; k < n; k++) {
            bool next = k && p[k].at - p[k - 1].at > 1e-3;
            if (k && next != (k % frames == 0))
                return 0;
            slice += next;
            row = next ? 0 : row + (k > 0);
            ISMRMRD_ImageHeader *h = &s->head[p[k].image];
            if (pass) {
                h->slice = (uint16_t)slice;
                h->repetition = (uint16_t)row;
                h->contrast = h->phase = h->set = h->average = 0;
            }
        }
    return 1;
}

/* Slice counters that do not follow the positions: the slices are put in the order of these. */
static int order_slices(series *s)
{
    long slices = s->shape.n[KR_SLICE];
    kr_auto placed *p = kr_alloc((size_t)s->count, sizeof *p);
    kr_auto long *place = kr_alloc((size_t)slices, sizeof *place);
    if (!p || !place)
        return kr_error_code();
    long places = 0, n = sort_places(p, &places, s), at = 0;
    if (slices < 2 || places != slices)
        return 0;
    for (long k = 0; k < slices; k++)
        place[k] = -1;
    for (long k = 0; k < n; k++) {
        at += k && p[k].at - p[k - 1].at > 1e-3;
        long *to = &place[s->rank[0][s->head[p[k].image].slice]];
        if (*to >= 0 && *to != at)
            return 0;                                        /* one slice in two places */
        *to = at;
    }
    bool rising = true, falling = true;
    for (long k = 0; k < slices; k++) {
        rising &= place[k] == k;
        falling &= place[k] == slices - 1 - k;
    }
    for (long v = 0; v < s->ranks[0] && !rising && !falling; v++)
        if (s->rank[0][v] >= 0)
            s->rank[0][v] = place[s->rank[0][v]];
    return 0;
}

/* Counters that occur, closed up: images cut out of a longer series keep their numbers. */
static int rank_counters(series *s)
{
    long product = 1;
    s->used = 0;
    for (long i = 0; i < s->count; i++)
        s->used += alike(s, i);
    for (int k = 0; k < COUNTERS; k++) {
        long most = 0, n = 0;
        for (long i = 0; i < s->count; i++)
            most = counter(&s->head[i], k) > most ? counter(&s->head[i], k) : most;
        kr_free(s->rank[k]);
        long *rank = s->rank[k] = kr_alloc((size_t)most + 1, sizeof *rank);
        s->ranks[k] = most + 1;
        if (!rank)
            return kr_error_code();
        for (long v = 0; v <= most; v++)
            rank[v] = -1;
        for (long i = 0; i < s->count; i++)
            if (alike(s, i))
                rank[counter(&s->head[i], k)] = 0;
        for (long v = 0; v <= most; v++)
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

static int read_geom(kr_geom **out, const series *s)
{
    long slices = s->in_a_row ? 1 : s->shape.n[KR_SLICE];
    kr_geom *g = *out = kr_geom_new(slices);
    double dir[3][3];
    if (!g)
        return kr_error_code();
    ISMRMRD_ImageHeader h = s->head[s->like];
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
    if (!meta || s->from->heads(&s->head, &s->count, s->from->self) || choose_series(s) || rank_counters(s))
        return kr_error_code();
    int changed = s->in_a_row ? slices_by_position(s) : 0;
    if (changed < 0 || (changed && rank_counters(s)) || (!s->in_a_row && order_slices(s)) || read_geom(&geom, s) || read_pixels(&data, s) || read_meta(meta, s))
        return kr_error_code();
    kr_text others = { 0 };
    tell_others(&others, s);
    int e = others.failed || (others.len && kr_meta_set(meta, "other_series", "%s", others.s)) ? kr_error_code() : 0;
    kr_text_clear(&others);
    if (e)
        return e;
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

/* "dataset/image_1 (phase, 12 images)" of the other groups of images. */
static int name_groups(kr_image *im, kr_h5 *f, const kr_mrd_groups *g, long chosen)
{
    const char *own = kr_meta_get(im->meta, "other_series");
    kr_text t = { 0 };
    if (own)
        kr_text_add(&t, "%s in %s: ask for one by FILE:%s/NUMBER", own, g->group[chosen].name, g->group[chosen].name);
    for (long i = 0; i < g->count && t.len < 600; i++) {
        kr_auto ISMRMRD_ImageHeader *head = NULL;
        long count = 0;
        if (i == chosen || g->group[i].content != KR_MRD_IMAGES)
            continue;
        if (kr_mrd_image_heads_read(&head, &count, f, g->group[i].name)) {
            kr_text_clear(&t);
            return kr_error_code();
        }
        kr_text_add(&t, "%s%s (%s, %ld image%s)", t.len ? "; " : "", g->group[i].name, count ? type_name(head[0].image_type) : "empty", count, count == 1 ? "" : "s");
    }
    int e = t.failed || (t.len && kr_meta_set(im->meta, "other_series", "%s", t.s)) ? kr_error_code() : 0;
    kr_text_clear(&t);
    return e;
}

/* The group by its whole name, or by what follows its last '/'. */
static const char *whole_name(const kr_mrd_groups *g, const char *var)
{
    for (long i = 0; i < g->count; i++) {
        const char *last = strrchr(g->group[i].name, '/');
        if (last && g->group[i].content == KR_MRD_IMAGES && !strcmp(last + 1, var))
            return g->group[i].name;
    }
    return var;
}

int kr_mrd_image_read(kr_image **out, const kr_source *src)
{
    kr_mrd_groups g = { 0 };
    *out = NULL;
    kr_scoped(h5) f = kr_h5_open(src->path);
    int e = f ? kr_mrd_groups_find(&g, f) : kr_error_code();
    kr_auto char *var = !e && src->var ? kr_strdup(src->var) : NULL;
    char *number = var ? strrchr(var, '/') : NULL;
    if (number && number[1] && !number[1 + strspn(number + 1, "0123456789")])
        *number++ = 0;
    else
        number = NULL;
    long i = e ? e : src->var && !var ? kr_error_code() : kr_mrd_groups_choose(&g, var ? whole_name(&g, var) : NULL, KR_MRD_IMAGES);
    e = i < 0 ? (int)i : 0;
    if (!e) {
        struct group from = { f, g.group[i].name, NULL };
        e = kr_mrd_images_read(out, &(kr_mrd_images){ group_heads, group_pixels, group_attributes, &from, number });
        kr_h5_set_unref(&from.set);
    }
    if (!e && (e = name_groups(*out, f, &g, i)))
        kr_image_unref(out);
    kr_mrd_groups_clear(&g);
    return e;
}

/* ---- Writing ---- */
char *kr_mrd_image_attributes(const kr_image *im)
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
    kr_auto char *text = kr_mrd_image_attributes(im);
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
