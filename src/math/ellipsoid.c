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

static double value_at(const kr_ellipsoid *e, long count, const double p[3])
{
    double sum = 0;
    for (long i = 0; i < count; i++) {
        double c = cos(e[i].phi), s = sin(e[i].phi), x = p[0] - e[i].centre[0], y = p[1] - e[i].centre[1];
        double a = (c * x + s * y) / e[i].half[0], b = (-s * x + c * y) / e[i].half[1], z = e[i].half[2] > 0 ? (p[2] - e[i].centre[2]) / e[i].half[2] : 0;
        sum += a * a + b * b + z * z <= 1 ? e[i].value : 0;
    }
    return sum;
}

static int one_line(void *self, long line)
{
    const struct draw *j = self;
    const kr_grid *g = j->g;
    long at[3] = { 0, line % g->n[1], line / g->n[1] };
    int S = j->samples, deep = g->n[2] > 1 ? S : 1;
    for (at[0] = 0; at[0] < g->n[0]; at[0]++) {
        double sum = 0;
        for (int s = 0; s < S * S * deep; s++) {
            int part[3] = { s % S, s / S % S, s / (S * S) };
            double p[3];
            for (int d = 0; d < 3; d++)
                p[d] = g->first[d] + g->step[d] * ((double)at[d] + (d == 2 && deep == 1 ? 0 : ((double)part[d] + 0.5) / S - 0.5));
            sum += value_at(j->e, j->count, p);
        }
        j->x[line * g->n[0] + at[0]] = (float)(sum / (S * S * deep));
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
