/* cmd_segment.c: kray segment: an image and a published model to labels, their table and volumes. */
#include "json.h"
#include "labels.h"
#include "tool.h"
#include "kray/segmenter.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct opts {
    const char *out, *model, *table, *normalise, *folds, *configuration, *checkpoint;
    double step;
    bool largest, fill, mirroring, postprocessing, plan, json;
} opts;
static const kr_opt table[] = {
    { "out", 'o', KR_OPT_OUT, offsetof(opts, out), NULL, "LABELS", "labels on the image's own grid (.nii.gz); for a folder of cases, a folder" },
    { "model", 'm', KR_OPT_FILE, offsetof(opts, model), NULL, "M[,M]", "a MeshNet's model.json (brainchop), or the folder of an nnU-Net v2; several: their labels are joined" },
    { "table", 0, KR_OPT_OUT, offsetof(opts, table), NULL, "FILE", "also write the labels' names: .txt as ITK-SNAP reads them, .ctbl as 3D Slicer, .json" },
    { "largest", 0, KR_OPT_FLAG, offsetof(opts, largest), NULL, NULL, "keep the largest connected part of each label" },
    { "fill-holes", 0, KR_OPT_FLAG, offsetof(opts, fill), NULL, NULL, "fill what each label encloses" },
    { "normalise", 0, KR_OPT_TEXT, offsetof(opts, normalise), NULL, "WAY", "MeshNet: minmax or quantile (default: as published)" },
    { "folds", 0, KR_OPT_TEXT, offsetof(opts, folds), NULL, "N,N", "nnU-Net: the folds whose outputs are averaged (default: all that are there)" },
    { "configuration", 0, KR_OPT_TEXT, offsetof(opts, configuration), NULL, "NAME", "nnU-Net: 3d_fullres, 2d, ... (default: the one it was trained with)" },
    { "checkpoint", 0, KR_OPT_TEXT, offsetof(opts, checkpoint), NULL, "FILE", "nnU-Net: name within a fold (default: checkpoint_final.pth, else checkpoint_best.pth)" },
    { "step", 0, KR_OPT_REAL, offsetof(opts, step), "0.5", "X", "nnU-Net: step of the sliding window, as a fraction of its size" },
    { "mirroring", 0, KR_OPT_FLAG, offsetof(opts, mirroring), "on", NULL, "nnU-Net: mirrored copies too, as trained (without: up to 8 times faster, a little less accurate)" },
    { "postprocessing", 0, KR_OPT_FLAG, offsetof(opts, postprocessing), "on", NULL, "nnU-Net: the rules of postprocessing.json, which remove small pieces, where the model has them" },
    { "plan", 0, KR_OPT_FLAG, offsetof(opts, plan), NULL, NULL, "tell memory and time, and stop" },
    { "json", 0, KR_OPT_FLAG, offsetof(opts, json), NULL, NULL, "print JSON: labels, names, volumes in ml" },
    KR_OPT_END };

/* A colour for each label, far from its neighbours': hues by the golden ratio. */
static void colour(int rgb[3], int32_t label)
{
    double h = fmod(0.618033988749895 * label, 1) * 6, v = label % 3 ? 230 : 180;
    for (int k = 0; k < 3; k++) {
        double d = fabs(fmod(h + (k == 0 ? 0 : k == 1 ? 4 : 2), 6) - 3) - 1;
        rgb[k] = (int)(v * (d < 0 ? 0 : d > 1 ? 1 : d));
    }
}

static bool ends(const char *path, const char *with)
{
    size_t n = strlen(path), k = strlen(with);
    return n >= k && !strcasecmp(path + n - k, with);
}

static int table_known(const char *path)
{
    return !path || ends(path, ".txt") || ends(path, ".ctbl") || ends(path, ".json") ? 0
        : kr_fail(KR_EUSAGE, "--table %s: .txt (ITK-SNAP), .ctbl (3D Slicer) and .json are known", path);
}

