/* ask.c: what a client asks for: a word, a recipe, or JSON, also as FIRE sends it. */
#include "session.h"
#include "kray/opt.h"
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void ask_clear(kr_mrd_ask *a)
{
    kr_free(a->name);
    kr_meta_unref(&a->options);
    *a = (kr_mrd_ask){ .images = 0 };
}

int ask_name(kr_mrd_ask *a, const char *name)
{
    char *copy = kr_strdup(name);
    if (!copy)
        return kr_error_code();
    kr_free(a->name);
    a->name = copy;
    return 0;
}

/* ---- Keys ---- */
static int choice(const char *key, const char *value, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcasecmp(value, words[i]))
            return i;
    kr_text t = { 0 };
    for (int i = 0; i < count; i++)
        kr_text_add(&t, "%s%s", i ? ", " : "", words[i]);
    kr_fail(KR_EUSAGE, "the configuration's \"%s\" is %s, not '%.60s'", key, t.s ? t.s : "a word", value);
    kr_text_clear(&t);
    return kr_error_code();
}

static int read_images(kr_mrd_ask *a, const char *value)
{
    static const char *const words[] = { "magnitude", "phase", "complex" };
    char word[20];
    for (const char *p = value; *p; ) {
        size_t n = strcspn(p, ",+ ");
        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), p);
        int k = n ? choice("images", word, words, 3) : -1;
        if (n && k < 0)
            return k;
        a->images |= n ? 1u << k : 0;
        p += n + (p[n] != 0);
    }
    return 0;
}

enum { READOUTS_MOST = 65535 };

static int count(long *to, const char *key, const char *value)
{
    char *end;
    *to = strtol(value, &end, 10);
    return *to >= 1 && *to <= READOUTS_MOST && !*end && end > value ? 0
         : kr_fail(KR_EUSAGE, "the configuration's \"%s\" is a number of readouts, 1 to %d, not '%.60s'", key, READOUTS_MOST, value);
}

static int add(kr_mrd_ask *a, const char *key, const char *value)
{
    static const char *const pixels[] = { "float", "ushort", "short" }, *const whole[] = { "method", "slice", "repetition", "measurement" };
    static const char *const yes[] = { "false", "true", "off", "on", "no", "yes", "0", "1" };
    static const char *const said[] = { "version", "comment", "description", "name" };
    static const char *const late[] = { "drop", "keep" };
    int k = 0;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strcasecmp(key, said[i]))
            return 0;
    if (!*value)                                                 /* FIRE sends what was left empty, too */
        return 0;
    if (!strcasecmp(key, "method") || !strcasecmp(key, "config") || !strcasecmp(key, "customconfig"))
        return ask_name(a, value);
    if (!strcasecmp(key, "images"))
        return read_images(a, value);
    if (!strcasecmp(key, "spokes") || !strcasecmp(key, "window"))
        return count(!strcasecmp(key, "spokes") ? &a->spokes : &a->window, key, value);
    if (!strcasecmp(key, "late")) {
        k = choice(key, value, late, 2);
        a->keep_late = k == 1;
        a->late_said = true;
        return k < 0 ? k : 0;
    }
    if (!strcasecmp(key, "pixels") && (k = choice(key, value, pixels, 3)) >= 0)
        a->pixels = (enum kr_mrd_pixels)k;
    else if (!strcasecmp(key, "unit") && (k = choice(key, value, whole, 4)) >= 0)
        a->unit = (enum kr_mrd_unit)k;
    else if (!strcasecmp(key, "sendoriginal") && (k = choice(key, value, yes, 8)) >= 0)
        a->originals = k & 1;
    else if (strcasecmp(key, "pixels") && strcasecmp(key, "unit") && strcasecmp(key, "sendoriginal")) {
        if (!a->options && !(a->options = kr_meta_new()))
            return kr_error_code();
        return kr_meta_set(a->options, key, "%s", value);
    }
    return k < 0 ? k : 0;
}

