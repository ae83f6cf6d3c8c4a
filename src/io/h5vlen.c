/* h5vlen.c: variable-length elements of HDF5 files. */
#include "h5vlen.h"
#include "file.h"
#include "h5pack.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Rows ---- */
static int damaged(const kr_h5_set *s) { return kr_fail(KR_EFORMAT, "dataset %s is damaged, or the file is cut off", s->name); }

/* bytes at a position, from the page cache with one copy; kr_file_read would open its threads for every few bytes. */
static int read_at(const kr_h5 *f, void *to, size_t bytes, uint64_t at)
{
    if (at > (uint64_t)f->bytes || bytes > (uint64_t)f->bytes - at)
        return kr_fail(KR_EFORMAT, "%zu bytes at %llu lie beyond the end of the file", bytes, (unsigned long long)at);
    for (size_t done = 0; done < bytes; ) {
        ssize_t n = pread(f->fd, (char *)to + done, bytes - done, (off_t)(at + done));
        if (n <= 0)
            return kr_fail(KR_EFILE, "the file cannot be read to its end");
        done += (size_t)n;
    }
    return 0;
}

typedef struct chunks { const kr_h5_set *s; long row, rows; kr_h5_pack pack; size_t room; unsigned char *raw, *a, *b, *plain; } chunks;

/* Chunk number c, unpacked; c->plain points to it. */
static int read_chunk(chunks *c, hsize_t number)
{
    hsize_t offset = number * (hsize_t)c->rows, stored = 0;
    size_t whole = (size_t)(c->row * c->rows), got = 0;
    unsigned skip = 0;
    haddr_t at = HADDR_UNDEF;
    /* The size in the chunk's own record is what H5Dread_chunk will write; H5Dget_chunk_storage_size may tell another. */
    if (H5Dget_chunk_info_by_coord(c->s->id, &offset, &skip, &at, &stored) < 0)
        return damaged(c->s);
    c->plain = c->raw;
    if (at == HADDR_UNDEF || !stored) {
        memset(c->raw, 0, whole);                            /* never written */
        return 0;
    }
    if (stored > c->room || H5Dread_chunk(c->s->id, H5P_DEFAULT, &offset, &skip, c->raw) < 0)
        return damaged(c->s);
    if (kr_h5_unpack(&c->pack, skip, c->raw, (size_t)stored, c->a, c->b, c->room, &c->plain, &got))
        return kr_error_code();
    return got == whole ? 0 : damaged(c->s);
}

static int chunks_open(chunks *c, const kr_h5_set *s, long row, hid_t plist)
{
    hsize_t rows = 0;
    *c = (chunks){ .s = s, .row = row };
    if (H5Pget_chunk(plist, 1, &rows) != 1 || !rows || rows > (hsize_t)s->file->bytes * KR_H5_INFLATE_MOST / (hsize_t)row + 1)
        return kr_fail(KR_EFORMAT, "dataset %s is laid out in a way that is not read", s->name);
    if (kr_h5_pack_of(&c->pack, s, plist))
        return kr_error_code();
    c->rows = (long)rows;
    c->pack.number = row;
    c->room = (size_t)(2 * row * c->rows + 64);
    c->raw = kr_alloc(c->room, 1);
    c->a = c->pack.count ? kr_alloc(c->room, 1) : NULL;
    c->b = c->pack.count ? kr_alloc(c->room, 1) : NULL;
    return c->raw && (!c->pack.count || (c->a && c->b)) ? 0 : kr_error_code();
}

static int rows_chunked(const kr_h5_set *s, long row, long from, long count, char *to, hid_t plist)
{
    chunks c;
    int e = chunks_open(&c, s, row, plist);
    for (long done = 0, n; !e && done < count; done += n) {
        long number = (from + done) / c.rows, skip = (from + done) % c.rows;
        n = c.rows - skip < count - done ? c.rows - skip : count - done;
        if (!(e = read_chunk(&c, (hsize_t)number)))
            memcpy(to + done * row, c.plain + skip * row, (size_t)(n * row));
    }
    kr_free(c.raw);
    kr_free(c.a);
    kr_free(c.b);
    return e;
}

