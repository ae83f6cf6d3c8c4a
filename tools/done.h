/* done.h: which steps were done before: a file of digests of what each was made from and of what it made. Private to tools/. */
#ifndef KRAY_DONE_H
#define KRAY_DONE_H
#include "json.h"

/* What a file, or each file of a folder, holds: names, sizes and digests. A file that is not there adds nothing. */
void done_describe(kr_text *t, const char *path);
char *done_digest(const kr_text *t) KR_MUST_USE;                   /* SHA-256 of the text */

/* The record that stands in `path`; an empty one where there is none, or what is there is none. Free with json_decref. */
json_t *done_load(const char *path);
/* Whether the step of this name was made from `key` and its results are still what they were. result "": something of it is missing. */
bool done_same(const json_t *done, const char *name, const char *key, const char *result);
/* Puts a step into the record; key NULL takes it out. */
void done_note(json_t *done, const char *name, const char *key, const char *result, double seconds);
/* e: what became of the step; a refusal (with its sentence) is returned rather than one of the writing. */
int done_write(const json_t *done, const char *path, int e) KR_MUST_USE;
#endif
