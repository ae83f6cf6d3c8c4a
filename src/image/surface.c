/* surface.c: exact distances, the surfaces of masks, and how far two of them lie apart. */
#include "surface.h"
#include "kray/segment.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Distance transform: squared distances along x, then lower envelopes of parabolas along y and z ---- */
struct line { double *f, *edge; long *at; };
enum { TOGETHER = 8 };                        /* lines side by side: a cache line of doubles               */

/* f[i] = min over k of f[k] + (mm (i - k))^2, of n values. */
static void envelope(double *f, long n, double mm, const struct line *s)
{
    long top = -1;
    for (long q = 0; q < n; q++) {
        if (isinf(f[q]))
            continue;
        double x = -INFINITY, a = (double)q * mm;
        while (top >= 0) {
            double b = (double)s->at[top] * mm;
            x = ((f[q] + a * a) - (s->f[top] + b * b)) / (2 * (a - b));
            if (x > s->edge[top])
                break;
            top--;
        }
        top++;
        s->at[top] = q;
        s->f[top] = f[q];
        s->edge[top] = top ? x : -INFINITY;
    }
    if (top < 0)
        return;
    for (long i = 0, k = 0; i < n; i++) {
        double a = (double)i * mm;
        while (k < top && s->edge[k + 1] < a)
            k++;
        double d = (double)(i - s->at[k]) * mm;
        f[i] = s->f[k] + d * d;
    }
}

struct transform { double *d; const unsigned char *to; const long *n; const double *mm; int axis; double *room; long most; };

static int row_x(void *self, long r)
{
    const struct transform *t = self;
    long n = t->n[0];
    const unsigned char *to = t->to + r * n;
    double *d = t->d + r * n;
    long since = -1;
    for (long i = 0; i < n; i++) {
        since = to[i] ? i : since;
        d[i] = since < 0 ? INFINITY : (double)(i - since) * t->mm[0];
    }
    since = -1;
    for (long i = n - 1; i >= 0; i--) {
        since = to[i] ? i : since;
        if (since >= 0 && (double)(since - i) * t->mm[0] < d[i])
            d[i] = (double)(since - i) * t->mm[0];
        d[i] *= d[i];
    }
    return 0;
}

/* TOGETHER lines along y or z. */
static int lines(void *self, long i)
{
    const struct transform *t = self;
    long blocks = (t->n[0] + TOGETHER - 1) / TOGETHER, x = i % blocks * TOGETHER, other = i / blocks, n = t->n[t->axis];
    long count = t->n[0] - x < TOGETHER ? t->n[0] - x : TOGETHER, plane = t->n[0] * t->n[1];
    long step = t->axis == 1 ? t->n[0] : plane;
    double *d = t->d + (t->axis == 1 ? other * plane : other * t->n[0]) + x, *room = t->room + kr_worker() * t->most * (TOGETHER + 3);
    struct line s = { room + TOGETHER * n, room + (TOGETHER + 1) * n, (long *)(void *)(room + (TOGETHER + 2) * n) };
    for (long k = 0; k < n; k++)
        for (long l = 0; l < count; l++)
            room[l * n + k] = d[k * step + l];
    for (long l = 0; l < count; l++)
        envelope(room + l * n, n, t->mm[t->axis], &s);
    for (long k = 0; k < n; k++)
        for (long l = 0; l < count; l++)
            d[k * step + l] = room[l * n + k];
    return 0;
}

static int squared(double *out, const unsigned char *to, const long n[3], const double mm[3])
{
    struct transform t = { .d = out, .to = to, .n = n, .mm = mm, .most = n[1] > n[2] ? n[1] : n[2] };
    kr_auto double *room = t.room = kr_alloc((size_t)(kr_threads() * t.most), (TOGETHER + 3) * sizeof *room);
    int e = room ? kr_for(n[1] * n[2], row_x, &t) : kr_error_code();
    long blocks = (n[0] + TOGETHER - 1) / TOGETHER;
    for (t.axis = 1; !e && t.axis < 3; t.axis++)
        if (n[t.axis] > 1)
            e = kr_for(blocks * n[3 - t.axis], lines, &t);
    return e;
}

struct root { double *d; long row; };
static int root_row(void *self, long r)
{
    const struct root *s = self;
    for (long i = r * s->row; i < (r + 1) * s->row; i++)
        s->d[i] = sqrt(s->d[i]);
    return 0;
}

int kr_distance(double *out, const unsigned char *to, const long n[3], const double mm[3])
{
    for (int d = 0; d < 3; d++)
        if (n[d] < 1 || !(mm[d] > 0 && isfinite(mm[d])))
            return kr_fail(KR_EREFUSED, "distances in %ld x %ld x %ld voxels of %g x %g x %g mm: sizes above 0 are wanted", n[0], n[1], n[2], mm[0], mm[1], mm[2]);
    int e = squared(out, to, n, mm);
    struct root s = { out, n[0] };
    return e ? e : kr_for(n[1] * n[2], root_row, &s);
}

