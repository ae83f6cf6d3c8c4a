/* Backward passes against central differences of the published formulas, written down plainly in double, in random directions;
 * and <A x, y> = <x, A^H y> for all that is linear. */
#include "test.h"
#include "back.h"

/* ---- Formulas in double, planar [c][h][w] ---- */
static long place(long i, long n, enum kr_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    return pad == KR_PAD_ZERO ? -1 : pad == KR_PAD_REPLICATE ? (i < 0 ? 0 : n - 1) : i < 0 ? -i : 2 * n - 2 - i;
}

struct shape { long in, out, k, d, h, w; enum kr_pad pad; };

/* y[o,y,x] = b[o] + sum w[o,c,i,j] x[c, y + i d - p, x + j d - p] */
static void convolve(double *y, const double *x, const double *w, const double *b, struct shape s)
{
    long p = s.d * (s.k / 2);
    for (long o = 0; o < s.out; o++)
        for (long r = 0; r < s.h; r++)
            for (long q = 0; q < s.w; q++) {
                double sum = b ? b[o] : 0;
                for (long i = 0; i < s.k; i++)
                    for (long j = 0; j < s.k; j++) {
                        long yy = place(r + i * s.d - p, s.h, s.pad), xx = place(q + j * s.d - p, s.w, s.pad);
                        for (long c = 0; c < s.in && yy >= 0 && xx >= 0; c++)
                            sum += w[((o * s.in + c) * s.k + i) * s.k + j] * x[(c * s.h + yy) * s.w + xx];
                    }
                y[(o * s.h + r) * s.w + q] = sum;
            }
}

static double act(double v, enum kr_act a) { return v > 0 || a == KR_ACT_NONE ? v : a == KR_ACT_RELU ? 0 : 0.2 * v; }

static void norm(double *y, const double *x, long c, long n, enum kr_act a)
{
    for (long k = 0; k < c; k++) {
        double mean = 0, var = 0;
        for (long i = 0; i < n; i++)
            mean += x[k * n + i] / (double)n;
        for (long i = 0; i < n; i++)
            var += (x[k * n + i] - mean) * (x[k * n + i] - mean) / (double)n;
        for (long i = 0; i < n; i++)
            y[k * n + i] = act((x[k * n + i] - mean) / sqrt(var + 1e-5), a);
    }
}

static double sg(double x) { return 1 / (1 + exp(-x)); }

/* ---- What a loss depends on, and what the backward pass says of it ---- */
struct arg { const char *name; long n; double *v; float *g; };
enum { ARGS = 9 };
struct problem {
    struct arg arg[ARGS];
    int args;
    double *dy;                      /* the loss is sum dy y, y what the layer gives */
    long outs;
    double (*loss)(const struct problem *p);
    struct shape s;
    enum kr_act act;
    int kind, norm, eh, ew;
};

static struct arg *add(struct problem *p, const char *name, long n, double scale)
{
    struct arg *a = &p->arg[p->args++];
    *a = (struct arg){ name, n, malloc((size_t)n * sizeof(double)), calloc((size_t)n, sizeof(float)) };
    for (long i = 0; i < n; i++)     /* floats, so that both sides see the same numbers */
        a->v[i] = (float)(scale * (2 * kr_rand_uniform(11 + (uint64_t)p->s.in, (uint64_t)p->args, (uint64_t)i) - 1));
    return a;
}

static void outputs(struct problem *p, long n)
{
    p->outs = n;
    p->dy = malloc((size_t)n * sizeof *p->dy);
    for (long i = 0; i < n; i++)
        p->dy[i] = (float)(2 * kr_rand_uniform(5, 99, (uint64_t)i) - 1);
}

static double dotted(const struct problem *p, const double *y)
{
    double sum = 0;
    for (long i = 0; i < p->outs; i++)
        sum += p->dy[i] * y[i];
    return sum;
}

static float *floats(const double *v, long n)
{
    float *f = malloc((size_t)n * sizeof *f);
    for (long i = 0; i < n; i++)
        f[i] = (float)v[i];
    return f;
}

