/* winokern.c: Winograd's convolution: the weights of a layer transformed into a scratch (that of all layers together would be four
 * times the network; a transform costs less than reading its result from memory), then a piece of some tiles through its three steps
 * while everything stays in the second-level cache: all input channels into 36 small matrices V (tiles x channels), 36 products
 * M = V U, and out with bias and activation. A dilation d makes d x d interleaved images, whose tiles take every d-th pixel. Each
 * output depends on its tile alone, so that the division into pieces does not show. Built for x86-64, x86-64-v3 (AVX2) and v4
 * (AVX-512); and, where the compiler knows AVX512-BF16, with V and U in bfloat16, sums in float. */
#define KR_LOOSE
#include "winokern.h"
#include "vector.h"
#include <string.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define JOIN(a, b) a##b
#define NAME(level) JOIN(wino_kern_, level)
#define UNROLL _Pragma("GCC unroll 36")

INLINE vf positive(vf v) { return (vf)((v > (vf){ 0 }) & (vi)v); }

/* Points 0, a, -a, b, -b, infinity. */
#define A 0.625f
#define B 1.5f

/* The half of a block: where a last block has at most 8 channels, nothing is done for its upper lanes. */
enum { HL = VL < 8 ? VL : 8, PARTS = 16 / VL, HALVES = 8 / HL };         /* registers of a block, of a half */
typedef float vh __attribute__((vector_size(4 * HL), aligned(4)));
typedef int vhi __attribute__((vector_size(4 * HL), aligned(4)));
INLINE vh get_half(const float *p) { return *(const vh *)(const void *)p; }
INLINE void put_half(float *p, vh v) { *(vh *)(void *)p = v; }
/* A pixel of the output: all lanes are written, those that are not used with 0. */
INLINE void pixel(float *p, vf v) { put(p, v); }
INLINE void pixel_half(float *p, vh v) { put_half(p, v); put_half(p + 8, (vh){ 0 }); }
INLINE vh positive_half(vh v) { return (vh)((v > (vh){ 0 }) & (vhi)v); }

/* B^T d along one line: rows of B^T are the coefficients of prod (x - p) over all points but one.
 * A^T m along one line: powers of the points. */
#define LINES(V, kind)                                                                                                      \
INLINE void line_in##kind(V v[6], V d0, V d1, V d2, V d3, V d4, V d5)                                                       \
{                                                                                                                           \
    V ea = d4 - B * B * d2, oa = d3 - B * B * d1, eb = d4 - A * A * d2, ob = d3 - A * A * d1;                               \
    v[0] = d4 - (A * A + B * B) * d2 + A * A * B * B * d0;                                                                  \
    v[1] = ea + A * oa;                                                                                                     \
    v[2] = ea - A * oa;                                                                                                     \
    v[3] = eb + B * ob;                                                                                                     \
    v[4] = eb - B * ob;                                                                                                     \
    v[5] = d5 - (A * A + B * B) * d3 + A * A * B * B * d1;                                                                  \
}                                                                                                                           \
INLINE void line_out##kind(V y[4], V m0, V m1, V m2, V m3, V m4, V m5)                                                      \
{                                                                                                                           \
    V sa = m1 + m2, da = m1 - m2, sb = m3 + m4, db = m3 - m4;                                                               \
    y[0] = m0 + (sa + sb);                                                                                                  \
    y[1] = A * da + B * db;                                                                                                 \
    y[2] = A * A * sa + B * B * sb;                                                                                         \
    y[3] = m5 + A * A * A * da + B * B * B * db;                                                                            \
}
LINES(vf, ) LINES(vh, _half)

