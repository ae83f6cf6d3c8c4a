/* net.h: the table of unrolled networks, each run on one slice exactly as its published code does. */
#ifndef KRAY_NET_H
#define KRAY_NET_H
#include "kray/graph.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* One slice. h rows of w columns, w fastest; "w" is the axis that the network's authors call width (phase encoding). */
typedef struct kr_net_input {
    long coils, h, w;
    const kr_cfloat *kspace;         /* {coil,h,w}, zero where not measured, scaled as the network was trained           */
    const float *mask;               /* {h,w} 0 or 1                                                                     */
    const float *acs;                /* {h,w} 1 in the calibration area (networks that estimate maps themselves), or NULL */
    const float *padding;            /* {h,w} 1 where nothing was ever measured, only filled with zeros; NULL: nowhere   */
    const kr_cfloat *sens;           /* {coil,h,w} coil maps, or the calibration estimate that the network refines, or NULL */
    const kr_cfloat *start;          /* {h,w} image that a CIRIM begins with; NULL: its own, combined from kspace and sens */
    const float *image;              /* {h,w}: for networks of one image (U-Net)                                         */
    const kr_cfloat *adjoint;        /* {h,w} A^H y: for networks that need no k-space                                   */
    const float *noise;              /* {h,w} standard deviation of the samples' noise, in units of the image, > 0       */
    double scaling;                  /* factor that RIM's and CIRIM's log-likelihood is scaled by; 0, 1: not             */
    double squared_scale;            /* what kspace was divided by, squared: KIKI-Net may divide it by that once more; 0, 1: not */
    double kspace_unit;              /* what the trained transform's k-space is to that of a unitary one, which kspace here is of; 0: 1 */
    bool centred;                    /* Fourier transform with its origin in the middle                                  */
    /* Networks built for an operator (meta "hyper.operator" = "rays"): it, real, with images {X = w, Y = h}; kspace is then the data that it gives,
     * {views,columns}, as complex numbers. One thread at a time. */
    const struct kr_linop *rays;
    const struct kr_linop *filtered; /* of the same domain and codomain: its adjoint is the filtered back-projection of the data, for networks that say rays_alone */
    long views, columns;
} kr_net_input;
/* What happens inside, for tests: planar numbers {c,h,w} (complex: {c,h,w,2}); of a stack of `layers`, layer `layer`. */
typedef struct kr_net_watch {
    void (*see)(void *self, const char *name, const float *numbers, long count, int layer, int layers);
    void *self;
} kr_net_watch;

/* What a configuration may say, one key each; a table ends with a key of NULL. A key of the configuration that is in neither table (the
 * network's own, and that of what stands around it) is refused by name, as is a value that is not built. */
enum { KR_FACT_COUNT = -1, KR_FACT_STEPS = -2, KR_FACT_THERE = -3, KR_FACT_CONVS = -4 };
typedef struct kr_fact {
    const char *key;                 /* its name, or the end of its path; "block.*": all that stand in that block             */
    const char *tensor;              /* whose shape tells it (%ld: of a numbered one, each); NULL: no shape tells it            */
    int dim;                         /* that dimension's length; or how many there are (STEPS: or one for all steps); or THERE:
                                        "true" exactly where it is there; CONVS: how many convolutions the names hold at any number */
    const char *words;               /* values that are built, separated by '|' (without a tensor); THERE: what holds where
                                        the configuration does not say. NULL: any value, read elsewhere or without any effect    */
    const char *more;                /* another tensor whose number follows those, or a number itself; THERE: one of the part that has it, without which
                                        the key says nothing                                                                    */
} kr_fact;

