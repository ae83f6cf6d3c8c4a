/* recipes.c: a folder of configurations for MRD sessions. */
#include "recipes.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>

enum { RECIPE_MOST = 1 << 20 };

static int read_all(kr_meta *to, const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return kr_fail(KR_EFILE, "%s: the folder of recipes cannot be read: %s", folder, strerror(errno));
    int e = 0;
    for (struct dirent *f; !e && (f = readdir(d)); ) {
        size_t n = strlen(f->d_name), bytes;
        if (n < 6 || *f->d_name == '.' || strcmp(f->d_name + n - 5, ".json"))
            continue;
        kr_auto char *path = kr_strf("%s/%s", folder, f->d_name);
        kr_auto char *name = kr_strf("%.*s", (int)(n - 5), f->d_name);
        kr_auto char *text = path ? kr_file_whole(path, RECIPE_MOST, &bytes) : NULL;
        e = !text || !name ? kr_error_code() : strlen(text) != bytes ? kr_fail(KR_EFORMAT, "%s is no text", path) : kr_meta_set(to, name, "%s", text);
    }
    closedir(d);
    return e;
}

int recipes_read(struct recipes *r, const kr_trace *trace)
{
    kr_meta *m = kr_meta_new();
    if (!m || (r->folder && read_all(m, r->folder))) {
        kr_meta_unref(&m);
        return kr_error_code();
    }
    if (r->lock)
        pthread_rwlock_wrlock(r->lock);
    kr_meta *old = r->text;
    r->text = m;
    if (r->lock)
        pthread_rwlock_unlock(r->lock);
    kr_meta_unref(&old);
    if (r->folder)
        kr_say(trace, KR_INFO, "%s: %ld recipes", r->folder, kr_meta_count(m));
    return 0;
}

void recipes_clear(struct recipes *r) { kr_meta_unref(&r->text); }

char *recipes_find(void *self, const char *name)
{
    struct recipes *r = self;
    if (r->lock)
        pthread_rwlock_rdlock(r->lock);
    size_t n = strlen(name);
    kr_auto char *bare = n > 5 && !strcmp(name + n - 5, ".json") ? kr_strf("%.*s", (int)(n - 5), name) : kr_strdup(name);
    const char *text = bare ? kr_meta_get(r->text, bare) : NULL;
    char *copy = text ? kr_strdup(text) : NULL;
    if (r->lock)
        pthread_rwlock_unlock(r->lock);
    return copy;
}

void recipes_words(void *self, kr_text *to)
{
    struct recipes *r = self;
    kr_mrd_methods_host(NULL).words(NULL, to);
    if (r->lock)
        pthread_rwlock_rdlock(r->lock);
    for (long i = 0; i < kr_meta_count(r->text); i++)
        kr_text_add(to, ", %s", kr_meta_key(r->text, i));
    if (r->lock)
        pthread_rwlock_unlock(r->lock);
}
