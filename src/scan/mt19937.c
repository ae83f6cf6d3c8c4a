/* mt19937.c: the Mersenne Twister as NumPy's RandomState seeds and reads it, and glibc's rand().
 * Sources: Matsumoto and Nishimura 1998 and their 2002 seeding; NumPy's legacy generator, whose stream is frozen. */
#include "mt19937.h"

enum { N = 624, M = 397 };

void kr_mt_seed(kr_mt19937 *r, uint32_t seed)
{
    r->key[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        r->key[i] = 1812433253u * (r->key[i - 1] ^ (r->key[i - 1] >> 30)) + i;
    r->at = N;
}

void kr_mt_seed_words(kr_mt19937 *r, const uint32_t *word, long count)
{
    uint32_t *k = r->key;
    uint32_t i = 1;
    long j = 0;
    kr_mt_seed(r, 19650218u);
    for (long n = count > N ? count : N; n; n--) {
        k[i] = (k[i] ^ ((k[i - 1] ^ (k[i - 1] >> 30)) * 1664525u)) + word[j] + (uint32_t)j;
        if (++i == N) {
            k[0] = k[N - 1];
            i = 1;
        }
        if (++j == count)
            j = 0;
    }
    for (long n = N - 1; n; n--) {
        k[i] = (k[i] ^ ((k[i - 1] ^ (k[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i == N) {
            k[0] = k[N - 1];
            i = 1;
        }
    }
    k[0] = 0x80000000u;
}

uint32_t kr_mt_bits(kr_mt19937 *r)
{
    if (r->at == N) {
        uint32_t *k = r->key;
        for (int i = 0; i < N; i++) {
            uint32_t y = (k[i] & 0x80000000u) | (k[(i + 1) % N] & 0x7fffffffu);
            k[i] = k[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        r->at = 0;
    }
    uint32_t y = r->key[r->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

double kr_mt_uniform(kr_mt19937 *r)
{
    uint32_t a = kr_mt_bits(r) >> 5, b = kr_mt_bits(r) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}

uint32_t kr_mt_below(kr_mt19937 *r, uint32_t n)
{
    uint32_t most = n - 1, mask = most, x;
    if (!most)
        return 0;
    for (int s = 1; s < 32; s *= 2)
        mask |= mask >> s;
    while ((x = kr_mt_bits(r) & mask) > most)
        ;
    return x;
}

long kr_mt_below_cdf(kr_mt19937 *r, const double *cdf, long n)
{
    double x = kr_mt_uniform(r);
    long lo = 0, hi = n - 1;
    while (lo < hi) {
        long mid = (lo + hi) / 2;
        if (x < cdf[mid])
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* NumPy draws all that is still wanted at once, keeps the first of equal ones, and draws again without what it has. */
int kr_mt_choice(kr_mt19937 *r, double *p, long n, long *out, long count)
{
    kr_auto double *cdf = kr_alloc((size_t)n + 1, sizeof *cdf);
    kr_auto bool *have = kr_alloc_zero((size_t)n + 1, sizeof *have);
    if (!cdf || !have)
        return KR_EMEM;
    for (long got = 0; got < count; ) {
        double sum = 0;
        for (long i = 0; i < n; i++)
            cdf[i] = sum += p[i];
        if (sum <= 0)
            return kr_fail(KR_EREFUSED, "%ld of %ld points cannot be drawn: fewer have a probability above zero", count, n);
        for (long i = 0; i < n; i++)
            cdf[i] /= sum;
        long before = got;
        for (long wanted = count - got; wanted; wanted--) {
            long i = kr_mt_below_cdf(r, cdf, n);
            if (!have[i]) {
                have[i] = true;
                out[got++] = i;
            }
        }
        for (long i = before; i < got; i++)
            p[out[i]] = 0;
    }
    return 0;
}

void kr_glibc_seed(kr_glibc_rand *g, uint32_t seed)
{
    int32_t x = seed ? (int32_t)seed : 1;
    g->r[0] = (uint32_t)x;
    for (int i = 1; i < 31; i++) {
        x = (int32_t)(16807LL * x % 2147483647);        /* Lehmer's generator */
        if (x < 0)
            x += 2147483647;
        g->r[i] = (uint32_t)x;
    }
    g->at = 0;
    for (int i = 0; i < 310; i++)                       /* glibc throws the first ones away */
        kr_glibc_next(g);
}

uint32_t kr_glibc_next(kr_glibc_rand *g)
{
    uint32_t x = g->r[(g->at + 3) % 31] += g->r[g->at];
    g->at = (g->at + 1) % 31;
    return x >> 1;
}
