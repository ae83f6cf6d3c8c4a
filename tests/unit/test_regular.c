/* test_regular.c: regularised reconstruction of a moving object, measured on a finer grid than it is reconstructed on. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/recon.h"

enum { N = 48, COILS = 5, FRAMES = 10, FINE = 3 * N };

static double inside(double x, double y, double cx, double cy, double rx, double ry)
{
    double a = (x - cx) / rx, b = (y - cy) / ry;
    return a * a + b * b < 1 ? 1 : 0;
}

static double object(double x, double y, double t)                    /* a body with a beating disc */
{
    double beat = 0.5 + 0.5 * cos(2 * M_PI * t);
    return 0.5 * inside(x, y, 0, 0, 0.8, 0.7) + 0.5 * inside(x, y, 0.05, 0, 0.2 + 0.12 * beat, 0.2 + 0.1 * beat) - 0.3 * inside(x, y, -0.45, 0.2, 0.12, 0.2);
}

static kr_cfloat map(double x, double y, int c)
{
    double a = 2 * M_PI * c / COILS, d = (x - 1.2 * cos(a)) * (x - 1.2 * cos(a)) + (y - 1.2 * sin(a)) * (y - 1.2 * sin(a));
    return kr_c((float)(exp(-d / 1.5) * cos(a + x)), (float)(exp(-d / 1.5) * sin(a + x)));
}

/* k-space of the fine grid's middle, lines that differ from frame to frame, a little noise. */
static kr_scan *moving(kr_array **coils, kr_array **truth)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = COILS, [KR_TIME] = FRAMES);
    s->data = kr_array_new(KR_C32, s->shape);
    *coils = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = COILS));
    *truth = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_TIME] = FRAMES));
    for (int c = 0; c < COILS; c++)
        for (int i = 0; i < N * N; i++)
            KR_C(*coils)[c * N * N + i] = map(2.0 * (i % N - N / 2) / N, 2.0 * (i / N - N / 2) / N, c);
    kr_scoped(array) fine = kr_array_new(KR_C32, KR_SHAPE([KR_X] = FINE, [KR_Y] = FINE));
    for (int t = 0; t < FRAMES; t++)
        for (int c = -1; c < COILS; c++) {                            /* -1: the object itself */
            for (int i = 0; i < FINE * FINE; i++) {
                double x = 2.0 * (i % FINE - FINE / 2) / FINE, y = 2.0 * (i / FINE - FINE / 2) / FINE, f = object(x, y, (double)t / FRAMES);
                KR_C(fine)[i] = kr_cmul(kr_c((float)f, 0), c < 0 ? kr_c(1, 0) : map(x, y, c));
            }
            assert_int_equal(kr_fourier(fine, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
            for (int i = 0; i < N * N; i++) {
                int ky = i / N;
                kr_cfloat k = kr_cmul(kr_c(1.f / 3, 0), KR_C(fine)[(ky - N / 2 + FINE / 2) * FINE + i % N - N / 2 + FINE / 2]);
                double z[2];
                kr_rand_normal2(3, (uint64_t)(t * COILS + c + 1), (uint64_t)i, z);
                bool kept = abs(ky - N / 2) < 3 || kr_rand_uniform(4, (uint64_t)t, (uint64_t)ky) < 0.22;
                if (c < 0)
                    KR_C(*truth)[t * N * N + i] = k;
                else if (kept)
                    KR_C(s->data)[(t * COILS + c) * N * N + i] = kr_c(kr_re(k) + 0.01f * (float)z[0], kr_im(k) + 0.01f * (float)z[1]);
            }
        }
    assert_int_equal(kr_fourier_inverse(*truth, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    return s;
}

/* In a sanitized build after 150 iterations at most. */
static kr_image *with(const char *name, kr_scan *s, const kr_array *coils, const char *option, const char *value)
{
    const kr_recon *m = kr_recon_named(name);
    assert_non_null(m);
    void *o = kr_alloc_zero(1, m->opts_size + 1);
    assert_int_equal(kr_opt_defaults(m->opts, o), 0);
    if (option)
        assert_int_equal(kr_opt_set(m->opts, o, option, value), 0);
    if (SANITIZED && strcmp(name, "sense") && !(option && !strcmp(option, "iterations")))
        assert_int_equal(kr_opt_set(m->opts, o, "iterations", "150"), 0);
    kr_image *out = NULL;
    if (kr_reconstruct(&out, s, m, o, NULL, coils, NULL, NULL))
        fail_msg("%s: %s", name, kr_error());
    kr_free(o);
    return out;
}

/* Each method by its NRMSE: frame by frame SENSE is the line to stay below. */
static void a_moving_object(void **state)
{
    (void)state;
    kr_array *coils, *truth;
    kr_scan *s = moving(&coils, &truth);
    kr_scoped(image) plain = with("sense", s, coils, NULL, NULL);
    double sense = distance(plain->data, truth);
    static const char *const methods[][3] = { { "llr", NULL, NULL }, { "ttv", NULL, NULL }, { "lowrank-sparse", NULL, NULL }, { "kt-sense", NULL, NULL },
        { "cs", "reg", "ttv:0.005+tv:0.002" }, { "cs", "reg", "spectrum:0.005" }, { "cs", "reg", "llr:0.01+wavelet:0.001+l2:1e-4" }, { "wavelet", NULL, NULL }, { "tv", NULL, NULL }, { "tgv", NULL, NULL } };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        kr_scoped(image) x = with(methods[i][0], s, coils, methods[i][1], methods[i][2]);
        double e = distance(x->data, truth);
        print_message("# %s %s: %.4f, sense %.4f\n", methods[i][0], methods[i][2] ? methods[i][2] : "", e, sense);
        assert_true(e < (i < 7 ? 0.75 : 0.95) * sense);
        assert_true(kr_meta_number(x->meta, "kray_objective", 0) > 0);
    }
    kr_array_unref(&coils);
    kr_array_unref(&truth);
    kr_scan_unref(&s);
}

/* The unit of the data and the size of the maps do not change what lambda means. */
static void lambda_has_no_unit(void **state)
{
    (void)state;
    kr_array *coils, *truth;
    kr_scan *s = moving(&coils, &truth);
    kr_scoped(image) first = with("llr", s, coils, "iterations", "20");
    kr_scale(s->data, 5e4f);
    kr_scale(coils, 0.2f);
    kr_scoped(image) second = with("llr", s, coils, "iterations", "20");
    kr_scale(second->data, 0.2f / 5e4f);
    assert_near(distance(second->data, first->data), 0, 1e-4);       /* 20 iterations of rounded numbers */
    kr_array_unref(&coils);
    kr_array_unref(&truth);
    kr_scan_unref(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_moving_object), cmocka_unit_test(lambda_has_no_unit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
