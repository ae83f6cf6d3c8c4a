/* h5attr.c: attributes and texts. The messages of an object's header are read here, where HDF5 1.10 trusts a damaged file: it
 * looks for attributes beyond the end of their messages, it hands out texts of variable length only through its own conversion
 * (see h5vlen.h), and it copies types whose parts do not fit each other beyond their memory, so that types are looked at before
 * it opens an object. HDF5 itself is asked only for what lies outside of the header (more than 8 attributes of a file of its
 * latest format) or has a type that is stored apart.
 * Source: HDF5 File Format Specification 2.0, IV.A.1 (object headers), IV.A.2.b (dataspace), d (datatype), m (attribute),
 * v (attribute info). */
#include "h5vlen.h"
#include "file.h"
#include <string.h>

enum { CONTINUATION = 0x10, DATATYPE = 0x03, LAYOUT = 0x08, ATTRIBUTE = 0x0c, ATTRIBUTES = 0x15, SHARED = 2, CHUNKS = 64, CHUNK_MOST = 1 << 20,
       ATTRS_MOST = 1000 };

/* An attribute as it lies in its message. */
struct attr { const unsigned char *name, *type, *space, *value; uint64_t type_bytes, space_bytes, value_bytes; bool apart; };

/* Blocks of messages still to be looked at; `see` is shown each message until it returns true. */
struct search {
    const kr_h5 *f;
    int version;
    bool order;
    struct { uint64_t at, bytes; } block[CHUNKS];
    int blocks;
    bool (*see)(void *self, int message, const unsigned char *m, uint64_t bytes);
    void *self;
};

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
        uint64_t offset = kr_little(b + at + n, (int)width);
        at += n + more;
        uint64_t used = type_bytes(b + at, bytes - at, depth + 1);
        if (!used || offset > size || kr_little(b + at + 4, 4) > size - offset)
            return 0;
        at += used;
    }
    return members ? at : 0;
}

