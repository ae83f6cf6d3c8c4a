/* test_cfl.c: BART's pair of files, against files that BART and NumPy wrote, and against bart itself. */
#include "test.h"
#include "files.h"
#include <sys/stat.h>

static void put(const char *name, const void *bytes, size_t n) { spill(scratch(name), bytes, (long)n); }

/* A pair with this header text and `numbers` complex numbers 0, 1, 2, ... */
static void put_pair(const char *name, const char *header, long numbers)
{
    char file[64];
    snprintf(file, sizeof file, "%s.hdr", name);
    put(file, header, strlen(header));
    float *x = calloc((size_t)numbers + 1, 8);
    for (long i = 0; i < numbers; i++)
        x[2 * i] = (float)i, x[2 * i + 1] = 1;
    snprintf(file, sizeof file, "%s.cfl", name);
    put(file, (char *)x, (size_t)numbers * 8);
    free(x);
}

/* The array numpy wrote: value at (x,y,z) is i + (24 + i) j with i = x + 4 y + 12 z (make_samples.py). */
static void test_sample(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/cfl_4_3_2.cfl");
    static const char *const name[] = { "samples/arrays/cfl_4_3_2.cfl", "samples/arrays/cfl_4_3_2.hdr", "samples/arrays/cfl_4_3_2" };
    for (int k = 0; k < 3; k++) {
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_array_read(&a, shared(name[k])), 0);
        assert_string_equal(kr_shape_text(kr_array_shape(a)), "{x=4 y=3 z=2}");
        for (long i = 0; i < 24; i++) {
            assert_true(kr_re(KR_C(a)[i]) == (float)i);
            assert_true(kr_im(KR_C(a)[i]) == (float)(24 + i));
        }
    }
    kr_scoped(array) swapped = NULL;
    char text[1100];
    snprintf(text, sizeof text, "%s@slice,coil,time", shared(name[0]));
    assert_int_equal(kr_array_read(&swapped, text), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(swapped)), "{coil=3 slice=4 time=2}");
    assert_true(kr_re(KR_C(swapped)[3 * swapped->step[KR_SLICE] + swapped->step[KR_COIL] + swapped->step[KR_TIME]]) == 3 + 4 + 12);
}

/* What `bart phantom -x8 -k -s2` wrote: `bart show` gives these numbers. */
static void test_bart_phantom(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/bart_phantom8_k_2coil.cfl");
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_scan_read(&s, shared("samples/arrays/bart_phantom8_k_2coil"), NULL, NULL, NULL), 0);
    assert_string_equal(kr_shape_text(s->shape), "{x=8 y=8 coil=2}");
    assert_string_equal(s->format, "cfl");
    assert_string_equal(kr_meta_get(s->meta, "source_command"), "phantom -x8 -k -s2 ph ");
    assert_int_equal(kr_scan_check(s), 0);
}

