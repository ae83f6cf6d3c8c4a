/* mat5.c: variables of MATLAB v5 files. Kray reads the tags itself, each length checked against what the element
 * around it has left, rather than through libmatio: damaged files must be refused, and libmatio trusts their lengths.
 * Source: "MAT-File Format", The MathWorks, Level 5. */
#include "mat5.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { MI_INT8 = 1, MI_UINT8, MI_INT16, MI_UINT16, MI_INT32, MI_UINT32, MI_SINGLE, MI_DOUBLE = 9, MI_INT64 = 12, MI_UINT64,
       MI_MATRIX, MI_COMPRESSED, MI_UTF8, MI_UTF16 };
enum { MX_CELL = 1, MX_STRUCT, MX_OBJECT, MX_CHAR, MX_SPARSE, MX_DOUBLE, MX_UINT64 = 15 };
/* zlib cannot make more than 1032 bytes of one. */
enum { INFLATE_MOST = 1032, ROOM = 1 << 16 };

/* The bytes of one top-level element, unpacked on the way if it is compressed. */
struct stream {
    FILE *f;
    long left;                      /* bytes of the element not yet taken from the file */
    bool swap, packed, text;        /* text: characters are wanted, too, as numbers */
    z_stream z;
    unsigned char in[ROOM];
};

static int take(struct stream *s, void *to, long n)
{
    if (!s->packed) {
        if (n > s->left || fread(to, 1, (size_t)n, s->f) != (size_t)n)
            return kr_fail(KR_EFORMAT, "the file ends inside a variable");
        s->left -= n;
        return 0;
    }
    s->z.next_out = to;
    for (long done = 0; done < n; ) {
        s->z.avail_out = (uInt)(n - done < 1 << 30 ? n - done : 1 << 30);
        uInt want = s->z.avail_out;
        while (s->z.avail_out) {
            if (!s->z.avail_in) {
                size_t more = (size_t)(s->left < ROOM ? s->left : ROOM), got = fread(s->in, 1, more, s->f);
                if (!got)
                    return kr_fail(KR_EFORMAT, "the file ends inside a compressed variable");
                s->z.next_in = s->in;
                s->z.avail_in = (uInt)got;
                s->left -= (long)got;
            }
            int z = inflate(&s->z, Z_NO_FLUSH);
            if (z == Z_STREAM_END && s->z.avail_out)
                return kr_fail(KR_EFORMAT, "a compressed variable ends too early");
            if (z != Z_OK && z != Z_STREAM_END)
                return kr_fail(KR_EFORMAT, "a compressed variable is damaged (%s)", s->z.msg ? s->z.msg : "zlib refuses it");
        }
        done += want;
    }
    return 0;
}

static int pass(struct stream *s, long n)
{
    unsigned char dust[4096];
    for (long k; n > 0; n -= k) {
        k = n < (long)sizeof dust ? n : (long)sizeof dust;
        if (take(s, dust, k))
            return kr_error_code();
    }
    return 0;
}

