/* test_linops.c: what must hold for every linear operator: it is linear, its adjoint is its adjoint, its normal operator
 * is A^H A, and none of it depends on the number of threads. Every function of the public headers that makes an operator
 * must have a sample below: a new one fails here until it has. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/linop.h"
#include "kray/offres.h"
#include "kray/recon.h"
#include <dirent.h>

/* ---- Samples: one operator on a grid {X,Y,Z} ---- */
static kr_array *noise(enum kr_type type, kr_shape s, uint64_t seed)
{
    kr_array *a = kr_array_new(type, s);
    assert_non_null(a);
    fill_random(a, seed);
    return a;
}

static kr_array *some_mask(kr_shape s)
{
    kr_array *m = noise(KR_R32, s, 5);
    for (long i = 0; i < kr_count(s); i++)
        KR_R(m)[i] = KR_R(m)[i] > 0 || i == 0;
    return m;
}

static kr_shape with(kr_shape s, int axis, long n)
{
    s.n[axis] = n;
    return s;
}

static kr_linop *dropping(kr_linop *A, kr_array *a, kr_array *b)     /* borrowed operands go, the operator keeps its own */
{
    kr_array_unref(&a);
    kr_array_unref(&b);
    return A;
}

static kr_linop *identity(kr_shape s) { return kr_op_identity(KR_C32, s); }

static kr_linop *weight_maps(kr_shape s)                              /* y_c = S_c x */
{
    kr_array *w = noise(KR_C32, with(s, KR_COIL, 3), 1);
    return dropping(kr_op_weight(KR_C32, w, with(s, KR_COIL, 3), s), w, NULL);
}

static kr_linop *weight_sum(kr_shape s)                               /* y = sum over y and coil of w x, w real */
{
    kr_array *w = noise(KR_R32, with(s, KR_COIL, 2), 2);
    return dropping(kr_op_weight(KR_C32, w, with(s, KR_Y, 1), with(s, KR_COIL, 2)), w, NULL);
}

static kr_linop *weight_mask(kr_shape s)                              /* a mask of lines */
{
    kr_array *w = some_mask(kr_shape_only(s, KR_ON(KR_Y)));
    return dropping(kr_op_weight(KR_C32, w, s, s), w, NULL);
}

static kr_linop *fourier_xy(kr_shape s) { return kr_op_fourier(with(s, KR_COIL, 2), KR_ON(KR_X) | KR_ON(KR_Y)); }
static kr_linop *fourier_yz(kr_shape s) { return kr_op_fourier(s, KR_ON(KR_Y) | KR_ON(KR_Z)); }
static kr_linop *fourier_none(kr_shape s) { return kr_op_fourier(s, 0); }

static kr_linop *sense_of(kr_shape s, long sets, unsigned mask_axes, unsigned axes)
{
    kr_array *coils = noise(KR_C32, with(with(s, KR_COIL, 5), KR_MAP, sets), 3);
    kr_array *mask = mask_axes ? some_mask(kr_shape_only(s, mask_axes)) : NULL;
    return dropping(kr_op_sense(coils, mask, axes), coils, mask);
}

enum { X = KR_ON(KR_X), Y = KR_ON(KR_Y), Z = KR_ON(KR_Z) };
static kr_linop *sense_full(kr_shape s) { return sense_of(s, 1, 0, X | Y | Z); }
static kr_linop *sense_lines(kr_shape s) { return sense_of(s, 1, Y, X | Y | Z); }
static kr_linop *sense_points(kr_shape s) { return sense_of(s, 2, X | Y, X | Y); }
static kr_linop *sense_hybrid(kr_shape s) { return sense_of(s, 1, Y | Z, Y | Z); }

static kr_linop *normal_of(kr_shape s, long sets, long frames, unsigned mask_axes, unsigned axes)
{
    kr_array *coils = noise(KR_C32, with(with(s, KR_COIL, 5), KR_MAP, sets), 3);
    kr_array *mask = mask_axes ? some_mask(kr_shape_only(with(s, KR_TIME, frames), mask_axes)) : NULL;
    return dropping(kr_op_sense_normal(coils, mask, axes, KR_SHAPE([KR_TIME] = frames)), coils, mask);
}
static kr_linop *normal_full(kr_shape s) { return normal_of(s, 2, 1, 0, X | Y | Z); }
static kr_linop *normal_lines(kr_shape s) { return normal_of(s, 1, 3, Y | KR_ON(KR_TIME), X | Y); }
static kr_linop *normal_plane(kr_shape s) { return normal_of(s, 2, 1, X | Y, X | Y); }
static kr_linop *normal_planes(kr_shape s) { return normal_of(s, 1, 2, Y | Z, Y | Z); }
static kr_linop *normal_volume(kr_shape s) { return normal_of(s, 1, 2, X | Y | Z | KR_ON(KR_TIME), X | Y | Z); }

