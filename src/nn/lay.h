/* lay.h: what a layer is, and the builders of those there are. Private to src/nn.
 * A new layer: one file lay_NAME.c with a kr_layer_ops and a builder, and one word in meson.build. */
#ifndef KRAY_LAY_H
#define KRAY_LAY_H
#include "kray/fourier.h"
#include "kray/graph.h"

typedef struct kr_node { int at; } kr_node;                  /* one value; at < 0: a refusal is on record */
enum { KR_INS = 6, KR_OUTS = 2, KR_KEYS = 8, KR_ARGS = 6 };
typedef struct kr_layer_ops kr_layer_ops;

/* An operation with its arguments and parameters; nodes that agree in all of them share one, and its packed weights. */
typedef struct kr_layer {
    const kr_layer_ops *op;
    long arg[KR_ARGS];
    int ins, outs, keys;
    int key[KR_KEYS];                /* parameters, -1: none in this place        */
    kr_extent x[KR_INS];             /* kinds and channels                        */
    kr_graph *inner;                 /* of lay_each                               */
    void *packed;
} kr_layer;

/* One node of one run. */
typedef struct kr_call {
    const kr_layer *l;
    void *state, *scratch;           /* scratch: for this call alone, its contents any */
    kr_value *x[KR_INS], *y[KR_OUTS];                        /* backward: only those that `keeps` named */
    kr_value *dx[KR_INS], *dy[KR_OUTS];                      /* dx: add to it; NULL: not wanted. dy: all there, may be written over */
    kr_tensor *dw[KR_KEYS];                                  /* add to it; NULL: not wanted             */
    unsigned fresh;                                          /* of a layer that `writes`: bits of the dx that hold nothing yet, to be written instead */
} kr_call;
/* The same in double: features planar {chan,y,x}, complex numbers as two. All of x and y are there in the backward pass, too. */
typedef struct kr_plain { kr_extent n; double *v; } kr_plain;
typedef struct kr_plain_call {
    const kr_layer *l;
    unsigned use;
    const kr_plain *x[KR_INS];
    kr_plain *y[KR_OUTS];            /* forward: zeros                            */
    double *dx[KR_INS];              /* backward: add to it; NULL: not wanted     */
    const double *dy[KR_OUTS];       /* backward: all there; forward: NULL        */
    const double *w[KR_KEYS];
    double *dw[KR_KEYS];             /* backward: add to it; NULL: not wanted     */
    const kr_tensor *t[KR_KEYS];     /* shapes of the parameters                  */
    double *const *value;            /* all parameters, for an inner graph; NULL: as they are kept (kr_param.exact) */
} kr_plain_call;

struct kr_layer_ops {
    const char *name;
    /* y from x; while a graph is built y and x are 0. Refuses what does not fit. */
    int (*shape)(kr_extent *y, const kr_extent *x, const kr_layer *l);
    /* Forward's weights, and where `train` backward's too; called again when numbers have changed. NULL: no weights. */
    int (*pack)(kr_layer *l, const kr_tensor *const *w, bool train);
    void (*unpack)(kr_layer *l);
    int (*repack)(kr_layer *l, const kr_tensor *const *w);   /* other numbers into what pack made; NULL: unpacked and packed */
    size_t (*bytes)(const kr_layer *l);                      /* of what pack made              */
    long (*halo)(const kr_layer *l, int input);              /* pixels wanted around x[input]; NULL: none */
    int (*passes)(const kr_layer *l, const kr_extent *x);    /* the input that y[0] is as it stands, nothing to do; -1: none. NULL: never */
    /* What backward reads if the dx of the bits `wants` are wanted (bits of x and y). */
    void (*keeps)(const kr_layer *l, unsigned wants, unsigned *x, unsigned *y);
    int (*open)(void **state, const kr_layer *l, const kr_extent *y, const kr_extent *x, unsigned use);    /* NULL: no state */
    void (*close)(void *state);
    size_t (*scratch)(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x, bool backward);   /* NULL: none */
    size_t (*besides)(const kr_extent *x);                   /* bytes that it takes outside of the block while it runs; NULL: none */
    void (*forward)(const kr_call *c);
    void (*backward)(const kr_call *c);                      /* NULL: cannot be trained through */
    /* A refusal (lack of memory) stays on record. Of a linear layer they may be one function. plain_back stands where backward does. */
    void (*plain)(const kr_plain_call *c), (*plain_back)(const kr_plain_call *c);
    double (*flops)(const kr_layer *l, const void *state, const kr_extent *y, const kr_extent *x);   /* NULL: none worth counting */
    int on;                          /* y[0] may lie on x[on] where nobody reads that later; -1: never */
    bool writes;                     /* backward minds `fresh`; others find zeros there */
    unsigned sizes;                  /* inputs of which only the extent is read        */
    unsigned fixed;                  /* inputs whose gradient it cannot give           */
};

