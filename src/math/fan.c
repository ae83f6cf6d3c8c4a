/* fan.c: projectors of one slice, parallel and fan, flat and curved detectors, for joseph and distance. Rays that run across rows go through the
 * image, rays that run along them through its transpose. No weight is stored: a view's rays are made anew each time. */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 16,                        /* rows that a group of rays crosses at a time */
       CHUNK = 4 };                       /* views of a task                              */

/* A run of rays of one view that all cross rows (o 0: along y, rows are y; 1: rows are x), in index units of that orientation. */
struct run {
    long view, from, count;               /* its rays */
    int o;
    bool turned;                          /* columns fall from ray to ray */
    double xs, rs;                        /* source                                               */
    double ex, er, ux, ur;                /* direction to the middle, and from column to column (curved: the direction at a right angle) */
    double X0, b, G, L;                   /* parallel: column 0 at row 0, step, slope, mm a row  */
    long row0, row1;                      /* rows that lie ahead of the source                    */
    size_t at;                            /* its zero-padded rays in `rays`                       */
};
struct side { long rows, n, pad, wide; float *image, *sum; };      /* image: rows of RAY_PAD + n + RAY_PAD; sum: rows of `wide` */
struct ray_plane {
    const kr_raykern *k;
    enum kr_beam beam;
    bool box, curved;
    long views, columns, runs, margin, *first;      /* first run of each view */
    double mid, arc, step[2];
    double *c, *s;                        /* curved: cosine and sine of each column               */
    struct run *run;
    struct side side[2];
    size_t rays_size;
    float *rays;                          /* padded rays of all runs                              */
    char *scratch; size_t each;           /* per thread                                           */
    int threads;
};

static void view_in(struct run *t, const ray_plane *p, const kr_rays *r, const kr_grid *g, long view, int o)
{
    int col = o, row = 1 - o;
    double at[3], d[3];
    *t = (struct run){ .view = view, .o = o };
    if (p->beam == KR_PARALLEL) {
        const double *dir = r->source[view], *u = r->u[view];
        double dx = dir[col] / g->step[col], dr = dir[row] / g->step[row];
        kr_ray(r, view, 0, 0, at, d);
        t->G = dx / dr;
        t->b = u[col] / g->step[col] - t->G * u[row] / g->step[row];
        t->X0 = (at[col] - g->first[col]) / g->step[col] - t->G * (at[row] - g->first[row]) / g->step[row];
        t->L = fabs(g->step[row]) * hypot(1, t->G * g->step[col] / g->step[row]);
        return;
    }
    double e[2], u[2];
    for (int i = 0; i < 2; i++) {
        e[i] = r->centre[view][i] - r->source[view][i];
        u[i] = r->u[view][i];
    }
    if (p->curved) {                                                  /* a unit circle's two directions, of equal length */
        double eu = (e[0] * u[0] + e[1] * u[1]) / (e[0] * e[0] + e[1] * e[1]);
        for (int i = 0; i < 2; i++)
            u[i] -= eu * e[i];
        double f = hypot(e[0], e[1]) / hypot(u[0], u[1]);
        u[0] *= f;
        u[1] *= f;
    }
    t->xs = (r->source[view][col] - g->first[col]) / g->step[col];
    t->rs = (r->source[view][row] - g->first[row]) / g->step[row];
    t->ex = e[col] / g->step[col];
    t->er = e[row] / g->step[row];
    t->ux = u[col] / g->step[col];
    t->ur = u[row] / g->step[row];
}

/* Direction of ray k, which may lie between two. */
static void direction(const ray_plane *p, const struct run *t, double k, double *dx, double *dr)
{
    double c = 1, s = k - p->mid;
    if (p->curved) {
        c = cos(s * p->arc);
        s = sin(s * p->arc);
    }
    *dx = c * t->ex + s * t->ux;
    *dr = c * t->er + s * t->ur;
}

static bool across(const ray_plane *p, const kr_rays *r, const kr_grid *g, long view, long k)     /* whether ray k crosses rows of y */
{
    struct run t;
    if (p->beam == KR_PARALLEL) {
        const double *d = r->source[view];
        return fabs(d[1] / g->step[1]) >= fabs(d[0] / g->step[0]);
    }
    double dx, dr;
    view_in(&t, p, r, g, view, 0);
    direction(p, &t, (double)k, &dx, &dr);
    return fabs(dr) >= fabs(dx);
}

