/* norm.c: instance norm, pooling and upsampling. */
#include "conv.h"
#include <math.h>
#include <string.h>

/* ---- Instance norm: bands of rows and blocks spread over the threads; sums in double, in an order of their own ---- */
enum { BANDS = 8, CHUNK = 8 };                      /* blocks at a time */
struct norm { const nn_kern *k; kr_map *y; const kr_map *x; float slope; long first; double sums[CHUNK][BANDS][WINO_SUMS]; float scale[CHUNK][16], mean[CHUNK][16]; };

static int sum_band(void *self, long i)
{
    struct norm *j = self;
    long b = i / BANDS, band = i % BANDS, h = j->x->h;
    double *sums = j->sums[b][band];
    memset(sums, 0, WINO_SUMS * sizeof *sums);
    for (long y = band * h / BANDS; y < (band + 1) * h / BANDS; y++)
        j->k->moments(kr_map_at(j->x, j->first + b, y, 0), 16 * j->x->w, sums, sums + 16);
    return 0;
}

static int normalise_band(void *self, long i)
{
    const struct norm *j = self;
    long b = i / BANDS, band = i % BANDS, h = j->x->h;
    for (long y = band * h / BANDS; y < (band + 1) * h / BANDS; y++)
        j->k->normalise(kr_map_at(j->y, j->first + b, y, 0), kr_map_at(j->x, j->first + b, y, 0), j->scale[b], j->mean[b], j->slope, 16 * j->x->w);
    return 0;
}

/* known: the sums of all blocks, as conv_forward_sums gives them; NULL: they are made here. scale: 1 / deviation of each channel, for the backward pass; may be NULL. */
static void norm(kr_map *y, const kr_map *x, enum kr_act act, const double *known, double *scale)
{
    struct norm j = { .k = nn_kern_best(), .y = y, .x = x, .slope = act == KR_ACT_NONE ? 1 : act == KR_ACT_RELU ? 0 : 0.2f };
    double n = (double)(x->h * x->w);
    int e = 0;
    for (; j.first < x->blocks; j.first += CHUNK) {
        long blocks = x->blocks - j.first < CHUNK ? x->blocks - j.first : CHUNK;
        if (!known)
            e = e ? e : kr_for(blocks * BANDS, sum_band, &j);
        for (long b = 0; b < blocks; b++)
            for (int l = 0; l < 16; l++) {
                double sum[2] = { 0 };
                for (int q = 0; q < 2; q++)
                    for (int band = 0; band < (known ? 1 : BANDS); band++)
                        sum[q] += known ? known[(j.first + b) * WINO_SUMS + 16 * q + l] : j.sums[b][band][16 * q + l];
                double mean = sum[0] / n, var = sum[1] / n - mean * mean;
                double s = 1 / sqrt((var > 0 ? var : 0) + 1e-5);
                j.scale[b][l] = (float)s;
                j.mean[b][l] = (float)mean;
                if (scale)
                    scale[16 * (j.first + b) + l] = s;
            }
        e = e ? e : kr_for(blocks * BANDS, normalise_band, &j);
    }
    kr_assert(!e);
}

void kr_instance_norm(kr_map *y, const kr_map *x, enum kr_act act)
{
    kr_assert(y->c == x->c && y->h == x->h && y->w == x->w);
    norm(y, x, act, NULL, NULL);
}

/* The convolution's outputs are summed while they are in registers. */
void conv_norm_run(const kr_conv *c, kr_map *y, kr_map *const *x, enum kr_act act, double *scale, void *scratch)
{
    double sums[64 * WINO_SUMS];
    bool known = conv_run(c, y, x, c->blocks <= 64 ? sums : NULL, scratch);
    norm(y, y, act, known ? sums : NULL, scale);
}

void kr_conv_norm_forward(const kr_conv *c, kr_map *y, kr_map *const *x, enum kr_act act)
{
    size_t bytes = conv_scratch(c, y->h, y->w);
    kr_auto void *scratch = bytes ? kr_alloc(bytes, 1) : NULL;
    conv_norm_run(c, y, x, act, NULL, scratch);
}

/* ---- Pooling ---- */
struct job { const nn_kern *k; kr_map *y; const kr_map *x; const struct kr_up2 *up; };

