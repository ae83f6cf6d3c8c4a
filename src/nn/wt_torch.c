/* wt_torch.c: PyTorch's files: a zip of one pickle and one blob per storage (since 1.6), and the older layout, several
 * pickles and the storages one after the other. */
#include "wt.h"
#include <string.h>

static bool begins(const unsigned char *bytes, size_t n, const char *with, size_t k) { return n >= k && !memcmp(bytes, with, k); }

/* ---- zip ---- */
struct folder { wt_zip *zip; char *root; struct blob { unsigned char *bytes; size_t n; } *blob; wt_names names; long count, room; };

static int find_blob(void *self, const char *key, const unsigned char **bytes, size_t *n)
{
    struct folder *f = self;
    long i = wt_names_find(&f->names, key);
    if (i < 0 && f->count == f->room) {
        long room = f->room ? 2 * f->room : 32;
        struct blob *b = kr_realloc(f->blob, (size_t)f->count, (size_t)room, sizeof *b);
        if (!b)
            return kr_error_code();
        f->blob = b;
        f->room = room;
    }
    if (i < 0) {
        kr_auto char *name = kr_strf("%sdata/%s", f->root, key);
        struct blob b = { 0 };
        if (!name || wt_zip_read(f->zip, name, &b.bytes, &b.n) || wt_names_add(&f->names, key, f->count)) {
            kr_free(b.bytes);
            return kr_error_code();
        }
        i = f->count++;
        f->blob[i] = b;
    }
    *bytes = f->blob[i].bytes;
    *n = f->blob[i].n;
    return 0;
}

static int read_zip(kr_weights *w, const unsigned char *bytes, size_t n)
{
    struct folder f = { .zip = wt_zip_open(bytes, n) };
    if (!f.zip)
        return kr_error_code();
    unsigned char *pickle = NULL, *order = NULL;
    size_t length = 0;
    int e = 0;
    for (long i = 0, count = wt_zip_count(f.zip); i < count && !f.root; i++) {
        const char *name = wt_zip_name(f.zip, i);
        size_t k = strlen(name);
        if (k >= 8 && !strcmp(name + k - 8, "data.pkl") && (k == 8 || name[k - 9] == '/'))
            f.root = kr_strf("%.*s", (int)(k - 8), name);
        if (k >= 12 && !strcmp(name + k - 12, "constants.pkl") && strstr(name, "code"))
            e = kr_fail(KR_EFORMAT, "this is a TorchScript program; a state dict (torch.save of weights) is wanted");
    }
    if (!e && !f.root)
        e = kr_fail(KR_EFORMAT, "the zip archive holds no data.pkl: it is not what torch.save writes");
    kr_auto char *name = e ? NULL : kr_strf("%sdata.pkl", f.root), *endian = e ? NULL : kr_strf("%sbyteorder", f.root);
    if (!e && (!name || !endian))
        e = kr_error_code();
    if (!e && !wt_zip_read(f.zip, endian, &order, &length) && length >= 3 && !memcmp(order, "big", 3))
        e = kr_fail(KR_EFORMAT, "the numbers are big-endian");
    else if (!e)
        kr_error_clear();
    if (!e)
        e = wt_zip_read(f.zip, name, &pickle, &length);
    if (!e)
        e = wt_pickle(w, pickle, length, &(wt_storages){ &f, find_blob, NULL }, NULL);
    for (long i = 0; i < f.count; i++)
        kr_free(f.blob[i].bytes);
    kr_free(f.blob);
    wt_names_clear(&f.names);
    kr_free(f.root);
    kr_free(pickle);
    kr_free(order);
    wt_zip_close(&f.zip);
    return e;
}

static int probe_zip(const unsigned char *bytes, size_t n)
{
    if (!begins(bytes, n, "PK\3\4", 4))
        return 0;
    /* The first member's name stands at byte 30: torch.save begins with FOLDER/data.pkl. */
    size_t k = n > 30 ? (size_t)bytes[26] | (size_t)bytes[27] << 8 : 0;
    if (k && 30 + k <= n && k >= 4 && !memcmp(bytes + 30 + k - 4, ".npy", 4))
        return 0;
    return 80;
}

