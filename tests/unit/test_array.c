#include "kray/dealt.h"
#include "kray/la.h"
#include "kray/select.h"
#include "test.h"

static void shapes(void **state)
{
    (void)state;
    assert_int_equal(kr_count(KR_SHAPE([KR_X] = 4, [KR_COIL] = 3)), 12);
    assert_int_equal(kr_count(KR_SHAPE([KR_X] = 1L << 40, [KR_COIL] = 1L << 40)), -1);
    assert_true(kr_shape_equal(KR_SHAPE([KR_X] = 4), KR_SHAPE([KR_X] = 4, [KR_Y] = 1)));
    assert_string_equal(kr_shape_text(KR_SHAPE([KR_X] = 12, [KR_COIL] = 4)), "{x=12 coil=4}");
    assert_null(kr_array_new(KR_C32, KR_SHAPE([KR_X] = 1L << 40, [KR_COIL] = 1L << 20)));
    assert_refused(KR_EREFUSED, "too large");
}

static void views(void **state)
{
    (void)state;
    kr_array *a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 3, [KR_Y] = 4, [KR_COIL] = 2));
    for (int i = 0; i < 24; i++)
        KR_R(a)[i] = (float)i;
    kr_array *at = kr_array_at(a, KR_Y, 2), *flip = kr_array_flip(at, KR_X), *packed = kr_array_packed(flip);
    assert_int_equal(packed->n[KR_Y], 1);
    float want[] = { 8, 7, 6, 20, 19, 18 };
    assert_memory_equal(packed->data, want, sizeof want);
    kr_array *swap = kr_array_rename(a, KR_X, KR_Y), *p2 = kr_array_packed(swap);
    assert_int_equal(p2->n[KR_X], 4);
    for (int c = 0; c < 2; c++)
        for (int y = 0; y < 3; y++)
            for (int x = 0; x < 4; x++)
                assert_true(KR_R(p2)[x + 4 * (y + 3 * c)] == KR_R(a)[y + 3 * (x + 4 * c)]);
    kr_array *pad = kr_array_crop(a, KR_Y, 7), *crop = kr_array_crop(pad, KR_Y, 4), *back = kr_array_packed(crop);
    assert_near(distance(back, a), 0, 0);
    assert_null(kr_array_at(a, KR_Y, 4));
    assert_refused(KR_ESHAPE, "y 4 to 4");
    kr_array_unref(&a); kr_array_unref(&at); kr_array_unref(&flip); kr_array_unref(&packed); kr_array_unref(&swap);
    kr_array_unref(&p2); kr_array_unref(&pad); kr_array_unref(&crop); kr_array_unref(&back);
    assert_int_equal(kr_mem_now(), 0);
}

/* Every contraction against plain loops over all axes. */
static void contractions(void **state)
{
    (void)state;
    for (int kind = 0; kind < 24; kind++) {
        int kz = kind & 1, ks = kind >> 1 & 1, conj = kind >> 2 & 1, real = kind >> 3;
        kr_array *x = kr_array_new(real == 1 ? KR_R32 : KR_C32, KR_SHAPE([KR_X] = ks ? 1 : 37, [KR_Y] = 11, [KR_MAP] = 2));
        kr_array *y = kr_array_new(real == 2 ? KR_R32 : KR_C32, KR_SHAPE([KR_X] = 37, [KR_Y] = 11, [KR_COIL] = 5));
        kr_array *z = kr_array_new(KR_C32, KR_SHAPE([KR_X] = 37, [KR_Y] = kz ? 11 : 1, [KR_COIL] = kz ? 5 : 1));
        fill_random(x, 1);
        fill_random(y, 2);
        kr_contract(z, x, y, conj);
        for (long c = 0; c < z->n[KR_COIL]; c++)
            for (long j = 0; j < z->n[KR_Y]; j++)
                for (long i = 0; i < 37; i++) {
                    double re = 0, im = 0;
                    for (long m = 0; m < 2; m++)
                        for (long cc = kz ? c : 0; cc < (kz ? c + 1 : 5); cc++)
                            for (long jj = kz ? j : 0; jj < (kz ? j + 1 : 11); jj++) {
                                long ix = (ks ? 0 : i) + x->n[KR_X] * (jj + 11 * m), iy = i + 37 * (jj + 11 * cc);
                                double a = real == 1 ? KR_R(x)[ix] : kr_re(KR_C(x)[ix]), b = real == 1 ? 0 : kr_im(KR_C(x)[ix]);
                                double p = real == 2 ? KR_R(y)[iy] : kr_re(KR_C(y)[iy]), q = real == 2 ? 0 : kr_im(KR_C(y)[iy]);
                                q = conj ? -q : q;
                                re += a * p - b * q;
                                im += a * q + b * p;
                            }
                    kr_cfloat got = KR_C(z)[i + 37 * (j + z->n[KR_Y] * c)];
                    assert_near(kr_re(got), re, 1e-4);           /* 110 products of size 1 in float */
                    assert_near(kr_im(got), im, 1e-4);
                }
        kr_array_unref(&x); kr_array_unref(&y); kr_array_unref(&z);
    }
}

