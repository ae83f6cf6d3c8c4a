/* batch.h: many inputs, one output each. Private to tools/. */
#ifndef KRAY_BATCH_H
#define KRAY_BATCH_H
#include "kray/io.h"

struct batch {
    long count, failed, misused, room;   /* misused: of the failed, those by wrong usage     */
    bool many;                            /* several words, a folder or a pattern: they go into a folder */
    bool images;                          /* images in folders count, too                             */
    long others;                          /* that other runs of the same study do            */
    long masks;                           /* files of sampling masks that were passed over in folders */
    char **input, **output, **why;        /* why: the sentence of a failed one, otherwise NULL */
    char **below;                         /* where an input lay below its folder or pattern: "P001/"; "" at its top */
};
/* words: files, folders (their files that Kray can read) and patterns. output: a file for one named input, otherwise a folder
 * (made if need be), where each takes its input's name with the suffix of the format `to` (NULL: `suffix`; where that is NULL,
 * too, images in folders count as inputs, keep their suffix where images are written under it, and what else there is becomes .h5). NULL output:
 * none. deep: folders within folders, too, whose tree the outputs
 * keep. Refuses two inputs that would share an output, an output that is its own input, and a folder named like a file. */
int batch_open(struct batch *b, int words, char **word, const char *output, const char *to, const char *suffix, bool deep) KR_MUST_USE;
void batch_close(struct batch *b);
/* Notes the recorded refusal of input i and goes on; a refusal to stop, or of a single input, is returned. */
int batch_failed(struct batch *b, long i, const kr_trace *trace) KR_MUST_USE;
/* 0, or a refusal, after saying once more what failed. */
int batch_verdict(const struct batch *b, const kr_trace *trace) KR_MUST_USE;

/* Warns before an image whose voxel size is unknown goes into a file (suffix, or format `to`) that states one. */
void batch_voxel_unknown(const kr_image *im, const char *output, const char *to, const kr_trace *trace);
#endif
