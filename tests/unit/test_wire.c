/* test_wire.c: MRD messages in pieces of any size, written again byte for byte, and lies about lengths. */
#include "test.h"
#include "kray/wire.h"

enum { MOST = 1 << 30 };

/* A message of every kind, with bytes that differ everywhere. */
static void all_kinds(kr_text *t)
{
    unsigned char junk[4096];
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (unsigned char)(i * 37 + 11);
    kr_mrd_put_text(t, KR_MRD_CONFIG_FILE, "rss");
    kr_mrd_put_text(t, KR_MRD_CONFIG_TEXT, "{\"method\":\"rss\"}");
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_HEADER, .text = "<a/>", .text_bytes = 4 });          /* no zero, as Gadgetron's client */
    kr_mrd_put_text(t, KR_MRD_TEXT, "");
    unsigned char line[KR_MRD_LINE_HEAD] = { 1 }, wave[KR_MRD_WAVE_HEAD] = { 1 }, image[KR_MRD_IMAGE_HEAD] = { 1, 0, 2 }, array[6 + 16] = { 5, 0, 1, 0, 2, 0, 3, 0 };
    line[34] = 8;                                                 /* number_of_samples */
    line[36] = line[38] = 2;                                      /* available, active channels */
    kr_line none = kr_mrd_line_parse(line);
    assert_true(none.samples == 8 && none.channels == 2 && !none.traj_dims);
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_ACQUISITION, .head = line, .head_bytes = sizeof line, .data = junk, .data_bytes = 8 * 8 * 2 });
    line[176] = 3;                                                /* trajectory_dimensions */
    if (kr_mrd_line_parse(line).traj_dims != 3)
        fail_msg("the trajectory's dimensions are elsewhere");
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_ACQUISITION, .head = line, .head_bytes = sizeof line, .traj = junk, .traj_bytes = 4 * 8 * 3,
                                     .data = junk + 5, .data_bytes = 8 * 8 * 2 });
    wave[28] = 3;
    wave[30] = 2;
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_WAVEFORM, .head = wave, .head_bytes = sizeof wave, .data = junk, .data_bytes = 24 });
    image[16] = 3;                                                /* matrix_size */
    image[18] = 2;
    image[20] = image[34] = 1;                                    /* and channels */
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_IMAGE, .head = image, .head_bytes = sizeof image, .text = "<m/>", .text_bytes = 4, .data = junk, .data_bytes = 12 });
    array[14] = 2;
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_NDARRAY, .head = array, .head_bytes = sizeof array, .data = junk, .data_bytes = 24 });
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_QUERY, .head = junk, .head_bytes = 16, .text = "gadgetron::info", .text_bytes = 15 });
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_RESPONSE, .head = junk, .head_bytes = 8, .text = "kray", .text_bytes = 4 });
    kr_mrd_put_close(t);
    assert_false(t->failed);
}

/* What comes out of `bytes` in pieces of `piece` (0: as much as there is room for), written again; how many messages. */
static long again(kr_text *to, const char *bytes, size_t n, size_t piece, int *end)
{
    kr_mrd_wire *w = kr_mrd_wire_new(MOST);
    assert_non_null(w);
    long count = 0;
    int more = 0;
    for (size_t at = 0; at < n && more >= 0; ) {
        size_t room;
        unsigned char *p = kr_mrd_wire_room(w, &room);
        assert_true(p && room > 0);
        size_t k = piece && piece < room ? piece : room;
        k = k < n - at ? k : n - at;
        memcpy(p, bytes + at, k);
        kr_mrd_wire_filled(w, k);
        at += k;
        kr_mrd_message m;
        while ((more = kr_mrd_wire_next(w, &m)) > 0) {
            assert_int_equal(m.number, ++count);
            assert_int_equal(m.at, to->len);
            kr_mrd_put(to, &m);
            assert_int_equal(m.at + (int64_t)m.bytes, to->len);
        }
    }
    *end = more < 0 ? more : kr_mrd_wire_end(w);
    kr_mrd_wire_unref(&w);
    return count;
}

static void pieces_of_any_size(void **state)
{
    (void)state;
    kr_text t = { 0 };
    all_kinds(&t);
    static const size_t piece[] = { 0, 1, 2, 3, 7, 341, 4096 };
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++) {
        kr_text to = { 0 };
        int end;
        assert_int_equal(again(&to, t.s, t.len, piece[i], &end), 12);
        assert_int_equal(end, 0);
        assert_true(to.len == t.len && !memcmp(to.s, t.s, t.len));
        kr_text_clear(&to);
    }
    kr_text_clear(&t);
}

