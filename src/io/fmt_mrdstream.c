/* fmt_mrdstream.c: recorded MRD streams: the bytes that a scanner or a reconstruction sent, message after message,
 * as ismrmrd/ismrmrd, doc/mrd_streaming_protocol.md, states them. Client to server: acquisitions; server to client: images. */
#include "file.h"
#include "kray/io.h"
#include "mrd_h5.h"
#include "mrd_header.h"
#include "mrd_image.h"
#include "mrd_send.h"
#include "mrd_write.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_FILE = KR_MRD_CONFIG_FILE, CONFIG_TEXT = KR_MRD_CONFIG_TEXT, HEADER = KR_MRD_HEADER, CLOSE = KR_MRD_CLOSE, TEXT = KR_MRD_TEXT,
       ACQUISITION = KR_MRD_ACQUISITION, IMAGE = KR_MRD_IMAGE, WAVEFORM = KR_MRD_WAVEFORM };
enum { FILE_NAME = KR_MRD_FILE_NAME, WAVE_HEAD = KR_MRD_WAVE_HEAD, SEEN = 512 };

static uint16_t u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return u16(p) | (uint32_t)u16(p + 2) << 16; }

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    if (bytes < 8)
        return 0;
    int id = u16(head);
    if (id == CONFIG_FILE) {                                      /* a name, then zeros */
        size_t n = 2, end = bytes < 2 + FILE_NAME ? bytes : 2 + FILE_NAME;
        while (n < end && head[n] >= ' ' && head[n] < 127)
            n++;
        bool name = n > 2;
        while (n < end && !head[n])
            n++;
        return name && n == end && end > 40 ? 70 : 0;
    }
    if (id == HEADER || id == CONFIG_TEXT)
        return head[6] == '<' && (head[7] == '?' || (head[7] | 32) >= 'a') ? 70 : 0;
    if (id == TEXT) {
        size_t n = 6, end = 6 + (size_t)u32(head + 2);
        while (n < bytes && n < end && (head[n] >= ' ' || head[n] == '\n' || (!head[n] && n + 1 == end)))
            n++;
        return n > 8 && (n == end || n == bytes) ? 60 : 0;
    }
    int64_t whole;                                                /* what was sent without a word before it: heads of version 1 */
    bool known = (id == ACQUISITION || id == IMAGE || id == WAVEFORM) && u16(head + 2) == 1 && kr_mrd_length(&whole, head, bytes, INT64_MAX) > 0;
    kr_error_clear();
    return known ? 60 : 0;
}

/* ---- The messages, one after the other ---- */
struct message { int id; long number; int64_t at, body, bytes; };        /* body: behind the id; bytes of the body */
struct stream { int fd; int64_t bytes; bool closed; };

static int cut_off(const struct message *m, int64_t left)
{
    return kr_fail(KR_EFORMAT, "message %ld (%s, at byte %lld) has %lld bytes, but the stream ends after %lld of them", m->number,
                   kr_mrd_message_name(m->id), (long long)m->at, (long long)m->bytes, (long long)left);
}

/* The id of a message and the bytes of its body. */
static int length_of(struct message *m, const struct stream *s)
{
    unsigned char head[SEEN];
    size_t n = s->bytes - m->at < SEEN ? (size_t)(s->bytes - m->at) : SEEN;
    int64_t all;
    int e = kr_file_read(s->fd, head, n, m->at), told = e ? e : kr_mrd_length(&all, head, n, INT64_MAX);
    if (e)
        return e;
    m->id = u16(head);
    const char *name = kr_mrd_message_name(m->id);
    if (told < 0)
        return kr_fail_in("message %ld (%s%sat byte %lld)", m->number, name ? name : "", name ? ", " : "", (long long)m->at);
    m->bytes = all - 2;
    return m->body + m->bytes > s->bytes ? cut_off(m, s->bytes - m->body) : 0;
}

/* Calls `each` for every message up to the close or the end. */
static int walk(struct stream *s, int (*each)(void *self, const struct stream *s, const struct message *m), void *self)
{
    bool configured = false;
    struct message m = { .number = 1 };
    s->closed = false;
    while (m.at + 2 <= s->bytes) {
        m.body = m.at + 2;
        int e = length_of(&m, s);
        if (e)
            return e;
        if (m.id == HEADER && !configured)
            return kr_fail(KR_EFORMAT, "message %ld is the header, but the configuration has to come before it", m.number);
        configured |= m.id == CONFIG_FILE || m.id == CONFIG_TEXT;
        s->closed = m.id == CLOSE;
        if ((e = each(self, s, &m)) || s->closed)
            return e;
        m.at = m.body + m.bytes;
        m.number++;
    }
    return s->bytes > m.at ? kr_fail(KR_EFORMAT, "a single byte is left where message %ld would begin", m.number) : 0;
}

