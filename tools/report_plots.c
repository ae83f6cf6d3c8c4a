/* report_plots.c: scores over slices, frames and volumes. */
#include "report.h"
#include <math.h>
#include <stdio.h>

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
    const char *name[MOST], *what = axis < 0 ? "volume" : report_one(axis);
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

int report_plots(kr_text *t, const struct report *r)
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