int kr_h5_rows(const kr_h5_set *s, long row, long from, long count, void *to)
{
    hid_t plist = H5Dget_create_plist(s->id);
    H5D_layout_t layout = plist < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(plist);
    haddr_t at = layout == H5D_CONTIGUOUS ? H5Dget_offset(s->id) : HADDR_UNDEF;
    int e = 0;
    if (s->dims > 1 || from < 0 || count > s->count - from)
        e = kr_fail(KR_EFORMAT, "dataset %s has %d axes and %ld entries; %ld along one axis are wanted", s->name, s->dims, s->count, from + count);
    else if (layout == H5D_CHUNKED && s->dims == 1)
        e = rows_chunked(s, row, from, count, to, plist);
    else if (at == HADDR_UNDEF || (long)H5Dget_storage_size(s->id) != s->count * row)
        e = kr_fail(KR_EFORMAT, "dataset %s is laid out in a way that is not read", s->name);
    else
        e = read_at(s->file, to, (size_t)(count * row), at + (uint64_t)(from * row));
    if (plist >= 0)
        H5Pclose(plist);
    return e;
}

/* ---- The global heap ---- */
kr_h5_ref kr_h5_ref_of(const void *raw)
{
    const unsigned char *p = raw;
    return (kr_h5_ref){ .count = (uint32_t)kr_little(p, 4), .at = kr_little(p + 4, 8), .index = (uint32_t)kr_little(p + 12, 4) };
}

void kr_h5_heap_clear(kr_h5_heap *h)
{
    kr_free(h->bytes);
    *h = (kr_h5_heap){ 0 };
}

enum { COLLECTION = 16, OBJECT = 16, FIRST = 4096, KEPT = 65536 };   /* headers; what is read at first, and kept at most */

/* A collection: "GCOL", version 1, its size; then objects. Small ones are kept whole, of large ones the beginning. */
static int collection(const kr_h5 *f, kr_h5_heap *h, uint64_t at)
{
    if (h->held && h->at == at)
        return 0;
    h->held = 0;
    if (!h->bytes && !(h->bytes = kr_alloc(KEPT, 1)))
        return kr_error_code();
    size_t n = at < (uint64_t)f->bytes && (uint64_t)f->bytes - at < FIRST ? (size_t)((uint64_t)f->bytes - at) : FIRST;
    if (read_at(f, h->bytes, n, at))
        return kr_error_code();
    h->size = n < COLLECTION ? 0 : kr_little(h->bytes + 8, 8);
    if (n < COLLECTION || memcmp(h->bytes, "GCOL\1", 5) || h->size < COLLECTION || h->size > (uint64_t)f->bytes - at)
        return kr_fail(KR_EFORMAT, "there is no heap of variable-length data at %llu: the file is damaged", (unsigned long long)at);
    if (h->size > n && h->size <= KEPT) {
        if (read_at(f, h->bytes + n, (size_t)h->size - n, at + n))
            return kr_error_code();
        n = (size_t)h->size;
    }
    h->held = n < h->size ? n : (size_t)h->size;
    h->at = at;
    return 0;
}

int kr_h5_heap_read(const kr_h5 *f, kr_h5_heap *h, kr_h5_ref r, size_t bytes, void *to)
{
    if (!bytes)
        return 0;
    if (f->base < 0)
        return kr_fail(KR_EFORMAT, "the file's addresses are not of 8 bytes; that is not read");
    r.at += (uint64_t)f->base;
    if (collection(f, h, r.at))
        return kr_error_code();
    unsigned char far[OBJECT];
    for (uint64_t pos = COLLECTION; pos + OBJECT <= h->size; ) {
        const unsigned char *o = h->bytes + pos;
        if (pos + OBJECT > h->held) {
            if (read_at(f, far, OBJECT, r.at + pos))
                return kr_error_code();
            o = far;
        }
        uint64_t index = kr_little(o, 2), size = kr_little(o + 8, 8), room = h->size - pos - OBJECT;
        if (!index || size > room)
            break;
        if (index == r.index) {
            if (size < bytes)
                return kr_fail(KR_EFORMAT, "variable-length data of %zu bytes are announced, %llu are there", bytes, (unsigned long long)size);
            if (pos + OBJECT + bytes > h->held)
                return read_at(f, to, bytes, r.at + pos + OBJECT);
            memcpy(to, o + OBJECT, bytes);
            return 0;
        }
        pos += OBJECT + (size + 7) / 8 * 8;
    }
    return kr_fail(KR_EFORMAT, "variable-length data are missing from their heap: the file is damaged");
}
