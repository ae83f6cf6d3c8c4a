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
/* What each equation counts by. In the middle of k-space samples are a hundred times stronger than outside: counted alike, the few equations there decide
 * kernels that then serve all the rest. An equation is divided by the root of p + f m: p the mean power of its `known` columns, m the mean of p over all
 * rows, f the floor: a small one lets all of k-space count alike, a large one leaves the equations as they are. */
int kr_fit_weigh(kr_cfloat *A, long rows, long known, long columns, double floor) KR_MUST_USE;
/* Which floor, by two-fold cross-validation: kernels of one half of the rows predict those of the other. `known` columns of A predict the `right` columns at
 * `targets`, by the weights W (known x right) that `weights` makes of G = A^H A (lower triangle) and X = A^H B. Errors of equations stronger than `edge`,
 * the power of a sample just outside the calibration area, count as if these were as strong as that: missing samples are. errors: of each
 * floor that is tried. */
enum { KR_FLOORS = 3 };
typedef struct kr_fit_split {
    const kr_cfloat *A; long rows, known, right, targets; double edge;
    int (*weights)(void *self, kr_cfloat *W, kr_cfloat *G, kr_cfloat *X); void *self;
} kr_fit_split;
int kr_fit_errors(double errors[KR_FLOORS], const kr_fit_split *s) KR_MUST_USE;
/* The smallest whose error is at most 1 + slack times the least: outside the calibration area, where no error is seen, a larger one is the greater risk. */
double kr_fit_floor(const double errors[KR_FLOORS], double slack);
/* The mean power of the outermost samples of a block along these axes: about that of the first missing ones beyond it. */
double kr_fit_edge(const kr_array *block, unsigned axes);
/* lambda times the mean of the diagonal of G: the ridge that means the same on every scan. */
float kr_fit_ridge(const kr_cfloat *G, long n, double lambda);
#endif