static int pool_row(void *self, long i)
{
    const struct job *j = self;
    long b = i / j->y->h, y = i % j->y->h;
    j->k->pool(kr_map_at(j->y, b, y, 0), kr_map_at(j->x, b, 2 * y, 0), kr_map_at(j->x, b, 2 * y + 1, 0), j->y->w);
    return 0;
}

void kr_avg_pool2(kr_map *y, const kr_map *x)
{
    kr_assert(y->c == x->c && y->h == x->h / 2 && y->w == x->w / 2);
    struct job j = { nn_kern_best(), y, x, NULL };
    if (kr_for(y->blocks * y->h, pool_row, &j))
        kr_assert(0 && "pooling cannot be refused");
}

/* ---- Transposed convolution: one pointwise convolution for each of the four places of a pixel's square ---- */
void kr_up2_unref(kr_up2 **u)
{
    for (int i = 0; *u && i < 4; i++)
        kr_conv_unref(&(*u)->place[i]);
    kr_free_at(u);
}

kr_up2 *kr_up2_new(const kr_tensor *w)
{
    if (!w)
        return NULL;
    if (w->dims != 4 || w->n[2] != 2 || w->n[3] != 2) {
        kr_fail(KR_ESHAPE, "the tensor '%s' is no transposed convolution with kernel 2", w->name);
        return NULL;
    }
    kr_up2 *u = kr_alloc_zero(1, sizeof *u);
    if (!u || up2_fill(u, w))
        kr_up2_unref(&u);
    return u;
}

int up2_fill(kr_up2 *u, const kr_tensor *w)
{
    kr_tensor t = { .name = w->name, .dims = 4, .n = { w->n[1], w->n[0], 1, 1 }, .data = kr_alloc((size_t)(w->n[0] * w->n[1]), sizeof(float)) };
    bool good = t.data;
    for (int i = 0; good && i < 4; i++) {
        for (long c = 0; c < w->n[0]; c++)
            for (long o = 0; o < w->n[1]; o++)
                t.data[o * w->n[0] + c] = w->data[(c * w->n[1] + o) * 4 + i];
        if (u->place[i])
            conv_fill(u->place[i], t.data, NULL);
        else
            good = (u->place[i] = kr_conv_new(&t, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL));
    }
    kr_free(t.data);
    return good ? 0 : kr_error_code();
}

size_t up2_bytes(const kr_up2 *u) { return 4 * conv_bytes(u->place[0]); }

static int up_row(void *self, long y)
{
    const struct job *j = self;
    for (int i = 0; i < 4; i++) {
        conv_row r = { .out = kr_map_at(j->y, 0, 2 * y + i / 2, i % 2), .out_block = j->y->block, .step = 32, .px = j->x->w };
        r.in[0].data = kr_map_at(j->x, 0, y, 0);
        r.in[0].block = j->x->block;
        conv_run_row(j->up->place[i], &r);
    }
    return 0;
}

void kr_up2_forward(const kr_up2 *u, kr_map *y, const kr_map *x, bool norm) { up2_run(u, y, x, norm, NULL); }

void up2_run(const kr_up2 *u, kr_map *y, const kr_map *x, bool normed, double *scale)
{
    kr_assert(y->c == u->place[0]->outs && (y->h == 2 * x->h || y->h == 2 * x->h + 1) && (y->w == 2 * x->w || y->w == 2 * x->w + 1));
    struct job j = { nn_kern_best(), y, x, u };
    if (kr_for(x->h, up_row, &j))
        kr_assert(0 && "upsampling cannot be refused");
    kr_map even = *y;                               /* the part that was written */
    even.h = 2 * x->h;
    even.w = 2 * x->w;
    if (normed)
        norm(&even, &even, KR_ACT_LEAKY, NULL, scale);
    for (long b = 0; b < y->blocks; b++) {          /* reflection: the row or column before the last */
        for (long r = 0; r < even.h && y->w > even.w; r++)
            memcpy(kr_map_at(y, b, r, y->w - 1), kr_map_at(y, b, r, y->w - 3), 16 * sizeof(float));
        if (y->h > even.h)
            memcpy(kr_map_at(y, b, y->h - 1, 0), kr_map_at(y, b, y->h - 3, 0), (size_t)(16 * y->w) * sizeof(float));
    }
}
