/* lay_coils.c: between an image and its coils: S_c x, sum conj(S_c) y_c, sum y_c, sqrt(sum |y_c|^2), and maps of unit norm.
 * The gradient of a real loss with respect to a complex number z is dL/dRe z + i dL/dIm z, so that dL = Re sum conj(g) dz and
 * the backward pass of a linear operator is its adjoint. */
#include "lay.h"
#include <math.h>
#include <string.h>

/* Stretches of pixels, spread over the threads; coils are added in their order. */
enum { STRETCH = 4096 };
struct job { const kr_call *c; void (*f)(const kr_call *c, long coils, long n, long from, long to); long coils, n; };

static int stretch(void *self, long b)
{
    const struct job *j = self;
    j->f(j->c, j->coils, j->n, b * STRETCH, (b + 1) * STRETCH < j->n ? (b + 1) * STRETCH : j->n);
    return 0;
}

static void each(const kr_call *c, const kr_extent *coils, void (*f)(const kr_call *, long, long, long, long))
{
    struct job j = { c, f, coils->chan, extent_pixels(coils) };
    if (kr_for((j.n + STRETCH - 1) / STRETCH, stretch, &j))
        kr_assert(0 && "coil arithmetic cannot be refused");
}

static void all_inputs(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    /* Of a product, the other factor. */
    *x = (l->ins > 1 ? (wants >> 1 & 1) | (wants & 1) << 1 : 1);
    *y = 0;
}

/* ---- y_c = S_c x ---- */
static int expand_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[1];
    return extent_is(l, x, KR_IMAGE, 0) || extent_is(l, x + 1, KR_COILS, 0) ? kr_error_code() : extent_flat(l, x, 2);
}

static void expand_f(const kr_call *c, long coils, long n, long from, long to)
{
    const kr_cfloat *x = c->x[0]->data;
    for (long k = 0; k < coils; k++) {
        const kr_cfloat *s = LAY_C(c->x[1]) + k * n;
        kr_cfloat *y = LAY_C(c->y[0]) + k * n;
        for (long i = from; i < to; i++)
            y[i] = kr_cmul(s[i], x[i]);
    }
}

static void expand_b(const kr_call *c, long coils, long n, long from, long to)
{
    for (long k = 0; k < coils; k++) {
        const kr_cfloat *d = LAY_C(c->dy[0]) + k * n;
        for (long i = from; i < to && c->dx[0]; i++)
            LAY_C(c->dx[0])[i] += kr_cmulc(LAY_C(c->x[1])[k * n + i], d[i]);
        for (long i = from; i < to && c->dx[1]; i++)
            LAY_C(c->dx[1])[k * n + i] += kr_cmulc(LAY_C(c->x[0])[i], d[i]);
    }
}

static void expand_forward(const kr_call *c) { each(c, &c->y[0]->n, expand_f); }
static void expand_backward(const kr_call *c) { each(c, &c->dy[0]->n, expand_b); }

/* Complex numbers: y[i] += S[k] x[j], of conj(S) where sign is -1; or their gradients. */
static void plain_product(const kr_plain_call *c, long i, long j, long k, double sign)
{
    const double *s = c->x[1]->v + 2 * k, *x = c->x[0]->v + 2 * j, *d = c->dy[0] ? c->dy[0] + 2 * i : NULL;
    for (int q = 0; q < 2; q++) {
        plain_link(c, 2 * i + q, 0, 2 * j + q, s[0]);
        plain_link(c, 2 * i + q, 0, 2 * j + 1 - q, q ? sign * s[1] : -sign * s[1]);
    }
    if (d && c->dx[1]) {
        c->dx[1][2 * k] += x[0] * d[0] + x[1] * d[1];
        c->dx[1][2 * k + 1] += sign * (x[0] * d[1] - x[1] * d[0]);
    }
}

static void expand_plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long k = 0; k < c->y[0]->n.chan * n; k++)
        plain_product(c, k, k % n, k, 1);
}

static const kr_layer_ops expand = { .name = "expansion to coils", .shape = expand_shape, .keeps = all_inputs, .forward = expand_forward, .backward = expand_backward, .plain = expand_plain,
                                     .plain_back = expand_plain, .on = -1 };