static int write_table(const char *path, const kr_meta *m)
{
    kr_text t = { 0 };
    json_t *o = json_object(), *all = json_object();
    if (ends(path, ".txt"))
        kr_text_add(&t, "# ITK-SNAP label description: index, red, green, blue, opacity, visible, mesh visible, name\n    0     0    0    0        0  0  0    \"background\"\n");
    else if (ends(path, ".ctbl"))
        kr_text_add(&t, "# Color table file of 3D Slicer: number, name, red, green, blue, alpha\n0 background 0 0 0 0\n");
    for (long i = 0; i < kr_meta_count(m); i++) {
        int label, rgb[3], used = 0;
        if (sscanf(kr_meta_key(m, i), "label_%d%n", &label, &used) != 1 || kr_meta_key(m, i)[used])
            continue;
        kr_auto char *name = kr_strdup(kr_meta_value(m, i));
        colour(rgb, label);
        json_object_set_new(all, name ? name : "", json_integer(label));
        for (char *p = name; p && *p; p++)
            *p = *p == '"' || *p == '\n' || (*p == ' ' && ends(path, ".ctbl")) ? '_' : *p;
        if (ends(path, ".txt"))
            kr_text_add(&t, "%5d %5d %4d %4d        1  1  1    \"%s\"\n", label, rgb[0], rgb[1], rgb[2], name ? name : "");
        else if (ends(path, ".ctbl"))
            kr_text_add(&t, "%d %s %d %d %d 255\n", label, name ? name : "", rgb[0], rgb[1], rgb[2]);
    }
    json_object_set_new(o, "labels", all);
    if (ends(path, ".json")) {
        char *s = json_dumps(o, JSON_INDENT(2));
        kr_text_add(&t, "%s\n", s ? s : "");
        free(s);
    } else
        json_object_clear(all);
    json_decref(o);
    int e = t.failed ? kr_error_code() : kr_text_write(path, &t);
    kr_text_clear(&t);
    return e;
}

/* Every label of the table or the volume has a name. */
static int name_all(kr_image *im, const int32_t *list, long count)
{
    for (long l = 0; l < count; l++) {
        char key[32];
        snprintf(key, sizeof key, "label_%d", (int)list[l]);
        if (!kr_meta_get(im->meta, key) && kr_meta_set(im->meta, key, "label %d", (int)list[l]))
            return kr_error_code();
    }
    return 0;
}

static int after(kr_image *im, const opts *o, int32_t **labels, long n[3])
{
    if (kr_labels_of(labels, n, im))
        return kr_error_code();
    int e = o->largest ? kr_labels_largest(*labels, n) : 0;
    e = e || !o->fill ? e : kr_labels_fill(*labels, n);
    for (long i = 0; !e && (o->largest || o->fill) && i < n[0] * n[1] * n[2]; i++)
        KR_R(im->data)[i] = (float)(*labels)[i];
    return e;
}

static int tell(const kr_image *im, const int32_t *labels, const long n[3], const int32_t *list, long count, const char *out, const kr_segmenter *s, double seconds, struct answer *a)
{
    double A[16], ml;
    if (kr_geom_affine(im->geom, (long[3]){ n[0], n[1], im->data->n[KR_Z] }, A))
        return kr_error_code();
    ml = fabs(A[0] * (A[5] * A[10] - A[6] * A[9]) - A[1] * (A[4] * A[10] - A[6] * A[8]) + A[2] * (A[4] * A[9] - A[5] * A[8])) / 1000;
    kr_auto long *voxels = kr_alloc_zero(KR_LABEL_MOST + 1, sizeof *voxels);
    if (!voxels)
        return kr_error_code();
    for (long i = 0; i < n[0] * n[1] * n[2]; i++)
        voxels[labels[i]]++;
    json_t *all = json_array();
    kr_text t = { 0 };
    kr_text_add(&t, "%s\n", out);
    for (long l = 0; l < count; l++) {
        const char *name = labels_name(im->meta, list[l]);
        kr_text_add(&t, "  %5d  %-24s %10.2f ml\n", (int)list[l], name ? name : "", (double)voxels[list[l]] * ml);
        json_array_append_new(all, json_pack("{s:i,s:o,s:I,s:f}", "label", (int)list[l], "name", json_words(name), "voxels", (json_int_t)voxels[list[l]], "ml", (double)voxels[list[l]] * ml));
    }
    json_object_set_new(a->last, "model", json_words(kr_segmenter_kind(s)));
    json_object_set_new(a->last, "digest", json_words(kr_segmenter_digest(s)));
    json_object_set_new(a->last, "labels", all);
    json_object_set_new(a->last, "seconds", json_real(seconds));
    int e = a->list ? 0 : kr_text_write("-", &t);
    kr_text_clear(&t);
    return e;
}

/* ---- Models: one, or parts whose labels are joined ---- */
enum { CHANNELS = 64, PARTS = 16 };
struct models { kr_segmenter *at[PARTS]; int count; kr_text digests; };

static void models_close(struct models *m)
{
    for (int i = 0; i < m->count; i++)
        kr_segmenter_unref(&m->at[i]);
    kr_text_clear(&m->digests);
}

