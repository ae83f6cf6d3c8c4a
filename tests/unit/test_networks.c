/* Networks with all that can be wrong about them: sizes, keys, shapes, numbers, and configurations beside them. */
#include "test.h"
#include "files.h"
#include "netweights.h"
#include "kray/fourier.h"
#include "kray/net.h"
#include "kray/recon.h"

static void put(const char *name, const char *text) { spill(scratch(name), text, (long)strlen(text)); }

/* Others make their own. */
static bool needs_start(kr_net *net) { return !strcmp(kr_net_kind_of(net)->name, "refine"); }

/* Runs one slice of random numbers; 0, or the refusal. */
static int run(kr_net *net, long coils, long h, long w)
{
    long n = h * w;
    kr_cfloat *k = malloc((size_t)(coils * n) * sizeof *k), *s = malloc((size_t)(coils * n) * sizeof *s), *x = malloc((size_t)n * sizeof *x);
    float *mask = malloc((size_t)n * sizeof *mask), *image = malloc((size_t)n * sizeof *image), *noise = malloc((size_t)n * sizeof *noise);
    for (long i = 0; i < n; i++) {
        mask[i] = i % w == w / 2 || kr_rand_uniform(1, 2, (uint64_t)i) < 0.4;
        image[i] = (float)kr_rand_uniform(1, 3, (uint64_t)i);
        noise[i] = 0.1f;
    }
    for (long i = 0; i < coils * n; i++) {
        double z[2];
        kr_rand_normal2(1, 4, (uint64_t)i, z);
        k[i] = mask[i % n] * kr_c((float)z[0], (float)z[1]);
        s[i] = kr_c((float)(1 / sqrt((double)coils)), 0);
    }
    kr_net_input in = { .coils = coils, .h = h, .w = w, .kspace = k, .mask = mask, .acs = mask, .sens = s, .image = image, .scaling = 1, .centred = true, .adjoint = k, .noise = noise };
    in.start = needs_start(net) ? s : NULL;
    int e = kr_net_run(net, x, &in, NULL);
    for (long i = 0; i < n && !e; i++)
        if (!isfinite(kr_re(x[i])) || !isfinite(kr_im(x[i])))
            fail_msg("%s: %ld coils, %ld x %ld: pixel %ld is not finite", kr_net_kind_of(net)->name, coils, h, w, i);
    free(k); free(s); free(x); free(mask); free(image); free(noise);
    return e;
}

static void every_size(void **state)
{
    (void)state;
    static const long size[][2] = { { 1, 1 }, { 1, 7 }, { 9, 1 }, { 2, 2 }, { 3, 5 }, { 7, 7 }, { 13, 17 }, { 16, 31 }, { 33, 32 }, { 19, 64 } };
    for (int kind = 0; kind < kinds(); kind++) {
        kr_weights *w = small(kind);
        kr_net *net = kr_net_new(NULL, w, kind & 1);
        if (!net)
            fail_msg("kind %d: %s", kind, kr_error());
        assert_string_equal(kr_net_kind_of(net)->name, word_of(kind));
        for (size_t i = 0; i < sizeof size / sizeof *size; i++)
            for (long coils = 1; coils < 4; coils += 2)
                if (run(net, coils, size[i][0], size[i][1])) {
                    /* Only U-Nets may be too deep for an image, and what halves it may want an even number of pixels; they say so. */
                    bool odd = strstr(kr_error(), "an even number of rows") != NULL;
                    assert_true(odd || size[i][0] < 16 || size[i][1] < 16);
                    assert_refused(KR_EREFUSED, odd ? "an even number of rows" : "are too few for a U-Net");
                }
        kr_net_unref(&net);
        kr_weights_unref(&w);
        assert_int_equal(kr_mem_now(), 0);
    }
}

/* A copy without tensor `skip`, or with tensor `change` in another shape. */
static kr_weights *copy(const kr_weights *w, long skip, long change, int how)
{
    kr_weights *c = kr_weights_new();
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        long n[KR_TENSOR_DIMS] = { 0 };
        int dims = t->dims;
        memcpy(n, t->n, sizeof t->n);
        if (i == skip)
            continue;
        if (i == change)
            switch (how) {
            case 0: n[0]++; break;
            case 1: if (dims > 1) n[1]++; else n[0] += 2; break;
            case 2: if (dims > 2) n[2]++; else n[dims++] = 3; break;
            case 3: dims = 1; break;
            case 4: n[0] = 0; break;
            case 5: if (dims > 3) { n[2] += 2; n[3] += 2; } else dims = 0; break;
            case 6: n[0] = n[0] > 1 ? n[0] / 2 : 7; break;
            case 7: if (dims > 1) n[1] = n[1] > 1 ? n[1] / 2 : 7; break;
            }
        kr_tensor *to = kr_weights_add(c, t->name, dims, n);
        assert_non_null(to);
        for (long k = 0, count = kr_tensor_count(to); k < count; k++)
            to->data[k] = t->data[k % kr_tensor_count(t)];
    }
    return c;
}

/* Every tensor missing in turn, and every one in other shapes: a sentence, or a network that runs. */
static void missing_and_misshapen(void **state)
{
    (void)state;
    for (int kind = 0; kind < kinds(); kind++) {
        kr_weights *w = small(kind);
        long refused = 0, tried = 0;
        for (long i = 0; i < w->count; i++)
            for (int how = -1; how < 8; how++) {
                if (SANITIZED && i > 5 && (i + how) % 4)             /* of the many alike of a deep network, two ways each */
                    continue;
                tried++;
                kr_weights *c = how < 0 ? copy(w, i, -1, 0) : copy(w, -1, i, how);
                kr_net *net = kr_net_new(NULL, c, false);
                if (!net || run(net, 2, 32, 24)) {
                    refused++;
                    assert_true(strlen(kr_error()) > 20);
                    kr_error_clear();
                }
                kr_net_unref(&net);
                kr_weights_unref(&c);
            }
        /* A bias may be missing, a numbered block that is missing ends the network, and kernels may be wider. */
        assert_true(refused > tried / 2);
        kr_weights_unref(&w);
        assert_int_equal(kr_mem_now(), 0);
    }
}

