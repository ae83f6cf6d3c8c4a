/* wt_torch_legacy.c: PyTorch's files before 1.6: several pickles and the storages one after the other. */
#include "wt.h"
#include <string.h>

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
    return n >= 14 && !memcmp(bytes, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14) ? 100 : 0;
}

const wt_format wt_torch_legacy = { "PyTorch before 1.6", probe_legacy, read_legacy };
