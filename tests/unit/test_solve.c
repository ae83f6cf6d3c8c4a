/* test_solve.c: the solvers against closed forms and against each other. */
#include "test.h"
#include "kray/la.h"
#include "kray/solve.h"

enum { X = KR_ON(KR_X), Y = KR_ON(KR_Y), N = 40 };

/* A small undersampled problem of four coils. */
struct small { kr_array *maps, *mask, *y, *b; kr_linop *A, *N; double bound, yy; };

static void open_small(struct small *s, double density)
{
    kr_shape shape = KR_SHAPE([KR_X] = N, [KR_Y] = N);
    s->maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = 4));
    s->mask = kr_array_new(KR_R32, shape);
    fill_random(s->maps, 1);
    kr_scale(s->maps, 0.3f);
    for (long i = 0; i < N * N; i++)
        KR_R(s->mask)[i] = kr_rand_uniform(9, 9, (uint64_t)i) < density;
    s->A = kr_op_sense(s->maps, s->mask, X | Y);
    s->N = kr_op_sense_normal(s->maps, s->mask, X | Y, (kr_shape){ 0 });
    s->bound = kr_sense_unit(s->maps);
    kr_scoped(array) truth = kr_array_new(KR_C32, shape);
    for (long i = 0; i < N * N; i++)                                 /* boxes */
        KR_C(truth)[i] = kr_c(i % N > 8 && i % N < 30 && i / N > 5 && i / N < 33 ? 1 : 0, i % N > 15 && i / N > 15 && i / N < 25 ? 0.5f : 0);
    s->y = kr_array_new(KR_C32, kr_linop_codomain(s->A));
    kr_scoped(array) noise = kr_array_like(s->y);
    kr_scoped(array) clean = kr_array_like(s->y);
    s->b = kr_array_like(truth);
    fill_random(noise, 2);
    kr_apply(s->A, clean, truth);
    kr_axpy(clean, 0.05f, noise);
    for (long i = 0; i < kr_count(kr_linop_codomain(s->A)); i++)
        KR_C(s->y)[i] = KR_R(s->mask)[i % (N * N)] > 0 ? KR_C(clean)[i] : kr_c(0, 0);
    kr_apply_adj(s->A, s->b, s->y);
    s->yy = kr_dot_re(s->y, s->y);
}

static void close_small(struct small *s)
{
    kr_array_unref(&s->maps);
    kr_array_unref(&s->mask);
    kr_array_unref(&s->y);
    kr_array_unref(&s->b);
    kr_linop_unref(&s->A);
    kr_linop_unref(&s->N);
}

static kr_problem problem(const struct small *s, const kr_term *t, int terms)
{
    return (kr_problem){ s->N, s->b, s->yy, s->bound, t, terms, 1 };
}

/* The normal operator by blocks is A^H A, whichever axes are long; a plane along Y and Z alone was once wrong. */
static void normal_by_blocks(void **state)
{
    (void)state;
    static const long size[][4] = { { 1, 22, 36, 1 }, { 3, 22, 36, 1 }, { 8, 36, 22, 2 }, { 9, 22, 36, 1 }, { 22, 1, 36, 2 }, { 22, 36, 1, 1 }, { 22, 36, 2, 1 } };
    for (size_t k = 0; k < sizeof size / sizeof *size; k++)
        for (int gone = 0; gone < 3; gone++) {                       /* the mask is the same along this axis */
            const long *n = size[k];
            long on[3] = { n[0], n[1], n[2] };
            on[gone] = 1;
            kr_scoped(array) maps = kr_array_new(KR_C32, KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = 5, [KR_MAP] = n[3]));
            kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = on[0], [KR_Y] = on[1], [KR_Z] = on[2]));
            fill_random(maps, 5);
            for (long i = 0; i < on[0] * on[1] * on[2]; i++)
                KR_R(mask)[i] = kr_rand_uniform(4, 4, (uint64_t)i) < 0.4;
            kr_scoped(linop) A = kr_op_sense(maps, mask, X | Y | KR_ON(KR_Z));
            kr_scoped(linop) B = kr_op_sense_normal(maps, mask, X | Y | KR_ON(KR_Z), (kr_shape){ 0 });
            kr_scoped(array) x = kr_array_new(KR_C32, kr_linop_domain(A));
            kr_scoped(array) want = kr_array_like(x);
            kr_scoped(array) got = kr_array_like(x);
            fill_random(x, 6);
            kr_apply_normal(A, want, x);
            kr_apply(B, got, x);
            kr_axpy(got, -1, want);
            assert_true(kr_norm(got) < 1e-5 * kr_norm(want));        /* float sums in another order: 3e-7 seen */
        }
}