/* Random points, in as many dimensions as the grid has; frames with points of their own, or all with the same. */
static kr_array *some_points(kr_shape s, long frames)
{
    kr_array *k = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = 7, [KR_VIEW] = 5, [KR_TIME] = frames, [KR_CHAN] = s.n[KR_Z] > 1 ? 3 : 2));
    assert_non_null(k);
    for (long i = 0, each = 35 * frames; i < kr_count(kr_array_shape(k)); i++)
        KR_R(k)[i] = (float)((kr_rand_uniform(9, 1, (uint64_t)i) - .5) * (double)s.n[i / each]);
    return k;
}
static kr_linop *nufft_of(kr_shape s, long sets, long moving, double tolerance)
{
    kr_array *coils = noise(KR_C32, with(with(s, KR_COIL, 3), KR_MAP, sets), 3), *k = some_points(s, moving);
    return dropping(kr_op_nufft(coils, k, KR_SHAPE([KR_TIME] = 2), tolerance), coils, k);
}
static kr_linop *nufft_still(kr_shape s) { return nufft_of(s, 1, 1, 1e-3); }
static kr_linop *nufft_moving(kr_shape s) { return nufft_of(s, 2, 2, 1e-2); }
static kr_linop *nufft_off_resonance(kr_shape s)
{
    kr_array *coils = noise(KR_C32, with(with(s, KR_COIL, 2), KR_MAP, 1), 3), *k = some_points(s, 1), *field = kr_array_new(KR_R32, s);
    for (long i = 0; i < kr_count(s); i++)
        KR_R(field)[i] = (float)(200 * kr_rand_uniform(5, 4, (uint64_t)i));
    kr_linop *A = kr_op_offres(coils, k, KR_SHAPE([KR_TIME] = 2), 1e-3, field, -1e-3, 1e-3);
    kr_array_unref(&field);
    return dropping(A, coils, k);
}
static kr_linop *nufft_normal(kr_shape s)
{
    kr_array *coils = noise(KR_C32, with(with(s, KR_COIL, 3), KR_MAP, 2), 3), *k = some_points(s, 2);
    kr_array *w = kr_array_new(KR_R32, KR_SHAPE([KR_SAMPLE] = 7, [KR_VIEW] = 5));
    for (long i = 0; i < 35; i++)
        KR_R(w)[i] = (float)kr_rand_uniform(4, 4, (uint64_t)i);
    kr_linop *N = kr_op_nufft_normal(coils, k, w, KR_SHAPE([KR_TIME] = 2), 1e-5);
    kr_array_unref(&w);
    return dropping(N, coils, k);
}

static kr_linop *diff_plane(kr_shape s) { return kr_op_diff(KR_C32, with(s, KR_TIME, 2), X | Y); }
static kr_linop *diff_time(kr_shape s) { return kr_op_diff(KR_C32, with(s, KR_TIME, 4), KR_ON(KR_TIME)); }
static kr_linop *symdiff(kr_shape s) { return kr_op_symdiff(KR_C32, s, X | Y | Z); }

static kr_linop *product(kr_shape s) { return kr_mul(fourier_xy(s), weight_maps(with(s, KR_COIL, 1))); }
static kr_linop *product_fits(kr_shape s)
{
    kr_array *w = noise(KR_C32, with(s, KR_COIL, 2), 6);
    kr_linop *S = kr_op_weight(KR_C32, w, with(s, KR_COIL, 2), s);
    return dropping(kr_mul(fourier_xy(s), S), w, NULL);
}
static kr_linop *turned(kr_shape s) { return kr_adjoint(weight_maps(s)); }
static kr_linop *stacked(kr_shape s) { return kr_stack(weight_maps(s), kr_mul(weight_maps(s), identity(s)), KR_COIL); }