/* ---- Numbers of V and U ---- */
#if defined(__AVX512BF16__)
typedef uint16_t num;
enum { PAIR = 2 };                   /* channels of U that lie together: their products are added in one instruction */
INLINE void keep(num *to, vf v)
{
    __m256bh half = _mm512_cvtneps_pbh((__m512)v);
    memcpy(to, &half, sizeof half);
}
INLINE void keep_half(num *to, vh v)
{
    __m128bh half = _mm256_cvtneps_pbh((__m256)v);
    memcpy(to, &half, sizeof half);
}
INLINE void keep_weights(num *to, vf u[PAIR][36], int k)
{
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)u[1][k], (__m512)u[0][k]);      /* all of one, all of the other: in turn */
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(turns, both));
}
typedef __m512bh factor;
typedef __m256bh factor_half;
INLINE factor weights_at(const num *u) { return (__m512bh)_mm512_loadu_si512(u); }
INLINE factor_half weights_half(const num *u) { return (__m256bh)_mm256_loadu_si256((const void *)u); }
INLINE int32_t pair_at(const num *v)
{
    int32_t pair;
    memcpy(&pair, v, sizeof pair);
    return pair;
}
INLINE vf add_product(vf sum, const num *v, factor w) { return (vf)_mm512_dpbf16_ps((__m512)sum, w, (__m512bh)_mm512_set1_epi32(pair_at(v))); }
INLINE vh add_half(vh sum, const num *v, factor_half w) { return (vh)_mm256_dpbf16_ps((__m256)sum, w, (__m256bh)_mm256_set1_epi32(pair_at(v))); }
#else
typedef float num;
enum { PAIR = 1 };
INLINE void keep(num *to, vf v) { put(to, v); }
INLINE void keep_half(num *to, vh v) { put_half(to, v); }
INLINE void keep_weights(num *to, vf u[PAIR][36], int k) { put(to, u[0][k]); }
typedef vf factor;
typedef vh factor_half;
INLINE factor weights_at(const num *u) { return get(u); }
INLINE factor_half weights_half(const num *u) { return get_half(u); }
INLINE vf add_product(vf sum, const num *v, factor w) { return sum + *v * w; }
INLINE vh add_half(vh sum, const num *v, factor_half w) { return sum + *v * w; }
#endif

/* ---- The weights: U = G g G^T ---- */
/* G: row j is (1, p, p^2) / prod (p - q) over the other finite points q; the last row, of the point at infinity, (0, 0, 1). */
#define OF_A (1 / (2 * A * A * (A * A - B * B)))
#define OF_B (1 / (2 * B * B * (B * B - A * A)))
INLINE void line_weights(vf u[6], vf g0, vf g1, vf g2)
{
    vf ea = OF_A * (g0 + A * A * g2), oa = OF_A * A * g1, eb = OF_B * (g0 + B * B * g2), ob = OF_B * B * g1;
    u[0] = 1 / (A * A * B * B) * g0;
    u[1] = ea + oa;
    u[2] = ea - oa;
    u[3] = eb + ob;
    u[4] = eb - ob;
    u[5] = g2;
}

/* Sixteen outputs of one input channel; g: its first weight, taps `apart` floats apart. */
INLINE void kernel(vf u[36], const float *g, long apart)
{
    vf t[3][6];
    UNROLL for (int x = 0; x < 3; x++)
        line_weights(t[x], get(g + x * apart), get(g + (3 + x) * apart), get(g + (6 + x) * apart));
    UNROLL for (int y = 0; y < 6; y++)
        line_weights(u + 6 * y, t[0][y], t[1][y], t[2][y]);
}

enum { GROUP =                      /* at most WINO_GROUP */
#if defined(__AVX512F__)
    4
#else
    1
#endif
};

/* Where the weights of input channel c stand among those of a group of `ob` blocks, and how far its taps are apart. */
static const float *taps_of(const wino_conv *w, const float *group, long c, long ob, long *apart)
{
    long first = 0;
    int s = 0;
    while (c >= first + w->in[s].c)
        first += w->in[s++].c;
    long block = (c - first) / 16 * 16, n = w->in[s].c - block < 16 ? w->in[s].c - block : 16;
    *apart = n * 16 * ob;
    return group + ((first + block) * 9 + c - first - block) * 16 * ob;
}

