/* server.c: clients of kray serve: one thread moves bytes, another reconstructs. */
#include "server.h"
#include "sockets.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const double LINGER = 5;      /* seconds for a client to take the rest and to end its stream      */

struct client {
    struct recipes *recipes;         /* first, as in struct server: the self of kr_mrd_host              */
    struct server *server;
    struct client *next;
    kr_mrd_host host;
    kr_mrd_session *session;
    struct journal journal;
    struct each each;                /* its images under lock, else the worker's                        */
    kr_thread *mover, *worker;
    pthread_mutex_t lock;            /* of the session                                                  */
    pthread_cond_t wake;             /* of the worker                                                   */
    int fd, event;                   /* event: wakes the mover                                          */
    long number;
    char from[64];
    bool ending;                     /* the worker is to end                                            */
    atomic_bool over;                /* may be joined                                                   */
    double started;
};

static void poke(const struct client *c)
{
    uint64_t one = 1;
    (void)!write(c->event, &one, sizeof one);
}

/* ---- The worker ---- */
static void take_slot(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->running >= s->jobs)
        pthread_cond_wait(&s->free_slot, &s->lock);
    s->running++;
    pthread_mutex_unlock(&s->lock);
}

static void free_slot(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    s->running--;
    pthread_cond_signal(&s->free_slot);
    pthread_mutex_unlock(&s->lock);
}

/* Shows the program the images that wait; under lock, which is free while it looks. */
static void look(struct client *c)
{
    const struct server *s = c->server;
    while (c->each.images.len) {
        kr_auto char *line = NULL;
        pthread_mutex_unlock(&c->lock);
        bool failed = (!c->each.child && !c->each.ended && each_open(&c->each, s->each)) || each_ask(&c->each, s->timeout, &line);
        if (failed)
            kr_say(s->trace, KR_WARNING, "session=%ld %s", c->number, kr_error());
        else
            kr_say(s->trace, KR_INFO, "session=%ld each=%s", c->number, line);
        pthread_mutex_lock(&c->lock);
        kr_mrd_session_told(c->session, failed ? kr_error() : line, failed);
        kr_error_clear();
        poke(c);
    }
}

