/* lay_pool.c: means of 2 x 2 pixels; odd ends are dropped. */
#include "lay.h"

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    if (extent_is(l, x, KR_FEATURES, 0) || extent_flat(l, x, 1))
        return kr_error_code();
    y[0] = *x;
    y[0].y /= 2;
    y[0].x /= 2;
    /* Instance norms want more than one pixel to be the mean of. */
    if (x->y && (y[0].y < 1 || y[0].x < 1 || y[0].y * y[0].x < 2))
        return kr_fail(KR_EREFUSED, "%ld x %ld pixels before a pooling are too few for a U-Net with so many poolings", x->y, x->x);
    return 0;
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = *y = 0;
}

static void forward(const kr_call *c) { kr_avg_pool2(&c->y[0]->map, &c->x[0]->map); }
static void backward(const kr_call *c) { kr_avg_pool2_backward(&c->dx[0]->map, &c->dy[0]->map); }

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    for (long q = 0; q < n->chan; q++)
        for (long y = 0; y < n->y; y++)
            for (long x = 0; x < n->x; x++) {
                const double *p = c->x[0]->v + (q * m->y + 2 * y) * m->x + 2 * x;
                c->y[0]->v[(q * n->y + y) * n->x + x] = (p[0] + p[1] + p[m->x] + p[m->x + 1]) / 4;
            }
}

static const kr_layer_ops ops = { .name = "average pooling", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .on = -1 };

kr_node lay_pool(kr_graph *g, kr_node x) { return graph_add(g, NULL, &ops, &x, 1, NULL, 0, NULL, 0, NULL); }
