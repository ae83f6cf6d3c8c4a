/* model_rays.c: X-ray projections: A makes line integrals of a real image; N = A^T A. */
#include "model.h"
#include "kray/solve.h"

static bool can(const kr_scan *part) { return part->rays != NULL; }

/* |A|^2 is at most the largest sum of weights along a ray times the largest sum at a voxel. */
static int open_rays(model *m)
{
    m->type = KR_R32;
    m->grid = m->part->grid;
    for (int d = 0; m->turn >= 0 && d < 3; d++) {
        int from = (m->turn + 1 + d) % 3;
        m->grid.n[d] = m->part->grid.n[from];
        m->grid.first[d] = m->part->grid.first[from];
        m->grid.step[d] = m->part->grid.step[from];
    }
    m->rays = m->turn < 0 ? kr_rays_copy(m->part->rays) : kr_rays_about_z(m->part->rays, m->turn);
    m->A = m->rays ? kr_op_rays(m->rays, &m->grid, m->part->ray_model) : NULL;
    if (!m->A)
        return kr_error_code();
    m->image = kr_linop_domain(m->A);
    kr_scoped(array) x = kr_array_new(KR_R32, m->image);
    kr_scoped(array) y = kr_array_new(KR_R32, kr_linop_codomain(m->A));
    if (!x || !y)
        return kr_error_code();
    kr_fill(x, 1);
    kr_apply(m->A, y, x);
    double rays = kr_max_abs(y);
    kr_fill(y, 1);
    kr_apply_adj(m->A, x, y);
    m->bound = rays * kr_max_abs(x);
    return m->bound > 0 ? 0 : kr_fail(KR_EREFUSED, "no ray meets the image");
}

static kr_linop *forward(const model *m) { return kr_linop_ref(m->A); }

static kr_linop *normal(const model *m, double empty)
{
    (void)empty;                                             /* rays have no part of k-space that is never measured */
    return kr_normal(kr_linop_ref(m->A));
}

static int adjoint(const model *m, kr_array *x, double *yy)
{
    kr_apply_adj(m->A, x, m->part->data);
    *yy = kr_dot_re(m->part->data, m->part->data);
    return 0;
}

const model_kind model_rays = { "rays", can, open_rays, forward, normal, adjoint };
