/* lesson.h: what a network is given of one slice, made by the code that reconstructs with it, and what its image is compared with. */
#ifndef KRAY_LESSON_H
#define KRAY_LESSON_H
#include "kray/net.h"
#include "kray/recon.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* {h,w} are the axes that the network's authors call height and width, as its weights are trained: along X and Y of the scan, but for networks that take
 * images as Kray has them (kr_net_kind.own_axes), where w is along X. All in the network's units. Owner: the caller, kr_lesson_clear. */
typedef struct kr_lesson {
    kr_net_input in;
    bool magnitude;                  /* the network gives magnitudes, or its own maps say nothing of the phase: compare magnitudes */
    kr_cfloat *first;                /* {h,w} the image without a network: its start where it has one, else the zero-filled one */
    kr_cfloat *target;               /* {h,w} sum of conj(S) x over coils / sum of |S|^2 of the reference's coil images x; a magnitude, the root of their sum of squares. NULL */
    kr_cfloat *held; float *held_at; /* {coil,h,w}, {h,w}: samples of the reference: 1 where the network is not given them, 2 in the fully sampled centre, which it is given; 0 elsewhere. NULL */
} kr_lesson;
/* given: one slice {X,Y,COIL} in k-space with its mask. reference: the same slice with more samples; measured everywhere it makes `target`, otherwise `held` (which networks of
 * magnitudes cannot be compared with: refused). maps {X,Y,COIL}. weights: of the network `kind`, what they tell of its data is read. sigma: the noise of the samples (for networks that refine).
 * first {X,Y}: the image that weights which ask for one (first_image) begin with, made before; NULL: made here.
 * Refuses what the network's pipeline refuses, configurations that crop images or normalise them by another thing than a factor. */
int kr_lesson_of(kr_lesson *l, const kr_net_kind *kind, const kr_weights *weights, const kr_scan *given, const kr_scan *reference, const kr_array *maps, double sigma, const kr_array *first, const kr_trace *trace) KR_MUST_USE;
void kr_lesson_clear(kr_lesson *l);
bool kr_lesson_begins(const kr_net_kind *kind);          /* may weights of this network ask for a first image? */
/* The loss of self-supervision of an image x {h,w}: r = F S x - y over the samples y that were held back, (|r|_2 / |y|_2 + |r|_1 / |y|_1) / 2, and the same over those of the
 * centre, without which the size of the image would be free in networks that do not put samples back: the mean of both. by * its derivative (dL/dRe + i dL/dIm) is written to dx,
 * NULL: not wanted. Source: Yaman et al., Magn Reson Med 84:3172 (2020), there without the centre. */
int kr_lesson_misfit(double *value, kr_cfloat *dx, const kr_lesson *l, const kr_cfloat *x, double by) KR_MUST_USE;
/* Of the samples of a mask {X,Y}, outside of the fully sampled centre, each goes to `held` with that chance; a function of seed, stream and mask. The rest and the centre stay in
 * `given`. Both R32 {X,Y}, owner: the caller. Refuses where nothing is outside of the centre. */
int kr_lesson_split(kr_array **given, kr_array **held, const kr_array *mask, double share, uint64_t seed, uint64_t stream) KR_MUST_USE;

#endif
#ifdef __cplusplus
}
#endif
#endif
