/* wt_names.c: a table of names: open addressing, at most half full. */
#include "wt.h"
#include <string.h>

/* FNV-1a. */
static uint64_t hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

/* The slot where a name is, or where it would be. */
static struct wt_named *slot_of(const wt_names *n, const char *name)
{
    long at = (long)(hash(name) % (uint64_t)n->slots);
    while (n->slot[at].name && strcmp(n->slot[at].name, name))
        at = at + 1 == n->slots ? 0 : at + 1;
    return &n->slot[at];
}

long wt_names_find(const wt_names *n, const char *name)
{
    const struct wt_named *s = n->slots ? slot_of(n, name) : NULL;
    return s && s->name ? s->number : -1;
}

int wt_names_add(wt_names *n, const char *name, long number)
{
    if (2 * (n->count + 1) > n->slots) {
        wt_names larger = { .slots = n->slots ? 2 * n->slots + 1 : 61, .count = n->count };
        if (!(larger.slot = kr_alloc_zero((size_t)larger.slots, sizeof *larger.slot)))
            return kr_error_code();
        for (long i = 0; i < n->slots; i++)
            if (n->slot[i].name)
                *slot_of(&larger, n->slot[i].name) = n->slot[i];
        kr_free(n->slot);
        *n = larger;
    }
    char *kept = kr_strdup(name);
    if (!kept)
        return kr_error_code();
    *slot_of(n, name) = (struct wt_named){ kept, number };
    n->count++;
    return 0;
}

void wt_names_clear(wt_names *n)
{
    for (long i = 0; i < n->slots; i++)
        kr_free(n->slot[i].name);
    kr_free(n->slot);
    *n = (wt_names){ 0 };
}
