/* doubt.h: what can be said of how far a learned image is to be believed. Private to this folder. */
#ifndef KRAY_DOUBT_H
#define KRAY_DOUBT_H
#include "around.h"

/* The options of learned methods that save these: `residual` and `uncertainty` of the options' type, names of files. */
#define DOUBT_OPTS(type) \
    { "residual", 0, KR_OPT_OUT, offsetof(type, residual), NULL, "FILE", "also an image of how far the measured samples are from those of the image" }, \
    { "uncertainty", 0, KR_OPT_OUT, offsetof(type, uncertainty), NULL, "FILE", "also the spread of the image where other samples are left out (ten more runs), as a standard deviation" }

/* Runs the network on slice i, s as it was opened, as about->slice does; and beside the image z: residual {X,Y} R32, the root of the sum over coils of |F^-1 M (F S x - y)|^2 in units of
 * the image, with the maps that the network was given. rr, yy: sums of |M (F S x - y)|^2 and |y|^2 of the network's units. Refuses networks that were not given maps. */
int doubt_residual(kr_array *z, kr_array *residual, double *rr, double *yy, slice *s, kr_net *net, const around *about, const around_job *job, long i);
/* residual {X,Y,...} R32, for images that the coil maps of the job combined: the same of all slices at once; *part: |M (F S x - y)| / |y|. */
int doubt_residual_of(kr_array *residual, double *part, const kr_scan *scan, const kr_array *coils, const kr_array *image);

/* Tells of it, and notes it in the image. */
int doubt_residual_told(kr_image *im, double part, const char *path, const kr_trace *trace);

/* z {X,Y} C32: the image of a scan of one slice, by its maps {X,Y,COIL} (NULL: none). A function of its arguments alone. */
typedef int (*doubt_image)(void *self, kr_array *z, const kr_scan *one, const kr_array *maps);
/* spread {X,Y} R32: a standard deviation of the magnitude of slice i of the scan, `full` {X,Y} its image. DOUBT_MASKS images are made (fewer, where fewer lines are outside), each without
 * another part of the samples outside of the fully sampled centre (lines where whole lines are measured, points otherwise). How far each is from the samples that it was not given tells
 * the energy of the error: as much in each sample that was not measured as in those about as far from the centre of k-space, and what is off where samples were measured, noise included.
 * It is spread over the image partly as the images differ (their jackknife variance, smoothed), partly evenly. comparable: the image has phase, and its samples are by the maps of the job.
 * *measured: false where the energy cannot be told so (networks of magnitudes, or that make their own coil maps): then it is the jackknife's deviation alone. A function of scan and method
 * alone. Refuses scans with fewer than two lines or points outside of the centre. Source of the jackknife: Shao and Wu, Ann Stat 17:1176 (1989). */
enum { DOUBT_MASKS = 10 };
int doubt_spread(kr_array *spread, bool *measured, const kr_array *full, doubt_image run, void *self, bool comparable, const kr_scan *scan, const kr_array *coils, long i);
#endif
