/* conv.h: the inside of a convolution, for the layers that run it on a few pixels at a time. Private to src/nn. */
#ifndef KRAY_CONV_H
#define KRAY_CONV_H
#include "winokern.h"

struct kr_conv {
    const nn_kern *kern;
    long outs, blocks;
    int k, dilation, maps;
    long split[KR_SEGMENTS];
    enum kr_pad pad;
    enum kr_act act;
    float slope;
    bool thin;                       /* at most 4 outputs: the kernel that adds across lanes */
    bool exact;                      /* sums in double                                  */
    float *w, *bias;
    uint16_t *half;                  /* w in bfloat16, where products are; else NULL */
    const wino_kern *wino;           /* Winograd's form, where that is used; else NULL */
};
/* kr_conv_forward in scratch of conv_scratch bytes (NULL: in the form that wants none); where it can without another pass, also sums
 * of the outputs: [block][sum, sum of squares][16]. Says whether. */
bool conv_run(const kr_conv *c, kr_map *y, kr_map *const *x, double *sums, void *scratch);
size_t conv_scratch(const kr_conv *c, long h, long w);           /* for kr_threads() threads             */
/* scale: as many doubles as the outputs have lanes, for norm_back_run, or NULL. */
void conv_norm_run(const kr_conv *c, kr_map *y, kr_map *const *x, enum kr_act act, double *scale, void *scratch);
void conv_fill(kr_conv *c, const float *weight, const float *bias);         /* other numbers, in float32; bias may be NULL */
size_t conv_bytes(const kr_conv *c);                             /* of packed weights                     */
/* What kr_conv_new makes of outs x in x k x k weights of one input map, without padding, activation, weights and bias. */
kr_conv conv_plan(long outs, long in, int k);
long conv_ins(const kr_conv *c);                                 /* channels of all its inputs            */
long conv_room(const kr_conv *c);                                /* floats of w                           */
/* Where the weight of output o, channel i of input map s and tap ky k + kx stands; from there to the next channel of its block of 16, and output of its block. */
float *conv_weight(const kr_conv *c, long o, int s, long i, long tap, long *in, long *out);
struct kr_up2 { kr_conv *place[4]; };
/* A cell in scratch of cell_scratch bytes. */
size_t cell_scratch(const kr_cell *c, long h, long w);
void cell_run(const kr_cell *c, kr_map *h, kr_map *x, kr_map *relu_out, void *scratch);
size_t cell_bytes(const kr_cell *c);
/* The backward passes in scratch. */
size_t conv_back_scratch(const kr_conv *c, long h, long w, bool framed);
void conv_back_run(const kr_conv *c, kr_map *const *dx, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy, void *scratch);
/* fresh: bits of the dx that are written instead of added to. framed: dy has a frame as wide as the kernel's, which may be written. */
void conv_back_framed(const kr_conv *c, kr_map *const *dx, unsigned fresh, kr_tensor *dweight, kr_tensor *dbias, kr_map *const *x, const kr_map *y, const kr_map *dy, bool framed, void *scratch);
size_t cell_back_scratch(const kr_cell_back *b, long h, long w);
void cell_back_run(const kr_cell_back *b, kr_map *dx, kr_map *dh, kr_tensor *const *dw, kr_tensor *const *db, kr_map *x, kr_map *h, const kr_map *dnew, void *scratch);
size_t up2_bytes(const kr_up2 *u);
int up2_fill(kr_up2 *u, const kr_tensor *w);                     /* other numbers                         */
void up2_run(const kr_up2 *u, kr_map *y, const kr_map *x, bool normed, double *scale);       /* scale: as for conv_norm_run */
size_t up2_back_scratch(const kr_up2 *u, long h, long w, bool norm);   /* h, w: of x */
/* y, scale: what up2_run gave, with a norm alone. */
void up2_back_run(const kr_up2 *u, kr_map *dx, kr_tensor *dweight, kr_map *x, const kr_map *y, const double *scale, const kr_map *dy, void *scratch);
/* kr_instance_norm_backward from what norm and activation gave, y, and the scale of each channel; no ReLU, which loses what it was given. dx is written, not added to. */
void norm_back_run(kr_map *dx, const kr_map *y, const double *scale, const kr_map *dy, enum kr_act act);
/* One row of output pixels: at->in[].data, block, row and at->out, out_block, px are given; the rest is the convolution's. */
void conv_run_row(const kr_conv *c, const conv_row *at);
#endif
