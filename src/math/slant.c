/* slant.c: the projector of volumes for detectors that stand in any direction (tilted, or turned about the beam), for joseph: rays of neighbouring columns cross the planes of
 * their main axis side by side; of those along x in a copy of the volume with y fastest. The transpose works on planes of one main axis after the other, so that no two tasks write to the same voxel. No weight is stored. */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { LANES = 16,                        /* at most, in a register                               */
       ROWS = 8 };                        /* of voxels that a register of rays may spread over    */

struct ray_slants {
    const kr_raykern *k;
    const kr_rays *rays;
    const kr_grid *grid;
    double *points;                       /* per thread: of the columns of one view, in voxels    */
    float *turned;                        /* {Y,X,Z}                                              */
    int threads;
};

bool ray_slants_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    return model == KR_RAY_JOSEPH && g->n[0] > 1 && g->n[1] > 1 && g->n[2] > 1 && (double)g->n[0] * (double)g->n[1] * (double)g->n[2] < 2147483648.0 && r->columns >= 4;
}

void ray_slants_unref(ray_slants **pp)
{
    if (*pp) {
        kr_free((*pp)->points);
        kr_free((*pp)->turned);
    }
    kr_free(*pp);
    *pp = NULL;
}

static size_t voxels_of(const ray_slants *p) { return (size_t)(p->grid->n[0] * p->grid->n[1] * p->grid->n[2]); }

size_t ray_slants_bytes(const ray_slants *p) { return sizeof *p + (size_t)(p->rays->columns * 3 * p->threads) * sizeof *p->points + voxels_of(p) * sizeof *p->turned; }

ray_slants *ray_slants_new(const kr_rays *r, const kr_grid *g)
{
    ray_slants *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (ray_slants){ .k = kr_raykern_best(), .rays = r, .grid = g, .threads = kr_threads() };
    p->points = kr_alloc((size_t)(r->columns * 3 * p->threads), sizeof *p->points);
    p->turned = kr_alloc(voxels_of(p), sizeof *p->turned);
    if (!p->points || !p->turned)
        ray_slants_unref(&p);
    return p;
}

/* One view, in voxels: rays start at the source (parallel: run along `way`), the points of the columns in row 0 and what a row adds. */
struct view { double source[3], way[3], up[3]; double (*at)[3]; };

static void view_of(struct view *v, const ray_slants *p, long view)
{
    const kr_rays *r = p->rays;
    const kr_grid *g = p->grid;
    double direction[3];
    v->at = (double (*)[3])(p->points + 3 * r->columns * kr_worker());
    for (int d = 0; d < 3; d++) {
        v->source[d] = (r->source[view][d] - g->first[d]) / g->step[d];
        v->way[d] = r->source[view][d] / g->step[d];
        v->up[d] = r->v[view][d] / g->step[d];
    }
    for (long u = 0; u < r->columns; u++) {
        kr_ray(r, view, (double)u, 0, v->at[u], direction);
        for (int d = 0; d < 3; d++)
            v->at[u][d] = (v->at[u][d] - g->first[d]) / g->step[d];
    }
}

/* `lanes` rays of a row, those of main axis `axis` and of one direction along it (way 1, -1) made ready; false: there are none. */
struct group { ray_slant s; float d[4][LANES], length[LANES]; long from, to, narrow[2]; };      /* planes, and those of them where the rays lie close to each other */

