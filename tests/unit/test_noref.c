/* SSIM without a reference: what images look like, whole maps of SSIM, and what is refused; and what tells scans that are unlike those of a training. */
#include "test.h"
#include "kray/metric.h"
#include "kray/noref.h"
#include "kray/range.h"

enum { NX = 40, NY = 36, N = NX * NY };
static const char file[] = "noref.safetensors", other[] = "noref_other.safetensors", mute[] = "noref_mute.safetensors";

static const kr_net_kind *kind(const char *name)
{
    for (int i = 0; kr_nets[i]; i++)
        if (!strcmp(kr_nets[i]->name, name))
            return kr_nets[i];
    return NULL;
}

static void make(const char *name, const char *size, bool told, const char *path)
{
    kr_weights *w = kr_weights_new();
    assert_true(w && !kr_meta_set(w->meta, "hyper.chans", "4") && !kr_meta_set(w->meta, "hyper.num_pool_layers", "2") && !kr_meta_set(w->meta, "hyper.channels", "%s", size));
    assert_int_equal(kind(name)->fresh(w, 3), 0);
    if (told)
        assert_true(!kr_meta_set(w->meta, "trained.air", "0.1 to 0.9") && !kr_meta_set(w->meta, "trained.brightness", "0.2 to 0.9") && !kr_meta_set(w->meta, "trained.contrast", "0.05 to 0.5")
                    && !kr_meta_set(w->meta, "trained.detail", "0.001 to 0.3"));
    assert_int_equal(kr_weights_write(w, path), 0);
    kr_weights_unref(&w);
}

/* A disc of 1 with a darker half, air of 0 around it. */
static void disc(float *x, double scale)
{
    for (int i = 0; i < N; i++) {
        double u = i % NX - NX / 2, v = i / NX - NY / 2;
        x[i] = (float)(hypot(u, v) < 12 ? scale * (u < 0 ? 1 : 0.5) : 0);
    }
}

static void looks_of_a_disc(void **state)
{
    (void)state;
    float x[N];
    double a[KR_NOREF_LOOKS], b[KR_NOREF_LOOKS];
    disc(x, 1);
    long object = 0, bright = 0;
    for (int i = 0; i < N; i++) {
        object += x[i] > 0;
        bright += x[i] > 0.75f;
    }
    assert_int_equal(kr_noref_looks(a, x, NX, NY), 0);
    double mean = (double)(object + bright) / 2 / (double)object;
    assert_near(a[0], 1 - (double)object / N, 1e-12);
    assert_near(a[1], mean, 1e-12);
    assert_near(a[2], sqrt(((double)bright + 0.25 * (double)(object - bright)) / (double)object - mean * mean), 1e-12);
    disc(x, 37);
    assert_int_equal(kr_noref_looks(b, x, NX, NY), 0);
    for (int i = 0; i < KR_NOREF_LOOKS; i++)
        assert_near(b[i], a[i], 1e-9);
    for (int i = 0; i < N; i++)              /* second differences of i^2 are 2 along a row, and 2 NX^2 down a column */
        x[i] = (float)(i % NX) * (float)(i % NX);
    assert_int_equal(kr_noref_looks(a, x, NX, NY), 0);
    double unit = kr_noref_unit(x, N), along = (double)(NX - 2) * NY, down = (double)NX * (NY - 2);
    assert_near(a[3], 2 / unit * sqrt(along / (along + down)), 1e-7);
    memset(x, 0, sizeof x);
    assert_int_not_equal(kr_noref_looks(a, x, NX, NY), 0);
    assert_refused(KR_ENUMBER, "0 everywhere");
}

