/* h5vlen.h: variable-length elements of HDF5 files, read without HDF5's own conversion, which trusts the lengths that a file
 * gives (1.10 overruns its buffer on a damaged one) and asks for memory element by element. Private to this folder.
 * Source: HDF5 File Format Specification 2.0, III.E (global heap), IV.A.2.d (variable-length datatype). */
#ifndef KRAY_IO_H5VLEN_H
#define KRAY_IO_H5VLEN_H
#include "h5.h"

/* Raw rows of a dataset of at most one axis, as they lie in the file: `count` from `from`, `row` bytes each, into `to`. */
int kr_h5_rows(const kr_h5_set *s, long row, long from, long count, void *to) KR_MUST_USE;

/* Where an element is: `count` units in object `index` of the heap collection at `at`. 16 bytes in the file. */
typedef struct kr_h5_ref { uint64_t at; uint32_t count, index; } kr_h5_ref;
enum { KR_H5_REF = 16 };
kr_h5_ref kr_h5_ref_of(const void *raw);

/* Is a type or a chunk's length in the object's header damaged in a way that HDF5 1.10 does not survive? *newer, where not NULL: the format of a type that
 * this libhdf5 does not know; types of 1.12 (4) are written as those of before (3), but for references. */
enum { KR_H5_TYPES = H5_VERSION_GE(1, 12, 0) ? 4 : 3 };
bool kr_h5_types_bad(kr_h5 *f, const char *object, unsigned *newer);

/* Scratch of one thread: the collection last looked at. Start with {0}; kr_h5_heap_clear at the end. */
typedef struct kr_h5_heap { unsigned char *bytes; size_t room, held; uint64_t at, size; } kr_h5_heap;
void kr_h5_heap_clear(kr_h5_heap *h);
/* bytes = count times the size of a unit; refuses where the object is shorter, or damaged. */
int kr_h5_heap_read(const kr_h5 *f, kr_h5_heap *h, kr_h5_ref r, size_t bytes, void *to) KR_MUST_USE;
#endif
