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
    for (long i = 0; i < n->chan * n->y * n->x; i++)
        for (long k = 0; k < 4; k++)
            plain_link(c, i, 0, (i / n->x / n->y * m->y + i / n->x % n->y * 2 + k / 2) * m->x + i % n->x * 2 + k % 2, 0.25);
}

static const kr_layer_ops ops = { .name = "average pooling", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = -1 };

kr_node lay_pool(kr_graph *g, kr_node x) { return graph_add(g, NULL, &ops, &x, 1, NULL, 0, NULL, 0, NULL); }
