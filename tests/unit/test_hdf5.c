/* Any HDF5 dataset, and MATLAB v7.3 variables: every kind of number and layout that HDF5 itself writes, in any order of
 * axes, comes out as the numbers that went in; what is no such thing is refused. HDF5 writes, Kray reads. */
#include "files.h"
#include <hdf5.h>

enum { A = 5, B = 17, C = 33, N = A * B * C };
static double number[N];                       /* i mod 100, which every kind of number holds */

static void put(hid_t file, const char *name, hid_t type, int dims, const hsize_t *n, const hsize_t *chunk, int packing)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(dims, n, NULL);
    if (chunk)
        H5Pset_chunk(p, dims, chunk);
    if (packing & 1)
        H5Pset_shuffle(p);
    if (packing & 2)
        H5Pset_deflate(p, 6);
    if (packing & 4)
        H5Pset_fletcher32(p);
    hid_t d = H5Dcreate2(file, name, type, space, H5P_DEFAULT, p, H5P_DEFAULT);
    assert_true(d >= 0);
    assert_true(H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, number) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(p);
}

static kr_array *array(const char *path, const char *rest)
{
    char text[1200];
    snprintf(text, sizeof text, "%s%s", path, rest);
    kr_array *a = NULL;
    if (kr_array_read(&a, text))
        fail_msg("%s", kr_error());
    return a;
}

static void kinds_and_layouts(void **state)
{
    (void)state;
    const hid_t type[] = { H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F32BE, H5T_STD_I8LE, H5T_STD_U8LE, H5T_STD_I16LE, H5T_STD_U16LE, H5T_STD_I32LE,
                           H5T_STD_U32LE, H5T_STD_I64LE, H5T_STD_U64LE, H5T_STD_I16BE, H5T_IEEE_F64BE };
    const hsize_t n[] = { A, B, C }, chunk[][3] = { { 1, B, C }, { 2, 5, 7 }, { A, B, C }, { 1, 1, 40 } };
    static const char *const axes[] = { ":v@slice,y,x", ":v@x,y,slice", ":v@y,coil,x", ":v@coil,x,y" };
    static const int axis[][3] = { { KR_SLICE, KR_Y, KR_X }, { KR_X, KR_Y, KR_SLICE }, { KR_Y, KR_COIL, KR_X }, { KR_COIL, KR_X, KR_Y } };
    const char *path = scratch("kinds.h5");
    for (size_t t = 0; t < sizeof type / sizeof *type; t++)
        for (int layout = 0; layout < 10; layout++) {
            hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
            hsize_t whole[] = { A, B, C };
            put(f, "v", type[t], 3, n, layout == 0 ? NULL : layout == 1 ? whole : chunk[layout % 3 == 0 ? 1 : layout % 2 ? 0 : 2],
                layout == 0 ? 0 : layout == 9 ? 7 : layout % 4);
            H5Fclose(f);
            int o = layout % 4;
            kr_scoped(array) a = array(path, axes[o]);
            assert_true(a->type == KR_R32 && kr_array_contiguous(a));
            for (long i = 0; i < N; i++) {
                long at[3] = { i / (B * C), i / C % B, i % C }, k = 0;
                for (int d = 0; d < 3; d++)
                    k += at[d] * a->step[axis[o][d]];
                if ((double)KR_R(a)[k] != number[i])
                    fail_msg("type %zu, layout %d, number %ld: %g, wanted %g", t, layout, i, (double)KR_R(a)[k], number[i]);
            }
        }
}

