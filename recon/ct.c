/* ct.c: from counts to line integrals, the axis of rotation, rings, and what a file holds as a scan of rays. */
#include "kray/ct.h"
#include "kray/pages.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Counts ---- */
static kr_array *mean_of(const kr_array *a, long columns, long rows)
{
    kr_array *m = kr_array_new(KR_R32, KR_SHAPE([KR_U] = columns, [KR_V] = rows));
    long n = columns * rows;
    for (long i = 0; m && i < n; i++) {
        double sum = 0;
        for (long v = 0; v < a->n[KR_VIEW]; v++)
            sum += (double)KR_R(a)[v * n + i];
        KR_R(m)[i] = (float)(sum / (double)a->n[KR_VIEW]);
    }
    return m;
}

static int fits(const kr_array *a, const kr_array *y, const char *what)
{
    if (a && (a->type != KR_R32 || a->n[KR_U] != y->n[KR_U] || a->n[KR_V] != y->n[KR_V] || !kr_array_contiguous(a)))
        return kr_fail(KR_ESHAPE, "the %s field is %s, the projections %s: their columns and rows must agree", what, kr_shape_text(kr_array_shape(a)),
                       kr_shape_text(kr_array_shape(y)));
    return 0;
}

static const double LEAST = 1e-6;         /* transmissions are not smaller                                                        */
enum { FAULTS = 4 };                      /* so many elements side by side without a photon are faults; more are an object that lets none through */

long kr_ct_log(kr_array *y, const kr_array *white, const kr_array *dark)
{
    if (fits(white, y, "white") || fits(dark, y, "dark"))
        return kr_error_code();
    long columns = y->n[KR_U], rows = y->n[KR_V], n = columns * rows, replaced = 0;
    kr_scoped(array) w = white ? mean_of(white, columns, rows) : NULL;
    kr_scoped(array) d = dark ? mean_of(dark, columns, rows) : NULL;
    if ((white && !w) || (dark && !d))
        return kr_error_code();
    double above = 0;
    for (long i = 0; !w && i < n * y->n[KR_VIEW]; i++)
        above = fmax(above, isfinite(KR_R(y)[i]) ? (double)KR_R(y)[i] : 0);
    if (!w && above > 1.5)
        return kr_fail(KR_EREFUSED, "counts of up to %g without a white field: give it (--white FILE), or say that the numbers are line integrals already "
                       "(--log off)", above);
    for (long v = 0; v < y->n[KR_VIEW]; v++)
        for (long r = 0; r < rows; r++) {
            float *p = KR_R(y) + v * n + r * columns;
            for (long k = 0; k < columns; k++) {
                double zero = d ? (double)KR_R(d)[r * columns + k] : 0, full = w ? (double)KR_R(w)[r * columns + k] - zero : 1;
                double t = ((double)p[k] - zero) / full;
                bool good = full > 0 && isfinite(t);
                p[k] = good ? (float)-log(fmax(t, LEAST)) : NAN;
                replaced += !good || t < LEAST;
            }
            for (long k = 0, dark_to; k < columns; k = dark_to + 1) {
                for (dark_to = k; dark_to < columns && (double)p[dark_to] >= -log(LEAST) * (1 - 1e-6); )
                    dark_to++;
                for (long i = k; i < dark_to && dark_to - k <= FAULTS; i++)
                    p[i] = NAN;
            }
            for (long k = 0; k < columns; k++)
                if (!isfinite(p[k])) {
                    long a = k - 1, b = k + 1;
                    while (b < columns && !isfinite(p[b]))
                        b++;
                    p[k] = a >= 0 && b < columns ? p[a] + (p[b] - p[a]) / (float)(b - a) : a >= 0 ? p[a] : b < columns ? p[b] : 0;
                }
        }
    if (replaced > n * y->n[KR_VIEW] / 2)
        return kr_fail(KR_ENUMBER, "%ld of %ld transmissions are 0, negative or not finite: are the white and the dark field of this scan, or are these "
                       "numbers line integrals already (--log off)?", replaced, n * y->n[KR_VIEW]);
    return replaced;
}

/* ---- The axis ---- */
enum { MEET = 8 };                        /* so many columns, or more, are compared: an eighth of them. A detector may stand aside by up to 7/16 of its width */

