/* mat5.h: variables of MATLAB v5 files (.mat before 7.3). Private to this folder. */
#ifndef KRAY_IO_MAT5_H
#define KRAY_IO_MAT5_H
#include "number.h"

enum { KR_MAT_DIMS = 32 };
typedef struct kr_mat_var {
    char name[64], class_name[16];
    bool numeric, complex;
    int dims;
    long n[KR_MAT_DIMS], count;
} kr_mat_var;

/* What the file holds: calls `each` for every variable, in order, until it returns non-zero (then that is returned). */
typedef int kr_mat_each(void *self, const kr_mat_var *var);
int kr_mat5_list(const char *path, kr_mat_each *each, void *self) KR_MUST_USE;
/* The variable `name` ("s.field" inside a structure) in the file's order, first fastest: count floats, or count pairs if
 * complex. *data is from kr_alloc. Refuses what is not numeric. */
int kr_mat5_read(kr_mat_var *var, float **data, const char *path, const char *name) KR_MUST_USE;
/* The text `name`, as much of it as `to` has room for; what is not ASCII is '?'. Refuses what is no text. */
int kr_mat5_text(char *to, size_t room, const char *path, const char *name) KR_MUST_USE;
#endif
