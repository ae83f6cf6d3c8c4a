/* normunet.c: the U-Net of fastMRI, DIRECT and ATOMMIC (NETWORKS 6), and NormUnet around it (5.1). */
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POOLS = 8 };
struct block { kr_conv *conv[2]; };                      /* [conv, norm, leaky] twice */
struct unet {
    int pools;
    struct block down[POOLS], bottom, up[POOLS];
    kr_up2 *lift[POOLS];
    kr_conv *last;
    const unet *lender;                                  /* whose maps this one works in; NULL: its own */
    struct rooms *rooms;
};
/* For one image size: per level the maps that live together. */
struct rooms {
    long h, w;
    kr_map *skip[POOLS], *pooled[POOLS + 1], *mid[POOLS + 1], *deep, *lifted[POOLS], *joined[POOLS];
    kr_map *in, *out;                                    /* real and imaginary part, where the network reads complex images */
};

static void drop_maps(struct rooms *r)
{
    for (int i = 0; i < POOLS; i++) {
        kr_map_unref(&r->skip[i]);
        kr_map_unref(&r->lifted[i]);
        kr_map_unref(&r->joined[i]);
    }
    for (int i = 0; i <= POOLS; i++) {
        kr_map_unref(&r->pooled[i]);
        kr_map_unref(&r->mid[i]);
    }
    kr_map_unref(&r->deep);
    kr_map_unref(&r->in);
    kr_map_unref(&r->out);
    r->h = r->w = 0;
}

static void block_clear(struct block *b)
{
    kr_conv_unref(&b->conv[0]);
    kr_conv_unref(&b->conv[1]);
}

void unet_unref(unet **pu)
{
    unet *u = *pu;
    if (!u)
        return;
    for (int i = 0; i < POOLS; i++) {
        block_clear(&u->down[i]);
        block_clear(&u->up[i]);
        kr_up2_unref(&u->lift[i]);
    }
    block_clear(&u->bottom);
    kr_conv_unref(&u->last);
    if (!u->lender && u->rooms)
        drop_maps(u->rooms);
    if (!u->lender)
        kr_free(u->rooms);
    kr_free_at(pu);
}

/* From `in` channels, and those of a skip connection, to outs (0: any). */
static bool block_new(struct block *b, const kr_weights *w, const char *prefix, long outs, long in, long skip)
{
    const kr_tensor *t0 = net_tensor(w, "%slayers.0.weight", prefix), *t1 = t0 ? net_tensor(w, "%slayers.4.weight", prefix) : NULL;
    if (!t1 || !net_shape(t0, outs, in + skip, 3) || !net_shape(t1, t0->n[0], t0->n[0], 3))
        return false;
    long split[2] = { in, skip };
    b->conv[0] = kr_conv_new(t0, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, skip ? 2 : 1, split);
    b->conv[1] = b->conv[0] ? kr_conv_new(t1, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL) : NULL;
    return b->conv[1];
}

long unet_pools(const unet *u) { return u->pools; }

unet *unet_new(const kr_weights *w, const char *prefix, long channels)
{
    unet *u = kr_alloc_zero(1, sizeof *u);
    if (!u)
        return NULL;
    char name[256];
    u->rooms = kr_alloc_zero(1, sizeof *u->rooms);
    if (!u->rooms) {
        unet_unref(&u);
        return NULL;
    }
    while (u->pools < POOLS && net_maybe(w, "%sdown_sample_layers.%d.layers.0.weight", prefix, u->pools))
        u->pools++;
    bool good = u->pools || kr_fail(KR_EFORMAT, "the weights have no U-Net under '%s'", prefix) == 0;
    for (int i = 0; good && i < u->pools; i++) {
        snprintf(name, sizeof name, "%sdown_sample_layers.%d.", prefix, i);
        good = block_new(&u->down[i], w, name, 0, i ? kr_conv_outs(u->down[i - 1].conv[1]) : channels, 0);
    }
    snprintf(name, sizeof name, "%sconv.", prefix);
    good = good && block_new(&u->bottom, w, name, 0, kr_conv_outs(u->down[u->pools - 1].conv[1]), 0);
    const struct block *low = &u->bottom;
    for (int i = 0; good && i < u->pools; i++) {
        bool last = i == u->pools - 1;
        snprintf(name, sizeof name, "%sup_conv.%d.%s", prefix, i, last ? "0." : "");
        long c = kr_conv_outs(u->down[u->pools - 1 - i].conv[1]);
        const kr_tensor *t = net_tensor(w, "%sup_transpose_conv.%d.layers.0.weight", prefix, i);
        good = net_shape(t, kr_conv_outs(low->conv[1]), c, 2) && (u->lift[i] = kr_up2_new(t)) && block_new(&u->up[i], w, name, c, c, c);
        low = &u->up[i];
    }
    if (good) {
        const kr_tensor *t = net_tensor(w, "%sup_conv.%d.1.weight", prefix, u->pools - 1), *b = t ? net_tensor(w, "%sup_conv.%d.1.bias", prefix, u->pools - 1) : NULL;
        good = b && net_shape(t, channels, kr_conv_outs(u->up[u->pools - 1].conv[1]), 1) && (u->last = kr_conv_new(t, b, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL));
    }
    if (!good)
        unet_unref(&u);
    return u;
}