kr_node lay_expand(kr_graph *g, kr_node x, kr_node sens) { return graph_add(g, NULL, &expand, (kr_node[]){ x, sens }, 2, NULL, 0, NULL, 0, NULL); }

/* ---- x = sum conj(S_c) y_c, or sum y_c ---- */
static int reduce_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, x + i, KR_COILS, 0))
            return kr_error_code();
    if (l->ins > 1 && x[0].chan != x[1].chan)
        return kr_fail(KR_ESHAPE, "%ld coils and maps of %ld", x[0].chan, x[1].chan);
    y[0] = extent_like(x[0], KR_IMAGE, 1);
    return extent_flat(l, x, l->ins);
}

static void reduce_f(const kr_call *c, long coils, long n, long from, long to)
{
    kr_cfloat *x = c->y[0]->data;
    memset((void *)(x + from), 0, (size_t)(to - from) * sizeof *x);
    for (long k = 0; k < coils; k++) {
        const kr_cfloat *y = LAY_C(c->x[0]) + k * n, *s = c->l->ins > 1 ? LAY_C(c->x[1]) + k * n : NULL;
        for (long i = from; i < to; i++)
            x[i] += s ? kr_cmulc(s[i], y[i]) : y[i];
    }
}

static void reduce_b(const kr_call *c, long coils, long n, long from, long to)
{
    const kr_cfloat *d = c->dy[0]->data;
    for (long k = 0; k < coils; k++) {
        for (long i = from; i < to && c->dx[0]; i++)
            LAY_C(c->dx[0])[k * n + i] += c->l->ins > 1 ? kr_cmul(LAY_C(c->x[1])[k * n + i], d[i]) : d[i];
        for (long i = from; i < to && c->l->ins > 1 && c->dx[1]; i++)
            LAY_C(c->dx[1])[k * n + i] += kr_cmulc(d[i], LAY_C(c->x[0])[k * n + i]);
    }
}

static void reduce_forward(const kr_call *c) { each(c, &c->x[0]->n, reduce_f); }
static void reduce_backward(const kr_call *c) { each(c, c->dx[0] ? &c->dx[0]->n : &c->dx[1]->n, reduce_b); }

static void reduce_plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long k = 0; k < c->x[0]->n.chan * n && c->l->ins > 1; k++)
        plain_product(c, k % n, k, k, -1);
    for (long k = 0; k < 2 * c->x[0]->n.chan * n && c->l->ins == 1; k++)
        plain_link(c, k % (2 * n), 0, k, 1);
}

static const kr_layer_ops reduce = { .name = "combination of coils", .shape = reduce_shape, .keeps = all_inputs, .forward = reduce_forward, .backward = reduce_backward, .plain = reduce_plain,
                                     .plain_back = reduce_plain, .on = -1 };
kr_node lay_reduce(kr_graph *g, kr_node y, kr_node sens) { return graph_add(g, NULL, &reduce, (kr_node[]){ y, sens }, 2, NULL, 0, NULL, 0, NULL); }
kr_node lay_sum(kr_graph *g, kr_node y) { return graph_add(g, NULL, &reduce, &y, 1, NULL, 0, NULL, 0, NULL); }

/* ---- sqrt(sum |y_c|^2); where it is 0 so is its gradient ---- */
static int rss_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_REAL, 1);
    return extent_is(l, x, KR_COILS, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static void rss_f(const kr_call *c, long coils, long n, long from, long to)
{
    float sum[STRETCH] = { 0 };
    for (long k = 0; k < coils; k++)
        for (long i = from; i < to; i++)
            sum[i - from] += kr_cabs2(LAY_C(c->x[0])[k * n + i]);
    for (long i = from; i < to; i++)
        LAY_R(c->y[0])[i] = sqrtf(sum[i - from]);
}

static void rss_b(const kr_call *c, long coils, long n, long from, long to)
{
    const kr_cfloat *y = c->x[0]->data;
    kr_cfloat *d = c->dx[0]->data;
    for (long i = from; i < to; i++) {
        double sum = 0;
        for (long k = 0; k < coils; k++)
            sum += (double)kr_cabs2(y[k * n + i]);
        float s = sum > 0 ? (float)((double)LAY_R(c->dy[0])[i] / sqrt(sum)) : 0;
        for (long k = 0; k < coils; k++)
            d[k * n + i] += y[k * n + i] * s;
    }
}

static void rss_forward(const kr_call *c) { each(c, &c->x[0]->n, rss_f); }
static void rss_backward(const kr_call *c) { each(c, &c->x[0]->n, rss_b); }

/* Of all parts, or (an image) of real and imaginary parts apart. */
static long root_of(const kr_plain_call *c, long k)
{
    long n = extent_pixels(&c->y[0]->n);
    return c->y[0]->n.kind == KR_REAL ? k / 2 % n : k % (2 * n);
}

static void roots_plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n);
    for (long k = 0; k < 2 * c->x[0]->n.chan * n; k++)
        c->y[0]->v[root_of(c, k)] += c->x[0]->v[k] * c->x[0]->v[k];
    for (long i = 0; i < (c->y[0]->n.kind == KR_REAL ? n : 2 * n); i++)
        c->y[0]->v[i] = sqrt(c->y[0]->v[i]);
}

