#include "test.h"
#include "kray/fourier.h"
#include "kray/lanes.h"
#include <complex.h>
#undef I

/* The centred transform against its own sum, for lengths even, odd, prime, 1, and more lines than a buffer holds. */
static void against_the_sum(void **state)
{
    (void)state;
    const long shape[][3] = { { 8, 1, 3 }, { 7, 1, 2 }, { 6, 5, 2 }, { 1, 9, 4 }, { 17, 18, 1 }, { 20, 3, 7 } };
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
        long nx = shape[k][0], ny = shape[k][1], nc = shape[k][2];
        kr_array *x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny, [KR_COIL] = nc));
        fill_random(x, k);
        kr_array *y = kr_array_copy(x);
        assert_int_equal(kr_fourier(y, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        for (long c = 0; c < nc; c++)
            for (long v = 0; v < ny; v++)
                for (long u = 0; u < nx; u++) {
                    double complex s = 0;
                    for (long j = 0; j < ny; j++)
                        for (long i = 0; i < nx; i++)
                            s += (double complex)KR_C(x)[i + nx * (j + ny * c)]
                               * cexp(-2 * M_PI * _Complex_I * ((double)((i - nx / 2) * (u - nx / 2)) / (double)nx
                                                                + (double)((j - ny / 2) * (v - ny / 2)) / (double)ny));
                    s /= sqrt((double)(nx * ny));
                    assert_near(cabs(s - (double complex)KR_C(y)[u + nx * (v + ny * c)]), 0, 3e-6);
                }
        assert_int_equal(kr_fourier_inverse(y, KR_ON(KR_X) | KR_ON(KR_Y)), 0);
        assert_near(distance(y, x), 0, 1e-6);
        kr_array_unref(&x);
        kr_array_unref(&y);
    }
}

/* Sixteen lines at once against the sum, for every length to 140 and some of each kind: powers, primes, and those with
 * primes over 127, which FFTW does. */
static void lanes(void **state)
{
    (void)state;
    static const long more[] = { 192, 218, 230, 244, 256, 262, 318, 320, 335, 368, 372, 396, 512, 768 };
    for (long i = 1; i <= 140 + (long)(sizeof more / sizeof *more); i++) {
        long n = i <= 140 ? i : more[i - 141];
        kr_lanes *p = kr_lanes_new(n);
        float *x = kr_alloc((size_t)n, KR_ROW * sizeof *x), *y = kr_alloc((size_t)n, KR_ROW * sizeof *y);
        for (long k = 0; k < n * KR_ROW; k++)
            x[k] = y[k] = (float)kr_rand_uniform((uint64_t)n, 3, (uint64_t)k) - 0.5f;
        kr_lanes_forward(p, y);
        double worst = 0;
        for (long k = 0; k < n; k++) {
            long f = kr_lanes_order(p)[k], j = (3 * k + 5) % KR_LANES;    /* one lane a frequency is enough */
            double complex s = 0;
            assert_int_equal(kr_lanes_place(p)[f], k);
            for (long t = 0; t < n; t++)
                s += ((double)x[t * KR_ROW + j] + _Complex_I * (double)x[t * KR_ROW + KR_LANES + j])
                   * cexp(-2 * M_PI * _Complex_I * (double)(t * f % n) / (double)n);
            worst = fmax(worst, cabs(s - (double)y[k * KR_ROW + j] - _Complex_I * (double)y[k * KR_ROW + KR_LANES + j]));
        }
        if (!(worst / sqrt((double)n) < 2e-6))                            /* a few float roundings of numbers about 1 */
            fail_msg("length %ld: off by %.2g", n, worst / sqrt((double)n));
        kr_lanes_inverse(p, y);
        worst = 0;
        for (long k = 0; k < n * KR_ROW; k++)
            worst = fmax(worst, fabs((double)y[k] / (double)n - (double)x[k]));
        if (!(worst < 1e-6))
            fail_msg("length %ld: there and back is off by %.2g", n, worst);
        kr_lanes_unref(&p);
        kr_free(x);
        kr_free(y);
    }
    assert_null(kr_lanes_new(0));
    assert_refused(KR_EREFUSED, "length 0");
}

