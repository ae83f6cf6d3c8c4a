/* Training: the same bits for any number of threads and after an interruption; it learns; configurations and refusals; volumes by person. */
#include "test.h"
#include "files.h"
#include "kray/io.h"
#include "kray/learn.h"
#include "kray/net.h"
#include "kray/phantom.h"
#include <math.h>
#include <sys/stat.h>

enum { N = 72, SLICES = 15 };

/* A path that stays. */
static const char *test_file(const char *name)
{
    static char *kept[64];
    static int count;
    const char *path = *name ? scratch(name) : scratch_folder;
    for (int i = 0; i < count; i++)
        if (!strcmp(kept[i], path))
            return kept[i];
    assert_true(count < 64);
    return kept[count++] = strdup(path);
}

/* A head of a kind: ellipses, another one for each seed. */
static void volume(const char *path, uint64_t seed)
{
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_SLICE] = SLICES));
    for (long e = 0; e < 14; e++) {
        double c[2], r[2], v = e ? kr_rand_uniform(seed, 1, (uint64_t)e) - 0.3 : 1;
        for (int d = 0; d < 2; d++) {
            c[d] = e ? 0.9 * (kr_rand_uniform(seed, 2 + (uint64_t)d, (uint64_t)e) - 0.5) : 0;
            r[d] = e ? 0.05 + 0.25 * kr_rand_uniform(seed, 4 + (uint64_t)d, (uint64_t)e) : 0.8 + 0.1 * d;
        }
        for (long i = 0; i < N * N * SLICES; i++) {
            double x = 2.0 * (double)(i % N) / N - 1, y = 2.0 * (double)(i / N % N) / N - 1, z = 1 + 0.01 * (double)(i / N / N);
            if (pow((x - c[0]) / r[0] / z, 2) + pow((y - c[1]) / r[1], 2) < 1)
                KR_R(a)[i] += (float)v;
        }
    }
    for (long i = 0; i < N * N * SLICES; i++)
        KR_R(a)[i] = fmaxf(0, KR_R(a)[i]);
    kr_scoped(image) im = kr_image_new(a, NULL, NULL);
    assert_int_equal(kr_image_write(im, path, NULL), 0);
}

static kr_learn small(const char *output)
{
    kr_learn o = { 0 };
    assert_int_equal(kr_opt_defaults(kr_learn_opts, &o), 0);
    o.output = output;
    scratch("");
    o.folder = test_file("");
    o.images = "one.nii, two.nii, three.nii";
    o.size = "cascades=2,channels=4,pools=1";
    o.hold_back = 0.3;
    o.slices = o.first = 3;
    o.strip = 24;
    o.steps = 6;
    o.batch = 1;
    o.save = 3;
    o.validate = 3;
    o.validation = 1;
    o.warmup = 2;
    o.rate = 3e-3;
    o.noise = "0.005,0.02";
    o.cache = test_file("slices");
    return o;
}

static void made(void)
{
    static bool there;
    if (!there) {
        volume(test_file("one.nii"), 1);
        volume(test_file("two.nii"), 2);
        volume(test_file("three.nii"), 3);
    }
    there = true;
}

static char *weights_of(const char *folder)
{
    kr_weights *w = NULL;
    char path[400];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", folder);
    if (kr_weights_read(&w, path))
        fail_msg("%s", kr_error());
    char *digest = strdup(w->digest);
    kr_weights_unref(&w);
    return digest;
}

static void train(const kr_learn *o, const char *ends)
{
    const char *why = NULL;
    if (kr_learn_run(o, &why, NULL))
        fail_msg("%s", kr_error());
    assert_string_equal(why, ends);
}

