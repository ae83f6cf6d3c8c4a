/* metric.c: SSIM, HFEN and VIF of one picture, sums over pictures, and the statistics of a set. All in double, but for
 * SSIM where the published scorer computes in single precision: there every intermediate is rounded as it rounds. */
#include "score.h"
#include "kray_scores.h"
#include "kray/opt.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_protocol kr_protocol_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_protocol_##name,
const kr_protocol *const kr_protocols[] = { KR_LIST(ENTRY) NULL };

const kr_protocol *kr_protocol_named(const char *name)
{
    enum { MOST = 32 };
    const char *word[MOST];
    int count = 0;
    kr_text known = { 0 };
    for (int i = 0; kr_protocols[i]; i++) {
        if (!strcasecmp(kr_protocols[i]->name, name))
            return kr_text_clear(&known), kr_protocols[i];
        word[i < MOST ? i : MOST - 1] = kr_protocols[i]->name;
        count = i < MOST ? i + 1 : MOST;
        kr_text_add(&known, "%s%s", i ? ", " : "", kr_protocols[i]->name);
    }
    const char *near = kr_nearest(name, word, count);
    kr_fail(KR_EUSAGE, "there is no protocol '%s'; %s%s%sknown are %s", name, near ? "did you mean " : "", near ? near : "", near ? "? " : "", known.s ? known.s : "none");
    kr_text_clear(&known);
    return NULL;
}

const kr_measure kr_measures[KR_MEASURES] = {
    { "ssim", "SSIM", "", true, offsetof(kr_score, ssim) },     { "psnr", "PSNR", "dB", true, offsetof(kr_score, psnr) },
    { "nmse", "NMSE", "", false, offsetof(kr_score, nmse) },    { "nrmse", "NRMSE", "", false, offsetof(kr_score, nrmse) },
    { "hfen", "HFEN", "", false, offsetof(kr_score, hfen) },    { "vif", "VIF", "", true, offsetof(kr_score, vif) },
    { "mcc", "MCC", "", true, offsetof(kr_score, mcc) },
};
double kr_score_get(const kr_score *s, int k) { return *(const double *)((const char *)s + kr_measures[k].at); }
void kr_score_set(kr_score *s, int k, double v) { *(double *)((char *)s + kr_measures[k].at) = v; }

static void see_row(double *out, const kr_seen *v, long from, long n)
{
    const float *p = v->p + from;
    if (v->magnitude)
        for (long i = 0; i < n; i++)
            out[i] = fabs((double)p[i]) / v->unit;
    else
        for (long i = 0; i < n; i++)
            out[i] = ((double)p[i] - v->shift) / v->unit;
}

/* ---- SSIM ------------------------------------------------------------------------------------------- */
enum { W = 7, AREA = W * W, MOMENTS = 5 };   /* x, y, xx, yy, xy */

/* The result of one operation in the scorer's precision. Rounding a sum, difference, product or quotient of two single
 * precision numbers from double gives exactly the single precision result (53 >= 2 * 24 + 2 bits). */
#define INLINE static inline __attribute__((always_inline))
INLINE double as(bool single, double v) { return single ? (double)(float)v : v; }

INLINE double seven(const double *a, long step)
{
    return ((a[0] + a[step]) + (a[2 * step] + a[3 * step])) + ((a[4 * step] + a[5 * step]) + a[6 * step]);
}

INLINE void moments(bool single, double *m, const double *x, const double *y, long nx)
{
    for (long i = 0; i < nx; i++) {
        m[i] = x[i];
        m[nx + i] = y[i];
        m[2 * nx + i] = as(single, x[i] * x[i]);
        m[3 * nx + i] = as(single, y[i] * y[i]);
        m[4 * nx + i] = as(single, x[i] * y[i]);
    }
}

/* One row of the map from seven rows of moments: means down the columns, then along the row. Not running sums: those
 * would be one long chain of additions. */
