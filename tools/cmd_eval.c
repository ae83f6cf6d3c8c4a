/* cmd_eval.c: kray eval: scores of reconstructions against their targets, per slice, volume and set; of several named sets
 * in one table. */
#include "guess.h"
#include "json.h"
#include "judge.h"
#include "labels.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct opts {
    const char *target, *recon, *protocol, *csv, *mask, *scale, *crop, *empty, *surface, *voxel, *only;
    long skip;
    double tolerance;
    const char *weights;
    bool json, per_slice, labels, reference;
} opts;
static const kr_opt table[] = {
    { "target", 't', KR_OPT_FILE, offsetof(opts, target), NULL, "T", "reference: a file, a folder or a 'pattern*'; raw data may hold it" },
    { "recon", 'r', KR_OPT_FILE, offsetof(opts, recon), NULL, "R", "reconstructions: files, a folder or a 'pattern*', matched by relative path; NAME=R names a set" },
    { "protocol", 'p', KR_OPT_TEXT, offsetof(opts, protocol), "fastmri", "NAME", "scoring protocol; 'list' shows all" },
    { "per-slice", 0, KR_OPT_FLAG, offsetof(opts, per_slice), NULL, NULL, "also print each slice (CSV and JSON always have them)" },
    { "csv", 0, KR_OPT_OUT, offsetof(opts, csv), NULL, "FILE", "write a table (- for stdout)" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON instead of text" },
    { "mask", 0, KR_OPT_FILE, offsetof(opts, mask), NULL, "FILE", "score only pixels where this image is not 0" },
    { "scale", 0, KR_OPT_CHOICE, offsetof(opts, scale), "none", "none|fit", "fit: scale each volume to its target by least squares" },
    { "crop", 0, KR_OPT_CHOICE, offsetof(opts, crop), "auto", "auto|always|never",
      "crop as the protocol's own program; auto: for its raw files, and where shapes differ" },
    { "skip", 0, KR_OPT_INT, offsetof(opts, skip), "0", "N", "leave out N slices at each end" },
    { "labels", 'l', KR_OPT_FLAG, offsetof(opts, labels), NULL, NULL, "the files are segmentations: Dice, volumes and surface distances per label" },
    { "reference", 0, KR_OPT_FLAG, offsetof(opts, reference), "on", NULL, "score against a target; --no-reference: SSIM of images against themselves without motion, as a network guesses it" },
    { "weights", 'w', KR_OPT_FILE, offsetof(opts, weights), NULL, "FILE", "with --no-reference: weights of the network ssim; default: those that come with Kray" },
    { "tolerance", 0, KR_OPT_REAL, offsetof(opts, tolerance), "1", "MM", "of labels: tolerance of the normalised surface Dice" },
    { "surface", 0, KR_OPT_CHOICE, offsetof(opts, surface), "monai", "monai|surface-distance",
      "of labels: surfaces are border voxels (monai), or elements weighted by area (surface-distance)" },
    { "empty", 0, KR_OPT_TEXT, offsetof(opts, empty), "strict", "RULE", "of labels: what counts where a label is missing: strict, monai, monai-all, surface-distance or brats" },
    { "only", 0, KR_OPT_TEXT, offsetof(opts, only), NULL, "N,N", "of labels: only these (default: all that occur)" },
    { "voxel", 0, KR_OPT_TEXT, offsetof(opts, voxel), NULL, "X,Y,Z", "of labels: voxel size in mm where the files do not say" },
    KR_OPT_END };

struct volume { const char *name, *target, *recon; long column; struct judged j; struct judge_origin origin; };
struct lost { char *name; char *why; long column; };
struct column { char *name; struct judge_files files; long scored; kr_summary summary[KR_MEASURES]; struct judge_origin origin; };
struct result {
    const kr_protocol *protocol;
    const opts *o;
    struct column *column;                 /* one without a name, or named ones */
    long columns, volumes, lost, room;
    struct volume *volume;
    struct lost *lose;
    bool set, known[KR_MEASURES];          /* several targets; of which measures some values are known */
};

static bool shown(const struct result *r, int k) { return r->known[k]; }
static bool named(const struct result *r) { return r->column[0].name != NULL; }

/* ---- Text ---- */
/* "name: volume"; in a buffer that lasts until the next call. */
static const char *label_of(const struct result *r, const struct volume *v)
{
    static char text[512];
    if (!named(r))
        return v->name;
    snprintf(text, sizeof text, "%s: %s", r->column[v->column].name, v->name);
    return text;
}

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

static void columns_head(kr_text *t, const struct result *r, int width)
{
    for (int k = 0; k < KR_MEASURES; k++)
        if (shown(r, k)) {
            char label[32];
            snprintf(label, sizeof label, "%s%s%s", kr_measures[k].label, kr_measures[k].unit[0] ? " " : "", kr_measures[k].unit);
            kr_text_add(t, " %*s", width, label);
        }
    kr_text_add(t, "\n");
}

/* Mean and deviation of each name, with what is known of how it was made. */
static void study(kr_text *t, const struct result *r)
{
    size_t width[4] = { 4, 6, 1, 4 };                 /* name, method, R, mask */
    for (long c = 0; c < r->columns; c++) {
        const struct judge_origin *o = &r->column[c].origin;
        const char *cell[4] = { r->column[c].name, o->method, o->acceleration, o->mask };
        for (int i = 0; i < 4; i++)
            width[i] = cell[i] && strlen(cell[i]) > width[i] ? strlen(cell[i]) : width[i];
    }
    kr_text_add(t, "\n%-*s  %-*s  %-*s  %-*s  %7s", (int)width[0], "name", (int)width[1], "method", (int)width[2], "R", (int)width[3], "mask", "volumes");
    columns_head(t, r, 21);
    for (long c = 0; c < r->columns; c++) {
        const struct column *u = &r->column[c];
        const struct judge_origin *o = &u->origin;
        kr_text_add(t, "%-*s  %-*s  %-*s  %-*s  %7ld", (int)width[0], u->name, (int)width[1], o->method ? o->method : "-", (int)width[2],
                    o->acceleration ? o->acceleration : "-", (int)width[3], o->mask ? o->mask : "-", u->scored);
        for (int k = 0; k < KR_MEASURES; k++)
            if (shown(r, k)) {
                char cell[64];
                int used = snprintf(cell, sizeof cell, "%s", judge_number(u->summary[k].mean));
                if (u->summary[k].n > 1 && !isnan(u->summary[k].sd))
                    used += snprintf(cell + used, sizeof cell - (size_t)used, " \xc2\xb1 %.2g", u->summary[k].sd) - 1;   /* two bytes, one letter */
                kr_text_add(t, " %*s%s", used < 21 ? 21 - used : 0, "", cell);
            }
        kr_text_add(t, "\n");
    }
    kr_text_add(t, r->set ? "(mean \xc2\xb1 sample standard deviation over the volumes)\n" : "");
}

static void means(kr_text *t, const struct result *r, int width)
{
    static const char *const label[] = { "mean", "sd", "95% from", "95% to" };
    for (int k = 0; k < 4; k++) {
        double v[KR_MEASURES];
        for (int m = 0; m < KR_MEASURES; m++) {
            const kr_summary *s = &r->column[0].summary[m];
            v[m] = k == 0 ? s->mean : k == 1 ? s->sd : k == 2 ? s->low : s->high;
        }
        row(t, r, width, label[k], "", v);
    }
    kr_text_add(t, "(mean over %ld volumes, sample standard deviation, bootstrap interval of the mean)\n", r->volumes);
}

static void as_text(kr_text *t, const struct result *r)
{
    size_t width = 8;
    for (long i = 0; i < r->volumes; i++)
        width = strlen(label_of(r, &r->volume[i])) > width ? strlen(label_of(r, &r->volume[i])) : width;
    kr_text_add(t, "protocol %s: %s\n", r->protocol->name, r->protocol->summary);
    kr_text_add(t, "as in %s\n", r->protocol->cite);
    if (r->o->mask)
        kr_text_add(t, "only where %s is not 0\n", r->o->mask);
    kr_text_add(t, "\n%-*s %6s", (int)width, "volume", "slices");
    columns_head(t, r, 11);
    for (long i = 0; i < r->volumes; i++) {
        const struct judged *j = &r->volume[i].j;
        char count[24];
        snprintf(count, sizeof count, "%ld", j->slices);
        row_of(t, r, (int)width, label_of(r, &r->volume[i]), count, &j->volume);
        for (long s = 0; r->o->per_slice && s < j->slices; s++) {
            snprintf(count, sizeof count, "%ld", s);
            row_of(t, r, (int)width, "  slice", count, &j->slice[s]);
        }
    }
    if (named(r))
        study(t, r);
    else if (r->set && r->volumes > 1)
        means(t, r, (int)width);
    for (long i = 0; i < r->volumes; i++) {
        const struct judged *j = &r->volume[i].j;
        if (j->crop)
            kr_text_add(t, "%s: cropped to %s as the protocol's programs do\n", label_of(r, &r->volume[i]), j->crop);
        if (r->o->scale[0] == 'f')
            kr_text_add(t, "%s: multiplied by %s, the least-squares scale\n", label_of(r, &r->volume[i]), judge_number(j->scale));
    }
}

/* ---- CSV ---- */
static void csv_row(kr_text *t, const struct result *r, const char *level, const char *volume, const char *slice, const double v[KR_MEASURES],
                    const char *name, const struct judge_origin *o)
{
    kr_text_add(t, "%s,%s,", r->protocol->name, level);
    judge_cell(t, volume);
    kr_text_add(t, ",%s", slice);
    for (int k = 0; k < KR_MEASURES; k++) {
        kr_text_add(t, ",");
        if (!isnan(v[k]))
            kr_text_add(t, "%.9g", v[k]);
    }
    const char *more[] = { name, o->method, o->acceleration, o->mask, o->parameters };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        kr_text_add(t, ",");
        judge_cell(t, more[i]);
    }
    kr_text_add(t, "\n");
}

