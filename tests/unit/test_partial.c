#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/recon.h"

/* Keeps 0 .. part of the axis Y; how far from the full image it is then. */
static double cut(const kr_scan *full, const kr_array *maps, const kr_array *want, double part, const char *how)
{
    const kr_recon *m = kr_recon_named("adjoint");
    kr_scoped(scan) s = kr_scan_new();
    s->data = kr_array_copy(full->data);
    s->shape = full->shape;
    long n = full->shape.n[KR_Y];
    kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = n));
    for (long i = 0; i < n; i++)
        KR_R(mask)[i] = (double)i < part * (double)n;
    assert_int_equal(kr_scan_undersample(s, mask), 0);
    kr_scoped(image) im = NULL;
    assert_int_equal(how ? kr_reconstruct_partial(&im, s, m, NULL, how, maps, NULL, NULL) : kr_reconstruct(&im, s, m, NULL, NULL, maps, NULL, NULL), 0);
    kr_scoped(array) size = kr_abs(im->data);
    return distance(size, want);
}

static void all_cuts(const kr_scan *s, int cuts, double gain)
{
    kr_coils_opts o = kr_coils_preset;
    o.method = "lowres";
    kr_scoped(array) maps = kr_coils_estimate(s, &o, NULL);
    assert_non_null(maps);
    kr_scoped(image) full = NULL;
    kr_scoped(scan) copy = kr_scan_new();
    copy->data = kr_array_copy(s->data);
    copy->shape = s->shape;
    assert_int_equal(kr_reconstruct(&full, copy, kr_recon_named("adjoint"), NULL, NULL, maps, NULL, NULL), 0);
    kr_scoped(array) want = kr_abs(full->data);
    static const double part[] = { 0.5625, 0.625, 0.75 };
    for (int i = 0; i < cuts; i++) {
        double zero = cut(s, maps, want, part[i], NULL), pocs = cut(s, maps, want, part[i], "pocs"), homodyne = cut(s, maps, want, part[i], "homodyne");
        print_message("%.3f measured: zero-filled %.4f, POCS %.4f, homodyne %.4f\n", part[i], zero, pocs, homodyne);
        assert_true(pocs < gain * zero);
        /* homodyne keeps the real part alone: it gains only where more is missing than the rough part of the phase holds */
        assert_true(homodyne < zero || (part[i] > 0.6 && gain > 0.5));
    }
}

/* A phantom with a smooth phase, no noise. */
static void phantom(void **state)
{
    (void)state;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = 128;
    how.slices = 1;
    how.coils = 4;
    how.snr = 0;
    how.phase = true;
    how.oversampling = how.noise_scan = false;
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_phantom_named("brain")->measure(&s, &how, NULL), 0);
    all_cuts(s, 3, 0.4);
}

/* A brain measured in full, cut afterwards; beyond 0.625 noise is most of what was left out. */
static void real_brain(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_alias_8ch_320x256_espirit.mat");
    char source[1100];
    snprintf(source, sizeof source, "%s:DATA@x,y,coil", shared("data/mri/brain_alias_8ch_320x256_espirit.mat"));
    kr_scoped(scan) read = NULL;
    assert_int_equal(kr_scan_read(&read, source, NULL, NULL, NULL), 0);
    kr_scoped(scan) s = kr_scan_new();
    kr_scoped(array) measured = kr_array_range(read->data, KR_Y, 44, 168);
    s->data = kr_array_copy(measured);
    s->shape = kr_array_shape(s->data);
    all_cuts(s, 2, 0.85);
}

static void refusals(void **state)
{
    (void)state;
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 8, [KR_Y] = 32));
    kr_scoped(array) r = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 8, [KR_Y] = 32));
    kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 32));
    for (long i = 0; i < 17; i++)
        KR_R(mask)[i] = 1;
    assert_int_equal(kr_partial_fourier(x, mask, "pocs", NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "only 0 samples");
    assert_int_equal(kr_partial_fourier(r, mask, "pocs", NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "magnitudes");
    assert_int_equal(kr_partial_fourier(x, mask, "other", NULL), KR_EUSAGE);
    kr_scoped(array) wide = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 32, [KR_Y] = 32));
    kr_scoped(array) corner = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 32, [KR_Y] = 32));
    for (long i = 0; i < 32 * 32; i++)
        KR_R(corner)[i] = i % 32 < 22 && i / 32 < 22;
    assert_int_equal(kr_partial_fourier(wide, corner, "homodyne", NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "take pocs");
    assert_int_equal(kr_partial_fourier(wide, corner, "pocs", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(phantom), cmocka_unit_test(real_brain), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
