/* test_ismrmrd.c: ISMRMRD files: the shared samples against their expected values, files made and read by libismrmrd, and
 * files that are wrong. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include <hdf5.h>
#include <ismrmrd/dataset.h>
#include <ismrmrd/ismrmrd.h>
#include <jansson.h>
#include <sys/stat.h>

#define FLAG(n) (1ull << ((n) - 1))

static const char *temp(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, 256, "/tmp/kray-test-%ld-%s", (long)getpid(), name);
    return p;
}

static kr_scan *read_ok(const char *path)
{
    kr_scan *s = NULL;
    if (kr_scan_read(&s, path, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    return s;
}

static kr_cfloat at(const kr_array *a, long x, long y, long c) { return KR_C(a)[x * a->step[KR_X] + y * a->step[KR_Y] + c * a->step[KR_COIL]]; }

/* ---- The samples against expected.json, which numpy made ---- */
static json_t *expected(const char *name)
{
    json_error_t e;
    json_t *all = json_load_file(shared("samples/ismrmrd/expected.json"), 0, &e), *one = json_object_get(all, name);
    assert_non_null(one);
    json_incref(one);
    json_decref(all);
    return one;
}

static double number(json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void check_rss(const char *name)
{
    json_t *want = expected(name), *row = json_object_get(want, "rss_centre_row");
    kr_scan *s = read_ok(shared(name[0] == 'c' ? "samples/ismrmrd/cpp_full32_with_cppimage.h5" : "samples/ismrmrd/py_cart16_noise_wav.mrd"));
    kr_scoped(array) im = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(im, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    kr_scoped(array) crop = kr_array_crop(im, KR_X, s->enc.recon[0]);
    kr_scoped(array) rss = kr_rss(crop, KR_COIL);
    kr_scoped(array) r = kr_array_packed(rss);
    double sum = 0;
    for (long i = 0; i < r->n[KR_X] * r->n[KR_Y]; i++)
        sum += KR_R(r)[i];
    /* numpy transforms in double, we in float: some 1e-6 of each value */
    assert_near(sum, number(want, "rss_ortho_sum"), 1e-5 * sum);
    assert_near(kr_max_abs(r), number(want, "rss_ortho_max"), 1e-5);
    for (size_t x = 0; x < json_array_size(row); x++)        /* numpy's row 16 is y */
        assert_near(KR_R(r)[(long)x + r->n[KR_X] * (r->n[KR_Y] / 2)], json_number_value(json_array_get(row, x)), 2e-6);
    json_decref(want);
    kr_scan_unref(&s);
}

static void test_expected_images(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/expected.json");
    check_rss("cpp_full32_with_cppimage.h5");
    check_rss("py_cart16_noise_wav.mrd");
}

/* The image that libismrmrd's own reconstruction wrote into the same file. */
static void test_image_of_libismrmrd(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/cpp_full32_with_cppimage.h5");
    kr_scan *s = read_ok(shared("samples/ismrmrd/cpp_full32_with_cppimage.h5"));
    kr_image *theirs = NULL;
    assert_int_equal(kr_image_read(&theirs, shared("samples/ismrmrd/cpp_full32_with_cppimage.h5")), 0);
    assert_int_equal(kr_fourier_inverse(s->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    kr_scoped(array) crop = kr_array_crop(s->data, KR_X, 32);
    kr_scoped(array) rss = kr_rss(crop, KR_COIL);
    kr_scale(rss, sqrtf(64 * 32));                           /* their transform is not unitary */
    assert_near(distance(rss, theirs->data), 0, 1e-6);       /* float transforms of 64 x 32 points */
    kr_image_unref(&theirs);
    kr_scan_unref(&s);
}

static void test_expected_lines(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/cpp_phantom32_acc2_cal8_noise.h5");
    json_t *want = expected("cpp_phantom32_acc2_cal8_noise.h5");
    kr_scan *s = read_ok(shared("samples/ismrmrd/cpp_phantom32_acc2_cal8_noise.h5"));
    long both = 0;
    for (long i = 0; i < s->lines[KR_LINES_IMAGING].count; i++)
        both += (s->lines[KR_LINES_IMAGING].line[i].flags & FLAG(21)) != 0;
    assert_int_equal(s->lines[KR_LINES_NOISE].count, number(want, "n_noise"));
    assert_int_equal(s->lines[KR_LINES_CALIB].count, number(want, "n_calib_only"));
    assert_int_equal(both, number(want, "n_calib_and_img"));
    assert_int_equal(s->lines[KR_LINES_IMAGING].count + s->lines[KR_LINES_CALIB].count + s->lines[KR_LINES_NOISE].count, number(want, "n_acq"));
    assert_int_equal(s->noise->n[KR_SAMPLE], number(want, "noise_samples"));
    assert_near(s->noise_dwell_us, number(want, "noise_dwell_us"), 0);
    assert_near(s->dwell_us, number(want, "acq_dwell_us"), 0);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 64, [KR_Y] = 32, [KR_COIL] = 2, [KR_TIME] = 2)));
    assert_true(kr_shape_equal(kr_array_shape(s->calib), KR_SHAPE([KR_X] = 64, [KR_Y] = 8, [KR_COIL] = 2)));
    assert_false(s->geom->known);                            /* its directions are all zero */
    assert_non_null(strstr(s->notes.s, "directions"));
    for (long y = 0; y < 32; y++)                            /* R = 2, even lines first, and 8 lines around the centre */
        for (long t = 0; t < 2; t++)
            assert_int_equal(KR_R(s->mask)[y + 32 * t], y % 2 == t);
    json_decref(want);
    kr_scan_unref(&s);
}

static void test_real_scan(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    kr_scan *s = read_ok(shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5")), *head = NULL;
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 384, [KR_Y] = 144, [KR_COIL] = 14)));
    assert_true(kr_shape_equal(kr_array_shape(s->calib), KR_SHAPE([KR_X] = 384, [KR_Y] = 48, [KR_COIL] = 14)));
    for (long y = 0; y < 144; y++)                           /* every third of 106 lines, the header's centre 54 at 72 */
        assert_int_equal(KR_R(s->mask)[y], y >= 18 && y < 18 + 106 && (y - 18) % 3 == 0);
    kr_scoped(array) a = kr_array_at(s->data, KR_Y, 18 + 33); /* line 33 is image and calibration: the same samples in both */
    kr_scoped(array) b = kr_array_at(s->calib, KR_Y, 33 - 54 + 24);
    assert_near(distance(a, b), 0, 0);
    assert_string_equal(kr_meta_get(s->meta, "te_ms"), "1.62");
    assert_string_equal(kr_meta_get(s->meta, "model"), "Skyra");
    assert_near(s->enc.encoded_mm[0], 560, 0);
    assert_near(s->geom->read_dir[0], -1, 1e-6);
    assert_near(s->geom->position_mm[0][1], 66.57, 1e-3);
    assert_int_equal(kr_scan_read(&head, shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"), NULL, &(kr_read){ .header_only = true }, NULL), 0);
    assert_null(head->data);
    assert_true(kr_shape_equal(head->shape, s->shape));
    assert_near(distance(head->mask, s->mask), 0, 0);
    kr_scan_unref(&head);
    kr_scan_unref(&s);
}

/* ---- Files that libismrmrd writes as we ask ---- */
#define HEADER(encodings) "<?xml version=\"1.0\"?><ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><experimentalConditions>" \
    "<H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>" encodings "</ismrmrdHeader>"
#define SPACE(x, y, z) "<matrixSize><x>" #x "</x><y>" #y "</y><z>" #z "</z></matrixSize><fieldOfView_mm><x>160</x><y>80</y><z>5</z></fieldOfView_mm>"
#define ENCODING(x, y, z, limits, rest) "<encoding><encodedSpace>" SPACE(x, y, z) "</encodedSpace><reconSpace>" SPACE(x, y, z) "</reconSpace>" \
    "<encodingLimits>" limits "</encodingLimits>" rest "</encoding>"
#define LIMIT(step, min, max, centre) "<kspace_encoding_step_" #step "><minimum>" #min "</minimum><maximum>" #max "</maximum><center>" #centre \
    "</center></kspace_encoding_step_" #step ">"
#define CARTESIAN "<trajectory>cartesian</trajectory>"
enum { CHANNELS = 2 };

typedef struct maker { ISMRMRD_Dataset d; const char *path; } maker;

static maker begin(const char *name, const char *group, const char *xml)
{
    maker m = { .path = temp(name) };
    ismrmrd_init_dataset(&m.d, m.path, group);
    assert_int_equal(ismrmrd_open_dataset(&m.d, true), 0);
    if (xml)
        assert_int_equal(ismrmrd_write_header(&m.d, xml), 0);
    return m;
}

/* A line whose sample s of channel c is (tag, s + 100 c). */
static void line(maker *m, ISMRMRD_AcquisitionHeader h, float tag)
{
    ISMRMRD_Acquisition a;
    ismrmrd_init_acquisition(&a);
    h.version = 1;
    h.active_channels = h.available_channels = h.active_channels ? h.active_channels : CHANNELS;
    h.read_dir[0] = h.phase_dir[1] = h.slice_dir[2] = 1;
    a.head = h;
    assert_int_equal(ismrmrd_make_consistent_acquisition(&a), 0);
    for (int c = 0; c < h.active_channels; c++)
        for (int s = 0; s < h.number_of_samples; s++) {
            float v[2] = { tag, (float)(s + 100 * c) };
            memcpy(a.data + c * h.number_of_samples + s, v, sizeof v);
        }
    for (int s = 0; s < h.number_of_samples * h.trajectory_dimensions; s++)
        a.traj[s] = tag + 0.01f * (float)s;
    assert_int_equal(ismrmrd_append_acquisition(&m->d, &a), 0);
    ismrmrd_cleanup_acquisition(&a);
}

static kr_scan *finish(maker *m)
{
    assert_int_equal(ismrmrd_close_dataset(&m->d), 0);
    return read_ok(m->path);
}

#define HEAD(...) ((ISMRMRD_AcquisitionHeader){ __VA_ARGS__ })
#define EIGHT .number_of_samples = 8, .center_sample = 4

static void assert_sample(kr_cfloat v, float re, float im)
{
    if (kr_re(v) != re || kr_im(v) != im)
        fail_msg("(%g, %g) where (%g, %g) is wanted", kr_re(v), kr_im(v), re, im);
}

/* Lines that all say that they are the same one are averaged, as repeated ones are, but not without a word. */
static void test_same_counters(void **state)
{
    (void)state;
    for (uint16_t step = 0; step < 2; step++) {
        maker m = begin("same.h5", "dataset", HEADER(ENCODING(8, 4, 1, , CARTESIAN)));
        for (uint16_t y = 0; y < 8; y++)
            line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = (uint16_t)(step * (y / 2)) }), (float)y);
        kr_scoped(scan) s = finish(&m);
        assert_true((strstr(s->notes.s, "warning: imaging lines that all have the same counters, so that nobody knows where in k-space they are: 8") != NULL) == (step == 0));
        assert_non_null(strstr(s->notes.s, step ? "averaged with it: 4" : "averaged with it: 7"));
        unlink(m.path);
    }
}

