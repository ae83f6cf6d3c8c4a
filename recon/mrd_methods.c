/* mrd_methods.c: the methods as sessions with MRD clients ask for them. */
#include "kray/mrd.h"
#include "kray/recon.h"
#include "kray/trajectory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What `kray recon` has for every method. */
typedef struct around {
    const char *coils, *compression, *ghost;
    long maps, calib, compress;
    bool whiten, oversampling;
} around;
static const kr_opt table[] = {
    { "coils", 0, KR_OPT_CHOICE, offsetof(around, coils), "espirit", KR_COIL_METHODS, NULL },
    { "maps", 0, KR_OPT_INT, offsetof(around, maps), "1", "N", NULL },
    { "calib", 0, KR_OPT_INT, offsetof(around, calib), "24", "N", NULL },
    { "compress", 0, KR_OPT_INT, offsetof(around, compress), "0", "N", NULL },
    { "compression", 0, KR_OPT_CHOICE, offsetof(around, compression), "svd", "svd|geometric", NULL },
    { "whiten", 0, KR_OPT_FLAG, offsetof(around, whiten), "on", NULL, NULL },
    { "oversampling", 0, KR_OPT_FLAG, offsetof(around, oversampling), "on", NULL, NULL },
    { "ghost", 0, KR_OPT_CHOICE, offsetof(around, ghost), "auto", "auto|navigator|entropy|svd|none", NULL },
    KR_OPT_END };

struct job {
    kr_job *job;
    const kr_recon *method;          /* whose options are given: of auto the usual method's            */
    around around;
    void *opts;
    kr_text file;                    /* the value of an option that names one                           */
    const char *given;               /* an option of the method that was given                         */
    bool maps_asked;
    bool frames;                     /* real time                                                       */
    bool *begun;                     /* by slice: the first frame is there                              */
    long steps;                      /* iterations of those after it; 0: as the first                   */
    const char *density;             /* of frames along a trajectory; NULL: not known yet               */
};

static const kr_opt *find(const kr_opt *o, const char *name)
{
    while (o && o->name && strcasecmp(o->name, name))
        o++;
    return o && o->name ? o : NULL;
}

static int unknown(const kr_recon *m, const char *key)
{
    const char *words[64];
    int n = 0;
    kr_text t = { 0 };
    for (int part = 0; part < 2; part++)
        for (const kr_opt *o = part ? table : m->opts; o && o->name && n < 64; o++) {
            kr_text_add(&t, "%s%s", n ? ", " : "", o->name);
            words[n++] = o->name;
        }
    const char *near = kr_nearest(key, words, n);
    kr_fail(KR_EUSAGE, "%s has no option '%.60s'%s%s%s; known are %s", m->name, key, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "", t.s);
    kr_text_clear(&t);
    return kr_error_code();
}

/* A file is in the folder, or nowhere. */
static const char *file_in(const kr_mrd_methods *methods, struct job *j, const char *key, const char *value)
{
    if (!methods->folder)
        return value;
    if (strchr(value, '/') || *value == '.') {
        kr_fail(KR_EUSAGE, "the option '%s' names the file '%.80s': files of a client are names without folders", key, value);
        return NULL;
    }
    if (j->file.len) {
        kr_fail(KR_EUSAGE, "only one option may name a file");
        return NULL;
    }
    kr_text_add(&j->file, "%s/%s", methods->folder, value);
    return j->file.s;
}

static int set_options(struct job *j, const kr_mrd_methods *methods, const kr_mrd_ask *ask, bool chosen)
{
    for (long i = 0; i < kr_meta_count(ask->options); i++) {
        const char *key = kr_meta_key(ask->options, i), *value = kr_meta_value(ask->options, i);
        const kr_opt *own = find(j->method->opts, key), *o = own ? own : find(table, key);
        if (!o)
            return unknown(j->method, key);
        if (o->type == KR_OPT_OUT)
            return kr_fail(KR_EUSAGE, "the option '%s' names a file to be written, which a client may not", key);
        if (o->type == KR_OPT_FILE && !(value = file_in(methods, j, key, value)))
            return kr_error_code();
        if (kr_opt_set(own ? j->method->opts : table, own ? j->opts : (void *)&j->around, o->name, value))
            return kr_fail_in("configuration");
        if (own)
            j->given = o->name;
        else
            j->maps_asked |= !strcmp(o->name, "maps") || !strcmp(o->name, "calib") || (!strcmp(o->name, "coils") && strcmp(value, kr_coils_preset.method));
    }
    const around *a = &j->around;
    if (a->maps < 1 || a->maps > 8 || a->calib < 1 || a->compress < 0)
        return kr_fail(KR_EUSAGE, "maps (1 to 8), calib and compress count something: %ld, %ld and %ld are not possible", a->maps, a->calib, a->compress);
    if (j->maps_asked && chosen && !(j->method->needs & (KR_NEEDS_COILS | KR_MAY_USE_COILS)))
        return kr_fail(KR_EUSAGE, "%s takes no coil maps, so that coils, maps and calib mean nothing to it", j->method->name);
    return 0;
}

/* Iterations of a frame where the client does not say; the first, which begins at nothing, has fifteen times as many. */
enum { STEPS = 2, FIRST = 15, SLICES_KEPT = 4096 };

