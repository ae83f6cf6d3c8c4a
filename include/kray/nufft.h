/* nufft.h: Fourier transforms between a regular image and points anywhere in k-space, to a tolerance that is asked for.
 *
 *   forward (type 2):  y_m = sum_r x_r exp(-2 pi i sum_d k_md r_d / N_d) / sqrt(N_x N_y N_z),    r_d = index - N_d / 2 (rounded down)
 *   adjoint (type 1):  x_r = sum_m y_m exp(+2 pi i sum_d k_md r_d / N_d) / sqrt(N_x N_y N_z)
 *
 * k is in cycles per field of view: on whole numbers from -N/2 the forward transform is the centred unitary Fourier transform of
 * fourier.h. The two are conjugate transposes of each other to rounding, whatever the tolerance. k outside of [-N/2, N/2] is folded
 * back, as the sum itself does.
 *
 * Method: the image, divided by the transform of a window, goes through a Fourier transform that is 1.25 to 2 times as long, from
 * which each point is interpolated with the window. The window is the prolate spheroidal function, the one of its width that leaks
 * least outside of the image. Source: Fessler and Sutton, IEEE Trans Signal Process 51:560 (2003); Slepian and Pollak, Bell Syst
 * Tech J 40:43 (1961); Barnett, Magland and af Klinteberg, SIAM J Sci Comput 41:C479 (2019). */
#ifndef KRAY_NUFFT_H
#define KRAY_NUFFT_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_nufft kr_nufft;
typedef struct kr_nufft_facts {
    double tolerance, oversampling;   /* asked for; chosen: the smallest over the axes                        */
    long width, grid[3];              /* window in grid points; oversampled grid                              */
    size_t bytes;                     /* of the plan, its grid included                                       */
} kr_nufft_facts;

/* Image of n[0] x n[1] x n[2] pixels along X, Y, Z; `points` points k[d][0..points-1] for d = X, Y and, for volumes, Z (k[2] NULL:
 * n[2] is 1). vectors: how many images (coils, frames) at most go through in one call; more take turns. tolerance: relative error
 * in the 2-norm, 1e-6 to 0.1, of a transform and of one there and back (A^H A), for images and samples with a flat spectrum, wherever the points lie; as in any sum in
 * single precision what cancels (samples far out of a smooth image) is known to 1e-7 of |x| sqrt(points / pixels) only. Nothing is borrowed. Refuses no points, coordinates that are not finite, other tolerances. */
kr_nufft *kr_nufft_new(const long n[3], long points, const float *const k[3], long vectors, double tolerance) KR_MUST_USE;
void kr_nufft_unref(kr_nufft **p);
kr_nufft_facts kr_nufft_describe(const kr_nufft *p);
/* p works on the grid of `lender` from now on, where theirs are alike; else nothing changes. For plans that run one after the other; the
 * lender must outlive p. */
void kr_nufft_borrow(kr_nufft *p, const kr_nufft *lender);
#ifndef __cplusplus
/* x: `vectors` images, X fastest; y: as many rows of `points` numbers. Both are written over whole. The same bits for any number of
 * threads. One thread at a time may run a plan. */
void kr_nufft_forward(kr_nufft *p, kr_cfloat *y, const kr_cfloat *x, long vectors);
void kr_nufft_adjoint(kr_nufft *p, kr_cfloat *x, const kr_cfloat *y, long vectors);
/* The same by the direct sum in double precision: points x pixels operations, for tests and small problems. */
int kr_ndft_forward(kr_cfloat *y, const kr_cfloat *x, const long n[3], long points, const float *const k[3], long vectors) KR_MUST_USE;
int kr_ndft_adjoint(kr_cfloat *x, const kr_cfloat *y, const long n[3], long points, const float *const k[3], long vectors) KR_MUST_USE;
#endif

/* ---- The normal operator as a convolution ----
 * T = A^H W A depends on differences of pixels alone: (T x)_r = sum over r' of t_(r-r') x_r', t_d = sum over m of w_m exp(2 pi i k_m d / N) / prod
 * N, done by Fourier transforms of twice the length, without a point being touched. Source: Fessler et al., IEEE Trans Signal
 * Process 53:3393 (2005). */
typedef struct kr_toeplitz kr_toeplitz;
/* Of images as kr_nufft_new takes them, in products with `coils` coil maps; no frames yet. */
kr_toeplitz *kr_toeplitz_new(const long n[3], long coils) KR_MUST_USE;
/* One more frame: its points, and weights w >= 0 (NULL: 1). Refuses as kr_nufft_new does. */
int kr_toeplitz_add(kr_toeplitz *t, long points, const float *const k[3], const float *weights, double tolerance) KR_MUST_USE;
void kr_toeplitz_unref(kr_toeplitz **t);
size_t kr_toeplitz_bytes(const kr_toeplitz *t);
#ifndef __cplusplus
/* z_m = sum over c of conj(S_cm) T sum over m' of S_cm' x_m', T that of `frame`. x, z: `maps` images; S: coils images of every set, one set
 * behind the other; S NULL: z_c = T x_c for as many images as there are coils. One thread at a time. */
void kr_toeplitz_apply(kr_toeplitz *t, long frame, kr_cfloat *z, const kr_cfloat *x, const kr_cfloat *S, long maps);
#endif

#ifdef __cplusplus
}
#endif
#endif