/* Lines measured twice with opposite phases cancel: that is said, where there is signal. */
static void test_lines_cancel(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {                      /* alike; opposite; opposite, but noise alone */
        maker m = begin("twice.h5", "dataset", HEADER(ENCODING(8, 8, 1, , CARTESIAN)));
        for (uint16_t i = 0; i < 16; i++)
            line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = i % 8 }), (i % 8 == 4 && how < 2 ? 1e6f : 1e4f) * (i > 7 && how ? -1 : 1));
        kr_scoped(scan) s = finish(&m);
        assert_non_null(strstr(s->notes.s, "averaged with it: 8"));
        assert_true((strstr(s->notes.s, "warning: lines that were measured more than once do not agree") != NULL) == (how == 1));
        unlink(m.path);
    }
}

/* A position that is no number is none: the image says nothing of where it lies. */
static void test_no_position(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        maker m = begin("nowhere.h5", "dataset", HEADER(ENCODING(8, 8, 1, , CARTESIAN)));
        for (uint16_t y = 0; y < 8; y++)
            line(&m, HEAD(EIGHT, .position = { 1, k ? NAN : 2, 3 }, .idx = { .kspace_encode_step_1 = y }), y);
        kr_scoped(scan) s = finish(&m);
        assert_int_equal(s->geom->known, !k);
        assert_true((s->notes.s && strstr(s->notes.s, "positions of the lines are not finite")) == k);
        unlink(m.path);
    }
}

