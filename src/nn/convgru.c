/* convgru.c: DIRECT's Conv2dGRU and the networks that start its states (NETWORKS 1.1, 1.2). */
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LAYERS = 8 };
struct convgru {
    int layers, dense;                       /* dense: how many earlier layers each convolution also reads */
    long hidden;
    bool normalised;                         /* standardises real and imaginary part around the whole      */
    kr_conv *conv[LAYERS + 1];
    kr_cell *cell[LAYERS];
    const convgru *lender;                   /* whose maps this one works in; NULL: its own                */
    struct rooms *rooms;
};
struct rooms { kr_map *feature[LAYERS + 1], *rectified; };   /* what the convolutions gave (kept for dense); relu(h') */

long convgru_layers(const convgru *g) { return g->layers; }
long convgru_hidden(const convgru *g) { return g->hidden; }
long convgru_halo(const convgru *g) { return kr_conv_halo(g->conv[0]); }

static void drop_maps(struct rooms *r)
{
    for (int i = 0; i <= LAYERS; i++)
        kr_map_unref(&r->feature[i]);
    kr_map_unref(&r->rectified);
}

void convgru_unref(convgru **pg)
{
    convgru *g = *pg;
    if (!g)
        return;
    for (int i = 0; i <= LAYERS; i++)
        kr_conv_unref(&g->conv[i]);
    for (int i = 0; i < LAYERS; i++)
        kr_cell_unref(&g->cell[i]);
    if (!g->lender && g->rooms)
        drop_maps(g->rooms);
    if (!g->lender)
        kr_free(g->rooms);
    kr_free_at(pg);
}

bool convgru_alike(const convgru *a, const convgru *b)
{
    bool same = a->layers == b->layers && a->hidden == b->hidden && a->dense == b->dense;
    for (int i = 0; same && i <= a->layers; i++)
        same = kr_conv_halo(a->conv[i]) == kr_conv_halo(b->conv[i]);
    return same;
}

void convgru_borrow(convgru *g, const convgru *from)
{
    if (g == from || !convgru_alike(g, from))
        return;
    drop_maps(g->rooms);
    kr_free(g->rooms);
    g->lender = from;
    g->rooms = from->rooms;
}

/* The key of a convolution inside a Sequential: index 1 behind a padding or norm module, else 0. */
static const kr_tensor *pick(const kr_weights *w, const char *prefix, const char *part, int i, const char *what)
{
    const kr_tensor *t = net_maybe(w, "%s%s.%d.1.%s", prefix, part, i, what);
    return t ? t : net_maybe(w, "%s%s.%d.0.%s", prefix, part, i, what);
}

