/* test_nufft.c: non-uniform transforms against the direct sum, against the centred Fourier transform, and as an adjoint pair. */
#include "test.h"
#include "kray/fourier.h"
#include "kray/nufft.h"

struct points { long count; float *k[3]; };

static struct points scatter(const long n[3], int dims, long count, uint64_t seed)
{
    struct points p = { count, { NULL } };
    for (int d = 0; d < dims; d++) {
        p.k[d] = kr_alloc((size_t)count, sizeof(float));
        for (long m = 0; m < count; m++)
            p.k[d][m] = (float)((kr_rand_uniform(seed, (uint64_t)d, (uint64_t)m) - .5) * (double)n[d]);
        p.k[d][0] = (float)((double)n[d] / 2);                     /* both edges are the same point; and the centre, twice */
        p.k[d][1] = (float)(-(double)n[d] / 2);
        p.k[d][2] = p.k[d][3] = 0;
    }
    return p;
}

static void drop(struct points *p)
{
    for (int d = 0; d < 3; d++)
        kr_free(p->k[d]);
}

static const float *const *coordinates(const struct points *p) { return (const float *const *)p->k; }

static kr_cfloat *numbers(long n, uint64_t seed)
{
    kr_cfloat *x = kr_alloc((size_t)n, sizeof *x);
    for (long i = 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, 3, (uint64_t)i, z);
        x[i] = kr_c((float)z[0], (float)z[1]);
    }
    return x;
}

static double off(const kr_cfloat *a, const kr_cfloat *b, long n)
{
    double d = 0, s = 0;
    for (long i = 0; i < n; i++) {
        d += kr_cabs2(a[i] - b[i]);
        s += kr_cabs2(b[i]);
    }
    return sqrt(d / s);
}

static kr_cdouble inner(const kr_cfloat *a, const kr_cfloat *b, long n)
{
    kr_cdouble s = 0;
    for (long i = 0; i < n; i++)
        s += (kr_cdouble)kr_cconj(a[i]) * (kr_cdouble)b[i];
    return s;
}

static double size(kr_cdouble a)
{
    union { kr_cdouble c; double p[2]; } u = { a };
    return hypot(u.p[0], u.p[1]);
}

/* Images of odd, even, prime and one-pixel sizes, in 2D and 3D; 1 to 11 vectors at a time. */
static const struct { long n[3]; int dims; long vectors; } shapes[] = {
    { { 24, 20, 1 }, 2, 1 }, { { 15, 21, 1 }, 2, 2 }, { { 31, 17, 1 }, 2, 3 }, { { 64, 3, 1 }, 2, 5 }, { { 5, 1, 1 }, 2, 8 }, { { 33, 40, 1 }, 2, 11 },
    { { 12, 10, 8 }, 3, 1 }, { { 11, 5, 7 }, 3, 3 }, { { 6, 8, 9 }, 3, 9 }, { { 9, 7, 1 }, 3, 2 },
};

/* Points where errors of all axes and aliases may meet in phase: on whole numbers, and in a corner of k-space. */
static struct points placed(const long n[3], int dims, long count, uint64_t seed, int kind)
{
    struct points p = scatter(n, dims, count, seed);
    for (int d = 0; d < dims; d++)
        for (long m = 0; m < count && kind; m++)
            p.k[d][m] = kind == 1 ? floorf(p.k[d][m]) : (float)n[d] * .5f - .02f * fabsf(p.k[d][m]);
    return p;
}

/* The relative error in the 2-norm is at most what was asked for, of both types and of one after the other. Random numbers have a flat spectrum, the case that the window
 * is chosen for; the direct sum adds in double, so that 1e-6 leaves room for single precision alone. */
static void tolerances(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * (sizeof shapes / sizeof *shapes); i++) {
        const long *n = shapes[i / 3].n, v = shapes[i / 3].vectors, pixels = n[0] * n[1] * n[2], m = 300;
        struct points p = placed(n, shapes[i / 3].dims, m, i / 3, (int)(i % 3));
        kr_cfloat *x = numbers(v * pixels, 1), *y = numbers(v * m, 2), *fx = numbers(v * m, 0), *ay = numbers(v * pixels, 0);
        kr_cfloat *exact_y = numbers(v * m, 0), *exact_x = numbers(v * pixels, 0), *exact_n = numbers(v * pixels, 0);
        assert_int_equal(kr_ndft_forward(exact_y, x, n, m, coordinates(&p), v), 0);
        assert_int_equal(kr_ndft_adjoint(exact_x, y, n, m, coordinates(&p), v), 0);
        assert_int_equal(kr_ndft_adjoint(exact_n, exact_y, n, m, coordinates(&p), v), 0);
        for (double tolerance = 1e-1; tolerance > 9e-7; tolerance /= 10) {
            kr_nufft *plan = kr_nufft_new(n, m, coordinates(&p), v, tolerance);
            assert_non_null(plan);
            kr_nufft_forward(plan, fx, x, v);
            kr_nufft_adjoint(plan, ay, y, v);
            assert_near(off(fx, exact_y, v * m), 0, tolerance);
            assert_near(off(ay, exact_x, v * pixels), 0, tolerance);
            /* <y, A x> = <A^H y, x>: each side adds some hundred thousand products in float. */
            double scale = sqrt(size(inner(fx, fx, v * m)) * size(inner(y, y, v * m)));
            assert_near(size(inner(y, fx, v * m) - inner(ay, x, v * pixels)) / scale, 0, 1e-6);
            kr_nufft_adjoint(plan, ay, fx, v);
            assert_near(off(ay, exact_n, v * pixels), 0, tolerance);
            kr_nufft_unref(&plan);
        }
        kr_free(x); kr_free(y); kr_free(fx); kr_free(ay); kr_free(exact_x); kr_free(exact_y); kr_free(exact_n);
        drop(&p);
    }
}

