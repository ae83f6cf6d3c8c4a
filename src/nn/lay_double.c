/* lay_double.c: transposed convolution of kernel 3 and stride 2 to twice the size (padding 1, output padding 1): a convolution, its kernel turned by half a turn, of
 * the features with zeros between them. Source: PyTorch's ConvTranspose2d. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include <string.h>

enum { OUTS, IN };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, l->arg[OUTS]);
    y[0].y *= 2;
    y[0].x *= 2;
    if (extent_is(l, x, KR_FEATURES, l->arg[IN]) || extent_flat(l, x, 1))
        return kr_error_code();
    return y[0].y == x[1].y && y[0].x == x[1].x ? 0 : kr_fail(KR_EREFUSED, "images of this network have an even number of rows and columns each time that it halves them; %ld x %ld "
                                                                           "pixels are not twice %ld x %ld", x[1].y, x[1].x, x[0].y, x[0].x);
}

static void unpack(kr_layer *l)
{
    kr_conv *c = l->packed;
    kr_conv_unref(&c);
}

/* {in, out, 3, 3} as {out, in, 3, 3}, turned; or back, added. */
static void turn(float *to, const float *from, long outs, long in, bool back)
{
    for (long o = 0; o < outs; o++)
        for (long i = 0; i < in; i++)
            for (int k = 0; k < 9; k++)
                if (back)
                    to[(i * outs + o) * 9 + 8 - k] += from[(o * in + i) * 9 + k];
                else
                    to[(o * in + i) * 9 + k] = from[(i * outs + o) * 9 + 8 - k];
}

static kr_tensor turned_tensor(const kr_layer *l, float *data, const char *name)
{
    return (kr_tensor){ .name = (char *)(uintptr_t)name, .dims = 4, .n = { l->arg[OUTS], l->arg[IN], 3, 3 }, .data = data };
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    kr_auto float *data = kr_alloc((size_t)kr_tensor_count(w[0]), sizeof *data);
    if (!data)
        return kr_error_code();
    turn(data, w[0]->data, l->arg[OUTS], l->arg[IN], false);
    kr_tensor t = turned_tensor(l, data, w[0]->name);
    return (l->packed = kr_conv_new(&t, w[1], 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL)) ? 0 : kr_error_code();
}

static size_t bytes(const kr_layer *l) { return conv_bytes(l->packed); }

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1;
    *y = 0;
}

/* The features with zeros between them, and (backward) the gradients of those and of the turned kernel. */
static void *rooms(const kr_layer *l, long h, long w, bool backward, kr_map *wide, kr_map *dwide, float **dw, lay_room *room)
{
    const kr_conv *p = l->packed;
    *wide = map_in(room, l->arg[IN], h, w, 1);
    if (!backward)
        return room_for(room, conv_scratch(p, h, w));
    *dwide = map_in(room, l->arg[IN], h, w, 0);
    *dw = room_for(room, (size_t)(9 * l->arg[IN] * l->arg[OUTS]) * sizeof **dw);
    return room_for(room, conv_back_scratch(p, h, w, false));
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state, (void)x;
    lay_room room = { NULL, 0 };
    kr_map wide, dwide;
    float *dw;
    rooms(l, y->y, y->x, backward, &wide, &dwide, &dw, &room);
    return room.used;
}

static void widen(kr_map *wide, const kr_map *x)
{
    memset(wide->store, 0, (size_t)(wide->blocks * wide->block) * sizeof *wide->store);
    for (long b = 0; b < x->blocks; b++)
        for (long y = 0; y < x->h; y++)
            for (long k = 0; k < x->w; k++)
                memcpy(kr_map_at(wide, b, 2 * y, 2 * k), kr_map_at(x, b, y, k), 16 * sizeof(float));
}

static void forward(const kr_call *c)
{
    const kr_conv *p = c->l->packed;
    kr_map wide, dwide, *y = &c->y[0]->map;
    float *dw;
    lay_room room = { c->scratch, 0 };
    void *inner = rooms(c->l, y->h, y->w, false, &wide, &dwide, &dw, &room);
    widen(&wide, &c->x[0]->map);
    conv_run(p, y, (kr_map *[]){ &wide }, NULL, inner);
}

static void backward(const kr_call *c)
{
    const kr_conv *p = c->l->packed;
    kr_map wide, dwide, *dy = &c->dy[0]->map;
    float *dw;
    lay_room room = { c->scratch, 0 };
    void *inner = rooms(c->l, dy->h, dy->w, true, &wide, &dwide, &dw, &room);
    long count = 9 * c->l->arg[IN] * c->l->arg[OUTS];
    kr_tensor t = turned_tensor(c->l, dw, "");
    memset(dw, 0, (size_t)count * sizeof *dw);
    widen(&wide, &c->x[0]->map);
    back_zero(&dwide);
    conv_back_run(p, (kr_map *[]){ c->dx[0] ? &dwide : NULL }, c->dw[0] ? &t : NULL, c->dw[1], (kr_map *[]){ &wide }, NULL, dy, inner);
    if (c->dw[0])
        turn(c->dw[0]->data, dw, c->l->arg[OUTS], c->l->arg[IN], true);
    for (long b = 0; c->dx[0] && b < dwide.blocks; b++)
        for (long y = 0; y < dy->h / 2; y++)
            for (long k = 0; k < dy->w / 2; k++)
                for (int q = 0; q < 16; q++)
                    kr_map_at(&c->dx[0]->map, b, y, k)[q] += kr_map_at(&dwide, b, 2 * y, 2 * k)[q];
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    for (long i = 0; i < n->chan * n->y * n->x; i++)
        if (!c->dy[0])
            c->y[0]->v[i] = c->w[1] ? c->w[1][i / (n->y * n->x)] : 0;
        else if (c->dw[1])
            c->dw[1][i / (n->y * n->x)] += c->dy[0][i];
    for (long q = 0; q < m->chan; q++)
        for (long o = 0; o < n->chan; o++)
            for (long i = 0; i < m->y * m->x; i++)
                for (int k = 0; k < 9; k++) {                /* pixel 2 i - 1 + k */
                    long y = 2 * (i / m->x) - 1 + k / 3, x = 2 * (i % m->x) - 1 + k % 3;
                    if (y >= 0 && x >= 0 && y < n->y && x < n->x)
                        plain_learnt(c, (o * n->y + y) * n->x + x, 0, q * m->y * m->x + i, 0, (q * n->chan + o) * 9 + k);
                }
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)l, (void)state;
    return 18.0 * (double)(y->chan * x->chan * x->y * x->x);
}

static const kr_layer_ops ops = { .name = "transposed convolution to twice the size", .shape = shape, .pack = pack, .unpack = unpack, .bytes = bytes, .keeps = keeps, .scratch = scratch,
                                  .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .flops = flops, .on = -1, .sizes = 2 };

kr_node lay_double(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w, const kr_tensor *bias)
{
    if (graph_refused(g) || !w)
        return graph_fail(g);
    if (w->dims != 4 || w->n[0] != graph_extent(g, x).chan || w->n[1] < 1 || w->n[2] != 3 || w->n[3] != 3) {
        kr_fail(KR_ESHAPE, "the tensor '%s' is no transposed convolution of %ld channels with a 3 x 3 kernel", w->name, graph_extent(g, x).chan);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &ops, (kr_node[]){ x, like }, 2, (const kr_tensor *[]){ w, bias }, 2, (long[]){ w->n[1], w->n[0] }, 2, NULL);
}
