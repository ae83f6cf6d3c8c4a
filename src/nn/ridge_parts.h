/* ridge_parts.h: the inside of a ridge regulariser, for its gradient and its training. Private to src/nn. */
#ifndef KRAY_RIDGE_PARTS_H
#define KRAY_RIDGE_PARTS_H
#include "kray/ridge.h"
#include "ridgekern.h"
#include "volkern.h"

enum { RIDGE_LAYERS = 3, RIDGE_TAPS = 15 * 15, RIDGE_AHEAD = 128 };   /* numbers that vol_kern reads beyond */
struct kr_ridge {
    long chan[RIDGE_LAYERS + 1], width[RIDGE_LAYERS], reach;  /* reach: points to either side that W sees                  */
    float *down[RIDGE_LAYERS], *up[RIDGE_LAYERS];             /* packed: W, and W^T                                        */
    float *scale, *scale_level;
    ridge_profile profile;
    float *a, *d; double *area;                               /* of the profile; area: psi where each interval begins      */
    const vol_kern *conv;
    const ridge_kern *kern;
};

/* A window of a plane and what becomes of it: rows of `row` numbers, planes of `plane`. Valid convolutions shrink it, so that
 * layer l is (h + 2 reach - ...) rows. part: real and imaginary. */
typedef struct ridge_tile {
    long h, w, row, plane;                                    /* of the output                                              */
    float *layer[2][RIDGE_LAYERS + 1], *back[2][RIDGE_LAYERS + 1];   /* back[l]: from layer l down to the image           */
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
#endif
