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
static float slope_of(enum kr_act act, float slope) { return act == KR_ACT_NONE ? 1 : act == KR_ACT_RELU ? 0 : act == KR_ACT_LEAKY ? 0.2f : slope; }

struct act { kr_map *to; const kr_map *x, *d; double *sum; float slope; };

static int act_row(void *self, long i)
{
    const struct act *j = self;
    long b = i / j->x->h, y = i % j->x->h;
    float *to = j->to ? kr_map_at(j->to, b, y, 0) : NULL;
    const float *x = kr_map_at(j->x, b, y, 0), *d = j->d ? kr_map_at(j->d, b, y, 0) : NULL;
    double sum = 0;
    for (long k = 0; k < 16 * j->x->w; k++)
        if (!d)
            to[k] = x[k] > 0 ? x[k] : j->slope * x[k];
        else {
            if (to)
                to[k] += x[k] > 0 ? d[k] : j->slope * d[k];
            sum += x[k] > 0 ? 0 : (double)x[k] * (double)d[k];
        }
    if (j->sum)
        j->sum[i] = sum;
    return 0;
}

void kr_act_forward(kr_map *y, const kr_map *x, enum kr_act act, float slope)
{
    kr_assert(y->c == x->c && y->h == x->h && y->w == x->w);
    struct act j = { y, x, NULL, NULL, slope_of(act, slope) };
    if (kr_for(x->blocks * x->h, act_row, &j))
        kr_assert(0 && "an activation cannot be refused");
}

int kr_act_backward(kr_map *dx, double *dslope, const kr_map *x, const kr_map *dy, enum kr_act act, float slope)
{
    kr_assert(dy->c == x->c && dy->h == x->h && dy->w == x->w && (!dx || (dx->c == x->c && dx->h == x->h && dx->w == x->w)));
    long rows = x->blocks * x->h;
    kr_auto double *sum = dslope ? kr_alloc((size_t)rows, sizeof *sum) : NULL;
    if (dslope && !sum)
        return kr_error_code();
    struct act j = { dx, x, dy, sum, slope_of(act, slope) };
    if (kr_for(rows, act_row, &j))
        kr_assert(0 && "an activation cannot be refused");
    for (long i = 0; i < rows && dslope; i++)        /* rows in order: the same on any number of threads */
        *dslope += sum[i];
    return 0;
}

/* ---- Convolution ---- */
struct kr_conv_back {
    long outs, in;
    int k, dilation, maps;
    long split[4];
    enum kr_pad pad;
    enum kr_act act;
    kr_conv *turned[4];              /* outs -> split[s], kernel turned by half a turn         */
};

void kr_conv_back_unref(kr_conv_back **pb)
{
    kr_conv_back *b = *pb;
    for (int s = 0; b && s < 4; s++)
        kr_conv_unref(&b->turned[s]);
    kr_free_at(pb);
}

/* {split[s], outs, k, k}: input channels first.., kernel turned. */
static kr_conv *turn(const kr_conv_back *b, const kr_tensor *w, long first, long count)
{
    long kk = (long)b->k * b->k;
    kr_auto float *v = kr_alloc((size_t)(count * b->outs * kk), sizeof *v);
    if (!v)
        return NULL;
    for (long i = 0; i < count; i++)
        for (long o = 0; o < b->outs; o++)
            for (long t = 0; t < kk; t++)
                v[(i * b->outs + o) * kk + t] = w->data[(o * b->in + first + i) * kk + kk - 1 - t];
    kr_tensor t = { .name = w->name, .dims = 4, .n = { count, b->outs, b->k, b->k }, .data = v };
    return kr_conv_new(&t, NULL, b->dilation, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL);
}

