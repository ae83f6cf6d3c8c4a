/* lay_fourier.c: unitary Fourier transforms of coil images and images: the adjoint is the inverse. */
#include "lay.h"
#include <string.h>

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = *x;
    return x->kind == KR_IMAGE || !extent_is(l, x, KR_COILS, 0) ? extent_flat(l, x, 1) : kr_error_code();
}

static int open(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use)
{
    (void)l;
    (void)y;
    kr_shape s = KR_SHAPE([KR_X] = x->x, [KR_Y] = x->y);
    if (x->kind == KR_COILS)
        s.n[KR_COIL] = x->chan;
    *state = kr_fft_new(s, KR_ON(KR_X) | KR_ON(KR_Y), use & KR_CORNER ? 0 : KR_CENTRED);
    return *state ? 0 : kr_error_code();
}

static void close(void *state)
{
    kr_fft *p = state;
    kr_fft_unref(&p);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = *y = 0;
}

static void forward(const kr_call *c)
{
    (c->l->arg[0] ? kr_fft_inverse_to : kr_fft_forward_to)(c->state, c->y[0]->data, c->x[0]->data);
}

static void backward(const kr_call *c)
{
    kr_cfloat *d = c->dy[0]->data, *dx = c->dx[0]->data;
    (c->l->arg[0] ? kr_fft_forward : kr_fft_inverse)(c->state, d);
    long n = extent_pixels(&c->dy[0]->n) * (c->dy[0]->n.kind == KR_COILS ? c->dy[0]->n.chan : 1);
    for (long i = 0; i < n; i++)
        dx[i] += d[i];
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    bool back = c->dy[0], inverse = c->l->arg[0] != back;
    long planes = n->kind == KR_COILS ? n->chan : 1, count = 2 * n->y * n->x * planes;
    kr_auto double *room = back ? kr_alloc((size_t)count, sizeof *room) : NULL;
    double *v = back ? room : c->y[0]->v;
    if (!v)
        return;
    memcpy(v, back ? c->dy[0] : c->x[0]->v, (size_t)count * sizeof *v);
    if (plain_fourier(v, n->y, n->x, planes, inverse, c->use & KR_CORNER))
        return;
    for (long i = 0; i < count && back; i++)
        c->dx[0][i] += v[i];
}

static const kr_layer_ops ops = { .name = "Fourier transform", .shape = shape, .keeps = keeps, .open = open, .close = close, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = 0 };
kr_node lay_fourier(kr_graph *g, kr_node x, bool inverse) { return graph_add(g, NULL, &ops, &x, 1, NULL, 0, (long[]){ inverse }, 1, NULL); }
