/* provenance.c: what an output says of where it came from. */
#include "kray/io.h"
#include "file.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two ends and the length tell measurements apart; hashing gigabytes would take longer than many reconstructions. */
enum { END = 1 << 20 };

static const char apart[] = " '\"=,;()<>|&{}\n";

/* How much of the text is a folder that is there and whose name, or that of one above it, holds a blank or another sign that ends a word, with its last
 * '/'; 0: it begins with none. */
static size_t folder_at(const char *text)
{
    char path[4096];
    size_t found = 0, word = strcspn(text, apart);
    for (const char *slash = strchr(text, '/'); slash && (size_t)(slash - text) < sizeof path; slash = strchr(slash + 1, '/')) {
        struct stat st;
        size_t n = (size_t)(slash - text);
        memcpy(path, text, n);
        path[n] = 0;
        if (n > word && !stat(path, &st) && S_ISDIR(st.st_mode))
            found = n + 1;
    }
    return found;
}

void kr_provenance_words(kr_text *t, const char *text, bool whole)
{
    while (*text) {
        size_t folder = whole ? 0 : folder_at(text);
        if (folder && text[folder] && !strchr(apart, text[folder]))
            text += folder;                                  /* what lies in it follows */
        else if (folder) {
            const char *last = text + folder - 1;
            while (last > text && last[-1] != '/')
                last--;
            kr_text_put(t, last, (size_t)(text + folder - 1 - last));
            text += folder;
        }
        size_t n = strcspn(text, apart), end = n;
        while (!whole && end > 1 && text[end - 1] == '/')
            end--;
        size_t from = whole ? 0 : end;
        while (from && text[from - 1] != '/')
            from--;
        kr_text_put(t, text + from, n - from);
        text += n;
        n = strspn(text, apart);
        kr_text_put(t, text, n);
        text += n;
    }
}

kr_meta *kr_provenance_meta(const kr_meta *m)
{
    kr_meta *out = kr_meta_new();
    bool whole = kr_meta_whole(m);
    kr_meta_set_whole(out, whole);
    for (long i = 0; out && i < kr_meta_count(m); i++) {
        const char *key = kr_meta_key(m, i);
        if (!whole && (!strcmp(key, "institution") || !strcmp(key, "station")))
            continue;
        kr_text t = { 0 };
        if (!strncmp(key, "kray_", 5) || !strcmp(key, "mask"))
            kr_provenance_words(&t, kr_meta_value(m, i), whole);
        else
            kr_text_add(&t, "%s", kr_meta_value(m, i));
        if (t.failed || kr_meta_set(out, key, "%s", t.s ? t.s : ""))
            kr_meta_unref(&out);
        kr_text_clear(&t);
    }
    return out;
}

int kr_source_describe(kr_text *t, const char *source, bool whole)
{
    kr_source src;
    if (kr_source_parse(&src, source))
        return kr_error_code();
    struct stat st;
    kr_auto char *pair = stat(src.path, &st) ? kr_strf("%s.cfl", src.path) : NULL;      /* BART's name without suffix */
    int64_t bytes = 0;
    int fd = kr_file_open(pair ? pair : src.path, &bytes);
    kr_source_clear(&src);
    kr_provenance_words(t, source, whole);
    if (fd < 0) {                        /* a folder: the name must do */
        kr_error_clear();
        return 0;
    }
    size_t read = bytes < 2 * END ? (size_t)bytes : 2 * END;
    kr_auto char *block = kr_alloc(read, 1);
    size_t half = read / 2;
    char hex[65];
    int e = !block || kr_file_read(fd, block, half, 0) || kr_file_read(fd, block + half, read - half, bytes - (int64_t)(read - half))
      ? kr_error_code() : 0;
    close(fd);
    if (e)
        return e;
    kr_digest(block, read, hex);
    kr_text_add(t, ", %lld bytes, SHA-256%s %s", (long long)bytes, bytes > 2 * END ? " of the first and the last MiB" : "", hex);
    return 0;
}

static int input_set(kr_meta *m, const char *key, const char *source)
{
    kr_text t = { 0 };
    int e = kr_source_describe(&t, source, kr_meta_whole(m)) || t.failed ? kr_error_code() : kr_meta_set(m, key, "%s", t.s);
    kr_text_clear(&t);
    return e;
}

int kr_meta_provenance(kr_meta *m, const char *command, const char *method, const char *parameters, const char *const *input, int inputs)
{
    int e = kr_meta_set(m, "kray_version", "%s", kr_version());
    if (!e && command)
        e = kr_meta_set(m, "kray_command", "%s", command);
    if (!e && method)
        e = kr_meta_set(m, "kray_method", "%s", method);
    if (!e && parameters)
        e = kr_meta_set(m, "kray_parameters", "%s", parameters);
    for (int i = 0; !e && i < inputs; i++) {
        char key[24];
        snprintf(key, sizeof key, i ? "kray_input_%d" : "kray_input", i + 1);
        e = input_set(m, key, input[i]);
    }
    return e;
}