static void as_csv(kr_text *t, const struct result *r)
{
    double v[KR_MEASURES];
    kr_text_add(t, "protocol,level,volume,slice");
    for (int k = 0; k < KR_MEASURES; k++)
        kr_text_add(t, ",%s", kr_measures[k].name);
    kr_text_add(t, ",name,method,acceleration,mask,parameters\n");
    for (long i = 0; i < r->volumes; i++) {
        const struct volume *o = &r->volume[i];
        const char *name = r->column[o->column].name;
        for (long s = 0; s < o->j.slices; s++) {
            char number[24];
            snprintf(number, sizeof number, "%ld", s);
            for (int k = 0; k < KR_MEASURES; k++)
                v[k] = kr_score_get(&o->j.slice[s], k);
            csv_row(t, r, "slice", o->name, number, v, name, &o->origin);
        }
        for (int k = 0; k < KR_MEASURES; k++)
            v[k] = kr_score_get(&o->j.volume, k);
        csv_row(t, r, "volume", o->name, "", v, name, &o->origin);
    }
    static const char *const level[] = { "mean", "sd", "ci95_low", "ci95_high" };
    for (long c = 0; r->set && c < r->columns; c++)
        for (int l = 0; r->column[c].scored > 1 && l < 4; l++) {
            for (int k = 0; k < KR_MEASURES; k++) {
                const kr_summary *s = &r->column[c].summary[k];
                v[k] = l == 0 ? s->mean : l == 1 ? s->sd : l == 2 ? s->low : s->high;
            }
            csv_row(t, r, level[l], "", "", v, r->column[c].name, &r->column[c].origin);
        }
}

