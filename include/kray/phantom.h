/* phantom.h: objects that are measured by formula or on a finer grid, never by the operator that inverts them. */
#ifndef KRAY_PHANTOM_H
#define KRAY_PHANTOM_H
#include "kray/opt.h"
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_simulate {
    long n[3];                       /* matrix of the image; n[2] = 1: 2D slices                        */
    long slices, coils;
    double fov_mm[3];                /* Z: slice thickness when 2D                                      */
    const char *contrast;            /* "t1", "t2", "pd", "flair"                                       */
    double snr;                      /* mean object signal over noise standard deviation in the RSS-combined full image; 0: no noise */
    double noise_correlation;        /* between neighbouring channels, 0..1                             */
    bool noise_scan;                 /* also measure noise alone                                        */
    bool oversampling;               /* twice the field of view along the readout, as scanners do       */
    uint64_t seed;
    const char *volume;              /* kray source of a volume, for the phantom "volume"               */
} kr_simulate;
typedef struct kr_phantom {
    const char *name, *summary, *cite;
    /* A whole scan: k-space of every coil, noise, geometry, and the noiseless RSS reference image. */
    int (*measure)(kr_scan **out, const kr_simulate *how, const kr_trace *trace);
} kr_phantom;
extern const kr_phantom *const kr_phantoms[];   /* NULL-terminated */
const kr_phantom *kr_phantom_named(const char *name);

/* Coil sensitivities of `coils` circular loops around the object at points of a grid: Biot and Savart's law.
 * {X,Y,Z,COIL}, fov_mm centred at the isocentre, z_mm: offset of the slab. Scaled so that RSS at the centre is 1. */
kr_array *kr_phantom_coils(const long n[3], const double fov_mm[3], double z_mm, long coils) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
