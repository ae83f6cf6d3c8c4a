/* parts.h: what networks share. Private to src/nn. */
#ifndef KRAY_PARTS_H
#define KRAY_PARTS_H
#include "kray/net.h"
#include "lay.h"

/* ---- Keys ---- */
/* The weights under the prefix before `key` ("", "model.", "state_dict.", ...); a refusal if no key ends so. */
kr_weights *net_weights(const kr_weights *w, const char *key);
bool net_has(const kr_weights *w, const char *key_end);           /* some key ends so                        */
bool net_sens_net(const kr_weights *w);                           /* the network for coil maps of fastMRI's VarNet is there */
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
bool net_real(double *to, const kr_weights *w, const char *name, double otherwise);     /* "hyper.NAME"; a word: a refusal */
bool net_turned(const kr_weights *w);                             /* the images have their axes exchanged, and so have the kernels */
/* What was made by net_fresh answers to edges alone: for networks that begin with a good image. */
int net_fresh_edges(kr_weights *w, const char *fmt, ...) KR_PRINTF(2, 3);
/* Does the network begin with the image of another method? Its last layer then begins at 0, so that nothing learned gives that image back. */
bool net_first(const kr_weights *w);
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
/* Of those with a multi-level wavelet network, a chain of convolutions or a DIDN under `at`. */
#define FACTS_MWCNN(word, at) \
    { word "_mwcnn_num_scales", at "down.%ld.convblock%ld.net.0.weight", KR_FACT_COUNT, NULL, NULL }, { word "_mwcnn_bias", at "down.0.convblock0.net.0.bias", KR_FACT_THERE, NULL, at "down.0.convblock0.net.0.weight" }, \
    { .key = word "_mwcnn_batchnorm", .words = "false|0" }
#define FACTS_CHAINS(word, at) \
    { word "_conv_batchnorm", at "conv.1.running_mean", KR_FACT_THERE, NULL, at "conv.0.weight" }, { word "_conv_n_convs", at "conv.%ld.weight", KR_FACT_CONVS, NULL, NULL }, \
    { word "_didn_num_convs_recon", at "recon_block.convs.%ld.", KR_FACT_CONVS, NULL, NULL }
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
int net_refined_fresh(kr_weights *w, uint64_t seed);             /* that model, where "hyper.sensitivity_model.num_filters" asks for it */

/* ---- DIRECT's convolutional GRU and initialiser ---- */
enum { GRU_LAYERS = 8 };
typedef struct gru { int layers, dense; long hidden; bool normalised, norm; char prefix[200]; } gru;   /* dense: how many earlier layers each convolution also reads */
bool gru_of(gru *r, const kr_weights *w, const char *prefix, long in);       /* in: channels that it reads */
bool gru_alike(const gru *a, const gru *b);                                  /* may one take the other's states? */
/* The image that it makes of images; h: one state per layer, which become the new ones. word and step: for names. */
kr_node gru_step(kr_graph *g, const gru *r, const kr_weights *w, const kr_node *images, int count, kr_node *h, const char *word, long step);
/* The states that an initialiser under `prefix` makes of an image, or zeros where there is none. */
void gru_states(kr_graph *g, const gru *r, const kr_weights *w, const char *prefix, kr_node image, kr_node *h);
/* k' = k - rate M (k - y) + F S GRU(S^H F^-1 k): blocks "block_list.N.", one for all steps or one for each. */
enum { DESCENT_STEPS = 64 };
typedef struct descent { long blocks; gru r[DESCENT_STEPS]; } descent;
bool descent_of(descent *d, const kr_weights *w);
kr_node descent_run(kr_graph *g, const descent *d, const kr_weights *w, long steps, kr_node y, kr_node mask, kr_node sens, kr_node first);     /* first: what the initialiser reads */
int descent_fresh(kr_weights *w, uint64_t seed, long multiple);  /* its blocks, as many as a multiple of that which holds "hyper.num_steps" */
int gru_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long hidden, long layers);
int gru_states_fresh(kr_weights *w, uint64_t seed, const char *prefix, long hidden, long layers);
/* A convolution inside a Sequential: index 1 behind a padding or norm module, else 0. */
const kr_tensor *gru_tensor(const kr_weights *w, const char *prefix, const char *part, int i, const char *what);

