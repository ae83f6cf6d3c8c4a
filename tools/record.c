/* record.c: see record.h. */
#include "record.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECORD_MOST = 1 << 28 };
static const char *const states[] = { "open", "done", "already there", "failed" };

/* ---- What is said ---- */
static void say(void *self, int level, const char *sentence)
{
    struct record *r = self;
    char now[32];
    time_t s = time(NULL);
    struct tm tm;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", localtime_r(&s, &tm));
    if (level <= KR_INFO)
        kr_text_add(&r->log, "%s %s%s\n", now, level == KR_WARNING ? "WARNING " : "", sentence);
    kr_say(r->outer, level, "%s", sentence);
}

static void progress(void *self, const char *what, double done, double total) { kr_progress(((struct record *)self)->outer, what, done, total); }

/* ---- Opening ---- */
int record_open(struct record *r, const char *folder, long i, long n, const char *settings, long count, char *const *input, char *const *output, const kr_trace *outer)
{
    *r = (struct record){ .folder = folder, .i = i, .n = n, .settings = kr_strdup(settings), .row = kr_alloc_zero((size_t)count + 1, sizeof *r->row), .outer = outer };
    r->trace = (kr_trace){ say, progress, r, outer ? outer->stop : NULL };
    if (!r->settings || !r->row)
        return kr_error_code();
    size_t inside = strlen(folder);
    while (inside && folder[inside - 1] == '/')
        inside--;
    for (; r->count < count; r->count++) {
        struct record_row *row = &r->row[r->count];
        const char *below = output[r->count];
        bool within = !strncmp(below, folder, inside) && below[inside] == '/';
        *row = (struct record_row){ .input = kr_strdup(input[r->count]), .output = kr_strdup(within ? below + inside + strspn(below + inside, "/") : below), .owner = 1 };
        if (!row->input || !row->output)
            return kr_error_code();
    }
    return 0;
}

void record_close(struct record *r)
{
    for (long k = 0; r->row && k <= r->count; k++) {
        kr_free(r->row[k].input);
        kr_free(r->row[k].output);
        kr_free(r->row[k].method);
        kr_free(r->row[k].why);
    }
    kr_free(r->row);
    kr_free(r->settings);
    kr_text_clear(&r->log);
    *r = (struct record){ 0 };
}

int record_note(struct record *r, long k, int state, const char *method, double seconds)
{
    struct record_row *row = &r->row[k];
    row->state = state;
    row->seconds = seconds;
    kr_free_at(&row->method);
    kr_free_at(&row->why);
    if ((method && !(row->method = kr_strdup(method))) || (state == ROW_FAILED && !(row->why = kr_strdup(kr_error()))))
        return kr_error_code();
    return 0;
}

/* ---- The file ---- */
int record_write(const struct record *r)
{
    if (r->unsaved)
        return 0;
    json_t *files = json_array(), *log = json_array();
    for (long k = 0; k < r->count; k++) {
        const struct record_row *row = &r->row[k];
        json_t *o = json_object();
        json_object_set_new(o, "input", json_words(row->input));
        json_object_set_new(o, "output", json_words(row->output));
        json_object_set_new(o, "shard", json_integer(row->owner));
        json_object_set_new(o, "state", json_words(states[row->state]));
        if (row->method)
            json_object_set_new(o, "method", json_words(row->method));
        if (row->why)
            json_object_set_new(o, "error", json_words(row->why));
        if (row->state == ROW_DONE || row->state == ROW_FAILED)
            json_object_set_new(o, "seconds", json_number(row->seconds));
        json_array_append_new(files, o);
    }
    for (const char *p = r->log.s; p && *p; p += strcspn(p, "\n"), p += *p == '\n') {
        kr_auto char *line = kr_strf("%.*s", (int)strcspn(p, "\n"), p);
        json_array_append_new(log, json_words(line));
    }
    json_t *all = json_pack("{s:s,s:I,s:I,s:o,s:b,s:o,s:o}", "kray", kr_version(), "shard", (json_int_t)r->i, "of", (json_int_t)r->n, "settings", json_words(r->settings), "ended",
                            (int)r->ended, "files", files, "log", log);
    kr_auto char *path = kr_strf("%s/kray-shard-%ld-of-%ld.json", r->folder, r->i, r->n);
    char *s = all && path ? json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    kr_text t = { 0 };
    if (s)
        kr_text_add(&t, "%s\n", s);
    int e = s ? kr_text_write(path, &t) : kr_fail(KR_EMEM, "no memory for the record of the run");
    kr_text_clear(&t);
    free(s);
    json_decref(all);
    return e;
}

static int wrong(const char *path, const char *what) { return kr_fail(KR_EFORMAT, "%s is no record of a run: %s", path, what); }

