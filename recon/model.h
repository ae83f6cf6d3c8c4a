/* model.h: the problems of a scan, one per slice and further axis. Private to this folder. */
#ifndef KRAY_MODEL_H
#define KRAY_MODEL_H
#include "kray/recon.h"

/* The axes X, Y, Z of the scan that still are in k-space. */
unsigned kr_in_kspace(const kr_scan *s);
/* How many problems {X,Y,Z,COIL} a scan holds: the product of all its further axes. */
long kr_parts(const kr_scan *s);
/* Part i of an array whose axes beyond X, Y, Z, COIL, MAP are those of the scan, or of length 1. A view. */
kr_array *kr_part(const kr_array *a, const kr_scan *s, long i) KR_MUST_USE;
/* The same where the axes `whole` belong to each problem. */
kr_array *kr_part_of(const kr_array *a, const kr_scan *s, unsigned whole, long i) KR_MUST_USE;
/* The scan's mask {X,Y,Z}, without the axes along which it does not vary. */
kr_array *kr_model_mask(const kr_scan *s) KR_MUST_USE;
/* Refuses maps that do not fit the scan. */
int kr_coils_check(const kr_array *coils, const kr_scan *s) KR_MUST_USE;
/* The images of several map sets as one: root of the sum of squares, with the phase of the first set. x {X,Y,Z,MAP}
 * contiguous, z {X,Y,Z}. Source: Uecker et al., Magn Reson Med 71:990 (2014). */
void kr_combine_sets(kr_array *z, const kr_array *x);
#endif
