/* op_offres.c: a transform along a trajectory with off-resonance, as a sum of transforms without, one a segment of time. */
#include "kray/offres.h"
#include "kray/segments.h"
#include <math.h>

struct offres { kr_segments seg; kr_linop **A; kr_array *samples, *image; };

static void destroy(void *self)
{
    struct offres *s = self;
    for (long l = 0; l < s->seg.count && s->A; l++)
        kr_linop_unref(&s->A[l]);
    kr_free(s->A);
    kr_segments_close(&s->seg);
    kr_array_unref(&s->samples);
    kr_array_unref(&s->image);
    kr_free(s);
}

static size_t bytes(const void *self)
{
    const struct offres *s = self;
    size_t sum = 8 * (size_t)(kr_count(kr_array_shape(s->samples)) + kr_count(kr_array_shape(s->image)));
    for (long l = 0; l < s->seg.count; l++)
        sum += kr_linop_bytes(s->A[l]);
    return sum;
}

/* A row of samples times the shares of a segment, or their conjugates; added to what is there. */
struct rows { const kr_segments *seg; kr_cfloat *to; const kr_cfloat *from; long l; bool conj, add; };
static int row(void *self, long i)
{
    const struct rows *r = self;
    long n = r->seg->samples;
    const float *w = r->seg->share + 2 * r->l * n;
    kr_cfloat *y = r->to + i * n;
    const kr_cfloat *x = r->from + i * n;
    for (long m = 0; m < n; m++) {
        kr_cfloat z = kr_cmul(x[m], kr_c(w[2 * m], r->conj ? -w[2 * m + 1] : w[2 * m + 1]));
        y[m] = r->add ? y[m] + z : z;
    }
    return 0;
}

static void rows(const struct offres *s, kr_array *to, const kr_array *from, long l, bool conj, bool add)
{
    struct rows r = { &s->seg, KR_C(to), KR_C(from), l, conj, add };
    int e = kr_for(kr_count(kr_array_shape(from)) / s->seg.samples, row, &r);
    kr_assert(!e);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct offres *s = self;
    for (long l = 0; l < s->seg.count; l++) {
        kr_apply(s->A[l], s->samples, x);
        rows(s, y, s->samples, l, false, l > 0);
    }
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct offres *s = self;
    for (long l = 0; l < s->seg.count; l++) {
        rows(s, s->samples, y, l, true, false);
        kr_apply_adj(s->A[l], l ? s->image : x, s->samples);
        if (l)
            kr_axpy(x, 1, s->image);
    }
}

static const kr_linop_ops ops = { "nufft with off-resonance", forward, adjoint, NULL, destroy, bytes };

/* Maps times exp(-2 pi i f at). */
static kr_array *turned(const kr_array *coils, const kr_array *field, double at_s)
{
    kr_array *S = kr_array_copy(coils);
    long pixels = kr_count(kr_array_shape(field));
    for (long i = 0; S && i < kr_count(kr_array_shape(S)); i++) {
        double a = -2 * M_PI * (double)KR_R(field)[i % pixels] * at_s;
        KR_C(S)[i] = kr_cmul(KR_C(S)[i], kr_c((float)cos(a), (float)sin(a)));
    }
    return S;
}

kr_linop *kr_op_offres(const kr_array *coils, const kr_array *traj, kr_shape frames, double tolerance, const kr_array *field, double first_s, double dwell_s)
{
    kr_scoped(array) f = kr_array_packed(field);
    kr_scoped(array) S = f ? kr_array_packed(coils) : NULL;
    struct offres *s = S ? kr_alloc_zero(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    for (int d = 0; d < KR_AXES; d++)
        if (f->n[d] != (d < 3 ? S->n[d] : 1)) {
            kr_fail(KR_ESHAPE, "a field map %s for coil maps %s", kr_shape_text(kr_array_shape(f)), kr_shape_text(kr_array_shape(S)));
            kr_free(s);
            return NULL;
        }
    bool good = !kr_segments_open(&s->seg, KR_R(f), kr_count(kr_array_shape(f)), first_s, dwell_s, traj->n[KR_SAMPLE], 3 * tolerance)
             && (s->A = kr_alloc_zero((size_t)s->seg.count, sizeof *s->A));
    if (!s->A)
        s->seg.count = 0;
    for (long l = 0; good && l < s->seg.count; l++) {
        kr_scoped(array) now = turned(S, f, s->seg.at_s[l]);
        good = now && (s->A[l] = kr_op_nufft(now, traj, frames, tolerance));
    }
    good = good && (s->samples = kr_array_new(KR_C32, kr_linop_codomain(s->A[0]))) && (s->image = kr_array_new(KR_C32, kr_linop_domain(s->A[0])));
    if (!good) {
        destroy(s);
        return NULL;
    }
    return kr_linop_new(&ops, KR_C32, kr_linop_domain(s->A[0]), kr_linop_codomain(s->A[0]), s);
}
