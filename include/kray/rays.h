/* rays.h: X-ray computed tomography: where sources, detectors and voxels are, and line integrals between them.
 *
 * Lengths in mm, angles in radians, right-handed coordinates x, y, z. A volume of numbers per mm gives line integrals without unit. Angle 0:
 * rays run along -y, the detector's columns along +x; both turn counter-clockwise (the convention of ASTRA). */
#ifndef KRAY_RAYS_H
#define KRAY_RAYS_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

enum kr_beam { KR_PARALLEL, KR_DIVERGENT };
/* One entry per view. The middle of the detector is between its elements where their number is even: element (column, row) lies at
 * centre + (column - (columns - 1) / 2) u + (row - (rows - 1) / 2) v. */
typedef struct kr_rays {
    enum kr_beam beam;
    bool curved;                      /* columns lie on an arc about the source, |u| of arc apart; rows on a cylinder along v         */
    long views, columns, rows;        /* rows 1: fan or 2D parallel                                                                   */
    double (*source)[3];              /* of the focal spot; the direction of the rays where they are parallel                         */
    double (*centre)[3], (*u)[3], (*v)[3];
} kr_rays;
/* Owner of all: the caller (kr_rays_unref). Refuse counts below 1, lengths that are not above 0 and numbers that are not finite. */
kr_rays *kr_rays_new(enum kr_beam beam, long views, long columns, long rows) KR_MUST_USE;      /* all zero */
void kr_rays_unref(kr_rays **r);
kr_rays *kr_rays_copy(const kr_rays *r) KR_MUST_USE;
/* Views first, first + step, ... */
kr_rays *kr_rays_some(const kr_rays *r, long first, long step) KR_MUST_USE;
/* A detector of so many elements of that pitch, whose middle lies `shift` beside the axis (along u, v). pitch[1] 0: pitch[0]. */
typedef struct kr_detector { long columns, rows; double pitch[2], shift[2]; } kr_detector;
kr_rays *kr_rays_parallel(const kr_detector *d, long views, const double *angle) KR_MUST_USE;
/* Source and detector turn about z, at the distances `sod` (source to axis) and `sdd` (source to detector). z: of source and detector, one a
 * view (helix); NULL: 0. Refuses sdd < sod, and a curved detector that spans half a turn. */
kr_rays *kr_rays_cone(const kr_detector *d, double sod, double sdd, bool curved, long views, const double *angle, const double *z) KR_MUST_USE;
/* Rows of ASTRA's vectors: 6 numbers (2D) or 12 a view: source or direction, centre, u and (3D) v. */
kr_rays *kr_rays_vectors(enum kr_beam beam, long columns, long rows, long views, int numbers, const double *vectors) KR_MUST_USE;
/* RTK's nine parameters, one row a view: source to axis and to detector (0: parallel), gantry angle, detector offset x and y, out-of-plane and
 * in-plane angle, source offset x and y; lengths in mm, angles in degrees; the axis is y. Element (0, 0) of the detector at `origin`. */
kr_rays *kr_rays_rtk(const kr_detector *d, const double origin[2], long views, const double (*nine)[9]) KR_MUST_USE;
/* The axis (0 x, 1 y, 2 z) along which the rows of the detector follow each other in all views, about which a scan then turns; -1: none. */
int kr_rays_axis(const kr_rays *r);
/* Whether the columns of the detector stand along an axis of the volume in all views, to rounding: it is not tilted. */
bool kr_rays_upright(const kr_rays *r);
/* The same scan with coordinates named anew, in turn, so that this axis is z: (axis + 1, axis + 2, axis) become x, y, z. Owner: the caller. */
kr_rays *kr_rays_about_z(const kr_rays *r, int axis) KR_MUST_USE;
/* A point and the unit direction of the ray through (column, row), which may lie between elements. */
void kr_ray(const kr_rays *r, long view, double column, double row, double point[3], double direction[3]);