/* ---- JSON ---- */
static void put_scores(json_t *o, const kr_score *s)
{
    for (int k = 0; k < KR_MEASURES; k++)
        json_object_set_new(o, kr_measures[k].name, json_number(kr_score_get(s, k)));
}

static void put_origin(json_t *o, const struct judge_origin *from)
{
    json_object_set_new(o, "method", json_words(from->method));
    char *end = NULL;
    double r = from->acceleration ? strtod(from->acceleration, &end) : 0;
    json_object_set_new(o, "acceleration", r > 0 && !*end ? json_real(r) : json_words(from->acceleration));
    json_object_set_new(o, "mask", json_words(from->mask));
    json_object_set_new(o, "parameters", json_words(from->parameters));
}

static json_t *volume_json(const struct volume *v)
{
    json_t *o = json_pack("{s:o,s:o,s:o,s:o,s:o,s:f}", "volume", json_words(v->name), "target", json_words(v->target), "recon", json_words(v->recon),
                          "turned", json_words(v->j.turned), "crop", json_words(v->j.crop), "scale", v->j.scale);
    json_t *slices = json_array();
    put_origin(o, &v->origin);
    put_scores(o, &v->j.volume);
    for (long i = 0; i < v->j.slices; i++) {
        json_t *s = json_pack("{s:I}", "slice", (json_int_t)i);
        put_scores(s, &v->j.slice[i]);
        json_array_append_new(slices, s);
    }
    json_object_set_new(o, "slices", slices);
    return o;
}

