/* report_words.c: numbers, the first words and the tables of the page. */
#include "report.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const int series_axes[SERIES_AXES] = { KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME };

/* ---- Numbers ------------------------------------------------------------------------------------------ */
const char *report_number(int measure, double v)
{
    static char text[8][32];
    static int turn;
    char *t = text[turn++ % 8];
    static const char *const form[KR_MEASURES] = { "%.4f", "%.2f", "%#.3g", "%.4f", "%.4f", "%.4f", "%.4f" };
    if (isnan(v))
        return "\xe2\x80\x93";             /* an en dash */
    if (isinf(v))
        return "\xe2\x88\x9e";
    if (measure == 2 && v >= 0.001)        /* NMSE: even digits beside each other */
        snprintf(t, sizeof text[0], "%.4f", v);
    else
        snprintf(t, sizeof text[0], form[measure], v);
    return t;
}

bool report_has(const struct report *r, int k)
{
    for (long i = 0; i < r->targets.count * r->methods; i++)
        if (r->cell[i].known && !isnan(kr_score_get(&r->cell[i].volume, k)))
            return true;
    return false;
}

int report_summary(kr_summary *s, const struct report *r, long method, int k)
{
    kr_auto double *v = kr_alloc((size_t)r->targets.count, sizeof *v);
    if (!v)
        return kr_error_code();
    for (long i = 0; i < r->targets.count; i++)
        v[i] = cell_of(r, i, method)->known ? kr_score_get(&cell_of(r, i, method)->volume, k) : (double)NAN;
    return kr_summarise(s, v, r->targets.count);
}

/* The method whose mean is best; -1: equal at the top, or only one to choose from. */
static long best_of(const struct report *r, int k, const double *mean)
{
    long best = -1, ties = 0, known = 0;
    for (long m = 0; m < r->methods; m++) {
        if (isnan(mean[m]))
            continue;
        known++;
        if (best < 0 || (kr_measures[k].higher ? mean[m] > mean[best] : mean[m] < mean[best])) {
            best = m;
            ties = 1;
        } else if (mean[m] == mean[best])
            ties++;
    }
    return known > 1 && ties == 1 ? best : -1;
}

/* ---- The first words --------------------------------------------------------------------------------- */
static int lead(kr_text *t, const struct report *r)
{
    static const int counted[] = { 0, 1, 3, 4 };         /* SSIM, PSNR, NRMSE, HFEN; NMSE says what NRMSE says */
    long winner[4], wins[MOST] = { 0 };
    for (int i = 0; i < 4; i++) {
        double mean[MOST];
        for (long m = 0; m < r->methods; m++) {
            kr_summary s;
            if (report_summary(&s, r, m, counted[i]))
                return kr_error_code();
            mean[m] = s.mean;
        }
        winner[i] = best_of(r, counted[i], mean);
        if (winner[i] >= 0)
            wins[winner[i]]++;
    }
    bool any = false;
    for (long pass = 4; pass > 0; pass--)                /* who wins most comes first */
        for (long m = 0; m < r->methods; m++) {
            if (wins[m] != pass)
                continue;
            kr_text_add(t, any ? "; <strong>" : "<p class=\"lead\"><strong>");
            page_escape(t, r->method[m].name);
            kr_text_add(t, any ? "</strong> by" : "</strong> comes nearest to the target by");
            for (int i = 0, n = 0; i < 4; i++)
                if (winner[i] == m)
                    kr_text_add(t, "%s %s", n++ == 0 ? "" : n == wins[m] ? " and" : ",", kr_measures[counted[i]].label);
            any = true;
        }
    if (any)
        kr_text_add(t, ".</p>\n");
    return 0;
}

static void fact(kr_text *t, const char *name, const char *value)
{
    kr_text_add(t, "<div><dt>%s</dt><dd>", name);
    page_escape(t, value);
    kr_text_add(t, "</dd></div>\n");
}

