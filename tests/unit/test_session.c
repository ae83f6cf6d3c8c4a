/* test_session.c: when a slice is complete, what is said, and that every session ends with CLOSE. */
#include "test.h"
#include "kray/mrd.h"

/* A host whose image is the scan's mean, and that fails where `fails` says. */
static struct { long runs, slice, lines, calib, noise, opened, fails; int code; enum kr_mrd_unit unit; } fake;

static int open_fake(void **job, enum kr_mrd_unit *unit, void *self, const kr_mrd_ask *ask)
{
    (void)self;
    (void)ask;
    fake.opened++;
    *unit = fake.unit;
    *job = &fake;
    return 0;
}

static int run_fake(kr_image **out, void *job, kr_scan *scan, long slice, const kr_trace *trace)
{
    (void)job;
    (void)trace;
    fake.runs++;
    fake.slice = slice;
    fake.lines = scan->lines[KR_LINES_IMAGING].count;
    fake.noise = scan->noise ? scan->noise->n[KR_SAMPLE] : 0;
    fake.calib = scan->lines[KR_LINES_CALIB].count;
    if (fake.fails == slice)
        return kr_fail(fake.code ? fake.code : KR_EREFUSED, "it does not work");
    kr_shape n = scan->shape;
    n.n[KR_COIL] = 1;
    kr_scoped(array) x = kr_array_new(KR_R32, n);
    for (long i = 0; x && i < kr_count(n); i++)
        KR_R(x)[i] = (float)(slice + 2);
    *out = x ? kr_image_new(x, scan->geom, NULL) : NULL;
    return *out ? 0 : kr_error_code();
}

static void close_fake(void *job) { (void)job; }
static bool knows_fake(void *self, const char *name) { return !self && !strcmp(name, "fake"); }
static const kr_mrd_host host = { .knows = knows_fake, .open = open_fake, .run = run_fake, .close = close_fake };

/* ---- Streams ---- */
#define LIMIT(name, most) "<" name "><minimum>0</minimum><maximum>" most "</maximum><center>0</center></" name ">"
static void head(kr_text *t, const char *limits, const char *parallel)
{
    char xml[2000];
    snprintf(xml, sizeof xml, "<ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><encoding><encodedSpace><matrixSize><x>4</x><y>4</y><z>1</z></matrixSize><fieldOfView_mm><x>40</x>"
             "<y>40</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>4</x><y>4</y><z>1</z></matrixSize><fieldOfView_mm><x>40</x><y>40</y><z>5</z></fieldOfView_mm>"
             "</reconSpace><encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>3</maximum><center>2</center></kspace_encoding_step_1>%s</encodingLimits>"
             "<trajectory>cartesian</trajectory>%s</encoding></ismrmrdHeader>", limits, parallel);
    kr_mrd_put_text(t, KR_MRD_CONFIG_FILE, "fake");
    kr_mrd_put_text(t, KR_MRD_HEADER, xml);
}

enum { LAST = 1 << 7, CALIB = 1 << 19, LAST_REPETITION = 1 << 13 };

static void line_of(kr_text *t, int channels, int ky, int slice, int contrast, int repetition, uint64_t flags)
{
    unsigned char h[KR_MRD_LINE_HEAD] = { 1 };
    float data[16] = { 1, 2, 3, 4, 5, 6, 7, 8 }, one = 1;
    memcpy(h + 2, &flags, 8);
    h[34] = 4;
    h[36] = h[38] = (unsigned char)channels;
    h[172] = 2;
    memcpy(h + 194, &one, 4);
    memcpy(h + 210, &one, 4);
    memcpy(h + 226, &one, 4);
    h[242] = (unsigned char)ky;
    h[248] = (unsigned char)slice;
    h[250] = (unsigned char)contrast;
    h[254] = (unsigned char)repetition;
    kr_mrd_put(t, &(kr_mrd_message){ .id = KR_MRD_ACQUISITION, .head = h, .head_bytes = sizeof h, .data = (const unsigned char *)data, .data_bytes = 32 * (size_t)channels });
}

static void line(kr_text *t, int ky, int slice, int contrast, int repetition, uint64_t flags) { line_of(t, 1, ky, slice, contrast, repetition, flags); }

/* How many messages of a kind the answer holds; with `words` in the text of one. */
static long answered(const kr_mrd_session *s, int id, const char *words)
{
    size_t left;
    const unsigned char *p = kr_mrd_session_out(s, &left);
    long n = 0;
    for (int64_t k; left && kr_mrd_length(&k, p, left, INT64_MAX) == 1; p += k, left -= (size_t)k) {
        kr_mrd_message m;
        kr_mrd_split(&m, p, (size_t)k);
        kr_auto char *text = words ? kr_mrd_text_of(&m) : NULL;
        n += m.id == id && (!words || strstr(text, words));
    }
    return n;
}