static int models_open(struct models *m, const opts *o)
{
    const kr_segmenter_opts how = { .normalise = o->normalise, .folds = o->folds, .configuration = o->configuration, .checkpoint = o->checkpoint, .no_mirroring = !o->mirroring,
                                    .no_postprocessing = !o->postprocessing,
                                    .step = o->step < 0.5 || o->step > 0.5 ? o->step : 0 };
    bool one = !access(o->model, F_OK);
    for (const char *p = o->model; *p; ) {
        size_t n = one ? strlen(p) : strcspn(p, ",");
        kr_auto char *path = kr_strf("%.*s", (int)n, p);
        if (!path)
            return kr_error_code();
        if (m->count == PARTS)
            return kr_fail(KR_EUSAGE, "--model names more than %d models", PARTS);
        if (!(m->at[m->count] = kr_segmenter_open(path, &how)))
            return kr_error_code();
        m->count++;
        if (kr_segmenter_channels(m->at[m->count - 1]) != kr_segmenter_channels(m->at[0]))
            return kr_fail(KR_EUSAGE, "%s wants %ld images, the model before it %ld: parts of one segmentation take the same", path, kr_segmenter_channels(m->at[m->count - 1]),
                           kr_segmenter_channels(m->at[0]));
        kr_text_add(&m->digests, "%s%.16s", m->count > 1 ? "," : "", kr_segmenter_digest(m->at[m->count - 1]));
        p += n + (p[n] == ',');
    }
    return m->digests.failed ? kr_error_code() : 0;
}

static int plan(const struct models *m, const kr_image *const *channel, long channels, struct answer *a)
{
    kr_segmenter_cost all = { 0 };
    for (int i = 0; i < m->count; i++) {
        kr_segmenter_cost c;
        if (kr_segmenter_plan(m->at[i], &c, channel, channels, &a->trace))
            return kr_error_code();
        all.bytes = fmax(all.bytes, c.bytes);
        all.flops += c.flops;
        all.seconds += c.seconds;
        all.windows += c.windows;
    }
    json_object_set_new(a->last, "digest", json_words(kr_segmenter_digest(m->at[0])));
    json_object_set_new(a->last, "plan", json_pack("{s:f,s:f,s:f,s:I,s:i}", "memory_bytes", all.bytes, "flops", all.flops, "seconds", all.seconds, "windows", (json_int_t)all.windows, "threads", kr_threads()));
    if (!a->list)
        kr_print("%.2f GiB beside the image, %.3g floating-point operations in %ld window%s on %d thread%s: about %.*f s here\n", all.bytes / 1073741824., all.flops,
                 all.windows, all.windows == 1 ? "" : "s", kr_threads(), kr_threads() == 1 ? "" : "s", all.seconds < 10, all.seconds);
    return 0;
}

static int right_channels(const struct models *m, const char *model, long files)
{
    long want = kr_segmenter_channels(m->at[0]);
    kr_text names = { 0 };
    if (want == files)
        return 0;
    for (long c = 0; c < want; c++)
        kr_text_add(&names, "%s%s", c ? ", " : "", kr_segmenter_channel(m->at[0], c));
    kr_fail(KR_EUSAGE, "%s wants %ld image%s (%s), %ld %s given", model, want, want == 1 ? "" : "s", names.s ? names.s : "", files, files == 1 ? "was" : "were");
    kr_text_clear(&names);
    return KR_EUSAGE;
}

