/* winokern.c: a piece of some tiles through the three steps of Winograd's convolution while everything stays in the second-level
 * cache: all input channels into 36 small matrices V (tiles x channels), 36 products M = V U, and out with bias and activation.
 * A dilation d makes d x d interleaved images, whose tiles take every d-th pixel. Each output depends on its tile alone, so that
 * the division into pieces does not show. Built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#include "winokern.h"
#include <string.h>

#define JOIN(a, b) a##b
#define NAME(level) JOIN(wino_kern_, level)
typedef float vf __attribute__((vector_size(64), aligned(4)));
typedef int vi __attribute__((vector_size(64), aligned(4)));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 36")

INLINE vf load(const float *p) { return *(const vf *)(const void *)p; }
INLINE void store(float *p, vf v) { *(vf *)(void *)p = v; }
INLINE vf positive(vf v) { return (vf)((v > (vf){ 0 }) & (vi)v); }

/* Points 0, a, -a, b, -b, infinity. */
#define A 0.625f
#define B 1.5f

/* B^T d along one line: rows of B^T are the coefficients of prod (x - p) over all points but one. */
INLINE void line_in(vf v[6], vf d0, vf d1, vf d2, vf d3, vf d4, vf d5)
{
    vf ea = d4 - B * B * d2, oa = d3 - B * B * d1, eb = d4 - A * A * d2, ob = d3 - A * A * d1;
    v[0] = d4 - (A * A + B * B) * d2 + A * A * B * B * d0;
    v[1] = ea + A * oa;
    v[2] = ea - A * oa;
    v[3] = eb + B * ob;
    v[4] = eb - B * ob;
    v[5] = d5 - (A * A + B * B) * d3 + A * A * B * B * d1;
}

/* A^T m along one line: powers of the points. */
INLINE void line_out(vf y[4], vf m0, vf m1, vf m2, vf m3, vf m4, vf m5)
{
    vf sa = m1 + m2, da = m1 - m2, sb = m3 + m4, db = m3 - m4;
    y[0] = m0 + (sa + sb);
    y[1] = A * da + B * db;
    y[2] = A * A * sa + B * B * sb;
    y[3] = m5 + A * A * A * da + B * B * B * db;
}

/* 6x6 pixels of one block of channels, row and column floats apart, to 36 places `apart` floats apart. */
static void tile_in(float *to, long apart, const float *p, long row, long column)
{
    vf t[6][6];
    UNROLL for (int x = 0; x < 6; x++) {
        const float *q = p + x * column;
        line_in(t[x], load(q), load(q + row), load(q + 2 * row), load(q + 3 * row), load(q + 4 * row), load(q + 5 * row));
    }
    UNROLL for (int y = 0; y < 6; y++) {
        vf v[6];
        line_in(v, t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]);
        UNROLL for (int x = 0; x < 6; x++)
            store(to + (6 * y + x) * apart, v[x]);
    }
}

static void tile_out(const float *m, long apart, const float *bias, enum kr_act act, float slope, float *to, long row, long column)
{
    vf t[6][4], b = load(bias);
    UNROLL for (int x = 0; x < 6; x++) {
        const float *q = m + x * apart;
        line_out(t[x], load(q), load(q + 6 * apart), load(q + 12 * apart), load(q + 18 * apart), load(q + 24 * apart), load(q + 30 * apart));
    }
    UNROLL for (int y = 0; y < 4; y++) {
        vf v[4];
        line_out(v, t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]);
        UNROLL for (int x = 0; x < 4; x++) {
            vf s = v[x] + b;
            store(to + y * row + x * column, act == KR_ACT_NONE ? s : act == KR_ACT_RELU ? positive(s) : positive(s) - slope * positive(-s));
        }
    }
}

/* m[t][...] = sum over c of v[t][c] u[c][...] for PX tiles and OB blocks. */
#define GEMM(PX, OB)                                                                                                        \
INLINE void gemm_##PX##_##OB(float *m, long mt, const float *v, long vt, const float *u, long n)                             \
{                                                                                                                           \
    vf acc[PX][OB];                                                                                                         \
    _Pragma("GCC unroll 32") for (int j = 0; j < PX; j++)                                                                   \
        _Pragma("GCC unroll 8") for (int o = 0; o < OB; o++)                                                                \
            acc[j][o] = (vf){ 0 };                                                                                          \
    for (long c = 0; c < n; c++, u += 16 * OB) {                                                                            \
        vf w[OB];                                                                                                           \
        _Pragma("GCC unroll 8") for (int o = 0; o < OB; o++)                                                                \
            w[o] = load(u + 16 * o);                                                                                        \
        _Pragma("GCC unroll 32") for (int j = 0; j < PX; j++)                                                               \
            _Pragma("GCC unroll 8") for (int o = 0; o < OB; o++)                                                            \
                acc[j][o] += v[j * vt + c] * w[o];                                                                          \
    }                                                                                                                       \
    _Pragma("GCC unroll 32") for (int j = 0; j < PX; j++)                                                                   \
        _Pragma("GCC unroll 8") for (int o = 0; o < OB; o++)                                                                \
            store(m + j * mt + 16 * o, acc[j][o]);                                                                          \
}
/* All tiles; what is left by a last step that overlaps, or one by one where there are too few. */
#define GEMMS(PX, OB)                                                                                                       \
static void gemm_##OB(float *m, long mt, const float *v, long vt, const float *u, long n, long tiles)                        \
{                                                                                                                           \
    long t = 0;                                                                                                             \
    for (; t + PX <= tiles; t += PX)                                                                                        \
        gemm_##PX##_##OB(m + t * mt, mt, v + t * vt, vt, u, n);                                                             \
    if (t < tiles && tiles >= PX)                                                                                           \
        gemm_##PX##_##OB(m + (tiles - PX) * mt, mt, v + (tiles - PX) * vt, vt, u, n);                                       \
    else                                                                                                                    \
        for (; t < tiles; t++)                                                                                              \
            gemm_1_##OB(m + t * mt, mt, v + t * vt, vt, u, n);                                                              \
}