const wt_format wt_torch_zip = { "PyTorch zip", probe_zip, read_zip };

/* ---- the older layout ---- */
struct series { const unsigned char *at, *end; wt_names names; long count, room; struct one { enum wt_type type; long numel; const unsigned char *data; } *one; };

static int see(void *self, const char *key, enum wt_type type, long numel)
{
    struct series *s = self;
    if (wt_names_find(&s->names, key) >= 0)
        return 0;
    if (s->count == s->room) {
        long room = s->room ? 2 * s->room : 32;
        struct one *o = kr_realloc(s->one, (size_t)s->count, (size_t)room, sizeof *o);
        if (!o)
            return kr_error_code();
        s->one = o;
        s->room = room;
    }
    if (wt_names_add(&s->names, key, s->count))
        return kr_error_code();
    s->one[s->count++] = (struct one){ type, numel, NULL };
    return 0;
}

static int find_series(void *self, const char *key, const unsigned char **bytes, size_t *n)
{
    struct series *s = self;
    long i = wt_names_find(&s->names, key);
    if (i >= 0 && s->one[i].data) {
        *bytes = s->one[i].data;
        *n = (size_t)s->one[i].numel * wt_size(s->one[i].type);
        return 0;
    }
    return kr_fail(KR_EFORMAT, "the storage '%s' is missing", key);
}

/* After the state dict: a pickled list of keys, then for each its number of elements (i64) and the elements. */
static int place(struct series *s, const kr_weights *keys)
{
    for (long i = 0; i < kr_meta_count(keys->meta); i++) {
        const char *key = kr_meta_value(keys->meta, i);
        long k = wt_names_find(&s->names, key);
        struct one *o = k < 0 ? NULL : &s->one[k];
        int64_t numel;
        if (!o || s->end - s->at < 8)
            return kr_fail(KR_EFORMAT, "the list of storages does not fit the weights");
        memcpy(&numel, s->at, 8);
        s->at += 8;
        if (numel < 0 || numel != o->numel || (size_t)numel > (size_t)(s->end - s->at) / wt_size(o->type))
            return kr_fail(KR_EFORMAT, "the storage '%s' announces %lld numbers, where %ld were promised and %zu bytes follow", key,
                           (long long)numel, o->numel, (size_t)(s->end - s->at));
        o->data = s->at;
        s->at += (size_t)numel * wt_size(o->type);
    }
    return 0;
}

static int read_legacy(kr_weights *w, const unsigned char *bytes, size_t n)
{
    struct series s = { .at = bytes, .end = bytes + n };
    wt_storages st = { &s, find_series, see };
    const unsigned char *dict = NULL;
    size_t used, length = 0;
    int e = 0;
    for (int i = 0; !e && i < 4; i++) {                 /* magic number, protocol, machine, state dict */
        e = wt_pickle(NULL, s.at, (size_t)(s.end - s.at), i == 3 ? &st : NULL, &used);
        if (i == 3) {
            dict = s.at;
            length = used;
        }
        s.at += used;
    }
    kr_weights *keys = e ? NULL : kr_weights_new();
    if (!e)
        e = keys ? wt_pickle(keys, s.at, (size_t)(s.end - s.at), NULL, &used) : kr_error_code();
    if (!e) {
        s.at += used;
        e = place(&s, keys);
    }
    if (!e)
        e = wt_pickle(w, dict, length, &st, NULL);
    kr_weights_unref(&keys);
    wt_names_clear(&s.names);
    kr_free(s.one);
    return e;
}

static int probe_legacy(const unsigned char *bytes, size_t n)
{
    /* PROTO 2, LONG1 of ten bytes: the magic number 0x1950a86a20f9469cfc6c */
    return begins(bytes, n, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14) ? 100 : 0;
}

const wt_format wt_torch_legacy = { "PyTorch before 1.6", probe_legacy, read_legacy };