/* Cut anywhere: whole messages come, and the end within one is told. */
static void cut_anywhere(void **state)
{
    (void)state;
    kr_text t = { 0 };
    all_kinds(&t);
    long refused = 0;
    for (size_t n = 0; n <= t.len; n++) {
        kr_text to = { 0 };
        int end;
        again(&to, t.s, n, 0, &end);
        assert_true(to.len <= n && (end < 0) == (to.len < n));
        refused += end < 0;
        kr_error_clear();
        kr_text_clear(&to);
    }
    assert_int_equal(refused, (long)t.len + 1 - 13);             /* 12 messages have 13 ends */
    kr_text_clear(&t);
}

/* An image larger than the first room comes whole, and what it claims costs nothing before it is there. */
static void large_image(void **state)
{
    (void)state;
    unsigned char image[KR_MRD_IMAGE_HEAD] = { 1, 0, 5 };
    image[17] = image[19] = 4;                                    /* 1024 x 1024 */
    image[20] = image[34] = 1;
    kr_text t = { 0 }, to = { 0 };
    kr_scoped(array) pixels = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1024, [KR_Y] = 1024));
    assert_non_null(pixels);
    fill_random(pixels, 1);
    kr_mrd_put(&t, &(kr_mrd_message){ .id = KR_MRD_IMAGE, .head = image, .head_bytes = sizeof image, .data = pixels->data, .data_bytes = 4 << 20 });
    int end;
    assert_int_equal(again(&to, t.s, t.len, 65536, &end), 1);
    assert_true(!end && to.len == t.len && !memcmp(to.s, t.s, t.len));
    size_t before = kr_mem_now();
    kr_text little = { 0 };
    again(&little, t.s, 300, 0, &end);
    assert_true(end < 0 && kr_mem_peak() >= before);
    kr_mrd_wire *w = kr_mrd_wire_new(MOST);
    size_t room;
    memcpy(kr_mrd_wire_room(w, &room), t.s, 300);
    kr_mrd_wire_filled(w, 300);
    kr_mrd_message m;
    assert_int_equal(kr_mrd_wire_next(w, &m), 0);
    assert_true(kr_mrd_wire_room(w, &room) && kr_mem_now() < before + (1 << 20));
    kr_mrd_wire_unref(&w);
    kr_text_clear(&little);
    kr_text_clear(&t);
    kr_text_clear(&to);
    kr_error_clear();
}

static void refused(const char *bytes, size_t n, const char *words)
{
    kr_text to = { 0 };
    int end;
    again(&to, bytes, n, 1, &end);
    assert_int_equal(end, KR_EFORMAT);
    assert_refused(KR_EFORMAT, words);
    kr_text_clear(&to);
}

static void lies(void **state)
{
    (void)state;
    refused("\xff\x12", 2, "message 1 (at byte 0): has the id 4863");
    refused("\x03\0\xff\xff\xff\xff", 6, "message 1 (header, at byte 0): claims 4294967295 bytes of text");
    refused("yardl\1\0\0", 8, "MRD v2");
    refused("{\"yardl\":{", 10, "MRD v2");
    refused("\xff\3", 2, "deprecated, or Gadgetron's own");       /* 1023 */
    char line[2 + KR_MRD_LINE_HEAD] = { (char)0xf0, 3 };
    line[2 + 34] = line[2 + 35] = line[2 + 38] = line[2 + 39] = (char)0xff;
    refused(line, sizeof line, "would have 34358690142 bytes");
    char image[2 + KR_MRD_IMAGE_HEAD + 8] = { (char)0xfe, 3, 1, 0, 9 };
    refused(image, sizeof image, "of type 9");
    image[4] = 5;
    memset(image + 2 + 16, 255, 6);
    memset(image + 2 + 34, 255, 2);
    refused(image, sizeof image, "65535 x 65535 x 65535");
    memset(image + 2 + 16, 0, 6);
    memset(image + 2 + KR_MRD_IMAGE_HEAD, 255, 8);
    refused(image, sizeof image, "bytes of attributes");
    char array[8 + 8] = { 6, 4, 5, 0, 1, 0, 99, 0 };
    refused(array, sizeof array, "99 axes");
    array[6] = 1;
    memset(array + 8, 255, 8);
    refused(array, sizeof array, "more numbers");
    kr_text t = { 0 };
    char name[3000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    kr_mrd_put_text(&t, KR_MRD_CONFIG_FILE, name);
    assert_true(t.len == 2 + KR_MRD_FILE_NAME && !t.s[1025] && t.s[1024] == 'x');
    kr_text_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(pieces_of_any_size), cmocka_unit_test(cut_anywhere), cmocka_unit_test(large_image), cmocka_unit_test(lies) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
