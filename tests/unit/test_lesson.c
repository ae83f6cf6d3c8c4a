/* What networks are given to learn from is what they are given when they reconstruct; targets, samples held back, and their loss; weights go out as published. */
#include "netweights.h"
#include "files.h"
#include "kray/fourier.h"
#include "kray/lesson.h"
#include "kray/phantom.h"
#include <math.h>

enum { X = 48, Y = 40 };
struct data { kr_scan *full, *scan; kr_array *maps; };

static kr_scan *measured(const kr_scan *full, const kr_array *mask)
{
    kr_scan *s = kr_scan_new();
    s->data = kr_array_copy(full->data);
    s->shape = kr_array_shape(s->data);
    s->mask = kr_array_copy(mask);
    for (long i = 0, n = X * Y; i < kr_count(s->shape); i++)
        if (KR_R(mask)[i % n] == 0)
            KR_C(s->data)[i] = kr_c(0, 0);
    return s;
}

static kr_array *plane(float value)
{
    kr_array *a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = X, [KR_Y] = Y));
    kr_fill(a, value);
    return a;
}

static void make(struct data *d)
{
    kr_simulate how = kr_simulate_preset;
    how.n[0] = X;
    how.n[1] = Y;
    how.slices = 1;
    how.coils = 4;
    how.noise_scan = how.oversampling = false;
    how.phase = true;
    how.snr = 200;
    kr_scoped(scan) s = NULL;
    assert_int_equal(kr_phantom_named("brain")->measure(&s, &how, NULL), 0);
    kr_scoped(array) ones = plane(1);
    d->full = measured(s, ones);
    kr_scoped(array) narrow = kr_mask_new("equispaced:accel=2,lines=14,seed=1", KR_SHAPE([KR_X] = X, [KR_Y] = Y), NULL);
    kr_scoped(array) wide = kr_array_spread(narrow, KR_SHAPE([KR_X] = X, [KR_Y] = Y));
    kr_scoped(array) mask = kr_array_copy(wide);
    d->scan = measured(d->full, mask);
    kr_scoped(array) maps = kr_coils_estimate(d->full, &kr_coils_preset, NULL);
    assert_non_null(maps);
    d->maps = kr_array_new(KR_C32, kr_array_shape(d->full->data));
    kr_array_assign(d->maps, maps);
}

static void drop(struct data *d)
{
    kr_scan_unref(&d->full);
    kr_scan_unref(&d->scan);
    kr_array_unref(&d->maps);
}

/* The image of the graph that is trained. */
static kr_cfloat *by_graph(const kr_net_kind *kind, const kr_weights *w, const kr_net_input *in)
{
    kr_graph *g = kr_net_graph(kind->name, w);
    kr_extent n[KR_NET_INPUTS];
    const void *data[KR_NET_INPUTS];
    if (!g || kr_net_inputs(g, kind->name, in, n, data))
        fail_msg("%s", kr_error());
    kr_run *r = kr_graph_plan(g, n, in->centred ? 0 : KR_CORNER, 0);
    if (!r || kr_run_lend(r, NULL))
        fail_msg("%s", kr_error());
    for (long i = 0; i < kr_graph_inputs(g); i++)
        kr_run_input(r, i, data[i]);
    kr_run_forward(r, NULL, NULL);
    const kr_value *v = kr_run_output(r, kr_graph_outputs(g) - 1);
    kr_cfloat *x = malloc((size_t)(in->h * in->w) * sizeof *x);
    for (long i = 0; i < in->h * in->w; i++)
        x[i] = v->n.kind == KR_REAL ? kr_c(((const float *)v->data)[i], 0) : ((const kr_cfloat *)v->data)[i];
    kr_run_unref(&r);
    kr_graph_unref(&g);
    return x;
}

/* |x| {h,w} against |image| {X,Y}, apart from a factor and (images that were standardised) a constant: the part that is left. */
static double apart(const kr_cfloat *x, const kr_array *image, bool own_axes, bool signed_)
{
    double s[5] = { 0 }, n = X * Y;
    for (long i = 0; i < X * Y; i++) {
        kr_cfloat v = x[own_axes ? i : i % X * Y + i / X];
        double b = image->type == KR_C32 ? sqrt((double)kr_cabs2(KR_C(image)[i])) : (double)KR_R(image)[i];
        double a = image->type == KR_R32 && signed_ ? (double)kr_re(v) : sqrt((double)kr_cabs2(v));
        s[0] += a / n; s[1] += b / n; s[2] += a * a / n; s[3] += b * b / n; s[4] += a * b / n;
    }
    double va = s[2] - s[0] * s[0], vb = s[3] - s[1] * s[1], c = s[4] - s[0] * s[1];
    return 1 - c / sqrt(va * vb);
}

