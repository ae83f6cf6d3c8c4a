/* cmd_study.c: kray study: does the reconstruction matter to what comes after it? Volumes are measured anew by several coils, at several accelerations and
 * noise levels (scans that were measured are undersampled), reconstructed by several methods, segmented; scores of images and of labels side by side. The
 * steps are kray's own commands, so that each can be repeated by hand; those whose inputs, options and outputs are as they were are left out. */
#include "done.h"
#include "json.h"
#include "page.h"
#include "stage.h"
#include "tool.h"
#include "kray/recon.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct opts { const char *out, *methods, *accelerations, *snr, *undersample, *model, *scale; long coils; double timeout; bool force, json; } opts;
static const kr_opt table[] = {
    { "output", 'o', KR_OPT_OUT, offsetof(opts, out), NULL, "FOLDER", "for scans, images, labels, study.csv, study.html and report.html" },
    { "methods", 0, KR_OPT_TEXT, offsetof(opts, methods), "rss,sense,wavelet", "NAME,...", "methods of reconstruction (kray help methods)" },
    { "accelerations", 0, KR_OPT_TEXT, offsetof(opts, accelerations), "2,4,8", "R,...", "acceleration factors" },
    { "snr", 0, KR_OPT_TEXT, offsetof(opts, snr), NULL, "X,...", "of volumes: signal to noise of the scans that are simulated (default: 30)" },
    { "undersample", 'u', KR_OPT_TEXT, offsetof(opts, undersample), "equispaced_fraction:accel={R},center=0.08,seed=1", "SPEC", "mask; {R} stands for the acceleration (see kray mask)" },
    { "coils", 'c', KR_OPT_INT, offsetof(opts, coils), "8", "N", "of volumes: receive coils of the scans that are simulated" },
    { "model", 'm', KR_OPT_FILE, offsetof(opts, model), NULL, "M[,M]", "segment the truth and each image by this model (see kray segment)" },
    { "scale", 0, KR_OPT_CHOICE, offsetof(opts, scale), "fit", "none|fit", "fit: images are first multiplied by the factor that brings them nearest to the truth" },
    { "timeout", 0, KR_OPT_REAL, offsetof(opts, timeout), "86400", "S", "seconds after which a step is stopped; 0: never" },
    { "force", 0, KR_OPT_FLAG, offsetof(opts, force), NULL, NULL, "run every step, unchanged or not" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: an object for each setting" },
    KR_OPT_END };

enum { ITEMS = 64, INPUTS = 10000, SETTINGS = 1024 };
struct list { char *at[ITEMS]; int count; };
struct input { char *path, *name; bool raw; };
struct setting { char *name; const char *method, *acceleration, *snr; long cases, segmented; double ssim, psnr, nmse, dice, hd95; };
struct study {
    const opts *o;
    struct list methods, accelerations, snr;
    struct input *input;
    long inputs, settings;
    struct setting *setting;
    json_t *done;                    /* done.h */
    char *record;
    long failed, missing;            /* cases that have no truth; images or labels of settings that could not be made */
    const kr_trace *trace;
};

/* ---- What is asked for ---- */
static int split(struct list *l, const char *text, const char *option, bool number)
{
    for (const char *p = text; *p; ) {
        size_t n = strcspn(p, ",");
        char *end;
        if (l->count == ITEMS || !n || (number && (!(strtod(p, &end) > 0) || end != p + n)))
            return kr_fail(KR_EUSAGE, "--%s %s: %s with commas between them are wanted", option, text, number ? "numbers above 0" : "names");
        if (!(l->at[l->count] = kr_strf("%.*s", (int)n, p)))
            return kr_error_code();
        l->count++;
        p += n + (p[n] == ',');
    }
    return l->count ? 0 : kr_fail(KR_EUSAGE, "--%s is empty", option);
}

static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name), k = n > 7 && !strcasecmp(name + n - 7, ".nii.gz") ? n - 7 : strrchr(name, '.') && strrchr(name, '.') > name ? (size_t)(strrchr(name, '.') - name) : n;
    return kr_strf("%.*s", (int)k, name);
}

