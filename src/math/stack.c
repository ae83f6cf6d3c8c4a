/* stack.c: projectors of volumes whose detector columns stand along an axis of the volume (circular and helical cones, flat and cylindrical, parallel
 * beams), for joseph and distance. All rays of a detector column lie in one plane along that axis: its lines of voxels are mixed once for the
 * column, and each ray then runs through the mixed lines as in a slice. No weight is stored. */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 4,                         /* views of a task, forward                             */
       AHEAD = 8,                         /* rows that their columns cross at a time              */
       GROUP = 16,                        /* views whose rays are made ready at a time, back      */
       ACROSS = 4 };                      /* rows of voxels of a task, back                       */

/* One column of the detector in one view. Rows are planes of voxels across its main axis, a; b is the other axis across the lines. In voxels: at row r it
 * crosses b at b0 + r gb (distance: its edges, ascending), and ray k, counted so that they ascend, lies on its line at z0 + r zg + k (f0 + r fg). */
struct column {
    int o;                                /* 0: rows are along axis q, columns b along p; 1: the other way about */
    long row0, row1;                      /* rows that lie ahead of the source                    */
    double b0[2], gb[2], z0, zg, f0, fg;
    double level, slant[2];               /* mm a row: sqrt(level + (slant[0] + k slant[1])^2)     */
};

struct ray_stack {
    const kr_raykern *k;
    bool box;
    int axis[3];                          /* p, q, and w along the lines                          */
    long n[3], line, step[2];             /* voxels; floats of a mixed line; from line to line along p and q */
    long stride[3];                       /* of the volume outside                                */
    const kr_rays *rays;
    const kr_grid *grid;
    long sums, padded;                    /* floats of a column's sums, and of its rays with zeros on both sides */
    float *lines;                         /* {w,p,q}; NULL: the volume outside lies so itself     */
    struct column *column;                /* of GROUP views                                       */
    float *ready;                         /* their rays                                           */
    char *scratch; size_t each;           /* per thread                                           */
    int threads;
};

static size_t rounded(size_t n) { return (n + 63) / 64 * 64; }

/* From the source to the middle of column `u` (which may lie between two), and what a row adds along v, in mm; of parallel rays the place of that middle. */
static void middle(const kr_rays *r, long view, double u, double to[3])
{
    double point[3], direction[3], mid = (double)(r->rows - 1) / 2;
    if (r->beam == KR_DIVERGENT && r->curved) {
        kr_ray(r, view, u, mid, point, direction);
        double e[3], along = 0, vv = 0, far = 0, flat = 0;
        for (int d = 0; d < 3; d++) {
            e[d] = r->centre[view][d] - r->source[view][d];
            along += e[d] * r->v[view][d];
            vv += r->v[view][d] * r->v[view][d];
        }
        for (int d = 0; d < 3; d++) {
            double in = e[d] - along / vv * r->v[view][d], own = r->v[view][d] != 0 ? 0 : direction[d];
            far += in * in;
            flat += own * own;
        }
        for (int d = 0; d < 3; d++)
            to[d] = direction[d] * sqrt(far / flat);
        return;
    }
    for (int d = 0; d < 3; d++)
        to[d] = r->centre[view][d] + (u - (double)(r->columns - 1) / 2) * r->u[view][d] - (r->beam == KR_DIVERGENT ? r->source[view][d] : 0);
}

