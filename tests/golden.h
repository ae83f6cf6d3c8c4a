/* golden.h: what the readers of golden files share. */
#ifndef KRAY_GOLDEN_H
#define KRAY_GOLDEN_H
#include <hdf5.h>
#include <stdbool.h>
#include "kray/train.h"

struct names { char name[1024][160]; int count; };
struct names list(hid_t file, const char *group);          /* the links of a group */
/* Each kind of file that is no network: how many of its checks failed; *number counts them on. */
int golden_nufft(hid_t file, const char *name, bool tap, int *number);
int golden_traj(hid_t file, const char *name, int *number);                                /* trajectories, densities, delays */
int golden_train(hid_t file, const char *name, const kr_weights *w, int *number);         /* w: those of the file */
int golden_learn(hid_t file, const char *name, int *number);                                      /* losses, optimisers, clipping, schedules */
int golden_segment(hid_t file, const char *name, int *number);                                    /* scores of label volumes */
int golden_meshnet(hid_t file, const char *path, int *number);                                    /* MeshNet on crops, or on a whole head */
bool golden_is_ct(hid_t file);
int golden_ct(hid_t file, const char *name, int *number);                                         /* projectors, exact line integrals, filtered back-projection */
int golden_nnunet(hid_t file, const char *path, int *number);                                     /* nnU-Net, every stage */

bool golden_is_dds(hid_t file);
int golden_dds(hid_t file, const char *name, int *number);                                        /* diffusion sampling: schedule, operator, conjugate gradients */

double *doubles(hid_t file, const char *path, long *n);                                   /* a data set, as doubles: free it */
/* The optimiser that a group's attributes describe; free opts. What would change its numbers and is not known is refused. */
struct settings { const kr_optimiser *kind; void *opts; double rate, clip, eps, l2; };          /* l2: the decay, where it is a part of the gradient */
int settings_of(hid_t file, const char *group, struct settings *s);

float *numbers(hid_t file, const char *name, int *dims, hsize_t n[8]);                   /* a data set, as floats: free it */
/* Columns of the calibration area as fastMRI finds them: symmetric about the middle, from the mask's first row; told: how many, 0: not. */
void acs_columns(const float *row, long w, long told, float *acs);
#endif