/* Mean square difference of a row and another mirrored about column c = twice / 2, over what both have; NAN: too little. */
static double mirrored(const float *a, const float *b, long n, long twice)
{
    long from = twice - (n - 1) > 0 ? twice - (n - 1) : 0, to = twice < n - 1 ? twice : n - 1;
    double sum = 0, size = 0;
    if (to - from + 1 < n / MEET)
        return NAN;
    for (long k = from; k <= to; k++) {
        double d = (double)a[k] - (double)b[twice - k];
        sum += d * d;
        size += (double)a[k] * (double)a[k] + (double)b[twice - k] * (double)b[twice - k];
    }
    return size > 0 ? sum / size : NAN;
}

int kr_ct_axis(double *column, double *mismatch, const kr_array *y, const kr_rays *r)
{
    if (r->beam != KR_PARALLEL)
        return kr_fail(KR_EREFUSED, "the axis of rotation is found of parallel beams alone; give its column (--axis)");
    long n = r->columns, views = r->views, rows = r->rows, pairs = 0, at = 0;
    kr_auto long *pair = kr_alloc((size_t)views, 2 * sizeof *pair);
    kr_auto double *cost = kr_alloc_zero(2 * (size_t)n, sizeof *cost);
    if (!pair || !cost)
        return kr_error_code();
    kr_arc arc;
    if (kr_arc_of(&arc, r, NULL))
        return kr_error_code();
    for (long i = 0; i < views; i++) {                               /* the other view nearest to half a turn away */
        double best = 1.5 * arc.usual;
        long other = -1;
        for (long j = i + 1; j < views; j++) {
            double cross = r->source[i][0] * r->source[j][1] - r->source[i][1] * r->source[j][0];
            double off = fabs(atan2(cross, -(r->source[i][0] * r->source[j][0] + r->source[i][1] * r->source[j][1])));
            if (off < best) {
                best = off;
                other = j;
            }
        }
        if (other >= 0) {
            pair[2 * pairs] = i;
            pair[2 * pairs++ + 1] = other;
        }
    }
    if (!pairs)
        return kr_fail(KR_EREFUSED, "no two views are half a turn apart (%.4g degrees are covered), so that the axis cannot be found: give its column (--axis)",
                       arc.covered * 180 / M_PI);
    long use = pairs < 24 ? pairs : 24, each = rows < 4 ? rows : 4;
    long low = n / MEET, high = 2 * (n - 1) - low;
    for (long twice = low; twice <= high; twice++)
        for (long q = 0; q < use; q++)
            for (long v = 0; v < each; v++) {
                long p = q * pairs / use, row = v * rows / each;
                cost[twice] += mirrored(KR_R(y) + (pair[2 * p] * rows + row) * n, KR_R(y) + (pair[2 * p + 1] * rows + row) * n, n, twice) / (double)(use * each);
            }
    for (long t = low; t <= high; t++)
        if (isfinite(cost[t]) && (!at || cost[t] < cost[at]))
            at = t;
    if (!at)
        return kr_fail(KR_ENUMBER, "the axis of rotation cannot be found: the projections are empty");
    double a = at > low ? cost[at - 1] : NAN, b = cost[at], c = at < high ? cost[at + 1] : NAN, bend = a - 2 * b + c;
    if (b > 0.3 * 0.3 && !(b < 0.8 * 0.8 * cost[n - 1]))
        return kr_fail(KR_EREFUSED, "the axis of rotation cannot be found: opposite views differ by %.3g of their size at best; give its column (--axis)", sqrt(b));
    if (n > 2 * MEET && (at <= low + 1 || at >= high - 1))
        return kr_fail(KR_EREFUSED, "the axis of rotation cannot be found: opposite views agree best at column %.1f, where hardly anything is left to compare; give its column (--axis)", (double)at / 2);
    *column = (double)at / 2 + (isfinite(bend) && bend > 0 ? (a - c) / bend / 4 : 0);
    *mismatch = sqrt(b);
    return 0;
}

