#include "test.h"
#include "kray/fourier.h"
#include "kray/io.h"
#include "kray/recon.h"

/* Coils whose maps are waves exp(2 pi i m y / N): the k-space of coil m is that of the object, moved by m samples. A sample
 * that one coil misses then was measured by another one, at a neighbouring place: the kernel is known, 1 there and 0
 * elsewhere, and the image comes out exactly, whatever the object. Mixing the channels changes nothing of it. */
struct waves { long n[3], coils; long (*move)[3]; };

static kr_scan *waves_scan(const struct waves *w, uint64_t seed)
{
    kr_scan *s = kr_scan_new();
    kr_shape shape = KR_SHAPE([KR_X] = w->n[0], [KR_Y] = w->n[1], [KR_Z] = w->n[2]), all = shape;
    all.n[KR_COIL] = w->coils;
    kr_scoped(array) object = kr_array_new(KR_C32, shape);
    fill_random(object, seed);
    s->data = kr_array_new(KR_C32, all);
    s->shape = all;
    long n = kr_count(shape);
    for (long i = 0; i < n; i++) {
        long x[3] = { i % w->n[0], i / w->n[0] % w->n[1], i / w->n[0] / w->n[1] };
        for (long c = 0; c < w->coils; c++) {
            kr_cfloat sum = 0;
            for (long m = 0; m < w->coils; m++) {        /* mixed by an invertible matrix: 1 on the diagonal, small beside */
                long e = 0;
                for (int d = 2; d >= 0; d--)
                    e = e * w->n[d] + (x[d] + w->move[m][d] + w->n[d]) % w->n[d];
                sum += kr_cmul(m == c ? kr_c(1, 0) : kr_c(0.3f / (float)(m + w->coils), -0.2f / (float)(c + w->coils)), KR_C(object)[e]);
            }
            KR_C(s->data)[c * n + i] = sum;
        }
    }
    return s;
}

/* Measured: where (y + shift * z) % ry == 0 and z % rz == 0, and a centre of `centre` samples each way. */
static void thin(kr_scan *s, const long r[3], long shift, long centre)
{
    const kr_array *a = s->data;
    kr_scoped(array) m = kr_array_new(KR_R32, kr_shape_only(s->shape, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)));
    for (long z = 0; z < a->n[KR_Z]; z++)
        for (long y = 0; y < a->n[KR_Y]; y++)
            for (long x = 0; x < a->n[KR_X]; x++) {
                bool in = (labs(y - a->n[KR_Y] / 2) <= centre / 2 || r[1] == 1) && (labs(z - a->n[KR_Z] / 2) <= centre / 2 || r[2] == 1)
                       && (labs(x - a->n[KR_X] / 2) <= centre / 2 || r[0] == 1);
                KR_R(m)[(z * a->n[KR_Y] + y) * a->n[KR_X] + x] = in || (x % r[0] == 0 && (y + shift * (z / r[2])) % r[1] == 0 && z % r[2] == 0);
            }
    assert_int_equal(kr_scan_undersample(s, m), 0);
}

static kr_array *rss_of(const kr_scan *s)
{
    kr_scoped(array) x = kr_array_copy(s->data);
    assert_int_equal(kr_fourier_inverse(x, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)), 0);
    return kr_rss(x, KR_COIL);
}

/* One value for the option named; the image, or NULL. */
static kr_image *fill(const char *method, const kr_scan *s, const char *lambda, const char *name, const char *value)
{
    const kr_recon *m = kr_recon_named(method);
    assert_non_null(m);
    kr_auto void *o = kr_alloc_zero(1, m->opts_size);
    assert_int_equal(kr_opt_defaults(m->opts, o), 0);
    assert_int_equal(kr_opt_set(m->opts, o, "lambda", lambda), 0);
    if (!strcmp(method, "spirit"))                           /* linear, unless the test says so */
        assert_int_equal(kr_opt_set(m->opts, o, "l1", "0"), 0);
    if (name)
        assert_int_equal(kr_opt_set(m->opts, o, name, value), 0);
    kr_image *im = NULL;
    return m->run(&im, s, NULL, o, NULL) ? NULL : im;
}

static kr_image *grappa(const kr_scan *s, const char *name, const char *value) { return fill("grappa", s, "1e-5", name, value); }

