/* test_phantom.c: phantoms and coils against formulas, noise against what it was asked to be. */
#include "../test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/trajectory.h"

static kr_simulate small(long n, long coils)
{
    kr_simulate how = kr_simulate_preset;
    how.n[0] = how.n[1] = n;
    how.slices = 1;
    how.coils = coils;
    how.snr = 0;
    return how;
}

static kr_scan *measured(const char *phantom, const kr_simulate *how)
{
    kr_scan *s = NULL;
    const kr_phantom *p = kr_phantom_named(phantom);
    assert_non_null(p);
    if (p->measure(&s, how, NULL))
        fail_msg("%s: %s", phantom, kr_error());
    return s;
}

/* ---- The object: k-space of ellipses, 2 pi a b J1(t) / t with t = 2 pi |(a k_u, b k_v)| (Bracewell) ---- */
static void ellipse(double sum[2], const double e[6], double kx, double ky)
{
    double t = e[5] * M_PI / 180, a = e[1], b = e[2], u = kx * cos(t) + ky * sin(t), v = -kx * sin(t) + ky * cos(t);
    double q = 2 * M_PI * hypot(a * u, b * v), F = e[0] * 2 * M_PI * a * b * (q > 1e-9 ? j1(q) / q : 0.5);
    double p = -2 * M_PI * (kx * e[3] + ky * e[4]);
    sum[0] += F * cos(p);
    sum[1] += F * sin(p);
}

/* value, half axes, centre, angle: Toft's table, y to the front. */
static const double part[10][6] = { { 1, .69, .92, 0, 0, 0 }, { -.8, .6624, .874, 0, -.0184, 0 }, { -.2, .11, .31, .22, 0, -18 },
        { -.2, .16, .41, -.22, 0, 18 }, { .1, .21, .25, 0, .35, 0 }, { .1, .046, .046, 0, .1, 0 }, { .1, .046, .046, 0, -.1, 0 },
        { .1, .046, .023, -.08, -.605, 0 }, { .1, .023, .023, 0, -.606, 0 }, { .1, .023, .046, .06, -.605, 0 } };

static void shepplogan_is_its_formula(void **state)
{
    (void)state;
    static const long sizes[][2] = { { 128, 128 }, { 90, 75 } };
    for (int t = 0; t < 2; t++) {
        kr_simulate how = small(sizes[t][0], 1);
        how.n[1] = sizes[t][1];
        how.phase = false;
        kr_scan *s = measured("shepplogan", &how);
        kr_scoped(array) formula = kr_array_like(s->data);
        long nx = s->data->n[KR_X], ny = s->data->n[KR_Y];
        double fov = 2, scale = (double)how.n[0] * (double)ny / (fov * fov) / sqrt((double)(nx * ny));
        for (long j = 0; j < ny; j++)
            for (long i = 0; i < nx; i++) {
                double sum[2] = { 0, 0 };
                for (int e = 0; e < 10; e++)
                    ellipse(sum, part[e], (double)(i - nx / 2) / (2 * fov), -(double)(j - ny / 2) / fov);
                KR_C(formula)[i + j * nx] = kr_c((float)(scale * sum[0]), (float)(scale * sum[1]));
            }
        /* Lines SUB = 8 times finer than the fine grid leave 1e-3 of edges as sharp as these (0.0011 and 0.0019 measured). */
        assert_true(distance(s->data, formula) < 3e-3);
        kr_scan_unref(&s);
    }
}


/* The same between the points of a grid: along trajectories, in frames one behind the other. */
static void shepplogan_along_trajectories(void **state)
{
    (void)state;
    static const char *const specs[] = { "radial:spokes=21,angle=golden,frames=3", "spiral:interleaves=5,samples=300", "rosette:shots=9,samples=200" };
    for (int t = 0; t < 3; t++) {
        kr_simulate how = small(96, 1);
        kr_traj_want want = { .n = { how.n[0], how.n[1], 1 }, .fov_mm = { 220, 220, 5 } };
        kr_scoped(array) k = kr_traj_new(specs[t], &want);
        assert_non_null(k);
        how.phase = false;
        how.traj = k;
        kr_scan *s = measured("shepplogan", &how);
        kr_scoped(array) formula = kr_array_like(s->data);
        long n = kr_count(kr_array_shape(s->data));
        assert_int_equal(2 * n, kr_count(kr_array_shape(k)));
        assert_int_equal(s->data->n[KR_TIME], t ? 1 : 3);
        double scale = (double)how.n[0] * (double)how.n[1] / 4 / sqrt((double)(how.n[0] * how.n[1]));
        for (long i = 0; i < n; i++) {
            double sum[2] = { 0, 0 };
            for (int e = 0; e < 10; e++)
                ellipse(sum, part[e], (double)KR_R(k)[i] / 2, -(double)KR_R(k)[n + i] / 2);
            KR_C(formula)[i] = kr_c((float)(scale * sum[0]), (float)(scale * sum[1]));
        }
        assert_true(distance(s->data, formula) < 3e-3);
        kr_scan_unref(&s);
    }
}

