/* test_metric.c: scores against the published scorers' own numbers, and against what can be said without a computer. */
#include "test.h"
#include "kray/metric.h"
#include <hdf5.h>

static const char golden[] = "golden/metrics_golden.h5";

/* {X,Y,SLICE} of a stored (slice, row, column) array, or the numbers of a small one. */
static kr_array *load(hid_t file, const char *group, const char *name)
{
    char path[128];
    hsize_t n[3] = { 1, 1, 1 };
    snprintf(path, sizeof path, "%s/%s", group, name);
    hid_t d = H5Dopen2(file, path, H5P_DEFAULT), space = H5Dget_space(d);
    assert_true(d >= 0);
    assert_int_equal(H5Sget_simple_extent_ndims(space), 3);
    H5Sget_simple_extent_dims(space, n, NULL);
    kr_array *a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = (long)n[2], [KR_Y] = (long)n[1], [KR_SLICE] = (long)n[0]));
    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->data) >= 0);
    H5Sclose(space);
    H5Dclose(d);
    return a;
}

static int numbers(hid_t file, const char *group, const char *name, double v[8])
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, name);
    hid_t d = H5Dopen2(file, path, H5P_DEFAULT), space = H5Dget_space(d);
    assert_true(d >= 0);
    int n = (int)H5Sget_simple_extent_npoints(space);
    assert_in_range(n, 1, 8);
    assert_true(H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Sclose(space);
    H5Dclose(d);
    return n;
}

static double number(hid_t file, const char *group, const char *name)
{
    double v[8];
    assert_int_equal(numbers(file, group, name, v), 1);
    return v[0];
}

/* Half a unit of the sixth significant digit: the scorer sums norms in single precision (BLAS), in an order of its own. */
static void assert_six_digits(double ours, double theirs, const char *what)
{
    if (isinf(theirs) ? ours != theirs : !(fabs(ours - theirs) <= 5e-7 * fabs(theirs)))
        fail_msg("%s: %.9g, the scorer says %.9g", what, ours, theirs);
}

/* The same operations, each rounded alike: only the order of additions in double is left. 1e-11 of the value. */
static void assert_all_digits(double ours, double theirs, const char *what)
{
    if (isinf(theirs) ? ours != theirs : !(fabs(ours - theirs) <= 1e-11 * fabs(theirs)))
        fail_msg("%s: %.15g, the scorer says %.15g", what, ours, theirs);
}

static const char *const cases[] = { "a", "b", "c", "d", "identical" };
enum { CASES = sizeof cases / sizeof *cases };

static void score(const char *protocol, kr_score *slice, kr_score *volume, const kr_array *t, const kr_array *r)
{
    const kr_protocol *p = kr_protocol_named(protocol);
    assert_non_null(p);
    if (p->score(slice, volume, t, r, NULL))
        fail_msg("%s: %s", protocol, kr_error());
}

static void golden_fastmri(void **state)
{
    (void)state;
    NEED_SHARED(golden);
    hid_t f = H5Fopen(shared(golden), H5F_ACC_RDONLY, H5P_DEFAULT);
    for (int c = 0; c < CASES; c++) {
        const char *g = cases[c];
        kr_array *t = load(f, g, "target"), *r = load(f, g, "prediction");
        kr_score s[8], v;
        double each[8];
        score("fastmri", s, &v, t, r);
        assert_all_digits(v.ssim, number(f, g, "fastmri/ssim"), "ssim");
        assert_six_digits(v.psnr, number(f, g, "fastmri/psnr"), "psnr");
        assert_six_digits(v.nmse, number(f, g, "fastmri/nmse"), "nmse");
        int n = numbers(f, g, "fastmri/ssim_per_slice", each);
        for (int i = 0; i < n; i++)
            assert_all_digits(s[i].ssim, each[i], "ssim of a slice");
        assert_all_digits(v.psnr, number(f, g, "fastmri_f64/psnr"), "psnr");
        assert_all_digits(v.nmse, number(f, g, "fastmri_f64/nmse"), "nmse");
        assert_all_digits(v.nrmse * v.nrmse, v.nmse, "nrmse");
        /* in double, with the volume's range and with an explicit one of 1.5 times that */
        n = numbers(f, g, "fastmri_f64/ssim_per_slice", each);
        double range = number(f, g, "fastmri_f64/maxval"), sum = 0;
        long pixels = t->n[KR_X] * t->n[KR_Y];
        for (int i = 0; i < n; i++) {
            const float *a = KR_R(t) + i * pixels, *b = KR_R(r) + i * pixels;
            assert_all_digits(kr_ssim(a, b, t->n[KR_X], t->n[KR_Y], range), each[i], "ssim of a slice");
            sum += kr_ssim(a, b, t->n[KR_X], t->n[KR_Y], 1.5 * range);
        }
        assert_all_digits(sum / n, number(f, g, "fastmri_f64/ssim_maxval_1p5"), "ssim at 1.5 times the range");
        kr_array_unref(&t);
        kr_array_unref(&r);
    }
    H5Fclose(f);
}

