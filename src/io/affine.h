/* affine.h: where the voxels of an image lie, for formats of one volume. Private to this folder. */
#ifndef KRAY_AFFINE_H
#define KRAY_AFFINE_H
#include "kray/image.h"

/* RAS affine (row-major 4x4, mm) of {X, Y, Z and SLICE one behind the other}; slices whose positions are not known lie as far apart as they are
 * thick. Refuses slices that are not equally spaced along one line, and slabs that do not touch. */
int kr_image_affine(const kr_image *im, double affine[16]) KR_MUST_USE;
#endif
