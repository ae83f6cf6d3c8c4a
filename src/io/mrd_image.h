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
    const char *series;              /* the number (image_series_index) of the one that is wanted; NULL: the first's */
} kr_mrd_images;
/* All images that have the type and the series number of the first one (of the series), {X,Y,Z,COIL,SLICE,ECHO,...} by their counters; slices in the order
 * of their positions, which also tell slices apart where no counter does. Meta "other_series" names what was not read. */
int kr_mrd_images_read(kr_image **out, const kr_mrd_images *from) KR_MUST_USE;
/* The series FILE:GROUP or FILE:GROUP/NUMBER, GROUP as dataset/image_1 or image_1. Further ones of the file are named in the same way. */
int kr_mrd_image_read(kr_image **out, const kr_source *src) KR_MUST_USE;
/* Group dataset/image_0: one image for each slice and further counter, float or complex float. */
int kr_mrd_image_write(const kr_image *im, const char *path) KR_MUST_USE;
#endif
