/* nnkern.h: the inner loops of the networks, built once per CPU level. Private to src/nn. */
#ifndef KRAY_NNKERN_H
#define KRAY_NNKERN_H
#include "kray/nn.h"

enum { KR_SEGMENTS = 4 };
/* `px` output pixels of one row, `ob` blocks of 16 output channels. in[s]: pixel (ky, kx) = (0, 0) of the first output pixel.
 * w: packed [segment][block][ky][kx][channel of the block][ob][16]. */
typedef struct conv_row {
    int segments, k;
    struct { const float *data; long block, row; int c; const uint32_t *pair; long pairs; } in[KR_SEGMENTS];    /* pair: see nn_conv_bf16 */
    long dilation;
    const float *w, *bias;           /* bias: 16 ob floats, or NULL */
    const uint16_t *half;            /* nn_conv_bf16: packed [segment][block][ky][kx][pair of channels][ob][16][2], bfloat16 */
    float *out; long out_block, step, px;   /* step: floats from output pixel to output pixel */
    enum kr_act act; float slope;
} conv_row;
/* The same for at most 4 output channels: w packed [segment][block][ky][kx][out][16]; out: pixels of 16 floats, lanes of the outputs. */
typedef struct nn_kern {
    int group;                                           /* most blocks per conv call */
    void (*conv)(const conv_row *r, int ob);
    void (*conv_thin)(const conv_row *r, int outs);
    void (*conv_exact)(const conv_row *r, int ob);       /* as conv, sums in double: slow   */
    /* n pixels of b blocks each: u, c and so on stand [block][pixel][16] with `stride` floats from block to block. */
    void (*sigmoid)(float *v, long n);                   /* n floats, a multiple of 16, in place */
    void (*tanh)(float *v, long n);
    void (*gru_direct)(float *h, const float *u, const float *c, float *relu, long n);       /* h = h (1-sig u) + tanh(c) sig u */
    void (*gru)(float *h, const float *z, const float *an, const float *bn, const float *r, float *relu, long n);
    void (*mgu)(float *h, const float *f, const float *ac, const float *bc, float *relu, long n);
    void (*indrnn)(float *h, const float *a, const float *hh, float *relu, long n);          /* hh: 16 floats of this block */
    void (*reset)(float *hr, const float *r, const float *h, long n);                        /* hr = h sig(r) */
    void (*moments)(const float *x, long n, double sum[16], double square[16]);              /* adds, per lane */
    void (*normalise)(float *y, const float *x, const float *scale, const float *mean, float slope, long n); /* (x - mean) scale; slope 1: no leaky after */
    void (*pool)(float *y, const float *top, const float *low, long n);                      /* n output pixels */
    double (*peak)(long n);                              /* kr_peak_loop */
} nn_kern;
extern const nn_kern nn_kern_base, nn_kern_v3, nn_kern_v4;
const nn_kern *nn_kern_best(void);
/* conv with products in bfloat16, for inputs of which a stretch fits its room; ob at most 4, bias given. Only where kr_cpu_bf16.
 * Inputs that several convolutions of 1x1 read may be narrowed once, all of them or none: in[].pair is then what nn_narrow made of
 * data (8 numbers of two channels for each pixel), `pairs` numbers from block to block. */
enum { NN_BF16_PIXELS = 24, NN_BF16_ROOM = 8192 };
extern const bool nn_bf16_built;      /* the compiler knew the instructions */
void nn_conv_bf16(const conv_row *r, int ob);
void nn_narrow(uint32_t *to, const float *from, long pixels);
#endif
