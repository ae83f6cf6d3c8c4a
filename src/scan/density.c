/* density.c: the area (volume) of k-space that each sample of a trajectory stands for. */
#include "kray/nufft.h"
#include "kray/trajectory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct frame { const float *k[3]; const long *n; long samples, views, points, dims; };

/* ---- Pipe and Menon: w = 1 / (C w) at the fixed point ----
 * C is the convolution with the positive kernel whose transform is a triangle twice as wide as the image. */
static int pipe_menon(float *w, const struct frame *f)
{
    enum { TURNS = 10 };                                     /* two transforms each, whose errors the next one mends */
    static const double ROUGH = .03;
    long wide[3], pixels = 1, points = f->points;
    kr_auto float *twice = kr_alloc((size_t)(points * f->dims), sizeof *twice);
    kr_auto kr_cfloat *y = kr_alloc((size_t)points, sizeof *y);
    const float *k2[3] = { NULL };
    for (int d = 0; d < 3; d++) {
        wide[d] = d < f->dims ? 2 * f->n[d] : 1;
        pixels *= wide[d];
        for (long i = 0; twice && d < f->dims && i < points; i++)
            twice[d * points + i] = 2 * f->k[d][i];
        k2[d] = twice && d < f->dims ? twice + d * points : NULL;
    }
    kr_auto kr_cfloat *x = kr_alloc((size_t)pixels, sizeof *x);
    if (!twice || !y || !x)
        return kr_error_code();
    kr_nufft *p = kr_nufft_new(wide, points, k2, 1, ROUGH);
    if (!p)
        return kr_error_code();
    for (long i = 0; i < points; i++)
        w[i] = 1;
    for (int turn = 0; turn < TURNS; turn++) {
        for (long i = 0; i < points; i++)
            y[i] = kr_c(w[i], 0);
        kr_nufft_adjoint(p, x, y, 1);
        for (long i = 0; i < pixels; i++) {
            double f0 = f->dims == 3 ? 8 : 4;                /* twice the field of view in every dimension */
            long at = i;
            for (int d = 0; d < f->dims; d++) {
                f0 *= 1 - fabs((double)(at % wide[d] - f->n[d])) / (double)f->n[d];
                at /= wide[d];
            }
            x[i] *= (float)f0;
        }
        kr_nufft_forward(p, y, x, 1);
        for (long i = 0; i < points; i++)
            w[i] /= sqrtf(kr_cabs2(y[i])) + 1e-12f;
    }
    kr_nufft_unref(&p);
    return 0;
}

/* ---- Voronoi: the area nearer to a sample than to any other, within the square |k| <= N/2 + 1/2; samples in one place share theirs ----
 * A cell begins as the square and is cut by the bisector of every sample around, ring by ring of a grid of boxes, until those farther away
 * cannot reach it. */
enum { CORNERS = 256 };
struct boxes { const struct frame *f; float *w; double low[2], size[2]; long n[2], *first, *point; };

static int box_of(const struct boxes *b, long i, int d)
{
    double at = ((double)b->f->k[d][i] - b->low[d]) / b->size[d];
    return at < 0 ? 0 : at >= (double)b->n[d] ? (int)b->n[d] - 1 : (int)at;
}

/* Cuts a convex polygon by the half plane nearer to 0 than to q. */
static int cut(double (*p)[2], int count, const double q[2])
{
    double out[CORNERS][2], half = .5 * (q[0] * q[0] + q[1] * q[1]);
    int n = 0;
    for (int i = 0; i < count; i++) {
        const double *a = p[i], *c = p[(i + 1) % count];
        double da = a[0] * q[0] + a[1] * q[1] - half, dc = c[0] * q[0] + c[1] * q[1] - half;
        if (da <= 0 && n < CORNERS)
            memcpy(out[n++], a, sizeof out[0]);
        if (da * dc < 0 && n < CORNERS) {
            out[n][0] = a[0] + (c[0] - a[0]) * da / (da - dc);
            out[n++][1] = a[1] + (c[1] - a[1]) * da / (da - dc);
        }
    }
    memcpy(p, out, (size_t)n * sizeof out[0]);
    return n;
}