static void same_bits(void **state)
{
    (void)state;
    made();
    int before = kr_threads();
    kr_learn a = small(test_file("a")), b = small(test_file("b")), c = small(test_file("c"));
    kr_threads_set(1);
    train(&a, "done");
    b.steps = 4;                                             /* not a multiple of save */
    train(&b, "done");
    b.steps = 6;
    b.resume = true;
    train(&b, "done");
    kr_threads_set(3);
    c.cache = test_file("others");
    train(&c, "done");
    kr_threads_set(before);
    char *w[3] = { weights_of(a.output), weights_of(b.output), weights_of(c.output) };
    assert_string_equal(w[0], w[1]);
    assert_string_equal(w[0], w[2]);
    for (int i = 0; i < 3; i++)
        free(w[i]);
    size_t n;
    char path[400], *table;
    snprintf(path, sizeof path, "%s/steps.csv", b.output);
    assert_non_null(table = kr_file_whole(path, 1 << 20, &n));
    long lines = 0;
    for (char *p = table; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 7);                              /* a heading, and each step once */
    kr_free(table);
    b.resume = false;
    const char *why;
    assert_int_equal(kr_learn_run(&b, &why, NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "is there already");
    b.resume = true;
    b.seed = 2;
    assert_int_equal(kr_learn_run(&b, &why, NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "seed");
    assert_int_equal(kr_mem_now(), 0);
}

/* On one slice the loss falls by far. */
static void learns(void **state)
{
    (void)state;
    made();
    kr_learn o = small(test_file("learns"));
    o.slices = o.first = 1;
    o.batch = 1;
    o.noise = "0.04,0.05";
    o.steps = 45;
    o.validate = o.save = 1000;
    train(&o, "done");
    char path[400];
    snprintf(path, sizeof path, "%s/steps.csv", o.output);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[300];
    double gain[2] = { 0 };
    for (long step = 0; fgets(line, sizeof line, f); step++) {
        double loss, net, start, seconds;
        long s;
        if (sscanf(line, "%ld,%lf,%lf,%lf,%lf", &s, &seconds, &loss, &net, &start) == 5)
            gain[s > 30] += (start - net) / (s > 30 ? 15 : 30);
    }
    fclose(f);
    print_message("better than the first image by %.2f dB over steps 1 to 30, %.2f dB from then on\n", gain[0], gain[1]);
    assert_true(gain[1] > gain[0] + 0.2);
    /* What it leaves reconstructs. */
    kr_weights *w = NULL;
    snprintf(path, sizeof path, "%s/best.safetensors", o.output);
    assert_int_equal(kr_weights_read(&w, path), 0);
    const char *network = kr_meta_get(w->meta, "network");
    assert_string_equal(network, "refine");
    kr_weights_unref(&w);
}

/* The losses of a run, step by step; how many. */
static long losses_of(const char *folder, double *loss, long room)
{
    char path[400], line[300];
    snprintf(path, sizeof path, "%s/steps.csv", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    long n = 0, step;
    double seconds;
    while (fgets(line, sizeof line, f))
        n += n < room && sscanf(line, "%ld,%lf,%lf", &step, &seconds, &loss[n]) == 3;
    fclose(f);
    return n;
}

/* The largest difference between the tensors of two files of weights, over the largest number of each. */
static double weights_apart(const char *a, const char *b)
{
    char path[2][400];
    kr_weights *w[2] = { NULL, NULL };
    double worst = 0;
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/best.safetensors", i ? b : a);
        assert_int_equal(kr_weights_read(&w[i], path[i]), 0);
    }
    for (long i = 0; i < w[0]->count; i++) {
        const kr_tensor *t = &w[0]->tensor[i], *u = kr_weights_find(w[1], t->name);
        double top = 0, off = 0;
        assert_true(u && kr_tensor_count(u) == kr_tensor_count(t));
        for (long k = 0; k < kr_tensor_count(t); k++) {
            top = fmax(top, fabs((double)t->data[k]));
            off = fmax(off, fabs((double)t->data[k] - (double)u->data[k]));
        }
        worst = fmax(worst, top > 0 ? off / top : 0);
    }
    kr_weights_unref(&w[0]);
    kr_weights_unref(&w[1]);
    return worst;
}

/* In double: the losses of float32 to 1e-4; the same bits whatever the threads and after a break; what has no double is refused. */
static void in_double(void **state)
{
    (void)state;
    made();
    enum { STEPS = 4 };
    static const struct { const char *net, *loss; } one[] = { { "refine", "complex_log_nmse:0.1+ssim:0.5" }, { "varnet", "nrmse" }, { "rim_direct", "complex_nrmse" } };
    int before = kr_threads();
    const char *why;
    for (int i = 0; i < 3; i++) {
        double loss[2][STEPS];
        kr_learn o[2];
        for (int d = 0; d < 2; d++) {
            char name[40], size[300];
            const kr_net_kind *kind = kr_net_kind_named(one[i].net);
            snprintf(size, sizeof size, "%.*s", (int)strcspn(kind->small, ";"), kind->small);
            snprintf(name, sizeof name, "%s_%s", d ? "double" : "float", one[i].net);
            o[d] = small(test_file(name));
            o[d].network = one[i].net;
            o[d].size = i ? strdup(size) : "cascades=2,channels=4,pools=1,digits=6";     /* conjugate gradients of 4 digits are what float and double differ by */
            o[d].loss = one[i].loss;
            o[d].cache = test_file(i ? "any_slices" : "slices");
            o[d].coils = i ? "4" : o[d].coils;
            o[d].accel = i ? "3" : o[d].accel;
            o[d].slices = o[d].first = i ? 1 : 3;
            o[d].steps = o[d].save = o[d].validate = STEPS;
            o[d].in_double = d;
            kr_threads_set(1);
            train(&o[d], "done");
            assert_int_equal(losses_of(o[d].output, loss[d], STEPS), STEPS);
        }
        double off = 0, apart = weights_apart(o[0].output, o[1].output);
        for (int s = 0; s < STEPS; s++)
            off = fmax(off, fabs(loss[0][s] / loss[1][s] - 1));
        print_message("%s: losses in float %.1e from those in double, weights after %d steps %.1e of the largest\n", one[i].net, off, STEPS, apart);
        assert_true(loss[0][0] > 0 && off < 1e-4);
        if (!i) {                                            /* a break, other threads */
            kr_learn b = o[1];
            b.output = test_file("double_broken");
            b.steps = 2;
            train(&b, "done");
            kr_threads_set(3);
            b.steps = STEPS;
            b.resume = true;
            train(&b, "done");
            char *w[2] = { weights_of(o[1].output), weights_of(b.output) };
            assert_string_equal(w[0], w[1]);
            free(w[0]);
            free(w[1]);
            b.in_double = false;
            assert_int_equal(kr_learn_run(&b, &why, NULL), KR_EREFUSED);
            assert_refused(KR_EREFUSED, "was trained in double");
            o[0].in_double = o[0].resume = true;
            assert_int_equal(kr_learn_run(&o[0], &why, NULL), KR_EREFUSED);
            assert_refused(KR_EREFUSED, "was not trained in double");
        } else {
            free((void *)(uintptr_t)o[0].size);
            free((void *)(uintptr_t)o[1].size);
        }
    }
    kr_threads_set(before);
    kr_learn o = small(test_file("double_refused"));
    o.in_double = true;
    o.memory = 1000;
    assert_int_equal(kr_learn_run(&o, &why, NULL), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "in double takes");
    o.memory = 0;
    o.self_supervised = 0.4;
    assert_int_equal(kr_learn_run(&o, &why, NULL), KR_EUSAGE);
    assert_refused(KR_EUSAGE, "self-supervised");
    o.self_supervised = 0;
    o.network = "wcrr";
    o.size = NULL;
    assert_int_equal(kr_learn_run(&o, &why, NULL), KR_EUSAGE);
    assert_refused(KR_EUSAGE, "single precision");
    assert_int_equal(kr_mem_now(), 0);
}

/* Every network that can be trained from nothing: its loss on one slice falls, and its weights are those of that network. */
static void any_network(void **state)
{
    (void)state;
    made();
    int risen = 0;
    for (int i = 0; kr_nets[i]; i++) {
        const kr_net_kind *kind = kr_nets[i];
        if (!kind->fresh || !kind->small || kind->rays_alone || kind->denoises || kind->judges)
            continue;
        char name[80], size[600], path[400], line[300];
        bool magnitudes = kind->magnitude || kind->of_image || !strcmp(kind->name, "kikinet");      /* KIKI-Net gives no numbers below 0 */
        snprintf(name, sizeof name, "any_%s", kind->name);
        snprintf(size, sizeof size, "%.*s", (int)strcspn(kind->small, ";"), kind->small);
        kr_learn o = small(test_file(name));
        o.network = kind->name;
        o.size = size;
        o.cache = test_file("any_slices");
        o.slices = o.first = 1;
        o.coils = "4";
        o.accel = "3";
        o.strip = 32;
        o.steps = 12;
        o.rate = !strcmp(kind->name, "cirim_direct") || !strcmp(kind->name, "recurrentvarnet") ? 1e-3 : 3e-3;      /* untrained, one overshoots, the other is near the target */
        o.loss = magnitudes ? "nrmse" : "complex_nrmse";
        o.validate = o.save = 1000;
        train(&o, "done");
        snprintf(path, sizeof path, "%s/steps.csv", o.output);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        double loss[2] = { 0 }, gain[2] = { 0 }, one, seconds, net, first;
        for (long s; fgets(line, sizeof line, f);)
            if (sscanf(line, "%ld,%lf,%lf,%lf,%lf", &s, &seconds, &one, &net, &first) == 5 && (s <= 4 || s > o.steps - 4)) {
                loss[s > 4] += one / 4;
                gain[s > 4] += (net - first) / 4;            /* strips are not equally hard */
            }
        fclose(f);
        print_message("%s: loss %.4f, then %.4f; error over that of the first image %.2f dB, then %.2f\n", kind->name, loss[0], loss[1], gain[0], gain[1]);
        risen += loss[1] >= loss[0] && gain[1] >= gain[0] && strcmp(kind->name, "unet_direct");      /* that one turns after some 20 steps: too slow for here */
        snprintf(path, sizeof path, "%s/best.safetensors", o.output);
        kr_scoped(weights) w = NULL;
        assert_int_equal(kr_weights_read(&w, path), 0);
        kr_net *n = kr_net_new(NULL, w, true);
        if (!n)
            fail_msg("%s: %s", kind->name, kr_error());
        assert_ptr_equal(kr_net_kind_of(n), kind);
        kr_net_unref(&n);
    }
    assert_int_equal(risen, 0);
    const char *why;
    kr_learn o = small(test_file("wrong_size"));
    o.network = "vn";
    o.size = "num_cascade=2";
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EREFUSED, "num_cascade");
    o.size = NULL;
    o.network = "reconresnet";
    o.cache = test_file("any_slices");
    o.size = "starting_nfeatures=2,updown_blocks=1,res_blocks=1";
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EUSAGE, "magnitudes");
    assert_int_equal(kr_mem_now(), 0);
}