/* One of two processes: even indices are its own, the other writes -1 where it is. */
struct half { long at, loops; int code; };
static long even(void *self, long loop, long n)
{
    struct half *h = self;
    if (loop != h->loops) {
        h->loops = loop;
        h->at = 0;
    }
    long i = h->at;
    h->at += 2;
    return i < n ? i : -1;
}

static int other_half(void *self, void *bytes, size_t n)
{
    (void)self;
    for (size_t i = 1; i < n / sizeof(int); i += 2)
        ((int *)bytes)[i] |= -1;
    return 0;
}

static int agree(void *self, int code, long n)
{
    const struct half *h = self;
    (void)n;
    return code ? code : h->code ? kr_fail(h->code, "the other one failed") : 0;
}

struct filled { int *to; long calls; long refuse; const kr_trace *trace; };
static int one_more(void *self, long i)
{
    int *seen = self;
    seen[i]++;
    return 0;
}

static int fill_in(void *self, long i)
{
    struct filled *f = self;
    int inner[3] = { 0 };
    __atomic_add_fetch(&f->calls, 1, __ATOMIC_RELAXED);
    if (i == f->refuse)
        return kr_fail(KR_EREFUSED, "refused by %ld", i);
    if (kr_deal(f->trace, 3, false, one_more, inner, (const kr_made[]){ { inner, sizeof inner }, { NULL, 0 } }) || inner[0] != 1 || inner[1] != 1 || inner[2] != 1)
        return kr_fail(KR_EREFUSED, "a loop within a slice is dealt out");
    f->to[i] = 100 + (int)i;
    return 0;
}

static void dealt(void **state)
{
    (void)state;
    int to[7];
    struct half h = { 0 };
    struct filled f = { to, 0, -1 };
    kr_dealer d = { &h, 1, 2, even, other_half, agree };
    const kr_made made[] = { { to, sizeof to }, { NULL, 0 } };
    for (int wide = 0; wide < 2; wide++) {
        memset(to, 77, sizeof to);
        f.calls = 0;
        assert_int_equal(kr_deal(NULL, 7, wide, fill_in, &f, made), 0);              /* alone: all of them */
        if (!wide)
            assert_int_equal(f.calls, 7);
        for (int i = 0; i < 7; i++)
            assert_int_equal(to[i], 100 + i);
    }
    const kr_trace shared = { .dealer = &d };
    f.trace = &shared;
    assert_int_equal(kr_dealt_processes(&shared), 2);
    memset(to, 77, sizeof to);
    f.calls = 0;
    assert_int_equal(kr_deal(&shared, 7, false, fill_in, &f, made), 0);
    assert_int_equal(f.calls, 4);
    for (int i = 0; i < 7; i++)
        assert_int_equal(to[i], i % 2 ? -1 : 100 + i);
    assert_int_equal(d.loops, 1);
    f.refuse = 4;
    assert_int_equal(kr_deal(&shared, 7, false, fill_in, &f, made), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "refused by 4");
    f.refuse = -1;
    h.code = KR_EMEM;
    assert_int_equal(kr_deal(&shared, 7, false, fill_in, &f, made), KR_EMEM);
    assert_refused(KR_EMEM, "the other one failed");
    assert_int_equal(kr_dealt_processes(NULL), 1);
}

struct heard { double part; int calls; _Atomic long said; char what[160]; bool back; };
static void hear(void *self, const char *what, double done, double total)
{
    struct heard *h = self;
    h->back |= done / total < h->part - 1e-12;
    h->part = done / total;
    h->calls++;
    snprintf(h->what, sizeof h->what, "%s", what);
}
static void hear_said(void *self, int level, const char *sentence)
{
    (void)level, (void)sentence;
    ((struct heard *)self)->said++;
}

static int told_unit(void *self, long i)
{
    const kr_trace *t = kr_units_trace(self, i);
    for (int k = 0; k <= 100; k += 10)
        kr_progress(t, "steps", k, 100);
    kr_progress(t, "other steps", 1, 10);                 /* a second job of the same body */
    kr_say(t, KR_INFO, "done");
    kr_units_done(self, i);
    return 0;
}