static void few_axes(void **state)
{
    (void)state;
    const char *path = scratch("few.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    hid_t d = H5Dcreate2(f, "one", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    double v = 42;
    H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &v);
    H5Dclose(d);
    H5Sclose(space);
    put(f, "row", H5T_NATIVE_FLOAT, 1, (const hsize_t[]){ 50 }, NULL, 0);
    put(f, "plane", H5T_NATIVE_FLOAT, 4, (const hsize_t[]){ 1, 6, 1, 7 }, (const hsize_t[]){ 1, 4, 1, 4 }, 2);
    hid_t g = H5Gcreate2(f, "deep", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put(g, "inside", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 3, 4 }, NULL, 0);
    H5Gclose(g);
    /* a boolean as h5py writes it, and chunks that were never written */
    hid_t e = H5Tenum_create(H5T_NATIVE_INT8);
    H5Tenum_insert(e, "FALSE", &(int8_t){ 0 });
    H5Tenum_insert(e, "TRUE", &(int8_t){ 1 });
    space = H5Screate_simple(1, (const hsize_t[]){ 5 }, NULL);
    d = H5Dcreate2(f, "bool", e, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, e, H5S_ALL, H5S_ALL, H5P_DEFAULT, (const int8_t[]){ 1, 0, 0, 1, 1 });
    H5Dclose(d);
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, (const hsize_t[]){ 2 });
    d = H5Dcreate2(f, "nothing", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dclose(d);
    float seven = 7;
    H5Pset_fill_value(p, H5T_NATIVE_FLOAT, &seven);
    d = H5Dcreate2(f, "sevens", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
    H5Tclose(e);
    H5Fclose(f);
    kr_scoped(array) one = array(path, ":one");
    assert_value(one, 42, 0, 0, [KR_X] = 0);
    kr_scoped(array) row = array(path, ":row");
    assert_shape(row, [KR_X] = 50);
    assert_value(row, 49, 0, 0, [KR_X] = 49);
    kr_scoped(array) plane = array(path, ":plane@y,x");             /* lengths of 1 need no name */
    assert_shape(plane, [KR_X] = 7, [KR_Y] = 6);
    assert_value(plane, 41, 0, 0, [KR_X] = 6, [KR_Y] = 5);
    kr_scoped(array) inside = array(path, ":deep/inside");
    assert_shape(inside, [KR_X] = 4, [KR_Y] = 3);
    kr_scoped(array) yes = array(path, ":bool@y");
    assert_true(KR_R(yes)[0] == 1 && KR_R(yes)[1] == 0 && KR_R(yes)[4] == 1);
    f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);                  /* inside the header */
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(p, H5D_COMPACT);
    space = H5Screate_simple(3, (const hsize_t[]){ 2, 3, 4 }, NULL);
    d = H5Dcreate2(f, "compact", H5T_IEEE_F64BE, space, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, number);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(p);
    H5Fclose(f);
    kr_scoped(array) compact = array(path, ":compact@x,y,coil");
    assert_shape(compact, [KR_X] = 2, [KR_Y] = 3, [KR_COIL] = 4);
    assert_value(compact, 12 + 4 + 3, 0, 0, [KR_X] = 1, [KR_Y] = 1, [KR_COIL] = 3);
    kr_scoped(array) nothing = array(path, ":nothing");
    kr_scoped(array) sevens = array(path, ":sevens");
    for (int i = 0; i < 5; i++)
        assert_true(KR_R(nothing)[i] == 0 && KR_R(sevens)[i] == 7);
}

static void written(void **state)
{
    (void)state;
    static const kr_shape shapes[] = { { { [KR_X] = 9, [KR_Y] = 7, [KR_COIL] = 3 } }, { { [KR_Y] = 30 } }, { { [KR_X] = 1 } },
                                       { { [KR_X] = 4, [KR_Z] = 3, [KR_COIL] = 2, [KR_MAP] = 2, [KR_TIME] = 5 } } };
    static const char *const name[] = { "array.h5", "array.mat" };
    kr_scoped(meta) meta = kr_meta_new();
    assert_int_equal(kr_meta_set(meta, "method", "none"), 0);
    for (int i = 0; i < 16; i++) {
        kr_scoped(array) a = kr_array_new(i & 1 ? KR_C32 : KR_R32, shapes[i / 4]);
        fill_random(a, (uint64_t)i);
        const char *path = scratch(name[i >> 1 & 1]);
        assert_int_equal(kr_array_write(a, meta, path), 0);
        kr_scoped(array) b = array(path, "");                       /* the axes' names stand beside the numbers */
        assert_true(b->type == a->type && kr_shape_equal(kr_array_shape(a), kr_array_shape(b)));
        assert_near(distance(b, a), 0, 0);
    }
    kr_scoped(array) flipped = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 6, [KR_Y] = 5));
    fill_random(flipped, 3);
    kr_scoped(array) view = kr_array_flip(flipped, KR_Y);
    assert_int_equal(kr_array_write(view, NULL, scratch("view.h5")), 0);
    kr_scoped(array) back = array(scratch("view.h5"), "");
    assert_near(distance(back, view), 0, 0);
}