/* ---- Surface elements of 2x2x2 voxels: the area of the surface that runs through the middles of the edges whose two corners differ, for each
 * of the 256 patterns (marching cubes; corner (x,y,z) is bit x + 2 y + 4 z; corners that touch in one edge of the cube alone are held
 * apart, and of a pattern and its opposite the one with fewer corners inside counts). ---- */
static int inside_of(int code, int corner) { return code >> corner & 1; }
static int inside_neighbours(int code, int corner) { return inside_of(code, corner ^ 1) + inside_of(code, corner ^ 2) + inside_of(code, corner ^ 4); }

/* An edge is named by its two corners, the one inside first. */
struct edge { int in, out; };

static void middle_of(double p[3], struct edge e, const double mm[3])
{
    for (int d = 0; d < 3; d++)
        p[d] = mm[d] * 0.5 * ((e.in >> d & 1) + (e.out >> d & 1));
}

static double triangle(struct edge a, struct edge b, struct edge c, const double mm[3])
{
    double p[3][3], u[3], v[3];
    middle_of(p[0], a, mm);
    middle_of(p[1], b, mm);
    middle_of(p[2], c, mm);
    for (int d = 0; d < 3; d++) {
        u[d] = p[1][d] - p[0][d];
        v[d] = p[2][d] - p[0][d];
    }
    double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2], z = u[0] * v[1] - u[1] * v[0];
    return 0.5 * sqrt(x * x + y * y + z * z);
}

/* The edge at which the surface leaves the face (normal to `axis`, side of corner in) that it entered by `e`. */
static struct edge across(int code, struct edge e, int axis)
{
    int along = e.in ^ e.out, third = 7 ^ 1 << axis ^ along;
    int p = e.in ^ third, q = e.out ^ third;                 /* the face's other two corners */
    if (!inside_of(code, p))
        return (struct edge){ e.in, p };                     /* this inside corner is cut off (also where p's opposite is inside) */
    return inside_of(code, q) ? (struct edge){ q, e.out } : (struct edge){ p, q };
}

static double area_of(int code, const double mm[3])
{
    int count = 0;
    for (int c = 0; c < 8; c++)
        count += inside_of(code, c);
    code = count > 4 ? 255 & ~code : code;
    bool seen[8][8] = { { false } };
    double area = 0;
    for (int c = 0; c < 8; c++)
        for (int d = 0; d < 3; d++) {
            struct edge first = { c, c ^ 1 << d }, loop[12];
            if (!inside_of(code, c) || inside_of(code, first.out) || seen[c][first.out])
                continue;
            int n = 0, axis = (d + 1) % 3;
            struct edge at = first;
            do {                                             /* from face to face until the loop closes */
                loop[n++] = at;
                seen[at.in][at.out] = true;
                struct edge next = across(code, at, axis);
                int along = next.in ^ next.out;              /* the other face that has this edge */
                for (int k = 0; k < 3; k++)
                    if (k != axis && 1 << k != along) {
                        axis = k;
                        break;
                    }
                at = next;
            } while ((at.in != first.in || at.out != first.out) && n < 12);
            int apex = 0;                                    /* five and six corners are not flat: the fan starts at an end of the chain of corners */
            for (int k = 1; n >= 5 && k < n; k++) {
                int a = inside_neighbours(code, loop[k].in), b = inside_neighbours(code, loop[apex].in);
                int oa = inside_neighbours(code, loop[k].out), ob = inside_neighbours(code, loop[apex].out);
                if (a < b || (a == b && (n == 5 ? oa < ob : oa > ob)))
                    apex = k;
            }
            for (int k = 1; k + 1 < n; k++)
                area += triangle(loop[apex], loop[(apex + k) % n], loop[(apex + k + 1) % n], mm);
        }
    return area;
}

void surface_areas(double area[256], const double mm[3])
{
    for (int code = 0; code < 256; code++)
        area[code] = area_of(code, mm);
}

/* ---- Surfaces ---- */
/* The voxels of a mask with a face neighbour outside. */
static void border(unsigned char *to, const unsigned char *m, const long n[3])
{
    long plane = n[0] * n[1];
    for (long z = 0, i = 0; z < n[2]; z++)
        for (long y = 0; y < n[1]; y++)
            for (long x = 0; x < n[0]; x++, i++)
                to[i] = m[i] && !(x && x < n[0] - 1 && y && y < n[1] - 1 && z && z < n[2] - 1 && m[i - 1] && m[i + 1] && m[i - n[0]] && m[i + n[0]]
                                  && m[i - plane] && m[i + plane]);
}

