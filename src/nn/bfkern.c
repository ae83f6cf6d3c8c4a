/* bfkern.c: the convolution of nnkern.c with products of bfloat16 numbers, added in float: twice the multiply-adds per instruction.
 * Built where the compiler knows AVX512-BF16; run where the processor has it (kr_cpu_bf16). */
#include "nnkern.h"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#include <string.h>

#define UNROLL _Pragma("GCC unroll 32")
#define INLINE static inline __attribute__((always_inline))

/* Pixels of a stretch, as pairs of bfloat16 channels: 8 pairs for each block, so that a pair is broadcast as one 32-bit number. */
typedef struct narrow { const uint32_t *pair; long block, row; } narrow;

void nn_narrow(uint32_t *to, const float *from, long pixels)
{
    for (long i = 0; i < pixels; i++) {
        __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + 16 * i));
        memcpy(to + 8 * i, &half, 32);
    }
}

#define TILE(PX, OB)                                                                                                        \
INLINE void tile_##PX##_##OB(const conv_row *r, const narrow *in, long x)                                                   \
{                                                                                                                           \
    __m512 acc[PX][OB];                                                                                                     \
    const uint16_t *w = r->half;                                                                                            \
    UNROLL for (int j = 0; j < PX; j++)                                                                                     \
        UNROLL for (int o = 0; o < OB; o++)                                                                                 \
            acc[j][o] = _mm512_loadu_ps(r->bias + 16 * o);                                                                  \
    for (int s = 0; s < r->segments; s++)                                                                                   \
        for (int b = 0; 16 * b < r->in[s].c; b++) {                                                                         \
            int n = r->in[s].c - 16 * b < 16 ? (r->in[s].c - 16 * b + 1) / 2 : 8;                                           \
            for (int t = 0; t < r->k * r->k; t++) {                                                                         \
                const uint32_t *p = in[s].pair + b * in[s].block + t / r->k * in[s].row + (x + t % r->k * r->dilation) * 8; \
                for (int i = 0; i < n; i++, w += 32 * OB) {                                                                 \
                    __m512i v[OB];                                                                                          \
                    UNROLL for (int o = 0; o < OB; o++)                                                                     \
                        v[o] = _mm512_loadu_si512(w + 32 * o);                                                              \
                    UNROLL for (int j = 0; j < PX; j++) {                                                                   \
                        __m512i q = _mm512_set1_epi32((int)p[8 * j + i]);                                                   \
                        UNROLL for (int o = 0; o < OB; o++)                                                                 \
                            acc[j][o] = _mm512_dpbf16_ps(acc[j][o], (__m512bh)v[o], (__m512bh)q);                           \
                    }                                                                                                       \
                }                                                                                                           \
            }                                                                                                               \
        }                                                                                                                   \
    UNROLL for (int j = 0; j < PX; j++)                                                                                     \
        UNROLL for (int o = 0; o < OB; o++) {                                                                               \
            __m512 v = acc[j][o], zero = _mm512_setzero_ps(), up = _mm512_max_ps(v, zero);                                  \
            v = r->act == KR_ACT_NONE ? v : r->act == KR_ACT_RELU ? up                                                      \
              : _mm512_fmadd_ps(_mm512_set1_ps(r->slope), _mm512_min_ps(v, zero), up);                                      \
            _mm512_storeu_ps(r->out + (x + j) * r->step + o * r->out_block, v);                                                  \
        }                                                                                                                   \
}
#define ROW(PX, OB)                                                                                                         \
static void row_##OB(const conv_row *r, const narrow *in)                                                                   \
{                                                                                                                           \
    long x = 0;                                                                                                             \
    for (; x + PX <= r->px; x += PX)                                                                                        \
        tile_##PX##_##OB(r, in, x);                                                                                         \
    if (x < r->px && r->px >= PX)                                                                                           \
        tile_##PX##_##OB(r, in, r->px - PX);                                                                                \
    else                                                                                                                    \
        for (; x < r->px; x++)                                                                                              \
            tile_1_##OB(r, in, x);                                                                                          \
}
TILE(1, 1) TILE(1, 2) TILE(1, 3) TILE(1, 4) TILE(24, 1) TILE(12, 2) TILE(8, 3) TILE(6, 4)
ROW(24, 1) ROW(12, 2) ROW(8, 3) ROW(6, 4)

/* A stretch of pixels at a time: converted once, read k x k x (all outputs) times. */
void nn_conv_bf16(const conv_row *whole, int ob)
{
    uint32_t room[NN_BF16_ROOM];
    conv_row r = *whole;
    for (long from = 0; from < whole->px; from += NN_BF16_PIXELS) {
        narrow in[KR_SEGMENTS];
        uint32_t *to = room;
        r.px = whole->px - from < NN_BF16_PIXELS ? whole->px - from : NN_BF16_PIXELS;
        r.out = whole->out + r.step * from;
        long wide = r.px + (r.k - 1) * r.dilation;
        for (int s = 0; s < r.segments; s++) {
            if (r.in[s].pair) {
                in[s] = (narrow){ r.in[s].pair + 8 * from, r.in[s].pairs, 0 };
                continue;
            }
            in[s] = (narrow){ to, r.k * wide * 8, wide * 8 };
            for (int b = 0; 16 * b < r.in[s].c; b++)
                for (int y = 0; y < r.k; y++, to += 8 * wide)
                    nn_narrow(to, r.in[s].data + b * r.in[s].block + y * r.dilation * r.in[s].row + 16 * from, wide);
        }
        (ob == 1 ? row_1 : ob == 2 ? row_2 : ob == 3 ? row_3 : row_4)(&r, in);
    }
}
const bool nn_bf16_built = true;
#else
void nn_conv_bf16(const conv_row *r, int ob)
{
    (void)r;
    (void)ob;
    kr_assert(0 && "asked for only where nn_bf16_built");
}
void nn_narrow(uint32_t *to, const float *from, long pixels)
{
    (void)to;
    (void)from;
    (void)pixels;
    kr_assert(0 && "asked for only where nn_bf16_built");
}
const bool nn_bf16_built = false;
#endif