static void column_json(json_t *o, const struct result *r, long c)
{
    const struct column *u = &r->column[c];
    json_t *volumes = json_array(), *lost = json_array(), *set = r->set && u->scored > 1 ? json_object() : json_null();
    json_object_update_new(o, json_pack("{s:o,s:s,s:s,s:s,s:s,s:o,s:s,s:o}", "name", json_words(u->name), "protocol", r->protocol->name, "rule",
                           r->protocol->summary, "source", r->protocol->cite, "scale", r->o->scale, "command", json_words(kr_command_line()), "kray",
                           kr_version(), "region", json_words(r->o->mask)));
    put_origin(o, &u->origin);
    for (long i = 0; i < r->volumes; i++)
        if (r->volume[i].column == c)
            json_array_append_new(volumes, volume_json(&r->volume[i]));
    for (int k = 0; json_is_object(set) && k < KR_MEASURES; k++) {
        const kr_summary *s = &u->summary[k];
        json_object_set_new(set, kr_measures[k].name, json_pack("{s:I,s:o,s:o,s:[o,o]}", "volumes", (json_int_t)s->n, "mean", json_number(s->mean),
                            "sd", json_number(s->sd), "ci95", json_number(s->low), json_number(s->high)));
    }
    for (long i = 0; i < r->lost; i++)
        if (r->lose[i].column == c)
            json_array_append_new(lost, json_pack("{s:o,s:o}", "volume", json_words(r->lose[i].name), "error", json_words(r->lose[i].why)));
    json_object_set_new(o, "volumes", volumes);
    json_object_set_new(o, "set", set);
    json_object_set_new(o, "failed", lost);
}

/* ---- Running ---- */
static int lose(struct result *r, long column, const char *name, const char *why)
{
    r->lose[r->lost] = (struct lost){ kr_strdup(name), kr_strdup(why), column };
    r->lost++;
    return r->lose[r->lost - 1].why && r->lose[r->lost - 1].name ? 0 : kr_error_code();
}

/* Ends the run for a single pair and for what no other pair would survive; otherwise notes the loss. */
static int go_on(struct result *r, long column, const char *name, bool only, int e, const kr_trace *trace)
{
    if (only || e == KR_ESTOPPED || e == KR_EMEM)
        return e;
    kr_say(trace, KR_WARNING, "%s", kr_error());
    e = lose(r, column, name, kr_error());
    kr_error_clear();
    return e;
}

