/* linop.h: A : domain -> codomain, with its adjoint. An operator owns its scratch: one thread at a time. */
#ifndef KRAY_LINOP_H
#define KRAY_LINOP_H
#include "kray/rays.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct kr_linop kr_linop;
/* What is done, in place, to `count` of the views of a codomain {U,V,VIEW}: numbers first, first + step, ... */
typedef void kr_between(void *with, float *y, long first, long step, long count);
typedef struct kr_linop_ops {
    const char *name;
    void (*forward)(void *self, kr_array *y, const kr_array *x);      /* y = A x                     */
    void (*adjoint)(void *self, kr_array *x, const kr_array *y);      /* x = A^H y                   */
    void (*normal) (void *self, kr_array *z, const kr_array *x);      /* z = A^H A x; NULL: derived  */
    void (*destroy)(void *self);
    size_t (*bytes)(const void *self);                                /* scratch and tables; may be NULL */
    void (*through)(void *self, kr_array *z, const kr_array *x, kr_between *f, void *with);      /* z = A^H f(A x), f NULL: A^H A x, some samples at a time, z NULL: f alone; may be NULL */
    void (*add)(void *self, bool turned, kr_array *y, float a, const kr_array *x);      /* y += a A x, turned: x and y change places and A^H; may be NULL */
} kr_linop_ops;
/* Takes self (destroyed on refusal too). Arrays given to an operator, on both sides, are of its type, contiguous, of its shapes. On real ones A^H is
 * the transpose. */
kr_linop *kr_linop_new(const kr_linop_ops *ops, enum kr_type type, kr_shape domain, kr_shape codomain, void *self) KR_MUST_USE;
kr_linop *kr_linop_ref(kr_linop *A);
void kr_linop_unref(kr_linop **A);
enum kr_type kr_linop_type(const kr_linop *A);
kr_shape kr_linop_domain(const kr_linop *A);
kr_shape kr_linop_codomain(const kr_linop *A);
size_t kr_linop_bytes(const kr_linop *A);

void kr_apply(const kr_linop *A, kr_array *y, const kr_array *x);         /* y = A x; y and x do not overlap */
void kr_apply_adj(const kr_linop *A, kr_array *x, const kr_array *y);     /* x = A^H y   */
void kr_apply_normal(const kr_linop *A, kr_array *z, const kr_array *x);  /* z = A^H A x */
/* y = y + a A x, y = y + a A^H x without room for the product; refused by a false kr_linop_adds. */
bool kr_linop_adds(const kr_linop *A);
void kr_apply_add(const kr_linop *A, kr_array *y, float a, const kr_array *x);
void kr_apply_adj_add(const kr_linop *A, kr_array *y, float a, const kr_array *x);
/* z = A^H f(A x) of real numbers without room for all of A x, z NULL: f alone; refused by a false kr_linop_in_parts. */
bool kr_linop_in_parts(const kr_linop *A);
void kr_apply_through(const kr_linop *A, kr_array *z, const kr_array *x, kr_between *f, void *with);
/* Largest eigenvalue of A^H A by power iteration from a fixed random start. -1: no memory. */
double kr_linop_norm2(const kr_linop *A, int iterations);

/* ---- Compositions take their operands; NULL operands give NULL and free the others. Refuse operands of two types. ---- */
kr_linop *kr_mul(kr_linop *A, kr_linop *B) KR_MUST_USE;                   /* A B, in the order of the page */
kr_linop *kr_adjoint(kr_linop *A) KR_MUST_USE;                            /* A^H */
kr_linop *kr_normal(kr_linop *A) KR_MUST_USE;                              /* A^H A as an operator of its own */
kr_linop *kr_stack(kr_linop *A, kr_linop *B, int axis) KR_MUST_USE;       /* [A; B] along an axis of the codomain */

/* ---- Simple operators ---- */
kr_linop *kr_op_identity(enum kr_type type, kr_shape s) KR_MUST_USE;
/* y = sum over axes that y lacks of w x (see kr_contract): coil maps, masks, weights. Borrows w (kept by reference). Refuses
 * complex w for real x. */
