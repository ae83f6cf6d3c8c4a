/* error.c: the record of refusals, one per thread. */
#include "kray/base.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1024 };
static _Thread_local struct { int code; char text[ROOM]; } record;

int kr_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(record.text, ROOM, fmt, ap);
    va_end(ap);
    record.code = code;
    return code;
}

int kr_fail_in(const char *fmt, ...)
{
    char in[ROOM], old[ROOM];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(in, ROOM, fmt, ap);
    va_end(ap);
    memcpy(old, record.text, ROOM);
    int used = snprintf(record.text, ROOM, "%s: ", in);
    if (used > 0 && used < ROOM)
        snprintf(record.text + used, (size_t)(ROOM - used), "%.*s", ROOM - used - 1, old);
    if (!record.code)
        record.code = KR_EREFUSED;
    return record.code;
}

int kr_fail_copy(int code, const char *sentence)
{
    return kr_fail(code, "%s", sentence);
}

const char *kr_error(void) { return record.code ? record.text : ""; }
int kr_error_code(void) { return record.code; }
void kr_error_clear(void) { record.code = 0; record.text[0] = 0; }

void kr_broken(const char *what, const char *file, int line)
{
    fprintf(stderr, "kray: broken contract: %s (%s:%d)\n", what, file, line);
    abort();
}
