/* info_rays.h: what kray info tells of X-ray projections. Private to this folder. */
#ifndef KRAY_INFO_RAYS_H
#define KRAY_INFO_RAYS_H
#include "json.h"
#include "kray/projections.h"

/* 1: a file that tells how it was measured, *out (owner: the caller); 0: none of the kinds of projections.h; else a refusal. */
int info_rays_known(kr_projections **out, const char *source, const kr_trace *trace) KR_MUST_USE;
/* As lines into t, or (o not NULL) as JSON. */
int info_rays(json_t **o, kr_text *t, const kr_projections *p) KR_MUST_USE;
#endif
