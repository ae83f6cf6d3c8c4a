/* test_npy.c: NumPy arrays: samples that NumPy wrote, headers typed by hand, and what comes back. */
#include "test.h"
#include "files.h"

static void put(const char *name, const void *bytes, size_t n) { spill(scratch(name), bytes, (long)n); }

/* Version 1, 2 or 3, this dictionary, these bytes. */
static void put_npy(const char *name, int version, const char *dictionary, const void *data, size_t n)
{
    unsigned char f[512] = { 0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0 };
    size_t k = strlen(dictionary), at = version == 1 ? 10 : 12;
    f[8] = (unsigned char)k;
    f[9] = (unsigned char)(k >> 8);
    memcpy(f + at, dictionary, k);
    memcpy(f + at + k, data, n);
    put(name, f, at + k + n);
}

/* The value at NumPy's [z][y][x] is i + (24 + i) j with i = x + 4 y + 12 z, whatever order and version (make_samples.py). */
static void test_samples(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/c64_C.npy");
    static const char *const name[] = { "samples/arrays/c64_C.npy", "samples/arrays/c64_F.npy", "samples/arrays/c64_v2.npy" };
    for (int k = 0; k < 3; k++) {
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_array_read(&a, shared(name[k])), 0);
        assert_string_equal(kr_shape_text(kr_array_shape(a)), "{x=4 y=3 z=2}");
        assert_true(kr_array_contiguous(a));
        for (long i = 0; i < 24; i++)
            assert_true(kr_re(KR_C(a)[i]) == (float)i && kr_im(KR_C(a)[i]) == (float)(24 + i));
    }
    kr_scoped(array) b = NULL;
    assert_int_equal(kr_array_read(&b, shared("samples/arrays/f64_be.npy")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(b)), "{x=3 y=2}");
    for (long i = 0; i < 6; i++)
        assert_true(KR_R(b)[i] == (float)i);
    kr_scoped(array) c = NULL;
    assert_int_equal(kr_array_read(&c, shared("samples/arrays/scalar_i32.npy")), 0);
    assert_true(kr_count(kr_array_shape(c)) == 1 && KR_R(c)[0] == 7);
    kr_scoped(array) mask = NULL;
    assert_int_equal(kr_array_read(&mask, shared("samples/calgary/R5_20x18.npy")), 0);
    for (long i = 0; i < kr_count(kr_array_shape(mask)); i++)
        assert_true(KR_R(mask)[i] == 0 || KR_R(mask)[i] == 1);
    /* Axes by name, as NumPy prints the shape (2, 3, 4). */
    kr_scoped(scan) s = NULL;
    char source[1100];
    snprintf(source, sizeof source, "%s@coil,y,x", shared(name[0]));
    assert_int_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    assert_string_equal(kr_shape_text(s->shape), "{x=4 y=3 coil=2}");
    kr_scan_unref(&s);
    assert_true(kr_scan_read(&s, shared(name[0]), NULL, NULL, NULL) < 0);
    assert_refused(KR_EUSAGE, "needs names for its axes");
}

/* -2 or 254, and 3, as every kind of number in both byte orders. */
static void test_types(void **state)
{
    (void)state;
    static const struct { const char *type; const char *bytes; size_t each; double first; } t[] = {
        { "<f4", "\0\0\0\xc0\0\0\x40\x40", 4, -2 }, { ">f4", "\xc0\0\0\0\x40\x40\0\0", 4, -2 }, { "<f8", "\0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x08\x40", 8, -2 },
        { ">f8", "\xc0\0\0\0\0\0\0\0\x40\x08\0\0\0\0\0\0", 8, -2 }, { "|i1", "\xfe\3", 1, -2 }, { "|u1", "\xfe\3", 1, 254 }, { "|b1", "\0\1", 1, 0 },
        { "<i2", "\xfe\xff\3\0", 2, -2 }, { ">i2", "\xff\xfe\0\3", 2, -2 }, { "<u2", "\xfe\0\3\0", 2, 254 }, { "<i4", "\xfe\xff\xff\xff\3\0\0\0", 4, -2 },
        { ">u4", "\0\0\0\xfe\0\0\0\3", 4, 254 }, { "<i8", "\xfe\xff\xff\xff\xff\xff\xff\xff\3\0\0\0\0\0\0\0", 8, -2 }, { "<u8", "\xfe\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 8, 254 } };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        for (int version = 1; version <= 3; version++) {
            char text[128];
            snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }  \n", t[i].type);
            put_npy("t.npy", version, text, t[i].bytes, 2 * t[i].each);
            kr_scoped(array) a = NULL;
            assert_int_equal(kr_array_read(&a, scratch("t.npy")), 0);
            assert_true(KR_R(a)[0] == t[i].first && KR_R(a)[1] == (t[i].type[1] == 'b' ? 1 : 3));
        }
    put_npy("t.npy", 1, "{'descr': '>c16', 'fortran_order': False, 'shape': (1,)}\n", "\xc0\0\0\0\0\0\0\0\x40\x08\0\0\0\0\0\0", 16);
    kr_scoped(array) z = NULL;
    assert_int_equal(kr_array_read(&z, scratch("t.npy")), 0);
    assert_true(kr_re(*KR_C(z)) == -2 && kr_im(*KR_C(z)) == 3);
}

