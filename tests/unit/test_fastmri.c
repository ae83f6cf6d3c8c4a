/* fastMRI files read to the values that h5py gives, and to pictures equal to the file's own target; submissions written as
 * fastMRI reads them. The samples come from samples/make_samples.py. */
#include "files.h"
#include "kray/fourier.h"
#include <hdf5.h>

static kr_scan *scan(const char *file, const kr_read *how)
{
    kr_scan *s = NULL;
    if (kr_scan_read(&s, file, NULL, how, NULL))
        fail_msg("%s", kr_error());
    assert_string_equal(s->format, "fastmri");
    return s;
}

/* RSS of the zero-filled coil images, cut to the wanted matrix as fastMRI cuts: from (N - n) / 2. */
static kr_array *picture(const kr_scan *s)
{
    kr_scoped(array) x = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    kr_scoped(array) rss = kr_rss(x, KR_COIL);
    kr_scoped(array) cut = kr_array_crop(rss, KR_X, s->enc.recon[0]);
    return kr_array_crop(cut, KR_Y, s->enc.recon[1]);
}

static const char train[] = "samples/fastmri/multicoil_train_file1000001.h5", test[] = "samples/fastmri/multicoil_test_file1000003_v2.h5",
                  single[] = "samples/fastmri/singlecoil_val_file1000002.h5", narrow[] = "samples/fastmri/brain_AXFLAIR_narrow_width24.h5";

static void multicoil(void **state)
{
    (void)state;
    NEED_SHARED(train);
    kr_scoped(scan) s = scan(shared(train), NULL);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 64, [KR_Y] = 40, [KR_COIL] = 4, [KR_SLICE] = 3)));
    assert_true(kr_array_contiguous(s->data) && s->data->type == KR_C32 && !s->in_image);
    assert_int_equal(kr_scan_check(s), 0);
    /* kspace[2,3,50,20], kspace[0,0,20,3] */
    assert_value(s->data, 3.594204e-06, -4.977962e-06, 1e-12, [KR_X] = 50, [KR_Y] = 20, [KR_COIL] = 3, [KR_SLICE] = 2);
    assert_value(s->data, 2.5989048e-06, -9.166482e-07, 1e-12, [KR_X] = 20, [KR_Y] = 3);
    /* attributes, header, padding 3..37 */
    assert_string_equal(kr_meta_get(s->meta, "acquisition"), "CORPD_FBK");
    assert_near(kr_meta_number(s->meta, "max", 0), 0.00017699290765449405, 1e-19);
    assert_near(kr_meta_number(s->meta, "norm", 0), 0.003879279363900423, 1e-17);
    assert_int_equal(strlen(kr_meta_get(s->meta, "patient_id")), 64);
    assert_near(kr_meta_number(s->meta, "te_ms", 0), 27, 0);
    assert_near(kr_meta_number(s->meta, "padding_left", -1), 3, 0);
    assert_near(kr_meta_number(s->meta, "padding_right", -1), 37, 0);
    assert_int_equal(s->enc.recon[0], 32);
    assert_int_equal(s->enc.recon[1], 32);
    assert_near(s->geom->fov_mm[0], 140, 1e-9);
    assert_int_equal(s->geom->slices, 3);
    assert_shape(s->mask, [KR_Y] = 40);
    for (long y = 0; y < 40; y++)
        assert_near(KR_R(s->mask)[y], y >= 3 && y < 37, 0);
    /* the picture is the file's own target: float32 FFTs of both sides differ by some 1e-7 */
    assert_shape(s->reference->data, [KR_X] = 32, [KR_Y] = 32, [KR_SLICE] = 3);
    assert_value(s->reference->data, 0.00016120268, 0, 1e-10, [KR_X] = 10, [KR_Y] = 20, [KR_SLICE] = 1);
    kr_scoped(array) p = picture(s);
    assert_near(distance(p, s->reference->data), 0, 1e-6);
}

