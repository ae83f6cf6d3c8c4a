/* ct_centre.c: the axis of rotation of fans and cones on a full turn, from rays that were measured twice, once in each direction; and which way they turned, of shorter scans too. */
#include "kray/ct.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rays of the row in the plane of the source, in one view: how far they pass the axis (left of it above 0), and their direction from the view's. */
struct fan { long n; double *aside, *toward; };

static void fan_of(struct fan *f, const kr_rays *r, double row, double shift)
{
    double p[3], d[3], view = atan2(r->source[0][1], r->source[0][0]);
    for (long i = 0; i < f->n; i++) {
        kr_ray(r, 0, (double)i + shift, row, p, d);
        double size = hypot(d[0], d[1]);
        f->aside[i] = (p[0] * d[1] - p[1] * d[0]) / size;
        f->toward[i] = remainder(atan2(d[1], d[0]) - view, 2 * M_PI);
    }
}

/* The row at the height of the source. */
static double row_of(const kr_rays *r)
{
    double w = 0, vv = 0;
    for (int k = 0; k < 3; k++) {
        w += (r->source[0][k] - r->centre[0][k]) * r->v[0][k];
        vv += r->v[0][k] * r->v[0][k];
    }
    return fmin(fmax((double)(r->rows - 1) / 2 + (vv > 0 ? w / vv : 0), 0), (double)(r->rows - 1));
}

struct turn { double at; long view; };
static int by_angle(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at ? 1 : (x->view > y->view) - (x->view < y->view);
}

/* Mean square difference of rays and those that ran the other way, over their mean square; way -1: were the views turned the other way. Between views further apart than `hole` nothing was
 * measured. NAN: too few. */
static double opposed(const kr_array *y, const struct fan *f, const struct turn *t, long views, double hole, long row, long every, int way)
{
    long n = f->n, rows = y->n[KR_V], count = 0, met = 0, asked = (views + every - 1) / every;
    double sum = 0, size = 0;
    bool rising = f->aside[n - 1] > f->aside[0];
    for (long k = 0; k < n; k++) {
        double want = -f->aside[k];
        long low = 0, high = n - 1;
        if (want < fmin(f->aside[0], f->aside[n - 1]) || want > fmax(f->aside[0], f->aside[n - 1]))
            continue;
        while (high - low > 1) {
            long m = (low + high) / 2;
            if ((f->aside[m] <= want) == rising)
                low = m;
            else
                high = m;
        }
        double g = (want - f->aside[low]) / (f->aside[high] - f->aside[low]), toward = f->toward[low] + g * (f->toward[high] - f->toward[low]);
        count++;
        for (long i = 0; i < views; i += every) {
            double at = t[i].at + way * remainder(M_PI + f->toward[k] - toward, 2 * M_PI);
            at -= floor((at - t[0].at) / (2 * M_PI)) * 2 * M_PI;
            long a = 0, b = views;
            while (b - a > 1) {
                long m = (a + b) / 2;
                if (t[m].at <= at)
                    a = m;
                else
                    b = m;
            }
            b = b == views ? 0 : b;
            double gap = (b ? t[b].at : t[0].at + 2 * M_PI) - t[a].at, h = gap > 0 ? (at - t[a].at) / gap : 0;
            if (gap > hole)
                continue;
            met++;
            const float *p = KR_R(y) + (t[a].view * rows + row) * n, *q = KR_R(y) + (t[b].view * rows + row) * n;
            double other = (1 - h) * ((1 - g) * (double)p[low] + g * (double)p[high]) + h * ((1 - g) * (double)q[low] + g * (double)q[high]);
            double own = (double)KR_R(y)[(t[i].view * rows + row) * n + k];
            sum += (own - other) * (own - other);
            size += own * own + other * other;
        }
    }
    return count >= n / 8 && 16 * met >= count * asked && size > 0 ? sum / size : (double)NAN;
}

/* The detector's shift, in columns, at which least is left; NAN: none. */
static double best_shift(double *left, const kr_array *y, const kr_rays *r, struct fan *f, const struct turn *t, double hole, int way)
{
    double height = row_of(r), cost[3] = { 0 }, best = INFINITY, at = 0, step = 0.5;
    long n = f->n, row = (long)rint(height), every = r->views > 48 ? r->views / 48 : 1;
    const double most = floor((double)n * 7 / 16);                   /* further aside too few columns meet others */
    for (double shift = -most; shift <= most; shift += step) {
        fan_of(f, r, height, shift);
        double c = opposed(y, f, t, r->views, hole, row, every, way);
        if (c < best) {
            best = c;
            at = shift;
        }
    }
    if (!isfinite(best))
        return NAN;
    for (int i = 0; i < 3; i++) {
        fan_of(f, r, height, at + (i - 1) * step);
        cost[i] = opposed(y, f, t, r->views, hole, row, every, way);
    }
    double bend = cost[0] - 2 * cost[1] + cost[2];
    if (isfinite(bend) && bend > 0)
        at += fmin(fmax((cost[0] - cost[2]) / bend / 2, -1), 1) * step;
    fan_of(f, r, height, at);
    *left = sqrt(fmin(best, opposed(y, f, t, r->views, hole, row, every, way)));
    return at;
}

static int about_z(double *column, double *mismatch, double *before, double *otherwise, const kr_array *y, const kr_rays *r)
{
    long n = r->columns, views = r->views;
    kr_arc arc;
    if (r->beam != KR_DIVERGENT)
        return kr_fail(KR_EREFUSED, "rays in both directions are compared in fans and cones");
    if (kr_arc_of(&arc, r, NULL))
        return kr_error_code();
    bool whole = !arc.holes && arc.covered >= 2 * M_PI * 0.999;
    double hole = whole ? INFINITY : fmax(3 * arc.usual, 3 * M_PI / 180);
    kr_auto double *room = kr_alloc((size_t)n, 2 * sizeof *room);
    kr_auto struct turn *t = kr_alloc((size_t)views, sizeof *t);
    if (!room || !t)
        return kr_error_code();
    for (long i = 0; i < views; i++)
        t[i] = (struct turn){ atan2(r->source[i][1], r->source[i][0]), i };
    qsort(t, (size_t)views, sizeof *t, by_angle);
    struct fan f = { n, room, room + n };
    double at = best_shift(mismatch, y, r, &f, t, hole, 1);
    if (!isfinite(at) || !isfinite(best_shift(otherwise, y, r, &f, t, hole, -1)))
        return whole ? kr_fail(KR_ENUMBER, "the axis of rotation cannot be found: the projections are empty")
                     : kr_fail(KR_EREFUSED, "the views cover %.4g degrees: too few rays were measured in both directions to compare them", arc.covered * 180 / M_PI);
    *column = whole ? (double)(n - 1) / 2 - at : (double)NAN;
    fan_of(&f, r, row_of(r), 0);
    *before = sqrt(opposed(y, &f, t, views, hole, (long)rint(row_of(r)), views > 48 ? views / 48 : 1, 1));
    return 0;
}

int kr_ct_axis_fan(double *column, double *mismatch, double *before, double *otherwise, const kr_array *y, const kr_rays *r)
{
    int axis = r->rows > 1 ? kr_rays_axis(r) : 2;
    kr_rays *turned = axis == 0 || axis == 1 ? kr_rays_about_z(r, axis) : NULL;
    if (turned || axis == 2) {
        int e = about_z(column, mismatch, before, otherwise, y, turned ? turned : r);
        kr_rays_unref(&turned);
        return e;
    }
    return axis < 0 ? kr_fail(KR_EREFUSED, "the detector's rows follow each other along no axis of the volume") : kr_error_code();
}
