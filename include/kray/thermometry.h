/* thermometry.h: changes of temperature, from the phase of gradient echo images: the resonance of protons in water moves with it. */
#ifndef KRAY_THERMOMETRY_H
#define KRAY_THERMOMETRY_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

enum kr_drift { KR_DRIFT_NONE, KR_DRIFT_CONSTANT, KR_DRIFT_LINEAR };
typedef struct kr_prf {
    double field_T, te_ms;           /* B0; echo time                                                    */
    double alpha_ppm;                /* change of the resonance, ppm per K: -0.01 of water, about 0 of fat */
    int sign;                        /* 1: a voxel f Hz off gains exp(2 pi i f t); -1: exp(-2 pi i f t)   */
    long baseline;                   /* the frame that others are compared with                          */
    double threshold;                /* below this part of the largest magnitude of the baseline: 0 K     */
    enum kr_drift drift;             /* of the field: nothing, one phase for each frame, or one that is linear along all axes of space */
    bool unwrap;                     /* along time: each frame within half a turn of the one before (from the baseline on, forwards and backwards) */
} kr_prf;
/* What was found of one frame; all in K. */
typedef struct kr_prf_frame { double least, most, mean, drift, slope[3], spread; } kr_prf_frame;   /* drift: in the middle; slope: over the whole width along X, Y,
                                        * and Z or SLICE; spread: standard deviation in the reference, 0 without one */

/* K of one radian: sign / (2 pi gamma alpha B0 TE), gamma = 42.577 MHz/T of the proton; refuses what is not above 0 (alpha: is 0) or not finite. */
int kr_prf_kelvin(double *kelvin, const kr_prf *how) KR_MUST_USE;

/* out R32 {X,Y,Z,SLICE,TIME} in K: kelvin x arg(sum over COIL of conj(x_baseline) x_t exp(-i drift_t)), which is right up to half a turn; voxels below the threshold are 0.
 * x C32 {X,Y,Z,COIL,SLICE,TIME}. drift_t is fitted where `reference` (R32, {X,Y,Z,SLICE}, or those axes of length 1) is not 0, by least squares weighted by the
 * product of the magnitudes; without a reference over all voxels above the threshold, by least absolute differences with these weights, which the heated part does not move
 * while it is small. frames: one for each along TIME, or NULL. Refuses other axes, real numbers, one frame, numbers that are not finite, a baseline that is not there or is all
 * zero, and a reference in which the drift cannot be told. The caller owns *out.
 * Source: Ishihara et al., Magn Reson Med 34:814 (1995); drift: Poorter, ibid. 34:359. */
int kr_prf_temperature(kr_array **out, kr_prf_frame *frames, const kr_array *x, const kr_array *reference, const kr_prf *how) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
