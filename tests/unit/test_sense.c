#include "test.h"
#include "kray/fourier.h"
#include "kray/la.h"
#include "kray/solve.h"

struct size { long x, y, z, coil, map; unsigned mask, axes; };
enum { X = 1, Y = 2, Z = 4 };
/* 2D and 3D, odd, prime, single; masks along any axes; axes already in image space; one coil; several sets. */
static const struct size size[] = {
    { 12, 10, 1, 3, 1, Y, X | Y }, { 9, 14, 1, 5, 2, X | Y, X | Y }, { 6, 8, 10, 4, 1, Y | Z, X | Y | Z },
    { 5, 7, 11, 11, 2, X | Y | Z, X | Y | Z }, { 20, 23, 1, 1, 1, Y, Y }, { 16, 1, 1, 2, 1, X, X },
    { 33, 40, 1, 17, 1, Y, X | Y }, { 8, 6, 5, 3, 1, Z, X | Y | Z }, { 7, 9, 1, 3, 1, 0, X | Y }, { 18, 30, 12, 2, 1, Y | Z, Y | Z } };

static kr_array *random_maps(const struct size *s, uint64_t seed)
{
    kr_array *a = kr_array_new(KR_C32, KR_SHAPE([KR_X] = s->x, [KR_Y] = s->y, [KR_Z] = s->z, [KR_COIL] = s->coil, [KR_MAP] = s->map));
    fill_random(a, seed);
    return a;
}

static kr_array *random_mask(const struct size *s, uint64_t seed, double keep)
{
    if (!s->mask)
        return NULL;
    kr_array *m = kr_array_new(KR_R32, KR_SHAPE([KR_X] = s->mask & X ? s->x : 1, [KR_Y] = s->mask & Y ? s->y : 1, [KR_Z] = s->mask & Z ? s->z : 1));
    for (long i = 0, n = kr_count(kr_array_shape(m)); i < n; i++)
        KR_R(m)[i] = kr_rand_uniform(seed, 1, (uint64_t)i) < keep;
    KR_R(m)[0] = 1;
    return m;
}

/* The same operator in the order of the page: A = P F S. */
static kr_linop *composed(const struct size *s, const kr_array *maps, const kr_array *mask)
{
    kr_shape image = KR_SHAPE([KR_X] = s->x, [KR_Y] = s->y, [KR_Z] = s->z, [KR_MAP] = s->map), data = image;
    data.n[KR_MAP] = 1;
    data.n[KR_COIL] = s->coil;
    kr_linop *FS = kr_mul(kr_op_fourier(data, s->axes), kr_op_weight(KR_C32, maps, data, image));
    return mask ? kr_mul(kr_op_weight(KR_C32, mask, data, data), FS) : FS;
}

static void adjoint_and_normal(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
        const struct size *s = &size[k];
        kr_scoped(array) maps = random_maps(s, k);
        kr_scoped(array) mask = random_mask(s, k, 0.4);
        kr_scoped(linop) A = kr_op_sense(maps, mask, s->axes);
        kr_scoped(linop) B = composed(s, maps, mask);
        assert_non_null(A);
        assert_non_null(B);
        kr_scoped(array) x = kr_array_new(KR_C32, kr_linop_domain(A));
        kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
        fill_random(x, 100 + k);
        fill_random(y, 200 + k);
        kr_scoped(array) Ax = kr_array_like(y);
        kr_scoped(array) Bx = kr_array_like(y);
        kr_scoped(array) Ay = kr_array_like(x);
        kr_scoped(array) By = kr_array_like(x);
        kr_scoped(array) Nx = kr_array_like(x);
        kr_apply(A, Ax, x);
        kr_apply(B, Bx, x);
        assert_near(distance(Ax, Bx), 0, 2e-6);          /* float rounding of log2(N) butterflies */
        kr_apply_adj(A, Ay, y);
        kr_apply_adj(B, By, y);
        assert_near(distance(Ay, By), 0, 2e-6);
        kr_apply_normal(A, Nx, x);
        kr_apply_adj(B, By, Bx);
        assert_near(distance(Nx, By), 0, 2e-6);
        double a[2], b[2];
        kr_dot(y, Ax, a);                                /* <y, A x> = <A^H y, x> */
        kr_dot(Ay, x, b);
        double scale = kr_norm(Ax) * kr_norm(y);
        assert_near(a[0] / scale, b[0] / scale, 1e-6);
        assert_near(a[1] / scale, b[1] / scale, 1e-6);
    }
}

