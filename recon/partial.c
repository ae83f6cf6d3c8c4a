/* partial.c: partial Fourier: what was not measured on one side of k-space follows from the other side, as far as the image's phase is smooth. */
#include "kray/fourier.h"
#include "street.h"
#include <math.h>
#include <string.h>

/* Along an axis: which samples were measured, first..last, and how far the shorter side reaches from the centre. */
struct range { long first, last, near; bool partial; };

static struct range range_of(const kr_array *mask, int d, long n)
{
    struct range r = { 0, n - 1, n / 2, false };
    if (mask->n[d] != n || n < 2)
        return r;
    const float *m = mask->data;
    long count = kr_count(kr_array_shape(mask));
    r.first = n;
    r.last = -1;
    for (long i = 0; i < count; i++)
        if (m[i] > 0) {
            long x = i / mask->step[d] % n;
            r.first = x < r.first ? x : r.first;
            r.last = x > r.last ? x : r.last;
        }
    long below = n / 2 - r.first, above = r.last - n / 2, far = below > above ? below : above;
    r.near = below < above ? below : above;
    r.partial = far - r.near > n / 25 + 1;               /* less is the odd line of a lattice */
    return r;
}

/* The weight of sample x. Low resolution: Hann within the symmetric part. Homodyne: 0 to 2 over that part, then 2 on the long
 * side. Measured: 1 where something was. */
enum { LOW, RAMP, MEASURED };
static double weight(const struct range *r, long x, long n, int kind)
{
    double k = (double)(x - n / 2), w = (double)r->near + 0.5, side = n / 2 - r->first > r->last - n / 2 ? -1 : 1;
    if (kind == LOW)
        return !r->partial ? 1 : fabs(k) < w ? 0.5 * (1 + cos(M_PI * k / w)) : 0;
    if (kind == MEASURED || !r->partial)
        return x >= r->first && x <= r->last;
    return x < r->first || x > r->last ? 0 : fabs(k) < w ? 1 + side * k / w : side * k > 0 ? 2 : 0;
}

static void weigh(kr_array *k, const struct range r[3], int kind)
{
    for (long i = 0, count = kr_count(kr_array_shape(k)); i < count; i++) {
        float f = 1;
        for (int d = 0; d < 3; d++)
            if (r[d].partial)
                f *= (float)weight(&r[d], i / k->step[d] % k->n[d], k->n[d], kind);
        KR_C(k)[i] = kr_c(f * kr_re(KR_C(k)[i]), f * kr_im(KR_C(k)[i]));
    }
}

/* z = |x| p, or Re(conj(p) x) p; p: unit phases. */
static void rephase(kr_array *z, const kr_array *x, const kr_array *p, bool real)
{
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++) {
        kr_cfloat v = KR_C(x)[i], u = KR_C(p)[i];
        float f = real ? kr_re(kr_cmulc(u, v)) : sqrtf(kr_cabs2(v));
        KR_C(z)[i] = kr_c(f * kr_re(u), f * kr_im(u));
    }
}

static void unit(kr_array *p)
{
    for (long i = 0, n = kr_count(kr_array_shape(p)); i < n; i++) {
        float size = sqrtf(kr_cabs2(KR_C(p)[i]));
        KR_C(p)[i] = size > 0 ? kr_c(kr_re(KR_C(p)[i]) / size, kr_im(KR_C(p)[i]) / size) : kr_c(1, 0);
    }
}

/* Measured samples from y, others from k. */
static void merge(kr_array *k, const kr_array *y, const struct range r[3])
{
    for (long i = 0, count = kr_count(kr_array_shape(k)); i < count; i++) {
        bool in = true;
        for (int d = 0; d < 3; d++)
            in = in && (!r[d].partial || weight(&r[d], i / k->step[d] % k->n[d], k->n[d], MEASURED) > 0);
        if (in)
            KR_C(k)[i] = KR_C(y)[i];
    }
}

