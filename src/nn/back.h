/* back.h: what the backward passes share, and those of the MRI pieces. Private to src/nn. */
#ifndef KRAY_BACK_H
#define KRAY_BACK_H
#include "parts.h"

/* Index of the pixel that stands for pixel i outside 0..n-1; -1: zero. */
long map_source(long i, long n, enum kr_pad pad);
/* f on every row of every block of the maps m[0..count-1], all of one shape: r[k] points to the row of m[k], n floats long (a
 * multiple of 16). Maps may be NULL, r[k] then is NULL too. */
enum { BACK_MAPS = 10 };
void back_rows(kr_map *const *m, int count, void (*f)(float *const *r, long n));
/* *m becomes a map of that shape, the one it is if it fits (numbers are kept, then). */
int back_map(kr_map **m, long c, long h, long w, long halo);
void back_zero(kr_map *m);

/* ---- MRI pieces ----
 * Gradient of a real loss with respect to a complex number z: dL/dRe z + i dL/dIm z, so that dL = Re sum conj(g) dz and the
 * backward pass of a linear operator is its adjoint. All add to the gradients they are given; NULL: not wanted. The maps
 * are those of m; m->coil is scratch. */
void mri_expand_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dy);   /* of y_c = S_c x */
void mri_reduce_back(const mri *m, kr_cfloat *dy, kr_cfloat *dsens, const kr_cfloat *y, const kr_cfloat *dx);   /* of x = sum conj(S_c) y_c */
void mri_forward_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dk);  /* of k = F S x */
/* of x = sum conj(S) F^-1 k; k is needed for dsens alone. Refuses lack of memory. */
int mri_adjoint_back(const mri *m, kr_cfloat *dk, kr_cfloat *dsens, const kr_cfloat *k, const kr_cfloat *dx) KR_MUST_USE;
/* of g = sum conj(S) F^-1 M (F S x - y), RIM's log-likelihood gradient: its own adjoint in x. Refuses lack of memory. */
int mri_gradient_back(const mri *m, kr_cfloat *dx, kr_cfloat *dsens, const kr_cfloat *x, const kr_cfloat *dg) KR_MUST_USE;
/* of k' = k - rate M (k - y) + sign p, all coils: gradients of k, p and rate (*drate is added to) */
void mri_consistency_back(const mri *m, kr_cfloat *dk, kr_cfloat *dp, double *drate, const kr_cfloat *k, const kr_cfloat *dnew, float rate, float sign);
/* of x = sqrt(sum |F^-1 k|^2); dx: its real part is the gradient. Where the root is 0 so is the gradient. Refuses lack of memory. */
int mri_rss_back(const mri *m, kr_cfloat *dk, const kr_cfloat *k, const kr_cfloat *dx) KR_MUST_USE;
/* of S_c /= sqrt(sum |S|^2); raw: the maps before. */
void mri_normalise_maps_back(const mri *m, kr_cfloat *draw, const kr_cfloat *raw, const kr_cfloat *dsens);
#endif
