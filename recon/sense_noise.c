/* sense_noise.c: the noise of an image by SENSE in closed form. A^H A = S^H T S, T = F^H P F a convolution: where it leads from each pixel to a
 * few others only, as with masks that are lattices, or along one line of pixels, H = A^H A + lambda falls into small matrices, and noise
 * of variance 1 gives the image the variance diag(H^-1 A^H A H^-1) = diag(H^-1 - lambda H^-2).
 * Source: Pruessmann et al., Magn Reson Med 42:952 (1999), eq. 23, here with lambda and calibration lines. */
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/solve.h"
#include "model.h"
#include "sense_noise.h"
#include <math.h>
#include <string.h>

enum { D = 3, MOST = 512 };                  /* MOST: pixels that one matrix may tie together */
static const float FLAT = 1e-5f;             /* an eigenvalue relative to the largest, as good as 0 in float32 */

/* One slice and frame. Lags: from a pixel to those that it folds onto, a subgroup of the grid of axes along which the mask varies. */
struct fold {
    long n[D], m[D], step[D];        /* grid of the image and of the mask (1 where it does not vary); in a map */
    long coils, apart, lags, (*lag)[D], groups, *group;      /* group: a pixel of each, on the mask's grid */
    kr_cfloat *T;                    /* of every lag of the mask's grid                              */
    const kr_cfloat *S;
    float lambda, unit, *variance;   /* unit: of lambda                                              */
    kr_cfloat *scratch; long room;   /* of each thread                                               */
};

static void drop(struct fold *f)
{
    kr_free_at(&f->lag);
    kr_free_at(&f->group);
    kr_free_at(&f->T);
    kr_free_at(&f->scratch);
}

static long at(const long n[D], const long x[D])             /* wrapped around */
{
    long e = 0;
    for (int d = D - 1; d >= 0; d--)
        e = e * n[d] + (x[d] % n[d] + n[d]) % n[d];
    return e;
}

static void place(long x[D], const long n[D], long i)
{
    for (int d = 0; d < D; i /= n[d], d++)
        x[d] = i % n[d];
}

/* T at every lag: 1/N sum over the measured k of exp(2 pi i k lag / N). */
static int spread_of(struct fold *f, const kr_array *mask)
{
    long n = f->m[0] * f->m[1] * f->m[2], x[D];
    unsigned axes = 0;
    for (int d = 0; d < D; d++)
        axes |= f->m[d] > 1 ? KR_ON(d) : 0;
    kr_scoped(array) t = kr_array_complex(mask);
    f->T = kr_alloc((size_t)n, sizeof *f->T);
    if (!t || !f->T || (axes && kr_fourier_inverse(t, axes)))
        return kr_error_code();
    float scale = (float)(1 / sqrt((double)n));
    for (long i = 0; i < n; i++) {
        place(x, f->m, i);
        for (int d = 0; d < D; d++)
            x[d] += f->m[d] / 2;
        kr_cfloat v = KR_C(t)[at(f->m, x)];
        f->T[i] = kr_c(scale * kr_re(v), scale * kr_im(v));
    }
    return 0;
}

/* Lags at which T is not 0, if with any two their sum is one too; else all lags. Returns 1 where these are more than MOST. */
static int list_lags(struct fold *f)
{
    long n = f->m[0] * f->m[1] * f->m[2], x[D], y[D];
    float least = 1e-6f * kr_re(f->T[0]);
    f->lag = kr_alloc(MOST, sizeof *f->lag);
    if (!f->lag)
        return kr_error_code();
    bool closed = true;
    for (long i = 0; i < n; i++)
        if (kr_cabs2(f->T[i]) > least * least) {
            if (f->lags == MOST) {
                closed = false;
                break;
            }
            place(f->lag[f->lags++], f->m, i);
        }
    for (long i = 0; closed && i < f->lags; i++)
        for (long k = 0; closed && k <= i; k++) {
            for (int d = 0; d < D; d++)
                x[d] = f->lag[i][d] + f->lag[k][d];
            closed = kr_cabs2(f->T[at(f->m, x)]) > least * least;
        }
    if (closed)
        return 0;
    if (n > MOST)
        return 1;
    for (f->lags = 0; f->lags < n; f->lags++) {
        place(y, f->m, f->lags);
        memcpy(f->lag[f->lags], y, sizeof y);
    }
    return 0;
}

