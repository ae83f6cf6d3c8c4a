/* feldkamp.c: back-projection of filtered projections into a volume, voxel by voxel, for flat detectors in any position. Where detector columns stand
 * along an axis of the volume a line of voxels along it sees one mixture of two columns, along which positions are linear. */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { ACROSS = 4 };                      /* planes of a task */

static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* Element (u / w + cu, v / w + cv) of a point: u = at + steps, and so on; of one view. */
struct sight { double u, v, w, du[3], dv[3], dw[3], cu, cv, weight; };

static struct sight sight_of(const kr_rays *r, const kr_grid *g, long view)
{
    const double *u = r->u[view], *d = r->v[view];
    ray_view w = ray_view_of(r, view);
    double e[3], q[3], un[3], dn[3];
    for (int k = 0; k < 3; k++) {
        e[k] = r->centre[view][k] - r->source[view][k];
        q[k] = g->first[k] - r->source[view][k];
    }
    double sign = dot(e, w.n) < 0 ? -1 : 1, uu = dot(u, u), vv = dot(d, d), uv = dot(u, d), det = uu * vv - uv * uv;
    for (int k = 0; k < 3; k++) {                                    /* dual vectors of u and v */
        un[k] = (vv * u[k] - uv * d[k]) / det;
        dn[k] = (uu * d[k] - uv * u[k]) / det;
    }
    struct sight s = { .u = dot(q, un), .v = dot(q, dn), .w = sign * dot(q, w.n) / w.depth, .cu = (double)(r->columns - 1) / 2 - dot(e, un),
                       .cv = (double)(r->rows - 1) / 2 - dot(e, dn), .weight = w.axis * w.axis };
    for (int k = 0; k < 3; k++) {
        s.du[k] = un[k] * g->step[k];
        s.dv[k] = dn[k] * g->step[k];
        s.dw[k] = sign * w.n[k] * g->step[k] / w.depth;              /* w: 1 at the detector */
    }
    return s;
}

struct volume { const kr_rays *r; const kr_grid *g; const kr_raykern *k; float *p, *x; long from, to; const struct sight *sight; int axis[3]; long n[3], stride[3], line; float *scratch; long each; };

/* ---- Any detector: along x ---- */
static int along_x(void *self, long line)
{
    const struct volume *s = self;
    const kr_rays *r = s->r;
    double j = (double)(line % s->g->n[1]), k = (double)(line / s->g->n[1]);
    float *to = s->x + line * s->g->n[0];
    if (!s->from)
        memset(to, 0, (size_t)s->g->n[0] * sizeof *to);
    for (long v = s->from; v < s->to; v++) {
        const struct sight *a = &s->sight[v];
        ray_beam b = { .p = s->p + (v - s->from) * r->rows * r->columns, .columns = (int)r->columns, .rows = (int)r->rows, .u = (float)(a->u + j * a->du[1] + k * a->du[2]),
                       .du = (float)a->du[0], .v = (float)(a->v + j * a->dv[1] + k * a->dv[2]), .dv = (float)a->dv[0],
                       .w = (float)(a->w + j * a->dw[1] + k * a->dw[2]), .dw = (float)a->dw[0], .cu = (float)a->cu, .cv = (float)a->cv, .weight = (float)a->weight };
        s->k->beam(to, s->g->n[0], &b);
    }
    return 0;
}

/* ---- Columns along axis w ---- */
static int turn(void *self, long i)                                  /* rows become columns, in place, in the order of voxels */
{
    const struct volume *s = self;
    long U = s->r->columns, V = s->r->rows;
    bool turned = s->sight[s->from + i].dv[s->axis[2]] < 0;
    float *p = s->p + i * U * V, *to = s->scratch + (long)kr_worker() * s->each;
    for (long u0 = 0; u0 < U; u0 += 16)
        for (long v = 0; v < V; v++)
            for (long u = u0; u < u0 + 16 && u < U; u++)
                to[u * V + (turned ? V - 1 - v : v)] = p[v * U + u];
    memcpy(p, to, (size_t)(U * V) * sizeof *p);
    return 0;
}