/* Slices of which no line came lie between the others, so that their image can be placed; slices that all lie at one place are told of. */
static void test_places(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {                      /* all there; the second is not; all at one place */
        maker m = begin("places.h5", "dataset", HEADER(ENCODING(8, 4, 1, , CARTESIAN)));
        for (uint16_t i = 0; i < 16; i++)
            if (how != 1 || i / 4 != 1)
                line(&m, HEAD(EIGHT, .position = { 1, 2, how == 2 ? 3 : 3 + 5 * (float)(i / 4) }, .idx = { .kspace_encode_step_1 = i % 4, .slice = i / 4 }), i);
        kr_scoped(scan) s = finish(&m);
        assert_int_equal(s->geom->slices, 4);
        for (int k = 0; k < 4; k++)
            assert_near(s->geom->position_mm[k][2], how == 2 ? 3 : 3 + 5 * k, 1e-6);
        assert_true((s->notes.s && strstr(s->notes.s, "the 4 slices lie at one place")) == (how == 2));
        unlink(m.path);
    }
}

/* Converters of 2D scans write 0 partitions and mean one; 0 lines mean nothing. */
static void test_no_partitions(void **state)
{
    (void)state;
    maker m = begin("flat.h5", "dataset", HEADER(ENCODING(8, 4, 0, , CARTESIAN)));
    for (uint16_t y = 0; y < 4; y++)
        line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = y }), (float)y);
    kr_scoped(scan) s = finish(&m);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 8, [KR_Y] = 4, [KR_COIL] = 2)) && s->enc.encoded[2] == 1 && s->enc.recon[2] == 1);
    assert_non_null(strstr(s->notes.s, "0 along z"));
    maker none = begin("none.h5", "dataset", HEADER(ENCODING(8, 0, 1, , CARTESIAN)));
    line(&none, HEAD(EIGHT), 1);
    assert_int_equal(ismrmrd_close_dataset(&none.d), 0);
    kr_scan *bad = NULL;
    assert_true(kr_scan_read(&bad, none.path, NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "<y> as '0'");
}

static void test_counters(void **state)
{
    (void)state;
    maker m = begin("counters.h5", "dataset", HEADER(ENCODING(8, 4, 2, , CARTESIAN)));
    for (int i = 0; i < 1 << 8; i++)
        line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = (uint16_t)(i & 1), .kspace_encode_step_2 = i >> 1 & 1, .slice = i >> 2 & 1, .contrast = i >> 3 & 1,
                               .phase = i >> 4 & 1, .set = i >> 5 & 1, .repetition = i >> 6 & 1, .average = i >> 7 & 1 }), (float)i);
    kr_scan *s = finish(&m);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 8, [KR_Y] = 4, [KR_Z] = 2, [KR_COIL] = 2, [KR_SLICE] = 2, [KR_ECHO] = 2, [KR_PHASE] = 2,
                                                  [KR_SET] = 2, [KR_TIME] = 2, [KR_AVG] = 2)));
    static const int axis[8] = { KR_Y, KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME, KR_AVG };
    for (int i = 0; i < 1 << 8; i++) {
        long e = 3 * s->data->step[KR_X] + s->data->step[KR_COIL];
        for (int k = 0; k < 8; k++)
            e += (i >> k & 1) * s->data->step[axis[k]];
        assert_sample(KR_C(s->data)[e], (float)i, 103);
    }
    assert_true(kr_shape_equal(kr_array_shape(s->mask), KR_SHAPE([KR_Y] = 4, [KR_Z] = 2)));     /* the same for all counters */
    assert_near(kr_norm(s->mask), 2, 1e-6);
    kr_scan *slice = NULL;                                    /* one slice alone */
    assert_int_equal(kr_scan_read(&slice, m.path, NULL, &(kr_read){ .slice_from = 1, .slice_count = 1 }, NULL), 0);
    kr_scoped(array) same = kr_array_at(s->data, KR_SLICE, 1);
    assert_near(distance(slice->data, same), 0, 0);
    assert_int_equal(slice->lines[KR_LINES_IMAGING].count, 128);
    kr_scan_unref(&slice);
    assert_int_equal(kr_scan_read(&slice, m.path, NULL, &(kr_read){ .slice_from = 1, .slice_count = 2 }, NULL), KR_ESHAPE);
    kr_scan_unref(&s);
    unlink(m.path);
}

/* The placing rule: y = ky + Ny/2 - centre, x = s - center_sample + N/2. */
static void test_placing(void **state)
{
    (void)state;
    maker m = begin("placing.h5", "dataset", HEADER(ENCODING(8, 8, 1, LIMIT(1, 0, 5, 2), CARTESIAN)));
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 0 }), 1);                                            /* y = 2 */
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 5 }, .flags = FLAG(22)), 2);                         /* y = 7, mirrored */
    line(&m, HEAD(.number_of_samples = 6, .center_sample = 2, .idx = { .kspace_encode_step_1 = 1 }), 3); /* asymmetric: x = 2..7 */
    line(&m, HEAD(EIGHT, .discard_pre = 1, .discard_post = 2, .idx = { .kspace_encode_step_1 = 2 }), 4);        /* x = 1..5 */
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 6 }), 5);                                            /* y = 8: outside */
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 3, .segment = 1 }), 6);                              /* y = 5, twice */
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 3, .segment = 0 }), 8);
    line(&m, HEAD(.number_of_samples = 4, .center_sample = 0, .idx = { .kspace_encode_step_1 = 4 }), 7);  /* no centre: x = 2..5 */
    kr_scan *s = finish(&m);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 8, [KR_Y] = 8, [KR_COIL] = 2)));
    for (long x = 0; x < 8; x++) {
        assert_sample(at(s->data, x, 2, 1), 1, (float)(100 + x));
        assert_sample(at(s->data, x, 7, 0), 2, (float)(7 - x));
        assert_sample(at(s->data, x, 3, 0), x < 2 ? 0 : 3, x < 2 ? 0 : (float)(x - 2));
        assert_sample(at(s->data, x, 4, 0), x < 1 || x > 5 ? 0 : 4, x < 1 || x > 5 ? 0 : (float)x);
        assert_sample(at(s->data, x, 5, 0), 7, (float)x);
        assert_sample(at(s->data, x, 6, 0), x < 2 || x > 5 ? 0 : 7, x < 2 || x > 5 ? 0 : (float)(x - 2));
        assert_int_equal(KR_R(s->mask)[x + 8 * 4], x >= 1 && x <= 5);
        assert_int_equal(KR_R(s->mask)[x + 8 * 3], x >= 2);
        assert_int_equal(KR_R(s->mask)[x + 8 * 1], 0);
    }
    assert_non_null(strstr(s->notes.s, "outside the grid of 8 x 1, left out: 1"));
    assert_non_null(strstr(s->notes.s, "2 segments"));
    assert_non_null(strstr(s->notes.s, "averaged"));
    assert_non_null(strstr(s->notes.s, "mirrored"));
    assert_non_null(strstr(s->notes.s, "centred"));
    kr_scan_unref(&s);
    unlink(m.path);
}

