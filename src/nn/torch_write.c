/* torch_write.c: weights as torch.save writes a state dict: a zip of one pickle (protocol 2) and the bytes of each tensor. The names stay; those of
 * the dictionaries in which DIRECT ("model", "sensitivity_model") and PyTorch Lightning ("state_dict") keep theirs become such dictionaries. */
#include "wt.h"
#include <errno.h>
#include <string.h>
#include <zip.h>

static const char *const folders[] = { "state_dict", "model", "sensitivity_model", "mask_model", NULL };

/* ---- The pickle ---- */
typedef struct bytes { unsigned char *p; size_t n, room; bool failed; } bytes;

static void put(bytes *b, const void *from, size_t n)
{
    if (b->n + n > b->room) {
        size_t room = 2 * (b->n + n) + 256;
        unsigned char *p = b->failed ? NULL : kr_realloc(b->p, b->n, room, 1);
        if (!p) {
            b->failed = true;
            return;
        }
        b->p = p;
        b->room = room;
    }
    memcpy(b->p + b->n, from, n);
    b->n += n;
}

static void op(bytes *b, const char *codes) { put(b, codes, strlen(codes)); }

static void number(bytes *b, char code, uint64_t v, int width)
{
    unsigned char x[10] = { (unsigned char)code };
    for (int i = 0; i < width; i++)
        x[1 + i] = (unsigned char)(v >> (8 * i));
    put(b, x, (size_t)(1 + width));
}

static void integer(bytes *b, long v)
{
    if (v < 1L << 31)
        number(b, 'J', (uint64_t)v, 4);                      /* BININT */
    else {
        put(b, "\x8a\x08", 2);                               /* LONG1 of 8 bytes */
        for (int i = 0; i < 8; i++)
            put(b, (unsigned char[]){ (unsigned char)((uint64_t)v >> (8 * i)) }, 1);
    }
}

static void word(bytes *b, const char *s, size_t n)
{
    number(b, 'X', n, 4);                                    /* BINUNICODE */
    put(b, s, n);
}

/* _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()) */
static void tensor(bytes *b, const kr_tensor *t, long key)
{
    char name[24];
    int n = snprintf(name, sizeof name, "%ld", key);
    op(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    word(b, "storage", 7);
    op(b, "ctorch\nFloatStorage\n");
    word(b, name, (size_t)n);
    word(b, "cpu", 3);
    integer(b, kr_tensor_count(t));
    op(b, "tQ");                                             /* TUPLE, BINPERSID */
    integer(b, 0);
    op(b, "(");
    for (int d = 0; d < t->dims; d++)
        integer(b, t->n[d]);
    op(b, "t(");
    for (int d = 0; d < t->dims; d++) {
        long stride = 1;
        for (int k = d + 1; k < t->dims; k++)
            stride *= t->n[k];
        integer(b, stride);
    }
    op(b, "t\x89" "ccollections\nOrderedDict\n)RtR");
}

/* The dictionary that a name lies in; its length with the dot, 0: none. */
static size_t folder_of(const char *name)
{
    for (int i = 0; folders[i]; i++) {
        size_t n = strlen(folders[i]);
        if (!strncmp(name, folders[i], n) && name[n] == '.' && name[n + 1])
            return n + 1;
    }
    return 0;
}

static void entries(bytes *b, const kr_weights *w, const char *folder, size_t skip)
{
    for (long i = 0; i < w->count; i++) {
        const char *name = w->tensor[i].name;
        if (folder_of(name) != skip || (skip && strncmp(name, folder, skip)))
            continue;
        word(b, name + skip, strlen(name + skip));
        tensor(b, &w->tensor[i], i);
    }
}

static void pickle(bytes *b, const kr_weights *w)
{
    op(b, "\x80\x02}(");                                     /* PROTO 2, EMPTY_DICT, MARK */
    entries(b, w, "", 0);
    for (long i = 0; i < w->count; i++) {
        const char *name = w->tensor[i].name;
        size_t n = folder_of(name);
        bool first = n > 0;
        for (long k = 0; k < i && first; k++)
            first = folder_of(w->tensor[k].name) != n || strncmp(w->tensor[k].name, name, n);
        if (!first)
            continue;
        word(b, name, n - 1);
        op(b, "}(");
        entries(b, w, name, n);
        op(b, "u");                                          /* SETITEMS */
    }
    op(b, "u.");
}

/* ---- The archive ---- */
static int file(zip_t *z, const char *name, const void *data, size_t n)
{
    kr_auto char *path = kr_strf("archive/%s", name);
    zip_source_t *s = path ? zip_source_buffer(z, data, n, 0) : NULL;
    zip_int64_t i = s ? zip_file_add(z, path, s, ZIP_FL_OVERWRITE | ZIP_FL_ENC_UTF_8) : -1;
    if (i < 0) {
        zip_source_free(s);
        return path ? kr_fail(KR_EFILE, "cannot be written: %s", zip_strerror(z)) : kr_error_code();
    }
    zip_file_set_mtime(z, (zip_uint64_t)i, 0, 0);            /* the same weights, the same bytes */
    return zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) ? kr_fail(KR_EFILE, "cannot be written: %s", zip_strerror(z)) : 0;
}

static int fill(zip_t *z, const kr_weights *w, const bytes *b)
{
    int e = file(z, "data.pkl", b->p, b->n);
    e = e ? e : file(z, "byteorder", "little", 6);
    for (long i = 0; i < w->count && !e; i++) {
        char name[32];
        snprintf(name, sizeof name, "data/%ld", i);
        e = file(z, name, w->tensor[i].data, (size_t)kr_tensor_count(&w->tensor[i]) * sizeof(float));
    }
    return e ? e : file(z, "version", "3\n", 2);
}

int kr_weights_write_torch(const kr_weights *w, const char *path)
{
    bytes b = { 0 };
    kr_beside to = { 0 };
    pickle(&b, w);
    int why = 0, e = b.failed ? kr_error_code() : kr_beside_open(&to, path);
    zip_t *z = e ? NULL : zip_open(to.file, ZIP_CREATE | ZIP_TRUNCATE, &why);
    if (!e && !z)
        e = kr_fail(KR_EFILE, "cannot be written: %s", why == ZIP_ER_MEMORY ? "no memory" : strerror(errno));
    e = e ? e : fill(z, w, &b);
    if (z && (e || zip_close(z))) {
        e = e ? e : kr_fail(KR_EFILE, "cannot be written: %s", zip_strerror(z));
        zip_discard(z);
    }
    e = e ? e : kr_beside_commit(&to);
    kr_beside_drop(&to);
    kr_free(b.p);
    return e ? kr_fail_in("%s", path) : 0;
}
