/* h5pack.c: unpacking chunks. HDF5 hands them over as they are in the file; unpacking here may be done by many threads.
 * Source: HDF5 File Format Specification 2.0, IV.A.2.l (filters); lzf: liblzf's stream as h5py's filter 32000 writes it. */
#include "h5pack.h"
#include <string.h>
#include <zlib.h>

enum { LZF = 32000 };

int kr_h5_pack_of(kr_h5_pack *p, const kr_h5_set *s, hid_t plist)
{
    *p = (kr_h5_pack){ .name = s->name, .number = (long)H5Tget_size(s->type), .count = H5Pget_nfilters(plist) };
    if (p->count < 0 || p->count > KR_H5_FILTERS)
        return kr_fail(KR_EFORMAT, "dataset %s is packed %d times over", s->name, p->count);
    for (int k = 0; k < p->count; k++) {
        unsigned flags, config;
        size_t values = 0;
        char name[32] = "";
        H5Z_filter_t id = H5Pget_filter2(plist, (unsigned)k, &flags, &values, NULL, sizeof name, name, &config);
        switch (id) {
        case H5Z_FILTER_DEFLATE: p->filter[k] = KR_H5_DEFLATE; break;
        case H5Z_FILTER_SHUFFLE: p->filter[k] = KR_H5_SHUFFLE; break;
        case H5Z_FILTER_FLETCHER32: p->filter[k] = KR_H5_CHECKSUM; break;
        case LZF: p->filter[k] = KR_H5_LZF; break;
        default:
            return kr_fail(KR_EFORMAT, "dataset %s is packed by HDF5 filter %d (%s); gzip, lzf and shuffle are read: h5repack -f GZIP=4 IN OUT, "
                           "where that filter is installed, makes such a file", s->name, (int)id, name);
        }
    }
    return 0;
}

/* Runs of up to 32 bytes as they are, or up to 264 bytes from up to 8192 before. Returns the bytes made; 0: damaged. */
static size_t unlzf(unsigned char *to, size_t room, const unsigned char *from, size_t n)
{
    const unsigned char *end = from + n;
    size_t made = 0;
    while (from < end) {
        size_t head = *from++, length = (head >> 5) + 2;
        if (head < 32) {
            length = head + 1;
            if (length > (size_t)(end - from) || length > room - made)
                return 0;
            memcpy(to + made, from, length);
            from += length;
            made += length;
            continue;
        }
        if (head >> 5 == 7) {
            if (from == end)
                return 0;
            length += *from++;
        }
        if (from == end)
            return 0;
        size_t back = ((head & 31) << 8 | *from++) + 1;
        if (back > made || length > room - made)
            return 0;
        for (size_t k = 0; k < length; k++, made++)         /* byte by byte: the two may overlap */
            to[made] = to[made - back];
    }
    return made;
}

int kr_h5_unpack(const kr_h5_pack *p, unsigned skip, unsigned char *raw, size_t n, unsigned char *a, unsigned char *b, size_t room,
                 unsigned char **out, size_t *whole)
{
    unsigned char *now = raw;
    for (int k = p->count - 1; k >= 0; k--) {
        if (skip & 1u << k)
            continue;
        unsigned char *next = now == a ? b : a;
        if (p->filter[k] == KR_H5_CHECKSUM) {               /* Fletcher's sum, 4 bytes at the end, is not looked at */
            n -= n < 4 ? n : 4;
            continue;
        }
        if (p->filter[k] == KR_H5_SHUFFLE) {                /* byte k of all numbers lies together */
            size_t size = (size_t)p->number, m = n / size;
            if (n > room)
                return kr_fail(KR_EFORMAT, "dataset %s is damaged: a part of it has %zu bytes", p->name, n);
            for (size_t i = 0; i < size; i++)
                for (size_t q = 0; q < m; q++)
                    next[q * size + i] = now[i * m + q];
            memcpy(next + m * size, now + m * size, n - m * size);
        } else {
            uLongf got = (uLongf)room;
            if (p->filter[k] == KR_H5_LZF)
                got = unlzf(next, room, now, n);
            else if (uncompress(next, &got, now, (uLong)n) != Z_OK)
                got = 0;
            if (!got)
                return kr_fail(KR_EFORMAT, "dataset %s is damaged: a compressed part cannot be unpacked", p->name);
            n = got;
        }
        now = next;
    }
    *out = now;
    *whole = n;
    return 0;
}