static int add_input(struct study *s, const char *path)
{
    const kr_format *f = kr_format_of(path);
    if (!f)
        return kr_error_code();
    if (!f->read && !f->read_image)
        return kr_fail(KR_EFORMAT, "%s: a %s file holds neither raw data nor a volume", path, f->name);
    if (s->inputs == INPUTS)
        return kr_fail(KR_EUSAGE, "more than %d volumes and scans", INPUTS);
    struct input *i = &s->input[s->inputs++];
    *i = (struct input){ kr_strdup(path), name_of(path), f->read != NULL };
    if (!i->path || !i->name)
        return kr_error_code();
    for (long k = 0; k < s->inputs - 1; k++)
        if (!strcmp(s->input[k].name, i->name))
            return kr_fail(KR_EUSAGE, "%s and %s would share the name %s", s->input[k].path, path, i->name);
    return 0;
}

/* Volumes, and what counts as raw data. */
static bool of_use(const char *name)
{
    for (int i = 0; kr_formats[i]; i++)
        if ((kr_formats[i]->raw || kr_formats[i]->volumes) && kr_format_suffix(kr_formats[i], name))
            return true;
    return false;
}

static int add_word(struct study *s, const char *word)
{
    struct stat st;
    struct dirent **all = NULL;
    if (stat(word, &st) || !S_ISDIR(st.st_mode) || kr_folder_format(word))
        return add_input(s, word);
    int count = scandir(word, &all, NULL, alphasort), e = count < 0 ? kr_fail(KR_EFILE, "%s: %s", word, strerror(errno)) : 0;
    long before = s->inputs;
    for (int i = 0; i < count; i++) {
        const char *name = all[i]->d_name;
        kr_auto char *path = !e && *name != '.' && of_use(name) ? kr_strf("%s/%s", word, name) : NULL;
        e = path ? add_input(s, path) : e;
        free(all[i]);
    }
    free(all);
    return e || s->inputs > before ? e : kr_fail(KR_EFILE, "%s holds neither volumes (.nii, .nii.gz) nor raw data", word);
}

/* ---- Steps ---- */
/* One of kray's commands; words end with NULL. */
static int command(const struct study *s, const char *const *word, double *seconds)
{
    enum { WORDS = SETTINGS + 32 };
    char *argv[WORDS] = { (char *)"/proc/self/exe" };
    int n = 1;
    struct stage_end end = { 0 };
    kr_text line = { 0 };
    for (; word[n - 1] && n < WORDS - 1; n++)
        argv[n] = (char *)word[n - 1];
    argv[n] = NULL;
    kr_text_add(&line, "kray");
    for (int i = 1; i < n && i < 8; i++)
        kr_text_add(&line, " %s", argv[i]);
    kr_say(s->trace, KR_DETAIL, "%s%s", line.s ? line.s : "", n > 8 ? " ..." : "");
    int e = stage_exec(&end, argv, s->o->timeout, s->trace);
    if (e)
        kr_fail_in("%s%s", line.s ? line.s : "", n > 8 ? " ..." : "");
    *seconds = end.seconds;
    kr_free(end.said);
    kr_text_clear(&line);
    return e;
}

static char *found(const char *const *file)
{
    kr_text t = { 0 };
    bool all = true;
    for (; *file; file++) {
        all = all && !access(*file, F_OK);
        done_describe(&t, *file);
    }
    char *d = all ? done_digest(&t) : kr_strdup("");
    kr_text_clear(&t);
    return d;
}

/* A command that makes the files `out` of the files `in`; left out where it was done before. What it made before goes first, lest a failure leave it
 * to be scored. Lists of files end with NULL. */