/* N = 1: x is the proximal map of b itself. */
static void denoising_is_the_map(void **state)
{
    (void)state;
    kr_shape shape = KR_SHAPE([KR_X] = N, [KR_Y] = N);
    kr_scoped(linop) one = kr_op_identity(KR_C32, shape);
    kr_scoped(array) b = kr_array_new(KR_C32, shape);
    kr_scoped(array) want = kr_array_like(b);
    fill_random(b, 3);
    kr_prox *g = kr_prox_wavelet(KR_C32, shape, X | Y, 3, 0, 0.8, false);
    kr_prox_apply(g, 1, want, b);
    for (int i = 0; kr_solvers[i]; i++) {
        kr_scoped(array) x = kr_array_like(b);
        kr_term t = { g, NULL };
        kr_problem p = { one, b, kr_dot_re(b, b), 1, &t, 1, 1 };
        kr_solution s;
        if (!kr_solvers[i]->can(&p))
            continue;
        assert_int_equal(kr_solve(&p, kr_solvers[i]->name, x, (kr_stop){ 500, 1e-6 }, &s, NULL), 0);
        assert_string_equal(s.solver, kr_solvers[i]->name);
        assert_true(s.converged);
        assert_near(distance(x, want), 0, 2e-5);                     /* 1e-6 of the dual variables */
        kr_scoped(array) d = kr_array_copy(x);
        kr_axpy(d, -1, b);
        assert_near(s.misfit, kr_dot_re(d, d) / 2, 1e-4 * s.misfit);
        assert_near(s.objective, s.misfit + kr_prox_value(g, x), 1e-4 * s.objective);
    }
    kr_prox_unref(&g);
}

/* Squares alone: the normal equations, by conjugate gradients. */
static void ridge_is_linear(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.5);
    kr_prox *g = kr_prox_l2(KR_C32, kr_linop_domain(s.N), 0.2 * s.bound);
    kr_scoped(array) want = kr_array_like(s.b);
    assert_true(kr_cg_normal(s.N, want, s.b, (float)(0.2 * s.bound), (kr_stop){ 300, 1e-7 }, NULL) > 0);
    for (int i = 0; kr_solvers[i]; i++) {
        kr_scoped(array) x = kr_array_like(s.b);
        kr_term t = { g, NULL };
        kr_problem p = problem(&s, &t, 1);
        p.bound = i == 1 ? 0 : p.bound;                              /* once with power iteration */
        if (!kr_solvers[i]->can(&p))
            continue;
        assert_int_equal(kr_solve(&p, kr_solvers[i]->name, x, (kr_stop){ 3000, 1e-6 }, NULL, NULL), 0);
        assert_near(distance(x, want), 0, 5e-5);
    }
    kr_prox_unref(&g);
    close_small(&s);
}

/* TV by its proximal map, and by l1 of D x, by each solver that can: one minimum. */
static void solvers_agree(void **state)
{
    (void)state;
    enum { MOST = 32 };
    struct small s;
    open_small(&s, 0.4);
    kr_shape n = kr_linop_domain(s.N);
    double lambda = 0.02 * s.bound, lowest = INFINITY, value[MOST];
    kr_linop *D = kr_op_diff(KR_C32, n, X | Y);
    kr_array *x[MOST];
    int ways = 0;
    for (int i = 0; kr_solvers[i / 2] && ways < MOST; i++) {
        kr_prox *g = i % 2 ? kr_prox_l1(KR_C32, kr_linop_codomain(D), lambda) : kr_prox_tv(KR_C32, n, X | Y, lambda, 60);
        kr_term t = { g, i % 2 ? D : NULL };
        kr_problem p = problem(&s, &t, 1);
        kr_solution out;
        if (kr_solvers[i / 2]->can(&p)) {
            x[ways] = kr_array_like(s.b);
            assert_int_equal(kr_solve(&p, kr_solvers[i / 2]->name, x[ways], (kr_stop){ 3000, 3e-5 }, &out, NULL), 0);
            print_message("# %s %s: %.7g after %d\n", kr_solvers[i / 2]->name, i % 2 ? "of D x" : "by its map", out.objective, out.iterations);
            lowest = fmin(lowest, value[ways++] = out.objective);
        }
        kr_prox_unref(&g);
    }
    assert_true(ways >= 4);
    for (int i = 0; i < ways; i++) {
        assert_near(value[i] / lowest, 1, 1e-4);
        assert_near(distance(x[i], x[0]), 0, 1e-3);
    }
    for (int i = 0; i < ways; i++)
        kr_array_unref(&x[i]);
    kr_linop_unref(&D);
    close_small(&s);
}

