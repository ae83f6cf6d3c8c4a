/* opt.c: options by table. */
#include "kray/opt.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool in_choices(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, value, n) && (p[n] == '|' || !p[n]))
            return true;
    return false;
}

static int no_choice(const kr_opt *o, const char *v)
{
    kr_auto char *words = kr_strdup(o->unit);
    const char *known[32], *near = NULL;
    char *rest = NULL;
    int n = 0;
    for (char *w = words ? strtok_r(words, "|", &rest) : NULL; w && n < 32; w = strtok_r(NULL, "|", &rest))
        known[n++] = w;
    near = kr_nearest(v, known, n);
    return kr_fail(KR_EUSAGE, "--%s is one of %s, not '%s'%s%s%s", o->name, o->unit, v, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int put(const kr_opt *o, void *into, const char *v)
{
    char *field = (char *)into + o->at, *end;
    errno = 0;
    switch (o->type) {
    case KR_OPT_FLAG:
        if (!strcasecmp(v, "true") || !strcasecmp(v, "yes") || !strcmp(v, "1") || !strcasecmp(v, "on"))
            *(bool *)(void *)field = true;
        else if (!strcasecmp(v, "false") || !strcasecmp(v, "no") || !strcmp(v, "0") || !strcasecmp(v, "off"))
            *(bool *)(void *)field = false;
        else
            return kr_fail(KR_EUSAGE, "--%s is on or off, not '%s'", o->name, v);
        return 0;
    case KR_OPT_INT: {
        long x = strtol(v, &end, 10);
        if (end == v || *end || errno)
            return kr_fail(KR_EUSAGE, "--%s wants a whole number, not '%s'", o->name, v);
        *(long *)(void *)field = x;
        return 0;
    }
    case KR_OPT_REAL: {
        double x = strtod(v, &end);
        if (end == v || *end || !isfinite(x))
            return kr_fail(KR_EUSAGE, "--%s wants a number, not '%s'", o->name, v);
        *(double *)(void *)field = x;
        return 0;
    }
    case KR_OPT_SIZE: {
        double x = strtod(v, &end);
        double unit = 1;
        if (end != v && *end) {
            const char *at = strchr("kKmMgGtT", *end);
            if (at)
                unit = pow(1024, (double)((at - "kKmMgGtT") / 2 + 1));
            else
                end = (char *)v;
            if (at && end[1] && strcasecmp(end + 1, "b") && strcasecmp(end + 1, "ib"))
                end = (char *)v;
        }
        if (end == v || !isfinite(x) || x <= 0 || x * unit > 9e18)
            return kr_fail(KR_EUSAGE, "--%s wants a size such as 512M or 8G, not '%s'", o->name, v);
        *(int64_t *)(void *)field = (int64_t)(x * unit);
        return 0;
    }
    case KR_OPT_CHOICE:
        if (!in_choices(o->unit, v))
            return no_choice(o, v);
        *(const char **)(void *)field = v;
        return 0;
    case KR_OPT_TEXT:
    case KR_OPT_FILE: case KR_OPT_OUT:
        *(const char **)(void *)field = v;
        return 0;
    }
    return kr_fail(KR_EUSAGE, "--%s cannot be set", o->name);
}

int kr_opt_defaults(const kr_opt *opts, void *into)
{
    for (const kr_opt *o = opts; o && o->name; o++) {
        char *field = (char *)into + o->at;
        if (o->preset) {
            int e = put(o, into, o->preset);
            if (e)
                return e;
            continue;
        }
        switch (o->type) {
        case KR_OPT_FLAG: *(bool *)(void *)field = false; break;
        case KR_OPT_INT: *(long *)(void *)field = 0; break;
        case KR_OPT_REAL: *(double *)(void *)field = 0; break;
        case KR_OPT_SIZE: *(int64_t *)(void *)field = 0; break;
        case KR_OPT_TEXT: case KR_OPT_CHOICE: case KR_OPT_FILE: case KR_OPT_OUT: *(const char **)(void *)field = NULL; break;
        }
    }
    return 0;
}

static const kr_opt *named(const kr_opt *opts, const char *name, size_t n)
{
    for (const kr_opt *o = opts; o && o->name; o++)
        if (!strncmp(o->name, name, n) && !o->name[n])
            return o;
    return NULL;
}

int kr_opt_set(const kr_opt *opts, void *into, const char *name, const char *value)
{
    const kr_opt *o = named(opts, name, strlen(name));
    return o ? put(o, into, value) : kr_fail(KR_EUSAGE, "there is no option --%s", name);
}

static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > 40 || m > 40)
        return 99;
    int row[42];
    for (size_t j = 0; j <= m; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int d = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < d)
                d = row[j] + 1;
            if (row[j - 1] + 1 < d)
                d = row[j - 1] + 1;
            row[j] = d;
        }
    }
    return row[m];
}

const char *kr_nearest(const char *word, const char *const *known, int count)
{
    const char *best = NULL;
    int least = 4;
    for (int i = 0; i < count; i++) {
        int d = distance(word, known[i]);
        if (d < least && d < (int)strlen(known[i])) {
            least = d;
            best = known[i];
        }
    }
    size_t n = strlen(word);
    for (int i = 0; !best && n >= 3 && i < count; i++)
        if (!strncasecmp(known[i], word, n))
            best = known[i];
    return best;
}

