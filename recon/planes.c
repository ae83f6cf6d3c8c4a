/* planes.c: from a scan to its independent problems, and from filled k-space to an image. */
#include "kray/dealt.h"
#include "kray/fourier.h"
#include "model.h"
#include "planes.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);

/* One slice, frame by frame. */
struct slice {
    const kr_scan *scan; const kr_array *coils, *calib; kr_array *image; const kr_filling *method;
    kr_plane p;
    kr_array *mask, *block, *y, *out;
    unsigned planes;                 /* axes of independent problems                                 */
    long count;                      /* of planes                                                    */
    void *shared, **kernel, **unmix; /* of each plane; unmix NULL: not tried, or it does not pay      */
    long frames, seen;               /* of this slice; with this mask                                */
    kr_shape of;                     /* the frames seen                                              */
    const void *maps;                /* that unmix was made with                                     */
    double (*floors)[2];             /* of each slice: the least and the largest that kernels were fitted with */
    bool noise;                      /* the image's deviation is wanted, not the image               */
    kr_array *S, *sd;                /* then: what coils are combined by; the deviation              */
};

static void drop_unmix(struct slice *j)
{
    for (long i = 0; j->unmix && i < j->count; i++)
        j->method->drop_unmix(&j->unmix[i]);
    kr_free_at(&j->unmix);
}

static void drop(struct slice *j)
{
    drop_unmix(j);
    for (long i = 0; j->kernel && i < j->count; i++)
        j->method->drop_kernel(&j->kernel[i]);
    kr_free_at(&j->kernel);
    j->method->drop(&j->shared);
    kr_array_unref(&j->mask);
    kr_array_unref(&j->block);
    kr_array_unref(&j->y);
    kr_array_unref(&j->out);
}

static kr_array *plane_of(const kr_array *a, unsigned planes, long i)
{
    kr_array *v = kr_array_ref(a);
    for (int d = KR_X; v && d <= KR_Z; d++)
        if (planes & KR_ON(d) && a->n[d] > 1) {
            kr_array *w = kr_array_at(v, d, i % a->n[d]);
            i /= a->n[d];
            kr_array_unref(&v);
            v = w;
        }
    return v;
}

static int one_plane(void *self, long i)
{
    struct slice *j = self;
    if (kr_stopped(j->p.trace))
        return kr_error_code();
    kr_scoped(array) from = plane_of(j->y, j->planes, i);
    kr_scoped(array) to = plane_of(j->out, j->planes, i);
    kr_scoped(array) view = j->kernel[i] ? NULL : plane_of(j->block, j->planes, i);
    kr_scoped(array) block = view ? kr_array_packed(view) : NULL;
    if (!from || !to || (!j->kernel[i] && !block))
        return kr_error_code();
    if (!j->kernel[i] && j->method->calibrate(&j->kernel[i], &j->p, j->shared, block))
        return kr_error_code();
    kr_scoped(array) filled = j->count == 1 ? kr_array_ref(to) : kr_array_new(KR_C32, kr_array_shape(to));
    if (!filled || j->method->fill(&j->p, j->shared, j->kernel[i], filled, from))
        return kr_error_code();
    if (j->count > 1)
        kr_array_assign(to, filled);
    return 0;
}

static kr_array *calibration(const kr_scan *scan)
{
    const long all[3] = { 0, 0, 0 };
    return kr_calibration(scan, all);
}

/* What is missing where: axes, planes, the calibration block with its planes. */
static int set_up(struct slice *j, kr_array *mask, long slice)
{
    j->p.mask = j->mask = mask;
    j->p.axes = j->planes = 0;
    j->p.coils = j->y->n[KR_COIL];
    j->count = 1;
    for (int d = KR_X; d <= KR_Z; d++)
        j->p.n[d] = mask->n[d];
    for (int d = KR_X; d <= KR_Z; d++)
        if (mask->n[d] > 1)
            j->p.axes |= KR_ON(d);
        else if (d != KR_X && j->y->n[d] > 1) {
            j->planes |= KR_ON(d);
            j->count *= j->y->n[d];
        }
    kr_scoped(array) calib = j->calib ? kr_array_ref(j->calib) : calibration(j->scan);
    kr_scoped(array) mine = calib ? kr_array_at(calib, KR_SLICE, calib->n[KR_SLICE] > 1 ? slice : 0) : NULL;
    kr_array *block = mine;
    mine = NULL;
    for (int d = KR_Y; block && d <= KR_Z; d++)
        if (j->planes & KR_ON(d)) {
            kr_array *wide = kr_array_crop(block, d, j->y->n[d]);
            kr_array_unref(&block);
            block = wide;
        }
    j->block = block ? kr_array_copy(block) : NULL;
    kr_array_unref(&block);
    j->kernel = kr_alloc_zero((size_t)j->count, sizeof *j->kernel);
    if (!j->block || !j->kernel || (j->planes && kr_fourier_inverse(j->block, j->planes)))
        return kr_error_code();
    kr_scoped(array) view = plane_of(j->block, j->planes, 0);
    kr_scoped(array) first = view ? kr_array_packed(view) : NULL;
    return first ? j->method->set_up(&j->shared, &j->p, first) : kr_error_code();
}

