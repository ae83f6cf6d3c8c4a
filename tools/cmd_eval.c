/* cmd_eval.c: kray eval: scores of reconstructions against their targets, per slice, volume and set. */
#include "judge.h"
#include "tool.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opts { const char *target, *recon, *protocol, *csv, *mask, *scale, *crop; long skip; bool json, per_slice; } opts;
static const kr_opt table[] = {
    { "target", 't', KR_OPT_FILE, offsetof(opts, target), NULL, "T", "the truth: a file, a folder or a 'pattern*'; raw data may hold it" },
    { "recon", 'r', KR_OPT_FILE, offsetof(opts, recon), NULL, "R", "what is judged: files, a folder or a 'pattern*', matched by name" },
    { "protocol", 'p', KR_OPT_TEXT, offsetof(opts, protocol), "fastmri", "NAME",
      "count as this scorer does; 'list' names them all" },
    { "per-slice", 0, KR_OPT_FLAG, offsetof(opts, per_slice), NULL, NULL, "print each slice, too (CSV and JSON always have them)" },
    { "csv", 0, KR_OPT_OUT, offsetof(opts, csv), NULL, "FILE", "write a table (- for stdout)" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON instead of text" },
    { "mask", 0, KR_OPT_FILE, offsetof(opts, mask), NULL, "FILE", "count only pixels where this image is not 0" },
    { "scale", 0, KR_OPT_CHOICE, offsetof(opts, scale), "none", "none|fit", "fit: multiply by the factor that brings the volume nearest to the target" },
    { "crop", 0, KR_OPT_CHOICE, offsetof(opts, crop), "auto", "auto|always|never",
      "crop as the protocol's own programs; auto: where they would (its raw files), and where shapes differ" },
    { "skip", 0, KR_OPT_INT, offsetof(opts, skip), "0", "N", "leave out N slices at each end" },
    KR_OPT_END };

struct volume { const char *name, *target, *recon; struct judged j; };
struct lost { const char *name; char *why; };
struct result {
    const kr_protocol *protocol;
    const opts *o;
    long volumes, lost;
    struct volume *volume;
    struct lost *lose;
    bool set, vif;                         /* one recon per target; some VIF is known */
    kr_summary summary[KR_MEASURES];
};

static bool shown(const struct result *r, int k) { return strcmp(kr_measures[k].name, "vif") || r->vif; }

/* ---- Text ---- */
static void row(kr_text *t, const struct result *r, int width, const char *name, const char *count, const double v[KR_MEASURES])
{
    kr_text_add(t, "%-*s %6s", width, name, count);
    for (int k = 0; k < KR_MEASURES; k++)
        if (shown(r, k))
            kr_text_add(t, " %11s", judge_number(v[k]));
    kr_text_add(t, "\n");
}

static void row_of(kr_text *t, const struct result *r, int width, const char *name, const char *count, const kr_score *s)
{
    double v[KR_MEASURES];
    for (int k = 0; k < KR_MEASURES; k++)
        v[k] = kr_score_get(s, k);
    row(t, r, width, name, count, v);
}

static void as_text(kr_text *t, const struct result *r)
{
    size_t width = 8;
    for (long i = 0; i < r->volumes; i++)
        width = strlen(r->volume[i].name) > width ? strlen(r->volume[i].name) : width;
    kr_text_add(t, "protocol %s: %s\n", r->protocol->name, r->protocol->summary);
    kr_text_add(t, "counts as %s\n", r->protocol->cite);
    if (r->o->mask)
        kr_text_add(t, "only where %s is not 0\n", r->o->mask);
    kr_text_add(t, "\n%-*s %6s", (int)width, "volume", "slices");
    for (int k = 0; k < KR_MEASURES; k++)
        if (shown(r, k)) {
            char label[32];
            snprintf(label, sizeof label, "%s%s%s", kr_measures[k].label, kr_measures[k].unit[0] ? " " : "", kr_measures[k].unit);
            kr_text_add(t, " %11s", label);
        }
    kr_text_add(t, "\n");
    for (long i = 0; i < r->volumes; i++) {
        const struct judged *j = &r->volume[i].j;
        char count[24];
        snprintf(count, sizeof count, "%ld", j->slices);
        row_of(t, r, (int)width, r->volume[i].name, count, &j->volume);
        for (long s = 0; r->o->per_slice && s < j->slices; s++) {
            snprintf(count, sizeof count, "%ld", s);
            row_of(t, r, (int)width, "  slice", count, &j->slice[s]);
        }
    }
    static const char *const label[] = { "mean", "sd", "95% from", "95% to" };
    for (int k = 0; r->set && k < 4; k++) {
        double v[KR_MEASURES];
        for (int m = 0; m < KR_MEASURES; m++) {
            const kr_summary *s = &r->summary[m];
            v[m] = k == 0 ? s->mean : k == 1 ? s->sd : k == 2 ? s->low : s->high;
        }
        row(t, r, (int)width, label[k], "", v);
    }
    if (r->set)
        kr_text_add(t, "(mean over %ld volumes, sample standard deviation, bootstrap interval of the mean)\n", r->volumes);
    for (long i = 0; i < r->volumes; i++) {
        const struct judged *j = &r->volume[i].j;
        if (j->crop)
            kr_text_add(t, "%s: cropped to %s as the protocol's programs do\n", r->volume[i].name, j->crop);
        if (r->o->scale[0] == 'f')
            kr_text_add(t, "%s: multiplied by %s, the least-squares scale\n", r->volume[i].name, judge_number(j->scale));
    }
}

/* ---- CSV ---- */
static void csv_word(kr_text *t, const char *s)
{
    if (!strpbrk(s, ",\"\n")) {
        kr_text_add(t, "%s", s);
        return;
    }
    kr_text_add(t, "\"");
    for (; *s; s++)
        kr_text_add(t, *s == '"' ? "\"\"" : "%c", *s);
    kr_text_add(t, "\"");
}

static void csv_row(kr_text *t, const struct result *r, const char *level, const char *name, const char *slice, const double v[KR_MEASURES])
{
    kr_text_add(t, "%s,%s,", r->protocol->name, level);
    csv_word(t, name);
    kr_text_add(t, ",%s", slice);
    for (int k = 0; k < KR_MEASURES; k++) {
        kr_text_add(t, ",");
        if (!isnan(v[k]))
            kr_text_add(t, "%.9g", v[k]);
    }
    kr_text_add(t, "\n");
}

static void as_csv(kr_text *t, const struct result *r)
{
    double v[KR_MEASURES];
    kr_text_add(t, "protocol,level,volume,slice");
    for (int k = 0; k < KR_MEASURES; k++)
        kr_text_add(t, ",%s", kr_measures[k].name);
    kr_text_add(t, "\n");
    for (long i = 0; i < r->volumes; i++) {
        const struct volume *o = &r->volume[i];
        for (long s = 0; s < o->j.slices; s++) {
            char number[24];
            snprintf(number, sizeof number, "%ld", s);
            for (int k = 0; k < KR_MEASURES; k++)
                v[k] = kr_score_get(&o->j.slice[s], k);
            csv_row(t, r, "slice", o->name, number, v);
        }
        for (int k = 0; k < KR_MEASURES; k++)
            v[k] = kr_score_get(&o->j.volume, k);
        csv_row(t, r, "volume", o->name, "", v);
    }
    static const char *const level[] = { "mean", "sd", "ci95_low", "ci95_high" };
    for (int l = 0; r->set && l < 4; l++) {
        for (int k = 0; k < KR_MEASURES; k++) {
            const kr_summary *s = &r->summary[k];
            v[k] = l == 0 ? s->mean : l == 1 ? s->sd : l == 2 ? s->low : s->high;
        }
        csv_row(t, r, level[l], "", "", v);
    }
}

/* ---- JSON: numbers that JSON cannot hold are null (undefined) or "inf" ---- */
static json_t *number(double v) { return isnan(v) ? json_null() : isinf(v) ? json_string(v > 0 ? "inf" : "-inf") : json_real(v); }

static void put_scores(json_t *o, const kr_score *s)
{
    for (int k = 0; k < KR_MEASURES; k++)
        json_object_set_new(o, kr_measures[k].name, number(kr_score_get(s, k)));
}

static json_t *volume_json(const struct volume *v)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:f}", "volume", v->name, "target", v->target, "recon", v->recon, "crop",
                          v->j.crop ? json_string(v->j.crop) : json_null(), "scale", v->j.scale);
    json_t *slices = json_array();
    put_scores(o, &v->j.volume);
    for (long i = 0; i < v->j.slices; i++) {
        json_t *s = json_pack("{s:I}", "slice", (json_int_t)i);
        put_scores(s, &v->j.slice[i]);
        json_array_append_new(slices, s);
    }
    json_object_set_new(o, "slices", slices);
    return o;
}

