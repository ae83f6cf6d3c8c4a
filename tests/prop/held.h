/* held.h: numbers held to what they were. Size and a correlation with a fixed pattern tell of any change of an image, of places and phases too, in two numbers that are the same on every level of
 * processors and with any number of threads, to rounding. Who means to change an image prints the figures anew (FIGURES=1). */
#ifndef KRAY_HELD_H
#define KRAY_HELD_H
#include "test.h"

typedef struct figure { const char *name, *way; double size, pattern; } figure;

static inline void tell(double *size, double *pattern, const float *x, long n, uint64_t seed)
{
    double xx = 0, xp = 0, pp = 0;
    for (long i = 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, 1, (uint64_t)i, z);
        xx += (double)x[i] * (double)x[i];
        xp += (double)x[i] * z[0];
        pp += z[0] * z[0];
    }
    *size = sqrt(xx);
    *pattern = xp / sqrt(xx * pp);
}

/* Size to the part `most`, pattern to twice that. */
static inline void held(const figure *f, size_t count, const char *name, const char *way, double size, double pattern, double most)
{
    if (getenv("FIGURES")) {
        printf("# FIGURE { \"%s\", \"%s\", %.7g, %.6g },\n", name, way, size, pattern);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (!strcmp(f[i].name, name) && !strcmp(f[i].way, way)) {
            if (!(fabs(size - f[i].size) <= most * fabs(f[i].size) && fabs(pattern - f[i].pattern) <= 2 * most))
                fail_msg("%s, %s: size %.7g, pattern %.6g; it was %.7g, %.6g", name, way, size, pattern, f[i].size, f[i].pattern);
            return;
        }
    fail_msg("%s, %s: no figure", name, way);
}
#endif
