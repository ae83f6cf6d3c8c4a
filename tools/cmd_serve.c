/* cmd_serve.c: kray serve: reconstructs what MRD clients send, beside a scanner. */
#include "kray/io.h"
#include "server.h"
#include "sockets.h"
#include "tool.h"
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct opts {
    const char *host, *recipes, *files, *save, *fallback, *each;
    long port, sessions, jobs, metrics, threads;
    int64_t memory, message;
    double idle, timeout;
    bool status, json;
} opts;
static const kr_opt table[] = {
    { "port", 'p', KR_OPT_INT, offsetof(opts, port), "9002", "N", "TCP port; 0: a free one, which is printed" },
    { "host", 0, KR_OPT_TEXT, offsetof(opts, host), "127.0.0.1", "ADDRESS", "address to listen at; 0.0.0.0: all of this machine, for anyone who reaches it" },
    { "recipes", 0, KR_OPT_FILE, offsetof(opts, recipes), NULL, "FOLDER", "NAME.json in it is the configuration NAME; read again on SIGHUP" },
    { "files", 0, KR_OPT_FILE, offsetof(opts, files), ".", "FOLDER", "where files are that options name, such as weights; clients reach no others" },
    { "default", 0, KR_OPT_TEXT, offsetof(opts, fallback), NULL, "WORD", "configuration used, with a warning, where a client asks for one that is not known; without: refused" },
    { "save", 0, KR_OPT_OUT, offsetof(opts, save), NULL, "FOLDER", "keep what clients send, as ISMRMRD files (recorded streams where these have no place for it)" },
    { "each", 0, KR_OPT_TEXT, offsetof(opts, each), NULL, "COMMAND", "a program for every session that reads each image as an MRD message and answers by a line of JSON, for client and log" },
    { "timeout", 0, KR_OPT_REAL, offsetof(opts, timeout), "10", "SECONDS", "seconds that --each may take for an image" },
    { "sessions", 0, KR_OPT_INT, offsetof(opts, sessions), "64", "N", "clients at once; more are turned away" },
    { "jobs", 0, KR_OPT_INT, offsetof(opts, jobs), "2", "N", "reconstructions at once, over all clients" },
    { "memory", 0, KR_OPT_SIZE, offsetof(opts, memory), "4G", "SIZE", "limit of what is kept of a client's lines until their slice is complete" },
    { "message", 0, KR_OPT_SIZE, offsetof(opts, message), "1G", "SIZE", "longest message" },
    { "idle", 0, KR_OPT_REAL, offsetof(opts, idle), "300", "SECONDS", "a client that is silent for longer is told so, and let go" },
    { "metrics", 0, KR_OPT_INT, offsetof(opts, metrics), "0", "PORT", "figures as Prometheus reads them, over HTTP at this port; 0: none" },
    { "threads", 0, KR_OPT_INT, offsetof(opts, threads), "0", "N", "threads of one reconstruction; 0: one per core" },
    { "status", 0, KR_OPT_FLAG, offsetof(opts, status), NULL, NULL, "ask a server that runs at this host and port for its figures, as JSON" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: the same figures at the end; of --status a list, as other commands" },
    KR_OPT_END };

/* ---- Sentences of all threads, one at a time, with the time of day ---- */
struct told { const kr_trace *outer; pthread_mutex_t lock; };

static void say(void *self, int level, const char *sentence)
{
    struct told *t = self;
    char now[32];
    time_t s = time(NULL);
    struct tm tm;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", localtime_r(&s, &tm));
    pthread_mutex_lock(&t->lock);
    kr_say(t->outer, level, "%s %s", now, sentence);
    pthread_mutex_unlock(&t->lock);
}

/* ---- Status ---- */
static int ask_status(const opts *o, const kr_trace *trace)
{
    int fd = sockets_connect(o->host, o->port, 0, trace);
    if (fd < 0)
        return kr_error_code();
    static const unsigned char numbers[16];
    kr_text ask = { 0 };
    kr_mrd_put(&ask, &(kr_mrd_message){ .id = KR_MRD_QUERY, .head = numbers, .head_bytes = sizeof numbers, .text = "kray::status", .text_bytes = 12 });
    kr_mrd_put_close(&ask);
    kr_mrd_wire *w = kr_mrd_wire_new(1 << 20);
    int e = w && !ask.failed && sockets_send(fd, ask.s, ask.len) == (long)ask.len ? 0 : kr_fail(KR_EREFUSED, "the server at %s:%ld takes no query", o->host, o->port);
    bool ended = false, answered = false;
    for (double until = kr_seconds() + 10; !e && !ended && !answered && kr_seconds() < until; ) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        poll(&p, 1, 250);
        size_t room;
        unsigned char *to = kr_mrd_wire_room(w, &room);
        long k = to ? sockets_receive(fd, to, room, &ended) : -1;
        kr_mrd_wire_filled(w, k > 0 ? (size_t)k : 0);
        kr_mrd_message m;
        while (!answered && k > 0 && kr_mrd_wire_next(w, &m) > 0)
            if (m.id == KR_MRD_RESPONSE) {
                kr_auto char *text = kr_mrd_text_of(&m);
                kr_print(o->json ? "[%s]\n" : "%s\n", text ? text : "");
                answered = true;
            }
        e = kr_stopped(trace);
    }
    if (!e && !answered)
        e = kr_fail(KR_EREFUSED, "the server at %s:%ld does not answer", o->host, o->port);
    kr_mrd_wire_unref(&w);
    kr_text_clear(&ask);
    close(fd);
    return e;
}

