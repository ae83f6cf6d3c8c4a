/* op_rays.c: line integrals of an image as an operator on real numbers. */
#include "kray/linop.h"

static void forward(void *self, kr_array *y, const kr_array *x) { kr_project(self, KR_R(y), KR_R(x), 0, 1); }
static void adjoint(void *self, kr_array *x, const kr_array *y) { kr_backproject(self, KR_R(x), KR_R(y), 0, 1); }
static void destroy(void *self) { kr_projector *p = self; kr_projector_unref(&p); }
static size_t bytes(const void *self) { return kr_projector_bytes(self); }
static const kr_linop_ops ops = { "line integrals", forward, adjoint, NULL, destroy, bytes };

kr_linop *kr_op_rays(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    kr_shape image = KR_SHAPE([KR_X] = g->n[0], [KR_Y] = g->n[1], [KR_Z] = g->n[2]);
    return kr_linop_new(&ops, KR_R32, image, KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = r->views), kr_projector_new(r, g, model, false));
}
