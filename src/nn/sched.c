/* sched.c: the table of learning rate schedules, and the warm-up before or over any of them. */
#include "kray/train.h"
#include "kray_schedules.h"
#include <math.h>
#include <string.h>

#define DECLARE(name) extern const kr_schedule kr_schedule_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_schedule_##name,
const kr_schedule *const kr_schedules[] = { KR_LIST(ENTRY) NULL };

const kr_opt kr_rate_opts[] = {
    { "rate", 0, KR_OPT_REAL, offsetof(kr_rate, rate), "1e-3", "X", "learning rate" },
    { "warmup", 0, KR_OPT_INT, offsetof(kr_rate, warmup), "0", "N", "steps over which the rate rises" },
    { "warmup-from", 0, KR_OPT_REAL, offsetof(kr_rate, from), "0.01", "X", "the part of the rate at which it begins" },
    { "warmup-shift", 0, KR_OPT_FLAG, offsetof(kr_rate, shift), NULL, NULL, "the schedule begins after the warm-up" },
    KR_OPT_END
};

const kr_schedule *kr_schedule_named(const char *name)
{
    for (int i = 0; kr_schedules[i]; i++)
        if (!strcmp(kr_schedules[i]->name, name))
            return kr_schedules[i];
    kr_text t = { 0 };
    for (int i = 0; kr_schedules[i]; i++)
        kr_text_add(&t, "%s%s", i ? ", " : "", kr_schedules[i]->name);
    kr_fail(KR_EUSAGE, "no schedule '%s'; known are %s", name, t.failed ? "" : t.s);
    kr_text_clear(&t);
    return NULL;
}

int kr_rate_check(const kr_schedule *s, const void *opts, const kr_rate *r)
{
    if (!(r->rate > 0) || !isfinite(r->rate))
        return kr_fail(KR_EREFUSED, "a learning rate of %g; it must be positive", r->rate);
    if (r->warmup < 0 || !(r->from >= 0 && r->from <= 1))
        return kr_fail(KR_EREFUSED, "a warm-up of %ld steps from %g; from 0 to 1 of the rate, in steps that are not negative", r->warmup, r->from);
    return s->check ? s->check(opts) : 0;
}

double kr_rate_at(const kr_schedule *s, const void *opts, const kr_rate *r, long step)
{
    double up = step < r->warmup ? r->from + (1 - r->from) * (double)step / (double)r->warmup : 1;
    long at = !r->shift ? step : step > r->warmup ? step - r->warmup : 0;
    return up * s->at(opts, r->rate, at);
}
