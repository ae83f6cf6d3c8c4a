/* test_where.c: where voxels lie and where the centre of k-space is: the sign of a vendor's raw data, fields of view, what lines say. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/recon.h"
#include "kray/trajectory.h"

static const char *temp(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, 256, "/tmp/kray-test-%ld-%s", (long)getpid(), name);
    return p;
}

/* ---- A point at `offset` voxels along the stored directions, measured as k = sum rho exp(sign 2 pi i k r) ---- */
static const double d_mm[3] = { 10, 15, 5 }, at_mm[3] = { 10, -20, 30 }, offset[3] = { 2, -1, 1 };
static const double axial[3][3] = { { -1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }, sagittal[3][3] = { { 0, 0, 1 }, { 0, -1, 0 }, { 1, 0, 0 } };

static kr_scan *point(const long n[3], const double dir[3][3], const char *vendor, int sign)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2]);
    s->data = kr_array_new(KR_C32, s->shape);
    for (long i = 0; i < n[0] * n[1] * n[2]; i++) {
        const long k[3] = { i % n[0], i / n[0] % n[1], i / (n[0] * n[1]) };
        double phase = 0;
        for (int a = 0; a < 3; a++)
            phase += n[a] > 1 ? (double)(k[a] - n[a] / 2) * offset[a] / (double)n[a] : 0;
        KR_C(s->data)[i] = kr_c((float)cos(2 * M_PI * phase), (float)(sign * sin(2 * M_PI * phase)));
    }
    for (int a = 0; a < 3; a++) {
        s->enc.encoded[a] = s->enc.recon[a] = n[a];
        s->enc.encoded_mm[a] = s->enc.recon_mm[a] = s->geom->fov_mm[a] = d_mm[a] * (double)n[a];
        s->geom->position_mm[0][a] = at_mm[a];
    }
    memcpy(s->geom->read_dir, dir[0], sizeof dir[0]);
    memcpy(s->geom->phase_dir, dir[1], sizeof dir[1]);
    memcpy(s->geom->slice_dir, dir[2], sizeof dir[2]);
    s->geom->known = true;
    if (vendor)
        assert_int_equal(kr_meta_set(s->meta, "vendor", "%s", vendor), 0);
    return s;
}

static void lps(double to[3], const kr_geom *g, const long n[3], const long at[3])
{
    double a[16];
    assert_int_equal(kr_geom_affine(g, n, a), 0);
    for (int k = 0; k < 3; k++)
        to[k] = (k < 2 ? -1 : 1) * (a[4 * k] * (double)at[0] + a[4 * k + 1] * (double)at[1] + a[4 * k + 2] * (double)at[2] + a[4 * k + 3]);
}

/* The brightest voxel of the reconstructed image is `peak`, at `where`; voxel 0 is at `first` (NULL: not looked at). */
static void check_point(kr_scan *s, const long peak[3], const double where[3], const double first[3])
{
    kr_scoped(image) im = NULL;
    const long n[3] = { s->shape.n[0], s->shape.n[1], s->shape.n[2] }, zero[3] = { 0 };
    double v[3], stored = s->geom->read_dir[0] + s->geom->read_dir[2];
    assert_int_equal(kr_reconstruct(&im, s, kr_recon_named("rss"), NULL, NULL, NULL, NULL, NULL), 0);
    assert_near(s->geom->read_dir[0] + s->geom->read_dir[2], stored, 0);         /* the scan's own stay */
    long best = 0;
    for (long i = 0; i < n[0] * n[1] * n[2]; i++)
        best = KR_R(im->data)[i] > KR_R(im->data)[best] ? i : best;
    assert_int_equal(best, peak[0] + n[0] * (peak[1] + n[1] * peak[2]));
    lps(v, im->geom, n, peak);
    for (int k = 0; k < 3; k++)
        assert_near(v[k], where[k], 1e-9);
    lps(v, im->geom, n, zero);
    for (int k = 0; first && k < 3; k++)
        assert_near(v[k], first[k], 1e-9);
}

static void test_sign(void **state)
{
    (void)state;
    static const struct { long n[3]; bool sagittal; long peak[3]; double where[3], first[3]; } cases[] = {
        { { 8, 6, 1 }, false, { 2, 4, 0 }, { -10, -35, 30 }, { -30, 25, 30 } },
        { { 9, 7, 1 }, false, { 2, 4, 0 }, { -10, -35, 30 }, { -30, 25, 30 } },
        { { 8, 6, 4 }, false, { 2, 4, 1 }, { -10, -35, 35 }, { -30, 25, 40 } },
        { { 9, 7, 5 }, false, { 2, 4, 1 }, { -10, -35, 35 }, { -30, 25, 40 } },
        { { 8, 6, 4 }, true, { 2, 4, 1 }, { 15, -5, 50 }, { 20, -65, 70 } } };
    static const char *const names[] = { "SIEMENS", "Siemens Healthineers", "siemens" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 3; k++) {
            kr_scoped(scan) s = point(cases[i].n, cases[i].sagittal ? sagittal : axial, names[k], 1);
            check_point(s, cases[i].peak, cases[i].where, cases[i].first);
        }
}

