/* opt_rmsprop.c: gradients over the root of their mean square, without Adam's corrections. */
#include "kray/train.h"
#include <math.h>

struct rmsprop { double alpha, eps, decay, momentum; bool centered; };
static const kr_opt opts[] = {
    { "alpha", 0, KR_OPT_REAL, offsetof(struct rmsprop, alpha), "0.99", "X", "how much of the mean of squares is kept each step" },
    { "eps", 0, KR_OPT_REAL, offsetof(struct rmsprop, eps), "1e-8", "X", "added to the root of that mean" },
    { "decay", 0, KR_OPT_REAL, offsetof(struct rmsprop, decay), "0", "X", "times the weights, added to their gradients" },
    { "momentum", 0, KR_OPT_REAL, offsetof(struct rmsprop, momentum), "0", "X", "how much of the last step is kept" },
    { "centered", 0, KR_OPT_FLAG, offsetof(struct rmsprop, centered), NULL, NULL, "divide by the standard deviation instead" },
    KR_OPT_END
};

static int check(const void *o)
{
    const struct rmsprop *r = o;
    if (!(r->alpha >= 0 && r->alpha < 1))
        return kr_fail(KR_EREFUSED, "RMSprop with alpha %g; it must lie in [0,1)", r->alpha);
    if (!(r->eps >= 0 && r->decay >= 0 && r->momentum >= 0) || !isfinite(r->eps) || !isfinite(r->decay) || !isfinite(r->momentum))
        return kr_fail(KR_EREFUSED, "RMSprop with eps %g, decay %g, momentum %g; none may be negative", r->eps, r->decay, r->momentum);
    return 0;
}

static int states(const void *o)
{
    const struct rmsprop *r = o;
    return r->momentum > 0 ? 3 : r->centered ? 2 : 1;
}

static void step(const void *o, long t, double rate, long n, double *value, const double *gradient, double *const *state)
{
    (void)t;
    const struct rmsprop *r = o;
    for (long i = 0; i < n; i++) {
        double w = value[i], g = gradient[i] + r->decay * w, v = r->alpha * state[0][i] + (1 - r->alpha) * g * g, var = v;
        state[0][i] = v;
        if (r->centered) {
            double mean = r->alpha * state[1][i] + (1 - r->alpha) * g;
            state[1][i] = mean;
            var = fmax(v - mean * mean, 0);
        }
        double under = sqrt(var) + r->eps, by = under > 0 ? g / under : 0;
        if (r->momentum > 0) {
            by += r->momentum * state[2][i];
            state[2][i] = by;
        }
        value[i] = w - rate * by;
    }
}

const kr_optimiser kr_optimiser_rmsprop = { .name = "rmsprop", .summary = "gradients over the root of their mean square", .cite = "Hinton, lecture 6 (2012); PyTorch's RMSprop",
    .opts = opts, .opts_size = sizeof(struct rmsprop), .check = check, .states = states, .state_name = { "square_avg", "grad_avg", "momentum_buffer" },
    .step = step };