static void column_of(struct column *c, const int axis[3], const kr_rays *r, const kr_grid *g, bool box, long view, long u)
{
    const double *s = r->source[view];
    int p = axis[0], q = axis[1], w = axis[2];
    double to[3], a = 0, v = r->v[view][w] / g->step[w], half = (double)(r->rows - 1) / 2;
    middle(r, view, (double)u, to);
    const double *way = r->beam == KR_DIVERGENT ? to : s;
    double wp = fabs(way[p] / g->step[p]), wq = fabs(way[q] / g->step[q]);
    bool y = w == 2 ? wq >= wp : wq > wp;                             /* the main axis of the plain loop */
    *c = (struct column){ .o = y ? 0 : 1 };
    int A = y ? q : p, B = y ? p : q;
    double sa, first = v > 0 ? -half : half, step = fabs(v);
    for (int e = 0; e < 2; e++) {
        double edge[3];
        middle(r, view, (double)u + (box ? e - 0.5 : 0), edge);
        const double *d = r->beam == KR_DIVERGENT ? edge : s, *from = r->beam == KR_DIVERGENT ? s : edge;
        c->gb[e] = d[B] / g->step[B] / (d[A] / g->step[A]);
        sa = (from[A] - g->first[A]) / g->step[A];
        c->b0[e] = (from[B] - g->first[B]) / g->step[B] - sa * c->gb[e];
    }
    c->row1 = g->n[A];
    a = way[A] / g->step[A];
    double slope = way[w] / g->step[w] / a;
    const double *from = r->beam == KR_DIVERGENT ? s : to;
    sa = (from[A] - g->first[A]) / g->step[A];
    double z = (from[w] - g->first[w]) / g->step[w];
    if (r->beam == KR_DIVERGENT) {                                   /* ray k: to[w] + (first + k) v */
        double f = slope + first * v / a, more = step / a;
        c->z0 = z - sa * f;
        c->zg = f;
        c->f0 = -sa * more;
        c->fg = more;
        c->slant[0] = f * g->step[w];
        c->slant[1] = more * g->step[w];
        double sb = (s[B] - g->first[B]) / g->step[B], aside = fmax(fmax(-sb, sb - (double)(g->n[B] - 1)) - 2, 1);      /* slopes are at most 1 */
        if (a > 0)
            c->row0 = (long)fmin(fmax(0, ceil(sa + aside)), (double)g->n[A]);
        else
            c->row1 = (long)fmax(fmin((double)g->n[A], floor(sa - aside) + 1), 0);
    } else {
        c->z0 = z + first * v - sa * slope;
        c->zg = slope;
        c->f0 = step;
        c->slant[0] = slope * g->step[w];
    }
    double gb = way[B] / way[A] * g->step[A];                        /* mm across a row */
    c->level = g->step[A] * g->step[A] + gb * gb;
    double mid = (double)(c->row0 + c->row1) / 2;
    if (c->b0[0] + mid * c->gb[0] > c->b0[1] + mid * c->gb[1]) {
        double b0 = c->b0[0], gb0 = c->gb[0];
        c->b0[0] = c->b0[1];
        c->gb[0] = c->gb[1];
        c->b0[1] = b0;
        c->gb[1] = gb0;
    }
}

bool ray_stack_axes(int axis[3], const kr_rays *r)
{
    for (int w = 2; w >= 0; w--) {
        axis[0] = w == 0 ? 1 : 0;
        axis[1] = w == 2 ? 1 : 2;
        axis[2] = w;
        bool good = true;
        for (long i = 0; good && i < r->views; i++) {
            const double *u = r->u[i], *v = r->v[i];
            good = hypot(v[axis[0]], v[axis[1]]) <= 1e-12 * fabs(v[w]) && fabs(u[w]) <= 1e-12 * hypot(u[axis[0]], u[axis[1]]);
        }
        if (good)
            return true;
    }
    return false;
}

bool kr_rays_upright(const kr_rays *r)
{
    int axis[3];
    return ray_stack_axes(axis, r);
}

bool ray_stack_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    int axis[3];
    if (r->rows < 2 || (model != KR_RAY_JOSEPH && model != KR_RAY_DISTANCE) || !ray_stack_axes(axis, r) || kr_threads() > 256)
        return false;
    for (int d = 0; d < 3; d++)
        if (g->n[d] < 2)
            return false;
    for (long i = 0; i < r->views; i++) {
        double out = 0;
        for (int k = 0; k < 2; k++) {
            double s = (r->source[i][axis[k]] - g->first[axis[k]]) / g->step[axis[k]];
            out = fmax(out, fmax(-s, s - (double)(g->n[axis[k]] - 1)));
        }
        if (r->beam == KR_DIVERGENT && out < 2)
            return false;
        for (long u = 0; u < r->columns; u++) {
            struct column c;
            column_of(&c, axis, r, g, false, i, u);
            double last = c.zg + (r->beam == KR_DIVERGENT ? (double)(r->rows - 1) * c.fg : 0);      /* slopes along the lines, of the first and last ray */
            if (!(fabs(c.zg) <= 0.999) || !(fabs(last) <= 0.999))
                return false;
        }
    }
    return true;
}

void ray_stack_unref(ray_stack **pp)
{
    ray_stack *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    kr_free(p->lines);
    kr_free(p->column);
    kr_free(p->ready);
    kr_free(p->scratch);
    kr_free(p);
}

