/* nnkern.c: convolution as sums of outer products that stay in registers: PX pixels times OB blocks of 16 output channels;
 * each input number is broadcast, each vector of weights used for all PX pixels. At 3x3, 64 to 64 channels this runs at the
 * speed of the processor's multiply-add units (AVX-512: 110 of 112 GFLOP/s on one core of the machine it was tuned on).
 * Built for x86-64, x86-64-v3 (AVX2) and v4 (AVX-512). */
#define KR_LOOSE
#include "nnkern.h"
#include "vector.h"
#include "vexp.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define JOIN(a, b) a##b
#define NAME(level) JOIN(nn_kern_, level)
#define UNROLL _Pragma("GCC unroll 32")

enum { PARTS = 16 / VL };            /* registers of a block of channels */

INLINE vf positive(vf v) { return (vf)((v > (vf){ 0 }) & (vi)v); }
INLINE vf activate(vf v, enum kr_act act, float slope)
{
    return act == KR_ACT_NONE ? v : act == KR_ACT_RELU ? positive(v) : positive(v) - slope * positive(-v);
}

/* One tile of PX pixels and OB blocks. The arrays have constant sizes and all loops over them unroll, so that they are
 * registers. */
#define TILE(PX, OB)                                                                                                        \
INLINE void tile_##PX##_##OB(const conv_row *r, long x)                                                                     \
{                                                                                                                           \
    vf acc[PX][PARTS * OB];                                                                                                 \
    const float *w = r->w;                                                                                                  \
    UNROLL for (int j = 0; j < PX; j++)                                                                                     \
        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                         \
            acc[j][o] = r->bias ? get(r->bias + VL * o) : (vf){ 0 };                                                        \
    for (int s = 0; s < r->segments; s++)                                                                                   \
        for (int b = 0; 16 * b < r->in[s].c; b++) {                                                                         \
            int n = r->in[s].c - 16 * b < 16 ? r->in[s].c - 16 * b : 16;                                                    \
            for (int ky = 0; ky < r->k; ky++)                                                                               \
                for (int kx = 0; kx < r->k; kx++) {                                                                         \
                    const float *p = r->in[s].data + b * r->in[s].block + ky * r->dilation * r->in[s].row                   \
                                   + (x + kx * r->dilation) * 16;                                                           \
                    for (int i = 0; i < n; i++, w += 16 * OB) {                                                             \
                        vf v[PARTS * OB];                                                                                   \
                        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                         \
                            v[o] = get(w + VL * o);                                                                         \
                        UNROLL for (int j = 0; j < PX; j++)                                                                 \
                            UNROLL for (int o = 0; o < PARTS * OB; o++)                                                     \
                                acc[j][o] += p[16 * j + i] * v[o];                                                          \
                    }                                                                                                       \
                }                                                                                                           \
        }                                                                                                                   \
    UNROLL for (int j = 0; j < PX; j++)                                                                                     \
        UNROLL for (int o = 0; o < PARTS * OB; o++)                                                                         \
            put(r->out + (x + j) * r->step + o / PARTS * r->out_block + o % PARTS * VL, activate(acc[j][o], r->act, r->slope));\
}

/* A row in tiles; what is left is done by a last tile that overlaps, or pixel by pixel in a row shorter than a tile. */
#define ROW(tile, PX, N)                                                                                                    \
static void tile##_row_##N(const conv_row *r)                                                                               \
{                                                                                                                           \
    long x = 0;                                                                                                             \
    for (; x + PX <= r->px; x += PX)                                                                                        \
        tile##_##PX##_##N(r, x);                                                                                            \
    if (x < r->px && r->px >= PX)                                                                                           \
        tile##_##PX##_##N(r, r->px - PX);                                                                                   \
    else                                                                                                                    \
        for (; x < r->px; x++)                                                                                              \
            tile##_1_##N(r, x);                                                                                             \
}

