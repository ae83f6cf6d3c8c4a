/* test_mask.c: the random streams and sampling masks of the published code, to the point; the properties of the others;
 * finding, thinning out and describing what was measured. */
#include "test.h"
#include "kray/scan.h"
#include "mt19937.h"
#include <hdf5.h>

#define GOLDEN "golden/masks_golden.h5"

/* ---- Reading the golden file ---- */
static hid_t golden;

static int open_golden(void **state)
{
    (void)state;
    golden = access(shared(GOLDEN), F_OK) ? -1 : H5Fopen(shared(GOLDEN), H5F_ACC_RDONLY, H5P_DEFAULT);
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    if (golden >= 0)
        H5Fclose(golden);
    return 0;
}

static long numbers(const char *path, double *out, long room)      /* how many, in C order */
{
    hid_t d = H5Dopen(golden, path, H5P_DEFAULT), s = H5Dget_space(d);
    long n = (long)H5Sget_simple_extent_npoints(s);
    assert_true(d >= 0 && n >= 0 && n <= room);
    assert_true(H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
    H5Sclose(s);
    H5Dclose(d);
    return n;
}

static long attribute(const char *path, const char *name, double *out, long room)   /* -1: absent or text */
{
    if (H5Aexists_by_name(golden, path, name, H5P_DEFAULT) <= 0)
        return -1;
    hid_t a = H5Aopen_by_name(golden, path, name, H5P_DEFAULT, H5P_DEFAULT), t = H5Aget_type(a), s = H5Aget_space(a);
    long n = H5Tget_class(t) == H5T_STRING ? -1 : (long)H5Sget_simple_extent_npoints(s);
    assert_true(n <= room);
    if (n >= 0)
        assert_true(H5Aread(a, H5T_NATIVE_DOUBLE, out) >= 0);
    H5Sclose(s);
    H5Tclose(t);
    H5Aclose(a);
    return n;
}

static void text_attribute(const char *path, const char *name, char *out, size_t room)
{
    hid_t a = H5Aopen_by_name(golden, path, name, H5P_DEFAULT, H5P_DEFAULT), t = H5Aget_type(a);
    assert_true(H5Tis_variable_str(t) > 0);
    char *s = NULL;
    assert_true(H5Aread(a, t, &s) >= 0);
    snprintf(out, room, "%s", s);
    H5free_memory(s);
    H5Tclose(t);
    H5Aclose(a);
}

typedef struct names { int count; char name[256][160]; } names;
static herr_t add_name(hid_t g, const char *name, const H5L_info_t *info, void *to)
{
    (void)g, (void)info;
    names *n = to;
    assert_true(n->count < 256);
    snprintf(n->name[n->count++], sizeof n->name[0], "%s", name);
    return 0;
}

static names *children(const char *path)
{
    names *n = calloc(1, sizeof *n);
    assert_true(H5Literate_by_name(golden, path, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_name, n, H5P_DEFAULT) >= 0);
    assert_true(n->count > 0);
    return n;
}

/* ---- The streams ---- */
static void numpy_streams_are_exact(void **state)
{
    (void)state;
    NEED_SHARED(GOLDEN);
    names *seeds = children("numpy_mt19937");
    for (int i = 0; i < seeds->count; i++) {
        char g[200], path[300];
        double seed[64], want[64];
        uint32_t word[64];
        snprintf(g, sizeof g, "numpy_mt19937/%s", seeds->name[i]);
        long n = attribute(g, "seed", seed, 64);
        assert_true(n >= 1);
        bool tuple = !strncmp(seeds->name[i], "tuple", 5);
        for (long k = 0; k < n; k++)
            word[k] = (uint32_t)seed[k];
        kr_mt19937 r;
#define RESEED() (tuple ? kr_mt_seed_words(&r, word, n) : kr_mt_seed(&r, word[0]))
#define STREAM(name, expression) do { snprintf(path, sizeof path, "%s/" name, g); long m = numbers(path, want, 64); RESEED(); \
        for (long k = 0; k < m; k++) assert_true((double)(expression) == want[k]); } while (0)
        STREAM("seed_state_first8", r.key[k]);
        STREAM("uint32", kr_mt_bits(&r));
        STREAM("uniform", kr_mt_uniform(&r));
        STREAM("randint_0_4", kr_mt_below(&r, 4));
        STREAM("randint_0_5", kr_mt_below(&r, 5));
        STREAM("randint_0_100000", kr_mt_below(&r, 100000));
        STREAM("randint_1_then_uniform", k ? kr_mt_uniform(&r) : kr_mt_below(&r, 1));
        double p[20];
        long drawn[8];
        for (int k = 0; k < 20; k++)
            p[k] = k + 1;                        /* the file was drawn with p = (1, 2, ..., 20) / 210 */
        RESEED();
        assert_int_equal(kr_mt_choice(&r, p, 20, drawn, 8), 0);
        snprintf(path, sizeof path, "%s/choice_p", g);
        assert_int_equal(numbers(path, want, 64), 8);
        for (int k = 0; k < 8; k++)
            assert_int_equal(drawn[k], (long)want[k]);
    }
    free(seeds);
}

static void glibc_streams_are_exact(void **state)
{
    (void)state;
    NEED_SHARED(GOLDEN);
    static const uint32_t seeds[] = { 0, 1, 1234, 99999 };
    for (int i = 0; i < 4; i++) {
        char path[64];
        double want[16];
        snprintf(path, sizeof path, "glibc_rand/seed%u", seeds[i]);
        long n = numbers(path, want, 16);
        kr_glibc_rand g;
        kr_glibc_seed(&g, seeds[i]);
        for (long k = 0; k < n; k++)
            assert_int_equal(kr_glibc_next(&g), (long)want[k]);
    }
}

static void choice_refuses_what_cannot_be_drawn(void **state)
{
    (void)state;
    kr_mt19937 r;
    kr_mt_seed(&r, 1);
    double p[4] = { 1, 0, 2, 0 };
    long out[4];
    assert_int_equal(kr_mt_choice(&r, p, 4, out, 3), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "3 of 4 points");
}