/* One coil whose map is 1, half of its samples: N is a projector, primal-dual steps take the data term exactly, and end where ADMM ends. */
static void one_coil(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.5);
    kr_shape n = kr_linop_domain(s.N);
    kr_scoped(array) map = kr_array_new(KR_C32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = 1));
    for (long i = 0; i < N * N; i++)
        KR_C(map)[i] = kr_c(2, 0);                                   /* L is 4 */
    KR_R(s.mask)[N / 2 * N + N / 2] = 1;                                   /* the mean, which TV leaves open */
    kr_scoped(linop) A = kr_op_sense(map, s.mask, X | Y);
    kr_scoped(linop) only = kr_op_sense_normal(map, s.mask, X | Y, (kr_shape){ 0 });
    kr_scoped(array) truth = kr_array_new(KR_C32, n);
    for (long i = 0; i < N * N; i++)
        KR_C(truth)[i] = kr_c(i % N > 8 && i % N < 30 && i / N > 5 && i / N < 33 ? 1 : 0, i % N > 15 && i / N > 15 && i / N < 25 ? 0.5f : 0);
    kr_scoped(array) y = kr_array_new(KR_C32, kr_linop_codomain(A));
    kr_apply(A, y, truth);
    kr_apply_adj(A, s.b, y);
    kr_linop *D = kr_op_diff(KR_C32, n, X | Y);
    kr_prox *g = kr_prox_l1(KR_C32, kr_linop_codomain(D), 0.01 * 4);
    kr_term t = { g, D };
    kr_problem p = { only, s.b, kr_dot_re(y, y), 4, &t, 1, 1 };
    kr_scoped(array) a = kr_array_like(s.b);
    kr_scoped(array) x = kr_array_like(s.b);
    kr_solution sa, sx;
    assert_int_equal(kr_solve(&p, "admm", a, (kr_stop){ 5000, 1e-5 }, &sa, NULL), 0);
    assert_int_equal(kr_solve(&p, "pdhg", x, (kr_stop){ 2000, 1e-5 }, &sx, NULL), 0);
    assert_near(sx.objective / sa.objective, 1, 1e-3);
    assert_near(distance(x, a), 0, 5e-3);
    assert_near(distance(x, truth), 0, 0.05);                        /* boxes: what TV finds from half of the samples */
    kr_prox_unref(&g);
    kr_linop_unref(&D);
    close_small(&s);
}

/* A sum of two terms: ADMM and primal-dual meet; FISTA says that it cannot. */
static void sums_of_terms(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.4);
    kr_shape n = kr_linop_domain(s.N);
    kr_prox *w = kr_prox_wavelet(KR_C32, n, X | Y, 2, 0, 0.01 * s.bound, false), *tv = kr_prox_tv(KR_C32, n, X | Y, 0.02 * s.bound, 20);
    const kr_term t[2] = { { w, NULL }, { tv, NULL } };
    kr_problem p = problem(&s, t, 2);
    kr_scoped(array) a = kr_array_like(s.b);
    kr_scoped(array) b = kr_array_like(s.b);
    kr_solution sa, sb;
    assert_int_equal(kr_solve(&p, "admm", a, (kr_stop){ 1000, 3e-4 }, &sa, NULL), 0);
    assert_int_equal(kr_solve(&p, NULL, b, (kr_stop){ 1000, 3e-4 }, &sb, NULL), 0);
    assert_string_equal(sb.solver, "pdhg");
    assert_near(sa.objective / sb.objective, 1, 3e-4);
    assert_near(distance(a, b), 0, 3e-3);
    assert_true(kr_solve(&p, "fista", b, (kr_stop){ 10, 0 }, NULL, NULL) < 0);
    assert_refused(KR_EREFUSED, "fista cannot");
    assert_true(kr_solve(&p, "simplex", b, (kr_stop){ 10, 0 }, NULL, NULL) < 0);
    assert_refused(KR_EUSAGE, "no solver 'simplex'");
    kr_prox_unref(&w);
    kr_prox_unref(&tv);
    close_small(&s);
}

/* Half of x is hardly measured (its eigenvalues are 1e-4 of the largest): every solver goes on until x is where the closed form is, though
 * steps and gradients are small long before: those of b's size to 1e-3 after a few iterations. */
