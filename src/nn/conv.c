/* conv.c: convolutions: weights are packed once in the order in which the kernel reads them; rows are spread over the
 * threads. */
#include "conv.h"
#include <string.h>

void kr_conv_unref(kr_conv **pc)
{
    if (!*pc)
        return;
    kr_free((*pc)->w);
    kr_free((*pc)->half);
    kr_free((*pc)->bias);
    kr_free_at(pc);
}

void kr_conv_exact(kr_conv *c)
{
    c->exact = true;
    c->wino = NULL;
    kr_free_at(&c->half);
}

long kr_conv_halo(const kr_conv *c) { return c->dilation * (c->k / 2); }

static void pack_thin(const kr_conv *c, const float *weight, long in, float *to)
{
    long first = 0;
    for (int s = 0; s < c->maps; first += c->split[s++])
        for (long b = 0; 16 * b < c->split[s]; b++)
            for (long t = 0; t < (long)c->k * c->k; t++)
                for (long o = 0; o < c->outs; o++)
                    for (long i = 16 * b; i < 16 * b + 16; i++)
                        *to++ = i < c->split[s] ? weight[(o * in + first + i) * c->k * c->k + t] : 0;
}

/* Where Winograd's form is faster by measurement, whatever the size of the image; a rule of the shape alone, so that results do
 * not depend on the machine's mood. */
static bool pays(long ins, long outs) { return ins >= 8 && outs > 4; }

kr_conv conv_plan(long outs, long in, int k)
{
    return (kr_conv){ .kern = nn_kern_best(), .outs = outs, .blocks = (outs + 15) / 16, .k = k, .dilation = 1, .maps = 1, .split = { in }, .pad = KR_PAD_ZERO, .act = KR_ACT_NONE, .slope = 0.2f,
                      .thin = outs <= 4, .wino = k == 3 && pays(in, outs) ? wino_kern_best() : NULL };
}

long conv_ins(const kr_conv *c)
{
    long ins = 0;
    for (int s = 0; s < c->maps; s++)
        ins += c->split[s];
    return ins;
}

long conv_room(const kr_conv *c)
{
    long taps = (long)c->k * c->k, room = c->thin ? 0 : conv_ins(c) * taps * 16 * c->blocks;
    for (int s = 0; c->thin && s < c->maps; s++)
        room += (c->split[s] + 15) / 16 * 16 * taps * c->outs;
    return room;
}

/* Weights from group to group lie at equal distances but for the last, smaller one. */
static float *group_weights(const kr_conv *c, long g) { return c->w + g * c->kern->group * 16 * conv_ins(c) * c->k * c->k; }

struct packing { kr_conv *c; const float *weight; long in; };

/* Weights of a group of output blocks as the kernel reads them. */
static int pack_group(void *self, long g)
{
    const struct packing *j = self;
    const kr_conv *c = j->c;
    long from = 16 * g * c->kern->group, left = c->blocks - g * c->kern->group, outs = 16 * (left < c->kern->group ? left : c->kern->group), taps = (long)c->k * c->k, first = 0;
    float *to = group_weights(c, g);
    for (int s = 0; s < c->maps; first += c->split[s++])
        for (long b = 0; 16 * b < c->split[s]; b++) {
            long n = c->split[s] - 16 * b < 16 ? c->split[s] - 16 * b : 16;
            for (long o = 0; o < outs; o++) {
                const float *w = j->weight + ((from + o) * j->in + first + 16 * b) * taps;       /* one behind the other as they are read */
                for (long i = 0; i < n; i++)
                    for (long t = 0; t < taps; t++)
                        to[(t * n + i) * outs + o] = from + o < c->outs ? *w++ : 0;
            }
            to += taps * n * outs;
        }
    return 0;
}

void conv_fill(kr_conv *c, const float *weight, const float *bias)
{
    for (long o = 0; bias && o < c->outs; o++)
        c->bias[o] = bias[o];
    struct packing j = { c, weight, conv_ins(c) };
    if (c->thin)
        pack_thin(c, weight, j.in, c->w);
    else if (kr_for((c->blocks + c->kern->group - 1) / c->kern->group, pack_group, &j))
        kr_assert(0 && "copying cannot be refused");
}