INLINE void ssim_row(bool single, double *map, double *down, const double *const ring[W], long nx, const double c[3])
{
    for (long i = 0; i < MOMENTS * nx; i++)
        down[i] = as(single, (((ring[0][i] + ring[1][i]) + (ring[2][i] + ring[3][i])) + ((ring[4][i] + ring[5][i]) + ring[6][i])) / W);
    double cov = c[0], c1 = c[1], c2 = c[2];
    for (long i = 0; i + W <= nx; i++) {
        double ux = as(single, seven(down + i, 1) / W), uy = as(single, seven(down + nx + i, 1) / W);
        double xx = as(single, seven(down + 2 * nx + i, 1) / W), yy = as(single, seven(down + 3 * nx + i, 1) / W);
        double xy = as(single, seven(down + 4 * nx + i, 1) / W);
        double ux2 = as(single, ux * ux), uy2 = as(single, uy * uy), uxy = as(single, ux * uy);
        double vx = as(single, cov * as(single, xx - ux2)), vy = as(single, cov * as(single, yy - uy2)), vxy = as(single, cov * as(single, xy - uxy));
        double a1 = as(single, 2 * uxy + c1), a2 = as(single, 2 * vxy + c2);
        double b1 = as(single, as(single, ux2 + uy2) + c1), b2 = as(single, as(single, vx + vy) + c2);
        map[i] = as(single, as(single, a1 * a2) / as(single, b1 * b2));
    }
}

/* Mean of the SSIM map over the interior, or over its pixels inside the region (NAN: none). */
INLINE int ssim_in(bool single, double *mean, const kr_pair *p, bool biased)
{
    long nx = p->nx, ny = p->ny, n = nx - W + 1;
    kr_auto double *room = kr_alloc((size_t)(W * MOMENTS + MOMENTS + 3), (size_t)nx * sizeof *room);
    if (!room)
        return kr_error_code();
    double *x = room + W * MOMENTS * nx, *y = x + nx, *map = y + nx, *down = map + nx;
    double r = p->ssim_range, sum = 0, count = 0;
    const double c[3] = { as(single, biased ? 1 : AREA / (AREA - 1.0)), as(single, (0.01 * r) * (0.01 * r)), as(single, (0.03 * r) * (0.03 * r)) };
    for (long j = 0; j < ny; j++) {
        see_row(x, &p->t, j * nx, nx);
        see_row(y, &p->r, j * nx, nx);
        for (long i = 0; single && i < 2 * nx; i++)
            x[i] = (float)x[i];
        moments(single, room + (j % W) * MOMENTS * nx, x, y, nx);
        if (j < W - 1)
            continue;
        const double *ring[W];
        for (long k = 0; k < W; k++)
            ring[k] = room + ((j + 1 + k) % W) * MOMENTS * nx;
        ssim_row(single, map, down, ring, nx, c);
        for (long i = 0; p->map && i < n; i++)
            p->map[(j - W / 2) * nx + W / 2 + i] = (float)map[i];
        const float *roi = p->roi ? p->roi + (j - W / 2) * nx + W / 2 : NULL;
        for (long i = 0; i < n; i++)
            if (!roi || roi[i] != 0) {
                sum += map[i];
                count++;
            }
    }
    *mean = count > 0 ? sum / count : (double)NAN;
    return 0;
}

static int ssim(double *mean, const kr_pair *p, bool biased, bool single)
{
    return single ? ssim_in(true, mean, p, biased) : ssim_in(false, mean, p, biased);
}

/* ---- HFEN ------------------------------------------------------------------------------------------- */
enum { LOG = 15, HALF = LOG / 2 };

/* With g the normalised Gaussian, LoG = g''(x) g(y) + g(x) g''(y) - mean: three separable kernels instead of 225 taps. */
typedef struct laplacian { double g[LOG], g2[LOG], mean; } laplacian;
static laplacian laplacian_of_gaussian(double sigma)
{
    laplacian k = { .mean = 0 };
    double sum = 0, s2 = sigma * sigma, total = 0, total2 = 0;
    for (int i = 0; i < LOG; i++)
        sum += k.g[i] = exp(-(i - HALF) * (i - HALF) / (2 * s2));
    for (int i = 0; i < LOG; i++) {
        k.g[i] /= sum;
        k.g2[i] = k.g[i] * ((i - HALF) * (i - HALF) - s2) / (s2 * s2);
        total += k.g[i];
        total2 += k.g2[i];
    }
    k.mean = 2 * total * total2 / (LOG * LOG);
    return k;
}

