/* info_rays.h: what kray info tells of X-ray projections. Private to this folder. */
#ifndef KRAY_INFO_RAYS_H
#define KRAY_INFO_RAYS_H
#include "json.h"
#include "kray/projections.h"

/* As lines into t, or (o not NULL) as JSON. */
int info_rays(json_t **o, kr_text *t, const kr_projections *p) KR_MUST_USE;
#endif
