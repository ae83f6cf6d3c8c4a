#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "kray/trajectory.h"

static kr_scan *simulated(long coils, double snr, const char *mask)
{
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 64;
    how.slices = 1;
    how.coils = coils;
    how.snr = snr;
    how.noise_scan = true;
    how.oversampling = false;
    how.noise_correlation = 0.4;
    const kr_phantom *p = kr_phantom_named("shepplogan");
    kr_scan *s = NULL;
    assert_non_null(p);
    assert_int_equal(p->measure(&s, &how, NULL), 0);
    const kr_prepare ready = { .whiten = true };
    assert_int_equal(kr_scan_prepare(s, &ready, NULL), 0);
    assert_true(s->whitened);
    if (mask) {
        kr_scoped(array) m = kr_mask_new(mask, s->shape, NULL);
        assert_non_null(m);
        assert_int_equal(kr_scan_undersample(s, m), 0);
    }
    return s;
}

/* Smooth maps of unit sum of squares, nonzero everywhere. */
static kr_array *maps_of(const kr_scan *s)
{
    const long n[3] = { s->shape.n[KR_X], s->shape.n[KR_Y], 1 };
    kr_array *a = kr_phantom_coils(n, (double[]){ 220, 220, 5 }, 0, s->shape.n[KR_COIL]);
    long points = n[0] * n[1], coils = s->shape.n[KR_COIL];
    for (long i = 0; i < points; i++) {
        double sum = 0;
        for (long c = 0; c < coils; c++)
            sum += (double)kr_cabs2(KR_C(a)[c * points + i]);
        for (long c = 0; c < coils; c++)
            KR_C(a)[c * points + i] = kr_cmul(KR_C(a)[c * points + i], kr_c((float)(1 / sqrt(sum)), 0));
    }
    return a;
}

