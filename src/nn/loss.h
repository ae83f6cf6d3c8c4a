/* loss.h: what losses of the squared error over the square of the target share. Private to this folder. */
#ifndef KRAY_LOSS_H
#define KRAY_LOSS_H
#include "kray/train.h"

/* sum (x - t)^2 and sum t^2 over all items. Refuses a target that is 0 everywhere, in the name of the loss. */
int kr_loss_sums(double *sum, double *norm, const kr_pair *p, const char *name) KR_MUST_USE;
/* d += by (x - t), where derivatives are asked for. */
void kr_loss_pull(const kr_pair *p, double by);
#endif
