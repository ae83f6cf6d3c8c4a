/* judge.c: finding pairs, reading both as magnitudes, cropping as the protocol's programs do, scoring. */
#include "judge.h"
#include "tool.h"
#include "kray/recon.h"
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ------------------------------------------------------------------------------------------ */
static bool folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Length of the suffix, if a format that reads images or raw data has it. */
static size_t suffix_of(const char *name)
{
    size_t best = 0;
    for (int i = 0; kr_formats[i]; i++) {
        size_t k = kr_formats[i]->read_image || kr_formats[i]->read ? kr_format_suffix(kr_formats[i], name) : 0;
        best = k > best ? k : best;
    }
    return best;
}

static int add(struct judge_files *f, const char *path, const char *name)
{
    if (f->count == f->room) {
        long room = f->room ? 2 * f->room : 16;
        void *p = kr_realloc(f->at, (size_t)f->count, (size_t)room, sizeof *f->at);
        if (!p)
            return kr_error_code();
        f->at = p;
        f->room = room;
    }
    kr_auto char *bare = kr_strdup(name);
    if (!bare)
        return kr_error_code();
    char *at = strchr(bare, '@');                      /* NAME.npy@slice,y,x and NAME.mat:VARIABLE */
    if (at)
        *at = 0;
    char *colon = strrchr(bare, ':');
    if (!suffix_of(bare) && colon)
        *colon = 0;
    f->at[f->count].path = kr_strdup(path);
    f->at[f->count].name = kr_strf("%.*s", (int)(strlen(bare) - suffix_of(bare)), bare);
    f->count++;
    return f->at[f->count - 1].path && f->at[f->count - 1].name ? 0 : kr_error_code();
}

static int add_folder(struct judge_files *f, const char *path, const char *inside)
{
    DIR *d = opendir(path);
    if (!d)
        return kr_fail(KR_EFILE, "%s: cannot be opened: %s", path, strerror(errno));
    int e = 0;
    for (struct dirent *n; !e && (n = readdir(d)); ) {
        if (n->d_name[0] == '.')
            continue;
        kr_auto char *full = kr_strf("%s/%s", path, n->d_name), *name = kr_strf("%s%s", inside, n->d_name);
        kr_auto char *deeper = kr_strf("%s%s/", inside, n->d_name);
        if (!full || !name || !deeper)
            e = kr_error_code();
        else if (folder(full))
            e = add_folder(f, full, deeper);
        else if (suffix_of(n->d_name))
            e = add(f, full, name);
    }
    closedir(d);
    return e;
}

static int add_pattern(struct judge_files *f, const char *pattern)
{
    glob_t g = { 0 };
    int e = glob(pattern, 0, NULL, &g) ? kr_fail(KR_EFILE, "%s: nothing fits this pattern", pattern) : 0;
    size_t fixed = strcspn(pattern, "*?[");
    while (fixed > 0 && pattern[fixed - 1] != '/')
        fixed--;
    for (size_t i = 0; !e && i < g.gl_pathc; i++)
        if (!folder(g.gl_pathv[i]) && suffix_of(g.gl_pathv[i]))
            e = add(f, g.gl_pathv[i], g.gl_pathv[i] + fixed);
    globfree(&g);
    return e;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct { char *path, *name; } *)a)->name, ((const struct { char *path, *name; } *)b)->name);
}

/* One word alone; what lies in a folder or fits a pattern is many. */
static int add_word(struct judge_files *f, const char *word, const char *name)
{
    size_t n = strlen(word);
    if (folder(word) && !kr_folder_format(word)) {
        kr_auto char *path = kr_strf("%.*s", (int)(n > 1 && word[n - 1] == '/' ? n - 1 : n), word);
        kr_auto char *inside = kr_strf("%s%s", name, *name && name[strlen(name) - 1] != '/' ? "/" : "");
        f->many = true;
        return path && inside ? add_folder(f, path, inside) : kr_error_code();
    }
    if (access(word, F_OK) && strpbrk(word, "*?[")) {
        f->many = true;
        return add_pattern(f, word);
    }
    if (n && word[n - 1] == '/')
        return kr_fail(KR_EFILE, "there is no folder %s", word);
    const char *slash = strrchr(word, '/');
    return add(f, word, *name ? name : slash ? slash + 1 : word);
}