/* Input channels first ... end - 1 and `ob` blocks from `from` on: [36][input channel, or pair][block][16], the 36 `step` numbers apart. */
static void some_weights(const wino_conv *c, long from, long ob, long first, long end, num *u, long step)
{
    const float *group = c->weight + from * 16 * c->ins * 9;
    for (long i = first; i < end; i += PAIR)
        for (long b = 0; b < ob; b++) {
            num *to = u + 16 * ((i - first) * ob + b * PAIR);
            for (int q = 0; q < 16; q += VL, to += VL) {
                vf t[PAIR][36];
                for (int p = 0; p < PAIR; p++) {
                    long apart;
                    const float *g = taps_of(c, group, i + p, ob, &apart) + 16 * b + q;
                    kernel(t[p], g, apart);
                }
                for (int k = 0; k < 36; k++)
                    keep_weights(to + k * step, t, k);
            }
        }
}

/* Sixteen input channels and one group of blocks of [36][group][input channel, or pair][block][16] */
static void weights(const wino_conv *c, long unit)
{
    long chunks = (c->ins + 15) / 16, from = unit / chunks * GROUP, ob = c->blocks - from < GROUP ? c->blocks - from : GROUP;
    long first = unit % chunks * 16, end = first + 16 < c->ins ? first + 16 : c->ins;
    some_weights(c, from, ob, first, end, (num *)c->u + 16 * from * c->ins + 16 * first * ob, 16 * c->blocks * c->ins);
}

/* ---- Tiles ---- */
/* tile_in: 6x6 pixels of one block of channels, row and column floats apart, to 36 places `apart` numbers apart.
 * tile_out: sums (NULL: not wanted): the outputs, and their squares, are added. Calls of their own: inside the loop over tiles a
 * compiler keeps each of the 36 addresses on the stack. */
#define TILES(V, kind, N)                                                                                                   \
static __attribute__((noinline)) void tile_in##kind(num *to, long apart, const float *p, long row, long column)             \
{                                                                                                                           \
    enum { LANES = sizeof(V) / sizeof(float) };                                                                             \
    for (int n = 0; n < N; n++, to += LANES, p += LANES) {                                                                  \
        V t[6][6];                                                                                                          \
        UNROLL for (int x = 0; x < 6; x++) {                                                                                \
            const float *q = p + x * column;                                                                                \
            line_in##kind(t[x], get##kind(q), get##kind(q + row), get##kind(q + 2 * row), get##kind(q + 3 * row),           \
                          get##kind(q + 4 * row), get##kind(q + 5 * row));                                                  \
        }                                                                                                                   \
        UNROLL for (int y = 0; y < 6; y++) {                                                                                \
            V v[6];                                                                                                         \
            line_in##kind(v, t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]);                                         \
            UNROLL for (int x = 0; x < 6; x++)                                                                              \
                keep##kind(to + (6 * y + x) * apart, v[x]);                                                                 \
        }                                                                                                                   \
    }                                                                                                                       \
}                                                                                                                           \
static __attribute__((noinline)) void tile_out##kind(const float *m, long apart, const float *bias, enum kr_act act, float slope,\
                                                     float *to, long row, long column, float *sums)                         \
{                                                                                                                           \
    enum { LANES = sizeof(V) / sizeof(float) };                                                                             \
    for (int n = 0; n < N; n++, m += LANES, bias += LANES, to += LANES) {                                                   \
        V t[6][4], b = get##kind(bias), sum = { 0 }, square = { 0 };                                                        \
        UNROLL for (int x = 0; x < 6; x++) {                                                                                \
            const float *q = m + x * apart;                                                                                 \
            line_out##kind(t[x], get##kind(q), get##kind(q + 6 * apart), get##kind(q + 12 * apart), get##kind(q + 18 * apart),\
                           get##kind(q + 24 * apart), get##kind(q + 30 * apart));                                           \
        }                                                                                                                   \
        UNROLL for (int y = 0; y < 4; y++) {                                                                                \
            V v[4];                                                                                                         \
            line_out##kind(v, t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]);                                        \
            UNROLL for (int x = 0; x < 4; x++) {                                                                            \
                V s = v[x] + b;                                                                                             \
                s = act == KR_ACT_NONE ? s : act == KR_ACT_RELU ? positive##kind(s) : positive##kind(s) - slope * positive##kind(-s);\
                pixel##kind(to + y * row + x * column, s);                                                                  \
                sum += s;                                                                                                   \
                square += s * s;                                                                                            \
            }                                                                                                               \
        }                                                                                                                   \
        if (sums) {                                                                                                         \
            put##kind(sums + n * LANES, get##kind(sums + n * LANES) + sum);                                                 \
            put##kind(sums + 16 + n * LANES, get##kind(sums + 16 + n * LANES) + square);                                    \
        }                                                                                                                   \
    }                                                                                                                       \
}
TILES(vf, , PARTS) TILES(vh, _half, HALVES)