static int complete(kr_array *x, const struct range r[3], unsigned axes, bool homodyne)
{
    enum { ROUNDS = 12 };
    kr_scoped(array) y = kr_array_copy(x);
    kr_scoped(array) p = kr_array_like(x);
    if (!y || !p || kr_fourier(y, axes))
        return kr_error_code();
    kr_array_assign(p, y);
    weigh(p, r, LOW);
    weigh(y, r, MEASURED);
    if (kr_fourier_inverse(p, axes))
        return kr_error_code();
    unit(p);
    if (homodyne) {
        kr_array_assign(x, y);
        weigh(x, r, RAMP);
        if (kr_fourier_inverse(x, axes))
            return kr_error_code();
        rephase(x, x, p, true);
        return 0;
    }
    kr_array_assign(x, y);
    if (kr_fourier_inverse(x, axes))
        return kr_error_code();
    for (int i = 0; i < ROUNDS; i++) {
        rephase(x, x, p, false);
        if (kr_fourier(x, axes))
            return kr_error_code();
        merge(x, y, r);
        if (kr_fourier_inverse(x, axes))
            return kr_error_code();
    }
    return 0;
}

int kr_partial_fourier(kr_array *x, const kr_array *mask, const char *how, const kr_trace *trace)
{
    struct range r[3];
    unsigned axes = 0;
    int many = 0;
    bool homodyne = !strcmp(how, "homodyne");
    if (!homodyne && strcmp(how, "pocs"))
        return kr_fail(KR_EUSAGE, "there is no partial Fourier '%s'; known are pocs and homodyne", how);
    if (x->type != KR_C32)
        return kr_fail(KR_EREFUSED, "partial Fourier needs the image's phase, and this method gives magnitudes: take --method adjoint or sense");
    for (int d = KR_X; d <= KR_Z; d++) {
        r[d] = range_of(mask, d, x->n[d]);
        if (!r[d].partial)
            continue;
        if (r[d].near < 2)
            return kr_fail(KR_EREFUSED, "along %s only %ld samples were measured beyond the centre of k-space: too few to know the image's phase",
                           kr_axis_name(d), r[d].near < 0 ? 0 : r[d].near);
        axes |= KR_ON(d);
        many++;
        kr_say(trace, KR_INFO, "partial Fourier along %s: %ld to %ld of %ld measured, %s", kr_axis_name(d), r[d].first, r[d].last, x->n[d], how);
    }
    if (!many) {
        kr_say(trace, KR_WARNING, "no partial Fourier: k-space was measured as far on one side as on the other");
        return 0;
    }
    if (many > 1 && homodyne)
        return kr_fail(KR_EREFUSED, "homodyne reconstruction completes one direction, and %d are partial: take pocs", many);
    return complete(x, r, axes, homodyne);
}

/* ---- On the street ---- */
struct partial { const kr_recon *method; const void *opts; const char *how; };

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)
{
    const struct partial *p = opts;
    kr_scoped(array) mask = kr_scan_mask(scan);
    int e = mask ? p->method->run(out, scan, coils, p->opts, trace) : kr_error_code();
    if (!e && (e = kr_partial_fourier((*out)->data, mask, p->how, trace)))
        kr_image_unref(out);
    return e;
}

int partial_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const char *how, const kr_array *coils,
                 const kr_coils_opts *coil_opts, kept *keep, const kr_trace *trace)
{
    struct partial p = { method, opts, how };
    kr_recon m = *method;
    m.run = run;
    m.again = m.follow = NULL;
    m.needs &= ~(unsigned)KR_TAKES_PRIOR;
    if (m.needs & KR_MAY_USE_COILS)                      /* combined by maps the image keeps its phase */
        m.needs = (m.needs & ~(unsigned)KR_MAY_USE_COILS) | KR_NEEDS_COILS;
    return reconstruct_kept(out, scan, &m, &p, coils, coil_opts, keep, trace);
}

int kr_reconstruct_partial(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const char *how, const kr_array *coils,
                           const kr_coils_opts *coil_opts, const kr_trace *trace)
{
    return partial_kept(out, scan, method, opts, how, coils, coil_opts, NULL, trace);
}
