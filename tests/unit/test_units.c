/* test_units.c: images scale with the data, also where the squares of samples leave single precision. */
#include "test.h"
#include "kray/recon.h"

static kr_array *image_of(const kr_scan *from, double unit, const char *name)
{
    kr_scan s = *from;
    kr_scoped(array) data = kr_array_copy(from->data);
    kr_scale(data, (float)unit);
    s.data = data;
    const kr_recon *m = kr_recon_named(name);
    kr_auto void *opts = kr_alloc_zero(1, m->opts_size + 1);
    assert_int_equal(kr_opt_defaults(m->opts, opts), 0);
    kr_image *image = NULL;
    if (kr_reconstruct(&image, &s, m, opts, NULL, NULL, NULL, NULL))
        fail_msg("%s at %g: %s", name, unit, kr_error());
    kr_array *x = kr_array_ref(image->data);
    kr_image_unref(&image);
    return x;
}

static void any_unit(void **state)
{
    (void)state;
    static const char *const method[] = { "rss", "adjoint", "sense", "nlinv", "grappa", "spirit", "wavelet", "tv" };
    /* Powers of two near 1e-30, 1e-18, 1e20, 1e30: they round no sample, so a stop that is decided by the last bit is decided alike. */
    static const double unit[] = { 0x1p-100, 0x1p-60, 0x1p66, 0x1p100 };
    kr_scoped(scan) s = kr_scan_new();
    s->shape = KR_SHAPE([KR_X] = 32, [KR_Y] = 32, [KR_COIL] = 4);
    s->data = kr_array_new(KR_C32, s->shape);
    for (long c = 0; c < 4; c++)
        for (long j = 0; j < 32; j++)
            for (long i = 0; i < 32; i++) {              /* four Gaussians in image space, in k-space Gaussians with a phase */
                double u = (double)(i - 16), v = (double)(j - 16), a = 0.5 * (double)c, f = (j & 1) && (j < 8 || j > 23) ? 0 : exp(-(u * u + v * v) / 90);
                KR_C(s->data)[(c * 32 + j) * 32 + i] = kr_c((float)(f * cos(a * u - 0.3 * v)), (float)(f * sin(a * u - 0.3 * v)));
            }
    for (size_t m = 0; m < sizeof method / sizeof *method; m++) {
        kr_scoped(array) one = image_of(s, 1, method[m]);
        for (size_t k = 0; k < sizeof unit / sizeof *unit; k++) {
            kr_scoped(array) x = image_of(s, unit[k], method[m]);
            double most = 0, off = 0;
            for (long i = 0; i < 32 * 32; i++) {
                kr_cfloat a = one->type == KR_C32 ? KR_C(one)[i] : kr_c(KR_R(one)[i], 0), b = x->type == KR_C32 ? KR_C(x)[i] : kr_c(KR_R(x)[i], 0);
                double re = (double)kr_re(b) / unit[k] - (double)kr_re(a), im = (double)kr_im(b) / unit[k] - (double)kr_im(a);
                most = fmax(most, hypot((double)kr_re(a), (double)kr_im(a)));
                off = fmax(off, hypot(re, im));
            }
            print_message("# %s at %g: %.2g of the largest value\n", method[m], unit[k], off / most);
            assert_true(off < 1e-5 * most);              /* the samples are the same digits; only sums of squares may be taken in another unit */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_unit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
