/* main.c: kray COMMAND [options] [files]: finds the command, parses by its table, runs it, prints what went wrong. */
#include "kray/io.h"
#include "words.h"
#include "kray_tools.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECLARE(name) extern const kr_tool kr_tool_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_tool_##name,
const kr_tool *const kr_tools[] = { KR_LIST(ENTRY) NULL };

static volatile int stop;
static kr_text typed;
static bool whole;

/* With names of files alone, where --provenance does not ask for more. */
const char *kr_command_line(void)
{
    static kr_text told;
    if (!told.s && typed.s)
        kr_provenance_words(&told, typed.s, whole);
    return told.s ? told.s : "";
}

bool kr_whole(void) { return whole; }

int kr_note(kr_meta *m, const char *method, const char *parameters, const char *const *input, int inputs)
{
    kr_meta_set_whole(m, whole);
    return kr_meta_provenance(m, kr_command_line(), method, parameters, input, inputs);
}

int kr_threads_want(long n)
{
    enum { MOST = 256 };                   /* as of KR_THREADS and OMP_NUM_THREADS: each thread has scratch of its own */
    if (n < 0 || n > MOST)
        return kr_fail(KR_EUSAGE, "--threads %ld: 1 to %d are possible, 0 for one per core", n, MOST);
    if (n)
        kr_threads_set((int)n);
    return 0;
}

enum { PATIENCE = 2 };                     /* seconds until a job that does not look up is left */

static void on_alarm(int sig)
{
    (void)sig;
    static const char text[] = "\nkray: stopped on request\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(128 + stop);
}

static void on_signal(int sig)
{
    if (stop)                              /* asked twice: leave at once */
        _exit(128 + sig);
    stop = sig;
    alarm(PATIENCE);                       /* nothing half done stands under the name of an output */
}

/* ---- What a long job tells: sentences and, on a terminal, one line of progress ---- */
struct display { bool terminal, line; int level; double since, shown, part; char what[32]; };

static void wipe(struct display *d)
{
    if (d->line)
        fputs("\r\033[K", stderr);
    d->line = false;
}

static void say(void *self, int level, const char *sentence)
{
    struct display *d = self;
    if (level > d->level)
        return;
    wipe(d);
    fprintf(stderr, "kray: %s", level == KR_WARNING ? "warning: " : "");
    kr_show(stderr, sentence);
    fputc('\n', stderr);
}

static void progress(void *self, const char *what, double done, double total)
{
    struct display *d = self;
    if (!d->terminal || total <= 0)
        return;
    double now = kr_seconds();
    size_t word = strcspn(what, "/");                    /* "slice 3/16, fista 42 %" is one job with "slice 2/16, ..." */
    while (what[word] && word && what[word - 1] >= '0' && what[word - 1] <= '9')
        word--;
    if (word >= sizeof d->what)
        word = sizeof d->what - 1;
    if (strncmp(d->what, what, word) || d->what[word] || done / total < d->part) {
        snprintf(d->what, sizeof d->what, "%.*s", (int)word, what);
        d->since = now;
    }
    d->part = done / total;
    if (done >= total) {
        wipe(d);
        *d->what = 0;
        d->part = 0;
        return;
    }
    if (now - d->shown < 0.1)
        return;
    d->shown = now;
    double part = done / total, left = part > 0 ? (now - d->since) * (1 - part) / part : 0;
    char bar[21];
    for (int i = 0; i < 20; i++)
        bar[i] = i < (int)(20 * part) ? '#' : '.';
    bar[20] = 0;
    fprintf(stderr, "\r\033[K%s [%s] %3.0f %%", what, bar, 100 * part);
    if (now - d->since > 1 && part > 0)
        fprintf(stderr, left < 90 ? ", %.0f s left" : ", %.0f min left", left < 90 ? left : left / 60);
    d->line = true;
}

