/* prepare.c: from what was measured to what is reconstructed: averages, readout oversampling, noise, coil compression. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/scan.h"
#include <math.h>
#include <string.h>

/* ---- Noise ---- */

/* Products in float over BLOCK samples, their sums in double. {SAMPLE,COIL} already is the column-major samples x coils. */
kr_array *kr_noise_covariance(const kr_array *noise)
{
    enum { BLOCK = 4096 };
    kr_scoped(array) x = kr_array_packed(noise);
    long n = noise->n[KR_SAMPLE], coils = noise->n[KR_COIL];
    if (!x)
        return NULL;
    if (n < 2 || kr_count(kr_array_shape(noise)) != n * coils) {
        kr_fail(KR_ESHAPE, "noise of shape %s; {sample coil} with at least 2 samples is wanted", kr_shape_text(kr_array_shape(noise)));
        return NULL;
    }
    if (!kr_all_finite(x)) {
        kr_fail(KR_ENUMBER, "the noise scan holds numbers that are not finite");
        return NULL;
    }
    kr_array *c = kr_array_new(KR_C32, KR_SHAPE([KR_COIL] = coils, [KR_MAP] = coils));
    kr_auto double *sum = kr_alloc_zero((size_t)(2 * coils * coils), sizeof *sum);
    if (!c || !sum) {
        kr_array_unref(&c);
        return NULL;
    }
    for (long from = 0; from < n; from += BLOCK) {
        kr_la_gram(coils, n - from < BLOCK ? n - from : BLOCK, 1, KR_C(x) + from, n, 0, KR_C(c), coils);    /* X^H X, lower part */
        for (long i = 0; i < coils * coils; i++) {
            sum[2 * i] += kr_re(KR_C(c)[i]);
            sum[2 * i + 1] += kr_im(KR_C(c)[i]);
        }
    }
    for (long j = 0; j < coils; j++)
        for (long i = j; i < coils; i++) {
            const double *v = sum + 2 * (i + coils * j), d = (double)(n - 1);
            KR_C(c)[i + coils * j] = kr_c((float)(v[0] / d), i == j ? 0 : (float)(v[1] / d));
            KR_C(c)[j + coils * i] = kr_cconj(KR_C(c)[i + coils * j]);
        }
    return c;
}

/* A channel with less than this part of the loudest one's noise power is switched off: whitened, it would be nothing but
 * amplified rounding. */
#define SILENT 1e-10

/* W with W^H C W = 1, W upper triangular, in double: w[i + n j]. The channels are first scaled to equal noise, K = D C D with
 * D = diag(C)^-1/2, so that their gains, which differ by orders of magnitude, cost no digits; K = R^H R, W = D R^-1. A
 * ten-millionth of the noise is added, uncorrelated: it decides where channels are combinations of others. Silent channels
 * become 0. Source: Golub and Van Loan, Matrix Computations, 4.2. */
static int whitening_matrix(long n, const kr_cfloat *c, const double *d, double w[][2], double r[][2])
{
    for (long j = 0; j < n; j++)                             /* R, column by column */
        for (long i = 0; i <= j && d[j] > 0; i++) {
            double v[2] = { kr_re(c[i + n * j]) * d[i] * d[j] + (i == j ? 1e-7 : 0), kr_im(c[i + n * j]) * d[i] * d[j] };
            for (long k = 0; k < i; k++) {
                const double *a = r[k + n * i], *b = r[k + n * j];      /* v = v - conj(a) b */
                v[0] -= a[0] * b[0] + a[1] * b[1];
                v[1] -= a[0] * b[1] - a[1] * b[0];
            }
            if (i == j && v[0] <= 0)
                return kr_fail(KR_ENUMBER, "the noise of channel %ld is a combination of other channels' noise", j);
            double p = i == j ? sqrt(v[0]) : d[i] > 0 ? r[i + n * i][0] : 0;
            r[i + n * j][0] = i == j ? p : p > 0 ? v[0] / p : 0;
            r[i + n * j][1] = i == j || p <= 0 ? 0 : v[1] / p;
        }
    for (long j = 0; j < n; j++)                             /* W = D R^-1: R W' = 1 from below */
        for (long i = j + 1; i-- > 0 && d[j] > 0; ) {
            if (d[i] <= 0)
                continue;
            double v[2] = { i == j, 0 };
            for (long k = i + 1; k <= j; k++) {
                const double *a = r[i + n * k], *b = w[k + n * j];
                v[0] -= a[0] * b[0] - a[1] * b[1];
                v[1] -= a[0] * b[1] + a[1] * b[0];
            }
            w[i + n * j][0] = v[0] / r[i + n * i][0];
            w[i + n * j][1] = v[1] / r[i + n * i][0];
        }
    for (long i = 0; i < n * n; i++)
        for (int k = 0; k < 2; k++)
            w[i][k] *= d[i % n];
    return 0;
}

