/* image.c: a volume with millimetres. */
#include "kray/image.h"
#include <math.h>
#include <string.h>

kr_geom *kr_geom_new(long slices)
{
    kr_geom *g = kr_alloc_zero(1, sizeof *g);
    if (!g)
        return NULL;
    g->read_dir[0] = g->phase_dir[1] = g->slice_dir[2] = 1;
    g->slices = slices > 0 ? slices : 1;
    g->position_mm = kr_alloc_zero((size_t)g->slices, sizeof *g->position_mm);
    if (!g->position_mm)
        kr_geom_unref(&g);
    return g;
}

kr_geom *kr_geom_copy(const kr_geom *g)
{
    kr_geom *c = kr_geom_new(g->slices);
    if (c) {
        double (*p)[3] = c->position_mm;
        *c = *g;
        c->position_mm = p;
        memcpy(p, g->position_mm, (size_t)g->slices * sizeof *p);
    }
    return c;
}

void kr_geom_unref(kr_geom **g)
{
    if (!*g)
        return;
    kr_free((*g)->position_mm);
    kr_free(*g);
    *g = NULL;
}

int kr_geom_affine(const kr_geom *g, const long n[3], double affine[16])
{
    const double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    double step[3][3], first[3];
    for (int a = 0; a < 3; a++)
        for (int k = 0; k < 3; k++) {
            double d = g->fov_mm[a] > 0 && n[a] > 0 ? g->fov_mm[a] / (double)n[a] : 1;
            step[a][k] = d * dir[a][k];
        }
    if (g->slices > 1) {                     /* slices along k: their positions say where and how far apart */
        long last = g->slices - 1;
        double gap = 0;
        for (int k = 0; k < 3; k++) {
            step[2][k] = (g->position_mm[last][k] - g->position_mm[0][k]) / (double)last;
            gap += step[2][k] * step[2][k];
        }
        gap = sqrt(gap);
        if (gap <= 0) {                      /* all in one place: the file does not say; stack them by thickness */
            double d = g->spacing_mm > 0 ? g->spacing_mm : g->fov_mm[2] > 0 ? g->fov_mm[2] : 1;
            for (int k = 0; k < 3; k++)
                step[2][k] = d * g->slice_dir[k];
        } else
            for (long s = 0; s <= last; s++)
                for (int k = 0; k < 3; k++)
                    if (fabs(g->position_mm[0][k] + (double)s * step[2][k] - g->position_mm[s][k]) > 0.02 * gap + 0.01)
                        return kr_fail(KR_EREFUSED, "slice %ld is not where equal spacing of %.3f mm would put it, and formats of volumes cannot say where else: .h5 (ISMRMRD) keeps the place of each slice", s, gap);
    } else if (n[2] <= 1 && g->spacing_mm > 0)
        for (int k = 0; k < 3; k++)
            step[2][k] = g->spacing_mm * g->slice_dir[k];
    for (int k = 0; k < 3; k++) {
        first[k] = g->position_mm[0][k];
        for (int a = 0; a < 3; a++)
            if (a < 2 || (n[2] > 1 && g->slices == 1))
                first[k] -= (double)(n[a] / 2) * step[a][k];
    }
    for (int k = 0; k < 3; k++) {            /* LPS to RAS: x and y change sign */
        double sign = k < 2 ? -1 : 1;
        for (int a = 0; a < 3; a++)
            affine[4 * k + a] = sign * step[a][k];
        affine[4 * k + 3] = sign * first[k];
    }
    affine[12] = affine[13] = affine[14] = 0;
    affine[15] = 1;
    return 0;
}

kr_image *kr_image_new(const kr_array *data, const kr_geom *geom, const kr_meta *meta)
{
    kr_image *im = data ? kr_alloc_zero(1, sizeof *im) : NULL;
    if (!im)
        return NULL;
    im->data = kr_array_ref(data);
    im->geom = geom ? kr_geom_copy(geom) : kr_geom_new(data->n[KR_SLICE]);
    im->meta = meta ? kr_meta_copy(meta) : kr_meta_new();
    if (!im->data || !im->geom || !im->meta)
        kr_image_unref(&im);
    return im;
}

void kr_image_unref(kr_image **im)
{
    if (!*im)
        return;
    kr_array_unref(&(*im)->data);
    kr_geom_unref(&(*im)->geom);
    kr_meta_unref(&(*im)->meta);
    kr_free(*im);
    *im = NULL;
}

kr_image *kr_image_magnitude(const kr_image *im)
{
    kr_scoped(array) m = im->data->type == KR_C32 ? kr_abs(im->data) : kr_array_ref(im->data);
    return kr_image_new(m, im->geom, im->meta);
}

int kr_image_twelve_bits(kr_image **out, const kr_image *im)
{
    enum { TOP = 4095 };
    kr_scoped(array) m = im->data->type == KR_C32 ? kr_abs(im->data) : kr_array_copy(im->data);
    kr_scoped(image) to = m ? kr_image_new(m, im->geom, im->meta) : NULL;
    if (!to)
        return kr_error_code();
    if (!strcmp(kr_image_unit(im), "HU"))
        return kr_fail(KR_EREFUSED, "Hounsfield units have a scale of their own, and are not stretched to 12 bits");
    float *x = KR_R(to->data), most = 0;
    long n = kr_count(kr_array_shape(to->data));
    for (long i = 0; i < n; i++) {
        if (!(x[i] >= 0) || isinf(x[i]))
            return kr_fail(KR_ENUMBER, "whole numbers of 12 bits are made of magnitudes, and one of these is %g", (double)x[i]);
        most = x[i] > most ? x[i] : most;
    }
    if (most <= 0)
        return kr_fail(KR_ENUMBER, "the image is all zero");
    double scale = TOP / (double)most;
    for (long i = 0; i < n; i++)
        x[i] = (float)rint(scale * (double)x[i]);
    if (kr_meta_set(to->meta, "pixels", "ushort") || kr_meta_set(to->meta, "pixel_scale", "%.9g", scale))
        return kr_error_code();
    *out = to;
    to = NULL;
    return 0;
}

const char *kr_image_unit(const kr_image *im)
{
    const char *unit = kr_meta_get(im->meta, "unit");
    return unit ? unit : "";
}

int kr_image_set_unit(kr_image *im, const char *unit) { return kr_meta_set(im->meta, "unit", "%s", unit); }

int kr_image_check(const kr_image *im)
{
    double size = kr_norm(im->data);
    if (!isfinite(size))
        return kr_fail(KR_ENUMBER, "the image holds numbers that are not finite");
    if (size <= 0)
        return kr_fail(KR_ENUMBER, "the image is all zero");
    return 0;
}