/* RawArray, which BART writes too: its own image of the phantom equals what its k-space gives, and NumPy's arrays. */
static void test_ra(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/bart_phantom8_image.ra");
    kr_scoped(array) a = NULL;
    assert_int_equal(kr_array_read(&a, shared("samples/arrays/ra_c64_4_3_2.ra")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(a)), "{x=4 y=3 z=2}");
    for (long i = 0; i < 24; i++)
        assert_true(kr_re(KR_C(a)[i]) == (float)i && kr_im(KR_C(a)[i]) == (float)(24 + i));
    kr_scoped(array) b = NULL;
    assert_int_equal(kr_array_read(&b, shared("samples/arrays/ra_f32_10.ra")), 0);
    for (long i = 0; i < 10; i++)
        assert_true(KR_R(b)[i] == (float)i);
    kr_scoped(scan) s = NULL;
    char source[1100];
    snprintf(source, sizeof source, "%s@x,y", shared("samples/arrays/bart_phantom8_image.ra"));
    assert_int_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    assert_string_equal(kr_shape_text(s->shape), "{x=8 y=8}");
    assert_true(kr_norm(s->data) > 0);
    /* Broken ones: of too many axes, of an unknown type, shorter than announced, turned round. */
    static const struct { int word; uint64_t value; const char *words; } bad[] = {
        { 5, 99, "announces 99 axes" }, { 5, 0, "announces 0 axes" }, { 2, 7, "type 7" }, { 3, 12, "and 12 bytes" }, { 4, 1, "and 1 bytes of data" },
        { 6, 1ULL << 60, "length 1152921504606846976" }, { 6, 0, "length 0" }, { 6, 5, "announces 5 x 3 x 2" } };
    uint64_t w[9 + 24], copy[9 + 24];
    FILE *f = fopen(shared("samples/arrays/ra_c64_4_3_2.ra"), "rb");
    assert_int_equal(fread(w, 1, sizeof w, f), sizeof w);
    fclose(f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(copy, w, sizeof w);
        copy[bad[i].word] = bad[i].value;
        put("bad.ra", (char *)copy, sizeof copy);
        kr_array *c = NULL;
        assert_true(kr_array_read(&c, scratch("bad.ra")) < 0);
        assert_refused(KR_EFORMAT, bad[i].words);
    }
    for (size_t n = 0; n < sizeof w; n++) {
        put("bad.ra", (char *)w, n);
        kr_array *c = NULL;
        assert_true(kr_array_read(&c, scratch("bad.ra")) < 0);
        assert_refused(KR_EFORMAT, "");
    }
    for (int i = 0; i < 33; i++)
        copy[i] = i < 9 ? __builtin_bswap64(w[i]) : (uint64_t)__builtin_bswap32((uint32_t)w[i]) | (uint64_t)__builtin_bswap32((uint32_t)(w[i] >> 32)) << 32;
    put("turned.ra", (char *)copy, sizeof copy);
    kr_scoped(array) turned = NULL;
    assert_int_equal(kr_array_read(&turned, scratch("turned.ra")), 0);
    assert_memory_equal(turned->data, a->data, 192);
}

/* Every dimension of BART's lands on the axis that means the same. */
static void test_dimensions(void **state)
{
    (void)state;
    put_pair("d", "# Dimensions\n2 3 1 2 1 2 1 1 1 1 3 2 1 2 1 1 \n# Command\nmade by hand\n# Unknown\nwhatever 7\n# Creator\nBART\n", 2 * 3 * 2 * 2 * 3 * 2 * 2);
    kr_scoped(array) a = NULL;
    assert_int_equal(kr_array_read(&a, scratch("d")), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(a)), "{x=2 y=3 coil=2 slice=2 echo=2 phase=2 time=3}");
    assert_true(kr_array_contiguous(a));
    /* x + 2 y + 6 coil + 12 te + 24 time + 72 time2 + 144 slice */
    static const int axis[] = { KR_X, KR_Y, KR_COIL, KR_ECHO, KR_TIME, KR_PHASE, KR_SLICE }, step[] = { 1, 2, 6, 12, 24, 72, 144 };
    for (int k = 0; k < 7; k++)
        assert_true(kr_re(KR_C(a)[a->step[axis[k]]]) == (float)step[k]);

    /* A window of slices: in one piece in the file, and with averages outside. */
    kr_scoped(scan) s = NULL;
    kr_read how = { .slice_from = 1, .slice_count = 1 };
    assert_int_equal(kr_scan_read(&s, scratch("d"), NULL, &how, NULL), 0);
    assert_string_equal(kr_shape_text(s->shape), "{x=2 y=3 coil=2 echo=2 phase=2 time=3}");
    assert_string_equal(kr_shape_text(kr_array_shape(s->data)), "{x=2 y=3 coil=2 echo=2 phase=2 time=3}");
    assert_true(kr_re(KR_C(s->data)[0]) == 144);
    put_pair("v", "# Dimensions\n2 1 1 1 1 1 1 1 1 1 1 1 1 3 2\n", 12);
    kr_scan_unref(&s);
    how = (kr_read){ .slice_from = 1, .slice_count = 2 };
    assert_int_equal(kr_scan_read(&s, scratch("v"), NULL, &how, NULL), 0);
    assert_string_equal(kr_shape_text(s->shape), "{x=2 slice=2 avg=2}");
    assert_true(kr_re(KR_C(s->data)[0]) == 2 && kr_re(KR_C(s->data)[4]) == 8);
    how.slice_count = 3;
    kr_scan_unref(&s);
    assert_true(kr_scan_read(&s, scratch("v"), NULL, &how, NULL) < 0);
    assert_refused(KR_ESHAPE, "slices 1 to 3 asked of 3");
    how = (kr_read){ .header_only = true };
    assert_int_equal(kr_scan_read(&s, scratch("v"), NULL, &how, NULL), 0);
    assert_null(s->data);
    assert_string_equal(kr_shape_text(s->shape), "{x=2 slice=3 avg=2}");
}

