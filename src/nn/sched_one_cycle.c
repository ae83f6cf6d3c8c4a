/* sched_one_cycle.c: up to the rate by half a cosine, then down to next to nothing by another. */
#include "kray/train.h"
#include <math.h>

struct cycle { long steps; double rise, from, to; };
static const kr_opt opts[] = {
    { "steps", 0, KR_OPT_INT, offsetof(struct cycle, steps), "0", "N", "steps in all" },
    { "rise", 0, KR_OPT_REAL, offsetof(struct cycle, rise), "0.3", "X", "the part of them that rises" },
    { "from", 0, KR_OPT_REAL, offsetof(struct cycle, from), "25", "X", "the rate over the first one" },
    { "to", 0, KR_OPT_REAL, offsetof(struct cycle, to), "1e4", "X", "the first rate over the last" },
    KR_OPT_END
};

static int check(const void *o)
{
    const struct cycle *s = o;
    if (s->steps < 2 || !(s->rise > 0 && s->rise < 1) || !(s->rise * (double)s->steps > 1))
        return kr_fail(KR_EREFUSED, "a cycle of %ld steps, of which %g rise; more than one must rise, and not all", s->steps, s->rise);
    return s->from >= 1 && s->to >= 1 ? 0 : kr_fail(KR_EREFUSED, "a cycle with rates divided by %g and %g; both must be at least 1", s->from, s->to);
}

static double at(const void *o, double rate, long step)
{
    const struct cycle *s = o;
    double first = rate / s->from, last = first / s->to, top = s->rise * (double)s->steps - 1, end = (double)(s->steps - 1), k = fmin((double)step, end);
    return k <= top ? rate + (first - rate) / 2 * (1 + cos(acos(-1) * k / top)) : last + (rate - last) / 2 * (1 + cos(acos(-1) * (k - top) / (end - top)));
}

const kr_schedule kr_schedule_one_cycle = { .name = "one_cycle", .summary = "from rate / 25 up to the rate, then down", .cite = "Smith and Topin, arXiv 1708.07120; PyTorch's OneCycleLR",
    .opts = opts, .opts_size = sizeof(struct cycle), .check = check, .at = at };
