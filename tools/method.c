/* method.c: --method NAME and the options that belong to it, as the words of a command give them. */
#include "method.h"
#include "kray/io.h"
#include <stdio.h>
#include <string.h>

static bool is_given(const kr_opt *o, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        const char *name = argv[i] + 2;
        if (o->letter && argv[i][0] == '-' && argv[i][1] == o->letter)
            return true;
        if (strncmp(argv[i], "--", 2))
            continue;
        name += o->type == KR_OPT_FLAG && !strncmp(name, "no-", 3) ? 3 : 0;
        if (!strncmp(name, o->name, strlen(o->name)) && (!name[strlen(o->name)] || name[strlen(o->name)] == '='))
            return true;
    }
    return false;
}

bool method_given(const kr_opt *table, const char *name, int argc, char **argv)
{
    for (const kr_opt *o = table; o && o->name; o++)
        if (!strcmp(o->name, name))
            return is_given(o, argc, argv);
    return false;
}

bool method_makes_maps(const char *coils)
{
    for (int i = 0; kr_coil_methods[i]; i++)
        if (!strcmp(coils, kr_coil_methods[i]->name))
            return true;
    return false;
}

int method_read_maps(kr_array **maps, const char *file)
{
    kr_scoped(array) read = NULL;
    if (!kr_array_read(&read, file) && (*maps = kr_array_complex(read)))
        return 0;
    const char *known[16];
    int n = 0;
    bool path = strpbrk(file, "./");
    for (; n < 16 && kr_coil_methods[n]; n++)
        known[n] = kr_coil_methods[n]->name;
    const char *near = path ? NULL : kr_nearest(file, known, n);
    int e = kr_fail_in("coil maps");
    return !path && e == KR_EFILE ? kr_fail(e, "coil maps: %s is no file, and no way to estimate them: %s%s%skray coils --method list shows those", file, near ? "did you mean " : "",
                                           near ? near : "", near ? "? " : "") : e;
}

const char *method_name(const struct method *m) { return m->asked ? m->asked->name : "auto"; }

int method_parse(struct method *m, const char *usual, kr_opt_group *room, int argc, char **argv)
{
    const char *name = usual;
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if ((!strcmp(argv[i], "--method") || !strcmp(argv[i], "-m")) && i + 1 < argc)
            name = argv[i + 1];
        else if (!strncmp(argv[i], "--method=", 9))
            name = argv[i] + 9;
    if (!strcmp(name, "list"))
        return 0;
    const kr_recon *r = kr_recon_named(strcmp(name, "auto") ? name : KR_AUTO_USUAL);
    if (!r)
        return kr_error_code();
    method_close(m);
    m->asked = strcmp(name, "auto") ? r : NULL;
    m->values = kr_alloc_zero(1, r->opts_size ? r->opts_size : 1);
    if (!m->values || kr_opt_defaults(r->opts, m->values))
        return kr_error_code();
    snprintf(m->title, sizeof m->title, "Options of the method %s (%s)%s", r->name, r->summary, m->asked ? "" : ";\nthose of another: kray recon --method NAME --help");
    for (const kr_opt *o = r->opts; !m->asked && !m->given && o && o->name; o++)
        m->given = is_given(o, argc, argv) ? o->name : NULL;
    room[0] = (kr_opt_group){ m->title, r->opts, m->values };
    return 1;
}

void method_close(struct method *m)
{
    kr_free(m->values);
    *m = (struct method){ 0 };
}
