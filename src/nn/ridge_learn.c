/* ridge_learn.c: a ridge regulariser is trained by what it makes of data: the image is the minimum of an objective, and its derivatives by the parameters follow from
 * the condition that the gradient there is 0. Sources: Goujon, Neumayer and Unser 2024; Chen et al., IEEE Trans Image Process 23:1060 (2014). */
#include "ridge_parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct solver {
    const kr_ridge *r;
    const kr_ridge_lesson *l;
    ridge_tile at, along;            /* of z, and of a direction */
    long n;
    kr_array *in, *out;              /* of N */
    float *mask; double most;        /* of the network, {filters, y, x}; NULL: 1 */
} solver;

static int solver_open(solver *s, const kr_ridge *r, const kr_ridge_lesson *l)
{
    *s = (solver){ .r = r, .l = l, .n = l->nx * l->ny, .most = 1 };
    int e = ridge_tile_open(&s->at, r, l->ny, l->nx, 2, true);
    e = e ? e : ridge_tile_open(&s->along, r, l->ny, l->nx, 2, true);
    if (e || !l->N)
        return e;
    s->in = kr_array_new(KR_C32, kr_linop_domain(l->N));
    s->out = kr_array_new(KR_C32, kr_linop_domain(l->N));
    return s->in && s->out ? 0 : kr_error_code();
}

static void solver_close(solver *s)
{
    ridge_tile_close(&s->at);
    ridge_tile_close(&s->along);
    kr_array_unref(&s->in);
    kr_array_unref(&s->out);
}

static void fill(const solver *s, ridge_tile *t, const kr_cfloat *z)
{
    long m = 2 * s->r->reach, nx = s->l->nx, ny = s->l->ny;
    for (long y = 0; y < ny + 2 * m; y++) {
        const kr_cfloat *from = z + ((y - m) % ny + ny) % ny * nx;
        for (long x = 0; x < nx + 2 * m; x++) {
            kr_cfloat v = from[((x - m) % nx + nx) % nx];
            t->layer[0][0][y * t->row + x] = kr_re(v);
            t->layer[1][0][y * t->row + x] = kr_im(v);
        }
    }
    for (int k = 0; k < 2; k++)
        ridge_down(s->r, t, k);
}

/* back[last] = phi of, or the derivative along, the answers: rows of the last layer. */
static void bend(const solver *s, ridge_tile *t, bool turn)
{
    const kr_ridge *r = s->r;
    enum { LAST = RIDGE_LAYERS };
    long n = ridge_rows(r, t, LAST) * t->row;
    for (long k = 0; k < r->chan[LAST]; k++) {
        float a = ridge_scale(r, k, s->l->level), *re = t->back[0][LAST] + k * t->plane, *im = t->back[1][LAST] + k * t->plane;
        memcpy(re, t->layer[0][LAST] + k * t->plane, (size_t)n * sizeof *re);
        memcpy(im, t->layer[1][LAST] + k * t->plane, (size_t)n * sizeof *im);
        if (turn)
            r->kern->turn(re, im, s->at.layer[0][LAST] + k * t->plane, s->at.layer[1][LAST] + k * t->plane, n, a, &r->profile);
        else
            r->kern->shrink(re, im, n, a, &r->profile);
        for (long y = 0, ny = s->l->ny, nx = s->l->nx; s->mask && y < ny + 2 * r->reach; y++) {
            const float *m = s->mask + k * s->n + (((y - r->reach) % ny + ny) % ny) * nx;
            ridge_mask_row(re + y * t->row, m, nx, -r->reach, nx + 2 * r->reach);
            ridge_mask_row(im + y * t->row, m, nx, -r->reach, nx + 2 * r->reach);
        }
    }
    for (int k = 0; k < 2; k++)
        ridge_up(r, t, k);
}

static void N_of(const solver *s, kr_cfloat *q, const kr_cfloat *z)
{
    if (!s->l->N) {
        memcpy((void *)q, z, (size_t)s->n * sizeof *q);
        return;
    }
    memcpy(s->in->data, z, (size_t)s->n * sizeof *z);
    kr_apply(s->l->N, s->out, s->in);
    memcpy((void *)q, s->out->data, (size_t)s->n * sizeof *q);
}

