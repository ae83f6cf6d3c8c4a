/* graph.h: a network as a graph of layers: what inference, training, memory and cost are all read from. */
#ifndef KRAY_GRAPH_H
#define KRAY_GRAPH_H
#include "kray/nn.h"
#ifdef __cplusplus
extern "C" {
#endif
#ifndef __cplusplus

/* A graph: nodes, parameters and packed weights. It knows no image size and no number of coils, and once it is packed nothing
 * in it changes: any number of runs, in any threads, share it. */
typedef struct kr_graph kr_graph;
/* One image size and use: the values between the layers, in one block of memory. One thread at a time. */
typedef struct kr_run kr_run;

enum kr_value_kind {
    KR_ABSENT,           /* an optional input that is not given                          */
    KR_FEATURES,         /* chan real channels, a kr_map                                 */
    KR_COILS,            /* complex {chan = coil, y, x}                                  */
    KR_IMAGE,            /* complex {y, x}                                               */
    KR_REAL,             /* real {y, x}: masks, magnitudes                               */
    KR_NUMBERS,          /* chan real numbers (double): a factor; means and deviations   */
    KR_OPERATOR          /* a kr_linop on real images {y, x}, for one thread at a time   */
};
/* z is 1: no layer works in three dimensions yet, and all refuse it. While a graph is built y and x are 0: only kind and chan
 * are known (of coils, chan is 0 too). */
typedef struct kr_extent { enum kr_value_kind kind; long chan, z, y, x; } kr_extent;
typedef struct kr_value {
    kr_extent n;
    kr_map map;          /* KR_FEATURES                                                  */
    void *data;          /* the others: kr_cfloat or float, contiguous                   */
} kr_value;

void kr_graph_unref(kr_graph **g);

/* ---- Parameters (graphs made for training keep them; others keep packed weights alone) ---- */
typedef struct kr_param {
    kr_tensor value, gradient;       /* of one shape; names as in the file of weights    */
    bool frozen;                     /* no gradient is wanted: set before a run is planned */
    double *exact, *exact_gradient;  /* the same in double (kr_graph_exact), else NULL   */
} kr_param;
kr_param *kr_graph_params(kr_graph *g, long *count);             /* in the order in which the layers name them; owned by g */
void kr_graph_zero_gradients(kr_graph *g);                       /* those in double, too */
/* From now on parameters are kept in double, too, beginning with what they are. */
int kr_graph_exact(kr_graph *g) KR_MUST_USE;
/* Packs the weights again after they were changed. No run may be under way. Refuses graphs that keep no parameters. */
int kr_graph_pack(kr_graph *g) KR_MUST_USE;

/* ---- Runs ---- */
long kr_graph_inputs(const kr_graph *g);
const char *kr_graph_input_name(const kr_graph *g, long i);
kr_extent kr_graph_input_extent(const kr_graph *g, long i);      /* kind and chan           */
bool kr_graph_input_must(const kr_graph *g, long i);             /* false: may be KR_ABSENT */
long kr_graph_outputs(const kr_graph *g);                        /* the last one is the network's image */
enum { KR_TRAIN = 1,     /* backward will follow each forward                            */
       KR_CORNER = 2,    /* Fourier transforms have their origin in the corner           */
       KR_WATCH = 4,     /* kr_run_forward will be watched: what has a name is made, even where no output needs it */
       KR_INPUTS = 16,   /* with KR_TRAIN: gradients of the inputs, too                  */
       KR_AGAIN = 8 };   /* with KR_TRAIN: only what passes from segment to segment (time steps, cascades) is kept; the rest is
                            made again in the backward pass: less memory, the same bits  */
/* inputs: the extent of each input, in order. memory (0: no limit): a training run that would take more bytes is planned
 * with KR_AGAIN, and refused if that takes more too. Refuses extents that a layer refuses, and training where a layer has no
 * backward pass. The graph must live as long. Threads are those of kr_threads() now. */
kr_run *kr_graph_plan(const kr_graph *g, const kr_extent *inputs, unsigned use, size_t memory) KR_MUST_USE;
void kr_run_unref(kr_run **r);
size_t kr_run_bytes(const kr_run *r);                            /* of its block, exactly; packed weights come on top */
size_t kr_run_overhead(const kr_run *r);                         /* of the plan itself, about                         */
size_t kr_graph_bytes(const kr_graph *g);                        /* of packed weights, parameters and gradients, those in double, too */
double kr_run_flops(const kr_run *r);                            /* of the convolutions of one forward pass           */
double kr_graph_params_count(const kr_graph *g);                 /* numbers in all parameters                         */
/* The block to work in, of kr_run_bytes, 64-byte aligned, its contents any; NULL: the run allocates its own (a refusal is
 * lack of memory). Runs may share one if only one of them is between its first input and its last output. */
int kr_run_lend(kr_run *r, void *block) KR_MUST_USE;
/* Borrowed until the next one, never written over; features, planar {c,y,x}, are copied, before each forward pass and after kr_run_lend. */
void kr_run_input(kr_run *r, long input, const void *data);
/* Called right after each value that has a name was made; soon after it is gone. layer of layers: of a stack. */
typedef void kr_run_see(void *self, const kr_value *v, const char *name, int layer, int layers);
void kr_run_forward(kr_run *r, kr_run_see *see, void *self);
/* Until the next forward or backward pass. NULL: not made; a run that is not for training makes the last output alone. */
const kr_value *kr_run_output(const kr_run *r, long i);
/* Gradients of the loss with respect to the outputs: all of each must be written between forward and backward. Complex
 * gradients are dL/dRe + i dL/dIm. kr_run_backward adds to the gradients of the parameters, in an order that no number of
 * threads changes. */
kr_value *kr_run_dy(kr_run *r, long i);
void kr_run_backward(kr_run *r);
const kr_value *kr_run_dx(const kr_run *r, long i);              /* KR_INPUTS: of the loss with respect to an input, until the next pass. NULL: none flows there */

/* ---- In double ----
 * Forward and backward by each layer's formula written plainly: slow; to tell rounding from error, in training and in tests. Features are planar
 * {c,y,x}, complex numbers two. The same bits for any number of threads. */
typedef struct kr_plain_run kr_plain_run;
/* As kr_graph_plan, with KR_TRAIN, KR_CORNER and KR_INPUTS; all values are kept. Refuses lack of memory, too. */
kr_plain_run *kr_plain_plan(const kr_graph *g, const kr_extent *inputs, unsigned use, size_t memory) KR_MUST_USE;
void kr_plain_run_unref(kr_plain_run **r);
double *kr_plain_input(kr_plain_run *r, long input);             /* to be written before each forward pass; NULL: absent */
void kr_plain_give(kr_plain_run *r, long input, const void *data);       /* the same, from what kr_run_input takes */
/* value: of each parameter; NULL: kr_param.exact. Refuses lack of memory, then or in a layer. */
int kr_plain_forward(kr_plain_run *r, double *const *value) KR_MUST_USE;
const double *kr_plain_output(const kr_plain_run *r, long i);
kr_extent kr_plain_output_extent(const kr_plain_run *r, long i);
/* As kr_run_dy, kr_run_backward and kr_run_dx; kr_plain_backward adds to kr_param.exact_gradient. */
double *kr_plain_dy(kr_plain_run *r, long i);
int kr_plain_backward(kr_plain_run *r, double *const *value) KR_MUST_USE;
const double *kr_plain_dx(const kr_plain_run *r, long input);
/* All outputs of one forward pass. data: of each input. */
int kr_graph_plain(const kr_graph *g, const kr_extent *inputs, unsigned use, const double *const *data, double *const *value, double *const *outputs) KR_MUST_USE;
#endif
#ifdef __cplusplus
}
#endif
#endif
