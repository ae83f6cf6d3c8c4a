/* labels.h: kray eval --labels: scores of segmentations, per case and label, and means. Private to tools/. */
#ifndef KRAY_LABELS_H
#define KRAY_LABELS_H
#include "json.h"
#include "judge.h"
#include "kray/segment.h"

struct labels_opts {
    const char *empty, *surface, *csv, *voxel, *only;
    double tolerance_mm;
};
struct labels_set { const char *name; const struct judge_files *files; };        /* name NULL: the only one */
/* Pairs by name, each set against the references; prints. Warnings and failures go through a. */
int labels_evaluate(const struct labels_opts *o, const struct judge_files *reference, const struct labels_set *set, long sets, struct answer *a) KR_MUST_USE;
/* The name that an image's notes give a label ("label_NUMBER"), or NULL. */
const char *labels_name(const kr_meta *m, int32_t label);
/* "X,Y,Z" or one number for all, in mm. */
int labels_voxel(double mm[3], const char *text) KR_MUST_USE;
#endif