static void text(hid_t object, const char *name, const char *value)
{
    hid_t t = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(t, strlen(value));
    hid_t a = H5Acreate2(object, name, t, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, t, value);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(t);
}

/* A v7.3 file as MATLAB lays it out: lengths back to front, classes as attributes, structures as groups. */
static void matlab73(void **state)
{
    (void)state;
    const char *path = scratch("v73.mat");
    hid_t p = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(p, 512);
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, p, H5P_DEFAULT);
    H5Pclose(p);
    static const struct { const char *name, *class; hid_t *type; } var[] = { { "volume", "double", &H5T_NATIVE_DOUBLE_g }, { "flag", "logical", &H5T_NATIVE_UINT8_g },
                                                                             { "title", "char", &H5T_NATIVE_UINT16_g } };
    for (int i = 0; i < 3; i++) {
        put(f, var[i].name, *var[i].type, 3, (const hsize_t[]){ 4, 3, 2 }, NULL, 0);
        hid_t d = H5Dopen2(f, var[i].name, H5P_DEFAULT);
        text(d, "MATLAB_class", var[i].class);
        H5Dclose(d);
    }
    hid_t g = H5Gcreate2(f, "s", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    text(g, "MATLAB_class", "struct");
    put(g, "x", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 5, 6 }, NULL, 0);
    H5Gclose(g);
    H5Fclose(f);
    FILE *file = fopen(path, "r+b");
    char head[128] = "MATLAB 7.3 MAT-file, Platform: test";
    memcpy(head + 124, "\0\2IM", 4);
    fwrite(head, 1, 128, file);
    fclose(file);
    kr_scoped(array) v = array(path, ":volume@coil,y,x");
    assert_shape(v, [KR_COIL] = 2, [KR_Y] = 3, [KR_X] = 4);
    assert_value(v, 1 + 2 * 2 + 6 * 3, 0, 0, [KR_COIL] = 1, [KR_Y] = 2, [KR_X] = 3);
    kr_scoped(array) flag = array(path, ":flag");
    assert_shape(flag, [KR_X] = 2, [KR_Y] = 3, [KR_Z] = 4);
    kr_scoped(array) field = array(path, ":s.x");
    assert_shape(field, [KR_X] = 6, [KR_Y] = 5);
    static const struct { const char *rest; int code; const char *words; } bad[] = {
        { "", KR_EUSAGE, "flag (logical, 2 x 3 x 4), s (struct, 1), title (char, 2 x 3 x 4), volume (double, 2 x 3 x 4)" },
        { ":title", KR_EFORMAT, "class char; numbers are wanted" },
        { ":s", KR_EFORMAT, "s is a group" },
        { ":s.y", KR_EFORMAT, "there is no dataset s/y" },
        { ":volume@x,y", KR_EUSAGE, "2 axes are named ('x,y'), the array is 2 x 3 x 4" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_array *a = NULL;
        char source[600];
        snprintf(source, sizeof source, "%s%s", path, bad[i].rest);
        assert_true(kr_array_read(&a, source) < 0);
        assert_null(a);
        assert_refused(bad[i].code, bad[i].words);
    }
    assert_true(cut_everywhere(path, "%s:volume", 300, read_array_only) > 290);
}