static kr_map *map(const double *v, long c, long h, long w, long halo)
{
    kr_map *m = kr_map_new(c, h, w, halo);
    float *f = floats(v, c * h * w);
    kr_map_put(m, f);
    free(f);
    return m;
}

static kr_tensor tensor(const char *name, float *data, int dims, const long *n)
{
    kr_tensor t = { .name = (char *)(uintptr_t)name, .dims = dims, .data = data };
    for (int d = 0; d < dims; d++)
        t.n[d] = n[d];
    return t;
}

/* (L(a + h v) - L(a - h v)) / 2h = sum g v, for each argument alone and for all together. h = 1e-6 in double: truncation and
 * rounding leave 1e-9; the gradients are in float with sums of up to 10^4 terms, 1e-6 of their norm. */
static void check(struct problem *p, const char *what)
{
    const double h = 1e-6;
    double all_fd, all_g = 0, all_norm = 0;
    double *saved[ARGS], *v[ARGS];
    for (int a = 0; a < p->args; a++) {
        struct arg *x = &p->arg[a];
        saved[a] = malloc((size_t)x->n * sizeof(double));
        v[a] = malloc((size_t)x->n * sizeof(double));
        memcpy(saved[a], x->v, (size_t)x->n * sizeof(double));
        double g = 0, size = 0;
        for (long i = 0; i < x->n; i++) {
            v[a][i] = 2 * kr_rand_uniform(23, (uint64_t)a, (uint64_t)i) - 1;
            g += v[a][i] * (double)x->g[i];
            size += (double)x->g[i] * (double)x->g[i];
        }
        double l[2];
        for (int s = 0; s < 2; s++) {
            for (long i = 0; i < x->n; i++)
                x->v[i] = saved[a][i] + (s ? -h : h) * v[a][i];
            l[s] = p->loss(p);
        }
        memcpy(x->v, saved[a], (size_t)x->n * sizeof(double));
        double fd = (l[0] - l[1]) / (2 * h);
        if (!(fabs(fd - g) <= 2e-5 * sqrt(size) + 1e-7))
            fail_msg("%s: along %s the loss changes by %.9g, the gradient says %.9g (norm %.3g)", what, x->name, fd, g, sqrt(size));
        assert_true(size > 0);
        all_g += g;
        all_norm += size;
    }
    double l[2];
    for (int s = 0; s < 2; s++) {
        for (int a = 0; a < p->args; a++)
            for (long i = 0; i < p->arg[a].n; i++)
                p->arg[a].v[i] = saved[a][i] + (s ? -h : h) * v[a][i];
        l[s] = p->loss(p);
    }
    all_fd = (l[0] - l[1]) / (2 * h);
    if (!(fabs(all_fd - all_g) <= 2e-5 * sqrt(all_norm) + 1e-7))
        fail_msg("%s: together the loss changes by %.9g, the gradients say %.9g", what, all_fd, all_g);
    for (int a = 0; a < p->args; a++) {
        free(saved[a]); free(v[a]); free(p->arg[a].v); free(p->arg[a].g);
    }
    free(p->dy);
    assert_int_equal(kr_mem_now(), 0);
}

/* ---- Convolution ---- */
static double conv_loss(const struct problem *p)
{
    double *y = malloc((size_t)p->outs * sizeof *y);
    convolve(y, p->arg[0].v, p->arg[1].v, p->arg[2].v, p->s);
    for (long i = 0; i < p->outs; i++)
        y[i] = act(y[i], p->act);
    double l = dotted(p, y);
    free(y);
    return l;
}