static void work(void *self)
{
    struct client *c = self;
    pthread_mutex_lock(&c->lock);
    while (!c->ending) {
        kr_mrd_work *w = kr_mrd_session_take(c->session);
        if (!w) {
            pthread_cond_wait(&c->wake, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        take_slot(c->server);
        kr_mrd_work_run(w, NULL);
        free_slot(c->server);
        pthread_mutex_lock(&c->lock);
        kr_mrd_session_give(c->session, &w);
        poke(c);
        look(c);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- The mover ---- */
/* Whether the client is still there. */
static bool receive(struct client *c, bool *ended)
{
    unsigned char *to;
    size_t room;
    to = kr_mrd_session_room(c->session, &room);
    if (!to)
        return true;                                             /* refused: no memory */
    long k = sockets_receive(c->fd, to, room, ended);
    if (k > 0)
        kr_mrd_session_filled(c->session, (size_t)k);
    if (k > 0 || *ended) {
        if (*ended)
            kr_mrd_session_end(c->session);
        pthread_cond_signal(&c->wake);
    }
    return k >= 0 || *ended;
}

static bool send_some(struct client *c)
{
    size_t n;
    const void *p = kr_mrd_session_out(c->session, &n);
    long k = n ? sockets_send(c->fd, p, n) : 0;
    if (k > 0)
        kr_mrd_session_sent(c->session, (size_t)k);
    return k >= 0;
}

static void move(struct client *c)
{
    double last = kr_seconds();
    bool alive = true, ended = false, shut = false, told = false;
    for (double since = 0; alive; ) {
        pthread_mutex_lock(&c->lock);
        size_t n;
        kr_mrd_session_out(c->session, &n);
        bool closed = kr_mrd_session_closed(c->session), wants = closed || kr_mrd_session_wants(c->session);
        if (atomic_load(&c->server->stop) && !closed && !told) {
            kr_mrd_session_refuse(c->session, "the server is stopping");
            told = true;
            pthread_mutex_unlock(&c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        if (closed && !n && !shut) {                             /* what still comes in is drained: else the client would lose our last images */
            shutdown(c->fd, SHUT_WR);
            shut = true;
        }
        since = closed ? since > 0 ? since : kr_seconds() : 0;
        if (closed && ((ended && !n) || kr_seconds() - since > LINGER))
            break;
        struct pollfd p[2] = { { .fd = ended && !n ? -1 : c->fd, .events = (short)((!ended && wants ? POLLIN : 0) | (n ? POLLOUT : 0)) }, { .fd = c->event, .events = POLLIN } };
        poll(p, 2, 250);
        uint64_t count;
        if (p[1].revents)
            (void)!read(c->event, &count, sizeof count);
        pthread_mutex_lock(&c->lock);
        if (p[0].revents & POLLIN) {
            alive = receive(c, &ended);
            last = kr_seconds();
        } else if (p[0].revents & (POLLERR | POLLHUP | POLLNVAL))
            alive = false;
        if (alive && p[0].revents & POLLOUT) {
            alive = send_some(c);
            last = kr_seconds();
        }
        bool late = kr_seconds() - last > c->server->idle;
        kr_mrd_session_out(c->session, &n);
        if (late && n)                                           /* it does not take what it asked for */
            alive = false;
        else if (late && kr_mrd_session_waits(c->session)) {
            char words[100];
            snprintf(words, sizeof words, "nothing came for %g seconds, the limit of this server", c->server->idle);
            kr_mrd_session_refuse(c->session, words);
            last = kr_seconds();
        }
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_lock(&c->lock);
    if (!kr_mrd_session_closed(c->session))
        kr_mrd_session_refuse(c->session, "the client is gone");
    pthread_mutex_unlock(&c->lock);
}

static void report(struct client *c)
{
    kr_mrd_facts f;
    struct server *s = c->server;
    kr_auto char *kept = NULL;
    kr_text note = { 0 };
    kr_mrd_session_facts(c->session, &f);
    atomic_fetch_add(&s->lines, f.lines);
    atomic_fetch_add(&s->images, f.images_out);
    atomic_fetch_add(&s->failed, f.failed);
    atomic_fetch_add(&s->dropped, f.dropped);
    atomic_fetch_add(&s->refused, f.refused);
    atomic_fetch_add(&s->bytes_in, f.bytes_in);
    atomic_fetch_add(&s->bytes_out, f.bytes_out);
    if (journal_close(&c->journal, f.messages > f.queries + 1 || !f.queries, &kept, &note))     /* a question and CLOSE are no scan */
        kr_say(s->trace, KR_WARNING, "session %ld: %s", c->number, kr_error());
    kr_error_clear();
    kr_say(s->trace, *f.sentence ? KR_WARNING : KR_INFO, "session=%ld client=%s config=%s measurement=%s lines=%ld images_in=%ld images_out=%ld failed=%ld dropped=%ld bytes_in=%lld bytes_out=%lld seconds=%.3f%s%s%s%s%s%s%s",
           c->number, c->from, *f.name ? f.name : "-", *f.measurement ? f.measurement : "-", f.lines, f.images_in, f.images_out, f.failed, f.dropped, (long long)f.bytes_in,
           (long long)f.bytes_out, kr_seconds() - c->started, kept ? " saved=" : "", kept ? kept : "", note.len ? " note=\"" : "", note.len ? note.s : "", note.len ? "\"" : "",
           *f.sentence ? " error: " : "", f.sentence);
    kr_text_clear(&note);
}

static void serve(void *self)
{
    struct client *c = self;
    move(c);
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    kr_thread_join(&c->worker);
    each_close(&c->each);
    close(c->fd);
    report(c);
    atomic_store(&c->over, true);
}

/* ---- Clients ---- */
static char *find_recipe(void *self, const char *name) { return recipes_find(((struct client *)self)->recipes, name); }
static void list_words(void *self, kr_text *to) { recipes_words(((struct client *)self)->recipes, to); }
static int open_method(void **job, enum kr_mrd_unit *unit, void *self, const kr_mrd_ask *ask)
{
    struct client *c = self;
    return c->server->host.open(job, unit, &c->recipes->methods, ask);
}
static void keep(void *self, const void *bytes, size_t n) { journal_put(&((struct client *)self)->journal, bytes, n); }
static bool show(void *self, const void *message, size_t n)
{
    struct client *c = self;
    return c->server->each && each_show(&c->each, message, n);
}
static void keep_noise(void *self, const char *measurement, const void *bytes, size_t n)
{
    struct server *s = ((struct client *)self)->server;
    int most = (int)(sizeof s->noise / sizeof *s->noise), at = 0;
    kr_text copy = { 0 };
    kr_text_put(&copy, bytes, n);
    char *name = copy.failed ? NULL : kr_strdup(measurement);
    if (!name) {
        kr_text_clear(&copy);
        return;
    }
    pthread_mutex_lock(&s->lock);
    while (at < most && (!s->noise[at].measurement || strcmp(s->noise[at].measurement, name)))
        at++;
    if (at == most) {                                            /* in place of the oldest */
        at = s->noise_next;
        s->noise_next = (s->noise_next + 1) % most;
    }
    kr_free(s->noise[at].measurement);
    kr_text_clear(&s->noise[at].bytes);
    s->noise[at] = (struct noise){ name, copy };
    pthread_mutex_unlock(&s->lock);
}

static bool noise_of(void *self, const char *measurement, kr_text *bytes)
{
    struct server *s = ((struct client *)self)->server;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < sizeof s->noise / sizeof *s->noise; i++)
        if (s->noise[i].measurement && !strcmp(s->noise[i].measurement, measurement))
            kr_text_put(bytes, s->noise[i].bytes.s, s->noise[i].bytes.len);
    pthread_mutex_unlock(&s->lock);
    return bytes->len && !bytes->failed;
}

static char *reply(void *self, const char *query)
{
    kr_text t = { 0 };
    if (strcmp(query, "kray::status"))
        return NULL;
    server_status(((struct client *)self)->server, &t);
    char *copy = t.s && !t.failed ? kr_strdup(t.s) : NULL;
    kr_text_clear(&t);
    return copy;
}

static void drop(struct client *c)
{
    kr_mrd_session_unref(&c->session);
    if (c->event >= 0)
        close(c->event);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    kr_free(c);
}

/* Says why not, closes, and lives on. */
static void turn_away(struct server *s, int fd, const char *from, const char *sentence)
{
    kr_text t = { 0 };
    kr_auto char *line = kr_strf("ERR %s", sentence);
    kr_mrd_put_text(&t, KR_MRD_TEXT, line ? line : "ERR no memory");
    kr_mrd_put_close(&t);
    if (!t.failed)
        sockets_send(fd, t.s, t.len);
    kr_text_clear(&t);
    shutdown(fd, SHUT_WR);
    close(fd);
    atomic_fetch_add(&s->refused, 1);
    kr_say(s->trace, KR_WARNING, "client=%s turned away: %s", from, sentence);
}

void server_take(struct server *s, int fd, const char *from)
{
    char words[120];
    snprintf(words, sizeof words, "this server has %ld sessions, as many as it takes", s->most);
    if (s->open >= s->most)                                      /* those that are over are none */
        server_reap(s);
    struct client *c = s->open < s->most ? kr_alloc_zero(1, sizeof *c) : NULL;
    if (!c) {
        turn_away(s, fd, from, s->open < s->most ? "no memory" : words);
        return;
    }
    *c = (struct client){ .recipes = &s->recipes, .server = s, .fd = fd, .number = ++s->number, .journal = { .fd = -1 }, .each = { .in = -1, .out = -1 }, .started = kr_seconds(), .host = s->host };
    snprintf(c->from, sizeof c->from, "%s", from);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    c->host.self = c;
    c->host.open = open_method;
    c->host.recipe = find_recipe;
    c->host.words = list_words;
    c->host.reply = reply;
    c->host.image = show;
    c->host.keep_noise = keep_noise;
    c->host.noise_of = noise_of;
    c->host.keep = s->save ? keep : NULL;
    c->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->session = c->event >= 0 ? kr_mrd_session_new(&c->host, &s->limits) : NULL;
    if (!c->session || (s->save && journal_open(&c->journal, s->save, c->number)) || kr_thread_start(&c->worker, work, c)) {
        turn_away(s, fd, from, c->event < 0 ? "no descriptors left" : kr_error());
        kr_auto char *kept = NULL;
        kr_text note = { 0 };
        if (journal_close(&c->journal, false, &kept, &note))
            kr_error_clear();
        kr_text_clear(&note);
        drop(c);
        return;
    }
    atomic_fetch_add(&s->sessions, 1);                           /* before it can ask for the figures */
    s->open++;
    if (kr_thread_start(&c->mover, serve, c)) {                  /* served by none: the worker ends, too */
        atomic_fetch_sub(&s->sessions, 1);
        s->open--;
        turn_away(s, fd, from, kr_error());
        pthread_mutex_lock(&c->lock);
        c->ending = true;
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->lock);
        kr_thread_join(&c->worker);
        drop(c);
        return;
    }
    c->next = s->first;
    s->first = c;
}

void server_reap(struct server *s)
{
    for (struct client **p = &s->first, *c; (c = *p); ) {
        if (!atomic_load(&c->over)) {
            p = &c->next;
            continue;
        }
        *p = c->next;
        kr_thread_join(&c->mover);
        drop(c);
        s->open--;
    }
}

int server_open(struct server *s)
{
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->free_slot, NULL);
    s->started = kr_seconds();
    return 0;
}

void server_stop(struct server *s)
{
    atomic_store(&s->stop, true);                                /* work that runs goes on: its images are sent */
    for (struct client *c = s->first; c; c = c->next)
        poke(c);
    while (s->first) {
        server_reap(s);
        poll(NULL, 0, 20);
    }
}

void server_close(struct server *s)
{
    for (size_t i = 0; i < sizeof s->noise / sizeof *s->noise; i++) {
        kr_free(s->noise[i].measurement);
        kr_text_clear(&s->noise[i].bytes);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->free_slot);
}

/* ---- Figures ---- */
void server_status(struct server *s, kr_text *t)
{
    kr_text_add(t, "{\"version\": \"%s\", \"seconds\": %.0f, \"open\": %ld, \"sessions\": %ld, \"refused\": %ld, \"lines\": %ld, \"images\": %ld, \"failed\": %ld, \"dropped\": %ld, \"bytes_in\": %lld, "
                "\"bytes_out\": %lld, \"memory_bytes\": %zu}", kr_version(), kr_seconds() - s->started, s->open, atomic_load(&s->sessions), atomic_load(&s->refused),
                atomic_load(&s->lines), atomic_load(&s->images), atomic_load(&s->failed), atomic_load(&s->dropped), (long long)atomic_load(&s->bytes_in), (long long)atomic_load(&s->bytes_out), kr_mem_now());
}

void server_metrics(struct server *s, kr_text *t)
{
    const struct { const char *name, *kind, *help; double value; } all[] = {
        { "kray_sessions_open", "gauge", "sessions with a client now", (double)s->open },
        { "kray_sessions_total", "counter", "sessions begun", (double)atomic_load(&s->sessions) },
        { "kray_sessions_refused_total", "counter", "sessions or clients refused", (double)atomic_load(&s->refused) },
        { "kray_lines_total", "counter", "acquisitions received in sessions that ended", (double)atomic_load(&s->lines) },
        { "kray_images_total", "counter", "images sent in sessions that ended", (double)atomic_load(&s->images) },
        { "kray_failed_total", "counter", "slices without an image", (double)atomic_load(&s->failed) },
        { "kray_dropped_total", "counter", "frames dropped because they came too fast", (double)atomic_load(&s->dropped) },
        { "kray_received_bytes_total", "counter", "bytes received in sessions that ended", (double)atomic_load(&s->bytes_in) },
        { "kray_sent_bytes_total", "counter", "bytes sent in sessions that ended", (double)atomic_load(&s->bytes_out) },
        { "kray_memory_bytes", "gauge", "memory held", (double)kr_mem_now() } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kr_text_add(t, "# HELP %s %s\n# TYPE %s %s\n%s %.0f\n", all[i].name, all[i].help, all[i].name, all[i].kind, all[i].name, all[i].value);
}