static void golden_others(void **state)
{
    (void)state;
    NEED_SHARED(golden);
    hid_t f = H5Fopen(shared(golden), H5F_ACC_RDONLY, H5P_DEFAULT);
    for (int c = 0; c < CASES; c++) {
        const char *g = cases[c];
        kr_array *t = load(f, g, "target"), *r = load(f, g, "prediction");
        kr_score s[8], v;
        double ssim[8], psnr[8], nmse[8];
        score("cmrxrecon2023", s, &v, t, r);
        int n = numbers(f, g, "cmrxrecon2023/ssim", ssim);
        numbers(f, g, "cmrxrecon2023/psnr", psnr);
        numbers(f, g, "cmrxrecon2023/nmse", nmse);
        double mean = 0;
        for (int i = 0; i < n; i++) {
            assert_six_digits(s[i].ssim, ssim[i], "cmrxrecon2023 ssim");
            assert_six_digits(s[i].psnr, psnr[i], "cmrxrecon2023 psnr");
            assert_six_digits(s[i].nmse, nmse[i], "cmrxrecon2023 nmse");
            mean += ssim[i] / n;
        }
        assert_six_digits(v.ssim, mean, "cmrxrecon2023 mean ssim");
        score("calgary", s, &v, t, r);
        assert_six_digits(v.ssim, number(f, g, "direct/calgary_campinas_ssim"), "calgary ssim");
        assert_six_digits(v.psnr, number(f, g, "direct/calgary_campinas_psnr"), "calgary psnr");
        score("atommic", s, &v, t, r);
        assert_six_digits(v.ssim, number(f, g, "atommic/ssim"), "atommic ssim");
        assert_six_digits(v.psnr, number(f, g, "atommic/psnr"), "atommic psnr");
        assert_six_digits(v.nmse, number(f, g, "atommic/nmse"), "atommic nmse");
        kr_array_unref(&t);
        kr_array_unref(&r);
    }
    H5Fclose(f);
}

/* What the golden file does not hold, computed on its pictures by scikit-image 0.26, SciPy (HFEN by a full 15 x 15
 * convolution) and sewar 0.4.6 in double precision; nine digits were kept. */
