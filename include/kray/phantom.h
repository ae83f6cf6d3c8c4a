/* phantom.h: objects that are measured by formula or on a finer grid, never by the operator that inverts them. */
#ifndef KRAY_PHANTOM_H
#define KRAY_PHANTOM_H
#include "kray/opt.h"
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A head that moves in its plane: to another pose, `steps` times at moments by chance while the lines of a slice are measured, each slice at its own. A pose is turned by up to
 * `degrees` and moved by up to `mm` along X and Y, uniformly by chance; the pose at the line in the middle is the one of the still object. */
enum { KR_MOTION_STEPS = 64 };
typedef struct kr_motion { long steps; double degrees, mm; uint64_t seed; } kr_motion;
/* At that line (of `lines`, in the order of time) of a slice: what is at r when the object is still is at R r + shift, R a turn by *angle (radians) from X to Y about the isocentre. */
void kr_motion_pose(double *angle, double shift_mm[2], const kr_motion *m, long slice, long line, long lines);

typedef struct kr_simulate {
    long n[3];                       /* matrix of the image, 8 to 4096 per axis; n[2] = 1: 2D slices        */
    long slices, coils;              /* slices of a 2D scan; channels, 1 to 256                             */
    double fov_mm[3];                /* 0: the phantom's own choice; Z: slab of a 3D scan, slice thickness of a 2D one */
    double gap_mm;                   /* between 2D slices                                                   */
    const char *contrast;            /* "t1", "t2", "pd", "flair"; phantoms without tissues ignore it       */
    double snr;                      /* see below; 0: no noise                                              */
    double noise_correlation;        /* between neighbouring channels, 0 to 0.95                            */
    bool noise_scan;                 /* also measure noise alone                                            */
    bool oversampling;               /* twice the field of view along the readout, as scanners do           */
    bool phase;                      /* a smooth phase of the object, as field errors and flow leave it     */
    uint64_t seed;                   /* of the noise; the object is always the same                         */
    const char *volume;              /* kray source of a volume, for the phantom "volume"                   */
    long multiband, shift;           /* slices measured together, and their shifts: kr_multiband; 0: singly */
    long single_band;                /* lines of the single-band reference, 0: all                          */
    const kr_array *traj;            /* as kr_traj_new makes it: samples lie there, not on a grid; NULL: a grid */
    kr_motion motion;                /* of 2D scans, lines along Y (readouts of a trajectory) in order; steps 0: none */
} kr_simulate;
extern const kr_simulate kr_simulate_preset;    /* 256 x 256, 8 slices, 8 coils, t1, SNR 30                 */

/* How a scan comes about, for every phantom: the object is laid out on a grid twice as fine as the image (4 times the
 * pixels, 8 times the voxels), multiplied by the coil sensitivities on that grid, Fourier transformed there, and the
 * central k-space is kept: what the image grid cannot resolve rings, as it does in a scanner.
 * Noise of every channel is complex, white along k-space and has the covariance kr_phantom_covariance() times one
 * factor, chosen so that in the RSS-combined fully sampled image
 *     mean over the object of |signal| / mean over the object of the noise's standard deviation = snr,
 * the object being where the image is above a tenth of its largest value.
 * data {X,Y,Z,COIL,SLICE} on the encoded grid (X doubled by oversampling), or {SAMPLE,VIEW,COIL,SLICE,TIME} along a trajectory (the Fourier sum over
 * the finer grid at every sample; with motion that of lines and coils as the object sees them, which are turned the other way round, times the phase of the shift); noise {SAMPLE,COIL}; reference: RSS of the
 * noiseless, fully sampled coil images on the recon grid. Axial: X runs to the patient's left, Y to the back, Z to the
 * head, so that pictures show the patient's right on their left. Does not depend on the number of threads. */
typedef struct kr_phantom {
    const char *name, *summary, *cite;
    int (*measure)(kr_scan **out, const kr_simulate *how, const kr_trace *trace);
} kr_phantom;
extern const kr_phantom *const kr_phantoms[];   /* NULL-terminated */
const kr_phantom *kr_phantom_named(const char *name);

/* ---- Receive coils: circular loops on a helmet around the isocentre ---- */
typedef struct kr_loop { double centre_mm[3], normal[3], radius_mm; } kr_loop;     /* normal: unit vector */
/* Places `coils` loops for a field of view; up to 8 in one ring, more in several rings that close at the crown. */
void kr_phantom_loops(kr_loop *loop, long coils, const double fov_mm[3]);
/* Field of a loop with unit current at a point: B = (mu0/4 pi) closed integral of dl x r / r^3, without the factor
 * mu0/4 pi, in 1/mm; by complete elliptic integrals. Source: Smythe, Static and Dynamic Electricity, 7.10. */
void kr_loop_field(const kr_loop *loop, const double at_mm[3], double B[3]);
/* Coil sensitivities B_x - i B_y at points of a grid, {X,Y,Z,COIL}, fov_mm centred at the isocentre; z_mm: offset of the
 * slab. Scaled so that RSS at the isocentre is 1. One coil is a volume coil: 1 everywhere. */
kr_array *kr_phantom_coils(const long n[3], const double fov_mm[3], double z_mm, long coils) KR_MUST_USE;
/* Noise covariance {COIL,MAP=COIL}, C_ij = E conj(n_i) n_j: C_ij = g_i g_j q^(d_ij/d) exp(i (p_j - p_i)), with q the
 * correlation, d_ij the distance of loops, d the smallest of them, p the angle of the loop, and gains g between 0.9 and
 * 1.1 whose squares average 1. Refuses correlations outside 0 to 0.95. */
kr_array *kr_phantom_covariance(long coils, const double fov_mm[3], double correlation) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
