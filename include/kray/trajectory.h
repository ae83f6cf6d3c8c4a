/* trajectory.h: where readouts run through k-space: made from a specification, and what a trajectory is like. */
#ifndef KRAY_TRAJECTORY_H
#define KRAY_TRAJECTORY_H
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What a trajectory is made for. */
typedef struct kr_traj_want {
    long n[3];                       /* matrix of the image; 0: radial readouts tell it (samples / oversampling), others refuse */
    double fov_mm[3];                /* field of view; 0: unknown, which kinds that keep to gradient limits refuse  */
    long samples, views, frames;     /* of data that were measured along it; 0: as the specification says            */
} kr_traj_want;

/* spec: "KIND:key=value,...", for example "radial:spokes=64,angle=golden"; `kr_traj_kinds` lists kinds and keys. R32
 * {SAMPLE,VIEW,TIME,CHAN} in cycles per field of view of the matrix (so that k reaches half of it), CHAN 2 or 3. Voxels are taken
 * for as long as they are wide. A matrix that was not known is set in `want`. Refuses unknown words, values out of range, and other counts than those wanted. Owner: the caller. */
kr_array *kr_traj_new(const char *spec, kr_traj_want *want) KR_MUST_USE;
bool kr_traj_is_spec(const char *text);      /* the word before ':' is a kind of trajectory */
void kr_traj_kinds(kr_text *help);
/* The trajectory of `spec` for the data of `s`, attached as kr_scan_attach_trajectory does. n: matrix of the image; NULL: as the file says. */
int kr_scan_make_trajectory(kr_scan *s, const char *spec, const long n[3]) KR_MUST_USE;

/* Weights of every sample, kept elsewhere: as the trajectory, without CHAN, or with as many numbers in that order (X and Y for SAMPLE and VIEW). Refuses other
 * counts, negative numbers and what is not finite. */
int kr_scan_attach_density(kr_scan *s, const kr_array *density) KR_MUST_USE;

/* Units that a trajectory may be stated in, kr_scan.traj_unit: "fov" cycles per field of view, "sample" cycles per sample (to 0.5), "radians" per
 * sample (to pi), "1/m" cycles and "rad/m" radians per metre, which want a field of view. NULL-terminated. */
extern const char *const kr_traj_units[];

/* States into which readouts are sorted; 0 and 1: all are one. */
typedef struct kr_gates { long phases, breathing; } kr_gates;
/* Readouts of a scan that went on through heart beats and breathing: heart phases become PHASE, states of breathing TIME. The phase is the part of its beat that
 * has passed, by the time since the last trigger (physio[0] of the lines) or, where that does not change, by R waves of an electrocardiogram (waveform 0); beats
 * more than a quarter longer or shorter than the median are left out and counted. The state is the rank of what all coils see change in the centre of k-space,
 * smoothed over 0.6 s. Frames of fewer readouts repeat some, so that all have the same number. Refuses scans on a grid, series, beats that are not
 * known, readouts that stay away from the centre (breathing), and states without a readout. */
int kr_scan_gate(kr_scan *s, const kr_gates *g, const kr_trace *trace) KR_MUST_USE;

/* s->field: the map (Hz; R32, or the real part) at the voxels of the scan's image, by where both lie in the patient, linear between voxels, 0 outside of the
 * map; where one of them does not say where it lies, voxel by voxel. Its sign follows that of k (kr_scan_kspace_sign). first_us: from time zero,
 * where off-resonance has no phase yet, to the middle of the first sample; dwell_us: between samples, 0: as the scan says. Refuses scans on a grid, unknown
 * times and others than the scan's (1 %), numbers that are not finite, and maps of other sizes that do not say where they lie. */
int kr_scan_field(kr_scan *s, const kr_image *map, double first_us, double dwell_us, const kr_trace *trace) KR_MUST_USE;

/* The time between samples is stated, or known: sets s->dwell_us where us is above 0. Refuses another than the scan's (1 %), and where neither tells; `what` begins the sentence. */
int kr_scan_dwell(kr_scan *s, double us, const char *what) KR_MUST_USE;
/* s->traj as the gradients made it: each of the magnet's axes k(t) through its transfer function H(f), the Fourier transform of the gradient impulse response with exp(-2 pi i f t)
 * (a lag of T is exp(-2 pi i f T)). table {X=2 or 4,Y=rows}: frequency in Hz, ascending, from 0 or below it, then H of all three gradients, or of X, Y and Z;
 * linear between rows, 0 beyond the last, H(-f) = conj H(f) from 0. The magnet's axes are those of the patient (left, back, head), or the scan's where the file gives no directions.
 * What the gradients did before a readout is not known: it is taken to go straight on at both ends. After kr_scan_trajectory. Refuses scans on a grid,
 * unknown times between samples, other tables, and |H(0) - 1| > 0.2. Source: Vannesjo et al., Magn Reson Med 69:583 (2013). */
