/* learn.h: training of networks: volumes turned into scans, the loop, what it leaves behind. */
#ifndef KRAY_LEARN_H
#define KRAY_LEARN_H
#include "kray/recon.h"
#include "kray/train.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* After a validation: what there is to look at. The tables steps.csv and validation.csv in the output are written up to here. */
typedef struct kr_learn_seen {
    long step; double seconds;
    const char *scores;              /* one line of them                                                      */
    const kr_array *worst;           /* {X,Y,SLICE}: the first image, the network's and the target, magnitudes, where the network gained least */
    const char *worst_name;
    bool judges;                     /* a network that judges images: "first" is the image, the gains are minus the error of SSIM */
} kr_learn_seen;

/* One run of training. Its keys are those of a configuration and the options of the command: kr_learn_opts. Lists: words with commas or line
 * ends between them. */
typedef struct kr_learn {
    const char *output;              /* folder: checkpoint, weights, tables                                   */
    const char *network, *size, *init;
    const char *folder, *images, *labels, *scans, *same;
    double hold_back;
    long seed;
    /* Scans made of volumes */
    long slices, first, every;
    const char *cache, *coils, *accel, *masks, *planes, *noise;
    double lesions;
    const char *motion;              /* of networks that judge images                                         */
    const char *start;               /* the method whose image a network begins with, NULL: its own            */
    bool clean;
    double denoise, strength; const char *levels;
    double self_supervised;
    /* Steps */
    const char *loss, *optimiser;
    bool growing;                    /* in the place of other_outputs                                         */
    double other_outputs, air, rate, weight_decay, clip, average;
    long batch, strip, steps, warmup, decay, validate, validation, save;
    double max_time;
    int64_t memory;
    bool in_double;                  /* the whole step in double: to tell rounding from error                 */
    bool resume;
    int (*validated)(void *self, const kr_learn_seen *seen); void *self;      /* no key; NULL: nobody looks      */
} kr_learn;
extern const kr_opt kr_learn_opts[];
/* Sets what a configuration says, YAML of "key: value" lines whose keys are the options' names, a list instead of a value where words are many.
 * Refuses unknown keys and what is no such file. text: the values, which `o` then points to. */
int kr_learn_config(kr_learn *o, kr_meta *text, const char *path) KR_MUST_USE;
/* What a run would take: seconds of a step (measured on one), bytes at the peak, parameters, volumes and slices. */
typedef struct kr_learn_cost { double step_seconds, slice_seconds, bytes, parameters; long volumes, persons, unreadable; } kr_learn_cost;
int kr_learn_plan(kr_learn_cost *cost, const kr_learn *o, const kr_trace *trace) KR_MUST_USE;
/* Makes slices from..to-1 of the cache, all threads side by side, and nothing else. Those that are there stay. */
int kr_learn_prepare(const kr_learn *o, long from, long to, const kr_trace *trace) KR_MUST_USE;
/* Trains until o->steps, o->max_time seconds, or until asked to stop; the last two leave a checkpoint and return 0 too. *why: which of
 * them, static. The same bits for a seed, whatever the threads, and whether or not it was interrupted. */
int kr_learn_run(const kr_learn *o, const char **why, const kr_trace *trace) KR_MUST_USE;
#endif
#ifdef __cplusplus
}
#endif
#endif
