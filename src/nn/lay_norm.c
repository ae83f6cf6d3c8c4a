/* lay_norm.c: instance norm alone, batch norm by the statistics that its training found, and activations of features that no convolution has. */
#include "lay.h"
#include <math.h>
#include <string.h>

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_FEATURES, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static void keeps_x(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1;
    *y = 0;
}

static void keeps_y(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 0;
    *y = 1;
}

/* ---- Instance norm ---- */
enum { ACT };
static void forward(const kr_call *c) { kr_instance_norm(&c->y[0]->map, &c->x[0]->map, (enum kr_act)c->l->arg[ACT]); }
static void backward(const kr_call *c) { kr_instance_norm_backward(&c->dx[0]->map, &c->x[0]->map, &c->dy[0]->map, (enum kr_act)c->l->arg[ACT]); }

static void plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    memcpy(c->y[0]->v, c->x[0]->v, (size_t)(px * c->y[0]->n.chan) * sizeof(double));
    for (long q = 0; q < c->y[0]->n.chan; q++)
        plain_norm(c->y[0]->v + q * px, px);
    for (long i = 0; i < px * c->y[0]->n.chan; i++)
        c->y[0]->v[i] *= c->y[0]->v[i] > 0 ? 1 : plain_slope((enum kr_act)c->l->arg[ACT]);
}

static void plain_back(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long q = 0; q < c->y[0]->n.chan; q++)
        plain_norm_back(c->dx[0] + q * px, c->x[0]->v + q * px, c->dy[0] + q * px, px, plain_slope((enum kr_act)c->l->arg[ACT]));
}

static const kr_layer_ops instance = { .name = "instance norm", .shape = shape, .keeps = keeps_x, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .on = -1 };
kr_node lay_norm(kr_graph *g, kr_node x, enum kr_act act) { return graph_add(g, NULL, &instance, &x, 1, NULL, 0, (long[]){ act }, 1, NULL); }

/* ---- w (x - mean) / sqrt(var + 1 / arg) + b, channel by channel ---- */
enum { BY, WEIGHT = 0, BIAS, MEAN, VAR, TENSORS };
struct packed { long n; float v[]; };                        /* scale, shift, mean, 1 / deviation of each channel */

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    long n = kr_tensor_count(w[MEAN]);
    struct packed *p = l->packed = kr_alloc(1, sizeof *p + (size_t)(4 * n) * sizeof(float));
    if (!p)
        return kr_error_code();
    p->n = n;
    for (long q = 0; q < n; q++) {
        double by = 1 / sqrt(fmax((double)w[VAR]->data[q], 0) + 1 / (double)l->arg[BY]);
        p->v[q] = (float)((double)w[WEIGHT]->data[q] * by);
        p->v[n + q] = (float)((double)w[BIAS]->data[q] - (double)w[MEAN]->data[q] * (double)w[WEIGHT]->data[q] * by);
        p->v[2 * n + q] = w[MEAN]->data[q];
        p->v[3 * n + q] = (float)by;
    }
    return 0;
}

static int batch_block(void *self, long b)
{
    const kr_call *c = self;
    const struct packed *p = c->l->packed;
    const kr_map *x = &c->x[0]->map;
    float scale[16] = { 0 }, shift[16] = { 0 };
    for (long q = 0; q < 16 && 16 * b + q < x->c; q++) {
        scale[q] = p->v[16 * b + q];
        shift[q] = p->v[p->n + 16 * b + q];
    }
    for (long y = 0; y < x->h; y++) {
        const float *from = kr_map_at(x, b, y, 0);
        float *to = kr_map_at(&c->y[0]->map, b, y, 0);
        for (long i = 0; i < 16 * x->w; i++)
            to[i] = scale[i % 16] * from[i] + shift[i % 16];
    }
    return 0;
}

static int batch_back_block(void *self, long b)
{
    const kr_call *c = self;
    const struct packed *p = c->l->packed;
    const kr_map *x = &c->x[0]->map;
    double sum[16] = { 0 }, along[16] = { 0 };
    for (long y = 0; y < x->h; y++) {
        const float *from = kr_map_at(x, b, y, 0), *d = kr_map_at(&c->dy[0]->map, b, y, 0);
        float *to = c->dx[0] ? kr_map_at(&c->dx[0]->map, b, y, 0) : NULL;
        for (long i = 0; i < 16 * x->w; i++) {
            long q = 16 * b + i % 16;
            if (q >= x->c)
                continue;
            if (to)
                to[i] += p->v[q] * d[i];
            sum[i % 16] += (double)d[i];
            along[i % 16] += (double)d[i] * ((double)from[i] - (double)p->v[2 * p->n + q]) * (double)p->v[3 * p->n + q];
        }
    }
    for (long q = 0; q < 16 && 16 * b + q < x->c; q++) {
        if (c->dw[WEIGHT])
            c->dw[WEIGHT]->data[16 * b + q] += (float)along[q];
        if (c->dw[BIAS])
            c->dw[BIAS]->data[16 * b + q] += (float)sum[q];
    }
    return 0;
}

