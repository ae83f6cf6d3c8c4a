/* h5sets.h: HDF5 datasets as arrays with named axes: what the formats of data sets share. Private to this folder. */
#ifndef KRAY_IO_H5SETS_H
#define KRAY_IO_H5SETS_H
#include "h5.h"

/* In which order a tool prints lengths: NumPy slowest first, as HDF5 does, MATLAB fastest first. */
enum kr_tool_order { KR_NUMPY, KR_MATLAB };
/* The axis of every dimension of the dataset: as src names them in the tool's order, else as `usual` lists them in that
 * order, for up to `most` dimensions. Where src names an axis "reim", the set becomes a complex one without that axis. */
int kr_set_axes(int order[KR_H5_DIMS], kr_h5_set *s, const kr_source *src, enum kr_tool_order tool, const int *usual, int most) KR_MUST_USE;
kr_shape kr_set_shape(const kr_h5_set *s, const int order[]);
/* Reads it, of SLICE only what `how` asks for (NULL: all). */
int kr_set_read(kr_array **out, const kr_h5_set *s, const int order[], const kr_read *how) KR_MUST_USE;
/* Shape of what `how` asks for; refuses slices that are not there. */
int kr_slices_window(kr_shape *shape, const kr_read *how) KR_MUST_USE;
/* All three for NumPy's order. */
int kr_hdf5_read(kr_array **out, kr_h5 *f, const char *name, const kr_source *src, const int *usual, int most, const kr_read *how) KR_MUST_USE;
/* Dataset src->var (NULL: the only one of numbers), in NumPy's order. */
int kr_hdf5_array(kr_array **out, const kr_source *src) KR_MUST_USE;
/* The same as k-space on a grid, its axes as src->axes names them. */
int kr_hdf5_scan(kr_scan **out, const kr_source *src) KR_MUST_USE;

/* ---- MATLAB v7.3 ---- */
bool kr_matlab_is73(const unsigned char *head, size_t bytes);
/* A variable ("s/field" inside a structure) that is known to hold numbers. */
kr_h5_set *kr_matlab_open(kr_h5 *f, const char *name) KR_MUST_USE;
/* A new file of MATLAB's; kr_matlab_close writes the header that MATLAB wants in front. */
kr_h5 *kr_matlab_create(const char *path) KR_MUST_USE;
int kr_matlab_write(kr_h5 *f, const char *name, const kr_array *a, const int axes[], int dims) KR_MUST_USE;   /* first fastest */
int kr_matlab_close(kr_h5 **f, const char *path) KR_MUST_USE;
#endif
