/* mrd_wire.c: the messages of MRD v1 streams: a u16 that names the kind, then a body whose length its first bytes tell. */
#include "kray/wire.h"
#include "mrd_h5.h"
#include <string.h>

enum { FIRST_ROOM = 512 << 10, KEPT_ROOM = 4 << 20, LEAST_ROOM = 64 << 10, DIMS_MOST = 32 };

static uint16_t u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const unsigned char *p) { return u16(p) | (uint32_t)u16(p + 2) << 16; }
static uint64_t u64(const unsigned char *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

static const struct { int id; const char *name; } kinds[] = { { KR_MRD_CONFIG_FILE, "configuration file" }, { KR_MRD_CONFIG_TEXT, "configuration" },
    { KR_MRD_HEADER, "header" }, { KR_MRD_CLOSE, "close" }, { KR_MRD_TEXT, "text" }, { KR_MRD_QUERY, "query" }, { KR_MRD_RESPONSE, "response" },
    { KR_MRD_ACQUISITION, "acquisition" }, { KR_MRD_IMAGE, "image" }, { KR_MRD_WAVEFORM, "waveform" }, { KR_MRD_NDARRAY, "array" } };

const char *kr_mrd_message_name(int id)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].id == id)
            return kinds[i].name;
    return NULL;
}

/* ---- Lengths ---- */
/* Bytes of a pixel by ISMRMRD's type; 0: there is none such. */
static unsigned pixel_bytes(int type)
{
    static const unsigned char bytes[] = { 0, 2, 2, 4, 4, 4, 8, 8, 16 };
    return type >= 0 && type < (int)sizeof bytes ? bytes[type] : 0;
}

/* Bytes of a message, its id included, that have to be seen to tell how long it is; 0: unknown kind. */
static size_t seen_for(int id)
{
    switch (id) {
    case KR_MRD_CONFIG_FILE: case KR_MRD_CLOSE: return 2;
    case KR_MRD_CONFIG_TEXT: case KR_MRD_HEADER: case KR_MRD_TEXT: return 2 + 4;
    case KR_MRD_QUERY: return 2 + 24;
    case KR_MRD_RESPONSE: return 2 + 16;
    case KR_MRD_ACQUISITION: return 2 + KR_MRD_LINE_HEAD;
    case KR_MRD_IMAGE: return 2 + KR_MRD_IMAGE_HEAD + 8;
    case KR_MRD_WAVEFORM: return 2 + KR_MRD_WAVE_HEAD;
    case KR_MRD_NDARRAY: return 2 + 6;
    default: return 0;
    }
}

static int unknown(int64_t *bytes, const unsigned char *p, size_t n)
{
    static const char *const second[] = { "yardl", "{\"yardl\"" };       /* MRD v2: binary, and as lines of JSON */
    for (int i = 0; i < 2; i++) {
        size_t all = strlen(second[i]);
        if (memcmp(p, second[i], n < all ? n : all))
            continue;
        *bytes = (int64_t)all;
        return n < all ? 0 : kr_fail(KR_EFORMAT, "this is a stream of MRD v2 (yardl), and MRD v1 is wanted: mrd_to_ismrmrd, of the MRD v2 tools, converts it");
    }
    int id = u16(p);
    bool gadgetron = id > 1000 && id <= 1051;
    return kr_fail(KR_EFORMAT, "has the id %d, which says nothing about its length: what follows cannot be read%s", id,
                   gadgetron ? " (such messages are deprecated, or Gadgetron's own)" : "");
}

static int text_length(uint64_t claimed, const char *what)
{
    return claimed > KR_MRD_TEXT_MOST ? kr_fail(KR_EFORMAT, "claims %llu bytes of %s; at most 64 MiB are read", (unsigned long long)claimed, what) : 0;
}

