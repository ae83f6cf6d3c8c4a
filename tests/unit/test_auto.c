/* test_auto.c: the method that is taken where nobody says, against what the others make of the same scan. */
#include <math.h>
#include "files.h"
#include "kray/fourier.h"
#include "kray/phantom.h"
#include "kray/recon.h"

static kr_array *rss_of(const kr_scan *s)
{
    kr_scoped(array) x = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)), 0);
    return kr_rss(x, KR_COIL);
}

/* Where the root of the sum of squares is above 6 % of its largest value. */
static double object_error(const kr_image *im, const kr_array *want)
{
    double floor = 0.06 * kr_max_abs(want), sum = 0, all = 0;
    for (long i = 0, n = kr_count(kr_array_shape(want)); i < n; i++) {
        double w = (double)KR_R(want)[i], v = im->data->type == KR_C32 ? sqrt((double)kr_cabs2(KR_C(im->data)[i])) : (double)fabsf(KR_R(im->data)[i]);
        if (w > floor) {
            sum += (v - w) * (v - w);
            all += w * w;
        }
    }
    return sqrt(sum / all);
}

/* By one method, of a copy of the scan; *took: which it was. NULL: refused, which another than auto may. */
static kr_image *image_by(const char *method, kr_job_opts how, const kr_scan *s, const char **took)
{
    kr_scoped(scan) c = kr_scan_slices(s, 0, 1);
    kr_scoped(job) j = kr_job_open(method, NULL, &how);
    assert_non_null(c);
    assert_non_null(j);
    kr_array_unref(&c->data);                                        /* which undersampling changes */
    c->data = kr_array_copy(s->data);
    assert_non_null(c->data);
    kr_image *im = NULL;
    if (kr_job_run(j, &im, c, NULL))
        assert_string_not_equal(method, "auto");
    if (took)
        *took = kr_job_method(j)->name;
    return im;
}

/* The middle of a real scan's k-space, which then is all there is. */
static kr_scan *measured(const char *file, const char *what, long nx, long ny)
{
    char source[1100];
    snprintf(source, sizeof source, "%s:%s@x,y,coil", shared(file), what);
    kr_scan *s = NULL;
    assert_int_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    kr_scoped(array) x = kr_array_crop(s->data, KR_X, nx);
    kr_scoped(array) xy = kr_array_crop(x, KR_Y, ny);
    kr_array_unref(&s->data);
    s->data = kr_array_packed(xy);
    s->shape = kr_array_shape(s->data);
    kr_array_unref(&s->mask);
    return s;
}

/* With any number of calibration lines auto is within half a decibel (NRMSE 1.06) of the best of those that it chooses from. */
static void near_the_best(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_mprage_4ch_256_loraks.mat");
    static const struct { const char *mask, *takes; double within; } job[] = {
        { "equispaced:accel=4,lines=24,seed=1", "wcrr", 1.06 }, { "equispaced:accel=2,lines=24,seed=1", "spirit", 1.06 }, { "random:accel=2,lines=24,seed=1", "wcrr", 1 }, { "equispaced:accel=4,lines=8,seed=1", "spirit", 1.06 }, { "equispaced:accel=4,lines=4,seed=1", "nlinv", 1.2 },      /* of the whole scan nlinv is 4 dB ahead, here 1 dB behind */
        { "poisson:accel=4,calib=10,axes=xy,seed=1", "spirit", 1.06 } };
    static const char *const others[] = { "wavelet", "nlinv", "spirit" };
    kr_scoped(scan) s = measured("data/mri/brain_mprage_4ch_256_loraks.mat", "kData", 128, 128);
    kr_scoped(array) want = rss_of(s);
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        kr_job_opts how = kr_job_preset();
        how.undersample = job[i].mask;
        const char *took = NULL;
        kr_scoped(image) own = image_by("auto", how, s, &took);
        double e = object_error(own, want), best = INFINITY;
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            kr_scoped(image) im = strcmp(others[k], took) ? image_by(others[k], how, s, NULL) : NULL;
            best = im ? fmin(best, object_error(im, want)) : best;
        }
        print_message("# %s: %s, NRMSE of the object %.4f, best of the others %.4f\n", job[i].mask, took, e, best);
        assert_string_equal(took, job[i].takes);
        assert_true(e < job[i].within * best);
    }
}

