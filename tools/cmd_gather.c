/* cmd_gather.c: kray gather: what the runs of --shard have done, in one table and one log; what is missing is named. */
#include "record.h"
#include "tool.h"
#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct opts { bool json; } opts;
static const kr_opt table[] = {
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: a list with an object for each file" },
    KR_OPT_END };

struct all { struct record *r; long count, room; };

static int is_record(const struct dirent *f)
{
    long i, n;
    int end = 0;
    return sscanf(f->d_name, "kray-shard-%ld-of-%ld.json%n", &i, &n, &end) == 2 && end && !f->d_name[end];
}

static int read_all(struct all *a, const char *folder)
{
    struct dirent **name;
    int count = scandir(folder, &name, is_record, alphasort), e = 0;
    if (count < 0)
        return kr_fail(KR_EFILE, "%s: the folder cannot be read: %s", folder, strerror(errno));
    a->r = kr_alloc_zero((size_t)count + 1, sizeof *a->r);
    for (int k = 0; k < count; k++) {
        kr_auto char *path = kr_strf("%s/%s", folder, name[k]->d_name);
        if (!e)
            e = a->r && path ? record_read(&a->r[a->count++], path) : kr_error_code();
        free(name[k]);
    }
    free(name);
    return e || count ? e : kr_fail(KR_EFILE, "%s holds no records of runs (kray-shard-I-of-N.json), as kray recon --shard leaves them beside its images", folder);
}

