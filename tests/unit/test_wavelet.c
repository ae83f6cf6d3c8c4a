/* test_wavelet.c: the filters against PyWavelets' numbers and against what defines them; the transform against its formula. */
#include "test.h"
#include "kray/wavelet.h"

/* rec_lo of PyWavelets 1.8 */
static const struct { int order; double h[20]; } published[] = {
    { 1, { 0.7071067811865476, 0.7071067811865476 } },
    { 2, { 0.48296291314469025, 0.836516303737469, 0.22414386804185735, -0.12940952255092145 } },
    { 3, { 0.33267055295008263, 0.8068915093110925, 0.45987750211849154, -0.13501102001025458, -0.08544127388202666, 0.03522629188570953 } },
    { 4, { 0.2303778133088965, 0.7148465705529157, 0.6308807679298589, -0.027983769416859854, -0.18703481171909309, 0.030841381835560764,
           0.0328830116668852, -0.010597401785069032 } },
    { 7, { 0.07785205408500918, 0.3965393194819173, 0.7291320908462351, 0.4697822874051931, -0.14390600392856498, -0.22403618499387498,
           0.07130921926683026, 0.08061260915108308, -0.03802993693501441, -0.01657454163066688, 0.01255099855609984, 0.0004295779729213665,
           -0.0018016407040474908, 0.00035371379997452024 } },
    { 10, { 0.026670057900555554, 0.1881768000776915, 0.5272011889317256, 0.6884590394536035, 0.2811723436605775, -0.24984642432731538,
            -0.19594627437737705, 0.12736934033579325, 0.09305736460357235, -0.07139414716639708, -0.029457536821875813, 0.033212674059341,
            0.0036065535669561697, -0.010733175483330575, 0.001395351747052901, 0.001992405295185056, -0.0006858566949597116,
            -0.00011646685512928545, 9.358867032006959e-05, -1.3264202894521244e-05 } } };

static void filters_as_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        double h[20];
        assert_int_equal(kr_wavelet_filter(published[i].order, h), 0);
        for (int k = 0; k < 2 * published[i].order; k++)
            assert_near(h[k], published[i].h[k], 1e-8);              /* far below float; roots of degree 9 lose half the digits */
    }
    double h[20];
    assert_int_equal(kr_wavelet_filter(11, h), KR_EREFUSED);
    assert_refused(KR_EREFUSED, "orders 1 to 10, not 11");
}

/* Orthogonal to its own even shifts; high pass blind to polynomials of degree below the order. */
static void filters_as_defined(void **state)
{
    (void)state;
    for (int order = 1; order <= 10; order++) {
        double h[20] = { 0 };
        assert_int_equal(kr_wavelet_filter(order, h), 0);
        for (int shift = 0; shift < 2 * order; shift += 2) {
            double sum = 0;
            for (int k = shift; k < 2 * order; k++)
                sum += h[k] * h[k - shift];
            assert_near(sum, shift ? 0 : 1, 1e-8);
        }
        for (int power = 0; power < order; power++) {
            double sum = 0, size = 0;
            for (int k = 0; k < 2 * order; k++) {
                double term = (k & 1 ? -1 : 1) * h[k] * pow(k, power);
                sum += term;
                size += fabs(term);
            }
            assert_near(sum / size, 0, 1e-8);
        }
    }
}