/* Length of the folders that all words begin with: what is left of them are their names. */
static size_t shared_folders(int words, char *const *word)
{
    size_t n = 0;
    for (size_t i = 0; ; i++) {
        for (int w = 0; w < words; w++)
            if (!word[w][i] || word[w][i] != word[0][i])
                return n;
        if (word[0][i] == '/')
            n = i + 1;
    }
}

int judge_files(struct judge_files *f, int words, char *const *word)
{
    *f = (struct judge_files){ .many = words > 1 };
    size_t shared = words > 1 ? shared_folders(words, word) : 0;
    int e = 0;
    for (int w = 0; !e && w < words; w++)
        e = add_word(f, word[w], words > 1 ? word[w] + shared : "");
    if (!e && !f->count)
        e = kr_fail(KR_EFILE, "%s: no files in it have a suffix that Kray reads", word[0]);
    if (e)
        return e;
    qsort(f->at, (size_t)f->count, sizeof *f->at, by_name);
    for (long i = 1; i < f->count; i++)
        if (!strcmp(f->at[i - 1].name, f->at[i].name))
            return kr_fail(KR_EUSAGE, "%s and %s have the same name but for the suffix; a pattern can choose", f->at[i - 1].path, f->at[i].path);
    return 0;
}

void judge_files_close(struct judge_files *f)
{
    for (long i = 0; i < f->count; i++) {
        kr_free(f->at[i].path);
        kr_free(f->at[i].name);
    }
    kr_free(f->at);
    *f = (struct judge_files){ 0 };
}

const char *judge_files_named(const struct judge_files *f, const char *name)
{
    long low = 0, high = f->count;
    while (low < high) {
        long mid = low + (high - low) / 2;
        int order = strcmp(f->at[mid].name, name);
        if (!order)
            return f->at[mid].path;
        *(order < 0 ? &low : &high) = order < 0 ? mid + 1 : mid;
    }
    return NULL;
}

size_t judge_named(const char *word)
{
    const char *equal = strchr(word, '='), *slash = strchr(word, '/');
    return equal && equal > word && (!slash || equal < slash) && access(word, F_OK) ? (size_t)(equal - word) : 0;
}

/* ---- How an image was made --------------------------------------------------------------------------- */
static char **origin_field(struct judge_origin *o, int i)
{
    return i == 0 ? &o->method : i == 1 ? &o->acceleration : i == 2 ? &o->mask : &o->parameters;
}

int judge_origin(struct judge_origin *o, const kr_meta *m)
{
    static const char *const key[4][2] = { { "kray_method", "method" }, { "kray_acceleration", "acceleration" }, { "kray_mask", "mask" },
                                           { "kray_parameters", "parameters" } };
    *o = (struct judge_origin){ 0 };
    for (int i = 0; i < 4; i++) {
        const char *v = kr_meta_get(m, key[i][0]);
        v = v ? v : kr_meta_get(m, key[i][1]);
        if (v && *v && !(*origin_field(o, i) = kr_strdup(v)))
            return kr_error_code();
    }
    return 0;
}

int judge_origin_copy(struct judge_origin *o, const struct judge_origin *from)
{
    for (int i = 0; i < 4; i++) {
        const char *v = *origin_field((struct judge_origin *)from, i);
        if (v && !(*origin_field(o, i) = kr_strdup(v)))
            return kr_error_code();
    }
    return 0;
}

int judge_origin_join(struct judge_origin *o, const struct judge_origin *other)
{
    for (int i = 0; i < 4; i++) {
        char **a = origin_field(o, i);
        const char *b = *origin_field((struct judge_origin *)other, i);
        if (*a == b || (*a && b && !strcmp(*a, b)))
            continue;
        kr_free(*a);
        if (!(*a = kr_strdup("various")))
            return kr_error_code();
    }
    return 0;
}

void judge_origin_close(struct judge_origin *o)
{
    for (int i = 0; i < 4; i++)
        kr_free_at(origin_field(o, i));
}

/* ---- Reading ---------------------------------------------------------------------------------------- */
/* The reference of raw data: the file's own, or the RSS of the data where they are fully sampled. */
static int reference_of(kr_image **out, kr_scan *s, const kr_trace *trace)
{
    if (s->reference) {
        *out = kr_image_magnitude(s->reference);
        return *out ? 0 : kr_error_code();
    }
    kr_scoped(array) mask = kr_scan_mask(s);
    if (!mask)
        return kr_error_code();
    double kept = kr_norm(mask) * kr_norm(mask) / (double)kr_count(kr_array_shape(mask));
    if (kept < 1)
        return kr_fail(KR_EREFUSED, "holds no reference image, and only %.1f %% of its k-space were measured, so it cannot be a target", 100 * kept);
    const kr_prepare as_recon = { .whiten = true, .oversampling = true, .average = true };   /* as kray recon makes scans ready */
    if (kr_reconstruct(out, s, kr_recon_named("rss"), NULL, &as_recon, NULL, NULL, trace))
        return kr_error_code();
    return kr_meta_set((*out)->meta, "reference", "root of the sum of squares of the fully sampled k-space");
}