/* ---- Building (graph.c) ---- */
enum { KR_KEEP = 1, KR_BF16 = 2 };  /* how: keep the parameters, to train; products in bfloat16 where a layer is told so */
kr_graph *kr_graph_new(unsigned how, kr_graph *outer);       /* outer: whose parameters an inner graph shares, or NULL */
bool graph_bf16(const kr_graph *g);
kr_node graph_input(kr_graph *g, const char *name, enum kr_value_kind kind, long chan, bool must);
void graph_output(kr_graph *g, kr_node n);
void graph_name(kr_graph *g, kr_node n, int layer, int layers, const char *fmt, ...) KR_PRINTF(5, 6);   /* for who watches */
void graph_segment(kr_graph *g);                             /* what follows may be made again as one */
kr_node graph_fail(kr_graph *g);                             /* a refusal is on record: the graph is refused too */
int graph_refused(const kr_graph *g);
int graph_full_names(kr_graph *g, const kr_weights *all);    /* parameters are called as in the whole file */
kr_extent graph_extent(const kr_graph *g, kr_node n);
/* A node of op: its inputs, its parameters (NULL: none in that place), its arguments. y: its outputs. The layer of `l` with
 * arg, keys and inner filled is what it becomes. */
kr_node graph_add(kr_graph *g, kr_node *second, const kr_layer_ops *op, const kr_node *x, int ins, const kr_tensor *const *w, int keys, const long *arg, int args, kr_graph *inner);
kr_param *graph_param(const kr_graph *g, int key);
void graph_freeze(kr_graph *g, const kr_tensor *t);          /* a parameter that no training changes */
bool layer_trains(const kr_graph *g, const kr_layer *l);     /* has parameters that are not frozen */

/* ---- Layers ---- */
static inline kr_extent extent_like(kr_extent n, enum kr_value_kind kind, long chan) { n.kind = kind; n.chan = chan; return n; }
static inline long extent_pixels(const kr_extent *n) { return n->y * n->x; }
int extent_is(const kr_layer *l, const kr_extent *x, enum kr_value_kind kind, long chan);     /* chan 0: any; otherwise a refusal */
int extent_flat(const kr_layer *l, const kr_extent *x, int count);                            /* z = 1, and of one size           */
/* Is this a convolution of that many inputs with an odd square kernel? Otherwise a refusal is on record. */
bool net_is_conv(const kr_tensor *t, long ins);
#define LAY_C(v) ((kr_cfloat *)(v)->data)
#define LAY_R(v) ((float *)(v)->data)
/* Pieces of scratch, one behind the other; base NULL: they are only counted. */
typedef struct lay_room { char *base; size_t used; } lay_room;
void *room_for(lay_room *r, size_t bytes);
/* pack and unpack of a layer that needs its one tensor's numbers as they are, one behind the other; unpack also of others who packed into one block. */
int lay_numbers(kr_layer *l, const kr_tensor *const *w, bool train);
void lay_unpack(kr_layer *l);
kr_map map_in(lay_room *r, long c, long h, long w, long halo);