kr_conv *kr_conv_new(const kr_tensor *weight, const kr_tensor *bias, int dilation, enum kr_pad pad, enum kr_act act, int maps,
                     const long *split)
{
    if (!weight)
        return NULL;
    long in = weight->dims == 4 ? weight->n[1] : 0, k = weight->dims == 4 ? weight->n[2] : 0, sum = 0;
    for (int s = 0; split && s < maps; s++)
        sum += split[s];
    if (in < 1 || weight->n[0] < 1 || k != weight->n[3] || !(k & 1) || k > 31 || dilation < 1 || dilation > 64 || maps < 1 || maps > KR_SEGMENTS
        || (split && sum != in) || (!split && maps != 1)) {
        kr_fail(KR_ESHAPE, "the tensor '%s' is no convolution of %ld channels with an odd square kernel", weight->name, split ? sum : in);
        return NULL;
    }
    if (bias && kr_tensor_count(bias) != weight->n[0]) {
        kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers, the convolution gives %ld channels", bias->name, kr_tensor_count(bias), weight->n[0]);
        return NULL;
    }
    kr_conv *c = kr_alloc_zero(1, sizeof *c);
    if (!c)
        return NULL;
    *c = conv_plan(weight->n[0], in, (int)k);
    c->dilation = dilation;
    c->maps = maps;
    c->pad = pad;
    c->act = act;
    for (int s = 0; s < maps; s++)
        c->split[s] = split ? split[s] : in;
    long room = conv_room(c);
    c->w = kr_alloc((size_t)room, sizeof(float));
    c->bias = kr_alloc_zero((size_t)(16 * c->blocks), sizeof(float));
    if (!c->w || !c->bias) {
        kr_conv_unref(&c);
        return NULL;
    }
    conv_fill(c, weight->data, bias ? bias->data : NULL);
    return c;
}

/* The nearest bfloat16 number, ties to even. */
static uint16_t narrow(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v != v)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* n rows of `outs` weights, two and two together; an odd last one with zeros. */
static uint16_t *pack_pairs(uint16_t *to, const float **w, long n, long outs)
{
    for (long k = 0; k < n; k += 2)
        for (long o = 0; o < outs; o++) {
            *to++ = narrow((*w)[k * outs + o]);
            *to++ = k + 1 < n ? narrow((*w)[(k + 1) * outs + o]) : 0;
        }
    *w += n * outs;
    return to;
}

int kr_conv_bf16(kr_conv *c)
{
    if (!nn_bf16_built || !kr_cpu_bf16())
        return kr_fail(KR_EREFUSED, "this processor has no bfloat16 arithmetic (AVX512-BF16): use float32");
    long pairs = 0, stretch = 0, ins = 0, taps = (long)c->k * c->k;
    for (int s = 0; s < c->maps; s++) {
        ins += c->split[s];
        pairs += (c->split[s] / 16 * 8 + (c->split[s] % 16 + 1) / 2) * taps;
        stretch += (c->split[s] + 15) / 16 * 8 * c->k * (NN_BF16_PIXELS + (c->k - 1) * c->dilation);
    }
    if (c->wino && ins % 2 == 0)
        c->wino = &wino_kern_bf16;
    if (c->half || c->wino || c->thin || c->exact || stretch > NN_BF16_ROOM)
        return 0;                    /* faster, or more exact on purpose, as it is */
    uint16_t *to = c->half = kr_alloc((size_t)(pairs * 32 * c->blocks), sizeof *to);
    if (!to)
        return kr_error_code();
    const float *w = c->w;
    for (long b = 0; b < c->blocks; b += c->kern->group) {
        long outs = 16 * (c->blocks - b < c->kern->group ? c->blocks - b : c->kern->group);
        for (int s = 0; s < c->maps; s++)
            for (long i = 0; i < c->split[s]; i += 16)
                for (long t = 0; t < taps; t++)
                    to = pack_pairs(to, &w, c->split[s] - i < 16 ? c->split[s] - i : 16, outs);
    }
    return 0;
}

float *conv_weight(const kr_conv *c, long o, int s, long i, long tap, long *in, long *out)
{
    long taps = (long)c->k * c->k, g = o / 16 / c->kern->group, left = c->blocks - g * c->kern->group, first = 0;
    if (c->thin) {
        *in = 1;
        *out = 16;
        for (int q = 0; q < s; q++)
            first += (c->split[q] + 15) / 16 * 16;
        return c->w + (first + i / 16 * 16) * taps * c->outs + (tap * c->outs + o) * 16 + i % 16;
    }
    long wide = 16 * (left < c->kern->group ? left : c->kern->group), rest = c->split[s] - i / 16 * 16;
    *in = wide;
    *out = 1;
    for (int q = 0; q < s; q++)
        first += c->split[q];
    return group_weights(c, g) + (first + i / 16 * 16) * taps * wide + (tap * (rest < 16 ? rest : 16) + i % 16) * wide + o - 16 * g * c->kern->group;
}

