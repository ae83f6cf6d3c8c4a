/* lay_conv.c: convolution of one or several inputs, then (norm) instance norm, then an activation. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include <string.h>

enum { DILATION, PAD, ACT, HOW, OUTS, WIDE };

static bool normed(const kr_layer *l) { return l->arg[HOW] & CONV_NORM; }
/* What the norm was given is known from what the layer gives, and one number of each channel; a ReLU loses it, and the convolution is made again. */
static bool invertible(const kr_layer *l) { return normed(l) && l->arg[ACT] != KR_ACT_RELU; }

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, &x[i], KR_FEATURES, 0))
            return kr_error_code();
    y[0] = extent_like(x[0], KR_FEATURES, l->arg[OUTS]);
    if (invertible(l))
        y[1] = (kr_extent){ KR_NUMBERS, (l->arg[OUTS] + 15) / 16 * 16, 1, 1, 1 };
    return extent_flat(l, x, l->ins);
}

static void unpack(kr_layer *l)
{
    kr_conv *c = l->packed;
    kr_conv_unref(&c);
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    long split[KR_INS];
    for (int i = 0; i < l->ins; i++)
        split[i] = l->x[i].chan;
    enum kr_act act = normed(l) ? KR_ACT_NONE : (enum kr_act)l->arg[ACT];
    kr_conv *c = l->packed = kr_conv_new(w[0], w[1], (int)l->arg[DILATION], (enum kr_pad)l->arg[PAD], act, l->ins, split);
    if (!c)
        return kr_error_code();
    if (l->arg[HOW] & CONV_EXACT)
        kr_conv_exact(c);
    return l->arg[HOW] & CONV_NARROW && kr_conv_bf16(c) ? kr_error_code() : 0;
}

static int repack(kr_layer *l, const kr_tensor *const *w)
{
    kr_conv *c = l->packed;
    conv_fill(c, w[0]->data, w[1] ? w[1]->data : NULL);
    if (!c->half)
        return 0;
    kr_free_at(&c->half);
    return kr_conv_bf16(c);
}

static size_t bytes(const kr_layer *l) { return conv_bytes(l->packed); }

static long halo(const kr_layer *l, int input)
{
    (void)input;
    return l->arg[DILATION] * (l->arg[WIDE] / 2);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = (1u << l->ins) - 1;
    *y = invertible(l) ? 3 : !normed(l) && l->arg[ACT] != KR_ACT_NONE;
}

/* Backward of a norm: what it saw, where that is made again, and the gradient of that. */
static void *rooms(const kr_layer *l, long h, long w, kr_map *z, kr_map *dz, lay_room *room)
{
    const kr_conv *p = l->packed;
    *dz = map_in(room, l->arg[OUTS], h, w, kr_conv_halo(p));
    *z = invertible(l) ? *dz : map_in(room, l->arg[OUTS], h, w, 0);
    size_t a = invertible(l) ? 0 : conv_scratch(p, h, w), b = conv_back_scratch(p, h, w, true);
    return room_for(room, a > b ? a : b);
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state;
    (void)x;
    const kr_conv *p = l->packed;
    if (!backward)
        return conv_scratch(p, y->y, y->x);
    if (!normed(l))
        return conv_back_scratch(p, y->y, y->x, false);
    lay_room room = { NULL, 0 };
    kr_map z, dz;
    rooms(l, y->y, y->x, &z, &dz, &room);
    return room.used;
}

static void maps(kr_map **m, kr_value *const *v, int count)
{
    for (int i = 0; i < count; i++)
        m[i] = v[i] ? &v[i]->map : NULL;
}

static void forward(const kr_call *c)
{
    const kr_conv *p = c->l->packed;
    kr_map *x[KR_INS];
    maps(x, c->x, c->l->ins);
    if (normed(c->l))
        conv_norm_run(p, &c->y[0]->map, x, (enum kr_act)c->l->arg[ACT], c->y[1] ? c->y[1]->data : NULL, c->scratch);
    else
        conv_run(p, &c->y[0]->map, x, NULL, c->scratch);
}

static void backward(const kr_call *c)
{
    const kr_conv *p = c->l->packed;
    kr_map *x[KR_INS], *dx[KR_INS];
    maps(x, c->x, c->l->ins);
    maps(dx, c->dx, c->l->ins);
    if (!normed(c->l)) {
        conv_back_framed(p, dx, c->fresh, c->dw[0], c->dw[1], x, c->y[0] ? &c->y[0]->map : NULL, &c->dy[0]->map, false, c->scratch);
        return;
    }
    lay_room room = { c->scratch, 0 };
    kr_map z, dz, *dy = &c->dy[0]->map;
    void *inner = rooms(c->l, dy->h, dy->w, &z, &dz, &room);
    if (invertible(c->l))
        norm_back_run(&dz, &c->y[0]->map, c->y[1]->data, dy, (enum kr_act)c->l->arg[ACT]);
    else {
        conv_run(p, &z, x, NULL, inner);
        back_zero(&dz);
        kr_instance_norm_backward(&dz, &z, dy, (enum kr_act)c->l->arg[ACT]);
    }
    conv_back_framed(p, dx, c->fresh, c->dw[0], c->dw[1], x, NULL, &dz, true, inner);
}

