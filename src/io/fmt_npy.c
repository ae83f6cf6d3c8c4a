/* fmt_npy.c: NumPy arrays (.npy). */
#include "kray/io.h"
#include "file.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int probe(const unsigned char *head, size_t bytes, const char *path)
{
    (void)path;
    return bytes >= 10 && !memcmp(head, "\x93NUMPY", 6) ? 100 : 0;
}

typedef struct header { char kind; int size; bool swap, fortran; int dims; long n[KR_AXES]; long at, bytes; } header;

static const char *value_of(const char *text, const char *key)
{
    kr_auto char *quoted = kr_strf("'%s'", key);
    const char *p = quoted ? strstr(text, quoted) : NULL;
    p = p ? strchr(p, ':') : NULL;
    return p ? p + 1 + strspn(p + 1, " ") : NULL;
}

static int read_header(FILE *f, header *h)
{
    unsigned char b[12];
    struct stat st;
    if (fstat(fileno(f), &st) || fread(b, 1, 10, f) != 10 || memcmp(b, "\x93NUMPY", 6))
        return kr_fail(KR_EFORMAT, "not a NumPy file");
    size_t n = (size_t)b[8] | (size_t)b[9] << 8;
    h->at = 10;
    if (b[6] >= 2) {
        if (fread(b + 10, 1, 2, f) != 2)
            return kr_fail(KR_EFORMAT, "the NumPy header ends too early");
        n |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
        h->at = 12;
    }
    if (b[6] < 1 || b[6] > 3 || n > 1 << 16 || h->at + (long)n > st.st_size)
        return kr_fail(KR_EFORMAT, "the NumPy header (version %d.%d, %zu bytes) makes no sense in a file of %lld bytes", b[6], b[7], n,
                       (long long)st.st_size);
    kr_auto char *text = kr_alloc(n + 1, 1);
    if (!text)
        return kr_error_code();
    if (fread(text, 1, n, f) != n)
        return kr_fail(KR_EFORMAT, "the NumPy header ends too early");
    text[n] = 0;
    h->at += (long)n;
    const char *descr = value_of(text, "descr"), *order = value_of(text, "fortran_order"), *shape = value_of(text, "shape");
    if (!descr || !order || !shape || *descr != '\'' || *shape != '(')
        return kr_fail(KR_EFORMAT, "the NumPy header does not give descr, fortran_order and shape");
    h->swap = descr[1] == '>';
    h->kind = descr[2];
    h->size = atoi(descr + 3);
    h->fortran = !strncmp(order, "True", 4);
    if (!strchr("<>|=", descr[1]) || !(strchr("fc", h->kind) || strchr("iub", h->kind)) || !strchr("\1\2\4\10\20", h->size) || !h->size)
        return kr_fail(KR_EFORMAT, "NumPy type '%.8s' is not read; real or complex numbers, integers or booleans are wanted", descr + 1);
    long count = 1;
    for (const char *p = shape + 1; *p && *p != ')'; ) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || v < 0 || h->dims >= KR_AXES || __builtin_mul_overflow(count, v, &count))
            return kr_fail(KR_EFORMAT, "the NumPy shape '%.40s' makes no sense", shape);
        h->n[h->dims++] = v;
        p = end + strspn(end, ", ");
    }
    if (!count)
        return kr_fail(KR_EFORMAT, "the NumPy array is empty");
    if (__builtin_mul_overflow(count, h->size, &h->bytes) || h->at + h->bytes > st.st_size)
        return kr_fail(KR_EFORMAT, "the NumPy header announces %ld numbers of %d bytes, but only %lld bytes follow", count, h->size,
                       (long long)st.st_size - h->at);
    return 0;
}

/* One number of any type as two floats. */
static void number(const header *h, const unsigned char *p, float out[2])
{
    unsigned char b[16];
    int part = h->kind == 'c' ? h->size / 2 : h->size;
    for (int k = 0; k < h->size; k += part)
        for (int i = 0; i < part; i++)
            b[k + i] = p[k + (h->swap ? part - 1 - i : i)];
    double v[2] = { 0, 0 };
    for (int k = 0; k < (h->kind == 'c' ? 2 : 1); k++) {
        const unsigned char *q = b + k * part;
        union { float f; double d; int8_t i1; int16_t i2; int32_t i4; int64_t i8; uint8_t u1; uint16_t u2; uint32_t u4; uint64_t u8; } u = { 0 };
        memcpy(&u, q, (size_t)part);
        v[k] = h->kind == 'f' || h->kind == 'c' ? (part == 4 ? (double)u.f : part == 8 ? u.d : (double)NAN)
             : h->kind == 'i' ? (part == 1 ? u.i1 : part == 2 ? u.i2 : part == 4 ? u.i4 : (double)u.i8)
             : (part == 1 ? u.u1 : part == 2 ? u.u2 : part == 4 ? u.u4 : (double)u.u8);
    }
    out[0] = (float)v[0];
    out[1] = (float)v[1];
}

