/* back_conv.c: backward passes of convolutions. The gradient of the input is itself a convolution, with kernels turned by
 * half a turn, and so runs on the forward kernels; what falls on the padding is added to the pixels that padded. */
#include "back.h"
#include "conv.h"
#include "lay.h"
#include "nnkern.h"
#include "backkern.h"
#include <math.h>
#include <string.h>

static const back_kern *best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &back_kern_v4 : cpu >= 3 ? &back_kern_v3 : &back_kern_base;
}

/* ---- What all share ---- */
struct rows { kr_map *const *m; int count; void (*f)(float *const *, long); };

static int one_row(void *self, long i)
{
    const struct rows *j = self;
    const kr_map *first = j->m[0];
    float *r[BACK_MAPS];
    for (int k = 0; k < j->count; k++)
        r[k] = j->m[k] ? kr_map_at(j->m[k], i / first->h, i % first->h, 0) : NULL;
    j->f(r, 16 * first->w);
    return 0;
}

void back_rows(kr_map *const *m, int count, void (*f)(float *const *r, long n))
{
    kr_assert(count <= BACK_MAPS);
    for (int k = 1; k < count; k++)
        kr_assert(!m[k] || (m[k]->c == m[0]->c && m[k]->h == m[0]->h && m[k]->w == m[0]->w));
    struct rows j = { m, count, f };
    if (kr_for(m[0]->blocks * m[0]->h, one_row, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

void back_zero(kr_map *m) { memset(m->store, 0, (size_t)(m->blocks * m->block) * sizeof(float)); }

/* ---- Activations ---- */
static float slope_of(enum kr_act act) { return act == KR_ACT_NONE ? 1 : act == KR_ACT_RELU ? 0 : 0.2f; }

/* ---- Convolution ---- */
struct job {
    const kr_conv *c;
    const back_kern *kern;
    kr_map d, share;                 /* gradient before the activation, with room for the padding's share; what each input pixel, padding
                                        included, gets */
    kr_map *const *dx, *const *x;
    const kr_map *y, *dy;
    kr_tensor *dw, *db;
    long margin;
    int map;
};

/* d = act'(y) dy */
static int before_act(void *self, long i)
{
    const struct job *j = self;
    long b = i / j->dy->h, y = i % j->dy->h, n = 16 * j->dy->w;
    float *to = kr_map_at(&j->d, b, y + j->margin, j->margin), slope = slope_of(j->c->act);
    const float *d = kr_map_at(j->dy, b, y, 0), *at = j->y ? kr_map_at(j->y, b, y, 0) : NULL;
    if (j->c->act == KR_ACT_NONE)
        memcpy(to, d, (size_t)n * sizeof *to);
    else
        for (long k = 0; k < n; k++)
            to[k] = at[k] > 0 ? d[k] : slope * d[k];
    return 0;
}

/* One block of 16 outputs: db += sum of d. */
static int bias_block(void *self, long b)
{
    const struct job *j = self;
    double sum[16] = { 0 };
    for (long y = 0; y < j->dy->h; y++) {
        const float *d = kr_map_at(&j->d, b, y + j->margin, j->margin);
        for (long k = 0; k < 16 * j->dy->w; k += 16)
            for (int l = 0; l < 16; l++)
                sum[l] += (double)d[k + l];
    }
    for (long o = 16 * b; o < 16 * b + 16 && o < j->c->outs; o++)
        j->db->data[o] += (float)sum[o - 16 * b];
    return 0;
}

/* Kernel row ky between a block of 16 inputs and one of 16 outputs: dw[o][c][ky][kx] += sum of d[o,y,x] in[c, y + ky d - e, x + kx d - e]. */
static int weight_part(void *self, long i)
{
    const struct job *j = self;
    const kr_conv *c = j->c;
    double sum[31 * 256];
    long ky = i % c->k, bo = i / c->k % j->dy->blocks, bi = i / c->k / j->dy->blocks, first = 0, e = c->dilation * (c->k / 2);
    long ins = conv_ins(c);
    int s = 0;
    memset(sum, 0, (size_t)c->k * 256 * sizeof *sum);
    for (; bi >= j->x[s]->blocks; s++) {
        bi -= j->x[s]->blocks;
        first += c->split[s];
    }
    long n = c->split[s] - 16 * bi < 16 ? c->split[s] - 16 * bi : 16;
    /* Floats over some hundred pixels, doubles over these: narrow rows together, or sums would be moved more than made. */
    long group = j->dy->w < 256 ? 256 / j->dy->w : 1;
    for (long y = 0; y < j->dy->h; y += group)
        for (int kx = 0; kx < c->k; kx++)
            j->kern->outer(sum + 256 * kx, kr_map_at(j->x[s], bi, y + ky * c->dilation - e, kx * c->dilation - e), j->x[s]->row,
                           kr_map_at(&j->d, bo, y + j->margin, j->margin), j->d.row, j->dy->w, j->dy->h - y < group ? j->dy->h - y : group, n);
    for (long o = 16 * bo; o < 16 * bo + 16 && o < c->outs; o++)
        for (long k = 0; k < n; k++)
            for (int kx = 0; kx < c->k; kx++)
                j->dw->data[((o * ins + first + 16 * bi + k) * c->k + ky) * c->k + kx] += (float)sum[256 * kx + 16 * k + o - 16 * bo];
    return 0;
}

/* The same in Winograd's form, some tiles at a time: first they are transformed, then each pair of 16 inputs and 16 outputs adds their products up. */
struct wino_job { wino_conv conv; const wino_kern *kern; long first, tiles, all; float *v, *m; double *sum; kr_tensor *dw; long outs; };
enum { TILES_AT_ONCE = 8, PAIR_SUMS = 9 * 256 };

static int wino_points(void *self, long i)
{
    const struct wino_job *j = self;
    long t = i * TILES_AT_ONCE, n = j->tiles - t < TILES_AT_ONCE ? j->tiles - t : TILES_AT_ONCE;
    j->kern->points(&j->conv, j->first + t, n, j->v + t * j->conv.wide, j->m + t * 16 * j->conv.blocks);
    return 0;
}

static void wino_add(const struct wino_job *j, long in, long n, long b, const double *sum)
{
    for (long o = 16 * b; o < 16 * b + 16 && o < j->outs; o++)
        for (long k = 0; k < n; k++)
            for (int t = 0; t < 9; t++)
                j->dw->data[(o * j->conv.ins + in + k) * 9 + t] += (float)sum[256 * t + 16 * k + o - 16 * b];
}

/* One pair; its sums are kept from tiles to tiles, where there are more. */
static int wino_pair(void *self, long i)
{
    const struct wino_job *j = self;
    long in = i / j->conv.blocks * 16, b = i % j->conv.blocks, n = j->conv.ins - in < 16 ? j->conv.ins - in : 16;
    double own[PAIR_SUMS], *sum = j->sum ? j->sum + i * PAIR_SUMS : own;
    if (!j->first)
        memset(sum, 0, PAIR_SUMS * sizeof *sum);
    j->kern->gradients(&j->conv, j->v, j->m, j->tiles, in, n, b, sum);
    if (j->first + j->tiles == j->all)
        wino_add(j, in, n, b, sum);
    return 0;
}

struct wino_rooms { float *v, *m; double *sum; long pairs, tiles; };

static struct wino_rooms wino_rooms(const kr_conv *c, long h, long w, lay_room *room)
{
    struct wino_rooms r = { .pairs = (conv_ins(c) + 15) / 16 * c->blocks, .tiles = wino_tiles(h, w, c->dilation) };
    r.v = room_for(room, (size_t)(36 * wino_apart(wino_wide(c->maps, c->split))) * sizeof *r.v);
    r.m = room_for(room, (size_t)(36 * wino_apart(16 * c->blocks)) * sizeof *r.m);
    r.sum = r.tiles > WINO_TILES ? room_for(room, (size_t)(r.pairs * PAIR_SUMS) * sizeof *r.sum) : NULL;
    return r;
}

static void wino_weights(const kr_conv *c, kr_tensor *dw, kr_map *const *x, const kr_map *d, long margin, const kr_map *dy, lay_room room)
{
    struct wino_rooms r = wino_rooms(c, dy->h, dy->w, &room);
    struct wino_job j = { .conv = { .segments = c->maps, .h = dy->h, .w = dy->w, .halo = kr_conv_halo(c), .dilation = c->dilation, .blocks = c->blocks, .half = c->outs % 16 && c->outs % 16 <= 8,
                                    .ins = conv_ins(c), .wide = wino_wide(c->maps, c->split), .dy = kr_map_at(d, 0, margin, margin), .dy_block = d->block, .dy_row = d->row },
                          .kern = wino_kern_best(), .all = r.tiles, .v = r.v, .m = r.m, .sum = r.sum, .dw = dw, .outs = c->outs };
    for (int s = 0; s < c->maps; s++) {
        j.conv.in[s].data = x[s]->data;
        j.conv.in[s].block = x[s]->block;
        j.conv.in[s].row = x[s]->row;
        j.conv.in[s].c = (int)c->split[s];
    }
    int e = 0;
    for (; j.first < j.all; j.first += WINO_TILES) {
        j.tiles = j.all - j.first < WINO_TILES ? j.all - j.first : WINO_TILES;
        e = e ? e : kr_for((j.tiles + TILES_AT_ONCE - 1) / TILES_AT_ONCE, wino_points, &j);
        e = e ? e : kr_for(r.pairs, wino_pair, &j);
    }
    kr_assert(!e);
}

/* One block of inputs: what the pixels of the padding got goes to those they were copied from. */
static int fold_block(void *self, long b)
{
    const struct job *j = self;
    const kr_map *share = &j->share;
    kr_map *dx = j->dx[j->map];
    long m = j->margin;
    for (long y = -m; y < dx->h + m; y++) {
        const float *from = kr_map_at(share, b, y + m, m);
        float *to = kr_map_at(dx, b, map_source(y, dx->h, j->c->pad), 0);
        for (long k = 0; k < 16 * dx->w; k++)
            to[k] += from[k];
        for (long x = 1; x <= m; x++) {
            float *l = to + 16 * map_source(-x, dx->w, j->c->pad), *r = to + 16 * map_source(dx->w - 1 + x, dx->w, j->c->pad);
            for (int k = 0; k < 16; k++) {
                l[k] += from[k - 16 * x];
                r[k] += from[16 * (dx->w - 1 + x) + k];
            }
        }
    }
    return 0;
}

/* ---- The gradient of an input: a convolution with the kernels turned by half a turn, their weights made in scratch of those that the forward has packed ---- */
static long margin(const kr_conv *b) { return b->pad == KR_PAD_ZERO ? 0 : kr_conv_halo(b); }

/* The convolution of the outputs to the inputs of map s, without its weights. */
static kr_conv turned(const kr_conv *c, int s)
{
    kr_conv t = conv_plan(c->split[s], c->outs, c->k);
    t.dilation = c->dilation;
    return t;
}

struct turn { const kr_conv *c, *t; int s; };

/* A block of 16 outputs, which are inputs of t. */
static int turn_block(void *self, long b)
{
    const struct turn *j = self;
    long taps = (long)j->c->k * j->c->k, step, skip, along, across, outs = j->c->outs - 16 * b < 16 ? j->c->outs - 16 * b : 16;
    for (long i = 0; i < j->t->outs; i += 16)
        for (long tap = 0; tap < taps; tap++) {
            const float *from = conv_weight(j->c, 16 * b, j->s, i, taps - 1 - tap, &step, &skip);
            float *to = conv_weight(j->t, i, 0, 16 * b, tap, &along, &across);
            for (long o = 0; o < outs; o++)
                for (long k = 0; k < 16 && i + k < j->t->outs; k++)
                    to[o * along + k * across] = from[k * step + o * skip];
        }
    return 0;
}

static void turn(const kr_conv *c, const kr_conv *t, int s)
{
    if (t->outs % 16 || c->outs % 16)                /* lanes that stand for nothing */
        memset(t->w, 0, (size_t)conv_room(t) * sizeof *t->w);
    memset(t->bias, 0, (size_t)(16 * t->blocks) * sizeof *t->bias);
    struct turn j = { c, t, s };
    if (kr_for(c->blocks, turn_block, &j))
        kr_assert(0 && "copying cannot be refused");
}

/* d, and room for the largest share, for the turned weights and for the convolution that makes the share. */
struct back_rooms { kr_map d; float *share, *weights, *bias; void *conv; lay_room first; };

/* What the outputs got is read where it lies, and framed there. */
static bool borrows(const kr_conv *c, bool framed) { return c->act == KR_ACT_NONE && !margin(c) && (framed || !kr_conv_halo(c)); }

static struct back_rooms rooms(const kr_conv *c, long h, long w, bool framed, lay_room *room)
{
    struct back_rooms r = { .share = NULL };
    long most = 0, weights = 0, m = margin(c), H = h + 2 * m, W = w + 2 * m;
    size_t scratch = 0;
    if (!borrows(c, framed))
        r.d = map_in(room, c->outs, H, W, kr_conv_halo(c));
    r.first = *room;
    lay_room before = *room;                        /* the gradient of the weights is made before that of the inputs */
    if (c->wino)
        wino_rooms(c, h, w, &before);
    for (int s = 0; s < c->maps; s++) {
        kr_conv t = turned(c, s);
        most = t.outs > most ? t.outs : most;
        weights = conv_room(&t) > weights ? conv_room(&t) : weights;
        scratch = conv_scratch(&t, H, W) > scratch ? conv_scratch(&t, H, W) : scratch;
    }
    r.share = map_in(room, most, H, W, 0).store;
    r.weights = room_for(room, (size_t)weights * sizeof *r.weights);
    r.bias = room_for(room, (size_t)(most + 15) / 16 * 16 * sizeof *r.bias);
    r.conv = room_for(room, scratch);
    room->used = before.used > room->used ? before.used : room->used;
    return r;
}

size_t conv_back_scratch(const kr_conv *c, long h, long w, bool framed)
{
    lay_room room = { NULL, 0 };
    rooms(c, h, w, framed, &room);
    return room.used;
}

int kr_conv_backward(const kr_conv *c, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy)
{
    kr_auto void *scratch = kr_alloc(conv_back_scratch(c, dy->h, dy->w, false), 1);
    if (!scratch)
        return kr_error_code();
    conv_back_run(c, dx, dweight, dbias, x, y, dy, scratch);
    return 0;
}

void conv_back_run(const kr_conv *c, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy, void *scratch)
{
    conv_back_framed(c, dx, 0, dweight, dbias, x, y, dy, false, scratch);
}

void conv_back_framed(const kr_conv *c, kr_map *const *dx, unsigned fresh, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy, bool framed, void *scratch)
{
    long e = kr_conv_halo(c), h = dy->h, w = dy->w, blocks = 0;
    kr_assert(dy->c == c->outs && (c->act == KR_ACT_NONE || (y && y->c == c->outs && y->h == h && y->w == w)));
    kr_assert((!dweight || kr_tensor_count(dweight) == c->outs * conv_ins(c) * c->k * c->k) && (!dbias || kr_tensor_count(dbias) == c->outs));
    lay_room room = { scratch, 0 };
    struct back_rooms r = rooms(c, h, w, framed, &room);
    struct job j = { .c = c, .kern = best(), .d = r.d, .dx = dx, .x = x, .y = y, .dy = dy, .dw = dweight, .db = dbias, .margin = margin(c) };
    if (j.margin)
        back_zero(&j.d);
    bool there = borrows(c, framed);
    if (there)
        j.d = *dy;
    if ((!there && kr_for(dy->blocks * h, before_act, &j)) || (dbias && kr_for(dy->blocks, bias_block, &j)))
        kr_assert(0 && "arithmetic cannot be refused");
    for (int s = 0; s < c->maps && dweight; s++) {
        kr_assert(x[s]->c == c->split[s] && x[s]->h == h && x[s]->w == w && x[s]->halo >= e);
        blocks += x[s]->blocks;
        if (e)
            kr_map_pad(x[s], c->pad);
    }
    if (dweight && c->wino)
        wino_weights(c, dweight, x, &j.d, j.margin, dy, r.first);
    else if (dweight && kr_for(blocks * dy->blocks * c->k, weight_part, &j))
        kr_assert(0 && "arithmetic cannot be refused");
    for (int s = 0; s < c->maps && dx; s++) {
        if (!dx[s])
            continue;
        kr_assert(dx[s]->c == c->split[s] && dx[s]->h == h && dx[s]->w == w);
        lay_room at = { (char *)r.share, 0 };
        j.share = map_in(&at, c->split[s], h + 2 * j.margin, w + 2 * j.margin, 0);
        kr_conv t = turned(c, s);
        t.w = r.weights;
        t.bias = r.bias;
        turn(c, &t, s);
        if (fresh >> s & 1 && !j.margin) {
            conv_run(&t, dx[s], &(kr_map *){ &j.d }, NULL, r.conv);
            continue;
        }
        if (fresh >> s & 1)
            back_zero(dx[s]);
        conv_run(&t, &j.share, &(kr_map *){ &j.d }, NULL, r.conv);
        j.map = s;
        if (kr_for(dx[s]->blocks, fold_block, &j))
            kr_assert(0 && "arithmetic cannot be refused");
    }
}

/* ---- Transposed convolution: four pointwise ones ---- */
/* The part of dy before its last row and column were filled by reflection. */
static void unreflect(kr_map *even, const kr_map *dy)
{
    for (long b = 0; b < dy->blocks; b++)
        for (long y = 0; y < dy->h; y++) {
            float *to = kr_map_at(even, b, y < even->h ? y : y - 2, 0);
            const float *from = kr_map_at(dy, b, y, 0);
            for (long k = 0; k < 16 * even->w; k++)
                to[k] = (y < even->h ? 0 : to[k]) + from[k];
            for (long k = 0; k < 16 && dy->w > even->w; k++)
                to[16 * (even->w - 2) + k] += from[16 * even->w + k];
        }
}

enum { EVEN, PART, DE, UPS };

static void *up_rooms(const kr_up2 *u, long h, long w, bool norm, kr_map *m, kr_tensor *one, lay_room *room)
{
    m[EVEN] = map_in(room, u->place[0]->outs, 2 * h, 2 * w, 0);
    m[PART] = map_in(room, u->place[0]->outs, h, w, 0);
    if (norm)
        m[DE] = map_in(room, u->place[0]->outs, 2 * h, 2 * w, 0);
    *one = (kr_tensor){ .dims = 4, .n = { u->place[0]->outs, u->place[0]->split[0], 1, 1 }, .data = room_for(room, (size_t)(u->place[0]->split[0] * u->place[0]->outs) * sizeof(float)) };
    return room_for(room, conv_back_scratch(u->place[0], h, w, false));
}

size_t up2_back_scratch(const kr_up2 *u, long h, long w, bool norm)
{
    lay_room room = { NULL, 0 };
    kr_map m[UPS];
    kr_tensor one;
    up_rooms(u, h, w, norm, m, &one, &room);
    return room.used;
}

int kr_up2_backward(const kr_up2 *u, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *dy, bool normed)
{
    kr_auto void *scratch = kr_alloc(up2_back_scratch(u, x->h, x->w, normed), 1);
    kr_auto double *scale = normed ? kr_alloc((size_t)(16 * dy->blocks), sizeof *scale) : NULL;
    kr_map *y = normed ? kr_map_new(dy->c, dy->h, dy->w, 0) : NULL;
    bool good = scratch && (!normed || (scale && y));
    if (good && normed)
        up2_run(u, y, x, true, scale);
    if (good)
        up2_back_run(u, dx, dweight, x, y, scale, dy, scratch);
    kr_map_unref(&y);
    return good ? 0 : kr_error_code();
}

void up2_back_run(const kr_up2 *u, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *y, const double *scale, const kr_map *dy, void *scratch)
{
    kr_assert(x->c == u->place[0]->split[0] && dy->c == u->place[0]->outs && dy->h / 2 == x->h && dy->w / 2 == x->w && (!dx || (dx->c == x->c && dx->h == x->h && dx->w == x->w)));
    kr_assert(!dweight || kr_tensor_count(dweight) == 4 * u->place[0]->split[0] * u->place[0]->outs);
    lay_room room = { scratch, 0 };
    kr_map m[UPS], *d = &m[EVEN];
    kr_tensor one;
    void *inner = up_rooms(u, x->h, x->w, scale, m, &one, &room);
    unreflect(d, dy);
    if (scale) {
        kr_map even = *y;                                    /* what the norm gave */
        even.h = d->h;
        even.w = d->w;
        d = &m[DE];
        norm_back_run(d, &even, scale, &m[EVEN], KR_ACT_LEAKY);
    }
    for (int i = 0; i < 4; i++) {
        for (long b = 0; b < d->blocks; b++)
            for (long r = 0; r < x->h; r++)
                for (long k = 0; k < x->w; k++)
                    memcpy(kr_map_at(&m[PART], b, r, k), kr_map_at(d, b, 2 * r + i / 2, 2 * k + i % 2), 16 * sizeof(float));
        memset(one.data, 0, (size_t)(u->place[0]->split[0] * u->place[0]->outs) * sizeof(float));
        conv_back_run(u->place[i], dx ? &dx : NULL, dweight ? &one : NULL, NULL, &x, NULL, &m[PART], inner);
        for (long c = 0; c < u->place[0]->split[0] && dweight; c++)
            for (long o = 0; o < u->place[0]->outs; o++)
                dweight->data[(c * u->place[0]->outs + o) * 4 + i] += one.data[o * u->place[0]->split[0] + c];
    }
}

/* ---- Instance norm and pooling ---- */
/* v = (x - mean) s, y = act(v): dx = s (d - mean(d) - v mean(d v)), d = act'(v) dy. Of y alone v is known, too, unless the activation loses it; s is not.
 * Bands of rows and blocks spread over the threads; their sums are added in order. */
enum { BANDS = 8, CHUNK = 8 };                       /* blocks at a time */
struct norm {
    kr_map *dx;
    const kr_map *x, *dy;
    float low, slope;
    bool add;
    long first;
    double part[CHUNK][BANDS][2][16];
    float mean[CHUNK][16], scale[CHUNK][16], by[CHUNK][16], sum[CHUNK][16], along[CHUNK][16];
};

static int moment_band(void *self, long i)
{
    struct norm *j = self;
    long b = i / BANDS, band = i % BANDS, h = j->x->h;
    memset(j->part[b][band], 0, sizeof j->part[b][band]);
    for (long y = band * h / BANDS; y < (band + 1) * h / BANDS; y++)
        nn_kern_best()->moments(kr_map_at(j->x, j->first + b, y, 0), 16 * j->x->w, j->part[b][band][0], j->part[b][band][1]);
    return 0;
}

static int norm_sum_band(void *self, long i)
{
    struct norm *j = self;
    long b = i / BANDS, band = i % BANDS, h = j->x->h;
    memset(j->part[b][band], 0, sizeof j->part[b][band]);
    for (long y = band * h / BANDS; y < (band + 1) * h / BANDS; y++)
        best()->norm_sums(j->part[b][band][0], j->part[b][band][1], kr_map_at(j->x, j->first + b, y, 0), kr_map_at(j->dy, j->first + b, y, 0), j->mean[b], j->scale[b], j->low, j->slope, 16 * j->x->w);
    return 0;
}

static int norm_band(void *self, long i)
{
    const struct norm *j = self;
    long b = i / BANDS, band = i % BANDS, h = j->x->h;
    for (long y = band * h / BANDS; y < (band + 1) * h / BANDS; y++)
        best()->norm_back(kr_map_at(j->dx, j->first + b, y, 0), kr_map_at(j->x, j->first + b, y, 0), kr_map_at(j->dy, j->first + b, y, 0), j->mean[b], j->scale[b], j->low, j->slope, j->by[b],
                          j->sum[b], j->along[b], 16 * j->x->w, j->add);
    return 0;
}

static double total(const struct norm *j, long b, int which, int l)
{
    double sum = 0;
    for (int band = 0; band < BANDS; band++)
        sum += j->part[b][band][which][l];
    return sum;
}

/* scale: of each channel, x then is what the norm and the activation gave, and dx is written; NULL: x is what they were given, and dx is added to. */
static void norm_backward(kr_map *dx, const kr_map *x, const double *scale, const kr_map *dy, enum kr_act act)
{
    kr_assert(dx != dy && dx->c == x->c && dx->h == x->h && dx->w == x->w && dy->c == x->c && dy->h == x->h && dy->w == x->w);
    struct norm j = { .dx = dx, .x = x, .dy = dy, .low = 1, .slope = slope_of(act), .add = !scale };
    kr_assert(!scale || j.slope > 0);
    double n = (double)(x->h * x->w);
    int e = 0;
    if (scale)
        j.low = 1 / j.slope;
    for (; j.first < x->blocks; j.first += CHUNK) {
        long blocks = x->blocks - j.first < CHUNK ? x->blocks - j.first : CHUNK;
        if (!scale)
            e = e ? e : kr_for(blocks * BANDS, moment_band, &j);
        for (long b = 0; b < blocks; b++)
            for (int l = 0; l < 16; l++) {
                double mean = scale ? 0 : total(&j, b, 0, l) / n, var = scale ? 0 : total(&j, b, 1, l) / n - mean * mean;
                double s = scale ? scale[16 * (j.first + b) + l] : 1 / sqrt((var > 0 ? var : 0) + 1e-5);
                j.mean[b][l] = (float)mean;
                j.scale[b][l] = scale ? 1 : (float)s;
                j.by[b][l] = (float)s;
            }
        e = e ? e : kr_for(blocks * BANDS, norm_sum_band, &j);
        for (long b = 0; b < blocks; b++)
            for (int l = 0; l < 16; l++) {
                j.sum[b][l] = (float)(total(&j, b, 0, l) / n);
                j.along[b][l] = (float)(total(&j, b, 1, l) / n);
            }
        e = e ? e : kr_for(blocks * BANDS, norm_band, &j);
    }
    kr_assert(!e);
}

void kr_instance_norm_backward(kr_map *dx, const kr_map *x, const kr_map *dy, enum kr_act act) { norm_backward(dx, x, NULL, dy, act); }
void norm_back_run(kr_map *dx, const kr_map *y, const double *scale, const kr_map *dy, enum kr_act act) { norm_backward(dx, y, scale, dy, act); }

void kr_avg_pool2_backward(kr_map *dx, const kr_map *dy)
{
    kr_assert(dx->c == dy->c && dy->h == dx->h / 2 && dy->w == dx->w / 2);
    for (long b = 0; b < dy->blocks; b++)
        for (long y = 0; y < 2 * dy->h; y++)
            for (long x = 0; x < 2 * dy->w; x++)
                for (int l = 0; l < 16; l++)
                    kr_map_at(dx, b, y, x)[l] += 0.25f * kr_map_at(dy, b, y / 2, x / 2)[l];
}
