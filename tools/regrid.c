/* regrid.c: see regrid.h. */
#include "regrid.h"
#include "kray/segment.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whether volumes that are not marked as labels look like labels all the same: whole numbers from 0 on, mostly equal to their neighbour
 * within what is not 0. Pictures of 8 bits have noise, and far fewer equal neighbours. */
static bool like_labels(const float *v, long n, long count)
{
    long pairs = 0, equal = 0;
    for (long i = 0; i < count; i++) {
        if (!(v[i] >= 0 && v[i] <= KR_LABEL_MOST) || v[i] > floorf(v[i]))
            return false;
        if (i % n && v[i] > 0 && v[i - 1] > 0) {
            pairs++;
            equal += !(v[i] < v[i - 1] || v[i] > v[i - 1]);
        }
    }
    return pairs && (double)equal > 0.75 * (double)pairs;
}

/* Whether the image holds labels: marked so, or (told, and marked from here on, so that they are written as whole numbers) by its numbers. */
static int holds_labels(bool *labels, kr_image *im, const kr_trace *trace)
{
    const char *kind = kr_meta_get(im->meta, "kray_kind");
    *labels = kind && !strcmp(kind, "labels");
    if (*labels || im->data->type != KR_R32)
        return 0;
    kr_scoped(array) a = kr_array_packed(im->data);
    if (!a)
        return kr_error_code();
    if (!like_labels(KR_R(a), a->n[KR_X], kr_count(kr_array_shape(a))))
        return 0;
    *labels = true;
    kr_say(trace, KR_WARNING, "the image holds whole numbers that hardly differ between neighbours: they are taken as labels, and stay whole numbers (resampled: the nearest)");
    return kr_meta_set(im->meta, "kray_kind", "labels");
}

int regrid_axes(kr_image **im, const char *axes, const kr_trace *trace)
{
    static const char letter[] = "RLAPSI";
    static const double lps[6][3] = { { -1, 0, 0 }, { 1, 0, 0 }, { 0, -1, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 0, 0, -1 } };
    kr_scoped(array) a = kr_array_new(KR_R32, KR_SHAPE([KR_X] = 2, [KR_Y] = 2, [KR_Z] = 2));
    kr_scoped(geom) g = kr_geom_new(1);
    if (!a || !g)
        return kr_error_code();
    double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    unsigned used = 0;
    for (int k = 0; k < 3 && axes[k]; k++) {
        const char *p = strchr(letter, toupper((unsigned char)axes[k]));
        if (p) {
            used |= 1u << (p - letter) / 2;
            memcpy(dir[k], lps[p - letter], sizeof lps[0]);
        }
        g->fov_mm[k] = 2;
    }
    if (strlen(axes) != 3 || used != 7)
        return kr_fail(KR_EUSAGE, "--axes %s: three letters are wanted, one of R and L, of A and P, of S and I, such as RAS", axes);
    if (!(*im)->geom->known)
        return kr_fail(KR_EREFUSED, "the image does not say how it lies in the patient, so that its axes cannot be put in order");
    g->known = true;
    bool labels;
    if (holds_labels(&labels, *im, trace))
        return kr_error_code();
    kr_scoped(image) like = kr_image_new(a, g, NULL);
    kr_turning how;
    kr_image *out = NULL;
    if (!like || kr_image_turn(&out, &how, *im, like))
        return kr_error_code();
    if (how.angle_deg > 89) {
        kr_image_unref(&out);
        return kr_fail(KR_EREFUSED, "its axes are too oblique for %s: they lie further than 37 degrees from those", axes);
    }
    kr_image_unref(im);
    *im = out;
    return 0;
}

/* Voxel size along X, Y and the third axis; 0: unknown. */
static int voxel_of(double mm[3], const kr_image *im)
{
    double A[16];
    const kr_array *a = im->data;
    if (kr_geom_affine(im->geom, (long[3]){ a->n[KR_X], a->n[KR_Y], a->n[KR_Z] }, A))
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        mm[d] = sqrt(A[d] * A[d] + A[4 + d] * A[4 + d] + A[8 + d] * A[8 + d]);
    for (int d = 0; d < 2; d++)
        if (!(im->geom->fov_mm[d] > 0))
            return kr_fail(KR_EREFUSED, "the image does not say how large its voxels are");
    return 0;
}