static void singlecoil(void **state)
{
    (void)state;
    NEED_SHARED(single);
    kr_scoped(scan) s = scan(shared(single), NULL);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 64, [KR_Y] = 40, [KR_SLICE] = 3)));
    assert_value(s->data, 9.382861e-06, -2.0208176e-06, 1e-12, [KR_X] = 50, [KR_Y] = 20, [KR_SLICE] = 2);
    assert_value(s->reference->data, 5.8914964e-05, 0, 1e-11, [KR_X] = 10, [KR_Y] = 20, [KR_SLICE] = 1);    /* _esc, not _rss */
    kr_scoped(array) p = picture(s);
    assert_near(distance(p, s->reference->data), 0, 1e-6);
}

static void test_set(void **state)
{
    (void)state;
    NEED_SHARED(test);
    kr_scoped(scan) s = scan(shared(test), NULL);
    assert_value(s->data, 2.1816372e-06, -2.4722483e-06, 1e-12, [KR_X] = 40, [KR_Y] = 21, [KR_COIL] = 2, [KR_SLICE] = 1);
    static const int on[] = { 3, 7, 11, 15, 18, 19, 20, 21, 23, 27, 31, 35 };
    double kept = 0;
    for (long y = 0; y < 40; y++)
        kept += (double)KR_R(s->mask)[y];
    assert_near(kept, 12, 0);
    for (int i = 0; i < 12; i++)
        assert_near(KR_R(s->mask)[on[i]], 1, 0);
    assert_null(s->reference);
    assert_near(kr_meta_number(s->meta, "acceleration", 0), 4, 0);
    assert_near(kr_meta_number(s->meta, "num_low_frequency", 0), 4, 0);
    char text[1200];
    snprintf(text, sizeof text, "%s:mask", shared(test));
    kr_scoped(array) m = NULL;
    assert_int_equal(kr_array_read(&m, text), 0);
    assert_shape(m, [KR_Y] = 40);
    assert_near(distance(m, s->mask), 0, 0);
}

static void narrow_width(void **state)
{
    (void)state;
    NEED_SHARED(narrow);
    kr_scoped(scan) s = scan(shared(narrow), NULL);
    assert_int_equal(s->enc.recon[0], 24);              /* the header says 32; the width is 24 */
    assert_int_equal(s->enc.recon[1], 24);
    assert_near(s->geom->fov_mm[0], 105, 1e-9);         /* 24 voxels of 4.375 mm */
    assert_near(s->geom->fov_mm[1], 105, 1e-9);
    assert_null(s->mask);                               /* no padding */
    kr_scoped(array) p = picture(s);
    assert_near(distance(p, s->reference->data), 0, 1e-6);
}

static void windows(void **state)
{
    (void)state;
    NEED_SHARED(train);
    kr_scoped(scan) all = scan(shared(train), NULL);
    for (long from = 0; from < 3; from++)
        for (long count = 1; from + count <= 3; count++) {
            kr_scoped(scan) s = scan(shared(train), &(kr_read){ .slice_from = from, .slice_count = count });
            kr_scoped(array) k = kr_array_range(all->data, KR_SLICE, from, count);
            kr_scoped(array) r = kr_array_range(all->reference->data, KR_SLICE, from, count);
            assert_int_equal(s->shape.n[KR_SLICE], count);
            assert_near(distance(s->data, k), 0, 0);
            assert_near(distance(s->reference->data, r), 0, 0);
        }
    kr_scoped(scan) header = scan(shared(train), &(kr_read){ .header_only = true });
    assert_null(header->data);
    assert_true(kr_shape_equal(header->shape, all->shape));
    assert_int_equal(header->enc.recon[1], 32);
    kr_scan *s = NULL;
    assert_true(kr_scan_read(&s, shared(train), NULL, &(kr_read){ .slice_from = 2, .slice_count = 2 }, NULL) < 0);
    assert_refused(KR_ESHAPE, "slices 2 to 3 asked of 3");
    assert_null(s);
}