static void other_programs(void **state)
{
    (void)state;
    NEED_SHARED(golden);
    hid_t f = H5Fopen(shared(golden), H5F_ACC_RDONLY, H5P_DEFAULT);
    static const struct { const char *g; double hfen[2], pooled, y2024[3], y2025[3], frames2024[3], frames2025[3]; } want[] = {
        { "a", { 0.670296715, 1.09055378 }, 1.15319245687, { 0.175319943, 7.96332488, 1.48369687 }, { 0.273428982, 10.2046128, 0.655749622 },
          { 0.172062676, 7.74558136, 1.48369711 }, { 0.274528688, 10.3669867, 0.504185996 } },
        { "c", { 1.59288026, 0.599360047 }, 1.32105553381, { 0.342210768, 8.08958982, 1.15322521 }, { 0.387404097, 11.2868766, 0.398303376 },
          { 0.340927911, 8.98609469, 1.15322521 }, { 0.386016047, 11.1792925, 0.456787946 } } };
    for (int c = 0; c < 2; c++) {
        kr_array *t = load(f, want[c].g, "target"), *r = load(f, want[c].g, "prediction");
        kr_score s[8], v;
        score("fastmri", s, &v, t, r);
        for (int i = 0; i < 2; i++)
            assert_near(s[i].hfen, want[c].hfen[i], 1e-8);
        assert_near(v.hfen, want[c].pooled, 1e-10);
        assert_near(kr_hfen(KR_R(t), KR_R(r), t->n[KR_X], t->n[KR_Y]), want[c].hfen[0], 1e-8);
        kr_array *tf = kr_array_rename(t, KR_SLICE, KR_TIME), *rf = kr_array_rename(r, KR_SLICE, KR_TIME);
        for (int frames = 0; frames < 2; frames++)
            for (int year = 2024; year <= 2025; year++) {
                const double *w = frames ? year == 2024 ? want[c].frames2024 : want[c].frames2025 : year == 2024 ? want[c].y2024 : want[c].y2025;
                score(year == 2024 ? "cmrxrecon2024" : "cmrxrecon2025", s, &v, frames ? tf : t, frames ? rf : r);
                assert_near(v.ssim, w[0], 1e-8);
                assert_near(v.psnr, w[1], 1e-7);
                assert_near(v.nmse, w[2], 1e-8);
            }
        kr_array_unref(&tf);
        kr_array_unref(&rf);
        if (c == 1) {
            static const double vif[2] = { 0.0398155842, 0.402272262 }, preset[2] = { 0.0473745775, 0.316407301 };
            score("calgary", s, &v, t, r);
            for (int i = 0; i < 2; i++) {
                long n = t->n[KR_X] * t->n[KR_Y];
                assert_near(s[i].vif, vif[i], 1e-9);
                assert_near(kr_vif(KR_R(t) + i * n, KR_R(r) + i * n, t->n[KR_X], t->n[KR_Y], 2), preset[i], 1e-9);
            }
        }
        kr_array_unref(&t);
        kr_array_unref(&r);
    }
    H5Fclose(f);
}

/* BART 0.8.00, `bart measure --ssim`, `--psnr` and `bart nrmse` on |target| and |prediction|; single precision. As Z the
 * slices share their range, as SLICE each has its own. */
static void bart_measure(void **state)
{
    (void)state;
    NEED_SHARED(golden);
    static const struct { const char *g; int axis; double ssim, psnr, nrmse; } want[] = {
        { "a", KR_Z, 2.385320e-01, 1.242761e+01, 0.668102 }, { "a", KR_SLICE, 2.285315e-01, 1.174964e+01, 0.668102 },
        { "c", KR_Z, 3.787658e-01, 1.005865e+01, 0.638659 }, { "c", KR_SLICE, 3.756701e-01, 1.241128e+01, 0.638659 } };
    hid_t f = H5Fopen(shared(golden), H5F_ACC_RDONLY, H5P_DEFAULT);
    for (int c = 0; c < 4; c++) {
        kr_array *t = load(f, want[c].g, "target"), *r = load(f, want[c].g, "prediction");
        kr_array *tz = kr_array_rename(t, KR_SLICE, want[c].axis), *rz = kr_array_rename(r, KR_SLICE, want[c].axis);
        kr_score s[8], v;
        score("bart", s, &v, tz, rz);
        assert_near(v.ssim, want[c].ssim, 2e-6);          /* BART sums in single precision */
        assert_near(v.psnr, want[c].psnr, 2e-5);
        assert_near(v.nrmse, want[c].nrmse, 1e-6);
        kr_array_unref(&t);
        kr_array_unref(&r);
        kr_array_unref(&tz);
        kr_array_unref(&rz);
    }
    H5Fclose(f);
}

static kr_array *picture(long nx, long ny, long slices, uint64_t seed)
{
    kr_array *a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_SLICE] = slices));
    fill_random(a, seed);
    for (long i = 0; i < nx * ny * slices; i++)
        KR_R(a)[i] = fabsf(KR_R(a)[i]) + (float)(i % nx) / 8;
    return a;
}

