/* lay_grid.c: features rearranged on their grid: an odd end reflected, cropped, every second pixel, four channels as 2 x 2 pixels (PixelShuffle), and Haar's
 * transform of 2 x 2 pixels to four bands and back. Each output is the sum of a few inputs; axes that are turned exchange what each pixel of the four is. */
#include "back.h"
#include "lay.h"
#include <string.h>

enum { KIND, TURNED };
enum { EVEN, CROP, SECOND, SHUFFLE, HAAR, UNHAAR };

/* Outputs phase + k phases of a row read, for each tap, pixel first + k step of row `y` of channel `c`, times f. */
enum { TAPS = 4 };
typedef struct tap { long c, y, first, step; float f; } tap;

static long phases(const kr_layer *l) { return l->arg[KIND] == SHUFFLE || l->arg[KIND] == UNHAAR ? 2 : 1; }

/* Of band b (LL, HL, LH, HH) at pixel (i, j) of the four: HL differs along the row, LH along the column. */
static float sign(long b, long i, long j, bool turned)
{
    bool along = turned ? i : j, across = turned ? j : i;
    return b == 0 ? 1 : b == 1 ? (along ? 1 : -1) : b == 2 ? (across ? 1 : -1) : i == j ? 1 : -1;
}

static int taps(tap *t, const kr_layer *l, const kr_extent *x, long c, long y, long phase)
{
    bool turned = l->arg[TURNED];
    long quarter = x->chan / 4, sub = turned ? phase * 2 + y % 2 : y % 2 * 2 + phase;
    switch (l->arg[KIND]) {
    case EVEN: t[0] = (tap){ c, map_source(y, x->y, KR_PAD_REFLECT), 0, 1, 1 }; return 1;
    case CROP: t[0] = (tap){ c, y, 0, 1, 1 }; return 1;
    case SECOND: t[0] = (tap){ c, 2 * y, 0, 2, 1 }; return 1;
    case SHUFFLE: t[0] = (tap){ 4 * c + sub, y / 2, 0, 1, 1 }; return 1;
    case HAAR:
        for (int k = 0; k < 4; k++)
            t[k] = (tap){ c % x->chan, 2 * y + k / 2, k % 2, 2, sign(c / x->chan, k / 2, k % 2, turned) / 2 };
        return 4;
    default:
        for (int b = 0; b < 4; b++)
            t[b] = (tap){ b * quarter + c, y / 2, 0, 1, sign(b, y % 2, phase, turned) / 2 };
        return 4;
    }
}

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    for (int i = 0; i < l->ins; i++)
        if (extent_is(l, x + i, KR_FEATURES, 0) || extent_flat(l, x + i, 1))
            return kr_error_code();
    switch (l->arg[KIND]) {
    case EVEN:
        y->y += x->y % 2;
        y->x += x->x % 2;
        return 0;
    case CROP:
        y->y = x[1].y;
        y->x = x[1].x;
        return y->y <= x->y && y->x <= x->x ? 0 : kr_fail(KR_ESHAPE, "%ld x %ld features cannot be cropped to %ld x %ld", x->y, x->x, y->y, y->x);
    case HAAR:
        y->chan = 4 * x->chan;
        y->y /= 2;
        y->x /= 2;
        return x->y % 2 || x->x % 2 ? kr_fail(KR_ESHAPE, "Haar's transform of %ld x %ld pixels", x->y, x->x) : 0;
    case SECOND:
        y->y = (x->y + 1) / 2;
        y->x = (x->x + 1) / 2;
        return 0;
    default:
        y->chan = x->chan / 4;
        y->y *= 2;
        y->x *= 2;
        return x->chan % 4 || !x->chan ? kr_fail(KR_ESHAPE, "%ld channels are no four times as many as those of a grid of twice the size", x->chan) : 0;
    }
}

static int passes(const kr_layer *l, const kr_extent *x)
{
    bool same = l->arg[KIND] == EVEN ? x->y % 2 == 0 && x->x % 2 == 0 : l->arg[KIND] == CROP && x[0].y == x[1].y && x[0].x == x[1].x;
    return same ? 0 : -1;
}

