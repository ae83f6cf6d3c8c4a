/* stage.h: a program of someone else's as a step: run, watched, its result checked. Private to tools/. */
#ifndef KRAY_STAGE_H
#define KRAY_STAGE_H
#include "json.h"

struct stage {
    const char *command;             /* for /bin/sh; {NAME} stands for a word, quoted                     */
    double seconds;                  /* stopped after this long; 0: never                                 */
    struct stage_word { const char *name, *value; } word[8];         /* "image", "scan.nii.gz"; ends with a name of NULL */
};
struct stage_end { int status; double seconds; char *said; };        /* exit status; the end of what it printed: free it */
/* Refuses names in braces that are not known: before the work, not after. */
int stage_check(const struct stage *s) KR_MUST_USE;
/* Runs it in a process group of its own, whose output goes to `end` and, line by line, to the trace (KR_DETAIL). Refuses names in braces that are not
 * known, a status other than 0, a signal, a time-out, a stop: with its last words. */
int stage_run(struct stage_end *end, const struct stage *s, const kr_trace *trace) KR_MUST_USE;
/* The same of a program with its arguments, NULL-terminated. */
int stage_exec(struct stage_end *end, char *const *argv, double seconds, const kr_trace *trace) KR_MUST_USE;

/* kray recon --then: COMMAND {image} {labels} on a finished image. Where {labels} (IMAGE_labels.nii.gz) is named, the file must be there afterwards, hold
 * labels, and lie on the image's grid; j gets "then". */
int stage_then(const char *command, double seconds, const char *image, json_t *j, const kr_trace *trace) KR_MUST_USE;
int stage_then_check(const char *command) KR_MUST_USE;         /* as stage_check */
/* Refuses a file of labels that is no such file, or lies on another grid than the image. */
int stage_check_labels(const char *labels, const char *image) KR_MUST_USE;
#endif
