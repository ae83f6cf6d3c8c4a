/* Convolutions on volumes against the sum that defines them, written down plainly in double: directly, by Winograd's tiles, on odd sizes, from two values. */
#include "test.h"
#include "vol.h"

static float noise(uint64_t i) { return (float)kr_rand_uniform(7, 1, i) - 0.5f; }

/* y[o,z,y,x] = b[o] + sum of w[o,c,...] x[c, ...] where the volume is */
static double plain(const float *x, const float *w, const float *b, long ins, const long n[3], const int k[3], const int dilation[3], long o, const long at[3])
{
    double sum = b[o];
    for (long c = 0; c < ins; c++)
        for (int t = 0; t < k[0] * k[1] * k[2]; t++) {
            long p[3] = { at[0] + (t % k[0] - k[0] / 2) * dilation[0], at[1] + (t / k[0] % k[1] - k[1] / 2) * dilation[1], at[2] + (t / k[0] / k[1] - k[2] / 2) * dilation[2] };
            if (p[0] >= 0 && p[1] >= 0 && p[2] >= 0 && p[0] < n[0] && p[1] < n[1] && p[2] < n[2])
                sum += (double)w[(o * ins + c) * k[0] * k[1] * k[2] + t] * (double)x[((c * n[2] + p[2]) * n[1] + p[1]) * n[0] + p[0]];
        }
    return sum;
}

static void one(long first, long second, long outs, const long n[3], const int k[3], int dilate, bool tiled)
{
    const int stride[3] = { 1, 1, 1 }, dilation[3] = { dilate, dilate, k[2] > 1 ? dilate : 1 };
    const long halo[3] = { dilate, dilate, k[2] > 1 ? dilate : 0 };
    long ins = first + second, taps = k[0] * k[1] * k[2], per = n[0] * n[1] * n[2];
    float *w = kr_alloc((size_t)(outs * ins * taps), 4), *b = kr_alloc((size_t)outs, 4), *x = kr_alloc((size_t)(ins * per), 4), *got[2];
    for (long i = 0; i < outs * ins * taps; i++)
        w[i] = noise((uint64_t)i);
    for (long i = 0; i < outs; i++)
        b[i] = noise((uint64_t)(i + 1000000));
    for (long i = 0; i < ins * per; i++)
        x[i] = noise((uint64_t)(i + 2000000));
    vol_conv c;
    vol_pool p = { 0 };
    assert_int_equal(vol_conv_make(&c, w, b, outs, ins, k, stride, dilation, VOL_RELU, 0), 0);
    assert_int_equal(c.tiled != NULL, tiled);
    for (int t = 0; t < 2; t++) {
        kr_threads_set(t ? 3 : 1);
        got[t] = kr_alloc((size_t)(outs * per), 4);
        vol *a = vol_take(&p, first, n, halo), *more = second ? vol_take(&p, second, n, halo) : NULL, *y = vol_take(&p, outs, n, halo);
        vol_load(a, x);
        if (more)
            vol_load(more, x + first * per);
        assert_int_equal(vol_conv_run(&c, &p, y, a, more), 0);
        vol_store(got[t], y);
        for (long o = 0; o < outs; o++)                      /* zeros between rows are padding of what comes next */
            for (long d = 0; d < halo[0]; d++)
                assert_true(vol_at(y, o, n[1] / 2, n[2] / 2)[n[0] + d] == 0);
        vol_give(&p, &a);
        vol_give(&p, &more);
        vol_give(&p, &y);
    }
    assert_memory_equal(got[0], got[1], (size_t)(outs * per) * 4);      /* the same on any number of threads */
    double worst = 0, most = 0;
    for (long o = 0; o < outs; o += 3)
        for (long i = 0; i < per; i += 7) {
            double want = plain(x, w, b, ins, n, k, dilation, o, (const long[3]){ i % n[0], i / n[0] % n[1], i / n[0] / n[1] });
            want = want > 0 ? want : 0;
            most = fmax(most, want);
            worst = fmax(worst, fabs((double)got[0][o * per + i] - want));
        }
    /* Single precision rounds to 6e-8; tiles of F(4,3) along two axes multiply that by up to about a hundred (here 7e-6 of the largest value). */
    assert_near(worst / most, 0, tiled ? 3e-5 : 2e-6);
    kr_free(w);
    kr_free(b);
    kr_free(x);
    kr_free(got[0]);
    kr_free(got[1]);
    vol_conv_close(&c);
    vol_pool_clear(&p);
    kr_threads_set(1);
}

static void test_tiles_3d(void **state)
{
    (void)state;
    one(16, 0, 17, (const long[3]){ 21, 13, 9 }, (const int[3]){ 3, 3, 3 }, 1, true);
    one(16, 0, 16, (const long[3]){ 64, 8, 5 }, (const int[3]){ 3, 3, 3 }, 1, true);
    one(64, 0, 72, (const long[3]){ 8, 9, 10 }, (const int[3]){ 3, 3, 3 }, 1, true);             /* short rows: tiles of several planes in a task */
}

static void test_tiles_of_two_values(void **state)
{
    (void)state;
    one(9, 11, 19, (const long[3]){ 17, 10, 4 }, (const int[3]){ 3, 3, 3 }, 1, true);
}

static void test_tiles_2d(void **state)
{
    (void)state;
    one(16, 0, 18, (const long[3]){ 33, 18, 1 }, (const int[3]){ 3, 3, 1 }, 1, true);
}

static void test_direct(void **state)
{
    (void)state;
    one(3, 0, 5, (const long[3]){ 21, 13, 9 }, (const int[3]){ 3, 3, 3 }, 1, false);
    one(16, 0, 16, (const long[3]){ 21, 13, 9 }, (const int[3]){ 3, 3, 3 }, 2, false);
    one(16, 0, 16, (const long[3]){ 20, 11, 6 }, (const int[3]){ 1, 1, 1 }, 1, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tiles_3d), cmocka_unit_test(test_tiles_of_two_values), cmocka_unit_test(test_tiles_2d), cmocka_unit_test(test_direct) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
