/* seg_nnunet.c: nnU-Net v2: its preparation of images, windows that slide with mirrored copies and folds that vote, and labels back on the image's
 * grid. Axes are counted as nnU-Net does, slowest first. Source: F. Isensee et al., Nature Methods 18:203 (2021). */
#include "segmenter_kind.h"
#include "kray/volume.h"
#include "nnunet_plans.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDS = 32 };
struct nnunet {
    nnunet_plans p;
    kr_volnet *net[FOLDS];
    int folds;
    bool mirror[3];
    nnunet_rules rules;
    double step;
    void (*see)(void *self, const char *name, const float *numbers, long chan, const long n[3]);
    void *seer;
};

/* ---- Folders: the model's own, one of its folds, or a checkpoint in one ---- */
static bool there(const char *folder, const char *name)
{
    kr_auto char *path = kr_strf("%s/%s", folder, name);
    return path && !access(path, R_OK);
}

static char *upper(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? kr_strf("%.*s", (int)n, path) : kr_strdup(".");
}

/* The model's folder; *fold and *checkpoint are set where the path names them. */
static char *folder_of(const char *model, char **fold, char **checkpoint)
{
    struct stat st;
    char *at = kr_strdup(model);
    *fold = *checkpoint = NULL;
    if (at && !stat(at, &st) && S_ISREG(st.st_mode)) {
        const char *slash = strrchr(at, '/');
        *checkpoint = kr_strdup(slash ? slash + 1 : at);
        char *up = upper(at);
        kr_free(at);
        at = up;
    }
    for (size_t n = at ? strlen(at) : 0; n > 1 && at[n - 1] == '/'; n--)
        at[n - 1] = 0;
    const char *slash = at ? strrchr(at, '/') : NULL, *base = slash ? slash + 1 : at;
    if (at && !there(at, "plans.json") && !strncmp(base, "fold_", 5)) {
        *fold = kr_strdup(base + 5);
        char *up = upper(at);
        kr_free(at);
        at = up;
    }
    return at;
}

static bool is(const char *model)
{
    char *fold, *checkpoint, *folder = folder_of(model, &fold, &checkpoint);
    bool good = folder && there(folder, "plans.json") && there(folder, "dataset.json");
    kr_free(folder);
    kr_free(fold);
    kr_free(checkpoint);
    return good;
}

