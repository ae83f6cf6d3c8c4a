/* session.c: the order in which messages may come, and what is answered. */
#include "session.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

const kr_mrd_limits kr_mrd_limits_preset = { (int64_t)1 << 30, (int64_t)4 << 30 };

enum { SENT_WAITING = 64 << 20, SENTENCES_MOST = 100 };

struct kr_mrd_session {
    const kr_mrd_host *host;
    kr_mrd_limits limits;
    kr_mrd_wire *wire;
    enum { BEGIN, CONFIGURED, HEADED, RUNNING, ENDING, CLOSED } state;
    bool broken;                     /* what still comes cannot be read: it is thrown away              */
    kr_mrd_ask ask;
    char *xml, *measurement, *noise_measurement;
    kr_text noise;                   /* noise lines that came, to be kept                               */
    bool noise_asked;
    void *job;                       /* NULL: not open, or none is wanted                               */
    bool opened;
    units units;
    answer answer;
    kr_mrd_work *first, **end;       /* to be taken                                                     */
    int64_t queued;
    long taken, told, looked, arrays, late_texts;
    kr_text out; size_t sent;
    kr_mrd_facts facts;
    char sentence[512];
};

kr_mrd_session *kr_mrd_session_new(const kr_mrd_host *host, const kr_mrd_limits *limits)
{
    kr_mrd_session *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->host = host;
    s->limits = limits ? *limits : kr_mrd_limits_preset;
    s->end = &s->first;
    s->units.memory = s->limits.memory;
    s->wire = kr_mrd_wire_new(s->limits.message);
    if (!s->wire)
        kr_mrd_session_unref(&s);
    return s;
}

static void drop_queue(kr_mrd_session *s)
{
    for (kr_mrd_work *w = s->first, *next; w; w = next) {
        next = w->next;
        work_drop(&w);
    }
    s->first = NULL;
    s->end = &s->first;
    s->queued = 0;
}

void kr_mrd_session_unref(kr_mrd_session **session)
{
    kr_mrd_session *s = *session;
    if (!s)
        return;
    kr_assert(!s->taken);
    drop_queue(s);
    units_clear(&s->units);
    if (s->job)
        s->host->close(s->job);
    ask_clear(&s->ask);
    kr_mrd_wire_unref(&s->wire);
    kr_free(s->xml);
    kr_free(s->measurement);
    kr_free(s->noise_measurement);
    kr_text_clear(&s->noise);
    kr_text_clear(&s->out);
    kr_free_at(session);
}

/* ---- What is said ---- */
static void say(kr_mrd_session *s, const char *level, const char *sentence)
{
    if (s->told == SENTENCES_MOST)
        sentence = "there is more to say, but so many sentences are enough";
    if (s->told++ > SENTENCES_MOST && strcmp(level, "ERR"))
        return;
    kr_auto char *line = kr_strf("%s %s", level, sentence);
    if (line)
        kr_mrd_put_text(&s->out, KR_MRD_TEXT, line);
    if (!strcmp(level, "ERR") && !*s->sentence)
        snprintf(s->sentence, sizeof s->sentence, "%s", sentence);
}

/* CLOSE, once nothing is left to be worked on. */
static void close_when_done(kr_mrd_session *s)
{
    if (s->state != ENDING || s->first || s->taken || s->looked)
        return;
    if (s->facts.dropped) {
        kr_auto char *dropped = kr_strf("%ld of %ld frames were dropped: they came faster than images are made", s->facts.dropped, s->facts.frames);
        say(s, "WRN", dropped ? dropped : "frames were dropped");
    }
    if (s->answer.cut) {
        kr_auto char *cut = kr_strf("%ld pixels were brighter than the scale of the first image allows, and are 4095", s->answer.cut);
        say(s, "WRN", cut ? cut : "some pixels were too bright for the scale of the first image");
    }
    kr_mrd_put_close(&s->out);
    s->state = CLOSED;
}

void kr_mrd_session_refuse(kr_mrd_session *s, const char *sentence)
{
    if (s->state >= CLOSED)
        return;
    s->facts.refused = true;
    say(s, "ERR", sentence);
    drop_queue(s);
    units_clear(&s->units);
    s->state = ENDING;
    close_when_done(s);
}