static kr_mrd_session *begun;
static void begin_with(const kr_mrd_host *with)
{
    memset(&fake, 0, sizeof fake);
    fake.unit = KR_MRD_BY_SLICE;
    fake.fails = -2;
    begun = kr_mrd_session_new(with, NULL);
    assert_non_null(begun);
}

static kr_mrd_session *begin(enum kr_mrd_unit unit)
{
    memset(&fake, 0, sizeof fake);
    fake.unit = unit;
    fake.fails = -2;
    kr_mrd_session *s = kr_mrd_session_new(&host, NULL);
    assert_non_null(s);
    return s;
}

static void say(kr_mrd_session *s, kr_text *t)
{
    kr_mrd_session_feed(s, t->s, t->len);
    t->len = 0;
    kr_mrd_session_work(s, NULL);
}

static void end(kr_mrd_session **s, kr_text *t, long images)
{
    kr_mrd_put_close(t);
    say(*s, t);
    assert_true(kr_mrd_session_closed(*s));
    assert_int_equal(answered(*s, KR_MRD_CLOSE, NULL), 1);
    assert_int_equal(answered(*s, KR_MRD_IMAGE, NULL), images);
    kr_mrd_session_unref(s);
    kr_text_clear(t);
}

static void last_flags(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "1"), "");
    line(&t, 0, 0, 0, 0, 0);
    line(&t, 2, 0, 0, 0, LAST);                                   /* fewer lines than the header's limits: the flag tells */
    say(s, &t);
    assert_int_equal(fake.runs, 1);
    assert_int_equal(answered(s, KR_MRD_IMAGE, NULL), 1);         /* before the scan has ended */
    line(&t, 0, 1, 0, 0, 0);
    say(s, &t);
    assert_int_equal(fake.runs, 1);
    end(&s, &t, 2);
    assert_true(fake.runs == 2 && fake.slice == 1 && fake.opened == 1);
}

static void limits_and_repetitions(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, "", "");
    for (int ky = 0; ky < 4; ky++) {
        assert_int_equal(fake.runs, 0);
        line(&t, 3 - ky, 0, 0, 0, 0);
        say(s, &t);
    }
    assert_int_equal(fake.runs, 1);                               /* all lines of the limits, without a flag */
    line(&t, 0, 0, 0, 1, 0);
    line(&t, 2, 0, 0, 1, 0);
    say(s, &t);
    assert_int_equal(fake.runs, 1);
    line(&t, 0, 0, 0, 2, 0);                                      /* the next repetition begins */
    say(s, &t);
    assert_true(fake.runs == 2 && fake.lines == 2);
    end(&s, &t, 3);
}

/* A flag at the end of each contrast is not yet the end of the slice; one at the end of the repetition is that of all slices. */
static void contrasts(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "1") LIMIT("contrast", "1"), "");
    for (int c = 0; c < 2; c++)
        for (int slice = 0; slice < 2; slice++) {
            line(&t, 0, slice, c, 0, 0);
            line(&t, 2, slice, c, 0, slice ? LAST_REPETITION : c ? 0 : LAST);
            say(s, &t);
            assert_int_equal(fake.runs, c && slice ? 2 : 0);
        }
    end(&s, &t, 4);
}

/* A contrast that the header does not announce comes after the slice was complete: its image alone follows, and none of what no line was measured for. */
static void more_than_announced(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "0"), "");
    for (int c = 0; c < 2; c++)
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, 0, c, 0, ky == 3 ? LAST : 0);
    say(s, &t);
    assert_int_equal(fake.runs, 2);
    end(&s, &t, 2);
}

/* Channels that are not whitened are told of, with the reason. */
static void no_noise(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
        kr_text t = { 0 };
        head(&t, "", "");
        if (i)
            line_of(&t, i == 1 ? 2 : 1, 0, 0, 0, 0, 1 << 18);
        for (int ky = 0; ky < 4; ky++)
            line_of(&t, 2, ky, 0, 0, 0, 0);
        say(s, &t);
        assert_int_equal(answered(s, KR_MRD_TEXT, "DBG no noise came before the first line"), i == 0);
        assert_int_equal(answered(s, KR_MRD_TEXT, "WRN the noise has 1 channels, and this scan 2"), i == 2);
        assert_int_equal(answered(s, KR_MRD_TEXT, "not whitened"), i != 1);
        end(&s, &t, 1);
    }
}

