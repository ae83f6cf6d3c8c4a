/* coils.h: what the methods of coil calibration share. Private to this folder. */
#ifndef KRAY_COILS_H
#define KRAY_COILS_H
#include "kray/scan.h"

/* The unit vector u {COIL} of the virtual coil that holds most of the energy of x {.., COIL}: the dominant eigenvector of
 * sum x x^H, its largest entry real and positive. Maps are turned so that the phase of u^H S is 0: they are smooth where
 * that coil sees anything, and the image has nearly the phase of that coil's. */
int kr_coils_principal(kr_cfloat *u, const kr_array *x) KR_MUST_USE;

/* body(self, slice) for each slice: slices in parallel where there are enough of them, else one after the other, each
 * with all threads. What they make: maps; low, a byte each, or NULL. */
int kr_coils_slices(long slices, kr_body *body, void *self, const kr_array *maps, char *low, const kr_trace *trace) KR_MUST_USE;

/* A field of Hermitian matrices G(r) = sum over d of K_d exp(2 pi i d r / N), r = 0 at pixel N/2, d = -reach..reach along
 * each axis. K: [dz][dy][entry][dx], entries of the upper triangle row by row. */
enum { KR_FIELD_REACH = 64 };
typedef struct kr_field {
    long reach[3], coils;
    bool relative;                   /* scale says nothing: eigenvalues relative to the trace, the crop for the trace */
    kr_cfloat *K;
} kr_field;
/* maps of one slice: the leading eigenvectors of G, 0 where the eigenvalue is below the crop, above it 1, rising smoothly
 * from 0, or eigenvalue^12. Relative: of the trace, KR_POWER is its root up to KR_SIGNAL. K is destroyed. */
typedef enum kr_falloff { KR_HARD, KR_SMOOTH, KR_POWER } kr_falloff;
int kr_coils_eigenmaps(kr_array *maps, long slice, kr_field *G, const kr_cfloat *u, double crop, kr_falloff falloff,
                       const kr_trace *trace) KR_MUST_USE;

/* Where signal says how far maps can be trusted (walsh, lowres), relative to its largest: below kr_coils_least they are 0;
 * as a prior they fall in proportion to it from KR_SIGNAL on. Signal of a tenth is believed in full. */
double kr_coils_least(const kr_coils_opts *o);
#define KR_SIGNAL 0.1f

/* exp(2 pi i cycles) */
kr_cfloat kr_turn(double cycles);

/* Calibration samples x {X,Y,Z,COIL} of one slice in the middle of a grid of n, under a Hann window along the axes on
 * which the grid is longer than the block, Fourier transformed to images {COIL} images of n. */
int kr_coils_blur(kr_cfloat *image, const long n[3], const kr_array *x) KR_MUST_USE;
#endif