/* The mean over the interior is the SSIM of metric.h, which others have checked. */
static void map_of_ssim(void **state)
{
    (void)state;
    float t[N], r[N], map[N];
    disc(t, 1);
    for (int i = 0; i < N; i++)
        r[i] = t[i] * 0.8f + (float)(0.1 * kr_rand_uniform(3, 4, (uint64_t)i));
    assert_int_equal(kr_ssim_map(map, t, r, NX, NY, 1), 0);
    double sum = 0;
    for (int y = 3; y < NY - 3; y++)
        for (int x = 3; x < NX - 3; x++)
            sum += (double)map[y * NX + x];
    assert_near(sum / ((NX - 6) * (NY - 6)), kr_ssim(t, r, NX, NY, 1), 1e-6);
    assert_true(map[0] == map[3 * NX + 3] && map[N - 1] == map[N - 1 - 3 * NX - 3] && map[NX - 1] == map[4 * NX - 4]);
    assert_int_not_equal(kr_ssim_map(map, t, r, 6, 6, 1), 0);
    assert_refused(KR_ESHAPE, "smaller than the window");
    assert_int_not_equal(kr_ssim_map(map, t, r, NX, NY, 0), 0);
    assert_refused(KR_ENUMBER, "positive data range");
}

static void guesses(void **state)
{
    (void)state;
    float x[N];
    double a, b;
    unsigned unlike;
    kr_noref *j = kr_noref_open(file);
    assert_non_null(j);
    disc(x, 1);
    assert_int_equal(kr_noref_run(&a, &unlike, j, x, NX, NY), 0);
    assert_true(a > 0 && a < 1 && !unlike);
    kr_weights *w = NULL;                    /* the mean of the network's map over the interior, as SSIM is */
    assert_int_equal(kr_weights_read(&w, file), 0);
    kr_net *net = kr_net_new(NULL, w, false);
    kr_cfloat map[N];
    float scaled[N];
    double unit = kr_noref_unit(x, N), sum = 0;
    for (int i = 0; i < N; i++)
        scaled[i] = (float)((double)x[i] / unit);
    assert_true(net && !kr_net_run(net, map, &(kr_net_input){ .coils = 1, .h = NY, .w = NX, .image = scaled, .centred = true }, NULL));
    for (int y = 3; y < NY - 3; y++)
        for (int k = 3; k < NX - 3; k++)
            sum += (double)kr_re(map[y * NX + k]);
    assert_near(a, sum / ((NX - 6) * (NY - 6)), 1e-9);
    kr_net_unref(&net);
    kr_weights_unref(&w);
    disc(x, 512);                            /* brighter: the same */
    assert_int_equal(kr_noref_run(&b, &unlike, j, x, NX, NY), 0);
    assert_near(a, b, 1e-6);
    for (int i = 0; i < N; i++)              /* noise alone, without air */
        x[i] = (float)(1 + kr_rand_uniform(1, 2, (uint64_t)i));
    assert_int_equal(kr_noref_run(&b, &unlike, j, x, NX, NY), 0);
    assert_true(unlike & 1 && unlike & 8);
    memset(x, 0, sizeof x);
    assert_int_equal(kr_noref_run(&b, &unlike, j, x, NX, NY), 0);
    assert_true(isnan(b));
    x[5] = NAN;
    assert_int_not_equal(kr_noref_run(&b, &unlike, j, x, NX, NY), 0);
    assert_refused(KR_ENUMBER, "not a finite number");
    assert_int_not_equal(kr_noref_run(&b, &unlike, j, x, 31, 40), 0);
    assert_refused(KR_ESHAPE, "too small");
    kr_noref_close(&j);
}

static void refusals(void **state)
{
    (void)state;
    assert_null(kr_noref_open(other));
    assert_refused(KR_EREFUSED, "another network");
    assert_null(kr_noref_open(mute));
    assert_refused(KR_EFORMAT, "do not tell trained.air");
    assert_null(kr_noref_open("absent.safetensors"));
    kr_error_clear();
}

/* ---- Ranges ---- */
static int said;
static char last[400];
static void hear(void *self, int how, const char *text)
{
    (void)self;
    said += how == KR_WARNING;
    snprintf(last, sizeof last, "%s", text);
}

