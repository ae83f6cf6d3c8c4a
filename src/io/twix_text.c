/* twix_text.c: values in the text in front of Siemens raw data. Source: how pehses/twixtools (twixprot.py) and
 * ismrmrd/siemens_to_ismrmrd (main.cpp) take it apart. */
#include "twix_text.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each part: a name and its zero, u32 length, so many bytes. The four bytes of the next length (or the end) are where the
 * part's own zero goes: names are read before it is set. */
int kr_twix_text_split(kr_twix_text *t, char *raw, size_t bytes)
{
    *t = (kr_twix_text){ .raw = raw };
    uint32_t head[2];
    if (!raw)
        return kr_error_code();
    if (bytes < sizeof head)
        return kr_fail(KR_EFORMAT, "the header of the measurement has %zu bytes", bytes);
    memcpy(head, raw, sizeof head);
    if (head[1] < 1 || head[1] > KR_TWIX_TEXTS)
        return kr_fail(KR_EFORMAT, "the header of the measurement announces %u texts", head[1]);
    size_t at = sizeof head, end[KR_TWIX_TEXTS];
    for (uint32_t k = 0; k < head[1]; k++) {
        const char *zero = at < bytes ? memchr(raw + at, 0, bytes - at) : NULL;
        uint32_t n = 0;
        if (!zero || (size_t)(zero - raw) + 5 > bytes)
            return kr_fail(KR_EFORMAT, "the header of the measurement ends within the name of text %u", k + 1);
        memcpy(&n, zero + 1, 4);
        t->part[k].name = raw + at;
        at = (size_t)(zero - raw) + 5;
        if (n > bytes - at)
            return kr_fail(KR_EFORMAT, "the text '%.20s' of the measurement's header has %u bytes; %zu are left", t->part[k].name, n, bytes - at);
        t->part[k].text = raw + at;
        end[k] = at += n;
        t->count++;
    }
    for (int k = 0; k < t->count; k++) {                     /* the last byte of a text is its zero, or a blank that nobody needs */
        const char *text = t->part[k].text;
        if (end[k] > (size_t)(text - raw))
            raw[end[k] - 1] = 0;
        else
            t->part[k].text = "";
    }
    return 0;
}

void kr_twix_text_clear(kr_twix_text *t)
{
    kr_free(t->raw);
    *t = (kr_twix_text){ 0 };
}

/* ---- key = value ---- */
static const char *line_value(const kr_twix_text *t, const char *key)
{
    size_t n = strlen(key);
    for (int k = 0; k < t->count; k++)
        for (const char *p = t->part[k].text; (p = strstr(p, key)); p += n) {
            if (p != t->part[k].text && p[-1] != '\n' && p[-1] != '\r')
                continue;
            const char *v = p + n + strspn(p + n, " \t");
            if (*v == '=')
                return v + 1 + strspn(v + 1, " \t");
        }
    return NULL;
}

static bool number_at(const char *v, double *to)
{
    char *end;
    double x = strtod(v, &end);
    if (end == v || !isfinite(x))
        return false;
    *to = x;
    return true;
}

double kr_twix_number(const kr_twix_text *t, const char *key, double otherwise)
{
    const char *v = line_value(t, key);
    if (v)
        number_at(v, &otherwise);
    return otherwise;
}

/* Up to the end of the line; the quotation marks around it are left out. */
static void copy_text(const char *v, char *to, size_t room)
{
    size_t n = strcspn(v, "\r\n");
    while (n && (isspace((unsigned char)v[n - 1]) || v[n - 1] == '"'))
        n--;
    while (n && (*v == '"' || isspace((unsigned char)*v)))
        v++, n--;
    snprintf(to, room, "%.*s", (int)(n < room ? n : room - 1), v);
}

void kr_twix_string(const kr_twix_text *t, const char *key, char *to, size_t room)
{
    const char *v = line_value(t, key);
    copy_text(v ? v : "", to, room);
}

/* ---- <ParamLong."name"> { <Precision> 6  80 } ---- */
/* Value `index` between the braces; <tags> and the one value that each is followed by are passed over. */
static const char *value_in(const char *p, int index)
{
    for (p += strspn(p, " \t\r\n"); *p && *p != '}' && *p != '{'; p += strspn(p, " \t\r\n")) {
        bool tag = *p == '<';
        if (tag) {
            p += strcspn(p, ">");
            p += *p == '>';
            p += strspn(p, " \t\r\n");
            if (!*p || *p == '{' || *p == '}' || *p == '<')
                continue;
        } else if (index-- == 0)
            return p;
        size_t quoted = *p == '"' ? 1 + strcspn(p + 1, "\"") : 0;
        p += quoted ? quoted + (p[quoted] == '"') : strcspn(p, " \t\r\n{}");
    }
    return NULL;
}

static const char *param_in(const char *text, const char *name, int index)
{
    size_t n = strlen(name);
    for (const char *p = text; (p = strstr(p, name)); p += n) {
        if (p - text < 2 || p[-1] != '"' || p[-2] != '.' || p[n] != '"' || p[n + 1] != '>')
            continue;
        const char *brace = p + n + 2 + strspn(p + n + 2, " \t\r\n");
        const char *v = *brace == '{' ? value_in(brace + 1, index) : NULL;
        if (v)
            return v;
    }
    return NULL;
}

static const char *param(const kr_twix_text *t, const char *part, const char *name, int index)
{
    const char *v = NULL;
    for (int k = 0; part && !v && k < t->count; k++)
        if (!strcmp(t->part[k].name, part))
            v = param_in(t->part[k].text, name, index);
    for (int k = 0; !v && k < t->count; k++)
        v = param_in(t->part[k].text, name, index);
    return v;
}

double kr_twix_param(const kr_twix_text *t, const char *part, const char *name, int index, double otherwise)
{
    const char *v = param(t, part, name, index);
    if (v)
        number_at(v + (*v == '"'), &otherwise);
    return otherwise;
}

void kr_twix_param_string(const kr_twix_text *t, const char *part, const char *name, char *to, size_t room)
{
    const char *v = param(t, part, name, 0);
    if (!v || *v != '"') {
        *to = 0;
        return;
    }
    size_t n = strcspn(v + 1, "\"\r\n");
    snprintf(to, room, "%.*s", (int)(n < room ? n : room - 1), v + 1);
}
