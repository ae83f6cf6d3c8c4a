/* metaimage.h: the header of MetaImage files (.mhd, .mha). Private to this folder. */
#ifndef KRAY_METAIMAGE_H
#define KRAY_METAIMAGE_H
#include "kray/io.h"
#include "number.h"

typedef struct kr_metaimage {
    enum kr_number kind;
    bool swap, packed;                /* big endian on a little one; zlib                     */
    int dims;
    long n[KR_AXES], count, at;       /* fastest first; at: where numbers begin, -1: at the end of the file */
    double spacing[3], first[3];      /* first: where element (0, 0, 0) lies; 0 where not said */
    bool turned;                      /* its axes are not those of the world (TransformMatrix) */
    char *data;                       /* file with the numbers, kr_free it                    */
} kr_metaimage;
int kr_metaimage_read(kr_metaimage *m, const char *path) KR_MUST_USE;
/* An image as one volume, X fastest, contiguous; its size and the size of its voxels (1 where that is not known). Refuses complex images and series. */
kr_array *kr_volume_of(const kr_image *im, long n[3], double mm[3]) KR_MUST_USE;
/* An image that is there, by what writes images part by part. Refuses as kr_volume_of. */
int kr_parts_image(const kr_image *im, const char *path, int (*write)(const kr_by_part *p, const char *path)) KR_MUST_USE;
/* All planes to the end of an open file. */
int kr_parts_put(const kr_by_part *p, int fd, int (*put)(int fd, const void *data, size_t bytes)) KR_MUST_USE;
#endif
