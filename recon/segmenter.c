/* segmenter.c: opening a model by what lies there, and running it on images. */
#include "segmenter_kind.h"
#include "kray/io.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const segmenter_kind *const kinds[] = { &segmenter_meshnet, &segmenter_nnunet };

kr_segmenter *kr_segmenter_open(const char *model, const kr_segmenter_opts *o)
{
    kr_segmenter *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !s->kind; i++)
        s->kind = kinds[i]->is(model) ? kinds[i] : NULL;
    s->names = kr_meta_new();
    int e = !s->names ? kr_error_code() : !s->kind
        ? kr_fail(KR_EFORMAT, "%s is no model that Kray segments with: a MeshNet's model.json with its weights, or an nnU-Net v2 folder with plans.json and dataset.json", model)
        : s->kind->open(s, model, o);
    if (e)
        kr_segmenter_unref(&s);
    return s;
}

void kr_segmenter_unref(kr_segmenter **s)
{
    if (!*s)
        return;
    if ((*s)->self)
        (*s)->kind->close((*s)->self);
    kr_meta_unref(&(*s)->names);
    kr_free_at(s);
}

const char *kr_segmenter_kind(const kr_segmenter *s) { return s->kind->name; }
long kr_segmenter_channels(const kr_segmenter *s) { return s->channels; }
const char *kr_segmenter_digest(const kr_segmenter *s) { return s->digest; }
const char *kr_segmenter_channel(const kr_segmenter *s, long i)
{
    char key[40];
    snprintf(key, sizeof key, "channel_%ld", i);
    const char *name = kr_meta_get(s->names, key);
    return name ? name : "image";
}

/* ---- Several models ---- */
static long number_of(const char *key)
{
    int n, used = 0;
    return sscanf(key, "label_%d%n", &n, &used) == 1 && !key[used] ? n : 0;
}

static int by_number(const void *a, const void *b) { return (*(const long *)a > *(const long *)b) - (*(const long *)a < *(const long *)b); }

int kr_labels_join(kr_image *into, const kr_image *part)
{
    if (kr_image_same_grid(part, into, "the labels of a further model", "those of the first"))
        return kr_error_code();
    long most = 0, theirs = 0, count = 0, voxels = kr_count(kr_array_shape(into->data));
    kr_scoped(array) p = kr_array_packed(part->data);
    kr_assert(kr_array_contiguous(into->data));
    if (!p)
        return kr_error_code();
    for (long i = 0; i < kr_meta_count(into->meta); i++)
        most = number_of(kr_meta_key(into->meta, i)) > most ? number_of(kr_meta_key(into->meta, i)) : most;
    for (long i = 0; i < voxels; i++) {
        most = (long)KR_R(into->data)[i] > most ? (long)KR_R(into->data)[i] : most;
        theirs = (long)KR_R(p)[i] > theirs ? (long)KR_R(p)[i] : theirs;
    }
    kr_auto long *number = kr_alloc((size_t)kr_meta_count(part->meta) + 1, sizeof *number);
    for (long i = 0; number && i < kr_meta_count(part->meta); i++)
        if (number_of(kr_meta_key(part->meta, i))) {
            number[count++] = number_of(kr_meta_key(part->meta, i));
            theirs = number[count - 1] > theirs ? number[count - 1] : theirs;
        }
    kr_auto long *to = number ? kr_alloc_zero((size_t)theirs + 1, sizeof *to) : NULL;
    if (!to)
        return kr_error_code();
    qsort(number, (size_t)count, sizeof *number, by_number);
    for (long i = 0; i < count; i++) {
        char key[40];
        snprintf(key, sizeof key, "label_%ld", number[i]);
        const char *name = kr_meta_get(part->meta, key);
        for (long k = 0; k < kr_meta_count(into->meta) && !to[number[i]]; k++)
            if (number_of(kr_meta_key(into->meta, k)) && !strcmp(kr_meta_value(into->meta, k), name))
                to[number[i]] = number_of(kr_meta_key(into->meta, k));
        if (to[number[i]])
            continue;
        to[number[i]] = ++most;
        snprintf(key, sizeof key, "label_%ld", most);
        if (kr_meta_set(into->meta, key, "%s", name))
            return kr_error_code();
    }
    for (long i = 0; i < voxels; i++) {
        long l = (long)KR_R(p)[i];
        if (l > 0)
            KR_R(into->data)[i] = (float)(to[l] ? to[l] : (to[l] = ++most));
    }
    return 0;
}

