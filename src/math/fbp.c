/* fbp.c: filtered back-projection: weights of lines that were measured twice, the ramp filter, and back-projection pixel by pixel. */
#include "kray/rowfilter.h"
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const windows[KR_WINDOWS] = { "ramp", "shepp-logan", "cosine", "hamming", "hann", "none" };
const char *kr_fbp_window_name(enum kr_fbp_window w) { return windows[w]; }
int kr_fbp_window_named(const char *name)
{
    for (int i = 0; i < KR_WINDOWS; i++)
        if (!strcmp(name, windows[i]))
            return i;
    return -1;
}

/* ---- Filters ---- */
/* The window at frequency k of P, as NumPy and scikit-image have it: a symmetric window of P points with its middle moved to 0. */
static double windowed(enum kr_fbp_window w, long k, long P)
{
    double f = (double)k / (double)P, n = (double)(P - 1), a = w == KR_WINDOW_HANN ? 0.5 : 0.54, b = 1 - a;
    switch (w) {
    case KR_WINDOW_SHEPP_LOGAN: return k ? sin(M_PI * f) / (M_PI * f) : 1;
    case KR_WINDOW_COSINE: return cos(M_PI * f);
    case KR_WINDOW_HAMMING:
    case KR_WINDOW_HANN: return 2 * k == P ? a - b : a - b * cos(M_PI * (double)P / n) * cos(2 * M_PI * (double)k / n);
    default: return 1;
    }
}

void kr_fbp_filter(double *H, long P, enum kr_fbp_window w, double arc)
{
    for (long k = 0; k <= P / 2; k++) {
        double t = 2 * M_PI * (double)k / (double)P, sum = 0.25, c2 = 2 * cos(2 * t), now = cos(t), before = now;      /* cos(n t), n odd */
        for (long n = 1; n <= P / 2 && w != KR_WINDOW_NONE; n += 2) {
            double q = arc > 0 ? M_PI * sin((double)n * arc) / arc : M_PI * (double)n, next = c2 * now - before;
            sum -= (2 * n == P ? 1 : 2) * now / (q * q);
            before = now;
            now = next;
        }
        H[k] = w == KR_WINDOW_NONE ? 1 : sum * windowed(w, k, P);
    }
}

int ray_filter(float *y, const ray_rows *from, const double *scale, enum kr_fbp_window w, double arc, bool spline)
{
    long P = 64;
    while (P < 2 * from->n)
        P *= 2;
    kr_auto double *H = kr_alloc((size_t)P / 2 + 1, sizeof *H);
    if (!H)
        return kr_error_code();
    kr_fbp_filter(H, P, w, arc);
    for (long k = 0; spline && k <= P / 2; k++)                      /* what a quadratic B-spline makes of its coefficients at the elements */
        H[k] /= (3 + cos(2 * M_PI * (double)k / (double)P)) / 4;
    kr_rowfilter *f = kr_rowfilter_new(w == KR_WINDOW_NONE && !spline ? NULL : H, P);
    int e = f ? kr_rowfilter_apply(f, y, &(kr_rowset){ from->p, from->weight, scale, from->n, from->in, from->lead, from->rows * from->views, from->rows }) : kr_error_code();
    kr_rowfilter_unref(&f);
    return e;
}

/* ---- What a view stands for ---- */
struct turn { double at; long view; };
static int by_angle(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at ? 1 : (x->view > y->view) - (x->view < y->view);
}
static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int arc_of(kr_arc *arc, const kr_rays *r, double *share, double period)
{
    long n = r->views;
    kr_auto struct turn *t = kr_alloc((size_t)n, sizeof *t);
    kr_auto double *gap = kr_alloc((size_t)n, 2 * sizeof *gap);
    if (!t || !gap)
        return kr_error_code();
    for (long i = 0; i < n; i++) {
        double a = fmod(atan2(r->source[i][0], -r->source[i][1]), period);
        t[i] = (struct turn){ a < 0 ? a + period : a, i };
        if (period - t[i].at < 1e-9)
            t[i].at = 0;
    }
    qsort(t, (size_t)n, sizeof *t, by_angle);
    double *sorted = gap + n, usual = period;
    for (long i = 0; i < n; i++)
        sorted[i] = gap[i] = i + 1 < n ? t[i + 1].at - t[i].at : t[0].at + period - t[i].at;
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    for (long i = n / 2; i < n; i++)                                 /* the median, of views that do not repeat */
        if (sorted[i] > 1e-6) {
            usual = sorted[i];
            break;
        }
    *arc = (kr_arc){ .period = period, .usual = usual, .covered = period, .start = t[0].at };
    if (share)
        memset(share, 0, (size_t)n * sizeof *share);
    for (long i = 0; i < n; i++) {
        bool hole = n > 1 && gap[i] > fmax(3 * usual, 3 * M_PI / 180);
        if (hole) {
            arc->covered -= gap[i] - usual;
            if (arc->holes < KR_HOLES) {
                arc->hole[arc->holes][0] = t[i].at;
                arc->hole[arc->holes][1] = t[i].at + gap[i];
            }
            arc->holes++;
            arc->start = t[(i + 1) % n].at;
        }
        if (share) {
            share[t[i].view] += (hole ? usual : gap[i]) / 2;
            share[t[(i + 1) % n].view] += (hole ? usual : gap[i]) / 2;
        }
    }
    return 0;
}

