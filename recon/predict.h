/* predict.h: how far coil images are from what their neighbours in k-space predict. Private to this folder. */
#ifndef KRAY_PREDICT_H
#define KRAY_PREDICT_H
#include "kray/array.h"

/* M = (K - 1)^H (K - 1), (K v)_c(k) = sum over offsets o and coils d of w[o][c][d] v_d(k + o) on a periodic grid. In image space M is a
 * Hermitian matrix at each pixel, of which the lower triangle is kept: 4 coils (coils + 1) bytes a pixel. A convolution
 * in k-space takes as many times the operations of these matrices as twice the offsets. */
typedef struct kr_predict kr_predict;
/* w [z][y][x][to][from], offsets low..low+span-1 along each axis; n: the grid. */
kr_predict *kr_predict_new(const kr_cfloat *w, const long low[3], const long span[3], long coils, const long n[3]) KR_MUST_USE;
void kr_predict_unref(kr_predict **p);
/* z = M v, both [coil][sample], in image space; z may be v. Returns v^H z. On all threads; one caller at a time. */
double kr_predict_apply(const kr_predict *p, kr_cfloat *z, const kr_cfloat *v);
#endif