static kr_linop *real_identity(kr_shape s) { return kr_op_identity(KR_R32, s); }
static kr_linop *real_sum(kr_shape s)                                /* y = sum over y and coil of w x */
{
    kr_array *w = noise(KR_R32, with(s, KR_COIL, 2), 2);
    return dropping(kr_op_weight(KR_R32, w, with(s, KR_Y, 1), with(s, KR_COIL, 2)), w, NULL);
}
static kr_linop *real_diff(kr_shape s) { return kr_op_diff(KR_R32, with(s, KR_TIME, 2), X | Y | Z); }
static kr_linop *real_symdiff(kr_shape s) { return kr_op_symdiff(KR_R32, s, X | Y); }
static kr_linop *real_product(kr_shape s) { return kr_mul(kr_adjoint(kr_op_diff(KR_R32, s, X | Y)), kr_op_diff(KR_R32, s, X | Y)); }
static kr_linop *real_normal(kr_shape s) { return kr_normal(kr_op_diff(KR_R32, s, X | Y)); }
static kr_rays *few_rays(void)
{
    static const double angle[] = { 0, 0.4, 1.3, 2.2, 4 };
    return kr_rays_cone(&(kr_detector){ 11, 3, { 20, 0 }, { 3, 0 } }, 500, 800, false, 5, angle, NULL);
}
static kr_linop *rays(kr_shape s)
{
    kr_rays *r = few_rays();
    kr_grid g = kr_grid_centred(s.n, (double[3]){ 1, 1.5, 2 });
    kr_linop *A = kr_op_rays(r, &g, KR_RAY_JOSEPH);
    kr_rays_unref(&r);
    return A;
}
static kr_linop *filter(kr_shape s)
{
    double H[65];
    kr_fbp_filter(H, 128, KR_WINDOW_HANN, 0);
    return kr_op_filter(KR_SHAPE([KR_U] = s.n[KR_X], [KR_VIEW] = s.n[KR_Y]), H, 128);
}
static kr_linop *rays_model(kr_shape s)
{
    kr_scan *scan = kr_scan_new();
    scan->rays = few_rays();
    scan->shape = KR_SHAPE([KR_U] = 11, [KR_V] = 3, [KR_VIEW] = 5);
    scan->data = noise(KR_R32, scan->shape, 7);
    scan->grid = kr_grid_centred(s.n, (double[3]){ 2, 2, 2 });
    scan->ray_model = KR_RAY_JOSEPH;
    kr_linop *A = kr_model(scan, NULL);
    kr_scan_unref(&scan);
    return A;
}
static kr_linop *real_stack(kr_shape s) { return kr_stack(real_identity(s), real_product(s), KR_CHAN); }

static kr_linop *model(kr_shape s)
{
    kr_scan *scan = kr_scan_new();
    scan->shape = with(s, KR_COIL, 4);
    scan->data = noise(KR_C32, scan->shape, 7);
    scan->mask = some_mask(kr_shape_only(s, Y));
    kr_array *coils = noise(KR_C32, scan->shape, 8);
    kr_linop *A = kr_model(scan, coils);
    kr_scan_unref(&scan);
    return dropping(A, coils, NULL);
}