int kr_arc_of(kr_arc *arc, const kr_rays *r, double *share) { return arc_of(arc, r, share, r->beam == KR_PARALLEL ? M_PI : 2 * M_PI); }

/* How sure a view at this angle is there: 0 in a hole, rising over 10 degrees from its edges. */
static double sure(const kr_arc *a, double at)
{
    double least = INFINITY, soft = 10 * M_PI / 180;
    for (long i = 0; i < a->holes && i < KR_HOLES; i++) {
        double from = a->hole[i][0] - at, turns = floor(from / a->period), before = from - turns * a->period;          /* to the beginning of the hole */
        double width = a->hole[i][1] - a->hole[i][0], inside = a->period - before;
        if (inside < width && inside > 0)
            return 0;
        least = fmin(least, fmin(before, a->period - before - width));
    }
    double s = sin(M_PI / 2 * fmin(1, (least + a->usual / 2) / soft));
    return s * s;
}

/* How far rays reach to either side of the axis: fan angles, or (parallel beams) lengths. lap: to the shorter side, where a detector that stands aside measures lines
 * of a full turn once that others measure twice; `side` +-1 is the longer one; lap 0: it does not stand aside. */
struct reach { double low, high, lap, side; };

/* Of a ray at g: 1 where it is measured once, and 1 with its opposite where that is measured, too. A detector aside by a tenth of its width or more takes all of what is
 * measured twice to pass over, as RTK does (Wang, Med Phys 29:1634 (2002)); one by less the outer quarter, which keeps the noise of the middle low. */
static double once(const struct reach *r, double g)
{
    double at = g * r->side, soft = fabs(r->high - r->low) >= 0.1 * (r->high + r->low) ? r->lap : r->lap / 4, in = fmin(fmax(fabs(at) - (r->lap - soft), 0) / soft, 1);
    double s = sin(M_PI / 2 * in);
    return (1 + copysign(soft < r->lap ? s * s : s, at)) / 2;
}

/* Weight of a line that a view at `at` has at fan angle g. */
static double redundancy(const kr_arc *a, const struct reach *r, double at, double g, double most)
{
    double delta = (a->covered - M_PI) / 2, b = at - a->start;
    if (!a->holes)
        return r->lap > 0 ? once(r, g) : 0.5;
    b -= floor(b / a->period + 1e-9) * a->period;
    if (a->holes == 1 && delta >= most * (1 - 1e-9)) {               /* Parker 1982 */
        double s = b < 2 * (delta - g) ? sin(M_PI / 4 * b / fmax(delta - g, 1e-9))
                                       : b > M_PI - 2 * g ? sin(M_PI / 4 * (M_PI + 2 * delta - b) / fmax(delta + g, 1e-9)) : 1;
        return s * s;
    }
    double own = fmax(sure(a, at), 1e-3), other = sure(a, at + M_PI + 2 * g);
    return own / (own + other);
}

/* ---- A view's geometry ---- */
static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

ray_view ray_view_of(const kr_rays *r, long i)
{
    const double *u = r->u[i], *v = r->v[i];
    ray_view w = { .n = { u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0] } };
    double size = sqrt(dot(w.n, w.n)), e[3], o[3];
    for (int d = 0; d < 3; d++) {
        w.n[d] /= size;
        e[d] = r->centre[i][d] - r->source[i][d];
        o[d] = -r->source[i][d];
    }
    w.depth = dot(e, w.n);
    w.axis = dot(o, w.n) / w.depth;
    w.depth = fabs(w.depth);
    return w;
}