/* Voxel (i, j, k) is centred at first + (i step[0], j step[1], k step[2]); steps may be negative. */
typedef struct kr_grid { long n[3]; double first[3], step[3]; } kr_grid;
kr_grid kr_grid_centred(const long n[3], const double step[3]);
/* About the axis of kr_rays_axis (z where there is none): pixels as wide as the detector's elements at the axis, as many as cover what every view sees. */
kr_grid kr_grid_of(const kr_rays *r);
int kr_grid_check(const kr_grid *g) KR_MUST_USE;

/* What a voxel adds to a ray. Weights are made on the fly; forward and adjoint are transposes of each other.
 *   joseph:   values interpolated where the ray crosses rows (planes) of voxel centres. Joseph, IEEE Trans Med Imaging 1:192 (1982)
 *   distance: mean over the element's width of the ray's crossing with rows of voxels, separable in rows of the detector. De Man and Basu,
 *             Phys Med Biol 49:2463 (2004)
 *   line:     length of the ray within the voxel. Siddon, Med Phys 12:252 (1985)
 *   strip:    area of the pixel between the rays to both ends of the element, over the element's width; 2D alone */
enum kr_ray_model { KR_RAY_JOSEPH, KR_RAY_DISTANCE, KR_RAY_LINE, KR_RAY_STRIP, KR_RAY_MODELS };
const char *kr_ray_model_name(enum kr_ray_model m);
int kr_ray_model_named(const char *name);                        /* -1: no such model */

/* ---- Projectors: x {X,Y,Z}, y {U,V,VIEW}, real numbers, contiguous ---- */
typedef struct kr_projector kr_projector;
/* Copies the geometry. Refuses a volume that a source lies in, and models that do not do this geometry. plain: by the loop in double precision over
 * single rays, which does every geometry; false: by the fast kernels where they can. */
kr_projector *kr_projector_new(const kr_rays *r, const kr_grid *g, enum kr_ray_model model, bool plain) KR_MUST_USE;
void kr_projector_unref(kr_projector **p);
size_t kr_projector_bytes(const kr_projector *p);                /* what it holds, scratch included */
bool kr_projector_fast(const kr_projector *p);                   /* whether it runs in the fast kernels */
const kr_rays *kr_projector_rays(const kr_projector *p);
/* y = A x of views first, first + step, ...; y {U,V,VIEW} of these alone. The same bits for any number of threads. */
void kr_project(kr_projector *p, float *y, const float *x, long first, long step);
/* x = A^T y of those views; add: x + A^T y. */
void kr_backproject(kr_projector *p, float *x, const float *y, long first, long step, bool add);

/* ---- Filtered back-projection ---- */
/* Windows on the ramp, as scikit-image has them; none: no filter at all (plain back-projection). */
enum kr_fbp_window { KR_WINDOW_RAMP, KR_WINDOW_SHEPP_LOGAN, KR_WINDOW_COSINE, KR_WINDOW_HAMMING, KR_WINDOW_HANN, KR_WINDOW_NONE, KR_WINDOWS };
const char *kr_fbp_window_name(enum kr_fbp_window w);
int kr_fbp_window_named(const char *name);                       /* -1: no such window */
/* Frequencies 0..P/2 (P even) of the ramp for samples one unit apart, P of them, times the window; arc: of rays at equal angles so far apart, 0: along
 * a line. Source: Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), eq. 3.29 and 3.105. */
void kr_fbp_filter(double *H, long P, enum kr_fbp_window w, double arc);

/* Which angles were measured (radians, of the source, or of the rays modulo half a turn): the usual step, what is covered, and the holes: gaps of more than
 * three steps and 3 degrees. */
enum { KR_HOLES = 16 };
typedef struct kr_arc { double period, usual, covered, start; long holes; double hole[KR_HOLES][2]; } kr_arc;
/* share: what each view stands for (radians), adding up to `covered`; NULL: not wanted. */
int kr_arc_of(kr_arc *a, const kr_rays *r, double *share) KR_MUST_USE;