bool ray_plane_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    if (g->n[2] != 1 || r->rows != 1 || (model != KR_RAY_JOSEPH && model != KR_RAY_DISTANCE) || kr_threads() > 256)
        return false;
    double thick = fabs(g->step[2]) / 2 * (1 + 1e-9);
    for (long i = 0; i < r->views; i++) {
        double far = r->beam == KR_PARALLEL ? 0 : fmax(fabs(r->centre[i][0] - r->source[i][0]), fabs(r->centre[i][1] - r->source[i][1]));
        double tilt = r->beam == KR_PARALLEL ? r->source[i][2] : (r->centre[i][2] - r->source[i][2]) / far;
        if (fabs(tilt) > 1e-12 || fabs(r->u[i][2]) > 1e-12 * hypot(r->u[i][0], r->u[i][1]) || fabs(r->centre[i][2] - g->first[2]) > thick)
            return false;
        if (r->beam == KR_DIVERGENT) {                               /* a source outside of the image by some rows, and rays of less than half a turn */
            double out = 0;
            for (int d = 0; d < 2; d++) {
                double s = (r->source[i][d] - g->first[d]) / g->step[d];
                out = fmax(out, fmax(-s, s - (double)(g->n[d] - 1)));
            }
            double p[3], a[3], q[3], b[3];
            kr_ray(r, i, 0, 0, p, a);
            kr_ray(r, i, (double)(r->columns - 1), 0, q, b);
            if (out < 2 || a[0] * b[0] + a[1] * b[1] < -0.5)
                return false;
        }
    }
    return true;
}

/* The runs of one view; fine: the least distance of neighbouring rays in the image, in pixels. */
static long split(ray_plane *p, const kr_rays *r, const kr_grid *g, long view, struct run *out, double *fine)
{
    long runs = 0, K = p->columns;
    for (long k = 0; k < K; ) {
        bool own = across(p, r, g, view, k);
        long end = k + 1;
        if (p->beam == KR_PARALLEL)
            end = K;
        else
            while (end < K && across(p, r, g, view, end) == own)
                end++;
        struct run t;
        view_in(&t, p, r, g, view, own ? 0 : 1);
        t.from = k;
        t.count = end - k;
        const struct side *s = &p->side[t.o];
        t.row0 = 0;
        t.row1 = s->rows;
        double dx, dr, b = fabs(t.b);
        t.turned = t.b < 0;
        if (p->beam == KR_DIVERGENT) {
            direction(p, &t, (double)k, &dx, &dr);
            double steep = 1, a, c;                                  /* no column is reached before; edges of wide elements may be steeper than their rays */
            for (int i = 0; i < 2 && p->box; i++) {
                direction(p, &t, (double)(i ? end : k) - 0.5, &a, &c);
                steep = fmax(steep, fabs(a / c));
            }
            double aside = fmax(fmax(-t.xs, t.xs - (double)(s->n - 1)) / steep - 2, 1);
            if (dr > 0)
                t.row0 = (long)fmax(0, ceil(t.rs + aside));
            else
                t.row1 = (long)fmin((double)s->rows, floor(t.rs - aside) + 1);
            double near = dr > 0 ? (double)t.row0 - t.rs : t.rs - (double)(t.row1 - 1), d2x, d2r;
            direction(p, &t, (double)k + (k ? -1 : 1), &d2x, &d2r);
            b = fabs(d2x / d2r - dx / dr) * near * 0.7;
            direction(p, &t, (double)k - 0.5, &dx, &dr);
            direction(p, &t, (double)k + 0.5, &d2x, &d2r);
            t.turned = (d2x / d2r - dx / dr) * ((double)t.row0 >= t.rs ? 1 : -1) < 0;
        }
        if (t.row1 > t.row0) {
            *fine = fmin(*fine, b);
            if (out)
                out[runs] = t;
            runs++;
        }
        k = end;
    }
    return runs;
}

void ray_plane_unref(ray_plane **pp)
{
    ray_plane *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    for (int o = 0; o < 2; o++) {
        kr_free(p->side[o].image);
        kr_free(p->side[o].sum);
    }
    kr_free(p->c);
    kr_free(p->run);
    kr_free(p->first);
    kr_free(p->rays);
    kr_free(p->scratch);
    kr_free(p);
}

