/* dealt.h: one image made by several processes (kray recon under mpirun). All do the same, step by step; the slices of the loops named here are dealt out among them, and
 * afterwards each holds the results of all. The images are those of one process, bit for bit. */
#ifndef KRAY_DEALT_H
#define KRAY_DEALT_H
#include "kray/array.h"
#ifdef __cplusplus
extern "C" {
#endif

/* How the processes reach each other; kr_trace.dealer of a job that is shared. All functions but `next`, which any thread may call, are called by all processes in the same order. */
typedef struct kr_dealer {
    void *self;
    int rank;                                             /* of this process, from 0                         */
    int processes;
    long (*next)(void *self, long loop, long n);          /* the next of 0..n-1 of this loop that nobody has; -1: none is left */
    int (*join)(void *self, void *bytes, size_t n);       /* bytes = those of all processes, or-ed           */
    /* code: what became of this process, 0 or a refusal on record. 0 where no process has one; else the same refusal everywhere: that of the lowest rank that has
     * one. Refuses where n, the length of the loop, differs. */
    int (*agree)(void *self, int code, long n);
    bool inside;                                          /* a slice of this process alone is worked on      */
    long loops;                                           /* how many were dealt out, from 0                 */
} kr_dealer;
int kr_dealt_processes(const kr_trace *trace);            /* 1 where alone                                   */

/* Memory of which body(self, i) writes the part that belongs to i, and nothing else; without pointers. What it held before is lost where slices are dealt out. */
typedef struct kr_made { void *bytes; size_t n; } kr_made;
kr_made kr_made_of(const kr_array *a);                    /* a: contiguous                                   */
/* body(self, i) for i in 0..n-1, each once: `wide`: side by side, by kr_for; otherwise one after the other in this thread. Under a dealer for some of them, and `made` (ends with
 * NULL) is that of all; within a body it is kr_for. Returns the first refusal. */
int kr_deal(const kr_trace *trace, long n, bool wide, kr_body *body, void *self, const kr_made *made) KR_MUST_USE;

/* Progress of the bodies of one loop, which may run side by side: what each tells is told to `outer` as that of the whole job, "slice 3/16, fista", and never goes back. */
typedef struct kr_units kr_units;
kr_units *kr_units_new(const kr_trace *outer, const char *unit, long n) KR_MUST_USE;
const kr_trace *kr_units_trace(kr_units *u, long i);      /* that of body i; u NULL: NULL                    */
void kr_units_done(kr_units *u, long i);                  /* body i has ended                                */
void kr_units_unref(kr_units **u);

#ifdef __cplusplus
}
#endif
#endif