static void none(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static float *at(const kr_map *m, long c, long y, long x) { return kr_map_at(m, c / 16, y, x) + c % 16; }

struct job { const kr_call *c; const kr_map *x, *y; bool back; };

static void one_row(const struct job *j, long y)
{
    const kr_layer *l = j->c->l;
    const kr_extent n = { .chan = j->x->c, .y = j->x->h, .x = j->x->w };
    long p = phases(l), last = j->y->w > j->x->w && l->arg[KIND] == EVEN;
    for (long b = j->y->c / 16; !j->back && b < j->y->blocks; b++)      /* channels that are not there */
        memset(kr_map_at(j->y, b, y, 0), 0, (size_t)(16 * j->y->w) * sizeof(float));
    for (long c = 0; c < j->y->c; c++)
        for (long phase = 0; phase < p; phase++) {
            tap t[TAPS];
            int count = taps(t, l, &n, c, y, phase);
            float *out = at(j->y, c, y, phase), *in[TAPS] = { NULL };
            for (int k = 0; k < count; k++)
                in[k] = at(j->x, t[k].c, t[k].y, t[k].first);
            for (long i = 0; i < (j->y->w - last) / p; i++, out += 16 * p) {
                float sum = 0;
                for (int k = 0; k < count; k++, in[k - 1] += 16 * t[k - 1].step)
                    if (j->back)
                        *in[k] += t[k].f * *out;
                    else
                        sum += t[k].f * *in[k];
                if (!j->back)
                    *out = sum;
            }
            if (last) {
                float *from = at(j->x, c, t[0].y, map_source(j->x->w, j->x->w, KR_PAD_REFLECT));
                *(j->back ? from : out) = j->back ? *from + *out : *from;
            }
        }
}

/* Two rows that read the same ones. */
static int two_rows(void *self, long b)
{
    const struct job *j = self;
    for (long y = 2 * b; y < 2 * b + 2 && y < j->y->h; y++)
        if (y < j->x->h || j->c->l->arg[KIND] != EVEN)
            one_row(j, y);
    return 0;
}

static void run(const kr_call *c, const kr_map *x, const kr_map *y, bool back)
{
    struct job j = { c, x, y, back };
    if (kr_for((y->h + 1) / 2, two_rows, &j))
        kr_assert(0 && "a copy cannot be refused");
    if (c->l->arg[KIND] == EVEN && y->h > x->h)              /* it reads a row that another one reads */
        one_row(&j, x->h);
}

static void forward(const kr_call *c) { run(c, &c->x[0]->map, &c->y[0]->map, false); }
static void backward(const kr_call *c) { run(c, &c->dx[0]->map, &c->dy[0]->map, true); }

static void plain(const kr_plain_call *c)
{
    const kr_extent *n = &c->y[0]->n, *m = &c->x[0]->n;
    long p = phases(c->l);
    for (long i = 0; i < n->chan * n->y * n->x; i++) {
        tap t[TAPS];
        long x = i % n->x;
        int count = taps(t, c->l, m, i / (n->x * n->y), i / n->x % n->y, x % p);
        for (int k = 0; k < count; k++)
            plain_link(c, i, 0, (t[k].c * m->y + t[k].y) * m->x + map_source(t[k].first + x / p * t[k].step, m->x, KR_PAD_REFLECT), (double)t[k].f);
    }
}

static const kr_layer_ops ops = { .name = "grid", .shape = shape, .passes = passes, .keeps = none, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = -1, .sizes = 2 };

static kr_node add(kr_graph *g, const kr_node *x, int count, long kind, bool turned) { return graph_add(g, NULL, &ops, x, count, NULL, 0, (long[]){ kind, turned }, 2, NULL); }
kr_node lay_even(kr_graph *g, kr_node x) { return add(g, &x, 1, EVEN, false); }
kr_node lay_crop(kr_graph *g, kr_node x, kr_node like) { return add(g, (kr_node[]){ x, like }, 2, CROP, false); }
kr_node lay_second(kr_graph *g, kr_node x) { return add(g, &x, 1, SECOND, false); }
kr_node lay_shuffle(kr_graph *g, kr_node x, bool turned) { return add(g, &x, 1, SHUFFLE, turned); }
kr_node lay_haar(kr_graph *g, kr_node x, bool turned) { return add(g, &x, 1, HAAR, turned); }
kr_node lay_unhaar(kr_graph *g, kr_node x, bool turned) { return add(g, &x, 1, UNHAAR, turned); }
