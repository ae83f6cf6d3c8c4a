/* h5sets.h: datasets of HDF5 files as plain arrays, and what the formats of data sets share. Private to this folder. */
#ifndef KRAY_IO_H5SETS_H
#define KRAY_IO_H5SETS_H
#include "h5.h"

/* Dataset src->var (NULL: the only one of numbers), its axes as src names them, in NumPy's order. */
int kr_hdf5_array(kr_array **out, const kr_source *src) KR_MUST_USE;
/* The same for one dataset, with `usual` naming the axes where src does not; `slices`, if not NULL, reads that window of
 * SLICE alone (count 0: all). */
int kr_hdf5_read(kr_array **out, kr_h5 *f, const char *name, const kr_source *src, const int *usual, int most, const kr_read *slices) KR_MUST_USE;
/* Shape alone. */
int kr_hdf5_shape(kr_shape *shape, kr_h5 *f, const char *name, const kr_source *src, const int *usual, int most) KR_MUST_USE;
/* Calgary-Campinas: see fmt_calgary.c. */
int kr_calgary_write_image(const kr_image *im, const char *path) KR_MUST_USE;
#endif
