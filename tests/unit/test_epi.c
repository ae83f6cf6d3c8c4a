/* test_epi.c: readouts sampled on ramps, and the phase between lines measured forwards and backwards, against formulae; the
 * real echo-planar scan against the gradient echo of the same slice. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"

enum { N = 64, NY = 48, COILS = 3, NAV = 3, REVERSE = 22, PHASECORR = 24 };

/* ---- Where samples are ---- */
static void test_positions(void **state)
{
    (void)state;
    double k[100];
    const kr_ramp flat = { .up_us = 100, .flat_us = 400, .down_us = 100, .delay_us = 150, .read_us = 300 };
    assert_int_equal(kr_ramp_positions(&flat, 100, k), 0);
    for (int i = 0; i < 100; i++)                            /* on the plateau alone: evenly */
        assert_near(k[i], (i - 49.5) / 100, 1e-12);
    const kr_ramp all = { .up_us = 100, .flat_us = 100, .down_us = 100, .read_us = 300 };
    assert_int_equal(kr_ramp_positions(&all, 3, k), 0);      /* area 200: at 50 us 12.5, at 150 us 100, at 250 us 187.5 */
    assert_near(k[0], -87.5 / 200, 1e-12);
    assert_near(k[1], 0, 1e-12);
    assert_near(k[2], 87.5 / 200, 1e-12);
    const kr_ramp sine = { .up_us = 100, .flat_us = 100, .down_us = 100, .read_us = 300, .sine = true };
    assert_int_equal(kr_ramp_positions(&sine, 3, k), 0);     /* area of a ramp 200/pi; at half its time 1 - cos(pi/4) of it */
    double total = 100 + 400 / M_PI, early = 200 / M_PI * (1 - sqrt(0.5));
    assert_near(k[0], (early - total / 2) / total, 1e-12);
    assert_near(k[2], -k[0], 1e-12);
    kr_ramp late = all;
    late.delay_us = 100;
    assert_int_not_equal(kr_ramp_positions(&late, 3, k), 0);
    assert_refused(KR_EFORMAT, "not passed in one direction");
    assert_int_not_equal(kr_ramp_positions(&(kr_ramp){ .up_us = -1, .flat_us = 5, .read_us = 2 }, 3, k), 0);
    assert_refused(KR_EFORMAT, "makes no sense");
}

/* ---- A simulated scan ---- */
/* Object and coils: four Gaussians {x, y, width, height} in the middle half of the readout (pixels from the middle), seen by coils
 * whose sensitivity is exp(i c x 0.05) (1 + 0.3 c y / NY): k-space of each is known at any place. */
static const double blob[4][4] = { { -6, -9, 2.5, 1 }, { 5, 8, 3, 0.8 }, { 2, -2, 2, 0.6 }, { -3, 11, 2, 0.7 } };

static void object(double *re, double *im, double kx, double ky, int coil)       /* kx, ky in cycles per pixel */
{
    *re = *im = 0;
    for (int b = 0; b < 4; b++) {
        double x = blob[b][0], y = blob[b][1], s = blob[b][2], fx = kx - coil * 0.05 / (2 * M_PI);
        double a = blob[b][3] * (1 + 0.3 * coil * y / NY) * 2 * M_PI * s * s * exp(-2 * M_PI * M_PI * s * s * (fx * fx + ky * ky));
        double p = -2 * M_PI * (fx * x + ky * y);
        *re += a * cos(p) / sqrt(N * NY);
        *im += a * sin(p) / sqrt(N * NY);
    }
}

typedef struct how { double turn[2], drift; kr_ramp ramp; bool navigators; int segments; double noise; long samples; bool unflagged, flyback; } how;

/* Lines of NY rows, by segments: forwards and backwards in turn within each shot; before each shot three navigators at ky = 0,
 * which turn by `drift` from echo to echo. A linear phase in x is a shift in kx. */
