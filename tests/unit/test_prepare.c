/* test_prepare.c: noise, whitening, readout oversampling and averages, against numpy's values, formulae and a real scan. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include <jansson.h>

static kr_scan *read_ok(const char *path)
{
    kr_scan *s = NULL;
    if (kr_scan_read(&s, path, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    return s;
}

static double matrix_at(json_t *o, const char *key, size_t i, size_t j) { return json_number_value(json_array_get(json_array_get(json_object_get(o, key), i), j)); }

static void test_expected_whitener(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/expected.json");
    json_error_t je;
    json_t *all = json_load_file(shared("samples/ismrmrd/expected.json"), 0, &je), *want = json_object_get(all, "cpp_phantom32_acc2_cal8_noise.h5");
    kr_scan *s = read_ok(shared("samples/ismrmrd/cpp_phantom32_acc2_cal8_noise.h5"));
    kr_scoped(array) c = kr_noise_covariance(s->noise);
    kr_scoped(array) w = kr_noise_whitener(s->noise, s->dwell_us, s->noise_dwell_us, 0);    /* the header gives no bandwidth: 0.793 */
    assert_non_null(c);
    assert_non_null(w);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            /* float products: a few 1e-7 of the largest element; the ten-millionth added to the diagonal changes W by 5e-8 */
            assert_near(kr_re(KR_C(c)[i + 2 * j]), matrix_at(want, "cov_re", i, j), 5e-9);
            assert_near(kr_im(KR_C(c)[i + 2 * j]), matrix_at(want, "cov_im", i, j), 5e-9);
            assert_near(kr_re(KR_C(w)[i + 2 * j]), matrix_at(want, "W_scaled_re", i, j), 2e-5);
            assert_near(kr_im(KR_C(w)[i + 2 * j]), matrix_at(want, "W_scaled_im", i, j), 2e-5);
        }
    json_decref(all);
    kr_scan_unref(&s);
}

/* noise w, {SAMPLE,COIL} */
static kr_array *mixed(const kr_array *x, const kr_array *w)
{
    kr_array *y = kr_array_new(KR_C32, kr_array_shape(x));
    kr_scoped(array) from = kr_array_rename(x, KR_COIL, KR_CHAN);
    kr_scoped(array) a = kr_array_rename(w, KR_COIL, KR_CHAN);
    kr_scoped(array) b = kr_array_rename(a, KR_MAP, KR_COIL);
    kr_contract(y, from, b, false);
    return y;
}

/* The largest |C - s I|. */
static double off_identity(const kr_array *c, double s)
{
    double most = 0;
    long n = c->n[KR_COIL];
    for (long i = 0; i < n * n; i++)
        most = fmax(most, hypot(kr_re(KR_C(c)[i]) - (i % (n + 1) ? 0 : s), kr_im(KR_C(c)[i])));
    return most;
}

static void test_real_noise(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    kr_scan *s = read_ok(shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"));
    /* The matrix from one half of the noise, the covariance from the other: the identity within sampling error, which for two
     * halves of 192 samples has a standard deviation of (1/192 + 1/192)^1/2 = 0.102 per element; the mean square over 14 x 14. */
    kr_scoped(array) a = kr_array_range(s->noise, KR_SAMPLE, 0, 192);
    kr_scoped(array) b = kr_array_range(s->noise, KR_SAMPLE, 192, 192);
    kr_scoped(array) w = kr_noise_whitener(a, 0, 0, 0);
    kr_scoped(array) white = mixed(b, w);
    kr_scoped(array) c = kr_noise_covariance(white);
    for (long i = 0; i < 14; i++)
        KR_C(c)[15 * i] -= 1;
    print_message("# noise whitened by its other half: rms distance of its covariance from the identity %.3f\n", kr_norm(c) / 14);
    assert_near(kr_norm(c) / 14, 0.102, 0.03);
    /* In the scan itself: the noise becomes s^2 times the identity, and whitening once more changes nothing. */
    double scale2 = 2 * s->dwell_us / s->noise_dwell_us * s->noise_bandwidth;
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .whiten = true }, NULL), 0);
    kr_scoped(array) after = kr_noise_covariance(s->noise);
    kr_scoped(array) again = kr_noise_whitener(s->noise, s->dwell_us, s->noise_dwell_us, s->noise_bandwidth);
    assert_near(off_identity(after, scale2), 0, 1e-6);
    assert_near(off_identity(again, 1), 0, 1e-5);
    assert_true(s->whitened);
    /* Noise of the image itself: along the readout there is nothing but air just outside the field of view (288 to 311 of 384), and
     * there the receiver's filter does not yet fall off. 2 is unit variance of real and imaginary part; 24 x 36 lines x 14 channels
     * give it to 1 %, the filter's shape to some 5 %. */
    assert_int_equal(kr_fourier_inverse(s->data, KR_ON(KR_X)), 0);
    double power = 0;
    for (long ch = 0; ch < 14; ch++)
        for (long y = 18; y < 18 + 106; y += 3)
            for (long x = 288; x < 312; x++)
                power += kr_cabs2(KR_C(s->data)[x + 384 * y + 384 * 144 * ch]) / (24 * 36 * 14);
    assert_near(power, 2, 0.2);
    kr_scan_unref(&s);
}