static void refuse(kr_mrd_session *s)
{
    kr_mrd_session_refuse(s, kr_error());
    kr_error_clear();
}

/* ---- Configuration ---- */
/* Once the first data come, or CLOSE: until then a text may change what the name said. */
static int open_job(kr_mrd_session *s)
{
    if (s->opened)
        return 0;
    s->opened = true;
    if (s->host->config) {
        ask_clear(&s->ask);
        if (ask_read(&s->ask, s->host->config))
            return kr_error_code();
    }
    kr_text warning = { 0 };
    int e = ask_resolve(&s->ask, s->host, &warning);
    if (warning.len)
        say(s, "WRN", warning.s);
    kr_text_clear(&warning);
    if (e)
        return e;
    s->facts.name = s->ask.name;
    if (ask_sends_nothing(&s->ask) || !strcasecmp(s->ask.name, "echo"))
        return 0;
    kr_scoped(scan) scan = kr_scan_new();
    if (!scan || kr_mrd_header_parse(scan, s->xml) || units_open(&s->units, s->xml))
        return kr_error_code();
    const char *id = kr_meta_get(scan->meta, "measurement_id"), *noise = kr_meta_get(scan->meta, "noise_measurement");
    s->measurement = kr_strdup(id ? id : "");
    s->noise_measurement = kr_strdup(noise ? noise : "");
    if (!s->measurement || !s->noise_measurement)
        return kr_error_code();
    s->facts.measurement = s->measurement;
    enum kr_mrd_unit by = s->ask.unit;
    e = s->host->open(&s->job, &by, s->host->self, &s->ask);
    s->units.spokes = s->ask.spokes;
    s->units.window = s->ask.window ? s->ask.window : 5 * s->ask.spokes;
    if (!e && s->ask.spokes && kr_is_multiband(scan))
        e = kr_fail(KR_EREFUSED, "slices were measured together, of which there are no frames by \"spokes\"");
    if (s->ask.spokes)
        by = KR_MRD_BY_SLICE;
    s->units.by = kr_is_multiband(scan) || by == KR_MRD_BY_METHOD ? KR_MRD_WHOLE : by;
    return e;
}

static int configure(kr_mrd_session *s, const kr_mrd_message *m)
{
    if (s->state >= CONFIGURED)
        return kr_fail(KR_EFORMAT, "message %ld is a second configuration", m->number);
    s->state = CONFIGURED;
    kr_auto char *text = kr_mrd_text_of(m);
    if (!text)
        return kr_error_code();
    return s->host->config ? 0 : m->id == KR_MRD_CONFIG_FILE ? ask_name(&s->ask, text) : ask_read(&s->ask, text);
}

/* FIRE's additional configuration; later texts are no part of the protocol. */
static int text(kr_mrd_session *s, const kr_mrd_message *m)
{
    kr_auto char *t = kr_mrd_text_of(m);
    if (!t)
        return kr_error_code();
    if (s->state > HEADED || s->state < CONFIGURED) {
        if (!s->late_texts++)
            say(s, "WRN", "a text came where none is expected (it belongs between the header and the first data), and is not used");
        return 0;
    }
    if (s->host->config)
        say(s, "DBG", "the additional configuration is not used: another was given to the server");
    else if (t[strspn(t, " \t\r\n")] == '{')
        return ask_read(&s->ask, t);
    else
        say(s, "WRN", "the text after the header is no JSON {...} and is not used");
    return 0;
}

/* ---- Noise of another measurement ---- */
enum { NOISE_MOST = 64 << 20 };

static int take_noise(kr_mrd_session *s, const kr_text *bytes, long channels)
{
    const unsigned char *p = (const unsigned char *)bytes->s;
    size_t left = bytes->len;
    for (int64_t k; left && kr_mrd_length(&k, p, left, INT64_MAX) == 1 && (size_t)k <= left; p += k, left -= (size_t)k) {
        kr_mrd_message m;
        unit *none;
        kr_mrd_split(&m, p, (size_t)k);
        if (kr_mrd_line_parse(m.head).channels != channels)
            return kr_fail(KR_EREFUSED, "has %d channels, and this scan %ld", kr_mrd_line_parse(m.head).channels, channels);
        if (units_put(&s->units, &none, &m, 0))
            return kr_error_code();
    }
    return 0;
}