/* CG against Cholesky of the dense normal matrix, built column by column. */
static void against_a_dense_solve(void **state)
{
    (void)state;
    const struct size s = { 5, 6, 1, 3, 2, Y, X | Y };
    kr_scoped(array) maps = random_maps(&s, 7);
    kr_scoped(array) mask = random_mask(&s, 7, 0.6);
    kr_scoped(linop) A = kr_op_sense(maps, mask, s.axes);
    kr_scoped(array) x = kr_array_new(KR_C32, kr_linop_domain(A));
    kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
    kr_scoped(array) e = kr_array_like(x);
    kr_scoped(array) b = kr_array_like(x);
    fill_random(y, 8);
    const float lambda = 0.5f;
    assert_true(kr_cg(A, x, y, lambda, (kr_stop){ 200, 1e-7 }, NULL) > 0);
    long n = kr_count(kr_linop_domain(A));
    kr_cfloat *M = kr_alloc((size_t)(n * n), sizeof *M);
    for (long j = 0; j < n; j++) {
        kr_fill(e, 0);
        KR_C(e)[j] = 1;
        kr_array column = *e;
        column.data = M + j * n;
        kr_apply_normal(A, &column, e);
    }
    kr_apply_adj(A, b, y);
    assert_int_equal(kr_la_solve_posdef(n, M, lambda, 1, b->data), 0);
    assert_near(distance(x, b), 0, 1e-5);                /* condition about 50, in float */
    kr_free(M);
}

/* In blocks or as a whole: the same minimum; lanes and slabs that are not full, planes across each axis, several sets. */
static void in_blocks(void **state)
{
    (void)state;
    static const struct size more[] = { { 19, 21, 1, 3, 2, X | Y, X | Y }, { 10, 11, 9, 4, 1, Y | Z, X | Y | Z }, { 21, 11, 33, 4, 2, Y | Z, Y | Z }, { 17, 12, 5, 3, 1, X | Y, X | Y },
        { 17, 12, 5, 3, 1, X | Y, X | Y | Z }, { 17, 12, 5, 3, 2, Y, X | Y | Z }, { 17, 12, 5, 3, 1, Z, X | Y | Z }, { 30, 12, 5, 3, 1, Y, Y }, { 17, 5, 8, 3, 2, X | Z, X | Y | Z },
        { 6, 33, 1, 3, 1, X, X | Y }, { 33, 3, 12, 3, 1, Z, Y | Z }, { 9, 12, 2, 3, 1, Y, X | Y }, { 12, 6, 5, 2, 2, 0, X | Y | Z }, { 1, 12, 18, 10, 1, Y | Z, Y | Z } };
    for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
        const struct size *s = &more[k];
        kr_scoped(array) maps = random_maps(s, k);
        kr_scoped(array) mask = random_mask(s, k, 0.7);
        kr_scoped(linop) A = kr_op_sense(maps, mask, s->axes);
        kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
        kr_scoped(array) whole = kr_array_new(KR_C32, kr_linop_domain(A));
        kr_scoped(array) blocks = kr_array_like(whole);
        fill_random(y, k);
        double nearest = 0;
        assert_true(kr_cg(A, whole, y, 0.5f * kr_sense_unit(maps), (kr_stop){ 300, 1e-7 }, NULL) > 0);
        assert_true(kr_cg_sense_can(mask ? kr_array_shape(mask) : (kr_shape){ 0 }, s->axes));
        assert_true(kr_cg_sense(blocks, y, maps, mask, s->axes, 0.5f, (kr_stop){ 300, 1e-7 }, &nearest, NULL) > 0);
        assert_near(distance(blocks, whole), 0, 1e-5);   /* both stopped at 1e-7 of the residual, condition about 50 */
        kr_scoped(array) Ax = kr_array_like(y);
        kr_scoped(array) known = kr_array_copy(y);
        kr_apply(A, Ax, whole);
        if (mask)
            kr_contract(known, y, mask, false);
        assert_near(nearest, kr_dot_re(Ax, known) / kr_dot_re(Ax, Ax), 1e-5);        /* the factor of least squares, from its definition */
    }
    assert_false(kr_cg_sense_can(KR_SHAPE([KR_X] = 4, [KR_Y] = 4, [KR_Z] = 4), X | Y | Z));
    assert_false(kr_cg_sense_can(KR_SHAPE([KR_X] = 4, [KR_Y] = 4), Y | Z));
}

