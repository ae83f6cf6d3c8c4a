/* Line integrals put right: the axis and the direction of fans and cones, stripes, beam hardening; and the bodies and photons that simulate them. */
#include "test.h"
#include "kray/ct.h"

static const kr_ellipsoid body[4] = { { 0.02, { 0, 0, 0 }, { 45, 38, 30 }, 0.3 }, { 0.01, { -18, 5, 0 }, { 10, 7, 20 }, -0.4 },
                                      { -0.008, { 16, 10, 0 }, { 9, 12, 20 }, 0.2 }, { 0.02, { 2, -18, 0 }, { 8, 8, 20 }, 0 } };
static double angle[400];
static void turn(double from, double to, long n)
{
    for (long i = 0; i < n; i++)
        angle[i] = (from + (to - from) * (double)i / (double)n) * M_PI / 180;
}

static kr_array *scan(const kr_rays *r)
{
    kr_array *y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = r->views));
    assert_non_null(y);
    kr_ellipsoids_scan(KR_R(y), body, 4, r, 2);
    return y;
}

/* The detector lies so many columns beside the axis: found from a geometry that does not know it; and turned the other way it is told. */
static void axis_of_fans(void **state)
{
    (void)state;
    static const struct { bool curved; long rows; double aside, height; } kinds[] = { { false, 1, 6.3, 0 }, { true, 1, -9.7, 0 }, { false, 11, 6.3, 2.6 }, { false, 1, 34, 0 }, { false, 1, 0, 0 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        kr_detector d = { 140, kinds[i].rows, { 1.6, 0 }, { 1.6 * kinds[i].aside, kinds[i].height } }, unknown = { 140, kinds[i].rows, { 1.6, 0 }, { 0, kinds[i].height } };
        turn(10, 370, 240);
        kr_rays *r = kr_rays_cone(&d, 200, 320, kinds[i].curved, 240, angle, NULL), *u = kr_rays_cone(&unknown, 200, 320, kinds[i].curved, 240, angle, NULL);
        kr_scoped(array) y = scan(r);
        double column, mismatch, before, otherwise;
        assert_int_equal(kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, y, u), 0);
        assert_near(column, 69.5 - kinds[i].aside, 0.15);
        assert_true(mismatch < 0.02 && otherwise > 3 * mismatch && before > 0.99 * mismatch);
        for (long k = 0; k < 240; k++)
            angle[k] = -angle[k];
        kr_rays *wrong = kr_rays_cone(&unknown, 200, 320, kinds[i].curved, 240, angle, NULL);
        assert_int_equal(kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, y, wrong), 0);
        assert_true(mismatch > 2 * otherwise);
        kr_rays_unref(&wrong);
        kr_rays_unref(&u);
        kr_rays_unref(&r);
    }
    kr_detector d = { 140, 1, { 1.6, 0 }, { 0, 0 } };
    double column, mismatch, before, otherwise;
    double nine[120][9] = { { 0 } }, origin[2] = { -1.6 * 69.5, -1.6 * 4 };      /* RTK turns about y */
    kr_detector wide = { 140, 9, { 1.6, 1.6 }, { 0, 0 } };
    for (int i = 0; i < 120; i++)
        memcpy(nine[i], (double[4]){ 200, 320, 3.0 * i, 1.6 * 6.3 }, 4 * sizeof(double));
    kr_rays *aside = kr_rays_rtk(&wide, origin, 120, (const double (*)[9])nine);
    for (int i = 0; i < 120; i++)
        nine[i][3] = 0;
    kr_rays *middle = kr_rays_rtk(&wide, origin, 120, (const double (*)[9])nine);
    kr_scoped(array) seen = scan(aside);
    assert_int_equal(kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, seen, middle), 0);
    assert_near(column, 69.5 - 6.3, 0.15);
    assert_true(otherwise > 3 * mismatch);
    kr_rays_unref(&aside);
    kr_rays_unref(&middle);
    /* Short scans: the direction alone, of one that has rays in both. */
    for (int arc = 100; arc <= 220; arc += 120) {
        turn(0, arc, 240);
        kr_rays *r = kr_rays_cone(&d, 200, 320, false, 240, angle, NULL);
        for (long k = 0; k < 240; k++)
            angle[k] = -angle[k];
        kr_rays *wrong = kr_rays_cone(&d, 200, 320, false, 240, angle, NULL);
        kr_scoped(array) y = scan(r);
        assert_int_equal(kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, y, r), arc > 180 ? 0 : KR_EREFUSED);
        if (arc > 180) {
            assert_true(isnan(column) && otherwise > 3 * mismatch);
            assert_int_equal(kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, y, wrong), 0);
            assert_true(mismatch > 2 * otherwise);
        } else
            assert_refused(KR_EREFUSED, "too few rays were measured in both directions");
        kr_rays_unref(&wrong);
        kr_rays_unref(&r);
    }
}