static void as_json(kr_text *t, const struct result *r)
{
    json_t *volumes = json_array(), *lost = json_array(), *set = r->set ? json_object() : json_null();
    for (long i = 0; i < r->volumes; i++)
        json_array_append_new(volumes, volume_json(&r->volume[i]));
    for (int k = 0; r->set && k < KR_MEASURES; k++) {
        const kr_summary *s = &r->summary[k];
        json_object_set_new(set, kr_measures[k].name, json_pack("{s:I,s:o,s:o,s:[o,o]}", "volumes", (json_int_t)s->n, "mean", number(s->mean),
                            "sd", number(s->sd), "ci95", number(s->low), number(s->high)));
    }
    for (long i = 0; i < r->lost; i++)
        json_array_append_new(lost, json_pack("{s:s,s:s}", "volume", r->lose[i].name, "why", r->lose[i].why));
    json_t *all = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "protocol", r->protocol->name, "rule", r->protocol->summary, "source",
                            r->protocol->cite, "scale", r->o->scale, "command", kr_command_line(), "kray", kr_version(), "mask",
                            r->o->mask ? json_string(r->o->mask) : json_null(), "volumes", volumes, "set", set, "failed", lost);
    char *s = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    kr_text_add(t, "%s\n", s ? s : "");
    t->failed = t->failed || !s;
    free(s);
    json_decref(all);
}

