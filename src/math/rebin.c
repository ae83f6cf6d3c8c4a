/* rebin.c: filtered back-projection of helices, and of cones on curved detectors: rays sorted into parallel fans (those of one direction seen from the axis,
 * whose sources lie beside each other), the ramp filter along each row, and back-projection in which every direction counts once however often a voxel was seen
 * from it: rows at the edge of the detector, and views at the ends of the scan, count less. Source: Stierstorfer et al., Phys Med Biol 49:2209 (2004). */
#include "project.h"
#include "raykern.h"
#include <math.h>
#include <string.h>

enum { DIRECTIONS = 16,                   /* of half a turn, at a time                                                        */
       LINES = 16 };                      /* columns of voxels side by side                                                   */
static const double EDGE = 0.6;           /* rows within this part of the detector's height count fully                        */
static const double SOFT = 10 * M_PI / 180;      /* over which views at the ends of the scan come in                           */

/* t, the distance of a ray from the axis, in steps of dt; slopes q (rise per length across the axis) in steps of dq, the rows; directions in steps of M_PI / half. */
struct bins {
    const kr_rays *r;
    double *at, *z;                       /* of the sources: angles, growing from view to view, and heights                    */
    long *view;                           /* in that order                                                                     */
    double R, dt, dq, q0, start;          /* start: direction number 0                                                         */
    long U, V, half, windings;
    float *p, *raw, *share;               /* {V,U} of each direction of a chunk, before that {U,V}; share: how much a row counts */
    long from, count;                     /* the chunk: directions from, from + 1, ... of half a turn                          */
    const kr_raykern *k;
};

static double dot2(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1]; }
static double cross2(const double a[3], const double b[3]) { return a[0] * b[1] - a[1] * b[0]; }

bool ray_is_rebinned(const kr_rays *r, int axis)
{
    double low = INFINITY, high = -INFINITY, thick = 0;
    for (long i = 0; i < r->views; i++) {
        low = fmin(low, r->source[i][axis]);
        high = fmax(high, r->source[i][axis]);
        thick = fmax(thick, fabs(r->v[i][axis]));
    }
    return r->beam == KR_DIVERGENT && (r->curved || high - low > 0.5 * thick);
}

/* ---- What was measured ---- */
static int order(struct bins *b, const kr_rays *r)
{
    double R = 0, dq = 0, q0 = 0, dt = 0, most[2] = { 0, 0 };
    bool left = true;                                                /* turns counter-clockwise, in the order of the views */
    for (long i = 0; i < r->views; i++) {
        double at = atan2(r->source[i][0], -r->source[i][1]), before = i ? b->at[i - 1] : at, step = remainder(at - before, 2 * M_PI);
        b->at[i] = before + step;
        left = i ? (i == 1 ? step > 0 : left) : true;
        if (i && ((step > 0) != left || !(fabs(step) > 0) || fabs(step) > M_PI / 2))
            return kr_fail(KR_EREFUSED, "filtered back-projection of helices and curved detectors wants views that follow each other about the axis; view %ld stands %.4g degrees from the one "
                           "before it. sirt, cgls and tv take views in any order", i, step * 180 / M_PI);
    }
    for (long i = 0; i < r->views; i++)
        b->view[i] = left ? i : r->views - 1 - i;
    if (!left)
        for (long i = 0; i < r->views / 2; i++) {
            double keep = b->at[i];
            b->at[i] = b->at[r->views - 1 - i];
            b->at[r->views - 1 - i] = keep;
        }
    for (long i = 0; i < r->views; i++) {
        long v = b->view[i];
        double e[3], sod = sqrt(dot2(r->source[v], r->source[v])), far, u = sqrt(dot2(r->u[v], r->u[v])), d[3], p[3];
        for (int k = 0; k < 3; k++)
            e[k] = r->centre[v][k] - r->source[v][k];
        far = sqrt(dot2(e, e));
        b->z[i] = r->source[v][2];
        R += sod / (double)r->views;
        dq += fabs(r->v[v][2]) / far / (double)r->views;
        q0 += e[2] / far / (double)r->views;
        dt += u / far * sod / (double)r->views;
        if (fabs(r->u[v][2]) > 1e-3 * u || hypot(r->v[v][0], r->v[v][1]) > 1e-3 * fabs(r->v[v][2]))
            return kr_fail(KR_EREFUSED, "filtered back-projection of helices and curved detectors: the detector of view %ld is tilted; sirt, cgls and tv take it", v);
        for (int k = 0; k < 2; k++) {
            kr_ray(r, v, k ? (double)(r->columns - 1) : 0, (double)(r->rows - 1) / 2, p, d);
            double g = atan2(cross2(d, r->source[v]), -dot2(d, r->source[v])), t = -sod * sin(g);
            most[t > 0] = fmax(most[t > 0], fabs(t));
        }
    }
    double wide = fmax(most[0], most[1]);
    if (fabs(most[0] - most[1]) > 0.1 * (most[0] + most[1]) || !(wide < R))
        return kr_fail(KR_EREFUSED, "filtered back-projection of helices and curved detectors: the detector stands aside of the axis (rays pass it by up to %.4g mm on one side and %.4g mm on the "
                       "other); sirt, cgls and tv take it", most[0], most[1]);
    b->R = R;
    b->dq = dq;
    b->q0 = q0;
    b->dt = dt;
    b->U = 2 * (long)ceil(wide / dt) + 1;
    b->V = r->rows;
    double turn = b->at[r->views - 1] - b->at[0], step = turn / (double)(r->views - 1);
    b->half = (long)fmax(ceil(M_PI / step), 2);
    b->start = b->at[0] - asin(wide / R);
    b->windings = (long)ceil((turn + 2 * asin(wide / R)) / M_PI) + 1;
    return 0;
}