size_t ray_plane_bytes(const ray_plane *p)
{
    size_t n = sizeof *p + (size_t)p->runs * sizeof *p->run + (p->rays ? p->rays_size * 4 : 0) + p->each * (size_t)p->threads;
    for (int o = 0; o < 2; o++)
        n += 4 * (size_t)(p->side[o].rows * (p->side[o].n + 2 * RAY_PAD + p->side[o].wide));
    return n;
}

static size_t rounded(size_t n) { return (n + 63) / 64 * 64; }

ray_plane *ray_plane_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    ray_plane *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (ray_plane){ .k = kr_raykern_best(), .beam = r->beam, .box = model == KR_RAY_DISTANCE, .curved = r->curved, .views = r->views,
                      .columns = r->columns, .mid = (double)(r->columns - 1) / 2, .step = { g->step[0], g->step[1] }, .threads = kr_threads() };
    if (p->curved) {
        double e[2] = { r->centre[0][0] - r->source[0][0], r->centre[0][1] - r->source[0][1] };
        p->arc = hypot(r->u[0][0], r->u[0][1]) / hypot(e[0], e[1]);
        p->c = kr_alloc(2 * (size_t)p->columns, sizeof *p->c);
        if (!p->c) {
            ray_plane_unref(&p);
            return NULL;
        }
        p->s = p->c + p->columns;
        for (long k = 0; k < p->columns; k++) {
            p->c[k] = cos(((double)k - p->mid) * p->arc);
            p->s[k] = sin(((double)k - p->mid) * p->arc);
        }
    }
    for (int o = 0; o < 2; o++) {
        struct side *s = &p->side[o];
        s->rows = g->n[1 - o];
        s->n = g->n[o];
        s->pad = s->n + 2 * RAY_PAD;
        s->wide = (s->n + 15) / 16 * 16;
    }
    double fine = INFINITY;
    for (long i = 0; i < r->views; i++)
        p->runs += split(p, r, g, i, NULL, &fine);
    if (!(((double)p->k->lanes / 2 + 1 + 1.5) / fine < RAY_WIDE / 2 - 4)) {
        kr_fail(KR_EREFUSED, "the detector is %g times finer than the pixels", 1 / fine);
        ray_plane_unref(&p);
        return NULL;
    }
    p->margin = p->beam == KR_PARALLEL && p->k->lanes > 4 && ((double)p->k->lanes / 2 + 1) / fine + 4.1 < 1.5 * p->k->lanes ? 3 * p->k->lanes + 16 : RAY_WIDE + 16;
    p->run = kr_alloc((size_t)p->runs + 1, sizeof *p->run);
    p->first = kr_alloc((size_t)p->views, sizeof *p->first);
    for (long i = 0, n = 0; p->run && p->first && i < r->views; i++) {
        p->first[i] = n;
        n += split(p, r, g, i, p->run + n, &fine);
    }
    for (long i = 0; p->run && i < p->runs; i++) {
        p->run[i].at = p->rays_size;
        p->rays_size += (size_t)(p->run[i].count + 2 * p->margin);
    }
    /* of a task of CHUNK views: x, slope and length of each ray or of its edges, and the sums */
    p->each = rounded(CHUNK * ((size_t)p->columns + 64) * (2 * sizeof(double) + sizeof(float))) + rounded((size_t)(g->n[0] + g->n[1]) * 2 * sizeof(float));
    p->scratch = kr_alloc(p->each, (size_t)p->threads);
    p->rays = kr_alloc(p->rays_size + 1, sizeof *p->rays);
    for (int o = 0; o < 2; o++) {
        struct side *s = &p->side[o];
        s->image = kr_alloc_zero((size_t)(s->rows * s->pad), sizeof(float));
        s->sum = kr_alloc_zero((size_t)((s->rows + RAY_ROWS) * s->wide), sizeof(float));
    }
    if (!p->run || !p->first || !p->scratch || !p->rays || !p->side[0].image || !p->side[1].image || !p->side[0].sum || !p->side[1].sum)
        ray_plane_unref(&p);
    return p;
}

/* ---- Forward ---- */
struct job { ray_plane *p; float *y, *x; const float *cy, *cx; long first, step; bool add; };

