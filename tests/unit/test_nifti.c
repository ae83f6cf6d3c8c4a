/* test_nifti.c: NIfTI volumes: samples that nibabel wrote, orientations worked out by hand, and what comes back. */
#include "test.h"
#include "files.h"
#include <jansson.h>
#include <zlib.h>

/* The first bytes of a file, unpacked. */
static size_t head_of(const char *path, unsigned char *to, size_t room)
{
    gzFile z = gzopen(path, "rb");
    assert_non_null(z);
    int n = gzread(z, to, (unsigned)room);
    assert_true(n > 0);
    gzclose(z);
    return (size_t)n;
}

static double at_float(const unsigned char *h, int at)
{
    float f;
    memcpy(&f, h + at, 4);
    return f;
}

static int at_short(const unsigned char *h, int at)
{
    int16_t v;
    memcpy(&v, h + at, 2);
    return v;
}

/* RAS affine of an image by the definition of kr_geom (image.h), not by the code under test. */
static void affine_by_hand(const kr_image *im, double A[3][4])
{
    const kr_geom *g = im->geom;
    const double *dir3[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    const long n[3] = { im->data->n[KR_X], im->data->n[KR_Y], im->data->n[KR_Z] };
    for (int r = 0; r < 3; r++) {
        double sign = r < 2 ? -1 : 1, origin = g->position_mm[0][r];
        for (int k = 0; k < 3; k++) {
            double d = g->fov_mm[k] / (double)n[k];
            A[r][k] = sign * d * dir3[k][r];
            origin -= (double)(n[k] / 2) * d * dir3[k][r];
        }
        A[r][3] = sign * origin;
    }
}

static void check_affine(const kr_image *im, const double want[3][4], double tolerance)
{
    double A[3][4];
    affine_by_hand(im, A);
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < 4; k++)
            assert_near(A[r][k], want[r][k], tolerance);
}

/* Values, sizes, scaling, byte order and affines as nibabel put them there (make_samples.py). */
static void test_samples(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/nifti1_i16_scaled.nii");
    static const double affine[3][4] = { { -1.5, 0, 0, 90 }, { 0, 0, 3, -40 }, { 0, 2, 0, 30 } };
    kr_image *im = NULL;
    /* 0..59 in an array [5][4][3] of NumPy, first index along x; 2 v - 10. */
    assert_int_equal(kr_image_read(&im, shared("samples/arrays/nifti1_i16_scaled.nii")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(im->data)), "{x=5 y=4 z=3}");
    for (long x = 0; x < 5; x++)
        for (long y = 0; y < 4; y++)
            for (long z = 0; z < 3; z++)
                assert_true(KR_R(im->data)[x + 5 * (y + 4 * z)] == 2 * (float)(12 * x + 3 * y + z) - 10);
    check_affine(im, affine, 1e-5);          /* float32 in the file */
    assert_true(im->geom->known);
    kr_image_unref(&im);

    assert_int_equal(kr_image_read(&im, shared("samples/arrays/nifti1_c64.nii.gz")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(im->data)), "{x=2 y=3 z=4}");
    for (long i = 0; i < 24; i++) {
        long x = i / 12, y = i / 4 % 3, z = i % 4;
        kr_cfloat v = KR_C(im->data)[x + 2 * (y + 3 * z)];
        assert_true(kr_re(v) == (float)i && kr_im(v) == (float)(24 + i));
    }
    check_affine(im, affine, 1e-5);
    kr_image_unref(&im);

    assert_int_equal(kr_image_read(&im, shared("samples/arrays/nifti2_f32_sformonly.nii")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(im->data)), "{x=4 y=3 z=2}");
    for (long i = 0; i < 24; i++)
        assert_true(KR_R(im->data)[i / 6 + 4 * (i / 2 % 3 + 3 * (i % 2))] == (float)i);
    check_affine(im, affine, 1e-12);         /* doubles in the file */
    kr_image_unref(&im);

    assert_int_equal(kr_image_read(&im, shared("samples/arrays/nifti1_bigendian_noform.nii")), 0);
    for (long i = 0; i < 24; i++)
        assert_true(KR_R(im->data)[i / 6 + 4 * (i / 2 % 3 + 3 * (i % 2))] == (float)i);
    assert_false(im->geom->known);
    kr_image_unref(&im);
}