/* A slice of the phantom, undersampled, by `method`; its error against the full scan over the object. */
static double error_of(const char *method, const char *mask)
{
    const kr_phantom *p = kr_phantom_named("brain");
    kr_simulate how = kr_simulate_preset;
    how.n[0] = 96;
    how.n[1] = 88;
    how.slices = 1;
    how.coils = 5;
    how.noise_scan = false;
    kr_scoped(scan) s = NULL;
    assert_int_equal(p->measure(&s, &how, NULL), 0);
    kr_scoped(array) m = kr_mask_new(mask, kr_shape_without(s->shape, KR_ON(KR_COIL)), NULL);
    assert_non_null(m);
    assert_int_equal(kr_scan_undersample(s, m), 0);
    const kr_recon *r = kr_recon_named(method);
    void *opts = kr_alloc_zero(1, r->opts_size);
    assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
    kr_scoped(image) im = NULL;
    if (kr_reconstruct(&im, s, r, opts, NULL, NULL, NULL, NULL))
        fail_msg("%s: %s", method, kr_error());
    kr_free(opts);
    kr_scoped(array) x = kr_abs(im->data);
    kr_scoped(array) wide = kr_array_crop(s->reference->data, KR_X, x->n[KR_X]);
    kr_scoped(array) t = kr_array_copy(wide);
    double e = 0, all = 0, top = kr_max_abs(t);
    for (long i = 0; i < kr_count(kr_array_shape(t)); i++)
        if ((double)KR_R(t)[i] > 0.1 * top) {
            e += pow((double)(KR_R(x)[i] - KR_R(t)[i]), 2);
            all += pow((double)KR_R(t)[i], 2);
        }
    return sqrt(e / all);
}

