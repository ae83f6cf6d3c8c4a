/* lay_frame.c: features in a frame of another size: around them zeros, the nearest pixel, or what stands at the other end (circular), for rows and columns
 * apart; smaller frames cut. */
#include "lay.h"
#include <string.h>

enum { TOP, LEFT, MORE_Y, MORE_X, ROWS, COLUMNS };           /* arguments; with a second input its size, and the features in the middle */

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    y[0].y = l->ins > 1 ? x[1].y : x->y ? x->y + l->arg[MORE_Y] : 0;
    y[0].x = l->ins > 1 ? x[1].x : x->x ? x->x + l->arg[MORE_X] : 0;
    if (extent_is(l, x, KR_FEATURES, 0) || extent_flat(l, x, 1))
        return kr_error_code();
    return x->y && (y->y < 1 || y->x < 1) ? kr_fail(KR_ESHAPE, "%ld x %ld features are too small for the layer %s", x->y, x->x, l->op->name) : 0;
}

/* The pixel that is seen at position i of n, -1: a zero. */
static long seen(long i, long n, long edge)
{
    if (i >= 0 && i < n)
        return i;
    return edge == LAY_CIRCULAR ? ((i % n) + n) % n : edge == LAY_NEAREST ? (i < 0 ? 0 : n - 1) : -1;
}

static void places(const kr_layer *l, const kr_extent *in, const kr_extent *out, long *top, long *left)
{
    *top = l->ins > 1 ? (out->y - in->y) / 2 : l->arg[TOP];
    *left = l->ins > 1 ? (out->x - in->x) / 2 : l->arg[LEFT];
}

struct job { const kr_map *from; kr_map *to; const kr_layer *l; long top, left; bool back; };

/* One block of channels: to = from seen through the frame; back: the large one (to) adds what came through. */
static int block(void *self, long b)
{
    const struct job *j = self;
    const kr_map *frame = j->back ? j->from : j->to, *in = j->back ? j->to : j->from;
    for (long y = 0; y < frame->h; y++) {
        long sy = seen(y - j->top, in->h, j->l->arg[ROWS]);
        for (long x = 0; x < frame->w; x++) {
            long sx = seen(x - j->left, in->w, j->l->arg[COLUMNS]);
            float *f = kr_map_at(frame, b, y, x);
            if (sy < 0 || sx < 0) {
                if (!j->back)
                    memset(f, 0, 16 * sizeof *f);
                continue;
            }
            float *s = kr_map_at(in, b, sy, sx);
            for (int q = 0; q < 16; q++)
                if (j->back)
                    s[q] += f[q];
                else
                    f[q] = s[q];
        }
    }
    return 0;
}

static void run(const kr_map *from, kr_map *to, const kr_layer *l, const kr_extent *in, const kr_extent *out, bool back)
{
    struct job j = { .from = from, .to = to, .l = l, .back = back };
    places(l, in, out, &j.top, &j.left);
    if (kr_for(from->blocks, block, &j))
        kr_assert(0 && "a copy cannot be refused");
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static void forward(const kr_call *c) { run(&c->x[0]->map, &c->y[0]->map, c->l, &c->x[0]->n, &c->y[0]->n, false); }
static void backward(const kr_call *c) { run(&c->dy[0]->map, &c->dx[0]->map, c->l, &c->dx[0]->n, &c->dy[0]->n, true); }

static void plain(const kr_plain_call *c)
{
    const kr_extent *in = &c->x[0]->n, *out = &c->y[0]->n;
    long top, left;
    places(c->l, in, out, &top, &left);
    for (long i = 0; i < out->chan * out->y * out->x; i++) {
        long sy = seen(i / out->x % out->y - top, in->y, c->l->arg[ROWS]), sx = seen(i % out->x - left, in->x, c->l->arg[COLUMNS]);
        if (sy >= 0 && sx >= 0)
            plain_link(c, i, 0, (i / out->x / out->y * in->y + sy) * in->x + sx, 1);
    }
}

static const kr_layer_ops ops = { .name = "frame", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = -1, .sizes = 2 };
kr_node lay_frame(kr_graph *g, kr_node x, long by, enum lay_edge rows, enum lay_edge columns)
{
    return graph_add(g, NULL, &ops, &x, 1, NULL, 0, (long[]){ by, by, 2 * by, 2 * by, rows, columns }, 6, NULL);
}
kr_node lay_middle(kr_graph *g, kr_node x, kr_node like, enum lay_edge rows, enum lay_edge columns)
{
    return graph_add(g, NULL, &ops, (kr_node[]){ x, like }, 2, NULL, 0, (long[]){ 0, 0, 0, 0, rows, columns }, 6, NULL);
}