/* ---- ATOMMIC's block of two convolutions with cells, and a last convolution ---- */
enum { BLOCK_DEPTH = 2 };
/* One time step: h become the new states; last: its activation. */
kr_node block_step(kr_graph *g, const kr_weights *w, const char *prefix, const char *cell, const kr_node *images, kr_node *h, enum kr_act last);
long block_features(const kr_weights *w, const char *prefix);      /* 0: a refusal */
/* parts: how many convolutions its cells have: 3 a GRU, 2 an MGU, 1 an IndRNN. */
int block_fresh(kr_weights *w, uint64_t seed, const char *prefix, const char *cell, long parts, long features);

/* ---- ATOMMIC ---- */
/* What its networks are given: maps may be those of a network in the weights, the start what data and maps make. */
typedef struct atommic { kr_node y, mask, sens, start; bool rss; } atommic;
int atommic_of(atommic *a, kr_graph *g, const kr_weights *w);
kr_node atommic_image(kr_graph *g, const atommic *a, kr_node k);   /* of k-space, combined as the configuration says */
/* Cascade i of a list ("cascades"): k-space of the regularised image x, subtracted, with soft data consistency by "LIST.i.dc_weight"; or (no_dc) alone. */
kr_node atommic_cascade(kr_graph *g, const atommic *a, const kr_weights *w, const char *list, long i, kr_node k, kr_node x);
int atommic_fresh(kr_weights *w, uint64_t seed);                   /* the network for coil maps, where the configuration asks for it */
bool rvn_of_atommic(const kr_weights *w);         /* its RecurrentVarNet, whose tensors are called as DIRECT's: do file or configuration say so? */
/* Facts of all of its networks. */
#define FACTS_ATOMMIC \
    { .key = "dimensionality", .words = "2" }, { .key = "spatial_dims", .words = "-2 -1|none" }, { .key = "consecutive_slices", .words = "1" }, \
    { "estimate_coil_sensitivity_maps_with_nn", "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight", KR_FACT_THERE, "false", NULL }, \
    { "coil_sensitivity_maps_nn_chans", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, \
    { "coil_sensitivity_maps_nn_pools", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }, \
    { .key = "coil_sensitivity_maps_nn_mask_type", .words = "1D|2D" }, { .key = "coil_sensitivity_maps_nn_mask_center" }, \
    { .key = "coil_sensitivity_maps_nn_normalize", .words = "true|1" }, { .key = "use_sens_net", .words = "false|0|none" }, \
    { .key = "fft_normalization" }, { .key = "coil_combination_method" }, { .key = "coil_dim" }

/* ---- Primal-Dual networks ---- */
/* As many features as in[0] has, real or complex as the tensors are: by three convolutions "layers.N." in frames of these edges; by a U-Net whose up-sampled levels have them. */
enum { PRIMAL_DUAL_LEVELS = 8 };
kr_node primal_dual_three(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, enum lay_edge rows, enum lay_edge columns);
kr_node primal_dual_unet(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, enum lay_edge rows, enum lay_edge columns);

/* ---- Convolutions in a row ---- */
bool net_equal(const kr_tensor *a, const kr_tensor *b);            /* the same numbers */
kr_node batch_norm(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long by);       /* see lay_batch_norm */
/* Modules "prefix0.", "prefix1.", ...: 3 x 3 convolutions with biases, batch norms, PReLUs; to outs channels. Slopes equal to *slope (NULL: none yet) are that one parameter. */
kr_node chain(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs, const kr_tensor **slope);
int chain_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long outs, long hidden, long convs, bool batch);
/* How often a list ("image_model_list.") holds one network, whose further copies then count as read; 0: they differ, a refusal. */
long net_copies(const kr_weights *w, const char *list);
/* Iterations of a KIKI-Net, which `num_iter` says (`usual`: where it does not) and the copies of its networks of images and of k-space, if there are several. Negative: a refusal. */
long net_pairs(const kr_weights *w, long usual);
/* The last of these keys that the weights have behind the prefix; -1: none. */
int net_which(const kr_weights *w, const char *prefix, const char *const *keys, int count);
/* What training leaves once is saved again as published: `copies` networks of a list ("image_model_list."), of which only the first is there; the slope of all activations of
 * chains whose names hold `chains`; of two lists, one of them of chains or DIDNs, whose modules stand twice. */
