#include "test.h"
#include "kray/nn.h"

static kr_tensor tensor(const char *name, uint64_t seed, double scale, int dims, const long *n)
{
    kr_tensor t = { .name = (char *)(uintptr_t)name, .dims = dims };
    long count = 1;
    for (int d = 0; d < dims; d++)
        count *= t.n[d] = n[d];
    t.data = malloc((size_t)count * sizeof(float));
    for (long i = 0; i < count; i++)
        t.data[i] = (float)(scale * (2 * kr_rand_uniform(seed, 1, (uint64_t)i) - 1));
    return t;
}

static float *numbers(uint64_t seed, long n)
{
    float *p = malloc((size_t)n * sizeof *p);
    for (long i = 0; i < n; i++)
        p[i] = (float)(2 * kr_rand_uniform(seed, 2, (uint64_t)i) - 1);
    return p;
}

static long clamp(long i, long n, enum kr_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    if (pad == KR_PAD_ZERO)
        return -1;
    if (pad == KR_PAD_REPLICATE)
        return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * n - 2 - i;
}

/* As published: out[o,y,x] = b[o] + sum w[o,c,i,j] in[c, y + i d - p, x + j d - p]. */
static double plain(const kr_tensor *w, const kr_tensor *b, const float *in, long h, long wd, long d, enum kr_pad pad, long o, long y, long x)
{
    double s = b ? b->data[o] : 0;
    long k = w->n[2], p = d * (k / 2);
    for (long c = 0; c < w->n[1]; c++)
        for (long i = 0; i < k; i++)
            for (long j = 0; j < k; j++) {
                long yy = clamp(y + i * d - p, h, pad), xx = clamp(x + j * d - p, wd, pad);
                if (yy >= 0 && xx >= 0)
                    s += (double)w->data[((o * w->n[1] + c) * k + i) * k + j] * (double)in[(c * h + yy) * wd + xx];
            }
    return s;
}