kr_array *kr_noise_whitener(const kr_array *noise, double dwell_us, double noise_dwell_us, double bandwidth)
{
    kr_array *w = kr_noise_covariance(noise);
    if (!w)
        return NULL;
    long n = w->n[KR_COIL];
    double most = 0, s = dwell_us > 0 && noise_dwell_us > 0 ? sqrt(2 * dwell_us / noise_dwell_us * (bandwidth > 0 ? bandwidth : 0.793)) : 1;
    kr_auto double *d = kr_alloc((size_t)n, sizeof *d);
    kr_auto double (*r)[2] = kr_alloc_zero((size_t)(n * n), sizeof *r), (*v)[2] = kr_alloc_zero((size_t)(n * n), sizeof *v);
    if (d)
        for (long i = 0; i < n; i++)
            most = fmax(most, d[i] = kr_re(KR_C(w)[i * (n + 1)]));
    for (long i = 0; d && i < n; i++)
        d[i] = d[i] > SILENT * most ? 1 / sqrt(d[i]) : 0;
    int e = !d || !r || !v ? kr_error_code() : most <= 0 ? kr_fail(KR_ENUMBER, "the noise scan holds no noise") : whitening_matrix(n, KR_C(w), d, v, r);
    for (long i = 0; !e && i < n * n; i++)
        KR_C(w)[i] = kr_c((float)(s * v[i][0]), (float)(s * v[i][1]));
    if (e)
        kr_array_unref(&w);
    return w;
}

/* ---- Rows: readout oversampling and mixing of channels, in one pass over memory ----
 * What is faster than COIL are rows along X (or SAMPLE). A few rows of all channels at a time, as many as stay in the cache:
 * to image space along the row, its middle kept, back where that is wanted, then the channels mixed, y = x W. Always into
 * new memory, since a scan may share its arrays with others. */
enum { CACHE = 1 << 16, ROWS_MOST = 32 };
struct rows {
    const kr_cfloat *from;
    kr_cfloat *to, *buffer;
    const kr_cfloat *w;              /* NULL: not mixed */
    kr_fft *wide, *narrow;           /* NULL: not transformed */
    long n, m, coils, lines, at_once, blocks, room;      /* lines: rows per channel; room: of one worker's buffer */
};

static bool all_zero(const kr_cfloat *x, long n)
{
    const float *v = (const float *)x;
    int any = 0;
    for (long i = 0; i < 2 * n; i++)
        any |= v[i] != 0;                                    /* also what is no number */
    return !any;
}

static int refine_rows(void *self, long index)
{
    const struct rows *j = self;
    long outer = index / j->blocks, first = index % j->blocks * j->at_once, count = j->lines - first < j->at_once ? j->lines - first : j->at_once;
    const kr_cfloat *x = j->from + (outer * j->coils * j->lines + first) * j->n;
    kr_cfloat *y = j->to + (outer * j->coils * j->lines + first) * j->m;
    kr_cfloat *t = j->buffer + kr_worker() * j->room, *u = t + j->coils * j->at_once * j->n, *v = u + j->coils * j->at_once * j->m;
    bool zero = true;
    for (long c = 0; zero && c < j->coils; c++)
        zero = all_zero(x + c * j->lines * j->n, count * j->n);
    for (long c = 0; c < j->coils; c++) {
        if (zero)                                            /* not measured: most of an undersampled scan */
            memset((void *)(y + c * j->lines * j->m), 0, (size_t)(count * j->m) * sizeof *y);
        else {
            memcpy(t + c * j->at_once * j->n, x + c * j->lines * j->n, (size_t)(count * j->n) * sizeof *t);
            memset((void *)(t + (c * j->at_once + count) * j->n), 0, (size_t)((j->at_once - count) * j->n) * sizeof *t);
        }
    }
    if (zero)
        return 0;
    if (j->wide)
        kr_fft_inverse(j->wide, t);
    for (long i = 0; j->m < j->n && i < j->coils * j->at_once; i++)
        memcpy(u + i * j->m, t + i * j->n + j->n / 2 - j->m / 2, (size_t)j->m * sizeof *u);
    kr_cfloat *r = j->m < j->n ? u : t;
    if (j->narrow)
        kr_fft_forward(j->narrow, r);
    if (j->w) {
        long pixels = j->at_once * j->m;
        kr_la_gemm('N', 'N', pixels, j->coils, j->coils, 1, r, pixels, j->w, j->coils, 0, v, pixels);
        r = v;
    }
    for (long c = 0; c < j->coils; c++)
        memcpy(y + c * j->lines * j->m, r + c * j->at_once * j->m, (size_t)(count * j->m) * sizeof *y);
    return 0;
}