/* ---- In double (in_double.c) ---- */
/* A part of a linear layer: y[i] += f x[k][j] or, backward, its transpose: dx[k][j] += f dy[i]. */
static inline void plain_link(const kr_plain_call *c, long i, int k, long j, double f)
{
    if (!c->dy[0])
        c->y[0]->v[i] += f * c->x[k]->v[j];
    else if (c->dx[k])
        c->dx[k][j] += f * c->dy[0][i];
}
/* The same, f being number `at` of parameter `key`. */
static inline void plain_learnt(const kr_plain_call *c, long i, int k, long j, int key, long at)
{
    plain_link(c, i, k, j, c->w[key][at]);
    if (c->dw[key])
        c->dw[key][at] += c->dy[0][i] * c->x[k]->v[j];
}
typedef struct plain_grid { long h, w, k, d; enum kr_pad pad; } plain_grid;      /* planes of h x w, kernels of k x k, d pixels between their numbers */
/* y {outs,h,w} += w * x {ins,h,w}; the kernels of an output stand `all` kernels apart. Backward, dx and dw (NULL: not wanted) are added to. */
void plain_conv(double *y, const double *x, const double *w, long outs, long ins, long all, const plain_grid *g);
void plain_conv_back(double *dx, double *dw, const double *dy, const double *x, const double *w, long outs, long ins, long all, const plain_grid *g);
double plain_norm(double *y, long n);                        /* instance norm of n numbers, biased variance + 1e-5; 1 / deviation */
/* dx of that from what it was given; numbers below 0 were then multiplied by `slope`. */
void plain_norm_back(double *dx, const double *x, const double *dy, long n, double slope);
double plain_slope(enum kr_act act);                         /* of an activation below 0 */
/* Unitary transforms of `count` complex planes, in place. Refuses lack of memory. */
int plain_fourier(double *v, long h, long w, long count, bool inverse, bool corner) KR_MUST_USE;