/* "lambda=0.01,iterations=20" */
static int add_words(kr_mrd_ask *a, const char *words)
{
    for (const char *p = words; *p; ) {
        size_t n = strcspn(p, ","), name = strcspn(p, "=,");
        kr_auto char *key = kr_strf("%.*s", (int)name, p);
        kr_auto char *value = kr_strf("%.*s", (int)(name < n ? n - name - 1 : 0), p + name + (name < n));
        if (!key || !value || (*key && add(a, key, name < n ? value : "true")))
            return kr_error_code();
        p += n + (p[n] != 0);
    }
    return 0;
}

enum { DEEPEST = 4 };

static int nested(const char *key, bool object)
{
    static const char *const objects[] = { "options", "parameters" };
    const char *near = object ? kr_nearest(key, objects, 2) : NULL;
    if (near)
        return kr_fail(KR_EUSAGE, "the configuration has no part \"%.60s\": did you mean \"%s\"?", key, near);
    return kr_fail(KR_EUSAGE, object ? "the configuration's \"%.60s\" is an object {...}, and only \"options\" and \"parameters\" are" : "the configuration's \"%.60s\" is a list, and a text or a number is wanted",
                   key);
}

static int read_object(kr_mrd_ask *a, json_t *o, int depth)
{
    const char *key;
    json_t *v;
    const char *custom = json_string_value(json_object_get(o, "customconfig"));
    json_object_foreach(o, key, v) {
        char number[40] = "";
        const char *value = json_is_string(v) ? json_string_value(v) : json_is_true(v) ? "true" : json_is_false(v) ? "false" : number;
        if (json_is_integer(v))
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        else if (json_is_real(v))
            snprintf(number, sizeof number, "%.17g", json_real_value(v));
        int e = 0;
        if (json_is_object(v) && depth < DEEPEST && (!strcasecmp(key, "options") || !strcasecmp(key, "parameters")))
            e = read_object(a, v, depth + 1);
        else if (json_is_object(v) || json_is_array(v))
            e = nested(key, json_is_object(v));
        else if (!strcasecmp(key, "options"))
            e = add_words(a, value);
        else if (!json_is_null(v) && !(custom && *custom && !strcasecmp(key, "config")))
            e = add(a, key, value);
        if (e)
            return e;
    }
    return 0;
}

/* ---- Gadgetron's ---- */
/* The method nearest to what the name or the gadgets of a Gadgetron configuration say. */
static const char *nearest_method(const char *text)
{
    static const char *const like[][2] = { { "spirit", "spirit" }, { "nlinv", "nlinv" }, { "grappa", "grappa" }, { "sense", "sense" }, { "wavelet", "wavelet" },
        { "_cs", "wavelet" }, { "tv", "tv" }, { "noncartesian", "sense" }, { "radial", "sense" }, { "spiral", "sense" } };
    for (size_t i = 0; i < sizeof like / sizeof *like; i++)
        if (strcasestr(text, like[i][0]))
            return like[i][1];
    return "rss";
}

static int gadgetron(const char *text)
{
    return kr_fail(KR_EUSAGE, "the configuration is one of Gadgetron's (XML), which only Gadgetron can run; the method nearest to it here is '%s'", nearest_method(text));
}

int ask_read(kr_mrd_ask *a, const char *text)
{
    const char *p = text + strspn(text, " \t\r\n");
    json_error_t why;
    if (*p == '<')
        return gadgetron(p);
    if (*p && *p != '{' && strlen(p) < 200 && !strpbrk(p, "\n\r{}[]\"")) {       /* a word, sent as text */
        kr_auto char *word = kr_strdup(p);
        for (size_t n = word ? strlen(word) : 0; n && isspace((unsigned char)word[n - 1]); )
            word[--n] = 0;
        return word ? ask_name(a, word) : kr_error_code();
    }
    json_t *o = json_loads(p, JSON_REJECT_DUPLICATES, &why);
    int e = !o ? kr_fail(KR_EUSAGE, "the configuration is no JSON (line %d: %.120s)", why.line, why.text)
          : !json_is_object(o) ? kr_fail(KR_EUSAGE, "the configuration is JSON, but no object {...}") : read_object(a, o, 0);
    json_decref(o);
    return e;
}