/* The same extent in m voxels: the first voxel's edge stays where it is. */
static kr_geom *geom_of(const kr_image *im, const long n[3], const long m[3])
{
    const kr_array *a = im->data;
    double A[16], middle[3];
    kr_geom *g = kr_geom_affine(im->geom, (long[3]){ a->n[KR_X], a->n[KR_Y], a->n[KR_Z] }, A) ? NULL : kr_geom_new(1);
    if (!g)
        return NULL;
    double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    g->known = im->geom->known;
    for (int r = 0; r < 3; r++)                              /* RAS of the middle of the extent */
        middle[r] = A[4 * r + 3] + A[4 * r] * (double)(n[0] - 1) / 2 + A[4 * r + 1] * (double)(n[1] - 1) / 2 + A[4 * r + 2] * (double)(n[2] - 1) / 2;
    for (int d = 0; d < 3; d++) {
        double mm = sqrt(A[d] * A[d] + A[4 + d] * A[4 + d] + A[8 + d] * A[8 + d]), step = mm * (double)n[d] / (double)m[d];
        g->fov_mm[d] = mm * (double)n[d];
        for (int r = 0; r < 3; r++) {
            dir[d][r] = (r < 2 ? -1 : 1) * A[4 * r + d] / mm;
            middle[r] += A[4 * r + d] / mm * step * ((double)(m[d] / 2) - (double)(m[d] - 1) / 2);       /* to where position is counted from */
        }
    }
    for (int r = 0; r < 3; r++)
        g->position_mm[0][r] = (r < 2 ? -1 : 1) * middle[r];
    g->spacing_mm = g->fov_mm[2] / (double)m[2];
    return g;
}

int regrid_resample(kr_image **im, const char *text, const kr_trace *trace)
{
    double to[3], mm[3];
    char more;
    int count = sscanf(text, "%lf,%lf,%lf%c", &to[0], &to[1], &to[2], &more);
    if (count == 1 && !strchr(text, ','))
        to[1] = to[2] = to[0];
    else if (count != 3)
        return kr_fail(KR_EUSAGE, "--resample %s: a voxel size in mm, or three as X,Y,Z, are wanted", text);
    for (int d = 0; d < 3; d++)
        if (!(to[d] > 1e-3 && to[d] < 1e3))
            return kr_fail(KR_EUSAGE, "--resample %s: sizes from 0.001 to 1000 mm are wanted", text);
    const kr_array *a = (*im)->data;
    bool slices = a->n[KR_SLICE] > 1;
    long n[3] = { a->n[KR_X], a->n[KR_Y], slices ? a->n[KR_SLICE] : a->n[KR_Z] }, m[3], in = n[0] * n[1] * n[2], out = 1, volumes = kr_count(kr_array_shape(a)) / in;
    if (a->type != KR_R32)
        return kr_fail(KR_EREFUSED, "the image is complex: magnitudes can be resampled");
    if (slices && (a->n[KR_COIL] > 1 || a->n[KR_MAP] > 1))
        return kr_fail(KR_ESHAPE, "slices of several coils cannot be resampled");
    if (slices && a->n[KR_Z] > 1)
        return kr_fail(KR_ESHAPE, "several slabs cannot be resampled as one volume");
    if (voxel_of(mm, *im))
        return kr_error_code();
    kr_shape shape = kr_array_shape(a);
    for (int d = 0; d < 3; d++) {
        m[d] = lround((double)n[d] * mm[d] / to[d]);
        m[d] = m[d] < 1 ? 1 : m[d];
        out *= m[d];
        if (fabs((double)n[d] * mm[d] / (double)m[d] / to[d] - 1) > 1e-6)
            kr_say(trace, KR_INFO, "%ld voxels of %.5g mm along axis %d: the extent is no multiple of %g mm", m[d], (double)n[d] * mm[d] / (double)m[d], d + 1, to[d]);
    }
    shape.n[KR_X] = m[0];
    shape.n[KR_Y] = m[1];
    shape.n[KR_Z] = m[2];
    shape.n[KR_SLICE] = 1;
    kr_scoped(array) from = kr_array_packed(a);
    kr_scoped(array) b = kr_array_new(KR_R32, shape);
    kr_scoped(geom) g = geom_of(*im, n, m);
    if (!from || !b || !g)
        return kr_error_code();
    for (long i = 0; i < in * volumes; i++)
        if (!isfinite(KR_R(from)[i]))
            return kr_fail(KR_ENUMBER, "voxel (%ld, %ld, %ld) is not finite, which resampling would spread", i % n[0], i / n[0] % n[1], i / n[0] / n[1] % n[2]);
    bool labels;
    if (holds_labels(&labels, *im, trace))
        return kr_error_code();
    int o = labels ? 0 : 3, order[3] = { o, o, o };
    for (long v = 0; v < volumes; v++)
        if (kr_resize(KR_R(b) + v * out, m, KR_R(from) + v * in, n, order, -1))
            return kr_error_code();
    kr_image *fresh = kr_image_new(b, g, (*im)->meta);
    if (!fresh)
        return kr_error_code();
    kr_image_unref(im);
    *im = fresh;
    return 0;
}
