/* test_trajectory.c: scans along radial trajectories from their samples to images, samples made by the direct sum. */
#include "test.h"
#include "kray/nufft.h"
#include "kray/recon.h"
#include "kray/trajectory.h"

enum { N = 32, SPOKES = 50, SAMPLES = 64, COILS = 4 };

/* A smooth object of two blobs, and coils that see it from four sides. */
static double object(double x, double y) { return exp(-(x * x + y * y) / 60) + .5 * exp(-((x - 5) * (x - 5) + (y + 4) * (y + 4)) / 2); }

static kr_array *truth(void)
{
    kr_array *t = kr_array_new(KR_R32, KR_SHAPE([KR_X] = N, [KR_Y] = N));
    for (long i = 0; i < N * N; i++)
        KR_R(t)[i] = (float)object((double)(i % N - N / 2), (double)(i / N - N / 2));
    return t;
}

static kr_cfloat coil(long c, long i)
{
    double x = (double)(i % N - N / 2) / N, y = (double)(i / N - N / 2) / N, a = M_PI / 2 * (double)c;
    return kr_c((float)(.6 + .5 * (cos(a) * x + sin(a) * y)), (float)(.2 * (sin(a) * x - cos(a) * y)));
}

/* Direct sums take longest: each is made once. */
enum { KEPT = 4 };
static struct { long spokes, frames; kr_array *data; } kept[KEPT];
static kr_array **room_for(long spokes, long frames)
{
    int i = 0;
    while (i < KEPT - 1 && kept[i].data && (kept[i].spokes != spokes || kept[i].frames != frames))
        i++;
    kept[i].spokes = spokes;
    kept[i].frames = frames;
    return &kept[i].data;
}

static int forget(void **state)
{
    (void)state;
    for (int i = 0; i < KEPT; i++)
        kr_array_unref(&kept[i].data);
    return 0;
}

/* unit: factor on k in cycles per field of view. frames: each turned by half a step. */
static kr_scan *radial(long spokes, double unit, bool matrix, long frames)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_SAMPLE] = SAMPLES, [KR_VIEW] = spokes, [KR_COIL] = COILS, [KR_TIME] = frames);
    s->data = kr_array_new(KR_C32, s->shape);
    kr_shape shape = kr_shape_without(s->shape, KR_ON(KR_COIL));
    shape.n[KR_CHAN] = 2;
    s->traj = kr_array_new(KR_R32, shape);
    kr_auto kr_cfloat *x = kr_alloc(COILS * N * N, sizeof *x);
    kr_scoped(array) t = truth();
    for (long c = 0; c < COILS; c++)
        for (long i = 0; i < N * N; i++)
            x[c * N * N + i] = KR_R(t)[i] * coil(c, i);
    const long n[3] = { N, N, 1 };
    long each = SAMPLES * spokes, all = each * frames;
    kr_array **known = room_for(spokes, frames);
    for (long f = 0; f < frames; f++) {
        float *k[3] = { KR_R(s->traj) + f * each, KR_R(s->traj) + all + f * each, NULL };
        for (long v = 0; v < spokes; v++)
            for (long i = 0; i < SAMPLES; i++) {
                double r = (double)(i - SAMPLES / 2) * N / SAMPLES, a = M_PI * ((double)v + .5 * (double)f) / (double)spokes;
                k[0][v * SAMPLES + i] = (float)(r * cos(a));
                k[1][v * SAMPLES + i] = (float)(r * sin(a));
            }
        if (!*known)
            assert_int_equal(kr_ndft_forward(KR_C(s->data) + f * COILS * each, x, n, each, (const float *const *)k, COILS), 0);
    }
    if (!*known)
        *known = kr_array_copy(s->data);
    else
        kr_array_assign(s->data, *known);
    kr_scale(s->traj, (float)unit);
    if (matrix)
        s->enc.encoded[0] = s->enc.encoded[1] = N;
    return s;
}

