/* op_rays.c: line integrals of an image as an operator on real numbers: of all views, or of subsets of them that share one projector. Of volumes that memory does not hold
 * (kr_mem_page) slab by slab: the line integrals of a volume are the sum of those of its slabs, and each slab has a transpose of its own. */
#include "kray/linop.h"
#include "kray/pages.h"
#include "kray/slabs.h"
#include <string.h>

/* Views first, first + step, ... of one projector, or one for each slab, and the rows of the detector that see it. room: what A^T A holds of A x at a time; part: rows of some views. */
struct slab { kr_projector *p; long from, to, row, rows; };
struct shared { struct slab *slab; long slabs, plane, columns, rows, all, most; float *room, *part; long views; int users; };      /* all: views; views: that fit into room; most: numbers of part */
struct some { struct shared *of; long first, step; };

static const long ENOUGH = 1 << 20,       /* numbers of A x that are held, or an eighth of a scan */
                  FEWEST = 3;             /* planes of a slab: a single one would be a slice     */

static kr_shape image_of(const kr_grid *g) { return KR_SHAPE([KR_X] = g->n[0], [KR_Y] = g->n[1], [KR_Z] = g->n[2]); }
static long views_of(long views, long first, long step) { return (views - first + step - 1) / step; }

kr_grid kr_grid_planes(const kr_grid *g, long from, long count)
{
    kr_grid some = *g;
    some.first[2] += (double)from * g->step[2];
    some.n[2] = count;
    return some;
}

/* Numbers of line integrals of a slab that are in memory at a time, or those of a view. */
static long numbers_of(const kr_rays *r)
{
    long most = (long)(kr_mem_pages() / sizeof(float) / 5), view = r->columns * r->rows;
    most = most < ENOUGH ? most : ENOUGH;
    return most > view ? most : view;
}

long kr_op_rays_planes(const kr_rays *r, const kr_grid *g)
{
    double pages = (double)kr_mem_pages() / sizeof(float), plane = (double)(g->n[0] * g->n[1]), samples = (double)(r->columns * r->rows) * (double)r->views;
    if (!(pages > 0) || r->rows < 2 || g->n[2] <= FEWEST || 2 * plane * (double)g->n[2] + samples <= pages / 2)
        return g->n[2];
    double each = pages / 3 / plane;                                 /* beside the slab its copy in the projector and rows of its views */
    return each < (double)FEWEST ? FEWEST : each < (double)g->n[2] ? (long)each : g->n[2];
}

static void drop(struct shared *of)
{
    if (--of->users)
        return;
    for (long i = 0; of->slab && i < of->slabs; i++)
        kr_projector_unref(&of->slab[i].p);
    kr_free(of->slab);
    kr_free(of->room);
    kr_free(of->part);
    kr_free(of);
}

static void destroy(void *self)
{
    struct some *s = self;
    drop(s->of);
    kr_free(s);
}

/* ---- Slabs: rows of views c, c + parts, ... of y, between it and `part` ---- */
struct rows { const struct shared *of; const struct slab *slab; float *y; const float *from; long c, parts; bool first; };

static int added(void *self, long k)
{
    const struct rows *w = self;
    long size = w->slab->rows * w->of->columns;
    float *to = w->y + ((w->c + k * w->parts) * w->of->rows + w->slab->row) * w->of->columns;
    const float *p = w->of->part + k * size;
    for (long i = 0; i < size; i++)
        to[i] += p[i];
    return 0;
}

static int taken(void *self, long k)
{
    const struct rows *w = self;
    long size = w->slab->rows * w->of->columns;
    memcpy(w->of->part + k * size, w->from + ((w->c + k * w->parts) * w->of->rows + w->slab->row) * w->of->columns, (size_t)size * sizeof(float));
    return 0;
}

static int cleared(void *self, long k)
{
    const struct rows *w = self;
    memset(w->y + k * w->of->rows * w->of->columns, 0, (size_t)(w->of->rows * w->of->columns) * sizeof(float));
    return 0;
}

static void each_view(long n, kr_body *body, struct rows *w)
{
    int e = kr_for(n, body, w);
    kr_assert(!e);
}

static long parts_of(const struct shared *of, const struct slab *s, long views)
{
    long each = of->most / (s->rows * of->columns);
    return each >= views ? 1 : (views + each - 1) / each;
}

static void project(const struct shared *of, float *y, const float *x, long first, long step)
{
    long views = views_of(of->all, first, step);
    struct rows w = { .of = of, .y = y };
    if (of->slabs == 1) {
        kr_project(of->slab->p, y, x, first, step);
        return;
    }
    each_view(views, cleared, &w);
    for (w.slab = of->slab; w.slab < of->slab + of->slabs; w.slab++) {
        w.parts = parts_of(of, w.slab, views);
        for (w.c = 0; w.c < w.parts; w.c++) {
            kr_project(w.slab->p, of->part, x + w.slab->from * of->plane, first + w.c * step, w.parts * step);
            each_view(views_of(views, w.c, w.parts), added, &w);
        }
    }
}

