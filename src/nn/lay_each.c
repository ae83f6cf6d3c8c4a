/* lay_each.c: a graph of its own, from image to image, on the coils one by one: one coil's memory, made again in the backward pass. */
#include "lay.h"
#include <string.h>

enum { LEAST };
struct runs { kr_run *infer, *train; };

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_COILS, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static int passes(const kr_layer *l, const kr_extent *x) { return x->chan < l->arg[LEAST] ? 0 : -1; }

static void close(void *state)
{
    struct runs *s = state;
    kr_run_unref(&s->infer);
    kr_run_unref(&s->train);
    kr_free(s);
}

static int open(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use)
{
    (void)y;
    struct runs *s = *state = kr_alloc_zero(1, sizeof *s);
    kr_extent coil = extent_like(*x, KR_IMAGE, 1);
    if (!s || !(s->infer = kr_graph_plan(l->inner, &coil, use & KR_CORNER, 0)))
        return kr_error_code();
    return use & KR_TRAIN && !(s->train = kr_graph_plan(l->inner, &coil, use & (KR_CORNER | KR_TRAIN), 0)) ? kr_error_code() : 0;
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)l;
    (void)y;
    (void)x;
    const struct runs *s = state;
    return kr_run_bytes(backward ? s->train : s->infer);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = 1;
    *y = 0;
}

static void forward(const kr_call *c)
{
    struct runs *s = c->state;
    long n = extent_pixels(&c->y[0]->n);
    if (kr_run_lend(s->infer, c->scratch))
        kr_assert(0 && "memory that is lent is there");
    for (long k = 0; k < c->y[0]->n.chan; k++) {
        kr_run_input(s->infer, 0, LAY_C(c->x[0]) + k * n);
        kr_run_forward(s->infer, NULL, NULL);
        memcpy(LAY_C(c->y[0]) + k * n, kr_run_output(s->infer, 0)->data, (size_t)n * sizeof(kr_cfloat));
    }
}

static void backward(const kr_call *c)
{
    struct runs *s = c->state;
    long n = extent_pixels(&c->dy[0]->n);
    if (kr_run_lend(s->train, c->scratch))
        kr_assert(0 && "memory that is lent is there");
    for (long k = 0; k < c->dy[0]->n.chan; k++) {
        kr_run_input(s->train, 0, LAY_C(c->x[0]) + k * n);
        kr_run_forward(s->train, NULL, NULL);
        memcpy(kr_run_dy(s->train, 0)->data, LAY_C(c->dy[0]) + k * n, (size_t)n * sizeof(kr_cfloat));
        kr_run_backward(s->train);
    }
}

static void plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n);
    kr_extent coil = extent_like(c->x[0]->n, KR_IMAGE, 1);
    for (long k = 0; k < c->y[0]->n.chan; k++)
        if (kr_graph_plain(c->l->inner, &coil, c->use, (const double *[]){ c->x[0]->v + k * n }, c->value, (double *[]){ c->y[0]->v + k * n }))
            kr_assert(0 && "no memory for a test");
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)l;
    (void)x;
    return kr_run_flops(((const struct runs *)state)->infer) * (double)y->chan;
}

static const kr_layer_ops ops = { .name = "network on each coil", .shape = shape, .passes = passes, .open = open, .close = close, .scratch = scratch, .keeps = keeps, .forward = forward,
                                  .backward = backward, .plain = plain, .flops = flops, .on = 0, .fixed = 1 };
kr_node lay_each(kr_graph *g, kr_node coils, kr_graph *inner, long least)
{
    if (inner && graph_refused(inner))
        kr_graph_unref(&inner);
    return inner ? graph_add(g, NULL, &ops, &coils, 1, NULL, 0, &least, 1, inner) : graph_fail(g);
}