struct method { const kr_recon *m; void *o; };
static struct method method(const char *name, const char *(*set)[2], int count)
{
    struct method r = { kr_recon_named(name), NULL };
    assert_non_null(r.m);
    r.o = kr_alloc_zero(1, r.m->opts_size + 1);
    assert_int_equal(kr_opt_defaults(r.m->opts, r.o), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(kr_opt_set(r.m->opts, r.o, set[i][0], set[i][1]), 0);
    return r;
}

/* g of SENSE at R = 2 in closed form: sqrt(A^-1_rr A_rr), A = S^H S of the two places that fold onto each other.
 * Source: Pruessmann et al., Magn Reson Med 42:952 (1999), eq. 23. */
static double g_of_two(const kr_array *maps, long x, long y)
{
    long n = maps->n[KR_X] * maps->n[KR_Y], a = y * maps->n[KR_X] + x, b = (y + maps->n[KR_Y] / 2) % maps->n[KR_Y] * maps->n[KR_X] + x;
    double aa = 0, bb = 0, re = 0, im = 0;
    for (long c = 0; c < maps->n[KR_COIL]; c++) {
        kr_cfloat p = KR_C(maps)[c * n + a], q = KR_C(maps)[c * n + b], pq = kr_cmulc(p, q);
        aa += (double)kr_cabs2(p);
        bb += (double)kr_cabs2(q);
        re += kr_re(pq);
        im += kr_im(pq);
    }
    return sqrt(aa * bb / (aa * bb - re * re - im * im));
}

static void replicas_equal_the_formula(void **state)
{
    (void)state;
    kr_scoped(scan) s = simulated(6, 30, "uniform:accel=2,lines=0");
    kr_scoped(array) maps = maps_of(s);
    struct method m = method("sense", (const char *[][2]){ { "lambda", "0" }, { "iterations", "60" }, { "tolerance", "1e-6" } }, 3);
    enum { REPLICAS = 200 };
    kr_noise how = { m.m, m.o, REPLICAS, 3, kr_noise_sigma(s, NULL) };
    kr_scoped(image) sd = NULL;
    assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
    double r = kr_noise_accel(s), sum = 0, square = 0;
    assert_near(r, 2, 1e-9);
    for (long y = 0; y < 64; y++)
        for (long x = 0; x < 64; x++) {
            double e = KR_R(sd->data)[y * 64 + x] / (how.sigma * sqrt(r)) / g_of_two(maps, x, y) - 1;
            sum += e;
            square += e * e;
        }
    /* A standard deviation from N complex numbers has the relative error 1 / sqrt(4 N) */
    double want = 1 / sqrt(4.0 * REPLICAS);
    assert_near(sum / 4096, 0, 4 * want / sqrt(4096.0 / 2));         /* folded pairs share their noise */
    assert_near(sqrt(square / 4096), want, 0.1 * want);
    kr_scoped(image) again = NULL;
    assert_int_equal(kr_noise_map(&again, s, maps, NULL, &how, NULL), 0);
    assert_memory_equal(again->data->data, sd->data->data, 4096 * sizeof(float));
    kr_free(m.o);
}

/* The scan's own noise, not that of the replicas: where there is no signal, the image in SNR units has deviation 1. */
static void snr_units(void **state)
{
    (void)state;
    static const char *const names[] = { "sense", "grappa" };
    for (int k = 0; k < 2; k++) {
        kr_scoped(scan) s = simulated(6, 20, "uniform:accel=2,lines=16");
        kr_scoped(array) maps = maps_of(s);
        struct method m = method(names[k], (const char *[][2]){ { "lambda", k ? "0.001" : "0" } }, 1);
        kr_noise how = { m.m, m.o, 60, 1, kr_noise_sigma(s, NULL) };
        kr_scoped(image) sd = NULL;
        kr_scoped(image) im = NULL;
        assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
        assert_int_equal(kr_reconstruct(&im, s, m.m, m.o, NULL, maps, NULL, NULL), 0);
        kr_scoped(array) truth = kr_abs(s->reference->data);
        double top = kr_max_abs(s->reference->data), sum = 0;
        long count = 0;
        for (long i = 0; i < 4096; i++)
            if (KR_R(truth)[i] < 0.004 * top) {
                double f = KR_R(sd->data)[i];
                sum += (double)kr_cabs2(KR_C(im->data)[i]) / (2 * f * f);
                count++;
            }
        print_message("%s: %ld pixels without signal, deviation %.3f\n", names[k], count, sqrt(sum / (double)count));
        assert_true(count > 300);
        /* its own sampling error, that of the whitening (SAMPLES of noise), and ringing below 0.004 of the signal */
        assert_near(sqrt(sum / (double)count), 1, 0.06);
        kr_free(m.o);
    }
}

/* GRAPPA's formula against replicas: lattices with calibration lines inside, whose noise is not that of the lattice. */
static void formula_of_grappa(void **state)
{
    (void)state;
    static const char *const masks[] = { "uniform:accel=2,lines=16", "uniform:accel=3,lines=24" };
    for (int k = 0; k < 2; k++) {
        kr_scoped(scan) s = simulated(6, 30, masks[k]);
        kr_scoped(array) maps = maps_of(s);
        struct method m = method("grappa", (const char *[][2]){ { "kernel", "5" }, { "floor", "1" } }, 2);
        enum { REPLICAS = 120 };
        kr_noise how = { m.m, m.o, REPLICAS, 3, 1 };
        kr_scoped(image) sd = NULL;
        kr_scoped(image) formula = NULL;
        if (kr_noise_map(&sd, s, maps, NULL, &how, NULL))
            fail_msg("%s: %s", masks[k], kr_error());
        how.replicas = 0;
        assert_int_equal(kr_noise_map(&formula, s, maps, NULL, &how, NULL), 0);
        double sum = 0, square = 0, want = 1 / sqrt(4.0 * REPLICAS);
        for (long i = 0; i < 4096; i++) {
            double e = KR_R(sd->data)[i] / KR_R(formula->data)[i] - 1;
            sum += e;
            square += e * e;
        }
        print_message("%s: mean %.4f, deviation %.4f, expected %.4f\n", masks[k], sum / 4096, sqrt(square / 4096), want);
        assert_near(sum / 4096, 0, 0.15 * want);
        assert_near(sqrt(square / 4096), want, 0.1 * want);
        kr_free(m.o);
    }
}

/* Mean and deviation of a / b - 1 where b > 0. */
static void relative(const kr_array *a, const kr_array *b, double *mean, double *deviation)
{
    double sum = 0, square = 0;
    long n = kr_count(kr_array_shape(b)), count = 0;
    for (long i = 0; i < n; i++)
        if (KR_R(b)[i] > 0) {
            double e = (double)KR_R(a)[i] / (double)KR_R(b)[i] - 1;
            sum += e;
            square += e * e;
            count++;
        }
    *mean = sum / (double)count;
    *deviation = sqrt(square / (double)count);
}

/* SENSE's formula: 1 without undersampling, Pruessmann's at R = 2, and the replicas' with lambda and calibration lines. */
static void formula_of_sense(void **state)
{
    (void)state;
    struct method m = method("sense", (const char *[][2]){ { "lambda", "0" } }, 1);
    for (int r = 1; r <= 2; r++) {
        kr_scoped(scan) s = simulated(6, 30, r == 1 ? NULL : "uniform:accel=2,lines=0");
        kr_scoped(array) maps = maps_of(s);
        kr_scoped(image) sd = NULL;
        kr_noise how = { m.m, m.o, 0, 0, 2 };
        assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
        for (long i = 0; i < 4096; i++) {
            double want = r == 1 ? 1 : sqrt(2) * g_of_two(maps, i % 64, i / 64);
            assert_near(KR_R(sd->data)[i] / 2 / want, 1, 1e-4);      /* g up to 5: float32 solves to 1e-7 g^2 */
        }
    }
    kr_free(m.o);
    static const char *const masks[] = { "uniform:accel=3,lines=16", "random:accel=3,center=0.1" };
    m = method("sense", (const char *[][2]){ { "iterations", "60" }, { "tolerance", "1e-6" } }, 2);
    for (int k = 0; k < 2; k++) {
        kr_scoped(scan) s = simulated(6, 30, masks[k]);
        kr_scoped(array) maps = maps_of(s);
        enum { REPLICAS = 120 };
        kr_noise how = { m.m, m.o, REPLICAS, 3, 1 };
        kr_scoped(image) sd = NULL;
        kr_scoped(image) formula = NULL;
        assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
        how.replicas = 0;
        assert_int_equal(kr_noise_map(&formula, s, maps, NULL, &how, NULL), 0);
        double mean, deviation, want = 1 / sqrt(4.0 * REPLICAS);
        relative(sd->data, formula->data, &mean, &deviation);
        print_message("%s: mean %.4f, deviation %.4f, expected %.4f\n", masks[k], mean, deviation, want);
        assert_near(mean, 0, 0.15 * want);
        assert_near(deviation, want, 0.1 * want);
    }
    kr_free(m.o);
}

/* A volume, 2 x 2 with CAIPI shifts: each pixel folds onto three others. And a mask without order, where replicas step in. */
static void formula_of_sense_in_volumes(void **state)
{
    (void)state;
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 6, [KR_Y] = 16, [KR_Z] = 12, [KR_COIL] = 8);
    s->data = kr_array_new(KR_C32, s->shape);
    kr_scoped(array) maps = kr_array_new(KR_C32, s->shape);
    fill_random(s->data, 1);
    fill_random(maps, 2);
    memset(KR_C(maps), 0, 8 * sizeof(kr_cfloat));            /* not in all coils: still a map */
    for (long c = 0; c < 8; c++)
        KR_C(maps)[c * 1152 + 40] = 0;                       /* no map here */
    kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 16, [KR_Z] = 12));
    for (long z = 0; z < 12; z++)
        for (long y = 0; y < 16; y++)
            KR_R(mask)[z * 16 + y] = z % 2 == 0 && (y + z / 2) % 2 == 0;
    assert_int_equal(kr_scan_undersample(s, mask), 0);
    struct method m = method("sense", (const char *[][2]){ { "iterations", "60" }, { "tolerance", "1e-6" } }, 2);
    enum { REPLICAS = 200 };
    kr_noise how = { m.m, m.o, REPLICAS, 3, 1 };
    kr_scoped(image) sd = NULL;
    kr_scoped(image) formula = NULL;
    assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
    how.replicas = 0;
    assert_int_equal(kr_noise_map(&formula, s, maps, NULL, &how, NULL), 0);
    assert_true(KR_R(formula->data)[40] == 0 && KR_R(formula->data)[41] > 0);
    double mean, deviation, want = 1 / sqrt(4.0 * REPLICAS);
    relative(sd->data, formula->data, &mean, &deviation);
    print_message("CAIPI 2 x 2: mean %.4f, deviation %.4f, expected %.4f\n", mean, deviation, want);
    assert_near(mean, 0, 0.3 * want);                        /* 288 independent groups */
    assert_near(deviation, want, 0.1 * want);
    kr_scan_unref(&s);
    kr_free(m.o);
    kr_scoped(scan) plane = simulated(4, 30, "poisson:accel=3,calib=16,axes=xy");
    kr_scoped(array) S = maps_of(plane);
    m = method("sense", (const char *[][2]){ { "iterations", "3" } }, 1);
    how = (kr_noise){ m.m, m.o, 0, 3, 1 };
    kr_scoped(image) a = NULL;
    kr_scoped(image) b = NULL;
    assert_int_equal(kr_noise_map(&a, plane, S, NULL, &how, NULL), 0);
    how.replicas = KR_REPLICAS;
    assert_int_equal(kr_noise_map(&b, plane, S, NULL, &how, NULL), 0);
    assert_memory_equal(a->data->data, b->data->data, 4096 * sizeof(float));
    kr_free(m.o);
}

