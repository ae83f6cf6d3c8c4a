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
    bool shares;                     /* has a part in the scratch of that form          */
};
/* kr_conv_forward; where it can without another pass, also sums of the outputs: [block][sum, sum of squares][16]. Says whether. */
bool conv_forward_sums(const kr_conv *c, kr_map *y, kr_map *const *x, double *sums);
/* One row of output pixels: at->in[].data, block, row and at->out, out_block, px are given; the rest is the convolution's. */
void conv_run_row(const kr_conv *c, const conv_row *at);
#endif
