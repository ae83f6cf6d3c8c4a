/* raywalk.c: the voxels of a single ray and their weights, in double precision, for every geometry: the plain twin of the fast projectors,
 * and the whole of the models that they do not have. */
#include "project.h"
#include <math.h>

/* A ray in index units: where it crosses plane 0 of its main axis, and how far it moves from plane to plane; planes from..to - 1 lie ahead of the source. */
struct line { int a, b, c; long from, to; double pb, pc, gb, gc, mm; };      /* main axis a, the others b, c */

static void line_of(struct line *l, const kr_rays *r, const kr_grid *g, long view, double column, double row)
{
    double p[3], d[3];
    kr_ray(r, view, column, row, p, d);
    double length = 0;
    for (int i = 0; i < 3; i++) {
        p[i] = (p[i] - g->first[i]) / g->step[i];
        d[i] /= g->step[i];
    }
    l->a = fabs(d[1]) >= fabs(d[0]) ? 1 : 0;
    if (g->n[2] > 1 && fabs(d[2]) > fabs(d[l->a]))
        l->a = 2;
    l->b = l->a == 0 ? 1 : 0;
    l->c = l->a == 2 ? 1 : 2;
    l->gb = d[l->b] / d[l->a];
    l->gc = d[l->c] / d[l->a];
    l->pb = p[l->b] - p[l->a] * l->gb;
    l->pc = p[l->c] - p[l->a] * l->gc;
    for (int i = 0; i < 3; i++) {
        double s = g->step[i] * d[i] / d[l->a];
        length += s * s;
    }
    l->mm = sqrt(length);
    double source = (r->source[view][l->a] - g->first[l->a]) / g->step[l->a], n = (double)g->n[l->a];
    l->from = r->beam == KR_DIVERGENT && d[l->a] > 0 ? (long)fmin(fmax(ceil(source), 0), n) : 0;
    l->to = r->beam == KR_DIVERGENT && d[l->a] < 0 ? (long)fmin(fmax(floor(source) + 1, 0), n) : g->n[l->a];
}

static long place(const kr_grid *g, const struct line *l, long a, long b, long c)
{
    long i[3];
    i[l->a] = a;
    i[l->b] = b;
    i[l->c] = c;
    return (i[2] * g->n[1] + i[1]) * g->n[0] + i[0];
}

static void joseph(const kr_grid *g, const struct line *l, ray_use *use, void *self)
{
    for (long a = l->from; a < l->to; a++) {
        double x = l->pb + (double)a * l->gb, z = g->n[l->c] > 1 || l->a == 2 ? l->pc + (double)a * l->gc : 0;
        double fx = x - floor(x), fz = z - floor(z);
        for (int j = 0; j < 4; j++) {
            long b = (long)floor(x) + (j & 1), c = (long)floor(z) + (j >> 1);
            double w = l->mm * (j & 1 ? fx : 1 - fx) * (j >> 1 ? fz : 1 - fz);
            if (b < 0 || b >= g->n[l->b] || c < 0 || c >= g->n[l->c] || w == 0)
                continue;
            use(self, place(g, l, a, b, c), w);
        }
    }
}

/* Lengths within voxels: from crossing to crossing of their faces. */
static void siddon(const kr_grid *g, const struct line *l, ray_use *use, void *self)
{
    for (long a = l->from; a < l->to; a++) {
        double t = (double)a - 0.5, end = (double)a + 0.5;
        while (t < end) {                                            /* t: position along the main axis */
            double x = l->pb + t * l->gb + 0.5, z = l->pc + t * l->gc + 0.5, next = end;
            long b = (long)floor(x), c = (long)floor(z);
            if (l->gb < 0 && x == floor(x))
                b--;
            if (l->gc < 0 && z == floor(z))
                c--;
            double tb = l->gb > 0 ? ((double)b + 0.5 - l->pb) / l->gb : l->gb < 0 ? ((double)b - 0.5 - l->pb) / l->gb : end;
            double tc = l->gc > 0 ? ((double)c + 0.5 - l->pc) / l->gc : l->gc < 0 ? ((double)c - 0.5 - l->pc) / l->gc : end;
            next = fmin(next, fmin(tb, tc));
            if (!(next > t))
                next = fmin(end, t + 1e-9);                          /* a corner, to rounding */
            if (b >= 0 && b < g->n[l->b] && c >= 0 && c < g->n[l->c] && next > t)
                use(self, place(g, l, a, b, c), l->mm * (next - t));
            t = next;
        }
    }
}