/* Readouts measured backwards are mirrored first, with what is discarded of them; the centre is then as far from the end as it was from the start. */
static void test_backwards(void **state)
{
    (void)state;
    maker m = begin("backwards.h5", "dataset", HEADER(ENCODING(8, 4, 1, LIMIT(1, 0, 3, 2), CARTESIAN)));
    line(&m, HEAD(.number_of_samples = 6, .center_sample = 2, .idx = { .kspace_encode_step_1 = 0 }, .flags = FLAG(22)), 1);        /* x = 0..5 */
    line(&m, HEAD(.number_of_samples = 6, .center_sample = 4, .idx = { .kspace_encode_step_1 = 1 }, .flags = FLAG(22)), 2);        /* x = 2..7 */
    line(&m, HEAD(.number_of_samples = 7, .center_sample = 4, .discard_pre = 1, .idx = { .kspace_encode_step_1 = 2 }, .flags = FLAG(22)), 3);   /* x = 1..6 */
    line(&m, HEAD(.number_of_samples = 7, .center_sample = 4, .discard_post = 1, .idx = { .kspace_encode_step_1 = 3 }, .flags = FLAG(22)), 4);  /* x = 2..7 */
    kr_scan *s = finish(&m);
    for (long x = 0; x < 8; x++) {
        assert_sample(at(s->data, x, 0, 0), x > 5 ? 0 : 1, x > 5 ? 0 : (float)(5 - x));
        assert_sample(at(s->data, x, 1, 0), x < 2 ? 0 : 2, x < 2 ? 0 : (float)(7 - x));
        assert_sample(at(s->data, x, 2, 0), x < 1 || x > 6 ? 0 : 3, x < 1 || x > 6 ? 0 : (float)(7 - x));
        assert_sample(at(s->data, x, 3, 0), x < 2 ? 0 : 4, x < 2 ? 0 : (float)(7 - x));
    }
    kr_scan_unref(&s);
    unlink(m.path);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct { int flag; enum kr_line_kind kind; const char *word; } all[] = { { 23, KR_LINES_NAVIGATION, "navigation" },
        { 24, KR_LINES_PHASECORR, "phase correction" }, { 26, KR_LINES_FEEDBACK, "feedback" }, { 27, KR_LINES_DUMMY, "dummy" },
        { 29, KR_LINES_SURFACE, "surface" }, { 30, KR_LINES_STABILISE, "stabilisation" } };
    maker m = begin("kinds.h5", "dataset", HEADER(ENCODING(8, 8, 1, , CARTESIAN)));
    for (int i = 0; i < 6; i++)
        line(&m, HEAD(.center_sample = 4, .number_of_samples = (uint16_t)(5 + i), .flags = FLAG(all[i].flag)), (float)i);
    line(&m, HEAD(.flags = FLAG(19), .number_of_samples = 16, .sample_time_us = 20), 9);
    line(&m, HEAD(.flags = FLAG(19), .number_of_samples = 4, .sample_time_us = 20), 10);
    line(&m, HEAD(EIGHT, .sample_time_us = 5), 11);
    kr_scan *s = finish(&m);
    for (int i = 0; i < 6; i++) {
        const kr_lines *l = &s->lines[all[i].kind];
        assert_int_equal(l->count, 1);
        assert_sample(KR_C(l->data)[4 * l->data->step[KR_SAMPLE] + l->data->step[KR_COIL]], (float)i, 104);
        assert_non_null(strstr(s->notes.s, all[i].word));    /* never dropped silently */
    }
    assert_true(kr_shape_equal(kr_array_shape(s->noise), KR_SHAPE([KR_SAMPLE] = 20, [KR_COIL] = 2)));
    assert_sample(KR_C(s->noise)[16], 10, 0);
    assert_near(s->noise_dwell_us, 20, 0);
    assert_near(s->dwell_us, 5, 0);
    assert_int_equal(s->lines[KR_LINES_IMAGING].count, 1);
    kr_scan_unref(&s);
    unlink(m.path);
}

static void test_calibration(void **state)
{
    (void)state;
    maker m = begin("calib.h5", "dataset", HEADER(ENCODING(8, 16, 1, LIMIT(1, 0, 15, 8), CARTESIAN)));
    for (uint16_t y = 0; y < 16; y += 4)
        line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = y }, .flags = y == 8 ? FLAG(21) : 0), (float)y);
    for (uint16_t y = 6; y < 10; y++)
        if (y != 8)
            line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = y }, .flags = FLAG(20)), (float)y);
    kr_scan *s = finish(&m);
    assert_true(kr_shape_equal(kr_array_shape(s->calib), KR_SHAPE([KR_X] = 8, [KR_Y] = 4, [KR_COIL] = 2)));   /* 6..9: DC, 8, at 2 */
    assert_null(s->calib_mask);
    for (long y = 0; y < 4; y++)
        assert_sample(at(s->calib, 1, y, 0), (float)(6 + y), 1);
    assert_sample(at(s->data, 1, 7, 0), 0, 0);               /* calibration alone is no part of the image */
    assert_sample(at(s->data, 1, 8, 0), 8, 1);
    kr_scan_unref(&s);
    unlink(m.path);
    /* separate lines counted from 0, in an encoding of their own */
    m = begin("separate.h5", "dataset", HEADER(ENCODING(8, 64, 1, LIMIT(1, 0, 63, 32), CARTESIAN) ENCODING(8, 64, 1, LIMIT(1, 0, 63, 32), CARTESIAN)));
    for (uint16_t y = 0; y < 64; y += 2)
        line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = y }), (float)y);
    for (uint16_t y = 0; y < 6; y++)
        line(&m, HEAD(EIGHT, .encoding_space_ref = 1, .idx = { .kspace_encode_step_1 = y }, .flags = FLAG(20)), (float)y);
    s = finish(&m);
    assert_true(kr_shape_equal(kr_array_shape(s->calib), KR_SHAPE([KR_X] = 8, [KR_Y] = 6, [KR_COIL] = 2)));
    assert_sample(at(s->calib, 0, 3, 0), 3, 0);
    assert_non_null(strstr(s->notes.s, "counted from their own middle"));
    assert_non_null(strstr(s->notes.s, "2 encodings"));
    kr_scan_unref(&s);
    unlink(m.path);
}

