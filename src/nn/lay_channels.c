/* lay_channels.c: the mean over channels, and a + w b with a learnt number for each channel. */
#include "lay.h"
#include <string.h>

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

/* ---- The mean ---- */
static int mean_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, 1);
    return extent_is(l, x, KR_FEATURES, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static void mean_forward(const kr_call *c)
{
    const kr_map *x = &c->x[0]->map;
    kr_map *m = &c->y[0]->map;
    for (long y = 0; y < x->h; y++)
        for (long i = 0; i < x->w; i++) {
            double sum = 0;
            for (long q = 0; q < x->c; q++)
                sum += (double)kr_map_at(x, q / 16, y, i)[q % 16];
            memset(kr_map_at(m, 0, y, i), 0, 16 * sizeof(float));
            kr_map_at(m, 0, y, i)[0] = (float)(sum / (double)x->c);
        }
}

static void mean_backward(const kr_call *c)
{
    kr_map *x = &c->dx[0]->map;
    for (long y = 0; y < x->h; y++)
        for (long i = 0; i < x->w; i++)
            for (long q = 0; q < x->c; q++)
                kr_map_at(x, q / 16, y, i)[q % 16] += kr_map_at(&c->dy[0]->map, 0, y, i)[0] / (float)x->c;
}

static void mean_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n), chan = c->x[0]->n.chan;
    for (long i = 0; i < px * chan; i++)
        plain_link(c, i % px, 0, i, 1 / (double)chan);
}

static const kr_layer_ops mean = { .name = "mean of channels", .shape = mean_shape, .keeps = none, .forward = mean_forward, .backward = mean_backward, .plain = mean_plain, .plain_back = mean_plain, .on = -1 };
kr_node lay_mean(kr_graph *g, kr_node x) { return graph_add(g, NULL, &mean, &x, 1, NULL, 0, NULL, 0, NULL); }

/* ---- a + w b ---- */
static int gain_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_FEATURES, 0) || extent_is(l, x + 1, KR_FEATURES, x->chan) ? kr_error_code() : extent_flat(l, x, 2);
}

static void gain_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 2;
    *y = 0;
}

static void gain_forward(const kr_call *c)
{
    const kr_map *a = &c->x[0]->map, *b = &c->x[1]->map;
    const float *w = c->l->packed;
    for (long p = 0; p < a->blocks; p++)
        for (long y = 0; y < a->h; y++)
            for (long i = 0; i < a->w; i++)
                for (long q = 0; q < 16; q++)
                    kr_map_at(&c->y[0]->map, p, y, i)[q] = kr_map_at(a, p, y, i)[q] + (16 * p + q < a->c ? w[16 * p + q] * kr_map_at(b, p, y, i)[q] : 0);
}

static void gain_backward(const kr_call *c)
{
    const kr_map *d = &c->dy[0]->map, *b = &c->x[1]->map;
    const float *w = c->l->packed;
    for (long q = 0; q < d->c; q++) {
        double sum = 0;
        for (long y = 0; y < d->h; y++)
            for (long i = 0; i < d->w; i++) {
                float v = kr_map_at(d, q / 16, y, i)[q % 16];
                if (c->dx[0])
                    kr_map_at(&c->dx[0]->map, q / 16, y, i)[q % 16] += v;
                if (c->dx[1])
                    kr_map_at(&c->dx[1]->map, q / 16, y, i)[q % 16] += w[q] * v;
                sum += (double)v * (double)kr_map_at(b, q / 16, y, i)[q % 16];
            }
        if (c->dw[0])
            c->dw[0]->data[q] += (float)sum;
    }
}

static void gain_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px * c->y[0]->n.chan; i++) {
        plain_link(c, i, 0, i, 1);
        plain_learnt(c, i, 1, i, 0, i / px);
    }
}

static const kr_layer_ops gain = { .name = "sum with learnt factors", .shape = gain_shape, .pack = lay_numbers, .unpack = lay_unpack, .keeps = gain_keeps, .forward = gain_forward, .backward = gain_backward,
                                   .plain = gain_plain, .plain_back = gain_plain, .on = 0 };
kr_node lay_gain(kr_graph *g, kr_node a, kr_node b, const kr_tensor *w)
{
    if (graph_refused(g) || !w)
        return graph_fail(g);
    if (kr_tensor_count(w) != graph_extent(g, a).chan) {
        kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers for %ld channels", w->name, kr_tensor_count(w), graph_extent(g, a).chan);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &gain, (kr_node[]){ a, b }, 2, &w, 1, NULL, 0, NULL);
}
