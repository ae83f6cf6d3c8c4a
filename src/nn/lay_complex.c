/* lay_complex.c: layers of complex features: channels 2c and 2c + 1 are the real and the imaginary part of feature c. Tensors of complex numbers have them as their last axis.
 * Source: Trabelsi et al., Deep Complex Networks, ICLR 2018, arXiv:1705.09792; torchcomplex adds both parts of a bias as its four real convolutions do. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include <math.h>
#include <string.h>

static bool complex_kernel(const kr_tensor *t) { return t->dims == 5 && t->n[2] == t->n[3] && t->n[2] % 2 && t->n[4] == 2; }

/* ---- Convolution: (a + ib)(u + iv) as one real convolution of twice as many channels ---- */
enum { OUTS, WIDE };
struct both { kr_conv *conv; long outs, ins, wide; };

static int conv_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, &x[i], KR_FEATURES, 0))
            return kr_error_code();
    y[0] = extent_like(x[0], KR_FEATURES, 2 * l->arg[OUTS]);
    return extent_flat(l, x, l->ins);
}

static void conv_unpack(kr_layer *l)
{
    struct both *b = l->packed;
    if (b)
        kr_conv_unref(&b->conv);
    kr_free(b);
}

/* Where number `part` (0: real) of the kernel from feature i to feature o stands in the real one, and with what sign: twice each. */
static long place(const struct both *b, long o, long i, int part, int second, float *sign)
{
    long row = 2 * o + (second ? 1 : 0), column = 2 * i + (second != part);
    *sign = part && !second ? -1 : 1;
    return (row * 2 * b->ins + column) * b->wide * b->wide;
}

static int conv_pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    struct both *b = l->packed = kr_alloc_zero(1, sizeof *b);
    if (!b)
        return kr_error_code();
    *b = (struct both){ NULL, w[0]->n[0], w[0]->n[1], w[0]->n[2] };
    long k2 = b->wide * b->wide, split[KR_INS];
    kr_auto float *kernel = kr_alloc((size_t)(4 * b->outs * b->ins * k2), sizeof *kernel), *bias = kr_alloc((size_t)(2 * b->outs), sizeof *bias);
    if (!kernel || !bias)
        return kr_error_code();
    for (long i = 0; i < 4 * b->outs * b->ins; i++) {
        float sign;
        float *to = kernel + place(b, i / 4 / b->ins, i / 4 % b->ins, i & 1, i >> 1 & 1, &sign);
        for (long t = 0; t < k2; t++)
            to[t] = sign * w[0]->data[2 * (i / 4 * k2 + t) + (i & 1)];
    }
    for (long o = 0; o < b->outs; o++) {
        bias[2 * o] = w[1]->data[2 * o] - w[1]->data[2 * o + 1];
        bias[2 * o + 1] = w[1]->data[2 * o] + w[1]->data[2 * o + 1];
    }
    for (int i = 0; i < l->ins; i++)
        split[i] = l->x[i].chan;
    kr_tensor real = { .name = w[0]->name, .dims = 4, .n = { 2 * b->outs, 2 * b->ins, b->wide, b->wide }, .data = kernel },
              offset = { .name = w[1]->name, .dims = 1, .n = { 2 * b->outs }, .data = bias };
    b->conv = kr_conv_new(&real, &offset, 1, KR_PAD_ZERO, KR_ACT_NONE, l->ins, split);
    return b->conv ? 0 : kr_error_code();
}

static size_t conv_all_bytes(const kr_layer *l) { return sizeof(struct both) + conv_bytes(((const struct both *)l->packed)->conv); }

static long conv_halo(const kr_layer *l, int input)
{
    (void)input;
    return l->arg[WIDE] / 2;
}

static void conv_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = (1u << l->ins) - 1;
    *y = 0;
}