static double error_of(const char *method, kr_scan *s)
{
    const kr_recon *m = kr_recon_named(method);
    kr_auto char *opts = kr_alloc_zero(1, m->opts_size + 1);
    assert_true(!m->opts || !kr_opt_defaults(m->opts, opts));
    if (m->opts && strcmp(method, "sense"))
        assert_int_equal(kr_opt_set(m->opts, opts, "iterations", "100"), 0);
    kr_scoped(image) out = NULL;
    int e = kr_reconstruct(&out, s, m, opts, NULL, NULL, NULL, NULL);
    if (e)
        fail_msg("%s: %s", method, kr_error());
    kr_scoped(array) size = out->data->type == KR_C32 ? kr_abs(out->data) : kr_array_ref(out->data);
    kr_scoped(array) t = truth();
    assert_int_equal(size->n[KR_X], N);
    assert_int_equal(size->n[KR_Y], N);
    kr_scoped(array) first = kr_array_at(size, KR_TIME, 0);
    kr_scoped(array) x = kr_array_copy(first);
    double xx = kr_dot_re(x, x);                 /* maps carry the root of the sum of squares: compared up to a smooth factor of a few per cent */
    kr_scale(x, (float)(kr_dot_re(x, t) / xx));
    return distance(x, t);
}

/* All of k-space was covered (50 spokes for 32 pixels): every method shows the object. What remains is the shading of the root of the sum of
 * squares of these coils (4 %) and the corners of k-space, which no spoke reaches. */
static void methods(void **state)
{
    (void)state;
    static const char *const names[] = { "rss", "adjoint", "sense", "wavelet", "tv", "nlinv" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kr_scan *s = radial(SPOKES, 1, true, 1);
        assert_near(error_of(names[i], s), 0, .08);
        kr_scan_unref(&s);
    }
}

/* Series: three frames, each turned against the others, all of the same object. What time alone regularises keeps what maps and samples disagree
 * in; of this object, whose borders lie where its maps end, it is more. */
static void series(void **state)
{
    (void)state;
    static const struct { const char *method; double most; } m[] = { { "ttv", .08 }, { "llr", .05 }, { "lowrank-sparse", .08 } };
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) {
        kr_scan *s = radial(SPOKES / 2, 1, true, 3);
        assert_near(error_of(m[i].method, s), 0, m[i].most);
        kr_scan_unref(&s);
    }
}

/* Maps that are six times as large beside the object, as near a coil: neither more iterations nor another image in the object. */
static void large_maps(void **state)
{
    (void)state;
    static const char *const names[] = { "sense", "wavelet" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kr_array *image[2];
        double steps[2];
        for (int large = 0; large < 2; large++) {
            kr_scoped(scan) s = radial(SPOKES / 2, 1, true, 1);
            kr_scoped(array) maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = COILS));
            for (long k = 0; k < COILS * N * N; k++) {
                double x = (double)(k % N - N / 2), y = (double)(k / N % N - N / 2);
                KR_C(maps)[k] = coil(k / (N * N), k % (N * N)) * (large && x > 12 && y > 12 ? 6 : 1);
            }
            const kr_recon *m = kr_recon_named(names[i]);
            kr_auto char *opts = kr_alloc_zero(1, m->opts_size + 1);
            assert_int_equal(kr_opt_defaults(m->opts, opts), 0);
            kr_scoped(image) out = NULL;
            assert_int_equal(kr_reconstruct(&out, s, m, opts, NULL, maps, NULL, NULL), 0);
            image[large] = kr_array_copy(out->data);
            steps[large] = kr_meta_number(out->meta, "kray_iterations", 1);
        }
        assert_near(distance(image[1], image[0]), 0, .01);
        assert_true(steps[1] <= 1.2 * steps[0]);
        kr_array_unref(&image[0]);
        kr_array_unref(&image[1]);
    }
}

/* Cycles per sample, radians per sample, a matrix that is not known: the same image. */
static void units(void **state)
{
    (void)state;
    static const double unit[] = { 1, 1. / N, 2 * M_PI / N };
    for (int i = 0; i < 3; i++) {
        kr_scan *s = radial(SPOKES, unit[i], true, 1);
        assert_near(error_of("adjoint", s), 0, .08);
        assert_near(kr_max_abs(s->traj), N / 2, 1e-4);
        kr_scan_unref(&s);
    }
    kr_scan *s = radial(SPOKES, 1, false, 1);                        /* largest k is 16: 32 pixels */
    assert_near(error_of("adjoint", s), 0, .08);
    kr_scan_unref(&s);
    s = radial(SPOKES, 20, true, 1);
    assert_int_equal(kr_scan_trajectory(s, NULL), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "neither cycles per field of view");
    KR_R(s->traj)[3 * SAMPLES + 5] = NAN;
    assert_int_equal(kr_scan_trajectory(s, NULL), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "sample 5 of view 3");
    kr_scan_unref(&s);
}