static const struct sample { const char *maker, *name; kr_linop *(*make)(kr_shape); } samples[] = {
    { "kr_op_identity", "identity", identity },
    { "kr_op_weight", "weight by coil maps", weight_maps },
    { "kr_op_weight", "weighted sum", weight_sum },
    { "kr_op_weight", "mask of lines", weight_mask },
    { "kr_op_fourier", "Fourier along x, y", fourier_xy },
    { "kr_op_fourier", "Fourier along y, z", fourier_yz },
    { "kr_op_fourier", "Fourier along nothing", fourier_none },
    { "kr_op_sense", "SENSE, full", sense_full },
    { "kr_op_sense", "SENSE, lines", sense_lines },
    { "kr_op_sense", "soft-SENSE, points", sense_points },
    { "kr_op_sense", "SENSE, hybrid", sense_hybrid },
    { "kr_op_sense_normal", "SENSE normal, full", normal_full },
    { "kr_op_sense_normal", "SENSE normal, lines of a series", normal_lines },
    { "kr_op_sense_normal", "SENSE normal, one plane, two sets", normal_plane },
    { "kr_op_sense_normal", "SENSE normal, planes", normal_planes },
    { "kr_op_sense_normal", "SENSE normal, masks of volumes", normal_volume },
    { "kr_op_nufft", "trajectory", nufft_still },
    { "kr_op_nufft", "trajectories of a series, two sets", nufft_moving },
    { "kr_op_offres", "trajectory with off-resonance", nufft_off_resonance },
    { "kr_op_nufft_normal", "normal operator of trajectories", nufft_normal },
    { "kr_op_diff", "differences in a plane", diff_plane },
    { "kr_op_diff", "differences in time", diff_time },
    { "kr_op_symdiff", "symmetric gradient", symdiff },
    { "kr_mul", "product", product_fits },
    { "kr_adjoint", "adjoint", turned },
    { "kr_stack", "stack", stacked },
    { "kr_op_identity", "identity of real numbers", real_identity },
    { "kr_op_weight", "weighted sum of real numbers", real_sum },
    { "kr_op_diff", "differences of real numbers", real_diff },
    { "kr_op_symdiff", "symmetric gradient of real numbers", real_symdiff },
    { "kr_mul", "product on real numbers", real_product },
    { "kr_stack", "stack on real numbers", real_stack },
    { "kr_normal", "normal operator on real numbers", real_normal },
    { "kr_op_rays", "line integrals", rays },
    { "kr_op_filter", "ramp filter", filter },
    { "kr_model", "model of projections", rays_model },
    { "kr_model", "model of a scan", model },
};
enum { SAMPLES = sizeof samples / sizeof *samples };

/* Even, odd, prime, 1, and enough to share among threads. */
static const long sizes[][3] = { { 16, 12, 1 }, { 15, 9, 1 }, { 13, 17, 1 }, { 1, 8, 1 }, { 7, 1, 1 }, { 1, 1, 1 }, { 6, 5, 4 }, { 64, 67, 3 } };
enum { SIZES = sizeof sizes / sizeof *sizes };

static double inner_error(const kr_array *a, const kr_array *b, const kr_array *c, const kr_array *d)   /* |<a,b> - <c,d>| */
{
    double p[2], q[2];
    kr_dot(a, b, p);
    kr_dot(c, d, q);
    return hypot(p[0] - q[0], p[1] - q[1]);
}