static void into_line(const struct volume *s, float *line, float *mixed, long view, double i, double j)
{
    const struct sight *a = &s->sight[view];
    int P = s->axis[0], Q = s->axis[1], W = s->axis[2];
    double w = a->w + i * a->dw[P] + j * a->dw[Q], u = (a->u + i * a->du[P] + j * a->du[Q]) / w + a->cu, last = (double)(s->r->columns - 1), high = (double)(s->r->rows - 1);
    double at = (a->v + i * a->dv[P] + j * a->dv[Q]) / w + a->cv, far = fabs(a->dv[W]) / w;
    if (a->dv[W] < 0)
        at = high - at;
    if (!(w > 0) || !(u >= 0) || !(u <= last))
        return;
    double k0 = fmax(0, ceil((-1e-4 - at) / far)), k1 = fmin((double)(s->n[2] - 1), floor((high + 1e-4 - at) / far));      /* to rounding */
    if (!(k0 <= k1))
        return;
    long V = s->r->rows, column = (long)fmin(u, fmax(last - 1, 0)), from = (long)fmax(at + k0 * far, 0) / 16 * 16, to = ((long)fmin(at + k1 * far + 1, high) / 16 + 1) * 16;
    double f = u - (double)column, scale = a->weight / (w * w);
    float share[2] = { (float)((1 - f) * scale), (float)(f * scale) };
    s->k->mix(mixed + RAY_PAD + from, s->p + ((view - s->from) * s->r->columns + column) * V + from, V, share, s->r->columns > 1 ? 2 : 1, to - from);
    mixed[RAY_PAD + V] = mixed[RAY_PAD + V - 1];                     /* for what rounding puts behind the last row */
    s->k->take(line, mixed + RAY_PAD, V, at, far, (long)k0, (long)k1);
}

static int planes(void *self, long task)
{
    const struct volume *s = self;
    long from = task * ACROSS, to = from + ACROSS < s->n[1] ? from + ACROSS : s->n[1];
    float *mixed = s->scratch + (long)kr_worker() * s->each, *lines = mixed + 2 * RAY_PAD + s->r->rows + 16;
    memset(mixed, 0, (size_t)s->each * sizeof *mixed);
    for (long j = from; j < to && s->from; j++)
        for (long i0 = 0; i0 < s->n[0]; i0 += 16)
            for (long k = 0; k < s->n[2]; k++)
                for (long i = i0; i < i0 + 16 && i < s->n[0]; i++)
                    lines[((j - from) * s->n[0] + i) * s->line + k] = s->x[i * s->stride[0] + j * s->stride[1] + k * s->stride[2]];
    for (long v = s->from; v < s->to; v++)
        for (long j = from; j < to; j++)
            for (long i = 0; i < s->n[0]; i++)
                into_line(s, lines + ((j - from) * s->n[0] + i) * s->line, mixed, v, (double)i, (double)j);
    for (long j = from; j < to; j++)
        for (long i0 = 0; i0 < s->n[0]; i0 += 16)
            for (long k = 0; k < s->n[2]; k++)
                for (long i = i0; i < i0 + 16 && i < s->n[0]; i++)
                    s->x[i * s->stride[0] + j * s->stride[1] + k * s->stride[2]] = lines[((j - from) * s->n[0] + i) * s->line + k];
    return 0;
}

int ray_feldkamp(float *x, float *p, const kr_rays *r, const kr_grid *g, long from, long to)
{
    kr_auto struct sight *sight = kr_alloc((size_t)r->views, sizeof *sight);
    if (!sight)
        return kr_error_code();
    for (long v = from; v < to; v++)
        sight[v] = sight_of(r, g, v);
    struct volume s = { .r = r, .g = g, .k = kr_raykern_best(), .p = p, .x = x, .from = from, .to = to, .sight = sight };
    if (!ray_stack_axes(s.axis, r))
        return kr_for(g->n[1] * g->n[2], along_x, &s);
    for (int d = 0; d < 3; d++) {
        s.n[d] = g->n[s.axis[d]];
        s.stride[d] = s.axis[d] == 0 ? 1 : s.axis[d] == 1 ? g->n[0] : g->n[0] * g->n[1];
    }
    s.line = (s.n[2] + 15) / 16 * 16;
    s.each = ACROSS * s.n[0] * s.line + 2 * RAY_PAD + r->rows + 16;
    if (s.each < r->columns * r->rows)
        s.each = r->columns * r->rows;
    kr_auto float *scratch = kr_alloc((size_t)s.each, (size_t)kr_threads() * sizeof *scratch);
    s.scratch = scratch;
    if (!scratch || kr_for(to - from, turn, &s))
        return kr_error_code();
    return kr_for((s.n[1] + ACROSS - 1) / ACROSS, planes, &s);
}
