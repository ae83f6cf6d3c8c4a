/* learn_loss.h: a sum of losses. Private to src/learn. */
#ifndef KRAY_LEARN_LOSS_H
#define KRAY_LEARN_LOSS_H
#include "kray/learn.h"

/* What a network made of one item: a run in float or in double, the other is NULL. */
typedef struct learn_made { kr_run *run; kr_plain_run *plain; } learn_made;
/* Output i, an image or a real image, in double; owner: the caller. */
double *learn_output(kr_extent *n, const learn_made *m, long i);

enum { LEARN_LOSSES = 8 };
typedef struct learn_losses { int count; struct learn_term { const kr_loss *loss; void *opts; double weight; bool complex; } term[LEARN_LOSSES]; } learn_losses;
/* "complex_nrmse:1+ssim:0.5"; to be cleared after a refusal too. */
int learn_losses_of(learn_losses *l, const char *sum);
void learn_losses_clear(learn_losses *l);
/* What output i of several weighs beside the last: other-outputs, or growing. */
double learn_share(const kr_learn *o, long i, long outputs);
/* Over complex or real outputs, each with the weight by learn_share; the gradients of all are written, in double where the run is. weight {y,x} multiplies image
 * and target. Refuses losses of complex images where the outputs are real or (magnitude) only magnitudes can be compared. */
int learn_loss(double *value, const learn_made *m, long outputs, const kr_cfloat *target, const float *weight, const learn_losses *l, bool magnitude, const kr_learn *opts, double by);
#endif