/* A head that moves, on a grid and along spokes: the formula at lines turned back, times the phase of the shift. */
static void motion_is_its_formula(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        kr_simulate how = small(96, 1);
        kr_traj_want want = { .n = { how.n[0], how.n[1], 1 }, .fov_mm = { 220, 220, 5 } };
        kr_scoped(array) k = t ? kr_traj_new("radial:spokes=40,angle=golden", &want) : NULL;
        how.phase = false;
        how.traj = k;
        how.fov_mm[0] = how.fov_mm[1] = 220;
        how.motion = (kr_motion){ 3, 12, 9, 5 };
        kr_scan *s = measured("shepplogan", &how);
        const kr_array *data = s->data;
        kr_scoped(array) formula = kr_array_like(data);
        long n = kr_count(kr_array_shape(data)), each = t ? data->n[KR_SAMPLE] : data->n[KR_X], lines = n / each, still = 0;
        double scale = (t ? 1 : sqrt(0.5)) * (double)how.n[0] * (double)how.n[1] / 4 / sqrt((double)(how.n[0] * how.n[1]));
        for (long i = 0; i < n; i++) {
            double sum[2] = { 0, 0 }, angle, shift[2], u = t ? (double)KR_R(k)[i] : (double)(i % each - each / 2) / 2, v = t ? (double)KR_R(k)[n + i] : (double)(i / each - lines / 2);
            kr_motion_pose(&angle, shift, &how.motion, 0, i / each, lines);
            still += angle == 0;
            for (int e = 0; e < 10; e++)
                ellipse(sum, part[e], (u * cos(angle) + v * sin(angle)) / 2, -(v * cos(angle) - u * sin(angle)) / 2);
            double p = -2 * M_PI * (u * shift[0] + v * shift[1]) / 220;
            KR_C(formula)[i] = kr_c((float)(scale * (sum[0] * cos(p) - sum[1] * sin(p))), (float)(scale * (sum[0] * sin(p) + sum[1] * cos(p))));
        }
        assert_true(still > 0 && still < n);                             /* the pose of the middle line, and others */
        double off = distance(data, formula);
        print_message("motion %s: %.1e\n", t ? "along spokes" : "on a grid", off);
        assert_true(off < 3e-3);
        kr_scan_unref(&s);
    }
    /* Coils stay where they are: motion of no size is none, and a shift is not that of coils that come along. */
    kr_simulate how = small(64, 4);
    kr_scan *still = measured("brain", &how);
    how.motion = (kr_motion){ 2, 0, 0, 1 };
    kr_scan *none = measured("brain", &how);
    assert_true(distance(none->data, still->data) < 2e-5);
    how.motion = (kr_motion){ 2, 0, 8, 1 };
    kr_scan *moved = measured("brain", &how);
    assert_true(distance(moved->data, still->data) > 0.1);
    assert_true(distance(moved->reference->data, still->reference->data) <= 0);
    int threads = kr_threads();
    kr_threads_set(1);
    kr_scan *one = measured("brain", &how);
    kr_threads_set(3);
    kr_scan *three = measured("brain", &how);
    kr_threads_set(threads);
    assert_memory_equal(one->data->data, three->data->data, (size_t)kr_count(one->shape) * sizeof(kr_cfloat));
    how.n[2] = 16;
    kr_scan *bad = NULL;
    assert_int_not_equal(kr_phantom_named("brain")->measure(&bad, &how, NULL), 0);
    assert_refused(KR_EREFUSED, "not of volumes");
    kr_scan_unref(&still); kr_scan_unref(&none); kr_scan_unref(&moved); kr_scan_unref(&one); kr_scan_unref(&three);
}

