/* shown.c: what files hold and are called, made fit for a terminal: no control character of theirs may move its cursor, rename its
 * window or answer for the user. */
#include "tool.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character at p that may be shown; 0: none. C1 control characters (U+0080 to U+009F) may not. */
static int letter(const unsigned char *p)
{
    if (*p < 0x80)
        return (*p >= 32 && *p != 127) || *p == '\n' || *p == '\t';
    int n = *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool longer = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90), control = *p == 0xc2 && p[1] < 0xa0;
    return longer || control || (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf4 && p[1] >= 0x90) ? 0 : n;
}

static const char *kept_stdin;
void kr_show_stdin(const char *path) { kept_stdin = path; }

size_t kr_names_stdin(const char *text)
{
    size_t n = kept_stdin ? strlen(kept_stdin) : 0;
    return n && !strncmp(text, kept_stdin, n) ? n : 0;
}

void kr_show(FILE *to, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; ) {
        size_t name = kr_names_stdin((const char *)p);
        if (name) {
            fputs("stdin", to);
            p += name;
            continue;
        }
        int n = letter(p);
        if (n)
            fwrite(p, 1, (size_t)n, to);
        else
            fprintf(to, "\\x%02x", *p);
        p += n ? n : 1;
    }
}

void kr_print(const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    kr_show(stdout, text);
    free(text);
}