static int step(const struct study *s, const char *const *word, const char *const *in, const char *const *out)
{
    kr_text t = { 0 };
    double seconds = 0;
    kr_text_add(&t, "kray %s\n", kr_version());
    for (const char *const *w = word; *w; w++)
        kr_text_add(&t, "%s\n", *w);
    for (; *in; in++)
        done_describe(&t, *in);
    kr_auto char *key = t.failed ? NULL : done_digest(&t), *was = found(out);
    kr_text_clear(&t);
    if (!key || !was)
        return kr_error_code();
    if (!s->o->force && done_same(s->done, out[0], key, was)) {
        kr_say(s->trace, KR_DETAIL, "%s: unchanged", out[0]);
        return 0;
    }
    done_note(s->done, out[0], NULL, NULL, 0);
    for (const char *const *o = out; *o; o++)
        if (unlink(*o) && errno != ENOENT)
            return kr_fail(KR_EFILE, "%s: cannot be replaced: %s", *o, strerror(errno));
    int e = command(s, word, &seconds);
    kr_auto char *now = e ? NULL : found(out);
    if (now)
        done_note(s->done, out[0], key, now, seconds);
    return done_write(s->done, s->record, e);
}

static int segmented(const struct study *s, const char *image, const char *labels)
{
    return s->o->model ? step(s, (const char *const[]){ "segment", image, "-o", labels, "--model", s->o->model, "-q", NULL },
                              (const char *const[]){ image, s->o->model, NULL }, (const char *const[]){ labels, NULL }) : 0;
}

/* The scan of a volume on its own grid, slice by slice, and the truth. */
static int simulated(const struct study *s, const struct input *i, const char *snr, const char *scan, const char *truth)
{
    kr_scoped(image) im = NULL;
    double A[16], mm = 0;
    if (kr_image_read(&im, i->path))
        return kr_error_code();
    long n[3] = { im->data->n[KR_X], im->data->n[KR_Y], im->data->n[KR_SLICE] > 1 ? im->data->n[KR_SLICE] : im->data->n[KR_Z] };
    if (kr_count(kr_array_shape(im->data)) != n[0] * n[1] * n[2])
        return kr_fail(KR_ESHAPE, "%s: one volume is wanted, this is %s", i->path, kr_shape_text(kr_array_shape(im->data)));
    if (kr_geom_affine(im->geom, (long[3]){ n[0], n[1], im->data->n[KR_Z] }, A))
        return kr_fail_in("%s", i->path);
    for (int r = 0; r < 3; r++)
        mm += A[4 * r + 2] * A[4 * r + 2];
    kr_auto char *matrix = kr_strf("%ld,%ld", n[0], n[1]), *slices = kr_strf("%ld", n[2]), *thickness = kr_strf("%.6g", sqrt(mm)), *coils = kr_strf("%ld", s->o->coils);
    return matrix && slices && thickness && coils ? step(s, (const char *const[]){ "simulate", i->path, "-o", scan, "--to", "ismrmrd", "-r", truth, "--matrix", matrix, "--slices", slices,
                                                         "--thickness", thickness, "--gap", "0", "--coils", coils, "--snr", snr, "-q", NULL },
                                                         (const char *const[]){ i->path, NULL }, (const char *const[]){ scan, truth, NULL }) : kr_error_code();
}

static char *with_factor(const char *spec, const char *factor)
{
    kr_text t = { 0 };
    for (const char *p = spec; *p; )
        if (!strncmp(p, "{R}", 3)) {
            kr_text_add(&t, "%s", factor);
            p += 3;
        } else
            kr_text_put(&t, p++, 1);
    return t.failed ? (kr_text_clear(&t), NULL) : t.s;
}

/* What one setting makes of one scan. */
static int one_setting(const struct study *s, const struct setting *g, const char *scan, const char *name)
{
    kr_auto char *image = kr_strf("%s/images/%s/%s.nii.gz", s->o->out, g->name, name), *seg = kr_strf("%s/labels/%s/%s.nii.gz", s->o->out, g->name, name);
    kr_auto char *mask = with_factor(s->o->undersample, g->acceleration);
    if (!image || !seg || !mask)
        return kr_error_code();
    int e = step(s, (const char *const[]){ "recon", scan, "-o", image, "--method", g->method, "-u", mask, "-q", NULL }, (const char *const[]){ scan, NULL },
                 (const char *const[]){ image, NULL });
    return e ? e : segmented(s, image, seg);
}