static void keys_of_another(void **state)
{
    (void)state;
    for (int kind = 0; kind < kinds(); kind++)
        for (int other = 0; other < kinds(); other++) {
            kr_weights *w = small(kind);
            kr_net *net = kr_net_new(word_of(other), w, false);
            if (!strncmp(word_of(kind), word_of(other), strlen(word_of(other))))
                assert_non_null(net);
            else {
                assert_null(net);
                assert_refused(KR_EFORMAT, !strcmp(word_of(other), "unet") ? "network" : "do not belong to a network");    /* a part of it may be a U-Net */
            }
            kr_net_unref(&net);
            kr_weights_unref(&w);
        }
    kr_weights *w = kr_weights_new();
    assert_non_null(kr_weights_add(w, "encoder.weight", 4, (long[]){ 3, 3, 3, 3 }));
    assert_null(kr_net_new(NULL, w, false));
    assert_refused(KR_EFORMAT, "fit no network that Kray has");
    kr_weights_unref(&w);
}

static void numbers_that_are_none(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        kr_weights *w = bare(kind_of("cirim", 1)), *r = NULL;
        w->tensor[3].data[1] = i ? INFINITY : NAN;
        kr_weights_digest(w);
        const char *path = scratch("nan.safetensors");
        assert_int_equal(kr_weights_write(w, path), 0);
        assert_true(kr_weights_read(&r, path) < 0);
        assert_refused(KR_ENUMBER, "reconstruction_module.0.layers.0.rnn.ih.bias' holds numbers that are not finite");
        kr_weights_unref(&w);
    }
}

/* ---- Configurations ---- */
static const char direct[] =
    "physics:\n  forward_operator: fft2(centered=False)\n  backward_operator: ifft2(centered=False)\n  use_noise_matrix: false\n"
    "training:\n  datasets:\n    - name: CalgaryCampinas\n      transforms:\n        normalization: {scaling_key: masked_kspace, scale_percentile: 0.99}\n"
    "    - name: Second\n  batch_size: 1\n"
    "inference:\n  dataset:\n    transforms:\n      sensitivity_map_estimation:\n        sensitivity_maps_type: rss_estimate\n        sensitivity_maps_gaussian: 0.5\n"
    "      normalization:\n        scale_percentile: 0.995\n"
    "model:\n  model_name: recurrentvarnet.recurrentvarnet.RecurrentVarNet\n  num_steps: %d\n  recurrent_num_layers: 2\n  recurrent_hidden_channels: %d\n"
    "  initializer_initialization: zero_filled\n  no_parameter_sharing: true\n  normalized: %s\n  learned_initializer: false\n"
    "additional_models:\n  sensitivity_model:\n    model_name: unet.unet_2d.UnetModel2d\n    num_filters: %d\n    num_pool_layers: 2\n    dropout_probability: 0.0\n";

static void direct_yaml(void **state)
{
    (void)state;
    char text[4000];
    kr_weights *w = bare(kind_of("recurrentvarnet", 2));
    snprintf(text, sizeof text, direct, 2, 6, "false", 4);
    put("rvn.yaml", text);
    if (kr_weights_config(w, scratch("rvn.yaml")))
        fail_msg("%s", kr_error());
    assert_string_equal(kr_meta_get(w->meta, "network"), "recurrentvarnet");
    assert_string_equal(kr_weights_told(w, "initializer_initialization"), "zero_filled");
    assert_string_equal(kr_weights_told(w, "fft_centered"), "0");
    assert_string_equal(kr_weights_told(w, "scale_percentile"), "0.995");        /* inference before training */
    assert_string_equal(kr_weights_told(w, "sensitivity_maps_gaussian"), "0.5");
    assert_string_equal(kr_weights_told(w, "sensitivity_model.num_filters"), "4");
    kr_net *net = kr_net_new(NULL, w, false);
    if (!net)
        fail_msg("%s", kr_error());
    kr_net_unref(&net);
    snprintf(text, sizeof text, direct, 3, 16, "true", 8);
    put("rvn.yaml", text);
    assert_int_equal(kr_weights_config(w, scratch("rvn.yaml")), 0);
    assert_null(kr_net_new(NULL, w, false));
    /* Key by key, all at once. */
    static const char *const key[] = { "rvn.yaml do not fit the weights", "num_steps is 3, the weights have 2", "recurrent_hidden_channels is 16, the weights have 6",
                                       "sensitivity_model.num_filters is 8, the weights have 4", "normalized is true" };
    for (int i = 0; i < 5; i++)
        if (!strstr(kr_error(), key[i]))
            fail_msg("\"%s\" lacks \"%s\"", kr_error(), key[i]);
    assert_refused(KR_EFORMAT, "hyper-parameters of");
    kr_weights_unref(&w);
}