/* Rays of a run, or (distance) their edges, in ascending order: x at row 0 and slope. */
static void rays_of(const ray_plane *p, const struct run *t, double *x, double *g)
{
    double half = p->box ? t->turned ? 0.5 : -0.5 : 0;
    for (long i = 0; i < t->count + p->box; i++) {
        long n = t->from + (t->turned ? t->count - 1 - i : i);
        double k = (double)n + half, dx, dr;
        if (p->beam == KR_PARALLEL) {
            x[i] = t->X0 + k * t->b;
            g[i] = t->G;
            continue;
        }
        if (p->curved && !p->box) {
            dx = p->c[n] * t->ex + p->s[n] * t->ux;
            dr = p->c[n] * t->er + p->s[n] * t->ur;
        } else
            direction(p, t, k, &dx, &dr);
        g[i] = dx / dr;
        x[i] = t->xs - t->rs * g[i];
    }
}

/* What the sum over rows of ray n counts: mm a row, of distance over its width. */
static float length_of(const ray_plane *p, const struct run *t, long n)
{
    if (p->beam == KR_PARALLEL)
        return (float)(p->box ? t->L / fabs(t->b) : t->L);
    double dx, dr, a, ar, b, br, sc = p->step[t->o], sr = p->step[1 - t->o];
    if (p->curved) {
        dx = p->c[n] * t->ex + p->s[n] * t->ux;
        dr = p->c[n] * t->er + p->s[n] * t->ur;
    } else
        direction(p, t, (double)n, &dx, &dr);
    double l = sqrt(sr * sr + dx * dx * sc * sc / (dr * dr));
    if (!p->box)
        return (float)l;
    direction(p, t, (double)n - 0.5, &a, &ar);
    direction(p, t, (double)n + 0.5, &b, &br);
    return (float)(l / fabs(b / br - a / ar));
}

static void scales(const ray_plane *p, const struct run *t, float *scale)     /* distance: weight of each row */
{
    for (long r = 0; r < p->side[t->o].rows; r++)
        scale[r] = p->beam == KR_PARALLEL ? 1 : r >= t->row0 && r < t->row1 ? (float)(1 / fabs((double)r - t->rs)) : 0;
}

/* A group of rays through some rows. */
static void cross(const ray_plane *p, const struct run *t, const double *x, const double *g, long i, long row, long rows, const float *scale, float *sum)
{
    enum { MOST = 16 };
    __attribute__((aligned(64))) float xf[MOST], gf[MOST], xr[MOST], gr[MOST];
    int lanes = p->k->lanes;
    long last = i + lanes - 1 < t->count ? i + lanes - 1 : t->count - 1, end = p->box ? last + 1 : last;
    const struct side *s = &p->side[t->o];
    double a = x[i] + (double)row * g[i], b = x[end] + (double)row * g[end], stop = (double)(rows - 1), low = fmin(a, a + stop * g[i]), high = fmax(b, b + stop * g[end]);
    if (high < -1 || low > (double)s->n)
        return;
    double spread = fmax(b - a, b - a + stop * (g[end] - g[i])), base = floor(a);
    for (int l = 0; l < lanes; l++) {
        long n = i + l < t->count ? i + l : t->count - 1;
        xf[l] = (float)(x[n] + (double)row * g[n] - base);
        gf[l] = (float)g[n];
        if (p->box) {
            xr[l] = (float)(x[n + 1] + (double)row * g[n + 1] - base);
            gr[l] = (float)g[n + 1];
        }
    }
    double width = p->box ? spread / (double)(last - i + 1) * 1.3 : 0;           /* neighbours are alike */
    if (p->box)
        for (long n = i; n <= last; n++)
            width = fmax(width, fmax(x[n + 1] - x[n] + (double)row * (g[n + 1] - g[n]), x[n + 1] - x[n] + ((double)row + stop) * (g[n + 1] - g[n])));
    int taps = p->box ? (int)floor(width + 1e-3) + 2 : 2;
    ray_group q = { .image = s->image + row * s->pad + RAY_PAD, .stride = s->pad, .n = s->n, .column = (long)base, .rows = rows, .x = xf, .g = gf,
                    .xr = xr, .gr = gr, .scale = scale ? scale + row : NULL, .taps = taps, .wide = spread + taps + 1 > 2 * lanes - 1 };
    (p->box ? p->k->project_box : p->k->project)(sum, &q);
}

