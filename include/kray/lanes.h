/* lanes.h: sixteen Fourier transforms at once. A panel holds the points of KR_LANES lines; row k is the real parts of point
 * k of every line, then the imaginary parts. No transform shuffles anything inside a vector register, so that it runs near
 * the processor's peak; the transform leaves frequencies in its own order, so that it works in place. What a mask does
 * between a transform and its inverse needs no other order. All memory 64-byte aligned (kr_alloc). */
#ifndef KRAY_LANES_H
#define KRAY_LANES_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { KR_LANES = 16, KR_ROW = 2 * KR_LANES };            /* lines per panel; floats per row                      */

/* Transforms of n points, neither scaled nor centred. May be used by many threads at a time. Lengths whose prime factors
 * are at most 127 run in Kray's own kernels, others in FFTW. Refuses n < 1 or > 2^20. */
typedef struct kr_lanes kr_lanes;
kr_lanes *kr_lanes_new(long n) KR_MUST_USE;
void kr_lanes_unref(kr_lanes **p);
/* Row k of a transformed panel holds frequency order[k] (0 <= order[k] < n); frequency f is in row place[f]. */
const long *kr_lanes_order(const kr_lanes *p);
const long *kr_lanes_place(const kr_lanes *p);
void kr_lanes_forward(const kr_lanes *p, float *panel);   /* X[f] = sum_k x[k] exp(-2 pi i f k / n), in place          */
void kr_lanes_inverse(const kr_lanes *p, float *panel);   /* x[k] = sum_f X[f] exp(+2 pi i f k / n), in place          */

/* ---- Between arrays and panels: complex numbers as pairs of floats ----
 * From `lines` (at most KR_LANES) lines of n points. Point k of line j is at x[j * line + k * point]; steps count complex
 * numbers; fast where one of the two is 1. Missing lanes become 0. */
void kr_lanes_load(float *panel, const kr_cfloat *x, long line, long point, long n, long lines);
void kr_lanes_store(kr_cfloat *x, long line, long point, const float *panel, long n, long lines);

/* Row j of KR_LANES rows of lanes becomes lane j of `rows` rows, at most KR_LANES, and back; lanes beyond `rows` become 0. */
void kr_lanes_exchange(float *to, const float *const from[KR_LANES], long rows);
void kr_lanes_exchange_back(float *const to[KR_LANES], const float *from, long rows);

/* ---- T = F^H P F of one block, P a mask of 0 and 1, F unitary and centred ----
 * 1D: {rows}: a panel of KR_LANES independent lines. 2D: {rows, columns}: ceil(columns / KR_LANES) panels of `rows` rows, one
 * plane; lanes are columns. Source of the block form: along axes that a mask does not touch, F^H F = 1. */
typedef struct kr_psf kr_psf;
/* mask[r * row_step + c * column_step], DC at N/2. columns 1: 1D. mask NULL: P = 1, hence T = 1. */
kr_psf *kr_psf_new(const float *mask, long rows, long row_step, long columns, long column_step) KR_MUST_USE;
void kr_psf_unref(kr_psf **p);
long kr_psf_work(const kr_psf *p, long planes);            /* floats of scratch that kr_psf_sense (planes 1) and kr_psf_back_* want */
void kr_psf_apply(const kr_psf *p, float *x, float *work); /* x = T x                                              */
/* z_m += sum over c of conj(S_cm) T (S_c0 x_0 + S_c1 x_1 + ...): the SENSE normal operator, or some coils of it. x, z: `maps`
 * blocks; S: `maps` blocks of every coil. */
void kr_psf_sense(const kr_psf *p, float *z, const float *S, const float *x, long coils, long maps, float *work);

/* z_m += conj(S_m) F^H P y, one coil of A^H y; of y only what P keeps is read. Numbers of y that belong together lie together:
 * lines: `lines` neighbours of every row r at y + at[r] * step; plane: all columns of row r at y + r * step; planes: points (r, c) of
 * `planes` blocks, apart floats apart in z, at y + at[r * columns + c] * step; S then holds maps_apart floats from plane to plane. */
void kr_psf_back_lines(const kr_psf *p, float *z, const float *S, const kr_cfloat *y, const int *at, long step, long lines, long maps, float *work);
void kr_psf_back_plane(const kr_psf *p, float *z, const float *S, const kr_cfloat *y, long step, long maps, float *work);
void kr_psf_back_planes(const kr_psf *p, float *z, long apart, const float *S, long maps_apart, const kr_cfloat *y, const int *at,
                        long step, long planes, long maps, float *work);

/* ---- A volume {X,Y,Z} in such blocks ----
 * Which axis plays which part, for masks that vary along the axes `varying`, at most two of them: `row` runs along the rows of
 * a panel, `col` across its lanes, `out` from block to block. X, along which memory runs, is the lanes or, in planes across
 * it, the slabs: blocks then come `slab` at a time, so that whole cache lines move. */
typedef struct kr_blocks {
    int row, col, out;
    bool plane;                                            /* a plane is one problem; otherwise every lane is         */
    long n[3], step[3], volume;                            /* of the volume                                           */
    long panels, floats;                                   /* panels of one block, and its floats                     */
    long slab, count;                                      /* planes moved at a time; how many slabs, or panels of lines */
} kr_blocks;
kr_blocks kr_blocks_of(const long n[3], unsigned varying);
long kr_blocks_planes(const kr_blocks *b, long i);         /* blocks of slab i: `slab`, or fewer in the last          */
long kr_blocks_lines(const kr_blocks *b, long i);          /* lines of panel i, where blocks are lines          */
/* Slab i of a volume to blocks that are `apart` floats apart, and back. */
void kr_blocks_gather(const kr_blocks *b, float *to, long apart, const kr_cfloat *volume, long i);
void kr_blocks_scatter(const kr_blocks *b, kr_cfloat *volume, const float *from, long apart, long i);

/* ---- Vectors of rows, each lane its own problem. Sums in double, row by row in a fixed order ---- */
void kr_lanes_scaled(float *z, float a, const float *x, long rows);                                   /* z = a x           */
void kr_lanes_dot(const float *x, const float *y, long rows, double sum[KR_LANES]);                   /* sum += Re conj(x) y */
/* x = x + a p, r = r - a q, sum += |r|^2; a: one a lane. */
void kr_lanes_step(float *x, float *r, const float *p, const float *q, const float a[KR_LANES], long rows, double sum[KR_LANES]);
void kr_lanes_turn(float *p, const float *r, const float b[KR_LANES], long rows);                     /* p = r + b p       */
/* The derivative of c x, and its adjoint: w = c dx + x dc (add: on top of w); z += conj(c) w, t = conj(x) w. */
void kr_lanes_pair(float *w, const float *c, const float *dx, const float *x, const float *dc, long rows, bool add);
void kr_lanes_pair_back(float *z, float *t, const float *c, const float *x, const float *w, long rows);

/* ---- Small matrices, n x n, one a lane ---- */
/* K_e = sum over o of wave_o w[o][e]: `entries` rows; wave_o: one row, `step` floats apart. */
void kr_lanes_waves(float *K, const kr_cfloat *w, const float *wave, long step, long offsets, long entries);
/* M = K^H K, K_kj in row k n + j; of M the lower triangle, row by row: n (n + 1) / 2 rows. */
void kr_lanes_gram(float *M, const float *K, long n);
void kr_lanes_hermitian(float *z, const float *M, const float *x, long n);                            /* z = M x, M as kr_lanes_gram leaves it */

#ifdef __cplusplus
}
#endif
#endif
