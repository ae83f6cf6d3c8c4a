/* prepare.c: from what was measured to what is reconstructed: averages, readout oversampling, noise, coil compression. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/scan.h"
#include <math.h>
#include <string.h>

/* ---- Noise ---- */

/* Samples x coils, column-major, as LAPACK wants them: {SAMPLE,COIL} already is. */
kr_array *kr_noise_covariance(const kr_array *noise)
{
    kr_scoped(array) x = kr_array_packed(noise);
    long n = noise->n[KR_SAMPLE], coils = noise->n[KR_COIL];
    if (!x)
        return NULL;
    if (n < 2 || kr_count(kr_array_shape(noise)) != n * coils) {
        kr_fail(KR_ESHAPE, "noise of shape %s; {sample coil} with at least 2 samples is wanted", kr_shape_text(kr_array_shape(noise)));
        return NULL;
    }
    kr_array *c = kr_array_new(KR_C32, KR_SHAPE([KR_COIL] = coils, [KR_MAP] = coils));
    if (!c)
        return NULL;
    kr_la_gram(coils, n, 1 / (float)(n - 1), KR_C(x), n, 0, KR_C(c), coils);       /* C = X^H X / (N - 1), lower part */
    for (long j = 0; j < coils; j++)
        for (long i = 0; i < j; i++)
            KR_C(c)[i + coils * j] = kr_cconj(KR_C(c)[j + coils * i]);
    return c;
}

kr_array *kr_noise_whitener(const kr_array *noise, double dwell_us, double noise_dwell_us, double bandwidth)
{
    kr_array *w = kr_noise_covariance(noise);
    if (!w)
        return NULL;
    long coils = w->n[KR_COIL];
    double power = 0;
    for (long i = 0; i < coils; i++)
        power += (double)kr_re(KR_C(w)[i * (coils + 1)]) / (double)coils;
    /* A channel without noise (switched off) would be amplified without bound: it gets a millionth of the mean noise. */
    for (long i = 0; i < coils; i++)
        KR_C(w)[i * (coils + 1)] += (float)(1e-6 * power);
    if (power <= 0 || kr_la_cholesky(coils, KR_C(w)) || kr_la_inverse_upper(coils, KR_C(w))) {   /* R^H R = C, W = R^-1 */
        kr_fail(KR_ENUMBER, power > 0 ? "the noise scan's covariance cannot be inverted" : "the noise scan holds no noise");
        kr_array_unref(&w);
        return NULL;
    }
    if (dwell_us > 0 && noise_dwell_us > 0)
        kr_scale(w, (float)sqrt(2 * dwell_us / noise_dwell_us * (bandwidth > 0 ? bandwidth : 0.793)));
    return w;
}

struct mix { kr_cfloat *data; const kr_cfloat *w; kr_cfloat *buffer; long pixels, coils, blocks; };
enum { PIXELS = 512 };

/* PIXELS pixels of all coils: x W, in a buffer that stays in the cache, then back. */
static int mix_block(void *self, long index)
{
    const struct mix *m = self;
    long outer = index / m->blocks, from = index % m->blocks * PIXELS, n = m->pixels - from < PIXELS ? m->pixels - from : PIXELS;
    kr_cfloat *x = m->data + outer * m->pixels * m->coils + from, *t = m->buffer + kr_worker() * PIXELS * m->coils;
    kr_la_gemm('N', 'N', n, m->coils, m->coils, 1, x, m->pixels, m->w, m->coils, 0, t, PIXELS);
    for (long c = 0; c < m->coils; c++)
        memcpy(x + c * m->pixels, t + c * PIXELS, (size_t)n * sizeof *x);
    return 0;
}

/* a = a W along COIL; what is faster than COIL are pixels. */
static int mix_coils(kr_array *a, const kr_array *w)
{
    struct mix m = { .data = a->data, .w = w->data, .pixels = 1, .coils = a->n[KR_COIL] };
    for (int d = 0; d < KR_COIL; d++)
        m.pixels *= a->n[d];
    m.blocks = (m.pixels + PIXELS - 1) / PIXELS;
    long outer = kr_count(kr_array_shape(a)) / (m.pixels * m.coils);
    kr_auto kr_cfloat *buffer = kr_alloc((size_t)(kr_threads() * PIXELS * m.coils), sizeof *buffer);
    m.buffer = buffer;
    return buffer ? kr_for(outer * m.blocks, mix_block, &m) : kr_error_code();
}

/* ---- Replacing arrays in place; the scan may share them with others ---- */
static int own(kr_array **a)
{
    kr_array *c = kr_array_copy(*a);
    if (!c)
        return kr_error_code();
    kr_array_unref(a);
    *a = c;
    return 0;
}