static void atommic_yaml(void **state)
{
    (void)state;
    kr_weights *w = bare(kind_of("cirim", 0));
    put("model_config.yaml", "pretrained: false\nmodel:\n  model_name: CIRIM\n  recurrent_layer: GRU\n  conv_filters:\n    - 6\n    - 6\n    - 2\n  depth: 2\n"
        "  time_steps: 3\n  num_cascades: 1\n  no_dc: true\n  fft_centered: false\n  fft_normalization: backward\n  spatial_dims: [-2, -1]\n  accumulate_predictions: ~\n");
    assert_int_equal(kr_weights_config(w, scratch("model_config.yaml")), 0);
    assert_string_equal(kr_weights_told(w, "conv_filters"), "6 6 2");
    assert_string_equal(kr_weights_told(w, "accumulate_predictions"), "none");
    assert_string_equal(kr_meta_get(w->meta, "network"), "cirim");
    kr_net *net = kr_net_new(NULL, w, false);
    if (!net)
        fail_msg("%s", kr_error());
    kr_net_unref(&net);
    put("model_config.yaml", "model:\n  model_name: CIRIM\n  recurrent_layer: IndRNN\n  num_cascades: 5\n");
    assert_int_equal(kr_weights_config(w, scratch("model_config.yaml")), 0);
    assert_null(kr_net_new(NULL, w, false));
    assert_non_null(strstr(kr_error(), "num_cascades is 5, the weights have 1"));
    assert_refused(KR_EFORMAT, "recurrent_layer is IndRNN, the weights have GRU");
    put("model_config.yaml", "model:\n  model_name: VarNet\n");
    assert_int_equal(kr_weights_config(w, scratch("model_config.yaml")), 0);
    assert_null(kr_net_new(NULL, w, false));
    assert_refused(KR_EFORMAT, "do not belong to a network 'varnet'");
    kr_weights_unref(&w);
}

static void broken_yaml(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "model: [unclosed", "no YAML" }, { "a: 1\n", "no 'model:'" }, { "", "no 'model:'" }, { "? {a: b}\n: 1\n", "no word" },
        { "model:\n\t- x", "no YAML" }, { "just words", "no 'model:'" },
        { "&a [*a, *a]", "no 'model:'" }, { "model: {model_name: &x CIRIM, again: *x}", NULL }, { "model_name: a\nmodel_name: RIM", NULL },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "nested more than" }, { "\xff\xfe\x01", "no YAML" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kr_weights *w = bare(kind_of("cirim", 0));
        put("bad.yaml", bad[i][0]);
        int e = kr_weights_config(w, scratch("bad.yaml"));
        if (bad[i][1]) {
            assert_true(e < 0);
            assert_refused(KR_EFORMAT, bad[i][1]);
        } else
            assert_int_equal(e, 0);
        kr_weights_unref(&w);
    }
    kr_weights *w = bare(kind_of("cirim", 0));
    assert_true(kr_weights_config(w, scratch("not-there.yaml")) < 0);
    assert_refused(KR_EFILE, "not-there.yaml");
    /* Damaged in all simple ways: a sentence or a configuration, never a crash. */
    char text[4000], changed[4000];
    int n = snprintf(text, sizeof text, direct, 2, 6, "false", 4);
    for (uint64_t k = 0; k < 400; k++) {
        memcpy(changed, text, (size_t)n + 1);
        for (uint64_t j = 0; j < 1 + k % 5; j++)
            changed[kr_rand_bits(8, k, 2 * j) % (uint64_t)n] = (char)(1 + kr_rand_bits(8, k, 2 * j + 1) % 255);
        changed[k % 3 ? n : (int)(kr_rand_bits(9, k, 0) % (uint64_t)n)] = 0;
        put("bad.yaml", changed);
        if (kr_weights_config(w, scratch("bad.yaml")))
            assert_true(strlen(kr_error()) > 0);
        kr_error_clear();
    }
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

static void beside(void **state)
{
    (void)state;
    assert_int_equal(kr_folder_make(scratch("zoo")), 0);
    assert_null(kr_weights_config_beside(scratch("zoo/model_1.pt")));
    const char *const names[] = { "zoo/anything.yml", "zoo/hparams.yaml", "zoo/config.yaml", "zoo/model_1.yaml" };
    for (int i = 0; i < 4; i++) {                            /* each one found before those written earlier */
        put(names[i], "model: {model_name: RIM}\n");
        char *found = kr_weights_config_beside(scratch("zoo/model_1.pt"));
        assert_string_equal(found, scratch(names[i]));
        kr_free(found);
    }
    assert_int_equal(kr_mem_now(), 0);
}

/* What a plan says of memory holds: never less than what is used, and not much more. */
static void memory(void **state)
{
    (void)state;
    enum { WIDE = SANITIZED ? 160 : 320 };
    for (int kind = 0; kind < kinds(); kind++) {
        kr_weights *w = small(kind);
        kr_net *net = kr_net_new(NULL, w, false);
        double bytes, flops;
        assert_int_equal(kr_net_cost(kr_net_kind_of(net), w, &(kr_net_input){ .coils = 4, .h = WIDE, .w = WIDE }, &bytes, &flops), 0);
        size_t before = kr_mem_now(), peak = kr_mem_peak();
        assert_int_equal(run(net, 4, WIDE, WIDE), 0);
        double used = (double)(kr_mem_peak() - before);
        if (kr_mem_peak() > peak)                    /* otherwise an earlier network's peak is seen */
            assert_true(used <= bytes && bytes < 2.5 * used);
        print_message("%-16s said %.1f MB, used at most %.1f MB, %.2f GFLOP\n", word_of(kind), bytes / 1e6, used / 1e6, flops / 1e9);
        assert_true(flops > 2.5e5);
        kr_net_unref(&net);
        kr_weights_unref(&w);
    }
}