/* The middle m of each row of *a (m = 0: all of it), taken in image space (`transform`: the row is k-space; `back`: so it shall
 * be again), and the channels mixed by w (NULL: not). */
static int refine(kr_array **a, long m, bool transform, bool back, const kr_array *w)
{
    kr_scoped(array) x = kr_array_packed(*a);
    if (!x)
        return kr_error_code();
    kr_shape shape = kr_array_shape(x);
    int along = shape.n[KR_SAMPLE] > 1 ? KR_SAMPLE : KR_X;
    struct rows j = { .from = x->data, .w = w ? w->data : NULL, .n = shape.n[along], .coils = shape.n[KR_COIL], .lines = 1 };
    j.m = m ? m : j.n;
    for (int d = 0; d < KR_COIL; d++)
        j.lines *= d == along ? 1 : shape.n[d];
    j.at_once = CACHE / (j.coils * j.n * (long)sizeof(kr_cfloat));
    j.at_once = j.at_once < 1 ? 1 : j.at_once > ROWS_MOST ? ROWS_MOST : j.at_once;
    j.at_once = j.at_once > j.lines ? j.lines : j.at_once;
    j.blocks = (j.lines + j.at_once - 1) / j.at_once;
    j.room = j.coils * j.at_once * (j.n + 2 * j.m);
    long outer = kr_count(shape) / (j.n * j.lines * j.coils), batch = j.coils * j.at_once;
    shape.n[along] = j.m;
    kr_auto kr_cfloat *to = kr_alloc((size_t)(outer * j.coils * j.lines * j.m), sizeof *to);
    kr_auto kr_cfloat *buffer = kr_alloc((size_t)(kr_threads() * j.room), sizeof *buffer);
    bool crop = j.m < j.n, good = to && buffer;
    if (good && crop && transform)
        good = (j.wide = kr_fft_new(KR_SHAPE([KR_X] = j.n, [KR_Y] = batch), KR_ON(KR_X), KR_CENTRED | KR_SERIAL));
    if (good && crop && back)
        good = (j.narrow = kr_fft_new(KR_SHAPE([KR_X] = j.m, [KR_Y] = batch), KR_ON(KR_X), KR_CENTRED | KR_SERIAL));
    j.to = to;
    j.buffer = buffer;
    int e = good ? kr_for(outer * j.blocks, refine_rows, &j) : kr_error_code();
    kr_array *r = e ? NULL : kr_array_take(KR_C32, shape, to);
    if (r) {
        to = NULL;
        kr_array_unref(a);
        *a = r;
    }
    kr_fft_unref(&j.wide);
    kr_fft_unref(&j.narrow);
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

/* How many points remain of a readout without its oversampling; all of them where there is none. */
static long without_oversampling(const kr_scan *s, long n)
{
    double ratio = s->enc.recon_mm[0] > 0 ? s->enc.encoded_mm[0] / s->enc.recon_mm[0] : 1;
    long m = lround((double)n / ratio);
    return ratio < 1.01 || m < 1 || m >= n ? n : m;
}

/* Data, calibration and maps: cropped along X and whitened. */
static int refine_all(kr_scan *s, bool crop, const kr_array *w)
{
    long n = s->shape.n[KR_X], m = crop ? without_oversampling(s, n) : n;
    bool in_image = s->in_image & KR_ON(KR_X), varies = (s->mask && s->mask->n[KR_X] > 1) || (s->calib_mask && s->calib_mask->n[KR_X] > 1);
    if (m == n && !w)
        return 0;
    /* Where the sampling does not depend on the readout, the data may stay in image space along it: that is where every solver
     * wants them. */
    bool back = !in_image && varies;
    if (refine(&s->data, m < n ? m : 0, !in_image, back, w) || (m < n && thin_mask(&s->mask, m)))
        return kr_error_code();
    if (s->calib) {
        long k = crop ? without_oversampling(s, s->calib->n[KR_X]) : s->calib->n[KR_X];
        if (refine(&s->calib, k < s->calib->n[KR_X] ? k : 0, !in_image, back, w) || (m < n && thin_mask(&s->calib_mask, k)))
            return kr_error_code();
    }
    if (s->coils && s->coils->n[KR_X] == n && s->coils->n[KR_COIL] == s->shape.n[KR_COIL] && refine(&s->coils, m < n ? m : 0, false, false, w))
        return kr_error_code();
    if (m == n)
        return 0;
    double ratio = (double)n / (double)m;
    if (!varies)
        s->in_image |= KR_ON(KR_X);
    s->shape.n[KR_X] = m;
    s->enc.encoded[0] = m;
    s->enc.encoded_mm[0] /= ratio;
    /* Fewer samples in the same time. White noise has the same power per sample before and after, so that the noise scan, left as
     * it is, now stands for one of that longer dwell. */
    s->dwell_us *= ratio;
    s->noise_dwell_us *= ratio;
    for (int k = 0; k < KR_LINES_KINDS; k++)
        for (long i = 0; i < s->lines[k].count && (k == KR_LINES_IMAGING || k == KR_LINES_CALIB || k == KR_LINES_NOISE); i++)
            s->lines[k].line[i].dwell_us *= (float)ratio;
    return 0;
}

/* ---- Averages ---- */
struct mean { const kr_array *data, *mask; kr_cfloat *to; long row, rows, averages, rest; int along; };

/* One row: the sum over the averages over how often each sample was measured. */
static int mean_row(void *self, long index)
{
    const struct mean *j = self;
    kr_cfloat *y = j->to + index * j->row;
    const kr_cfloat *x = KR_C(j->data) + index * j->row;
    long at = 0, step[2] = { 0, 0 }, i = index;
    for (int d = 0; j->mask && d < KR_AVG; d++)              /* where the row begins in the mask */
        if (d != j->along) {
            at += i % j->data->n[d] * (j->mask->n[d] > 1 ? j->mask->step[d] : 0);
            i /= j->data->n[d];
        }
    if (j->mask) {
        step[0] = j->mask->n[j->along] > 1 ? j->mask->step[j->along] : 0;
        step[1] = j->mask->n[KR_AVG] > 1 ? j->mask->step[KR_AVG] : 0;
    }
    memcpy(y, x, (size_t)j->row * sizeof *y);
    for (long a = 1; a < j->averages; a++)
        for (long k = 0; k < j->row; k++)
            y[k] += x[a * j->rest + k];
    for (long k = 0; k < j->row; k++) {
        float count = j->mask ? 0 : (float)j->averages;
        for (long a = 0; j->mask && a < j->averages; a++)
            count += KR_R(j->mask)[at + k * step[0] + a * step[1]];
        y[k] *= count > 0 ? 1 / count : 0;
    }
    return 0;
}

/* What at least one average measured. */
static int mask_of_any(kr_array **mask)
{
    kr_array *any = kr_array_new(KR_R32, kr_shape_without(kr_array_shape(*mask), KR_ON(KR_AVG)));
    for (long a = 0; any && a < (*mask)->n[KR_AVG]; a++) {
        kr_scoped(array) one = kr_array_at(*mask, KR_AVG, a);
        kr_scoped(array) packed = one ? kr_array_packed(one) : NULL;
        if (!packed)
            kr_array_unref(&any);
        for (long i = 0; any && i < kr_count(kr_array_shape(any)); i++)
            KR_R(any)[i] = fmaxf(KR_R(any)[i], KR_R(packed)[i] > 0);
    }
    if (!any)
        return kr_error_code();
    kr_array_unref(mask);
    *mask = any;
    return 0;
}

/* Do averages agree where the signal is strongest? There their mean keeps what they have in common; averages whose phases differ, as of cycled excitations, cancel, and what is
 * left looks like noise, or like another image. Noise alone, whose averages do not agree either, has no samples so far above its mean. */
enum { FAR_ABOVE = 50 };
static void agree(const struct mean *j, const char *file, const kr_trace *trace)
{
    double all = 0, top = 0, strong = 0, kept = 0;
    for (int pass = 0; pass < 2; pass++)
        for (long i = 0; i < j->rest; i++) {
            double sum = 0;
            bool each = true;
            for (long a = 0; a < j->averages; a++) {
                kr_cfloat v = KR_C(j->data)[a * j->rest + i];
                double s = (double)kr_re(v) * (double)kr_re(v) + (double)kr_im(v) * (double)kr_im(v);
                each = each && s > 0;
                sum += s / (double)j->averages;
            }
            if (!each)
                continue;
            if (!pass) {
                all += sum / (double)j->rest;
                top = fmax(top, sum);
            } else if (sum > top / 4) {
                strong += sum;
                kept += (double)kr_re(j->to[i]) * (double)kr_re(j->to[i]) + (double)kr_im(j->to[i]) * (double)kr_im(j->to[i]);
            }
        }
    if (top > FAR_ABOVE * all && kept < 0.5 * strong)
        kr_say(trace, KR_WARNING, "%s: the %ld averages do not agree: of the energy of the strongest samples their mean keeps %.2g %%; were they measured with other phases, or was the "
               "object moved?", file ? file : "scan", j->averages, 100 * kept / strong);
}

/* The mean of what was measured, line by line: lines measured twice count twice in the sum and in the divisor. */
static int average(kr_scan *s, const kr_trace *trace)
{
    if (s->data->n[KR_AVG] == 1)
        return 0;
    if (s->traj && s->traj->n[KR_AVG] > 1)
        return kr_fail(KR_EREFUSED, "the averages were measured along different trajectories: their mean makes no sense");
    kr_scoped(array) x = kr_array_packed(s->data);
    kr_scoped(array) mask = x ? kr_scan_mask(s) : NULL;
    kr_array *sum = mask ? kr_array_new(KR_C32, kr_shape_without(s->shape, KR_ON(KR_AVG))) : NULL;
    if (!sum)
        return kr_error_code();
    struct mean j = { .data = x, .mask = mask, .to = KR_C(sum), .along = x->n[KR_SAMPLE] > 1 ? KR_SAMPLE : KR_X, .averages = x->n[KR_AVG],
                      .rest = kr_count(kr_array_shape(sum)) };
    j.row = x->n[j.along];
    bool each = s->mask && s->mask->n[KR_AVG] > 1;
    if (kr_for(j.rest / j.row, mean_row, &j) || (each && mask_of_any(&s->mask))) {
        kr_array_unref(&sum);
        return kr_error_code();
    }
    agree(&j, s->file, trace);
    kr_array_unref(&s->data);
    s->data = sum;
    s->shape = kr_array_shape(sum);
    for (long i = 0; i < s->lines[KR_LINES_IMAGING].count; i++)
        s->lines[KR_LINES_IMAGING].line[i].average = 0;
    return kr_meta_set(s->meta, "averages", "%ld", j.averages);
}

/* ---- In place; what the scan may share with others is copied first ---- */
static int own(kr_array **a)
{
    kr_array *c = kr_array_copy(*a);
    if (!c)
        return kr_error_code();
    kr_array_unref(a);
    *a = c;
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

enum { SAMPLES = 4 };                    /* for each channel, at least, of noise to whiten by */

int kr_scan_covariance(kr_scan *s, const kr_array *given)
{
    long n = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1, rows = SAMPLES * n + 1;
    kr_scoped(array) packed = kr_array_packed(given);
    kr_scoped(array) c = packed ? kr_array_complex(packed) : NULL;
    if (!c)
        return kr_error_code();
    if (c->n[KR_X] != n || kr_count(kr_array_shape(c)) != n * n)
        return kr_fail(KR_ESHAPE, "a covariance of shape %s for %ld channels; {x=%ld y=%ld} is wanted", kr_shape_text(kr_array_shape(given)), n, n, n);
    double most = kr_max_abs(c);
    kr_auto kr_cfloat *R = kr_alloc((size_t)(n * n), sizeof *R);
    kr_scoped(array) noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = rows, [KR_COIL] = n));
    if (!R || !noise)
        return kr_error_code();
    for (long i = 0; i < n; i++)
        for (long j = 0; j < n; j++) {
            kr_cfloat a = KR_C(c)[j + n * i], b = KR_C(c)[i + n * j];
            if (!(fabs((double)kr_re(a) - (double)kr_re(b)) <= 1e-3 * most && fabs((double)kr_im(a) + (double)kr_im(b)) <= 1e-3 * most))
                return kr_fail(KR_ENUMBER, "the covariance is not Hermitian: elements %ld, %ld and %ld, %ld differ", i, j, j, i);
            R[i + n * j] = kr_cconj(a);                      /* X^H X sums conj(n_i) n_j */
        }
    int e = kr_la_cholesky(n, R);
    if (e)
        return e != KR_ENUMBER ? e : kr_fail(KR_ENUMBER, "the covariance is not positive definite");
    float scale = sqrtf((float)(rows - 1));
    for (long j = 0; j < n; j++)
        for (long i = 0; i <= j; i++)
            KR_C(noise)[i + rows * j] = kr_c(scale * kr_re(R[i + n * j]), scale * kr_im(R[i + n * j]));
    kr_array_unref(&s->noise);
    s->noise = kr_array_ref(noise);
    s->noise_dwell_us = 0;
    return s->noise ? 0 : kr_error_code();
}