static void convolutions(void **state)
{
    (void)state;
    const struct { long in, out, k, d, h, w; enum kr_pad pad; enum kr_act act; long cut; } t[] = {
        { 4, 64, 5, 1, 9, 31, KR_PAD_REPLICATE, KR_ACT_RELU, 0 }, { 64, 64, 3, 2, 11, 13, KR_PAD_REPLICATE, KR_ACT_RELU, 0 },
        { 64, 2, 3, 1, 7, 20, KR_PAD_REPLICATE, KR_ACT_NONE, 0 }, { 18, 36, 3, 1, 6, 5, KR_PAD_ZERO, KR_ACT_LEAKY, 0 },
        { 8, 8, 3, 4, 12, 9, KR_PAD_REPLICATE, KR_ACT_NONE, 0 }, { 32, 48, 1, 1, 3, 50, KR_PAD_ZERO, KR_ACT_NONE, 16 },
        { 36, 18, 3, 1, 5, 26, KR_PAD_ZERO, KR_ACT_NONE, 18 }, { 1, 1, 7, 1, 8, 8, KR_PAD_REFLECT, KR_ACT_NONE, 0 },
        { 33, 70, 3, 3, 25, 32, KR_PAD_REFLECT, KR_ACT_RELU, 17 }, { 64, 16, 3, 1, 40, 21, KR_PAD_ZERO, KR_ACT_LEAKY, 0 },
        { 3, 80, 3, 1, 1, 1, KR_PAD_ZERO, KR_ACT_NONE, 0 }, { 20, 3, 3, 1, 4, 4, KR_PAD_REFLECT, KR_ACT_RELU, 7 } };
    for (size_t q = 0; q < sizeof t / sizeof *t; q++) {
        kr_tensor w = tensor("w", q, 0.2, 4, (long[]){ t[q].out, t[q].in, t[q].k, t[q].k }), b = tensor("b", q + 50, 1, 1, (long[]){ t[q].out });
        long n = t[q].h * t[q].w, split[2] = { t[q].cut, t[q].in - t[q].cut };
        float *in = numbers(q, t[q].in * n), *out = malloc((size_t)(t[q].out * n) * sizeof *out);
        kr_conv *c = kr_conv_new(&w, &b, (int)t[q].d, t[q].pad, t[q].act, t[q].cut ? 2 : 1, t[q].cut ? split : NULL);
        assert_non_null(c);
        kr_map *x[2] = { kr_map_new(t[q].cut ? t[q].cut : t[q].in, t[q].h, t[q].w, kr_conv_halo(c)),
                         t[q].cut ? kr_map_new(split[1], t[q].h, t[q].w, kr_conv_halo(c) + 1) : NULL };
        kr_map *y = kr_map_new(t[q].out, t[q].h, t[q].w, 1);
        kr_map_put(x[0], in);
        if (x[1])
            kr_map_put(x[1], in + t[q].cut * n);
        kr_conv_forward(c, y, x);
        kr_map_get(y, out);
        for (long o = 0; o < t[q].out; o++)
            for (long i = 0; i < n; i++) {
                double v = plain(&w, &b, in, t[q].h, t[q].w, t[q].d, t[q].pad, o, i / t[q].w, i % t[q].w);
                v = v > 0 || t[q].act == KR_ACT_NONE ? v : t[q].act == KR_ACT_RELU ? 0 : 0.2 * v;
                assert_near(out[o * n + i], v, 1e-5);            /* up to 576 products of size 0.1 in float */
            }
        if (kr_cpu_bf16()) {
            float *half = malloc((size_t)(t[q].out * n) * sizeof *half);
            assert_int_equal(kr_conv_bf16(c), 0);
            kr_conv_forward(c, y, x);
            kr_map_get(y, half);
            /* Direct: 100 products below 0.2, each off by at most 2^-8 of itself, signs at random. Winograd's transforms magnify that
             * to 1.1 % of the outputs' deviation, at most 1.6 here; six times as much is not met among these. */
            for (long i = 0; i < t[q].out * n; i++)
                assert_near(half[i], out[i], t[q].k == 3 && t[q].in % 2 == 0 ? 0.11 : 0.01);
            free(half);
        } else {
            assert_int_equal(kr_conv_bf16(c), KR_EREFUSED);
            assert_refused(KR_EREFUSED, "no bfloat16 arithmetic");
        }
        kr_conv_unref(&c);
        kr_map_unref(&x[0]); kr_map_unref(&x[1]); kr_map_unref(&y);
        free(in); free(out); free(w.data); free(b.data);
    }
    kr_tensor bad = tensor("bad", 1, 1, 4, (long[]){ 4, 4, 2, 2 });
    assert_null(kr_conv_new(&bad, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL));
    assert_refused(KR_ESHAPE, "'bad' is no convolution");
    free(bad.data);
    assert_int_equal(kr_mem_now(), 0);
}

static double sg(double x) { return 1 / (1 + exp(-x)); }