static int list_groups(struct fold *f)
{
    long n = f->m[0] * f->m[1] * f->m[2], x[D];
    kr_auto bool *seen = kr_alloc_zero((size_t)n, sizeof *seen);
    f->group = kr_alloc((size_t)(n / f->lags + 1), sizeof *f->group);
    if (!seen || !f->group)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        if (seen[i])
            continue;
        f->group[f->groups++] = i;
        for (long k = 0; k < f->lags; k++) {
            place(x, f->m, i);
            for (int d = 0; d < D; d++)
                x[d] += f->lag[k][d];
            seen[at(f->m, x)] = true;
        }
    }
    return 0;
}

/* H = A^H A + lambda of the pixels of a group that have maps: how many. p[i]: where in the image pixel i is. */
static long equations(kr_cfloat *H, kr_cfloat *s, long *p, long (*r)[D], const struct fold *f, const long origin[D])
{
    long count = 0, x[D];
    for (long k = 0; k < f->lags; k++) {
        for (int d = 0; d < D; d++)
            x[d] = (origin[d] + f->lag[k][d]) % f->n[d];
        long e = at(f->n, x);
        float sum = 0;
        for (long c = 0; c < f->coils; c++) {
            s[count * f->coils + c] = f->S[c * f->apart + e];
            sum += kr_cabs2(s[count * f->coils + c]);
        }
        if (sum > 0) {
            memcpy(r[count], x, sizeof x);
            p[count++] = e;
        } else
            f->variance[e] = 0;
    }
    if (count)
        kr_la_gemm('C', 'N', count, count, f->coils, 1, s, f->coils, s, f->coils, 0, H, count);
    for (long k = 0; k < count; k++)
        for (long i = 0; i < count; i++) {
            for (int d = 0; d < D; d++)
                x[d] = f->m[d] > 1 ? r[i][d] - r[k][d] : 0;
            H[k * count + i] = kr_cmul(H[k * count + i], f->T[at(f->m, x)]);
            if (i == k)
                H[k * count + i] += kr_c(f->lambda, 0);
        }
    return count;
}

/* diag(H^-1 - lambda H^-2), by H = R^H R. Destroys H. */
static int by_inverse(float *variance, const long *p, long n, kr_cfloat *H, kr_cfloat *B, double lambda)
{
    if (kr_la_cholesky(n, H) || kr_la_inverse_upper(n, H))
        return kr_error_code();
    for (long k = 0; k < n; k++)                             /* B = R^-H, so that B^H B = H^-1 */
        for (long q = 0; q < n; q++)
            B[q * n + k] = q <= k ? kr_cconj(H[k * n + q]) : kr_c(0, 0);
    kr_la_gram(n, n, 1, B, n, 0, H, n);                      /* lower */
    for (long k = 0; k < n; k++) {
        double sum = 0;
        for (long q = 0; q < n; q++)
            sum += (double)kr_cabs2(q > k ? H[k * n + q] : H[q * n + k]);
        variance[p[k]] = (float)fmax(0, (double)kr_re(H[k * n + k]) - lambda * sum);
    }
    return 0;
}

/* The same by H = V (e + lambda) V^H, where lambda is next to nothing and H may be singular: what the data do not tell, below FLAT of the
 * largest e, is 0 in an image that begins with 0, and so is its noise. */
static int by_eigenvalues(float *variance, const long *p, long n, kr_cfloat *H, float *e, double lambda)
{
    if (kr_la_eigh(n, H, e))
        return kr_error_code();
    for (long k = 0; k < n; k++) {
        double sum = 0;
        for (long q = 0; q < n; q++)
            if (e[q] > FLAT * e[n - 1])
                sum += (double)kr_cabs2(H[q * n + k]) * fmax(0, (double)e[q] - lambda) / ((double)e[q] * (double)e[q]);
        variance[p[k]] = (float)sum;
    }
    return 0;
}

