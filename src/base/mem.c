/* mem.c: all memory comes through here: aligned, counted, and refusable on purpose for tests. Large blocks come straight
 * from the system, in huge pages where it has them: they arrive as zeros, page by page, on whichever thread touches them
 * first, and cost a five-hundredth of the faults. */
#include "kray/base.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A 64-byte header keeps the size, so that kr_free can count down, and where malloc's block begins: its aligned_alloc cuts every block out of a larger
 * one and keeps no list of those freed lately, which took a fifth of the time where arrays are small. */
struct head { size_t bytes; void *block; };
enum { ALIGN = 64 };
static atomic_size_t now, peak;
static atomic_long calls, wanted = -1;         /* the call that is to fail; -1: the environment was not asked yet */
static atomic_long refused;

static long fail_at(void)
{
    long v = atomic_load(&wanted);
    if (v < 0) {
        const char *e = getenv("KR_FAIL_ALLOC");
        v = e ? strtol(e, NULL, 10) : 0;
        atomic_store(&wanted, v);
    }
    return v;
}

bool kr_mem_fail(long k)
{
    bool failed = atomic_load(&wanted) > 0 && atomic_load(&calls) >= atomic_load(&wanted);
    atomic_store(&calls, 0);
    atomic_store(&wanted, k);
    return failed;
}

/* Not under the address checker, which knows the ends of what malloc gives only. */
#if defined(__SANITIZE_ADDRESS__)
#define LARGE SIZE_MAX
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LARGE SIZE_MAX
#endif
#endif
#ifndef LARGE
#define LARGE ((size_t)4 << 20)
#endif
enum { HUGE_PAGE = 2 << 20 };

static void *map(size_t room)
{
    size_t all = room + HUGE_PAGE;
    char *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t head = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE, page = 4096, used = (room + page - 1) / page * page;
    if (head)
        munmap(p, head);
    if (all - head > used)
        munmap(p + head + used, all - head - used);
    madvise(p + head, used, MADV_HUGEPAGE);
    return p + head;
}

long kr_mem_refused(void) { return atomic_load(&refused); }

int kr_mem_lacked(int e, long before)
{
    return e == KR_EMEM || kr_mem_refused() == before ? e : kr_fail(KR_EMEM, "no memory for all that this wants");
}

void *kr_alloc(size_t n, size_t size)
{
    size_t bytes;
    long k = fail_at();
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) {
        atomic_fetch_add(&refused, 1);
        kr_fail(KR_EMEM, "%zu elements of %zu bytes are more than any memory holds", n, size);
        return NULL;
    }
    if (k > 0 && atomic_fetch_add(&calls, 1) + 1 == k) {
        atomic_fetch_add(&refused, 1);
        kr_fail(KR_EMEM, "no memory for %zu bytes (asked to fail)", bytes);
        return NULL;
    }
    size_t room = (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN;
    char *block = bytes >= LARGE ? map(room) : malloc(room + ALIGN - 16), *p = block;      /* malloc's are aligned to 16 */
    if (!p) {
        atomic_fetch_add(&refused, 1);
        kr_fail(KR_EMEM, "no memory for %.1f MiB more (%.1f MiB in use)", (double)bytes / 1048576, (double)now / 1048576);
        return NULL;
    }
    p += (ALIGN - (uintptr_t)p % ALIGN) % ALIGN;
    *(struct head *)(void *)p = (struct head){ bytes, block };
    size_t v = atomic_fetch_add(&now, bytes) + bytes, top = atomic_load(&peak);
    while (v > top && !atomic_compare_exchange_weak(&peak, &top, v))
        ;
    return p + ALIGN;
}

void *kr_alloc_zero(size_t n, size_t size)
{
    void *p = kr_alloc(n, size);
    if (p && n * size < LARGE)
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
    struct head head = *(struct head *)(void *)base;
    atomic_fetch_sub(&now, head.bytes);
    if (head.bytes >= LARGE)
        munmap(base, (head.bytes + 2 * ALIGN - 1) / ALIGN * ALIGN);
    else
        free(head.block);
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
