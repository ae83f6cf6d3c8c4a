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
static int sound(double affine[16], long n[3], const kr_image *im)
{
    const kr_array *a = im->data;
    grid_of(n, im);
    if (kr_count(kr_array_shape(a)) != n[0] * n[1] * n[2])
        return kr_fail(KR_ESHAPE, "one volume is wanted, of x, y and z or slice; this is %s", kr_shape_text(kr_array_shape(a)));
    if (!im->geom->known)
        return kr_fail(KR_EREFUSED, "the image does not say where its voxels lie (no usable affine), which the model has to know");
    if (place_of(affine, im))
        return kr_error_code();
    double det = affine[0] * (affine[5] * affine[10] - affine[6] * affine[9]) - affine[1] * (affine[4] * affine[10] - affine[6] * affine[8])
               + affine[2] * (affine[4] * affine[9] - affine[5] * affine[8]);
    double product = 1;
    for (int k = 0; k < 3; k++)
        product *= sqrt(affine[k] * affine[k] + affine[4 + k] * affine[4 + k] + affine[8 + k] * affine[8 + k]);
    return fabs(det) > 1e-3 * product && product > 1e-9 ? 0 : kr_fail(KR_EREFUSED, "the image's affine has no volume: its axes lie in one plane");
}

int kr_segmenter_plan(kr_segmenter *s, kr_segmenter_cost *cost, const kr_image *like)
{
    double affine[16];
    long n[3];
    return sound(affine, n, like) ? kr_error_code() : s->kind->plan(s, cost, n, affine);
}

int kr_segmenter_run(kr_segmenter *s, kr_image **labels, const kr_image *const *channel, long channels, const kr_trace *trace)
{
    double affine[16];
    long n[3];
    enum { MOST = 64 };
    kr_array *packed[MOST] = { NULL };
    const float *x[MOST];
    *labels = NULL;
    if (channels != s->channels || channels > MOST)
        return kr_fail(KR_EUSAGE, "the model wants %ld image%s, %ld came", s->channels, s->channels == 1 ? "" : "s", channels);
    int e = sound(affine, n, channel[0]);
    for (long c = 0; !e && c < channels; c++) {
        char name[40];
        snprintf(name, sizeof name, "channel %ld", c);
        e = c ? kr_image_same_grid(channel[c], channel[0], name, "channel 0") : 0;
        kr_scoped(image) m = e ? NULL : kr_image_magnitude(channel[c]);
        packed[c] = m ? kr_array_packed(m->data) : NULL;
        e = e ? e : packed[c] ? 0 : kr_error_code();
        for (long i = 0; !e && i < n[0] * n[1] * n[2]; i++)
            if (!isfinite(KR_R(packed[c])[i]))
                e = kr_fail(KR_ENUMBER, "%s: voxel (%ld, %ld, %ld) is not finite", kr_segmenter_channel(s, c), i % n[0], i / n[0] % n[1], i / n[0] / n[1]);
        x[c] = e ? NULL : KR_R(packed[c]);
    }
    kr_auto int32_t *found = e ? NULL : kr_alloc_zero((size_t)(n[0] * n[1] * n[2]), sizeof *found);
    e = e ? e : found ? s->kind->run(s, found, x, n, affine, trace) : kr_error_code();
    for (int c = 0; c < MOST; c++)
        kr_array_unref(&packed[c]);
    kr_scoped(array) out = e ? NULL : kr_array_new(KR_R32, kr_array_shape(channel[0]->data));
    e = e ? e : out ? 0 : kr_error_code();
    for (long i = 0; !e && i < n[0] * n[1] * n[2]; i++)
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
