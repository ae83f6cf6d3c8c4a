/* lay_cell.c: recurrent cells: the new state from features and the old state, and what is above zero of it. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include <math.h>
#include <string.h>

enum { KIND, HOW, WIDE };
struct packed { kr_cell *cell; kr_cell_back *back; };
static const int parts[] = { [KR_CELL_GRU_DIRECT] = 3, [KR_CELL_GRU] = 2, [KR_CELL_MGU] = 2, [KR_CELL_INDRNN] = 2 };     /* weights; biases follow */

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    if (extent_is(l, &x[0], KR_FEATURES, 0) || extent_is(l, &x[1], KR_FEATURES, x[0].chan))
        return kr_error_code();
    y[0] = y[1] = x[1];
    return extent_flat(l, x, 2);
}

static void unpack(kr_layer *l)
{
    struct packed *p = l->packed;
    kr_cell_unref(&p->cell);
    kr_cell_back_unref(&p->back);
    kr_free(p);
}

static int pack(kr_layer *l, const kr_tensor *const *w, bool train)
{
    struct packed *p = l->packed = kr_alloc_zero(1, sizeof *p);
    bool norm = l->arg[HOW] & CONV_NORM;
    const kr_tensor *const *b = w + parts[l->arg[KIND]];
    if (!p || !(p->cell = kr_cell_new((enum kr_cell_kind)l->arg[KIND], w, b, norm)) || (l->arg[HOW] & CONV_NARROW && kr_cell_bf16(p->cell)))
        return kr_error_code();
    return train && !(p->back = kr_cell_back_new((enum kr_cell_kind)l->arg[KIND], w, b, norm)) ? kr_error_code() : 0;
}

static size_t bytes(const kr_layer *l) { return cell_bytes(((const struct packed *)l->packed)->cell); }

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)wants;
    *x = 3;
    *y = l->outs > 1;
}

/* Backward: gradients that nobody wants still take a place. */
static void *rooms(const kr_layer *l, const kr_extent *n, kr_map *d, lay_room *room)
{
    for (int i = 0; i < 2; i++)
        d[i] = map_in(room, n->chan, n->y, n->x, 0);
    return room_for(room, cell_back_scratch(((const struct packed *)l->packed)->back, n->y, n->x));
}

static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state;
    (void)x;
    if (!backward)
        return cell_scratch(((const struct packed *)l->packed)->cell, y->y, y->x);
    lay_room room = { NULL, 0 };
    kr_map d[2];
    rooms(l, y, d, &room);
    return room.used;
}

static void copy(float *const *r, long n) { memcpy(r[0], r[1], (size_t)n * sizeof **r); }

static void forward(const kr_call *c)
{
    kr_map *h = &c->y[0]->map, *old = &c->x[1]->map;
    if (h->data != old->data)
        back_rows((kr_map *[]){ h, old }, 2, copy);
    cell_run(((const struct packed *)c->l->packed)->cell, h, &c->x[0]->map, c->l->outs > 1 ? &c->y[1]->map : NULL, c->scratch);
}

/* dnew += where h' > 0 of the gradient of relu(h') */
static void above(float *const *r, long n)
{
    for (long i = 0; i < n; i++)
        r[0][i] += r[1][i] > 0 ? r[2][i] : 0;
}

static void backward(const kr_call *c)
{
    const kr_layer *l = c->l;
    kr_map *dnew = &c->dy[0]->map, d[2];
    lay_room room = { c->scratch, 0 };
    void *inner = rooms(l, &c->dy[0]->n, d, &room);
    int n = parts[l->arg[KIND]];
    if (l->outs > 1)
        back_rows((kr_map *[]){ dnew, &c->y[0]->map, &c->dy[1]->map }, 3, above);
    for (int i = 0; i < 2; i++)
        if (!c->dx[i])
            back_zero(&d[i]);
    cell_back_run(((const struct packed *)l->packed)->back, c->dx[0] ? &c->dx[0]->map : &d[0], c->dx[1] ? &c->dx[1]->map : &d[1], c->dw, c->dw + n,
                  &c->x[0]->map, &c->x[1]->map, dnew, inner);
}

/* ---- In double ---- */
static double sigmoid(double v) { return 1 / (1 + exp(-v)); }

