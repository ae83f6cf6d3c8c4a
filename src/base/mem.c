/* mem.c: all memory comes through here: aligned, counted, and refusable on purpose for tests. Large blocks come straight
 * from the system, in huge pages where it has them: they arrive as zeros, page by page, on whichever thread touches them
 * first, and cost a five-hundredth of the faults. Where little memory is allowed they lie in files instead. */
#include "kray/pages.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A 64-byte header keeps the size, so that kr_free can count down, and where malloc's block begins: its aligned_alloc cuts every block out of a larger
 * one and keeps no list of those freed lately, which took a fifth of the time where arrays are small. */
struct head { size_t bytes; void *block; size_t room; struct head *next, **at; };      /* block NULL: `room` bytes of a file, in a list */
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

/* ---- Blocks in files ----
 * A shared mapping of a file can be taken out of a process at any moment, under the hands of whoever uses it: the numbers stay in the file, or in what the system keeps of it, and are
 * mapped again where they are touched next. So nobody who computes has to know. Files have no names: they are gone with the block, or the process, however that ends. */
enum { LEAST = 128 << 10,                /* smaller blocks stay in memory                            */
       SPARES = 64, SPARE = 16 << 20 };  /* so many blocks up to this size are kept for the next that want as much: files go slowly */
static struct pager { atomic_size_t limit, held; size_t program; char *folder; int statm; pthread_mutex_t lock; struct head *blocks, *spare; int spares; kr_thread *watch; } pager = { .lock = PTHREAD_MUTEX_INITIALIZER };

static size_t resident(void)
{
    char text[128] = "", *second;
    if (pread(pager.statm, text, sizeof text - 1, 0) <= 0 || !(second = strchr(text, ' ')))
        return 0;
    return (size_t)strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Taken back so early that what one body of kr_for touches until it is looked at again stays within the limit. */
static size_t spare_of(size_t limit) { return (limit - pager.program) / 3; }
static size_t enough(size_t limit) { return limit - spare_of(limit); }

static void take_back(struct head *h)
{
    for (struct head *next; h; h = next) {
        next = h->next;
        madvise(h, h->room, MADV_DONTNEED);
    }
}

/* A program under the address sanitizer holds more by itself than any limit: its pages would be given back without end. */
enum { CHECKED = LARGE == SIZE_MAX };

void kr_mem_kept(void)
{
    size_t limit = atomic_load(&pager.limit);
    if (CHECKED || !limit || atomic_load(&pager.held) <= 2 * spare_of(limit) || resident() < enough(limit))      /* the second: they fit into it all together */
        return;
    pthread_mutex_lock(&pager.lock);
    if (resident() >= enough(limit)) {   /* nobody else did it meanwhile */
        take_back(pager.blocks);
        take_back(pager.spare);
    }
    pthread_mutex_unlock(&pager.lock);
}

/* What is not a loop of kr_for. */
static void watch(void *self)
{
    (void)self;
    while (atomic_load(&pager.limit)) {
        nanosleep(&(struct timespec){ 0, 300000 }, NULL);
        kr_mem_kept();
    }
}

static void into(struct head **list, struct head *h)
{
    h->next = *list;
    h->at = list;
    if (h->next)
        h->next->at = &h->next;
    *list = h;
}

static void out_of(struct head *h)
{
    *h->at = h->next;
    if (h->next)
        h->next->at = h->at;
}

static int nameless(void)
{
    int fd = open(pager.folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char name[4096];
    if (snprintf(name, sizeof name, "%s/.kray-memory-XXXXXX", pager.folder) >= (int)sizeof name)
        return -1;
    fd = mkstemp(name);
    if (fd >= 0)
        unlink(name);
    return fd;
}

/* NULL: errno says why. */
static struct head *in_file(size_t room)
{
    pthread_mutex_lock(&pager.lock);
    struct head *h = pager.spare;
    while (h && (h->room < room || h->room > 2 * room))
        h = h->next;
    if (h) {
        out_of(h);
        pager.spares--;
    }
    pthread_mutex_unlock(&pager.lock);
    if (!h) {
        int fd = nameless(), e = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)room);
        h = e ? MAP_FAILED : mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        e = e || h != MAP_FAILED ? e : errno;
        if (fd >= 0)
            close(fd);
        errno = e;
        if (e)
            return NULL;
        h->room = room;
        atomic_fetch_add(&pager.held, room);
    }
    pthread_mutex_lock(&pager.lock);
    into(&pager.blocks, h);
    pthread_mutex_unlock(&pager.lock);
    return h;
}

