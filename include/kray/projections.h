/* projections.h: projections of an X-ray scan as files hold them, and how they were measured. */
#ifndef KRAY_PROJECTIONS_H
#define KRAY_PROJECTIONS_H
#include "kray/io.h"
#include "kray/rays.h"
#ifdef __cplusplus
extern "C" {
#endif

/* y {U,V,VIEW}: U columns, V rows of the detector. How they were measured stands in plain numbers, or, where `rays` is not NULL, there. */
typedef struct kr_projections {
    const char *kind;                 /* of the file, in words; NULL: a bare array                                    */
    kr_array *y, *white, *dark;       /* white (without the object), dark (without the beam) {U,V,VIEW}; NULL: none   */
    bool integrals;                   /* y is known to hold line integrals                                            */
    double water;                     /* attenuation of water in the image's unit; 0: not said                        */
    enum kr_beam beam;
    bool volume;                      /* the rows belong together; false: each is a slice                             */
    const char *unit;                 /* of an image; NULL: 1/mm, or 1/pixel                                         */
    bool curved, lengths;             /* lengths: they are mm; false: elements of the detector                        */
    double sod, sdd, pixel[2], shift[2];      /* as kr_rays_cone, kr_detector; pixel[1] 0: as pixel[0]                */
    double rise;                      /* of source and detector along z in a counter-clockwise turn (a helix), mm; 0: a circle. Angle by angle, its middle at z = 0 */
    double middle[2];                 /* where the middle of the detector lies, by files that hold pictures with a place; 0  */
    kr_grid grid;                     /* of the image that the data set is meant for; n[0] 0: not said                */
    double *angle;                    /* degrees, one a view; NULL: not known                                         */
    long views;
    kr_rays *rays;
} kr_projections;
void kr_projections_unref(kr_projections **p);
/* Reads projections and what the file tells of them: one of the kinds below, recognised by content, or any array (as kr_projections_array). What a
 * file should have, but does not, is said by warnings; what cannot be is refused. Owner: the caller. */
int kr_projections_read(kr_projections **out, const char *source, const kr_trace *trace) KR_MUST_USE;
/* A real array {U,V,VIEW}, contiguous, from FILE[:VARIABLE][@AXES]; without axes (view, row, column) or (view, column). */
int kr_projections_array(kr_array **out, const char *source) KR_MUST_USE;
/* Adds, or replaces, how they were measured: WHAT[:NAME=VALUE,...]. WHAT: parallel, fan, cone (one volume), parallel3d (likewise), or a file that a kind
 * below knows. Names: sod, sdd, pixel, row (pitch of rows; else pixel) in mm, the first three also by TIGRE's names DSO, DSD and dDetector; rise (mm a turn, of a helix: how
 * far source and detector move along z while angles grow by 360 degrees; below 0: downwards); angles=FROM:TO:N (degrees, TO left out); curved=yes|no (fan, cone);
 * vectors=FILE[:VARIABLE] (rows of ASTRA's vectors, 6 or 12 numbers a view, nothing else then); turn=left|right (right: angles count clockwise);
 * flip=u|v|uv (the detector's columns or rows, or both, are stored the other way about). Refuses names that WHAT does not have, what contradicts itself, and
 * lengths that are missing or not above 0. */
int kr_projections_geometry(kr_projections *p, const char *text) KR_MUST_USE;
/* Angles in degrees from the numbers of an array FILE[:VARIABLE], or of a text file: one after the other, with blanks, commas, semicolons or line ends
 * between them, '#' before a comment. */
int kr_projections_angles(kr_projections *p, const char *source) KR_MUST_USE;
/* The rays, with `rows` rows (1: a slice) and the axis of rotation at detector column `axis`, counted from 0: (columns - 1) / 2 is what the file says.
 * Refuses where angles are missing, not as many as views, or not finite. */
kr_rays *kr_projections_rays(const kr_projections *p, long rows, double axis) KR_MUST_USE;

/* A kind of file; all of them, NULL at the end. read: 1: it is of this kind; 0: it is not; else a refusal. */
typedef struct kr_projections_kind {
    const char *name, *summary;
    int (*read)(kr_projections *p, const char *source, const kr_trace *trace);       /* NULL: holds no projections */
    int (*geometry)(kr_projections *p, const char *file);            /* of a file with geometry alone, likewise; NULL: none */
} kr_projections_kind;
extern const kr_projections_kind *const kr_projections_kinds[];

#ifdef __cplusplus
}
#endif
#endif
