/* words.c: the names that Kray knows, from the tables that have them. */
#include "words.h"
#include "kray/io.h"
#include "kray/learn.h"
#include "kray/metric.h"
#include "kray/net.h"
#include "kray/phantom.h"
#include "kray/projections.h"
#include "kray/recon.h"
#include "kray/regularisers.h"
#include "kray/sampling.h"
#include "kray/solve.h"
#include "kray/train.h"
#include <string.h>

typedef void put(void *self, const char *name, const char *summary, const char *more);

#define LIST(word, table, summary_, more)              \
static void word(put *p, void *self)                   \
{                                                      \
    for (int i = 0; table[i]; i++)                     \
        p(self, table[i]->name, table[i]->summary_, more); \
}
LIST(commands, kr_tools, summary, NULL)
LIST(methods, kr_recons, summary, kr_recons[i]->cite)
LIST(coils, kr_coil_methods, summary, kr_coil_methods[i]->cite)
LIST(solvers, kr_solvers, cite, NULL)
LIST(networks, kr_nets, summary, kr_nets[i]->cite)
LIST(phantoms, kr_phantoms, summary, kr_phantoms[i]->cite)
LIST(protocols, kr_protocols, summary, kr_protocols[i]->cite)
LIST(projections, kr_projections_kinds, summary, NULL)
LIST(losses, kr_losses, summary, kr_losses[i]->cite)
LIST(optimisers, kr_optimisers, summary, kr_optimisers[i]->cite)
LIST(schedules, kr_schedules, summary, kr_schedules[i]->cite)

static void formats(put *p, void *self)
{
    for (int i = 0; kr_formats[i]; i++) {
        const kr_format *f = kr_formats[i];
        char more[160];
        snprintf(more, sizeof more, "%s: raw data %s, images %s, arrays %s", f->suffix, f->read && f->write ? "in and out" : f->read ? "in" : f->write ? "out" : "-",
                 f->read_image && f->write_image ? "in and out" : f->read_image ? "in" : f->write_image ? "out" : "-",
                 f->read_array && f->write_array ? "in and out" : f->read_array ? "in" : f->write_array ? "out" : "-");
        p(self, f->name, f->summary, more);
    }
}

static void masks(put *p, void *self)
{
    const char *name, *summary, *keys;
    for (int i = 0; (name = kr_mask_kind(i, &summary, &keys)); i++)
        p(self, name, summary, keys);
}

static void trajectories(put *p, void *self)
{
    const char *name, *summary, *cite;
    for (int i = 0; (name = kr_traj_kind(i, &summary, &cite)); i++)
        p(self, name, summary, cite);
}

static void regularisers(put *p, void *self)
{
    const char *name, *summary, *cite;
    for (int i = 0; (name = kr_regulariser(i, &summary, &cite)); i++)
        p(self, name, summary, cite);
}

static const struct { const char *name; void (*each)(put *p, void *self); } table[] = {
    { "commands", commands }, { "methods", methods }, { "coils", coils }, { "solvers", solvers }, { "regularisers", regularisers }, { "formats", formats }, { "masks", masks },
    { "trajectories", trajectories }, { "networks", networks }, { "phantoms", phantoms }, { "protocols", protocols }, { "projections", projections },
    { "losses", losses }, { "optimisers", optimisers }, { "schedules", schedules } };
enum { LISTS = sizeof table / sizeof *table };

const char *words_list(int i) { return i < LISTS ? table[i].name : NULL; }

static int find(const char *list)
{
    for (int i = 0; i < LISTS; i++)
        if (!strcmp(table[i].name, list))
            return i;
    return -1;
}

bool words_is_list(const char *name) { return find(name) >= 0; }

static void put_name(void *self, const char *name, const char *summary, const char *more)
{
    (void)summary, (void)more;
    kr_text_add(self, "%s ", name);
}

void words_names(kr_text *t, const char *list) { table[find(list)].each(put_name, t); }

static void put_line(void *self, const char *name, const char *summary, const char *more)
{
    kr_text_add(self, "%-20s %s\n", name, summary ? summary : "");
    if (more && *more)
        kr_text_add(self, "%-20s   %s\n", "", more);
}

