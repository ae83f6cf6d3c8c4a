/* lesson.c: what a network is given of one slice. The pipeline of the network's program runs with a stand-in, which keeps what the network would have been given; what
 * the image is compared with comes to the same units. */
#include "around.h"
#include "kray/fourier.h"
#include "kray/lesson.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const unsigned xy = KR_ON(KR_X) | KR_ON(KR_Y);

void kr_lesson_clear(kr_lesson *l)
{
    const void *all[] = { l->in.kspace, l->in.mask, l->in.acs, l->in.padding, l->in.sens, l->in.start, l->in.image, l->in.adjoint, l->in.noise, l->first, l->target, l->held, l->held_at };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kr_free((void *)(uintptr_t)all[i]);
    *l = (kr_lesson){ 0 };
}

/* ---- What the network is given ---- */
/* value: what the stand-in gives for an image, everywhere. */
struct taken { kr_net_input in; float value; int failed; bool keep; };

static void *kept(const void *from, long n, size_t size, int *failed)
{
    void *to = from && !*failed ? kr_alloc((size_t)n, size) : NULL;
    if (to)
        memcpy(to, from, (size_t)n * size);
    else if (from)
        *failed = KR_EMEM;
    return to;
}

static int take(void *self, kr_cfloat *image, const kr_net_input *in)
{
    struct taken *t = self;
    long n = in->h * in->w;
    for (long i = 0; i < n; i++)
        image[i] = kr_c(t->value, 0);
    if (!t->keep)
        return 0;
    t->in = *in;
    t->in.kspace = kept(in->kspace, n * in->coils, sizeof *in->kspace, &t->failed);
    t->in.mask = kept(in->mask, n, sizeof *in->mask, &t->failed);
    t->in.acs = kept(in->acs, n, sizeof *in->acs, &t->failed);
    t->in.padding = kept(in->padding, n, sizeof *in->padding, &t->failed);
    t->in.sens = kept(in->sens, n * in->coils, sizeof *in->sens, &t->failed);
    t->in.start = kept(in->start, n, sizeof *in->start, &t->failed);
    t->in.image = kept(in->image, n, sizeof *in->image, &t->failed);
    t->in.adjoint = kept(in->adjoint, n, sizeof *in->adjoint, &t->failed);
    t->in.noise = kept(in->noise, n, sizeof *in->noise, &t->failed);
    return t->failed;
}

/* z = T(value everywhere) by the pipeline. */
static int pass(kr_array **z, struct taken *t, const kr_net_kind *kind, const around *about, const void *facts, const kr_scan *given, const kr_array *maps, const kr_array *first, const kr_trace *trace)
{
    kr_shape plane = KR_SHAPE([KR_X] = given->data->n[KR_X], [KR_Y] = given->data->n[KR_Y]), image = plane;
    double whole[2] = { 0, 0 };
    if (about->grid)
        about->grid(&image, given, facts, NULL);
    if (image.n[KR_X] != plane.n[KR_X] || image.n[KR_Y] != plane.n[KR_Y])
        return kr_fail(KR_EREFUSED, "the configuration crops images of %ld x %ld to %ld x %ld, which training does not", plane.n[KR_X], plane.n[KR_Y], image.n[KR_X], image.n[KR_Y]);
    slice s = { 0 };
    kr_net *stand_in = kr_net_stand_in(kind, take, t);
    *z = stand_in ? kr_array_new(KR_C32, plane) : NULL;
    int e = *z ? 0 : kr_error_code();
    e = e || !about->measure ? e : about->measure(whole, given, facts);
    e = e ? e : slice_open(&s, given, 0);
    around_job job = { given, maps, kind, facts, whole, first, trace };
    e = e ? e : about->slice(*z, &s, stand_in, &job, 0);
    slice_clear(&s);
    kr_net_unref(&stand_in);
    return e;
}