/* Other vendors, and those who are not named, measure as Kray's own transform: the same point, elsewhere in the array. */
static void test_other_vendors(void **state)
{
    (void)state;
    const long n[3] = { 8, 6, 1 }, peak[3] = { 6, 2, 0 }, turned[3] = { 2, 4, 0 };
    const double where[3] = { -10, -35, 30 };
    static const struct { const char *name, *words; } vendor[] = { { "GE MEDICAL SYSTEMS", "unverified for GE" }, { "Philips", "unverified for Philips" }, { NULL, "no vendor" },
                                                                  { "Not Siemens", "unverified" }, { "Kray", "known" } };
    for (int k = 0; k < 5; k++) {
        kr_scoped(scan) s = point(n, axial, vendor[k].name, -1);
        kr_text t = { 0 };
        bool known;
        check_point(s, peak, where, NULL);
        assert_int_equal(kr_scan_kspace_sign(s, &known), -1);
        assert_int_equal(known, k == 4);
        kr_scan_sign_text(&t, s);
        assert_non_null(strstr(t.s, vendor[k].words));
        kr_text_clear(&t);
    }
    kr_scoped(scan) asked = point(n, axial, "Philips", 1);     /* the user knows better, both ways */
    asked->kspace_sign = 1;
    check_point(asked, turned, where, NULL);
    kr_scoped(scan) not = point(n, axial, "SIEMENS", -1);
    not->kspace_sign = -1;
    check_point(not, peak, where, NULL);
}

/* Slices of a band are planes of a slab, and not encoded; radial positions are as measured, spirals' were negated by the converter. */
static void test_which_axes(void **state)
{
    (void)state;
    const long n[3] = { 8, 6, 4 };
    kr_scoped(scan) s = point(n, axial, "SIEMENS", 1);
    s->multiband.factor = 2;
    kr_scoped(geom) band = kr_scan_image_geom(s);
    assert_near(band->read_dir[0] - band->phase_dir[1] + band->slice_dir[2], 3, 0);
    s->multiband.factor = 0;
    kr_scoped(geom) volume = kr_scan_image_geom(s);
    assert_near(volume->read_dir[0] - volume->phase_dir[1] - volume->slice_dir[2], 3, 0);
    s->shape = KR_SHAPE([KR_SAMPLE] = 8, [KR_VIEW] = 24);
    s->traj = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = 8, [KR_VIEW] = 24, [KR_CHAN] = 2));
    strcpy(s->enc.trajectory, "radial");
    kr_scoped(geom) radial = kr_scan_image_geom(s);
    assert_near(radial->read_dir[0] - radial->phase_dir[1] + radial->slice_dir[2], 3, 0);
    strcpy(s->enc.trajectory, "spiral");
    kr_scoped(geom) spiral = kr_scan_image_geom(s);
    bool known;
    assert_near(spiral->read_dir[0] - spiral->phase_dir[1] + spiral->slice_dir[2], -1, 0);
    assert_int_equal(kr_scan_kspace_sign(s, &known), -1);
    assert_false(known);
}

/* ---- A blob off the centre, measured along a trajectory by formula ---- */
/* k = exp(sign 2 pi i k r), r = `away` voxels along the stored directions; spec says how k runs. */
static kr_scan *blob(const char *spec, const double away[3], const char *vendor, int sign, long nz)
{
    enum { N = 24 };
    kr_traj_want want = { .n = { N, N, nz } };
    kr_scan *s = kr_scan_new();
    s->traj = kr_traj_new(spec, &want);
    if (!s->traj)
        fail_msg("%s", kr_error());
    s->shape = kr_shape_without(kr_array_shape(s->traj), KR_ON(KR_CHAN));
    s->data = kr_array_new(KR_C32, s->shape);
    long points = kr_count(s->shape);
    for (long i = 0; i < points; i++) {
        double turns = 0, size = 0;
        for (long d = 0; d < s->traj->n[KR_CHAN]; d++) {
            double k = (double)KR_R(s->traj)[i + d * points] / (double)want.n[d];
            turns += k * away[d];
            size += k * k;
        }
        double blur = exp(-6 * size);                         /* less than a voxel wide */
        KR_C(s->data)[i] = kr_c((float)(blur * cos(2 * M_PI * turns)), (float)(blur * sign * sin(2 * M_PI * turns)));
    }
    for (int a = 0; a < 3; a++) {
        s->enc.encoded[a] = s->enc.recon[a] = want.n[a];
        s->enc.encoded_mm[a] = s->enc.recon_mm[a] = s->geom->fov_mm[a] = d_mm[a] * (double)want.n[a];
        s->geom->position_mm[0][a] = at_mm[a];
    }
    memcpy(s->geom->read_dir, axial[0], sizeof axial[0]);
    memcpy(s->geom->phase_dir, axial[1], sizeof axial[1]);
    memcpy(s->geom->slice_dir, axial[2], sizeof axial[2]);
    s->geom->known = true;
    snprintf(s->enc.trajectory, sizeof s->enc.trajectory, "%.*s", (int)strcspn(spec, ":"), spec);
    assert_int_equal(kr_meta_set(s->meta, "vendor", "%s", vendor), 0);
    return s;
}