static void close_(void *self)
{
    struct nnunet *m = self;
    for (int i = 0; i < FOLDS; i++)
        kr_volnet_unref(&m->net[i]);
    nnunet_rules_clear(&m->rules);
    kr_free(m);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names of folds: those asked for, or all that are there; "all" is one fold trained on everything. */
static int folds_of(char **name, int *count, const char *folder, const char *asked)
{
    *count = 0;
    if (asked) {
        for (const char *p = asked; *p && *count < FOLDS; ) {
            size_t n = strcspn(p, ",");
            name[*count] = kr_strf("%.*s", (int)n, p);
            if (!name[*count])
                return kr_error_code();
            ++*count;
            p += n + (p[n] == ',');
        }
        return 0;
    }
    DIR *d = opendir(folder);
    bool all = false;
    for (struct dirent *e; d && (e = readdir(d)) && *count < FOLDS; )
        if (!strncmp(e->d_name, "fold_", 5) && (name[*count] = kr_strdup(e->d_name + 5)))
            all = !strcmp(name[(*count)++], "all") || all;
    if (d)
        closedir(d);
    qsort(name, (size_t)*count, sizeof *name, by_name);
    for (int i = *count - 1; all && *count > 1 && i >= 0; i--)       /* beside numbered folds, fold_all is another model */
        if (!strcmp(name[i], "all")) {
            kr_free(name[i]);
            memmove(name + i, name + i + 1, (size_t)(--*count - i) * sizeof *name);
        }
    return *count ? 0 : kr_fail(KR_EFILE, "%s has no folder fold_0, fold_1, ... or fold_all", folder);
}

static char *checkpoint_of(const char *folder, const char *fold, const char *name)
{
    static const char *const usual[] = { "checkpoint_final.pth", "checkpoint_best.pth" };
    for (int i = 0; i < (name ? 1 : 2); i++) {
        char *path = kr_strf("%s/fold_%s/%s", folder, fold, name ? name : usual[i]);
        if (path && !access(path, R_OK))
            return path;
        kr_free(path);
    }
    kr_fail(KR_EFILE, "%s/fold_%s has no %s", folder, fold, name ? name : "checkpoint_final.pth or checkpoint_best.pth");
    return NULL;
}

/* "..__3d_fullres", or what the checkpoint says; NULL: neither tells. */
static char *told_configuration(const char *folder, const char *checkpoint)
{
    const char *slash = strrchr(folder, '/'), *mark = strstr(slash ? slash : folder, "__"), *last = NULL;
    for (; mark; mark = strstr(mark + 2, "__"))
        last = mark + 2;
    if (last)
        return kr_strdup(last);
    kr_weights *w = NULL;
    char *told = NULL;
    if (!kr_weights_read(&w, checkpoint) && kr_meta_get(w->meta, "init_args.configuration"))
        told = kr_strdup(kr_meta_get(w->meta, "init_args.configuration"));
    kr_weights_unref(&w);
    return told;
}

static int load_fold(struct nnunet *m, kr_segmenter *s, const char *folder, const char *checkpoint, bool mirror)
{
    kr_auto char *plans = kr_strf("%s/plans.json", folder);
    kr_volnet *v = m->net[m->folds] = plans ? kr_nnunet_read(plans, m->p.configuration, checkpoint) : NULL;
    if (!v)
        return kr_error_code();
    const char *trainer = kr_meta_get(v->meta, "trainer_name");
    if (v->ins != m->p.channels || v->classes != m->p.classes)
        return kr_fail(KR_ESHAPE, "%s: a network from %ld channels to %ld classes; dataset.json has %ld and %ld", checkpoint, v->ins, v->classes, m->p.channels, m->p.classes);
    if (trainer && nnunet_trainer(trainer))
        return kr_fail_in("%s", checkpoint);
    bool axes[3] = { false, false, false };
    for (int i = 0; mirror && i < m->p.dims; i++) {
        char key[64];
        snprintf(key, sizeof key, "inference_allowed_mirroring_axes.%d", i);
        double axis = kr_meta_number(v->meta, key, -1);
        if (axis >= 0 && axis < m->p.dims)
            axes[(int)axis + 3 - m->p.dims] = true;
    }
    if (m->folds && memcmp(axes, m->mirror, sizeof axes))
        return kr_fail(KR_EREFUSED, "%s: its mirroring axes are not those of the fold before", checkpoint);
    memcpy(m->mirror, axes, sizeof axes);
    long patch[3] = { m->p.patch[2], m->p.patch[1], m->p.patch[0] };
    if (v->kind->fits(v->self, patch))
        return kr_fail_in("patch_size");
    if (!m->folds++)
        memcpy(s->digest, v->digest, sizeof s->digest);
    return 0;
}

static int open_(kr_segmenter *s, const char *model, const kr_segmenter_opts *o)
{
    struct nnunet *m = s->self = kr_alloc_zero(1, sizeof *m);
    kr_auto char *fold = NULL, *checkpoint = NULL, *folder = folder_of(model, &fold, &checkpoint), *told = NULL;
    char *name[FOLDS] = { NULL };
    int count = 0, e = m && folder ? 0 : kr_error_code();
    if (!e && o->normalise)
        e = kr_fail(KR_EUSAGE, "--normalise is MeshNet's; an nnU-Net's plans say how it is");
    if (!e && o->step != 0 && !(o->step > 0 && o->step <= 1))
        e = kr_fail(KR_EUSAGE, "a step of %g windows: above 0, at most 1", o->step);
    e = e ? e : folds_of(name, &count, folder, o->folds ? o->folds : fold);
    for (int i = 0; !e && i < count; i++) {
        kr_auto char *path = checkpoint_of(folder, name[i], o->checkpoint ? o->checkpoint : checkpoint);
        if (path && !i) {
            told = o->configuration ? NULL : told_configuration(folder, path);
            kr_error_clear();
            e = nnunet_plans_read(&m->p, s->names, folder, o->configuration, told);
        }
        e = e ? e : path ? load_fold(m, s, folder, path, !o->no_mirroring) : kr_error_code();
    }
    e = e || o->no_postprocessing ? e : nnunet_rules_read(&m->rules, folder, name, count);
    for (int i = 0; i < FOLDS; i++)
        kr_free(name[i]);
    if (e)
        return e;
    s->stored = !m->p.reorient;
    s->flat = m->p.dims == 2;
    for (long c = 0; c < m->p.channels; c++)
        s->ct |= (uint64_t)(m->p.norm[c] == NORM_CT) << c;
    s->channels = m->p.channels;
    m->step = o->step > 0 ? o->step : 0.5;
    m->see = o->see;
    m->seer = o->seer;
    return 0;
}

/* ---- The image in the network's order of axes ---- */
struct frame { long n[3], step[3], first; double spacing[3]; };           /* of the image, along the network's axes */

static void frame_of(struct frame *f, const nnunet_plans *p, const long n[3], const double affine[16])
{
    int stored[3] = { 2, 1, 0 };                              /* z, y, x */
    bool flip[3] = { false, false, false };
    long step[3] = { 1, n[0], n[0] * n[1] };
    double mm[3];
    for (int k = 0; k < 3; k++)
        mm[k] = sqrt(affine[k] * affine[k] + affine[4 + k] * affine[4 + k] + affine[8 + k] * affine[8 + k]);
    if (p->reorient) {                                        /* the order of axes nearest to right, front, head */
        static const int order[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
        double best = -1;
        for (int o = 0; o < 6; o++) {
            double sum = 0;
            for (int r = 0; r < 3; r++)
                sum += fabs(affine[4 * r + order[o][r]]) / mm[order[o][r]];
            if (sum > best + 1e-9) {
                best = sum;
                for (int r = 0; r < 3; r++) {
                    stored[2 - r] = order[o][r];
                    flip[2 - r] = affine[4 * r + order[o][r]] < 0;
                }
            }
        }
    }
    f->first = 0;
    for (int i = 0; i < 3; i++) {
        int axis = stored[p->forward[i]];
        f->n[i] = n[axis];
        f->step[i] = step[axis];
        f->spacing[i] = mm[axis];
        if (flip[p->forward[i]]) {
            f->first += (n[axis] - 1) * step[axis];
            f->step[i] = -step[axis];
        }
    }
}

/* The box of what is not 0 in any channel, its holes filled; mask of the whole. */
static int crop_of(long low[3], long size[3], unsigned char **mask, const struct frame *f, const float *const *channel, long channels)
{
    long voxels = f->n[0] * f->n[1] * f->n[2], high[3] = { -1, -1, -1 }, i = 0, at[3];
    *mask = kr_alloc((size_t)voxels, 1);
    if (!*mask)
        return kr_error_code();
    for (at[0] = 0; at[0] < f->n[0]; at[0]++)
        for (at[1] = 0; at[1] < f->n[1]; at[1]++)
            for (at[2] = 0; at[2] < f->n[2]; at[2]++, i++) {
                long k = f->first + at[0] * f->step[0] + at[1] * f->step[1] + at[2] * f->step[2];
                bool some = false;
                for (long c = 0; c < channels; c++)
                    some = some || channel[c][k] < 0 || channel[c][k] > 0;
                (*mask)[i] = some;
            }
    if (kr_fill_holes(*mask, (long[3]){ f->n[2], f->n[1], f->n[0] }))
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        low[d] = f->n[d];
    for (i = 0, at[0] = 0; at[0] < f->n[0]; at[0]++)
        for (at[1] = 0; at[1] < f->n[1]; at[1]++)
            for (at[2] = 0; at[2] < f->n[2]; at[2]++, i++)
                for (int d = 0; (*mask)[i] && d < 3; d++) {
                    low[d] = at[d] < low[d] ? at[d] : low[d];
                    high[d] = at[d] > high[d] ? at[d] : high[d];
                }
    for (int d = 0; d < 3; d++)
        size[d] = high[d] - low[d] + 1;
    return high[0] < 0 ? kr_fail(KR_ENUMBER, "the image is all zero") : 0;
}

static void normalise(float *v, const unsigned char *in, long n, const nnunet_plans *p, long c)
{
    double sum = 0, square = 0, count = 0, low = INFINITY, high = -INFINITY;
    bool masked = p->masked[c] && p->norm[c] == NORM_ZSCORE;
    for (long i = 0; i < n; i++) {
        if (masked && !in[i])
            continue;
        sum += (double)v[i];
        count++;
        low = fmin(low, (double)v[i]);
        high = fmax(high, (double)v[i]);
    }
    double mean = count > 0 ? sum / count : 0;
    for (long i = 0; i < n; i++)
        if (!masked || in[i])
            square += ((double)v[i] - mean) * ((double)v[i] - mean);
    double sd = fmax(sqrt(count > 0 ? square / count : 0), 1e-8);
    for (long i = 0; i < n; i++) {
        double x = (double)v[i];
        switch (p->norm[c]) {
        case NORM_ZSCORE: x = masked && !in[i] ? x : (x - mean) / sd; break;
        case NORM_CT: x = (fmin(fmax(x, p->low[c]), p->high[c]) - p->mean[c]) / fmax(p->sd[c], 1e-8); break;
        case NORM_RESCALE: x = (x - low) / fmax(high - low, 1e-8); break;
        case NORM_RGB: x = x / 255; break;
        case NORM_NONE: break;
        }
        v[i] = (float)x;
    }
}

/* The axis of thick slices that are resized each by itself, by the spacing it comes from, then by the one it goes to; -1: none. */
static int apart_of(int separate, const double from[3], const double to[3])
{
    const double *s[2] = { from, to };
    for (int k = 0; k < 2; k++) {
        double most = fmax(s[k][0], fmax(s[k][1], s[k][2])), least = fmin(s[k][0], fmin(s[k][1], s[k][2]));
        int axis = -1, count = 0;
        if (separate == 0 || (separate < 0 && !(most / least > 3)))
            continue;
        for (int d = 0; d < 3; d++)
            if (!(s[k][d] < most)) {
                axis = d;
                count++;
            }
        return count == 1 ? axis : -1;
    }
    return -1;
}

/* Everything that belongs to one image on its way. */
struct job {
    struct nnunet *m;
    struct frame f;
    long low[3], crop[3], size[3], padded[3], pad[3];         /* the crop of the image; resampled; padded to the patch */
    double spacing[3];                                        /* of the network's grid */
    int back;                                                 /* axis apart on the way back */
    float *data;                                              /* {channel, size} */
    float *weight, *sum, *counts;                             /* of a patch; {class, planes, padded[1], padded[2]}; {planes, ...} */
    long planes, base;                                        /* how many are held, the first of them */
    int32_t *found;                                           /* labels of the crop */
    long next;                                                /* the next plane of the crop that gets its labels */
};

static void sizes_of(struct job *j)
{
    const nnunet_plans *p = &j->m->p;
    for (int d = 0; d < 3; d++) {
        j->spacing[d] = p->spacing[d] > 0 ? p->spacing[d] : j->f.spacing[d];
        j->size[d] = (long)rint(j->f.spacing[d] / j->spacing[d] * (double)j->crop[d]);
        j->size[d] = j->size[d] < 1 ? 1 : j->size[d];
        j->padded[d] = j->size[d] > p->patch[d] ? j->size[d] : p->patch[d];
        j->pad[d] = (j->padded[d] - j->size[d]) / 2;
    }
    j->back = apart_of(p->separate_back, j->spacing, j->f.spacing);
}

static int prepare(struct job *j, const float *const *channel)
{
    const nnunet_plans *p = &j->m->p;
    kr_auto unsigned char *mask = NULL;
    if (crop_of(j->low, j->crop, &mask, &j->f, channel, p->channels))
        return kr_error_code();
    sizes_of(j);
    long voxels = j->crop[0] * j->crop[1] * j->crop[2], to = j->size[0] * j->size[1] * j->size[2], i = 0;
    int apart = apart_of(p->separate, j->f.spacing, j->spacing), order[3];
    for (int d = 0; d < 3; d++)
        order[2 - d] = d == apart ? p->order_z : p->order;
    kr_auto float *v = kr_alloc((size_t)voxels, sizeof *v);
    kr_auto unsigned char *in = kr_alloc((size_t)voxels, 1);
    j->data = kr_alloc((size_t)(p->channels * to), sizeof *j->data);
    if (!v || !in || !j->data)
        return kr_error_code();
    for (long c = 0; c < p->channels; c++) {
        i = 0;
        for (long a = 0; a < j->crop[0]; a++)
            for (long b = 0; b < j->crop[1]; b++)
                for (long d = 0; d < j->crop[2]; d++, i++) {
                    v[i] = channel[c][j->f.first + (a + j->low[0]) * j->f.step[0] + (b + j->low[1]) * j->f.step[1] + (d + j->low[2]) * j->f.step[2]];
                    in[i] = mask[((a + j->low[0]) * j->f.n[1] + b + j->low[1]) * j->f.n[2] + d + j->low[2]];
                }
        normalise(v, in, voxels, p, c);
        if (kr_resize(j->data + c * to, (long[3]){ j->size[2], j->size[1], j->size[0] }, v, (long[3]){ j->crop[2], j->crop[1], j->crop[0] }, order, apart < 0 ? -1 : 2 - apart))
            return kr_error_code();
    }
    if (j->m->see)
        j->m->see(j->m->seer, "preprocessed", j->data, p->channels, (long[3]){ j->size[2], j->size[1], j->size[0] });
    return 0;
}

/* ---- Windows ---- */
/* A patch at `at` of the padded volume, mirrored along some axes. */
static void cut(float *to, const struct job *j, const long at[3], unsigned flip)
{
    const int *n = j->m->p.patch;
    for (long c = 0; c < j->m->p.channels; c++)
        for (long a = 0; a < n[0]; a++)
            for (long b = 0; b < n[1]; b++, to += n[2]) {
                long z = at[0] + (flip & 1 ? n[0] - 1 - a : a) - j->pad[0], y = at[1] + (flip & 2 ? n[1] - 1 - b : b) - j->pad[1];
                const float *row = j->data + ((c * j->size[0] + z) * j->size[1] + y) * j->size[2];
                bool in = z >= 0 && z < j->size[0] && y >= 0 && y < j->size[1];
                for (long d = 0; d < n[2]; d++) {
                    long x = at[2] + (flip & 4 ? n[2] - 1 - d : d) - j->pad[2];
                    to[d] = in && x >= 0 && x < j->size[2] ? row[x] : 0;
                }
            }
}

struct adding { struct job *j; const float *classes; const long *at; unsigned flip; float share; };
static int add_class(void *self, long c)
{
    const struct adding *s = self;
    const struct job *j = s->j;
    const int *n = j->m->p.patch;
    for (long a = 0; a < n[0]; a++)
        for (long b = 0; b < n[1]; b++) {
            long z = s->flip & 1 ? n[0] - 1 - a : a, y = s->flip & 2 ? n[1] - 1 - b : b;
            float *to = j->sum + ((c * j->planes + s->at[0] + a - j->base) * j->padded[1] + s->at[1] + b) * j->padded[2] + s->at[2];
            const float *from = s->classes + ((c * n[0] + z) * n[1] + y) * n[2], *w = j->weight + (a * n[1] + b) * n[2];
            for (long d = 0; d < n[2]; d++)
                to[d] += from[s->flip & 4 ? n[2] - 1 - d : d] * w[d] * s->share;
        }
    return 0;
}

/* done, total: windows, for the progress. */
static int window(struct job *j, const long at[3], float *x, float *classes, long done, long total, const kr_trace *trace)
{
    struct nnunet *m = j->m;
    const int *n = m->p.patch;
    long size[3] = { n[2], n[1], n[0] };
    unsigned all = m->mirror[0] | (unsigned)m->mirror[1] << 1 | (unsigned)m->mirror[2] << 2, ways = 0;
    for (unsigned flip = 0; flip < 8; flip++)
        ways += !(flip & ~all);
    unsigned passes = ways * (unsigned)m->folds, pass = 0;
    for (unsigned flip = 0; flip < 8; flip++) {
        if (flip & ~all)
            continue;
        cut(x, j, at, flip);
        for (int f = 0; f < m->folds; f++) {
            kr_progress(trace, "segmenting", (double)done + (double)pass++ / (double)passes, (double)total);
            if (kr_stopped(trace) || kr_volnet_run(m->net[f], classes, x, size, NULL, NULL, trace ? &(kr_trace){ .stop = trace->stop } : NULL))
                return kr_error_code();
            struct adding s = { j, classes, at, flip, 1.f / (float)passes };
            for (long c = 0; (long)n[0] * n[1] * n[2] * m->p.classes < 1 << 20 && c < m->p.classes; c++)
                add_class(&s, c);                             /* too little to wake threads for */
            if ((long)n[0] * n[1] * n[2] * m->p.classes >= 1 << 20 && kr_for(m->p.classes, add_class, &s))
                return kr_error_code();
        }
    }
    for (long a = 0; a < n[0]; a++)
        for (long b = 0; b < n[1]; b++) {
            float *to = j->counts + ((at[0] + a - j->base) * j->padded[1] + at[1] + b) * j->padded[2] + at[2];
            for (long d = 0; d < n[2]; d++)
                to[d] += j->weight[(a * n[1] + b) * n[2] + d];
        }
    return 0;
}

/* ---- Labels: logits divided, resampled to the image's grid plane by plane, the largest wins (or the last region above 0) ---- */
struct between { long low, high; double part; };
static struct between planes_of(const struct job *j, long i)
{
    long n = j->size[0], m = j->crop[0];
    double x = ((double)i + 0.5) * (double)n / (double)m - 0.5, f = floor(x);
    if (n == m)
        return (struct between){ i, i, 0 };
    if ((j->back == 0 ? j->m->p.order_back_z : j->m->p.order_back) == 0) {
        long k = (long)floor(x + 0.5);
        k = k < 0 ? 0 : k > n - 1 ? n - 1 : k;
        return (struct between){ k, k, 0 };
    }
    long a = (long)f, b = a + 1;
    return (struct between){ a < 0 ? 0 : a > n - 1 ? n - 1 : a, b < 0 ? 0 : b > n - 1 ? n - 1 : b, x - f };
}

static int label_plane(void *self, long i)
{
    const struct job *j = self;
    const nnunet_plans *p = &j->m->p;
    long plane = j->next + i, in = j->size[1] * j->size[2], out = j->crop[1] * j->crop[2], per = j->padded[1] * j->padded[2];
    struct between at = planes_of(j, plane);
    kr_auto float *from = kr_alloc((size_t)in, sizeof *from), *to = kr_alloc((size_t)out, sizeof *to), *best = kr_alloc((size_t)out, sizeof *best);
    if (!from || !to || !best)
        return kr_error_code();
    int order[3] = { j->back == 2 ? p->order_back_z : p->order_back, j->back == 1 ? p->order_back_z : p->order_back, 1 };
    int32_t *label = j->found + plane * out;
    for (long c = 0; c < p->classes; c++) {
        const float *sum = j->sum + c * j->planes * per;
        for (long y = 0; y < j->size[1]; y++)
            for (long x = 0; x < j->size[2]; x++) {
                long k = (y + j->pad[1]) * j->padded[2] + x + j->pad[2], a = (at.low + j->pad[0] - j->base) * per + k, b = (at.high + j->pad[0] - j->base) * per + k;
                double low = (double)sum[a] / (double)j->counts[a];
                from[y * j->size[2] + x] = (float)(at.part > 0 ? low + at.part * ((double)sum[b] / (double)j->counts[b] - low) : low);
            }
        if (kr_resize(to, (long[3]){ j->crop[2], j->crop[1], 1 }, from, (long[3]){ j->size[2], j->size[1], 1 }, order, -1))
            return kr_error_code();
        for (long k = 0; k < out; k++)
            if (p->regions ? to[k] > 0 : !c || to[k] > best[k]) {
                best[k] = to[k];
                label[k] = (int32_t)p->label[c];
            }
    }
    return 0;
}

/* Labels all planes whose logits are final: those below `done` of the padded volume. Then what is no longer wanted goes, before windows at `from`. */
static int settle(struct job *j, long done, long from)
{
    const nnunet_plans *p = &j->m->p;
    long per = j->padded[1] * j->padded[2], count = 0;
    while (j->next + count < j->crop[0] && planes_of(j, j->next + count).high + j->pad[0] < done)
        count++;
    if (count && kr_for(count, label_plane, j))
        return kr_error_code();
    j->next += count;
    long base = j->next < j->crop[0] ? planes_of(j, j->next).low + j->pad[0] : from;
    base = base < from ? base : from;
    long gone = base - j->base, left = j->planes - gone;
    if (gone <= 0)
        return 0;
    for (long c = 0; c <= p->classes; c++) {
        float *v = c < p->classes ? j->sum + c * j->planes * per : j->counts;
        if (left > 0)
            memmove(v, v + gone * per, (size_t)(left * per) * sizeof *v);
        memset(v + (left > 0 ? left : 0) * per, 0, (size_t)((left > 0 ? gone : j->planes) * per) * sizeof *v);
    }
    j->base = base;
    return 0;
}

/* Shown to tests: the planes that are final and were not shown. */
static void show(struct job *j, long *shown, long done)
{
    const nnunet_plans *p = &j->m->p;
    long per = j->padded[1] * j->padded[2];
    kr_auto float *v = kr_alloc((size_t)(p->classes * j->size[1] * j->size[2]), sizeof *v);
    for (; v && *shown < j->size[0] && *shown + j->pad[0] < done; ++*shown) {
        long i = 0;
        for (long c = 0; c < p->classes; c++)
            for (long y = 0; y < j->size[1]; y++)
                for (long x = 0; x < j->size[2]; x++) {
                    long k = (*shown + j->pad[0] - j->base) * per + (y + j->pad[1]) * j->padded[2] + x + j->pad[2];
                    v[i++] = j->sum[c * j->planes * per + k] / j->counts[k];
                }
        j->m->see(j->m->seer, "logits", v, p->classes, (long[3]){ j->size[2], j->size[1], 1 });
    }
}

static int slide(struct job *j, const kr_trace *trace)
{
    const nnunet_plans *p = &j->m->p;
    long *start[3] = { NULL, NULL, NULL };
    long count[3], patch = (long)p->patch[0] * p->patch[1] * p->patch[2], per = j->padded[1] * j->padded[2], shown = 0, done = 0;
    int e = 0;
    for (int d = 0; !e && d < 3; d++) {
        count[d] = kr_patch_starts(&start[d], j->padded[d], p->patch[d], j->m->step);
        e = count[d] < 0 ? (int)count[d] : 0;
    }
    j->planes = p->patch[0] + 2 < j->padded[0] ? p->patch[0] + 2 : j->padded[0];
    kr_auto float *x = kr_alloc((size_t)(p->channels * patch), sizeof *x), *classes = kr_alloc((size_t)(p->classes * patch), sizeof *classes);
    j->weight = kr_alloc((size_t)patch, sizeof *j->weight);
    j->sum = kr_alloc_zero((size_t)(p->classes * j->planes * per), sizeof *j->sum);
    j->counts = kr_alloc_zero((size_t)(j->planes * per), sizeof *j->counts);
    j->found = kr_alloc_zero((size_t)(j->crop[0] * j->crop[1] * j->crop[2]), sizeof *j->found);
    if (!e && !(x && classes && j->weight && j->sum && j->counts && j->found))
        e = kr_error_code();
    e = e ? e : kr_patch_weights(j->weight, (long[3]){ p->patch[2], p->patch[1], p->patch[0] });
    for (long a = 0; !e && a < count[0]; a++) {
        for (long b = 0; !e && b < count[1]; b++)
            for (long d = 0; !e && d < count[2]; d++)
                e = window(j, (long[3]){ start[0][a], start[1][b], start[2][d] }, x, classes, done++, count[0] * count[1] * count[2], trace);
        long next = a + 1 < count[0] ? start[0][a + 1] : j->padded[0];
        if (!e && j->m->see)
            show(j, &shown, next);
        e = e ? e : settle(j, next, next);
    }
    for (int d = 0; d < 3; d++)
        kr_free(start[d]);
    kr_progress(trace, "segmenting", 1, 1);
    return e;
}

static void free_job(struct job *j)
{
    kr_free(j->data);
    kr_free(j->weight);
    kr_free(j->sum);
    kr_free(j->counts);
    kr_free(j->found);
}

static int run(kr_segmenter *s, int32_t *labels, const float *const *channel, const long n[3], const double affine[16], const kr_trace *trace)
{
    struct job j = { .m = s->self };
    frame_of(&j.f, &j.m->p, n, affine);
    int e = prepare(&j, channel);
    e = e ? e : slide(&j, trace);
    long i = 0;
    for (long a = 0; !e && a < j.crop[0]; a++)
        for (long b = 0; b < j.crop[1]; b++)
            for (long d = 0; d < j.crop[2]; d++, i++)
                labels[j.f.first + (a + j.low[0]) * j.f.step[0] + (b + j.low[1]) * j.f.step[1] + (d + j.low[2]) * j.f.step[2]] = j.found[i];
    if (!e && j.m->rules.count) {
        kr_say(trace, KR_DETAIL, "%ld rule%s of postprocessing", j.m->rules.count, j.m->rules.count == 1 ? "" : "s");
        e = nnunet_rules_apply(&j.m->rules, labels, n);
    }
    free_job(&j);
    return e;
}

/* A window small enough to measure the network's rate with in a moment. */
static void piece_of(long piece[3], const long patch[3], const kr_volnet *net)
{
    memcpy(piece, patch, 3 * sizeof *piece);
    for (int tries = 0; piece[0] * piece[1] * piece[2] > 64 * 64 * 64 && tries < 24; tries++) {
        long half[3] = { piece[0], piece[1], piece[2] };
        half[tries % 3] /= 2;
        if (half[tries % 3] >= 32 && !net->kind->fits(net->self, half))
            memcpy(piece, half, sizeof half);
        kr_error_clear();
    }
}

/* Seconds that the labels of all planes take, from the fastest of three. */
static int labelling(double *seconds, struct job *j)
{
    const nnunet_plans *p = &j->m->p;
    long per = j->padded[1] * j->padded[2];
    j->next = j->crop[0] / 2;
    j->base = planes_of(j, j->next).low + j->pad[0];
    j->planes = 2;
    j->sum = kr_alloc_zero((size_t)(p->classes * j->planes * per), sizeof *j->sum);
    j->counts = kr_alloc((size_t)(j->planes * per), sizeof *j->counts);
    j->found = kr_alloc((size_t)(j->crop[0] * j->crop[1] * j->crop[2]), sizeof *j->found);
    if (!j->sum || !j->counts || !j->found)
        return kr_error_code();
    for (long i = 0; i < j->planes * per; i++)
        j->counts[i] = 1;
    double best = INFINITY;
    for (int i = 0; i < 3; i++) {
        double start = kr_seconds();
        if (label_plane(j, 0))
            return kr_error_code();
        best = fmin(best, kr_seconds() - start);
    }
    *seconds = best * (double)((j->crop[0] + kr_threads() - 1) / kr_threads());
    return 0;
}

static int plan(kr_segmenter *s, kr_segmenter_cost *cost, const float *const *channel, const long n[3], const double affine[16])
{
    struct nnunet quiet = *(const struct nnunet *)s->self;
    struct job j = { .m = &quiet };
    const nnunet_plans *p = &quiet.p;
    const kr_volnet *net = quiet.net[0];
    long patch[3] = { p->patch[2], p->patch[1], p->patch[0] }, piece[3], voxels = patch[0] * patch[1] * patch[2], ways = 1;
    double rate, after = 0, start = kr_seconds();
    quiet.see = NULL;
    frame_of(&j.f, p, n, affine);
    int e = prepare(&j, channel);
    double before = kr_seconds() - start;
    e = e ? e : labelling(&after, &j);
    free_job(&j);
    piece_of(piece, patch, net);
    if (e || kr_volnet_rate(&rate, net, piece))
        return kr_error_code();
    *cost = (kr_segmenter_cost){ .windows = 1 };
    for (int d = 0; d < 3; d++) {
        long *at, count = kr_patch_starts(&at, j.padded[d], p->patch[d], quiet.step);
        if (count < 0)
            return (int)count;
        kr_free(at);
        cost->windows *= count;
        ways *= quiet.mirror[d] ? 2 : 1;
    }
    long held = p->patch[0] + 2 < j.padded[0] ? p->patch[0] + 2 : j.padded[0];
    cost->flops = net->kind->flops(net->self, patch) * (double)(cost->windows * ways * quiet.folds);
    cost->seconds = before + cost->flops / rate + after;
    cost->bytes = net->kind->bytes(net->self, patch) + 4. * (double)(p->channels * j.size[0] * j.size[1] * j.size[2] + (p->classes + 1) * held * j.padded[1] * j.padded[2]
                  + (p->channels + p->classes) * voxels) + (double)(n[0] * n[1] * n[2]) * (8. + 4. * (double)p->channels);
    return 0;
}

const segmenter_kind segmenter_nnunet = { "nnunet", is, open_, run, plan, close_ };