static long four[4][3] = { { 0, 0, 0 }, { 0, 1, 0 }, { 0, 2, 0 }, { 0, 3, 0 } };
static long plane[4][3] = { { 0, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 0, 1, 1 } };
static long caipi[4][3] = { { 0, 0, 0 }, { 0, 1, 0 }, { 0, 1, 1 }, { 0, 0, -1 } };      /* one of each y + z mod 4 */
static long nine[9][3] = { { 0, 0, 0 }, { 0, 1, 0 }, { 0, 2, 0 }, { 0, 0, 1 }, { 0, 1, 1 }, { 0, 2, 1 }, { 0, 0, 2 }, { 0, 1, 2 }, { 0, 2, 2 } };
static long flat[4][3] = { { 0, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 1, 1, 0 } };

static void known_relations(void **state)
{
    (void)state;
    static const struct { struct waves w; long r[3], shift, centre; } job[] = {
        { { { 24, 48, 1 }, 2, four }, { 1, 2, 1 }, 0, 16 }, { { { 25, 48, 1 }, 3, four }, { 1, 3, 1 }, 0, 20 },
        { { { 24, 60, 1 }, 4, four }, { 1, 4, 1 }, 0, 24 }, { { { 31, 59, 1 }, 4, four }, { 1, 4, 1 }, 0, 24 },   /* R does not divide */
        { { { 16, 24, 24 }, 4, plane }, { 1, 2, 2 }, 0, 14 }, { { { 16, 24, 24 }, 4, caipi }, { 1, 4, 1 }, 1, 16 }, /* CAIPI: moved by 1 */
        { { { 16, 60, 5 }, 4, four }, { 1, 4, 1 }, 0, 24 },                                                       /* 3D, full along z */
        { { { 32, 32, 1 }, 4, flat }, { 2, 2, 1 }, 0, 16 } };                                                     /* readout too */
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        kr_scoped(scan) s = waves_scan(&job[i].w, i);
        kr_scoped(array) want = rss_of(s);
        thin(s, job[i].r, job[i].shift, job[i].centre);
        kr_scoped(array) zero = rss_of(s);
        kr_scoped(image) im = grappa(s, NULL, NULL);
        if (!im)
            fail_msg("case %zu: %s", i, kr_error());
        assert_true(distance(zero, want) > 0.2);
        assert_near(distance(im->data, want), 0, 1e-4);      /* ridge 1e-5 */
    }
}

static void full_scan_is_kept(void **state)
{
    (void)state;
    kr_scoped(scan) s = waves_scan(&(struct waves){ { 16, 20, 1 }, 4, four }, 1);
    kr_scoped(array) want = rss_of(s);
    kr_scoped(image) im = grappa(s, NULL, NULL);
    assert_non_null(im);
    assert_near(distance(im->data, want), 0, 1e-6);
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    kr_scoped(scan) s = waves_scan(&(struct waves){ { 32, 48, 1 }, 3, four }, 5);
    thin(s, (long[]){ 1, 3, 1 }, 0, 20);
    int threads = kr_threads();
    kr_threads_set(1);
    kr_scoped(image) a = grappa(s, NULL, NULL);
    kr_threads_set(3);
    kr_scoped(image) b = grappa(s, NULL, NULL);
    kr_threads_set(threads);
    assert_non_null(a);
    assert_non_null(b);
    assert_memory_equal(a->data->data, b->data->data, (size_t)(32 * 48) * sizeof(float));
}

/* A series, of which later frames may be unmixed in image space, is its frames one by one. Combined by maps; with and without calibration
 * lines inside, in planes too. */
