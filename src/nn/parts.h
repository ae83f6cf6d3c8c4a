/* parts.h: what networks share. Private to src/nn. */
#ifndef KRAY_PARTS_H
#define KRAY_PARTS_H
#include "kray/fourier.h"
#include "kray/net.h"

/* ---- Keys ---- */
/* The weights under the prefix before `key` ("", "model.", "state_dict.", ...); a refusal if no key ends so. */
kr_weights *net_weights(const kr_weights *w, const char *key);
bool net_has(const kr_weights *w, const char *key_end);           /* some key ends so                        */
/* A tensor by a name in the manner of printf; a refusal if it is not there. */
const kr_tensor *net_tensor(const kr_weights *w, const char *fmt, ...) KR_PRINTF(2, 3);
const kr_tensor *net_maybe(const kr_weights *w, const char *fmt, ...) KR_PRINTF(2, 3);   /* NULL: not there   */
/* Is this a convolution of that many outputs and inputs and that kernel (0: any)? Otherwise, or without a tensor, a refusal is
 * on record. */
bool net_shape(const kr_tensor *t, long outs, long ins, long k);
bool net_scalar(const kr_tensor *t);                              /* one number? otherwise a refusal is on record */
/* A word of two that are built, in any case: false for `a` (and where nothing is said), true for b; others are refused by *good = false. */
bool net_either(const kr_weights *w, const char *name, const char *a, const char *b, bool *good);
/* Does "no_parameter_sharing", where it is said, agree with so many blocks? Otherwise a refusal is on record. */
bool net_shared(const kr_weights *w, long blocks);
long net_number(const kr_weights *w, const char *name, long otherwise);                  /* meta "hyper.NAME" */
const char *net_word(const kr_weights *w, const char *name, const char *otherwise);
/* Numbers of a list "32 32 64 64" (any separators); returns how many, at most room. */
int net_list(const kr_weights *w, const char *name, const char *otherwise, long *to, int room);
bool net_bf16(const kr_weights *w);                               /* "hyper.precision" asks for bfloat16      */
/* Refuses, key by key, hyper-parameters that do not agree with the shapes of the weights of this network. */
int net_config(const kr_weights *w, const kr_net_kind *kind);
/* Facts of all networks of DIRECT: the additional model that refines coil maps. */
#define FACTS_REFINE \
    { "sensitivity_model.model_name", "sensitivity_model.down_sample_layers.0.layers.0.weight", KR_FACT_THERE, "false", NULL }, \
    { "sensitivity_model.num_filters", "sensitivity_model.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, \
    { "sensitivity_model.num_pool_layers", "sensitivity_model.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }
/* Facts of the networks that start the states of a GRU. */
#define FACTS_START(otherwise) \
    { "learned_initializer", "initializer.conv_blocks.0.1.weight", KR_FACT_THERE, otherwise, NULL }, \
    { "initializer_channels", "initializer.conv_blocks.%ld.1.weight", 0, NULL, NULL }, \
    { .key = "initializer_dilations" }, { .key = "initializer_multiscale" }

void net_see(const kr_net_watch *watch, const void *numbers, long count, int layer, int layers, const char *fmt, ...) KR_PRINTF(6, 7);
int net_see_map(const kr_net_watch *watch, const kr_map *m, int layer, int layers, const char *fmt, ...) KR_PRINTF(5, 6);

/* ---- MRI pieces ---- */
typedef struct mri {
    const kr_net_input *in;
    long n, coils;                   /* pixels; coils                             */
    kr_fft *fft;
    kr_cfloat *sens, *coil;          /* maps {coil,h,w} (own copy, may be refined); scratch of the same size */
} mri;
int mri_new(mri *m, const kr_net_input *in);
void mri_clear(mri *m);
void mri_expand(const mri *m, kr_cfloat *y, const kr_cfloat *x);    /* y_c = S_c x            */
void mri_reduce(const mri *m, kr_cfloat *x, const kr_cfloat *y);    /* x = sum conj(S_c) y_c  */
void mri_forward(const mri *m, kr_cfloat *k, const kr_cfloat *x);   /* k = F S x              */
void mri_adjoint(const mri *m, kr_cfloat *x, const kr_cfloat *k);   /* x = sum conj(S) F^-1 k */
/* g = sum conj(S) F^-1 M (F S x - y) */
void mri_gradient(const mri *m, kr_cfloat *g, const kr_cfloat *x);
void mri_sum(const mri *m, kr_cfloat *x, const kr_cfloat *k);       /* x = sum F^-1 k, without maps */
void mri_rss(const mri *m, kr_cfloat *x, const kr_cfloat *k);       /* root of sum of squares of F^-1 k, imaginary part 0 */
void mri_normalise_maps(const mri *m);                              /* S_c /= sqrt(sum |S|^2), 0 where that is 0          */
/* Channels first..first+1 of a map from and to a complex image. */
void map_put_complex(kr_map *m, long first, const kr_cfloat *x);
void map_get_complex(const kr_map *m, long first, kr_cfloat *x);

/* ---- DIRECT's convolutional GRU (NETWORKS 1.1) and initialiser (1.2) ---- */
typedef struct convgru convgru;
convgru *convgru_new(const kr_weights *w, const char *prefix, long in);   /* in: channels that it reads         */
void convgru_unref(convgru **g);
void convgru_borrow(convgru *g, const convgru *from);                /* as unet_borrow                             */
long convgru_layers(const convgru *g);
long convgru_hidden(const convgru *g);
bool convgru_alike(const convgru *a, const convgru *b);              /* may one take the other's states and maps? */
long convgru_halo(const convgru *g);                                 /* of its input                               */
/* out (2 channels) from in; h: one map per layer, updated. The maps of scratch belong to the caller's size. */
int convgru_forward(convgru *g, kr_map *out, kr_map *in, kr_map *const *h);
typedef struct initialiser initialiser;
initialiser *initialiser_new(const kr_weights *w, const char *prefix, const convgru *g);   /* for the states of g */
void initialiser_unref(initialiser **r);
int initialiser_forward(initialiser *r, kr_map *const *h, const kr_map *in);
/* One zero map of `c` channels per layer. */
int states_new(kr_map **h, long layers, long c, long rows, long columns);
void states_clear(kr_map **h, long layers);

/* ---- U-Net (NETWORKS 6) ---- */
typedef struct unet unet;
unet *unet_new(const kr_weights *w, const char *prefix, long channels);   /* "" or "unet." ...; channels in and out  */
void unet_unref(unet **u);
/* Works in the maps of another one of the same shape from now on, which must live as long and not run at the same time. */
void unet_borrow(unet *u, const unet *from);
long unet_pools(const unet *u);
int unet_forward(unet *u, kr_map *y, kr_map *x, const kr_net_watch *watch);
/* NormUnet (NETWORKS 5.1): y = U-Net of x, standardised by channel and zero-padded to multiples of 16. y and x {h,w} complex. */
int norm_unet(unet *u, kr_cfloat *y, const kr_cfloat *x, long h, long w);
/* Each coil's map through the U-Net and normalised: S of m becomes the refined one. norm: NormUnet. */
int refine_maps(mri *m, unet *u, bool norm);
/* DIRECT's additional model "sensitivity_model"; without one *u stays NULL, and refine changes nothing. */
int refinement_of(unet **u, const kr_weights *all);
int refine(mri *m, unet *u, const kr_net_watch *watch);
#endif