/* What the pictures along an axis are called. */
const char *report_one(int axis)
{
    return axis == KR_TIME || axis == KR_PHASE ? "frame" : axis == KR_ECHO ? "echo" : axis == KR_SET ? "set" : "slice";
}

static const char *many_of(int axis)
{
    return axis == KR_TIME || axis == KR_PHASE ? "Frames" : axis == KR_ECHO ? "Echoes" : axis == KR_SET ? "Sets" : "Slices";
}

/* "slice 1, frame 2": picture i in memory order of the axes after X and Y. */
void report_picture_name(char text[128], const kr_array *a, long i)
{
    int n = 0;
    text[0] = 0;
    for (int d = KR_Z; d < KR_AXES; d++) {
        if (a->n[d] > 1 && n < 100)
            n += snprintf(text + n, 128 - (size_t)n, "%s%s %ld", n ? ", " : "", report_one(d), i % a->n[d]);
        i /= a->n[d];
    }
    if (!n)
        snprintf(text, 128, "slice 0");
}

/* "sense, R = 4, equispaced:accel=4, lambda 0.005": from the provenance of a method's images; "" where they do not say. */
void report_how(kr_text *t, const struct judge_origin *o)
{
    const char *lambda = o->parameters ? strstr(o->parameters, "lambda=") : NULL;
    kr_text all = { 0 };
    if (o->method)
        kr_text_add(&all, "%s", o->method);
    if (o->acceleration)
        kr_text_add(&all, "%sR = %s", all.len ? ", " : "", o->acceleration);
    if (o->mask)
        kr_text_add(&all, "%s%s", all.len ? ", " : "", o->mask);
    if (lambda && (lambda == o->parameters || lambda[-1] == ' '))
        kr_text_add(&all, "%slambda %.*s", all.len ? ", " : "", (int)strcspn(lambda + 7, " "), lambda + 7);
    if (all.len)
        page_escape(t, all.s);
    kr_text_clear(&all);
}

int report_head(kr_text *t, const struct report *r)
{
    const char *first = r->targets.count == 1 ? volume_name(r, 0) : r->o->target;
    kr_auto char *title = r->o->title ? kr_strdup(r->o->title) : r->methods == 1 ? kr_strf("Reconstruction of %s", first) : kr_strf("%ld reconstructions of %s", r->methods, first);
    kr_auto char *count = kr_strf("%ld", r->targets.count);
    if (!title || !count)
        return kr_error_code();
    page_begin(t, title);
    kr_text_add(t, "<header>\n<p class=\"over\">Kray report</p>\n<h1>");
    page_escape(t, title);
    kr_text_add(t, "</h1>\n");
    if (lead(t, r))
        return kr_error_code();
    kr_text_add(t, "<dl class=\"facts\">\n");
    size_t n = strlen(r->o->target);
    const char *base = r->o->target + n - (n > 0 && r->o->target[n - 1] == '/');
    while (base > r->o->target && base[-1] != '/')
        base--;
    fact(t, "Target", base);
    if (r->targets.count > 1)
        fact(t, "Volumes", count);
    for (long m = 0; m < r->methods; m++)
        if (cell_of(r, 0, m)->known && r->targets.count == 1) {
            for (int a = 0; a < SERIES_AXES; a++)
                if (cell_of(r, 0, m)->pictures.n[series_axes[a]] > 1) {
                    kr_auto char *length = kr_strf("%ld", cell_of(r, 0, m)->pictures.n[series_axes[a]]);
                    fact(t, many_of(series_axes[a]), length ? length : "");
                }
            break;
        }
    fact(t, "Protocol", r->rules.protocol->name);
    fact(t, "Intensity scaling", r->rules.fit ? "least squares" : "none");
    if (r->o->mask)
        fact(t, "Region of interest", r->o->mask);
    kr_text_add(t, "</dl>\n</header>\n");
    return 0;
}

