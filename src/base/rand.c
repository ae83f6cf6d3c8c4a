/* rand.c: random numbers by counter. */
#include "kray/base.h"
#include <math.h>

/* The output function of SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t kr_rand_bits(uint64_t seed, uint64_t stream, uint64_t i)
{
    /* Seed and stream choose a starting point far from all others; i walks from it by the golden ratio. */
    uint64_t start = mix(mix(seed + 0x9E3779B97F4A7C15u) ^ (stream * 0xD1342543DE82EF95u + 1));
    return mix(start + (i + 1) * 0x9E3779B97F4A7C15u);
}

double kr_rand_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (double)(kr_rand_bits(seed, stream, i) >> 11) * 0x1p-53;
}

void kr_rand_normal2(uint64_t seed, uint64_t stream, uint64_t i, double z[2])
{
    double u = 1 - kr_rand_uniform(seed, stream, 2 * i), v = kr_rand_uniform(seed, stream, 2 * i + 1);
    double r = sqrt(-2 * log(u)), a = 6.283185307179586 * v;
    z[0] = r * cos(a);
    z[1] = r * sin(a);
}