/* ---- Golden masks ---- */
/* "KIND:accel=4/8,center=0.08/0.04,...,seed=..." from the attributes of a golden mask. */
static void spec_of(char *spec, size_t room, const char *kind, const char *path, const char *center_key)
{
    double v[8];
    size_t at = (size_t)snprintf(spec, room, "%s:", kind);
    long n = attribute(path, "accelerations", v, 8);
    for (long i = 0; i < n; i++)
        at += (size_t)snprintf(spec + at, room - at, "%s%.17g", i ? "/" : "accel=", v[i]);
    n = attribute(path, "center_fractions", v, 8);
    for (long i = 0; i < n && center_key; i++)
        at += (size_t)snprintf(spec + at, room - at, "%s%s%.17g", i ? "/" : ",", i ? "" : center_key, v[i]);
    if (attribute(path, "offset", v, 1) == 1)
        at += (size_t)snprintf(spec + at, room - at, ",offset=%g", v[0]);
    if (attribute(path, "seed", v, 1) == 1)
        at += (size_t)snprintf(spec + at, room - at, ",seed=%.0f", v[0]);
    else {
        char text[64];
        text_attribute(path, "seed", text, sizeof text);
        at += (size_t)snprintf(spec + at, room - at, ",seed=\"%s\"", text);
    }
}

static void fastmri_masks_are_exact(void **state)
{
    (void)state;
    NEED_SHARED(GOLDEN);
    static const char *const kinds[] = { "random", "equispaced", "equispaced_fraction", "magic", "magic_fraction" };
    int checked = 0;
    for (int k = 0; k < 5; k++) {
        char group[64], path[300], spec[300];
        snprintf(group, sizeof group, "fastmri/%s", kinds[k]);
        names *n = children(group);
        for (int i = 0; i < n->count; i++) {
            double want[512], shape[4];
            snprintf(path, sizeof path, "%s/%s", group, n->name[i]);
            long W = numbers(path, want, 512);
            assert_int_equal(attribute(path, "shape", shape, 4), 4);
            assert_int_equal(W, (long)shape[2]);
            spec_of(spec, sizeof spec, kinds[k], path, "center=");
            if (!strcmp(kinds[k], "random") && strstr(spec, ",offset"))         /* an offset means nothing to it */
                snprintf(strstr(spec, ",offset"), 16, ",seed=7");
            kr_array *m = kr_mask_new(spec, KR_SHAPE([KR_X] = (long)shape[1], [KR_Y] = W), NULL);
            if (!m)
                fail_msg("%s", kr_error());
            assert_true(kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_Y] = W)));
            for (long x = 0; x < W; x++)
                if (KR_R(m)[x] != want[x])
                    fail_msg("%s (%s) differs at %ld", path, spec, x);
            kr_array_unref(&m);
            checked++;
        }
        free(n);
    }
    assert_true(checked >= 115);
}

/* DIRECT's masks of lines are repeated along the readout; its Cartesian kinds take the number of lines, not the fraction. */
static const char *const direct_kinds[][3] = {
    { "FastMRIRandom", "random", "center=" }, { "FastMRIEquispaced", "equispaced_fraction", "center=" },
    { "FastMRIMagic", "magic_fraction", "center=" }, { "CartesianRandom", "random", "lines=" },
    { "CartesianEquispaced", "equispaced_fraction", "lines=" }, { "CartesianMagic", "magic_fraction", "lines=" },
    { "Radial", "circus_radial", "center=" }, { "Spiral", "circus_spiral", "center=" },
    { "Gaussian1D", "direct_gaussian1d", "center=" }, { "Gaussian2D", "direct_gaussian2d", "center=" },
    { "VariableDensityPoisson", "direct_poisson", "center=" }, { "KtUniform", "direct_kt_uniform", "center=" }, { "KtGaussian1D", "direct_kt_gaussian", "center=" },
    { "KtRadial", "direct_kt_radial", "center=" } };

static void direct_masks_are_exact(void **state)
{
    (void)state;
    NEED_SHARED(GOLDEN);
    static double want[320 * 320];
    int checked = 0;
    for (size_t k = 0; k < sizeof direct_kinds / sizeof *direct_kinds; k++) {
        char group[64], path[300], spec[300];
        snprintf(group, sizeof group, "direct/%s", direct_kinds[k][0]);
        names *n = children(group);
        for (int i = 0; i < n->count; i++) {
            double shape[4];
            snprintf(path, sizeof path, "%s/%s/mask", group, n->name[i]);
            numbers(path, want, 320 * 320);
            long dims = attribute(path, "shape", shape, 4), T = dims == 4 ? (long)shape[0] : 1;
            long H = (long)shape[dims - 3], W = (long)shape[dims - 2];
            spec_of(spec, sizeof spec, direct_kinds[k][1], path, direct_kinds[k][2]);
            if (T > 1 && !strstr(spec, "_kt_"))
                strcat(spec, ",vary=yes");
            kr_array *m = kr_mask_new(spec, KR_SHAPE([KR_X] = H, [KR_Y] = W, [KR_TIME] = T), NULL);
            if (!m)
                fail_msg("%s", kr_error());
            long h = m->n[KR_X];
            assert_true(kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_X] = h, [KR_Y] = W, [KR_TIME] = T)) && (h == 1 || h == H));
            for (long t = 0; t < T; t++)
                for (long y = 0; y < H; y++)
                    for (long x = 0; x < W; x++)
                        if (KR_R(m)[(t * W + x) * h + (h > 1 ? y : 0)] != want[(t * H + y) * W + x])
                            fail_msg("%s (%s) differs at %ld, %ld of frame %ld", path, spec, y, x, t);
            kr_array_unref(&m);
            checked++;
        }
        free(n);
    }
    assert_int_equal(checked, 11 * 32 + 3 * 8);
}

/* Adds ",fwhm=..." and the seed of NumPy's global generator, which ATOMMIC's Gaussian masks use whatever seed they are given. */
static void atommic_spec(char *spec, size_t room, const char *kind, const char *path)
{
    double accel, fwhm, scale, seed;
    assert_true(attribute(path, "accelerations", &accel, 1) == 1 && attribute(path, "center_fractions", &fwhm, 1) == 1);
    assert_true(attribute(path, "center_scale", &scale, 1) == 1 && attribute(path, "global_numpy_seed", &seed, 1) == 1);
    if (!strncmp(kind, "gaussian", 8))
        snprintf(spec, room, "%s:accel=%g,fwhm=%g,scale=%g,seed=%g", kind, accel, fwhm, scale, seed);
    else
        snprintf(spec, room, "%s:accel=%g,center=%g,seed=%g", kind, accel, fwhm, seed);
}