/* Between which views a source at angle `at` stands, as a number; beyond the ends the last one. */
static double view_at(const struct bins *b, double at)
{
    long low = 0, high = b->r->views - 1;
    if (at <= b->at[0])
        return 0;
    if (at >= b->at[high])
        return (double)high;
    while (high - low > 1) {
        long m = (low + high) / 2;
        *(b->at[m] <= at ? &low : &high) = m;
    }
    return (double)low + (at - b->at[low]) / (b->at[high] - b->at[low]);
}

/* How far a source at angle `at` is within the scan: 0 beyond the ends, rising over SOFT to 1. */
static double within(const struct bins *b, double at)
{
    double last = b->at[b->r->views - 1], s = fmin(fmin(at - b->at[0], last - at) / fmin(SOFT, (last - b->at[0]) / 4), 1);
    s = s > 0 ? sin(M_PI / 2 * s) : 0;
    return s * s;
}

/* ---- Sorting ---- */
/* Column of view v that the ray at fan angle g meets, and how far from the source across the axis. */
static double column_of(double *far, const kr_rays *r, long v, double g)
{
    const double *S = r->source[v], *u = r->u[v];
    double size = sqrt(dot2(S, S)), c[2] = { -S[0] / size, -S[1] / size }, d[3] = { cos(g) * c[0] - sin(g) * c[1], sin(g) * c[0] + cos(g) * c[1], 0 };
    double e[3] = { r->centre[v][0] - S[0], r->centre[v][1] - S[1], 0 }, mid = (double)(r->columns - 1) / 2;
    if (r->curved) {
        *far = sqrt(dot2(e, e));
        return mid + atan2(cross2(e, d), dot2(e, d)) * *far / sqrt(dot2(u, u)) * copysign(1, cross2(e, u));
    }
    double a = -cross2(d, e) / cross2(d, u), at[3] = { e[0] + a * u[0], e[1] + a * u[1], 0 };
    *far = sqrt(dot2(at, at));
    return mid + a;
}

struct sorting { struct bins *b; const float *y; };

