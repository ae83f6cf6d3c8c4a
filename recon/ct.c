/* ct.c: from counts to line integrals, the axis of rotation, rings, and images by filtered back-projection or iterations. */
#include "kray/ct.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
                p[k] = good ? (float)-log(fmax(t, 1e-6)) : NAN;
                replaced += !good || t < 1e-6;
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
/* Mean square difference of a row and another mirrored about column c = twice / 2, over what both have; NAN: too little. */
static double mirrored(const float *a, const float *b, long n, long twice)
{
    long from = twice - (n - 1) > 0 ? twice - (n - 1) : 0, to = twice < n - 1 ? twice : n - 1;
    double sum = 0, size = 0;
    if (to - from + 1 < n / 4)
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
    for (long twice = n / 2; twice <= 3 * n / 2 && twice < 2 * n; twice++)
        for (long q = 0; q < use; q++)
            for (long v = 0; v < each; v++) {
                long p = q * pairs / use, row = v * rows / each;
                cost[twice] += mirrored(KR_R(y) + (pair[2 * p] * rows + row) * n, KR_R(y) + (pair[2 * p + 1] * rows + row) * n, n, twice) / (double)(use * each);
            }
    for (long t = n / 2; t <= 3 * n / 2 && t < 2 * n; t++)
        if (isfinite(cost[t]) && (!at || cost[t] < cost[at]))
            at = t;
    if (!at)
        return kr_fail(KR_ENUMBER, "the axis of rotation cannot be found: the projections are empty");
    double a = at > n / 2 ? cost[at - 1] : NAN, b = cost[at], c = at < 3 * n / 2 && at + 1 < 2 * n ? cost[at + 1] : NAN, bend = a - 2 * b + c;
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

/* ---- Iterations ---- */
static double dot(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

static int sirt(kr_projector *A, float *x, const float *y, size_t n, size_t m, const kr_ct_opts *o, double *misfit, const kr_trace *trace)
{
    kr_auto float *R = kr_alloc(m, sizeof *R), *C = kr_alloc(n, sizeof *C), *r = kr_alloc(m, sizeof *r), *z = kr_alloc(n, sizeof *z);
    if (!R || !C || !r || !z)
        return kr_error_code();
    for (size_t i = 0; i < n; i++)
        z[i] = 1;
    for (size_t i = 0; i < m; i++)
        r[i] = 1;
    kr_project(A, R, z, 0, 1);
    kr_backproject(A, C, r, 0, 1);
    for (size_t i = 0; i < m; i++)
        R[i] = R[i] > 1e-6f ? 1 / R[i] : 0;
    for (size_t i = 0; i < n; i++)
        C[i] = C[i] > 1e-6f ? 1 / C[i] : 0;
    for (int k = 0; k <= o->iterations; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        kr_project(A, r, x, 0, 1);
        for (size_t i = 0; i < m; i++)
            r[i] = y[i] - r[i];
        *misfit = sqrt(dot(r, r, m));
        if (k == o->iterations)
            break;
        for (size_t i = 0; i < m; i++)
            r[i] *= R[i];
        kr_backproject(A, z, r, 0, 1);
        for (size_t i = 0; i < n; i++) {
            x[i] += C[i] * z[i];
            if (o->positive && x[i] < 0)
                x[i] = 0;
        }
        kr_progress(trace, "sirt", k + 1, o->iterations);
    }
    return 0;
}

static int cgls(kr_projector *A, float *x, const float *y, size_t n, size_t m, const kr_ct_opts *o, double *misfit, const kr_trace *trace)
{
    kr_auto float *r = kr_alloc(m, sizeof *r), *q = kr_alloc(m, sizeof *q), *s = kr_alloc(n, sizeof *s), *p = kr_alloc(n, sizeof *p);
    if (!r || !q || !s || !p)
        return kr_error_code();
    memcpy(r, y, m * sizeof *r);
    kr_backproject(A, s, r, 0, 1);
    memcpy(p, s, n * sizeof *p);
    double g = dot(s, s, n);
    for (int k = 0; k < o->iterations && g > 0; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        kr_project(A, q, p, 0, 1);
        double qq = dot(q, q, m), a = qq > 0 ? g / qq : 0;
        for (size_t i = 0; i < n; i++)
            x[i] += (float)a * p[i];
        for (size_t i = 0; i < m; i++)
            r[i] -= (float)a * q[i];
        kr_backproject(A, s, r, 0, 1);
        double next = dot(s, s, n), b = next / g;
        for (size_t i = 0; i < n; i++)
            p[i] = s[i] + (float)b * p[i];
        g = next;
        kr_progress(trace, "cgls", k + 1, o->iterations);
    }
    *misfit = sqrt(dot(r, r, m));
    return 0;
}

/* The steps towards the next voxels, weighted: those along z count like those in the plane. */
static long step_of(const kr_grid *g, int d) { return d == 0 ? 1 : d == 1 ? g->n[0] : g->n[0] * g->n[1]; }
static bool last(const kr_grid *g, size_t i, int d) { return (long)i / step_of(g, d) % g->n[d] == g->n[d] - 1; }
static bool initial(const kr_grid *g, size_t i, int d) { return (long)i / step_of(g, d) % g->n[d] == 0; }

/* Chambolle and Pock with a step of its own for each ray and voxel: 1 over the sum of its weights. Pock and Chambolle, ICCV 2011:1762. Dual steps are
 * taken s times, primal ones 1 / s: of 0.003 to 1 times the longest ray's sum 0.1 settled first (24 views of an image of 100 x 100: 75 iterations). */
static int tv(kr_projector *A, float *x, const float *y, size_t n, size_t m, const kr_grid *g, const kr_ct_opts *o, double *misfit, const kr_trace *trace)
{
    int axes = g->n[2] > 1 ? 3 : 2;
    kr_auto float *q = kr_alloc_zero(m, sizeof *q), *Ax = kr_alloc(m, sizeof *Ax), *z = kr_alloc(n, sizeof *z), *bar = kr_alloc(n, sizeof *bar),
        *p = kr_alloc_zero(n, (size_t)axes * sizeof *p), *row = kr_alloc(m, sizeof *row), *column = kr_alloc(n, sizeof *column);
    if (!q || !Ax || !z || !bar || !p || !row || !column)
        return kr_error_code();
    for (size_t i = 0; i < n; i++)
        bar[i] = 1;
    for (size_t i = 0; i < m; i++)
        q[i] = 1;
    kr_project(A, row, bar, 0, 1);
    kr_backproject(A, column, q, 0, 1);
    kr_backproject(A, z, y, 0, 1);
    double most = 0, rays = 0, voxels = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)z[i]));
        voxels = fmax(voxels, (double)column[i]);
    }
    for (size_t i = 0; i < m; i++)
        rays = fmax(rays, (double)row[i]);
    if (!(rays > 0))
        return kr_fail(KR_EREFUSED, "no ray meets the image");
    memset(bar, 0, n * sizeof *bar);
    memset(q, 0, m * sizeof *q);
    /* the gradient is weighed so that its part in a voxel's sum is that of all rays */
    float w = (float)(o->lambda * most), k0 = (float)(voxels / (4.0 * axes)), s = 0.1f * (float)rays;
    for (size_t i = 0; i < m; i++)
        row[i] = row[i] > 1e-6f * (float)rays ? s / row[i] : 0;
    for (size_t i = 0; i < n; i++)
        column[i] = 1 / (s * (column[i] + 2 * (float)axes * k0));
    float sigma = s / (2 * k0), limit = w / k0;
    for (int k = 0; k < o->iterations; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        kr_project(A, Ax, bar, 0, 1);
        for (size_t i = 0; i < m; i++)
            q[i] = (q[i] + row[i] * (Ax[i] - y[i])) / (1 + row[i]);
        for (size_t i = 0; i < n; i++) {
            float d[3], size = 0;
            for (int a = 0; a < axes; a++) {
                d[a] = p[(size_t)a * n + i] + sigma * k0 * (last(g, i, a) ? 0 : bar[i + (size_t)step_of(g, a)] - bar[i]);
                size += d[a] * d[a];
            }
            size = sqrtf(size) > limit ? limit / sqrtf(size) : 1;
            for (int a = 0; a < axes; a++)
                p[(size_t)a * n + i] = size * d[a];
        }
        kr_backproject(A, z, q, 0, 1);
        for (size_t i = 0; i < n; i++) {
            float back = 0;
            for (int a = 0; a < axes; a++)
                back += (initial(g, i, a) ? 0 : p[(size_t)a * n + i - (size_t)step_of(g, a)]) - (last(g, i, a) ? 0 : p[(size_t)a * n + i]);
            float next = x[i] - column[i] * (z[i] + k0 * back);
            next = o->positive && next < 0 ? 0 : next;
            bar[i] = 2 * next - x[i];
            x[i] = next;
        }
        kr_progress(trace, "tv", k + 1, o->iterations);
    }
    kr_project(A, Ax, x, 0, 1);
    for (size_t i = 0; i < m; i++)
        Ax[i] -= y[i];
    *misfit = sqrt(dot(Ax, Ax, m));
    return 0;
}