static kr_scan *simulate(const how *h)
{
    long n = h->samples ? h->samples : N, shots = h->segments > 0 ? h->segments : 1, count = 0;
    kr_line line[NY + NAV * 4] = { { 0 } };
    kr_auto kr_cfloat *all = kr_alloc((size_t)((NY + NAV * 4) * COILS * n), sizeof *all);
    const kr_cfloat *samples[NY + NAV * 4];
    double k[2 * N];
    for (long j = 0; j < n; j++)
        k[j] = ((double)j - (double)(n / 2)) / (double)n;
    if (h->ramp.read_us > 0)
        assert_int_equal(kr_ramp_positions(&h->ramp, n, k), 0);
    for (long s = 0; s < shots; s++)
        for (long e = h->navigators ? -NAV : 0; e < NY / shots; e++) {
            bool nav = e < 0, back = !h->flyback && (nav ? e + NAV : e) % 2;
            long y = nav ? NY / 2 : s + e * shots;
            double half = back ? 0.5 : -0.5, p = half * h->turn[0] + (nav ? h->drift * (double)(e + NAV) : 0);
            line[count] = (kr_line){ .flags = (back && !h->unflagged ? 1ull << (REVERSE - 1) : 0) | (nav ? 1ull << (PHASECORR - 1) : 0), .counter = (uint32_t)(count + 1),
                                     .samples = (uint16_t)n, .channels = COILS, .center_sample = (uint16_t)(n / 2), .ky = (uint16_t)y, .dwell_us = 3 };
            samples[count] = all + count * COILS * n;
            for (long c = 0; c < COILS; c++)
                for (long j = 0; j < n; j++) {
                    double re, im, z[2];
                    object(&re, &im, k[j] - half * h->turn[1] / (2 * M_PI), (double)(y - NY / 2) / NY, (int)c);
                    long at = (count * COILS + c) * n + (back ? n - 1 - j : j);
                    kr_rand_normal2(5, (uint64_t)count, (uint64_t)(c * n + j), z);
                    all[at] = kr_c((float)(re * cos(p) - im * sin(p) + h->noise * z[0]), (float)(re * sin(p) + im * cos(p) + h->noise * z[1]));
                }
            count++;
        }
    kr_scan *s = kr_scan_new();
    s->enc = (kr_encoding){ .encoded = { N, NY, 1 }, .recon = { N / 2, NY, 1 }, .encoded_mm = { 400, 200, 5 }, .recon_mm = { 200, 200, 5 }, .ramp = h->ramp, .trajectory = "epi" };
    kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, count, &s->enc, 1, false, 0, 0 });
    assert_non_null(p);
    assert_int_equal(kr_placing_put(p, 0, count, samples, NULL), 0);
    assert_int_equal(kr_placing_end(&p), 0);
    return s;
}

static kr_array *truth(void)
{
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = NY, [KR_COIL] = COILS));
    for (long i = 0; i < N * NY * COILS; i++) {
        double re, im;
        object(&re, &im, (double)(i % N - N / 2) / N, (double)(i / N % NY - NY / 2) / NY, (int)(i / N / NY));
        KR_C(a)[i] = kr_c((float)re, (float)im);
    }
    return a;
}

/* ---- Ramps ---- */
static void test_regridding(void **state)
{
    (void)state;
    kr_scoped(array) want = truth();
    static const kr_ramp ramp[] = { { .up_us = 160, .flat_us = 240, .down_us = 160, .delay_us = 32, .read_us = 496 },      /* the real scan's */
                                    { .up_us = 100, .flat_us = 300, .down_us = 160, .delay_us = 60, .read_us = 450 },      /* not symmetric */
                                    { .up_us = 160, .flat_us = 240, .down_us = 160, .delay_us = 32, .read_us = 496, .sine = true } };
    for (int i = 0; i < 6; i++) {
        kr_scan *s = simulate(&(how){ .ramp = ramp[i % 3], .samples = i < 3 ? N : N + 22 });
        assert_true(s->data->n[KR_X] != N || distance(s->data, want) > 0.1);     /* left alone it is far off */
        assert_int_equal(kr_epi_prepare(s, "none", NULL), 0);
        assert_int_equal(s->data->n[KR_X], N);
        assert_int_equal(s->shape.n[KR_X], N);
        /* the object decays to 1e-4 of its top at the edge of k-space and of the image of that width */
        assert_near(distance(s->data, want), 0, 1e-3);
        kr_scan_unref(&s);
    }
}

/* ---- Ghosts ---- */
static void found(const kr_scan *s, double turn[2])
{
    const char *t = kr_meta_get(s->meta, "ghost");
    double sum[2] = { 0, 0 }, v[2];
    for (const char *p = t; p && (p = strchr(p, ':')); p++)
        if (sscanf(p, ": %lf rad, %lf samples", &v[0], &v[1]) == 2)
            for (int k = 0; k < 2; k++)
                sum[k] += v[k];
    turn[0] = sum[0];
    turn[1] = sum[1] * 2 * M_PI / N;
}

