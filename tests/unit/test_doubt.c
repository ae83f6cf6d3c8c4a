/* The uncertainty of a network whose image is the zero-filled one, on k-space of white noise: the error is what was not measured, and samples that are left out tell how much that is. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/net.h"
#include "kray/phantom.h"
#include "kray/recon.h"

enum { NX = 64, NY = 48, N = NX * NY, CENTRE = 8 };
static const char file[] = "doubt.safetensors", out[] = "doubt_spread.npy";

/* CascadeNet whose convolutions give 0: k-space stays as it was measured. */
static void weights(void)
{
    kr_weights *w = kr_weights_new();
    const kr_net_kind *kind = kr_net_kind_named("cascadenet");
    assert_true(w && kind && !kr_meta_set(w->meta, "hyper.num_cascades", "1") && !kr_meta_set(w->meta, "hyper.hidden_channels", "2") && !kr_meta_set(w->meta, "hyper.n_convs", "2"));
    assert_int_equal(kind->fresh(w, 1), 0);
    for (long i = 0; i < w->count; i++)
        if (w->tensor[i].dims == 4)
            memset(w->tensor[i].data, 0, (size_t)kr_tensor_count(&w->tensor[i]) * sizeof(float));
    assert_true(!kr_meta_set(w->meta, "network", "cascadenet") && !kr_weights_write(w, file));
    kr_weights_unref(&w);
}

static bool measured(long i, bool lines)
{
    long x = i % NX - NX / 2, y = i / NX - NY / 2;
    bool centre = labs(y) <= CENTRE / 2 && (lines || labs(x) <= CENTRE / 2);
    return centre || kr_rand_uniform(7, 1, (uint64_t)(lines ? i / NX : i)) < 0.5;
}

static void told_by_samples(bool lines)
{
    kr_scan s = { .data = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = 1)), .mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY)), .meta = kr_meta_new(),
                  .whitened = true };
    kr_array *maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = 1));
    double energy = 0, told = 0;
    assert_true(s.data && s.mask && s.meta && maps);
    s.shape = kr_array_shape(s.data);
    for (long i = 0; i < N; i++) {
        double z[2];
        kr_rand_normal2(3, 2, (uint64_t)i, z);
        bool in = measured(i, lines);
        KR_C(s.data)[i] = in ? kr_c((float)z[0], (float)z[1]) : kr_c(0, 0);
        KR_R(s.mask)[i] = in;
        KR_C(maps)[i] = kr_c(1, 0);
        energy += in ? 0 : z[0] * z[0] + z[1] * z[1];
    }
    const kr_recon *m = kr_recon_named("cascadenet");
    void *o = calloc(1, m->opts_size);
    assert_true(o && !kr_opt_defaults(m->opts, o) && !kr_opt_set(m->opts, o, "weights", file) && !kr_opt_set(m->opts, o, "uncertainty", out));
    kr_image *im = NULL, *sd = NULL;
    if (m->run(&im, &s, maps, o, NULL) || kr_image_read(&sd, out))
        fail_msg("%s", kr_error());
    for (long i = 0; i < N; i++)
        told += (double)KR_R(sd->data)[i] * (double)KR_R(sd->data)[i];
    told *= 2 / (0.8 * 0.8);                                     /* of the complex error; 0.8: what recon/doubt.c was calibrated by */
    print_message("%s: energy of the error %.1f, told %.1f\n", lines ? "lines" : "points", energy, told);
    assert_near(told / energy, 1, lines ? 0.1 : 0.08);           /* a few hundred samples of each ring; lines lie apart */
    assert_near(told / energy, lines ? 1.0531 : 0.9596, 3e-4);      /* as it was: which samples are left out */
    kr_image_unref(&im);
    kr_image_unref(&sd);
    free(o);
    kr_array_unref(&s.data);
    kr_array_unref(&s.mask);
    kr_array_unref(&maps);
    kr_meta_unref(&s.meta);
}

static void points(void **state)
{
    (void)state;
    told_by_samples(false);
}

static void lines(void **state)
{
    (void)state;
    told_by_samples(true);
}

static kr_image *reconstructed(const char *method, const char *options, const char *mask)
{
    const kr_phantom *p = kr_phantom_named("brain");
    kr_simulate how = kr_simulate_preset;
    kr_job_opts opts = kr_job_preset();
    opts.undersample = mask;
    opts.prepare.whiten = false;
    how.n[0] = 72;
    how.n[1] = 64;
    how.coils = 6;
    how.snr = 25;
    how.slices = 1;
    how.oversampling = false;
    kr_scan *s = NULL;
    kr_image *im = NULL;
    kr_job *j = kr_job_open(method, options, &opts);
    if (!j || p->measure(&s, &how, NULL) || kr_job_run(j, &im, s, NULL))
        fail_msg("%s: %s", method, kr_error());
    kr_job_unref(&j);
    kr_scan_unref(&s);
    return im;
}

/* The learned regulariser's image beside that of the full scan with its noise: as large in the mean as what is told, and most voxels of the object within twice as much. */
static void learned(void **state)
{
    (void)state;
    enum { W = 72, H = 64 };
    static const char *const masks[] = { "random:accel=3,lines=14,seed=2", "poisson:accel=3,calib=14,axes=xy,seed=2" };
    kr_image *full = reconstructed("adjoint", NULL, NULL);
    kr_scoped(array) size = kr_abs(full->data);
    kr_scoped(array) truth = kr_array_packed(size);
    double top = kr_max_abs(truth);
    for (int k = 0; k < (SANITIZED ? 1 : 2); k++) {
        kr_image *x = reconstructed("wcrr", "uncertainty=doubt_learned.npy", masks[k]), *sd = NULL;
        assert_int_equal(kr_image_read(&sd, "doubt_learned.npy"), 0);
        kr_scoped(array) mine = kr_abs(x->data);
        kr_scoped(array) a = kr_array_packed(mine);
        kr_scoped(array) u = kr_array_packed(sd->data);
        double error = 0, told = 0, inside = 0, within = 0;
        assert_int_equal(kr_count(kr_array_shape(u)), W * H);
        for (long i = 0; i < W * H; i++)
            if ((double)KR_R(truth)[i] > 0.06 * top) {
                double e = fabs((double)KR_R(a)[i] - (double)KR_R(truth)[i]), s = (double)KR_R(u)[i];
                error += e * e;
                told += s * s;
                inside++;
                within += e <= 2 * s;
            }
        print_message("# %s: error %.4f of the largest value, told %.4f; within twice as much %.1f %%\n", masks[k], sqrt(error / inside) / top, sqrt(told / inside) / top, 100 * within / inside);
        assert_true(told > 0.4 * error && told < 3 * error);
        assert_true(within > 0.84 * inside);
        kr_image_unref(&sd);
        kr_image_unref(&x);
    }
    kr_image_unref(&full);
}

int main(void)
{
    weights();
    const struct CMUnitTest tests[] = { cmocka_unit_test(points), cmocka_unit_test(lines), cmocka_unit_test(learned) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
