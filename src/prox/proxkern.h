/* proxkern.h: the loops of the proximal maps, built once per CPU level. Private to this folder. */
#ifndef KRAY_PROXKERN_H
#define KRAY_PROXKERN_H
#include "kray/lanes.h"
#include "kray/prox.h"

enum { TV_AXES = 4, TV_RUN = 256 };   /* points a call of `dual` takes at most                                     */
typedef struct kr_proxkern {
    /* n numbers of `width` floats (1 real, 2 complex), `parts` of them `apart` numbers from each other make one vector: u max(0, 1 - t / |u|). */
    void (*soft)(float *z, const float *v, float t, long n, long parts, long apart, int width);
    /* z times min(1, t / |z|), |z| as above */
    void (*inside)(float *z, float t, long n, long parts, long apart, int width);
    double (*norms)(const float *v, long n, long parts, long apart, int width);    /* sum of |u|                     */
    /* u += w (q - back), n floats; back NULL: 0. */
    void (*diverge)(float *u, float w, const float *q, const float *back, long n);
    /* p = projection on the unit ball of q + s (ahead - u), then q = p + b (p - p before); n numbers of `width` floats; ahead NULL: no
     * difference there. */
    void (*dual)(float *const *p, float *const *q, const float *u, const float *const *ahead, float s, float b, int axes, long n, int width);
    /* KR_LANES matrices at once, in rows of lanes. A {columns, rows} becomes A V max(0, 1 - t / sqrt w) V^H, V w V^H = A^H A; G and
     * V are scratch of columns^2 rows each. */
    void (*shrink)(float *A, long rows, long columns, float t, float *G, float *V);
} kr_proxkern;
extern const kr_proxkern kr_proxkern_base, kr_proxkern_v3, kr_proxkern_v4;
const kr_proxkern *kr_proxkern_best(void);

/* A regulariser of complex arrays, as large at the conjugate of u as at u, as one of that type. Takes g. */
kr_prox *kr_prox_as(enum kr_type type, kr_prox *g) KR_MUST_USE;

/* Where the grid is at place k, along axis d: KR_PLACE_BITS bits, of which the lowest m of the three axes are different at each of 2^m places
 * in a row, and spread evenly: wavelets, whose finest scale tells odd from even, take the lowest bits. */
enum { KR_PLACE_BITS = 12 };
long kr_prox_place(long k, int d);
#endif
