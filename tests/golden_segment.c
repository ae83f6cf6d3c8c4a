/* golden_segment.c: scores of label volumes against those of MONAI, DeepMind's surface-distance and plain double sums: /CASE/{inputs/reference,
 * inputs/prediction,outputs}, attributes labels, spacing_mm (z, y, x); and /distance_transform, /components, /holes. See golden.c. */
#include "golden.h"
#include "kray/segment.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct volume { unsigned char *v; long n[3], count; };      /* n[0] is the fastest */

static struct volume read_volume(hid_t file, const char *group, const char *what)
{
    char path[256];
    struct volume r = { 0 };
    hsize_t n[8] = { 0 };
    snprintf(path, sizeof path, "%s/%s", group, what);
    hid_t d = H5Dopen2(file, path, H5P_DEFAULT), s = d < 0 ? -1 : H5Dget_space(d);
    if (s >= 0 && H5Sget_simple_extent_ndims(s) == 3) {
        H5Sget_simple_extent_dims(s, n, NULL);
        for (int k = 0; k < 3; k++)
            r.n[k] = (long)n[2 - k];
        r.count = r.n[0] * r.n[1] * r.n[2];
        r.v = malloc((size_t)r.count + 1);
        if (H5Dread(d, H5T_NATIVE_UCHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, r.v) < 0) {
            free(r.v);
            r.v = NULL;
        }
    }
    if (s >= 0)
        H5Sclose(s);
    if (d >= 0)
        H5Dclose(d);
    return r;
}

static bool attribute(hid_t file, const char *group, const char *name, double *to, hsize_t most)
{
    hid_t a = H5Aexists_by_name(file, group, name, H5P_DEFAULT) > 0 ? H5Aopen_by_name(file, group, name, H5P_DEFAULT, H5P_DEFAULT) : -1, s = a < 0 ? -1 : H5Aget_space(a);
    bool good = s >= 0 && H5Sget_simple_extent_npoints(s) <= (hssize_t)most && H5Aread(a, H5T_NATIVE_DOUBLE, to) >= 0;
    if (s >= 0)
        H5Sclose(s);
    if (a >= 0)
        H5Aclose(a);
    return good;
}

/* Which of our numbers each stored one is. MONAI's and the plain sums' 95th percentiles are of float32 numbers. */
static const struct { const char *name, *rule; bool elements; double tolerance_mm; int measure; double within; } stored[] = {
    { "dice_monai", "monai", false, 1, KR_DICE, 1e-6 }, { "iou_monai", "monai", false, 1, KR_IOU, 1e-6 },
    { "dice_monai_ignore_empty_false", "monai-all", false, 1, KR_DICE, 1e-6 }, { "hd_monai", "monai", false, 1, KR_HD, 2e-6 },
    { "hd95_monai", "monai", false, 1, KR_HD95, 2e-5 }, { "assd_monai_symmetric", "monai", false, 1, KR_ASSD, 1e-5 },
    { "nsd_1mm_monai", "monai", false, 1, KR_NSD, 1e-6 }, { "nsd_2mm_monai", "monai", false, 2, KR_NSD, 1e-6 },
    { "brute_hd", NULL, false, 1, KR_HD, 1e-12 }, { "brute_hd95_max_of_directed", NULL, false, 1, KR_HD95, 1e-12 },
    { "brute_assd_mean_of_pooled", NULL, false, 1, KR_ASSD, 1e-12 }, { "brute_nsd_1mm_voxel", NULL, false, 1, KR_NSD, 1e-12 },
    { "dice_google", "surface-distance", true, 1, KR_DICE, 1e-12 }, { "hd_google", "surface-distance", true, 1, KR_HD, 1e-12 },
    { "hd95_google", "surface-distance", true, 1, KR_HD95, 1e-12 }, { "nsd_1mm_google", "surface-distance", true, 1, KR_NSD, 1e-12 },
    { "nsd_2mm_google", "surface-distance", true, 2, KR_NSD, 1e-12 }, { "volume_ml_reference", "monai", false, 1, KR_VOLUME_REFERENCE, 1e-12 },
    { "volume_ml_prediction", "monai", false, 1, KR_VOLUME, 1e-12 } };