static void atommic_masks_are_exact(void **state)
{
    (void)state;
    NEED_SHARED(GOLDEN);
    static const char *const kinds[][2] = { { "random1d", "random" }, { "equispaced1d", "equispaced_fraction" },
                                            { "gaussian1d", "gaussian1d" }, { "gaussian2d", "gaussian2d" } };
    static double want[320 * 320];
    for (int k = 0; k < 4; k++) {
        char group[64], path[300], spec[300];
        snprintf(group, sizeof group, "atommic/%s", kinds[k][0]);
        names *n = children(group);
        assert_true(n->count >= 12);
        for (int i = 0; i < n->count; i++) {
            double shape[4];
            snprintf(path, sizeof path, "%s/%s", group, n->name[i]);
            long count = numbers(path, want, 320 * 320);
            assert_int_equal(attribute(path, "shape", shape, 4), 4);
            long H = (long)shape[1], W = (long)shape[2];
            atommic_spec(spec, sizeof spec, kinds[k][1], path);
            kr_array *m = kr_mask_new(spec, KR_SHAPE([KR_X] = H, [KR_Y] = W), NULL);
            if (!m)
                fail_msg("%s", kr_error());
            if (count == W) {
                /* ATOMMIC's Gaussian lines went three times through ifftshift */
                long shift = strcmp(kinds[k][0], "gaussian1d") ? 0 : 3 * (W / 2);
                for (long x = 0; x < W; x++)
                    if (KR_R(m)[(x + shift) % W] != want[x])
                        fail_msg("%s (%s) differs at %ld", path, spec, x);
            } else
                for (long y = 0; y < H; y++)
                    for (long x = 0; x < W; x++)                /* C order (H,W) there, X fastest here */
                        if (KR_R(m)[x * H + y] != want[y * W + x])
                            fail_msg("%s (%s) differs at %ld, %ld", path, spec, y, x);
            kr_array_unref(&m);
        }
        free(n);
    }
}

/* ---- Kinds of our own: properties ---- */
static kr_array *made(const char *spec, kr_shape s)
{
    kr_array *m = kr_mask_new(spec, s, NULL);
    if (!m)
        fail_msg("%s: %s", spec, kr_error());
    return m;
}

static double accel_of(const kr_array *m, kr_shape s)
{
    kr_mask_facts f;
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    return f.accel;
}

/* Samples of radius r(k) = c (1 + 4 k)^(density/2) thrown to saturation cover 0.547 of the plane with discs of half that
 * radius (Renyi's constant in two dimensions; Feder 1980), so that their number gives c. On the grid, and with the chance
 * of 0.3 points that evens out its few distances, no two may be nearer than 0.75 r, and no place further than 1.3 r from all of them. */
static void poisson_is_even_and_saturated(void **state)
{
    (void)state;
    static const struct { double accel, density; long H, W; } with[] = { { 8, 0, 128, 128 }, { 12, 1, 160, 96 }, { 20, 2, 128, 128 } };
    for (int t = 0; t < 3; t++) {
        long H = with[t].H, W = with[t].W, N = H * W;
        char spec[128];
        snprintf(spec, sizeof spec, "poisson:accel=%g,density=%g,calib=0,axes=xy,seed=3", with[t].accel, with[t].density);
        kr_array *m = made(spec, KR_SHAPE([KR_X] = H, [KR_Y] = W));
        double *w = malloc((size_t)N * sizeof *w), area = 0, count = 0;
        for (long i = 0; i < N; i++) {
            double x = (double)(i % H - H / 2) / (double)(H / 2), y = (double)(i / H - W / 2) / (double)(W / 2);
            w[i] = pow(1 + 4 * sqrt(x * x + y * y), with[t].density / 2);
            area += 1 / (w[i] * w[i]);
            count += KR_R(m)[i];
        }
        double c = sqrt(0.547 * 4 / acos(-1) * area / count), nearest = 1e9, emptiest = 0;
        for (long i = 0; i < N; i++) {
            double least = 1e9;
            for (long k = 0; k < N; k++)
                if (KR_R(m)[k] > 0 && k != i) {
                    double d = hypot((double)(i % H - k % H), (double)(i / H - k / H)) / (c * (w[i] + w[k]) / 2);
                    least = d < least ? d : least;
                }
            if (KR_R(m)[i] > 0)
                nearest = least < nearest ? least : nearest;
            else
                emptiest = least > emptiest ? least : emptiest;
        }
        if (!(nearest >= 0.75 && emptiest <= 1.3))
            fail_msg("%s: nearest %.3f, emptiest %.3f of the local radius", spec, nearest, emptiest);
        free(w);
        kr_array_unref(&m);
    }
}

static void poisson_meets_the_acceleration(void **state)
{
    (void)state;
    static const double accels[] = { 1.5, 2, 3, 4, 6, 8, 12 };
    static const char *const extra[] = { "density=0,calib=0", "density=1", "density=2,calib=16x24,elliptical=yes", "axes=y,calib=12" };
    kr_shape s = KR_SHAPE([KR_X] = 10, [KR_Y] = 200, [KR_Z] = 130);
    for (int e = 0; e < 4; e++)
        for (int a = 0; a < 7; a++) {
            char spec[128];
            snprintf(spec, sizeof spec, "poisson:accel=%g,%s", accels[a], extra[e]);
            kr_array *m = made(spec, s), *again = made(spec, s);
            kr_mask_facts f;
            assert_int_equal(kr_mask_describe(&f, m, s), 0);
            assert_near(f.accel / accels[a], 1, e == 3 ? 0.04 : 0.02);   /* 200 lines: half a line of 17 is 3 % */
            if (e == 1)
                assert_true(f.centre[1] * f.centre[2] >= 24 * 24);
            for (long z = 65 - 12; e == 2 && z < 65 + 12; z++)
                for (long y = 100 - 8; y < 100 + 8; y++)
                    assert_true(KR_R(m)[z * 200 + y] == 1);
            if (e == 2)
                assert_true(KR_R(m)[0] == 0 && KR_R(m)[200 * 130 - 1] == 0);
            if (e == 3)
                assert_true(f.centre[1] >= 12 && f.centre_from[1] <= 94 && m->n[KR_Z] == 1);
            long n = kr_count(kr_array_shape(m));
            assert_memory_equal(KR_R(m), KR_R(again), (size_t)n * sizeof(float));
            kr_array_unref(&again);
            strcat(spec, ",seed=9");
            again = made(spec, s);
            assert_memory_not_equal(KR_R(m), KR_R(again), (size_t)n * sizeof(float));
            kr_array_unref(&again);
            kr_array_unref(&m);
        }
}

