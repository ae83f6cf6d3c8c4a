/* fmt_ra.c: RawArray (.ra), read only: 48 bytes of header, the lengths (first fastest), the numbers. Source: the format's
 * description by its author, D. Smith (github.com/davidssmith/ra). */
#include "kray/io.h"
#include "file.h"
#include "number.h"
#include <string.h>
#include <unistd.h>

enum { BIG_ENDIAN_FLAG = 1, DIMS_MOST = 32 };

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return bytes >= 48 && (!memcmp(head, "rawarray", 8) || !memcmp(head, "yarrawar", 8)) ? 95 : 0;
}

typedef struct header { enum kr_number kind; bool complex, swap; int dims; long n[DIMS_MOST], count; int64_t at; } header;

/* Signed, unsigned, float, complex numbers of so many bytes. */
static enum kr_number kind_of(uint64_t type, uint64_t bytes)
{
    static const enum kr_number table[4][9] = { { [1] = KR_I8, [2] = KR_I16, [4] = KR_I32, [8] = KR_I64 }, { [1] = KR_U8, [2] = KR_U16, [4] = KR_U32, [8] = KR_U64 },
                                                { [4] = KR_F32, [8] = KR_F64 }, { [4] = KR_F32, [8] = KR_F64 } };
    uint64_t part = type == 4 ? bytes / 2 : bytes;
    return type >= 1 && type <= 4 && part <= 8 ? table[type - 1][part] : KR_NUMBER_NONE;
}

static int read_header(header *h, int fd, int64_t length)
{
    uint64_t w[6] = { 0 }, lengths[DIMS_MOST];      /* magic, flags, type, bytes each, bytes of data, dims */
    if (length < (int64_t)sizeof w || kr_file_read(fd, w, sizeof w, 0))
        return kr_fail(KR_EFORMAT, "not a RawArray file");
    h->swap = w[0] == 0x7261776172726179u || w[1] & BIG_ENDIAN_FLAG;
    if (w[0] == 0x7261776172726179u)
        kr_number_swap(w, KR_U64, 6);
    h->kind = kind_of(w[2], w[3]);
    h->complex = w[2] == 4;
    if (h->kind == KR_NUMBER_NONE)
        return kr_fail(KR_EFORMAT, "RawArray numbers of type %llu and %llu bytes are not read", (unsigned long long)w[2], (unsigned long long)w[3]);
    h->at = (int64_t)(sizeof w + w[5] % (DIMS_MOST + 1) * 8);
    if (w[5] < 1 || w[5] > DIMS_MOST || h->at > length)
        return kr_fail(KR_EFORMAT, "the RawArray header announces %llu axes in a file of %lld bytes", (unsigned long long)w[5], (long long)length);
    if (kr_file_read(fd, lengths, w[5] * 8, sizeof w))
        return kr_error_code();
    if (h->swap)
        kr_number_swap(lengths, KR_U64, (long)w[5]);
    h->dims = (int)w[5];
    h->count = 1;
    int64_t bytes = (int64_t)w[3];
    for (int i = 0; i < h->dims; i++) {
        h->n[i] = lengths[i] > 1ULL << 48 ? -1 : (long)lengths[i];
        if (h->n[i] < 1 || __builtin_mul_overflow(bytes, h->n[i], &bytes))
            return kr_fail(KR_EFORMAT, "the RawArray header announces length %llu along axis %d", (unsigned long long)lengths[i], i);
        h->count *= h->n[i];
    }
    if (bytes > length - h->at || (uint64_t)bytes != w[4])
        return kr_fail(KR_EFORMAT, "the RawArray header announces %s numbers of %llu bytes and %llu bytes of data; %lld bytes follow",
                       kr_lengths_text(h->n, h->dims), (unsigned long long)w[3], (unsigned long long)w[4], (long long)(length - h->at));
    while (h->dims > 1 && h->n[h->dims - 1] == 1)
        h->dims--;
    return 0;
}

static kr_array *numbers(const header *h, int fd, const int *order)
{
    long n = h->count * (h->complex ? 2 : 1);
    kr_auto char *raw = kr_alloc((size_t)n, (size_t)kr_number_bytes(h->kind));
    kr_auto float *data = raw ? kr_alloc((size_t)n, sizeof *data) : NULL;
    if (!data || kr_file_read(fd, raw, (size_t)(n * kr_number_bytes(h->kind)), h->at))
        return NULL;
    if (h->swap)
        kr_number_swap(raw, h->kind, n);
    kr_number_floats(data, 1, raw, h->kind, n);
    kr_shape shape = { { 0 } };
    int memory[DIMS_MOST], axes = 0;
    for (int i = 0; i < h->dims; i++)
        if (order[i] < KR_AXES) {
            shape.n[order[i]] = h->n[i];
            memory[axes++] = order[i];
        }
    kr_scoped(array) a = kr_array_take_order(h->complex ? KR_C32 : KR_R32, shape, data, memory, axes);
    if (!a)
        return NULL;
    data = NULL;
    return kr_array_packed(a);
}

/* Without names the first axes are taken as BART, which writes this format, means them. */
static int read_array(kr_array **out, const kr_source *src)
{
    static const int usual[] = { KR_X, KR_Y, KR_Z, KR_COIL, KR_MAP, KR_ECHO, KR_CHAN };
    int64_t length = 0;
    int fd = kr_file_open(src->path, &length), order[DIMS_MOST];
    if (fd < 0)
        return fd;
    header h = { 0 };
    *out = read_header(&h, fd, length) || kr_axes_of(order, src, h.n, h.dims, usual, 7, "NAME.ra@x,y,coil,time") ? NULL : numbers(&h, fd, order);
    close(fd);
    return *out ? 0 : kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    *out = read_array(&a, src) ? NULL : kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)how;
    (void)trace;
    kr_scoped(array) a = NULL;
    return read_array(&a, src) ? kr_error_code() : kr_scan_of_array(out, a);
}

const kr_format kr_format_ra = { "ra", ".ra", "RawArray", probe, read_scan, NULL, read_image, NULL, read_array, NULL, false, NULL, false };