/* The area of k-space per sample: for spokes |k| pi / spokes over the step; the sum is the disc's area. */
static void density(void **state)
{
    (void)state;
    kr_scan *s = radial(SPOKES, 1, true, 1);
    assert_int_equal(kr_scan_trajectory(s, NULL), 0);
    kr_scoped(array) w = kr_scan_density(s, NULL);
    assert_non_null(w);
    for (long i = 4; i < SAMPLES / 2 - 4; i++) {                     /* away from the centre and from the rim, whose cells reach further */
        double r = fabs((double)(i - SAMPLES / 2)) * N / SAMPLES, ramp = M_PI * r / SPOKES * N / SAMPLES;
        assert_near((double)KR_R(w)[7 * SAMPLES + i] / ramp, 1, .1);
    }
    kr_scan_unref(&s);
}

/* ---- Trajectories from a specification ---- */
/* Every kind stays within k-space and reaches its rim, and is where data that were counted are. */
static void kinds(void **state)
{
    (void)state;
    static const char *const flat[] = { "cartesian", "radial", "radial:angle=raga,spokes=34,circle=full", "spiral", "spiral:alpha=2,timing=kim", "epi:shots=2", "rosette" };
    static const char *const deep[] = { "stars:angle=golden,turn=golden", "koosh:spokes=500", "koosh:order=spiral,spokes=500", "cones", "cartesian:accel=2" };
    for (size_t i = 0; i < sizeof flat / sizeof *flat + sizeof deep / sizeof *deep; i++) {
        bool volume = i >= sizeof flat / sizeof *flat;
        const char *spec = volume ? deep[i - sizeof flat / sizeof *flat] : flat[i];
        kr_traj_want want = { .n = { N, N, volume ? 16 : 1 } };
        kr_scoped(array) k = kr_traj_new(spec, &want);
        if (!k)
            fail_msg("%s", kr_error());
        assert_true(kr_traj_is_spec(spec));
        assert_int_equal(k->n[KR_CHAN], volume ? 3 : 2);
        for (int d = 0; d < k->n[KR_CHAN]; d++) {
            kr_scoped(array) axis = kr_array_at(k, KR_CHAN, d);
            kr_scoped(array) packed = kr_array_packed(axis);
            double most = kr_max_abs(packed), half = d < 2 ? N / 2 : 8;
            if (!(most <= half + 1e-4 && most >= .8 * half))
                fail_msg("%s: k reaches %g along axis %d", spec, most, d);
        }
    }
}

/* The gradient of a spiral and its slew rate stay within the limits; no other design is much faster: one of the two is always near its limit. */
static void spiral_limits(void **state)
{
    (void)state;
    kr_traj_want want = { .n = { 128, 128, 1 } };
    kr_scoped(array) k = kr_traj_new("spiral:interleaves=8,samples=20000,gradient=25,slew=120,fov=200", &want);
    assert_non_null(k);
    /* How long a readout takes is not told: it follows from the largest gradient, which is reached. */
    const float *x = KR_R(k), *y = KR_R(k) + kr_count(kr_array_shape(k)) / 2;
    long n = k->n[KR_SAMPLE], busy = 0, all = 0;
    double fastest = 0, steepest = 0;
    for (long i = 1; i < n; i++)
        fastest = fmax(fastest, hypot((double)(x[i] - x[i - 1]), (double)(y[i] - y[i - 1])));
    double dt = fastest / .2 / (42.577478518e6 * 25e-3);
    enum { WIDE = 40 };                                            /* second differences of single precision want a wide step */
    for (long i = WIDE; i < n - WIDE; i += 7) {
        double slew = hypot((double)(x[i + WIDE] - 2 * x[i] + x[i - WIDE]), (double)(y[i + WIDE] - 2 * y[i] + y[i - WIDE])) / .2 / pow(WIDE * dt, 2) / 42.577478518e6;
        double speed = hypot((double)(x[i + 1] - x[i - 1]), (double)(y[i + 1] - y[i - 1])) / 2 / fastest;
        steepest = fmax(steepest, slew);
        busy += slew > .9 * 120 || speed > .97;
        all++;
    }
    assert_true(steepest < 1.03 * 120);
    assert_true((double)busy > .9 * (double)all);
    assert_near(dt * (double)n, 8e-3, 4e-3);                    /* milliseconds, as such readouts take */
}