static void stops_where_it_says(void **state)
{
    (void)state;
    enum { P = 256 };
    kr_shape n = KR_SHAPE([KR_X] = P);
    kr_scoped(array) w = kr_array_new(KR_R32, n);
    kr_scoped(array) b = kr_array_new(KR_C32, n);
    for (long i = 0; i < P; i++) {
        KR_R(w)[i] = i % 2 ? 1 : 1e-4f;
        KR_C(b)[i] = kr_c(KR_R(w)[i] * (1 + (float)(i % 7)), 0);
    }
    kr_scoped(linop) weight = kr_op_weight(KR_C32, w, n, n);
    kr_prox *g = kr_prox_l2(KR_C32, n, 1e-4);
    kr_term t = { g, NULL };
    for (double start = 1; start < 20; start += 10)
        for (int i = 0; kr_solvers[i]; i++) {
            kr_problem p = { weight, b, 100, 1, &t, 1, start };
            kr_scoped(array) x = kr_array_new(KR_C32, n);
            kr_solution out;
            if (!kr_solvers[i]->can(&p))
                continue;
            assert_int_equal(kr_solve(&p, kr_solvers[i]->name, x, (kr_stop){ 200000, 1e-2 }, &out, NULL), 0);
            assert_true(out.converged && out.iterations > 10);
            double far = 0, size = 0;
            for (long k = 0; k < P; k++) {
                double best = (double)kr_re(KR_C(b)[k]) / ((double)KR_R(w)[k] + 1e-4);
                far += pow((double)kr_re(KR_C(x)[k]) - best, 2);
                size += best * best;
            }
            assert_true(far <= 4e-4 * size);                          /* twice what was asked for */
            kr_fill(x, 0);
            assert_int_equal(kr_solve(&p, kr_solvers[i]->name, x, (kr_stop){ 20, 1e-2 }, &out, NULL), 0);
            assert_true(!strcmp(kr_solvers[i]->name, "admm") || !out.converged);
        }
    kr_prox_unref(&g);
}

/* Momentum is that of Beck and Teboulle as long as it is small (0, 0.28, 0.43: t = 1, 1.618, 2.194), then at most 0.9, then 1 - 10 / k. */
static void momentum(void **state)
{
    (void)state;
    static const double first[] = { 0, 0.2817, 0.4340 };
    double t = 1;
    for (int k = 0; k < 1000; k++) {
        double beta = kr_momentum(&t, k);
        if (k < 3)
            assert_near(beta, first[k], 1e-4);
        assert_true(beta <= 0.9 || k >= 100);
        if (k == 999)
            assert_near(beta, 0.99, 1e-12);
    }
}

/* Moves of a known kind: a power of the iterations, and a constant factor. What is left when it says so is no more than asked for. */
static void rests_at_rest(void **state)
{
    (void)state;
    static const double power[] = { 0.5, 1, 2, 0 };
    for (int i = 0; i < 4; i++) {
        kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 1));
        double left = 1;
        kr_rest r;
        assert_int_equal(kr_rest_open(&r, x), 0);
        bool rests = false;
        double part = 0, before = 0;
        for (int k = 1; k < 2000000 && !rests; k++) {
            before = part;
            left = power[i] > 0 ? pow(k, -power[i]) : pow(0.999, k);
            KR_C(x)[0] = kr_c((float)(1 - left), 0);
            assert_false(kr_rest_at(&r, x, 3, 0));
            rests = kr_rest_at(&r, x, k, 1e-2);
            part = kr_rest_part(&r, k, 2000000);
            assert_true(part >= before && part < 1);
        }
        assert_true(before > 0.7);                       /* far ahead of the iterations that it may take */
        assert_true(rests && left < 1.2e-2 && (power[i] < 0.6 || left > 1e-3));
        kr_rest_close(&r);
    }
}

/* 1/2 |A x - y|^2 + the mean of g over many places. */
static double mean_objective(const kr_problem *p, kr_prox *g, const kr_array *x)
{
    enum { PLACES = 64 };
    kr_term t = { g, NULL };
    kr_problem q = *p;
    q.term = &t;
    double sum = 0;
    for (long k = 0; k < PLACES; k++) {
        kr_prox_next(g, k);
        sum += kr_objective(&q, x, NULL) / PLACES;
    }
    return sum;
}

