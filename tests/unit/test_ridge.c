/* The ridge regulariser: its gradient is that of its value, at most as steep as it says, and 1/2 |x - y|^2 with it is convex; the filters have |W| = 1 and mean 0; the same bits for
 * any number of threads; derivatives of what a lesson learns against differences; volumes, bands and odd sizes. */
#include "test.h"
#include "kray/ridge.h"
#include <math.h>
#include <string.h>

static kr_weights *some_weights(bool bent)
{
    kr_weights *w = kr_ridge_fresh((long[]){ 3, 4, 6 }, (long[]){ 3, 5, 3 }, 24, 7);
    assert_non_null(w);
    kr_tensor *p = (kr_tensor *)(uintptr_t)kr_weights_find(w, "profile"), *s = (kr_tensor *)(uintptr_t)kr_weights_find(w, "scale"),
              *level = (kr_tensor *)(uintptr_t)kr_weights_find(w, "scale_level");
    for (long j = 0; j < p->n[0] && bent; j++)
        p->data[j] = j < 5 ? 1.5f : j < 12 ? -0.9f : 0.2f;
    for (long i = 0; i < s->n[0]; i++) {
        s->data[i] += 0.2f * (float)i;
        level->data[i] = 0.1f * (float)i;
    }
    return w;
}

static kr_array *noise(enum kr_type type, kr_shape n, uint64_t seed, float by)
{
    kr_array *x = kr_array_new(type, n);
    assert_non_null(x);
    for (long i = 0, all = kr_count(n) * (type == KR_C32 ? 2 : 1); i < all; i++) {
        double z[2];
        kr_rand_normal2(seed, 0, (uint64_t)i, z);
        KR_R(x)[i] = by * (float)z[0];
    }
    return x;
}

static void gradient_of_value(const kr_ridge *r, enum kr_type type, kr_shape n)
{
    const double unit = 0.7, h = 1e-2;
    kr_ridge_field *f = kr_ridge_plan(r, type, n, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), 0.02);
    assert_non_null(f);
    kr_array *x = noise(type, n, 1, 1), *d = noise(type, n, 2, 1), *g = kr_array_new(type, n), *up = kr_array_copy(x), *down = kr_array_copy(x);
    kr_fill(g, 0);
    kr_ridge_gradient(f, g, x, unit, 1);
    kr_axpy(up, (float)h, d);
    kr_axpy(down, (float)-h, d);
    double told = kr_dot_re(g, d), found = (kr_ridge_value(f, up, unit) - kr_ridge_value(f, down, unit)) / (2 * h), size = kr_norm(g) * kr_norm(d);
    if (!(fabs(told - found) <= 2e-4 * size))                /* phi' jumps: h^2 is h there; float answers */
        fail_msg("%s: the gradient says %g, the value %g (of %g)", kr_shape_text(n), told, found, size);
    kr_array *all[] = { x, d, g, up, down };
    for (int i = 0; i < 5; i++)
        kr_array_unref(&all[i]);
    kr_ridge_field_unref(&f);
}

