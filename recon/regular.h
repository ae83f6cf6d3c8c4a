/* regular.h: regularised SENSE, the one engine behind cs, wavelet, tv and the others. Private to this folder. */
#ifndef KRAY_REGULAR_H
#define KRAY_REGULAR_H
#include "kray/recon.h"

typedef struct kr_regular {
    const char *reg;                  /* "wavelet:0.01+tv:0.002"; NULL: `kind` alone                             */
    const char *solver, *frames;      /* "auto"; axis of the series, "auto"                                      */
    double lambda, tolerance;
    long iterations, order, block;
    bool shifts;
} kr_regular;
/* The options of all these methods; preset of lambda and of the iterations. */
#define KR_REGULAR_OPTS(lambda_, iterations_) \
    { "lambda", 'l', KR_OPT_REAL, offsetof(kr_regular, lambda), lambda_, "X", "strength, relative to the image: data are scaled so that 99 in 100 points of the zero-filled image are below 1" }, \
    KR_REGULAR_SHARED(iterations_)
#define KR_REGULAR_SHARED(iterations_) \
    { "iterations", 'i', KR_OPT_INT, offsetof(kr_regular, iterations), iterations_, "N", "iterations at most" }, \
    { "tolerance", 0, KR_OPT_REAL, offsetof(kr_regular, tolerance), "1e-3", "X", "stop once the image is this part of itself from where it is going; 0: do all iterations" }, \
    { "solver", 0, KR_OPT_CHOICE, offsetof(kr_regular, solver), "auto", "auto|fista|admm|pdhg", "auto: the first that can" }
#define KR_REGULAR_WAVELET \
    { "order", 0, KR_OPT_INT, offsetof(kr_regular, order), "4", "N", "Daubechies wavelets of so many vanishing moments, 1 to 10" }
#define KR_REGULAR_SHIFTS \
    { "shifts", 0, KR_OPT_FLAG, offsetof(kr_regular, shifts), "on", NULL, "wavelets: the mean over 4 places of their grid; low rank: over 2 of the blocks" }
#define KR_REGULAR_BLOCK \
    { "block", 0, KR_OPT_INT, offsetof(kr_regular, block), "8", "N", "points along each side of a locally low rank block" }
#define KR_REGULAR_FRAMES \
    { "frames", 0, KR_OPT_CHOICE, offsetof(kr_regular, frames), "auto", "auto|time|phase|echo|set", "the axis of the series; auto: the first of these that there is" }

/* kind: a word of the sum ("wavelet"), whose strength is o->lambda, or NULL: o->reg says it. */
int kr_regularised(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *o, const char *kind, const kr_trace *trace);
int kr_regular_plan(kr_cost *cost, const kr_scan *scan, const kr_regular *o);
#endif
