/* lay_data.c: k-space and what was measured of it: M (k - y), M k, and data consistency k - w M (k - y) + p. */
#include "lay.h"
#include <string.h>

struct job { const kr_call *c; const kr_extent *n; void (*f)(const kr_call *, long coil, long n); };
static int coil(void *self, long k)
{
    const struct job *j = self;
    j->f(j->c, k, extent_pixels(j->n));
    return 0;
}
static void each(const kr_call *c, const kr_extent *n, void (*f)(const kr_call *, long, long))
{
    struct job j = { c, n, f };
    if (kr_for(n->chan, coil, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static int coils_and_mask(kr_extent *y, const kr_extent *x, const kr_layer *l, int mask)
{
    y[0] = x[0];
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, x + i, i == mask ? KR_REAL : KR_COILS, i && i != mask ? x[0].chan : 0))
            return kr_error_code();
    return extent_flat(l, x, l->ins);
}

/* ---- M (k - y); M k or (1 - M) k ---- */
enum { OUTSIDE };
static int residual_shape(kr_extent *y, const kr_extent *x, const kr_layer *l) { return coils_and_mask(y, x, l, l->ins - 1); }
static int select_passes(const kr_layer *l, const kr_extent *x) { return x[l->ins - 1].kind == KR_ABSENT ? 0 : -1; }

static void mask_only(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = 1u << (l->ins - 1);
    *y = 0;
}

static bool kept(const kr_call *c, long i) { return (LAY_R(c->x[c->l->ins - 1])[i] != 0) != (c->l->arg[OUTSIDE] != 0); }

static void residual_f(const kr_call *c, long k, long n)
{
    const kr_cfloat *x = LAY_C(c->x[0]) + k * n, *y = c->l->ins > 2 ? LAY_C(c->x[1]) + k * n : NULL;
    kr_cfloat *to = LAY_C(c->y[0]) + k * n;
    for (long i = 0; i < n; i++)
        to[i] = kept(c, i) ? (y ? x[i] - y[i] : x[i]) : kr_c(0, 0);
}

static void residual_b(const kr_call *c, long k, long n)
{
    const kr_cfloat *d = LAY_C(c->dy[0]) + k * n;
    for (long i = 0; i < n; i++)
        if (kept(c, i)) {
            if (c->dx[0])
                LAY_C(c->dx[0])[k * n + i] += d[i];
            if (c->l->ins > 2 && c->dx[1])
                LAY_C(c->dx[1])[k * n + i] -= d[i];
        }
}

static void residual_forward(const kr_call *c) { each(c, &c->y[0]->n, residual_f); }
static void residual_backward(const kr_call *c) { each(c, &c->dy[0]->n, residual_b); }

static void residual_plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < 2 * n * c->y[0]->n.chan; i++)
        for (int k = 0; k < c->l->ins - 1; k++)
            if ((c->x[c->l->ins - 1]->v[i / 2 % n] != 0) != (c->l->arg[OUTSIDE] != 0))
                plain_link(c, i, k, i, k ? -1 : 1);
}

static const kr_layer_ops residual = { .name = "residual of the data", .shape = residual_shape, .keeps = mask_only, .forward = residual_forward, .backward = residual_backward, .plain = residual_plain,
                                       .plain_back = residual_plain, .on = 0 };
kr_node lay_residual(kr_graph *g, kr_node k, kr_node y, kr_node mask) { return graph_add(g, NULL, &residual, (kr_node[]){ k, y, mask }, 3, NULL, 0, NULL, 0, NULL); }

static const kr_layer_ops masked = { .name = "selection of samples", .shape = residual_shape, .passes = select_passes, .keeps = mask_only, .forward = residual_forward,
                                     .backward = residual_backward, .plain = residual_plain, .plain_back = residual_plain, .on = 0 };
kr_node lay_select(kr_graph *g, kr_node k, kr_node mask, bool outside) { return graph_add(g, NULL, &masked, (kr_node[]){ k, mask }, 2, NULL, 0, (long[]){ outside }, 1, NULL); }

/* ---- k - w M (k - y) + sign p ---- */
enum { SIGN };
static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l) { return coils_and_mask(y, x, l, 2); }

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = 7;
    *y = 0;
}

static void consistency_f(const kr_call *c, long q, long n)
{
    const kr_cfloat *k = LAY_C(c->x[0]) + q * n, *y = LAY_C(c->x[1]) + q * n, *p = LAY_C(c->x[3]) + q * n;
    const float *mask = c->x[2]->data, w = *(const float *)c->l->packed;
    kr_cfloat *to = LAY_C(c->y[0]) + q * n;
    if (c->l->arg[SIGN] < 0)
        for (long i = 0; i < n; i++)
            to[i] = mask[i] != 0 ? k[i] - w * (k[i] - y[i]) - p[i] : k[i] - p[i];
    else
        for (long i = 0; i < n; i++)
            to[i] = mask[i] != 0 ? k[i] - w * (k[i] - y[i]) + p[i] : k[i] + p[i];
}

static void consistency_b(const kr_call *c, long q, long n)
{
    const float *mask = c->x[2]->data, w = *(const float *)c->l->packed;
    const kr_cfloat *d = LAY_C(c->dy[0]) + q * n;
    for (long i = 0; i < n; i++) {
        if (c->dx[0])
            LAY_C(c->dx[0])[q * n + i] += mask[i] != 0 ? (1 - w) * d[i] : d[i];
        if (c->dx[1] && mask[i] != 0)
            LAY_C(c->dx[1])[q * n + i] += w * d[i];
        if (c->dx[3])
            LAY_C(c->dx[3])[q * n + i] += c->l->arg[SIGN] < 0 ? -d[i] : d[i];
    }
}

static void forward(const kr_call *c) { each(c, &c->y[0]->n, consistency_f); }

static void backward(const kr_call *c)
{
    each(c, &c->dy[0]->n, consistency_b);
    long n = extent_pixels(&c->dy[0]->n);
    double sum = 0;
    for (long i = 0; i < n * c->dy[0]->n.chan && c->dw[0]; i++)
        if (LAY_R(c->x[2])[i % n] != 0)
            sum -= (double)kr_re(kr_cmulc(LAY_C(c->dy[0])[i], LAY_C(c->x[0])[i] - LAY_C(c->x[1])[i]));
    if (c->dw[0])
        c->dw[0]->data[0] += (float)sum;
}

static void plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < 2 * n * c->y[0]->n.chan; i++) {
        bool at = c->x[2]->v[i / 2 % n] != 0;
        plain_link(c, i, 0, i, at ? 1 - c->w[0][0] : 1);
        if (at)
            plain_link(c, i, 1, i, c->w[0][0]);
        plain_link(c, i, 3, i, (double)c->l->arg[SIGN]);
        if (c->dw[0] && at)
            c->dw[0][0] -= c->dy[0][i] * (c->x[0]->v[i] - c->x[1]->v[i]);
    }
}

static const kr_layer_ops ops = { .name = "data consistency", .shape = shape, .pack = lay_numbers, .unpack = lay_unpack, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain,
                                  .plain_back = plain, .on = 0 };
kr_node lay_consistency(kr_graph *g, kr_node k, kr_node y, kr_node mask, kr_node p, const kr_tensor *w, int sign)
{
    return w ? graph_add(g, NULL, &ops, (kr_node[]){ k, y, mask, p }, 4, &w, 1, (long[]){ sign }, 1, NULL) : graph_fail(g);
}
