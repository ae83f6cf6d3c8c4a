/* test_offres.c: samples of an object off resonance by the sum itself, and images of them with and without a field map. */
#include "test.h"
#include "kray/nufft.h"
#include "kray/offres.h"
#include "kray/recon.h"
#include "kray/segments.h"
#include "kray/trajectory.h"

enum { N = 24 };
static const double DWELL_US = 100, FIRST_US = -200;

static double field_at(long i)
{
    double x = ((double)(i % N) - N / 2) / N, y = ((double)(i / N) - N / 2) / N;
    return 500 * (x * x + y * y) + 60 * x + 20;
}
static double object_at(long i)
{
    double x = (double)(i % N) - N / 2, y = (double)(i / N) - N / 2;
    return exp(-(x * x + y * y) / 40) + .7 * exp(-((x - 4) * (x - 4) + (y + 3) * (y + 3)) / 2);
}

static kr_array *field_map(void)
{
    kr_array *f = kr_array_new(KR_R32, KR_SHAPE([KR_X] = N, [KR_Y] = N));
    for (long i = 0; i < N * N; i++)
        KR_R(f)[i] = (float)field_at(i);
    return f;
}

static kr_array *trajectory(void)
{
    kr_traj_want want = { .n = { N, N, 1 } };
    kr_array *k = kr_traj_new("spiral:interleaves=6", &want);
    if (!k)
        fail_msg("%s", kr_error());
    return k;
}

/* y_m = sum_r x_r exp(-2 pi i (k_m r / N + f_r t_m)) / N, in double. */
static void sum(kr_cfloat *y, const kr_array *k)
{
    long points = k->n[KR_SAMPLE] * k->n[KR_VIEW];
    for (long m = 0; m < points; m++) {
        double t = 1e-6 * (FIRST_US + DWELL_US * (double)(m % k->n[KR_SAMPLE])), re = 0, im = 0;
        for (long i = 0; i < N * N; i++) {
            double a = -2 * M_PI * (((double)KR_R(k)[m] * (double)(i % N - N / 2) + (double)KR_R(k)[points + m] * (double)(i / N - N / 2)) / N + field_at(i) * t);
            re += object_at(i) * cos(a);
            im += object_at(i) * sin(a);
        }
        y[m] = kr_c((float)(re / N), (float)(im / N));
    }
}

static void forward_and_adjoint(void **state)
{
    (void)state;
    kr_scoped(array) f = field_map();
    kr_scoped(array) k = trajectory();
    kr_scoped(array) S = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = 1));
    kr_fill(S, 1);
    kr_scoped(linop) A = kr_op_offres(S, k, (kr_shape){ { 0 } }, 1e-4, f, 1e-6 * FIRST_US, 1e-6 * DWELL_US);
    if (!A)
        fail_msg("%s", kr_error());
    kr_scoped(array) x = kr_array_new(KR_C32, kr_linop_domain(A));
    kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
    kr_scoped(array) want = kr_array_like(y);
    for (long i = 0; i < N * N; i++)
        KR_C(x)[i] = kr_c((float)object_at(i), 0);
    kr_apply(A, y, x);
    sum(KR_C(want), k);
    assert_near(distance(y, want), 0, 1e-3);                  /* tolerances: 1e-4 of the transforms, 3e-4 of the segments, which add up */
    kr_scoped(array) back = kr_array_like(x);
    kr_apply_adj(A, back, want);
    double left[2], right[2];
    kr_dot(want, y, left);
    kr_dot(back, x, right);
    double size = hypot(left[0], left[1]);
    assert_near((left[0] - right[0]) / size, 0, 1e-5);        /* a pair to rounding */
    assert_near((left[1] - right[1]) / size, 0, 1e-5);
}

static kr_scan *scan(void)
{
    kr_scan *s = kr_scan_new();
    s->traj = trajectory();
    s->traj_unit = kr_traj_units[0];
    s->shape = kr_shape_without(kr_array_shape(s->traj), KR_ON(KR_CHAN));
    s->data = kr_array_new(KR_C32, s->shape);
    s->dwell_us = DWELL_US;
    s->enc.encoded[0] = s->enc.encoded[1] = N;
    sum(KR_C(s->data), s->traj);
    return s;
}