static int score_pair(struct result *r, const struct judge *rules, long column, const char *name, const struct judge_target *t, const char *recon,
                      const kr_trace *trace)
{
    struct volume *v = &r->volume[r->volumes];
    *v = (struct volume){ .name = name, .target = t->path, .recon = recon, .column = column };
    int e = judge(&v->j, rules, t, recon, trace);
    if (!e)
        e = judge_origin(&v->origin, v->j.recon->meta);
    kr_image_unref(&v->j.target);              /* the scores are all that is kept of a volume */
    kr_image_unref(&v->j.recon);
    if (e) {
        judged_close(&v->j);
        judge_origin_close(&v->origin);
        return e;
    }
    if (!r->column[column].scored++ ? judge_origin_copy(&r->column[column].origin, &v->origin) : judge_origin_join(&r->column[column].origin, &v->origin))
        e = kr_error_code();
    r->volumes++;
    return e;
}

/* One target for every reconstruction. */
static int score_each(struct result *r, const struct judge *rules, const char *target, const kr_trace *trace)
{
    struct judge_target t = { 0 };
    int e = judge_read(&t, target, trace);
    bool only = r->columns == 1 && r->column[0].files.count == 1;
    for (long c = 0; !e && c < r->columns; c++) {
        const struct judge_files *f = &r->column[c].files;
        for (long k = 0; !e && k < f->count; k++) {
            kr_progress(trace, "scoring", (double)(r->volumes + r->lost), (double)r->room);
            e = kr_stopped(trace);
            if (!e && (e = score_pair(r, rules, c, f->at[k].name, &t, f->at[k].path, trace)))
                e = go_on(r, c, f->at[k].name, only, e, trace);
        }
    }
    judge_target_close(&t);
    return e;
}

/* Pairs by name: each target is read once for all that are scored by it. */
static int score_pairs(struct result *r, const struct judge *rules, const struct judge_files *t, const kr_trace *trace)
{
    int e = 0;
    for (long i = 0; !e && i < t->count; i++) {
        struct judge_target one = { 0 };
        kr_progress(trace, "scoring", (double)i, (double)t->count);
        e = kr_stopped(trace);
        bool unread = false, read = false;
        for (long c = 0; !e && c < r->columns; c++) {
            const char *path = judge_files_named(&r->column[c].files, t->at[i].name);
            if (!path) {
                kr_say(trace, KR_WARNING, "%s%s%s: has no reconstruction", named(r) ? r->column[c].name : "", named(r) ? ": " : "", t->at[i].name);
                e = lose(r, c, t->at[i].name, "has no reconstruction");
                continue;
            }
            int bad = 0;
            if (!read) {
                read = true;
                bad = judge_read(&one, t->at[i].path, trace);
                unread = bad != 0;
            } else if (unread)
                bad = kr_fail(KR_EREFUSED, "%s: the target cannot be read", t->at[i].name);
            bad = bad ? bad : score_pair(r, rules, c, t->at[i].name, &one, path, trace);
            e = bad ? go_on(r, c, t->at[i].name, false, bad, trace) : 0;
        }
        judge_target_close(&one);
    }
    for (long c = 0; !e && c < r->columns; c++)
        for (long k = 0; !e && k < r->column[c].files.count; k++)
            if (!judge_files_named(t, r->column[c].files.at[k].name)) {
                kr_say(trace, KR_WARNING, "%s: has no target", r->column[c].files.at[k].name);
                e = lose(r, c, r->column[c].files.at[k].name, "has no target");
            }
    return e;
}

static int summarise(struct result *r)
{
    kr_auto double *v = kr_alloc((size_t)r->volumes + 1, sizeof *v);
    if (!v)
        return kr_error_code();
    for (long c = 0; c < r->columns; c++)
        for (int k = 0; k < KR_MEASURES; k++) {
            long n = 0;
            for (long i = 0; i < r->volumes; i++)
                if (r->volume[i].column == c)
                    v[n++] = kr_score_get(&r->volume[i].j.volume, k);
            if (kr_summarise(&r->column[c].summary[k], v, n))
                return kr_error_code();
            r->known[k] |= r->column[c].summary[k].n > 0;
        }
    return 0;
}

