/* solve.h: solvers for min over x of 1/2 |A x - y|^2 + ... */
#ifndef KRAY_SOLVE_H
#define KRAY_SOLVE_H
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

/* When to stop: after `iterations`, or once the residual of the normal equations is `tolerance` times its start. */
typedef struct kr_stop { int iterations; double tolerance; } kr_stop;
/* x = argmin |A x - y|^2 + lambda |x|^2 by conjugate gradients from the x given. lambda in units of |A|^2.
 * Returns the iterations done, or a refusal (numbers that are not finite, stopped on request).
 * Source: Hestenes and Stiefel 1952; Pruessmann 2001, eq. 25. */
int kr_cg(const kr_linop *A, kr_array *x, const kr_array *y, float lambda, kr_stop stop, const kr_trace *trace) KR_MUST_USE;
/* The same for the normal equations (A^H A + lambda) x = b. */
int kr_cg_normal(const kr_linop *A, kr_array *x, const kr_array *b, float lambda, kr_stop stop, const kr_trace *trace) KR_MUST_USE;
/* x = argmin |P F S x - P y|^2 + lambda u |x|^2 of one slice or volume, from x = 0, in blocks that do not know of each other:
 * along an axis on which the mask does not vary F^H F = 1, so that planes across it, or single lines, are problems of their
 * own. Each block runs all its iterations in the cache. u = kr_sense_unit(coils), so that lambda means the same for maps of any
 * size. x {X,Y,Z,MAP}, y {X,Y,Z,COIL}, coils {X,Y,Z,COIL,MAP}, all contiguous; mask and axes as in kr_op_sense. A block, or a line of a
 * block of lines, stops once the residual of its normal equations is `tolerance` times its share of sqrt(u) |P y|, the most
 * that |A^H y| can be. Returns the largest number of iterations, or a refusal (numbers that are not finite, stopped on
 * request). The mask must be one that kr_cg_sense_can do. Source: Pruessmann 2001; soft-SENSE: Uecker 2014. */
int kr_cg_sense(kr_array *x, const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes, float lambda, kr_stop stop,
                const kr_trace *trace) KR_MUST_USE;
/* Whether a mask of this shape leaves blocks: it varies along at most two of X, Y, Z, all of them among `axes`; otherwise
 * kr_cg does it. And the bytes of scratch that will be taken; kept: the measured part of k-space, 0 to 1. */
bool kr_cg_sense_can(kr_shape mask, unsigned axes);
double kr_cg_sense_bytes(kr_shape coils, kr_shape mask, double kept);
/* The largest sum over coils of |S|^2 of any voxel and map set: a bound of A^H A for one set. -1: no memory. */
float kr_sense_unit(const kr_array *coils);

#ifdef __cplusplus
}
#endif
#endif