/* q += strength times the image of t */
static void add_image(const solver *s, kr_cfloat *q, const ridge_tile *t)
{
    float by = (float)s->l->strength;
    for (long y = 0; y < s->l->ny; y++)
        for (long x = 0; x < s->l->nx; x++)
            q[y * s->l->nx + x] += by * kr_c(t->back[0][0][y * t->row + x], t->back[1][0][y * t->row + x]);
}

/* q = N z + strength grad R(z) - b */
static void slope(solver *s, kr_cfloat *q, const kr_cfloat *z)
{
    N_of(s, q, z);
    fill(s, &s->at, z);
    bend(s, &s->at, false);
    add_image(s, q, &s->at);
    for (long i = 0; i < s->n; i++)
        q[i] -= s->l->b[i];
}

/* q = (N + strength R''(z)) v, z that of the last slope */
static void curve(solver *s, kr_cfloat *q, const kr_cfloat *v)
{
    N_of(s, q, v);
    fill(s, &s->along, v);
    bend(s, &s->along, true);
    add_image(s, q, &s->along);
}

static double dot(const kr_cfloat *a, const kr_cfloat *b, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += (double)kr_re(a[i]) * (double)kr_re(b[i]) + (double)kr_im(a[i]) * (double)kr_im(b[i]);
    return sum;
}

/* Accelerated gradient steps with restart, until what is left of the gradient is a small part of the noise. */
static void descend(solver *s, kr_cfloat *z, kr_cfloat *x, kr_cfloat *q)
{
    double step = 1 / ((s->l->N ? s->l->bound : 1) + s->l->strength * s->most * kr_ridge_bound(s->r)), t = 1;
    memcpy((void *)z, x, (size_t)s->n * sizeof *z);
    for (int k = 0; k < s->l->iterations; k++) {
        slope(s, q, z);
        if (dot(q, q, s->n) < s->l->rest * s->l->rest * (double)s->n * 2)
            break;
        double next = (1 + sqrt(1 + 4 * t * t)) / 2, turned = 0;
        float ahead = (float)((t - 1) / next);
        for (long i = 0; i < s->n; i++) {
            kr_cfloat v = z[i] - (float)step * q[i], d = v - x[i];
            turned += (double)(kr_re(q[i]) * kr_re(d) + kr_im(q[i]) * kr_im(d));
            z[i] = v + ahead * d;
            x[i] = v;
        }
        t = turned > 0 ? 1 : next;
    }
    memcpy((void *)z, x, (size_t)s->n * sizeof *z);
    slope(s, q, z);                  /* the tile is that of z */
}

/* u = (N + strength R'')^-1 g, as far as the curvature is above 0. */
static int inverse(solver *s, kr_cfloat *u, const kr_cfloat *g)
{
    kr_auto kr_cfloat *room = kr_alloc((size_t)(3 * s->n), sizeof *room);
    if (!room)
        return kr_error_code();
    kr_cfloat *r = room, *p = room + s->n, *q = room + 2 * s->n;
    memset((void *)u, 0, (size_t)s->n * sizeof *u);
    memcpy((void *)r, g, (size_t)s->n * sizeof *r);
    memcpy((void *)p, g, (size_t)s->n * sizeof *p);
    double rr = dot(r, r, s->n), least = 1e-4 * rr;
    for (int k = 0; k < s->l->inner && rr > least; k++) {
        curve(s, q, p);
        for (long i = 0; i < s->n; i++)
            q[i] += (float)s->l->damping * p[i];
        double pq = dot(p, q, s->n);
        if (!(pq > 0))
            break;
        float a = (float)(rr / pq);
        for (long i = 0; i < s->n; i++) {
            u[i] += a * p[i];
            r[i] -= a * q[i];
        }
        double before = rr;
        rr = dot(r, r, s->n);
        float b = (float)(rr / before);
        for (long i = 0; i < s->n; i++)
            p[i] = r[i] + b * p[i];
    }
    return 0;
}

static kr_tensor *gradient_of(kr_weights *w, const char *name, long count)
{
    const kr_tensor *t = kr_weights_find(w, name);
    kr_assert(t && kr_tensor_count(t) == count);
    return (kr_tensor *)(uintptr_t)t;
}