static void along(double *out, const double *in, long n, const double *kernel)     /* zero outside 0..n-1 */
{
    for (long i = 0; i < n; i++)
        out[i] = 0;
    for (long k = -HALF; k <= HALF; k++) {
        double w = kernel ? kernel[k + HALF] : 1;
        long from = k < 0 ? -k : 0, to = k > 0 ? n - k : n;
        for (long i = from; i < to; i++)
            out[i] += w * in[i + k];
    }
}

/* sum over the region of LoG(a - b)^2; b NULL: of LoG(a)^2. */
static int log_energy(double *energy, const kr_pair *p, const kr_seen *a, const kr_seen *b)
{
    long nx = p->nx, ny = p->ny, n = nx * ny;
    laplacian k = laplacian_of_gaussian(1.5);
    kr_auto double *room = kr_alloc((size_t)(3 * n + 3 * nx), sizeof *room);
    if (!room)
        return kr_error_code();
    double *smooth = room, *curved = smooth + n, *box = curved + n, *row = box + n, *other = row + nx, *out = other + nx;
    for (long j = 0; j < ny; j++) {
        see_row(row, a, j * nx, nx);
        if (b) {
            see_row(other, b, j * nx, nx);
            for (long i = 0; i < nx; i++)
                row[i] -= other[i];
        }
        along(smooth + j * nx, row, nx, k.g);
        along(curved + j * nx, row, nx, k.g2);
        along(box + j * nx, row, nx, NULL);
    }
    double sum = 0;
    for (long j = 0; j < ny; j++) {
        memset(out, 0, (size_t)nx * sizeof *out);
        for (long d = -HALF; d <= HALF; d++) {
            if (j + d < 0 || j + d >= ny)
                continue;
            const double *s = smooth + (j + d) * nx, *c = curved + (j + d) * nx, *f = box + (j + d) * nx;
            double g = k.g[d + HALF], g2 = k.g2[d + HALF];
            for (long i = 0; i < nx; i++)
                out[i] += g2 * s[i] + g * c[i] - k.mean * f[i];
        }
        for (long i = 0; i < nx; i++)
            if (!p->roi || p->roi[j * nx + i] != 0)
                sum += out[i] * out[i];
    }
    *energy = sum;
    return 0;
}

/* ---- VIF -------------------------------------------------------------------------------------------- */
typedef struct plane { double *p; long nx, ny; } plane;

/* out = valid part of in (or of in * times) with the separable Gaussian of n taps. */
static void smooth_valid(plane *out, const plane *in, const plane *times, const double *g, int n, double *row)
{
    out->nx = in->nx - n + 1;
    out->ny = in->ny - n + 1;
    for (long j = 0; j < out->ny; j++) {
        memset(row, 0, (size_t)in->nx * sizeof *row);
        for (long k = 0; k < n; k++) {
            const double *a = in->p + (j + k) * in->nx, *b = times ? times->p + (j + k) * in->nx : NULL;
            for (long i = 0; i < in->nx; i++)
                row[i] += g[k] * (b ? a[i] * b[i] : a[i]);
        }
        double *o = out->p + j * out->nx;
        memset(o, 0, (size_t)out->nx * sizeof *o);
        for (long k = 0; k < n; k++)
            for (long i = 0; i < out->nx; i++)
                o[i] += g[k] * row[i + k];
    }
}

static void every_second(plane *p)
{
    long nx = (p->nx + 1) / 2, ny = (p->ny + 1) / 2;
    for (long j = 0; j < ny; j++)
        for (long i = 0; i < nx; i++)
            p->p[j * nx + i] = p->p[2 * j * p->nx + 2 * i];
    p->nx = nx;
    p->ny = ny;
}

static void information(double sum[2], double tt, double rr, double tr, double noise)
{
    const double tiny = 1e-10;
    tt = tt < 0 ? 0 : tt;
    rr = rr < 0 ? 0 : rr;
    double g = tr / (tt + tiny), v = rr - g * tr;            /* r = g t + noise of variance v */
    if (tt < tiny) {
        g = 0;
        v = rr;
        tt = 0;
    }
    if (rr < tiny)
        g = v = 0;
    if (g < 0) {
        v = rr;
        g = 0;
    }
    v = v > tiny ? v : tiny;
    sum[0] += log10(1 + g * g * tt / (v + noise));
    sum[1] += log10(1 + tt / noise);
}

