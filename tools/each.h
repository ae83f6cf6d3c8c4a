/* each.h: a program of someone else's that looks at every image of a session: one image in, one line of JSON out. Private to tools/. */
#ifndef KRAY_EACH_H
#define KRAY_EACH_H
#include "kray/io.h"
#include <sys/types.h>

struct each {
    pid_t child;                     /* 0: not running                                                  */
    int in, out;                     /* its standard input and output                                   */
    kr_text images;                  /* messages that wait to be looked at                              */
    kr_text read;                    /* of its output, beyond the last line                             */
    bool ended;                      /* it failed, and is asked no more                                 */
};
/* One more waits; false: it has ended, and no more are taken. */
bool each_show(struct each *e, const void *message, size_t n);
/* Starts it, by /bin/sh. */
int each_open(struct each *e, const char *command) KR_MUST_USE;
/* Gives it the first image that waits, and waits for its line; *line: without the end of line, owner: the caller. Refuses what is no JSON, more
 * than so many seconds, and to ask what has ended. After a refusal it is ended. */
int each_ask(struct each *e, double seconds, char **line) KR_MUST_USE;
/* The end of its input; waits 5 s for it, then ends it. */
void each_close(struct each *e);
#endif