static double apart(const kr_array *a, const kr_array *b)
{
    double d = 0;
    for (long i = 0; i < kr_count(kr_array_shape(a)); i++)
        d += pow((double)KR_R(a)[i] - (double)KR_R(b)[i], 2);
    return sqrt(d / (double)kr_count(kr_array_shape(a)));
}

static void stripes(void **state)
{
    (void)state;
    turn(0, 180, 181);
    kr_detector d = { 141, 1, { 1, 0 }, { 0, 0 } };
    kr_rays *r = kr_rays_parallel(&d, 181, angle);
    kr_scoped(array) truth = scan(r);
    kr_scoped(array) y = kr_array_copy(truth);
    kr_rays_unref(&r);
    for (long u = 0; u < 141; u += 1)                                /* every element has its own sensitivity, some are far off */
        for (long v = 0; v < 181; v++)
            KR_R(y)[v * 141 + u] += (float)(0.02 * (kr_rand_uniform(3, 1, (uint64_t)u) - 0.5) + (u % 29 == 7 ? 0.08 : 0));
    double before = apart(y, truth);
    assert_int_equal(kr_ct_rings_wavelet(y, 2, 0.5), 0);
    double after = apart(y, truth);
    print_message("stripes: %.4f before, %.4f after\n", before, after);
    assert_true(after < 0.65 * before);
    kr_scoped(array) noise = kr_array_copy(truth);                   /* a single band, hardly damped: nearly as it was */
    assert_int_equal(kr_ct_rings_wavelet(noise, 1, 1e-3), 0);
    assert_true(apart(noise, truth) < 0.002);
    assert_int_equal(kr_ct_rings_wavelet(y, 2, 0), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "a width above 0");
    kr_scoped(array) tiny = kr_array_new(KR_R32, KR_SHAPE([KR_U] = 20, [KR_VIEW] = 100));
    assert_int_equal(kr_ct_rings_wavelet(tiny, 4, 1), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "too few");
}

static void hardening(void **state)
{
    (void)state;
    kr_scoped(array) y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = 3, [KR_VIEW] = 1));
    KR_R(y)[0] = 0; KR_R(y)[1] = 1; KR_R(y)[2] = 3;
    double good[3] = { 1, 0.05, 0.01 }, bad[2] = { 1, -0.3 };
    assert_int_equal(kr_ct_polynomial(y, good, 3), 0);
    assert_near(KR_R(y)[0], 0, 0);
    assert_near(KR_R(y)[1], 1.06, 1e-6);
    assert_near(KR_R(y)[2], 3 + 0.05 * 9 + 0.01 * 27, 1e-6);
    assert_int_equal(kr_ct_polynomial(y, bad, 2), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "falls at");
}

/* Variance of a line integral p of I0 photons and sigma counts of the electronics: exp(p) / I0 + sigma^2 exp(2 p) / I0^2, to first order. */
static void photons(void **state)
{
    (void)state;
    enum { N = 40000 };
    static float y[N];
    static const double sigma[2] = { 0, 25 };
    for (int k = 0; k < 2; k++) {
        double sum = 0, square = 0, I0 = 2000, p = 1;
        for (long i = 0; i < N; i++)
            y[i] = (float)p;
        kr_photons(y, N, I0, sigma[k], 5);
        for (long i = 0; i < N; i++) {
            sum += (double)y[i] / N;
            square += (double)y[i] * (double)y[i] / N;
        }
        double want = exp(p) / I0 + sigma[k] * sigma[k] * exp(2 * p) / (I0 * I0);
        assert_near((square - sum * sum) / want, 1, 0.04);           /* 40000 draws: 5 standard deviations of a variance, and the next order */
        assert_near(sum, p + want / 2, 5 * sqrt(want / N));
    }
}

static void bodies(void **state)
{
    (void)state;
    kr_ellipsoid e[KR_BODIES];
    kr_grid g = kr_grid_centred((long[3]){ 200, 200, 1 }, (double[3]){ 2, 2, 2 }), deep = kr_grid_centred((long[3]){ 50, 50, 50 }, (double[3]){ 8, 8, 8 });
    static float x[200 * 200], z[50 * 50 * 50], Ax[30 * 300], y[30 * 300];
    turn(0, 180, 30);
    kr_detector d = { 300, 1, { 1.5, 0 }, { 0, 0 } };
    kr_rays *r = kr_rays_parallel(&d, 30, angle);
    kr_projector *A = kr_projector_new(r, &g, KR_RAY_DISTANCE, false);
    for (int i = 0; kr_bodies_name(i, NULL); i++) {
        long n = kr_bodies(e, kr_bodies_name(i, NULL), 180, 0.0193, false);
        assert_true(n > 5 && n <= KR_BODIES);
        kr_ellipsoids_draw(x, e, n, &g, 4);
        kr_ellipsoids_scan(y, e, n, r, 4);
        kr_project(A, Ax, x, 0, 1);
        double diff = 0, size = 0;
        for (long k = 0; k < 30 * 300; k++) {
            diff += pow((double)Ax[k] - (double)y[k], 2);
            size += pow((double)y[k], 2);
        }
        assert_true(sqrt(diff / size) < 0.02);                       /* pixels of 2 mm */
        n = kr_bodies(e, kr_bodies_name(i, NULL), 180, 0.0193, true);
        kr_ellipsoids_draw(z, e, n, &deep, 2);
        for (long k = 0; k < 200 * 200; k++)                         /* no body is less than nothing */
            assert_true(x[k] > -1e-6f && x[k] < 0.06f);
        for (long k = 0; k < 50 * 50 * 50; k++)
            assert_true(z[k] > -1e-6f && z[k] < 0.06f);
    }
    kr_projector_unref(&A);
    kr_rays_unref(&r);
    assert_int_equal(kr_bodies(e, "foot", 100, 1, true), 0);
}