/* Where the ray through an element runs: of a fan its angle from the ray through the axis, of parallel beams its distance from the axis. */
static double aside(const kr_rays *r, long view, double column, double row, double d[3])
{
    double p[3];
    kr_ray(r, view, column, row, p, d);
    if (r->beam == KR_PARALLEL)
        return p[0] * d[1] - p[1] * d[0];
    double across = d[0] * r->source[view][1] - d[1] * r->source[view][0], along = -(d[0] * r->source[view][0] + d[1] * r->source[view][1]);
    return atan2(across, along);
}

/* What the weights of rays follow from: which angles were measured, the widest fan about the axis; of curved detectors the arc of an element. */
struct survey { kr_arc a; double most, arc; struct reach reach; long lead, trail; };

/* Whether a detector on a full turn stands aside, and then how many columns its filtered rows go on at the shorter side: the axis is in the middle of them. */
static int stands_aside(struct survey *w, const kr_rays *r)
{
    struct reach *e = &w->reach;
    kr_arc turn;
    double mid = (double)(r->rows - 1) / 2, d[3], last = (double)(r->columns - 1);
    *e = (struct reach){ INFINITY, INFINITY, 0, 1 };
    for (long i = 0; i < r->views; i++) {
        double g[2] = { aside(r, i, 0, mid, d), aside(r, i, last, mid, d) };
        w->most = fmax(w->most, fmax(fabs(g[0]), fabs(g[1])));
        e->low = fmin(e->low, -fmin(g[0], g[1]));
        e->high = fmin(e->high, fmax(g[0], g[1]));
    }
    double wide = (e->high + e->low) / fmax(last, 1);
    if (r->columns < 2 || arc_of(&turn, r, NULL, 2 * M_PI))
        return r->columns < 2 ? 0 : kr_error_code();
    if (e->low < -wide / 2 || e->high < -wide / 2)
        return kr_fail(KR_EREFUSED, "filtered back-projection: the axis of rotation lies %.4g columns beside the detector: what is near the axis is never seen. Is the column of the axis right "
                       "(--axis), or the detector's place in the geometry? sirt, cgls and tv take such data", -fmin(e->low, e->high) / wide);
    if (turn.holes || fabs(e->high - e->low) < 1.5 * wide || fmin(e->low, e->high) < 2 * wide)
        return 0;
    e->lap = fmin(e->low, e->high);
    e->side = e->high > e->low ? 1 : -1;
    double low = 0, high = last, first = aside(r, 0, 0, mid, d);    /* the axis's column in the first view */
    for (int k = 0; k < 60; k++) {
        double at = (low + high) / 2;
        *((aside(r, 0, at, mid, d) > 0) == (first > 0) ? &low : &high) = at;
    }
    long more = (long)ceil(fabs(last - 2 * low));
    w->lead = low < last - low ? more : 0;
    w->trail = more - w->lead;
    return 0;
}

/* And what a filtered row of each view is to be multiplied by. */
static int survey(struct survey *w, double *scale, const kr_rays *r, const kr_fbp_opts *o, const kr_trace *trace)
{
    *w = (struct survey){ 0 };
    kr_auto double *share = kr_alloc((size_t)r->views, sizeof *share);
    if (!share || kr_arc_of(&w->a, r, share) || stands_aside(w, r))
        return kr_error_code();
    for (long i = 0; i < r->views; i++) {
        ray_view v = ray_view_of(r, i);
        double all = o->even ? w->a.covered / (double)r->views : share[i];
        double u = sqrt(dot(r->u[i], r->u[i]));
        if (r->beam == KR_PARALLEL) {
            double s = sqrt(dot(r->source[i], r->source[i]));
            scale[i] = all / (u * fabs(dot(r->source[i], v.n)) / s);
            if (o->window == KR_WINDOW_NONE)
                scale[i] = all;
            continue;
        }
        double e[3], sod = sqrt(dot(r->source[i], r->source[i])), far;
        for (int k = 0; k < 3; k++)
            e[k] = r->centre[i][k] - r->source[i][k];
        far = sqrt(dot(e, e));
        if (!(v.axis > 0.01) || !(v.axis <= 1 + 1e-9))
            return kr_fail(KR_EREFUSED, "filtered back-projection: the axis of rotation does not lie between source and detector in view %ld", i);
        if (r->curved)
            w->arc = u / far;
        scale[i] = o->window == KR_WINDOW_NONE ? all : all / (r->curved ? u / far * sod : u * v.axis);
    }
    if (r->beam == KR_DIVERGENT && w->a.holes && (w->a.holes > 1 || (w->a.covered - M_PI) / 2 < w->most * (1 - 1e-9)))
        kr_say(trace, KR_WARNING, "the views cover %.4g degrees with %ld gap%s: %s", w->a.covered * 180 / M_PI, w->a.holes, w->a.holes > 1 ? "s" : "",
               w->a.covered < M_PI + 2 * w->most ? "some lines were never measured, and filtered back-projection shows it; tv or sirt do better" :
               "lines that were measured twice are shared between their views");
    if (r->beam == KR_PARALLEL && w->a.holes)
        kr_say(trace, KR_WARNING, "the views cover %.4g of 180 degrees: filtered back-projection shows what is missing; tv or sirt do better", w->a.covered * 180 / M_PI);
    return 0;
}