#if defined(__AVX512F__)
enum { GROUP = 4 };
GEMM(1, 1) GEMM(1, 2) GEMM(1, 3) GEMM(1, 4) GEMM(24, 1) GEMM(12, 2) GEMM(8, 3) GEMM(6, 4)
GEMMS(24, 1) GEMMS(12, 2) GEMMS(8, 3) GEMMS(6, 4)
#define GEMM_OF(ob) (ob == 1 ? gemm_1 : ob == 2 ? gemm_2 : ob == 3 ? gemm_3 : gemm_4)
#elif defined(__AVX2__)
enum { GROUP = 1 };
GEMM(1, 1) GEMM(6, 1)
GEMMS(6, 1)
#define GEMM_OF(ob) gemm_1
#else
enum { GROUP = 1 };
GEMM(1, 1) GEMM(3, 1)
GEMMS(3, 1)
#define GEMM_OF(ob) gemm_1
#endif

/* Where tile i lies: y, x of its first output. Neighbours of one interleaved image lie d pixels apart. */
struct place { long y, x; };
static struct place place(const wino_conv *c, long i)
{
    long d = c->dilation, columns = d * (((c->w + d - 1) / d + 3) / 4), r = i / columns, k = i % columns;
    return (struct place){ r / d * 4 * d + r % d, k / d * 4 * d + k % d };
}

/* A tile that leaves map and halo: what is outside counts as zero; no output that is kept reads it. */
static void tile_edge(float *to, long apart, const wino_conv *c, int s, long b, struct place at)
{
    float t[36 * 16];
    memset(t, 0, sizeof t);
    for (int i = 0; i < 36; i++) {
        long y = at.y + (i / 6 - 1) * c->dilation, x = at.x + (i % 6 - 1) * c->dilation;
        if (y >= -c->halo && y < c->h + c->halo && x >= -c->halo && x < c->w + c->halo)
            memcpy(t + 16 * i, c->in[s].data + b * c->in[s].block + y * c->in[s].row + x * 16, 16 * sizeof *t);
    }
    tile_in(to, apart, t, 6 * 16, 16);
}

/* A 64-byte line more, so that the 36 matrices do not all fall on the same lines of the first-level cache. */
static long apart_of(long channels) { return WINO_TILES * channels + 16; }

static void piece(const wino_conv *c, long first, long tiles, float *scratch)
{
    long vt = c->wide, mt = 16 * c->blocks, va = apart_of(vt), ma = apart_of(mt), d = c->dilation;
    float *v = scratch, *m = v + 36 * va;
    for (long t = 0; t < tiles; t++) {
        struct place at = place(c, first + t);
        bool inside = at.y - d >= -c->halo && at.y + 4 * d < c->h + c->halo && at.x - d >= -c->halo && at.x + 4 * d < c->w + c->halo;
        float *to = v + t * vt;                  /* channels of the inputs follow each other: unused lanes are written over */
        for (int s = 0; s < c->segments; to += c->in[s++].c)
            for (long b = 0; 16 * b < c->in[s].c; b++) {
                const float *p = c->in[s].data + b * c->in[s].block + (at.y - d) * c->in[s].row + (at.x - d) * 16;
                if (inside)
                    tile_in(to + 16 * b, va, p, d * c->in[s].row, d * 16);
                else
                    tile_edge(to + 16 * b, va, c, s, b, at);
            }
    }
    for (int i = 0; i < 36; i++) {
        const float *u = c->u + i * c->ins * 16 * c->blocks;
        for (long b = 0; b < c->blocks; b += GROUP) {
            long ob = c->blocks - b < GROUP ? c->blocks - b : GROUP;
            GEMM_OF(ob)(m + i * ma + 16 * b, mt, v + i * va, vt, u, c->ins, tiles);
            u += c->ins * 16 * ob;
        }
    }
    for (long t = 0; t < tiles; t++) {
        struct place at = place(c, first + t);
        bool inside = at.y + 3 * d < c->h && at.x + 3 * d < c->w;
        for (long b = 0; b < c->blocks; b++) {
            float *to = c->out + b * c->out_block + at.y * c->out_row + at.x * 16, y[16 * 16];
            tile_out(m + t * mt + 16 * b, ma, c->bias + 16 * b, c->act, c->slope, inside ? to : y, inside ? d * c->out_row : 4 * 16, inside ? d * 16 : 16);
            for (int i = 0; i < 16 && !inside; i++)
                if (at.y + i / 4 * d < c->h && at.x + i % 4 * d < c->w)
                    memcpy(to + i / 4 * d * c->out_row + i % 4 * d * 16, y + 16 * i, 16 * sizeof *y);
        }
    }
}

const wino_kern NAME(KR_LEVEL) = { GROUP, piece };