static void roots_plain_back(const kr_plain_call *c)
{
    for (long k = 0; k < 2 * c->x[0]->n.chan * extent_pixels(&c->y[0]->n); k++) {
        double r = c->y[0]->v[root_of(c, k)];
        c->dx[0][k] += r > 0 ? c->dy[0][root_of(c, k)] * c->x[0]->v[k] / r : 0;
    }
}

static const kr_layer_ops rss = { .name = "root sum of squares", .shape = rss_shape, .keeps = all_inputs, .forward = rss_forward, .backward = rss_backward, .plain = roots_plain, .plain_back = roots_plain_back, .on = -1 };
kr_node lay_rss(kr_graph *g, kr_node y) { return graph_add(g, NULL, &rss, &y, 1, NULL, 0, NULL, 0, NULL); }

/* ---- sqrt(sum (Re y_c)^2) + i sqrt(sum (Im y_c)^2) ---- */
static void parts_f(const kr_call *c, long coils, long n, long from, long to)
{
    float re[STRETCH] = { 0 }, im[STRETCH] = { 0 };
    for (long k = 0; k < coils; k++)
        for (long i = from; i < to; i++) {
            kr_cfloat v = LAY_C(c->x[0])[k * n + i];
            re[i - from] += kr_re(v) * kr_re(v);
            im[i - from] += kr_im(v) * kr_im(v);
        }
    for (long i = from; i < to; i++)
        LAY_C(c->y[0])[i] = kr_c(sqrtf(re[i - from]), sqrtf(im[i - from]));
}

/* Where a sum is 0 so is its gradient. */
static void parts_b(const kr_call *c, long coils, long n, long from, long to)
{
    const kr_cfloat *y = c->x[0]->data;
    kr_cfloat *d = c->dx[0]->data;
    for (long i = from; i < to; i++) {
        double re = 0, im = 0;
        for (long k = 0; k < coils; k++) {
            re += (double)kr_re(y[k * n + i]) * (double)kr_re(y[k * n + i]);
            im += (double)kr_im(y[k * n + i]) * (double)kr_im(y[k * n + i]);
        }
        kr_cfloat g = LAY_C(c->dy[0])[i];
        float by_re = re > 0 ? (float)((double)kr_re(g) / sqrt(re)) : 0, by_im = im > 0 ? (float)((double)kr_im(g) / sqrt(im)) : 0;
        for (long k = 0; k < coils; k++)
            d[k * n + i] += kr_c(kr_re(y[k * n + i]) * by_re, kr_im(y[k * n + i]) * by_im);
    }
}

static void parts_forward(const kr_call *c) { each(c, &c->x[0]->n, parts_f); }
static void parts_backward(const kr_call *c) { each(c, &c->x[0]->n, parts_b); }

static const kr_layer_ops parts = { .name = "root sum of squares of real and imaginary parts", .shape = reduce_shape, .keeps = all_inputs, .forward = parts_forward, .backward = parts_backward, .plain = roots_plain,
                                    .plain_back = roots_plain_back, .on = -1 };
kr_node lay_rss_parts(kr_graph *g, kr_node y) { return graph_add(g, NULL, &parts, &y, 1, NULL, 0, NULL, 0, NULL); }