/* ---- Whole scans ---- */
/* More of a run: its --config, the size that the header wants of the image, and (out) the size it got and where its middle lies, voxels of 2 mm. */
static struct { const char *config; long wanted, made[2]; double at_mm[2]; } more;

static int reconstruct(const char *method, const char *weights, kr_shape shape, const char *mask, const char *steps)
{
    kr_scan *s = kr_scan_new();
    s->data = kr_array_new(KR_C32, shape);
    fill_random(s->data, 3);
    s->shape = shape;
    s->file = kr_strdup("made.h5");
    kr_array *m = mask ? kr_mask_new(mask, kr_shape_without(shape, KR_ON(KR_COIL)), NULL) : NULL;
    assert_true(!mask || m);
    if (m)
        assert_int_equal(kr_scan_undersample(s, m), 0);
    const kr_recon *r = kr_recon_named(method);
    void *opts = kr_alloc_zero(1, r->opts_size);
    assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
    assert_int_equal(weights ? kr_opt_set(r->opts, opts, "weights", weights) : 0, 0);
    assert_int_equal(kr_opt_set(r->opts, opts, "steps", steps), 0);
    assert_int_equal(more.config ? kr_opt_set(r->opts, opts, "config", more.config) : 0, 0);
    s->enc.recon[0] = s->enc.recon[1] = more.wanted;
    for (int a = 0; a < 2; a++)
        s->enc.encoded_mm[a] = 2 * (double)shape.n[a];
    kr_shape one = kr_shape_without(shape, 0);
    one.n[KR_MAP] = 1;
    kr_array *maps = kr_array_new(KR_C32, one);
    for (long i = 0; i < kr_count(one); i++)
        KR_C(maps)[i] = 0.5f;
    kr_image *image = NULL;
    int e = kr_reconstruct(&image, s, r, opts, NULL, maps, NULL, NULL);
    kr_free(opts);
    for (int a = 0; image && a < 2; a++) {
        double *dir = a ? image->geom->phase_dir : image->geom->read_dir;
        more.made[a] = image->data->n[a];
        more.at_mm[a] = 0;
        for (int d = 0; d < 3; d++)
            more.at_mm[a] += image->geom->position_mm[0][d] * dir[d];
    }
    kr_image_unref(&image);
    kr_array_unref(&maps);
    kr_array_unref(&m);
    kr_scan_unref(&s);
    return e;
}

static void scans(void **state)
{
    (void)state;
    kr_weights *w = bare(kind_of("cirim", 1)), *v = bare(kind_of("varnet", 0));
    const char *rim = kr_strf("%s", scratch("irim.safetensors")), *var = kr_strf("%s", scratch("var.safetensors"));
    kr_weights_digest(w);
    kr_weights_digest(v);
    kr_meta_set(w->meta, "network", "cirim");
    kr_meta_set(v->meta, "network", "varnet");
    assert_int_equal(kr_weights_write(w, rim), 0);
    assert_int_equal(kr_weights_write(v, var), 0);
    kr_shape flat = KR_SHAPE([KR_X] = 24, [KR_Y] = 23, [KR_COIL] = 2), one = KR_SHAPE([KR_X] = 17, [KR_Y] = 19), deep = KR_SHAPE([KR_X] = 16, [KR_Y] = 16, [KR_Z] = 4, [KR_COIL] = 2);
    if (reconstruct("cirim", rim, flat, "random:accel=2,center=0.2", "0") || reconstruct("cirim", rim, one, NULL, "0") || reconstruct("cirim", rim, flat, NULL, "3")
        || reconstruct("varnet", var, flat, "random:accel=2,center=0.2", "0"))
        fail_msg("%s", kr_error());
    assert_true(reconstruct("cirim", rim, deep, "poisson:accel=2,calib=8,axes=xy", "0") < 0);
    assert_refused(KR_EREFUSED, "sampled fully along the readout");
    assert_true(reconstruct("varnet", NULL, flat, NULL, "0") < 0);
    assert_refused(KR_EUSAGE, "--weights FILE");
    assert_true(reconstruct("varnet", rim, flat, NULL, "0") < 0);
    assert_refused(KR_EREFUSED, "another method");
    assert_true(reconstruct("varnet", var, flat, NULL, "4") < 0);
    assert_refused(KR_EUSAGE, "--steps");
    assert_true(reconstruct("cirim", rim, flat, NULL, "2000") < 0);
    assert_refused(KR_EFORMAT, "2000 time steps");
    assert_true(reconstruct("cirim", scratch("not-there.pt"), flat, NULL, "0") < 0);
    assert_refused(KR_EFILE, "not-there.pt");
    /* E2E-VarNet reads its calibration lines from the middle: there must be some. */
    assert_true(reconstruct("varnet", var, flat, "uniform:accel=4,lines=0,offset=1", "0") < 0);
    assert_refused(KR_EREFUSED, "centre of k-space is not measured");
    kr_free((void *)(uintptr_t)rim);
    kr_free((void *)(uintptr_t)var);
    kr_weights_unref(&w);
    kr_weights_unref(&v);
    assert_int_equal(kr_mem_now(), 0);
}

/* A RecurrentVarNet of two blocks under that prefix. */
static kr_weights *rvn_under(const char *prefix)
{
    kr_weights *from = bare(kind_of("recurrentvarnet", 0)), *w = kr_weights_new();
    for (long i = 0; i < from->count; i++) {
        const kr_tensor *t = &from->tensor[i];
        kr_auto char *name = kr_strf("%s%s", prefix, t->name);
        if (strstr(name, "sensitivity_model."))
            continue;
        kr_tensor *to = kr_weights_add(w, name, t->dims, t->n);
        assert_non_null(to);
        memcpy(to->data, t->data, (size_t)kr_tensor_count(t) * sizeof *t->data);
    }
    kr_weights_unref(&from);
    return w;
}