static void refusals(void **state)
{
    (void)state;
    const char *path = scratch("bad.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space, d, p;
    put(f, "many", H5T_NATIVE_FLOAT, 4, (const hsize_t[]){ 2, 2, 2, 2 }, NULL, 0);
    put(f, "other", H5T_NATIVE_FLOAT, 1, (const hsize_t[]){ 2 }, NULL, 0);
    space = H5Screate_simple(2, (const hsize_t[]){ 1u << 30, 1u << 30 }, NULL);
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 2, (const hsize_t[]){ 64, 64 });
    H5Dclose(H5Dcreate2(f, "huge", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT));
    H5Pclose(p);
    H5Dclose(H5Dcreate2(f, "unwritten", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    p = H5Pcreate(H5P_DATASET_CREATE);                              /* NBit */
    space = H5Screate_simple(1, (const hsize_t[]){ 64 }, NULL);
    H5Pset_chunk(p, 1, (const hsize_t[]){ 64 });
    H5Pset_nbit(p);
    d = H5Dcreate2(f, "nbit", H5T_NATIVE_INT, space, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, number);
    H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
    space = H5Screate_simple(2, (const hsize_t[]){ 3, 3 }, NULL);
    H5Dclose(H5Dcreate2(f, "late", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    space = H5Screate(H5S_NULL);
    H5Dclose(H5Dcreate2(f, "null", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    space = H5Screate_simple(1, (const hsize_t[]){ 4 }, NULL);
    hid_t compound = H5Tcreate(H5T_COMPOUND, 12);
    H5Tinsert(compound, "a", 0, H5T_NATIVE_INT);
    H5Tinsert(compound, "b", 4, H5T_NATIVE_DOUBLE);
    H5Dclose(H5Dcreate2(f, "records", compound, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Tclose(compound);
    p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(p, "/etc/passwd", 0, 16);                       /* numbers in another file */
    d = H5Dcreate2(f, "elsewhere", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
    H5Lcreate_soft("/nowhere", f, "dangling", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    static const struct { const char *rest; int code; const char *words; } bad[] = {
        { "", KR_EUSAGE, "name one of its datasets, as in FILE:NAME; it holds" },
        { ":many", KR_EUSAGE, "the array is 2 x 2 x 2 x 2: name its axes" },
        { ":many@x,y", KR_EUSAGE, "2 axes are named" },
        { ":huge", KR_EFORMAT, "far more than the file's" },
        { ":unwritten", KR_EFORMAT, "far more than the file's" },
        { ":nbit", KR_EFORMAT, "packed by HDF5 filter 5 (nbit)" },
        { ":late", KR_EFORMAT, "announces 36 bytes and holds 0" },
        { ":null", KR_EFORMAT, "no shape" },
        { ":records", KR_EFORMAT, "holds no numbers" },
        { ":elsewhere", KR_EFORMAT, "lie in other files" },
        { ":dangling", KR_EFORMAT, "there is no dataset dangling" },
        { ":no/such/thing", KR_EFORMAT, "there is no dataset no/such/thing" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_array *a = NULL;
        char source[600];
        snprintf(source, sizeof source, "%s%s", path, bad[i].rest);
        assert_true(kr_array_read(&a, source) < 0);
        assert_null(a);
        assert_refused(bad[i].code, bad[i].words);
    }
    kr_scan *s = NULL;
    assert_true(kr_scan_read(&s, path, NULL, NULL, NULL) < 0);
    assert_refused(KR_EUSAGE, "needs the names of the dataset and its axes");
}

/* Damaged compressed numbers: zlib's own check finds them. */
static void damaged(void **state)
{
    (void)state;
    const char *path = scratch("damaged.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "v", H5T_NATIVE_FLOAT, 3, (const hsize_t[]){ A, B, C }, (const hsize_t[]){ A, B, C }, 3);
    hid_t d = H5Dopen2(f, "v", H5P_DEFAULT);
    hsize_t bytes = 0;
    H5Dget_chunk_storage_size(d, (const hsize_t[]){ 0, 0, 0 }, &bytes);
    H5Dclose(d);
    H5Fclose(f);
    long n;
    unsigned char *b = slurp(path, &n);
    unsigned char *start = memmem(b, (size_t)n, "\x78\x5e", 2);      /* zlib's header at level 6 of HDF5 */
    if (!start)
        start = memmem(b, (size_t)n, "\x78\x9c", 2);
    assert_non_null(start);
    for (long i = 2; i < (long)bytes; i += 7) {
        start[i] ^= 0x55;
        spill(path, b, n);
        start[i] ^= 0x55;
        kr_array *a = NULL;
        char source[600];
        snprintf(source, sizeof source, "%s:v", path);
        assert_true(kr_array_read(&a, source) < 0);
        assert_refused(KR_EFORMAT, "damaged");
    }
    free(b);
}

int main(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int i = 0; i < N; i++)
        number[i] = i % 100;
    const struct CMUnitTest tests[] = { cmocka_unit_test(kinds_and_layouts), cmocka_unit_test(few_axes), cmocka_unit_test(written),
        cmocka_unit_test(matlab73), cmocka_unit_test(refusals), cmocka_unit_test(damaged) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
