/* lay_plus.c: sums of features: a + factor b; b of one channel goes to all. */
#include "lay.h"
#include <string.h>

enum { FACTOR };

static double factor(const kr_layer *l)
{
    double f;
    memcpy(&f, &l->arg[FACTOR], sizeof f);
    return f;
}

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    if (extent_is(l, x, KR_FEATURES, 0) || extent_is(l, x + 1, KR_FEATURES, x[1].chan == 1 ? 1 : x[0].chan))
        return kr_error_code();
    return extent_flat(l, x, 2);
}

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static bool spread(const kr_layer *l) { return l->x[1].chan == 1 && l->x[0].chan > 1; }

static int forward_row(void *self, long i)
{
    const kr_call *c = self;
    const kr_map *a = &c->x[0]->map, *b = &c->x[1]->map;
    float f = (float)factor(c->l);
    long block = i / a->h, y = i % a->h, there = a->c - 16 * block;
    const float *p = kr_map_at(a, block, y, 0), *q = kr_map_at(b, spread(c->l) ? 0 : block, y, 0);
    float *to = kr_map_at(&c->y[0]->map, block, y, 0);
    for (long k = 0; k < 16 * a->w; k++)
        to[k] = p[k] + (!spread(c->l) ? f * q[k] : k % 16 < there ? f * q[k / 16 * 16] : 0);
    return 0;
}

static int backward_row(void *self, long y)
{
    const kr_call *c = self;
    const kr_map *d = &c->dy[0]->map;
    float f = (float)factor(c->l);
    for (long block = 0; block < d->blocks; block++) {
        const float *p = kr_map_at(d, block, y, 0);
        float *a = c->dx[0] ? kr_map_at(&c->dx[0]->map, block, y, 0) : NULL, *b = c->dx[1] ? kr_map_at(&c->dx[1]->map, spread(c->l) ? 0 : block, y, 0) : NULL;
        for (long k = 0; k < 16 * d->w && a; k++)
            a[k] += p[k];
        for (long k = 0; k < 16 * d->w && b; k++)
            if (!spread(c->l))
                b[k] += f * p[k];
            else if (16 * block + k % 16 < d->c)
                b[k / 16 * 16] += f * p[k];
    }
    return 0;
}

static void forward(const kr_call *c)
{
    if (kr_for(c->y[0]->map.blocks * c->y[0]->map.h, forward_row, (void *)(uintptr_t)c))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void backward(const kr_call *c)
{
    if (kr_for(c->dy[0]->map.h, backward_row, (void *)(uintptr_t)c))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px * c->y[0]->n.chan; i++) {
        plain_link(c, i, 0, i, 1);
        plain_link(c, i, 1, spread(c->l) ? i % px : i, factor(c->l));
    }
}

static const kr_layer_ops ops = { .name = "sum of features", .shape = shape, .keeps = none, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = 0 };

kr_node lay_plus(kr_graph *g, kr_node a, kr_node b, double by)
{
    long bits = 0;
    _Static_assert(sizeof bits == sizeof by, "an argument holds a double");
    memcpy(&bits, &by, sizeof by);
    return graph_add(g, NULL, &ops, (kr_node[]){ a, b }, 2, NULL, 0, &bits, 1, NULL);
}
