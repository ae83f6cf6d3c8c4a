/* field.c: a field map at the voxels of a scan's image. */
#include "kray/trajectory.h"
#include "kray/segment.h"
#include <math.h>
#include <string.h>

/* The voxel of `map` (3 x 4, row-major) at which voxel v of the scan's slice lies; false: it cannot be told. */
static bool to_map(double out[12], const kr_scan *s, const kr_geom *g, long slice, const kr_image *map)
{
    double A[16], inverse[9];
    const long n[3] = { map->data->n[KR_X], map->data->n[KR_Y], map->data->n[KR_Z] > 1 ? map->data->n[KR_Z] : 1 };
    if (!g->known || !map->geom->known || kr_geom_affine(map->geom, n, A)) {
        kr_error_clear();
        return false;
    }
    const double *a = A;                                      /* rows of 4, RAS */
    double det = a[0] * (a[5] * a[10] - a[6] * a[9]) - a[1] * (a[4] * a[10] - a[6] * a[8]) + a[2] * (a[4] * a[9] - a[5] * a[8]);
    if (!(fabs(det) > 1e-12))
        return false;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            int r1 = (j + 1) % 3, r2 = (j + 2) % 3, c1 = (i + 1) % 3, c2 = (i + 2) % 3;
            inverse[3 * i + j] = (a[4 * r1 + c1] * a[4 * r2 + c2] - a[4 * r1 + c2] * a[4 * r2 + c1]) / det;
        }
    const double *dir[3] = { g->read_dir, g->phase_dir, g->slice_dir };
    double place[3][4];                                       /* RAS of voxel (i, j, k) */
    for (int c = 0; c < 3; c++) {
        double sign = c < 2 ? -1 : 1, at = g->position_mm[slice < g->slices ? slice : 0][c];
        for (int d = 0; d < 3; d++) {
            long size = s->enc.encoded[d] > 1 ? s->enc.encoded[d] : 1;
            double step = (s->enc.encoded_mm[d] > 0 ? s->enc.encoded_mm[d] : s->enc.recon_mm[d]) / (double)size;
            place[c][d] = sign * step * dir[d][c];
            at -= (double)(size / 2) * step * dir[d][c];
        }
        place[c][3] = sign * at;
    }
    for (int i = 0; i < 3; i++)
        for (int d = 0; d < 4; d++) {
            out[4 * i + d] = 0;
            for (int c = 0; c < 3; c++)
                out[4 * i + d] += inverse[3 * i + c] * (place[c][d] - (d == 3 ? a[4 * c + 3] : 0));
        }
    return true;
}

static kr_array *real_part(const kr_image *map)
{
    kr_scoped(array) packed = kr_array_packed(map->data);
    kr_array *hz = packed ? kr_array_new(KR_R32, kr_array_shape(packed)) : NULL;
    for (long i = 0; hz && i < kr_count(kr_array_shape(hz)); i++)
        KR_R(hz)[i] = packed->type == KR_C32 ? kr_re(KR_C(packed)[i]) : KR_R(packed)[i];
    return hz;
}

int kr_scan_dwell(kr_scan *s, double dwell_us, const char *what)
{
    if (dwell_us > 0 && s->dwell_us > 0 && fabs(dwell_us / s->dwell_us - 1) > .01)
        return kr_fail(KR_EREFUSED, "--dwell %g: the file says %.5g us between samples", dwell_us, s->dwell_us);
    if (dwell_us > 0)
        s->dwell_us = dwell_us;
    return s->dwell_us > 0 ? 0 : kr_fail(KR_EREFUSED, "%s the time between samples, which the file does not tell: give it (--dwell US)", what);
}

int kr_scan_field(kr_scan *s, const kr_image *map, double first_us, double dwell_us, const kr_trace *trace)
{
    if (!s->traj)
        return kr_fail(KR_EUSAGE, "--field-map is for scans along a trajectory; this one is on a grid");
    if (kr_scan_dwell(s, dwell_us, "off-resonance wants"))
        return kr_error_code();
    kr_scoped(array) hz = real_part(map);
    kr_scoped(geom) g = kr_scan_image_geom(s);
    if (!hz || !g)
        return kr_error_code();
    if (!kr_all_finite(hz))
        return kr_fail(KR_ENUMBER, "the field map holds numbers that are not finite");
    long slices = s->shape.n[KR_SLICE] > 1 ? s->shape.n[KR_SLICE] : 1, m[3], n[3];
    kr_shape shape = { { 0 } };
    for (int d = 0; d < 3; d++) {
        m[d] = s->enc.encoded[d] > 1 ? s->enc.encoded[d] : 1;
        n[d] = hz->n[d];
        shape.n[d] = m[d];
    }
    shape.n[KR_SLICE] = slices;
    kr_array *field = kr_array_new(KR_R32, shape);
    bool known;
    float sign = kr_scan_kspace_sign(s, &known) > 0 ? -1 : 1;
    long pixels = m[0] * m[1] * m[2], stacked = hz->n[KR_SLICE];
    n[2] = stacked > 1 ? stacked : n[2];
    int e = field ? 0 : kr_error_code();
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (long z = 0; !e && z < slices; z++) {
        double at[12];
        float *to = KR_R(field) + z * pixels;
        if (to_map(at, s, g, z, map))
            e = kr_sample(to, m, KR_R(hz), n, at);
        else if (n[0] == m[0] && n[1] == m[1] && n[2] == (slices > 1 ? slices : m[2]))
            memcpy(to, KR_R(hz) + z * pixels, (size_t)pixels * sizeof(float));
        else
            e = kr_fail(KR_ESHAPE, "a field map of %ld x %ld x %ld voxels for an image of %ld x %ld x %ld: one of them does not say where it lies, so that their sizes have to agree", n[0],
                        n[1], n[2], m[0], m[1], slices > 1 ? slices : m[2]);
        for (long i = 0; !e && i < pixels; i++) {
            low = fmin(low, (double)to[i]);
            high = fmax(high, (double)to[i]);
            to[i] *= sign;
        }
    }
    if (e) {
        kr_array_unref(&field);
        return e;
    }
    kr_array_unref(&s->field);
    s->field = field;
    s->first_us = first_us;
    kr_say(trace, KR_INFO, "off-resonance from %.0f to %.0f Hz; the first sample %.4g us after time zero, %.4g us between samples", low, high, first_us, s->dwell_us);
    return 0;
}
