/* bodies.c: phantoms of ellipsoids, and photons that arrive. */
#include "kray/rays.h"
#include <math.h>
#include <string.h>

/* In mm and parts of water; phi in degrees. What lies within another body is the difference to it. */
struct body { double value, x, y, z, a, b, c, phi; };
static const struct body head[] = {       /* bodies of FORBILD's head phantom that are spheres or ellipsoids, with its densities; www.imp.uni-erlangen.de/phantoms */
    { 1.8, 0, 0, 0, 96, 120, 125, 0 },     { -0.75, 0, 0, 0, 90, 114, 119, 0 },     { -1.05, 0, 84, 0, 18, 18, 18, 0 },
    { 0.01, 47, 43, 8.72, 20, 20, 20, 0 }, { 0.01, -47, 43, 8.72, 20, 20, 20, 0 },  { -0.005, 0, -36, 0, 18, 36, 36, 0 },
    { 0.005, -10.8, -90, 0, 4, 4, 4, 0 },  { 0.005, 10.8, -90, 0, 4, 4, 4, 0 },     { -0.01, 63.9, -63.9, 0, 12, 4.2, 12, 58 },
    { 0.015, -43, -54, 0, 9, 6, 9, 20 },   { 0.75, 91, 0, 0, 0.1, 0.1, 0.1, 0 } };
static const struct body thorax[] = {
    { 1, 0, 0, 0, 190, 120, 200, 0 },      { -0.74, 88, 8, 0, 62, 82, 130, -8 },    { -0.74, -88, 8, 0, 62, 82, 130, 8 },
    { 0.05, 8, 28, -30, 23, 34, 40, 30 },  { 0.06, 0, -22, 0, 11, 11, 150, 0 },     { -0.96, 0, 74, 60, 6, 7, 60, 0 },
    { 0.55, 0, -72, 0, 19, 17, 170, 0 },   { -0.5, 0, -76, 0, 8, 7, 160, 0 },       { 0.5, 0, 108, 0, 18, 6, 90, 0 },
    { 0.6, 166, 26, 0, 4, 16, 12, 12 },    { 0.6, -166, 26, 0, 4, 16, 12, -12 },    { 0.6, 162, -42, 0, 4, 16, 12, -22 },
    { 0.6, -162, -42, 0, 4, 16, 12, 22 },  { 0.6, 112, -88, 0, 17, 4, 12, 30 },     { 0.6, -112, -88, 0, 17, 4, 12, -30 },
    { 0.6, 96, 97, 0, 15, 4, 12, -22 },    { 0.6, -96, 97, 0, 15, 4, 12, 22 },      { 0.7, 96, 34, 0, 5, 5, 5, 0 },
    { 0.7, 72, -36, 0, 3, 3, 3, 0 },       { 0.7, -101, -20, 0, 4, 4, 4, 0 },       { 0.7, -80, 46, 0, 2, 2, 2, 0 } };
static const struct { const char *name, *summary; const struct body *body; long count; double radius; } phantoms[] = {
    { "shepplogan", "Shepp and Logan's head, in the contrast of Toft", NULL, 10, 0 },
    { "head", "a skull and brain with low contrasts: bodies of FORBILD's head", head, sizeof head / sizeof *head, 125 },
    { "thorax", "body, lungs with nodules, heart, aorta, trachea, spine, sternum and ribs", thorax, sizeof thorax / sizeof *thorax, 200 } };

const char *kr_bodies_name(int i, const char **summary)
{
    bool there = i >= 0 && i < (int)(sizeof phantoms / sizeof *phantoms);
    if (there && summary)
        *summary = phantoms[i].summary;
    return there ? phantoms[i].name : NULL;
}

long kr_bodies(kr_ellipsoid e[KR_BODIES], const char *name, double radius, double water, bool volume)
{
    int n = 0;
    while (kr_bodies_name(n, NULL) && strcmp(kr_bodies_name(n, NULL), name))
        n++;
    if (!kr_bodies_name(n, NULL))
        return 0;
    if (!phantoms[n].body)
        return kr_shepp_logan(e, radius, water, volume, true);
    double k = radius / phantoms[n].radius;
    for (long i = 0; i < phantoms[n].count; i++) {
        const struct body *b = &phantoms[n].body[i];
        e[i] = (kr_ellipsoid){ water * b->value, { k * b->x, k * b->y, volume ? k * b->z : 0 }, { k * b->a, k * b->b, volume ? k * b->c : 0 }, b->phi * M_PI / 180 };
    }
    return phantoms[n].count;
}

/* How many photons arrive where `mean` are expected. */
static double arrived(double mean, uint64_t seed, uint64_t ray)
{
    double n = 0, z[2];
    if (mean < 60) {                                                 /* waiting times, Knuth 1969 */
        double left = exp(-mean), p = 1;
        for (uint64_t i = 0; (p *= kr_rand_uniform(seed, ray, i)) > left; i++)
            n++;
        return n;
    }
    kr_rand_normal2(seed, ray, 0, z);
    return fmax(0, rint(mean + sqrt(mean) * z[0]));
}

void kr_photons(float *y, long n, double photons, double electronic, uint64_t seed)
{
    for (long i = 0; i < n; i++) {
        double z[2] = { 0, 0 };
        if (electronic > 0)
            kr_rand_normal2(seed + 1, (uint64_t)i, 1, z);
        double got = arrived(photons * exp(-(double)y[i]), seed, (uint64_t)i) + electronic * z[0];
        y[i] = (float)-log((got > 0.1 ? got : 0.1) / photons);       /* so that its logarithm exists */
    }
}
