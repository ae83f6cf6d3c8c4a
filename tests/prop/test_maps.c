/* test_maps.c: coil maps by every method and option, and noise maps by the formulas of methods and by replicas, on planes, volumes and few coils: what they gave. What they are worth, tests/unit/test_coils.c
 * and test_noise.c say. */
#include "held.h"
#include "kray/phantom.h"
#include "kray/recon.h"

static const figure figures[] = {
#include "maps.h"
};
static void as_was(const char *name, const char *way, double size, double pattern, double most) { held(figures, sizeof figures / sizeof *figures, name, way, size, pattern, most); }

static const struct scan { const char *name; long n[3], coils, slices; const char *mask; } scans[] = {
    { "plane", { 41, 46, 1 }, 6, 1, NULL }, { "two slices of lines", { 38, 45, 1 }, 5, 2, "equispaced:accel=2,lines=15" }, { "volume", { 16, 18, 13 }, 4, 1, "poisson:accel=2,calib=9,axes=yz,seed=7" },
    { "points", { 44, 40, 1 }, 9, 1, "poisson:accel=2,calib=17,axes=xy,seed=3" }, { "every third line", { 45, 48, 1 }, 7, 1, "equispaced:accel=3,lines=18" },
};

static kr_scan *measured(const struct scan *z)
{
    kr_simulate how = kr_simulate_preset;
    for (int d = 0; d < 3; d++)
        how.n[d] = z->n[d];
    how.slices = z->slices;
    how.coils = z->coils;
    how.snr = 40;
    how.oversampling = false;
    kr_scan *s = NULL;
    if (kr_phantom_named("brain")->measure(&s, &how, NULL))
        fail_msg("%s", kr_error());
    if (z->mask) {
        kr_scoped(array) m = kr_mask_new(z->mask, s->shape, NULL);
        if (!m || kr_scan_undersample(s, m))
            fail_msg("%s", kr_error());
    }
    return s;
}

static void of_coils(void **state)
{
    (void)state;
    static const struct { const char *word; kr_coils_opts o; } ways[] = {
        { "preset", { .kernel = 6, .crop = -1, .maps = 1 } }, { "8 x 7", { .kernel = 5, .crop = -1, .maps = 1, .calib = { 8, 7, 7 } } }, { "two sets", { .kernel = 4, .crop = 0.5, .maps = 2 } },
        { "soft", { .kernel = 6, .crop = -1, .maps = 1, .soft = true } }, { "prior", { .kernel = 3, .crop = -1, .maps = 1, .prior = true } }, { "threshold", { .kernel = 6, .crop = 0.3, .maps = 1, .threshold = 0.003 } },
    };
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
        kr_scoped(scan) s = measured(&scans[i]);
        for (int m = 0; kr_coil_methods[m]; m++)
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                kr_coils_opts o = ways[w].o;
                o.method = kr_coil_methods[m]->name;
                kr_scoped(array) maps = kr_coils_estimate(s, &o, NULL);
                double size = -1, pattern = -1;
                if (maps)
                    tell(&size, &pattern, (const float *)maps->data, 2 * kr_count(kr_array_shape(maps)), 1);
                else if (getenv("FIGURES"))
                    printf("# %s\n", kr_error());
                kr_error_clear();
                kr_auto char *name = kr_strf("%s, %s", scans[i].name, o.method);
                as_was(name, ways[w].word, size, pattern, 3e-4);
            }
    }
}

static void of_noise(void **state)
{
    (void)state;
    static const struct { const char *method, *options[3][2]; } by[] = {
        { "sense", { { "lambda", "0.01" } } }, { "sense", { { "lambda", "0" } } }, { "grappa", { { "kernel", "5" } } }, { "grappa", { { "kernel", "3" }, { "neighbours", "2" }, { "floor", "0.5" } } },
        { "spirit", { { "l1", "0" }, { "iterations", "4" } } }, { "rss", { { NULL } } }, { "adjoint", { { NULL } } },
    };
    kr_coils_opts c = kr_coils_preset;
    c.crop = 0;
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
        kr_scoped(scan) first = measured(&scans[i]);
        kr_scoped(array) maps = kr_coils_estimate(first, &c, NULL);
        for (size_t k = 0; k < sizeof by / sizeof *by; k++)
            for (long replicas = kr_recon_named(by[k].method)->deviation ? 0 : 2; replicas < 3; replicas += 2) {
                kr_scoped(scan) s = measured(&scans[i]);
                const kr_recon *m = kr_recon_named(by[k].method);
                kr_auto char *name = kr_strf("%s, %s", scans[i].name, m->name), *way = kr_strf("%s %s, %ld", by[k].options[0][0] ? by[k].options[0][0] : "", by[k].options[0][0] ? by[k].options[0][1] : "", replicas);
                void *o = kr_alloc_zero(1, m->opts_size + 1);
                assert_true(maps && o && !kr_opt_defaults(m->opts, o));
                for (int q = 0; q < 3 && by[k].options[q][0]; q++)
                    assert_int_equal(kr_opt_set(m->opts, o, by[k].options[q][0], by[k].options[q][1]), 0);
                kr_image *sd = NULL;
                double size = -1, pattern = -1;
                if (!kr_noise_map(&sd, s, maps, &c, &(kr_noise){ m, o, replicas, 3, 1 }, NULL)) {
                    tell(&size, &pattern, KR_R(sd->data), kr_count(kr_array_shape(sd->data)), 1);
                    kr_image_unref(&sd);
                } else if (getenv("FIGURES"))
                    printf("# %s\n", kr_error());
                kr_error_clear();
                as_was(name, way, size, pattern, 3e-4);
                kr_free(o);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(of_coils), cmocka_unit_test(of_noise) };
    return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
