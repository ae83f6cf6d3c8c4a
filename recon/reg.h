/* reg.h: what a regulariser is to regular.c. Private to this folder. One file reg_NAME.c that defines reg_NAME, and one word in meson.build. */
#ifndef KRAY_REG_H
#define KRAY_REG_H
#include "kray/solve.h"
#include "kray/weights.h"
#include "model.h"

/* min over x of 1/2 x^H N x - Re b^H x + sum of g_i(K_i x). Owns all; K[i] NULL: identity. */
typedef struct reg_problem {
    kr_linop *N, *K[KR_TERMS];
    kr_prox *g[KR_TERMS];
    int terms;
    kr_smooth smooth;                /* add NULL: none                                                  */
    void (*drop)(void *smooth);
    int (*look)(struct reg_problem *q, const kr_array *x, const kr_array *b);      /* makes the smooth term anew by the solution x, b being A^H y in its units; NULL: there is nothing to learn from it */
    kr_prox *first;                  /* the image begins as what solves the problem with this term instead; NULL: as 0 */
    double bound;                    /* of N; 0: power iteration tells                                  */
    kr_linop *image;                 /* the image of x, which is more; NULL: x is the image              */
} reg_problem;

/* Where a term is added. */
typedef struct kr_regular kr_regular;                 /* regular.h */
typedef struct reg_at {
    const kr_regular *o;
    const model *m;                  /* of one problem; m->part: its data                               */
    enum kr_type type;
    kr_shape n;                      /* of the image                                                    */
    unsigned space;                  /* axes longer than 1 along which neighbours are alike             */
    int frames;                      /* axis of the series, -1: none; the first of several              */
    unsigned along;                  /* all its axes                                                    */
    double lambda, relative;         /* strength, in units of N; as it was asked for                    */
    float scale;                     /* what the part's data are multiplied by to be those of the problem */
    const kr_weights *weights;       /* reg_kind.weights                                                */
    bool only;                       /* there is no other term                                          */
} reg_at;

typedef struct reg_kind {
    const char *name, *summary, *cite;
    bool series;                     /* a prior in time: wants frames                                   */
    bool many;                       /* of a series along several axes, too                             */
    bool alone;                      /* has an unknown of its own and cannot be summed with others      */
    bool sum;                        /* that unknown's two parts along CHAN add up to the image         */
    double planes;                   /* images of memory that planes of complex images take more than others */
    double images, each;             /* memory, in images of a problem: at all, and for each axis in space; measured */
    double rays;                     /* of rays instead, for each axis in space, where its dual is changed in place; 0: as above */
    int (*add)(reg_problem *q, const reg_at *at);
    double (*level)(const kr_regular *o, double lambda, bool real);          /* of trained weights: the noise of images, relative to them, that they are used for. NULL: no such thing */
    double (*by_noise)(double noise, bool rays);              /* a strength of 0, by the noise of the scan; noise 0: nothing tells it. NULL: 0 is no strength */
    const char *weights;             /* name of the trained weights that it wants; NULL: none           */
} reg_kind;

/* Adds g(K x), K NULL: identity. Takes both; refuses a g that could not be made. */
int reg_term(reg_problem *q, kr_prox *g, kr_linop *K) KR_MUST_USE;
/* Adds lambda |D x| along axes. Total variation is l1 of differences, K = D: no inner iterations, whose errors an accelerated method would collect. */
int reg_differences(reg_problem *q, const reg_at *at, unsigned axes) KR_MUST_USE;
/* The operator f x, summed over the axes that `to` lacks. */
kr_linop *reg_times(enum kr_type type, float f, kr_shape to, kr_shape from) KR_MUST_USE;
kr_shape reg_chans(kr_shape s, long n);      /* s with n along CHAN */
#endif
