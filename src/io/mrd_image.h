/* mrd_image.h: series of ISMRMRD images. Private to src/io. */
#ifndef KRAY_MRD_IMAGE_H
#define KRAY_MRD_IMAGE_H
#include "kray/io.h"
/* All images of a group that have the type and size of its first one, {X,Y,Z,COIL,SLICE,ECHO,...} by their counters. */
int kr_mrd_image_read(kr_image **out, const kr_source *src) KR_MUST_USE;
/* Group dataset/image_0: one image for each slice and further counter, float or complex float. */
int kr_mrd_image_write(const kr_image *im, const char *path) KR_MUST_USE;
#endif