typedef struct kr_fbp_opts {
    enum kr_fbp_window window;
    bool even;                       /* every view counts the same: all of what is covered over the views                             */
    float *weights;                  /* where the weights of rays that were measured twice go, as y; NULL: not wanted                   */
    double gridded;                  /* above 0, of slices of parallel beams: filtered rows between their elements by their Fourier series, put in place by
                                      * a NUFFT of this tolerance (O'Sullivan, IEEE Trans Med Imaging 4:200 (1985)); 0: by straight lines               */
    bool spline;                     /* of slices (volumes go by straight lines): filtered rows between their elements by a quadratic spline through them, whose coefficients the filter makes */
} kr_fbp_opts;
/* x {X,Y,Z} from y {U,V,VIEW}. One slice: parallel, fan on flat and curved detectors; volumes: cone beams on flat detectors (Feldkamp et al., J Opt Soc Am A
 * 1:612 (1984)). Fan and cone scans of less than a turn: Parker's weights (Med Phys 9:254 (1982)) where one arc covers what is needed, else weights that
 * share each line among the views that have it. Refuses other geometries. */
int kr_fbp(float *x, const float *y, const kr_rays *r, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace) KR_MUST_USE;
/* The same of several slices of the same rays, x[i] from y[i]: gridding takes far less time for each then. */
int kr_fbp_slices(float *const x[], const float *const y[], long slices, const kr_rays *r, const kr_grid *g, const kr_fbp_opts *o, const kr_trace *trace) KR_MUST_USE;
/* The bytes that it takes beside x and y. */
double kr_fbp_bytes(const kr_rays *r, const kr_grid *g);
/* The rows *from..*from + *count - 1 of the detector that see a volume in any view, with those that interpolation takes beside them: of cone beams on flat
 * detectors; of others, and where none does, all. */
void kr_rays_rows(const kr_rays *r, const kr_grid *g, long *from, long *count);
/* The same rays of some rows alone. Owner: the caller. */
kr_rays *kr_rays_of_rows(const kr_rays *r, long from, long count) KR_MUST_USE;

/* ---- Bodies of which everything is known ----
 * Ellipsoids whose values add up; half[2] 0: elliptic cylinders along z (a 2D phantom). Turned by phi about z, counter-clockwise. */
typedef struct kr_ellipsoid { double value, centre[3], half[3], phi; } kr_ellipsoid;
/* The exact integral along the line through `point` of unit `direction`. */
double kr_ellipsoids_ray(const kr_ellipsoid *e, long count, const double point[3], const double direction[3]);
/* Of all rays of a scan through the middle of each element {U,V,VIEW}; samples: mean over so many rays across each element's width. */
void kr_ellipsoids_scan(float *y, const kr_ellipsoid *e, long count, const kr_rays *r, int samples);
/* Means over voxels, of samples^3 (samples^2 in a single slice) points each. */
void kr_ellipsoids_draw(float *x, const kr_ellipsoid *e, long count, const kr_grid *g, int samples);
/* The head of Shepp and Logan, values per mm scaled to `value` (of the skull), radius in mm: 10 ellipses, or as a volume 10 ellipsoids.
 * contrast: Toft's values, which can be seen; else those of the paper. Source: IEEE Trans Nucl Sci 21:21 (1974); Kak and Slaney 1988, table 3.2. */
long kr_shepp_logan(kr_ellipsoid e[10], double radius, double value, bool volume, bool contrast);
/* Phantoms by name; kr_bodies_name(i) NULL: no more. Values per mm, `water` that of water (of shepplogan: of the skull); radius: of the longest half axis, in mm.
 * Returns how many ellipsoids, 0: there is no such phantom. volume false: elliptic cylinders along z. */
enum { KR_BODIES = 32 };
const char *kr_bodies_name(int i, const char **summary);
long kr_bodies(kr_ellipsoid e[KR_BODIES], const char *name, double radius, double water, bool volume);
/* Line integrals as measured: y = -log(max(N, 0.1) / photons), N Poisson of mean photons exp(-y) plus normal of deviation `electronic`. Number i depends on
 * seed and i alone. */
void kr_photons(float *y, long n, double photons, double electronic, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