/* The affines of samples/arrays/orientation_cases.json reach the file, in sform and in qform. */
static void test_orientation(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/orientation_cases.json");
    json_error_t bad;
    json_t *cases = json_load_file(shared("samples/arrays/orientation_cases.json"), 0, &bad);
    assert_non_null(cases);
    size_t i;
    json_t *c;
    json_array_foreach(cases, i, c) {
        kr_scoped(geom) g = kr_geom_new(1);
        double n[3];
        for (size_t k = 0; k < 3; k++) {
            g->position_mm[0][k] = json_number_value(json_array_get(json_object_get(c, "position"), k));
            g->read_dir[k] = json_number_value(json_array_get(json_object_get(c, "read_dir"), k));
            g->phase_dir[k] = json_number_value(json_array_get(json_object_get(c, "phase_dir"), k));
            g->slice_dir[k] = json_number_value(json_array_get(json_object_get(c, "slice_dir"), k));
            g->fov_mm[k] = json_number_value(json_array_get(json_object_get(c, "field_of_view"), k));
            n[k] = json_number_value(json_array_get(json_object_get(c, "matrix_size"), k));
        }
        g->known = true;
        kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = (long)n[0], [KR_Y] = (long)n[1], [KR_Z] = (long)n[2]));
        kr_fill(a, 1);
        kr_image *im = kr_image_new(a, g, NULL), *back = NULL;
        assert_int_equal(kr_image_write(im, scratch("o.nii.gz"), NULL), 0);
        unsigned char h[352];
        head_of(scratch("o.nii.gz"), h, sizeof h);
        assert_int_equal(at_short(h, 252), 1);
        assert_int_equal(at_short(h, 254), 1);
        double want[3][4], b = at_float(h, 256), cc = at_float(h, 260), d = at_float(h, 264), aa = sqrt(fmax(0, 1 - b * b - cc * cc - d * d));
        double R[3][3] = { { aa * aa + b * b - cc * cc - d * d, 2 * (b * cc - aa * d), 2 * (b * d + aa * cc) },
                           { 2 * (b * cc + aa * d), aa * aa + cc * cc - b * b - d * d, 2 * (cc * d - aa * b) },
                           { 2 * (b * d - aa * cc), 2 * (cc * d + aa * b), aa * aa + d * d - b * b - cc * cc } };
        for (int r = 0; r < 3; r++)
            for (int k = 0; k < 4; k++) {
                want[r][k] = json_number_value(json_array_get(json_array_get(json_object_get(json_object_get(c, "ras_affine"), "fft_centre"),
                                                                             (size_t)r), (size_t)k));
                double step = k < 3 ? at_float(h, 80 + 4 * k) * (k == 2 ? at_float(h, 76) : 1) : 0;
                double by_q = k < 3 ? R[r][k] * step : at_float(h, 268 + 4 * r);
                assert_near(at_float(h, 280 + 16 * r + 4 * k), want[r][k], 2e-5);     /* float32 of numbers around 100 */
                assert_near(by_q, want[r][k], 2e-3);     /* a = sqrt(1 - ...) loses half the digits of float32 near 0 */
            }
        assert_int_equal(kr_image_read(&back, scratch("o.nii.gz")), 0);
        check_affine(back, (const double (*)[4])want, 2e-5);
        kr_image_unref(&im);
        kr_image_unref(&back);
    }
    json_decref(cases);
}

