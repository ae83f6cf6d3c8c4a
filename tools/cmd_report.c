/* cmd_report.c: kray report: reconstructions beside their target, with error maps, scores and plots, in one HTML file. */
#include "json.h"
#include "judge.h"
#include "page.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct opts { const char *output, *target, *protocol, *title, *slices, *mask, *scale, *crop; long show, skip; double error; bool json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, output), "report.html", "FILE", "the HTML page" },
    { "target", 't', KR_OPT_FILE, offsetof(opts, target), NULL, "T", "reference: a file, a folder or a 'pattern*'; raw data may hold it" },
    { "protocol", 'p', KR_OPT_TEXT, offsetof(opts, protocol), "fastmri", "NAME", "scoring protocol; 'list' shows all" },
    { "title", 0, KR_OPT_TEXT, offsetof(opts, title), NULL, "TEXT", "title of the page" },
    { "show", 0, KR_OPT_INT, offsetof(opts, show), "3", "N", "number of slices shown of a volume, evenly spaced" },
    { "slices", 0, KR_OPT_TEXT, offsetof(opts, slices), NULL, "A,B,...", "show these slices, counted from 0" },
    { "error", 0, KR_OPT_REAL, offsetof(opts, error), "5", "X", "gain of the error maps: their window is that of the images / X" },
    { "mask", 0, KR_OPT_FILE, offsetof(opts, mask), NULL, "FILE", "score only pixels where this image is not 0" },
    { "scale", 0, KR_OPT_CHOICE, offsetof(opts, scale), "none", "none|fit", "fit: scale each volume to its target by least squares" },
    { "crop", 0, KR_OPT_CHOICE, offsetof(opts, crop), "auto", "auto|always|never", "crop as the protocol's own program (see kray eval)" },
    { "skip", 0, KR_OPT_INT, offsetof(opts, skip), "0", "N", "leave out N slices at each end" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "also print the means as JSON" },
    KR_OPT_END };

enum { MOST = PAGE_STYLES, FULLY_SHOWN = 4 };       /* methods on a page; volumes of which all are shown */
struct method { char *name; struct judge_files files; struct judge_origin origin; bool known; };
struct cell { kr_score volume, *slice; long slices; kr_shape pictures; char *why; bool known; };   /* pictures: axes after X and Y */
static const int series_axes[] = { KR_Z, KR_SLICE, KR_ECHO, KR_PHASE, KR_SET, KR_TIME };
enum { SERIES_AXES = sizeof series_axes / sizeof *series_axes };   /* one volume by one method */
struct report {
    const opts *o;
    struct judge rules;
    struct judge_files targets;
    struct method method[MOST];
    long methods, failed;
    struct cell *cell;                     /* [volume * methods + method] */
    long *shown, shows;                    /* volumes with pictures        */
    kr_text pictures, origins;
    long pieces;                           /* numbers for ids in the page  */
};

static struct cell *cell_of(const struct report *r, long volume, long method) { return &r->cell[volume * r->methods + method]; }
static const char *volume_name(const struct report *r, long v) { return r->targets.at[v].name; }

/* ---- Numbers ------------------------------------------------------------------------------------------ */
static const char *short_number(int measure, double v)
{
    static char text[8][32];
    static int turn;
    char *t = text[turn++ % 8];
    static const char *const form[KR_MEASURES] = { "%.4f", "%.2f", "%#.3g", "%.4f", "%.4f", "%.4f" };
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

static bool has_measure(const struct report *r, int k)
{
    for (long i = 0; i < r->targets.count * r->methods; i++)
        if (r->cell[i].known && !isnan(kr_score_get(&r->cell[i].volume, k)))
            return true;
    return false;
}

static int summary_of(kr_summary *s, const struct report *r, long method, int k)
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
            if (summary_of(&s, r, m, counted[i]))
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
static const char *one_of(int axis)
{
    return axis == KR_TIME || axis == KR_PHASE ? "frame" : axis == KR_ECHO ? "echo" : axis == KR_SET ? "set" : "slice";
}

static const char *many_of(int axis)
{
    return axis == KR_TIME || axis == KR_PHASE ? "Frames" : axis == KR_ECHO ? "Echoes" : axis == KR_SET ? "Sets" : "Slices";
}

/* "slice 1, frame 2": picture i in memory order of the axes after X and Y. */
static void picture_name(char text[128], const kr_array *a, long i)
{
    int n = 0;
    text[0] = 0;
    for (int d = KR_Z; d < KR_AXES; d++) {
        if (a->n[d] > 1 && n < 100)
            n += snprintf(text + n, 128 - (size_t)n, "%s%s %ld", n ? ", " : "", one_of(d), i % a->n[d]);
        i /= a->n[d];
    }
    if (!n)
        snprintf(text, 128, "slice 0");
}

/* "sense, R = 4, equispaced:accel=4, lambda 0.005": from the provenance of a method's images; "" where they do not say. */
static void how_made(kr_text *t, const struct judge_origin *o)
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

static int head(kr_text *t, const struct report *r)
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
        if (has_measure(r, k))
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
        how_made(t, &r->method[m].origin);
        kr_text_add(t, "</span>");
    }
    kr_text_add(t, "</td>");
}