/* Once, before the first image: the noise that came, or that of the measurement which the header names; what cannot whiten is told. */
static void find_noise(kr_mrd_session *s, long channels)
{
    if (s->noise_asked)
        return;
    s->noise_asked = true;
    if (s->units.noise.count) {
        long had = s->units.noise.h[0].line.channels;
        kr_auto char *t = had != channels ? kr_strf("the noise has %ld channels, and this scan %ld: channels are not whitened", had, channels) : NULL;
        if (had != channels)
            say(s, "WRN", t ? t : "the noise has other channels than the scan");
        return;
    }
    if (!*s->noise_measurement) {
        if (channels > 1)
            say(s, "DBG", "no noise came before the first line, and the header names no scan that measured it: channels are not whitened");
        return;
    }
    kr_text bytes = { 0 };
    bool found = s->host->noise_of && s->host->noise_of(s->host->self, s->noise_measurement, &bytes);
    if (!found || take_noise(s, &bytes, channels)) {
        kr_auto char *t = kr_strf("the noise was measured in another scan, %.200s, which %s: channels are not whitened", s->noise_measurement, found ? kr_error() : "did not come here");
        say(s, "WRN", t ? t : "the noise scan is missing");
        kr_error_clear();
    }
    kr_text_clear(&bytes);
}

static void note_noise(kr_mrd_session *s, const kr_mrd_message *m)
{
    kr_line l = kr_mrd_line_parse(m->head);
    if (kr_line_kind_of(l.flags) != KR_LINES_NOISE) {
        find_noise(s, l.channels);
        return;
    }
    if (s->host->keep_noise && *s->measurement && s->noise.len + m->bytes <= NOISE_MOST)
        kr_text_put(&s->noise, (const char *)m->raw, m->bytes);
}

/* ---- Data ---- */
/* A frame that still waits when a newer one of its slice is there will never be in time. */
static void drop_late(kr_mrd_session *s, const kr_mrd_work *newer)
{
    s->facts.frames++;
    for (kr_mrd_work **p = &s->first, *w; !s->ask.keep_late && !s->host->waits && (w = *p); ) {
        if (w->slice != newer->slice || w->code) {
            p = &w->next;
            continue;
        }
        if (!s->facts.dropped++) {
            kr_auto char *t = kr_strf("frames come faster than images are made: those that still wait when the next is complete are dropped (first: slice %ld, repetition %ld)", w->slice, w->repetition);
            say(s, "WRN", t ? t : "frames are dropped");
        }
        *p = w->next;
        if (!*p)
            s->end = p;
        s->queued -= s->queued >= w->bytes ? w->bytes : s->queued;
        work_drop(&w);
    }
}

static int enqueue(kr_mrd_session *s, unit *done)
{
    for (unit *x = done, *next; x; x = next) {
        next = x->next;
        if (!x->imaging && x->l.count) {
            kr_auto char *none = kr_strf("no imaging lines came for slice %ld, repetition %ld, but %ld others", x->slice, x->repetition, x->l.count);
            say(s, "WRN", none ? none : "no imaging lines came for a slice");
        }
        kr_mrd_work *w = units_work(&s->units, &x);
        if (!w) {
            for (x = next; x; x = next) {
                next = x->next;
                unit_drop(&s->units, &x);
            }
            return kr_error_code();
        }
        if (!w->scan && !w->code) {
            work_drop(&w);
            continue;
        }
        w->host = s->host;
        w->job = s->job;
        if (s->ask.spokes)
            drop_late(s, w);
        s->queued += w->bytes;
        *s->end = w;
        s->end = &w->next;
    }
    return 0;
}

static int over_memory(const kr_mrd_session *s)
{
    if (s->units.bytes + s->queued <= s->limits.memory)
        return 0;
    return kr_fail(KR_EMEM, "the lines that wait for their slice to be complete take more than %lld MiB, the limit of a session", (long long)(s->limits.memory >> 20));
}

