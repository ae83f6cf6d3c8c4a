/* lay_solve.c: some steps of conjugate gradients from zero on (S^H S + mu) x = b + mu z, S the coil maps: what ATOMMIC's MoDL does, whose operator has no mask, so that
 * its Fourier transforms cancel and it is a factor for each pixel. Where the residual is nothing but rounding the published code divides 0 by 0; here the steps end. */
#include "lay.h"
#include <math.h>
#include <string.h>

enum { STEPS };
enum { MOST = 100 };

/* Of one run: factors of the pixels, and what each step began with. In double: residuals fall by many orders. */
struct steps { long n, done; double *d, *x, *r[MOST + 1], *p[MOST + 1], rs[MOST + 1], alpha[MOST], beta[MOST]; };

static double dot(const double *a, const double *b, long n)
{
    double sum = 0;
    for (long i = 0; i < 2 * n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* x from b. keep: all r and p stay; otherwise each takes the place of the one before. */
static void solve(struct steps *s, const double *b, long steps, bool keep)
{
    long n = s->n;
    memset(s->x, 0, (size_t)(2 * n) * sizeof *s->x);
    memcpy(s->r[0], b, (size_t)(2 * n) * sizeof *b);
    memcpy(s->p[0], b, (size_t)(2 * n) * sizeof *b);
    s->rs[0] = dot(b, b, n);
    for (s->done = 0; s->done < steps && s->rs[s->done] > 1e-26 * s->rs[0]; s->done++) {
        long k = s->done;
        const double *r = s->r[keep ? k : 0], *p = s->p[keep ? k : 0];
        double *rn = s->r[keep ? k + 1 : 0], *pn = s->p[keep ? k + 1 : 0], den = 0;
        for (long i = 0; i < 2 * n; i++)
            den += s->d[i / 2] * p[i] * p[i];
        s->alpha[k] = s->rs[k] / den;
        for (long i = 0; i < 2 * n; i++) {
            s->x[i] += s->alpha[k] * p[i];
            rn[i] = r[i] - s->alpha[k] * s->d[i / 2] * p[i];
        }
        s->rs[k + 1] = dot(rn, rn, n);
        s->beta[k] = s->rs[k + 1] / s->rs[k];
        for (long i = 0; i < 2 * n; i++)
            pn[i] = rn[i] + s->beta[k] * p[i];
    }
}

static size_t rooms(struct steps *s, long n, long steps, bool keep, lay_room *room)
{
    size_t image = (size_t)(2 * n) * sizeof(double);
    s->n = n;
    s->d = room_for(room, image / 2);
    s->x = room_for(room, image);
    for (long k = 0; k < (keep ? steps + 1 : 1); k++) {
        s->r[k] = room_for(room, image);
        s->p[k] = room_for(room, image);
    }
    return room->used;
}

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    if (extent_is(l, x, KR_IMAGE, 0) || extent_is(l, x + 1, KR_IMAGE, 0) || extent_is(l, x + 2, KR_COILS, 0))
        return kr_error_code();
    return extent_flat(l, x, 3);
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = 7;
    *y = 0;
}

/* b, and (backward) the adjoints of x, r, p. */
static size_t scratch(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward)
{
    (void)state, (void)x;
    lay_room room = { NULL, 0 };
    struct steps s = { 0 };
    rooms(&s, extent_pixels(y), l->arg[STEPS], backward, &room);
    room_for(&room, (size_t)(backward ? 8 : 2) * (size_t)extent_pixels(y) * sizeof(double));
    return room.used;
}

static double *begin(struct steps *s, const kr_call *c, bool keep, lay_room *room)
{
    long n = extent_pixels(&c->x[0]->n);
    double mu = (double)*(const float *)c->l->packed;
    rooms(s, n, c->l->arg[STEPS], keep, room);
    double *b = room_for(room, (size_t)(2 * n) * sizeof *b);
    for (long i = 0; i < n; i++) {
        s->d[i] = mu;
        for (long k = 0; k < c->x[2]->n.chan; k++)
            s->d[i] += (double)kr_cabs2(LAY_C(c->x[2])[k * n + i]);
        b[2 * i] = (double)kr_re(LAY_C(c->x[0])[i]) + mu * (double)kr_re(LAY_C(c->x[1])[i]);
        b[2 * i + 1] = (double)kr_im(LAY_C(c->x[0])[i]) + mu * (double)kr_im(LAY_C(c->x[1])[i]);
    }
    solve(s, b, c->l->arg[STEPS], keep);
    return b;
}

static void forward(const kr_call *c)
{
    struct steps s = { 0 };
    lay_room room = { c->scratch, 0 };
    begin(&s, c, false, &room);
    for (long i = 0; i < s.n; i++)
        LAY_C(c->y[0])[i] = kr_c((float)s.x[2 * i], (float)s.x[2 * i + 1]);
}

/* The steps backwards: of each quantity its adjoint. gx: of what solve gave; gr, gp: room for two more. gr becomes that of b, the result that of the factors, in the place of x. */
static double *unwind(struct steps *s, const double *b, const double *gx, double *gr, double *gp)
{
    long n = s->n;
    double *gd = s->x, rs = 0;                               /* x is not read again */
    memset(gd, 0, (size_t)n * sizeof *gd);
    memset(gr, 0, (size_t)(2 * n) * sizeof *gr);
    memset(gp, 0, (size_t)(2 * n) * sizeof *gp);
    for (long k = s->done - 1; k >= 0; k--) {
        const double *p = s->p[k], *next = s->r[k + 1];
        double beta = dot(gp, p, n), alpha = dot(gx, p, n), den = s->rs[k] / s->alpha[k], old;
        rs += beta / s->rs[k];
        old = -beta * s->rs[k + 1] / (s->rs[k] * s->rs[k]);
        for (long i = 0; i < 2 * n; i++) {
            gr[i] += gp[i] + 2 * rs * next[i];
            alpha -= gr[i] * s->d[i / 2] * p[i];
        }
        rs = old + alpha / den;
        double gden = -alpha * s->rs[k] / (den * den);
        for (long i = 0; i < 2 * n; i++) {                   /* q = d p */
            double gq = -s->alpha[k] * gr[i] + gden * p[i];
            gp[i] = s->beta[k] * gp[i] + s->alpha[k] * gx[i] + gden * s->d[i / 2] * p[i] + s->d[i / 2] * gq;
            gd[i / 2] += gq * p[i];
        }
    }
    for (long i = 0; i < 2 * n; i++)
        gr[i] += gp[i] + 2 * rs * b[i];
    return gd;
}

static void backward(const kr_call *c)
{
    struct steps s = { 0 };
    lay_room room = { c->scratch, 0 };
    double *b = begin(&s, c, true, &room), dmu = 0, mu = (double)*(const float *)c->l->packed;
    long n = s.n;
    double *gx = room_for(&room, (size_t)(2 * n) * sizeof *gx), *gr = room_for(&room, (size_t)(2 * n) * sizeof *gr), *gp = room_for(&room, (size_t)(2 * n) * sizeof *gp);
    for (long i = 0; i < n; i++) {
        gx[2 * i] = (double)kr_re(LAY_C(c->dy[0])[i]);
        gx[2 * i + 1] = (double)kr_im(LAY_C(c->dy[0])[i]);
    }
    const double *gd = unwind(&s, b, gx, gr, gp);
    for (long i = 0; i < n; i++) {
        kr_cfloat g = kr_c((float)gr[2 * i], (float)gr[2 * i + 1]);
        dmu += gd[i] + gr[2 * i] * (double)kr_re(LAY_C(c->x[1])[i]) + gr[2 * i + 1] * (double)kr_im(LAY_C(c->x[1])[i]);
        if (c->dx[0])
            LAY_C(c->dx[0])[i] += g;
        if (c->dx[1])
            LAY_C(c->dx[1])[i] += kr_c((float)(mu * gr[2 * i]), (float)(mu * gr[2 * i + 1]));
        for (long k = 0; c->dx[2] && k < c->x[2]->n.chan; k++)
            LAY_C(c->dx[2])[k * n + i] += (float)(2 * gd[i]) * LAY_C(c->x[2])[k * n + i];
    }
    if (c->dw[0])
        c->dw[0]->data[0] += (float)dmu;
}

static void plain(const kr_plain_call *c)
{
    long n = extent_pixels(&c->y[0]->n), steps = c->l->arg[STEPS];
    bool back = c->dy[0];
    struct steps s = { 0 };
    lay_room count = { NULL, 0 };
    size_t size = rooms(&s, n, steps, back, &count);
    kr_auto char *block = kr_alloc(size + (size_t)(6 * n) * sizeof(double), 1);
    if (!block)
        return;
    lay_room room = { block, 0 };
    rooms(&s, n, steps, back, &room);
    double *b = (double *)(void *)(block + size), *gr = b + 2 * n;
    for (long i = 0; i < 2 * n; i++) {
        s.d[i / 2] = i % 2 ? s.d[i / 2] : c->w[0][0];
        for (long k = 0; k < c->x[2]->n.chan; k++)
            s.d[i / 2] += c->x[2]->v[2 * k * n + i] * c->x[2]->v[2 * k * n + i];
        b[i] = c->x[0]->v[i] + c->w[0][0] * c->x[1]->v[i];
    }
    solve(&s, b, steps, back);
    if (!back) {
        memcpy(c->y[0]->v, s.x, (size_t)(2 * n) * sizeof(double));
        return;
    }
    const double *gd = unwind(&s, b, c->dy[0], gr, gr + 2 * n);
    for (long i = 0; i < 2 * n; i++) {
        if (c->dx[0])
            c->dx[0][i] += gr[i];
        if (c->dx[1])
            c->dx[1][i] += c->w[0][0] * gr[i];
        for (long k = 0; c->dx[2] && k < c->x[2]->n.chan; k++)
            c->dx[2][2 * k * n + i] += 2 * gd[i / 2] * c->x[2]->v[2 * k * n + i];
        if (c->dw[0])
            c->dw[0][0] += gr[i] * c->x[1]->v[i] + (i % 2 ? 0 : gd[i / 2]);
    }
}

static const kr_layer_ops ops = { .name = "conjugate gradients without a mask", .shape = shape, .pack = lay_numbers, .unpack = lay_unpack, .keeps = keeps, .scratch = scratch, .forward = forward,
                                  .backward = backward, .plain = plain, .plain_back = plain, .on = -1 };

kr_node lay_solve(kr_graph *g, kr_node b, kr_node z, kr_node sens, const kr_tensor *mu, long steps)
{
    if (steps < 1 || steps > MOST) {
        kr_fail(KR_EREFUSED, "%ld steps of conjugate gradients; 1 to %d are possible", steps, MOST);
        return graph_fail(g);
    }
    return mu ? graph_add(g, NULL, &ops, (kr_node[]){ b, z, sens }, 3, &mu, 1, &steps, 1, NULL) : graph_fail(g);
}