static void grid_of(long n[3], const kr_image *im)
{
    const kr_array *a = im->data;
    n[0] = a->n[KR_X], n[1] = a->n[KR_Y], n[2] = a->n[KR_SLICE] > 1 ? a->n[KR_SLICE] : a->n[KR_Z];
}

static int place_of(double affine[16], const kr_image *im)
{
    return kr_geom_affine(im->geom, (long[3]){ im->data->n[KR_X], im->data->n[KR_Y], im->data->n[KR_Z] }, affine);
}

int kr_image_same_grid(const kr_image *im, const kr_image *like, const char *what, const char *like_what)
{
    long n[3], m[3];
    double a[16], b[16];
    grid_of(n, im);
    grid_of(m, like);
    if (n[0] != m[0] || n[1] != m[1] || n[2] != m[2])
        return kr_fail(KR_ESHAPE, "%s has %ld x %ld x %ld voxels, %s %ld x %ld x %ld: the same grid is wanted", what, n[0], n[1], n[2], like_what, m[0], m[1], m[2]);
    if (!im->geom->known || !like->geom->known)
        return 0;
    if (place_of(a, im) || place_of(b, like))
        return kr_error_code();
    double far = 0, voxel = INFINITY;
    for (int c = 0; c < 8; c++) {
        double away = 0;
        for (int r = 0; r < 3; r++) {
            double d = a[4 * r + 3] - b[4 * r + 3];
            for (int k = 0; k < 3; k++)
                d += (a[4 * r + k] - b[4 * r + k]) * (double)(c >> k & 1 ? n[k] - 1 : 0);
            away += d * d;
        }
        far = fmax(far, sqrt(away));
    }
    for (int k = 0; k < 3; k++)
        voxel = fmin(voxel, sqrt(b[k] * b[k] + b[4 + k] * b[4 + k] + b[8 + k] * b[8 + k]));
    return far <= 0.01 * voxel + 1e-3 ? 0 : kr_fail(KR_ESHAPE, "%s lies up to %.3g mm from where %s lies: the same grid is wanted", what, far, like_what);
}

/* The place of a grid, sound enough to resample by. */
static int sound(double affine[16], long n[3], bool *left_handed, const kr_segmenter *s, const kr_image *im)
{
    const kr_array *a = im->data;
    grid_of(n, im);
    if (kr_count(kr_array_shape(a)) != n[0] * n[1] * n[2])
        return kr_fail(KR_ESHAPE, "one volume is wanted, of x, y and z or slice; this is %s", kr_shape_text(kr_array_shape(a)));
    if (!s->flat && (n[0] == 1 || n[1] == 1 || n[2] == 1))
        return kr_fail(KR_ESHAPE, "the image is one slice (%ld x %ld x %ld voxels); the model is a network of volumes", n[0], n[1], n[2]);
    if (!im->geom->known)
        return kr_fail(KR_EREFUSED, "the image does not say where its voxels lie (no usable affine), which the model has to know");
    if (place_of(affine, im))
        return kr_error_code();
    double det = affine[0] * (affine[5] * affine[10] - affine[6] * affine[9]) - affine[1] * (affine[4] * affine[10] - affine[6] * affine[8])
               + affine[2] * (affine[4] * affine[9] - affine[5] * affine[8]);
    double product = 1;
    for (int k = 0; k < 3; k++)
        product *= sqrt(affine[k] * affine[k] + affine[4 + k] * affine[4 + k] + affine[8 + k] * affine[8 + k]);
    *left_handed = det < 0;
    return fabs(det) > 1e-3 * product && product > 1e-9 ? 0 : kr_fail(KR_EREFUSED, "the image's affine has no volume: its axes lie in one plane");
}

/* Whether this channel of the model is CT in Hounsfield units or something else, and the image the other. Units that the image states decide; numbers
 * alone (none below 0; far below 0) are only told of. */
static int modality(const kr_segmenter *s, long c, const kr_image *im, float low, float high, const kr_trace *trace)
{
    char key[32];
    snprintf(key, sizeof key, "channel_%ld", c);
    const char *name = kr_meta_get(s->names, key), *unit = kr_image_unit(im);
    bool ct = s->ct >> c & 1, mr = !ct && name && !strcasestr(name, "CT");
    if (mr && !strcmp(unit, "HU"))
        return kr_fail(KR_EREFUSED, "the image is CT in Hounsfield units; the model takes %s", name);
    if (ct && *unit && strcmp(unit, "HU"))
        return kr_fail(KR_EREFUSED, "the image is in %s; the model takes CT in Hounsfield units", unit);
    if (mr && low < -500)
        kr_say(trace, KR_WARNING, "the image's numbers go from %.0f to %.0f, as those of CT in Hounsfield units; the model takes %s", (double)low, (double)high, name);
    if (ct && low >= 0)
        kr_say(trace, KR_WARNING, "the image's numbers go from %.4g to %.4g: Hounsfield units, which the model takes, are about -1000 in air", (double)low, (double)high);
    return 0;
}