/* Coloured noise of known strength: what comes out has unit variance in real and imaginary part. */
static kr_scan *noisy(long samples)
{
    enum { COILS = 4 };
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 128, [KR_Y] = 64, [KR_COIL] = COILS, [KR_SLICE] = 2);
    kr_scoped(array) white = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = samples, [KR_COIL] = COILS));
    kr_scoped(array) pixels = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 128 * 64 * 2, [KR_COIL] = COILS));
    kr_scoped(array) colour = kr_array_new(KR_C32, KR_SHAPE([KR_COIL] = COILS, [KR_MAP] = COILS));
    fill_random(white, 1);
    fill_random(pixels, 2);
    fill_random(colour, 3);
    for (long i = 0; i < COILS; i++)                         /* gains of 1, 10, 100, 1000 */
        for (long j = 0; j < COILS; j++)
            KR_C(colour)[i + COILS * j] *= (float)pow(10, (double)j);
    s->noise = mixed(white, colour);
    s->dwell_us = 2;
    s->noise_dwell_us = 5;
    s->noise_bandwidth = 0.8;
    kr_scoped(array) d = mixed(pixels, colour);
    kr_scale(d, (float)sqrt(5 / (2 * 0.8)));                 /* imaging takes in more bandwidth */
    s->data = kr_array_new(KR_C32, s->shape);
    for (long slice = 0; slice < 2; slice++)
        for (long c = 0; c < COILS; c++)
            memcpy(KR_C(s->data) + (slice * COILS + c) * 128 * 64, KR_C(d) + c * 128 * 64 * 2 + slice * 128 * 64, 128 * 64 * sizeof(kr_cfloat));
    return s;
}

static void test_known_noise(void **state)
{
    (void)state;
    kr_scan *s = noisy(20000);
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .whiten = true }, NULL), 0);
    kr_scoped(array) flat = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 128 * 64 * 2, [KR_COIL] = 4));
    for (long slice = 0; slice < 2; slice++)
        for (long c = 0; c < 4; c++)
            memcpy(KR_C(flat) + c * 128 * 64 * 2 + slice * 128 * 64, KR_C(s->data) + (slice * 4 + c) * 128 * 64, 128 * 64 * sizeof(kr_cfloat));
    kr_scoped(array) c = kr_noise_covariance(flat);
    /* 16384 and 20000 samples: elements of the covariance, 2 in the mean, err by 2 (1/16384 + 1/20000)^1/2 = 0.021 */
    assert_near(off_identity(c, 2), 0, 4 * 0.021);
    kr_scan_unref(&s);
}

static void test_channels_off(void **state)
{
    (void)state;
    kr_scan *s = noisy(500);
    for (long i = 0; i < 500; i++)
        KR_C(s->noise)[i + 500] = 0;                         /* channel 1 is off, its data are a fault */
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .whiten = true }, NULL), 0);
    assert_non_null(strstr(s->notes.s, "channel 1 has no noise"));
    kr_scoped(array) off = kr_array_at(s->data, KR_COIL, 1);
    kr_scoped(array) on = kr_array_at(s->data, KR_COIL, 2);
    assert_near(kr_norm(off), 0, 0);
    assert_near(kr_norm(on) / sqrt(2 * 128 * 64 * 2), 1, 0.1);
    kr_scan_unref(&s);
}

