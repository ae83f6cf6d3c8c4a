/* nlinv.c: image and coil maps at once, by the iteratively regularised Gauss-Newton method: no calibration area is needed.
 *
 * y = G(z) = P F (x c_j), c_j = F^H W v_j, z = (x, v): W lets coil maps be smooth only. Each step solves
 *   (DG^H DG + a) dz = DG^H (y - G(z)) + a (z0 - z)
 * by conjugate gradients, a falling from step to step. Letters: Uecker et al. 2008, whose c^ is v here. */
#include "kray/fourier.h"
#include "kray/solve.h"
#include "model.h"
#include <math.h>
#include <string.h>

typedef struct opts { long steps, iterations; double start, fall; } opts;
static const kr_opt table[] = {
    { "steps", 'i', KR_OPT_INT, offsetof(opts, steps), "10", "N", "Newton steps: more sharpen the image and let in noise" },
    { "iterations", 0, KR_OPT_INT, offsetof(opts, iterations), "30", "N", "conjugate gradient steps in each at most" },
    { "start", 0, KR_OPT_REAL, offsetof(opts, start), "1", "X", "regularisation of the first step" },
    { "fall", 0, KR_OPT_REAL, offsetof(opts, fall), "0.5", "X", "how it falls from step to step" },
    KR_OPT_END };

struct model {
    long n, coils;
    kr_fft *measure, *smooth;         /* of all coils: axes in k-space; all axes longer than 1                  */
    float *weight, *mask;             /* W and P on the grid                                                     */
    kr_cfloat *x, *c;                 /* where the derivative is taken: image and maps                           */
    kr_cfloat *part;                  /* conj(c) r of each coil                                                  */
};
struct job { struct model *m; const kr_cfloat *in; kr_cfloat *out; };

static int weighted(void *self, long j)                              /* out_j = W in_j */
{
    const struct job *s = self;
    long n = s->m->n;
    for (long i = 0; i < n; i++)
        s->out[j * n + i] = kr_c(s->m->weight[i] * kr_re(s->in[j * n + i]), s->m->weight[i] * kr_im(s->in[j * n + i]));
    return 0;
}

static int masked(void *self, long j)                                /* out_j = P in_j */
{
    const struct job *s = self;
    long n = s->m->n;
    for (long i = 0; i < n; i++)
        s->out[j * n + i] = s->m->mask[i] != 0 ? s->in[j * n + i] : kr_c(0, 0);
    return 0;
}

static int expand(void *self, long j)                                /* out_j = dx c_j + x out_j */
{
    const struct job *s = self;
    long n = s->m->n;
    for (long i = 0; i < n; i++) {
        kr_cfloat a = kr_cmul(s->in[i], s->m->c[j * n + i]), b = kr_cmul(s->m->x[i], s->out[j * n + i]);
        s->out[j * n + i] = kr_c(kr_re(a) + kr_re(b), kr_im(a) + kr_im(b));
    }
    return 0;
}

static int reduce(void *self, long j)                                /* part_j = conj(c_j) out_j, out_j = conj(x) out_j */
{
    const struct job *s = self;
    long n = s->m->n;
    for (long i = 0; i < n; i++) {
        kr_cfloat r = s->out[j * n + i];
        s->m->part[j * n + i] = kr_cmulc(s->m->c[j * n + i], r);
        s->out[j * n + i] = kr_cmulc(s->m->x[i], r);
    }
    return 0;
}

static void each(kr_body *body, struct model *m, kr_cfloat *out, const kr_cfloat *in)
{
    struct job j = { m, in, out };
    int e = kr_for(m->coils, body, &j);
    kr_assert(!e);
}

static void maps(struct model *m, kr_cfloat *c, const kr_cfloat *v)  /* c = F^H W v */
{
    each(weighted, m, c, v);
    kr_fft_inverse(m->smooth, c);
}

static void forward(void *self, kr_array *y, const kr_array *z)      /* P F (dx c + x F^H W dv) */
{
    struct model *m = self;
    maps(m, KR_C(y), KR_C(z) + m->n);
    each(expand, m, KR_C(y), KR_C(z));
    kr_fft_forward(m->measure, KR_C(y));
    each(masked, m, KR_C(y), KR_C(y));
}