static void radial_passes_through_the_centre(void **state)
{
    (void)state;
    static const long sizes[][2] = { { 128, 128 }, { 97, 160 }, { 33, 32 } };
    for (int t = 0; t < 3; t++) {
        long H = sizes[t][0], W = sizes[t][1];
        kr_shape s = KR_SHAPE([KR_X] = H, [KR_Y] = W);
        kr_array *m = made("radial:accel=5", s);
        assert_near(accel_of(m, s) / 5, 1, 1.5 * (double)(H > W ? H : W) * 5 / (double)(H * W));    /* one spoke more */
        assert_true(KR_R(m)[W / 2 * H + H / 2] == 1);
        for (long y = 0; y < W; y++)                             /* point symmetric about DC where both are on the grid */
            for (long x = 0; x < H; x++)
                if (2 * (H / 2) - x < H && 2 * (W / 2) - y < W)
                    assert_true(KR_R(m)[y * H + x] == KR_R(m)[(2 * (W / 2) - y) * H + 2 * (H / 2) - x]);
        kr_array_unref(&m);
    }
}

static void frames_of_cmrxrecon(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 60, [KR_Y] = 96, [KR_TIME] = 12);
    kr_mask_facts f;
    kr_array *m = made("kt_uniform:accel=8", s);
    for (long t = 0; t < 12; t++)
        for (long y = 0; y < 96; y++)
            assert_true(KR_R(m)[t * 96 + y] == ((y - t + 96) % 8 == 0 || (y >= 40 && y < 56)));
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_true(f.varies && f.centre[1] == 16 && f.centre_from[1] == 40 && f.step[1] == 8);
    kr_array_unref(&m);

    m = made("kt_gaussian:accel=8,lines=0", s);                  /* 96/8 lines in every frame, most near the centre */
    double near = 0;
    for (long t = 0; t < 12; t++) {
        long n = 0;
        for (long y = 0; y < 96; y++) {
            n += KR_R(m)[t * 96 + y] > 0;
            near += y >= 24 && y < 72 ? KR_R(m)[t * 96 + y] : 0;
        }
        assert_int_equal(n, 12);
    }
    assert_true(near / 144 > 0.6 && near / 144 < 0.9);           /* the density's integral there is 0.71 */
    kr_array_unref(&m);

    m = made("kt_radial:accel=8,calib=10", s);
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_true(f.varies && f.centre[0] >= 10 && f.centre[1] >= 10);
    kr_array_unref(&m);
    m = made("uniform:accel=4,lines=16", s);                     /* no frames where nothing changes */
    assert_true(kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_Y] = 96)));
    kr_array_unref(&m);
    m = made("kt_uniform:accel=4", KR_SHAPE([KR_Y] = 96, [KR_PHASE] = 5));
    assert_true(kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_Y] = 96, [KR_PHASE] = 5)));
    kr_array_unref(&m);
}

/* ---- Seeds ---- */
static void the_name_of_the_file_is_the_seed(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 8, [KR_Y] = 200);
    const char *spec[] = { "random:accel=4", "random:accel=4,seed=file", "random:accel=4,seed=\"file1.h5\"", "random:accel=4,seed=file1.h5",
                           "random:accel=4,seed=7", "random:accel=4,seed=0" };
    const char *name[] = { "/data/file1.h5", "file1.h5", NULL, "other.h5", "file1.h5", "file1.h5" };
    kr_array *m[6];
    for (int i = 0; i < 6; i++)
        assert_non_null(m[i] = kr_mask_new(spec[i], s, name[i]));
    for (int i = 1; i < 6; i++)
        assert_int_equal(!memcmp(KR_R(m[0]), KR_R(m[i]), 200 * sizeof(float)), i < 4);
    for (int i = 0; i < 6; i++)
        kr_array_unref(&m[i]);
    kr_array *none = kr_mask_new("random:accel=4", s, NULL), *zero = kr_mask_new("random:accel=4,seed=0", s, NULL);
    assert_memory_equal(KR_R(none), KR_R(zero), 200 * sizeof(float));
    kr_array_unref(&none);
    kr_array_unref(&zero);
}

