/* ridgekern.h: the profile of a ridge regulariser along runs of numbers, built once per CPU level. Private to src/nn. */
#ifndef KRAY_RIDGEKERN_H
#define KRAY_RIDGEKERN_H

/* phi(t) = a[j] + d[j] t in interval j = t / step, `count` intervals and all beyond as the last entry. */
typedef struct ridge_profile { const float *a, *d; float step; int count; } ridge_profile;
enum { RIDGE_POINTS = 8, RIDGE_TILE = 4 };
typedef struct ridge_kern {
    /* f = f phi(s |f|) / (s |f|), |f|^2 = re^2 + im^2; im NULL: 0. */
    void (*shrink)(float *re, float *im, long n, float s, const ridge_profile *p);
    /* v = J v, J the derivative of the above at f. */
    void (*turn)(float *vre, float *vim, const float *re, const float *im, long n, float s, const ridge_profile *p);
    /* sum[i] += sum over rows and columns of d[y][x] from[y][x + i], i < k at most 15; rows are `row` apart. */
    void (*correlate)(double *sum, const float *d, const float *from, long rows, long columns, long row, long k);
    /* Winograd's F(4,5) along y. tile_in: RIDGE_POINTS points of a tile, `step` apart, from its RIDGE_POINTS rows; tile_out: its RIDGE_TILE rows from the points of products.
     * tile_in reads and writes up to 15 numbers beyond. */
    void (*tile_in)(float *points, long step, const float *const *rows, long n);
    void (*tile_out)(float *const *rows, const float *points, long step, long n);
} ridge_kern;
extern const ridge_kern ridge_kern_base, ridge_kern_v3, ridge_kern_v4;
#endif