/* The mean over four places of the grid is near the mean over all, far below a grid that rests, and all solvers come to it. */
static void moving_grids(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.5);
    kr_shape shape = KR_SHAPE([KR_X] = N, [KR_Y] = N);
    kr_prox *moving = kr_prox_wavelet(KR_C32, shape, X | Y, 2, 3, 0.05, true), *still = kr_prox_wavelet(KR_C32, shape, X | Y, 2, 3, 0.05, false);
    kr_prox *four = kr_prox_mean(kr_prox_wavelet(KR_C32, shape, X | Y, 2, 3, 0.05, true), 4), *all = kr_prox_mean(kr_prox_wavelet(KR_C32, shape, X | Y, 2, 3, 0.05, true), 64);
    kr_prox *const use[] = { all, four, four, four, still };
    static const char *const by[] = { "fista", "fista", "pdhg", "admm", "fista" };
    double value[5];
    for (int i = 0; i < 5; i++) {
        kr_term t = { use[i], NULL };
        kr_problem p = problem(&s, &t, 1);
        kr_scoped(array) x = kr_array_new(KR_C32, shape);
        kr_solution how;
        assert_int_equal(kr_solve(&p, by[i], x, (kr_stop){ 5000, 1e-4 }, &how, NULL), 0);
        assert_true(how.converged);
        value[i] = mean_objective(&p, moving, x);
    }
    for (int i = 1; i < 4; i++) {
        assert_true(value[i] < 1.02 * value[0]);                     /* the mean of maps is lower than the mean of g: by 0.1 % with the step of
                                                                        fista, 1.2 % with that of admm, which is 4 times as long */
        assert_true(value[i] < value[4]);
    }
    kr_prox *same = kr_prox_mean(still, 4);
    assert_ptr_equal(same, still);                                   /* nothing moves */
    kr_prox_unref(&moving);
    kr_prox_unref(&still);
    kr_prox_unref(&four);
    kr_prox_unref(&all);
    close_small(&s);
}

/* Real numbers, and the same as complex ones: solver by solver the same iterates, up to how sums are rounded. */
static void real_as_complex(void **state)
{
    (void)state;
    kr_shape n = KR_SHAPE([KR_X] = N, [KR_Y] = N), two = KR_SHAPE([KR_Y] = N, [KR_COIL] = 25);
    kr_scoped(array) w = kr_array_new(KR_R32, KR_SHAPE([KR_X] = N, [KR_Y] = N, [KR_COIL] = 25));   /* 25 sums of each line of 40 points */
    kr_scoped(array) truth = kr_array_new(KR_R32, n);
    fill_random(w, 3);
    for (long i = 0; i < N * N; i++)
        KR_R(truth)[i] = i % N > 8 && i % N < 30 && i / N > 5 && i / N < 33;
    for (int i = 0; kr_solvers[i]; i++)
        for (int k = 0; k < 2; k++) {
            kr_array *x[2];
            kr_solution how[2];
            for (int t = 0; t < 2; t++) {
                enum kr_type type = t ? KR_C32 : KR_R32;
                kr_linop *A = kr_op_weight(type, w, two, n), *D = k ? kr_op_diff(type, n, X | Y) : NULL;
                kr_linop *NN = kr_mul(kr_adjoint(kr_linop_ref(A)), kr_linop_ref(A));
                kr_prox *g = k ? kr_prox_l1(type, kr_linop_codomain(D), 4) : kr_prox_wavelet(type, n, X | Y, 2, 0, 4, true);
                kr_scoped(array) from = t ? kr_array_complex(truth) : kr_array_ref(truth);
                kr_scoped(array) y = kr_array_new(type, two);
                kr_scoped(array) b = kr_array_new(type, n);
                x[t] = kr_array_new(type, n);
                kr_apply(A, y, from);
                kr_apply_adj(A, b, y);
                kr_term term = { g, D };
                kr_problem p = { NN, b, kr_dot_re(y, y), 150, &term, 1, 1 };
                how[t].iterations = 0;
                if (kr_solvers[i]->can(&p))
                    assert_int_equal(kr_solve(&p, kr_solvers[i]->name, x[t], (kr_stop){ 40, 0 }, &how[t], NULL), 0);
                kr_prox_unref(&g);
                kr_linop_unref(&A);
                kr_linop_unref(&D);
                kr_linop_unref(&NN);
            }
            if (how[0].iterations) {
                kr_scoped(array) whole = kr_array_complex(x[0]);
                /* 40 steps of sums rounded otherwise; pdhg with differences takes |D|^2 from power iteration, of another random start */
                assert_near(distance(whole, x[1]), 0, k && !strcmp(kr_solvers[i]->name, "pdhg") ? 1e-2 : 1e-4);
                assert_near(how[0].objective / how[1].objective, 1, 1e-3);
                assert_int_equal(how[0].iterations, how[1].iterations);
            }
            kr_array_unref(&x[0]);
            kr_array_unref(&x[1]);
        }
    kr_scoped(linop) one = kr_op_identity(KR_R32, n);
    kr_scoped(array) b = kr_array_new(KR_C32, n);
    kr_scoped(array) x = kr_array_new(KR_C32, n);
    kr_problem p = { one, b, 1, 1, NULL, 0, 1 };
    assert_true(kr_solve(&p, NULL, x, (kr_stop){ 10, 0 }, NULL, NULL) < 0);
    assert_refused(KR_ESHAPE, "numbers fit");
}