static int sort_direction(void *self, long i)
{
    const struct sorting *j = self;
    const struct bins *b = j->b;
    const kr_rays *r = b->r;
    double theta = b->start + M_PI * ((double)(b->from + i / b->windings) / (double)b->half + (double)(i % b->windings));
    float *to = b->raw + i * b->U * b->V;
    memset(to, 0, (size_t)(b->U * b->V) * sizeof *to);
    for (long m = 0; m < b->U; m++) {
        double t = ((double)m - (double)(b->U - 1) / 2) * b->dt, g = -asin(fmin(fmax(t / b->R, -0.999), 0.999)), at = theta - g, view = view_at(b, at);
        for (int e = 0; e < 2; e++) {
            long n = (long)fmin(view, fmax((double)(r->views - 2), 0)) + e;
            double share = e ? view - floor(fmin(view, (double)(r->views - 2))) : 1 - (view - floor(fmin(view, (double)(r->views - 2)))), far;
            if (!(share > 0) || n >= r->views)
                continue;
            long v = b->view[n];
            double u = fmin(fmax(column_of(&far, r, v, g), 0), (double)(r->columns - 1)), low = (r->source[v][2] - r->centre[v][2]) / r->v[v][2];
            long k = (long)fmin(u, fmax((double)(r->columns - 2), 0));
            double f = u - (double)k, per = far / r->v[v][2], mid = (double)(r->rows - 1) / 2;
            for (long row = 0; row < b->V; row++) {
                double q = b->q0 + ((double)row - mid) * b->dq, s = fmin(fmax(mid + low + q * per, 0), (double)(r->rows - 1));
                long l = (long)fmin(s, fmax((double)(r->rows - 2), 0));
                double h = s - (double)l;
                const float *p = j->y + (v * r->rows + l) * r->columns + k, *below = r->rows > 1 ? p + r->columns : p;
                long right = r->columns > 1;
                double sum = (1 - h) * ((1 - f) * (double)p[0] + f * (double)p[right]) + h * ((1 - f) * (double)below[0] + f * (double)below[right]);
                to[row * b->U + m] += (float)(share * sum / sqrt(1 + q * q));
            }
        }
    }
    return 0;
}

static int turn_direction(void *self, long i)                        /* rows next to each other */
{
    const struct bins *b = self;
    for (long m0 = 0; m0 < b->U; m0 += 16)
        for (long row = 0; row < b->V; row++)
            for (long m = m0; m < m0 + 16 && m < b->U; m++)
                b->p[(i * b->U + m) * b->V + row] = b->raw[(i * b->V + row) * b->U + m];
    return 0;
}

/* ---- Back-projection ---- */
struct lines { struct bins *b; const kr_grid *g; float *x, *scratch; long each, room, stride[3]; };

/* Adds what voxels of one column get from direction j of half a turn, out of all windings: sum and how much was summed. */
static void through(const struct lines *s, float *mixed, float *count, float *sum, long j, double px, double py, double z0, double dz)
{
    const struct bins *b = s->b;
    long n = s->g->n[2], V = b->V;
    double mid = (double)(V - 1) / 2;
    for (long w = 0; w < b->windings; w++) {
        double theta = b->start + M_PI * ((double)(b->from + j) / (double)b->half + (double)w), c = cos(theta), d = sin(theta), t = px * c + py * d;
        double m = t / b->dt + (double)(b->U - 1) / 2, depth = sqrt(fmax(b->R * b->R - t * t, 0)), far = depth - px * d + py * c, at = theta + asin(fmin(fmax(t / b->R, -1), 1));
        double in = within(b, at);
        if (!(m >= 0) || !(m <= (double)(b->U - 1)) || !(far > 0) || !(in > 0))
            continue;
        double view = view_at(b, at), f = view - floor(view);
        long i = (long)view;
        double zs = b->z[i] + (i + 1 < b->r->views ? f * (b->z[i + 1] - b->z[i]) : 0), step = dz / far / b->dq, first = ((z0 - zs) / far - b->q0) / b->dq + mid;
        double k0 = fmax(0, ceil((-0.5 - first) / step)), k1 = fmin((double)(n - 1), floor((mid * 2 + 0.5 - first) / step));
        if (!(k0 <= k1))
            continue;
        long k = (long)fmin(m, (double)(b->U - 2)), from = (long)fmin(fmax(first + k0 * step, 0), (double)(V - 1)) / 16 * 16;
        long to = ((long)fmin(fmax(first + k1 * step + 1, 0), (double)(V - 1)) / 16 + 1) * 16;
        float share[2] = { (float)((1 - (m - (double)k)) * in), (float)((m - (double)k) * in) };
        float *p = mixed + RAY_PAD, *h = mixed + s->room + RAY_PAD;
        b->k->mix(p + from, b->p + ((j * b->windings + w) * b->U + k) * V + from, V, share, 2, to - from);
        for (long r = from; r < to; r++) {
            p[r] *= b->share[r];
            h[r] = b->share[r] * (float)in;
        }
        p[-1] = p[0];                                                /* half a row beyond the first and the last */
        h[-1] = h[0];
        p[V] = p[V - 1];
        h[V] = h[V - 1];
        b->k->take(sum, p, V + 1, first, step, (long)k0, (long)k1);
        b->k->take(count, h, V + 1, first, step, (long)k0, (long)k1);
    }
}

