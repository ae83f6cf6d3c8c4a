/* Losses against central differences, optimisers that go on from a checkpoint and do not depend on threads, clipping by value, schedules. */
#include "test.h"
#include "kray/train.h"
#include <math.h>

enum { ITEMS = 2, H = 11, W = 9, N = ITEMS * H * W };

static void *opts_of(const kr_opt *opts, size_t size)
{
    void *o = calloc(1, size + 1);
    assert_int_equal(kr_opt_defaults(opts, o), 0);
    return o;
}

/* Magnitudes; x - t keeps clear of 0, where |x - t| has no derivative. */
static void images(double *x, double *t)
{
    for (long i = 0; i < N; i++) {
        t[i] = 0.2 + kr_rand_uniform(5, 0, (uint64_t)i);
        x[i] = t[i] + (kr_rand_uniform(5, 2, (uint64_t)i) > 0.5 ? 1 : -1) * (0.01 + 0.15 * kr_rand_uniform(5, 1, (uint64_t)i));
    }
}

static void check_loss(const kr_loss *l, const void *opts, bool own)
{
    double x[N], t[N], d[N], value = 0, up = 0, down = 0, most = 0, worst = 0, h = 1e-5, weight = 0.3;
    images(x, t);
    for (long i = 0; i < N; i++)
        d[i] = 1;                                              /* added to */
    assert_int_equal(kr_loss_run(l, &value, &(kr_pair){ x, t, d, ITEMS, H, W }, own, weight, opts), 0);
    assert_true(value > 0);
    for (long i = 0; i < N; i++) {
        double was = x[i];
        x[i] = was + h;
        assert_int_equal(kr_loss_run(l, &up, &(kr_pair){ x, t, NULL, ITEMS, H, W }, own, 1, opts), 0);
        x[i] = was - h;
        assert_int_equal(kr_loss_run(l, &down, &(kr_pair){ x, t, NULL, ITEMS, H, W }, own, 1, opts), 0);
        x[i] = was;
        double want = 1 + weight * (up - down) / (2 * h);
        most = fmax(most, fabs(want - 1));
        worst = fmax(worst, fabs(d[i] - want));
    }
    if (!(worst <= 1e-6 * most))                                /* h^2 of a third derivative; rounding 1e-16 / h */
        fail_msg("%s: derivatives %g off, of %g", l->name, worst, most);
    assert_int_equal(kr_loss_run(l, &value, &(kr_pair){ t, t, NULL, ITEMS, H, W }, own, 1, opts), 0);
    assert_true(fabs(value) < 1e-12);                          /* nothing is lost where nothing differs */
    x[3] = NAN;
    assert_int_equal(kr_loss_run(l, &value, &(kr_pair){ x, t, NULL, ITEMS, H, W }, own, 1, opts), KR_ENUMBER);
}

static void losses(void **state)
{
    (void)state;
    for (int i = 0; kr_losses[i]; i++) {
        void *o = opts_of(kr_losses[i]->opts, kr_losses[i]->opts_size);
        assert_ptr_equal(kr_loss_named(kr_losses[i]->name), kr_losses[i]);
        check_loss(kr_losses[i], o, false);
        check_loss(kr_losses[i], o, true);
        free(o);
    }
    assert_null(kr_loss_named("l3"));
    assert_non_null(strstr(kr_error(), "smooth_l1"));
    const kr_loss *ssim = kr_loss_named("ssim"), *smooth = kr_loss_named("smooth_l1");
    void *o = opts_of(ssim->opts, ssim->opts_size);
    assert_int_equal(kr_opt_set(ssim->opts, o, "range", "batch"), 0);
    check_loss(ssim, o, false);
    assert_int_equal(kr_opt_set(ssim->opts, o, "range", "told"), 0);
    check_loss(ssim, o, false);
    double x[36] = { 1 }, v = 7;
    assert_int_equal(kr_loss_run(ssim, &v, &(kr_pair){ x, x, NULL, 1, 6, 6 }, false, 1, o), KR_ESHAPE);
    assert_int_equal(kr_opt_set(ssim->opts, o, "span", "0"), 0);
    free(o);
    o = opts_of(smooth->opts, smooth->opts_size);
    assert_int_equal(kr_opt_set(smooth->opts, o, "beta", "0.05"), 0);           /* both sides of it */
    check_loss(smooth, o, false);
    free(o);
    double zero[36] = { 0 };
    assert_int_equal(kr_loss_run(kr_loss_named("nmse"), &v, &(kr_pair){ x, zero, NULL, 1, 6, 6 }, false, 1, NULL), KR_ENUMBER);
    assert_int_equal(kr_loss_run(kr_loss_named("l1"), &v, &(kr_pair){ zero, x, NULL, 1, 6, 6 }, true, 1, NULL), KR_ENUMBER);
    assert_true(v == 7);
}

