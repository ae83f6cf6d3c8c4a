/* street.h: a scan made ready, to an image, with coil maps that may be kept. Private to this folder. */
#ifndef KRAY_STREET_H
#define KRAY_STREET_H
#include "kray/recon.h"

/* What one run leaves for those that follow: mixtures of compressed coils; coil maps, NULL: not made yet; prior: they are weighted (kr_coils_opts.prior); follow: frames that follow each other; and what the method `by` left. */
typedef struct kept { kr_mixtures *mixtures; kr_array *maps; bool prior, follow; const kr_recon *by; void *left; } kept;
void kept_drop(kept *k);
/* Coils alone unfold no more lines than there are coils: methods without a further prior make noise of the rest, which is warned of. */
int warn_of_factor(const kr_scan *s, const kr_trace *trace) KR_MUST_USE;
/* kr_reconstruct of a prepared scan, with what is kept; NULL: nothing. */
int reconstruct_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_array *coils, const kr_coils_opts *coil_opts,
                     kept *keep, const kr_trace *trace) KR_MUST_USE;
/* Brings a scan along a trajectory to cycles per field of view and gives it a density. *outside: the part of its energy that comes from outside of the image (-1: not told); *wide: so
 * much that a plane WIDER times as wide is solved for, of which the image is the middle. */
int street_widens(bool *wide, double *outside, kr_scan *scan, const kr_recon *method, const kr_array *coils, const kept *keep, const kr_trace *trace) KR_MUST_USE;
#define WIDER 1.5
/* kr_reconstruct_partial, likewise. */
int partial_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const char *how, const kr_array *coils,
                 const kr_coils_opts *coil_opts, kept *keep, const kr_trace *trace) KR_MUST_USE;
#endif
