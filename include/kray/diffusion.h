/* diffusion.h: what decomposed diffusion sampling (DDS) is made of: the schedule of the noise, and conjugate gradients that make an image agree with data.
 * Source: Chung, Lee and Ye, ICLR 2024, arXiv:2303.05754; program: HJ-harry/DDS. */
#ifndef KRAY_DIFFUSION_H
#define KRAY_DIFFUSION_H
#include "kray/linop.h"
#ifdef __cplusplus
extern "C" {
#endif

/* alpha[t + 1] = product over s <= t of (1 - beta_s), alpha[0] = 1; beta rises evenly from 1e-4 to 0.02. An image at time t is
 * sqrt(alpha[t + 1]) x + sqrt(1 - alpha[t + 1]) times normal noise. */
enum { KR_DIFFUSION_TIMES = 1000 };
void kr_diffusion_alpha(double alpha[KR_DIFFUSION_TIMES + 1]);

/* Conjugate gradients from the x given for N x = b (gamma 0) or (I + gamma N) x = b, N = A^H A as an operator of its own, whose forward is used: `iterations` steps, fewer once the
 * residual is below `least`. as_coded: products r^T r of complex numbers without conjugation, as the published program has them (on complex images no conjugate gradients); otherwise r^H r.
 * x and b contiguous, of N's domain and type. Returns the steps taken, or a refusal. */
int kr_diffusion_cg(kr_array *x, const kr_linop *N, const kr_array *b, double gamma, int iterations, double least, bool as_coded) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
