/* test_png.c: pictures: what lies where, windows, colours, notes inside, and masks that come back. */
#include "test.h"
#include "files.h"
#include "kray/picture.h"
#include <png.h>

/* The pixels as libpng's own simple reader sees them, grey. */
static unsigned char *pixels(const char *path, long *w, long *h)
{
    png_image im = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_file(&im, path))
        fail_msg("%s: %s", path, im.message);
    im.format = PNG_FORMAT_GRAY;
    unsigned char *p = malloc(PNG_IMAGE_SIZE(im));
    assert_int_equal(png_image_finish_read(&im, NULL, p, 0, NULL), 1);
    *w = im.width;
    *h = im.height;
    return p;
}

/* Without geometry, X runs down and Y to the right; slices are tiles. */
static void test_matrix(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 3, [KR_Y] = 5, [KR_SLICE] = 2));
    for (long i = 0; i < 30; i++)
        KR_C(a)[i] = kr_c(0, -(float)i);
    kr_image *im = kr_image_new(a, NULL, NULL);
    assert_int_equal(kr_image_write(im, scratch("a.png"), NULL), 0);
    kr_image_unref(&im);
    long w, h;
    unsigned char *p = pixels(scratch("a.png"), &w, &h);
    /* 2 tiles of 5 x 3: sqrt(2 * 3/5) = 1.1, so 2 across. */
    assert_int_equal(w, 5 + 2 + 5);
    assert_int_equal(h, 3);
    for (long s = 0; s < 2; s++)
        for (long y = 0; y < 5; y++)
            for (long x = 0; x < 3; x++)
                assert_near(p[x * w + s * 7 + y], 255 * (double)(x + 3 * y + 15 * s) / 29, 0.51);   /* rounded to 8 bits */
    assert_int_equal(p[5] | p[6], 0);
    free(p);
}

/* Where the patient is known: his left to the right, his face up, whatever way the readout ran. */
static void test_radiological(void **state)
{
    (void)state;
    static const struct { double r[3], p[3]; int down, right; bool flip_down, flip_right; } want[] = {
        { { 1, 0, 0 }, { 0, 1, 0 }, KR_Y, KR_X, false, false },        /* axial, readout to the left of the patient */
        { { -1, 0, 0 }, { 0, -1, 0 }, KR_Y, KR_X, true, true },
        { { 0, -1, 0 }, { 1, 0, 0 }, KR_X, KR_Y, true, false },        /* axial, readout to the face                */
        { { 0, 0, 1 }, { 1, 0, 0 }, KR_X, KR_Y, true, false },         /* coronal, readout to the head              */
        { { 0, 0, -1 }, { 0, 1, 0 }, KR_X, KR_Y, false, false },       /* sagittal, readout to the feet             */
        { { 0.9, 0.1, 0 }, { -0.1, 0.9, 0.3 }, KR_Y, KR_X, false, false } };   /* tilted                            */
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4));
        kr_scoped(geom) g = kr_geom_new(1);
        g->known = true;
        memcpy(g->read_dir, want[i].r, sizeof g->read_dir);
        memcpy(g->phase_dir, want[i].p, sizeof g->phase_dir);
        kr_view v;
        kr_view_of(&v, a, g);
        if (v.down != want[i].down || v.right != want[i].right || v.flip_down != want[i].flip_down || v.flip_right != want[i].flip_right)
            fail_msg("case %zu: down %s%s, right %s%s", i, v.flip_down ? "-" : "", kr_axis_name(v.down), v.flip_right ? "-" : "",
                     kr_axis_name(v.right));
    }
    kr_scoped(array) one = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2, [KR_Y] = 2));
    kr_scoped(geom) g = kr_geom_new(1);
    g->known = true;
    g->read_dir[0] = -1;
    KR_R(one)[0] = 1;                               /* the voxel furthest to the left of the patient, on the page at the right */
    kr_scoped(picture) p = kr_picture_draw(one, g, 0, 1, KR_GREY, 0, NULL);
    assert_int_equal(p->pixel[0], 0);
    assert_int_equal(p->pixel[1], 255);
}

/* The level is what sorting gives: the 995th of 1000 values in disorder. */
static void test_level(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1002));
    for (long i = 0; i < 1000; i++)
        KR_R(a)[i] = (i & 1 ? -1.f : 1.f) * (1 + 0.001f * (float)(i * 7919 % 1000));
    KR_R(a)[1000] = NAN;
    KR_R(a)[1001] = INFINITY;
    assert_true(kr_picture_level(a, 0.995) == (double)(1 + 0.001f * 994));
    assert_true(kr_picture_level(a, 1) == (double)(1 + 0.001f * 999));
    assert_true(kr_picture_level(a, 0) == 1);
    kr_fill(a, 0);
    assert_true(kr_picture_level(a, 0.995) == 0);
}

