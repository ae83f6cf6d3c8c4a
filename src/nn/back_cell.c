/* back_cell.c: backward passes of the recurrent cells. Gates are made again from x and the old state, which is all that a
 * training keeps of a step. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include "nnkern.h"
#include <string.h>

enum { GATES = 6, MAPS = 12 };
struct kr_cell_back {
    enum kr_cell_kind kind;
    long features;
    bool norm;
    kr_conv *g[GATES];               /* GRU_DIRECT: update, reset, out; GRU and MGU: rows of ih, then of hh; INDRNN: ih */
    kr_tensor hh;                    /* INDRNN */
};
struct rooms { kr_map m[MAPS], x, h; void *conv; };          /* x, h: copies with the halo that kernels want; conv: scratch of convolutions */

void kr_cell_back_unref(kr_cell_back **pc)
{
    kr_cell_back *c = *pc;
    for (int i = 0; c && i < GATES; i++)
        kr_conv_unref(&c->g[i]);
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

static bool gate_new(kr_conv **g, const kr_tensor *w, const kr_tensor *b, long part, long f, int maps, bool exact)
{
    kr_tensor wr = rows_of(w, part, f), br = b ? rows_of(b, part, f) : wr;
    long split[2] = { f, f };
    *g = kr_conv_new(&wr, b ? &br : NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, maps, split);
    if (*g && exact)
        kr_conv_exact(*g);
    return *g;
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
static void gate_back(const kr_conv *g, kr_map *const *dx, kr_tensor *dw, kr_tensor *db, long part, long f, kr_map *const *x, const kr_map *d, void *scratch)
{
    kr_tensor wr = { 0 }, br = { 0 };
    if (dw)
        wr = rows_of(dw, part, f);
    if (db)
        br = rows_of(db, part, f);
    conv_back_run(g, dx, dw ? &wr : NULL, db ? &br : NULL, x, NULL, d, scratch);
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

enum { U, R, HR, C, DHN, NX, NH, HN, DNX, DNH, DHR };
static void direct(const kr_cell_back *c, struct rooms *o, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    long f = c->features;
    int last = c->norm ? DHR : DHN;
    kr_map *m[MAPS], *both[2] = { x, h }, *hn = &o->m[c->norm ? HN : HR];
    for (int i = 0; i < MAPS; i++)
        m[i] = &o->m[i];
    if (c->norm) {
        kr_instance_norm(m[NX], x, KR_ACT_NONE);
        kr_instance_norm(m[NH], h, KR_ACT_NONE);
        both[0] = m[NX];
        both[1] = m[NH];
    }
    conv_run(c->g[0], m[U], both, NULL, o->conv);
    conv_run(c->g[1], m[R], both, NULL, o->conv);
    back_rows((kr_map *[]){ m[U], m[R], m[HR], h }, 4, direct_gates);
    if (c->norm)
        kr_instance_norm(hn, m[HR], KR_ACT_NONE);
    kr_map *again[2] = { both[0], hn }, *dagain[2] = { c->norm ? m[DNX] : dx, m[DHN] }, *dboth[2] = { c->norm ? m[DNX] : dx, c->norm ? m[DNH] : dh };
    conv_run(c->g[2], m[C], again, NULL, o->conv);
    back_rows((kr_map *[]){ m[C], m[U], h, (kr_map *)(uintptr_t)dnew, dh }, 5, direct_candidate);
    for (int i = DHN; i <= last; i++)
        if (i == DHN || i >= DNX)
            back_zero(m[i]);
    gate_back(c->g[2], dagain, dw ? dw[2] : NULL, db ? db[2] : NULL, 0, f, again, m[C], o->conv);
    kr_map *dhr = m[DHN];
    if (c->norm) {
        dhr = m[DHR];
        kr_instance_norm_backward(dhr, m[HR], m[DHN], KR_ACT_NONE);
    }
    back_rows((kr_map *[]){ dhr, m[R], h, dh }, 4, direct_reset);
    gate_back(c->g[0], dboth, dw ? dw[0] : NULL, db ? db[0] : NULL, 0, f, both, m[U], o->conv);
    gate_back(c->g[1], dboth, dw ? dw[1] : NULL, db ? db[1] : NULL, 0, f, both, m[R], o->conv);
    if (c->norm) {
        kr_instance_norm_backward(dx, x, m[DNX], KR_ACT_NONE);
        kr_instance_norm_backward(dh, h, m[DNH], KR_ACT_NONE);
    }
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
static void stacked(const kr_cell_back *c, struct rooms *o, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    int parts = c->kind == KR_CELL_GRU ? 3 : 2;
    long f = c->features;
    kr_map *m[MAPS], *d = (kr_map *)(uintptr_t)dnew;
    for (int i = 0; i < 2 * parts; i++) {
        m[i] = &o->m[i];
        conv_run(c->g[i], m[i], i < parts ? &x : &h, NULL, o->conv);
    }
    if (parts == 3)
        back_rows((kr_map *[]){ m[0], m[1], m[2], m[3], m[4], m[5], h, d, dh }, 9, gru_rows);
    else
        back_rows((kr_map *[]){ m[0], m[1], m[2], m[3], h, d, dh }, 7, mgu_rows);
    for (int i = 0; i < 2 * parts; i++) {
        const kr_map *gradient = i == 2 * parts - 1 || i < parts ? m[i] : m[i - parts];
        if (i < parts)
            gate_back(c->g[i], &dx, dw ? dw[0] : NULL, db ? db[0] : NULL, i, f, &x, gradient, o->conv);
        else
            gate_back(c->g[i], &dh, dw ? dw[1] : NULL, NULL, i - parts, f, &h, gradient, o->conv);
    }
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

static void indrnn(const kr_cell_back *c, struct rooms *o, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    conv_run(c->g[0], &o->m[0], &x, NULL, o->conv);
    struct ind j = { c, &o->m[0], dh, h, dnew, dw ? dw[1] : NULL };
    if (kr_for(h->blocks, ind_block, &j))
        kr_assert(0 && "arithmetic cannot be refused");
    gate_back(c->g[0], &dx, dw ? dw[0] : NULL, db ? db[0] : NULL, 0, c->features, &x, &o->m[0], o->conv);
}

static void rooms(const kr_cell_back *c, long h, long w, struct rooms *o, lay_room *room)
{
    static const int parts[] = { [KR_CELL_GRU_DIRECT] = DHN + 1, [KR_CELL_GRU] = 6, [KR_CELL_MGU] = 4, [KR_CELL_INDRNN] = 1 };
    int maps = c->norm ? DHR + 1 : parts[c->kind];
    long e = kr_conv_halo(c->g[0]);
    size_t most = 0;
    for (int i = 0; i < maps; i++)
        o->m[i] = map_in(room, c->features, h, w, c->kind == KR_CELL_GRU_DIRECT && (i == HR || i == NX || i == NH || i == HN) ? e : 0);
    if (e && !c->norm) {
        o->x = map_in(room, c->features, h, w, e);
        o->h = map_in(room, c->features, h, w, e);
    }
    for (int i = 0; i < GATES && c->g[i]; i++) {
        size_t a = conv_scratch(c->g[i], h, w), b = conv_back_scratch(c->g[i], h, w, false);
        most = a > most ? a : most;
        most = b > most ? b : most;
    }
    o->conv = room_for(room, most);
}

size_t cell_back_scratch(const kr_cell_back *c, long h, long w)
{
    struct rooms o;
    lay_room room = { NULL, 0 };
    rooms(c, h, w, &o, &room);
    return room.used;
}

int kr_cell_backward(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew)
{
    kr_auto void *scratch = kr_alloc(cell_back_scratch(c, h->h, h->w), 1);
    if (!scratch)
        return kr_error_code();
    cell_back_run(c, dx, dh, dw, db, x, h, dnew, scratch);
    return 0;
}

void cell_back_run(const kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew, void *scratch)
{
    const kr_map *all[] = { dx, dh, x, h, dnew };
    for (int i = 0; i < 5; i++)
        kr_assert(all[i]->c == c->features && all[i]->h == h->h && all[i]->w == h->w);
    kr_assert(dx != dh && dh != dnew && dx != dnew);
    struct rooms o;
    lay_room room = { scratch, 0 };
    rooms(c, h->h, h->w, &o, &room);
    if (kr_conv_halo(c->g[0]) && !c->norm) {    /* copies with the halo that the kernels want */
        back_rows((kr_map *[]){ &o.x, x }, 2, copy);
        back_rows((kr_map *[]){ &o.h, h }, 2, copy);
        x = &o.x;
        h = &o.h;
    }
    (c->kind == KR_CELL_GRU_DIRECT ? direct : c->kind == KR_CELL_INDRNN ? indrnn : stacked)(c, &o, dx, dh, dw, db, x, h, dnew);
}
