/* walsh.c: adaptive maps: at each place the dominant eigenvector of the covariance of the coils around it. Source: Walsh et
 * al., Magn Reson Med 43:682 (2000).
 *
 *   R_cc'(r) = local mean of x_c conj(x_c')
 *
 * of images x of the calibration area. The mean is a product with a window in k-space, so that R has few Fourier
 * coefficients; the window is a cubic B-spline, whose mean has weights that are nowhere negative, so that R has no negative
 * eigenvalues, and fall off with the fourth power of distance: bright tissue must not lend its signal to air. The mean goes
 * over 0.6 pixels of the calibration area; a longer one blurs the maps. */
#include "coils.h"
#include "kray/fourier.h"
#include <math.h>
#include <string.h>

enum { D = 3 };

struct walsh { kr_array *maps; const kr_array *block; const kr_coils_opts *o; const kr_trace *trace; };
struct pairs { const kr_cfloat *x; kr_cfloat *product; const kr_fft *fft; long n[D], total, coils; double wide[D];
               const kr_field *R; };

/* Cubic B-spline, 1 at 0, 0 from 1 on. */
static double spline(double t)
{
    t = fabs(t);
    return t < 0.5 ? 1 - 6 * t * t * (1 - t) : t < 1 ? 2 * (1 - t) * (1 - t) * (1 - t) : 0;
}

/* Coefficients of one entry of R: the transform of x_c conj(x_c'), its middle under the window. */
static int one_pair(void *self, long index)
{
    const struct pairs *p = self;
    const long *reach = p->R->reach, *n = p->n;
    long c = 0, d = index, entries = p->coils * (p->coils + 1) / 2;
    for (; d >= p->coils - c; c++)
        d -= p->coils - c;
    const kr_cfloat *a = p->x + c * p->total, *b = p->x + (c + d) * p->total;
    kr_cfloat *y = p->product + kr_worker() * p->total;
    for (long i = 0; i < p->total; i++)
        y[i] = kr_cmulc(b[i], a[i]);
    kr_fft_forward(p->fft, y);
    double unit = 1 / sqrt((double)p->total);
    for (long k = -reach[2]; k <= reach[2]; k++)
        for (long j = -reach[1]; j <= reach[1]; j++)
            for (long i = -reach[0]; i <= reach[0]; i++) {
                double w = unit * spline((double)i / p->wide[0]) * spline((double)j / p->wide[1]) * spline((double)k / p->wide[2]);
                kr_cfloat v = y[((k + n[2] / 2) * n[1] + j + n[1] / 2) * n[0] + i + n[0] / 2];
                long row = ((k + reach[2]) * (2 * reach[1] + 1) + j + reach[1]) * entries + index;
                p->R->K[row * (2 * reach[0] + 1) + i + reach[0]] = kr_c((float)(w * kr_re(v)), (float)(w * kr_im(v)));
            }
    return 0;
}

/* Scaled so that the largest sum of squares is 1. */
static int scale(kr_cfloat *x, long total, long coils)
{
    double top = 0;
    for (long i = 0; i < total; i++) {
        double sum = 0;
        for (long c = 0; c < coils; c++)
            sum += kr_cabs2(x[c * total + i]);
        top = sum > top ? sum : top;
    }
    if (!(top > 0))
        return kr_fail(KR_ENUMBER, "the calibration area of a slice is all zero");
    float f = (float)(1 / sqrt(top));
    for (long i = 0; i < total * coils; i++)
        x[i] = kr_c(f * kr_re(x[i]), f * kr_im(x[i]));
    return 0;
}

static int one_slice(void *self, long slice)
{
    const struct walsh *job = self;
    kr_scoped(array) block = kr_array_at(job->block, KR_SLICE, slice);
    if (!block)
        return kr_error_code();
    long coils = block->n[KR_COIL], entries = coils * (coils + 1) / 2, terms = entries;
    struct pairs p = { .coils = coils, .total = 1 };
    kr_field R = { .coils = coils, .relative = true };
    for (int d = 0; d < D; d++) {
        long m = block->n[d], n = job->maps->n[d];
        R.reach[d] = m - 1 < (n - 1) / 2 ? m - 1 : (n - 1) / 2;
        R.reach[d] = R.reach[d] < KR_FIELD_REACH ? R.reach[d] : KR_FIELD_REACH;
        p.wide[d] = (double)(R.reach[d] + 1) * (R.reach[d] == m - 1 ? 2 : 1);    /* products end at m - 1: nothing is cut off */
        p.n[d] = m > 1 ? 2 * m : 1;                      /* room for the products of two images */
        p.total *= p.n[d];
        terms *= 2 * R.reach[d] + 1;
    }
    kr_auto kr_cfloat *u = kr_alloc((size_t)coils, sizeof *u), *x = kr_alloc((size_t)p.total, (size_t)coils * sizeof *x);
    kr_auto kr_cfloat *product = p.product = kr_alloc((size_t)p.total, (size_t)kr_threads() * sizeof *product);
    kr_auto kr_cfloat *K = R.K = kr_alloc((size_t)terms, sizeof *K);
    kr_fft *fft = kr_fft_new(KR_SHAPE([KR_X] = p.n[0], [KR_Y] = p.n[1], [KR_Z] = p.n[2]), KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z),
                             KR_CENTRED | KR_SERIAL);
    int e = !u || !x || !product || !K || !fft ? kr_error_code() : kr_coils_principal(u, block);
    if (!e)
        e = kr_coils_blur(x, p.n, block);
    if (!e)
        e = scale(x, p.total, coils);
    p.x = x;
    p.fft = fft;
    p.R = &R;
    if (!e)
        e = kr_for(entries, one_pair, &p);
    kr_fft_unref(&fft);
    if (e)
        return e;
    double crop = kr_coils_least(job->o);
    return kr_coils_eigenmaps(job->maps, slice, &R, u, crop * crop, job->o->prior ? KR_POWER : KR_HARD, job->trace);
}

static int estimate_all(kr_array *maps, const kr_array *block, const kr_coils_opts *o, const kr_trace *trace)
{
    struct walsh job = { maps, block, o, trace };
    return kr_coils_slices(block->n[KR_SLICE], one_slice, &job, maps, NULL, trace);
}

const kr_coil_method kr_coil_method_walsh = { "walsh", "local correlation of low-resolution coil images", "Walsh et al., MRM 43:682 (2000)", estimate_all };
