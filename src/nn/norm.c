/* norm.c: instance norm, pooling and upsampling. */
#include "conv.h"
#include <math.h>
#include <string.h>

struct job { const nn_kern *k; kr_map *y; const kr_map *x; float slope; const struct kr_up2 *up; };

/* One block of 16 channels: mean and biased variance over all pixels in double, row by row, then one pass of scale and shift. */
static int norm_block(void *self, long b)
{
    const struct job *j = self;
    double sum[16] = { 0 }, square[16] = { 0 }, n = (double)(j->x->h * j->x->w);
    float scale[16], shift[16];
    for (long y = 0; y < j->x->h; y++)
        j->k->moments(kr_map_at(j->x, b, y, 0), 16 * j->x->w, sum, square);
    for (int l = 0; l < 16; l++) {
        double mean = sum[l] / n, var = square[l] / n - mean * mean, s = 1 / sqrt((var > 0 ? var : 0) + 1e-5);
        scale[l] = (float)s;
        shift[l] = (float)mean;
    }
    for (long y = 0; y < j->x->h; y++)
        j->k->normalise(kr_map_at(j->y, b, y, 0), kr_map_at(j->x, b, y, 0), scale, shift, j->slope, 16 * j->x->w);
    return 0;
}

void kr_instance_norm(kr_map *y, const kr_map *x, enum kr_act act)
{
    kr_assert(y->c == x->c && y->h == x->h && y->w == x->w && act != KR_ACT_PRELU);
    struct job j = { nn_kern_best(), y, x, act == KR_ACT_NONE ? 1 : act == KR_ACT_RELU ? 0 : 0.2f, NULL };
    if (kr_for(x->blocks, norm_block, &j))
        kr_assert(0 && "a norm cannot be refused");
}

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
    struct job j = { nn_kern_best(), y, x, 1, NULL };
    if (kr_for(y->blocks * y->h, pool_row, &j))
        kr_assert(0 && "pooling cannot be refused");
}

/* ---- Transposed convolution: one pointwise convolution for each of the four places of a pixel's square ---- */
enum { STRETCH = 24 };                              /* pixels of scratch per worker */
struct kr_up2 { kr_conv *place[4]; float *scratch; long room; };

void kr_up2_unref(kr_up2 **u)
{
    for (int i = 0; *u && i < 4; i++)
        kr_conv_unref(&(*u)->place[i]);
    if (*u)
        kr_free((*u)->scratch);
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
    kr_tensor t = { .name = w->name, .dims = 4, .n = { w->n[1], w->n[0], 1, 1 }, .data = kr_alloc((size_t)(w->n[0] * w->n[1]), sizeof(float)) };
    bool good = u && t.data;
    for (int i = 0; good && i < 4; i++) {
        for (long c = 0; c < w->n[0]; c++)
            for (long o = 0; o < w->n[1]; o++)
                t.data[o * w->n[0] + c] = w->data[(c * w->n[1] + o) * 4 + i];
        good = (u->place[i] = kr_conv_new(&t, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 1, NULL));
    }
    if (good) {
        u->room = u->place[0]->blocks * STRETCH * 16;
        good = (u->scratch = kr_alloc_zero((size_t)(kr_threads() * u->room), sizeof(float)));
    }
    kr_free(t.data);
    if (!good)
        kr_up2_unref(&u);
    return u;
}

static int up_row(void *self, long y)
{
    const struct job *j = self;
    float *line = j->up->scratch + kr_worker() * j->up->room;
    conv_row r = { .out = line, .out_block = STRETCH * 16 };
    r.in[0].block = j->x->block;
    for (int i = 0; i < 4; i++)
        for (long x = 0; x < j->x->w; x += STRETCH) {
            r.px = j->x->w - x < STRETCH ? j->x->w - x : STRETCH;
            r.in[0].data = kr_map_at(j->x, 0, y, x);
            conv_run_row(j->up->place[i], &r);
            for (long b = 0; b < j->y->blocks; b++)
                for (long k = 0; k < r.px; k++)
                    memcpy(kr_map_at(j->y, b, 2 * y + i / 2, 2 * (x + k) + i % 2), line + (b * STRETCH + k) * 16, 16 * sizeof(float));
        }
    return 0;
}

void kr_up2_forward(const kr_up2 *u, kr_map *y, const kr_map *x, bool norm)
{
    kr_assert(y->c == u->place[0]->outs && (y->h == 2 * x->h || y->h == 2 * x->h + 1) && (y->w == 2 * x->w || y->w == 2 * x->w + 1));
    struct job j = { nn_kern_best(), y, x, 1, u };
    if (kr_for(x->h, up_row, &j))
        kr_assert(0 && "upsampling cannot be refused");
    kr_map even = *y;                               /* the part that was written */
    even.h = 2 * x->h;
    even.w = 2 * x->w;
    if (norm)
        kr_instance_norm(&even, &even, KR_ACT_LEAKY);
    for (long b = 0; b < y->blocks; b++) {          /* reflection: the row or column before the last */
        for (long r = 0; r < even.h && y->w > even.w; r++)
            memcpy(kr_map_at(y, b, r, y->w - 1), kr_map_at(y, b, r, y->w - 3), 16 * sizeof(float));
        if (y->h > even.h)
            memcpy(kr_map_at(y, b, y->h - 1, 0), kr_map_at(y, b, y->h - 3, 0), (size_t)(16 * y->w) * sizeof(float));
    }
}