/* Two coils of which one repeats the other: half of the image cannot be told, and its noise is not infinite but 0 there, as it is
 * for conjugate gradients from 0. */
static void coils_that_do_not_unfold(void **state)
{
    (void)state;
    kr_scoped(scan) s = simulated(2, 20, "uniform:accel=2,lines=0");
    kr_scoped(array) maps = maps_of(s);
    for (long i = 0; i < 8192; i++)
        KR_C(maps)[i] = kr_c(sqrtf(0.5f), 0);
    struct method m = method("sense", (const char *[][2]){ { "lambda", "0" } }, 1);
    kr_noise how = { m.m, m.o, 0, 0, 1 };
    kr_scoped(image) sd = NULL;
    assert_int_equal(kr_noise_map(&sd, s, maps, NULL, &how, NULL), 0);
    for (long i = 0; i < 4096; i++)                          /* x = (u + v) / 2, u + v measured with unit noise twice */
        assert_near(KR_R(sd->data)[i], sqrt(0.5), 1e-4);
    kr_free(m.o);
}

/* A real scan, whitened, windowed along the readout so that the bottles leave no side lobes: columns beside them hold noise alone. Closer to
 * the ends the receiver's filter falls. 1.04 is the whitening's own: of 14 channels, from 192 independent samples, 192 / (192 - 15). */