static void holds(void **state)
{
    const struct sample *t = *state;
    for (int k = 0; k < SIZES; k++) {
        kr_shape s = KR_SHAPE([KR_X] = sizes[k][0], [KR_Y] = sizes[k][1], [KR_Z] = sizes[k][2]);
        kr_linop *A = t->make(s);
        if (!A)
            fail_msg("%s on %s: %s", t->name, kr_shape_text(s), kr_error());
        enum kr_type type = kr_linop_type(A);
        size_t number = type == KR_C32 ? sizeof(kr_cfloat) : sizeof(float);
        kr_shape dom = kr_linop_domain(A), cod = kr_linop_codomain(A);
        kr_array *x = noise(type, dom, 11), *x2 = noise(type, dom, 12), *y = noise(type, cod, 13);
        kr_array *Ax = noise(type, cod, 14), *Ax2 = noise(type, cod, 15), *Ay = noise(type, dom, 16);
        kr_array *N = noise(type, dom, 17), *AAx = noise(type, dom, 18);    /* what is there before must not matter */
        kr_apply(A, Ax, x);
        kr_apply_adj(A, Ay, y);
        kr_apply(A, Ax2, x2);
        kr_apply_normal(A, N, x);
        kr_apply_adj(A, AAx, Ax);
        double size = kr_norm(Ax) * kr_norm(y) + kr_norm(x) * kr_norm(Ay);
        /* Each number is a sum of rounded products: a few units in the last place of float, 6e-8, of the norms. */
        if (!(inner_error(y, Ax, Ay, x) <= 1e-6 * size))
            fail_msg("%s on %s: <y, A x> and <A^H y, x> differ by %.2g of |A x| |y|", t->name, kr_shape_text(s), inner_error(y, Ax, Ay, x) / size);
        if (!(distance(N, AAx) <= 2e-6) && kr_norm(AAx) > 0)
            fail_msg("%s on %s: the normal operator and A^H A differ by %.2g", t->name, kr_shape_text(s), distance(N, AAx));
        kr_array *sum = kr_array_copy(x), *Asum = kr_array_like(Ax), *wanted = kr_array_copy(Ax);
        kr_axpy(sum, -1.5f, x2);
        kr_apply(A, Asum, sum);
        kr_axpy(wanted, -1.5f, Ax2);
        if (!(distance(Asum, wanted) <= 2e-6) && kr_norm(wanted) > 0)
            fail_msg("%s on %s: A (x - 1.5 x') is %.2g off", t->name, kr_shape_text(s), distance(Asum, wanted));
        if (kr_linop_adds(A)) {
            kr_array_assign(Asum, Ax2);
            kr_apply_add(A, Asum, -1.5f, x);
            kr_array_assign(wanted, Ax2);
            kr_axpy(wanted, -1.5f, Ax);
            kr_array_assign(AAx, x2);
            kr_apply_adj_add(A, AAx, -1.5f, y);
            kr_array_assign(sum, x2);
            kr_axpy(sum, -1.5f, Ay);
            if ((!(distance(Asum, wanted) <= 2e-6) && kr_norm(wanted) > 0) || (!(distance(AAx, sum) <= 2e-6) && kr_norm(sum) > 0))
                fail_msg("%s on %s: y - 1.5 A x is %.2g off, x - 1.5 A^H y %.2g", t->name, kr_shape_text(s), distance(Asum, wanted), distance(AAx, sum));
        }
        int threads = kr_threads();
        for (int n = 1; n <= 3; n += 2) {
            kr_threads_set(n);
            kr_linop_unref(&A);
            assert_non_null(A = t->make(s));
            kr_apply(A, Asum, x);
            kr_apply_normal(A, AAx, x);
            assert_memory_equal(Asum->data, Ax->data, (size_t)kr_count(cod) * number);
            assert_memory_equal(AAx->data, N->data, (size_t)kr_count(dom) * number);
            kr_apply_adj(A, AAx, y);
            assert_memory_equal(AAx->data, Ay->data, (size_t)kr_count(dom) * number);
        }
        kr_threads_set(threads);
        kr_array *all[] = { x, x2, y, Ax, Ax2, Ay, N, AAx, sum, Asum, wanted };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kr_array_unref(&all[i]);
        kr_linop_unref(&A);
    }
}

/* ---- Enrolment: the headers against the samples ---- */
static bool no_operator(const char *name)                             /* these make no new kind of operator */
{
    return !strcmp(name, "kr_linop_new") || !strcmp(name, "kr_linop_ref");
}

static void every_maker_has_a_sample(void **state)
{
    (void)state;
    int found = 0;
    DIR *d = opendir(KR_SOURCE "/include/kray");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)); ) {
        char path[1024], line[1024];
        size_t n = strlen(e->d_name);
        if (n < 3 || strcmp(e->d_name + n - 2, ".h"))
            continue;
        snprintf(path, sizeof path, KR_SOURCE "/include/kray/%s", e->d_name);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        while (fgets(line, sizeof line, f)) {
            char name[64];
            if (sscanf(line, "kr_linop *%63[a-z0-9_](", name) != 1 || no_operator(name))
                continue;
            bool has = false;
            for (int i = 0; i < SAMPLES; i++)
                has |= !strcmp(samples[i].maker, name);
            if (!has)
                fail_msg("%s makes %s, which has no sample in tests/prop/test_linops.c", e->d_name, name);
            found++;
        }
        fclose(f);
    }
    closedir(d);
    assert_true(found >= 8);
}

static void compositions_refuse_what_does_not_fit(void **state)
{
    (void)state;
    kr_shape s = KR_SHAPE([KR_X] = 6, [KR_Y] = 5), other = KR_SHAPE([KR_X] = 5, [KR_Y] = 5);
    assert_null(product(s));                                          /* 3 coils given, 2 taken */
    assert_refused(KR_ESHAPE, "product: fourier takes");
    assert_null(kr_stack(identity(s), identity(other), KR_COIL));
    assert_refused(KR_ESHAPE, "stack: identity takes {x=6 y=5}");
    assert_null(kr_mul(identity(s), real_identity(s)));
    assert_refused(KR_ESHAPE, "complex numbers, identity real ones");
    assert_null(kr_stack(identity(s), real_identity(s), KR_COIL));
    assert_refused(KR_ESHAPE, "complex numbers, identity real ones");
    kr_array *maps = noise(KR_C32, s, 1);
    assert_null(kr_op_weight(KR_R32, maps, s, s));
    assert_refused(KR_ESHAPE, "of real numbers");
    kr_array_unref(&maps);
    assert_null(kr_mul(NULL, identity(s)));
    assert_null(kr_mul(identity(s), NULL));
    assert_null(kr_stack(NULL, identity(s), KR_X));
    assert_null(kr_adjoint(NULL));
    assert_null(kr_normal(NULL));
}