/* Backward: gradients of the real kernel and bias, and the room of the convolution. */
static void *rooms_of(const struct both *b, long h, long w, float **dw, float **db, lay_room *room)
{
    *dw = room_for(room, (size_t)(4 * b->outs * b->ins * b->wide * b->wide) * sizeof(float));
    *db = room_for(room, (size_t)(2 * b->outs) * sizeof(float));
    return room_for(room, conv_back_scratch(b->conv, h, w, false));
}

static size_t conv_scratch_of(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state, (void)x;
    const struct both *b = l->packed;
    lay_room room = { NULL, 0 };
    float *dw, *db;
    rooms_of(b, y->y, y->x, &dw, &db, &room);
    return backward ? room.used : conv_scratch(b->conv, y->y, y->x);
}

static void maps(kr_map **m, kr_value *const *v, int count)
{
    for (int i = 0; i < count; i++)
        m[i] = v[i] ? &v[i]->map : NULL;
}

static void conv_forward(const kr_call *c)
{
    kr_map *x[KR_INS];
    maps(x, c->x, c->l->ins);
    conv_run(((const struct both *)c->l->packed)->conv, &c->y[0]->map, x, NULL, c->scratch);
}

static void conv_backward(const kr_call *c)
{
    const struct both *b = c->l->packed;
    long k2 = b->wide * b->wide, all = 4 * b->outs * b->ins * k2;
    kr_map *x[KR_INS], *dx[KR_INS];
    maps(x, c->x, c->l->ins);
    maps(dx, c->dx, c->l->ins);
    lay_room room = { c->scratch, 0 };
    float *dw, *db;
    void *inner = rooms_of(b, c->dy[0]->map.h, c->dy[0]->map.w, &dw, &db, &room);
    memset(dw, 0, (size_t)all * sizeof *dw);
    memset(db, 0, (size_t)(2 * b->outs) * sizeof *db);
    kr_tensor kernel = { .dims = 4, .n = { 2 * b->outs, 2 * b->ins, b->wide, b->wide }, .data = dw }, bias = { .dims = 1, .n = { 2 * b->outs }, .data = db };
    conv_back_run(b->conv, dx, c->dw[0] ? &kernel : NULL, c->dw[1] ? &bias : NULL, x, NULL, &c->dy[0]->map, inner);
    for (long i = 0; i < 4 * b->outs * b->ins && c->dw[0]; i++) {
        float sign;
        const float *from = dw + place(b, i / 4 / b->ins, i / 4 % b->ins, i & 1, i >> 1 & 1, &sign);
        for (long t = 0; t < k2; t++)
            c->dw[0]->data[2 * (i / 4 * k2 + t) + (i & 1)] += sign * from[t];
    }
    for (long o = 0; o < b->outs && c->dw[1]; o++) {
        c->dw[1]->data[2 * o] += db[2 * o] + db[2 * o + 1];
        c->dw[1]->data[2 * o + 1] += db[2 * o + 1] - db[2 * o];
    }
}