/* Slice counters in the order of measuring: 0, 2, 1 in space. */
static void test_slice_order(void **state)
{
    (void)state;
    maker m = begin("slices.h5", "dataset", HEADER(ENCODING(8, 1, 1, , CARTESIAN)));
    static const float z[3] = { -10, 10, 0 };
    for (int i = 0; i < 3; i++)
        line(&m, HEAD(EIGHT, .position = { 1, 2, z[i] }, .idx = { .slice = (uint16_t)i }), z[i]);
    kr_scan *s = finish(&m);
    for (long k = 0; k < 3; k++) {
        assert_near(s->geom->position_mm[k][2], 10.0 * (double)(k - 1), 0);
        assert_sample(KR_C(s->data)[k * s->data->step[KR_SLICE]], (float)(10 * (k - 1)), 0);
    }
    assert_int_equal(s->lines[KR_LINES_IMAGING].line[1].slice, 2);     /* heads stay in step with the data */
    assert_non_null(strstr(s->notes.s, "positions"));
    kr_scan_unref(&s);
    unlink(m.path);
}

static void test_spokes(void **state)
{
    (void)state;
    maker m = begin("radial.h5", "dataset", HEADER(ENCODING(8, 8, 1, , "<trajectory>radial</trajectory>")));
    for (int i = 0; i < 6; i++)
        line(&m, HEAD(EIGHT, .trajectory_dimensions = 2, .idx = { .repetition = (uint16_t)(i / 3), .kspace_encode_step_1 = (uint16_t)(i % 3) }), (float)(i % 3));
    kr_scan *s = finish(&m);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_SAMPLE] = 8, [KR_VIEW] = 3, [KR_COIL] = 2, [KR_TIME] = 2)));
    assert_true(kr_shape_equal(kr_array_shape(s->traj), KR_SHAPE([KR_SAMPLE] = 8, [KR_VIEW] = 3, [KR_CHAN] = 2)));     /* the same in both */
    assert_near(KR_R(s->traj)[2 * s->traj->step[KR_VIEW] + 5 * s->traj->step[KR_SAMPLE] + s->traj->step[KR_CHAN]], 2.11, 1e-6);
    kr_scan *again = NULL;
    assert_int_equal(kr_scan_write(s, temp("radial2.mrd"), NULL), 0);
    again = read_ok(temp("radial2.mrd"));
    assert_near(distance(again->data, s->data), 0, 0);
    assert_near(distance(again->traj, s->traj), 0, 0);
    kr_scan_unref(&again);
    kr_scan_unref(&s);
    unlink(temp("radial2.mrd"));
    unlink(m.path);
}

static void test_groups(void **state)
{
    (void)state;
    maker m = begin("groups.h5", "first", HEADER(ENCODING(8, 1, 1, , CARTESIAN)));
    line(&m, HEAD(EIGHT, .idx = { 0 }), 1);
    assert_int_equal(ismrmrd_close_dataset(&m.d), 0);
    ismrmrd_init_dataset(&m.d, m.path, "second");
    assert_int_equal(ismrmrd_open_dataset(&m.d, true), 0);
    assert_int_equal(ismrmrd_write_header(&m.d, HEADER(ENCODING(8, 1, 1, , CARTESIAN))), 0);
    line(&m, HEAD(EIGHT, .idx = { 0 }), 2);
    kr_scan *s = finish(&m);
    assert_sample(KR_C(s->data)[0], 1, 0);
    assert_non_null(strstr(s->notes.s, "second (acquisitions)"));
    kr_scan_unref(&s);
    kr_auto char *other = kr_strf("%s:second", m.path), *none = kr_strf("%s:third", m.path);
    s = read_ok(other);
    assert_sample(KR_C(s->data)[0], 2, 0);
    kr_scan_unref(&s);
    assert_int_equal(kr_scan_read(&s, none, NULL, NULL, NULL), KR_EFORMAT);
    assert_refused(KR_EFORMAT, "acquisitions in 'first', acquisitions in 'second'");
    unlink(m.path);
}

/* ---- There and back ---- */
static void assert_same(const kr_array *a, const kr_array *b)
{
    assert_int_equal(!a, !b);
    if (a) {
        assert_string_equal(kr_shape_text(kr_array_shape(a)), kr_shape_text(kr_array_shape(b)));
        assert_near(distance(a, b), 0, 0);
    }
}

static void round_trip(const char *path)
{
    const char *copy = temp("copy.mrd");
    kr_scan *s = read_ok(path);
    assert_int_equal(kr_scan_write(s, copy, NULL), 0);
    kr_scan *t = read_ok(copy);
    assert_same(s->data, t->data);
    assert_same(s->mask, t->mask);
    assert_same(s->calib, t->calib);
    assert_same(s->calib_mask, t->calib_mask);
    assert_same(s->noise, t->noise);
    for (int k = 0; k < KR_LINES_KINDS; k++) {
        assert_int_equal(s->lines[k].count, t->lines[k].count);
        assert_same(s->lines[k].data, t->lines[k].data);
    }
    assert_int_equal(s->waveforms, t->waveforms);
    for (long i = 0; i < s->waveforms; i++)
        assert_memory_equal(s->waveform[i].data, t->waveform[i].data, 4u * s->waveform[i].channels * s->waveform[i].samples);
    assert_memory_equal(s->geom->position_mm, t->geom->position_mm, sizeof *s->geom->position_mm * (size_t)s->geom->slices);
    assert_near(s->noise_dwell_us, t->noise_dwell_us, 0);
    assert_near(s->noise_bandwidth, t->noise_bandwidth, 0);
    assert_memory_equal(s->enc.encoded, t->enc.encoded, sizeof s->enc.encoded);
    assert_memory_equal(s->enc.recon_mm, t->enc.recon_mm, sizeof s->enc.recon_mm);
    assert_int_equal(kr_meta_count(s->meta), kr_meta_count(t->meta));
    kr_scan_unref(&s);
    kr_scan_unref(&t);
    unlink(copy);
}

static void test_round_trip(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_14ch_R3_acs_ismrmrd.h5");
    round_trip(shared("samples/ismrmrd/cpp_full32_with_cppimage.h5"));
    round_trip(shared("samples/ismrmrd/cpp_phantom32_acc2_cal8_noise.h5"));
    round_trip(shared("samples/ismrmrd/py_cart16_noise_wav.mrd"));
    round_trip(shared("data/mri/phantom_14ch_R3_acs_ismrmrd.h5"));
}