/* The means, with deviation and interval where there are several volumes. */
static int table_of_means(kr_text *t, const struct report *r)
{
    kr_summary s[MOST][KR_MEASURES];
    long best[KR_MEASURES];
    for (int k = 0; k < KR_MEASURES; k++) {
        double mean[MOST];
        for (long m = 0; m < r->methods; m++) {
            if (summary_of(&s[m][k], r, m, k))
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
            if (!has_measure(r, k))
                continue;
            kr_text_add(t, "<td%s><b>%s</b>", best[k] == m ? " class=\"best\"" : "", short_number(k, s[m][k].mean));
            if (s[m][k].n > 1)
                kr_text_add(t, "<small>&plusmn; %s<br>%s to %s</small>", short_number(k, s[m][k].sd), short_number(k, s[m][k].low), short_number(k, s[m][k].high));
            kr_text_add(t, "</td>");
        }
        kr_text_add(t, "</tr>\n");
    }
    kr_text_add(t, "</tbody></table></div>\n");
    if (r->targets.count > 1)
        kr_text_add(t, "<p class=\"soft\">Mean over the volumes, sample standard deviation, and the 95&nbsp;%% bootstrap interval of the mean.</p>\n");
    return 0;
}

static void table_of_volumes(kr_text *t, const struct report *r)
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
                if (has_measure(r, k))
                    kr_text_add(t, "<td>%s</td>", short_number(k, kr_score_get(&c->volume, k)));
            kr_text_add(t, "</tr>\n");
        }
    }
    kr_text_add(t, "</tbody></table></div>%s\n", folded ? "</details>" : "");
}

/* ---- Plots -------------------------------------------------------------------------------------------- */
static const char *const *names_of(const struct report *r, const char *name[MOST])
{
    for (long m = 0; m < r->methods; m++)
        name[m] = r->method[m].name;
    return name;
}

/* The mean of a measure over those pictures that stand at `at` along an axis. */
static double mean_at(const struct cell *c, int axis, long at, int measure)
{
    double sum = 0;
    long n = 0, inner = 1;
    for (int d = KR_Z; d < axis; d++)
        inner *= c->pictures.n[d];
    for (long i = 0; i < c->slices; i++) {
        double v = kr_score_get(&c->slice[i], measure);
        if (i / inner % c->pictures.n[axis] == at && isfinite(v)) {
            sum += v;
            n++;
        }
    }
    return n ? sum / (double)n : (double)NAN;
}

/* SSIM, PSNR and NRMSE along an axis of one volume; axis -1: per volume of a set. */
static int plots_along(kr_text *t, const struct report *r, int axis, long count, bool others)
{
    static const int drawn[] = { 0, 1, 3 };
    const char *name[MOST], *what = axis < 0 ? "volume" : one_of(axis);
    kr_auto double *v = kr_alloc((size_t)(count * r->methods), sizeof *v);
    if (!v)
        return kr_error_code();
    kr_text_add(t, "<h2>%c%s by %s</h2>\n", what[0] - 32, what + 1, what);
    if (others)
        kr_text_add(t, "<p class=\"soft\">Means over all pictures of each %s.</p>\n", what);
    page_legend(t, names_of(r, name), r->methods);
    kr_text_add(t, "<div class=\"plots\">\n");
    for (int d = 0; d < 3; d++) {
        int k = drawn[d];
        for (long m = 0; m < r->methods; m++)
            for (long i = 0; i < count; i++) {
                const struct cell *c = cell_of(r, axis < 0 ? i : 0, m);
                v[m * count + i] = !c->known || (axis >= 0 && i >= c->pictures.n[axis]) ? (double)NAN
                                 : axis < 0 ? kr_score_get(&c->volume, k) : mean_at(c, axis, i, k);
            }
        char title[48];
        snprintf(title, sizeof title, "%s%s%s", kr_measures[k].label, kr_measures[k].unit[0] ? ", " : "", kr_measures[k].unit);
        const struct page_plot p = { title, kr_measures[k].higher ? "higher is better" : "lower is better", what, r->methods, count, name, v, axis >= 0 };
        page_plot(t, &p);
    }
    kr_text_add(t, "</div>\n");
    return 0;
}

