/* sched_exponential.c: less by a constant factor each step. */
#include "kray/train.h"
#include <math.h>

struct exponential { double gamma; };
static const kr_opt opts[] = { { "gamma", 0, KR_OPT_REAL, offsetof(struct exponential, gamma), "0.99", "X", "the factor from step to step" }, KR_OPT_END };

static int check(const void *o)
{
    double gamma = ((const struct exponential *)o)->gamma;
    return gamma > 0 && gamma <= 1 ? 0 : kr_fail(KR_EREFUSED, "an exponential schedule with gamma %g; it must lie in (0,1]", gamma);
}

static double at(const void *o, double rate, long step) { return rate * pow(((const struct exponential *)o)->gamma, (double)step); }

const kr_schedule kr_schedule_exponential = { .name = "exponential", .summary = "rate gamma^step", .cite = "PyTorch's ExponentialLR", .opts = opts,
    .opts_size = sizeof(struct exponential), .check = check, .at = at };