/* Filters of one layer: the direction's inputs against what comes back from z, and the other way round. */
static void filters_gradient(const solver *s, kr_weights *gradient, long l, double by)
{
    const kr_ridge *r = s->r;
    long k = r->width[l], ins = r->chan[l], outs = r->chan[l + 1], ny = s->l->ny, nx = s->l->nx;
    char name[64];
    snprintf(name, sizeof name, "filters.%ld.weight", l);
    kr_tensor *t = gradient_of(gradient, name, outs * ins * k * k);
    const ridge_tile *in[2] = { &s->along, &s->at }, *back[2] = { &s->at, &s->along };
    long from = (ridge_rows(r, &s->at, l) - ny) / 2 - k / 2, at = (ridge_back_rows(r, &s->at, l + 1) - ny) / 2, row = s->at.row, plane = s->at.plane;
    for (long o = 0; o < outs; o++)
        for (long i = 0; i < ins; i++)
            for (long y = 0; y < k; y++) {
                double sum[16] = { 0 };
                for (int way = 0; way < 2; way++)
                    for (int part = 0; part < 2; part++)
                        r->kern->correlate(sum, back[way]->back[part][l + 1] + o * plane + at * row + at, in[way]->layer[part][l] + i * plane + (from + y) * row + from, ny, nx, row, k);
                for (long x = 0; x < k; x++)
                    t->data[((o * ins + i) * k + y) * k + x] += (float)(by * sum[x]);
            }
}

/* Scales and slopes: of <W u, phi(W z)>. */
static int profile_gradient(const solver *s, kr_weights *gradient, double by)
{
    enum { LAST = RIDGE_LAYERS };
    const kr_ridge *r = s->r;
    long K = r->chan[LAST], count = r->profile.count, ny = s->l->ny, nx = s->l->nx;
    kr_tensor *scale = gradient_of(gradient, "scale", K), *level = gradient_of(gradient, "scale_level", K), *profile = gradient_of(gradient, "profile", count);
    kr_auto double *many = kr_alloc_zero((size_t)(2 * (count + 1)), sizeof *many);
    if (!many)
        return kr_error_code();
    double *inside = many + count + 1, step = (double)r->profile.step, told = log(fmin(1, fmax(1e-4, s->l->level)) / 0.03);
    for (long k = 0; k < K; k++) {
        double a = (double)ridge_scale(r, k, s->l->level), sum = 0;
        for (long y = 0; y < ny; y++)
            for (long x = 0; x < nx; x++) {
                long i = k * s->at.plane + (y + r->reach) * s->at.row + x + r->reach;
                double re = (double)s->at.layer[0][LAST][i], im = (double)s->at.layer[1][LAST][i], m = sqrt(re * re + im * im) + 1e-12, t = a * m;
                double along = (re * (double)s->along.layer[0][LAST][i] + im * (double)s->along.layer[1][LAST][i]) / m;
                int j = t / step < (double)count ? (int)(t / step) : (int)count;
                sum -= along * (double)r->a[j] / a;                              /* phi'(t) t - phi(t) = -a_j */
                many[j] += along / a;
                inside[j] += along / a * (t - j * step);
            }
        scale->data[k] += (float)(by * sum);
        level->data[k] += (float)(by * sum * told);
    }
    double beyond = many[count] * step;
    for (long j = count; j-- > 0; beyond += many[j] * step)
        profile->data[j] += (float)(by * (inside[j] + beyond));
    return 0;
}

static double loss_of(const kr_ridge_lesson *l, const kr_cfloat *z, kr_cfloat *g)
{
    double e = 0, all = 0;
    for (long i = 0, n = l->nx * l->ny; i < n; i++) {
        e += (double)l->weight[i] * (double)kr_cabs2(z[i] - l->target[i]);
        all += (double)l->weight[i];
    }
    e += 1e-12;
    for (long i = 0, n = l->nx * l->ny; g && i < n; i++)
        g[i] = (float)((double)l->weight[i] / e) * (z[i] - l->target[i]);
    return log(e / (all + 1e-12)) / 2;
}

