/* lay_standard.c: an image whose real and imaginary part are standardised by their mean and unbiased deviation, zero-padded about the
 * middle to ((n - 1) | bits) + 1 pixels (multiples of bits + 1 where that is a power of 2), as two channels; and back. */
#include "lay.h"
#include <math.h>
#include <string.h>

enum { MEAN = 0, STD = 2, MOMENTS = 4 };                     /* of two parts each */
enum { BITS, AS_IT_IS };                                     /* AS_IT_IS: mean 0 and deviation 1, whatever they are */
static long padded(long n, long bits) { return ((n - 1) | bits) + 1; }

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = extent_like(x[0], KR_FEATURES, 2);
    y[0].y = padded(x->y, l->arg[BITS]);
    y[0].x = padded(x->x, l->arg[BITS]);
    y[1] = (kr_extent){ KR_NUMBERS, MOMENTS, 1, 1, 1 };
    return extent_is(l, x, KR_IMAGE, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

/* Bands of rows, spread over the threads; their sums are added in order. */
enum { BANDS = 16 };
struct ends { kr_map *map; kr_cfloat *y; const kr_cfloat *x; long h, w, top, left; double mean[2], std[2], part[BANDS][2]; };

static int sum_band(void *self, long b)
{
    struct ends *j = self;
    double s[2] = { 0 };
    for (long i = b * j->h / BANDS * j->w; i < (b + 1) * j->h / BANDS * j->w; i++) {
        s[0] += (double)kr_re(j->x[i]);
        s[1] += (double)kr_im(j->x[i]);
    }
    memcpy(j->part[b], s, sizeof s);
    return 0;
}

static int square_band(void *self, long b)
{
    struct ends *j = self;
    double s[2] = { 0 };
    for (long i = b * j->h / BANDS * j->w; i < (b + 1) * j->h / BANDS * j->w; i++) {
        double re = (double)kr_re(j->x[i]) - j->mean[0], im = (double)kr_im(j->x[i]) - j->mean[1];
        s[0] += re * re;
        s[1] += im * im;
    }
    memcpy(j->part[b], s, sizeof s);
    return 0;
}

static int put_band(void *self, long b)
{
    const struct ends *j = self;
    for (long i = b * j->h / BANDS; i < (b + 1) * j->h / BANDS; i++) {
        const kr_cfloat *x = j->x + i * j->w;
        float *to = kr_map_at(j->map, 0, i + j->top, j->left);
        for (long k = 0; k < j->w; k++, to += 16) {
            memset(to, 0, 16 * sizeof *to);
            to[0] = (float)(((double)kr_re(x[k]) - j->mean[0]) / j->std[0]);
            to[1] = (float)(((double)kr_im(x[k]) - j->mean[1]) / j->std[1]);
        }
    }
    return 0;
}

static int get_band(void *self, long b)
{
    const struct ends *j = self;
    for (long i = b * j->h / BANDS; i < (b + 1) * j->h / BANDS; i++) {
        const float *from = kr_map_at(j->map, 0, i + j->top, j->left);
        for (long k = 0; k < j->w; k++, from += 16)
            j->y[i * j->w + k] = kr_c((float)((double)from[0] * j->std[0] + j->mean[0]), (float)((double)from[1] * j->std[1] + j->mean[1]));
    }
    return 0;
}

static int statistics(struct ends *j)
{
    double n = (double)(j->h * j->w);
    int e = kr_for(BANDS, sum_band, j);
    for (int b = 0; b < BANDS; b++)
        for (int c = 0; c < 2; c++)
            j->mean[c] += j->part[b][c] / n;
    e = e ? e : kr_for(BANDS, square_band, j);
    for (int c = 0; c < 2; c++) {
        double q = 0;
        for (int b = 0; b < BANDS; b++)
            q += j->part[b][c];
        j->std[c] = sqrt(q / (n - 1));
        if (!(j->std[c] > 0))
            j->std[c] = 1;                  /* a constant image: nothing to learn from, and nothing to divide by */
    }
    return e;
}

static struct ends ends_of(const kr_extent *image, kr_map *m)
{
    return (struct ends){ .map = m, .h = image->y, .w = image->x, .top = (m->h - image->y) / 2, .left = (m->w - image->x) / 2 };
}

static void forward(const kr_call *c)
{
    struct ends j = ends_of(&c->x[0]->n, &c->y[0]->map);
    j.x = c->x[0]->data;
    if (j.h != j.map->h || j.w != j.map->w)
        memset(j.map->store, 0, (size_t)(j.map->blocks * j.map->block) * sizeof *j.map->store);
    if (c->l->arg[AS_IT_IS])
        j.std[0] = j.std[1] = 1;
    if ((!c->l->arg[AS_IT_IS] && statistics(&j)) || kr_for(BANDS, put_band, &j))
        kr_assert(0 && "arithmetic cannot be refused");
    double *m = c->y[1]->data;
    memcpy(m + MEAN, j.mean, sizeof j.mean);
    memcpy(m + STD, j.std, sizeof j.std);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = 1;
    *y = 2;
}

/* u = (x - m) / s: dx = (df - mean(df) - u sum(df u) / (n - 1)) / s + dm / n + ds u / (n - 1) */
static void backward(const kr_call *c)
{
    struct ends j = ends_of(&c->x[0]->n, &c->dy[0]->map);
    const double *m = c->y[1]->data, *dm = c->dy[1]->data;
    const float *x = c->x[0]->data;
    float *dx = c->dx[0]->data;
    double n = (double)(j.h * j.w), less = n > 1 ? n - 1 : 1, sum[2] = { 0 }, along[2] = { 0 };
    bool moving = !c->l->arg[AS_IT_IS];                      /* the moments move with the image */
    for (int pass = 0; pass < 2; pass++)
        for (long y = 0; y < j.h; y++)
            for (long k = 0; k < j.w; k++)
                for (int q = 0; q < 2; q++) {
                    long i = 2 * (y * j.w + k) + q;
                    double d = (double)kr_map_at(j.map, 0, y + j.top, k + j.left)[q], u = ((double)x[i] - m[MEAN + q]) / m[STD + q];
                    if (pass && !moving)
                        dx[i] += (float)d;
                    else if (pass)
                        dx[i] += (float)((d - sum[q] / n - u * along[q] / less) / m[STD + q] + dm[MEAN + q] / n + dm[STD + q] * u / less);
                    else {
                        sum[q] += d;
                        along[q] += d * u;
                    }
                }
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long px = m->y * m->x, top = (n->y - m->y) / 2, left = (n->x - m->x) / 2;
    for (int q = 0; q < 2; q++) {
        double mean = 0, var = 0;
        for (long i = 0; i < px; i++)
            mean += c->x[0]->v[2 * i + q] / (double)px;
        for (long i = 0; i < px; i++)
            var += pow(c->x[0]->v[2 * i + q] - mean, 2) / (double)(px - 1);
        mean = c->l->arg[AS_IT_IS] ? 0 : mean;
        var = c->l->arg[AS_IT_IS] ? 1 : var;
        c->y[1]->v[MEAN + q] = mean;
        c->y[1]->v[STD + q] = sqrt(var);
        for (long i = 0; i < px; i++)
            c->y[0]->v[(q * n->y + i / m->x + top) * n->x + i % m->x + left] = (c->x[0]->v[2 * i + q] - mean) / sqrt(var);
    }
}

static void plain_back(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long px = m->y * m->x, top = (n->y - m->y) / 2, left = (n->x - m->x) / 2;
    bool moving = !c->l->arg[AS_IT_IS];
    for (int q = 0; q < 2; q++) {
        double sum = 0, along = 0, mean = c->y[1]->v[MEAN + q], std = c->y[1]->v[STD + q];
        for (int pass = 0; pass < 2; pass++)
            for (long i = 0; i < px; i++) {
                double d = c->dy[0][(q * n->y + i / m->x + top) * n->x + i % m->x + left], u = (c->x[0]->v[2 * i + q] - mean) / std;
                if (pass)
                    c->dx[0][2 * i + q] += !moving ? d : (d - sum / (double)px - u * along / (double)(px - 1)) / std + c->dy[1][MEAN + q] / (double)px
                        + c->dy[1][STD + q] * u / (double)(px - 1);
                else {
                    sum += d;
                    along += d * u;
                }
            }
    }
}

static const kr_layer_ops ops = { .name = "standardising", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .on = -1 };
kr_node lay_standard(kr_graph *g, kr_node *moments, kr_node x, long bits, bool as_it_is)
{
    return graph_add(g, moments, &ops, &x, 1, NULL, 0, (long[]){ bits, as_it_is }, 2, NULL);
}

/* ---- And back ---- */
static int back_shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[2];
    return extent_is(l, x, KR_FEATURES, 2) || extent_is(l, x + 1, KR_NUMBERS, MOMENTS) || extent_is(l, x + 2, KR_IMAGE, 0) ? kr_error_code() : 0;
}