static void round_trip(void **state)
{
    (void)state;
    NEED_SHARED(train);
    static const char *const file[] = { train, test, single, narrow };
    for (int i = 0; i < 4; i++) {
        kr_scoped(scan) a = scan(shared(file[i]), NULL);
        const char *path = scratch("again.h5");
        assert_int_equal(kr_scan_write(a, path, "fastmri"), 0);
        kr_scoped(scan) b = scan(path, NULL);
        assert_near(distance(b->data, a->data), 0, 0);
        assert_true(!a->mask == !b->mask && (!a->mask || distance(b->mask, a->mask) == 0));
        assert_true(!a->reference == !b->reference && (!a->reference || distance(b->reference->data, a->reference->data) == 0));
        assert_int_equal(b->enc.recon[0], a->enc.recon[0]);
        assert_near(b->geom->fov_mm[1], a->geom->fov_mm[1], 1e-6);
        assert_string_equal(kr_meta_get(b->meta, "acquisition"), kr_meta_get(a->meta, "acquisition"));
        for (int k = 0; k < 2; k++) {
            const char *key = k ? "acceleration" : "padding_right";
            assert_near(kr_meta_number(b->meta, key, -1), kr_meta_number(a->meta, key, -1), 0);
        }
    }
}

/* The order of the numbers in the file, without Kray's own reader: [slice][H = readout][W = phase]. */
static void submission(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 5, [KR_Y] = 3, [KR_SLICE] = 2));
    for (long i = 0; i < 30; i++)
        KR_R(a)[i] = (float)i;                          /* x + 5 y + 15 slice */
    kr_scoped(meta) meta = kr_meta_new();
    assert_int_equal(kr_meta_set(meta, "method", "test of \xc3\xa9"), 0);
    kr_scoped(image) im = kr_image_new(a, NULL, meta);
    const char *path = scratch("submission.h5");
    assert_int_equal(kr_image_write(im, path, "fastmri"), 0);
    hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), d = H5Dopen2(f, "reconstruction", H5P_DEFAULT), space = H5Dget_space(d), type = H5Dget_type(d);
    hsize_t n[3];
    float v[2][5][3];
    assert_int_equal(H5Sget_simple_extent_dims(space, n, NULL), 3);
    assert_true(n[0] == 2 && n[1] == 5 && n[2] == 3 && H5Tequal(type, H5T_IEEE_F32LE) > 0);
    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    for (int s = 0; s < 2; s++)
        for (int x = 0; x < 5; x++)
            for (int y = 0; y < 3; y++)
                assert_near(v[s][x][y], x + 5 * y + 15 * s, 0);
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(d);
    H5Fclose(f);
    kr_scoped(image) back = NULL;
    assert_int_equal(kr_image_read(&back, path), 0);
    assert_near(distance(back->data, a), 0, 0);
    assert_string_equal(kr_meta_get(back->meta, "method"), "test of \xc3\xa9");
    assert_int_equal(kr_meta_set(meta, "dataset", "fastMRI"), 0);       /* of a fastMRI scan: .h5 means a submission */
    kr_scoped(image) known = kr_image_new(a, NULL, meta);
    kr_scoped(image) again = NULL;
    assert_int_equal(kr_image_write(known, path, NULL), 0);
    assert_int_equal(kr_image_read(&again, path), 0);
    assert_near(distance(again->data, a), 0, 0);
}

