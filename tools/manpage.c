/* manpage.c: man pages from the tables of commands and options. */
#include "words.h"
#include "kray/recon.h"
#include "kray/scan.h"
#include <ctype.h>
#include <string.h>

/* roff takes a line that begins with a dot or quote for a command, and a dash for a hyphen. */
static void roff(const char *s)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            fputs("\\&", stdout);
        if (*s == '-' || *s == '\\')
            fputc('\\', stdout);
        fputc(*s, stdout);
        start = *s == '\n';
    }
}

static void options(const char *title, const kr_opt *o)
{
    printf(".SH %s\n", title);
    for (; o && o->name; o++) {
        fputs(".TP\n.B ", stdout);
        if (o->letter)
            printf("\\-%c, ", o->letter);
        fputs("\\-\\-", stdout);
        roff(o->name);
        if (o->type == KR_OPT_FLAG && o->preset && !strcmp(o->preset, "on")) {
            fputs(", \\-\\-no\\-", stdout);
            roff(o->name);
        }
        if (o->type != KR_OPT_FLAG)
            printf(" \\fI%s\\fR", o->unit ? o->unit : o->type == KR_OPT_INT ? "N" : o->type == KR_OPT_REAL ? "X" : o->type == KR_OPT_SIZE ? "SIZE" : "TEXT");
        fputc('\n', stdout);
        roff(o->help ? o->help : "");
        if (o->preset) {
            fputs(" (default ", stdout);
            roff(o->preset);
            fputc(')', stdout);
        }
        fputc('\n', stdout);
    }
}

static void begin(const char *command, const char *summary)
{
    fputs(".TH KRAY", stdout);
    if (command)
        putchar('-');
    for (const char *p = command; p && *p; p++)
        putchar(toupper((unsigned char)*p));
    printf(" 1 \"\" \"kray %s\"\n.SH NAME\nkray%s%s \\- ", kr_version(), command ? "\\-" : "", command ? command : "");
    roff(summary);
    printf("\n.SH SYNOPSIS\n.B kray%s%s\n", command ? " " : "", command ? command : "");
}

int manpage_print(const kr_tool *t)
{
    if (!t) {
        begin(NULL, "images from undersampled MRI k-space and CT sinograms");
        puts("COMMAND [options] [files]\n.SH COMMANDS");
        for (int i = 0; kr_tools[i]; i++) {
            printf(".TP\n.B %s\n", kr_tools[i]->name);
            roff(kr_tools[i]->summary);
            printf("; see kray\\-%s(1)\n", kr_tools[i]->name);
        }
        puts(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n.SH ENVIRONMENT\n.TP\n.B KR_THREADS\nthreads to use; otherwise OMP_NUM_THREADS, otherwise one per core\n"
             ".TP\n.B KR_CPU\nbase, v3 or v4: instructions to use, no more than the processor has (x86\\-64, with AVX2, with AVX\\-512)\n"
             ".TP\n.B NO_COLOR\nset to anything: no line of progress on a terminal");
        return 0;
    }
    begin(t->name, t->summary);
    roff(t->usage);
    fputc('\n', stdout);
    options("OPTIONS", t->opts);
    for (int i = 0; !strcmp(t->name, "recon") && kr_recons[i]; i++)
        if (kr_recons[i]->opts) {
            char title[64];
            snprintf(title, sizeof title, "METHOD %s", kr_recons[i]->name);
            options(title, kr_recons[i]->opts);
        }
    if (!strcmp(t->name, "mask")) {
        kr_text kinds = { 0 };
        kr_mask_kinds(&kinds);
        puts(".SH KINDS AND KEYS\n.nf");
        roff(kinds.s ? kinds.s : "");
        puts(".fi");
        kr_text_clear(&kinds);
    }
    if (t->examples) {
        puts(".SH EXAMPLES\n.nf");
        roff(t->examples);
        puts(".fi");
    }
    puts(".SH SEE ALSO\nkray(1)");
    return 0;
}
