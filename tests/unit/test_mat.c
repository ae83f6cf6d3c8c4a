/* MATLAB files of others (scipy, MATLAB itself) read to the values that scipy.io.loadmat gives; damaged ones refused. */
#include "files.h"

static kr_array *array(const char *file, const char *rest)
{
    char text[1200];
    snprintf(text, sizeof text, "%s%s", shared(file), rest);
    kr_array *a = NULL;
    if (kr_array_read(&a, text))
        fail_msg("%s", kr_error());
    return a;
}
static double sum(const kr_array *a)
{
    double s = 0;
    for (long i = 0; i < kr_count(kr_array_shape(a)); i++)
        s += a->type == KR_C32 ? (double)kr_re(KR_C(a)[i]) : (double)KR_R(a)[i];
    return s;
}
static const char brain[] = "data/mri/brain_mprage_4ch_256_loraks.mat";

static void samples(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/mat5_plain.mat");
    /* b[i][j][k] = v + i (24 + v), v = 12 i + 4 j + k; MATLAB's order of axes is NumPy's here */
    static const char *const file[] = { "samples/arrays/mat5_plain.mat", "samples/arrays/mat5_zlib.mat" };
    for (int f = 0; f < 2; f++) {
        kr_scoped(array) a = array(file[f], ":c@slice,y,x");
        assert_shape(a, [KR_X] = 4, [KR_Y] = 3, [KR_SLICE] = 2);
        for (long i = 0; i < 24; i++) {
            assert_near(kr_re(KR_C(a)[i]), (double)i, 0);
            assert_near(kr_im(KR_C(a)[i]), 24.0 + (double)i, 0);
        }
    }
    kr_scoped(array) m = array(file[0], ":m");
    assert_shape(m, [KR_X] = 2, [KR_Y] = 2);
    assert_true(m->type == KR_R32 && KR_R(m)[0] == 1 && KR_R(m)[1] == 0 && KR_R(m)[2] == 0 && KR_R(m)[3] == 1);
    kr_scoped(array) y = array(file[0], ":s.y");
    assert_shape(y, [KR_Y] = 3);
    assert_true(KR_R(y)[0] == 0 && KR_R(y)[1] == 1 && KR_R(y)[2] == 2);
    kr_scoped(array) same = array(file[0], ":s/y");       /* as in files of HDF5 */
    assert_shape(same, [KR_Y] = 3);
    assert_true(KR_R(same)[2] == 2);
}

static void real_scans(void **state)
{
    (void)state;
    NEED_SHARED(brain);
    kr_scoped(array) k = array(brain, ":kData@x,y,coil");
    assert_shape(k, [KR_X] = 256, [KR_Y] = 256, [KR_COIL] = 4);
    assert_true(kr_array_contiguous(k) && k->type == KR_C32);
    /* the file holds doubles; floats are exact to 6e-8 of the value */
    assert_value(k, -3186.10961914, -1843.49707031, 2e-4, [KR_X] = 128, [KR_Y] = 128);
    assert_value(k, 1.6773535013198853, -14.44528865814209, 1e-6, [KR_X] = 10, [KR_Y] = 200, [KR_COIL] = 3);
    assert_near(kr_norm(k), 32055.637907818884, 2e-3);
    static const struct { const char *name; double sum; } mask[] = { { ":kMaskPFACS7", 9362 }, { ":kMaskRand7", 9362 },
                                                                     { ":kMaskRandACS7", 9362 }, { ":kMaskUnACS7", 9367 } };
    for (int i = 0; i < 4; i++) {
        kr_scoped(array) m = array(brain, mask[i].name);
        assert_shape(m, [KR_X] = 256, [KR_Y] = 256);
        assert_near(sum(m), mask[i].sum, 0);
    }
    kr_scoped(array) m = array(brain, ":kMaskUnACS7@x,y");
    assert_value(m, 1, 0, 0, [KR_X] = 1, [KR_Y] = 3);
    assert_value(m, 0, 0, 0, [KR_X] = 3, [KR_Y] = 1);
    kr_scoped(array) c = array(brain, ":coil_sens@x,y,coil");
    assert_value(c, 0.1083625555, 0.3855355978, 1e-8, [KR_X] = 100, [KR_Y] = 90, [KR_COIL] = 2);
    NEED_SHARED("data/mri/brain_alias_8ch_320x256_espirit.mat");
    kr_scoped(array) d = array("data/mri/brain_alias_8ch_320x256_espirit.mat", "@x,y,coil");
    assert_value(d, 3614, 10125, 0, [KR_X] = 160, [KR_Y] = 128, [KR_COIL] = 5);
    assert_near(kr_norm(d), 51114.286163459234, 4e-3);
    NEED_SHARED("data/volumes/ct_thorax_phantom_128_tigre.mat");
    kr_scoped(array) v = array("data/volumes/ct_thorax_phantom_128_tigre.mat", "");
    assert_shape(v, [KR_X] = 128, [KR_Y] = 128, [KR_Z] = 128);
    assert_value(v, 0.021330796, 0, 1e-8, [KR_X] = 64, [KR_Y] = 50, [KR_Z] = 30);
    NEED_SHARED("data/ct/htc2022_tb_limited_30.mat");
    kr_scoped(array) s = array("data/ct/htc2022_tb_limited_30.mat", ":CtDataLimited.sinogram@view,u");
    assert_shape(s, [KR_VIEW] = 61, [KR_U] = 560);
    assert_value(s, 1.4805502891540527, 0, 1e-7, [KR_VIEW] = 3, [KR_U] = 100);
    kr_scoped(array) angles = array("data/ct/htc2022_tb_limited_30.mat", ":CtDataLimited.parameters.angles@view");
    assert_shape(angles, [KR_VIEW] = 61);
    assert_value(angles, 299, 0, 0, [KR_VIEW] = 60);
}