static void real_noise_is_one(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_scan_read(&s, shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"), NULL, NULL, NULL), 0);
    const kr_prepare ready = { .whiten = true };
    assert_int_equal(kr_scan_prepare(s, &ready, NULL), 0);
    assert_near(kr_noise_sigma(s, NULL), 1, 0);
    long nx = s->shape.n[KR_X], n = kr_count(s->shape), count = 0;
    double sum = 0;
    for (long i = 0; i < n; i++) {
        float w = (float)((1 - cos(2 * M_PI * ((double)(i % nx) + 0.5) / (double)nx)) * sqrt(2.0 / 3));     /* mean of w^2: 1 */
        KR_C(s->data)[i] = kr_cmul(KR_C(s->data)[i], kr_c(w, 0));
    }
    assert_int_equal(kr_fourier_inverse(s->data, KR_ON(KR_X)), 0);
    for (long i = 0; i < n; i++)
        if (i % nx >= 284 && i % nx < 308 && kr_cabs2(KR_C(s->data)[i]) > 0) {
            sum += (double)kr_cabs2(KR_C(s->data)[i]);
            count++;
        }
    print_message("%ld samples, deviation %.3f\n", count, sqrt(sum / (double)count / 2));
    assert_true(count > 10000);
    assert_near(sqrt(sum / (double)count / 2), 1.04, 0.04);
}

/* Data that are noise of some level, whitened by a noise scan of that level: kr_noise_sigma is the deviation of the real part, whether or not the
 * files say how long a sample took. The noise scan's 20000 samples a channel: within 0.02. */
static void sigma_is_what_whitening_makes(void **state)
{
    (void)state;
    for (int known = 0; known < 4; known++) {                    /* bits: of the scan, of the noise scan; one alone says nothing */
        kr_scoped(scan) s = kr_scan_new();
        s->shape = KR_SHAPE([KR_X] = 128, [KR_Y] = 64, [KR_COIL] = 4);
        s->data = kr_array_new(KR_C32, s->shape);
        s->noise = kr_array_new(KR_C32, KR_SHAPE([KR_SAMPLE] = 20000, [KR_COIL] = 4));
        fill_random(s->data, 8);
        fill_random(s->noise, 9);
        kr_scale(s->data, 3);
        kr_scale(s->noise, 3);
        s->dwell_us = known & 1 ? 5 : 0;
        s->noise_dwell_us = known & 2 ? 5 : 0;
        s->noise_bandwidth = 1;                                  /* white noise has all of it */
        assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .whiten = true }, NULL), 0);
        long n = kr_count(s->shape);
        double sum = 0;
        for (long i = 0; i < n; i++)
            sum += (double)kr_re(KR_C(s->data)[i]) * (double)kr_re(KR_C(s->data)[i]);
        double sigma = kr_noise_sigma(s, NULL);
        assert_near(sqrt(sum / (double)n) / sigma, 1, 0.02);
        assert_near(sigma, known == 3 ? 1 : M_SQRT1_2, 1e-6);
    }
}

