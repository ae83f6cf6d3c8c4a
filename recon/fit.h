/* fit.h: linear relations between neighbours in k-space, fitted to a calibration block. Private to this folder. */
#ifndef KRAY_FIT_H
#define KRAY_FIT_H
#include "kray/array.h"

/* All placements of a stencil in the block {X,Y,Z,COIL}: column (k, c), c fastest, of the matrix A (rows x offsets * coils,
 * column-major) holds coil c at offset k of every placement; the placements are those of the whole box low..low+span-1.
 * Every so many-th line is left out where there are more than `enough` rows. *A is freed with kr_free. Refuses boxes
 * that do not fit. */
int kr_fit_shifts(kr_cfloat **A, long *rows, const kr_array *block, long (*offset)[3], long offsets, const long low[3],
                  const long span[3], long enough) KR_MUST_USE;
/* C = A^H B, m x n, A and B of `rows` rows; `lower`: B is A, and the lower triangle suffices. On all threads. */
int kr_fit_products(kr_cfloat *C, const kr_cfloat *A, long m, const kr_cfloat *B, long n, long rows, bool lower) KR_MUST_USE;
/* lambda times the mean of the diagonal of G: the ridge that means the same on every scan. */
float kr_fit_ridge(const kr_cfloat *G, long n, double lambda);
#endif
