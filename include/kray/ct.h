/* ct.h: from counts or line integrals of an X-ray scan to an image. */
#ifndef KRAY_CT_H
#define KRAY_CT_H
#include "kray/projections.h"
#include "kray/recon.h"
#include "kray/scan.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Line integrals p = -log((counts - dark) / (white - dark)), in place: y {U,V,VIEW} counts; white, dark {U,V,VIEW}: their means are taken, NULL: none.
 * Elements whose white field is not above the dark one, and counts that are not finite, are taken from their neighbours along the row; so are counts at or
 * below the dark field of up to 4 elements side by side; of more they count as a transmission of 1e-6. Returns how many were replaced, or a refusal. */
long kr_ct_log(kr_array *y, const kr_array *white, const kr_array *dark) KR_MUST_USE;
/* The column of the axis of rotation, counted from 0, from pairs of views half a turn apart, which mirror each other about it (of a scan of half a turn: the
 * first and the last); at least an eighth of the columns must meet others. *mismatch: what is left, relative. Parallel beams. Refuses scans without such a pair, and those whose views mirror each other
 * nowhere, or best where hardly anything is left to compare. */
int kr_ct_axis(double *column, double *mismatch, const kr_array *y, const kr_rays *r) KR_MUST_USE;
/* The same of fans and cones on a full turn, from rays that were measured in both directions, in the plane of the source; of shorter scans that have such rays, *column is NAN and the
 * rest is about their direction alone. *before: what is left where r has
 * the axis; *otherwise: the least where the views turned the other way (angles of the wrong sign, columns stored from the other end). Refuses scans without such rays. */
int kr_ct_axis_fan(double *column, double *mismatch, double *before, double *otherwise, const kr_array *y, const kr_rays *r) KR_MUST_USE;
/* Takes out stripes, in place: values of every column in order of size, smoothed across columns by a median of `width`. Source: Vo et al., Opt
 * Express 26:28396 (2018), algorithm 3. */
int kr_ct_rings(kr_array *y, long width) KR_MUST_USE;
/* The same by wavelets: `levels` bands of Daubechies' wavelets with 5 vanishing moments (stripes of up to 2^levels columns), of which those that vary along
 * columns alone lose what hardly changes from view to view: frequency k times 1 - exp(-k^2 / 2 sigma^2). More bands take more of the object too. Source:
 * Muench et al., Opt Express 17:8567 (2009). Refuses fewer than 2^(levels + 1) columns or views. */
int kr_ct_rings_wavelet(kr_array *y, int levels, double sigma) KR_MUST_USE;
/* Beam hardening, in place: p becomes factor[0] p + factor[1] p^2 + ... Refuses a polynomial that falls where there are data. Source: Herman, Phys Med
 * Biol 24:81 (1979). */
int kr_ct_polynomial(kr_array *y, const double *factor, int count) KR_MUST_USE;

/* Metal: voxels above `above` (in the image's unit, without Hounsfield) of a plain filtered back-projection. The rays that meet them are taken from their neighbours along the row,
 * by straight lines, in place, in s->data. *metal: the values of those voxels, 0 elsewhere, as the image of the scan {X,Y,Z,SLICE}; owner: the caller. Returns how many voxels, or a
 * refusal. Source: Kalender et al., Radiology 164:576 (1987). */
long kr_ct_metal(kr_array **metal, kr_scan *s, double above, const kr_trace *trace) KR_MUST_USE;
/* Puts them back into the image of what is left {X,Y,Z}. */
int kr_ct_metal_back(kr_image *im, const kr_array *metal) KR_MUST_USE;

/* ---- From a file to an image ----
 * Between these two ends a job (recon.h) makes the image: kr_job_file does it all of files that tell how they were measured. */
typedef struct kr_ct_opts {
    const char *log;                  /* "on"; "off"; "auto": where a white field is                 */
    double axis;                      /* column of the axis of rotation; NAN: found where lines were measured twice, else the middle */
    long rings;                       /* kr_ct_rings; 0: not                                                         */
    int stripes;                      /* levels of kr_ct_rings_wavelet; 0: not                                       */
    double harden[16]; int terms;     /* kr_ct_polynomial; 0 terms: not                                              */
    long from, to;                    /* rows of the detector, where each is a slice; to 0: all                       */
    long matrix;                      /* pixels along x and y; 0: those that the file's data set is meant for, else as many as the views see */
    double voxel;                     /* mm (elements where lengths are not known), the same along all axes; 0: of an element at the axis. The volume stays as large     */
    bool boxed; double box[3][2];     /* of x, y, z: only voxels whose centres lie between these; infinite: all     */
    long bin;                         /* mean of so many elements side by side, along columns and, of volumes, rows; 0: 1. Axis and numbers of columns are those before it */
    enum kr_ray_model model;
    const char *keep;                 /* where the line integrals are written; NULL: nowhere                         */
} kr_ct_opts;
kr_ct_opts kr_ct_preset(void);
typedef struct kr_ct_facts { double axis, mismatch; long replaced; } kr_ct_facts;        /* as kr_ct_axis and kr_ct_log tell; mismatch NAN: not looked for */
/* 1: a file that tells how it was measured, *out (owner: the caller); 0: none of the kinds of projections.h; else a refusal. */
int kr_ct_known(kr_projections **out, const char *source, const kr_trace *trace);
/* Line integrals, axis, rays and grid as a scan of kind KR_SCAN_RAYS. p's numbers are used up. Refuses what is not finite, and rows, axes and options that p does
 * not have. name: the file's, for what is said. facts: may be NULL. Owner of *out: the caller. */
int kr_ct_scan(kr_scan **out, kr_projections *p, const char *name, const kr_ct_opts *o, kr_ct_facts *facts, const kr_trace *trace) KR_MUST_USE;
/* Where an image {X,Y,Z} of n voxels of such a scan lies: x, y, z of the scanner (the axis of rotation is x = y = 0) are taken for right, front and head of
 * a patient, as NIfTI has them. g: of one position. Known where lengths are. */
int kr_ct_place(kr_geom *g, const kr_scan *s, const long n[3]) KR_MUST_USE;
/* The image of such a scan as a method made it: slices along Z, place and size of the voxels, unit: meta "unit" of the scan ("1/pixel" where lengths are not known), else
 * "1/mm". kr_job_run does it. */
int kr_ct_finish(kr_image *im, const kr_scan *s) KR_MUST_USE;
/* The program takes no more than `memory` bytes from now on: large arrays lie in files without names in the folder of `output` (kr_mem_page), projections as they are read, too, and operators go
 * through volumes slab by slab. Refuses what is less than the program itself and a few planes. kr_mem_unpage ends it. */
int kr_ct_within(int64_t memory, const char *output) KR_MUST_USE;
/* Images part by part: how many planes along z (of a volume; else slices) that is, and how many of them a job makes best at a time where memory is limited: at least one of fbp and of slices, all of
 * what a volume is iterated as. */
long kr_ct_deep(const kr_scan *s);
long kr_ct_planes(kr_job *job, kr_scan *s, const kr_trace *trace) KR_MUST_USE;
/* The scan of planes from..from + count - 1 alone, of a volume with the rows of the detector that see them. Owner of *out: the caller. */
int kr_ct_part(kr_scan **out, const kr_scan *s, long from, long count) KR_MUST_USE;
/* 1000 (x - water) / (water - air), their attenuations in the image's unit. Refuses images in HU, and per pixel. */
int kr_ct_hounsfield(kr_image *im, double water, double air) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