/* Slices, times, complex numbers and notes come back; so do the positions of the slices. */
static void test_round(void **state)
{
    (void)state;
    static const char *const name[] = { "r.nii", "r.nii.gz" };
    static const kr_shape shape[] = { KR_SHAPE([KR_X] = 7, [KR_Y] = 5, [KR_SLICE] = 3, [KR_TIME] = 4, [KR_ECHO] = 2), KR_SHAPE([KR_X] = 6, [KR_Y] = 4, [KR_Z] = 5),
                                      KR_SHAPE([KR_X] = 4, [KR_Y] = 3, [KR_COIL] = 3, [KR_MAP] = 2), KR_SHAPE([KR_Y] = 9), KR_SHAPE([KR_X] = 3, [KR_Z] = 2, [KR_PHASE] = 2) };
    for (int k = 0; k < 20; k++) {
        kr_shape s = shape[k / 4];
        kr_scoped(array) a = kr_array_new(k & 1 ? KR_C32 : KR_R32, s);
        fill_random(a, (uint64_t)k);
        kr_scoped(geom) g = kr_geom_new(s.n[KR_SLICE]);
        g->known = true;
        g->fov_mm[0] = 240, g->fov_mm[1] = 200, g->fov_mm[2] = 5;
        double c = cos(0.2), d = sin(0.2);
        memcpy(g->read_dir, (double[]){ c, 0, -d }, sizeof g->read_dir);
        memcpy(g->slice_dir, (double[]){ d, 0, c }, sizeof g->slice_dir);
        for (long i = 0; i < g->slices; i++)
            for (int j = 0; j < 3; j++)
                g->position_mm[i][j] = 10 * j + 6.5 * (double)i * g->slice_dir[j];
        kr_scoped(meta) m = kr_meta_new();
        assert_int_equal(kr_meta_set(m, "command", "kray recon a.h5 -o b.nii"), 0);
        assert_int_equal(kr_meta_set(m, "frame_ms", "2500"), 0);
        kr_image *im = kr_image_new(a, g, m), *back = NULL;
        const char *path = scratch(name[k / 2 % 2]);
        assert_int_equal(kr_image_write(im, path, NULL), 0);
        assert_int_equal(kr_image_read(&back, path), 0);
        assert_int_equal(back->data->type, a->type);
        assert_string_equal(kr_shape_text(kr_array_shape(back->data)), kr_shape_text(s));
        assert_memory_equal(back->data->data, a->data, (size_t)kr_count(s) * (k & 1 ? 8 : 4));
        assert_string_equal(kr_meta_get(back->meta, "command"), "kray recon a.h5 -o b.nii");
        assert_int_equal(back->geom->slices, g->slices);
        for (long i = 0; i < g->slices; i++)
            for (int j = 0; j < 3; j++)
                assert_near(back->geom->position_mm[i][j], g->position_mm[i][j], 1e-4);    /* float32 of numbers around 100 */
        for (int j = 0; j < 3; j++) {
            assert_near(back->geom->read_dir[j], g->read_dir[j], 1e-6);
            assert_near(back->geom->slice_dir[j], g->slice_dir[j], 1e-6);
            if (j < 2)
                assert_near(back->geom->fov_mm[j], g->fov_mm[j], 1e-4);
        }
        unsigned char h[352];
        head_of(path, h, sizeof h);
        assert_near(at_float(h, 92), s.n[KR_TIME] > 1 ? 2.5 : 1, 1e-6);
        assert_int_equal(h[123], s.n[KR_TIME] > 1 ? 2 + 8 : 2);
        assert_near(at_float(h, 88), g->slices > 1 ? 6.5 : s.n[KR_Z] > 1 ? 5. / (double)s.n[KR_Z] : 5, 1e-5);
        kr_image_unref(&im);
        kr_image_unref(&back);
    }
}

/* The order of the volumes: time is NIfTI's fourth axis, whatever else there is. */
static void test_layout(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2, [KR_Y] = 2, [KR_SLICE] = 2, [KR_TIME] = 3, [KR_ECHO] = 2));
    for (long t = 0; t < 3; t++)
        for (long e = 0; e < 2; e++)
            for (long s = 0; s < 2; s++)
                KR_R(a)[t * a->step[KR_TIME] + e * a->step[KR_ECHO] + s * a->step[KR_SLICE]] = (float)(100 * t + 10 * e + s + 1);
    assert_int_equal(kr_array_write(a, NULL, scratch("l.nii")), 0);
    unsigned char h[4096];
    size_t n = head_of(scratch("l.nii"), h, sizeof h);
    static const int dim[] = { 5, 2, 2, 2, 3, 2, 1, 1 };
    for (int k = 0; k < 8; k++)
        assert_int_equal(at_short(h, 40 + 2 * k), dim[k]);
    int from = (int)at_float(h, 108);
    assert_int_equal(n, from + 48 * 4);
    assert_true((int)from % 16 == 0);
    for (int i = 0; i < 12; i++)
        assert_true(at_float(h, from + 16 * i) == 100 * (i / 2 % 3) + 10 * (i / 6) + i % 2 + 1);
}