int kr_scan_girf(kr_scan *s, const kr_array *table, double dwell_us, const kr_trace *trace) KR_MUST_USE;

/* What is stated of a scan along a trajectory, part of kr_stated. */
typedef struct kr_along {
    const char *unit;                /* of the trajectory, one of kr_traj_units; NULL: told by its range */
    double file_mm[3];               /* field of view that the trajectory's file tells: where the scan's does not; 0: unknown */
    double fov_mm[3];                /* kr_scan_widen; 0: as the file says                              */
    double shift_mm[3];              /* kr_scan_shift                                                   */
    kr_gates gates;                  /* kr_scan_gate                                                    */
    kr_played *played;               /* by which the file's lines are placed (kr_read); NULL: by what they say */
    kr_array *girf;                  /* kr_scan_girf, before delays; NULL: gradients as they were set    */
    kr_image *field; double first_us, dwell_us;      /* kr_scan_field; NULL: on resonance */
} kr_along;

/* The image of a scan with a trajectory gets a field of view of mm along X, Y and, for volumes, Z (0: as it is), in voxels of the same size (to whole
 * voxels): wider, k and the matrix grow; narrower, the image is cut and what lies beyond is still taken into account. Where no field of view was
 * known it is stated. Refuses what is not above 0, and scans on a grid. */
int kr_scan_widen(kr_scan *s, const double mm[3]) KR_MUST_USE;
/* The plane that is solved for gets `times` the field of view (or a little more: even numbers of voxels that transforms are quick at, of the same size), while its image is still cut to what it was: what surrounds the image is
 * then explained by voxels of its own. *grown: the field of view over what it was. After kr_scan_trajectory; density has to be made anew. Refuses scans on a grid. */
int kr_scan_surround(kr_scan *s, double times, double *grown) KR_MUST_USE;
/* *part: of the signal in the middle of k-space, how much comes from outside of the image's field of view (to 1.5 times as wide; beyond, it folds): where an image is made
 * of it nevertheless, it comes back as streaks. Of the middle slice and first frame, coarsely (24 pixels across). -1: volumes, and readouts too far
 * apart in the middle of k-space to tell. After kr_scan_trajectory and with density. */
int kr_scan_outside(double *part, const kr_scan *s) KR_MUST_USE;
/* Where coil maps can be calibrated from: R32 {X,Y,Z} 1 in the largest centred box, of 12 to 32 points a side, of whose cells of one cycle at least .95 hold
 * a sample of the first slice; *part: what does in the box found, less where even the smallest lacks some. After kr_scan_trajectory. Owner: the caller. */
kr_array *kr_scan_covered(double *part, const kr_scan *s) KR_MUST_USE;
/* The middle of the image moves by mm along its axes X, Y and, for volumes, Z: data times exp(2 pi i k mm / fov), k as the trajectory stands, and the
 * positions of the geometry with it, so that nothing moves in the patient. Refuses scans on a grid, an unknown field of view, and a move across a plane. */
int kr_scan_shift(kr_scan *s, const double mm[3]) KR_MUST_USE;

/* In place, k {SAMPLE,VIEW and further axes,CHAN} contiguous: coordinate d lags behind by delay[d][d] samples, and takes up what coordinate e
 * would lose by a lag of delay[d][e] (spokes of direction u are shifted by -delay u, in samples). Refuses other shapes. */
int kr_traj_delay(kr_array *k, const double delay[3][3]) KR_MUST_USE;

/* Those delays, found from where readouts meet about the centre of k-space, of the middle slice and frame, which is said where there are several: symmetric, in samples. After kr_scan_trajectory.
 * Refuses fewer than 7 readouts through the centre. Source: in lag.c. */
int kr_scan_lag(double delay[3][3], const kr_scan *s, const kr_trace *trace) KR_MUST_USE;

/* The readouts of a scan in frames of `views`, one after the other, along TIME; what is left over is left out. Refuses scans on a grid, series, and more
 * than there are. */
int kr_scan_frames(kr_scan *s, long views, const kr_trace *trace) KR_MUST_USE;

typedef struct kr_traj_facts {
    int dims;
    long n[3], samples, views, frames;
    double largest[3];               /* |k| along each axis, cycles per field of view                    */
    const char *unit;                /* of the file: "cycles per sample", ...                            */
    int spokes;                      /* 1: straight, through the centre; 2: straight, from the centre; 0: otherwise */
    double full;                     /* spokes that sample all of k-space as far as the matrix; 0: no spokes */
    double covered;                  /* part of the cells of one cycle that hold a sample (of the first frame) */
} kr_traj_facts;
/* Of a scan with a trajectory, in any unit. Refuses as kr_scan_trajectory does. */
int kr_traj_describe(kr_traj_facts *f, const kr_scan *s) KR_MUST_USE;
void kr_traj_facts_text(kr_text *t, const kr_traj_facts *f);

#ifdef __cplusplus
}
#endif
#endif