/* z = sum over coils of conj(S) x, or the root of the sum of squares. */
static int combine(kr_array *z, const kr_array *x, const kr_array *coils)
{
    if (!coils) {
        kr_scoped(array) rss = kr_rss(x, KR_COIL);
        if (!rss)
            return kr_error_code();
        kr_array_assign(z, rss);
        return 0;
    }
    kr_scoped(array) sum = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(coils), KR_ON(KR_COIL)));
    kr_scoped(array) one = kr_array_new(KR_C32, kr_array_shape(z));
    if (!sum || !one)
        return kr_error_code();
    kr_contract(sum, x, coils, true);
    kr_combine_sets(one, sum);
    kr_array_assign(z, one);
    return 0;
}

static int plane_noise(void *self, long i)
{
    struct slice *j = self;
    if (kr_stopped(j->p.trace))
        return kr_error_code();
    kr_scoped(array) view = plane_of(j->S, j->planes, i);
    kr_scoped(array) S = view ? kr_array_packed(view) : NULL;
    kr_scoped(array) to = plane_of(j->sd, j->planes, i);
    kr_scoped(array) v = to ? kr_array_new(KR_R32, kr_array_shape(to)) : NULL;
    if (!S || !v || j->method->noise(&j->p, j->shared, j->kernel[i], v, S))
        return kr_error_code();
    for (long k = 0, n = kr_count(kr_array_shape(v)); k < n; k++)
        KR_R(v)[k] = sqrtf(KR_R(v)[k]);
    kr_array_assign(to, v);
    return 0;
}

static int over_planes(struct slice *j, kr_body *body)
{
    int e = 0;
    if (j->count >= 2 * kr_threads())
        return kr_for(j->count, body, j);
    for (long i = 0; !e && i < j->count; i++)
        e = body(j, i);
    return e;
}

/* Coils are combined by the maps; in the root of the sum of squares, for small noise, by the coil images over it. */
static int deviation(struct slice *j, kr_array *z, const kr_array *maps)
{
    kr_scoped(array) S = kr_array_copy(maps ? maps : j->out);
    if (!S)
        return kr_error_code();
    long n = kr_count(kr_shape_without(kr_array_shape(S), KR_ON(KR_COIL)));
    for (long i = 0; !maps && i < n; i++) {
        double sum = 0;
        for (long c = 0; c < j->p.coils; c++)
            sum += (double)kr_cabs2(KR_C(S)[c * n + i]);
        kr_cfloat f = kr_c(sum > 0 ? (float)(1 / sqrt(sum)) : 0, 0);
        for (long c = 0; c < j->p.coils; c++)
            KR_C(S)[c * n + i] = kr_cmul(f, KR_C(S)[c * n + i]);
    }
    j->S = S;
    j->sd = z;
    return over_planes(j, plane_noise);
}

/* ---- Frames that follow one with the same mask ---- */
static int make_unmix(void *self, long i)
{
    struct slice *j = self;
    kr_scoped(array) view = plane_of(j->S, j->planes, i);
    kr_scoped(array) S = view ? kr_array_packed(view) : NULL;
    return S ? j->method->unmix(&j->unmix[i], &j->p, j->kernel[i], S, j->frames) : kr_error_code();
}

static int unmix_plane(void *self, long i)
{
    struct slice *j = self;
    if (kr_stopped(j->p.trace))
        return kr_error_code();
    kr_scoped(array) from = plane_of(j->y, j->planes, i);
    kr_scoped(array) to = plane_of(j->out, j->planes, i);
    kr_scoped(array) z = to ? kr_array_new(KR_C32, kr_array_shape(to)) : NULL;
    if (!from || !z || j->method->apply(&j->p, j->shared, j->unmix[i], z, from))
        return kr_error_code();
    kr_array_assign(to, z);
    return 0;
}

