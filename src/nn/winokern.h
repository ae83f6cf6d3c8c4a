/* winokern.h: 3x3 convolution by Winograd's minimal filtering F(4x4, 3x3). Private to src/nn.
 * A tile of 4x4 outputs y = A^T [(G g G^T) . (B^T d B)] A takes 36 products instead of 144; d is the tile of 6x6 inputs.
 * Source: Lavin and Gray, arXiv:1509.09308; the points 0, +-0.625, +-1.5, infinity in place of 0, +-1, +-2, infinity lose a third
 * as much to rounding (Barabasz et al., arXiv:1803.10986, on the choice of points). */
#ifndef KRAY_WINOKERN_H
#define KRAY_WINOKERN_H
#include "nnkern.h"

enum { WINO_TILES = 24 };            /* most tiles of one piece: 36 x 24 x 128 channels = 442 KiB of the second-level cache */
/* Floats of `wino_sums` of one piece and block: sums of the outputs by channel, and of their squares. */
enum { WINO_SUMS = 32 };
enum { WINO_GROUP = 4 };             /* most blocks of outputs that a product takes at once */
typedef struct wino_conv {
    int segments;
    struct { const float *data; long block, row; int c; } in[KR_SEGMENTS];     /* pixel (0, 0) of each input */
    long h, w, halo, dilation;
    long ins, wide, blocks;          /* input channels, wino_wide of them; blocks of output channels */
    bool half;                       /* the last block of these has at most 8                        */
    const float *weight, *bias;      /* weight: packed as for conv_row */
    void *u;                         /* the weights transformed: wino_weights_room bytes */
    float *out; long out_block, out_row;
    const float *dy; long dy_block, dy_row;                      /* what the outputs got, for the gradient of the weights */
    enum kr_act act; float slope;
} wino_conv;
long wino_tiles(long h, long w, long dilation);                  /* how many there are                      */
long wino_pieces(long tiles);                                    /* into how many pieces they are divided   */
long wino_wide(int segments, const long *split);                 /* floats that a tile's input channels take: whole lines, unused lanes too */
static inline long wino_apart(long channels) { return WINO_TILES * channels + 16; }      /* floats from one of the 36 matrices to the next: a 64-byte line more, so that they
                                        do not all fall on the same lines of the first-level cache */
static inline long wino_few_room(void) { return 36 * (wino_apart(16 * WINO_GROUP) + 16 * 16 * WINO_GROUP + 16); }
long wino_room(long wide, long blocks);                          /* floats of scratch for one piece         */
long wino_units(const wino_conv *c, int group);                  /* of work for the transform of the weights */

typedef struct wino_kern {
    int group;                       /* most blocks that a product takes at once */
    int bytes;                       /* of a number of u                         */
    void (*weights)(const wino_conv *c, long unit);              /* writes a part of u */
    /* At most WINO_TILES; sums (NULL: not wanted): WINO_SUMS of each block. */
    void (*piece)(const wino_conv *c, long first, long tiles, float *scratch, float *sums);
    /* All of at most WINO_TILES, without c->u: the inputs of some transformed; then group `unit` of the outputs in wino_few_room floats of scratch, with some inputs' weights at a time,
     * which never leave the caches. sums: WINO_SUMS of each block of the group. */
    void (*few_in)(const wino_conv *c, long first, long tiles, float *v);
    void (*few_out)(const wino_conv *c, long unit, long tiles, const float *v, float *scratch, float *sums);
    /* The gradient of the weights (not in bfloat16), from at most WINO_TILES: transformed inputs, v, and slopes of the outputs, m; then of the inputs in ... in + n (at most 16) and
     * output block b: sum[tap][16 inputs][16 outputs] is added to. */
    void (*points)(const wino_conv *c, long first, long tiles, float *v, float *m);
    void (*gradients)(const wino_conv *c, const float *v, const float *m, long tiles, long in, long n, long b, double *sum);
} wino_kern;
extern const wino_kern wino_kern_base, wino_kern_v3, wino_kern_v4, wino_kern_bf16;     /* bf16: products of bfloat16 numbers, for
                                                                     an even number of inputs; nn_bf16_built says whether it is that */
const wino_kern *wino_kern_best(void);
static inline size_t wino_weights_room(const wino_conv *c, const wino_kern *k) { return (size_t)(36 * 16 * c->blocks * c->ins * k->bytes); }
#endif