static void convolutions(void **state)
{
    (void)state;
    const struct { struct shape s; enum kr_act act; long cut; } t[] = {
        { { 4, 64, 5, 1, 9, 31, KR_PAD_REPLICATE }, KR_ACT_RELU, 0 },    { { 64, 64, 3, 2, 11, 13, KR_PAD_REPLICATE }, KR_ACT_RELU, 0 },
        { { 64, 2, 3, 1, 7, 20, KR_PAD_REPLICATE }, KR_ACT_NONE, 0 },    { { 18, 36, 3, 1, 6, 5, KR_PAD_ZERO }, KR_ACT_LEAKY, 0 },
        { { 8, 8, 3, 4, 12, 9, KR_PAD_REPLICATE }, KR_ACT_NONE, 0 },     { { 32, 48, 1, 1, 3, 50, KR_PAD_ZERO }, KR_ACT_LEAKY, 16 },
        { { 36, 18, 3, 1, 5, 26, KR_PAD_ZERO }, KR_ACT_NONE, 18 },       { { 1, 1, 7, 1, 8, 8, KR_PAD_REFLECT }, KR_ACT_NONE, 0 },
        { { 3, 80, 3, 1, 1, 1, KR_PAD_REPLICATE }, KR_ACT_NONE, 0 },     { { 20, 3, 3, 1, 4, 4, KR_PAD_REFLECT }, KR_ACT_RELU, 7 },
        { { 5, 17, 3, 2, 7, 6, KR_PAD_REFLECT }, KR_ACT_LEAKY, 2 },      { { 16, 16, 5, 2, 3, 3, KR_PAD_REPLICATE }, KR_ACT_NONE, 0 } };
    for (size_t q = 0; q < sizeof t / sizeof *t; q++) {
        struct problem p = { .s = t[q].s, .act = t[q].act, .loss = conv_loss };
        struct shape s = t[q].s;
        long n = s.h * s.w, split[2] = { t[q].cut, s.in - t[q].cut };
        int maps = t[q].cut ? 2 : 1;
        struct arg *ax = add(&p, "input", s.in * n, 1), *aw = add(&p, "weight", s.out * s.in * s.k * s.k, 0.3), *ab = add(&p, "bias", s.out, 1);
        outputs(&p, s.out * n);
        float *w = floats(aw->v, aw->n), *b = floats(ab->v, ab->n);
        kr_tensor tw = tensor("w", w, 4, (long[]){ s.out, s.in, s.k, s.k }), tb = tensor("b", b, 1, (long[]){ s.out }), dw = tw, db = tb;
        dw.data = aw->g;
        db.data = ab->g;
        kr_conv *c = kr_conv_new(&tw, &tb, (int)s.d, s.pad, t[q].act, maps, t[q].cut ? split : NULL);
        assert_non_null(c);
        long e = kr_conv_halo(c);
        kr_map *x[2] = { map(ax->v, t[q].cut ? t[q].cut : s.in, s.h, s.w, e), NULL }, *dx[2] = { kr_map_new(x[0]->c, s.h, s.w, 0), NULL };
        if (t[q].cut) {
            x[1] = map(ax->v + t[q].cut * n, split[1], s.h, s.w, e + 1);
            dx[1] = kr_map_new(split[1], s.h, s.w, 2);
        }
        kr_map *y = kr_map_new(s.out, s.h, s.w, 1), *dy = map(p.dy, s.out, s.h, s.w, 0);
        kr_conv_forward(c, y, x);
        assert_int_equal(kr_conv_backward(c, dx, &dw, &db, x, y, dy), 0);
        kr_map_get(dx[0], ax->g);
        if (dx[1])
            kr_map_get(dx[1], ax->g + t[q].cut * n);
        /* Everything adds: a second time doubles, and what is not wanted is left alone. */
        assert_int_equal(kr_conv_backward(c, dx, NULL, NULL, x, y, dy), 0);
        float *twice = malloc((size_t)(s.in * n) * sizeof *twice);
        kr_map_get(dx[0], twice);
        for (long i = 0; i < dx[0]->c * n; i++)
            assert_near(twice[i], 2 * ax->g[i], 1e-5 * (1 + fabs((double)ax->g[i])));
        free(twice); free(w); free(b);
        for (int i = 0; i < 2; i++) { kr_map_unref(&x[i]); kr_map_unref(&dx[i]); }
        kr_map_unref(&y); kr_map_unref(&dy);
        kr_conv_unref(&c);
        char what[80];
        snprintf(what, sizeof what, "convolution %ld -> %ld, k %ld, d %ld, %ld x %ld, padding %d", s.in, s.out, s.k, s.d, s.h, s.w, (int)s.pad);
        check(&p, what);
    }
    kr_tensor bad = tensor("bad", (float[64]){ 0 }, 4, (long[]){ 4, 4, 2, 2 });
    assert_null(kr_conv_new(&bad, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL));
    assert_refused(KR_ESHAPE, "'bad' is no convolution");
}