kr_conv_back *kr_conv_back_new(const kr_tensor *weight, int dilation, enum kr_pad pad, enum kr_act act, int maps, const long *split)
{
    kr_assert(act != KR_ACT_PRELU);                  /* its slope has a gradient: kr_act_backward */
    kr_conv *check = kr_conv_new(weight, NULL, dilation, pad, act, maps, split);
    if (!check)                                      /* the forward's refusals are the backward's */
        return NULL;
    kr_conv_unref(&check);
    kr_conv_back *b = kr_alloc_zero(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (kr_conv_back){ .outs = weight->n[0], .in = weight->n[1], .k = (int)weight->n[2], .dilation = dilation, .maps = maps, .pad = pad, .act = act };
    long first = 0;
    for (int s = 0; s < maps; first += b->split[s++]) {
        b->split[s] = split ? split[s] : b->in;
        if (!(b->turned[s] = turn(b, weight, first, b->split[s]))) {
            kr_conv_back_unref(&b);
            return NULL;
        }
    }
    return b;
}

struct job {
    const kr_conv_back *b;
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
    float *to = kr_map_at(&j->d, b, y + j->margin, j->margin), slope = slope_of(j->b->act, 0);
    const float *d = kr_map_at(j->dy, b, y, 0), *at = j->y ? kr_map_at(j->y, b, y, 0) : NULL;
    if (j->b->act == KR_ACT_NONE)
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
    for (long o = 16 * b; o < 16 * b + 16 && o < j->b->outs; o++)
        j->db->data[o] += (float)sum[o - 16 * b];
    return 0;
}

/* Kernel row ky between a block of 16 inputs and one of 16 outputs: dw[o][c][ky][kx] += sum of d[o,y,x] in[c, y + ky d - e, x + kx d - e]. */
static int weight_part(void *self, long i)
{
    const struct job *j = self;
    const kr_conv_back *c = j->b;
    double sum[31 * 256];
    long ky = i % c->k, bo = i / c->k % j->dy->blocks, bi = i / c->k / j->dy->blocks, first = 0, e = c->dilation * (c->k / 2);
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
                j->dw->data[((o * c->in + first + 16 * bi + k) * c->k + ky) * c->k + kx] += (float)sum[256 * kx + 16 * k + o - 16 * bo];
    return 0;
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
        float *to = kr_map_at(dx, b, map_source(y, dx->h, j->b->pad), 0);
        for (long k = 0; k < 16 * dx->w; k++)
            to[k] += from[k];
        for (long x = 1; x <= m; x++) {
            float *l = to + 16 * map_source(-x, dx->w, j->b->pad), *r = to + 16 * map_source(dx->w - 1 + x, dx->w, j->b->pad);
            for (int k = 0; k < 16; k++) {
                l[k] += from[k - 16 * x];
                r[k] += from[16 * (dx->w - 1 + x) + k];
            }
        }
    }
    return 0;
}

static long margin(const kr_conv_back *b) { return b->pad == KR_PAD_ZERO ? 0 : (long)b->dilation * (b->k / 2); }

/* d, room for the largest share, and for the convolution that makes it. */
static void *rooms(const kr_conv_back *b, long h, long w, kr_map *d, float **share, lay_room *room)
{
    long most = 0, m = margin(b), H = h + 2 * m, W = w + 2 * m;
    size_t wino = 0;
    *d = map_in(room, b->outs, H, W, (long)b->dilation * (b->k / 2));
    for (int s = 0; s < b->maps; s++) {
        most = b->split[s] > most ? b->split[s] : most;
        wino = conv_scratch(b->turned[s], H, W) > wino ? conv_scratch(b->turned[s], H, W) : wino;
    }
    *share = map_in(room, most, H, W, 0).store;
    return room_for(room, wino);
}

size_t conv_back_scratch(const kr_conv_back *b, long h, long w)
{
    lay_room room = { NULL, 0 };
    kr_map d;
    float *share;
    rooms(b, h, w, &d, &share, &room);
    return room.used;
}

size_t conv_back_bytes(const kr_conv_back *b)
{
    size_t n = 0;
    for (int s = 0; s < b->maps; s++)
        n += conv_bytes(b->turned[s]);
    return n;
}