static void run_configured(int *e, kr_weights *w, const char *method, const char *yaml, const char *steps)
{
    kr_auto char *file = kr_strf("%s", scratch("asked.safetensors")), *config = kr_strf("%s", scratch("asked.yaml"));
    kr_shape flat = KR_SHAPE([KR_X] = 32, [KR_Y] = 24, [KR_COIL] = 2);
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, file), 0);
    put("asked.yaml", yaml ? yaml : "");
    more.config = yaml ? config : "none";
    *e = reconstruct(method, file, flat, "uniform:accel=2,lines=8", steps);
    more.config = NULL;
    kr_weights_unref(&w);
}

/* What a configuration or the weights ask for is done or refused. */
static void asked_for(void **state)
{
    (void)state;
    int e;
    static const char rim[] = "model:\n  model_name: rim.rim.RIM\n  image_initialization: sense\n  learned_initializer: true\n  length: 8\n  steps: %d\n";
    char text[600];
    for (int i = 1; i < 3; i++) {
        snprintf(text, sizeof text, rim, i);
        run_configured(&e, bare(kind_of("rim_direct", 0)), "rim", text, "2");              /* --steps is another number */
        if (i == 1 && e)
            fail_msg("%s", kr_error());
        assert_true(i == 1 || e < 0);
    }
    assert_refused(KR_EFORMAT, "steps is 2; Kray has 1");
    static const char mridc[] = "model:\n  model_name: CIRIM\n  recurrent_layer: IndRNN\n  num_cascades: 2\n%s";
    static const char *const keep[] = { "  keep_eta: true\n", "  keep_eta: false\n", "  keep_prediction: false\n", "" };
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, mridc, keep[i]);
        run_configured(&e, bare(kind_of("cirim", 4)), "cirim", text, "2");
        if (!i && e)
            fail_msg("%s", kr_error());
        if (!i)
            continue;
        assert_true(e < 0);
        assert_refused(KR_EREFUSED, i < 3 ? "keep_eta (keep_prediction) of the configuration is false" : "not stated, which means false");
    }
    /* Whose RecurrentVarNet it is. */
    run_configured(&e, rvn_under("state_dict."), "recurrentvarnet", NULL, "0");
    assert_true(e < 0);
    assert_refused(KR_EFORMAT, "of which ATOMMIC makes 8; the weights have 2 blocks");
    run_configured(&e, rvn_under(""), "recurrentvarnet", NULL, "0");
    assert_true(e < 0);
    assert_refused(KR_EREFUSED, "the weights do not say whose");
    /* DIRECT's crop: to the header's size, or none. */
    static const char *const crop[] = { "header", "null" };
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "model:\n  model_name: recurrentvarnet.recurrentvarnet.RecurrentVarNet\n  learned_initializer: false\n  num_steps: 2\n"
                 "  no_parameter_sharing: true\ninference:\n  crop: %s\n", crop[i]);
        more.wanted = 16;
        run_configured(&e, rvn_under(i ? "" : "model."), "recurrentvarnet", text, "1");
        more.wanted = 0;
        if (e)
            fail_msg("%s", kr_error());
        assert_int_equal(more.made[0], i ? 32 : 16);
        assert_int_equal(more.made[1], i ? 24 : 16);
        /* 15 of 32: 8 voxels are cut off before, so that voxel 7, which the position belongs to now, is the former voxel 15, one before the middle */
        more.wanted = 15;
        run_configured(&e, rvn_under(i ? "" : "model."), "recurrentvarnet", text, "1");
        more.wanted = 0;
        assert_int_equal(e, 0);
        assert_near(more.at_mm[0], i ? 0 : -2, 1e-6);
    }
    /* A part that nobody reads, and one that is promised and absent. */
    kr_weights *w = bare(kind_of("rim_direct", 0));
    assert_non_null(kr_weights_add(w, "sensitivity_model.unet2d.conv.layers.0.weight", 4, (long[]){ 4, 2, 3, 3 }));
    run_configured(&e, w, "rim", NULL, "0");
    assert_true(e < 0);
    assert_refused(KR_EFORMAT, "1 of the 27 tensors belong to something");
    run_configured(&e, rvn_under("model."), "recurrentvarnet", "model:\n  model_name: recurrentvarnet.recurrentvarnet.RecurrentVarNet\n  learned_initializer: true\n  num_steps: 2\n"
                   "  no_parameter_sharing: true\n", "0");
    assert_true(e < 0);
    assert_refused(KR_EFORMAT, "learned_initializer is true; the weights have no");
    run_configured(&e, bare(kind_of("cirim", 3)), "rim", "model:\n  model_name: CIRIM\n  recurrent_layer: GRU\n  estimate_coil_sensitivity_maps_with_nn: false\n", "1");
    assert_true(e < 0);
    assert_refused(KR_EFORMAT, "estimate_coil_sensitivity_maps_with_nn is false; the weights have a");
    assert_int_equal(kr_mem_now(), 0);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* What DIRECT does around a network, step by step in the authors' own layout, [coil][readout][phase encode] with
 * kernels as they are stored: scaling by torch.kthvalue on the negated magnitudes, coil maps from the windowed calibration lines. */