int kr_ct_solve(float *x, double *misfit, const float *y, const kr_rays *r, const kr_grid *g, const kr_ct_opts *o, const kr_trace *trace)
{
    *misfit = NAN;
    size_t n = (size_t)(g->n[0] * g->n[1] * g->n[2]), m = (size_t)(r->views * r->rows * r->columns);
    double size = sqrt(dot(y, y, m));
    if (!isfinite(size) || !(size > 0))
        return kr_fail(KR_ENUMBER, "the line integrals are all zero or not finite");
    if (o->method == KR_CT_FBP)
        return kr_fbp(x, y, r, g, &(kr_fbp_opts){ .window = o->window }, trace);
    if (o->iterations < 1 || !(o->lambda >= 0))
        return kr_fail(KR_EREFUSED, "%d iterations, lambda %g: at least one iteration and a strength of at least 0 are wanted", o->iterations, o->lambda);
    kr_projector *A = kr_projector_new(r, g, o->model, false);
    if (!A)
        return kr_error_code();
    memset(x, 0, n * sizeof *x);
    int e = o->method == KR_CT_SIRT ? sirt(A, x, y, n, m, o, misfit, trace) : o->method == KR_CT_CGLS ? cgls(A, x, y, n, m, o, misfit, trace)
          : tv(A, x, y, n, m, g, o, misfit, trace);
    kr_projector_unref(&A);
    *misfit /= size;
    return e;
}