int kr_conv_backward(kr_conv_back *b, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy)
{
    kr_auto void *scratch = kr_alloc(conv_back_scratch(b, dy->h, dy->w), 1);
    if (!scratch)
        return kr_error_code();
    conv_back_run(b, dx, dweight, dbias, x, y, dy, scratch);
    return 0;
}

void conv_back_run(const kr_conv_back *b, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy, void *scratch)
{
    long e = (long)b->dilation * (b->k / 2), h = dy->h, w = dy->w, blocks = 0;
    kr_assert(dy->c == b->outs && (b->act == KR_ACT_NONE || (y && y->c == b->outs && y->h == h && y->w == w)));
    kr_assert((!dweight || kr_tensor_count(dweight) == b->outs * b->in * b->k * b->k) && (!dbias || kr_tensor_count(dbias) == b->outs));
    struct job j = { .b = b, .kern = best(), .dx = dx, .x = x, .y = y, .dy = dy, .dw = dweight, .db = dbias, .margin = margin(b) };
    lay_room room = { scratch, 0 };
    float *share;
    void *wino = rooms(b, h, w, &j.d, &share, &room);
    if (j.margin)
        back_zero(&j.d);
    if (kr_for(dy->blocks * h, before_act, &j) || (dbias && kr_for(dy->blocks, bias_block, &j)))
        kr_assert(0 && "arithmetic cannot be refused");
    for (int s = 0; s < b->maps && dweight; s++) {
        kr_assert(x[s]->c == b->split[s] && x[s]->h == h && x[s]->w == w && x[s]->halo >= e);
        blocks += x[s]->blocks;
        if (e)
            kr_map_pad(x[s], b->pad);
    }
    if (dweight && kr_for(blocks * dy->blocks * b->k, weight_part, &j))
        kr_assert(0 && "arithmetic cannot be refused");
    for (int s = 0; s < b->maps && dx; s++) {
        if (!dx[s])
            continue;
        kr_assert(dx[s]->c == b->split[s] && dx[s]->h == h && dx[s]->w == w);
        lay_room at = { (char *)share, 0 };
        j.share = map_in(&at, b->split[s], h + 2 * j.margin, w + 2 * j.margin, 0);
        conv_run(b->turned[s], &j.share, &(kr_map *){ &j.d }, NULL, wino);
        j.map = s;
        if (kr_for(dx[s]->blocks, fold_block, &j))
            kr_assert(0 && "arithmetic cannot be refused");
    }
}

/* ---- Transposed convolution: four pointwise ones ---- */
struct kr_up2_back { long in, outs; kr_conv_back *place[4]; };

void kr_up2_back_unref(kr_up2_back **pu)
{
    kr_up2_back *u = *pu;
    if (!u)
        return;
    for (int i = 0; i < 4; i++)
        kr_conv_back_unref(&u->place[i]);
    kr_free_at(pu);
}

kr_up2_back *kr_up2_back_new(const kr_tensor *w)
{
    kr_up2 *check = kr_up2_new(w);                   /* the forward's refusals are the backward's */
    kr_up2_back *u = check ? kr_alloc_zero(1, sizeof *u) : NULL;
    kr_up2_unref(&check);
    if (!u)
        return NULL;
    *u = (kr_up2_back){ .in = w->n[0], .outs = w->n[1] };
    kr_auto float *data = kr_alloc((size_t)(u->in * u->outs), sizeof *data);
    kr_tensor one = { .name = w->name, .dims = 4, .n = { w->n[1], w->n[0], 1, 1 }, .data = data };
    for (int i = 0; data && i < 4; i++) {
        for (long c = 0; c < u->in; c++)
            for (long o = 0; o < u->outs; o++)
                data[o * u->in + c] = w->data[(c * u->outs + o) * 4 + i];
        if (!(u->place[i] = kr_conv_back_new(&one, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL)))
            break;
    }
    if (!u->place[3])
        kr_up2_back_unref(&u);
    return u;
}

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