static int cell(void *self, long i)
{
    const struct boxes *b = self;
    const struct frame *f = b->f;
    double p[CORNERS][2], x = f->k[0][i], y = f->k[1][i];
    for (int c = 0; c < 4; c++) {
        p[c][0] = (c == 1 || c == 2 ? 1 : -1) * ((double)f->n[0] / 2 + .5) - x;
        p[c][1] = (c >= 2 ? 1 : -1) * ((double)f->n[1] / 2 + .5) - y;
    }
    int count = 4, at[2] = { box_of(b, i, 0), box_of(b, i, 1) };
    long same = 1;
    double least = fmin(b->size[0], b->size[1]), reach = HUGE_VAL;
    for (long ring = 0; ring <= (b->n[0] > b->n[1] ? b->n[0] : b->n[1]) && ((double)ring - 1) * least <= 2 * reach; ring++) {
        for (long v = at[1] - ring; v <= at[1] + ring; v++)
            for (long u = at[0] - ring; u <= at[0] + ring; u += labs(v - at[1]) == ring || !ring ? 1 : 2 * ring) {
                if (u < 0 || v < 0 || u >= b->n[0] || v >= b->n[1])
                    continue;
                long box = v * b->n[0] + u;
                for (long j = b->first[box]; j < b->first[box + 1]; j++) {
                    long o = b->point[j];
                    const double q[2] = { (double)f->k[0][o] - x, (double)f->k[1][o] - y };
                    if (o == i)
                        continue;
                    if (q[0] * q[0] + q[1] * q[1] < 1e-10)
                        same++;
                    else
                        count = cut(p, count, q);
                }
            }
        reach = 0;
        for (int c = 0; c < count; c++)
            reach = fmax(reach, hypot(p[c][0], p[c][1]));
    }
    double area = 0;
    for (int c = 0; c < count; c++)
        area += .5 * (p[c][0] * p[(c + 1) % count][1] - p[c][1] * p[(c + 1) % count][0]);
    b->w[i] = (float)(area / (double)same);
    return 0;
}

static int voronoi(float *w, const struct frame *f)
{
    if (f->dims != 2)
        return kr_fail(KR_EREFUSED, "Voronoi cells are for trajectories in a plane; for volumes: pipe-menon");
    struct boxes b = { .f = f, .w = w };
    long side = lround(sqrt((double)f->points / 3)) + 1, boxes = side * side;
    for (int d = 0; d < 2; d++) {
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (long i = 0; i < f->points; i++) {
            low = fmin(low, (double)f->k[d][i]);
            high = fmax(high, (double)f->k[d][i]);
        }
        b.low[d] = low;
        b.size[d] = fmax(high - low, 1e-6) / (double)side * (1 + 1e-9);
        b.n[d] = side;
    }
    b.first = kr_alloc_zero((size_t)boxes + 2, sizeof *b.first);
    b.point = kr_alloc((size_t)f->points, sizeof *b.point);
    int e = b.first && b.point ? 0 : kr_error_code();
    if (!e) {
        long *next = b.first + 1;
        for (long i = 0; i < f->points; i++)
            b.first[box_of(&b, i, 1) * side + box_of(&b, i, 0) + 2]++;
        for (long i = 2; i < boxes + 2; i++)
            b.first[i] += b.first[i - 1];
        for (long i = 0; i < f->points; i++)
            b.point[next[box_of(&b, i, 1) * side + box_of(&b, i, 0)]++] = i;
        e = kr_for(f->points, cell, &b);
    }
    kr_free(b.first);
    kr_free(b.point);
    return e;
}

/* ---- Ramp: of straight spokes through the centre, by formula ---- */
struct spoke { double angle, share; };
static int by_angle(const void *a, const void *b)
{
    double x = (*(const struct spoke *const *)a)->angle, y = (*(const struct spoke *const *)b)->angle;
    return x < y ? -1 : x > y;
}