/* Written and read: every axis that BART knows, in its order; real stays real; axes that BART does not know come back. */
static void test_round(void **state)
{
    (void)state;
    static const kr_shape shape[] = { KR_SHAPE([KR_X] = 5, [KR_Y] = 4, [KR_COIL] = 3, [KR_SLICE] = 2, [KR_ECHO] = 2),
                                      KR_SHAPE([KR_X] = 3, [KR_Z] = 4, [KR_MAP] = 2, [KR_SET] = 2, [KR_AVG] = 3, [KR_BATCH] = 2),
                                      KR_SHAPE([KR_CHAN] = 3, [KR_SAMPLE] = 7, [KR_VIEW] = 5),
                                      KR_SHAPE([KR_SAMPLE] = 7, [KR_COIL] = 5), KR_SHAPE([KR_U] = 6, [KR_V] = 2, [KR_VIEW] = 4), KR_SHAPE(0) };
    for (int k = 0; k < 6; k++)
        for (int type = KR_R32; type <= KR_C32; type++) {
            kr_scoped(array) a = kr_array_new((enum kr_type)type, shape[k]);
            fill_random(a, (uint64_t)k);
            assert_int_equal(kr_array_write(a, NULL, scratch("r.cfl")), 0);
            kr_scoped(array) b = NULL;
            assert_int_equal(kr_array_read(&b, scratch("r")), 0);
            assert_int_equal(b->type, a->type);
            assert_string_equal(kr_shape_text(kr_array_shape(b)), kr_shape_text(kr_array_shape(a)));
            size_t bytes = (size_t)kr_count(shape[k]) * (type == KR_C32 ? 8 : 4);
            assert_memory_equal(a->data, b->data, bytes);
        }
    kr_scoped(array) both = kr_array_new(KR_C32, KR_SHAPE([KR_Y] = 2, [KR_SAMPLE] = 2));
    assert_true(kr_array_write(both, NULL, scratch("r.cfl")) < 0);
    assert_refused(KR_ESHAPE, "y and sample");
}

/* Provenance is in the header, whose length BART limits to 4096 bytes; '#' would start a keyword. */
static void test_header(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 2));
    kr_scoped(meta) m = kr_meta_new();
    char *longer = malloc(6000);
    memset(longer, 'x', 5999);
    longer[5999] = 0;
    assert_int_equal(kr_meta_set(m, "kray_command", "kray recon a#1.h5\n-o b"), 0);
    assert_int_equal(kr_meta_set(m, "endless", "%s", longer), 0);
    assert_int_equal(kr_meta_set(m, "method", "cgsense"), 0);
    free(longer);
    assert_int_equal(kr_array_write(a, m, scratch("h.cfl")), 0);
    FILE *f = fopen(scratch("h.hdr"), "r");
    char text[8192];
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char want[200];
    snprintf(want, sizeof want, "# Dimensions\n2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 \n# Command\nkray recon a 1.h5 -o b\n# method\ncgsense\n# Creator\nKray %s\n", kr_version());
    assert_string_equal(text, want);
    struct stat st;
    assert_int_equal(stat(scratch("h.cfl"), &st), 0);
    assert_int_equal(st.st_size, 16);
}

/* A scan whose readout is in image space already leaves as k-space: a point in the middle becomes a constant line. */
static void test_hybrid(void **state)
{
    (void)state;
    kr_scoped(scan) s = kr_scan_new();
    kr_scoped(scan) back = NULL;
    s->shape = KR_SHAPE([KR_X] = 4, [KR_Y] = 2);
    s->data = kr_array_new(KR_C32, s->shape);
    s->in_image = KR_ON(KR_X);
    KR_C(s->data)[2] = kr_c(1, 0);
    assert_int_equal(kr_scan_write(s, scratch("i.cfl"), NULL), 0);
    assert_int_equal(kr_scan_read(&back, scratch("i.cfl"), NULL, NULL, NULL), 0);
    assert_int_equal(back->in_image, 0);
    for (long i = 0; i < 8; i++)
        assert_near(kr_re(KR_C(back->data)[i]), i < 4 ? 0.5 : 0, 1e-6);   /* rounding of one float FFT */
}