/* <W * x, y> = <x, W^T * y> between the forward kernel and the backward pass: 1e-5 of |Wx| |y| for sums in float. */
static void adjoint(void **state)
{
    (void)state;
    for (int q = 0; q < 12; q++) {
        long in = q < 6 ? 24 : 5, out = q % 2 ? 3 : 40, k = q % 3 ? 3 : 5, d = 1 + q / 4, h = 13, w = 10;
        enum kr_pad pad = (enum kr_pad)(q % 3);
        float *wt = malloc((size_t)(in * out * k * k) * sizeof *wt), *xs = malloc((size_t)(in * h * w) * sizeof *xs), *ys = malloc((size_t)(out * h * w) * sizeof *ys);
        for (long i = 0; i < in * out * k * k; i++) wt[i] = (float)(kr_rand_uniform(1, 1, (uint64_t)i) - 0.5);
        for (long i = 0; i < in * h * w; i++) xs[i] = (float)(kr_rand_uniform(1, 2, (uint64_t)i) - 0.5);
        for (long i = 0; i < out * h * w; i++) ys[i] = (float)(kr_rand_uniform(1, 3, (uint64_t)i) - 0.5);
        kr_tensor t = tensor("w", wt, 4, (long[]){ out, in, k, k });
        kr_conv *c = kr_conv_new(&t, NULL, (int)d, pad, KR_ACT_NONE, 1, NULL);
        kr_map *x = kr_map_new(in, h, w, kr_conv_halo(c)), *y = kr_map_new(out, h, w, 0), *dy = kr_map_new(out, h, w, 0), *dx = kr_map_new(in, h, w, 0);
        kr_map_put(x, xs);
        kr_map_put(dy, ys);
        kr_conv_forward(c, y, &x);
        assert_int_equal(kr_conv_backward(c, &dx, NULL, NULL, &x, NULL, dy), 0);
        float *wx = malloc((size_t)(out * h * w) * sizeof *wx), *wy = malloc((size_t)(in * h * w) * sizeof *wy);
        kr_map_get(y, wx);
        kr_map_get(dx, wy);
        double l = 0, r = 0, a = 0, e = 0;
        for (long i = 0; i < out * h * w; i++) { l += (double)wx[i] * (double)ys[i]; a += (double)wx[i] * (double)wx[i]; e += (double)ys[i] * (double)ys[i]; }
        for (long i = 0; i < in * h * w; i++) r += (double)wy[i] * (double)xs[i];
        assert_near(l, r, 1e-5 * sqrt(a * e));
        kr_conv_unref(&c);
        kr_map_unref(&x); kr_map_unref(&y); kr_map_unref(&dx); kr_map_unref(&dy);
        free(wt); free(xs); free(ys); free(wx); free(wy);
    }
    assert_int_equal(kr_mem_now(), 0);
}