static void series_is_its_frames(void **state)
{
    (void)state;
    enum { FRAMES = 12 };
    static const struct { struct waves w; long r[3], shift, centre; } job[] = {
        { { { 24, 48, 1 }, 4, four }, { 1, 3, 1 }, 0, -1 }, { { { 16, 36, 5 }, 4, four }, { 1, 2, 1 }, 0, 16 }, { { { 8, 16, 16 }, 4, caipi }, { 1, 4, 1 }, 1, -1 } };
    for (size_t k = 0; k < sizeof job / sizeof *job; k++) {
        kr_scoped(scan) s = waves_scan(&job[k].w, k);
        const long most[3] = { 20, 20, 20 };
        kr_scoped(array) calib = kr_calibration(s, most);
        kr_scoped(array) maps = kr_array_like(s->data);
        fill_random(maps, k + 5);
        kr_array *first = s->data;
        kr_shape shape = s->shape;
        shape.n[KR_TIME] = FRAMES;
        s->data = kr_array_new(KR_C32, shape);
        s->shape = shape;
        s->calib = kr_array_ref(calib);
        fill_random(s->data, k + 9);
        kr_array_unref(&first);
        thin(s, job[k].r, job[k].shift, job[k].centre);
        const kr_recon *m = kr_recon_named("grappa");
        kr_auto void *o = kr_alloc_zero(1, m->opts_size);
        assert_int_equal(kr_opt_defaults(m->opts, o), 0);
        kr_scoped(image) all = NULL;
        assert_int_equal(m->run(&all, s, maps, o, NULL), 0);
        for (long t = 0; t < FRAMES; t += FRAMES - 1) {
            kr_scoped(array) frame = kr_array_at(s->data, KR_TIME, t);
            kr_scoped(array) own = kr_array_copy(frame);
            kr_scan one = { .shape = kr_array_shape(own), .data = own, .mask = s->mask, .calib = s->calib, .geom = s->geom, .meta = s->meta };
            kr_scoped(image) alone = NULL;
            assert_int_equal(m->run(&alone, &one, maps, o, NULL), 0);
            kr_scoped(array) there = kr_array_at(all->data, KR_TIME, t);
            kr_scoped(array) found = kr_array_copy(there);
            double e = distance(found, alone->data);
            print_message("case %zu, frame %ld: %.2g\n", k, t, e);
            assert_near(e, 0, 5e-6);                             /* float32, in another order */
        }
    }
}

static void refusals(void **state)
{
    (void)state;
    struct waves w = { { 24, 48, 1 }, 3, four };
    kr_scoped(scan) few = waves_scan(&w, 2);
    thin(few, (long[]){ 1, 6, 1 }, 0, 4);
    assert_null(grappa(few, "kernel", "9"));
    assert_refused(KR_EREFUSED, "measure more calibration lines");
    kr_scoped(image) narrower = grappa(few, NULL, NULL);     /* with a kernel that five lines can tell */
    assert_non_null(narrower);
    kr_scoped(scan) none = waves_scan(&w, 2);
    thin(none, (long[]){ 1, 5, 1 }, 0, -1);
    assert_null(grappa(none, NULL, NULL));
    assert_int_equal(kr_error_code(), KR_EREFUSED);
    assert_null(fill("spirit", none, "0.01", NULL, NULL));
    assert_refused(KR_EREFUSED, "measure more calibration lines");
    kr_scoped(scan) narrow = waves_scan(&(struct waves){ { 6, 48, 1 }, 4, four }, 2);
    thin(narrow, (long[]){ 1, 3, 1 }, 0, 9);
    assert_null(grappa(narrow, "neighbours", "4"));
    assert_refused(KR_EREFUSED, "unknowns of a kernel");
    kr_scoped(scan) irregular = waves_scan(&(struct waves){ { 8, 64, 64 }, 4, plane }, 2);
    kr_scoped(array) poisson = kr_mask_new("poisson:accel=4,calib=16,axes=yz", KR_SHAPE([KR_X] = 8, [KR_Y] = 64, [KR_Z] = 64), NULL);
    assert_int_equal(kr_scan_undersample(irregular, poisson), 0);
    assert_null(grappa(irregular, NULL, NULL));
    assert_refused(KR_EREFUSED, "--method spirit");
    kr_scoped(scan) off = waves_scan(&w, 2);                 /* a coil that is switched off decides nothing */
    memset(KR_C(off->data) + 2 * 24 * 48, 0, 24 * 48 * sizeof(kr_cfloat));
    thin(off, (long[]){ 1, 2, 1 }, 0, 16);
    assert_null(grappa(off, "lambda", "0"));
    assert_refused(KR_ENUMBER, "larger --lambda");
    kr_scoped(image) regular = grappa(off, "lambda", "1e-4");
    assert_non_null(regular);
    kr_scoped(scan) one = kr_scan_new();
    one->data = kr_array_new(KR_C32, one->shape = KR_SHAPE([KR_X] = 8, [KR_Y] = 8));
    assert_null(grappa(one, NULL, NULL));
    assert_refused(KR_EREFUSED, "several coils");
    kr_scoped(scan) fine = waves_scan(&w, 2);
    assert_null(grappa(fine, "kernel", "4"));
    assert_refused(KR_EREFUSED, "odd --kernel");
}

