/* mem.c: all memory comes through here: aligned, counted, and refusable on purpose for tests. */
#include "kray/base.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A 64-byte header keeps the size, so that kr_free can count down. */
enum { ALIGN = 64 };
static atomic_size_t now, peak;
static atomic_long calls;

static long fail_at(void)
{
    static atomic_long at = -1;
    long v = atomic_load(&at);
    if (v < 0) {
        const char *e = getenv("KR_FAIL_ALLOC");
        v = e ? strtol(e, NULL, 10) : 0;
        atomic_store(&at, v);
    }
    return v;
}

void *kr_alloc(size_t n, size_t size)
{
    size_t bytes;
    long k = fail_at();
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) {
        kr_fail(KR_EMEM, "%zu elements of %zu bytes are more than any memory holds", n, size);
        return NULL;
    }
    if (k > 0 && atomic_fetch_add(&calls, 1) + 1 == k) {
        kr_fail(KR_EMEM, "no memory for %zu bytes (asked to fail)", bytes);
        return NULL;
    }
    size_t room = (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN;
    char *p = aligned_alloc(ALIGN, room);
    if (!p) {
        kr_fail(KR_EMEM, "no memory for %.1f MiB more (%.1f MiB in use)", (double)bytes / 1048576, (double)now / 1048576);
        return NULL;
    }
    *(size_t *)(void *)p = bytes;
    size_t v = atomic_fetch_add(&now, bytes) + bytes, top = atomic_load(&peak);
    while (v > top && !atomic_compare_exchange_weak(&peak, &top, v))
        ;
    return p + ALIGN;
}

void *kr_alloc_zero(size_t n, size_t size)
{
    void *p = kr_alloc(n, size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

void *kr_realloc(void *p, size_t old_n, size_t new_n, size_t size)
{
    void *q = kr_alloc(new_n, size);
    if (q && p) {
        memcpy(q, p, (old_n < new_n ? old_n : new_n) * size);
        kr_free(p);
    }
    return q;
}

void kr_free(void *p)
{
    if (!p)
        return;
    char *base = (char *)p - ALIGN;
    atomic_fetch_sub(&now, *(size_t *)(void *)base);
    free(base);
}

void kr_free_at(void *pp)
{
    void **p = pp;
    kr_free(*p);
    *p = NULL;
}

char *kr_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *d = kr_alloc(n, 1);
    if (d)
        memcpy(d, s, n);
    return d;
}

char *kr_strf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        kr_fail(KR_EREFUSED, "text cannot be formatted");
        return NULL;
    }
    char *s = kr_alloc((size_t)n + 1, 1);
    if (s) {
        va_start(ap, fmt);
        vsnprintf(s, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return s;
}

size_t kr_mem_now(void) { return atomic_load(&now); }
size_t kr_mem_peak(void) { return atomic_load(&peak); }