/* The names that write_array left in FILE.npy.json; NULL where there are none, or they were for another array. */
static char *names_beside(const char *path, int dims)
{
    int order[KR_AXES];
    kr_auto char *beside = kr_strf("%s.json", path);
    kr_auto char *text = beside && !access(beside, R_OK) ? kr_file_text(beside, 1 << 20) : NULL;
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    const char *axes = json_string_value(json_object_get(json, "axes"));
    char *names = axes && kr_axes_parse(axes, order) == dims ? kr_strdup(axes) : NULL;
    json_decref(json);
    if (!names)
        kr_error_clear();
    return names;
}

/* Without names, the last axes of a NumPy array are taken as pictures are: [..., y, x]. */
static int read_array(kr_array **out, const kr_source *src)
{
    FILE *f = fopen(src->path, "rb");
    if (!f)
        return kr_fail(KR_EFILE, "cannot be opened: %s", strerror(errno));
    header h = { 0 };
    int order[KR_AXES], count, e = read_header(f, &h);
    kr_auto unsigned char *raw = NULL;
    kr_auto void *data = NULL;
    kr_auto char *beside = e || src->axes ? NULL : names_beside(src->path, h.dims);
    const char *axes_named = src->axes ? src->axes : beside;
    if (!e && axes_named) {
        if ((count = kr_axes_parse(axes_named, order)) < 0)
            e = count;
        else if (count != h.dims)
            e = kr_fail(KR_EUSAGE, "%d axes are named ('%s'), the array has %d", count, axes_named, h.dims);
    } else if (!e) {
        static const int usual[] = { KR_X, KR_Y, KR_Z };
        if (h.dims > 3)
            e = kr_fail(KR_EUSAGE, "the array has %d axes: name them, as in %s@coil,z,y,x", h.dims, src->path);
        for (int i = 0; !e && i < h.dims; i++)
            order[i] = usual[h.dims - 1 - i];
    }
    bool complex = h.kind == 'c';
    long n = 1;
    for (int i = 0; i < h.dims; i++)
        n *= h.n[i];
    if (!e && (h.size == 16 && !complex))
        e = kr_fail(KR_EFORMAT, "numbers of 16 bytes are not read");
    if (!e && !(raw = kr_alloc((size_t)h.bytes, 1)))
        e = kr_error_code();
    if (!e && (fseek(f, h.at, SEEK_SET) || fread(raw, 1, (size_t)h.bytes, f) != (size_t)h.bytes))
        e = kr_fail(KR_EFILE, "cannot be read to its end");
    fclose(f);
    if (e)
        return e;
    if (!h.swap && ((complex && h.size == 8) || (h.kind == 'f' && h.size == 4))) {
        data = raw;
        raw = NULL;
    } else {
        if (!(data = kr_alloc((size_t)n, complex ? 8 : 4)))
            return kr_error_code();
        for (long i = 0; i < n; i++) {
            float v[2];
            number(&h, raw + i * h.size, v);
            memcpy((char *)data + i * (complex ? 8 : 4), v, complex ? 8 : 4);
        }
    }
    /* Memory order, first fastest; "-" axes have length 1 and no name. */
    kr_shape shape = { { 0 } };
    int memory[KR_AXES], axes = 0;
    for (int i = 0; i < h.dims; i++) {
        int k = h.fortran ? i : h.dims - 1 - i;
        if (order[k] == KR_AXES) {
            if (h.n[k] != 1)
                return kr_fail(KR_EUSAGE, "axis %d is called '-', but has length %ld", k, h.n[k]);
            continue;
        }
        shape.n[order[k]] = h.n[k];
        memory[axes++] = order[k];
    }
    kr_scoped(array) a = kr_array_take_order(complex ? KR_C32 : KR_R32, shape, data, memory, axes);
    if (!a)
        return kr_error_code();
    data = NULL;
    *out = kr_array_packed(a);
    return *out ? 0 : kr_error_code();
}