/* Weights of the rays of views from..to - 1, of rows that go on at their ends. twice: of the elements that there are. */
static void weigh(float *weight, float *twice, const struct survey *s, const kr_rays *r, long from, long to)
{
    long in = r->columns - s->lead - s->trail, n = 0;
    for (long i = from; i < to; i++) {
        ray_view w = ray_view_of(r, i);
        double at = atan2(r->source[i][0], -r->source[i][1]), d[3];
        for (long v = 0; v < r->rows; v++)
            for (long k = 0; k < r->columns; k++, n++) {
                double own = 1, cosine = 1;
                if (r->beam == KR_DIVERGENT || s->reach.lap > 0) {
                    double g = aside(r, i, (double)k, (double)v, d), along = -(d[0] * r->source[i][0] + d[1] * r->source[i][1]);
                    own = r->beam == KR_PARALLEL ? 2 * once(&s->reach, g) : redundancy(&s->a, &s->reach, at, g, s->most);
                    if (r->beam == KR_DIVERGENT)
                        cosine = r->curved ? along / sqrt(dot(r->source[i], r->source[i])) : fabs(dot(d, w.n));
                }
                weight[n] = (float)(own * cosine);
                if (twice && k >= s->lead && k < s->lead + in)
                    twice[((i * r->rows) + v) * in + k - s->lead] = (float)own;
            }
    }
}

/* The same scan with more columns at both ends of the detector. */
static kr_rays *wider(const kr_rays *r, long lead, long trail)
{
    kr_rays *w = kr_rays_new(r->beam, r->views, r->columns + lead + trail, r->rows);
    double shift = (double)(trail - lead) / 2, mid = (double)(r->columns - 1) / 2, row = (double)(r->rows - 1) / 2;
    for (long i = 0; w && i < r->views; i++) {
        double d[3], next[3], before[3];
        memcpy(w->source[i], r->source[i], sizeof w->source[i]);
        memcpy(w->v[i], r->v[i], sizeof w->v[i]);
        kr_ray(r, i, mid + shift, row, w->centre[i], d);
        kr_ray(r, i, mid + shift + 1e-3, row, next, d);
        kr_ray(r, i, mid + shift - 1e-3, row, before, d);
        double u = sqrt(dot(r->u[i], r->u[i])), size = 0;
        for (int k = 0; k < 3; k++)
            size += (next[k] - before[k]) * (next[k] - before[k]);
        for (int k = 0; k < 3; k++)                                 /* along the arc, where it is one */
            w->u[i][k] = r->curved ? u * (next[k] - before[k]) / sqrt(size) : r->u[i][k];
    }
    if (w)
        w->curved = r->curved;
    return w;
}

/* ---- Back-projection of one slice ---- */
struct smear { const kr_rays *r; const kr_grid *g; const kr_raykern *k; const float *p; float *x, *rows; long pad, stride, wide, soft; bool spline; double arc; };      /* soft: columns at both ends beyond the detector */

