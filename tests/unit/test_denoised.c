/* Methods with a trained denoiser, with one that changes nothing: then every step has a closed form where all is measured, and plug and play is least squares. */
#include "test.h"
#include "kray/diffusion.h"
#include "kray/fourier.h"
#include "kray/net.h"
#include "kray/recon.h"

static const char file[] = "denoised.safetensors", other[] = "denoised_other.safetensors";

static const kr_net_kind *kind(const char *name)
{
    for (int i = 0; kr_nets[i]; i++)
        if (!strcmp(kr_nets[i]->name, name))
            return kr_nets[i];
    return NULL;
}

/* Untrained: its last layer is 0. */
static void weights(void)
{
    kr_weights *w = kr_weights_new(), *r = kr_weights_new();
    assert_true(w && r && !kr_meta_set(w->meta, "hyper.channels", "4") && !kr_meta_set(w->meta, "hyper.pools", "1") && !kr_meta_set(r->meta, "hyper.channels", "4"));
    assert_true(!kind("denoiser")->fresh(w, 1) && !kr_weights_write(w, file));
    assert_true(!kind("refine")->fresh(r, 1) && !kr_weights_write(r, other));
    kr_weights_unref(&w);
    kr_weights_unref(&r);
}

static void *options(const kr_recon *m, const char *path)
{
    void *o = calloc(1, m->opts_size);
    assert_true(o && !kr_opt_defaults(m->opts, o) && !kr_opt_set(m->opts, o, "weights", path));
    return o;
}

static void set(const kr_recon *m, void *o, const char *name, const char *value) { assert_int_equal(kr_opt_set(m->opts, o, name, value), 0); }

enum { NX = 16, NY = 12, N = NX * NY };