static size_t voxels_of(const ray_stack *p) { return (size_t)(p->n[0] * p->n[1] * p->n[2]); }
static size_t ready_of(const ray_stack *p) { return (size_t)(GROUP * p->rays->columns * p->padded); }

size_t ray_stack_bytes(const ray_stack *p)
{
    return sizeof *p + ((p->lines ? voxels_of(p) : 0) + ready_of(p)) * sizeof(float) + (size_t)(GROUP * p->rays->columns) * sizeof *p->column + p->each * (size_t)p->threads;
}

ray_stack *ray_stack_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    ray_stack *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (ray_stack){ .k = kr_raykern_best(), .box = model == KR_RAY_DISTANCE, .rays = r, .grid = g, .threads = kr_threads() };
    bool stand = ray_stack_axes(p->axis, r);
    kr_assert(stand);
    for (int d = 0; d < 3; d++) {
        p->n[d] = g->n[p->axis[d]];
        p->stride[d] = p->axis[d] == 0 ? 1 : p->axis[d] == 1 ? g->n[0] : g->n[0] * g->n[1];
    }
    p->line = (p->n[2] + 15) / 16 * 16;
    p->step[0] = p->n[2];
    p->step[1] = p->n[2] * p->n[0];
    bool flat = p->stride[2] == 1;        /* axes are in order, so p and q lie as lines do, too */
    p->sums = (r->rows + 15) / 16 * 16;
    p->padded = p->sums + 2 * RAY_PAD;
    size_t mixed = (size_t)(AHEAD * (p->line + 2 * RAY_PAD)) * sizeof(float);
    p->each = rounded((size_t)(CHUNK * r->columns) * ((size_t)p->sums * sizeof(float) + sizeof(struct column))) + rounded(mixed);
    p->scratch = kr_alloc(p->each, (size_t)p->threads);
    p->lines = flat ? NULL : kr_alloc(voxels_of(p), sizeof *p->lines);
    p->column = kr_alloc((size_t)(GROUP * r->columns), sizeof *p->column);
    p->ready = kr_alloc(ready_of(p), sizeof *p->ready);
    if (!p->scratch || (!p->lines && !flat) || !p->column || !p->ready)
        ray_stack_unref(&p);
    return p;
}

/* ---- Lines of voxels ---- */
struct job { ray_stack *p; float *y, *x, *to; const float *cy, *cx, *from; long first, step, group; int o; bool add; };      /* from, to: lines */

/* Plane q of the image to its lines, or back, in tiles. */
static inline void move(const struct job *j, long q, bool back)
{
    const ray_stack *p = j->p;
    enum { T = 16 };
    for (long a0 = 0; a0 < p->n[0]; a0 += T)
        for (long w = 0; w < p->n[2]; w++)
            for (long a = a0; a < a0 + T && a < p->n[0]; a++) {
                float *line = p->lines + q * p->step[1] + a * p->step[0] + w;
                long at = q * p->stride[1] + a * p->stride[0] + w * p->stride[2];
                if (back)
                    j->x[at] = (j->add ? j->x[at] : 0) + *line;
                else
                    *line = j->cx[at];
            }
}

static int load(void *self, long q)
{
    move(self, q, false);
    return 0;
}

static int store(void *self, long q)
{
    move(self, q, true);
    return 0;
}

/* Weights of the lines that a column meets at row r, `*from` the first of them; 0: none. */
enum { MOST = 64 };
static int weights(const ray_stack *p, const struct column *c, long r, long *from, float w[MOST])
{
    double x0 = c->b0[0] + (double)r * c->gb[0];
    long n = p->n[c->o];
    if (!p->box) {
        long b = (long)floor(x0);
        if (!(x0 > -1 && x0 < (double)n))
            return 0;
        double f = x0 - (double)b;
        *from = b < 0 ? 0 : b;
        if (b < 0 || b == n - 1) {
            w[0] = (float)(b < 0 ? f : 1 - f);
            return 1;
        }
        w[0] = (float)(1 - f);
        w[1] = (float)f;
        return 2;
    }
    double x1 = c->b0[1] + (double)r * c->gb[1];
    if (!(x1 > -0.5 && x0 < (double)n - 0.5))
        return 0;
    int count = 0;
    long b = (long)fmax(0, floor(x0 + 0.5));
    *from = b;
    for (; b < n && (double)b - 0.5 < x1 && count < MOST; b++)
        w[count++] = (float)(fmax(0, fmin(x1, (double)b + 0.5) - fmax(x0, (double)b - 0.5)) / (x1 - x0));
    return count;
}