static int read_row(struct record_row *row, const json_t *o, const char *path)
{
    const char *input = json_string_value(json_object_get(o, "input")), *output = json_string_value(json_object_get(o, "output"));
    const char *state = json_string_value(json_object_get(o, "state")), *method = json_string_value(json_object_get(o, "method")), *why = json_string_value(json_object_get(o, "error"));
    int k = 0;
    while (state && k < 4 && strcmp(state, states[k]))
        k++;
    if (!input || !output || !state || k == 4 || !json_is_integer(json_object_get(o, "shard")))
        return wrong(path, "one of its files lacks input, output, shard or state");
    *row = (struct record_row){ .input = kr_strdup(input), .output = kr_strdup(output), .owner = (long)json_integer_value(json_object_get(o, "shard")), .state = k,
                                .method = method ? kr_strdup(method) : NULL, .why = why ? kr_strdup(why) : NULL, .seconds = json_number_value(json_object_get(o, "seconds")) };
    return row->input && row->output && (!method || row->method) && (!why || row->why) ? 0 : kr_error_code();
}

static int take(struct record *r, const json_t *all, const char *path)
{
    const json_t *files = json_object_get(all, "files"), *log = json_object_get(all, "log");
    const char *version = json_string_value(json_object_get(all, "kray")), *settings = json_string_value(json_object_get(all, "settings"));
    if (!version || !settings || !json_is_array(files) || !json_is_array(log))
        return wrong(path, "kray, settings, files or log is missing");
    if (strcmp(version, kr_version()))
        return kr_fail(KR_EREFUSED, "%s was written by version %.40s, and this is %s", path, version, kr_version());
    r->i = (long)json_integer_value(json_object_get(all, "shard"));
    r->n = (long)json_integer_value(json_object_get(all, "of"));
    r->ended = json_is_true(json_object_get(all, "ended"));
    if (r->i < 1 || r->n < r->i)
        return wrong(path, "its shard is not one of 1 to N");
    r->settings = kr_strdup(settings);
    r->row = kr_alloc_zero(json_array_size(files) + 1, sizeof *r->row);
    if (!r->settings || !r->row)
        return kr_error_code();
    for (size_t k = 0; k < json_array_size(files); k++, r->count++)
        if (read_row(&r->row[k], json_array_get(files, k), path))
            return kr_error_code();
    for (size_t k = 0; k < json_array_size(log); k++) {
        const char *line = json_string_value(json_array_get(log, k));
        const char *space = line ? strchr(line, ' ') : NULL;
        if (space)
            kr_text_add(&r->log, "%.*s shard %ld:%s\n", (int)(space - line), line, r->i, space);
    }
    return r->log.failed ? kr_error_code() : 0;
}

int record_read(struct record *r, const char *path)
{
    size_t n;
    *r = (struct record){ 0 };
    kr_auto char *text = kr_file_whole(path, RECORD_MOST, &n);
    json_error_t why;
    if (!text)
        return kr_error_code();
    json_t *all = json_loads(text, 0, &why);
    int e = json_is_object(all) ? take(r, all, path) : wrong(path, all ? "it is no object" : why.text);
    json_decref(all);
    return e;
}

/* ---- Table and log of all ---- */
/* A field of a table: in quotes, where it has to be. */
static void field(kr_text *t, const char *text, const char *end)
{
    bool quotes = text && strpbrk(text, ",\"\n\r");
    for (const char *p = quotes ? text : ""; *p; p++) {
        if (p == text)
            kr_text_put(t, "\"", 1);
        kr_text_put(t, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    }
    kr_text_add(t, "%s%s", quotes ? "\"" : text ? text : "", end);
}

int record_table(const char *folder, const struct record_row *row, long count, const kr_text *log)
{
    kr_text t = { 0 };
    kr_text_add(&t, "input,output,state,method,seconds,shard,error\n");
    for (long k = 0; k < count; k++) {
        field(&t, row[k].input, ",");
        field(&t, row[k].output, ",");
        field(&t, row[k].state == ROW_OPEN ? "missing" : states[row[k].state], ",");
        field(&t, row[k].method, ",");
        if (row[k].state == ROW_DONE || row[k].state == ROW_FAILED)
            kr_text_add(&t, "%.3f", row[k].seconds);
        kr_text_add(&t, ",%ld,", row[k].owner);
        field(&t, row[k].why, "\n");
    }
    kr_auto char *table = kr_strf("%s/kray-table.csv", folder);
    kr_auto char *lines = kr_strf("%s/kray-log.txt", folder);
    int e = !table || !lines || kr_text_write(table, &t) || kr_text_write(lines, log) ? kr_error_code() : 0;
    kr_text_clear(&t);
    return e;
}
