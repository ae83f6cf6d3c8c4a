/* back_cell.c: backward passes of the recurrent cells. Gates are made again from x and the old state, which is all that a
 * training keeps of a step. */
#include "back.h"
#include "nnkern.h"
#include <string.h>

enum { GATES = 6, MAPS = 12 };
struct gate { kr_conv *conv; kr_conv_back *back; };
struct kr_cell_back {
    enum kr_cell_kind kind;
    long features;
    bool norm;
    struct gate g[GATES];            /* GRU_DIRECT: update, reset, out; GRU and MGU: rows of ih, then of hh; INDRNN: ih */
    kr_tensor hh;                    /* INDRNN */
    kr_map *m[MAPS];
};

void kr_cell_back_unref(kr_cell_back **pc)
{
    kr_cell_back *c = *pc;
    for (int i = 0; c && i < GATES; i++) {
        kr_conv_unref(&c->g[i].conv);
        kr_conv_back_unref(&c->g[i].back);
    }
    for (int i = 0; c && i < MAPS; i++)
        kr_map_unref(&c->m[i]);
    if (c)
        kr_free(c->hh.data);
    kr_free_at(pc);
}

/* Output channels part f .. of stacked gates: rows of a tensor lie together. */
static kr_tensor rows_of(const kr_tensor *t, long part, long f)
{
    kr_tensor r = *t;
    r.n[0] = f;
    r.data = t->data + part * f * (t->dims == 4 ? t->n[1] * t->n[2] * t->n[3] : 1);
    return r;
}

static bool gate_new(struct gate *g, const kr_tensor *w, const kr_tensor *b, long part, long f, int maps, bool exact)
{
    kr_tensor wr = rows_of(w, part, f), br = b ? rows_of(b, part, f) : wr;
    long split[2] = { f, f };
    g->conv = kr_conv_new(&wr, b ? &br : NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, maps, split);
    g->back = g->conv ? kr_conv_back_new(&wr, 1, KR_PAD_ZERO, KR_ACT_NONE, maps, split) : NULL;
    if (g->conv && exact)
        kr_conv_exact(g->conv);
    return g->back;
}

kr_cell_back *kr_cell_back_new(enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, bool norm)
{
    if (norm && kind != KR_CELL_GRU_DIRECT) {
        kr_fail(KR_EREFUSED, "only DIRECT's GRU has instance norms before its gates");
        return NULL;
    }
    kr_cell *check = kr_cell_new(kind, w, b, norm);          /* the forward's refusals are the backward's */
    kr_cell_back *c = check ? kr_alloc_zero(1, sizeof *c) : NULL;
    kr_cell_unref(&check);
    if (!c)
        return NULL;
    static const int parts[] = { [KR_CELL_GRU_DIRECT] = 1, [KR_CELL_GRU] = 3, [KR_CELL_MGU] = 2, [KR_CELL_INDRNN] = 1 };
    long f = w[0]->n[0] / parts[kind];
    *c = (kr_cell_back){ .kind = kind, .features = f, .norm = norm };
    bool good = true;
    if (kind == KR_CELL_GRU_DIRECT)
        for (int i = 0; good && i < 3; i++)
            good = gate_new(&c->g[i], w[i], b[i], 0, f, 2, norm);
    else if (kind == KR_CELL_INDRNN) {
        good = gate_new(&c->g[0], w[0], b[0], 0, f, 1, false) && (c->hh.data = kr_alloc((size_t)f, sizeof(float)));
        if (good)
            memcpy(c->hh.data, w[1]->data, (size_t)f * sizeof(float));
    } else
        for (int i = 0; good && i < parts[kind]; i++)
            good = gate_new(&c->g[i], w[0], b[0], i, f, 1, false) && gate_new(&c->g[parts[kind] + i], w[1], NULL, i, f, 1, false);
    if (!good)
        kr_cell_back_unref(&c);
    return c;
}

/* The gradient of one gate's weights adds to its rows of the whole tensor's. */
static int gate_back(const struct gate *g, kr_map *const *dx, kr_tensor *dw, kr_tensor *db, long part, long f, kr_map *const *x, const kr_map *d)
{
    kr_tensor wr = { 0 }, br = { 0 };
    if (dw)
        wr = rows_of(dw, part, f);
    if (db)
        br = rows_of(db, part, f);
    return kr_conv_backward(g->back, dx, dw ? &wr : NULL, db ? &br : NULL, x, NULL, d);
}

static void copy(float *const *r, long n) { memcpy(r[0], r[1], (size_t)n * sizeof **r); }

/* ---- DIRECT's GRU: u = sig(a), r = sig(b), c = tanh(Wc [x, h r]), h' = h (1 - u) + c u ---- */
static void direct_gates(float *const *r, long n)            /* u, r, hr, h */
{
    nn_kern_best()->sigmoid(r[0], n);
    nn_kern_best()->sigmoid(r[1], n);
    for (long i = 0; i < n; i++)
        r[2][i] = r[1][i] * r[3][i];
}