/* One case: its channels to labels at `to`; the table where `table` is not NULL. */
static int segment(const struct models *m, const opts *o, int files, char **file, const char *to, const char *table_to, struct answer *a)
{
    kr_image *im[CHANNELS] = { NULL }, *out = NULL;
    const kr_image *in[CHANNELS];
    kr_auto int32_t *labels = NULL, *list = NULL;
    long n[3], count = 0;
    double start = kr_seconds();
    int e = 0;
    answer_add(a, o->plan ? file[0] : to);
    json_object_set_new(a->last, o->plan ? "model" : "input", json_words(o->plan ? o->model : file[0]));
    for (int i = 0; !e && i < files; i++) {
        e = kr_image_read(&im[i], file[i]);
        in[i] = im[i];
        if (!e && kr_meta_get(im[i]->meta, "place_unknown"))
            kr_say(&a->trace, KR_WARNING, "%s: %s: what is left and what is right is taken from the order of its voxels", file[i], kr_meta_get(im[i]->meta, "place_unknown"));
    }
    for (int i = 1; !e && i < files; i++)
        e = kr_image_same_grid(im[i], im[0], file[i], file[0]);
    if (!e && o->plan)
        e = plan(m, in, files, a);
    else if (!e) {
        for (int k = 0; !e && k < m->count; k++) {
            kr_image *part = NULL;
            kr_trace_unit room;
            e = kr_segmenter_run(m->at[k], k ? &part : &out, in, files, kr_trace_of(&room, &a->trace, "model", k, m->count));
            e = e || !k ? e : kr_labels_join(out, part);
            kr_image_unref(&part);
        }
        e = e ? kr_fail_in("%s", file[0]) : after(out, o, &labels, n);
        count = e ? 0 : kr_labels_list(&list, labels, NULL, n[0] * n[1] * n[2]);
        e = e ? e : count < 0 ? (int)count : name_all(out, list, count);
        kr_auto const char **source = e ? NULL : kr_alloc((size_t)files + 1, sizeof *source);
        for (int i = 0; source && i < files; i++)
            source[i] = file[i];
        kr_text how_text = { 0 };
        kr_text_add(&how_text, "model=%s%s%s", m->digests.s, o->largest ? " largest" : "", o->fill ? " fill-holes" : "");
        e = e ? e : source ? kr_note(out->meta, kr_segmenter_kind(m->at[0]), how_text.s, source, files) : kr_error_code();
        kr_text_clear(&how_text);
        e = e ? e : kr_image_write(out, to, NULL);
        e = e || !table_to ? e : write_table(table_to, out->meta);
        e = e ? e : tell(out, labels, n, list, count, to, m->at[0], kr_seconds() - start, a);
    }
    kr_image_unref(&out);
    for (int i = 0; i < files && i < CHANNELS; i++)
        kr_image_unref(&im[i]);
    return e;
}

/* ---- A folder of cases: CASE.nii.gz, or CASE_0000.nii.gz, CASE_0001.nii.gz, ... as nnU-Net names channels ---- */
static size_t stem_of(const char *name)
{
    size_t n = strlen(name);
    return ends(name, ".nii.gz") ? n - 7 : ends(name, ".nii") || ends(name, ".dcm") ? n - 4 : 0;
}

static bool numbered(const char *name, size_t n, long channel)
{
    char number[32];
    snprintf(number, sizeof number, "_%04ld", channel);
    return n > 5 && !strncmp(name + n - 5, number, 5);
}

/* The case that file i of a sorted list begins, with its channels; 0: none begins there. */
static int case_of(char **channel, long channels, char **name, struct dirent *const *all, int count, int i, const char *folder)
{
    const char *first = all[i]->d_name;
    size_t n = stem_of(first), base = n;
    bool many = n && numbered(first, n, 0);
    if (!n || *first == '.' || (!many && channels > 1))
        return 0;
    for (long c = 1; !many && channels == 1 && c < CHANNELS; c++)      /* a further channel of a case that begins elsewhere */
        many = numbered(first, n, c);
    base = many ? n - 5 : n;
    for (long c = 0; c < channels; c++) {
        int k = i;
        while (k < count && !(stem_of(all[k]->d_name) == n && !strncmp(all[k]->d_name, first, base) && (!many || numbered(all[k]->d_name, n, channels == 1 ? 0 : c))))
            k++;
        if (k == count)
            return channels == 1 ? 0 : kr_fail(KR_EFILE, "%s/%.*s has no channel %04ld", folder, (int)base, first, c);
        channel[c] = kr_strf("%s/%s", folder, all[k]->d_name);
        if (!channel[c])
            return kr_error_code();
    }
    *name = kr_strf("%.*s", (int)base, first);
    return *name ? 1 : kr_error_code();
}