/* ---- Running ---- */
static int lose(struct result *r, const char *name, const char *why)
{
    r->lose[r->lost] = (struct lost){ name, kr_strdup(why) };
    return r->lose[r->lost++].why ? 0 : kr_error_code();
}

/* Ends the run for a single pair and for what no other pair would survive; otherwise notes the loss. */
static int go_on(struct result *r, const char *name, bool only, int e, const kr_trace *trace)
{
    if (only || e == KR_ESTOPPED || e == KR_EUSAGE || e == KR_EMEM)
        return e;
    kr_say(trace, KR_WARNING, "%s", kr_error());
    e = lose(r, name, kr_error());
    kr_error_clear();
    return e;
}

static int score_pair(struct result *r, const struct judge *rules, const char *name, const struct judge_target *t, const char *recon, const kr_trace *trace)
{
    struct volume *v = &r->volume[r->volumes];
    *v = (struct volume){ .name = name, .target = t->path, .recon = recon };
    int e = judge(&v->j, rules, t, recon, trace);
    kr_image_unref(&v->j.target);              /* the scores are all that is kept of a volume */
    kr_image_unref(&v->j.recon);
    if (e)
        judged_close(&v->j);
    else
        r->volumes++;
    return e;
}

/* One target for every reconstruction. */
static int score_each(struct result *r, const struct judge *rules, const char *target, const struct judge_files *f, const kr_trace *trace)
{
    struct judge_target t = { 0 };
    int e = judge_read(&t, target, trace);
    for (long k = 0; !e && k < f->count; k++) {
        kr_progress(trace, "scoring", (double)k, (double)f->count);
        e = kr_stopped(trace);
        if (!e && (e = score_pair(r, rules, f->at[k].name, &t, f->at[k].path, trace)))
            e = go_on(r, f->at[k].name, f->count == 1, e, trace);
    }
    judge_target_close(&t);
    return e;
}

/* Pairs by name. */
static int score_pairs(struct result *r, const struct judge *rules, const struct judge_files *t, const struct judge_files *f, const kr_trace *trace)
{
    int e = 0;
    for (long i = 0, k = 0; !e && (i < t->count || k < f->count); ) {
        int order = i == t->count ? 1 : k == f->count ? -1 : strcmp(t->at[i].name, f->at[k].name);
        kr_progress(trace, "scoring", (double)k, (double)f->count);
        if (order == 0) {
            struct judge_target one = { 0 };
            e = kr_stopped(trace);
            e = e ? e : judge_read(&one, t->at[i++].path, trace);
            e = e ? e : score_pair(r, rules, f->at[k].name, &one, f->at[k].path, trace);
            judge_target_close(&one);
            e = e ? go_on(r, f->at[k].name, false, e, trace) : 0;
            k++;
        } else {
            const char *name = order < 0 ? t->at[i++].name : f->at[k++].name;
            kr_say(trace, KR_WARNING, "%s: has no %s", name, order < 0 ? "reconstruction" : "target");
            e = lose(r, name, order < 0 ? "has no reconstruction" : "has no target");
        }
    }
    return e;
}

static int summarise(struct result *r)
{
    kr_auto double *v = kr_alloc((size_t)r->volumes + 1, sizeof *v);
    if (!v)
        return kr_error_code();
    for (int k = 0; k < KR_MEASURES; k++) {
        for (long i = 0; i < r->volumes; i++)
            v[i] = kr_score_get(&r->volume[i].j.volume, k);
        if (kr_summarise(&r->summary[k], v, r->volumes))
            return kr_error_code();
    }
    r->vif = r->summary[KR_MEASURES - 1].n > 0;
    return 0;
}

