/* h5attr.c: the messages of an object's header, where HDF5 1.10 trusts a damaged file. It hands out attributes' texts of
 * variable length only through its own conversion (see h5vlen.h), so they are found here; and it copies types whose parts
 * do not fit each other beyond their memory, so they are looked at here before it opens the object.
 * Source: HDF5 File Format Specification 2.0, IV.A.1 (object headers), IV.A.2.d (datatype), IV.A.2.m (attribute). */
#include "h5vlen.h"
#include "file.h"
#include <string.h>

enum { CONTINUATION = 0x10, DATATYPE = 0x03, ATTRIBUTE = 0x0c, SHARED = 2, CHUNKS = 64, CHUNK_MOST = 1 << 20 };

static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int k = bytes; k-- > 0; )
        v = v << 8 | p[k];
    return v;
}

/* Blocks of messages still to be looked at. name: the attribute that is wanted; NULL: all types are looked at. */
struct search { const kr_h5 *f; const char *name; int version; bool order; struct { uint64_t at, bytes; } block[CHUNKS]; int blocks; unsigned char *raw; };

/* ---- Types ---- */
enum { FIXED, FLOAT, TIME, STRING, BITS, OPAQUE, COMPOUND, REFERENCE, ENUM, VARIABLE, ARRAY, DEEPEST = 8 };

static uint64_t name_bytes(const unsigned char *b, uint64_t bytes, bool padded)
{
    uint64_t n = 0;
    while (n < bytes && b[n])
        n++;
    n = padded ? n / 8 * 8 + 8 : n + 1;
    return n > bytes ? 0 : n;
}

static uint64_t type_bytes(const unsigned char *b, uint64_t bytes, int depth);

/* Each member: name, offset, (version 1: 28 bytes of lengths,) type; it lies inside the compound. */
static uint64_t compound_bytes(const unsigned char *b, uint64_t bytes, int depth, int version, uint64_t size, uint64_t members)
{
    uint64_t at = 8, width = version < 3 ? 4 : size < 1 << 8 ? 1 : size < 1 << 16 ? 2 : size < 1 << 24 ? 3 : 4;
    for (uint64_t m = 0; m < members; m++) {
        uint64_t n = name_bytes(b + at, bytes - at, version < 3), more = width + (version == 1 ? 28 : 0);
        if (!n || at + n + more + 8 > bytes)
            return 0;
        uint64_t offset = little(b + at + n, (int)width);
        at += n + more;
        uint64_t used = type_bytes(b + at, bytes - at, depth + 1);
        if (!used || offset > size || little(b + at + 4, 4) > size - offset)
            return 0;
        at += used;
    }
    return members ? at : 0;
}

/* A whole number as base, the names, the values. */
static uint64_t enum_bytes(const unsigned char *b, uint64_t bytes, int depth, int version, uint64_t size, uint64_t members)
{
    uint64_t at = 8 + (bytes > 16 && (b[8] & 15) == FIXED && little(b + 12, 4) == size ? type_bytes(b + 8, bytes - 8, depth + 1) : 0);
    if (at == 8)
        return 0;
    for (uint64_t m = 0; m < members; m++) {
        uint64_t n = name_bytes(b + at, bytes - at, version < 3);
        if (!n)
            return 0;
        at += n;
    }
    return members * size > bytes - at ? 0 : at + members * size;
}

/* Bytes of a type that is well-formed; 0 otherwise. */
static uint64_t type_bytes(const unsigned char *b, uint64_t bytes, int depth)
{
    if (bytes < 8 || depth > DEEPEST)
        return 0;
    int class = b[0] & 15, version = b[0] >> 4;
    uint64_t size = little(b + 4, 4), members = little(b + 1, 2), used = 0;
    if (version < 1 || version > 3 || !size)
        return 0;
    switch (class) {
    case FIXED: case BITS: used = size <= 16 ? 12 : 0; break;
    case FLOAT: used = size <= 16 ? 20 : 0; break;
    case TIME: used = 10; break;
    case STRING: case REFERENCE: used = 8; break;
    case OPAQUE: used = 8 + (uint64_t)b[1]; break;
    case COMPOUND: used = compound_bytes(b, bytes, depth, version, size, members); break;
    case ENUM: used = enum_bytes(b, bytes, depth, version, size, members); break;
    case VARIABLE: used = 8 + type_bytes(b + 8, bytes - 8, depth + 1); break;
    case ARRAY: {
        uint64_t head = version < 2 || bytes < 12 ? 0 : 9 + (version == 2 ? 3 : 0) + (uint64_t)b[8] * (version == 2 ? 8 : 4), inner;
        inner = head && head < bytes ? type_bytes(b + head, bytes - head, depth + 1) : 0;
        used = inner ? head + inner : 0;
        break;
    }
    default: break;
    }
    return used <= bytes && !(class == VARIABLE && used == 8) ? used : 0;
}

/* ---- Messages ---- */

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

/* The type inside an attribute stands behind its name. */
static bool type_is_bad(int message, const unsigned char *m, uint64_t bytes)
{
    if (message == DATATYPE)
        return !type_bytes(m, bytes, 0);
    if (message != ATTRIBUTE || bytes < 9)
        return message == ATTRIBUTE;
    uint64_t n = little(m + 2, 2), at = (m[0] == 3 ? 9 : 8) + (m[0] == 1 ? (n + 7) / 8 * 8 : n), room = little(m + 4, 2);
    bool shared = m[0] > 1 && (m[1] & 1);
    return at > bytes || room > bytes - at || (!shared && !type_bytes(m + at, room, 0));
}

/* True once what is wanted is found. */
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
        if (!(flags & SHARED) && (s->name ? type == ATTRIBUTE && is_it(s, b + at, size) : type_is_bad((int)type, b + at, size)))
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

/* The header of an object is searched to its end, or until what is wanted is found. */
static bool search(struct search *s, const char *object)
{
    H5O_info_t info;
    bool found = false;
    if (s->f->base < 0 || H5Oget_info_by_name2(s->f->id, object, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0
        || !open_header(s, info.addr + (uint64_t)s->f->base))
        return false;
    for (int i = 0; !found && i < s->blocks; i++) {
        uint64_t bytes = s->block[i].bytes, skip = s->version == 2 && i ? 4 : 0, sum = s->version == 2 && i ? 4 : 0;    /* "OCHK", checksum */
        if (bytes > CHUNK_MOST || bytes < skip + sum)
            continue;
        kr_auto unsigned char *b = kr_alloc(bytes + 1, 1);
        if (!b || !fetch(s->f, b, bytes, s->block[i].at))
            break;
        found = search_block(s, b + skip, bytes - skip - sum);
    }
    return found;
}

bool kr_h5_attr_raw(const kr_h5 *f, const char *object, const char *name, unsigned char raw[KR_H5_REF])
{
    return search(&(struct search){ .f = f, .name = name, .raw = raw }, object);
}

bool kr_h5_types_bad(const kr_h5 *f, const char *object) { return search(&(struct search){ .f = f }, object); }