static void calibration(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("repetition", "1"), "<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1><kspace_encoding_step_2>1</kspace_encoding_step_2>"
         "</accelerationFactor><calibrationMode>separate</calibrationMode></parallelImaging>");
    line(&t, 0, 0, 0, 0, 0);
    line(&t, 2, 0, 0, 0, LAST);                                   /* the calibration is still to come */
    say(s, &t);
    assert_int_equal(fake.runs, 0);
    for (int ky = 1; ky < 4; ky++)
        line(&t, ky, 0, 0, 0, CALIB);
    line(&t, 0, 0, 0, 1, 0);
    say(s, &t);
    assert_true(fake.runs == 1 && fake.calib == 3);
    line(&t, 2, 0, 0, 1, LAST);                                   /* and serves this repetition, too */
    say(s, &t);
    assert_true(fake.runs == 2 && fake.calib == 3);
    end(&s, &t, 2);
}

/* Noise of one session serves another that names it; a third, of other channels or names, is told. */
static struct { char id[64]; kr_text bytes; } noise_kept;
static void keep_noise(void *self, const char *id, const void *bytes, size_t n)
{
    (void)self;
    snprintf(noise_kept.id, sizeof noise_kept.id, "%s", id);
    noise_kept.bytes.len = 0;
    kr_text_put(&noise_kept.bytes, bytes, n);
}
static bool noise_of(void *self, const char *id, kr_text *bytes)
{
    (void)self;
    kr_text_put(bytes, noise_kept.bytes.s, noise_kept.bytes.len);
    return !strcmp(id, noise_kept.id);
}

static void noise_of_another(void **state)
{
    (void)state;
    kr_mrd_host with = host;
    with.keep_noise = keep_noise;
    with.noise_of = noise_of;
    static const char *const said[] = { "<measurementID>n1</measurementID>",
                                        "<measurementID>s1</measurementID><measurementDependency><dependencyType>Noise</dependencyType><measurementID>n1</measurementID></measurementDependency>",
                                        "<measurementDependency><dependencyType>Noise</dependencyType><measurementID>n2</measurementID></measurementDependency>" };
    for (int i = 0; i < 3; i++) {
        begin_with(&with);
        kr_text t = { 0 }, h = { 0 };
        head(&h, "", "");
        const char *from = memmem(h.s, h.len, "<encoding>", 10);
        kr_mrd_put_text(&t, KR_MRD_CONFIG_FILE, "fake");
        kr_auto char *xml = kr_strf("<ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><measurementInformation>%s</measurementInformation>%s", said[i], from);
        kr_mrd_put_text(&t, KR_MRD_HEADER, xml);
        if (!i)
            line(&t, 0, 0, 0, 0, 1 << 18);
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, 0, 0, 0, 0);
        say(begun, &t);
        assert_int_equal(fake.noise, i < 2 ? 4 : 0);
        assert_int_equal(answered(begun, KR_MRD_TEXT, "WRN the noise was measured in another scan, n2, which did not come here"), i == 2);
        kr_text_clear(&h);
        end(&begun, &t, 1);
    }
    kr_text_clear(&noise_kept.bytes);
}

static void series(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_WHOLE);
    kr_text t = { 0 };
    head(&t, LIMIT("repetition", "1"), "");
    for (int r = 0; r < 2; r++)
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, 0, 0, r, ky == 3 ? LAST | LAST_REPETITION : 0);
    say(s, &t);
    end(&s, &t, 2);
    assert_true(fake.runs == 1 && fake.slice == -1 && fake.lines == 8);
}

/* One bad slice is told, and the others have their images. */
static void one_fails(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "2"), "");
    fake.fails = 1;
    for (int slice = 0; slice < 3; slice++)
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, slice, 0, 0, ky == 3 ? LAST : 0);
    say(s, &t);
    assert_int_equal(answered(s, KR_MRD_TEXT, "ERR slice 1, repetition 0: it does not work"), 1);
    kr_mrd_facts f;
    kr_mrd_session_facts(s, &f);
    assert_true(f.failed == 1 && f.images_out == 2 && f.lines == 12 && !f.refused && strstr(f.sentence, "does not work"));
    end(&s, &t, 2);
}

/* What was asked for is wrong, not a slice: said once, and the rest is not tried. */
static void asked_wrongly(void **state)
{
    (void)state;
    kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "2"), "");
    fake.fails = 0;
    fake.code = KR_EUSAGE;
    for (int slice = 0; slice < 3; slice++)
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, slice, 0, 0, ky == 3 ? LAST : 0);
    say(s, &t);
    assert_int_equal(fake.runs, 1);
    assert_int_equal(answered(s, KR_MRD_TEXT, "ERR it does not work"), 1);
    kr_mrd_facts f;
    kr_mrd_session_facts(s, &f);
    assert_true(f.failed == 1 && f.refused);
    end(&s, &t, 0);
}