/* Names and notes go beside, and come back from there. */
static void test_round(void **state)
{
    (void)state;
    static const kr_shape shape[] = { KR_SHAPE([KR_X] = 5, [KR_Y] = 4), KR_SHAPE([KR_X] = 4, [KR_COIL] = 3, [KR_SLICE] = 2, [KR_TIME] = 5), KR_SHAPE([KR_Y] = 7), KR_SHAPE(0) };
    for (int k = 0; k < 8; k++) {
        kr_scoped(array) a = kr_array_new(k & 1 ? KR_C32 : KR_R32, shape[k / 2]);
        fill_random(a, (uint64_t)k);
        kr_scoped(meta) m = kr_meta_new();
        assert_int_equal(kr_meta_set(m, "command", "kray \"a\\b\" \n"), 0);
        assert_int_equal(kr_array_write(a, m, scratch("r.npy")), 0);
        kr_scoped(array) b = NULL;
        assert_int_equal(kr_array_read(&b, scratch("r.npy")), 0);
        assert_string_equal(kr_shape_text(kr_array_shape(b)), kr_shape_text(shape[k / 2]));
        assert_memory_equal(a->data, b->data, (size_t)kr_count(shape[k / 2]) * (k & 1 ? 8 : 4));
    }
    FILE *f = fopen(scratch("r.npy.json"), "r");
    char text[200] = "";
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_string_equal(text, "{\n  \"axes\": \"-\",\n  \"command\": \"kray \\\"a\\\\b\\\" \\u000a\"\n}\n");
    /* The names stand for one array; another under the same name is not taken for it. */
    put_npy("r.npy", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", "\0\0\0\0\0\0\0\0", 8);
    kr_scoped(array) c = NULL;
    assert_true(kr_array_read(&c, scratch("r.npy")) < 0);
    assert_refused(KR_EUSAGE, "in the .json beside), the array has 2");
    /* The header is aligned as NumPy does it, to 64 bytes. */
    kr_scoped(array) d = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 3, [KR_Y] = 2));
    assert_int_equal(kr_array_write(d, NULL, scratch("h.npy")), 0);
    f = fopen(scratch("h.npy"), "rb");
    unsigned char h[200];
    assert_int_equal(fread(h, 1, sizeof h, f), 128 + 24);
    fclose(f);
    assert_int_equal((10 + h[8] + 256 * h[9]) % 64, 0);
    assert_memory_equal(h + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ", 60);
}

static void refused(int version, const char *dictionary, size_t n, int code, const char *words)
{
    char zero[64] = { 0 };
    put_npy("bad.npy", version, dictionary, zero, n);
    kr_array *a = NULL;
    assert_true(kr_array_read(&a, scratch("bad.npy")) < 0);
    assert_null(a);
    assert_refused(code, words);
}

static void test_refusals(void **state)
{
    (void)state;
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 8, KR_EFORMAT, "announces 3 numbers of 4 bytes, but only 8 bytes follow");
    refused(1, "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", 8, KR_EFORMAT, "type '|O' are not read");
    refused(1, "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }\n", 16, KR_EFORMAT, "type '<f16' are not read");
    refused(1, "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }\n", 16, KR_EFORMAT, "are not read");
    refused(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", 8, KR_EFORMAT, "are not read");
    refused(1, "{'descr': '", 0, KR_EFORMAT, "does not give descr");
    refused(1, "{'descr': '<f4', 'fortran_order': False}\n", 8, KR_EFORMAT, "does not give descr");
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }\n", 8, KR_EFORMAT, "is empty");
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", 8, KR_EFORMAT, "makes no sense");
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }\n", 8, KR_EFORMAT, "makes no sense");
    refused(1, "{'descr': '<c16', 'fortran_order': False, 'shape': (4611686018427387904,), }\n", 8, KR_EFORMAT, "announces");
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1), }\n", 8, KR_EFORMAT, "makes no sense");
    refused(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,2), }\n", 8, KR_EUSAGE, "name them");
    refused(9, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4, KR_EFORMAT, "version 9.0");
    /* Cut at every length. */
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 3, [KR_Y] = 2));
    assert_int_equal(kr_array_write(a, NULL, scratch("c.npy")), 0);
    FILE *f = fopen(scratch("c.npy"), "rb");
    unsigned char whole[200];
    size_t n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    for (size_t k = 0; k < n; k++) {
        put("cut.npy", whole, k);
        kr_array *b = NULL;
        assert_true(kr_array_read(&b, scratch("cut.npy")) < 0);
        assert_null(b);
        assert_true(kr_error_code() == KR_EFORMAT);
    }
}