static uint32_t word(const struct stream *s, const unsigned char *p)
{
    return s->swap ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
                   : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* Tag of a sub-element; *inside: bytes left of the element that holds it. Small elements carry up to four bytes in the
 * tag itself: then `small` holds them. */
struct tag { long type, bytes; bool in_tag; unsigned char small[4]; };

static int take_tag(struct stream *s, struct tag *t, long *inside)
{
    unsigned char b[8];
    if (*inside < 8)
        return kr_fail(KR_EFORMAT, "a variable ends too early");
    if (take(s, b, 8))
        return kr_error_code();
    *inside -= 8;
    uint32_t first = word(s, b);
    t->in_tag = first >> 16;
    t->type = t->in_tag ? first & 0xffff : first;
    t->bytes = t->in_tag ? first >> 16 : word(s, b + 4);
    memcpy(t->small, b + 4, 4);
    if (t->in_tag ? t->bytes > 4 : t->bytes > *inside)
        return kr_fail(KR_EFORMAT, "a variable announces %ld bytes where %ld are left", t->bytes, t->in_tag ? 4 : *inside);
    return 0;
}

/* The bytes of the sub-element and the padding after them (top-level matrices inside structures have none). */
static int take_body(struct stream *s, const struct tag *t, void *to, long *inside)
{
    if (t->in_tag) {
        memcpy(to, t->small, t->bytes < 4 ? (size_t)t->bytes : 4);
        return 0;
    }
    long pad = (8 - t->bytes % 8) % 8;
    if (pad > *inside - t->bytes)
        pad = *inside - t->bytes;
    if (take(s, to, t->bytes) || pass(s, pad))
        return kr_error_code();
    *inside -= t->bytes + pad;
    return 0;
}

static const char *const classes[] = { "?", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8",
                                       "int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque" };

static int take_header(struct stream *s, kr_mat_var *v, int *class, long *inside)
{
    struct tag t;
    unsigned char b[4 * KR_MAT_DIMS];
    memset(v, 0, sizeof *v);
    if (take_tag(s, &t, inside))
        return kr_error_code();
    if (t.type != MI_UINT32 || t.bytes != 8 || t.in_tag)
        return kr_fail(KR_EFORMAT, "a variable does not begin with its flags");
    if (take_body(s, &t, b, inside))
        return kr_error_code();
    uint32_t flags = word(s, b);
    *class = flags & 0xff;
    v->complex = flags & 0x0800;
    v->numeric = *class >= MX_DOUBLE && *class <= MX_UINT64;
    snprintf(v->class_name, sizeof v->class_name, "%s", flags & 0x0200 ? "logical" : *class <= 17 ? classes[*class] : "?");
    if (*class == 17)                                  /* opaque: no lengths; nothing Kray reads */
        return 0;
    if (take_tag(s, &t, inside))
        return kr_error_code();
    if (t.type != MI_INT32 || t.bytes % 4 || t.bytes < 8 || t.bytes > (long)sizeof b)
        return kr_fail(KR_EFORMAT, "a variable gives its lengths as %ld bytes of type %ld", t.bytes, t.type);
    if (take_body(s, &t, b, inside))
        return kr_error_code();
    v->dims = (int)(t.bytes / 4);
    v->count = 1;
    for (int i = 0; i < v->dims; i++) {
        v->n[i] = (int32_t)word(s, b + 4 * i);
        if (v->n[i] < 0 || __builtin_mul_overflow(v->count, v->n[i], &v->count))
            return kr_fail(KR_EFORMAT, "a variable of %s makes no sense", kr_lengths_text(v->n, i + 1));
    }
    if (take_tag(s, &t, inside))
        return kr_error_code();
    if (t.type != MI_INT8 || t.bytes >= (long)sizeof v->name)
        return kr_fail(KR_EFORMAT, "a variable's name has %ld bytes of type %ld", t.bytes, t.type);
    return take_body(s, &t, v->name, inside);
}

/* Real or imaginary part into to[0], to[step], ... MATLAB stores numbers in the smallest type that holds them all. */
static int take_numbers(struct stream *s, const kr_mat_var *v, float *to, long step, long *inside)
{
    static const enum kr_number kinds[] = { [MI_INT8] = KR_I8, [MI_UINT8] = KR_U8, [MI_INT16] = KR_I16, [MI_UINT16] = KR_U16,
        [MI_INT32] = KR_I32, [MI_UINT32] = KR_U32, [MI_SINGLE] = KR_F32, [MI_DOUBLE] = KR_F64, [MI_INT64] = KR_I64, [MI_UINT64] = KR_U64,
        [MI_UTF8] = KR_U8, [MI_UTF16] = KR_U16 };
    struct tag t;
    if (take_tag(s, &t, inside))
        return kr_error_code();
    enum kr_number kind = t.type > 0 && t.type <= MI_UTF16 ? kinds[t.type] : KR_NUMBER_NONE;
    long size = kr_number_bytes(kind);
    if (!size || t.bytes / size != v->count || t.bytes % size)
        return kr_fail(KR_EFORMAT, "variable '%s' of %s holds %ld bytes of type %ld", v->name, kr_lengths_text(v->n, v->dims), t.bytes, t.type);
    if (t.in_tag) {
        if (s->swap)
            kr_number_swap(t.small, kind, v->count);
        kr_number_floats(to, step, t.small, kind, v->count);
        return 0;
    }
    unsigned char piece[1 << 15];
    for (long done = 0, k; done < v->count; done += k) {
        k = v->count - done < (long)sizeof piece / size ? v->count - done : (long)sizeof piece / size;
        if (take(s, piece, k * size))
            return kr_error_code();
        if (s->swap)
            kr_number_swap(piece, kind, k);
        kr_number_floats(to + done * step, step, piece, kind, k);
    }
    long pad = (8 - t.bytes % 8) % 8;
    if (pad > *inside - t.bytes)
        pad = *inside - t.bytes;
    *inside -= t.bytes + pad;
    return pass(s, pad);
}

static int take_variable(struct stream *s, kr_mat_var *v, int class, float **data, const char *field, long inside);

static const char BETWEEN[] = "./";          /* a structure and its field: as MATLAB says it, and as in files of HDF5 */

/* In a structure of one element the fields follow in order, each a matrix without a name. */
static int take_field(struct stream *s, kr_mat_var *v, float **data, const char *field, long inside)
{
    if (v->count != 1)
        return kr_fail(KR_EFORMAT, "'%s' is an array of %ld structures; one is wanted", v->name, v->count);
    struct tag t;
    unsigned char b[4];
    if (take_tag(s, &t, &inside))
        return kr_error_code();
    if (t.type != MI_INT32 || t.bytes != 4)
        return kr_fail(KR_EFORMAT, "structure '%s' is damaged", v->name);
    if (take_body(s, &t, b, &inside))
        return kr_error_code();
    long width = (int32_t)word(s, b);
    if (take_tag(s, &t, &inside))
        return kr_error_code();
    if (t.type != MI_INT8 || width < 1 || width > 4096 || t.bytes % width || t.bytes > 1 << 20)
        return kr_fail(KR_EFORMAT, "structure '%s' is damaged", v->name);
    kr_auto char *names = kr_alloc_zero((size_t)t.bytes + 8, 1);
    if (!names || take_body(s, &t, names, &inside))
        return kr_error_code();
    size_t want = strcspn(field, BETWEEN);
    long fields = t.bytes / width, at = 0;
    while (at < fields && !(strnlen(names + at * width, (size_t)width) == want && !strncmp(names + at * width, field, want)))
        at++;
    if (at == fields) {
        kr_text known = { 0 };
        for (long i = 0; i < fields && i < 40; i++)
            kr_text_add(&known, "%s%.*s", i ? ", " : "", (int)width, names + i * width);
        if (!want && known.s)
            kr_fail(KR_EFORMAT, "'%s' is a structure: name one of its fields, as in %s.%.*s; it has %s", v->name, v->name, (int)strnlen(names, (size_t)width), names, known.s);
        else
            kr_fail(KR_EFORMAT, "structure '%s' has no field '%.*s'; it has %s", v->name, (int)want, field, known.s ? known.s : "none");
        kr_text_clear(&known);
        return kr_error_code();
    }
    for (long i = 0; i <= at; i++) {
        if (take_tag(s, &t, &inside))
            return kr_error_code();
        if (t.type != MI_MATRIX || t.in_tag)
            return kr_fail(KR_EFORMAT, "structure '%s' is damaged", v->name);
        if (i < at && pass(s, t.bytes))
            return kr_error_code();
        inside -= i < at ? t.bytes : 0;
    }
    if (!t.bytes)
        return kr_fail(KR_EFORMAT, "'%s.%s' is empty", v->name, field);
    int class;
    inside = t.bytes;
    if (take_header(s, v, &class, &inside))
        return kr_error_code();
    snprintf(v->name, sizeof v->name, "%.*s", (int)want, field);
    return take_variable(s, v, class, data, field[want] ? field + want + 1 : NULL, inside);
}

static int take_variable(struct stream *s, kr_mat_var *v, int class, float **data, const char *field, long inside)
{
    if (field)
        return class == MX_STRUCT ? take_field(s, v, data, field, inside)
                                  : kr_fail(KR_EFORMAT, "'%s' is no structure, but %s: it has no field '%s'", v->name, v->class_name, field);
    if (class == MX_STRUCT)
        return take_field(s, v, data, "", inside);
    if (!v->numeric && !(s->text && class == MX_CHAR))
        return kr_fail(KR_EFORMAT, "'%s' is of class %s; numbers are wanted", v->name, v->class_name);
    if (!v->count)
        return kr_fail(KR_EFORMAT, "'%s' is empty (%s)", v->name, kr_lengths_text(v->n, v->dims));
    if (v->count > inside)                             /* a number takes at least one byte */
        return kr_fail(KR_EFORMAT, "'%s' of %s does not fit into the %ld bytes it has", v->name, kr_lengths_text(v->n, v->dims), inside);
    int parts = v->complex ? 2 : 1;
    if (!(*data = kr_alloc((size_t)v->count, (size_t)parts * sizeof **data)))
        return kr_error_code();
    int e = take_numbers(s, v, *data, parts, &inside);
    if (!e && v->complex)
        e = take_numbers(s, v, *data + 1, parts, &inside);
    if (e)
        kr_free_at(data);
    return e;
}

/* Goes through the elements of the file. For each: `each`, or, if it is called `name`, its numbers. */
struct walk { kr_mat_each *each; void *self; const char *name; kr_mat_var *var; float **data; bool found, text; };

static int element(struct walk *w, struct stream *s, long bytes)
{
    kr_mat_var v;
    int class;
    long inside = bytes;
    if (take_header(s, &v, &class, &inside))
        return kr_error_code();
    if (w->each)
        return w->each(w->self, &v);
    size_t n = strlen(v.name);
    if (strncmp(w->name, v.name, n) || (w->name[n] && !strchr(BETWEEN, w->name[n])))
        return 0;
    w->found = true;
    *w->var = v;
    return take_variable(s, w->var, class, w->data, w->name[n] ? w->name + n + 1 : NULL, inside);
}

static int compressed(struct walk *w, struct stream *s, long bytes)
{
    struct tag t;
    s->packed = true;
    memset(&s->z, 0, sizeof s->z);
    if (inflateInit(&s->z) != Z_OK)
        return kr_fail(KR_EMEM, "no memory to unpack a compressed variable");
    long inside = bytes < 1L << 40 ? bytes * INFLATE_MOST : bytes;
    int e = take_tag(s, &t, &inside);
    if (!e && t.type == MI_MATRIX && !t.in_tag)
        e = element(w, s, t.bytes);
    inflateEnd(&s->z);
    s->packed = false;
    return e;
}

static int walk_file(struct walk *w, struct stream *s, long size)
{
    unsigned char b[128];
    s->left = size;
    if (take(s, b, 128))
        return kr_fail(KR_EFORMAT, "a MATLAB file of %ld bytes is too short for its header of 128", size);
    s->swap = b[126] == 'M' && b[127] == 'I';
    unsigned version = s->swap ? (unsigned)b[124] << 8 | b[125] : (unsigned)b[125] << 8 | b[124];
    if ((!s->swap && (b[126] != 'I' || b[127] != 'M')) || version != 0x0100)
        return kr_fail(KR_EFORMAT, "not a MATLAB v5 file");
    for (long at = 128; at < size; ) {
        struct tag t;
        s->left = size - at;
        if (size - at < 8)
            return kr_fail(KR_EFORMAT, "the file ends inside a variable");
        if (fseek(s->f, at, SEEK_SET) || take(s, b, 8))
            return kr_fail(KR_EFILE, "cannot be read: %s", strerror(errno));
        t.type = word(s, b);
        t.bytes = word(s, b + 4);
        if (t.bytes > size - at - 8)
            return kr_fail(KR_EFORMAT, "a variable announces %ld bytes, but only %ld are left in the file", t.bytes, size - at - 8);
        s->left = t.bytes;
        int e = t.type == MI_COMPRESSED ? compressed(w, s, t.bytes) : t.type == MI_MATRIX ? element(w, s, t.bytes) : 0;
        if (e || w->found)
            return e;
        at += 8 + t.bytes;
    }
    return 0;
}

static int walk_path(struct walk *w, const char *path)
{
    struct stat st;
    kr_auto struct stream *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return kr_error_code();
    s->text = w->text;
    if (!(s->f = fopen(path, "rb")))
        return kr_fail(KR_EFILE, "cannot be opened: %s", strerror(errno));
    int e = fstat(fileno(s->f), &st) ? kr_fail(KR_EFILE, "cannot be read: %s", strerror(errno)) : walk_file(w, s, (long)st.st_size);
    fclose(s->f);
    return e;
}

int kr_mat5_list(const char *path, kr_mat_each *each, void *self)
{
    return walk_path(&(struct walk){ .each = each, .self = self }, path);
}

static int read_one(kr_mat_var *var, float **data, const char *path, const char *name, bool text)
{
    struct walk w = { .name = name, .var = var, .data = data, .text = text };
    *data = NULL;
    int e = walk_path(&w, path);
    if (!e && !w.found)
        e = kr_fail(KR_EFORMAT, "there is no variable '%s'", name);
    return e;
}

int kr_mat5_read(kr_mat_var *var, float **data, const char *path, const char *name)
{
    return read_one(var, data, path, name, false);
}

int kr_mat5_text(char *to, size_t room, const char *path, const char *name)
{
    kr_mat_var v;
    kr_auto float *code = NULL;
    if (read_one(&v, &code, path, name, true))
        return kr_error_code();
    long n = v.count < (long)room - 1 ? v.count : (long)room - 1;
    for (long i = 0; i < n; i++)
        to[i] = code[i] >= 1 && code[i] < 127 ? (char)code[i] : '?';
    to[n] = 0;
    return v.numeric ? kr_fail(KR_EREFUSED, "'%s' is of class %s; a text is wanted", v.name, v.class_name) : 0;
}