/* ---- Rings ---- */
struct rank { float value; long view; };
static int by_value(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value ? 1 : (x->view > y->view) - (x->view < y->view);
}
static int by_number(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int kr_ct_rings(kr_array *y, long width)
{
    long n = y->n[KR_U], rows = y->n[KR_V], views = y->n[KR_VIEW], half = width / 2;
    if (width < 3 || width > 501)
        return kr_fail(KR_EREFUSED, "a median over %ld columns; 3 to 501 make sense", width);
    kr_auto struct rank *s = kr_alloc((size_t)(n * views), sizeof *s);
    kr_auto float *window = kr_alloc((size_t)(2 * half + 1), sizeof *window);
    if (!s || !window)
        return kr_error_code();
    for (long row = 0; row < rows; row++) {
        for (long k = 0; k < n; k++) {
            for (long v = 0; v < views; v++)
                s[k * views + v] = (struct rank){ KR_R(y)[(v * rows + row) * n + k], v };
            qsort(s + k * views, (size_t)views, sizeof *s, by_value);
        }
        for (long v = 0; v < views; v++)
            for (long k = 0; k < n; k++) {
                for (long i = -half; i <= half; i++) {
                    long at = k + i < 0 ? -(k + i) - 1 : k + i >= n ? 2 * n - 1 - (k + i) : k + i;
                    window[i + half] = s[(at < 0 ? 0 : at >= n ? n - 1 : at) * views + v].value;
                }
                qsort(window, (size_t)(2 * half + 1), sizeof *window, by_number);
                KR_R(y)[(s[k * views + v].view * rows + row) * n + k] = window[half];
            }
    }
    return 0;
}

/* ---- From a file to a scan ---- */
kr_ct_opts kr_ct_preset(void) { return (kr_ct_opts){ .log = "auto", .axis = NAN, .model = KR_RAY_JOSEPH }; }

int kr_ct_known(kr_projections **out, const char *source, const kr_trace *trace)
{
    struct stat st;
    *out = NULL;
    if (!stat(source, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))      /* of a pipe nothing is read twice */
        return 0;
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    int is = p ? 0 : kr_error_code();
    for (int i = 0; kr_projections_kinds[i] && !is; i++)
        is = kr_projections_kinds[i]->read ? kr_projections_kinds[i]->read(p, source, trace) : 0;
    if (is > 0 && p->y)
        *out = p;
    else
        kr_projections_unref(&p);
    return is;
}

/* Whether rows from..to - 1 look like counts or transmissions: the outermost columns, which the object seldom covers, are above the mean. */
static bool darker_within(const kr_array *y, long from, long to)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], lines = (to - from) * y->n[KR_VIEW];
    double edge = 0, all = 0;
    for (long i = 0; i < lines; i++) {
        const float *p = KR_R(y) + (i / (to - from) * rows + from + i % (to - from)) * columns;
        edge += ((double)p[0] + (double)p[columns - 1]) / 2;
        for (long u = 0; u < columns; u++)
            all += (double)p[u] / (double)columns;
    }
    return all > 0 && edge > 1.05 * all;
}

static const double MOST = 20;            /* no ray comes through what has a line integral of 20: two photons in a thousand millions */

/* Warns where the object reaches beyond both ends of the detector: there line integrals do not fall to those of air. */
static void whole(const kr_array *y, long from, long to, const char *name, const kr_trace *trace)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], lines = (to - from) * y->n[KR_VIEW], few = columns / 50 + 1;
    double edge[2] = { 0, 0 }, most = 0;
    for (long i = 0; i < lines; i++) {
        const float *p = KR_R(y) + (i / (to - from) * rows + from + i % (to - from)) * columns;
        double middle = 0;
        for (long u = 0; u < columns; u++) {
            edge[0] += u < few ? (double)p[u] / (double)(few * lines) : 0;
            edge[1] += u >= columns - few ? (double)p[u] / (double)(few * lines) : 0;
            middle = fmax(middle, (double)p[u]);
        }
        most += middle / (double)lines;
    }
    if (columns >= 16 && fmin(edge[0], edge[1]) > 0.1 * most)
        kr_say(trace, KR_WARNING, "%s: projections are cut off: at both ends of the detector line integrals are still %.2g and %.2g of the largest, %.3g. Values rise towards the edge of what was seen; "
               "sirt or tv on a larger image (--matrix) leave less of it", name, edge[0] / most, edge[1] / most, most);
}

/* What is left where the stated angles are multiplied by `times`; NAN: nothing to compare there. */
static double left_at(const kr_projections *p, double axis, double times)
{
    kr_projections q = *p;
    double column, mismatch = NAN, before, otherwise;
    kr_auto double *angle = kr_alloc((size_t)p->views, sizeof *angle);
    for (long i = 0; angle && i < p->views; i++)
        angle[i] = times * p->angle[i];
    q.angle = angle;
    kr_rays *r = angle ? kr_projections_rays(&q, p->y->n[KR_V], axis) : NULL;
    if (!r || (p->beam == KR_PARALLEL ? kr_ct_axis(&column, &mismatch, p->y, r) : kr_ct_axis_fan(&column, &mismatch, &before, &otherwise, p->y, r)) || !isfinite(column))
        mismatch = NAN;
    kr_error_clear();
    kr_rays_unref(&r);
    return mismatch;
}

