/* mask_poisson.c: variable-density Poisson disc: no two samples closer than their local radius, and no room for another.
 *
 * Points of the grid are visited in a random order; each is taken unless one taken before is nearer than the mean of
 * their two radii. The result is random, yet as even as a blue noise, and cannot take one point more. The radius is
 * r = c w(k) + a little chance, w(k) = (1 + 4 k)^(density / 2), so that the density of samples falls as
 * 1 / (1 + 4 k)^density; k is the distance from DC, 1 at the edge. The chance (up to 0.3 points) evens out that on a
 * grid only distances 1, sqrt 2, 2, ... exist. c is found by bisection, so that the acceleration asked for is met.
 * Sources: dart throwing to saturation, Cook 1986; sampling by variable-density Poisson disc, Lustig and others 2007. */
#include "mask.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JITTER 0.3

typedef struct darts {
    long H, W;
    long *order, points;             /* where a sample may fall, in the order of the visit                      */
    float *w, *jitter;               /* radius of each point is c w + jitter                                    */
    float slope;                     /* largest change of w from one point to the next                          */
    uint8_t *taken;                  /* 1 taken, 2 too near to one                                              */
} darts;

static inline float radius(const darts *d, float c, long i) { return c * d->w[i] + d->jitter[i]; }

/* All points nearer to p than the mean of the radii are out. As radii grow by at most c slope per point, none further
 * than `reach` can be meant. */
static void forbid_around(darts *d, float c, long p)
{
    float r = radius(d, c, p), half = 1 - 0.5f * c * d->slope;
    float wide = half > 0.1f ? (r + (float)JITTER) / half : (float)(d->H + d->W);
    long reach = (long)fminf(wide, (float)(d->H + d->W)), py = p / d->W, px = p % d->W;
    long y0 = py > reach ? py - reach : 0, y1 = py + reach < d->H ? py + reach : d->H - 1;
    long x0 = px > reach ? px - reach : 0, x1 = px + reach < d->W ? px + reach : d->W - 1;
    for (long y = y0; y <= y1; y++) {
        float dy2 = (float)((y - py) * (y - py));
        for (long x = x0, i = y * d->W + x0; x <= x1; x++, i++) {
            float sum = r + radius(d, c, i), dx = (float)(x - px);
            if (4 * (dx * dx + dy2) < sum * sum && !d->taken[i])
                d->taken[i] = 2;
        }
    }
}

static long throw_darts(darts *d, float c)
{
    long count = 0;
    memset(d->taken, 0, (size_t)(d->H * d->W));
    for (long k = 0; k < d->points; k++) {
        long p = d->order[k];
        if (d->taken[p])
            continue;
        d->taken[p] = 1;
        count++;
        forbid_around(d, c, p);
    }
    return count;
}

/* The scale of the radius at which the samples taken come nearest to `wanted`: more radius, fewer samples, nearly. Within
 * 1 in 500 is good enough. */
static float find_scale(darts *d, long wanted)
{
    float few = 1, many = 0, best = 0;
    long off = d->points - wanted;                       /* c = 0 takes all */
    bool between = false;
    for (int i = 0; i < 40 && off * 500 > wanted; i++) {
        float c = between ? 0.5f * (few + many) : few;
        long count = throw_darts(d, c), miss = labs(count - wanted);
        if (miss < off) {
            off = miss;
            best = c;
        }
        if (count > wanted)
            many = c;
        else
            few = c;
        between |= count <= wanted;
        if (!between)
            few *= 2;
    }
    return best;
}

static bool in_calib(const mask_job *j, long r, long c)
{
    long y = r - (j->rows / 2 - j->calib[0] / 2), x = c - (j->cols / 2 - j->calib[1] / 2);
    return (j->rows == 1 || (y >= 0 && y < j->calib[0])) && x >= 0 && x < j->calib[1];
}

static void lay_out(darts *d, mask_job *j, uint8_t *m)
{
    double half = j->density / 2;
    for (long r = 0; r < d->H; r++)
        for (long c = 0; c < d->W; c++) {
            long i = r * d->W + c;
            double y = d->H > 1 ? ((double)r - (double)(d->H / 2)) / ((double)d->H / 2) : 0;
            double x = ((double)c - (double)(d->W / 2)) / ((double)d->W / 2), k = sqrt(y * y + x * x);
            d->w[i] = (float)pow(1 + 4 * k, half);
            d->jitter[i] = (float)(JITTER * (2 * kr_mt_uniform(&j->rng) - 1));
            if ((m[i] = in_calib(j, r, c)) == 0 && !(j->elliptical && k > 1))
                d->order[d->points++] = i;
        }
    for (long k = d->points - 1; k > 0; k--) {
        long other = (long)kr_mt_below(&j->rng, (uint32_t)k + 1), t = d->order[k];
        d->order[k] = d->order[other];
        d->order[other] = t;
    }
    long least = d->H > 1 && d->H < d->W ? d->H : d->W;
    double steep = half < 1 ? 4 * half : 4 * half * pow(1 + 4 * sqrt(2), half - 1);
    d->slope = (float)(steep * 2 / (double)least);
}

static int make_poisson(mask_job *j, uint8_t *m)
{
    long N = j->rows * j->cols, wanted = (long)rint((double)N / j->accel);
    darts d = { .H = j->rows, .W = j->cols };
    kr_auto long *order = d.order = kr_alloc((size_t)N, sizeof *order);
    kr_auto float *w = d.w = kr_alloc((size_t)N, sizeof *w), *jitter = d.jitter = kr_alloc((size_t)N, sizeof *jitter);
    kr_auto uint8_t *taken = d.taken = kr_alloc((size_t)N, 1);
    if (!order || !w || !jitter || !taken)
        return KR_EMEM;
    while (j->calib_preset && 2 * j->calib[1] * (j->rows > 1 ? j->calib[0] : 1) > wanted) {   /* no more than half of all */
        j->calib[0] -= j->calib[0] > 0;
        j->calib[1]--;
    }
    lay_out(&d, j, m);
    long calib = 0;
    for (long i = 0; i < N; i++)
        calib += m[i];
    if (calib > wanted || (calib == wanted && j->accel > 1 && d.points))
        return kr_fail(KR_EUSAGE, "the %ld points of the calibration area alone are more than an acceleration of %g of %ld leaves", calib, j->accel, N);
    if (wanted - calib > d.points) {
        if (j->accel > 1)
            return kr_fail(KR_EUSAGE, "the ellipse holds %ld of %ld points, too few for an acceleration of %g", calib + d.points, N, j->accel);
        wanted = calib + d.points;
    }
    throw_darts(&d, find_scale(&d, wanted - calib));
    for (long i = 0; i < N; i++)
        m[i] |= d.taken[i] == 1;
    return 0;
}

const mask_kind kr_masks_poisson[] = {
    { "poisson", "variable-density Poisson disc, of lines or points", "accel=6,calib=24,density=1,elliptical=no,seed,axes,vary",
      MASK_LINES | MASK_PLANE, make_poisson, NULL },
    { 0 } };
