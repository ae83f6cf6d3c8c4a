/* adam.h: what Adam and AdamW share. */
#ifndef KRAY_ADAM_H
#define KRAY_ADAM_H
#include "kray/train.h"

struct adam { double beta1, beta2, eps, decay; bool amsgrad; };
#define ADAM_OPTS(usual_decay, of_decay) \
    { "beta1", 0, KR_OPT_REAL, offsetof(struct adam, beta1), "0.9", "X", "how much of the mean of gradients is kept each step" }, \
    { "beta2", 0, KR_OPT_REAL, offsetof(struct adam, beta2), "0.999", "X", "how much of the mean of their squares is kept" }, \
    { "eps", 0, KR_OPT_REAL, offsetof(struct adam, eps), "1e-8", "X", "added to the root of that mean" }, \
    { "decay", 0, KR_OPT_REAL, offsetof(struct adam, decay), usual_decay, "X", of_decay }, \
    { "amsgrad", 0, KR_OPT_FLAG, offsetof(struct adam, amsgrad), NULL, NULL, "divide by the largest mean of squares so far" }, \
    KR_OPT_END
int adam_check(const void *opts);
int adam_states(const void *opts);
/* apart: the decay shrinks the weights instead of being a part of the gradient. */
void adam_step(const struct adam *a, bool apart, long t, double rate, long n, double *value, const double *gradient, double *const *state);
#endif
