/* lay_each.c: a graph of its own on the coils one by one: one coil's memory, made again in the backward pass. Each input holds, coil by coil, as many
 * images as the inner graph's input of that place; the output as many as its output. */
#include "plan.h"
#include <string.h>

enum { LEAST, THROUGH };             /* fewer coils: the input as it stands; the inputs' gradients can be given */
struct runs { kr_run *infer, *train; };

/* Images that a coil has in the inner graph's input or output of that extent. */
static long images(kr_extent n) { return n.kind == KR_COILS ? n.chan : 1; }
static kr_extent inside(const kr_layer *l, int k) { return kr_graph_input_extent(l->inner, k); }

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    long coils = x[0].chan / images(inside(l, 0));
    for (int k = 0; k < l->ins; k++)
        if (extent_is(l, x + k, KR_COILS, coils * images(inside(l, k))))
            return kr_error_code();
    y[0] = extent_like(x[0], KR_COILS, coils * images(graph_extent(l->inner, (kr_node){ l->inner->output[0] })));
    return extent_flat(l, x, l->ins);
}

static int passes(const kr_layer *l, const kr_extent *x) { return x->chan < l->arg[LEAST] ? 0 : -1; }

static void close(void *state)
{
    struct runs *s = state;
    kr_run_unref(&s->infer);
    kr_run_unref(&s->train);
    kr_free(s);
}

static void of_one(kr_extent *n, const kr_layer *l, const kr_extent *x)
{
    for (int k = 0; k < l->ins; k++) {
        kr_extent in = inside(l, k);
        n[k] = extent_like(x[k], in.kind, in.chan);
    }
}

static int open(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use)
{
    (void)y;
    struct runs *s = *state = kr_alloc_zero(1, sizeof *s);
    kr_extent n[KR_INS];
    of_one(n, l, x);
    if (!s || !(s->infer = kr_graph_plan(l->inner, n, use & KR_CORNER, 0)))
        return kr_error_code();
    unsigned how = KR_TRAIN | (l->arg[THROUGH] ? KR_INPUTS : 0);
    return use & KR_TRAIN && !(s->train = kr_graph_plan(l->inner, n, (use & KR_CORNER) | how, 0)) ? kr_error_code() : 0;
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
    (void)wants;
    *x = (1u << l->ins) - 1;
    *y = 0;
}

/* The inner graph on coil k. */
static void run_coil(kr_run *r, const kr_call *c, long k, long n)
{
    for (int i = 0; i < c->l->ins; i++)
        kr_run_input(r, i, LAY_C(c->x[i]) + k * images(inside(c->l, i)) * n);
    kr_run_forward(r, NULL, NULL);
}

static void forward(const kr_call *c)
{
    struct runs *s = c->state;
    long n = extent_pixels(&c->y[0]->n), coils = c->x[0]->n.chan / images(inside(c->l, 0)), each = c->y[0]->n.chan / coils * n;
    if (kr_run_lend(s->infer, c->scratch))
        kr_assert(0 && "memory that is lent is there");
    for (long k = 0; k < coils; k++) {
        run_coil(s->infer, c, k, n);
        memcpy(LAY_C(c->y[0]) + k * each, kr_run_output(s->infer, 0)->data, (size_t)each * sizeof(kr_cfloat));
    }
}

static void backward(const kr_call *c)
{
    struct runs *s = c->state;
    long n = extent_pixels(&c->dy[0]->n), coils = c->x[0]->n.chan / images(inside(c->l, 0)), each = c->dy[0]->n.chan / coils * n;
    if (kr_run_lend(s->train, c->scratch))
        kr_assert(0 && "memory that is lent is there");
    for (long k = 0; k < coils; k++) {
        run_coil(s->train, c, k, n);
        memcpy(kr_run_dy(s->train, 0)->data, LAY_C(c->dy[0]) + k * each, (size_t)each * sizeof(kr_cfloat));
        kr_run_backward(s->train);
        for (int i = 0; i < c->l->ins; i++) {
            const kr_value *d = c->dx[i] ? kr_run_dx(s->train, i) : NULL;
            long count = images(inside(c->l, i)) * n;
            for (long q = 0; d && q < count; q++)
                LAY_C(c->dx[i])[k * count + q] += LAY_C(d)[q];
        }
    }
}

static void plain(const kr_plain_call *c)
{
    long n = 2 * extent_pixels(&c->y[0]->n), coils = c->x[0]->n.chan / images(inside(c->l, 0)), each = c->y[0]->n.chan / coils * n;
    kr_extent x[KR_INS], in[KR_INS];
    for (int i = 0; i < c->l->ins; i++)
        x[i] = c->x[i]->n;
    of_one(in, c->l, x);
    kr_scoped(plain_run) r = kr_plain_plan(c->l->inner, in, (c->use & KR_CORNER) | (c->dy[0] ? KR_TRAIN : 0) | (c->dy[0] && c->l->arg[THROUGH] ? KR_INPUTS : 0), 0);
    for (long k = 0; r && k < coils; k++) {
        for (int i = 0; i < c->l->ins; i++)
            memcpy(kr_plain_input(r, i), c->x[i]->v + k * images(in[i]) * n, (size_t)(images(in[i]) * n) * sizeof(double));
        if (kr_plain_forward(r, c->value))
            return;
        if (!c->dy[0]) {
            memcpy(c->y[0]->v + k * each, kr_plain_output(r, 0), (size_t)each * sizeof(double));
            continue;
        }
        double *dy = kr_plain_dy(r, 0);
        if (!dy)
            return;
        memcpy(dy, c->dy[0] + k * each, (size_t)each * sizeof(double));
        if (kr_plain_backward(r, c->value))
            return;
        for (int i = 0; i < c->l->ins; i++) {
            const double *d = c->dx[i] ? kr_plain_dx(r, i) : NULL;
            for (long q = 0; d && q < images(in[i]) * n; q++)
                c->dx[i][k * images(in[i]) * n + q] += d[q];
        }
    }
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)y;
    return kr_run_flops(((const struct runs *)state)->infer) * (double)(x->chan / images(inside(l, 0)));
}

static const kr_layer_ops ops = { .name = "network on each coil", .shape = shape, .passes = passes, .open = open, .close = close, .scratch = scratch, .keeps = keeps, .forward = forward,
                                  .backward = backward, .plain = plain, .plain_back = plain, .flops = flops, .on = 0, .fixed = 1 };
/* The same that lets gradients through; its output may be of another number of images. */
static const kr_layer_ops through = { .name = "network on all images of each coil", .shape = shape, .open = open, .close = close, .scratch = scratch, .keeps = keeps, .forward = forward,
                                      .backward = backward, .plain = plain, .plain_back = plain, .flops = flops, .on = -1 };

kr_node lay_each(kr_graph *g, kr_node coils, kr_graph *inner, long least)
{
    if (inner && graph_refused(inner))
        kr_graph_unref(&inner);
    return inner ? graph_add(g, NULL, &ops, &coils, 1, NULL, 0, (long[]){ least, 0 }, 2, inner) : graph_fail(g);
}

kr_node lay_each_of(kr_graph *g, const kr_node *x, int count, kr_graph **inner, bool *owned)
{
    if (graph_refused(g) || !*inner || graph_refused(*inner)) {
        if (!*owned)
            kr_graph_unref(inner);
        *owned = true;
        return graph_fail(g);
    }
    *owned = true;
    return graph_add(g, NULL, &through, x, count, NULL, 0, (long[]){ 0, 1 }, 2, *inner);
}
