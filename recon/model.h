/* model.h: the problems of a scan, one per slice and further axis. Private to this folder. */
#ifndef KRAY_MODEL_H
#define KRAY_MODEL_H
#include "kray/recon.h"

/* The axes X, Y, Z of the scan that still are in k-space. */
unsigned kr_in_kspace(const kr_scan *s);
/* The axes of one problem: X, Y, Z, SAMPLE, VIEW, COIL, MAP. */
extern const unsigned kr_problem_axes;
/* How many problems {X,Y,Z,COIL} a scan holds: the product of all its further axes. */
long kr_parts(const kr_scan *s);
/* Part i of an array whose axes beyond X, Y, Z, COIL, MAP are those of the scan, or of length 1. A view. */
kr_array *kr_part(const kr_array *a, const kr_scan *s, long i) KR_MUST_USE;
/* The same where the axes `whole` belong to each problem. */
kr_array *kr_part_of(const kr_array *a, const kr_scan *s, unsigned whole, long i) KR_MUST_USE;
/* Part i as a scan of its own: data (packed), mask, trajectory and density, where there are; to be closed, also after a refusal. */
int kr_part_open(kr_scan *part, const kr_scan *s, unsigned whole, long i) KR_MUST_USE;
void kr_part_close(kr_scan *part);
/* y = W y, density {SAMPLE,VIEW and axes of y}. */
int kr_weigh_samples(kr_array *y, const kr_array *density) KR_MUST_USE;
/* Relative error of the transforms along a trajectory: well below the noise of a scan. */
#define KR_NUFFT_TOLERANCE 1e-4
/* N = A^H W A along the trajectory of a part (with its density), of the frames `series`. empty > 0: points of the image's grid in k-space beyond the ellipse
 * that samples reach count as samples of value 0 with this weight (1: like a measured one). Nothing is known there, and without a prior in
 * space an image collects there what maps and samples disagree in. */
kr_linop *kr_model_normal(const kr_scan *part, const kr_array *coils, kr_shape series, double empty) KR_MUST_USE;
/* The scan's mask {X,Y,Z}, without the axes along which it does not vary. */
kr_array *kr_model_mask(const kr_scan *s) KR_MUST_USE;
/* Refuses maps that do not fit the scan. */
int kr_coils_check(const kr_array *coils, const kr_scan *s) KR_MUST_USE;
/* The images of several map sets as one: root of the sum of squares, with the phase of the first set. x {X,Y,Z,MAP}
 * contiguous, z {X,Y,Z}. Source: Uecker et al., Magn Reson Med 71:990 (2014). */
void kr_combine_sets(kr_array *z, const kr_array *x);
#endif