/* On whole numbers it is the centred unitary transform, whatever the size: one scale, for odd lengths too. */
static void cartesian(void **state)
{
    (void)state;
    const long n[3] = { 14, 9, 5 };
    struct points p = { n[0] * n[1] * n[2], { NULL } };
    for (int d = 0; d < 3; d++)
        p.k[d] = kr_alloc((size_t)p.count, sizeof(float));
    for (long m = 0; m < p.count; m++) {
        p.k[0][m] = (float)(m % n[0] - n[0] / 2);
        p.k[1][m] = (float)(m / n[0] % n[1] - n[1] / 2);
        p.k[2][m] = (float)(m / (n[0] * n[1]) - n[2] / 2);
    }
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2]));
    kr_scoped(array) y = kr_array_like(x);
    fill_random(x, 4);
    kr_nufft *plan = kr_nufft_new(n, p.count, coordinates(&p), 1, 1e-6);
    assert_non_null(plan);
    kr_nufft_forward(plan, KR_C(y), KR_C(x), 1);
    assert_int_equal(kr_fourier(x, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)), 0);
    assert_near(distance(y, x), 0, 2e-6);
    kr_nufft_unref(&plan);
    drop(&p);
}

/* The same bits for any number of threads and however the vectors are grouped with others; a plan can be run again. */
static void same_bits_along(int dims, const long n[3], long m, long v)
{
    const long pixels = n[0] * n[1] * n[2];
    struct points p = scatter(n, dims, m, 9);
    for (long i = 0; i < m / 2; i++)                                     /* half of them in one tile, as spokes through the centre */
        for (int d = 0; d < dims; d++)
            p.k[d][i] /= 20;
    kr_cfloat *x = numbers(v * pixels, 1), *y = numbers(v * m, 2), *first[2] = { numbers(v * m, 0), numbers(v * pixels, 0) };
    kr_cfloat *again[2] = { numbers(v * m, 0), numbers(v * pixels, 0) };
    int threads = kr_threads();
    for (int t = 1; t <= 4; t++) {
        kr_threads_set(t);
        kr_nufft *plan = kr_nufft_new(n, m, coordinates(&p), v, 1e-4);
        assert_non_null(plan);
        for (int turn = 0; turn < 2; turn++) {
            kr_cfloat **to = t == 1 && !turn ? first : again;
            kr_nufft_forward(plan, to[0], x, v);
            kr_nufft_adjoint(plan, to[1], y, v);
        }
        assert_memory_equal(first[0], again[0], (size_t)(v * m) * sizeof *x);
        assert_memory_equal(first[1], again[1], (size_t)(v * pixels) * sizeof *x);
        kr_nufft_unref(&plan);
    }
    kr_threads_set(threads);
    for (int i = 0; i < 2; i++) {
        kr_free(first[i]);
        kr_free(again[i]);
    }
    kr_free(x);
    kr_free(y);
    drop(&p);
}

static void same_bits(void **state)
{
    (void)state;
    same_bits_along(2, (const long[3]){ 48, 40, 1 }, 5000, 8);
    same_bits_along(3, (const long[3]){ 20, 18, 24 }, 100000, 2);
}