/* A fully sampled brain, its RSS image, and what a mask leaves of its k-space. */
static kr_scan *brain(kr_array **want, const char *mask)
{
    char source[1100];
    kr_scan *s = NULL;
    snprintf(source, sizeof source, "%s:kData@x,y,coil", shared("data/mri/brain_mprage_4ch_256_loraks.mat"));
    assert_int_equal(kr_scan_read(&s, source, NULL, NULL, NULL), 0);
    *want = rss_of(s);
    kr_scoped(array) m = kr_mask_new(mask, s->shape, NULL);
    assert_int_equal(kr_scan_undersample(s, m), 0);
    return s;
}

/* NRMSE of images by these floors of the kernel fit; returns the least. */
static double by_floors(double *e, const char *method, const char *lambda, const char *mask, const char *const *floors, int count)
{
    kr_array *truth = NULL;
    kr_scoped(scan) s = brain(&truth, mask);
    kr_scoped(array) want = truth;
    double best = INFINITY;
    for (int i = 0; i < count; i++) {
        kr_scoped(image) im = fill(method, s, lambda, "floor", floors[i]);
        assert_non_null(im);
        e[i] = distance(im->data, want);
        best = fmin(best, e[i]);
        const char *kept = kr_meta_get(im->meta, "kray_calibration_floor");
        print_message("%s, %s, floor %s: NRMSE %.4f; %s\n", method, mask, floors[i], e[i], kept ? kept : "");
        assert_true(kept || strcmp(method, "grappa"));
    }
    return best;
}

/* Every R-th line and 24 at the centre: NRMSE of the RSS image. Bounds: those of pygrappa 0.26.3
 * (cgrappa, 5 x 5 kernel, lamda 0.01) on the same data, measured by hand. */
static void real_brain(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_mprage_4ch_256_loraks.mat");
    static const struct { const char *mask; double most; } job[] = {
        { "uniform:accel=2,lines=24", 0.0308 }, { "uniform:accel=3,lines=24", 0.0437 }, { "uniform:accel=4,lines=24", 0.0740 }, { "uniform:accel=6,lines=24", 0.13 } };
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        kr_array *truth = NULL;
        kr_scoped(scan) s = brain(&truth, job[i].mask);
        kr_scoped(array) want = truth;
        kr_scoped(image) im = grappa(s, "lambda", "0.001");
        assert_non_null(im);
        double e = distance(im->data, want);
        print_message("%s: NRMSE %.4f\n", job[i].mask, e);
        assert_true(e < job[i].most);
    }
}

/* More lines missing than coils tell of: kernels that the strong middle of k-space decides alone, as those of large floors, do worse, and the one that is chosen
 * is near the best; what was chosen is kept with the image. */
static void all_of_kspace_counts(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_mprage_4ch_256_loraks.mat");
    static const char *const floors[] = { "0", "0.01", "0.1", "1", "1e6" };
    double e[5], best = by_floors(e, "grappa", "0.001", "uniform:accel=6,lines=24", floors, 5);
    assert_true(e[0] < 1.06 * best && e[0] < 0.7 * e[4]);            /* 0.5 dB; 3 dB */
}

/* Linear SPIRiT's floor, for gaps of one line and for wider ones. */
static void floor_of_the_gaps(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_mprage_4ch_256_loraks.mat");
    static const char *const masks[] = { "uniform:accel=2,lines=24", "random:accel=2,lines=24,seed=1" }, *const floors[] = { "0", "0.003", "0.1", "1" };
    for (int k = 0; k < 2; k++) {
        double e[4], best = by_floors(e, "spirit", "0.01", masks[k], floors, 4);
        assert_true(e[0] < 1.06 * best);                             /* 0.5 dB; 0.1, which predicts the calibration area best, loses 1.7 of random lines */
    }
}