static plain_grid grid_of(const kr_layer *l, const kr_extent *n) { return (plain_grid){ n->y, n->x, l->arg[WIDE], l->arg[DILATION], (enum kr_pad)l->arg[PAD] }; }

/* y = bias + the convolution alone. */
static void linear(const kr_plain_call *c, double *y)
{
    plain_grid g = grid_of(c->l, &c->y[0]->n);
    long px = g.h * g.w, outs = c->l->arg[OUTS];
    for (long i = 0; i < outs * px; i++)
        y[i] = c->w[1] ? c->w[1][i / px] : 0;
    for (long s = 0, first = 0; s < c->l->ins; first += c->x[s++]->n.chan)
        plain_conv(y, c->x[s]->v, c->w[0] + first * g.k * g.k, outs, c->x[s]->n.chan, c->t[0]->n[1], &g);
}

static void plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    double *y = c->y[0]->v, slope = plain_slope((enum kr_act)c->l->arg[ACT]);
    linear(c, y);
    for (long o = 0; o < c->l->arg[OUTS]; o++) {
        double scale = normed(c->l) ? plain_norm(y + o * px, px) : 1;
        if (invertible(c->l))
            c->y[1]->v[o] = scale;
        for (long i = o * px; i < (o + 1) * px; i++)
            y[i] *= y[i] > 0 ? 1 : slope;
    }
}

static void plain_back(const kr_plain_call *c)
{
    plain_grid g = grid_of(c->l, &c->y[0]->n);
    long px = g.h * g.w, outs = c->l->arg[OUTS];
    double slope = plain_slope((enum kr_act)c->l->arg[ACT]);
    kr_auto double *d = kr_alloc_zero((size_t)(outs * px * (normed(c->l) ? 2 : 1)), sizeof *d);
    if (!d)
        return;
    if (normed(c->l))
        linear(c, d + outs * px);
    for (long o = 0; o < outs; o++)
        if (normed(c->l))
            plain_norm_back(d + o * px, d + (outs + o) * px, c->dy[0] + o * px, px, slope);
    for (long i = 0; i < outs * px; i++) {
        if (!normed(c->l))
            d[i] = c->y[0]->v[i] > 0 ? c->dy[0][i] : slope * c->dy[0][i];
        if (c->dw[1])
            c->dw[1][i / px] += d[i];
    }
    for (long s = 0, first = 0; s < c->l->ins; first += c->x[s++]->n.chan * g.k * g.k)
        plain_conv_back(c->dx[s], c->dw[0] ? c->dw[0] + first : NULL, d, c->x[s]->v, c->w[0] + first, outs, c->x[s]->n.chan, c->t[0]->n[1], &g);
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)state;
    double in = 0;
    for (int i = 0; i < l->ins; i++)
        in += (double)x[i].chan;
    return 2 * in * (double)(y->chan * y->y * y->x * l->arg[WIDE] * l->arg[WIDE]);
}

static const kr_layer_ops ops = { .name = "convolution", .shape = shape, .pack = pack, .unpack = unpack, .repack = repack, .bytes = bytes, .halo = halo, .keeps = keeps, .scratch = scratch,
                                  .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .flops = flops, .on = -1, .writes = true };

kr_node lay_conv(kr_graph *g, const kr_node *x, int count, const kr_tensor *w, const kr_tensor *bias, int dilation, enum kr_pad pad, enum kr_act act, unsigned how)
{
    long in = 0;
    for (int i = 0; i < count; i++)
        in += graph_extent(g, x[i]).chan;
    if (graph_refused(g))
        return graph_fail(g);
    if (!w || !net_is_conv(w, in))
        return graph_fail(g);
    how &= graph_bf16(g) ? ~0u : ~(unsigned)CONV_NARROW;
    bool second = how & CONV_NORM && act != KR_ACT_RELU;
    kr_node scale;
    return graph_add(g, second ? &scale : NULL, &ops, x, count, (const kr_tensor *[]){ w, bias }, 2, (long[]){ dilation, pad, act, how, w->n[0], w->n[2] }, 6, NULL);
}
