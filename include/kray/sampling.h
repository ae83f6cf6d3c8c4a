/* sampling.h: which kinds of sampling masks (scan.h) and trajectories (trajectory.h) there are: for lists, help and tests. */
#ifndef KRAY_SAMPLING_H
#define KRAY_SAMPLING_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The name of mask kind i (from 0), what it is, and its keys with presets ("accel=4,center=0.08,seed"); NULL beyond the last. summary and keys
 * may be NULL. */
const char *kr_mask_kind(int i, const char **summary, const char **keys);
/* The name of trajectory kind i (from 0), what it is and its source; NULL beyond the last. summary and cite may be NULL. */
const char *kr_traj_kind(int i, const char **summary, const char **cite);

#ifdef __cplusplus
}
#endif
#endif
