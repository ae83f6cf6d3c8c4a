/* series.c: projections of a parallel beam, filtered and put into slices by their Fourier series: what pixel r takes from a view is the row between its elements,
 * sum over k of H_k Q_k exp(2 pi i k m(r) / P), m(r) linear in r, and the sum over views is a Fourier transform from points of k-space to the image. Points and weights of that are
 * the same for all slices of a stack. */
#include "kray/fourier.h"
#include "kray/nufft.h"
#include "project.h"
#include "smooth.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of each view: element m0 + i a + j b lies under pixel (i, j). */
struct under { double m0, a, b; };

static struct under under(const kr_rays *r, const kr_grid *g, long view)
{
    const double *d = r->source[view], *c = r->centre[view], *u = r->u[view];
    double in = 1 / (u[0] * d[1] - u[1] * d[0]);                     /* cross products with the direction */
    return (struct under){ ((g->first[0] - c[0]) * d[1] - (g->first[1] - c[1]) * d[0]) * in + (double)(r->columns - 1) / 2, g->step[0] * d[1] * in, -g->step[1] * d[0] * in };
}

/* How many elements pixels lie beyond the ends of the detector, at most. */
static long beyond(const kr_rays *r, const kr_grid *g)
{
    double out = 0;
    for (long v = 0; v < r->views; v++) {
        struct under at = under(r, g, v);
        for (int c = 0; c < 4; c++) {
            double m = at.m0 + (c & 1 ? at.a * (double)(g->n[0] - 1) : 0) + (c & 2 ? at.b * (double)(g->n[1] - 1) : 0);
            out = fmax(out, fmax(-m, m - (double)(r->columns - 1)));
        }
    }
    return (long)ceil(out);
}

/* Of two slices at once, as real and imaginary part, all frequencies; of a single one half of them, twice: it is real. */
enum { TURNS = 64 };
struct spectra { const float *const *y; const ray_rows *rows; const double *scale; const float *H; const kr_rays *r; const kr_grid *g; long P, first, each, slices; kr_fft *fft; kr_cfloat *scratch, *to; float *k[2]; };

static kr_cfloat times(kr_cfloat a, kr_cfloat b) { return kr_c(kr_re(a) * kr_re(b) - kr_im(a) * kr_im(b), kr_re(a) * kr_im(b) + kr_im(a) * kr_re(b)); }

static int spectrum(void *self, long view)
{
    const struct spectra *s = self;
    const ray_rows *rows = s->rows;
    struct under at = under(s->r, s->g, view);
    long P = s->P, at_y = view * rows->in;
    kr_cfloat *c = s->scratch + (long)kr_worker() * (P + s->each), *turn = c + P, few[TURNS];
    const float *w = rows->weight + view * rows->n + rows->lead;
    double middle = at.m0 + (double)(s->g->n[0] / 2) * at.a + (double)(s->g->n[1] / 2) * at.b, per = s->scale[view] / sqrt((double)P);      /* under the image's own origin */
    for (long k = 0; k < TURNS; k++) {
        double phase = 2 * M_PI * fmod((double)k * middle / (double)P, 1);
        few[k] = kr_c((float)cos(phase), (float)sin(phase));
    }
    for (long i = 0; i < s->each; i += TURNS) {                      /* what frequency first + i is to be multiplied with */
        double phase = 2 * M_PI * fmod((double)(s->first + i) * middle / (double)P, 1);
        kr_cfloat base = kr_c((float)cos(phase), (float)sin(phase));
        for (long j = i; j < i + TURNS && j < s->each; j++) {
            long k = labs(s->first + j);
            double share = s->first ? (2 * k == P ? 0.5 : 1) : (k && 2 * k < P ? 2 : 1);
            kr_cfloat t = times(base, few[j - i]);
            float h = (float)(share * per) * s->H[k];
            turn[j] = kr_c(h * kr_re(t), h * kr_im(t));
            s->k[0][view * s->each + j] = (float)((double)(s->first + j) / (double)P * at.a * (double)s->g->n[0]);
            s->k[1][view * s->each + j] = (float)((double)(s->first + j) / (double)P * at.b * (double)s->g->n[1]);
        }
    }
    for (long slice = 0; slice < s->slices; slice += 2) {
        const float *a = s->y[slice] + at_y, *b = slice + 1 < s->slices ? s->y[slice + 1] + at_y : NULL;
        kr_cfloat *to = s->to + (slice / 2 * s->r->views + view) * s->each;
        memset(c, 0, (size_t)P * sizeof *c);
        for (long i = 0; i < rows->in; i++)
            c[rows->lead + i] = kr_c(w[i] * a[i], b ? w[i] * b[i] : 0);
        kr_fft_forward(s->fft, c);
        for (long j = 0; j < -s->first; j++)
            to[j] = times(c[P + s->first + j], turn[j]);
        for (long j = -s->first; j < s->each; j++)
            to[j] = times(c[s->first + j], turn[j]);
    }
    return 0;
}

int ray_gridded(float *const *x, const float *const *y, long slices, const kr_rays *r, const kr_grid *g, const ray_rows *rows, const double *scale, enum kr_fbp_window window, double tolerance)
{
    long n = g->n[0] * g->n[1], pairs = (slices + 1) / 2;
    /* twice what rows reach: what their filter makes of one end never comes back at the other */
    long reach = 2 * (r->columns + beyond(r, g));
    struct spectra s = { .y = y, .rows = rows, .scale = scale, .r = r, .g = g, .P = smooth_from(reach > 64 ? reach : 64, 16), .slices = slices };
    s.first = slices > 1 ? -s.P / 2 : 0;
    s.each = s.P / 2 + 1 - s.first;
    long points = r->views * s.each;
    kr_auto double *ramp = kr_alloc((size_t)s.P / 2 + 1, sizeof *ramp);
    kr_auto float *H = kr_alloc((size_t)s.P / 2 + 1, sizeof *H), *k = kr_alloc((size_t)points, 2 * sizeof *k);
    kr_auto kr_cfloat *scratch = kr_alloc((size_t)(s.P + s.each), (size_t)kr_threads() * sizeof *scratch), *to = kr_alloc((size_t)points, (size_t)pairs * sizeof *to);
    s.fft = ramp && H && k && scratch && to ? kr_fft_new(KR_SHAPE([KR_X] = s.P), KR_ON(KR_X), KR_SERIAL) : NULL;
    if (!s.fft)
        return kr_error_code();
    kr_fbp_filter(ramp, s.P, window, 0);
    for (long i = 0; i <= s.P / 2; i++)
        H[i] = (float)ramp[i];
    s.H = H;
    s.scratch = scratch;
    s.to = to;
    s.k[0] = k;
    s.k[1] = k + points;
    int e = kr_for(r->views, spectrum, &s);
    kr_fft_unref(&s.fft);
    kr_auto kr_cfloat *image = e ? NULL : kr_alloc((size_t)n, (size_t)pairs * sizeof *image);
    kr_nufft *f = image ? kr_nufft_new(g->n, points, (const float *const[3]){ s.k[0], s.k[1], NULL }, pairs, tolerance) : NULL;
    if (!f)
        return e ? e : kr_error_code();
    kr_nufft_adjoint(f, image, to, pairs);
    kr_nufft_unref(&f);
    float size = (float)sqrt((double)n);
    for (long slice = 0; slice < slices; slice++)
        for (long i = 0; i < n; i++) {
            kr_cfloat z = image[slice / 2 * n + i];
            x[slice][i] = size * (slice % 2 ? kr_im(z) : kr_re(z));
        }
    return 0;
}