static void as_in_use(void **state)
{
    (void)state;
    struct data d;
    make(&d);
    for (int k = 0; k < kinds(); k++) {
        kr_scoped(weights) w = small(k);
        const kr_net_kind *kind = kr_net_kind_for(word_of(k), w);
        assert_non_null(kind);
        if (kind->denoises || kind->judges || kind->rays_alone)
            continue;
        assert_int_equal(kr_meta_set(w->meta, "network", "%s", kind->name), 0);
        bool refine = !strcmp(kind->name, "refine");
        if (!strcmp(kind->around, "ncc1701"))              /* behind the network is data consistency, which is not trained */
            assert_int_equal(kr_meta_set(w->meta, "hyper.use_datacon", "false"), 0);
        kr_weights_digest(w);
        const char *path = scratch("lesson.safetensors");
        assert_int_equal(kr_weights_write(w, path), 0);
        kr_lesson l;
        if (kr_lesson_of(&l, kind, w, d.scan, d.full, d.maps, 0, NULL, NULL))
            fail_msg("%s: %s", kind->name, kr_error());
        kr_auto char *family = kr_strf("%.*s", (int)strcspn(kind->name, "_"), kind->name);
        const kr_recon *r = kr_recon_named(kind->name);
        kr_error_clear();
        r = r ? r : kr_recon_named(family);
        assert_non_null(r);
        void *opts = kr_alloc_zero(1, r->opts_size);
        assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
        assert_int_equal(kr_opt_set(r->opts, opts, "weights", path), 0);
        kr_scoped(image) im = NULL;
        if (r->run(&im, d.scan, d.maps, opts, NULL))
            fail_msg("%s: %s", kind->name, kr_error());
        kr_free(opts);
        kr_cfloat *x = by_graph(kind, w, &l.in);
        double off = apart(x, im->data, kind->own_axes, kind->of_image);
        print_message("%s: 1 - correlation %.1e\n", kind->name, off);
        if (!refine && !(off < 1e-5))                        /* refine keeps a part of the change alone */
            fail_msg("%s: in training %g from what it is in use", kind->name, off);
        assert_non_null(l.target);
        free(x);
        kr_lesson_clear(&l);
    }
    drop(&d);
    assert_int_equal(kr_mem_now(), 0);
}

static const kr_net_kind *named(const char *name, kr_weights **w)
{
    for (int k = 0; k < kinds(); k++) {
        *w = small(k);
        const kr_net_kind *kind = kr_net_kind_for(word_of(k), *w);
        if (!strcmp(kind->name, name))
            return kind;
        kr_weights_unref(w);
    }
    fail_msg("%s is no network", name);
    return NULL;
}