/* What Kray writes without any heads, libismrmrd reads. */
static void test_libismrmrd_reads(void **state)
{
    (void)state;
    const char *path = temp("ours.mrd");
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 16, [KR_Y] = 10, [KR_COIL] = 3, [KR_SLICE] = 2);
    s->data = kr_array_new(KR_C32, s->shape);
    fill_random(s->data, 1);
    s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 10));
    for (long y = 0; y < 10; y += 3)
        KR_R(s->mask)[y] = 1;
    s->dwell_us = 2.5;
    kr_meta_set(s->meta, "protocol", "a < b & c");
    assert_int_equal(kr_scan_write(s, path, NULL), 0);
    ISMRMRD_Dataset d;
    ismrmrd_init_dataset(&d, path, "dataset");
    assert_int_equal(ismrmrd_open_dataset(&d, false), 0);
    char *xml = ismrmrd_read_header(&d);
    assert_non_null(strstr(xml, "a &lt; b &amp; c"));
    free(xml);
    assert_int_equal(ismrmrd_get_number_of_acquisitions(&d), 8);
    for (uint32_t i = 0; i < 8; i++) {
        ISMRMRD_Acquisition a;
        ismrmrd_init_acquisition(&a);
        assert_int_equal(ismrmrd_read_acquisition(&d, i, &a), 0);
        assert_int_equal(a.head.number_of_samples, 16);
        assert_int_equal(a.head.active_channels, 3);
        assert_near(a.head.sample_time_us, 2.5, 0);
        long y = a.head.idx.kspace_encode_step_1, slice = a.head.idx.slice;
        assert_int_equal(y % 3, 0);
        for (long c = 0; c < 3; c++)
            assert_memory_equal(a.data + 16 * c, KR_C(s->data) + slice * s->data->step[KR_SLICE] + c * s->data->step[KR_COIL] + y * 16, 128);
        ismrmrd_cleanup_acquisition(&a);
    }
    ismrmrd_close_dataset(&d);
    kr_scan *t = read_ok(path);
    assert_same(t->mask, s->mask);
    assert_string_equal(kr_meta_get(t->meta, "protocol"), "a < b & c");
    kr_scan_unref(&t);
    kr_scan_unref(&s);
    unlink(path);
}

static void test_images(void **state)
{
    (void)state;
    const char *path = temp("images.mrd");
    kr_scoped(array) data = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 6, [KR_Y] = 5, [KR_Z] = 2, [KR_SLICE] = 3, [KR_TIME] = 2));
    fill_random(data, 2);
    kr_scoped(geom) g = kr_geom_new(3);
    g->known = true;
    for (int k = 0; k < 3; k++) {
        g->position_mm[k][2] = 4 * k;
        g->fov_mm[k] = 100 + k;
    }
    kr_scoped(meta) meta = kr_meta_new();
    kr_meta_set(meta, "method", "%s", "sense lambda=0.1 <&>");
    kr_meta_set(meta, "te_ms", "%s", "3.5");
    kr_image *im = kr_image_new(data, g, meta), *back = NULL;
    assert_int_equal(kr_image_write(im, path, NULL), 0);
    assert_int_equal(kr_image_read(&back, path), 0);
    assert_same(im->data, back->data);
    assert_memory_equal(g->position_mm, back->geom->position_mm, 3 * sizeof *g->position_mm);
    assert_memory_equal(g->fov_mm, back->geom->fov_mm, sizeof g->fov_mm);
    assert_string_equal(kr_meta_get(back->meta, "method"), "sense lambda=0.1 <&>");
    assert_string_equal(kr_meta_get(back->meta, "te_ms"), "3.5");
    ISMRMRD_Dataset d;                                       /* and through libismrmrd */
    ISMRMRD_Image one;
    ismrmrd_init_dataset(&d, path, "dataset");
    ismrmrd_init_image(&one);
    assert_int_equal(ismrmrd_open_dataset(&d, false), 0);
    assert_int_equal(ismrmrd_get_number_of_images(&d, "image_0"), 6);
    assert_int_equal(ismrmrd_read_image(&d, "image_0", 4, &one), 0);   /* slice 1 of repetition 1 */
    assert_int_equal(one.head.slice, 1);
    assert_int_equal(one.head.repetition, 1);
    assert_memory_equal(one.data, KR_C(data) + data->step[KR_SLICE] + data->step[KR_TIME], 6 * 5 * 2 * 8);
    assert_non_null(strstr(one.attribute_string, "<name>ImageRowDir</name><value>1.0"));
    ismrmrd_cleanup_image(&one);
    ismrmrd_close_dataset(&d);
    kr_image_unref(&im);
    kr_image_unref(&back);
    unlink(path);
}

/* ---- Series, and slices by their positions ---- */
static void append(ISMRMRD_Dataset *d, const char *group, int type, int series, int slice, int repetition, double z, float value)
{
    ISMRMRD_Image one;
    ismrmrd_init_image(&one);
    one.head.data_type = ISMRMRD_FLOAT;
    one.head.matrix_size[0] = one.head.matrix_size[1] = 4;
    one.head.matrix_size[2] = one.head.channels = 1;
    one.head.image_type = (uint16_t)type;
    one.head.image_series_index = (uint16_t)series;
    one.head.slice = (uint16_t)slice;
    one.head.repetition = (uint16_t)repetition;
    one.head.read_dir[0] = one.head.phase_dir[1] = one.head.slice_dir[2] = 1;
    one.head.position[2] = (float)z;
    ismrmrd_make_consistent_image(&one);
    for (int i = 0; i < 16; i++)
        ((float *)one.data)[i] = value;
    assert_int_equal(ismrmrd_append_image(d, group, &one), 0);
    ismrmrd_cleanup_image(&one);
}

static kr_image *image_ok(const char *path, const char *var)
{
    char source[300];
    kr_image *im = NULL;
    snprintf(source, sizeof source, "%s%s%s", path, var ? ":" : "", var ? var : "");
    if (kr_image_read(&im, source))
        fail_msg("%s: %s", source, kr_error());
    return im;
}

