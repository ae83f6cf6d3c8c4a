/* Any HDF5 dataset, and MATLAB v7.3 variables: every kind of number and layout that HDF5 itself writes, in any order of
 * axes, comes out as the numbers that went in; what is no such thing is refused. HDF5 writes, Kray reads. */
#include "files.h"
#include "h5text.h"
#include <time.h>

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
        h5_text(d, "MATLAB_class", var[i].class);
        H5Dclose(d);
    }
    hid_t g = H5Gcreate2(f, "s", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    h5_text(g, "MATLAB_class", "struct");
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

    /* The names that the sentence gives as an example are as many as there are axes, and are taken. */
    static const struct { int dims; hsize_t n[6]; const char *axes; } some[] = { { 2, { 3, 4 }, "@y,x" }, { 5, { 1, 1, 2, 2, 3 }, "@time,slice,coil,y,x" },
        { 4, { 2, 2, 3, 2 }, "@coil,y,x,reim" }, { 6, { 1, 1, 1, 2, 2, 3 }, "@...,time,slice,coil,y,x" } };
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        put(file, "mine", H5T_NATIVE_FLOAT, some[i].dims, some[i].n, NULL, 0);
        H5Fclose(file);
        assert_true(kr_scan_read(&s, path, NULL, NULL, NULL) < 0);
        char words[64], source[600];
        snprintf(words, sizeof words, ":mine%s;", some[i].axes);
        assert_refused(KR_EUSAGE, words);
        if (strstr(some[i].axes, "..."))
            continue;
        snprintf(source, sizeof source, "%s:mine%s", path, some[i].axes);
        kr_scoped(array) a = NULL;
        assert_int_equal(kr_array_read(&a, source), 0);
    }
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

/* Real and imaginary part as an axis of their own, wherever it stands and however it is cut into chunks. */
static void real_and_imaginary_axis(void **state)
{
    (void)state;
    static const struct { const char *axes; hsize_t n[4], chunk[4]; int reim; } layout[] = {
        { "slice,y,x,reim", { 3, 5, 7, 2 }, { 0 }, 3 }, { "slice,y,x,reim", { 3, 5, 7, 2 }, { 2, 2, 3, 2 }, 3 },
        { "x,slice,y,reim", { 7, 3, 5, 2 }, { 2, 2, 3, 1 }, 3 }, { "reim,y,slice,x", { 2, 5, 3, 7 }, { 0 }, 0 },
        { "reim,y,slice,x", { 2, 5, 3, 7 }, { 1, 2, 2, 4 }, 0 }, { "y,reim,x,slice", { 5, 2, 7, 3 }, { 3, 2, 2, 2 }, 1 } };
    const char *path = scratch("reim.h5");
    for (size_t i = 0; i < sizeof layout / sizeof *layout; i++) {
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        put(f, "v", i % 2 ? H5T_IEEE_F32BE : H5T_NATIVE_DOUBLE, 4, layout[i].n, *layout[i].chunk ? layout[i].chunk : NULL, *layout[i].chunk ? 3 : 0);
        H5Fclose(f);
        char rest[64];
        snprintf(rest, sizeof rest, ":v@%s", layout[i].axes);
        kr_scoped(array) a = array(path, rest);
        assert_true(a->type == KR_C32);
        assert_shape(a, [KR_X] = 7, [KR_Y] = 5, [KR_SLICE] = 3);
        int axis[KR_AXES], dims = kr_axes_parse(layout[i].axes, axis);
        assert_int_equal(dims, 4);
        for (long k = 0; k < 210; k++) {
            long rest_of = k, at = 0, part = 0;
            for (int d = 3; d >= 0; d--) {
                long index = rest_of % (long)layout[i].n[d];
                rest_of /= (long)layout[i].n[d];
                if (d == layout[i].reim)
                    part = index;
                else
                    at += index * a->step[axis[d]];
            }
            if ((double)((float *)a->data)[2 * at + part] != number[k])
                fail_msg("layout %zu, number %ld: %g, wanted %g", i, k, (double)((float *)a->data)[2 * at + part], number[k]);
        }
    }
    static const struct { const char *rest; int code; const char *words; } bad[] = {
        { ":v@reim,y,x,slice", KR_EFORMAT, "no axis of length 2 there" }, { ":v@y,reim,x", KR_EUSAGE, "the array is 5" } };
    for (size_t i = 0; i < 2; i++) {
        kr_array *a = NULL;
        char source[600];
        snprintf(source, sizeof source, "%s%s", path, bad[i].rest);
        assert_true(kr_array_read(&a, source) < 0);
        assert_refused(bad[i].code, bad[i].words);
    }
}