static bool like(const struct block *a, const struct block *b)
{
    return kr_conv_outs(a->conv[0]) == kr_conv_outs(b->conv[0]) && kr_conv_outs(a->conv[1]) == kr_conv_outs(b->conv[1]);
}

void unet_borrow(unet *u, const unet *from)
{
    bool same = u->pools == from->pools && like(&u->bottom, &from->bottom);
    for (int i = 0; same && i < u->pools; i++)
        same = like(&u->down[i], &from->down[i]) && like(&u->up[i], &from->up[i]);
    if (!same || u == from)
        return;
    drop_maps(u->rooms);
    kr_free(u->rooms);
    u->lender = from;
    u->rooms = from->rooms;
}

static int maps_for(unet *u, long h, long w)
{
    struct rooms *r = u->rooms;
    if (r->h == h && r->w == w)
        return 0;
    drop_maps(r);
    if (h >> u->pools < 1 || w >> u->pools < 1 || (h >> u->pools) * (w >> u->pools) < 2)
        return kr_fail(KR_EREFUSED, "%ld x %ld pixels are too few for a U-Net with %d poolings: at least %d are wanted", h, w, u->pools, 2 << u->pools);
    bool good = true;
    long y = h, x = w;
    for (int i = 0; good && i <= u->pools; i++, y /= 2, x /= 2) {
        const struct block *b = i < u->pools ? &u->down[i] : &u->bottom;
        long c = kr_conv_outs(b->conv[1]);
        good = (r->mid[i] = kr_map_new(c, y, x, 1)) && (i == u->pools ? (r->deep = kr_map_new(c, y, x, 0)) != NULL
             : (r->skip[i] = kr_map_new(c, y, x, 1)) && (r->pooled[i] = kr_map_new(c, y / 2, x / 2, 1))
               && (r->lifted[i] = kr_map_new(c, y, x, 1)) && (r->joined[i] = kr_map_new(c, y, x, 0)));
    }
    if (!good)
        return kr_error_code();
    r->h = h;
    r->w = w;
    return 0;
}

/* in and out for complex images of that size. */
static int ends_for(unet *u, long h, long w)
{
    if (maps_for(u, h, w))
        return kr_error_code();
    struct rooms *r = u->rooms;
    r->in = r->in ? r->in : kr_map_new(2, h, w, 1);
    r->out = r->out || !r->in ? r->out : kr_map_new(2, h, w, 0);
    return r->out ? 0 : kr_error_code();
}

static void block_forward(const struct block *b, kr_map *y, kr_map *mid, kr_map *const *x)
{
    kr_conv_norm_forward(b->conv[0], mid, x, KR_ACT_LEAKY);
    kr_conv_norm_forward(b->conv[1], y, &mid, KR_ACT_LEAKY);
}

int unet_forward(unet *u, kr_map *y, kr_map *x, const kr_net_watch *watch)
{
    if (maps_for(u, x->h, x->w))
        return kr_error_code();
    struct rooms *r = u->rooms;
    int e = 0;
    for (int i = 0; i < u->pools; i++) {
        block_forward(&u->down[i], r->skip[i], r->mid[i], i ? &r->pooled[i - 1] : &x);
        kr_avg_pool2(r->pooled[i], r->skip[i]);
        e = e ? e : net_see_map(watch, r->skip[i], 0, 1, "down%d", i);
    }
    block_forward(&u->bottom, r->deep, r->mid[u->pools], &r->pooled[u->pools - 1]);
    e = e ? e : net_see_map(watch, r->deep, 0, 1, "bottleneck");
    kr_map *low = r->deep;
    for (int i = 0; i < u->pools; i++) {
        int level = u->pools - 1 - i;
        kr_up2_forward(u->lift[i], r->lifted[level], low, true);
        e = e ? e : net_see_map(watch, r->lifted[level], 0, 1, "up_transpose%d", i);
        kr_map *both[2] = { r->lifted[level], r->skip[level] };
        block_forward(&u->up[i], r->joined[level], r->mid[level], both);
        low = r->joined[level];
        if (i + 1 < u->pools)
            e = e ? e : net_see_map(watch, low, 0, 1, "up%d", i);
    }
    kr_conv_forward(u->last, y, &low);
    return e ? e : net_see_map(watch, y, 0, 1, "up%d", u->pools - 1);
}

