/* CMRxRecon trees of 2023, 2024 and 2025 read to the values that h5py gives; the ranking crop equals the expected file. */
#include "files.h"
#include "kray/fourier.h"
#include <hdf5.h>

#define TREE "samples/cmrxrecon/"
static const char full[] = TREE "2023/MultiCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat",
                  sub04[] = TREE "2023/MultiCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat",
                  single04[] = TREE "2023/SingleCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat",
                  uniform8[] = TREE "2024/MultiCoil/Cine/ValidationSet/UnderSample_Task1/P001/cine_sax_kus_Uniform8.mat",
                  gauss4[] = TREE "2024/MultiCoil/Cine/ValidationSet/UnderSample_Task2/P001/cine_sax_kus_ktGaussian4.mat",
                  black[] = TREE "2025/MultiCoil/BlackBlood/TrainingSet/FullSample/Center001/UIH_30T_umr780/P001/blackblood.mat",
                  expected[] = TREE "expected_ranking_from_2023_cine_sax.mat";

static kr_scan *scan(const char *file)
{
    kr_scan *s = NULL;
    if (kr_scan_read(&s, file, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    assert_string_equal(s->format, "cmrxrecon");
    assert_true(kr_array_contiguous(s->data) && s->data->type == KR_C32);
    assert_int_equal(kr_scan_check(s), 0);
    return s;
}

static double sum(const kr_array *a)
{
    double v = 0;
    for (long i = 0; i < kr_count(kr_array_shape(a)); i++)
        v += (double)KR_R(a)[i];
    return v;
}

static void years(void **state)
{
    (void)state;
    NEED_SHARED(full);
    /* norm, and element 1000 in MATLAB's order; mask: sum over what is left of it once it is thinned */
    static const struct { const char *file; kr_shape shape; double norm, re, im; const char *modality, *variable; } tree[] = {
        { full, { { [KR_X] = 48, [KR_Y] = 32, [KR_COIL] = 10, [KR_SLICE] = 3, [KR_TIME] = 4 } }, 153.80322, -0.0048946654, -0.0007535027, "Cine", "kspace_full" },
        { sub04, { { [KR_X] = 48, [KR_Y] = 32, [KR_COIL] = 10, [KR_SLICE] = 3, [KR_TIME] = 4 } }, 151.10071, -0.0048946654, -0.0007535027, "Cine", "kspace_sub04" },
        { single04, { { [KR_X] = 48, [KR_Y] = 32, [KR_SLICE] = 3, [KR_TIME] = 4 } }, 142.20219869383408, 0.2444125860929489, -0.14407777786254883, "Cine", "kspace_single_sub04" },
        { uniform8, { { [KR_X] = 48, [KR_Y] = 32, [KR_COIL] = 10, [KR_SLICE] = 3, [KR_TIME] = 4 } }, 152.35207, -0.0048946654, -0.0007535027, "Cine", "kus" },
        { gauss4, { { [KR_X] = 48, [KR_Y] = 32, [KR_COIL] = 10, [KR_SLICE] = 3, [KR_TIME] = 4 } }, 152.1489, -0.0048946654, -0.0007535027, "Cine", "kus" },
        { black, { { [KR_X] = 48, [KR_Y] = 32, [KR_COIL] = 10, [KR_SLICE] = 3 } }, 76.910736, -0.0048946654, -0.0007535027, "BlackBlood", "kspace" } };
    for (size_t i = 0; i < sizeof tree / sizeof *tree; i++) {
        kr_scoped(scan) s = scan(shared(tree[i].file));
        if (!kr_shape_equal(s->shape, tree[i].shape))
            fail_msg("%s: %s", tree[i].file, kr_shape_text(s->shape));
        assert_near(kr_norm(s->data), tree[i].norm, 2e-5);       /* h5py's sum is of floats */
        assert_near(kr_re(KR_C(s->data)[1000]), tree[i].re, 1e-8);
        assert_near(kr_im(KR_C(s->data)[1000]), tree[i].im, 1e-8);
        assert_string_equal(kr_meta_get(s->meta, "modality"), tree[i].modality);
        assert_string_equal(kr_meta_get(s->meta, "variable"), tree[i].variable);
        assert_int_equal(s->geom->slices, 3);
    }
}

/* The same names in a file that h5py wrote, without MATLAB's first 512 bytes. */
static void by_h5py(void **state)
{
    (void)state;
    const char *path = scratch("cine_sax.mat");
    const hsize_t n[5] = { 2, 3, 2, 5, 4 };                  /* time, slice, coil, y, x */
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(5, n, NULL), t = H5Tcreate(H5T_COMPOUND, 8);
    H5Tinsert(t, "real", 0, H5T_IEEE_F32LE);
    H5Tinsert(t, "imag", 4, H5T_IEEE_F32LE);
    float v[2 * 3 * 2 * 5 * 4][2];
    for (int i = 0; i < 240; i++)
        v[i][0] = (float)i, v[i][1] = -1;
    hid_t d = H5Dcreate2(f, "kspace_full", t, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(d);
    H5Tclose(t);
    H5Sclose(space);
    H5Fclose(f);
    kr_scoped(scan) s = scan(path);
    assert_true(kr_shape_equal(s->shape, KR_SHAPE([KR_X] = 4, [KR_Y] = 5, [KR_COIL] = 2, [KR_SLICE] = 3, [KR_TIME] = 2)));
    assert_true(kr_re(KR_C(s->data)[s->data->step[KR_SLICE]]) == 40 && kr_im(KR_C(s->data)[0]) == -1);
}

static void masks_beside(void **state)
{
    (void)state;
    NEED_SHARED(full);
    kr_scoped(scan) a = scan(shared(full));
    assert_null(a->mask);
    /* lines: every 4th of 32 and 8 in the middle; every 8th and 16: 8 + 6 and 4 + 14 */
    kr_scoped(scan) b = scan(shared(sub04));
    assert_shape(b->mask, [KR_Y] = 32);
    assert_near(sum(b->mask), 14, 0);
    kr_scoped(scan) c = scan(shared(uniform8));
    assert_shape(c->mask, [KR_Y] = 32);
    assert_near(sum(c->mask), 18, 0);
    /* 56.28498911788115^2 ones in (48, 32, 4), the same at every kx */
    kr_scoped(scan) d = scan(shared(gauss4));
    assert_shape(d->mask, [KR_Y] = 32, [KR_TIME] = 4);
    assert_near(sum(d->mask), 56.28498911788115 * 56.28498911788115 / 48, 1e-9);
    kr_scoped(scan) e = scan(shared(single04));
    assert_null(e->mask);                                        /* none beside: found from the zeros later */
    kr_scoped(array) m = NULL;
    assert_int_equal(kr_array_read(&m, shared(TREE "2024/MultiCoil/Cine/ValidationSet/Mask_Task2/P001/cine_sax_mask_ktGaussian4.mat")), 0);
    assert_shape(m, [KR_X] = 48, [KR_Y] = 32, [KR_TIME] = 4);
    assert_near(sum(m), 56.28498911788115 * 56.28498911788115, 1e-9);
    /* data are zero exactly where the mask says so */
    for (long y = 0; y < 32; y++)
        for (long t = 0; t < 4; t++) {
            kr_cfloat v = value_at(d->data, KR_SHAPE([KR_X] = 20, [KR_Y] = y, [KR_COIL] = 3, [KR_SLICE] = 1, [KR_TIME] = t));
            float on = kr_re(value_at(d->mask, KR_SHAPE([KR_Y] = y, [KR_TIME] = t)));
            assert_true((kr_cabs2(v) > 0) == (on > 0));
        }
}

static void ranking(void **state)
{
    (void)state;
    NEED_SHARED(expected);
    kr_scoped(scan) s = scan(shared(full));
    kr_scoped(array) x = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    kr_scoped(image) coils = kr_image_new(x, NULL, s->meta);
    kr_scoped(image) r = kr_cmrxrecon_ranking(coils);            /* combines the coils by root of sum of squares */
    assert_shape(r->data, [KR_X] = 16, [KR_Y] = 16, [KR_SLICE] = 2, [KR_TIME] = 3);
    kr_scoped(image) want = NULL;
    assert_int_equal(kr_image_read(&want, shared(expected)), 0);
    assert_near(distance(r->data, want->data), 0, 1e-6);         /* theirs is made in double precision */
    assert_value(want->data, 1.6874905, 0, 1e-6, [KR_X] = 15, [KR_Y] = 15, [KR_SLICE] = 1, [KR_TIME] = 2);
    /* written as the challenge wants it, and read back; without being asked for, nothing is left out */
    kr_scoped(array) rss = kr_rss(x, KR_COIL);
    kr_scoped(image) im = kr_image_new(rss, NULL, s->meta);
    const char *path = scratch("cine_sax.mat");
    assert_int_equal(kr_image_write(im, path, "cmrxrecon"), 0);
    kr_scoped(image) back = NULL;
    assert_int_equal(kr_image_read(&back, path), 0);
    assert_near(distance(back->data, r->data), 0, 1e-7);
    kr_image_unref(&back);
    assert_int_equal(kr_image_write(im, path, NULL), 0);
    assert_int_equal(kr_image_read(&back, path), 0);
    assert_true(kr_shape_equal(kr_array_shape(back->data), kr_array_shape(im->data)));
    assert_near(distance(back->data, im->data), 0, 1e-7);
}

/* Which slices, frames and voxels: numbers that tell where they were. */
static void ranking_rule(void **state)
{
    (void)state;
    static const struct { long x, y, slices, frames; const char *name; long want[4], first[4]; } rule[] = {
        { 12, 8, 1, 5, "cine_sax.mat", { 4, 4, 1, 3 }, { 4, 2, 0, 0 } },
        { 11, 7, 2, 2, "cine_lax.mat", { 4, 4, 2, 2 }, { 3, 1, 0, 0 } },        /* round(3.67) = 4, round(3.5) = 4 */
        { 13, 9, 3, 9, "T1map.mat", { 4, 5, 2, 9 }, { 4, 2, 0, 0 } },           /* round(4.33) = 4, round(4.5) = 5; slices 1:2 */
        { 6, 4, 5, 3, "T2map_kus_Uniform8.mat", { 2, 2, 2, 3 }, { 2, 1, 1, 0 } },
        { 6, 4, 12, 1, "blackblood.mat", { 2, 2, 2, 1 }, { 2, 1, 4, 0 } } };
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = rule[i].x, [KR_Y] = rule[i].y, [KR_SLICE] = rule[i].slices, [KR_TIME] = rule[i].frames));
        for (long t = 0; t < rule[i].frames; t++)
            for (long s = 0; s < rule[i].slices; s++)
                for (long y = 0; y < rule[i].y; y++)
                    for (long x = 0; x < rule[i].x; x++)
                        KR_R(a)[((t * rule[i].slices + s) * rule[i].y + y) * rule[i].x + x] = (float)(((t * 100 + s) * 100 + y) * 100 + x);
        kr_scoped(meta) meta = kr_meta_new();
        assert_int_equal(kr_meta_set(meta, "name", "%s", rule[i].name), 0);
        kr_scoped(image) im = kr_image_new(a, NULL, meta);
        kr_scoped(image) r = kr_cmrxrecon_ranking(im);
        const long *w = rule[i].want, *f = rule[i].first;
        assert_shape(r->data, [KR_X] = w[0], [KR_Y] = w[1], [KR_SLICE] = w[2], [KR_TIME] = w[3]);
        assert_near(KR_R(r->data)[0], (double)((f[3] * 100 + f[2]) * 100 + f[1]) * 100 + (double)f[0], 0);
    }
}