static int plots(kr_text *t, const struct report *r)
{
    if (r->targets.count > 1)
        return plots_along(t, r, -1, r->targets.count, false);
    const struct cell *c = NULL;
    int axes = 0, e = 0;
    for (long m = 0; m < r->methods; m++)
        if (cell_of(r, 0, m)->known && (!c || cell_of(r, 0, m)->slices > c->slices))
            c = cell_of(r, 0, m);
    for (int a = 0; c && a < SERIES_AXES; a++)
        axes += c->pictures.n[series_axes[a]] > 1;
    for (int a = 0; c && !e && a < SERIES_AXES; a++)
        if (c->pictures.n[series_axes[a]] > 1)
            e = plots_along(t, r, series_axes[a], c->pictures.n[series_axes[a]], axes > 1);
    return e;
}

/* ---- Pictures ------------------------------------------------------------------------------------------ */
/* Picture number i of an image, in memory order of the axes after X and Y. */
static kr_array *slice_of(const kr_array *a, long i)
{
    kr_array *s = kr_array_ref(a);
    for (int d = KR_Z; s && d < KR_AXES; d++) {
        kr_array *one = kr_array_at(s, d, i % a->n[d]);
        i /= a->n[d];
        kr_array_unref(&s);
        s = one;
    }
    return s;
}

struct look { const kr_geom *geom; double high, error, aspect, width_mm; kr_view view; };      /* width_mm 0: unknown */

static int draw(kr_text *t, const kr_array *a, const struct look *l, double high, enum kr_palette palette)
{
    long grid[2];
    kr_picture *p = kr_picture_draw(a, l->geom, 0, high, palette, 1, grid);
    int e = p ? page_picture(t, p) : kr_error_code();
    kr_picture_unref(&p);
    return e;
}

/* The letter of the patient's side that a direction (LPS) points to. */
static char side(const double d[3], bool against)
{
    int k = fabs(d[2]) >= fabs(d[0]) && fabs(d[2]) >= fabs(d[1]) ? 2 : fabs(d[1]) >= fabs(d[0]) ? 1 : 0;
    return (d[k] > 0) != against ? "LPS"[k] : "RAI"[k];
}

/* Letters at the edges, where the geometry is known, and a bar of round length. */
static void put_marks(kr_text *t, const struct look *l)
{
    if (l->geom->known && l->view.right <= KR_Y && l->view.down <= KR_Y) {
        const double *right = l->view.right == KR_X ? l->geom->read_dir : l->geom->phase_dir, *down = l->view.down == KR_X ? l->geom->read_dir : l->geom->phase_dir;
        kr_text_add(t, "<span class=\"o l\">%c</span><span class=\"o r\">%c</span><span class=\"o t\">%c</span><span class=\"o b\">%c</span>",
                    side(right, !l->view.flip_right), side(right, l->view.flip_right), side(down, !l->view.flip_down), side(down, l->view.flip_down));
    }
    if (l->width_mm > 0) {
        double ten = pow(10, floor(log10(0.3 * l->width_mm))), m = 0.3 * l->width_mm / ten, mm = ten * (m < 2 ? 1 : m < 5 ? 2 : 5);
        kr_text_add(t, "<span class=\"bar\" style=\"width:%.2f%%\">%g mm</span>", 100 * mm / l->width_mm, mm);
    }
}

static int put_image(kr_text *t, const kr_array *a, const struct look *l, double high, enum kr_palette palette, const char *alt, const char *of, bool flip)
{
    kr_text_add(t, "<div class=\"pic%s\"%s><img style=\"aspect-ratio:%.4f\" alt=\"", flip ? " flip" : "", flip ? " tabindex=\"0\"" : "", l->aspect);
    page_escape(t, alt);
    page_escape(t, of);
    kr_text_add(t, "\" src=\"");
    if (draw(t, a, l, high, palette))
        return kr_error_code();
    kr_text_add(t, "\">");
    if (!flip && !*of)                                   /* the target has the marks for all */
        put_marks(t, l);
    kr_text_add(t, "</div>\n");
    return 0;
}

static int put_target(kr_text *t, struct report *r, const kr_array *a, const struct look *l)
{
    char high[32], error[32], caption[64];
    snprintf(high, sizeof high, "%.3g", l->high);
    snprintf(error, sizeof error, "%.3g", l->high / l->error);
    snprintf(caption, sizeof caption, "error, gain %g", l->error);
    kr_text_add(t, "<div class=\"cell\"><h4>Target</h4>\n");
    if (put_image(t, a, l, l->high, KR_GREY, "Target", "", false))
        return kr_error_code();
    page_scale(t, KR_GREY, "image", "0", high, r->pieces++);
    page_scale(t, KR_HOT, caption, "0", error, r->pieces++);
    kr_text_add(t, "</div>\n");
    return 0;
}

