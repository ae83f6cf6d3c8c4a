/* ct_metal.c: metal in X-ray projections: rays that met it are replaced by what their neighbours say. */
#include "kray/ct.h"
#include "kray/recon.h"
#include <math.h>

/* Numbers of a row where `trace` is above `least`, from those on both sides; at the end of a row from the one side. */
static long bridge(float *row, const float *trace, long n, float least)
{
    long replaced = 0;
    for (long k = 0; k < n; k++) {
        if (!(trace[k] > least))
            continue;
        long a = k - 1, b = k + 1;
        while (b < n && trace[b] > least)
            b++;
        for (long i = k; i < b; i++)
            row[i] = a >= 0 && b < n ? row[a] + (row[b] - row[a]) * (float)(i - a) / (float)(b - a) : a >= 0 ? row[a] : b < n ? row[b] : 0;
        replaced += b - k;
        k = b;
    }
    return replaced;
}

long kr_ct_metal(kr_array **metal, kr_scan *s, double above, const kr_trace *trace)
{
    *metal = NULL;
    if (!s->rays || !(above > 0) || !isfinite(above))
        return kr_fail(KR_EREFUSED, "metal above %g in X-ray projections: a value above 0 is wanted", above);
    kr_scoped(job) j = kr_job_open("fbp", "window=hann", NULL);
    kr_scoped(image) im = NULL;
    if (!j || kr_job_run(j, &im, s, trace))
        return kr_error_code();
    long each = s->grid.n[0] * s->grid.n[1] * s->grid.n[2], slices = kr_count(kr_array_shape(im->data)) / each, rays = kr_count(s->shape) / slices, found = 0, replaced = 0;
    kr_scoped(array) where = kr_array_copy(im->data);
    kr_scoped(array) seen = kr_array_new(KR_R32, KR_SHAPE([KR_U] = rays));
    kr_projector *A = kr_projector_new(s->rays, &s->grid, KR_RAY_JOSEPH, false);
    int e = where && seen && A ? 0 : kr_error_code();
    for (long i = 0; i < each * slices && !e; i++) {
        bool is = (double)KR_R(where)[i] > above;
        found += is;
        KR_R(where)[i] = is ? 1 : 0;
    }
    for (long i = 0; i < slices && !e && found; i++) {
        kr_project(A, KR_R(seen), KR_R(where) + i * each, 0, 1);
        float least = 0.05f * (float)fabs(s->grid.step[0]);          /* rays that pass a corner alone are as good as others */
        for (long r = 0; r < rays / s->rays->columns; r++)
            replaced += bridge(KR_R(s->data) + i * rays + r * s->rays->columns, KR_R(seen) + r * s->rays->columns, s->rays->columns, least);
    }
    kr_projector_unref(&A);
    for (long i = 0; i < each * slices && !e; i++)
        KR_R(where)[i] = KR_R(where)[i] > 0 ? KR_R(im->data)[i] : 0;
    if (e)
        return e;
    if (!found)
        kr_say(trace, KR_WARNING, "no voxel is above %g: nothing was taken for metal; the largest is %.4g", above, kr_max_abs(im->data));
    else
        kr_say(trace, KR_INFO, "metal: %ld of %ld voxels, %ld of %ld rays replaced", found, each * slices, replaced, rays * slices);
    *metal = kr_array_ref(where);
    return found;
}

int kr_ct_metal_back(kr_image *im, const kr_array *metal)
{
    long n = kr_count(kr_array_shape(metal));
    if (im->data->type != KR_R32 || kr_count(kr_array_shape(im->data)) != n || !kr_array_contiguous(im->data))
        return kr_fail(KR_ESHAPE, "metal of %s in an image of %s", kr_shape_text(kr_array_shape(metal)), kr_shape_text(kr_array_shape(im->data)));
    for (long i = 0; i < n; i++)
        KR_R(im->data)[i] = KR_R(metal)[i] > 0 ? KR_R(metal)[i] : KR_R(im->data)[i];
    return 0;
}