/* ---- Products ---- */
/* m[t][...] = (more: +=) sum over c of v[t][c] u[c][...] for PX tiles, OB whole blocks and HALF (0 or 1) of a half, which takes a whole place. */
#define GEMM(PX, OB, HALF)                                                                                                  \
INLINE void gemm_##PX##_##OB##_##HALF(float *m, long mt, const num *v, long vt, const num *u, long n, bool more)            \
{                                                                                                                           \
    vf acc[PX][PARTS * OB + 1];                                                                                             \
    vh last[PX][HALVES];                                                                                                    \
    UNROLL for (int j = 0; j < PX; j++) {                                                                                   \
        UNROLL for (int o = 0; o < HALVES * HALF; o++)                                                                      \
            last[j][o] = more ? get_half(m + j * mt + 16 * OB + HL * o) : (vh){ 0 };                                        \
        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                         \
            acc[j][o] = more ? get(m + j * mt + VL * o) : (vf){ 0 };                                                        \
    }                                                                                                                       \
    for (long c = 0; c < n; c += PAIR, u += 16 * PAIR * (OB + HALF)) {                                                      \
        factor w[PARTS * OB + 1];                                                                                           \
        factor_half h[HALVES];                                                                                              \
        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                         \
            w[o] = weights_at(u + VL * PAIR * o);                                                                           \
        UNROLL for (int o = 0; o < HALVES * HALF; o++)                                                                      \
            h[o] = weights_half(u + 16 * PAIR * OB + HL * PAIR * o);                                                        \
        UNROLL for (int j = 0; j < PX; j++) {                                                                               \
            UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                     \
                acc[j][o] = add_product(acc[j][o], v + j * vt + c, w[o]);                                                   \
            UNROLL for (int o = 0; o < HALVES * HALF; o++)                                                                  \
                last[j][o] = add_half(last[j][o], v + j * vt + c, h[o]);                                                    \
        }                                                                                                                   \
    }                                                                                                                       \
    UNROLL for (int j = 0; j < PX; j++) {                                                                                   \
        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                         \
            put(m + j * mt + VL * o, acc[j][o]);                                                                            \
        UNROLL for (int o = 0; o < HALVES * HALF; o++)                                                                      \
            put_half(m + j * mt + 16 * OB + HL * o, last[j][o]);                                                            \
    }                                                                                                                       \
}
/* All tiles; what is left by a last step that overlaps where nothing is added to, or by fewer at a time. */
#define GEMMS(PX, FEW, OB, HALF)                                                                                            \
GEMM(1, OB, HALF) GEMM(FEW, OB, HALF) GEMM(PX, OB, HALF)                                                                    \
static void gemm_##OB##_##HALF(float *m, long mt, const num *v, long vt, const num *u, long n, long tiles, bool more)       \
{                                                                                                                           \
    long t = 0;                                                                                                             \
    for (; t + PX <= tiles; t += PX)                                                                                        \
        gemm_##PX##_##OB##_##HALF(m + t * mt, mt, v + t * vt, vt, u, n, more);                                              \
    if (t < tiles && tiles >= PX && !more) {                                                                                \
        gemm_##PX##_##OB##_##HALF(m + (tiles - PX) * mt, mt, v + (tiles - PX) * vt, vt, u, n, false);                       \
        return;                                                                                                             \
    }                                                                                                                       \
    for (; t + FEW <= tiles; t += FEW)                                                                                      \
        gemm_##FEW##_##OB##_##HALF(m + t * mt, mt, v + t * vt, vt, u, n, more);                                             \
    for (; t < tiles; t++)                                                                                                  \
        gemm_1_##OB##_##HALF(m + t * mt, mt, v + t * vt, vt, u, n, more);                                                   \
}

