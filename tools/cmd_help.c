/* cmd_help.c: kray help: the tables of commands, options, methods, formats and phantoms as text, man pages, Markdown and
 * shell completion. */
#include "kray/io.h"
#include "kray/phantom.h"
#include "kray/recon.h"
#include "tool.h"
#include <string.h>

typedef struct opts { bool man, markdown; const char *completion; } opts;
static const kr_opt table[] = {
    { "man", 0, KR_OPT_FLAG, offsetof(opts, man), NULL, NULL, "as a man page" },
    { "markdown", 0, KR_OPT_FLAG, offsetof(opts, markdown), NULL, NULL, "the lists of methods, formats and phantoms in Markdown" },
    { "completion", 0, KR_OPT_CHOICE, offsetof(opts, completion), NULL, "bash|zsh|fish", "completion for a shell" },
    KR_OPT_END };

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

static void man_options(const char *title, const kr_opt *o)
{
    printf(".SH %s\n", title);
    for (; o && o->name; o++) {
        fputs(".TP\n.B ", stdout);
        if (o->letter)
            printf("\\-%c, ", o->letter);
        fputs("\\-\\-", stdout);
        roff(o->name);
        if (o->type != KR_OPT_FLAG)
            printf(" \\fI%s\\fR", o->unit ? o->unit : o->type == KR_OPT_INT ? "N" : "X");
        fputc('\n', stdout);
        roff(o->help ? o->help : "");
        if (o->preset)
            printf(" (default %s)", o->preset);
        fputc('\n', stdout);
    }
}

