/* learn_state.h: a network that is being trained, and its checkpoint. Private to src/learn. */
#ifndef KRAY_LEARN_STATE_H
#define KRAY_LEARN_STATE_H
#include "kray/net.h"
#include "kray/ridge.h"
#include "learning.h"

typedef struct learn_state {
    learn_range range;
    kr_weights *w; const kr_net_kind *net;       /* what the network began with; NULL: a regulariser is trained   */
    kr_graph *graph;                 /* of a network; NULL: a regulariser is trained                          */
    kr_ridge *ridge; kr_weights *ridge_value, *ridge_gradient;               /* that one                      */
    bool masks;                      /* of the regulariser its network of masks is trained, and nothing else  */
    kr_param *param; long params;    /* of the graph, or of ridge_value and ridge_gradient                    */
    float **average;                 /* of each parameter                                                     */
    double **exact;                  /* training in double: the same, which the floats are rounded from; else NULL */
    const kr_optimiser *kind; void *opts; kr_optim *optim;
    kr_meta *told;                   /* of the weights that it began with: network, hyper-parameters          */
    char began_with[65];             /* the digest of these weights; "": from nothing                         */
    bool exchanged;                  /* the averages are in use                                               */
    long step, halvings, best_step;
    double best, elapsed;            /* worst gain over the first image among the validation slices, dB; seconds */
} learn_state;
/* From nothing, or from o->init. */
int learn_state_new(learn_state *s, const kr_learn *o);
void learn_state_clear(learn_state *s);
/* The checkpoint OUTPUT/checkpoint.safetensors: all of the above. */
int learn_state_save(const learn_state *s, const kr_learn *o);
int learn_state_load(learn_state *s, const kr_learn *o);
/* The averaged weights as a network of its own, OUTPUT/NAME.safetensors. */
int learn_state_export(const learn_state *s, const kr_learn *o, const char *name, const char *scores);
/* After a step: average = a average + (1 - a) value. */
void learn_state_average(learn_state *s, double a);
double learn_state_numbers(const learn_state *s);         /* that are trained */
void learn_state_zero_gradients(learn_state *s);
/* After a step of the optimiser: a regulariser's values are settled (kr_ridge_settle); and packs. */
int learn_state_changed(learn_state *s);
int learn_state_pack(learn_state *s);
/* Exchanges values and their average, and packs. */
int learn_state_exchange(learn_state *s);
#endif
