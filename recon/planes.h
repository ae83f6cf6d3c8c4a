/* planes.h: methods that fill in missing samples of every coil: what they share. Private to this folder. */
#ifndef KRAY_PLANES_H
#define KRAY_PLANES_H
#include "kray/recon.h"

/* One independent problem: along axes on which the mask does not vary nothing is missing; Y or Z among them are in image space and
 * each of their positions is a problem of its own, X is in image space unless samples are missing along it. */
typedef struct kr_plane {
    const void *opts; const kr_trace *trace;
    const kr_array *mask;            /* {X,Y,Z} of length 1 where it does not vary                    */
    unsigned axes;                   /* along which samples are missing                               */
    long n[3], coils;                /* the grid of samples: 1 along all other axes                   */
    bool in_image;                   /* `from` already is in image space along X                      */
} kr_plane;
typedef struct kr_filling {
    /* From the mask, once for all planes; block {X,Y,Z,COIL}: the calibration block of the first one, in k-space along X and `axes`. */
    int (*set_up)(void **shared, const kr_plane *p, const kr_array *block);
    /* From the calibration block of one plane. */
    int (*calibrate)(void **kernel, const kr_plane *p, const void *shared, const kr_array *block);
    /* Widens range to the floors (kr_fit_weigh) that this kernel was fitted with; < 0: none. */
    void (*chosen)(const void *kernel, double range[2]);
    /* to {X,Y,Z,COIL} contiguous: all samples, in image space along X unless `axes` has it; from: a view, 0 where not measured. */
    int (*fill)(const kr_plane *p, const void *shared, const void *kernel, kr_array *to, const kr_array *from);
    /* The variance of sum over coils of conj(S) image where measured samples have noise of variance 1; S {X,Y,Z,COIL}, variance
     * {X,Y,Z}, contiguous; NULL: not known in closed form. */
    int (*noise)(const kr_plane *p, const void *shared, const void *kernel, kr_array *variance, const kr_array *S);
    void (*drop)(void **shared);
    void (*drop_kernel)(void **kernel);
    /* For series: from kernel and coil maps S {X,Y,Z,COIL} of one plane what makes the combined image at once, of `frames` frames; *unmix stays NULL
     * where it does not pay. And that image z {X,Y,Z}, contiguous. NULL: only by `fill`. */
    int (*unmix)(void **unmix, const kr_plane *p, const void *kernel, const kr_array *S, long frames);
    int (*apply)(const kr_plane *p, const void *shared, const void *unmix, kr_array *z, const kr_array *from);
    void (*drop_unmix)(void **unmix);
} kr_filling;
/* The image of a scan: every slice and frame filled, in image space, coils combined by maps where there are some, else by the root
 * of the sum of squares. Frames share kernels as long as they share the mask. Refuses one coil. */
int kr_fill_planes(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts,
                   const kr_trace *trace) KR_MUST_USE;
/* kr_recon.again and forget: one slice and one frame after the other, as the frames of a series; opts_size: of the options, with which kernels go. */
int kr_fill_planes_again(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts, size_t opts_size,
                         void **left, const kr_trace *trace) KR_MUST_USE;
void kr_fill_planes_forget(void **left);
/* Instead of the image its standard deviation, R32, where samples have noise of deviation 1. Returns 1 where it is not known
 * in closed form: with several sets of maps. */
int kr_fill_planes_noise(kr_image **sd, const kr_scan *scan, const kr_array *coils, const kr_filling *method, const void *opts,
                         const kr_trace *trace) KR_MUST_USE;
#endif
