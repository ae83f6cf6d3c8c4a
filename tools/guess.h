/* guess.h: kray eval --no-reference: what images are worth where nothing is there to compare them with. Private to tools/. */
#ifndef KRAY_GUESS_H
#define KRAY_GUESS_H
#include "json.h"
#include "judge.h"

struct guess_opts { const char *weights, *csv; long skip; bool per_slice; };
/* Each image by itself; prints. Warnings and failures go through a. */
int guess_evaluate(const struct guess_opts *o, const struct judge_files *files, struct answer *a) KR_MUST_USE;
#endif
