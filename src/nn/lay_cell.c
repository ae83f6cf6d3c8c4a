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
/* Planes of all features: gates as the forward pass makes them, and in the backward pass their gradients behind them. */
enum { NX, NH, U, R, HR, C, DIRECT };                        /* of GRU_DIRECT: normed x, normed h, gates, normed r h, candidate */
enum { GATES = 6 };                                          /* of the others: what comes from x, then what comes from h */
typedef struct plain_cell { plain_grid g; long f, px, all; bool norm; double *m[2 * GATES]; } plain_cell;

static double sigmoid(double v) { return 1 / (1 + exp(-v)); }

static double *plain_cell_of(plain_cell *p, const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n;
    *p = (plain_cell){ { n->y, n->x, c->l->arg[WIDE], 1, KR_PAD_ZERO }, n->chan, n->y * n->x, n->chan * n->y * n->x, c->l->arg[HOW] & CONV_NORM, { NULL } };
    double *room = kr_alloc_zero((size_t)(2 * GATES * p->all), sizeof *room);
    for (int i = 0; room && i < 2 * GATES; i++)
        p->m[i] = room + i * p->all;
    return room;
}

/* A gate before its activation: bias and convolutions of one or two inputs, rows from `row` on of the weights `key`. */
static void gate(const plain_cell *p, const kr_plain_call *c, double *to, int key, int bias, long row, const double *a, const double *b)
{
    long k2 = p->g.k * p->g.k, each = c->t[key]->n[1];
    for (long i = 0; i < p->all; i++)
        to[i] = bias >= 0 && c->w[bias] ? c->w[bias][row + i / p->px] : 0;
    plain_conv(to, a, c->w[key] + row * each * k2, p->f, p->f, each, &p->g);
    if (b)
        plain_conv(to, b, c->w[key] + (row * each + p->f) * k2, p->f, p->f, each, &p->g);
}

static void gate_back(const plain_cell *p, const kr_plain_call *c, const double *d, int key, int bias, long row, double *da, const double *a, double *db, const double *b)
{
    long k2 = p->g.k * p->g.k, each = c->t[key]->n[1], at = row * each * k2;
    for (long i = 0; i < p->all && bias >= 0 && c->dw[bias]; i++)
        c->dw[bias][row + i / p->px] += d[i];
    plain_conv_back(da, c->dw[key] ? c->dw[key] + at : NULL, d, a, c->w[key] + at, p->f, p->f, each, &p->g);
    at += p->f * k2;
    if (b)
        plain_conv_back(db, c->dw[key] ? c->dw[key] + at : NULL, d, b, c->w[key] + at, p->f, p->f, each, &p->g);
}

static void normed(const plain_cell *p, double *to, const double *from)
{
    memcpy(to, from, (size_t)p->all * sizeof *to);
    for (long o = 0; o < p->f && p->norm; o++)
        plain_norm(to + o * p->px, p->px);
}

static void normed_back(const plain_cell *p, double *dx, const double *x, const double *d)
{
    for (long o = 0; o < p->f && p->norm; o++)
        plain_norm_back(dx + o * p->px, x + o * p->px, d + o * p->px, p->px, 1);
    for (long i = 0; i < p->all && !p->norm; i++)
        dx[i] += d[i];
}

/* h' = (1 - u) h + u tanh(.. r h ..) */
static void direct(const plain_cell *p, const kr_plain_call *c, double *y)
{
    double *const *m = p->m;
    const double *h = c->x[1]->v;
    normed(p, m[NX], c->x[0]->v);
    normed(p, m[NH], h);
    gate(p, c, m[U], 0, 3, 0, m[NX], m[NH]);
    gate(p, c, m[R], 1, 4, 0, m[NX], m[NH]);
    for (long i = 0; i < p->all; i++) {
        m[U][i] = sigmoid(m[U][i]);
        m[R][i] = sigmoid(m[R][i]);
        m[DIRECT][i] = h[i] * m[R][i];
    }
    normed(p, m[HR], m[DIRECT]);
    gate(p, c, m[C], 2, 5, 0, m[NX], m[HR]);
    for (long i = 0; i < p->all; i++) {
        m[C][i] = tanh(m[C][i]);
        y[i] = h[i] * (1 - m[U][i]) + m[C][i] * m[U][i];
    }
}

static void direct_back(const plain_cell *p, const kr_plain_call *c, const double *d, double *dx, double *dh)
{
    double *const *m = p->m, *dnx = m[DIRECT + 1], *dnh = m[DIRECT + 2], *dhr = m[DIRECT + 3], *dr = m[DIRECT + 4], *hr = m[DIRECT], *of = m[DIRECT + 5];
    const double *h = c->x[1]->v;
    for (long i = 0; i < p->all; i++) {
        of[i] = d[i] * m[U][i] * (1 - m[C][i] * m[C][i]);
        dh[i] += d[i] * (1 - m[U][i]);
    }
    gate_back(p, c, of, 2, 5, 0, dnx, m[NX], dhr, m[HR]);
    normed_back(p, dr, hr, dhr);                             /* of r h */
    for (long i = 0; i < p->all; i++) {
        of[i] = d[i] * (m[C][i] - h[i]) * m[U][i] * (1 - m[U][i]);
        dh[i] += dr[i] * m[R][i];
        dr[i] *= h[i] * m[R][i] * (1 - m[R][i]);
    }
    gate_back(p, c, of, 0, 3, 0, dnx, m[NX], dnh, m[NH]);
    gate_back(p, c, dr, 1, 4, 0, dnx, m[NX], dnh, m[NH]);
    normed_back(p, dx, c->x[0]->v, dnx);
    normed_back(p, dh, h, dnh);
}

