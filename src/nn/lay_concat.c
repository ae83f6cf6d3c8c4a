/* lay_concat.c: the channels of one behind those of the other, where more are to follow than a convolution reads. */
#include "lay.h"
#include <string.h>

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, x[0].chan + x[1].chan);
    return extent_is(l, x, KR_FEATURES, 0) || extent_is(l, x + 1, KR_FEATURES, 0) ? kr_error_code() : extent_flat(l, x, 2);
}

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

struct job { const kr_call *c; bool back; };
static int row(void *self, long y)
{
    const struct job *j = self;
    const kr_map *to = j->back ? &j->c->dy[0]->map : &j->c->y[0]->map;
    for (long b = to->c / 16; !j->back && b < to->blocks; b++)
        memset(kr_map_at(to, b, y, 0), 0, (size_t)(16 * to->w) * sizeof(float));
    for (long k = 0, first = 0; k < 2; first += j->c->l->x[k++].chan) {
        const kr_value *v = j->back ? j->c->dx[k] : j->c->x[k];
        for (long q = 0; v && q < j->c->l->x[k].chan; q++) {
            float *in = kr_map_at(&v->map, q / 16, y, 0) + q % 16, *out = kr_map_at(to, (first + q) / 16, y, 0) + (first + q) % 16;
            for (long i = 0; i < to->w; i++, in += 16, out += 16)
                if (j->back)
                    *in += *out;
                else
                    *out = *in;
        }
    }
    return 0;
}

static void run(const kr_call *c, bool back)
{
    struct job j = { c, back };
    if (kr_for(back ? c->dy[0]->map.h : c->y[0]->map.h, row, &j))
        kr_assert(0 && "a copy cannot be refused");
}

static void forward(const kr_call *c) { run(c, false); }
static void backward(const kr_call *c) { run(c, true); }

static void plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n), first = px * c->x[0]->n.chan;
    for (long i = 0; i < px * c->y[0]->n.chan; i++)
        plain_link(c, i, i >= first, i < first ? i : i - first, 1);
}

static const kr_layer_ops ops = { .name = "concatenation", .shape = shape, .keeps = none, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = -1 };
kr_node lay_concat(kr_graph *g, kr_node a, kr_node b) { return graph_add(g, NULL, &ops, (kr_node[]){ a, b }, 2, NULL, 0, NULL, 0, NULL); }