static void gradients(void **state)
{
    (void)state;
    kr_weights *w = some_weights(true);
    kr_ridge *r = kr_ridge_new(w);
    assert_non_null(r);
    gradient_of_value(r, KR_C32, KR_SHAPE([KR_X] = 37, [KR_Y] = 70));         /* three bands */
    gradient_of_value(r, KR_R32, KR_SHAPE([KR_X] = 5, [KR_Y] = 33));          /* narrower than the filters reach */
    gradient_of_value(r, KR_C32, KR_SHAPE([KR_X] = 40));
    gradient_of_value(r, KR_R32, KR_SHAPE([KR_X] = 12, [KR_Y] = 9, [KR_Z] = 14));
    gradient_of_value(r, KR_C32, KR_SHAPE([KR_Y] = 20, [KR_Z] = 11, [KR_MAP] = 2, [KR_TIME] = 3));
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

/* Layers of windows of 5 x 5 go by tiles of rows: with phi(t) = t the value is 1/2 |W x|^2, here by plain sums in double, and the gradient is W^T W x. */
static void tiles(void **state)
{
    (void)state;
    enum { WIDE = 19, HIGH = 70, MOST = 10 };
    static const long chan[4] = { 1, 4, 8, MOST };
    kr_weights *w = kr_ridge_fresh(chan + 1, (long[]){ 5, 5, 5 }, 24, 9);
    kr_tensor *p = (kr_tensor *)(uintptr_t)kr_weights_find(w, "profile");
    for (long j = 0; j < p->n[0]; j++)
        p->data[j] = 1;
    assert_int_equal(kr_meta_set(w->meta, "hyper.range", "1e9"), 0);
    kr_ridge *r = kr_ridge_new(w);
    assert_non_null(r);
    kr_shape n = KR_SHAPE([KR_X] = WIDE, [KR_Y] = HIGH);
    kr_array *x = noise(KR_R32, n, 4, 1), *g = kr_array_new(KR_R32, n);
    static double from[MOST][HIGH][WIDE], to[MOST][HIGH][WIDE];
    for (long i = 0; i < WIDE * HIGH; i++)
        from[0][i / WIDE][i % WIDE] = (double)KR_R(x)[i];
    double sum = 0;
    for (int l = 0; l < 3; l++) {
        char name[64];
        snprintf(name, sizeof name, "filters.%d.weight", l);
        const float *f = kr_weights_find(w, name)->data;
        for (long o = 0; o < chan[l + 1]; o++)
            for (long y = 0; y < HIGH; y++)
                for (long v = 0; v < WIDE; v++) {
                    double at = 0;
                    for (long i = 0; i < chan[l]; i++)
                        for (long k = 0; k < 25; k++)
                            at += (double)f[(o * chan[l] + i) * 25 + k] * from[i][(y + k / 5 - 2 + HIGH) % HIGH][(v + k % 5 - 2 + WIDE) % WIDE];
                    to[o][y][v] = at;
                    sum += l == 2 ? at * at / 2 : 0;
                }
        memcpy(from, to, sizeof from);
    }
    kr_ridge_field *field = kr_ridge_plan(r, KR_R32, n, KR_ON(KR_X) | KR_ON(KR_Y), 0.03);
    assert_non_null(field);
    double value = kr_ridge_value(field, x, 1);
    kr_fill(g, 0);
    kr_ridge_gradient(field, g, x, 1, 1);
    if (!(fabs(value - sum) < 1e-5 * sum) || !(fabs(kr_dot_re(g, x) - 2 * sum) < 1e-5 * sum))
        fail_msg("1/2 |W x|^2 is %g by tiles, %g by sums; <x, W^T W x> / 2 is %g", value, sum, kr_dot_re(g, x) / 2);
    kr_ridge_field_unref(&field);
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
    kr_array_unref(&x);
    kr_array_unref(&g);
    w = kr_ridge_fresh((long[]){ 4, 8, 10 }, (long[]){ 5, 5, 5 }, 24, 9);
    r = kr_ridge_new(w);
    gradient_of_value(r, KR_C32, KR_SHAPE([KR_X] = 37, [KR_Y] = 71));
    gradient_of_value(r, KR_R32, KR_SHAPE([KR_X] = 5, [KR_Y] = 34));
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

/* (x - y) and the difference of gradients: between -1 and the bound times |x - y|^2. */
static void convex(void **state)
{
    (void)state;
    kr_weights *w = some_weights(true);
    kr_ridge *r = kr_ridge_new(w);
    kr_shape n = KR_SHAPE([KR_X] = 24, [KR_Y] = 24);
    kr_ridge_field *f = kr_ridge_plan(r, KR_C32, n, KR_ON(KR_X) | KR_ON(KR_Y), 0.03);
    assert_true(kr_ridge_bound(r) == 1.5);
    double low = 1, high = -1;
    for (uint64_t i = 0; i < 20; i++) {
        kr_array *x = noise(KR_C32, n, i, 0.1f * (float)(i + 1)), *d = noise(KR_C32, n, i + 100, 0.05f), *y = kr_array_copy(x), *g = kr_array_new(KR_C32, n);
        if (i > 10)                                          /* stripes: near the filters' largest answers */
            for (long k = 0; k < 24 * 24; k++)
                KR_C(d)[k] = kr_c(((k % 24) / (long)(i - 9)) & 1 ? 0.1f : -0.1f, 0);
        kr_fill(g, 0);
        kr_axpy(y, 1, d);
        kr_ridge_gradient(f, g, y, 1, 1);
        kr_ridge_gradient(f, g, x, 1, -1);
        double q = kr_dot_re(g, d) / kr_dot_re(d, d);
        low = fmin(low, q);
        high = fmax(high, q);
        kr_array_unref(&x);
        kr_array_unref(&d);
        kr_array_unref(&y);
        kr_array_unref(&g);
    }
    assert_true(low > -1.001 && high < 1.501);
    assert_true(high > 0.05);
    kr_ridge_field_unref(&f);
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

/* A constant image has no answers; W^T W of noise, by phi(t) = t, never is more than the image. */
static void filters(void **state)
{
    (void)state;
    kr_weights *w = some_weights(false);
    kr_tensor *p = (kr_tensor *)(uintptr_t)kr_weights_find(w, "profile");
    for (long j = 0; j < p->n[0]; j++)
        p->data[j] = 1;
    assert_int_equal(kr_meta_set(w->meta, "hyper.range", "1e9"), 0);
    kr_ridge *r = kr_ridge_new(w);
    kr_shape n = KR_SHAPE([KR_X] = 48, [KR_Y] = 48);
    kr_ridge_field *f = kr_ridge_plan(r, KR_R32, n, KR_ON(KR_X) | KR_ON(KR_Y), 0.03);
    kr_array *x = kr_array_new(KR_R32, n), *g = kr_array_new(KR_R32, n);
    kr_fill(x, 3);
    kr_fill(g, 0);
    kr_ridge_gradient(f, g, x, 1, 1);
    assert_true(kr_norm(g) < 1e-4);
    double most = 0;
    kr_array *v = noise(KR_R32, n, 3, 1);
    for (int i = 0; i < 60; i++) {                           /* power iteration */
        kr_scale(v, (float)(1 / kr_norm(v)));
        kr_fill(g, 0);
        kr_ridge_gradient(f, g, v, 1, 1);
        most = kr_norm(g);
        kr_array_assign(v, g);
    }
    assert_true(most < 1.0005 && most > 0.95);
    kr_array_unref(&x);
    kr_array_unref(&g);
    kr_array_unref(&v);
    kr_ridge_field_unref(&f);
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

static void threads(void **state)
{
    (void)state;
    kr_weights *w = some_weights(true);
    kr_ridge *r = kr_ridge_new(w);
    kr_shape n = KR_SHAPE([KR_X] = 40, [KR_Y] = 150, [KR_Z] = 3);
    kr_array *x = noise(KR_C32, n, 5, 1), *g[2];
    double value[2];
    int before = kr_threads();
    for (int i = 0; i < 2; i++) {
        kr_threads_set(i ? 3 : 1);
        kr_ridge_field *f = kr_ridge_plan(r, KR_C32, n, 7, 0.03);
        g[i] = kr_array_new(KR_C32, n);
        kr_fill(g[i], 0);
        kr_ridge_gradient(f, g[i], x, 1, 1);
        value[i] = kr_ridge_value(f, x, 1);
        kr_ridge_field_unref(&f);
    }
    kr_threads_set(before);
    assert_memory_equal(g[0]->data, g[1]->data, (size_t)kr_count(n) * sizeof(kr_cfloat));
    assert_true(value[0] == value[1]);
    kr_array_unref(&x);
    kr_array_unref(&g[0]);
    kr_array_unref(&g[1]);
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

/* ---- Lessons ---- */
enum { NX = 24, NY = 17 };
static kr_cfloat clean[NX * NY], noisy[NX * NY];
static float ones[NX * NY];

static double loss_of(const kr_weights *w, const kr_linop *N, double strength, kr_weights *gradient)
{
    kr_ridge *r = kr_ridge_new(w);
    assert_non_null(r);
    double before, after;
    kr_ridge_lesson l = { .nx = NX, .ny = NY, .N = N, .bound = 1, .b = noisy, .target = clean, .start = noisy, .weight = ones, .level = 0.05, .strength = strength, .iterations = 400, .inner = 200, .rest = 1e-3 };
    assert_int_equal(kr_ridge_learn(r, gradient, &l, gradient ? 1 : 0, &before, &after), 0);
    kr_ridge_unref(&r);
    return after;
}

/* phi as a smooth bend, so that differences mean something. */
static kr_weights *smooth_weights(void)
{
    kr_weights *w = kr_ridge_fresh((long[]){ 2, 3, 4 }, (long[]){ 3, 3, 5 }, 600, 3);
    kr_tensor *p = (kr_tensor *)(uintptr_t)kr_weights_find(w, "profile"), *s = (kr_tensor *)(uintptr_t)kr_weights_find(w, "scale");
    for (long j = 0; j < p->n[0]; j++) {
        double t = 6 * ((double)j + 0.5) / (double)p->n[0];
        p->data[j] = (float)(1.5 * exp(-t * t));
    }
    for (long i = 0; i < s->n[0]; i++)
        s->data[i] = 0.3f * (float)i - 0.2f;
    return w;
}

/* Derivatives of the tensors of g, each along itself, against differences over 2 h. */
static void against_differences(kr_weights *w, kr_weights *g, const kr_linop *op, double strength, double h)
{
    for (long i = 0; i < g->count; i++)
        memset(g->tensor[i].data, 0, (size_t)kr_tensor_count(&g->tensor[i]) * sizeof(float));
    loss_of(w, op, strength, g);
    for (long i = 0; i < g->count; i++) {
        const kr_tensor *d = &g->tensor[i];
        kr_tensor *t = (kr_tensor *)(uintptr_t)kr_weights_find(w, d->name);
        long n = kr_tensor_count(t);
        double size = 0;
        for (long k = 0; k < n; k++)
            size += (double)d->data[k] * (double)d->data[k];
        size = sqrt(size);
        assert_true(size > 0);
        double value[2];
        kr_auto float *was = kr_alloc((size_t)n, sizeof *was);
        memcpy(was, t->data, (size_t)n * sizeof *was);
        for (int up = 0; up < 2; up++) {
            for (long k = 0; k < n; k++)
                t->data[k] = was[k] + (float)((up ? h : -h) * (double)d->data[k] / size);
            value[up] = loss_of(w, op, strength, NULL);
        }
        memcpy(t->data, was, (size_t)n * sizeof *was);
        double found = (value[1] - value[0]) / (2 * h);
        if (!(fabs(found - size) < 0.02 * size + 5e-4))       /* the descent ends a thousandth of the noise from the minimum */
            fail_msg("%s: the derivative is %g, differences say %g", t->name, size, found);
    }
}

static void lesson_images(void)
{
    for (long i = 0; i < NX * NY; i++) {
        double z[2];
        kr_rand_normal2(9, 0, (uint64_t)i, z);
        bool in = i % NX > 6 && i % NX < 17 && i / NX > 4 && i / NX < 12;
        clean[i] = kr_c(in ? 5 : 1, in ? 2 : 0);
        noisy[i] = clean[i] + kr_c((float)z[0], (float)z[1]);
        ones[i] = i % 5 ? 1 : 0.5f;
    }
}

/* An N that is not the identity. */
static kr_linop *uneven(void)
{
    kr_array *weight = kr_array_new(KR_R32, KR_SHAPE([KR_X] = NX, [KR_Y] = 1));
    for (long i = 0; i < NX; i++)
        KR_R(weight)[i] = i % 3 ? 0.8f : 0.3f;
    kr_linop *N = kr_op_weight(KR_C32, weight, KR_SHAPE([KR_X] = NX, [KR_Y] = NY), KR_SHAPE([KR_X] = NX, [KR_Y] = NY));
    assert_non_null(N);
    kr_array_unref(&weight);
    return N;
}

static void lessons(void **state)
{
    (void)state;
    lesson_images();
    kr_weights *w = smooth_weights(), *g = smooth_weights();
    kr_linop *N = uneven();
    against_differences(w, g, NULL, 1, 3e-3);
    against_differences(w, g, N, 0.6, 3e-3);
    kr_linop_unref(&N);
    kr_weights_unref(&w);
    kr_weights_unref(&g);
}

/* ---- Masks ---- */
static kr_weights *masked(kr_weights *w, double last)
{
    assert_false(kr_ridge_masks(w));
    assert_int_equal(kr_ridge_mask_fresh(w, 3, 5), 0);
    assert_true(kr_ridge_masks(w));
    kr_tensor *t = (kr_tensor *)(uintptr_t)kr_weights_find(w, "mask.last.weight");
    for (long i = 0; i < kr_tensor_count(t); i++) {
        double z[2];
        kr_rand_normal2(8, 0, (uint64_t)i, z);
        t->data[i] = (float)(last * z[0]);
    }
    return w;
}

static void mask_lessons(void **state)
{
    (void)state;
    lesson_images();
    kr_weights *w = masked(smooth_weights(), 1), *g = kr_weights_new();
    for (long i = 0; i < w->count; i++)
        if (!strncmp(w->tensor[i].name, "mask.", 5))
            assert_non_null(kr_weights_add(g, w->tensor[i].name, w->tensor[i].dims, w->tensor[i].n));
    kr_linop *N = uneven();
    against_differences(w, g, NULL, 0.7, 0.01);
    against_differences(w, g, N, 0.4, 0.01);
    kr_linop_unref(&N);
    kr_weights_unref(&w);
    kr_weights_unref(&g);
}

/* The gradient with masks is that of the value, within its bound; a last layer of 0 changes no bit; threads change none; planes one by one. */
static void masks(void **state)
{
    (void)state;
    kr_shape n = KR_SHAPE([KR_X] = 37, [KR_Y] = 70, [KR_TIME] = 2);
    kr_array *x = noise(KR_C32, n, 1, 1), *d = noise(KR_C32, n, 2, 1), *first = noise(KR_C32, n, 3, 1), *g[3];
    int before = kr_threads();
    for (int way = 0; way < 3; way++) {                      /* without; with zeros; with numbers */
        kr_weights *w = way ? masked(some_weights(true), way == 1 ? 0 : 0.2) : some_weights(true);
        kr_ridge *r = kr_ridge_new(w);
        assert_non_null(r);
        double value[2];
        kr_array *again = NULL;
        for (int i = 0; i < 2; i++) {
            kr_threads_set(i ? 3 : 1);
            kr_ridge_field *f = kr_ridge_plan(r, KR_C32, n, 3, 0.02);
            assert_true(kr_ridge_looks(f) == (way > 0));
            if (way)
                assert_int_equal(kr_ridge_look(f, x, first, 0.7), 0);
            kr_array *to = kr_array_new(KR_C32, n);
            kr_fill(to, 0);
            kr_ridge_gradient(f, to, x, 0.7, 1);
            value[i] = kr_ridge_value(f, x, 0.7);
            if (i)
                assert_memory_equal(to->data, g[way]->data, (size_t)kr_count(n) * sizeof(kr_cfloat));
            else
                g[way] = to;
            if (i) {
                const double h = 1e-2;
                kr_array *up = kr_array_copy(x), *down = kr_array_copy(x);
                kr_axpy(up, (float)h, d);
                kr_axpy(down, (float)-h, d);
                double told = kr_dot_re(to, d), found = (kr_ridge_value(f, up, 0.7) - kr_ridge_value(f, down, 0.7)) / (2 * h);
                assert_true(fabs(told - found) <= 2e-4 * kr_norm(to) * kr_norm(d));
                assert_true(way < 2 ? kr_ridge_field_bound(f) == kr_ridge_bound(r) : kr_ridge_field_bound(f) > 1.01 * kr_ridge_bound(r) && kr_ridge_field_bound(f) <= 4 * kr_ridge_bound(r));
                kr_array_unref(&up);
                kr_array_unref(&down);
                again = to;
            }
            kr_ridge_field_unref(&f);
        }
        assert_true(value[0] == value[1]);
        kr_array_unref(&again);
        kr_ridge_unref(&r);
        kr_weights_unref(&w);
    }
    kr_threads_set(before);
    size_t bytes = (size_t)kr_count(n) * sizeof(kr_cfloat);
    assert_memory_equal(g[0]->data, g[1]->data, bytes);
    assert_memory_not_equal(g[0]->data, g[2]->data, bytes);
    kr_array *all[] = { x, d, first, g[0], g[1], g[2] };
    for (int i = 0; i < 6; i++)
        kr_array_unref(&all[i]);
}

/* A turn of all phases turns the gradient and changes no mask. */
static void mask_phases(void **state)
{
    (void)state;
    kr_shape n = KR_SHAPE([KR_X] = 32, [KR_Y] = 24);
    kr_weights *w = masked(some_weights(true), 0.2);
    kr_ridge *r = kr_ridge_new(w);
    kr_array *x[2] = { noise(KR_C32, n, 1, 1), NULL }, *first[2] = { noise(KR_C32, n, 3, 1), NULL }, *g[2];
    const kr_cfloat by = kr_c(0.6f, 0.8f);
    for (int i = 0; i < 2; i++) {
        kr_array **both[] = { x, first };
        for (int k = 0; k < 2 && i; k++) {
            both[k][1] = kr_array_copy(both[k][0]);
            for (long p = 0; p < 32 * 24; p++)
                KR_C(both[k][1])[p] = kr_cmul(by, KR_C(both[k][1])[p]);
        }
        kr_ridge_field *f = kr_ridge_plan(r, KR_C32, n, 3, 0.02);
        assert_int_equal(kr_ridge_look(f, x[i], first[i], 1), 0);
        g[i] = kr_array_new(KR_C32, n);
        kr_fill(g[i], 0);
        kr_ridge_gradient(f, g[i], x[i], 1, 1);
        kr_ridge_field_unref(&f);
    }
    double size = kr_norm(g[0]);
    for (long p = 0; p < 32 * 24; p++)
        KR_C(g[1])[p] -= kr_cmul(by, KR_C(g[0])[p]);
    assert_true(size > 1 && kr_norm(g[1]) < 1e-5 * size);
    for (int i = 0; i < 2; i++) {
        kr_array_unref(&x[i]);
        kr_array_unref(&first[i]);
        kr_array_unref(&g[i]);
    }
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

static void refusals(void **state)
{
    (void)state;
    kr_weights *w = some_weights(true);
    kr_tensor *p = (kr_tensor *)(uintptr_t)kr_weights_find(w, "profile");
    p->data[3] = -2;                                         /* more than one minimum */
    assert_null(kr_ridge_new(w));
    p->data[3] = NAN;
    assert_null(kr_ridge_new(w));
    p->data[3] = 0;
    kr_ridge *r = kr_ridge_new(w);
    assert_non_null(r);
    assert_null(kr_ridge_plan(r, KR_C32, KR_SHAPE([KR_TIME] = 8), 7, 0.03));
    assert_int_equal(kr_meta_set(w->meta, "hyper.range", "0"), 0);
    assert_null(kr_ridge_new(w));
    assert_null(kr_ridge_fresh((long[]){ 4, 8, 32 }, (long[]){ 5, 4, 5 }, 40, 1));
    kr_ridge_unref(&r);
    kr_weights_unref(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(gradients), cmocka_unit_test(convex), cmocka_unit_test(filters), cmocka_unit_test(tiles), cmocka_unit_test(threads), cmocka_unit_test(lessons), cmocka_unit_test(mask_lessons),
                                        cmocka_unit_test(masks), cmocka_unit_test(mask_phases),                                        cmocka_unit_test(refusals) };
    return cmocka_run_group_tests_name("ridge", tests, NULL, NULL);
}