static int segment_folder(const struct models *m, const opts *o, const char *folder, struct answer *a)
{
    struct dirent **all = NULL;
    long channels = kr_segmenter_channels(m->at[0]), done = 0, failed = 0;
    int count = scandir(folder, &all, NULL, alphasort), e = count < 0 ? kr_fail(KR_EFILE, "%s cannot be read", folder) : 0;
    for (int i = 0; i < count && !e; i++) {
        char *channel[CHANNELS] = { NULL }, *name = NULL;
        int found = case_of(channel, channels, &name, all, count, i, folder);
        kr_auto char *to = found > 0 && o->out ? kr_strf("%s/%s.nii.gz", o->out, name) : NULL;
        e = kr_stopped(&a->trace);
        if (found < 0)
            answer_add(a, NULL);
        else if (found && !e)
            found = o->out && !to ? kr_error_code() : segment(m, o, (int)channels, channel, to ? to : channel[0], done ? NULL : o->table, a) ? kr_error_code() : 1;
        done += found > 0;
        if (found < 0 && !e) {
            failed++;
            answer_failed(a);
            e = found == KR_ESTOPPED || found == KR_EMEM || found == KR_EUSAGE ? found : 0;
            if (!e) {
                kr_say(&a->trace, KR_WARNING, "%s", kr_error());
                kr_error_clear();
            }
        }
        for (long c = 0; c < CHANNELS; c++)
            kr_free(channel[c]);
        kr_free(name);
    }
    for (int i = 0; i < count; i++)
        free(all[i]);
    free(all);
    if (!e && !done && !failed)
        e = kr_fail(KR_EFILE, channels > 1 ? "%s holds no cases (CASE_0000.nii.gz, CASE_0001.nii.gz, ...)" : "%s holds no cases (.nii.gz, .nii, .dcm)", folder);
    return e ? e : failed ? kr_fail(KR_EREFUSED, "%ld of %ld cases failed", failed, failed + done) : 0;
}

static bool folder_of_cases(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode) && !kr_folder_format(path);
}

static int run(void *opt, int files, char **file, const kr_trace *trace)
{
    const opts *o = opt;
    if (!files)
        return kr_fail(KR_EUSAGE, "what is to be segmented? (kray segment IMAGE -o LABELS --model M)");
    if (files > CHANNELS)
        return kr_fail(KR_EUSAGE, "%d images: at most %d channels are one case", files, CHANNELS);
    if (!o->model || (!o->out && !o->plan))
        return kr_fail(KR_EUSAGE, o->model ? "where to? (-o LABELS.nii.gz)" : "which model? (--model model.json, or an nnU-Net's folder)");
    if (!(o->step > 0 && o->step <= 1))
        return kr_fail(KR_EUSAGE, "--step %g: a part of the window, above 0 and up to 1, is wanted", o->step);
    if (table_known(o->table))
        return kr_error_code();
    bool cases = files == 1 && folder_of_cases(file[0]);
    if (!o->plan) {
        if (ends(o->out, ".png"))
            return kr_fail(KR_EUSAGE, "-o %s: a picture cannot hold labels; write a volume (.nii.gz), and look at it with kray view IMAGE LABELS", o->out);
        if (cases && stem_of(o->out))
            return kr_fail(KR_EUSAGE, "%s is a folder of cases: their labels go into a folder, and %s is named like one file", file[0], o->out);
        if (cases ? kr_folder_make(o->out) || kr_output_apart(o->out, file[0]) : kr_can_write(KR_PICTURE, o->out, NULL))
            return kr_error_code();
        if (o->table && kr_text_can_write(o->table))
            return kr_error_code();
        for (int i = 0; i < files; i++)
            if (kr_output_apart(o->out, file[i]))
                return kr_error_code();
    }
    struct answer a;
    struct models m = { .count = 0 };
    answer_begin(&a, o->json, trace);
    int e = models_open(&m, o);
    e = e || cases ? e : right_channels(&m, o->model, files);
    bool begun = !e;
    if (e)
        answer_add(&a, o->plan ? file[0] : o->out);
    else
        e = cases ? segment_folder(&m, o, file[0], &a) : segment(&m, o, files, file, o->out, o->table, &a);
    if (e && !(cases && begun))
        answer_failed(&a);
    models_close(&m);
    return answer_end(&a, e);
}

const kr_tool kr_tool_segment = { "segment", "Evaluate", "segment an image by a published network: MeshNet, nnU-Net v2", "IMAGE... -o LABELS --model M [options], or FOLDER -o FOLDER --model M",
    "  kray segment t1.nii.gz -o tissue.nii.gz --model model5_gw_ae/model.json        # brainchop's MeshNet\n"
    "  kray segment case_0000.nii.gz case_0001.nii.gz -o seg.nii.gz --model nnUNetTrainer__nnUNetPlans__3d_fullres/\n"
    "  kray segment t1.nii.gz -o seg.nii.gz --model m/model.json --largest --table seg.txt   # a label table for ITK-SNAP\n"
    "  kray segment imagesTs/ -o labels/ --model Dataset001/nnUNetTrainer__nnUNetPlans__3d_fullres/      # a folder of cases\n"
    "  kray segment ct.nii.gz -o seg.nii.gz --model part1/,part2/                   # parts of one segmentation: one label table\n",
    table, sizeof(opts), NULL, run };
