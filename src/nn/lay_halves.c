/* lay_halves.c: features whose two halves of channels are standardised by their mean and unbiased deviation, zero-padded about the middle to multiples of
 * some number; and back, for features of any even number of channels. Source: NormUnet of DIRECT. */
#include "lay.h"
#include <math.h>
#include <string.h>

enum { MEAN = 0, STD = 2, MOMENTS = 4 };                     /* of two halves each */
static long padded(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }
static int half_of(long q, long chan) { return q >= chan / 2; }

static int even(const kr_layer *l, const kr_extent *x)
{
    if (extent_is(l, x, KR_FEATURES, 0))
        return kr_error_code();
    return x->chan % 2 ? kr_fail(KR_ESHAPE, "%ld channels do not make two groups", x->chan) : 0;
}

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = *x;
    y[0].y = padded(x->y, l->arg[0]);
    y[0].x = padded(x->x, l->arg[0]);
    y[1] = (kr_extent){ KR_NUMBERS, MOMENTS, 1, 1, 1 };
    return even(l, x) ? kr_error_code() : extent_flat(l, x, 1);
}

/* f(channel, numbers 16 apart, count, row) of each row of each channel. */
static double dot_rows(const kr_map *m, const kr_map *with, long top, long left, long h, long w, int half, double shift, int power)
{
    double sum = 0;
    for (long q = half ? m->c / 2 : 0; q < (half ? m->c : m->c / 2); q++)
        for (long y = 0; y < h; y++) {
            const float *a = kr_map_at(m, q / 16, y + top, left) + q % 16, *b = with ? kr_map_at(with, q / 16, y, 0) + q % 16 : NULL;
            double row = 0;
            for (long x = 0; x < w; x++) {
                double v = b ? (double)b[16 * x] - shift : (double)a[16 * x] - shift;
                row += b ? v * (double)a[16 * x] : power == 2 ? v * v : v;
            }
            sum += row;
        }
    return sum;
}

struct job { kr_map *to; const kr_map *from; long h, w, top, left; const double *mul, *add; bool inward, more; };

/* Channel q: to = from mul + add, or (more) to += that; inward: `from` is the padded one. */
static int channel(void *self, long q)
{
    const struct job *j = self;
    int half = half_of(q, j->to->c);
    for (long y = 0; y < j->h; y++) {
        const float *from = kr_map_at(j->from, q / 16, y + (j->inward ? j->top : 0), j->inward ? j->left : 0) + q % 16;
        float *to = kr_map_at(j->to, q / 16, y + (j->inward ? 0 : j->top), j->inward ? 0 : j->left) + q % 16;
        for (long x = 0; x < j->w; x++) {
            float v = (float)((double)from[16 * x] * j->mul[half] + j->add[half]);
            to[16 * x] = j->more ? to[16 * x] + v : v;
        }
    }
    return 0;
}