/* fastMRI's U-Net is given the root of the sum of squares, less its mean, over its deviation (of n - 1), and nothing beyond 6 of these. */
static void standardised(void **state)
{
    (void)state;
    struct data d;
    make(&d);
    for (long c = 0; c < 4; c++)                             /* a bright point: its k-space is the same everywhere, up to signs */
        for (long i = 0; i < X * Y; i++)
            KR_C(d.full->data)[c * X * Y + i] += (float)((i % X + i / X) % 2 ? -40 : 40) * KR_C(d.full->data)[c * X * Y + (Y / 2) * X + X / 2] / (float)(X * Y);
    kr_scoped(weights) w = NULL;
    const kr_net_kind *kind = named("unet", &w);
    kr_lesson l;
    if (kr_lesson_of(&l, kind, w, d.full, d.full, d.maps, 0, NULL, NULL))
        fail_msg("%s", kr_error());
    kr_scoped(array) image = kr_array_copy(d.full->data);
    assert_int_equal(kr_fourier_inverse(image, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    kr_scoped(array) sum = kr_rss(image, KR_COIL);
    double mean = 0, var = 0, off = 0;
    int beyond = 0;
    for (long i = 0; i < X * Y; i++)
        mean += (double)KR_R(sum)[i] / (X * Y);
    for (long i = 0; i < X * Y; i++)
        var += pow((double)KR_R(sum)[i] - mean, 2) / (X * Y - 1);
    for (long i = 0; i < X * Y; i++) {
        double want = ((double)KR_R(sum)[i] - mean) / sqrt(var);
        beyond += want > 6;
        off = fmax(off, fabs((double)l.in.image[kind->own_axes ? i : i % X * Y + i / X] - fmin(want, 6)));
    }
    print_message("%d points beyond 6 deviations; off by %.1e\n", beyond, off);
    assert_true(beyond > 0 && off < 1e-4);
    kr_lesson_clear(&l);
    drop(&d);
}

/* Given everything, there is nothing to learn: the image without a network is the target. */
static void targets(void **state)
{
    (void)state;
    struct data d;
    make(&d);
    for (int k = 0; k < kinds(); k++) {
        kr_scoped(weights) w = small(k);
        const kr_net_kind *kind = kr_net_kind_for(word_of(k), w);
        if (kind->denoises || kind->judges || kind->rays_alone || !strcmp(kind->name, "refine"))
            continue;
        assert_int_equal(kr_meta_set(w->meta, "network", "%s", kind->name), 0);
        kr_lesson l;
        if (kr_lesson_of(&l, kind, w, d.full, d.full, d.maps, 0, NULL, NULL))
            fail_msg("%s: %s", kind->name, kr_error());
        double off = 0, all = 0, both = 0, first = 0;
        for (long i = 0; i < X * Y; i++) {
            both += (double)kr_re(kr_cmulc(l.first[i], l.target[i]));
            first += (double)kr_cabs2(l.first[i]);
        }
        for (long i = 0; i < X * Y; i++) {                   /* ATOMMIC divides its start by its own maximum */
            off += (double)kr_cabs2(l.target[i] - (float)(both / first) * l.first[i]);
            all += (double)kr_cabs2(l.target[i]);
        }
        if (!(off < 1e-4 * all))
            fail_msg("%s: the image of all samples is %g off the target", kind->name, sqrt(off / all));
        kr_lesson_clear(&l);
    }
    drop(&d);
}

/* Samples held back: the truth agrees with them, and derivatives of the loss are those of differences; also with the origin of the transform in the corner. */
static void misfit(const char *name, const char *key, const char *value)
{
    struct data d;
    make(&d);
    kr_weights *w;
    const kr_net_kind *kind = named(name, &w);
    assert_int_equal(key ? kr_meta_set(w->meta, key, "%s", value) : 0, 0);
    kr_scoped(array) given = NULL;
    kr_scoped(array) held = NULL;
    assert_int_equal(kr_lesson_split(&given, &held, d.scan->mask, 0.4, 3, 1), 0);
    long out = 0, points = 0;
    for (long i = 0; i < X * Y; i++) {
        assert_true(KR_R(given)[i] + KR_R(held)[i] == KR_R(d.scan->mask)[i]);
        out += KR_R(held)[i] != 0;
        points += KR_R(d.scan->mask)[i] != 0;
        if (labs(i / X - Y / 2) < 6)
            assert_true(KR_R(held)[i] == 0);
    }
    assert_true(10 * out > points && 10 * out < 4 * points);
    kr_scan *part = measured(d.full, given);
    kr_lesson l, truth;
    if (kr_lesson_of(&l, kind, w, part, d.scan, d.maps, 0, NULL, NULL) || kr_lesson_of(&truth, kind, w, part, d.full, d.maps, 0, NULL, NULL))
        fail_msg("%s: %s", name, kr_error());
    assert_true(!l.target && l.held && truth.target);
    kr_mask_facts f;
    assert_int_equal(kr_mask_describe(&f, given, KR_SHAPE([KR_X] = X, [KR_Y] = Y)), 0);
    for (long i = 0; i < X * Y && !key && l.in.w == X && l.in.h == Y; i++) {     /* what is compared: samples held back, and the centre */
        long x = i % X - f.centre_from[0], y = i / X - f.centre_from[1];
        bool centre = x >= 0 && x < f.centre[0] && y >= 0 && y < f.centre[1];
        assert_true(l.held_at[i] == (KR_R(d.scan->mask)[i] == 0 ? 0 : KR_R(given)[i] == 0 ? 1 : centre ? 2 : 0));
    }
    double good, bad, value_;
    assert_int_equal(kr_lesson_misfit(&good, NULL, &l, truth.target, 1), 0);
    assert_int_equal(kr_lesson_misfit(&bad, NULL, &l, l.first, 1), 0);
    print_message("%s: loss of the samples held back: of the full scan's image %.4f, of the first image %.4f\n", name, good, bad);
    assert_true(good < 0.7 * bad);                           /* maps do not explain all */
    kr_cfloat *x = malloc(X * Y * sizeof *x), *dx = malloc(X * Y * sizeof *dx);
    memcpy(x, l.first, X * Y * sizeof *x);
    assert_int_equal(kr_lesson_misfit(&value_, dx, &l, x, 2), 0);
    double size = 0;
    for (long i = 0; i < X * Y; i++)
        size += (double)kr_cabs2(dx[i]);
    size = sqrt(size);
    double h = 0.003, up, down, norm = 0;                     /* along the derivative: all of it */
    for (long i = 0; i < X * Y; i++)
        norm += (double)kr_cabs2(x[i]);
    h *= sqrt(norm) / size;
    for (long i = 0; i < X * Y; i++)
        x[i] = l.first[i] + (float)h * dx[i];
    assert_int_equal(kr_lesson_misfit(&up, NULL, &l, x, 1), 0);
    for (long i = 0; i < X * Y; i++)
        x[i] = l.first[i] - (float)h * dx[i];
    assert_int_equal(kr_lesson_misfit(&down, NULL, &l, x, 1), 0);
    double slope = (up - down) / (2 * h);
    print_message("%s: slope %.6g by differences, %.6g\n", name, slope, size * size / 2);
    assert_true(fabs(slope - size * size / 2) < 0.02 * slope);
    free(x);
    free(dx);
    kr_lesson_clear(&l);
    kr_lesson_clear(&truth);
    kr_scan_unref(&part);
    kr_weights_unref(&w);
    drop(&d);
}

static void held_back(void **state)
{
    (void)state;
    misfit("vn", NULL, NULL);
    misfit("vn", "hyper.fft_centered", "false");
    misfit("rim_direct", NULL, NULL);
    misfit("rim_direct", "hyper.fft_centered", "false");
    misfit("refine", NULL, NULL);
    struct data d;
    make(&d);
    kr_weights *w;
    const kr_net_kind *kind = named("unet", &w);
    kr_lesson l;
    assert_true(kr_lesson_of(&l, kind, w, d.scan, d.scan, d.maps, 0, NULL, NULL) < 0);
    assert_refused(KR_EREFUSED, "magnitudes");
    kr_weights_unref(&w);
    drop(&d);
    assert_int_equal(kr_mem_now(), 0);
}

/* By the presets of a method; weights: a file, or NULL. */
static kr_image *image_of(const char *method, const char *weights, const struct data *d)
{
    const kr_recon *r = kr_recon_named(method);
    void *opts = kr_alloc_zero(1, r->opts_size);
    kr_image *im = NULL;
    assert_int_equal(kr_opt_defaults(r->opts, opts), 0);
    if (weights)
        assert_int_equal(kr_opt_set(r->opts, opts, "weights", weights), 0);
    if (r->run(&im, d->scan, d->maps, opts, NULL))
        fail_msg("%s: %s", method, kr_error());
    kr_free(opts);
    return im;
}

/* A network that begins with the image of another method gives, untrained, that image with the measured samples put back, whether the image is made before or by the pipeline. */
static void first_image(void **state)
{
    (void)state;
    static const struct { const char *network, *method, *key[4], *value[4]; } job[] = {
        { "cirim", "rim", { "num_cascades", "conv_filters", "recurrent_layer" }, { "1", "5 5 2", "GRU" } },
        { "rvn", "rvn", { "no_parameter_sharing", "recurrent_hidden_channels", "recurrent_num_layers", "learned_initializer" }, { "false", "5", "2", "false" } } };
    struct data d;
    make(&d);
    long n = X * Y, coils = d.maps->n[KR_COIL];
    kr_scoped(image) begun = image_of("wavelet", NULL, &d);
    kr_scoped(array) first = kr_array_new(KR_C32, KR_SHAPE([KR_X] = X, [KR_Y] = Y));
    kr_array_assign(first, begun->data);
    kr_scoped(array) k = kr_array_copy(d.maps);
    for (long i = 0; i < n * coils; i++)
        KR_C(k)[i] = kr_cmul(KR_C(d.maps)[i], KR_C(first)[i % n]);
    assert_int_equal(kr_fourier(k, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    for (long i = 0; i < n * coils; i++)
        if (KR_R(d.scan->mask)[i % n] != 0)
            KR_C(k)[i] = KR_C(d.scan->data)[i];
    assert_int_equal(kr_fourier_inverse(k, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
    for (size_t q = 0; q < 2; q++) {
        const kr_net_kind *kind = NULL;
        for (int i = 0; kr_nets[i]; i++)
            kind = strcmp(kr_nets[i]->name, job[q].network) ? kind : kr_nets[i];
        kr_scoped(weights) w = kr_weights_new();
        assert_non_null(kind);
        for (int i = 0; i < 4 && job[q].key[i]; i++) {
            kr_auto char *key = kr_strf("hyper.%s", job[q].key[i]);
            assert_int_equal(kr_meta_set(w->meta, key, "%s", job[q].value[i]), 0);
        }
        assert_int_equal(kr_meta_set(w->meta, "hyper.first_image", "wavelet") || kr_meta_set(w->meta, "hyper.normalization_type", "none")
                         || kr_meta_set(w->meta, "network", "%s", kind->name) || kind->fresh(w, 7), 0);
        kr_weights_digest(w);
        const char *path = scratch("first.safetensors");
        assert_int_equal(kr_weights_write(w, path), 0);
        kr_scoped(image) im = image_of(job[q].method, path, &d);
        double off = 0, all = 0, change = 0;
        for (long i = 0; i < n; i++) {
            kr_cfloat want = kr_c(0, 0);
            for (long c = 0; c < coils; c++)
                want += kr_cmulc(KR_C(d.maps)[c * n + i], KR_C(k)[c * n + i]);
            off += (double)kr_cabs2(KR_C(im->data)[i] - want);
            change += (double)kr_cabs2(KR_C(first)[i] - want);
            all += (double)kr_cabs2(want);
        }
        print_message("# %s: %.1e off what it begins with, which is %.1e off the method's image\n", job[q].method, sqrt(off / all), sqrt(change / all));
        assert_true(sqrt(off / all) < 1e-5 && sqrt(change / all) > 1e-3);
        kr_lesson a, b;
        assert_int_equal(kr_lesson_of(&a, kind, w, d.scan, d.full, d.maps, 0, NULL, NULL) || kr_lesson_of(&b, kind, w, d.scan, d.full, d.maps, 0, first, NULL), 0);
        assert_memory_equal(a.in.start, b.in.start, (size_t)n * sizeof *a.in.start);
        assert_memory_equal(a.in.kspace, b.in.kspace, (size_t)(n * coils) * sizeof *a.in.kspace);
        kr_lesson_clear(&a);
        kr_lesson_clear(&b);
        assert_int_equal(kr_meta_set(w->meta, "hyper.first_image", "rss"), 0);                  /* not of one complex image */
        assert_true(kr_lesson_of(&a, kind, w, d.scan, d.full, d.maps, 0, NULL, NULL) < 0);
        assert_refused(KR_EFORMAT, "first_image");
    }
    drop(&d);
}

/* Parameters alone, then saved as published: what was there before, and nothing else; that reads as the same network. */
static void again(void **state)
{
    (void)state;
    for (int k = 0; k < kinds(); k++) {
        kr_scoped(weights) w = small(k);
        const kr_net_kind *kind = kr_net_kind_for(word_of(k), w);
        if (!kind->again || kind->rays_alone)
            continue;
        kr_graph *g = kr_net_graph(kind->name, w);
        assert_non_null(g);
        long count;
        kr_param *p = kr_graph_params(g, &count);
        kr_scoped(weights) out = kr_weights_new();
        for (long i = 0; i < count; i++) {
            kr_tensor *t = kr_weights_add(out, p[i].value.name, p[i].value.dims, p[i].value.n);
            memcpy(t->data, p[i].value.data, (size_t)kr_tensor_count(t) * sizeof(float));
        }
        for (long i = 0; i < kr_meta_count(w->meta); i++)
            assert_int_equal(kr_meta_set(out->meta, kr_meta_key(w->meta, i), "%s", kr_meta_value(w->meta, i)), 0);
        assert_int_equal(kind->again(out), 0);
        for (long i = 0; i < w->count; i++) {
            const kr_tensor *t = kr_weights_find(out, w->tensor[i].name);
            if (!t || kr_tensor_count(t) != kr_tensor_count(&w->tensor[i]) || memcmp(t->data, w->tensor[i].data, (size_t)kr_tensor_count(t) * sizeof(float)))
                fail_msg("%s: '%s' is %s", kind->name, w->tensor[i].name, t ? "another one" : "missing");
        }
        kr_graph *back = kr_net_graph(kind->name, out);      /* and every copy of an iteration counts */
        if (!back)
            fail_msg("%s: %s", kind->name, kr_error());
        kr_graph_unref(&back);
        kr_graph_unref(&g);
        long more = 0;
        for (long i = 0; i < out->count; i++)
            more += !kr_weights_find(w, out->tensor[i].name);
        print_message("%s: %ld tensors from %ld parameters, %ld of further iterations\n", kind->name, out->count, count, more);
    }
    assert_int_equal(kr_mem_now(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_in_use), cmocka_unit_test(first_image), cmocka_unit_test(standardised), cmocka_unit_test(targets), cmocka_unit_test(held_back), cmocka_unit_test(again) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
