/* mrd_h5.h: the HDF5 side of ISMRMRD: groups, lines, waveforms and image headers, in bulk. Private to src/io. */
#ifndef KRAY_MRD_H5_H
#define KRAY_MRD_H5_H
#include "h5vlen.h"
#include "kray/wire.h"
#include <ismrmrd/ismrmrd.h>

/* ---- Groups: at most three levels deep ---- */
enum kr_mrd_content { KR_MRD_LINES = 1, KR_MRD_IMAGES = 2 };
typedef struct kr_mrd_groups { long count, room; struct kr_mrd_group { char *name; int content; } *group; } kr_mrd_groups;
int kr_mrd_groups_find(kr_mrd_groups *to, kr_h5 *f) KR_MUST_USE;
void kr_mrd_groups_clear(kr_mrd_groups *g);
/* The group named `var`, or the first with that content ("dataset" before others); its index, or a refusal that lists what is there. */
long kr_mrd_groups_choose(const kr_mrd_groups *g, const char *var, int content) KR_MUST_USE;

/* ---- Lines ---- */
typedef struct kr_mrd_refs { kr_h5_ref samples, traj; } kr_mrd_refs;      /* where the numbers of a line are */
kr_line kr_mrd_line_of(const ISMRMRD_AcquisitionHeader *h);
ISMRMRD_AcquisitionHeader kr_mrd_head_of(const kr_line *l);
int kr_mrd_heads_read(kr_line **line, kr_mrd_refs **refs, long *count, kr_h5 *f, const char *group) KR_MUST_USE;
/* Gives samples and trajectories of the lines that `wants` says yes to, in pieces of some MiB, to `put`. Every length is
 * checked against the head first. */
typedef struct kr_mrd_sink {
    bool (*wants)(void *self, long line);
    int (*put)(void *self, long from, long count, const kr_cfloat *const *samples, const float *const *traj);
    void *self;
} kr_mrd_sink;
int kr_mrd_samples_read(const kr_h5 *f, const kr_line *line, const kr_mrd_refs *refs, long count, const kr_mrd_sink *sink,
                        const kr_trace *trace) KR_MUST_USE;
int kr_mrd_waveforms_read(kr_scan *s, kr_h5 *f, const char *group) KR_MUST_USE;

/* Appends `count` lines to `group`/data, which is made when `at` is 0. samples[i] [channel][sample], traj[i] may be NULL. */
int kr_mrd_lines_write(kr_h5 *f, const char *group, long at, long count, const kr_line *line, const kr_cfloat *const *samples,
                       const float *const *traj) KR_MUST_USE;
/* The same with heads that keep what kr_line has no place for. */
int kr_mrd_records_write(kr_h5 *f, const char *group, long at, long count, const ISMRMRD_AcquisitionHeader *head, const kr_cfloat *const *samples,
                         const float *const *traj) KR_MUST_USE;
int kr_mrd_waveforms_write(const kr_scan *s, kr_h5 *f, const char *group) KR_MUST_USE;
int kr_mrd_texts_write(kr_h5 *f, const char *name, long count, char *const *text) KR_MUST_USE;      /* (count,) strings */

/* ---- Image headers ---- */
int kr_mrd_image_heads_read(ISMRMRD_ImageHeader **head, long *count, kr_h5 *f, const char *group) KR_MUST_USE;
int kr_mrd_image_heads_write(kr_h5 *f, const char *group, const ISMRMRD_ImageHeader *head, long count) KR_MUST_USE;
#endif