bool ask_sends_nothing(const kr_mrd_ask *a)
{
    return !strcasecmp(a->name, "null") || !strcasecmp(a->name, "none") || !strcasecmp(a->name, "savedataonly");
}

/* ---- Names ---- */
static bool is_own(const kr_mrd_ask *a) { return ask_sends_nothing(a) || !strcasecmp(a->name, "echo"); }

static int unknown(const kr_mrd_ask *a, const kr_mrd_host *host)
{
    size_t n = strlen(a->name);
    if (n > 4 && !strcasecmp(a->name + n - 4, ".xml"))
        return gadgetron(a->name);
    kr_text t = { 0 };
    if (host->words)
        host->words(host->self, &t);
    kr_fail(KR_EUSAGE, "there is no configuration '%.80s'; known are %s, echo, null, savedataonly", a->name, t.s && *t.s ? t.s : "no methods");
    kr_text_clear(&t);
    return kr_error_code();
}

/* A recipe is in its folder, or nowhere. */
static bool is_plain(const char *name)
{
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < ' ' || *p == 127)
            return false;
    return *name && *name != '.' && strlen(name) < 200;
}

static int read_recipe(kr_mrd_ask *a, const kr_mrd_host *host, bool *found)
{
    *found = false;
    if (!host->recipe || !is_plain(a->name))
        return 0;
    kr_auto char *text = host->recipe(host->self, a->name);
    if (!text)
        return 0;
    kr_mrd_ask r = { .images = 0 };
    int e = ask_read(&r, text);
    if (e)
        e = kr_fail_in("the recipe '%s'", a->name);
    else if (!r.name)
        e = kr_fail(KR_EUSAGE, "the recipe '%s' names no method", a->name);
    /* What the client says itself comes on top. */
    for (long i = 0; !e && i < kr_meta_count(a->options); i++)
        e = add(&r, kr_meta_key(a->options, i), kr_meta_value(a->options, i));
    if (e) {
        ask_clear(&r);
        return e;
    }
    r.images = a->images ? a->images : r.images;
    r.pixels = a->pixels ? a->pixels : r.pixels;
    r.unit = a->unit ? a->unit : r.unit;
    r.originals |= a->originals;
    r.spokes = a->spokes ? a->spokes : r.spokes;
    r.window = a->window ? a->window : r.window;
    r.keep_late = a->late_said ? a->keep_late : r.keep_late;
    ask_clear(a);
    *a = r;
    *found = true;
    return 0;
}

static int unnamed(const kr_mrd_ask *a)
{
    static const char *const method[] = { "method", "config" };
    for (long i = 0; i < kr_meta_count(a->options); i++)
        if (kr_nearest(kr_meta_key(a->options, i), method, 2))
            return kr_fail(KR_EUSAGE, "the configuration names no method: did you mean \"method\" by \"%.60s\"?", kr_meta_key(a->options, i));
    return kr_fail(KR_EUSAGE, "the configuration names no method (\"method\": \"...\")");
}

int ask_resolve(kr_mrd_ask *a, const kr_mrd_host *host, kr_text *warning)
{
    bool recipe;
    if (!a->name)
        return unnamed(a);
    if (a->window && (!a->spokes || a->window < a->spokes))
        return kr_fail(KR_EUSAGE, a->spokes ? "the configuration's \"window\" (%ld readouts) is shorter than a frame (\"spokes\": %ld)"
                       : "the configuration's \"window\" (%ld readouts) is for frames, and \"spokes\", the readouts of a frame, is missing", a->window, a->spokes);
    if (is_own(a))
        return 0;
    int e = read_recipe(a, host, &recipe);
    if (e || is_own(a) || (host->knows && host->knows(host->self, a->name)))
        return e;
    unknown(a, host);
    if (recipe || !host->fallback)
        return kr_error_code();
    kr_text_add(warning, "%s; '%s' is taken instead", kr_error(), host->fallback);
    kr_error_clear();
    return ask_name(a, host->fallback);
}