static char *text_of(const struct stream *s, const struct message *m)
{
    size_t n = (size_t)m->bytes - 4;
    char *text = kr_alloc(n + 1, 1);
    if (text && kr_file_read(s->fd, text, n, m->body + 4))
        kr_free_at(&text);
    if (text)
        text[n] = 0;                                              /* with or without a zero of its own */
    return text;
}

static int open_stream(struct stream *s, const kr_source *src)
{
    s->fd = kr_file_open(src->path, &s->bytes);
    return s->fd < 0 ? kr_error_code() : 0;
}

/* ---- Raw data ---- */
struct raw {
    kr_scan *s;
    char *xml;
    kr_line *line;
    int64_t *samples;                /* where each line's samples begin, behind its trajectory */
    long lines, waves, images;
    bool count;                      /* the first time the messages are counted, the second time taken */
};

static int take_wave(kr_waveform *to, const struct stream *s, const struct message *m)
{
    unsigned char h[WAVE_HEAD];
    int e = kr_file_read(s->fd, h, sizeof h, m->body);
    size_t n = (size_t)(m->bytes - WAVE_HEAD) / 4;
    if (e)
        return e;
    *to = kr_mrd_wave_parse(h);
    to->data = kr_alloc(n + 1, 4);
    return !to->data ? kr_error_code() : kr_file_read(s->fd, to->data, 4 * n, m->body + WAVE_HEAD);
}

static int take_raw(void *self, const struct stream *s, const struct message *m)
{
    struct raw *r = self;
    if (m->id == HEADER) {
        if (r->count && r->xml)
            return kr_fail(KR_EFORMAT, "message %ld is a second header", m->number);
        if (r->count && !(r->xml = text_of(s, m)))
            return kr_error_code();
    } else if (m->id == IMAGE)
        r->images++;
    else if (m->id == ACQUISITION) {
        if (!r->xml)
            return kr_fail(KR_EFORMAT, "message %ld is an acquisition, but no header came before it", m->number);
        long i = r->lines++;
        if (r->count)
            return 0;
        ISMRMRD_AcquisitionHeader h;
        int e = kr_file_read(s->fd, &h, sizeof h, m->body);
        r->line[i] = kr_mrd_line_of(&h);
        r->samples[i] = m->body + (int64_t)sizeof h;
        return e ? e : kr_mrd_line_check(&r->line[i], i);
    } else if (m->id == WAVEFORM && r->waves++ >= 0 && !r->count)
        return take_wave(&r->s->waveform[r->s->waveforms++], s, m);
    return 0;
}

/* Lines from..from+n-1, those that are wanted. */
static int put_lines(kr_placing *p, const struct stream *s, const struct raw *r, long from, long n, kr_cfloat **samples, float **traj)
{
    int e = 0;
    for (long i = 0; i < n && !e; i++) {
        const kr_line *l = &r->line[from + i];
        size_t t = (size_t)l->samples * l->traj_dims, c = (size_t)l->samples * l->channels;
        samples[i] = NULL;
        traj[i] = NULL;
        if (!kr_placing_wants(p, from + i))
            continue;
        samples[i] = kr_alloc(c + 1, sizeof **samples);
        traj[i] = t ? kr_alloc(t, sizeof **traj) : NULL;
        e = !samples[i] || (t && !traj[i]) ? kr_error_code() : t ? kr_file_read(s->fd, traj[i], 4 * t, r->samples[from + i]) : 0;
        if (!e)
            e = kr_file_read(s->fd, samples[i], 8 * c, r->samples[from + i] + (int64_t)(4 * t));
    }
    return e ? e : kr_placing_put(p, from, n, (const kr_cfloat *const *)samples, (const float *const *)traj);
}

enum { PIECE = 256, ENCODINGS = 64 };