/* ---- S_c / r, r = sqrt(sum |S|^2), or (arg 0) sqrt(sum |S|): where the published code divides 0 by 0 there is nothing to show either ---- */
static int unit_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    return extent_is(l, x, KR_COILS, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

static void unit_f(const kr_call *c, long coils, long n, long from, long to)
{
    float sum[STRETCH] = { 0 };
    const kr_cfloat *x = c->x[0]->data;
    bool magnitudes = c->l->arg[0];
    for (long k = 0; k < coils; k++)
        for (long i = from; i < to; i++)
            sum[i - from] += magnitudes ? sqrtf(kr_cabs2(x[k * n + i])) : kr_cabs2(x[k * n + i]);
    for (long k = 0; k < coils; k++)
        for (long i = from; i < to; i++) {
            float r = sqrtf(sum[i - from]);
            kr_cfloat s = x[k * n + i];
            LAY_C(c->y[0])[k * n + i] = r != 0 ? kr_c(kr_re(s) / r, kr_im(s) / r) : kr_c(0, 0);
        }
}

/* S' = S / r, r^2 the sum: dS_c = (dS'_c - w_c S_c Re sum conj(S_j) dS'_j / r^2) / r, w_c = 1 of squares, 1 / (2 |S_c|) of magnitudes */
static void unit_b(const kr_call *c, long coils, long n, long from, long to)
{
    const kr_cfloat *x = c->x[0]->data, *dy = c->dy[0]->data;
    bool magnitudes = c->l->arg[0];
    for (long i = from; i < to; i++) {
        double r2 = 0, along = 0;
        for (long k = 0; k < coils; k++) {
            double square = (double)kr_cabs2(x[k * n + i]);
            r2 += magnitudes ? sqrt(square) : square;
            along += (double)kr_re(kr_cmulc(x[k * n + i], dy[k * n + i]));
        }
        double r = sqrt(r2);
        for (long k = 0; k < coils && r2 > 0; k++) {
            kr_cfloat s = x[k * n + i], d = dy[k * n + i];
            double size = sqrt((double)kr_cabs2(s)), by = along / r2 * (!magnitudes ? 1 : size > 0 ? 0.5 / size : 0);
            LAY_C(c->dx[0])[k * n + i] += kr_c((float)(((double)kr_re(d) - (double)kr_re(s) * by) / r), (float)(((double)kr_im(d) - (double)kr_im(s) * by) / r));
        }
    }
}

static void unit_forward(const kr_call *c) { each(c, &c->x[0]->n, unit_f); }
static void unit_backward(const kr_call *c) { each(c, &c->x[0]->n, unit_b); }

static double plain_size(const kr_plain_call *c, long k) { return hypot(c->x[0]->v[2 * k], c->x[0]->v[2 * k + 1]); }

static void unit_plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n), coils = c->y[0]->n.chan;
    for (long i = 0; i < n; i++) {
        double r2 = 0, along = 0;
        for (long k = i; k < coils * n; k += n) {
            r2 += pow(plain_size(c, k), c->l->arg[0] ? 1 : 2);
            for (long q = 2 * k; c->dy[0] && q < 2 * k + 2; q++)
                along += c->x[0]->v[q] * c->dy[0][q];
        }
        for (long k = i; k < coils * n && r2 > 0; k += n) {
            double size = plain_size(c, k), by = along / r2 * (!c->l->arg[0] ? 1 : size > 0 ? 0.5 / size : 0);
            for (long q = 2 * k; q < 2 * k + 2; q++) {
                plain_link(c, q, 0, q, 1 / sqrt(r2));
                if (c->dy[0])
                    c->dx[0][q] -= c->x[0]->v[q] * by / sqrt(r2);
            }
        }
    }
}

static const kr_layer_ops unit = { .name = "normalisation of maps", .shape = unit_shape, .keeps = all_inputs, .forward = unit_forward, .backward = unit_backward, .plain = unit_plain,
                                   .plain_back = unit_plain, .on = 0 };
kr_node lay_unit_maps(kr_graph *g, kr_node sens) { return graph_add(g, NULL, &unit, &sens, 1, NULL, 0, (long[]){ 0 }, 1, NULL); }
kr_node lay_atommic_maps(kr_graph *g, kr_node sens) { return graph_add(g, NULL, &unit, &sens, 1, NULL, 0, (long[]){ 1 }, 1, NULL); }