static void round_trip(void **state)
{
    (void)state;
    NEED_SHARED(full);
    static const char *const file[] = { full, sub04, single04, gauss4, black };
    for (int i = 0; i < 5; i++) {
        kr_scoped(scan) a = scan(shared(file[i]));
        const char *path = scratch("again.mat");
        assert_int_equal(kr_scan_write(a, path, NULL), 0);
        kr_scoped(scan) b = scan(path);
        assert_true(kr_shape_equal(a->shape, b->shape));
        assert_near(distance(b->data, a->data), 0, 0);
        assert_true(!a->mask == !b->mask && (!a->mask || distance(b->mask, a->mask) == 0));
        /* what MATLAB looks at: its header, HDF5 behind 512 bytes, the class */
        long n;
        unsigned char *bytes = slurp(path, &n);
        assert_memory_equal(bytes, "MATLAB 7.3 MAT-file, ", 21);
        assert_memory_equal(bytes + 116, "\0\0\0\0\0\0\0\0\0\2IM", 12);
        assert_memory_equal(bytes + 512, "\x89HDF\r\n\x1a\n\0", 9);     /* superblock version 0 */
        free(bytes);
        hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), d = H5Dopen2(f, kr_meta_get(a->meta, "variable"), H5P_DEFAULT), t = H5Dget_type(d);
        hid_t attr = H5Aopen(d, "MATLAB_class", H5P_DEFAULT), at = H5Aget_type(attr);
        char class[16] = "";
        assert_true(H5Tget_size(at) == 6 && H5Aread(attr, at, class) >= 0 && !strcmp(class, "single"));
        char *part = H5Tget_member_name(t, 0);
        assert_string_equal(part, "real");
        H5free_memory(part);
        H5Tclose(at);
        H5Aclose(attr);
        H5Tclose(t);
        H5Dclose(d);
        H5Fclose(f);
    }
}