/* Warns where views cover so little that their angles look like radians; refuses those of a list that are all the same. */
static int angles_make_sense(const kr_projections *p, const kr_rays *r, const char *name, const kr_trace *trace)
{
    bool same = !p->rays && p->angle && p->views > 1;
    for (long i = 1; same && i < p->views; i++)
        same = !(fabs(p->angle[i] - p->angle[0]) > 0);
    if (same)
        return kr_fail(KR_EUSAGE, "%s: all %ld views lie at the same angle, %g degrees: --angles FILE, or angles=FROM:TO:N in --geometry, says where each lies", name, p->views, p->angle[0]);
    int axis = r->rows > 1 ? kr_rays_axis(r) : 2;
    kr_rays *turned = axis == 2 || axis < 0 ? NULL : kr_rays_about_z(r, axis);
    kr_arc arc = { 0 };
    if (r->views >= 8 && axis >= 0 && (axis == 2 || turned) && !kr_arc_of(&arc, turned ? turned : r, NULL)) {
        double all = arc.covered * 180 / M_PI;
        if (all > 0.3 && all < 6.5)
            kr_say(trace, KR_WARNING, "the angles cover %.3g degrees: are they radians? Degrees are wanted", all);
    }
    kr_error_clear();
    kr_rays_unref(&turned);
    return 0;
}

/* Warns where angles look like another range than was measured: half of it, or twice as much. mismatch: what is left as they are; NAN: not known. */
static void range_of(const kr_projections *p, double axis, double mismatch, const char *name, const kr_trace *trace)
{
    double low = INFINITY, high = -INFINITY, step;
    if (p->rays || !p->angle || p->views < 8)
        return;
    for (long i = 0; i < p->views; i++) {
        low = fmin(low, p->angle[i]);
        high = fmax(high, p->angle[i]);
    }
    step = (high - low) / (double)(p->views - 1);
    static const struct { double times, from, to; } other[] = { { 2, 175, 185 }, { 0.5, 350, 370 }, { 0.5, 710, 730 } };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        double all = high - low + step, left = all >= other[i].from && all <= other[i].to ? left_at(p, axis, other[i].times) : NAN;
        if (left < 0.2 && !(mismatch < 2 * left + 0.005))
            kr_say(trace, KR_WARNING, "%s: the angles cover %.4g degrees, but rays that were measured in both directions differ by only %.3g of their size if the views cover %.4g: is the range of "
                   "angles right?", name, all, left, other[i].times * all);
    }
}

/* Refuses line integrals that are not finite, which would spread over the whole image. */
static int all_finite(const kr_array *y, long from, long to, const char *name)
{
    long columns = y->n[KR_U], rows = y->n[KR_V], bad = 0, first = 0;
    for (long i = 0; i < columns * rows * y->n[KR_VIEW]; i++)
        if (i / columns % rows >= from && i / columns % rows < to && !isfinite(KR_R(y)[i]) && !bad++)
            first = i;
    return bad ? kr_fail(KR_ENUMBER, "%s: %ld of %ld line integrals are not finite, the first in view %ld, row %ld, column %ld", name, bad,
                         columns * (to - from) * y->n[KR_VIEW], first / columns / rows, first / columns % rows, first % columns) : 0;
}