/* ---- Refusals ---- */
static void refusals_say_what_was_found(void **state)
{
    (void)state;
    static const struct { const char *spec; int code; const char *words; } bad[] = {
        { "", KR_EUSAGE, "no kind of mask ''" },
        { "randm:accel=4", KR_EUSAGE, "did you mean random" },
        { "ellipse", KR_EUSAGE, "known are random, equispaced" },
        { "random:accel=0.5", KR_EUSAGE, "accel is a number of at least 1, not '0.5'" },
        { "random:accel=nan", KR_EUSAGE, "accel is a number" },
        { "random:accel=4/", KR_EUSAGE, "not ''" },
        { "random:accel=1/2/3/4/5/6/7/8/9", KR_EUSAGE, "at most 8" },
        { "random:accel=4/8,center=0.1/0.2/0.3", KR_EUSAGE, "3 centres are given for 2 accelerations" },
        { "random:center=1.5", KR_EUSAGE, "center is a number from 0 to 1, not '1.5'" },
        { "random:center=0.1,lines=10", KR_EUSAGE, "given twice" },
        { "random:lines=400", KR_EUSAGE, "400 fully sampled lines do not fit into the 200" },
        { "random:accel=16,center=0.1", KR_EUSAGE, "20 of 200 lines at the centre alone" },
        { "random:accel=1000", KR_EUSAGE, "leaves nothing of 200" },
        { "random:speed=3", KR_EUSAGE, "masks of the kind random have no 'speed'; known are accel, center, lines, seed, axes, vary" },
        { "random:accel", KR_EUSAGE, "'accel' wants a value" },
        { "random:seed=file", KR_EUSAGE, "none is known" },
        { "random:seed=4294967296", KR_EUSAGE, "up to 4294967295" },
        { "random:seed=\"\"", KR_EUSAGE, "the seed is empty" },
        { "random:axes=w", KR_EUSAGE, "axes are one or two of x, y, z, not 'w'" },
        { "random:axes=yz", KR_EUSAGE, "wants one axis" },
        { "gaussian2d:axes=y", KR_EUSAGE, "wants two axes" },
        { "gaussian2d:axes=yy", KR_EUSAGE, "axes are one or two" },
        { "random:axes=z", KR_ESHAPE, "nothing to undersample along z" },
        { "equispaced:accel=4,offset=4", KR_EUSAGE, "an offset of 4 is too large" },
        { "uniform:lines=3.5", KR_EUSAGE, "a whole number" },
        { "gaussian1d:fwhm=0", KR_EUSAGE, "fwhm" },
        { "poisson:calib=300x20,axes=xy", KR_EUSAGE, "300 fully sampled lines do not fit into the 100" },
        { "poisson:accel=6,calib=40", KR_EUSAGE, "the 40 points of the calibration area alone" },
        { "poisson:accel=1.1,elliptical=yes,axes=xy", KR_EUSAGE, "the ellipse holds" },
        { "poisson:elliptical=maybe", KR_EUSAGE, "elliptical is yes or no, not 'maybe'" },
        { "radial:angle=90", KR_EUSAGE, "spokes 90 degrees apart" },
        { "kt_radial:accel=400", KR_EUSAGE, "no line through the centre" },
        { "direct_gaussian1d:accel=2,center=0.6", KR_EUSAGE, "120 of 200" },
        { "circus_radial:accel=12,center=0.2", KR_EUSAGE, "at the centre alone" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(kr_mask_new(bad[i].spec, KR_SHAPE([KR_X] = 100, [KR_Y] = 200), NULL));
        assert_non_null(strstr(kr_error(), "mask "));
        assert_refused(bad[i].code, bad[i].words);
    }
    assert_null(kr_mask_new("random", KR_SHAPE([KR_X] = 100), NULL));
    assert_refused(KR_ESHAPE, "nothing to undersample along y");
}

/* ---- What was measured ---- */
static kr_scan *scan_of(kr_shape s)
{
    kr_scan *scan = kr_scan_new();
    scan->data = kr_array_new(KR_C32, s);
    fill_random(scan->data, 3);
    scan->shape = s;
    return scan;
}

static void undersampling_zeroes_what_the_mask_drops(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 21, [KR_Y] = 40, [KR_COIL] = 3, [KR_SLICE] = 2, [KR_TIME] = 4);
    const kr_shape masks[] = { KR_SHAPE([KR_Y] = 40), KR_SHAPE([KR_X] = 21), KR_SHAPE([KR_X] = 21, [KR_Y] = 40),
                               KR_SHAPE([KR_Y] = 40, [KR_TIME] = 4), KR_SHAPE([KR_X] = 21, [KR_Y] = 40, [KR_TIME] = 4) };
    for (int k = 0; k < 5; k++) {
        kr_scan *a = scan_of(s);
        kr_array *m = kr_array_new(KR_R32, masks[k]), *was = kr_array_copy(a->data), *want = kr_array_new(KR_C32, s);
        long n = kr_count(masks[k]);
        for (long i = 0; i < n; i++)
            KR_R(m)[i] = kr_rand_uniform(5, (uint64_t)k, (uint64_t)i) < 0.4;
        kr_contract(want, was, m, false);
        assert_int_equal(kr_scan_undersample(a, m), 0);
        assert_true(distance(a->data, want) == 0);
        assert_true(kr_shape_equal(kr_array_shape(a->mask), masks[k]));
        assert_memory_equal(KR_R(a->mask), KR_R(m), (size_t)n * sizeof(float));
        /* the same mask is found from the zeros */
        kr_array_unref(&a->mask);
        kr_array *found = kr_scan_mask(a);
        assert_non_null(found);
        assert_true(kr_shape_equal(kr_array_shape(found), masks[k]));
        assert_memory_equal(KR_R(found), KR_R(m), (size_t)n * sizeof(float));
        kr_array_unref(&found);
        kr_array_unref(&want);
        kr_array_unref(&was);
        kr_array_unref(&m);
        kr_scan_unref(&a);
    }
}

static void masks_are_multiplied_and_padding_stays_out(void **state)
{
    (void)state;
    kr_scan *a = scan_of(KR_SHAPE([KR_X] = 16, [KR_Y] = 30, [KR_COIL] = 2));
    for (long c = 0; c < 2; c++)                              /* fastMRI pads with columns of (negative) zeros */
        for (long y = 0; y < 30; y++)
            for (long x = 0; (y < 3 || y >= 26) && x < 16; x++)
                KR_C(a->data)[(c * 30 + y) * 16 + x] = kr_c(-0.0f, 0);
    kr_array *even = kr_mask_new("uniform:accel=2,lines=4", KR_SHAPE([KR_X] = 16, [KR_Y] = 30), NULL);
    kr_array *third = kr_mask_new("uniform:accel=3,lines=0", KR_SHAPE([KR_X] = 16, [KR_Y] = 30), NULL);
    assert_int_equal(kr_scan_undersample(a, even), 0);
    for (long y = 0; y < 30; y++)
        assert_true(KR_R(a->mask)[y] == (y >= 3 && y < 26 && (y % 2 == 0 || (y >= 13 && y < 17))));
    assert_int_equal(kr_scan_undersample(a, third), 0);
    for (long y = 0; y < 30; y++)
        assert_true(KR_R(a->mask)[y] == (y >= 3 && y < 26 && (y % 2 == 0 || (y >= 13 && y < 17)) && y % 3 == 0));
    kr_array_unref(&even);
    kr_array_unref(&third);
    kr_scan_unref(&a);
}

/* k-space whose readouts do not lie sample by sample is thinned out as any other. */
static void coils_next_to_each_other(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 13, [KR_Y] = 30, [KR_COIL] = 3);
    static const int order[] = { KR_COIL, KR_X, KR_Y };
    kr_scan *a = scan_of(s), *b = scan_of(s);
    kr_array *apart = kr_array_copy_order(b->data, order, 3), *m = kr_mask_new("uniform:accel=2,lines=4", KR_SHAPE([KR_X] = 13, [KR_Y] = 30), NULL);
    assert_true(apart && apart->step[KR_X] == 3 && m && m->n[KR_X] == 1);
    kr_array_unref(&b->data);
    b->data = apart;
    assert_int_equal(kr_scan_undersample(a, m), 0);
    assert_int_equal(kr_scan_undersample(b, m), 0);
    assert_true(distance(b->data, a->data) == 0);
    kr_array_unref(&m);
    kr_scan_unref(&a);
    kr_scan_unref(&b);
}