/* The part of pixel (a, b) at smaller b than the line, as a share of its area: mean over its height of a clamped straight line. */
static double ahead(double x, double slope)
{
    double m[2] = { x - slope / 2 + 0.5, x + slope / 2 + 0.5 };      /* where the line crosses the lower and upper side; 0..1 within the pixel */
    if (fabs(slope) < 1e-12)
        return fmin(1, fmax(0, x + 0.5));
    double sum = 0;                                                  /* integral of clamp(m, 0, 1) */
    for (int i = 0; i < 2; i++) {
        double v = m[i], q = v <= 0 ? 0 : v >= 1 ? v - 0.5 : v * v / 2;
        sum += i ? q : -q;
    }
    return sum / slope;
}

/* Where a ray crosses the planes of the main axis of `l`, along its axes b and c: at plane a, at[0] + a at[1] and at[2] + a at[3]. */
static void crossing(double at[4], const kr_rays *r, const kr_grid *g, const struct line *l, long view, double column, double row)
{
    double p[3], d[3];
    kr_ray(r, view, column, row, p, d);
    for (int k = 0; k < 3; k++) {
        p[k] = (p[k] - g->first[k]) / g->step[k];
        d[k] /= g->step[k];
    }
    at[1] = d[l->b] / d[l->a];
    at[3] = d[l->c] / d[l->a];
    at[0] = p[l->b] - p[l->a] * at[1];
    at[2] = p[l->c] - p[l->a] * at[3];
}

/* De Man and Basu: overlap of the ray's width with voxels, plane by plane; in 3D times the overlap along the rows of the detector. */
static void distance(const kr_rays *r, const kr_grid *g, long view, long column, long row, ray_use *use, void *self)
{
    struct line l;
    line_of(&l, r, g, view, (double)column, (double)row);
    bool deep = g->n[l.c] > 1;
    double edge[2][4], end[2][4];                                    /* of the columns, of the rows */
    for (int i = 0; i < 2; i++) {
        crossing(edge[i], r, g, &l, view, (double)column + (i ? 0.5 : -0.5), (double)row);
        crossing(end[i], r, g, &l, view, (double)column, (double)row + (i ? 0.5 : -0.5));
    }
    for (long a = l.from; a < l.to; a++) {
        double x[2], z[2], ex[2][2], plane = (double)a;
        for (int i = 0; i < 2; i++) {
            ex[i][0] = edge[i][0] + plane * edge[i][1];
            ex[i][1] = edge[i][2] + plane * edge[i][3];
        }
        bool along = !deep || fabs(ex[1][0] - ex[0][0]) >= fabs(ex[1][1] - ex[0][1]);      /* columns of the detector follow each other along b */
        for (int i = 0; i < 2; i++) {
            x[i] = along ? ex[i][0] : end[i][0] + plane * end[i][1];
            z[i] = along ? end[i][2] + plane * end[i][3] : ex[i][1];
        }
        double x0 = fmin(x[0], x[1]), x1 = fmax(x[0], x[1]), z0 = deep ? fmin(z[0], z[1]) : -0.5, z1 = deep ? fmax(z[0], z[1]) : 0.5;
        for (long b = (long)fmax(0, floor(x0 + 0.5)); b < g->n[l.b] && (double)b - 0.5 < x1; b++)
            for (long c = (long)fmax(0, floor(z0 + 0.5)); c < g->n[l.c] && (double)c - 0.5 < z1; c++) {
                double wx = fmin(x1, (double)b + 0.5) - fmax(x0, (double)b - 0.5), wz = fmin(z1, (double)c + 0.5) - fmax(z0, (double)c - 0.5);
                if (wx > 0 && wz > 0)
                    use(self, place(g, &l, a, b, c), l.mm * wx / (x1 - x0) * wz / (z1 - z0));
            }
    }
}