static void weights(void **state)
{
    (void)state;
    double w[6];
    kr_over_weights(w, KR_OVER_LAST, 6, 2);
    assert_true(w[5] == 1 && w[4] == 0);
    kr_over_weights(w, KR_OVER_MEAN, 6, 2);
    assert_true(w[0] == 1.0 / 6 && w[5] == 1.0 / 6);
    kr_over_weights(w, KR_OVER_LOG, 6, 2);
    assert_true(fabs(w[5] - 1.0 / 6) < 1e-15 && fabs(w[0] - 0.01 / 6) < 1e-15 && fabs(w[4] - pow(10, -0.5) / 6) < 1e-15);
    float f[6] = { 3, 4, 0, 0, -5, 12 }, fg[6];
    double v[6], g[6], m[3], d[3] = { 1, 1, 2 };
    kr_value image = { .n = { KR_IMAGE, 1, 1, 1, 3 }, .data = f }, dy = { .n = { KR_IMAGE, 1, 1, 1, 3 }, .data = fg };
    kr_value_get(v, &image);
    kr_magnitude(m, v, 3, true);
    kr_magnitude_backward(g, v, d, 3, true);
    kr_value_put(&dy, g);
    assert_true(m[0] == 5 && m[1] == 0 && m[2] == 13);
    assert_true(fg[0] == 0.6f && fg[1] == 0.8f && fg[2] == 0 && fg[3] == 0 && fg[4] == (float)(-10.0 / 13) && fg[5] == (float)(24.0 / 13));
}

/* Two parameters, the second longer than a block of threads, the third frozen. */
enum { PARAMS = 3, LONG = 40000 };
struct params { kr_param p[PARAMS]; };
static void params_new(struct params *s)
{
    static const char *const names[PARAMS] = { "a", "b", "c" };
    for (int i = 0; i < PARAMS; i++) {
        long n = i == 1 ? LONG : 7;
        s->p[i] = (kr_param){ .value = { .name = (char *)(uintptr_t)names[i], .dims = 1, .n = { n }, .data = calloc((size_t)n, sizeof(float)) }, .frozen = i == 2 };
        s->p[i].gradient = s->p[i].value;
        s->p[i].gradient.data = calloc((size_t)n, sizeof(float));
        for (long k = 0; k < n; k++)
            s->p[i].value.data[k] = (float)kr_rand_uniform(9, (uint64_t)i, (uint64_t)k);
    }
}

static void params_gradient(struct params *s, int step)
{
    for (int i = 0; i < PARAMS; i++)
        for (long k = 0; k < s->p[i].value.n[0]; k++)
            s->p[i].gradient.data[k] = (float)(kr_rand_uniform((uint64_t)(20 + step), (uint64_t)i, (uint64_t)k) - 0.4);
}

static void params_free(struct params *s)
{
    for (int i = 0; i < PARAMS; i++) {
        free(s->p[i].value.data);
        free(s->p[i].gradient.data);
    }
}

