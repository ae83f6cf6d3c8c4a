/* test_pipelines.c: the small networks of the table through all that stands around them (scale, coil maps, transform, crop), as their configurations may say it, to the
 * image. A new network is here by itself; lines of pipelines.h hold what there was. */
#include <math.h>
#include "netweights.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "files.h"

/* |image| over |zero-filled image|, and its correlation with a fixed pattern, which tells of places and phases; -1: refused. The same on every level of processors and with
 * any number of threads, to rounding; who means to change them prints them anew (FIGURES=1). */
static const struct figure { const char *net; int n; const char *options; double size, pattern; } figures[] = {
#include "pipelines.h"
};

/* What configurations may say of data, one at a time. */
static const struct { const char *around, *options; } ways[] = {
    { NULL, "" }, { "atommic", "fft_centered=false" }, { "atommic", "normalization_type=minmax" }, { "atommic", "normalization_type=none" },
    { "atommic", "fft_normalization=backward" }, { "atommic", "normalization_type=none;fft_normalization=forward" }, { "atommic", "coil_combination_method=RSS" },
    { "atommic", "estimate_coil_sensitivity_maps=true;coil_sensitivity_maps_type=rss" }, { "atommic", "coil_sensitivity_maps_nn_mask_type=1D" },
    { "atommic", "estimate_coil_sensitivity_maps=true;coil_sensitivity_maps_type=rss;coil_sensitivity_maps_gaussian_sigma=0.5;coil_sensitivity_maps_espirit_kernel_size=9" },
    { "direct", "fft_centered=false" }, { "direct", "scale_percentile=0.9" }, { "direct", "sensitivity_maps_gaussian=0" },
};
enum { WAYS = sizeof ways / sizeof *ways };

static kr_scan *measured(void)
{
    kr_scan *s = NULL;
    kr_simulate how = kr_simulate_preset;
    how.n[0] = 44;
    how.n[1] = 40;
    how.slices = 2;
    how.coils = 4;
    how.snr = 50;
    if (kr_phantom_named("brain")->measure(&s, &how, NULL))
        fail_msg("%s", kr_error());
    return s;
}

static kr_image *by(const char *method, const char *weights)
{
    kr_job_opts how = kr_job_preset();
    how.undersample = "equispaced:accel=2,lines=12";
    how.prepare.whiten = false;
    how.phase = true;
    kr_auto char *options = weights ? kr_strf("weights=%s", weights) : NULL;
    kr_scoped(job) j = kr_job_open(method, options, &how);
    kr_scoped(scan) s = measured();
    kr_image *im = NULL;
    return j && !kr_job_run(j, &im, s, NULL) ? im : NULL;
}

static void tell(double *size, double *pattern, const kr_image *im)
{
    kr_scoped(array) x = kr_array_packed(im->data);
    double xx = 0, re = 0, pp = 0;
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++) {
        double z[2];
        kr_rand_normal2(8, 1, (uint64_t)i, z);
        kr_cfloat v = x->type == KR_C32 ? KR_C(x)[i] : kr_c(KR_R(x)[i], 0);
        xx += (double)kr_cabs2(v);
        re += (double)kr_re(v) * (z[0] + 1) + (double)kr_im(v) * (z[1] + 1);
        pp += (z[0] + 1) * (z[0] + 1) + (z[1] + 1) * (z[1] + 1);
    }
    *size = sqrt(xx);
    *pattern = re / sqrt(xx * pp);
}

/* The method that runs a network: of its name, or of what stands before "_direct". */
static const char *method_of(const char *net)
{
    static char word[64];
    snprintf(word, sizeof word, "%s", net);
    if (strstr(word, "_direct"))
        *strstr(word, "_direct") = 0;
    return kr_recon_named(net) ? net : kr_recon_named(word) ? word : NULL;
}

static void as_it_was(void **state)
{
    (void)state;
    kr_scoped(image) zero = by("adjoint", NULL);
    double whole, size, pattern;
    int tried = 0;
    assert_non_null(zero);
    tell(&whole, &pattern, zero);
    for (int kind = 0; kind < kinds(); kind++) {
        const kr_net_kind *k = kr_net_kind_named(word_of(kind));
        const char *method = method_of(k->name);
        int n = 0;
        for (int before = 0; before < kind; before++)
            n += !strcmp(word_of(before), k->name);
        for (int way = 0; way < WAYS; way++) {
            if (!method || k->denoises || k->judges || k->rays_alone || (ways[way].around && strcmp(ways[way].around, k->around)))
                continue;
            kr_weights *w = small(kind);
            assert_int_equal(kr_meta_set(w->meta, "network", "%s", k->name), 0);
            for (const char *p = ways[way].options; p && *p; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL) {
                char key[80], value[80];
                assert_int_equal(sscanf(p, "%79[^=]=%79[^;]", key, value), 2);
                kr_auto char *of = kr_strf("hyper.%s", key);
                assert_int_equal(kr_meta_set(w->meta, of, "%s", value), 0);
            }
            const char *path = scratch("small.safetensors");
            assert_int_equal(kr_weights_write(w, path), 0);
            kr_weights_unref(&w);
            kr_scoped(image) im = by(method, path);
            if (im)
                tell(&size, &pattern, im);
            size = im ? size / whole : -1;
            pattern = im ? pattern : -1;
            tried++;
            if (getenv("FIGURES")) {
                printf("# FIGURE { \"%s\", %d, \"%s\", %.5g, %.5f },%s%s\n", k->name, n, ways[way].options, size, pattern, im ? "" : " // ", im ? "" : kr_error());
                kr_error_clear();
                continue;
            }
            kr_error_clear();
            const struct figure *f = NULL;
            for (size_t i = 0; i < sizeof figures / sizeof *figures && !f; i++)
                f = !strcmp(figures[i].net, k->name) && figures[i].n == n && !strcmp(figures[i].options, ways[way].options) ? &figures[i] : NULL;
            if (f && (fabs(size - f->size) > 0.005 * fabs(f->size) || fabs(pattern - f->pattern) > 0.002))
                fail_msg("%s %d %s: size %.5g, pattern %.5f; it was %.5g, %.5f", k->name, n, ways[way].options, size, pattern, f->size, f->pattern);
            assert_true(f || !im || (isfinite(size) && size > 0));
        }
    }
    assert_true(tried > kinds() / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_it_was) };
    return cmocka_run_group_tests_name("pipelines", tests, NULL, NULL);
}
