/* shard.c: see shard.h. */
#include "shard.h"
#include "tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MOST = 100000 };

/* ---- Which run this is ---- */
static int whole_number(long *to, const char *text)
{
    char *end;
    errno = 0;
    *to = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno ? 0 : -1;
}

static int of_slurm(struct shard *s)
{
    static const char *const names[] = { "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT" };
    long v[5];
    for (int k = 0; k < 5; k++) {
        const char *text = getenv(names[k]);
        if (!text)
            return kr_fail(KR_EUSAGE, "--shard slurm: %s is not set: this is no task of an array (sbatch --array=1-N)", names[k]);
        if (whole_number(&v[k], text))
            return kr_fail(KR_EUSAGE, "--shard slurm: %s is '%.40s', and a number is wanted", names[k], text);
    }
    long id = v[0], min = v[1], max = v[2], step = v[3], count = v[4];
    if (step < 1 || max < min || id < min || id > max || count < 1)
        return kr_fail(KR_EUSAGE, "--shard slurm: task %ld of an array from %ld to %ld in steps of %ld, %ld tasks, makes no sense", id, min, max, step, count);
    if ((max - min) / step + 1 != count || (max - min) % step || (id - min) % step)
        return kr_fail(KR_EUSAGE, "--shard slurm: the array has gaps (%ld tasks, and from %ld to %ld in steps of %ld there are %ld), and nobody would do what the missing ones have "
                       "to; give an array without gaps, or --shard I/N", count, min, max, step, (max - min) / step + 1);
    *s = (struct shard){ (id - min) / step + 1, count };
    return 0;
}

int shard_parse(struct shard *s, const char *text)
{
    *s = (struct shard){ 0, 0 };
    if (!text)
        return 0;
    if (!strcmp(text, "slurm"))
        return of_slurm(s);
    const char *slash = strchr(text, '/');
    kr_auto char *first = slash ? kr_strf("%.*s", (int)(slash - text), text) : NULL;
    if (!slash || !first || whole_number(&s->i, first) || whole_number(&s->n, slash + 1) || s->n < 1 || s->n > RUNS_MOST || s->i < 1 || s->i > s->n)
        return slash && !first ? kr_error_code() : kr_fail(KR_EUSAGE, "--shard %.60s: I/N with 1 <= I <= N is wanted, as in 2/4, or slurm", text);
    return 0;
}

/* ---- Who does what ---- */
struct part { double points; long i; };

static int largest_first(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return x->points > y->points ? -1 : x->points < y->points ? 1 : (x->i > y->i) - (x->i < y->i);
}

/* Measured samples of the header, which all machines agree on; the plan's times are partly measured, and differ. */
static double points_of(const char *input, kr_job *job, const char *from)
{
    kr_cost cost;
    long piece;
    kr_scoped(scan) head = NULL;
    bool fine = !kr_guard_try(input, from, KR_RAW) && !kr_job_plan_file(job, &cost, &piece, &head, input);
    kr_error_clear();                                            /* its run will tell */
    return fine ? (double)kr_count(head->shape) : 0;
}

int shard_deal(long *owner, const struct batch *b, long n, kr_job *job, const char *from)
{
    kr_auto struct part *part = kr_alloc((size_t)b->count, sizeof *part);
    kr_auto struct { double points; long count; } *load = kr_alloc_zero((size_t)n, sizeof *load);
    if (!part || !load)
        return kr_error_code();
    for (long i = 0; i < b->count; i++)
        part[i] = (struct part){ points_of(b->input[i], job, from), i };
    qsort(part, (size_t)b->count, sizeof *part, largest_first);
    for (long i = 0; i < b->count; i++) {
        long least = 0;
        for (long k = 1; k < n; k++)
            if (load[k].points < load[least].points || (!(load[k].points > load[least].points) && load[k].count < load[least].count))
                least = k;
        load[least].points += part[i].points;
        load[least].count++;
        owner[part[i].i] = least + 1;
    }
    return 0;
}