/* ---- Coils ---- */
static void field_on_the_axis(void **state)
{
    (void)state;
    kr_loop loop = { { 10, -20, 30 }, { 0.6, 0, 0.8 }, 45 };
    for (double h = -200; h <= 200; h += 25) {
        double at[3] = { 10 + 0.6 * h, -20, 30 + 0.8 * h }, B[3];
        kr_loop_field(&loop, at, B);
        double axial = 2 * M_PI * 45 * 45 / pow(45 * 45 + h * h, 1.5);      /* mu0 I a^2 / 2 (a^2 + h^2)^(3/2) */
        assert_near(B[0], 0.6 * axial, 1e-9 * axial);
        assert_near(B[1], 0, 1e-9 * axial);
        assert_near(B[2], 0.8 * axial, 1e-9 * axial);
    }
}

/* Anywhere: the integral of dl x r / r^3 over 4096 chords; on a smooth closed curve the midpoint rule is exact to rounding. */
static void field_is_biot_and_savart(void **state)
{
    (void)state;
    double n[3] = { 0.48, -0.6, 0.64 }, u[3] = { 0.8, 0, -0.6 }, v[3], a = 60;
    for (int k = 0; k < 3; k++)
        v[k] = n[(k + 1) % 3] * u[(k + 2) % 3] - n[(k + 2) % 3] * u[(k + 1) % 3];
    kr_loop loop = { { 100, 50, -20 }, { n[0], n[1], n[2] }, a };
    for (int p = 0; p < 40; p++) {
        double at[3], B[3], sum[3] = { 0 };
        for (int k = 0; k < 3; k++)
            at[k] = 240 * (kr_rand_uniform(5, (uint64_t)k, (uint64_t)p) - 0.5);
        kr_loop_field(&loop, at, B);
        for (int i = 0; i < 4096; i++) {
            double t = 2 * M_PI * (i + 0.5) / 4096, dl[3], r[3], r2 = 0;
            for (int k = 0; k < 3; k++) {
                dl[k] = a * (-sin(t) * u[k] + cos(t) * v[k]) * 2 * M_PI / 4096;
                r[k] = at[k] - loop.centre_mm[k] - a * (cos(t) * u[k] + sin(t) * v[k]);
                r2 += r[k] * r[k];
            }
            for (int k = 0; k < 3; k++)
                sum[k] += (dl[(k + 1) % 3] * r[(k + 2) % 3] - dl[(k + 2) % 3] * r[(k + 1) % 3]) / (r2 * sqrt(r2));
        }
        double size = sqrt(sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]);
        for (int k = 0; k < 3; k++)
            assert_near(B[k], sum[k], 1e-8 * size);
    }
}

static void maps_are_the_loops(void **state)
{
    (void)state;
    static const long counts[] = { 2, 3, 8, 9, 12, 16, 32, 64 };
    long n[3] = { 24, 20, 3 };
    double fov[3] = { 240, 200, 90 };
    for (size_t t = 0; t < sizeof counts / sizeof *counts; t++) {
        kr_loop loop[64];
        kr_phantom_loops(loop, counts[t], fov);
        for (long i = 0; i < counts[t]; i++) {
            const double *c = loop[i].centre_mm, *d = loop[i].normal;
            assert_near(d[0] * d[0] + d[1] * d[1] + d[2] * d[2], 1, 1e-12);
            assert_true(c[0] * c[0] + c[1] * c[1] + c[2] * c[2] > 139 * 139 && loop[i].radius_mm > 10);
            for (long j = 0; j < i; j++)           /* no two in one place */
                assert_true(hypot(hypot(c[0] - loop[j].centre_mm[0], c[1] - loop[j].centre_mm[1]), c[2] - loop[j].centre_mm[2]) > 20);
        }
        kr_scoped(array) maps = kr_phantom_coils(n, fov, 5, counts[t]);
        assert_non_null(maps);
        assert_true(kr_all_finite(maps));
        double centre = 0;
        for (long i = 0; i < counts[t]; i++) {
            double B[3];
            kr_loop_field(&loop[i], (double[3]){ 0, 0, 0 }, B);
            centre += B[0] * B[0] + B[1] * B[1];
        }
        for (long c = 0; c < counts[t]; c++)
            for (int p = 0; p < 20; p++) {
                long i = 4 + p % 16, j = 5 + p % 10, k = p % 3;
                double B[3], at[3] = { (double)(i - 12) * 10, (double)(j - 10) * 10, 5 + (double)(k - 1) * 30 };
                kr_loop_field(&loop[c], at, B);
                kr_cfloat s = KR_C(maps)[i + n[0] * (j + n[1] * (k + n[2] * c))];
                assert_near(kr_re(s), B[0] / sqrt(centre), 1e-6);
                assert_near(kr_im(s), -B[1] / sqrt(centre), 1e-6);
            }
    }
    kr_scoped(array) one = kr_phantom_coils(n, fov, 0, 1);
    assert_near(kr_norm(one), sqrt(24. * 20 * 3), 1e-4);
}

