/* refine_input.c: images that networks begin with; what Kray's own network is given of a slice: the l1-wavelet image, the adjoint of the samples,
 * maps, mask and noise, in units of the image. The same in training as in use. */
#include "kray/select.h"
#include "model.h"
#include <math.h>

/* Beyond these, in units of the image, noise makes no difference to the network. */
static const double least_noise = 3e-4, most_noise = 1;

void kr_refine_input_clear(kr_refine_input *r)
{
    kr_array_unref(&r->start);
    kr_array_unref(&r->adjoint);
    kr_array_unref(&r->sens);
    kr_array_unref(&r->mask);
    kr_array_unref(&r->noise);
}

double kr_first_unit(const kr_array *x)
{
    long n = kr_count(kr_array_shape(x)), count = 0;
    kr_auto float *v = kr_alloc((size_t)n, sizeof *v);
    for (long i = 0; v && i < n; i++)
        if (kr_cabs2(KR_C(x)[i]) > 0)
            v[count++] = kr_cabs2(KR_C(x)[i]);
    if (!v || !count)
        return v ? (kr_fail(KR_ENUMBER, "the first image is all zero"), 0) : 0;
    return sqrt((double)kr_select(v, count, (long)(0.99 * (double)(count - 1))));
}

int kr_first_image(kr_array **x, const kr_recon *method, const kr_scan *part, const kr_array *maps, const kr_trace *trace)
{
    kr_auto void *opts = kr_alloc_zero(1, method->opts_size);
    kr_scoped(image) im = NULL;
    if (!opts || kr_opt_defaults(method->opts, opts) || method->run(&im, part, maps, opts, trace))
        return kr_error_code();
    *x = kr_array_packed(im->data);
    return *x ? 0 : kr_error_code();
}

int kr_refine_input_of(kr_refine_input *r, const kr_scan *part, const kr_array *maps, double sigma, const kr_recon *method, const kr_trace *trace)
{
    *r = (kr_refine_input){ 0 };
    if (maps->n[KR_MAP] > 1)
        return kr_fail(KR_EREFUSED, "the network refine takes one set of coil maps, not %ld", maps->n[KR_MAP]);
    kr_shape plane = KR_SHAPE([KR_X] = part->data->n[KR_X], [KR_Y] = part->data->n[KR_Y]);
    kr_scoped(linop) A = kr_model(part, maps);
    kr_scoped(array) found = kr_scan_mask(part);
    kr_scoped(array) wide = found ? kr_array_spread(found, plane) : NULL;
    r->mask = wide ? kr_array_copy(wide) : NULL;
    r->adjoint = A ? kr_array_new(KR_C32, kr_linop_domain(A)) : NULL;
    r->noise = kr_array_new(KR_R32, plane);
    r->sens = kr_array_copy(maps);
    int e = r->mask && r->adjoint && r->noise && r->sens ? kr_first_image(&r->start, method, part, maps, trace) : kr_error_code();
    if (!e) {
        kr_apply_adj(A, r->adjoint, part->data);
        r->scale = kr_first_unit(r->start);
        double beside = r->scale > 0 ? kr_noise_beside(part) : -1;
        sigma = beside > 0 ? fmin(sigma, beside) : sigma;
        e = r->scale > 0 && beside >= 0 ? 0 : kr_error_code();
    }
    if (e) {
        kr_refine_input_clear(r);
        return e;
    }
    kr_scale(r->start, (float)(1 / r->scale));
    kr_scale(r->adjoint, (float)(1 / r->scale));
    kr_fill(r->noise, (float)fmin(most_noise, fmax(least_noise, sigma / r->scale)));
    return 0;
}