static int vif(double *out, const kr_pair *p, double noise)
{
    long n = p->nx * p->ny;
    *out = (double)NAN;
    if (p->nx < 41 || p->ny < 41 || p->roi)                  /* 41 leaves one pixel at the fourth scale */
        return 0;
    kr_auto double *room = kr_alloc((size_t)(7 * n + p->nx), sizeof *room);
    if (!room)
        return kr_error_code();
    double *row = room + 7 * n, sum[2] = { 0, 0 };
    plane t = { room, p->nx, p->ny }, r = { room + n, p->nx, p->ny }, mt = { room + 2 * n, 0, 0 }, mr = { room + 3 * n, 0, 0 };
    plane tt = { room + 4 * n, 0, 0 }, rr = { room + 5 * n, 0, 0 }, tr = { room + 6 * n, 0, 0 };
    see_row(t.p, &p->t, 0, n);
    see_row(r.p, &p->r, 0, n);
    for (int scale = 0; scale < 4; scale++) {
        int taps = (16 >> scale) + 1;
        double g[17], total = 0;
        for (int i = 0; i < taps; i++) {
            double d = i - taps / 2, sigma = taps / 5.0;
            total += g[i] = exp(-d * d / (2 * sigma * sigma));
        }
        for (int i = 0; i < taps; i++)
            g[i] /= total;
        if (scale > 0) {
            smooth_valid(&mt, &t, NULL, g, taps, row);
            smooth_valid(&mr, &r, NULL, g, taps, row);
            every_second(&mt);
            every_second(&mr);
            plane a = t, b = r;
            t = mt; r = mr; mt = a; mr = b;
        }
        smooth_valid(&mt, &t, NULL, g, taps, row);
        smooth_valid(&mr, &r, NULL, g, taps, row);
        smooth_valid(&tt, &t, &t, g, taps, row);
        smooth_valid(&rr, &r, &r, g, taps, row);
        smooth_valid(&tr, &t, &r, g, taps, row);
        for (long i = 0; i < mt.nx * mt.ny; i++)
            information(sum, tt.p[i] - mt.p[i] * mt.p[i], rr.p[i] - mr.p[i] * mr.p[i], tr.p[i] - mt.p[i] * mr.p[i], noise);
    }
    *out = sum[1] > 0 ? sum[0] / sum[1] : (double)NAN;
    return 0;
}

/* ---- One picture, for callers with plain memory ------------------------------------------------------- */
static kr_pair plain(const float *t, const float *r, long nx, long ny, double range)
{
    return (kr_pair){ .t = { t, 0, 1, false }, .r = { r, 0, 1, false }, .nx = nx, .ny = ny, .range = range, .ssim_range = range };
}

static int large_enough(long nx, long ny)
{
    return nx >= W && ny >= W ? 0 : kr_fail(KR_ESHAPE, "pictures of %ld x %ld are smaller than the window of SSIM, 7 x 7", nx, ny);
}

double kr_ssim(const float *target, const float *recon, long nx, long ny, double range)
{
    kr_pair p = plain(target, recon, nx, ny, range);
    double s = (double)NAN;
    if (large_enough(nx, ny))
        return s;
    if (!(range > 0))
        kr_fail(KR_ENUMBER, "SSIM needs a positive data range, not %g", range);
    else if (ssim(&s, &p, false, false))
        s = (double)NAN;
    return s;
}

int kr_ssim_map(float *map, const float *target, const float *recon, long nx, long ny, double range)
{
    kr_pair p = plain(target, recon, nx, ny, range);
    double s;
    p.map = map;
    if (large_enough(nx, ny) || (!(range > 0) && kr_fail(KR_ENUMBER, "SSIM needs a positive data range, not %g", range)) || ssim(&s, &p, false, false))
        return kr_error_code();
    for (long i = 0, h = W / 2; i < nx * ny; i++) {
        long x = i % nx, y = i / nx, u = x < h ? h : x >= nx - h ? nx - h - 1 : x, v = y < h ? h : y >= ny - h ? ny - h - 1 : y;
        map[i] = map[v * nx + u];
    }
    return 0;
}

