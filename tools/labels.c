/* labels.c: scores of label volumes: pairs, one table per case and label, means per label and over all. */
#include "labels.h"
#include "tool.h"
#include "kray/segmenter.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct case_ { const char *name, *reference, *prediction; long set; kr_label_score *score; long labels; };
struct result {
    const struct labels_opts *o;
    const struct labels_set *set;
    kr_label_rules rules;
    long sets, cases, room, lost;
    struct case_ *at;
    kr_meta *names;                           /* "label_3": "grey matter", from whichever file says so first */
    kr_text failed;                           /* names of those that were not scored */
};

const char *labels_name(const kr_meta *m, int32_t label)
{
    char key[32];
    snprintf(key, sizeof key, "label_%d", (int)label);
    return kr_meta_get(m, key);
}

int labels_voxel(double mm[3], const char *text)
{
    char more;
    int n = sscanf(text, "%lf,%lf,%lf%c", &mm[0], &mm[1], &mm[2], &more);
    if (n == 1 && !strchr(text, ','))
        mm[1] = mm[2] = mm[0];
    else if (n != 3)
        return kr_fail(KR_EUSAGE, "--voxel %s: a size in mm, or three as X,Y,Z, are wanted", text);
    for (int d = 0; d < 3; d++)
        if (!(mm[d] > 0 && mm[d] < 1e4))
            return kr_fail(KR_EUSAGE, "--voxel %s: sizes in mm above 0 are wanted", text);
    return 0;
}

/* ---- Scoring ---- */
static int keep_names(struct result *r, const kr_meta *m)
{
    for (long i = 0; i < kr_meta_count(m); i++)
        if (!strncmp(kr_meta_key(m, i), "label_", 6) && !kr_meta_get(r->names, kr_meta_key(m, i)) && kr_meta_set(r->names, kr_meta_key(m, i), "%s", kr_meta_value(m, i)))
            return kr_error_code();
    return 0;
}

/* The labels asked for by --only, or those that occur. */
static long wanted(int32_t **list, const struct labels_opts *o, const int32_t *a, const int32_t *b, long voxels)
{
    if (!o->only)
        return kr_labels_list(list, a, b, voxels);
    long n = 0;
    *list = kr_alloc(strlen(o->only) + 1, sizeof **list);
    for (const char *p = o->only; *list && *p; n++) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',') || v < 1 || v > KR_LABEL_MOST)
            return kr_fail(KR_EUSAGE, "--only %s: label numbers with commas between them are wanted", o->only);
        (*list)[n] = (int32_t)v;
        p = *end ? end + 1 : end;
    }
    return *list ? n : kr_error_code();
}