static void test_series(void **state)
{
    (void)state;
    const char *path = temp("series.h5");
    ISMRMRD_Dataset d;
    ismrmrd_init_dataset(&d, path, "dataset");
    assert_int_equal(ismrmrd_open_dataset(&d, 1), 0);
    for (int k = 0; k < 2; k++) {
        append(&d, "image_0", ISMRMRD_IMTYPE_MAGNITUDE, 0, k, 0, 5 * k, 1);
        append(&d, "image_1", ISMRMRD_IMTYPE_PHASE, 1, k, 0, 5 * k, 2);
        append(&d, "mixed", ISMRMRD_IMTYPE_MAGNITUDE, 3, k, 0, 5 * k, 3);
        append(&d, "mixed", ISMRMRD_IMTYPE_MAGNITUDE, 4, k, 0, 5 * k, 4);
        append(&d, "mixed", ISMRMRD_IMTYPE_PHASE, 4, k, 0, 5 * k, 5);
    }
    ismrmrd_close_dataset(&d);
    static const struct { const char *var; float value; const char *others; } cases[] = { { NULL, 1, "dataset/image_1 (phase, 2 images)" },
        { "dataset/image_1", 2, "dataset/image_0 (magnitude" }, { "image_1", 2, "dataset/image_0" }, { "dataset/mixed", 3, "magnitude (series 4, 2 images)" },
        { "dataset/mixed/4", 4, "phase (series 4, 2 images)" }, { "mixed/4", 4, "magnitude (series 3" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kr_scoped(image) im = image_ok(path, cases[i].var);
        assert_string_equal(kr_shape_text(kr_array_shape(im->data)), "{x=4 y=4 slice=2}");
        assert_near(KR_R(im->data)[17], cases[i].value, 0);
        assert_non_null(strstr(kr_meta_get(im->meta, "other_series"), cases[i].others));
    }
    kr_image *none = NULL;
    char source[300];
    snprintf(source, sizeof source, "%s:mixed/7", path);
    assert_true(kr_image_read(&none, source) < 0);
    assert_refused(KR_EFORMAT, "there are 3, 4");
    unlink(path);
}

static void test_positions(void **state)
{
    (void)state;
    static const struct { const char *group, *shape; int n, slice[6], repetition[6]; double z[6]; float order[6]; } cases[] = {
        /* one counter for all; twice in each place; counters against the positions; moved between frames: time, not slices */
        { "a", "{x=4 y=4 slice=3}", 3, { 0 }, { 0 }, { 6, -6, 0 }, { 1, 2, 0 } },
        { "b", "{x=4 y=4 slice=3 time=2}", 6, { 0 }, { 0 }, { 0, 6, 12, 0, 6, 12 }, { 0, 1, 2, 3, 4, 5 } },
        { "c", "{x=4 y=4 slice=3}", 3, { 0, 1, 2 }, { 0 }, { 0, 12, 6 }, { 0, 2, 1 } },
        { "d", "{x=4 y=4 slice=3}", 3, { 0, 1, 2 }, { 0 }, { 12, 6, 0 }, { 0, 1, 2 } },
        { "e", "{x=4 y=4 time=3}", 3, { 0 }, { 0, 1, 2 }, { 0, 1, 2 }, { 0, 1, 2 } },
        { "f", "{x=4 y=4 time=3}", 3, { 0 }, { 0 }, { 0, 0, 6 }, { 0, 1, 2 } } };
    const char *path = temp("positions.h5");
    ISMRMRD_Dataset d;
    ismrmrd_init_dataset(&d, path, "dataset");
    assert_int_equal(ismrmrd_open_dataset(&d, 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < cases[i].n; k++)
            append(&d, cases[i].group, ISMRMRD_IMTYPE_MAGNITUDE, 0, cases[i].slice[k], cases[i].repetition[k], cases[i].z[k], (float)k);
    ismrmrd_close_dataset(&d);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kr_scoped(image) im = image_ok(path, cases[i].group);
        assert_string_equal(kr_shape_text(kr_array_shape(im->data)), cases[i].shape);
        for (int k = 0; k < cases[i].n; k++)
            assert_near(KR_R(im->data)[16 * k], cases[i].order[k], 0);
        for (long k = 0; k < im->geom->slices && im->geom->slices > 1; k++)
            assert_near(im->geom->position_mm[k][2], cases[i].z[(int)cases[i].order[k] % 3], 1e-5);
    }
    unlink(path);
}

static void test_image_of_python(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/pyclient_saved_images.h5");
    kr_image *im = NULL;
    assert_int_equal(kr_image_read(&im, shared("samples/ismrmrd/pyclient_saved_images.h5")), 0);
    assert_true(kr_shape_equal(kr_array_shape(im->data), KR_SHAPE([KR_X] = 16, [KR_Y] = 16)));
    assert_string_equal(kr_meta_get(im->meta, "ImageProcessingHistory"), "FIRE TEST");
    assert_near(im->geom->position_mm[0][1], -20, 0);
    assert_near(im->geom->fov_mm[0], 160, 0);
    kr_image_unref(&im);
}

/* ---- Wrong files ---- */
static long slurp(const char *path, unsigned char **bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    *bytes = malloc((size_t)n);
    assert_int_equal(fread(*bytes, 1, (size_t)n, f), n);
    fclose(f);
    return n;
}

static void spill(const char *path, const unsigned char *bytes, long n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, (size_t)n, f), n);
    fclose(f);
}

static void test_truncated(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/py_cart16_noise_wav.mrd");
    unsigned char *bytes;
    long n = slurp(shared("samples/ismrmrd/py_cart16_noise_wav.mrd"), &bytes);
    const char *path = temp("short.mrd");
    for (int i = 0; i < 60; i++) {
        spill(path, bytes, n * i / 60);
        kr_scan *s = NULL;
        assert_int_not_equal(kr_scan_read(&s, path, "ismrmrd", NULL, NULL), 0);
        assert_null(s);
        assert_true(strlen(kr_error()) > 20);
    }
    free(bytes);
    unlink(path);
}

/* Damaged anywhere, a file is refused or read; it never crashes, and what is read has a shape that fits. */
static void test_damaged(void **state)
{
    (void)state;
    NEED_SHARED("samples/ismrmrd/py_cart16_noise_wav.mrd");
    unsigned char *bytes;
    long n = slurp(shared("samples/ismrmrd/py_cart16_noise_wav.mrd"), &bytes), refused = 0;
    const char *path = temp("damaged.mrd");
    for (uint64_t i = 0; i < 150; i++) {
        long where = (long)(kr_rand_bits(5, 0, i) % (uint64_t)n);
        unsigned char old = bytes[where];
        bytes[where] = (unsigned char)kr_rand_bits(5, 1, i);
        spill(path, bytes, n);
        bytes[where] = old;
        kr_scan *s = NULL;
        if (kr_scan_read(&s, path, "ismrmrd", NULL, NULL))
            refused++;
        else
            assert_true(kr_shape_equal(kr_array_shape(s->data), s->shape));
        kr_scan_unref(&s);
    }
    assert_true(refused > 0);
    free(bytes);
    unlink(path);
}

static int refuse(maker *m)
{
    kr_scan *s = NULL;
    assert_int_equal(ismrmrd_close_dataset(&m->d), 0);
    int e = kr_scan_read(&s, m->path, "ismrmrd", NULL, NULL);
    assert_int_not_equal(e, 0);
    assert_null(s);
    unlink(m->path);
    return e;
}

