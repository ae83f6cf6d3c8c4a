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
static long channels(const kr_extent *n) { return n->kind == KR_REAL ? 1 : n->kind == KR_COILS ? 2 * n->chan : 2; }

static int put_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    long chan = 0;
    for (int i = 0; i < l->ins; i++) {
        if (x[i].kind != KR_REAL && (x[i].kind != KR_COILS || x[i].chan < 1) && extent_is(l, &x[i], KR_IMAGE, 0))
            return kr_error_code();
        chan += channels(&x[i]);
    }
    y[0] = extent_like(x[0], KR_FEATURES, chan);
    return extent_flat(l, x, l->ins);
}

enum { ROWS = 16 };
struct rows { const kr_call *c; bool back; };

/* One row of complex images, two channels each from channel `first` on. */
static void complex_row(kr_map *m, kr_cfloat *v, long images, long first, long y, bool back)
{
    for (long k = 0; k < images; k++, first += 2) {
        kr_cfloat *z = v + (k * m->h + y) * m->w;
        float *re = kr_map_at(m, first / 16, y, 0) + first % 16, *im = kr_map_at(m, (first + 1) / 16, y, 0) + (first + 1) % 16;
        for (long i = 0; i < m->w; i++, re += 16, im += 16)
            if (back)
                z[i] += kr_c(*re, *im);
            else {
                *re = kr_re(z[i]);
                *im = kr_im(z[i]);
            }
    }
}

static int put_rows(void *self, long b)
{
    const struct rows *j = self;
    const kr_call *c = j->c;
    kr_value *const *im = j->back ? c->dx : c->x;
    kr_map *m = j->back ? &c->dy[0]->map : &c->y[0]->map;
    for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++) {
        for (long q = 0; !j->back && q < m->blocks; q++)
            memset(kr_map_at(m, q, y, 0), 0, (size_t)m->w * 16 * sizeof(float));
        for (long k = 0, first = 0; k < c->l->ins; first += channels(&c->l->x[k++])) {
            if (!im[k])
                continue;
            if (im[k]->n.kind != KR_REAL) {
                complex_row(m, im[k]->data, channels(&im[k]->n) / 2, first, y, j->back);
                continue;
            }
            float *v = LAY_R(im[k]) + y * m->w, *to = kr_map_at(m, first / 16, y, 0) + first % 16;
            for (long i = 0; i < m->w; i++, to += 16)
                if (j->back)
                    v[i] += *to;
                else
                    *to = v[i];
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
    long px = extent_pixels(&c->y[0]->n), first = 0;
    for (int k = 0; k < c->l->ins; k++) {
        long all = channels(&c->x[k]->n), parts = c->x[k]->n.kind == KR_REAL ? 1 : 2;
        for (long i = 0; i < all * px; i++)              /* image i / (parts px), part i % parts */
            plain_link(c, (first + i / (parts * px) * parts + i % parts) * px + i / parts % px, k, i, 1);
        first += all;
    }
}

static const kr_layer_ops put = { .name = "images to features", .shape = put_shape, .keeps = none, .forward = put_forward, .backward = put_backward, .plain = put_plain, .plain_back = put_plain, .on = -1 };
kr_node lay_features(kr_graph *g, const kr_node *x, int count) { return graph_add(g, NULL, &put, x, count, NULL, 0, NULL, 0, NULL); }

/* ---- Channels, two by two, to complex images ---- */
enum { STACK };
static int take_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    bool stack = l->arg[STACK];
    y[0] = extent_like(x[0], stack ? KR_COILS : KR_IMAGE, stack ? x->chan / 2 : 1);
    return extent_is(l, x, KR_FEATURES, stack ? x->chan / 2 * 2 : 2) ? kr_error_code() : extent_flat(l, x, 1);
}

static long images_of(const kr_value *v) { return v->n.kind == KR_COILS ? v->n.chan : 1; }

static int take_rows(void *self, long b)
{
    const kr_call *c = self;
    const kr_map *m = &c->x[0]->map;
    for (long k = 0; k < images_of(c->y[0]); k++)
        for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++) {
            const float *re = kr_map_at(m, 2 * k / 16, y, 0) + 2 * k % 16;
            for (long i = 0; i < m->w; i++, re += 16)
                LAY_C(c->y[0])[(k * m->h + y) * m->w + i] = kr_c(re[0], re[1]);
        }
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
    for (long k = 0; k < images_of(c->dy[0]); k++)
        for (long y = b * ROWS; y < (b + 1) * ROWS && y < m->h; y++) {
            float *to = kr_map_at(m, 2 * k / 16, y, 0) + 2 * k % 16;
            for (long i = 0; i < m->w; i++, to += 16) {
                kr_cfloat d = LAY_C(c->dy[0])[(k * m->h + y) * m->w + i];
                to[0] += kr_re(d);
                to[1] += kr_im(d);
            }
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
    for (long i = 0; i < px * c->x[0]->n.chan; i++)
        plain_link(c, 2 * (i / (2 * px) * px + i % px) + i / px % 2, 0, i, 1);
}

static const kr_layer_ops take = { .name = "features to images", .shape = take_shape, .keeps = none, .forward = take_forward, .backward = take_backward, .plain = take_plain, .plain_back = take_plain, .on = -1 };
kr_node lay_image(kr_graph *g, kr_node x) { return graph_add(g, NULL, &take, &x, 1, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_stack(kr_graph *g, kr_node x) { return graph_add(g, NULL, &take, &x, 1, NULL, 0, (long[]){ 1 }, 1, NULL); }

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

static const kr_layer_ops zero = { .name = "zeros", .shape = zero_shape, .keeps = none, .forward = zero_forward, .backward = zero_backward, .plain = zero_plain, .plain_back = zero_plain, .on = -1, .sizes = 1 };
kr_node lay_zeros(kr_graph *g, kr_node like, long chan) { return graph_add(g, NULL, &zero, &like, 1, NULL, 0, &chan, 1, NULL); }