/* The published formulas, in double, pointwise and with 3 x 3 kernels. */
static void cells(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (int variant = 0; variant < 4; variant++) {
            long f = variant == 1 ? 3 : variant == 2 ? 64 : 20, k = variant == 3 ? 3 : 1, h = 5, w = variant == 2 ? 29 : 7, n = h * w;
            bool direct = kind == KR_CELL_GRU_DIRECT, ind = kind == KR_CELL_INDRNN;
            long parts = kind == KR_CELL_GRU ? 3 : kind == KR_CELL_MGU ? 2 : 1;
            kr_tensor t[3], b[3];
            for (int i = 0; i < 3; i++) {
                long hh[] = { 1, f, 1, 1 }, sh[] = { parts * f, direct ? 2 * f : f, k, k };
                t[i] = tensor("t", (uint64_t)(kind * 10 + i), 0.4, 4, ind && i == 1 ? hh : sh);
                b[i] = tensor("b", (uint64_t)(kind * 10 + i + 5), 1, 1, (long[]){ parts * f });
            }
            const kr_tensor *tp[3] = { t, t + 1, t + 2 }, *bp[3] = { b, b + 1, b + 2 };
            kr_cell *c = kr_cell_new((enum kr_cell_kind)kind, tp, bp, false);
            assert_non_null(c);
            float *xs = numbers(1, f * n), *hs = numbers(2, f * n), *both = malloc((size_t)(2 * f * n) * sizeof *both), *got = malloc((size_t)(f * n) * sizeof *got);
            kr_map *x = kr_map_new(f, h, w, 2), *s = kr_map_new(f, h, w, 1), *r = kr_map_new(f, h, w, 0);
            kr_map_put(x, xs);
            kr_map_put(s, hs);
            assert_int_equal(kr_cell_forward(c, s, x, r), 0);
            memcpy(both, xs, (size_t)(f * n) * sizeof *both);
            memcpy(both + f * n, hs, (size_t)(f * n) * sizeof *both);
            float *gated = malloc((size_t)(2 * f * n) * sizeof *gated);
            memcpy(gated, both, (size_t)(2 * f * n) * sizeof *both);
            for (long o = 0; o < f && direct; o++)
                for (long i = 0; i < n; i++)
                    gated[(f + o) * n + i] *= (float)sg(plain(&t[1], &b[1], both, h, w, 1, KR_PAD_ZERO, o, i / w, i % w));
            kr_map_get(s, got);
            for (long o = 0; o < f; o++)
                for (long i = 0; i < n; i++) {
                    long y = i / w, xx = i % w;
                    double old = hs[o * n + i], v;
                    if (direct) {
                        double u = sg(plain(&t[0], &b[0], both, h, w, 1, KR_PAD_ZERO, o, y, xx));
                        v = old * (1 - u) + u * tanh(plain(&t[2], &b[2], gated, h, w, 1, KR_PAD_ZERO, o, y, xx));
                    } else if (ind)
                        v = fmax(0, plain(&t[0], &b[0], xs, h, w, 1, KR_PAD_ZERO, o, y, xx) + t[1].data[o] * old);
                    else {
                        double a[3], q[3];
                        for (long p = 0; p < parts; p++) {
                            a[p] = plain(&t[0], &b[0], xs, h, w, 1, KR_PAD_ZERO, p * f + o, y, xx);
                            q[p] = plain(&t[1], NULL, hs, h, w, 1, KR_PAD_ZERO, p * f + o, y, xx);
                        }
                        if (kind == KR_CELL_GRU) {
                            double z = sg(a[1] + q[1]);
                            v = (1 - z) * tanh(a[2] + sg(a[0] + q[0]) * q[2]) + z * old;
                        } else {
                            double g = sg(a[0] + q[0]), cand = tanh(a[1] + g * q[1]);
                            v = cand + g * (old - cand);
                        }
                    }
                    assert_near(got[o * n + i], v, 8e-6);
                }
            kr_map_get(r, both);
            for (long i = 0; i < f * n; i++)
                assert_true(both[i] == (got[i] > 0 ? got[i] : 0));
            kr_cell_unref(&c);
            kr_map_unref(&x); kr_map_unref(&s); kr_map_unref(&r);
            free(xs); free(hs); free(both); free(got); free(gated);
            for (int i = 0; i < 3; i++) { free(t[i].data); free(b[i].data); }
        }
    assert_int_equal(kr_mem_now(), 0);
}

