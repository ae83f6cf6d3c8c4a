/* wt_safetensors.c: a JSON header and one block of numbers; also what Kray itself writes. */
#include "wt.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 100 << 20 };         /* longest header that the format allows */

static uint64_t header_length(const unsigned char *b)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | b[i];
    return n;
}

static int probe(const unsigned char *bytes, size_t n)
{
    return n > 9 && bytes[8] == '{' && bytes[7] == 0 && bytes[6] == 0 ? 90 : 0;
}

struct span { json_int_t from, to; };

static int by_place(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->from != y->from ? (x->from < y->from ? -1 : 1) : (x->to > y->to) - (x->to < y->to);
}

static int one(kr_weights *w, const char *name, const json_t *t, const unsigned char *data, size_t room, struct span *span)
{
    const char *word = json_string_value(json_object_get(t, "dtype"));
    const json_t *shape = json_object_get(t, "shape"), *at = json_object_get(t, "data_offsets");
    enum wt_type type = 0;
    while (word && type < WT_TYPES && strcmp(word, wt_type_name(type)))
        type++;
    if (!word || type == WT_TYPES || !json_is_array(shape) || !json_is_array(at) || json_array_size(at) != 2)
        return kr_fail(KR_EFORMAT, "the tensor '%s' (type %s) is not described as safetensors wants", name, word ? word : "none");
    if (json_array_size(shape) > KR_TENSOR_DIMS - 1)
        return kr_fail(KR_EFORMAT, "the tensor '%s' has %zu axes", name, json_array_size(shape));
    long n[KR_TENSOR_DIMS], count = 1;
    int dims = 0;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        json_int_t v = json_integer_value(json_array_get(shape, i));
        if (!json_is_integer(json_array_get(shape, i)) || v < 0 || __builtin_mul_overflow(count, (long)v, &count))
            return kr_fail(KR_EFORMAT, "the tensor '%s' has an impossible shape", name);
        n[dims++] = (long)v;
    }
    json_int_t from = json_integer_value(json_array_get(at, 0)), to = json_integer_value(json_array_get(at, 1));
    if (from < 0 || to < from || (uint64_t)to > room || (uint64_t)count > room / wt_size(type)
        || (size_t)(to - from) != (size_t)count * wt_size(type))
        return kr_fail(KR_EFORMAT, "the tensor '%s' (%ld numbers of type %s) should lie at bytes %lld to %lld of %zu", name, count, word,
                       (long long)from, (long long)to, room);
    *span = (struct span){ from, to };
    if (type == WT_C64)
        n[dims++] = 2;
    kr_tensor *k = kr_weights_add(w, name, dims, n);
    if (!k)
        return kr_error_code();
    wt_floats(k->data, data + from, type, count);
    return 0;
}

static int read_tensors(kr_weights *w, const unsigned char *bytes, size_t n)
{
    uint64_t length = n >= 8 ? header_length(bytes) : 0;
    if (!length || length > MOST || length > n - 8)
        return kr_fail(KR_EFORMAT, "the header announces %llu bytes in a file of %zu", (unsigned long long)length, n);
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return kr_fail(KR_EFORMAT, "the header is not JSON: %s", error.text);
    }
    const char *name;
    json_t *t;
    int e = 0;
    size_t count = 0, room = n - 8 - (size_t)length;
    kr_auto struct span *span = kr_alloc(json_object_size(root) + 1, sizeof *span);
    if (!span)
        e = kr_error_code();
    json_object_foreach(root, name, t) {
        if (e)
            break;
        if (strcmp(name, "__metadata__"))
            e = one(w, name, t, bytes + 8 + length, room, &span[count++]);
        else {
            const char *key;
            json_t *v;
            json_object_foreach(t, key, v)
                if (!e && json_is_string(v))
                    e = kr_meta_set(w->meta, key, "%s", json_string_value(v));
        }
    }
    json_decref(root);
    if (e)
        return e;
    json_int_t at = 0;
    qsort(span, count, sizeof *span, by_place);
    for (size_t i = 0; i < count; at = span[i++].to)         /* the format wants no hole and no overlap */
        if (span[i].from != at)
            return kr_fail(KR_EFORMAT, "the tensors leave a hole or overlap at byte %lld of %zu", (long long)at, room);
    return (size_t)at == room ? 0 : kr_fail(KR_EFORMAT, "the tensors cover %lld of %zu bytes", (long long)at, room);
}