static int data(kr_mrd_session *s, const kr_mrd_message *m)
{
    if (s->state < HEADED)
        return kr_fail(KR_EFORMAT, "message %ld is %s, but no header came before it", m->number, m->id == KR_MRD_IMAGE ? "an image" : m->id == KR_MRD_WAVEFORM ? "a waveform"
                       : m->id == KR_MRD_ACQUISITION ? "an acquisition" : "an array");
    s->state = RUNNING;
    if (open_job(s))
        return kr_error_code();
    s->facts.lines += m->id == KR_MRD_ACQUISITION;
    s->facts.waveforms += m->id == KR_MRD_WAVEFORM;
    s->facts.images_in += m->id == KR_MRD_IMAGE;
    s->arrays += m->id == KR_MRD_NDARRAY;
    if (!strcasecmp(s->ask.name, "echo")) {
        kr_text_put(&s->out, (const char *)m->raw, m->bytes);
        s->facts.images_out += m->id == KR_MRD_IMAGE;
        return 0;
    }
    if (ask_sends_nothing(&s->ask))
        return 0;
    if (m->id == KR_MRD_IMAGE) {                                 /* no method makes images of images: they pass */
        if (s->facts.images_in == 1)
            say(s, "WRN", "images came, which the method does not work on: they are sent back as they are");
        kr_text_put(&s->out, (const char *)m->raw, m->bytes);
        s->facts.images_out++;
        return 0;
    }
    if (m->id != KR_MRD_ACQUISITION)
        return 0;
    unit *done;
    note_noise(s, m);
    int e = units_put(&s->units, &done, m, s->facts.lines);
    return e ? e : enqueue(s, done) ? kr_error_code() : over_memory(s);
}

static int query(kr_mrd_session *s, const kr_mrd_message *m)
{
    kr_auto char *asked = kr_mrd_text_of(m);
    kr_auto char *own = asked && s->host->reply ? s->host->reply(s->host->self, asked) : NULL;
    kr_auto char *reply = !asked ? NULL : own ? kr_strdup(own) : strstr(asked, "info") ? kr_strf("kray %s", kr_version())
                        : kr_strf("kray %s does not know this query", kr_version());
    if (!reply)
        return kr_error_code();
    kr_mrd_put(&s->out, &(kr_mrd_message){ .id = KR_MRD_RESPONSE, .head = m->head + 8, .head_bytes = 8, .text = reply, .text_bytes = strlen(reply) });
    return 0;
}

/* What came and was not used. */
static void tell_unused(kr_mrd_session *s)
{
    kr_text t = { 0 };
    bool nothing = ask_sends_nothing(&s->ask) || !strcasecmp(s->ask.name, "echo");
    if (!nothing && s->facts.waveforms)
        kr_text_add(&t, "%ld waveforms came; they are no part of the image", s->facts.waveforms);
    if (!nothing && s->arrays)
        kr_text_add(&t, "%s%ld arrays came, which no method uses", t.len ? "; " : "", s->arrays);
    if (!nothing && units_left_over(&s->units) > 0)
        kr_text_add(&t, "%s%ld readouts at the end make no whole frame", t.len ? "; " : "", units_left_over(&s->units));
    if (t.len)
        say(s, "DBG", t.s);
    if (!nothing && !s->facts.lines && !s->facts.images_in)
        say(s, "WRN", "no acquisitions and no images came: there is nothing to reconstruct");
    kr_text_clear(&t);
}

static int end(kr_mrd_session *s)
{
    if (s->state < HEADED) {
        if (s->state != BEGIN || !s->facts.queries)
            say(s, "WRN", s->state == BEGIN ? "the client closed without a word" : "the client closed before a header came: there is nothing to reconstruct");
        s->state = ENDING;
        close_when_done(s);
        return 0;
    }
    if (open_job(s))
        return kr_error_code();
    if (s->noise.len && !s->noise.failed)
        s->host->keep_noise(s->host->self, s->measurement, s->noise.s, s->noise.len);
    int e = s->job ? enqueue(s, units_close(&s->units)) : 0;
    if (e)
        return e;
    tell_unused(s);
    s->state = ENDING;
    close_when_done(s);
    return 0;
}