static void refusals(void **state)
{
    (void)state;
    NEED_SHARED(full);
    kr_scan *s = NULL;
    assert_true(kr_scan_read(&s, shared(expected), NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "holds an image (img4ranking), no k-space");
    assert_true(kr_scan_read(&s, shared(TREE "2023/MultiCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax_mask.mat"), NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "holds a mask, no k-space");
    assert_true(kr_scan_read(&s, shared(full), NULL, &(kr_read){ .slice_from = 5 }, NULL) < 0);
    assert_refused(KR_ESHAPE, "slices 5 to 2 asked of 3");
    /* whose axes the user names is not taken for the challenge's, and its images are not cut */
    char text[1200];
    snprintf(text, sizeof text, "%s@x,y,coil,slice,time", shared(full));
    kr_scoped(scan) own = scan(text);
    assert_null(kr_meta_get(own->meta, "dataset"));
    /* a mask of another size is left aside, and said */
    kr_scoped(array) m = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 5, [KR_Y] = 6));
    kr_fill(m, 1);
    long n;
    unsigned char *b = slurp(shared(sub04), &n);
    spill(scratch("cine_sax.mat"), b, n);
    free(b);
    b = slurp(shared(TREE "2024/MultiCoil/Cine/ValidationSet/Mask_Task2/P001/cine_sax_mask_ktGaussian4.mat"), &n);
    spill(scratch("cine_sax_mask.mat"), b, n / 2);               /* cut off: this must be said too */
    free(b);
    assert_true(kr_scan_read(&s, scratch("cine_sax.mat"), NULL, NULL, NULL) < 0);
    assert_refused(KR_EFORMAT, "its mask");
    assert_int_equal(kr_array_write(m, NULL, scratch("cine_sax_mask.mat")), 0);
    kr_scoped(scan) other = scan(scratch("cine_sax.mat"));
    assert_null(other->mask);
    unlink(scratch("cine_sax_mask.mat"));
    kr_scoped(scan) header = NULL;
    assert_int_equal(kr_scan_read(&header, shared(gauss4), NULL, &(kr_read){ .header_only = true }, NULL), 0);
    assert_null(header->data);
    assert_non_null(header->mask);
    assert_int_equal(header->shape.n[KR_TIME], 4);
}

static void cut_off(void **state)
{
    (void)state;
    NEED_SHARED(black);
    assert_true(cut_everywhere(shared(black), "%s", 250, read_scan_only) > 240);
    assert_true(cut_everywhere(shared(expected), "%s:img4ranking", 250, read_array_only) > 240);
}

int main(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(years), cmocka_unit_test(by_h5py), cmocka_unit_test(masks_beside), cmocka_unit_test(ranking), cmocka_unit_test(ranking_rule),
        cmocka_unit_test(round_trip), cmocka_unit_test(refusals), cmocka_unit_test(cut_off) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