/* *crops: name of the format whose scorers crop what they make of this file, or NULL: some crop whatever they read, others what comes from the measurement itself. */
static int read_magnitude(kr_image **out, const char **crops, const char *path, bool target, const kr_trace *trace)
{
    kr_source src;
    if (kr_guard_try(path, NULL, KR_PICTURE) || kr_source_parse(&src, path))
        return kr_error_code();
    const kr_format *f = kr_format_of(src.path);
    kr_source_clear(&src);
    if (!f)
        return kr_error_code();
    kr_scoped(image) im = NULL;
    kr_scoped(scan) s = NULL;
    *crops = f->cropped ? f->name : NULL;
    int e = f->read_image ? kr_image_read(&im, path) : KR_EFORMAT;
    if (!e && (im->data->n[KR_COIL] > 1 || im->data->n[KR_MAP] > 1))
        e = kr_fail(KR_EFORMAT, "%s: holds %s, not a combined image", path, kr_shape_text(kr_array_shape(im->data)));
    if (e && target && f->read && e != KR_EFILE && e != KR_EMEM && e != KR_ENUMBER) {
        kr_image_unref(&im);
        if (kr_scan_read(&s, path, NULL, NULL, trace))
            return kr_error_code();
        if (reference_of(&im, s, trace))
            return kr_fail_in("%s", path);
        *crops = f->name;
    } else if (e)
        return f->read_image ? e : kr_fail(KR_EFORMAT, "%s: a %s file holds no images that Kray reads", path, f->name);
    if (kr_meta_get(im->meta, "place_unknown"))
        kr_say(trace, KR_WARNING, "%s: %s: where it lies in the patient is unknown, and voxels are compared as they are stored", path, kr_meta_get(im->meta, "place_unknown"));
    *out = kr_image_magnitude(im);
    return *out ? 0 : kr_error_code();
}

int judge_image(kr_image **out, const char *path, const kr_trace *trace)
{
    const char *unused;
    return read_magnitude(out, &unused, path, false, trace);
}

/* ---- Making comparable ------------------------------------------------------------------------------- */
/* Equal but for the names of the axes after X and Y (Z of a NumPy array, SLICE of a scan). */
static bool fits(const kr_array *a, const kr_array *b)
{
    if (a->n[KR_X] != b->n[KR_X] || a->n[KR_Y] != b->n[KR_Y])
        return false;
    int i = KR_Z, j = KR_Z;
    for (;;) {
        while (i < KR_AXES && a->n[i] == 1)
            i++;
        while (j < KR_AXES && b->n[j] == 1)
            j++;
        if (i == KR_AXES || j == KR_AXES)
            return i == j;
        if (a->n[i++] != b->n[j++])
            return false;
    }
}

/* The numbers of a with the axes of `like`: memory order is the same. */
static kr_array *as_axes_of(const kr_array *a, const kr_array *like)
{
    kr_scoped(array) p = kr_array_packed(a);
    kr_array *b = p ? kr_array_new(KR_R32, kr_array_shape(like)) : NULL;
    if (b)
        memcpy(b->data, p->data, (size_t)kr_count(kr_array_shape(p)) * sizeof(float));
    return b;
}

/* A copy, cropped by the protocol's programs; NULL with the refusal. */
static kr_array *cropped(const kr_protocol *p, const kr_array *a, const kr_array *target, const char *name)
{
    kr_array *c = kr_array_ref(a);
    if (c && p->crop(&c, target, name))
        kr_array_unref(&c);
    return c;
}

static int do_not_fit(const kr_array *t, const kr_array *r, const kr_protocol *p)
{
    bool turned = t->n[KR_X] == r->n[KR_Y] && t->n[KR_Y] == r->n[KR_X] && t->n[KR_X] != t->n[KR_Y];
    return kr_fail(KR_ESHAPE, "the target is %s, the reconstruction %s%s%s", kr_shape_text(kr_array_shape(t)), kr_shape_text(kr_array_shape(r)),
                   p->crop ? ", and the crop of the protocol does not make them equal" : "",
                   turned ? "; rows and columns look exchanged: name the axes, as in FILE@slice,x,y" : "");
}

