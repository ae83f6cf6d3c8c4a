/* learning.h: the parts of training. Private to src/learn. */
#ifndef KRAY_LEARNING_H
#define KRAY_LEARNING_H
#include "kray/learn.h"
#include "kray/noref.h"

/* ---- Lists of words ---- */
/* The next word of a list; false: there is none. *at moves on. */
bool learn_word(const char **at, char *word, size_t room);
long learn_words(const char *list);
/* Word i of a list; refuses where it is longer than room. */
int learn_word_at(char *word, size_t room, const char *list, long i);

/* ---- Random numbers in order ---- */
typedef struct dice { uint64_t seed, stream, at; } dice;
double dice_uniform(dice *d, double from, double to);
double dice_normal(dice *d);
long dice_choice(dice *d, long n);   /* 0 ... n - 1 */

/* ---- Volumes ---- */
typedef struct learn_volume {
    char *name;                      /* FILE, or FILE:ITEM                                                 */
    float *v;                        /* n[0] fastest                                                       */
    long n[3], person;
    double mm[3];
    unsigned axes;                   /* bits: slices may be cut across them                                */
    bool labels;                     /* numbers are names of tissues                                       */
    char *path, digest[65];          /* of a raw scan, slices of which are cut across its last axis; NULL: a volume, v */
} learn_volume;
typedef struct learn_volumes {
    learn_volume *volume; long count, room;
    long persons;
    bool *held;                      /* of each person: kept for validation                                */
    double of_slices;                /* there is one person: this part of the slices is kept for validation */
    kr_text unreadable; long skipped;
} learn_volumes;
/* All volumes of the options; those that cannot be read are skipped and listed. Refuses where none is left on either side of the split. */
int learn_volumes_read(learn_volumes *v, const kr_learn *o, const kr_trace *trace);
void learn_volumes_clear(learn_volumes *v);
/* A raw scan as one of them: n is X, Y, slices. full: every sample of its first slice was measured. Refuses what training cannot take. */
int learn_scan_open(learn_volume *v, bool *full, const char *path, const kr_trace *trace);
/* Its slice: data {X,Y,COIL}, mask {X,Y}. Owner of *out: the caller. */
int learn_scan_slice(kr_scan **out, bool *full, const char *path, long slice);

/* Calibration lines of the masks: the least and the most. */
enum { LEARN_LEAST_LINES = 16, LEARN_MOST_LINES = 28 };

/* ---- One slice of a scan, as the network is given it ---- */
typedef struct learn_slice {
    long nx, ny, coils;
    kr_cfloat *start, *adjoint, *target, *sens;
    kr_cfloat *kspace, *full;        /* {coil,y,x}: samples as they were measured, and those of the full scan; NULL: not kept, or not known */
    float *mask, noise, scale;       /* scale: the unit of start, adjoint and target, in units of the samples */
    bool strips;                     /* the mask is the same in every readout: rows along x stand for themselves */
    char *name;
} learn_slice;
/* Slice `index` of the training set, or of the validation set: a function of the options, the volumes, and nothing else. */
int learn_slice_make(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, long index);
void learn_slice_clear(learn_slice *s);
/* An object {ny,nx} out of a volume, its largest magnitudes being 1, with a smooth phase: plane, deformation, contrast, lesions by chance. 1: there is too little to see. Owner of
 * *x: the caller. */
int learn_picture(kr_cfloat **x, long *nx, long *ny, const char **name, const learn_volumes *v, const kr_learn *o, bool held, dice *d);
/* A slice of an object that moved while it was measured, for networks that judge images: start is its magnitude, as they are given it, adjoint that without motion, target the map of
 * SSIM between the two. One try: 1 where there is too little to see. */
int learn_moved(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, dice *d);
/* Is it such a network that is trained? */
bool learn_judges(const kr_learn *o);
/* What was trained on, of all slices so far. */
typedef struct learn_range { double look[KR_NOREF_LOOKS][2], norm[2]; unsigned masks; bool any; } learn_range;
int learn_range_add(learn_range *r, const learn_slice *s, bool judges);
/* In a checkpoint, all of it; in weights, as "trained.NAME". */
int learn_range_keep(kr_meta *m, const learn_range *r);
void learn_range_take(learn_range *r, const kr_meta *m);
int learn_range_tell(kr_meta *m, const learn_range *r, bool judges);
/* Kept in the cache; made where it is not there. */
int learn_slice_get(learn_slice *s, const learn_volumes *v, const kr_learn *o, bool held, long index);
/* Do slices for this training hold samples, too? Kray's own networks and the regulariser need none. */
bool learn_wants_samples(const kr_learn *o);
bool learn_ridge(const kr_learn *o);                     /* what is trained is the regulariser, no network */
#endif