/* The part of a line that the rays of a column touch at row r, in whole registers of a mixed line. */
static bool part_of(const ray_stack *p, double at, double far, long *i0, long *i1)
{
    double reach = p->box ? 0.5 * far + 0.51 : 1.01, low = at - reach, high = at + (double)(p->rays->rows - 1) * far + reach;
    if (!(high > 0 && low < (double)p->n[2]))
        return false;
    *i0 = low < 0 ? 0 : (long)low / 16 * 16;
    *i1 = high >= (double)p->n[2] ? p->line : ((long)high / 16 + 1) * 16;
    return true;
}

/* Rows of one block, as the kernels take them. */
struct rows { long count, row[AHEAD], from[AHEAD], i0[AHEAD], i1[AHEAD]; int lines[AHEAD]; float w[AHEAD][MOST]; double at[AHEAD], far[AHEAD]; float scale[AHEAD]; };

static void rows_of(struct rows *s, const ray_stack *p, const struct column *c, long row0, long row1)
{
    s->count = 0;
    for (long r = row0 > c->row0 ? row0 : c->row0; r < row1 && r < c->row1; r++) {
        long i = s->count;
        s->at[i] = c->z0 + (double)r * c->zg;
        s->far[i] = c->f0 + (double)r * c->fg;
        s->row[i] = r;
        s->scale[i] = (float)(1 / s->far[i]);
        s->count += part_of(p, s->at[i], s->far[i], &s->i0[i], &s->i1[i]) && (s->lines[i] = weights(p, c, r, &s->from[i], s->w[i])) > 0;
    }
}

/* Voxels that there are of that part. */
static long part_size(const ray_stack *p, const struct rows *s, long k) { return (s->i1[k] < p->n[2] ? s->i1[k] : p->n[2]) - s->i0[k]; }

static float length_of(const struct column *c, long k)
{
    double s = c->slant[0] + (double)k * c->slant[1];
    return (float)sqrt(c->level + s * s);
}

/* ---- Forward ---- */
static int forward(void *self, long task)
{
    struct job *j = self;
    const ray_stack *p = j->p;
    const kr_rays *r = p->rays;
    char *own = p->scratch + p->each * (size_t)kr_worker();
    long U = r->columns, pad = p->line + 2 * RAY_PAD, v0 = j->first + task * CHUNK * j->step, views = 0;
    float *sum = (float *)(void *)own;
    struct column *column = (struct column *)(void *)(sum + CHUNK * U * p->sums);
    float *mixed = (float *)(void *)(own + p->each - rounded((size_t)(AHEAD * pad) * sizeof *mixed));
    memset(sum, 0, (size_t)(CHUNK * U * p->sums) * sizeof *sum);
    memset(mixed, 0, (size_t)(AHEAD * pad) * sizeof *mixed);
    for (; views < CHUNK && v0 + views * j->step < r->views; views++)
        for (long u = 0; u < U; u++)
            column_of(&column[views * U + u], p->axis, r, p->grid, p->box, v0 + views * j->step, u);
    struct rows s;
    for (int o = 0; o < 2; o++)                                      /* rows of orientation 0 are planes of q */
        for (long row = 0; row < p->n[1 - o]; row += AHEAD)
            for (long i = 0; i < views * U; i++) {
                if (column[i].o != o)
                    continue;
                rows_of(&s, p, &column[i], row, row + AHEAD < p->n[1 - o] ? row + AHEAD : p->n[1 - o]);
                for (long k = 0; k < s.count; k++)
                    p->k->mix(mixed + k * pad + RAY_PAD + s.i0[k], j->from + s.row[k] * p->step[1 - o] + s.from[k] * p->step[o] + s.i0[k], p->step[o], s.w[k], s.lines[k],
                              part_size(p, &s, k));
                if (s.count)
                    p->k->column(sum + i * p->sums, &(ray_column){ mixed + RAY_PAD, pad, p->n[2], r->rows, s.count, s.at, s.far, s.scale, s.i0, s.i1, p->box });
            }
    for (long i = 0; i < views; i++) {
        long view = v0 + i * j->step, at = task * CHUNK + i;
        bool turned = r->v[view][p->axis[2]] / p->grid->step[p->axis[2]] < 0;
        for (long u = 0; u < U; u++)
            for (long k = 0; k < r->rows; k++)
                sum[(i * U + u) * p->sums + k] *= length_of(&column[i * U + u], k);
        for (long u0 = 0; u0 < U; u0 += 16)
            for (long k = 0; k < r->rows; k++)
                for (long u = u0; u < u0 + 16 && u < U; u++)
                    j->y[(at * r->rows + (turned ? r->rows - 1 - k : k)) * U + u] = sum[(i * U + u) * p->sums + k];
    }
    return 0;
}

