/* solve.h: solvers for min over x of 1/2 |A x - y|^2 + ... */
#ifndef KRAY_SOLVE_H
#define KRAY_SOLVE_H
#include "kray/prox.h"
#ifdef __cplusplus
extern "C" {
#endif

/* When to stop: after `iterations`, or once the residual of the normal equations is `tolerance` times its start. */
typedef struct kr_stop { int iterations; double tolerance; } kr_stop;
/* x = argmin |A x - y|^2 + lambda |x|^2 by conjugate gradients from the x given. lambda in units of |A|^2.
 * Returns the iterations done, or a refusal (numbers that are not finite, stopped on request).
 * Source: Hestenes and Stiefel 1952; Pruessmann 2001, eq. 25. */
int kr_cg(const kr_linop *A, kr_array *x, const kr_array *y, float lambda, kr_stop stop, const kr_trace *trace) KR_MUST_USE;
/* The same from x = 0 by bidiagonalisation, damp^2 in place of lambda: equal to kr_cg in exact arithmetic. Returns the iterations done. Source: Paige and Saunders, ACM Trans
 * Math Softw 8:43 (1982). */
int kr_lsqr(const kr_linop *A, kr_array *x, const kr_array *y, double damp, kr_stop stop, const kr_trace *trace) KR_MUST_USE;
/* The same for the normal equations (N + lambda) x = b, N = A^H W A as an operator of its own: its forward is used. */
int kr_cg_normal(const kr_linop *N, kr_array *x, const kr_array *b, float lambda, kr_stop stop, const kr_trace *trace) KR_MUST_USE;
/* x = argmin |P F S x - P y|^2 + lambda u |x|^2 of one slice or volume, from x = 0, in blocks that do not know of each other:
 * along an axis on which the mask does not vary F^H F = 1, so that planes across it, or single lines, are problems of their
 * own. Each block runs all its iterations in the cache. u = kr_sense_unit(coils), so that lambda means the same for maps of any
 * size. x {X,Y,Z,MAP}, y {X,Y,Z,COIL}, coils {X,Y,Z,COIL,MAP}, all contiguous; mask and axes as in kr_op_sense. A block, or a line of a
 * block of lines, stops once the residual of its normal equations is `tolerance` times its share of sqrt(u) |P y|, the most
 * that |A^H y| can be. nearest: kr_cg_nearest of the whole, or NULL. Returns the largest number of iterations, or a refusal (numbers that are not finite, stopped on
 * request). The mask must be one that kr_cg_sense_can do. Source: Pruessmann 2001; soft-SENSE: Uecker 2014. */
int kr_cg_sense(kr_array *x, const kr_array *y, const kr_array *coils, const kr_array *mask, unsigned axes, float lambda, kr_stop stop,
                double *nearest, const kr_trace *trace) KR_MUST_USE;
/* The factor a for which |a A x - y| is least, x an iterate of conjugate gradients from 0 for (A^H A + lambda) x = b = A^H y, and xb = Re <x, b>: lambda makes x smaller
 * than the data ask for. Such an x is orthogonal to its residual, so that |A x|^2 = xb - lambda |x|^2. 1 where x is 0. */
double kr_cg_nearest(double xb, float lambda, const kr_array *x);
/* Whether a mask of this shape leaves blocks: it varies along at most two of X, Y, Z, all of them among `axes`; otherwise
 * kr_cg does it. And the bytes of scratch that will be taken; kept: the measured part of k-space, 0 to 1. */
bool kr_cg_sense_can(kr_shape mask, unsigned axes);
double kr_cg_sense_bytes(kr_shape coils, kr_shape mask, double kept);
/* Seconds on this machine, from a trial of a few milliseconds; -1: no memory. */
double kr_cg_sense_seconds(kr_shape coils, kr_shape mask, int iterations);
/* The largest sum over coils of |S|^2 of any voxel and map set: a bound of A^H A for one set. -1: no memory. */
float kr_sense_unit(const kr_array *coils);

/* Coil maps and image at once: y_j = P F sum over s of x_s c_sj, with maps c_sj that are smooth, by Newton steps in each of which
 * conjugate gradients solve for the step, the regularisation being start * fall^k |z - z0|^2 with c = 0 and x = image at z0. All
 * in a unit in which |y| = 100. Conjugate gradients stop once their residual is (tolerance times its start)^2: far from the
 * solution a step or two are enough. Sets of images are kept apart by making their maps orthogonal after every step.
 * image {X,Y,Z}: the root of the sum over coils of |sum over s of x_s c_sj|^2, with the phase of its combination by the first set's
 * maps. maps {X,Y,Z,COIL,MAP}, or NULL: c_sj / the root of sum over coils of |c_sj|^2. y {X,Y,Z,COIL}, C32, any steps, 0 where not measured; mask
 * {X,Y,Z} R32, contiguous, without axes along which it does not vary; axes: those of y in k-space, among them all that the mask has.
 * settle > 0: fewer than `steps`, once |y - G(z)| has begun to fall (by a fifth in a step) and is then left above `settle` of what it was by a step
 * of 4 inner iterations or more: what is fitted from there on is noise. *taken, unless NULL: the steps that it took; *misfit: the last |y - G(z)| over |y| that was computed. Refuses data that are all zero or not finite. Sources: Uecker et al., Magn Reson Med 60:674 (2008); several sets: Holme et al.,
 * Sci Rep 9:3034 (2019). */
typedef struct kr_joint_opts { long sets; int steps, iterations; double tolerance, start, fall, image, settle; int *taken; double *misfit; } kr_joint_opts;
int kr_joint(kr_array *image, kr_array *maps, const kr_array *y, const kr_array *mask, unsigned axes, const kr_joint_opts *o,
             const kr_trace *trace) KR_MUST_USE;
/* The same from samples y {SAMPLE,VIEW,COIL} along traj R32 {SAMPLE,VIEW,CHAN} in cycles per field of view, with weights R32 {SAMPLE,VIEW} >= 0 (densities):
 * |y|^2 is the sum of weights |y|^2, and `image` says the matrix. All contiguous. */
int kr_joint_along(kr_array *image, kr_array *maps, const kr_array *y, const kr_array *traj, const kr_array *weights, const kr_joint_opts *o,
                   const kr_trace *trace) KR_MUST_USE;
double kr_joint_bytes(kr_shape y, long sets);    /* that it takes, about */

/* ---- Whether an image has come to rest ----
 * Checkpoints lie apart by a quarter of the iterations done (at least 4), so that a distance to the limit that falls as any power of
 * the iterations makes moves from checkpoint to checkpoint of a constant ratio q < 1, as one that falls by a constant factor does from there on: what is
 * left then is at most move q / (1 - q). q is the larger of the last ratio and the mean of the last two, the move not less than half of the one
 * before. */
typedef struct kr_rest { kr_array *was; int next, checks; double moved[2], end, part; } kr_rest;
int kr_rest_open(kr_rest *r, const kr_array *x) KR_MUST_USE;
/* x after k iterations: true once what is left is at most `tolerance` of |x|; never with tolerance 0. */
bool kr_rest_at(kr_rest *r, const kr_array *x, int k, double tolerance);
/* How much is done after k iterations of `most`, as far as the moves tell when they will end: 0 to less than 1, and never less than before. */
double kr_rest_part(kr_rest *r, int k, int most);
void kr_rest_close(kr_rest *r);

/* ---- x = argmin 1/2 |A x - y|^2 + sum of g_i(K_i x), from the x given ---- */
typedef struct kr_term { kr_prox *g; const kr_linop *K; } kr_term;           /* K NULL: identity                          */
enum { KR_TERMS = 8 };
/* One term without corners, for solvers that follow its gradient. */
typedef struct kr_smooth {
    void (*add)(void *self, kr_array *g, const kr_array *x, double by);      /* g += by times its gradient at x            */
    double (*value)(void *self, const kr_array *x);
    double bound;                    /* Lipschitz constant of the gradient                                                 */
    void *self;
} kr_smooth;
typedef struct kr_problem {
    const kr_linop *N;               /* A^H A as an operator of its own: its forward is used                               */
    const kr_array *b;               /* A^H y; NULL: A and y tell, for solvers that go by them                             */
    double yy;                       /* |y|^2                                                                              */
    double bound;                    /* at least the largest eigenvalue of N: the Lipschitz constant; 0: power iteration   */
    const kr_term *term; int terms;
    double start;                    /* g_i count this many times at first, then 2 % less from iteration to iteration, down to once;
                                        at most 1: at once. Continuation, for data that leave much open (one coil): Hale et al., SIAM J Optim 19:1107 (2008).
                                        admm: not needed, ignored. */
    /* What N and b are made of, for solvers that work on samples, where A is real and has no weight below 0 (rays); NULL: not told. */
    const kr_linop *A; const kr_array *y;
    bool positive;                   /* of real x: no value below 0                                                        */
    const kr_smooth *smooth;         /* is added; NULL: none                                                               */
    double unit;                     /* y counts this many times, as if each number had been multiplied; 0: once           */
} kr_problem;
/* How many times the g_i count in iteration k. */
double kr_ease(const kr_problem *p, int k);
/* Momentum of iteration k of accelerated proximal gradients: (t - 1) / t', and t becomes t' = (1 + sqrt(1 + 4 t^2)) / 2; but at most 0.9 until 1 - 10 / k
 * is more, since x otherwise swings about its end long after it is near. Sources: Beck and Teboulle, SIAM J Imaging Sci 2:183 (2009); 1 - a / k with
 * a > 3: Chambolle and Dossal, J Optim Theory Appl 166:968 (2015). */
double kr_momentum(double *t, int k);
typedef struct kr_solution {
    char solver[16];                 /* its name                                                                          */
    int iterations;
    bool converged;                  /* before the iterations ran out                                                      */
    double objective, misfit;        /* the sum above, and its first part, 1/2 |A x - y|^2, at the x returned              */
} kr_solution;
/* 1/2 |A x - y|^2 + sum of g_i(K_i x); misfit: the first part alone (may be NULL). NAN: no memory. */
double kr_objective(const kr_problem *p, const kr_array *x, double *misfit);

/* All stop once x has come to rest (lbfgs: by the length of its steps; others: kr_rest_at), what is left being at most `tolerance` of |x|.
 *   lbfgs: a smooth term alone; 6 pairs of steps and changes of the gradient; iterations count gradients. Source: Liu and Nocedal, Math Program 45:503 (1989).
 *   fista: takes a smooth term beside others; restarts where the step turns against the momentum. Sources: Beck and Teboulle, SIAM J Imaging Sci 2:183 (2009);
 *          O'Donoghue and Candes, Found Comput Math 15:715 (2015).
 *   admm:  Boyd et al., Found Trends Mach Learn 3:1 (2011); its penalty is balanced as in 3.4.1; the inner systems are solved by conjugate
 *          gradients from the last x. Iterations count products with N.
 *   pdhg:  Condat, J Optim Theory Appl 158:460 (2013); Vu, Adv Comput Math 38:667 (2013). Where N is its bound times a projector (one coil
 *          whose map is 1 everywhere) the data term enters by its proximal map, with larger steps and over-relaxation, and without
 *          `start`: Chambolle and Pock, J Math Imaging Vis 40:120 (2011). */
/*   diagonal: with A: primal-dual steps, one for each sample and voxel. Source: Pock and Chambolle, ICCV 2011:1762. */
typedef struct kr_solver {
    const char *name, *cite;
    bool (*can)(const kr_problem *p);
    int (*run)(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *s, const kr_trace *trace);
    bool samples;                    /* goes by the problem's A and samples where there are any, not by N and b */
    bool proximal;                   /* takes the proximal map of a term itself, K the identity: inner steps pay */
} kr_solver;
extern const kr_solver *const kr_solvers[];      /* NULL-terminated, in the order in which they are tried */
const kr_solver *kr_solver_named(const char *name);      /* NULL: there is none */
/* By the solver of that name, or (NULL) the first that can. Returns 0 or a refusal: numbers that are not finite, stopped on
 * request, a solver that does not exist or cannot. s NULL: the objective, which takes a product with N, is not computed. */
int kr_solve(const kr_problem *p, const char *solver, kr_array *x, kr_stop stop, kr_solution *s, const kr_trace *trace) KR_MUST_USE;

/* ---- Samples in subsets, of real operators without weights below 0 (rays) ----
 * A and y {..} of a subset of the samples; each in turn changes x. */
typedef struct kr_subset { kr_linop *A; kr_array *y; } kr_subset;
/* x = x + relax C A^T R (y - A x), R and C: 1 over the sums of weights of samples and voxels: one subset: SIRT; more: OS-SART; a view each: SART. With more than 32 subsets
 * C is that of all samples, times their number. positive: nothing below 0. relax: above 0, below 2. Refuse images that no ray meets, numbers that are not finite,
 * stopped on request. Sources: Gilbert, J Theor Biol 36:105 (1972); Andersen and Kak, Ultrason Imaging 6:81 (1984). */
int kr_sirt(const kr_subset *s, int subsets, kr_array *x, int iterations, double relax, bool positive, const kr_trace *trace) KR_MUST_USE;
/* The subset whose turn it is in a pass, each far from those before; -1: none is left. */
int kr_subset_turn(int turn, int subsets);
/* The same pass by pass, in an order in which neighbours are far from each other. s must outlive it. kr_sweep_misfit: |A x - y| of all. */
typedef struct kr_sweep kr_sweep;
kr_sweep *kr_sweep_new(const kr_subset *s, int subsets) KR_MUST_USE;
void kr_sweep_unref(kr_sweep **w);
int kr_sweep_correct(kr_sweep *w, kr_array *x, double relax, bool positive, const kr_trace *trace) KR_MUST_USE;
double kr_sweep_misfit(kr_sweep *w, const kr_array *x);
/* Little total variation of x {X,Y,Z} among what explains the data: such passes, each followed by 20 steps down the total variation that move x less than the pass
 * did, for as long as |A x - y| is above `misfit` |y|. Returns the passes done. Source: Sidky and Pan, Phys Med Biol 53:4777 (2008). */
int kr_asd_pocs(const kr_subset *s, int subsets, kr_array *x, int iterations, double misfit, bool positive, const kr_trace *trace) KR_MUST_USE;
/* x {X,Y,Z} = argmin 1/2 (A x - y)^T W (A x - y) + beta d sum of psi(x_i - x_j) over neighbours along the axes, in ordered subsets; W: weight of each sample (as y), d the mean of
 * A^T W A 1, psi(t) = edge^2 (|t| / edge - log(1 + |t| / edge)): differences well above `edge` pay little more for being larger. Sources: Erdogan and Fessler,
 * Phys Med Biol 44:2835 (1999); Kim et al., IEEE Trans Med Imaging 34:167 (2015). */
int kr_pwls(const kr_subset *s, int subsets, kr_array *const *weight, kr_array *x, int iterations, double beta, double edge, bool positive, const kr_trace *trace) KR_MUST_USE;
/* x = x C A^T (y / A x), from an x above 0; samples of 0 or below count as 0. Sources: Shepp and Vardi, IEEE Trans Med Imaging 1:113 (1982); in subsets:
 * Hudson and Larkin, IEEE Trans Med Imaging 13:601 (1994). */
int kr_mlem(const kr_subset *s, int subsets, kr_array *x, int iterations, const kr_trace *trace) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