/* The covariance of measured noise, given by itself, whitens as that noise does. */
static void test_given_covariance(void **state)
{
    (void)state;
    enum { C = 4, S = 500, X = 8, Y = 6 };
    kr_scoped(array) data = kr_array_new(KR_C32, KR_SHAPE([KR_X] = X, [KR_Y] = Y, [KR_COIL] = C));
    kr_scoped(array) noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = S, [KR_COIL] = C));
    fill_random(data, 11);
    fill_random(noise, 12);
    for (long i = 0; i < S; i++)                                     /* correlated, with phase, and of unequal size */
        for (long c = 1; c < C; c++)
            KR_C(noise)[i + S * c] = (float)c * (KR_C(noise)[i + S * c] + kr_cmul(kr_c(0.3f, 0.6f), KR_C(noise)[i + S * (c - 1)]));
    kr_scoped(array) given = kr_array_new(KR_C32, KR_SHAPE([KR_X] = C, [KR_Y] = C));
    for (long i = 0; i < C; i++)
        for (long j = 0; j < C; j++) {
            double re = 0, im = 0;                                   /* E[n_i conj n_j], summed in double */
            for (long k = 0; k < S; k++) {
                kr_cfloat v = kr_cmulc(KR_C(noise)[k + S * j], KR_C(noise)[k + S * i]);   /* conj(n_j) n_i */
                re += kr_re(v);
                im += kr_im(v);
            }
            KR_C(given)[j + C * i] = kr_c((float)(re / (S - 1)), (float)(im / (S - 1)));
        }
    kr_array *out[2];
    for (int by = 0; by < 2; by++) {
        kr_scan *s = kr_scan_new();
        s->shape = kr_array_shape(data);
        s->data = kr_array_copy(data);
        s->noise = by ? NULL : kr_array_copy(noise);
        if (by)
            assert_int_equal(kr_scan_covariance(s, given), 0);
        assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .whiten = true }, NULL), 0);
        assert_true(s->whitened);
        out[by] = kr_array_ref(s->data);
        kr_scan_unref(&s);
    }
    assert_true(distance(out[1], out[0]) < 1e-5 && distance(out[0], data) > 0.1);
    kr_scan *s = kr_scan_new();
    s->shape = kr_array_shape(data);
    KR_C(given)[1] = kr_c(9, 9);
    assert_int_equal(kr_scan_covariance(s, given), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "not Hermitian");
    kr_fill(given, 1);
    assert_int_equal(kr_scan_covariance(s, given), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "not positive definite");
    assert_int_equal(kr_scan_covariance(s, noise), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "{x=4 y=4} is wanted");
    kr_scan_unref(&s);
    kr_array_unref(&out[0]);
    kr_array_unref(&out[1]);
}

static void test_refusals(void **state)
{
    (void)state;
    kr_prepare whiten = { .whiten = true };
    kr_scan *s = noisy(500);
    KR_C(s->noise)[77] = kr_c(NAN, 0);
    assert_int_equal(kr_scan_prepare(s, &whiten, NULL), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "not finite");
    kr_fill(s->noise, 0);
    assert_int_equal(kr_scan_prepare(s, &whiten, NULL), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "holds no noise");
    kr_array_unref(&s->noise);
    s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 100, [KR_COIL] = 3));
    assert_int_equal(kr_scan_prepare(s, &whiten, NULL), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "3 channels, the data have 4");
    kr_array_unref(&s->noise);
    s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 8, [KR_COIL] = 4));
    assert_int_equal(kr_scan_prepare(s, &whiten, NULL), 0);  /* too few samples: said, and left */
    assert_false(s->whitened);
    kr_array_unref(&s->data);
    assert_int_equal(kr_scan_prepare(s, &whiten, NULL), KR_EFORMAT);
    kr_error_clear();
    assert_null(kr_noise_covariance(s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2))));
    kr_error_clear();
    kr_scan_unref(&s);
}

/* Points at x_j with strength a_j: k = N^-1/2 sum a_j exp(-2 pi i x_j k / N), on any grid. Point 3 lies outside the middle half. */
static const double point_x[4] = { -14, 0, 15, 20 }, point_a[4] = { 1, -2, 0.5, 3 };