/* As one real convolution: its kernel is made from w, or (backward) dw from the gradient of it. */
static void conv_plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    struct both b = { NULL, c->l->arg[OUTS], c->t[0]->n[1], c->l->arg[WIDE] };
    plain_grid g = { n->y, n->x, b.wide, 1, KR_PAD_ZERO };
    long k2 = b.wide * b.wide, all = 4 * b.outs * b.ins * k2, px = n->y * n->x;
    bool back = c->dy[0];
    kr_auto double *w = kr_alloc_zero((size_t)(2 * all), sizeof *w);
    double *dw = w + all;
    if (!w)
        return;
    for (long i = 0; i < all; i++) {
        float sign;
        long at = place(&b, i / k2 / 4 / b.ins, i / k2 / 4 % b.ins, i / k2 & 1, i / k2 >> 1 & 1, &sign) + i % k2;
        w[at] = (double)sign * c->w[0][2 * (i / k2 / 4 * k2 + i % k2) + (i / k2 & 1)];
    }
    for (long i = 0; i < 2 * b.outs * px; i++) {
        const double *bias = c->w[1] + i / px / 2 * 2;
        if (!back)
            c->y[0]->v[i] = i / px % 2 ? bias[0] + bias[1] : bias[0] - bias[1];
        for (long q = 0; q < 2 && c->dw[1]; q++)
            c->dw[1][i / px / 2 * 2 + q] += i / px % 2 || !q ? c->dy[0][i] : -c->dy[0][i];
    }
    for (long s = 0, first = 0; s < c->l->ins; first += c->x[s++]->n.chan)
        if (back)
            plain_conv_back(c->dx[s], c->dw[0] ? dw + first * k2 : NULL, c->dy[0], c->x[s]->v, w + first * k2, 2 * b.outs, c->x[s]->n.chan, 2 * b.ins, &g);
        else
            plain_conv(c->y[0]->v, c->x[s]->v, w + first * k2, 2 * b.outs, c->x[s]->n.chan, 2 * b.ins, &g);
    for (long i = 0; i < all && c->dw[0]; i++) {
        float sign;
        long at = place(&b, i / k2 / 4 / b.ins, i / k2 / 4 % b.ins, i / k2 & 1, i / k2 >> 1 & 1, &sign) + i % k2;
        c->dw[0][2 * (i / k2 / 4 * k2 + i % k2) + (i / k2 & 1)] += (double)sign * dw[at];
    }
}

static double conv_flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)state;
    double in = 0;
    for (int i = 0; i < l->ins; i++)
        in += (double)x[i].chan;
    return 2 * in * (double)(y->chan * y->y * y->x * l->arg[WIDE] * l->arg[WIDE]);
}

static const kr_layer_ops convolution = { .name = "complex convolution", .shape = conv_shape, .pack = conv_pack, .unpack = conv_unpack, .bytes = conv_all_bytes, .halo = conv_halo, .keeps = conv_keeps,
                                          .scratch = conv_scratch_of, .forward = conv_forward, .backward = conv_backward, .plain = conv_plain,
                                          .plain_back = conv_plain, .flops = conv_flops, .on = -1 };

kr_node lay_complex_conv(kr_graph *g, const kr_node *x, int count, const kr_tensor *w, const kr_tensor *bias)
{
    long in = 0;
    for (int i = 0; i < count; i++)
        in += graph_extent(g, x[i]).chan;
    if (graph_refused(g) || !w || !bias)
        return graph_fail(g);
    if (!complex_kernel(w) || 2 * w->n[1] != in || kr_tensor_count(bias) != 2 * w->n[0]) {
        kr_fail(KR_ESHAPE, "the tensors '%s' and '%s' are no complex convolution of %ld features with an odd square kernel and a bias", w->name, bias->name, in / 2);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &convolution, x, count, (const kr_tensor *[]){ w, bias }, 2, (long[]){ w->n[0], w->n[2] }, 2, NULL);
}

/* ---- a + w b, and A b + c: per feature a real 2 x 2 matrix, of a complex number w or of a norm that was frozen ---- */
/* Pixel by pixel y = a + M (b - mean) + add, M = W root: of a gain W is M. */
struct matrix { float m[4], mean[2], add[2], root[4]; };

static int gain_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, x + i, KR_FEATURES, x->chan / 2 * 2))
            return kr_error_code();
    return extent_flat(l, x, l->ins);
}

static int gain_pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    long n = l->x[0].chan / 2;
    struct matrix *p = l->packed = kr_alloc_zero((size_t)n, sizeof *p);
    for (long q = 0; p && q < n; q++) {
        float re = w[0]->data[2 * q], im = w[0]->data[2 * q + 1];
        p[q] = (struct matrix){ .m = { re, -im, im, re }, .root = { 1, 0, 0, 1 } };
    }
    return p ? 0 : kr_error_code();
}

static size_t matrices(const kr_layer *l) { return (size_t)(l->x[0].chan / 2) * sizeof(struct matrix); }

static void gain_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = 1u << (l->ins - 1);
    *y = 0;
}