void ray_stack_project(ray_stack *p, float *y, const float *x, long first, long step)
{
    struct job j = { .p = p, .y = y, .cx = x, .from = p->lines ? p->lines : x, .first = first, .step = step };
    long views = (p->rays->views - first + step - 1) / step;
    int e = p->lines ? kr_for(p->n[1], load, &j) : 0;
    e = e ? e : kr_for((views + CHUNK - 1) / CHUNK, forward, &j);
    kr_assert(!e);
}

/* ---- Back ---- */
static int ready(void *self, long i)                                 /* rays of view i of a group times their lengths, with zeros on both sides */
{
    const struct job *j = self;
    const ray_stack *p = j->p;
    const kr_rays *r = p->rays;
    long U = r->columns, view = j->group + i * j->step;
    if (view >= r->views)
        return 0;
    bool turned = r->v[view][p->axis[2]] / p->grid->step[p->axis[2]] < 0;
    float *to = p->ready + i * U * p->padded;
    struct column *c = p->column + i * U;
    memset(to, 0, (size_t)(U * p->padded) * sizeof *to);
    for (long u = 0; u < U; u++)
        column_of(&c[u], p->axis, r, p->grid, p->box, view, u);
    for (long u0 = 0; u0 < U; u0 += 16)
        for (long k = 0; k < r->rows; k++)
            for (long u = u0; u < u0 + 16 && u < U; u++)
                to[u * p->padded + RAY_PAD + k] = j->cy[((view - j->first) / j->step * r->rows + (turned ? r->rows - 1 - k : k)) * U + u];
    for (long u = 0; u < U; u++)
        for (long k = 0; k < r->rows; k++)
            to[u * p->padded + RAY_PAD + k] *= length_of(&c[u], k);
    return 0;
}

static int back(void *self, long task)
{
    const struct job *j = self;
    const ray_stack *p = j->p;
    long U = p->rays->columns, row = task * ACROSS, end = row + ACROSS < p->n[1 - j->o] ? row + ACROSS : p->n[1 - j->o];
    float *mixed = (float *)(void *)(p->scratch + p->each * (size_t)kr_worker());
    struct rows s;
    for (long i = 0; i < GROUP && j->group + i * j->step < p->rays->views; i++)
        for (long u = 0; u < U; u++) {
            const struct column *c = &p->column[i * U + u];
            if (c->o != j->o)
                continue;
            rows_of(&s, p, c, row, end);
            if (!s.count)
                continue;
            p->k->column_back(mixed, &(ray_column){ p->ready + (i * U + u) * p->padded + RAY_PAD, p->line, p->n[2], p->rays->rows, s.count, s.at, s.far, s.scale,
                                                    s.i0, s.i1, p->box });
            for (long k = 0; k < s.count; k++)
                p->k->spread(j->to + s.row[k] * p->step[1 - j->o] + s.from[k] * p->step[j->o] + s.i0[k], mixed + k * p->line + s.i0[k], p->step[j->o], s.w[k], s.lines[k],
                             part_size(p, &s, k));
        }
    return 0;
}

void ray_stack_back(ray_stack *p, float *x, const float *y, long first, long step, bool add)
{
    struct job j = { .p = p, .x = x, .to = p->lines ? p->lines : x, .cy = y, .first = first, .step = step, .add = add };
    int e = 0;
    if (p->lines || !add)
        memset(j.to, 0, voxels_of(p) * sizeof *j.to);
    for (j.group = first; j.group < p->rays->views && !e; j.group += GROUP * step) {
        e = kr_for(GROUP, ready, &j);
        for (j.o = 0; j.o < 2 && !e; j.o++)                          /* both write to the same lines, one after the other */
            e = kr_for((p->n[1 - j.o] + ACROSS - 1) / ACROSS, back, &j);
    }
    e = e || !p->lines ? e : kr_for(p->n[1], store, &j);
    kr_assert(!e);
}
