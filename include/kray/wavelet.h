/* wavelet.h: orthogonal wavelet transforms of named axes, in place and in panels of sixteen lines (lanes.h). */
#ifndef KRAY_WAVELET_H
#define KRAY_WAVELET_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

/* h[0..2 order - 1], sum h = sqrt 2: Daubechies' scaling filter of extremal phase with `order` vanishing moments, 1 (Haar) to
 * KR_WAVELET_ORDERS. Made by spectral factorisation. Source: Daubechies, Comm Pure Appl Math 41:909 (1988). */
enum { KR_WAVELET_ORDERS = 10 };
int kr_wavelet_filter(int order, double *h) KR_MUST_USE;

/* W, separable and periodic along X, Y, Z as far as they are in `axes`; everything else in `shape` (contiguous, enum order) is
 * a batch. Each level halves every axis whose low band has at least 32 points, so that at least 16 are left; levels: at most
 * so many, 0: no limit. Low bands come first. The last sample of a band of odd length goes to the low band as it is: W stays
 * orthogonal, W^H W = 1. Refuses orders that do not exist and more than 20 levels. One thread at a time. */
typedef struct kr_wavelet kr_wavelet;
kr_wavelet *kr_wavelet_new(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels) KR_MUST_USE;
void kr_wavelet_unref(kr_wavelet **w);
/* c = W x of x moved cyclically: point i of axis d becomes point i - shift[d]; and back. Numbers of `type`. c and x may be the same. */
void kr_wavelet_forward(const kr_wavelet *w, void *c, const void *x, const long shift[3]);
void kr_wavelet_inverse(const kr_wavelet *w, void *x, const void *c, const long shift[3]);

#ifdef __cplusplus
}
#endif
#endif
