/* net_rays.c: networks written on an operator, on X-ray projections, slice by slice: A is scaled to norm 1 and the data so that the 99th percentile of
 * the back-projected image A^T y is 1, as for compressed sensing; numbers are complex with imaginary parts of 0, and the image is the real part. Those with filtered
 * back-projection (rays_alone) take A as it is, images from the top row down, and data divided by `per99_img` of the configuration, without it by the 99th percentile of that image;
 * what they give below 0 becomes 0, as in the published program. */
#include "kray/net.h"
#include "net_method.h"
#include "projected.h"
#include "regular.h"
#include <math.h>
#include <string.h>

struct rays { kr_net *net; double norm, real, imaginary, per99; };

/* The scale of part m: of the image that A^T y / |A|^2 is. 0: the data are all zero. */
static double scale_of(const model *m, double norm)
{
    kr_scoped(array) b = kr_array_new(KR_R32, m->image);
    if (!b)
        return -1;
    kr_apply_adj(m->A, b, m->part->data);
    return kr_regular_top(b) / (norm * norm);
}

/* Rays of the published program: parallel ones, views in the order of their angles within half a turn. */
static int filtered_fits(const kr_rays *r)
{
    double turned = 0;
    if (r->beam != KR_PARALLEL || r->rows > 1)
        return kr_fail(KR_EREFUSED, "the network was trained with plain filtered back-projection of parallel beams in a plane; these are %s", r->rows > 1 ? "of a volume" : "fans");
    for (long i = 1; i < r->views; i++) {
        const double *a = r->source[i - 1], *b = r->source[i];
        double step = atan2(a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1]);
        if (!(step * turned >= 0) || fabs(step) <= 0)
            return kr_fail(KR_EREFUSED, "the network takes views in the order of their angles; view %ld is none further than view %ld", i, i - 1);
        turned += step;
    }
    return fabs(turned) <= M_PI + 1e-6 ? 0 : kr_fail(KR_EREFUSED, "the network takes views over half a turn at most; these turn by %.1f degrees", fabs(turned) * 180 / M_PI);
}

/* The ramp with torch_radon's Hann window: the second half of NumPy's, whose middle lies between two points. */
static kr_linop *hann(kr_shape data)
{
    long P = 64;
    while (P < 2 * data.n[KR_U])
        P *= 2;
    kr_auto double *H = kr_alloc((size_t)P / 2 + 1, sizeof *H);
    if (!H)
        return NULL;
    kr_fbp_filter(H, P, KR_WINDOW_RAMP, 0);
    for (long k = 0; k <= P / 2; k++)
        H[k] *= 0.5 - 0.5 * cos(2 * M_PI * (double)((k + P / 2) % P) / (double)(P - 1));
    return kr_op_filter(data, H, P);
}

static int solve_filtered(kr_array *x, const model *m, struct rays *r, const kr_trace *trace)
{
    const kr_rays *rays = m->part->rays;
    const kr_array *y = m->part->data;
    kr_grid g = m->part->grid;
    bool turn = g.step[1] > 0;                               /* row 0 is to be the top */
    long h = g.n[1], w = g.n[0], count = rays->views * rays->columns;
    if (filtered_fits(rays))
        return kr_error_code();
    if (turn) {
        g.first[1] += (double)(h - 1) * g.step[1];
        g.step[1] = -g.step[1];
    }
    kr_scoped(array) by = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1));
    kr_scoped(linop) A = by ? kr_op_rays(rays, &g, m->part->ray_model) : NULL;
    if (!A)
        return kr_error_code();
    kr_shape data = kr_linop_codomain(A);
    KR_R(by)[0] = (float)(M_PI / ((double)rays->views * fabs(g.step[0] * g.step[1])));
    kr_scoped(linop) B = kr_mul(kr_mul(kr_op_weight(KR_R32, by, data, data), hann(data)), kr_linop_ref(A));
    kr_scoped(array) b = B ? kr_array_new(KR_R32, kr_linop_domain(B)) : NULL;
    kr_auto kr_cfloat *at = kr_alloc((size_t)count, sizeof *at), *image = kr_alloc((size_t)(h * w), sizeof *image);
    if (!b || !at || !image)
        return kr_error_code();
    kr_apply_adj(B, b, y);
    double top = kr_regular_top(b), scale = r->per99 > 0 ? r->per99 : top;
    if (!(top > 0))                                          /* nothing was measured: an image of zeros */
        return top < 0 || kr_error_code() ? kr_error_code() : 0;
    for (long i = 0; i < count; i++)
        at[i] = kr_c((float)((double)KR_R(y)[i] / scale), 0);
    kr_net_input in = { .coils = 1, .h = h, .w = w, .kspace = at, .rays = A, .filtered = B, .views = rays->views, .columns = rays->columns, .centred = true };
    if (kr_net_run(r->net, image, &in, NULL))
        return kr_error_code();
    for (long i = 0; i < h * w; i++)
        KR_R(x)[(turn ? h - 1 - i / w : i / w) * w + i % w] = fmaxf((float)(scale * (double)kr_re(image[i])), 0);
    kr_say(trace, r->per99 > 0 ? KR_DETAIL : KR_INFO, "scale %.5g %s; the 99th percentile of the filtered back-projection is %.5g", scale,
           r->per99 > 0 ? "(per99_img of the configuration)" : "of the image itself", top);
    return 0;
}

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    struct rays *r = (struct rays *)(uintptr_t)options;
    const kr_array *y = m->part->data;
    long h = m->image.n[KR_Y], w = m->image.n[KR_X], views = y->n[KR_VIEW], columns = y->n[KR_U];
    if (m->image.n[KR_Z] > 1 || y->n[KR_V] > 1)
        return kr_fail(KR_EREFUSED, "the networks work on planes, not on volumes of %ld planes seen by %ld rows of a detector", m->image.n[KR_Z], y->n[KR_V]);
    if (kr_net_kind_of(r->net)->rays_alone)
        return solve_filtered(x, m, r, trace);
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

int net_rays(kr_image **out, const kr_scan *scan, kr_weights *w, const kr_net_kind *kind, double per99, const kr_trace *trace)
{
    if (!kind->any_operator)
        return kr_fail(KR_EREFUSED, "the network %s is for data of MRI", kind->name);
    if (of_mri(w))
        kr_say(trace, KR_WARNING, "what the configuration says of data of MRI (scaling, coil maps, masks, transforms) means nothing for X-ray projections");
    struct rays r = { .per99 = per99 };
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