static int unknown(const kr_opt_group *groups, int count, const char *name, size_t n)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    const char *known[256];
    int k = 0;
    for (int g = 0; g < count; g++)
        for (const kr_opt *o = groups[g].opts; o && o->name && k < 256; o++)
            known[k++] = o->name;
    const char *near = kr_nearest(word, known, k);
    return near ? kr_fail(KR_EUSAGE, "there is no option --%s; did you mean --%s?", word, near)
                : kr_fail(KR_EUSAGE, "there is no option --%s", word);
}

/* "Fit" becomes "fit" where that is a choice. */
static void own_case(const char *choices, char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (n && !strncasecmp(p, value, n) && (p[n] == '|' || !p[n])) {
            memcpy(value, p, n);
            return;
        }
}

int kr_opt_parse(const kr_opt_group *groups, int count, int argc, char **argv, char **files, int *nfiles)
{
    *nfiles = 0;
    bool plain = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (plain || a[0] != '-' || !a[1] || a[1] == ':' || a[1] == '@') {      /* -, -:VARIABLE: standard input */
            files[(*nfiles)++] = argv[i];
            continue;
        }
        if (!strcmp(a, "--")) {
            plain = true;
            continue;
        }
        const kr_opt *o = NULL;
        void *into = NULL;
        const char *value = NULL;
        bool no = false;
        if (a[1] == '-') {
            const char *name = a + 2, *eq = strchr(name, '=');
            size_t n = eq ? (size_t)(eq - name) : strlen(name);
            for (int g = 0; g < count && !o; g++)
                if ((o = named(groups[g].opts, name, n)))
                    into = groups[g].into;
            for (int g = 0; g < count && !o && !strncmp(name, "no-", 3); g++) {
                const kr_opt *flag = named(groups[g].opts, name + 3, n - 3);
                if (flag && flag->type == KR_OPT_FLAG) {
                    o = flag;
                    into = groups[g].into;
                    no = true;
                }
            }
            if (!o)
                return unknown(groups, count, name, n);
            value = eq ? eq + 1 : NULL;
        } else {
            for (int g = 0; g < count && !o; g++)
                for (const kr_opt *q = groups[g].opts; q && q->name && !o; q++)
                    if (q->letter == a[1]) {
                        o = q;
                        into = groups[g].into;
                    }
            if (!o)
                return kr_fail(KR_EUSAGE, "there is no option -%c", a[1]);
            value = a[2] == '=' ? a + 3 : a[2] ? a + 2 : NULL;
        }
        if (o->type == KR_OPT_FLAG && !value)
            value = no ? "off" : "on";
        if (!value) {
            if (i + 1 >= argc)
                return kr_fail(KR_EUSAGE, "--%s wants a value: %s", o->name, o->unit ? o->unit : "VALUE");
            value = argv[++i];
        }
        if (o->type == KR_OPT_CHOICE)
            own_case(o->unit, (char *)value);
        int e = put(o, into, value);
        if (e)
            return e;
    }
    return 0;
}

void kr_opt_help(kr_text *t, const kr_opt_group *group)
{
    if (!group->opts || !group->opts->name)
        return;
    kr_text_add(t, "%s:\n", group->title);
    for (const kr_opt *o = group->opts; o->name; o++) {
        char left[128];
        const char *unit = o->unit ? o->unit : o->type == KR_OPT_INT ? "N" : o->type == KR_OPT_REAL ? "X"
                         : o->type == KR_OPT_SIZE ? "SIZE" : o->type == KR_OPT_FILE || o->type == KR_OPT_OUT ? "FILE" : "TEXT";
        char shortname[8] = "    ";
        if (o->letter)
            snprintf(shortname, sizeof shortname, "-%c, ", o->letter);
        snprintf(left, sizeof left, "  %s--%s%s%s", shortname, o->name, o->type == KR_OPT_FLAG ? "" : " ",
                 o->type == KR_OPT_FLAG ? "" : unit);
        kr_text_add(t, strlen(left) < 30 ? "%-30s %s" : "%s\n                               %s", left, o->help ? o->help : "");
        if (o->preset && o->type != KR_OPT_FLAG)
            kr_text_add(t, " (default %s)", o->preset);
        else if (o->preset && !strcmp(o->preset, "on"))
            kr_text_add(t, " (default on; --no-%s)", o->name);
        kr_text_add(t, "\n");
    }
}

const char *kr_opt_writes(const kr_opt *opts, const void *values)
{
    for (const kr_opt *o = opts; o && o->name; o++)
        if (o->type == KR_OPT_OUT && *(const char *const *)(const void *)((const char *)values + o->at))
            return o->name;
    return NULL;
}

void kr_opt_describe(kr_text *t, const kr_opt *opts, const void *values)
{
    const char *gap = t->len ? " " : "";
    for (const kr_opt *o = opts; o && o->name; o++, gap = " ") {
        const char *field = (const char *)values + o->at;
        kr_text_add(t, "%s%s=", gap, o->name);
        switch (o->type) {
        case KR_OPT_FLAG: kr_text_add(t, "%s", *(const bool *)(const void *)field ? "on" : "off"); break;
        case KR_OPT_INT: kr_text_add(t, "%ld", *(const long *)(const void *)field); break;
        case KR_OPT_REAL: kr_text_add(t, "%g", *(const double *)(const void *)field); break;
        case KR_OPT_SIZE: kr_text_add(t, "%lld", (long long)*(const int64_t *)(const void *)field); break;
        case KR_OPT_TEXT: case KR_OPT_CHOICE: case KR_OPT_FILE: case KR_OPT_OUT: {
            const char *s = *(const char *const *)(const void *)field;
            kr_text_add(t, "%s", s ? s : "");
        }
        }
    }
}