/* ---- What it is compared with ---- */
/* The k-space of the reference in the network's units and transform. */
static int in_units(kr_array **k, const kr_lesson *l, const kr_scan *given, const kr_scan *reference, double scale)
{
    long n = kr_count(kr_array_shape(reference->data));
    *k = kr_array_copy(reference->data);
    kr_scoped(array) own = scale > 0 ? NULL : kr_array_copy(given->data);
    if (!*k || (scale <= 0 && !own) || (!l->in.centred && (uncentred(*k, AROUND_KSPACE, false) || (own && uncentred(own, AROUND_KSPACE, false)))))
        return kr_error_code();
    if (own) {                                               /* the factor, from samples that the network has */
        double both = 0, raw = 0, net = 0, off = 0;
        for (long i = 0; i < n; i++) {
            kr_cfloat a = KR_C(own)[i], b = l->in.kspace[i];
            if (l->in.mask[i % (l->in.h * l->in.w)] == 0)
                continue;
            both += (double)kr_re(kr_cmulc(a, b));
            raw += (double)kr_cabs2(a);
            net += (double)kr_cabs2(b);
        }
        double by = raw > 0 ? both / raw : 0;
        off = net - by * both;
        if (!(by > 0) || off > 1e-4 * net)
            return kr_fail(KR_EREFUSED, "what the configuration does to the data is more than to multiply them by a factor, which training cannot follow");
        scale = 1 / by;
    }
    kr_scale(*k, (float)(1 / scale));
    return 0;
}

/* Coil images of k-space in the network's transform. */
static int to_images(kr_array *k, bool centred)
{
    if (!centred && uncentred(k, AROUND_KSPACE, true))
        return kr_error_code();
    if (kr_fourier_inverse(k, xy))
        return kr_error_code();
    return centred ? 0 : uncentred(k, AROUND_IMAGE, false);
}

static void combined(kr_cfloat *to, const kr_array *x, const kr_cfloat *sens, long n, long coils)
{
    for (long i = 0; i < n; i++) {
        double re = 0, im = 0, size = 0;
        for (long c = 0; c < coils; c++) {
            kr_cfloat v = kr_cmulc(sens[c * n + i], KR_C(x)[c * n + i]);
            re += (double)kr_re(v);
            im += (double)kr_im(v);
            size += (double)kr_cabs2(sens[c * n + i]);
        }
        to[i] = size > 0 ? kr_c((float)(re / size), (float)(im / size)) : kr_c(0, 0);
    }
}

/* Soft maps fall to 0 towards their edge, where an image is not larger for it. */
static void combined_soft(kr_cfloat *to, const kr_array *x, const kr_cfloat *sens, long n, long coils)
{
    combined(to, x, sens, n, coils);
    for (long i = 0; i < n; i++) {
        double size = 0;
        for (long c = 0; c < coils; c++)
            size += (double)kr_cabs2(sens[c * n + i]);
        to[i] *= (float)(size / fmax(size, 0.25));
    }
}

/* Root of the sum of squares of the coil images of a scan, through z = T(0) + (T(1) - T(0)) x undone. */
static int magnitudes(kr_cfloat *to, const kr_scan *s, const kr_array *none, const kr_array *one)
{
    kr_scoped(array) k = kr_array_copy(s->data);
    if (!k || kr_fourier_inverse(k, xy))
        return kr_error_code();
    kr_scoped(array) m = kr_rss(k, KR_COIL);
    for (long i = 0, n = m ? kr_count(kr_array_shape(m)) : 0; i < n; i++) {
        double from = (double)kr_re(KR_C(none)[i]), by = sqrt((double)kr_cabs2(KR_C(one)[i] - KR_C(none)[i]));
        to[i] = kr_c((float)(by > 0 ? ((double)KR_R(m)[i] - from) / by : 0), 0);
    }
    return m ? 0 : kr_error_code();
}