/* ---- Tables ------------------------------------------------------------------------------------------- */
static void table_head(kr_text *t, const struct report *r, const char *first)
{
    kr_text_add(t, "<p class=\"hint soft\">The table scrolls sideways.</p>\n<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">%s</th>", first);
    for (int k = 0; k < KR_MEASURES; k++)
        if (report_has(r, k))
            kr_text_add(t, "<th scope=\"col\">%s<small>%s%s</small></th>", kr_measures[k].label, kr_measures[k].higher ? "&uarr; " : "&darr; ", kr_measures[k].unit);
    kr_text_add(t, "</tr></thead>\n<tbody>\n");
}

/* scored: of how many volumes the row tells. */
static void table_name(kr_text *t, const struct report *r, long m, long scored)
{
    kr_text_add(t, "<tr><td>");
    page_mark(t, m);
    page_escape(t, r->method[m].name);
    if (scored < r->targets.count)
        kr_text_add(t, "<small class=\"failed\">%ld of %ld volumes</small>", scored, r->targets.count);
    if (r->method[m].known) {
        kr_text_add(t, "<span class=\"how\">");
        report_how(t, &r->method[m].origin);
        kr_text_add(t, "</span>");
    }
    kr_text_add(t, "</td>");
}

/* The means, with deviation and interval where there are several volumes. */
int report_means(kr_text *t, const struct report *r)
{
    kr_summary s[MOST][KR_MEASURES];
    long best[KR_MEASURES];
    for (int k = 0; k < KR_MEASURES; k++) {
        double mean[MOST];
        for (long m = 0; m < r->methods; m++) {
            if (report_summary(&s[m][k], r, m, k))
                return kr_error_code();
            mean[m] = s[m][k].mean;
        }
        best[k] = best_of(r, k, mean);
    }
    table_head(t, r, "Method");
    for (long m = 0; m < r->methods; m++) {
        long scored = 0;
        for (long v = 0; v < r->targets.count; v++)
            scored += cell_of(r, v, m)->known;
        table_name(t, r, m, scored);
        for (int k = 0; k < KR_MEASURES; k++) {
            if (!report_has(r, k))
                continue;
            kr_text_add(t, "<td%s><b>%s</b>", best[k] == m ? " class=\"best\"" : "", report_number(k, s[m][k].mean));
            if (s[m][k].n > 1)
                kr_text_add(t, "<small>&plusmn; %s<br>%s to %s</small>", report_number(k, s[m][k].sd), report_number(k, s[m][k].low), report_number(k, s[m][k].high));
            kr_text_add(t, "</td>");
        }
        kr_text_add(t, "</tr>\n");
    }
    kr_text_add(t, "</tbody></table></div>\n");
    if (r->targets.count > 1)
        kr_text_add(t, "<p class=\"soft\">Mean over the volumes, sample standard deviation, and the 95&nbsp;%% bootstrap interval of the mean.</p>\n");
    return 0;
}

void report_volumes(kr_text *t, const struct report *r)
{
    bool folded = r->targets.count > 24;                  /* a long table would hide the pictures after it */
    kr_text_add(t, folded ? "<details><summary>Each volume</summary>\n" : "<h3>Each volume</h3>\n");
    table_head(t, r, "Volume");
    for (long v = 0; v < r->targets.count; v++) {
        kr_text_add(t, "<tr class=\"group\"><td colspan=\"%d\"><strong>%ld</strong> &ensp;", KR_MEASURES + 1, v);
        page_escape(t, volume_name(r, v));
        kr_text_add(t, "</td></tr>\n");
        for (long m = 0; m < r->methods; m++) {
            const struct cell *c = cell_of(r, v, m);
            table_name(t, r, m, r->targets.count);
            if (!c->known) {
                kr_text_add(t, "<td class=\"failed\" colspan=\"%d\">not scored</td></tr>\n", KR_MEASURES);
                continue;
            }
            for (int k = 0; k < KR_MEASURES; k++)
                if (report_has(r, k))
                    kr_text_add(t, "<td>%s</td>", report_number(k, kr_score_get(&c->volume, k)));
            kr_text_add(t, "</tr>\n");
        }
    }
    kr_text_add(t, "</tbody></table></div>%s\n", folded ? "</details>" : "");
}