typedef void gemm(float *m, long mt, const num *v, long vt, const num *u, long n, long tiles, bool more);
#if defined(__AVX512F__)
GEMMS(24, 4, 1, 0) GEMMS(12, 4, 2, 0) GEMMS(8, 4, 3, 0) GEMMS(6, 4, 4, 0) GEMMS(24, 4, 0, 1) GEMMS(12, 4, 1, 1) GEMMS(8, 4, 2, 1) GEMMS(6, 4, 3, 1)
static gemm *const gemms[2][5] = { { NULL, gemm_1_0, gemm_2_0, gemm_3_0, gemm_4_0 }, { NULL, gemm_0_1, gemm_1_1, gemm_2_1, gemm_3_1 } };
#elif defined(__AVX2__)
GEMMS(6, 4, 1, 0) GEMMS(12, 4, 0, 1)
static gemm *const gemms[2][2] = { { NULL, gemm_1_0 }, { NULL, gemm_0_1 } };
#else
GEMMS(3, 2, 1, 0) GEMMS(6, 4, 0, 1)
static gemm *const gemms[2][2] = { { NULL, gemm_1_0 }, { NULL, gemm_0_1 } };
#endif

/* Where tile i lies: y, x of its first output. Neighbours of one interleaved image lie d pixels apart. */
struct place { long y, x; };
static struct place place(const wino_conv *c, long i)
{
    long d = c->dilation, columns = d * (((c->w + d - 1) / d + 3) / 4), r = i / columns, k = i % columns;
    return (struct place){ r / d * 4 * d + r % d, k / d * 4 * d + k % d };
}

/* A tile that leaves map and halo: what is outside counts as zero; no output that is kept reads it. */
static void tile_edge(num *to, long apart, const wino_conv *c, int s, long b, bool half, struct place at)
{
    float t[36 * 16];
    memset(t, 0, sizeof t);
    for (int i = 0; i < 36; i++) {
        long y = at.y + (i / 6 - 1) * c->dilation, x = at.x + (i % 6 - 1) * c->dilation;
        if (y >= -c->halo && y < c->h + c->halo && x >= -c->halo && x < c->w + c->halo)
            memcpy(t + 16 * i, c->in[s].data + b * c->in[s].block + y * c->in[s].row + x * 16, 16 * sizeof *t);
    }
    (half ? tile_in_half : tile_in)(to, apart, t, 6 * 16, 16);
}

/* A tile of which some outputs lie outside the map: only the others are kept. */
static void tile_cut(const wino_conv *c, const float *m, long apart, long b, bool half, float *to, struct place at, float *sums)
{
    float y[16 * 16];
    if (half)
        memset(y, 0, sizeof y);
    (half ? tile_out_half : tile_out)(m, apart, c->bias + 16 * b, c->act, c->slope, y, 4 * 16, 16, NULL);
    for (int i = 0; i < 16; i++)
        if (at.y + i / 4 * c->dilation < c->h && at.x + i % 4 * c->dilation < c->w) {
            for (int l = 0; l < 16; l += VL) {
                vf v = get(y + 16 * i + l);
                put(to + i / 4 * c->dilation * c->out_row + i % 4 * c->dilation * 16 + l, v);
                if (sums) {
                    put(sums + l, get(sums + l) + v);
                    put(sums + 16 + l, get(sums + 16 + l) + v * v);
                }
            }
        }
}