static void gain_forward(const kr_call *c)
{
    const struct matrix *p = c->l->packed;
    const kr_map *a = c->l->ins > 1 ? &c->x[0]->map : NULL, *b = &c->x[c->l->ins - 1]->map;
    for (long block = 0; block < b->blocks; block++)
        for (long y = 0; y < b->h; y++)
            for (long i = 0; i < b->w; i++) {
                const float *from = kr_map_at(b, block, y, i), *base = a ? kr_map_at(a, block, y, i) : NULL;
                float *to = kr_map_at(&c->y[0]->map, block, y, i);
                for (long q = 0; q < 16; q += 2) {
                    const struct matrix *f = &p[8 * block + q / 2];
                    bool there = 16 * block + q < b->c;
                    float re = there ? from[q] - f->mean[0] : 0, im = there ? from[q + 1] - f->mean[1] : 0;
                    to[q] = there ? f->m[0] * re + f->m[1] * im + f->add[0] + (base ? base[q] : 0) : 0;
                    to[q + 1] = there ? f->m[2] * re + f->m[3] * im + f->add[1] + (base ? base[q + 1] : 0) : 0;
                }
            }
}

/* Gradients of a, b, and the sums over pixels of dy[r] u[c] and dy[r], u = R (b - mean), in double: sum[4], add[2]. */
static void gain_backward_of(const kr_call *c, long q, double sum[4], double add[2])
{
    const struct matrix *f = (const struct matrix *)c->l->packed + q;
    const kr_map *d = &c->dy[0]->map, *b = &c->x[c->l->ins - 1]->map;
    kr_value *da = c->l->ins > 1 ? c->dx[0] : NULL, *to = c->dx[c->l->ins - 1];
    long block = q / 8, at = 2 * q % 16;
    memset(sum, 0, 4 * sizeof *sum);
    memset(add, 0, 2 * sizeof *add);
    for (long y = 0; y < d->h; y++)
        for (long i = 0; i < d->w; i++) {
            const float *v = kr_map_at(d, block, y, i) + at, *from = kr_map_at(b, block, y, i) + at;
            float re = from[0] - f->mean[0], im = from[1] - f->mean[1], u[2] = { f->root[0] * re + f->root[1] * im, f->root[2] * re + f->root[3] * im };
            if (da) {
                kr_map_at(&da->map, block, y, i)[at] += v[0];
                kr_map_at(&da->map, block, y, i)[at + 1] += v[1];
            }
            if (to) {
                kr_map_at(&to->map, block, y, i)[at] += f->m[0] * v[0] + f->m[2] * v[1];
                kr_map_at(&to->map, block, y, i)[at + 1] += f->m[1] * v[0] + f->m[3] * v[1];
            }
            for (int k = 0; k < 4; k++)
                sum[k] += (double)v[k / 2] * (double)u[k % 2];
            add[0] += (double)v[0];
            add[1] += (double)v[1];
        }
}

static void gain_backward(const kr_call *c)
{
    for (long q = 0; q < c->dy[0]->map.c / 2; q++) {
        double sum[4], add[2];
        gain_backward_of(c, q, sum, add);
        if (c->dw[0]) {
            c->dw[0]->data[2 * q] += (float)(sum[0] + sum[3]);
            c->dw[0]->data[2 * q + 1] += (float)(sum[2] - sum[1]);
        }
    }
}

static void matrix_plain(const kr_plain_call *c, int input, long re, long im, const double m[4])
{
    for (int k = 0; k < 4; k++)
        plain_link(c, k < 2 ? re : im, input, k % 2 ? im : re, m[k]);
}

