/* lay_features.c: images as channels of features, and back; features of zeros. */
#include "lay.h"
#include <string.h>

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = *y = 0;
}

/* ---- Complex images to two channels each, real ones to one ---- */
static int put_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    long chan = 0;
    for (int i = 0; i < l->ins; i++) {
        if (x[i].kind != KR_REAL && extent_is(l, &x[i], KR_IMAGE, 0))
            return kr_error_code();
        chan += x[i].kind == KR_REAL ? 1 : 2;
    }
    y[0] = extent_like(x[0], KR_FEATURES, chan);
    return extent_flat(l, x, l->ins);
}

enum { ROWS = 16 };
struct rows { const kr_call *c; bool back; };

static int put_rows(void *self, long b)
{
    const struct rows *j = self;
    const kr_call *c = j->c;
    kr_value *const *im = j->back ? c->dx : c->x;
    kr_map *m = j->back ? &c->dy[0]->map : &c->y[0]->map;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++) {
        float *to = kr_map_at(m, 0, y, 0);
        for (long i = 0; i < m->w; i++, to += 16) {
            if (!j->back)
                memset(to, 0, 16 * sizeof *to);
            for (int k = 0, q = 0; k < c->l->ins; q += c->l->x[k++].kind == KR_REAL ? 1 : 2) {
                if (!im[k])
                    continue;
                if (im[k]->n.kind == KR_REAL) {
                    float *v = LAY_R(im[k]) + y * m->w + i;
                    if (j->back)
                        *v += to[q];
                    else
                        to[q] = *v;
                    continue;
                }
                kr_cfloat *v = LAY_C(im[k]) + y * m->w + i;
                if (j->back)
                    *v += kr_c(to[q], to[q + 1]);
                else {
                    to[q] = kr_re(*v);
                    to[q + 1] = kr_im(*v);
                }
            }
        }
    }
    return 0;
}

static void put_forward(const kr_call *c)
{
    struct rows j = { c, false };
    if (kr_for((c->y[0]->n.y + ROWS - 1) / ROWS, put_rows, &j))
        kr_assert(0 && "a copy cannot be refused");
}

static void put_backward(const kr_call *c)
{
    struct rows j = { c, true };
    if (kr_for((c->dy[0]->n.y + ROWS - 1) / ROWS, put_rows, &j))
        kr_assert(0 && "a copy cannot be refused");
}

static void put_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (int k = 0, first = 0; k < c->l->ins; k++) {
        int parts = c->x[k]->n.kind == KR_REAL ? 1 : 2;
        for (long i = 0; i < parts * px; i++)
            c->y[0]->v[(first + i % parts) * px + i / parts] = c->x[k]->v[i];
        first += parts;
    }
}

static const kr_layer_ops put = { .name = "images to features", .shape = put_shape, .keeps = none, .forward = put_forward, .backward = put_backward, .plain = put_plain, .on = -1 };
kr_node lay_features(kr_graph *g, const kr_node *x, int count) { return graph_add(g, NULL, &put, x, count, NULL, 0, NULL, 0, NULL); }

/* ---- Two channels to a complex image ---- */
static int take_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_IMAGE, 1);
    return extent_is(l, x, KR_FEATURES, 2) ? kr_error_code() : extent_flat(l, x, 1);
}

static int take_rows(void *self, long b)
{
    const kr_call *c = self;
    const kr_map *m = &c->x[0]->map;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++)
        for (long i = 0; i < m->w; i++)
            LAY_C(c->y[0])[y * m->w + i] = kr_c(kr_map_at(m, 0, y, i)[0], kr_map_at(m, 0, y, i)[1]);
    return 0;
}

static void take_forward(const kr_call *c)
{
    if (kr_for((c->x[0]->n.y + ROWS - 1) / ROWS, take_rows, (void *)(uintptr_t)c))
        kr_assert(0 && "a copy cannot be refused");
}

static int give_rows(void *self, long b)
{
    const kr_call *c = self;
    kr_map *m = &c->dx[0]->map;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++)
        for (long i = 0; i < m->w; i++) {
            float *to = kr_map_at(m, 0, y, i);
            kr_cfloat d = LAY_C(c->dy[0])[y * m->w + i];
            to[0] += kr_re(d);
            to[1] += kr_im(d);
        }
    return 0;
}

static void take_backward(const kr_call *c)
{
    if (kr_for((c->dx[0]->n.y + ROWS - 1) / ROWS, give_rows, (void *)(uintptr_t)c))
        kr_assert(0 && "a copy cannot be refused");
}

static void take_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px; i++)
        for (int q = 0; q < 2; q++)
            c->y[0]->v[2 * i + q] = c->x[0]->v[q * px + i];
}

static const kr_layer_ops take = { .name = "features to an image", .shape = take_shape, .keeps = none, .forward = take_forward, .backward = take_backward, .plain = take_plain, .on = -1 };
kr_node lay_image(kr_graph *g, kr_node x) { return graph_add(g, NULL, &take, &x, 1, NULL, 0, NULL, 0, NULL); }

/* ---- Zeros ---- */
static int zero_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, l->arg[0]);
    return extent_flat(l, x, 1);
}

static void zero_forward(const kr_call *c)
{
    kr_map *m = &c->y[0]->map;
    memset(m->store, 0, (size_t)(m->blocks * m->block) * sizeof *m->store);
}
static void zero_backward(const kr_call *c) { (void)c; }
static void zero_plain(const kr_plain_call *c) { (void)c; }              /* values begin as zeros */

static const kr_layer_ops zero = { .name = "zeros", .shape = zero_shape, .keeps = none, .forward = zero_forward, .backward = zero_backward, .plain = zero_plain, .on = -1, .sizes = 1 };
kr_node lay_zeros(kr_graph *g, kr_node like, long chan) { return graph_add(g, NULL, &zero, &like, 1, NULL, 0, &chan, 1, NULL); }
