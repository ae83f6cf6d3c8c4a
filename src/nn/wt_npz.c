/* wt_npz.c: NumPy .npz archives of float arrays under the names of a state dict. */
#include "wt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int probe(const unsigned char *bytes, size_t n)
{
    size_t k = n > 30 && !memcmp(bytes, "PK\3\4", 4) ? (size_t)bytes[26] | (size_t)bytes[27] << 8 : 0;
    return k >= 4 && 30 + k <= n && !memcmp(bytes + 30 + k - 4, ".npy", 4) ? 100 : 0;
}

static bool type_of(const char *descr, enum wt_type *t)
{
    static const struct { const char *name; enum wt_type t; } known[] = { { "<f4", WT_F32 }, { "<f8", WT_F64 }, { "<f2", WT_F16 }, { "|i1", WT_I8 },
        { "|u1", WT_U8 }, { "|b1", WT_BOOL }, { "<i2", WT_I16 }, { "<u2", WT_U16 }, { "<i4", WT_I32 }, { "<i8", WT_I64 }, { "<c8", WT_C64 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(descr, known[i].name, 3)) {
            *t = known[i].t;
            return true;
        }
    return false;
}

static const char *after(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    p = p ? strchr(p, ':') : NULL;
    return p ? p + 1 + strspn(p + 1, " ") : NULL;
}

/* An array of words says something of the others: the note "text.NAME", a line for each word. */
static int words(kr_weights *w, const char *name, const unsigned char *data, size_t bytes, long each)
{
    kr_text t = { 0 };
    size_t size = 4 * (size_t)each;
    for (size_t i = 0; size && each < 4096 && (i + 1) * size <= bytes; i++) {
        if (i)
            kr_text_add(&t, "\n");
        for (long k = 0; k < each; k++) {
            const unsigned char *u = data + i * size + 4 * k;
            if (u[0] || u[1] || u[2] || u[3])
                kr_text_add(&t, "%c", u[1] || u[2] || u[3] || u[0] < 32 || u[0] > 126 ? '?' : u[0]);
        }
    }
    kr_auto char *key = kr_strf("text.%s", name);
    int e = !key || t.failed ? kr_error_code() : kr_meta_set(w->meta, key, "%s", t.s ? t.s : "");
    kr_text_clear(&t);
    return e;
}

static int one(kr_weights *w, const char *name, const unsigned char *b, size_t n)
{
    size_t head = n > 12 && b[6] == 1 ? 10 : 12, length = n > 12 ? (size_t)b[8] | (size_t)b[9] << 8 : 0;
    if (n <= 12 || memcmp(b, "\x93NUMPY", 6) || head + length > n)
        return kr_fail(KR_EFORMAT, "'%s' is not a NumPy array", name);
    kr_auto char *text = kr_strf("%.*s", (int)length, (const char *)b + head);
    if (!text)
        return kr_error_code();
    const char *descr = after(text, "'descr'"), *order = after(text, "'fortran_order'"), *shape = after(text, "'shape'");
    enum wt_type type;
    if (descr && !strncmp(descr, "'<U", 3))
        return words(w, name, b + head + length, n - head - length, strtol(descr + 3, NULL, 10));
    if (!descr || !order || !shape || *descr != '\'' || *shape != '(' || !type_of(descr + 1, &type))
        return kr_fail(KR_EFORMAT, "'%s' has a type that is not read: %.40s", name, descr ? descr : "none given");
    long dim[KR_TENSOR_DIMS], count = 1;
    int dims = 0;
    for (const char *p = shape + 1; *p && *p != ')'; ) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || v < 0 || dims >= KR_TENSOR_DIMS - 1 || __builtin_mul_overflow(count, v, &count))
            return kr_fail(KR_EFORMAT, "'%s' has an impossible shape", name);
        dim[dims++] = v;
        p = end + strspn(end, ", ");
    }
    const unsigned char *data = b + head + length;
    if (count < 0 || (size_t)count > (n - head - length) / wt_size(type))
        return kr_fail(KR_EFORMAT, "'%s' announces %ld numbers, %zu bytes follow", name, count, n - head - length);
    bool fortran = !strncmp(order, "True", 4) && dims > 1;
    if (type == WT_C64)
        dim[dims] = 2;
    if (wt_take(w, (size_t)count, sizeof(float) * (type == WT_C64 ? 2 : 1)))
        return kr_fail_in("the array '%s'", name);
    kr_tensor *t = kr_weights_add(w, name, dims + (type == WT_C64), dim);
    if (!t)
        return kr_error_code();
    if (!fortran) {
        wt_floats(t->data, data, type, count);
        return 0;
    }
    for (long i = 0; i < count; i++) {
        long rest = i, at = 0, step[KR_TENSOR_DIMS] = { 1 };
        for (int d = 1; d < dims; d++)
            step[d] = step[d - 1] * dim[d - 1];
        for (int d = dims - 1; d >= 0; d--) {
            at += rest % dim[d] * step[d];
            rest /= dim[d];
        }
        wt_floats(t->data + (type == WT_C64 ? 2 * i : i), data + (size_t)at * wt_size(type), type, 1);
    }
    return 0;
}

static int read_tensors(kr_weights *w, const unsigned char *bytes, size_t n)
{
    wt_zip *z = wt_zip_open(bytes, n);
    if (!z)
        return kr_error_code();
    int e = 0;
    for (long i = 0, count = wt_zip_count(z); i < count && !e; i++) {
        const char *member = wt_zip_name(z, i);
        size_t k = strlen(member);
        kr_auto char *name = kr_strf("%.*s", (int)(k > 4 && !strcmp(member + k - 4, ".npy") ? k - 4 : k), member);
        unsigned char *data = NULL;
        size_t length = 0;
        e = name ? wt_zip_read(z, member, &data, &length) : kr_error_code();
        if (!e)
            e = one(w, name, data, length);
        kr_free(data);
    }
    wt_zip_close(&z);
    return e;
}

const wt_format wt_npz = { "NumPy npz", probe, read_tensors };