static void adjoint(void *self, kr_array *z, const kr_array *y)
{
    struct model *m = self;
    kr_cfloat *v = KR_C(z) + m->n, *x = KR_C(z);
    each(masked, m, v, KR_C(y));
    kr_fft_inverse(m->measure, v);
    each(reduce, m, v, NULL);
    kr_fft_forward(m->smooth, v);
    each(weighted, m, v, v);
    memcpy((void *)x, (const void *)m->part, (size_t)m->n * sizeof *x);
    for (long j = 1; j < m->coils; j++)
        for (long i = 0; i < m->n; i++)
            x[i] += m->part[j * m->n + i];
}

static void destroy(void *self)
{
    struct model *m = self;
    kr_fft_unref(&m->measure);
    kr_fft_unref(&m->smooth);
    kr_free(m->weight);
    kr_free(m->mask);
    kr_free(m->x);
    kr_free(m->c);
    kr_free(m->part);
    kr_free(m);
}

static const kr_linop_ops ops = { "derivative", forward, adjoint, NULL, destroy, NULL };

/* W = (1 + 220 |k|^2)^-16, k from -1/2 to 1/2 along every axis. */
static void fill(struct model *m, const long n[3], const kr_array *mask)
{
    for (long i = 0; i < m->n; i++) {
        long at[3] = { i % n[0], i / n[0] % n[1], i / n[0] / n[1] }, p = 0;
        double k2 = 0;
        for (int d = 0; d < 3; d++) {
            double k = (double)(at[d] - n[d] / 2) / (double)n[d];
            k2 += k * k;
            p += mask->n[d] > 1 ? at[d] * mask->step[d] : 0;
        }
        m->weight[i] = (float)pow(1 + 220 * k2, -16);
        m->mask[i] = KR_R(mask)[p];
    }
}

static kr_linop *derivative(struct model **model, const kr_array *y, const kr_array *mask, unsigned axes)
{
    struct model *m = kr_alloc_zero(1, sizeof *m);
    if (!m)
        return NULL;
    kr_shape s = kr_array_shape(y), z = kr_shape_without(s, KR_ON(KR_COIL));
    m->coils = y->n[KR_COIL];
    m->n = kr_count(z);
    size_t all = (size_t)(m->n * m->coils);
    m->measure = kr_fft_new(s, axes, KR_CENTRED);
    m->smooth = m->measure ? kr_fft_new(s, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), KR_CENTRED) : NULL;
    m->weight = kr_alloc((size_t)m->n, sizeof *m->weight);
    m->mask = kr_alloc((size_t)m->n, sizeof *m->mask);
    m->x = kr_alloc_zero((size_t)m->n, sizeof *m->x);
    m->c = kr_alloc_zero(all, sizeof *m->c);
    m->part = kr_alloc(all, sizeof *m->part);
    if (!m->smooth || !m->weight || !m->mask || !m->x || !m->c || !m->part) {
        destroy(m);
        return NULL;
    }
    fill(m, y->n, mask);
    *model = m;
    z.n[KR_CHAN] = 1 + m->coils;
    return kr_linop_new(&ops, z, s, m);
}

/* z = (1, 0) to start with. */
static int newton(kr_array *z, const kr_linop *D, struct model *m, const kr_array *y, const opts *o, const kr_trace *trace)
{
    kr_scoped(array) z0 = kr_array_like(z);
    kr_scoped(array) dz = kr_array_like(z);
    kr_scoped(array) b = kr_array_like(z);
    kr_scoped(array) r = kr_array_like(y);
    kr_scoped(array) Gz = kr_array_like(z);
    if (!z0 || !dz || !b || !r || !Gz)
        return kr_error_code();
    for (long i = 0; i < m->n; i++)
        KR_C(z0)[i] = kr_c(1, 0);
    kr_array_assign(z, z0);
    double a = o->start;
    for (long k = 0; k < o->steps; k++, a *= o->fall) {
        memcpy((void *)m->x, z->data, (size_t)m->n * sizeof *m->x);
        maps(m, m->c, KR_C(z) + m->n);
        kr_array_assign(Gz, z);                                      /* G(z) = DG (x, 0): G is linear in x */
        memset((void *)(KR_C(Gz) + m->n), 0, (size_t)(m->n * m->coils) * sizeof(kr_cfloat));
        kr_apply(D, r, Gz);
        kr_xpay(r, -1, y);                                           /* r = y - G(z) */
        kr_apply_adj(D, b, r);
        kr_axpy(b, (float)a, z0);
        kr_axpy(b, (float)-a, z);                                    /* b = DG^H r + a (z0 - z) */
        kr_fill(dz, 0);
        int steps = kr_cg_normal(D, dz, b, (float)a, (kr_stop){ (int)o->iterations, 1e-2 }, trace);
        if (steps < 0)
            return steps;
        kr_axpy(z, 1, dz);
        kr_say(trace, KR_DETAIL, "nlinv: step %ld, a %.3g, |y - G(z)| %.4g of |y|, %d inner steps", k + 1, a, kr_norm(r) / kr_norm(y), steps);
        kr_progress(trace, "nlinv", (double)(k + 1), (double)o->steps);
    }
    return 0;
}