/* Slabs: joined where they touch, refused where not; positions that are unknown are stacked. */
static void test_slabs(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4, [KR_Z] = 4, [KR_SLICE] = 2));
    kr_fill(a, 1);
    kr_scoped(geom) g = kr_geom_new(2);
    g->known = true;
    g->fov_mm[0] = g->fov_mm[1] = 40;
    g->fov_mm[2] = 8;
    g->position_mm[1][2] = 8;
    kr_image *im = kr_image_new(a, g, NULL);
    assert_int_equal(kr_image_write(im, scratch("s.nii"), NULL), 0);
    unsigned char h[352];
    head_of(scratch("s.nii"), h, sizeof h);
    assert_int_equal(at_short(h, 46), 8);
    assert_near(at_float(h, 312 + 8), 2, 1e-6);
    assert_near(at_float(h, 312 + 12), -4, 1e-6);
    im->geom->position_mm[1][2] = 7;
    assert_true(kr_image_write(im, scratch("s2.nii"), NULL) < 0);
    assert_refused(KR_EREFUSED, "does not touch");
    assert_int_not_equal(access(scratch("s2.nii"), F_OK), 0);
    kr_image_unref(&im);
    kr_scoped(array) flat = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4, [KR_SLICE] = 4));
    kr_scoped(geom) one = kr_geom_new(1);
    one->fov_mm[2] = 3;
    im = kr_image_new(flat, one, NULL);
    assert_int_equal(kr_image_write(im, scratch("s.nii"), NULL), 0);
    head_of(scratch("s.nii"), h, sizeof h);
    assert_near(at_float(h, 88), 3, 1e-6);
    assert_int_equal(at_short(h, 252) | at_short(h, 254), 0);      /* no patient, no codes */
    kr_image_unref(&im);
}

static void put(const char *name, const void *bytes, size_t n) { spill(scratch(name), bytes, (long)n); }