/* A whole number as base, the names, the values. */
static uint64_t enum_bytes(const unsigned char *b, uint64_t bytes, int depth, int version, uint64_t size, uint64_t members)
{
    uint64_t at = 8 + (bytes > 16 && (b[8] & 15) == FIXED && kr_little(b + 12, 4) == size ? type_bytes(b + 8, bytes - 8, depth + 1) : 0);
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
    uint64_t size = kr_little(b + 4, 4), members = kr_little(b + 1, 2), used = 0;
    if (version < 1 || version > KR_H5_TYPES || !size)
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
        uint64_t lengths = version == 2 ? 12 : 9, head = version < 2 || bytes < 12 ? 0 : lengths + (uint64_t)b[8] * (version == 2 ? 8 : 4), inner;
        inner = head && head < bytes ? type_bytes(b + head, bytes - head, depth + 1) : 0;
        uint64_t all = inner ? kr_little(b + head + 4, 4) : 0;
        for (int d = 0; inner && d < b[8]; d++)                /* HDF5 divides by the number of elements */
            if (__builtin_mul_overflow(all, kr_little(b + lengths + 4 * d, 4), &all))
                all = 0;
        used = inner && all == size ? head + inner : 0;
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

/* Name, type, space and value, each but the last padded to 8 in version 1. */
static bool attr_of(struct attr *a, const unsigned char *m, uint64_t bytes)
{
    if (bytes < 9 || m[0] < 1 || m[0] > 3)
        return false;
    uint64_t at = m[0] == 3 ? 9 : 8, size[3], begin[3];
    for (int k = 0; k < 3; k++) {
        size[k] = kr_little(m + 2 + 2 * k, 2);
        begin[k] = at;
        at += m[0] == 1 ? (size[k] + 7) / 8 * 8 : size[k];
    }
    if (at > bytes || !size[0] || m[begin[0] + size[0] - 1])
        return false;
    *a = (struct attr){ m + begin[0], m + begin[1], m + begin[2], m + at, size[1], size[2], bytes - at, m[0] > 1 && m[1] };
    return true;
}

/* HDF5 divides by the lengths of a chunk. */
static bool chunk_is_bad(const unsigned char *m, uint64_t bytes)
{
    uint64_t at = 0, lengths = 0, width = 4;
    if (bytes < 12)
        return bytes > 1 && m[0] >= 3 && m[1] == 2;
    if (m[0] < 3 && m[2] == 2) {                       /* version, axes, class, 5 bytes, address */
        lengths = m[1];
        at = 16;
    } else if (m[0] == 3 && m[1] == 2) {               /* version, class, axes, address */
        lengths = m[2];
        at = 11;
    } else if (m[0] == 4 && m[1] == 2) {               /* version, class, flags, axes, width */
        lengths = m[3];
        width = m[4];
        at = 5;
    }
    if (width < 1 || width > 8 || at + lengths * width > bytes)
        return true;
    for (uint64_t d = 0; d < lengths; d++)
        if (!kr_little(m + at + d * width, (int)width))
            return true;
    return false;
}

/* The type inside an attribute stands behind its name. */
static bool type_is_bad(void *self, int message, const unsigned char *m, uint64_t bytes)
{
    if (message == LAYOUT)
        return chunk_is_bad(m, bytes);
    if (message == DATATYPE) {
        unsigned version = bytes ? m[0] >> 4 : 0;
        if (self && (version == 4 || version == 5) && version > KR_H5_TYPES)
            *(unsigned *)self = version;
        return !type_bytes(m, bytes, 0);
    }
    struct attr a;
    return message == ATTRIBUTE && (!attr_of(&a, m, bytes) || (!a.apart && !type_bytes(a.type, a.type_bytes, 0)));
}

/* True once `see` is. */
static bool search_block(struct search *s, const unsigned char *b, uint64_t bytes)
{
    uint64_t head = s->version == 1 ? 8 : s->order ? 6 : 4;
    for (uint64_t at = 0; at + head <= bytes; ) {
        const unsigned char *m = b + at;
        uint64_t type = s->version == 1 ? kr_little(m, 2) : m[0], size = kr_little(m + (s->version == 1 ? 2 : 1), 2);
        unsigned flags = s->version == 1 ? m[4] : m[3];
        at += head;
        if (size > bytes - at)
            return false;
        if (!(flags & SHARED) && s->see(s->self, (int)type, b + at, size))
            return true;
        if (type == CONTINUATION && size >= 16 && s->blocks < CHUNKS) {
            s->block[s->blocks].at = kr_little(b + at, 8) + (uint64_t)s->f->base;
            s->block[s->blocks++].bytes = kr_little(b + at + 8, 8);
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
        s->block[0].bytes = kr_little(b, (int)width);
    } else if (b[0] == 1) {
        s->version = 1;
        s->block[0].at = at + 16;
        s->block[0].bytes = kr_little(b + 8, 4);
    } else
        return false;
    s->blocks = 1;
    return true;
}

/* The header of an object is searched to its end, or until `see` has seen enough; false too where there is none to search. */
static bool search(struct search *s, kr_h5 *f, const char *object)
{
    H5O_info_t info;
    bool found = false;
    s->f = f;
    if (f->base < 0 || H5Oget_info_by_name2(f->id, object, &info, H5O_INFO_BASIC, f->links) < 0
        || !open_header(s, info.addr + (uint64_t)f->base))
        return false;
    for (int i = 0; !found && i < s->blocks; i++) {
        uint64_t bytes = s->block[i].bytes, skip = s->version == 2 && i ? 4 : 0, sum = s->version == 2 && i ? 4 : 0;    /* "OCHK", checksum */
        if (bytes > CHUNK_MOST || bytes < skip + sum)
            continue;
        kr_auto unsigned char *b = kr_alloc(bytes + 1, 1);
        if (!b || !fetch(f, b, bytes, s->block[i].at))
            break;
        found = search_block(s, b + skip, bytes - skip - sum);
    }
    return found;
}

bool kr_h5_types_bad(kr_h5 *f, const char *object, unsigned *newer) { return search(&(struct search){ .see = type_is_bad, .self = newer }, f, object); }

/* ---- Texts ---- */
/* A text of variable length; raw: its reference. */
static char *text_at(const kr_h5 *f, const unsigned char raw[KR_H5_REF])
{
    kr_h5_heap heap = { 0 };
    kr_h5_ref r = kr_h5_ref_of(raw);
    char *out = r.count > f->bytes ? NULL : kr_alloc_zero((size_t)r.count + 1, 1);
    if (r.count > f->bytes)
        kr_fail(KR_EFORMAT, "a text of %u bytes is announced", r.count);
    else if (out && kr_h5_heap_read(f, &heap, r, r.count, out))
        kr_free_at(&out);
    kr_h5_heap_clear(&heap);
    return out;
}

static char *variable_text(const kr_h5_set *s)
{
    unsigned char raw[KR_H5_REF];
    return kr_h5_rows(s, KR_H5_REF, 0, 1, raw) ? NULL : text_at(s->file, raw);
}

/* A text of fixed length. */
static char *fixed_text(const kr_h5_set *s)
{
    long size = s->element;
    if (size <= 0 || size > s->file->bytes) {
        kr_fail(KR_EFORMAT, "a text of %ld bytes cannot be read", size);
        return NULL;
    }
    char *out = kr_alloc_zero((size_t)size + 1, 1);
    if (out && H5Dread(s->id, s->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
        kr_fail(KR_EFORMAT, "a text cannot be read");
        kr_free_at(&out);
    }
    return out;
}

char *kr_h5_text(kr_h5 *f, const char *name)
{
    kr_scoped(h5_set) s = kr_h5_set_open(f, name);
    if (!s)
        return NULL;
    if (s->kind != KR_H5_TEXT || (s->count != 1 && H5Tis_variable_str(s->type) <= 0)) {
        kr_fail(KR_EFORMAT, "dataset %s is no text", name);
        return NULL;
    }
    char *t = H5Tis_variable_str(s->type) > 0 ? variable_text(s) : fixed_text(s);
    if (!t)
        kr_fail_in("dataset %s", name);
    return t;
}

/* ---- Attributes that lie in the header ---- */
static uint64_t long_at(const unsigned char *p) { return kr_little(p, 8); }

/* A single value. */
static bool is_one(const struct attr *a)
{
    const unsigned char *b = a->space;
    uint64_t head = a->space_bytes < 4 ? 0 : b[0] == 1 ? 8 : b[0] == 2 ? 4 : 0;
    if (!head || a->space_bytes < head + 8 * (uint64_t)b[1] || (b[0] == 2 && b[3] == 2))
        return false;
    for (int d = 0; d < b[1]; d++)
        if (long_at(b + head + 8 * d) != 1)
            return false;
    return true;
}

/* The kind of number that a type in the file is. */
static enum kr_number number_in(const unsigned char *b, uint64_t bytes, bool *swap)
{
    static const struct { uint64_t size, exponent_at, exponent, mantissa; uint64_t bias; enum kr_number kind; } real[] = {
        { 2, 10, 5, 10, 15, KR_F16 }, { 4, 23, 8, 23, 127, KR_F32 }, { 8, 52, 11, 52, 1023, KR_F64 } };
    static const enum kr_number whole[2][4] = { { KR_U8, KR_U16, KR_U32, KR_U64 }, { KR_I8, KR_I16, KR_I32, KR_I64 } };
    uint64_t size = kr_little(b + 4, 4);
    int class = b[0] & 15;
    if (class == ENUM)
        return bytes >= 20 ? number_in(b + 8, bytes - 8, swap) : KR_NUMBER_NONE;
    *swap = b[1] & 1;
    if (class == FIXED && bytes >= 12 && !kr_little(b + 8, 2) && kr_little(b + 10, 2) == 8 * size)
        for (int k = 0; k < 4; k++)
            if (size == 1u << k)
                return whole[b[1] >> 3 & 1][k];
    if (class == FLOAT && bytes >= 20 && !(b[1] & 0x40) && !kr_little(b + 8, 2) && kr_little(b + 10, 2) == 8 * size)
        for (size_t k = 0; k < sizeof real / sizeof *real; k++)
            if (size == real[k].size && b[12] == real[k].exponent_at && b[13] == real[k].exponent && !b[14] && b[15] == real[k].mantissa
                && kr_little(b + 16, 4) == real[k].bias)
                return real[k].kind;
    return KR_NUMBER_NONE;
}

/* What an attribute holds: a number or a text; neither: it is of another kind. */
struct held { bool number, failed; double value; char *text; };

static void held_of(struct held *h, const kr_h5 *f, const struct attr *a)
{
    unsigned char raw[8];
    bool swap = false;
    if (!is_one(a))
        return;
    enum kr_number kind = number_in(a->type, a->type_bytes, &swap);
    uint64_t size = kr_little(a->type + 4, 4), bytes = (uint64_t)kr_number_bytes(kind);
    int class = a->type[0] & 15;
    if (kind && size == bytes && a->value_bytes >= bytes) {
        memcpy(raw, a->value, bytes);
        if (swap)
            kr_number_swap(raw, kind, 1);
        h->value = kr_number_double(raw, kind);
        h->number = true;
    } else if (class == STRING && size <= a->value_bytes)
        h->failed = !(h->text = kr_strf("%.*s", (int)size, (const char *)a->value));
    else if (class == VARIABLE && (a->type[1] & 15) == 1 && a->value_bytes >= KR_H5_REF)
        h->failed = !(h->text = text_at(f, a->value));
}

/* ---- Attributes that HDF5 has to find ---- */
static void held_by_hdf5(struct held *h, kr_h5 *f, const char *object, const char *name)
{
    if (H5Aexists_by_name(f->id, object, name, f->links) <= 0)
        return;
    hid_t attr = H5Aopen_by_name(f->id, object, name, H5P_DEFAULT, f->links);
    if (attr < 0)
        return;
    hid_t type = H5Aget_type(attr), space = H5Aget_space(attr);
    bool one = type >= 0 && space >= 0 && H5Sget_simple_extent_npoints(space) == 1, swap = false;
    unsigned char raw[8] = { 0 };
    enum kr_number kind = one ? kr_h5_number_of(type, &swap) : KR_NUMBER_NONE;
    long size = one ? (long)H5Tget_size(type) : 0;
    if (kind && size == kr_number_bytes(kind)) {
        if ((h->number = H5Aread(attr, type, raw) >= 0)) {
            if (swap)
                kr_number_swap(raw, kind, 1);
            h->value = kr_number_double(raw, kind);
        }
    } else if (one && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 && size > 0 && size <= 1 << 20) {
        h->text = kr_alloc_zero((size_t)size + 1, 1);
        h->failed = !h->text || H5Aread(attr, type, h->text) < 0;
    }
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    H5Aclose(attr);
}

/* ---- By name, or all ---- */
typedef int found(void *self, const char *name, const struct held *h);
struct sought { kr_h5 *f; const char *object, *name; found *each; void *self; bool dense; int seen, e; };

static int tell(struct sought *s, const char *name, struct held *h)
{
    int e = h->failed ? kr_error_code() : s->each(s->self, name, h);
    kr_free_at(&h->text);
    return e;
}

static bool see_attr(void *self, int message, const unsigned char *m, uint64_t bytes)
{
    struct sought *s = self;
    struct attr a;
    struct held h = { 0 };
    if (message == ATTRIBUTES && bytes >= 18) {             /* version, flags, perhaps an index; where the others lie */
        const unsigned char *at = m + 2 + (m[1] & 1 ? 2 : 0);
        s->dense |= at + 8 <= m + bytes && long_at(at) != UINT64_MAX;
    }
    if (message != ATTRIBUTE || !attr_of(&a, m, bytes) || (s->name && strcmp((const char *)a.name, s->name)))
        return false;
    if (a.apart)
        held_by_hdf5(&h, s->f, s->object, (const char *)a.name);
    else
        held_of(&h, s->f, &a);
    s->seen++;
    s->e = tell(s, (const char *)a.name, &h);
    return s->e || s->name || s->seen == ATTRS_MOST;
}

static int seek(struct sought *s)
{
    kr_h5 *f = s->f;
    if (kr_h5_types_bad(f, s->object, NULL) || search(&(struct search){ .see = see_attr, .self = s }, f, s->object) || (f->base >= 0 && !s->dense))
        return s->e;
    struct held h = { 0 };
    H5O_info_t info;
    if (s->name) {
        held_by_hdf5(&h, f, s->object, s->name);
        return tell(s, s->name, &h);
    }
    if (H5Oget_info_by_name2(f->id, s->object, &info, H5O_INFO_NUM_ATTRS, f->links) < 0)
        return kr_fail(KR_EFORMAT, "the attributes of %s cannot be read", s->object);
    for (hsize_t i = 0; !s->e && i < info.num_attrs && i < ATTRS_MOST; i++) {
        char name[128];
        if (H5Aget_name_by_idx(f->id, s->object, H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, f->links) < 0)
            return kr_fail(KR_EFORMAT, "the attributes of %s cannot be read", s->object);
        held_by_hdf5(&h, f, s->object, name);
        s->e = tell(s, name, &h);
        h = (struct held){ 0 };
    }
    return s->e;
}

static int keep(void *self, const char *name, const struct held *h)
{
    struct held *to = self;
    (void)name;
    to->number = h->number;
    to->value = h->value;
    return h->text && !(to->text = kr_strdup(h->text)) ? kr_error_code() : 0;
}

bool kr_h5_attr_number(kr_h5 *f, const char *object, const char *name, double *value)
{
    struct held h = { 0 };
    int e = seek(&(struct sought){ .f = f, .object = object, .name = name, .each = keep, .self = &h });
    kr_free(h.text);
    if (!e && h.number)
        *value = h.value;
    return !e && h.number;
}

char *kr_h5_attr_text(kr_h5 *f, const char *object, const char *name)
{
    struct held h = { 0 };
    if (seek(&(struct sought){ .f = f, .object = object, .name = name, .each = keep, .self = &h }))
        kr_free_at(&h.text);
    return h.text;
}

static int note(void *self, const char *name, const struct held *h)
{
    return h->number ? kr_meta_set(self, name, "%.17g", h->value) : h->text ? kr_meta_set(self, name, "%s", h->text) : 0;
}

int kr_h5_attrs(kr_meta *meta, kr_h5 *f, const char *object)
{
    return seek(&(struct sought){ .f = f, .object = object, .each = note, .self = meta });
}
