/* test.h: what every test program starts with: cmocka, and where the shared scans are. */
#ifndef KRAY_TEST_H
#define KRAY_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kray/array.h"
#include "sanitized.h"

/* The folder of scans, golden vectors and samples beside the project (KR_SHARED overrides). */
static inline const char *shared(const char *path)
{
    static char text[4][1024];
    static int turn;
    char *t = text[turn++ % 4];
    const char *root = getenv("KR_SHARED");
    snprintf(t, sizeof text[0], "%s/%s", root ? root : KR_SHARED_DEFAULT, path);
    return t;
}
/* Leaves the test as skipped, visibly, where a shared file is absent. */
#define NEED_SHARED(path) do { if (access(shared(path), F_OK)) { print_message("skipped: %s is absent\n", shared(path)); skip(); } } while (0)

/* |a - b| <= tolerance, with both values in the message. */
#define assert_near(a, b, tolerance) do { double a_ = (a), b_ = (b), t_ = (tolerance); \
    if (!(fabs(a_ - b_) <= t_)) fail_msg("%s = %.9g, %s = %.9g: differ by %.3g, at most %.3g wanted", #a, a_, #b, b_, fabs(a_ - b_), t_); } while (0)
/* The last refusal has this code, and its sentence holds these words. */
#define assert_refused(code, words) do { assert_int_equal(kr_error_code(), code); \
    if (!strstr(kr_error(), words)) { fail_msg("the sentence is \"%s\", without \"%s\"", kr_error(), words); } \
    kr_error_clear(); } while (0)

static inline void fill_random(kr_array *a, uint64_t seed)      /* N(0,1), real and imaginary; contiguous */
{
    long n = kr_count(kr_array_shape(a)) * (a->type == KR_C32 ? 2 : 1);
    for (long i = 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, 77, (uint64_t)i, z);
        ((float *)a->data)[i] = (float)z[0];
    }
}
/* |a - b| / |b| */
static inline double distance(const kr_array *a, const kr_array *b)
{
    kr_array *d = kr_array_copy(a);
    kr_axpy(d, -1, b);
    double r = kr_norm(d) / kr_norm(b);
    kr_array_unref(&d);
    return r;
}
#endif
