/* fmt_npy.c: NumPy arrays (.npy), with names of axes and notes in NAME.npy.json beside. Source: NumPy's format.py, "NEP 1". */
#include "kray/io.h"
#include "file.h"
#include "number.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return bytes >= 10 && !memcmp(head, "\x93NUMPY", 6) ? 100 : 0;
}

/* ---- Header ---- */
typedef struct header { enum kr_number kind; bool complex, swap, fortran; int dims; long n[KR_AXES], count; int64_t at; } header;

static const char *value_of(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    p = p ? p + strlen(key) : NULL;
    p = p ? p + strspn(p, " ") : NULL;
    return p && *p == ':' ? p + 1 + strspn(p + 1, " ") : NULL;
}

/* '<f4', '>c16', '|b1': byte order, kind, bytes. */
static int parse_type(header *h, const char *descr)
{
    static const struct { const char *name; enum kr_number kind; bool complex; } known[] = {
        { "f2'", KR_F16, false }, { "f4'", KR_F32, false }, { "f8'", KR_F64, false }, { "c8'", KR_F32, true }, { "c16'", KR_F64, true }, { "b1'", KR_U8, false },
        { "u1'", KR_U8, false }, { "i1'", KR_I8, false }, { "u2'", KR_U16, false }, { "i2'", KR_I16, false }, { "u4'", KR_U32, false },
        { "i4'", KR_I32, false }, { "u8'", KR_U64, false }, { "i8'", KR_I64, false } };
    for (size_t i = 0; *descr == '\'' && strchr("<>|=", descr[1]) && descr[1] && i < sizeof known / sizeof *known; i++)
        if (!strncmp(descr + 2, known[i].name, strlen(known[i].name))) {
            h->kind = known[i].kind;
            h->complex = known[i].complex;
            h->swap = descr[1] == '>';
            return 0;
        }
    return kr_fail(KR_EFORMAT, "NumPy numbers of type %.*s are not read; integers, truth values, real numbers of 2, 4 or 8 "
                   "bytes and complex ones of 8 or 16 are", (int)strcspn(descr, ",}"), descr);
}

static int parse_shape(header *h, const char *shape)
{
    h->count = 1;
    for (const char *p = shape + 1; *p && *p != ')'; ) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || v < 0 || h->dims >= KR_AXES || __builtin_mul_overflow(h->count, v, &h->count))
            return kr_fail(KR_EFORMAT, "the NumPy shape '%.40s' makes no sense", shape);
        h->n[h->dims++] = v;
        p = end + strspn(end, ", ");
    }
    return h->count ? 0 : kr_fail(KR_EFORMAT, "the NumPy array is empty");
}

static long bytes_each(const header *h) { return kr_number_bytes(h->kind) * (h->complex ? 2 : 1); }

static int read_header(header *h, int fd, int64_t length)
{
    unsigned char b[12] = { 0 };
    if (length < 12 || kr_file_read(fd, b, 12, 0) || memcmp(b, "\x93NUMPY", 6))
        return kr_fail(KR_EFORMAT, "not a NumPy file");
    size_t n = (size_t)b[8] | (size_t)b[9] << 8;
    h->at = 10;
    if (b[6] >= 2) {
        n |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
        h->at = 12;
    }
    if (b[6] < 1 || b[6] > 3 || n > 1 << 16 || h->at + (int64_t)n > length)
        return kr_fail(KR_EFORMAT, "the NumPy header (version %d.%d, %zu bytes) makes no sense in a file of %lld bytes", b[6], b[7], n,
                       (long long)length);
    kr_auto char *text = kr_alloc(n + 1, 1);
    if (!text || kr_file_read(fd, text, n, h->at))
        return kr_error_code();
    text[n] = 0;
    h->at += (int64_t)n;
    const char *descr = value_of(text, "'descr'"), *order = value_of(text, "'fortran_order'"), *shape = value_of(text, "'shape'");
    if (!descr || !order || !shape || *shape != '(')
        return kr_fail(KR_EFORMAT, "the NumPy header does not give descr, fortran_order and shape");
    h->fortran = !strncmp(order, "True", 4);
    if (parse_type(h, descr) || parse_shape(h, shape))
        return kr_error_code();
    long bytes;
    if (__builtin_mul_overflow(h->count, bytes_each(h), &bytes) || bytes > length - h->at)
        return kr_fail(KR_EFORMAT, "the NumPy header announces %ld numbers of %ld bytes, but only %lld bytes follow", h->count, bytes_each(h),
                       (long long)(length - h->at));
    return 0;
}

