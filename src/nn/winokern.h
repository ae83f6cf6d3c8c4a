/* winokern.h: 3x3 convolution by Winograd's minimal filtering F(4x4, 3x3). Private to src/nn.
 * A tile of 4x4 outputs y = A^T [(G g G^T) . (B^T d B)] A takes 36 products instead of 144; d is the tile of 6x6 inputs.
 * Source: Lavin and Gray, arXiv:1509.09308; the points 0, +-0.625, +-1.5, infinity in place of 0, +-1, +-2, infinity lose a third
 * as much to rounding (Barabasz et al., arXiv:1803.10986, on the choice of points). */
#ifndef KRAY_WINOKERN_H
#define KRAY_WINOKERN_H
#include "nnkern.h"

enum { WINO_TILES = 24 };            /* tiles that one piece holds: 36 x 24 x 128 channels = 442 KiB of the second-level cache */
typedef struct wino_conv {
    int segments;
    struct { const float *data; long block, row; int c; } in[KR_SEGMENTS];     /* pixel (0, 0) of each input */
    long h, w, halo, dilation;
    long ins, wide, blocks;          /* input channels, wino_wide of them; blocks of output channels */
    const float *u, *bias;           /* u: wino_weights' */
    float *out; long out_block, out_row;
    enum kr_act act; float slope;
} wino_conv;
long wino_tiles(long h, long w, long dilation);                  /* how many there are                      */
long wino_wide(int segments, const long *split);                 /* floats that a tile's input channels take: whole lines, unused lanes too */
long wino_room(long wide, long blocks);                          /* floats of scratch for one piece         */
/* weight {outs, ins, 3, 3} transformed, in the order in which the kernel with at most `group` blocks at once reads it:
 * [36][group of blocks][input channel][block][16]. u: 36 x ins x 16 blocks floats. */
void wino_weights(float *u, const float *weight, long outs, long ins, int group);

typedef struct wino_kern {
    int group;
    void (*piece)(const wino_conv *c, long first, long tiles, float *scratch);       /* at most WINO_TILES */
} wino_kern;
extern const wino_kern wino_kern_base, wino_kern_v3, wino_kern_v4;
const wino_kern *wino_kern_best(void);
#endif
