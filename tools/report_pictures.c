/* report_pictures.c: images beside their target, error maps, and where they came from. */
#include "report.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    kr_text_add(t, "<p>SSIM&nbsp;%s &ensp;%s&nbsp;dB &ensp;NRMSE&nbsp;%s", report_number(0, j->slice[s].ssim), report_number(1, j->slice[s].psnr),
                report_number(3, j->slice[s].nrmse));
    kr_text_add(t, "<span class=\"how\">");
    report_how(t, &r->method[m].origin);
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
    report_picture_name(what, a, s);
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
static int choose_slices(long **slice, long *count, const report_opts *o, long slices)
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
    kr_text told = { 0 };
    kr_provenance_words(&told, value, kr_whole());
    page_escape(t, told.s ? told.s : "");
    kr_text_clear(&told);
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

int report_show(struct report *r, long volume, const struct judged *j, const long *ok)
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
