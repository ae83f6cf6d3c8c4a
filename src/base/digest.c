/* digest.c: SHA-256 (FIPS 180-4). */
#include "kray/base.h"
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };

static uint32_t ror(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

/* One round; the next one has its words a place further on, so that none is moved. */
static inline void turn(const uint32_t a, const uint32_t b, const uint32_t c, uint32_t *d, const uint32_t e, const uint32_t f, const uint32_t g, uint32_t *h, uint32_t in)
{
    uint32_t t = *h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + in;
    *d += t;
    *h = t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ (w[i - 15] >> 3);
        uint32_t b = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    uint32_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    for (int i = 0; i < 64; i += 8) {
        turn(v0, v1, v2, &v3, v4, v5, v6, &v7, K[i] + w[i]);
        turn(v7, v0, v1, &v2, v3, v4, v5, &v6, K[i + 1] + w[i + 1]);
        turn(v6, v7, v0, &v1, v2, v3, v4, &v5, K[i + 2] + w[i + 2]);
        turn(v5, v6, v7, &v0, v1, v2, v3, &v4, K[i + 3] + w[i + 3]);
        turn(v4, v5, v6, &v7, v0, v1, v2, &v3, K[i + 4] + w[i + 4]);
        turn(v3, v4, v5, &v6, v7, v0, v1, &v2, K[i + 5] + w[i + 5]);
        turn(v2, v3, v4, &v5, v6, v7, v0, &v1, K[i + 6] + w[i + 6]);
        turn(v1, v2, v3, &v4, v5, v6, v7, &v0, K[i + 7] + w[i + 7]);
    }
    const uint32_t v[8] = { v0, v1, v2, v3, v4, v5, v6, v7 };
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

#if defined(__x86_64__)
/* The same by the processor's own rounds (Intel SHA extensions), four at a time: weights of networks are hundreds of megabytes. */
__attribute__((target("sha,sse4.1"))) static void block_by_cpu(uint32_t h[8], const unsigned char *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i a = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1), b = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(a, b, 8), cdgh = _mm_blend_epi16(b, a, 0xf0), w[4];
    const __m128i from[2] = { abef, cdgh };
    for (int i = 0; i < 4; i++)
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
    for (int i = 0; i < 16; i++) {
        __m128i in = _mm_add_epi32(w[i % 4], _mm_loadu_si128((const __m128i *)(const void *)(K + 4 * i))), last = w[(i + 3) % 4];
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, in);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(in, 0x0e));
        w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), _mm_alignr_epi8(last, w[(i + 2) % 4], 4)), last);
    }
    a = _mm_shuffle_epi32(_mm_add_epi32(abef, from[0]), 0x1b);
    b = _mm_shuffle_epi32(_mm_add_epi32(cdgh, from[1]), 0xb1);
    _mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(a, b, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(b, a, 8));
}

static bool cpu_knows(void)
{
    unsigned a, b, c, d;
    return kr_cpu() > 1 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;        /* KR_CPU=base: the plain one */
}
#else
#define block_by_cpu block
static bool cpu_knows(void) { return false; }
#endif

void kr_digest(const void *bytes, size_t n, char hex[65])
{
    uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    const unsigned char *p = bytes;
    size_t left = n;
    bool by_cpu = n >= 4096 && cpu_knows();
    for (; left >= 64; left -= 64, p += 64)
        (by_cpu ? block_by_cpu : block)(h, p);
    unsigned char last[128] = { 0 };
    if (left)
        memcpy(last, p, left);
    last[left] = 0x80;
    size_t end = left < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        last[end - 1 - (size_t)i] = (unsigned char)((uint64_t)n * 8 >> (8 * i));
    block(h, last);
    if (end == 128)
        block(h, last + 64);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", h[i]);
}