/* ---- Help ---- */
void kr_overview(FILE *to)
{
    fprintf(to, "kray %s: images from undersampled MRI k-space and CT sinograms\n\nusage: kray COMMAND [options] [files]\n", kr_version());
    static const char *const group[] = { "Reconstruct", "Scanner", "Data", "Evaluate", "Other" };
    for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
        bool first = true;
        for (int i = 0; kr_tools[i]; i++)
            if (!strcmp(kr_tools[i]->group, group[g])) {
                if (first)
                    fprintf(to, "\n%s\n", group[g]);
                first = false;
                fprintf(to, "  %-11s %s\n", kr_tools[i]->name, kr_tools[i]->summary);
            }
    }
    fputs("\nkray COMMAND --help tells more about each. Exit status: 0 done, 1 failed, 2 wrong usage.\n", to);
}

int kr_print_help(const kr_tool *t, int argc, char **argv)
{
    kr_opt_group more[8];
    int n = t->more ? t->more(more, 8, argc, argv) : 0;
    if (n < 0)
        return n;
    kr_text out = { 0 };
    kr_text_add(&out, "kray %s: %s\n\nusage: kray %s %s\n\n", t->name, t->summary, t->name, t->usage);
    kr_opt_group own = { "Options", t->opts, NULL };
    kr_opt_help(&out, &own);
    for (int i = 0; i < n; i++) {
        kr_text_add(&out, "\n");
        if (more[i].opts)
            kr_opt_help(&out, &more[i]);
        else
            kr_text_add(&out, "%s\n", more[i].title);        /* not options, but something else to know */
    }
    kr_text_add(&out, "  -h, --help                   this text\n  -v, --verbose                tell more on the way\n  -q, --quiet                  warnings only\n"
                "      --provenance names|full  what files say of their origin: names of files alone (default), or paths and institution too\n");
    if (!strcmp(t->name, "recon") || !strcmp(t->name, "snr"))
        kr_text_add(&out, "\nEach method has options of its own: kray %s --method NAME --help shows them. All methods: kray help methods\n", t->name);
    if (t->examples)
        kr_text_add(&out, "\nExamples:\n%s", t->examples);
    fputs(out.s ? out.s : "", stdout);
    kr_text_clear(&out);
    return 0;
}