static void tiles_in(const wino_conv *c, long first, long tiles, num *v, long va)
{
    long d = c->dilation;
    for (long t = 0; t < tiles; t++) {
        struct place at = place(c, first + t);
        bool inside = at.y - d >= -c->halo && at.y + 4 * d < c->h + c->halo && at.x - d >= -c->halo && at.x + 4 * d < c->w + c->halo;
        num *to = v + t * c->wide;               /* channels of the inputs follow each other: unused lanes are written over */
        for (int s = 0; s < c->segments; to += c->in[s++].c)
            for (long b = 0; 16 * b < c->in[s].c; b++) {
                const float *p = c->in[s].data + b * c->in[s].block + (at.y - d) * c->in[s].row + (at.x - d) * 16;
                bool half = c->in[s].c - 16 * b <= 8;
                if (inside)
                    (half ? tile_in_half : tile_in)(to + 16 * b, va, p, d * c->in[s].row, d * 16);
                else
                    tile_edge(to + 16 * b, va, c, s, b, half, at);
            }
    }
}

/* Blocks from ... from + ob - 1 of the outputs, of which alone m and sums are. */
static void tiles_out(const wino_conv *c, long first, long tiles, long from, long ob, const float *m, long ma, float *sums)
{
    long d = c->dilation;
    for (long t = 0; t < tiles; t++) {
        struct place at = place(c, first + t);
        bool inside = at.y + 3 * d < c->h && at.x + 3 * d < c->w;
        for (long k = 0, b = from; k < ob; k++, b++) {
            const float *of = m + (t * ob + k) * 16;
            float *to = c->out + b * c->out_block + at.y * c->out_row + at.x * 16, *add = sums ? sums + WINO_SUMS * k : NULL;
            bool half = c->half && b == c->blocks - 1;
            if (inside)
                (half ? tile_out_half : tile_out)(of, ma, c->bias + 16 * b, c->act, c->slope, to, d * c->out_row, d * 16, add);
            else
                tile_cut(c, of, ma, b, half, to, at, add);
        }
    }
}

static void piece(const wino_conv *c, long first, long tiles, float *scratch, float *sums)
{
    long va = wino_apart(c->wide), mt = 16 * c->blocks, ma = wino_apart(mt);
    float *m = scratch;
    num *v = (num *)(void *)(m + 36 * ma);
    tiles_in(c, first, tiles, v, va);
    for (int i = 0; i < 36; i++) {
        const num *u = (const num *)c->u + i * c->ins * 16 * c->blocks;
        for (long b = 0; b < c->blocks; b += GROUP) {
            long ob = c->blocks - b < GROUP ? c->blocks - b : GROUP;
            gemms[c->half && b + ob == c->blocks][ob](m + i * ma + 16 * b, mt, v + i * va, c->wide, u, c->ins, tiles, false);
            u += c->ins * 16 * ob;
        }
    }
    if (sums)
        memset(sums, 0, (size_t)(WINO_SUMS * c->blocks) * sizeof *sums);
    tiles_out(c, first, tiles, 0, c->blocks, m, ma, sums);
}

static void few_in(const wino_conv *c, long first, long tiles, float *v) { tiles_in(c, first, tiles, (num *)(void *)v + first * c->wide, wino_apart(c->wide)); }

