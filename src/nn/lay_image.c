/* lay_image.c: arithmetic of images: sums, a factor, magnitudes; an input or what stands for it. */
#include "lay.h"
#include <math.h>
#include <string.h>

static void nothing(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = *y = 0;
}


/* ---- a + b ---- */
static int add_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_IMAGE, 0) || extent_is(l, x + 1, KR_IMAGE, 0) ? kr_error_code() : extent_flat(l, x, 2);
}

static void add_forward(const kr_call *c)
{
    for (long i = 0; i < extent_pixels(&c->y[0]->n); i++)
        LAY_C(c->y[0])[i] = LAY_C(c->x[0])[i] + LAY_C(c->x[1])[i];
}

static void add_backward(const kr_call *c)
{
    for (int k = 0; k < 2; k++)
        for (long i = 0; i < extent_pixels(&c->dy[0]->n) && c->dx[k]; i++)
            LAY_C(c->dx[k])[i] += LAY_C(c->dy[0])[i];
}

static void add_plain(const kr_plain_call *c)
{
    for (int k = 0; k < 2; k++)
        for (long i = 0; i < 2 * extent_pixels(&c->y[0]->n); i++)
            plain_link(c, i, k, i, 1);
}

static const kr_layer_ops add = { .name = "sum of images", .shape = add_shape, .keeps = nothing, .forward = add_forward, .backward = add_backward, .plain = add_plain, .plain_back = add_plain, .on = 0 };
kr_node lay_add(kr_graph *g, kr_node a, kr_node b) { return graph_add(g, NULL, &add, (kr_node[]){ a, b }, 2, NULL, 0, NULL, 0, NULL); }

/* ---- An image (or coils) times a number that the run is given, or divided by it ---- */
enum { DIVIDED };
static int scale_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return (x->kind != KR_COILS && extent_is(l, x, KR_IMAGE, 0)) || extent_is(l, x + 1, KR_NUMBERS, 1) ? kr_error_code() : extent_flat(l, x, 1);
}

static int scale_passes(const kr_layer *l, const kr_extent *x) { (void)l; return x[1].kind == KR_ABSENT ? 0 : -1; }

static void scale_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = 2;
    *y = 0;
}

static double factor(const kr_layer *l, const double *by) { return l->arg[DIVIDED] ? 1 / *by : *by; }
static long numbers(const kr_extent *n) { return extent_pixels(n) * (n->kind == KR_COILS ? n->chan : 1); }

static void scale_forward(const kr_call *c)
{
    float by = (float)factor(c->l, c->x[1]->data);
    for (long i = 0; i < numbers(&c->y[0]->n); i++)
        LAY_C(c->y[0])[i] = LAY_C(c->x[0])[i] * by;
}

static void scale_backward(const kr_call *c)
{
    float by = (float)factor(c->l, c->x[1]->data);
    for (long i = 0; i < numbers(&c->dy[0]->n) && c->dx[0]; i++)
        LAY_C(c->dx[0])[i] += LAY_C(c->dy[0])[i] * by;
}

static void scale_plain(const kr_plain_call *c)
{
    for (long i = 0; i < 2 * numbers(&c->y[0]->n); i++)
        plain_link(c, i, 0, i, factor(c->l, c->x[1]->v));
}

static const kr_layer_ops scale = { .name = "factor", .shape = scale_shape, .passes = scale_passes, .keeps = scale_keeps, .forward = scale_forward, .backward = scale_backward, .plain = scale_plain, .plain_back = scale_plain, .on = 0 };
kr_node lay_scale(kr_graph *g, kr_node a, kr_node by) { return graph_add(g, NULL, &scale, (kr_node[]){ a, by }, 2, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_unscale(kr_graph *g, kr_node a, kr_node by) { return graph_add(g, NULL, &scale, (kr_node[]){ a, by }, 2, NULL, 0, (long[]){ 1 }, 1, NULL); }

/* ---- a where it is given, else b: decided when a run is planned ---- */
static int either_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[1];
    return extent_is(l, x, x[1].kind, 0);
}
static int either_passes(const kr_layer *l, const kr_extent *x) { (void)l; return x[0].kind == KR_ABSENT ? 1 : 0; }

static const kr_layer_ops either = { .name = "choice", .shape = either_shape, .passes = either_passes, .keeps = nothing, .on = -1 };
kr_node lay_either(kr_graph *g, kr_node a, kr_node b) { return graph_add(g, NULL, &either, (kr_node[]){ a, b }, 2, NULL, 0, NULL, 0, NULL); }

/* ---- |image|, or one channel as it is. Where |x| is 0 so is its gradient. ---- */
static int magnitude_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_REAL, 1);
    return x->kind != KR_IMAGE && extent_is(l, x, KR_FEATURES, 1) ? kr_error_code() : extent_flat(l, x, 1);
}

static void magnitude_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = l->x[0].kind == KR_IMAGE;
    *y = 0;
}

static void magnitude_forward(const kr_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    for (long i = 0; i < extent_pixels(n); i++)
        LAY_R(c->y[0])[i] = c->x[0]->n.kind == KR_IMAGE ? sqrtf(kr_cabs2(LAY_C(c->x[0])[i])) : kr_map_at(&c->x[0]->map, 0, i / n->x, i % n->x)[0];
}

static void magnitude_backward(const kr_call *c)
{
    const kr_extent *n = &c->dy[0]->n;
    for (long i = 0; i < extent_pixels(n); i++) {
        float d = LAY_R(c->dy[0])[i];
        if (c->dx[0]->n.kind == KR_IMAGE) {
            kr_cfloat v = LAY_C(c->x[0])[i];
            float r = sqrtf(kr_cabs2(v));
            LAY_C(c->dx[0])[i] += r > 0 ? v * (d / r) : kr_c(0, 0);
        } else
            kr_map_at(&c->dx[0]->map, 0, i / n->x, i % n->x)[0] += d;
    }
}

static void magnitude_plain(const kr_plain_call *c)
{
    for (long i = 0; i < extent_pixels(&c->y[0]->n); i++)
        c->y[0]->v[i] = c->x[0]->n.kind == KR_IMAGE ? hypot(c->x[0]->v[2 * i], c->x[0]->v[2 * i + 1]) : c->x[0]->v[i];
}

static void magnitude_plain_back(const kr_plain_call *c)
{
    bool complex = c->x[0]->n.kind == KR_IMAGE;
    for (long i = 0; i < extent_pixels(&c->y[0]->n) * (complex ? 2 : 1); i++)
        if (!complex)
            c->dx[0][i] += c->dy[0][i];
        else if (c->y[0]->v[i / 2] > 0)
            c->dx[0][i] += c->dy[0][i / 2] * c->x[0]->v[i] / c->y[0]->v[i / 2];
}

static const kr_layer_ops magnitude = { .name = "magnitude", .shape = magnitude_shape, .keeps = magnitude_keeps, .forward = magnitude_forward, .backward = magnitude_backward, .plain = magnitude_plain,
                                        .plain_back = magnitude_plain_back, .on = -1 };
kr_node lay_magnitude(kr_graph *g, kr_node x) { return graph_add(g, NULL, &magnitude, &x, 1, NULL, 0, NULL, 0, NULL); }
