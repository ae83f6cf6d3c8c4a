/* mrd_image.h: series of ISMRMRD images. Private to src/io. */
#ifndef KRAY_MRD_IMAGE_H
#define KRAY_MRD_IMAGE_H
#include "kray/io.h"
#include <ismrmrd/ismrmrd.h>

/* Where images come from: their heads (from kr_alloc), the pixels {X,Y,Z,COIL} of one of them, and the attributes of the
 * first (from kr_alloc; NULL: it has none). */
typedef struct kr_mrd_images {
    int (*heads)(ISMRMRD_ImageHeader **head, long *count, void *self);
    int (*pixels)(kr_array **out, void *self, long image);
    int (*attributes)(char **text, void *self);
    void *self;
} kr_mrd_images;
/* All images that have the type of the first one, {X,Y,Z,COIL,SLICE,ECHO,...} by their counters. */
int kr_mrd_images_read(kr_image **out, const kr_mrd_images *from) KR_MUST_USE;
/* All images of a group that have the type and size of its first one, {X,Y,Z,COIL,SLICE,ECHO,...} by their counters. */
int kr_mrd_image_read(kr_image **out, const kr_source *src) KR_MUST_USE;
/* Group dataset/image_0: one image for each slice and further counter, float or complex float. */
int kr_mrd_image_write(const kr_image *im, const char *path) KR_MUST_USE;
#endif