/* One coil that sees all alike, everything measured: A^H A = 1. Its image has the magnitude 3 everywhere. */
static void whole(kr_scan *s, kr_array **maps, kr_cfloat *image)
{
    *s = (kr_scan){ .data = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = 1)), .meta = kr_meta_new(), .geom = NULL, .whitened = true };
    *maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY, [KR_COIL] = 1));
    kr_array *mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = NX, [KR_Y] = NY));
    assert_true(s->data && *maps && mask);
    kr_fill(mask, 1);
    for (long i = 0; i < N; i++) {
        double t = 6 * kr_rand_uniform(3, 0, (uint64_t)i);
        image[i] = KR_C(s->data)[i] = kr_c((float)(3 * cos(t)), (float)(3 * sin(t)));
        KR_C(*maps)[i] = kr_c(1, 0);
    }
    s->mask = mask;
    s->shape = kr_array_shape(s->data);
    assert_int_equal(kr_fourier(s->data, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
}

static void scan_free(kr_scan *s, kr_array **maps)
{
    kr_array_unref(&s->data);
    kr_array_unref(&s->mask);
    kr_array_unref(maps);
    kr_meta_unref(&s->meta);
}

/* The sampler where D(x) = x and A^H A = 1: (1 + gamma) x = x0 + gamma b, x0 = x / sqrt(a), and the estimated noise is 0. It starts at the last of its times whose noise is `most` of the image at most. */
static kr_image *sampled(kr_scan *s, kr_array *maps, const kr_cfloat *image, void *o, const char *times, const char *most)
{
    const kr_recon *m = kr_recon_named("dds");
    set(m, o, "times", times);
    set(m, o, "start", most);
    kr_image *im = NULL;
    if (m->run(&im, s, maps, o, NULL))
        fail_msg("%s", kr_error());
    double a[KR_DIFFUSION_TIMES + 1], x[2 * N], unit = 3 * 16383.5 / 16384, off = 0;
    kr_diffusion_alpha(a);
    long skip = 1000 / strtol(times, NULL, 10), t = 0;
    while (t + skip <= 999 && sqrt((1 - a[t + skip + 1]) / a[t + skip + 1]) <= strtod(most, NULL))
        t += skip;
    for (long i = 0; i < N; i++) {
        double z[2];
        kr_rand_normal2(1, 1001, (uint64_t)i, z);
        for (int q = 0; q < 2; q++)                              /* (1/50 + 1) x = b, to begin with */
            x[2 * i + q] = sqrt(a[t + 1]) * 50 / 51 * (double)((const float *)image)[2 * i + q] / unit + sqrt(1 - a[t + 1]) * z[q];
    }
    for (; t >= 0; t -= skip) {
        double next = t >= skip ? a[t - skip + 1] : 1;
        for (long i = 0; i < N; i++) {
            double z[2];
            kr_rand_normal2(1, (uint64_t)t, (uint64_t)i, z);
            for (int q = 0; q < 2; q++) {
                double x0 = (x[2 * i + q] / sqrt(a[t + 1]) + 5 * (double)((const float *)image)[2 * i + q] / unit) / 6;
                x[2 * i + q] = t == skip ? x0 : sqrt(next) * x0 + 0.85 * sqrt(1 - next) * z[q];
            }
        }
    }
    for (long i = 0; i < 2 * N; i++)
        off = fmax(off, fabs(x[i] * unit - (double)((const float *)im->data->data)[i]) / 3);
    print_message("sampler of %s times from %s against its formula: %.1e of the image\n", times, most, off);
    assert_true(off < 1e-4);                                     /* float images over some steps, and a percentile from a histogram */
    return im;
}

static void diffusion(void **state)
{
    (void)state;
    weights();
    kr_scan s;
    kr_array *maps;
    kr_cfloat image[N];
    whole(&s, &maps, image);
    const kr_recon *m = kr_recon_named("dds");
    void *o = options(m, file);
    for (int i = 0; i < 3; i++) {
        kr_image *by = sampled(&s, maps, image, o, (const char *const[]){ "7", "30", "3" }[i], (const char *const[]){ "1000", "0.3", "0.001" }[i]);
        kr_image_unref(&by);
    }
    kr_image *im = sampled(&s, maps, image, o, "20", "1");
    kr_image *again = NULL, *seed = NULL;
    assert_int_equal(m->run(&again, &s, maps, o, NULL), 0);
    assert_memory_equal(im->data->data, again->data->data, sizeof image);
    set(m, o, "seed", "2");
    assert_int_equal(m->run(&seed, &s, maps, o, NULL), 0);
    assert_memory_not_equal(im->data->data, seed->data->data, sizeof image);
    kr_image_unref(&im);
    kr_image_unref(&again);
    kr_image_unref(&seed);
    free(o);
    scan_free(&s, &maps);
}

/* (1 + gamma A^T A / unit) x = b by conjugate gradients from x. */
static void solved(kr_array *x, const kr_linop *A, double unit, const kr_array *b, double gamma, int steps)
{
    kr_array *r = kr_array_copy(b), *p = kr_array_copy(x), *q = kr_array_like(x), *y = kr_array_new(KR_R32, kr_linop_codomain(A));
    double rr = 0, least = 1e-14 * kr_dot_re(b, b);
    for (int k = -1; k < steps && (k < 1 || rr > least); k++) {                               /* the first time q = (1 + gamma N) x, p = r = b - q */
        kr_apply(A, y, p);
        kr_apply_adj(A, q, y);
        kr_scale(q, (float)(gamma / unit));
        kr_axpy(q, 1, p);
        float a = (float)(k < 0 ? 1 : rr / kr_dot_re(p, q));
        if (k >= 0)
            kr_axpy(x, a, p);
        kr_axpy(r, -a, q);
        double was = rr;
        rr = kr_dot_re(r, r);
        kr_scale(p, k < 0 ? 0 : (float)(rr / was));
        kr_axpy(p, 1, r);
    }
    kr_array_unref(&r);
    kr_array_unref(&p);
    kr_array_unref(&q);
    kr_array_unref(&y);
}

/* With D(x) = x rounds of (N + a) x = b + a x lead to the image whose projections are the data. */
static void plug_and_play(void **state)
{
    (void)state;
    enum { SIDE = 20, VIEWS = 40, COLUMNS = 31 };
    double angle[VIEWS];
    for (int i = 0; i < VIEWS; i++)
        angle[i] = M_PI * i / VIEWS;
    kr_rays *r = kr_rays_parallel(&(kr_detector){ COLUMNS, 1, { 1, 0 }, { 0, 0 } }, VIEWS, angle);
    kr_grid g = kr_grid_centred((long[3]){ SIDE, SIDE, 1 }, (double[3]){ 1, 1, 1 });
    kr_linop *A = kr_op_rays(r, &g, KR_RAY_JOSEPH);
    kr_array *x = kr_array_new(KR_R32, kr_linop_domain(A)), *y = kr_array_new(KR_R32, kr_linop_codomain(A)), *b = kr_array_like(y);
    for (long i = 0; i < SIDE * SIDE; i++)
        KR_R(x)[i] = (float)(labs(i % SIDE - 8) < 5 && labs(i / SIDE - 11) < 4);
    kr_apply(A, y, x);
    kr_scan s = { .data = y, .shape = kr_array_shape(y), .rays = r, .grid = g, .ray_model = KR_RAY_JOSEPH, .meta = kr_meta_new() };
    const kr_recon *m = kr_recon_named("pnp");
    void *o = options(m, file);
    set(m, o, "iterations", "30");
    set(m, o, "noise", "0.2");
    set(m, o, "lambda", "0.001");
    kr_image *im = NULL;
    if (m->run(&im, &s, NULL, o, NULL))
        fail_msg("%s", kr_error());
    assert_int_equal(im->data->type, KR_R32);
    kr_array_assign(x, im->data);
    kr_apply(A, b, x);
    kr_axpy(b, -1, y);
    double misfit = sqrt(kr_dot_re(b, b) / kr_dot_re(y, y));
    print_message("misfit %.1e\n", misfit);
    assert_true(misfit < 3e-3);                                  /* 300 conjugate gradient steps, begun anew every 10 */
    kr_image_unref(&im);
    /* Two rounds, step by step, in units in which the 99th percentile of |A^T y| is 1: noise s of start, then of the end; gamma = s^2 / (lambda end^2); (1 + gamma N) x = x + gamma b. */
    set(m, o, "iterations", "2");
    set(m, o, "start", "0.5");
    set(m, o, "cg", "40");
    set(m, o, "lambda", "2");
    if (m->run(&im, &s, NULL, o, NULL))
        fail_msg("%s", kr_error());
    kr_array *z = kr_array_like(x), *c = kr_array_like(x), *one = kr_array_like(y);
    kr_fill(z, 1);
    kr_apply(A, one, z);
    double unit = kr_max_abs(one);
    kr_fill(one, 1);
    kr_apply_adj(A, z, one);
    unit *= kr_max_abs(z);
    kr_fill(z, 0);
    for (int k = 0; k < 3; k++) {                                    /* the image that all begins with: gamma 50, ten steps */
        double gamma = k ? pow(k == 1 ? 0.5 : 0.2, 2) / (2 * 0.2 * 0.2) : 50;
        kr_apply_adj(A, c, y);
        kr_scale(c, (float)(gamma / unit));
        if (k)
            kr_axpy(c, 1, z);
        solved(z, A, unit, c, gamma, k ? 40 : 10);
    }
    double off = 0, size = 0;
    for (long i = 0; i < SIDE * SIDE; i++) {
        off += pow((double)KR_R(im->data)[i] - (double)KR_R(z)[i], 2);
        size += pow((double)KR_R(z)[i], 2);
    }
    print_message("two rounds: off by %.1e of the image\n", sqrt(off / size));
    assert_true(sqrt(off / size) < 1e-3);
    kr_array_unref(&z);
    kr_array_unref(&c);
    kr_array_unref(&one);
    kr_image_unref(&im);
    free(o);
    /* What is no denoiser, and none at all. */
    o = options(m, other);
    assert_int_not_equal(m->run(&im, &s, NULL, o, NULL), 0);
    assert_non_null(strstr(kr_error(), "another method"));
    set(m, o, "lambda", "-1");
    assert_int_not_equal(m->run(&im, &s, NULL, o, NULL), 0);
    assert_refused(KR_EUSAGE, "lambda above 0");
    free(o);
    kr_array_unref(&x);
    kr_array_unref(&y);
    kr_array_unref(&b);
    kr_linop_unref(&A);
    kr_rays_unref(&r);
    kr_meta_unref(&s.meta);
    remove(file);
    remove(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(diffusion), cmocka_unit_test(plug_and_play) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