/* What is loaded from any layout comes back, and nothing else is touched. */
static void there_and_back(void **state)
{
    (void)state;
    enum { N = 4000 };
    kr_cfloat *x = kr_alloc(N, sizeof *x), *y = kr_alloc(N, sizeof *y);
    float *panel = kr_alloc(40, KR_ROW * sizeof *panel);
    static const long step[][2] = { { 1, 97 }, { 97, 1 }, { 3, 50 } };
    for (size_t s = 0; s < 3; s++)
        for (long n = 1; n < 40; n += 6)
            for (long lines = 1; lines <= KR_LANES; lines += 5) {
                for (long k = 0; k < N; k++) {
                    x[k] = kr_c((float)k, (float)-k);
                    y[k] = 0;
                }
                kr_lanes_load(panel, x, step[s][0], step[s][1], n, lines);
                for (long k = 0; k < n; k++)
                    for (long j = 0; j < KR_LANES; j++) {
                        float want = j < lines ? (float)(j * step[s][0] + k * step[s][1]) : 0;
                        assert_true(panel[k * KR_ROW + j] == want && panel[k * KR_ROW + KR_LANES + j] == -want);
                    }
                kr_lanes_store(y, step[s][0], step[s][1], panel, n, lines);
                long count = 0;
                for (long k = 0; k < N; k++) {
                    assert_true(kr_re(y[k]) == 0 || kr_re(y[k]) == (float)k);
                    count += kr_im(y[k]) != 0;
                }
                assert_int_equal(count, n * lines - 1);                   /* x[0] is 0 */
            }
    kr_free(x);
    kr_free(y);
    kr_free(panel);
}

/* Lines and columns at the edge of a panel, all axes of a volume, out of place, inverse. */
static void volumes(void **state)
{
    (void)state;
    static const long shape[][4] = { { 33, 17, 5, 2 }, { 16, 32, 1, 3 }, { 2, 40, 3, 1 }, { 5000, 2, 1, 1 }, { 3, 5000, 1, 1 }, { 1, 1, 30, 20 },
                                      { 8, 40, 4999, 1 } };               /* an odd long line: each worker's buffers stay aligned */
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
        kr_shape s = KR_SHAPE([KR_X] = shape[k][0], [KR_Y] = shape[k][1], [KR_Z] = shape[k][2], [KR_COIL] = shape[k][3]);
        kr_array *x = kr_array_new(KR_C32, s), *y = kr_array_new(KR_C32, s);
        fill_random(x, k);
        kr_fft *p = kr_fft_new(s, 7, KR_CENTRED);
        kr_fft_forward_to(p, y->data, x->data);
        assert_near(kr_norm(y) / kr_norm(x), 1, 1e-6);
        /* one sample by the sum: k-space point (1, 1, 1) or what there is of it */
        double complex sum = 0;
        long u[3];
        for (int d = 0; d < 3; d++)
            u[d] = shape[k][d] > 1;
        for (long i = 0; i < shape[k][0] * shape[k][1] * shape[k][2]; i++) {
            double a = 0;
            long rest = i;
            for (int d = 0; d < 3; d++) {
                a += (double)((rest % shape[k][d] - shape[k][d] / 2) * (u[d] - shape[k][d] / 2)) / (double)shape[k][d];
                rest /= shape[k][d];
            }
            sum += (double complex)KR_C(x)[i] * cexp(-2 * M_PI * _Complex_I * a);
        }
        sum /= sqrt((double)(shape[k][0] * shape[k][1] * shape[k][2]));
        assert_near(cabs(sum - (double complex)KR_C(y)[u[0] + shape[k][0] * (u[1] + shape[k][1] * u[2])]), 0, 2e-5);
        kr_fft_inverse(p, y->data);
        assert_near(distance(y, x), 0, 1e-6);
        kr_fft_unref(&p);
        kr_array_unref(&x);
        kr_array_unref(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(against_the_sum), cmocka_unit_test(lanes), cmocka_unit_test(there_and_back),
        cmocka_unit_test(volumes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