static int image_length(int64_t *bytes, const unsigned char *head, int64_t most)
{
    ISMRMRD_ImageHeader h;
    memcpy(&h, head, sizeof h);
    uint64_t text = u64(head + KR_MRD_IMAGE_HEAD), pixels, size = pixel_bytes(h.data_type);
    if (text_length(text, "attributes"))
        return kr_error_code();
    if (!size || __builtin_mul_overflow((uint64_t)h.matrix_size[0] * h.matrix_size[1], (uint64_t)h.matrix_size[2] * h.channels, &pixels)
        || pixels > (uint64_t)most)
        return kr_fail(KR_EFORMAT, "of type %u would have %u x %u x %u pixels of %u channels", h.data_type, h.matrix_size[0], h.matrix_size[1],
                       h.matrix_size[2], h.channels);
    *bytes = (int64_t)(2 + KR_MRD_IMAGE_HEAD + 8 + text + pixels * size);
    return 1;
}

static int array_length(int64_t *bytes, const unsigned char *p, size_t n, int64_t most)
{
    unsigned type = u16(p + 2), dims = u16(p + 6);
    uint64_t count = pixel_bytes((int)type);
    if (!count || dims > DIMS_MOST)
        return kr_fail(KR_EFORMAT, "is of type %u and has %u axes", type, dims);
    *bytes = 2 + 6 + 8 * (int64_t)dims;
    if (n < (size_t)*bytes)
        return 0;
    for (unsigned d = 0; d < dims; d++)
        if (__builtin_mul_overflow(count, u64(p + 8 + 8 * d), &count) || count > (uint64_t)most)
            return kr_fail(KR_EFORMAT, "claims more numbers than are read");
    *bytes += (int64_t)count;
    return 1;
}

int kr_mrd_length(int64_t *bytes, const unsigned char *p, size_t n, int64_t most)
{
    *bytes = 2;
    if (n < 2)
        return 0;
    int id = u16(p), told = 1;
    size_t seen = seen_for(id);
    if (!seen)
        return unknown(bytes, p, n);
    *bytes = (int64_t)seen;
    if (n < seen)
        return 0;
    uint64_t text = id == KR_MRD_QUERY ? u64(p + 18) : id == KR_MRD_RESPONSE ? u64(p + 10) : seen == 6 ? u32(p + 2) : 0;
    if (text_length(text, "text"))
        return kr_error_code();
    *bytes += (int64_t)text;
    if (id == KR_MRD_CONFIG_FILE)
        *bytes += KR_MRD_FILE_NAME;
    else if (id == KR_MRD_ACQUISITION) {
        ISMRMRD_AcquisitionHeader h;
        memcpy(&h, p + 2, sizeof h);
        *bytes += 4 * (int64_t)h.number_of_samples * h.trajectory_dimensions + 8 * (int64_t)h.number_of_samples * h.active_channels;
    } else if (id == KR_MRD_WAVEFORM)
        *bytes += 4 * (int64_t)u16(p + 2 + 28) * u16(p + 2 + 30);
    else if (id == KR_MRD_IMAGE)
        told = image_length(bytes, p + 2, most);
    else if (id == KR_MRD_NDARRAY)
        told = array_length(bytes, p, n, most);
    if (told > 0 && *bytes > most)
        return kr_fail(KR_EFORMAT, "would have %lld bytes; at most %lld are read", (long long)*bytes, (long long)most);
    return told;
}

