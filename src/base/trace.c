/* trace.c: what a long job tells, how it is stopped; the clock and the version. */
#include "kray/base.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

void kr_say(const kr_trace *trace, int level, const char *fmt, ...)
{
    if (!trace || !trace->say)
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    trace->say(trace->self, level, text);
}

void kr_progress(const kr_trace *trace, const char *what, double done, double total)
{
    if (trace && trace->progress)
        trace->progress(trace->self, what, done, total);
}

static void unit_say(void *self, int level, const char *sentence)
{
    const kr_trace_unit *u = self;
    if (u->outer->say)
        u->outer->say(u->outer->self, level, sentence);
}

static void unit_progress(void *self, const char *what, double done, double total)
{
    const kr_trace_unit *u = self;
    char text[160];
    bool counts = strchr(what, '/') != NULL;             /* a job within the job has said how far it is */
    if (counts || !(total > 0))
        snprintf(text, sizeof text, "%s %ld/%ld, %s", u->unit, u->i + 1, u->n, what);
    else
        snprintf(text, sizeof text, "%s %ld/%ld, %s %.0f %%", u->unit, u->i + 1, u->n, what, 100 * done / total);
    kr_progress(u->outer, text, (double)u->i + (counts && total > 0 ? done / total : 0), (double)u->n);
}

const kr_trace *kr_trace_of(kr_trace_unit *room, const kr_trace *outer, const char *unit, long i, long n)
{
    if (!outer || n <= 1)
        return outer;
    *room = (kr_trace_unit){ { unit_say, unit_progress, room, outer->stop, outer->dealer }, outer, unit, i, n };
    return &room->trace;
}

int kr_stopped(const kr_trace *trace)
{
    return trace && trace->stop && *trace->stop ? kr_fail(KR_ESTOPPED, "stopped on request") : 0;
}

double kr_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *kr_version(void) { return KR_VERSION; }