enum { CONV_NORM = 1, CONV_EXACT = 2, CONV_NARROW = 4 };     /* instance norm before the activation; sums in double; bfloat16 if the graph is */
/* Its inputs are their channels one behind the other. bias may be NULL; outs 0: any. */
kr_node lay_conv(kr_graph *g, const kr_node *x, int count, const kr_tensor *w, const kr_tensor *bias, int dilation, enum kr_pad pad, enum kr_act act, unsigned how);
/* h' from x and h; relu (may be NULL): max(h', 0). */
kr_node lay_cell(kr_graph *g, kr_node *relu, kr_node x, kr_node h, enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, unsigned how);
kr_node lay_pool(kr_graph *g, kr_node x);
kr_node lay_prelu(kr_graph *g, kr_node x, const kr_tensor *slope);            /* one slope, or one for each channel        */
kr_node lay_norm(kr_graph *g, kr_node x, enum kr_act act);                    /* instance norm                            */
/* Batch norm as in evaluation: w = {weight, bias, running mean, running variance}; 1/by is added to the variance. Its statistics are frozen. */
kr_node lay_batch_norm(kr_graph *g, kr_node x, const kr_tensor *const w[4], long by);
enum lay_act { LAY_RELU, LAY_SIGMOID, LAY_TANH };
kr_node lay_act(kr_graph *g, kr_node x, enum lay_act which);
kr_node lay_plus(kr_graph *g, kr_node a, kr_node b, double by);               /* a + by b; b of one channel goes to all   */
kr_node lay_concat(kr_graph *g, kr_node a, kr_node b);                        /* b's channels behind a's                  */
/* turned: the axes of the grid are exchanged against those of the weights' program. */
kr_node lay_even(kr_graph *g, kr_node x);                                     /* odd ends reflected                       */
kr_node lay_crop(kr_graph *g, kr_node x, kr_node like);                       /* its first rows and columns               */
kr_node lay_second(kr_graph *g, kr_node x);                                   /* pixels 0, 2, 4, ...                      */
kr_node lay_shuffle(kr_graph *g, kr_node x, bool turned);                     /* 4 channels as 2 x 2 pixels               */
kr_node lay_haar(kr_graph *g, kr_node x, bool turned);                        /* 2 x 2 pixels as 4 bands LL, HL, LH, HH   */
kr_node lay_unhaar(kr_graph *g, kr_node x, bool turned);
kr_node lay_double(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w, const kr_tensor *bias);     /* transposed convolution, kernel 3, to twice the size, that of `like` */
kr_node lay_up(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w);     /* transposed convolution, norm, leaky ReLU, to the size of `like` */
kr_node lay_up_linear(kr_graph *g, kr_node x, kr_node like, const kr_tensor *w);                 /* the transposed convolution alone      */
kr_node lay_features(kr_graph *g, const kr_node *x, int count);               /* images, of stacks of known length each, as two channels; real ones as one */
kr_node lay_image(kr_graph *g, kr_node x);                                    /* two channels as an image                                  */
kr_node lay_magnitude(kr_graph *g, kr_node x);                                /* one channel, or |image|                                   */
/* Real and imaginary part standardised by mean and unbiased deviation (not, where as it is), zero-padded to ((n - 1) | bits) + 1 pixels; and back. */
kr_node lay_standard(kr_graph *g, kr_node *moments, kr_node x, long bits, bool as_it_is);
kr_node lay_unstandard(kr_graph *g, kr_node x, kr_node moments, kr_node like);
/* The same, padded to multiples of `multiple`, of features, whose channels make two groups, the first half and the second. */
kr_node lay_halves(kr_graph *g, kr_node *moments, kr_node x, long multiple);
kr_node lay_unhalves(kr_graph *g, kr_node x, kr_node moments, kr_node like);
/* In a frame of another size: more by `by` pixels on each side (fewer, where below 0), or the size of `like` with x in the middle. */
enum lay_edge { LAY_ZERO, LAY_NEAREST, LAY_CIRCULAR };
kr_node lay_frame(kr_graph *g, kr_node x, long by, enum lay_edge rows, enum lay_edge columns);
kr_node lay_middle(kr_graph *g, kr_node x, kr_node like, enum lay_edge rows, enum lay_edge columns);
kr_node lay_bilinear(kr_graph *g, kr_node x);                                 /* twice the size                           */
kr_node lay_mean(kr_graph *g, kr_node x);                                     /* over channels                            */
kr_node lay_gain(kr_graph *g, kr_node a, kr_node b, const kr_tensor *w);      /* a + w b, a number for each channel       */
/* Complex features (lay_complex.c), whose tensors end with an axis of two: convolution framed by zeros, a + w b, batch norm as in evaluation by w = {weight, bias, running mean,
 * running covariance} (its statistics are frozen), and the mean of all features as one. */
