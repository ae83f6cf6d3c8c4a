/* ranks.c: see ranks.h. A rank that is free sends what it has done and is sent the number of a file; a thread of rank 0 answers, the only one there that speaks MPI while
 * work goes on. Slices of one file likewise. */
#include "ranks.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>

/* How OpenMPI, MPICH and Slurm's own tell a process how many there are. */
static int started_as(void)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS" };
    for (int i = 0; i < 3; i++)
        if (getenv(names[i]))
            return atoi(getenv(names[i]));
    return 1;
}

#ifndef KR_MPI
int ranks_join(struct ranks *r)
{
    *r = (struct ranks){ .count = 1, .last = -1 };
    return started_as() <= 1 ? 0 : kr_fail(KR_EUSAGE, "mpirun started %d processes, and this kray was built without MPI (meson setup build -Dmpi=enabled): each would do the same; "
                                           "--shard I/N needs none", started_as());
}

const kr_trace *ranks_trace(struct ranks *r, const kr_trace *trace)
{
    (void)r;
    return trace;
}

int ranks_begin(struct ranks *r, struct record *record)
{
    r->record = record;
    return 0;
}

long ranks_next(struct ranks *r, const struct record_row *done)
{
    (void)r;
    (void)done;
    return -1;
}

void ranks_leave(struct ranks *r) { (void)r; }
void ranks_wait(struct ranks *r) { (void)r; }
void ranks_give_up(const struct ranks *r) { (void)r; }

int ranks_share(struct ranks *r)
{
    (void)r;
    return 0;
}

const kr_trace *ranks_share_trace(struct ranks *r, const kr_trace *outer)
{
    (void)r;
    return outer;
}

int ranks_shared(struct ranks *r, int code)
{
    (void)r;
    return code;
}
#else
#include <errno.h>
#include <mpi.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK = 1, ANSWER = 2, ASK_SLICE = 3, ANSWER_SLICE = 4 };

/* The process that mpirun started waits for the one that works, so that one that is killed (by want of memory, say) is an exit status of 1. */
static void stand_by(void)
{
    pid_t above = getpid(), child = fork();
    if (child < 0)
        return;                                                  /* it works itself */
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != above)
            _exit(1);
        return;
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        kill(child, SIGTERM);                                    /* asked to stop */
    if (WIFSIGNALED(status)) {
        kr_show(stderr, "kray: a rank was ended by a signal: ");
        kr_show(stderr, strsignal(WTERMSIG(status)));
        kr_show(stderr, "\n");
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int ranks_join(struct ranks *r)
{
    *r = (struct ranks){ .count = 1, .last = -1 };
    if (started_as() <= 1)
        return 0;
    fflush(NULL);
    stand_by();
    int level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level) || MPI_Comm_rank(MPI_COMM_WORLD, &r->rank) || MPI_Comm_size(MPI_COMM_WORLD, &r->count))
        return kr_fail(KR_EREFUSED, "MPI cannot be started");
    if (level < MPI_THREAD_MULTIPLE)
        return kr_fail(KR_EREFUSED, "this MPI cannot be used by several threads");
    pthread_mutex_init(&r->lock, NULL);
    return 0;
}

static void note(void *self, int level, const char *sentence)
{
    struct ranks *r = self;
    if (level <= KR_INFO)
        kr_text_add(&r->said, "%c%s\n", level == KR_WARNING ? 'W' : 'I', sentence);
}

const kr_trace *ranks_trace(struct ranks *r, const kr_trace *trace)
{
    if (r->count < 2)
        return trace;
    r->quiet = (kr_trace){ note, NULL, r, trace ? trace->stop : NULL };
    return &r->quiet;
}