/* Neighbouring pixels inside the head differ little, and the sum of squares is 1 at the isocentre. */
static void maps_are_smooth(void **state)
{
    (void)state;
    long n[3] = { 240, 240, 1 };
    kr_scoped(array) maps = kr_phantom_coils(n, (double[3]){ 240, 240, 5 }, 0, 12);
    kr_scoped(array) rss = kr_rss(maps, KR_COIL);
    assert_near(KR_R(rss)[120 + 240 * 120], 1, 1e-5);
    double most = 0, largest = 0;
    for (long c = 0; c < 12; c++)
        for (long j = 20; j < 220; j++)
            for (long i = 40; i < 200; i++) {
                const kr_cfloat *s = KR_C(maps) + i + 240 * (j + 240 * c);
                kr_cfloat bend = s[-1] + s[1] - 2 * s[0];
                most = fmax(most, sqrt(kr_cabs2(bend)));
                largest = fmax(largest, sqrt(kr_cabs2(s[0])));
            }
    assert_true(most < 0.01 * largest);            /* second difference over 1 mm; fields vary over the loops' 40 mm */
}

/* ---- Noise ---- */
static void noise_has_the_stated_covariance(void **state)
{
    (void)state;
    kr_simulate how = small(64, 8);
    how.snr = 20;
    how.noise_correlation = 0.4;
    kr_scan *s = measured("shepplogan", &how);
    kr_scoped(array) C = kr_phantom_covariance(8, (double[3]){ 220, 220, 5 }, 0.4);
    long n = s->noise->n[KR_SAMPLE];
    assert_int_equal(s->noise->n[KR_COIL], 8);
    double trace = 0, trace_C = 0;
    for (int i = 0; i < 8; i++) {
        trace_C += kr_re(KR_C(C)[9 * i]);
        for (long t = 0; t < n; t++)
            trace += kr_cabs2(KR_C(s->noise)[t + n * i]) / (double)n;
    }
    assert_near(trace_C, 8, 1e-5);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) {
            double re = 0, im = 0;
            for (long t = 0; t < n; t++) {
                kr_cfloat p = kr_cmulc(KR_C(s->noise)[t + n * i], KR_C(s->noise)[t + n * j]);
                re += kr_re(p) / (double)n;
                im += kr_im(p) / (double)n;
            }
            /* An entry's standard error is at most sqrt(C_ii C_jj / n), and the largest of 128 stays below 5 of them. */
            double most = 5 * 1.2 / sqrt((double)n);
            assert_near(re * 8 / trace, kr_re(KR_C(C)[i + 8 * j]), most);
            assert_near(im * 8 / trace, kr_im(KR_C(C)[i + 8 * j]), most);
        }
    assert_near(kr_re(KR_C(C)[8]), 0.4 * cos(M_PI / 4), 0.1);      /* neighbours in a ring of eight; gains within 10 % */
    /* The same noise in the data, and white along k-space. */
    how.snr = 0;
    kr_scan *clean = measured("shepplogan", &how);
    kr_axpy(s->data, -1, clean->data);
    double power = kr_norm(s->data) * kr_norm(s->data) / (double)kr_count(s->shape);
    assert_near(power / (trace / 8), 1, 5 * sqrt(2.0 / 65536 + 2.0 / 131072));
    kr_cfloat *d = KR_C(s->data);
    double next = 0;
    for (long i = 0; i + 1 < kr_count(s->shape); i++)
        next += kr_re(kr_cmulc(d[i], d[i + 1]));
    assert_true(fabs(next) < 5 * sqrt(65536.) * power);
    kr_scan_unref(&s);
    kr_scan_unref(&clean);
}