static void a_full_scan_needs_no_mask(void **state)
{
    (void)state;
    kr_scan *a = scan_of(KR_SHAPE([KR_X] = 64, [KR_Y] = 30, [KR_Z] = 5));
    for (long i = 0; i < 64 * 30 * 5; i += 211)               /* a few numbers are 0 by chance */
        KR_C(a->data)[i] = 0;
    kr_array *m = kr_scan_mask(a);
    assert_int_equal(kr_count(kr_array_shape(m)), 1);
    assert_true(KR_R(m)[0] == 1);
    kr_array_unref(&m);
    kr_scan_unref(&a);
}

/* Slices with lines of their own have masks of their own; an empty slice lacks nothing. */
static void slices_with_other_lines(void **state)
{
    (void)state;
    kr_scoped(scan) a = scan_of(KR_SHAPE([KR_X] = 8, [KR_Y] = 30, [KR_COIL] = 2, [KR_SLICE] = 3));
    for (long z = 0; z < 3; z++)
        for (long i = 0; i < 2 * 30 * 8; i++)
            if (z == 2 || (i / 8 % 30 % 2 != z && labs(i / 8 % 30 - 15) > 3))
                KR_C(a->data)[z * 2 * 30 * 8 + i] = 0;
    kr_scoped(array) m = kr_scan_mask(a);
    assert_true(m && kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_Y] = 30, [KR_SLICE] = 3)));
    for (long z = 0; z < 3; z++)
        for (long y = 0; y < 30; y++)
            assert_true(KR_R(m)[z * 30 + y] == (z == 2 || y % 2 == z || labs(y - 15) <= 3));
    kr_mask_facts f;
    assert_int_equal(kr_mask_describe(&f, m, a->shape), 0);
    assert_true(!f.full && f.varies && f.slices);
}

/* Every second line and 7 at the centre, the others of a size relative to the largest sample; and masks of a file that are right and wrong. */
static kr_scan *half(double residue)
{
    kr_scan *a = scan_of(KR_SHAPE([KR_X] = 8, [KR_Y] = 30, [KR_COIL] = 2));
    for (long i = 0; i < 2 * 30 * 8; i++)
        if (i / 8 % 30 % 2 && labs(i / 8 % 30 - 15) > 3)
            KR_C(a->data)[i] = kr_c((float)(residue * (double)kr_re(KR_C(a->data)[i])), 0);
    return a;
}

static void data_and_mask_agree(void **state)
{
    (void)state;
    kr_scoped(scan) zero = half(0);
    kr_scoped(array) right = kr_scan_mask(zero);
    static const double size[] = { 1e-9, 1e-7, 0.01 };   /* noise, what a transform leaves, and weak lines that were measured */
    for (int k = 0; k < 3; k++) {
        kr_scoped(scan) a = half(size[k]);
        kr_text t = { 0 };
        assert_int_equal(kr_scan_measured(&t, a), 0);
        kr_scoped(array) m = kr_scan_mask(a);
        assert_true(k < 2 ? t.len && strstr(t.s, "12 of 30 lines") && kr_shape_equal(kr_array_shape(m), kr_array_shape(right)) && distance(m, right) == 0
                          : !t.len && kr_count(kr_array_shape(m)) == 1);
        kr_text_clear(&t);
    }
    static const float unit[] = { 1e-22f, 1e20f };       /* whose squares float does not hold: all lines were measured */
    for (int k = 0; k < 2; k++) {
        kr_scoped(scan) a = scan_of(KR_SHAPE([KR_X] = 8, [KR_Y] = 30, [KR_COIL] = 2));
        for (long i = 0; i < 2 * 30 * 8; i++)
            KR_C(a->data)[i] = kr_c(kr_re(KR_C(a->data)[i]) * (i / 8 % 30 < 12 ? 1e-2f : 1) * unit[k], 0);
        kr_text t = { 0 };
        assert_int_equal(kr_scan_measured(&t, a), 0);
        kr_scoped(array) m = kr_scan_mask(a);
        assert_true(!t.len && m && kr_count(kr_array_shape(m)) == 1);
        kr_text_clear(&t);
    }
    for (int k = 0; k < 4; k++) {                        /* right, all ones, moved by a line, and lines of a full scan */
        kr_scoped(scan) a = k < 3 ? half(0) : scan_of(KR_SHAPE([KR_X] = 8, [KR_Y] = 30, [KR_COIL] = 2));
        a->mask = kr_array_copy(right);
        for (long y = 0; y < 30; y++)
            KR_R(a->mask)[y] = k == 1 ? 1 : KR_R(right)[k == 2 ? (y + 1) % 30 : y];
        long denied = 0;
        for (long y = 0; y < 30; y++)
            denied += KR_R(right)[y] > 0 && KR_R(a->mask)[y] <= 0;
        char held[80];
        snprintf(held, sizeof held, ", and of %ld others, which hold data", denied);
        kr_text t = { 0 };
        assert_int_equal(kr_scan_measured(&t, a), 0);
        assert_true(distance(a->mask, right) == 0 && !t.len == (k == 0 || k == 3));
        assert_true(k == 1 ? strstr(t.s, "12 of 30") != NULL : k != 2 || strstr(t.s, held) != NULL);
        assert_true(k < 3 || kr_cabs2(KR_C(a->data)[8]) <= 0);
        kr_text_clear(&t);
    }
}

/* Lines that do not lie in one piece, whose first sample was never measured: as those of a copy. */
static void mask_of_a_view(void **state)
{
    (void)state;
    enum { NX = 8, NY = 30 };
    kr_scoped(scan) a = kr_scan_new();
    kr_scoped(scan) b = kr_scan_new();
    kr_scoped(array) turned = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NY, [KR_Y] = NX, [KR_COIL] = 2));
    fill_random(turned, 3);
    for (long i = 0; i < 2 * NX * NY; i++)
        if (i % NY % 3 == 1 || i / NY % NX == 0)
            KR_C(turned)[i] = kr_c(0, 0);
    a->data = kr_array_rename(turned, KR_X, KR_Y);
    b->data = kr_array_packed(a->data);
    a->shape = b->shape = kr_array_shape(b->data);
    kr_scoped(array) view = kr_scan_mask(a);
    kr_scoped(array) copy = kr_scan_mask(b);
    assert_true(view && copy && kr_shape_equal(kr_array_shape(view), kr_array_shape(copy)));
    assert_true(kr_max_abs(copy) > 0 && distance(view, copy) <= 0);
}