static int forward(void *self, long task)
{
    struct job *j = self;
    ray_plane *p = j->p;
    char *own = p->scratch + p->each * (size_t)kr_worker();
    long room = p->columns + 64;
    double *x = (double *)(void *)own, *g = x + CHUNK * room;
    float *sum = (float *)(void *)(g + CHUNK * room), *scale = sum + CHUNK * room;
    long v0 = j->first + task * CHUNK * j->step, end = v0 + CHUNK * j->step;
    for (int o = 0; o < 2; o++)                                      /* runs of one orientation share the rows */
        for (long row = 0; row < p->side[o].rows; row += BLOCK) {
            long at = 0, rows = p->side[o].rows - row < BLOCK ? p->side[o].rows - row : BLOCK;
            for (long i = p->first[v0]; i < p->runs; i++) {
                const struct run *t = &p->run[i];
                if (t->view >= end)
                    break;
                if (t->view < v0 || t->o != o || (t->view - j->first) % j->step)
                    continue;
                double *tx = x + at, *tg = g + at;
                float *ts = sum + at;
                at += t->count + 16;
                if (!row) {
                    rays_of(p, t, tx, tg);
                    memset(ts, 0, (size_t)(t->count + 16) * sizeof *ts);
                }
                if (p->box)
                    scales(p, t, scale);
                long from = row > t->row0 ? row : t->row0, to = row + rows < t->row1 ? row + rows : t->row1;
                for (long k = 0; k < t->count && from < to; k += p->k->lanes)
                    cross(p, t, tx, tg, k, from, to - from, p->box ? scale : NULL, ts + k);
                if (row + rows == p->side[o].rows) {
                    float *y = j->y + (t->view - j->first) / j->step * p->columns;
                    for (long k = 0; k < t->count; k++) {
                        long n = t->from + (t->turned ? t->count - 1 - k : k);
                        y[n] = length_of(p, t, n) * ts[k];
                    }
                }
            }
        }
    return 0;
}

static int load(void *self, long i)                                  /* rows of both images */
{
    struct job *j = self;
    const struct side *a = &j->p->side[0], *b = &j->p->side[1];
    enum { T = 16 };
    long r0 = i * T, r1 = r0 + T < a->rows ? r0 + T : a->rows;
    for (long r = r0; r < r1; r++)
        memcpy(a->image + r * a->pad + RAY_PAD, j->cx + r * a->n, (size_t)a->n * sizeof(float));
    for (long c = 0; c < a->n; c++)
        for (long r = r0; r < r1; r++)
            b->image[c * b->pad + RAY_PAD + r] = j->cx[r * a->n + c];
    return 0;
}

void ray_plane_project(ray_plane *p, float *y, const float *x, long first, long step)
{
    struct job j = { .p = p, .y = y, .cx = x, .first = first, .step = step };
    long views = (p->views - first + step - 1) / step;
    memset(y, 0, (size_t)(views * p->columns) * sizeof *y);          /* rays that cross nothing */
    int e = kr_for((p->side[0].rows + 15) / 16, load, &j);
    e = e ? e : kr_for((views + CHUNK - 1) / CHUNK, forward, &j);
    kr_assert(!e);
}

/* ---- Back ---- */
static int scaled(void *self, long i)                                /* a run's rays times their lengths, with zeros on both sides */
{
    struct job *j = self;
    ray_plane *p = j->p;
    const struct run *t = &p->run[i];
    if (t->view < j->first || (t->view - j->first) % j->step)
        return 0;
    float *to = p->rays + t->at;
    memset(to, 0, (size_t)p->margin * sizeof *to);
    memset(to + p->margin + t->count, 0, (size_t)p->margin * sizeof *to);
    for (long k = 0; k < t->count; k++)
        to[p->margin + k] = j->cy[(t->view - j->first) / j->step * p->columns + t->from + k] * length_of(p, t, t->from + k);
    return 0;
}

/* The ray, counted from the middle one, that crosses row `row` at column `at`. */
static double ray_through(const ray_plane *p, const struct run *t, double at, double row)
{
    double slope = (at - t->xs) / (row - t->rs), m = (t->ex - slope * t->er) / (slope * t->ur - t->ux);
    return p->curved ? atan(m) / p->arc : m;
}