/* RSS of the coil images on the recon grid. */
static kr_array *combined(const kr_scan *s)
{
    kr_scoped(array) x = kr_array_copy(s->data);
    if (kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)))
        fail();
    kr_scoped(array) middle = kr_array_crop(x, KR_X, s->enc.recon[0]);
    kr_scoped(array) packed = kr_array_packed(middle);
    return kr_rss(packed, KR_COIL);
}

static void snr_is_as_stated(void **state)
{
    (void)state;
    kr_simulate how = small(96, 6);
    how.slices = 2;
    how.snr = 40;
    kr_scan *s = measured("shepplogan", &how);
    kr_scoped(array) image = combined(s);
    const kr_array *truth = s->reference->data;
    assert_true(kr_shape_equal(kr_array_shape(image), kr_array_shape(truth)));
    double limit = 0.1 * kr_max_abs(truth), signal = 0, noise = 0;
    long count = 0;
    for (long i = 0; i < 96 * 96 * 2; i++)
        if (KR_R(truth)[i] > limit) {
            double d = KR_R(image)[i] - KR_R(truth)[i];
            signal += KR_R(truth)[i];
            noise += d * d;
            count++;
        }
    /* Root of the mean square stands for the mean of the standard deviation: it varies little; sampling error 1 %. */
    assert_near(signal / (double)count / sqrt(noise / (double)count), 40, 2);
    kr_scan_unref(&s);
}

/* ---- Scans ---- */
static void same_on_any_number_of_threads(void **state)
{
    (void)state;
    int threads = kr_threads();
    for (int k = 0; kr_phantoms[k]; k++) {
        if (!strcmp(kr_phantoms[k]->name, "volume"))
            continue;
        char hex[3][65];
        for (int t = 0; t < 3; t++) {
            kr_simulate how = small(48, 5);
            how.slices = 2;
            how.snr = 10;
            how.seed = 7;
            kr_threads_set(t + 1);
            kr_scan *s = measured(kr_phantoms[k]->name, &how);
            kr_digest(s->data->data, (size_t)kr_count(s->shape) * 8, hex[t]);
            kr_scan_unref(&s);
        }
        assert_string_equal(hex[0], hex[1]);
        assert_string_equal(hex[0], hex[2]);
    }
    kr_threads_set(threads);
}

static void every_phantom_and_contrast(void **state)
{
    (void)state;
    static const char *const contrast[] = { "t1", "t2", "pd", "flair" };
    for (int k = 0; kr_phantoms[k]; k++)
        for (int c = 0; c < 4; c++)
            for (int solid = 0; solid < 2; solid++) {
                if (!strcmp(kr_phantoms[k]->name, "volume"))
                    continue;
                kr_simulate how = small(40, 3);
                how.contrast = contrast[c];
                how.n[1] = 36;
                how.n[2] = solid ? 12 : 1;
                how.slices = solid ? 1 : 3;
                kr_scan *s = measured(kr_phantoms[k]->name, &how);
                kr_shape wanted = KR_SHAPE([KR_X] = 80, [KR_Y] = 36, [KR_Z] = solid ? 12 : 1, [KR_COIL] = 3, [KR_SLICE] = solid ? 1 : 3);
                assert_true(kr_shape_equal(kr_array_shape(s->data), wanted));
                assert_int_equal(kr_scan_check(s), 0);
                /* The reference is the image of the full noiseless data. */
                kr_scoped(array) image = combined(s);
                assert_true(distance(image, s->reference->data) < 1e-5);
                assert_int_equal(s->geom->slices, solid ? 1 : 3);
                assert_near(s->geom->read_dir[0], 1, 0);
                assert_near(s->enc.encoded_mm[0], 2 * s->enc.recon_mm[0], 1e-9);
                kr_scan_unref(&s);
            }
}

/* Oversampling changes the ringing that wraps around the field of view, and half a frequency at the edge of k-space:
 * 1 % of a head that touches its edge. Noise per pixel and scale stay. */
static void oversampling_leaves_the_image(void **state)
{
    (void)state;
    kr_simulate how = small(64, 4);
    kr_scan *a = measured("shepplogan", &how);
    how.oversampling = false;
    kr_scan *b = measured("shepplogan", &how);
    assert_int_equal(b->data->n[KR_X], 64);
    assert_true(distance(a->reference->data, b->reference->data) < 2e-2);
    kr_scan_unref(&a);
    kr_scan_unref(&b);
}

