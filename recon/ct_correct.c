/* ct_correct.c: line integrals put right: stripes by Fourier transforms of wavelet bands, beam hardening by a polynomial. */
#include "kray/ct.h"
#include "kray/fourier.h"
#include "kray/wavelet.h"
#include <math.h>
#include <string.h>

/* ---- Stripes ---- */
enum { ORDER = 5 };                       /* Daubechies' filters of 10 taps */

/* One level along n numbers (n even), `step` apart, periodic: low band first. */
static void split(float *x, long n, long step, const double *h, double *room)
{
    for (long i = 0; i < n / 2; i++) {
        double low = 0, high = 0;
        for (int k = 0; k < 2 * ORDER; k++) {
            double v = (double)x[(2 * i + k) % n * step];
            low += h[k] * v;
            high += (k % 2 ? -h[2 * ORDER - 1 - k] : h[2 * ORDER - 1 - k]) * v;
        }
        room[i] = low;
        room[n / 2 + i] = high;
    }
    for (long i = 0; i < n; i++)
        x[i * step] = (float)room[i];
}

static void join(float *x, long n, long step, const double *h, double *room)
{
    memset(room, 0, (size_t)n * sizeof *room);
    for (long i = 0; i < n / 2; i++)
        for (int k = 0; k < 2 * ORDER; k++)
            room[(2 * i + k) % n] += h[k] * (double)x[i * step] + (k % 2 ? -h[2 * ORDER - 1 - k] : h[2 * ORDER - 1 - k]) * (double)x[(n / 2 + i) * step];
    for (long i = 0; i < n; i++)
        x[i * step] = (float)room[i];
}

/* Damps what hardly changes along n numbers, `step` apart: frequency k by 1 - exp(-k^2 / 2 sigma^2). */
static void damp(float *x, long n, long step, double sigma, kr_fft *fft, kr_cfloat *c)
{
    for (long i = 0; i < n; i++)
        c[i] = kr_c(x[i * step], 0);
    kr_fft_forward(fft, c);
    for (long i = 0; i < n; i++) {
        double k = (double)(i <= n / 2 ? i : n - i);
        float w = (float)(1 - exp(-k * k / (2 * sigma * sigma)));
        c[i] = kr_c(w * kr_re(c[i]), w * kr_im(c[i]));
    }
    kr_fft_inverse(fft, c);
    for (long i = 0; i < n; i++)
        x[i * step] = kr_re(c[i]);
}

/* s {wide, high}: columns and views of one row of the detector. */
static int bands(float *s, long wide, long high, long line, int levels, double sigma, const double *h, double *room, kr_cfloat *c)
{
    if (!levels)
        return 0;
    kr_fft *fft = kr_fft_new(KR_SHAPE([KR_X] = high / 2), KR_ON(KR_X), KR_SERIAL);
    if (!fft)
        return kr_error_code();
    for (long v = 0; v < high; v++)
        split(s + v * line, wide, 1, h, room);
    for (long u = 0; u < wide; u++)
        split(s + u, high, line, h, room);
    for (long u = wide / 2; u < wide; u++)                           /* low along views, high along columns */
        damp(s + u, high / 2, line, sigma, fft, c);
    kr_fft_unref(&fft);
    int e = bands(s, wide / 2, high / 2, line, levels - 1, sigma, h, room, c);
    for (long u = 0; u < wide && !e; u++)
        join(s + u, high, line, h, room);
    for (long v = 0; v < high && !e; v++)
        join(s + v * line, wide, 1, h, room);
    return e;
}

static long mirrored(long i, long n)
{
    long period = 2 * n, k = ((i % period) + period) % period;
    return k < n ? k : period - 1 - k;
}

int kr_ct_rings_wavelet(kr_array *y, int levels, double sigma)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], views = y->n[KR_VIEW], part = 1L << (levels > 0 && levels < 11 ? levels : 1);
    if (levels < 1 || levels > 10 || !(sigma > 0) || sigma > 1000)
        return kr_fail(KR_EREFUSED, "stripes in %d wavelet bands, damped with a width of %g: 1 to 10 bands and a width above 0, 2 and 1 say, are wanted", levels, sigma);
    if (columns < 2 * part || views < 2 * part)
        return kr_fail(KR_EREFUSED, "%ld columns and %ld views are too few for %d wavelet bands; at least %ld each are wanted", columns, views, levels, 2 * part);
    long wide = (columns + part + part - 1) / part * part, high = (views + part + part - 1) / part * part, side = (wide - columns) / 2, top = (high - views) / 2;
    double h[2 * KR_WAVELET_ORDERS];
    kr_auto float *s = kr_alloc((size_t)wide, (size_t)high * sizeof *s);
    kr_auto double *room = kr_alloc((size_t)(wide > high ? wide : high), sizeof *room);
    kr_auto kr_cfloat *c = kr_alloc((size_t)high, sizeof *c);
    if (!s || !room || !c || kr_wavelet_filter(ORDER, h))
        return kr_error_code();
    for (long r = 0; r < rows; r++) {
        for (long v = 0; v < high; v++)
            for (long u = 0; u < wide; u++)
                s[v * wide + u] = KR_R(y)[(mirrored(v - top, views) * rows + r) * columns + mirrored(u - side, columns)];
        if (bands(s, wide, high, wide, levels, sigma, h, room, c))
            return kr_error_code();
        for (long v = 0; v < views; v++)
            memcpy(KR_R(y) + (v * rows + r) * columns, s + (v + top) * wide + side, (size_t)columns * sizeof *s);
    }
    return 0;
}

/* ---- Beam hardening ---- */
int kr_ct_polynomial(kr_array *y, const double *factor, int count)
{
    long n = kr_count(kr_array_shape(y));
    double high = -INFINITY, slope = INFINITY, at = 0;
    for (long i = 0; i < n; i++)
        high = fmax(high, (double)KR_R(y)[i]);
    for (int i = 0; i <= 100; i++) {                                 /* it must rise over all that was measured */
        double p = high * i / 100, d = 0;
        for (int k = count; k >= 1; k--)
            d = d * p + k * factor[k - 1];
        if (d < slope) {
            slope = d;
            at = p;
        }
    }
    if (!(slope > 0))
        return kr_fail(KR_EREFUSED, "the polynomial falls at a line integral of %.3g, of those up to %.3g that were measured: it corrects no beam hardening", at, high);
    for (long i = 0; i < n; i++) {
        double p = (double)KR_R(y)[i], sum = 0;
        for (int k = count; k >= 1; k--)
            sum = (sum + factor[k - 1]) * p;
        KR_R(y)[i] = (float)sum;
    }
    return 0;
}