static void direct_candidate(float *const *p, long n)        /* c, u, h, dnew, dh: c and u become the gradients before tanh and sig */
{
    nn_kern_best()->tanh(p[0], n);
    for (long i = 0; i < n; i++) {
        float c = p[0][i], u = p[1][i], d = p[3][i];
        p[4][i] += d * (1 - u);
        p[0][i] = d * u * (1 - c * c);
        p[1][i] = d * (c - p[2][i]) * u * (1 - u);
    }
}

static void direct_reset(float *const *p, long n)            /* dhr, r, h, dh: r becomes the gradient before sig */
{
    for (long i = 0; i < n; i++) {
        float r = p[1][i], d = p[0][i];
        p[3][i] += d * r;
        p[1][i] = d * p[2][i] * r * (1 - r);
    }
}

static int direct(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    long f = c->features, e = kr_conv_halo(c->g[0].conv);
    enum { U, R, HR, C, DHN, NX, NH, HN, DNX, DNH, DHR };
    int last = c->norm ? DHR : DHN;
    for (int i = 0; i <= last; i++)
        if ((i < NX || c->norm) && back_map(&c->m[i], f, h->h, h->w, i == HR || i == NX || i == NH || i == HN ? e : 0))
            return kr_error_code();
    kr_map **m = c->m, *both[2] = { x, h }, *hn = c->norm ? m[HN] : m[HR];
    if (c->norm) {
        kr_instance_norm(m[NX], x, KR_ACT_NONE);
        kr_instance_norm(m[NH], h, KR_ACT_NONE);
        both[0] = m[NX];
        both[1] = m[NH];
    }
    kr_conv_forward(c->g[0].conv, m[U], both);
    kr_conv_forward(c->g[1].conv, m[R], both);
    back_rows((kr_map *[]){ m[U], m[R], m[HR], h }, 4, direct_gates);
    if (c->norm)
        kr_instance_norm(hn, m[HR], KR_ACT_NONE);
    kr_map *again[2] = { both[0], hn }, *dagain[2] = { c->norm ? m[DNX] : dx, m[DHN] }, *dboth[2] = { c->norm ? m[DNX] : dx, c->norm ? m[DNH] : dh };
    kr_conv_forward(c->g[2].conv, m[C], again);
    back_rows((kr_map *[]){ m[C], m[U], h, (kr_map *)(uintptr_t)dnew, dh }, 5, direct_candidate);
    for (int i = DHN; i <= last; i++)
        if (i == DHN || i >= DNX)
            back_zero(m[i]);
    if (gate_back(&c->g[2], dagain, dw ? dw[2] : NULL, db ? db[2] : NULL, 0, f, again, m[C]))
        return kr_error_code();
    kr_map *dhr = m[DHN];
    if (c->norm) {
        dhr = m[DHR];
        kr_instance_norm_backward(dhr, m[HR], m[DHN], KR_ACT_NONE);
    }
    back_rows((kr_map *[]){ dhr, m[R], h, dh }, 4, direct_reset);
    if (gate_back(&c->g[0], dboth, dw ? dw[0] : NULL, db ? db[0] : NULL, 0, f, both, m[U])
        || gate_back(&c->g[1], dboth, dw ? dw[1] : NULL, db ? db[1] : NULL, 0, f, both, m[R]))
        return kr_error_code();
    if (c->norm) {
        kr_instance_norm_backward(dx, x, m[DNX], KR_ACT_NONE);
        kr_instance_norm_backward(dh, h, m[DNH], KR_ACT_NONE);
    }
    return 0;
}

/* ---- GRU: r, z = sig(a + b), n = tanh(an + r bn), h' = (1 - z) n + z h ---- */
static void gru_rows(float *const *p, long n)                /* ar, az, an, br, bz, bn, h, dnew, dh */
{
    for (int k = 0; k < 2; k++) {
        for (long i = 0; i < n; i++)
            p[k][i] += p[3 + k][i];
        nn_kern_best()->sigmoid(p[k], n);
    }
    for (long i = 0; i < n; i++)
        p[2][i] += p[0][i] * p[5][i];
    nn_kern_best()->tanh(p[2], n);
    for (long i = 0; i < n; i++) {
        float r = p[0][i], z = p[1][i], c = p[2][i], d = p[7][i], before = d * (1 - z) * (1 - c * c);
        p[8][i] += d * z;
        p[0][i] = before * p[5][i] * r * (1 - r);
        p[1][i] = d * (p[6][i] - c) * z * (1 - z);
        p[2][i] = before;
        p[5][i] = before * r;
    }
}