static void unmap(struct head *h)
{
    atomic_fetch_sub(&pager.held, h->room);
    munmap(h, h->room);
}

static void file_gone(struct head *h)
{
    pthread_mutex_lock(&pager.lock);
    out_of(h);
    bool keep = atomic_load(&pager.limit) && h->room <= SPARE && pager.spares < SPARES;
    if (keep) {
        into(&pager.spare, h);
        pager.spares++;
    }
    pthread_mutex_unlock(&pager.lock);
    if (!keep)
        unmap(h);
}

int kr_mem_page(const char *folder, size_t limit)
{
    kr_assert(!atomic_load(&pager.limit) && limit);
    pager.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (pager.statm < 0)
        return kr_fail(KR_EFILE, "/proc/self/statm, by which a limit of memory is kept, cannot be read: %s", strerror(errno));
    pager.program = resident();
    int e = (pager.folder = kr_strdup(folder)) ? 0 : kr_error_code();
    int fd = e ? -1 : nameless();
    if (!e && fd < 0)
        e = kr_fail(KR_EFILE, "%s: no file can be made there for what memory does not hold: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    size_t least = pager.program + (12 << 20);      /* where it takes more than the limit by itself */
    atomic_store(&pager.limit, e ? 0 : limit > least ? limit : least);
    if (!e && (e = kr_thread_start(&pager.watch, watch, NULL)))
        atomic_store(&pager.limit, 0);
    if (e)
        kr_mem_unpage();
    return e;
}

void kr_mem_unpage(void)
{
    atomic_store(&pager.limit, 0);
    kr_thread_join(&pager.watch);
    for (struct head *h; (h = pager.spare); pager.spares--) {
        out_of(h);
        unmap(h);
    }
    if (pager.folder)
        close(pager.statm);
    kr_free_at(&pager.folder);
}

size_t kr_mem_pages(void)
{
    size_t limit = atomic_load(&pager.limit);
    return limit ? 2 * spare_of(limit) : 0;
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
    bool paged = bytes >= LEAST && atomic_load(&pager.limit);
    char *block = paged ? (char *)in_file(room) : bytes >= LARGE ? map(room) : malloc(room + ALIGN - 16), *p = block;      /* malloc's are aligned to 16 */
    if (!p && paged) {
        int e = errno;
        char more[32];
        atomic_fetch_add(&refused, 1);
        kr_fail(KR_EMEM, "%s: numbers that memory does not hold want %s more on disk, and there is no such room (%s): choose another folder for the output, larger voxels (--voxel) or a larger --memory",
                pager.folder, kr_size_text(more, (double)room), strerror(e));
        return NULL;
    }
    if (!p) {
        atomic_fetch_add(&refused, 1);
        kr_fail(KR_EMEM, "no memory for %.1f MiB more (%.1f MiB in use)", (double)bytes / 1048576, (double)now / 1048576);
        return NULL;
    }
    p += (ALIGN - (uintptr_t)p % ALIGN) % ALIGN;
    struct head *head = (struct head *)(void *)p;
    head->bytes = bytes;
    head->block = paged ? NULL : block;
    size_t v = atomic_fetch_add(&now, bytes) + bytes, top = atomic_load(&peak);
    while (v > top && !atomic_compare_exchange_weak(&peak, &top, v))
        ;
    return p + ALIGN;
}

void *kr_alloc_zero(size_t n, size_t size)
{
    void *p = kr_alloc(n, size);
    if (p && (n * size < LARGE || !((struct head *)(void *)((char *)p - ALIGN))->block))      /* blocks in files may be old ones */
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
    if (!head.block)
        file_gone((struct head *)(void *)base);
    else if (head.bytes >= LARGE)
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
