/* golden_volume.c: networks on volumes against stored numbers: MeshNet on crops (/CROP/inputs/volume, /CROP/MODEL/...) and on a whole head
 * (/outputs/labels, attributes model, volume, maximum or qmin and qmax). Weights and volumes lie beside the golden files, in ../data. See golden.c. */
#include "golden.h"
#include "kray/io.h"
#include "kray/volume.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* {chan, d, h, w} with w fastest from and to {chan, z = w, y = h, x = d} with x fastest. */
static void turn(float *to, const float *from, long chan, const long n[3], bool back)
{
    for (long c = 0; c < chan; c++, to += n[0] * n[1] * n[2], from += n[0] * n[1] * n[2])
        for (long d = 0; d < n[0]; d++)
            for (long h = 0; h < n[1]; h++)
                for (long w = 0; w < n[2]; w++) {
                    long theirs = (d * n[1] + h) * n[2] + w, ours = (w * n[1] + h) * n[0] + d;
                    if (back)
                        to[theirs] = from[ours];
                    else
                        to[ours] = from[theirs];
                }
}

struct seen { hid_t file; const char *group; int compared; double worst; };

/* The largest difference from a data set, relative to its largest value. */
static void compare(struct seen *s, const char *path, const float *got, long count)
{
    int dims = 0;
    hsize_t n[8];
    float *want = numbers(s->file, path, &dims, n);
    double most = 0, off = 0;
    long total = 1;
    for (int d = 0; d < dims; d++)
        total *= (long)n[d];
    for (long i = 0; want && i < count; i++) {
        most = fmax(most, fabs((double)want[i]));
        off = fmax(off, fabs((double)want[i] - (double)got[i]));
    }
    off = want && total == count ? off / most : INFINITY;
    s->worst = off > s->worst || isnan(off) ? off : s->worst;
    s->compared++;
    free(want);
}

/* Stored are the middle slices along D: {chan, h, w}. */
static void see(void *self, const char *name, const float *v, long chan, const long n[3])
{
    struct seen *s = self;
    char path[256];
    snprintf(path, sizeof path, "%s/intermediate/conv_%s_centre_slice", s->group, name);
    if (H5Lexists(s->file, path, H5P_DEFAULT) <= 0)
        return;
    float *slice = malloc((size_t)(chan * n[1] * n[2]) * sizeof *slice);
    for (long c = 0; c < chan; c++)
        for (long h = 0; h < n[1]; h++)
            for (long w = 0; w < n[2]; w++)
                slice[(c * n[1] + h) * n[2] + w] = v[((c * n[2] + w) * n[1] + h) * n[0] + n[0] / 2];
    compare(s, path, slice, chan * n[1] * n[2]);
    free(slice);
}

static kr_volnet *net_beside(const char *file, const char *model)
{
    char path[1200];
    const char *slash = strrchr(file, '/');
    snprintf(path, sizeof path, "%.*s../data/weights/brainchop_%s_model.json", slash ? (int)(slash + 1 - file) : 0, file, model);
    return kr_meshnet_read(path);
}

static long most_of(const float *classes, long count, long voxels, long i)
{
    long best = 0;
    for (long c = 1; c < count; c++)
        if (classes[c * voxels + i] > classes[best * voxels + i])
            best = c;
    return best;
}

static int one_model(hid_t file, const char *file_path, const char *crop, const char *model, int *number)
{
    char group[200], path[300];
    snprintf(group, sizeof group, "%s/%s", crop, model);
    snprintf(path, sizeof path, "%s/inputs/volume", crop);
    int dims = 0;
    hsize_t size[8];
    float *volume = numbers(file, path, &dims, size);
    long n[3] = { (long)size[0], (long)size[1], (long)size[2] }, voxels = n[0] * n[1] * n[2], differ = 0, count = 0;
    kr_volnet *net = volume && dims == 3 ? net_beside(file_path, model) : NULL;
    long classes = net ? net->classes : 1;
    float *x = malloc((size_t)voxels * sizeof *x), *y = malloc((size_t)(voxels * classes) * sizeof *y), *back = malloc((size_t)(voxels * classes) * sizeof *y);
    struct seen s = { .file = file, .group = group };
    bool good = net && volume;
    if (good) {
        turn(x, volume, 1, n, false);
        good = !kr_volnet_run(net, y, x, n, see, &s, NULL);
        int watched = s.compared;
        turn(back, y, classes, n, true);
        snprintf(path, sizeof path, "%s/outputs/logits_f64", group);
        compare(&s, path, back, classes * voxels);
        good = good && watched && !kr_volnet_run(net, y, x, n, NULL, NULL, NULL);         /* activations within the convolutions */
        turn(back, y, classes, n, true);
        compare(&s, path, back, classes * voxels);
        snprintf(path, sizeof path, "%s/outputs/labels", group);
        double *want = doubles(file, path, &count);
        for (long i = 0; want && i < voxels; i++)
            differ += most_of(back, classes, voxels, i) != (long)want[i];
        good = good && want && count == voxels && s.worst <= 2e-5 && !differ;
        free(want);
    }
    printf("%sok %d - %s: %d compared, largest difference %.2e of the largest value, %ld labels differ%s%s\n", good ? "" : "not ", ++*number, group, s.compared, s.worst, differ,
           net ? "" : ": ", net ? "" : kr_error());
    kr_volnet_unref(&net);
    free(volume);
    free(x);
    free(y);
    free(back);
    return !good;
}