static void copy(kr_map *to, const kr_map *from, bool inward, bool more, const double mul[2], const double add[2])
{
    const kr_map *in = inward ? to : from, *out = inward ? from : to;
    struct job j = { to, from, in->h, in->w, (out->h - in->h) / 2, (out->w - in->w) / 2, mul, add, inward, more };
    if (kr_for(to->c, channel, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void forward(const kr_call *c)
{
    const kr_map *x = &c->x[0]->map;
    kr_map *y = &c->y[0]->map;
    double *m = c->y[1]->data, n = (double)(x->c / 2 * x->h * x->w), mul[2], add[2];
    for (int q = 0; q < 2; q++) {
        m[MEAN + q] = dot_rows(x, NULL, 0, 0, x->h, x->w, q, 0, 1) / n;
        m[STD + q] = sqrt(dot_rows(x, NULL, 0, 0, x->h, x->w, q, m[MEAN + q], 2) / (n - 1));
        if (!(m[STD + q] > 0))
            m[STD + q] = 1;                                  /* constant: nothing to divide by */
        mul[q] = 1 / m[STD + q];
        add[q] = -m[MEAN + q] / m[STD + q];
    }
    memset(y->store, 0, (size_t)(y->blocks * y->block) * sizeof *y->store);
    copy(y, x, false, false, mul, add);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 1;
    *y = 2;
}

/* u = (x - m) / s: dx = (df - mean(df) - u sum(df u) / (n - 1)) / s + dm / n + ds u / (n - 1) */
static void backward(const kr_call *c)
{
    const kr_map *x = &c->x[0]->map, *dy = &c->dy[0]->map;
    const double *m = c->y[1]->data, *dm = c->dy[1]->data, n = (double)(x->c / 2 * x->h * x->w), less = n > 1 ? n - 1 : 1, zero[2] = { 0, 0 };
    double of_d[2], of_x[2], rest[2];
    long top = (dy->h - x->h) / 2, left = (dy->w - x->w) / 2;
    for (int q = 0; q < 2; q++) {
        double sum = 0, s = m[STD + q], along = dot_rows(dy, x, top, left, x->h, x->w, q, m[MEAN + q], 1) / s;
        sum = dot_rows(dy, NULL, top, left, x->h, x->w, q, 0, 1);
        double by_u = (-along / s + dm[STD + q]) / less;     /* of u in dx */
        of_d[q] = 1 / s;
        of_x[q] = by_u / s;
        rest[q] = -sum / n / s + dm[MEAN + q] / n - by_u * m[MEAN + q] / s;
    }
    copy(&c->dx[0]->map, dy, true, true, of_d, rest);
    copy(&c->dx[0]->map, x, true, true, of_x, zero);
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long px = m->y * m->x, top = (n->y - m->y) / 2, left = (n->x - m->x) / 2, half = m->chan / 2;
    for (int q = 0; q < 2; q++) {
        const double *x = c->x[0]->v + q * half * px;
        double mean = 0, var = 0;
        for (long i = 0; i < half * px; i++)
            mean += x[i] / (double)(half * px);
        for (long i = 0; i < half * px; i++)
            var += pow(x[i] - mean, 2) / (double)(half * px - 1);
        c->y[1]->v[MEAN + q] = mean;
        c->y[1]->v[STD + q] = sqrt(var);
        for (long i = 0; i < half * px; i++)
            c->y[0]->v[((q * half + i / px) * n->y + i % px / m->x + top) * n->x + i % m->x + left] = (x[i] - mean) / sqrt(var);
    }
}

static void plain_back(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long px = m->y * m->x, top = (n->y - m->y) / 2, left = (n->x - m->x) / 2, half = m->chan / 2, all = half * px;
    for (int q = 0; q < 2; q++) {
        double sum = 0, along = 0, mean = c->y[1]->v[MEAN + q], std = c->y[1]->v[STD + q];
        for (int pass = 0; pass < 2; pass++)
            for (long i = q * all; i < (q + 1) * all; i++) {
                double d = c->dy[0][(i / px * n->y + i % px / m->x + top) * n->x + i % m->x + left], u = (c->x[0]->v[i] - mean) / std;
                if (pass)
                    c->dx[0][i] += (d - sum / (double)all - u * along / (double)(all - 1)) / std + c->dy[1][MEAN + q] / (double)all + c->dy[1][STD + q] * u / (double)(all - 1);
                else {
                    sum += d;
                    along += d * u;
                }
            }
    }
}

static const kr_layer_ops ops = { .name = "standardising by halves", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .on = -1 };
kr_node lay_halves(kr_graph *g, kr_node *moments, kr_node x, long multiple) { return graph_add(g, moments, &ops, &x, 1, NULL, 0, &multiple, 1, NULL); }

/* ---- And back, to the size of another ---- */
static int back_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[2], KR_FEATURES, x[0].chan);
    return even(l, x) || extent_is(l, x + 1, KR_NUMBERS, MOMENTS) ? kr_error_code() : 0;
}

static void back_forward(const kr_call *c)
{
    const double *m = c->x[1]->data;
    kr_map *y = &c->y[0]->map;
    memset(y->store, 0, (size_t)(y->blocks * y->block) * sizeof *y->store);
    copy(y, &c->x[0]->map, true, false, m + STD, m + MEAN);
}

static void back_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 3;
    *y = 0;
}

static void back_backward(const kr_call *c)
{
    const kr_map *x = &c->x[0]->map, *d = &c->dy[0]->map;
    const double *m = c->x[1]->data, zero[2] = { 0, 0 };
    long top = (x->h - d->h) / 2, left = (x->w - d->w) / 2;
    if (c->dx[0])
        copy(&c->dx[0]->map, d, false, true, m + STD, zero);
    for (int q = 0; q < 2 && c->dx[1]; q++) {
        ((double *)c->dx[1]->data)[MEAN + q] += dot_rows(d, NULL, 0, 0, d->h, d->w, q, 0, 1);
        ((double *)c->dx[1]->data)[STD + q] += dot_rows(x, d, top, left, d->h, d->w, q, 0, 1);
    }
}

static void back_plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->x[0]->n, *m = &c->y[0]->n;
    long px = m->y * m->x, top = (n->y - m->y) / 2, left = (n->x - m->x) / 2;
    for (long i = 0; i < m->chan * px; i++) {
        int q = half_of(i / px, m->chan);
        long at = (i / px * n->y + i % px / m->x + top) * n->x + i % m->x + left;
        plain_link(c, i, 0, at, c->x[1]->v[STD + q]);
        plain_link(c, i, 1, MEAN + q, 1);
        if (c->dy[0] && c->dx[1])
            c->dx[1][STD + q] += c->dy[0][i] * c->x[0]->v[at];
    }
}

static const kr_layer_ops back_ops = { .name = "undoing the standardising by halves", .shape = back_shape, .keeps = back_keeps, .forward = back_forward, .backward = back_backward,
                                       .plain = back_plain, .plain_back = back_plain, .on = -1, .sizes = 4 };
kr_node lay_unhalves(kr_graph *g, kr_node x, kr_node moments, kr_node like) { return graph_add(g, NULL, &back_ops, (kr_node[]){ x, moments, like }, 3, NULL, 0, NULL, 0, NULL); }