/* LoDoPaB-CT: the range is that of the target's values. HTC 2022: Matthews' coefficient from counts. */
static void tomography(void **state)
{
    (void)state;
    kr_array *t = picture(45, 50, 2, 3), *r = picture(45, 50, 2, 3);
    for (long i = 0; i < 45 * 50 * 2; i++)
        KR_R(r)[i] += (float)(i % 3) * 0.1f;
    kr_score s[2], v;
    score("lodopab", s, &v, t, r);
    for (int k = 0; k < 2; k++) {
        double low = INFINITY, high = -INFINITY, sum = 0;
        for (long i = k * 2250; i < (k + 1) * 2250; i++) {
            low = fmin(low, (double)KR_R(t)[i]);
            high = fmax(high, (double)KR_R(t)[i]);
            sum += pow((double)KR_R(t)[i] - (double)KR_R(r)[i], 2) / 2250;
        }
        assert_near(s[k].psnr, 10 * log10((high - low) * (high - low) / sum), 1e-4);
        assert_near(s[k].ssim, kr_ssim(KR_R(t) + k * 2250, KR_R(r) + k * 2250, 45, 50, high - low), 1e-5);
    }
    assert_near(v.psnr, (s[0].psnr + s[1].psnr) / 2, 1e-9);
    for (long i = 0; i < 45 * 50 * 2; i++) {                         /* in tenths: 3 of both, 1 of the target alone, 2 of the other alone, 4 of none */
        KR_R(t)[i] = i % 10 < 4 ? 255 : 0;
        KR_R(r)[i] = i % 10 < 3 || i % 10 > 7 ? 1 : 0;
    }
    score("htc2022", s, &v, t, r);
    double mcc = (3.0 * 4 - 2 * 1) / sqrt((3.0 + 2) * (3 + 1) * (4 + 2) * (4 + 1));
    assert_near(s[0].mcc, mcc, 1e-12);
    assert_near(v.mcc, mcc, 1e-12);
    assert_true(isnan(v.ssim) && isnan(v.vif));
    for (long i = 0; i < 45 * 50 * 2; i++)                           /* grey: two clouds about 0.1 and 0.9 */
        KR_R(r)[i] = 0.1f + 0.8f * KR_R(r)[i] + 0.05f * (float)(i % 7 - 3) / 3;
    score("htc2022", s, &v, t, r);
    assert_near(v.mcc, mcc, 1e-12);
    score("htc2022", s, &v, t, t);
    assert_near(v.mcc, 1, 1e-12);
    memset(r->data, 0, 45 * 50 * 2 * sizeof(float));
    score("htc2022", s, &v, t, r);
    assert_near(v.mcc, 0, 1e-12);
    kr_array *grey = picture(45, 50, 2, 3);
    assert_true(kr_protocol_named("htc2022")->score(s, &v, grey, t, NULL) < 0);
    assert_refused(KR_ENUMBER, "a binary image is wanted");
    kr_array_unref(&grey);
    kr_array_unref(&t);
    kr_array_unref(&r);
}

static void analytic(void **state)
{
    (void)state;
    kr_array *t = picture(45, 50, 3, 1), *r = kr_array_copy(t);
    kr_score s[3], v;
    for (int i = 0; kr_protocols[i]; i++) {                         /* the target against itself */
        if (!strcmp(kr_protocols[i]->name, "htc2022"))
            continue;                                                /* of binary images, below */
        score(kr_protocols[i]->name, s, &v, t, r);
        assert_near(v.ssim, 1, 1e-12);
        assert_true(isinf(v.psnr) && v.psnr > 0);
        assert_true(v.nmse == 0 && v.nrmse == 0 && v.hfen == 0);
        assert_true(isnan(v.vif) || fabs(v.vif - 1) < 1e-6);
    }
    /* r = 1.25 t: NMSE 1/16, NRMSE and HFEN 1/4; SSIM by the formula of Wang with variances and means in proportion is
     * below 1; scorers that divide each image by its own maximum see no difference */
    kr_scale(r, 1.25f);
    score("fastmri", s, &v, t, r);
    assert_near(v.nmse, 1.0 / 16, 1e-9);                            /* 1.25 t is rounded to single precision */
    assert_near(v.nrmse, 1.0 / 4, 1e-9);
    assert_near(v.hfen, 1.0 / 4, 1e-7);
    assert_true(v.ssim < 0.999);
    score("cmrxrecon2023", s, &v, t, r);
    assert_near(v.ssim, 1, 1e-7);
    assert_near(v.nmse, 0, 1e-13);
    /* a constant offset d: the picture's MSE is d^2, so PSNR = 20 log10(max / d); HFEN of a constant sees only the edge */
    for (long i = 0; i < 45 * 50 * 3; i++)
        KR_R(r)[i] = KR_R(t)[i] + 0.5f;
    score("fastmri", s, &v, t, r);
    assert_near(v.psnr, 20 * log10(kr_max_abs(t) / 0.5), 1e-5);     /* the sum is rounded to single precision */
    /* flat pictures a and b: variances are 0 and SSIM = (2ab + C1) / (a^2 + b^2 + C1) */
    kr_fill(t, 2);
    kr_fill(r, 3);
    double c1 = 0.01 * 2 * 0.01 * 2;
    assert_near(kr_ssim(KR_R(t), KR_R(r), 45, 50, 2), (12 + c1) / (13 + c1), 1e-12);
    kr_array_unref(&t);
    kr_array_unref(&r);
}

