/* prox.h: what a regulariser g is to a solver: its value, and its proximal map, argmin over u of g(u) + |u - v|^2 / (2 t). */
#ifndef KRAY_PROX_H
#define KRAY_PROX_H
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_prox kr_prox;
typedef struct kr_prox_ops {
    const char *name;
    void (*apply)(void *self, float t, kr_array *z, const kr_array *v);   /* z = prox of t g at v; z is not v      */
    double (*value)(void *self, const kr_array *u);                       /* g(u)                                  */
    bool (*next)(void *self, long k);                                     /* place k of a grid; does anything move? NULL: no */
    void (*destroy)(void *self);
    void (*mean)(void *self, long places, float t, kr_array *z, const kr_array *v);   /* of that map over the first places; NULL: by apply */
    void (*dual)(void *self, kr_array *p);                                /* p = prox of t g* at p, in place, where that is the same for all t; may be NULL */
} kr_prox_ops;
/* Takes self (destroyed on refusal too). Arrays given to it are of its type, contiguous, of its shape. One thread at a time. */
kr_prox *kr_prox_new(const kr_prox_ops *ops, enum kr_type type, kr_shape shape, void *self) KR_MUST_USE;
void kr_prox_unref(kr_prox **g);
enum kr_type kr_prox_type(const kr_prox *g);
kr_shape kr_prox_shape(const kr_prox *g);
const char *kr_prox_name(const kr_prox *g);
void kr_prox_apply(kr_prox *g, float t, kr_array *z, const kr_array *v);
double kr_prox_value(kr_prox *g, const kr_array *u);
/* The proximal map of t g*, the conjugate of g, in place, of a g that is a norm: the nearest point of a set, for all t. Refused by a false kr_prox_has_dual. */
bool kr_prox_has_dual(const kr_prox *g);
void kr_prox_dual(kr_prox *g, kr_array *p);
/* Moves a grid that can move to its place k; those of a power of two in a row are spread evenly. False: nothing moves. */
bool kr_prox_next(kr_prox *g, long k);

/* ---- Regularisers. All refuse lambda < 0 or not finite, and shapes that do not fit.
 * Of real arrays the map is that of the complex ones without imaginary part. Low rank and sparse spectra of real arrays pass
 * through complex ones; all others work on half the numbers. ---- */
/* lambda/2 |u|^2 */
kr_prox *kr_prox_l2(enum kr_type type, kr_shape shape, double lambda) KR_MUST_USE;
/* lambda sum of |u|, the moduli of complex numbers; those that differ along CHAN only are one vector with one norm. */
kr_prox *kr_prox_l1(enum kr_type type, kr_shape shape, double lambda) KR_MUST_USE;
/* lambda |W u|_1, W of wavelet.h along those of X, Y, Z that are in `axes`. shifts: every iteration moves the grid of the wavelets
 * (cycle spinning), otherwise it stays. Source: Coifman and Donoho 1995; Lustig et al., Magn Reson Med 58:1182 (2007). */
kr_prox *kr_prox_wavelet(enum kr_type type, kr_shape shape, unsigned axes, int order, int levels, double lambda, bool shifts) KR_MUST_USE;
/* lambda sum of |D u|, D of kr_op_diff along at most four `axes` (space, or KR_TIME): isotropic total variation. Its map is that of
 * `steps` accelerated projected gradient steps on the dual, which go on from where the last call ended.
 * Source: Beck and Teboulle, IEEE Trans Image Process 18:2419 (2009). */
kr_prox *kr_prox_tv(enum kr_type type, kr_shape shape, unsigned axes, double lambda, int steps) KR_MUST_USE;
/* lambda sum over blocks of the nuclear norm of the matrix {points of a block} x {all axes beyond Z}. Blocks of `block` points
 * along X, Y, Z (as far as these are longer than 1) tile the volume cyclically; shifts as above. Refuses more than 128 columns.
 * Source: Trzasko and Manduca, Proc ISMRM 2011:4371; Zhang et al., Magn Reson Med 73:655 (2015). */
kr_prox *kr_prox_llr(enum kr_type type, kr_shape shape, long block, double lambda, bool shifts) KR_MUST_USE;
/* lambda times the nuclear norm of {X,Y,Z} x {all further axes}. */
kr_prox *kr_prox_lowrank(enum kr_type type, kr_shape shape, double lambda) KR_MUST_USE;
/* lambda |F u|_1, F the unitary Fourier transform along `axis`: x-f sparsity. Source: Lustig et al., ISMRM 2006:2420 (k-t SPARSE). */
kr_prox *kr_prox_spectrum(enum kr_type type, kr_shape shape, int axis, double lambda) KR_MUST_USE;
/* lambda/2 sum of |F u|^2 / power, F as above: power, R32 of the same shape, is what |F u|^2 is expected to be; below 1e-6 of its largest it
 * counts as that much. Of complex arrays alone. Refuses power that is 0 everywhere, negative or not finite. Source: Tsao et al., Magn Reson Med 50:1031 (2003). */
kr_prox *kr_prox_power(kr_shape shape, int axis, const kr_array *power, double lambda) KR_MUST_USE;
/* The mean of g over its first `places` places (1 to KR_PLACES): value, and the mean of the maps, which is the map of a convex function near that mean
 * (the proximal average: above their mean nowhere, below by at most t/2 times the square of the largest subgradient). g itself where nothing of it
 * moves. Takes g. Source: Bauschke et al., SIAM J Optim 19:766 (2008); Yu, NIPS 2013. */
enum { KR_PLACES = 64 };
kr_prox *kr_prox_mean(kr_prox *g, long places) KR_MUST_USE;
/* g_0(u_0) + g_1(u_1) + ... of the parts u_i along CHAN, one index each. Takes the g_i; a NULL among them frees the others. */
kr_prox *kr_prox_parts(kr_prox *const *g, int count) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