/* ---- Metrics ---- */
static void answer_metrics(struct server *s, int listening)
{
    char from[64], asked[2048];
    int fd = sockets_accept(listening, from);
    if (fd < 0)
        return;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    bool ended;
    kr_text body = { 0 }, all = { 0 };
    if (poll(&p, 1, 200) > 0 && sockets_receive(fd, asked, sizeof asked, &ended) > 0) {
        server_metrics(s, &body);
        kr_text_add(&all, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", body.len, body.s ? body.s : "");
        if (!all.failed)
            sockets_send(fd, all.s, all.len);
    }
    kr_text_clear(&body);
    kr_text_clear(&all);
    shutdown(fd, SHUT_WR);
    close(fd);
}

/* ---- The loop ---- */
static volatile sig_atomic_t hung_up;
static void on_hangup(int sig)
{
    (void)sig;
    hung_up = 1;
}

static void loop(struct server *s, int listening, int metrics, const kr_trace *trace)
{
    while (!*trace->stop) {
        struct pollfd p[2] = { { .fd = listening, .events = POLLIN }, { .fd = metrics, .events = POLLIN } };
        poll(p, 2, 250);
        char from[64];
        for (int fd; p[0].revents & POLLIN && (fd = sockets_accept(listening, from)) >= 0; )
            server_take(s, fd, from);
        if (p[1].revents & POLLIN)
            answer_metrics(s, metrics);
        if (hung_up) {
            hung_up = 0;
            if (recipes_read(&s->recipes, s->trace))
                kr_say(s->trace, KR_WARNING, "the recipes stay as they were: %s", kr_error());
            kr_error_clear();
        }
        server_reap(s);
        kr_error_clear();
    }
    alarm(0);                                                    /* a stop is waited for, unless it is asked for twice */
}

static int serve(const opts *o, struct server *s, const kr_trace *trace)
{
    long port, metrics_port;
    int listening = sockets_listen(o->host, o->port, &port), metrics = -1;
    if (listening < 0)
        return kr_error_code();
    if (o->metrics && (metrics = sockets_listen(o->host, o->metrics, &metrics_port)) < 0) {
        close(listening);
        return kr_error_code();
    }
    kr_say(s->trace, KR_INFO, "listening at %s:%ld", o->host, port);
    loop(s, listening, metrics, trace);
    close(listening);
    if (metrics >= 0)
        close(metrics);
    if (s->open)
        kr_say(s->trace, KR_INFO, "stopping: %ld sessions finish what runs", atomic_load(&s->open));
    server_stop(s);
    kr_say(s->trace, KR_INFO, "stopped after %ld sessions", atomic_load(&s->sessions));
    if (o->json) {
        kr_text t = { 0 };
        server_status(s, &t);
        kr_print("[%s]\n", t.s && !t.failed ? t.s : "");
        kr_text_clear(&t);
    }
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    if (files)
        return kr_fail(KR_EUSAGE, "'%s': a server takes no files; kray send gives it some", *file);
    if (o->port < 0 || o->port > 65535 || o->metrics < 0 || o->metrics > 65535)
        return kr_fail(KR_EUSAGE, "ports are numbers from 0 to 65535");
    if (o->status)
        return ask_status(o, trace);
    if (o->sessions < 1 || o->jobs < 1 || o->memory < 1 || o->message < 4096 || !(o->idle > 0))
        return kr_fail(KR_EUSAGE, "--sessions, --jobs, --memory, --message (4096 bytes at least) and --idle count something");
    if (o->each && !o->each[strspn(o->each, " ")])
        return kr_fail(KR_EUSAGE, "--each is empty: a command is wanted, such as 'python3 track.py'");
    if (!(o->timeout > 0) || (!o->each && (o->timeout < 10 || o->timeout > 10)))
        return kr_fail(KR_EUSAGE, o->each ? "--timeout is a number of seconds above 0" : "--timeout is for --each, which is not given");
    if (kr_threads_want(o->threads))
        return kr_error_code();
    kr_guard_memory();
    struct told t = { trace, PTHREAD_MUTEX_INITIALIZER };
    kr_trace own = { .say = say, .self = &t, .stop = trace->stop };
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    struct server s = { .recipes = { .methods = { .folder = o->files }, .folder = o->recipes, .lock = &lock }, .host = kr_mrd_methods_host(NULL), .trace = &own,
                        .limits = { .message = o->message, .memory = o->memory }, .idle = o->idle, .most = o->sessions, .jobs = o->jobs, .save = o->save, .each = o->each, .timeout = o->timeout };
    s.host.fallback = o->fallback;
    if (o->fallback && !s.host.knows(NULL, o->fallback))
        return kr_fail(KR_EUSAGE, "--default %s: there is no such method", o->fallback);
    /* Libraries that make tables when they are first used do so before there are threads. */
    long counters[6];
    if (kr_mrd_header_counters("<ismrmrdHeader/>", counters))
        return kr_error_code();
    json_object_seed(0);
    if ((o->save && (kr_folder_make(o->save) || journal_recover(o->save, &own))) || recipes_read(&s.recipes, &own))
        return kr_error_code();
    struct sigaction hangup = { .sa_handler = on_hangup };
    sigaction(SIGHUP, &hangup, NULL);
    int e = server_open(&s) ? kr_error_code() : serve(o, &s, trace);
    server_close(&s);
    recipes_clear(&s.recipes);
    return e;
}

const kr_tool kr_tool_serve = { "serve", "Scanner", "MRD server: reconstruct what clients send (a scanner, kray send)", "[options]",
    "  kray serve                                               # at 127.0.0.1:9002, until Ctrl-C\n"
    "  kray serve --host 0.0.0.0 --save scans/ --recipes recipes/ --metrics 9100\n"
    "  kray serve --default grappa --idle 60 --sessions 8\n"
    "  kray serve --each 'python3 track.py'                     # a tracking stage (docs/track.py)\n"
    "  kray serve --status --port 9002                          # figures of a server that runs\n",
    table, sizeof(opts), NULL, run };