static int tell(const struct result *r, struct answer *a)
{
    kr_text text = { 0 }, csv = { 0 };
    int e = 0;
    if (r->o->csv) {
        as_csv(&csv, r);
        e = kr_text_write(r->o->csv, &csv);
    }
    if (a->list)
        for (long c = 0; c < r->columns; c++)
            column_json(c ? answer_add(a, NULL) : a->last, r, c);
    else if (!e && !(r->o->csv && !strcmp(r->o->csv, "-"))) {
        as_text(&text, r);
        e = kr_text_write("-", &text);
    }
    kr_text_clear(&text);
    kr_text_clear(&csv);
    return e;
}

static int evaluate(struct result *r, const struct judge *rules, const struct judge_files *t, struct answer *a)
{
    const kr_trace *trace = &a->trace;
    if (t->count != 1 && !t->many)
        return kr_fail(KR_EUSAGE, "one target is wanted");
    r->room = 0;
    for (long c = 0; c < r->columns; c++) {
        const struct judge_files *f = &r->column[c].files;
        if (t->many && !f->many && access(f->at[0].path, F_OK))
            return kr_fail(KR_EFILE, "%s: there is no such file or folder", f->at[0].path);
        if (t->many && !f->many)
            return kr_fail(KR_EUSAGE, "%s is one file, but the targets are many: a folder or pattern of reconstructions is wanted", f->at[0].path);
        if (judge_may_write(r->o->csv, f))
            return kr_error_code();
        r->room += t->count + f->count;
    }
    if (judge_may_write(r->o->csv, t))
        return kr_error_code();
    r->volume = kr_alloc_zero((size_t)r->room, sizeof *r->volume);
    r->lose = kr_alloc_zero((size_t)r->room, sizeof *r->lose);
    if (!r->volume || !r->lose)
        return kr_error_code();
    answer_add(a, NULL);                       /* to which warnings go */
    int e = t->many ? score_pairs(r, rules, t, trace) : score_each(r, rules, t->at[0].path, trace);
    kr_progress(trace, "scoring", 1, 1);
    if (e || (e = summarise(r)))
        return e;
    for (long i = 0; i < r->volumes && !judge_other_units(&r->volume[i].j, r->volume[i].recon, trace); i++)
        ;                                      /* once will do */
    r->set = t->many;
    if ((r->volumes || a->list) && (e = tell(r, a)))
        return e;
    if (!r->lost)
        return 0;
    if (r->lost > 1)
        for (long i = 0; i < r->lost; i++)
            kr_say(trace, KR_WARNING, "not scored: %s", r->lose[i].name);
    return kr_fail(KR_EREFUSED, "%ld of %ld volumes could not be scored", r->lost, r->lost + r->volumes);
}

/* Whether each word is a folder that holds targets' names of its own: sets, which the words then name. 0, 1, or a refusal. */
static int sets_of(const struct judge_files *t, int words, char **word)
{
    int sets = words > 1;
    for (int i = 0; sets > 0 && i < words; i++) {
        struct judge_files f = { 0 };
        int e = judge_files(&f, 1, &word[i]);
        long k = 0;
        while (k < f.count && !judge_files_named(t, f.at[k].name))
            k++;
        sets = e ? e : f.many && k < f.count;
        judge_files_close(&f);
    }
    return sets;
}

