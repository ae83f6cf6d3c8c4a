/* regrid.h: images with their axes turned or their voxels resized. Private to tools/. */
#ifndef KRAY_REGRID_H
#define KRAY_REGRID_H
#include "kray/image.h"

/* Replaces *im. axes: three of R or L, A or P, S or I: where X, Y and Z run to. Refuses images whose place is not known, and axes further than 37 degrees
 * from those. Both leave labels labels; whole numbers that look like labels are told to be taken as such, and marked. */
int regrid_axes(kr_image **im, const char *axes, const kr_trace *trace) KR_MUST_USE;
/* Replaces *im: voxels of "1" or "1,1,2.5" mm over the same extent, each volume of a series by itself. Refuses unknown voxel sizes. */
int regrid_resample(kr_image **im, const char *mm, const kr_trace *trace) KR_MUST_USE;
#endif
