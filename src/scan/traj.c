/* traj.c: "KIND:key=value,..." to a trajectory. The kinds are in trj_*.c. */
#include "kray/sampling.h"
#include "trj.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define X(name) extern const trj_kind kr_trj_##name;
#include "kray_trajs.h"
KR_LIST(X)
#undef X
#define X(name) &kr_trj_##name,
static const trj_kind *const kinds[] = { KR_LIST(X) };
enum { KINDS = sizeof kinds / sizeof *kinds };

static const trj_kind *named(const char *name, size_t n)
{
    for (int i = 0; i < KINDS; i++)
        if (strlen(kinds[i]->name) == n && !strncmp(kinds[i]->name, name, n))
            return kinds[i];
    return NULL;
}

bool kr_traj_is_spec(const char *text) { return named(text, strcspn(text, ":")) != NULL; }

int kr_trj_count(long *out, const char *what, long asked, long have, long preset)
{
    if (asked && have && asked != have)
        return kr_fail(KR_ESHAPE, "%ld %s are asked for, the data have %ld", asked, what, have);
    *out = asked ? asked : have ? have : preset;
    return *out >= 1 && *out <= 1 << 24 ? 0 : kr_fail(KR_EUSAGE, "%ld %s are not possible", *out, what);
}

int kr_trj_open(trj_job *j, long samples, long views, long frames, int dims)
{
    for (int d = 0; d < dims; d++)
        if (j->want.n[d] < 2)
            return kr_fail(KR_EREFUSED, "a matrix of the image is wanted, with %s pixels along %s", d < 2 ? "at least 2" : "several", kr_axis_name(d));
    if (dims == 2 && j->want.n[2] > 1)
        return kr_fail(KR_EREFUSED, "it runs through a plane, and the image is a volume of %ld planes", j->want.n[2]);
    j->samples = samples;
    j->views = views;
    j->frames = frames;
    j->dims = dims;
    kr_shape shape = KR_SHAPE([KR_SAMPLE] = samples, [KR_VIEW] = views, [KR_TIME] = frames, [KR_CHAN] = dims);
    if (kr_count(shape) < 0 || kr_count(shape) > 1L << 32)
        return kr_fail(KR_EREFUSED, "%ld samples of %ld readouts in %ld frames are too many", samples, views, frames);
    j->k = kr_array_new(KR_R32, shape);
    return j->k ? 0 : kr_error_code();
}

/* Sets each "key=value" in `into`; words is a copy of the specification, into which values point. */
static int read_keys(const trj_kind *kind, void *into, char *words)
{
    unsigned long given = 0;
    for (char *rest = NULL, *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');
        if (!value || !value[1])
            return kr_fail(KR_EUSAGE, "'%s' wants a value: %s=...", word, word);
        *value++ = 0;
        const kr_opt *o = kind->opts;
        while (o->name && strcmp(o->name, word))
            o++;
        if (!o->name) {
            kr_text known = { 0 };
            for (o = kind->opts; o->name; o++)
                kr_text_add(&known, "%s%s", known.len ? ", " : "", o->name);
            kr_fail(KR_EUSAGE, "there is no '%s'; known are %s", word, known.s ? known.s : "");
            kr_text_clear(&known);
            return KR_EUSAGE;
        }
        if (given & 1ul << (o - kind->opts))
            return kr_fail(KR_EUSAGE, "%s is given twice", word);
        given |= 1ul << (o - kind->opts);
        if (kr_opt_set(kind->opts, into, word, value))
            return kr_error_code();
        /* 0 stands for a count that was not given, so that 0 itself would quietly become the preset. */
        static const char *const counts[] = { "spokes", "samples", "interleaves", "lines", "shots", "partitions", "cones", "frames" };
        char *end;
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            if (!strcmp(word, counts[i]) && strtod(value, &end) == 0 && !*end)
                return kr_fail(KR_EUSAGE, "0 %s are not possible", word);
    }
    return 0;
}

static int make(trj_job *j, const char *spec)
{
    size_t n = strcspn(spec, ":");
    const trj_kind *kind = named(spec, n);
    if (!kind) {
        kr_text all = { 0 };
        for (int i = 0; i < KINDS; i++)
            kr_text_add(&all, "%s%s", i ? ", " : "", kinds[i]->name);
        kr_fail(KR_EUSAGE, "there is no kind '%.*s'; known are %s", (int)n, spec, all.s ? all.s : "");
        kr_text_clear(&all);
        return KR_EUSAGE;
    }
    kr_auto char *words = kr_strdup(spec[n] ? spec + n + 1 : "");
    kr_auto char *opts = kr_alloc_zero(1, kind->opts_size);
    if (!words || !opts || kr_opt_defaults(kind->opts, opts) || read_keys(kind, opts, words))
        return kr_error_code();
    return kind->make(j, opts);
}

kr_array *kr_traj_new(const char *spec, kr_traj_want *want)
{
    trj_job j = { .want = *want };
    int e = make(&j, spec);
    if (!e && want->samples && j.samples != want->samples)
        e = kr_fail(KR_ESHAPE, "it has readouts of %ld samples, the data of %ld", j.samples, want->samples);
    if (!e && want->views && j.views != want->views)
        e = kr_fail(KR_ESHAPE, "it has %ld readouts, the data %ld", j.views, want->views);
    if (!e && want->frames > 1 && j.frames > 1 && j.frames != want->frames)
        e = kr_fail(KR_ESHAPE, "it has %ld frames, the data %ld", j.frames, want->frames);
    if (e) {
        kr_array_unref(&j.k);
        kr_fail_in("trajectory %s", spec);
        return NULL;
    }
    memcpy(want->n, j.want.n, sizeof want->n);
    return j.k;
}

const char *kr_traj_kind(int i, const char **summary, const char **cite)
{
    const trj_kind *k = i >= 0 && i < KINDS ? kinds[i] : NULL;
    if (summary)
        *summary = k ? k->summary : NULL;
    if (cite)
        *cite = k ? k->cite : NULL;
    return k ? k->name : NULL;
}

void kr_traj_kinds(kr_text *help)
{
    kr_text_add(help, "Kinds of trajectories, written KIND:key=value,... (presets after =):\n");
    for (int i = 0; i < KINDS; i++) {
        kr_text_add(help, "  %-12s %s\n  %-12s   ", kinds[i]->name, kinds[i]->summary, "");
        for (const kr_opt *o = kinds[i]->opts; o->name; o++)
            kr_text_add(help, "%s%s%s%s", o == kinds[i]->opts ? "" : ", ", o->name, o->preset ? "=" : "", o->preset ? o->preset : "");
        kr_text_add(help, "\n");
    }
    kr_text_add(help, "Keys:\n");
    for (int i = 0; i < KINDS; i++)
        for (const kr_opt *o = kinds[i]->opts; o->name; o++) {
            bool told = false;                               /* kinds share some */
            for (int b = 0; b < i && !told; b++)
                for (const kr_opt *p = kinds[b]->opts; p->name && !told; p++)
                    told = !strcmp(p->name, o->name) && !strcmp(p->help, o->help);
            if (!told)
                kr_text_add(help, "  %-12s %s%s%s%s\n", o->name, o->help, o->type == KR_OPT_CHOICE || (o->unit && strchr(o->unit, '|')) ? " (" : "",
                            o->type == KR_OPT_CHOICE || (o->unit && strchr(o->unit, '|')) ? o->unit : "", o->type == KR_OPT_CHOICE || (o->unit && strchr(o->unit, '|')) ? ")" : "");
        }
}