static int score_images(struct result *r, struct case_ *c, const kr_image *ref, const kr_image *given, const kr_trace *trace)
{
    kr_turning how;
    kr_scoped(image) pred = NULL;
    double mm[3], stated[3];
    if (kr_image_turn(&pred, &how, given, ref) || kr_image_same_grid(pred, ref, c->prediction, c->reference) || keep_names(r, ref->meta) || keep_names(r, given->meta))
        return kr_error_code();
    if (given->geom->known != ref->geom->known)
        kr_say(trace, KR_WARNING, "%s does not say where its voxels lie, %s does: they are compared in the order of their files", given->geom->known ? c->reference : c->prediction,
               given->geom->known ? c->prediction : c->reference);
    long n[3], m[3];
    kr_auto int32_t *a = NULL, *b = NULL, *list = NULL;
    if (kr_labels_of(&a, n, ref))
        return kr_fail_in("%s", c->reference);
    if (kr_labels_of(&b, m, pred))
        return kr_fail_in("%s", c->prediction);
    double third = ref->data->n[KR_SLICE] > 1 || n[2] == 1 ? ref->geom->spacing_mm : 0;
    double A[16];
    if (ref->geom->known && ref->geom->fov_mm[0] > 0 && ref->geom->fov_mm[1] > 0) {
        if (kr_geom_affine(ref->geom, (long[3]){ n[0], n[1], ref->data->n[KR_Z] }, A))
            return kr_error_code();
        for (int d = 0; d < 3; d++)
            mm[d] = sqrt(A[d] * A[d] + A[4 + d] * A[4 + d] + A[8 + d] * A[8 + d]);
    } else
        for (int d = 0; d < 3; d++)
            mm[d] = d == 2 && third > 0 ? third : ref->geom->fov_mm[d] > 0 ? ref->geom->fov_mm[d] / (double)n[d] : 0;
    if (r->o->voxel) {
        if (labels_voxel(stated, r->o->voxel))
            return kr_error_code();
        for (int d = 0; d < 3; d++) {
            if (mm[d] > 0 && fabs(mm[d] / stated[d] - 1) > 1e-3)
                return kr_fail(KR_EREFUSED, "%s has voxels of %.5g mm along axis %d, not %.5g: --voxel states a size that is unknown", c->reference, mm[d], d + 1, stated[d]);
            mm[d] = stated[d];
        }
    }
    if (!(mm[0] > 0 && mm[1] > 0 && mm[2] > 0))
        return kr_fail(KR_EREFUSED, "%s does not say how large its voxels are: give --voxel X,Y,Z", c->reference);
    c->labels = wanted(&list, r->o, a, b, n[0] * n[1] * n[2]);
    if (c->labels < 0)
        return (int)c->labels;
    c->score = kr_alloc_zero((size_t)c->labels + 1, sizeof *c->score);
    if (!c->score)
        return kr_error_code();
    for (long i = 0; i < c->labels; i++)
        c->score[i].label = list[i];
    return kr_label_scores(c->score, c->labels, a, b, n, mm, &r->rules);
}

static int lose(struct result *r, const char *name, int e, const kr_trace *trace)
{
    if (e == KR_ESTOPPED || e == KR_EMEM || e == KR_EUSAGE)
        return e;
    kr_say(trace, KR_WARNING, "%s", kr_error());
    kr_text_add(&r->failed, "%s%s", r->lost++ ? ", " : "", name);
    kr_error_clear();
    return 0;
}

static int one_case(struct result *r, const char *name, long set, const kr_image *ref, const char *reference, const char *prediction,
                    const kr_trace *trace)
{
    struct case_ *c = &r->at[r->cases];
    *c = (struct case_){ .name = name, .reference = reference, .prediction = prediction, .set = set };
    kr_scoped(image) given = NULL;
    int e = kr_image_read(&given, prediction);
    e = e ? e : score_images(r, c, ref, given, trace);
    if (e)
        kr_free_at(&c->score);
    r->cases += !e;
    return e;
}

static int all_cases(struct result *r, const struct judge_files *t, const kr_trace *trace)
{
    int e = 0;
    for (long i = 0; !e && i < t->count; i++) {
        kr_progress(trace, "scoring", (double)i, (double)t->count);
        kr_scoped(image) ref = NULL;
        e = kr_stopped(trace);
        if (!e && (e = kr_image_read(&ref, t->at[i].path))) {
            if (!t->many)
                return e;
            e = lose(r, t->at[i].name, e, trace);
            continue;
        }
        for (long s = 0; !e && s < r->sets; s++) {
            const struct judge_files *f = r->set[s].files;
            for (long k = 0; !e && k < f->count; k++) {
                if (t->many && strcmp(f->at[k].name, t->at[i].name))
                    continue;
                e = one_case(r, f->at[k].name, s, ref, t->at[i].path, f->at[k].path, trace);
                if (e && (t->many || f->count > 1 || r->sets > 1))
                    e = lose(r, f->at[k].name, e, trace);
            }
            if (!e && t->many && !judge_files_named(f, t->at[i].name)) {
                kr_fail(KR_EFILE, "%s%s%s: has no segmentation", r->set[s].name ? r->set[s].name : "", r->set[s].name ? ": " : "", t->at[i].name);
                e = lose(r, t->at[i].name, KR_EFILE, trace);
            }
        }
    }
    for (long s = 0; !e && t->many && s < r->sets; s++)
        for (long k = 0; !e && k < r->set[s].files->count; k++)
            if (!judge_files_named(t, r->set[s].files->at[k].name)) {
                kr_fail(KR_EFILE, "%s: has no reference", r->set[s].files->at[k].name);
                e = lose(r, r->set[s].files->at[k].name, KR_EFILE, trace);
            }
    kr_progress(trace, "scoring", 1, 1);
    return e;
}

