/* doubt.h: what can be said of how far a network's image is to be believed. Private to this folder. */
#ifndef KRAY_DOUBT_H
#define KRAY_DOUBT_H
#include "around.h"

/* Runs the network on slice i, s as it was opened, as about->slice does; and beside the image z: residual {X,Y} R32, the root of the sum over coils of |F^-1 M (F S x - y)|^2 in units of
 * the image, with the maps that the network was given. rr, yy: sums of |M (F S x - y)|^2 and |y|^2 of the network's units. Refuses networks that were not given maps. */
int doubt_residual(kr_array *z, kr_array *residual, double *rr, double *yy, slice *s, kr_net *net, const around *about, const around_job *job, long i);
/* spread {X,Y} R32: the standard deviation of the magnitude over DOUBT_MASKS images of slice i, each without another fifth of the samples outside of the fully sampled centre (lines where whole
 * lines are measured, points otherwise), times sqrt(4): that of the image of all samples, as the delete-d jackknife has it. A function of scan and network alone. Refuses scans
 * without samples outside of the centre. Source: Shao and Wu, Ann Stat 17:1176 (1989). */
enum { DOUBT_MASKS = 10 };
int doubt_spread(kr_array *spread, kr_net *net, const around *about, const around_job *job, long i);
#endif
