/* lay_fourier.c: unitary Fourier transforms of coil images and images: the adjoint is the inverse. */
#include "lay.h"
#include <math.h>

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

/* One axis of n points, `apart` numbers apart. */
static void line(double *v, long n, long apart, bool inverse, bool corner, double *room)
{
    long c = corner ? 0 : n / 2;
    for (long k = 0; k < n; k++) {
        double re = 0, im = 0;
        for (long i = 0; i < n; i++) {
            double a = (inverse ? 2 : -2) * M_PI * (double)((i - c) * (k - c) % n) / (double)n;
            re += v[2 * i * apart] * cos(a) - v[2 * i * apart + 1] * sin(a);
            im += v[2 * i * apart] * sin(a) + v[2 * i * apart + 1] * cos(a);
        }
        room[2 * k] = re / sqrt((double)n);
        room[2 * k + 1] = im / sqrt((double)n);
    }
    for (long k = 0; k < n; k++) {
        v[2 * k * apart] = room[2 * k];
        v[2 * k * apart + 1] = room[2 * k + 1];
    }
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    long px = n->y * n->x, planes = n->kind == KR_COILS ? n->chan : 1;
    double *room = kr_alloc((size_t)(2 * (n->y + n->x)), sizeof *room);
    kr_assert(room);
    for (long i = 0; i < 2 * px * planes; i++)
        c->y[0]->v[i] = c->x[0]->v[i];
    for (long p = 0; p < planes; p++) {
        for (long y = 0; y < n->y; y++)
            line(c->y[0]->v + 2 * (p * px + y * n->x), n->x, 1, c->l->arg[0], c->use & KR_CORNER, room);
        for (long x = 0; x < n->x; x++)
            line(c->y[0]->v + 2 * (p * px + x), n->y, n->x, c->l->arg[0], c->use & KR_CORNER, room);
    }
    kr_free(room);
}

static const kr_layer_ops ops = { .name = "Fourier transform", .shape = shape, .keeps = keeps, .open = open, .close = close, .forward = forward, .backward = backward, .plain = plain, .on = 0 };
kr_node lay_fourier(kr_graph *g, kr_node x, bool inverse) { return graph_add(g, NULL, &ops, &x, 1, NULL, 0, (long[]){ inverse }, 1, NULL); }