/* ---- NormUnet ---- */

/* Bands of rows, spread over the threads; their sums are added in order. */
enum { BANDS = 16 };
struct ends { kr_map *map; kr_cfloat *y; const kr_cfloat *x; long h, w, top, left; double mean[2], std[2], part[BANDS][2]; };

static int sum_band(void *self, long b)
{
    struct ends *j = self;
    double s[2] = { 0 };
    for (long i = b * j->h / BANDS * j->w; i < (b + 1) * j->h / BANDS * j->w; i++) {
        s[0] += (double)kr_re(j->x[i]);
        s[1] += (double)kr_im(j->x[i]);
    }
    memcpy(j->part[b], s, sizeof s);
    return 0;
}

static int square_band(void *self, long b)
{
    struct ends *j = self;
    double s[2] = { 0 };
    for (long i = b * j->h / BANDS * j->w; i < (b + 1) * j->h / BANDS * j->w; i++) {
        double re = (double)kr_re(j->x[i]) - j->mean[0], im = (double)kr_im(j->x[i]) - j->mean[1];
        s[0] += re * re;
        s[1] += im * im;
    }
    memcpy(j->part[b], s, sizeof s);
    return 0;
}

static int put_band(void *self, long b)
{
    const struct ends *j = self;
    for (long i = b * j->h / BANDS; i < (b + 1) * j->h / BANDS; i++) {
        const kr_cfloat *x = j->x + i * j->w;
        float *to = kr_map_at(j->map, 0, i + j->top, j->left);
        for (long k = 0; k < j->w; k++, to += 16) {
            to[0] = (float)(((double)kr_re(x[k]) - j->mean[0]) / j->std[0]);
            to[1] = (float)(((double)kr_im(x[k]) - j->mean[1]) / j->std[1]);
        }
    }
    return 0;
}

static int get_band(void *self, long b)
{
    const struct ends *j = self;
    for (long i = b * j->h / BANDS; i < (b + 1) * j->h / BANDS; i++) {
        const float *from = kr_map_at(j->map, 0, i + j->top, j->left);
        for (long k = 0; k < j->w; k++, from += 16)
            j->y[i * j->w + k] = kr_c((float)((double)from[0] * j->std[0] + j->mean[0]), (float)((double)from[1] * j->std[1] + j->mean[1]));
    }
    return 0;
}

/* Mean and unbiased standard deviation of real and imaginary parts. */
static int statistics(struct ends *j)
{
    double n = (double)(j->h * j->w);
    int e = kr_for(BANDS, sum_band, j);
    for (int b = 0; b < BANDS; b++)
        for (int c = 0; c < 2; c++)
            j->mean[c] += j->part[b][c] / n;
    e = e ? e : kr_for(BANDS, square_band, j);
    for (int c = 0; c < 2; c++) {
        double q = 0;
        for (int b = 0; b < BANDS; b++)
            q += j->part[b][c];
        j->std[c] = sqrt(q / (n - 1));
        if (!(j->std[c] > 0))
            j->std[c] = 1;                  /* a constant image: nothing to learn from, and nothing to divide by */
    }
    return e;
}

int norm_unet(unet *u, kr_cfloat *y, const kr_cfloat *x, long h, long w)
{
    long H = ((h - 1) | 15) + 1, W = ((w - 1) | 15) + 1;
    struct ends j = { .y = y, .x = x, .h = h, .w = w, .top = (H - h) / 2, .left = (W - w) / 2 };
    if (ends_for(u, H, W))
        return kr_error_code();
    kr_map *in = j.map = u->rooms->in, *out = u->rooms->out;
    if (h != H || w != W)                   /* around another image there may be numbers of the last one */
        memset(in->store, 0, (size_t)(in->blocks * in->block) * sizeof *in->store);
    int e = statistics(&j);
    e = e ? e : kr_for(BANDS, put_band, &j);
    e = e ? e : unet_forward(u, out, in, NULL);
    j.map = out;
    return e ? e : kr_for(BANDS, get_band, &j);
}

int refine_maps(mri *m, unet *u, bool norm)
{
    long h = m->in->h, w = m->in->w;
    if (!norm && ends_for(u, h, w))
        return kr_error_code();
    for (long c = 0; c < m->coils; c++) {
        kr_cfloat *s = m->sens + c * m->n;
        if (norm) {
            if (norm_unet(u, s, s, h, w))
                return kr_error_code();
            continue;
        }
        map_put_complex(u->rooms->in, 0, s);
        if (unet_forward(u, u->rooms->out, u->rooms->in, NULL))
            return kr_error_code();
        map_get_complex(u->rooms->out, 0, s);
    }
    mri_normalise_maps(m);
    return 0;
}
