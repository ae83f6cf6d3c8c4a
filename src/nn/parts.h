/* parts.h: what networks share. Private to src/nn. */
#ifndef KRAY_PARTS_H
#define KRAY_PARTS_H
#include "kray/net.h"
#include "lay.h"

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
/* Tensors of a part that is there and is not run (steps beyond those asked for) count as read. */
void net_left_out(const kr_weights *w, const char *prefix);
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

/* ---- MRI ---- */
kr_node net_forward(kr_graph *g, kr_node x, kr_node sens);                                   /* F S x             */
kr_node net_adjoint(kr_graph *g, kr_node k, kr_node sens);                                   /* sum conj(S) F^-1 k */
kr_node net_gradient(kr_graph *g, kr_node x, kr_node y, kr_node mask, kr_node sens);         /* S^H F^-1 M (F S x - y) */
/* The model of the measurement that the network is built for: MRI, or (meta "hyper.operator" = "rays") an operator given with the data. */
typedef struct net_model { kr_node y, mask, sens, rays; } net_model;                         /* rays: where it is one */
net_model net_model_of(kr_graph *g, const kr_weights *all);                                  /* its inputs        */
kr_node model_forward(kr_graph *g, const net_model *m, kr_node x);                           /* A x: of what was measured alone */
kr_node model_adjoint(kr_graph *g, const net_model *m, kr_node y);                           /* A^H y             */
/* The coil maps that the network is given, as DIRECT's engine refines them: by its model "sensitivity_model" if there is one. */
kr_node net_refined(kr_graph *g, const kr_weights *all, kr_node sens);

/* ---- DIRECT's convolutional GRU and initialiser ---- */
enum { GRU_LAYERS = 8 };
typedef struct gru { int layers, dense; long hidden; bool normalised, norm; char prefix[200]; } gru;   /* dense: how many earlier layers each convolution also reads */
bool gru_of(gru *r, const kr_weights *w, const char *prefix, long in);       /* in: channels that it reads */
bool gru_alike(const gru *a, const gru *b);                                  /* may one take the other's states? */
/* The image that it makes of images; h: one state per layer, which become the new ones. word and step: for names. */
kr_node gru_step(kr_graph *g, const gru *r, const kr_weights *w, const kr_node *images, int count, kr_node *h, const char *word, long step);
/* The states that an initialiser under `prefix` makes of an image, or zeros where there is none. */
void gru_states(kr_graph *g, const gru *r, const kr_weights *w, const char *prefix, kr_node image, kr_node *h);
/* A convolution inside a Sequential: index 1 behind a padding or norm module, else 0. */
const kr_tensor *gru_tensor(const kr_weights *w, const char *prefix, const char *part, int i, const char *what);

/* ---- ATOMMIC's block of two convolutions with cells, and a last convolution ---- */
enum { BLOCK_DEPTH = 2 };
/* One time step: h become the new states; last: its activation. */
kr_node block_step(kr_graph *g, const kr_weights *w, const char *prefix, const char *cell, const kr_node *images, kr_node *h, enum kr_act last);
long block_features(const kr_weights *w, const char *prefix);      /* 0: a refusal */

/* ---- U-Net ---- */
kr_node unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, bool named);    /* "" or "unet." ...; as many channels out as in */
kr_node unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs, bool named);      /* of so many channels */
kr_node unet_image(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x);          /* of a complex image                             */
kr_node norm_unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x);           /* of a standardised one, padded to multiples of 16 */
/* Of features: their two halves standardised, padded as above. */
kr_node norm_unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs);
/* Each coil's map through a U-Net, standardised or not; fewer coils than `least` have nothing to learn from. */
kr_node unet_maps(kr_graph *g, const kr_weights *w, const char *prefix, kr_node maps, bool norm, long least);
#endif