/* The head is larger than the field of view, which one set of coil maps cannot explain: auto's image is not that of one set. */
static void folded(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_alias_8ch_320x256_espirit.mat");
    kr_scoped(scan) s = measured("data/mri/brain_alias_8ch_320x256_espirit.mat", "DATA", 160, 168);
    kr_scoped(array) want = rss_of(s);
    kr_job_opts how = kr_job_preset();
    how.undersample = "equispaced:accel=4,lines=24,seed=1";
    kr_scoped(image) own = image_by("auto", how, s, NULL);
    kr_scoped(image) one = image_by("wavelet", how, s, NULL);
    how.coils.maps = 2;
    kr_scoped(image) two = image_by("wavelet", how, s, NULL);
    how.coils_asked = true;                                          /* auto, combined by them */
    const char *took = NULL;
    kr_scoped(image) by_maps = image_by("auto", how, s, &took);
    double e = object_error(own, want), e1 = object_error(one, want), e2 = object_error(two, want), m = object_error(by_maps, want);
    print_message("# NRMSE of the object: auto %.4f, with two sets asked for %.4f (%s), l1-wavelet with one set %.4f, with two %.4f\n", e, m, took, e1, e2);
    assert_true(e < 1.06 * e2 && m < 1.06 * e2 && e < 0.3 * e1);
    assert_true(by_maps->data->type == KR_C32);
}

/* Phase, memory, maps and calibration areas that decide no kernel. */
static void what_is_asked_for(void **state)
{
    (void)state;
    kr_simulate sim = kr_simulate_preset;
    sim.n[0] = sim.n[1] = 64;
    sim.slices = 1;
    sim.coils = 12;
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_phantom_named("shepplogan")->measure(&s, &sim, NULL), 0);
    const char *took = NULL;
    kr_job_opts how = kr_job_preset();
    how.undersample = "equispaced:accel=3,lines=16,seed=1";
    kr_scoped(image) plain = image_by("auto", how, s, &took);
    assert_string_equal(took, "spirit");
    assert_true(plain->data->type == KR_R32);
    how.phase = true;
    kr_scoped(image) phase = image_by("auto", how, s, &took);
    assert_string_equal(took, "spirit");
    assert_true(phase->data->type == KR_C32);
    how.undersample = NULL;
    kr_scoped(image) full = image_by("auto", how, s, &took);
    assert_string_equal(took, "adjoint");
    assert_true(full->data->type == KR_C32);
    how.phase = false;
    how.undersample = "poisson:accel=3,calib=8,axes=xy,seed=1";      /* 36 equations of 108 unknowns */
    kr_scoped(image) few = image_by("auto", how, s, &took);
    assert_non_null(few);
    assert_string_equal(took, "nlinv");
    how.undersample = "equispaced:accel=3,lines=16,seed=1";
    kr_cost cost;
    kr_scoped(job) j = kr_job_open("spirit", NULL, &how);
    assert_int_equal(kr_job_plan(j, &cost, s, 1), 0);
    how.memory = (int64_t)cost.bytes - (1 << 20);
    kr_scoped(image) small = image_by("auto", how, s, &took);
    assert_non_null(small);
    assert_string_equal(took, "wavelet");
    kr_auto_choice a = { .undersampled = true };
    kr_scoped(scan) head = kr_scan_new();
    head->shape = KR_SHAPE([KR_X] = 1024, [KR_Y] = 1024, [KR_COIL] = 32);
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "wcrr");
    a.maps_asked = true;
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "wavelet");      /* 6 GiB by l1-SPIRiT */
    a.maps_asked = false;
    head->shape = KR_SHAPE([KR_X] = 96, [KR_Y] = 96, [KR_Z] = 64, [KR_COIL] = 8);
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "wavelet");      /* a volume */
    head->shape = KR_SHAPE([KR_X] = 32, [KR_Y] = 24, [KR_Z] = 16, [KR_COIL] = 6);
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "sense");        /* a small one */
    head->shape = KR_SHAPE([KR_Y] = 96, [KR_Z] = 64, [KR_COIL] = 8);
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "wcrr");         /* a plane of one, as BART keeps them */
    head->shape = KR_SHAPE([KR_X] = 256, [KR_Y] = 256, [KR_SLICE] = 192, [KR_COIL] = 32);
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "wcrr");         /* slice by slice */
    head->shape.n[KR_TIME] = 20;
    assert_string_equal(kr_recon_auto(&a, head, NULL)->name, "spirit");       /* frame by frame */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(near_the_best), cmocka_unit_test(folded), cmocka_unit_test(what_is_asked_for) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
