/* training.h: what a series is likely to do, from the lines around the centre that all its frames have. Private to this folder. */
#ifndef KRAY_TRAINING_H
#define KRAY_TRAINING_H
#include "kray/linop.h"

/* |m|^2 {X,Y,Z,MAP,frames}, R32, of the training series m in x-f: A^H of the samples of y {X,Y,Z,COIL,frames} around DC that are measured
 * in every frame, tapered by a Hann window, times `scale`, Fourier transformed along the axis `frames`. mask: its k-space sampling, axes:
 * those of X, Y, Z in k-space. Refuses series with less than 4 such lines along an axis. */
kr_array *kr_training_power(const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes, int frames, float scale) KR_MUST_USE;
#endif
