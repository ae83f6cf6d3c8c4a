/* golden_nnunet.c: nnU-Net models in their own format against every stage of their own predictor: /intermediate, /outputs, attribute model_folder (a
 * folder beside the file, with plans, checkpoint and images). See golden.c. */
#include "golden.h"
#include "kray/io.h"
#include "kray/segment.h"
#include "kray/segmenter.h"
#include "kray/volume.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen { hid_t file; int compared; double worst; char where[120]; float *logits; long got, room; };

static void compare(struct seen *s, const char *path, const float *got, long count, double unit)
{
    int dims = 0;
    hsize_t n[8];
    float *want = H5Lexists(s->file, path, H5P_DEFAULT) > 0 ? numbers(s->file, path, &dims, n) : NULL;
    long total = 1;
    double off = 0, most = 0;
    for (int d = 0; d < dims; d++)
        total *= (long)n[d];
    for (long i = 0; want && total == count && i < count; i++) {
        most = fmax(most, fabs((double)want[i]));
        off = fmax(off, fabs((double)want[i] - (double)got[i]));
    }
    off = want && total == count ? off / (unit > 0 ? unit : most) : INFINITY;
    if (!(off <= s->worst)) {
        s->worst = off;
        snprintf(s->where, sizeof s->where, "%s", path);
    }
    s->compared++;
    free(want);
}

static void see_patch(void *self, const char *name, const float *v, long chan, const long n[3])
{
    char path[120];
    snprintf(path, sizeof path, "intermediate/patch_%s", name);
    if (H5Lexists(((struct seen *)self)->file, path, H5P_DEFAULT) > 0)
        compare(self, path, v, chan * n[0] * n[1] * n[2], 0);
}

/* Logits come plane by plane, {class, 1, y, x}; stored is {class, z, y, x}. */
static void see_image(void *self, const char *name, const float *v, long chan, const long n[3])
{
    struct seen *s = self;
    long count = chan * n[0] * n[1] * n[2];
    if (!strcmp(name, "preprocessed")) {
        compare(s, "intermediate/preprocessed", v, count, 0);
        return;
    }
    float *more = realloc(s->logits, (size_t)(s->got + count) * sizeof *more);
    if (!more)
        return;
    s->logits = more;
    memcpy(more + s->got, v, (size_t)count * sizeof *v);
    s->got += count;
    s->room = count / chan;
}

static void sliding(struct seen *s, long classes)
{
    long plane = s->room, planes = plane ? s->got / (plane * classes) : 0;
    float *v = malloc((size_t)s->got * sizeof *v + 1);
    for (long z = 0; z < planes; z++)
        for (long c = 0; c < classes; c++)
            memcpy(v + (c * planes + z) * plane, s->logits + (z * classes + c) * plane, (size_t)plane * sizeof *v);
    compare(s, "outputs/sliding_logits_f64_gaussian16", v, s->got, 0);
    free(v);
}

static void text_of(hid_t file, const char *name, char *to, size_t room)
{
    hid_t a = H5Aexists(file, name) > 0 ? H5Aopen(file, name, H5P_DEFAULT) : -1, type = a < 0 ? -1 : H5Aget_type(a);
    char *v = NULL;
    if (type >= 0 && H5Tis_variable_str(type) > 0 && H5Aread(a, type, &v) >= 0 && v)
        snprintf(to, room, "%s", v);
    free(v);
    if (type >= 0)
        H5Tclose(type);
    if (a >= 0)
        H5Aclose(a);
}

static int patch(hid_t file, const char *folder, const char *configuration, struct seen *s)
{
    char plans[1300], checkpoint[1300];
    snprintf(plans, sizeof plans, "%s/plans.json", folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/fold_0/checkpoint_final.pth", folder);
    kr_volnet *net = kr_nnunet_read(plans, configuration, checkpoint);
    int dims = 0;
    hsize_t n[8];
    float *x = net ? numbers(file, "intermediate/patch_input", &dims, n) : NULL;
    int e = x ? 0 : KR_EFORMAT;
    if (x) {
        long size[3] = { (long)n[dims - 1], (long)n[dims - 2], dims == 5 ? (long)n[2] : 1 }, count = net->classes * size[0] * size[1] * size[2];
        float *y = malloc((size_t)count * sizeof *y), *w = malloc((size_t)count * sizeof *w);
        e = kr_volnet_run(net, y, x, size, see_patch, s, NULL);
        if (!e)
            compare(s, "outputs/patch_logits_f64", y, count, 0);
        e = e ? e : kr_patch_weights(w, size);
        if (!e)
            compare(s, "intermediate/gaussian_float16", w, size[0] * size[1] * size[2], 0);
        free(y);
        free(w);
    }
    free(x);
    kr_volnet_unref(&net);
    return e;
}

int golden_nnunet(hid_t file, const char *path, int *number)
{
    const char *slash = strrchr(path, '/');
    char model[200] = "", configuration[100] = "", folder[1000];
    struct seen s = { .file = file };
    text_of(file, "model_folder", model, sizeof model);
    text_of(file, "configuration", configuration, sizeof configuration);
    snprintf(folder, sizeof folder, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, model);
    int e = patch(file, folder, configuration, &s);
    kr_segmenter_opts how = { .see = see_image, .seer = &s };
    kr_segmenter *seg = e ? NULL : kr_segmenter_open(folder, &how);
    kr_image *im[64] = { NULL }, *out = NULL;
    long channels = seg ? kr_segmenter_channels(seg) : 0, differ = 0, theirs = 0, count = 0;
    for (long c = 0; seg && !e && c < channels; c++) {
        char name[1300];
        snprintf(name, sizeof name, "%s/imagesTs/case_%04ld.nii.gz", folder, c);
        e = kr_image_read(&im[c], name);
    }
    e = e ? e : seg ? kr_segmenter_run(seg, &out, (const kr_image *const *)im, channels, NULL) : kr_error_code();
    double *want = e ? NULL : doubles(file, "outputs/labels_f64", &count), *own = e ? NULL : doubles(file, "outputs/labels_nnunet", &count);
    long voxels = out ? kr_count(kr_array_shape(out->data)) : 0;
    bool good = !e && want && own && count == voxels;
    if (good) {
        hid_t d = H5Dopen2(file, "outputs/sliding_logits_f64", H5P_DEFAULT), sp = H5Dget_space(d);
        hsize_t n[8] = { 1 };
        H5Sget_simple_extent_dims(sp, n, NULL);
        H5Sclose(sp);
        H5Dclose(d);
        sliding(&s, (long)n[0]);
    }
    for (long i = 0; good && i < count; i++) {
        differ += (long)KR_R(out->data)[i] != (long)want[i];
        theirs += (long)KR_R(out->data)[i] != (long)own[i];
    }
    good = good && s.worst <= 1e-4 && (double)differ <= 0.001 * (double)count && (double)theirs <= 0.003 * (double)count;
    printf("%sok %d - %s: %d compared, largest difference %.2e of the largest value at %s; labels that differ: %ld from float64, %ld from nnU-Net's float16%s%s\n", good ? "" : "not ",
           ++*number, model, s.compared, s.worst, s.where, differ, theirs, e ? ": " : "", e ? kr_error() : "");
    free(want);
    free(own);
    free(s.logits);
    kr_image_unref(&out);
    for (int c = 0; c < 64; c++)
        kr_image_unref(&im[c]);
    kr_segmenter_unref(&seg);
    return !good;
}