double kr_hfen(const float *target, const float *recon, long nx, long ny)
{
    kr_pair p = plain(target, recon, nx, ny, 1);
    double d, t;
    if (log_energy(&d, &p, &p.t, &p.r) || log_energy(&t, &p, &p.t, NULL))
        return (double)NAN;
    return sqrt(d / t);
}

double kr_vif(const float *target, const float *recon, long nx, long ny, double sigma2)
{
    kr_pair p = plain(target, recon, nx, ny, 1);
    double v;
    return vif(&v, &p, sigma2) ? (double)NAN : v;
}

/* ---- Many pictures ------------------------------------------------------------------------------------ */
typedef struct sums { double se, tt, n, log_d, log_t; kr_extent extent; bool without; } sums;    /* of one picture; without: it gives no range */
typedef struct job {
    const kr_dialect *d;
    const float *t, *r, *roi;
    long nx, ny, count, group;       /* group: pictures in one                                          */
    bool many;
    kr_score *slice;
    sums *sums;
    double *range;
} job;

static int measure_extent(void *self, long i)
{
    job *j = self;
    long n = j->nx * j->ny;
    const float *t = j->t + i * n, *r = j->r + i * n;
    float a = t[0], b = t[0], c = r[0], d = r[0];
    for (long k = 0; k < n; k++) {
        a = t[k] < a ? t[k] : a;
        b = t[k] > b ? t[k] : b;
        c = r[k] < c ? r[k] : c;
        d = r[k] > d ? r[k] : d;
    }
    j->sums[i].extent = (kr_extent){ (double)a, (double)b, (double)c, (double)d };
    return 0;
}

static kr_extent group_extent(const job *j, long i)
{
    long first = i / j->group * j->group;
    kr_extent e = j->sums[first].extent;
    for (long k = first + 1; k < first + j->group; k++) {
        const kr_extent *o = &j->sums[k].extent;
        e.t_min = fmin(e.t_min, o->t_min);
        e.t_max = fmax(e.t_max, o->t_max);
        e.r_min = fmin(e.r_min, o->r_min);
        e.r_max = fmax(e.r_max, o->r_max);
    }
    return e;
}

static int measure_errors(sums *s, const kr_pair *p)
{
    kr_auto double *t = kr_alloc((size_t)p->nx, 2 * sizeof *t);
    if (!t)
        return kr_error_code();
    double *r = t + p->nx;
    for (long y = 0; y < p->ny; y++) {
        see_row(t, &p->t, y * p->nx, p->nx);
        see_row(r, &p->r, y * p->nx, p->nx);
        for (long x = 0; x < p->nx; x++) {
            double w = !p->roi || p->roi[y * p->nx + x] != 0;
            s->se += w * (t[x] - r[x]) * (t[x] - r[x]);
            s->tt += w * t[x] * t[x];
            s->n += w;
        }
    }
    return 0;
}

static double over(double a, double b) { return b > 0 ? a / b : (double)NAN; }
static double psnr(double range, double se, double n) { return n > 0 ? 10 * log10(range * range / (se / n)) : (double)NAN; }

static int measure_picture(void *self, long i)
{
    job *j = self;
    long n = j->nx * j->ny;
    kr_pair p = plain(j->t + i * n, j->r + i * n, j->nx, j->ny, 0);
    kr_extent e = group_extent(j, i);
    sums *s = &j->sums[i];
    kr_score *o = &j->slice[i];
    p.roi = j->roi ? j->roi + i * n : NULL;
    for (int k = 0; k < KR_MEASURES; k++)
        kr_score_set(o, k, (double)NAN);
    if (j->d->see(&p, &e, j->many)) {
        if (kr_error_code() != KR_ENUMBER || j->count / j->group < 2)
            return j->count > 1 ? kr_fail_in("picture %ld", i) : kr_error_code();
        kr_error_clear();                    /* one empty slice of many: its errors count where all pictures are summed, nothing else does */
        s->without = true;
        return j->d->pooled ? measure_errors(s, &p) || log_energy(&s->log_d, &p, &p.t, &p.r) || log_energy(&s->log_t, &p, &p.t, NULL) ? kr_error_code() : 0 : 0;
    }
    j->range[i] = p.range;
    if (p.ssim_range <= 0)
        p.ssim_range = p.range;
    if (ssim(&o->ssim, &p, j->d->biased, j->d->single) || measure_errors(s, &p) || log_energy(&s->log_d, &p, &p.t, &p.r) || log_energy(&s->log_t, &p, &p.t, NULL))
        return kr_error_code();
    o->psnr = psnr(p.range, s->se, s->n);
    o->nmse = over(s->se, s->tt);
    o->nrmse = sqrt(o->nmse);
    o->hfen = sqrt(over(s->log_d, s->log_t));
    return j->d->vif > 0 ? vif(&o->vif, &p, j->d->vif) : 0;
}