static void gain_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n);
    for (long i = 0; i < px * c->y[0]->n.chan / 2; i++) {
        long q = i / px, re = 2 * q * px + i % px, im = re + px;
        const double *w = c->w[0] + 2 * q, *b = c->x[1]->v;
        plain_link(c, re, 0, re, 1);
        plain_link(c, im, 0, im, 1);
        matrix_plain(c, 1, re, im, (double[4]){ w[0], -w[1], w[1], w[0] });
        if (c->dw[0]) {
            c->dw[0][2 * q] += c->dy[0][re] * b[re] + c->dy[0][im] * b[im];
            c->dw[0][2 * q + 1] += c->dy[0][im] * b[re] - c->dy[0][re] * b[im];
        }
    }
}

static const kr_layer_ops gain = { .name = "sum with learnt complex factors", .shape = gain_shape, .pack = gain_pack, .unpack = lay_unpack, .bytes = matrices, .keeps = gain_keeps,
                                   .forward = gain_forward, .backward = gain_backward, .plain = gain_plain, .plain_back = gain_plain, .on = 0 };

kr_node lay_complex_gain(kr_graph *g, kr_node a, kr_node b, const kr_tensor *w)
{
    if (graph_refused(g) || !w)
        return graph_fail(g);
    if (kr_tensor_count(w) != graph_extent(g, a).chan) {
        kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers for %ld complex features", w->name, kr_tensor_count(w), graph_extent(g, a).chan / 2);
        return graph_fail(g);
    }
    return graph_add(g, NULL, &gain, (kr_node[]){ a, b }, 2, &w, 1, NULL, 0, NULL);
}

/* ---- Batch norm as in evaluation: whitened by the inverse square root R of the running 2 x 2 covariance, then W and a bias ---- */
static void inverse_root(double r[4], double uu, double uv, double vu, double vv)
{
    double s = sqrt(uu * vv - uv * vu), by = s * sqrt(uu + 2 * s + vv);
    r[0] = (vv + s) / by;
    r[1] = -vu / by;
    r[2] = -uv / by;
    r[3] = (uu + s) / by;
}

static int norm_pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    long n = l->x[0].chan / 2;
    struct matrix *p = l->packed = kr_alloc_zero((size_t)n, sizeof *p);
    for (long q = 0; p && q < n; q++) {
        const float *W = w[0]->data + q, *cov = w[3]->data + q;
        double r[4];
        inverse_root(r, (double)cov[0], (double)cov[n], (double)cov[2 * n], (double)cov[3 * n]);
        for (int k = 0; k < 4; k++) {
            p[q].root[k] = (float)r[k];
            p[q].m[k] = (float)((double)W[k / 2 * 2 * n] * r[k % 2] + (double)W[(k / 2 * 2 + 1) * n] * r[2 + k % 2]);
            if (!(r[k] - r[k] == 0))
                return kr_fail(KR_ENUMBER, "the tensor '%s' is no covariance: it has no inverse square root", w[3]->name);
        }
        for (int k = 0; k < 2; k++) {
            p[q].mean[k] = w[2]->data[k * n + q];
            p[q].add[k] = w[1]->data[k * n + q];
        }
    }
    return p ? 0 : kr_error_code();
}

static void norm_backward(const kr_call *c)
{
    long n = c->dy[0]->map.c / 2;
    for (long q = 0; q < n; q++) {
        double sum[4], add[2];
        gain_backward_of(c, q, sum, add);
        for (int k = 0; k < 4 && c->dw[0]; k++)
            c->dw[0]->data[k * n + q] += (float)sum[k];
        for (int k = 0; k < 2 && c->dw[1]; k++)
            c->dw[1]->data[k * n + q] += (float)add[k];
    }
}