static const uint16_t *half_weights(const kr_conv *c, long g)
{
    long pairs = 0;
    for (int s = 0; s < c->maps; s++)
        pairs += c->split[s] / 16 * 8 + (c->split[s] % 16 + 1) / 2;
    return c->half + g * c->kern->group * 32 * pairs * c->k * c->k;
}

void conv_run_row(const kr_conv *c, const conv_row *at)
{
    conv_row r = *at;
    r.segments = c->maps;
    r.k = c->k;
    r.dilation = c->dilation;
    r.act = c->act;
    r.slope = c->slope;
    for (int s = 0; s < c->maps; s++)
        r.in[s].c = (int)c->split[s];
    if (c->thin) {
        r.w = c->w;
        r.bias = c->bias;
        c->kern->conv_thin(&r, (int)c->outs);
        return;
    }
    for (long b = 0, g = 0; b < c->blocks; b += c->kern->group, g++) {
        int ob = (int)(c->blocks - b < c->kern->group ? c->blocks - b : c->kern->group);
        r.w = group_weights(c, g);
        r.bias = c->bias + 16 * b;
        r.out = at->out + b * at->out_block;
        if (c->half) {
            r.half = half_weights(c, g);
            nn_conv_bf16(&r, ob);
            continue;
        }
        (c->exact ? c->kern->conv_exact : c->kern->conv)(&r, ob);
    }
}

struct job { const kr_conv *c; kr_map *y; kr_map *const *x; };

static int one_row(void *self, long y)
{
    const struct job *j = self;
    const kr_conv *c = j->c;
    long e = kr_conv_halo(c);
    conv_row r = { .out = kr_map_at(j->y, 0, y, 0), .out_block = j->y->block, .step = 16, .px = j->y->w };
    for (int s = 0; s < c->maps; s++) {
        r.in[s].data = kr_map_at(j->x[s], 0, y - e, -e);
        r.in[s].block = j->x[s]->block;
        r.in[s].row = j->x[s]->row;
    }
    conv_run_row(c, &r);
    return 0;
}

/* The same in Winograd's form, a piece of tiles at a time. */
struct wino_job { wino_conv conv; const wino_kern *kern; long tiles, pieces, room; float *scratch, *sums, *v; };

static int one_unit(void *self, long i)
{
    const struct wino_job *j = self;
    j->kern->weights(&j->conv, i);
    return 0;
}

static int one_piece(void *self, long i)
{
    const struct wino_job *j = self;
    long first = i * j->tiles / j->pieces, end = (i + 1) * j->tiles / j->pieces;
    j->kern->piece(&j->conv, first, end - first, j->scratch + kr_worker() * j->room, j->sums ? j->sums + i * WINO_SUMS * j->conv.blocks : NULL);
    return 0;
}

/* So few tiles that transformed weights would be read once or twice: they are used as they are made. */
enum { TILES_AT_ONCE = 4 };

static int few_in(void *self, long i)
{
    const struct wino_job *j = self;
    long t = i * TILES_AT_ONCE, n = j->tiles - t < TILES_AT_ONCE ? j->tiles - t : TILES_AT_ONCE;
    j->kern->few_in(&j->conv, t, n, j->v);
    return 0;
}

static int few_out(void *self, long i)
{
    const struct wino_job *j = self;
    j->kern->few_out(&j->conv, i, j->tiles, j->v, j->scratch + kr_worker() * j->room, j->sums ? j->sums + i * j->kern->group * WINO_SUMS : NULL);
    return 0;
}

static bool few(const kr_conv *c, long h, long w) { return wino_tiles(h, w, c->dilation) <= WINO_TILES; }

/* Floats of scratch: a piece for each thread; sums of all pieces; then come the weights, or (few tiles) the transformed inputs. */
static void wino_rooms(const kr_conv *c, long h, long w, long *room, long *all, long *ins)
{
    *ins = conv_ins(c);
    if (few(c, h, w)) {
        *room = (wino_few_room() + 15) / 16 * 16;
        *all = WINO_SUMS * c->blocks;
        return;
    }
    *room = (wino_room(wino_wide(c->maps, c->split), c->blocks) + 15) / 16 * 16;
    *all = WINO_SUMS * c->blocks * wino_pieces(wino_tiles(h, w, c->dilation));
}

