/* slabs.h: volumes of X-ray projections slab by slab, for memory that does not hold them whole. */
#ifndef KRAY_SLABS_H
#define KRAY_SLABS_H
#include "kray/rays.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Planes from..from + count - 1 of it along z; they may lie beside it. */
kr_grid kr_grid_planes(const kr_grid *g, long from, long count);
/* How many planes of such an image kr_op_rays has in memory at a time: all, unless memory is limited (pages.h). By slabs, sums are taken in another order. */
long kr_op_rays_planes(const kr_rays *r, const kr_grid *g);

#ifdef __cplusplus
}
#endif
#endif