static int read_scan(kr_scan **out, const kr_source *src, const kr_read *how, const kr_trace *trace)
{
    (void)how;
    (void)trace;
    kr_scoped(array) a = NULL;
    if (!src->axes)
        return kr_fail(KR_EUSAGE, "k-space in a NumPy array needs names for its axes, as in %s@coil,y,x", src->path);
    if (read_array(&a, src))
        return kr_error_code();
    kr_scan *s = kr_scan_new();
    if (!s)
        return kr_error_code();
    s->data = kr_array_complex(a);
    s->shape = kr_array_shape(a);
    *out = s;
    return s->data ? 0 : kr_error_code();
}

static int read_image(kr_image **out, const kr_source *src)
{
    kr_scoped(array) a = NULL;
    if (read_array(&a, src))
        return kr_error_code();
    *out = kr_image_new(a, NULL, NULL);
    return *out ? 0 : kr_error_code();
}

/* NumPy's own order: slowest first. Axes of length 1 inside the used range are kept out, except that a bare number
 * becomes shape (1,). Provenance has no place in a .npy; it goes to FILE.npy.json. */
static int write_array(const kr_array *a, const kr_meta *meta, const char *path)
{
    kr_scoped(array) p = kr_array_packed(a);
    if (!p)
        return kr_error_code();
    kr_text t = { 0 }, names = { 0 };
    kr_text_add(&t, "{'descr': '%s', 'fortran_order': False, 'shape': (", p->type == KR_C32 ? "<c8" : "<f4");
    int dims = 0;
    for (int d = KR_AXES - 1; d >= 0; d--)
        if (p->n[d] > 1) {
            kr_text_add(&t, "%s%ld", dims ? ", " : "", p->n[d]);
            kr_text_add(&names, "%s%s", dims++ ? "," : "", kr_axis_name(d));
        }
    kr_text_add(&t, dims == 0 ? "1,), }" : dims == 1 ? ",), }" : "), }");
    while ((10 + t.len + 1) % 64)
        kr_text_add(&t, " ");
    kr_text_add(&t, "\n");
    FILE *f = t.failed ? NULL : fopen(path, "wb");
    int e = t.failed ? kr_error_code() : f ? 0 : kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    if (f) {
        unsigned char head[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)t.len, (unsigned char)(t.len >> 8) };
        size_t size = p->type == KR_C32 ? 8 : 4, n = (size_t)kr_count(kr_array_shape(p));
        bool good = fwrite(head, 1, 10, f) == 10 && fwrite(t.s, 1, t.len, f) == t.len && fwrite(p->data, size, n, f) == n;
        if (fclose(f) || !good)
            e = kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
    }
    if (!e && meta && kr_meta_count(meta)) {
        kr_auto char *json = kr_strf("%s.json", path);
        f = json ? fopen(json, "w") : NULL;
        if (!f)
            e = json ? kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno)) : kr_error_code();
        else {
            fprintf(f, "{\n  \"axes\": \"%s\"", names.s ? names.s : "");
            for (long i = 0; i < kr_meta_count(meta); i++) {
                fprintf(f, ",\n  \"%s\": \"", kr_meta_key(meta, i));
                for (const char *c = kr_meta_value(meta, i); *c; c++)
                    if (*c == '"' || *c == '\\')
                        fprintf(f, "\\%c", *c);
                    else if ((unsigned char)*c < 32)
                        fprintf(f, "\\u%04x", *c);
                    else
                        fputc(*c, f);
                fputc('"', f);
            }
            fprintf(f, "\n}\n");
            if (fclose(f))
                e = kr_fail(KR_EFILE, "cannot be written: %s", strerror(errno));
        }
    }
    kr_text_clear(&t);
    kr_text_clear(&names);
    return e;
}

static int write_image(const kr_image *im, const char *path) { return write_array(im->data, im->meta, path); }
static int write_scan(const kr_scan *s, const char *path) { return write_array(s->data, s->meta, path); }

const kr_format kr_format_npy = { "npy", ".npy", "NumPy array", probe, read_scan, write_scan, read_image, write_image, read_array, write_array };