/* Line integrals of a few boxes: steps of each ray's own end where the others end, and keep what is below 0 at 0. */
static void rays_agree(void **state)
{
    (void)state;
    double angle[20];
    for (int i = 0; i < 20; i++)
        angle[i] = M_PI * i / 20;
    kr_rays *r = kr_rays_parallel(&(kr_detector){ 34, 1, { 1, 0 }, { 0, 0 } }, 20, angle);
    kr_grid grid = kr_grid_centred((long[3]){ 24, 24, 1 }, (double[3]){ 1, 1, 1 });
    kr_linop *A = kr_op_rays(r, &grid, KR_RAY_JOSEPH), *NN = kr_normal(kr_linop_ref(A));
    kr_shape n = kr_linop_domain(A);
    kr_scoped(array) truth = kr_array_new(KR_R32, n);
    kr_scoped(array) y = kr_array_new(KR_R32, kr_linop_codomain(A));
    kr_scoped(array) b = kr_array_like(truth);
    for (long i = 0; i < 24 * 24; i++)
        KR_R(truth)[i] = i % 24 > 6 && i % 24 < 18 && i / 24 > 5 && i / 24 < 20;
    kr_scoped(array) noise = kr_array_like(y);
    fill_random(noise, 1);
    kr_apply(A, y, truth);
    kr_axpy(y, 0.2f, noise);
    kr_apply_adj(A, b, y);
    kr_linop *D = kr_op_diff(KR_R32, n, X | Y);
    kr_prox *g = kr_prox_l1(KR_R32, kr_linop_codomain(D), 0.5);
    kr_term t = { g, D };
    static const char *const by[] = { "admm", "pdhg", "diagonal" };
    double value[3];
    kr_array *x[3];
    for (int i = 0; i < 3; i++) {
        kr_problem p = { .N = NN, .b = b, .yy = kr_dot_re(y, y), .term = &t, .terms = 1, .start = 1, .A = A, .y = y };
        kr_solution out;
        x[i] = kr_array_like(b);
        assert_int_equal(kr_solve(&p, by[i], x[i], (kr_stop){ 5000, 1e-4 }, &out, NULL), 0);
        print_message("# %s: %.7g after %d\n", by[i], out.objective, out.iterations);
        value[i] = out.objective;
    }
    for (int i = 0; i < 3; i++) {
        assert_near(value[i] / value[2], 1, 2e-3);
        assert_near(distance(x[i], x[2]), 0, 5e-3);
        kr_array_unref(&x[i]);
    }
    kr_problem p = { .N = NN, .b = b, .yy = kr_dot_re(y, y), .term = &t, .terms = 1, .start = 1, .A = A, .y = y, .positive = true };
    kr_scoped(array) z = kr_array_like(b);
    kr_solution out;
    assert_int_equal(kr_solve(&p, NULL, z, (kr_stop){ 2000, 1e-4 }, &out, NULL), 0);
    assert_string_equal(out.solver, "diagonal");
    for (long i = 0; i < 24 * 24; i++)
        assert_true(KR_R(z)[i] >= 0);
    assert_true(out.objective >= value[2] * (1 - 2e-3));             /* a minimum over fewer images */
    assert_true(kr_solve(&p, "admm", z, (kr_stop){ 10, 0 }, NULL, NULL) < 0);
    assert_refused(KR_EREFUSED, "no value below 0");
    /* Maximum likelihood keeps what the detector counted in all, step by step: sum over voxels of (A^T 1) x = sum of y. */
    kr_apply(A, y, truth);
    kr_subset s = { A, y };
    kr_fill(z, 1);
    kr_array_assign(b, z);
    kr_scoped(array) ones = kr_array_like(y);
    kr_scoped(array) column = kr_array_like(z);
    kr_fill(ones, 1);
    kr_apply_adj(A, column, ones);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(kr_mlem(&s, 1, z, 1, NULL), 0);
        assert_near(kr_dot_re(column, z) / kr_dot_re(ones, y), 1, 1e-5);
    }
    kr_prox_unref(&g);
    kr_linop_unref(&D);
    kr_linop_unref(&NN);
    kr_linop_unref(&A);
    kr_rays_unref(&r);
}