/* Every kind of number, in both byte orders: the value 3 (colour: mean of 1, 2, 6). */
static void test_types(void **state)
{
    (void)state;
    static const struct { short code; unsigned char bytes, width; const char *three; } type[] = {
        { 2, 1, 1, "\3" }, { 256, 1, 1, "\3" }, { 4, 2, 2, "\3\0" }, { 512, 2, 2, "\3\0" }, { 8, 4, 4, "\3\0\0\0" }, { 768, 4, 4, "\3\0\0\0" },
        { 1024, 8, 8, "\3\0\0\0\0\0\0\0" }, { 1280, 8, 8, "\3\0\0\0\0\0\0\0" }, { 16, 4, 4, "\0\0\x40\x40" }, { 64, 8, 8, "\0\0\0\0\0\0\x08\x40" },
        { 32, 8, 4, "\0\0\x40\x40\0\0\x40\x40" }, { 1792, 16, 8, "\0\0\0\0\0\0\x08\x40\0\0\0\0\0\0\x08\x40" }, { 128, 3, 1, "\1\2\6" }, { 2304, 4, 1, "\1\2\6\xff" } };
    for (size_t i = 0; i < sizeof type / sizeof *type; i++)
        for (int swap = 0; swap < 2; swap++) {
            unsigned char f[352 + 16] = { 0 };
            int32_t size = 348;
            short dim[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, bits = (short)(8 * type[i].bytes);
            float offset = 352;
            memcpy(f, &size, 4), memcpy(f + 40, dim, 16), memcpy(f + 70, &type[i].code, 2), memcpy(f + 72, &bits, 2), memcpy(f + 108, &offset, 4);
            memcpy(f + 344, "n+1", 4);
            memcpy(f + 352, type[i].three, type[i].bytes);
            if (swap) {
                static const struct { int at, width, n; } field[] = { { 0, 4, 1 }, { 40, 2, 8 }, { 70, 2, 2 }, { 108, 4, 1 } };
                for (int k = 0; k < 4; k++)
                    for (int j = 0; j < field[k].n; j++)
                        for (int b = 0; b < field[k].width / 2; b++) {
                            unsigned char *p = f + field[k].at + j * field[k].width, t = p[b];
                            p[b] = p[field[k].width - 1 - b];
                            p[field[k].width - 1 - b] = t;
                        }
                for (int j = 0; j < type[i].bytes; j++)
                    f[352 + j] = (unsigned char)type[i].three[j - j % type[i].width + type[i].width - 1 - j % type[i].width];
            }
            put("t.nii", f, 352u + type[i].bytes);
            kr_scoped(array) a = NULL;
            assert_int_equal(kr_array_read(&a, scratch("t.nii")), 0);
            if (a->type == KR_C32)
                assert_true(kr_re(*KR_C(a)) == 3 && kr_im(*KR_C(a)) == 3);
            else
                assert_true(*KR_R(a) == 3);
        }
}

/* A place in the header that is none: the image has none, and says why; a place that says nothing is no fault. */
static void test_no_place(void **state)
{
    (void)state;
    const float good[12] = { 2, 0, 0, -40, 0, 2, 0, -32, 0, 0, 3, -4 };
    static const struct { short sform, qform; int at; float value; const char *words; } bad[] = {
        { 1, 0, -1, 0, NULL }, { 0, 0, -1, 0, NULL }, { 0, 1, -1, 0, NULL }, { 1, 0, 280, NAN, "not finite" }, { 1, 0, 292, INFINITY, "not finite" },
        { 1, 0, 280, 0, "column of zeros" }, { 1, 0, 280, 1e30f, "longer than 1000 km" }, { 1, 0, 300, 2, NULL }, { 0, 1, 256, NAN, "quaternion" },
        { 0, 1, 260, 4, "quaternion" }, { 0, 1, 272, NAN, "offset" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char f[356] = { 0 };
        int32_t size = 348;
        short dim[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, type = 16;
        float offset = 352, voxel[4] = { 1, 2, 2, 3 };
        memcpy(f, &size, 4), memcpy(f + 40, dim, 16), memcpy(f + 70, &type, 2), memcpy(f + 76, voxel, 16), memcpy(f + 108, &offset, 4), memcpy(f + 344, "n+1", 4);
        memcpy(f + 252, &bad[i].qform, 2), memcpy(f + 254, &bad[i].sform, 2), memcpy(f + 280, good, sizeof good);
        if (bad[i].at >= 0)
            memcpy(f + bad[i].at, &bad[i].value, 4);
        put("place.nii", f, 356);
        kr_scoped(image) im = NULL;
        assert_int_equal(kr_image_read(&im, scratch("place.nii")), 0);
        const char *why = kr_meta_get(im->meta, "place_unknown");
        assert_int_equal(im->geom->known, !bad[i].words && (bad[i].sform || bad[i].qform));
        assert_true(bad[i].words ? why && strstr(why, bad[i].words) : !why);
        assert_near(im->geom->fov_mm[0], 2, 1e-6);
    }
    unsigned char f[356] = { 0 };      /* two columns that lie along each other */
    int32_t size = 348;
    short dim[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, type = 16, one = 1;
    float offset = 352;
    memcpy(f, &size, 4), memcpy(f + 40, dim, 16), memcpy(f + 70, &type, 2), memcpy(f + 108, &offset, 4), memcpy(f + 344, "n+1", 4);
    memcpy(f + 254, &one, 2), memcpy(f + 280, (const float[12]){ 2, 2, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0 }, 48);
    put("place.nii", f, 356);
    kr_scoped(image) im = NULL;
    assert_int_equal(kr_image_read(&im, scratch("place.nii")), 0);
    assert_false(im->geom->known);
    assert_non_null(strstr(kr_meta_get(im->meta, "place_unknown"), "in a plane"));
}

static void refused(const unsigned char *file, size_t n, int at, const void *value, size_t width, const char *words)
{
    unsigned char copy[400];
    memcpy(copy, file, n);
    memcpy(copy + at, value, width);
    put("bad.nii", copy, n);
    kr_image *im = NULL;
    assert_true(kr_image_read(&im, scratch("bad.nii")) < 0);
    assert_null(im);
    assert_refused(KR_EFORMAT, words);
}

static void test_refusals(void **state)
{
    (void)state;
    unsigned char f[356] = { 0 };
    int32_t size = 348;
    short dim[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, type = 16, v;
    float offset = 352, w;
    memcpy(f, &size, 4), memcpy(f + 40, dim, 16), memcpy(f + 70, &type, 2), memcpy(f + 108, &offset, 4), memcpy(f + 344, "n+1", 4);
    v = 9, refused(f, 356, 40, &v, 2, "9 axes");
    v = 0, refused(f, 356, 40, &v, 2, "0 axes");
    v = -3, refused(f, 356, 42, &v, 2, "length -3 along axis 1");
    v = 2, refused(f, 356, 42, &v, 2, "announces 8 bytes of data from byte 352 on, but the file has 356");
    v = 1536, refused(f, 356, 70, &v, 2, "type 1536 are not read");
    v = 77, refused(f, 356, 70, &v, 2, "type 77 are not read");
    w = NAN, refused(f, 356, 108, &w, 4, "data begin at byte nan");
    w = 100, refused(f, 356, 108, &w, 4, "data begin at byte 100");
    w = 1e30f, refused(f, 356, 108, &w, 4, "data begin at byte");
    size = 7, refused(f, 356, 0, &size, 4, "says it has 7 bytes where 348 are wanted");
    short many[8] = { 7, 32767, 32767, 32767, 32767, 32767, 32767, 32767 };
    refused(f, 356, 40, many, 16, "announces length 32767");
    refused(f, 351, 40, dim, 16, "announces 4 bytes");
    /* A gzip file cut in the middle, and one that announces far more than it can hold. */
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 64, [KR_Y] = 64));
    fill_random(a, 9);
    assert_int_equal(kr_array_write(a, NULL, scratch("c.nii.gz")), 0);
    FILE *g = fopen(scratch("c.nii.gz"), "rb");
    static unsigned char packed[40000];
    size_t n = fread(packed, 1, sizeof packed, g);
    fclose(g);
    kr_image *im = NULL;
    put("c.nii.gz", packed, n / 2);
    assert_true(kr_image_read(&im, scratch("c.nii.gz")) < 0);
    assert_refused(KR_EFORMAT, "cannot be read to the end");
    many[0] = 3, many[1] = many[2] = many[3] = 2000;
    memcpy(f + 40, many, 16);
    gzFile z = gzopen(scratch("b.nii.gz"), "wb");
    gzwrite(z, f, sizeof f);
    gzclose(z);
    assert_true(kr_image_read(&im, scratch("b.nii.gz")) < 0);
    assert_refused(KR_EFORMAT, "(packed)");
    many[1] = many[2] = many[3] = 1150;              /* 1.5 GB of bytes, in 1.7 MB that could hold them */
    type = 2;
    memcpy(f + 40, many, 16), memcpy(f + 70, &type, 2);
    z = gzopen(scratch("b.nii.gz"), "wb");
    gzwrite(z, f, sizeof f);
    for (uint64_t i = 0; i < 1700000 / 8; i++) {
        uint64_t noise = kr_rand_bits(1, 2, i);
        gzwrite(z, &noise, 8);
    }
    gzclose(z);
    assert_true(kr_image_read(&im, scratch("b.nii.gz")) < 0);
    assert_refused(KR_EFORMAT, "at most 200 times its length and 1 GB are unpacked");
    /* Axes by name, wrong and right. */
    assert_int_equal(kr_array_write(a, NULL, scratch("n.nii")), 0);
    char source[300];
    snprintf(source, sizeof source, "%s@x,-,y", scratch("n.nii"));
    assert_true(kr_image_read(&im, source) < 0);
    assert_refused(KR_EUSAGE, "no name to axis 2");
    snprintf(source, sizeof source, "%s@y,z", scratch("n.nii"));
    assert_int_equal(kr_image_read(&im, source), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(im->data)), "{y=64 z=64}");
    kr_image_unref(&im);
    kr_scoped(array) many_axes = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2, [KR_TIME] = 2, [KR_ECHO] = 2, [KR_PHASE] = 2, [KR_SET] = 2, [KR_AVG] = 2));
    assert_true(kr_array_write(many_axes, NULL, scratch("m.nii")) < 0);
    assert_refused(KR_ESHAPE, "more axes than the 7 of NIfTI");
    kr_scoped(array) wide = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 40000));
    assert_true(kr_array_write(wide, NULL, scratch("m.nii")) < 0);
    assert_refused(KR_ESHAPE, "at most 32767");
}