static void as_scan(void **state)
{
    (void)state;
    NEED_SHARED(brain);
    kr_scan *s = NULL;
    char text[1200];
    snprintf(text, sizeof text, "%s:kData@x,y,coil", shared(brain));
    assert_int_equal(kr_scan_read(&s, text, NULL, NULL, NULL), 0);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 256, [KR_Y] = 256, [KR_COIL] = 4)));
    assert_int_equal(kr_scan_check(s), 0);
    assert_string_equal(s->format, "mat");
    kr_scan_unref(&s);
    assert_true(kr_scan_read(&s, shared(brain), NULL, NULL, NULL) < 0);
    assert_refused(KR_EUSAGE, "needs names for its axes");
}

static void refusals(void **state)
{
    (void)state;
    NEED_SHARED(brain);
    static const struct { const char *file, *rest; int code; const char *words; } bad[] = {
        { brain, "", KR_EUSAGE, "kData (complex double, 256 x 256 x 4)" },
        { brain, ":nosuch", KR_EFORMAT, "there is no variable 'nosuch'" },
        { brain, ":kData@x,y", KR_EUSAGE, "2 axes are named ('x,y'), the array is 256 x 256 x 4" },
        { brain, ":kData@x,y,coyl", KR_EUSAGE, "'coyl' names no axis" },
        { brain, ":kData.x", KR_EFORMAT, "no structure" },
        { "samples/arrays/mat5_plain.mat", ":name", KR_EFORMAT, "class char; numbers are wanted" },
        { "samples/arrays/mat5_plain.mat", ":s", KR_EFORMAT, "name one of its fields, as in s.x; it has x, y" },
        { "samples/arrays/mat5_plain.mat", ":s/z", KR_EFORMAT, "no field 'z'; it has x, y" },
        { "samples/arrays/mat5_plain.mat", ":s.z", KR_EFORMAT, "no field 'z'; it has x, y" },
        { "samples/ct/htc2022_like_full.mat", ":CtDataFull.type", KR_EFORMAT, "class char" },
        { "data/mri/phantom_spiral_8ch_60intl_espirit.mat", "", KR_EUSAGE, "w (double, 1182 x 60)" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_array *a = NULL;
        char text[1200];
        snprintf(text, sizeof text, "%s%s", shared(bad[i].file), bad[i].rest);
        assert_true(kr_array_read(&a, text) < 0);
        assert_null(a);
        assert_refused(bad[i].code, bad[i].words);
    }
}

static void cut_off(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/mat5_plain.mat");
    /* the wanted variable is the last one, so that every cut takes something of it or before it */
    assert_int_equal(cut_everywhere(shared("samples/arrays/mat5_plain.mat"), "%s:s.y", 896, read_array_only), 896);
    assert_int_equal(cut_everywhere(shared("samples/arrays/mat5_zlib.mat"), "%s:big", 372, read_array_only), 372);
    assert_true(cut_everywhere(shared("samples/arrays/mat5_zlib.mat"), "%s:c", 372, read_array_only) > 200);
}

static void changed(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/mat5_plain.mat");
    /* half of the file is numbers, which may be anything */
    assert_true(change_everywhere(shared("samples/arrays/mat5_plain.mat"), "%s:s.y", 116, 896, 4000, read_array_only) > 500);
    assert_true(change_everywhere(shared("samples/arrays/mat5_plain.mat"), "%s:c@x,y,coil", 116, 700, 2000, read_array_only) > 100);
    assert_true(change_everywhere(shared("samples/arrays/mat5_zlib.mat"), "%s:c@x,y,coil", 116, 372, 3000, read_array_only) > 500);
}

/* Lengths that ask for 10^18 numbers, in a file of some hundred bytes. */
static void absurd(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/mat5_plain.mat");
    long n;
    unsigned char *b = slurp(shared("samples/arrays/mat5_plain.mat"), &n);
    const char *path = scratch("absurd.mat");
    const unsigned char was[12] = { 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0 }, huge[12] = { 0, 0, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0 };
    unsigned char *at = memmem(b, (size_t)n, was, 12);
    assert_non_null(at);
    memcpy(at, huge, 12);
    spill(path, b, n);
    kr_array *a = NULL;
    char text[600];
    snprintf(text, sizeof text, "%s:c", path);
    assert_true(kr_array_read(&a, text) < 0);
    assert_refused(KR_EFORMAT, "does not fit");
    memset(at, 0x7f, 12);
    spill(path, b, n);
    assert_true(kr_array_read(&a, text) < 0);
    assert_refused(KR_EFORMAT, "makes no sense");
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(samples), cmocka_unit_test(real_scans), cmocka_unit_test(as_scan),
        cmocka_unit_test(refusals), cmocka_unit_test(cut_off), cmocka_unit_test(changed), cmocka_unit_test(absurd) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
