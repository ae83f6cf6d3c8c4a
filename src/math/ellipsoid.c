/* ellipsoid.c: bodies whose line integrals are known exactly. */
#include "kray/rays.h"
#include <math.h>
#include <string.h>

double kr_ellipsoids_ray(const kr_ellipsoid *e, long count, const double point[3], const double direction[3])
{
    double sum = 0;
    for (long i = 0; i < count; i++) {
        double c = cos(e[i].phi), s = sin(e[i].phi), q[3], a[3], A = 0, B = 0, C = -1;
        for (int d = 0; d < 3; d++)
            q[d] = point[d] - e[i].centre[d];
        double p[3] = { c * q[0] + s * q[1], -s * q[0] + c * q[1], q[2] };
        a[0] = c * direction[0] + s * direction[1];
        a[1] = -s * direction[0] + c * direction[1];
        a[2] = direction[2];
        for (int d = 0; d < 3 && (d < 2 || e[i].half[2] > 0); d++) {
            double h = e[i].half[d];
            A += a[d] * a[d] / (h * h);
            B += a[d] * p[d] / (h * h);
            C += p[d] * p[d] / (h * h);
        }
        double D = B * B - A * C;
        if (A > 0 && D > 0)
            sum += e[i].value * 2 * sqrt(D) / A;
    }
    return sum;
}

struct scan { float *y; const kr_ellipsoid *e; long count; const kr_rays *r; int samples; };

static int one_view(void *self, long view)
{
    const struct scan *j = self;
    const kr_rays *r = j->r;
    for (long v = 0; v < r->rows; v++)
        for (long k = 0; k < r->columns; k++) {
            double sum = 0, p[3], d[3];
            for (int i = 0; i < j->samples; i++) {
                kr_ray(r, view, (double)k + ((double)i + 0.5) / j->samples - 0.5, (double)v, p, d);
                sum += kr_ellipsoids_ray(j->e, j->count, p, d);
            }
            j->y[(view * r->rows + v) * r->columns + k] = (float)(sum / j->samples);
        }
    return 0;
}

void kr_ellipsoids_scan(float *y, const kr_ellipsoid *e, long count, const kr_rays *r, int samples)
{
    kr_assert(samples >= 1);
    struct scan j = { y, e, count, r, samples };
    int error = kr_for(r->views, one_view, &j);
    kr_assert(!error);
}

struct draw { float *x; const kr_ellipsoid *e; long count; const kr_grid *g; int samples; };

/* How many of a voxel's points, around `at`, lie in a body. */
static int points_in(const kr_ellipsoid *e, const struct draw *j, const double at[3])
{
    int S = j->samples, deep = j->g->n[2] > 1 ? S : 1, in = 0;
    double c = cos(e->phi), s = sin(e->phi), p[3] = { 0 }, reach = 0;
    const double *half = e->half;
    double thin = fmin(half[0], half[1]);
    for (int d = 0; d < 3; d++) {
        p[d] = at[d] - e->centre[d];
        double side = d < 2 ? j->g->step[d] / thin : half[2] > 0 && deep > 1 ? j->g->step[2] / half[2] : 0;
        reach += side * side / 4;
    }
    double a = (c * p[0] + s * p[1]) / half[0], b = (-s * p[0] + c * p[1]) / half[1], z = half[2] > 0 ? p[2] / half[2] : 0;
    double far = sqrt(a * a + b * b + z * z);
    reach = sqrt(reach);
    if (far > 1 + reach)
        return 0;
    if (far + reach < 1)
        return S * S * deep;
    for (int i = 0; i < S * S * deep; i++) {
        int part[3] = { i % S, i / S % S, i / (S * S) };
        double q[3];
        for (int d = 0; d < 3; d++)
            q[d] = p[d] + (d == 2 && deep == 1 ? 0 : j->g->step[d] * (((double)part[d] + 0.5) / S - 0.5));
        a = (c * q[0] + s * q[1]) / half[0];
        b = (-s * q[0] + c * q[1]) / half[1];
        z = half[2] > 0 ? q[2] / half[2] : 0;
        in += a * a + b * b + z * z <= 1;
    }
    return in;
}

static int one_line(void *self, long line)
{
    const struct draw *j = self;
    const kr_grid *g = j->g;
    double at[3] = { 0, g->first[1] + g->step[1] * (double)(line % g->n[1]), g->first[2] + g->step[2] * (double)(line / g->n[1]) };
    int points = j->samples * j->samples * (g->n[2] > 1 ? j->samples : 1);
    for (long i = 0; i < g->n[0]; i++) {
        double sum = 0;
        at[0] = g->first[0] + g->step[0] * (double)i;
        for (long k = 0; k < j->count; k++)
            sum += j->e[k].value * points_in(j->e + k, j, at);
        j->x[line * g->n[0] + i] = (float)(sum / points);
    }
    return 0;
}

void kr_ellipsoids_draw(float *x, const kr_ellipsoid *e, long count, const kr_grid *g, int samples)
{
    kr_assert(samples >= 1);
    struct draw j = { x, e, count, g, samples };
    int error = kr_for(g->n[1] * g->n[2], one_line, &j);
    kr_assert(!error);
}

long kr_shepp_logan(kr_ellipsoid e[10], double radius, double value, bool volume, bool contrast)
{
    static const struct { double seen, real, x, y, z, a, b, c, phi; } t[10] = {
        { 1, 2, 0, 0, 0, 0.69, 0.92, 0.9, 0 },                { -0.8, -0.98, 0, -0.0184, 0, 0.6624, 0.874, 0.88, 0 },
        { -0.2, -0.02, 0.22, 0, -0.25, 0.11, 0.31, 0.22, -18 }, { -0.2, -0.02, -0.22, 0, -0.25, 0.16, 0.41, 0.28, 18 },
        { 0.1, 0.01, 0, 0.35, -0.25, 0.21, 0.25, 0.5, 0 },     { 0.1, 0.01, 0, 0.1, -0.25, 0.046, 0.046, 0.046, 0 },
        { 0.1, 0.01, 0, -0.1, -0.25, 0.046, 0.046, 0.046, 0 }, { 0.1, 0.01, -0.08, -0.605, -0.25, 0.046, 0.023, 0.02, 0 },
        { 0.1, 0.01, 0, -0.606, -0.25, 0.023, 0.023, 0.02, 0 }, { 0.1, 0.01, 0.06, -0.605, -0.25, 0.023, 0.046, 0.02, 0 } };
    for (int i = 0; i < 10; i++)
        e[i] = (kr_ellipsoid){ value * (contrast ? t[i].seen : t[i].real / 2), { radius * t[i].x, radius * t[i].y, volume ? radius * t[i].z : 0 },
                               { radius * t[i].a, radius * t[i].b, volume ? radius * t[i].c : 0 }, t[i].phi * M_PI / 180 };
    return 10;
}