/* The brain shows its tissues where an atlas has them: in a slice 18 mm above the commissures, fluid in the atrium of the
 * ventricle, white matter in the corona radiata, and a lesion, in the ratios that the signal equation gives. */
static double expected(int c, double pd, double t1, double t2)
{
    static const double tr[] = { 2300, 5000, 3500, 9000 }, te[] = { 3, 100, 15, 110 }, ti[] = { 1100, 0, 0, 2380 };
    double E = exp(-tr[c] / t1);
    return pd * fabs(ti[c] > 0 ? 1 - 2 * exp(-ti[c] / t1) + E : 1 - E) * exp(-te[c] / t2);
}

static double seen(const kr_scan *s, double x, double y)
{
    return KR_R(s->reference->data)[lround(x * 128 / 240) + 64 + 128 * (lround(-(y + 17) * 128 / 240) + 64)];
}

static void brain_shows_its_tissues(void **state)
{
    (void)state;
    static const char *const contrast[] = { "t1", "t2", "pd", "flair" };
    for (int c = 0; c < 4; c++) {
        kr_simulate how = small(128, 1);
        how.contrast = contrast[c];
        kr_scan *s = measured("brain", &how);
        double white = seen(s, 25, -5), fluid = seen(s, 23, -42), lesion = seen(s, -33, -38);
        /* 0.03: ringing of the sharp borders and the tissues' own texture. */
        assert_near(fluid / white, expected(c, 1.00, 4163, 1500) / expected(c, 0.70, 832, 79.6), 0.03 * fmax(1, fluid / white));
        assert_near(lesion / white, expected(c, 0.86, 1450, 170) / expected(c, 0.70, 832, 79.6), 0.03 * fmax(1, lesion / white));
        assert_true(seen(s, 110, 90) < 0.03 * white);            /* air, up to ringing */
        kr_scan_unref(&s);
    }
}

/* A file of an oblique left-handed grid that holds a Gaussian around a place in the patient: the scan, axial, shows it at
 * that place, as high and as wide. */
static const char *volume_file(int dims)
{
    static char path[64];
    static const double d[3][3] = { { 0.8, 0.6, 0 }, { -0.36, 0.48, 0.8 }, { -0.48, 0.64, -0.6 } };
    snprintf(path, sizeof path, "/tmp/kray-volume-%ld.nii.gz", (long)getpid());
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 70, [KR_Y] = 64, [KR_Z] = 60, [KR_TIME] = dims == 4 ? 2 : 1));
    kr_geom *g = kr_geom_new(1);
    double mm[3] = { 2, 1.8, 2.2 };
    for (int k = 0; k < 3; k++) {
        g->read_dir[k] = d[0][k];
        g->phase_dir[k] = d[1][k];
        g->slice_dir[k] = d[2][k];
        g->fov_mm[k] = mm[k] * (double)a->n[k];
        g->position_mm[0][k] = 12 - 7 * k;
    }
    g->known = true;
    for (long i = 0; i < 70 * 64 * 60; i++) {
        double v[3] = { (double)(i % 70 - 35) * mm[0], (double)(i / 70 % 64 - 32) * mm[1], (double)(i / 4480 - 30) * mm[2] }, r2 = 0;
        for (int k = 0; k < 3; k++) {
            double at = g->position_mm[0][k] + v[0] * d[0][k] + v[1] * d[1][k] + v[2] * d[2][k] - (k == 0 ? 20 : k == 1 ? -10 : 5);
            r2 += at * at;
        }
        KR_R(a)[i] = (float)(100 * exp(-r2 / (2 * 12 * 12)));
    }
    kr_image *im = kr_image_new(a, g, NULL);
    assert_int_equal(kr_image_write(im, path, NULL), 0);
    kr_image_unref(&im);
    kr_geom_unref(&g);
    return path;
}

