/* completion.c: completion for bash, zsh and fish from the tables of options and names. */
#include "words.h"
#include <string.h>

/* Between single quotes of fish. */
static void fish_quoted(const char *s)
{
    putchar('\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
    putchar('\'');
}

/* The values of an option with a space after each; nothing where it takes a number or any text. */
static void values_of(kr_text *t, const kr_tool *tool, const kr_opt *o)
{
    const char *list = words_of_option(tool, o);
    if (o->type == KR_OPT_CHOICE)
        for (const char *p = o->unit; *p; p++)
            kr_text_add(t, "%c%s", *p == '|' ? ' ' : *p, p[1] ? "" : " ");
    else if (list)
        words_names(t, list);
    if (o->type != KR_OPT_CHOICE && !strcmp(o->name, "method") && !strcmp(tool->name, "recon"))
        kr_text_add(t, "auto ");
    if (t->len)
        t->s[--t->len] = 0;                      /* the last space */
}

/* A path, or a name or a path: --coils espirit, --coils maps.cfl. */
static bool takes_file(const kr_opt *o)
{
    return o->type != KR_OPT_FLAG && o->type != KR_OPT_INT && o->type != KR_OPT_REAL && o->type != KR_OPT_SIZE && o->type != KR_OPT_CHOICE
        && (o->type != KR_OPT_TEXT || (o->unit && strstr(o->unit, "FILE")));
}

/* What stands after a command alone: the names of a list, or the words that its usage begins with ("info|list|convert"). */
static void words_after(kr_text *t, const kr_tool *tool)
{
    const char *list = !strcmp(tool->name, "simulate") ? "phantoms" : !strcmp(tool->name, "mask") ? "masks" : NULL;
    size_t n = strcspn(tool->usage, " "), bar = strcspn(tool->usage, "|");
    if (list)
        words_names(t, list);
    for (size_t i = 0; i < n && bar < n; i++)
        kr_text_add(t, "%c%s", tool->usage[i] == '|' ? ' ' : tool->usage[i], i + 1 < n ? "" : " ");
}

static void help_words(kr_text *t)
{
    words_names(t, "commands");
    words_names(t, "methods");
    for (int i = 0; words_list(i); i++)
        kr_text_add(t, "%s ", words_list(i));
}

/* ---- fish ---- */
static void fish_option(void *self, const kr_opt *o)
{
    const kr_tool *tool = self;
    kr_text values = { 0 };
    values_of(&values, tool, o);
    printf("complete -c kray -n '__fish_seen_subcommand_from %s' -l %s", tool->name, o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->type != KR_OPT_FLAG)
        fputs(takes_file(o) ? " -r" : " -x", stdout);
    if (values.len) {
        fputs(" -a ", stdout);
        fish_quoted(values.s);
    }
    fputs(" -d ", stdout);
    fish_quoted(o->help ? o->help : "");
    putchar('\n');
    kr_text_clear(&values);
}

static void fish(void)
{
    for (int i = 0; kr_tools[i]; i++) {
        const kr_tool *t = kr_tools[i];
        printf("complete -c kray -f -n __fish_use_subcommand -a %s -d ", t->name);
        fish_quoted(t->summary);
        putchar('\n');
        kr_text words = { 0 };
        if (!strcmp(t->name, "help"))
            help_words(&words);
        else
            words_after(&words, t);
        if (words.len) {
            printf("complete -c kray -n '__fish_seen_subcommand_from %s' -a ", t->name);
            fish_quoted(words.s);
            putchar('\n');
        }
        kr_text_clear(&words);
        words_options(t, fish_option, (void *)t);
    }
    puts("complete -c kray -s h -l help -d 'help on this command'\ncomplete -c kray -s v -l verbose -d 'tell more on the way'\n"
         "complete -c kray -s q -l quiet -d 'warnings only'\ncomplete -c kray -l provenance -x -a 'names full' -d 'what files say of their origin'\ncomplete -c kray -n __fish_use_subcommand -l version -d 'version of kray'");
}

/* ---- bash and zsh share a function that prints words: _kray_words COMMAND OPTION ---- */
static void shell_values(void *self, const kr_opt *o)
{
    const kr_tool *tool = self;
    kr_text values = { 0 };
    if (o->type == KR_OPT_FLAG)
        return;
    values_of(&values, tool, o);
    printf("        %s:--%s", tool->name, o->name);
    if (o->letter)
        printf("|%s:-%c", tool->name, o->letter);
    printf(") echo '%s%s' ;;\n", takes_file(o) ? "FILES " : "", values.s ? values.s : "");
    kr_text_clear(&values);
}

static void shell_name(void *self, const kr_opt *o)
{
    (void)self;
    printf("--%s ", o->name);
}

static void shell_words(void)
{
    kr_text words = { 0 };
    words_names(&words, "commands");
    puts("# prints what may follow: words; FILES: paths, too; NONE: this is no option with a value");
    printf("_kray_words() {\n    case \"$1:$2\" in\n        :) echo '%s--help --version' ;;\n", words.s ? words.s : "");
    kr_text_clear(&words);
    for (int i = 0; kr_tools[i]; i++)
        words_options(kr_tools[i], shell_values, (void *)kr_tools[i]);
    puts("        *:-*) echo NONE ;;");
    for (int i = 0; kr_tools[i]; i++) {
        const kr_tool *t = kr_tools[i];
        printf("        %s:options) echo '", t->name);
        words_options(t, shell_name, NULL);
        puts("--help --verbose --quiet --provenance' ;;");
        if (!strcmp(t->name, "help"))
            help_words(&words);
        else
            words_after(&words, t);
        printf("        %s:words) echo '%s%s' ;;\n", t->name, strcmp(t->name, "help") ? "FILES " : "", words.s ? words.s : "");
        kr_text_clear(&words);
    }
    puts("    esac\n}");
}

static void bash(void)
{
    shell_words();
    puts("_kray() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words=NONE\n"
         "    if [ \"$word\" = = ]; then word=\n"
         "    elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then words=$(_kray_words '' '')\n"
         "    else case $before in -*) words=$(_kray_words \"$command\" \"$before\") ;; esac; fi\n"
         "    if [ \"$words\" = NONE ]; then\n"
         "        case $word in -*) words=$(_kray_words \"$command\" options) ;; *) words=$(_kray_words \"$command\" words) ;; esac\n"
         "    fi\n"
         "    case $words in FILES*) compopt -o default 2>/dev/null; words=${words#FILES} ;; esac\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\ncomplete -o bashdefault -F _kray kray");
}

static void zsh(void)
{
    puts("#compdef kray");
    shell_words();
    puts("_kray() {\n"
         "    local word=$words[CURRENT] before=$words[CURRENT-1] command=$words[2] found=NONE\n"
         "    if [[ $word == --*=* ]]; then before=${word%%=*}; compset -P '*='; fi\n"
         "    if (( CURRENT == 2 )); then found=$(_kray_words '' '')\n"
         "    elif [[ $before == -* ]]; then found=$(_kray_words \"$command\" \"$before\"); fi\n"
         "    if [[ $found == NONE ]]; then\n"
         "        if [[ $word == -* ]]; then found=$(_kray_words \"$command\" options); else found=$(_kray_words \"$command\" words); fi\n"
         "    fi\n"
         "    if [[ $found == FILES* ]]; then found=${found#FILES}; _files; fi\n"
         "    compadd -- ${=found}\n"
         "}\n_kray \"$@\"");
}

int completion_print(const char *shell)
{
    if (!strcmp(shell, "fish"))
        fish();
    else if (!strcmp(shell, "zsh"))
        zsh();
    else
        bash();
    return 0;
}
