/* around_fastmri.c: what fastMRI does around its networks. Its VarNet takes k-space as it is and makes its own coil maps; its U-Net takes
 * the zero-filled magnitude. */
#include "around.h"
#include "kray/fourier.h"
#include <math.h>
#include <string.h>

/* fastMRI's U-Net: zero-filled magnitude, cropped, standardised, clamped to 6 deviations. */
static int image_to_image(kr_array *z, slice *s, kr_net *net)
{
    long nx = z->n[KR_X], ny = z->n[KR_Y], n = nx * ny;
    if (kr_fourier_inverse(s->k, KR_ON(KR_X) | KR_ON(KR_Y)))
        return kr_error_code();
    kr_scoped(array) full = kr_rss(s->k, KR_COIL);
    kr_scoped(array) cut = full ? around_middle(full, KR_X, nx) : NULL;
    kr_scoped(array) cut2 = cut ? around_middle(cut, KR_Y, ny) : NULL;
    kr_scoped(array) image = cut2 ? kr_array_copy(cut2) : NULL;
    kr_scoped(array) x = kr_array_new(KR_C32, KR_SHAPE([KR_X] = nx, [KR_Y] = ny));
    if (!image || !x)
        return kr_error_code();
    double mean = 0, var = 0;
    for (long i = 0; i < n; i++)
        mean += (double)KR_R(image)[i] / (double)n;
    for (long i = 0; i < n; i++)
        var += ((double)KR_R(image)[i] - mean) * ((double)KR_R(image)[i] - mean) / (double)(n - 1);
    double std = sqrt(var) + 1e-11;
    for (long i = 0; i < n; i++)
        KR_R(image)[i] = (float)fmax(-6, fmin(6, ((double)KR_R(image)[i] - mean) / std));
    kr_net_input in = { .coils = 1, .h = ny, .w = nx, .image = KR_R(image), .scaling = 1, .centred = true };
    if (kr_net_run(net, KR_C(x), &in, NULL))
        return kr_error_code();
    for (long i = 0; i < n; i++)
        KR_C(x)[i] = kr_c((float)((double)kr_re(KR_C(x)[i]) * std + mean), 0);
    kr_array_assign(z, x);
    return 0;
}

static int one(kr_array *z, slice *s, kr_net *net, const around_job *j, long i)
{
    (void)i;
    if (j->kind->of_image)
        return image_to_image(z, s, net);
    s->scale = 1;
    return slice_calibration(s, j->scan, true) ? kr_error_code() : slice_run(z, s, net, true, 1);
}

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    (void)to, (void)kind;
    return around_no(kr_weights_told(w, "fft_centered")) ? kr_fail(KR_EFORMAT, "fft_centered of the configuration is false; this network's program "
                                                                               "always has the origin in the middle") : 0;
}

static const kr_fact keys[] = { { .key = "mask_center" }, { .key = NULL } };

const around around_fastmri = { "fastmri", keys, 0, read, NULL, NULL, one };
