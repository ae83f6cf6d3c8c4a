/* server.h: clients of kray serve, each with a session and two threads. Private to tools/. */
#ifndef KRAY_SERVER_H
#define KRAY_SERVER_H
#include "recipes.h"
#include "each.h"
#include <stdatomic.h>

struct server {
    struct recipes recipes;          /* first: the self of kr_mrd_host                                  */
    kr_mrd_host host;
    kr_mrd_limits limits;
    double idle;                     /* seconds without a byte                                          */
    long most, jobs;                 /* sessions; reconstructions at once                               */
    const char *save;                /* folder of journals; NULL: none                                  */
    const char *each;                /* a program that looks at every image; NULL: none                  */
    double timeout;                  /* seconds that it may take for one                                */
    const kr_trace *trace;           /* its say may be called by any thread                             */
    /* Private */
    pthread_mutex_t lock;
    pthread_cond_t free_slot;
    long running;
    struct client *first;
    long number;
    atomic_long open;
    struct noise { char *measurement; kr_text bytes; } noise[64];        /* of the last measurements that brought some; under lock */
    int noise_next;
    atomic_bool stop;
    atomic_long sessions, refused, images, failed, dropped, lines, journals;
    atomic_llong bytes_in, bytes_out;
    double started;
};
int server_open(struct server *s) KR_MUST_USE;
void server_take(struct server *s, int fd, const char *from);        /* a new client                                 */
void server_reap(struct server *s);                                  /* joins what has finished; call it now and then */
void server_stop(struct server *s);                                  /* what runs is finished; waits for it          */
void server_close(struct server *s);
void server_status(struct server *s, kr_text *json);
void server_metrics(struct server *s, kr_text *text);                /* Prometheus                                   */

/* ---- journal.c ---- */
struct journal { int fd; char *part, *name; bool bad; };
int journal_open(struct journal *j, const char *folder, long number) KR_MUST_USE;
void journal_put(struct journal *j, const void *bytes, size_t n);     /* trouble is kept for the end                  */
/* What was written, if it is worth it, becomes NAME.h5 where it holds acquisitions and nothing that such a file has no place for; else it stays, as NAME.bin. *result: its
 * name. */
int journal_close(struct journal *j, bool keep, char **result, kr_text *note) KR_MUST_USE;
/* Journals that a server left which was killed: finished as above. */
int journal_recover(const char *folder, const kr_trace *trace) KR_MUST_USE;
#endif