static void norm_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n), n = c->y[0]->n.chan / 2;
    for (long i = 0; i < px * n; i++) {
        long q = i / px, re = 2 * q * px + i % px, im = re + px;
        const double *W = c->w[0] + q, *bias = c->w[1] + q, *mean = c->w[2] + q, *cov = c->w[3] + q;
        double r[4], m[4], off[2] = { c->x[0]->v[re] - mean[0], c->x[0]->v[im] - mean[n] };
        inverse_root(r, cov[0], cov[n], cov[2 * n], cov[3 * n]);
        for (int k = 0; k < 4; k++)
            m[k] = W[k / 2 * 2 * n] * r[k % 2] + W[(k / 2 * 2 + 1) * n] * r[2 + k % 2];
        matrix_plain(c, 0, re, im, m);
        for (int k = 0; k < 2; k++) {
            long at = k ? im : re;
            if (!c->dy[0])
                c->y[0]->v[at] += bias[k * n] - m[2 * k] * mean[0] - m[2 * k + 1] * mean[n];
            for (int p = 0; p < 2 && c->dw[0]; p++)
                c->dw[0][(2 * k + p) * n + q] += c->dy[0][at] * (r[2 * p] * off[0] + r[2 * p + 1] * off[1]);
            if (c->dw[1])
                c->dw[1][k * n + q] += c->dy[0][at];
        }
    }
}

static const kr_layer_ops norm = { .name = "complex batch norm", .shape = gain_shape, .pack = norm_pack, .unpack = lay_unpack, .bytes = matrices, .keeps = gain_keeps, .forward = gain_forward,
                                   .backward = norm_backward, .plain = norm_plain, .plain_back = norm_plain, .on = 0 };

kr_node lay_complex_norm(kr_graph *g, kr_node x, const kr_tensor *const w[4])
{
    static const long times[4] = { 4, 2, 2, 4 };
    for (int i = 0; i < 4; i++) {
        if (graph_refused(g) || !w[i])
            return graph_fail(g);
        if (kr_tensor_count(w[i]) != times[i] * graph_extent(g, x).chan / 2) {
            kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers for %ld complex features; %ld of each are wanted", w[i]->name, kr_tensor_count(w[i]), graph_extent(g, x).chan / 2, times[i]);
            return graph_fail(g);
        }
    }
    kr_node y = graph_add(g, NULL, &norm, &x, 1, w, 4, NULL, 0, NULL);
    graph_freeze(g, w[2]);
    graph_freeze(g, w[3]);
    return y;
}

/* ---- The mean of all features ---- */
static int mean_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, 2);
    return extent_is(l, x, KR_FEATURES, x->chan / 2 * 2) ? kr_error_code() : extent_flat(l, x, 1);
}

static void nothing(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static void mean_forward(const kr_call *c)
{
    const kr_map *x = &c->x[0]->map;
    for (long y = 0; y < x->h; y++)
        for (long i = 0; i < x->w; i++) {
            float *to = kr_map_at(&c->y[0]->map, 0, y, i);
            double sum[2] = { 0 };
            for (long q = 0; q < x->c; q++)
                sum[q % 2] += (double)kr_map_at(x, q / 16, y, i)[q % 16];
            memset(to, 0, 16 * sizeof *to);
            for (int k = 0; k < 2; k++)
                to[k] = (float)(2 * sum[k] / (double)x->c);
        }
}

static void mean_backward(const kr_call *c)
{
    kr_map *x = &c->dx[0]->map;
    for (long y = 0; y < x->h; y++)
        for (long i = 0; i < x->w; i++)
            for (long q = 0; q < x->c; q++)
                kr_map_at(x, q / 16, y, i)[q % 16] += 2 * kr_map_at(&c->dy[0]->map, 0, y, i)[q % 2] / (float)x->c;
}

static void mean_plain(const kr_plain_call *c)
{
    long px = extent_pixels(&c->y[0]->n), chan = c->x[0]->n.chan;
    for (long i = 0; i < px * chan; i++)
        plain_link(c, i / px % 2 * px + i % px, 0, i, 2 / (double)chan);
}

static const kr_layer_ops mean = { .name = "mean of complex features", .shape = mean_shape, .keeps = nothing, .forward = mean_forward, .backward = mean_backward, .plain = mean_plain, .plain_back = mean_plain, .on = -1 };
kr_node lay_complex_mean(kr_graph *g, kr_node x) { return graph_add(g, NULL, &mean, &x, 1, NULL, 0, NULL, 0, NULL); }