static int put_recon(kr_text *t, struct report *r, long m, const struct judged *j, long s, const struct look *l)
{
    kr_scoped(array) target = slice_of(j->target->data, s);
    kr_scoped(array) recon = slice_of(j->recon->data, s);
    kr_scoped(array) error = recon ? kr_array_copy(recon) : NULL;
    if (!target || !error)
        return kr_error_code();
    kr_axpy(error, -1, target);
    kr_text_add(t, "<div class=\"cell\"><h4>");
    page_mark(t, m);
    page_escape(t, r->method[m].name);
    kr_text_add(t, "</h4>\n");
    if (put_image(t, recon, l, l->high, KR_GREY, "Reconstruction ", r->method[m].name, true) ||
        put_image(t, error, l, l->high / l->error, KR_HOT, "Error of ", r->method[m].name, false))
        return kr_error_code();
    kr_text_add(t, "<p>SSIM&nbsp;%s &ensp;%s&nbsp;dB &ensp;NRMSE&nbsp;%s", short_number(0, j->slice[s].ssim), short_number(1, j->slice[s].psnr),
                short_number(3, j->slice[s].nrmse));
    kr_text_add(t, "<span class=\"how\">");
    how_made(t, &r->method[m].origin);
    kr_text_add(t, "</span></p></div>\n");
    return 0;
}

static int show_slice(struct report *r, const struct judged *j, const long *ok, long s, const struct look *l)
{
    kr_text *t = &r->pictures;
    const struct judged *one = NULL;
    long cells = 1;
    for (long m = 0; m < r->methods; m++)
        if (ok[m]) {
            one = one ? one : &j[m];
            cells++;
        }
    long id = r->pieces++, across = cells > 6 ? (cells + 1) / 2 : cells;
    kr_scoped(array) target = slice_of(one->target->data, s);
    if (!target)
        return kr_error_code();
    char what[128], where[64] = "";
    const kr_array *a = one->target->data;
    const kr_geom *g = one->target->geom;
    picture_name(what, a, s);
    long n = a->n[KR_Z] > 1 ? 1 : a->n[KR_SLICE], at = s / (a->n[KR_Z] > 1 ? a->n[KR_Z] : 1) % (n > 0 ? n : 1);
    if (g->known && a->n[KR_Z] == 1 && at < g->slices) {
        const double *d = g->slice_dir, *p = g->position_mm[at];
        int k = fabs(d[2]) >= fabs(d[0]) && fabs(d[2]) >= fabs(d[1]) ? 2 : fabs(d[1]) >= fabs(d[0]) ? 1 : 0;
        snprintf(where, sizeof where, " at %c %.1f mm", p[k] >= 0 ? "LPS"[k] : "RAI"[k], fabs(p[k]));
    }
    kr_text_add(t, "<style>#s%ld{--n:%ld;--t:url(", id, across);      /* the target once more, for turning a picture into it */
    if (draw(t, target, l, l->high, KR_GREY))
        return kr_error_code();
    kr_text_add(t, ")}</style>\n<figure id=\"s%ld\"><figcaption>%c%s%s</figcaption>\n<div class=\"cells\">\n", id, what[0] - 32, what + 1, where);
    if (put_target(t, r, target, l))
        return kr_error_code();
    for (long m = 0; m < r->methods; m++)
        if (ok[m] && put_recon(t, r, m, &j[m], s, l))
            return kr_error_code();
    kr_text_add(t, "</div></figure>\n");
    return 0;
}

/* Which slices: as asked, or spread evenly, each in the middle of its share. */
static int choose_slices(long **slice, long *count, const opts *o, long slices)
{
    long n = o->show < 1 ? 1 : o->show > slices ? slices : o->show;
    if (o->slices) {
        n = 1;
        for (const char *p = o->slices; *p; p++)
            n += *p == ',';
    }
    *slice = kr_alloc((size_t)n, sizeof **slice);
    if (!*slice)
        return kr_error_code();
    *count = n;
    const char *p = o->slices;
    for (long i = 0; i < n; i++) {
        char *end = NULL;
        (*slice)[i] = p ? strtol(p, &end, 10) : (2 * i + 1) * slices / (2 * n);
        if (p && (end == p || (*end && *end != ',') || (*slice)[i] < 0 || (*slice)[i] >= slices))
            return kr_fail(KR_EUSAGE, "--slices %s: slices are numbers from 0 to %ld, separated by commas", o->slices, slices - 1);
        p = p && end ? end + (*end == ',') : NULL;
    }
    return 0;
}

static int look_of(struct look *l, const struct report *r, const struct judged *j)
{
    const kr_geom *geom = j->target->geom->known ? j->target->geom : j->recon->geom;
    kr_error_clear();
    kr_scoped(array) s = slice_of(j->target->data, 0);
    kr_view v;
    *l = (struct look){ .geom = geom, .high = kr_picture_level(j->target->data, 0.995), .error = r->o->error, .aspect = 1 };
    if (!s || kr_error_code())                           /* without memory the level is another one */
        return kr_error_code();
    if (l->high <= 0)
        l->high = kr_max_abs(j->target->data);
    kr_view_of(&v, s, geom);
    double w = (double)s->n[v.right], h = (double)s->n[v.down];
    if (v.right <= KR_Z && v.down <= KR_Z && j->voxel_mm[v.right] > 0 && j->voxel_mm[v.down] > 0) {
        w *= j->voxel_mm[v.right];
        h *= j->voxel_mm[v.down];
    }
    l->aspect = w / h;
    l->view = v;
    l->width_mm = v.right <= KR_Z && j->voxel_mm[v.right] > 0 && geom->known ? (double)s->n[v.right] * j->voxel_mm[v.right] : 0;
    return 0;
}