static double error_of(kr_scan *s, const char *method)
{
    const kr_recon *m = kr_recon_named(method);
    kr_auto char *opts = kr_alloc_zero(1, m->opts_size + 1);
    kr_scoped(image) im = NULL;
    assert_true(!m->opts || !kr_opt_defaults(m->opts, opts));
    if (kr_reconstruct(&im, s, m, opts, NULL, NULL, NULL, NULL))
        fail_msg("%s: %s", method, kr_error());
    kr_scoped(array) size = im->data->type == KR_C32 ? kr_abs(im->data) : kr_array_ref(im->data);
    kr_scoped(array) x = kr_array_copy(size);
    kr_scoped(array) want = kr_array_new(KR_R32, kr_array_shape(x));
    for (long i = 0; i < N * N; i++)
        KR_R(want)[i] = (float)object_at(i);
    kr_scale(x, (float)(kr_dot_re(x, want) / kr_dot_re(x, x)));
    return distance(x, want);
}

/* Blurred without the map; with it as sharp as on resonance where off-resonance is in the model. Conjugate phase alone helps less: the field changes
 * how densely k-space is covered, too. */
static void images(void **state)
{
    (void)state;
    kr_scoped(array) f = field_map();
    kr_scoped(image) map = kr_image_new(f, NULL, NULL);
    static const struct { const char *method; double most, part; } cases[] = { { "adjoint", .08, 1 }, { "sense", .01, .2 } };
    for (int i = 0; i < 2; i++) {
        kr_scoped(scan) s = scan();
        double blurred = error_of(s, cases[i].method);
        assert_int_equal(kr_scan_field(s, map, FIRST_US, 0, NULL), 0);
        double sharp = error_of(s, cases[i].method);
        if (!(sharp < cases[i].most && sharp < cases[i].part * blurred))
            fail_msg("%s: %.3f without, %.3f with the field map", cases[i].method, blurred, sharp);
    }
}

/* A map on a coarser grid, turned and shifted in the patient, comes to the voxels of the image. */
static void resampled(void **state)
{
    (void)state;
    kr_scoped(scan) s = scan();
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 20, [KR_Y] = 16, [KR_Z] = 3));
    kr_scoped(geom) g = kr_geom_new(1);
    for (int d = 0; d < 3; d++)
        s->enc.encoded_mm[d] = d < 2 ? 240 : 5;
    s->geom->known = g->known = true;
    s->geom->position_mm[0][0] = 7;
    memcpy(g->fov_mm, (double[3]){ 400, 400, 30 }, sizeof g->fov_mm);          /* 20 x 25 x 10 mm */
    memcpy(g->read_dir, (double[3]){ 0, 1, 0 }, sizeof g->read_dir);
    memcpy(g->phase_dir, (double[3]){ -1, 0, 0 }, sizeof g->phase_dir);
    for (long i = 0; i < 20 * 16 * 3; i++) {                  /* linear in the patient: interpolation is exact */
        double y = ((double)(i % 20) - 10) * 20, x = -((double)(i / 20 % 16) - 8) * 25, z = ((double)(i / 320) - 1) * 10;
        KR_R(a)[i] = (float)(.3 * x - .2 * y + z + 11);
    }
    kr_scoped(image) map = kr_image_new(a, g, NULL);
    if (kr_scan_field(s, map, 0, 0, NULL))
        fail_msg("%s", kr_error());
    for (long i = 0; i < N * N; i++) {
        double x = 7 + ((double)(i % N) - N / 2) * 10, y = ((double)(i / N) - N / 2) * 10;
        assert_near((double)KR_R(s->field)[i], .3 * x - .2 * y + 11, 1e-3);
    }
}

static void refusals(void **state)
{
    (void)state;
    kr_scoped(scan) s = scan();
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 20, [KR_Y] = N));
    kr_scoped(image) small = kr_image_new(a, NULL, NULL);
    assert_true(kr_scan_field(s, small, 0, 0, NULL) < 0);
    assert_refused(KR_ESHAPE, "does not say where it lies");
    KR_R(a)[5] = NAN;
    assert_true(kr_scan_field(s, small, 0, 0, NULL) < 0);
    assert_refused(KR_ENUMBER, "not finite");
    s->dwell_us = 0;
    assert_true(kr_scan_field(s, small, 0, 0, NULL) < 0);
    assert_refused(KR_EREFUSED, "--dwell");
    kr_segments seg;
    const float wide[2] = { -20000, 20000 };
    assert_true(kr_segments_open(&seg, wide, 2, 0, 1e-5, 1000, 1e-3) < 0);
    assert_refused(KR_EREFUSED, "more than 64 segments");
    kr_segments_close(&seg);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(forward_and_adjoint), cmocka_unit_test(images), cmocka_unit_test(resampled), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
