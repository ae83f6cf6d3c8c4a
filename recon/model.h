/* model.h: the problems of a scan, one per slice and further axis. Private to this folder. */
#ifndef KRAY_MODEL_H
#define KRAY_MODEL_H
#include "kray/recon.h"

/* The axes X, Y, Z of the scan that still are in k-space. */
unsigned kr_in_kspace(const kr_scan *s);
/* The axes of one problem: X, Y, Z, SAMPLE, U, V, VIEW, COIL, MAP. */
extern const unsigned kr_problem_axes;
/* How many problems {X,Y,Z,COIL} a scan holds: the product of all its further axes. */
long kr_parts(const kr_scan *s);
/* Part i of an array whose axes beyond X, Y, Z, COIL, MAP are those of the scan, or of length 1. A view. */
kr_array *kr_part(const kr_array *a, const kr_scan *s, long i) KR_MUST_USE;
/* The same where the axes `whole` belong to each problem. */
kr_array *kr_part_of(const kr_array *a, const kr_scan *s, unsigned whole, long i) KR_MUST_USE;
/* Frame f of an array, counted over the axes of `series`, the first fastest. A view. */
kr_array *kr_frame_of(const kr_array *a, kr_shape series, long f) KR_MUST_USE;
/* Part i as a scan of its own: data (packed), mask, trajectory, density, rays, where there are, and what is known of the noise; to be closed, also after a refusal. */
int kr_part_open(kr_scan *part, const kr_scan *s, unsigned whole, long i) KR_MUST_USE;
void kr_part_close(kr_scan *part);
/* The scan's mask {X,Y,Z}, without the axes along which it does not vary. */
kr_array *kr_model_mask(const kr_scan *s) KR_MUST_USE;
/* Refuses maps that do not fit the scan. */
int kr_coils_check(const kr_array *coils, const kr_scan *s) KR_MUST_USE;
/* The noise of a part beside the object (deviation of real and imaginary part of a sample), where whole readouts of one plane are measured. 0: they are not; below 0:
 * refused. */
double kr_noise_beside(const kr_scan *part);
/* The image {X,Y} of a part by the presets of a method: what a network begins with. */
int kr_first_image(kr_array **x, const kr_recon *method, const kr_scan *part, const kr_array *maps, const kr_trace *trace) KR_MUST_USE;
/* Below it are 99 in 100 of the magnitudes of an image that are not 0. 0: lack of memory, or an image of zeros. */
double kr_first_unit(const kr_array *x);
/* The images of several map sets as one: root of the sum of squares, with the phase of the first set. x {X,Y,Z,MAP}
 * contiguous, z {X,Y,Z}. Source: Uecker et al., Magn Reson Med 71:990 (2014). */
void kr_combine_sets(kr_array *z, const kr_array *x);

/* Along trajectories: maps S f and *by = f {X,Y,Z,..}, f below 1 where the sum of squares is larger than where 98 % of the energy of the object lies: there x / f
 * is what is solved for, so that maps which are far larger beside the object than in it, as those of a coil close by, neither shorten all steps nor say what lambda is a fraction of.
 * b = A^H W y of all parts, of any unit, tells where the object is. *by NULL: nothing is changed, as with maps whose sum of squares is 1. */
int model_level(kr_array **levelled, kr_array **by, const kr_array *coils, const kr_array *b, const kr_scan *scan) KR_MUST_USE;
int model_times(kr_array **x, const kr_array *f) KR_MUST_USE;         /* x = x f, f repeating along axes that it lacks */

/* ---- The model of one part: y = A x, and N = A^H W A ----
 * Every method that solves for an image takes its operators from here. A kind of scan is one file model_NAME.c that defines model_NAME, and one
 * word in meson.build; the first that can is taken. Numbers of x and y are of `type`. */
typedef struct model model;
typedef struct model_kind {
    const char *name;
    bool (*can)(const kr_scan *part);
    int (*open)(model *m);                       /* fills what is its own; refuses parts that contradict themselves */
    kr_linop *(*forward)(const model *m);        /* A, of a part without a series */
    /* N of all frames of the series, as an operator of its own: its forward is used. empty: weight of what was never measured and lies
     * beyond what was, where a kind knows of such; 0: none. */
    kr_linop *(*normal)(const model *m, double empty);
    int (*adjoint)(const model *m, kr_array *x, double *yy);     /* x = A^H W y of the part's data, all frames; *yy = y^H W y */
} model_kind;
struct model {
    const model_kind *kind;
    const kr_scan *part;             /* borrowed                                                        */
    kr_array *coils;                 /* packed; NULL: the kind has none                                 */
    kr_shape series;                 /* further axes of the part: frames that are solved for together   */
    kr_shape image;                  /* of x, with MAP and the series                                   */
    enum kr_type type;
    double bound;                    /* at least the largest eigenvalue of N; 0: power iteration tells  */
    kr_array *mask; unsigned axes;   /* of a grid: P, and the axes in k-space                           */
    kr_linop *A;                     /* of rays: real, without weights below 0; NULL: forward makes it  */
    kr_rays *rays; kr_grid grid;     /* those of A                                                      */
    int turn;                        /* model_open_lying: as kr_rays_about_z has it; -1: not turned     */
};
/* coils {X,Y,Z,COIL,MAP}; borrows part. To be closed, also after a refusal. */
int model_open(model *m, const kr_scan *part, const kr_array *coils) KR_MUST_USE;
void model_close(model *m);
/* The same of rays, for solvers to whom axes are alike: x of a volume whose detector columns stand along y or z is turned, so that their lines of voxels lie along its first axis,
 * where A takes them as they are, without a copy of the volume in that order. Of tilted detectors, and where A goes slab by slab, it is not turned. */
int model_open_lying(model *m, const kr_scan *part) KR_MUST_USE;
/* x, a real image {X,Y,Z} of the model, with the scan's axes; and the other way about. Views. */
kr_array *model_upright(const model *m, const kr_array *x) KR_MUST_USE;
kr_array *model_lying(const model *m, const kr_array *upright) KR_MUST_USE;
#endif
