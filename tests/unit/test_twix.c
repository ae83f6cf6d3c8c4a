/* test_twix.c: Siemens raw data: two real scans against twixtools' values, small files of both kinds, and damaged ones. */
#include "test.h"
#include "twixfile.h"
#include "kray/io.h"

/* In memory where there is such a folder: a file of each length is opened. */
static const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/kray-test-%ld-twix.dat", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (long)getpid());
    return path;
}

static kr_scan *read_ok(const char *source)
{
    kr_scan *s = NULL;
    if (kr_scan_read(&s, source, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    return s;
}

static kr_cfloat at(const kr_array *a, long x, long y, long c, long slice)
{
    return KR_C(a)[x * a->step[KR_X] + y * a->step[KR_Y] + c * a->step[KR_COIL] + slice * a->step[KR_SLICE]];
}

/* ---- Real scans; norms and samples as twixtools 1.0 reads them ---- */
static void test_gre(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_gre_2ch_siemens_twix.dat");
    assert_string_equal(kr_format_of(shared("data/mri/phantom_gre_2ch_siemens_twix.dat"))->name, "twix");
    kr_scan *s = read_ok(shared("data/mri/phantom_gre_2ch_siemens_twix.dat"));
    assert_string_equal(kr_shape_text(s->shape), "{x=320 y=160 coil=2}");
    assert_null(s->mask);
    assert_near(kr_norm(s->data), 0.003068216483348247, 1e-8);                   /* a sum of floats */
    assert_near(kr_re(at(s->data, 100, 40, 1, 0)), -1.354143e-06, 1e-12);
    assert_near(kr_im(at(s->data, 100, 40, 1, 0)), -3.373716e-07, 1e-12);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(s->enc.encoded[k], ((const long[]){ 320, 160, 1 })[k]);
        assert_int_equal(s->enc.recon[k], ((const long[]){ 160, 160, 1 })[k]);
        assert_near(s->enc.encoded_mm[k], ((const double[]){ 400, 200, 4 })[k], 1e-9);
        assert_near(s->geom->position_mm[0][k], ((const double[]){ -2.58969998377, 53.9224264395, -53.9994745263 })[k], 1e-5);   /* sSliceArray */
        assert_near(s->geom->slice_dir[k], ((const double[]){ 6.58423005e-009, 0.0383878015, 0.9992629886 })[k], 1e-6);          /* sNormal */
    }
    assert_true(s->geom->known);
    assert_near(s->dwell_us, 11.6, 1e-6);
    assert_string_equal(kr_meta_get(s->meta, "te_ms"), "3");
    assert_string_equal(kr_meta_get(s->meta, "tr_ms"), "10");
    assert_string_equal(kr_meta_get(s->meta, "protocol"), "gre");
    assert_string_equal(kr_meta_get(s->meta, "model"), "Skyra");
    kr_scan_unref(&s);
}

static void test_epi(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/phantom_epi_2ch_siemens_twix.dat");
    kr_scan *s = read_ok(shared("data/mri/phantom_epi_2ch_siemens_twix.dat"));
    assert_string_equal(kr_shape_text(s->shape), "{x=160 y=80 coil=2}");
    assert_string_equal(s->enc.trajectory, "epi");
    assert_near(s->enc.ramp.up_us, 160, 0);
    assert_near(s->enc.ramp.flat_us, 240, 0);
    assert_near(s->enc.ramp.down_us, 160, 0);
    assert_near(s->enc.ramp.delay_us, 32, 0);
    assert_near(s->enc.ramp.read_us, 496, 0);
    assert_int_equal(s->lines[KR_LINES_PHASECORR].count, 3);
    assert_int_equal(s->lines[KR_LINES_IMAGING].count, 80);
    /* turned for the shifted field of view, which changes no size */
    assert_near(kr_norm(s->data), 0.008935276719191036, 1e-8);
    assert_near(hypot(kr_re(at(s->data, 100, 40, 1, 0)), kr_im(at(s->data, 100, 40, 1, 0))), hypot(3.4988392e-05, 2.0277686e-05), 1e-11);
    kr_scan_unref(&s);
}

/* ---- Small files ---- */
static void test_both_kinds(void **state)
{
    (void)state;
    static twix_bytes t;
    for (int vb = 0; vb < 2; vb++) {
        twix_file(&t, vb);
        assert_int_equal(twix_save(&t, scratch(), t.n), 0);
        kr_scan *s = read_ok(scratch());
        assert_string_equal(s->format, "twix");
        assert_string_equal(kr_shape_text(s->shape), "{x=8 y=6 coil=2 slice=2}");
        int first = vb ? 1 : 0;                              /* VB has its noise in the same count */
        for (long slice = 0; slice < 2; slice++)
            for (long y = 0; y < 6; y++) {
                bool measured = y % 2;
                int number = first + 1 + (int)slice * 6 + 3 + (int)(y - 1) / 2;
                for (long x = 0; measured && x < 8; x++) {   /* line 5 was measured backwards */
                    assert_near(kr_re(at(s->data, x, y, 1, slice)), (double)(number + (y == 5 ? 7 - x : x)), 0);
                    assert_near(kr_im(at(s->data, x, y, 1, slice)), 1, 0);
                }
                for (long x = 0; !measured && x < 8; x++)
                    assert_near(kr_re(at(s->data, x, y, 0, slice)), 0, 0);
            }
        assert_int_equal(s->lines[KR_LINES_IMAGING].count, 6);
        assert_int_equal(s->lines[KR_LINES_CALIB].count, 4);
        assert_int_equal(s->lines[KR_LINES_PHASECORR].count, 2);
        assert_int_equal(s->lines[KR_LINES_NOISE].count, 1);
        assert_int_equal(s->noise->n[KR_SAMPLE], 16);
        assert_near(s->noise_dwell_us, vb ? 1e6 / 130 / 16 : 5, 1e-3);           /* siemens_to_ismrmrd */
        assert_near(s->dwell_us, 5, 1e-6);
        assert_non_null(s->calib);
        assert_int_equal(s->enc.accel[0], 2);
        assert_string_equal(kr_meta_get(s->meta, "calibration_mode"), "separate");
        assert_string_equal(kr_meta_get(s->meta, "protocol"), "small");
        assert_string_equal(kr_meta_get(s->meta, "patient_position"), "HFS");
        assert_near(kr_meta_number(s->meta, "field_T", 0), 2.9, 0);
        assert_non_null(strstr(s->notes.s, "synchronisation data (heart, breathing), passed over: 2"));
        assert_near(s->geom->position_mm[1][2], -10, 0);
        assert_near(s->geom->read_dir[1] + s->geom->phase_dir[0] + s->geom->slice_dir[2], 3, 0);
        assert_near(s->enc.recon_mm[1], 150, 0);
        kr_scan_unref(&s);
        kr_read head = { .header_only = true }, one = { .slice_from = 1, .slice_count = 1 };
        assert_int_equal(kr_scan_read(&s, scratch(), NULL, &head, NULL), 0);
        assert_null(s->data);
        assert_string_equal(kr_shape_text(s->shape), "{x=8 y=6 coil=2 slice=2}");
        kr_scan_unref(&s);
        assert_int_equal(kr_scan_read(&s, scratch(), NULL, &one, NULL), 0);
        assert_near(kr_re(at(s->data, 0, 1, 0, 0)), first + 1 + 6 + 3, 0);
        kr_scan_unref(&s);
    }
}

/* A part of the slices has its own lines, whose slices count from 0; with them an echo-planar scan can be made ready in pieces. */
static void test_slices(void **state)
{
    (void)state;
    static twix_bytes t;
    twix_file(&t, true);
    assert_int_equal(twix_save(&t, scratch(), t.n), 0);
    kr_scan *s = read_ok(scratch());
    kr_scan *part = kr_scan_slices(s, 1, 1);
    assert_non_null(part);
    assert_int_equal(part->lines[KR_LINES_IMAGING].count, 3);
    assert_int_equal(part->lines[KR_LINES_CALIB].count, 2);
    const kr_lines *nav = &part->lines[KR_LINES_PHASECORR];
    assert_int_equal(nav->count, 1);
    assert_int_equal(nav->line[0].slice, 0);
    assert_near(kr_re(KR_C(nav->data)[3]), (double)nav->line[0].counter + 3, 0);
    kr_scan_unref(&part);
    kr_scan_unref(&s);
    twix_epi_file(&t);
    assert_int_equal(twix_save(&t, scratch(), t.n), 0);
    s = read_ok(scratch());
    assert_string_equal(s->enc.trajectory, "epi");
    assert_int_equal(kr_scan_prepare(s, &(kr_prepare){ .oversampling = true }, NULL), 0);
    assert_non_null(strstr(kr_meta_get(s->meta, "ghost"), "navigator"));
    assert_string_equal(kr_shape_text(s->shape), "{x=4 y=6 coil=2}");
    kr_scan_unref(&s);
}

static void test_measurements(void **state)
{
    (void)state;
    static twix_bytes t;
    char source[128];
    kr_scan *s = NULL;
    twix_file(&t, false);
    assert_int_equal(twix_save(&t, scratch(), t.n), 0);
    snprintf(source, sizeof source, "%s:small", scratch());
    s = read_ok(source);
    kr_scan_unref(&s);
    snprintf(source, sizeof source, "%s:2", scratch());
    s = read_ok(source);
    assert_non_null(strstr(s->notes.s, "the noise is that of measurement 1 (AdjCoilSens)"));
    kr_scan_unref(&s);
    snprintf(source, sizeof source, "%s:1", scratch());
    assert_int_not_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "there are no imaging lines (1 noise)");
    snprintf(source, sizeof source, "%s:3", scratch());
    assert_int_not_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "the file holds 1 (AdjCoilSens), 2 (small)");
}

