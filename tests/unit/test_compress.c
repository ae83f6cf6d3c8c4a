#include "test.h"
#include "kray/fourier.h"
#include "kray/scan.h"

/* `coils` coils that at each place of the readout see only `seen` different images: image c = sum over j of A_cj(x) f_j(x,y).
 * A turns smoothly with x when `turning`, so that over the whole scan more are seen. In image space along both axes. */
static kr_array *images(long nx, long ny, long slices, long coils, long seen, bool turning)
{
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = coils, [KR_SLICE] = slices));
    for (long s = 0; s < slices; s++)
        for (long c = 0; c < coils; c++)
            for (long y = 0; y < ny; y++)
                for (long x = 0; x < nx; x++) {
                    kr_cfloat v = 0;
                    for (long j = 0; j < seen; j++) {
                        double p = 2 * M_PI * kr_rand_uniform(1, 1, (uint64_t)(c * 8 + j)), t = turning ? (double)(x - nx / 2) / (double)nx : 0;
                        double size = 1 + cos(p + 3 * t * (double)(1 + c % 3) + (double)j), angle = p * 3 + 2 * t * (double)(c - j);
                        double f = sin(0.3 * (double)((j + 1) * y + s)) + 0.5 + 0.1 * (double)j;
                        v += kr_c((float)(size * f * cos(angle)), (float)(size * f * sin(angle)));
                    }
                    KR_C(a)[x + nx * (y + ny * (c + coils * s))] = v;
                }
    return a;
}

static kr_scan *scan_of(kr_array *a)
{
    kr_scan *s = kr_scan_new();
    s->data = a;
    s->shape = kr_array_shape(a);
    assert_int_equal(kr_fourier(s->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    return s;
}

static kr_array *rss(const kr_scan *s)
{
    kr_scoped(array) x = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(x, (KR_ON(KR_X) | KR_ON(KR_Y)) & ~s->in_image), 0);
    return kr_rss(x, KR_COIL);
}

static void energy(void **state)
{
    (void)state;
    /* Three images in 9 coils: three virtual coils hold them all, two do not. Turning: geometric only. */
    static const struct { bool turning; const char *method; long keep; bool whole; unsigned in_image; } t[] = {
        { false, "svd", 3, true, 0 }, { false, "svd", 2, false, 0 }, { false, "geometric", 3, true, 0 }, { true, "svd", 3, false, 0 },
        { true, "geometric", 3, true, 0 }, { true, "geometric", 2, false, 0 }, { true, "geometric", 3, true, KR_ON(KR_X) } };
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        kr_scoped(scan) s = scan_of(images(33, 20, 2, 9, 3, t[k].turning));
        if (t[k].in_image) {
            assert_int_equal(kr_fourier_inverse(s->data, KR_ON(KR_X)), 0);
            s->in_image = KR_ON(KR_X);
        }
        kr_scoped(array) before = rss(s);
        kr_scoped(array) data = kr_array_ref(s->data);
        kr_scoped(array) copy = kr_array_copy(s->data);
        assert_int_equal(kr_coils_compress(s, t[k].keep, t[k].method, NULL, NULL), 0);
        assert_int_equal(s->shape.n[KR_COIL], t[k].keep);
        assert_true(kr_shape_equal(kr_array_shape(s->data), s->shape));
        assert_near(distance(data, copy), 0, 0);     /* those who share the old data still have them */
        kr_scoped(array) after = rss(s);
        double d = distance(after, before);
        print_message("# %s %ld of 9, %s: RSS changes by %.2g\n", t[k].method, t[k].keep, t[k].turning ? "turning" : "fixed", d);
        assert_true(t[k].whole ? d < 1e-5 : d > 1e-3);
    }
}

/* Virtual coils of neighbouring places are alike: along x they change no faster than the coils' own images do. */
static void smooth(void **state)
{
    (void)state;
    kr_scoped(scan) s = scan_of(images(64, 40, 1, 8, 3, true));
    double change[2];
    for (int after = 0; after < 2; after++) {
        if (after)
            assert_int_equal(kr_coils_compress(s, 3, "geometric", NULL, NULL), 0);
        kr_scoped(array) x = kr_array_copy(s->data);
        assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        kr_scoped(array) right = kr_array_range(x, KR_X, 1, 63);
        kr_scoped(array) left = kr_array_range(x, KR_X, 0, 63);
        change[after] = distance(right, left);
    }
    print_message("# change from place to place: coils %.3f, virtual coils %.3f\n", change[0], change[1]);
    assert_true(change[1] < change[0]);
}

