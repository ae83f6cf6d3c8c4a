/* net_method.h: unrolled networks as methods. Private to this folder. */
#ifndef KRAY_NET_METHOD_H
#define KRAY_NET_METHOD_H
#include "kray/net.h"
#include "kray/recon.h"

typedef struct net_opened net_opened;        /* weights, read and packed once */
typedef struct net_opts { const char *weights, *config, *network, *precision, *residual, *uncertainty; long steps, adapt; net_opened *opened; } net_opts;
extern const kr_opt net_table[];
/* The file of weights that came with Kray for one of these networks: in the folder KR_WEIGHTS, in share/kray/weights beside the program's or the
 * library's folder, or in the tree that it was built in. NULL: none. Owner: the caller. */
char *shipped_weights(const char *family);
/* Reads what the options name, or weights that came with Kray, into opts->opened; refuses where there are none, before any scan is read. `family`: names of networks (kr_net_kind), separated by
 * blanks, of which it must be one. */
int net_open(net_opts *o, const char *family);
void net_close(void *opts);
kr_net *net_of(const net_opts *o);                                  /* what was opened; NULL: nothing */
unsigned net_also_needs(const void *opts);                          /* soft maps, where the weights begin with the image of a method that wants them */
int net_told(kr_image *im, const net_opts *o);                      /* which network it was, in the image's meta */
/* Runs the network that the weights belong to, opened before or here. The rest of the pipeline (scaling, calibration estimate, padding, combination) is that of the code base. */
int net_run(kr_image **out, const kr_scan *scan, const kr_array *coils, const net_opts *o, const char *family, const kr_trace *trace);
/* The same of X-ray projections, by a network that is written on an operator. per99: what images of one with filtered back-projection are divided by, 0: by what they say. */
int net_rays(kr_image **out, const kr_scan *scan, kr_weights *w, const kr_net_kind *kind, double per99, const kr_trace *trace);
int net_rays_plan(kr_cost *cost, const kr_scan *scan, kr_weights *w, const kr_net_kind *kind);
int net_plan(kr_cost *cost, const kr_scan *scan, const void *opts);

/* One method: its word, summary, source and the networks it runs. */
#define NET_METHOD(word, summary, cite, needs, family)                                                                      \
static int run_##word(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *opts, const kr_trace *trace)   \
{ return net_run(out, scan, coils, opts, family, trace); }                                                                  \
static int open_##word(void *opts) { return net_open(opts, family); }                                                       \
const kr_recon kr_recon_##word = { #word, summary, cite, needs, net_table, sizeof(net_opts), run_##word, net_plan, open_##word, net_close, .also_needs = net_also_needs };
#endif
