/* op_rays.c: line integrals of an image as an operator on real numbers: of all views, or of subsets of them that share one projector. */
#include "kray/linop.h"
#include <string.h>

/* Views first, first + step, ... of one projector. room: what A^T A holds of A x at a time. */
struct shared { kr_projector *p; float *room; long views; int users; };      /* views: that fit into room */
struct some { struct shared *of; long first, step; };

static const long ENOUGH = 1 << 20;       /* numbers of A x that are held, or an eighth of a scan */

static kr_shape image_of(const kr_grid *g) { return KR_SHAPE([KR_X] = g->n[0], [KR_Y] = g->n[1], [KR_Z] = g->n[2]); }
static long views_of(const kr_rays *r, long first, long step) { return (r->views - first + step - 1) / step; }

static void drop(struct shared *of)
{
    if (--of->users)
        return;
    kr_projector_unref(&of->p);
    kr_free(of->room);
    kr_free(of);
}

static void destroy(void *self)
{
    struct some *s = self;
    drop(s->of);
    kr_free(s);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct some *s = self;
    kr_project(s->of->p, KR_R(y), KR_R(x), s->first, s->step);
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct some *s = self;
    kr_backproject(s->of->p, KR_R(x), KR_R(y), s->first, s->step, false);
}

static void through(void *self, kr_array *z, const kr_array *x, kr_between *f, void *with)
{
    const struct some *s = self;
    long views = views_of(kr_projector_rays(s->of->p), s->first, s->step), parts = (views + s->of->views - 1) / s->of->views;
    for (long i = 0; i < parts; i++) {                               /* views i, i + parts, ... of these */
        kr_project(s->of->p, s->of->room, KR_R(x), s->first + i * s->step, parts * s->step);
        if (f)
            f(with, s->of->room, i, parts, (views - i + parts - 1) / parts);
        if (z)
            kr_backproject(s->of->p, KR_R(z), s->of->room, s->first + i * s->step, parts * s->step, i > 0);
    }
}

static size_t bytes(const void *self)
{
    const struct some *s = self;
    const kr_rays *r = kr_projector_rays(s->of->p);
    return (kr_projector_bytes(s->of->p) + (size_t)(s->of->views * r->columns * r->rows) * sizeof(float)) / (size_t)s->of->users;
}

static const kr_linop_ops ops = { "line integrals", forward, adjoint, NULL, destroy, bytes, through };

int kr_op_rays_split(kr_linop **A, int count, const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    memset(A, 0, (size_t)count * sizeof(kr_linop *));
    if (count < 1 || count > r->views)
        return kr_fail(KR_EREFUSED, "%d subsets of %ld views; 1 to %ld are possible", count, r->views, r->views);
    struct shared *of = kr_alloc_zero(1, sizeof *of);
    if (!of)
        return kr_error_code();
    long each = r->columns * r->rows, most = views_of(r, 0, count), enough = ENOUGH / each > r->views / 8 ? ENOUGH / each : r->views / 8;
    of->users = 1;                                                   /* this function, for as long as it works */
    of->views = most < enough ? most : enough > 1 ? enough : 1;
    of->p = kr_projector_new(r, g, model, false);
    of->room = of->p ? kr_alloc((size_t)(of->views * each), sizeof *of->room) : NULL;
    int e = of->room ? 0 : kr_error_code();
    for (int i = 0; i < count && !e; i++) {
        struct some *s = kr_alloc(1, sizeof *s);
        if (s) {
            *s = (struct some){ of, i, count };
            of->users++;
            A[i] = kr_linop_new(&ops, KR_R32, image_of(g), KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = views_of(r, i, count)), s);
        }
        e = s && A[i] ? 0 : kr_error_code();
    }
    for (int i = 0; e && i < count; i++)
        kr_linop_unref(&A[i]);
    drop(of);
    return e;
}

kr_linop *kr_op_rays(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    kr_linop *A = NULL;
    return kr_op_rays_split(&A, 1, r, g, model) ? NULL : A;
}
