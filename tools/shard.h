/* shard.h: a study dealt out to several runs, which know nothing of each other. Private to tools/. */
#ifndef KRAY_SHARD_H
#define KRAY_SHARD_H
#include "batch.h"
#include "kray/recon.h"

struct shard { long i, n; };              /* run i of n, from 1; n 0: not dealt out */
/* "2/4", or "slurm": task SLURM_ARRAY_TASK_ID of an array from .._MIN to .._MAX in steps of .._STEP, .._COUNT in all. Refuses an array with
 * gaps, which would leave out what the missing tasks have to do. */
int shard_parse(struct shard *s, const char *text) KR_MUST_USE;
/* owner[k], 1 to n, of each input, the same in every run: by the points that the plan finds in the header, the largest first, each to the run with
 * the least so far. What cannot be planned is dealt out, too, so that one run tells why. job: of the method, or the one that auto takes most. */
int shard_deal(long *owner, const struct batch *b, long n, kr_job *job, const char *from) KR_MUST_USE;
#endif
