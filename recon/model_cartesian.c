/* model_cartesian.c: samples on a grid: A = P F S over the axes still in k-space. */
#include "kray/solve.h"
#include "model.h"

static bool constant(const kr_array *mask, int axis)
{
    const float *m = mask->data;
    long n = kr_count(kr_array_shape(mask)), step = mask->step[axis], length = mask->n[axis];
    for (long i = 0; i < n; i++)
        if (m[i] != m[i - i / step % length * step])
            return false;
    return true;
}

kr_array *kr_model_mask(const kr_scan *s)
{
    kr_scoped(array) found = kr_scan_mask(s);
    kr_array *m = kr_array_packed(found);
    for (int d = 0; m && d < KR_AXES; d++)
        if (m->n[d] > 1 && constant(m, d)) {
            kr_scoped(array) first = kr_array_at(m, d, 0);
            kr_array_unref(&m);
            m = kr_array_packed(first);
        }
    return m;
}

static bool can(const kr_scan *part) { return !part->traj; }

static int open_grid(model *m)
{
    m->axes = kr_in_kspace(m->part);
    m->mask = kr_model_mask(m->part);
    m->image = kr_shape_without(kr_array_shape(m->coils), KR_ON(KR_COIL));
    for (int d = 0; d < KR_AXES; d++)
        m->image.n[d] = m->series.n[d] > 1 ? m->series.n[d] : m->image.n[d];
    float unit = kr_sense_unit(m->coils);
    m->bound = m->coils->n[KR_MAP] > 1 ? 0 : (double)unit;   /* of several sets power iteration tells less */
    return m->mask && unit >= 0 ? 0 : kr_error_code();
}

static kr_linop *forward(const model *m) { return kr_op_sense(m->coils, m->mask, m->axes); }

static kr_linop *normal(const model *m, double empty)
{
    (void)empty;                                             /* priors in space and time fill what a grid lacks alike */
    return kr_op_sense_normal(m->coils, m->mask, m->axes, m->series);
}

/* Frame by frame, without a mask: what was not measured is zero in y. */
static int adjoint(const model *m, kr_array *x, double *yy)
{
    const kr_array *data = m->part->data;
    kr_scoped(linop) A = kr_op_sense(m->coils, NULL, m->axes);
    kr_scoped(array) one = A ? kr_array_new(KR_C32, kr_linop_domain(A)) : NULL;
    long frames = kr_count(m->series);
    if (!one)
        return kr_error_code();
    for (long f = 0; f < frames; f++) {
        kr_scoped(array) frame = kr_frame_of(data, m->series, f);
        kr_scoped(array) y = frame ? kr_array_packed(frame) : NULL;
        kr_scoped(array) to = kr_frame_of(x, m->series, f);
        if (!y || !to)
            return kr_error_code();
        kr_apply_adj(A, one, y);
        kr_array_assign(to, one);
    }
    *yy = kr_dot_re(data, data);
    return 0;
}

const model_kind model_cartesian = { "cartesian", can, open_grid, forward, normal, adjoint };
