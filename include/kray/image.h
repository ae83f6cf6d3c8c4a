/* image.h: a volume with millimetres. */
#ifndef KRAY_IMAGE_H
#define KRAY_IMAGE_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Where voxels are in the patient. Directions are unit vectors and positions mm in the patient frame LPS (x to the
 * left, y to the back, z to the head), relative to the isocentre. Voxel (i,j,k) of slice s has its centre at
 * position[s] + (i - nx/2) dx read + (j - ny/2) dy phase + (k - nz/2) dz slice, nx/2 rounded down, d = fov / matrix:
 * `position` is where the centred FFT has its origin (FFT-centre rule). */
typedef struct kr_geom {
    double fov_mm[3];                /* field of view along X, Y, Z (Z of a 2D slice: its thickness)     */
    double read_dir[3], phase_dir[3], slice_dir[3];
    long slices;                     /* how many positions follow                                        */
    double (*position_mm)[3];
    double spacing_mm;               /* between slices where positions cannot tell (one slice); 0: thickness */
    bool known;                      /* false: the file did not say; directions are the axes themselves  */
} kr_geom;
kr_geom *kr_geom_new(long slices) KR_MUST_USE;          /* unit directions along the axes, field of view 0, known false */
kr_geom *kr_geom_copy(const kr_geom *g) KR_MUST_USE;
void kr_geom_unref(kr_geom **g);
/* RAS affine (row-major 4x4, mm) of the voxels of a volume with nx x ny x nz voxels per slice, where slices (if more
 * than one) lie along k. Refuses slices that are not equally spaced along one line. */
int kr_geom_affine(const kr_geom *g, const long n[3], double affine[16]) KR_MUST_USE;

typedef struct kr_image {            /* data {X,Y,Z,SLICE,ECHO,...}, R32 or C32                          */
    kr_array *data;
    kr_geom *geom;                   /* never NULL                                                       */
    kr_meta *meta;                   /* provenance and sequence; never NULL                              */
} kr_image;
kr_image *kr_image_new(const kr_array *data, const kr_geom *geom, const kr_meta *meta) KR_MUST_USE; /* borrows; NULL geom, meta: empty ones */
void kr_image_unref(kr_image **im);
/* What the numbers are: "1/mm", "1/pixel" (attenuation), "HU", "": arbitrary. It stands in the meta ("unit"), so that every format keeps it. */
const char *kr_image_unit(const kr_image *im);
int kr_image_set_unit(kr_image *im, const char *unit) KR_MUST_USE;
/* |x| if complex (a new image), otherwise another handle. */
kr_image *kr_image_magnitude(const kr_image *im) KR_MUST_USE;
/* Whole numbers of 12 bits: round(4095 |x| / max |x|), one factor for the whole image, which the meta keeps ("pixels" is "ushort", "pixel_scale" the
 * factor 4095 / max |x|); formats with whole numbers (NIfTI, DICOM) then store them as they are. Refuses Hounsfield units, values below 0 or not
 * finite, and an image that is all zero. The caller owns *out. */
int kr_image_twelve_bits(kr_image **out, const kr_image *im) KR_MUST_USE;
/* Refuses what no reconstruction should give: not finite, all zero, empty. */
int kr_image_check(const kr_image *im) KR_MUST_USE;

/* `im` with its axes X, Y and Z or SLICE put into the order and direction of those of `like`, by where both lie in the patient;
 * exact: voxels are moved, not resampled. Where one of them does not say where it lies (how->known false), or no axis lies within
 * 37 degrees of another's, it comes as it is. */
typedef struct kr_turning {
    bool known, turned;              /* both say where they are; axes were exchanged or reversed          */
    int axis[3]; bool flip[3];       /* axis j of the result was axis[j] (0, 1, 2), reversed if flip[j]  */
    double angle_deg;                /* largest angle between the axes, 0 below 2; 90: no axis fits      */
    double away_mm;                  /* from the middle of one image to that of the other                */
    double voxel_mm[3], voxel_like_mm[3];
} kr_turning;
int kr_image_turn(kr_image **out, kr_turning *how, const kr_image *im, const kr_image *like) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