static void not_finite(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.5);
    kr_prox *g = kr_prox_l2(KR_C32, kr_linop_domain(s.N), 0.1);
    kr_term t = { g, NULL };
    kr_problem p = problem(&s, &t, 1);
    kr_scoped(array) x = kr_array_like(s.b);
    KR_C(s.b)[5] = kr_c(NAN, 0);
    assert_true(kr_solve(&p, NULL, x, (kr_stop){ 10, 0 }, NULL, NULL) < 0);
    assert_refused(KR_ENUMBER, "not finite");
    kr_prox_unref(&g);
    close_small(&s);
}

/* After k steps the objective is at most 2 L |x0 - x*|^2 / (k + 1)^2 above its least (Beck and Teboulle, SIAM J Imaging Sci 2:183 (2009), theorem 4.4),
 * here with eigenvalues of all sizes from 1 to 1e-4; without momentum it is 2.7 times more after 200. */
static void fista_keeps_its_rate(void **state)
{
    (void)state;
    kr_shape shape = KR_SHAPE([KR_X] = 1000);
    kr_scoped(array) w = kr_array_new(KR_R32, shape);
    kr_scoped(array) truth = kr_array_new(KR_C32, shape);
    kr_scoped(array) b = kr_array_like(truth);
    for (long i = 0; i < 1000; i++) {
        KR_R(w)[i] = (float)pow(10, -4 * (double)i / 999);
        KR_C(truth)[i] = kr_c(1, 0);
    }
    kr_scoped(linop) D = kr_op_weight(KR_C32, w, shape, shape);
    kr_apply(D, b, truth);
    kr_problem p = { .N = D, .b = b, .yy = kr_dot_re(truth, b), .bound = 1, .start = 1 };
    for (int k = 50; k <= 200; k *= 2) {
        kr_scoped(array) x = kr_array_like(truth);
        kr_solution s;
        assert_int_equal(kr_solve(&p, "fista", x, (kr_stop){ k, 0 }, &s, NULL), 0);
        assert_int_equal(s.iterations, k);
        double most = 2 * 1000 / ((double)(k + 1) * (double)(k + 1));
        print_message("# %d steps: %.5f above the least, at most %.5f\n", k, s.objective, most);
        assert_true(s.objective <= most);
    }
}

/* sum of sqrt(1 + |10 x|^2): a bend instead of a corner. */
static void add_bend(void *self, kr_array *g, const kr_array *x, double by)
{
    for (long i = 0; i < kr_count(kr_array_shape(x)); i++)
        KR_C(g)[i] += (float)(by * *(double *)self * 10 / sqrt(1 + 100 * (double)kr_cabs2(KR_C(x)[i]))) * KR_C(x)[i];
}

static double value_of_bend(void *self, const kr_array *x)
{
    double sum = 0;
    for (long i = 0; i < kr_count(kr_array_shape(x)); i++)
        sum += *(double *)self / 10 * sqrt(1 + 100 * (double)kr_cabs2(KR_C(x)[i]));
    return sum;
}

/* Both solvers of a smooth term come to the same minimum, at which its gradient is 0; lbfgs takes fewer steps. */
static void smooth_terms(void **state)
{
    (void)state;
    struct small s;
    open_small(&s, 0.3);
    double strength = 0.05 * s.bound;
    kr_smooth bend = { add_bend, value_of_bend, 10 * strength, &strength };
    kr_problem p = problem(&s, NULL, 0);
    p.smooth = &bend;
    kr_scoped(array) x = kr_array_like(s.b);
    kr_scoped(array) slow = kr_array_like(s.b);
    kr_scoped(array) g = kr_array_like(s.b);
    kr_solution quick, other;
    assert_int_equal(kr_solve(&p, NULL, x, (kr_stop){ 3000, 1e-5 }, &quick, NULL), 0);
    assert_string_equal(quick.solver, "lbfgs");
    assert_true(quick.converged);
    assert_int_equal(kr_solve(&p, "fista", slow, (kr_stop){ 3000, 1e-5 }, &other, NULL), 0);
    kr_apply(p.N, g, x);
    kr_axpy(g, -1, s.b);
    add_bend(&strength, g, x, 1);
    print_message("# %d and %d iterations, objectives %.7g and %.7g, the gradient %.2g of A^H y\n", quick.iterations, other.iterations, quick.objective, other.objective, kr_norm(g) / kr_norm(s.b));
    assert_true(kr_norm(g) < 1e-4 * kr_norm(s.b));
    assert_true(fabs(quick.objective - other.objective) < 1e-5 * other.objective);
    assert_true(quick.iterations < other.iterations);
    kr_axpy(slow, -1, x);
    assert_true(kr_norm(slow) < 1e-3 * kr_norm(x));
    p.bound = 0;
    kr_fill(x, 0);
    assert_int_equal(kr_solve(&p, NULL, x, (kr_stop){ 5, 0 }, &quick, NULL), 0);
    assert_int_equal(quick.iterations, 5);
    assert_false(quick.converged);
    close_small(&s);
}