static int place(struct raw *r, const struct stream *s, const kr_read *how, const kr_trace *trace)
{
    kr_auto kr_mrd_encoding *all = kr_alloc(ENCODINGS, sizeof *all);
    kr_auto kr_encoding *encoding = kr_alloc_zero(ENCODINGS, sizeof *encoding);
    if (!all || !encoding || kr_mrd_header_parse(r->s, r->xml))
        return kr_error_code();
    int n = kr_mrd_header_encodings(r->xml, all, ENCODINGS);
    if (n < 0)
        return n;
    n = n < ENCODINGS ? n : ENCODINGS;
    for (int i = 0; i < n; i++)
        encoding[i] = all[i].enc;
    kr_placing *p = kr_placing_new(r->s, &(kr_placing_plan){ r->line, r->lines, encoding, n, how && how->header_only,
                                                             how ? how->slice_from : 0, how ? how->slice_count : 0, how ? how->played : NULL });
    kr_auto kr_cfloat **samples = kr_alloc_zero(PIECE, sizeof *samples);
    kr_auto float **traj = kr_alloc_zero(PIECE, sizeof *traj);
    int e = p && samples && traj ? 0 : kr_error_code();
    for (long from = 0; from < r->lines && !e; from += PIECE) {
        long count = r->lines - from < PIECE ? r->lines - from : PIECE;
        kr_progress(trace, "lines", (double)from, (double)r->lines);
        e = kr_stopped(trace) ? kr_error_code() : put_lines(p, s, r, from, count, samples, traj);
        for (long i = 0; i < count; i++) {
            kr_free_at(&samples[i]);
            kr_free_at(&traj[i]);
        }
    }
    if (!e)
        e = kr_placing_end(&p);
    kr_placing_unref(&p);
    return e;
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    struct stream s;
    if (src->axes)
        return kr_fail(KR_EUSAGE, "the axes of MRD acquisitions are known: @%s means nothing", src->axes);
    int e = src->var ? kr_fail(KR_EFORMAT, "the acquisitions of a stream have no parts to choose from, '%s' is none", src->var) : open_stream(&s, src);
    if (e)
        return e;
    struct raw r = { .count = true, .s = kr_scan_new() };
    e = r.s ? walk(&s, take_raw, &r) : kr_error_code();
    if (!e && !r.lines)
        e = r.images ? kr_fail(KR_EFORMAT, "the stream holds %ld images and no acquisitions", r.images)
                     : kr_fail(KR_EFORMAT, "the stream holds no acquisitions");
    if (!e) {
        r.line = kr_alloc((size_t)r.lines, sizeof *r.line);
        r.samples = kr_alloc((size_t)r.lines, sizeof *r.samples);
        r.s->waveform = kr_alloc_zero((size_t)r.waves + 1, sizeof *r.s->waveform);
        r.count = false;
        r.lines = r.waves = 0;
        e = r.line && r.samples && r.s->waveform ? walk(&s, take_raw, &r) : kr_error_code();
    }
    if (!e)
        e = place(&r, &s, how, trace);
    if (!e && r.s->waveforms)
        kr_scan_note(r.s, "waveforms (heart, breathing, triggers), kept but no part of the image: %ld", r.s->waveforms);
    if (!e && !s.closed)
        kr_scan_note(r.s, "the stream ends without a close: it may be cut off");
    if (!e && r.images)
        kr_scan_note(r.s, "the stream also holds images, left aside: %ld", r.images);
    close(s.fd);
    kr_free(r.line);
    kr_free(r.samples);
    kr_free(r.xml);
    if (e)
        kr_scan_unref(&r.s);
    *out = r.s;
    return e;
}

/* ---- Images ---- */
struct images { struct stream s; ISMRMRD_ImageHeader *head; int64_t *pixels; uint32_t *text; long count, room; };

static int take_image(void *self, const struct stream *s, const struct message *m)
{
    struct images *im = self;
    if (m->id != IMAGE)
        return 0;
    if (im->count == im->room) {
        long room = im->room ? 2 * im->room : 64;
        ISMRMRD_ImageHeader *h = kr_realloc(im->head, (size_t)im->count, (size_t)room, sizeof *h);
        im->head = h ? h : im->head;
        int64_t *p = h ? kr_realloc(im->pixels, (size_t)im->count, (size_t)room, sizeof *p) : NULL;
        im->pixels = p ? p : im->pixels;
        uint32_t *t = p ? kr_realloc(im->text, (size_t)im->count, (size_t)room, sizeof *t) : NULL;
        im->text = t ? t : im->text;
        if (!t)
            return kr_error_code();
        im->room = room;
    }
    unsigned char length[4];
    long i = im->count++;
    int e = kr_file_read(s->fd, &im->head[i], sizeof *im->head, m->body);
    if (e || (e = kr_file_read(s->fd, length, 4, m->body + (int64_t)sizeof *im->head)))
        return e;
    im->text[i] = u32(length);
    im->pixels[i] = m->body + (int64_t)sizeof *im->head + 8 + im->text[i];
    return 0;
}

