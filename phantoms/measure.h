/* measure.h: what a phantom tells the measurement. Private to phantoms/. */
#ifndef KRAY_MEASURE_H
#define KRAY_MEASURE_H
#include "kray/phantom.h"

/* One row of points of the object: point i is at (x + i dx, y, z) mm from the isocentre. dy and dz: distance to the next
 * row and plane; of 2D slices dz is the thickness, and values are averages over it. */
typedef struct kr_row { long n; double x, dx, y, dy, z, dz; } kr_row;
typedef struct kr_object {
    /* Writes the object's values (float or complex float, as `type` says); 0 or a refusal. Called from several threads. */
    int (*row)(const void *self, void *out, const kr_row *at);
    enum kr_type type;
    const void *self;
    /* What laying out did to the spectrum along X, Y and, in 3D, Z: the factor at frequency t in radians per point, |t| at
     * most pi/2 (pi/sqrt 2 where lines are turned), which the measurement divides out. NULL: 1, values are samples. */
    double (*spectrum)(const void *self, int axis, double t);
    double fov_mm[3];                /* chosen where the user leaves it open                                */
    double isocentre_mm[3];          /* where the isocentre is in the patient frame                         */
    const char *protocol;            /* "t1 brain"                                                          */
    double tr_ms, te_ms, ti_ms, flip_deg;   /* 0: not stated                                                */
} kr_object;
int kr_measure(kr_scan **out, const kr_object *object, const kr_simulate *how, const kr_trace *trace) KR_MUST_USE;

/* out[i] = scale (B_x - i B_y) of a loop at (x + i dx, y, z). */
void kr_loop_row(const kr_loop *loop, double scale, kr_cfloat *out, long n, double x, double dx, double y, double z);
/* 1 / RSS of the loops' fields at the isocentre. */
double kr_loops_scale(const kr_loop *loop, long coils);
#endif
