/* json.c: one way to print JSON, for every command. */
#include "json.h"
#include "tool.h"
#include "kray/io.h"
#include "tool.h"
#include <math.h>
#include <stdlib.h>

json_t *json_words(const char *text)
{
    if (!text)
        return json_null();
    size_t name = kr_names_stdin(text);
    if (name)
        return json_sprintf("stdin%s", text + name);
    json_t *j = json_string(text);
    kr_auto char *plain = j ? NULL : kr_strdup(text);
    for (char *p = plain; p && *p; p++)
        *p = *p & 0x80 ? '?' : *p;
    return j ? j : json_string(plain ? plain : "");
}

json_t *json_number(double v) { return isnan(v) ? json_null() : isinf(v) ? json_string(v > 0 ? "inf" : "-inf") : json_real(v + 0.); }

json_t *json_numbers(const double *v, long n)
{
    json_t *a = json_array();
    for (long i = 0; i < n; i++)
        json_array_append_new(a, json_number(v[i]));
    return a;
}

json_t *json_integers(const long *v, long n)
{
    json_t *a = json_array();
    for (long i = 0; i < n; i++)
        json_array_append_new(a, json_integer(v[i]));
    return a;
}

json_t *json_shape(kr_shape s)
{
    json_t *o = json_object();
    for (int d = 0; d < KR_AXES; d++)
        if (s.n[d] > 1)
            json_object_set_new(o, kr_axis_name(d), json_integer(s.n[d]));
    return o;
}

json_t *json_meta(const kr_meta *m)
{
    json_t *o = json_object();
    for (long i = 0; i < kr_meta_count(m); i++)
        json_object_set_new(o, kr_meta_key(m, i), json_words(kr_meta_value(m, i)));
    return o;
}

json_t *json_options(const kr_opt *opts, const void *values)
{
    json_t *j = json_object();
    for (const kr_opt *o = opts; o && o->name; o++) {
        const void *field = (const char *)values + o->at;
        json_object_set_new(j, o->name, o->type == KR_OPT_FLAG ? json_boolean(*(const bool *)field) : o->type == KR_OPT_INT ? json_integer(*(const long *)field)
                          : o->type == KR_OPT_REAL ? json_number(*(const double *)field) : o->type == KR_OPT_SIZE ? json_integer(*(const int64_t *)field)
                          : json_words(*(const char *const *)field));
    }
    return j;
}

static void say(void *self, int level, const char *sentence)
{
    struct answer *a = self;
    if (level == KR_WARNING && a->last) {
        json_t *all = json_object_get(a->last, "warnings");
        if (!all)
            json_object_set_new(a->last, "warnings", all = json_array());
        json_array_append_new(all, json_words(sentence));
    }
    kr_say(a->outer, level, "%s", sentence);
}

static void progress(void *self, const char *what, double done, double total) { kr_progress(((struct answer *)self)->outer, what, done, total); }

void answer_begin(struct answer *a, bool wanted, const kr_trace *outer)
{
    *a = (struct answer){ .list = wanted ? json_array() : NULL, .outer = outer };
    a->trace = (kr_trace){ say, progress, a, outer ? outer->stop : NULL, outer ? outer->dealer : NULL };
}

json_t *answer_add(struct answer *a, const char *file)
{
    if (!a->list)
        return NULL;
    a->last = json_object();
    if (file)
        json_object_set_new(a->last, "file", json_words(file));
    json_array_append_new(a->list, a->last);
    return a->last;
}

void answer_failed(struct answer *a)
{
    json_object_set_new(a->last, "error", json_words(kr_error()));
}

int answer_end(struct answer *a, int e)
{
    if (!a->list)
        return e;
    kr_text t = { 0 };
    kr_auto char *why = e ? kr_strdup(kr_error()) : NULL;
    char *s = !e || json_array_size(a->list) ? json_dumps(a->list, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    if (s) {
        kr_text_add(&t, "%s\n", s);
        int bad = a->aside ? t.failed ? kr_fail(KR_EMEM, "no memory for the JSON") : 0 : kr_text_write("-", &t);
        if (a->aside && !bad)
            kr_show(stderr, t.s);
        e = e ? kr_fail(e, "%s", why ? why : "no memory") : bad;
    } else if (!e)
        e = kr_fail(KR_EMEM, "no memory for the JSON");
    free(s);
    kr_text_clear(&t);
    json_decref(a->list);
    *a = (struct answer){ 0 };
    return e;
}
