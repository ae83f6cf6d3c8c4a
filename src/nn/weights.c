/* weights.c: tensors by name; recognising weight files. */
#include "wt.h"
#include "kray_readers.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

kr_weights *kr_weights_new(void)
{
    kr_weights *w = kr_alloc_zero(1, sizeof *w);
    if (w && (!(w->meta = kr_meta_new()) || !(w->names = kr_alloc_zero(1, sizeof *w->names))))
        kr_weights_unref(&w);
    return w;
}

void kr_weights_unref(kr_weights **pw)
{
    kr_weights *w = *pw;
    if (!w)
        return;
    for (long i = 0; i < w->count; i++) {
        kr_free(w->tensor[i].name);
        if (!w->tensor[i].lent) {
            kr_free(w->tensor[i].data);
            kr_free(w->tensor[i].read);
        }
    }
    kr_free(w->tensor);
    kr_meta_unref(&w->meta);
    if (w->names)
        wt_names_clear(w->names);
    kr_free(w->names);
    kr_free(w);
    *pw = NULL;
}

long kr_tensor_count(const kr_tensor *t)
{
    long count = 1;
    for (int d = 0; d < t->dims; d++)
        count *= t->n[d];
    return count;
}

const kr_tensor *kr_weights_find(const kr_weights *w, const char *name)
{
    long i = wt_names_find(w->names, name);
    return i < 0 ? NULL : &w->tensor[i];
}

/* Weights are stored as they are; what unpacks to more than this is no file of weights. */
size_t wt_room(size_t n) { return n > SIZE_MAX / 64 ? SIZE_MAX : 64 * n + ((size_t)64 << 20); }

int wt_take(kr_weights *w, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(w->held, bytes, &w->held) || (w->most && w->held > w->most))
        return kr_fail(KR_EFORMAT, "the tensors so far take more than %zu MiB, more than a file of this length sensibly holds", w->most >> 20);
    return 0;
}

/* A tensor of zeros, or (lent) of numbers that another owns. */
static kr_tensor *add(kr_weights *w, const char *name, int dims, const long *n, const kr_tensor *lent)
{
    long count = 1;
    bool absurd = dims < 0 || dims > KR_TENSOR_DIMS;
    for (int d = 0; d < dims && !absurd; d++)
        absurd = n[d] < 0 || __builtin_mul_overflow(count, n[d], &count) || count > 1L << 34;
    if (absurd) {
        kr_fail(KR_EFORMAT, "the tensor '%s' has an impossible shape", name);
        return NULL;
    }
    if (kr_weights_find(w, name)) {
        kr_fail(KR_EFORMAT, "the tensor '%s' is there twice", name);
        return NULL;
    }
    if (w->count == w->room) {
        long room = w->room ? 2 * w->room : 32;
        kr_tensor *t = kr_realloc(w->tensor, (size_t)w->count, (size_t)room, sizeof *t);
        if (!t)
            return NULL;
        w->tensor = t;
        w->room = room;
    }
    kr_tensor *t = &w->tensor[w->count];
    *t = (kr_tensor){ .name = kr_strdup(name), .dims = dims, .lent = lent };
    t->data = lent ? lent->data : kr_alloc_zero((size_t)(count ? count : 1), sizeof(float));
    t->read = lent ? lent->read : kr_alloc_zero(1, sizeof *t->read);
    if (!t->name || !t->data || !t->read || wt_names_add(w->names, name, w->count)) {
        kr_free(t->name);
        if (!lent) {
            kr_free(t->data);
            kr_free(t->read);
        }
        return NULL;
    }
    for (int d = 0; d < dims; d++)
        t->n[d] = n[d];
    w->count++;
    return t;
}

kr_tensor *kr_weights_add(kr_weights *w, const char *name, int dims, const long *n) { return add(w, name, dims, n, NULL); }

kr_weights *kr_weights_under(const kr_weights *w, const char *prefix)
{
    kr_weights *u = kr_weights_new();
    size_t k = strlen(prefix);
    for (long i = 0; u && i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        if (strncmp(t->name, prefix, k))
            continue;
        if (!add(u, t->name + k, t->dims, t->n, t))
            kr_weights_unref(&u);
    }
    if (u && !u->count) {
        kr_text some = { 0 };
        for (long i = 0; i < w->count && i < 4; i++)
            kr_text_add(&some, "%s%s", i ? ", " : "", w->tensor[i].name);
        kr_fail(KR_EFORMAT, "no tensor begins with '%s'; the file has %ld, the first are %s", prefix, w->count, some.s ? some.s : "none");
        kr_text_clear(&some);
        kr_weights_unref(&u);
    }
    if (u) {
        kr_meta *m = kr_meta_copy(w->meta);
        if (!m)
            kr_weights_unref(&u);
        else {
            kr_meta_unref(&u->meta);
            u->meta = m;
            memcpy(u->digest, w->digest, sizeof u->digest);
        }
    }
    return u;
}

