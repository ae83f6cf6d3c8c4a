/* cmd_stream.c: kray stream: one MRD session on standard input and output, as a stage of a pipe. */
#include "kray/mrd.h"
#include "kray/recon.h"
#include "tool.h"
#include "each.h"
#include "json.h"
#include "recipes.h"
#include "rows.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef struct opts { const char *config, *recipes, *files, *each; int64_t memory; long threads; double timeout; bool json; } opts;
static const kr_opt table[] = {
    { "config", 'c', KR_OPT_TEXT, offsetof(opts, config), NULL, "WORD|JSON", "configuration, whatever the stream says: a method, echo, null, or JSON" },
    { "recipes", 0, KR_OPT_FILE, offsetof(opts, recipes), NULL, "FOLDER", "recipes: NAME.json in it is the configuration NAME" },
    { "files", 0, KR_OPT_FILE, offsetof(opts, files), NULL, "FOLDER", "where files are that options name, such as weights; without it anywhere" },
    { "memory", 0, KR_OPT_SIZE, offsetof(opts, memory), "4G", "SIZE", "lines that may wait until their slice is complete" },
    { "each", 0, KR_OPT_TEXT, offsetof(opts, each), NULL, "COMMAND", "a program that reads each image as an MRD message and answers by a line of JSON, for the stream and stderr" },
    { "timeout", 0, KR_OPT_REAL, offsetof(opts, timeout), "10", "SECONDS", "seconds that --each may take for an image" },
    ROW_THREADS(opts),
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON, to standard error: messages go to standard output" },
    KR_OPT_END };

static int send_all(kr_mrd_session *s)
{
    size_t n;
    for (const char *p; p = kr_mrd_session_out(s, &n), n; ) {
        ssize_t k = write(1, p, n);
        if (k < 0 && errno != EINTR)
            return kr_fail(KR_EFILE, "standard output: %s", strerror(errno));
        kr_mrd_session_sent(s, k > 0 ? (size_t)k : 0);
    }
    return 0;
}

/* Recipes come first: they are the self of the host. */
struct stage_of_pipe { struct recipes recipes; const opts *o; struct each each; bool blind; };

static bool show(void *self, const void *message, size_t n)
{
    struct stage_of_pipe *p = self;
    return p->o->each && each_show(&p->each, message, n);
}

static void look(struct stage_of_pipe *p, kr_mrd_session *s, const kr_trace *trace)
{
    kr_auto char *line = NULL;
    bool failed = (!p->each.child && !p->each.ended && each_open(&p->each, p->o->each)) || each_ask(&p->each, p->o->timeout, &line);
    kr_say(trace, failed ? KR_WARNING : KR_INFO, "%s", failed ? kr_error() : line);
    kr_mrd_session_told(s, failed ? kr_error() : line, failed);
    kr_error_clear();
    p->blind |= failed;
}

/* Images leave before they are looked at. */
static int work(struct stage_of_pipe *p, kr_mrd_session *s, const kr_trace *trace)
{
    for (kr_mrd_work *w; (w = kr_mrd_session_take(s)); ) {
        kr_mrd_work_run(w, trace);
        kr_mrd_session_give(s, &w);
        if (send_all(s))
            return kr_error_code();
        while (p->each.images.len)
            look(p, s, trace);
    }
    return send_all(s);
}

static int converse(struct stage_of_pipe *p, kr_mrd_session *s, const kr_trace *trace)
{
    for (ssize_t k = 1; k && !kr_mrd_session_closed(s); ) {
        size_t room;
        unsigned char *to = kr_mrd_session_room(s, &room);
        k = to ? read(0, to, room) : 0;
        if (k < 0 && errno == EINTR)
            k = 1;
        else if (k < 0)
            return kr_fail(KR_EFILE, "standard input: %s", strerror(errno));
        else if (k)
            kr_mrd_session_filled(s, (size_t)k);
        else
            kr_mrd_session_end(s);
        if (kr_stopped(trace))
            kr_mrd_session_refuse(s, "stopped on request");
        if (work(p, s, trace))
            return kr_error_code();
    }
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *outer)
{
    const opts *o = p;
    if (files)
        return kr_fail(KR_EUSAGE, "'%s': the stream comes from standard input (< FILE)", *file);
    if (isatty(0) || isatty(1))
        return kr_fail(KR_EUSAGE, "messages come from standard input and go to standard output, and one of them is a terminal");
    if (o->memory < 1)
        return kr_fail(KR_EUSAGE, "--memory counts something");
    if (kr_threads_want(o->threads))
        return kr_error_code();
    kr_guard_memory();
    if (o->each && !o->each[strspn(o->each, " ")])
        return kr_fail(KR_EUSAGE, "--each is empty: a command is wanted, such as 'python3 track.py'");
    if (!(o->timeout > 0) || (!o->each && (o->timeout < 10 || o->timeout > 10)))
        return kr_fail(KR_EUSAGE, o->each ? "--timeout is a number of seconds above 0" : "--timeout is for --each, which is not given");
    struct answer a;
    answer_begin(&a, o->json, outer);
    a.aside = true;
    const kr_trace *trace = &a.trace;
    struct stage_of_pipe pipe = { { .methods = { .folder = o->files }, .folder = o->recipes }, .o = o, .each = { .in = -1, .out = -1 } };
    kr_mrd_host host = kr_mrd_methods_host(&pipe.recipes.methods);
    host.config = o->config;
    if (recipes_read(&pipe.recipes, trace))
        return kr_error_code();
    host.image = show;
    host.recipe = recipes_find;
    host.waits = true;
    host.words = recipes_words;
    json_t *j = answer_add(&a, NULL);
    kr_mrd_limits limits = kr_mrd_limits_preset;
    limits.memory = o->memory;
    kr_mrd_session *s = kr_mrd_session_new(&host, &limits);
    int e = s ? converse(&pipe, s, trace) : kr_error_code();
    if (!e) {
        kr_mrd_facts f;
        kr_mrd_session_facts(s, &f);
        kr_say(trace, KR_INFO, "%s: %ld lines, %ld images in, %ld images out", *f.name ? f.name : "no configuration", f.lines, f.images_in, f.images_out);
        json_object_set_new(j, "config", json_words(*f.name ? f.name : NULL));
        json_object_set_new(j, "measurement", json_words(*f.measurement ? f.measurement : NULL));
        json_object_set_new(j, "lines", json_integer(f.lines));
        json_object_set_new(j, "images_in", json_integer(f.images_in));
        json_object_set_new(j, "images_out", json_integer(f.images_out));
        json_object_set_new(j, "failed", json_integer(f.failed));
        if (f.refused || f.failed)
            e = kr_fail(KR_EREFUSED, "%s", f.sentence);
        else if (pipe.blind)
            e = kr_fail(KR_EREFUSED, "--each did not see all images");
    }
    if (e)
        answer_failed(&a);
    kr_mrd_session_unref(&s);
    each_close(&pipe.each);
    recipes_clear(&pipe.recipes);
    return answer_end(&a, e);
}

const kr_tool kr_tool_stream = { "stream", "Scanner", "serve one MRD session on standard input and output", "[options] <IN >OUT",
    "  kray stream <session.bin >answer.bin                     # the configuration is in the stream\n"
    "  scanner | kray stream -c grappa | viewer\n"
    "  kray stream -c '{\"method\":\"sense\",\"options\":{\"lambda\":0.01},\"pixels\":\"ushort\"}' <session.bin >answer.bin\n",
    table, sizeof(opts), NULL, run };