/* One level along one axis is two sums of products; periodic, the odd sample apart. */
static void one_level_is_the_formula(void **state)
{
    (void)state;
    static const struct { long n[3]; int axis, order; } cases[] = { { { 32, 1, 1 }, KR_X, 2 }, { { 37, 5, 2 }, KR_X, 4 }, { { 19, 34, 1 }, KR_Y, 10 },
        { { 3, 2, 33 }, KR_Z, 3 }, { { 17, 64, 1 }, KR_Y, 1 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kr_shape s = KR_SHAPE([KR_X] = cases[c].n[0], [KR_Y] = cases[c].n[1], [KR_Z] = cases[c].n[2]);
        kr_scoped(array) x = kr_array_new(KR_C32, s);
        kr_scoped(array) y = kr_array_like(x);
        kr_scoped(array) want = kr_array_like(x);
        fill_random(x, c);
        const long shift[3] = { 3, 40, -1 };
        kr_wavelet *W = kr_wavelet_new(KR_C32, s, KR_ON(cases[c].axis), cases[c].order, 1);
        assert_non_null(W);
        kr_wavelet_forward(W, y->data, x->data, shift);
        kr_wavelet_unref(&W);
        double h[20];
        assert_int_equal(kr_wavelet_filter(cases[c].order, h), 0);
        long n = x->n[cases[c].axis], half = n / 2, step = x->step[cases[c].axis], taps = 2 * cases[c].order;
        for (long i = 0; i < kr_count(s); i++) {
            if (i / step % n)
                continue;
            for (long k = 0; k < half; k++) {
                double sum[2][2] = { { 0 } };
                for (long j = 0; j < taps; j++) {
                    long at = ((2 * k + j) % (2 * half) + shift[cases[c].axis] % n + n) % n;
                    double g = j & 1 ? -h[taps - 1 - j] : h[taps - 1 - j];
                    kr_cfloat v = KR_C(x)[i + at * step];
                    sum[0][0] += h[j] * kr_re(v);
                    sum[0][1] += h[j] * kr_im(v);
                    sum[1][0] += g * kr_re(v);
                    sum[1][1] += g * kr_im(v);
                }
                KR_C(want)[i + k * step] = kr_c((float)sum[0][0], (float)sum[0][1]);
                KR_C(want)[i + (n - half + k) * step] = kr_c((float)sum[1][0], (float)sum[1][1]);
            }
            if (n & 1)
                KR_C(want)[i + half * step] = KR_C(x)[i + ((n - 1 + shift[cases[c].axis]) % n + n) % n * step];
        }
        assert_near(distance(y, want), 0, 1e-6);                     /* up to 20 products in float */
    }
}

/* W^H W = 1 and |W x| = |x|, whatever the size, the axes and the shift. */
static void orthogonal(void **state)
{
    (void)state;
    static const struct { long n[3]; unsigned axes; int order; } cases[] = { { { 320, 256, 1 }, 3, 2 }, { { 217, 181, 1 }, 3, 4 }, { { 70, 33, 35 }, 7, 2 },
        { { 64, 9, 67 }, 7, 10 }, { { 5, 7, 3 }, 7, 2 }, { { 40, 50, 1 }, 0, 3 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kr_shape s = KR_SHAPE([KR_X] = cases[c].n[0], [KR_Y] = cases[c].n[1], [KR_Z] = cases[c].n[2], [KR_TIME] = 2);
        kr_scoped(array) x = kr_array_new(KR_C32, s);
        kr_scoped(array) y = kr_array_like(x);
        kr_scoped(array) z = kr_array_like(x);
        fill_random(x, c);
        const long shift[3] = { 5 * (long)c, 1000, -7 };
        kr_wavelet *W = kr_wavelet_new(KR_C32, s, cases[c].axes, cases[c].order, 0);
        assert_non_null(W);
        kr_wavelet_forward(W, y->data, x->data, shift);
        kr_wavelet_inverse(W, z->data, y->data, shift);
        kr_wavelet_unref(&W);
        assert_near(kr_norm(y) / kr_norm(x), 1, 2e-6);
        assert_near(distance(z, x), 0, 3e-6);
    }
}

/* Real numbers go through the sums that real parts go through: the same bits, and back. */
static void real_as_complex(void **state)
{
    (void)state;
    static const long n[][3] = { { 320, 256, 1 }, { 70, 33, 35 }, { 5, 64, 3 }, { 33, 1, 1 } };
    for (size_t c = 0; c < sizeof n / sizeof *n; c++) {
        kr_shape s = KR_SHAPE([KR_X] = n[c][0], [KR_Y] = n[c][1], [KR_Z] = n[c][2], [KR_TIME] = 2);
        const long shift[3] = { 3, 40, -1 };
        kr_scoped(array) x = kr_array_new(KR_R32, s);
        fill_random(x, c);
        kr_scoped(array) whole = kr_array_complex(x);
        kr_scoped(array) y = kr_array_like(x);
        kr_wavelet *W = kr_wavelet_new(KR_R32, s, 7, 3, 0), *C = kr_wavelet_new(KR_C32, s, 7, 3, 0);
        kr_wavelet_forward(W, y->data, x->data, shift);
        kr_wavelet_forward(C, whole->data, whole->data, shift);
        for (long i = 0; i < kr_count(s); i++)
            if (kr_re(KR_C(whole)[i]) != KR_R(y)[i])
                fail_msg("coefficient %ld of %s: %g of real numbers, %g of complex ones", i, kr_shape_text(s), (double)KR_R(y)[i], (double)kr_re(KR_C(whole)[i]));
        kr_wavelet_inverse(W, y->data, y->data, shift);
        assert_near(distance(y, x), 0, 3e-6);
        kr_wavelet_unref(&W);
        kr_wavelet_unref(&C);
    }
}

/* Shrinkage is W^H shrink(W x) of the transform above, any sizes, axes, levels, places and groups, real and complex; with one thread and with more, the
 * same bits. */
static void shrinkage_by_its_parts(void **state)
{
    (void)state;
    static const struct { enum kr_type type; long n[3], batch, joint; unsigned axes; int order, levels; } cases[] = {
        { KR_C32, { 64, 48, 1 }, 1, 1, 3, 4, 0 }, { KR_C32, { 37, 71, 1 }, 6, 3, 3, 2, 0 }, { KR_R32, { 33, 34, 35 }, 2, 2, 7, 3, 0 }, { KR_C32, { 40, 66, 3 }, 5, 1, 2, 1, 2 },
        { KR_C32, { 130, 9, 2 }, 2, 1, 1, 7, 0 }, { KR_C32, { 5, 7, 40 }, 2, 2, 4, 10, 0 }, { KR_C32, { 6, 7, 1 }, 4, 2, 3, 4, 0 }, { KR_R32, { 66, 7, 1 }, 1, 1, 3, 4, 0 } };
    static const long shift[][3] = { { 0, 0, 0 }, { 3, 40, -1 }, { -70, 5, 2 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kr_shape s = KR_SHAPE([KR_X] = cases[c].n[0], [KR_Y] = cases[c].n[1], [KR_Z] = cases[c].n[2], [KR_COIL] = cases[c].batch);
        long parts = cases[c].type == KR_C32 ? 2 : 1, floats = parts * kr_count(s) / cases[c].batch, joint = cases[c].joint, places = (long)c % 3 + 1;
        kr_scoped(array) x = kr_array_new(cases[c].type, s);
        kr_scoped(array) w = kr_array_like(x);
        kr_scoped(array) want = kr_array_like(x);
        kr_scoped(array) one = kr_array_like(x);
        fill_random(x, c);
        kr_wavelet *W = kr_wavelet_new(cases[c].type, s, cases[c].axes, cases[c].order, cases[c].levels);
        assert_non_null(W);
        for (long p = 0; p < places; p++) {
            kr_wavelet_forward(W, w->data, x->data, shift[p]);
            for (long g = 0; g < cases[c].batch / joint; g++)
                for (long i = 0; i < floats; i += parts) {
                    float *v = (float *)w->data + g * joint * floats + i;
                    double sum = 0;
                    for (long k = 0; k < joint * parts; k++)
                        sum += pow((double)v[k / parts * floats + k % parts], 2);
                    for (long k = 0; k < joint * parts; k++)
                        v[k / parts * floats + k % parts] *= (float)fmax(0, 1 - 0.9 / sqrt(sum));
                }
            kr_wavelet_inverse(W, w->data, w->data, shift[p]);
            kr_axpy(want, 1 / (float)places, w);
        }
        kr_wavelet_unref(&W);
        int before = kr_threads();
        for (int threads = 1; threads <= 3; threads++) {
            kr_threads_set(threads);
            kr_shrink *S = kr_shrink_new(cases[c].type, s, cases[c].axes, cases[c].order, cases[c].levels, joint);
            assert_non_null(S);
            kr_shrink_apply(S, threads == 1 ? one->data : w->data, x->data, 0.9f, shift, places);
            kr_shrink_unref(&S);
            if (threads == 1)
                assert_near(distance(one, want), 0, 1e-6);           /* rounding of float sums of at most 20 products, level by level */
            else
                assert_memory_equal(w->data, one->data, (size_t)(cases[c].batch * floats) * sizeof(float));
        }
        kr_threads_set(before);
    }
    assert_null(kr_shrink_new(KR_C32, KR_SHAPE([KR_X] = 40, [KR_COIL] = 3), 1, 4, 0, 2));
    assert_refused(KR_ESHAPE, "vectors of 2 of 3 arrays");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(filters_as_published), cmocka_unit_test(filters_as_defined),
        cmocka_unit_test(one_level_is_the_formula), cmocka_unit_test(orthogonal), cmocka_unit_test(real_as_complex), cmocka_unit_test(shrinkage_by_its_parts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
