#include "test.h"
#include "kray/fourier.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(against_the_sum) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