/* Whether the study goes on: a case or a setting that fails is told, counted, and missing from the means. */
static int passed_over(long *count, int e, const struct study *s, const char *what, const char *name)
{
    if (!e || e == KR_ESTOPPED || e == KR_EMEM)
        return e;
    kr_say(s->trace, KR_WARNING, "%s of %s: %s", what, name, kr_error());
    kr_error_clear();
    ++*count;
    return 0;
}

static int one_input(struct study *s, const struct input *i, long number)
{
    const char *out = s->o->out;
    for (int n = 0; n < s->snr.count; n++) {
        const char *snr = s->snr.at[n];
        kr_auto char *truth = kr_strf("%s/truth/%s.nii.gz", out, i->name), *labels = kr_strf("%s/labels/truth/%s.nii.gz", out, i->name);
        kr_auto char *scan = i->raw ? kr_strdup(i->path) : kr_strf("%s/scans/%s-snr%s.h5", out, i->name, snr);
        if (!truth || !labels || !scan)
            return kr_error_code();
        int e = !i->raw ? simulated(s, i, snr, scan, truth)
            : step(s, (const char *const[]){ "recon", scan, "-o", truth, "--method", "rss", "-q", NULL }, (const char *const[]){ scan, NULL }, (const char *const[]){ truth, NULL });
        e = e || n ? e : segmented(s, truth, labels);
        if (e)
            return passed_over(&s->failed, e, s, "the truth", i->name);
        for (long k = 0; k < s->settings; k++)
            if (!strcmp(s->setting[k].snr, snr)) {
                kr_progress(s->trace, "studying", (double)(number * s->settings + k), (double)(s->inputs * s->settings));
                e = passed_over(&s->missing, one_setting(s, &s->setting[k], scan, i->name), s, s->setting[k].name, i->name);
                if (e)
                    return e;
            }
    }
    return 0;
}

/* ---- Scores: what kray eval wrote ---- */
/* The next field of a line of CSV, in place; NULL behind the last. */
static char *field(char **at)
{
    char *p = *at, *to = p, *from = p;
    bool quoted = p && *p == '"';
    if (!p)
        return NULL;
    for (p += quoted; *p && (quoted ? !(*p == '"' && p[1] != '"') : *p != ','); p++) {
        *to++ = *p;
        p += quoted && *p == '"';
    }
    p += quoted && *p == '"';
    *at = *p == ',' ? p + 1 : NULL;
    *to = 0;
    return from;
}

static int column(char *const *head, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(head[i], name))
            return i;
    return -1;
}

/* Adds the rows of one level to the settings' sums. */
static int scores(struct study *s, const char *path, bool labels)
{
    enum { COLUMNS = 64 };
    size_t bytes = 0;
    kr_auto char *text = kr_file_whole(path, (size_t)256 << 20, &bytes);
    char *head[COLUMNS], *cell[COLUMNS];
    int columns = 0, n;
    if (!text)
        return kr_error_code();
    char *next = text;
    for (char *line = strsep(&next, "\n"); line; line = strsep(&next, "\n")) {
        char *at = *line ? line : NULL, **to = columns ? cell : head;
        for (n = 0; n < COLUMNS && (to[n] = field(&at)); n++)
            ;
        if (!columns) {
            columns = n;
            continue;
        }
        int level = column(head, columns, "level"), name = column(head, columns, labels ? "set" : "name"), label = labels ? column(head, columns, "label") : -1;
        if (n != columns || level < 0 || name < 0 || strcmp(cell[level], labels ? "mean" : "volume") || (label >= 0 && *cell[label]))
            continue;
        for (long k = 0; k < s->settings; k++) {
            struct setting *g = &s->setting[k];
            if (strcmp(g->name, cell[name]))
                continue;
            static const char *const of_labels[] = { "dice", "hd95_mm" }, *const of_images[] = { "ssim", "psnr", "nmse" };
            double *sum[3] = { labels ? &g->dice : &g->ssim, labels ? &g->hd95 : &g->psnr, labels ? NULL : &g->nmse };
            for (int m = 0; m < (labels ? 2 : 3); m++) {
                int c = column(head, columns, labels ? of_labels[m] : of_images[m]);
                *sum[m] += c >= 0 && *cell[c] ? strtod(cell[c], NULL) : (double)NAN;
            }
            g->cases += !labels;
            g->segmented += labels;
        }
    }
    return 0;
}