static int man(const kr_tool *t)
{
    if (!t) {
        printf(".TH KRAY 1 \"\" \"kray %s\"\n.SH NAME\nkray \\- images from undersampled MRI k\\-space\n.SH SYNOPSIS\n.B kray\n"
               "COMMAND [options] [files]\n.SH COMMANDS\n", kr_version());
        for (int i = 0; kr_tools[i]; i++)
            printf(".TP\n.B %s\n%s; see kray\\-%s(1)\n", kr_tools[i]->name, kr_tools[i]->summary, kr_tools[i]->name);
        puts(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n.SH ENVIRONMENT\nKR_THREADS: threads to use.");
        return 0;
    }
    printf(".TH KRAY-%s 1 \"\" \"kray %s\"\n.SH NAME\nkray\\-%s \\- %s\n.SH SYNOPSIS\n.B kray %s\n", t->name, kr_version(), t->name, t->summary, t->name);
    roff(t->usage);
    fputc('\n', stdout);
    man_options("OPTIONS", t->opts);
    if (!strcmp(t->name, "recon"))
        for (int i = 0; kr_recons[i]; i++)
            if (kr_recons[i]->opts) {
                char title[64];
                snprintf(title, sizeof title, "METHOD %s", kr_recons[i]->name);
                man_options(title, kr_recons[i]->opts);
            }
    if (t->examples) {
        puts(".SH EXAMPLES\n.nf");
        roff(t->examples);
        puts(".fi");
    }
    puts(".SH SEE ALSO\nkray(1)");
    return 0;
}

static void markdown_options(const kr_opt *o)
{
    if (!o || !o->name)
        return;
    puts("\n| option | default | meaning |\n| --- | --- | --- |");
    for (; o->name; o++)
        printf("| `--%s%s%s` | %s | %s |\n", o->name, o->type == KR_OPT_FLAG ? "" : " ",
               o->type == KR_OPT_FLAG ? "" : o->unit ? o->unit : o->type == KR_OPT_INT ? "N" : "X", o->preset ? o->preset : "", o->help);
}

static int markdown(void)
{
    puts("# Methods, formats, phantoms\n\nMade by `kray help --markdown` from the tables in the code.\n\n## Methods (`kray recon --method`)");
    for (int i = 0; kr_recons[i]; i++) {
        printf("\n### %s\n\n%s. %s.\n", kr_recons[i]->name, kr_recons[i]->summary, kr_recons[i]->cite);
        markdown_options(kr_recons[i]->opts);
    }
    puts("\n## Formats\n\n| format | suffix | raw data | images | arrays | |\n| --- | --- | --- | --- | --- | --- |");
    for (int i = 0; kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        printf("| %s | %s | %s%s | %s%s | %s%s | %s |\n", f->name, f->suffix, f->read ? "read " : "", f->write ? "write" : "",
               f->read_image ? "read " : "", f->write_image ? "write" : "", f->read_array ? "read " : "", f->write_array ? "write" : "",
               f->summary);
    }
    puts("\n## Sampling masks (`kray mask`, `--undersample`)\n\n```");
    kr_text masks = { 0 };
    kr_mask_kinds(&masks);
    fputs(masks.s ? masks.s : "", stdout);
    kr_text_clear(&masks);
    puts("```\n\n## Phantoms (`kray simulate`)\n\n| phantom | | source |\n| --- | --- | --- |");
    for (int i = 0; kr_phantoms[i]; i++)
        printf("| %s | %s | %s |\n", kr_phantoms[i]->name, kr_phantoms[i]->summary, kr_phantoms[i]->cite);
    return 0;
}

static void all_options(const kr_tool *t, const char *before, const char *after)
{
    for (const kr_opt *o = t->opts; o && o->name; o++)
        printf("%s%s%s", before, o->name, after);
    for (int i = 0; kr_recons[i] && !strcmp(t->name, "recon"); i++)
        for (const kr_opt *o = kr_recons[i]->opts; o && o->name; o++)
            printf("%s%s%s", before, o->name, after);
}

static int completion(const char *shell)
{
    if (!strcmp(shell, "fish")) {
        for (int i = 0; kr_tools[i]; i++) {
            char before[80];
            printf("complete -c kray -n __fish_use_subcommand -a %s -d '%s'\n", kr_tools[i]->name, kr_tools[i]->summary);
            snprintf(before, sizeof before, "complete -c kray -n '__fish_seen_subcommand_from %s' -l ", kr_tools[i]->name);
            all_options(kr_tools[i], before, "\n");
        }
        puts("complete -c kray -l help\ncomplete -c kray -l version");
        return 0;
    }
    if (!strcmp(shell, "zsh"))
        puts("#compdef kray\nautoload -U +X bashcompinit && bashcompinit");
    printf("_kray() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"");
    for (int i = 0; kr_tools[i]; i++)
        printf("%s ", kr_tools[i]->name);
    printf("--help --version\"\n    elif [ \"$before\" = --method ] || [ \"$before\" = -m ]; then words=\"");
    for (int i = 0; kr_recons[i]; i++)
        printf("%s ", kr_recons[i]->name);
    printf("\"\n    elif [ \"$before\" = --to ] || [ \"$before\" = --from ]; then words=\"");
    for (int i = 0; kr_formats[i]; i++)
        printf("%s ", kr_formats[i]->name);
    printf("\"\n    else case ${COMP_WORDS[1]} in\n");
    for (int i = 0; kr_tools[i]; i++) {
        printf("        %s) words=\"--help ", kr_tools[i]->name);
        all_options(kr_tools[i], "--", " ");
        puts("\" ;;");
    }
    puts("        esac\n        case $word in -*) ;; *) words= ;; esac\n    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "    [ -n \"$words\" ] || compopt -o default 2>/dev/null\n}\ncomplete -o bashdefault -F _kray kray");
    return 0;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    (void)trace;
    if (o->completion)
        return completion(o->completion);
    if (o->markdown)
        return markdown();
    const kr_tool *tool = NULL;
    for (int i = 0; files && kr_tools[i]; i++)
        if (!strcmp(kr_tools[i]->name, file[0]))
            tool = kr_tools[i];
    if (files > 1 || (files && !tool))
        return kr_fail(KR_EUSAGE, "there is no command '%s'", file[files - 1]);
    if (o->man)
        return man(tool);
    if (tool)
        return kr_print_help(tool, 0, NULL);
    kr_overview(stdout);
    return 0;
}

const kr_tool kr_tool_help = { "help", "Other", "help on a command, man pages, completion", "[COMMAND] [options]",
    "  kray help recon\n  kray help --completion bash > /etc/bash_completion.d/kray\n", table, sizeof(opts), NULL, run };