static bool group_of(struct group *o, const ray_slants *p, const struct view *v, long row, long u0, int axis, int way)
{
    const kr_grid *g = p->grid;
    bool divergent = p->rays->beam == KR_DIVERGENT;
    int a = axis, b = axis == 0 ? 1 : 0, c = axis == 2 ? 1 : 2, lanes = p->k->lanes, first = -1;
    long plane = g->n[0] * g->n[1], step[3][3] = { { g->n[1], 1, plane }, { g->n[0], 1, plane }, { plane, 1, g->n[0] } };
    double line[LANES][4], from = INFINITY, to = -INFINITY;
    bool in[LANES];
    for (int l = 0; l < lanes; l++) {
        long u = u0 + l;
        double at[3], d[3];
        in[l] = u < p->rays->columns;
        o->length[l] = 0;
        if (!in[l])
            continue;
        for (int k = 0; k < 3; k++) {
            at[k] = v->at[u][k] + (double)row * v->up[k];
            d[k] = divergent ? at[k] - v->source[k] : v->way[k];
        }
        int main = fabs(d[1]) >= fabs(d[0]) ? 1 : 0;                 /* the main axis of the plain loop */
        main = fabs(d[2]) > fabs(d[main]) ? 2 : main;
        in[l] = main == a && (d[a] > 0) == (way > 0);
        if (!in[l])
            continue;
        double *q = line[l], low = 0, high = (double)(g->n[a] - 1), mm = 0;
        q[1] = d[b] / d[a];
        q[3] = d[c] / d[a];
        q[0] = at[b] - at[a] * q[1];
        q[2] = at[c] - at[a] * q[3];
        for (int k = 0; k < 3; k++)
            mm += g->step[k] * d[k] / d[a] * (g->step[k] * d[k] / d[a]);
        o->length[l] = (float)sqrt(mm);
        if (divergent && way > 0)                                    /* ahead of the source */
            low = fmax(low, v->source[a]);
        else if (divergent)
            high = fmin(high, v->source[a]);
        for (int k = 0; k < 2; k++) {                                /* where it is within the volume */
            double x = q[2 * k], slope = q[2 * k + 1], n = (double)g->n[k ? c : b];
            if (fabs(slope) < 1e-9) {
                if (x < -1.01 || x > n + 0.01)
                    low = high + 1;
                continue;
            }
            double one = (-1.01 - x) / slope, two = (n + 0.01 - x) / slope;
            low = fmax(low, fmin(one, two));
            high = fmin(high, fmax(one, two));
        }
        if (!(low <= high)) {
            in[l] = false;
            continue;
        }
        from = fmin(from, low);
        to = fmax(to, high);
        first = first < 0 ? l : first;
    }
    if (first < 0 || ceil(from) > floor(to))
        return false;
    for (int l = 0; l < lanes; l++) {
        if (!in[l])
            o->length[l] = 0;
        for (int k = 0; k < 4; k++)
            o->d[k][l] = in[l] ? (float)(line[l][k] - line[first][k]) : 0;
    }
    o->s = (ray_slant){ .n = { g->n[b], g->n[c] }, .step = { step[a][0], step[a][1], step[a][2] }, .from = (long)ceil(from), .to = (long)floor(to) + 1, .x0 = line[first][0], .gx = line[first][1],
                        .z0 = line[first][2], .gz = line[first][3], .dx = o->d[0], .dgx = o->d[1], .dz = o->d[2], .dgz = o->d[3] };
    double ends[2] = { (double)o->s.from, (double)(o->s.to - 1) }, low[2][2], wide[2][2];      /* the least of straight lines lies above the chord between its ends */
    for (int k = 0; k < 2; k++)
        for (int e = 0; e < 2; e++) {
            double least = INFINITY, most = -INFINITY;
            for (int l = 0; l < lanes; l++)
                if (in[l]) {
                    double x = line[l][2 * k] + ends[e] * line[l][2 * k + 1];
                    least = fmin(least, x);
                    most = fmax(most, x);
                }
            low[k][e] = least - 1e-3;                                /* more than places err by */
            wide[k][e] = most - least + 2e-3;
        }
    for (int k = 0; k < 2; k++) {
        double slope = ends[1] > ends[0] ? (low[k][1] - low[k][0]) / (ends[1] - ends[0]) : 0;
        o->s.low[2 * k] = low[k][0] - ends[0] * slope;
        o->s.low[2 * k + 1] = slope;
    }
    long rows = (long)floor(fmax(wide[1][0], wide[1][1])) + 3;
    double room = 2 * lanes - 4, part = (room - wide[0][0]) / (wide[0][1] - wide[0][0]) * (ends[1] - ends[0]);      /* the most of straight lines lies below the chord */
    o->from = o->s.from;
    o->to = o->s.to;
    o->narrow[0] = wide[0][0] <= room ? o->from : wide[0][1] <= room ? o->from + (long)ceil(part) : o->to;
    o->narrow[1] = wide[0][1] <= room || wide[0][0] > room ? o->to : o->from + (long)floor(part) + 1;
    if (rows > ROWS || g->n[b] < 2 * lanes)
        o->narrow[0] = o->narrow[1] = o->to;
    o->s.rows = rows;
    return true;
}

/* The planes of a group, `part` 0 to 2: before those where the rays lie close to each other, these, and behind them; false: there are none. */
static bool part_of(ray_slant *s, const struct group *o, int part)
{
    *s = o->s;
    s->from = part == 0 ? o->from : o->narrow[part - 1];
    s->to = part == 2 ? o->to : o->narrow[part];
    s->rows = part == 1 ? o->s.rows : 0;
    return s->from < s->to;
}

/* Bits 2 axis, 2 axis + 1: rays of the view along it, upwards and downwards. */
static unsigned ways_of(const ray_slants *p, const struct view *v)
{
    unsigned ways = 0;
    double most[3] = { 0 }, least[3] = { INFINITY, INFINITY, INFINITY }, low[3], high[3];
    for (int k = 0; k < 3; k++) {
        low[k] = INFINITY;
        high[k] = -INFINITY;
        for (long u = 0; u < p->rays->columns; u++)
            for (int e = 0; e < 2; e++) {
                double d = p->rays->beam == KR_DIVERGENT ? v->at[u][k] + (e ? (double)(p->rays->rows - 1) * v->up[k] : 0) - v->source[k] : v->way[k];
                low[k] = fmin(low[k], d);
                high[k] = fmax(high[k], d);
            }
        most[k] = fmax(fabs(low[k]), fabs(high[k]));
        least[k] = low[k] <= 0 && high[k] >= 0 ? 0 : fmin(fabs(low[k]), fabs(high[k]));
    }
    for (int k = 0; k < 3; k++)
        if (most[k] >= least[(k + 1) % 3] && most[k] >= least[(k + 2) % 3])
            ways |= (high[k] > 0 ? 1U << 2 * k : 0) | (low[k] < 0 ? 2U << 2 * k : 0);
    return ways;
}

