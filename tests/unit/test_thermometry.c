/* test_thermometry.c: temperatures against an analytic Gaussian of heat, without and with a drift of the field, beyond a half turn, and by several coils. */
#include "test.h"
#include "kray/thermometry.h"
#include <complex.h>

enum { NX = 48, NY = 40, FRAMES = 5 };
#define GAMMA 42.577478518e6                                 /* Hz/T */
typedef struct phantom { double peak, drift[3], noise; int coils, slices; } phantom;
static const kr_prf preset = { .field_T = 1.5, .te_ms = 15, .alpha_ppm = -0.01, .sign = 1, .threshold = 0.1 };

static double heat(const phantom *p, long x, long y, long s, long t)
{
    double u = ((double)x - 30) / 2.5, v = ((double)y - 18) / 2.5, w = (double)s / 2;
    return p->peak * (double)t / (FRAMES - 1) * exp(-(u * u + v * v + w * w) / 2);
}
static bool inside(long x, long y) { return hypot((double)x - NX / 2.0, (double)y - NY / 2.0) < 18; }
static double field(const phantom *p, long x, long y, long t)      /* rad */
{ return (double)t * (p->drift[0] + p->drift[1] * (2.0 * (double)x / (NX - 1) - 1) + p->drift[2] * (2.0 * (double)y / (NY - 1) - 1)); }

/* The phase by the frequency of each voxel, f = gamma B0 alpha dT, and by the sign of its precession. */
static kr_array *series(const phantom *p, const kr_prf *how)
{
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = p->coils, [KR_SLICE] = p->slices, [KR_TIME] = FRAMES));
    kr_cfloat *z = KR_C(a);
    for (long t = 0; t < FRAMES; t++)
        for (long s = 0; s < p->slices; s++)
            for (long c = 0; c < p->coils; c++)
                for (long y = 0; y < NY; y++)
                    for (long x = 0; x < NX; x++, z++) {
                        double f = GAMMA * how->field_T * how->alpha_ppm * 1e-6 * heat(p, x, y, s, t), n[2];
                        double own = 0.3 * (double)x - 0.2 * (double)(y * y) / NY + 1.7 * (double)c;                /* that of coil and object */
                        double _Complex v = (inside(x, y) ? 1 + 0.4 * sin(0.3 * (double)x) : 0) * (1 - 0.3 * (double)c) * cexp(I * (own + how->sign * 2 * M_PI * f * how->te_ms * 1e-3 + field(p, x, y, t)));
                        kr_rand_normal2(5, (uint64_t)t, (uint64_t)(z - KR_C(a)), n);
                        *z = kr_c((float)(creal(v) + p->noise * n[0]), (float)(cimag(v) + p->noise * n[1]));
                    }
    return a;
}

/* Largest difference to the phantom's temperature in the object, and the largest value beside it. */
static double off(const phantom *p, const kr_prf *how, const kr_array *reference, kr_prf_frame *frames, double *outside)
{
    kr_array *x = series(p, how), *t = NULL;
    double worst = 0;
    *outside = 0;
    if (kr_prf_temperature(&t, frames, x, reference, how))
        fail_msg("%s", kr_error());
    assert_true(t->type == KR_R32 && t->n[KR_TIME] == FRAMES && t->n[KR_COIL] == 1);
    const float *v = KR_R(t);
    for (long k = 0; k < FRAMES; k++)
        for (long s = 0; s < p->slices; s++)
            for (long y = 0; y < NY; y++)
                for (long ix = 0; ix < NX; ix++, v++)
                    if (inside(ix, y))
                        worst = fmax(worst, fabs((double)*v - (heat(p, ix, y, s, k) - heat(p, ix, y, s, how->baseline))));
                    else
                        *outside = fmax(*outside, fabs((double)*v));
    kr_array_unref(&t);
    kr_array_unref(&x);
    return worst;
}

static void gaussian(void **state)
{
    (void)state;
    phantom p = { .peak = 20, .coils = 1, .slices = 1 };
    kr_prf how = preset;
    kr_prf_frame frames[FRAMES];
    double outside, kelvin;
    for (how.sign = -1; how.sign <= 1; how.sign += 2) {
        assert_true(off(&p, &how, NULL, frames, &outside) < 2e-4 && outside == 0);      /* float's rounding of a phase of 10 rad: 1e-6 rad are 2e-5 K */
        assert_true(fabs(frames[FRAMES - 1].most - 20) < 1e-3 && frames[0].most == 0);
    }
    how.sign = 1;
    assert_int_equal(kr_prf_kelvin(&kelvin, &how), 0);
    assert_true(fabs(kelvin + 1 / (2 * M_PI * 42.577478518 * 1.5 * 0.01 * 0.015)) < 1e-6);     /* -16.6 K per radian: 1.5 T, 15 ms */
    p.coils = 3;
    p.slices = 2;
    how.baseline = 2;
    assert_true(off(&p, &how, NULL, frames, &outside) < 2e-4 && outside == 0);
    how.alpha_ppm = -0.0094;
    how.field_T = 3;
    assert_true(off(&p, &how, NULL, frames, &outside) < 2e-4);
    p.noise = 0.01;
    double wide = off(&p, &how, NULL, frames, &outside);
    assert_true(wide > 0.02 && wide < 2);                    /* 0.01 of a signal of 0.7 to 1.7, times sqrt 2 and 8.9 K per radian, five standard deviations */
}

