/* train.h: what training needs beside gradients: losses, optimisers, clipping and learning rates, as the published programs have them. */
#ifndef KRAY_TRAIN_H
#define KRAY_TRAIN_H
#include "kray/graph.h"
#include "kray/opt.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* ---- Losses ----
 * x: what a network made, t: the target, {item,y,x} each, contiguous; real, magnitudes of complex images. All in double: the gradients of a loss
 * lie far below its value. */
typedef struct kr_pair {
    const double *x, *t;
    double *d;                        /* weight * dloss/dx is added; NULL: not wanted */
    long items, h, w;
} kr_pair;
typedef struct kr_loss {
    const char *name, *summary, *cite;
    const kr_opt *opts; size_t opts_size;            /* set by kr_opt_defaults and kr_opt_set */
    int (*run)(double *value, const kr_pair *p, double weight, const void *opts);
} kr_loss;
extern const kr_loss *const kr_losses[];             /* NULL-terminated */
const kr_loss *kr_loss_named(const char *name);      /* NULL with a refusal that lists the known ones */
/* The value, not weighted, over all items; its gradient as in kr_pair. by_maximum: of |x| / max |x| and |t| / max |t| instead (maxima over all items),
 * where the gradient flows through max |x| to the first pixel that has it (ATOMMIC). Where a loss has no derivative (|e| at e = 0), 0.
 * Refuses x, t or a loss that is not finite, images that are 0 where the loss divides by them, images under 7 x 7 (ssim), lack
 * of memory; d is then as it was. */
int kr_loss_run(const kr_loss *loss, double *value, const kr_pair *p, bool by_maximum, double weight, const void *opts) KR_MUST_USE;

/* How much the loss of each output of an unrolled network counts: outs = cascades x time steps, in the order in which they are made. */
enum kr_over { KR_OVER_LAST,         /* the last one alone                                                      */
               KR_OVER_MEAN,         /* their mean (DIRECT's RIM)                                               */
               KR_OVER_LOG };        /* 10^(-1 + s/(S-1))/S of step s of S times the same of the cascades (ATOMMIC) */
/* weight[outs]. outs must be a multiple of cascades. */
void kr_over_weights(double *weight, enum kr_over how, long outs, long cascades);
/* An image or a real image in double. */
void kr_value_get(double *to, const kr_value *v);
void kr_value_put(kr_value *v, const double *from);
/* m = |v| of so many pixels of a complex image; of a real one as they are. */
void kr_magnitude(double *m, const double *v, long pixels, bool complex);
/* dy of v from d = dloss/dm; 0 where v is 0. Replaces dy. */
void kr_magnitude_backward(double *dy, const double *v, const double *d, long pixels, bool complex);

/* ---- Optimisers ----
 * One step changes the values of all parameters that are not frozen, from their gradients, each number by itself: in double, kept as float, or (kr_graph_exact)
 * in double with the float beside it. Pack the graph again after a step. */
typedef struct kr_optimiser {
    const char *name, *summary, *cite;
    const kr_opt *opts; size_t opts_size;
    int (*check)(const void *opts);                  /* refuses options that make no sense */
    int (*states)(const void *opts);                 /* how many of state_name it keeps */
    const char *state_name[3];                       /* as in PyTorch's checkpoints */
    /* Step number t (from 1) of n numbers. */
    void (*step)(const void *opts, long t, double rate, long n, double *value, const double *gradient, double *const *state);
} kr_optimiser;
extern const kr_optimiser *const kr_optimisers[];
const kr_optimiser *kr_optimiser_named(const char *name);

typedef struct kr_optim kr_optim;                    /* an optimiser's memory for some parameters */
/* params are borrowed, opts copied. */
kr_optim *kr_optim_new(const kr_optimiser *kind, const void *opts, kr_param *params, long count) KR_MUST_USE;
void kr_optim_unref(kr_optim **o);
/* Refuses a gradient or rate that is not finite: nothing is changed then. The same bits for any number of threads. */
int kr_optim_step(kr_optim *o, double rate) KR_MUST_USE;
/* What a checkpoint holds beside the parameters: steps done, and tensors "PARAMETER.STATE". Both may be written to go on from one. */
long *kr_optim_steps(kr_optim *o);
kr_tensor *kr_optim_state(kr_optim *o, long *count);
double *const *kr_optim_exact(const kr_optim *o);    /* the numbers of these tensors, where parameters are kept in double (the tensors' data are NULL then); else NULL */

/* ---- Clipping ----
 * The root of the sum of squares of all gradients that are not frozen, n; all are multiplied by min(1, most / (n + 1e-6)). most INFINITY: measures only.
 * n not finite: nothing is changed. Source: PyTorch's clip_grad_norm_. */
double kr_clip_norm(kr_param *params, long count, double most);
/* Every gradient is cut to -most ... most. */
void kr_clip_value(kr_param *params, long count, double most);

/* ---- Learning rates ---- */
typedef struct kr_schedule {
    const char *name, *summary, *cite;
    const kr_opt *opts; size_t opts_size;
    int (*check)(const void *opts);
    double (*at)(const void *opts, double rate, long step);          /* step from 0; the unit (iterations, epochs) is the caller's */
} kr_schedule;
extern const kr_schedule *const kr_schedules[];
const kr_schedule *kr_schedule_named(const char *name);
/* The rate of the schedule times a warm-up that rises in a line from `from` at step 0 to 1 at step `warmup`. shift: the schedule begins at the end
 * of the warm-up (PyTorch's SequentialLR), else it runs under it (DIRECT). */
typedef struct kr_rate { double rate; long warmup; double from; bool shift; } kr_rate;
extern const kr_opt kr_rate_opts[];
int kr_rate_check(const kr_schedule *s, const void *opts, const kr_rate *r) KR_MUST_USE;
double kr_rate_at(const kr_schedule *s, const void *opts, const kr_rate *r, long step);   /* of what kr_rate_check lets pass */

#endif
#ifdef __cplusplus
}
#endif
#endif