static void optimisers(void **state)
{
    (void)state;
    int threads = kr_threads();
    for (int i = 0; kr_optimisers[i]; i++) {
        const kr_optimiser *kind = kr_optimisers[i];
        void *o = opts_of(kind->opts, kind->opts_size);
        if (!strcmp(kind->name, "sgd") || !strcmp(kind->name, "rmsprop"))
            assert_int_equal(kr_opt_set(kind->opts, o, "momentum", "0.9"), 0);
        struct params a, b;
        params_new(&a);
        params_new(&b);
        kr_optim *one = kr_optim_new(kind, o, a.p, PARAMS), *other = kr_optim_new(kind, o, b.p, PARAMS);
        assert_true(one && other);
        for (int step = 0; step < 4; step++) {
            params_gradient(&a, step);
            params_gradient(&b, step);
            kr_threads_set(1);
            assert_int_equal(kr_optim_step(one, 0.01), 0);
            kr_threads_set(3);
            assert_int_equal(kr_optim_step(other, 0.01), 0);
            if (step == 1) {                                   /* a checkpoint, and a new object that goes on from it */
                long n, m;
                kr_optim *next = kr_optim_new(kind, o, b.p, PARAMS);
                kr_tensor *from = kr_optim_state(other, &n), *to = kr_optim_state(next, &m);
                assert_true(n == m && n > 0 && !strncmp(from[0].name, "a.", 2));
                for (long k = 0; k < n; k++)
                    memcpy(to[k].data, from[k].data, (size_t)kr_tensor_count(&to[k]) * sizeof(float));
                *kr_optim_steps(next) = *kr_optim_steps(other);
                kr_optim_unref(&other);
                other = next;
            }
        }
        assert_true(*kr_optim_steps(one) == 4 && *kr_optim_steps(other) == 4);
        for (int k = 0; k < PARAMS; k++)
            assert_memory_equal(a.p[k].value.data, b.p[k].value.data, (size_t)a.p[k].value.n[0] * sizeof(float));
        assert_true(a.p[2].value.data[3] == (float)kr_rand_uniform(9, 2, 3));      /* frozen */
        assert_true(a.p[1].value.data[LONG - 1] != (float)kr_rand_uniform(9, 1, LONG - 1));
        float was = a.p[0].value.data[0];
        a.p[1].gradient.data[5] = INFINITY;
        assert_int_equal(kr_optim_step(one, 0.01), KR_ENUMBER);
        assert_non_null(strstr(kr_error(), "gradient of b"));
        assert_true(a.p[0].value.data[0] == was && *kr_optim_steps(one) == 4);
        assert_true(isinf(kr_clip_norm(a.p, PARAMS, 1)));
        kr_clip_value(a.p, PARAMS, 0.25);
        for (long k = 0; k < LONG; k++)
            assert_true(fabsf(a.p[1].gradient.data[k]) <= 0.25f);
        assert_true(kr_clip_norm(a.p, PARAMS, 1) > 1);
        assert_true(fabs(kr_clip_norm(a.p, PARAMS, INFINITY) - 1) < 1e-6);
        kr_optim_unref(&one);
        kr_optim_unref(&other);
        params_free(&a);
        params_free(&b);
        free(o);
    }
    kr_threads_set(threads);
    const kr_optimiser *adam = kr_optimiser_named("adam");
    void *o = opts_of(adam->opts, adam->opts_size);
    assert_int_equal(kr_opt_set(adam->opts, o, "beta1", "1"), 0);
    assert_null(kr_optim_new(adam, o, NULL, 0));
    free(o);
    assert_null(kr_optimiser_named("lion"));
}

static void schedules(void **state)
{
    (void)state;
    kr_rate r = { 0 };
    assert_int_equal(kr_opt_defaults(kr_rate_opts, &r), 0);
    r = (kr_rate){ .rate = 0.5, .warmup = 4, .from = 0.2 };
    const kr_schedule *s = kr_schedule_named("constant");
    void *o = opts_of(s->opts, s->opts_size);
    assert_int_equal(kr_rate_check(s, o, &r), 0);
    assert_true(fabs(kr_rate_at(s, o, &r, 0) - 0.1) < 1e-15 && fabs(kr_rate_at(s, o, &r, 2) - 0.3) < 1e-15 && kr_rate_at(s, o, &r, 4) == 0.5);
    free(o);
    s = kr_schedule_named("exponential");
    o = opts_of(s->opts, s->opts_size);
    assert_int_equal(kr_opt_set(s->opts, o, "gamma", "0.5"), 0);
    r.shift = true;
    assert_true(kr_rate_at(s, o, &r, 4) == 0.5 && kr_rate_at(s, o, &r, 6) == 0.125);
    r.rate = 0;
    assert_int_equal(kr_rate_check(s, o, &r), KR_EREFUSED);
    r.rate = 1;
    assert_int_equal(kr_opt_set(s->opts, o, "gamma", "2"), 0);
    assert_int_equal(kr_rate_check(s, o, &r), KR_EREFUSED);
    free(o);
    s = kr_schedule_named("multistep");
    static const char *const bad[] = { "", "3,", "a", "3,,4", "-1", NULL };
    for (int i = 0; bad[i]; i++) {
        o = opts_of(s->opts, s->opts_size);
        assert_int_equal(kr_opt_set(s->opts, o, "at", bad[i]), 0);
        assert_int_equal(kr_rate_check(s, o, &r), KR_EREFUSED);
        free(o);
    }
    s = kr_schedule_named("cosine");
    o = opts_of(s->opts, s->opts_size);
    assert_int_equal(kr_rate_check(s, o, &r), KR_EREFUSED);                     /* the number of steps must be told */
    free(o);
    assert_null(kr_schedule_named("none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(losses), cmocka_unit_test(weights), cmocka_unit_test(optimisers), cmocka_unit_test(schedules) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