/* Labels that --only names, and no file holds. */
static void absent(const struct result *r, const kr_trace *trace)
{
    for (long i = 0; r->cases && i < r->at[0].labels; i++) {
        bool held = false;
        for (long c = 0; c < r->cases; c++)
            held = held || r->at[c].score[i].reference || r->at[c].score[i].prediction;
        if (!held)
            kr_say(trace, KR_WARNING, "--only %d: no file holds that label", (int)r->at[0].score[i].label);
    }
}

/* ---- Means: per label of a set (label > 0), or over all its labels and cases (0) ---- */
struct group { kr_label_mean m[KR_LABEL_MEASURES]; long scores, both_empty, missed, extra; };

static int group_of(struct group *g, const struct result *r, long set, int32_t label)
{
    long n = 0;
    for (long c = 0; c < r->cases; c++)
        n += r->at[c].labels;
    kr_auto const kr_label_score **s = kr_alloc((size_t)n + 1, sizeof *s);
    if (!s)
        return kr_error_code();
    *g = (struct group){ 0 };
    n = 0;
    for (long c = 0; c < r->cases; c++)
        for (long i = 0; r->at[c].set == set && i < r->at[c].labels; i++) {
            const kr_label_score *one = &r->at[c].score[i];
            if (label && one->label != label)
                continue;
            s[n++] = one;
            g->both_empty += !one->reference && !one->prediction;
            g->missed += one->reference && !one->prediction;
            g->extra += !one->reference && one->prediction;
        }
    g->scores = n;
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        g->m[m] = kr_label_mean_of(s, n, m);
    return 0;
}

/* The labels of a set, ascending. */
static long labels_in(int32_t **list, const struct result *r, long set)
{
    long n = 0;
    for (long c = 0; c < r->cases; c++)
        n += r->at[c].labels;
    kr_auto int32_t *all = kr_alloc_zero((size_t)n + 1, sizeof *all);
    if (!all)
        return kr_error_code();
    n = 0;
    for (long c = 0; c < r->cases; c++)
        for (long i = 0; r->at[c].set == set && i < r->at[c].labels; i++)
            all[n++] = r->at[c].score[i].label;
    return kr_labels_list(list, all, NULL, n);
}

/* ---- Text ---- */
static void head(kr_text *t, int width)
{
    kr_text_add(t, "%-*s %5s  %-18s", width, "case", "label", "name");
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        if (m != KR_VOLUME_DIFFERENCE) {
            char cell[32];
            snprintf(cell, sizeof cell, "%s%s%s", kr_label_measure_of[m].label, kr_label_measure_of[m].unit[0] ? " " : "", kr_label_measure_of[m].unit);
            kr_text_add(t, " %12s", cell);
        }
    kr_text_add(t, "\n");
}

static void cells(kr_text *t, const double *v)
{
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        if (m != KR_VOLUME_DIFFERENCE)
            kr_text_add(t, " %12s", judge_number(v[m]));
    kr_text_add(t, "\n");
}

static void note(kr_text *t, const struct group *g)
{
    if (g->missed || g->extra || g->both_empty)
        kr_text_add(t, "  of %ld: %ld missed (in the reference alone), %ld false (in the segmentation alone), %ld empty in both\n", g->scores, g->missed, g->extra, g->both_empty);
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        if (g->m[m].infinite || (g->m[m].undefined && m != KR_VOLUME_PERCENT))
            kr_text_add(t, "  %s: %ld infinite, %ld undefined; mean of the finite ones %s\n", kr_label_measure_of[m].label, g->m[m].infinite, g->m[m].undefined, judge_number(g->m[m].finite));
}