static int whiten(kr_scan *s, const kr_array *w, const kr_trace *trace)
{
    if (s->data->n[KR_COIL] != w->n[KR_COIL])
        return kr_fail(KR_ESHAPE, "the noise scan has %ld channels, the data have %ld", w->n[KR_COIL], s->data->n[KR_COIL]);
    if (mix_coils(s->data, w) || (s->calib && (own(&s->calib) || mix_coils(s->calib, w))))
        return kr_error_code();
    if (s->noise && (own(&s->noise) || mix_coils(s->noise, w)))
        return kr_error_code();
    s->whitened = true;
    kr_say(trace, KR_DETAIL, "whitened by the noise scan");
    return 0;
}

/* ---- Readout oversampling ---- */
enum { LINES = 32 };
struct crop { const kr_cfloat *from; kr_cfloat *to, *buffer; kr_fft *wide, *narrow; long n, m, lines; bool transform, back; };

/* LINES readouts: to image space, the middle kept, and back to k-space where that is wanted. */
static int crop_lines(void *self, long b)
{
    const struct crop *c = self;
    long from = b * LINES, count = c->lines - from < LINES ? c->lines - from : LINES;
    kr_cfloat *t = c->buffer + kr_worker() * (c->n + c->m) * LINES, *u = t + c->n * LINES;
    memcpy(t, c->from + from * c->n, (size_t)(count * c->n) * sizeof *t);
    if (count < LINES)
        memset((void *)(t + count * c->n), 0, (size_t)((LINES - count) * c->n) * sizeof *t);
    if (c->transform)
        kr_fft_inverse(c->wide, t);
    for (long i = 0; i < LINES; i++)
        memcpy(u + i * c->m, t + i * c->n + c->n / 2 - c->m / 2, (size_t)c->m * sizeof *u);
    if (c->back)
        kr_fft_forward(c->narrow, u);
    memcpy(c->to + from * c->m, u, (size_t)(count * c->m) * sizeof *u);
    return 0;
}