/* All of one study, dealt out in one way, with the same options. */
static int check(const struct all *a)
{
    const struct record *f = &a->r[0];
    for (long k = 1; k < a->count; k++) {
        const struct record *r = &a->r[k];
        if (r->n != f->n)
            return kr_fail(KR_EREFUSED, "there are records of %ld runs and of %ld: the study was dealt out twice; delete those that do not count (kray-shard-*-of-%ld.json)", f->n, r->n, r->n);
        if (strcmp(r->settings, f->settings))
            return kr_fail(KR_EREFUSED, "shard %ld ran with '%s', shard %ld with '%s': these images do not belong together", f->i, *f->settings ? f->settings : "no options", r->i,
                           *r->settings ? r->settings : "no options");
        bool same = r->count == f->count;
        for (long i = 0; same && i < f->count; i++)
            same = !strcmp(r->row[i].output, f->row[i].output) && !strcmp(r->row[i].input, f->row[i].input) && r->row[i].owner == f->row[i].owner;
        if (!same)
            return kr_fail(KR_EREFUSED, "shards %ld and %ld saw other files: the folder changed between them; run all shards again (--resume keeps what is done)", f->i, r->i);
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    int k = strncmp(*x, *y, 19);                                 /* the time; lines of one second stay in order */
    return k ? k : (*x > *y) - (*x < *y);
}

/* The lines of all, by time. */
static int join_logs(kr_text *out, const struct all *a)
{
    kr_text whole = { 0 };
    long n = 0;
    for (long k = 0; k < a->count; k++)
        kr_text_put(&whole, a->r[k].log.s ? a->r[k].log.s : "", a->r[k].log.len);
    for (size_t i = 0; i < whole.len; i++)
        n += whole.s[i] == '\n';
    kr_auto char **line = kr_alloc((size_t)n + 1, sizeof *line);
    int e = line && !whole.failed ? 0 : kr_error_code();
    n = 0;
    for (char *p = e ? NULL : whole.s, *end; p && (end = strchr(p, '\n')); p = end + 1) {
        *end = 0;
        line[n++] = p;
    }
    if (!e)
        qsort(line, (size_t)n, sizeof *line, by_time);
    for (long i = 0; !e && i < n; i++)
        kr_text_add(out, "%s\n", line[i]);
    kr_text_clear(&whole);
    return e;
}

static bool there(const char *folder, const char *output)
{
    struct stat st;
    kr_auto char *path = kr_strf("%s/%s", folder, output);
    return path && !stat(path, &st) && st.st_size > 0;
}

static int gather(struct all *a, const char *folder, struct answer *answer, const kr_trace *trace)
{
    struct record *f = &a->r[0];
    kr_auto const struct record **by = kr_alloc_zero((size_t)f->n + 1, sizeof *by);
    kr_auto struct record_row *row = kr_alloc_zero((size_t)f->count + 1, sizeof *row);
    if (!by || !row)
        return kr_error_code();
    for (long k = 0; k < a->count; k++)
        by[a->r[k].i] = &a->r[k];
    long missing = 0, failed = 0, runs = 0;
    for (long i = 1; i <= f->n; i++) {
        if (by[i] && by[i]->ended)
            continue;
        runs++;
        kr_say(trace, KR_WARNING, by[i] ? "shard %ld of %ld has not ended, or was killed" : "shard %ld of %ld left no record: it was not run", i, f->n);
    }
    for (long k = 0; k < f->count; k++) {
        const struct record *own = f->row[k].owner >= 1 && f->row[k].owner <= f->n ? by[f->row[k].owner] : NULL;
        row[k] = own ? own->row[k] : f->row[k];                  /* texts stay the records' */
        bool good = row[k].state == ROW_DONE || row[k].state == ROW_THERE;
        if (good && !there(folder, row[k].output)) {
            row[k].state = ROW_OPEN;
            good = false;
        }
        missing += row[k].state == ROW_OPEN;
        failed += row[k].state == ROW_FAILED;
        json_t *j = answer_add(answer, row[k].output);
        json_object_set_new(j, "input", json_words(row[k].input));
        json_object_set_new(j, "shard", json_integer(row[k].owner));
        json_object_set_new(j, "state", json_words(good ? row[k].state == ROW_DONE ? "done" : "already there" : row[k].state == ROW_FAILED ? "failed" : "missing"));
        json_object_set_new(j, "method", json_words(row[k].method));
        json_object_set_new(j, "seconds", row[k].state == ROW_DONE || row[k].state == ROW_FAILED ? json_number(row[k].seconds) : json_null());
        if (row[k].state == ROW_OPEN) {
            json_object_set_new(j, "error", json_words("missing"));
            kr_say(trace, KR_WARNING, "missing: %s (of %s, shard %ld)", row[k].output, row[k].input, row[k].owner);
        } else if (row[k].state == ROW_FAILED) {
            json_object_set_new(j, "error", json_words(row[k].why));
            kr_say(trace, KR_WARNING, "failed: %s", row[k].why ? row[k].why : row[k].input);
        }
    }
    kr_text log = { 0 };
    int e = join_logs(&log, a) || record_table(folder, row, f->count, &log) ? kr_error_code() : 0;
    kr_text_clear(&log);
    if (e)
        return e;
    kr_say(trace, KR_INFO, "%s/kray-table.csv, %s/kray-log.txt: %ld files of %ld shards", folder, folder, f->count, f->n);
    return missing || failed || runs ? kr_fail(KR_EREFUSED, "of %ld files %ld are missing and %ld failed; %ld of %ld shards did not end. Run these again with --resume", f->count, missing,
                                               failed, runs, f->n) : 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files != 1)
        return kr_fail(KR_EUSAGE, "one folder is wanted: the one that kray recon --shard wrote images to");
    struct all a = { 0 };
    struct answer answer;
    answer_begin(&answer, o->json, trace);
    int e = read_all(&a, *file) || check(&a) || gather(&a, *file, &answer, &answer.trace) ? kr_error_code() : 0;
    for (long k = 0; k < a.count; k++)
        record_close(&a.r[k]);
    kr_free(a.r);
    return answer_end(&answer, e);
}

const kr_tool kr_tool_gather = { "gather", "Reconstruct", "join the tables and logs of runs that shared a study (recon --shard)", "FOLDER [--json]",
    "  kray gather images/                                      # images/kray-table.csv, images/kray-log.txt; exit 0: all is there\n",
    table, sizeof(opts), NULL, run };