/* GRU: r, z = sig(a + b), c = tanh(a + r b), h' = (1 - z) c + z h; of MGU r is z. m: a of each, then b of each. */
static void stacked(const plain_cell *p, const kr_plain_call *c, int count, double *y)
{
    double *const *a = p->m, *const *b = p->m + count;
    for (int k = 0; k < 2 * count; k++)
        gate(p, c, p->m[k], k / count, k < count ? 2 : -1, k % count * p->f, c->x[k / count]->v, NULL);
    for (long i = 0; i < p->all; i++) {
        for (int k = 0; k < count - 1; k++)
            a[k][i] = sigmoid(a[k][i] + b[k][i]);
        a[count - 1][i] = tanh(a[count - 1][i] + a[0][i] * b[count - 1][i]);
        y[i] = (1 - a[count - 2][i]) * a[count - 1][i] + a[count - 2][i] * c->x[1]->v[i];
    }
}

static void stacked_back(const plain_cell *p, const kr_plain_call *c, int count, const double *d, double *dx, double *dh)
{
    double *const *a = p->m, *const *b = p->m + count;
    for (long i = 0; i < p->all; i++) {
        double r = a[0][i], z = a[count - 2][i], v = a[count - 1][i], before = d[i] * (1 - z) * (1 - v * v), dr = before * b[count - 1][i], dz = d[i] * (c->x[1]->v[i] - v);
        dh[i] += d[i] * z;
        a[count - 2][i] = dz * z * (1 - z);
        a[0][i] = (count > 2 ? dr : dz + dr) * r * (1 - r);
        a[count - 1][i] = before;
        b[count - 1][i] = before * r;
    }
    for (int k = 0; k < count; k++) {
        gate_back(p, c, a[k], 0, 2, k * p->f, dx, c->x[0]->v, NULL, NULL);
        gate_back(p, c, k < count - 1 ? a[k] : b[k], 1, -1, k * p->f, dh, c->x[1]->v, NULL, NULL);
    }
}

static void plain(const kr_plain_call *c)
{
    plain_cell p;
    kr_auto double *room = plain_cell_of(&p, c);
    double *y = c->y[0]->v;
    if (!room)
        return;
    if (c->l->arg[KIND] == KR_CELL_GRU_DIRECT)
        direct(&p, c, y);
    else if (c->l->arg[KIND] == KR_CELL_INDRNN) {
        gate(&p, c, y, 0, 2, 0, c->x[0]->v, NULL);
        for (long i = 0; i < p.all; i++)
            y[i] = fmax(y[i] + c->w[1][i / p.px] * c->x[1]->v[i], 0);
    } else
        stacked(&p, c, c->l->arg[KIND] == KR_CELL_GRU ? 3 : 2, y);
    for (long i = 0; i < p.all && c->l->outs > 1; i++)
        c->y[1]->v[i] = y[i] > 0 ? y[i] : 0;
}

static void plain_back(const kr_plain_call *c)
{
    plain_cell p;
    kr_auto double *room = plain_cell_of(&p, c), *three = room ? kr_alloc_zero((size_t)(3 * p.all), sizeof *three) : NULL;
    if (!three)
        return;
    double *d = three, *none = three + p.all, *dx = c->dx[0] ? c->dx[0] : none, *dh = c->dx[1] ? c->dx[1] : none;      /* gradients that nobody wants still take a place */
    for (long i = 0; i < p.all; i++)
        d[i] = c->dy[0][i] + (c->l->outs > 1 && c->y[0]->v[i] > 0 ? c->dy[1][i] : 0);
    if (c->l->arg[KIND] == KR_CELL_GRU_DIRECT) {
        direct(&p, c, three + 2 * p.all);
        direct_back(&p, c, d, dx, dh);
    } else if (c->l->arg[KIND] == KR_CELL_INDRNN) {
        for (long i = 0; i < p.all; i++) {
            d[i] = c->y[0]->v[i] > 0 ? d[i] : 0;
            dh[i] += c->w[1][i / p.px] * d[i];
            if (c->dw[1])
                c->dw[1][i / p.px] += d[i] * c->x[1]->v[i];
        }
        gate_back(&p, c, d, 0, 2, 0, dx, c->x[0]->v, NULL, NULL);
    } else {
        int count = c->l->arg[KIND] == KR_CELL_GRU ? 3 : 2;
        stacked(&p, c, count, three + 2 * p.all);
        stacked_back(&p, c, count, d, dx, dh);
    }
}

static double flops(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x)
{
    (void)state;
    (void)x;
    static const int products[] = { [KR_CELL_GRU_DIRECT] = 6, [KR_CELL_GRU] = 6, [KR_CELL_MGU] = 4, [KR_CELL_INDRNN] = 1 };
    return 2.0 * products[l->arg[KIND]] * (double)(y->chan * y->chan * y->y * y->x * l->arg[WIDE] * l->arg[WIDE]);
}

static const kr_layer_ops ops = { .name = "recurrent cell", .shape = shape, .pack = pack, .unpack = unpack, .bytes = bytes, .keeps = keeps, .scratch = scratch,
                                  .forward = forward, .backward = backward, .plain = plain, .plain_back = plain_back, .flops = flops, .on = 1 };

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