static void by_hand(float *image, const kr_weights *w, const kr_cfloat *k, long nx, long ny, long coils, const float *sampled, long from, long lines,
                    double q, double width)
{
    long n = nx * ny, count = 0;
    kr_array *y = kr_array_new(KR_C32, KR_SHAPE([KR_X] = ny, [KR_Y] = nx, [KR_COIL] = coils)), *s = kr_array_like(y);   /* X is the fastest axis */
    float *v = malloc((size_t)(coils * n) * sizeof *v), *mask = malloc((size_t)n * sizeof *mask), *acs = malloc((size_t)n * sizeof *acs);
    for (long c = 0; c < coils; c++)
        for (long x = 0; x < nx; x++)
            for (long p = 0; p < ny; p++) {
                long i = c * n + x * ny + p;
                KR_C(y)[i] = sampled[p] * k[c * n + p * nx + x];
                v[count++] = -sqrtf(kr_cabs2(KR_C(y)[i]));
                mask[x * ny + p] = sampled[p];
                acs[x * ny + p] = p >= from && p < from + lines;
            }
    qsort(v, (size_t)count, sizeof *v, ascending);
    double scale = -(double)v[(long)((1 - q) * (double)count) + 1 - 1];      /* kthvalue counts from 1 */
    for (long i = 0; i < coils * n; i++) {
        double u = -1 + 2 * (double)(i % ny) / (double)(ny - 1), g = exp(-(u / width) * (u / width));
        KR_C(s)[i] = (float)(g * (double)acs[i % n]) * KR_C(y)[i];
    }
    assert_int_equal(kr_fourier_inverse(s, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (long c = 0; c < coils; c++)
            sum += (double)kr_cabs2(KR_C(s)[c * n + i]);
        for (long c = 0; c < coils; c++)
            KR_C(s)[c * n + i] *= (float)(1 / sqrt(sum));
    }
    kr_scale(y, (float)(1 / scale));
    kr_net *net = kr_net_new(NULL, w, false);
    kr_cfloat *z = malloc((size_t)n * sizeof *z);
    kr_net_input in = { .coils = coils, .h = nx, .w = ny, .kspace = KR_C(y), .mask = mask, .acs = acs, .sens = KR_C(s), .scaling = 1, .centred = true };
    assert_int_equal(kr_net_run(net, z, &in, NULL), 0);
    for (long x = 0; x < nx; x++)
        for (long p = 0; p < ny; p++)
            image[p * nx + x] = (float)scale * sqrtf(kr_cabs2(z[x * ny + p]));
    kr_net_unref(&net);
    kr_array_unref(&y); kr_array_unref(&s);
    free(v); free(mask); free(acs); free(z);
}

static void directs_pipeline(void **state)
{
    (void)state;
    long nx = 26, ny = 23, coils = 3, n = nx * ny;
    float sampled[23] = { 0 };
    const int lines[] = { 0, 3, 5, 8, 9, 10, 11, 12, 13, 14, 17, 20 };           /* 8 .. 14 around DC = 11 */
    for (int i = 0; i < 12; i++)
        sampled[lines[i]] = 1;
    put("wide.yaml", "model:\n  model_name: a.RecurrentVarNet\n  learned_initializer: false\nadditional_models: {sensitivity_model: {model_name: unet.unet_2d.UnetModel2d}}\ntraining:\n  scale_percentile: 0.9\n  sensitivity_maps_gaussian: 0.4\n");
    for (int configured = 0; configured < 2; configured++)
        for (int varnet = 0; varnet < (configured ? 1 : 2); varnet++) {
            int kind = varnet ? kind_of("varnet_direct", 1) : kind_of("recurrentvarnet", 2);
            kr_weights *w = bare(kind);
            kr_weights_digest(w);
            assert_int_equal(kr_weights_write(w, scratch("direct.safetensors")), 0);
            kr_scan *s = kr_scan_new();
            s->shape = KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = coils);
            s->data = kr_array_new(KR_C32, s->shape);
            s->file = kr_strdup("made.h5");
            fill_random(s->data, 5);
            for (long i = 0; i < coils * n; i++) {               /* energy in the middle, as k-space has it */
                double x = (double)(i % nx) - 13, y = (double)(i / nx % ny) - 11;
                KR_C(s->data)[i] *= (float)(100 / (2 + x * x + y * y));
            }
            float *want = malloc((size_t)n * sizeof *want);
            by_hand(want, w, KR_C(s->data), nx, ny, coils, sampled, 8, 7, configured ? 0.9 : 0.99, configured ? 0.4 : 0.7);
            kr_array *m = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = ny));
            memcpy(KR_R(m), sampled, sizeof sampled);
            assert_int_equal(kr_scan_undersample(s, m), 0);
            const kr_recon *r = kr_recon_named(varnet ? "varnet" : "recurrentvarnet");
            void *opts = kr_alloc_zero(1, r->opts_size);
            assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
            assert_int_equal(kr_opt_set(r->opts, opts, "weights", scratch("direct.safetensors")), 0);
            assert_int_equal(kr_opt_set(r->opts, opts, "config", configured ? scratch("wide.yaml") : "none"), 0);
            kr_image *image = NULL;
            if (kr_reconstruct(&image, s, r, opts, NULL, NULL, NULL, NULL))
                fail_msg("%s", kr_error());
            double top = 0, worst = 0;
            for (long i = 0; i < n; i++) {
                top = fmax(top, (double)want[i]);
                worst = fmax(worst, fabs((double)want[i] - (double)KR_R(image->data)[i]));
            }
            print_message("%s%s: %.2e of the largest value\n", word_of(kind), configured ? ", configured" : "", worst / top);
            assert_int_equal(image->data->type, KR_R32);
            /* Turned kernels add in another order, and instance norms magnify that: the golden files' tolerance. */
            assert_near(worst / top, 0, 1e-4);
            free(want);
            kr_free(opts);
            kr_image_unref(&image);
            kr_array_unref(&m);
            kr_scan_unref(&s);
            kr_weights_unref(&w);
        }
    assert_int_equal(kr_mem_now(), 0);
}

