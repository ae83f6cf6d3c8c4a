/* sense_noise.h: the noise of an image by SENSE in closed form. Private to this folder. */
#ifndef KRAY_SENSE_NOISE_H
#define KRAY_SENSE_NOISE_H
#include "kray/recon.h"

/* The image's standard deviation, R32, where samples have noise of deviation 1: diag(H^-1 A^H A H^-1), H = A^H A + lambda u,
 * u = kr_sense_unit. Returns 1 where it is not known in closed form: several sets of maps, and masks that tie more
 * than 512 pixels together (any mask along one axis, and lattices along several, do not). */
int kr_sense_deviation(kr_image **sd, const kr_scan *scan, const kr_array *coils, double lambda, const kr_trace *trace) KR_MUST_USE;
#endif