/* PWLS with A = 1: what it ends at is a minimum of sum w (x - y)^2 / 2 + beta * (mean of w) * sum over neighbours of Fair's penalty, written out here pair by pair: moving any one voxel, at the
 * edges as inside, changes it by no more than the square of the step. */
enum { PX = 6, PY = 5, PZ = 3, PN = PX * PY * PZ };
static double pwls_objective(const double *x, const float *y, const float *w, double beta, double edge)
{
    const int n[3] = { PX, PY, PZ }, apart[3] = { 1, PX, PX * PY };
    double sum = 0;
    for (int i = 0; i < PN; i++) {
        const int at[3] = { i % PX, i / PX % PY, i / (PX * PY) };
        sum += .5 * (double)w[i] * (x[i] - (double)y[i]) * (x[i] - (double)y[i]);
        for (int d = 0; d < 3; d++)
            if (at[d] + 1 < n[d]) {
                double t = fabs(x[i] - x[i + apart[d]]) / edge;
                sum += beta * edge * edge * (t - log1p(t));
            }
    }
    return sum;
}

static void pwls_is_a_minimum(void **state)
{
    (void)state;
    const kr_shape shape = KR_SHAPE([KR_X] = PX, [KR_Y] = PY, [KR_Z] = PZ);
    kr_scoped(array) y = kr_array_new(KR_R32, shape);
    kr_scoped(array) w = kr_array_new(KR_R32, shape);
    kr_scoped(array) x = kr_array_new(KR_R32, shape);
    kr_scoped(linop) A = kr_op_identity(KR_R32, shape);
    assert_true(y && w && x && A);
    double mean = 0, at[PN], beta = .7, edge = .3;
    for (int i = 0; i < PN; i++) {
        double z[2];
        kr_rand_normal2(5, 1, (uint64_t)i, z);
        KR_R(y)[i] = (float)z[0];
        KR_R(w)[i] = (float)(.5 + fabs(z[1]));
        mean += (double)KR_R(w)[i] / PN;
    }
    kr_fill(x, 0);
    const kr_subset whole = { A, y };
    assert_int_equal(kr_pwls(&whole, 1, (kr_array *const[]){ w }, x, 3000, beta, edge, false, NULL), 0);
    for (int i = 0; i < PN; i++)
        at[i] = (double)KR_R(x)[i];
    const double h = 1e-3;
    for (int i = 0; i < PN; i++) {
        double old = at[i];
        at[i] = old + h;
        double up = pwls_objective(at, KR_R(y), KR_R(w), beta * mean, edge);
        at[i] = old - h;
        double down = pwls_objective(at, KR_R(y), KR_R(w), beta * mean, edge);
        at[i] = old;
        /* floats of size 1 carry 1e-7 each, times a curvature of at most max w + 6 * 2 beta */
        assert_near((up - down) / (2 * h), 0, 2e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(denoising_is_the_map), cmocka_unit_test(ridge_is_linear), cmocka_unit_test(solvers_agree),
        cmocka_unit_test(one_coil), cmocka_unit_test(sums_of_terms), cmocka_unit_test(stops_where_it_says), cmocka_unit_test(momentum), cmocka_unit_test(fista_keeps_its_rate), cmocka_unit_test(smooth_terms), cmocka_unit_test(rests_at_rest), cmocka_unit_test(moving_grids), cmocka_unit_test(normal_by_blocks), cmocka_unit_test(real_as_complex), cmocka_unit_test(rays_agree), cmocka_unit_test(not_finite), cmocka_unit_test(pwls_is_a_minimum) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