/* ---- Rank 0 ---- */
/* One row, and what was said meanwhile; under lock. */
static void take(struct ranks *r, const char *text, int rank)
{
    json_t *o = json_loads(text, 0, NULL);
    long k = o ? (long)json_integer_value(json_object_get(o, "file")) : -1;
    const char *said = json_string_value(json_object_get(o, "said")), *why = json_string_value(json_object_get(o, "error"));
    for (const char *p = said; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        kr_say(&r->record->trace, *p == 'W' ? KR_WARNING : KR_INFO, "rank %d: %.*s", rank, (int)strcspn(p + 1, "\n"), p + 1);
    if (k >= 0 && k < r->record->count) {
        if (why)
            kr_fail(KR_EREFUSED, "%s", why);
        r->broken |= record_note(r->record, k, (int)json_integer_value(json_object_get(o, "state")), json_string_value(json_object_get(o, "method")),
                                 json_number_value(json_object_get(o, "seconds"))) || record_table(r->record->folder, r->record->row, r->record->count, &r->record->log);
        kr_error_clear();
    }
    json_decref(o);
}

static long deal(struct ranks *r, int rank)
{
    long k = r->next < r->files ? r->next++ : -1;
    if (k >= 0)
        r->record->row[k].owner = rank;
    return k;
}

static void answer_all(void *self)
{
    struct ranks *r = self;
    while (r->left) {
        int there, n;
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, ASK, MPI_COMM_WORLD, &there, &s);
        if (!there) {
            poll(NULL, 0, 2);
            continue;
        }
        MPI_Get_count(&s, MPI_CHAR, &n);
        kr_auto char *text = kr_alloc_zero((size_t)n + 1, 1);
        if (!text)                                               /* it cannot be answered without being read */
            MPI_Abort(MPI_COMM_WORLD, 1);
        MPI_Recv(text, n, MPI_CHAR, s.MPI_SOURCE, ASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        pthread_mutex_lock(&r->lock);
        take(r, text, s.MPI_SOURCE);
        long k = deal(r, s.MPI_SOURCE);
        pthread_mutex_unlock(&r->lock);
        MPI_Send(&k, 1, MPI_LONG, s.MPI_SOURCE, ANSWER, MPI_COMM_WORLD);
        r->left -= k < 0;
    }
}

int ranks_begin(struct ranks *r, struct record *record)
{
    if (r->rank)
        return 0;
    r->record = record;
    r->files = record->count;
    r->left = r->count - 1;
    return record_table(record->folder, record->row, record->count, &record->log) ? kr_error_code() : kr_thread_start(&r->dealer, answer_all, r);
}

/* ---- All ---- */
long ranks_next(struct ranks *r, const struct record_row *done)
{
    long k = -1;
    json_t *o = json_object();
    if (done) {
        json_object_set_new(o, "file", json_integer(r->last));
        json_object_set_new(o, "state", json_integer((json_int_t)done->state));
        json_object_set_new(o, "seconds", json_number(done->seconds));
        if (done->method)
            json_object_set_new(o, "method", json_words(done->method));
        if (done->why)
            json_object_set_new(o, "error", json_words(done->why));
    } else
        json_object_set_new(o, "file", json_integer(-1));
    if (r->said.s)
        json_object_set_new(o, "said", json_words(r->said.s));
    char *text = json_dumps(o, 0);
    json_decref(o);
    if (!text)
        return -1;
    if (!r->rank) {
        pthread_mutex_lock(&r->lock);
        take(r, text, 0);
        k = deal(r, 0);
        pthread_mutex_unlock(&r->lock);
    } else {
        MPI_Send(text, (int)strlen(text), MPI_CHAR, 0, ASK, MPI_COMM_WORLD);
        MPI_Recv(&k, 1, MPI_LONG, 0, ANSWER, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    kr_text_clear(&r->said);
    free(text);
    return r->last = k;
}

void ranks_give_up(const struct ranks *r)
{
    if (r->count > 1)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

void ranks_wait(struct ranks *r)
{
    if (r->dealer)
        kr_thread_join(&r->dealer);
}

void ranks_leave(struct ranks *r)
{
    if (r->count < 2)
        return;
    ranks_wait(r);
    MPI_Finalize();
    pthread_mutex_destroy(&r->lock);
    kr_text_clear(&r->said);
}

/* ---- Slices of one file ---- */
/* On rank 0. Ranks leave a loop together, so that there is one at a time. */
static long next_slice(struct ranks *r, const long loop[2])
{
    pthread_mutex_lock(&r->lock);
    if (loop[0] != r->loop) {
        r->loop = loop[0];
        r->taken = 0;
    }
    long i = r->taken < loop[1] ? r->taken++ : -1;
    pthread_mutex_unlock(&r->lock);
    return i;
}

static void answer_slices(void *self)
{
    struct ranks *r = self;
    while (!atomic_load(&r->over)) {
        int there;
        long loop[2];
        MPI_Status s;
        MPI_Iprobe(MPI_ANY_SOURCE, ASK_SLICE, MPI_COMM_WORLD, &there, &s);
        if (!there) {
            poll(NULL, 0, 2);
            continue;
        }
        MPI_Recv(loop, 2, MPI_LONG, s.MPI_SOURCE, ASK_SLICE, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        long i = next_slice(r, loop);
        MPI_Send(&i, 1, MPI_LONG, s.MPI_SOURCE, ANSWER_SLICE, MPI_COMM_WORLD);
    }
}

static long next(void *self, long loop, long n)
{
    struct ranks *r = self;
    long i, of[2] = { loop, n };
    if (!r->rank)
        return next_slice(r, of);
    pthread_mutex_lock(&r->lock);                                /* one question at a time: answers have no names */
    MPI_Send(of, 2, MPI_LONG, 0, ASK_SLICE, MPI_COMM_WORLD);
    MPI_Recv(&i, 1, MPI_LONG, 0, ANSWER_SLICE, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    pthread_mutex_unlock(&r->lock);
    return i;
}

static int join(void *self, void *bytes, size_t n)
{
    (void)self;
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < 1 << 30 ? n - at : 1 << 30;
        MPI_Allreduce(MPI_IN_PLACE, (char *)bytes + at, (int)k, MPI_BYTE, MPI_BOR, MPI_COMM_WORLD);
    }
    return 0;
}

/* A rank that failed on its own is here while others leave a loop: they learn of it there. */
static int agree(void *self, int code, long n)
{
    struct ranks *r = self;
    char sentence[1024] = "";
    long least[3] = { code ? r->rank : r->count, n, -n };
    MPI_Allreduce(MPI_IN_PLACE, least, 3, MPI_LONG, MPI_MIN, MPI_COMM_WORLD);
    int who = (int)least[0];
    if (who == r->count && least[1] == -least[2])
        return 0;
    r->failed = true;
    if (who == r->count)
        return kr_fail(KR_EREFUSED, "the ranks do not do the same: loops of %ld and of %ld slices; do all have the same kray, threads and memory?", least[1], -least[2]);
    if (who == r->rank)
        strncpy(sentence, kr_error(), sizeof sentence - 1);
    MPI_Bcast(&code, 1, MPI_INT, who, MPI_COMM_WORLD);
    MPI_Bcast(sentence, sizeof sentence, MPI_CHAR, who, MPI_COMM_WORLD);
    return kr_fail(code, "%s", sentence);
}

static void pass_on(void *self, int level, const char *sentence)
{
    const struct ranks *r = self;
    if (r->slices.inside)
        kr_say(r->outer, level, "rank %d: %s", r->rank, sentence);
    else if (!r->rank)
        kr_say(r->outer, level, "%s", sentence);
}

static void pass_progress(void *self, const char *what, double done, double total)
{
    const struct ranks *r = self;
    if (!r->rank)
        kr_progress(r->outer, what, done, total);
}

const kr_trace *ranks_share_trace(struct ranks *r, const kr_trace *outer)
{
    r->outer = outer;
    r->slices = (kr_dealer){ r, r->rank, r->count, next, join, agree };
    r->quiet = (kr_trace){ pass_on, pass_progress, r, outer ? outer->stop : NULL, &r->slices };
    return &r->quiet;
}

int ranks_share(struct ranks *r)
{
    if (!r->rank && kr_thread_start(&r->dealer, answer_slices, r))
        return kr_error_code();
    return 0;
}

int ranks_shared(struct ranks *r, int code)
{
    if (!r->failed)
        code = agree(r, code, 0);
    atomic_store(&r->over, true);
    ranks_wait(r);
    return r->rank ? 0 : code;
}
#endif
