/* resize.c: volumes on other grids: separable resizing with splines, and sampling along an affine map. */
#include "kray/segment.h"
#include <math.h>
#include <string.h>

enum { PAD = 12, TOGETHER = 16 };             /* edge values before a cubic line's first and behind its last; lines side by side */

/* Values to coefficients of a cubic B-spline that passes through them (M. Unser, IEEE Signal Process Mag 16:22 (1999)), mirrored ends. */
static void coefficients(double *c, long n)
{
    const double z = sqrt(3.) - 2;
    if (n < 2)
        return;
    double power = z, sum = c[0];
    for (long i = 0; i < n; i++)
        c[i] *= 6;
    sum = c[0];
    for (long i = 1; i < n && i < 40; i++, power *= z)
        sum += power * c[i];
    c[0] = sum;
    for (long i = 1; i < n; i++)
        c[i] += z * c[i - 1];
    c[n - 1] = z / (z * z - 1) * (c[n - 1] + z * c[n - 2]);
    for (long i = n - 2; i >= 0; i--)
        c[i] = z * (c[i + 1] - c[i]);
}

struct pick { long at[4]; double w[4]; };     /* one output of a line: up to four inputs                   */

/* Of a line of n, output i of m: voxels share the line's length, edges go on beyond it. */
static struct pick pick_of(long i, long m, long n, int order)
{
    double x = ((double)i + 0.5) * (double)n / (double)m - 0.5, low = floor(x), t = x - low;
    struct pick p = { { 0 }, { 0 } };
    if (order == 0) {
        long k = (long)floor(x + 0.5);
        p.at[0] = k < 0 ? 0 : k > n - 1 ? n - 1 : k;
        p.w[0] = 1;
    } else if (order == 1) {
        for (int k = 0; k < 2; k++) {
            long a = (long)low + k;
            p.at[k] = a < 0 ? 0 : a > n - 1 ? n - 1 : a;
            p.w[k] = k ? t : 1 - t;
        }
    } else {
        const double w[4] = { (1 - t) * (1 - t) * (1 - t) / 6, (4 - 6 * t * t + 3 * t * t * t) / 6, (1 + 3 * t + 3 * t * t - 3 * t * t * t) / 6, t * t * t / 6 };
        for (int k = 0; k < 4; k++) {
            p.at[k] = (long)low - 1 + k + PAD;
            p.w[k] = w[k];
        }
    }
    return p;
}

struct job { const float *in; float *out; long n[3], m[3]; int axis, order; const struct pick *pick; double *room; };

/* Lines along the axis, of which TOGETHER begin beside each other. */
static int lines(void *self, long i)
{
    const struct job *j = self;
    long n = j->n[j->axis], m = j->m[j->axis], pad = j->order == 3 ? PAD : 0, step = 1, inner = 1, outer = 1;
    for (int d = 0; d < j->axis; d++)
        inner *= j->n[d];
    for (int d = j->axis + 1; d < 3; d++)
        outer *= j->n[d];
    step = inner;
    double *line = j->room + kr_worker() * (n + 2 * PAD);
    long blocks = (inner * outer + TOGETHER - 1) / TOGETHER, end = (i + 1) * TOGETHER < inner * outer ? (i + 1) * TOGETHER : inner * outer;
    kr_assert(i < blocks);
    for (long l = i * TOGETHER; l < end; l++) {
        const float *in = j->in + l / inner * inner * n + l % inner;
        float *out = j->out + l / inner * inner * m + l % inner;
        for (long k = -pad; k < n + pad; k++)
            line[k + pad] = (double)in[(k < 0 ? 0 : k > n - 1 ? n - 1 : k) * step];
        if (j->order == 3)
            coefficients(line, n + 2 * pad);
        for (long k = 0; k < m; k++) {
            const struct pick *p = &j->pick[k];
            out[k * step] = (float)(p->w[0] * line[p->at[0]] + p->w[1] * line[p->at[1]] + p->w[2] * line[p->at[2]] + p->w[3] * line[p->at[3]]);
        }
    }
    return 0;
}