/* The matrix that whitens, or none: *w stays NULL where there is nothing to whiten by, which is said. */
static int find_whitener(kr_array **w, kr_scan *s, const kr_trace *trace)
{
    long n = s->noise->n[KR_SAMPLE], coils = s->shape.n[KR_COIL] > 1 ? s->shape.n[KR_COIL] : 1;
    if (s->noise->n[KR_COIL] != coils)
        return kr_fail(KR_ESHAPE, "the noise scan has %ld channels, the data have %ld", s->noise->n[KR_COIL], coils);
    if (n < SAMPLES * coils) {
        kr_say(trace, KR_WARNING, "the noise scan has only %ld samples for %ld channels: not whitened", n, coils);
        return 0;
    }
    if (!(*w = kr_noise_whitener(s->noise, s->dwell_us, s->noise_dwell_us, s->noise_bandwidth)))
        return kr_error_code();
    for (long c = 0; c < coils; c++)
        if (!(kr_re(KR_C(*w)[c * (coils + 1)]) > 0)) {
            kr_scan_note(s, "channel %ld has no noise: it is switched off, and left out", c);
            kr_say(trace, KR_WARNING, "channel %ld has no noise: it is switched off, and left out", c);
        }
    return 0;
}

const kr_prepare kr_prepare_preset = { .whiten = true, .oversampling = true, .compression = "svd", .average = true, .ghost = "auto" };