struct parts { const kr_scan *scan; kr_array *image; const opts *o; const kr_trace *trace; };

static int one(void *self, long i)
{
    const struct parts *j = self;
    kr_scoped(array) data = kr_part(j->scan->data, j->scan, i);
    kr_scoped(array) y = data ? kr_array_copy(data) : NULL;
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, i) : NULL;
    kr_scoped(array) to = kr_part(j->image, j->scan, i);
    if (!y || (j->scan->mask && !mask) || !to)
        return kr_error_code();
    kr_scan part = { .shape = kr_array_shape(y), .data = y, .mask = mask, .in_image = j->scan->in_image };
    kr_scoped(array) P = kr_model_mask(&part);
    double size = kr_norm(y);
    if (!P || !(size > 0) || !isfinite(size))
        return P ? kr_fail(KR_ENUMBER, "the data of part %ld are all zero or not finite", i) : kr_error_code();
    kr_scale(y, (float)(100 / size));                                /* the unit in which `start` is meant */
    struct model *m = NULL;
    kr_scoped(linop) D = derivative(&m, y, P, kr_in_kspace(&part));
    kr_scoped(array) z = D ? kr_array_new(KR_C32, kr_linop_domain(D)) : NULL;
    int e = z ? newton(z, D, m, y, j->o, j->trace) : kr_error_code();
    if (e)
        return e;
    maps(m, m->c, KR_C(z) + m->n);
    for (long k = 0; k < m->n; k++) {                                /* x sqrt(sum |c|^2), the scale undone */
        double sum = 0;
        for (long c = 0; c < m->coils; c++)
            sum += (double)kr_cabs2(m->c[c * m->n + k]);
        float f = (float)(sqrt(sum) * size / 100);
        KR_C(z)[k] = kr_c(f * kr_re(KR_C(z)[k]), f * kr_im(KR_C(z)[k]));
    }
    kr_scoped(array) image = kr_array_at(z, KR_CHAN, 0);
    if (!image)
        return kr_error_code();
    kr_array_assign(to, image);
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    const opts *o = options;
    if (o->steps < 1 || o->steps > 100 || o->iterations < 1 || o->iterations > 10000 || !(o->start > 0) || !(o->fall > 0) || !(o->fall <= 1) || !isfinite(o->start))
        return kr_fail(KR_EREFUSED, "nlinv wants 1 to 100 steps, iterations, start > 0 and 0 < fall <= 1, not %ld, %ld, %g and %g", o->steps, o->iterations,
                       o->start, o->fall);
    kr_scoped(array) image = kr_array_new(KR_C32, kr_shape_without(scan->shape, KR_ON(KR_COIL)));
    if (!image)
        return kr_error_code();
    struct parts j = { scan, image, o, trace };
    int e = 0;
    if (kr_parts(scan) >= kr_threads())
        e = kr_for(kr_parts(scan), one, &j);
    else
        for (long i = 0; i < kr_parts(scan) && !e; i++)
            e = one(&j, i);
    if (e)
        return e;
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    double n = (double)kr_count(scan->shape);
    cost->bytes = 8 * 9 * n;
    cost->seconds = n * 4e-8 * (double)(o->steps * o->iterations);
    return 0;
}

const kr_recon kr_recon_nlinv = { "nlinv", "image and coil maps together by Gauss-Newton steps, without calibration",
    "Uecker et al., Magn Reson Med 60:674 (2008)", 0, table, sizeof(opts), run, plan };