/* kray eval or report of all settings of which there is something. Both score what is there and then refuse for what is missing, which the study has told already. */
static int judged(struct study *s, const char *const *first, const char *folder, const char *written)
{
    const char *word[SETTINGS + 16];
    char *set[SETTINGS] = { NULL };
    long n = 0, sets = 0;
    double seconds;
    int e = 0;
    for (; first[n]; n++)
        word[n] = first[n];
    for (long k = 0; k < s->settings; k++) {
        set[k] = kr_strf("%s=%s/%s/%s", s->setting[k].name, s->o->out, folder, s->setting[k].name);
        e = set[k] ? e : kr_error_code();
        if (set[k] && !access(set[k] + strlen(s->setting[k].name) + 1, F_OK)) {
            word[n++] = set[k];
            sets++;
        }
    }
    word[n] = NULL;
    if (!e && !sets)
        e = kr_fail(KR_EREFUSED, "nothing of any setting could be made");
    if (!e && unlink(written) && errno != ENOENT)
        e = kr_fail(KR_EFILE, "%s: cannot be replaced: %s", written, strerror(errno));
    e = e ? e : command(s, word, &seconds);
    if (e && e != KR_ESTOPPED && s->failed + s->missing && !access(written, F_OK)) {
        kr_error_clear();
        e = 0;
    }
    for (long k = 0; k < s->settings; k++)
        kr_free(set[k]);
    return e;
}

static int evaluate(struct study *s)
{
    const char *out = s->o->out;
    kr_auto char *truth = kr_strf("%s/truth", out), *images = kr_strf("%s/images.csv", out), *page = kr_strf("%s/report.html", out);
    kr_auto char *labels = kr_strf("%s/labels/truth", out), *overlaps = kr_strf("%s/labels.csv", out);
    int e = !truth || !images || !page || !labels || !overlaps ? kr_error_code() : 0;
    e = e ? e : judged(s, (const char *const[]){ "eval", "--target", truth, "--csv", images, "--scale", s->o->scale, NULL }, "images", images);
    e = e ? e : scores(s, images, false);
    e = e ? e : judged(s, (const char *const[]){ "report", "--target", truth, "-o", page, "--scale", s->o->scale, "-q", NULL }, "images", page);
    if (!e && s->o->model) {
        e = judged(s, (const char *const[]){ "eval", "--labels", "--target", labels, "--csv", overlaps, NULL }, "labels", overlaps);
        e = e ? e : scores(s, overlaps, true);
    }
    for (long k = 0; k < s->settings; k++) {
        struct setting *g = &s->setting[k];
        g->ssim = g->cases ? g->ssim / (double)g->cases : (double)NAN;
        g->psnr = g->cases ? g->psnr / (double)g->cases : (double)NAN;
        g->nmse = g->cases ? g->nmse / (double)g->cases : (double)NAN;
        g->dice = g->segmented ? g->dice : (double)NAN;      /* a mean over cases already */
        g->hd95 = g->segmented ? g->hd95 : (double)NAN;
    }
    return e;
}

/* ---- Telling ---- */
static void number(kr_text *t, const char *format, double v)
{
    if (isnan(v))
        kr_text_add(t, "%12s", "-");
    else
        kr_text_add(t, format, v);
}