/* NAME=R words are a set each, and so are folders side by side; other words without a name are one set together. */
static int columns_of(struct result *r, const struct judge_files *t, int words, char **word)
{
    int with = 0;
    for (int i = 0; i < words; i++)
        with += judge_named(word[i]) > 0;
    if (with && with < words)
        return kr_fail(KR_EUSAGE, "some reconstructions have a name and some have none; write NAME=R for all");
    int sets = with ? 0 : sets_of(t, words, word);
    if (sets < 0)
        return sets;
    with = sets ? words : with;
    r->column = kr_alloc_zero((size_t)(with ? with : 1), sizeof *r->column);
    if (!r->column)
        return kr_error_code();
    r->columns = 1;
    if (!with)
        return judge_files(&r->column[0].files, words, word);
    for (r->columns = 0; r->columns < with; ) {
        struct column *u = &r->column[r->columns];
        size_t n = judge_named(word[r->columns]);
        char *path = word[r->columns] + (n ? n + 1 : 0);
        u->name = n ? kr_strf("%.*s", (int)n, path - n - 1) : kr_strdup(path);
        r->columns++;                          /* from here on closed with the others, also after a refusal */
        if (!u->name)
            return kr_error_code();
        for (const struct column *v = r->column; v < u; v++)
            if (!strcmp(v->name, u->name))
                return kr_fail(KR_EUSAGE, "two sets of reconstructions are called %s", u->name);
        if (judge_files(&u->files, 1, &path))
            return kr_error_code();
    }
    return 0;
}

static void close_result(struct result *r)
{
    for (long i = 0; i < r->volumes; i++) {
        judged_close(&r->volume[i].j);
        judge_origin_close(&r->volume[i].origin);
    }
    for (long i = 0; i < r->lost; i++) {
        kr_free(r->lose[i].name);
        kr_free(r->lose[i].why);
    }
    for (long c = 0; r->column && c < r->columns; c++) {
        kr_free(r->column[c].name);
        judge_files_close(&r->column[c].files);
        judge_origin_close(&r->column[c].origin);
    }
    kr_free(r->column);
    kr_free(r->volume);
    kr_free(r->lose);
}

/* Options of pictures mean nothing for labels, and those of labels nothing for pictures. */
static int fitting(const opts *o)
{
    const char *wrong = o->labels ? o->mask ? "--mask" : o->scale[0] == 'f' ? "--scale" : o->crop[1] != 'u' ? "--crop" : o->skip ? "--skip" : o->per_slice ? "--per-slice"
                                  : strcmp(o->protocol, "fastmri") ? "--protocol" : NULL
                      : o->only ? "--only" : o->voxel ? "--voxel" : strcmp(o->empty, "strict") ? "--empty" : strcmp(o->surface, "monai") ? "--surface"
                                  : o->tolerance < 1 || o->tolerance > 1 ? "--tolerance" : NULL;
    if (o->weights)
        return kr_fail(KR_EUSAGE, "--weights are those of the network of --no-reference");
    return wrong ? kr_fail(KR_EUSAGE, o->labels ? "%s is for images, not for --labels" : "%s is for segmentations: it wants --labels", wrong) : 0;
}

static int evaluate_labels(struct result *r, const struct judge_files *t, struct answer *a)
{
    const opts *o = r->o;
    if (t->count != 1 && !t->many)
        return kr_fail(KR_EUSAGE, "one target is wanted");
    struct labels_opts how = { .empty = o->empty, .surface = o->surface, .csv = o->csv, .voxel = o->voxel, .only = o->only, .tolerance_mm = o->tolerance };
    kr_auto struct labels_set *set = kr_alloc((size_t)r->columns, sizeof *set);
    for (long c = 0; set && c < r->columns; c++)
        set[c] = (struct labels_set){ r->column[c].name, &r->column[c].files };
    return set ? labels_evaluate(&how, t, set, r->columns, a) : kr_error_code();
}

/* What is to be scored. --recon *.nii: the shell leaves all but one beside it. */
static char **words_of(int *words, const opts *o, int files, char **file)
{
    char **word = kr_alloc((size_t)files + 1, sizeof *word);
    *words = 0;
    if (word && o->recon)
        word[(*words)++] = (char *)o->recon;
    for (int i = 0; word && i < files; i++)
        word[(*words)++] = file[i];
    return word;
}