static int one_case(hid_t file, const char *group, int *compared)
{
    double labels = 0, spacing[3];
    struct volume r = read_volume(file, group, "inputs/reference"), p = read_volume(file, group, "inputs/prediction");
    int bad = !r.v || !p.v || r.count != p.count || !attribute(file, group, "labels", &labels, 1) || !attribute(file, group, "spacing_mm", spacing, 3);
    double mm[3] = { spacing[2], spacing[1], spacing[0] };
    kr_label_score s[256];
    int32_t *a = malloc((size_t)r.count * sizeof *a + 1), *b = malloc((size_t)r.count * sizeof *b + 1);
    for (long i = 0; !bad && i < r.count; i++) {
        a[i] = r.v[i];
        b[i] = p.v[i];
    }
    for (size_t k = 0; !bad && k < sizeof stored / sizeof *stored; k++) {
        char path[256];
        long n = 0;
        snprintf(path, sizeof path, "%s/outputs/%s", group, stored[k].name);
        if (H5Lexists(file, path, H5P_DEFAULT) <= 0)
            continue;
        double *want = doubles(file, path, &n);
        kr_label_rules rules = { kr_empty_rule_named(stored[k].rule ? stored[k].rule : "strict"), stored[k].elements, stored[k].tolerance_mm };
        for (long l = 0; l < n && l < 256; l++)
            s[l].label = (int32_t)(l + 1);
        int e = !want || n != (long)labels ? KR_EFORMAT : kr_label_scores(s, n, a, b, r.n, mm, &rules);
        for (long l = 0; !e && l < n; l++) {
            double got = s[l].value[stored[k].measure];
            if (!stored[k].rule && isnan(want[l]))
                continue;                         /* plain sums say nothing of empty masks */
            bool same = isnan(want[l]) ? isnan(got) : isinf(want[l]) ? isinf(got) && got > 0 : fabs(got - want[l]) <= stored[k].within * fmax(1, fabs(want[l]));
            if (!same)
                printf("# %s label %ld: %.9g, not %.9g\n", path, l + 1, got, want[l]);
            bad += !same;
            ++*compared;
        }
        bad += e != 0;
        free(want);
    }
    free(a);
    free(b);
    free(r.v);
    free(p.v);
    return bad;
}

static int distances(hid_t file, int *compared)
{
    static const char *const what[2] = { "distance_transform/outputs/inside_to_background", "distance_transform/outputs/outside_to_foreground" };
    double spacing[3];
    struct volume m = read_volume(file, "distance_transform", "inputs/mask");
    int bad = !m.v || !attribute(file, "distance_transform", "spacing_mm", spacing, 3);
    double mm[3] = { spacing[2], spacing[1], spacing[0] }, *got = malloc((size_t)m.count * sizeof *got + 1);
    for (int k = 0; !bad && k < 2; k++) {
        long n = 0;
        double *want = doubles(file, what[k], &n);
        for (long i = 0; i < m.count; i++)
            m.v[i] = !m.v[i];
        bad = !want || n != m.count || kr_distance(got, m.v, m.n, mm);
        for (long i = 0; !bad && i < n; i++)
            bad = !(fabs(got[i] - want[i]) <= 1e-12 * fmax(1, want[i]));
        ++*compared;
        free(want);
    }
    free(got);
    free(m.v);
    return bad;
}

static int components(hid_t file, int *compared)
{
    struct volume m = read_volume(file, "components", "inputs/mask");
    int bad = !m.v;
    int32_t *got = malloc((size_t)m.count * sizeof *got + 1);
    for (int k = 0; !bad && k < 3; k++) {
        static const int neighbours[3] = { 6, 18, 26 };
        char path[64];
        double count = -1;
        long n = 0;
        snprintf(path, sizeof path, "components/outputs/labels_%d", neighbours[k]);
        double *want = doubles(file, path, &n);
        snprintf(path, sizeof path, "count_%d", neighbours[k]);
        bad = !want || n != m.count || !attribute(file, "components", path, &count, 1) || kr_components(got, m.v, m.n, neighbours[k]) != (long)count;
        for (long i = 0; !bad && i < n; i++)
            bad = got[i] != (int32_t)want[i];
        ++*compared;
        free(want);
    }
    free(got);
    free(m.v);
    return bad;
}

static int holes(hid_t file, int *compared)
{
    struct volume m = read_volume(file, "holes", "inputs/mask"), want = read_volume(file, "holes", "outputs/filled_face_connected_background");
    int bad = !m.v || !want.v || m.count != want.count || kr_fill_holes(m.v, m.n);
    for (long i = 0; !bad && i < m.count; i++)
        bad = (m.v[i] != 0) != (want.v[i] != 0);
    ++*compared;
    free(m.v);
    free(want.v);
    return bad;
}

int golden_segment(hid_t file, const char *name, int *number)
{
    int bad = 0;
    struct names group = list(file, "/");
    for (int i = 0; i < group.count; i++) {
        const char *g = group.name[i];
        int compared = 0, wrong = !strcmp(g, "distance_transform") ? distances(file, &compared) : !strcmp(g, "components") ? components(file, &compared)
                                : !strcmp(g, "holes") ? holes(file, &compared) : one_case(file, g, &compared);
        bool good = !wrong && compared;
        printf("%sok %d - %s (%s): %d compared, %d wrong\n", good ? "" : "not ", ++*number, name, g, compared, wrong);
        bad += !good;
    }
    return bad;
}
