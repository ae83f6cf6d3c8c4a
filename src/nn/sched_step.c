/* sched_step.c: less by a factor after every so many steps. */
#include "kray/train.h"
#include <math.h>

struct every { long size; double gamma; };
static const kr_opt opts[] = {
    { "size", 0, KR_OPT_INT, offsetof(struct every, size), "40", "N", "steps of one rate" },
    { "gamma", 0, KR_OPT_REAL, offsetof(struct every, gamma), "0.1", "X", "the factor to the next" },
    KR_OPT_END
};

static int check(const void *o)
{
    const struct every *s = o;
    return s->size >= 1 && s->gamma > 0 && s->gamma <= 1 ? 0
        : kr_fail(KR_EREFUSED, "a schedule of %ld steps and gamma %g; at least one step and a gamma in (0,1] are wanted", s->size, s->gamma);
}

static double at(const void *o, double rate, long step)
{
    const struct every *s = o;
    return rate * pow(s->gamma, (double)(step / s->size));
}

const kr_schedule kr_schedule_step = { .name = "step", .summary = "rate gamma^floor(step / size)", .cite = "PyTorch's StepLR; fastMRI", .opts = opts,
    .opts_size = sizeof(struct every), .check = check, .at = at };
