/* lay_stack.c: stacks of images: coil images of which each few that follow each other belong together: an image many times over, and one of each few. */
#include "lay.h"
#include <string.h>

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static long images(const kr_extent *n) { return n->kind == KR_COILS ? n->chan : 1; }

/* ---- Many times over ---- */
enum { TIMES };
static int repeat_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_COILS, images(x) * l->arg[TIMES]);
    return x->kind == KR_IMAGE || !extent_is(l, x, KR_COILS, 0) ? extent_flat(l, x, 1) : kr_error_code();
}

static void repeat_forward(const kr_call *c)
{
    long n = extent_pixels(&c->y[0]->n), times = c->l->arg[TIMES];
    for (long k = 0; k < c->y[0]->n.chan; k++)
        memcpy(LAY_C(c->y[0]) + k * n, LAY_C(c->x[0]) + k / times * n, (size_t)n * sizeof(kr_cfloat));
}

static void repeat_backward(const kr_call *c)
{
    long n = extent_pixels(&c->dy[0]->n), times = c->l->arg[TIMES];
    for (long k = 0; k < c->dy[0]->n.chan; k++)
        for (long i = 0; i < n; i++)
            LAY_C(c->dx[0])[k / times * n + i] += LAY_C(c->dy[0])[k * n + i];
}

static void repeat_plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    for (long i = 0; i < n * c->y[0]->n.chan; i++)
        plain_link(c, i, 0, i / n / c->l->arg[TIMES] * n + i % n, 1);
}

static const kr_layer_ops repeat = { .name = "repeated images", .shape = repeat_shape, .keeps = none, .forward = repeat_forward, .backward = repeat_backward, .plain = repeat_plain, .plain_back = repeat_plain, .on = -1 };
kr_node lay_repeat(kr_graph *g, kr_node x, long times) { return graph_add(g, NULL, &repeat, &x, 1, NULL, 0, &times, 1, NULL); }

/* ---- One of each few ---- */
enum { WHICH, OF, ONE };             /* ONE: there is one group, and what is picked is an image */
static int pick_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    bool one = l->arg[ONE];
    y[0] = extent_like(x[0], one ? KR_IMAGE : KR_COILS, one ? 1 : x->chan / l->arg[OF]);
    if (extent_is(l, x, KR_COILS, one ? l->arg[OF] : 0) || extent_flat(l, x, 1))
        return kr_error_code();
    return x->chan % l->arg[OF] ? kr_fail(KR_ESHAPE, "%ld images are no groups of %ld", x->chan, l->arg[OF]) : 0;
}

static void pick_forward(const kr_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long k = 0; k < images(&c->y[0]->n); k++)
        memcpy(LAY_C(c->y[0]) + k * n, LAY_C(c->x[0]) + (k * c->l->arg[OF] + c->l->arg[WHICH]) * n, (size_t)n * sizeof(kr_cfloat));
}

static void pick_backward(const kr_call *c)
{
    long n = extent_pixels(&c->dy[0]->n);
    for (long k = 0; k < images(&c->dy[0]->n); k++)
        for (long i = 0; i < n; i++)
            LAY_C(c->dx[0])[(k * c->l->arg[OF] + c->l->arg[WHICH]) * n + i] += LAY_C(c->dy[0])[k * n + i];
}

static void pick_plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    for (long i = 0; i < n * images(&c->y[0]->n); i++)
        plain_link(c, i, 0, (i / n * c->l->arg[OF] + c->l->arg[WHICH]) * n + i % n, 1);
}

static const kr_layer_ops pick = { .name = "one image of each few", .shape = pick_shape, .keeps = none, .forward = pick_forward, .backward = pick_backward, .plain = pick_plain, .plain_back = pick_plain, .on = -1 };
kr_node lay_pick(kr_graph *g, kr_node x, long which, long of) { return graph_add(g, NULL, &pick, &x, 1, NULL, 0, (long[]){ which, of, 0 }, 3, NULL); }
kr_node lay_pick_image(kr_graph *g, kr_node x, long which) { return graph_add(g, NULL, &pick, &x, 1, NULL, 0, (long[]){ which, graph_extent(g, x).chan, 1 }, 3, NULL); }