/* ---- The network's axes ---- */
static int swapped(void *at, long planes, long nx, long ny, size_t size)
{
    char **p = at, *to = *p ? kr_alloc((size_t)(planes * nx * ny), size) : NULL;
    if (!*p)
        return 0;
    if (!to)
        return kr_error_code();
    for (long k = 0; k < planes; k++)
        for (long y = 0; y < ny; y++)
            for (long x = 0; x < nx; x++)
                memcpy(to + (size_t)((k * nx + x) * ny + y) * size, *p + (size_t)((k * ny + y) * nx + x) * size, size);
    kr_free(*p);
    *p = to;
    return 0;
}

static int authors_axes(kr_lesson *l)
{
    long nx = l->in.w, ny = l->in.h, coils = l->in.coils;
    int e = swapped(&l->in.kspace, coils, nx, ny, sizeof(kr_cfloat));
    e = e ? e : swapped(&l->in.sens, coils, nx, ny, sizeof(kr_cfloat));
    e = e ? e : swapped(&l->held, coils, nx, ny, sizeof(kr_cfloat));
    kr_cfloat **image[] = { (kr_cfloat **)(uintptr_t)&l->in.start, (kr_cfloat **)(uintptr_t)&l->in.adjoint, &l->first, &l->target };
    float **real[] = { (float **)(uintptr_t)&l->in.mask, (float **)(uintptr_t)&l->in.acs, (float **)(uintptr_t)&l->in.padding, (float **)(uintptr_t)&l->in.image,
                       (float **)(uintptr_t)&l->in.noise, &l->held_at };
    for (size_t i = 0; i < 4 && !e; i++)
        e = swapped(image[i], 1, nx, ny, sizeof(kr_cfloat));
    for (size_t i = 0; i < 6 && !e; i++)
        e = swapped(real[i], 1, nx, ny, sizeof(float));
    l->in.w = ny;
    l->in.h = nx;
    return e;
}

/* ---- The whole ---- */
static int full(bool *is, const kr_scan *s)
{
    kr_scoped(array) mask = kr_scan_mask(s);
    *is = mask && kr_count(kr_array_shape(mask)) == 1 && KR_R(mask)[0] != 0;
    return mask ? 0 : kr_error_code();
}

static int compared(kr_lesson *l, const kr_scan *given, const kr_scan *reference, const kr_array *none, const kr_array *one, double scale)
{
    long n = l->in.h * l->in.w, coils = given->data->n[KR_COIL];
    bool whole;
    if (full(&whole, reference) || !(l->first = l->first ? l->first : kr_alloc((size_t)n, sizeof *l->first)) || (whole && !(l->target = kr_alloc((size_t)n, sizeof *l->target))))
        return kr_error_code();
    if (l->magnitude && !whole)
        return kr_fail(KR_EREFUSED, "the network gives magnitudes, which cannot be compared with samples: full scans are wanted");
    if (l->magnitude)
        return magnitudes(l->target, reference, none, one) || magnitudes(l->first, given, none, one) ? kr_error_code() : 0;
    kr_scoped(array) k = NULL;
    if (in_units(&k, l, given, reference, scale))
        return kr_error_code();
    if (!l->in.start) {
        kr_scoped(array) own = NULL;
        if (in_units(&own, l, given, given, scale) || to_images(own, l->in.centred))
            return kr_error_code();
        combined(l->first, own, l->in.sens, n, coils);
    } else {
        memcpy(l->first, l->in.start, (size_t)n * sizeof *l->first);
    }
    if (whole) {
        if (to_images(k, l->in.centred))
            return kr_error_code();
        (scale > 0 ? combined_soft : combined)(l->target, k, l->in.sens, n, coils);
        return 0;
    }
    kr_scoped(array) mask = kr_scan_mask(reference);
    kr_scoped(array) wide = mask ? kr_array_spread(mask, KR_SHAPE([KR_X] = l->in.w, [KR_Y] = l->in.h)) : NULL;
    kr_scoped(array) m = wide ? kr_array_copy(wide) : NULL;
    l->held = m ? kr_alloc((size_t)(n * coils), sizeof *l->held) : NULL;
    l->held_at = l->held ? kr_alloc((size_t)n, sizeof *l->held_at) : NULL;
    if (!l->held_at)
        return kr_error_code();
    double size = 0;
    kr_mask_facts f;
    if (kr_mask_describe(&f, given->mask, KR_SHAPE([KR_X] = l->in.w, [KR_Y] = l->in.h)))
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        long x = i % l->in.w, y = i / l->in.w;
        bool inside = x >= f.centre_from[0] && x < f.centre_from[0] + f.centre[0] && y >= f.centre_from[1] && y < f.centre_from[1] + f.centre[1];
        l->held_at[i] = KR_R(m)[i] == 0 ? 0 : l->in.mask[i] == 0 ? 1 : inside ? 2 : 0;
    }
    for (long i = 0; i < n * coils; i++) {
        l->held[i] = l->held_at[i % n] > 0 ? KR_C(k)[i] : kr_c(0, 0);
        size += l->held_at[i % n] == 1 ? (double)kr_cabs2(l->held[i]) : 0;
    }
    return size > 0 ? 0 : kr_fail(KR_EREFUSED, "no samples are held back");
}

