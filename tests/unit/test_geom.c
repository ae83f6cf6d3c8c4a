/* test_geom.c: where voxels are: affines against the published cases (FFT-centre rule), and against the formula
 * of image.h for slices. */
#include "test.h"
#include "kray/image.h"
#include <jansson.h>

static void numbers(double *to, json_t *from, int n)
{
    assert_int_equal(json_array_size(from), n);
    for (int i = 0; i < n; i++)
        to[i] = json_number_value(json_array_get(from, (size_t)i));
}

static void test_cases(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays/orientation_cases.json");
    json_error_t e;
    json_t *all = json_load_file(shared("samples/arrays/orientation_cases.json"), 0, &e);
    assert_true(json_array_size(all) >= 4);
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *one = json_array_get(all, i), *want = json_object_get(json_object_get(one, "ras_affine"), "fft_centre");
        kr_scoped(geom) g = kr_geom_new(1);
        double matrix[3], affine[16];
        numbers(g->position_mm[0], json_object_get(one, "position"), 3);
        numbers(g->read_dir, json_object_get(one, "read_dir"), 3);
        numbers(g->phase_dir, json_object_get(one, "phase_dir"), 3);
        numbers(g->slice_dir, json_object_get(one, "slice_dir"), 3);
        numbers(g->fov_mm, json_object_get(one, "field_of_view"), 3);
        numbers(matrix, json_object_get(one, "matrix_size"), 3);
        assert_int_equal(kr_geom_affine(g, (const long[]){ (long)matrix[0], (long)matrix[1], (long)matrix[2] }, affine), 0);
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 4; c++)
                assert_near(affine[4 * r + c], json_number_value(json_array_get(json_array_get(want, (size_t)r), (size_t)c)), 1e-9);
    }
    json_decref(all);
}

/* Oblique slices: voxel (i,j) of slice k is at position[k] + (i - nx/2) dx r + (j - ny/2) dy p, whatever lies between slices. */
static kr_geom *oblique(long slices, double gap)
{
    kr_geom *g = kr_geom_new(slices);
    double c = cos(0.4), s = sin(0.4);
    const double dir[3][3] = { { c, s, 0 }, { 0, 0, -1 }, { -s, c, 0 } };
    memcpy(g->read_dir, dir[0], sizeof dir[0]);
    memcpy(g->phase_dir, dir[1], sizeof dir[1]);
    memcpy(g->slice_dir, dir[2], sizeof dir[2]);
    g->fov_mm[0] = 210;
    g->fov_mm[1] = 160;
    g->fov_mm[2] = 3;
    for (long k = 0; k < slices; k++)
        for (int d = 0; d < 3; d++)
            g->position_mm[k][d] = 5 - d + gap * (double)k * dir[2][d];
    return g;
}

static void check_voxels(const kr_geom *g, const long n[3])
{
    double m[16];
    assert_int_equal(kr_geom_affine(g, n, m), 0);
    for (long k = 0; k < g->slices; k++)
        for (int corner = 0; corner < 4; corner++) {
            double i = corner & 1 ? (double)(n[0] - 1) : 0, j = corner & 2 ? (double)(n[1] - 1) : 0;
            for (int d = 0; d < 3; d++) {
                double lps = g->position_mm[k][d] + (i - (double)(n[0] / 2)) * g->fov_mm[0] / (double)n[0] * g->read_dir[d]
                           + (j - (double)(n[1] / 2)) * g->fov_mm[1] / (double)n[1] * g->phase_dir[d];
                assert_near(m[4 * d] * i + m[4 * d + 1] * j + m[4 * d + 2] * (double)k + m[4 * d + 3], d < 2 ? -lps : lps, 1e-9);
            }
        }
}

static void test_slices(void **state)
{
    (void)state;
    kr_scoped(geom) near = oblique(5, 4.5);
    kr_scoped(geom) far = oblique(4, -7);                    /* against slice_dir: the positions say where slices are */
    check_voxels(near, (const long[]){ 70, 81, 1 });
    check_voxels(far, (const long[]){ 7, 8, 1 });
    double m[16];
    near->position_mm[2][1] += 2;                            /* one slice out of line */
    assert_int_equal(kr_geom_affine(near, (const long[]){ 70, 81, 1 }, m), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "equal spacing");
    kr_scoped(geom) same = oblique(3, 0);                    /* all in one place: stacked by thickness, along slice_dir */
    assert_int_equal(kr_geom_affine(same, (const long[]){ 10, 10, 1 }, m), 0);
    assert_near(m[2], 3 * sin(0.4), 1e-9);
    assert_near(m[6], -3 * cos(0.4), 1e-9);
    same->spacing_mm = 5;
    assert_int_equal(kr_geom_affine(same, (const long[]){ 10, 10, 1 }, m), 0);
    assert_near(m[2], 5 * sin(0.4), 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_slices) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
