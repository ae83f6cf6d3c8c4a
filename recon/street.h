/* street.h: a scan made ready, to an image, with coil maps that may be kept. Private to this folder. */
#ifndef KRAY_STREET_H
#define KRAY_STREET_H
#include "kray/recon.h"

/* Coil maps made for one run, for those that follow; NULL maps: not made yet. prior: they are weighted (kr_coils_opts.prior). */
typedef struct kept_maps { kr_array *maps; bool prior; } kept_maps;
/* kr_reconstruct of a prepared scan, with maps that are kept; NULL: none. */
int reconstruct_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const kr_array *coils, const kr_coils_opts *coil_opts,
                     kept_maps *maps, const kr_trace *trace) KR_MUST_USE;
/* kr_reconstruct_partial, likewise. */
int partial_kept(kr_image **out, kr_scan *scan, const kr_recon *method, const void *opts, const char *how, const kr_array *coils,
                 const kr_coils_opts *coil_opts, kept_maps *maps, const kr_trace *trace) KR_MUST_USE;
#endif
