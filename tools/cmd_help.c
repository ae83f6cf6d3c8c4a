/* cmd_help.c: kray help: commands, methods and lists of names as text and Markdown; man pages and completion. */
#include "kray/io.h"
#include "kray/recon.h"
#include "kray/trajectory.h"
#include "words.h"
#include <ctype.h>
#include <string.h>

typedef struct opts { bool man, markdown; const char *completion; } opts;
static const kr_opt table[] = {
    { "man", 0, KR_OPT_FLAG, offsetof(opts, man), NULL, NULL, "as a man page" },
    { "markdown", 0, KR_OPT_FLAG, offsetof(opts, markdown), NULL, NULL, "all lists of names (methods, formats, masks, ...) in Markdown" },
    { "completion", 0, KR_OPT_CHOICE, offsetof(opts, completion), NULL, "bash|zsh|fish", "completion for a shell" },
    KR_OPT_END };

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
    puts("# Methods, formats and other lists\n\nMade by `kray help --markdown` from the tables in the code.\n\n## Methods (`kray recon --method`)");
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
    kr_text all = { 0 };
    kr_text_add(&all, "\n## Sampling masks (`kray mask`, `--undersample`)\n\n```\n");
    kr_mask_kinds(&all);
    kr_text_add(&all, "```\n\n## Trajectories (`kray simulate`, `kray recon --traj`)\n\n```\n");
    kr_traj_kinds(&all);
    kr_text_add(&all, "```\n");
    const char *list;
    for (int i = 0; (list = words_list(i)); i++)
        if (strcmp(list, "methods") && strcmp(list, "formats") && strcmp(list, "masks") && strcmp(list, "trajectories")) {
            kr_text_add(&all, "\n## %c%s\n\n", toupper(*list), list + 1);
            words_table(&all, list);
        }
    int e = kr_text_write("-", &all);
    kr_text_clear(&all);
    return e;
}

/* kray help recon wavelet: with the options of that method. */
static int method_help(const kr_tool *tool, const char *method)
{
    char *argv[] = { (char *)"recon", (char *)"--method", (char *)method, NULL };
    return kr_print_help(tool, 3, argv);
}

static const kr_tool *tool_named(const char *name)
{
    for (int i = 0; kr_tools[i]; i++)
        if (!strcmp(kr_tools[i]->name, name))
            return kr_tools[i];
    return NULL;
}

static bool is_method(const char *name)
{
    for (int i = 0; kr_recons[i]; i++)
        if (!strcmp(kr_recons[i]->name, name))
            return true;
    return false;
}

static int run(void *p, int files, char **file, const kr_trace *trace)
{
    const opts *o = p;
    (void)trace;
    if (o->completion)
        return completion_print(o->completion);
    if (o->markdown)
        return markdown();
    const kr_tool *tool = files ? tool_named(file[0]) : NULL;
    if (o->man && files < 2 && (tool || !files))
        return manpage_print(tool);
    if (!files) {
        kr_overview(stdout);
        return 0;
    }
    if (files == 1 && tool)
        return kr_print_help(tool, 0, NULL);
    if (files == 2 && tool && (!strcmp(tool->name, "recon") || !strcmp(tool->name, "snr")))
        return method_help(tool, file[1]);
    if (files == 1 && words_is_list(file[0]))
        return words_print(file[0]);
    if (files == 1 && is_method(file[0]))
        return method_help(tool_named("recon"), file[0]);
    const char *word = file[files > 1 && tool ? 1 : 0], *near = words_nearest(word);
    if (near)
        return kr_fail(KR_EUSAGE, "there is no help on '%s'; did you mean kray help %s?", word, near);
    kr_text lists = { 0 };
    for (int i = 0; words_list(i); i++)
        kr_text_add(&lists, "%s%s", i ? ", " : "", words_list(i));
    kr_fail(KR_EUSAGE, "there is no help on '%s'; it takes a command, a method, or one of %s", word, lists.s ? lists.s : "");
    kr_text_clear(&lists);
    return KR_EUSAGE;
}

const kr_tool kr_tool_help = { "help", "Other", "help on a command, a method or a list of names; man pages, completion",
    "[COMMAND|METHOD|LIST] [options]",
    "  kray help recon\n  kray help recon wavelet                    # with the options of that method\n"
    "  kray help formats                          # what is read and written\n"
    "  kray help masks                            # or commands, methods, coils, solvers, trajectories, networks, phantoms, protocols, ...\n"
    "  kray help --completion bash > /etc/bash_completion.d/kray\n"
    "  kray help --completion fish > ~/.config/fish/completions/kray.fish\n", table, sizeof(opts), NULL, run };
