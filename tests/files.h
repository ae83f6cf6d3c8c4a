/* files.h: for tests of formats: a folder of their own, and damaged copies of files. */
#ifndef KRAY_TEST_FILES_H
#define KRAY_TEST_FILES_H
#include "test.h"
#include "kray/io.h"

/* A path in a folder that is made on first use and stays in the build folder's temporary files until `scratch_remove`. */
static char scratch_folder[256];
static inline const char *scratch(const char *name)
{
    static char text[4][512];
    static int turn;
    if (!*scratch_folder) {
        snprintf(scratch_folder, sizeof scratch_folder, "%s/kray-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        if (!mkdtemp(scratch_folder))
            abort();
    }
    char *t = text[turn++ % 4];
    snprintf(t, sizeof text[0], "%s/%s", scratch_folder, name);
    return t;
}
static inline int scratch_remove(void **state)
{
    (void)state;
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_folder);
    return *scratch_folder ? system(command) : 0;
}

static inline unsigned char *slurp(const char *path, long *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = ftell(f);
    rewind(f);
    unsigned char *b = malloc((size_t)*n + 1);
    assert_int_equal(fread(b, 1, (size_t)*n, f), *n);
    fclose(f);
    return b;
}
static inline void spill(const char *path, const void *bytes, long n)
{
    unlink(path);                           /* cutting a file to 0 makes some file systems wait for the disk */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, (size_t)n, f), n);
    fclose(f);
}

/* Reads `source` of the file cut off at about `cuts` lengths: each must be refused with a sentence, or, where what is
 * missing does not matter, read. Returns how many were refused. %s in `source` is the path. */
static inline int cut_everywhere(const char *file, const char *source, int cuts, int (*read)(const char *source))
{
    long n;
    unsigned char *b = slurp(file, &n);
    const char *path = scratch("cut");
    char text[600];
    int refused = 0;
    snprintf(text, sizeof text, source, path);
    for (int i = 0; i < cuts; i++) {
        spill(path, b, n * i / cuts);
        kr_error_clear();
        if (read(text)) {
            refused++;
            if (strlen(kr_error()) < 10)
                fail_msg("cut at %ld: no sentence", n * i / cuts);
        }
        kr_error_clear();
    }
    free(b);
    unlink(path);
    return refused;
}
/* The same with `count` copies in which a few bytes between `from` and `to` are changed. */
static inline int change_everywhere(const char *file, const char *source, long from, long to, int count, int (*read)(const char *source))
{
    long n;
    unsigned char *b = slurp(file, &n), old[3];
    const char *path = scratch("changed");
    char text[600];
    int refused = 0;
    snprintf(text, sizeof text, source, path);
    to = to < n ? to : n;
    for (int i = 0; i < count; i++) {
        long at[3];
        int changes = 1 + (int)(kr_rand_bits(1, 5, (uint64_t)i) % 3);
        for (int k = 0; k < changes; k++) {
            at[k] = from + (long)(kr_rand_bits(1, 10 + (uint64_t)k, (uint64_t)i) % (uint64_t)(to - from));
            old[k] = b[at[k]];
            b[at[k]] = (unsigned char)kr_rand_bits(1, 20 + (uint64_t)k, (uint64_t)i);
        }
        spill(path, b, n);
        for (int k = changes; k-- > 0; )
            b[at[k]] = old[k];
        kr_error_clear();
        if (read(text)) {
            refused++;
            if (strlen(kr_error()) < 10)
                fail_msg("change %d: no sentence", i);
        }
        kr_error_clear();
    }
    free(b);
    unlink(path);
    return refused;
}
static inline int read_array_only(const char *source)
{
    kr_scoped(array) a = NULL;
    return kr_array_read(&a, source);
}
static inline int read_scan_only(const char *source)
{
    kr_scoped(scan) s = NULL;
    return kr_scan_read(&s, source, NULL, NULL, NULL);
}
/* Element at the given places, as for kr_shape: at(a, KR_SHAPE([KR_X] = 3)).n counts from 0. */
static inline kr_cfloat value_at(const kr_array *a, kr_shape place)
{
    long at = 0;
    for (int d = 0; d < KR_AXES; d++) {
        assert_in_range(place.n[d], 0, a->n[d] - 1);
        at += place.n[d] * a->step[d];
    }
    return a->type == KR_C32 ? KR_C(a)[at] : kr_c(KR_R(a)[at], 0);
}
#define assert_value(a, re, im, tolerance, ...) do { kr_cfloat v_ = value_at(a, KR_SHAPE(__VA_ARGS__)); \
    assert_near(kr_re(v_), re, tolerance); assert_near(kr_im(v_), im, tolerance); } while (0)
#define assert_shape(a, ...) do { if (!kr_shape_equal(kr_array_shape(a), KR_SHAPE(__VA_ARGS__))) \
    fail_msg("shape %s, wanted %s", kr_shape_text(kr_array_shape(a)), kr_shape_text(KR_SHAPE(__VA_ARGS__))); } while (0)
#endif