static int resize_axis(float *out, const float *in, const long n[3], long m, int axis, int order)
{
    struct job j = { .in = in, .out = out, .n = { n[0], n[1], n[2] }, .m = { n[0], n[1], n[2] }, .axis = axis, .order = order };
    long count = n[0] * n[1] * n[2] / n[axis];
    j.m[axis] = m;
    kr_auto struct pick *pick = kr_alloc((size_t)m, sizeof *pick);
    kr_auto double *room = j.room = kr_alloc((size_t)(kr_threads() * (n[axis] + 2 * PAD)), sizeof *room);
    if (!pick || !room)
        return kr_error_code();
    for (long i = 0; i < m; i++)
        pick[i] = pick_of(i, m, n[axis], order);
    j.pick = pick;
    return kr_for((count + TOGETHER - 1) / TOGETHER, lines, &j);
}

/* Numbers of `out` not beyond the smallest and largest of `in`. */
static void clip(float *out, const float *in, const long m[3], const long n[3], int axis, long at)
{
    long o[3] = { m[0], m[1], m[2] }, a[3] = { n[0], n[1], n[2] }, ko[3] = { 0 }, ka[3] = { 0 };
    if (axis >= 0) {
        o[axis] = a[axis] = 1;
        ko[axis] = ka[axis] = at;
    }
    float low = INFINITY, high = -INFINITY;
    for (long z = 0; z < a[2]; z++)
        for (long y = 0; y < a[1]; y++)
            for (long x = 0; x < a[0]; x++) {
                float v = in[((z + ka[2]) * n[1] + y + ka[1]) * n[0] + x + ka[0]];
                low = v < low ? v : low;
                high = v > high ? v : high;
            }
    for (long z = 0; z < o[2]; z++)
        for (long y = 0; y < o[1]; y++)
            for (long x = 0; x < o[0]; x++) {
                float *v = &out[((z + ko[2]) * m[1] + y + ko[1]) * m[0] + x + ko[0]];
                *v = *v < low ? low : *v > high ? high : *v;
            }
}

int kr_resize(float *out, const long m[3], const float *in, const long n[3], const int order[3], int apart)
{
    for (int d = 0; d < 3; d++)
        if (n[d] < 1 || m[d] < 1 || (order[d] != 0 && order[d] != 1 && order[d] != 3))
            return kr_fail(KR_EREFUSED, "resizing %ld x %ld x %ld voxels to %ld x %ld x %ld, order %d: sizes above 0 and orders 0, 1, 3 are wanted", n[0], n[1], n[2], m[0],
                           m[1], m[2], order[d]);
    long at[3] = { n[0], n[1], n[2] };
    const float *from = in;
    float *room[3] = { NULL, NULL, NULL };
    int axes[3], count = 0;
    for (int d = 0; d < 3; d++)
        if (d != apart && n[d] != m[d])
            axes[count++] = d;
    bool cubic = false;
    for (int k = 0; k < count; k++)
        cubic = cubic || order[axes[k]] == 3;
    bool last = apart >= 0 && n[apart] != m[apart];                   /* what lies apart comes after the clipping */
    int e = 0;
    for (int k = 0; !e && k < count; k++) {
        long next[3] = { at[0], at[1], at[2] };
        next[axes[k]] = m[axes[k]];
        float *to = k == count - 1 && !last ? out : (room[k] = kr_alloc((size_t)(next[0] * next[1] * next[2]), sizeof *to));
        e = to ? resize_axis(to, from, at, m[axes[k]], axes[k], order[axes[k]]) : kr_error_code();
        from = to;
        memcpy(at, next, sizeof at);
    }
    if (!e && cubic)
        for (long s = 0; s < (apart >= 0 ? n[apart] : 1); s++)
            clip((float *)from, in, at, n, apart, s);
    if (!e && last)
        e = resize_axis(out, from, at, m[apart], apart, order[apart]);
    if (!e && !count && !last)
        memcpy(out, in, (size_t)(n[0] * n[1] * n[2]) * sizeof *out);
    for (int k = 0; k < 3; k++)
        kr_free(room[k]);
    return e;
}