struct job { ray_slants *p; float *y, *x; const float *cy, *cx; long first, step, slabs; int axis; };

/* A plane of the volume to the one with y fastest, and back, added. */
static int turn(void *self, long z)
{
    const struct job *j = self;
    const long *n = j->p->grid->n;
    enum { T = 16 };
    float *to = j->p->turned + z * n[0] * n[1];
    for (long x0 = 0; x0 < n[0]; x0 += T)
        for (long y = 0; y < n[1]; y++)
            for (long x = x0; x < x0 + T && x < n[0]; x++) {
                if (j->x)
                    j->x[(z * n[1] + y) * n[0] + x] += to[x * n[1] + y];
                else
                    to[x * n[1] + y] = j->cx[(z * n[1] + y) * n[0] + x];
            }
    return 0;
}

static int forward(void *self, long i)
{
    const struct job *j = self;
    const ray_slants *p = j->p;
    const kr_rays *r = p->rays;
    long U = r->columns;
    float *y = j->y + i * r->rows * U, sum[LANES];
    struct view v;
    view_of(&v, p, j->first + i * j->step);
    unsigned ways = ways_of(p, &v);
    memset(y, 0, (size_t)(r->rows * U) * sizeof *y);
    struct group o;
    ray_slant s;
    for (int axis = 0; axis < 3; axis++)
        for (int way = 0; way < 2; way++)
            for (long row = 0; row < r->rows && ways >> (2 * axis + way) & 1; row++)
                for (long u = 0; u < U; u += p->k->lanes) {
                    if (!group_of(&o, p, &v, row, u, axis, way ? -1 : 1))
                        continue;
                    o.s.volume = axis ? j->cx : p->turned;
                    memset(sum, 0, sizeof sum);
                    for (int part = 0; part < 3; part++)
                        if (part_of(&s, &o, part))
                            p->k->slant(sum, &s);
                    for (long l = 0; l < p->k->lanes && u + l < U; l++)
                        y[row * U + u + l] += o.length[l] > 0 ? o.length[l] * sum[l] : 0;
                }
    return 0;
}

void ray_slants_project(ray_slants *p, float *y, const float *x, long first, long step)
{
    struct job j = { .p = p, .y = y, .cx = x, .first = first, .step = step };
    int e = kr_for(p->grid->n[2], turn, &j);
    e = e ? e : kr_for((p->rays->views - first + step - 1) / step, forward, &j);
    kr_assert(!e);
}

static int back(void *self, long slab)
{
    const struct job *j = self;
    const ray_slants *p = j->p;
    const kr_rays *r = p->rays;
    long U = r->columns, n = p->grid->n[j->axis], from = slab * n / j->slabs, to = (slab + 1) * n / j->slabs;
    float y[LANES];
    struct group o;
    struct view v;
    for (long view = j->first; view < r->views; view += j->step) {
        const float *at = j->cy + (view - j->first) / j->step * r->rows * U;
        view_of(&v, p, view);
        unsigned ways = ways_of(p, &v);
        for (int way = 0; way < 2; way++)
            for (long row = 0; row < r->rows && ways >> (2 * j->axis + way) & 1; row++)
                for (long u = 0; u < U; u += p->k->lanes) {
                    if (!group_of(&o, p, &v, row, u, j->axis, way ? -1 : 1))
                        continue;
                    o.s.from = o.from > from ? o.from : from;
                    o.s.to = o.to < to ? o.to : to;
                    if (o.s.from >= o.s.to)
                        continue;
                    for (long l = 0; l < p->k->lanes; l++)
                        y[l] = o.length[l] > 0 ? o.length[l] * at[row * U + u + l] : 0;
                    p->k->slant_back(j->axis ? j->x : p->turned, y, &o.s);
                }
    }
    return 0;
}

void ray_slants_back(ray_slants *p, float *x, const float *y, long first, long step, bool add)
{
    struct job j = { .p = p, .x = x, .cy = y, .first = first, .step = step, .slabs = p->threads > 1 ? 4 * p->threads : 1 };
    int e = 0;
    if (!add)
        memset(x, 0, voxels_of(p) * sizeof *x);
    memset(p->turned, 0, voxels_of(p) * sizeof *x);
    for (j.axis = 0; j.axis < 3 && !e; j.axis++)
        e = kr_for(j.slabs, back, &j);
    e = e ? e : kr_for(p->grid->n[2], turn, &j);
    kr_assert(!e);
}