static void back(const struct shared *of, float *x, const float *y, long first, long step, bool add)
{
    long views = views_of(of->all, first, step);
    struct rows w = { .of = of, .from = y };
    if (of->slabs == 1) {
        kr_backproject(of->slab->p, x, y, first, step, add);
        return;
    }
    for (w.slab = of->slab; w.slab < of->slab + of->slabs; w.slab++) {
        w.parts = parts_of(of, w.slab, views);
        for (w.c = 0; w.c < w.parts; w.c++) {
            each_view(views_of(views, w.c, w.parts), taken, &w);
            kr_backproject(w.slab->p, x + w.slab->from * of->plane, of->part, first + w.c * step, w.parts * step, add || w.c > 0);
        }
    }
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct some *s = self;
    project(s->of, KR_R(y), KR_R(x), s->first, s->step);
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct some *s = self;
    back(s->of, KR_R(x), KR_R(y), s->first, s->step, false);
}

static void through(void *self, kr_array *z, const kr_array *x, kr_between *f, void *with)
{
    const struct some *s = self;
    long views = views_of(s->of->all, s->first, s->step), parts = (views + s->of->views - 1) / s->of->views;
    for (long i = 0; i < parts; i++) {                               /* views i, i + parts, ... of these */
        project(s->of, s->of->room, KR_R(x), s->first + i * s->step, parts * s->step);
        if (f)
            f(with, s->of->room, i, parts, (views - i + parts - 1) / parts);
        if (z)
            back(s->of, KR_R(z), s->of->room, s->first + i * s->step, parts * s->step, i > 0);
    }
}

static size_t bytes(const void *self)
{
    const struct some *s = self;
    size_t n = (size_t)(s->of->views * s->of->columns * s->of->rows + (s->of->part ? s->of->most : 0)) * sizeof(float);
    for (long i = 0; i < s->of->slabs; i++)
        n += kr_projector_bytes(s->of->slab[i].p);
    return n / (size_t)s->of->users;
}

static const kr_linop_ops ops = { "line integrals", forward, adjoint, NULL, destroy, bytes, through };

static int slabs(struct shared *of, const kr_rays *r, const kr_grid *g, long planes, enum kr_ray_model model)
{
    if (!(of->slab = kr_alloc_zero((size_t)of->slabs, sizeof *of->slab)))
        return kr_error_code();
    for (long i = 0; i < of->slabs; i++) {
        struct slab *s = &of->slab[i];
        s->from = i ? of->slab[i - 1].to : 0;
        s->to = i + 1 == of->slabs ? g->n[2] : (i + 1) * planes - ((i + 1) * planes == g->n[2] - 1);      /* the last has two, too */
        kr_grid some = kr_grid_planes(g, s->from, s->to - s->from), wider = kr_grid_planes(g, s->from - 2, s->to - s->from + 4);      /* with the voxels beside it into which rays are interpolated */
        s->rows = r->rows;
        if (of->slabs > 1)
            kr_rays_rows(r, &wider, &s->row, &s->rows);
        kr_rays *seen = kr_rays_of_rows(r, s->row, s->rows);
        s->p = seen ? kr_projector_new(seen, &some, model, false) : NULL;
        kr_rays_unref(&seen);
        if (!s->p)
            return kr_error_code();
    }
    return 0;
}

int kr_op_rays_split(kr_linop **A, int count, const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    memset(A, 0, (size_t)count * sizeof(kr_linop *));
    if (count < 1 || count > r->views)
        return kr_fail(KR_EREFUSED, "%d subsets of %ld views; 1 to %ld are possible", count, r->views, r->views);
    struct shared *of = kr_alloc_zero(1, sizeof *of);
    if (!of)
        return kr_error_code();
    long each = r->columns * r->rows, most = views_of(r->views, 0, count), enough = ENOUGH / each > r->views / 8 ? ENOUGH / each : r->views / 8;
    long planes = kr_op_rays_planes(r, g);
    *of = (struct shared){ .slabs = (g->n[2] + planes - 1) / planes, .plane = g->n[0] * g->n[1], .columns = r->columns, .rows = r->rows, .all = r->views, .most = numbers_of(r),
                           .users = 1 };                             /* this function, for as long as it works */
    of->views = most < enough || of->slabs > 1 ? most : enough > 1 ? enough : 1;      /* all, where each part would go through the whole volume on disk */
    int e = slabs(of, r, g, planes, model);
    of->room = e ? NULL : kr_alloc((size_t)(of->views * each), sizeof *of->room);
    of->part = e || of->slabs == 1 ? NULL : kr_alloc((size_t)of->most, sizeof *of->part);
    e = of->room && (of->part || of->slabs == 1) ? 0 : kr_error_code();
    for (int i = 0; i < count && !e; i++) {
        struct some *s = kr_alloc(1, sizeof *s);
        if (s) {
            *s = (struct some){ of, i, count };
            of->users++;
            A[i] = kr_linop_new(&ops, KR_R32, image_of(g), KR_SHAPE([KR_U] = r->columns, [KR_V] = r->rows, [KR_VIEW] = views_of(r->views, i, count)), s);
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