/* Distance of neighbouring rays about ray m, per row of distance from the source. */
static double apart(const ray_plane *p, const struct run *t, double m)
{
    double c = p->curved ? cos(m * p->arc) : 1, s = p->curved ? sin(m * p->arc) : m, er = c * t->er + s * t->ur;
    double all = fabs(t->ux * t->er - t->ex * t->ur) / (er * er);
    return p->curved ? all * p->arc : all;
}

/* The least distance of neighbouring rays of a run in some rows of the image. */
static double least_apart(const ray_plane *p, const struct run *t, long row, long rows)
{
    int lanes = p->k->lanes;
    if (p->beam == KR_PARALLEL)
        return fabs(t->b);
    double first = (double)t->from - p->mid - 3, last = first + (double)t->count + 5, b = INFINITY;      /* pixels beside the outermost ray lie between it and what would be next */
    double near = fmin(fabs((double)row - t->rs), fabs((double)(row + rows - 1) - t->rs)), mid = (double)row + (double)(rows - 1) / 2;
    double k[3] = { ray_through(p, t, -(double)lanes, mid), ray_through(p, t, (double)(p->side[t->o].n + lanes), mid),
                    p->curved ? atan(t->ur / t->er) / p->arc : first };
    for (int i = 0; i < 3; i++)
        b = fmin(b, near * apart(p, t, fmin(fmax(isfinite(k[i]) ? k[i] : first, first), last)));
    return b;
}

/* How the rays of a run lie to some rows: what all tiles of these rows share. */
static void prepare(const ray_plane *p, const struct run *t, ray_tile *q, double b, long rows)
{
    int lanes = p->k->lanes;
    double steep = p->beam == KR_PARALLEL ? fabs(t->G) : 1;
    q->reach = (float)((p->box ? 0.5 + 0.5 / b : 1 / b) + 4e-3);
    q->taps = (int)floor(2 * q->reach) + 1;
    double aside = (double)q->reach + 2.5 + p->box;
    q->span = 0;
    q->rows = p->curved && rows > 8 ? 8 : rows;                      /* tangents by a short series */
    rows = q->rows;
    for (int span = 2; span <= 3 && !q->span && lanes > 4 && p->beam == KR_PARALLEL; span++)
        for (long n = rows; n >= (span == 2 && rows >= 4 ? 4 : 1) && !q->span; n = n > 1 ? (n + 1) / 2 : 0)
            if (((double)lanes / 2 + (double)(n - 1) / 2 * steep) / b + aside <= span * lanes / 2) {
                q->span = span;
                q->rows = n;
            }
    while (!q->span && q->rows > 1 && ((double)lanes / 2 + (double)(q->rows - 1) / 2 * steep) / b + aside > RAY_WIDE / 2)
        q->rows = (q->rows + 1) / 2;
}

/* The rays about a tile's middle. false: none touches it. */
static bool aim(const ray_plane *p, const struct run *t, ray_tile *q, long i0, long r0, long rows)
{
    double ic = (double)i0 + (double)(p->k->lanes - 1) / 2, rc = (double)r0 + (double)(rows - 1) / 2, kc;
    long beyond = q->span ? q->span * p->k->lanes / 2 : RAY_WIDE / 2;
    if (p->beam == KR_PARALLEL) {
        kc = rint((ic - t->X0 - rc * t->G) * q->inverse);
        q->base = (float)(t->X0 + kc * t->b + (double)r0 * t->G - (double)i0);
    } else {
        double m = ray_through(p, t, ic, rc), ex, er, ux = t->ux, ur = t->ur;
        if (!(fabs(m) < 1e6))
            return false;
        kc = rint(p->mid + m);
        if (p->curved) {
            double c = cos((kc - p->mid) * p->arc), s = sin((kc - p->mid) * p->arc);
            ex = c * t->ex + s * t->ux;
            er = c * t->er + s * t->ur;
            ux = c * t->ux - s * t->ex;
            ur = c * t->ur - s * t->er;
        } else {
            ex = t->ex + (kc - p->mid) * t->ux;
            er = t->er + (kc - p->mid) * t->ur;
        }
        double in = 1 / er, G = ex * in, far = (double)r0 - t->rs;
        q->base = (float)(t->xs + far * G - (double)i0);
        q->slope = (float)G;
        q->far = (float)far;
        q->g1 = (float)((ux - G * ur) * in);
        q->c2 = (float)(ur * in);
    }
    if (kc + (double)beyond < (double)t->from || kc - (double)beyond > (double)(t->from + t->count - 1))
        return false;
    q->p = p->rays + t->at + p->margin + (long)kc - t->from;
    return true;
}