static int set_frames(struct job *j, const kr_mrd_ask *ask)
{
    if (!ask->spokes)
        return 0;
    if (j->method->needs & (KR_WANTS_SERIES | KR_RAYS_ALONE))
        return kr_fail(KR_EUSAGE, "%s works on a whole series, and \"spokes\" asks for one frame after the other", j->method->name);
    j->frames = true;
    if (!(j->begun = kr_alloc_zero(SLICES_KEPT, sizeof *j->begun)))
        return kr_error_code();
    if (!find(j->method->opts, "iterations") || !j->method->follow)
        return 0;
    const char *own = kr_meta_get(ask->options, "iterations");
    j->steps = own ? strtol(own, NULL, 10) : STEPS;
    return 0;
}

static void close_job(void *p)
{
    struct job *j = p;
    kr_job_unref(&j->job);
    kr_free(j->opts);
    kr_free(j->begun);
    kr_text_clear(&j->file);
    kr_free(j);
}

static int open_all(struct job *j, const kr_mrd_methods *methods, const kr_mrd_ask *ask)
{
    bool chosen = strcasecmp(ask->name, "auto");
    j->method = kr_recon_named(chosen ? ask->name : KR_AUTO_USUAL);
    if (!j->method || !(j->opts = kr_alloc_zero(1, j->method->opts_size ? j->method->opts_size : 1)) || kr_opt_defaults(j->method->opts, j->opts)
        || kr_opt_defaults(table, &j->around) || set_options(j, methods, ask, chosen) || set_frames(j, ask))
        return kr_error_code();
    const around *a = &j->around;
    kr_job_opts how = kr_job_preset();
    how.prepare.whiten = a->whiten;
    how.prepare.oversampling = a->oversampling;
    how.prepare.coils = a->compress;
    how.prepare.compression = a->compression;
    how.prepare.ghost = a->ghost;
    how.coils.method = a->coils;
    how.coils.maps = a->maps;
    how.coils.calib[0] = how.coils.calib[1] = how.coils.calib[2] = a->calib;
    how.coils_asked = j->maps_asked;
    how.values = j->opts;
    how.given = j->given;
    j->job = kr_job_open(chosen ? j->method->name : "auto", NULL, &how);
    return j->job ? 0 : kr_error_code();
}

static int open_job(void **job, enum kr_mrd_unit *unit, void *self, const kr_mrd_ask *ask)
{
    struct job *j = kr_alloc_zero(1, sizeof *j);
    if (!j || open_all(j, self, ask)) {
        if (j)
            close_job(j);
        return kr_error_code();
    }
    if (*unit == KR_MRD_BY_METHOD)
        *unit = j->method->needs & KR_WANTS_SERIES ? KR_MRD_WHOLE : KR_MRD_BY_SLICE;
    *job = j;
    return 0;
}

/* Densities that take turns to be found would be late: spokes have a formula. */
static int weigh(struct job *j, kr_scan *s, const kr_trace *trace)
{
    kr_traj_facts f;
    if (!s->traj || s->density)
        return 0;
    if (kr_scan_trajectory(s, trace))
        return kr_error_code();
    if (!j->density) {
        if (kr_traj_describe(&f, s))
            return kr_error_code();
        j->density = f.spokes ? "ramp" : "pipe-menon";
    }
    return (s->density = kr_scan_density(s, j->density)) ? 0 : kr_error_code();
}

static int run_frame(kr_image **out, struct job *j, kr_scan *scan, long slice, const kr_trace *trace)
{
    bool known = slice >= 0 && slice < SLICES_KEPT, begun = known && j->begun[slice];
    kr_auto char *steps = kr_strf("%ld", begun ? j->steps : FIRST * j->steps);
    if (!steps || kr_scan_check(scan) || kr_job_keep(j->job, known ? (int)slice : -1))
        return kr_error_code();
    kr_job_follow(j->job, true);
    if (j->steps && kr_opt_set(j->method->opts, kr_job_values(j->job), "iterations", steps))
        return kr_error_code();
    /* What is told is told of the first. */
    if (kr_job_prepare(j->job, scan, trace) || weigh(j, scan, trace) || kr_job_image(j->job, out, scan, begun ? NULL : trace))
        return kr_error_code();
    if (known)
        j->begun[slice] = true;
    return 0;
}

static int run(kr_image **out, void *job, kr_scan *scan, long slice, const kr_trace *trace)
{
    struct job *j = job;
    *out = NULL;
    if (j->frames)
        return run_frame(out, j, scan, slice, trace);
    if (kr_scan_check(scan) || kr_job_keep(j->job, slice >= 0 && slice < SLICES_KEPT ? (int)slice : -1) || kr_job_run(j->job, out, scan, trace))
        return kr_error_code();
    return 0;
}

static bool knows(void *self, const char *name)
{
    (void)self;
    bool known = !strcasecmp(name, "auto") || kr_recon_named(name);
    kr_error_clear();
    return known;
}

static void words(void *self, kr_text *to)
{
    (void)self;
    kr_text_add(to, "auto");
    for (int i = 0; kr_recons[i]; i++)
        kr_text_add(to, ", %s", kr_recons[i]->name);
}

kr_mrd_host kr_mrd_methods_host(const kr_mrd_methods *m)
{
    return (kr_mrd_host){ .self = (void *)(uintptr_t)m, .knows = knows, .words = words, .open = open_job, .run = run, .close = close_job };
}