static void test_ghosts(void **state)
{
    (void)state;
    kr_scoped(array) want = truth();
    static const struct { const char *ghost, *way; } by[] = { { "navigator", "navigator" }, { "entropy", "entropy" }, { "svd", "svd" },
                                                              { "auto", "entropy of the rest" } };
    static const double turn[3][2] = { { 0.4, 0.05 }, { -1.1, -0.12 }, { 0.15, 0 } };
    for (int i = 0; i < 12; i++) {
        const double *t = turn[i % 3], peak = 2 * M_PI * 9;
        how h = { .turn = { t[0], t[1] }, .navigators = by[i / 3].ghost[0] == 'n' || by[i / 3].ghost[0] == 'a', .drift = 0.3, .segments = i % 3 + 1, .noise = peak * 1e-5 };
        kr_scan *s = simulate(&h);
        double before = distance(s->data, want), got[2];
        assert_int_equal(kr_epi_prepare(s, by[i / 3].ghost, NULL), 0);
        assert_non_null(strstr(kr_meta_get(s->meta, "ghost"), by[i / 3].way));
        found(s, got);
        /* navigators: noise of 1 in 1e3 of their signal, over some 30 pixels. The image's entropy is least where the ghost is, up
         * to how the finest grid and the noise let it be seen */
        double fine = i < 3 ? 2e-3 : 2e-2;
        assert_near(got[0], t[0], fine);
        assert_near(got[1], t[1], fine / 8);
        double after = distance(s->data, want);
        if (!(after < 0.02 + 0.05 * before))
            fail_msg("%s: %.4f before, %.4f after", by[i / 3].ghost, before, after);
        assert_int_equal(kr_epi_prepare(s, by[i / 3].ghost, NULL), 0);           /* once more: nothing is left to be done */
        assert_near(distance(s->data, want), after, 0);
        kr_scan_unref(&s);
    }
}

/* Real scans of two and four shots are 3.5 to 3.75 samples off; further ones are found as far as an eighth of the readout. */
static void test_far_ghosts(void **state)
{
    (void)state;
    kr_scoped(array) want = truth();
    static const struct { double samples; int shots; } far[] = { { 3.5, 2 }, { -3.75, 4 }, { 4.6, 1 }, { -6.8, 2 }, { 7.2, 1 }, { -7.2, 4 } };
    for (int i = 0; i < 12; i++) {
        const char *ghost = i < 6 ? "entropy" : "svd";
        how h = { .turn = { 0.3, 2 * M_PI * far[i % 6].samples / N }, .segments = far[i % 6].shots, .noise = 2 * M_PI * 9 * 1e-5 };
        kr_scan *s = simulate(&h);
        double before = distance(s->data, want), got[2];
        assert_int_equal(kr_epi_prepare(s, ghost, NULL), 0);
        found(s, got);
        assert_near(got[1] * N / (2 * M_PI), far[i % 6].samples, 0.05);
        double after = distance(s->data, want);
        if (!(after < 0.1 * before))
            fail_msg("%s, %g samples: %.4f before, %.4f after", ghost, far[i % 6].samples, before, after);
        kr_scan_unref(&s);
    }
}

static void keep(void *self, int level, const char *text)
{
    if (level == KR_WARNING)
        snprintf(self, 512, "%s", text);
}

/* Beyond an eighth of the readout: what lies a quarter of it away looks like the best within, and a found one is warned of. */
static void test_too_far_ghosts(void **state)
{
    (void)state;
    static const double far[] = { 10, 12, -14, 8.5 };
    for (int i = 0; i < 4; i++) {
        char said[512] = "";
        double got[2];
        kr_scan *s = simulate(&(how){ .turn = { 0.3, 2 * M_PI * far[i] / N }, .segments = 1, .noise = 2 * M_PI * 9 * 1e-5 });
        assert_int_equal(kr_epi_prepare(s, "entropy", &(kr_trace){ .self = said, .say = keep }), 0);
        found(s, got);
        assert_near(got[1] * N / (2 * M_PI), far[i], 0.05);
        assert_non_null(strstr(said, "an eighth of the readout or more"));
        kr_scan_unref(&s);
    }
}

