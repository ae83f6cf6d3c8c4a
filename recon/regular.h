/* regular.h: regularised least squares by the model of the scan, the one engine behind cs, wavelet, tv and the others. Private to this folder. */
#ifndef KRAY_REGULAR_H
#define KRAY_REGULAR_H
#include "kray/recon.h"

typedef struct kr_regular {
    const char *reg;                  /* "wavelet:0.01+tv:0.002"; NULL: `kind` alone                             */
    const char *solver, *frames;      /* "auto"; axis of the series, "auto"                                      */
    const char *weights;              /* of wcrr; NULL: those that come with Kray                                 */
    double lambda, level, tolerance;
    long iterations, order, block, rounds;   /* rounds: solutions, each by the one before; 0: as many as the weights were made for */
    bool shifts, positive;            /* positive: no value below 0, of real images                              */
    bool put_back;                    /* measured samples take the place of the image's: x + A^H (y - A x)       */
} kr_regular;
/* The options of all these methods; presets of lambda, the iterations and the tolerance. */
#define KR_REGULAR_OPTS(lambda_, iterations_, tolerance_) \
    { "lambda", 'l', KR_OPT_REAL, offsetof(kr_regular, lambda), lambda_, "X", "strength, relative to the image: data are scaled so that the 99th percentile of the zero-filled image is 1" }, \
    KR_REGULAR_SHARED(iterations_, tolerance_)
#define KR_REGULAR_SHARED(iterations_, tolerance_) \
    { "iterations", 'i', KR_OPT_INT, offsetof(kr_regular, iterations), iterations_, "N", "iterations at most" }, \
    { "tolerance", 0, KR_OPT_REAL, offsetof(kr_regular, tolerance), tolerance_, "X", "stop when the estimated distance to the solution is X of the image; 0: run all iterations" }, \
    { "solver", 0, KR_OPT_CHOICE, offsetof(kr_regular, solver), "auto", "auto|" KR_SOLVERS, "auto: FISTA for one regulariser with a simple proximal map, else PDHG; of projections 'diagonal'; of wcrr 'lbfgs'" }, \
    { "nonneg", 0, KR_OPT_FLAG, offsetof(kr_regular, positive), NULL, NULL, "no value below 0 (images of projections)" }
#define KR_REGULAR_WAVELET \
    { "order", 0, KR_OPT_INT, offsetof(kr_regular, order), "2", "N", "vanishing moments of the Daubechies wavelets, 1 to 10" }
#define KR_REGULAR_SHIFTS \
    { "shifts", 0, KR_OPT_FLAG, offsetof(kr_regular, shifts), "on", NULL, "average the penalty over shifts of the wavelet grid (4) or of the blocks (2): cycle spinning" }
#define KR_REGULAR_BLOCK \
    { "block", 0, KR_OPT_INT, offsetof(kr_regular, block), "8", "N", "width of a locally low rank block" }
#define KR_REGULAR_FRAMES \
    { "frames", 0, KR_OPT_CHOICE, offsetof(kr_regular, frames), "auto", "auto|all|time|phase|echo|set", "axis of the series; auto: the first that is longer than 1; all (ttv, llr): these together, such as heart phases and breathing" }

/* kind: a word of the sum ("wavelet"), whose strength is o->lambda, or NULL: o->reg says it. */
int kr_regularised(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *o, const char *kind, const kr_trace *trace);
/* The 99th percentile of |b| where it is not 0, from a histogram; 0: all are, or (an error is on record) there is no memory. */
double kr_regular_top(const kr_array *b);
/* kr_recon.follow, of one part (slice, frame): x begins at the one before. */
int kr_regular_follow(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *o, const char *kind, void **left, const kr_trace *trace);
void kr_regular_forget(void **left);
int kr_regular_plan(kr_cost *cost, const kr_scan *scan, const kr_regular *o, const char *kind);
#endif