/* The packed file is one gzip member, the same on any number of threads, whatever its length; zlib unpacks it. */
static void test_gzip(void **state)
{
    (void)state;
    long n = 3 * 262144 + 17, before = kr_threads();      /* over 3 MiB: several pieces of 1 MiB */
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 8192, [KR_Y] = n / 8192));
    fill_random(a, 4);
    static unsigned char one[5 << 20], two[5 << 20];
    size_t length[2];
    for (int k = 0; k < 2; k++) {
        kr_threads_set(k + 1);
        assert_int_equal(kr_array_write(a, NULL, scratch("g.nii.gz")), 0);
        FILE *f = fopen(scratch("g.nii.gz"), "rb");
        length[k] = fread(k ? two : one, 1, sizeof one, f);
        fclose(f);
    }
    kr_threads_set((int)before);
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(one, two, length[0]);
    z_stream z = { .next_in = one, .avail_in = (uInt)length[0], .next_out = two, .avail_out = sizeof two };
    assert_int_equal(inflateInit2(&z, 16 + 15), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);       /* checks sum and length */
    assert_int_equal(z.avail_in, 0);                             /* nothing after the first member */
    inflateEnd(&z);
}

/* What nibabel makes of a file of ours. */
static void test_nibabel(void **state)
{
    (void)state;
    if (system("/usr/bin/python3 -c 'import nibabel' 2>/dev/null")) {
        print_message("skipped: nibabel is absent\n");
        skip();
    }
    kr_scoped(array) a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 4, [KR_Y] = 3, [KR_SLICE] = 2, [KR_TIME] = 2));
    for (long i = 0; i < 48; i++)
        KR_C(a)[i] = kr_c((float)i, 1);
    kr_scoped(geom) g = kr_geom_new(2);
    g->known = true;
    g->fov_mm[0] = 8, g->fov_mm[1] = 9, g->fov_mm[2] = 4;
    g->position_mm[1][2] = 5;
    kr_image *im = kr_image_new(a, g, NULL);
    assert_int_equal(kr_image_write(im, scratch("py.nii.gz"), NULL), 0);
    kr_image_unref(&im);
    char line[1024];
    snprintf(line, sizeof line, "/usr/bin/python3 -c \"import nibabel as n, numpy as np; i = n.load('%s'); a = np.asarray(i.dataobj)\n"
             "assert a.shape == (4, 3, 2, 2) and a.dtype == np.complex64 and a[3, 2, 1, 1] == 47 + 1j and a[1, 0, 1, 0] == 13 + 1j, a\n"
             "assert np.allclose(i.affine, [[-2, 0, 0, 4], [0, -3, 0, 3], [0, 0, 5, 0], [0, 0, 0, 1]]), i.affine\n"
             "assert np.allclose(i.get_qform(), i.get_sform(), atol=1e-5) and i.header.get_xyzt_units()[0] == 'mm'\n"
             "assert b'axes: x,y,slice,time' in i.header.extensions[0].get_content()\"", scratch("py.nii.gz"));
    assert_int_equal(system(line), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples), cmocka_unit_test(test_orientation), cmocka_unit_test(test_round), cmocka_unit_test(test_layout),
        cmocka_unit_test(test_slabs), cmocka_unit_test(test_types), cmocka_unit_test(test_no_place), cmocka_unit_test(test_refusals), cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_nibabel) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