const wt_format wt_safetensors = { "safetensors", probe, read_tensors };

/* ---- Writing ---- */
static json_t *header(const kr_weights *w)
{
    json_t *root = json_object(), *meta = json_object();
    size_t at = 0;
    int bad = !root || !meta;
    for (long i = 0; !bad && i < kr_meta_count(w->meta); i++)
        bad |= json_object_set_new(meta, kr_meta_key(w->meta, i), json_string(kr_meta_value(w->meta, i)));
    if (!bad)
        bad |= json_object_set_new(meta, "digest", json_string(w->digest));
    bad |= json_object_set_new(root, "__metadata__", meta);
    for (long i = 0; !bad && i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        size_t bytes = (size_t)kr_tensor_count(t) * (w->half ? 2 : sizeof(float));
        json_t *shape = json_array();
        for (int d = 0; d < t->dims; d++)
            bad |= json_array_append_new(shape, json_integer(t->n[d]));
        bad |= json_object_set_new(root, t->name, json_pack("{s:s,s:o,s:[I,I]}", "dtype", w->half ? "BF16" : "F32", "shape", shape, "data_offsets",
                                                             (json_int_t)at, (json_int_t)(at + bytes)));
        at += bytes;
    }
    if (bad) {
        json_decref(root);
        kr_fail(KR_EMEM, "no memory for the header of the weights");
        return NULL;
    }
    return root;
}

/* To the nearest, ties to even; v finite, as all weights are. */
static uint16_t bf16(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void kr_weights_round(kr_weights *w)
{
    w->half = true;
    for (long i = 0; i < w->count; i++)
        for (long k = 0, n = kr_tensor_count(&w->tensor[i]); k < n; k++) {
            uint32_t u = (uint32_t)bf16(w->tensor[i].data[k]) << 16;
            memcpy(&w->tensor[i].data[k], &u, sizeof u);
        }
}

static bool put_halves(FILE *f, const float *v, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        uint16_t h = bf16(v[i]);
        good = fwrite((unsigned char[]){ (unsigned char)h, (unsigned char)(h >> 8) }, 1, 2, f) == 2;
    }
    return good;
}

int kr_weights_write(const kr_weights *w, const char *path)
{
    json_t *root = header(w);
    if (!root)
        return kr_error_code();
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    kr_beside to = { 0 };
    if (!text || kr_beside_open(&to, path)) {
        int e = text ? kr_fail_in("%s", path) : kr_fail(KR_EMEM, "no memory for the header of the weights");
        free(text);
        return e;
    }
    FILE *f = fopen(to.file, "wb");
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    unsigned char head[8];
    for (int i = 0; i < 8; i++)
        head[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    bool good = f && fwrite(head, 1, 8, f) == 8 && fwrite(text, 1, n, f) == n && fwrite("        ", 1, padded - n, f) == padded - n;
    for (long i = 0; good && i < w->count; i++) {
        size_t count = (size_t)kr_tensor_count(&w->tensor[i]);
        good = w->half ? put_halves(f, w->tensor[i].data, count) : fwrite(w->tensor[i].data, sizeof(float), count, f) == count;
    }
    free(text);
    int why = errno;
    if (f && fclose(f) && good) {
        good = false;
        why = errno;
    }
    int e = good ? kr_beside_commit(&to) : kr_fail(KR_EFILE, "cannot be written: %s", strerror(why));
    kr_beside_drop(&to);
    return e ? kr_fail_in("%s", path) : 0;
}
