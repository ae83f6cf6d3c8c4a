/* spokes.h: radial k-space as projections. Private to this folder. */
#ifndef KRAY_SPOKES_H
#define KRAY_SPOKES_H
#include "kray/scan.h"

/* Projections of one part of a radial scan in a plane, a scan of CT with one slice a coil, {U,VIEW,SLICE}: magnitudes, views in the order of their angles over half a turn, columns a pixel apart
 * and as many as the diagonal of the image n has pixels; pixel n / 2 is the origin, row 0 the top. To be dropped, also after a refusal. Refuses what are no spokes. Source: branch mri of
 * phernst/pd-unet. */
int spokes_magnitudes(kr_scan *ct, const kr_scan *part, const long n[2]) KR_MUST_USE;
void spokes_drop(kr_scan *ct);
/* Columns of those. */
long spokes_columns(const long n[2]);
#endif
