/* prox_wavelet.c: l1 of orthogonal wavelet coefficients: W^H of their shrinkage. */
#include "kray/prox.h"
#include "kray/wavelet.h"
#include "proxkern.h"
#include <math.h>

enum { BLOCK = 1 << 13 };
struct wavelets { kr_shrink *prox; int width; double lambda; bool shifts; long n[3], shift[3], count; };
struct job { const float *c; int width; long n; double *sum; };

static int norms(void *self, long i)
{
    const struct job *j = self;
    long left = j->n - i * BLOCK;
    j->sum[i] = kr_proxkern_best()->norms(j->c + j->width * i * BLOCK, left < BLOCK ? left : BLOCK, 1, 0, j->width);
    return 0;
}

static void apply(void *self, float t, kr_array *z, const kr_array *v)
{
    const struct wavelets *s = self;
    kr_shrink_apply(s->prox, z->data, v->data, (float)s->lambda * t, &s->shift, 1);
}

static void place(const struct wavelets *s, long k, long shift[3])
{
    for (int d = 0; d < 3 && s->shifts; d++)
        shift[d] = kr_prox_place(k, d) % s->n[d];
}

static void mean(void *self, long places, float t, kr_array *z, const kr_array *v)
{
    const struct wavelets *s = self;
    long shift[KR_PLACES][3] = { { 0 } };
    for (long k = 0; k < places; k++)
        place(s, k, shift[k]);
    kr_shrink_apply(s->prox, z->data, v->data, (float)s->lambda * t, shift, places);
}

static double value(void *self, const kr_array *u)
{
    const struct wavelets *s = self;
    long blocks = (s->count + BLOCK - 1) / BLOCK;
    kr_scoped(array) c = kr_array_like(u);
    kr_auto double *sum = kr_alloc((size_t)blocks, sizeof *sum);
    if (!c || !sum)
        return NAN;
    kr_wavelet_forward(kr_shrink_wavelet(s->prox), c->data, u->data, s->shift);
    struct job j = { c->data, s->width, s->count, sum };
    int e = kr_for(blocks, norms, &j);
    kr_assert(!e);
    double all = 0;
    for (long i = 0; i < blocks; i++)
        all += sum[i];
    return s->lambda * all;
}

static bool next(void *self, long k)
{
    struct wavelets *s = self;
    place(s, k, s->shift);
    return s->shifts;
}

static void destroy(void *self)
{
    struct wavelets *s = self;
    kr_shrink_unref(&s->prox);
    kr_free(s);
}

static const kr_prox_ops ops = { "wavelet", apply, value, next, destroy, mean };

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
    s->prox = kr_shrink_new(type, shape, axes, order, levels, 1);
    if (!s->prox) {
        destroy(s);
        return NULL;
    }
    return kr_prox_new(&ops, type, shape, s);
}
