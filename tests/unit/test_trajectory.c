/* test_trajectory.c: scans along radial trajectories from their samples to images, samples made by the direct sum. */
#include "test.h"
#include "kray/nufft.h"
#include "kray/recon.h"

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
    static const char *const names[] = { "rss", "adjoint", "sense", "wavelet", "tv" };
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
    kr_scoped(array) w = kr_scan_density(s);
    assert_non_null(w);
    for (long i = 4; i < SAMPLES / 2 - 4; i++) {                     /* away from the centre and from the rim, whose cells reach further */
        double r = fabs((double)(i - SAMPLES / 2)) * N / SAMPLES, ramp = M_PI * r / SPOKES * N / SAMPLES;
        assert_near((double)KR_R(w)[7 * SAMPLES + i] / ramp, 1, .1);
    }
    kr_scan_unref(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(series),
        cmocka_unit_test(units),
        cmocka_unit_test(density),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