static int integrals(kr_projections *p, const char *name, const kr_ct_opts *o, long from, long to, long *replaced, const kr_trace *trace)
{
    bool log = !strcmp(o->log, "on") || (!strcmp(o->log, "auto") && p->white);
    if (!log && p->white)
        kr_say(trace, KR_WARNING, "--log off: the white field is not used");
    *replaced = log ? kr_ct_log(p->y, p->white, p->dark) : 0;
    if (*replaced < 0)
        return (int)*replaced;
    if (*replaced)
        kr_say(trace, KR_WARNING, "%s: %ld of %ld transmissions were 0, negative or not finite and were replaced", name, *replaced, kr_count(kr_array_shape(p->y)));
    if (all_finite(p->y, from, to, name))
        return kr_error_code();
    bool bright = !strcmp(o->log, "auto") && !log && !p->integrals && darker_within(p->y, from, to);
    if (bright && kr_max_abs(p->y) > MOST)
        return kr_fail(KR_EREFUSED, "%s: numbers of up to %g that are larger beside the object than within it are counts, not line integrals: --white FILE gives the counts without the object "
                       "(and --dark FILE those without the beam); --log off says that they are line integrals", name, kr_max_abs(p->y));
    if (bright)
        kr_say(trace, KR_WARNING, "%s: the numbers are larger beside the object than within it, as counts are and line integrals are not: --white FILE gives "
               "the counts without the object, --log on takes transmissions, --log off says that they are line integrals", name);
    return (o->rings && kr_ct_rings(p->y, o->rings)) || (o->stripes && kr_ct_rings_wavelet(p->y, o->stripes, 1))
        || (o->terms && kr_ct_polynomial(p->y, o->harden, o->terms)) ? kr_error_code() : 0;
}

/* The axis of fans and cones on a full turn; the middle where nothing speaks for another. Warns where the views seem to turn the other way. */
static int fan_axis(double *axis, double *mismatch, const kr_projections *p, const char *name, const kr_trace *trace)
{
    double column, before, otherwise;
    kr_rays *r = kr_projections_rays(p, p->y->n[KR_V], *axis);
    int e = r ? kr_ct_axis_fan(&column, mismatch, &before, &otherwise, p->y, r) : kr_error_code();
    kr_rays_unref(&r);
    if (e == KR_EREFUSED)
        kr_say(trace, KR_INFO, "%s: %s, so that neither axis nor direction of rotation are checked", name, kr_error());
    if (e == KR_EREFUSED || e == KR_ENUMBER) {                       /* what the file says */
        kr_error_clear();
        return 0;
    }
    if (e)
        return e;
    if (otherwise < 0.7 * *mismatch)
        kr_say(trace, KR_WARNING, "%s: rays and those that run the other way differ by %.3g of their size, but by %.3g where the views turn the other way about: is the direction of rotation "
               "right? --geometry ...,turn=right counts angles clockwise, flip=u turns the detector's columns about", name, *mismatch, otherwise);
    else if (isfinite(column) && fabs(column - *axis) > 0.25 && *mismatch < 0.8 * before && *mismatch < 0.3) {
        kr_say(trace, KR_INFO, "axis of rotation at column %.2f of %ld, where rays in both directions differ by %.3g of their size; %.3g in the middle", column, p->y->n[KR_U], *mismatch, before);
        *axis = column;
    }
    *mismatch = isfinite(column) ? *mismatch : (double)NAN;          /* of a whole turn, for what compares ranges of angles */
    return 0;
}

static int find_axis(kr_ct_facts *f, const kr_projections *p, const char *name, const kr_ct_opts *o, const kr_trace *trace)
{
    long columns = p->y->n[KR_U];
    *f = (kr_ct_facts){ .axis = isfinite(o->axis) ? o->axis : (double)(columns - 1) / 2, .mismatch = NAN };
    if (isfinite(o->axis) && !(o->axis >= 0 && o->axis <= (double)(columns - 1)))
        return kr_fail(KR_EUSAGE, "an axis of rotation at column %g (--axis); one from 0 to %ld is wanted", o->axis, columns - 1);
    if (isfinite(o->axis))
        return 0;
    if (p->beam == KR_DIVERGENT)
        return fan_axis(&f->axis, &f->mismatch, p, name, trace);
    kr_rays *r = kr_projections_rays(p, p->y->n[KR_V], f->axis);
    double found = f->axis, t[2] = { -1, 1 }, at[3], d[3];
    int e = r ? kr_ct_axis(&found, &f->mismatch, p->y, r) : kr_error_code();
    for (int k = 0; r && columns > 1 && k < 2; k++) {                /* where the file itself puts the axis: f->axis counts from there */
        kr_ray(r, 0, k ? (double)(columns - 1) : 0, (double)(r->rows - 1) / 2, at, d);
        t[k] = at[0] * d[1] - at[1] * d[0];
    }
    kr_rays_unref(&r);
    if (!e && fabs(t[1] - t[0]) > 0)
        f->axis += found - t[0] / (t[0] - t[1]) * (double)(columns - 1);
    if (e == KR_EREFUSED) {
        kr_say(trace, KR_WARNING, "%s; the middle column %g is taken", kr_error(), f->axis);
        kr_error_clear();
    } else if (e)
        return e;
    else
        kr_say(trace, KR_INFO, "axis of rotation at column %.2f of %ld, where opposite views differ by %.3g of their size", found, columns, f->mismatch);
    return 0;
}