/* Crops as asked; both come out with equal shapes. */
static int make_equal(kr_array **t, kr_array **r, char **note, const struct judge *j, bool theirs, const char *name)
{
    const kr_protocol *p = j->protocol;
    bool equal = fits(*t, *r), wanted = !strcmp(j->crop, "always") || (!strcmp(j->crop, "auto") && (theirs || !equal));
    if (p->crop && wanted) {
        kr_scoped(array) ct = cropped(p, *t, *t, name);
        kr_scoped(array) cr = ct ? cropped(p, *r, *t, name) : NULL;
        bool both = ct && cr && fits(ct, cr), first = !both && ct && fits(ct, *r), second = !both && cr && fits(*t, cr);
        if (!both && !first && !second)
            return ct && cr ? do_not_fit(*t, *r, p) : kr_error_code();
        long before = (*t)->n[KR_X] * (*t)->n[KR_Y] + (*r)->n[KR_X] * (*r)->n[KR_Y];
        if (both || first) {                           /* only one of them may still be whole */
            kr_array_unref(t);
            *t = kr_array_ref(ct);
        }
        if (both || second) {
            kr_array_unref(r);
            *r = kr_array_ref(cr);
        }
        if ((*t)->n[KR_X] * (*t)->n[KR_Y] + (*r)->n[KR_X] * (*r)->n[KR_Y] < before && !(*note = kr_strf("%ld x %ld", (*t)->n[KR_X], (*t)->n[KR_Y])))
            return kr_error_code();
    } else if (!equal)
        return do_not_fit(*t, *r, p);
    kr_array *same = as_axes_of(*r, *t);
    kr_array_unref(r);
    *r = same;
    return same ? 0 : kr_error_code();
}

static int leave_out(kr_array **a, long skip)
{
    int d = (*a)->n[KR_SLICE] > 1 || (*a)->n[KR_Z] == 1 ? KR_SLICE : KR_Z;
    long n = (*a)->n[d] - 2 * skip;
    if (skip < 0 || n < 1)
        return kr_fail(KR_EUSAGE, "%ld slices at each end cannot be left out of %ld", skip, (*a)->n[d]);
    kr_array *c = kr_array_range(*a, d, skip, n);
    if (!c)
        return kr_error_code();
    kr_array_unref(a);
    *a = c;
    return 0;
}

/* The region of interest on the grid that is compared: of one picture for all, or of the target's shape, whole or cropped. */
static kr_array *region(const struct judge *j, kr_shape whole, const kr_array *target, const char *name)
{
    kr_image *im = NULL;
    if (kr_image_read(&im, j->roi))
        return NULL;
    kr_scoped(image) m = kr_image_magnitude(im);
    kr_image_unref(&im);
    if (!m)
        return NULL;
    kr_scoped(array) roi = kr_array_ref(m->data);
    kr_shape s = kr_array_shape(roi);
    if (roi && j->protocol->crop && s.n[KR_X] == whole.n[KR_X] && s.n[KR_Y] == whole.n[KR_Y] &&
        (s.n[KR_X] != target->n[KR_X] || s.n[KR_Y] != target->n[KR_Y])) {
        kr_array *c = cropped(j->protocol, roi, roi, name);
        kr_array_unref(&roi);
        roi = c;
    }
    if (!roi)
        return NULL;
    if (roi->n[KR_X] * roi->n[KR_Y] == kr_count(kr_array_shape(roi)) && roi->n[KR_X] == target->n[KR_X] && roi->n[KR_Y] == target->n[KR_Y]) {
        kr_scoped(array) wide = kr_array_spread(roi, kr_array_shape(target));
        return wide ? kr_array_copy(wide) : NULL;
    }
    if (fits(roi, target))
        return as_axes_of(roi, target);
    kr_fail(KR_ESHAPE, "%s: the region is %s, the images are %s", j->roi, kr_shape_text(kr_array_shape(roi)), kr_shape_text(kr_array_shape(target)));
    return NULL;
}

/* The factor a that brings a r nearest to t: sum t r / sum r r. */
static double factor(const kr_array *r, const kr_array *t)
{
    double rr = kr_dot_re(r, r);
    return rr > 0 ? kr_dot_re(t, r) / rr : 0;
}