static int tell(const struct result *r)
{
    kr_text text = { 0 }, csv = { 0 };
    int e = 0;
    (r->o->json ? as_json : as_text)(&text, r);
    if (r->o->csv) {
        as_csv(&csv, r);
        e = kr_text_write(r->o->csv, &csv);
    }
    if (!e && !(r->o->csv && !strcmp(r->o->csv, "-")))
        e = kr_text_write("-", &text);
    kr_text_clear(&text);
    kr_text_clear(&csv);
    return e;
}

static int evaluate(struct result *r, const struct judge *rules, const struct judge_files *t, const struct judge_files *f, const kr_trace *trace)
{
    if (t->count != 1 && !t->many)
        return kr_fail(KR_EUSAGE, "one target is wanted");
    if (t->many && !f->many)
        return kr_fail(KR_EUSAGE, "%s is one file, but the targets are many: a folder or pattern of reconstructions is wanted", f->at[0].path);
    r->volume = kr_alloc_zero((size_t)(t->count + f->count), sizeof *r->volume);
    if (judge_may_write(r->o->csv, t) || judge_may_write(r->o->csv, f))
        return kr_error_code();
    r->lose = kr_alloc_zero((size_t)(t->count + f->count), sizeof *r->lose);
    if (!r->volume || !r->lose)
        return kr_error_code();
    int e = t->many ? score_pairs(r, rules, t, f, trace) : score_each(r, rules, t->at[0].path, f, trace);
    kr_progress(trace, "scoring", 1, 1);
    if (e || (e = summarise(r)))
        return e;
    for (long i = 0; i < r->volumes && !judge_other_units(&r->volume[i].j, r->volume[i].recon, trace); i++)
        ;                                      /* once will do */
    r->set = t->many && r->volumes > 1;
    if (r->volumes && (e = tell(r)))
        return e;
    if (!r->lost)
        return 0;
    if (r->lost > 1)
        for (long i = 0; i < r->lost; i++)
            kr_say(trace, KR_WARNING, "not scored: %s", r->lose[i].name);
    return kr_fail(KR_EREFUSED, "%ld of %ld volumes could not be scored", r->lost, r->lost + r->volumes);
}

static int list(void)
{
    for (int i = 0; kr_protocols[i]; i++)
        printf("%-14s %s\n%-14s (%s)\n", kr_protocols[i]->name, kr_protocols[i]->summary, "", kr_protocols[i]->cite);
    return 0;
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (!strcmp(o->protocol, "list"))
        return list();
    if (!o->target)
        return kr_fail(KR_EUSAGE, "what is the target? (--target FILE)");
    if (!o->recon && !files)
        return kr_fail(KR_EUSAGE, "what is to be judged? (kray eval --target T R...)");
    kr_auto char **recon = kr_alloc((size_t)files + 1, sizeof *recon);      /* --recon *.nii: the shell leaves all but one beside it */
    int recons = 0;
    if (!recon)
        return kr_error_code();
    if (o->recon)
        recon[recons++] = (char *)o->recon;
    for (int i = 0; i < files; i++)
        recon[recons++] = file[i];
    struct result r = { .protocol = kr_protocol_named(o->protocol), .o = o };
    if (!r.protocol)
        return kr_error_code();
    const struct judge rules = { r.protocol, o->scale[0] == 'f', o->crop, o->skip, o->mask };
    struct judge_files t = { 0 }, f = { 0 };
    char *target = (char *)o->target;
    int e = judge_files(&t, 1, &target);
    e = e ? e : judge_files(&f, recons, recon);
    e = e ? e : evaluate(&r, &rules, &t, &f, trace);
    for (long i = 0; i < r.volumes; i++)
        judged_close(&r.volume[i].j);
    for (long i = 0; i < r.lost; i++)
        kr_free(r.lose[i].why);
    kr_free(r.volume);
    kr_free(r.lose);
    judge_files_close(&t);
    judge_files_close(&f);
    return e;
}

const kr_tool kr_tool_eval = { "eval", "Judge", "scores against a target: SSIM, PSNR, NMSE, NRMSE, HFEN", "--target T R... [options]",
    "  kray eval --target brain.h5 --recon brain.nii.gz                       # a scan file that holds its reference\n"
    "  kray eval --target multicoil_val/ --recon out/ --csv scores.csv        # folders, matched by file name\n"
    "  kray eval --target full.nii sense.nii wavelet.nii --scale fit          # several reconstructions of one scan\n"
    "  kray eval --target gt/ --recon mine/ --protocol cmrxrecon2023 --json\n"
    "  kray eval --protocol list\n",
    table, sizeof(opts), NULL, run };
