/* range.h: what of a scan trained weights were not trained on. Weights tell of their training in the meta "trained.NAME". */
#ifndef KRAY_RANGE_H
#define KRAY_RANGE_H
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* What kind of mask it is: 0 ... KR_MASK_FAMILIES - 1. Lines or points over the plane; at regular distances outside of the centre, or not; as far on one side of k-space as on the other, or
 * (partial Fourier, less than 0.9) not; or fully sampled. */
enum { KR_MASK_FAMILIES = 9 };
int kr_mask_family(const kr_mask_facts *f);
const char *kr_mask_family_name(int kind);
/* The norm of an image beside its brightness: the root mean square of C32 or R32 numbers, divided by the 99th percentile of the magnitudes above 0. 0: it is 0 everywhere, or
 * (with an error on record) there is no memory. */
double kr_image_norm(const kr_array *x) KR_MUST_USE;
/* Warns where `value` is more than a tenth outside of "LOW to HIGH" under that key; `what`: in words. */
void kr_range_compare(const kr_meta *m, const char *key, double value, const char *what, const kr_trace *trace);
/* Warns where that kind of mask is not among those under "trained.masks" (names with commas). */
void kr_range_mask(const kr_meta *m, int kind, const kr_trace *trace);
#endif
#ifdef __cplusplus
}
#endif
#endif
