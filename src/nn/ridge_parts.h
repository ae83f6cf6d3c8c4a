/* ridge_parts.h: the inside of a ridge regulariser, for its gradient and its training. Private to src/nn. */
#ifndef KRAY_RIDGE_PARTS_H
#define KRAY_RIDGE_PARTS_H
#include "kray/graph.h"
#include "kray/ridge.h"
#include "ridgekern.h"
#include "volkern.h"

enum { RIDGE_LAYERS = 3, RIDGE_TAPS = 15 * 15, RIDGE_AHEAD = 128 };   /* numbers that vol_kern reads beyond */
struct kr_ridge {
    long chan[RIDGE_LAYERS + 1], width[RIDGE_LAYERS], reach;  /* reach: points to either side that W sees                  */
    float *down[RIDGE_LAYERS], *up[RIDGE_LAYERS];             /* packed: W, and W^T                                        */
    bool tiled[RIDGE_LAYERS];                                 /* they are products of points, of tiles of rows             */
    float *scale, *scale_level;
    ridge_profile profile;
    float *a, *d; double *area;                               /* of the profile; area: psi where each interval begins      */
    const vol_kern *conv;
    const ridge_kern *kern;
    kr_graph *mask;                                           /* NULL: all answers weigh the same                           */
};

/* A window of a plane and what becomes of it: rows of `row` numbers, planes of `plane`. Valid convolutions shrink it, so that
 * layer l is (h + 2 reach - ...) rows. part: real and imaginary. */
typedef struct ridge_tile {
    long h, w, row, plane;                                    /* of the output                                              */
    float *layer[2][RIDGE_LAYERS + 1], *back[2][RIDGE_LAYERS + 1];   /* back[l]: from layer l down to the image           */
    float *points;                                            /* of a tile of rows: of a layer's inputs, of its outputs, and rows that are not kept; NULL: no layer is tiled */
} ridge_tile;
/* Rows (add w - h for columns) of layer l: 0 is the image with margins of 2 reach; and of back[l]. */
static inline long ridge_rows(const kr_ridge *r, const ridge_tile *t, long l)
{
    long n = t->h + 4 * r->reach;
    for (long k = 0; k < l; k++)
        n -= r->width[k] - 1;
    return n;
}
static inline long ridge_back_rows(const kr_ridge *r, const ridge_tile *t, long l)
{
    long n = t->h;
    for (long k = 0; k < l; k++)
        n += r->width[k] - 1;
    return n;
}
/* apart: each layer has room of its own in both directions (training); otherwise back[l] may share that of layer l. */
int ridge_tile_open(ridge_tile *t, const kr_ridge *r, long h, long w, int parts, bool apart) KR_MUST_USE;
void ridge_tile_close(ridge_tile *t);
void ridge_down(const kr_ridge *r, ridge_tile *t, int part);  /* layer 0 to the last                                        */
void ridge_up(const kr_ridge *r, ridge_tile *t, int part);    /* back[last] to back[0]                                      */
/* a_i at a level. */
float ridge_scale(const kr_ridge *r, long i, double level);

/* ---- Weights of answers, by a network (ridge_mask.c) ----
 * It sees {filters + RIDGE_BESIDE, y, x}: log(1 + v) of the answers a_i |w_i * x|, of |x| and of |x - A^H y|, the images in units of the level. mask {filters, y, x}. */
enum { RIDGE_BESIDE = 2, RIDGE_MOST = 4 };
kr_graph *ridge_mask_graph(const kr_weights *w, long filters);
kr_run *ridge_mask_plan(const kr_ridge *r, long ny, long nx, bool train);
float ridge_mask_run(kr_run *run, float *mask);               /* of the run's input; returns the largest, at least 1         */
/* slope: of the loss by the network's output, before it is bent between 0 and RIDGE_MOST; adds to the gradients of its tensors. */
void ridge_mask_back(kr_run *run, const kr_ridge *r, kr_weights *gradient, const float *slope);
/* v_i *= m[(from + i) mod n], i < count. */
static inline void ridge_mask_row(float *v, const float *m, long n, long from, long count)
{
    for (long x = 0, at = ((from % n) + n) % n; x < count; at = 0) {
        long run = n - at < count - x ? n - at : count - x;
        for (long i = 0; i < run; i++)
            v[x + i] *= m[at + i];
        x += run;
    }
}
#endif