/* RecurrentVarNet of data whose line 17 and first two samples of a readout are `size` times what they were. */
static kr_image *padded(float size, const char *config)
{
    long nx = 26, ny = 23, coils = 3;
    kr_scan *s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = coils);
    s->data = kr_array_new(KR_C32, s->shape);
    s->file = kr_strdup("made.h5");
    fill_random(s->data, 5);
    for (long i = 0; i < coils * nx * ny; i++)
        KR_C(s->data)[i] *= i % nx < 2 || i / nx % ny == 17 ? size : 1;
    s->mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = ny));
    kr_fill(s->mask, 1);
    KR_R(s->mask)[3] = KR_R(s->mask)[20] = 0;
    for (long i = 0; i < coils * nx * ny; i++)
        KR_C(s->data)[i] *= KR_R(s->mask)[i / nx % ny];
    const kr_recon *r = kr_recon_named("recurrentvarnet");
    void *opts = kr_alloc_zero(1, r->opts_size);
    assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
    assert_int_equal(kr_opt_set(r->opts, opts, "weights", scratch("direct.safetensors")), 0);
    assert_int_equal(kr_opt_set(r->opts, opts, "config", config), 0);
    kr_image *image = NULL;
    if (kr_reconstruct(&image, s, r, opts, NULL, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    kr_free(opts);
    kr_scan_unref(&s);
    return image;
}

static double apart(const kr_image *a, const kr_image *b)
{
    double worst = 0;
    for (long i = 0; i < kr_count(kr_array_shape(a->data)); i++)
        worst = fmax(worst, fabs((double)KR_R(a->data)[i] - (double)KR_R(b->data)[i]));
    return worst / kr_max_abs(a->data);
}

/* DIRECT's padding (beside the published program itself: tests/peers/published_nets.sh): samples far below the mean are as if they
 * had never been measured, unless padding_eps is 0; and what a network makes of their k-space is left out. */
static void directs_padding(void **state)
{
    (void)state;
    kr_weights *w = bare(kind_of("recurrentvarnet", 2));
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, scratch("direct.safetensors")), 0);
    put("kept.yaml", "model:\n  model_name: a.RecurrentVarNet\n  learned_initializer: false\nadditional_models: {sensitivity_model: {model_name: unet.unet_2d.UnetModel2d}}\ninference:\n  padding_eps: 0.0\n");
    kr_image *zeros = padded(0, "none"), *small_ones = padded(1e-5f, "none"), *kept = padded(0, scratch("kept.yaml")), *large = padded(1e-2f, "none");
    assert_true(apart(zeros, small_ones) <= 0);                      /* the same bits */
    assert_true(apart(zeros, kept) > 1e-3);
    assert_true(apart(zeros, large) > 1e-3);
    kr_image_unref(&zeros);
    kr_image_unref(&small_ones);
    kr_image_unref(&kept);
    kr_image_unref(&large);
    /* All of it padding: nothing is left. */
    enum { H = 16, W = 16, N = H * W };
    kr_net *net = kr_net_new(NULL, w, false);
    kr_cfloat k[2 * N], s[2 * N], x[N];
    float ones[N];
    for (int i = 0; i < 2 * N; i++) {
        k[i] = kr_c((float)(i % 7) - 3, (float)(i % 5));
        s[i] = kr_c(0.7f, 0);
        ones[i % N] = 1;
    }
    kr_net_input in = { .coils = 2, .h = H, .w = W, .kspace = k, .mask = ones, .sens = s, .padding = ones, .scaling = 1, .centred = true };
    assert_int_equal(kr_net_run(net, x, &in, NULL), 0);
    for (int i = 0; i < N; i++)
        assert_true(kr_cabs2(x[i]) <= 0);
    kr_net_unref(&net);
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

/* What recurrentvarnet makes of these data; mask NULL: it is looked for. */
static kr_image *made(kr_array *data, const kr_array *mask, unsigned in_image)
{
    kr_scan *s = kr_scan_new();
    s->shape = kr_array_shape(data);
    s->data = kr_array_ref(data);
    s->mask = mask ? kr_array_ref(mask) : NULL;
    s->in_image = in_image;
    s->file = kr_strdup("made.h5");
    const kr_recon *r = kr_recon_named("recurrentvarnet");
    void *opts = kr_alloc_zero(1, r->opts_size);
    assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
    assert_int_equal(kr_opt_set(r->opts, opts, "weights", scratch("direct.safetensors")), 0);
    assert_int_equal(kr_opt_set(r->opts, opts, "config", "none"), 0);
    kr_image *image = NULL;
    if (kr_reconstruct(&image, s, r, opts, NULL, NULL, NULL, NULL))
        fail_msg("%s", kr_error());
    kr_free(opts);
    kr_scan_unref(&s);
    return image;
}