/* The patterns of 2x2x2 voxels on the grid of their common corners, one longer than the mask along each axis; 0 where all are alike. */
static void patterns(unsigned char *to, const unsigned char *m, const long n[3])
{
    for (long z = 0, i = 0; z <= n[2]; z++)
        for (long y = 0; y <= n[1]; y++)
            for (long x = 0; x <= n[0]; x++, i++) {
                int code = 0;
                for (int c = 0; c < 8; c++) {
                    long a = x - 1 + (c & 1), b = y - 1 + (c >> 1 & 1), d = z - 1 + (c >> 2);
                    if (a >= 0 && a < n[0] && b >= 0 && b < n[1] && d >= 0 && d < n[2] && m[(d * n[1] + b) * n[0] + a])
                        code |= 1 << c;
                }
                to[i] = code == 255 ? 0 : (unsigned char)code;
            }
}

struct piece { double mm, weight; };
static int by_distance(const void *a, const void *b)
{
    const struct piece *p = a, *q = b;
    return p->mm < q->mm ? -1 : p->mm > q->mm ? 1 : p->weight < q->weight ? -1 : p->weight > q->weight;
}

/* Distances from one surface to the other, sorted. */
static long pieces(struct piece **out, const unsigned char *from, const double *d2, long voxels, const double *area)
{
    long n = 0;
    for (long i = 0; i < voxels; i++)
        n += from[i] != 0;
    *out = kr_alloc((size_t)n + 1, sizeof **out);
    if (!*out)
        return kr_error_code();
    n = 0;
    for (long i = 0; i < voxels; i++)
        if (from[i])
            (*out)[n++] = (struct piece){ sqrt(d2[i]), area ? area[from[i]] : 1 };
    qsort(*out, (size_t)n, sizeof **out, by_distance);
    return n;
}

static double percentile(const struct piece *p, long n, double share, bool weighted)
{
    if (!weighted) {
        double at = share * (double)(n - 1);
        long i = (long)at < n - 1 ? (long)at : n - 1;
        return i + 1 < n ? p[i].mm + (at - (double)i) * (p[i + 1].mm - p[i].mm) : p[i].mm;
    }
    double total = 0, sum = 0;
    for (long i = 0; i < n; i++)
        total += p[i].weight;
    for (long i = 0; i < n; i++)
        if ((sum += p[i].weight) / total >= share)
            return p[i].mm;
    return p[n - 1].mm;
}

int surface_scores(double value[KR_LABEL_MEASURES], const unsigned char *reference, const unsigned char *prediction, const long size[3], const double mm[3],
                   const kr_label_rules *rules)
{
    long n[3], voxels = 1;
    for (int d = 0; d < 3; d++) {
        n[d] = size[d] + rules->elements;
        voxels *= n[d];
    }
    double area[256], sum[2] = { 0, 0 }, weight[2] = { 0, 0 }, near = 0;
    struct piece *p[2] = { NULL, NULL };
    long count[2] = { 0, 0 };
    kr_auto unsigned char *a = kr_alloc((size_t)voxels, 1), *b = kr_alloc((size_t)voxels, 1);
    kr_auto double *d2 = kr_alloc((size_t)voxels, sizeof *d2);
    int e = a && b && d2 ? 0 : kr_error_code();
    if (!e && rules->elements) {
        surface_areas(area, mm);
        patterns(a, reference, size);
        patterns(b, prediction, size);
    } else if (!e) {
        border(a, reference, size);
        border(b, prediction, size);
    }
    for (int s = 0; !e && s < 2; s++) {
        e = squared(d2, s ? a : b, n, mm);
        count[s] = e ? 0 : pieces(&p[s], s ? b : a, d2, voxels, rules->elements ? area : NULL);
        e = count[s] < 0 ? (int)count[s] : e;
    }
    for (int s = 0; !e && s < 2; s++)
        for (long i = 0; i < count[s]; i++) {
            sum[s] += p[s][i].mm * p[s][i].weight;
            weight[s] += p[s][i].weight;
            near += p[s][i].mm <= rules->tolerance_mm ? p[s][i].weight : 0;
        }
    if (!e) {
        value[KR_HD] = fmax(p[0][count[0] - 1].mm, p[1][count[1] - 1].mm);
        value[KR_HD95] = fmax(percentile(p[0], count[0], 0.95, rules->elements), percentile(p[1], count[1], 0.95, rules->elements));
        value[KR_ASSD] = (sum[0] + sum[1]) / (weight[0] + weight[1]);
        value[KR_NSD] = near / (weight[0] + weight[1]);
    }
    kr_free(p[0]);
    kr_free(p[1]);
    return e;
}
