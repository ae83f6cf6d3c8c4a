/* thread.c: the one place that starts threads. OpenMP, because oneDNN brings its threads too: sharing them keeps
 * idle ones of one library from spinning against working ones of another. */
#include "kray/pages.h"
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int chosen;

int kr_threads(void)
{
    int n = atomic_load(&chosen);
    if (n > 0)
        return n;
    const char *names[] = { "KR_THREADS", "OMP_NUM_THREADS" };
    for (int i = 0; i < 2 && n <= 0; i++) {
        const char *e = getenv(names[i]);
        n = e ? atoi(e) : 0;
    }
    if (n <= 0)
        n = omp_get_num_procs();
    if (n > 256)
        n = 256;
    atomic_store(&chosen, n);
    return n;
}

void kr_threads_set(int n)
{
    kr_assert(n >= 1);
    atomic_store(&chosen, n);
    omp_set_num_threads(n);
}

int kr_worker(void) { return omp_in_parallel() ? omp_get_thread_num() : 0; }

int kr_for(long n, kr_body *body, void *self)
{
    int threads = kr_threads();
    if (n < threads)
        threads = (int)n;
    if (threads <= 1 || omp_in_parallel()) {
        for (long i = 0; i < n; i++) {
            int e = body(self, i);
            kr_mem_kept();
            if (e)
                return e;
        }
        return 0;
    }
    struct { long at; int code; char sentence[1024]; } first = { n, 0, "" };
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    atomic_long next = 0, bound = n;      /* bound: no index after the first refusal is started */
#pragma omp parallel num_threads(threads)
    {
        for (long i; (i = atomic_fetch_add(&next, 1)) < atomic_load(&bound); ) {
            int e = body(self, i);
            kr_mem_kept();
            if (!e)
                continue;
            pthread_mutex_lock(&lock);
            if (i < first.at) {
                first.at = i;
                first.code = e;
                strncpy(first.sentence, kr_error(), sizeof first.sentence - 1);
                atomic_store(&bound, i);
            }
            pthread_mutex_unlock(&lock);
        }
    }
    return first.code ? kr_fail_copy(first.code, first.sentence) : 0;
}

/* ---- Threads that wait ---- */
struct kr_thread { pthread_t id; void (*run)(void *self); void *self; };

static void *begin(void *p)
{
    kr_thread *t = p;
    t->run(t->self);
    return NULL;
}

int kr_thread_start(kr_thread **t, void (*run)(void *self), void *self)
{
    *t = kr_alloc(1, sizeof **t);
    if (!*t)
        return kr_error_code();
    **t = (kr_thread){ .run = run, .self = self };
    int e = pthread_create(&(*t)->id, NULL, begin, *t);
    if (!e)
        return 0;
    kr_free_at(t);
    return kr_fail(KR_EMEM, "a thread cannot be started: %s", strerror(e));
}

void kr_thread_join(kr_thread **t)
{
    if (!*t)
        return;
    pthread_join((*t)->id, NULL);
    kr_free_at(t);
}
