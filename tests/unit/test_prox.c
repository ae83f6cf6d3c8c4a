/* test_prox.c: every proximal map against what defines it: no point near, and none on the way to 0 or to v, has a lower
 * g(u) + |u - v|^2 / 2t; and against closed forms where there are any. */
#include "test.h"
#include "kray/la.h"
#include "kray/prox.h"

static const kr_shape series = { .n = { [KR_X] = 37, [KR_Y] = 34, [KR_TIME] = 6 } };
static kr_shape with(kr_shape s, int axis, long n) { s.n[axis] = n; return s; }
static enum kr_type numbers = KR_C32;         /* of the maps that are made */
enum { XY = KR_ON(KR_X) | KR_ON(KR_Y), XYZ = XY | KR_ON(KR_Z) };

static kr_prox *l2(void) { return kr_prox_l2(numbers, series, 0.7); }
static kr_prox *l1(void) { return kr_prox_l1(numbers, series, 0.7); }
static kr_prox *l1_vectors(void) { return kr_prox_l1(numbers, with(series, KR_CHAN, 3), 0.7); }
static kr_prox *wavelet(void) { return kr_prox_wavelet(numbers, series, XY, 2, 0, 0.7, true); }
static kr_prox *tv(void) { return kr_prox_tv(numbers, series, XY, 0.3, 400); }
static kr_prox *tv_volume(void) { return kr_prox_tv(numbers, KR_SHAPE([KR_X] = 13, [KR_Y] = 9, [KR_Z] = 11), XYZ, 0.3, 400); }
static kr_prox *tv_time(void) { return kr_prox_tv(numbers, series, KR_ON(KR_TIME), 0.5, 400); }
static kr_prox *tv_long(void) { return kr_prox_tv(numbers, KR_SHAPE([KR_X] = 600, [KR_Y] = 3), XY, 0.3, 400); }
static kr_prox *llr(void) { return kr_prox_llr(numbers, series, 8, 1.5, true); }
static kr_prox *llr_wide(void) { return kr_prox_llr(numbers, KR_SHAPE([KR_X] = 9, [KR_Y] = 7, [KR_Z] = 3, [KR_TIME] = 20), 2, 1.5, false); }
static kr_prox *lowrank(void) { return kr_prox_lowrank(numbers, series, 20); }
static kr_prox *spectrum(void) { return kr_prox_spectrum(numbers, series, KR_TIME, 0.7); }
static kr_prox *power(void)
{
    kr_scoped(array) p = kr_array_new(KR_R32, series);
    for (long i = 0; i < kr_count(series); i++)
        KR_R(p)[i] = 0.1f + (float)(i % 7);
    return kr_prox_power(series, KR_TIME, p, 0.7);
}
static kr_prox *parts(void)
{
    kr_prox *g[2] = { lowrank(), spectrum() };
    return kr_prox_parts(g, 2);
}

static const struct sample { const char *name; kr_prox *(*make)(void); double tolerance; } samples[] = {
    { "l2", l2, 1e-6 }, { "l1", l1, 1e-6 }, { "l1 of vectors", l1_vectors, 1e-6 }, { "wavelet", wavelet, 1e-6 },
    { "tv", tv, 3e-5 }, { "tv of a volume", tv_volume, 3e-5 }, { "tv in time", tv_time, 3e-5 }, { "tv of long rows", tv_long, 3e-5 },   /* 400 steps of a 1/k^2 method */
    { "llr", llr, 1e-6 }, { "llr, more frames than points", llr_wide, 1e-6 }, { "low rank", lowrank, 1e-6 }, { "spectrum", spectrum, 1e-6 }, { "parts", parts, 1e-6 }, { "power", power, 1e-6 } };     /* the last: of complex numbers alone */

/* g(u) + |u - v|^2 / 2t */
static double height(kr_prox *g, const kr_array *u, const kr_array *v, double t)
{
    kr_scoped(array) d = kr_array_copy(u);
    kr_axpy(d, -1, v);
    return kr_prox_value(g, u) + kr_dot_re(d, d) / (2 * t);
}