static void refused(const char *header, long numbers, const char *source, int code, const char *words)
{
    put_pair("bad", header, numbers);
    kr_array *a = NULL;
    assert_true(kr_array_read(&a, scratch(source)) < 0);
    assert_null(a);
    assert_refused(code, words);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("# Dimensions\n2 3\n", 5, "bad.cfl", KR_EFORMAT, "announces {x=2 y=3}, 48 bytes, but the .cfl file has 40");
    refused("# Dimensions\n2 3\n", 7, "bad.cfl", KR_EFORMAT, "48 bytes, but the .cfl file has 56");
    refused("# Dimensions\n2 0 3\n", 6, "bad", KR_EFORMAT, "make no sense");
    refused("# Dimensions\n2 -3\n", 6, "bad", KR_EFORMAT, "make no sense");
    refused("# Dimensions\n2 3x\n", 6, "bad", KR_EFORMAT, "make no sense");
    refused("# Dimensions\n4000000000 4000000000 2\n", 6, "bad", KR_EFORMAT, "make no sense");
    refused("# Dimensions\n1000000 1000000 1000000 2\n", 6, "bad", KR_EFORMAT, "but the .cfl file has 48");
    refused("# Dimensions\n\n", 6, "bad", KR_EFORMAT, "is empty");
    refused("# Creator\nBART\n", 6, "bad", KR_EFORMAT, "no line '# Dimensions'");
    refused("# Dimensions\n1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 6\n", 6, "bad", KR_EFORMAT, "dimension 16 of length 6");
    refused("# Dimensions\n6\n# SizesDimensions\n1\n# MultiDimensions\n6\n", 6, "bad", KR_EFORMAT, "several arrays");
    refused("# Dimensions\n1 1 1 1 1 1 1 1 6\n", 6, "bad", KR_EUSAGE, "dimension 8 (ITER) of length 6 has no axis");
    refused("# Dimensions\n2 3\n", 6, "bad.cfl@x", KR_EUSAGE, "no name to dimension 1");
    refused("# Dimensions\n2 3\n", 6, "bad.cfl@x,-", KR_EUSAGE, "no name to dimension 1");
    refused("# Dimensions\n2 3\n", 6, "bad.cfl@x,q", KR_EUSAGE, "'q' names no axis");
    assert_int_equal(unlink(scratch("bad.hdr")), 0);
    kr_array *a = NULL;
    assert_true(kr_array_read(&a, scratch("bad.cfl")) < 0);
    assert_refused(KR_EFILE, "bad.hdr cannot be opened");
    kr_scoped(array) b = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 2));
    kr_image *im = kr_image_new(b, NULL, NULL);
    assert_true(kr_image_write(im, scratch("noname"), "cfl") < 0);
    assert_refused(KR_EUSAGE, "end the name with .cfl");
    kr_image_unref(&im);
}

/* bart reads what Kray writes: it doubles the array, and gives back its dimensions. */
static void test_bart_reads(void **state)
{
    (void)state;
    if (system("command -v bart >/dev/null")) {
        print_message("skipped: bart is absent\n");
        skip();
    }
    kr_scoped(array) a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 6, [KR_Y] = 5, [KR_COIL] = 2, [KR_SLICE] = 3, [KR_TIME] = 2));
    kr_scoped(array) b = NULL;
    kr_scoped(meta) m = kr_meta_new();
    assert_int_equal(kr_meta_set(m, "kray_command", "kray convert #in out"), 0);
    assert_int_equal(kr_meta_set(m, "te_ms", "3.5"), 0);
    fill_random(a, 3);
    assert_int_equal(kr_array_write(a, m, scratch("k.cfl")), 0);
    char line[512];
    snprintf(line, sizeof line, "bart scale 2 %s %s", scratch("k"), scratch("k2"));
    assert_int_equal(system(line), 0);
    assert_int_equal(kr_array_read(&b, scratch("k2")), 0);
    kr_axpy(b, -2, a);
    assert_true(kr_norm(b) == 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample), cmocka_unit_test(test_bart_phantom), cmocka_unit_test(test_ra), cmocka_unit_test(test_dimensions), cmocka_unit_test(test_round),
        cmocka_unit_test(test_header), cmocka_unit_test(test_hybrid), cmocka_unit_test(test_refusals), cmocka_unit_test(test_bart_reads) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