/* Scores of the region only: with a target and an error of their own there, by hand; and all of it is the whole. */
static void region(void **state)
{
    (void)state;
    kr_array *t = picture(32, 20, 2, 4), *r = picture(32, 20, 2, 5), *m = kr_array_like(t);
    kr_score s[2], v, s1[2], v1;
    const kr_protocol *p = kr_protocol_named("fastmri");
    kr_fill(m, 1);
    assert_int_equal(p->score(s, &v, t, r, NULL), 0);
    assert_int_equal(p->score(s1, &v1, t, r, m), 0);
    assert_true(v.ssim == v1.ssim && v.psnr == v1.psnr && v.hfen == v1.hfen);
    kr_fill(m, 0);
    for (long y = 5; y < 9; y++)
        for (long x = 10; x < 25; x++)
            KR_R(m)[32 * 20 + y * 32 + x] = 1;
    double d = 0, e = 0;
    for (long i = 0; i < 32 * 20 * 2; i++) {
        double w = KR_R(m)[i];
        d += w * (KR_R(t)[i] - (double)KR_R(r)[i]) * (KR_R(t)[i] - (double)KR_R(r)[i]);
        e += w * KR_R(t)[i] * (double)KR_R(t)[i];
    }
    assert_int_equal(p->score(s1, &v1, t, r, m), 0);
    assert_near(v1.nmse, d / e, 1e-12);
    assert_true(isnan(s1[0].nmse) && isnan(s1[0].ssim));
    assert_true(v1.ssim == s1[1].ssim);
    kr_fill(m, 0);
    assert_int_equal(p->score(s1, &v1, t, r, m), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "region of interest is empty");
    kr_array_unref(&t);
    kr_array_unref(&r);
    kr_array_unref(&m);
}

/* A slice of three that is empty: the others' scores are what they are without it, and where errors are summed, its errors count. */
static void empty_slice(void **state)
{
    (void)state;
    kr_array *t = picture(16, 16, 2, 1), *r = picture(16, 16, 2, 2), *t3 = picture(16, 16, 3, 1), *r3 = picture(16, 16, 3, 2);
    kr_score two[2], three[3], v, w;
    for (int i = 0; kr_protocols[i]; i++) {
        const kr_protocol *p = kr_protocols[i];
        if (!strcmp(p->name, "htc2022"))
            continue;                                                /* of binary images */
        long n = 16 * 16;
        for (long k = 0; k < n; k++) {                               /* slices 0 and 2 are those of the two; in 1 there is nothing */
            KR_R(t3)[k] = KR_R(t)[k];
            KR_R(r3)[k] = KR_R(r)[k];
            KR_R(t3)[n + k] = KR_R(r3)[n + k] = 0;
            KR_R(t3)[2 * n + k] = KR_R(t)[n + k];
            KR_R(r3)[2 * n + k] = KR_R(r)[n + k];
        }
        assert_int_equal(p->score(two, &v, t, r, NULL), 0);
        assert_int_equal(p->score(three, &w, t3, r3, NULL), 0);
        bool whole = !strcmp(p->name, "fastmri") || !strcmp(p->name, "atommic");      /* one range for the volume, which the empty slice has, too */
        assert_true(whole || isnan(three[1].ssim));
        if (!whole)
            assert_all_digits(three[2].ssim, two[1].ssim, p->name);
        assert_true(whole || fabs(w.ssim - v.ssim) <= 1e-12);
        assert_true(whole || fabs(w.psnr - v.psnr) <= 1e-9);
        assert_true(fabs(w.nmse - v.nmse) <= 1e-12);
        KR_R(r3)[n + 5] = 1;                                         /* an error where the target is empty */
        assert_int_equal(p->score(three, &w, t3, r3, NULL), 0);
        bool pooled = whole || !strcmp(p->name, "bart");
        assert_true(pooled ? w.nmse > v.nmse : fabs(w.nmse - v.nmse) <= 1e-12);
    }
    kr_array_unref(&t);
    kr_array_unref(&r);
    kr_array_unref(&t3);
    kr_array_unref(&r3);
}

