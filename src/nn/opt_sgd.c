/* opt_sgd.c: gradient descent, with momentum. */
#include "kray/train.h"
#include <math.h>

struct sgd { double momentum, dampening, decay; bool nesterov; };
static const kr_opt opts[] = {
    { "momentum", 0, KR_OPT_REAL, offsetof(struct sgd, momentum), "0", "X", "how much of the last step is kept" },
    { "dampening", 0, KR_OPT_REAL, offsetof(struct sgd, dampening), "0", "X", "the part of new gradients that the momentum leaves out" },
    { "decay", 0, KR_OPT_REAL, offsetof(struct sgd, decay), "0", "X", "times the weights, added to their gradients" },
    { "nesterov", 0, KR_OPT_FLAG, offsetof(struct sgd, nesterov), NULL, NULL, "Nesterov's momentum" },
    KR_OPT_END
};

static int check(const void *o)
{
    const struct sgd *s = o;
    if (!(s->momentum >= 0 && s->decay >= 0) || !isfinite(s->momentum) || !isfinite(s->decay) || !isfinite(s->dampening))
        return kr_fail(KR_EREFUSED, "gradient descent with momentum %g, dampening %g, decay %g; none may be negative", s->momentum, s->dampening, s->decay);
    if (s->nesterov && (s->momentum == 0 || s->dampening != 0))
        return kr_fail(KR_EREFUSED, "Nesterov's momentum needs a momentum, and no dampening");
    return 0;
}

static int states(const void *o) { return ((const struct sgd *)o)->momentum > 0; }

static void step(const void *o, long t, double rate, long n, double *value, const double *gradient, double *const *state)
{
    const struct sgd *s = o;
    for (long i = 0; i < n; i++) {
        double w = value[i], g = gradient[i] + s->decay * w, b = g;
        if (s->momentum > 0) {
            if (t > 1)
                b = s->momentum * state[0][i] + (1 - s->dampening) * g;
            state[0][i] = b;
        }
        value[i] = w - rate * (s->nesterov ? g + s->momentum * b : b);
    }
}

const kr_optimiser kr_optimiser_sgd = { .name = "sgd", .summary = "gradient descent, with momentum", .cite = "PyTorch's SGD", .opts = opts,
    .opts_size = sizeof(struct sgd), .check = check, .states = states, .state_name = { "momentum_buffer" }, .step = step };