int kr_scan_prepare(kr_scan *s, const kr_prepare *p, const kr_trace *trace)
{
    if (!s->data)
        return kr_fail(KR_EFORMAT, "there are no k-space data");
    if (kr_epi_prepare(s, p->ghost, trace))
        return kr_error_code();
    bool grid = s->shape.n[KR_SAMPLE] <= 1 && s->shape.n[KR_VIEW] <= 1;
    long readout = s->shape.n[KR_X];
    kr_scoped(array) w = NULL;
    if (p->whiten && s->noise && !s->whitened && find_whitener(&w, s, trace))
        return kr_error_code();
    if (p->average && average(s, trace))
        return kr_error_code();
    if (refine_all(s, grid && p->oversampling, w))
        return kr_error_code();
    if (s->shape.n[KR_X] != readout)
        kr_say(trace, KR_DETAIL, "readout oversampling removed: %ld to %ld", readout, s->shape.n[KR_X]);
    if (w) {                       /* the noise goes the same way, so that whitening by it once more would change nothing */
        if (refine(&s->noise, 0, false, false, w))
            return kr_error_code();
        s->whitened = true;
        kr_say(trace, KR_DETAIL, "whitened by the noise scan");
    }
    if (p->coils > s->data->n[KR_COIL])
        kr_say(trace, KR_INFO, "compression to %ld coils asked for, of %ld: all are kept", p->coils, s->data->n[KR_COIL]);
    if (p->coils > 0 && p->coils < s->data->n[KR_COIL] && kr_coils_compress(s, p->coils, p->compression ? p->compression : "svd", p->mixtures, trace))
        return kr_error_code();
    return kr_multiband_open(s);
}