static void in_step(void **state)
{
    (void)state;
    static const char *const method[] = { "svd", "geometric" };
    for (int k = 0; k < 2; k++) {
        kr_scoped(scan) s = scan_of(images(24, 30, 1, 6, 4, true));
        s->calib = kr_array_copy(s->data);
        s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 40000, [KR_COIL] = 6));
        fill_random(s->noise, 4);
        kr_scale(s->noise, (float)sqrt(0.5));
        /* maps S and an object: data = F (S o); maps of the virtual coils explain the virtual data */
        s->coils = kr_array_copy(s->data);
        assert_int_equal(kr_fourier_inverse(s->coils, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        assert_int_equal(kr_coils_compress(s, 3, method[k], NULL, NULL), 0);
        assert_near(distance(s->calib, s->data), 0, 0);
        kr_scoped(array) x = kr_array_copy(s->data);
        assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        assert_near(distance(s->coils, x), 0, 1e-6);
        kr_scoped(array) C = kr_noise_covariance(s->noise);
        assert_int_equal(C->n[KR_COIL], 3);
        for (long i = 0; i < 9; i++) {                /* 5 standard deviations of a mean of 40000 */
            assert_near(kr_re(KR_C(C)[i]), i % 4 ? 0 : 1, 0.025);
            assert_near(kr_im(KR_C(C)[i]), 0, 0.025);
        }
    }
}

static void threads(void **state)
{
    (void)state;
    static const char *const method[] = { "svd", "geometric" };
    for (int k = 0; k < 2; k++) {
        kr_array *out[2];
        for (int n = 0; n < 2; n++) {
            kr_threads_set(n ? 3 : 1);
            kr_scoped(scan) s = scan_of(images(150, 120, 2, 5, 3, true));
            assert_int_equal(kr_coils_compress(s, 3, method[k], NULL, NULL), 0);
            out[n] = kr_array_ref(s->data);
        }
        assert_memory_equal(out[0]->data, out[1]->data, (size_t)kr_count(kr_array_shape(out[0])) * sizeof(kr_cfloat));
        kr_array_unref(&out[0]);
        kr_array_unref(&out[1]);
    }
}

static void readouts_with_gaps(void **state)
{
    (void)state;
    /* partial echo: what was not measured stays 0 */
    kr_scoped(scan) s = scan_of(images(32, 24, 1, 6, 2, true));
    kr_scoped(array) echo = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 32));
    for (long x = 8; x < 32; x++)
        KR_R(echo)[x] = 1;
    assert_int_equal(kr_scan_undersample(s, echo), 0);
    assert_int_equal(kr_coils_compress(s, 2, "geometric", NULL, NULL), 0);
    for (long i = 0; i < kr_count(s->shape); i++)
        assert_true(i % 32 >= 8 || kr_cabs2(KR_C(s->data)[i]) == 0);

    kr_scoped(scan) g = scan_of(images(32, 24, 1, 6, 2, true));
    kr_scoped(array) gaps = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 32, [KR_Y] = 24));
    for (long i = 0; i < 32 * 24; i++)
        KR_R(gaps)[i] = i * 7 % 5 < 3;
    assert_int_equal(kr_scan_undersample(g, gaps), 0);
    assert_true(kr_coils_compress(g, 2, "geometric", NULL, NULL));
    assert_refused(KR_EREFUSED, "gaps along x");
    assert_int_equal(kr_coils_compress(g, 2, "svd", NULL, NULL), 0);
    for (long i = 0; i < 32 * 24; i++)
        assert_true(KR_R(gaps)[i] > 0 || kr_cabs2(KR_C(g->data)[i]) == 0);
}

static void refusals(void **state)
{
    (void)state;
    kr_scoped(scan) s = scan_of(images(16, 12, 1, 4, 2, false));
    assert_true(kr_coils_compress(s, 5, "svd", NULL, NULL));
    assert_refused(KR_EREFUSED, "5 virtual coils of 4 coils");
    assert_true(kr_coils_compress(s, 0, "svd", NULL, NULL));
    assert_refused(KR_EREFUSED, "0 virtual coils");
    assert_true(kr_coils_compress(s, 2, "pca", NULL, NULL));
    assert_refused(KR_EUSAGE, "known are svd and geometric");
    s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 10, [KR_COIL] = 3));
    assert_true(kr_coils_compress(s, 2, "svd", NULL, NULL));
    assert_refused(KR_ESHAPE, "noise of 3 coils for data of 4");
    kr_array_unref(&s->noise);
    kr_fill(s->data, 0);
    assert_true(kr_coils_compress(s, 2, "svd", NULL, NULL));
    assert_refused(KR_ENUMBER, "all zero");
    assert_int_equal(s->shape.n[KR_COIL], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(energy), cmocka_unit_test(smooth), cmocka_unit_test(in_step),
        cmocka_unit_test(threads), cmocka_unit_test(readouts_with_gaps), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
