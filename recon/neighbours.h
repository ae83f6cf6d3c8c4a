/* neighbours.h: which measured samples of k-space a missing one is made from. Private to this folder. */
#ifndef KRAY_NEIGHBOURS_H
#define KRAY_NEIGHBOURS_H
#include "kray/array.h"

/* Missing samples that lie alike between measured ones share a kernel. A `kr_hood` is one constellation of sources, up to a
 * shift, with all the places relative to it (targets) that are to be filled from it: on a lattice of R lines one hood with
 * R - 1 targets. Offsets are along X, Y, Z from the first source. */
typedef struct kr_hood {
    long sources, targets, bases;
    long (*source)[3], (*target)[3];
    long low[3], span[3];            /* the box around sources and targets: where it begins, and its lengths */
    int *at;                         /* [base][source]: which of the measured samples                      */
    int *fill;                       /* [base][target]: which sample of the grid, -1: none                 */
} kr_hood;
typedef struct kr_hoods {
    long n[3], samples;              /* the grid                                                          */
    long measured; int *sample;      /* of each measured sample, its place on the grid; ascending         */
    long missing, left;              /* samples to be filled; those with no measured ones around them     */
    long count; kr_hood *hood;
} kr_hoods;

/* Sources of a missing sample are the `sources` measured ones nearest to it (as many more as are equally near), on a grid that is
 * periodic as the discrete Fourier transform is (unless partial Fourier leaves a larger gap there), as far as they fit with it
 * into a box of `most`. Samples that have measured ones on one side only (partial Fourier, corners) are left. mask R32 {X,Y,Z}, n: the grid; along axes where
 * it does not vary it has length 1. Refuses masks with more than 256 constellations. */
kr_hoods *kr_hoods_new(const kr_array *mask, const long n[3], long sources, const long most[3]) KR_MUST_USE;
void kr_hoods_unref(kr_hoods **h);
#endif