static void refused(void **state)
{
    (void)state;
    kr_array *t = picture(16, 16, 2, 1), *r = picture(16, 16, 2, 2), *other = picture(16, 15, 2, 2), *small = picture(16, 6, 1, 1);
    kr_score s[2], v;
    assert_null(kr_protocol_named("fastmr"));
    assert_refused(KR_EUSAGE, "known are fastmri, cmrxrecon2023");
    for (int i = 0; kr_protocols[i]; i++) {
        const kr_protocol *p = kr_protocols[i];
        if (!strcmp(p->name, "htc2022"))
            continue;                                                /* of binary images, without windows */
        assert_int_equal(p->score(s, &v, t, other, NULL), KR_ESHAPE);
        assert_refused(KR_ESHAPE, "the target is {x=16 y=16 slice=2}, the reconstruction {x=16 y=15 slice=2}");
        assert_int_equal(p->score(s, &v, small, small, NULL), KR_ESHAPE);
        assert_refused(KR_ESHAPE, "smaller than the window");
        float keep = KR_R(r)[17];
        KR_R(r)[17] = NAN;
        assert_int_equal(p->score(s, &v, t, r, NULL), KR_ENUMBER);
        assert_refused(KR_ENUMBER, "the reconstruction holds numbers that are not finite");
        KR_R(r)[17] = INFINITY;
        assert_int_equal(p->score(s, &v, r, t, NULL), KR_ENUMBER);
        assert_refused(KR_ENUMBER, "the target holds numbers that are not finite");
        KR_R(r)[17] = keep;
        kr_array *zero = kr_array_like(t);
        assert_int_equal(p->score(s, &v, zero, r, NULL), KR_ENUMBER);
        assert_refused(KR_ENUMBER, "the target is all zero");
        kr_array_unref(&zero);
    }
    /* one empty slice: harmless to fastMRI, without a score for those who divide by a slice's maximum; nothing but empty slices is refused */
    memset(KR_R(t), 0, 256 * sizeof(float));
    assert_int_equal(kr_protocol_named("fastmri")->score(s, &v, t, r, NULL), 0);
    assert_true(isnan(s[0].nmse) && isfinite(v.nmse));
    assert_int_equal(kr_protocol_named("cmrxrecon2023")->score(s, &v, t, r, NULL), 0);
    assert_true(isnan(s[0].nmse) && fabs(v.nmse - s[1].nmse) <= 0);
    memset(KR_R(r), 0, 512 * sizeof(float));
    assert_int_equal(kr_protocol_named("cmrxrecon2023")->score(s, &v, t, r, NULL), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "no picture of the reconstruction can be scored");
    assert_true(isnan(kr_ssim(KR_R(t), KR_R(r), 16, 16, 0)));
    assert_refused(KR_ENUMBER, "positive data range");
    kr_array_unref(&t);
    kr_array_unref(&r);
    kr_array_unref(&other);
    kr_array_unref(&small);
}

static void assert_crop(const char *protocol, const char *name, kr_shape from, kr_shape target, kr_shape want, long first)
{
    kr_array *a = kr_array_new(KR_R32, from), *t = kr_array_new(KR_R32, target);
    for (long i = 0; i < kr_count(from); i++)
        KR_R(a)[i] = (float)i;
    assert_int_equal(kr_protocol_named(protocol)->crop(&a, t, name), 0);
    if (!kr_shape_equal(kr_array_shape(a), want))
        fail_msg("%s: %s, wanted %s", protocol, kr_shape_text(kr_array_shape(a)), kr_shape_text(want));
    assert_int_equal((long)*KR_R(a), first);
    kr_array_unref(&a);
    kr_array_unref(&t);
}

