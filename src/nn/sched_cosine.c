/* sched_cosine.c: half a cosine from the rate down to the least. */
#include "kray/train.h"
#include <math.h>

struct cosine { long steps; double least; };
static const kr_opt opts[] = {
    { "steps", 0, KR_OPT_INT, offsetof(struct cosine, steps), "0", "N", "steps from the rate down to the least; beyond them it rises again" },
    { "least", 0, KR_OPT_REAL, offsetof(struct cosine, least), "0", "X", "the least rate" },
    KR_OPT_END
};

static int check(const void *o)
{
    const struct cosine *s = o;
    return s->steps >= 1 && s->least >= 0 && isfinite(s->least) ? 0
        : kr_fail(KR_EREFUSED, "a cosine schedule of %ld steps down to %g; at least one step and no negative rate are wanted", s->steps, s->least);
}

static double at(const void *o, double rate, long step)
{
    const struct cosine *s = o;
    return s->least + (rate - s->least) * (1 + cos(acos(-1) * (double)step / (double)s->steps)) / 2;
}

const kr_schedule kr_schedule_cosine = { .name = "cosine", .summary = "least + (rate - least) (1 + cos(pi step / steps)) / 2",
    .cite = "Loshchilov and Hutter, ICLR 2017; PyTorch's CosineAnnealingLR", .opts = opts, .opts_size = sizeof(struct cosine), .check = check, .at = at };