#if defined(__AVX512F__)
enum { GROUP = 4 };
TILE(1, 1) TILE(1, 2) TILE(1, 3) TILE(1, 4) TILE(24, 1) TILE(12, 2) TILE(8, 3) TILE(6, 4)
ROW(tile, 24, 1) ROW(tile, 12, 2) ROW(tile, 8, 3) ROW(tile, 6, 4)
static void conv(const conv_row *r, int ob)
{
    (ob == 1 ? tile_row_1 : ob == 2 ? tile_row_2 : ob == 3 ? tile_row_3 : tile_row_4)(r);
}
#elif defined(__AVX2__)
enum { GROUP = 1 };
TILE(1, 1) TILE(6, 1)
ROW(tile, 6, 1)
static void conv(const conv_row *r, int ob) { kr_assert(ob == 1); tile_row_1(r); }
#else
enum { GROUP = 1 };
TILE(1, 1) TILE(3, 1)
ROW(tile, 3, 1)
static void conv(const conv_row *r, int ob) { kr_assert(ob == 1); tile_row_1(r); }
#endif

/* Few outputs: lanes are input channels, added up across at the end: four sums at once. */
typedef float vq __attribute__((vector_size(16), aligned(4)));
INLINE vq quarters(vf v)
{
    vq q[VL / 4];
    __builtin_memcpy(q, &v, sizeof q);
#if defined(__AVX512F__)
    return (q[0] + q[2]) + (q[1] + q[3]);
#elif defined(__AVX__)
    return q[0] + q[1];
#else
    return q[0];
#endif
}
INLINE vq across(vf a, vf b, vf c, vf d)
{
    vq p = quarters(a), q = quarters(b), r = quarters(c), s = quarters(d);
    vq ab = __builtin_shufflevector(p, q, 0, 4, 1, 5) + __builtin_shufflevector(p, q, 2, 6, 3, 7);
    vq cd = __builtin_shufflevector(r, s, 0, 4, 1, 5) + __builtin_shufflevector(r, s, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}
#define THIN(PX, O)                                                                                                         \
INLINE void thin_##PX##_##O(const conv_row *r, long x)                                                                      \
{                                                                                                                           \
    vf acc[PX][O];                                                                                                          \
    const float *w = r->w;                                                                                                  \
    UNROLL for (int j = 0; j < PX; j++)                                                                                     \
        UNROLL for (int o = 0; o < O; o++)                                                                                  \
            acc[j][o] = (vf){ 0 };                                                                                          \
    for (int s = 0; s < r->segments; s++)                                                                                   \
        for (int b = 0; 16 * b < r->in[s].c; b++)                                                                           \
            for (int ky = 0; ky < r->k; ky++)                                                                               \
                for (int kx = 0; kx < r->k; kx++, w += 16 * O) {                                                            \
                    const float *p = r->in[s].data + b * r->in[s].block + ky * r->dilation * r->in[s].row                   \
                                   + (x + kx * r->dilation) * 16;                                                           \
                    for (int q = 0; q < 16; q += VL)                                                                        \
                        UNROLL for (int j = 0; j < PX; j++) {                                                               \
                            vf v = get(p + 16 * j + q);                                                                     \
                            UNROLL for (int o = 0; o < O; o++)                                                              \
                                acc[j][o] += v * get(w + 16 * o + q);                                                       \
                        }                                                                                                   \
                }                                                                                                           \
    UNROLL for (int j = 0; j < PX; j += 4)                                                                                  \
        UNROLL for (int o = 0; o < O; o++) {                                                                                \
            vq four = across(acc[j][o], acc[j + 1 < PX ? j + 1 : j][o], acc[j + 2 < PX ? j + 2 : j][o], acc[j + 3 < PX ? j + 3 : j][o]);\
            for (int i = 0; i < 4 && j + i < PX; i++) {                                                                     \
                float sum = four[i] + (r->bias ? r->bias[o] : 0), *to = r->out + (x + j + i) * r->step;                     \
                for (int q = 0; !o && q < 16; q += VL)           /* the lanes that are not used are 0 */                    \
                    put(to + q, (vf){ 0 });                                                                                 \
                to[o] = r->act == KR_ACT_NONE || sum > 0 ? sum : r->act == KR_ACT_RELU ? 0 : r->slope * sum;                \
            }                                                                                                               \
        }                                                                                                                   \
}
THIN(1, 1) THIN(1, 2) THIN(1, 3) THIN(1, 4)
#if defined(__AVX512F__)
THIN(8, 1) THIN(8, 2) THIN(8, 3) THIN(4, 4)
ROW(thin, 8, 1) ROW(thin, 8, 2) ROW(thin, 8, 3) ROW(thin, 4, 4)
#else
THIN(8, 1) THIN(4, 2) THIN(4, 3) THIN(2, 4)
ROW(thin, 8, 1) ROW(thin, 4, 2) ROW(thin, 4, 3) ROW(thin, 2, 4)
#endif
static void conv_thin(const conv_row *r, int outs)
{
    kr_assert(outs >= 1 && outs <= 4);
    (outs == 1 ? thin_row_1 : outs == 2 ? thin_row_2 : outs == 3 ? thin_row_3 : thin_row_4)(r);
}

/* Sums in double, one pixel at a time: for the few places where what follows magnifies rounding. */
static void conv_exact(const conv_row *r, int ob)
{
    for (long x = 0; x < r->px; x++)
        for (int o = 0; o < ob; o++) {
            double acc[16];
            const float *w = r->w + 16 * o;
            for (int l = 0; l < 16; l++)
                acc[l] = r->bias ? r->bias[16 * o + l] : 0;
            for (int s = 0; s < r->segments; s++)
                for (int c = 0; c < r->in[s].c; c += 16)
                    for (int t = 0; t < r->k * r->k; t++) {
                        const float *p = r->in[s].data + c / 16 * r->in[s].block + t / r->k * r->dilation * r->in[s].row
                                       + (x + t % r->k * r->dilation) * 16;
                        for (int i = 0; i < 16 && c + i < r->in[s].c; i++, w += 16 * ob)
                            for (int l = 0; l < 16; l++)
                                acc[l] += (double)p[i] * (double)w[l];
                    }
            float *out = r->out + r->step * x + o * r->out_block;
            for (int l = 0; l < 16; l++)
                out[l] = (float)(r->act == KR_ACT_NONE || acc[l] > 0 ? acc[l] : r->act == KR_ACT_RELU ? 0 : (double)r->slope * acc[l]);
        }
}

/* x, but at most `top` in size; 1 / x. A division takes as long as an exponential: the processor's estimate (14 bits) and one step of
 * Newton's give 1 / x to about an ulp. */
#if defined(__AVX512F__)
INLINE vf between(vf x, float top) { return (vf)_mm512_max_ps(_mm512_min_ps((__m512)x, _mm512_set1_ps(top)), _mm512_set1_ps(-top)); }
INLINE vf inverse(vf x)
{
    vf r = (vf)_mm512_rcp14_ps((__m512)x);
    return r * (2.f - x * r);
}
#else
INLINE vf between(vf x, float top)
{
    vi high = x > top, low = x < -top;
    return (vf)(((vi)x & ~high & ~low) | ((vi)((vf){ 0 } + top) & high) | ((vi)((vf){ 0 } - top) & low));
}
INLINE vf inverse(vf x) { return 1.f / x; }
#endif

/* e^x to about 2 ulp: x = n log 2 + f, |f| <= log(2)/2, a polynomial of degree 6 for e^f (Taylor, error 1.2e-7 f^7), and n
 * into the exponent. Adding 1.5 x 2^23 rounds to a whole number, which then stands in the low bits. */
INLINE vf expv(vf x) { return exp_within_80(between(x, 80.f)); }
INLINE vf sig(vf x) { return inverse(1.f + expv(-x)); }
/* 1 - 2 / (1 + e^2x) loses small values to the 1; below 0.625 an odd polynomial (Cephes, S. L. Moshier) keeps them. */
INLINE vf tanhv(vf x)
{
    vf far = 1.f - 2.f * inverse(1.f + expv(2.f * x)), z = x * x;
    vf near = ((((z * -5.70498872745e-3f + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z + 1.33314422036e-1f) * z - 3.33332819422e-1f) * z * x + x;
    vi small = z < 0.390625f;
    return (vf)(((vi)near & small) | ((vi)far & ~small));
}

static void sigmoid(float *v, long n)
{
    for (long i = 0; i < n; i += VL)
        put(v + i, sig(get(v + i)));
}

static void tanh_(float *v, long n)
{
    for (long i = 0; i < n; i += VL)
        put(v + i, tanhv(get(v + i)));
}

static void gru_direct(float *h, const float *u, const float *c, float *relu, long n)
{
    for (long i = 0; i < n; i += VL) {
        vf g = sig(get(u + i)), old = get(h + i), new = old * (1.f - g) + tanhv(get(c + i)) * g;
        put(h + i, new);
        if (relu)
            put(relu + i, positive(new));
    }
}

static void gru(float *h, const float *z, const float *an, const float *bn, const float *r, float *relu, long n)
{
    for (long i = 0; i < n; i += VL) {
        vf g = sig(get(z + i)), new = tanhv(get(an + i) + sig(get(r + i)) * get(bn + i));
        new = (1.f - g) * new + g * get(h + i);
        put(h + i, new);
        if (relu)
            put(relu + i, positive(new));
    }
}

static void mgu(float *h, const float *f, const float *ac, const float *bc, float *relu, long n)
{
    for (long i = 0; i < n; i += VL) {
        vf g = sig(get(f + i)), c = tanhv(get(ac + i) + g * get(bc + i));
        vf new = c + g * (get(h + i) - c);
        put(h + i, new);
        if (relu)
            put(relu + i, positive(new));
    }
}

static void indrnn(float *h, const float *a, const float *hh, float *relu, long n)
{
    for (int p = 0; p < 16; p += VL) {
        vf w = get(hh + p);
        for (long i = p; i < n; i += 16) {
            vf new = positive(get(a + i) + w * get(h + i));
            put(h + i, new);
            if (relu)
                put(relu + i, new);
        }
    }
}

static void reset(float *hr, const float *r, const float *h, long n)
{
    for (long i = 0; i < n; i += VL)
        put(hr + i, get(h + i) * sig(get(r + i)));
}

typedef double vd __attribute__((vector_size(4 * VL), aligned(8)));
typedef float hf __attribute__((vector_size(2 * VL), aligned(4)));
enum { HALF = VL / 2 };
INLINE vd wide(const float *p) { return __builtin_convertvector(*(const hf *)(const void *)p, vd); }

static void moments(const float *x, long n, double sum[16], double square[16])
{
    for (int p = 0; p < 16; p += VL) {
        vd s[2] = { { 0 } }, q[2] = { { 0 } };
        for (long i = p; i < n; i += 16)
            UNROLL for (int k = 0; k < 2; k++) {
                vd v = wide(x + i + HALF * k);
                s[k] += v;
                q[k] += v * v;
            }
        for (int l = 0; l < VL; l++) {
            sum[p + l] += s[l / HALF][l % HALF];
            square[p + l] += q[l / HALF][l % HALF];
        }
    }
}

static void normalise(float *y, const float *x, const float *scale, const float *shift, float slope, long n)
{
    for (int p = 0; p < 16; p += VL) {
        vf a = get(scale + p), b = get(shift + p);
        for (long i = p; i < n; i += 16) {
            vf v = (get(x + i) - b) * a, low = slope * v;
            vi below = v < low;                      /* the larger of v and slope v, slope at most 1 */
            put(y + i, (vf)(((vi)low & below) | ((vi)v & ~below)));
        }
    }
}

static void pool(float *y, const float *top, const float *low, long n)
{
    for (long i = 0; i < n; i++, y += 16, top += 32, low += 32)
        UNROLL for (int p = 0; p < 16; p += VL)
            put(y + p, 0.25f * ((get(top + p) + get(top + 16 + p)) + (get(low + p) + get(low + 16 + p))));
}

/* As many sums as the convolutions keep; their numbers stay finite: each shrinks towards a fixed point. */
#if defined(__AVX512F__)
enum { SUMS = 24 };
#else
enum { SUMS = 12 };
#endif
static double peak(long n)
{
    vf acc[SUMS], a = (vf){ 0 } + 0.5f, b = a;
    _Pragma("GCC unroll 32") for (int j = 0; j < SUMS; j++)
        acc[j] = a * (float)j;
    for (long i = 0; i < n; i++) {
        _Pragma("GCC unroll 32") for (int j = 0; j < SUMS; j++)
            acc[j] = acc[j] * a + b;
        __asm__ volatile("" : "+m"(a), "+m"(b));        /* the loop may not be folded */
    }
    vf keep = acc[0];
    _Pragma("GCC unroll 32") for (int j = 1; j < SUMS; j++)
        keep += acc[j];
    __asm__ volatile("" : : "m"(keep));                 /* nor dropped */
    return 2.0 * VL * SUMS * (double)n;
}

const nn_kern NAME(KR_LEVEL) = { GROUP, conv, conv_thin, conv_exact, sigmoid, tanh_, gru_direct, gru, mgu, indrnn, reset, moments, normalise, pool, peak };
