/* noref.h: what an image is worth where there is nothing to compare it with: the SSIM that it would have against itself without motion, as a trained network guesses it. */
#ifndef KRAY_NOREF_H
#define KRAY_NOREF_H
#include "kray/net.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* The unit of a magnitude image for the network: the value that 99.5 in 100 of its pixels above 0 do not pass. 0: it is 0 everywhere, or (with an error on record) there is no memory. */
double kr_noref_unit(const float *image, long n) KR_MUST_USE;
/* What an image looks like, by numbers that the brightness of all of it does not change: the parts of them that lie between those of the training tell whether it is like the
 * training. air: part of the pixels below 6 % of the unit; brightness: mean of the others, in units; contrast: their deviation; detail: root mean square of the second differences
 * x[i] - 2 x[i+1] + x[i+2] along both axes, in units. */
enum { KR_NOREF_LOOKS = 4 };
extern const char *const kr_noref_look[KR_NOREF_LOOKS];      /* their names, in words of a sentence */
int kr_noref_looks(double v[KR_NOREF_LOOKS], const float *image, long nx, long ny) KR_MUST_USE;

typedef struct kr_noref kr_noref;
/* Reads weights of the network `ssim`; NULL: those that come with Kray. Refuses where there are none, and others. Owner: the caller. */
kr_noref *kr_noref_open(const char *weights) KR_MUST_USE;
void kr_noref_close(kr_noref **j);
/* *ssim: the guess for a magnitude image {ny,nx}, the mean of the map over the interior, as kr_ssim has it; NAN: it is 0 everywhere. *unlike: bits of kr_noref_look in which the image is unlike
 * all that the network was trained on. Refuses images smaller than 32 x 32, and numbers that are not finite.
 * Source: Sciarra, Chatterjee et al., arXiv:2206.06725 (there by a residual network that gives one number). */
int kr_noref_run(double *ssim, unsigned *unlike, const kr_noref *j, const float *image, long nx, long ny) KR_MUST_USE;
#endif
#ifdef __cplusplus
}
#endif
#endif