/* The image's brightest voxel lies where the blob is: position + away. */
static void check_blob(kr_scan *s, const char *method, const double away[3], long nx)
{
    kr_scoped(image) im = NULL;
    const kr_recon *m = kr_recon_named(method);
    kr_auto char *opts = kr_alloc_zero(1, m->opts_size + 1);
    assert_true(!m->opts || !kr_opt_defaults(m->opts, opts));
    if (kr_reconstruct(&im, s, m, opts, &kr_prepare_preset, NULL, NULL, NULL))
        fail_msg("%s: %s", method, kr_error());
    kr_scoped(array) size = im->data->type == KR_C32 ? kr_abs(im->data) : kr_array_ref(im->data);
    const long *n = im->data->n;
    long best = 0;
    assert_int_equal(n[0], nx);
    for (long i = 0; i < n[0] * n[1] * n[2]; i++)
        best = KR_R(size)[i] > KR_R(size)[best] ? i : best;
    double v[3];
    lps(v, im->geom, n, (const long[]){ best % n[0], best / n[0] % n[1], best / (n[0] * n[1]) });
    for (int k = 0; k < 3; k++)
        assert_near(v[k], at_mm[k] + away[0] * d_mm[0] * axial[0][k] + away[1] * d_mm[1] * axial[1][k] + away[2] * d_mm[2] * axial[2][k], 1e-6);
}

/* The vendor's sign along trajectories, by methods on samples and on a grid. Spirals of the converter come with positions negated already. */
static void test_trajectories(void **state)
{
    (void)state;
    static const struct { const char *spec, *vendor; int sign; bool deep; } cases[] = {
        { "radial:spokes=40", "SIEMENS", 1, false }, { "radial:spokes=40", "Kray", -1, false }, { "spiral:interleaves=8", "SIEMENS", -1, false },
        { "spiral:interleaves=8", "Philips", -1, false }, { "koosh:spokes=120", "Siemens Healthineers", 1, true }, { "koosh:spokes=120", "GE", -1, true } };
    static const char *const methods[] = { "rss", "adjoint", "sense" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int m = 0; m < (cases[i].deep ? 1 : 3); m++) {        /* volumes take longer, and methods agree */
            const double away[3] = { 5, -3, cases[i].deep ? 2 : 0 };
            kr_scoped(scan) s = blob(cases[i].spec, away, cases[i].vendor, cases[i].sign, cases[i].deep ? 8 : 1);
            check_blob(s, methods[m], away, 24);
        }
}

/* A readout that was oversampled is no wider image: k-space positions say what was measured, and the matrix of the header what is shown. */
static void test_trajectory_fields(void **state)
{
    (void)state;
    const double away[3] = { 5, -3, 0 }, out[3] = { 16, -14, 0 };
    kr_scoped(scan) wide = blob("radial:spokes=40", away, "SIEMENS", 1, 1);
    kr_scale(wide->traj, 2);                                  /* cycles per field of view of the header: twice as wide */
    for (int d = 0; d < 2; d++) {
        wide->enc.encoded[d] *= 2;
        wide->enc.encoded_mm[d] *= 2;
    }
    check_blob(wide, "adjoint", away, 24);

    kr_scoped(scan) hidden = blob("radial:spokes=80", out, "SIEMENS", 1, 1);             /* beyond the field of view of 24 voxels */
    static const struct { const char *spec; double x, y, low, high; } outside[] = {
        { "radial:spokes=80", 16, -14, .9, 1 }, { "radial:spokes=80", 5, -3, 0, .01 }, { "radial:spokes=80", -12, 11, 0, .1 }, { "radial:spokes=20", 16, -14, -1, -1 } };
    for (int i = 0; i < 4; i++) {
        kr_scoped(scan) s = blob(outside[i].spec, (const double[]){ outside[i].x, outside[i].y, 0 }, "Kray", -1, 1);
        double part;
        assert_int_equal(kr_scan_trajectory(s, NULL), 0);
        s->density = kr_scan_density(s, NULL);
        assert_int_equal(kr_scan_outside(&part, s), 0);
        if (!(part >= outside[i].low && part <= outside[i].high))
            fail_msg("%s: %.3f of a blob at %g, %g lies outside", outside[i].spec, part, outside[i].x, outside[i].y);
    }
    assert_int_equal(kr_scan_widen(hidden, (const double[]){ 480, 720, 0 }), 0);
    assert_near(kr_max_abs(hidden->traj), 24, 1e-4);
    check_blob(hidden, "adjoint", out, 48);
    kr_scoped(scan) narrow = blob("radial:spokes=40", away, "SIEMENS", 1, 1);
    assert_int_equal(kr_scan_widen(narrow, (const double[]){ 140, 0, 0 }), 0);
    check_blob(narrow, "adjoint", away, 14);
    assert_true(kr_scan_widen(narrow, (const double[]){ 5, 0, 0 }) < 0);
    assert_refused(KR_EUSAGE, "2 to 8192");

    static const struct { const char *vendor; int sign; } both[] = { { "SIEMENS", 1 }, { "Kray", -1 } };
    for (int i = 0; i < 2; i++) {                             /* moved by 4 and -5 voxels; the blob stays in the patient */
        kr_scoped(scan) s = blob("radial:spokes=40", away, both[i].vendor, both[i].sign, 1);
        assert_int_equal(kr_scan_shift(s, (const double[]){ 40, -75, 0 }), 0);
        check_blob(s, "adjoint", away, 24);
        kr_scoped(image) im = NULL;
        assert_int_equal(kr_reconstruct(&im, s, kr_recon_named("rss"), NULL, NULL, NULL, NULL, NULL), 0);
        int s_of = both[i].sign;                              /* Siemens: the image's axes run against the stored ones */
        assert_near(im->geom->position_mm[0][0], at_mm[0] + s_of * 40, 1e-9);
        assert_near(im->geom->position_mm[0][1], at_mm[1] + s_of * 75, 1e-9);
        assert_true(kr_scan_shift(s, (const double[]){ 0, 0, 3 }) < 0);
        assert_refused(KR_EUSAGE, "do not move along z");
    }
}