/* ---- Cells. Arguments: x, h, then weights and biases. ---- */
static double cell_loss(const struct problem *p)
{
    struct shape s = p->s;
    long f = s.out, n = s.h * s.w;
    int direct = p->kind == KR_CELL_GRU_DIRECT, parts = p->kind == KR_CELL_GRU ? 3 : p->kind == KR_CELL_MGU ? 2 : 1;
    double *both = malloc((size_t)(2 * f * n) * sizeof *both), *a = malloc((size_t)(3 * f * n) * sizeof *a), *b = malloc((size_t)(3 * f * n) * sizeof *b),
           *y = malloc((size_t)(f * n) * sizeof *y), *hr = malloc((size_t)(f * n) * sizeof *hr);
    const double *x = p->arg[0].v, *h = p->arg[1].v;
    memcpy(both, x, (size_t)(f * n) * sizeof *x);
    memcpy(both + f * n, h, (size_t)(f * n) * sizeof *x);
    if (p->norm)
        norm(both, both, 2 * f, n, KR_ACT_NONE);
    if (direct) {                                            /* weights u, r, c; biases u, r, c */
        s.in = 2 * f;
        convolve(a, both, p->arg[2].v, p->arg[5].v, s);
        convolve(b, both, p->arg[3].v, p->arg[6].v, s);
        for (long i = 0; i < f * n; i++)
            hr[i] = h[i] * sg(b[i]);
        if (p->norm)
            norm(hr, hr, f, n, KR_ACT_NONE);
        memcpy(both + f * n, hr, (size_t)(f * n) * sizeof *hr);
        convolve(b, both, p->arg[4].v, p->arg[7].v, s);
        for (long i = 0; i < f * n; i++)
            y[i] = h[i] * (1 - sg(a[i])) + sg(a[i]) * tanh(b[i]);
    } else {
        s.in = f;
        s.out = parts * f;
        convolve(a, x, p->arg[2].v, p->arg[4].v, s);
        if (p->kind != KR_CELL_INDRNN)
            convolve(b, h, p->arg[3].v, NULL, s);
        for (long i = 0; i < f * n; i++) {
            if (p->kind == KR_CELL_INDRNN)
                y[i] = fmax(0, a[i] + p->arg[3].v[i / n] * h[i]);
            else if (p->kind == KR_CELL_GRU) {
                double r = sg(a[i] + b[i]), z = sg(a[f * n + i] + b[f * n + i]);
                y[i] = (1 - z) * tanh(a[2 * f * n + i] + r * b[2 * f * n + i]) + z * h[i];
            } else {
                double g = sg(a[i] + b[i]), c = tanh(a[f * n + i] + g * b[f * n + i]);
                y[i] = c + g * (h[i] - c);
            }
        }
    }
    double l = dotted(p, y);
    free(both); free(a); free(b); free(y); free(hr);
    return l;
}

static void cells(void **state)
{
    (void)state;
    static const char *const name[] = { "DIRECT's GRU", "GRU", "MGU", "IndRNN" };
    for (int kind = 0; kind < 4; kind++)
        for (int variant = 0; variant < 4; variant++) {
            bool direct = kind == KR_CELL_GRU_DIRECT, ind = kind == KR_CELL_INDRNN, normed = variant == 3;
            if (normed && !direct)
                continue;
            long f = variant == 1 ? 3 : 20, k = variant == 2 ? 3 : 1, h = 5, w = variant == 1 ? 29 : 7, n = h * w;
            long parts = kind == KR_CELL_GRU ? 3 : kind == KR_CELL_MGU ? 2 : 1;
            struct problem p = { .s = { f, f, k, 1, h, w, KR_PAD_ZERO }, .kind = kind, .norm = normed, .loss = cell_loss };
            add(&p, "x", f * n, 1);
            add(&p, "h", f * n, 1);
            int weights = direct ? 3 : 2, biases = direct ? 3 : 1;
            float *data[6] = { NULL };
            kr_tensor t[6], d[6];
            for (int i = 0; i < weights + biases; i++) {
                bool hh = ind && i == 1, bias = i >= weights;
                long sh[] = { parts * f, direct ? 2 * f : f, k, k }, one[] = { 1, f, 1, 1 };
                struct arg *a = add(&p, bias ? "bias" : hh ? "hh" : "weight", bias ? parts * f : hh ? f : sh[0] * sh[1] * k * k, bias ? 1 : 0.4);
                data[i] = floats(a->v, a->n);
                t[i] = tensor("t", data[i], bias ? 1 : 4, hh ? one : sh);
                d[i] = t[i];
                d[i].data = a->g;
            }
            outputs(&p, f * n);
            const kr_tensor *tw[3] = { &t[0], &t[1], &t[2] }, *tb[3] = { &t[weights], direct ? &t[4] : NULL, direct ? &t[5] : NULL };
            kr_tensor *dw[3] = { &d[0], &d[1], &d[2] }, *db[3] = { &d[weights], direct ? &d[4] : NULL, direct ? &d[5] : NULL };
            kr_cell_back *c = kr_cell_back_new((enum kr_cell_kind)kind, tw, tb, normed);
            assert_non_null(c);
            kr_map *x = map(p.arg[0].v, f, h, w, 2), *s = map(p.arg[1].v, f, h, w, 0), *dnew = map(p.dy, f, h, w, 1),
                   *dx = kr_map_new(f, h, w, 0), *dh = kr_map_new(f, h, w, 1);
            assert_int_equal(kr_cell_backward(c, dx, dh, dw, db, x, s, dnew), 0);
            kr_map_get(dx, p.arg[0].g);
            kr_map_get(dh, p.arg[1].g);
            kr_map_unref(&x); kr_map_unref(&s); kr_map_unref(&dnew); kr_map_unref(&dx); kr_map_unref(&dh);
            kr_cell_back_unref(&c);
            for (int i = 0; i < 6; i++)
                free(data[i]);
            check(&p, name[kind]);
        }
    kr_tensor t = tensor("t", (float[12]){ 0 }, 4, (long[]){ 3, 1, 1, 1 });
    assert_null(kr_cell_back_new(KR_CELL_GRU, (const kr_tensor *[]){ &t, &t }, (const kr_tensor *[]){ NULL }, true));
    assert_refused(KR_EREFUSED, "only DIRECT's GRU");
}