static int of_refine(kr_lesson *l, const kr_scan *given, const kr_scan *reference, const kr_array *maps, double sigma, const kr_trace *trace)
{
    kr_refine_input r = { 0 };
    if (kr_refine_input_of(&r, given, maps, sigma, kr_recon_named("wavelet"), trace))
        return kr_error_code();
    struct taken t = { .keep = true };
    kr_auto kr_cfloat *image = kr_alloc((size_t)(r.start->n[KR_X] * r.start->n[KR_Y]), sizeof *image);
    kr_net_input in = { .coils = maps->n[KR_COIL], .h = r.start->n[KR_Y], .w = r.start->n[KR_X], .mask = KR_R(r.mask), .sens = KR_C(r.sens), .start = KR_C(r.start),
                        .adjoint = KR_C(r.adjoint), .noise = KR_R(r.noise), .centred = true };
    int e = image ? take(&t, image, &in) : kr_error_code();
    l->in = t.in;
    e = e ? e : compared(l, given, reference, NULL, NULL, r.scale);
    kr_refine_input_clear(&r);
    return e;
}

bool kr_lesson_begins(const kr_net_kind *kind) { return around_of(kind)->begins; }

int kr_lesson_of(kr_lesson *l, const kr_net_kind *kind, const kr_weights *weights, const kr_scan *given, const kr_scan *reference, const kr_array *maps, double sigma, const kr_array *first, const kr_trace *trace)
{
    *l = (kr_lesson){ 0 };
    const around *about = around_of(kind);
    kr_auto void *facts = kr_alloc_zero(1, about->facts_size ? about->facts_size : 1);
    kr_scoped(weights) told = facts ? kr_weights_under(weights, "") : NULL;
    int e = told ? 0 : kr_error_code();
    kr_auto char *behind = about->behind ? kr_strf("hyper.%s", about->behind) : NULL;
    if (!e && about->behind)
        e = behind ? kr_meta_set(told->meta, behind, "false") : kr_error_code();
    e = e ? e : about->read(facts, told, kind);
    if (!e && kind->refines)
        e = of_refine(l, given, reference, maps, sigma, trace);
    else if (!e) {
        struct taken t = { .keep = true }, again = { .value = 1 };
        kr_scoped(array) none = NULL;
        kr_scoped(array) one = NULL;
        e = pass(&none, &t, kind, about, facts, given, maps, first, trace);
        l->in = t.in;
        const char *combined_by = kr_weights_told(told, "coil_combination_method");          /* of real and imaginary parts apart, which keeps no phase */
        l->magnitude = kind->magnitude || kind->of_image || !t.in.sens || (combined_by && !strcasecmp(combined_by, "rss"));
        e = e || !l->magnitude ? e : pass(&one, &again, kind, about, facts, given, maps, first, NULL);
        e = e ? e : compared(l, given, reference, none, one, 0);
    }
    e = e || kind->own_axes ? e : authors_axes(l);
    if (e)
        kr_lesson_clear(l);
    return e;
}

