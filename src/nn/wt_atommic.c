/* wt_atommic.c: ATOMMIC's .atommic: a tar of model_config.yaml and model_weights.ckpt. */
#include "wt.h"
#include <archive.h>
#include <archive_entry.h>
#include <string.h>

static int probe(const unsigned char *bytes, size_t n)
{
    return (n > 512 && !memcmp(bytes + 257, "ustar", 5)) || (n > 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) ? 70 : 0;
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n >= k && !strcmp(s + n - k, with);
}

static int member(kr_weights *w, const char *name, const unsigned char *data, size_t n, bool *found)
{
    if (ends(name, ".yaml"))
        return wt_yaml(w, data, n) ? kr_fail_in("%s in the tar archive", name) : 0;
    if (!ends(name, ".ckpt"))
        return 0;
    *found = true;
    const wt_format *f = wt_torch_zip.probe(data, n) ? &wt_torch_zip : &wt_torch_legacy;
    return f->read(w, data, n);
}

static int read_tensors(kr_weights *w, const unsigned char *bytes, size_t n)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    if (!a)
        return kr_fail(KR_EMEM, "no memory for reading a tar archive");
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    int e = archive_read_open_memory(a, bytes, n) == ARCHIVE_OK ? 0 : kr_fail(KR_EFORMAT, "the tar archive is broken: %s", archive_error_string(a));
    bool found = false;
    size_t room = wt_room(n);                        /* passing over a member unpacks it too */
    while (!e && archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        la_int64_t size = archive_entry_size(entry);
        if (!name || size < 0 || (uint64_t)size > room) {
            e = kr_fail(KR_EFORMAT, "'%s' in the tar archive announces %lld bytes; with those before it that is more than a file of this length "
                        "sensibly holds", name ? name : "?", (long long)size);
            break;
        }
        room -= (size_t)size;
        if (!(ends(name, ".yaml") || ends(name, ".ckpt")))
            continue;
        kr_auto unsigned char *data = kr_alloc((size_t)size + 1, 1);
        if (!data)
            e = kr_error_code();
        else if (archive_read_data(a, data, (size_t)size) != size)
            e = kr_fail(KR_EFORMAT, "'%s' in the tar archive ends too early", name);
        else {
            data[size] = 0;
            e = member(w, name, data, (size_t)size, &found);
        }
    }
    archive_read_free(a);
    return e || found ? e : kr_fail(KR_EFORMAT, "the tar archive holds no .ckpt of weights");
}

const wt_format wt_atommic = { "ATOMMIC tar", probe, read_tensors };
