/* cell.c: recurrent cells. Where all their convolutions are pointwise (nearly always), a stretch of one row is done at once:
 * gates stay in a scratch that fits the first-level cache and never become maps. */
#include "conv.h"
#include "lay.h"
#include <string.h>

enum { STRETCH = 24 };               /* pixels at a time: 4 x 64 gate channels x 24 pixels = 24 KiB */

struct kr_cell {
    enum kr_cell_kind kind;
    const nn_kern *kern;
    long features, blocks;
    bool norm, pointwise;
    kr_conv *a, *b, *c, *d;          /* GRU_DIRECT: update, reset, out; GRU: reset of [x h], candidate of x, candidate of h, update of
                                        [x h]; MGU: forget of [x h], candidate of x, of h; INDRNN: ih */
    float *hh;                       /* INDRNN: one number per channel */
    bool narrow;                     /* all products are of bfloat16 numbers: a stretch is narrowed once for all of them */
    long room;                       /* floats of scratch per worker */
};

void kr_cell_unref(kr_cell **pc)
{
    if (!*pc)
        return;
    kr_conv_unref(&(*pc)->a);
    kr_conv_unref(&(*pc)->b);
    kr_conv_unref(&(*pc)->c);
    kr_conv_unref(&(*pc)->d);
    kr_free((*pc)->hh);
    kr_free_at(pc);
}

/* Rows from..from+count-1 of w (of its output channels), as a tensor of its own; with `other`, the input channels of both. */
static kr_tensor *rows(const kr_tensor *w, const kr_tensor *other, long from, long count)
{
    kr_tensor *t = kr_alloc_zero(1, sizeof *t);
    if (!t)
        return NULL;
    long kk = w->dims == 4 ? w->n[2] * w->n[3] : 1, in = w->dims == 4 ? w->n[1] : 1, all = other ? 2 * in : in;
    *t = (kr_tensor){ .name = w->name, .dims = w->dims, .n = { count, all, w->dims == 4 ? w->n[2] : 1, w->dims == 4 ? w->n[3] : 1 } };
    t->data = kr_alloc((size_t)(count * all * kk), sizeof(float));
    if (!t->data) {
        kr_free(t);
        return NULL;
    }
    for (long o = 0; o < count; o++)
        for (int s = 0; s < (other ? 2 : 1); s++)
            memcpy(t->data + (o * all + s * in) * kk, (s ? other : w)->data + (from + o) * in * kk, (size_t)(in * kk) * sizeof(float));
    return t;
}

static void drop(kr_tensor *t)
{
    if (t)
        kr_free(t->data);
    kr_free(t);
}

/* The convolution of output rows from..from+count-1 of w (and `other` for a second input map). */
static kr_conv *part(const kr_tensor *w, const kr_tensor *other, const kr_tensor *bias, long from, long count)
{
    kr_tensor *t = rows(w, other, from, count), *b = bias ? rows(bias, NULL, from, count) : NULL;
    long in = w->n[1], split[2] = { in, in };
    kr_conv *c = t && (b || !bias) ? kr_conv_new(t, b, 1, KR_PAD_ZERO, KR_ACT_NONE, other ? 2 : 1, split) : NULL;
    drop(t);
    drop(b);
    return c;
}

static bool is(const kr_tensor *t, long outs, long ins)
{
    return t && t->dims == 4 && t->n[0] == outs && t->n[1] == ins && t->n[2] == t->n[3] && t->n[2] % 2;
}

static int fits(enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, long f)
{
    bool good = false;
    switch (kind) {
    case KR_CELL_GRU_DIRECT: good = is(w[0], f, 2 * f) && is(w[1], f, 2 * f) && is(w[2], f, 2 * f); break;
    case KR_CELL_GRU: good = is(w[0], 3 * f, f) && is(w[1], 3 * f, f); break;
    case KR_CELL_MGU: good = is(w[0], 2 * f, f) && is(w[1], 2 * f, f); break;
    case KR_CELL_INDRNN: good = is(w[0], f, f) && w[1] && kr_tensor_count(w[1]) == f; break;
    }
    for (int i = 1; good && i < (kind == KR_CELL_GRU_DIRECT ? 3 : kind == KR_CELL_INDRNN ? 1 : 2); i++)
        good = w[i]->n[2] == w[0]->n[2];             /* kernels of one width */
    for (int i = 0; good && i < (kind == KR_CELL_GRU_DIRECT ? 3 : 1); i++)
        good = !b[i] || kr_tensor_count(b[i]) == w[i]->n[0];
    return good ? 0 : kr_fail(KR_ESHAPE, "the tensor '%s' and its neighbours do not make a recurrent cell", w[0] ? w[0]->name : "(missing)");
}

