/* prox_wavelet.c: l1 of orthogonal wavelet coefficients: W^H of their shrinkage. */
#include "kray/prox.h"
#include "kray/wavelet.h"
#include "proxkern.h"
#include <math.h>

enum { BLOCK = 1 << 13 };
struct wavelets { kr_wavelet *W; int width; double lambda; bool shifts; long n[3], shift[3], count; };
struct job { float *c; int width; float t; long n; double *sum; };

static int shrink(void *self, long i)
{
    const struct job *j = self;
    long left = j->n - i * BLOCK, n = left < BLOCK ? left : BLOCK;
    float *c = j->c + j->width * i * BLOCK;
    if (j->sum)
        j->sum[i] = kr_proxkern_best()->norms(c, n, 1, 0, j->width);
    else
        kr_proxkern_best()->soft(c, c, j->t, n, 1, 0, j->width);
    return 0;
}

static void apply(void *self, float t, kr_array *z, const kr_array *v)
{
    const struct wavelets *s = self;
    kr_wavelet_forward(s->W, z->data, v->data, s->shift);            /* z = W^H soft(W v) */
    struct job j = { z->data, s->width, (float)s->lambda * t, s->count, NULL };
    int e = kr_for((s->count + BLOCK - 1) / BLOCK, shrink, &j);
    kr_assert(!e);
    kr_wavelet_inverse(s->W, z->data, z->data, s->shift);
}

static double value(void *self, const kr_array *u)
{
    const struct wavelets *s = self;
    long blocks = (s->count + BLOCK - 1) / BLOCK;
    kr_scoped(array) c = kr_array_like(u);
    kr_auto double *sum = kr_alloc((size_t)blocks, sizeof *sum);
    if (!c || !sum)
        return NAN;
    kr_wavelet_forward(s->W, c->data, u->data, s->shift);
    struct job j = { c->data, s->width, 0, s->count, sum };
    int e = kr_for(blocks, shrink, &j);
    kr_assert(!e);
    double all = 0;
    for (long i = 0; i < blocks; i++)
        all += sum[i];
    return s->lambda * all;
}

static bool next(void *self, long k)
{
    struct wavelets *s = self;
    for (int d = 0; d < 3 && s->shifts; d++)
        s->shift[d] = kr_prox_place(k, d) % s->n[d];
    return s->shifts;
}

static void destroy(void *self)
{
    struct wavelets *s = self;
    kr_wavelet_unref(&s->W);
    kr_free(s);
}

static const kr_prox_ops ops = { "wavelet", apply, value, next, destroy };

kr_prox *kr_prox_wavelet(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels, double lambda, bool shifts)
{
    if (!(lambda >= 0) || !isfinite(lambda)) {
        kr_fail(KR_EREFUSED, "a regularisation of strength %g; it must not be negative", lambda);
        return NULL;
    }
    struct wavelets *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->lambda = lambda;
    s->width = type == KR_C32 ? 2 : 1;
    s->shifts = shifts;
    s->count = kr_count(shape);
    for (int d = 0; d < 3; d++)
        s->n[d] = shape.n[d] > 1 ? shape.n[d] : 1;
    s->W = kr_wavelet_new(type, shape, axes, order, levels);
    if (!s->W) {
        destroy(s);
        return NULL;
    }
    return kr_prox_new(&ops, type, shape, s);
}