/* A slice of a stack in which nothing was measured is 0, although maps are there and convolutions have biases. */
static void nothing_measured(void **state)
{
    (void)state;
    kr_weights *w = bare(kind_of("cirim", 0));
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, scratch("nothing.safetensors")), 0);
    enum { NX = 26, NY = 23, COILS = 3, N = NX * NY };
    for (int which = 0; which < 2; which++) {                        /* no samples; no maps */
        kr_scan *s = kr_scan_new();
        s->shape = KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = COILS, [KR_SLICE] = 2);
        s->data = kr_array_new(KR_C32, s->shape);
        s->file = kr_strdup("made.h5");
        fill_random(s->data, 6);
        kr_scoped(array) maps = kr_array_copy(s->data);
        memset(KR_C(which ? maps : s->data), 0, COILS * N * sizeof(kr_cfloat));
        const kr_recon *r = kr_recon_named("cirim");
        void *opts = kr_alloc_zero(1, r->opts_size);
        assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
        assert_int_equal(kr_opt_set(r->opts, opts, "weights", scratch("nothing.safetensors")) | kr_opt_set(r->opts, opts, "config", "none"), 0);
        kr_image *image = NULL;
        if (kr_reconstruct(&image, s, r, opts, NULL, maps, NULL, NULL))
            fail_msg("%s", kr_error());
        double most = 0, other = 0;
        for (int i = 0; i < N; i++) {
            most = fmax(most, (double)kr_cabs2(KR_C(image->data)[i]));
            other = fmax(other, (double)kr_cabs2(KR_C(image->data)[N + i]));
        }
        assert_true(most <= 0 && other > 0);
        kr_free(opts);
        kr_image_unref(&image);
        kr_scan_unref(&s);
    }
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

/* Slices from..from + count of a stack. */
static kr_image *stack(long from, long count)
{
    kr_scoped(array) all = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 26, [KR_Y] = 23, [KR_COIL] = 3, [KR_SLICE] = 5));
    fill_random(all, 6);
    kr_scoped(array) some = kr_array_range(all, KR_SLICE, from, count);
    kr_scoped(array) data = kr_array_copy(some);
    return made(data, NULL, 0);
}

/* Slices run side by side where there are as many as threads: the same bits as one by one, and no slice knows of another. */
static void slices_side_by_side(void **state)
{
    (void)state;
    kr_weights *w = bare(kind_of("recurrentvarnet", 2));
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, scratch("direct.safetensors")), 0);
    int threads = kr_threads();
    kr_threads_set(1);
    kr_image *want = stack(0, 5);
    for (int t = 2; t < 5; t++) {                        /* 5 slices: 4 and one left over, 3 and 2, 4 and 1 */
        kr_threads_set(t);
        kr_image *got = stack(0, 5), *last = stack(4, 1);
        assert_memory_equal(got->data->data, want->data->data, 5 * 26 * 23 * sizeof(float));
        assert_memory_equal(last->data->data, KR_R(want->data) + 4 * 26 * 23, 26 * 23 * sizeof(float));
        kr_image_unref(&got);
        kr_image_unref(&last);
    }
    kr_threads_set(threads);
    kr_image_unref(&want);
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

/* A volume is its planes across the readout, each as a slice of its own, whether the readout is in k-space or an image already. */
static void volumes_by_planes(void **state)
{
    (void)state;
    enum { NX = 4, NY = 22, NZ = 19, COILS = 3 };
    kr_weights *w = bare(kind_of("recurrentvarnet", 2));
    kr_weights_digest(w);
    assert_int_equal(kr_weights_write(w, scratch("direct.safetensors")), 0);
    kr_array *k = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_Z] = NZ, [KR_COIL] = COILS));
    kr_array *mask = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = NY, [KR_Z] = NZ)), *flat = kr_array_new(KR_R32, KR_SHAPE([KR_X] = NY, [KR_Y] = NZ));
    fill_random(k, 8);
    for (int i = 0; i < NY * NZ; i++)
        KR_R(mask)[i] = KR_R(flat)[i] = i * 7 % 3 == 0 || (abs(i % NY - NY / 2) < 4 && abs(i / NY - NZ / 2) < 4);
    for (long i = 0; i < kr_count(kr_array_shape(k)); i++)
        KR_C(k)[i] *= KR_R(mask)[i / NX % (NY * NZ)];
    kr_image *whole = made(k, mask, 0);
    kr_array *hybrid = kr_array_copy(k), *plane = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NY, [KR_Y] = NZ, [KR_COIL] = COILS));
    assert_int_equal(kr_fourier_inverse(hybrid, KR_ON(KR_X)), 0);
    kr_image *half = made(hybrid, mask, KR_ON(KR_X));
    assert_true(apart(whole, half) < 1e-5);
    for (int x = 0; x < NX; x++) {
        for (int i = 0; i < NY * NZ * COILS; i++)
            KR_C(plane)[i] = KR_C(hybrid)[i * NX + x];
        kr_image *one = made(plane, flat, 0);
        for (int i = 0; i < NY * NZ; i++)
            assert_near(KR_R(half->data)[i * NX + x], KR_R(one->data)[i], 0);
        kr_image_unref(&one);
    }
    kr_image_unref(&whole);
    kr_image_unref(&half);
    kr_array_unref(&k);
    kr_array_unref(&mask);
    kr_array_unref(&flat);
    kr_array_unref(&hybrid);
    kr_array_unref(&plane);
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(memory), cmocka_unit_test(every_size), cmocka_unit_test(missing_and_misshapen), cmocka_unit_test(keys_of_another),
                                        cmocka_unit_test(numbers_that_are_none), cmocka_unit_test(direct_yaml), cmocka_unit_test(atommic_yaml),
                                        cmocka_unit_test(broken_yaml), cmocka_unit_test(beside), cmocka_unit_test(scans), cmocka_unit_test(asked_for), cmocka_unit_test(directs_pipeline),
                                        cmocka_unit_test(directs_padding), cmocka_unit_test(nothing_measured), cmocka_unit_test(slices_side_by_side), cmocka_unit_test(volumes_by_planes) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
