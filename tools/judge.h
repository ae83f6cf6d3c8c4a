/* judge.h: what eval and report share: targets and the reconstructions that belong to them, made comparable and scored.
 * Private to tools/. */
#ifndef KRAY_JUDGE_H
#define KRAY_JUDGE_H
#include "kray/io.h"
#include "kray/metric.h"

/* What words on the command line stand for: each a file, the files of a folder and its folders, or a pattern. `name` is
 * what pairs are made by: the path from the folder (or the pattern's fixed part, or what several words share) on, without
 * suffix. Sorted by name. */
struct judge_files { long count, room; bool many; struct { char *path, *name; } *at; };
int judge_files(struct judge_files *f, int words, char *const *word) KR_MUST_USE;
void judge_files_close(struct judge_files *f);
const char *judge_files_named(const struct judge_files *f, const char *name);     /* the path of that name, or NULL */
/* NAME=FILE: the length of NAME; 0 where the word has none. */
size_t judge_named(const char *word);

struct judge {                        /* the rules of one run */
    const kr_protocol *protocol;
    bool fit;                         /* scale the reconstruction by least squares                   */
    const char *crop;                 /* "auto", "always", "never"                                   */
    long skip;                        /* slices left out at each end                                 */
    const char *roi;                  /* file of a region of interest; NULL: everywhere              */
};
struct judged {
    kr_image *target, *recon;         /* magnitudes as compared: cropped, scaled, equal shapes       */
    kr_score *slice, volume;
    long slices;
    double voxel_mm[3];               /* of the target along X, Y, Z; 0: unknown                     */
    double scale;                     /* what the reconstruction was multiplied by                   */
    double apart;                     /* what would bring it nearest to the target now                */
    char *turned;                     /* "x reversed" if axes were turned as the target's lie in the patient, else NULL */
    char *crop;                       /* "320 x 320" if the protocol's crop was applied, else NULL   */
};
/* A target, read once for all that is judged by it. It may be raw data that hold their reference, or are fully sampled. */
struct judge_target { kr_image *image; const char *path, *crops; };
int judge_read(struct judge_target *t, const char *path, const kr_trace *trace) KR_MUST_USE;
void judge_target_close(struct judge_target *t);
/* An image by itself: its magnitude. Owner: the caller. */
int judge_image(kr_image **out, const char *path, const kr_trace *trace) KR_MUST_USE;
/* Scores one pair. */
int judge(struct judged *out, const struct judge *rules, const struct judge_target *target, const char *recon, const kr_trace *trace) KR_MUST_USE;
void judged_close(struct judged *j);
/* Warns where the two are so far apart that they must be in different units. */
bool judge_other_units(const struct judged *j, const char *recon, const kr_trace *trace);

/* How an image was made, from what its file says; NULL: not said. Of a set: what all of its images share, "various" where
 * they differ. */
struct judge_origin { char *method, *acceleration, *mask, *parameters; };
int judge_origin(struct judge_origin *o, const kr_meta *m) KR_MUST_USE;
int judge_origin_copy(struct judge_origin *o, const struct judge_origin *from) KR_MUST_USE;
int judge_origin_join(struct judge_origin *o, const struct judge_origin *other) KR_MUST_USE;
void judge_origin_close(struct judge_origin *o);

int judge_list(void);                 /* prints the protocols; 0 */

/* "0.912345", "33.1234", "inf", "-": six significant digits; in a buffer of this thread, valid for the next 16 calls. */
const char *judge_number(double v);
/* A cell of a CSV file: quoted where it must be. */
void judge_cell(kr_text *t, const char *s);
/* Refuses an output that cannot be written, that holds or is named like scans or images, or that is one of the files it is made of. NULL and "-": nothing to refuse. */
int judge_may_write(const char *path, const struct judge_files *f) KR_MUST_USE;
#endif