/* Calgary-Campinas: re, im of each coil along the last axis, whose chunks may cut a pair in two. */
static void woven_chunks(void **state)
{
    (void)state;
    const hsize_t n[] = { 6, 9, 7, 6 }, chunk[][4] = { { 4, 5, 3, 3 }, { 6, 2, 7, 1 }, { 3, 9, 2, 4 }, { 6, 9, 7, 6 }, { 4, 4, 4, 5 } };
    const char *path = scratch("woven.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "kspace", H5T_NATIVE_FLOAT, 4, n, NULL, 0);
    H5Fclose(f);
    kr_scan *plain = NULL;
    if (kr_scan_read(&plain, path, "calgary", NULL, NULL))
        fail_msg("%s", kr_error());
    assert_shape(plain->data, [KR_X] = 6, [KR_Y] = 9, [KR_Z] = 7, [KR_COIL] = 3);
    for (size_t i = 0; i < sizeof chunk / sizeof *chunk; i++) {
        f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        put(f, "kspace", H5T_NATIVE_FLOAT, 4, n, chunk[i], i % 2 ? 2 : 0);
        H5Fclose(f);
        kr_scan *s = NULL;
        if (kr_scan_read(&s, path, "calgary", NULL, NULL))
            fail_msg("chunks of %d: %s", (int)chunk[i][3], kr_error());
        assert_near(distance(s->data, plain->data), 0, 0);
        kr_scan_unref(&s);
    }
    kr_scan_unref(&plain);
}

/* 16-bit floats as HDF5 stores those of NumPy, in both byte orders, as HDF5 itself writes them. */
static void halves(void **state)
{
    (void)state;
    const char *path = scratch("half.h5");
    for (int big = 0; big < 2; big++) {
        hid_t t = H5Tcopy(big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE);
        H5Tset_fields(t, 15, 10, 5, 0, 10);
        H5Tset_size(t, 2);
        H5Tset_ebias(t, 15);
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(1, (const hsize_t[]){ 9 }, NULL);
        static const double v[] = { 0, 1, -2.5, 65504, 6.103515625e-5, 5.9604644775390625e-8, 0.333251953125, -1025, 100 };
        hid_t d = H5Dcreate2(f, "v", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
        H5Dclose(d);
        H5Sclose(space);
        H5Tclose(t);
        H5Fclose(f);
        kr_scoped(array) a = array(path, ":v");
        for (int i = 0; i < 9; i++)
            assert_true((double)KR_R(a)[i] == v[i]);
    }
}

/* Complex numbers as compounds: of whole numbers too, whatever the case of the names; real and imaginary parts along an axis that is not the last are hinted at. */
static void compounds(void **state)
{
    (void)state;
    const char *path = scratch("compound.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(1, (const hsize_t[]){ 2 }, NULL), t = H5Tcreate(H5T_COMPOUND, 4);
    H5Tinsert(t, "Real", 0, H5T_STD_I16LE);
    H5Tinsert(t, "Imaginary", 2, H5T_STD_I16LE);
    hid_t d = H5Dcreate2(f, "v", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, (const int16_t[]){ 3, -4, 300, 32767 }) >= 0);
    H5Dclose(d);
    H5Tclose(t);
    H5Sclose(space);
    H5Fclose(f);
    kr_scoped(array) a = array(path, ":v");
    assert_true(a->type == KR_C32 && KR_R(a)[0] == 3 && KR_R(a)[1] == -4 && KR_R(a)[2] == 300 && KR_R(a)[3] == 32767);
    f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "kspace", H5T_NATIVE_FLOAT, 5, (const hsize_t[]){ 3, 2, 4, 5, 6 }, NULL, 0);
    H5Fclose(f);
    kr_scan *s = NULL;
    assert_int_equal(kr_scan_read(&s, path, NULL, NULL, NULL), KR_EUSAGE);
    assert_refused(KR_EUSAGE, ":kspace@slice,reim,coil,y,x");
}

/* As many chunks as numbers: each is found by the index, not by a walk through all of them (which took a quarter of an hour here). Parts that lie across the edge, and one never written. */
static void many_chunks(void **state)
{
    (void)state;
    enum { SIDE = 201 };
    const char *path = scratch("many.h5");
    const hsize_t n[] = { SIDE, SIDE }, one[] = { 1, 1 }, wide[] = { 1, 8 };
    static float v[SIDE * SIDE];
    for (long i = 0; i < SIDE * SIDE; i++)
        v[i] = (float)(i % 1000 - 3);
    clock_t begin = clock();
    for (int packing = 0; packing < 2; packing++) {
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), p = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, n, NULL);
        H5Pset_chunk(p, 2, packing ? one : wide);
        if (packing)
            H5Pset_deflate(p, 1);
        hid_t d = H5Dcreate2(f, "v", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT);
        H5Sselect_hyperslab(space, H5S_SELECT_SET, (const hsize_t[]){ 0, 0 }, NULL, (const hsize_t[]){ SIDE - 1, SIDE }, NULL);      /* the last row is never written */
        hid_t rows = H5Screate_simple(2, (const hsize_t[]){ SIDE - 1, SIDE }, NULL);
        assert_true(H5Dwrite(d, H5T_NATIVE_FLOAT, rows, space, H5P_DEFAULT, v) >= 0);
        H5Sclose(rows);
        H5Dclose(d);
        H5Sclose(space);
        H5Pclose(p);
        H5Fclose(f);
        kr_scoped(array) a = array(path, ":v@y,x");
        for (long i = 0; i < SIDE * SIDE; i++)
            assert_near((double)KR_R(a)[i], i < SIDE * (SIDE - 1) ? (double)v[i] : 0, 0);
    }
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 60);
}