static void few_out(const wino_conv *c, long unit, long tiles, const float *v, float *scratch, float *sums)
{
    long from = unit * GROUP, ob = c->blocks - from < GROUP ? c->blocks - from : GROUP, va = wino_apart(c->wide), mt = 16 * ob, ma = wino_apart(mt), step = 16 * mt + 16;
    float *m = scratch;
    num *u = (num *)(void *)(m + 36 * ma);
    for (long i = 0; i < c->ins; i += 16) {
        long n = c->ins - i < 16 ? c->ins - i : 16;
        some_weights(c, from, ob, i, i + n, u, step);
        for (int k = 0; k < 36; k++)
            gemms[c->half && from + ob == c->blocks][ob](m + k * ma, mt, (const num *)(const void *)v + k * va + i, c->wide, u + k * step, n, tiles, i > 0);
    }
    if (sums)
        memset(sums, 0, (size_t)(WINO_SUMS * ob) * sizeof *sums);
    tiles_out(c, 0, tiles, from, ob, m, ma, sums);
}

/* ---- The gradient of the weights: dg = G^T (sum over the tiles of V x (A dy A^T)) G, 36 products instead of 144, too ---- */
#if defined(__AVX512BF16__)
const wino_kern NAME(KR_LEVEL) = { GROUP, sizeof(num), weights, piece, few_in, few_out, NULL, NULL };
#else
INLINE void line_slopes(vf m[6], vf y0, vf y1, vf y2, vf y3)
{
    vf ea = y0 + A * A * y2, oa = A * (y1 + A * A * y3), eb = y0 + B * B * y2, ob = B * (y1 + B * B * y3);
    m[0] = y0;
    m[1] = ea + oa;
    m[2] = ea - oa;
    m[3] = eb + ob;
    m[4] = eb - ob;
    m[5] = y3;
}

static __attribute__((noinline)) void tile_slopes(float *to, long apart, const float *p, long row, long column)
{
    for (int l = 0; l < 16; l += VL, to += VL, p += VL) {
        vf t[4][6];
        UNROLL for (int x = 0; x < 4; x++) {
            const float *q = p + x * column;
            line_slopes(t[x], get(q), get(q + row), get(q + 2 * row), get(q + 3 * row));
        }
        UNROLL for (int y = 0; y < 6; y++) {
            vf m[6];
            line_slopes(m, t[0][y], t[1][y], t[2][y], t[3][y]);
            UNROLL for (int x = 0; x < 6; x++)
                put(to + (6 * y + x) * apart, m[x]);
        }
    }
}

/* Tiles of what the outputs got, c->dy; outputs outside of the map got nothing. */
static void tiles_slopes(const wino_conv *c, long first, long tiles, float *m, long ma)
{
    long d = c->dilation;
    for (long t = 0; t < tiles; t++) {
        struct place at = place(c, first + t);
        for (long b = 0; b < c->blocks; b++) {
            const float *p = c->dy + b * c->dy_block + at.y * c->dy_row + at.x * 16;
            float *to = m + (t * c->blocks + b) * 16, cut[16 * 16] = { 0 };
            if (at.y + 3 * d < c->h && at.x + 3 * d < c->w) {
                tile_slopes(to, ma, p, d * c->dy_row, d * 16);
                continue;
            }
            for (int i = 0; i < 16; i++)
                if (at.y + i / 4 * d < c->h && at.x + i % 4 * d < c->w)
                    memcpy(cut + 16 * i, p + i / 4 * d * c->dy_row + i % 4 * d * 16, 16 * sizeof *cut);
            tile_slopes(to, ma, cut, 4 * 16, 16);
        }
    }
}

static void points(const wino_conv *c, long first, long tiles, float *v, float *m)
{
    tiles_in(c, first, tiles, v, wino_apart(c->wide));
    tiles_slopes(c, first, tiles, m, wino_apart(16 * c->blocks));
}

