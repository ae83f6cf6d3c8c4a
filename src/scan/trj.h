/* trj.h: what a kind of trajectory is, and what it is asked. Private to src/scan. */
#ifndef KRAY_TRJ_H
#define KRAY_TRJ_H
#include "kray/opt.h"
#include "kray/trajectory.h"

/* One trajectory in the making. `want` is filled by kr_traj_new; n may be set by a kind that knows it from the samples. */
typedef struct trj_job {
    kr_traj_want want;
    long samples, views, frames;
    int dims;
    kr_array *k;
} trj_job;

typedef struct trj_kind {
    const char *name, *summary, *cite;
    const kr_opt *opts; size_t opts_size;
    int (*make)(trj_job *j, const void *opts);   /* kr_trj_open, then kr_trj_put of every sample */
} trj_kind;

/* A count: as the specification says (0: nothing), as the data have it (0: no data), or the preset. Refuses where the first two differ. */
int kr_trj_count(long *out, const char *what, long asked, long have, long preset) KR_MUST_USE;
/* Sorted readouts and their positions in place of the scan's. */
void kr_trj_replace(kr_scan *s, kr_array *data, kr_array *traj);
/* Room for all samples. The matrix is known by now. */
int kr_trj_open(trj_job *j, long samples, long views, long frames, int dims) KR_MUST_USE;
/* Sample s of readout v of frame f, in cycles per voxel: -1/2 to 1/2. */
static inline void kr_trj_put(trj_job *j, long f, long v, long s, double x, double y, double z)
{
    const double k[3] = { x, y, z };
    for (int d = 0; d < j->dims; d++)
        KR_R(j->k)[((d * j->frames + f) * j->views + v) * j->samples + s] = (float)(k[d] * (double)j->want.n[d]);
}

/* ---- Spokes: what radial and stack of stars share ---- */
typedef struct trj_spokes { long spokes, samples, tiny; const char *angle, *circle; double over, start; bool dc, out; } trj_spokes;
#define TRJ_SPOKES(S, at)                                                                                                                    \
    { "spokes", 0, KR_OPT_INT, offsetof(S, at.spokes), NULL, "N", "readouts; preset: as many as the data, or pi/2 times the matrix" },        \
    { "samples", 0, KR_OPT_INT, offsetof(S, at.samples), NULL, "N", "of a readout; preset: as many as the data, or the matrix times over" },  \
    { "over", 0, KR_OPT_REAL, offsetof(S, at.over), "2", "X", "samples per cycle along the readout" },                                        \
    { "angle", 0, KR_OPT_TEXT, offsetof(S, at.angle), "uniform", "uniform|golden|raga|DEGREES", "from a spoke to the next, turning from ky towards kx" }, \
    { "tiny", 0, KR_OPT_INT, offsetof(S, at.tiny), "1", "N", "number of the tiny golden angle; 1: the golden angle" },                        \
    { "circle", 0, KR_OPT_CHOICE, offsetof(S, at.circle), NULL, "half|full", "what spokes are spread over; golden: half folds angles to 0..180" }, \
    { "start", 0, KR_OPT_REAL, offsetof(S, at.start), "0", "DEGREES", "of the first spoke from ky towards kx" },                              \
    { "dc", 0, KR_OPT_FLAG, offsetof(S, at.dc), "yes", NULL, "sample N/2 lies in the centre of k-space; no: it lies between two samples" },    \
    { "out", 0, KR_OPT_FLAG, offsetof(S, at.out), "no", NULL, "readouts begin in the centre" }
/* Samples and, where it is not known, the matrix of such readouts. */
int kr_trj_readout(trj_job *j, const trj_spokes *o, long *samples) KR_MUST_USE;
double kr_trj_radius(const trj_spokes *o, long samples, long s);                     /* in cycles per voxel */
/* Degrees from a spoke to the next. */
int kr_trj_step(double *degrees, const trj_spokes *o, long spokes) KR_MUST_USE;
double kr_trj_angle(const trj_spokes *o, double degrees);                            /* from ky, in radians */
#endif