static double mean_of(const kr_score *s, long n, int measure)
{
    double sum = 0, count = 0;
    for (long i = 0; i < n; i++) {
        double v = kr_score_get(&s[i], measure);
        if (!isnan(v)) {
            sum += v;
            count++;
        }
    }
    return over(sum, count);
}

static double mean_psnr(const job *j)
{
    double sum = 0, count = 0;
    for (long g = 0; g < j->count; g += j->group) {
        double se = 0, n = 0;
        for (long i = g; i < g + j->group; i++) {
            se += j->sums[i].se;
            n += j->sums[i].n;
        }
        double v = psnr(j->range[g], se, n);
        if (!isnan(v) && !j->sums[g].without) {
            sum += v;
            count++;
        }
    }
    return over(sum, count);
}

static void score_volume(kr_score *v, const job *j)
{
    for (int k = 0; k < KR_MEASURES; k++)
        kr_score_set(v, k, mean_of(j->slice, j->count, k));
    v->psnr = mean_psnr(j);
    if (!j->d->pooled)
        return;
    sums a = { 0 };
    for (long i = 0; i < j->count; i++) {
        a.se += j->sums[i].se;
        a.tt += j->sums[i].tt;
        a.log_d += j->sums[i].log_d;
        a.log_t += j->sums[i].log_t;
    }
    v->nmse = over(a.se, a.tt);
    v->nrmse = sqrt(v->nmse);
    v->hfen = sqrt(over(a.log_d, a.log_t));
}

/* More than one frame: an axis after SLICE, or Z beside SLICE. */
static bool has_frames(const kr_array *a)
{
    bool frames = a->n[KR_Z] > 1 && a->n[KR_SLICE] > 1;
    for (int d = KR_SLICE + 1; d < KR_AXES; d++)
        frames = frames || a->n[d] > 1;
    return frames;
}

static int check(const kr_array *t, const kr_array *r, const kr_array *roi)
{
    if (!kr_shape_equal(kr_array_shape(t), kr_array_shape(r)))
        return kr_fail(KR_ESHAPE, "the target is %s, the reconstruction %s", kr_shape_text(kr_array_shape(t)), kr_shape_text(kr_array_shape(r)));
    if (roi && !kr_shape_equal(kr_array_shape(t), kr_array_shape(roi)))
        return kr_fail(KR_ESHAPE, "the region is %s, the images are %s", kr_shape_text(kr_array_shape(roi)), kr_shape_text(kr_array_shape(t)));
    if (t->type != KR_R32 || r->type != KR_R32 || (roi && roi->type != KR_R32))
        return kr_fail(KR_ESHAPE, "scores are of real images; take the magnitude of complex ones");
    if (large_enough(t->n[KR_X], t->n[KR_Y]))
        return kr_error_code();
    if (!kr_all_finite(t) || !kr_all_finite(r))
        return kr_fail(KR_ENUMBER, "the %s holds numbers that are not finite", kr_all_finite(t) ? "reconstruction" : "target");
    if (!(kr_max_abs(t) > 0))
        return kr_fail(KR_ENUMBER, "the target is all zero");
    if (roi && !(kr_max_abs(roi) > 0))
        return kr_fail(KR_ENUMBER, "the region of interest is empty");
    return 0;
}