static int told(struct study *s, struct answer *a)
{
    kr_text text = { 0 }, csv = { 0 };
    kr_auto char *path = kr_strf("%s/study.csv", s->o->out);
    kr_text_add(&text, "%-28s %4s %12s %12s %12s", "setting", "n", "SSIM", "PSNR dB", "NMSE");
    kr_text_add(&text, s->o->model ? " %12s %12s\n" : "\n", "Dice", "HD95 mm");
    kr_text_add(&csv, "setting,method,acceleration,snr,cases,ssim,psnr,nmse,dice,hd95_mm\n");
    for (long k = 0; k < s->settings; k++) {
        const struct setting *g = &s->setting[k];
        kr_text_add(&text, "%-28s %4ld ", g->name, g->cases);
        number(&text, "%12.5f", g->ssim);
        number(&text, " %12.3f", g->psnr);
        number(&text, " %12.4g", g->nmse);
        if (s->o->model) {
            number(&text, " %12.5f", g->dice);
            number(&text, " %12.4g", g->hd95);
        }
        kr_text_add(&text, "\n");
        kr_text_add(&csv, "%s,%s,%s,%s,%ld", g->name, g->method, g->acceleration, g->snr, g->cases);
        const double v[5] = { g->ssim, g->psnr, g->nmse, g->dice, g->hd95 };
        for (int m = 0; m < 5; m++)
            kr_text_add(&csv, isnan(v[m]) ? "," : ",%.9g", v[m]);
        kr_text_add(&csv, "\n");
        json_t *j = answer_add(a, NULL);
        json_object_set_new(j, "setting", json_words(g->name));
        json_object_set_new(j, "method", json_words(g->method));
        json_object_set_new(j, "acceleration", json_real(strtod(g->acceleration, NULL)));
        json_object_set_new(j, "snr", *g->snr ? json_real(strtod(g->snr, NULL)) : json_null());
        json_object_set_new(j, "cases", json_integer(g->cases));
        json_object_set_new(j, "ssim", json_number(g->ssim));
        json_object_set_new(j, "psnr", json_number(g->psnr));
        json_object_set_new(j, "nmse", json_number(g->nmse));
        json_object_set_new(j, "dice", json_number(g->dice));
        json_object_set_new(j, "hd95_mm", json_number(g->hd95));
    }
    int e = !path ? kr_error_code() : kr_text_write(path, &csv);
    e = e || a->list ? e : kr_text_write("-", &text);
    kr_text_clear(&text);
    kr_text_clear(&csv);
    return e;
}

/* One plot over the accelerations, a line for each method and noise level. */
static void plot(kr_text *t, const struct study *s, const char *title, const char *note, const char *const *name, size_t at)
{
    long series = (long)s->methods.count * s->snr.count, count = s->accelerations.count;
    kr_auto double *v = kr_alloc((size_t)(series * count), sizeof *v);
    kr_text label = { 0 };
    for (long k = 0; v && k < s->settings; k++)              /* settings: noise, method, acceleration, the last fastest */
        v[k] = *(const double *)(const void *)((const char *)&s->setting[k] + at);
    for (long i = 0; i < count; i++)
        kr_text_add(&label, "%s%ld: R = %s", i ? ", " : "", i, s->accelerations.at[i]);
    const struct page_plot p = { title, note, label.s ? label.s : "", series, count, name, v, true };
    if (v)
        page_plot(t, &p);
    kr_text_clear(&label);
}

