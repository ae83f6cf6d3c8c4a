/* sched_multistep.c: less by a factor at steps that are listed. */
#include "kray/train.h"
#include <math.h>
#include <stdlib.h>

struct listed { const char *at; double gamma; };
static const kr_opt opts[] = {
    { "at", 0, KR_OPT_TEXT, offsetof(struct listed, at), "", "N,N,...", "the steps at which it falls" },
    { "gamma", 0, KR_OPT_REAL, offsetof(struct listed, gamma), "0.1", "X", "the factor each time" },
    KR_OPT_END
};

/* How many of the steps listed are not beyond `step`; -1: not a list of numbers. */
static long passed(const char *list, long step)
{
    long n = 0;
    for (const char *p = list; *p;) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || v < 0 || (*end && (*end != ',' || !end[1])))
            return -1;
        n += v <= step;
        p = *end ? end + 1 : end;
    }
    return n;
}

static int check(const void *o)
{
    const struct listed *s = o;
    if (!*s->at || passed(s->at, 0) < 0)
        return kr_fail(KR_EREFUSED, "the schedule multistep needs the steps at which the rate falls, as 30,50; '%s' was given", s->at);
    return s->gamma > 0 && s->gamma <= 1 ? 0 : kr_fail(KR_EREFUSED, "a schedule with gamma %g; it must lie in (0,1]", s->gamma);
}

static double at(const void *o, double rate, long step)
{
    const struct listed *s = o;
    return rate * pow(s->gamma, (double)passed(s->at, step));
}

const kr_schedule kr_schedule_multistep = { .name = "multistep", .summary = "rate gamma^(listed steps that have passed)", .cite = "PyTorch's MultiStepLR; DIRECT's WarmupMultiStepLR",
    .opts = opts, .opts_size = sizeof(struct listed), .check = check, .at = at };