static int as_text(kr_text *t, const struct result *r)
{
    int width = 7;
    for (long c = 0; c < r->cases; c++)
        width = (int)strlen(r->at[c].name) > width ? (int)strlen(r->at[c].name) : width;
    kr_text_add(t, "surfaces: %s; NSD within %g mm\nempty masks: %s (%s)\n\n", r->rules.elements ? "elements weighted by area (as surface-distance)" : "voxels (as MONAI)",
                r->rules.tolerance_mm, r->rules.empty->name, r->rules.empty->summary);
    for (long s = 0; s < r->sets; s++) {
        kr_auto int32_t *list = NULL;
        long labels = labels_in(&list, r, s), cases = 0;
        if (labels < 0)
            return (int)labels;
        if (r->set[s].name)
            kr_text_add(t, "%s%s\n", s ? "\n" : "", r->set[s].name);
        head(t, width);
        for (long c = 0; c < r->cases; c++) {
            const struct case_ *k = &r->at[c];
            cases += k->set == s;
            for (long i = 0; k->set == s && i < k->labels; i++) {
                const char *name = labels_name(r->names, k->score[i].label);
                kr_text_add(t, "%-*s %5d  %-18.18s", width, k->name, (int)k->score[i].label, name ? name : "");
                cells(t, k->score[i].value);
            }
        }
        for (long l = 0; l <= labels; l++) {
            struct group g;
            int32_t label = l < labels ? list[l] : 0;
            if (label && cases < 2)
                continue;
            if (group_of(&g, r, s, label))
                return kr_error_code();
            double v[KR_LABEL_MEASURES];
            for (int m = 0; m < KR_LABEL_MEASURES; m++)
                v[m] = g.m[m].mean;
            const char *name = label ? labels_name(r->names, label) : "all labels";
            char number[16] = "";
            if (label)
                snprintf(number, sizeof number, "%d", (int)label);
            kr_text_add(t, "%-*s %5s  %-18.18s", width, "mean", number, name ? name : "");
            cells(t, v);
            note(t, &g);
        }
    }
    return 0;
}

/* ---- CSV ---- */
static void word(kr_text *t, const char *s)
{
    bool quote = s && strpbrk(s, ",\"\n\r"), formula = s && *s && strchr("=+-@\t\r", *s);
    kr_text_add(t, ",%s%s", quote || formula ? "\"" : "", formula ? "'" : "");
    for (; s && *s; s++)
        kr_text_add(t, *s == '"' ? "\"\"" : "%c", *s);
    kr_text_add(t, quote || formula ? "\"" : "");
}

static void csv_row(kr_text *t, const struct result *r, const char *level, long set, const char *name, int32_t label, const double *v, const char *counts)
{
    kr_text_add(t, "%s", level);
    word(t, r->set[set].name);
    word(t, name);
    kr_text_add(t, label ? ",%d" : ",", (int)label);
    word(t, label ? labels_name(r->names, label) : "");
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        kr_text_add(t, isnan(v[m]) ? "," : ",%.9g", v[m]);
    kr_text_add(t, ",%s,%s,%g", r->rules.empty->name, r->rules.elements ? "surface-distance" : "monai", r->rules.tolerance_mm);
    kr_text_add(t, ",%s\n", counts);
}