kr_cell *kr_cell_new(enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, bool norm)
{
    if (!w[0] || w[0]->dims != 4) {
        kr_fail(KR_ESHAPE, "the weights of a recurrent cell are missing or have another shape");
        return NULL;
    }
    static const int parts[] = { [KR_CELL_GRU_DIRECT] = 1, [KR_CELL_GRU] = 3, [KR_CELL_MGU] = 2, [KR_CELL_INDRNN] = 1 };
    long f = w[0]->n[0] / parts[kind];
    if (fits(kind, w, b, f))
        return NULL;
    kr_cell *c = kr_alloc_zero(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (kr_cell){ .kind = kind, .kern = nn_kern_best(), .features = f, .blocks = (f + 15) / 16, .norm = norm,
                    .pointwise = !norm && w[0]->n[2] == 1 && (kind == KR_CELL_INDRNN || w[1]->n[2] == 1) };
    long split[2] = { f, f };
    bool good = true;
    switch (kind) {
    case KR_CELL_GRU_DIRECT:
        good = (c->a = kr_conv_new(w[0], b[0], 1, KR_PAD_ZERO, KR_ACT_NONE, 2, split))
            && (c->b = kr_conv_new(w[1], b[1], 1, KR_PAD_ZERO, KR_ACT_NONE, 2, split))
            && (c->c = kr_conv_new(w[2], b[2], 1, KR_PAD_ZERO, KR_ACT_NONE, 2, split));
        break;
    case KR_CELL_GRU:                /* stacked rows: reset, update, candidate */
        good = (c->a = part(w[0], w[1], b[0], 0, f)) && (c->d = part(w[0], w[1], b[0], f, f))
            && (c->b = part(w[0], NULL, b[0], 2 * f, f)) && (c->c = part(w[1], NULL, NULL, 2 * f, f));
        break;
    case KR_CELL_MGU:                /* forget, candidate */
        good = (c->a = part(w[0], w[1], b[0], 0, f)) && (c->b = part(w[0], NULL, b[0], f, f)) && (c->c = part(w[1], NULL, NULL, f, f));
        break;
    case KR_CELL_INDRNN:
        good = (c->a = kr_conv_new(w[0], b[0], 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL)) && (c->hh = kr_alloc_zero((size_t)(16 * c->blocks), sizeof(float)));
        for (long i = 0; good && i < f; i++)
            c->hh[i] = w[1]->data[i];
        break;
    }
    if (good && norm) {
        kr_conv_exact(c->a);
        kr_conv_exact(c->b);
        kr_conv_exact(c->c);
    }
    c->room = 6 * c->blocks * STRETCH * 16;
    if (!good)
        kr_cell_unref(&c);
    return c;
}

int kr_cell_bf16(kr_cell *c)
{
    kr_conv *v[4] = { c->a, c->b, c->c, c->d };
    for (int i = 0; i < 4; i++)
        if (v[i] && kr_conv_bf16(v[i]))
            return kr_error_code();
    c->narrow = c->pointwise;
    for (int i = 0; i < 4; i++)
        c->narrow = c->narrow && (!v[i] || v[i]->half);
    return 0;
}

struct job { const kr_cell *c; kr_map *h, *x, *relu; float *scratch; };

/* A stretch of pixels; pair: narrowed, where the cell wants that. */
struct stretch { const float *p; long block; uint32_t *pair; };

static void narrow(const kr_cell *c, const struct stretch *s, long n)
{
    for (long b = 0; c->narrow && b < c->blocks; b++)
        nn_narrow(s->pair + b * STRETCH * 8, s->p + b * s->block, n);
}

/* A pointwise convolution of n pixels of each input into scratch. */
static void gate(const kr_cell *c, const kr_conv *v, float *out, long n, const struct stretch *in)
{
    conv_row r = { .out = out, .out_block = STRETCH * 16, .step = 16, .px = n };
    for (int s = 0; s < v->maps; s++) {
        r.in[s].data = in[s].p;
        r.in[s].block = in[s].block;
        r.in[s].pair = c->narrow ? in[s].pair : NULL;
        r.in[s].pairs = STRETCH * 8;
    }
    conv_run_row(v, &r);
}

static int one_row(void *self, long y)
{
    const struct job *j = self;
    const kr_cell *c = j->c;
    long plane = c->blocks * STRETCH * 16;
    float *s0 = j->scratch + kr_worker() * c->room, *s1 = s0 + plane, *s2 = s1 + plane, *s3 = s2 + plane;
    uint32_t *pairs = (uint32_t *)(void *)(s3 + plane);
    for (long x = 0; x < j->h->w; x += STRETCH) {
        long n = j->h->w - x < STRETCH ? j->h->w - x : STRETCH;
        struct stretch in[2] = { { kr_map_at(j->x, 0, y, x), j->x->block, pairs }, { kr_map_at(j->h, 0, y, x), j->h->block, pairs + plane / 2 } };
        narrow(c, &in[0], n);
        if (c->kind != KR_CELL_INDRNN)
            narrow(c, &in[1], n);
        if (c->kind == KR_CELL_GRU_DIRECT) {
            gate(c, c->a, s0, n, in);
            gate(c, c->b, s1, n, in);
            for (long b = 0; b < c->blocks; b++)
                c->kern->reset(s2 + b * STRETCH * 16, s1 + b * STRETCH * 16, in[1].p + b * j->h->block, 16 * n);
            struct stretch again[2] = { in[0], { s2, STRETCH * 16, pairs + plane } };
            narrow(c, &again[1], n);
            gate(c, c->c, s3, n, again);
        } else if (c->kind == KR_CELL_INDRNN)
            gate(c, c->a, s0, n, in);
        else {
            gate(c, c->a, s0, n, in);
            if (c->d)
                gate(c, c->d, s1, n, in);
            gate(c, c->b, s2, n, in);
            gate(c, c->c, s3, n, in + 1);
        }
        for (long b = 0; b < c->blocks; b++) {
            long at = b * STRETCH * 16;
            float *h = kr_map_at(j->h, b, y, x), *r = j->relu ? kr_map_at(j->relu, b, y, x) : NULL;
            switch (c->kind) {
            case KR_CELL_GRU_DIRECT: c->kern->gru_direct(h, s0 + at, s3 + at, r, 16 * n); break;
            case KR_CELL_GRU: c->kern->gru(h, s1 + at, s2 + at, s3 + at, s0 + at, r, 16 * n); break;
            case KR_CELL_MGU: c->kern->mgu(h, s0 + at, s2 + at, s3 + at, r, 16 * n); break;
            case KR_CELL_INDRNN: c->kern->indrnn(h, s0 + at, c->hh + 16 * b, r, 16 * n); break;
            }
        }
    }
    return 0;
}

/* The same with whole maps, for kernels wider than a pixel and for instance norms. */
enum { WHOLE = 6 };                  /* gates 0, 1, 3; 2: h r, 4: x, 5: h, with the halo that convolutions want */
static void *whole_maps(const kr_cell *c, kr_map *m, long h, long w, lay_room *room)
{
    size_t most = 0;
    for (int i = 0; i < WHOLE; i++)
        m[i] = map_in(room, c->features, h, w, i == 2 || i > 3 ? kr_conv_halo(c->a) : 0);
    const kr_conv *v[4] = { c->a, c->b, c->c, c->d };
    for (int i = 0; i < 4; i++)
        if (v[i] && conv_scratch(v[i], h, w) > most)
            most = conv_scratch(v[i], h, w);
    return room_for(room, most);
}

size_t cell_scratch(const kr_cell *c, long h, long w)
{
    kr_map m[WHOLE];
    lay_room room = { NULL, 0 };
    if (c->pointwise)
        return (size_t)(kr_threads() * c->room) * sizeof(float);
    whole_maps(c, m, h, w, &room);
    return room.used;
}

size_t cell_bytes(const kr_cell *c)
{
    const kr_conv *v[4] = { c->a, c->b, c->c, c->d };
    size_t n = 0;
    for (int i = 0; i < 4; i++)
        n += v[i] ? conv_bytes(v[i]) : 0;
    return n;
}

static void whole(const kr_cell *c, kr_map *h, kr_map *x, kr_map *relu, void *scratch)
{
    kr_map m[WHOLE], *s0 = m, *s1 = m + 1, *s2 = m + 2, *s3 = m + 3, *nx = m + 4, *nh = m + 5;
    lay_room room = { scratch, 0 };
    void *wino = whole_maps(c, m, h->h, h->w, &room);
    if (c->norm) {
        kr_instance_norm(nx, x, KR_ACT_NONE);
        kr_instance_norm(nh, h, KR_ACT_NONE);
    } else
        for (long b = 0; b < c->blocks; b++)
            for (long y = 0; y < h->h; y++) {
                memcpy(kr_map_at(nx, b, y, 0), kr_map_at(x, b, y, 0), (size_t)(16 * h->w) * sizeof(float));
                memcpy(kr_map_at(nh, b, y, 0), kr_map_at(h, b, y, 0), (size_t)(16 * h->w) * sizeof(float));
            }
    kr_map *both[2] = { nx, nh };
    conv_run(c->a, s0, both, NULL, wino);
    if (c->kind == KR_CELL_GRU_DIRECT) {
        conv_run(c->b, s1, both, NULL, wino);
        for (long b = 0; b < c->blocks; b++)
            for (long y = 0; y < h->h; y++)
                c->kern->reset(kr_map_at(s2, b, y, 0), kr_map_at(s1, b, y, 0), kr_map_at(h, b, y, 0), 16 * h->w);
        if (c->norm)
            kr_instance_norm(s2, s2, KR_ACT_NONE);
        kr_map *again[2] = { nx, s2 };
        conv_run(c->c, s3, again, NULL, wino);
    } else if (c->kind != KR_CELL_INDRNN) {
        if (c->d)
            conv_run(c->d, s1, both, NULL, wino);
        conv_run(c->b, s2, both, NULL, wino);
        conv_run(c->c, s3, both + 1, NULL, wino);
    }
    for (long b = 0; b < c->blocks; b++)
        for (long y = 0; y < h->h; y++) {
            float *to = kr_map_at(h, b, y, 0), *r = relu ? kr_map_at(relu, b, y, 0) : NULL;
            const float *p0 = kr_map_at(s0, b, y, 0), *p2 = kr_map_at(s2, b, y, 0), *p3 = kr_map_at(s3, b, y, 0);
            switch (c->kind) {
            case KR_CELL_GRU_DIRECT: c->kern->gru_direct(to, p0, p3, r, 16 * h->w); break;
            case KR_CELL_GRU: c->kern->gru(to, kr_map_at(s1, b, y, 0), p2, p3, p0, r, 16 * h->w); break;
            case KR_CELL_MGU: c->kern->mgu(to, p0, p2, p3, r, 16 * h->w); break;
            case KR_CELL_INDRNN: c->kern->indrnn(to, p0, c->hh + 16 * b, r, 16 * h->w); break;
            }
        }
}

void cell_run(const kr_cell *c, kr_map *h, kr_map *x, kr_map *relu_out, void *scratch)
{
    kr_assert(h->c == c->features && x->c == c->features && h->h == x->h && h->w == x->w && h != x);
    if (!c->pointwise) {
        whole(c, h, x, relu_out, scratch);
        return;
    }
    struct job j = { c, h, x, relu_out, scratch };
    if (kr_for(h->h, one_row, &j))
        kr_assert(0 && "a cell cannot be refused");
}

int kr_cell_forward(const kr_cell *c, kr_map *h, kr_map *x, kr_map *relu_out)
{
    kr_auto void *scratch = kr_alloc(cell_scratch(c, h->h, h->w), 1);
    if (!scratch)
        return kr_error_code();
    cell_run(c, h, x, relu_out, scratch);
    return 0;
}