/* A field that drifts by up to 1.2 rad along x: 20 K where nothing was heated. */
static void drifting(void **state)
{
    (void)state;
    phantom p = { .peak = 20, .drift = { 0.5, 0.3, -0.2 }, .coils = 1, .slices = 1 };
    kr_prf how = preset;
    kr_prf_frame frames[FRAMES];
    double outside;
    assert_true(off(&p, &how, NULL, frames, &outside) > 20);
    how.drift = KR_DRIFT_LINEAR;
    double wrong = off(&p, &how, NULL, frames, &outside);
    print_message("a drift of 20 K: %.4f K are left\n", wrong);
    assert_true(wrong < 0.02);                                       /* the tail of the Gaussian moves the fit a little */
    double kelvin;
    assert_int_equal(kr_prf_kelvin(&kelvin, &how), 0);
    assert_true(fabs(frames[4].drift - 4 * 0.5 * kelvin) < 0.02 && fabs(frames[4].slope[0] - 2 * 4 * 0.3 * kelvin) < 0.04 && fabs(frames[4].slope[1] + 2 * 4 * 0.2 * kelvin) < 0.04);
    kr_array *far = kr_array_new(KR_R32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY));
    for (long y = 0; y < NY; y++)
        for (long x = 0; x < 14; x++)
            KR_R(far)[y * NX + x] = 1;
    assert_true(off(&p, &how, far, frames, &outside) < 5e-4);        /* four deviations away: least squares tell it exactly */
    assert_true(frames[4].spread < 5e-4);
    how.drift = KR_DRIFT_CONSTANT;
    p.drift[1] = p.drift[2] = 0;
    p.slices = 2;
    assert_true(off(&p, &how, far, frames, &outside) < 5e-4);
    assert_true(off(&p, &how, NULL, frames, &outside) < 0.02);
    how.drift = KR_DRIFT_LINEAR;
    p.noise = 0.02;
    assert_true(off(&p, &how, NULL, frames, &outside) < 5);          /* noise: 0.02 / 0.6 x sqrt 2 x 16.6 K is 0.8 K */
    print_message("with noise of 0.8 K: %.2f K of it\n", fabs(frames[4].drift - 4 * 0.5 * kelvin));
    assert_true(fabs(frames[4].drift - 4 * 0.5 * kelvin) < 0.4);     /* of 33 K; heat on a sixth of the object draws the median of its noise */
    memset(far->data, 0, (size_t)NX * NY * sizeof(float));
    KR_R(far)[20 * NX + 20] = KR_R(far)[20 * NX + 21] = 1;
    kr_array *x = series(&p, &how), *t = NULL;
    assert_int_not_equal(kr_prf_temperature(&t, NULL, x, far, &how), 0);
    assert_non_null(strstr(kr_error(), "too few voxels"));
    kr_array_unref(&x);
    kr_array_unref(&far);
}

/* 90 K are 5.4 rad; each step is 1.4. */
static void more_than_half_a_turn(void **state)
{
    (void)state;
    phantom p = { .peak = 90, .coils = 1, .slices = 1 };
    kr_prf how = preset;
    double outside;
    assert_true(off(&p, &how, NULL, NULL, &outside) > 100);          /* a whole turn: 104 K */
    how.unwrap = true;
    for (how.baseline = 0; how.baseline < FRAMES; how.baseline += 2)
        assert_true(off(&p, &how, NULL, NULL, &outside) < 5e-4 && outside == 0);
}

static void refusals(void **state)
{
    (void)state;
    phantom p = { .peak = 5, .coils = 1, .slices = 1 };
    kr_prf how = preset;
    kr_array *x = series(&p, &how), *t = NULL, *real = kr_abs(x), *one = kr_array_at(x, KR_TIME, 0), *echoes = kr_array_rename(x, KR_Y, KR_ECHO), *zero = kr_array_like(x), *small = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 3));
    const struct { const kr_array *x, *reference; long baseline; double te; const char *words; } bad[] = {
        { real, NULL, 0, 15, "complex ones are wanted" }, { one, NULL, 0, 15, "one frame" }, { echoes, NULL, 0, 15, "an axis echo" }, { zero, NULL, 0, 15, "all zero" },
        { x, small, 0, 15, "the reference is" }, { x, NULL, FRAMES, 15, "there is no frame 5" }, { x, NULL, -1, 15, "there is no frame -1" }, { x, NULL, 0, 0, "tell no temperature" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        how.baseline = bad[i].baseline;
        how.te_ms = bad[i].te;
        assert_int_not_equal(kr_prf_temperature(&t, NULL, bad[i].x, bad[i].reference, &how), 0);
        if (!strstr(kr_error(), bad[i].words))
            fail_msg("'%s' lacks '%s'", kr_error(), bad[i].words);
        assert_null(t);
    }
    KR_C(x)[7] = kr_c(NAN, 0);
    how = preset;
    assert_int_not_equal(kr_prf_temperature(&t, NULL, x, NULL, &how), 0);
    assert_non_null(strstr(kr_error(), "not finite"));
    kr_array_unref(&x); kr_array_unref(&real); kr_array_unref(&one); kr_array_unref(&echoes); kr_array_unref(&zero); kr_array_unref(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(gaussian), cmocka_unit_test(drifting), cmocka_unit_test(more_than_half_a_turn), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