static void test_refused_contents(void **state)
{
    (void)state;
    const char *good = HEADER(ENCODING(8, 4, 1, , CARTESIAN));
    maker m = begin("a.h5", "dataset", good);
    line(&m, HEAD(EIGHT, .flags = FLAG(19)), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "no imaging lines (1 noise)");
    m = begin("b.h5", "dataset", good);
    line(&m, HEAD(EIGHT, .flags = FLAG(54)), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "compressed");
    m = begin("c.h5", "dataset", good);
    line(&m, HEAD(EIGHT), 1);
    line(&m, HEAD(EIGHT, .active_channels = 3), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "line 1 has 3 channels where the first imaging line has 2");
    m = begin("d.h5", "dataset", NULL);
    line(&m, HEAD(EIGHT), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "no header");
    m = begin("e.h5", "dataset", good);
    line(&m, HEAD(EIGHT, .idx = { .repetition = 65535, .slice = 65535, .phase = 65535 }), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "counters of the lines ask for a grid");
    m = begin("f.h5", "dataset", good);
    line(&m, HEAD(EIGHT, .idx = { .kspace_encode_step_1 = 9 }), 1);
    refuse(&m);
    assert_refused(KR_EFORMAT, "not one of the imaging lines");
    static const struct { const char *xml, *words; } wrong[] = {
        { "<ismrmrdHeader>", "not well-formed" }, { "", "the ISMRMRD header is empty" }, { "<html/>", "<html>" }, { "<ismrmrdHeader/>", "no <encoding>" },
        { "<!DOCTYPE a [<!ENTITY b \"c\">]><ismrmrdHeader>&b;</ismrmrdHeader>", "document type" },
        { HEADER(ENCODING(1000000000000, 4, 1, , CARTESIAN)), "<x> as '1000000000000'" }, { HEADER(ENCODING(-8, 4, 1, , CARTESIAN)), "<x> as '-8'" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        m = begin("g.h5", "dataset", wrong[i].xml);
        line(&m, HEAD(EIGHT), 1);
        refuse(&m);
        assert_refused(KR_EFORMAT, wrong[i].words);
    }
}

/* Files no ISMRMRD library would write, made with HDF5 alone. */
static void craft(const char *path, hid_t type, hsize_t count, const void *rows)
{
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), g = H5Gcreate2(f, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hsize_t one = 1;
    hid_t space = H5Screate_simple(1, &count, NULL), plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, &one);
    hid_t d = H5Dcreate2(g, "data", type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    if (rows)
        H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows);
    hid_t text = H5Tcopy(H5T_C_S1), scalar = H5Screate(H5S_SCALAR);
    const char *xml = HEADER(ENCODING(8, 4, 1, , CARTESIAN));
    H5Tset_size(text, strlen(xml));                          /* a fixed string in place of a variable one */
    hid_t x = H5Dcreate2(g, "xml", text, scalar, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(x, text, H5S_ALL, H5S_ALL, H5P_DEFAULT, xml);
    H5Dclose(x);
    H5Tclose(text);
    H5Sclose(scalar);
    H5Dclose(d);
    H5Pclose(plist);
    H5Sclose(space);
    H5Gclose(g);
    H5Fclose(f);
}

typedef struct small_head { uint64_t flags; uint16_t samples, channels, idx; } small_head;
typedef struct small_line { small_head head; hvl_t data; } small_line;

/* A head of the four members that cannot be missed. */
static hid_t small_type(void)
{
    hid_t idx = H5Tcreate(H5T_COMPOUND, 2), head = H5Tcreate(H5T_COMPOUND, sizeof(small_head)), line = H5Tcreate(H5T_COMPOUND, sizeof(small_line));
    hid_t vlen = H5Tvlen_create(H5T_NATIVE_FLOAT);
    H5Tinsert(idx, "kspace_encode_step_1", 0, H5T_NATIVE_UINT16);
    H5Tinsert(head, "flags", offsetof(small_head, flags), H5T_NATIVE_UINT64);
    H5Tinsert(head, "number_of_samples", offsetof(small_head, samples), H5T_NATIVE_UINT16);
    H5Tinsert(head, "active_channels", offsetof(small_head, channels), H5T_NATIVE_UINT16);
    H5Tinsert(head, "idx", offsetof(small_head, idx), idx);
    H5Tinsert(line, "head", 0, head);
    H5Tinsert(line, "data", offsetof(small_line, data), vlen);
    H5Tclose(vlen);
    H5Tclose(head);
    H5Tclose(idx);
    return line;
}

static void test_crafted(void **state)
{
    (void)state;
    const char *path = temp("crafted.h5");
    float numbers[32] = { 0 };
    for (int i = 0; i < 32; i++)
        numbers[i] = (float)i;
    kr_scan *s = NULL;
    hid_t type = small_type();
    small_line fits = { { 0, 8, 2, 1 }, { 32, numbers } }, lies = { { 0, 65535, 2, 1 }, { 32, numbers } };
    craft(path, type, 1, &fits);
    s = read_ok(path);
    assert_sample(at(s->data, 1, 1, 1), 18, 19);
    kr_scan_unref(&s);
    craft(path, type, 1, &lies);
    assert_int_not_equal(kr_scan_read(&s, path, NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "line 0 announces 65535 samples of 2 channels, 262140 numbers, but holds 32");
    craft(path, type, 1000000000000ull, NULL);
    assert_int_not_equal(kr_scan_read(&s, path, NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "announces");
    craft(path, type, 1000, NULL);                           /* announced, never written */
    assert_int_not_equal(kr_scan_read(&s, path, NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "announces");
    craft(path, H5T_NATIVE_INT, 4, (int[]){ 1, 2, 3, 4 });
    assert_int_not_equal(kr_scan_read(&s, path, "ismrmrd", NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "neither acquisitions nor images");
    H5Tclose(type);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_expected_images), cmocka_unit_test(test_image_of_libismrmrd),
        cmocka_unit_test(test_expected_lines), cmocka_unit_test(test_real_scan), cmocka_unit_test(test_no_partitions), cmocka_unit_test(test_same_counters), cmocka_unit_test(test_lines_cancel), cmocka_unit_test(test_no_position), cmocka_unit_test(test_places), cmocka_unit_test(test_counters), cmocka_unit_test(test_placing), cmocka_unit_test(test_backwards),
        cmocka_unit_test(test_kinds), cmocka_unit_test(test_calibration), cmocka_unit_test(test_slice_order), cmocka_unit_test(test_spokes),
        cmocka_unit_test(test_groups), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_libismrmrd_reads), cmocka_unit_test(test_images),
        cmocka_unit_test(test_image_of_python), cmocka_unit_test(test_series), cmocka_unit_test(test_positions), cmocka_unit_test(test_truncated), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_refused_contents), cmocka_unit_test(test_crafted) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
