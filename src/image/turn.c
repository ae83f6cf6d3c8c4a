/* turn.c: an image with its axes turned as another's lie in the patient. */
#include "kray/image.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Within 2 degrees axes count as parallel: scanners round directions, and no voxel of a head moves by more than a few mm. */
static const double PARALLEL = 0.99939;
/* Beyond 37 degrees it is not clear which axis corresponds to which. */
static const double NEAREST = 0.8;

/* Voxel (i,j,k) to mm; false where that is not known or is not one grid. */
static bool grid_of(double affine[16], long n[3], const kr_image *im)
{
    const kr_array *a = im->data;
    bool slices = a->n[KR_SLICE] > 1;
    n[0] = a->n[KR_X], n[1] = a->n[KR_Y], n[2] = slices ? a->n[KR_SLICE] : a->n[KR_Z];
    if (!im->geom->known || (slices && (a->n[KR_Z] > 1 || im->geom->slices != n[2])) || (!slices && im->geom->slices > 1))
        return false;
    for (int d = 0; d < 2; d++)
        if (!(im->geom->fov_mm[d] > 0))
            return false;
    bool good = !kr_geom_affine(im->geom, (long[3]){ n[0], n[1], a->n[KR_Z] }, affine);
    if (!good)
        kr_error_clear();
    return good;
}

static double length(const double affine[16], int axis) { return hypot(hypot(affine[axis], affine[4 + axis]), affine[8 + axis]); }

static double cosine(const double a[16], int i, const double b[16], int j)
{
    double sum = 0;
    for (int k = 0; k < 3; k++)
        sum += a[4 * k + i] * b[4 * k + j];
    return sum / (length(a, i) * length(b, j));
}

/* Which axis of `a` lies along each one of `b`, and whether it runs against it. False: none clearly does. */
static bool match(int from[3], bool flip[3], double *least, const double a[16], const double b[16], const long n[3], const long m[3])
{
    unsigned used = 0;
    *least = 1;
    for (int j = 0; j < 3; j++) {
        double best = 0;
        for (int i = 0; i < 3; i++) {
            double c = cosine(a, i, b, j);
            if (fabs(c) > fabs(best)) {
                best = c;
                from[j] = i;
            }
        }
        if (fabs(best) < NEAREST || used & 1u << from[j])
            return false;
        used |= 1u << from[j];
        flip[j] = best < 0 && (n[from[j]] > 1 || m[j] > 1);      /* one slice alone has no direction */
        *least = fmin(*least, fabs(best));
    }
    return true;
}

/* Shares numbers with `im` where nothing but names change: a packed copy otherwise. */
static kr_array *turned(const kr_array *a, const int from[3], const bool flip[3], const kr_array *like)
{
    int third = like->n[KR_SLICE] > 1 ? KR_SLICE : like->n[KR_Z] > 1 ? KR_Z : a->n[KR_SLICE] > 1 ? KR_SLICE : KR_Z;
    kr_array *t = kr_array_ref(a);
    if (!t)
        return NULL;
    const int was[3] = { KR_X, KR_Y, a->n[KR_SLICE] > 1 ? KR_SLICE : KR_Z }, now[3] = { KR_X, KR_Y, third };
    t->n[was[2]] = 1;
    for (int j = 0; j < 3; j++) {
        t->n[now[j]] = a->n[was[from[j]]];
        t->step[now[j]] = a->step[was[from[j]]];
    }
    if (was[2] != now[2])
        t->step[was[2]] = 0;
    for (int j = 0; t && j < 3; j++)
        if (flip[j]) {
            kr_array *f = kr_array_flip(t, now[j]);
            kr_array_unref(&t);
            t = f;
        }
    kr_array *packed = kr_array_packed(t);
    kr_array_unref(&t);
    return packed;
}

/* The geometry of n voxels under this affine (RAS). */
static kr_geom *geom_of(const double affine[16], const long n[3], bool slices, double thickness)
{
    kr_geom *g = kr_geom_new(slices ? n[2] : 1);
    if (!g)
        return NULL;
    double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    g->known = true;
    for (int d = 0; d < 3; d++) {
        g->fov_mm[d] = length(affine, d) * (double)(d == 2 && slices ? 1 : n[d]);
        for (int k = 0; k < 3; k++)
            dir[d][k] = (k < 2 ? -1 : 1) * affine[4 * k + d] / length(affine, d);
    }
    if (n[2] == 1 || slices) {
        g->spacing_mm = g->fov_mm[2];
        g->fov_mm[2] = thickness > 0 ? thickness : g->fov_mm[2];
    }
    for (long s = 0; s < g->slices; s++)
        for (int k = 0; k < 3; k++)
            g->position_mm[s][k] = (k < 2 ? -1 : 1) * (affine[4 * k + 3] + (double)(n[0] / 2) * affine[4 * k] + (double)(n[1] / 2) * affine[4 * k + 1]
                                                       + (double)(slices ? s : n[2] / 2) * affine[4 * k + 2]);
    return g;
}

static double apart(const double a[16], const long n[3], const double b[16], const long m[3])
{
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        double d = a[4 * k + 3] - b[4 * k + 3];
        for (int j = 0; j < 3; j++) {        /* equal lengths: the middle; others are cropped about the origin of the FFT */
            double at = n[j] == m[j] ? 0.5 * (double)(n[j] - 1) : (double)(n[j] / 2), to = n[j] == m[j] ? at : (double)(m[j] / 2);
            d += at * a[4 * k + j] - to * b[4 * k + j];
        }
        sum += d * d;
    }
    return sqrt(sum);
}

int kr_image_turn(kr_image **out, kr_turning *how, const kr_image *im, const kr_image *like)
{
    double a[16], b[16], t[16], least;
    long n[3], m[3], nt[3];
    int from[3];
    bool flip[3];
    *how = (kr_turning){ .axis = { 0, 1, 2 } };
    how->known = grid_of(a, n, im) && grid_of(b, m, like);
    bool clear = how->known && match(from, flip, &least, a, b, n, m);
    if (!clear) {
        how->angle_deg = how->known ? 90 : 0;
        *out = kr_image_new(im->data, im->geom, im->meta);
        return *out ? 0 : kr_error_code();
    }
    memcpy(t, a, sizeof t);
    for (int j = 0; j < 3; j++) {
        how->axis[j] = from[j];
        how->flip[j] = flip[j];
        how->turned |= from[j] != j || flip[j];
        nt[j] = n[from[j]];
        for (int k = 0; k < 3; k++) {
            t[4 * k + j] = (flip[j] ? -1 : 1) * a[4 * k + from[j]];
            t[4 * k + 3] += flip[j] ? (double)(n[from[j]] - 1) * a[4 * k + from[j]] : 0;
        }
        how->voxel_mm[j] = length(t, j);
        how->voxel_like_mm[j] = nt[j] > 1 || m[j] > 1 ? length(b, j) : how->voxel_mm[j];
    }
    how->angle_deg = least < PARALLEL ? acos(least) * 180 / 3.14159265358979323846 : 0;
    how->away_mm = apart(t, nt, b, m);
    if (!how->turned) {
        *out = kr_image_new(im->data, im->geom, im->meta);
        return *out ? 0 : kr_error_code();
    }
    kr_scoped(array) data = turned(im->data, from, flip, like->data);
    kr_scoped(geom) g = data ? geom_of(t, nt, data->n[KR_SLICE] > 1, from[2] == 2 ? im->geom->fov_mm[2] : 0) : NULL;
    *out = g ? kr_image_new(data, g, im->meta) : NULL;
    return *out ? 0 : kr_error_code();
}