/* sum[i][o] = sum over the tiles of v[t][i] m[t][o] for N inputs and P registers of outputs. */
#define OUTER(N, P)                                                                                                         \
INLINE void outer_##N##_##P(float *sum, const float *v, long vt, const float *m, long mt, long tiles)                       \
{                                                                                                                           \
    vf acc[N][P];                                                                                                           \
    UNROLL for (int i = 0; i < N; i++)                                                                                      \
        UNROLL for (int o = 0; o < P; o++)                                                                                  \
            acc[i][o] = (vf){ 0 };                                                                                          \
    for (long t = 0; t < tiles; t++, v += vt, m += mt) {                                                                    \
        vf d[P];                                                                                                            \
        UNROLL for (int o = 0; o < P; o++)                                                                                  \
            d[o] = get(m + VL * o);                                                                                         \
        UNROLL for (int i = 0; i < N; i++)                                                                                  \
            UNROLL for (int o = 0; o < P; o++)                                                                              \
                acc[i][o] += v[i] * d[o];                                                                                   \
    }                                                                                                                       \
    UNROLL for (int i = 0; i < N; i++)                                                                                      \
        UNROLL for (int o = 0; o < P; o++)                                                                                  \
            put(sum + 16 * i + VL * o, acc[i][o]);                                                                          \
}
#define OUTERS(P, MANY, FEW)                                                                                                \
OUTER(MANY, P) OUTER(FEW, P)                                                                                                \
static void outer_##P(float *sum, const float *v, long vt, const float *m, long mt, long tiles, long n)                     \
{                                                                                                                           \
    for (long i = 0; i < n; i += MANY)                                                                                      \
        (n - i <= FEW ? outer_##FEW##_##P : outer_##MANY##_##P)(sum + 16 * i, v + i, vt, m, mt, tiles);                     \
}
#if defined(__AVX512F__)
OUTERS(1, 16, 4)
#define outer_whole outer_1
#define outer_half outer_1
#elif defined(__AVX2__)
OUTERS(1, 8, 4) OUTERS(2, 6, 4)      /* 16 = 6 + 6 + 4 */
#define outer_whole outer_2
#define outer_half outer_1
#else
OUTERS(2, 4, 2) OUTERS(4, 2, 1)
#define outer_whole outer_4
#define outer_half outer_2
#endif

INLINE void line_taps(vf g[3], vf u0, vf u1, vf u2, vf u3, vf u4, vf u5)
{
    vf sa = OF_A * (u1 + u2), da = OF_A * (u1 - u2), sb = OF_B * (u3 + u4), db = OF_B * (u3 - u4);
    g[0] = 1 / (A * A * B * B) * u0 + (sa + sb);
    g[1] = A * da + B * db;
    g[2] = A * A * sa + B * B * sb + u5;
}

/* sum[tap][i][o] += of 16 inputs from channel `in` on, the first n of them wanted, and block `b` of outputs. */
static void gradients(const wino_conv *c, const float *v, const float *m, long tiles, long in, long n, long b, double *sum)
{
    float u[36 * 256], g[9][16];
    long va = wino_apart(c->wide), mt = 16 * c->blocks, ma = wino_apart(mt);
    bool half = c->half && b == c->blocks - 1;
    for (int k = 0; k < 36; k++)
        (half ? outer_half : outer_whole)(u + 256 * k, v + k * va + in, c->wide, m + k * ma + 16 * b, mt, tiles, n);
    for (long i = 0; i < n; i++) {
        for (int l = 0; l < (half ? 8 : 16); l += VL) {
            vf t[6][3];
            const float *at = u + 16 * i + l;
            UNROLL for (int x = 0; x < 6; x++)
                line_taps(t[x], get(at + 256 * x), get(at + 256 * (6 + x)), get(at + 256 * (12 + x)), get(at + 256 * (18 + x)), get(at + 256 * (24 + x)), get(at + 256 * (30 + x)));
            UNROLL for (int y = 0; y < 3; y++) {
                vf r[3];
                line_taps(r, t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]);
                UNROLL for (int x = 0; x < 3; x++)
                    put(g[3 * y + x] + l, r[x]);
            }
        }
        for (int tap = 0; tap < 9; tap++)
            for (int o = 0; o < (half ? 8 : 16); o++)
                sum[256 * tap + 16 * i + o] += (double)g[tap][o];
    }
}

const wino_kern NAME(KR_LEVEL) = { GROUP, sizeof(num), weights, piece, few_in, few_out, points, gradients };
#endif