/* With more coils than missing lines and no noise, an object comes back. */
static void exact_object(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        const struct size s = (struct size[]){ { 16, 24, 1, 8, 1, Y, X | Y }, { 15, 18, 1, 8, 1, X | Y, X | Y }, { 6, 10, 12, 8, 1, Y | Z, X | Y | Z } }[k];
        kr_scoped(array) maps = random_maps(&s, 20 + k);
        kr_scoped(array) mask = random_mask(&s, 20 + k, 0.6);
        kr_scoped(linop) A = kr_op_sense(maps, mask, s.axes);
        kr_scoped(array) truth = kr_array_new(KR_C32, kr_linop_domain(A));
        kr_scoped(array) x = kr_array_like(truth);
        kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
        fill_random(truth, 30 + k);
        kr_apply(A, y, truth);
        assert_true(kr_cg(A, x, y, 0, (kr_stop){ 200, 1e-7 }, NULL) > 0);
        assert_near(distance(x, truth), 0, 1e-5);
    }
}

/* The same bits on any number of threads. */
static void any_threads(void **state)
{
    (void)state;
    const struct size s[] = { { 64, 48, 1, 7, 1, X | Y, X | Y }, { 40, 30, 1, 3, 1, Y, X | Y }, { 20, 18, 10, 3, 1, Y | Z, X | Y | Z } };
    int threads = kr_threads();
    for (int k = 0; k < 6; k++) {
        kr_scoped(array) maps = random_maps(&s[k / 2], 40);
        kr_scoped(array) mask = random_mask(&s[k / 2], 40, 0.4);
        kr_array *x[3];
        for (int t = 0; t < 3; t++) {
            kr_threads_set(t + 1);
            kr_scoped(linop) A = kr_op_sense(maps, mask, s[k / 2].axes);
            kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
            fill_random(y, 41);
            x[t] = kr_array_new(KR_C32, kr_linop_domain(A));
            if (k & 1)
                assert_int_equal(kr_cg_sense(x[t], y, maps, mask, s[k / 2].axes, 0.01f, (kr_stop){ 10, 0 }, NULL, NULL), 10);
            else
                assert_int_equal(kr_cg(A, x[t], y, 0.01f, (kr_stop){ 10, 0 }, NULL), 10);
            assert_memory_equal(x[0]->data, x[t]->data, (size_t)kr_count(kr_linop_domain(A)) * 8);
        }
        for (int t = 0; t < 3; t++)
            kr_array_unref(&x[t]);
    }
    kr_threads_set(threads);
}

static void refusals(void **state)
{
    (void)state;
    kr_scoped(array) maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 4, [KR_Y] = 4, [KR_COIL] = 2, [KR_SLICE] = 3));
    assert_null(kr_op_sense(maps, NULL, X | Y));
    assert_refused(KR_ESHAPE, "one slice");
    kr_scoped(array) one = kr_array_at(maps, KR_SLICE, 0);
    kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 4, [KR_Y] = 5));
    assert_null(kr_op_sense(one, mask, X | Y));
    assert_refused(KR_ESHAPE, "mask of shape {x=4 y=5}");
}

/* The largest sum over coils counts wherever it lies: at the ends of a line, of the pieces that it is taken in, in the last set. */
static void unit_wherever(void **state)
{
    (void)state;
    kr_scoped(array) maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 300, [KR_Y] = 2, [KR_COIL] = 3, [KR_MAP] = 2));
    static const long x[] = { 0, 1, 127, 128, 255, 256, 299 };
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        for (long y = 0; y < 2; y++)
            for (long m = 0; m < 2; m++) {
                for (long k = 0; k < kr_count(kr_array_shape(maps)); k++)
                    KR_C(maps)[k] = kr_c(0.25f, 0);
                for (long c = 0; c < 3; c++)
                    KR_C(maps)[x[i] + y * maps->step[KR_Y] + c * maps->step[KR_COIL] + m * maps->step[KR_MAP]] = kr_c(0, (float)(c + 1));
                assert_near((double)kr_sense_unit(maps), 14, 1e-5);          /* 1 + 4 + 9; float32 */
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(adjoint_and_normal), cmocka_unit_test(against_a_dense_solve),
        cmocka_unit_test(in_blocks), cmocka_unit_test(exact_object), cmocka_unit_test(any_threads), cmocka_unit_test(refusals), cmocka_unit_test(unit_wherever) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