static int crop_readout(kr_array **a, long m, bool transform, bool back)
{
    if (own(a))
        return kr_error_code();
    kr_shape shape = kr_array_shape(*a);
    struct crop c = { .from = (*a)->data, .n = shape.n[KR_X], .m = m, .lines = kr_count(shape) / shape.n[KR_X], .transform = transform, .back = back };
    shape.n[KR_X] = m;
    kr_auto kr_cfloat *to = kr_alloc((size_t)(m * c.lines), sizeof *to);
    kr_auto kr_cfloat *buffer = kr_alloc((size_t)(kr_threads() * (c.n + m) * LINES), sizeof *buffer);
    c.wide = kr_fft_new(KR_SHAPE([KR_X] = c.n, [KR_Y] = LINES), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
    c.narrow = kr_fft_new(KR_SHAPE([KR_X] = m, [KR_Y] = LINES), KR_ON(KR_X), KR_CENTRED | KR_SERIAL);
    c.to = to;
    c.buffer = buffer;
    int e = to && buffer && c.wide && c.narrow ? kr_for((c.lines + LINES - 1) / LINES, crop_lines, &c) : kr_error_code();
    kr_array *r = e ? NULL : kr_array_take(KR_C32, shape, to);
    if (r) {
        to = NULL;
        kr_array_unref(a);
        *a = r;
    }
    kr_fft_unref(&c.wide);
    kr_fft_unref(&c.narrow);
    return r ? 0 : kr_error_code();
}

/* The mask at the samples that the coarser grid keeps: k-space index i of m stands where (i - m/2) n/m + n/2 stood. */
static int thin_mask(kr_array **mask, long m)
{
    long n = *mask ? (*mask)->n[KR_X] : 1;
    if (n == 1)
        return 0;
    kr_shape shape = kr_array_shape(*mask);
    shape.n[KR_X] = m;
    kr_array *t = kr_array_new(KR_R32, shape);
    kr_scoped(array) from = kr_array_packed(*mask);
    if (!t || !from) {
        kr_array_unref(&t);
        return kr_error_code();
    }
    for (long l = 0, lines = kr_count(shape) / m; l < lines; l++)
        for (long i = 0; i < m; i++) {
            long at = lround((double)(i - m / 2) * (double)n / (double)m) + n / 2;
            KR_R(t)[l * m + i] = at >= 0 && at < n ? KR_R(from)[l * n + at] : 0;
        }
    kr_array_unref(mask);
    *mask = t;
    return 0;
}

static int remove_oversampling(kr_scan *s, const kr_trace *trace)
{
    double ratio = s->enc.recon_mm[0] > 0 ? s->enc.encoded_mm[0] / s->enc.recon_mm[0] : 1;
    long n = s->data->n[KR_X], m = lround((double)n / ratio);
    if (ratio < 1.01 || m < 1 || m >= n)
        return 0;
    bool was_image = s->in_image & KR_ON(KR_X), varies = s->mask && s->mask->n[KR_X] > 1;
    /* Where the sampling does not depend on the readout, the data may stay in image space along it: that is where
     * every solver wants them. */
    if (crop_readout(&s->data, m, !was_image, varies && !was_image) || thin_mask(&s->mask, m))
        return kr_error_code();
    if (s->calib && (crop_readout(&s->calib, s->calib->n[KR_X] == n ? m : lround((double)s->calib->n[KR_X] / ratio), !was_image, !was_image && varies)
                     || thin_mask(&s->calib_mask, m)))
        return kr_error_code();
    if (!varies)
        s->in_image |= KR_ON(KR_X);
    s->shape.n[KR_X] = m;
    s->enc.encoded[0] = m;
    s->enc.encoded_mm[0] = s->enc.recon_mm[0];
    s->dwell_us *= ratio;
    kr_say(trace, KR_DETAIL, "readout oversampling removed: %ld to %ld", n, m);
    return 0;
}

/* ---- Averages ---- */

/* The mean of what was measured, line by line: lines measured twice count twice in the sum and in the divisor. */
static int average(kr_scan *s)
{
    if (s->data->n[KR_AVG] == 1)
        return 0;
    kr_scoped(array) mask = kr_scan_mask(s);
    kr_shape flat = kr_shape_without(s->shape, KR_ON(KR_AVG));
    kr_scoped(array) one = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
    kr_array *sum = kr_array_new(KR_C32, flat);
    if (!mask || !one || !sum) {
        kr_array_unref(&sum);
        return kr_error_code();
    }
    kr_fill(one, 1);
    kr_contract(sum, s->data, one, false);
    kr_shape shape = kr_shape_without(kr_array_shape(mask), KR_ON(KR_AVG));
    kr_scoped(array) count = kr_array_new(KR_C32, shape);
    kr_scoped(array) weight = kr_array_new(KR_R32, shape);
    kr_array *kept = kr_array_new(KR_R32, shape);
    kr_array *mean = kr_array_new(KR_C32, flat);
    if (!count || !weight || !kept || !mean) {
        kr_array_unref(&sum);
        kr_array_unref(&kept);
        kr_array_unref(&mean);
        return kr_error_code();
    }
    kr_contract(count, mask, one, false);
    bool spread = mask->n[KR_AVG] == 1;             /* all averages measured the same lines */
    for (long i = 0, n = kr_count(shape); i < n; i++) {
        float c = kr_re(KR_C(count)[i]) * (spread ? (float)s->data->n[KR_AVG] : 1);
        KR_R(weight)[i] = c > 0 ? 1 / c : 0;
        KR_R(kept)[i] = c > 0;
    }
    kr_contract(mean, sum, weight, false);
    kr_array_unref(&sum);
    kr_array_unref(&s->data);
    kr_array_unref(&s->mask);
    s->data = mean;
    s->mask = kept;
    s->shape = flat;
    return 0;
}

int kr_scan_to_kspace(kr_scan *s, unsigned axes)
{
    axes &= s->in_image;
    if (!axes)
        return 0;
    if (own(&s->data) || kr_fourier(s->data, axes) || (s->calib && (own(&s->calib) || kr_fourier(s->calib, axes))))
        return kr_error_code();
    s->in_image &= ~axes;
    return 0;
}

int kr_scan_prepare(kr_scan *s, const kr_prepare *p, const kr_trace *trace)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data");
    bool grid = s->shape.n[KR_SAMPLE] <= 1 && s->shape.n[KR_VIEW] <= 1;
    kr_scoped(array) w = NULL;
    if (p->whiten && s->noise && !s->whitened && s->noise->n[KR_SAMPLE] < 4 * s->noise->n[KR_COIL])
        kr_say(trace, KR_WARNING, "the noise scan has only %ld samples for %ld channels: not whitened", s->noise->n[KR_SAMPLE], s->noise->n[KR_COIL]);
    else if (p->whiten && s->noise && !s->whitened && !(w = kr_noise_whitener(s->noise, s->dwell_us, s->noise_dwell_us, s->noise_bandwidth)))
        return kr_error_code();
    if (p->average && average(s))
        return kr_error_code();
    /* Cropping the readout first halves the work of the rest; it commutes with mixing the channels. */
    if (grid && p->oversampling && remove_oversampling(s, trace))
        return kr_error_code();
    if (w && (own(&s->data) || whiten(s, w, trace)))
        return kr_error_code();
    return p->coils > 0 && p->coils < s->data->n[KR_COIL] ? kr_coils_compress(s, p->coils, p->compression ? p->compression : "svd", trace) : 0;
}
