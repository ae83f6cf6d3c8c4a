/* h5attr.c: where an attribute's bytes are. HDF5 hands out texts of variable length only through its own conversion, which
 * trusts the lengths of a damaged file (see h5vlen.h): here the object's header is walked to the reference itself.
 * Source: HDF5 File Format Specification 2.0, IV.A.1 (object headers), IV.A.2.m (attribute message). */
#include "h5vlen.h"
#include "file.h"
#include <string.h>

enum { CONTINUATION = 0x10, ATTRIBUTE = 0x0c, SHARED = 2, CHUNKS = 64, CHUNK_MOST = 1 << 20 };

static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int k = bytes; k-- > 0; )
        v = v << 8 | p[k];
    return v;
}

/* Blocks of messages still to be looked at. */
struct search { const kr_h5 *f; const char *name; int version; bool order; struct { uint64_t at, bytes; } block[CHUNKS]; int blocks; unsigned char *raw; };

static bool fetch(const kr_h5 *f, void *to, uint64_t bytes, uint64_t at)
{
    return at <= (uint64_t)f->bytes && bytes <= (uint64_t)f->bytes - at && !kr_file_read(f->fd, to, bytes, (int64_t)at);
}

/* The value, if this message is the attribute: it follows name, type and space, each padded to 8 in version 1. */
static bool is_it(const struct search *s, const unsigned char *m, uint64_t bytes)
{
    if (bytes < 8 || m[0] < 1 || m[0] > 3)
        return false;
    uint64_t n = strlen(s->name) + 1, at = m[0] == 3 ? 9 : 8, size[3];
    for (int k = 0; k < 3; k++)
        size[k] = little(m + 2 + 2 * k, 2);
    if (size[0] != n || at + n > bytes || memcmp(m + at, s->name, n))
        return false;
    for (int k = 0; k < 3; k++)
        at += m[0] == 1 ? (size[k] + 7) / 8 * 8 : size[k];
    if (at + KR_H5_REF > bytes)
        return false;
    memcpy(s->raw, m + at, KR_H5_REF);
    return true;
}

static bool search_block(struct search *s, const unsigned char *b, uint64_t bytes)
{
    uint64_t head = s->version == 1 ? 8 : s->order ? 6 : 4;
    for (uint64_t at = 0; at + head <= bytes; ) {
        const unsigned char *m = b + at;
        uint64_t type = s->version == 1 ? little(m, 2) : m[0], size = little(m + (s->version == 1 ? 2 : 1), 2);
        unsigned flags = s->version == 1 ? m[4] : m[3];
        at += head;
        if (size > bytes - at)
            return false;
        if (type == ATTRIBUTE && !(flags & SHARED) && is_it(s, b + at, size))
            return true;
        if (type == CONTINUATION && size >= 16 && s->blocks < CHUNKS) {
            s->block[s->blocks].at = little(b + at, 8) + (uint64_t)s->f->base;
            s->block[s->blocks++].bytes = little(b + at + 8, 8);
        }
        at += size;
    }
    return false;
}

/* The first block, behind the header's own first bytes. */
static bool open_header(struct search *s, uint64_t at)
{
    unsigned char b[34];
    if (!fetch(s->f, b, 16, at))
        return false;
    if (!memcmp(b, "OHDR\2", 5)) {
        unsigned flags = b[5], width = 1u << (flags & 3);
        uint64_t skip = 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
        if (!fetch(s->f, b, width, at + skip))
            return false;
        s->version = 2;
        s->order = flags & 4;
        s->block[0].at = at + skip + width;
        s->block[0].bytes = little(b, (int)width);
    } else if (b[0] == 1) {
        s->version = 1;
        s->block[0].at = at + 16;
        s->block[0].bytes = little(b + 8, 4);
    } else
        return false;
    s->blocks = 1;
    return true;
}

bool kr_h5_attr_raw(const kr_h5 *f, const char *object, const char *name, unsigned char raw[KR_H5_REF])
{
    struct search s = { .f = f, .name = name, .raw = raw };
    H5O_info_t info;
    bool found = false;
    if (f->base < 0 || H5Oget_info_by_name2(f->id, object, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0 || !open_header(&s, info.addr + (uint64_t)f->base))
        return false;
    for (int i = 0; !found && i < s.blocks; i++) {
        uint64_t bytes = s.block[i].bytes, skip = s.version == 2 && i ? 4 : 0, sum = s.version == 2 && i ? 4 : 0;    /* "OCHK", checksum */
        if (bytes > CHUNK_MOST || bytes < skip + sum)
            continue;
        kr_auto unsigned char *b = kr_alloc(bytes + 1, 1);
        if (!b || !fetch(f, b, bytes, s.block[i].at))
            break;
        found = search_block(&s, b + skip, bytes - skip - sum);
    }
    return found;
}
