/* project.c: line integrals of a volume and their transpose: which projector does a geometry, and the plain one. */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { PARTS = 4 };                       /* the plain transpose adds so many volumes: the order of sums is the same for any number of threads */

static const char *const names[KR_RAY_MODELS] = { "joseph", "distance", "line", "strip" };
const char *kr_ray_model_name(enum kr_ray_model m) { return names[m]; }
int kr_ray_model_named(const char *name)
{
    for (int i = 0; i < KR_RAY_MODELS; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

const kr_raykern *kr_raykern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_raykern_v4 : cpu >= 3 ? &kr_raykern_v3 : &kr_raykern_base;
}

void kr_projector_unref(kr_projector **p)
{
    if (*p) {
        kr_rays_unref(&(*p)->rays);
        ray_plane_unref(&(*p)->plane);
        ray_stack_unref(&(*p)->stack);
        ray_slants_unref(&(*p)->slants);
        kr_free((*p)->parts);
    }
    kr_free(*p);
    *p = NULL;
}

int ray_outside(const kr_rays *r, const kr_grid *g)
{
    for (long i = 0; r->beam == KR_DIVERGENT && i < r->views; i++) {
        bool in = true;
        for (int d = 0; d < 3; d++) {
            double s = (r->source[i][d] - g->first[d]) / g->step[d];
            in = in && s > -0.5 && s < (double)g->n[d] - 0.5;
        }
        if (in)
            return kr_fail(KR_EREFUSED, "the source of view %ld, at (%.4g, %.4g, %.4g) mm, lies in the volume of %ld x %ld x %ld voxels of %.4g mm: take fewer or smaller "
                           "voxels", i, r->source[i][0], r->source[i][1], r->source[i][2], g->n[0], g->n[1], g->n[2], fabs(g->step[0]));
    }
    return 0;
}

kr_projector *kr_projector_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model, bool plain)
{
    kr_assert(model >= 0 && model < KR_RAY_MODELS);
    if (kr_grid_check(g) || ray_outside(r, g) || ray_walk_can(r, g, model))
        return NULL;
    kr_projector *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    p->grid = *g;
    p->model = model;
    p->rays = kr_rays_copy(r);
    bool good = p->rays;
    if (good && !plain && ray_plane_can(r, g, model))
        good = (p->plane = ray_plane_new(r, g, model)) != NULL || kr_error_code() == KR_EREFUSED;      /* a detector far finer than the pixels */
    else if (good && !plain && ray_stack_can(r, g, model))
        good = (p->stack = ray_stack_new(p->rays, &p->grid, model)) != NULL;
    else if (good && !plain && ray_slants_can(r, g, model))
        good = (p->slants = ray_slants_new(p->rays, &p->grid)) != NULL;
    if (good && !p->plane && !p->stack && !p->slants)
        good = (p->parts = kr_alloc((size_t)(g->n[0] * g->n[1] * g->n[2]), PARTS * sizeof *p->parts)) != NULL;
    if (!good)
        kr_projector_unref(&p);
    return p;
}

size_t kr_projector_bytes(const kr_projector *p)
{
    return sizeof *p + (size_t)p->rays->views * 12 * sizeof(double) + (p->plane ? ray_plane_bytes(p->plane) : p->stack ? ray_stack_bytes(p->stack) : p->slants ? ray_slants_bytes(p->slants)
           : (size_t)(p->grid.n[0] * p->grid.n[1] * p->grid.n[2]) * PARTS * sizeof *p->parts);
}

bool kr_projector_fast(const kr_projector *p) { return p->plane || p->stack || p->slants; }
const kr_rays *kr_projector_rays(const kr_projector *p) { return p->rays; }

/* ---- Plain ---- */
struct plain { const kr_projector *p; float *y, *x; const float *cy, *cx; long first, step; };
struct sum { const float *x; double all; };
struct spread { float *x; double y; };

static void add(void *self, long at, double weight)
{
    struct sum *s = self;
    s->all += weight * (double)s->x[at];
}

static void put(void *self, long at, double weight)
{
    struct spread *s = self;
    s->x[at] += (float)(weight * s->y);
}

static int plain_view(void *self, long i)
{
    const struct plain *j = self;
    const kr_rays *r = j->p->rays;
    long view = j->first + i * j->step;
    for (long v = 0; v < r->rows; v++)
        for (long k = 0; k < r->columns; k++) {
            struct sum s = { j->cx, 0 };
            ray_walk(r, &j->p->grid, j->p->model, view, k, v, add, &s);
            j->y[(i * r->rows + v) * r->columns + k] = (float)s.all;
        }
    return 0;
}

static int plain_part(void *self, long i)
{
    const struct plain *j = self;
    const kr_rays *r = j->p->rays;
    struct spread s = { j->x + i * j->p->grid.n[0] * j->p->grid.n[1] * j->p->grid.n[2], 0 };
    for (long view = j->first + i * j->step; view < r->views; view += PARTS * j->step)
        for (long v = 0; v < r->rows; v++)
            for (long k = 0; k < r->columns; k++) {
                s.y = (double)j->cy[((view - j->first) / j->step * r->rows + v) * r->columns + k];
                if (s.y != 0)
                    ray_walk(r, &j->p->grid, j->p->model, view, k, v, put, &s);
            }
    return 0;
}

void kr_project(kr_projector *p, float *y, const float *x, long first, long step)
{
    kr_assert(first >= 0 && first < p->rays->views && step >= 1);
    if (p->plane) {
        ray_plane_project(p->plane, y, x, first, step);
        return;
    }
    if (p->stack) {
        ray_stack_project(p->stack, y, x, first, step);
        return;
    }
    if (p->slants) {
        ray_slants_project(p->slants, y, x, first, step);
        return;
    }
    struct plain j = { .p = p, .y = y, .cx = x, .first = first, .step = step };
    int e = kr_for((p->rays->views - first + step - 1) / step, plain_view, &j);
    kr_assert(!e);
}

void kr_backproject(kr_projector *p, float *x, const float *y, long first, long step, bool add)
{
    kr_assert(first >= 0 && first < p->rays->views && step >= 1);
    if (p->plane) {
        ray_plane_back(p->plane, x, y, first, step, add);
        return;
    }
    if (p->stack) {
        ray_stack_back(p->stack, x, y, first, step, add);
        return;
    }
    if (p->slants) {
        ray_slants_back(p->slants, x, y, first, step, add);
        return;
    }
    size_t n = (size_t)(p->grid.n[0] * p->grid.n[1] * p->grid.n[2]);
    float *parts = p->parts;
    memset(parts, 0, n * PARTS * sizeof *parts);
    struct plain j = { .p = p, .x = parts, .cy = y, .first = first, .step = step };
    int e = kr_for(PARTS, plain_part, &j);
    kr_assert(!e);
    for (size_t i = 0; i < n; i++)
        x[i] = (add ? x[i] : 0) + ((parts[i] + parts[i + n]) + (parts[i + 2 * n] + parts[i + 3 * n]));
}