/* Voxels of another size in the same place. */
static void resize(kr_grid *g, double voxel)
{
    for (int d = 0; d < 3; d++) {
        double size = fabs(g->step[d]) * (double)g->n[d], middle = g->first[d] + g->step[d] * (double)(g->n[d] - 1) / 2;
        if (d == 2 && g->n[2] == 1)
            continue;
        g->n[d] = (long)fmin(fmax(ceil(size / voxel - 1e-6), 1), 1L << 17);
        g->step[d] = copysign(voxel, g->step[d]);
        g->first[d] = middle - g->step[d] * (double)(g->n[d] - 1) / 2;
    }
}

/* The voxels of a grid whose centres lie within a box: a part of the same image. */
static int cut(kr_grid *g, const double box[3][2])
{
    for (int d = 0; d < 3; d++) {
        double a = (box[d][0] - g->first[d]) / g->step[d], b = (box[d][1] - g->first[d]) / g->step[d];
        if (!(fabs(a - b) > 0))                                      /* a plane: that of the nearest voxels */
            a = b = a > -0.5 && a < (double)g->n[d] - 0.5 ? rint(a) : a;
        double low = fmax(ceil(fmin(a, b) - 1e-6), 0), high = fmin(floor(fmax(a, b) + 1e-6), (double)(g->n[d] - 1));
        if (!(low <= high))
            return kr_fail(KR_EUSAGE, "no voxel has its centre between %g and %g along %c: the volume reaches from %.4g to %.4g, its voxels are %.4g apart", box[d][0], box[d][1], "xyz"[d],
                           fmin(g->first[d], g->first[d] + g->step[d] * (double)(g->n[d] - 1)), fmax(g->first[d], g->first[d] + g->step[d] * (double)(g->n[d] - 1)), fabs(g->step[d]));
        g->first[d] += low * g->step[d];
        g->n[d] = (long)(high - low) + 1;
    }
    return 0;
}

static int grid_of(kr_grid *g, const kr_rays *r, const kr_projections *p, const kr_ct_opts *o)
{
    *g = kr_grid_of(r);
    if (!p->volume)
        g->n[2] = 1, g->first[2] = 0;
    if (p->grid.n[0] && !o->matrix)
        *g = p->grid;
    if (o->voxel > 0)
        resize(g, o->voxel);
    if (o->matrix) {
        kr_grid middle = kr_grid_centred((long[3]){ o->matrix, o->matrix, g->n[2] }, g->step);
        middle.first[2] = g->first[2];
        *g = middle;
    }
    return o->boxed ? cut(g, o->box) : 0;
}

/* Means of neighbouring elements; what is left over at the end is dropped. */
static int bin(kr_projections *p, long each)
{
    long by[2] = { each, p->volume ? each : 1 }, n[2] = { p->y->n[KR_U] / by[0], p->y->n[KR_V] / by[1] }, columns = p->y->n[KR_U], rows = p->y->n[KR_V], views = p->y->n[KR_VIEW];
    if (n[0] < 1 || n[1] < 1)
        return kr_fail(KR_EUSAGE, "--bin %ld: the detector has %ld x %ld elements", each, columns, rows);
    kr_array *y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = n[0], [KR_V] = n[1], [KR_VIEW] = views));
    if (!y)
        return kr_error_code();
    for (long i = 0; i < n[0] * n[1] * views; i++) {
        const float *from = KR_R(p->y) + (i / (n[0] * n[1]) * rows + i / n[0] % n[1] * by[1]) * columns + i % n[0] * by[0];
        double sum = 0;
        for (long v = 0; v < by[1]; v++)
            for (long u = 0; u < by[0]; u++)
                sum += (double)from[v * columns + u];
        KR_R(y)[i] = (float)(sum / (double)(by[0] * by[1]));
    }
    kr_array_unref(&p->y);
    p->y = y;
    double left[2] = { (double)(n[0] * by[0] - columns) / 2, (double)(n[1] * by[1] - rows) / 2 }, pixel[2] = { p->pixel[0] > 0 ? p->pixel[0] : 1, p->pixel[1] > 0 ? p->pixel[1] : p->pixel[0] > 0 ? p->pixel[0] : 1 };
    for (long i = 0; p->rays && i < p->rays->views; i++)
        for (int d = 0; d < 3; d++) {
            p->rays->centre[i][d] += left[0] * p->rays->u[i][d] + left[1] * p->rays->v[i][d];
            p->rays->u[i][d] *= (double)by[0];
            p->rays->v[i][d] *= (double)by[1];
        }
    if (p->rays) {
        p->rays->columns = n[0];
        p->rays->rows = n[1];
    }
    for (int d = 0; d < 2; d++) {
        p->shift[d] += left[d] * pixel[d];
        p->pixel[d] = pixel[d] * (double)by[d];
    }
    return 0;
}