/* out[o] = b[row + o] + W[row + o] (a, then b2) at pixel i, zero padding; in: channels of each. */
static double product(const double *w, const kr_tensor *t, const double *bias, long row, const double *const *in, int ins, const kr_extent *n, long i)
{
    long k = t->n[2], all = t->n[1], px = n->y * n->x;
    double sum = bias ? bias[row] : 0;
    for (long c = 0; c < all; c++)
        for (long q = 0; q < k * k; q++) {
            long y = i / n->x + q / k - k / 2, x = i % n->x + q % k - k / 2;
            if (y >= 0 && y < n->y && x >= 0 && x < n->x)
                sum += w[(row * all + c) * k * k + q] * in[ins > 1 ? c / n->chan : 0][c % n->chan * px + y * n->x + x];
        }
    return sum;
}

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    long f = n->chan, px = n->y * n->x, all = f * px;
    int kind = (int)c->l->arg[KIND], p = parts[kind];
    const double *x = c->x[0]->v, *h = c->x[1]->v, *b = c->w[p];
    double *y = c->y[0]->v, *nx = NULL, *nh = NULL, *hr = NULL;
    if (kind == KR_CELL_GRU_DIRECT) {
        bool norm = c->l->arg[HOW] & CONV_NORM;
        nx = kr_alloc((size_t)(3 * all), sizeof *nx);
        kr_assert(nx);                                       /* for tests: no memory is no answer */
        nh = nx + all;
        hr = nh + all;
        memcpy(nx, x, (size_t)all * sizeof *nx);
        memcpy(nh, h, (size_t)all * sizeof *nh);
        for (long o = 0; o < f && norm; o++) {
            plain_norm(nx + o * px, px);
            plain_norm(nh + o * px, px);
        }
        const double *both[2] = { nx, nh }, *again[2] = { nx, hr };
        for (long o = 0; o < f; o++) {
            for (long i = 0; i < px; i++)
                hr[o * px + i] = h[o * px + i] * sigmoid(product(c->w[1], c->t[1], c->w[4], o, both, 2, n, i));
            if (norm)
                plain_norm(hr + o * px, px);
        }
        for (long o = 0; o < f; o++)
            for (long i = 0; i < px; i++) {
                double u = sigmoid(product(c->w[0], c->t[0], c->w[3], o, both, 2, n, i)), v = tanh(product(c->w[2], c->t[2], c->w[5], o, again, 2, n, i));
                y[o * px + i] = h[o * px + i] * (1 - u) + v * u;
            }
        kr_free(nx);
    } else
        for (long o = 0; o < f; o++)
            for (long i = 0; i < px; i++) {
                double was = h[o * px + i];
                if (kind == KR_CELL_INDRNN) {
                    double v = product(c->w[0], c->t[0], b, o, &x, 1, n, i) + c->w[1][o] * was;
                    y[o * px + i] = v > 0 ? v : 0;
                    continue;
                }
                long last = kind == KR_CELL_GRU ? 2 * f : f;
                double r = sigmoid(product(c->w[0], c->t[0], b, o, &x, 1, n, i) + product(c->w[1], c->t[1], NULL, o, &h, 1, n, i));
                double z = kind == KR_CELL_GRU ? sigmoid(product(c->w[0], c->t[0], b, f + o, &x, 1, n, i) + product(c->w[1], c->t[1], NULL, f + o, &h, 1, n, i)) : r;
                double v = tanh(product(c->w[0], c->t[0], b, last + o, &x, 1, n, i) + r * product(c->w[1], c->t[1], NULL, last + o, &h, 1, n, i));
                y[o * px + i] = (1 - z) * v + z * was;
            }
    for (long i = 0; i < all && c->l->outs > 1; i++)
        c->y[1]->v[i] = y[i] > 0 ? y[i] : 0;
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)state;
    (void)x;
    static const int products[] = { [KR_CELL_GRU_DIRECT] = 6, [KR_CELL_GRU] = 6, [KR_CELL_MGU] = 4, [KR_CELL_INDRNN] = 1 };
    return 2.0 * products[l->arg[KIND]] * (double)(y->chan * y->chan * y->y * y->x * l->arg[WIDE] * l->arg[WIDE]);
}

static const kr_layer_ops ops = { .name = "recurrent cell", .shape = shape, .pack = pack, .unpack = unpack, .bytes = bytes, .keeps = keeps, .scratch = scratch,
                                  .forward = forward, .backward = backward, .plain = plain, .flops = flops, .on = 1 };

kr_node lay_cell(kr_graph *g, kr_node *relu, kr_node x, kr_node h, enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, unsigned how)
{
    const kr_tensor *all[KR_KEYS] = { NULL };
    int n = parts[kind], biases = kind == KR_CELL_GRU_DIRECT ? 3 : 1;
    for (int i = 0; i < n; i++) {
        all[i] = w[i];
        if (!w[i] || (!i && w[0]->dims != 4)) {
            if (!kr_error_code())
                kr_fail(KR_ESHAPE, "the weights of a recurrent cell are missing or have another shape");
            return graph_fail(g);
        }
    }
    for (int i = 0; i < biases; i++)
        all[n + i] = b[i];
    how &= graph_bf16(g) ? ~0u : ~(unsigned)CONV_NARROW;
    return graph_add(g, relu, &ops, (kr_node[]){ x, h }, 2, all, n + biases, (long[]){ kind, how, w[0]->n[2] }, 3, NULL);
}