static void origin_row(kr_text *t, const char *name, const char *value)
{
    kr_text_add(t, "<dt>");
    page_escape(t, name);
    kr_text_add(t, "</dt><dd><code>");
    page_escape(t, value);
    kr_text_add(t, "</code></dd>\n");
}

/* Where an image came from: its file, its numbers as compared, and what the file says of itself. */
static int origin(struct report *r, const char *title, const char *volume, const char *path, const kr_image *im, const struct judged *j, bool recon)
{
    kr_text *t = &r->origins;
    kr_scoped(array) packed = kr_array_packed(im->data);
    char hex[65];
    if (!packed)
        return kr_error_code();
    kr_digest(packed->data, (size_t)kr_count(kr_array_shape(packed)) * sizeof(float), hex);
    kr_text_add(t, "<section class=\"origin\"><h3>");
    page_escape(t, title);
    if (r->targets.count > 1) {
        kr_text_add(t, " <span class=\"soft\">of ");
        page_escape(t, volume);
        kr_text_add(t, "</span>");
    }
    kr_text_add(t, "</h3><dl class=\"defs\">\n");
    origin_row(t, "file", path);
    origin_row(t, "as compared", kr_shape_text(kr_array_shape(im->data)));
    if (recon && j->turned)
        origin_row(t, "turned into the patient's frame", j->turned);
    if (j->crop)
        origin_row(t, "cropped to", j->crop);
    if (recon && j->scale != 1)
        origin_row(t, "multiplied by", judge_number(j->scale));
    origin_row(t, "SHA-256 of the magnitudes", hex);
    for (long i = 0; i < kr_meta_count(im->meta); i++)
        origin_row(t, kr_meta_key(im->meta, i), kr_meta_value(im->meta, i));
    kr_text_add(t, "</dl></section>\n");
    return 0;
}

static int show_volume(struct report *r, long volume, const struct judged *j, const long *ok)
{
    const struct judged *one = NULL;
    for (long m = 0; m < r->methods && !one; m++)
        one = ok[m] ? &j[m] : NULL;
    if (!one)
        return 0;
    kr_auto long *slice = NULL;
    long count = 0;
    if (choose_slices(&slice, &count, r->o, one->slices))
        return kr_error_code();
    struct look l;
    if (look_of(&l, r, one))
        return kr_error_code();
    if (r->targets.count > 1) {
        kr_text_add(&r->pictures, "<h3>");
        page_escape(&r->pictures, volume_name(r, volume));
        kr_text_add(&r->pictures, "</h3>\n");
    }
    for (long i = 0; i < count; i++)
        if (show_slice(r, j, ok, slice[i], &l))
            return kr_error_code();
    if (origin(r, "Target", volume_name(r, volume), r->targets.at[volume].path, one->target, one, false))
        return kr_error_code();
    for (long m = 0; m < r->methods; m++) {
        const struct judge_files *f = &r->method[m].files;
        for (long i = 0; ok[m] && i < f->count; i++)
            if ((!r->targets.many || !strcmp(f->at[i].name, volume_name(r, volume))) &&
                origin(r, r->method[m].name, volume_name(r, volume), f->at[i].path, j[m].recon, &j[m], true))
                return kr_error_code();
    }
    return 0;
}

/* ---- Scoring ------------------------------------------------------------------------------------------- */
static const char *recon_of(const struct report *r, long volume, long m)
{
    const struct judge_files *f = &r->method[m].files;
    if (!r->targets.many)
        return f->at[0].path;
    for (long i = 0; i < f->count; i++)
        if (!strcmp(f->at[i].name, volume_name(r, volume)))
            return f->at[i].path;
    return NULL;
}

static int note_failure(struct report *r, struct cell *c, long volume, long m, const kr_trace *trace)
{
    kr_say(trace, KR_WARNING, "%s, %s: %s", volume_name(r, volume), r->method[m].name, kr_error());
    c->why = kr_strdup(kr_error());
    r->failed++;
    kr_error_clear();
    return c->why ? 0 : kr_error_code();
}

/* What all images of a method share of how they were made. */
static int note_origin(struct method *m, const kr_meta *meta)
{
    struct judge_origin o;
    int e = judge_origin(&o, meta);
    if (!e)
        e = m->known ? judge_origin_join(&m->origin, &o) : judge_origin_copy(&m->origin, &o);
    m->known = true;
    judge_origin_close(&o);
    return e;
}

