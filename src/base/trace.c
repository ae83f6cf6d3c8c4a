/* trace.c: what a long job tells, how it is stopped; the clock and the version. */
#include "kray/base.h"
#include <stdio.h>
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
