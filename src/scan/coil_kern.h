/* coil_kern.h: the loops of coil calibration that are hot, built once per CPU level. Private to this folder.
 *
 * Sixteen pixels are treated together, pixel innermost ("lanes"): a complex number of 16 pixels is 16 real parts, then
 * 16 imaginary ones. A Hermitian matrix of `coils` is its upper triangle row by row, of each entry such a number. */
#ifndef KRAY_COIL_KERN_H
#define KRAY_COIL_KERN_H
#include "kray/array.h"

enum { LANES = 16 };

/* The `maps` largest eigenpairs of the matrix of each lane. */
typedef struct kr_eigen {
    long coils, maps, most;          /* most: iterations per map                                         */
    const kr_cfloat *start;          /* {coils} per map: where to begin, the same for every pixel         */
    float tolerance;                 /* of |G v - lambda v| in units of lambda                            */
    float skip;                      /* lanes whose lambda certainly stays below need not converge        */
    float *G;                        /* matrices                                                         */
    float *v;                        /* out: maps x coils complex numbers, |v| = 1                        */
    float *lambda;                   /* out: maps x LANES, descending                                     */
    float *work;                     /* kr_eigen_work(coils, maps) floats                                 */
} kr_eigen;
static inline size_t kr_eigen_work(long coils, long maps) { return (size_t)((maps + 3) * coils * 2 * LANES); }
static inline size_t kr_eigen_matrix(long coils) { return (size_t)(coils * (coils + 1) * LANES); }

/* What becomes of eigenvectors: times conj of the phase of u^H v, times the weight, to complex numbers in memory. */
typedef struct kr_finish {
    long coils, maps, count;         /* count: lanes to write                                            */
    const kr_cfloat *u;              /* {coils} the virtual coil whose phase becomes 0                     */
    const float *v, *weight;         /* weight: maps x LANES                                             */
    kr_cfloat *out;
    long coil_step, map_step;        /* elements of out                                                  */
} kr_finish;

typedef struct kr_coil_kern {
    /* sum[t][c][c'] = sum over x in 0..n-1 of a[c][t+x] conj(b[c'][t+x]), t in 0..windows-1. Lines are [x][re, im][room],
     * sums [t][c][re, im][room]; room is coils rounded up to a multiple of 8, the surplus is 0. */
    void (*line)(float *sum, const float *a, const float *b, long coils, long room, long n, long windows);
    /* G = K0 + sum over d in 1..reach of A_d cos + i B_d sin for every entry; coefficients per entry K0, A_1, B_1, A_2,
     * B_2, ... complex; wave[d-1]: 16 cosines and 16 sines. */
    void (*spread)(float *G, const float *coef, const float *wave, long coils, long reach);
    void (*eigen)(const kr_eigen *e);
    void (*finish)(const kr_finish *f);
} kr_coil_kern;
extern const kr_coil_kern kr_coil_kern_base, kr_coil_kern_v3, kr_coil_kern_v4;
static inline const kr_coil_kern *kr_coil_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_coil_kern_v4 : cpu >= 3 ? &kr_coil_kern_v3 : &kr_coil_kern_base;
}
#endif
