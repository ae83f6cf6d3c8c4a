/* series.c: filtered projections of a parallel beam into a slice by their Fourier series: what pixel r takes from a view is the row between its elements,
 * sum over k of Q_k exp(2 pi i k m(r) / P), m(r) linear in r, and the sum over views is a Fourier transform from points of k-space to the image. */
#include "kray/fourier.h"
#include "kray/nufft.h"
#include "project.h"
#include <math.h>
#include <string.h>

/* Of each view: element m0 + i a + j b lies under pixel (i, j). */
struct under { double m0, a, b; };

static struct under under(const kr_rays *r, const kr_grid *g, long view)
{
    const double *d = r->source[view], *c = r->centre[view], *u = r->u[view];
    double in = 1 / (u[0] * d[1] - u[1] * d[0]);                     /* cross products with the direction */
    return (struct under){ ((g->first[0] - c[0]) * d[1] - (g->first[1] - c[1]) * d[0]) * in + (double)(r->columns - 1) / 2, g->step[0] * d[1] * in, -g->step[1] * d[0] * in };
}

struct spectra { const float *p; const kr_rays *r; const kr_grid *g; long P, half; kr_fft *fft; kr_cfloat *scratch, *y; float *k[2]; };

static int spectrum(void *self, long view)
{
    const struct spectra *s = self;
    struct under at = under(s->r, s->g, view);
    kr_cfloat *c = s->scratch + (long)kr_worker() * s->P, *y = s->y + view * s->half;
    double middle = at.m0 + (double)(s->g->n[0] / 2) * at.a + (double)(s->g->n[1] / 2) * at.b;      /* under the image's own origin */
    memset(c, 0, (size_t)s->P * sizeof *c);
    for (long i = 0; i < s->r->columns; i++)
        c[i] = kr_c(s->p[view * s->r->columns + i], 0);
    kr_fft_forward(s->fft, c);
    for (long k = 0; k < s->half; k++) {                             /* of real rows: twice the real part of half of them */
        double turn = 2 * M_PI * fmod((double)k * middle, (double)s->P) / (double)s->P, w = (k && 2 * k < s->P ? 2 : 1) / sqrt((double)s->P);
        double co = w * cos(turn), si = w * sin(turn), re = (double)kr_re(c[k]), im = (double)kr_im(c[k]);
        y[k] = kr_c((float)(re * co - im * si), (float)(re * si + im * co));
        s->k[0][view * s->half + k] = (float)((double)k / (double)s->P * at.a * (double)s->g->n[0]);
        s->k[1][view * s->half + k] = (float)((double)k / (double)s->P * at.b * (double)s->g->n[1]);
    }
    return 0;
}

int ray_gridded(float *x, const float *p, const kr_rays *r, const kr_grid *g, double tolerance)
{
    struct spectra s = { .p = p, .r = r, .g = g, .P = 64 };
    while (s.P < r->columns)
        s.P *= 2;
    s.half = s.P / 2 + 1;
    long points = r->views * s.half, n = g->n[0] * g->n[1];
    kr_auto kr_cfloat *scratch = kr_alloc((size_t)s.P, (size_t)kr_threads() * sizeof *scratch), *y = kr_alloc((size_t)points, sizeof *y), *image = kr_alloc((size_t)n, sizeof *image);
    kr_auto float *k = kr_alloc((size_t)points, 2 * sizeof *k);
    s.fft = scratch && y && image && k ? kr_fft_new(KR_SHAPE([KR_X] = s.P), KR_ON(KR_X), KR_SERIAL) : NULL;
    s.scratch = scratch;
    s.y = y;
    s.k[0] = k;
    s.k[1] = k ? k + points : NULL;
    int e = s.fft ? kr_for(r->views, spectrum, &s) : kr_error_code();
    kr_fft_unref(&s.fft);
    kr_nufft *f = e ? NULL : kr_nufft_new(g->n, points, (const float *const[3]){ s.k[0], s.k[1], NULL }, 1, tolerance);
    if (!f)
        return e ? e : kr_error_code();
    kr_nufft_adjoint(f, image, y, 1);
    kr_nufft_unref(&f);
    for (long i = 0; i < n; i++)
        x[i] = (float)(sqrt((double)n) * (double)kr_re(image[i]));
    return 0;
}
