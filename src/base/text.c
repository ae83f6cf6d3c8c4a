/* text.c: a string that grows, and ordered pairs of strings. */
#include "kray/base.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_room(kr_text *t, size_t more)
{
    if (t->failed)
        return false;
    size_t want = t->len + more + 1;
    if (want <= t->room)
        return true;
    size_t room = t->room ? t->room : 64;
    while (room < want)
        room *= 2;
    char *s = kr_realloc(t->s, t->s ? t->len + 1 : 0, room, 1);
    if (!s) {
        t->failed = true;
        return false;
    }
    t->s = s;
    t->room = room;
    return true;
}

void kr_text_put(kr_text *t, const char *bytes, size_t n)
{
    if (!text_room(t, n))
        return;
    memcpy(t->s + t->len, bytes, n);
    t->len += n;
    t->s[t->len] = 0;
}

void kr_text_add(kr_text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !text_room(t, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(t->s + t->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    t->len += (size_t)n;
}

void kr_text_clear(kr_text *t)
{
    kr_free(t->s);
    *t = (kr_text){ 0 };
}

struct pair { char *key, *value; };
struct kr_meta { long count, room; struct pair *pair; bool whole; };

kr_meta *kr_meta_new(void) { return kr_alloc_zero(1, sizeof(kr_meta)); }

void kr_meta_unref(kr_meta **m)
{
    if (!*m)
        return;
    for (long i = 0; i < (*m)->count; i++) {
        kr_free((*m)->pair[i].key);
        kr_free((*m)->pair[i].value);
    }
    kr_free((*m)->pair);
    kr_free(*m);
    *m = NULL;
}

kr_meta *kr_meta_copy(const kr_meta *m)
{
    kr_meta *c = kr_meta_new();
    kr_meta_set_whole(c, kr_meta_whole(m));
    for (long i = 0; c && m && i < m->count; i++)
        if (kr_meta_set(c, m->pair[i].key, "%s", m->pair[i].value))
            kr_meta_unref(&c);
    return c;
}

int kr_meta_set(kr_meta *m, const char *key, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *value = n < 0 ? NULL : kr_alloc((size_t)n + 1, 1);
    if (!value)
        return kr_error_code();
    va_start(ap, fmt);
    vsnprintf(value, (size_t)n + 1, fmt, ap);
    va_end(ap);
    for (long i = 0; i < m->count; i++)
        if (!strcmp(m->pair[i].key, key)) {
            kr_free(m->pair[i].value);
            m->pair[i].value = value;
            return 0;
        }
    char *name = kr_strdup(key);
    if (name && m->count == m->room) {
        long room = m->room ? 2 * m->room : 8;
        struct pair *p = kr_realloc(m->pair, (size_t)m->count, (size_t)room, sizeof *p);
        if (!p)
            kr_free_at(&name);
        else {
            m->pair = p;
            m->room = room;
        }
    }
    if (!name) {
        kr_free(value);
        return kr_error_code();
    }
    m->pair[m->count++] = (struct pair){ name, value };
    return 0;
}

const char *kr_meta_get(const kr_meta *m, const char *key)
{
    for (long i = 0; m && i < m->count; i++)
        if (!strcmp(m->pair[i].key, key))
            return m->pair[i].value;
    return NULL;
}

double kr_meta_number(const kr_meta *m, const char *key, double otherwise)
{
    const char *v = kr_meta_get(m, key);
    char *end;
    double x = v ? strtod(v, &end) : 0;
    return v && end != v ? x : otherwise;
}

void kr_meta_set_whole(kr_meta *m, bool whole)
{
    if (m)
        m->whole = whole;
}

bool kr_meta_whole(const kr_meta *m) { return m && m->whole; }
long kr_meta_count(const kr_meta *m) { return m ? m->count : 0; }
const char *kr_meta_key(const kr_meta *m, long i) { return m->pair[i].key; }
const char *kr_meta_value(const kr_meta *m, long i) { return m->pair[i].value; }

const char *kr_size_text(char room[32], double bytes)
{
    snprintf(room, 32, bytes < 1073741824 ? "%.4g MiB" : "%.2f GiB", bytes / (bytes < 1073741824 ? 1048576 : 1073741824));
    return room;
}