static void refusals(void **state)
{
    (void)state;
    static const struct { const char *spec, *says; } bad[] = {
        { "radial:spoke=3", "there is no 'spoke'" }, { "radial:spokes=0.5", "whole number" }, { "radial:angle=gold", "not 'gold'" }, { "radial:tiny=3", "for angle=golden" },
        { "spiral:interleaves=64", "less than a turn" }, { "stars", "a matrix" }, { "loops", "there is no kind 'loops'" }, { "epi:ramp=0.7", "ramp 0 to 0.5" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_traj_want want = { .n = { N, N, 1 } };
        kr_scoped(array) k = kr_traj_new(bad[i].spec, &want);
        assert_null(k);
        assert_non_null(strstr(kr_error(), bad[i].says));
    }
    kr_traj_want want = { .n = { N, N, 1 }, .views = 30 };
    kr_scoped(array) k = kr_traj_new("radial:spokes=31", &want);
    assert_null(k);
    assert_refused(KR_ESHAPE, "the data have 30");
}

/* Data without positions, and a word that says what they are. */
static void from_a_word(void **state)
{
    (void)state;
    kr_scan *s = radial(SPOKES, 1, true, 1);
    kr_array_unref(&s->traj);
    assert_int_equal(kr_scan_make_trajectory(s, "radial:start=90,angle=-3.6", NULL), 0);         /* counterclockwise from kx */
    assert_near(error_of("adjoint", s), 0, .08);
    kr_scan_unref(&s);
}

/* A lag of a third of a sample along x, a negative one along y, and a part of either across. */
static void delays(void **state)
{
    (void)state;
    kr_scan *s = radial(SPOKES, 1, true, 1);
    kr_scoped(array) was = kr_array_copy(s->traj);
    const double there[3][3] = { { .3, .1, 0 }, { .1, -.2, 0 } };
    assert_int_equal(kr_traj_delay(s->traj, there), 0);
    long all = SAMPLES * SPOKES;
    for (long v = 0; v < SPOKES; v++) {
        double a = M_PI * (double)v / SPOKES, step = (double)N / SAMPLES;
        assert_near(KR_R(s->traj)[v * SAMPLES + 20] - KR_R(was)[v * SAMPLES + 20], -(.3 * cos(a) + .1 * sin(a)) * step, 1e-5);
        assert_near(KR_R(s->traj)[all + v * SAMPLES + 20] - KR_R(was)[all + v * SAMPLES + 20], -(.1 * cos(a) - .2 * sin(a)) * step, 1e-5);
    }
    kr_scan_unref(&s);
}

/* A spiral of one interleave, 5 us a sample. */
static kr_scan *one_spiral(void)
{
    enum { LONG = 1024 };
    kr_scan *s = kr_scan_new();
    s->traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = LONG, [KR_VIEW] = 1, [KR_CHAN] = 2));
    for (long i = 0; i < LONG; i++) {
        double t = (double)i / LONG, r = 32 * t * t;
        KR_R(s->traj)[i] = (float)(r * cos(20 * t * t));
        KR_R(s->traj)[LONG + i] = (float)(r * sin(20 * t * t));
    }
    s->enc.encoded[0] = s->enc.encoded[1] = 64;
    s->enc.encoded[2] = 1;
    s->dwell_us = 5;
    return s;
}

/* Rows: frequency, H of the three gradients: a lag of each in us, and a first-order low pass of time constant tau_us. */
static kr_array *transfer(const double lag_us[3], double tau_us)
{
    enum { ROWS = 2001 };
    kr_array *h = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 4, [KR_Y] = ROWS));
    for (long i = 0; i < ROWS; i++) {
        double f = 50. * (double)i;
        KR_C(h)[4 * i] = kr_c((float)f, 0);
        for (int d = 0; d < 3; d++) {
            double a = -2 * M_PI * f * lag_us[d] * 1e-6, w = 2 * M_PI * f * tau_us * 1e-6, c = 1 / (1 + w * w);
            KR_C(h)[4 * i + 1 + d] = kr_cmul(kr_c((float)cos(a), (float)sin(a)), kr_c((float)c, (float)(-w * c)));
        }
    }
    return h;
}

/* But for a few samples at the ends, where delays go by straight lines. */
static double farthest(const kr_array *a, const kr_array *b)
{
    double most = 0;
    for (long i = 0; i < 2048; i++)
        if (i % 1024 >= 8 && i % 1024 < 1016)
            most = fmax(most, fabs((double)KR_R(a)[i] - KR_R(b)[i]));
    return most;
}