static void back_forward(const kr_call *c)
{
    struct ends j = ends_of(&c->y[0]->n, &c->x[0]->map);
    const double *m = c->x[1]->data;
    j.y = c->y[0]->data;
    memcpy(j.mean, m + MEAN, sizeof j.mean);
    memcpy(j.std, m + STD, sizeof j.std);
    if (kr_for(BANDS, get_band, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void back_keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l;
    (void)wants;
    *x = 3;
    *y = 0;
}

static void back_backward(const kr_call *c)
{
    const double *m = c->x[1]->data;
    const float *d = c->dy[0]->data;
    struct ends j = ends_of(&c->dy[0]->n, &c->x[0]->map);
    double sum[MOMENTS] = { 0 };
    for (long y = 0; y < j.h; y++)
        for (long k = 0; k < j.w; k++)
            for (int q = 0; q < 2; q++) {
                double v = (double)d[2 * (y * j.w + k) + q];
                sum[MEAN + q] += v;
                sum[STD + q] += v * (double)kr_map_at(j.map, 0, y + j.top, k + j.left)[q];
                if (c->dx[0])
                    kr_map_at(&c->dx[0]->map, 0, y + j.top, k + j.left)[q] += (float)(v * m[STD + q]);
            }
    for (int q = 0; q < MOMENTS && c->dx[1]; q++)
        ((double *)c->dx[1]->data)[q] += sum[q];
}

static void back_plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->x[0]->n, *m = &c->y[0]->n;
    long top = (n->y - m->y) / 2, left = (n->x - m->x) / 2;
    for (long i = 0; i < m->y * m->x; i++)
        for (int q = 0; q < 2; q++) {
            long at = (q * n->y + i / m->x + top) * n->x + i % m->x + left;
            plain_link(c, 2 * i + q, 0, at, c->x[1]->v[STD + q]);
            plain_link(c, 2 * i + q, 1, MEAN + q, 1);
            if (c->dy[0] && c->dx[1])
                c->dx[1][STD + q] += c->dy[0][2 * i + q] * c->x[0]->v[at];
        }
}

static const kr_layer_ops back_ops = { .name = "undoing the standardising", .shape = back_shape, .keeps = back_keeps, .forward = back_forward, .backward = back_backward,
                                       .plain = back_plain, .plain_back = back_plain, .on = -1, .sizes = 4 };
kr_node lay_unstandard(kr_graph *g, kr_node x, kr_node moments, kr_node like) { return graph_add(g, NULL, &back_ops, (kr_node[]){ x, moments, like }, 3, NULL, 0, NULL, 0, NULL); }