static void *up_rooms(const kr_up2_back *u, long h, long w, bool norm, kr_map *m, kr_tensor *one, lay_room *room)
{
    m[EVEN] = map_in(room, u->outs, 2 * h, 2 * w, 0);
    m[PART] = map_in(room, u->outs, h, w, 0);
    if (norm)
        m[DE] = map_in(room, u->outs, 2 * h, 2 * w, 0);
    *one = (kr_tensor){ .dims = 4, .n = { u->outs, u->in, 1, 1 }, .data = room_for(room, (size_t)(u->in * u->outs) * sizeof(float)) };
    return room_for(room, conv_back_scratch(u->place[0], h, w));
}

size_t up2_back_scratch(const kr_up2_back *u, long h, long w, bool norm)
{
    lay_room room = { NULL, 0 };
    kr_map m[UPS];
    kr_tensor one;
    up_rooms(u, h, w, norm, m, &one, &room);
    return room.used;
}

int kr_up2_backward(kr_up2_back *u, const kr_up2 *normed, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *dy)
{
    kr_auto void *scratch = kr_alloc(up2_back_scratch(u, x->h, x->w, normed), 1);
    kr_auto double *scale = normed ? kr_alloc((size_t)(16 * dy->blocks), sizeof *scale) : NULL;
    kr_map *y = normed ? kr_map_new(dy->c, dy->h, dy->w, 0) : NULL;
    bool good = scratch && (!normed || (scale && y));
    if (good && normed)
        up2_run(normed, y, x, true, scale);
    if (good)
        up2_back_run(u, dx, dweight, x, y, scale, dy, scratch);
    kr_map_unref(&y);
    return good ? 0 : kr_error_code();
}

void up2_back_run(const kr_up2_back *u, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *y, const double *scale, const kr_map *dy, void *scratch)
{
    kr_assert(x->c == u->in && dy->c == u->outs && dy->h / 2 == x->h && dy->w / 2 == x->w && (!dx || (dx->c == x->c && dx->h == x->h && dx->w == x->w)));
    kr_assert(!dweight || kr_tensor_count(dweight) == 4 * u->in * u->outs);
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
        back_zero(d);
        norm_back_run(d, &even, scale, &m[EVEN], KR_ACT_LEAKY);
    }
    for (int i = 0; i < 4; i++) {
        for (long b = 0; b < d->blocks; b++)
            for (long r = 0; r < x->h; r++)
                for (long k = 0; k < x->w; k++)
                    memcpy(kr_map_at(&m[PART], b, r, k), kr_map_at(d, b, 2 * r + i / 2, 2 * k + i % 2), 16 * sizeof(float));
        memset(one.data, 0, (size_t)(u->in * u->outs) * sizeof(float));
        conv_back_run(u->place[i], dx ? &dx : NULL, dweight ? &one : NULL, NULL, &x, NULL, &m[PART], inner);
        for (long c = 0; c < u->in && dweight; c++)
            for (long o = 0; o < u->outs; o++)
                dweight->data[(c * u->outs + o) * 4 + i] += one.data[o * u->in + c];
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
                          j->sum[b], j->along[b], 16 * j->x->w);
    return 0;
}

static double total(const struct norm *j, long b, int which, int l)
{
    double sum = 0;
    for (int band = 0; band < BANDS; band++)
        sum += j->part[b][band][which][l];
    return sum;
}

/* scale: of each channel, x then is what the norm and the activation gave; NULL: x is what they were given. */
static void norm_backward(kr_map *dx, const kr_map *x, const double *scale, const kr_map *dy, enum kr_act act)
{
    kr_assert(act != KR_ACT_PRELU && dx != dy && dx->c == x->c && dx->h == x->h && dx->w == x->w && dy->c == x->c && dy->h == x->h && dy->w == x->w);
    struct norm j = { .dx = dx, .x = x, .dy = dy, .low = 1, .slope = slope_of(act, 0) };
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
