/* raykern.h: the loops of project.c over rays, rows and pixels; built once per CPU level. Private to this folder.
 *
 * Everything is in units of pixels along a row of the image, and of rows across. A ray of number k crosses row r at column x_k(r), which is
 * a straight line in r. */
#ifndef KRAY_RAYKERN_H
#define KRAY_RAYKERN_H
#include "kray/array.h"

enum { RAY_PAD = 48,                   /* zeros on both sides of a row of pixels or of rays                                   */
       RAY_WIDE = 256,                 /* most rays that a tile of pixels may look at                                          */
       RAY_ROWS = 16 };               /* most rows of a tile                                                                  */

/* Rays side by side, `lanes` of them, through rows 0..rows-1: x_k(r) = column + x[k] + r g[k], ascending in k. distance: x, g of the
 * left end of each ray, of the right end in xr, gr; scale[r] weighs row r. */
typedef struct ray_group {
    const float *image; long stride, n;   /* column 0 of row 0; RAY_PAD zeros on both sides of its n columns                  */
    long column, rows;
    const float *x, *g, *xr, *gr, *scale;
    int taps;
    bool wide;                            /* they spread over more than 2 lanes - taps columns                                */
} ray_group;

/* A tile of `lanes` pixels of rows 0..rows-1, and the rays about ray 0: x_k(r) = base + r slope + (far + r) t_k, t_k = T g1 / (1 + c2 T),
 * T = k, or tan(k arc) on a curved detector; affine: x_k(r) = base + r slope + far k. Columns count from the tile's first. */
typedef struct ray_tile {
    float *image; long stride, rows;
    const float *p;                       /* of ray 0; zeros where there are none, for as far as is looked                   */
    float base, slope, far, g1, c2, arc;
    double inverse;                       /* affine: 1 / far                                                                    */
    float reach;                          /* rays as far as this from that of a pixel's centre may touch it                    */
    int taps;
    const float *scale;                   /* distance: weight of row r                                                          */
    bool affine;
    int span;                             /* all that is touched lies within span / 2 * lanes rays about ray 0: 2, 3, 0: more    */
} ray_tile;

/* Rows of pixels and a run of rays of a fan, whose rays k (number - mid, flat: T = k, curved: T = tan(k arc)) run from column `at` of the row at distance 0 along
 * (ex + T ux, er + T ur); row r lies `far` + r off. Rays are zero beyond first..last, for as far as is looked. apart: the least distance of neighbours. */
typedef struct ray_strip {
    float *image; long stride, rows, n;   /* n pixels, written up to a multiple of lanes                                        */
    const float *p;                       /* of ray number 0                                                                    */
    long first, last;
    const double *c, *s;                  /* cosine and sine of curved rays first..last                                          */
    double at, far, ex, er, ux, ur, mid, arc, apart;
    const float *scale;                   /* distance: weight of row r; NULL: joseph                                             */
} ray_strip;

/* A tile of pixels of a filtered back-projection: pixel i of row r takes the ray number T = (n + i ni + r nr) / (1 + i wi + r wr) (of a curved detector:
 * atan T / arc), interpolated between neighbours, times weight / (1 + i wi + r wr)^2 (curved: (1 + T^2) more below); affine: T and the weight alone. */
typedef struct ray_smear {
    float *image; long stride, rows;
    const float *p;                       /* of ray 0                                                                           */
    float n, ni, nr, wi, wr, arc, weight;
    int first, last, span;                /* rays that there are; span as above                                                 */
    bool affine, spline;                  /* spline: rays are the coefficients of a quadratic B-spline                           */
} ray_smear;
/* The same of parallel rays, for rows of n pixels, written up to a multiple of lanes: pixel i of row r takes ray k + i ki + r kr, |ki| at most 1.8, of rays 0..last;
 * 4 more can be read on either side. */
typedef struct ray_sweep { float *image; long stride, rows, n; const float *p; double k, ki, kr; long last; bool spline; } ray_sweep;
/* A line of voxels and a flat detector: element (u / w + cu, v / w + cv), u, v, w growing by du, dv, dw from voxel to voxel; weight / w^2. */
typedef struct ray_beam { const float *p; int columns, rows; float u, du, v, dv, w, dw, cu, cv, weight; } ray_beam;

/* Rays of one detector column through `rows` mixed lines of voxels: ray k, 0..rays-1, lies at voxel at[r] + k far[r] of line r, far above 0. Forward: p is voxel
 * 0 of the first line; back: p is ray 0, and lines are written from voxel i0[r] to i1[r], multiples of 16. RAY_PAD zeros lie on both sides of lines
 * (n voxels, up to a multiple of 16) and of rays. box: distance, line r weighed by scale[r]. */
typedef struct ray_column {
    const float *p;
    long stride, n, rays, rows;
    const double *at, *far; const float *scale; const long *i0, *i1;
    bool box;
} ray_column;

/* Rays side by side, `lanes` of them, across planes a = from..to-1 of a volume, which the first crosses at voxel x0 + a gx along b and z0 + a gz along c, the others dx + a dgx and dz + a dgz further;
 * n voxels along b and c, steps in floats. Each takes the four voxels about it by bilinear weights (joseph); weight: of each ray. */
typedef struct ray_slant {
    const float *volume; long n[2], step[3];      /* along b, c; of a, b, c                                                 */
    long from, to;
    double x0, gx, z0, gz;
    const float *dx, *dgx, *dz, *dgz;
    double low[4];                        /* nothing lies before low[0] + a low[1] along b, nor before low[2] + a low[3] along c             */
    long rows;                            /* above 0: all lies in so many rows from there, within 2 lanes - 2 voxels along b, whose step is 1 and n at least 2 lanes; 0: anywhere */
} ray_slant;

typedef struct kr_raykern {
    int lanes;
    void (*project)(float *sum, const ray_group *g);        /* sum[k] += ..., joseph; lanes of them                        */
    void (*project_box)(float *sum, const ray_group *g);    /* distance                                                    */
    void (*back)(const ray_tile *t);                        /* image += ...                                                */
    void (*back_box)(const ray_tile *t);
    bool (*fan)(const ray_strip *s);                        /* the same for all tiles of some rows; false: not done, rays are far finer than pixels, or far apart in angle */
    void (*smear)(const ray_smear *s);                      /* image += ...                                                */
    bool (*sweep)(const ray_sweep *s);                      /* image += ...; false: not done at this level                 */
    void (*beam)(float *to, long n, const ray_beam *b);     /* to[0..n-1] += ...                                           */
    void (*mix)(float *to, const float *from, long step, const float *w, int lines, long n);       /* to = sum of w[i] from[i step] */
    void (*spread)(float *to, const float *from, long step, const float *w, int lines, long n);    /* its transpose, added: to[i step] += w[i] from     */
    void (*take)(float *to, const float *p, long n, double at, double far, long k0, long k1);      /* to[k] += p at at + k far, k0 <= k <= k1; RAY_PAD on both sides */
    void (*column)(float *sum, const ray_column *c);        /* sum[k] += ..., up to a multiple of 16                        */
    void (*column_back)(float *lines, const ray_column *c); /* lines[r stride + i] = ...                                    */
    void (*slant)(float *sum, const ray_slant *s);          /* sum[k] += ..., lanes of them                                 */
    void (*slant_back)(float *volume, const float *y, const ray_slant *s);      /* its transpose, added; in place of s->volume; takes rays anywhere */
} kr_raykern;
extern const kr_raykern kr_raykern_base, kr_raykern_v3, kr_raykern_v4;
const kr_raykern *kr_raykern_best(void);
#endif
