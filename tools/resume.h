/* resume.h: what an image was made with, kept in its file, so that --resume knows what is done. Private to tools/. */
#ifndef KRAY_RESUME_H
#define KRAY_RESUME_H
#include "kray/io.h"
#include "kray/opt.h"

/* "method=sense; undersample=random:accel=4; ..." of one table: options that are not at their preset, without those named in `skip`
 * ("output memory"), files with the digest of their contents. What decides on the image, together with the version and the input. */
int resume_settings(kr_text *t, const kr_opt *opts, const void *values, const char *skip) KR_MUST_USE;
/* 1: `output` is whole and was made from this input, with these settings, by this version. 0: it is not, which is said unless there is
 * no such file. Negative: a refusal. */
int resume_done(const char *output, const char *input, const char *settings, const kr_trace *trace) KR_MUST_USE;
#endif
