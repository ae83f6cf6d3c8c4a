/* number.h: numbers as files hold them, made into floats; and axes as the user names them. Private to this folder. */
#ifndef KRAY_IO_NUMBER_H
#define KRAY_IO_NUMBER_H
#include "kray/io.h"

enum kr_number { KR_NUMBER_NONE, KR_F32, KR_F64, KR_I8, KR_U8, KR_I16, KR_U16, KR_I32, KR_U32, KR_I64, KR_U64, KR_F16 };
/* Bytes of one number; 0 for KR_NUMBER_NONE. */
long kr_number_bytes(enum kr_number kind);
/* to[k * step] = from[k], k = 0..n-1, from in this machine's byte order, at any address. */
void kr_number_floats(float *to, long step, const void *from, enum kr_number kind, long n);
double kr_number_double(const void *from, enum kr_number kind);
/* Turns the bytes of each of n numbers round, in place. */
void kr_number_swap(void *numbers, enum kr_number kind, long n);

/* Which axis each of `dims` lengths n (in the order in which the file's own tool prints them) is. Named by src->axes;
 * lengths of 1 may be left out of the names. Without names: what `usual` lists, for up to `most` lengths. An axis of
 * length 1 without a name becomes KR_AXES. `example` shows in the refusal how to name them. */
int kr_axes_of(int order[], const kr_source *src, const long n[], int dims, const int *usual, int most, const char *example) KR_MUST_USE;
/* Where the names of an array say that BATCH is "reim": its real and imaginary parts become one complex array. */
int kr_reim_join(kr_array **a, const kr_source *src) KR_MUST_USE;
/* An array as k-space of which nothing else is known. */
int kr_scan_of_array(kr_scan **out, const kr_array *a) KR_MUST_USE;
/* How much the name of a variable or dataset sounds like that of k-space: 0 not at all. Its last part counts. */
int kr_kspace_rank(const char *name);
/* "2 x 3 x 4"; in a buffer of this thread, valid for the next 4 calls. */
const char *kr_lengths_text(const long n[], int dims);
#endif