/* Judges one volume by all methods; keeps the scores the first time, draws where `show`. */
static int judge_volume(struct report *r, long volume, bool first, bool show, const kr_trace *trace)
{
    struct judge_target t = { 0 };
    struct judged j[MOST] = { { 0 } };
    long ok[MOST] = { 0 };
    bool alone = r->targets.count == 1 && r->methods == 1;
    int e = kr_stopped(trace), unread = e ? 0 : judge_read(&t, r->targets.at[volume].path, trace);
    if (unread && r->targets.count == 1)
        e = unread;
    for (long m = 0; !e && m < r->methods; m++) {
        struct cell *c = cell_of(r, volume, m);
        const char *path = recon_of(r, volume, m);
        int bad = unread ? kr_fail(KR_EREFUSED, "the target cannot be read")
                : !path ? kr_fail(KR_EFILE, "there is no such reconstruction") : judge(&j[m], &r->rules, &t, path, first ? trace : NULL);
        if (bad && (alone || bad == KR_EUSAGE || bad == KR_EMEM || bad == KR_ESTOPPED))
            e = bad;
        else if (bad)
            e = first ? note_failure(r, c, volume, m, trace) : (kr_error_clear(), 0);
        else if (first) {
            *c = (struct cell){ j[m].volume, j[m].slice, j[m].slices, kr_array_shape(j[m].target->data), NULL, true };
            e = note_origin(&r->method[m], j[m].recon->meta);
            judge_other_units(&j[m], path, trace);
            ok[m] = 1;
        } else
            ok[m] = 1;
    }
    if (!e && show)
        e = show_volume(r, volume, j, ok);
    for (long m = 0; m < r->methods; m++) {
        if (first && ok[m])
            j[m].slice = NULL;                           /* the cell has them now */
        judged_close(&j[m]);
    }
    judge_target_close(&t);
    return e;
}

struct rank { double ssim; long volume; };
static int by_ssim(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    return x->ssim != y->ssim ? (x->ssim > y->ssim) - (x->ssim < y->ssim) : (x->volume > y->volume) - (x->volume < y->volume);
}

/* Of many volumes, the worst, the middle and the best by SSIM, averaged over the methods. */
static int choose_volumes(struct report *r)
{
    long n = 0;
    kr_auto struct rank *rank = kr_alloc((size_t)r->targets.count, sizeof *rank);
    if (!rank)
        return kr_error_code();
    for (long v = 0; v < r->targets.count; v++) {
        double sum = 0, count = 0;
        for (long m = 0; m < r->methods; m++)
            if (cell_of(r, v, m)->known) {
                sum += cell_of(r, v, m)->volume.ssim;
                count++;
            }
        if (count > 0)
            rank[n++] = (struct rank){ sum / count, v };
    }
    qsort(rank, (size_t)n, sizeof *rank, by_ssim);
    const long at[] = { 0, n / 2, n - 1 };
    for (int i = 0; i < 3 && n; i++)
        if (i == 0 || at[i] != at[i - 1])
            r->shown[r->shows++] = rank[at[i]].volume;
    return 0;
}

static int judge_all(struct report *r, const kr_trace *trace)
{
    bool few = r->targets.count <= FULLY_SHOWN;
    long known = 0;
    for (long v = 0; v < r->targets.count; v++) {
        kr_progress(trace, "scoring", (double)v, (double)r->targets.count);
        if (judge_volume(r, v, true, few, trace))
            return kr_error_code();
        for (long m = 0; m < r->methods; m++)
            known += cell_of(r, v, m)->known;
    }
    kr_progress(trace, "scoring", 1, 1);
    if (!known)
        return kr_fail(KR_EREFUSED, "nothing could be scored");
    if (few)
        return 0;
    if (choose_volumes(r))
        return kr_error_code();
    for (long i = 0; i < r->shows; i++)
        if (judge_volume(r, r->shown[i], false, true, trace))
            return kr_error_code();
    return 0;
}

/* ---- The page ------------------------------------------------------------------------------------------ */
static void definitions(kr_text *t, const struct report *r)
{
    kr_text_add(t, "<h2>How it was counted</h2>\n<p>Protocol <strong>%s</strong>: ", r->rules.protocol->name);
    page_escape(t, r->rules.protocol->summary);
    kr_text_add(t, ". As in ");
    page_escape(t, r->rules.protocol->cite);
    kr_text_add(t, ".%s</p>\n<dl class=\"defs\">\n", r->o->mask ? " Only pixels inside the region of interest count." : "");
    static const char *const text[KR_MEASURES] = {
        "structural similarity in windows of 7 &times; 7 pixels; 1 is equal (Wang et al. 2004)",
        "10 log<sub>10</sub> of the squared data range over the mean squared error",
        "&Vert;recon &minus; target&Vert;&sup2; / &Vert;target&Vert;&sup2;",
        "&Vert;recon &minus; target&Vert; / &Vert;target&Vert;",
        "the same of both images through a Laplacian of Gaussian, 15 &times; 15, &sigma; = 1.5: errors at edges and in fine detail",
        "visual information fidelity in the pixel domain (Sheikh and Bovik 2006)" };
    for (int k = 0; k < KR_MEASURES; k++)
        if (has_measure(r, k))
            kr_text_add(t, "<dt>%s</dt><dd>%s</dd>\n", kr_measures[k].label, text[k]);
    kr_text_add(t, "</dl>\n");
}