static kr_cfloat points_at(long k, long N, int points)
{
    double re = 0, im = 0;
    for (int j = 0; j < points; j++) {
        re += point_a[j] * cos(2 * M_PI * point_x[j] * (double)(k - N / 2) / (double)N) / sqrt((double)N);
        im -= point_a[j] * sin(2 * M_PI * point_x[j] * (double)(k - N / 2) / (double)N) / sqrt((double)N);
    }
    return kr_c((float)re, (float)im);
}

static kr_scan *oversampled(long N)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = N, [KR_Y] = 3, [KR_COIL] = 2);
    s->data = kr_array_new(KR_C32, s->shape);
    for (long i = 0; i < N * 6; i++)
        KR_C(s->data)[i] = (i / N) % 3 == 1 ? 0 : points_at(i % N, N, 4) * (float)(1 + i / N);
    s->enc.encoded[0] = N;
    s->enc.encoded_mm[0] = 400;
    s->enc.recon_mm[0] = 200;
    s->dwell_us = 3;
    s->noise_dwell_us = 7;
    return s;
}

static void test_oversampling(void **state)
{
    (void)state;
    for (long N = 64; N <= 66; N += 2) {                     /* half of it even, and odd */
        kr_scan *s = oversampled(N);
        kr_scoped(array) before = kr_array_ref(s->data);
        assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .oversampling = true }, NULL), 0);
        assert_int_equal(s->shape.n[KR_X], N / 2);
        assert_int_equal(s->enc.encoded[0], N / 2);
        assert_near(s->enc.encoded_mm[0], 200, 0);
        assert_near(s->dwell_us, 6, 0);
        assert_near(s->noise_dwell_us, 14, 0);
        assert_int_equal(s->in_image, KR_ON(KR_X));
        assert_int_equal(kr_scan_to_kspace(s, KR_ON(KR_X)), 0);
        for (long i = 0; i < N / 2 * 6; i++) {               /* float transforms of numbers up to 30: some 1e-7 of that */
            long line = i / (N / 2);
            kr_cfloat want = line % 3 == 1 ? 0 : points_at(i % (N / 2), N / 2, 3) * (float)(1 + line);
            assert_near(kr_re(KR_C(s->data)[i]), kr_re(want), 1e-5);
            assert_near(kr_im(KR_C(s->data)[i]), kr_im(want), 1e-5);
        }
        assert_near(kr_re(KR_C(before)[1]), kr_re(points_at(1, N, 4)), 1e-6);    /* those who share the numbers keep theirs */
        kr_scan_unref(&s);
    }
    /* a readout that was cut short stays in k-space, and its mask is thinned */
    kr_scan *s = oversampled(64);
    s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 64, [KR_Y] = 3));
    for (long x = 20; x < 64; x++)
        KR_R(s->mask)[x] = KR_R(s->mask)[x + 128] = 1;
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .oversampling = true }, NULL), 0);
    assert_int_equal(s->in_image, 0);
    for (long x = 0; x < 32; x++) {
        assert_int_equal(KR_R(s->mask)[x], x >= 10);
        assert_near(kr_re(KR_C(s->data)[x]), kr_re(points_at(x, 32, 3)), 1e-5);
    }
    kr_scan_unref(&s);
    for (int rounded = 0; rounded < 2; rounded++) {          /* nothing to remove: 1 mm more of a field of view is a header's rounding, no oversampling */
        s = oversampled(512);
        s->enc.encoded_mm[0] = 200 + rounded;
        assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .oversampling = true }, NULL), 0);
        assert_int_equal(s->shape.n[KR_X], 512);
        kr_scan_unref(&s);
    }
}

/* Line y of average a is measured where a + y is even or y is 0, with the value y + 10 a. */
static void test_averages(void **state)
{
    (void)state;
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 4, [KR_Y] = 5, [KR_COIL] = 2, [KR_TIME] = 2, [KR_AVG] = 3);
    s->data = kr_array_new(KR_C32, s->shape);
    s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 5, [KR_AVG] = 3));
    for (long i = 0; i < 4 * 5 * 2 * 2 * 3; i++) {
        long y = i / 4 % 5, a = i / 80;
        bool measured = (a + y) % 2 == 0 || y == 0;
        KR_C(s->data)[i] = measured ? (float)(y + 10 * a + 1) : 0;
        KR_R(s->mask)[y + 5 * a] = measured && y != 4;       /* line 4 is said never to be measured */
    }
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .average = true }, NULL), 0);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 4, [KR_Y] = 5, [KR_COIL] = 2, [KR_TIME] = 2)));
    assert_true(kr_shape_equal(kr_array_shape(s->mask), KR_SHAPE([KR_Y] = 5)));
    static const float want[5] = { 11, 12, 13, 14, 0 };      /* (1+11+21)/3, 12, (3+23)/2, 14 */
    for (long i = 0; i < 4 * 5 * 2 * 2; i++) {
        assert_near(kr_re(KR_C(s->data)[i]), want[i / 4 % 5], 1e-6);
        assert_int_equal(KR_R(s->mask)[i / 4 % 5], i / 4 % 5 != 4);
    }
    kr_scan_unref(&s);
}