static void test_ghost_on_ramps(void **state)
{
    (void)state;
    kr_scoped(array) want = truth();
    how h = { .turn = { 0.5, 0.08 }, .navigators = true, .drift = -0.2, .ramp = { .up_us = 160, .flat_us = 240, .down_us = 160, .delay_us = 32, .read_us = 496 } };
    kr_scan *s = simulate(&h);
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .ghost = "navigator" }, NULL), 0);
    assert_near(distance(s->data, want), 0, 2e-3);           /* as above, and the fit of the phase */
    assert_int_equal(s->enc.encoded[0], N);
    kr_scan_unref(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    kr_scan *s = simulate(&(how){ .turn = { 0.5, 0.08 } });
    assert_int_not_equal(kr_epi_prepare(s, "navigator", NULL), 0);
    assert_refused(KR_EREFUSED, "take entropy or svd instead");
    assert_int_not_equal(kr_epi_prepare(s, "magic", NULL), 0);
    assert_refused(KR_EUSAGE, "not by 'magic'");
    assert_int_equal(kr_epi_prepare(s, "none", NULL), 0);
    assert_string_equal(kr_meta_get(s->meta, "ghost"), "left");
    kr_scan_unref(&s);
    s = simulate(&(how){ .ramp = { .up_us = 10, .flat_us = 100, .down_us = 10, .delay_us = 0, .read_us = 120 } });
    s->enc.ramp.delay_us = 40;
    assert_int_not_equal(kr_epi_prepare(s, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "correct the ramp times or the delay in the header");
    s->enc.ramp.delay_us = 0;
    s->enc.encoded[0] = 65535;
    assert_int_not_equal(kr_epi_prepare(s, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "correct the encoded matrix in the header");
    kr_scan_unref(&s);
}

/* A scan measured one way only is left as it is, to the bit. */
/* Lines that go to and fro while no flag says so make no image; fly-back readouts, all forwards, do. */
static void test_missing_flags(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        how h = { .turn = { 0.3, 0.05 }, .noise = 0.01, .unflagged = true, .flyback = i % 2,
                  .ramp = { .up_us = 160, .flat_us = 240, .down_us = 160, .delay_us = 32, .read_us = i < 2 ? 496 : 0 } };
        kr_scan *s = simulate(&h);
        assert_int_equal(kr_epi_prepare(s, "auto", NULL), i % 2 ? 0 : KR_EREFUSED);
        if (i % 2 == 0)
            assert_refused(KR_EREFUSED, "set IS_REVERSE");
        kr_scan_unref(&s);
        s = simulate(&h);
        assert_int_equal(kr_epi_prepare(s, "none", NULL), 0);
        kr_scan_unref(&s);
    }
}

static void test_others_stay(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_gre_2ch_siemens_twix.dat");
    kr_scan *s = NULL;
    assert_int_equal(kr_scan_read(&s, shared("data/mri/phantom_gre_2ch_siemens_twix.dat"), NULL, NULL, NULL), 0);
    kr_scoped(array) before = kr_array_copy(s->data);
    assert_int_equal(kr_epi_prepare(s, "auto", NULL), 0);
    assert_null(kr_meta_get(s->meta, "ghost"));
    assert_memory_equal(before->data, s->data->data, (size_t)kr_count(s->shape) * sizeof(kr_cfloat));
    kr_scan_unref(&s);
}

/* ---- The real scan ---- */
/* Outside the phantom's disc (middle 39, 39.5, radius 38.5 of 80 pixels), inside that of its ghost: the mean over the median inside. */
static double ghost_ratio(const char *path, const char *ghost)
{
    kr_scan *s = NULL;
    assert_int_equal(kr_scan_read(&s, path, NULL, NULL, NULL), 0);
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .oversampling = true, .ghost = ghost }, NULL), 0);
    assert_int_equal(s->data->n[KR_X], 80);
    assert_int_equal(kr_fourier_inverse(s->data, (KR_ON(KR_X) | KR_ON(KR_Y)) & ~s->in_image), 0);
    kr_scoped(array) m = kr_rss(s->data, KR_COIL);
    double inside = 0, outside = 0, here = 0, there = 0;
    for (long y = 0; y < 64; y++)
        for (long x = 0; x < 80; x++) {
            double d = hypot((double)y - 39, (double)x - 39.5), e = fmin(hypot((double)y + 1, (double)x - 39.5), hypot((double)y - 79, (double)x - 39.5));
            double v = (double)KR_R(m)[x + 80 * y];
            if (d < 35)
                inside += v, here++;
            else if (d > 41.5 && e < 35.5)
                outside += v, there++;
        }
    kr_scan_unref(&s);
    return outside / there / (inside / here);
}

static void test_real(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_epi_2ch_siemens_twix.dat");
    const char *path = shared("data/mri/phantom_epi_2ch_siemens_twix.dat");
    double none = ghost_ratio(path, "none"), navigator = ghost_ratio(path, "navigator"), entropy = ghost_ratio(path, "entropy"), svd = ghost_ratio(path, "svd");
    double automatic = ghost_ratio(path, "auto");
    print_message("# ghost to signal: %.4f left alone, %.4f navigator, %.4f entropy, %.4f svd, %.4f auto\n", none, navigator, entropy, svd, automatic);
    assert_true(none > 0.1);
    assert_true(navigator < 0.6 * none);                     /* the noise alone makes 0.04 */
    assert_true(entropy < 0.5 * none && svd < 0.5 * none);
    assert_true(automatic <= 1.02 * entropy);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_positions), cmocka_unit_test(test_regridding), cmocka_unit_test(test_ghosts), cmocka_unit_test(test_far_ghosts), cmocka_unit_test(test_too_far_ghosts),
        cmocka_unit_test(test_ghost_on_ramps), cmocka_unit_test(test_refusals), cmocka_unit_test(test_missing_flags), cmocka_unit_test(test_others_stay), cmocka_unit_test(test_real) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