void kr_mrd_split(kr_mrd_message *m, const unsigned char *p, size_t bytes)
{
    m->id = u16(p);
    m->raw = p;
    m->bytes = bytes;
    m->head = m->traj = m->data = NULL;
    m->text = NULL;
    m->head_bytes = m->traj_bytes = m->data_bytes = m->text_bytes = 0;
    const unsigned char *at = p + 2, *end = p + bytes;
    switch (m->id) {
    case KR_MRD_CONFIG_FILE:
        m->text = (const char *)at;
        m->text_bytes = KR_MRD_FILE_NAME;
        return;
    case KR_MRD_CONFIG_TEXT: case KR_MRD_HEADER: case KR_MRD_TEXT:
        m->text = (const char *)at + 4;
        m->text_bytes = u32(at);
        return;
    case KR_MRD_QUERY: case KR_MRD_RESPONSE:
        m->head = at;
        m->head_bytes = m->id == KR_MRD_QUERY ? 16 : 8;
        m->text = (const char *)at + m->head_bytes + 8;
        m->text_bytes = bytes - 2 - m->head_bytes - 8;
        return;
    case KR_MRD_IMAGE:
        m->head_bytes = KR_MRD_IMAGE_HEAD;
        m->text = (const char *)at + KR_MRD_IMAGE_HEAD + 8;
        m->text_bytes = u64(at + KR_MRD_IMAGE_HEAD);
        m->data = at + KR_MRD_IMAGE_HEAD + 8 + m->text_bytes;
        break;
    case KR_MRD_ACQUISITION: {
        ISMRMRD_AcquisitionHeader h;
        memcpy(&h, at, sizeof h);
        m->head_bytes = KR_MRD_LINE_HEAD;
        m->traj = at + KR_MRD_LINE_HEAD;
        m->traj_bytes = (size_t)h.number_of_samples * h.trajectory_dimensions * 4;
        m->data = m->traj + m->traj_bytes;
        break;
    }
    case KR_MRD_WAVEFORM:
        m->head_bytes = KR_MRD_WAVE_HEAD;
        m->data = at + KR_MRD_WAVE_HEAD;
        break;
    case KR_MRD_NDARRAY:
        m->head_bytes = 6 + 8 * (size_t)u16(at + 4);
        m->data = at + m->head_bytes;
        break;
    default:
        return;
    }
    m->head = at;
    m->data_bytes = (size_t)(end - m->data);
}

char *kr_mrd_text_of(const kr_mrd_message *m)
{
    size_t n = m->text ? strnlen(m->text, m->text_bytes) : 0;
    char *text = kr_alloc(n + 1, 1);
    if (!text)
        return NULL;
    memcpy(text, m->text ? m->text : "", n);
    text[n] = 0;
    return text;
}

/* ---- Reading ---- */
struct kr_mrd_wire {
    unsigned char *buffer;
    size_t room, from, to;           /* bytes from..to - 1 are still to be read */
    int64_t at, most;                /* of `from` in the stream               */
    size_t wanted;                   /* length of the message that begins at from, as far as it is known */
    long number;
};

kr_mrd_wire *kr_mrd_wire_new(int64_t most)
{
    kr_mrd_wire *w = kr_alloc_zero(1, sizeof *w);
    if (w)
        w->most = most;
    return w;
}

void kr_mrd_wire_unref(kr_mrd_wire **w)
{
    if (*w)
        kr_free((*w)->buffer);
    kr_free_at(w);
}

unsigned char *kr_mrd_wire_room(kr_mrd_wire *w, size_t *n)
{
    size_t held = w->to - w->from;
    if (!held && w->room > KEPT_ROOM) {                          /* after a large image */
        kr_free_at(&w->buffer);
        w->room = 0;
    }
    if (w->from && (!held || w->room - w->to < LEAST_ROOM)) {
        if (held)
            memmove(w->buffer, w->buffer + w->from, held);
        w->from = 0;
        w->to = held;
    }
    if (w->room == w->to) {
        size_t room = w->room ? 2 * w->room : FIRST_ROOM;
        if (w->room && w->wanted > held && w->wanted < room)
            room = w->wanted;
        unsigned char *b = kr_realloc(w->buffer, w->room, room, 1);
        if (!b)
            return NULL;
        w->buffer = b;
        w->room = room;
    }
    *n = w->room - w->to;
    return w->buffer + w->to;
}

void kr_mrd_wire_filled(kr_mrd_wire *w, size_t n) { w->to += n; }
int64_t kr_mrd_wire_at(const kr_mrd_wire *w) { return w->at; }