static int fit(double *scale, kr_array *r, const kr_array *t)
{
    *scale = factor(r, t);
    if (!(*scale > 0) || !isfinite(*scale))
        return kr_fail(KR_ENUMBER, "no scale brings the reconstruction near the target");
    kr_scale(r, (float)*scale);
    return 0;
}

bool judge_other_units(const struct judged *j, const char *recon, const kr_trace *trace)
{
    bool other = j->apart > 0 && (j->apart < 0.25 || j->apart > 4);
    if (other)
        kr_say(trace, KR_WARNING, "%s is %.3g times its target, as if in other units; --scale fit compares apart from such a factor", recon, 1 / j->apart);
    return other;
}

int judge_read(struct judge_target *t, const char *path, const kr_trace *trace)
{
    *t = (struct judge_target){ .path = path };
    return read_magnitude(&t->image, &t->crops, path, true, trace);
}

void judge_target_close(struct judge_target *t) { kr_image_unref(&t->image); }

static int describe_turn(char **text, const kr_turning *how)
{
    static const char *const name[3] = { "x", "y", "slices" };
    kr_text t = { 0 };
    if (how->axis[0] != 0 || how->axis[1] != 1 || how->axis[2] != 2)
        kr_text_add(&t, "axes in the order %s, %s, %s", name[how->axis[0]], name[how->axis[1]], name[how->axis[2]]);
    for (int j = 0; j < 3; j++)
        if (how->flip[j])
            kr_text_add(&t, "%s%s reversed", t.len ? ", " : "", name[how->axis[j]]);
    *text = t.failed ? NULL : kr_strdup(t.s);
    kr_text_clear(&t);
    return *text ? 0 : kr_error_code();
}

/* Puts the reconstruction's axes as the target's lie in the patient, and tells of what that does not mend. */
static int place(kr_image **recon, char **note, const kr_image *target, const char *path, const kr_trace *trace)
{
    kr_turning how;
    kr_scoped(image) t = NULL;
    if (kr_image_turn(&t, &how, *recon, target))
        return kr_error_code();
    if (!how.known)
        return 0;
    if (how.turned && fits(target->data, (*recon)->data) && !fits(target->data, t->data)) {
        kr_say(trace, KR_WARNING, "%s: its affine says that its axes are others than the target's, but the shapes fit only as they are stored: compared as stored", path);
        return 0;
    }
    if (how.turned) {
        if (describe_turn(note, &how))
            return kr_error_code();
        kr_say(trace, KR_INFO, "%s: stored with other axes than its target (%s): compared in patient space", path, *note);
        kr_image_unref(recon);
        *recon = t;
        t = NULL;
    }
    double smallest = fmin(how.voxel_mm[0], fmin(how.voxel_mm[1], how.voxel_mm[2]));
    bool size = false;
    for (int d = 0; d < 3; d++)              /* 2 %: headers round */
        size |= fabs(how.voxel_mm[d] - how.voxel_like_mm[d]) > 0.02 * how.voxel_like_mm[d];
    if (how.angle_deg > 0)
        kr_say(trace, KR_WARNING, "%s: its axes are %.3g degrees off those of the target; voxels are compared one by one, without resampling", path, how.angle_deg);
    else if (size)
        kr_say(trace, KR_WARNING, "%s: its voxels are %.4g x %.4g x %.4g mm, those of the target %.4g x %.4g x %.4g; compared one by one, without resampling", path,
               how.voxel_mm[0], how.voxel_mm[1], how.voxel_mm[2], how.voxel_like_mm[0], how.voxel_like_mm[1], how.voxel_like_mm[2]);
    else if (how.away_mm > 0.5 * smallest)
        kr_say(trace, KR_WARNING, "%s: lies %.4g mm away from its target in the patient; voxels are compared one by one all the same", path, how.away_mm);
    return 0;
}