/* At the second frame, where the others pay for it. */
static int try_unmix(struct slice *j, const kr_array *maps, long left)
{
    drop_unmix(j);
    kr_scoped(array) S = kr_array_copy(maps);
    j->unmix = S ? kr_alloc_zero((size_t)j->count, sizeof *j->unmix) : NULL;
    if (!j->unmix)
        return kr_error_code();
    j->S = S;
    j->frames = left;
    j->maps = maps->data;
    int e = make_unmix(j, 0);
    if (!e && !j->unmix[0])
        kr_free_at(&j->unmix);
    else if (!e)
        for (long i = 1; !e && i < j->count; i++)
            e = make_unmix(j, i);
    return e;
}

static long slices_of(const kr_scan *s)
{
    return s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1;
}

/* In a stream nobody knows how many; its first frames are not the last. */
static long frames_left(const struct slice *j, long part)
{
    enum { SOME = 16 };
    long slices = slices_of(j->scan), left = (kr_parts(j->scan) - part + slices - 1) / slices;
    return j->seen > left && left < SOME ? SOME : left;
}

static bool same(const kr_array *a, const kr_array *b)
{
    return kr_shape_equal(kr_array_shape(a), kr_array_shape(b))
        && !memcmp(a->data, b->data, (size_t)kr_count(kr_array_shape(a)) * sizeof(float));
}

/* One slice of one frame. Frames of a slice follow each other and share kernels as long as they share the mask. */
static int one_frame(struct slice *j, long slice, long part)
{
    kr_scoped(array) data = kr_part(j->scan->data, j->scan, part);
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, part) : NULL;
    kr_scoped(array) z = kr_part(j->image, j->scan, part);
    kr_scoped(array) maps = j->coils ? kr_part(j->coils, j->scan, part) : NULL;
    kr_array_unref(&j->y);
    kr_array_unref(&j->out);
    j->y = data ? kr_array_copy(data) : NULL;
    if (!j->y || !z || (j->scan->mask && !mask) || (j->coils && !maps))
        return kr_error_code();
    if (!(kr_max_abs(j->y) > 0))                                     /* nothing was measured there: the image is 0 already */
        return 0;
    kr_scan as = { .shape = kr_array_shape(j->y), .data = j->y, .mask = mask, .in_image = j->scan->in_image };
    kr_array *P = kr_model_mask(&as);
    if (!P)
        return kr_error_code();
    if (j->mask && same(j->mask, P) && kr_shape_equal(j->of, kr_array_shape(j->y))) {
        kr_array_unref(&P);
        j->seen++;
    } else {
        kr_array *y = j->y;
        j->y = NULL;
        drop(j);
        j->y = y;
        j->seen = 1;
        j->of = kr_array_shape(j->y);
        if (set_up(j, P, slice))
            return kr_error_code();
    }
    unsigned done = j->scan->in_image & space;
    j->p.in_image = done & KR_ON(KR_X);
    if (j->planes & ~done && kr_fourier_inverse(j->y, j->planes & ~done))
        return kr_error_code();
    if (j->seen == 2 && j->method->unmix && !j->noise && maps && maps->n[KR_MAP] == 1 && try_unmix(j, maps, frames_left(j, part)))
        return kr_error_code();
    bool unmix = j->unmix && maps->data == j->maps;
    j->out = kr_array_new(KR_C32, kr_shape_without(kr_array_shape(j->y), unmix ? KR_ON(KR_COIL) : 0));
    if (!j->out)
        return kr_error_code();
    if (unmix) {
        if (over_planes(j, unmix_plane))
            return kr_error_code();
        kr_array_assign(z, j->out);
        return 0;
    }
    int e = over_planes(j, one_plane);
    for (long i = 0; !e && i < j->count; i++)
        j->method->chosen(j->kernel[i], j->floors[slice]);
    if (e || (j->p.axes && kr_fourier_inverse(j->out, j->p.axes)))
        return kr_error_code();
    return j->noise ? deviation(j, z, maps) : combine(z, j->out, maps);
}

/* What is left for the next scan: the slices as they ended, and the options that they were made with. */
struct left { const kr_filling *method; long slices; size_t opts_size; void *opts; struct slice s[]; };

void kr_fill_planes_forget(void **left)
{
    struct left *l = *left;
    for (long i = 0; l && i < l->slices; i++)
        drop(&l->s[i]);
    if (l)
        kr_free(l->opts);
    kr_free_at(left);
}