static void batch_forward(const kr_call *c)
{
    if (kr_for(c->x[0]->map.blocks, batch_block, (void *)(uintptr_t)c))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void batch_backward(const kr_call *c)
{
    if (kr_for(c->x[0]->map.blocks, batch_back_block, (void *)(uintptr_t)c))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void batch_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px * c->y[0]->n.chan; i++) {
        double by = 1 / sqrt(c->w[VAR][i / px] + 1 / (double)c->l->arg[BY]), w = c->w[WEIGHT][i / px], mean = c->w[MEAN][i / px];
        plain_link(c, i, 0, i, w * by);
        if (!c->dy[0])
            c->y[0]->v[i] += c->w[BIAS][i / px] - mean * w * by;
        if (c->dw[WEIGHT])
            c->dw[WEIGHT][i / px] += c->dy[0][i] * (c->x[0]->v[i] - mean) * by;
        if (c->dw[BIAS])
            c->dw[BIAS][i / px] += c->dy[0][i];
    }
}

static const kr_layer_ops batch = { .name = "batch norm", .shape = shape, .pack = pack, .unpack = lay_unpack, .keeps = keeps_x, .forward = batch_forward, .backward = batch_backward,
                                    .plain = batch_plain, .plain_back = batch_plain, .on = -1 };

kr_node lay_batch_norm(kr_graph *g, kr_node x, const kr_tensor *const w[4], long by)
{
    for (int k = 0; k < TENSORS && !graph_refused(g); k++)
        if (kr_tensor_count(w[k]) != graph_extent(g, x).chan) {
            kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers for %ld channels", w[k]->name, kr_tensor_count(w[k]), graph_extent(g, x).chan);
            return graph_fail(g);
        }
    kr_node y = graph_add(g, NULL, &batch, &x, 1, w, TENSORS, &by, 1, NULL);
    if (!graph_refused(g)) {                                 /* statistics, not parameters */
        graph_freeze(g, w[MEAN]);
        graph_freeze(g, w[VAR]);
    }
    return y;
}

/* ---- Activations ---- */
enum { WHICH };
static double value(long which, double v) { return which == LAY_SIGMOID ? 1 / (1 + exp(-v)) : which == LAY_TANH ? tanh(v) : v > 0 ? v : 0; }
static double slope(long which, double y) { return which == LAY_SIGMOID ? y * (1 - y) : which == LAY_TANH ? 1 - y * y : y > 0; }

struct job { const kr_call *c; bool back; };
static int row(void *self, long y)
{
    const struct job *j = self;
    const kr_map *m = &j->c->y[0]->map;
    long which = j->c->l->arg[WHICH];
    for (long b = 0; b < m->blocks; b++) {
        float *v = kr_map_at(m, b, y, 0);
        const float *from = j->back ? kr_map_at(&j->c->dy[0]->map, b, y, 0) : kr_map_at(&j->c->x[0]->map, b, y, 0);
        float *d = j->back ? kr_map_at(&j->c->dx[0]->map, b, y, 0) : NULL;
        for (long i = 0; i < 16 * m->w; i++)
            if (d)
                d[i] += (float)(slope(which, (double)v[i]) * (double)from[i]);
            else
                v[i] = 16 * b + i % 16 < m->c ? (float)value(which, (double)from[i]) : 0;
    }
    return 0;
}

static void act_run(const kr_call *c, bool back)
{
    struct job j = { c, back };
    if (kr_for(c->y[0]->map.h, row, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void act_forward(const kr_call *c) { act_run(c, false); }
static void act_backward(const kr_call *c) { act_run(c, true); }

static void act_plain(const kr_plain_call *c)
{
    for (long i = 0; i < extent_pixels(&c->y[0]->n) * c->y[0]->n.chan; i++)
        c->y[0]->v[i] = value(c->l->arg[WHICH], c->x[0]->v[i]);
}

static void act_plain_back(const kr_plain_call *c)
{
    for (long i = 0; i < extent_pixels(&c->y[0]->n) * c->y[0]->n.chan; i++)
        c->dx[0][i] += c->dy[0][i] * slope(c->l->arg[WHICH], c->y[0]->v[i]);
}

static const kr_layer_ops act = { .name = "activation", .shape = shape, .keeps = keeps_y, .forward = act_forward, .backward = act_backward, .plain = act_plain, .plain_back = act_plain_back, .on = 0 };
kr_node lay_act(kr_graph *g, kr_node x, enum lay_act which) { return graph_add(g, NULL, &act, &x, 1, NULL, 0, (long[]){ which }, 1, NULL); }