/* ---- Sampling along an affine map ---- */
/* Where voxel `at` of the result lies among n voxels: above voxel `low`, by p of a voxel (outside: low -2). */
static void between(double p[3], long low[3], const double to_in[12], const long at[3], const long n[3])
{
    for (int d = 0; d < 3; d++) {
        p[d] = to_in[4 * d] * (double)at[0] + to_in[4 * d + 1] * (double)at[1] + to_in[4 * d + 2] * (double)at[2] + to_in[4 * d + 3];
        p[d] = fabs(p[d] - round(p[d])) < 1e-9 ? round(p[d]) : p[d];
        low[d] = p[d] > -2 && p[d] < (double)n[d] + 1 ? (long)floor(p[d]) : -2;
        p[d] -= (double)low[d];
    }
}

/* The eight voxels around it: where each is stored (-1: outside) and how much it counts. */
static void corners(long at[8], double w[8], const double to_in[12], const long to[3], const long n[3])
{
    double p[3];
    long low[3];
    between(p, low, to_in, to, n);
    for (int c = 0; c < 8; c++) {
        long v[3];
        bool in = true;
        w[c] = 1;
        for (int d = 0; d < 3; d++) {
            v[d] = low[d] + (c >> d & 1);
            w[c] *= c >> d & 1 ? p[d] : 1 - p[d];
            in = in && v[d] >= 0 && v[d] < n[d];
        }
        at[c] = in ? (v[2] * n[1] + v[1]) * n[0] + v[0] : -1;
    }
}

struct sampling { float *out; const float *in; const long *m, *n; const double *to_in; };
static int sample_row(void *self, long r)
{
    const struct sampling *s = self;
    long y = r % s->m[1], z = r / s->m[1];
    for (long x = 0; x < s->m[0]; x++) {
        double w[8], sum = 0;
        long at[8];
        corners(at, w, s->to_in, (const long[3]){ x, y, z }, s->n);
        for (int c = 0; c < 8; c++)
            if (at[c] >= 0 && w[c] > 0)
                sum += w[c] * (double)s->in[at[c]];
        s->out[(z * s->m[1] + y) * s->m[0] + x] = (float)sum;
    }
    return 0;
}

int kr_sample(float *out, const long m[3], const float *in, const long n[3], const double to_in[12])
{
    struct sampling s = { out, in, m, n, to_in };
    return kr_for(m[1] * m[2], sample_row, &s);
}

struct voting { int32_t *out; const int32_t *in; const long *m, *n; const double *to_in; };
static int vote_row(void *self, long r)
{
    const struct voting *s = self;
    long y = r % s->m[1], z = r / s->m[1];
    for (long x = 0; x < s->m[0]; x++) {
        double w[8], weight[8];
        int32_t label[8];
        long at[8];
        int count = 0, best = 0;
        corners(at, w, s->to_in, (const long[3]){ x, y, z }, s->n);
        for (int c = 0; c < 8; c++) {
            int32_t v = at[c] >= 0 ? s->in[at[c]] : 0;
            int k = 0;
            while (k < count && label[k] != v)
                k++;
            if (k == count) {
                label[count] = v;
                weight[count++] = 0;
            }
            weight[k] += w[c];
        }
        for (int k = 1; k < count; k++)
            if (weight[k] > weight[best] + 1e-12 || (fabs(weight[k] - weight[best]) <= 1e-12 && label[k] < label[best]))
                best = k;
        s->out[(z * s->m[1] + y) * s->m[0] + x] = label[best];
    }
    return 0;
}

int kr_sample_labels(int32_t *out, const long m[3], const int32_t *in, const long n[3], const double to_in[12])
{
    struct voting s = { out, in, m, n, to_in };
    return kr_for(m[1] * m[2], vote_row, &s);
}