static void strip(const kr_rays *r, const kr_grid *g, long view, long column, ray_use *use, void *self)
{
    double p[2][3], d[2][3], m[3], n0[3];
    kr_ray(r, view, (double)column, 0, m, n0);
    int a = fabs(n0[1] / g->step[1]) >= fabs(n0[0] / g->step[0]) ? 1 : 0, b = 1 - a;
    double width = sqrt(r->u[view][0] * r->u[view][0] + r->u[view][1] * r->u[view][1]), cosine = 1;
    for (int i = 0; i < 2; i++) {
        kr_ray(r, view, (double)column + (i ? 0.5 : -0.5), 0, p[i], d[i]);
        for (int k = 0; k < 3; k++) {
            p[i][k] = (p[i][k] - g->first[k]) / g->step[k];
            d[i][k] /= g->step[k];
        }
    }
    if (r->beam == KR_PARALLEL)                                      /* of an oblique detector: its width across the rays */
        cosine = fabs(r->u[view][0] * n0[1] - r->u[view][1] * n0[0]) / width;
    for (long i = 0; i < g->n[a]; i++) {
        double x[2], s[2];
        for (int e = 0; e < 2; e++) {
            s[e] = d[e][b] / d[e][a];
            x[e] = p[e][b] + ((double)i - p[e][a]) * s[e];
        }
        double low = fmin(x[0] - fabs(s[0]) / 2, x[1] - fabs(s[1]) / 2), high = fmax(x[0] + fabs(s[0]) / 2, x[1] + fabs(s[1]) / 2);
        for (long k = (long)fmax(0, floor(low + 0.5)); k < g->n[b] && (double)k - 0.5 < high; k++) {
            double area = fabs(ahead(x[1] - (double)k, s[1]) - ahead(x[0] - (double)k, s[0])) * fabs(g->step[0] * g->step[1]), w = width * cosine;
            if (r->beam == KR_DIVERGENT) {                           /* the width of the ray at this pixel */
                double P[2], S[2] = { r->source[view][0], r->source[view][1] };
                P[a] = g->first[a] + (double)i * g->step[a];
                P[b] = g->first[b] + (double)k * g->step[b];
                w *= fabs(r->u[view][0] * n0[1] - r->u[view][1] * n0[0]) / width * hypot(P[0] - S[0], P[1] - S[1]) / hypot(m[0] - S[0], m[1] - S[1]);
            }
            if (area > 0)
                use(self, a ? i * g->n[0] + k : k * g->n[0] + i, area / w);
        }
    }
}

int ray_walk_can(const kr_rays *r, const kr_grid *g, enum kr_ray_model model)
{
    if (model == KR_RAY_STRIP && (g->n[2] > 1 || r->rows > 1))
        return kr_fail(KR_EREFUSED, "strips are of one slice; take joseph or distance for volumes");
    return 0;
}

void ray_walk(const kr_rays *r, const kr_grid *g, enum kr_ray_model model, long view, long column, long row, ray_use *use, void *self)
{
    struct line l;
    if (model == KR_RAY_STRIP)
        strip(r, g, view, column, use, self);
    else if (model == KR_RAY_DISTANCE)
        distance(r, g, view, column, row, use, self);
    else {
        line_of(&l, r, g, view, (double)column, (double)row);
        (model == KR_RAY_LINE ? siddon : joseph)(g, &l, use, self);
    }
}