typedef struct kr_net kr_net;
typedef struct kr_net_kind {
    const char *name, *summary, *cite;
    /* How surely these weights belong to this network: 0 no ... 100. */
    int (*matches)(const kr_weights *w);
    /* Describes the network as a graph (src/nn/lay.h); hyper-parameters that shapes do not tell come from the meta "hyper.NAME". */
    int (*build)(kr_graph *g, const kr_weights *w);
    bool own_maps;                   /* estimates its coil maps from in->acs */
    bool bf16;                       /* can run with meta "hyper.precision" = "bf16": the products of its gates and convolutions are of
                                        bfloat16 numbers, all sums and states float32 */
    const char *around;              /* the published program whose treatment of data it was trained with: "direct", "atommic", "fastmri" */
    bool magnitude;                  /* its image is a magnitude, whose phase means nothing                              */
    bool of_image;                   /* it takes one real image (in->image), not k-space                                 */
    bool maps_too;                   /* its weights may hold a network for coil maps: then it estimates them from in->acs where in->sens is NULL */
    bool steps;                      /* how many time steps it runs can be chosen                                        */
    const kr_fact *facts;            /* its hyper-parameters                                                              */
    bool any_operator;               /* can be built for an operator                                                     */
    bool rays_alone;                 /* can be built for X-ray projections alone, with filtered back-projection               */
    bool denoises;                   /* takes an image and gives it with less noise: no network that reconstructs by itself */
    bool refines;                    /* is given the first image, the residual in its samples and the noise (in->start, adjoint, noise), not the samples */
    bool judges;                     /* takes an image and gives a map of what it is worth: no network that reconstructs   */
    bool own_axes;                   /* was trained on images as Kray has them: never turned                              */
    const char *twin;                /* another program's network of the same tensors, which runs otherwise: the weights have to say whose they are */
    /* Adds its tensors, untrained, to w, whose meta "hyper.NAME" says how large it is. NULL: it is trained from weights alone. */
    int (*fresh)(kr_weights *w, uint64_t seed);
    /* Adds to trained parameters what the published program saves again under other names: one module in several places. NULL: nothing. */
    int (*again)(kr_weights *w);
    const char *small;               /* sizes of small ones for tests, "KEY=VALUE,KEY=VALUE;..." of hyper-parameters; NULL: nothing makes one */
} kr_net_kind;
extern const kr_net_kind *const kr_nets[];       /* NULL-terminated */
const kr_net_kind *kr_net_kind_named(const char *name);      /* NULL: there is none */

/* The two blocks of the Primal-Dual U-Net, each by itself: h' = h + w_d D(h, mean f, g) and f' = f + w_p U(f, mean b), as phernst/pd-unet has them; rows are elements of the
 * detector, columns are angles. Inputs (features) dual_h, dual_projected_f, dual_g, primal_f, primal_backprojected_h; values named dual_out, primal_out; outputs: their means over
 * channels. Not the network of the table. Owner: the caller. Refuses other weights. Source: Ernst et al., Comput Methods Programs Biomed 230:107338 (2023). */
kr_graph *kr_pdunet_blocks(const kr_weights *w) KR_MUST_USE;
/* The network these weights belong to: the one named, or (name NULL) the one whose keys fit. `turned`: the images it will see
 * have their axes exchanged (w of in is the authors' height): kernels are turned to match. Refuses missing tensors, and tensors
 * that the network does not read: they are part of another one. */
kr_net *kr_net_new(const char *name, const kr_weights *w, bool turned) KR_MUST_USE;
void kr_net_unref(kr_net **n);
/* Its graph with parameters, to train it; the inputs' names are those of kr_net_input. Owner: the caller. */
kr_graph *kr_net_graph(const char *name, const kr_weights *w) KR_MUST_USE;
const kr_net_kind *kr_net_kind_of(const kr_net *n);
/* Refuses what the configuration of these weights says and neither the network nor `data` (what stands around it) knows. */
int kr_net_known(const kr_net_kind *kind, const kr_fact *data, const kr_weights *w) KR_MUST_USE;
/* The kind alone: NULL with the refusal of kr_net_new where no network fits; missing keys are not noticed. */
const kr_net_kind *kr_net_kind_for(const char *name, const kr_weights *w);
/* Adds to trained parameters, under their names, what the published program saves beside them: copies of modules that stand in several places, and tensors of `began` that
 * are not trained. */
int kr_net_complete(kr_weights *parameters, const kr_net_kind *kind, const kr_weights *began) KR_MUST_USE;
/* What a graph of kr_net_graph is given of a slice: the extent and data of each of its inputs, in order, room for KR_NET_INPUTS; absent ones are NULL.
 * Refuses what the slice lacks. */
enum { KR_NET_INPUTS = 8 };
int kr_net_inputs(const kr_graph *g, const char *name, const kr_net_input *in, kr_extent *n, const void **data) KR_MUST_USE;
/* In the place of a network of that kind: kr_net_run calls `take` with what the network would be given, and `take` makes the image. */
typedef int kr_net_take(void *self, kr_cfloat *image, const kr_net_input *in);
kr_net *kr_net_stand_in(const kr_net_kind *kind, kr_net_take *take, void *self) KR_MUST_USE;
/* What one slice will take: bytes at the peak (weights, the slice, the run's block), and floating-point operations, those of the
 * convolutions. Of `of` only coils, h and w are read, and of weights built for an operator views and columns. Refuses what a run would refuse. */
int kr_net_cost(const kr_net_kind *kind, const kr_weights *w, const kr_net_input *of, double *bytes, double *flops) KR_MUST_USE;
/* image {h,w}, complex where the network gives a complex one (otherwise imaginary part 0). Threads may run one network at once. */
int kr_net_run(kr_net *n, kr_cfloat *image, const kr_net_input *in, const kr_net_watch *watch) KR_MUST_USE;
#endif
#ifdef __cplusplus
}
#endif
#endif
