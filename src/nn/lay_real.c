/* lay_real.c: the real part of an image or of data as one channel, and back; standardised by mean and unbiased deviation of data that are given, and with rows and columns
 * exchanged where the weights' program has elements of the detector as rows and angles as columns. */
#include "lay.h"
#include <math.h>
#include <string.h>

enum { X, LIKE };                    /* inputs; LIKE, where there is one: data whose statistics are taken */
enum { TURN };

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = l->ins > LIKE ? 1u << LIKE : 0;
    *y = 0;
}

static kr_extent turned(kr_extent n, const kr_layer *l)
{
    long y = n.y;
    if (l->arg[TURN]) {
        n.y = n.x;
        n.x = y;
    }
    return n;
}

/* v = (re - mean) / std */
struct score { double mean, std; };
static struct score of(double sum, double square, long n)
{
    struct score s = { sum / (double)n, sqrt(square / (double)(n - 1)) };
    s.std = s.std > 0 ? s.std : 1;                           /* constant data: nothing to divide by */
    return s;
}

static struct score scored(const kr_layer *l, const kr_value *like)
{
    if (l->ins <= LIKE)
        return (struct score){ 0, 1 };
    long n = extent_pixels(&like->n);
    double sum = 0, square = 0;
    for (long i = 0; i < n; i++)
        sum += (double)kr_re(LAY_C(like)[i]);
    for (long i = 0; i < n; i++) {
        double d = (double)kr_re(LAY_C(like)[i]) - sum / (double)n;
        square += d * d;
    }
    return of(sum, square, n);
}

static struct score plain_score(const kr_plain_call *c)
{
    if (c->l->ins <= LIKE)
        return (struct score){ 0, 1 };
    long n = extent_pixels(&c->x[LIKE]->n);
    double sum = 0, square = 0;
    for (long i = 0; i < n; i++)
        sum += c->x[LIKE]->v[2 * i];
    for (long i = 0; i < n; i++)
        square += (c->x[LIKE]->v[2 * i] - sum / (double)n) * (c->x[LIKE]->v[2 * i] - sum / (double)n);
    return of(sum, square, n);
}

/* The pixel of the map that number i of an image of w columns is. */
static float *at(const kr_map *m, const kr_layer *l, long i, long w) { return l->arg[TURN] ? kr_map_at(m, 0, i % w, i / w) : kr_map_at(m, 0, i / w, i % w); }
static long plain_at(const kr_layer *l, long i, long w, long h) { return l->arg[TURN] ? i % w * h + i / w : i; }

/* ---- To a channel ---- */
static int put_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = turned(extent_like(x[X], KR_FEATURES, 1), l);
    return (x[X].kind != KR_IMAGE && extent_is(l, x, KR_COILS, 1)) || (l->ins > LIKE && extent_is(l, x + LIKE, KR_COILS, 1)) ? kr_error_code() : extent_flat(l, x, 1);
}

static void put_forward(const kr_call *c)
{
    struct score s = scored(c->l, c->x[LIKE]);
    const kr_extent *n = &c->x[X]->n;
    for (long i = 0; i < extent_pixels(n); i++) {
        float *to = at(&c->y[0]->map, c->l, i, n->x);
        memset(to, 0, 16 * sizeof *to);
        *to = (float)(((double)kr_re(LAY_C(c->x[X])[i]) - s.mean) / s.std);
    }
}

static void put_backward(const kr_call *c)
{
    struct score s = scored(c->l, c->x[LIKE]);
    const kr_extent *n = &c->dx[X]->n;
    for (long i = 0; i < extent_pixels(n); i++)
        LAY_C(c->dx[X])[i] += kr_c((float)((double)*at(&c->dy[0]->map, c->l, i, n->x) / s.std), 0);
}

static void put_plain(const kr_plain_call *c)
{
    struct score s = plain_score(c);
    const kr_extent *n = &c->x[X]->n;
    for (long i = 0; i < extent_pixels(n); i++) {
        long at = plain_at(c->l, i, n->x, n->y);
        plain_link(c, at, X, 2 * i, 1 / s.std);
        c->y[0]->v[at] -= c->dy[0] ? 0 : s.mean / s.std;
    }
}

static const kr_layer_ops put = { .name = "real part to a channel", .shape = put_shape, .keeps = keeps, .forward = put_forward, .backward = put_backward, .plain = put_plain, .plain_back = put_plain, .on = -1, .fixed = 1u << LIKE };
kr_node lay_real(kr_graph *g, kr_node x) { return graph_add(g, NULL, &put, &x, 1, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_score(kr_graph *g, kr_node x, kr_node like) { return graph_add(g, NULL, &put, (kr_node[]){ x, like }, 2, NULL, 0, (long[]){ 1 }, 1, NULL); }

/* ---- Back ---- */
static int take_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = turned(extent_like(x[X], l->ins > LIKE ? KR_COILS : KR_IMAGE, 1), l);
    return extent_is(l, x, KR_FEATURES, 1) || (l->ins > LIKE && extent_is(l, x + LIKE, KR_COILS, 1)) ? kr_error_code() : extent_flat(l, x, 1);
}

static void take_forward(const kr_call *c)
{
    struct score s = scored(c->l, c->x[LIKE]);
    const kr_extent *n = &c->y[0]->n;
    for (long i = 0; i < extent_pixels(n); i++)
        LAY_C(c->y[0])[i] = kr_c((float)((double)*at(&c->x[X]->map, c->l, i, n->x) * s.std + s.mean), 0);
}

static void take_backward(const kr_call *c)
{
    struct score s = scored(c->l, c->x[LIKE]);
    const kr_extent *n = &c->dy[0]->n;
    for (long i = 0; i < extent_pixels(n); i++)
        *at(&c->dx[X]->map, c->l, i, n->x) += (float)((double)kr_re(LAY_C(c->dy[0])[i]) * s.std);
}

static void take_plain(const kr_plain_call *c)
{
    struct score s = plain_score(c);
    const kr_extent *n = &c->y[0]->n;
    for (long i = 0; i < extent_pixels(n); i++) {
        plain_link(c, 2 * i, X, plain_at(c->l, i, n->x, n->y), s.std);
        c->y[0]->v[2 * i] += c->dy[0] ? 0 : s.mean;
    }
}

static const kr_layer_ops take = { .name = "channel to a real part", .shape = take_shape, .keeps = keeps, .forward = take_forward, .backward = take_backward, .plain = take_plain, .plain_back = take_plain, .on = -1, .fixed = 1u << LIKE };
kr_node lay_real_image(kr_graph *g, kr_node x) { return graph_add(g, NULL, &take, &x, 1, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_unscore(kr_graph *g, kr_node x, kr_node like) { return graph_add(g, NULL, &take, (kr_node[]){ x, like }, 2, NULL, 0, (long[]){ 1 }, 1, NULL); }