static void minimum(const struct sample *s)
{
    kr_prox *g = s->make();
    assert_non_null(g);
    kr_scoped(array) v = kr_array_new(kr_prox_type(g), kr_prox_shape(g));
    kr_scoped(array) z = kr_array_like(v);
    kr_scoped(array) u = kr_array_like(v);
    fill_random(v, 1);
    const float t = 0.9f;
    kr_prox_next(g, 3);
    kr_prox_apply(g, t, z, v);
    double best = height(g, z, v, t), zero = kr_dot_re(v, v) / (2 * t);
    assert_true(best < zero && best < kr_prox_value(g, v));
    for (int k = 0; k < 12; k++)
        for (int way = -1; way <= 1; way += 2) {
            float e = (float)way * (k % 4 == 0 ? 1e-3f : k % 4 == 1 ? 1e-2f : k % 4 == 2 ? 0.1f : 0.5f);
            kr_array_assign(u, z);
            if (k < 4)
                kr_scale(u, 1 - e);                                  /* towards 0 and away */
            else if (k < 8) {
                kr_scale(u, 1 - e);
                kr_axpy(u, e, v);                                    /* towards v and away */
            } else {
                kr_scoped(array) n = kr_array_like(v);
                fill_random(n, 100 + (uint64_t)k);
                kr_axpy(u, e, n);
            }
            double there = height(g, u, v, t);
            if (!(there >= best * (1 - s->tolerance)))
                fail_msg("%s: %.9g at the map, %.9g in direction %d", s->name, best, there, k);
        }
    /* What any two proximal maps keep: |z - z'|^2 <= <z - z', v - v'>. */
    kr_scoped(array) v1 = kr_array_copy(v);
    kr_scoped(array) z1 = kr_array_like(v);
    kr_array_assign(u, v);
    fill_random(u, 2);
    kr_axpy(v1, 0.3f, u);
    kr_prox_apply(g, t, z1, v1);
    kr_axpy(z1, -1, z);
    kr_axpy(v1, -1, v);
    assert_true(kr_dot_re(z1, z1) <= kr_dot_re(z1, v1) * (1 + 10 * s->tolerance));
    if (kr_prox_has_dual(g)) {                                       /* Moreau: v - prox of g at v */
        kr_array_assign(v1, v);
        kr_prox_dual(g, v1);
        kr_prox_apply(g, 1, z1, v);
        kr_axpy(z1, 1, v1);
        kr_axpy(z1, -1, v);
        assert_true(kr_norm(z1) <= 1e-6 * kr_norm(v) && kr_norm(v1) > 0);
    }
    kr_prox_unref(&g);
}

static void is_the_minimum(void **state)
{
    const struct sample *s = *state;
    for (int t = s->make == power; t < 2; t++) {
        numbers = t ? KR_C32 : KR_R32;
        minimum(s);
    }
}

/* The map and the value of a real array are those of the complex one without imaginary part. */
static void real_as_complex(void **state)
{
    const struct sample *s = *state;
    numbers = KR_R32;
    kr_prox *g = s->make();
    numbers = KR_C32;
    kr_prox *whole = s->make();
    kr_shape n = kr_prox_shape(g);
    assert_int_equal(kr_prox_type(g), KR_R32);
    assert_string_equal(kr_prox_name(g), kr_prox_name(whole));
    kr_scoped(array) v = kr_array_new(KR_R32, n);
    fill_random(v, 1);
    kr_scoped(array) z = kr_array_like(v);
    kr_scoped(array) u = kr_array_complex(v);
    kr_scoped(array) w = kr_array_like(u);
    for (int again = 0; again < 2; again++) {                        /* total variation goes on from where it was */
        assert_true(kr_prox_next(g, 5) == kr_prox_next(whole, 5));
        kr_prox_apply(g, 0.4f, z, v);
        kr_prox_apply(whole, 0.4f, w, u);
        kr_scoped(array) as = kr_array_complex(z);
        assert_near(distance(as, w), 0, 1e-6);                       /* squares are summed with one rounding less */
        assert_near(kr_prox_value(g, z) / kr_prox_value(whole, w), 1, 1e-6);
    }
    kr_prox_unref(&g);
    kr_prox_unref(&whole);
}

static void shrinks_one_number(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 3);
    kr_prox *g = kr_prox_l1(KR_C32, s, 2);
    kr_scoped(array) v = kr_array_new(KR_C32, s);
    kr_scoped(array) z = kr_array_like(v);
    KR_C(v)[0] = kr_c(3, 4);
    KR_C(v)[1] = kr_c(0.5f, -0.5f);
    kr_prox_apply(g, 0.5f, z, v);                                    /* |v| = 5, threshold 1 */
    assert_near(kr_re(KR_C(z)[0]), 2.4, 1e-6);
    assert_near(kr_im(KR_C(z)[0]), 3.2, 1e-6);
    assert_near(kr_cabs2(KR_C(z)[1]), 0, 0);
    assert_near(kr_prox_value(g, v), 2 * (5 + sqrt(0.5)), 1e-5);
    kr_prox_unref(&g);
}

/* Two points: TV moves them towards each other by the threshold; many equal points next to others share it. */
static void tv_of_a_step(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_Y] = 10);
    kr_prox *g = kr_prox_tv(KR_C32, s, KR_ON(KR_Y), 0.5, 1000);
    kr_scoped(array) v = kr_array_new(KR_C32, s);
    kr_scoped(array) z = kr_array_like(v);
    for (int i = 0; i < 10; i++)
        KR_C(v)[i] = kr_c(0, i < 4 ? 1 : 3);
    kr_prox_apply(g, 1, z, v);
    for (int i = 0; i < 10; i++)                                     /* 4 points take 0.5 up, 6 take it down */
        assert_near(kr_im(KR_C(z)[i]), i < 4 ? 1.125 : 3 - 0.5 / 6, 1e-3);
    assert_near(kr_prox_value(g, v), 1, 1e-6);
    kr_prox_unref(&g);
}