static void count_warnings(void *self, int level, const char *sentence)
{
    *(int *)self += level == KR_WARNING && strstr(sentence, "averages do not agree") != NULL;
}

/* Averages whose phases differ cancel, and that is said; averages of noise do not agree either, and nothing is said. */
static void test_averages_cancel(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {                      /* alike; phases 0, 90, 180, 270; noise */
        kr_scoped(scan) s = kr_scan_new();
        s->shape = KR_SHAPE([KR_X] = 32, [KR_Y] = 32, [KR_COIL] = 2, [KR_AVG] = 4);
        s->data = kr_array_new(KR_C32, s->shape);
        for (long i = 0; i < 32 * 32 * 2 * 4; i++) {
            static const float turn[4][2] = { { 1, 0 }, { 0, 1 }, { -1, 0 }, { 0, -1 } };
            long a = i / 2048, t = how == 1 ? a : 0;
            double z[2];
            kr_rand_normal2(5, 1, (uint64_t)i, z);
            float signal = how < 2 && i % 1024 == 16 + 32 * 16 ? 100 : 0;
            KR_C(s->data)[i] = kr_c(signal * turn[t][0] + (float)z[0], signal * turn[t][1] + (float)z[1]);
        }
        int warnings = 0;
        const kr_trace trace = { .say = count_warnings, .self = &warnings };
        assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .average = true }, &trace), 0);
        assert_int_equal(warnings, how == 1);
    }
}

/* Same input, same output, whatever the number of threads; and writing what was prepared loses nothing. */
static void test_threads_and_file(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    kr_prepare all = { .whiten = true, .oversampling = true, .average = true };
    int threads = kr_threads();
    kr_scan *s[2];
    for (int t = 0; t < 2; t++) {
        kr_threads_set(t ? 3 : 1);
        s[t] = read_ok(shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"));
        assert_int_equal(kr_scan_prepare(s[t], &all, NULL), 0);
    }
    kr_threads_set(threads);
    assert_memory_equal(s[0]->data->data, s[1]->data->data, 192 * 144 * 14 * sizeof(kr_cfloat));
    assert_memory_equal(s[0]->calib->data, s[1]->calib->data, 192 * 48 * 14 * sizeof(kr_cfloat));
    char path[64];
    snprintf(path, sizeof path, "/tmp/kray-test-%ld-prepared.mrd", (long)getpid());
    assert_int_equal(kr_scan_write(s[0], path, NULL), 0);
    kr_scan *back = read_ok(path);
    assert_int_equal(kr_scan_prepare(back, &all, NULL), 0);  /* nothing more to remove, and it is white already */
    assert_int_equal(kr_scan_to_kspace(s[0], KR_ON(KR_X)), 0);
    assert_true(kr_shape_equal(back->shape, s[0]->shape));
    assert_near(distance(back->data, s[0]->data), 0, 1e-5);  /* a whitening matrix that is the identity to 1e-6 */
    assert_near(distance(back->calib, s[0]->calib), 0, 1e-5);
    assert_near(distance(back->mask, s[0]->mask), 0, 0);
    kr_scan_unref(&back);
    unlink(path);
    for (int t = 0; t < 2; t++)
        kr_scan_unref(&s[t]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_expected_whitener), cmocka_unit_test(test_real_noise),
        cmocka_unit_test(test_known_noise), cmocka_unit_test(test_channels_off), cmocka_unit_test(test_given_covariance), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_oversampling), cmocka_unit_test(test_averages), cmocka_unit_test(test_averages_cancel), cmocka_unit_test(test_threads_and_file) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
