/* opt_adamw.c: Adam with weight decay apart from the gradients. */
#include "adam.h"

static const kr_opt opts[] = { ADAM_OPTS("0.01", "times the rate: the part that weights lose each step") };

static void step(const void *o, long t, double rate, long n, double *value, const double *gradient, double *const *state)
{
    adam_step(o, true, t, rate, n, value, gradient, state);
}

const kr_optimiser kr_optimiser_adamw = { .name = "adamw", .summary = "Adam with weight decay apart from the gradients",
    .cite = "Loshchilov and Hutter, ICLR 2019; PyTorch's AdamW", .opts = opts, .opts_size = sizeof(struct adam), .check = adam_check, .states = adam_states,
    .state_name = { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" }, .step = step };