static void norm_pool_up(void **state)
{
    (void)state;
    long c = 19, h = 7, w = 9, n = h * w;
    float *in = numbers(3, c * n), *out = malloc((size_t)(c * n * 4 + 1000) * sizeof *out);
    kr_map *x = kr_map_new(c, h, w, 1), *y = kr_map_new(c, h, w, 0), *p = kr_map_new(c, h / 2, w / 2, 0);
    kr_map_put(x, in);
    kr_instance_norm(y, x, KR_ACT_LEAKY);
    kr_map_get(y, out);
    for (long k = 0; k < c; k++) {
        double mean = 0, var = 0;
        for (long i = 0; i < n; i++)
            mean += in[k * n + i] / (double)n;
        for (long i = 0; i < n; i++)
            var += (in[k * n + i] - mean) * (in[k * n + i] - mean) / (double)n;
        for (long i = 0; i < n; i++) {
            double v = (in[k * n + i] - mean) / sqrt(var + 1e-5);
            assert_near(out[k * n + i], v > 0 ? v : 0.2 * v, 2e-6);
        }
    }
    /* The convolution whose sums are made on the way, in Winograd's form and in the plain one, against the two steps. */
    for (long outs = 3; outs < 30; outs += 19) {
        kr_tensor k = tensor("k", (size_t)outs, 0.3, 4, (long[]){ outs, c, 3, 3 });
        kr_conv *both = kr_conv_new(&k, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL);
        kr_map *one = kr_map_new(outs, h, w, 0), *two = kr_map_new(outs, h, w, 0), *from = kr_map_new(c, h, w, 1);
        kr_map_put(from, in);
        kr_conv_norm_forward(both, one, &from, KR_ACT_LEAKY);
        kr_conv_forward(both, two, &from);
        kr_instance_norm(two, two, KR_ACT_LEAKY);
        for (long o = 0; o < outs; o++)
            for (long i = 0; i < n; i++)
                assert_near(kr_map_at(one, o / 16, i / w, i % w)[o % 16], kr_map_at(two, o / 16, i / w, i % w)[o % 16], 2e-6);
        kr_map_unref(&one); kr_map_unref(&two); kr_map_unref(&from);
        kr_conv_unref(&both);
        free(k.data);
    }
    kr_avg_pool2(p, x);
    kr_map_get(p, out);
    for (long k = 0; k < c; k++)
        for (long i = 0; i < h / 2; i++)
            for (long j = 0; j < w / 2; j++) {
                const float *q = in + (k * h + 2 * i) * w + 2 * j;
                assert_near(out[(k * (h / 2) + i) * (w / 2) + j], (q[0] + q[1] + q[w] + q[w + 1]) / 4, 1e-6);
            }
    kr_tensor t = tensor("up", 9, 0.3, 4, (long[]){ c, 10, 2, 2 });
    kr_up2 *u = kr_up2_new(&t);
    kr_map *z = kr_map_new(10, 2 * h + 1, 2 * w + 1, 1);
    kr_up2_forward(u, z, x, false);
    kr_map_get(z, out);
    for (long o = 0; o < 10; o++)
        for (long i = 0; i < 2 * h + 1; i++)
            for (long j = 0; j < 2 * w + 1; j++) {
                long ii = i == 2 * h ? i - 2 : i, jj = j == 2 * w ? j - 2 : j;
                double v = 0;
                for (long k = 0; k < c; k++)
                    v += (double)in[(k * h + ii / 2) * w + jj / 2] * (double)t.data[((k * 10 + o) * 2 + ii % 2) * 2 + jj % 2];
                assert_near(out[(o * (2 * h + 1) + i) * (2 * w + 1) + j], v, 3e-6);
            }
    kr_up2_unref(&u);
    kr_map_unref(&x); kr_map_unref(&y); kr_map_unref(&p); kr_map_unref(&z);
    free(in); free(out); free(t.data);
    assert_int_equal(kr_mem_now(), 0);
}

/* Of each tensor of a cell, one number more along each axis is one too many. */
static void cells_refuse(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool direct = kind == KR_CELL_GRU_DIRECT, ind = kind == KR_CELL_INDRNN;
        long f = 4, parts = kind == KR_CELL_GRU ? 3 : kind == KR_CELL_MGU ? 2 : 1;
        int tensors = direct ? 3 : 2;
        for (int bad = 0; bad < tensors; bad++)
            for (int axis = 0; axis < 2; axis++) {
                kr_tensor t[3], b[3];
                for (int i = 0; i < 3; i++) {
                    long shape[] = { parts * f, direct ? 2 * f : f, 1, 1 };
                    if (ind && i == 1)
                        shape[0] = 1;
                    shape[axis] += i == bad;
                    t[i] = tensor("t", 1, 1, 4, shape);
                    b[i] = tensor("b", 2, 1, 1, (long[]){ parts * f });
                }
                const kr_tensor *tp[3] = { t, t + 1, t + 2 }, *bp[3] = { b, b + 1, b + 2 };
                kr_cell *c = kr_cell_new((enum kr_cell_kind)kind, tp, bp, false);
                if (c)
                    fail_msg("kind %d takes a tensor %d too long along axis %d", kind, bad, axis);
                assert_refused(KR_ESHAPE, "do not make a recurrent cell");
                for (int i = 0; i < 3; i++) {
                    free(t[i].data);
                    free(b[i].data);
                }
            }
    }
    assert_int_equal(kr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions), cmocka_unit_test(cells), cmocka_unit_test(cells_refuse), cmocka_unit_test(norm_pool_up) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