/* ---- Reading ---- */
/* The names that write_array left in NAME.npy.json; NULL where there are none. */
static char *names_beside(const char *path)
{
    kr_auto char *beside = kr_strf("%s.json", path);
    kr_auto char *text = beside && !access(beside, R_OK) ? kr_file_text(beside, 1 << 20) : NULL;
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    const char *axes = json_string_value(json_object_get(json, "axes"));
    char *names = axes ? kr_strdup(axes) : NULL;
    json_decref(json);
    return names;
}

/* Without names, the last axes of a NumPy array are taken as pictures are: [..., y, x]. */
static int name_axes(int order[KR_AXES], const header *h, const kr_source *src)
{
    static const int usual[] = { KR_X, KR_Y, KR_Z };
    kr_auto char *beside = src->axes ? NULL : names_beside(src->path);
    const char *names = src->axes ? src->axes : beside;
    int count = names ? kr_axes_parse(names, order) : h->dims;
    if (count < 0)
        return count;
    if (count != h->dims)
        return kr_fail(KR_EUSAGE, "%d axes are named ('%s'%s), the array has %d", count, names, beside ? " in the .json beside" : "", h->dims);
    if (!names && h->dims > 3)
        return kr_fail(KR_EUSAGE, "the array has %d axes: name them, as in %s@coil,z,y,x", h->dims, src->path);
    for (int i = 0; i < h->dims; i++) {
        if (!names)
            order[i] = usual[h->dims - 1 - i];
        if (order[i] == KR_AXES && h->n[i] != 1)
            return kr_fail(KR_EUSAGE, "axis %d is called '-', but has length %ld", i, h->n[i]);
    }
    return 0;
}

struct block { const header *h; char *raw; float *to; };
enum { BLOCK = 1 << 18 };

static int convert(void *self, long b)
{
    const struct block *c = self;
    long parts = c->h->complex ? 2 : 1, all = c->h->count * parts, from = b * BLOCK, n = all - from < BLOCK ? all - from : BLOCK;
    char *raw = c->raw + from * kr_number_bytes(c->h->kind);
    if (c->h->swap)
        kr_number_swap(raw, c->h->kind, n);
    if (c->to)
        kr_number_floats(c->to + from, 1, raw, c->h->kind, n);
    return 0;
}

static void *read_numbers(const header *h, int fd)
{
    long parts = h->complex ? 2 : 1;
    kr_auto void *raw = kr_alloc((size_t)h->count, (size_t)bytes_each(h));
    kr_auto void *floats = raw && h->kind != KR_F32 ? kr_alloc((size_t)(h->count * parts), sizeof(float)) : NULL;
    if (!raw || (h->kind != KR_F32 && !floats) || kr_file_read(fd, raw, (size_t)(h->count * bytes_each(h)), h->at))
        return NULL;
    struct block c = { h, raw, floats };
    if ((floats || h->swap) && kr_for((h->count * parts + BLOCK - 1) / BLOCK, convert, &c))
        return NULL;
    void *data = floats ? floats : raw;
    *(floats ? &floats : &raw) = NULL;
    return data;
}

static int read_array(kr_array **out, const kr_source *src)
{
    if (src->var)
        return kr_fail(KR_EUSAGE, "a NumPy file holds one array without a name: ':%s' says nothing", src->var);
    int64_t length = 0;
    int fd = kr_file_open(src->path, &length);
    if (fd < 0)
        return fd;
    header h = { 0 };
    int order[KR_AXES];
    kr_auto void *data = read_header(&h, fd, length) || name_axes(order, &h, src) ? NULL : read_numbers(&h, fd);
    close(fd);
    if (!data)
        return kr_error_code();
    /* Memory order, first fastest; "-" axes have length 1 and no name. */
    kr_shape shape = { { 0 } };
    int memory[KR_AXES], axes = 0;
    for (int i = 0; i < h.dims; i++) {
        int k = h.fortran ? i : h.dims - 1 - i;
        if (order[k] == KR_AXES)
            continue;
        shape.n[order[k]] = h.n[k];
        memory[axes++] = order[k];
    }
    kr_scoped(array) a = kr_array_take_order(h.complex ? KR_C32 : KR_R32, shape, data, memory, axes);
    if (!a)
        return kr_error_code();
    data = NULL;
    *out = kr_array_packed(a);
    return *out && !kr_reim_join(out, src) ? 0 : kr_error_code();
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)how;
    (void)trace;
    kr_auto char *beside = src->axes ? NULL : names_beside(src->path);
    kr_scoped(array) a = NULL;
    if (!src->axes && !beside)
        return kr_fail(KR_EUSAGE, "k-space in a NumPy array needs names for its axes, as in %s@coil,y,x", src->path);
    return read_array(&a, src) ? kr_error_code() : kr_scan_of_array(out, a);
}