static void put_row(void *self, const char *name, const char *summary, const char *more)
{
    kr_text_add(self, "| %s | %s | %s |\n", name, summary ? summary : "", more ? more : "");
}

void words_table(kr_text *t, const char *list)
{
    kr_text_add(t, "| name | | |\n| --- | --- | --- |\n");
    table[find(list)].each(put_row, t);
}

int words_print(const char *list)
{
    kr_text t = { 0 };
    table[find(list)].each(put_line, &t);
    int e = kr_text_write("-", &t);
    kr_text_clear(&t);
    return e;
}

const char *words_of_option(const kr_tool *t, const kr_opt *o)
{
    static const char *const known[][2] = { { "protocol", "protocols" }, { "from", "formats" }, { "to", "formats" }, { "coils", "coils" }, { "network", "networks" },
                                            { "undersample", "masks" }, { "loss", "losses" }, { "optimiser", "optimisers" } };
    if (!strcmp(o->name, "method"))
        return !strcmp(t->name, "coils") ? "coils" : "methods";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(o->name, known[i][0]) && o->type != KR_OPT_INT)
            return known[i][1];
    return NULL;
}

const char *words_asked(const kr_tool *t, int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "list"))
        return !strcmp(t->name, "simulate") ? "phantoms" : !strcmp(t->name, "mask") ? "masks" : NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        for (const kr_opt *o = t->opts; o && o->name; o++) {
            size_t n = strlen(o->name);
            bool here = argv[i][0] == '-' && argv[i][1] == '-' && !strncmp(argv[i] + 2, o->name, n);
            const char *value = here && argv[i][2 + n] == '=' ? argv[i] + 3 + n : NULL;
            if ((here && !argv[i][2 + n]) || (o->letter && argv[i][0] == '-' && argv[i][1] == o->letter && !argv[i][2]))
                value = i + 1 < argc ? argv[i + 1] : NULL;
            if (value && !strcmp(value, "list") && words_of_option(t, o))
                return words_of_option(t, o);
        }
    return NULL;
}

const char *words_nearest(const char *word)
{
    kr_text all = { 0 };
    for (int i = 0; i < LISTS; i++)
        if (strcmp(table[i].name, "formats") && strcmp(table[i].name, "masks"))
            words_names(&all, table[i].name);
    for (int i = 0; i < LISTS; i++)
        kr_text_add(&all, "%s ", table[i].name);
    static char found[48];
    const char *known[256], *near = NULL;
    int n = 0;
    char *rest = NULL;
    for (char *w = all.s ? strtok_r(all.s, " ", &rest) : NULL; w && n < 256; w = strtok_r(NULL, " ", &rest))
        known[n++] = w;
    if ((near = kr_nearest(word, known, n)))
        snprintf(found, sizeof found, "%s", near);
    kr_text_clear(&all);
    return near ? found : NULL;
}

/* The i-th table of options that a command has beside its own; NULL beyond the last. */
static const kr_opt *further(const kr_tool *t, int i)
{
    bool all = !strcmp(t->name, "recon") || !strcmp(t->name, "snr"), rays = !strcmp(t->name, "ct");
    if (!strcmp(t->name, "train"))
        return i ? NULL : kr_learn_opts;
    for (int k = 0; (all || rays) && kr_recons[k]; k++)
        if (kr_recons[k]->opts && (all || kr_recons[k]->needs & KR_TAKES_RAYS) && !i--)
            return kr_recons[k]->opts;
    return NULL;
}

void words_options(const kr_tool *t, void (*each)(void *self, const kr_opt *o), void *self)
{
    const char *seen[512];
    int n = 0, i = 0;
    for (const kr_opt *list = t->opts; list; list = further(t, i++))
        for (const kr_opt *o = list; o->name && n < 512; o++) {
            bool old = false;
            for (int k = 0; k < n; k++)
                old |= !strcmp(seen[k], o->name);
            if (!old) {
                seen[n++] = o->name;
                each(self, o);
            }
        }
}