/* ---- Samples held back ---- */
static kr_array *forward(const kr_lesson *l, const kr_cfloat *x)
{
    long n = l->in.h * l->in.w;
    kr_array *k = kr_array_new(KR_C32, KR_SHAPE([KR_X] = l->in.w, [KR_Y] = l->in.h, [KR_COIL] = l->in.coils));
    for (long i = 0; k && i < n * l->in.coils; i++)
        KR_C(k)[i] = kr_cmul(l->in.sens[i], x[i % n]);
    if (k && ((!l->in.centred && uncentred(k, AROUND_IMAGE, true)) || kr_fourier(k, xy) || (!l->in.centred && uncentred(k, AROUND_KSPACE, false))))
        kr_array_unref(&k);
    return k;
}

int kr_lesson_misfit(double *value, kr_cfloat *dx, const kr_lesson *l, const kr_cfloat *x, double by)
{
    long n = l->in.h * l->in.w, all = n * l->in.coils;
    kr_scoped(array) r = forward(l, x);
    double r1[3] = { 0 }, r2[3] = { 0 }, y1[3] = { 0 }, y2[3] = { 0 };
    if (!r)
        return kr_error_code();
    for (long i = 0; i < all; i++) {
        int q = (int)l->held_at[i % n];
        KR_C(r)[i] = q ? KR_C(r)[i] - l->held[i] : kr_c(0, 0);
        double a = (double)kr_cabs2(KR_C(r)[i]), b = (double)kr_cabs2(l->held[i]);
        r1[q] += sqrt(a);
        r2[q] += a;
        y1[q] += sqrt(b);
        y2[q] += b;
    }
    *value = 0;
    for (int q = 1; q < 3; q++) {
        r2[q] = sqrt(r2[q]);
        y2[q] = sqrt(y2[q]);
        *value += y2[q] > 0 ? 0.25 * (r2[q] / y2[q] + r1[q] / y1[q]) : 0;
    }
    if (!isfinite(*value))
        return kr_fail(KR_ENUMBER, "the loss over samples held back is not finite");
    if (!dx)
        return 0;
    for (long i = 0; i < all; i++) {
        int q = (int)l->held_at[i % n];
        double a = sqrt((double)kr_cabs2(KR_C(r)[i]));
        KR_C(r)[i] *= (float)(a > 0 ? 0.25 * by * (1 / (r2[q] * y2[q]) + 1 / (a * y1[q])) : 0);
    }
    if (to_images(r, l->in.centred))
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        dx[i] = kr_c(0, 0);
        for (long c = 0; c < l->in.coils; c++)
            dx[i] += kr_cmulc(l->in.sens[c * n + i], KR_C(r)[c * n + i]);
    }
    return 0;
}

int kr_lesson_split(kr_array **given, kr_array **held, const kr_array *mask, double share, uint64_t seed, uint64_t stream)
{
    long nx = mask->n[KR_X], ny = mask->n[KR_Y], found = 0;
    kr_mask_facts f;
    *given = kr_array_copy(mask);
    *held = *given ? kr_array_new(KR_R32, kr_array_shape(mask)) : NULL;
    if (!*held || kr_mask_describe(&f, mask, KR_SHAPE([KR_X] = nx, [KR_Y] = ny)))
        return kr_error_code();
    for (long i = 0; i < nx * ny; i++) {
        long x = i % nx, y = i / nx;
        bool inside = x >= f.centre_from[0] && x < f.centre_from[0] + f.centre[0] && y >= f.centre_from[1] && y < f.centre_from[1] + f.centre[1];
        KR_R(*held)[i] = KR_R(*given)[i] != 0 && !inside && kr_rand_uniform(seed, stream, (uint64_t)i) < share;
        KR_R(*given)[i] -= KR_R(*held)[i];
        found += KR_R(*held)[i] != 0;
    }
    return found ? 0 : kr_fail(KR_EREFUSED, "outside of its fully sampled centre the mask has no samples that could be held back");
}