/* The pairs of strings that Kray wrote beside the array; another program's notes are none of ours. */
static int meta_beside(kr_meta *m, const char *path)
{
    kr_auto char *beside = kr_strf("%s.json", path);
    if (!beside || access(beside, F_OK))
        return beside ? 0 : kr_error_code();
    kr_auto char *text = kr_file_text(beside, 1 << 20);
    if (!text)
        return kr_error_code();
    json_t *root = json_loads(text, 0, NULL), *value;
    const char *key;
    int e = 0;
    json_object_foreach(root, key, value)
        if (!e && json_is_string(value) && strcmp(key, "axes"))
            e = kr_meta_set(m, key, "%s", json_string_value(value));
    json_decref(root);
    return e;
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    kr_scoped(meta) meta = kr_meta_new();
    kr_auto char *beside = src->axes ? NULL : names_beside(src->path);
    if (!meta || read_array(&a, src) || meta_beside(meta, src->path))
        return kr_error_code();
    if (!src->axes && !beside && kr_meta_set(meta, "layout", "rows,columns"))    /* nobody named its axes: a picture, as NumPy shows it */
        return kr_error_code();
    *out = kr_image_new(a, NULL, meta);
    return *out ? 0 : kr_error_code();
}

/* ---- Writing ---- */
static void put_string(kr_text *t, const char *s)
{
    kr_text_put(t, "\"", 1);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            kr_text_add(t, "\\%c", *s);
        else if ((unsigned char)*s < 32)
            kr_text_add(t, "\\u%04x", *s);
        else
            kr_text_put(t, s, 1);
    kr_text_put(t, "\"", 1);
}

/* NumPy's own order: slowest first. Axes of length 1 are kept out, except that a bare number becomes shape (1,). Names and
 * provenance have no place in a .npy; they go to NAME.npy.json, always, so that no older one can speak for a new array. */
static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    kr_scoped(array) p = kr_array_packed(a);
    kr_auto char *beside = kr_strf("%s.json", path);
    if (!p || !beside)
        return kr_error_code();
    kr_text t = { 0 }, json = { 0 };
    kr_text_add(&t, "{'descr': '%s', 'fortran_order': False, 'shape': (", p->type == KR_C32 ? "<c8" : "<f4");
    kr_text_add(&json, "{\n  \"axes\": \"");
    int dims = 0;
    for (int d = KR_AXES - 1; d >= 0; d--)
        if (p->n[d] > 1) {
            kr_text_add(&t, "%s%ld", dims ? ", " : "", p->n[d]);
            kr_text_add(&json, "%s%s", dims++ ? "," : "", kr_axis_name(d));
        }
    kr_text_add(&t, dims == 0 ? "1,), }" : dims == 1 ? ",), }" : "), }");
    kr_text_add(&json, dims ? "\"" : "-\"");
    while (!t.failed && (10 + t.len + 1) % 64)
        kr_text_add(&t, " ");
    kr_text_add(&t, "\n");
    for (long i = 0; i < kr_meta_count(meta); i++) {
        kr_text_add(&json, ",\n  ");
        put_string(&json, kr_meta_key(meta, i));
        kr_text_add(&json, ": ");
        put_string(&json, kr_meta_value(meta, i));
    }
    kr_text_add(&json, "\n}\n");
    unsigned char head[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)t.len, (unsigned char)(t.len >> 8) };
    kr_block block[] = { { head, 10 }, { t.s, t.len }, { p->data, (size_t)kr_count(kr_array_shape(p)) * (p->type == KR_C32 ? 8 : 4) } };
    int e = t.failed || json.failed ? kr_error_code() : kr_file_write(path, block, 3);
    if (!e)
        e = kr_file_write(beside, &(kr_block){ json.s, json.len }, 1);
    kr_text_clear(&t);
    kr_text_clear(&json);
    return e;
}

static int write_image(const kr_image *im, const char *path) { return write_array(im->data, im->meta, path); }

static int write_scan(const kr_scan *s, const char *path)
{
    kr_scoped(array) k = kr_scan_kspace(s);
    return k ? write_array(k, s->meta, path) : kr_error_code();
}

const kr_format kr_format_npy = { "npy", ".npy", "NumPy array", probe, read_scan, write_scan, read_image, write_image, read_array, write_array, false,
    .streams = true, .beside = "+.json", .any = true };