/* With its last layers at 0 the network gives back the image that it begins with, for lines and planes; weights of that name are found. */
static void begins_with_the_wavelet_image(void **state)
{
    (void)state;
    const char *folder = test_file("shipped");
    kr_weights *w = kr_weights_new();
    assert_int_equal(kr_meta_set(w->meta, "hyper.channels", "4") | kr_meta_set(w->meta, "network", "refine"), 0);
    for (int i = 0; kr_nets[i]; i++)
        if (!strcmp(kr_nets[i]->name, "refine"))
            assert_int_equal(kr_nets[i]->fresh(w, 1), 0);
    char path[400];
    snprintf(path, sizeof path, "%s/refine.safetensors", folder);
    assert_int_equal(kr_folder_make(folder), 0);
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, path), 0);
    kr_weights_unref(&w);
    setenv("KR_WEIGHTS", folder, 1);
    static const char *const masks[] = { "equispaced:accel=3,lines=16,seed=1", "poisson:accel=4,calib=16,axes=xy" };
    for (int i = 0; i < 2; i++) {
        double a = error_of("wavelet", masks[i]), b = error_of("refine", masks[i]);
        print_message("%s: l1-wavelet %.4f, the network %.4f\n", masks[i], a, b);
        assert_true(b < 1.1 * a && b > 0.8 * a);
    }
    unsetenv("KR_WEIGHTS");
    assert_int_equal(kr_mem_now(), 0);
}