static void orders(void **state)
{
    (void)state;
    static const struct { int id; const char *text, *words; } t[][3] = {
        { { KR_MRD_HEADER, "<a/>", "ERR message 1 is the header" } },
        { { KR_MRD_CONFIG_FILE, "fake", NULL }, { KR_MRD_CONFIG_FILE, "fake", "ERR message 2 is a second configuration" } },
        { { KR_MRD_CONFIG_TEXT, "<?xml version=\"1.0\"?><gadgetronStreamConfiguration><gadget><name>GrappaGadget</name></gadget>", "'grappa'" } },
        { { KR_MRD_CONFIG_TEXT, "{\"method\":", "ERR the configuration is no JSON" } },
        { { KR_MRD_CONFIG_TEXT, "{\"pixels\":\"word\"}", "\"pixels\" is float, ushort, short, not 'word'" } },
        { { KR_MRD_CONFIG_TEXT, "{\"method\":[1]}", "is a list, and a text or a number" } },
        { { KR_MRD_CONFIG_FILE, "fake", NULL }, { KR_MRD_CLOSE, NULL, "WRN the client closed before a header came" } },
        { { KR_MRD_CONFIG_FILE, "other", NULL }, { KR_MRD_HEADER, "<a/>", NULL }, { KR_MRD_CLOSE, NULL, "ERR there is no configuration 'other'; known are" } },
        { { KR_MRD_CONFIG_FILE, "fake", NULL }, { KR_MRD_HEADER, "<a/>", NULL }, { KR_MRD_CLOSE, NULL, "ERR the XML header begins with <a>" } } };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
        kr_text b = { 0 };
        const char *words = NULL;
        for (int k = 0; k < 3 && t[i][k].id; k++) {
            if (t[i][k].text)
                kr_mrd_put_text(&b, t[i][k].id, t[i][k].text);
            else
                kr_mrd_put_close(&b);
            words = t[i][k].words;
        }
        say(s, &b);
        if (!answered(s, KR_MRD_TEXT, words))
            fail_msg("\"%s\" is not said", words);
        assert_true(kr_mrd_session_closed(s) && answered(s, KR_MRD_CLOSE, NULL) == 1);
        kr_mrd_session_unref(&s);
        kr_text_clear(&b);
    }
}

/* A client that is gone after any byte: the session closes, and nothing is left. */
static void gone_anywhere(void **state)
{
    (void)state;
    kr_text t = { 0 };
    head(&t, LIMIT("slice", "1"), "");
    for (int slice = 0; slice < 2; slice++)
        for (int ky = 0; ky < 4; ky++)
            line(&t, ky, slice, 0, 0, ky == 3 ? LAST : 0);
    kr_mrd_put_close(&t);
    size_t before = kr_mem_now();
    for (size_t n = 0; n <= t.len; n++) {
        kr_mrd_session *s = begin(KR_MRD_BY_SLICE);
        kr_mrd_session_feed(s, t.s, n);
        kr_mrd_session_end(s);
        kr_mrd_session_work(s, NULL);
        assert_true(kr_mrd_session_closed(s) && answered(s, KR_MRD_CLOSE, NULL) == 1);
        kr_mrd_session_unref(&s);
        assert_int_equal(kr_mem_now(), before);
        kr_error_clear();
    }
    kr_text_clear(&t);
}

static void memory(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    kr_mrd_session *s = kr_mrd_session_new(&host, &(kr_mrd_limits){ 1 << 20, 3000 });
    kr_text t = { 0 };
    head(&t, "", "");
    fake.unit = KR_MRD_WHOLE;
    for (int i = 0; i < 40; i++)
        line(&t, i % 3, 0, 0, 0, 0);
    say(s, &t);
    assert_true(kr_mrd_session_closed(s) && answered(s, KR_MRD_TEXT, "ERR the lines that wait for their slice") == 1);
    kr_mrd_session_unref(&s);
    s = kr_mrd_session_new(&host, &(kr_mrd_limits){ 1 << 20, 4000 });
    head(&t, "", "");
    line(&t, 200, 250, 250, 0, 0);                                /* counters that lie */
    kr_mrd_put_close(&t);
    say(s, &t);
    assert_true(kr_mrd_session_closed(s) && answered(s, KR_MRD_TEXT, "header and counters ask for") == 1);
    kr_mrd_session_unref(&s);
    kr_text_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(last_flags), cmocka_unit_test(limits_and_repetitions), cmocka_unit_test(contrasts), cmocka_unit_test(calibration),
                                        cmocka_unit_test(noise_of_another), cmocka_unit_test(more_than_announced), cmocka_unit_test(no_noise), cmocka_unit_test(series), cmocka_unit_test(one_fails), cmocka_unit_test(asked_wrongly), cmocka_unit_test(orders), cmocka_unit_test(gone_anywhere), cmocka_unit_test(memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