/* ---- Damage ---- */
static void test_truncated(void **state)
{
    (void)state;
    static twix_bytes t;
    for (int vb = 0; vb < 2; vb++) {
        twix_file(&t, vb);
        assert_int_equal(twix_save(&t, scratch(), t.n), 0);
        for (size_t n = t.n - (vb ? 160 : 0); n-- > 0; ) {   /* the last block of VB says nothing */
            kr_scan *s = NULL;
            assert_int_equal(truncate(scratch(), (off_t)n), 0);
            if (!kr_scan_read(&s, scratch(), "twix", NULL, NULL))
                fail_msg("%zu bytes of %zu are read", n, t.n);
            assert_null(s);
            assert_true(strlen(kr_error()) > 20);
            kr_error_clear();
        }
    }
}

typedef struct change { long at; uint32_t value; const char *words; } change;

static void test_absurd(void **state)
{
    (void)state;
    static twix_bytes t;
    twix_file(&t, false);
    uint64_t scan;
    uint32_t header;
    memcpy(&scan, t.b + 8 + 152 + 8, 8);
    memcpy(&header, t.b + scan, 4);
    long data = (long)(scan + header);
    const change changes[] = { { 8 + 152 + 8, 0x7fffffff, "it is truncated" }, { 8 + 152 + 20, 1, "it is truncated" },
        { (long)scan, 1 << 27, "the file is truncated" }, { (long)scan + 4, 1000, "no header of a measurement" },
        { (long)scan + 13, 0x7fffffff, "of the measurement's header has" }, { data + 48, 0x0002ffff, "needs" }, { data + 50, 0xffff, "channels" },
        { data + 48, 0x00000008, "has 0 channels" } };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        static twix_bytes u;
        kr_scan *s = NULL;
        u = t;
        twix_u32(u.b + changes[i].at, changes[i].value);
        assert_int_equal(twix_save(&u, scratch(), u.n), 0);
        if (!kr_scan_read(&s, scratch(), "twix", NULL, NULL))
            fail_msg("change %zu is read", i);
        assert_refused(KR_EFORMAT, changes[i].words);
    }
    static twix_bytes v;
    kr_scan *lost = NULL;                                    /* VB: a channel of another readout */
    twix_file(&v, true);
    memcpy(&header, v.b, 4);
    twix_u32(v.b + header + (128 + 8 * 16) + 8, 77);
    assert_int_equal(twix_save(&v, scratch(), v.n), 0);
    assert_int_not_equal(kr_scan_read(&lost, scratch(), NULL, NULL, NULL), 0);
    assert_refused(KR_EFORMAT, "channel 1 belongs to scan 77");
    /* a line counter past all others: it lies outside, or the grid would be far larger than the data */
    static twix_bytes u;
    kr_scan *s = NULL;
    u = t;
    for (size_t p = (size_t)data; p + 192 < u.n; p++)        /* all lines become 65535 */
        if (!memcmp(u.b + p, "\x08\x00\x02\x00", 4))
            twix_u16(u.b + p + 4, 65535);
    assert_int_equal(twix_save(&u, scratch(), u.n), 0);
    int e = kr_scan_read(&s, scratch(), "twix", NULL, NULL);
    assert_true(e ? strlen(kr_error()) > 20 : s->data != NULL);
    kr_error_clear();
    kr_scan_unref(&s);
}

static int clean(void **state)
{
    (void)state;
    unlink(scratch());
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_gre), cmocka_unit_test(test_epi), cmocka_unit_test(test_both_kinds),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_measurements), cmocka_unit_test(test_truncated), cmocka_unit_test(test_absurd) };
    return cmocka_run_group_tests(tests, NULL, clean);
}
