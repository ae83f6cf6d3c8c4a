/* base.h: refusals, memory, threads, notes: what everything else stands on. */
#ifndef KRAY_BASE_H
#define KRAY_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KR_MUST_USE __attribute__((warn_unused_result))
#define KR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* ---- Refusals --------------------------------------------------------------------------------
 * Makers return NULL, doers return 0 or one of these. The code and one sentence (what was wanted,
 * what was found) are on the record of the calling thread. */
enum {
    KR_OK       = 0,
    KR_EREFUSED = -1,  /* a value that makes no sense here                      */
    KR_EMEM     = -2,  /* no memory                                             */
    KR_EFILE    = -3,  /* a file cannot be opened, read or written              */
    KR_EFORMAT  = -4,  /* a file was read, but is not what it should be         */
    KR_ESHAPE   = -5,  /* shapes do not fit each other                          */
    KR_EUSAGE   = -6,  /* an option or command that does not exist              */
    KR_ESTOPPED = -7,  /* asked to stop (Ctrl-C)                                */
    KR_ENUMBER  = -8   /* not finite, empty or implausible numbers              */
};

/* Records code and sentence, replacing an earlier record; returns code. No full stop at the end. */
int kr_fail(int code, const char *fmt, ...) KR_PRINTF(2, 3);
/* Puts "text: " in front of the recorded sentence ("scan.h5: ..."); returns the recorded code. */
int kr_fail_in(const char *fmt, ...) KR_PRINTF(1, 2);
/* The recorded sentence of this thread ("" when none), its code (0 when none), and forgetting it. */
const char *kr_error(void);
int kr_error_code(void);
void kr_error_clear(void);
/* Copies another thread's refusal to this one (used by loops that start workers). */
int kr_fail_copy(int code, const char *sentence);

/* A broken contract inside the code: prints and aborts. Never reached by a file or an option. */
#define kr_assert(c) ((c) ? (void)0 : kr_broken(#c, __FILE__, __LINE__))
void kr_broken(const char *what, const char *file, int line) __attribute__((noreturn));

/* ---- Memory ------------------------------------------------------------------------------------
 * n * size bytes, 64-byte aligned; overflow and lack of memory are refused (NULL, KR_EMEM).
 * KR_FAIL_ALLOC=k in the environment lets the k-th allocation fail, for tests; so does kr_mem_fail(k) from now on, which
 * returns whether the one asked for before came to fail (0: none is to fail). */
bool kr_mem_fail(long k);
void *kr_alloc(size_t n, size_t size) KR_MUST_USE;       /* contents undefined */
void *kr_alloc_zero(size_t n, size_t size) KR_MUST_USE;  /* contents 0         */
void *kr_realloc(void *p, size_t old_n, size_t new_n, size_t size) KR_MUST_USE; /* NULL: p still valid */
void kr_free(void *p);
void kr_free_at(void *pp);                               /* frees *(void **)pp and clears it */
char *kr_strdup(const char *s) KR_MUST_USE;
char *kr_strf(const char *fmt, ...) KR_PRINTF(1, 2) KR_MUST_USE; /* a new string; free with kr_free */
/* How many allocations were refused so far. Whatever goes wrong in the wake of one, or seems to go well, is a lack of
 * memory: int e = ...; return kr_mem_lacked(e, refused_before) says so. */
long kr_mem_refused(void);
int kr_mem_lacked(int e, long refused_before);
size_t kr_mem_now(void);                                 /* bytes held at present        */
size_t kr_mem_peak(void);                                /* largest value so far         */

/* kr_scoped(array) x = ...; is dropped with kr_array_unref(&x) when x leaves its block. */
#define kr_scoped(type) __attribute__((cleanup(kr_##type##_unref))) kr_##type *
/* kr_auto char *s = kr_strf(...); is freed when s leaves its block. */
#define kr_auto __attribute__((cleanup(kr_free_at)))

/* ---- Threads: one level ------------------------------------------------------------------------
 * Runs body(self, i) for i in 0..n-1 on kr_threads() threads, each i exactly once, in any order and
 * place: the result must not depend on it. Inside, BLAS, FFTW and oneDNN run single, and a nested
 * kr_for runs in place. body returns 0 or a refusal; the first refusal (smallest i) is returned and
 * put on the caller's record; remaining i may then be left out. */
typedef int kr_body(void *self, long i);
int kr_for(long n, kr_body *body, void *self) KR_MUST_USE;
int kr_threads(void);               /* KR_THREADS, OMP_NUM_THREADS or the number of cores */
void kr_threads_set(int n);         /* n >= 1; before plans and operators are made: they hold scratch for each thread */
int kr_worker(void);                /* 0..kr_threads()-1: which scratch a body may use */
/* A thread of its own for what waits, such as a connection; numbers are kr_for's. Every one that was started is joined. */
typedef struct kr_thread kr_thread;
int kr_thread_start(kr_thread **t, void (*run)(void *self), void *self) KR_MUST_USE;
void kr_thread_join(kr_thread **t);

/* ---- Text: a string that grows ------------------------------------------------------------------
 * kr_text t = {0}; kr_text_add(&t, ...); use t.s; kr_text_clear(&t). On lack of memory t.failed is
 * set and t.s stays valid (never NULL once something was added). */
