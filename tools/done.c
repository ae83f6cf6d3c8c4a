/* done.c: which steps were done before. */
#include "done.h"
#include "kray/io.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WHOLE = 256 << 20 };
static void describe(kr_text *t, const char *path, int deep)
{
    struct stat st;
    if (stat(path, &st))
        return;
    if (S_ISDIR(st.st_mode) && deep < 8) {
        struct dirent **name;
        int n = scandir(path, &name, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            kr_auto char *in = name[i]->d_name[0] == '.' ? NULL : kr_strf("%s/%s", path, name[i]->d_name);
            if (in)
                describe(t, in, deep + 1);
            free(name[i]);
        }
        if (n >= 0)
            free(name);
        return;
    }
    char hex[65] = "";
    size_t n = 0;
    kr_auto char *bytes = S_ISREG(st.st_mode) && st.st_size <= WHOLE ? kr_file_whole(path, WHOLE, &n) : NULL;
    if (bytes)
        kr_digest(bytes, n, hex);
    kr_text_add(t, "%s %lld ", path, (long long)st.st_size);
    if (bytes)
        kr_text_add(t, "%s\n", hex);
    else if (kr_source_describe(t, path, true))                     /* of large files the ends, and when they changed */
        kr_error_clear();
    else
        kr_text_add(t, " %lld.%09ld\n", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

void done_describe(kr_text *t, const char *path) { describe(t, path, 0); }

char *done_digest(const kr_text *t)
{
    char hex[65];
    kr_digest(t->s ? t->s : "", t->len, hex);
    return kr_strdup(hex);
}

/* ---- The record ---- */
json_t *done_load(const char *path)
{
    json_t *done = json_load_file(path, 0, NULL);
    if (json_is_object(done))
        return done;
    json_decref(done);
    return json_object();
}

bool done_same(const json_t *done, const char *name, const char *key, const char *result)
{
    json_t *r = json_object_get(done, name);
    const char *old = json_string_value(json_object_get(r, "key")), *was = json_string_value(json_object_get(r, "result"));
    return old && was && *result && !strcmp(old, key) && !strcmp(was, result);
}

void done_note(json_t *done, const char *name, const char *key, const char *result, double seconds)
{
    json_object_del(done, name);
    if (key)
        json_object_set_new(done, name, json_pack("{s:s,s:s,s:f}", "key", key, "result", result, "seconds", seconds));
}

int done_write(const json_t *done, const char *path, int e)
{
    char *text = json_dumps(done, JSON_INDENT(2));
    kr_text t = { 0 };
    kr_text_add(&t, "%s\n", text ? text : "{}");
    free(text);
    kr_auto char *why = e ? kr_strdup(kr_error()) : NULL;
    int bad = kr_text_write(path, &t);
    kr_text_clear(&t);
    return e ? kr_fail(e, "%s", why ? why : "a step failed") : bad;
}