/* Rows from..to - 1 as slices {U,VIEW,SLICE}. Where memory is limited some at a time, so that views are read over and over by pieces, not by rows. */
struct rows { kr_array *to; const kr_array *y; long from, some, count; };

static int rows_of_view(void *self, long v)
{
    const struct rows *w = self;
    long columns = w->y->n[KR_U], views = w->y->n[KR_VIEW];
    for (long i = w->some; i < w->some + w->count; i++)
        memcpy(KR_R(w->to) + (i * views + v) * columns, KR_R(w->y) + (v * w->y->n[KR_V] + w->from + i) * columns, (size_t)columns * sizeof(float));
    return 0;
}

static kr_array *slices_of(const kr_array *y, long from, long to)
{
    kr_array *s = kr_array_new(KR_R32, KR_SHAPE([KR_U] = y->n[KR_U], [KR_VIEW] = y->n[KR_VIEW], [KR_SLICE] = to - from));
    size_t slice = (size_t)(y->n[KR_U] * y->n[KR_VIEW]) * sizeof(float), pages = kr_mem_pages() / 4;
    struct rows w = { s, y, from, 0, pages ? pages > slice ? (long)(pages / slice) : 1 : to - from };
    for (int e = 0; s && w.some < to - from; w.some += w.count) {
        w.count = w.count < to - from - w.some ? w.count : to - from - w.some;
        e = kr_for(y->n[KR_VIEW], rows_of_view, &w);
        kr_assert(!e);
    }
    return s;
}

int kr_ct_scan(kr_scan **out, kr_projections *p, const char *name, const kr_ct_opts *o, kr_ct_facts *facts, const kr_trace *trace)
{
    long rows = p->y->n[KR_V], to = o->to ? o->to : rows;
    kr_ct_facts own, *f = facts ? facts : &own;
    *out = NULL;
    if (o->from < 0 || to > rows || o->from >= to)
        return kr_fail(KR_EUSAGE, "--slices %ld:%ld: FROM:TO within 0:%ld is wanted", o->from, to, rows);
    if (p->volume && to - o->from < rows)
        return kr_fail(KR_EUSAGE, "--slices is for parallel beams and fans: a cone beam is one volume");
    long replaced = 0;
    kr_ct_opts binned = *o;
    long each = o->bin ? o->bin : 1;
    if (each < 1 || !(o->voxel >= 0) || !isfinite(o->voxel))
        return kr_fail(KR_EUSAGE, "--bin %ld, --voxel %g: 1 or more elements and a length above 0 are wanted", o->bin, o->voxel);
    double left = (double)(p->y->n[KR_U] % each) / 2;               /* elements that are left over move the middle */
    binned.axis = (o->axis - (double)(each - 1) / 2 - left) / (double)each;
    if (integrals(p, name, o, o->from, to, &replaced, trace) || (o->keep && kr_array_write(p->y, NULL, o->keep)) || (each > 1 && bin(p, each)) || find_axis(f, p, name, &binned, trace))
        return kr_error_code();
    rows = p->y->n[KR_V];
    to = p->volume ? rows : to;
    whole(p->y, o->from, to, name, trace);
    if (!isfinite(o->axis))
        range_of(p, f->axis, f->mismatch, name, trace);
    f->replaced = replaced;
    if (!p->lengths)
        kr_say(trace, KR_WARNING, "%s: the size of the detector's elements is not known, so that lengths are in elements (--geometry parallel:pixel=MM says it)", name);
    kr_scoped(scan) s = kr_scan_new();
    if (!s || !(s->rays = kr_projections_rays(p, p->volume ? rows : 1, f->axis)) || angles_make_sense(p, s->rays, name, trace) || !(s->data = p->volume ? kr_array_ref(p->y) : slices_of(p->y, o->from, to))
        || !(s->file = kr_strdup(name)) || kr_meta_set(s->meta, "unit", "%s", p->unit ? p->unit : p->lengths ? "1/mm" : "1/pixel")
        || kr_meta_set(s->meta, "kray_ct", "axis=%.4f rings=%ld stripes=%d hardening=%d log=%s model=%s", f->axis, o->rings, o->stripes, o->terms, o->log, kr_ray_model_name(o->model)))
        return kr_error_code();
    s->shape = kr_array_shape(s->data);
    if (grid_of(&s->grid, s->rays, p, o))
        return kr_error_code();
    double low = p->volume ? s->grid.first[2] : ((double)o->from - (double)(rows - 1) / 2) * s->grid.step[2];      /* slices: z = 0 is the middle of the detector */
    if (kr_meta_set(s->meta, "first_voxel_mm", "%.9g %.9g %.9g", s->grid.first[0], s->grid.first[1], low))
        return kr_error_code();
    f->axis = f->axis * (double)each + (double)(each - 1) / 2 + left;
    s->ray_model = o->model;
    s->format = p->kind;
    kr_array_unref(&p->y);
    kr_array_unref(&p->white);
    kr_array_unref(&p->dark);
    *out = s;
    s = NULL;
    return 0;
}