/* Progress of bodies that run side by side is one that never goes back, and counts those that ended. */
static void units(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct heard h = { 0 };
        const kr_trace trace = { .say = hear_said, .progress = hear, .self = &h };
        kr_units *u = kr_units_new(&trace, "slice", 16);
        kr_progress(kr_units_trace(u, 3), "steps", 50, 100);
        assert_string_equal(h.what, "slice 1/16, steps");
        assert_near(h.part, 0.5 / 16, 1e-12);
        assert_int_equal(kr_deal(&trace, 16, wide, told_unit, u, (const kr_made[]){ { NULL, 0 } }), 0);
        assert_true(!h.back && h.calls > 16 * 12 && h.said == 16 && h.part == 1);
        assert_string_equal(h.what, "slice 16/16, other steps");
        kr_units_unref(&u);
        assert_null(u);
        u = kr_units_new(&trace, "slice", 1);             /* one: the job itself */
        assert_ptr_equal(kr_units_trace(u, 0), &trace);
        kr_units_unref(&u);
    }
    kr_units *quiet = kr_units_new(NULL, "slice", 2);
    kr_progress(kr_units_trace(quiet, 1), "steps", 1, 2);
    kr_units_done(quiet, 1);
    kr_units_unref(&quiet);
}

/* Against sorting, with ties; the others lie on their sides. */
static int ascending(const void *p, const void *q)
{
    float a = *(const float *)p, b = *(const float *)q;
    return (a > b) - (a < b);
}

static void selection(void **state)
{
    (void)state;
    for (long n = 1; n < 40; n++)
        for (long k = 0; k < n; k++) {
            float a[40], sorted[40];
            for (long i = 0; i < n; i++)
                a[i] = sorted[i] = (float)(kr_rand_bits(3, (uint64_t)n, (uint64_t)i) % 12);
            qsort(sorted, (size_t)n, sizeof *sorted, ascending);
            assert_true(kr_select(a, n, k) == sorted[k] && a[k] == sorted[k]);
            for (long i = 0; i < n; i++)
                assert_true(i < k ? a[i] <= a[k] : a[i] >= a[k]);
            qsort(a, (size_t)n, sizeof *a, ascending);
            assert_memory_equal(a, sorted, (size_t)n * sizeof *a);
        }
}

/* The largest half, as asked for once all eigenvalues are known. */
static long half_of(void *self, long n, const float *w)
{
    *(float *)self = w[n - 1];
    return (n + 1) / 2;
}

/* Pairs (w, v): A v = w v, V^H V = 1. Among matrices next to the identity there are some that LAPACK's first routine for a few eigenvectors (cstemr) gives up on. */
static void eigenvectors(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        long n = 4 + (long)(28 * kr_rand_uniform(seed, 1, 0)), count = 0;
        double off = seed % 4 ? 1e-4 : 1, worst = 0;
        kr_cfloat A[32 * 32], B[32 * 32], *V = NULL;
        float w[32], largest = 0;
        for (long i = 0; i < n; i++)
            for (long j = 0; j <= i; j++) {
                double z[2];
                kr_rand_normal2(seed, 2, (uint64_t)(i * 32 + j), z);
                A[i * n + j] = kr_c((float)(off * z[0] + (i == j)), i == j ? 0 : (float)(off * z[1]));
                A[j * n + i] = kr_cconj(A[i * n + j]);
            }
        memcpy((void *)B, A, sizeof A);
        if (kr_la_eigh_pick(n, B, w, half_of, &largest, &count, &V))
            fail_msg("%s", kr_error());
        assert_true(count == (n + 1) / 2 && largest == w[n - 1]);
        for (long k = 0; k < count; k++)
            for (long l = 0; l < n; l++) {
                kr_cdouble Av = 0, other = 0;                        /* row l of A v; product with column l of V */
                for (long i = 0; i < n; i++) {
                    Av += (kr_cdouble)A[i * n + l] * (kr_cdouble)V[k * n + i];
                    other += l < count ? (kr_cdouble)kr_cconj(V[l * n + i]) * (kr_cdouble)V[k * n + i] : 0;
                }
                Av -= (double)w[n - count + k] * (kr_cdouble)V[k * n + l];
                other -= l == k;
                worst = fmax(worst, fmax(sqrt((double)kr_cabs2((kr_cfloat)Av)) / (double)fmaxf(largest, -w[0]), l < count ? sqrt((double)kr_cabs2((kr_cfloat)other)) : 0));
            }
        if (!(worst < 3e-4))
            fail_msg("order %ld, seed %d: off by %g", n, (int)seed, worst);
        kr_free(V);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(shapes), cmocka_unit_test(views), cmocka_unit_test(contractions), cmocka_unit_test(dealt), cmocka_unit_test(units), cmocka_unit_test(selection), cmocka_unit_test(eigenvectors) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