static bool text_of(hid_t file, const char *name, char *to, size_t room)
{
    hid_t a = H5Aexists(file, name) > 0 ? H5Aopen(file, name, H5P_DEFAULT) : -1, type = a < 0 ? -1 : H5Aget_type(a);
    bool good = false;
    if (type >= 0 && H5Tis_variable_str(type) > 0) {
        char *v = NULL;
        good = H5Aread(a, type, &v) >= 0 && v;
        if (good)
            snprintf(to, room, "%s", v);
        free(v);
    }
    if (type >= 0)
        H5Tclose(type);
    if (a >= 0)
        H5Aclose(a);
    return good;
}

static int whole_head(hid_t file, const char *file_path, const char *model, int *number)
{
    char volume[300], path[1200];
    const char *slash = strrchr(file_path, '/');
    double low = 0, high = 0, near = 0;
    long count = 0, differ = 0;
    kr_image *im = NULL;
    kr_volnet *net = net_beside(file_path, model);
    bool good = net && text_of(file, "volume", volume, sizeof volume);
    hid_t a;
    const char *const name[4] = { "maximum", "qmax", "qmin", "voxels_with_margin_below_1e4" };
    double *const to[4] = { &high, &high, &low, &near };
    for (int k = 0; k < 4; k++)
        if ((a = H5Aexists(file, name[k]) > 0 ? H5Aopen(file, name[k], H5P_DEFAULT) : -1) >= 0) {
            H5Aread(a, H5T_NATIVE_DOUBLE, to[k]);
            H5Aclose(a);
        }
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - file_path) : 0, file_path, volume);
    good = good && high > low && !kr_image_read(&im, path);
    double *want = good ? doubles(file, "outputs/labels", &count) : NULL;
    if (good) {
        long n[3] = { im->data->n[KR_X], im->data->n[KR_Y], im->data->n[KR_Z] }, voxels = n[0] * n[1] * n[2];
        float *y = malloc((size_t)(voxels * net->classes) * sizeof *y);
        for (long i = 0; i < voxels; i++)
            KR_R(im->data)[i] = (float)(((double)KR_R(im->data)[i] - low) / (high - low));
        good = want && count == voxels && !kr_volnet_run(net, y, KR_R(im->data), n, NULL, NULL, NULL);
        for (long i = 0; good && i < voxels; i++) {
            long x = i % n[0], yy = i / n[0] % n[1], z = i / n[0] / n[1];
            differ += most_of(y, net->classes, voxels, i) != (long)want[(x * n[1] + yy) * n[2] + z];
        }
        free(y);
    }
    good = good && (double)differ <= near + 1;
    printf("%sok %d - %s on a whole head: %ld of %ld labels differ (%.0f have a margin below 1e-4)%s%s\n", good ? "" : "not ", ++*number, model, differ, count, near, net ? "" : ": ",
           net ? "" : kr_error());
    free(want);
    kr_image_unref(&im);
    kr_volnet_unref(&net);
    return !good;
}

int golden_meshnet(hid_t file, const char *path, int *number)
{
    char model[100];
    if (text_of(file, "model", model, sizeof model))
        return whole_head(file, path, model, number);
    int bad = 0;
    struct names crops = list(file, "/");
    for (int i = 0; i < crops.count; i++) {
        struct names models = list(file, crops.name[i]);
        for (int k = 0; k < models.count; k++)
            if (strcmp(models.name[k], "inputs"))
                bad += one_model(file, path, crops.name[i], models.name[k], number);
    }
    return bad;
}