int kr_ct_place(kr_geom *g, const kr_scan *s, const long n[3])
{
    const char *unit = kr_meta_get(s->meta, "unit"), *place = kr_meta_get(s->meta, "first_voxel_mm");
    double first[3] = { s->grid.first[0], s->grid.first[1], s->grid.first[2] }, *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    if (place && sscanf(place, "%lf %lf %lf", first, first + 1, first + 2) != 3)
        return kr_fail(KR_EFORMAT, "first_voxel_mm = %s; three numbers are wanted", place);
    for (int d = 0; d < 3; d++) {
        double way = s->grid.step[d] < 0 ? -1 : 1, patient = d < 2 ? -1 : 1;      /* x, y, z as RAS; kr_geom has LPS */
        g->fov_mm[d] = fabs(s->grid.step[d]) * (double)n[d];
        for (int k = 0; k < 3; k++)
            dir[d][k] = k == d ? way * patient : 0;
        g->position_mm[0][d] = patient * (first[d] + s->grid.step[d] * (double)(d < 2 || n[d] > 1 ? n[d] / 2 : 0));
    }
    g->spacing_mm = fabs(s->grid.step[2]);
    g->known = !unit || strcmp(unit, "1/pixel");
    return 0;
}

int kr_ct_finish(kr_image *im, const kr_scan *s)
{
    const char *unit = kr_meta_get(s->meta, "unit");
    kr_array *x = im->data->n[KR_SLICE] > 1 ? kr_array_rename(im->data, KR_SLICE, KR_Z) : kr_array_ref(im->data);
    if (!x)
        return kr_error_code();
    kr_array_unref(&im->data);
    im->data = x;
    kr_geom *g = kr_geom_new(1);
    if (!g)
        return kr_error_code();
    kr_geom_unref(&im->geom);
    im->geom = g;
    return kr_ct_place(g, s, x->n) || kr_meta_set(im->meta, "upright", "x to the right, y up") || kr_image_set_unit(im, unit ? unit : "1/mm") ? kr_error_code() : 0;
}

int kr_ct_hounsfield(kr_image *im, double water, double air)
{
    if (!(water > air) || !isfinite(air) || !isfinite(water) || !strcmp(kr_image_unit(im), "1/pixel") || !strcmp(kr_image_unit(im), "HU"))
        return kr_fail(KR_EREFUSED, "Hounsfield units by attenuations of %g of water and %g of air of an image in '%s': the first above the other, and an image per length (the size of the detector's "
                       "elements: --geometry parallel:pixel=MM) are wanted", water, air, kr_image_unit(im));
    for (long i = 0, n = kr_count(kr_array_shape(im->data)); i < n; i++)
        KR_R(im->data)[i] = (float)(1000 * ((double)KR_R(im->data)[i] - water) / (water - air));
    return kr_image_set_unit(im, "HU") || kr_meta_set(im->meta, "kray_hounsfield", "water=%.9g air=%.9g", water, air) ? kr_error_code() : 0;
}
