/* lay_bilinear.c: features of twice the size by bilinear interpolation, pixels as areas (PyTorch's Upsample, align_corners False). */
#include "lay.h"
#include <string.h>

/* Pixel i of 2n lies between from[0] and from[1], at part 0.75 of the nearer. */
static void taps(long i, long n, long from[2], float by[2])
{
    long k = i / 2, other = i % 2 ? k + 1 : k - 1;
    from[0] = k;
    from[1] = other < 0 || other >= n ? k : other;
    by[0] = 0.75f;
    by[1] = 0.25f;
}

static int shape(kr_extent *y, const kr_extent *x, const kr_layer *l)
{
    y[0] = x[0];
    y[0].y = 2 * x->y;
    y[0].x = 2 * x->x;
    return extent_is(l, x, KR_FEATURES, 0) ? kr_error_code() : extent_flat(l, x, 1);
}

struct job { kr_map *small, *large; bool back; };

static int block(void *self, long b)
{
    const struct job *j = self;
    long sy[2], sx[2];
    float fy[2], fx[2];
    for (long y = 0; y < j->large->h; y++) {
        taps(y, j->small->h, sy, fy);
        for (long x = 0; x < j->large->w; x++) {
            taps(x, j->small->w, sx, fx);
            float *to = kr_map_at(j->large, b, y, x), sum[16] = { 0 };
            for (int k = 0; k < 4; k++) {
                float *s = kr_map_at(j->small, b, sy[k / 2], sx[k % 2]), f = fy[k / 2] * fx[k % 2];
                for (int q = 0; q < 16; q++)
                    if (j->back)
                        s[q] += f * to[q];
                    else
                        sum[q] += f * s[q];
            }
            if (!j->back)
                memcpy(to, sum, sizeof sum);
        }
    }
    return 0;
}

static void run(kr_map *small, kr_map *large, bool back)
{
    struct job j = { small, large, back };
    if (kr_for(small->blocks, block, &j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void keeps(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y)
{
    (void)l, (void)wants;
    *x = *y = 0;
}

static void forward(const kr_call *c) { run(&c->x[0]->map, &c->y[0]->map, false); }
static void backward(const kr_call *c) { run(&c->dx[0]->map, &c->dy[0]->map, true); }

static void plain(const kr_plain_call *c)
{
    const kr_extent *in = &c->x[0]->n, *out = &c->y[0]->n;
    for (long i = 0; i < out->chan * out->y * out->x; i++) {
        long sy[2], sx[2];
        float fy[2], fx[2];
        taps(i / out->x % out->y, in->y, sy, fy);
        taps(i % out->x, in->x, sx, fx);
        for (int k = 0; k < 4; k++)
            plain_link(c, i, 0, (i / out->x / out->y * in->y + sy[k / 2]) * in->x + sx[k % 2], (double)fy[k / 2] * (double)fx[k % 2]);
    }
}

static const kr_layer_ops ops = { .name = "bilinear doubling", .shape = shape, .keeps = keeps, .forward = forward, .backward = backward, .plain = plain, .plain_back = plain, .on = -1 };
kr_node lay_bilinear(kr_graph *g, kr_node x) { return graph_add(g, NULL, &ops, &x, 1, NULL, 0, NULL, 0, NULL); }
