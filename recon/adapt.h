/* adapt.h: a network's weights adapted to one scan. Private to this folder. */
#ifndef KRAY_ADAPT_H
#define KRAY_ADAPT_H
#include "kray/net.h"
#include "kray/recon.h"

/* *out: the weights after `steps` steps of Adam on the scan itself, at the best of them. The measured samples outside of the calibration area fall in three disjoint sets: those
 * that the network is given, those that the loss is of, and a fifth that tells where to stop; `told` says what it did. Steps that make the last ones worse are not taken: then the
 * weights are those that it began with. A function of its arguments alone. Owner: the caller. Refuses networks of magnitudes and scans without samples to hold back.
 * Source: Yaman et al., ICLR 2022, arXiv:2102.07737. */
int net_adapted(kr_weights **out, char told[200], const kr_net_kind *kind, const kr_weights *w, const kr_scan *scan, const kr_array *coils, long steps, const kr_trace *trace);
#endif