static int message(kr_mrd_session *s, const kr_mrd_message *m)
{
    switch (m->id) {
    case KR_MRD_CONFIG_FILE: case KR_MRD_CONFIG_TEXT:
        return configure(s, m);
    case KR_MRD_HEADER:
        if (s->state != CONFIGURED && (s->state > CONFIGURED || !s->host->config))
            return kr_fail(KR_EFORMAT, s->state == BEGIN ? "message %ld is the header, but the configuration has to come before it" : "message %ld is a second header", m->number);
        s->state = HEADED;
        s->xml = kr_mrd_text_of(m);
        return s->xml ? 0 : kr_error_code();
    case KR_MRD_TEXT:
        return text(s, m);
    case KR_MRD_QUERY:
        s->facts.queries++;
        return query(s, m);
    case KR_MRD_RESPONSE:
        return kr_fail(KR_EFORMAT, "message %ld is the response to a query, and none was made", m->number);
    case KR_MRD_CLOSE:
        return end(s);
    default:
        return data(s, m);
    }
}

/* ---- In ---- */
unsigned char *kr_mrd_session_room(kr_mrd_session *s, size_t *n)
{
    unsigned char *p = kr_mrd_wire_room(s->wire, n);
    if (!p)
        refuse(s);
    return p;
}

void kr_mrd_session_filled(kr_mrd_session *s, size_t n)
{
    kr_mrd_message m;
    int more = 0;
    const unsigned char *first = NULL;
    size_t whole = 0;
    s->facts.bytes_in += (int64_t)n;
    if (s->broken)
        return;
    kr_mrd_wire_filled(s->wire, n);
    while (!s->broken && (more = kr_mrd_wire_next(s->wire, &m)) > 0) {
        s->facts.messages++;
        first = first ? first : m.raw;
        whole += m.bytes;
        if (s->state < ENDING && message(s, &m))
            refuse(s);
        s->broken |= m.id == KR_MRD_CLOSE;                       /* nothing is to follow */
    }
    if (first && s->host->keep)
        s->host->keep(s->host->self, first, whole);
    if (more < 0) {
        s->broken = true;
        if (s->state < ENDING)
            refuse(s);
        kr_error_clear();
    }
}

void kr_mrd_session_feed(kr_mrd_session *s, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n; ) {
        size_t room;
        unsigned char *p = kr_mrd_session_room(s, &room);
        if (!p)
            return;
        room = room < n - done ? room : n - done;
        memcpy(p, (const char *)bytes + done, room);
        kr_mrd_session_filled(s, room);
        done += room;
        if (s->broken)
            return;
    }
}

void kr_mrd_session_end(kr_mrd_session *s)
{
    if (s->state >= ENDING)
        return;
    if (!s->broken && kr_mrd_wire_end(s->wire)) {
        refuse(s);
        return;
    }
    if (s->state >= HEADED)
        say(s, "WRN", "the stream ends without CLOSE: it may be cut off");
    if (end(s))
        refuse(s);
}

bool kr_mrd_session_waits(const kr_mrd_session *s) { return s->state < ENDING && !s->first && !s->taken; }

bool kr_mrd_session_wants(const kr_mrd_session *s)
{
    return s->out.len - s->sent < SENT_WAITING && s->queued <= s->limits.memory / 2;
}

/* ---- Out ---- */
const void *kr_mrd_session_out(const kr_mrd_session *s, size_t *n)
{
    *n = s->out.len - s->sent;
    return s->out.s ? s->out.s + s->sent : "";
}

void kr_mrd_session_sent(kr_mrd_session *s, size_t n)
{
    s->sent += n;
    s->facts.bytes_out += (int64_t)n;
    if (s->sent < s->out.len)
        return;
    s->sent = s->out.len = 0;
    if (s->out.room > SENT_WAITING / 16)
        kr_text_clear(&s->out);
}

bool kr_mrd_session_closed(const kr_mrd_session *s) { return s->state == CLOSED; }

/* ---- Work ---- */
kr_mrd_work *kr_mrd_session_take(kr_mrd_session *s)
{
    kr_mrd_work *w = s->first;
    if (!w)
        return NULL;
    s->first = w->next;
    if (!s->first)
        s->end = &s->first;
    s->taken++;
    return w;
}