static void asymmetric_echo_and_hybrid_space(void **state)
{
    (void)state;
    kr_scan *a = scan_of(KR_SHAPE([KR_X] = 64, [KR_Y] = 30));
    for (long y = 0; y < 30; y++)
        for (long x = 0; x < 12; x++)
            KR_C(a->data)[y * 64 + x] = 0;
    kr_array *m = kr_scan_mask(a);
    assert_true(kr_shape_equal(kr_array_shape(m), KR_SHAPE([KR_X] = 64)));
    for (long x = 0; x < 64; x++)
        assert_true(KR_R(m)[x] == (x >= 12));
    kr_array *by_x = kr_array_ref(m), *none = kr_array_like(m);
    assert_int_equal(kr_scan_undersample(a, none), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "keeps none");
    assert_null(a->mask);
    kr_array_unref(&m);
    a->in_image = KR_ON(KR_X);
    m = kr_scan_mask(a);
    assert_int_equal(kr_count(kr_array_shape(m)), 1);
    assert_int_equal(kr_scan_undersample(a, by_x), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "image space along x");
    kr_array *wrong = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 29));
    assert_int_equal(kr_scan_undersample(a, wrong), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "{y=29}");
    kr_array_unref(&wrong);
    kr_array_unref(&none);
    kr_array_unref(&by_x);
    kr_array_unref(&m);
    kr_array_unref(&a->data);
    assert_null(kr_scan_mask(a));
    assert_refused(KR_EREFUSED, "without data");
    kr_scan_unref(&a);
}

/* ---- In words ---- */
static void facts_of_known_masks(void **state)
{
    (void)state;
    kr_mask_facts f;
    kr_shape s = KR_SHAPE([KR_X] = 64, [KR_Y] = 96, [KR_Z] = 40);
    assert_int_equal(kr_mask_describe(&f, NULL, s), 0);
    assert_true(f.accel == 1 && f.centre[1] == 96 && f.step[1] == 1 && f.partial[1] == 1);

    kr_array *m = kr_mask_new("uniform:accel=4,lines=15,offset=1", s, NULL);
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_int_equal(f.measured, 24 + 15 - 4);                       /* 41..55 holds 41, 45, 49, 53 */
    assert_true(f.centre[0] == 64 && f.centre[1] == 15 && f.centre_from[1] == 41 && f.centre[2] == 40);
    assert_true(f.step[0] == 1 && f.step[1] == 4 && f.step[2] == 1 && f.partial[1] == 1 && !f.varies);
    assert_near(f.accel, 96.0 / 35, 1e-12);
    assert_near(f.outer_accel, 81.0 / 20, 1e-12);
    kr_text t = { 0 };
    kr_mask_facts_text(&t, &f);
    assert_string_equal(t.s, "R = 2.74 (35 of 96) along y, ACS 15, every 4th along y");
    kr_text_clear(&t);

    for (long y = 0; y < 20; y++)                                    /* 3 of 8 lines before DC are missing */
        KR_R(m)[y] = 0;
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_int_equal(f.step[1], 4);
    assert_near(f.partial[1], (93 - 21 + 1) / (2.0 * 45 + 1), 1e-12);
    kr_array_unref(&m);

    m = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 96, [KR_Z] = 40));    /* 2 x 3 with a box of 20 x 10 */
    for (long z = 0; z < 40; z++)
        for (long y = 0; y < 96; y++)
            KR_R(m)[z * 96 + y] = (y % 2 == 0 && z % 3 == 1) || (y >= 38 && y < 58 && z >= 15 && z < 25);
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_true(f.step[1] == 2 && f.step[2] == 3 && f.centre[1] == 20 && f.centre[2] == 10 && f.centre_from[2] == 15);
    for (long y = 38; y < 58; y++)                                   /* lines that touch the box do not mislead */
        KR_R(m)[25 * 96 + y] = 1;
    KR_R(m)[15 * 96 + 58] = KR_R(m)[16 * 96 + 58] = KR_R(m)[20 * 96 + 58] = 1;
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_true(f.centre[1] == 20 && f.centre[2] == 11 && f.centre_from[1] == 38 && f.step[1] == 0);
    KR_R(m)[5] = 1;                                                  /* one point off the grid */
    assert_int_equal(kr_mask_describe(&f, m, s), 0);
    assert_true(f.step[1] == 0 && f.step[2] == 0);
    KR_R(m)[5] = 0.5f;
    assert_int_equal(kr_mask_describe(&f, m, s), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "holds 0 and 1, this one holds 0.5");
    kr_fill(m, 0);
    assert_int_equal(kr_mask_describe(&f, m, s), KR_ENUMBER);
    assert_refused(KR_ENUMBER, "keeps nothing");
    assert_int_equal(kr_mask_describe(&f, m, KR_SHAPE([KR_Y] = 95, [KR_Z] = 40)), KR_ESHAPE);
    assert_refused(KR_ESHAPE, "does not fit");
    kr_array_unref(&m);
}

/* Where masks are meant for calibration. 92 lines, 8 %: 43 to 49, which DIRECT 2.1.0's FastMRIRandom returns for return_acs, although
 * lines beside them may be measured by chance. */
static void calibration_areas(void **state)
{
    (void)state;
    kr_array *m = NULL;
    for (int seed = 0; seed < 3; seed++) {
        char spec[64];
        snprintf(spec, sizeof spec, "random:accel=2,center=0.08,seed=%d", seed);
        assert_int_equal(kr_mask_calib(&m, spec, KR_SHAPE([KR_X] = 160, [KR_Y] = 92), NULL), 0);
        assert_int_equal(m->n[KR_Y], 92);
        assert_int_equal(m->n[KR_X], 1);
        for (int y = 0; y < 92; y++)
            assert_true((KR_R(m)[y] > 0) == (y >= 43 && y < 50));
        kr_array_unref(&m);
    }
    assert_int_equal(kr_mask_calib(&m, "radial:accel=4", KR_SHAPE([KR_X] = 32, [KR_Y] = 32), NULL), 0);
    assert_null(m);                                                  /* it does not say */
    assert_true(kr_mask_calib(&m, "random:accel=0.5", KR_SHAPE([KR_X] = 32, [KR_Y] = 32), NULL) < 0);
    assert_int_equal(kr_mem_now(), 0);
}

