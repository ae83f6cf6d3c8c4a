/* epi.h: echo-planar readouts: the parts of epi.c that ghost.c (which estimates) shares with it. Private to src/scan. */
#ifndef KRAY_EPI_H
#define KRAY_EPI_H
#include "kray/scan.h"

/* The phase by which rows measured backwards are ahead of those measured forwards: turn[0] + turn[1] x, in rad, x in pixels of the
 * readout's grid from its middle. Halves of it are taken from both. */
typedef struct kr_turn { double turn[2]; } kr_turn;

enum kr_way { KR_WAY_NONE, KR_WAY_FORWARD, KR_WAY_BACKWARD, KR_WAY_BOTH };

/* From the products o(x) = sum conj(forward) backward, by weighted least squares of the unwrapped phase. */
kr_turn kr_turn_fit(const double (*o)[2], long n);
/* One volume {X,Y,Z,COIL} in k-space, way[row] of its Y Z rows: the turn with the least entropy of the image (Clare 2008), or the
 * least sum of singular values of its windows (after Peterson 2015). The image itself, and half a field of view away, are equally
 * likely: |turn[0]| <= pi/2 is taken. Shifts of up to an eighth of the readout are tried (of short ones 6 samples), and what lies a quarter from the
 * best; *border: it is the largest of these or larger. NEAR: only small turns are tried. CHECK: a turn whose image has more entropy than no turn is dropped; *border tells. */
enum kr_turn_how { KR_TURN_FIND, KR_TURN_NEAR, KR_TURN_CHECK };
int kr_turn_entropy(kr_turn *t, bool *border, const kr_array *volume, const unsigned char *way, enum kr_turn_how how) KR_MUST_USE;
int kr_turn_svd(kr_turn *t, bool *border, const kr_array *volume, const unsigned char *way) KR_MUST_USE;
#endif