static void failures(kr_text *t, const struct report *r)
{
    if (!r->failed)
        return;
    kr_text_add(t, "<h3>Not scored</h3>\n<ul>\n");
    for (long i = 0; i < r->targets.count * r->methods; i++)
        if (r->cell[i].why) {
            kr_text_add(t, "<li class=\"failed\">");
            page_escape(t, volume_name(r, i / r->methods));
            kr_text_add(t, ", ");
            page_escape(t, r->method[i % r->methods].name);
            kr_text_add(t, ": ");
            page_escape(t, r->cell[i].why);
            kr_text_add(t, "</li>\n");
        }
    kr_text_add(t, "</ul>\n");
}

/* What a paper would print below the pictures. */
static void caption(kr_text *t, const struct report *r)
{
    kr_text_add(t, "<details><summary>A caption to copy</summary>\n<p>Reference");
    for (long m = 0; m < r->methods; m++) {
        kr_text_add(t, ", ");
        page_escape(t, r->method[m].name);
        kr_text how = { 0 };
        how_made(&how, &r->method[m].origin);
        if (how.len)
            kr_text_add(t, " (%s)", how.s);
        kr_text_clear(&how);
    }
    kr_text_add(t, ". Bottom: magnitude of the difference to the reference, shown with a gain of %g. All images have the window 0 to the 99.5th percentile of the "
                   "reference%s. Scores by the protocol %s.</p></details>\n", r->o->error, r->rules.fit ? "; intensities were fitted by least squares" : "",
                r->rules.protocol->name);
}

static int write_page(const struct report *r)
{
    kr_text t = { 0 };
    long refused = kr_mem_refused();
    int e = head(&t, r);
    if (!e) {
        kr_text_add(&t, "<h2>Scores</h2>\n");
        e = table_of_means(&t, r);
    }
    if (!e && r->targets.count > 1)
        table_of_volumes(&t, r);
    failures(&t, r);
    e = e ? e : plots(&t, r);
    if (!e) {
        kr_text_add(&t, "<h2>Images</h2>\n<p class=\"soft\">All images of a volume have one window, 0 to the 99.5th percentile of the target; "
                        "all error maps, |recon &minus; target|, have one window. Slices and frames count from 0.%s<span class=\"screen\"> Point at a reconstruction, or tap it, to see the target "
                        "in its place.</span></p>\n", r->shows ? " Of the volumes, those with the lowest, the middle and the highest SSIM are shown." : "");
        kr_text_put(&t, r->pictures.s ? r->pictures.s : "", r->pictures.len);
        definitions(&t, r);
        caption(&t, r);
        kr_text_add(&t, "<h2>Provenance</h2>\n<div class=\"origins\">\n");
        kr_text_put(&t, r->origins.s ? r->origins.s : "", r->origins.len);
        kr_text_add(&t, "</div>\n<p class=\"soft\">Kray %s: <code>", kr_version());
        page_escape(&t, kr_command_line());
        kr_text_add(&t, "</code></p>\n");
        page_end(&t);
        t.failed = t.failed || r->pictures.failed || r->origins.failed;
        e = kr_mem_lacked(0, refused);
        if (!e)
            e = kr_text_write(r->o->output, &t);
    }
    kr_text_clear(&t);
    return e;
}

/* NAME=FILE, or a file that names itself. */
static int add_method(struct report *r, const char *word)
{
    struct method *m = &r->method[r->methods];
    size_t named = judge_named(word);
    char *path = (char *)(named ? word + named + 1 : word);
    if (judge_files(&m->files, 1, &path))
        return kr_error_code();
    m->name = named ? kr_strf("%.*s", (int)named, word) : kr_strdup(m->files.many ? word : m->files.at[0].name);
    if (!m->name)
        return kr_error_code();
    for (long i = 0; i < r->methods; i++)
        if (!strcmp(r->method[i].name, m->name))
            return kr_fail(KR_EUSAGE, "two reconstructions are called %s; write NAME=FILE", m->name);
    r->methods++;
    if (!r->targets.many && m->files.count != 1)
        return kr_fail(KR_EUSAGE, "%s stands for %ld files, but there is one target; write NAME=FILE for each", word, m->files.count);
    if (r->targets.many && !m->files.many && access(path, F_OK))
        return kr_fail(KR_EFILE, "%s: there is no such file or folder", path);
    if (r->targets.many && !m->files.many)
        return kr_fail(KR_EUSAGE, "%s is one file, but the targets are many: a folder or pattern is wanted", word);
    return 0;
}