static int as_csv(kr_text *t, const struct result *r)
{
    char counts[128];
    kr_text_add(t, "level,set,case,label,name");
    for (int m = 0; m < KR_LABEL_MEASURES; m++)
        kr_text_add(t, ",%s", kr_label_measure_of[m].name);
    kr_text_add(t, ",empty_rule,surface,tolerance_mm,scores,missed,false,empty_in_both,infinite_hd95,undefined_hd95\n");
    for (long s = 0; s < r->sets; s++) {
        for (long c = 0; c < r->cases; c++)
            for (long i = 0; r->at[c].set == s && i < r->at[c].labels; i++) {
                const kr_label_score *k = &r->at[c].score[i];
                snprintf(counts, sizeof counts, "1,%d,%d,%d,%d,%d", k->reference && !k->prediction, !k->reference && k->prediction, !k->reference && !k->prediction,
                         isinf(k->value[KR_HD95]) != 0, isnan(k->value[KR_HD95]) != 0);
                csv_row(t, r, "label", s, r->at[c].name, k->label, k->value, counts);
            }
        kr_auto int32_t *list = NULL;
        long labels = labels_in(&list, r, s);
        if (labels < 0)
            return (int)labels;
        for (long l = 0; l <= labels; l++) {
            struct group g;
            if (group_of(&g, r, s, l < labels ? list[l] : 0))
                return kr_error_code();
            double mean[KR_LABEL_MEASURES], sd[KR_LABEL_MEASURES], finite[KR_LABEL_MEASURES];
            for (int m = 0; m < KR_LABEL_MEASURES; m++) {
                mean[m] = g.m[m].mean;
                sd[m] = g.m[m].sd;
                finite[m] = g.m[m].finite;
            }
            snprintf(counts, sizeof counts, "%ld,%ld,%ld,%ld,%ld,%ld", g.scores, g.missed, g.extra, g.both_empty, g.m[KR_HD95].infinite, g.m[KR_HD95].undefined);
            csv_row(t, r, "mean", s, "", l < labels ? list[l] : 0, mean, counts);
            csv_row(t, r, "sd", s, "", l < labels ? list[l] : 0, sd, counts);
            csv_row(t, r, "mean_finite", s, "", l < labels ? list[l] : 0, finite, counts);
        }
    }
    return 0;
}

/* ---- JSON ---- */
static json_t *label_json(const struct result *r, int32_t label)
{
    return label ? json_pack("{s:i,s:o}", "label", (int)label, "name", json_words(labels_name(r->names, label))) : json_pack("{s:n}", "label");
}

static int set_json(json_t *o, const struct result *r, long s)
{
    json_t *cases = json_array(), *means = json_array();
    json_object_update_new(o, json_pack("{s:o,s:s,s:s,s:s,s:f,s:o,s:s}", "name", json_words(r->set[s].name), "empty_rule", r->rules.empty->name, "empty_rule_text",
                           r->rules.empty->summary, "surface", r->rules.elements ? "surface-distance" : "monai", "tolerance_mm", r->rules.tolerance_mm, "command",
                           json_words(kr_command_line()), "kray", kr_version()));
    for (long c = 0; c < r->cases; c++) {
        const struct case_ *k = &r->at[c];
        if (k->set != s)
            continue;
        json_t *one = json_pack("{s:o,s:o,s:o}", "case", json_words(k->name), "target", json_words(k->reference), "recon", json_words(k->prediction)), *labels = json_array();
        for (long i = 0; i < k->labels; i++) {
            json_t *l = label_json(r, k->score[i].label);
            json_object_update_new(l, json_pack("{s:I,s:I}", "voxels_reference", (json_int_t)k->score[i].reference, "voxels", (json_int_t)k->score[i].prediction));
            for (int m = 0; m < KR_LABEL_MEASURES; m++)
                json_object_set_new(l, kr_label_measure_of[m].name, json_number(k->score[i].value[m]));
            json_array_append_new(labels, l);
        }
        json_object_set_new(one, "labels", labels);
        json_array_append_new(cases, one);
    }
    kr_auto int32_t *list = NULL;
    long labels = labels_in(&list, r, s);
    int e = labels < 0 ? (int)labels : 0;
    for (long l = 0; !e && l <= labels; l++) {
        struct group g;
        json_t *one = label_json(r, l < labels ? list[l] : 0);
        e = group_of(&g, r, s, l < labels ? list[l] : 0);
        json_object_update_new(one, json_pack("{s:I,s:I,s:I,s:I}", "scores", (json_int_t)g.scores, "missed", (json_int_t)g.missed, "false", (json_int_t)g.extra, "empty_in_both", (json_int_t)g.both_empty));
        for (int m = 0; !e && m < KR_LABEL_MEASURES; m++)
            json_object_set_new(one, kr_label_measure_of[m].name, json_pack("{s:I,s:o,s:o,s:o,s:I,s:I}", "n", (json_int_t)g.m[m].n, "mean", json_number(g.m[m].mean), "sd",
                                json_number(g.m[m].sd), "mean_finite", json_number(g.m[m].finite), "infinite", (json_int_t)g.m[m].infinite, "undefined", (json_int_t)g.m[m].undefined));
        json_array_append_new(means, one);
    }
    json_object_set_new(o, "cases", cases);
    json_object_set_new(o, "means", means);
    json_object_set_new(o, "failed", r->lost ? json_words(r->failed.s) : json_null());
    return e;
}

