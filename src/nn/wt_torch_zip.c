/* wt_torch_zip.c: PyTorch's files since 1.6: a zip of one pickle and one blob per storage. */
#include "wt.h"
#include <string.h>

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
    if (n < 4 || memcmp(bytes, "PK\3\4", 4))
        return 0;
    /* The first member's name stands at byte 30: torch.save begins with FOLDER/data.pkl. */
    size_t k = n > 30 ? (size_t)bytes[26] | (size_t)bytes[27] << 8 : 0;
    if (k && 30 + k <= n && k >= 4 && !memcmp(bytes + 30 + k - 4, ".npy", 4))
        return 0;
    return 80;
}

const wt_format wt_torch_zip = { "PyTorch zip", probe_zip, read_zip };