size_t conv_scratch(const kr_conv *c, long h, long w)
{
    long room, all;
    wino_conv v = { .blocks = c->blocks };
    if (!c->wino)
        return 0;
    wino_rooms(c, h, w, &room, &all, &v.ins);
    size_t last = few(c, h, w) ? (size_t)(36 * wino_apart(wino_wide(c->maps, c->split))) * sizeof(float) : wino_weights_room(&v, c->wino);
    return (size_t)(kr_threads() * room + all) * sizeof(float) + last;
}

size_t conv_bytes(const kr_conv *c)
{
    long ins = 0;
    for (int s = 0; s < c->maps; s++)
        ins += (c->split[s] + 15) / 16 * 16;
    return (size_t)(ins * c->k * c->k * (c->thin ? c->outs : 16 * c->blocks)) * (c->half ? 6 : 4);
}

static void wino(const kr_conv *c, kr_map *y, kr_map *const *x, double *sums, void *scratch)
{
    struct wino_job j = { .conv = { .segments = c->maps, .h = y->h, .w = y->w, .halo = kr_conv_halo(c), .dilation = c->dilation, .blocks = c->blocks, .half = c->outs % 16 && c->outs % 16 <= 8,
                                    .weight = c->w, .bias = c->bias, .out = y->data, .out_block = y->block, .out_row = y->row, .act = c->act, .slope = c->slope },
                          .kern = c->wino, .tiles = wino_tiles(y->h, y->w, c->dilation) };
    for (int s = 0; s < c->maps; s++) {
        j.conv.in[s].data = x[s]->data;
        j.conv.in[s].block = x[s]->block;
        j.conv.in[s].row = x[s]->row;
        j.conv.in[s].c = (int)c->split[s];
        j.conv.ins += c->split[s];
    }
    j.pieces = wino_pieces(j.tiles);
    j.conv.wide = wino_wide(c->maps, c->split);
    long all, ins;
    wino_rooms(c, y->h, y->w, &j.room, &all, &ins);
    j.scratch = scratch;
    j.sums = sums ? j.scratch + kr_threads() * j.room : NULL;
    j.conv.u = j.v = j.scratch + kr_threads() * j.room + all;
    int e;
    if (few(c, y->h, y->w)) {
        j.pieces = 1;
        e = kr_for((j.tiles + TILES_AT_ONCE - 1) / TILES_AT_ONCE, few_in, &j);
        e = e ? e : kr_for((c->blocks + c->wino->group - 1) / c->wino->group, few_out, &j);
    } else {
        e = kr_for(wino_units(&j.conv, c->wino->group), one_unit, &j);
        e = e ? e : kr_for(j.pieces, one_piece, &j);
    }
    kr_assert(!e);
    for (long i = 0; sums && i < WINO_SUMS * c->blocks; i++)
        sums[i] = 0;
    for (long p = 0; sums && p < j.pieces; p++)
        for (long i = 0; i < WINO_SUMS * c->blocks; i++)
            sums[i] += (double)j.sums[p * WINO_SUMS * c->blocks + i];
}

bool conv_run(const kr_conv *c, kr_map *y, kr_map *const *x, double *sums, void *scratch)
{
    kr_assert(y->c == c->outs && (!sums || c->act == KR_ACT_NONE));
    for (int s = 0; s < c->maps; s++) {
        kr_assert(x[s] != y && x[s]->c == c->split[s] && x[s]->h == y->h && x[s]->w == y->w && x[s]->halo >= kr_conv_halo(c));
        if (c->k > 1)
            kr_map_pad(x[s], c->pad);
    }
    if (c->wino && scratch) {
        wino(c, y, x, sums, scratch);
        return sums;
    }
    struct job j = { c, y, x };
    if (kr_for(y->h, one_row, &j))
        kr_assert(0 && "a convolution cannot be refused");
    return false;
}

void kr_conv_forward(const kr_conv *c, kr_map *y, kr_map *const *x)
{
    size_t bytes = conv_scratch(c, y->h, y->w);
    kr_auto void *scratch = bytes ? kr_alloc(bytes, 1) : NULL;       /* none: told by kr_mem_refused; the plain form wants no memory */
    conv_run(c, y, x, NULL, scratch);
}
