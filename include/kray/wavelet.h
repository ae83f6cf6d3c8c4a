/* wavelet.h: orthogonal wavelet transforms of named axes, and the shrinkage of their coefficients. */
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

/* z = the mean over `places` shifts of W^H shrink(W x), W as above of x moved by that shift: for one of them the proximal map of t |W x|_1.
 * shrink: v max(0, 1 - t / |v|), v the vectors of coefficients at the same place of `joint` arrays of the batch in a row (coils, whose wavelets
 * then vanish together; 1: each by itself). Refuses what kr_wavelet_new does, and a batch that is not a multiple of joint. z and x: the
 * shape given, not the same. One thread at a time. Sources: Donoho, IEEE Trans Inf Theory 41:613 (1995); jointly: Yuan and Lin, J R Stat
 * Soc B 68:49 (2006). */
typedef struct kr_shrink kr_shrink;
kr_shrink *kr_shrink_new(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels, long joint) KR_MUST_USE;
void kr_shrink_unref(kr_shrink **s);
const kr_wavelet *kr_shrink_wavelet(const kr_shrink *s);         /* W; the shrinkage owns it */
void kr_shrink_apply(const kr_shrink *s, void *z, const void *x, float t, const long (*shift)[3], long places);

#ifdef __cplusplus
}
#endif
#endif
