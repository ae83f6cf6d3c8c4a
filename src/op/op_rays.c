/* op_rays.c: line integrals of an image as an operator on real numbers: of all views, or of subsets of them that share one projector. */
#include "kray/linop.h"
#include <string.h>

static void forward(void *self, kr_array *y, const kr_array *x) { kr_project(self, KR_R(y), KR_R(x), 0, 1); }
static void adjoint(void *self, kr_array *x, const kr_array *y) { kr_backproject(self, KR_R(x), KR_R(y), 0, 1); }
static void destroy(void *self) { kr_projector *p = self; kr_projector_unref(&p); }
static size_t bytes(const void *self) { return kr_projector_bytes(self); }
static const kr_linop_ops ops = { "line integrals", forward, adjoint, NULL, destroy, bytes };

static kr_shape image_of(const kr_grid *g) { return KR_SHAPE([KR_X] = g->n[0], [KR_Y] = g->n[1], [KR_Z] = g->n[2]); }

kr_linop *kr_op_rays(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    return kr_linop_new(&ops, KR_R32, image_of(g), KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = r->views), kr_projector_new(r, g, model, false));
}

/* ---- Views first, first + step, ... ---- */
struct shared { kr_projector *p; float *all; size_t size; int users; };      /* all: {U,V,VIEW} of the whole scan */
struct some { struct shared *of; long first, step; };

static void some_destroy(void *self)
{
    struct some *s = self;
    if (!--s->of->users) {
        kr_projector_unref(&s->of->p);
        kr_free(s->of->all);
        kr_free(s->of);
    }
    kr_free(s);
}

static long each(const struct some *s) { const kr_rays *r = kr_projector_rays(s->of->p); return r->columns * r->rows; }

static void some_forward(void *self, kr_array *y, const kr_array *x)
{
    const struct some *s = self;
    long n = each(s);
    kr_project(s->of->p, s->of->all, KR_R(x), s->first, s->step);
    for (long v = 0; v < y->n[KR_VIEW]; v++)
        memcpy(KR_R(y) + v * n, s->of->all + (s->first + v * s->step) * n, (size_t)n * sizeof(float));
}

static void some_adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct some *s = self;
    long n = each(s);
    for (long v = 0; v < y->n[KR_VIEW]; v++)
        memcpy(s->of->all + (s->first + v * s->step) * n, KR_R(y) + v * n, (size_t)n * sizeof(float));
    kr_backproject(s->of->p, KR_R(x), s->of->all, s->first, s->step);
}

static size_t some_bytes(const void *self) { const struct some *s = self; return (kr_projector_bytes(s->of->p) + s->of->size) / (size_t)s->of->users; }
static const kr_linop_ops some_ops = { "line integrals of some views", some_forward, some_adjoint, NULL, some_destroy, some_bytes };

int kr_op_rays_split(kr_linop **A, int count, const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    memset(A, 0, (size_t)count * sizeof(kr_linop *));
    if (count < 1 || count > r->views)
        return kr_fail(KR_EREFUSED, "%d subsets of %ld views; 1 to %ld are possible", count, r->views, r->views);
    struct shared *of = kr_alloc_zero(1, sizeof *of);
    if (!of)
        return kr_error_code();
    of->users = 1;                                                   /* this function, for as long as it works */
    of->size = (size_t)(r->columns * r->rows) * (size_t)r->views * sizeof(float);
    of->p = kr_projector_new(r, g, model, false);
    of->all = of->p ? kr_alloc(of->size, 1) : NULL;
    int e = of->all ? 0 : kr_error_code();
    for (int i = 0; i < count && !e; i++) {
        struct some *s = kr_alloc(1, sizeof *s);
        if (s) {
            *s = (struct some){ of, i, count };
            of->users++;
            A[i] = kr_linop_new(&some_ops, KR_R32, image_of(g), KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = (r->views - i + count - 1) / count), s);
        }
        e = s && A[i] ? 0 : kr_error_code();
    }
    for (int i = 0; e && i < count; i++)
        kr_linop_unref(&A[i]);
    if (!--of->users) {
        kr_projector_unref(&of->p);
        kr_free(of->all);
        kr_free(of);
    }
    return e;
}
