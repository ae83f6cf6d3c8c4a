/* denoised.h: methods that put a trained denoiser in the place of a penalty: the problem in units in which both mean something. Private to this folder. */
#ifndef KRAY_DENOISED_H
#define KRAY_DENOISED_H
#include "model.h"
#include "net_method.h"

/* One slice or volume: N of norm 1 at most and b = A^H y, both scaled so that the 99th percentile of |b| is 1, as for compressed sensing. */
typedef struct denoised {
    kr_net *net;
    const kr_linop *N;
    const kr_array *b;
    double noise;                    /* standard deviation of the noise of b where all was measured; 0: not known */
    long part;                       /* which of all                                                      */
} denoised;
/* x, of b's shape and type, is given as what a few conjugate gradient steps make of b. */
typedef int denoised_solve(kr_array *x, const denoised *d, const void *opts, const kr_trace *trace);
#define DENOISERS "denoiser dncnn"
int denoised_image(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *net, denoised_solve *solve, const void *opts, const kr_trace *trace);
int denoised_plan(kr_cost *cost, const kr_scan *scan, const net_opts *net, double runs);
/* z = D(x): x with noise of standard deviation sigma (of real and imaginary part each), plane by plane. */
int denoised_by(kr_array *z, const denoised *d, const kr_array *x, double sigma);
#endif