static void families(void **state)
{
    (void)state;
    static const struct { const char *mask, *name; } job[] = {
        { "equispaced:accel=4,lines=16", "regular lines" }, { "random:accel=4,lines=16", "irregular lines" }, { "poisson:accel=6,calib=16,axes=xy", "irregular points over the plane" },
    };
    kr_shape plane = KR_SHAPE([KR_X] = 96, [KR_Y] = 128);
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        kr_array *m = kr_mask_new(job[i].mask, plane, NULL);
        kr_mask_facts f;
        assert_true(m && !kr_mask_describe(&f, m, plane));
        assert_string_equal(kr_mask_family_name(kr_mask_family(&f)), job[i].name);
        kr_array_unref(&m);
    }
    /* An axis counts where it has lines beyond the centre that are not all measured. */
    static const struct { long centre[2], step[2]; double partial; const char *name; } told[] = {
        { { 96, 128 }, { 1, 1 }, 1, "regular lines" }, { { 96, 20 }, { 1, 2 }, 1, "regular lines" }, { { 96, 20 }, { 3, 0 }, 1, "irregular lines" }, { { 40, 20 }, { 1, 0 }, 1, "irregular lines" },
        { { 20, 20 }, { 2, 2 }, 1, "a regular grid over the plane" }, { { 20, 20 }, { 2, 0 }, 1, "irregular points over the plane" }, { { 20, 20 }, { 2, 1 }, 1, "regular lines" },
        { { 20, 20 }, { 2, 2 }, 0.9, "a regular grid over the plane" }, { { 20, 20 }, { 0, 2 }, 0.89, "irregular points over the plane with partial Fourier" },
    };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        const kr_mask_facts of = { .n = { 96, 128, 1 }, .centre = { told[i].centre[0], told[i].centre[1], 1 }, .step = { told[i].step[0], told[i].step[1], 1 }, .partial = { 1, told[i].partial, 1 } };
        assert_string_equal(kr_mask_family_name(kr_mask_family(&of)), told[i].name);
    }
    kr_mask_facts f;
    assert_int_equal(kr_mask_describe(&f, NULL, plane), 0);
    assert_string_equal(kr_mask_family_name(kr_mask_family(&f)), "full sampling");
    kr_array *m = kr_array_new(KR_R32, KR_SHAPE([KR_Y] = 128));      /* every second line of three quarters */
    for (int i = 0; i < 128; i++)
        KR_R(m)[i] = i >= 32 && (i % 2 == 0 || (i > 54 && i < 74));
    assert_int_equal(kr_mask_describe(&f, m, plane), 0);
    assert_string_equal(kr_mask_family_name(kr_mask_family(&f)), "regular lines of partial Fourier");
    for (int i = 0; i < 128; i++)                                    /* all of them */
        KR_R(m)[i] = i >= 32;
    assert_int_equal(kr_mask_describe(&f, m, plane), 0);
    assert_string_equal(kr_mask_family_name(kr_mask_family(&f)), "regular lines of partial Fourier");
    kr_array_unref(&m);
}

static void compared(void **state)
{
    (void)state;
    kr_meta *m = kr_meta_new();
    kr_trace trace = { .say = hear };
    kr_array *x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 10, [KR_Y] = 10));
    for (int i = 0; i < 25; i++)
        KR_C(x)[i] = kr_c(3, 4);
    assert_near(kr_image_norm(x), 0.5, 1e-6);                        /* a quarter of 5, 5 the 99th percentile */
    kr_array_unref(&x);
    assert_true(!kr_meta_set(m, "trained.norm", "0.2 to 0.5") && !kr_meta_set(m, "trained.masks", "regular lines, irregular points over the plane"));
    kr_range_compare(m, "trained.norm", 0.54, "norms", &trace);
    kr_range_compare(m, "trained.other", 9, "norms", &trace);
    kr_range_mask(m, 0, &trace);
    kr_range_mask(m, 3, &trace);
    assert_int_equal(said, 0);
    kr_range_compare(m, "trained.norm", 0.56, "norms", &trace);
    assert_true(said == 1 && strstr(last, "norms from 0.2 to 0.5, this scan has 0.56"));
    kr_range_mask(m, 1, &trace);
    assert_true(said == 2 && strstr(last, "has irregular lines"));
    kr_meta_unref(&m);
}

int main(void)
{
    make("ssim", "4", true, file);
    make("ssim", "4", false, mute);
    make("refine", "4", true, other);
    const struct CMUnitTest tests[] = { cmocka_unit_test(looks_of_a_disc), cmocka_unit_test(map_of_ssim), cmocka_unit_test(guesses), cmocka_unit_test(refusals), cmocka_unit_test(families),
                                        cmocka_unit_test(compared) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
