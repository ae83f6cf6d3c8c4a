/* learn_loss.h: a sum of losses. Private to src/learn. */
#ifndef KRAY_LEARN_LOSS_H
#define KRAY_LEARN_LOSS_H
#include "kray/train.h"

enum { LEARN_LOSSES = 8 };
typedef struct learn_losses { int count; struct learn_term { const kr_loss *loss; void *opts; double weight; bool complex; } term[LEARN_LOSSES]; } learn_losses;
/* "complex_nrmse:1+ssim:0.5"; to be cleared after a refusal too. */
int learn_losses_of(learn_losses *l, const char *sum);
void learn_losses_clear(learn_losses *l);
/* Over complex or real outputs, the last with the weight `by`, the others `by other`; the gradients of all are written. weight {y,x} multiplies image
 * and target. Refuses losses of complex images where the outputs are real or (magnitude) only magnitudes can be compared. */
int learn_loss(double *value, kr_run *r, long outputs, const kr_cfloat *target, const float *weight, const learn_losses *l, bool magnitude, double other, double by);
#endif