kr_linop *kr_op_weight(enum kr_type type, const kr_array *w, kr_shape codomain, kr_shape domain) KR_MUST_USE;
/* Centred unitary Fourier transform over the axes. */
kr_linop *kr_op_fourier(kr_shape s, unsigned axes) KR_MUST_USE;
/* A = P F S in one pass: x {X,Y,Z,MAP} -> y {X,Y,Z,COIL}; y_c = P F sum_m S_cm x_m. Borrows both (kept by reference).
 * `axes`: which of X,Y,Z are transformed. mask {any of X,Y,Z} of 0 and 1, NULL: everywhere. Its normal never leaves the
 * cache for one coil. Source: Pruessmann 2001; soft-SENSE: Uecker 2014. */
kr_linop *kr_op_sense(const kr_array *coils, const kr_array *mask, unsigned axes) KR_MUST_USE;
/* N = A^H A of kr_op_sense, as an operator of its own, for every frame of a series: z_f = S^H F^H P_f F S x_f, all from one copy of
 * the maps in blocks that stay in the cache. x, z {X,Y,Z,MAP and the axes of `frames`}; mask {any of X,Y,Z and of `frames`};
 * `frames` has axes beyond MAP only, all 1 for a single image. */
kr_linop *kr_op_sense_normal(const kr_array *coils, const kr_array *mask, unsigned axes, kr_shape frames) KR_MUST_USE;

/* A = F S along a trajectory: x {X,Y,Z,MAP and the axes of `frames`} -> y {SAMPLE,VIEW,COIL and those of `frames`}, F as in nufft.h, of that
 * tolerance. coils {X,Y,Z,COIL,MAP} (kept by reference if contiguous); traj R32 {SAMPLE,VIEW,CHAN: kx, ky and maybe kz, in cycles per
 * field of view, and those axes of `frames` along which it changes}, SAMPLE and VIEW contiguous. Refuses as kr_nufft_new does. */
kr_linop *kr_op_nufft(const kr_array *coils, const kr_array *traj, kr_shape frames, double tolerance) KR_MUST_USE;
/* N = A^H W A of it as a convolution, an operator of its own. weights R32 {SAMPLE,VIEW and axes of `frames`}, >= 0, contiguous; NULL: 1. */
kr_linop *kr_op_nufft_normal(const kr_array *coils, const kr_array *traj, const kr_array *weights, kr_shape frames, double tolerance) KR_MUST_USE;

/* Line integrals of a real image {X,Y,Z} along rays {U,V,VIEW}, and their transpose. Refuses as kr_projector_new does. */
kr_linop *kr_op_rays(const kr_rays *r, const kr_grid *g, enum kr_ray_model model) KR_MUST_USE;
/* A[i]: those of views i, i + count, ..., {U,V,VIEW} without the others. All share one projector and its scratch: one at a time may be applied. Refuses
 * more subsets than views; then no A is left. */
int kr_op_rays_split(kr_linop **A, int count, const kr_rays *r, const kr_grid *g, enum kr_ray_model model) KR_MUST_USE;
/* y = F^-1 H F x of real numbers along U with zeros beside the row, P in all; H(k) real, of frequencies 0 ... P/2, is that of -k, too, and so the operator its own transpose. With
 * kr_fbp_filter's H, A^T y times pi / (views x area of a pixel) is the filtered back-projection of views over half a turn. Copies H. Refuses an odd P, and P < 2 times the row. */
kr_linop *kr_op_filter(kr_shape data, const double *H, long P) KR_MUST_USE;

/* Finite differences along each of the axes, side by side along CHAN: y_d[i] = x[i + e_d] - x[i], 0 behind the last point. x has
 * shape s without CHAN. |D|^2 <= 4 times the number of axes. Refuses no axes, and CHAN in s. */
kr_linop *kr_op_diff(enum kr_type type, kr_shape s, unsigned axes) KR_MUST_USE;
/* The symmetric gradient of TGV, E v = (D v + (D v)^T) / 2 with backward differences: v {s, CHAN = axes}, one component an axis;
 * E v {s, CHAN = axes (axes + 1) / 2}: the diagonal, then sqrt 2 times each pair, so that the norm is the matrix's. |E|^2 <= 4 times
 * the number of axes. Source: Bredies, Kunisch and Pock, SIAM J Imaging Sci 3:492 (2010). */
kr_linop *kr_op_symdiff(enum kr_type type, kr_shape s, unsigned axes) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
