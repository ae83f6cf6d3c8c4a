/* mt19937.h: the random numbers of NumPy's RandomState and of glibc's rand(): published sampling masks were drawn with
 * them, and only the very same stream draws the very same mask. Private to src/scan. */
#ifndef KRAY_MT19937_H
#define KRAY_MT19937_H
#include "kray/base.h"

typedef struct kr_mt19937 { uint32_t key[624]; int at; } kr_mt19937;
void kr_mt_seed(kr_mt19937 *r, uint32_t seed);                             /* RandomState.seed(int)          */
void kr_mt_seed_words(kr_mt19937 *r, const uint32_t *word, long count);    /* RandomState.seed(tuple)        */
uint32_t kr_mt_bits(kr_mt19937 *r);
double kr_mt_uniform(kr_mt19937 *r);                                       /* [0,1), 53 bits                 */
uint32_t kr_mt_below(kr_mt19937 *r, uint32_t n);                           /* randint(0, n); n = 1 draws nothing */
long kr_mt_below_cdf(kr_mt19937 *r, const double *cdf, long n);            /* the smallest i with u < cdf[i]; cdf[n-1] = 1 */
/* RandomState.choice(n, size=count, replace=False, p=p): `count` different indices in the order drawn. p (destroyed) need
 * not sum to 1, but at least `count` of it must be positive. */
int kr_mt_choice(kr_mt19937 *r, double *p, long n, long *out, long count) KR_MUST_USE;

/* glibc's rand() after srand(seed): the additive feedback generator r[i] = r[i-3] + r[i-31]. */
typedef struct kr_glibc_rand { uint32_t r[31]; int at; } kr_glibc_rand;
void kr_glibc_seed(kr_glibc_rand *g, uint32_t seed);
uint32_t kr_glibc_next(kr_glibc_rand *g);                                  /* 0..2^31-1                      */
#endif