static void norm_of_known_operators(void **state)
{
    (void)state;
    kr_linop *F = fourier_xy(KR_SHAPE([KR_X] = 12, [KR_Y] = 9));      /* unitary */
    assert_near(kr_linop_norm2(F, 5), 1, 1e-5);
    kr_linop_unref(&F);
    kr_array *w = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4));         /* diagonal: the largest square */
    for (int i = 0; i < 4; i++)
        KR_R(w)[i] = (float)(i - 2) * 1.5f;
    kr_linop *D = kr_op_weight(KR_C32, w, KR_SHAPE([KR_X] = 4), KR_SHAPE([KR_X] = 4));
    assert_near(kr_linop_norm2(D, 100), 9, 1e-4);
    kr_linop_unref(&D);
    kr_array_unref(&w);
}

/* ---- Fourier: what is known of a point and of a shift ---- */
static void a_point_becomes_a_wave(void **state)
{
    (void)state;
    static const long n[] = { 1, 2, 3, 4, 7, 16, 31, 45, 128, 127 };
    for (size_t k = 0; k < sizeof n / sizeof *n; k++)
        for (long at = 0; at < n[k]; at += 1 + n[k] / 3) {
            kr_array *x = kr_array_new(KR_C32, KR_SHAPE([KR_Y] = n[k]));
            KR_C(x)[at] = kr_c(1, 0);
            assert_int_equal(kr_fourier(x, Y), 0);
            for (long u = 0; u < n[k]; u++) {
                double a = -2 * M_PI * (double)((at - n[k] / 2) * (u - n[k] / 2)) / (double)n[k], r = 1 / sqrt((double)n[k]);
                assert_near((double)kr_re(KR_C(x)[u]), r * cos(a), 1e-6);        /* float rounding of numbers up to 1 */
                assert_near((double)kr_im(KR_C(x)[u]), r * sin(a), 1e-6);
            }
            kr_array_unref(&x);
        }
}

static void a_shift_becomes_a_phase(void **state)
{
    (void)state;
    static const long n[] = { 8, 9, 13, 100 };
    for (size_t k = 0; k < sizeof n / sizeof *n; k++) {
        long N = n[k], by = 3;
        kr_array *x = noise(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = 4), k), *moved = kr_array_like(x);
        for (long y = 0; y < 4; y++)
            for (long i = 0; i < N; i++)
                KR_C(moved)[y * N + (i + by) % N] = KR_C(x)[y * N + i];
        assert_int_equal(kr_fourier(x, X), 0);
        assert_int_equal(kr_fourier(moved, X), 0);
        for (long y = 0; y < 4; y++)
            for (long u = 0; u < N; u++) {
                double a = -2 * M_PI * (double)(by * (u - N / 2)) / (double)N;
                KR_C(x)[y * N + u] = kr_cmul(KR_C(x)[y * N + u], kr_c((float)cos(a), (float)sin(a)));
            }
        assert_near(distance(moved, x), 0, 1e-6);
        kr_array_unref(&x);
        kr_array_unref(&moved);
    }
}

int main(void)
{
    struct CMUnitTest tests[SAMPLES + 5];
    for (int i = 0; i < SAMPLES; i++)
        tests[i] = (struct CMUnitTest){ samples[i].name, holds, NULL, NULL, (void *)(uintptr_t)&samples[i] };
    int n = SAMPLES;
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_maker_has_a_sample);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(compositions_refuse_what_does_not_fit);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(norm_of_known_operators);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_point_becomes_a_wave);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_shift_becomes_a_phase);
    return _cmocka_run_group_tests("linops", tests, (size_t)n, NULL, NULL);
}