/* Projections as a file tells of them, into a scan: what is said of the range of angles, where the axis is taken to be, and where the image lies. */
static int of_range;
static void hear(void *self, int how, const char *sentence)
{
    (void)self;
    of_range += how == KR_WARNING && strstr(sentence, "is the range of angles right?");
}

static void of_a_file(void **state)
{
    (void)state;
    /* Half a turn, a third of one and a turn as they are; a turn that is said to be half of one. */
    static const struct { double from, said, measured; int warned; } jobs[] = { { 0, 180, 180, 0 }, { 0, 120, 120, 0 }, { 0, 360, 360, 0 }, { 0, 180, 360, 1 }, { 20, 100, 200, 0 } };
    kr_ct_opts o = kr_ct_preset();
    kr_trace trace = { .say = hear };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        enum { VIEWS = 120 };
        kr_projections *p = kr_alloc_zero(1, sizeof *p);
        p->beam = KR_PARALLEL;
        p->lengths = p->integrals = true;
        p->pixel[0] = 1;
        p->views = VIEWS;
        p->angle = kr_alloc(VIEWS, sizeof *p->angle);
        turn(jobs[i].from, jobs[i].from + jobs[i].measured, VIEWS);
        kr_rays *r = kr_rays_parallel(&(kr_detector){ 101, 1, { 1, 0 }, { 3.4, 0 } }, VIEWS, angle);
        p->y = scan(r);
        for (long v = 0; v < VIEWS; v++)
            p->angle[v] = jobs[i].from + jobs[i].said * (double)v / VIEWS;
        kr_scan *s = NULL;
        kr_ct_facts facts;
        of_range = 0;
        if (kr_ct_scan(&s, p, "scan", &o, &facts, &trace))
            fail_msg("%s", kr_error());
        assert_int_equal(of_range, jobs[i].warned);
        if (jobs[i].said == jobs[i].measured && i != 1)
            assert_near(facts.axis, 50 - 3.4, 0.2);
        kr_scan_unref(&s);
        kr_rays_unref(&r);
        kr_projections_unref(&p);
    }
    /* Views that have nothing to do with each other: no axis is found, and the middle column is taken, wherever the file puts it. */
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    p->beam = KR_PARALLEL;
    p->lengths = p->integrals = true;
    p->pixel[0] = 1;
    p->shift[0] = 5;
    p->views = 90;
    p->angle = kr_alloc(90, sizeof *p->angle);
    p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = 61, [KR_V] = 1, [KR_VIEW] = 90));
    for (long i = 0; i < 61 * 90; i++)
        KR_R(p->y)[i] = (float)kr_rand_uniform(3, 0, (uint64_t)i);
    for (long v = 0; v < 90; v++)
        p->angle[v] = 4.0 * (double)v;
    kr_scan *s = NULL;
    kr_ct_facts facts;
    if (kr_ct_scan(&s, p, "scan", &o, &facts, NULL))
        fail_msg("%s", kr_error());
    assert_near(facts.axis, 30, 1e-9);
    kr_error_clear();
    /* The middle voxel of an image lies where the grid has it; x and y of the scanner point against those of the patient. */
    s->grid = (kr_grid){ { 4, 5, 6 }, { -3, 7, 20 }, { 2, -1.5, 3 } };
    assert_int_equal(kr_meta_set(s->meta, "first_voxel_mm", "-3 7 20"), 0);
    kr_geom *g = kr_geom_new(1);
    const long n[3] = { 4, 5, 6 }, flat[3] = { 4, 5, 1 };
    assert_int_equal(kr_ct_place(g, s, n), 0);
    assert_near(g->position_mm[0][0], -(-3 + 2 * 2), 1e-9);
    assert_near(g->position_mm[0][1], -(7 - 1.5 * 2), 1e-9);
    assert_near(g->position_mm[0][2], 20 + 3 * 3, 1e-9);
    assert_near(g->fov_mm[2], 18, 1e-9);
    assert_int_equal(kr_ct_place(g, s, flat), 0);
    assert_near(g->position_mm[0][2], 20, 1e-9);
    kr_geom_unref(&g);
    kr_scan_unref(&s);
    kr_projections_unref(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(axis_of_fans), cmocka_unit_test(stripes), cmocka_unit_test(hardening), cmocka_unit_test(photons), cmocka_unit_test(bodies), cmocka_unit_test(of_a_file) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
