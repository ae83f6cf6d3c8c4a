/* sched_constant.c: the rate as it is. */
#include "kray/train.h"

static double at(const void *opts, double rate, long step)
{
    (void)opts;
    (void)step;
    return rate;
}

const kr_schedule kr_schedule_constant = { .name = "constant", .summary = "the rate as it is", .at = at };