/* ---- Instance norm, pooling, upsampling ---- */
static double norm_loss(const struct problem *p)
{
    double *y = malloc((size_t)p->outs * sizeof *y);
    norm(y, p->arg[0].v, p->s.in, p->s.h * p->s.w, p->act);
    double l = dotted(p, y);
    free(y);
    return l;
}

static void norms(void **state)
{
    (void)state;
    for (int a = KR_ACT_NONE; a <= KR_ACT_LEAKY; a++) {
        struct problem p = { .s = { .in = 18, .h = 9, .w = 5 }, .act = (enum kr_act)a, .loss = norm_loss };
        struct arg *ax = add(&p, "input", 18 * 45, 1);
        outputs(&p, 18 * 45);
        kr_map *x = map(ax->v, 18, 9, 5, 1), *dy = map(p.dy, 18, 9, 5, 0), *dx = kr_map_new(18, 9, 5, 0);
        kr_instance_norm_backward(dx, x, dy, (enum kr_act)a);
        kr_map_get(dx, ax->g);
        kr_map_unref(&x); kr_map_unref(&dy); kr_map_unref(&dx);
        check(&p, "instance norm");
    }
}

static double pool_loss(const struct problem *p)
{
    double l = 0;
    long h = p->s.h, w = p->s.w, k = 0;
    for (long c = 0; c < p->s.in; c++)
        for (long y = 0; y < h / 2; y++)
            for (long x = 0; x < w / 2; x++) {
                const double *q = p->arg[0].v + (c * h + 2 * y) * w + 2 * x;
                l += p->dy[k++] * (q[0] + q[1] + q[w] + q[w + 1]) / 4;
            }
    return l;
}

/* Transposed convolution, norm and leaky ReLU, the odd row and column by reflection. */
static double up_loss(const struct problem *p)
{
    long h = p->s.h, w = p->s.w, in = p->s.in, out = p->s.out, H = 2 * h, W = 2 * w;
    double *z = calloc((size_t)(out * H * W), sizeof *z), l = 0;
    for (long o = 0; o < out; o++)
        for (long y = 0; y < H; y++)
            for (long x = 0; x < W; x++)
                for (long c = 0; c < in; c++)
                    z[(o * H + y) * W + x] += p->arg[0].v[(c * h + y / 2) * w + x / 2] * p->arg[1].v[((c * out + o) * 2 + y % 2) * 2 + x % 2];
    if (p->norm)
        norm(z, z, out, H * W, KR_ACT_LEAKY);
    for (long o = 0; o < out; o++)
        for (long y = 0; y < H + p->eh; y++)
            for (long x = 0; x < W + p->ew; x++)
                l += p->dy[(o * (H + p->eh) + y) * (W + p->ew) + x] * z[(o * H + (y < H ? y : y - 2)) * W + (x < W ? x : x - 2)];
    free(z);
    return l;
}