static void girf(void **state)
{
    (void)state;
    const double lag_us[3] = { 4, -7, 1 }, none[3] = { 0 }, samples[3][3] = { { .8, 0, 0 }, { 0, -1.4, 0 } };
    kr_scoped(array) pure = transfer(lag_us, 0);
    kr_scoped(scan) s = one_spiral();
    kr_scoped(scan) by = one_spiral();
    assert_int_equal(kr_scan_girf(s, pure, 0, NULL), 0);                       /* a lag alone is --delay */
    assert_int_equal(kr_traj_delay(by->traj, samples), 0);
    assert_near(farthest(s->traj, by->traj), 0, 2e-3);

    kr_scoped(scan) turned = one_spiral();                                     /* readout along the magnet's Y, phase along its X */
    turned->geom->known = true;
    memcpy(turned->geom->read_dir, (double[3]){ 0, 1, 0 }, sizeof turned->geom->read_dir);
    memcpy(turned->geom->phase_dir, (double[3]){ -1, 0, 0 }, sizeof turned->geom->phase_dir);
    kr_scoped(scan) across = one_spiral();
    const double swapped[3][3] = { { -1.4, 0, 0 }, { 0, .8, 0 } };
    assert_int_equal(kr_scan_girf(turned, pure, 0, NULL), 0);
    assert_int_equal(kr_traj_delay(across->traj, swapped), 0);
    assert_near(farthest(turned->traj, across->traj), 0, 2e-3);

    kr_scoped(array) low = transfer(none, 30);                                 /* tau y' + y = x, solved step by step */
    kr_scoped(scan) damped = one_spiral();
    kr_scoped(scan) x = one_spiral();
    assert_int_equal(kr_scan_girf(damped, low, 0, NULL), 0);
    double worst = 0, away = 0;
    for (long d = 0; d < 2; d++) {
        const float *k = KR_R(x->traj) + 1024 * d, *have = KR_R(damped->traj) + 1024 * d;
        double y = k[0] - 6 * (k[1] - k[0]);                                   /* at rest on the straight line before: 30 us behind it */
        for (long i = 1; i < 1000; i++) {
            double a = exp(-5. / 30), slope = k[i] - k[i - 1];                 /* exact for straight pieces */
            y = a * y + k[i] - a * k[i - 1] - 6 * slope * (1 - a);
            worst = fmax(worst, fabs(y - have[i]));
            away = fmax(away, fabs((double)have[i] - k[i]));
        }
    }
    assert_true(away > .5);
    assert_near(worst, 0, 2e-2);

    KR_C(low)[4 * 3] = kr_c(1, 0);
    assert_true(kr_scan_girf(x, low, 0, NULL) < 0);
    assert_refused(KR_EFORMAT, "begins with no frequency above");
    kr_scoped(array) half = transfer(none, 0);
    KR_C(half)[2] = kr_c(.5f, 0);
    assert_true(kr_scan_girf(x, half, 0, NULL) < 0);
    assert_refused(KR_EREFUSED, "about 1 is wanted");
    assert_true(kr_scan_girf(x, x->traj, 0, NULL) < 0);
    assert_refused(KR_ESHAPE, "are wanted");
    x->dwell_us = 0;
    assert_true(kr_scan_girf(x, pure, 0, NULL) < 0);
    assert_refused(KR_EREFUSED, "--dwell US");
}

/* Spokes lie less than a cycle apart within spokes / pi of the centre: coil maps are made of no more than what that box holds. */
static void covered(void **state)
{
    (void)state;
    static const struct { long spokes, least, most; double part, full; } want[] = { { 16, 12, 14, .9, 1 }, { 25, 16, 20, .95, 1 }, { 202, 32, 32, 1, 1 }, { 5, 12, 12, .3, .6 } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char spec[60];
        double part = 0;
        snprintf(spec, sizeof spec, "radial:spokes=%ld", want[i].spokes);
        kr_traj_want w = { .n = { 64, 64, 1 } };
        kr_scoped(scan) s = kr_scan_new();
        s->traj = kr_traj_new(spec, &w);
        assert_non_null(s->traj);
        memcpy(s->enc.encoded, w.n, sizeof w.n);
        kr_scoped(array) area = kr_scan_covered(&part, s);
        assert_non_null(area);
        assert_in_range(lround(sqrt(kr_dot_re(area, area))), want[i].least, want[i].most);
        assert_true(part >= want[i].part && part <= want[i].full);
        assert_true(KR_R(area)[32 * 64 + 32] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covered),
        cmocka_unit_test(methods),
        cmocka_unit_test(large_maps),
        cmocka_unit_test(series),
        cmocka_unit_test(units),
        cmocka_unit_test(density),
        cmocka_unit_test(kinds),
        cmocka_unit_test(spiral_limits),
        cmocka_unit_test(refusals),
        cmocka_unit_test(from_a_word),
        cmocka_unit_test(delays),
        cmocka_unit_test(girf),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
