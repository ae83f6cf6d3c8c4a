/* nn.h: feature maps and the layers that unrolled networks are made of. Everything is float32; one image at a time. */
#ifndef KRAY_NN_H
#define KRAY_NN_H
#include "kray/array.h"
#include "kray/weights.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A feature map: c channels of h x w, stored in blocks of 16 channels that lie together for each pixel (what vector units
 * like), [block][row][column][16], unused channels 0. Around each block there is a halo of `halo` pixels for the padding of
 * the convolution that reads the map: padding costs no copy. data points to pixel (0, 0) of block 0. w is the fastest spatial
 * axis; a map of k-space or image has w = Y (PyTorch's last axis of fastMRI data) or whatever the network was trained with. */
typedef struct kr_map {
    long c, h, w, halo;
    long blocks, row, block;         /* blocks of channels; floats from row to row, from block to block */
    float *data;
    float *store;                    /* what was allocated                                              */
} kr_map;
kr_map *kr_map_new(long c, long h, long w, long halo) KR_MUST_USE;   /* all zero */
void kr_map_unref(kr_map **m);
enum kr_pad { KR_PAD_ZERO, KR_PAD_REPLICATE, KR_PAD_REFLECT };
void kr_map_pad(kr_map *m, enum kr_pad pad);                 /* fills the halo */
/* Between planar numbers [c][h][w] and maps (tests, inputs, outputs). */
void kr_map_put(kr_map *m, const float *planar);
void kr_map_get(const kr_map *m, float *planar);
static inline float *kr_map_at(const kr_map *m, long block, long y, long x) { return m->data + block * m->block + y * m->row + x * 16; }

enum kr_act { KR_ACT_NONE, KR_ACT_RELU, KR_ACT_LEAKY };        /* leaky: slope 0.2 */

/* y = act(W * x + b): cross-correlation, stride 1, dilation d, padding d (k - 1) / 2 of the given kind, so y has the size of x.
 * weight {out, in, k, k}, k odd; bias {out} or NULL. The input may be several maps, whose channels follow each other (`split`:
 * their channel counts, adding up to `in`; NULL: one map). Refuses other shapes. Copies the numbers.
 * Source: PyTorch's Conv2d. */
typedef struct kr_conv kr_conv;
kr_conv *kr_conv_new(const kr_tensor *weight, const kr_tensor *bias, int dilation, enum kr_pad pad, enum kr_act act,
                     int maps, const long *split) KR_MUST_USE;
void kr_conv_unref(kr_conv **c);
/* From now on sums accumulate in float64 (slow): for convolutions in front of an instance norm, which divides by a small deviation (more than 4 outputs). */
void kr_conv_exact(kr_conv *c);
/* Products in bfloat16 (8 bits of mantissa), sums in float from now on, where that is faster: convolutions with more than 4
 * outputs (in Winograd's form, with an even number of inputs). Refuses processors without AVX512-BF16. */
int kr_conv_bf16(kr_conv *c) KR_MUST_USE;
long kr_conv_halo(const kr_conv *c);                         /* pixels of halo that its inputs need */
/* x: `maps` maps, halo at least kr_conv_halo; their halos are filled here. y of the same h and w; y is none of x. */
void kr_conv_forward(const kr_conv *c, kr_map *y, kr_map *const *x);

/* n rounds of independent multiply-adds in the widest registers that the layers use, on the calling thread; returns the floating
 * point operations done. What no layer can surpass (but Winograd's form, counted as what it replaces, and bfloat16). */
double kr_peak_loop(long n);

/* Recurrent cells. All convolutions have kernel k with zero padding k/2; x and h have `features` channels. */
enum kr_cell_kind {
    KR_CELL_GRU_DIRECT,   /* u = sig(Wu [x,h]); r = sig(Wr [x,h]); c = tanh(Wc [x, h r]); h' = h (1-u) + c u       (DIRECT)  */
    KR_CELL_GRU,          /* r, z = sig(ih x + hh h); n = tanh(ih x + r hh h); h' = (1-z) n + z h                 (ATOMMIC) */
    KR_CELL_MGU,          /* f = sig(ih x + hh h); c = tanh(ih x + f hh h); h' = c + f (h - c)                    (ATOMMIC) */
    KR_CELL_INDRNN        /* h' = relu(ih x + hh * h), hh one number per channel                                            */
};
typedef struct kr_cell kr_cell;
/* GRU_DIRECT: w = {update, reset, out} weights {F, 2F, k, k} with biases b; `norm`: InstanceNorm before each of the three.
 * GRU, MGU: w = {ih {3F or 2F, F, k, k}, hh {same}}, b = {bias of ih or NULL}. INDRNN: w = {ih {F,F,k,k}, hh {1,F,1,1}}, b = {bias}. */
kr_cell *kr_cell_new(enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, bool norm) KR_MUST_USE;
void kr_cell_unref(kr_cell **c);
int kr_cell_bf16(kr_cell *c) KR_MUST_USE;                    /* kr_conv_bf16 for all its convolutions */
/* h' from x and h, written over h; relu_out (may be NULL): max(h', 0). x and h may share no memory. Refuses lack of memory for
 * the cells that are not pointwise (norm, k > 1). */
int kr_cell_forward(const kr_cell *c, kr_map *h, kr_map *x, kr_map *relu_out) KR_MUST_USE;

/* y = act((x - mean) / sqrt(var + 1e-5)) per channel, biased variance (InstanceNorm2d without parameters). In place is fine. */
void kr_instance_norm(kr_map *y, const kr_map *x, enum kr_act act);
/* y = act(InstanceNorm(W * x + b)): kr_conv_forward of a convolution without activation, then kr_instance_norm, in fewer passes. */
void kr_conv_norm_forward(const kr_conv *c, kr_map *y, kr_map *const *x, enum kr_act act);
void kr_avg_pool2(kr_map *y, const kr_map *x);               /* 2 x 2, stride 2; y is h/2 x w/2, odd ends dropped */
/* Transposed convolution, k = 2, stride 2, no bias, weight {in, out, 2, 2}, then (norm) InstanceNorm and LeakyReLU; y is 2h x 2w,
 * or one larger where y is: the last row or column then comes by reflection (as fastMRI's U-Net pads). */
typedef struct kr_up2 kr_up2;
kr_up2 *kr_up2_new(const kr_tensor *weight) KR_MUST_USE;
void kr_up2_unref(kr_up2 **u);
void kr_up2_forward(const kr_up2 *u, kr_map *y, const kr_map *x, bool norm);

/* ---- Backward passes ----
 * A backward pass takes the gradient dy of a real loss with respect to what the forward gave, and adds to the gradients of
 * what the forward took (dx, dweight, ...: same shapes; NULL: not wanted). The forward keeps nothing: whoever trains keeps the
 * maps that the declarations name (x, y, the old state), and gates are made again from them. The gradient of
 * a convolution comes from its forward object, that of a cell from a backward object of its own, which copies the weights: both are made anew when the weights have changed. They hold no scratch: threads may share them.
 * Refused is lack of memory. The result does not depend on the threads. */
/* x: as given to kr_conv_forward (their halos are filled again; needed for dweight alone); y: what it gave (NULL with
 * KR_ACT_NONE). dx NULL or one map for each of x, any of them NULL. */
int kr_conv_backward(const kr_conv *c, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y,
                     const kr_map *dy) KR_MUST_USE;

typedef struct kr_cell_back kr_cell_back;                    /* arguments and refusals of kr_cell_new; norm: GRU_DIRECT alone */
kr_cell_back *kr_cell_back_new(enum kr_cell_kind kind, const kr_tensor *const *w, const kr_tensor *const *b, bool norm) KR_MUST_USE;
void kr_cell_back_unref(kr_cell_back **c);
/* x and h: what kr_cell_forward read, h before it was written over. dx, dh, dnew: three maps. dw, db: gradients in the order and
 * shapes of w and b (NULL, or any of them NULL). Of relu_out: of h before its ReLU. */
int kr_cell_backward(kr_cell_back *c, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h,
                     const kr_map *dnew) KR_MUST_USE;

void kr_instance_norm_backward(kr_map *dx, const kr_map *x, const kr_map *dy, enum kr_act act);    /* x: before the norm */
void kr_avg_pool2_backward(kr_map *dx, const kr_map *dy);
int kr_up2_backward(const kr_up2 *u, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *dy, bool norm) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
