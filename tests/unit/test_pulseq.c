/* test_pulseq.c: sequences written by hand, whose path through k-space is known in closed form. */
#include "test.h"
#include "kray/io.h"
#include "kray/pulseq.h"

static const char *const place_of = "/tmp/kray-test-%ld.seq";
static const char *path(void)
{
    static char p[64];
    snprintf(p, sizeof p, place_of, (long)getpid());
    return p;
}

static void store(const char *text)
{
    FILE *f = fopen(path(), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Excitation; a prephasing trapezoid along x and a triangle of raster samples along y; a readout; a refocusing pulse; the readout again; and, where
 * versions know labels, a readout marked as noise. Times in us, gradients in Hz/m. */
static void sequence(char text[4096], int minor)
{
    bool newest = minor >= 5, timed = minor >= 4, labels = minor >= 3;
    static const char *const event[] = { "1 0 0 0 0 0", "0 1 2 0 0 0", "0 3 0 0 1 0", "2 0 0 0 0 0", "0 3 0 0 1 0", "0 0 0 0 1 1" };
    static const int length[] = { 110, 100, 120, 110, 120, 120 };
    int n = sprintf(text, "# Pulseq sequence file\n[VERSION]\nmajor 1\nminor %d\nrevision 0\n\n[DEFINITIONS]\nFOV 0.2 0.3 0.005\n%s\n[BLOCKS]\n", minor,
                    timed ? "BlockDurationRaster 1e-05\nGradientRasterTime 1e-05\nRadiofrequencyRasterTime 1e-06\n" : "");
    for (int i = 0; i < (labels ? 6 : 5); i++)
        n += sprintf(text + n, "%d %d %.*s\n", i + 1, timed ? length[i] : 0, labels ? 11 : 9, event[i]);
    n += sprintf(text + n, "\n[RF]\n1 250 1 0 %s\n2 500 1 0 %s\n", newest ? "0 500 100 0 0 0 0 e" : timed ? "0 100 0 0" : "100 0 0",
                 newest ? "0 500 100 0 0 0 0 r" : timed ? "0 100 0 0" : "100 0 0");
    n += sprintf(text + n, "\n[GRADIENTS]\n2 30000 %s\n\n[TRAP]\n1 -100000 100 800 100 0\n3 150000 100 1000 100 0\n\n[ADC]\n1 10 100000 100 %s\n",
                 newest ? "0 0 2 0 0" : timed ? "2 0 0" : "2 0", newest ? "0 0 0 0 0" : "0 0");
    if (labels)
        n += sprintf(text + n, "\n[EXTENSIONS]\n1 1 1 0\n\nextension LABELSET 1\n1 1 NOISE\n");
    sprintf(text + n, "\n[SHAPES]\n\nshape_id 1\nnum_samples 1000\n1\n0\n0\n997\n\nshape_id 2\nnum_samples 10\n.1\n.2\n.2\n2\n0\n-.2\n-.2\n2\n");
}

static void versions(void **state)
{
    (void)state;
    for (int minor = 2; minor <= 5; minor++) {
        char text[4096];
        kr_seq_facts f;
        kr_scoped(array) k = NULL;
        sequence(text, minor);
        store(text);
        assert_true(kr_is_seq(path()));
        if (kr_seq_read(&k, &f, path()))
            fail_msg("1.%d: %s", minor, kr_error());
        assert_int_equal(f.version[1], minor);
        assert_int_equal(f.readouts, 2);
        assert_int_equal(f.left_out, minor >= 3);
        assert_near(f.fov_mm[1], 300, 1e-9);
        assert_near(f.dwell_us, 100, 1e-9);
        assert_int_equal(k->n[KR_SAMPLE], 10);
        assert_int_equal(k->n[KR_VIEW], 2);
        double pre = -100000 * 900e-6, y = 30000 * 50e-6, whole = 150000 * 1100e-6;
        for (long v = 0; v < 2; v++)
            for (long i = 0; i < 10; i++) {
                double along = 150000 * (50e-6 + ((double)i + .5) * 100e-6), x = v ? -(pre + whole) + along : pre + along;
                assert_near((double)KR_R(k)[v * 10 + i], x, 1e-4);            /* single precision of numbers about 100 */
                assert_near((double)KR_R(k)[20 + v * 10 + i], v ? -y : y, 1e-6);
                assert_near((double)KR_R(k)[40 + v * 10 + i], 0, 0);
            }
        kr_scoped(array) same = NULL;
        assert_int_equal(kr_array_read(&same, path()), 0);               /* as any array */
        assert_int_equal(same->n[KR_CHAN], 3);
    }
    unlink(path());
}

/* Readouts with labels lie along the axes of these; shapes at times of their own; a 1.5 gradient that begins where the one before ended. */
static void labels_and_shapes(void **state)
{
    (void)state;
    kr_seq_facts f;
    kr_scoped(array) k = NULL;
    store("[VERSION]\nmajor 1\nminor 5\nrevision 1\n[DEFINITIONS]\nGradientRasterTime 1e-05\nBlockDurationRaster 1e-05\n[BLOCKS]\n"
          "1 100 0 1 0 0 0 1\n2 100 0 2 0 0 1 2\n3 100 0 3 0 0 1 3\n"
          "[GRADIENTS]\n1 1000 0 1000 1 2 0\n2 1000 1000 1000 3 0 0\n3 1000 1000 0 4 2 0\n[ADC]\n1 2 500000 0 0 0 0 0 0\n"
          "[EXTENSIONS]\n1 1 1 0\n2 2 1 0\n3 2 1 4\n4 1 2 0\nextension LABELSET 1\n1 0 SLC\n2 1 SLC\nextension LABELINC 2\n1 1 LIN\n"
          "[SHAPES]\nshape_id 1\nnum_samples 2\n0\n1\nshape_id 2\nnum_samples 2\n0\n100\nshape_id 3\nnum_samples 100\n1\n0\n0\n97\nshape_id 4\nnum_samples 2\n1\n0\n");
    if (kr_seq_read(&k, &f, path()))
        fail_msg("%s", kr_error());
    assert_int_equal(k->n[KR_SLICE], 2);
    assert_int_equal(k->n[KR_VIEW], 1);
    const double want[4] = { .5 + .25, .5 + .75, 1.5 + .25 - .5 * .25 * .25, 1.5 + .75 - .5 * .75 * .75 };    /* 1000 Hz/m for 1 ms is 1 per metre */
    for (int i = 0; i < 4; i++)
        assert_near((double)KR_R(k)[i], want[i], 1e-6);
    unlink(path());
}

static void refusals(void **state)
{
    (void)state;
    static const char head[] = "[VERSION]\nmajor 1\nminor 4\nrevision 0\n";
    static const struct { const char *text, *says; } bad[] = {
        { "[VERSION]\nmajor 2\nminor 0\n", "versions 1.2 to 1.5" }, { "[BLOCKS]\n1 1 0 0 0 0 0 0\n", "has to come before" }, { "hello\n", "no [VERSION]" },
        { NULL, "has no blocks" }, { "[BLOCKS]\n1 100 0 7 0 0 1 0\n", "event 7 of [GRADIENTS]" }, { "[BLOCKS]\n1 100 0 0 0 0 1 0\n", "event 1 of [ADC]" },
        { "[BLOCKS]\n1 100 0 0 0 0 1 0\n[ADC]\n1 0 100 0 0 0\n", "a readout of 0 samples" }, { "[BLOCKS]\n1 100 0 0 0 0 1 0\n[ADC]\n1 4 100 0 0 0\n", "in the centre of k-space" },
        { "[BLOCKS]\n1 100 0 1 0 0 0 0\n[TRAP]\n1 1 1 1 1 0\n", "no readouts of imaging" }, { "[BLOCKS]\n1 1 0 0 0 0 0 1\n[EXTENSIONS]\n1 9 1 1\n", "in a circle" },
        { "extension ROTATIONS 1\n", "rotations" }, { "[SHAPES]\nshape_id 1\nnum_samples 4\n1\n1\n9\n", "unpacks to more" }, { "[SHAPES]\nshape_id 1\nnum_samples 4\n1\n2\n", "unpacks to 2" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        kr_seq_facts f;
        kr_array *k = NULL;
        bool own = bad[i].text && (!strncmp(bad[i].text, "[VERSION]", 9) || strstr(bad[i].says, "before") || !strncmp(bad[i].text, "hello", 5));
        snprintf(text, sizeof text, "%s%s", own ? "" : head, bad[i].text ? bad[i].text : "");
        store(text);
        assert_true(kr_seq_read(&k, &f, path()) < 0);
        assert_null(k);
        if (!strstr(kr_error(), bad[i].says))
            fail_msg("'%s' for '%s'", kr_error(), bad[i].says);
        kr_error_clear();
    }
    unlink(path());
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(versions), cmocka_unit_test(labels_and_shapes), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