static int channel_fits(const kr_segmenter *s, long c, const kr_image *im, const float *x, const long n[3], const kr_trace *trace)
{
    float low = INFINITY, high = -INFINITY;
    for (long i = 0; i < n[0] * n[1] * n[2]; i++) {
        if (!isfinite(x[i]))
            return kr_fail(KR_ENUMBER, "%s: voxel (%ld, %ld, %ld) is not finite", kr_segmenter_channel(s, c), i % n[0], i / n[0] % n[1], i / n[0] / n[1]);
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    return high > low ? modality(s, c, im, low, high, trace) : kr_fail(KR_ENUMBER, "%s: all voxels are %g: nothing is to be seen in it", kr_segmenter_channel(s, c), (double)low);
}

/* The channels as the model's kind takes them, all that can be refused before it begins. */
enum { MOST = 64 };
struct taken { double affine[16]; long n[3]; kr_array *packed[MOST]; const float *x[MOST]; };
static int take(struct taken *t, const kr_segmenter *s, const kr_image *const *channel, long channels, const kr_trace *trace)
{
    bool left_handed = false;
    *t = (struct taken){ .n = { 0 } };
    if (channels != s->channels || channels > MOST)
        return kr_fail(KR_EUSAGE, "the model wants %ld image%s, %ld came", s->channels, s->channels == 1 ? "" : "s", channels);
    int e = sound(t->affine, t->n, &left_handed, s, channel[0]);
    if (!e && left_handed && s->stored)
        kr_say(trace, KR_INFO, "the image's axes are left-handed, and this model takes them as they are stored: it sees the patient mirrored, as nnU-Net does, unless its training images "
               "were stored alike (kray convert --axes)");
    for (long c = 0; !e && c < channels; c++) {
        char name[40];
        snprintf(name, sizeof name, "channel %ld", c);
        e = c ? kr_image_same_grid(channel[c], channel[0], name, "channel 0") : 0;
        kr_scoped(image) m = e ? NULL : kr_image_magnitude(channel[c]);
        t->packed[c] = m ? kr_array_packed(m->data) : NULL;
        e = e ? e : t->packed[c] ? channel_fits(s, c, channel[c], t->x[c] = KR_R(t->packed[c]), t->n, trace) : kr_error_code();
    }
    return e;
}

static void taken_clear(struct taken *t)
{
    for (int c = 0; c < MOST; c++)
        kr_array_unref(&t->packed[c]);
}

int kr_segmenter_plan(kr_segmenter *s, kr_segmenter_cost *cost, const kr_image *const *channel, long channels, const kr_trace *trace)
{
    struct taken t;
    int e = take(&t, s, channel, channels, trace);
    e = e ? e : s->kind->plan(s, cost, t.x, t.n, t.affine);
    taken_clear(&t);
    return e;
}

int kr_segmenter_run(kr_segmenter *s, kr_image **labels, const kr_image *const *channel, long channels, const kr_trace *trace)
{
    struct taken t;
    *labels = NULL;
    int e = take(&t, s, channel, channels, trace);
    long voxels = t.n[0] * t.n[1] * t.n[2];
    kr_auto int32_t *found = e ? NULL : kr_alloc_zero((size_t)voxels, sizeof *found);
    e = e ? e : found ? s->kind->run(s, found, t.x, t.n, t.affine, trace) : kr_error_code();
    taken_clear(&t);
    kr_scoped(array) out = e ? NULL : kr_array_new(KR_R32, kr_array_shape(channel[0]->data));
    e = e ? e : out ? 0 : kr_error_code();
    for (long i = 0; !e && i < voxels; i++)
        KR_R(out)[i] = (float)found[i];
    *labels = e ? NULL : kr_image_new(out, channel[0]->geom, NULL);
    if (!*labels)
        return kr_error_code();
    e = kr_meta_set((*labels)->meta, "kray_kind", "labels");
    for (long i = 0; !e && i < kr_meta_count(s->names); i++)
        if (!strncmp(kr_meta_key(s->names, i), "label_", 6))
            e = kr_meta_set((*labels)->meta, kr_meta_key(s->names, i), "%s", kr_meta_value(s->names, i));
    if (e)
        kr_image_unref(labels);
    return e;
}
