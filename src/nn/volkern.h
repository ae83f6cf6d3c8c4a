/* volkern.h: the inner loops of networks on volumes, built once per CPU level. Channels are planar: a convolution is, for each tap, a multiple of the
 * input shifted by an offset, so the loops see no shape, no stride and no dilation. Private to src/nn. */
#ifndef KRAY_VOLKERN_H
#define KRAY_VOLKERN_H

enum { VOL_LANES = 8 };
enum vol_act { VOL_LINEAR, VOL_RELU, VOL_LEAKY, VOL_ELU };
/* y[o][p] = act(bias[o] + sum over inputs i and taps t of w[o][i][tap[t]] x[i][p + offset[t]]), p < n. Reads up to 127 numbers beyond. */
typedef struct vol_row {
    struct { const float *x; long chan; long c; } in[2];     /* channels of two values, one behind the other; c 0: none */
    int taps, all;                   /* taps to add of `all` taps that the weights have                   */
    const long *offset;
    const int *tap;
    const float *w;                  /* packed by groups of vol_group outputs: [group][in][all][outputs of the group] */
    const float *bias;
    float *y;
    long chan, outs, n;
    enum vol_act act;
    float slope;
} vol_row;
typedef struct vol_kern {
    int most;                                                /* outputs of a group, at most               */
    void (*conv)(const vol_row *r);
    /* Winograd's F(4,3) along y (and, `deep`, along z): 6 (or 36) points, point (y, z) in row y + 6 z. tile_in: points of a tile from its 6 (or 36) rows
     * of n numbers. tile_out: 4 (or 16) rows y + 4 z of n numbers, act(bias + ...), from the points; rows that are NULL are left out. `step` numbers from
     * point to point. Reads, and tile_in writes, up to 15 numbers beyond. */
    void (*tile_in)(float *points, long step, const float *const *rows, long n, int deep);
    void (*tile_out)(float *const *rows, const float *points, long step, long n, int deep, float bias, enum vol_act act, float slope);
    void (*moments)(const float *x, long n, double sum[VOL_LANES], double square[VOL_LANES]);      /* adds; number i goes to lane i mod VOL_LANES */
    void (*normalise)(float *y, const float *x, long n, float scale, float shift, const float *plus, float slope);   /* leaky(scale x + shift [+ plus]) */
} vol_kern;
extern const vol_kern vol_kern_base, vol_kern_v3, vol_kern_v4;
/* Outputs of group g of `groups` among `outs`: as even as can be. */
static inline long vol_group_from(long outs, long groups, long g) { return g * outs / groups; }
#endif
