/* denoised.c: the problem of each slice for methods with a trained denoiser, and the denoiser plane by plane. */
#include "denoised.h"
#include "kray/diffusion.h"
#include "regular.h"
#include <math.h>
#include <string.h>

enum { FIRST = 10 };                 /* conjugate gradient steps to the image that all begins with */
static const double LOOSE = 50;      /* gamma of that: (N + 1 / 50) x = b */

/* One real image through a network of real ones. */
static int real_plane(float *z, const float *x, long h, long w, kr_net *net, kr_cfloat *room)
{
    kr_net_input in = { .coils = 1, .h = h, .w = w, .image = x, .centred = true };
    if (kr_net_run(net, room, &in, NULL))
        return kr_error_code();
    for (long i = 0; i < h * w; i++)
        z[i] = kr_re(room[i]);
    return 0;
}

static int plane(kr_cfloat *z, const kr_cfloat *x, long h, long w, kr_net *net, const float *noise)
{
    long n = h * w;
    if (!kr_net_kind_of(net)->of_image) {
        kr_net_input in = { .coils = 1, .h = h, .w = w, .adjoint = x, .noise = noise, .centred = true };
        return kr_net_run(net, z, &in, NULL);
    }
    kr_auto float *part = kr_alloc((size_t)n, sizeof *part);
    kr_auto kr_cfloat *room = kr_alloc((size_t)n, sizeof *room);
    if (!part || !room)
        return kr_error_code();
    memset((void *)z, 0, (size_t)n * sizeof *z);
    for (int q = 0; q < 2; q++) {
        bool any = false;
        for (long i = 0; i < n; i++) {
            part[i] = ((const float *)x)[2 * i + q];
            any |= part[i] != 0;
        }
        if (any && real_plane(part, part, h, w, net, room))
            return kr_error_code();
        for (long i = 0; i < n && any; i++)
            ((float *)z)[2 * i + q] = part[i];
    }
    return 0;
}

int denoised_by(kr_array *z, const denoised *d, const kr_array *x, double sigma)
{
    long w = x->n[KR_X], h = x->n[KR_Y], n = w * h, planes = kr_count(kr_array_shape(x)) / n;
    kr_auto kr_cfloat *from = kr_alloc((size_t)n, sizeof *from), *to = kr_alloc((size_t)n, sizeof *to);
    kr_auto float *noise = kr_alloc((size_t)n, sizeof *noise);
    if (!from || !to || !noise)
        return kr_error_code();
    for (long i = 0; i < n; i++)
        noise[i] = (float)sigma;
    for (long p = 0; p < planes; p++) {
        for (long i = 0; i < n; i++)
            from[i] = x->type == KR_R32 ? kr_c(KR_R(x)[p * n + i], 0) : KR_C(x)[p * n + i];
        if (plane(to, from, h, w, d->net, noise))
            return kr_error_code();
        for (long i = 0; i < n; i++)
            if (z->type == KR_R32)
                KR_R(z)[p * n + i] = kr_re(to[i]);
            else
                KR_C(z)[p * n + i] = to[i];
    }
    return 0;
}

/* The noise of the samples of a grid, where it can be told; else 0. */
static double noise_of(const kr_scan *part)
{
    if (part->rays || part->traj)
        return 0;
    double s = kr_noise_sigma(part, NULL);
    if (s < 0 && kr_error_code() != KR_EMEM)
        kr_error_clear();
    return s > 0 ? s : 0;
}

static int one(kr_array *image, const kr_scan *scan, const kr_array *coils, long i, kr_net *net, denoised_solve *solve, const void *opts, const kr_trace *trace)
{
    kr_scan part = { 0 };
    model m = { 0 };
    kr_scoped(array) to = kr_part(image, scan, i);
    int e = to ? kr_part_open(&part, scan, kr_problem_axes, i) : kr_error_code();
    kr_scoped(array) maps = e || !coils ? NULL : kr_part(coils, scan, i);
    e = e ? e : coils && !maps ? kr_error_code() : model_open(&m, &part, maps);
    kr_scoped(linop) plain = e ? NULL : m.kind->normal(&m, 0);
    kr_scoped(array) x = plain ? kr_array_new(m.type, m.image) : NULL;
    kr_scoped(array) b = x ? kr_array_like(x) : NULL;
    kr_scoped(array) by = b ? kr_array_new(KR_R32, KR_SHAPE([KR_X] = 1)) : NULL;
    double yy, unit = m.bound, scale = 0;
    e = e ? e : by ? m.kind->adjoint(&m, b, &yy) : kr_error_code();
    if (!e && !(unit > 0))
        unit = 1.02 * kr_linop_norm2(plain, 20);
    if (!e && !(unit > 0))
        e = kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "the model of the measurement is 0");
    if (!e) {
        scale = kr_regular_top(b) / unit;
        e = kr_error_code();
    }
    if (!e && scale > 0) {                                   /* else nothing was measured: an image of zeros */
        KR_R(by)[0] = (float)(1 / unit);
        kr_scoped(linop) N = kr_mul(kr_op_weight(m.type, by, m.image, m.image), kr_linop_ref(plain));
        kr_scale(b, (float)(1 / (unit * scale)));
        denoised d = { net, N, b, noise_of(&part) / (scale * sqrt(unit)), i };
        e = !N ? kr_error_code() : kr_error_code() == KR_EMEM ? KR_EMEM : 0;
        kr_scoped(array) c = kr_array_copy(b);
        e = e ? e : c ? 0 : kr_error_code();
        if (!e) {
            kr_scale(c, (float)LOOSE);
            e = kr_diffusion_cg(x, N, c, LOOSE, FIRST, 0, false);
            e = e < 0 ? e : solve(x, &d, opts, trace);
        }
        if (!e)
            kr_scale(x, (float)scale);
    }
    if (!e && m.type == KR_R32)
        kr_array_assign(to, x);
    else if (!e)
        kr_combine_sets(to, x);
    model_close(&m);
    kr_part_close(&part);
    return e;
}

int denoised_image(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *net, denoised_solve *solve, const void *opts, const kr_trace *trace)
{
    *out = NULL;
    net_opts own = *net;
    bool opens = !net->opened;
    if (opens && net_open(&own, DENOISERS))
        return kr_error_code();
    kr_net *n = net_of(&own);
    kr_scoped(array) image = kr_array_new(scan->rays ? KR_R32 : KR_C32, kr_scan_image_shape(scan));
    int e = !image || (!scan->rays && kr_coils_check(coils, scan)) ? kr_error_code() : 0;
    long parts = kr_parts(scan);
    for (long i = 0; i < parts && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, parts);
        e = kr_stopped(t) ? kr_error_code() : one(image, scan, coils, i, n, solve, opts, t);
    }
    if (!e) {
        *out = kr_image_new(image, scan->geom, scan->meta);
        e = *out ? net_told(*out, &own) : kr_error_code();
    }
    if (opens)
        net_close(&own);
    if (e)
        kr_image_unref(out);
    return e;
}

int denoised_plan(kr_cost *cost, const kr_scan *scan, const net_opts *net, double runs)
{
    double pixels = scan->rays ? (double)(scan->grid.n[0] * scan->grid.n[1] * scan->grid.n[2]) : (double)kr_count(kr_shape_without(scan->shape, KR_ON(KR_COIL)));
    (void)net;
    cost->bytes = 64 * pixels + 40e6;
    cost->seconds = runs * pixels * 5e5 / (6e10 * kr_threads());
    return 0;
}
