/* cmd_report.c: kray report: reconstructions beside their target, with error maps, scores and plots, in one HTML file. */
#include "json.h"
#include "report.h"
#include "stage.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(report_opts, output), "report.html", "FILE", "the HTML page" },
    { "target", 't', KR_OPT_FILE, offsetof(report_opts, target), NULL, "T", "reference: a file, a folder or a 'pattern*'; raw data may hold it" },
    { "protocol", 'p', KR_OPT_TEXT, offsetof(report_opts, protocol), "fastmri", "NAME", "scoring protocol; 'list' shows all" },
    { "title", 0, KR_OPT_TEXT, offsetof(report_opts, title), NULL, "TEXT", "title of the page" },
    { "show", 0, KR_OPT_INT, offsetof(report_opts, show), "3", "N", "number of slices shown of a volume, evenly spaced" },
    { "slices", 0, KR_OPT_TEXT, offsetof(report_opts, slices), NULL, "A,B,...", "show these slices, counted from 0" },
    { "error", 0, KR_OPT_REAL, offsetof(report_opts, error), "5", "X", "gain of the error maps: their window is that of the images / X" },
    { "mask", 0, KR_OPT_FILE, offsetof(report_opts, mask), NULL, "FILE", "score only pixels where this image is not 0" },
    { "scale", 0, KR_OPT_CHOICE, offsetof(report_opts, scale), "none", "none|fit", "fit: scale each volume to its target by least squares" },
    { "crop", 0, KR_OPT_CHOICE, offsetof(report_opts, crop), "auto", "auto|always|never", "crop as the protocol's own program (see kray eval)" },
    { "skip", 0, KR_OPT_INT, offsetof(report_opts, skip), "0", "N", "leave out N slices at each end" },
    { "view", 0, KR_OPT_FLAG, offsetof(report_opts, view), NULL, NULL, "of the first volume: target and reconstruction to scroll through in three planes, as kray view shows them (four methods)" },
    { "json", 0, KR_OPT_FLAG, offsetof(report_opts, json), NULL, NULL, "also print the means as JSON" },
    KR_OPT_END };

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
        e = report_show(r, volume, j, ok);
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
        "visual information fidelity in the pixel domain (Sheikh and Bovik 2006)", "Matthews' correlation coefficient of binary images" };
    for (int k = 0; k < KR_MEASURES; k++)
        if (report_has(r, k))
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
        report_how(&how, &r->method[m].origin);
        if (how.len)
            kr_text_add(t, " (%s)", how.s);
        kr_text_clear(&how);
    }
    kr_text_add(t, ". Bottom: magnitude of the difference to the reference, shown with a gain of %g. All images have the window 0 to the 99.5th percentile of the "
                   "reference%s. Scores by the protocol %s.</p></details>\n", r->o->error, r->rules.fit ? "; intensities were fitted by least squares" : "",
                r->rules.protocol->name);
}

/* The page of kray view with the target of the first volume and a reconstruction below it, within this one. */
static int viewer(kr_text *t, const struct report *r, long m, const kr_trace *trace)
{
    kr_beside room = { 0 };
    struct stage_end end = { 0 };
    size_t n = 0;
    if (kr_beside_open(&room, r->o->output))
        return kr_error_code();
    kr_auto char *page = kr_strf("%s/view.html", room.folder);
    char *argv[] = { (char *)"/proc/self/exe", (char *)"view", r->targets.at[0].path, (char *)"--beside", (char *)recon_of(r, 0, m), (char *)"-o", page, (char *)"-q", NULL };
    int e = page ? stage_exec(&end, argv, 0, trace) : kr_error_code();
    kr_auto char *text = e ? NULL : kr_file_whole(page, (size_t)1 << 30, &n);
    if (text) {
        kr_text_add(t, "<h3>");
        page_escape(t, r->method[m].name);
        kr_text_add(t, "</h3>\n<iframe title=\"target and reconstruction\" style=\"width:100%%;height:46rem;border:0\" srcdoc=\"");
        page_escape(t, text);
        kr_text_add(t, "\"></iframe>\n");
    }
    kr_free(end.said);
    kr_beside_drop(&room);
    return e ? kr_fail_in("--view of %s", r->method[m].name) : text ? 0 : kr_error_code();
}

static int viewers(kr_text *t, const struct report *r, const kr_trace *trace)
{
    int e = 0;
    kr_text_add(t, "<h2>To scroll through</h2>\n<p class=\"soft\">The target, and below it the reconstruction, of %s.</p>\n", volume_name(r, 0));
    for (long m = 0, shown = 0; !e && m < r->methods && shown < 4; m++)
        if (recon_of(r, 0, m) && !cell_of(r, 0, m)->why) {
            e = viewer(t, r, m, trace);
            shown++;
        }
    return e;
}

static int write_page(const struct report *r, const kr_trace *trace)
{
    kr_text t = { 0 };
    long refused = kr_mem_refused();
    int e = report_head(&t, r);
    if (!e) {
        kr_text_add(&t, "<h2>Scores</h2>\n");
        e = report_means(&t, r);
    }
    if (!e && r->targets.count > 1)
        report_volumes(&t, r);
    failures(&t, r);
    e = e ? e : report_plots(&t, r);
    if (!e) {
        kr_text_add(&t, "<h2>Images</h2>\n<p class=\"soft\">All images of a volume have one window, 0 to the 99.5th percentile of the target; "
                        "all error maps, |recon &minus; target|, have one window. Slices and frames count from 0.%s<span class=\"screen\"> Point at a reconstruction, or tap it, to see the target "
                        "in its place.</span></p>\n", r->shows ? " Of the volumes, those with the lowest, the middle and the highest SSIM are shown." : "");
        kr_text_put(&t, r->pictures.s ? r->pictures.s : "", r->pictures.len);
        e = r->o->view ? viewers(&t, r, trace) : 0;
    }
    if (!e) {
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
    if (r->o->view && !strcmp(r->o->output, "-"))
        return kr_fail(KR_EUSAGE, "--view makes pages of its own beside the report: name a file, not standard output");
    if (judge_may_write(r->o->output, &r->targets))
        return kr_error_code();
    for (long m = 0; m < r->methods; m++)
        if (judge_may_write(r->o->output, &r->method[m].files))
            return kr_error_code();
    r->cell = kr_alloc_zero((size_t)(r->targets.count * r->methods), sizeof *r->cell);
    r->shown = kr_alloc_zero(3, sizeof *r->shown);
    if (!r->cell || !r->shown || judge_all(r, trace) || write_page(r, trace))
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
            if (report_summary(&s, r, m, k))
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
    const report_opts *o = opt;
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
    table, sizeof(report_opts), NULL, run };