static int through_row(void *self, long row)
{
    const struct lines *s = self;
    const struct bins *b = s->b;
    long n = s->g->n[2], line = s->room;
    float *mixed = s->scratch + (long)kr_worker() * s->each, *sum = mixed + 2 * s->room, *count = sum + line, *out = count + line;
    double dz = fabs(s->g->step[2]), z0 = s->g->step[2] > 0 ? s->g->first[2] : s->g->first[2] + (double)(n - 1) * s->g->step[2], y = s->g->first[1] + (double)row * s->g->step[1];
    for (long i0 = 0; i0 < s->g->n[0]; i0 += LINES) {
        long many = s->g->n[0] - i0 < LINES ? s->g->n[0] - i0 : LINES;
        float *volume = s->x + i0 * s->stride[0] + row * s->stride[1];
        for (long k = 0; k < n; k++)
            for (long i = 0; i < many; i++)
                out[i * line + (s->g->step[2] > 0 ? k : n - 1 - k)] = volume[i * s->stride[0] + k * s->stride[2]];
        for (long i = 0; i < many; i++)
            for (long j = 0; j < b->count; j++) {
                memset(sum, 0, 2 * (size_t)line * sizeof *sum);
                through(s, mixed, count, sum, j, s->g->first[0] + (double)(i0 + i) * s->g->step[0], y, z0, dz);
                for (long k = 0; k < n; k++)                         /* NAN, which stays: a direction from which the voxel was not seen */
                    out[i * line + k] += count[k] > 1e-6f ? sum[k] / count[k] : NAN;
            }
        for (long k = 0; k < n; k++)
            for (long i = 0; i < many; i++)
                volume[i * s->stride[0] + k * s->stride[2]] = out[i * line + (s->g->step[2] > 0 ? k : n - 1 - k)];
    }
    return 0;
}

/* Voxels that were not seen from all sides become 0. */
static int finish(float *x, const kr_grid *g, const long stride[3], const kr_trace *trace)
{
    long within = 0, missed = 0, first = -1, last = -1;
    for (long k = 0; k < g->n[2]; k++) {
        long bad = 0;
        for (long j = 0; j < g->n[1]; j++)
            for (long i = 0; i < g->n[0]; i++) {
                float *v = x + i * stride[0] + j * stride[1] + k * stride[2];
                if (isnan(*v)) {
                    *v = 0;
                    bad++;
                }
            }
        within += g->n[0] * g->n[1] - bad;
        missed += bad;
        if (bad < g->n[0] * g->n[1]) {
            first = first < 0 ? k : first;
            last = k;
        }
    }
    if (!within)
        return kr_fail(KR_EREFUSED, "filtered back-projection: no voxel was seen from all sides: does the helix rise further in half a turn than the detector is high, or does the scan cover less than half a turn?");
    if (missed)
        kr_say(trace, KR_INFO, "%ld of %ld voxels were not seen from all sides and are 0; slices %ld to %ld hold the others", missed, missed + within, first, last);
    return 0;
}