/* One block: singular values by LAPACK, less the threshold. */
static void llr_of_one_block(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        kr_shape s = KR_SHAPE([KR_X] = wide ? 2 : 5, [KR_Y] = 4, [KR_TIME] = 11);
        long m = wide ? 8 : 20, n = 11, k = wide ? 8 : 11;
        kr_prox *g = kr_prox_llr(KR_C32, s, 5, 1, false), *whole = kr_prox_lowrank(KR_C32, s, 1);
        kr_scoped(array) v = kr_array_new(KR_C32, s);
        kr_scoped(array) z = kr_array_like(v);
        kr_scoped(array) all = kr_array_like(v);
        kr_scoped(array) want = kr_array_like(v);
        kr_scoped(array) U = kr_array_new(KR_C32, KR_SHAPE([KR_X] = m, [KR_Y] = k));
        kr_scoped(array) Vh = kr_array_new(KR_C32, KR_SHAPE([KR_X] = k, [KR_Y] = n));
        kr_scoped(array) A = NULL;
        float w[20];
        fill_random(v, 5);
        kr_scale(v, 1e-3f);
        A = kr_array_copy(v);
        assert_int_equal(kr_la_svd(m, n, A->data, U->data, w, Vh->data), 0);
        float t = w[2], sum = 0;
        for (long i = 0; i < k; i++) {
            sum += w[i];
            float f = w[i] > t ? w[i] - t : 0;
            for (long j = 0; j < m; j++)
                KR_C(U)[j + i * m] = kr_c(f * kr_re(KR_C(U)[j + i * m]), f * kr_im(KR_C(U)[j + i * m]));
        }
        kr_la_gemm('N', 'N', m, n, k, 1, U->data, m, Vh->data, k, 0, want->data, m);
        kr_prox_apply(g, t, z, v);
        kr_prox_apply(whole, t, all, v);
        assert_near(distance(z, want), 0, 1e-4);                     /* the Gram matrix halves the digits of small differences w - t */
        assert_near(distance(all, want), 0, 1e-4);
        assert_near(kr_prox_value(g, v), sum, 1e-5 * sum);
        kr_prox_unref(&g);
        kr_prox_unref(&whole);
    }
}

/* The same bits on any number of threads, and the same shifts in the same iteration. */
static void any_threads(void **state)
{
    (void)state;
    int threads = kr_threads();
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        kr_array *first = NULL;
        for (int n = 1; n <= 3; n++) {
            kr_threads_set(n);
            numbers = i % 2 ? KR_C32 : KR_R32;
            kr_prox *g = samples[i].make();
            kr_scoped(array) v = kr_array_new(kr_prox_type(g), kr_prox_shape(g));
            kr_array *z = kr_array_like(v);
            fill_random(v, 1);
            kr_prox_next(g, 7);
            kr_prox_apply(g, 0.5f, z, v);
            if (first)
                assert_memory_equal(first->data, z->data, (size_t)kr_count(kr_prox_shape(g)) * (numbers == KR_C32 ? 8 : 4));
            kr_prox_unref(&g);
            if (first)
                kr_array_unref(&z);
            else
                first = z;
        }
        kr_array_unref(&first);
    }
    kr_threads_set(threads);
    numbers = KR_C32;
}

static void refusals(void **state)
{
    (void)state;
    assert_null(kr_prox_l1(KR_C32, series, -1));
    assert_refused(KR_EREFUSED, "strength -1");
    assert_null(kr_prox_tv(KR_C32, series, 0, 1, 5));
    assert_refused(KR_EREFUSED, "1 to 4 axes");
    assert_null(kr_prox_llr(KR_C32, KR_SHAPE([KR_X] = 8), 4, 1, false));
    assert_refused(KR_EREFUSED, "a series of 2 to 128 frames");
    assert_null(kr_prox_llr(KR_C32, series, 100, 1, false));
    assert_refused(KR_EREFUSED, "blocks of 100 points");
    assert_null(kr_prox_wavelet(KR_C32, series, XY, 12, 0, 1, false));
    assert_refused(KR_EREFUSED, "orders 1 to 10");
    kr_prox *g[2] = { l1(), NULL };
    assert_null(kr_prox_parts(g, 2));
}

int main(void)
{
    enum { SAMPLES = sizeof samples / sizeof *samples };
    struct CMUnitTest tests[2 * SAMPLES - 1 + 5];
    for (int i = 0; i < SAMPLES; i++) {
        tests[i] = (struct CMUnitTest){ samples[i].name, is_the_minimum, NULL, NULL, (void *)(uintptr_t)&samples[i] };
        if (i < SAMPLES - 1)
            tests[SAMPLES + i] = (struct CMUnitTest){ samples[i].name, real_as_complex, NULL, NULL, (void *)(uintptr_t)&samples[i] };
    }
    const struct CMUnitTest more[5] = { cmocka_unit_test(shrinks_one_number), cmocka_unit_test(tv_of_a_step), cmocka_unit_test(llr_of_one_block),
        cmocka_unit_test(any_threads), cmocka_unit_test(refusals) };
    memcpy(tests + 2 * SAMPLES - 1, more, sizeof more);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