convgru *convgru_new(const kr_weights *w, const char *given, long in)
{
    char prefix[200];
    convgru *g = kr_alloc_zero(1, sizeof *g);
    if (!g)
        return NULL;
    g->rooms = kr_alloc_zero(1, sizeof *g->rooms);
    if (!g->rooms) {
        convgru_unref(&g);
        return NULL;
    }
    snprintf(prefix, sizeof prefix, "%sconvgru.", given);
    g->normalised = pick(w, prefix, "conv_blocks", 0, "weight");
    if (!g->normalised)
        snprintf(prefix, sizeof prefix, "%s", given);
    while (g->layers < LAYERS && pick(w, prefix, "reset_gates", g->layers, "weight"))
        g->layers++;
    const kr_tensor *first = pick(w, prefix, "conv_blocks", 0, "weight");
    bool good = first && g->layers;
    if (good)
        good = net_shape(first, 0, in, 0);
    else
        kr_fail(KR_EFORMAT, "the weights have no convolutional GRU under '%s'", prefix);
    g->hidden = good ? first->n[0] : 0;
    const kr_tensor *second = good ? pick(w, prefix, "conv_blocks", 1, "weight") : NULL;
    if (second && second->dims == 4 && second->n[1] > g->hidden)
        for (int i = 1; i <= g->layers; i++) {       /* channels (1 + min(i, d)) C tell d */
            const kr_tensor *t = pick(w, prefix, "conv_blocks", i, "weight");
            if (t && t->dims == 4 && t->n[1] / g->hidden - 1 > g->dense)
                g->dense = (int)(t->n[1] / g->hidden) - 1;
        }
    if (good && net_number(w, "dense_connect", g->dense) != g->dense)
        good = !kr_fail(KR_EFORMAT, "dense_connect is %s, the weights have %d", net_word(w, "dense_connect", ""), g->dense);
    for (int i = 0; good && i <= g->layers; i++) {
        long split[LAYERS];
        int maps = 1 + (i < g->dense ? i : g->dense);
        for (int s = 0; s < maps; s++)
            split[s] = g->hidden;
        const kr_tensor *t = pick(w, prefix, "conv_blocks", i, "weight");
        if (!t)
            kr_fail(KR_EFORMAT, "the weights lack '%sconv_blocks.%d'", prefix, i);
        good = t && net_shape(t, i < g->layers ? g->hidden : 2, i ? maps * g->hidden : in, 0);
        if (good && !i)
            split[0] = in;
        good = good && (maps <= 4 || kr_fail(KR_EFORMAT, "'%s' is connected more densely than to 3 earlier layers", prefix) == 0) && (g->conv[i] = kr_conv_new(t, pick(w, prefix, "conv_blocks", i, "bias"), i == 1 ? 2 : 1, KR_PAD_REPLICATE,
                                                           i < g->layers ? KR_ACT_RELU : KR_ACT_NONE, maps, split));
    }
    for (int i = 0; good && i < g->layers; i++) {
        static const char *const gate[3] = { "update_gates", "reset_gates", "out_gates" };
        const kr_tensor *t[3], *b[3];
        for (int k = 0; k < 3; k++) {
            t[k] = pick(w, prefix, gate[k], i, "weight");
            b[k] = pick(w, prefix, gate[k], i, "bias");
        }
        good = (g->cell[i] = kr_cell_new(KR_CELL_GRU_DIRECT, t, b, net_maybe(w, "%sreset_gates.%d.1.weight", prefix, i) != NULL));
    }
    /* Instance norms divide features by their deviation, which may be small: what was rounded before becomes large. */
    for (int i = 0; good && i < g->layers && net_maybe(w, "%sreset_gates.0.1.weight", prefix); i++)
        kr_conv_exact(g->conv[i]);
    for (int i = 0; good && net_bf16(w) && i <= g->layers; i++)
        good = !kr_conv_bf16(g->conv[i]) && (i == g->layers || !kr_cell_bf16(g->cell[i]));
    if (!good)
        convgru_unref(&g);
    return g;
}

/* Maps for the size of `in`; made again only when the size changes. */
static int maps_for(convgru *g, const kr_map *in)
{
    struct rooms *r = g->rooms;
    if (r->rectified && r->rectified->h == in->h && r->rectified->w == in->w)
        return 0;
    drop_maps(r);
    long halo = 0;
    for (int i = 1; i <= g->layers; i++)
        halo = kr_conv_halo(g->conv[i]) > halo ? kr_conv_halo(g->conv[i]) : halo;
    /* Without dense connections one feature map serves all layers in turn. */
    for (int i = 0; i < (g->dense ? g->layers : 1); i++)
        if (!(r->feature[i] = kr_map_new(g->hidden, in->h, in->w, g->dense ? halo : 0)))
            return kr_error_code();
    r->rectified = kr_map_new(g->hidden, in->h, in->w, halo);
    return r->rectified ? 0 : kr_error_code();
}