int kr_mrd_wire_next(kr_mrd_wire *w, kr_mrd_message *m)
{
    size_t held = w->to - w->from;
    int64_t bytes;
    if (held < w->wanted)
        return 0;
    int told = kr_mrd_length(&bytes, w->buffer + w->from, held, w->most);
    if (told < 0) {
        const char *name = held >= 2 ? kr_mrd_message_name(u16(w->buffer + w->from)) : NULL;
        return kr_fail_in("message %ld (%s%sat byte %lld)", w->number + 1, name ? name : "", name ? ", " : "", (long long)w->at);
    }
    w->wanted = (size_t)bytes;
    if (!told || held < w->wanted)
        return 0;
    *m = (kr_mrd_message){ .number = ++w->number, .at = w->at };
    kr_mrd_split(m, w->buffer + w->from, w->wanted);
    w->from += w->wanted;
    w->at += bytes;
    w->wanted = 0;
    return 1;
}

int kr_mrd_wire_end(const kr_mrd_wire *w)
{
    size_t held = w->to - w->from;
    if (!held)
        return 0;
    const char *name = held >= 2 ? kr_mrd_message_name(u16(w->buffer + w->from)) : NULL;
    return kr_fail(KR_EFORMAT, "message %ld (%s, at byte %lld) ends after %zu of %s%zu bytes", w->number + 1, name ? name : "of unknown kind", (long long)w->at,
                   held, name && held >= seen_for(u16(w->buffer + w->from)) ? "" : "at least ", w->wanted > held ? w->wanted : held + 1);
}

/* ---- Writing ---- */
static void put_number(kr_text *to, uint64_t v, int bytes)
{
    unsigned char b[8];
    for (int i = 0; i < bytes; i++)
        b[i] = (unsigned char)(v >> 8 * i);
    kr_text_put(to, (const char *)b, (size_t)bytes);
}

void kr_mrd_put(kr_text *to, const kr_mrd_message *m)
{
    static const char zeros[KR_MRD_FILE_NAME];
    put_number(to, (uint64_t)m->id, 2);
    if (m->id == KR_MRD_CONFIG_FILE) {
        size_t n = m->text_bytes < KR_MRD_FILE_NAME ? m->text_bytes : KR_MRD_FILE_NAME;
        kr_text_put(to, m->text, n);
        kr_text_put(to, zeros, KR_MRD_FILE_NAME - n);
        return;
    }
    if (m->head_bytes)
        kr_text_put(to, (const char *)m->head, m->head_bytes);
    if (m->id == KR_MRD_CONFIG_TEXT || m->id == KR_MRD_HEADER || m->id == KR_MRD_TEXT)
        put_number(to, m->text_bytes, 4);
    else if (m->id == KR_MRD_IMAGE || m->id == KR_MRD_QUERY || m->id == KR_MRD_RESPONSE)
        put_number(to, m->text_bytes, 8);
    if (m->text_bytes)
        kr_text_put(to, m->text, m->text_bytes);
    if (m->traj_bytes)
        kr_text_put(to, (const char *)m->traj, m->traj_bytes);
    if (m->data_bytes)
        kr_text_put(to, (const char *)m->data, m->data_bytes);
}

void kr_mrd_put_text(kr_text *to, int id, const char *text)
{
    size_t n = strlen(text);
    bool name = id == KR_MRD_CONFIG_FILE;
    kr_mrd_put(to, &(kr_mrd_message){ .id = id, .text = text, .text_bytes = !name ? n + 1 : n < KR_MRD_FILE_NAME ? n : KR_MRD_FILE_NAME - 1 });
}

void kr_mrd_put_close(kr_text *to) { put_number(to, KR_MRD_CLOSE, 2); }

/* ---- Heads ---- */
kr_line kr_mrd_line_parse(const unsigned char *head)
{
    ISMRMRD_AcquisitionHeader h;
    memcpy(&h, head, sizeof h);
    return kr_mrd_line_of(&h);
}

kr_waveform kr_mrd_wave_parse(const unsigned char *h)
{
    float step;
    memcpy(&step, h + 32, sizeof step);
    return (kr_waveform){ .id = u16(h + 36), .time_stamp = u32(h + 24), .counter = u32(h + 20), .samples = u16(h + 28), .channels = u16(h + 30),
                          .sample_time_us = step };
}
