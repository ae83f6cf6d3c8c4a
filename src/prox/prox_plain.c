/* prox_plain.c: regularisers that act on every number, or vector along CHAN, alone: squares, and l1, also of a spectrum. */
#include "kray/fourier.h"
#include "kray/prox.h"
#include "proxkern.h"
#include <math.h>

enum { BLOCK = 1 << 13 };
struct plain { double lambda; long points, parts; int width; kr_fft *spectrum; kr_array *c, *power; };
struct job { const struct plain *s; void *z; const void *v; float t; double *sum; };

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
    int w = j->s->width;
    kr_proxkern_best()->soft((float *)j->z + w * from, (const float *)j->v + w * from, j->t, n, j->s->parts, j->s->points, w);
    return 0;
}

static int measure(void *self, long i)
{
    const struct job *j = self;
    long from = i * BLOCK, left = j->s->points - from, n = left < BLOCK ? left : BLOCK;
    j->sum[i] = kr_proxkern_best()->norms((const float *)j->v + j->s->width * from, n, j->s->parts, j->s->points, j->s->width);
    return 0;
}

static long blocks(const struct plain *s) { return (s->points + BLOCK - 1) / BLOCK; }

static void soft(const struct plain *s, float t, void *z, const void *v)
{
    struct job j = { s, z, v, (float)s->lambda * t, NULL };
    int e = kr_for(blocks(s), shrink, &j);
    kr_assert(!e);
}

static int keep(void *self, long i)
{
    const struct job *j = self;
    long from = i * BLOCK, left = j->s->points - from, n = left < BLOCK ? left : BLOCK;
    kr_proxkern_best()->inside((float *)j->z + j->s->width * from, j->t, n, j->s->parts, j->s->points, j->s->width);
    return 0;
}

static void l1_dual(void *self, kr_array *p)                         /* |p| at most lambda */
{
    const struct plain *s = self;
    struct job j = { s, p->data, NULL, (float)s->lambda, NULL };
    int e = kr_for(blocks(s), keep, &j);
    kr_assert(!e);
}

static double norms(const struct plain *s, const void *u)
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

static int shrink_by_power(void *self, long i)
{
    const struct job *j = self;
    long from = i * BLOCK, left = j->s->points - from, n = left < BLOCK ? left : BLOCK;
    const float *p = KR_R(j->s->power) + from;
    float t = (float)j->s->lambda * j->t;
    kr_cfloat *z = (kr_cfloat *)j->z + from;
    const kr_cfloat *v = (const kr_cfloat *)j->v + from;
    for (long k = 0; k < n; k++) {
        float f = p[k] / (p[k] + t);
        z[k] = kr_c(f * kr_re(v[k]), f * kr_im(v[k]));
    }
    return 0;
}

static void power_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    const struct plain *s = self;
    kr_fft_forward_to(s->spectrum, s->c->data, v->data);
    struct job j = { s, z->data, s->c->data, t, NULL };
    int e = kr_for(blocks(s), shrink_by_power, &j);
    kr_assert(!e);
    kr_fft_inverse(s->spectrum, z->data);
}

static double power_value(void *self, const kr_array *u)
{
    const struct plain *s = self;
    kr_fft_forward_to(s->spectrum, s->c->data, u->data);
    double sum = 0;
    for (long i = 0; i < s->points; i++)
        sum += (double)kr_cabs2(KR_C(s->c)[i]) / (double)KR_R(s->power)[i];
    return s->lambda / 2 * sum;
}

static void destroy(void *self)
{
    struct plain *s = self;
    kr_array_unref(&s->power);
    kr_fft_unref(&s->spectrum);
    kr_array_unref(&s->c);
    kr_free(s);
}

static const kr_prox_ops l2_ops = { "l2", l2_apply, l2_value, NULL, destroy };
static const kr_prox_ops l1_ops = { "l1", l1_apply, l1_value, NULL, destroy, NULL, l1_dual };
static const kr_prox_ops power_ops = { "power", power_apply, power_value, NULL, destroy };
static const kr_prox_ops spectrum_ops = { "spectrum", spectrum_apply, spectrum_value, NULL, destroy };

static struct plain *plan(enum kr_type type, kr_shape shape, double lambda)
{
    struct plain *s = good(lambda) ? NULL : kr_alloc_zero(1, sizeof *s);
    if (s) {
        s->lambda = lambda;
        s->width = type == KR_C32 ? 2 : 1;
        s->parts = shape.n[KR_CHAN] > 1 ? shape.n[KR_CHAN] : 1;
        s->points = kr_count(shape) / s->parts;
    }
    return s;
}

kr_prox *kr_prox_l2(enum kr_type type, kr_shape shape, double lambda) { return kr_prox_new(&l2_ops, type, shape, plan(type, shape, lambda)); }
kr_prox *kr_prox_l1(enum kr_type type, kr_shape shape, double lambda) { return kr_prox_new(&l1_ops, type, shape, plan(type, shape, lambda)); }

static struct plain *plan_spectrum(kr_shape shape, int axis, double lambda)
{
    struct plain *s = plan(KR_C32, shape, lambda);
    if (!s)
        return NULL;
    s->points *= s->parts;
    s->parts = 1;
    s->c = kr_array_new(KR_C32, shape);
    s->spectrum = s->c ? kr_fft_new(shape, KR_ON(axis), KR_CENTRED) : NULL;
    if (s->spectrum)
        return s;
    destroy(s);
    return NULL;
}

kr_prox *kr_prox_spectrum(enum kr_type type, kr_shape shape, int axis, double lambda)
{
    return kr_prox_as(type, kr_prox_new(&spectrum_ops, KR_C32, shape, plan_spectrum(shape, axis, lambda)));
}

/* A copy in which nothing is less likely than 1e-6 of the likeliest. */
static kr_array *bounded(kr_shape shape, const kr_array *power)
{
    double most = 0, least = 0;
    long n = kr_count(shape);
    if (power->type != KR_R32 || !kr_shape_equal(kr_array_shape(power), shape)) {
        kr_fail(KR_ESHAPE, "the expected power is %s, the series %s", kr_shape_text(kr_array_shape(power)), kr_shape_text(shape));
        return NULL;
    }
    kr_array *p = kr_array_copy(power);
    for (long i = 0; p && i < n; i++) {
        least = fmin(least, (double)KR_R(p)[i]);
        most = fmax(most, isfinite(KR_R(p)[i]) ? (double)KR_R(p)[i] : INFINITY);
    }
    if (p && (least < 0 || !(most > 0) || !isfinite(most))) {
        kr_fail(KR_ENUMBER, "the expected power of the series is 0, negative or not finite");
        kr_array_unref(&p);
    }
    for (long i = 0; p && i < n; i++)
        KR_R(p)[i] = fmaxf(KR_R(p)[i], (float)(1e-6 * most));
    return p;
}

kr_prox *kr_prox_power(kr_shape shape, int axis, const kr_array *power, double lambda)
{
    struct plain *s = plan_spectrum(shape, axis, lambda);
    if (!s)
        return NULL;
    s->power = bounded(shape, power);
    if (!s->power) {
        destroy(s);
        return NULL;
    }
    return kr_prox_new(&power_ops, KR_C32, shape, s);
}