/* m = (n + i ni + r nr) / (1 + i wi + r wr): the number of the ray, counted from `kc`, through pixels of a tile. */
struct through { double n, ni, nr, wi, wr, lambda; long kc; };
static struct through through(const struct smear *s, long view, double i0, double r0, double ic, double rc)
{
    const kr_rays *r = s->r;
    const kr_grid *g = s->g;
    struct through t = { 0 };
    double e[2], u[2] = { r->u[view][0], r->u[view][1] }, P[2] = { g->first[0] + i0 * g->step[0], g->first[1] + r0 * g->step[1] }, mid = (double)(r->columns - 1) / 2;
    double Q[2] = { g->first[0] + ic * g->step[0], g->first[1] + rc * g->step[1] };
    if (r->beam == KR_PARALLEL) {
        const double *d = r->source[view], *c = r->centre[view];
        double in = 1 / (u[0] * d[1] - u[1] * d[0]);                 /* cross products with the direction */
        double m = ((Q[0] - c[0]) * d[1] - (Q[1] - c[1]) * d[0]) * in + mid;
        t.kc = (long)rint(fmin(fmax(m, -1e6), 1e6));
        t.n = ((P[0] - c[0]) * d[1] - (P[1] - c[1]) * d[0]) * in + mid - (double)t.kc;
        t.ni = g->step[0] * d[1] * in;
        t.nr = -g->step[1] * d[0] * in;
        t.lambda = 1;
        return t;
    }
    const double *S = r->source[view];
    for (int d = 0; d < 2; d++)
        e[d] = r->centre[view][d] - S[d];
    if (r->curved) {
        double eu = (e[0] * u[0] + e[1] * u[1]) / (e[0] * e[0] + e[1] * e[1]);
        for (int d = 0; d < 2; d++)
            u[d] -= eu * e[d];
        double f = hypot(e[0], e[1]) / hypot(u[0], u[1]);
        u[0] *= f;
        u[1] *= f;
    }
    double q[2] = { Q[0] - S[0], Q[1] - S[1] }, m = -(e[0] * q[1] - e[1] * q[0]) / (u[0] * q[1] - u[1] * q[0]), k = r->curved ? atan(m) / s->arc : m;
    if (!(fabs(k) < 1e6))
        k = 1e6;
    t.kc = (long)rint(k + mid);
    double c = (double)t.kc - mid;
    if (r->curved) {
        double co = cos(c * s->arc), si = sin(c * s->arc), f[2] = { e[0], e[1] };
        for (int d = 0; d < 2; d++) {
            e[d] = co * f[d] + si * u[d];
            u[d] = co * u[d] - si * f[d];
        }
    } else
        for (int d = 0; d < 2; d++)
            e[d] += c * u[d];
    double p[2] = { P[0] - S[0], P[1] - S[1] }, den = u[0] * p[1] - u[1] * p[0], in = 1 / den;
    t.n = -(e[0] * p[1] - e[1] * p[0]) * in;
    t.ni = e[1] * g->step[0] * in;
    t.nr = -e[0] * g->step[1] * in;
    t.wi = -u[1] * g->step[0] * in;
    t.wr = u[0] * g->step[1] * in;
    t.lambda = den / (u[0] * e[1] - u[1] * e[0]);
    return t;
}

enum { SMEAR_ROWS = 8 };                   /* tangents of curved detectors are a short series                     */

