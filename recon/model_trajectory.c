/* model_trajectory.c: samples along a trajectory: A = F S by NUFFT, N = A^H W A as a convolution, W the density; and what becomes of k-space that
 * samples never reach. */
#include "model.h"
#include "kray/offres.h"
#include <math.h>
#include <string.h>

static const double TOLERANCE = 1e-4;            /* relative error of the transforms: well below the noise of a scan */

/* Largest |k| along each axis, and the largest radius of an ellipse through these that samples reach: 1 for radial and spiral ones, more where
 * corners were measured, too. */
static double reach_of(double most[3], const kr_array *k, long dims)
{
    long points = kr_count(kr_array_shape(k)) / k->n[KR_CHAN];
    double largest = 0;
    for (long d = 0; d < dims; d++)
        for (long i = 0; i < points; i++)
            most[d] = fmax(most[d], fabs((double)KR_R(k)[d * points + i]));
    for (long i = 0; i < points; i++) {
        double sum = 0;
        for (long d = 0; d < dims; d++)
            sum += most[d] > 0 ? pow((double)KR_R(k)[d * points + i] / most[d], 2) : 0;
        largest = fmax(largest, sum);
    }
    return sqrt(largest);
}

/* The points of the image's grid in k-space, more than a step beyond that ellipse in the plane, or in space: how many, and which. */
static long beyond(long *at, const kr_array *k, const long n[3])
{
    long dims = k->n[KR_CHAN], count = 0;
    double most[2][3] = { { 0 } }, radius[2] = { reach_of(most[0], k, 2), dims == 3 ? reach_of(most[1], k, 3) : 0 };
    for (long i = 0; i < n[0] * n[1] * n[2]; i++) {
        const double p[3] = { (double)(i % n[0] - n[0] / 2), (double)(i / n[0] % n[1] - n[1] / 2), (double)(i / (n[0] * n[1]) - n[2] / 2) };
        bool out = false;
        for (long j = 0; j < dims - 1; j++) {
            double sum = 0, step = HUGE_VAL;
            for (long d = 0; d < j + 2; d++) {
                sum += most[j][d] > 0 ? pow(p[d] / most[j][d], 2) : 0;
                step = most[j][d] > 0 ? fmin(step, most[j][d]) : step;
            }
            out |= sqrt(sum) > radius[j] * (1 + 1 / step);
        }
        if (out)
            at[count++] = i;
    }
    return count;
}

static kr_linop *forward(const model *m);

/* With off-resonance N is no convolution: A^H W A as it stands. */
static kr_linop *by_samples(const model *m)
{
    kr_linop *A = forward(m);
    if (!A)
        return NULL;
    kr_shape y = kr_linop_codomain(A);
    kr_scoped(array) spread = kr_array_spread(m->part->density, y);
    kr_scoped(array) w = spread ? kr_array_packed(spread) : NULL;
    kr_linop *turned = kr_adjoint(kr_linop_ref(A));
    return kr_mul(turned, kr_mul(w ? kr_op_weight(KR_C32, w, y, y) : NULL, A));
}

/* Points of the image's grid in k-space beyond the ellipse that samples reach count as samples of value 0 with the weight `empty` (1: like a
 * measured one). Nothing is known there, and without a prior in space an image collects there what maps and samples disagree in. */
static kr_linop *normal(const model *m, double empty)
{
    if (m->part->field)
        return by_samples(m);
    const kr_array *k = m->part->traj, *w = m->part->density, *coils = m->coils;
    kr_shape series = m->series;
    const long n[3] = { coils->n[KR_X], coils->n[KR_Y], coils->n[KR_Z] };
    kr_auto long *at = kr_alloc((size_t)(n[0] * n[1] * n[2]), sizeof *at);
    if (!at)
        return NULL;
    long points = k->n[KR_SAMPLE] * k->n[KR_VIEW], more = empty > 0 ? beyond(at, k, n) : 0, all = points + more;
    if (!more)
        return kr_op_nufft_normal(coils, k, w, series, TOLERANCE);
    kr_shape shape = kr_array_shape(k), each = kr_array_shape(w);
    shape.n[KR_SAMPLE] = each.n[KR_SAMPLE] = all;
    shape.n[KR_VIEW] = each.n[KR_VIEW] = 1;
    kr_scoped(array) K = kr_array_new(KR_R32, shape);
    kr_scoped(array) W = K ? kr_array_new(KR_R32, each) : NULL;
    if (!W)
        return NULL;
    long frames = kr_count(shape) / (all * k->n[KR_CHAN]);
    for (long f = 0; f < frames * k->n[KR_CHAN]; f++) {              /* frame after frame, axis after axis */
        memcpy(KR_R(K) + f * all, KR_R(k) + f * points, (size_t)points * sizeof(float));
        for (long i = 0; i < more; i++) {
            const long p[3] = { at[i] % n[0] - n[0] / 2, at[i] / n[0] % n[1] - n[1] / 2, at[i] / (n[0] * n[1]) - n[2] / 2 };
            KR_R(K)[f * all + points + i] = (float)p[f / frames];
        }
    }
    for (long f = 0; f < kr_count(each) / all; f++) {
        memcpy(KR_R(W) + f * all, KR_R(w) + f * points, (size_t)points * sizeof(float));
        for (long i = 0; i < more; i++)
            KR_R(W)[f * all + points + i] = (float)empty;
    }
    return kr_op_nufft_normal(coils, K, W, series, TOLERANCE);
}

static bool can(const kr_scan *part) { return part->traj != NULL; }

static int open_trajectory(model *m)
{
    m->image = kr_shape_without(kr_array_shape(m->coils), KR_ON(KR_COIL));
    for (int d = 0; d < KR_AXES; d++)
        m->image.n[d] = m->series.n[d] > 1 ? m->series.n[d] : m->image.n[d];
    return 0;                                                /* uneven density: power iteration tells the bound */
}

static kr_linop *forward(const model *m)
{
    const kr_scan *p = m->part;
    return p->field ? kr_op_offres(m->coils, p->traj, m->series, TOLERANCE, p->field, 1e-6 * p->first_us, 1e-6 * p->dwell_us)
                    : kr_op_nufft(m->coils, p->traj, m->series, TOLERANCE);
}

static int adjoint(const model *m, kr_array *x, double *yy)
{
    const kr_array *data = m->part->data;
    kr_scoped(linop) A = forward(m);
    kr_scoped(array) w = kr_array_spread(m->part->density, kr_array_shape(data));
    kr_scoped(array) weighed = kr_array_like(data);
    if (!A || !w || !weighed)
        return kr_error_code();
    kr_contract(weighed, data, w, false);
    kr_apply_adj(A, x, weighed);
    *yy = kr_dot_re(data, weighed);
    return 0;
}

const model_kind model_trajectory = { "trajectory", can, open_trajectory, forward, normal, adjoint };
