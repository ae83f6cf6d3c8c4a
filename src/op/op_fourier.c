/* op_fourier.c: the centred unitary Fourier transform as an operator; its normal is the identity. */
#include "kray/fourier.h"
#include "kray/linop.h"

static void forward(void *self, kr_array *y, const kr_array *x) { kr_fft_forward_to(self, y->data, x->data); }
static void adjoint(void *self, kr_array *x, const kr_array *y) { kr_fft_inverse_to(self, x->data, y->data); }
static void normal(void *self, kr_array *z, const kr_array *x) { (void)self; kr_array_assign(z, x); }
static void destroy(void *self) { kr_fft *p = self; kr_fft_unref(&p); }
static const kr_linop_ops ops = { "fourier", forward, adjoint, normal, destroy, NULL };

kr_linop *kr_op_fourier(kr_shape s, unsigned axes) { return kr_linop_new(&ops, KR_C32, s, s, kr_fft_new(s, axes, KR_CENTRED)); }
