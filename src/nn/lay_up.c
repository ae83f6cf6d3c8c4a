/* lay_up.c: transposed convolution with kernel and stride 2, then (arg NORM) instance norm and leaky ReLU; where the other input is one pixel larger,
 * the last row or column comes by reflection. */
#include "conv.h"
#include "lay.h"
#include <string.h>

enum { OUTS, IN, NORM };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    if (extent_is(l, &x[0], KR_FEATURES, l->arg[IN]) || extent_is(l, &x[1], KR_FEATURES, 0) || extent_flat(l, x, 1) || extent_flat(l, x + 1, 1))
        return kr_error_code();
    if (x[1].y / 2 != x[0].y || x[1].x / 2 != x[0].x)
        return kr_fail(KR_ESHAPE, "%ld x %ld features cannot be doubled to %ld x %ld", x[0].y, x[0].x, x[1].y, x[1].x);
    y[0] = extent_like(x[1], KR_FEATURES, l->arg[OUTS]);
    if (l->arg[NORM])
        y[1] = (kr_extent){ KR_NUMBERS, (l->arg[OUTS] + 15) / 16 * 16, 1, 1, 1 };
    return 0;
}

static void unpack(kr_layer *l)
{
    kr_up2 *u = l->packed;
    kr_up2_unref(&u);
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    return (l->packed = kr_up2_new(w[0])) ? 0 : kr_error_code();
}

static int repack(kr_layer *l, const kr_tensor *const *w) { return up2_fill(l->packed, w[0]); }

static size_t bytes(const kr_layer *l) { return up2_bytes(l->packed); }

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = 1;
    *y = l->arg[NORM] ? 3 : 0;                               /* as for convolutions: what the norm was given is known from what it gave */
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state;
    (void)y;
    return backward ? up2_back_scratch(l->packed, x->y, x->x, l->arg[NORM]) : 0;
}

static void forward(const kr_call *c) { up2_run(c->l->packed, &c->y[0]->map, &c->x[0]->map, c->l->arg[NORM], c->y[1] ? c->y[1]->data : NULL); }

static void backward(const kr_call *c)
{
    up2_back_run(c->l->packed, c->dx[0] ? &c->dx[0]->map : NULL, c->dw[0], &c->x[0]->map, c->y[0] ? &c->y[0]->map : NULL,
                 c->y[1] ? c->y[1]->data : NULL, &c->dy[0]->map, c->scratch);
}

/* Channel o of the transposed convolution: v from x; or (dv) dx and dw. */
static void plain_plane(const kr_plain_call *c, long o, double *v, const double *dv)
{
    const kr_extent *m = &c->x[0]->n;
    for (long q = 0; q < m->chan; q++)
        for (long i = 0; i < 4 * m->y * m->x; i++) {
            long y = i / (2 * m->x), x = i % (2 * m->x), w = ((q * c->y[0]->n.chan + o) * 2 + y % 2) * 2 + x % 2, from = (q * m->y + y / 2) * m->x + x / 2;
            if (!dv)
                v[i] += c->w[0][w] * c->x[0]->v[from];
            if (dv && c->dx[0])
                c->dx[0][from] += c->w[0][w] * dv[i];
            if (dv && c->dw[0])
                c->dw[0][w] += c->x[0]->v[from] * dv[i];
        }
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long wide = 2 * m->x, all = 4 * m->y * m->x;
    bool norm = c->l->arg[NORM], back = c->dy[0];
    double slope = norm ? 0.2 : 1;
    kr_auto double *v = kr_alloc((size_t)(3 * all), sizeof *v);
    if (!v)
        return;
    for (long o = 0; o < n->chan; o++) {
        double *d = v + all, *dv = d + all;
        memset(v, 0, (size_t)(3 * all) * sizeof *v);
        plain_plane(c, o, v, NULL);
        if (norm && !back)
            c->y[1]->v[o] = plain_norm(v, all);
        for (long i = 0; i < n->y * n->x; i++) {
            long y = i / n->x, x = i % n->x, at = (y < 2 * m->y ? y : y - 2) * wide + (x < wide ? x : x - 2);
            if (back)
                d[at] += c->dy[0][o * n->y * n->x + i];
            else
                c->y[0]->v[o * n->y * n->x + i] = v[at] > 0 ? v[at] : slope * v[at];
        }
        if (back && norm)
            plain_norm_back(dv, v, d, all, slope);
        if (back)
            plain_plane(c, o, NULL, norm ? dv : d);
    }
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)l;
    (void)state;
    return 8.0 * (double)(y->chan * x->chan * x->y * x->x);
}

static const kr_layer_ops ops = { .name = "transposed convolution", .shape = shape, .pack = pack, .unpack = unpack, .repack = repack, .bytes = bytes, .keeps = keeps, .scratch = scratch,
                                  .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .flops = flops, .on = -1, .sizes = 2 };

static kr_node up(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w, bool norm)
{
    if (!w || w->dims != 4)
        return graph_fail(g);
    kr_node scale;
    return graph_add(g, norm ? &scale : NULL, &ops, (kr_node[]){ x, like }, 2, &w, 1, (long[]){ w->n[1], w->n[0], norm }, 3, NULL);
}

kr_node lay_up(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w) { return up(g, x, like, w, true); }
kr_node lay_up_linear(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w) { return up(g, x, like, w, false); }