/* ---- Rows of zeros around what was encoded ---- */
static void facts_of(kr_mask_facts *f, kr_text *t, long n, long from, long to, long step, long centre)
{
    kr_scoped(array) m = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = n));
    for (long i = from; i < to; i++)
        KR_R(m)[i] = (i - from) % step == 0 || labs(2 * i - n) < centre;
    assert_int_equal(kr_mask_describe(f, m, KR_SHAPE([KR_X] = 4, [KR_Y] = n)), 0);
    kr_text_clear(t);
    kr_mask_facts_text(t, f);
}

static void test_padding(void **state)
{
    (void)state;
    kr_mask_facts f;
    kr_text t = { 0 };
    facts_of(&f, &t, 40, 3, 37, 1, 0);                        /* fastMRI: `padding` on both sides */
    assert_true(f.full && f.encoded[1] == 34 && f.accel <= 1 && f.partial[1] >= 1);
    assert_string_equal(t.s, "fully sampled, 34 of 40 lines along y measured, the rest zero-padded");
    facts_of(&f, &t, 144, 18, 126, 3, 0);                     /* 36 lines, three apart, of 108 that were encoded */
    assert_true(!f.full && f.encoded[1] == 108 && f.partial[1] >= 1);
    assert_near(f.accel, 3, 1e-12);
    assert_non_null(strstr(t.s, "R = 3 in 108 of 144 lines along y (zero-padded), 36 measured"));
    facts_of(&f, &t, 64, 0, 64, 4, 8);                        /* a comb that ends before the edge is none */
    assert_true(f.encoded[1] == 64 && f.partial[1] >= 1);
    facts_of(&f, &t, 64, 2, 64, 8, 16);
    assert_true(f.encoded[1] == 64 && f.partial[1] >= 1);
    facts_of(&f, &t, 64, 16, 64, 1, 0);                       /* one side is missing: partial Fourier */
    assert_true(!f.full && f.encoded[1] == 64);
    assert_near(f.partial[1], 48 / 63., 1e-12);
    assert_near(f.accel, 64 / 48., 1e-12);
    assert_non_null(strstr(t.s, "partial Fourier 0.76 along y"));
    facts_of(&f, &t, 64, 1, 63, 1, 0);
    assert_true(f.full && f.encoded[1] == 62);
    static const long pads[][3] = { { 40, 3, 5 }, { 40, 5, 3 }, { 78, 2, 4 }, { 396, 13, 15 }, { 396, 10, 13 }, { 320, 20, 22 } };      /* uneven padding */
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++) {
        long n = pads[i][0], from = pads[i][1], to = n - pads[i][2];
        facts_of(&f, &t, n, from, to, 1, 0);
        if (!f.full || f.partial[1] < 1 || f.encoded[1] != to - from)
            fail_msg("%ld lines from %ld to %ld: partial %g, %ld encoded", n, from, to, f.partial[1], f.encoded[1]);
    }
    static const long cut[][3] = { { 24, 0, 21 }, { 64, 0, 56 }, { 256, 32, 224 - 24 }, { 320, 40, 320 } };       /* an eighth and more, also of padded scans */
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        facts_of(&f, &t, cut[i][0], cut[i][1], cut[i][2], 1, 0);
        assert_true(!f.full && f.partial[1] < 0.92 && f.partial[1] >= 0.5);
    }
    kr_text_clear(&t);
    /* Random lines leave the edges out by chance. */
    for (int seed = 0; seed < 40; seed++) {
        char spec[100];
        kr_shape shape = KR_SHAPE([KR_X] = 4, [KR_Y] = seed % 2 ? 372 : 128);
        snprintf(spec, sizeof spec, seed % 4 < 2 ? "random:accel=%d,center=0.08,seed=%d" : "gaussian1d:accel=%d,seed=%d", 4 + seed % 5, seed);
        kr_scoped(array) m = kr_mask_new(spec, shape, NULL);
        assert_non_null(m);
        assert_int_equal(kr_mask_describe(&f, m, shape), 0);
        if (f.partial[1] < 1 || f.full || f.encoded[1] < shape.n[KR_Y])
            fail_msg("%s: partial %g, %ld lines encoded", spec, f.partial[1], f.encoded[1]);
    }
}

/* Lines with a few zeros by chance were measured whole; those that lack more than 1 of 100 samples were meant so. */
static void zeros_by_chance(void **state)
{
    (void)state;
    static const struct { long every; bool whole; } cases[] = { { 307, true }, { 31, false }, { 7, false } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kr_scan *s = scan_of(KR_SHAPE([KR_X] = 60, [KR_Y] = 40));
        long n = 60 * 40, kept = 0;
        for (long i = 0; i < n; i++) {
            if (i / 60 % 2 || i % cases[c].every == 5)
                KR_C(s->data)[i] = 0;
            kept += i / 60 % 2 ? 0 : cases[c].whole || i % cases[c].every != 5;
        }
        kr_array *m = kr_scan_mask(s);
        assert_non_null(m);
        double sum = 0;
        for (long i = 0; i < kr_count(kr_array_shape(m)); i++)
            sum += (double)KR_R(m)[i];
        assert_near(sum * (m->n[KR_X] == 1 ? 60 : 1), (double)kept, 0);
        kr_array_unref(&m);
        kr_scan_unref(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(zeros_by_chance),
        cmocka_unit_test(calibration_areas),
        cmocka_unit_test(numpy_streams_are_exact),
        cmocka_unit_test(glibc_streams_are_exact),
        cmocka_unit_test(choice_refuses_what_cannot_be_drawn),
        cmocka_unit_test(fastmri_masks_are_exact),
        cmocka_unit_test(direct_masks_are_exact),
        cmocka_unit_test(atommic_masks_are_exact),
        cmocka_unit_test(poisson_is_even_and_saturated),
        cmocka_unit_test(poisson_meets_the_acceleration),
        cmocka_unit_test(radial_passes_through_the_centre),
        cmocka_unit_test(frames_of_cmrxrecon),
        cmocka_unit_test(the_name_of_the_file_is_the_seed),
        cmocka_unit_test(refusals_say_what_was_found),
        cmocka_unit_test(undersampling_zeroes_what_the_mask_drops),
        cmocka_unit_test(masks_are_multiplied_and_padding_stays_out),
        cmocka_unit_test(coils_next_to_each_other), cmocka_unit_test(a_full_scan_needs_no_mask), cmocka_unit_test(slices_with_other_lines), cmocka_unit_test(data_and_mask_agree),
        cmocka_unit_test(mask_of_a_view), cmocka_unit_test(asymmetric_echo_and_hybrid_space),
        cmocka_unit_test(facts_of_known_masks), cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