static int ramp(float *w, const struct frame *f)
{
    kr_auto struct spoke *s = kr_alloc_zero((size_t)f->views, sizeof *s);
    kr_auto struct spoke **sorted = kr_alloc((size_t)f->views, sizeof *sorted);
    if (!s || !sorted)
        return kr_error_code();
    long n = f->samples;
    double whole = f->dims == 3 ? 2 * M_PI : M_PI;
    for (long v = 0; v < f->views; v++) {
        double a[3] = { 0 }, b[3] = { 0 }, off = 0, long_ = 0, cross = 0, dot = 0;
        for (int d = 0; d < f->dims; d++) {
            a[d] = f->k[d][v * n];
            b[d] = f->k[d][v * n + n - 1] - a[d];
            dot += a[d] * b[d];
            long_ += b[d] * b[d];
        }
        for (int d = 0; d < f->dims; d++)                    /* distance of the line from the centre */
            off += pow(a[d] - b[d] * dot / long_, 2);
        for (int d = 0; d < f->dims; d++)
            cross = fmax(cross, fabs((double)f->k[d][v * n + n / 3] - (a[d] + b[d] * (double)(n / 3) / (double)(n - 1))));
        double along = -dot / long_;
        if (!(long_ > 0) || sqrt(off) > .5 || cross > .1 || along < -.01 || along > .6)
            return kr_fail(KR_EREFUSED, "readout %ld is no straight spoke through the centre of k-space, of which the ramp is the density", v);
        bool half = along < .1;                              /* begins in the centre */
        s[v].angle = fmod(atan2(b[1], b[0]) + 2 * M_PI, half ? 2 * M_PI : M_PI);
        s[v].angle = s[v].angle > (half ? 2 * M_PI : M_PI) - 1e-6 ? 0 : s[v].angle;      /* rounding of the turn */
        whole = half && f->dims == 2 ? 2 * M_PI : half ? 4 * M_PI : whole;
        sorted[v] = &s[v];
    }
    qsort(sorted, (size_t)f->views, sizeof *sorted, by_angle);
    for (long i = 0; i < f->views; i++) {                    /* half of the gap on both sides */
        double before = sorted[(i + f->views - 1) % f->views]->angle - (i ? 0 : whole), after = sorted[(i + 1) % f->views]->angle + (i + 1 < f->views ? 0 : whole);
        sorted[i]->share = f->dims == 3 ? whole / (double)f->views : f->views > 1 ? (after - before) / 2 : whole;
    }
    for (long v = 0; v < f->views; v++)
        for (long i = 0; i < n; i++) {
            double r = 0, dk = 0;
            long next = i + 1 < n ? i + 1 : i - 1;
            for (int d = 0; d < f->dims; d++) {
                r += pow((double)f->k[d][v * n + i], 2);
                dk += pow((double)(f->k[d][v * n + i] - f->k[d][v * n + next]), 2);
            }
            r = sqrt(r);
            dk = sqrt(dk);
            if (f->dims == 2)
                w[v * n + i] = (float)(s[v].share * (r > .25 * dk ? r * dk : .25 * dk * dk));
            else
                w[v * n + i] = (float)(s[v].share * (r > .25 * dk ? r * r * dk : dk * dk * dk / 12));
        }
    return 0;
}

/* ---- The kinds ---- */
static const struct { const char *name; int (*weigh)(float *w, const struct frame *f); } kinds[] = { { "pipe-menon", pipe_menon }, { "voronoi", voronoi }, { "ramp", ramp } };

bool kr_density_is_kind(const char *word)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(word, kinds[i].name))
            return true;
    return false;
}

kr_array *kr_scan_density(const kr_scan *s, const char *kind)
{
    size_t use = 0;
    while (kind && use < sizeof kinds / sizeof *kinds && strcmp(kind, kinds[use].name))
        use++;
    if (use == sizeof kinds / sizeof *kinds) {
        kr_fail(KR_EUSAGE, "there is no density compensation '%s'; known are pipe-menon, voronoi, ramp", kind);
        return NULL;
    }
    kr_shape shape = kr_shape_without(kr_array_shape(s->traj), KR_ON(KR_CHAN));
    kr_array *w = kr_array_new(KR_R32, shape);
    struct frame f = { .n = s->enc.encoded, .samples = shape.n[KR_SAMPLE], .views = shape.n[KR_VIEW], .points = shape.n[KR_SAMPLE] * shape.n[KR_VIEW], .dims = s->traj->n[KR_CHAN] };
    for (long i = 0; w && i < kr_count(shape) / f.points; i++) {
        for (int d = 0; d < f.dims; d++)
            f.k[d] = KR_R(s->traj) + d * s->traj->step[KR_CHAN] + i * f.points;
        if (kinds[use].weigh(KR_R(w) + i * f.points, &f))
            kr_array_unref(&w);
    }
    return w;
}
