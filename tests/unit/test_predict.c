#include "test.h"
#include "kray/fourier.h"
#include "kernels.h"
#include "predict.h"

/* r = (K - 1) v by its definition, a sum over offsets and coils in k-space, on a periodic grid; or its adjoint. In double. */
static void convolve(double (*r)[2], double (*v)[2], const kr_cfloat *w, const long low[3], const long span[3], long coils, const long n[3], bool adjoint)
{
    long samples = n[0] * n[1] * n[2];
    for (long i = 0; i < samples * coils; i++)
        for (int p = 0; p < 2; p++)
            r[i][p] = -v[i][p];
    for (long i = 0; i < samples; i++)
        for (long o = 0; o < span[0] * span[1] * span[2]; o++) {
            long k[3] = { i % n[0] + low[0] + o % span[0], i / n[0] % n[1] + low[1] + o / span[0] % span[1],
                          i / n[0] / n[1] + low[2] + o / span[0] / span[1] }, e = 0;
            for (int d = 2; d >= 0; d--)
                e = e * n[d] + (k[d] % n[d] + n[d]) % n[d];
            for (long c = 0; c < coils; c++)
                for (long q = 0; q < coils; q++) {
                    kr_cfloat f = w[(o * coils + c) * coils + q];
                    double a = kr_re(f), b = adjoint ? -kr_im(f) : kr_im(f);
                    double *to = adjoint ? r[q * samples + e] : r[c * samples + i], *from = adjoint ? v[c * samples + i] : v[q * samples + e];
                    to[0] += a * from[0] - b * from[1];
                    to[1] += a * from[1] + b * from[0];
                }
        }
}

/* The matrices in image space are the convolution in k-space: planes, volumes, lines, lengths that fill no panel. */
static void image_space_is_k_space(void **state)
{
    (void)state;
    static const struct { long n[3], span[3], coils; } job[] = { { { 20, 18, 1 }, { 5, 3, 1 }, 3 }, { { 1, 37, 1 }, { 1, 5, 1 }, 8 },
        { { 1, 16, 9 }, { 1, 3, 5 }, 4 }, { { 1, 1, 11 }, { 1, 1, 3 }, 2 }, { { 7, 5, 6 }, { 3, 3, 3 }, 5 }, { { 33, 2, 1 }, { 7, 1, 1 }, 1 } };
    for (size_t k = 0; k < sizeof job / sizeof *job; k++) {
        const long *n = job[k].n, *span = job[k].span, low[3] = { -(span[0] / 2), -(span[1] / 2), -(span[2] / 2) };
        long coils = job[k].coils, samples = n[0] * n[1] * n[2], all = samples * coils, entries = span[0] * span[1] * span[2] * coils * coils;
        kr_shape shape = KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = coils);
        kr_scoped(array) w = kr_array_new(KR_C32, KR_SHAPE([KR_X] = entries));
        kr_scoped(array) v = kr_array_new(KR_C32, shape);
        fill_random(w, k);
        kr_scale(w, 0.2f);
        fill_random(v, k + 100);
        double (*a)[2] = calloc((size_t)all, sizeof *a), (*b)[2] = calloc((size_t)all, sizeof *b), dot = 0;
        for (long i = 0; i < all; i++) {
            a[i][0] = kr_re(KR_C(v)[i]);
            a[i][1] = kr_im(KR_C(v)[i]);
        }
        convolve(b, a, KR_C(w), low, span, coils, n, false);
        for (long i = 0; i < all; i++)
            dot += b[i][0] * b[i][0] + b[i][1] * b[i][1];
        convolve(a, b, KR_C(w), low, span, coils, n, true);
        kr_scoped(array) want = kr_array_like(v);
        for (long i = 0; i < all; i++)
            KR_C(want)[i] = kr_c((float)a[i][0], (float)a[i][1]);
        free(a);
        free(b);
        kr_predict *M = kr_predict_new(KR_C(w), low, span, coils, n);
        assert_non_null(M);
        unsigned axes = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);
        assert_int_equal(kr_fourier_inverse(v, axes), 0);
        double found = kr_predict_apply(M, KR_C(v), KR_C(v));        /* in place */
        assert_int_equal(kr_fourier(v, axes), 0);
        assert_near(distance(v, want), 0, 2e-6);                     /* float32, some hundred products a sum */
        assert_near(found / dot, 1, 2e-6);
        kr_predict_unref(&M);
    }
}

