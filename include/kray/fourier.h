/* fourier.h: centred, unitary Fourier transforms of named axes. fft.c alone knows FFTW. */
#ifndef KRAY_FOURIER_H
#define KRAY_FOURIER_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A plan: y[k] = prod N^-1/2 sum_n x[n] exp(-+ 2 pi i (n-c)(k-c)/N), c = N/2 rounded down, over the axes in `axes`;
 * the other axes are a batch that is spread over the threads. `shape` is contiguous in enum order. The plan depends
 * on the shape alone (never on timing), so equal input gives equal output. Without KR_CENTRED c = 0.
 * Refuses lengths over 2^20 per axis. One thread at a time may run a plan unless KR_SERIAL. */
typedef struct kr_fft kr_fft;
enum { KR_CENTRED = 1,           /* origin in the middle                                            */
       KR_SERIAL = 2 };          /* runs on the calling thread; may then be run by many at a time   */
kr_fft *kr_fft_new(kr_shape shape, unsigned axes, int flags) KR_MUST_USE;
void kr_fft_unref(kr_fft **p);
#ifndef __cplusplus
void kr_fft_forward(const kr_fft *p, kr_cfloat *x);      /* in place; kr_cfloat data, contiguous     */
void kr_fft_inverse(const kr_fft *p, kr_cfloat *x);
void kr_fft_forward_to(const kr_fft *p, kr_cfloat *y, const kr_cfloat *x);  /* out of place          */
void kr_fft_inverse_to(const kr_fft *p, kr_cfloat *y, const kr_cfloat *x);
#endif
/* Plans, transforms a contiguous array in place, and drops the plan. */
int kr_fourier(kr_array *x, unsigned axes) KR_MUST_USE;
int kr_fourier_inverse(kr_array *x, unsigned axes) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