static int run(float *x, const float *y, struct bins *b, struct lines *s, const kr_fbp_opts *o, const kr_trace *trace)
{
    long all = DIRECTIONS * b->windings;
    kr_auto double *scale = kr_alloc((size_t)all, sizeof *scale);
    kr_auto float *raw = kr_alloc((size_t)all, (size_t)(b->U * b->V) * sizeof *raw), *p = kr_alloc((size_t)(all * b->U * b->V) + 32, sizeof *p);
    kr_auto float *share = kr_alloc((size_t)(b->V / 16 + 1), 16 * sizeof *share);
    s->room = (s->g->n[2] > b->V ? s->g->n[2] : b->V) / 16 * 16 + 32 + 2 * RAY_PAD;
    s->each = (4 + LINES) * s->room;
    kr_auto float *scratch = kr_alloc_zero((size_t)kr_threads(), (size_t)s->each * sizeof *scratch);
    if (!scale || !raw || !p || !share || !scratch)
        return kr_error_code();
    b->raw = raw;
    b->p = p;
    b->share = share;
    s->scratch = scratch;
    for (long i = 0; i < all; i++)
        scale[i] = M_PI / (double)b->half / (o->window == KR_WINDOW_NONE ? 1 : b->dt);
    for (long row = 0; row < (b->V / 16 + 1) * 16; row++) {          /* more than 0 up to the last row */
        double q = fabs((double)row - (double)(b->V - 1) / 2) / ((double)b->V / 2), c = q > EDGE ? cos(M_PI / 2 * fmin((q - EDGE) / (1 - EDGE), 1)) : 1;
        share[row] = (float)fmax(c * c, 1e-3);
    }
    for (b->from = 0; b->from < b->half; b->from += DIRECTIONS) {
        b->count = b->half - b->from < DIRECTIONS ? b->half - b->from : DIRECTIONS;
        ray_rows rows = { raw, NULL, b->U, b->U, 0, b->V, b->count * b->windings };
        struct sorting sort = { b, y };
        if (kr_stopped(trace) || kr_for(b->count * b->windings, sort_direction, &sort) || ray_filter(raw, &rows, scale, o->window, 0, false)
            || kr_for(b->count * b->windings, turn_direction, b) || kr_for(s->g->n[1], through_row, s))
            return kr_error_code();
        kr_progress(trace, "fbp", (int)(b->from + b->count), (int)b->half);
    }
    return finish(x, s->g, s->stride, trace);
}

int ray_rebinned(float *x, const float *y, const kr_rays *r, int axis, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace)
{
    kr_rays *turned = axis == 2 ? NULL : kr_rays_about_z(r, axis);
    kr_auto double *numbers = kr_alloc((size_t)r->views, 2 * sizeof *numbers);
    kr_auto long *view = kr_alloc((size_t)r->views, sizeof *view);
    const long size[3] = { 1, g->n[0], g->n[0] * g->n[1] };
    kr_grid as = *g;
    struct bins b = { .r = turned ? turned : r, .at = numbers, .z = numbers ? numbers + r->views : NULL, .view = view, .k = kr_raykern_best() };
    struct lines s = { .b = &b, .g = &as, .x = x };
    for (int d = 0; d < 3; d++) {
        int from = (axis + 1 + d) % 3;
        as.n[d] = g->n[from];
        as.first[d] = g->first[from];
        as.step[d] = g->step[from];
        s.stride[d] = size[from];
    }
    int e = (axis != 2 && !turned) || !numbers || !view ? kr_error_code() : 0;
    e = e ? e : o->weights ? kr_fail(KR_EREFUSED, "helices and curved detectors of several rows have no weights of single rays") : order(&b, b.r);
    if (!e) {
        memset(x, 0, (size_t)(g->n[0] * g->n[1] * g->n[2]) * sizeof *x);
        e = run(x, y, &b, &s, o, trace);
    }
    kr_rays_unref(&turned);
    return e;
}

double ray_rebinned_bytes(const kr_rays *r, int axis, const kr_grid *g)
{
    kr_rays *turned = axis == 2 ? NULL : kr_rays_about_z(r, axis);
    kr_auto double *numbers = kr_alloc((size_t)r->views, 2 * sizeof *numbers);
    kr_auto long *view = kr_alloc((size_t)r->views, sizeof *view);
    struct bins b = { .r = turned ? turned : r, .at = numbers, .z = numbers ? numbers + r->views : NULL, .view = view };
    bool good = (axis == 2 || turned) && numbers && view && !order(&b, b.r);
    kr_rays_unref(&turned);
    kr_error_clear();                                                /* kr_fbp will tell */
    long line = (g->n[axis] > b.V ? g->n[axis] : b.V) + 48 + 2 * RAY_PAD;
    return good ? 4 * (2 * (double)(DIRECTIONS * b.windings) * (double)(b.U * b.V) + (double)((4 + LINES) * line) * kr_threads()) : 0;
}