static int one_group(void *self, long i)
{
    const struct fold *f = self;
    kr_cfloat *H = f->scratch + kr_worker() * f->room, *B = H + f->lags * f->lags, *s = B + f->lags * f->lags;
    long *p = (long *)(s + f->lags * f->coils), (*r)[D] = (long (*)[D])(p + f->lags), x[D], rest[D], still[D];
    for (int d = 0; d < D; d++)
        still[d] = f->m[d] > 1 ? 1 : f->n[d];
    place(x, f->m, f->group[i % f->groups]);
    place(rest, still, i / f->groups);
    for (int d = 0; d < D; d++)
        x[d] += rest[d];
    long n = equations(H, s, p, r, f, x);
    if (!n)
        return 0;
    return f->lambda > 1e-4f * f->unit ? by_inverse(f->variance, p, n, H, B, (double)f->lambda)
                                       : by_eigenvalues(f->variance, p, n, H, (float *)B, (double)f->lambda);
}

/* variance of one slice and frame; 1: not known in closed form. */
static int one_part(float *variance, const kr_scan *scan, const kr_array *coils, double lambda)
{
    kr_scoped(array) mask = kr_model_mask(scan);
    if (!mask)
        return kr_error_code();
    struct fold f = { .coils = coils->n[KR_COIL], .apart = coils->step[KR_COIL], .S = KR_C(coils), .variance = variance };
    long still = 1;
    for (int d = 0; d < D; d++) {
        f.n[d] = coils->n[d];
        f.m[d] = mask->n[d];
        still *= f.m[d] > 1 ? 1 : f.n[d];
    }
    f.unit = kr_sense_unit(coils);
    f.lambda = (float)lambda * f.unit;
    int e = f.unit < 0 ? kr_error_code() : spread_of(&f, mask);
    if (!e)
        e = list_lags(&f);
    if (!e)
        e = list_groups(&f);
    if (!e) {
        long g = f.lags;
        f.room = 2 * g * g + g * f.coils + 4 * g;            /* 4 g places in complex numbers, as large as longs */
        f.scratch = kr_alloc((size_t)f.room, (size_t)kr_threads() * sizeof *f.scratch);
        e = f.scratch ? kr_for(f.groups * still, one_group, &f) : kr_error_code();
    }
    drop(&f);
    return e;
}

int kr_sense_deviation(kr_image **sd, const kr_scan *scan, const kr_array *coils, double lambda, const kr_trace *trace)
{
    if (coils->n[KR_MAP] > 1)
        return 1;
    kr_scoped(array) image = kr_array_new(KR_R32, kr_shape_without(scan->shape, KR_ON(KR_COIL)));
    if (!image || kr_coils_check(coils, scan))
        return kr_error_code();
    for (long i = 0, n = kr_parts(scan); i < n; i++) {
        kr_scoped(array) data = kr_part(scan->data, scan, i);
        kr_scoped(array) mask = scan->mask ? kr_part(scan->mask, scan, i) : NULL;
        kr_scoped(array) some = kr_part(coils, scan, i);
        kr_scoped(array) maps = kr_array_packed(some);
        kr_scoped(array) to = kr_part(image, scan, i);
        kr_scoped(array) v = to ? kr_array_new(KR_R32, kr_array_shape(to)) : NULL;
        if (!data || (scan->mask && !mask) || !maps || !v || kr_stopped(trace))
            return kr_error_code();
        kr_scan part = { .shape = kr_array_shape(data), .data = data, .mask = mask, .in_image = scan->in_image };
        int e = one_part(KR_R(v), &part, maps, lambda);
        if (e)
            return e;
        for (long k = 0, count = kr_count(kr_array_shape(v)); k < count; k++)
            KR_R(v)[k] = sqrtf(KR_R(v)[k]);
        kr_array_assign(to, v);
        kr_progress(trace, "noise", (double)(i + 1), (double)n);
    }
    *sd = kr_image_new(image, scan->geom, scan->meta);
    return *sd ? 0 : kr_error_code();
}