static int stream_heads(ISMRMRD_ImageHeader **head, long *count, void *self)
{
    struct images *im = self;
    int e = walk(&im->s, take_image, im);
    if (!e && !im->count)
        e = kr_fail(KR_EFORMAT, "the stream holds no images");
    *head = im->head;
    *count = im->count;
    im->head = NULL;
    return e;
}

static int stream_pixels(kr_array **out, void *self, long i)
{
    const struct images *im = self;
    ISMRMRD_ImageHeader h;
    int e = kr_file_read(im->s.fd, &h, sizeof h, im->pixels[i] - im->text[i] - 8 - (int64_t)sizeof h);
    if (e)
        return e;
    if (!h.matrix_size[0] || !h.matrix_size[1] || !h.matrix_size[2] || !h.channels)
        return kr_fail(KR_EFORMAT, "image %ld has no pixels: a matrix of %d x %d x %d, %d channels", i, h.matrix_size[0], h.matrix_size[1], h.matrix_size[2], h.channels);
    static const enum kr_number kind[] = { KR_NUMBER_NONE, KR_U16, KR_I16, KR_U32, KR_I32, KR_F32, KR_F64, KR_F32, KR_F64 };   /* by ISMRMRD's type */
    bool pairs = h.data_type == ISMRMRD_CXFLOAT || h.data_type == ISMRMRD_CXDOUBLE;
    kr_shape shape = KR_SHAPE([KR_X] = h.matrix_size[0], [KR_Y] = h.matrix_size[1], [KR_Z] = h.matrix_size[2], [KR_COIL] = h.channels);
    long n = kr_count(shape) * (pairs ? 2 : 1);
    kr_auto unsigned char *raw = kr_alloc((size_t)n + 1, (size_t)kr_number_bytes(kind[h.data_type]));
    kr_scoped(array) a = raw ? kr_array_new(pairs ? KR_C32 : KR_R32, shape) : NULL;
    if (!a || kr_file_read(im->s.fd, raw, (size_t)n * (size_t)kr_number_bytes(kind[h.data_type]), im->pixels[i]))
        return kr_error_code();
    kr_number_floats(a->data, 1, raw, kind[h.data_type], n);
    *out = a;
    a = NULL;
    return 0;
}

static int stream_attributes(char **text, void *self)
{
    const struct images *im = self;
    if (!im->text[0])
        return 0;
    *text = kr_alloc(im->text[0] + 1u, 1);
    if (!*text)
        return kr_error_code();
    (*text)[im->text[0]] = 0;
    return kr_file_read(im->s.fd, *text, im->text[0], im->pixels[0] - im->text[0]);
}

static int read_image(kr_image **out, const kr_source *src)
{
    struct images im = { .count = 0 };
    int e = open_stream(&im.s, src);
    if (e)
        return e;
    e = kr_mrd_images_read(out, &(kr_mrd_images){ stream_heads, stream_pixels, stream_attributes, &im, src->var });
    close(im.s.fd);
    kr_free(im.head);
    kr_free(im.pixels);
    kr_free(im.text);
    return e;
}

/* ---- Writing: what a client sends ---- */
struct to_file { int fd; kr_text t; };

static int put_message(void *self, const kr_mrd_message *m)
{
    struct to_file *to = self;
    to->t.len = 0;
    kr_mrd_put(&to->t, m);
    return to->t.failed ? KR_EMEM : kr_file_put(to->fd, to->t.s, to->t.len);
}

static int write_scan(const kr_scan *s, const char *path)
{
    kr_auto char *lines = kr_strf("%s.h5", path);                /* beside it, in a folder that is ours */
    struct to_file to = { .fd = lines && !kr_mrd_scan_write(s, lines) ? kr_file_create(path) : -1 };
    int e = to.fd >= 0 ? 0 : kr_error_code();
    kr_mrd_put_text(&to.t, CONFIG_FILE, "auto");
    e = e ? e : to.t.failed ? KR_EMEM : kr_file_put(to.fd, to.t.s, to.t.len);
    e = e ? e : kr_mrd_messages(lines, put_message, &to, NULL);
    e = e ? e : put_message(&to, &(kr_mrd_message){ .id = CLOSE });
    if (to.fd >= 0)
        e = kr_file_close(to.fd, e);
    kr_text_clear(&to.t);
    if (lines)
        unlink(lines);
    return e;
}

const kr_format kr_format_mrdstream = { .name = "mrdstream", .suffix = ".bin", .summary = "recorded MRD stream: acquisitions or images",
    .probe = probe, .read = read_scan, .write = write_scan, .read_image = read_image, .streams = true, .positions = true,
    .messages = kr_mrd_messages_stream };