/* Mean and unbiased standard deviation of channel c; then (x - mean) / std, or back. */
static void statistics(const kr_map *m, long c, double *mean, double *std)
{
    double s = 0, q = 0, n = (double)(m->h * m->w);
    for (int pass = 0; pass < 2; pass++)
        for (long y = 0; y < m->h; y++) {
            const float *p = kr_map_at(m, c / 16, y, 0) + c % 16;
            for (long x = 0; x < m->w; x++)
                if (!pass)
                    s += p[16 * x];
                else
                    q += (p[16 * x] - s / n) * (p[16 * x] - s / n);
        }
    *mean = s / n;
    *std = sqrt(q / (n - 1));
}

static void affine(kr_map *m, long c, double scale, double shift)
{
    for (long y = 0; y < m->h; y++) {
        float *p = kr_map_at(m, c / 16, y, 0) + c % 16;
        for (long x = 0; x < m->w; x++)
            p[16 * x] = (float)(p[16 * x] * scale + shift);
    }
}

int convgru_forward(convgru *g, kr_map *out, kr_map *in, kr_map *const *h)
{
    if (maps_for(g, in))
        return kr_error_code();
    struct rooms *r = g->rooms;
    double mean[2] = { 0 }, std[2] = { 1, 1 };
    for (int c = 0; g->normalised && c < 2; c++) {       /* two channels: each is a group of its own */
        statistics(in, c, &mean[c], &std[c]);
        if (std[c] > 0)
            affine(in, c, 1 / std[c], -mean[c] / std[c]);
    }
    kr_map *x = in;
    for (int i = 0; i <= g->layers; i++) {
        kr_map *read[LAYERS] = { x };
        int maps = 1;
        if (i && g->dense) {                            /* the last d features, then x */
            int d = i < g->dense ? i : g->dense;
            for (maps = 0; maps < d; maps++)
                read[maps] = r->feature[i - d + maps];
            read[maps++] = x;
        }
        kr_map *y = i == g->layers ? out : r->feature[g->dense ? i : 0];
        kr_conv_forward(g->conv[i], y, read);
        if (i == g->layers)
            break;
        if (kr_cell_forward(g->cell[i], h[i], y, r->rectified))
            return kr_error_code();
        x = r->rectified;
    }
    for (int c = 0; g->normalised && c < 2; c++) {
        affine(out, c, std[c], mean[c]);
        affine(in, c, std[c], mean[c]);                 /* the caller's map is as it was, to rounding */
    }
    return 0;
}

/* ---- States ---- */
int states_new(kr_map **h, long layers, long c, long rows, long columns)
{
    for (long i = 0; i < layers; i++)
        if (!(h[i] = kr_map_new(c, rows, columns, 0)))
            return kr_error_code();
    return 0;
}

void states_clear(kr_map **h, long layers)
{
    for (long i = 0; i < layers; i++)
        kr_map_unref(&h[i]);
}

struct initialiser {
    int depth, outs, multiscale;
    kr_conv *conv[LAYERS], *out[LAYERS];
    kr_map *first, *feature[LAYERS + 1];     /* for one image size, made again only when that changes */
};

void initialiser_unref(initialiser **pr)
{
    initialiser *r = *pr;
    if (!r)
        return;
    for (int i = 0; i < LAYERS; i++) {
        kr_conv_unref(&r->conv[i]);
        kr_conv_unref(&r->out[i]);
    }
    kr_map_unref(&r->first);
    states_clear(r->feature, LAYERS);
    kr_free_at(pr);
}