static void test_palettes(void **state)
{
    (void)state;
    unsigned char c[3];
    static const struct { enum kr_palette p; double t; unsigned char rgb[3]; } want[] = {
        { KR_GREY, 0.5, { 128, 128, 128 } }, { KR_GREY, 7, { 255, 255, 255 } }, { KR_GREY, -7, { 0, 0, 0 } },
        { KR_HOT, 0, { 0, 0, 0 } }, { KR_HOT, 0.4, { 255, 0, 0 } }, { KR_HOT, 0.8, { 255, 255, 0 } }, { KR_HOT, 1, { 255, 255, 255 } },
        { KR_SIGNED, 0.5, { 255, 255, 255 } }, { KR_GREY, NAN, { 255, 0, 255 } } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        kr_palette_rgb(want[i].p, want[i].t, c);
        assert_memory_equal(c, want[i].rgb, 3);
    }
    kr_palette_rgb(KR_SIGNED, 0, c);
    assert_true(c[2] > c[0]);
    kr_palette_rgb(KR_SIGNED, 1, c);
    assert_true(c[0] > c[2]);
}

/* A map has a bar below it, from one end of the palette to the other, and numbers that can be read: "0" at its left. */
static void test_bar(void **state)
{
    (void)state;
    static const char zero[] = "111101101101111";
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 40, [KR_Y] = 120));
    for (long i = 0; i < 4800; i++)
        KR_R(a)[i] = 2;
    kr_image *im = kr_image_new(a, NULL, NULL);
    assert_int_equal(kr_meta_set(im->meta, "map", "g-factor"), 0);
    assert_int_equal(kr_image_write(im, scratch("g.png"), NULL), 0);
    long w, h;
    unsigned char *p = pixels(scratch("g.png"), &w, &h);
    assert_true(w == 120 && h == 40 + 12 + 8 + 10);
    assert_true(p[48 * w] == 0 && p[48 * w + w - 1] == 255);                         /* the bar's ends */
    for (long x = 1; x < w; x++)
        assert_true(p[48 * w + x] >= p[48 * w + x - 1]);
    for (int d = 0; d < 15; d++)
        assert_int_equal(p[(60 - 4 + d / 3 * 2) * w + d % 3 * 2] > 0, zero[d] == '1');
    free(p);
    kr_image_unref(&im);
}

/* Masks of any axes come back as they were. */
static void test_masks(void **state)
{
    (void)state;
    static const kr_shape shape[] = { KR_SHAPE([KR_Y] = 37), KR_SHAPE([KR_X] = 9), KR_SHAPE([KR_Y] = 12, [KR_Z] = 7), KR_SHAPE([KR_Y] = 12, [KR_TIME] = 5),
                                      KR_SHAPE([KR_X] = 4, [KR_Y] = 6, [KR_Z] = 3, [KR_TIME] = 5), KR_SHAPE([KR_Y] = 20, [KR_Z] = 8, [KR_TIME] = 7) };
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
        kr_scoped(array) a = kr_array_new(KR_R32, shape[k]);
        for (long i = 0; i < kr_count(shape[k]); i++)
            KR_R(a)[i] = (float)(kr_rand_bits(k, 5, (uint64_t)i) & 1);
        assert_int_equal(kr_array_write(a, NULL, scratch("m.png")), 0);
        kr_scoped(array) b = NULL;
        assert_int_equal(kr_array_read(&b, scratch("m.png")), 0);
        assert_string_equal(kr_shape_text(kr_array_shape(b)), kr_shape_text(shape[k]));
        assert_memory_equal(a->data, b->data, (size_t)kr_count(shape[k]) * 4);
    }
    /* Someone else's: white lines on black, axes named by the user. */
    kr_scoped(picture) p = kr_picture_new(4, 3, 3);
    for (int y = 0; y < 3; y++)
        memset(p->pixel + 3 * (4 * y + 2), 255, 3);
    kr_text t = { 0 };
    assert_int_equal(kr_picture_png(&t, p, NULL, NULL), 0);
    FILE *f = fopen(scratch("other.png"), "wb");
    fwrite(t.s, 1, t.len, f);
    fclose(f);
    kr_scoped(array) c = NULL;
    char source[300];
    snprintf(source, sizeof source, "%s@y,z", scratch("other.png"));
    assert_int_equal(kr_array_read(&c, source), 0);
    assert_string_equal(kr_shape_text(kr_array_shape(c)), "{y=3 z=4}");
    for (long i = 0; i < 12; i++)
        assert_true(KR_R(c)[i] == (i / 3 == 2));
    /* Cut at any length, it is refused. */
    for (size_t n = 1; n < t.len; n++) {
        f = fopen(scratch("cut.png"), "wb");
        fwrite(t.s, 1, n, f);
        fclose(f);
        kr_scoped(array) d = NULL;
        assert_true(kr_array_read(&d, scratch("cut.png")) < 0);
        assert_null(d);
    }
    kr_text_clear(&t);
}

