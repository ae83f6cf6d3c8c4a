/* prj.h: what the readers of projections share. Private to this folder. */
#ifndef KRAY_PRJ_H
#define KRAY_PRJ_H
#include "kray/projections.h"

/* All numbers of an array, whatever its axes, kr_free them; NULL: a refusal. */
double *prj_numbers(const char *source, long *count);
/* A single number FILE:VAR. */
int prj_number(double *to, const char *file, const char *var) KR_MUST_USE;
/* Whether the file holds HDF5; false of FILE@AXES and FILE:VARIABLE. */
bool prj_is_hdf5(const char *source);
/* The number behind NAME= at the beginning of a line, blanks about it left out; false: there is none. */
bool prj_says(const char *text, const char *name, double *value);
/* A picture turned about: columns, rows. */
void prj_flip(kr_array *y, bool u, bool v);
bool prj_ends(const char *source, const char *suffix);
/* After a read that failed: 0, and why is forgotten, for the file holds no such thing; but want of memory stays a refusal. */
int prj_absent(void) KR_MUST_USE;
#endif
