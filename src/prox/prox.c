/* prox.c: proximal maps as objects, and those of separate parts. */
#include "kray/prox.h"
#include "proxkern.h"
#include <math.h>
#include <string.h>

struct kr_prox { const kr_prox_ops *ops; enum kr_type type; kr_shape shape; void *self; };

const kr_proxkern *kr_proxkern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_proxkern_v4 : cpu >= 3 ? &kr_proxkern_v3 : &kr_proxkern_base;
}

kr_prox *kr_prox_new(const kr_prox_ops *ops, enum kr_type type, kr_shape shape, void *self)
{
    kr_prox *g = self ? kr_alloc_zero(1, sizeof *g) : NULL;
    if (!g) {
        if (self)
            ops->destroy(self);
        return NULL;
    }
    *g = (kr_prox){ ops, type, shape, self };
    return g;
}

void kr_prox_unref(kr_prox **g)
{
    if (*g)
        (*g)->ops->destroy((*g)->self);
    kr_free(*g);
    *g = NULL;
}

enum kr_type kr_prox_type(const kr_prox *g) { return g->type; }
kr_shape kr_prox_shape(const kr_prox *g) { return g->shape; }

static void check(const kr_prox *g, const kr_array *a)
{
    kr_assert(a->type == g->type && kr_array_contiguous(a) && kr_shape_equal(kr_array_shape(a), g->shape));
}

void kr_prox_apply(kr_prox *g, float t, kr_array *z, const kr_array *v)
{
    check(g, z);
    check(g, v);
    kr_assert(z->data != v->data && t >= 0);
    g->ops->apply(g->self, t, z, v);
}

double kr_prox_value(kr_prox *g, const kr_array *u)
{
    check(g, u);
    return g->ops->value(g->self, u);
}

bool kr_prox_has_dual(const kr_prox *g) { return g->ops->dual != NULL; }

void kr_prox_dual(kr_prox *g, kr_array *p)
{
    check(g, p);
    kr_assert(g->ops->dual);
    g->ops->dual(g->self, p);
}

bool kr_prox_next(kr_prox *g, long k) { return g->ops->next && g->ops->next(g->self, k); }

long kr_prox_place(long k, int d)
{
    long bits = (1L << KR_PLACE_BITS) - 1, odd = bits / 3;
    k &= bits;
    return d == 0 ? k : d == 1 ? (k & odd) << 1 | (k >> 1 & odd) : k ^ k >> 1;
}

/* ---- A map of complex arrays on real ones ----
 * Of all points the complex map of a real array minimises at a real one: g is as large at the conjugate, and convex. */
struct real { kr_prox *g; kr_array *v, *z; };

static void real_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct real *s = self;
    kr_array_assign(s->v, v);
    kr_prox_apply(s->g, t, s->z, s->v);
    for (long i = 0, n = kr_count(s->g->shape); i < n; i++)
        KR_R(z)[i] = kr_re(KR_C(s->z)[i]);
}

static double real_value(void *self, const kr_array *u)
{
    struct real *s = self;
    kr_array_assign(s->v, u);
    return kr_prox_value(s->g, s->v);
}

static bool real_next(void *self, long k) { return kr_prox_next(((struct real *)self)->g, k); }

static void real_destroy(void *self)
{
    struct real *s = self;
    kr_prox_unref(&s->g);
    kr_array_unref(&s->v);
    kr_array_unref(&s->z);
    kr_free(s);
}

static const kr_prox_ops real_ops = { "real", real_apply, real_value, real_next, real_destroy };

const char *kr_prox_name(const kr_prox *g) { return g->ops == &real_ops ? kr_prox_name(((const struct real *)g->self)->g) : g->ops->name; }

kr_prox *kr_prox_as(enum kr_type type, kr_prox *g)
{
    if (!g || type == KR_C32)
        return g;
    struct real *s = kr_alloc_zero(1, sizeof *s);
    if (!s || !(s->v = kr_array_new(KR_C32, g->shape)) || !(s->z = kr_array_new(KR_C32, g->shape))) {
        if (s)
            kr_array_unref(&s->v);
        kr_free(s);
        kr_prox_unref(&g);
        return NULL;
    }
    s->g = g;
    return kr_prox_new(&real_ops, KR_R32, g->shape, s);
}