/* Without a target. */
static int guess(const opts *o, int files, char **file, const kr_trace *trace)
{
    const char *wrong = o->target ? "--target" : o->labels ? "--labels" : o->mask ? "--mask" : o->scale[0] == 'f' ? "--scale" : o->crop[1] != 'u' ? "--crop" : o->only ? "--only" : o->voxel ? "--voxel"
                      : strcmp(o->protocol, "fastmri") ? "--protocol" : strcmp(o->empty, "strict") ? "--empty" : strcmp(o->surface, "monai") ? "--surface"
                      : o->tolerance < 1 || o->tolerance > 1 ? "--tolerance" : NULL;
    if (wrong)
        return kr_fail(KR_EUSAGE, "%s is for scores against a target, not for --no-reference", wrong);
    if (o->json && o->csv && !strcmp(o->csv, "-"))
        return kr_fail(KR_EUSAGE, "--csv - and --json would both be written to stdout; name a file for the CSV");
    int words;
    kr_auto char **word = words_of(&words, o, files, file);
    if (!word)
        return kr_error_code();
    if (!words)
        return kr_fail(KR_EUSAGE, "what is to be judged? (kray eval --no-reference IMAGE...)");
    struct judge_files f = { 0 };
    struct answer a;
    answer_begin(&a, o->json, trace);
    int e = judge_files(&f, words, word);
    e = e ? e : guess_evaluate(&(struct guess_opts){ o->weights, o->csv, o->skip, o->per_slice }, &f, &a);
    if (e)
        answer_failed(&a);
    e = answer_end(&a, e);
    judge_files_close(&f);
    return e;
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (!o->reference)
        return guess(o, files, file, trace);
    if (fitting(o))
        return kr_error_code();
    if (!strcmp(o->protocol, "list"))
        return judge_list();
    if (!o->target)
        return kr_fail(KR_EUSAGE, "what is the target? (--target FILE)");
    if (!o->recon && !files)
        return kr_fail(KR_EUSAGE, "what is to be scored? (kray eval --target T R..., or NAME=R...)");
    if (o->json && o->csv && !strcmp(o->csv, "-"))
        return kr_fail(KR_EUSAGE, "--csv - and --json would both be written to stdout; name a file for the CSV");
    int recons;
    kr_auto char **recon = words_of(&recons, o, files, file);
    if (!recon)
        return kr_error_code();
    struct result r = { .protocol = kr_protocol_named(o->protocol), .o = o };
    if (!r.protocol)
        return kr_error_code();
    const struct judge rules = { r.protocol, o->scale[0] == 'f', o->crop, o->skip, o->mask };
    struct judge_files t = { 0 };
    struct answer a;
    char *target = (char *)o->target;
    answer_begin(&a, o->json, trace);
    int e = judge_files(&t, 1, &target);
    e = e ? e : columns_of(&r, &t, recons, recon);
    e = e ? e : o->labels ? evaluate_labels(&r, &t, &a) : evaluate(&r, &rules, &t, &a);
    if (e)
        answer_failed(&a);
    e = answer_end(&a, e);
    close_result(&r);
    judge_files_close(&t);
    return e;
}

const kr_tool kr_tool_eval = { "eval", "Evaluate", "scores against a target: SSIM, PSNR, NMSE, NRMSE, HFEN; of segmentations: Dice, surface distances", "--target T [NAME=]R... [options]",
    "  kray eval --target brain.h5 --recon brain.nii.gz                       # a scan file that holds its reference\n"
    "  kray eval --target multicoil_val/ --recon out/ --csv scores.csv        # folders, matched by relative path\n"
    "  kray eval --target multicoil_val/ sense=out/sense l1=out/l1 --csv all.csv   # one table for a study\n"
    "  kray eval --target full.nii sense.nii wavelet.nii --scale fit          # several reconstructions of one scan\n"
    "  kray eval --target gt/ --recon mine/ --protocol cmrxrecon2023\n"
    "  kray eval --target full.nii sense.nii --json | jq '.[].volumes[] | {volume, ssim, psnr}'\n"
    "  kray eval --protocol list\n"
    "  kray eval --no-reference out/                                            # how far each image is from itself without motion\n"
    "  kray eval --labels --target reference/ kray=out/ other=theirs/ --csv dice.csv   # segmentations: Dice, HD95, NSD per label\n",
    table, sizeof(opts), NULL, run };
