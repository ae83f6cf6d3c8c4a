/* opt_adam.c: Adam; the decay is that of an l2 penalty. */
#include "adam.h"
#include <math.h>

static const kr_opt opts[] = { ADAM_OPTS("0", "times the weights, added to their gradients") };

int adam_check(const void *opts_)
{
    const struct adam *a = opts_;
    if (!(a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1))
        return kr_fail(KR_EREFUSED, "Adam with beta1 %g and beta2 %g; both must lie in [0,1)", a->beta1, a->beta2);
    if (!(a->eps >= 0 && a->decay >= 0) || !isfinite(a->eps) || !isfinite(a->decay))
        return kr_fail(KR_EREFUSED, "Adam with eps %g and decay %g; neither may be negative", a->eps, a->decay);
    return 0;
}

int adam_states(const void *opts_) { return ((const struct adam *)opts_)->amsgrad ? 3 : 2; }

void adam_step(const struct adam *a, bool apart, long t, double rate, long n, double *value, const double *gradient, double *const *state)
{
    double first = rate / (1 - pow(a->beta1, (double)t)), second = sqrt(1 - pow(a->beta2, (double)t)), keep = apart ? 1 - rate * a->decay : 1;
    double decay = apart ? 0 : a->decay, b1 = a->beta1, b2 = a->beta2, eps = a->eps, *restrict mean = state[0], *restrict square = state[1], *restrict top = a->amsgrad ? state[2] : NULL;
    for (long i = 0; i < n; i++) {
        double w = value[i] * keep, g = gradient[i] + decay * w;
        double m = b1 * mean[i] + (1 - b1) * g, v = b2 * square[i] + (1 - b2) * g * g;
        mean[i] = m;
        square[i] = v;
        if (top)
            top[i] = v = fmax(v, top[i]);
        double under = sqrt(v) / second + eps;
        value[i] = w - (under > 0 ? first * m / under : 0);
    }
}

static void step(const void *o, long t, double rate, long n, double *value, const double *gradient, double *const *state)
{
    adam_step(o, false, t, rate, n, value, gradient, state);
}

const kr_optimiser kr_optimiser_adam = { .name = "adam", .summary = "gradients over the root of their mean square", .cite = "Kingma and Ba, ICLR 2015; PyTorch's Adam",
    .opts = opts, .opts_size = sizeof(struct adam), .check = adam_check, .states = adam_states, .state_name = { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" },
    .step = step };