static int page(struct study *s)
{
    kr_text t = { 0 };
    long series = (long)s->methods.count * s->snr.count;
    kr_auto char *path = kr_strf("%s/study.html", s->o->out);
    kr_auto const char **name = kr_alloc((size_t)series, sizeof *name);
    char *made[ITEMS * ITEMS] = { NULL };
    if (!path || !name)
        return kr_error_code();
    for (long k = 0; k < series; k++)
        name[k] = made[k] = kr_strf(*s->setting[k * s->accelerations.count].snr ? "%s, SNR %s" : "%s", s->setting[k * s->accelerations.count].method, s->setting[k * s->accelerations.count].snr);
    page_begin(&t, "Does the reconstruction matter?");
    kr_text_add(&t, "<h1>Does the reconstruction matter?</h1>\n<p>%ld %s, %s. <code>", s->inputs, s->inputs == 1 ? "case" : "cases",
                s->o->model ? "reconstructed and segmented; labels are compared with those of the truth" : "reconstructed");
    page_escape(&t, kr_command_line());
    kr_text_add(&t, "</code></p>\n");
    if (series <= PAGE_STYLES) {
        page_legend(&t, name, series);
        kr_text_add(&t, "<div class=\"plots\">\n");
        plot(&t, s, "SSIM", "higher is better", name, offsetof(struct setting, ssim));
        plot(&t, s, "PSNR, dB", "higher is better", name, offsetof(struct setting, psnr));
        if (s->o->model) {
            plot(&t, s, "Dice", "higher is better", name, offsetof(struct setting, dice));
            plot(&t, s, "HD95, mm", "lower is better", name, offsetof(struct setting, hd95));
        }
        kr_text_add(&t, "</div>\n");
    }
    kr_text_add(&t, "<div class=\"wide\"><table><thead><tr><th>method</th><th>R</th><th>SNR</th><th>SSIM</th><th>PSNR dB</th><th>NMSE</th>%s</tr></thead><tbody>\n",
                s->o->model ? "<th>Dice</th><th>HD95 mm</th>" : "");
    for (long k = 0; k < s->settings; k++) {
        const struct setting *g = &s->setting[k];
        kr_text_add(&t, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%.4f</td><td>%.2f</td><td>%.4g</td>", g->method, g->acceleration, g->snr, g->ssim, g->psnr, g->nmse);
        if (s->o->model)
            kr_text_add(&t, "<td>%.4f</td><td>%.3g</td>", g->dice, g->hd95);
        kr_text_add(&t, "</tr>\n");
    }
    kr_text_add(&t, "</tbody></table></div>\n<p class=\"soft\">Means over cases; images.csv%s has each case, as kray eval writes it; <a href=\"report.html\">pictures and error maps</a>.</p>\n", s->o->model ? " and labels.csv" : "");
    page_end(&t);
    for (long k = 0; k < series; k++)
        kr_free(made[k]);
    int e = t.failed ? kr_error_code() : kr_text_write(path, &t);
    kr_text_clear(&t);
    return e;
}

static int arrange(struct study *s, int files, char **file)
{
    const opts *o = s->o;
    bool raw = false, volumes = false;
    s->input = kr_alloc_zero(INPUTS, sizeof *s->input);
    int e = s->input ? 0 : kr_error_code();
    e = e || split(&s->methods, o->methods, "methods", false) || split(&s->accelerations, o->accelerations, "accelerations", true) ? kr_error_code() : 0;
    for (int i = 0; !e && i < s->methods.count; i++)
        e = kr_recon_named(s->methods.at[i]) ? 0 : kr_error_code();
    if (!e && !strstr(o->undersample, "{R}"))
        e = kr_fail(KR_EUSAGE, "-u %s: {R} has to stand for the acceleration", o->undersample);
    for (int i = 0; !e && i < files; i++)
        e = add_word(s, file[i]);
    for (long i = 0; i < s->inputs; i++) {
        raw = raw || s->input[i].raw;
        volumes = volumes || !s->input[i].raw;
    }
    if (!e && raw && volumes)
        e = kr_fail(KR_EUSAGE, "volumes, which are measured anew, and scans, which were measured, are two studies");
    if (!e && raw && o->snr)
        e = kr_fail(KR_EUSAGE, "--snr is for volumes: scans have their own noise");
    if (!e && raw) {
        s->snr.at[0] = kr_strdup("");
        s->snr.count = 1;
        e = s->snr.at[0] ? 0 : kr_error_code();
    } else
        e = e ? e : split(&s->snr, o->snr ? o->snr : "30", "snr", true);
    long count = (long)s->methods.count * s->accelerations.count * s->snr.count;
    if (!e && count > SETTINGS)
        e = kr_fail(KR_EUSAGE, "%ld settings: at most %d", count, SETTINGS);
    s->setting = e ? NULL : kr_alloc_zero((size_t)count, sizeof *s->setting);
    e = e ? e : s->setting ? 0 : kr_error_code();
    for (int n = 0; !e && n < s->snr.count; n++)
        for (int m = 0; !e && m < s->methods.count; m++)
            for (int r = 0; !e && r < s->accelerations.count; r++) {
                struct setting *g = &s->setting[s->settings++];
                *g = (struct setting){ .name = kr_strf(*s->snr.at[n] ? "%s-R%s-snr%s" : "%s-R%s", s->methods.at[m], s->accelerations.at[r], s->snr.at[n]), .method = s->methods.at[m],
                                       .acceleration = s->accelerations.at[r], .snr = s->snr.at[n] };
                e = g->name ? 0 : kr_error_code();
            }
    return e;
}

static void list_clear(struct list *l)
{
    for (int i = 0; i < l->count; i++)
        kr_free(l->at[i]);
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    struct study s = { .o = o };
    struct answer a;
    if (!files || !o->out)
        return kr_fail(KR_EUSAGE, files ? "where to? (-o FOLDER)" : "which volumes or scans? (kray study VOLUME... -o FOLDER)");
    if (o->coils < 1 || o->coils > 128 || !(o->timeout >= 0))
        return kr_fail(KR_EUSAGE, "1 to 128 coils, and 0 or more seconds, are wanted");
    answer_begin(&a, o->json, trace);
    s.trace = &a.trace;
    int e = arrange(&s, files, file);
    e = e ? e : kr_folder_make(o->out);
    s.record = e ? NULL : kr_strf("%s/done.json", o->out);
    s.done = s.record ? done_load(s.record) : NULL;
    e = e ? e : s.done ? 0 : kr_error_code();
    for (long i = 0; !e && i < s.inputs; i++)
        e = one_input(&s, &s.input[i], i);
    kr_progress(s.trace, "studying", 1, 1);
    if (!e && s.failed == s.inputs)
        e = kr_fail(KR_EREFUSED, "%s", s.inputs == 1 ? "the one case failed" : "all cases failed");
    e = e || evaluate(&s) || told(&s, &a) || page(&s) ? kr_error_code() : 0;
    if (!e && s.failed + s.missing)
        e = kr_fail(KR_EREFUSED, "%ld of %ld cases failed, and %ld images of the others; the tables have what is there", s.failed, s.inputs, s.missing);
    if (e && !a.last)
        answer_add(&a, NULL);
    if (e)
        answer_failed(&a);
    for (long i = 0; s.input && i < s.inputs; i++) {
        kr_free(s.input[i].path);
        kr_free(s.input[i].name);
    }
    for (long k = 0; s.setting && k < s.settings; k++)
        kr_free(s.setting[k].name);
    json_decref(s.done);
    kr_free(s.record);
    kr_free(s.input);
    kr_free(s.setting);
    list_clear(&s.methods);
    list_clear(&s.accelerations);
    list_clear(&s.snr);
    return answer_end(&a, e);
}

const kr_tool kr_tool_study = { "study", "Evaluate", "compare methods x accelerations x noise levels: scores of the images, and of their segmentations", "VOLUME|SCAN|FOLDER... -o FOLDER [options]",
    "  kray study t1.nii.gz -o study/ --model model.json                          # simulate, reconstruct, segment; study/study.html\n"
    "  kray study val/ -o study/ --methods rss,sense --accelerations 2,4          # scans that were measured fully\n"
    "  kray study val/ -o study/ --methods rss,sense,wavelet --accelerations 2,4  # one method more: what is there already is kept (done.json)\n"
    "  kray study t1.nii.gz -o study/ --snr 15,30 -u poisson:accel={R},seed=1\n",
    table, sizeof(opts), NULL, run };