int kr_score_by(const kr_dialect *d, kr_score *slice, kr_score *volume, const kr_array *target, const kr_array *recon, const kr_array *roi)
{
    if (check(target, recon, roi))
        return kr_error_code();
    kr_scoped(array) t = kr_array_packed(target);
    kr_scoped(array) r = kr_array_packed(recon);
    kr_scoped(array) m = roi ? kr_array_packed(roi) : NULL;
    long n = t ? kr_count(kr_array_shape(t)) / (t->n[KR_X] * t->n[KR_Y]) : 1;
    kr_auto sums *s = kr_alloc_zero((size_t)n, sizeof *s);
    kr_auto double *range = kr_alloc_zero((size_t)n, sizeof *range);
    if (!t || !r || (roi && !m) || !s || !range)
        return kr_error_code();
    job j = { d, t->data, r->data, m ? m->data : NULL, t->n[KR_X], t->n[KR_Y], n,
              d->group == KR_GROUP_VOLUME ? n : d->group == KR_GROUP_BLOCK ? t->n[KR_Z] : 1, has_frames(t), slice, s, range };
    int e = kr_for(n, measure_extent, &j);
    e = e ? e : kr_for(n, measure_picture, &j);
    long without = 0;
    for (long i = 0; !e && i < n; i++)
        without += s[i].without;
    if (without == n)
        return kr_fail(KR_ENUMBER, "no picture of the %s can be scored: each is the same everywhere", kr_max_abs(r) > 0 ? "target" : "reconstruction");
    if (!e)
        score_volume(volume, &j);
    return e;
}

/* ---- The ranking crop ----------------------------------------------------------------------------------- */
static int part(kr_array **a, int axis, long from, long count)
{
    kr_array *c = kr_array_range(*a, axis, from, count);
    if (!c)
        return kr_error_code();
    kr_array_unref(a);
    *a = c;
    return 0;
}

static int middle(kr_array **a, int axis, long count)        /* as the challenge's crop: from floor(n/2) - floor(count/2) */
{
    return part(a, axis, (*a)->n[axis] / 2 - count / 2, count);
}

int kr_crop_ranking(kr_array **image, bool all_frames)
{
    kr_array *a = *image;
    long nx = (2 * a->n[KR_X] + 3) / 6, ny = (a->n[KR_Y] + 1) / 2;       /* n/3 and n/2, halves rounded up */
    int slices = a->n[KR_SLICE] > 1 || a->n[KR_Z] == 1 ? KR_SLICE : KR_Z;
    long sz = a->n[slices];
    if (nx < 1 || ny < 1)
        return kr_fail(KR_ESHAPE, "an image of %s has no middle to rank", kr_shape_text(kr_array_shape(a)));
    if (middle(image, KR_X, nx) || middle(image, KR_Y, ny))
        return kr_error_code();
    if (sz >= 3 && part(image, slices, (sz + 1) / 2 - 2, 2))             /* 1-based round(sz/2)-1 and round(sz/2) */
        return kr_error_code();
    for (int d = KR_SLICE + 1; !all_frames && d < KR_AXES; d++)
        if ((*image)->n[d] > 3 && part(image, d, 0, 3))
            return kr_error_code();
    return 0;
}

/* ---- Statistics of a set ---------------------------------------------------------------------------------- */
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, long n, double q)         /* linear between the two nearest */
{
    double at = q * (double)(n - 1);
    long i = (long)at;
    return i + 1 < n && sorted[i] != sorted[i + 1] ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

int kr_summarise(kr_summary *out, const double *value, long n)
{
    enum { RESAMPLES = 10000 };
    kr_auto double *v = kr_alloc((size_t)(n > 0 ? n : 1), sizeof *v), *m = kr_alloc(RESAMPLES, sizeof *m);
    if (!v || !m)
        return kr_error_code();
    long k = 0;
    double sum = 0, squares = 0;
    for (long i = 0; i < n; i++)
        if (!isnan(value[i]))
            sum += v[k++] = value[i];
    *out = (kr_summary){ k, over(sum, (double)k), (double)NAN, (double)NAN, (double)NAN };
    if (k < 2)
        return 0;
    for (long i = 0; i < k; i++)
        squares += (v[i] - out->mean) * (v[i] - out->mean);
    out->sd = sqrt(squares / (double)(k - 1));
    for (long b = 0; b < RESAMPLES; b++) {
        double s = 0;
        for (long i = 0; i < k; i++)
            s += v[kr_rand_bits(95, (uint64_t)b, (uint64_t)i) % (uint64_t)k];
        m[b] = s / (double)k;
    }
    qsort(m, RESAMPLES, sizeof *m, ascending);
    out->low = percentile(m, RESAMPLES, 0.025);
    out->high = percentile(m, RESAMPLES, 0.975);
    return 0;
}