int net_again(kr_weights *w, const char *list, long copies);
int chain_again(kr_weights *w, const char *chains);
int lists_again(kr_weights *w, const char *chains, const char *list, const char *other, long copies);

/* ---- Untrained ---- */
/* Adds {outs, ins, k, k} normal numbers of variance gain / (ins k k): 2 before a ReLU, 1 else. */
int net_fresh(kr_weights *w, uint64_t seed, double gain, long outs, long ins, long k, const char *fmt, ...) KR_PRINTF(7, 8);
int net_fresh_value(kr_weights *w, double value, long count, const char *fmt, ...) KR_PRINTF(4, 5);
int net_fresh_conv(kr_weights *w, uint64_t seed, double gain, long outs, long ins, long k, const char *prefix, ...) KR_PRINTF(7, 8);      /* "weight", and a bias of zeros */
/* Sizes of an untrained network out of its hyper-parameters; a refusal where they are outside of their limits. */
typedef struct net_size { const char *key; long otherwise, least, most; } net_size;
int net_sizes(const kr_weights *w, const net_size *s, int count, long *n);

/* ---- Multi-level wavelet network, and iterative down-up network (DIRECT) ---- */
kr_node mwcnn(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x);                        /* as many channels out as in, none below 0 */
kr_node didn(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs);
int mwcnn_fresh(kr_weights *w, uint64_t seed, const char *prefix, long channels, long hidden, long scales);
int didn_fresh(kr_weights *w, uint64_t seed, const char *prefix, long channels, long outs, long hidden, long dubs, long convs);

/* ---- Kray's own U-Net without biases and norms: an input twice as strong gives an output twice as strong ---- */
/* What is added to an image, by the tensors "cascades.N."; *memory: the features of the cascade before ({ -1 }: none), and then of this one. */
kr_node refine_correction(kr_graph *g, const kr_weights *w, long cascade, kr_node x, kr_node *memory);
int refine_fresh(kr_weights *w, uint64_t seed, long cascade, long ins);      /* of the size that "hyper.channels" and "hyper.pools" say; its last layer is 0 */

/* ---- U-Net ---- */
kr_node unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, bool named);    /* "" or "unet." ...; as many channels out as in */
kr_node unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs, bool named);      /* of so many channels */
kr_node unet_image(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x);          /* of a complex image                             */
kr_node norm_unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x);           /* of a standardised one, padded to multiples of 16 */
kr_node norm_unet_by(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long bits, bool normalise);      /* see lay_standard */
int unet_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long outs, long chans, long pools);
/* A list of cascades, each a number "LIST.i.RATE" that is 1 and a U-Net "LIST.i.UNET." on complex images; n: how many, of how many channels, pools. */
int unets_fresh(kr_weights *w, uint64_t seed, const char *list, const char *rate, const char *unet, const long n[3]);
/* Of features: their two halves standardised, padded as above. */
kr_node norm_unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs);
/* Each coil's map through a U-Net, standardised or not; fewer coils than `least` have nothing to learn from. */
kr_node unet_maps(kr_graph *g, const kr_weights *w, const char *prefix, kr_node maps, bool norm, long least);
#endif
