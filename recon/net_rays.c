/* net_rays.c: networks written on an operator, on X-ray projections, slice by slice: A is scaled to norm 1 and the data so that the 99th percentile of
 * the back-projected image A^T y is 1, as for compressed sensing; numbers are complex with imaginary parts of 0, and the image is the real part. */
#include "kray/net.h"
#include "net_method.h"
#include "projected.h"
#include "regular.h"
#include <math.h>
#include <string.h>

struct rays { kr_net *net; double norm, real, imaginary; };

/* The scale of part m: of the image that A^T y / |A|^2 is. 0: the data are all zero. */
static double scale_of(const model *m, double norm)
{
    kr_scoped(array) b = kr_array_new(KR_R32, m->image);
    if (!b)
        return -1;
    kr_apply_adj(m->A, b, m->part->data);
    return kr_regular_top(b) / (norm * norm);
}

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    struct rays *r = (struct rays *)(uintptr_t)options;
    const kr_array *y = m->part->data;
    long h = m->image.n[KR_Y], w = m->image.n[KR_X], views = y->n[KR_VIEW], columns = y->n[KR_U];
    if (m->image.n[KR_Z] > 1 || y->n[KR_V] > 1)
        return kr_fail(KR_EREFUSED, "the networks work on planes, not on volumes of %ld planes seen by %ld rows of a detector", m->image.n[KR_Z], y->n[KR_V]);
    if (!(r->norm > 0)) {
        double n2 = kr_linop_norm2(m->A, 20);
        if (!(n2 > 0))
            return n2 < 0 ? kr_error_code() : kr_fail(KR_EREFUSED, "no ray meets the image");
        r->norm = sqrt(n2);
    }
    double scale = scale_of(m, r->norm);
    if (!(scale > 0))                                        /* nothing was measured: an image of zeros */
        return scale < 0 || kr_error_code() ? kr_error_code() : 0;
    kr_scoped(array) by = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
    kr_auto kr_cfloat *data = kr_alloc((size_t)(views * columns), sizeof *data), *image = kr_alloc((size_t)(h * w), sizeof *image);
    if (!by || !data || !image)
        return kr_error_code();
    KR_R(by)[0] = (float)(1 / r->norm);
    kr_scoped(linop) A = kr_mul(kr_op_weight(KR_R32, by, kr_linop_codomain(m->A), kr_linop_codomain(m->A)), kr_linop_ref(m->A));
    for (long i = 0; i < views * columns; i++)
        data[i] = kr_c((float)((double)KR_R(y)[i] / (scale * r->norm)), 0);
    kr_net_input in = { .coils = 1, .h = h, .w = w, .kspace = data, .rays = A, .views = views, .columns = columns, .centred = true };
    if (!A || kr_net_run(r->net, image, &in, NULL))
        return kr_error_code();
    for (long i = 0; i < h * w; i++) {
        KR_R(x)[i] = (float)(scale * (double)kr_re(image[i]));
        r->real += (double)kr_re(image[i]) * (double)kr_re(image[i]);
        r->imaginary += (double)kr_im(image[i]) * (double)kr_im(image[i]);
    }
    kr_say(trace, KR_DETAIL, "scale %.5g, norm of the projector %.5g", scale, r->norm);
    return 0;
}

/* Of a configuration, what says how data of MRI were treated. */
static bool of_mri(const kr_weights *w)
{
    for (long i = 0; i < kr_meta_count(w->meta); i++)
        if (!strncmp(kr_meta_key(w->meta, i), "hyper.data.", 11) || !strncmp(kr_meta_key(w->meta, i), "hyper.physics.", 14))
            return true;
    return false;
}

int net_rays(kr_image **out, const kr_scan *scan, kr_weights *w, const kr_net_kind *kind, const kr_trace *trace)
{
    if (!kind->any_operator)
        return kr_fail(KR_EREFUSED, "the network %s is for data of MRI", kind->name);
    if (of_mri(w))
        kr_say(trace, KR_WARNING, "what the configuration says of data of MRI (scaling, coil maps, masks, transforms) means nothing for X-ray projections");
    struct rays r = { 0 };
    int e = kr_meta_set(w->meta, "hyper.operator", "rays");
    e = e ? e : (r.net = kr_net_new(kind->name, w, false)) ? 0 : kr_error_code();
    e = e ? e : projected_image(out, scan, solve, PROJECTED_BY_MODEL, &r, trace);
    kr_net_unref(&r.net);
    if (!e && r.imaginary > 1e-6 * r.real)
        kr_say(trace, KR_INFO, "the image is the real part of the network's; its imaginary part, %.2g of it, is left out", sqrt(r.imaginary / r.real));
    return kr_meta_set(w->meta, "hyper.operator", "mri") ? kr_error_code() : e;
}

int net_rays_plan(kr_cost *cost, const kr_scan *scan, kr_weights *w, const kr_net_kind *kind)
{
    double flops = 0;
    if (!kind->any_operator)
        return kr_fail(KR_EREFUSED, "the network %s is for data of MRI", kind->name);
    int e = kr_meta_set(w->meta, "hyper.operator", "rays");
    kr_net_input in = { .coils = 1, .h = scan->grid.n[1], .w = scan->grid.n[0], .views = scan->shape.n[KR_VIEW], .columns = scan->shape.n[KR_U] };
    e = e ? e : kr_net_cost(kind, w, &in, &cost->bytes, &flops);
    cost->seconds = (double)kr_parts(scan) * flops / (6e10 * kr_threads());
    return kr_meta_set(w->meta, "hyper.operator", "mri") ? kr_error_code() : e;
}
