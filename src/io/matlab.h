/* matlab.h: what the formats that live in MATLAB v7.3 files share. Private to this folder. */
#ifndef KRAY_IO_MATLAB_H
#define KRAY_IO_MATLAB_H
#include "h5.h"

bool kr_matlab_is73(const unsigned char *head, size_t bytes);
/* A variable; its axes as src names them, otherwise as listed (first fastest), at most `most`. */
int kr_matlab_read(kr_array **out, kr_h5 *f, const char *name, const kr_source *src, const int *axes, int most) KR_MUST_USE;
#endif