static int report(struct report *r, int files, char **file, const kr_trace *trace)
{
    char *target = (char *)r->o->target;
    if (judge_files(&r->targets, 1, &target))
        return kr_error_code();
    for (int i = 0; i < files; i++)
        if (add_method(r, file[i]))
            return kr_error_code();
    if (judge_may_write(r->o->output, &r->targets))
        return kr_error_code();
    for (long m = 0; m < r->methods; m++)
        if (judge_may_write(r->o->output, &r->method[m].files))
            return kr_error_code();
    r->cell = kr_alloc_zero((size_t)(r->targets.count * r->methods), sizeof *r->cell);
    r->shown = kr_alloc_zero(3, sizeof *r->shown);
    if (!r->cell || !r->shown || judge_all(r, trace) || write_page(r))
        return kr_error_code();
    kr_say(trace, KR_INFO, "%s: %ld reconstruction%s of %ld volume%s", r->o->output, r->methods, r->methods == 1 ? "" : "s", r->targets.count, r->targets.count == 1 ? "" : "s");
    return r->failed ? kr_fail(KR_EREFUSED, "%ld of %ld reconstructions could not be scored; the page has the others", r->failed,
                               r->targets.count * r->methods) : 0;
}

static void put_means(struct answer *a, const struct report *r)
{
    json_t *methods = json_array();
    json_object_set_new(a->last, "target", json_words(r->o->target));
    json_object_set_new(a->last, "protocol", json_words(r->rules.protocol->name));
    for (long m = 0; m < r->methods; m++) {
        json_t *one = json_object(), *failed = json_array();
        json_object_set_new(one, "name", json_words(r->method[m].name));
        for (int k = 0; k < KR_MEASURES; k++) {
            kr_summary s;
            if (summary_of(&s, r, m, k))
                kr_error_clear();                /* the page is written; lack of memory is told at the end */
            else
                json_object_set_new(one, kr_measures[k].name, json_pack("{s:I,s:o,s:o}", "volumes", (json_int_t)s.n, "mean", json_number(s.mean), "sd", json_number(s.sd)));
        }
        for (long v = 0; v < r->targets.count; v++)
            if (cell_of(r, v, m)->why)
                json_array_append_new(failed, json_pack("{s:o,s:o}", "volume", json_words(volume_name(r, v)), "error", json_words(cell_of(r, v, m)->why)));
        json_object_set_new(one, "failed", failed);
        json_array_append_new(methods, one);
    }
    json_object_set_new(a->last, "methods", methods);
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (!strcmp(o->protocol, "list"))
        return judge_list();
    if (!o->target)
        return kr_fail(KR_EUSAGE, "what is the target? (--target FILE)");
    if (!files)
        return kr_fail(KR_EUSAGE, "what is to be shown? (NAME=FILE ...)");
    if (files > MOST)
        return kr_fail(KR_EUSAGE, "%d reconstructions are given; a page shows at most %d", files, MOST);
    if (!(o->error > 0) || o->error > 1e6)
        return kr_fail(KR_EUSAGE, "--error %g: error maps are made brighter by a positive number", o->error);
    struct report r = { .o = o, .rules = { kr_protocol_named(o->protocol), o->scale[0] == 'f', o->crop, o->skip, o->mask } };
    struct answer a;
    answer_begin(&a, o->json, trace);
    answer_add(&a, o->output);
    int e = r.rules.protocol ? report(&r, files, file, &a.trace) : kr_error_code();
    if (e)
        answer_failed(&a);
    if (a.list && r.cell)
        put_means(&a, &r);
    e = answer_end(&a, e);
    for (long i = 0; r.cell && i < r.targets.count * r.methods; i++) {
        kr_free(r.cell[i].slice);
        kr_free(r.cell[i].why);
    }
    for (long m = 0; m < MOST; m++) {
        judge_files_close(&r.method[m].files);
        kr_free(r.method[m].name);
        judge_origin_close(&r.method[m].origin);
    }
    judge_files_close(&r.targets);
    kr_free(r.cell);
    kr_free(r.shown);
    kr_text_clear(&r.pictures);
    kr_text_clear(&r.origins);
    return e;
}

const kr_tool kr_tool_report = { "report", "Evaluate", "images, error maps and scores side by side in one HTML page", "-o report.html --target T NAME=R... [options]",
    "  kray report -o report.html --target brain.h5 zerofilled=zf.nii.gz sense=sense.nii.gz\n"
    "  kray report --target multicoil_val/ sense=out/sense/ l1=out/l1/ --show 5\n"
    "  kray report --target full.nii a.nii b.nii --slices 10,20,30 --error 10\n",
    table, sizeof(opts), NULL, run };
