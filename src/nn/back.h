/* back.h: what the backward passes share. Private to src/nn. */
#ifndef KRAY_BACK_H
#define KRAY_BACK_H
#include "kray/nn.h"

/* Index of the pixel that stands for pixel i outside 0..n-1; -1: zero. */
long map_source(long i, long n, enum kr_pad pad);
/* f on every row of every block of the maps m[0..count-1], all of one shape: r[k] points to the row of m[k], n floats long (a
 * multiple of 16). Maps may be NULL, r[k] then is NULL too. */
enum { BACK_MAPS = 10 };
void back_rows(kr_map *const *m, int count, void (*f)(float *const *r, long n));
void back_zero(kr_map *m);

#endif