/* Names, shapes and numbers chained: the digest of one tensor enters the text whose digest is the whole's. */
void kr_weights_digest(kr_weights *w)
{
    kr_text t = { 0 };
    for (long i = 0; i < w->count; i++) {
        char hex[65];
        kr_digest(w->tensor[i].data, (size_t)kr_tensor_count(&w->tensor[i]) * sizeof(float), hex);
        kr_text_add(&t, "%s", w->tensor[i].name);
        for (int d = 0; d < w->tensor[i].dims; d++)
            kr_text_add(&t, " %ld", w->tensor[i].n[d]);
        kr_text_add(&t, " %s\n", hex);
    }
    kr_digest(t.s ? t.s : "", t.len, w->digest);
    kr_text_clear(&t);
}

/* ---- Element types ---- */
size_t wt_size(enum wt_type t)
{
    static const size_t size[WT_TYPES] = { 4, 8, 2, 2, 1, 1, 1, 2, 2, 4, 8, 8 };
    return size[t];
}

const char *wt_type_name(enum wt_type t)
{
    static const char *const name[WT_TYPES] = { "F32", "F64", "F16", "BF16", "I8", "U8", "BOOL", "I16", "U16", "I32", "I64", "C64" };
    return name[t];
}

void wt_floats(float *to, const unsigned char *p, enum wt_type t, long count)
{
    long parts = t == WT_C64 ? 2 * count : count;
    if (t == WT_F32 || t == WT_C64) {
        memcpy(to, p, (size_t)parts * 4);
        return;
    }
    size_t size = wt_size(t);
    for (long i = 0; i < count; i++, p += size) {            /* little-endian bytes, wherever they lie */
        uint64_t u = 0;
        for (size_t k = 0; k < size; k++)
            u |= (uint64_t)p[k] << (8 * k);
        union { double d; uint64_t u8; uint32_t u4; float f; } v = { .u8 = u };
        switch (t) {
        case WT_F64: to[i] = (float)v.d; break;
        case WT_F16: to[i] = kr_half((uint16_t)u); break;
        case WT_BF16: v.u4 = (uint32_t)u << 16; to[i] = v.f; break;
        case WT_I8: to[i] = (float)(int8_t)u; break;
        case WT_U8: case WT_BOOL: case WT_U16: to[i] = (float)u; break;
        case WT_I16: to[i] = (float)(int16_t)u; break;
        case WT_I32: to[i] = (float)(int32_t)u; break;
        case WT_I64: to[i] = (float)(int64_t)u; break;
        default: to[i] = 0;
        }
    }
}

/* ---- Recognising ---- */
#define DECLARE(name) extern const wt_format wt_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &wt_##name,
static const wt_format *const formats[] = { KR_LIST(ENTRY) NULL };

int kr_weights_read(kr_weights **out, const char *path)
{
    *out = NULL;
    long refused = kr_mem_refused();
    size_t n = 0;
    kr_auto unsigned char *bytes = (unsigned char *)kr_file_whole(path, SIZE_MAX / 2, &n);
    if (!bytes)
        return kr_error_code();
    const wt_format *best = NULL;
    int sure = 0;
    for (int i = 0; formats[i]; i++) {
        int p = formats[i]->probe(bytes, n);
        if (p > sure) {
            sure = p;
            best = formats[i];
        }
    }
    if (!best) {
        kr_text known = { 0 };
        for (int i = 0; formats[i]; i++)
            kr_text_add(&known, "%s%s", i ? ", " : "", formats[i]->name);
        kr_fail(KR_EFORMAT, "%s: not a file of weights that Kray knows (%s)", path, known.s ? known.s : "");
        kr_text_clear(&known);
        return kr_mem_lacked(kr_error_code(), refused);
    }
    kr_weights *w = kr_weights_new();
    if (w)
        w->most = wt_room(n);
    int e = w ? best->read(w, bytes, n) : kr_error_code();
    if (!e && !w->count)
        e = kr_fail(KR_EFORMAT, "there are no tensors in this %s file", best->name);
    for (long i = 0; !e && i < w->count; i++)
        for (long k = 0, c = kr_tensor_count(&w->tensor[i]); k < c && !e; k++)
            if (!(w->tensor[i].data[k] - w->tensor[i].data[k] == 0))
                e = kr_fail(KR_ENUMBER, "the tensor '%s' holds numbers that are not finite", w->tensor[i].name);
    if (!e)
        e = kr_meta_set(w->meta, "file_format", "%s", best->name);
    if (!e)
        kr_weights_digest(w);
    e = kr_mem_lacked(e, refused);
    if (e) {
        kr_weights_unref(&w);
        return kr_fail_in("%s", path);
    }
    const char *told = kr_meta_get(w->meta, "digest");      /* Kray's own files say what they should be */
    if (told && strlen(told) == 64 && strcmp(told, w->digest)) {
        kr_weights_unref(&w);
        return kr_fail(KR_EFORMAT, "%s: the numbers are not those that were written (their digest differs)", path);
    }
    *out = w;
    return 0;
}