typedef struct kr_text { char *s; size_t len, room; bool failed; } kr_text;
void kr_text_add(kr_text *t, const char *fmt, ...) KR_PRINTF(2, 3);
void kr_text_put(kr_text *t, const char *bytes, size_t n);
void kr_text_clear(kr_text *t);

/* ---- Meta: ordered pairs of strings that travel with scans and images (provenance, sequence) ---- */
typedef struct kr_meta kr_meta;
kr_meta *kr_meta_new(void) KR_MUST_USE;
kr_meta *kr_meta_copy(const kr_meta *m) KR_MUST_USE;
void kr_meta_unref(kr_meta **m);
int kr_meta_set(kr_meta *m, const char *key, const char *fmt, ...) KR_PRINTF(3, 4); /* replaces */
const char *kr_meta_get(const kr_meta *m, const char *key);     /* NULL: not there; m may be NULL */
double kr_meta_number(const kr_meta *m, const char *key, double otherwise);
/* Files get notes with names of files alone, and nothing of institution and station (false, the default), or all of them, with the folders as they were given. Copies are
 * as their original. m may be NULL. */
void kr_meta_set_whole(kr_meta *m, bool whole);
bool kr_meta_whole(const kr_meta *m);
long kr_meta_count(const kr_meta *m);
const char *kr_meta_key(const kr_meta *m, long i);
const char *kr_meta_value(const kr_meta *m, long i);

/* ---- Trace: what a long job tells, how it is asked to stop, and with whom it shares its work ------
 * Every function that may take long takes a trace; NULL is silent and cannot be stopped. */
enum { KR_WARNING = 0, KR_INFO = 1, KR_DETAIL = 2 };
typedef struct kr_trace {
    void (*say)(void *self, int level, const char *sentence);
    void (*progress)(void *self, const char *what, double done, double total);
    void *self;
    const volatile int *stop;      /* non-zero once the user asked to stop */
    struct kr_dealer *dealer;      /* other processes that share the work (dealt.h); NULL: none */
} kr_trace;
void kr_say(const kr_trace *trace, int level, const char *fmt, ...) KR_PRINTF(3, 4);
void kr_progress(const kr_trace *trace, const char *what, double done, double total);
/* 0, or KR_ESTOPPED with "stopped on request" on record. */
int kr_stopped(const kr_trace *trace) KR_MUST_USE;

/* A job of n equal units (slices, files): progress told to the trace that comes back is told to `outer` as that of the whole job, "slice 3/16,
 * fista 42 %", with the units that are done. One unit: `outer` itself. *room is the caller's, and lives as long. */
typedef struct kr_trace_unit { kr_trace trace; const kr_trace *outer; const char *unit; long i, n; } kr_trace_unit;
const kr_trace *kr_trace_of(kr_trace_unit *room, const kr_trace *outer, const char *unit, long i, long n);

/* Opens a plain file for reading and tells its length: a descriptor, or a refusal. Folders, devices and pipes (also those that
 * nobody writes to, which would hold us up) are refused. */
int kr_file_open(const char *path, int64_t *bytes) KR_MUST_USE;
/* The whole of a plain file of at most `most` bytes, ended by a zero that *n does not count. Owner: the caller (kr_free). */
char *kr_file_whole(const char *path, size_t most, size_t *n) KR_MUST_USE;

/* A file that is to be written: in a folder of this process's own beside its place (".kray-HOST-PID-" and six letters, open to nobody
 * else, so that no link can be planted there), under its final name, and put in place when whole: under its name there is always
 * the old file or the whole new one. What a process that was killed left beside it is cleared away. */
typedef struct kr_beside { char *folder, *file, *place; } kr_beside;
int kr_beside_open(kr_beside *b, const char *path) KR_MUST_USE;       /* write to b->file, and what belongs to it beside that */
/* Syncs all files of the folder to the disk and puts them in place, b->file last; then, or on refusal, the folder is gone. */
int kr_beside_commit(kr_beside *b) KR_MUST_USE;
void kr_beside_drop(kr_beside *b);                                    /* instead: nothing is left */

/* Deterministic random numbers by counter: the same (seed, stream, i) gives the same number in any
 * order and on any thread. Source: the mixing function of SplitMix64, Steele et al. 2014. */
uint64_t kr_rand_bits(uint64_t seed, uint64_t stream, uint64_t i);
double kr_rand_uniform(uint64_t seed, uint64_t stream, uint64_t i);          /* [0,1)               */
void kr_rand_normal2(uint64_t seed, uint64_t stream, uint64_t i, double z[2]); /* two N(0,1), Box-Muller */

/* SHA-256 of a block as 64 hexadecimal digits and a zero (FIPS 180-4): digests of weights and inputs. */
void kr_digest(const void *bytes, size_t n, char hex[65]);

/* The number that 16 bits of IEEE 754 (binary16) hold. */
float kr_half(uint16_t bits);
/* The whole number of 1 to 8 bytes, the lowest first. */
static inline uint64_t kr_little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

double kr_seconds(void);            /* monotonic clock */
const char *kr_size_text(char room[32], double bytes);   /* "870 MiB", "1.14 GiB", written into room */
/* 0, 3 or 4: x86-64, x86-64-v3 (AVX2, FMA) or v4 (AVX-512), as the processor has it; KR_CPU=base|v3|v4 lowers it. */
int kr_cpu(void);
bool kr_cpu_bf16(void);                 /* AVX512-BF16: products of bfloat16 numbers   */
const char *kr_version(void);       /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