/* Warnings of the method go to the client, too. */
struct heard { const kr_trace *outer; kr_text warnings; };

static void hear(void *self, int level, const char *sentence)
{
    struct heard *h = self;
    if (level == KR_WARNING && h->warnings.len < 4000)
        kr_text_add(&h->warnings, "%s\n", sentence);
    kr_say(h->outer, level, "%s", sentence);
}

void kr_mrd_work_run(kr_mrd_work *w, const kr_trace *trace)
{
    if (w->code || !w->scan)
        return;
    struct heard h = { .outer = trace };
    kr_trace own = { .say = hear, .self = &h, .stop = trace ? trace->stop : NULL };
    w->code = w->host->run(&w->image, w->job, w->scan, w->slice, &own);
    if (w->code) {
        w->sentence = kr_strdup(kr_error());
        kr_error_clear();
    }
    kr_scan_unref(&w->scan);
    w->notes = h.warnings.s;                                     /* its owner now */
}

static void where(kr_text *t, const kr_mrd_work *w)
{
    if (w->slice >= 0)
        kr_text_add(t, "slice %ld, ", w->slice);
    if (w->repetition >= 0)
        kr_text_add(t, "repetition %ld", w->repetition);
    else
        kr_text_add(t, "the measurement");
}

static void show(kr_mrd_session *s, size_t from)
{
    for (int64_t n; s->host->image && !s->out.failed && from < s->out.len; from += (size_t)n) {
        const unsigned char *p = (const unsigned char *)s->out.s + from;
        if (kr_mrd_length(&n, p, s->out.len - from, INT64_MAX) != 1)
            return;
        s->looked += s->host->image(s->host->self, p, (size_t)n);
    }
}

void kr_mrd_session_told(kr_mrd_session *s, const char *line, bool failed)
{
    s->looked--;
    kr_auto char *text = kr_strf("DBG each %s", line);
    if (failed)
        say(s, "WRN", line);
    else if (text && s->state < CLOSED)                          /* as many as there are images */
        kr_mrd_put_text(&s->out, KR_MRD_TEXT, text);
    close_when_done(s);
}

void kr_mrd_session_give(kr_mrd_session *s, kr_mrd_work **work)
{
    kr_mrd_work *w = *work;
    s->taken--;
    s->queued -= s->queued >= w->bytes ? w->bytes : s->queued;
    for (char *p = w->notes, *next; p && *p && s->state < CLOSED; p = next) {
        next = p + strcspn(p, "\n");
        next += *next ? (*next = 0, 1) : 0;
        say(s, "WRN", p);
    }
    int e = w->code;
    long sent = s->answer.sent;
    size_t from = s->out.len;
    if (!e && w->image && answer_images(&s->out, &s->answer, w, &s->ask)) {
        e = kr_error_code();
        kr_free(w->sentence);
        w->sentence = kr_strdup(kr_error());
        kr_error_clear();
    }
    s->facts.images_out += s->answer.sent - sent;
    if (!e)
        show(s, from);
    if (e == KR_EUSAGE) {                                        /* what was asked for is wrong, of every slice: said once */
        s->facts.failed++;
        if (!s->facts.refused)
            kr_mrd_session_refuse(s, w->sentence ? w->sentence : "the configuration cannot be used");
    } else if (e) {
        kr_text t = { 0 };
        where(&t, w);
        kr_text_add(&t, ": %s", w->sentence ? w->sentence : "no memory");
        say(s, "ERR", t.s ? t.s : "a slice has no image");
        kr_text_clear(&t);
        s->facts.failed++;
    }
    work_drop(work);
    close_when_done(s);
}

void kr_mrd_session_work(kr_mrd_session *s, const kr_trace *trace)
{
    for (kr_mrd_work *w; (w = kr_mrd_session_take(s)); ) {
        kr_mrd_work_run(w, trace);
        kr_mrd_session_give(s, &w);
    }
}

void kr_mrd_session_facts(const kr_mrd_session *s, kr_mrd_facts *f)
{
    *f = s->facts;
    f->name = f->name ? f->name : "";
    f->measurement = f->measurement ? f->measurement : "";
    f->sentence = s->sentence;
}
