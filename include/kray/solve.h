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

#ifdef __cplusplus
}
#endif
#endif