/* HDF5 behind a block of the user's own, of 512 bytes and more. */
static void user_block(void **state)
{
    (void)state;
    const char *path = scratch("block.h5");
    for (hsize_t bytes = 512; bytes <= 2048; bytes *= 2) {
        hid_t p = H5Pcreate(H5P_FILE_CREATE);
        assert_true(H5Pset_userblock(p, bytes) >= 0);
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, p, H5P_DEFAULT);
        put(f, "v", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 30, 40 }, NULL, 0);
        put(f, "chunks", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 30, 40 }, (const hsize_t[]){ 7, 9 }, 3);
        H5Fclose(f);
        H5Pclose(p);
        kr_scoped(array) a = array(path, ":v@y,x");
        kr_scoped(array) b = array(path, ":chunks@y,x");
        for (long i = 0; i < 1200; i++)
            assert_true((double)KR_R(a)[i] == number[i] && (double)KR_R(b)[i] == number[i]);
    }
}

/* Links inside of the file are followed, those to other files are told. */
static void links(void **state)
{
    (void)state;
    const char *path = scratch("links.h5");
    hid_t f = H5Fcreate(scratch("target.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "v", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 3, 4 }, NULL, 0);
    H5Fclose(f);
    f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t g = H5Gcreate2(f, "deep", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put(g, "inside", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 3, 4 }, NULL, 0);
    H5Gclose(g);
    H5Lcreate_soft("/deep/inside", f, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/soft", f, "softer", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/endless", f, "endless", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(f, "deep/inside", f, "hard", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("target.h5", "/v", f, "external", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("target.h5", "/", f, "folder", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/external", f, "round", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("target.h5", "/v", f, "kspace", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("target.h5", "/v", f, "dataset", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    static const char *const good[] = { ":soft", ":softer", ":hard", ":deep/inside" };
    for (int i = 0; i < 4; i++) {
        kr_scoped(array) a = array(path, good[i]);
        assert_shape(a, [KR_X] = 4, [KR_Y] = 3);
        assert_value(a, 11, 0, 0, [KR_X] = 3, [KR_Y] = 2);
    }
    static const struct { const char *rest; int code; const char *words; } bad[] = {
        { ":external", KR_EFORMAT, "external is a link to another file, target.h5, which is not followed" },
        { ":folder/v", KR_EFORMAT, "is a link to another file, target.h5" },
        { ":round", KR_EFORMAT, "is a link to another file, target.h5" },
        { ":endless", KR_EFORMAT, "there is no dataset endless" },
        { "", KR_EUSAGE, "name one of its datasets" } };
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
    assert_refused(KR_EUSAGE, "kspace (is a link to another file, target.h5, which is not followed)");
}

/* Datasets put together of others ("virtual"): of this file read, of other files told. */
static void virtual_datasets(void **state)
{
    (void)state;
    const char *path = scratch("virtual.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), p = H5Pcreate(H5P_DATASET_CREATE);
    put(f, "one", H5T_NATIVE_FLOAT, 2, (const hsize_t[]){ 4, 5 }, (const hsize_t[]){ 3, 2 }, 2);
    put(f, "two", H5T_NATIVE_FLOAT, 3, (const hsize_t[]){ 4, 1, 9 }, NULL, 0);
    hid_t space = H5Screate_simple(3, (const hsize_t[]){ 3, 4, 5 }, NULL), one = H5Screate_simple(2, (const hsize_t[]){ 4, 5 }, NULL),
          two = H5Screate_simple(3, (const hsize_t[]){ 4, 1, 9 }, NULL);
    float fill = 7;
    H5Pset_fill_value(p, H5T_NATIVE_FLOAT, &fill);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, (const hsize_t[]){ 0, 0, 0 }, NULL, (const hsize_t[]){ 1, 4, 5 }, NULL);
    H5Pset_virtual(p, space, ".", "one", one);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, (const hsize_t[]){ 2, 0, 1 }, NULL, (const hsize_t[]){ 1, 4, 3 }, NULL);
    H5Sselect_hyperslab(two, H5S_SELECT_SET, (const hsize_t[]){ 0, 0, 6 }, NULL, (const hsize_t[]){ 4, 1, 3 }, NULL);
    H5Pset_virtual(p, space, ".", "two", two);
    H5Dclose(H5Dcreate2(f, "v", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT));
    H5Pset_virtual(p, space, "target.h5", "two", two);
    H5Dclose(H5Dcreate2(f, "other", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, p, H5P_DEFAULT));
    H5Pclose(p);
    H5Sclose(space);
    H5Sclose(one);
    H5Sclose(two);
    H5Fclose(f);
    kr_scoped(array) a = array(path, ":v@slice,y,x");
    assert_shape(a, [KR_X] = 5, [KR_Y] = 4, [KR_SLICE] = 3);
    for (long i = 0; i < 60; i++) {
        long x = i % 5, y = i / 5 % 4, s = i / 20;
        double want = s == 0 ? (double)(y * 5 + x) : s == 1 || x < 1 || x > 3 ? 7 : (double)(y * 9 + 6 + x - 1);
        assert_value(a, want, 0, 0, [KR_X] = x, [KR_Y] = y, [KR_SLICE] = s);
    }
    kr_array *b = NULL;
    char source[600];
    snprintf(source, sizeof source, "%s:other@slice,y,x", path);
    assert_true(kr_array_read(&b, source) < 0);
    assert_refused(KR_EFORMAT, "put together of parts of other files, as target.h5");
}

/* h5py's own compression, and what real programs write, stored beside the project. */
static void stored_cases(void **state)
{
    (void)state;
    NEED_SHARED("cases/hdf5_lzf.h5");
    kr_scoped(array) want = array(shared("cases/hdf5_source.h5"), ":kspace@slice,coil,y,x");
    kr_scoped(array) lzf = array(shared("cases/hdf5_lzf.h5"), ":kspace@slice,coil,y,x");
    kr_scoped(array) pairs = array(shared("cases/hdf5_real_imag_last.h5"), ":kspace@slice,coil,y,x,reim");
    assert_near(distance(lzf, want), 0, 0);
    assert_near(distance(pairs, want), 0, 0);
    kr_scan *s = NULL;                             /* known by itself */
    assert_int_equal(kr_scan_read(&s, shared("cases/hdf5_real_imag_last.h5"), NULL, NULL, NULL), 0);
    assert_string_equal(s->format, "fastmri");
    assert_shape(s->data, [KR_X] = 32, [KR_Y] = 32, [KR_COIL] = 2, [KR_SLICE] = 2);
    kr_scan_unref(&s);
    static const struct { const char *file, *words; } bad[] = {
        { "cases/hdf5_external_link.h5", "link to another file, hdf5_source.h5" }, { "cases/external_link.h5", "link to another file, external_target.h5" },
        { "cases/hdf5_attr_exists_overread.h5", "its type or its chunks make no sense" }, { "cases/hdf5_copy_divide_by_zero.h5", "its type or its chunks make no sense" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(kr_scan_read(&s, shared(bad[i].file), NULL, NULL, NULL) < 0);
        if (!strstr(kr_error(), bad[i].words))
            fail_msg("%s: %s", bad[i].file, kr_error());
    }
}

/* Attributes of every kind, in headers of both versions, and more than fit into the header. */
static void attributes(void **state)
{
    (void)state;
    const char *path = scratch("attributes.h5");
    for (int latest = 0; latest < 2; latest++)
        for (int many = 3; many < 30; many += 20) {
            hid_t how = H5Pcreate(H5P_FILE_ACCESS), t = H5Tcopy(H5T_C_S1), one = H5Screate(H5S_SCALAR);
            if (latest)
                H5Pset_libver_bounds(how, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
            hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, how), g = H5Gcreate2(f, "images", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            put(f, "reconstruction", H5T_NATIVE_FLOAT, 3, (const hsize_t[]){ 2, 3, 4 }, NULL, 0);
            H5Tset_size(t, H5T_VARIABLE);
            const char *word = "of any length";
            hid_t a = H5Acreate2(f, "long_text", t, one, H5P_DEFAULT, H5P_DEFAULT);
            H5Awrite(a, t, &word);
            H5Aclose(a);
            h5_text(f, "short_text", "fixed");
            for (int i = 0; i < many; i++) {
                char name[16];
                snprintf(name, sizeof name, "n%d", i);
                const hid_t kind[] = { H5T_STD_I16BE, H5T_IEEE_F64LE, H5T_STD_U8LE, H5T_IEEE_F32BE };
                double v = i * 3 - (i % 4 == 2 ? 0 : 5);
                a = H5Acreate2(f, name, kind[i % 4], one, H5P_DEFAULT, H5P_DEFAULT);
                H5Awrite(a, H5T_NATIVE_DOUBLE, &v);
                H5Aclose(a);
            }
            H5Gclose(g);
            H5Sclose(one);
            H5Tclose(t);
            H5Pclose(how);
            H5Fclose(f);
            kr_image *im = NULL;
            if (kr_image_read(&im, path))
                fail_msg("%s", kr_error());
            assert_string_equal(kr_meta_get(im->meta, "short_text"), "fixed");
            if (!latest || many < 8)               /* beyond the header such a text would need HDF5's own conversion */
                assert_string_equal(kr_meta_get(im->meta, "long_text"), word);
            for (int i = 0; i < many; i++) {
                char name[16];
                snprintf(name, sizeof name, "n%d", i);
                assert_near(kr_meta_number(im->meta, name, 1e9), i * 3 - (i % 4 == 2 ? 0 : 5), 0);
            }
            kr_image_unref(&im);
        }
}

int main(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int i = 0; i < N; i++)
        number[i] = i % 100;
    const struct CMUnitTest tests[] = { cmocka_unit_test(kinds_and_layouts), cmocka_unit_test(few_axes), cmocka_unit_test(written),
        cmocka_unit_test(real_and_imaginary_axis), cmocka_unit_test(woven_chunks), cmocka_unit_test(halves), cmocka_unit_test(compounds), cmocka_unit_test(many_chunks), cmocka_unit_test(user_block), cmocka_unit_test(links),
        cmocka_unit_test(virtual_datasets), cmocka_unit_test(stored_cases), cmocka_unit_test(attributes), cmocka_unit_test(matlab73), cmocka_unit_test(refusals), cmocka_unit_test(damaged) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
