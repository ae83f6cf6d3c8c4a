/* test_mrdstream.c: recorded MRD streams: what they hold is what the same scan in HDF5 holds; cut off anywhere they are refused. */
#include "test.h"
#include "kray/io.h"
#include "kray/wire.h"

static unsigned char bytes[1 << 16];
static size_t load(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/mrdstream/%s", KR_SOURCE, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    return n;
}

static const char *save(size_t n)
{
    static char path[100];
    snprintf(path, sizeof path, "/tmp/kray-test-%ld.bin", (long)getpid());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    return path;
}

/* Numbers of line ky, channel c, sample i: (ky + 1 + i / 4, c). */
static void acquisitions(void **state)
{
    (void)state;
    kr_scoped(scan) s = NULL;
    const char *path = save(load("raw"));
    assert_int_equal(kr_scan_read(&s, path, NULL, NULL, NULL), 0);
    assert_true(s->shape.n[KR_X] == 4 && s->shape.n[KR_Y] == 4 && s->shape.n[KR_COIL] == 2);
    for (long c = 0; c < 2; c++)
        for (long y = 0; y < 4; y++)
            for (long x = 0; x < 4; x++) {
                kr_cfloat v = KR_C(s->data)[x + 4 * y + 16 * c];
                assert_near(kr_re(v), (double)(y + 1) + 0.25 * (double)x, 0);
                assert_near(kr_im(v), (double)c, 0);
            }
    assert_int_equal(s->waveforms, 1);
    assert_true(s->waveform[0].channels == 1 && s->waveform[0].samples == 2 && s->waveform[0].data[1] == 8 && s->waveform[0].counter == 2
                && s->waveform[0].time_stamp == 3 && s->waveform[0].sample_time_us == 2.5f);
    unlink(path);
}

static void images(void **state)
{
    (void)state;
    kr_scoped(image) im = NULL;
    const char *path = save(load("image"));
    assert_int_equal(kr_image_read(&im, path), 0);
    assert_true(im->data->n[KR_X] == 3 && im->data->n[KR_Y] == 2);
    for (long i = 0; i < 6; i++)
        assert_near(KR_R(im->data)[i], (double)i, 0);
    assert_string_equal(kr_meta_get(im->meta, "te_ms"), "3");
    kr_scoped(scan) s = NULL;
    assert_true(kr_scan_read(&s, path, NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "holds 1 images and no acquisitions");
    unlink(path);
}

static void cut_off_anywhere(void **state)
{
    (void)state;
    size_t n = load("raw");
    for (size_t cut = 1025; cut < n - 2; cut += 7) {              /* the last two bytes are the close, which may be missing */
        const char *path = save(cut);
        kr_scoped(scan) s = NULL;
        int e = kr_scan_read(&s, path, "mrdstream", NULL, NULL);
        if (!e)                                                   /* behind a whole line: what came is there */
            assert_true(s->lines[KR_LINES_IMAGING].count < 4);
        else
            assert_true(kr_error_code() == KR_EFORMAT && strlen(kr_error()) > 20);
        kr_error_clear();
        unlink(path);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct { size_t at; unsigned char to[4]; int n; const char *words; } t[] = {
        { 1026, { 0x67, 0x12 }, 2, "has the id 4711" },
        { 1028, { 255, 255, 255, 255 }, 4, "claims 4294967295 bytes of text" },
        { 0, { 3, 0 }, 2, "" },
    };
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        size_t n = load("raw");
        memcpy(bytes + t[k].at, t[k].to, (size_t)t[k].n);
        const char *path = save(n);
        kr_scoped(scan) s = NULL;
        assert_true(kr_scan_read(&s, path, "mrdstream", NULL, NULL) < 0);
        assert_refused(KR_EFORMAT, t[k].words);
        unlink(path);
    }
}

/* An image of many columns and no planes has no bytes, and a reader that takes no planes for one would ask for gigabytes. */
static void no_pixels(void **state)
{
    (void)state;
    unsigned char h[KR_MRD_IMAGE_HEAD] = { 1, 0, 5 };
    kr_text t = { 0 };
    h[16] = h[17] = h[18] = h[19] = 255;
    h[34] = h[35] = 255;
    kr_mrd_put_text(&t, KR_MRD_TEXT, "DBG no planes");
    kr_mrd_put(&t, &(kr_mrd_message){ .id = KR_MRD_IMAGE, .head = h, .head_bytes = sizeof h });
    kr_mrd_put_close(&t);
    memcpy(bytes, t.s, t.len);
    const char *path = save(t.len);
    kr_scoped(image) im = NULL;
    assert_true(kr_image_read(&im, path) < 0);
    assert_refused(KR_EFORMAT, "image 0 has no pixels: a matrix of 65535 x 65535 x 0, 65535 channels");
    unlink(path);
    kr_text_clear(&t);
}

/* Bytes captured between two programs of others, and the same scan in a file. */
static void captured(void **state)
{
    (void)state;
    NEED_SHARED("samples/mrd_stream/pyclient_cart16_client_to_server.bin");
    kr_scoped(scan) s = NULL;
    kr_scoped(scan) file = NULL;
    assert_int_equal(kr_scan_read(&s, shared("samples/mrd_stream/pyclient_cart16_client_to_server.bin"), NULL, NULL, NULL), 0);
    assert_int_equal(kr_scan_read(&file, shared("samples/ismrmrd/py_cart16_noise_wav.mrd"), NULL, NULL, NULL), 0);
    assert_near(distance(s->data, file->data), 0, 0);
    assert_near(distance(s->calib, file->calib), 0, 0);
    assert_near(distance(s->noise, file->noise), 0, 0);
    kr_scoped(image) a = NULL;
    kr_scoped(image) b = NULL;
    assert_int_equal(kr_image_read(&a, shared("samples/mrd_stream/pyclient_cart16_server_to_client.bin")), 0);
    assert_int_equal(kr_image_read(&b, shared("samples/ismrmrd/pyclient_saved_images.h5")), 0);
    assert_near(distance(a->data, b->data), 0, 0);
}

static void awkward(void **state)
{
    (void)state;
    NEED_SHARED("samples/mrd_stream/unknown_id.bin");
    static const char *const t[][2] = {
        { "config_file_only_close", "no acquisitions" }, { "gadgetron_style_no_nul", "no imaging lines (1 noise)" },
        { "header_before_config", "message 1 is the header" }, { "huge_acquisition_dims", "34358690140 bytes" },
        { "huge_length", "claims 4294967295 bytes" }, { "truncated_in_acquisition", "ends after 198" }, { "unknown_id", "id 4711" } };
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        char name[100];
        snprintf(name, sizeof name, "samples/mrd_stream/%s.bin", t[k][0]);
        kr_scoped(scan) s = NULL;
        assert_true(kr_scan_read(&s, shared(name), NULL, NULL, NULL) < 0);
        assert_refused(KR_EFORMAT, t[k][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(acquisitions), cmocka_unit_test(images), cmocka_unit_test(cut_off_anywhere),
                                        cmocka_unit_test(refusals), cmocka_unit_test(no_pixels), cmocka_unit_test(captured), cmocka_unit_test(awkward) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
