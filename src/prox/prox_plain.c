/* prox_plain.c: regularisers that act on every number, or vector along CHAN, alone: squares, and l1, also of a spectrum. */
#include "kray/fourier.h"
#include "kray/prox.h"
#include "proxkern.h"
#include <math.h>

enum { BLOCK = 1 << 13 };
struct plain { double lambda; long points, parts; kr_fft *spectrum; kr_array *c; };
struct job { const struct plain *s; kr_cfloat *z; const kr_cfloat *v; float t; double *sum; };

static int good(double lambda)
{
    return lambda >= 0 && isfinite(lambda) ? 0 : kr_fail(KR_EREFUSED, "a regularisation of strength %g; it must not be negative", lambda);
}

static void l2_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    const struct plain *s = self;
    kr_array_assign(z, v);
    kr_scale(z, (float)(1 / (1 + (double)t * s->lambda)));
}

static double l2_value(void *self, const kr_array *u) { return ((struct plain *)self)->lambda / 2 * kr_dot_re(u, u); }

static int shrink(void *self, long i)
{
    const struct job *j = self;
    long from = i * BLOCK, left = j->s->points - from, n = left < BLOCK ? left : BLOCK;
    kr_proxkern_best()->soft((float *)(j->z + from), (const float *)(j->v + from), j->t, n, j->s->parts, j->s->points);
    return 0;
}

static int measure(void *self, long i)
{
    const struct job *j = self;
    long from = i * BLOCK, left = j->s->points - from, n = left < BLOCK ? left : BLOCK;
    j->sum[i] = kr_proxkern_best()->norms((const float *)(j->v + from), n, j->s->parts, j->s->points);
    return 0;
}

static long blocks(const struct plain *s) { return (s->points + BLOCK - 1) / BLOCK; }

static void soft(const struct plain *s, float t, kr_cfloat *z, const kr_cfloat *v)
{
    struct job j = { s, z, v, (float)s->lambda * t, NULL };
    int e = kr_for(blocks(s), shrink, &j);
    kr_assert(!e);
}

static double norms(const struct plain *s, const kr_cfloat *u)
{
    kr_auto double *sum = kr_alloc((size_t)blocks(s), sizeof *sum);
    struct job j = { s, NULL, u, 0, sum };
    if (!sum || kr_for(blocks(s), measure, &j))
        return NAN;
    double all = 0;
    for (long i = 0; i < blocks(s); i++)
        all += sum[i];
    return s->lambda * all;
}

static void l1_apply(void *self, float t, kr_array *z, const kr_array *v) { soft(self, t, z->data, v->data); }
static double l1_value(void *self, const kr_array *u) { return norms(self, u->data); }

static void spectrum_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    const struct plain *s = self;
    kr_fft_forward_to(s->spectrum, s->c->data, v->data);
    soft(s, t, z->data, s->c->data);
    kr_fft_inverse(s->spectrum, z->data);
}

static double spectrum_value(void *self, const kr_array *u)
{
    const struct plain *s = self;
    kr_fft_forward_to(s->spectrum, s->c->data, u->data);
    return norms(s, s->c->data);
}

static void destroy(void *self)
{
    struct plain *s = self;
    kr_fft_unref(&s->spectrum);
    kr_array_unref(&s->c);
    kr_free(s);
}

static const kr_prox_ops l2_ops = { "l2", l2_apply, l2_value, NULL, destroy };
static const kr_prox_ops l1_ops = { "l1", l1_apply, l1_value, NULL, destroy };
static const kr_prox_ops spectrum_ops = { "spectrum", spectrum_apply, spectrum_value, NULL, destroy };

static struct plain *plan(kr_shape shape, double lambda)
{
    struct plain *s = good(lambda) ? NULL : kr_alloc_zero(1, sizeof *s);
    if (s) {
        s->lambda = lambda;
        s->parts = shape.n[KR_CHAN] > 1 ? shape.n[KR_CHAN] : 1;
        s->points = kr_count(shape) / s->parts;
    }
    return s;
}

kr_prox *kr_prox_l2(kr_shape shape, double lambda) { return kr_prox_new(&l2_ops, shape, plan(shape, lambda)); }
kr_prox *kr_prox_l1(kr_shape shape, double lambda) { return kr_prox_new(&l1_ops, shape, plan(shape, lambda)); }

kr_prox *kr_prox_spectrum(kr_shape shape, int axis, double lambda)
{
    struct plain *s = plan(shape, lambda);
    if (!s)
        return NULL;
    s->points *= s->parts;
    s->parts = 1;
    s->c = kr_array_new(KR_C32, shape);
    s->spectrum = s->c ? kr_fft_new(shape, KR_ON(axis), KR_CENTRED) : NULL;
    if (!s->spectrum) {
        destroy(s);
        return NULL;
    }
    return kr_prox_new(&spectrum_ops, shape, s);
}