/* Those that were left, or new ones. */
static int take_up(struct left **l, const kr_filling *method, long slices, const void *opts, size_t opts_size)
{
    struct left *old = *l;
    if (old && old->method == method && old->slices == slices && old->opts_size == opts_size && (!opts_size || !memcmp(old->opts, opts, opts_size)))
        return 0;
    kr_fill_planes_forget((void **)l);
    struct left *x = *l = kr_alloc_zero(1, sizeof *x + (size_t)slices * sizeof *x->s);
    if (!x || !(x->opts = kr_alloc(1, opts_size ? opts_size : 1)))
        return kr_error_code();
    memcpy(x->opts, opts, opts_size);
    for (long i = 0; i < slices; i++)
        x->s[i].method = method;
    x->method = method;
    x->slices = slices;
    x->opts_size = opts_size;
    return 0;
}

struct all { struct slice first; struct left *left; kr_units *units; };

static int one_slice(void *self, long slice)
{
    const struct all *a = self;
    struct slice own = a->first, *j = a->left ? &a->left->s[slice] : &own;
    own.p.trace = kr_units_trace(a->units, slice);
    if (j != &own) {
        j->scan = own.scan;
        j->coils = own.coils;
        j->calib = own.calib;
        j->image = own.image;
        j->method = own.method;
        j->p.opts = own.p.opts;
        j->p.trace = own.p.trace;
        j->floors = own.floors;
    }
    long slices = slices_of(j->scan), parts = kr_parts(j->scan);
    j->floors[slice][0] = INFINITY;
    j->floors[slice][1] = -INFINITY;
    int e = 0;
    for (long part = slice; !e && part < parts; part += slices)
        e = one_frame(j, slice, part);
    if (e || j == &own)
        drop(j);
    kr_units_done(a->units, slice);
    return e;
}

/* What was chosen is told, and kept with the image. */
static int record(kr_image *image, const struct slice *j, long slices)
{
    double range[2] = { INFINITY, -INFINITY };
    char text[64];
    for (long i = 0; i < slices; i++) {
        range[0] = fmin(range[0], j->floors[i][0]);
        range[1] = fmax(range[1], j->floors[i][1]);
    }
    if (!(range[1] > 0))
        return 0;
    snprintf(text, sizeof text, range[0] < range[1] ? "%g to %g" : "%g", fmax(range[0], 0), range[1]);
    kr_say(j->p.trace, KR_DETAIL, "calibration: floor %s", text);
    return kr_meta_set(image->meta, "kray_calibration_floor", "%s", text);
}

static int fill(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts, bool noise,
                struct left *left, const kr_trace *trace)
{
    if (scan->shape.n[KR_COIL] < 2)
        return kr_fail(KR_EREFUSED, "kernels in k-space need several coils, this scan has one: take --method wavelet");
    if (coils && kr_coils_check(coils, scan))
        return kr_error_code();
    kr_scoped(array) calib = left ? NULL : calibration(scan);
    kr_scoped(array) image = left || calib ? kr_array_new(coils && !noise ? KR_C32 : KR_R32, kr_shape_without(scan->shape, KR_ON(KR_COIL))) : NULL;
    long slices = slices_of(scan);
    kr_auto double (*floors)[2] = kr_alloc((size_t)slices, sizeof *floors);
    if (!image || !floors)
        return kr_error_code();
    struct all a = { { .scan = scan, .coils = coils, .calib = calib, .image = image, .method = method,
                       .p = { .opts = opts, .trace = trace }, .noise = noise, .floors = floors }, left, kr_units_new(trace, "slice", slices) };
    if (!a.units)
        return kr_error_code();
    bool wide = slices >= 2 * kr_threads();              /* few: the threads share the work of each */
    int e = kr_deal(trace, slices, wide, one_slice, &a, (const kr_made[]){ kr_made_of(image), { floors, (size_t)slices * sizeof *floors }, { NULL, 0 } });
    kr_units_unref(&a.units);
    if (e)
        return e;
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? record(*out, &a.first, slices) : kr_error_code();
}

int kr_fill_planes_again(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts, size_t opts_size,
                         void **left, const kr_trace *trace)
{
    struct left *l = *left;
    int e = take_up(&l, method, slices_of(scan), opts, opts_size);
    *left = l;
    return e ? e : fill(out, scan, coils, method, opts, false, l, trace);
}

int kr_fill_planes(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts,
                   const kr_trace *trace)
{
    return fill(out, scan, coils, method, opts, false, NULL, trace);
}

int kr_fill_planes_noise(kr_image **sd, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts,
                         const kr_trace *trace)
{
    return coils && coils->n[KR_MAP] > 1 ? 1 : fill(sd, scan, coils, method, opts, true, NULL, trace);
}