/* ---- The mean over places of a grid ---- */
struct mean { kr_prox *g; long places; kr_array *one; };

static void mean_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct mean *s = self;
    if (s->g->ops->mean) {
        s->g->ops->mean(s->g->self, s->places, t, z, v);
        return;
    }
    for (long k = 0; k < s->places; k++) {
        kr_prox_next(s->g, k);
        kr_prox_apply(s->g, t, k ? s->one : z, v);
        if (k)
            kr_axpy(z, 1, s->one);
    }
    kr_scale(z, 1 / (float)s->places);
}

static double mean_value(void *self, const kr_array *u)
{
    struct mean *s = self;
    double sum = 0;
    for (long k = 0; k < s->places; k++) {
        kr_prox_next(s->g, k);
        sum += kr_prox_value(s->g, u);
    }
    return sum / (double)s->places;
}

static void mean_destroy(void *self)
{
    struct mean *s = self;
    kr_prox_unref(&s->g);
    kr_array_unref(&s->one);
    kr_free(s);
}

static const kr_prox_ops mean_ops = { "mean", mean_apply, mean_value, NULL, mean_destroy };

kr_prox *kr_prox_mean(kr_prox *g, long places)
{
    kr_assert(places >= 1 && places <= KR_PLACES);
    if (!g || !kr_prox_next(g, 0))                                   /* nothing moves */
        return g;
    struct mean *s = kr_alloc_zero(1, sizeof *s);
    kr_array *one = s && !g->ops->mean ? kr_array_new(g->type, g->shape) : NULL;
    if (!s || (!one && !g->ops->mean)) {
        kr_prox_unref(&g);
        kr_free(s);
        return NULL;
    }
    *s = (struct mean){ g, places, one };
    return kr_prox_new(&mean_ops, g->type, g->shape, s);
}

/* ---- Parts along CHAN ---- */
struct parts { int count; kr_prox *g[8]; };

static kr_array part(const struct parts *s, int i, const kr_array *a)
{
    kr_array p = *a;
    p.n[KR_CHAN] = 1;
    p.data = (float *)a->data + i * kr_count(s->g[i]->shape) * (a->type == KR_C32 ? 2 : 1);
    return p;
}

static void parts_apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct parts *s = self;
    for (int i = 0; i < s->count; i++) {
        kr_array to = part(s, i, z), from = part(s, i, v);
        kr_prox_apply(s->g[i], t, &to, &from);
    }
}

static double parts_value(void *self, const kr_array *u)
{
    struct parts *s = self;
    double sum = 0;
    for (int i = 0; i < s->count; i++) {
        kr_array p = part(s, i, u);
        sum += kr_prox_value(s->g[i], &p);
    }
    return sum;
}

static bool parts_next(void *self, long k)
{
    struct parts *s = self;
    bool moves = false;
    for (int i = 0; i < s->count; i++)
        moves |= kr_prox_next(s->g[i], k);
    return moves;
}

static void parts_destroy(void *self)
{
    struct parts *s = self;
    for (int i = 0; i < s->count; i++)
        kr_prox_unref(&s->g[i]);
    kr_free(s);
}

static const kr_prox_ops parts_ops = { "parts", parts_apply, parts_value, parts_next, parts_destroy };

kr_prox *kr_prox_parts(kr_prox *const *g, int count)
{
    kr_assert(count >= 1 && count <= 8);
    struct parts *s = kr_alloc_zero(1, sizeof *s);
    bool whole = s;
    for (int i = 0; i < count; i++)
        whole = whole && g[i];
    if (whole)
        for (int i = 1; i < count; i++)
            if (g[i]->type != g[0]->type || !kr_shape_equal(g[i]->shape, g[0]->shape)) {
                kr_fail(KR_ESHAPE, "regularisers of parts of shapes %s and %s", kr_shape_text(g[0]->shape), kr_shape_text(g[i]->shape));
                whole = false;
            }
    if (!whole) {
        for (int i = 0; i < count; i++) {
            kr_prox *one = g[i];
            kr_prox_unref(&one);
        }
        kr_free(s);
        return NULL;
    }
    s->count = count;
    memcpy(s->g, g, (size_t)count * sizeof *g);
    kr_shape shape = g[0]->shape;
    shape.n[KR_CHAN] = count;
    return kr_prox_new(&parts_ops, g[0]->type, shape, s);
}