static void pools_and_ups(void **state)
{
    (void)state;
    struct problem p = { .s = { .in = 17, .h = 7, .w = 8 }, .loss = pool_loss };
    struct arg *ax = add(&p, "input", 17 * 56, 1);
    outputs(&p, 17 * 12);
    kr_map *dy = map(p.dy, 17, 3, 4, 1), *dx = kr_map_new(17, 7, 8, 1);
    kr_avg_pool2_backward(dx, dy);
    kr_map_get(dx, ax->g);
    kr_map_unref(&dy); kr_map_unref(&dx);
    check(&p, "pooling");
    for (int q = 0; q < 8; q++) {
        struct problem u = { .s = { .in = 19, .out = 18, .h = 4, .w = 5 }, .norm = q & 1, .eh = q >> 1 & 1, .ew = q >> 2, .loss = up_loss };
        long H = 8 + u.eh, W = 10 + u.ew;
        struct arg *x = add(&u, "input", 19 * 20, 1), *w = add(&u, "weight", 19 * 18 * 4, 0.3);
        outputs(&u, 18 * H * W);
        float *data = floats(w->v, w->n);
        kr_tensor t = tensor("t", data, 4, (long[]){ 19, 18, 2, 2 }), dw = t;
        dw.data = w->g;
        kr_up2 *up = kr_up2_new(&t);
        assert_non_null(up);
        kr_map *in = map(x->v, 19, 4, 5, 0), *g = map(u.dy, 18, H, W, 0), *to = kr_map_new(19, 4, 5, 1);
        assert_int_equal(kr_up2_backward(up, to, &dw, in, g, u.norm), 0);
        kr_map_get(to, x->g);
        kr_map_unref(&in); kr_map_unref(&g); kr_map_unref(&to);
        kr_up2_unref(&up);
        free(data);
        check(&u, "upsampling");
    }
}

static kr_cfloat *noise(uint64_t stream, long n)
{
    kr_cfloat *z = malloc((size_t)n * sizeof *z);
    for (long i = 0; i < n; i++) {
        double v[2];
        kr_rand_normal2(3, stream, (uint64_t)i, v);
        z[i] = kr_c((float)v[0], (float)v[1]);
    }
    return z;
}

/* The same bits on one thread and on several. */
static void threads(void **state)
{
    (void)state;
    float *w = (float *)(void *)noise(1, 20 * 40 * 9 / 2), *dw[2] = { calloc(20 * 40 * 9, 4), calloc(20 * 40 * 9, 4) }, *got[2], *p = (float *)(void *)noise(2, 40 * 30 * 25);
    kr_tensor t = tensor("w", w, 4, (long[]){ 40, 20, 3, 3 });
    int before = kr_threads();
    for (int r = 0; r < 2; r++) {
        kr_threads_set(r ? 3 : 1);
        kr_conv *b = kr_conv_new(&t, NULL, 1, KR_PAD_REFLECT, KR_ACT_NONE, 1, NULL);
        kr_map *x = kr_map_new(20, 30, 25, 1), *dy = kr_map_new(40, 30, 25, 0), *dx = kr_map_new(20, 30, 25, 0);
        kr_map_put(x, p);
        kr_map_put(dy, p);
        kr_tensor d = t;
        d.data = dw[r];
        assert_int_equal(kr_conv_backward(b, &dx, &d, NULL, &x, NULL, dy), 0);
        got[r] = malloc(20 * 30 * 25 * sizeof *got[r]);
        kr_map_get(dx, got[r]);
        kr_map_unref(&x); kr_map_unref(&dy); kr_map_unref(&dx);
        kr_conv_unref(&b);
    }
    kr_threads_set(before);
    assert_memory_equal(dw[0], dw[1], 20 * 40 * 9 * 4);
    assert_memory_equal(got[0], got[1], 20 * 30 * 25 * 4);
    free(w); free(p); free(dw[0]); free(dw[1]); free(got[0]); free(got[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions), cmocka_unit_test(adjoint), cmocka_unit_test(cells),
                                        cmocka_unit_test(norms), cmocka_unit_test(pools_and_ups), cmocka_unit_test(threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