static void refusals(void **state)
{
    (void)state;
    kr_scoped(scan) s = simulated(4, 20, NULL);
    struct method m = method("rss", NULL, 0);
    kr_scoped(image) sd = NULL;
    kr_noise how = { m.m, m.o, 1, 0, 1 };
    assert_int_equal(kr_noise_map(&sd, s, NULL, NULL, &how, NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "2 to 1000000 replicas");
    how.replicas = 4;
    assert_int_equal(kr_noise_map(&sd, s, NULL, NULL, &how, NULL), 0);
    assert_non_null(sd);
    kr_free(m.o);
}

/* Along a trajectory: A^H W y with one coil is a sum of samples of weight w / sqrt(N) each (N voxels), and so has the noise sigma sqrt(sum w^2 / N) everywhere; and without a noise
 * scan sigma is told by the samples far out, here of noise alone. */
static void along_a_trajectory(void **state)
{
    (void)state;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 48;
    how.slices = how.coils = 1;
    how.snr = 0;
    how.noise_scan = false;
    kr_traj_want along = { .n = { 48, 48, 1 }, .fov_mm = { 220, 220, 5 } };
    kr_scoped(array) k = kr_traj_new("radial:spokes=60", &along);
    assert_non_null(k);
    how.traj = k;
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_phantom_named("shepplogan")->measure(&s, &how, NULL), 0);
    const double sigma = 0.25;
    long n = kr_count(kr_array_shape(s->data));
    for (long i = 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(7, 1, (uint64_t)i, z);
        KR_C(s->data)[i] = kr_c((float)(sigma * z[0]), (float)(sigma * z[1]));
    }
    /* The deviation of a median of m Rayleigh numbers is 1 / (2 sqrt(log(4) m)) of its value; m is a tenth of the samples: four of these. */
    assert_near(kr_noise_sigma(s, NULL), sigma, sigma * 4 / (2 * sqrt(log(4) * 0.1 * (double)n)));
    assert_int_equal(kr_scan_trajectory(s, NULL), 0);
    s->density = kr_scan_density(s, NULL);
    assert_non_null(s->density);
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += (double)KR_R(s->density)[i] * (double)KR_R(s->density)[i];
    double want = sigma * sqrt(sum / (48. * 48.));
    struct method m = method("adjoint", NULL, 0);
    enum { REPLICAS = 200 };
    kr_noise o = { m.m, m.o, REPLICAS, 3, sigma };
    kr_scoped(image) sd = NULL;
    assert_int_equal(kr_noise_map(&sd, s, NULL, NULL, &o, NULL), 0);
    double mean = 0;
    for (long i = 0; i < 48 * 48; i++) {
        assert_near(KR_R(sd->data)[i], want, want * 5 / sqrt(4. * REPLICAS));
        mean += (double)KR_R(sd->data)[i] / (48. * 48.);
    }
    assert_near(mean, want, 0.01 * want);
    kr_free(m.o);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(replicas_equal_the_formula), cmocka_unit_test(snr_units), cmocka_unit_test(formula_of_grappa),
        cmocka_unit_test(formula_of_sense), cmocka_unit_test(formula_of_sense_in_volumes),
        
        cmocka_unit_test(coils_that_do_not_unfold), cmocka_unit_test(real_noise_is_one), cmocka_unit_test(sigma_is_what_whitening_makes), cmocka_unit_test(along_a_trajectory), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