static int tell(const struct result *r, struct answer *a)
{
    kr_text text = { 0 }, csv = { 0 };
    int e = 0;
    if (r->o->csv) {
        e = as_csv(&csv, r);
        e = e ? e : kr_text_write(r->o->csv, &csv);
    }
    if (a->list)
        for (long s = 0; !e && s < r->sets; s++)
            e = set_json(s ? answer_add(a, NULL) : a->last, r, s);
    else if (!e && !(r->o->csv && !strcmp(r->o->csv, "-"))) {
        e = as_text(&text, r);
        e = e ? e : kr_text_write("-", &text);
    }
    kr_text_clear(&text);
    kr_text_clear(&csv);
    return e;
}

int labels_evaluate(const struct labels_opts *o, const struct judge_files *reference, const struct labels_set *set, long sets, struct answer *a)
{
    struct result r = { .o = o, .set = set, .sets = sets, .rules = { kr_empty_rule_named(o->empty), !strcmp(o->surface, "surface-distance"), o->tolerance_mm } };
    if (!r.rules.empty)
        return kr_error_code();
    if (!(o->tolerance_mm >= 0 && isfinite(o->tolerance_mm)))
        return kr_fail(KR_EUSAGE, "--tolerance %g: a distance in mm, 0 or above, is wanted", o->tolerance_mm);
    int e = judge_may_write(o->csv, reference);
    for (long s = 0; !e && s < sets; s++) {
        const struct judge_files *f = set[s].files;
        e = judge_may_write(o->csv, f);
        r.room += f->count;
        if (!e && reference->many && !f->many)
            e = access(f->at[0].path, F_OK) ? kr_fail(KR_EFILE, "%s: there is no such file or folder", f->at[0].path)
              : kr_fail(KR_EUSAGE, "%s is one file, but the references are many: a folder or pattern of segmentations is wanted", f->at[0].path);
    }
    r.at = e ? NULL : kr_alloc_zero((size_t)r.room + 1, sizeof *r.at);
    r.names = e ? NULL : kr_meta_new();
    e = e ? e : r.at && r.names ? 0 : kr_error_code();
    answer_add(a, NULL);                       /* to which warnings go */
    e = e ? e : all_cases(&r, reference, &a->trace);
    if (!e && o->only)
        absent(&r, &a->trace);
    if (!e && (r.cases || a->list))
        e = tell(&r, a);
    if (!e && r.lost)
        e = kr_fail(KR_EREFUSED, "%ld of %ld cases could not be scored: %s", r.lost, r.lost + r.cases, r.failed.s ? r.failed.s : "");
    for (long c = 0; r.at && c < r.cases; c++)
        kr_free(r.at[c].score);
    kr_free(r.at);
    kr_meta_unref(&r.names);
    kr_text_clear(&r.failed);
    return e;
}