/* T x = A^H W A x by the direct sums, for one image at a time and for products with coil maps of one and two sets. */
static void toeplitz(void **state)
{
    (void)state;
    static const long sizes[][3] = { { 14, 11, 1 }, { 9, 16, 1 }, { 7, 6, 5 } };
    enum { COILS = 11, POINTS = 150 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const long *n = sizes[i], pixels = n[0] * n[1] * n[2];
        struct points p = scatter(n, n[2] > 1 ? 3 : 2, POINTS, 30 + i);
        float w[POINTS];
        for (long m = 0; m < POINTS; m++)
            w[m] = (float)kr_rand_uniform(5, 5, (uint64_t)m);
        kr_cfloat *S = numbers(2 * COILS * pixels, 1), *x = numbers(2 * pixels, 2), *z = numbers(COILS * pixels, 0), *exact = numbers(COILS * pixels, 0);
        kr_cfloat *image = numbers(COILS * pixels, 3), *y = numbers(COILS * POINTS, 0);
        for (int coils = 1; coils <= COILS; coils += 2) {
            kr_toeplitz *t = kr_toeplitz_new(n, coils);
            assert_non_null(t);
            assert_int_equal(kr_toeplitz_add(t, 20, coordinates(&p), NULL, 1e-3), 0);          /* frame 0: another one */
            assert_int_equal(kr_toeplitz_add(t, POINTS, coordinates(&p), w, 1e-6), 0);
            for (int maps = 0; maps <= 2; maps++) {
                for (long c = 0; c < coils; c++)                                               /* what goes through the sums */
                    for (long r = 0; r < pixels; r++) {
                        kr_cfloat sum = maps ? 0 : image[c * pixels + r];
                        for (long m = 0; m < maps; m++)
                            sum += kr_cmul(S[(m * coils + c) * pixels + r], x[m * pixels + r]);
                        z[c * pixels + r] = sum;
                    }
                assert_int_equal(kr_ndft_forward(y, z, n, POINTS, coordinates(&p), coils), 0);
                for (long k = 0; k < coils * POINTS; k++)
                    y[k] *= w[k % POINTS];
                assert_int_equal(kr_ndft_adjoint(exact, y, n, POINTS, coordinates(&p), coils), 0);
                kr_toeplitz_apply(t, 1, z, maps ? x : image, maps ? S : NULL, maps);
                for (long m = 0; m < maps; m++)
                    for (long r = 0; r < pixels; r++) {
                        kr_cfloat sum = 0;
                        for (long c = 0; c < coils; c++)
                            sum += kr_cmulc(S[(m * coils + c) * pixels + r], exact[c * pixels + r]);
                        y[r] = sum;                                                              /* pixels < COILS POINTS */
                        if (r == pixels - 1)
                            assert_near(off(z + m * pixels, y, pixels), 0, 3e-6);              /* 1e-6 of the lags, and sums in float */
                    }
                if (!maps)
                    assert_near(off(z, exact, coils * pixels), 0, 3e-6);
            }
            kr_toeplitz_unref(&t);
        }
        kr_free(S); kr_free(x); kr_free(z); kr_free(exact); kr_free(image); kr_free(y);
        drop(&p);
    }
}

/* More points than are sorted at a time. */
static void many_points(void **state)
{
    (void)state;
    const long n[3] = { 7, 6, 1 }, m = 3 * 8192 + 5, pixels = 42;
    struct points p = scatter(n, 2, m, 8);
    kr_cfloat *x = numbers(pixels, 1), *y = numbers(m, 2), *fx = numbers(m, 0), *ay = numbers(pixels, 0), *exact_y = numbers(m, 0), *exact_x = numbers(pixels, 0);
    assert_int_equal(kr_ndft_forward(exact_y, x, n, m, coordinates(&p), 1), 0);
    assert_int_equal(kr_ndft_adjoint(exact_x, y, n, m, coordinates(&p), 1), 0);
    kr_nufft *plan = kr_nufft_new(n, m, coordinates(&p), 1, 1e-4);
    assert_non_null(plan);
    kr_nufft_forward(plan, fx, x, 1);
    kr_nufft_adjoint(plan, ay, y, 1);
    assert_near(off(fx, exact_y, m), 0, 1e-4);
    assert_near(off(ay, exact_x, pixels), 0, 1e-4);
    kr_nufft_unref(&plan);
    p.k[0][20000] = p.k[1][24000] = INFINITY;
    assert_null(kr_nufft_new(n, m, coordinates(&p), 1, 1e-3));
    assert_refused(KR_ENUMBER, "point 20000");
    kr_free(x); kr_free(y); kr_free(fx); kr_free(ay); kr_free(exact_x); kr_free(exact_y);
    drop(&p);
}

static void refused(void **state)
{
    (void)state;
    const long n[3] = { 8, 8, 1 }, deep[3] = { 8, 8, 2 };
    struct points p = scatter(n, 2, 10, 1);
    assert_null(kr_nufft_new(n, 0, coordinates(&p), 1, 1e-3));
    assert_refused(KR_EREFUSED, "without points");
    assert_null(kr_nufft_new(n, 10, coordinates(&p), 1, 1e-7));
    assert_refused(KR_EREFUSED, "single precision");
    assert_null(kr_nufft_new(n, 10, coordinates(&p), 1, NAN));
    assert_refused(KR_EREFUSED, "tolerance");
    assert_null(kr_nufft_new(deep, 10, coordinates(&p), 1, 1e-3));
    assert_refused(KR_ESHAPE, "2 dimensions");
    p.k[1][7] = NAN;
    assert_null(kr_nufft_new(n, 10, coordinates(&p), 1, 1e-3));
    assert_refused(KR_ENUMBER, "point 7");
    drop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tolerances),
        cmocka_unit_test(cartesian),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(many_points),
        cmocka_unit_test(toeplitz),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