initialiser *initialiser_new(const kr_weights *w, const char *prefix, const convgru *g)
{
    initialiser *r = kr_alloc_zero(1, sizeof *r);
    if (!r)
        return NULL;
    long dilation[LAYERS] = { 1, 1, 2, 4, 1, 1, 1, 1 }, channels[LAYERS] = { 0 };
    net_list(w, "initializer_dilations", "1 1 2 4", dilation, LAYERS);
    bool good = true;
    for (; good && r->depth < LAYERS && pick(w, prefix, "conv_blocks", r->depth, "weight"); r->depth++) {
        const kr_tensor *t = pick(w, prefix, "conv_blocks", r->depth, "weight");
        channels[r->depth] = t->n[0];
        good = net_shape(t, 0, r->depth ? channels[r->depth - 1] : 2, 0) && (r->conv[r->depth] = kr_conv_new(t, pick(w, prefix, "conv_blocks", r->depth, "bias"), (int)dilation[r->depth], KR_PAD_REPLICATE, KR_ACT_RELU, 1, NULL));
    }
    for (; good && r->outs < LAYERS && pick(w, prefix, "out_blocks", r->outs, "weight"); r->outs++) {
        const kr_tensor *t = pick(w, prefix, "out_blocks", r->outs, "weight");
        long in = t->dims == 4 ? t->n[1] : 0, sum = 0, split[LAYERS];
        int k = 0;
        while (k < r->depth && sum < in)                /* how many of the last features are read: their channels tell */
            sum += channels[r->depth - 1 - k++];
        for (int s = 0; s < k; s++)
            split[s] = channels[r->depth - k + s];
        if (r->outs && r->multiscale != k)
            sum = -1;
        r->multiscale = k;
        good = net_shape(t, g->hidden, 0, 1) && sum == in && k <= 4 && (r->out[r->outs] = kr_conv_new(t, pick(w, prefix, "out_blocks", r->outs, "bias"), 1, KR_PAD_ZERO, KR_ACT_RELU, k, split));
        if (!good && !kr_error_code())
            kr_fail(KR_EFORMAT, "'%sout_blocks.%d' reads %ld channels, which no number of features gives", prefix, r->outs, in);
    }
    if (good && (!r->depth || r->outs != g->layers))
        good = !kr_fail(KR_EFORMAT, "the initialiser under '%s' starts %d states from %d features; the network has %d", prefix, r->outs, r->depth, g->layers);
    if (good && net_number(w, "initializer_multiscale", r->multiscale) != r->multiscale)
        good = !kr_fail(KR_EFORMAT, "initializer_multiscale is %s, the weights have %d", net_word(w, "initializer_multiscale", ""), r->multiscale);
    /* What reads k-space, whose numbers differ by thousands, keeps its products. */
    for (int i = 0; good && net_bf16(w) && i < r->outs; i++)
        good = !kr_conv_bf16(r->out[i]);
    if (!good)
        initialiser_unref(&r);
    return r;
}

static int features_for(initialiser *r, const kr_map *in)
{
    if (r->first && r->first->h == in->h && r->first->w == in->w && r->feature[r->depth - 1])
        return 0;
    kr_map_unref(&r->first);
    states_clear(r->feature, LAYERS);
    r->first = kr_map_new(in->c, in->h, in->w, kr_conv_halo(r->conv[0]));
    for (int i = 0; r->first && i < r->depth; i++)
        if (!(r->feature[i] = kr_map_new(kr_conv_outs(r->conv[i]), in->h, in->w, i + 1 < r->depth ? kr_conv_halo(r->conv[i + 1]) : 0)))
            return kr_error_code();
    return r->first ? 0 : kr_error_code();
}

int initialiser_forward(initialiser *r, kr_map *const *h, const kr_map *in)
{
    if (features_for(r, in))
        return kr_error_code();
    /* The input again, with the halo that the first convolution wants. */
    for (long y = 0; y < in->h; y++)
        for (long b = 0; b < in->blocks; b++)
            memcpy(kr_map_at(r->first, b, y, 0), kr_map_at(in, b, y, 0), (size_t)(16 * in->w) * sizeof(float));
    for (int i = 0; i < r->depth; i++)
        kr_conv_forward(r->conv[i], r->feature[i], i ? &r->feature[i - 1] : &r->first);
    for (int i = 0; i < r->outs; i++)
        kr_conv_forward(r->out[i], h[i], r->feature + r->depth - r->multiscale);
    return 0;
}