static void test_notes(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 8, [KR_Y] = 4));
    fill_random(a, 1);
    kr_scoped(meta) m = kr_meta_new();
    assert_int_equal(kr_meta_set(m, "command", "kray recon a.h5 -o b.png"), 0);
    assert_int_equal(kr_meta_set(m, "patient", "J\xc3\xb6rg"), 0);
    kr_scoped(geom) g = kr_geom_new(1);
    g->known = true;
    g->fov_mm[0] = 16;
    g->fov_mm[1] = 4;
    kr_image *im = kr_image_new(a, g, m);
    assert_int_equal(kr_image_write(im, scratch("n.png"), NULL), 0);
    kr_image_unref(&im);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    FILE *f = fopen(scratch("n.png"), "rb");
    png_init_io(png, f);
    png_read_png(png, info, 0, NULL);
    fclose(f);
    png_textp t;
    int n = 0, seen = 0;
    png_get_text(png, info, &t, &n);
    for (int i = 0; i < n; i++)
        seen += !strcmp(t[i].key, "Software") && !strncmp(t[i].text, "Kray ", 5) ? 1
              : !strcmp(t[i].key, "command") && !strcmp(t[i].text, "kray recon a.h5 -o b.png") ? 10
              : !strcmp(t[i].key, "patient") && !strcmp(t[i].text, "J\xc3\xb6rg") ? 100 : 0;
    assert_int_equal(seen, 111);
    assert_int_equal(png_get_x_pixels_per_meter(png, info), 500);
    assert_int_equal(png_get_y_pixels_per_meter(png, info), 1000);
    png_destroy_read_struct(&png, &info, NULL);
}

/* 10000 frames of 300 x 300 would be 30000 pixels wide and high: they are thinned out, not refused. */
static void test_many(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 300, [KR_Y] = 300));
    kr_fill(a, 1);
    kr_scoped(array) many = kr_array_spread(a, KR_SHAPE([KR_X] = 300, [KR_Y] = 300, [KR_TIME] = 10000));
    long grid[2];
    kr_scoped(picture) p = kr_picture_draw(many, NULL, 0, 1, KR_GREY, 0, grid);
    assert_non_null(p);
    assert_true(p->w <= 1 << 13 && p->h <= 1 << 13);
    assert_int_equal(grid[0], 27);
    assert_int_equal(grid[1], 27 * 27);
    kr_scoped(array) wide = kr_array_spread(a, KR_SHAPE([KR_X] = 300, [KR_Y] = 300));
    kr_array_unref(&wide);
    wide = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 20000, [KR_Y] = 2));
    assert_null(kr_picture_draw(wide, NULL, 0, 1, KR_GREY, 0, NULL));
    assert_refused(KR_EREFUSED, "too large for a picture");
}

static void test_refusals(void **state)
{
    (void)state;
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4));
    fill_random(a, 2);
    assert_int_equal(kr_array_write(a, NULL, scratch("g.png")), 0);        /* a map, not a mask */
    kr_scoped(array) b = NULL;
    assert_true(kr_array_read(&b, scratch("g.png")) < 0);
    assert_refused(KR_EFORMAT, "a mask is black and white");
    static const char *const layout[] = { "x=4 y=4 across=2", "x=4 y=4", "x=9 y=9 x=4 across=1", "y=2 x=4 time=0 across=1", "- -",
                                          "x=4 y=4 time=16777216 phase=16777216 set=16777216 across=1", "x=4 q=4 across=1", "" };
    for (int i = 0; i < 8; i++) {
        kr_scoped(picture) p = kr_picture_new(4, 4, 1);
        kr_scoped(meta) m = kr_meta_new();
        assert_int_equal(kr_meta_set(m, "Layout", "%s", layout[i]), 0);
        kr_text t = { 0 };
        assert_int_equal(kr_picture_png(&t, p, m, NULL), 0);
        FILE *f = fopen(scratch("l.png"), "wb");
        fwrite(t.s, 1, t.len, f);
        fclose(f);
        kr_text_clear(&t);
        assert_true(kr_array_read(&b, scratch("l.png")) < 0);
        assert_refused(KR_EFORMAT, "layout");
    }
    char source[300];
    snprintf(source, sizeof source, "%s@y", scratch("g.png"));
    assert_true(kr_array_read(&b, source) < 0);
    assert_refused(KR_EUSAGE, "two axes to name");
    assert_null(kr_picture_new(1 << 20, 1 << 20, 3));
    assert_refused(KR_EREFUSED, "makes no sense");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix), cmocka_unit_test(test_radiological), cmocka_unit_test(test_level), cmocka_unit_test(test_palettes),
        cmocka_unit_test(test_masks), cmocka_unit_test(test_bar), cmocka_unit_test(test_notes), cmocka_unit_test(test_many), cmocka_unit_test(test_refusals) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