static int smear_rows(void *self, long block)
{
    const struct smear *s = self;
    const kr_rays *r = s->r;
    long row = block * SMEAR_ROWS, soft = s->soft, rows = s->g->n[1] - row < SMEAR_ROWS ? s->g->n[1] - row : SMEAR_ROWS, lanes = s->k->lanes;
    float *to = s->rows + (long)kr_worker() * SMEAR_ROWS * s->stride;
    memset(to, 0, (size_t)(SMEAR_ROWS * s->stride) * sizeof *to);
    for (long v = 0; v < r->views; v++) {
        double number = 1;
        if (r->beam == KR_DIVERGENT) {
            double e[2] = { r->centre[v][0] - r->source[v][0], r->centre[v][1] - r->source[v][1] };
            number = r->curved ? hypot(r->source[v][0], r->source[v][1]) / hypot(e[0], e[1]) : ray_view_of(r, v).axis;
        }
        if (r->beam == KR_PARALLEL) {
            struct through t = through(s, v, 0, (double)row, 0, (double)row);
            ray_sweep q = { to, s->stride, rows, s->g->n[0], s->p + v * s->wide + s->pad + soft, t.n + (double)(t.kc - soft), t.ni, t.nr, r->columns - 1 - 2 * soft, s->spline };
            if (fabs(t.ni) <= 1.8 && s->k->sweep(&q))
                continue;
        }
        for (long c = 0; c < s->g->n[0]; c += lanes)
            for (long a = 0, n; a < rows; a += n) {
                ray_smear q = { .spline = s->spline, .image = to + a * s->stride + c, .stride = s->stride, .arc = (float)s->arc, .affine = r->beam == KR_PARALLEL };
                struct through t;
                for (n = rows - a; ; n = (n + 1) / 2) {
                    t = through(s, v, (double)c, (double)(row + a), (double)c + (double)(lanes - 1) / 2, (double)(row + a) + (double)(n - 1) / 2);
                    double bend = 1 - (fabs(t.wi) * (double)lanes + fabs(t.wr) * (double)n);
                    double most = (fabs(t.ni) * (double)lanes / 2 + fabs(t.nr) * (double)(n - 1) / 2) / (s->arc > 0 ? s->arc : 1) / fmax(bend, 0.05) + 2.5;
                    q.span = lanes == 4 ? 0 : most <= (double)lanes ? 2 : most <= 1.5 * (double)lanes ? 3 : 0;
                    if (n == 1 || (q.span ? q.span : most < RAY_WIDE / 2))
                        break;
                }
                long half = q.span ? q.span * lanes / 2 : RAY_WIDE / 2;
                if (t.kc + half < 0 || t.kc - half >= r->columns)
                    continue;
                q.rows = n;
                q.p = s->p + v * s->wide + s->pad + t.kc;
                q.n = (float)t.n;
                q.ni = (float)t.ni;
                q.nr = (float)t.nr;
                q.wi = (float)t.wi;
                q.wr = (float)t.wr;
                q.first = (int)(soft - t.kc);
                q.last = (int)(r->columns - 1 - soft - t.kc);
                q.weight = r->beam == KR_PARALLEL ? 1 : (float)(number * number / (t.lambda * t.lambda));
                s->k->smear(&q);
            }
    }
    for (long a = 0; a < rows; a++)
        memcpy(s->x + (row + a) * s->g->n[0], to + a * s->stride, (size_t)s->g->n[0] * sizeof *to);
    return 0;
}

static int smear_slice(float *x, const float *y, const kr_rays *r, const kr_grid *g, double arc, long soft, bool spline)
{
    struct smear s = { .r = r, .g = g, .k = kr_raykern_best(), .x = x, .arc = arc, .stride = (g->n[0] + 15) / 16 * 16, .pad = RAY_WIDE + 16, .soft = soft, .spline = spline };
    s.wide = r->columns + 2 * s.pad;
    kr_auto float *p = kr_alloc_zero((size_t)s.wide, (size_t)r->views * sizeof *p);
    kr_auto float *rows = kr_alloc((size_t)(SMEAR_ROWS * s.stride), (size_t)kr_threads() * sizeof *rows);
    if (!p || !rows)
        return kr_error_code();
    for (long v = 0; v < r->views; v++)
        memcpy(p + v * s.wide + s.pad, y + v * r->columns, (size_t)r->columns * sizeof *p);
    s.p = p;
    s.rows = rows;
    return kr_for((g->n[1] + SMEAR_ROWS - 1) / SMEAR_ROWS, smear_rows, &s);
}

enum { SOFT = 4 };                        /* columns beyond the detector of which splines take coefficients */
enum { AT_ONCE = 32 };                    /* views                                                                                   */

int kr_fbp(float *x, const float *y, const kr_rays *r, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace) { return kr_fbp_slices(&x, &y, 1, r, g, o, trace); }

static int rebinned(float *const x[], const float *const y[], long slices, const kr_rays *r, int axis, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace)
{
    int e = 0;
    for (long i = 0; i < slices && !e; i++)
        e = ray_rebinned(x[i], y[i], r, axis, g, o, trace);
    return e;
}

