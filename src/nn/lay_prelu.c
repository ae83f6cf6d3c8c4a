/* lay_prelu.c: x where it is above 0, else x times a learnt slope: one for all channels, or one for each. Source: PyTorch's PReLU. */
#include "lay.h"
#include <math.h>
#include <string.h>

struct packed { long n; float slope[]; };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_FEATURES, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    long n = kr_tensor_count(w[0]);
    struct packed *p = l->packed = kr_alloc(1, sizeof *p + (size_t)n * sizeof(float));
    if (!p)
        return kr_error_code();
    p->n = n;
    memcpy(p->slope, w[0]->data, (size_t)n * sizeof(float));
    return 0;
}

static float slope_of(const kr_layer *l, long q)
{
    const struct packed *p = l->packed;
    return p->slope[p->n > 1 ? q : 0];
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1;
    *y = 0;
}

/* One block of 16 channels; slopes of the channels that are not there are 0. */
struct job { const kr_call *c; double *sum; };

static int forward_block(void *self, long b)
{
    const kr_call *c = ((const struct job *)self)->c;
    const kr_map *x = &c->x[0]->map;
    float s[16] = { 0 };
    for (int q = 0; q < 16 && 16 * b + q < x->c; q++)
        s[q] = slope_of(c->l, 16 * b + q);
    for (long y = 0; y < x->h; y++) {
        const float *from = kr_map_at(x, b, y, 0);
        float *to = kr_map_at(&c->y[0]->map, b, y, 0);
        for (long i = 0; i < 16 * x->w; i++)
            to[i] = from[i] > 0 ? from[i] : s[i % 16] * from[i];
    }
    return 0;
}

static int backward_block(void *self, long b)
{
    const struct job *j = self;
    const kr_call *c = j->c;
    const kr_map *x = &c->x[0]->map;
    float s[16] = { 0 };
    double *sum = j->sum + 16 * b;
    memset(sum, 0, 16 * sizeof *sum);
    for (int q = 0; q < 16 && 16 * b + q < x->c; q++)
        s[q] = slope_of(c->l, 16 * b + q);
    for (long y = 0; y < x->h; y++) {
        const float *from = kr_map_at(x, b, y, 0), *d = kr_map_at(&c->dy[0]->map, b, y, 0);
        float *to = c->dx[0] ? kr_map_at(&c->dx[0]->map, b, y, 0) : NULL;
        for (long i = 0; i < 16 * x->w; i++) {
            if (to)
                to[i] += from[i] > 0 ? d[i] : s[i % 16] * d[i];
            sum[i % 16] += from[i] > 0 ? 0 : (double)d[i] * (double)from[i];
        }
    }
    return 0;
}

static void run(const kr_call *c, double *sum, int (*f)(void *, long), long blocks)
{
    struct job j = { c, sum };
    if (kr_for(blocks, f, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)l, (void)state, (void)x;
    return backward ? (size_t)((y->chan + 15) / 16 * 16) * sizeof(double) : 0;
}

static void forward(const kr_call *c) { run(c, NULL, forward_block, c->x[0]->map.blocks); }

static void backward(const kr_call *c)
{
    const struct packed *p = c->l->packed;
    run(c, c->scratch, backward_block, c->x[0]->map.blocks);
    for (long q = 0; q < c->x[0]->map.c && c->dw[0]; q++)
        c->dw[0]->data[p->n > 1 ? q : 0] += (float)((const double *)c->scratch)[q];
}

static void plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px * c->y[0]->n.chan; i++)
        if (c->x[0]->v[i] > 0)
            plain_link(c, i, 0, i, 1);
        else
            plain_learnt(c, i, 0, i, 0, kr_tensor_count(c->t[0]) > 1 ? i / px : 0);
}

static const kr_layer_ops ops = { .name = "PReLU", .shape = shape, .pack = pack, .unpack = lay_unpack, .keeps = keeps, .scratch = scratch, .forward = forward, .backward = backward,
                                  .plain = plain, .plain_back = plain, .on = 0 };

kr_node lay_prelu(kr_graph *g, kr_node x, const kr_tensor *slope)
{
    long n = slope ? kr_tensor_count(slope) : 0;
    if (graph_refused(g) || !slope)
        return graph_fail(g);
    if (n != 1 && n != graph_extent(g, x).chan) {
        kr_fail(KR_ESHAPE, "the tensor '%s' has %ld slopes for %ld channels", slope->name, n, graph_extent(g, x).chan);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &ops, &x, 1, &slope, 1, NULL, 0, NULL);
}