/* GRAPPA by unmixing maps is GRAPPA by kernels, for lattices, calibration lines inside, CAIPI, masks along the readout; weights as they
 * come from noise. And it is not offered for one frame. */
static void unmixing_is_kernels(void **state)
{
    (void)state;
    static const struct { long n[3], nx, taps, r[3], shift, centre; } job[] = { { { 1, 24, 1 }, 6, 3, { 1, 2, 1 }, 0, 0 }, { { 1, 25, 1 }, 5, 3, { 1, 3, 1 }, 0, 8 },
        { { 1, 12, 12 }, 4, 1, { 1, 2, 2 }, 1, 0 }, { { 16, 12, 1 }, 1, 1, { 2, 2, 1 }, 0, 6 } };
    enum { C = 3 };
    for (size_t k = 0; k < sizeof job / sizeof *job; k++) {
        const long *n = job[k].n, most[3] = { 12, 12, 12 }, nx = job[k].nx, P = n[0] * n[1] * n[2];
        kr_scoped(array) mask = kr_array_new(KR_R32, KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2]));
        kr_scoped(array) block = kr_array_new(KR_C32, KR_SHAPE([KR_X] = n[0] > 1 ? 14 : 20, [KR_Y] = n[1] > 1 ? 14 : 1, [KR_Z] = n[2] > 1 ? 14 : 1, [KR_COIL] = C));
        kr_shape all = KR_SHAPE([KR_X] = nx > 1 ? nx : n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = C);
        kr_scoped(array) S = kr_array_new(KR_C32, all);
        kr_scoped(array) y = kr_array_new(KR_C32, all);
        kr_scoped(array) want = kr_array_new(KR_C32, kr_shape_without(all, KR_ON(KR_COIL)));
        kr_scoped(array) z = kr_array_like(want);
        for (long i = 0; i < P; i++) {
            long x[3] = { i % n[0], i / n[0] % n[1], i / n[0] / n[1] };
            bool in = job[k].centre > 0;
            for (int d = 0; d < 3; d++)
                in = in && (n[d] == 1 || labs(x[d] - n[d] / 2) <= job[k].centre / 2);
            KR_R(mask)[i] = in || (x[0] % job[k].r[0] == 0 && (x[1] + job[k].shift * (x[2] / job[k].r[2])) % job[k].r[1] == 0 && x[2] % job[k].r[2] == 0);
        }
        fill_random(block, k);
        fill_random(S, k + 10);
        kr_hoods *h = kr_hoods_new(mask, n, 4, most);
        assert_non_null(h);
        kr_kernels *f = kr_kernels_new(h, block, job[k].taps, 0.1, KR_ALIKE);
        assert_non_null(f);
        kr_scoped(array) m = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = h->measured, [KR_COIL] = C));
        fill_random(m, k + 20);
        assert_int_equal(kr_kernels_apply(f, KR_C(y), KR_C(m), nx), 0);
        unsigned axes = 0;
        for (int d = 0; d < 3; d++)
            axes |= n[d] > 1 ? KR_ON(d) : 0;
        assert_int_equal(kr_fourier_inverse(y, axes), 0);
        kr_contract(want, y, S, true);
        kr_unmix *u = NULL;
        assert_int_equal(kr_unmix_new(&u, f, KR_C(S), nx, 1), 0);
        assert_null(u);
        assert_int_equal(kr_unmix_new(&u, f, KR_C(S), nx, 1000000000), 0);
        if (u) {
            assert_int_equal(kr_unmix_apply(u, KR_C(z), KR_C(m)), 0);
            assert_near(distance(z, want), 0, 3e-6);             /* float32 */
        }
        print_message("case %zu: %ld kinds of neighbourhoods, unmixing %s\n", k, h->count, u ? "pays" : "does not pay");
        assert_true(u || job[k].centre > 0);
        kr_unmix_unref(&u);
        kr_kernels_unref(&f);
        kr_hoods_unref(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(image_space_is_k_space), cmocka_unit_test(unmixing_is_kernels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
