/* segments.c: exp(-2 pi i f t) of all frequencies of a field as a sum of a few of its values in time. */
#include "kray/segments.h"
#include <math.h>
#include <string.h>

enum { BINS = 200, MOST = 64 };
struct field { double f[BINS], weight[BINS]; };

void kr_segments_close(kr_segments *s)
{
    kr_free(s->at_s);
    kr_free(s->share);
    *s = (kr_segments){ .count = 0 };
}

static int histogram(struct field *h, const float *hz, long pixels)
{
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (long i = 0; i < pixels; i++) {
        if (!isfinite(hz[i]))
            return kr_fail(KR_ENUMBER, "the field map holds numbers that are not finite");
        low = fmin(low, (double)hz[i]);
        high = fmax(high, (double)hz[i]);
    }
    double step = fmax((high - low) / BINS, 1e-6);
    for (int b = 0; b < BINS; b++)
        h->f[b] = low + ((double)b + .5) * step;
    for (long i = 0; i < pixels; i++) {
        int b = (int)(((double)hz[i] - low) / step);
        h->weight[b < BINS ? b : BINS - 1] += 1 / (double)pixels;
    }
    for (int b = 0; b < BINS; b++)                            /* what is rare must not be wrong either */
        h->weight[b] = .9 * h->weight[b] + .1 / BINS;
    return 0;
}

/* G = L L^H, complex, in place (lower part); room for rounding on the diagonal. */
static void factor(double (*g)[2], long n)
{
    for (long j = 0; j < n; j++)
        for (long i = j; i < n; i++) {
            double v[2] = { g[i * n + j][0] + (i == j ? 1e-10 : 0), g[i * n + j][1] };
            for (long k = 0; k < j; k++) {                    /* v -= L_ik conj(L_jk) */
                const double *a = g[i * n + k], *b = g[j * n + k];
                v[0] -= a[0] * b[0] + a[1] * b[1];
                v[1] -= a[1] * b[0] - a[0] * b[1];
            }
            double p = i == j ? sqrt(fmax(v[0], 1e-12)) : g[j * n + j][0];
            g[i * n + j][0] = i == j ? p : v[0] / p;
            g[i * n + j][1] = i == j ? 0 : v[1] / p;
        }
}

/* L L^H x = b, in place. */
static void back(const double (*l)[2], double (*b)[2], long n)
{
    for (long i = 0; i < n; i++) {
        for (long k = 0; k < i; k++) {
            const double *a = l[i * n + k];
            b[i][0] -= a[0] * b[k][0] - a[1] * b[k][1];
            b[i][1] -= a[0] * b[k][1] + a[1] * b[k][0];
        }
        b[i][0] /= l[i * n + i][0];
        b[i][1] /= l[i * n + i][0];
    }
    for (long i = n - 1; i >= 0; i--) {
        for (long k = i + 1; k < n; k++) {
            const double *a = l[k * n + i];                   /* its conjugate */
            b[i][0] -= a[0] * b[k][0] + a[1] * b[k][1];
            b[i][1] -= a[0] * b[k][1] - a[1] * b[k][0];
        }
        b[i][0] /= l[i * n + i][0];
        b[i][1] /= l[i * n + i][0];
    }
}

static void turn(double z[2], double cycles)
{
    z[0] = cos(2 * M_PI * cycles);
    z[1] = sin(2 * M_PI * cycles);
}

/* Shares of n segments for all samples; returns the error. */
static double shares(const kr_segments *s, const struct field *h, double first_s, double dwell_s, double (*g)[2], double (*b)[2])
{
    long n = s->count;
    for (long i = 0; i < n; i++)
        for (long j = 0; j <= i; j++) {                       /* sum of w exp(2 pi i f (at_i - at_j)) */
            double sum[2] = { 0 }, z[2];
            for (int k = 0; k < BINS; k++) {
                turn(z, h->f[k] * (s->at_s[i] - s->at_s[j]));
                sum[0] += h->weight[k] * z[0];
                sum[1] += h->weight[k] * z[1];
            }
            g[i * n + j][0] = sum[0];
            g[i * n + j][1] = sum[1];
        }
    factor(g, n);
    double worst = 0;
    for (long m = 0; m < s->samples; m++) {
        double t = first_s + (double)m * dwell_s, left = 0, z[2];
        for (long i = 0; i < n; i++) {                        /* sum of w exp(2 pi i f (at_i - t)) */
            b[i][0] = b[i][1] = 0;
            for (int k = 0; k < BINS; k++) {
                turn(z, h->f[k] * (s->at_s[i] - t));
                b[i][0] += h->weight[k] * z[0];
                b[i][1] += h->weight[k] * z[1];
            }
        }
        back((const double (*)[2])g, b, n);
        for (int k = 0; k < BINS; k++) {
            double sum[2] = { 0 };
            for (long i = 0; i < n; i++) {
                turn(z, -h->f[k] * s->at_s[i]);
                sum[0] += b[i][0] * z[0] - b[i][1] * z[1];
                sum[1] += b[i][0] * z[1] + b[i][1] * z[0];
            }
            turn(z, -h->f[k] * t);
            left += h->weight[k] * (pow(sum[0] - z[0], 2) + pow(sum[1] - z[1], 2));
        }
        worst = fmax(worst, left);
        for (long i = 0; i < n; i++) {
            s->share[2 * (i * s->samples + m)] = (float)b[i][0];
            s->share[2 * (i * s->samples + m) + 1] = (float)b[i][1];
        }
    }
    return sqrt(worst);
}

int kr_segments_open(kr_segments *s, const float *hz, long pixels, double first_s, double dwell_s, long samples, double tolerance)
{
    struct field h = { { 0 }, { 0 } };
    *s = (kr_segments){ .samples = samples };
    kr_auto double (*g)[2] = kr_alloc(MOST * MOST, sizeof *g), (*b)[2] = kr_alloc(MOST, sizeof *b);
    s->at_s = kr_alloc(MOST, sizeof *s->at_s);
    s->share = kr_alloc((size_t)samples, MOST * 2 * sizeof *s->share);
    if (!g || !b || !s->at_s || !s->share || histogram(&h, hz, pixels))
        return kr_error_code();
    double range = h.f[BINS - 1] - h.f[0], whole = dwell_s * (double)(samples - 1), fewest = range * whole;
    if (fewest > MOST)
        return kr_fail(KR_EREFUSED, "a field map from %.0f to %.0f Hz and a readout of %.1f ms: more than %d segments in time would be needed", h.f[0], h.f[BINS - 1], 1000 * whole, MOST);
    for (s->count = (long)fewest + 1; ; s->count += 1 + s->count / 8) {
        if (s->count > MOST)
            return kr_fail(KR_EREFUSED, "off-resonance of %.0f to %.0f Hz over %.1f ms stays %.1e off with %d segments in time", h.f[0], h.f[BINS - 1], 1000 * whole, s->error, MOST);
        for (long i = 0; i < s->count; i++)
            s->at_s[i] = first_s + whole * (s->count > 1 ? (double)i / (double)(s->count - 1) : .5);
        s->error = shares(s, &h, first_s, dwell_s, g, b);
        if (s->error <= tolerance)
            return 0;
    }
}