/* What the network of masks sees of z, whose answers are in the tile. */
static void look(const solver *s, float *seen, const kr_cfloat *z)
{
    const kr_ridge *r = s->r;
    enum { LAST = RIDGE_LAYERS };
    long K = r->chan[LAST], nx = s->l->nx;
    for (long k = 0; k < K; k++) {
        float a = ridge_scale(r, k, s->l->level);
        for (long i = 0; i < s->n; i++) {
            long at = k * s->at.plane + (i / nx + r->reach) * s->at.row + i % nx + r->reach;
            float re = s->at.layer[0][LAST][at], im = s->at.layer[1][LAST][at];
            seen[k * s->n + i] = log1pf(a * sqrtf(re * re + im * im));
        }
    }
    for (long i = 0; i < s->n; i++) {
        seen[K * s->n + i] = log1pf(sqrtf(kr_cabs2(z[i])));
        seen[(K + 1) * s->n + i] = log1pf(sqrtf(kr_cabs2(z[i] - s->l->b[i])));
    }
}

/* The loss by the network's output: -strength <W u, phi(W z)> at each answer, times the slope of the bend between 0 and RIDGE_MOST. The tiles hold m phi(W z) and W u. */
static void mask_slope(const solver *s, float *slope, double by)
{
    const kr_ridge *r = s->r;
    enum { LAST = RIDGE_LAYERS };
    for (long k = 0; k < r->chan[LAST]; k++)
        for (long i = 0; i < s->n; i++) {
            long at = k * s->at.plane + (i / s->l->nx + r->reach) * s->at.row + i % s->l->nx + r->reach;
            float along = s->at.back[0][LAST][at] * s->along.layer[0][LAST][at] + s->at.back[1][LAST][at] * s->along.layer[1][LAST][at];
            slope[k * s->n + i] = (float)by * along * (1 - s->mask[k * s->n + i] / RIDGE_MOST);
        }
}

int kr_ridge_learn(const kr_ridge *r, kr_weights *gradient, const kr_ridge_lesson *l, double by, double *before, double *loss)
{
    solver s;
    long numbers = l->nx * l->ny * (r->chan[RIDGE_LAYERS] + RIDGE_BESIDE);
    kr_auto kr_cfloat *room = kr_alloc((size_t)(4 * l->nx * l->ny), sizeof *room);
    kr_auto float *mask = r->mask ? kr_alloc((size_t)(2 * numbers), sizeof *mask) : NULL;
    kr_run *run = mask ? ridge_mask_plan(r, l->ny, l->nx, by != 0) : NULL;
    int e = solver_open(&s, r, l);
    e = e ? e : !room || (r->mask && !run) ? kr_error_code() : 0;
    if (!e && run)
        e = kr_run_lend(run, NULL);
    if (!e) {
        kr_cfloat *z = room, *x = room + s.n, *q = room + 2 * s.n, *u = room + 3 * s.n;
        memcpy((void *)x, l->start, (size_t)s.n * sizeof *x);
        *before = loss_of(l, x, NULL);
        if (run) {
            descend(&s, z, x, q);                            /* without masks */
            *before = loss_of(l, x, NULL);
            look(&s, mask + numbers, x);
            kr_run_input(run, 0, mask + numbers);
            s.most = (double)ridge_mask_run(run, mask);
            s.mask = mask;
        }
        descend(&s, z, x, q);
        *loss = loss_of(l, z, q);
        for (long i = 0; l->image && i < s.n; i++)
            l->image[i] = (float)l->level * z[i];
        if (!isfinite(*loss))
            e = kr_fail(KR_ENUMBER, "the image of a lesson is not finite");
        if (!e && by != 0) {
            e = inverse(&s, u, q);
            if (!e && run) {
                fill(&s, &s.along, u);                       /* and back of `at` is m phi of z, from the last slope */
                mask_slope(&s, mask + numbers, -by * l->strength);
                ridge_mask_back(run, r, gradient, mask + numbers);
            } else if (!e) {
                fill(&s, &s.along, u);
                bend(&s, &s.along, true);                    /* and back of `at` is phi of z, from the last slope */
                for (long k = 0; k < RIDGE_LAYERS; k++)
                    filters_gradient(&s, gradient, k, -by * l->strength);
                e = profile_gradient(&s, gradient, -by * l->strength);
            }
        }
    }
    kr_run_unref(&run);
    solver_close(&s);
    return e;
}
