/* resume.c: whether an image that is there already is the one that would be made. */
#include "resume.h"
#include "tool.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

int resume_settings(kr_text *t, const kr_opt *opts, const void *values, const char *skip)
{
    for (const kr_opt *o = opts; o && o->name; o++) {
        if (listed(skip, o->name))
            continue;
        const kr_opt one[2] = { *o, KR_OPT_END };
        union { bool flag; long n; double x; const char *text; int64_t size; } preset;
        kr_opt moved[2] = { *o, KR_OPT_END };
        moved[0].at = 0;
        kr_text now = { 0 }, usual = { 0 };
        memset(&preset, 0, sizeof preset);
        int e = kr_opt_defaults(moved, &preset);
        kr_opt_describe(&now, one, values);
        kr_opt_describe(&usual, moved, &preset);
        if (!e && (now.failed || usual.failed))
            e = kr_error_code();
        if (!e && strcmp(now.s, usual.s)) {
            kr_text_add(t, "%s", t->len ? "; " : "");
            const char *file = o->type == KR_OPT_FILE || o->type == KR_OPT_TEXT ? *(const char *const *)(const void *)((const char *)values + o->at) : NULL;
            kr_source src;
            if (file && !kr_source_parse(&src, file)) {
                kr_source_clear(&src);
                kr_text_add(t, "%s=", o->name);
                e = kr_source_describe(t, file, kr_whole());
            } else {
                kr_error_clear();
                kr_text_add(t, "%s", now.s);
            }
        }
        kr_text_clear(&now);
        kr_text_clear(&usual);
        if (e || t->failed)
            return kr_error_code();
    }
    return 0;
}

/* The first words of `a` that are not among those of `b`; "" where all are. */
static void first_apart(char *out, size_t room, const char *a, const char *b)
{
    *out = 0;
    for (const char *p = a; *p && !*out; ) {
        size_t n = strcspn(p, ";");
        bool same = false;
        for (const char *q = b; *q && !same; ) {
            size_t m = strcspn(q, ";");
            same = m == n && !strncmp(p, q, n);
            q += m + strspn(q + m, "; ");
        }
        if (!same)
            snprintf(out, room, "%.*s", (int)(n < 60 ? n : 60), p);
        p += n + strspn(p + n, "; ");
    }
}

static const char *told(const kr_meta *m, const char *key) { return kr_meta_get(m, key) ? kr_meta_get(m, key) : ""; }

int resume_done(const char *output, const char *input, const char *settings, const kr_trace *trace)
{
    struct stat of_image, of_input;
    if (stat(output, &of_image))
        return 0;
    kr_scoped(image) im = NULL;
    char why[320] = "", was[64], is[64];
    kr_text now = { 0 }, words = { 0 };
    kr_source src;
    int e = kr_source_describe(&now, input, kr_whole());
    kr_provenance_words(&words, settings, kr_whole());           /* as the image has them */
    kr_auto char *wanted = words.s;
    settings = wanted ? wanted : "";
    e = e || !words.failed ? e : kr_error_code();
    if (!e && now.failed)
        e = kr_error_code();
    bool newer = !e && !kr_source_parse(&src, input);
    if (newer) {
        newer = !stat(src.path, &of_input) && of_input.st_mtime > of_image.st_mtime;
        kr_source_clear(&src);
    }
    if (e) {
        kr_text_clear(&now);
        return e;
    }
    if (!of_image.st_size || kr_image_read(&im, output)) {
        if (of_image.st_size && kr_error_code() == KR_EMEM)
            e = KR_EMEM;
        snprintf(why, sizeof why, "it is damaged (%s)", of_image.st_size ? kr_error() : "it is empty");
        kr_error_clear();
    } else if (!kr_meta_get(im->meta, "kray_version"))
        snprintf(why, sizeof why, "it does not say how it was made");
    else if (strcmp(told(im->meta, "kray_version"), kr_version()))
        snprintf(why, sizeof why, "it was made by version %s", told(im->meta, "kray_version"));
    else if (strcmp(told(im->meta, "kray_settings"), settings)) {
        first_apart(was, sizeof was, told(im->meta, "kray_settings"), settings);
        first_apart(is, sizeof is, settings, told(im->meta, "kray_settings"));
        snprintf(why, sizeof why, "it was made with %s, wanted is %s", *was ? was : "other options", *is ? is : "the default");
    } else if (strcmp(told(im->meta, "kray_input"), now.s) || newer)
        snprintf(why, sizeof why, "its input has changed");
    kr_text_clear(&now);
    if (e)
        return e;
    if (*why)
        kr_say(trace, KR_WARNING, "%s: %s: made again", output, why);
    else
        kr_say(trace, KR_INFO, "%s: already there", output);
    return !*why;
}