static void crops(void **state)
{
    (void)state;
    kr_shape square = KR_SHAPE([KR_X] = 12, [KR_Y] = 8, [KR_SLICE] = 3);
    assert_crop("fastmri", "f.h5", KR_SHAPE([KR_X] = 20, [KR_Y] = 11, [KR_SLICE] = 3), square, KR_SHAPE([KR_X] = 8, [KR_Y] = 8, [KR_SLICE] = 3), 6 + 1 * 20);
    /* run4Ranking by hand: x 246 -> 82 from 123 - 41, y 512 -> 256 from 128; 9 slices: 4 and 5 of 1..9; 3 frames */
    kr_shape cine = KR_SHAPE([KR_X] = 246, [KR_Y] = 52, [KR_SLICE] = 9, [KR_TIME] = 5);
    assert_crop("cmrxrecon2023", "cine_sax", cine, cine, KR_SHAPE([KR_X] = 82, [KR_Y] = 26, [KR_SLICE] = 2, [KR_TIME] = 3), 82 + 246 * (13 + 52 * 3));
    assert_crop("cmrxrecon2025", "cine_sax", cine, cine, KR_SHAPE([KR_X] = 82, [KR_Y] = 26, [KR_SLICE] = 2, [KR_TIME] = 3), 82 + 246 * (13 + 52 * 3));
    assert_crop("cmrxrecon2025", "T1map", cine, cine, KR_SHAPE([KR_X] = 82, [KR_Y] = 26, [KR_SLICE] = 2, [KR_TIME] = 5), 82 + 246 * (13 + 52 * 3));
    kr_shape odd = KR_SHAPE([KR_X] = 25, [KR_Y] = 33, [KR_SLICE] = 2);
    assert_crop("cmrxrecon2023", "cine_lax", odd, odd, KR_SHAPE([KR_X] = 8, [KR_Y] = 17, [KR_SLICE] = 2), 12 - 4 + 25 * (16 - 8));
    kr_array *a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 7, [KR_Y] = 20)), *t = kr_array_new(KR_R32, square);
    assert_int_equal(kr_protocol_named("fastmri")->crop(&a, t, "f.h5"), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "cannot be cropped to the target's 8 x 8");
    kr_array_unref(&a);
    kr_array_unref(&t);
}

static void statistics(void **state)
{
    (void)state;
    kr_summary s;
    double two[] = { 1, 3, NAN }, normal[400];
    assert_int_equal(kr_summarise(&s, two, 3), 0);
    assert_true(s.n == 2 && s.mean == 2);
    assert_near(s.sd, sqrt(2), 1e-15);
    assert_true(s.low == 1 && s.high == 3);                /* a quarter of all resamples are (1,1), a quarter (3,3) */
    for (int i = 0; i < 400; i += 2)
        kr_rand_normal2(3, 3, (uint64_t)i, normal + i);
    assert_int_equal(kr_summarise(&s, normal, 400), 0);
    /* for many values the interval is mean -+ 1.96 sd / sqrt(n); the percentile of 10000 resamples varies by about 2 % of it */
    assert_near(s.low, s.mean - 1.96 * s.sd / 20, 0.05 * s.sd / 10);
    assert_near(s.high, s.mean + 1.96 * s.sd / 20, 0.05 * s.sd / 10);
    kr_summary again;
    assert_int_equal(kr_summarise(&again, normal, 400), 0);
    assert_memory_equal(&s, &again, sizeof s);
    assert_int_equal(kr_summarise(&s, normal, 1), 0);
    assert_true(s.n == 1 && s.mean == normal[0] && isnan(s.sd) && isnan(s.low));
}

static void same_on_any_number_of_threads(void **state)
{
    (void)state;
    kr_array *t = picture(61, 47, 9, 1), *r = picture(61, 47, 9, 2);
    kr_score s[2][9], v[2];
    int before = kr_threads();
    for (int k = 0; k < 2; k++) {
        kr_threads_set(k ? 3 : 1);
        score("calgary", s[k], &v[k], t, r);
    }
    kr_threads_set(before);
    assert_memory_equal(s[0], s[1], sizeof s[0]);
    assert_memory_equal(&v[0], &v[1], sizeof v[0]);
    kr_array_unref(&t);
    kr_array_unref(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(golden_fastmri), cmocka_unit_test(golden_others), cmocka_unit_test(other_programs),
        cmocka_unit_test(bart_measure), cmocka_unit_test(analytic), cmocka_unit_test(tomography), cmocka_unit_test(region), cmocka_unit_test(empty_slice), cmocka_unit_test(refused), cmocka_unit_test(crops),
        cmocka_unit_test(statistics), cmocka_unit_test(same_on_any_number_of_threads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