kr_node lay_complex_conv(kr_graph *g, const kr_node *x, int count, const kr_tensor *w, const kr_tensor *bias);
kr_node lay_complex_gain(kr_graph *g, kr_node a, kr_node b, const kr_tensor *w);
kr_node lay_complex_norm(kr_graph *g, kr_node x, const kr_tensor *const w[4]);
kr_node lay_complex_mean(kr_graph *g, kr_node x);
kr_node lay_zeros(kr_graph *g, kr_node like, long chan);                      /* features of the size of `like` */
/* The real part of an image as one channel, and back. Of data, (re - mean) / deviation with the statistics of the data `like` and their rows as columns, and back. */
kr_node lay_real(kr_graph *g, kr_node x);
kr_node lay_real_image(kr_graph *g, kr_node x);
kr_node lay_score(kr_graph *g, kr_node x, kr_node like);
kr_node lay_unscore(kr_graph *g, kr_node x, kr_node like);
/* A x of a real operator (KR_OPERATOR), on real and imaginary part, of the extent of `like`; and A^T y. */
kr_node lay_operator(kr_graph *g, kr_node x, kr_node op, kr_node like);
kr_node lay_operator_adjoint(kr_graph *g, kr_node y, kr_node op);
kr_node lay_expand(kr_graph *g, kr_node x, kr_node sens);                     /* S_c x             */
kr_node lay_reduce(kr_graph *g, kr_node y, kr_node sens);                     /* sum conj(S_c) y_c */
kr_node lay_sum(kr_graph *g, kr_node y);                                      /* sum y_c           */
kr_node lay_rss(kr_graph *g, kr_node y);                                      /* sqrt(sum |y_c|^2) */
kr_node lay_rss_parts(kr_graph *g, kr_node y);                                /* that of real and of imaginary parts, as an image */
kr_node lay_unit_maps(kr_graph *g, kr_node sens);                             /* S_c / sqrt(sum |S|^2), 0 where that is 0 */
kr_node lay_atommic_maps(kr_graph *g, kr_node sens);                          /* S_c / sqrt(sum |S|): ATOMMIC means the above and adds magnitudes */
kr_node lay_fourier(kr_graph *g, kr_node x, bool inverse);
kr_node lay_residual(kr_graph *g, kr_node k, kr_node y, kr_node mask);        /* M (k - y)         */
kr_node lay_select(kr_graph *g, kr_node k, kr_node mask, bool outside);       /* M k, or (1 - M) k; k itself where there is no mask */
/* k - w M (k - y) + sign p */
kr_node lay_consistency(kr_graph *g, kr_node k, kr_node y, kr_node mask, kr_node p, const kr_tensor *w, int sign);
kr_node lay_add(kr_graph *g, kr_node a, kr_node b);                           /* images            */
kr_node lay_scale(kr_graph *g, kr_node a, kr_node by);                        /* a image, by one number; a itself where it is absent */
kr_node lay_unscale(kr_graph *g, kr_node a, kr_node by);                      /* a image or coils, divided by it          */
kr_node lay_solve(kr_graph *g, kr_node b, kr_node z, kr_node sens, const kr_tensor *mu, long steps);     /* (S^H S + mu) x = b + mu z, by so many steps from 0 */
kr_node lay_either(kr_graph *g, kr_node a, kr_node b);                        /* a where it is given, else b */
/* x of (A^H A + w) x = b + w z, A = mask F sens, b = A^H y: `noise` NULL: w is the one number of `w`; else w = exp(w[0]) noise^w[1], pixel by
 * pixel, noise > 0. Until the residual is 10^-digits of the right side. */
kr_node lay_cg(kr_graph *g, kr_node b, kr_node z, kr_node sens, kr_node mask, const kr_node *noise, const kr_tensor *w, long digits);
kr_node lay_misfit(kr_graph *g, kr_node b, kr_node x, kr_node sens, kr_node mask);               /* A^H A x - b       */
/* inner, from image to image, coil by coil where there are `least`; otherwise the coils as they are. */
kr_node lay_each(kr_graph *g, kr_node coils, kr_graph *inner, long least);
/* inner on each coil: x[i] holds, coil by coil, as many images as inner's input i. Several nodes may share one inner graph: *owned, false before the
 * first, says that the graph owns it. Gradients pass through it. */
kr_node lay_each_of(kr_graph *g, const kr_node *x, int count, kr_graph **inner, bool *owned);
/* Stacks: coil images of which each `of` that follow each other belong together. */
kr_node lay_repeat(kr_graph *g, kr_node x, long times);                       /* an image, or each coil's, `times` over */
kr_node lay_pick(kr_graph *g, kr_node x, long which, long of);                /* image `which` of each `of`                */
kr_node lay_pick_image(kr_graph *g, kr_node x, long which);                   /* of a stack of known length, as an image   */
kr_node lay_stack(kr_graph *g, kr_node x);                                    /* 2 n channels as n images          */
#endif