/* Where the truth obeys the kernels, it is what SPIRiT finds, on lattices and on masks without any order. */
static void spirit_finds_the_truth(void **state)
{
    (void)state;
    static const struct { struct waves w; const char *mask; } job[] = {
        { { { 24, 48, 1 }, 3, four }, "uniform:accel=2,lines=16,axes=y" },
        { { { 12, 36, 36 }, 9, nine }, "poisson:accel=2,calib=20,axes=yz" } };
    for (size_t i = 0; i < sizeof job / sizeof *job; i++) {
        kr_scoped(scan) s = waves_scan(&job[i].w, i);
        kr_scoped(array) want = rss_of(s);
        kr_scoped(array) mask = kr_mask_new(job[i].mask, KR_SHAPE([KR_X] = job[i].w.n[0], [KR_Y] = job[i].w.n[1], [KR_Z] = job[i].w.n[2]), NULL);
        assert_non_null(mask);
        assert_int_equal(kr_scan_undersample(s, mask), 0);
        kr_scoped(array) zero = rss_of(s);
        kr_scoped(image) im = fill("spirit", s, "1e-5", "kernel", "3");
        if (!im)
            fail_msg("case %zu: %s", i, kr_error());
        double before = distance(zero, want), after = distance(im->data, want);
        print_message("%s: %.2g, zero-filled %.2g\n", job[i].mask, after, before);
        assert_true(after < 0.02 * before);
    }
}

/* With few calibration lines kernels become narrower, and the image better than by a kernel as wide as the area, or than a refusal. */
static void few_lines(void **state)
{
    (void)state;
    struct waves w = { { 64, 48, 1 }, 8, (long[8][3]){ { 0, 0, 0 }, { 0, 1, 0 }, { 0, 2, 0 }, { 0, -1, 0 }, { 1, 0, 0 }, { 1, 1, 0 }, { -1, 1, 0 }, { -1, 0, 0 } } };
    kr_scoped(scan) s = waves_scan(&w, 4);
    kr_scoped(array) want = rss_of(s);
    thin(s, (long[]){ 1, 3, 1 }, 0, 8);
    kr_scoped(image) im = fill("spirit", s, "1e-5", NULL, NULL);
    assert_non_null(im);
    assert_true(distance(im->data, want) < 0.01);
    for (int wide = 7; wide <= 15; wide += 8) {
        char kernel[8];
        snprintf(kernel, sizeof kernel, "%d", wide);
        assert_null(fill("spirit", s, "1e-5", "kernel", kernel));
        assert_refused(KR_EREFUSED, "smaller --kernel");
    }
}

/* On a real brain and a mask without order: better than iterative SENSE is on its own coils' maps, and better yet with sparsity. */
static void spirit_real_brain(void **state)
{
    (void)state;
    NEED_SHARED("data/mri/brain_mprage_4ch_256_loraks.mat");
    kr_array *truth = NULL;
    kr_scoped(scan) s = brain(&truth, "poisson:accel=4,calib=24,axes=xy");
    kr_scoped(array) want = truth;
    kr_scoped(array) zero = rss_of(s);
    kr_scoped(image) linear = fill("spirit", s, "0.01", "iterations", "8");
    kr_scoped(image) sparse = fill("spirit", s, "0.01", "l1", "0.0002");
    assert_non_null(linear);
    assert_non_null(sparse);
    double z = distance(zero, want), l = distance(linear->data, want), w = distance(sparse->data, want);
    print_message("NRMSE: zero-filled %.4f, linear %.4f, sparse %.4f\n", z, l, w);
    assert_true(l < 0.5 * z && w < l);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_relations), cmocka_unit_test(full_scan_is_kept),
        cmocka_unit_test(threads_do_not_matter), cmocka_unit_test(series_is_its_frames), cmocka_unit_test(refusals), cmocka_unit_test(real_brain), cmocka_unit_test(all_of_kspace_counts), cmocka_unit_test(floor_of_the_gaps),
        cmocka_unit_test(spirit_finds_the_truth), cmocka_unit_test(few_lines), cmocka_unit_test(spirit_real_brain) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