/* Nobody reads from the pipe on stdout any more. */
static bool reader_gone(void)
{
    struct pollfd p = { .fd = 1 };
    return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

static int status(int e) { return !e ? 0 : e == KR_EUSAGE ? 2 : 1; }

static int refuse(struct display *d, const char *tool, int e)
{
    wipe(d);
    fputs("kray: ", stderr);
    kr_show(stderr, kr_error());
    fputc('\n', stderr);
    if (e == KR_EUSAGE)
        fprintf(stderr, "kray: see kray %s%s--help\n", tool ? tool : "", tool ? " " : "");
    return status(e);
}

/* One file under two names; as far as it can be known before it is written, "./" and links aside. */
static bool same_output(const char *a, const char *b)
{
    struct stat s, t;
    while (!strncmp(a, "./", 2))
        a += 2;
    while (!strncmp(b, "./", 2))
        b += 2;
    return !strcmp(a, b) || (!stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino);
}

/* No command writes over what it reads, and none of its outputs over another: they are told apart before anything is done. */
static int outputs_apart(const kr_opt_group *group, int count, int files, char **file)
{
    for (int g = 0; g < count; g++)
        for (const kr_opt *o = group[g].opts; o && o->name; o++) {
            const char *out = o->type == KR_OPT_OUT ? *(const char **)(void *)((char *)group[g].into + o->at) : NULL;
            for (int i = 0; out && i < files; i++)
                if (kr_output_apart(out, file[i]))
                    return kr_error_code();
            for (int h = 0; out && h < count; h++)
                for (const kr_opt *q = group[h].opts; q && q->name; q++) {
                    const char *in = q->type == KR_OPT_FILE || q->type == KR_OPT_TEXT ? *(const char **)(void *)((char *)group[h].into + q->at) : NULL;
                    if (in && kr_output_apart(out, in))
                        return kr_error_code();
                    const char *other = q->type == KR_OPT_OUT && (h > g || (h == g && q > o)) ? *(const char **)(void *)((char *)group[h].into + q->at) : NULL;
                    if (other && *out && strcmp(out, "-") && same_output(out, other))
                        return kr_fail(KR_EUSAGE, "%s: --%s and --%s would both be written there", out, o->name, q->name);
                }
        }
    return 0;
}

/* The input "-" is standard input. Readers go back and forth in files and open them more than once: what comes through is kept in a
 * file, which goes at the end. */
static int read_stdin(kr_beside *kept)
{
    if (isatty(0))
        return kr_fail(KR_EUSAGE, "- is standard input, and that is a terminal: a program (| kray ...) or a file (< FILE) has to give the data");
    const char *place = getenv("TMPDIR");
    kr_auto char *path = kr_strf("%s/stdin", place && *place ? place : P_tmpdir);
    if (!path || kr_beside_open(kept, path))
        return kr_error_code();
    FILE *to = fopen(kept->file, "wb");
    char block[1 << 14];
    size_t n = 0;
    int e = to ? 0 : kr_fail(KR_EFILE, "standard input cannot be kept in %s: %s", kept->file, strerror(errno));
    while (!e && !stop && (n = fread(block, 1, sizeof block, stdin)) > 0)
        if (fwrite(block, 1, n, to) != n)
            e = kr_fail(KR_EFILE, "standard input cannot be kept in %s: %s", kept->file, strerror(errno));
    if (!e && (ferror(stdin) || stop))
        e = stop ? kr_fail(KR_ESTOPPED, "stopped") : kr_fail(KR_EFILE, "standard input cannot be read: %s", strerror(errno));
    if (to && fclose(to) && !e)
        e = kr_fail(KR_EFILE, "standard input cannot be kept in %s: %s", kept->file, strerror(errno));
    return e;
}

/* Whether the value of an option is that word. */
static bool is_word(const kr_opt_group *g, const kr_opt *o, const char *word)
{
    const char *value = *(const char **)(void *)((char *)g->into + o->at);
    return value && !strcmp(value, word);
}

/* Standard input as one of the inputs, and standard output as one output, alone: *room takes the name in place of "-". */
static int streams(const kr_opt_group *group, int count, const kr_tool *tool, int files, char **file, char **room, kr_beside *kept)
{
    int in = -1, out = 0;
    bool json = false, resume = false, given = false;
    for (int g = 0; g < count; g++)
        for (const kr_opt *o = group[g].opts; o && o->name; o++)
            if (o->type == KR_OPT_OUT) {
                out += is_word(&group[g], o, "-");
                given |= !is_word(&group[g], o, "") && *(const char **)(void *)((char *)group[g].into + o->at);
            } else if (o->type == KR_OPT_FLAG && *(const bool *)(void *)((char *)group[g].into + o->at)) {
                json |= !strcmp(o->name, "json");
                resume |= !strcmp(o->name, "resume");
            }
    bool last = !strcmp(tool->name, "convert") && !given && files == 2;       /* kray convert IN OUT */
    out += last && !strcmp(file[1], "-");
    if (out > 1)
        return kr_fail(KR_EUSAGE, "several outputs are -, and there is one standard output");
    if (out && resume)
        return kr_fail(KR_EUSAGE, "--resume looks at what was written before, and nothing stays of standard output (-)");
    if (out && json && strcmp(tool->name, "eval") && strcmp(tool->name, "report"))
        return kr_fail(KR_EUSAGE, "--json goes to standard output, and so does the output -: one of both");
    for (int i = 0; i < files - last; i++)
        if (file[i][0] == '-' && (!file[i][1] || file[i][1] == ':' || file[i][1] == '@')) {
            if (in >= 0)
                return kr_fail(KR_EUSAGE, "two inputs are -, and there is one standard input");
            in = i;
        }
    if (in < 0)
        return 0;
    int e = read_stdin(kept);
    kr_show_stdin(kept->file);
    if (e || !(*room = kr_strf("%s%s", kept->file, file[in] + 1)))
        return kr_error_code();
    file[in] = *room;
    return 0;
}

int main(int argc, char **argv)
{
    kr_guard_limits(argv);
    struct display d = { .terminal = isatty(2) && !getenv("NO_COLOR") && getenv("TERM") && strcmp(getenv("TERM"), "dumb"), .level = KR_INFO };
    kr_trace trace = { say, progress, &d, &stop };
    for (int i = 0; i < argc; i++)
        kr_text_add(&typed, "%s%s", i ? " " : "", i ? argv[i] : "kray");
    if (typed.failed)
        return refuse(&d, NULL, KR_EMEM);
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word || !strcmp(word, "--help") || !strcmp(word, "-h") || (!strcmp(word, "help") && argc == 2)) {
        kr_overview(word ? stdout : stderr);
        return word ? 0 : 2;
    }
    if (!strcmp(word, "--version")) {
        printf("kray %s\n", kr_version());
        return 0;
    }
    bool help = false;
    const char *provenance = "names";
    const kr_tool *tool = NULL;
    const char *known[64];
    int n = 0;
    for (int i = 0; kr_tools[i] && n < 64; i++) {
        known[n++] = kr_tools[i]->name;
        if (!strcasecmp(kr_tools[i]->name, word))
            tool = kr_tools[i];
    }
    if (!tool) {
        const char *near = kr_nearest(word, known, n);
        kr_fail(KR_EUSAGE, near ? "there is no command '%s'; did you mean %s?" : "there is no command '%s'", word, near);
        return refuse(&d, NULL, KR_EUSAGE);
    }
    /* What every command knows: --help, --verbose, --quiet, --provenance. */
    int kept = 1;
    argv++;
    argc--;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--")) {
            while (i < argc)
                argv[kept++] = argv[i++];
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            help = true;
        else if (!strcmp(argv[i], "--verbose") || !strcmp(argv[i], "-v"))
            d.level = KR_DETAIL;
        else if (!strcmp(argv[i], "--quiet") || !strcmp(argv[i], "-q"))
            d.level = KR_WARNING;
        else if (!strcmp(argv[i], "--provenance") || !strncmp(argv[i], "--provenance=", 13))
            provenance = argv[i][12] ? argv[i] + 13 : i + 1 < argc ? argv[++i] : "";
        else
            argv[kept++] = argv[i];
    }
    argc = kept;
    whole = !strcmp(provenance, "full");
    if (strcmp(provenance, "full") && strcmp(provenance, "names")) {
        kr_fail(KR_EUSAGE, "--provenance %s: names (of files alone) or full (paths, institution) are known", provenance);
        return refuse(&d, tool->name, KR_EUSAGE);
    }
    if (help) {
        int e = kr_print_help(tool, argc, argv);
        return e ? refuse(&d, tool->name, e) : 0;
    }
    const char *list = words_asked(tool, argc, argv);
    if (list) {
        int e = words_print(list);
        return e ? refuse(&d, tool->name, e) : 0;
    }
    struct sigaction act = { .sa_handler = on_signal };
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    signal(SIGALRM, on_alarm);
    signal(SIGPIPE, SIG_IGN);
    kr_guard();

    kr_opt_group groups[9] = { { "Options", tool->opts, NULL } };
    int count = 1, files = 0, e = 0;
    kr_auto void *opts = kr_alloc_zero(1, tool->opts_size ? tool->opts_size : 1);
    kr_auto char **file = kr_alloc((size_t)argc + 1, sizeof *file);
    if (!opts || !file)
        return refuse(&d, tool->name, KR_EMEM);
    groups[0].into = opts;
    e = kr_opt_defaults(tool->opts, opts);
    if (!e && tool->more) {
        int k = tool->more(groups + 1, 8, argc, argv);
        e = k < 0 ? k : 0;
        count += k > 0 ? k : 0;
    }
    if (!e)
        e = kr_opt_parse(groups, count, argc, argv, file, &files);
    kr_auto char *input = NULL;
    kr_beside copy = { 0 };
    if (!e)
        e = streams(groups, count, tool, files, file, &input, &copy);
    if (!e)
        e = outputs_apart(groups, count, files, file);
    if (!e)
        e = kr_mem_lacked(*kr_command_line() ? 0 : KR_EMEM, 0);      /* before work is done of which it tells */
    if (!e)
        e = tool->run(opts, files, file, &trace);
    if (!e)
        e = kr_mem_lacked(0, 0);             /* nothing that went wrong for lack of memory passes for done */
    if (!e && (fflush(stdout) || ferror(stdout)))
        e = kr_fail(KR_EFILE, "the output cannot be written");
    wipe(&d);
    if (ferror(stdout) && reader_gone())     /* kray ... | head: what was wanted has been read */
        e = 0;
    int code = e ? refuse(&d, tool->name, e) : 0;
    kr_beside_drop(&copy);
    kr_text_clear(&typed);
    return stop ? 128 + stop : code;
}