static int back(void *self, long task)
{
    struct job *j = self;
    ray_plane *p = j->p;
    long blocks = (p->side[0].rows + RAY_ROWS - 1) / RAY_ROWS;
    int o = task >= blocks, lanes = p->k->lanes;
    const struct side *s = &p->side[o];
    long row = (task - (o ? blocks : 0)) * RAY_ROWS, rows = s->rows - row < RAY_ROWS ? s->rows - row : RAY_ROWS;
    float *scale = (float *)(void *)(p->scratch + p->each * (size_t)kr_worker());
    memset(s->sum + row * s->wide, 0, (size_t)(rows * s->wide) * sizeof(float));
    for (long i = 0; i < p->runs; i++) {
        const struct run *t = &p->run[i];
        long from = row > t->row0 ? row : t->row0, to = row + rows < t->row1 ? row + rows : t->row1;
        if (t->o != o || t->view < j->first || (t->view - j->first) % j->step || from >= to)
            continue;
        ray_tile q = { .stride = s->wide, .affine = p->beam == KR_PARALLEL, .arc = p->curved ? (float)p->arc : 0 };
        if (p->box)
            for (long r = from; r < to; r++)
                scale[r - from] = p->beam == KR_PARALLEL ? 1 : (float)(1 / fabs((double)r - t->rs));
        double b = least_apart(p, t, from, to - from);
        if (p->beam == KR_DIVERGENT) {
            ray_strip strip = { s->sum + from * s->wide, s->wide, to - from, s->n, p->rays + t->at + p->margin - t->from, t->from, t->from + t->count - 1,
                                p->curved ? p->c + t->from : NULL, p->curved ? p->s + t->from : NULL, t->xs, (double)from - t->rs,
                                t->ex, t->er, t->ux, t->ur, p->mid, p->curved ? p->arc : 0, b, p->box ? scale : NULL };
            if (p->k->fan(&strip))
                continue;
        }
        prepare(p, t, &q, b, to - from);
        q.slope = (float)t->G;
        q.far = (float)t->b;
        q.inverse = 1 / t->b;
        long each = q.rows;
        for (long c = 0; c < s->n; c += lanes)
            for (long r = from; r < to; r += each) {
                q.rows = to - r < each ? to - r : each;
                q.image = s->sum + r * s->wide + c;
                q.scale = scale + (r - from);
                if (aim(p, t, &q, c, r, q.rows))
                    (p->box ? p->k->back_box : p->k->back)(&q);
            }
    }
    return 0;
}

static int gather(void *self, long i)                                /* both images into one */
{
    struct job *j = self;
    const struct side *a = &j->p->side[0], *b = &j->p->side[1];
    enum { T = 16 };
    long r0 = i * T, r1 = r0 + T < a->rows ? r0 + T : a->rows;
    for (long c0 = 0; c0 < a->n; c0 += T)
        for (long r = r0; r < r1; r++)
            for (long c = c0; c < c0 + T && c < a->n; c++)
                j->x[r * a->n + c] = (j->add ? j->x[r * a->n + c] : 0) + (a->sum[r * a->wide + c] + b->sum[c * b->wide + r]);
    return 0;
}

void ray_plane_back(ray_plane *p, float *x, const float *y, long first, long step, bool add)
{
    struct job j = { .p = p, .x = x, .cy = y, .first = first, .step = step, .add = add };
    long blocks = (p->side[0].rows + RAY_ROWS - 1) / RAY_ROWS + (p->side[1].rows + RAY_ROWS - 1) / RAY_ROWS;
    int e = kr_for(p->runs, scaled, &j);
    e = e ? e : kr_for(blocks, back, &j);
    e = e ? e : kr_for((p->side[0].rows + 15) / 16, gather, &j);
    kr_assert(!e);
}