/* What lies beyond the image is solved for beside it, and leaves the image as if it were not there: voxels, places and brightness. */
static void test_surroundings(void **state)
{
    (void)state;
    const double away[3] = { 5, -3, 0 }, out[3] = { -16, 3, 0 };
    kr_scoped(scan) alone = blob("radial:spokes=60", away, "Kray", -1, 1);
    kr_scoped(scan) both = blob("radial:spokes=60", away, "Kray", -1, 1);
    kr_scoped(scan) beyond = blob("radial:spokes=60", out, "Kray", -1, 1);
    kr_axpy(both->data, 1, beyond->data);
    const kr_recon *m = kr_recon_named("sense");
    kr_auto char *opts = kr_alloc_zero(1, m->opts_size);
    kr_scoped(image) x = NULL;
    kr_scoped(image) t = NULL;
    assert_int_equal(kr_opt_defaults(m->opts, opts), 0);
    assert_int_equal(kr_reconstruct(&t, alone, m, opts, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(kr_reconstruct(&x, both, m, opts, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(alone->enc.encoded[0], 24);
    assert_int_equal(both->enc.encoded[0], 36);
    assert_int_equal(x->data->n[KR_X], 24);
    assert_near(x->geom->fov_mm[0], t->geom->fov_mm[0], 1e-9);
    kr_scoped(array) a = kr_array_packed(x->data);
    kr_scoped(array) b = kr_array_packed(t->data);
    double size = sqrt(kr_dot_re(b, b));
    kr_axpy(a, -1, b);
    assert_true(sqrt(kr_dot_re(a, a)) < 0.1 * size);
}

/* The same positions in other units, stated: where their range would tell another one, and per metre, which it cannot. */
static void test_trajectory_units(void **state)
{
    (void)state;
    const double away[3] = { 5, -3, 0 };
    static const struct { const char *unit; double x, y; } cases[] = {
        { "fov", 1, 1 }, { "sample", 1. / 24, 1. / 24 }, { "radians", 2 * M_PI / 24, 2 * M_PI / 24 }, { "1/m", 1 / .24, 1 / .36 }, { "rad/m", 2 * M_PI / .24, 2 * M_PI / .36 } };
    for (int i = 0; i < 5; i++) {
        kr_scoped(scan) s = blob("radial:spokes=40", away, "Kray", -1, 1);
        long points = kr_count(s->shape);
        for (long k = 0; k < points; k++) {
            KR_R(s->traj)[k] *= (float)cases[i].x;
            KR_R(s->traj)[points + k] *= (float)cases[i].y;
        }
        for (int u = 0; kr_traj_units[u]; u++)
            s->traj_unit = strcmp(kr_traj_units[u], cases[i].unit) ? s->traj_unit : kr_traj_units[u];
        check_blob(s, "adjoint", away, 24);
        assert_string_equal(s->traj_unit, "fov");
        assert_near(kr_max_abs(s->traj), 12, 1e-4);
    }
    kr_scoped(scan) s = blob("radial:spokes=40", away, "Kray", -1, 1);
    s->traj_unit = kr_traj_units[1];
    assert_true(kr_scan_trajectory(s, NULL) < 0);
    assert_refused(KR_ENUMBER, "which is not in cycles per sample: these end at 0.5");
    s->traj_unit = kr_traj_units[3];
    memset(s->enc.encoded_mm, 0, sizeof s->enc.encoded_mm);
    memset(s->enc.recon_mm, 0, sizeof s->enc.recon_mm);
    assert_true(kr_scan_trajectory(s, NULL) < 0);
    assert_refused(KR_EREFUSED, "wants the field of view");
}

static void affine_of(double a[16], kr_scan *s)
{
    const kr_prepare prepare = { .oversampling = true, .average = true };
    kr_scoped(image) im = NULL;
    if (kr_reconstruct(&im, s, kr_recon_named("rss"), NULL, &prepare, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    assert_int_equal(kr_geom_affine(im->geom, im->data->n, a), 0);
    assert_int_equal(kr_image_write(im, temp("image.h5"), "ismrmrd"), 0);        /* images are taken as they stand */
    kr_scoped(image) again = NULL;
    double b[16];
    assert_int_equal(kr_image_read(&again, temp("image.h5")), 0);
    assert_int_equal(kr_geom_affine(again->geom, again->data->n, b), 0);
    for (int i = 0; i < 12; i++)
        assert_near(a[i], b[i], 1e-4);
    unlink(temp("image.h5"));
}

/* Affines that were compared with the vendor's own images of the phantom, straight from the vendor's file and by way of ISMRMRD. */
static void test_gradient_echo(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_gre_2ch_siemens_twix.dat");
    static const double want[12] = { -1.25, 0, 0, 102.590, 0, 1.2491, -.1536, -153.849, 0, .048, 3.9971, -57.838 };
    double a[16];
    kr_scoped(scan) s = NULL;
    kr_scoped(scan) back = NULL;
    assert_int_equal(kr_scan_read(&s, shared("data/mri/phantom_gre_2ch_siemens_twix.dat"), NULL, NULL, NULL), 0);
    assert_int_equal(kr_scan_write(s, temp("gre.h5"), "ismrmrd"), 0);
    assert_int_equal(kr_scan_read(&back, temp("gre.h5"), NULL, NULL, NULL), 0);
    unlink(temp("gre.h5"));
    for (int k = 0; k < 2; k++) {
        affine_of(a, k ? back : s);
        for (int i = 0; i < 12; i++)
            assert_near(a[i], want[i], 1e-3);                /* as many digits as are given */
    }
}

static void test_coil_phantom(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    double a[16];
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_scan_read(&s, shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"), NULL, NULL, NULL), 0);
    affine_of(a, s);
    assert_near(a[0], -1.4583, 1e-4);
    assert_near(a[3], 119.952, 1e-3);
    assert_near(a[5], 1.4583, 1e-4);
    assert_near(a[7], -171.570, 1e-3);
}

/* ---- Fields of view ---- */
static void test_crop(void **state)
{
    (void)state;
    static const struct { long recon; double recon_mm, fov; long left; } cases[] = {   /* 8 points of 10 mm were measured */
        { 4, 40, 40, 4 },                                     /* half of the field of view */
        { 4, 80, 80, 8 },                                     /* half of the resolution: nothing is cut off */
        { 4, 0, 40, 4 },                                      /* unknown: voxels as measured */
        { 6, 40, 60, 6 },                                     /* finer than measured: its number of points */
        { 4, 41, 40, 4 } };                                   /* rounded */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const long n[3] = { 8, 6, 1 };
        kr_scoped(scan) s = point(n, axial, "SIEMENS", 1);
        kr_scoped(image) im = NULL;
        s->enc.recon[0] = cases[i].recon;
        s->enc.recon_mm[0] = cases[i].recon_mm;
        assert_int_equal(kr_reconstruct(&im, s, kr_recon_named("rss"), NULL, NULL, NULL, NULL, NULL), 0);
        assert_int_equal(im->data->n[0], cases[i].left);
        assert_near(im->geom->fov_mm[0], cases[i].fov, 1e-9);
        long best = 0;
        double v[3];
        for (long k = 0; k < im->data->n[0] * 6; k++)
            best = KR_R(im->data)[k] > KR_R(im->data)[best] ? k : best;
        lps(v, im->geom, im->data->n, (const long[]){ best % im->data->n[0], best / im->data->n[0], 0 });
        assert_near(v[0], -10, 1e-9);                         /* the point stays where it is */
    }
}

static void test_voxel(void **state)
{
    (void)state;
    const long n[3] = { 8, 6, 1 };
    kr_scoped(scan) s = point(n, axial, NULL, -1);
    assert_int_equal(kr_scan_voxel(s, d_mm), 0);              /* the file says the same */
    assert_true(kr_scan_voxel(s, (const double[]){ 10, 14, 5 }) < 0);
    assert_refused(KR_EREFUSED, "15 mm along y");
    assert_true(kr_scan_voxel(s, (const double[]){ 10, 0, 5 }) < 0);
    assert_refused(KR_EUSAGE, "above 0");
    for (int a = 0; a < 3; a++)
        s->enc.encoded_mm[a] = s->enc.recon_mm[a] = s->geom->fov_mm[a] = 0;
    assert_int_equal(kr_scan_voxel(s, (const double[]){ 2, 3, 4 }), 0);
    kr_scoped(image) im = NULL;
    assert_int_equal(kr_reconstruct(&im, s, kr_recon_named("rss"), NULL, NULL, NULL, NULL, NULL), 0);
    for (int a = 0; a < 3; a++)
        assert_near(im->geom->fov_mm[a] / (double)n[a], a + 2, 1e-12);
}

/* ---- The centre of k-space ---- */
/* k-space of a square, its origin at index c along y. */
static kr_scan *square(long nx, long ny)
{
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = 1);
    s->data = kr_array_new(KR_C32, s->shape);
    for (long y = ny / 2 - 7; y < ny / 2 + 4; y++)          /* 23 x 11: nothing of k-space is 0 */
        for (long x = nx / 2 - 9; x < nx / 2 + 14; x++)
            KR_C(s->data)[x + nx * y] = kr_c(1, 0);
    assert_int_equal(kr_fourier(s->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    return s;
}

static void says(const kr_scan *s, const char *words)
{
    kr_text t = { 0 };
    assert_int_equal(kr_scan_centre_check(&t, s), 0);
    if (words ? !t.len || !strstr(t.s, words) : t.len)
        fail_msg("\"%s\" where \"%s\" is wanted", t.len ? t.s : "", words ? words : "");
    kr_text_clear(&t);
}

static void test_centre(void **state)
{
    (void)state;
    for (long odd = 0; odd < 2; odd++) {
        long nx = 48 + odd, ny = 40 + odd;
        kr_scoped(scan) s = square(nx, ny);
        kr_scoped(array) truth = kr_array_copy(s->data);
        says(s, NULL);
        for (long y = 0; y < ny; y++)                         /* as an FFT without shift leaves it */
            for (long x = 0; x < nx; x++)
                KR_C(s->data)[(x + nx - nx / 2) % nx + nx * ((y + ny - ny / 2) % ny)] = KR_C(truth)[x + nx * y];
        says(s, "corners");
        assert_int_equal(kr_scan_centre(s, (const long[]){ 0, 0, -1 }), 0);
        assert_near(distance(s->data, truth), 0, 0);
        says(s, NULL);
        kr_scoped(array) image = kr_array_copy(truth);
        assert_int_equal(kr_fourier_inverse(image, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        kr_array_assign(s->data, image);
        says(s, "look like an image");
        for (int along = 1; along < 4; along++) {             /* fft without ifftshift of the image: its origin in the corner, along x, y, both */
            for (long y = 0; y < ny; y++)
                for (long x = 0; x < nx; x++)
                    KR_C(s->data)[x + nx * y] = KR_C(truth)[x + nx * y] * (float)((x * (along & 1) + y * (along >> 1)) % 2 ? -1 : 1);
            says(s, along == 1 ? "both borders along x, with nothing" : along == 2 ? "both borders along y, with nothing" : "both borders along x and y, with nothing");
            says(s, along == 3 ? "by (-1)^(x + y)" : "by (-1)^(");
        }
        for (long i = 0; i < nx * ny; i++)
            KR_C(s->data)[i] = kr_c(kr_re(KR_C(truth)[i]), 0);
        says(s, "the numbers are real");
    }
}

/* A receiver that is overdriven, and one with an offset. */
static void test_receiver(void **state)
{
    (void)state;
    kr_scoped(scan) s = square(64, 64);
    kr_scoped(array) truth = kr_array_copy(s->data);
    for (long i = 0; i < 64 * 64; i++) {
        double z[2];
        kr_rand_normal2(3, 1, (uint64_t)i, z);
        KR_C(truth)[i] += kr_c(0.01f * (float)z[0], 0.01f * (float)z[1]);
    }
    kr_array_assign(s->data, truth);
    says(s, NULL);
    double most = kr_max_abs(truth);
    for (long i = 0; i < 64 * 64; i++) {
        float re = kr_re(KR_C(truth)[i]), im = kr_im(KR_C(truth)[i]), end = (float)most / 20;
        KR_C(s->data)[i] = kr_c(fmaxf(-end, fminf(end, re)), fmaxf(-end, fminf(end, im)));
    }
    says(s, "the receiver was overdriven");
    for (long i = 0; i < 64 * 64; i++)
        KR_C(s->data)[i] = KR_C(truth)[i] + kr_c(0.05f, -0.02f);
    says(s, "share a constant");
}

/* A spike, and one channel of four a thousand times too strong; a factor of 20 is nothing unusual. */
static void test_out_of_proportion(void **state)
{
    (void)state;
    kr_scoped(scan) s = square(48, 40);
    for (int unit = -30; unit <= 20; unit += 25) {               /* whose squares single precision does not hold: nothing to tell, and a spike is one */
        kr_scoped(scan) other = square(48, 40);
        kr_scale(other->data, (float)pow(10, unit));
        says(other, NULL);
        KR_C(other->data)[10 + 48 * 31] = kr_c(0, (float)pow(10, unit + 4));
        says(other, "x = 10, y = 31");
    }
    kr_cfloat kept = KR_C(s->data)[10 + 48 * 31];
    KR_C(s->data)[10 + 48 * 31] = kr_c(0, 1e4f);
    says(s, "x = 10, y = 31");
    KR_C(s->data)[10 + 48 * 31] = kept;
    kr_scoped(scan) four = kr_scan_new();
    four->shape = KR_SHAPE([KR_X] = 48, [KR_Y] = 40, [KR_COIL] = 4);
    four->data = kr_array_new(KR_C32, four->shape);
    for (long c = 0; c < 4; c++) {
        kr_scoped(array) one = kr_array_at(four->data, KR_COIL, c);
        kr_array_assign(one, s->data);
        kr_scale(one, c == 2 ? 20 : 1);
    }
    says(four, NULL);
    kr_scoped(array) loud = kr_array_at(four->data, KR_COIL, 2);
    kr_scale(loud, 50);
    says(four, "channel 2 (of 0 to 3) is 1e+03 times");
    kr_scale(loud, 1e-3f);
    says(four, NULL);
    kr_scale(loud, 1e-4f);
    says(four, "1 of 4 channels (2, counted from 0) hold nothing");
    kr_scale(loud, 0);
    says(four, "1 of 4 channels (2, counted from 0) hold nothing");
    for (long i = 0; i < 48 * 40; i++)                        /* noise alone: 50 times the least of the others, which have none */
        KR_C(loud)[i] = kr_c((float)kr_rand_uniform(3, 1, (uint64_t)i) - 0.5f, (float)kr_rand_uniform(3, 2, (uint64_t)i) - 0.5f);
    says(four, "channel 2 (of 0 to 3) holds noise alone");
}

/* Slices and frames of which less was measured: a word, with the numbers; what random masks differ by is none. */
static void test_uneven(void **state)
{
    (void)state;
    for (int which = 0; which < 8; which++) {
        int axis = which % 2 ? KR_TIME : KR_SLICE;
        kr_scoped(scan) s = kr_scan_new();
        s->shape = KR_SHAPE([KR_X] = 8, [KR_Y] = 40);
        s->shape.n[axis] = 5;
        s->data = kr_array_new(KR_C32, s->shape);
        for (long i = 0; i < 5; i++)
            for (long y = 0; y < 40; y++) {
                bool in = y % 2 == 0 || labs(y - 20) < 4;
                if (i == 3)                                  /* another pattern; stopped at line 29; nothing at all; without its middle */
                    in = which < 2 ? y % 2 == 1 || labs(y - 20) < 5 : which < 4 ? in && y < 30 : which < 6 ? false : labs(y - 20) > 2;
                for (long x = 0; x < 8; x++)
                    KR_C(s->data)[x + 8 * (y + 40 * i)] = kr_c(in, 0);
            }
        kr_text t = { 0 };
        assert_int_equal(kr_scan_uneven(&t, s), 0);
        const char *says = which < 2 || which == 4 ? NULL : which == 2 ? "of 1 of 5 slices fewer lines were measured" : which == 3 ? "of 1 of 5 slices and frames fewer lines were measured"
                         : which == 6 ? "of 1 of 5 slices the middle of k-space was not measured" : which == 7 ? "of 1 of 5 slices and frames the middle"
                         : "of 1 of 5 slices and frames nothing was measured";      /* an empty slice is told of where lines are placed */
        if (says ? !t.len || !strstr(t.s, says) : t.len)
            fail_msg("%d: \"%s\" where \"%s\" is wanted", which, t.len ? t.s : "", says ? says : "");
        kr_text_clear(&t);
    }
}

/* The first lines are missing, and nothing says so: the rest, with its centre given, is the scan with those lines at zero. */
static void test_missing_side(void **state)
{
    (void)state;
    kr_scoped(scan) s = square(48, 40);
    kr_scoped(array) truth = kr_array_copy(s->data);
    kr_scoped(array) rest = kr_array_range(truth, KR_Y, 14, 26);
    kr_array_unref(&s->data);
    s->data = kr_array_copy(rest);
    s->shape.n[KR_Y] = 26;
    says(s, "line 6 along y");
    says(s, "--centre -,6");
    assert_true(kr_scan_centre(s, (const long[]){ -1, 26, -1 }) < 0);
    assert_refused(KR_EUSAGE, "0 to 25");
    assert_int_equal(kr_scan_centre(s, (const long[]){ -1, 6, -1 }), 0);
    assert_int_equal(s->shape.n[KR_Y], 39);                   /* 19 lines after the centre, as many before */
    assert_int_equal(s->mask->n[KR_Y], 39);
    for (long y = 0; y < 39; y++) {
        assert_near(KR_R(s->mask)[y], y >= 13, 0);
        for (long x = 0; x < 48; x++)
            {
            kr_cfloat want = y >= 13 ? KR_C(truth)[x + 48 * (y + 1)] : kr_c(0, 0);
            assert_near(kr_re(KR_C(s->data)[x + 48 * y]), kr_re(want), 0);
            assert_near(kr_im(KR_C(s->data)[x + 48 * y]), kr_im(want), 0);
        }
    }
    s->in_image = KR_ON(KR_Y);
    assert_true(kr_scan_centre(s, (const long[]){ -1, 3, -1 }) < 0);
    assert_refused(KR_EREFUSED, "in image space");
}

/* ---- What lines say of the grid ---- */
static kr_scan *placed(const char *vendor, const kr_encoding *enc, kr_line *line, long count)
{
    static kr_cfloat samples[8];
    kr_scan *s = kr_scan_new();
    if (vendor)
        assert_int_equal(kr_meta_set(s->meta, "vendor", "%s", vendor), 0);
    s->enc = *enc;
    for (int i = 0; i < 8; i++)
        samples[i] = kr_c(1, 0);
    kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, count, enc, 1, false, 0, 0 });
    assert_non_null(p);
    for (long i = 0; i < count; i++) {
        const kr_cfloat *at = samples;
        assert_int_equal(kr_placing_put(p, i, 1, &at, NULL), 0);
    }
    assert_int_equal(kr_placing_end(&p), 0);
    return s;
}

static void test_lines(void **state)
{
    (void)state;
    kr_line line[10];
    kr_encoding enc = { .encoded = { 8, 16, 1 }, .recon = { 8, 16, 1 } };
    enc.limit[1].known = true;
    enc.limit[1].max = 9;
    enc.limit[1].centre = 5;                                  /* the middle of the ten lines: wrong */
    for (int i = 0; i < 10; i++)
        line[i] = (kr_line){ .samples = 8, .channels = 1, .center_sample = 4, .ky = (uint16_t)i, .user = { [5] = 2 } };
    kr_scoped(scan) s = placed("SIEMENS", &enc, line, 10);
    assert_non_null(strstr(s->notes.s, "at 5 along y, the 10 lines themselves (user[5]) at 2"));
    assert_near(KR_R(s->mask)[6], 1, 0);
    assert_near(KR_R(s->mask)[5], 0, 0);                      /* counter 2 is at 16/2 */
    kr_scoped(scan) other = placed("GE", &enc, line, 10);     /* others keep other things there */
    assert_near(KR_R(other->mask)[3], 1, 0);
    line[3].user[5] = 3;
    kr_scoped(scan) quarrel = placed("SIEMENS", &enc, line, 10);
    assert_near(KR_R(quarrel->mask)[3], 1, 0);
    /* A depth that no line uses */
    enc.encoded[2] = enc.recon[2] = 4;
    enc.limit[2].known = true;
    enc.limit[2].centre = 2;
    kr_scoped(scan) flat = placed("GE", &enc, line, 10);
    assert_string_equal(kr_shape_text(flat->shape), "{x=8 y=16}");
    assert_non_null(strstr(flat->notes.s, "announces 4 steps along z"));
    line[9].kz = 1;
    kr_scoped(scan) deep = placed("GE", &enc, line, 10);
    assert_string_equal(kr_shape_text(deep->shape), "{x=8 y=16 z=4}");
}

/* ---- Time between frames ---- */
static void test_frames(void **state)
{
    (void)state;
    static const struct { const char *vendor; double tr_ms; int tick[4]; const char *want; } cases[] = {   /* ticks to the next line; the first of each frame */
        { "SIEMENS", 0, { 20, 100, 740, 1380 }, "1600" }, { "ACME", 50, { 20, 100, 740, 1380 }, "1600" }, { "ACME", 0, { 20, 100, 740, 1380 }, NULL },
        { "ACME", 20, { 20, 100, 740, 1380 }, NULL }, { "SIEMENS", 50, { 20, 100, 740, 1580 }, NULL }, { "SIEMENS", 50, { 0, 0, 0, 0 }, NULL },
        { "SIEMENS", 50, { 20, 100, 739, 1381 }, "1601.25" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kr_line line[12];
        kr_encoding enc = { .encoded = { 8, 4, 1 }, .recon = { 8, 4, 1 } };
        for (int k = 0; k < 12; k++)
            line[k] = (kr_line){ .samples = 8, .channels = 1, .center_sample = 4, .ky = (uint16_t)(k % 4), .repetition = (uint16_t)(k / 4),
                                 .time_stamp = (uint32_t)(cases[i].tick[1 + k / 4] + k % 4 * cases[i].tick[0]) };
        kr_scan *s = kr_scan_new();
        if (cases[i].tr_ms > 0)
            assert_int_equal(kr_meta_set(s->meta, "tr_ms", "%g", cases[i].tr_ms), 0);
        assert_int_equal(kr_meta_set(s->meta, "vendor", "%s", cases[i].vendor), 0);
        s->enc = enc;
        kr_placing *p = kr_placing_new(s, &(kr_placing_plan){ line, 12, &enc, 1, true, 0, 0 });
        assert_non_null(p);
        kr_placing_unref(&p);
        const char *frame = kr_meta_get(s->meta, "frame_ms");
        assert_int_equal(!frame, !cases[i].want);
        if (frame)
            assert_string_equal(frame, cases[i].want);
        kr_scan_unref(&s);
    }
}

/* Two seconds stay two seconds; what is unknown is not one second. */
static void test_nifti_time(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4, [KR_TIME] = 3));
        kr_fill(a, 1);
        kr_scoped(meta) m = kr_meta_new();
        assert_int_equal(kr_meta_set(m, "tr_ms", "50"), 0);
        if (k)
            assert_int_equal(kr_meta_set(m, "frame_ms", "2000"), 0);
        kr_scoped(image) im = kr_image_new(a, NULL, m);
        float step[2];
        for (int turn = 0; turn < 2; turn++) {               /* once more from what was read */
            kr_scoped(image) back = NULL;
            assert_int_equal(kr_image_write(im, temp("time.nii"), NULL), 0);
            assert_int_equal(kr_image_read(&back, temp("time.nii")), 0);
            FILE *f = fopen(temp("time.nii"), "rb");
            assert_non_null(f);
            assert_int_equal(fseek(f, 76 + 4 * 4, SEEK_SET), 0);   /* pixdim[4] */
            assert_int_equal(fread(&step[turn], 4, 1, f), 1);
            fclose(f);
            kr_image_unref(&im);
            im = back;
            back = NULL;
        }
        assert_near(step[0], k ? 2 : 0, 0);
        assert_near(step[1], k ? 2 : 0, 0);
    }
    unlink(temp("time.nii"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sign), cmocka_unit_test(test_other_vendors), cmocka_unit_test(test_which_axes), cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_trajectory_fields), cmocka_unit_test(test_surroundings), cmocka_unit_test(test_trajectory_units),
        cmocka_unit_test(test_gradient_echo), cmocka_unit_test(test_coil_phantom), cmocka_unit_test(test_crop), cmocka_unit_test(test_voxel),
        cmocka_unit_test(test_centre), cmocka_unit_test(test_receiver), cmocka_unit_test(test_out_of_proportion), cmocka_unit_test(test_uneven), cmocka_unit_test(test_missing_side), cmocka_unit_test(test_lines), cmocka_unit_test(test_frames), cmocka_unit_test(test_nifti_time) };
    return cmocka_run_group_tests_name("where", tests, NULL, NULL);
}
