/* offres.h: a transform along a trajectory with off-resonance. */
#ifndef KRAY_OFFRES_H
#define KRAY_OFFRES_H
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A = F S along a trajectory as kr_op_nufft's, with off-resonance: y_m = sum_r S_r x_r exp(-2 pi i (k_m r / N + f_r t_m)) / sqrt(prod N), t_m of sample i of a
 * readout first_s + i dwell_s, by segments of time (segments.h) to 3 times the tolerance. field R32 {X,Y,Z} in Hz. Refuses as these do, and fields of another size than the
 * maps. */
kr_linop *kr_op_offres(const kr_array *coils, const kr_array *traj, kr_shape frames, double tolerance, const kr_array *field, double first_s, double dwell_s) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