/* 16-bit floats: IEEE 754's own examples; and real and imaginary part as an axis, first or last, in either order of memory. */
static void test_halves_and_parts(void **state)
{
    (void)state;
    static const uint16_t half[] = { 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x3555, 0x3bff };
    static const float value[] = { 1, -2, 65504, 0x1p-14f, 0x1p-24f, -0.0f, 0.333251953125f, 0.99951171875f };
    uint16_t turned[8];
    for (int i = 0; i < 8; i++)
        turned[i] = (uint16_t)(half[i] << 8 | half[i] >> 8);
    for (int big = 0; big < 2; big++) {
        put_npy("half.npy", 1, big ? "{'descr': '>f2', 'fortran_order': False, 'shape': (8,), }\n" : "{'descr': '<f2', 'fortran_order': False, 'shape': (8,), }\n",
                big ? turned : half, 16);
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_array_read(&a, scratch("half.npy")), 0);
        for (int i = 0; i < 8; i++)
            assert_true(KR_R(a)[i] == value[i]);
    }
    float number[12];
    for (int i = 0; i < 12; i++)
        number[i] = (float)i;
    static const struct { const char *order, *shape, *axes; int part, y, x; } way[] = {        /* steps of the axes */
        { "False", "(2, 3, 2)", "y,x,reim", 1, 6, 2 }, { "False", "(2, 2, 3)", "reim,y,x", 6, 3, 1 }, { "True", "(2, 2, 3)", "reim,y,x", 1, 2, 4 },
        { "True", "(2, 3, 2)", "y,x,reim", 6, 1, 2 } };
    for (int w = 0; w < 4; w++) {
        char head[128], source[300];
        snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': %s, 'shape': %s, }\n", way[w].order, way[w].shape);
        put_npy("parts.npy", 1, head, number, sizeof number);
        snprintf(source, sizeof source, "%s@%s", scratch("parts.npy"), way[w].axes);
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_array_read(&a, source), 0);
        assert_string_equal(kr_shape_text(kr_array_shape(a)), "{x=3 y=2}");
        for (int i = 0; i < 6; i++) {
            int at = i / 3 * way[w].y + i % 3 * way[w].x;
            assert_true(kr_re(KR_C(a)[i]) == (float)at && kr_im(KR_C(a)[i]) == (float)(at + way[w].part));
        }
    }
    kr_array *a = NULL;
    char source[300];
    snprintf(source, sizeof source, "%s@y,reim,x", scratch("parts.npy"));
    assert_true(kr_array_read(&a, source) < 0);
    assert_non_null(strstr(kr_error(), "the axis reim has length 3"));
}

/* A picture of 4 rows and 6 columns, its axes not named: PNG has it as NumPy's viewers do. Named, X (the readout) runs down. */
static void test_picture(void **state)
{
    (void)state;
    float v[24] = { 0 };
    const char *npy = "/tmp/kray-test-picture.npy", *png = "/tmp/kray-test-picture.png";
    char named[64];
    for (int i = 0; i < 6; i++)
        v[i] = 1;                                            /* the first row is white */
    FILE *f = fopen(npy, "wb");
    assert_non_null(f);
    const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6), }\n";
    const unsigned char start[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, sizeof head - 1, 0 };
    assert_int_equal(fwrite(start, 10, 1, f) + fwrite(head, sizeof head - 1, 1, f) + fwrite(v, sizeof v, 1, f), 3);
    fclose(f);
    snprintf(named, sizeof named, "%s@y,x", npy);
    for (int k = 0; k < 2; k++) {
        kr_image *im = NULL;
        unsigned char b[24];
        assert_int_equal(kr_image_read(&im, k ? named : npy), 0);
        assert_int_equal(kr_image_write(im, png, NULL), 0);
        f = fopen(png, "rb");
        assert_non_null(f);
        assert_int_equal(fread(b, 24, 1, f), 1);             /* width and height: big endian from byte 16 on */
        fclose(f);
        assert_int_equal(b[19], k ? 4 : 6);
        assert_int_equal(b[23], k ? 6 : 4);
        kr_image_unref(&im);
    }
    unlink(npy);
    unlink(png);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_halves_and_parts), cmocka_unit_test(test_samples), cmocka_unit_test(test_types), cmocka_unit_test(test_round),
                                               cmocka_unit_test(test_refusals), cmocka_unit_test(test_picture) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