int kr_fbp_slices(float *const x[], const float *const y[], long slices, const kr_rays *r, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace)
{
    kr_assert(slices >= 1);
    bool slice = ray_plane_can(r, g, KR_RAY_JOSEPH);
    if (!slice && r->beam == KR_PARALLEL)
        return kr_fail(KR_EREFUSED, "filtered back-projection does slices and volumes of cone beams; take sirt or cgls for this geometry, or --geometry parallel where each row of the detector "
                       "is a slice");
    if (r->views < 2)
        return kr_fail(KR_EREFUSED, "filtered back-projection of a single view");
    if (o->gridded > 0 && (!slice || r->beam != KR_PARALLEL))
        return kr_fail(KR_EREFUSED, "gridding is for slices of parallel beams; fbp does fans and cones");
    if (kr_grid_check(g) || ray_outside(r, g))
        return kr_error_code();
    int axis = slice ? 2 : kr_rays_axis(r);
    if (axis < 0)
        return kr_fail(KR_EREFUSED, "filtered back-projection: the detector's rows follow each other along no axis of the volume; take sirt or cgls for this geometry");
    if (!slice && ray_is_rebinned(r, axis))
        return rebinned(x, y, slices, r, axis, g, o, trace);
    kr_auto double *scale = kr_alloc((size_t)r->views, sizeof *scale);
    kr_rays *turned = axis == 2 ? NULL : kr_rays_about_z(r, axis);
    struct survey s = { 0 };
    int e = !scale || (axis != 2 && !turned) || survey(&s, scale, turned ? turned : r, o, trace) ? kr_error_code() : 0;
    const bool spline = o->spline && slice && !(o->gridded > 0);
    const long soft = spline ? SOFT : 0;
    s.lead += soft;
    s.trail += soft;
    kr_rays *wide = e ? NULL : wider(r, s.lead, s.trail), *about = wide && turned ? kr_rays_about_z(wide, axis) : NULL;
    e = e || !wide || (turned && !about) ? kr_error_code() : 0;
    /* a slice as a whole; a volume so many views at a time, so that little more is held than data and volume */
    long each = r->rows * r->columns, filtered = e ? 1 : wide->rows * wide->columns, at_once = slice || r->views < AT_ONCE ? r->views : AT_ONCE;
    kr_auto float *weight = kr_alloc((size_t)at_once, (size_t)filtered * sizeof *weight);
    kr_auto float *p = kr_alloc(o->gridded > 0 ? 1 : (size_t)(at_once * filtered) + 16, sizeof *p);      /* registers read a little further */
    e = e || !weight || !p ? kr_error_code() : 0;
    for (long from = 0; from < r->views && !e; from += at_once) {
        long to = from + at_once < r->views ? from + at_once : r->views;
        weigh(weight, o->weights, &s, about ? about : wide, from, to);
        ray_rows rows = { NULL, weight, wide->columns, r->columns, s.lead, r->rows, to - from };
        e = kr_stopped(trace) ? kr_error_code() : o->gridded > 0 ? ray_gridded(x, y, slices, wide, g, &rows, scale, o->window, o->gridded) : 0;
        for (long i = 0; i < slices && !(o->gridded > 0) && !e; i++) {
            rows.p = y[i] + from * each;
            e = kr_stopped(trace) ? kr_error_code() : ray_filter(p, &rows, scale + from, o->window, s.arc, spline);
            e = e ? e : slice ? smear_slice(x[i], p, wide, g, s.arc, soft, spline) : ray_feldkamp(x[i], p, wide, g, from, to);
        }
    }
    kr_rays_unref(&turned);
    kr_rays_unref(&wide);
    kr_rays_unref(&about);
    return e;
}

double kr_fbp_bytes(const kr_rays *r, const kr_grid *g)
{
    bool slice = ray_plane_can(r, g, KR_RAY_JOSEPH);
    int axis = slice ? 2 : kr_rays_axis(r);
    if (!slice && axis >= 0 && ray_is_rebinned(r, axis))
        return ray_rebinned_bytes(r, axis, g);
    struct survey s = { 0 };
    kr_rays *turned = axis == 2 || axis < 0 ? NULL : kr_rays_about_z(r, axis);
    if (stands_aside(&s, turned ? turned : r))
        kr_error_clear();                                            /* kr_fbp will tell */
    kr_rays_unref(&turned);
    double wide = (double)(r->columns + s.lead + s.trail + (slice ? 2 * SOFT : 0)), views = slice || r->views < AT_ONCE ? (double)r->views : AT_ONCE, across = (double)(g->n[0] > g->n[1] ? g->n[0] : g->n[1]);
    double high = fmax((double)g->n[2], across), lines = slice ? SMEAR_ROWS * across : fmax(4 * across * (high + 16), wide * (double)r->rows);      /* ACROSS of feldkamp.c */
    return 4 * (views * (2 * wide * (double)r->rows + (slice ? wide + 2 * (RAY_WIDE + 16) : 0)) + lines * kr_threads());
}
