/* test_kinds.c: what must hold for every kind of sampling mask and of trajectory. A new kind is here by itself. */
#include "test.h"
#include "kray/base.h"
#include "kray/sampling.h"
#include "kray/trajectory.h"

/* Kinds without an acceleration measure everything. */
static bool thins(const char *keys) { return strstr(keys, "accel") != NULL; }

static kr_array *mask_of(const char *kind, const char *keys, const char *more, kr_shape s)
{
    char spec[200];
    snprintf(spec, sizeof spec, "%s%s%s", kind, thins(keys) ? ":accel=4" : "", more);
    kr_array *m = kr_mask_new(spec, s, NULL);
    if (!m)
        fail_msg("%s: %s", spec, kr_error());
    return m;
}

static bool same(const kr_array *a, const kr_array *b)
{
    return kr_shape_equal(kr_array_shape(a), kr_array_shape(b))
        && !memcmp(a->data, b->data, (size_t)kr_count(kr_array_shape(a)) * sizeof(float));
}

/* Index of the centre of k-space in a mask, of its first frame. */
static long centre_of(const kr_array *m)
{
    long at = 0;
    for (int d = KR_X; d <= KR_Z; d++)
        at += m->n[d] / 2 * m->step[d];
    return at;
}

static void masks_thin_out_and_keep_the_centre(void **state)
{
    (void)state;
    const kr_shape plane = KR_SHAPE([KR_X] = 224, [KR_Y] = 256), volume = KR_SHAPE([KR_X] = 8, [KR_Y] = 192, [KR_Z] = 160),
                   series = KR_SHAPE([KR_X] = 224, [KR_Y] = 256, [KR_TIME] = 3);
    const kr_shape grids[] = { plane, volume, series };
    const char *name, *keys;
    int kinds = 0;
    for (; (name = kr_mask_kind(kinds, NULL, &keys)); kinds++)
        for (int g = 0; g < 3; g++) {
            kr_scoped(array) m = mask_of(name, keys, "", grids[g]);
            kr_scoped(array) again = mask_of(name, keys, "", grids[g]);
            long n = kr_count(kr_array_shape(m));
            for (long i = 0; i < n; i++)
                if (KR_R(m)[i] != 0 && KR_R(m)[i] != 1)
                    fail_msg("%s: %g at %ld", name, (double)KR_R(m)[i], i);
            kr_mask_facts f;
            assert_int_equal(kr_mask_describe(&f, m, grids[g]), 0);
            print_message("# %-20s %-34s %.2f\n", name, kr_shape_text(kr_array_shape(m)), f.accel);
            /* Published kinds add a full centre to every R-th line, and kt_radial counts its spokes for grids of some 250 points: of these
             * grids less is left out. Drawn ones scatter about R. */
            if (thins(keys) ? !(f.accel > 2 && f.accel < 5) : f.accel != 1)
                fail_msg("%s: accelerated %.2f times", name, f.accel);
            if (KR_R(m)[centre_of(m)] != 1)
                fail_msg("%s: the centre of k-space is left out", name);
            if (!same(m, again))
                fail_msg("%s: the same words give another mask", name);
            if (strstr(keys, "seed") && g == 2) {
                kr_scoped(array) other = mask_of(name, keys, ",seed=5", grids[g]);
                kr_scoped(array) third = mask_of(name, keys, ",seed=6", grids[g]);
                if (same(m, other) && same(m, third))
                    fail_msg("%s: the seed changes nothing", name);
            }
            char spec[80];
            snprintf(spec, sizeof spec, "%s%s", name, thins(keys) ? ":accel=4" : "");
            kr_scoped(array) calib = NULL;
            assert_int_equal(kr_mask_calib(&calib, spec, grids[g], NULL), 0);
            for (long i = 0; calib && g < 2 && i < n; i++)         /* a series has it once, frames come after what it has */
                if (KR_R(calib)[i] != 0 && KR_R(m)[i] != 1)
                    fail_msg("%s: calibration is said to be where nothing is measured", name);
        }
    assert_true(kinds > 5 && !kr_mask_kind(kinds, NULL, NULL));
}

static void masks_know_their_words_alone(void **state)
{
    (void)state;
    const char *name, *keys, *summary;
    kr_text help = { 0 };
    kr_mask_kinds(&help);
    for (int i = 0; (name = kr_mask_kind(i, &summary, &keys)); i++) {
        char spec[80];
        assert_true(kr_mask_is_spec(name) && strstr(help.s, name) && strstr(help.s, summary) && strstr(help.s, keys));
        for (int k = i + 1; kr_mask_kind(k, NULL, NULL); k++)
            assert_string_not_equal(name, kr_mask_kind(k, NULL, NULL));
        snprintf(spec, sizeof spec, "%s:colour=red", name);
        assert_null(kr_mask_new(spec, KR_SHAPE([KR_X] = 224, [KR_Y] = 256), NULL));
        assert_refused(KR_EUSAGE, "have no 'colour'");
        snprintf(spec, sizeof spec, "%s:accel=0.5", name);
        assert_null(kr_mask_new(spec, KR_SHAPE([KR_X] = 224, [KR_Y] = 256), NULL));
        assert_refused(KR_EUSAGE, "accel");
    }
    kr_text_clear(&help);
}

/* Samples lie within the k-space of the matrix, one of them at or beside its centre. */
static void trajectories_stay_in_k_space(void **state)
{
    (void)state;
    const char *name, *summary;
    kr_text help = { 0 };
    kr_traj_kinds(&help);
    int kinds = 0;
    for (; (name = kr_traj_kind(kinds, &summary, NULL)); kinds++) {
        assert_true(kr_traj_is_spec(name) && strstr(help.s, summary));
        kr_traj_want plane = { .n = { 64, 64, 1 }, .fov_mm = { 220, 220, 220 } }, volume = { .n = { 64, 64, 64 }, .fov_mm = { 220, 220, 220 } };
        kr_scoped(array) k = kr_traj_new(name, &plane);
        if (!k) {                                                  /* then it runs through a volume */
            kr_error_clear();
            k = kr_traj_new(name, &volume);
        }
        if (!k)
            fail_msg("%s: %s", name, kr_error());
        long dims = k->n[KR_CHAN], n = kr_count(kr_array_shape(k)) / dims;
        double most = 0, least = INFINITY;
        for (long i = 0; i < n; i++) {
            double r = 0;
            for (long d = 0; d < dims; d++) {
                double x = (double)KR_R(k)[d * n + i];
                most = fmax(most, fabs(x));
                r += x * x;
            }
            least = fmin(least, sqrt(r));
        }
        print_message("# %-12s %-40s largest %.3f, smallest %.3f\n", name, kr_shape_text(kr_array_shape(k)), most, least);
        if (!(most <= 32.01 && most > 28 && least < 1))
            fail_msg("%s: largest coordinate %.3f of 32, nearest to the centre %.3f", name, most, least);
    }
    kr_text_clear(&help);
    assert_true(kinds > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(masks_thin_out_and_keep_the_centre), cmocka_unit_test(masks_know_their_words_alone),
                                        cmocka_unit_test(trajectories_stay_in_k_space) };
    return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
