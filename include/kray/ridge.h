/* ridge.h: a learned, weakly convex ridge regulariser of images (WCRR):
 * R(x) = sum over filters i and points p of psi(a_i |(w_i * x)(p)|) / a_i^2, with psi' = phi a piecewise linear profile of slopes from -1 to what was learned.
 * The filters w_i are three convolutions in a row, of mean 0, cyclic, and |W| = 1 together: so 1/2 |x - y|^2 + R(x) is convex in x for every y.
 * Images are in units of the noise. Of complex images |.| is the modulus of a filter's complex answer, so that no phase is preferred; of volumes R is the mean over the
 * planes along each pair of axes.
 * Weights may hold a network of masks, too: it looks at an image that was found before, and tells what the answer of each filter at each point weighs, between 0 and 4:
 * R(x) = sum of m_i(p) psi(...). The problem is then solved again.
 * Sources: Goujon, Neumayer and Unser, SIAM J Imaging Sci 17:91 (2024), arXiv:2308.10542; masks: Neumayer, Pourya, Goujon and Unser, arXiv:2407.06608. */
#ifndef KRAY_RIDGE_H
#define KRAY_RIDGE_H
#include "kray/solve.h"
#include "kray/weights.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

typedef struct kr_ridge kr_ridge;
/* From tensors "filters.0.weight" ... {out, in, k, k}, "scale" {filters} (log a_i), "scale_level" {filters}, "profile" {intervals} (slopes of phi on intervals of
 * equal width; beyond the last, phi is constant) and the meta "hyper.range" (where the last ends). Refuses others. */
kr_ridge *kr_ridge_new(const kr_weights *w) KR_MUST_USE;
void kr_ridge_unref(kr_ridge **r);
double kr_ridge_bound(const kr_ridge *r);        /* Lipschitz constant of the gradient of R */
/* Untrained weights: filters by chance, phi of a soft threshold. channels: of the three layers; width: of their windows, odd. */
kr_weights *kr_ridge_fresh(const long channels[3], const long width[3], long intervals, uint64_t seed) KR_MUST_USE;
/* Makes |W| 1 and the means of the first filters 0, and keeps the slopes within -1 and `most` and phi from going below 0: what a step of training may have left. */
int kr_ridge_settle(kr_weights *w, double most) KR_MUST_USE;

/* R for arrays of one shape, along those of its axes (at most X, Y, Z) that are longer than 1, at noise of `level` times an image of brightness 1
 * (a_i = exp(scale_i + scale_level_i log(level / 0.03))). Borrows r. */
typedef struct kr_ridge_field kr_ridge_field;
kr_ridge_field *kr_ridge_plan(const kr_ridge *r, enum kr_type type, kr_shape shape, unsigned axes, double level) KR_MUST_USE;
void kr_ridge_field_unref(kr_ridge_field **f);
/* g += by times the gradient at x of unit^2 R(x / unit). Arrays contiguous, of the field's shape. */
void kr_ridge_gradient(kr_ridge_field *f, kr_array *g, const kr_array *x, double unit, double by);
double kr_ridge_value(kr_ridge_field *f, const kr_array *x, double unit);      /* unit^2 R(x / unit) */

/* ---- Masks ---- */
bool kr_ridge_masks(const kr_weights *w);        /* is there a network of masks among the weights? */
/* Adds one, whose masks are 1 as long as its last layer is 0: a U-Net of that many channels at full size, on the answers of the filters. */
int kr_ridge_mask_fresh(kr_weights *w, long channels, uint64_t seed) KR_MUST_USE;
bool kr_ridge_looks(const kr_ridge_field *f);    /* a network is there, for planes of 16 x 16 points and more */
/* From now on answers weigh what the network makes of the image x and of `first`, A^H y in its units; before, all weigh 1. */
int kr_ridge_look(kr_ridge_field *f, const kr_array *x, const kr_array *first, double unit) KR_MUST_USE;
double kr_ridge_field_bound(const kr_ridge_field *f);         /* kr_ridge_bound with its masks */

/* ---- Training by the solution itself ----
 * z = argmin 1/2 z^H N z - Re b^H z + strength R(z) {Y,X}, all in units of the level; loss = log of the root of the weighted mean of |z - target|^2; its
 * derivatives by the parameters, through the optimum: -d/dtheta <u, strength grad R(z)> with (N + strength R'') u = dloss/dz by conjugate gradients, are
 * added to the gradients, times `by`. */
typedef struct kr_ridge_lesson {
    long nx, ny;
    const kr_linop *N; double bound;     /* NULL: the identity; at least its largest eigenvalue      */
    const kr_cfloat *b, *target, *start; const float *weight;
    double level, strength;
    int iterations, inner;               /* of the descent, at most; of the conjugate gradients       */
    double rest;                         /* what may be left of the gradient, the noise being 1       */
    double damping;                      /* is added to N + strength R'' there: N may leave directions open in which R'' is below 0 */
    kr_cfloat *image;                    /* unless NULL: z, times the level                           */
} kr_ridge_lesson;
/* gradient: tensors of the names and shapes of those r was made of. *before, *loss: of start and z.
 * Where r has a network of masks, that network alone is trained: it looks at the minimum without masks, *before is the loss of that, and z is the minimum with its masks. */
int kr_ridge_learn(const kr_ridge *r, kr_weights *gradient, const kr_ridge_lesson *l, double by, double *before, double *loss) KR_MUST_USE;
#endif
#ifdef __cplusplus
}
#endif
#endif