static void their_submission(void **state)
{
    (void)state;
    NEED_SHARED("samples/fastmri/submission_file1000003_v2.h5");
    kr_scoped(image) theirs = NULL;
    assert_int_equal(kr_image_read(&theirs, shared("samples/fastmri/submission_file1000003_v2.h5")), 0);
    assert_shape(theirs->data, [KR_X] = 32, [KR_Y] = 32, [KR_SLICE] = 3);
    assert_value(theirs->data, 0.00016120268, 0, 1e-10, [KR_X] = 10, [KR_Y] = 20, [KR_SLICE] = 1);
    kr_scoped(image) esc = NULL;                        /* without a name: the single coil's own target */
    assert_int_equal(kr_image_read(&esc, shared(single)), 0);
    assert_value(esc->data, 5.8914964e-05, 0, 1e-11, [KR_X] = 10, [KR_Y] = 20, [KR_SLICE] = 1);
    char text[1200];
    snprintf(text, sizeof text, "%s:reconstruction_rss", shared(single));
    kr_scoped(image) rss = NULL;
    assert_int_equal(kr_image_read(&rss, text), 0);
    assert_near(distance(rss->data, theirs->data), 0, 0);
    assert_near(rss->geom->fov_mm[0], 140, 1e-9);       /* from the header beside it */
}

/* ---- Files that are not what they should be ---- */
static hid_t complex_type(hid_t part)
{
    size_t n = H5Tget_size(part);
    hid_t t = H5Tcreate(H5T_COMPOUND, 2 * n);
    H5Tinsert(t, "r", 0, part);
    H5Tinsert(t, "i", n, part);
    return t;
}

static void make(const char *path, hid_t type, int dims, const hsize_t *n, const char *xml, long mask, bool chunked)
{
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(dims, n, NULL), p = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    if (chunked)
        H5Pset_chunk(p, dims, chunk);
    hid_t d = H5Dcreate2(f, "kspace", type, space, H5P_DEFAULT, p, H5P_DEFAULT);
    assert_true(d >= 0);
    void *zero = chunked ? NULL : calloc((size_t)H5Sget_simple_extent_npoints(space), H5Tget_size(type));
    if (zero)
        H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zero);
    free(zero);
    H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
    if (xml) {
        hid_t t = H5Tcopy(H5T_C_S1);
        H5Tset_size(t, H5T_VARIABLE);
        space = H5Screate(H5S_SCALAR);
        d = H5Dcreate2(f, "ismrmrd_header", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, &xml);
        H5Dclose(d);
        H5Sclose(space);
        H5Tclose(t);
    }
    if (mask) {
        space = H5Screate_simple(1, &(hsize_t){ (hsize_t)mask }, NULL);
        float *one = calloc((size_t)mask, 4);
        d = H5Dcreate2(f, "mask", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, one);
        free(one);
        H5Dclose(d);
        H5Sclose(space);
    }
    H5Fclose(f);
}

static void refuse(const char *path, int code, const char *words)
{
    kr_scan *s = NULL;
    assert_true(kr_scan_read(&s, path, "fastmri", NULL, NULL) < 0);
    assert_null(s);
    assert_refused(code, words);
}

