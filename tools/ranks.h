/* ranks.h: kray recon under mpirun: the files of a study are dealt out one by one, as ranks become free, and rank 0 keeps the log and the table; of a single file the slices
 * are (kray/dealt.h). Private to tools/. */
#ifndef KRAY_RANKS_H
#define KRAY_RANKS_H
#include "record.h"
#include "kray/dealt.h"
#include <pthread.h>
#include <stdatomic.h>

struct ranks {
    int rank, count;                 /* count 1: not under mpirun                                       */
    /* Private */
    struct record *record;           /* of rank 0                                                       */
    pthread_mutex_t lock;            /* of the record and of next                                       */
    kr_thread *dealer;
    long next, files;
    int left;                        /* ranks that still work                                           */
    kr_trace quiet;                  /* what is said waits here for rank 0                               */
    kr_text said;
    long last;                       /* the file that this rank works on; -1: none                       */
    bool broken;
    kr_dealer slices;
    long loop, taken;                /* of the loop of slices that all are in                            */
    atomic_bool over, failed;        /* no more loops come; all know of a refusal                         */
    const kr_trace *outer;
};
/* Whether mpirun started us as one of several; joins them. Refuses to be one of several where Kray was built without MPI: all would do the same. */
int ranks_join(struct ranks *r) KR_MUST_USE;
/* What is said goes to rank 0 with the next row; a study that is not dealt out speaks as usual. */
const kr_trace *ranks_trace(struct ranks *r, const kr_trace *trace);
/* Rank 0 begins to deal out record's files (NULL elsewhere). */
int ranks_begin(struct ranks *r, struct record *record) KR_MUST_USE;
/* The next file of this rank, -1: none is left. done: what became of the one before; NULL: there was none. */
long ranks_next(struct ranks *r, const struct record_row *done);
/* A rank that cannot go on ends all. */
void ranks_give_up(const struct ranks *r);
/* On rank 0: until all ranks are done and their rows in the record. */
void ranks_wait(struct ranks *r);
void ranks_leave(struct ranks *r);

/* From here on all ranks make one image together, by the trace of ranks_share_trace. */
int ranks_share(struct ranks *r) KR_MUST_USE;
/* What is said goes to `outer`: on rank 0 all, elsewhere that of slices that others do not see. */
const kr_trace *ranks_share_trace(struct ranks *r, const kr_trace *outer);
/* The end of it: what became of it on any rank, told by rank 0 alone. */
int ranks_shared(struct ranks *r, int code) KR_MUST_USE;
#endif
