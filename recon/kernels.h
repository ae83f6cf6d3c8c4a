/* kernels.h: GRAPPA kernels: missing samples as linear combinations of measured ones. Private to this folder. */
#ifndef KRAY_KERNELS_H
#define KRAY_KERNELS_H
#include "neighbours.h"

/* w[h]: the weights of hood h, [tap along X][target, coil][source, coil], the last fastest: a missing sample at k is
 * sum over taps d, sources s and coils of w measured(k_x + d - taps/2, s). Where the readout is one of the hoods' axes, taps is 1. */
typedef struct kr_kernels { const kr_hoods *h; long coils, taps; double *floor; kr_cfloat **w; } kr_kernels;

/* From a calibration block {X,Y,Z,COIL}, or from all of several along BATCH: w = argmin |A w - b|^2 + lambda m |w|^2 over all placements in the block, m the mean
 * power of a column of A. floor: what equations count by (kr_fit_weigh), KR_ALIKE: all alike, KR_CHOSEN: chosen by cross-validation of the hood that fills most; kept in the result. Borrows the hoods. Refuses blocks with fewer placements than unknowns, and those that do not
 * decide w. Source: Griswold et al.,
 * Magn Reson Med 47:1202 (2002). */
enum { KR_ALIKE = -1, KR_CHOSEN = 0 };
kr_kernels *kr_kernels_new(const kr_hoods *h, const kr_array *block, long taps, double lambda, double floor) KR_MUST_USE;
void kr_kernels_unref(kr_kernels **f);
/* y [coil][sample][x], all samples of the grid, from m [coil][measured][x]: measured ones are kept, those that hoods leave are 0.
 * Along x (nx > 1) both are in image space, where the taps are a product. */
int kr_kernels_apply(const kr_kernels *f, kr_cfloat *y, const kr_cfloat *m, long nx) KR_MUST_USE;
/* The variance of sum over coils of conj(S) image for samples with noise of variance 1: variance [sample][x], S [coil][sample][x], both in
 * image space along all axes. In closed form, for any mask; kernels do not change with the noise. */
int kr_kernels_noise(const kr_kernels *f, float *variance, const kr_cfloat *S, long nx) KR_MUST_USE;

/* GRAPPA in image space: the image, coils combined by S, as sum over coils of A v, v the transform of the measured samples alone and A one map
 * a coil, or several where samples spread unlike each other (calibration lines, ends of k-space). The same image as kernels make in
 * k-space, to rounding. *u stays NULL where that takes fewer operations for so many frames. Source: Breuer et al. 2009. Borrows the hoods. */
typedef struct kr_unmix kr_unmix;
int kr_unmix_new(kr_unmix **u, const kr_kernels *f, const kr_cfloat *S, long nx, long frames) KR_MUST_USE;
void kr_unmix_unref(kr_unmix **u);
/* z [sample][x] in image space along all axes, from m as in kr_kernels_apply. */
int kr_unmix_apply(const kr_unmix *u, kr_cfloat *z, const kr_cfloat *m) KR_MUST_USE;
#endif