static void wrong(const char *text, const char *sentence)
{
    FILE *f = fopen(test_file("wrong.yaml"), "w");
    fputs(text, f);
    fclose(f);
    kr_scoped(meta) m = kr_meta_new();
    kr_learn o = { 0 };
    assert_int_equal(kr_opt_defaults(kr_learn_opts, &o), 0);
    assert_true(kr_learn_config(&o, m, test_file("wrong.yaml")) < 0);
    if (!strstr(kr_error(), sentence))
        fail_msg("'%s' where '%s' is wanted", kr_error(), sentence);
    kr_error_clear();
}

static void configurations(void **state)
{
    (void)state;
    wrong("stepps: 5\n", "steps");
    wrong("steps: many\n", "steps");
    wrong("steps: {a: 1}\n", "none inside of another");
    wrong("images: [a, [b]]\n", "list inside");
    wrong("- a\n- b\n", "list");
    wrong("steps: [1\n", "line 2");
    wrong("just words\n", "key: value");
    FILE *f = fopen(test_file("good.yaml"), "w");
    fputs("# a comment\nsteps: 77\nhold_back: 0.25\nimages:\n  - a b.nii\n  - c.npz\nfolder: data\n", f);
    fclose(f);
    kr_scoped(meta) m = kr_meta_new();
    kr_learn o = { 0 };
    assert_int_equal(kr_opt_defaults(kr_learn_opts, &o), 0);
    assert_int_equal(kr_learn_config(&o, m, test_file("good.yaml")), 0);
    assert_int_equal(o.steps, 77);
    assert_true(o.hold_back == 0.25);
    assert_string_equal(o.images, "a b.nii\nc.npz");
    assert_string_equal(o.folder, test_file("data"));
}

/* Unreadable files are skipped; one person is on one side. */
static void refusals(void **state)
{
    (void)state;
    made();
    const char *why;
    kr_learn o = small(test_file("refused"));
    FILE *f = fopen(test_file("broken.nii"), "w");
    fputs("no volume", f);
    fclose(f);
    o.images = "broken.nii";
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EREFUSED, "none of the 1 files");
    o.images = "one.nii, two.nii, broken.nii";
    o.hold_back = 0.9;
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EREFUSED, "nobody is left");
    o.hold_back = 0.99;                                      /* one person: slices are held back, here all */
    o.same = "one two";
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EREFUSED, "leave too few");
    o.hold_back = 0.3;
    o.same = NULL;
    o.loss = "l3";
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EUSAGE, "l3");
    o.loss = "l1";
    o.self_supervised = 0.4;
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EUSAGE, "a loss of its own");
    o.self_supervised = 0;
    o.network = "dncnn";
    o.size = NULL;
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    assert_refused(KR_EREFUSED, "denoiser of real images");
    o.network = "refine";
    o.size = "cascades=2,channels=4,pools=1";
    o.masks = "lattice";
    o.cache = test_file("none");
    assert_true(kr_learn_run(&o, &why, NULL) < 0);
    kr_error_clear();
    assert_int_equal(kr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(configurations), cmocka_unit_test(same_bits), cmocka_unit_test(learns), cmocka_unit_test(in_double), cmocka_unit_test(any_network), cmocka_unit_test(begins_with_the_wavelet_image), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