static void volume_is_where_the_file_says(void **state)
{
    (void)state;
    kr_simulate how = small(64, 1);
    how.volume = volume_file(3);
    how.phase = false;
    for (int solid = 0; solid < 2; solid++) {
        how.n[2] = solid ? 48 : 1;
        how.slices = solid ? 1 : 5;
        kr_scan *s = measured("volume", &how);
        const kr_geom *g = s->geom;
        long nz = solid ? 48 : 5;
        double worst = 0, most = 0;
        for (long k = 0; k < nz; k++)
            for (long j = 0; j < 64; j++)
                for (long i = 0; i < 64; i++) {
                    double z = solid ? g->position_mm[0][2] + (double)(k - 24) * g->fov_mm[2] / 48 : g->position_mm[k][2];
                    double x = g->position_mm[0][0] + (double)(i - 32) * g->fov_mm[0] / 64, y = g->position_mm[0][1] + (double)(j - 32) * g->fov_mm[1] / 64;
                    double r2 = (x - 20) * (x - 20) + (y + 10) * (y + 10) + (z - 5) * (z - 5);
                    worst = fmax(worst, fabs(KR_R(s->reference->data)[i + 64 * (j + 64 * k)] - 100 * exp(-r2 / 288)));
                    most = fmax(most, KR_R(s->reference->data)[i + 64 * (j + 64 * k)]);
                }
        /* A slice 5 mm thick lowers the top by 5^2 / 24 / 12^2 = 0.7 %; cubic curves between 2 mm voxels miss 0.1 %. */
        assert_true(most > 90);
        assert_true(worst < (solid ? 0.3 : 1.2));
        kr_scan_unref(&s);
    }
    unlink(how.volume);
    how.volume = volume_file(4);
    kr_scan *s = NULL;
    assert_int_equal(kr_phantom_named("volume")->measure(&s, &how, NULL), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "{x y z}");
    unlink(how.volume);
    assert_int_equal(kr_phantom_named("volume")->measure(&s, &how, NULL), KR_EFILE);
    how.volume = NULL;
    assert_int_equal(kr_phantom_named("volume")->measure(&s, &how, NULL), KR_EUSAGE);
    kr_error_clear();
}

static void refusals(void **state)
{
    (void)state;
    kr_scan *s = NULL;
    const kr_phantom *p = kr_phantom_named("shepplogan");
    struct { kr_simulate how; const char *words; } bad[] = {
        { small(4, 8), "matrix of 4" }, { small(5000, 8), "matrix of 5000" }, { small(64, 0), "0 coils" }, { small(64, 1000), "1000 coils" },
        { small(64, 8), "slices" }, { small(64, 8), "SNR" }, { small(64, 8), "field of view" }, { small(64, 8), "correlation" },
        { small(64, 8), "one slab" }, { small(64, 8), "gap" } };
    bad[4].how.slices = 0;
    bad[5].how.snr = NAN;
    bad[6].how.fov_mm[1] = -220;
    bad[7].how.noise_correlation = 1;
    bad[8].how.n[2] = 16;
    bad[8].how.slices = 2;
    bad[9].how.gap_mm = -1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(p->measure(&s, &bad[i].how, NULL), KR_EREFUSED);
        assert_null(s);
        assert_refused(KR_EREFUSED, bad[i].words);
    }
    kr_simulate odd = small(64, 2);
    odd.contrast = "t7";
    assert_int_equal(kr_phantom_named("brain")->measure(&s, &odd, NULL), KR_EUSAGE);
    assert_refused(KR_EUSAGE, "'t7'");
    volatile int stop = 1;
    kr_simulate how = small(64, 2);
    assert_int_equal(p->measure(&s, &how, &(kr_trace){ .stop = &stop }), KR_ESTOPPED);
    assert_null(kr_phantom_named("brian"));
    assert_refused(KR_EUSAGE, "known are");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shepplogan_is_its_formula), cmocka_unit_test(shepplogan_along_trajectories), cmocka_unit_test(motion_is_its_formula), cmocka_unit_test(field_on_the_axis), cmocka_unit_test(field_is_biot_and_savart),
        cmocka_unit_test(maps_are_the_loops), cmocka_unit_test(maps_are_smooth), cmocka_unit_test(noise_has_the_stated_covariance),
        cmocka_unit_test(snr_is_as_stated), cmocka_unit_test(same_on_any_number_of_threads), cmocka_unit_test(every_phantom_and_contrast),
        cmocka_unit_test(oversampling_leaves_the_image), cmocka_unit_test(brain_shows_its_tissues), cmocka_unit_test(volume_is_where_the_file_says),
        cmocka_unit_test(refusals) };
    return cmocka_run_group_tests_name("phantom", tests, NULL, NULL);
}