/* ---- MGU: f = sig(af + bf), c = tanh(ac + f bc), h' = c + f (h - c) ---- */
static void mgu_rows(float *const *p, long n)                /* af, ac, bf, bc, h, dnew, dh */
{
    for (long i = 0; i < n; i++)
        p[0][i] += p[2][i];
    nn_kern_best()->sigmoid(p[0], n);
    for (long i = 0; i < n; i++)
        p[1][i] += p[0][i] * p[3][i];
    nn_kern_best()->tanh(p[1], n);
    for (long i = 0; i < n; i++) {
        float f = p[0][i], c = p[1][i], d = p[5][i], before = d * (1 - f) * (1 - c * c);
        p[6][i] += d * f;
        p[0][i] = (d * (p[4][i] - c) + before * p[3][i]) * f * (1 - f);
        p[1][i] = before;
        p[3][i] = before * f;
    }
}

/* What the candidate's and the other gates' convolutions of h get: the same as those of x, but for the candidate's. */
static int stacked(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    int parts = c->kind == KR_CELL_GRU ? 3 : 2;
    long f = c->features;
    kr_map **m = c->m, *d = (kr_map *)(uintptr_t)dnew;
    for (int i = 0; i < 2 * parts; i++) {
        if (back_map(&m[i], f, h->h, h->w, 0))
            return kr_error_code();
        kr_conv_forward(c->g[i].conv, m[i], i < parts ? &x : &h);
    }
    if (parts == 3)
        back_rows((kr_map *[]){ m[0], m[1], m[2], m[3], m[4], m[5], h, d, dh }, 9, gru_rows);
    else
        back_rows((kr_map *[]){ m[0], m[1], m[2], m[3], h, d, dh }, 7, mgu_rows);
    for (int i = 0; i < 2 * parts; i++) {
        const kr_map *gradient = i == 2 * parts - 1 || i < parts ? m[i] : m[i - parts];
        if (i < parts ? gate_back(&c->g[i], &dx, dw ? dw[0] : NULL, db ? db[0] : NULL, i, f, &x, gradient)
                      : gate_back(&c->g[i], &dh, dw ? dw[1] : NULL, NULL, i - parts, f, &h, gradient))
            return kr_error_code();
    }
    return 0;
}

/* ---- IndRNN: h' = relu(a + w h) ---- */
struct ind { const kr_cell_back *c; kr_map *a, *dh; const kr_map *h, *dnew; kr_tensor *dw; };

static int ind_block(void *self, long b)
{
    const struct ind *j = self;
    float w[16] = { 0 };
    double sum[16] = { 0 };
    long n = j->c->features - 16 * b < 16 ? j->c->features - 16 * b : 16;
    memcpy(w, j->c->hh.data + 16 * b, (size_t)n * sizeof *w);
    for (long y = 0; y < j->h->h; y++) {
        float *a = kr_map_at(j->a, b, y, 0), *dh = kr_map_at(j->dh, b, y, 0);
        const float *h = kr_map_at(j->h, b, y, 0), *d = kr_map_at(j->dnew, b, y, 0);
        for (long k = 0; k < 16 * j->h->w; k += 16)
            for (int l = 0; l < 16; l++) {
                float before = a[k + l] + w[l] * h[k + l] > 0 ? d[k + l] : 0;
                a[k + l] = before;
                dh[k + l] += w[l] * before;
                sum[l] += (double)before * (double)h[k + l];
            }
    }
    for (long l = 0; l < n && j->dw; l++)
        j->dw->data[16 * b + l] += (float)sum[l];
    return 0;
}

static int indrnn(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    if (back_map(&c->m[0], c->features, h->h, h->w, 0))
        return kr_error_code();
    kr_conv_forward(c->g[0].conv, c->m[0], &x);
    struct ind j = { c, c->m[0], dh, h, dnew, dw ? dw[1] : NULL };
    if (kr_for(h->blocks, ind_block, &j))
        kr_assert(0 && "arithmetic cannot be refused");
    return gate_back(&c->g[0], &dx, dw ? dw[0] : NULL, db ? db[0] : NULL, 0, c->features, &x, c->m[0]);
}

int kr_cell_backward(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    const kr_map *all[] = { dx, dh, x, h, dnew };
    for (int i = 0; i < 5; i++)
        kr_assert(all[i]->c == c->features && all[i]->h == h->h && all[i]->w == h->w);
    kr_assert(dx != dh && dh != dnew && dx != dnew);
    long e = kr_conv_halo(c->g[0].conv);
    kr_scoped(map) cx = NULL;
    kr_scoped(map) ch = NULL;
    if (e && !c->norm) {                             /* copies with the halo that the kernels want */
        if (back_map(&cx, c->features, h->h, h->w, e) || back_map(&ch, c->features, h->h, h->w, e))
            return kr_error_code();
        back_rows((kr_map *[]){ cx, x }, 2, copy);
        back_rows((kr_map *[]){ ch, h }, 2, copy);
        x = cx;
        h = ch;
    }
    return (c->kind == KR_CELL_GRU_DIRECT ? direct : c->kind == KR_CELL_INDRNN ? indrnn : stacked)(c, dx, dh, dw, db, x, h, dnew);
}