/* Three axes without a header: slices, as fastMRI has them, but that is said, since they may be coils. */
static void three_axes(void **state)
{
    (void)state;
    const char *path = scratch("three.h5");
    const hsize_t n[3] = { 4, 6, 5 };
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(3, n, NULL), t = H5Tcreate(H5T_COMPOUND, 8);
    H5Tinsert(t, "r", 0, H5T_IEEE_F32LE);
    H5Tinsert(t, "i", 4, H5T_IEEE_F32LE);
    static const float v[120][2] = { { 1, 2 } };
    hid_t d = H5Dcreate2(f, "kspace", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(d);
    H5Tclose(t);
    H5Sclose(space);
    H5Fclose(f);
    kr_scoped(scan) s = scan(path, NULL);
    assert_true(s->shape.n[KR_SLICE] == 4 && s->shape.n[KR_COIL] <= 1);
    assert_non_null(strstr(s->notes.s, "warning: kspace has three axes (4 x 6 x 5)"));
    assert_non_null(strstr(s->notes.s, "three.h5:kspace@coil,x,y"));
    kr_auto char *coils = kr_strf("%s:kspace@coil,x,y", path);
    kr_scoped(scan) named = scan(coils, NULL);
    assert_true(named->shape.n[KR_COIL] == 4 && !named->notes.len);
}

/* Other orders of axes than fastMRI's and Calgary-Campinas': more coils than lines, or parts of complex numbers. Who reads them says which axes they are. */
static void other_orders(void **state)
{
    (void)state;
    static const struct { hsize_t n[4]; int dims; bool complex; const char *says; } file[] = {
        { { 24, 20, 4, 1 }, 4, true, "needs the names of the dataset and its axes" },          /* x, y, coil */
        { { 24, 20, 3, 4 }, 4, true, "needs the names of the dataset and its axes" },          /* x, y, slice, coil */
        { { 2, 4, 24, 20 }, 4, false, "as in %s:kspace@reim,coil,y,x" },
        { { 4, 24, 20, 2 }, 4, false, "warning: kspace has three axes" },                      /* slices of one coil, as complex numbers of three axes are */
    };
    const char *path = scratch("orders.h5");
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(file[i].dims, file[i].n, NULL);
        hid_t t = file[i].complex ? complex_type(H5T_NATIVE_FLOAT) : H5Tcopy(H5T_NATIVE_FLOAT), d = H5Dcreate2(f, "kspace", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        long count = (long)(file[i].n[0] * file[i].n[1] * file[i].n[2] * file[i].n[3]) * (file[i].complex ? 2 : 1);
        float *v = calloc((size_t)count, sizeof *v);
        for (long k = 0; k < count; k++)
            v[k] = (float)(k % 7 - 3);
        assert_true(H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
        free(v);
        H5Dclose(d);
        H5Tclose(t);
        H5Sclose(space);
        H5Fclose(f);
        kr_auto char *says = kr_strf(file[i].says, path);
        kr_scan *s = NULL;
        int e = kr_scan_read(&s, path, NULL, NULL, NULL);
        if (e)
            assert_refused(KR_EUSAGE, says);
        else
            assert_non_null(strstr(s->notes.s, says));
        assert_true((e != 0) == (i < 3));
        kr_scan_unref(&s);
    }
}

/* A header that asks for more points in the same field of view: as many as were measured, with the voxels that they have, and no part of the object is cut off. */
static void finer_header(void **state)
{
    (void)state;
    static const char xml[] = "<ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><encoding><encodedSpace><matrixSize><x>24</x><y>20</y><z>1</z></matrixSize><fieldOfView_mm><x>240</x>"
        "<y>200</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>60</x><y>60</y><z>1</z></matrixSize><fieldOfView_mm><x>240</x><y>200</y><z>5</z></fieldOfView_mm>"
        "</reconSpace><trajectory>cartesian</trajectory><encodingLimits></encodingLimits></encoding></ismrmrdHeader>";
    const char *path = scratch("finer.h5");
    hid_t c = complex_type(H5T_NATIVE_FLOAT);
    make(path, c, 4, (const hsize_t[]){ 1, 2, 24, 20 }, xml, 0, false);
    H5Tclose(c);
    kr_scoped(scan) s = scan(path, NULL);
    assert_true(s->enc.recon[0] == 20 && s->enc.recon[1] == 20);              /* fastMRI's square of the narrower side */
    for (int a = 0; a < 2; a++)
        assert_near(s->geom->fov_mm[a], 200, 1e-9);                            /* of voxels of 10 mm */
}

static void refusals(void **state)
{
    (void)state;
    const char *path = scratch("bad.h5");
    hid_t c = complex_type(H5T_NATIVE_FLOAT);
    const hsize_t four[] = { 2, 3, 6, 5 }, two[] = { 6, 5 }, huge[] = { 1000, 1000, 1000, 1000 };
    make(path, H5T_NATIVE_FLOAT, 4, four, NULL, 0, false);
    refuse(path, KR_EFORMAT, "kspace of 2 x 3 x 6 x 5, not complex");
    make(path, H5T_NATIVE_INT, 4, four, NULL, 5, false);
    refuse(path, KR_EFORMAT, "not complex");
    make(path, c, 2, two, NULL, 0, false);
    refuse(path, KR_EFORMAT, "kspace of 6 x 5 is no fastMRI k-space");
    make(path, c, 4, huge, NULL, 5, true);
    refuse(path, KR_EFORMAT, "announces 1000 x 1000 x 1000 x 1000 numbers, far more than the file");
    make(path, c, 4, four, NULL, 7, false);
    refuse(path, KR_ESHAPE, "a mask of 7 numbers is given for 5 columns");
    make(path, c, 4, four, "<html>", 0, false);
    refuse(path, KR_EFORMAT, "not well-formed XML");
    make(path, c, 4, four, "<html></html>", 0, false);
    refuse(path, KR_EFORMAT, "begins with <html>");
    make(path, c, 4, (const hsize_t[]){ 2, 0, 6, 5 }, NULL, 5, true);
    refuse(path, KR_EFORMAT, "kspace is empty");
    make(path, c, 4, four, NULL, 5, false);              /* all zero, mask keeps nothing: read, and refused by the check */
    kr_scoped(scan) s = scan(path, NULL);
    assert_true(kr_scan_check(s) < 0);
    assert_refused(KR_ENUMBER, "all zero");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(f, "kspace", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Fclose(f);
    refuse(path, KR_EFORMAT, "kspace is a group; a dataset is wanted");
    f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    refuse(path, KR_EFORMAT, "there is no dataset kspace");
    kr_image *im = NULL;
    assert_true(kr_image_read(&im, path) < 0);
    assert_refused(KR_EUSAGE, "it holds nothing");
    spill(path, "not HDF5 at all", 15);
    refuse(path, KR_EFORMAT, "HDF5 cannot open it");
    H5Tclose(c);
}

/* Doubles, parts stored as {i, r}, big-endian, compressed: the same numbers. */
static void other_layouts(void **state)
{
    (void)state;
    const char *path = scratch("layout.h5");
    enum { S = 3, C = 2, X = 21, Y = 18, N = S * C * X * Y };
    static float v[N][2];
    for (int i = 0; i < N; i++) {
        v[i][0] = (float)i;
        v[i][1] = (float)-i / 2;
    }
    hid_t memory = complex_type(H5T_NATIVE_FLOAT);
    for (int kind = 0; kind < 7; kind++) {
        hid_t file = kind == 1 || kind == 4 ? complex_type(H5T_IEEE_F64LE) : kind == 2 ? complex_type(H5T_IEEE_F32BE) : H5Tcopy(memory);
        if (kind == 3) {
            H5Tclose(file);
            file = H5Tcreate(H5T_COMPOUND, 8);
            H5Tinsert(file, "i", 0, H5T_NATIVE_FLOAT);
            H5Tinsert(file, "r", 4, H5T_NATIVE_FLOAT);
        }
        hid_t p = H5Pcreate(H5P_DATASET_CREATE);
        if (kind >= 4)
            H5Pset_chunk(p, 4, (const hsize_t[]){ 2, 1, 8, 5 });
        if (kind == 5)
            H5Pset_shuffle(p);
        if (kind >= 4 && kind < 6)
            H5Pset_deflate(p, 4);
        if (kind == 6)
            H5Pset_fletcher32(p);
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(4, (const hsize_t[]){ S, C, X, Y }, NULL);
        hid_t d = H5Dcreate2(f, "kspace", file, space, H5P_DEFAULT, p, H5P_DEFAULT);
        assert_true(H5Dwrite(d, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
        H5Dclose(d);
        H5Sclose(space);
        H5Fclose(f);
        H5Pclose(p);
        H5Tclose(file);
        for (long from = 0; from < S; from++) {
            kr_scoped(scan) s = scan(path, &(kr_read){ .slice_from = from, .slice_count = from == 1 ? 2 : 1 });
            for (long z = 0; z < s->shape.n[KR_SLICE]; z++)
                for (long c = 0; c < C; c++)
                    for (long x = 0; x < X; x++)
                        for (long y = 0; y < Y; y++) {
                            double i = (double)((((from + z) * C + c) * X + x) * Y + y);
                            assert_value(s->data, i, -i / 2, 0, [KR_X] = x, [KR_Y] = y, [KR_COIL] = c, [KR_SLICE] = z);
                        }
        }
    }
    H5Tclose(memory);
}

/* Attributes as texts of variable and of fixed length, in old and new object headers, a few and many. */
static void attributes(void **state)
{
    (void)state;
    const char *path = scratch("attributes.h5"), *words = "AXT2 with words enough to be in the heap", *id = "abc";
    for (int kind = 0; kind < 4; kind++) {
        hid_t p = H5Pcreate(H5P_FILE_ACCESS), c = complex_type(H5T_NATIVE_FLOAT), t = H5Tcopy(H5T_C_S1), t3 = H5Tcopy(H5T_C_S1);
        if (kind & 1)
            H5Pset_libver_bounds(p, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
        H5Tset_size(t, H5T_VARIABLE);
        H5Tset_size(t3, 3);
        hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, p), space = H5Screate_simple(4, (const hsize_t[]){ 1, 2, 4, 3 }, NULL);
        hid_t d = H5Dcreate2(f, "kspace", c, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), one = H5Screate(H5S_SCALAR);
        static float zero[48];
        H5Dwrite(d, c, H5S_ALL, H5S_ALL, H5P_DEFAULT, zero);
        H5Dclose(d);
        for (int i = 0; i < (kind & 2 ? 30 : 3); i++) {             /* so many go into further blocks, or out of the header */
            char name[32];
            snprintf(name, sizeof name, i == 0 ? "patient_id" : i == 1 ? "max" : i == 2 ? "acquisition" : "other%d", i);
            hid_t type = i == 0 ? t3 : i == 2 ? t : H5T_STD_I16BE, a = H5Acreate2(f, name, type, one, H5P_DEFAULT, H5P_DEFAULT);
            assert_true(H5Awrite(a, i == 0 ? t3 : i == 2 ? t : H5T_NATIVE_INT, i == 0 ? (const void *)id : i == 2 ? (const void *)&words : &(int){ -321 }) >= 0);
            H5Aclose(a);
        }
        H5Sclose(one);
        H5Sclose(space);
        H5Fclose(f);
        H5Pclose(p);
        H5Tclose(c);
        H5Tclose(t);
        H5Tclose(t3);
        kr_scoped(scan) s = scan(path, NULL);
        assert_string_equal(kr_meta_get(s->meta, "patient_id"), "abc");
        assert_near(kr_meta_number(s->meta, "max", 0), -321, 0);
        if (kind < 3)                                               /* 30 in the new form lie outside the header: left aside */
            assert_string_equal(kr_meta_get(s->meta, "acquisition"), words);
        else
            assert_null(kr_meta_get(s->meta, "acquisition"));
    }
}

static void cut_off(void **state)
{
    (void)state;
    NEED_SHARED(narrow);
    /* what h5py wrote last may be unused space, so the very last cuts may be readable */
    assert_true(cut_everywhere(shared(narrow), "%s", 400, read_scan_only) > 390);
    assert_true(cut_everywhere(shared("samples/fastmri/submission_file1000003_v2.h5"), "%s:reconstruction", 200, read_array_only) > 190);
}

int main(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(multicoil), cmocka_unit_test(singlecoil), cmocka_unit_test(test_set),
        cmocka_unit_test(narrow_width), cmocka_unit_test(windows), cmocka_unit_test(round_trip), cmocka_unit_test(submission),
        cmocka_unit_test(their_submission),
        cmocka_unit_test(three_axes),
        cmocka_unit_test(other_orders),
        cmocka_unit_test(finer_header), cmocka_unit_test(refusals), cmocka_unit_test(other_layouts), cmocka_unit_test(attributes), cmocka_unit_test(cut_off) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