int judge(struct judged *out, const struct judge *j, const struct judge_target *target, const char *recon, const kr_trace *trace)
{
    *out = (struct judged){ .scale = 1 };
    const char *unused, *slash = strrchr(target->path, '/'), *name = slash ? slash + 1 : target->path;
    const kr_image *ti = target->image;
    kr_scoped(image) ri = NULL;
    if (read_magnitude(&ri, &unused, recon, false, trace) || place(&ri, &out->turned, ti, recon, trace))
        return kr_error_code();
    kr_scoped(array) t = kr_array_packed(ti->data);
    kr_scoped(array) r = kr_array_packed(ri->data);
    kr_scoped(array) roi = NULL;
    kr_shape whole = kr_array_shape(ti->data);
    bool theirs = target->crops && j->protocol->files && !strcmp(target->crops, j->protocol->files);
    if (!t || !r)
        return kr_error_code();
    if (make_equal(&t, &r, &out->crop, j, theirs, name) || (j->skip && (leave_out(&t, j->skip) || leave_out(&r, j->skip))))
        return kr_fail_in("%s", recon);
    if (j->roi) {
        roi = region(j, whole, t, name);
        if (!roi)
            return kr_error_code();
    }
    if (j->fit && fit(&out->scale, r, t))
        return kr_fail_in("%s", recon);
    out->apart = factor(r, t);
    for (int d = 0; d < 3; d++)
        out->voxel_mm[d] = ti->geom->fov_mm[d] / (double)whole.n[d];
    out->slices = kr_count(kr_array_shape(t)) / (t->n[KR_X] * t->n[KR_Y]);
    out->slice = kr_alloc_zero((size_t)out->slices, sizeof *out->slice);
    out->target = kr_image_new(t, ti->geom, ti->meta);
    out->recon = kr_image_new(r, ri->geom, ri->meta);
    if (!out->slice || !out->target || !out->recon)
        return kr_error_code();
    if (j->protocol->score(out->slice, &out->volume, t, r, roi))
        return kr_fail_in("%s", recon);
    long without = 0;
    for (long i = 0; i < out->slices; i++) {
        bool any = false;
        for (int k = 0; k < KR_MEASURES; k++)
            any |= !isnan(kr_score_get(&out->slice[i], k));
        without += !any;
    }
    if (without)
        kr_say(trace, KR_WARNING, "%s: %ld of %ld slices have no score (%s): they count in no mean over slices", recon, without, out->slices,
               roi ? "empty, or outside of the region" : "target or reconstruction is empty there");
    return 0;
}

void judged_close(struct judged *j)
{
    kr_image_unref(&j->target);
    kr_image_unref(&j->recon);
    kr_free(j->slice);
    kr_free(j->crop);
    kr_free(j->turned);
    *j = (struct judged){ 0 };
}

/* ---- Telling ------------------------------------------------------------------------------------------ */
const char *judge_number(double v)
{
    static _Thread_local char text[16][32];
    static _Thread_local int turn;
    char *t = text[turn++ % 16];
    if (isnan(v))
        snprintf(t, sizeof text[0], "-");
    else if (isinf(v))
        snprintf(t, sizeof text[0], v > 0 ? "inf" : "-inf");
    else if (v == 0)
        snprintf(t, sizeof text[0], "0");
    else
        snprintf(t, sizeof text[0], "%#.6g", v);
    size_t n = strlen(t);
    if (n && t[n - 1] == '.')                          /* "123456." */
        t[n - 1] = 0;
    return t;
}

/* A cell. Quoted where it must be; a spreadsheet takes what begins with = + - @ for a formula unless an apostrophe stands first. */
void judge_cell(kr_text *t, const char *s)
{
    s = s ? s : "";
    bool formula = *s && strchr("=+-@\t\r", *s);
    if (!formula && !strpbrk(s, ",\"\n\r")) {
        kr_text_add(t, "%s", s);
        return;
    }
    kr_text_add(t, formula ? "\"'" : "\"");
    for (; *s; s++)
        kr_text_add(t, *s == '"' ? "\"\"" : "%c", *s);
    kr_text_add(t, "\"");
}

int judge_may_write(const char *path, const struct judge_files *f)
{
    if (!path || !strcmp(path, "-"))
        return 0;
    if (kr_text_can_write(path))
        return kr_error_code();
    const kr_format *data = kr_format_of(path);
    if (data)
        return kr_fail(KR_EUSAGE, "%s: is a file of scans or images (%s), or named like one, and this is text", path, data->name);
    if (kr_error_code() == KR_EMEM)
        return KR_EMEM;
    kr_error_clear();
    for (long i = 0; i < f->count; i++)
        if (kr_output_apart(path, f->at[i].path))
            return kr_error_code();
    return 0;
}

int judge_list(void)
{
    for (int i = 0; kr_protocols[i]; i++)
        printf("%-14s %s\n%-14s (%s)\n", kr_protocols[i]->name, kr_protocols[i]->summary, "", kr_protocols[i]->cite);
    return 0;
}
