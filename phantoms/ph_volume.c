/* ph_volume.c: any volume as the object: a file's voxels, where the file says they are in the patient, with cubic curves
 * between them. */
#include "measure.h"
#include "kray/io.h"
#include <math.h>
#include <string.h>

typedef struct volume {
    float *voxels;                   /* real, or pairs; two more of nothing on every side */
    bool complex;
    long n[3];                       /* along the file's own three axes                   */
    double to_voxel[3][4];           /* mm from the isocentre (LPS) -> voxel index        */
    int sub[3];                      /* samples averaged for one point of the grid        */
} volume;
enum { BORDER = 2 };

/* Weights of Keys' cubic convolution (a = -1/2) for the four voxels around a point, f beyond the second of them.
 * Source: Keys, IEEE Trans Acoust 29:1153 (1981). */
static void cubic(float w[4], float f)
{
    w[0] = f * (-0.5f + f * (1 - 0.5f * f));
    w[1] = 1 + f * f * (-2.5f + 1.5f * f);
    w[2] = f * (0.5f + f * (2 - 1.5f * f));
    w[3] = f * f * (-0.5f + 0.5f * f);
}

/* The value at voxel position p, added to sum; beyond the file's voxels there is nothing, but a single slice is the same
 * at every height. */
static void value_at(const volume *v, const double p[3], float sum[2])
{
    long first[3];
    float w[3][4];
    for (int a = 0; a < 3; a++) {
        double at = v->n[a] > 1 ? p[a] : 0;
        if (!(at > -1 && at < (double)v->n[a]))
            return;
        long below = (long)(at + 1) - 1;
        first[a] = below - 1 + BORDER;
        cubic(w[a], (float)(at - (double)below));
    }
    long parts = v->complex ? 2 : 1, line = v->n[0] + 2 * BORDER, plane = line * (v->n[1] + 2 * BORDER);
    const float *corner = v->voxels + parts * (first[0] + first[1] * line + first[2] * plane);
    float row[8] = { 0 };                                        /* four voxels, after Y and Z were summed */
    for (long k = 0; k < 4; k++)
        for (long j = 0; j < 4; j++) {
            const float *x = corner + parts * (k * plane + j * line);
            float weight = w[2][k] * w[1][j];
            for (int i = 0; i < 4; i++)
                row[i] += weight * x[i];
            for (int i = 4; v->complex && i < 8; i++)
                row[i] += weight * x[i];
        }
    for (int i = 0; i < 4; i++)
        for (long c = 0; c < parts; c++)
            sum[c] += w[0][i] * row[parts * i + c];
}

static int row(const void *self, void *out, const kr_row *at)
{
    const volume *v = self;
    float *value = out;
    double apart[3] = { at->dx, at->dy, at->dz };
    float share = 1 / (float)(v->sub[0] * v->sub[1] * v->sub[2]);
    for (long i = 0; i < at->n; i++) {
        float sum[2] = { 0, 0 };
        for (int s = 0; s < v->sub[0] * v->sub[1] * v->sub[2]; s++) {
            int part[3] = { s % v->sub[0], s / v->sub[0] % v->sub[1], s / (v->sub[0] * v->sub[1]) };
            double r[3] = { at->x + (double)i * at->dx, at->y, at->z }, p[3];
            for (int a = 0; a < 3; a++)
                r[a] += ((part[a] + 0.5) / v->sub[a] - 0.5) * apart[a];
            for (int a = 0; a < 3; a++)
                p[a] = v->to_voxel[a][0] * r[0] + v->to_voxel[a][1] * r[1] + v->to_voxel[a][2] * r[2] + v->to_voxel[a][3];
            value_at(v, p, sum);
        }
        value[v->complex ? 2 * i : i] = share * sum[0];
        if (v->complex)
            value[2 * i + 1] = share * sum[1];
    }
    return 0;
}

/* Samples averaged over a point's share of the grid: a box of sub spikes. */
static double spectrum(const void *self, int axis, double t)
{
    const volume *v = self;
    double s = v->sub[axis] * sin(t / (2 * v->sub[axis]));
    return fabs(s) > 1e-12 ? sin(t / 2) / s : 1;
}

/* ---- Where the voxels are ---- */
/* The inverse of a 3 x 3 matrix by its adjugate; false: there is none. */
static bool invert(double inverse[3][3], double m[3][3])
{
    double det = 0, size = 1;
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++)
            inverse[b][a] = m[(a + 1) % 3][(b + 1) % 3] * m[(a + 2) % 3][(b + 2) % 3] - m[(a + 1) % 3][(b + 2) % 3] * m[(a + 2) % 3][(b + 1) % 3];
        size *= sqrt(m[0][a] * m[0][a] + m[1][a] * m[1][a] + m[2][a] * m[2][a]);
    }
    for (int b = 0; b < 3; b++)
        det += m[0][b] * inverse[b][0];
    if (!(fabs(det) > 1e-6 * size))
        return false;
    for (int a = 0; a < 9; a++)
        inverse[a / 3][a % 3] /= det;
    return true;
}

/* Puts the isocentre in the middle of the box that holds all voxels, and chooses a field of view that holds it. */
static int place(volume *v, kr_object *o, const kr_image *im)
{
    const kr_array *d = im->data;
    int axis[3] = { KR_X, KR_Y, d->n[KR_Z] > 1 ? KR_Z : KR_SLICE };
    for (int a = 0; a < KR_AXES; a++)
        if (d->n[a] > 1 && a != axis[0] && a != axis[1] && a != axis[2])
            return kr_fail(KR_ESHAPE, "a volume {x y z} is wanted as the object, not %s", kr_shape_text(kr_array_shape(d)));
    double ras[16], m[3][3], inverse[3][3], low[3] = { INFINITY, INFINITY, INFINITY }, high[3] = { -INFINITY, -INFINITY, -INFINITY };
    for (int a = 0; a < 3; a++)
        v->n[a] = d->n[axis[a]];
    if (kr_geom_affine(im->geom, v->n, ras))
        return kr_error_code();
    for (int i = 0; i < 16; i++)
        if (!isfinite(ras[i]))
            return kr_fail(KR_ENUMBER, "the volume does not say where its voxels are: its affine is not finite");
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            m[r][c] = (r < 2 ? -1 : 1) * ras[4 * r + c];                       /* RAS to LPS */
    if (!invert(inverse, m))
        return kr_fail(KR_ENUMBER, "the volume does not say where its voxels are: its affine cannot be inverted");
    for (int corner = 0; corner < 8; corner++)
        for (int r = 0; r < 3; r++) {
            double p = (r < 2 ? -1 : 1) * ras[4 * r + 3];
            for (int c = 0; c < 3; c++)
                p += m[r][c] * (corner >> c & 1 ? (double)v->n[c] - 0.5 : -0.5);
            low[r] = fmin(low[r], p);
            high[r] = fmax(high[r], p);
        }
    for (int r = 0; r < 3; r++) {
        o->isocentre_mm[r] = 0.5 * (low[r] + high[r]);
        o->fov_mm[r] = ceil(1.05 * (high[r] - low[r]));
    }
    o->fov_mm[0] = o->fov_mm[1] = fmax(o->fov_mm[0], o->fov_mm[1]);
    for (int a = 0; a < 3; a++) {
        v->to_voxel[a][3] = 0;
        for (int r = 0; r < 3; r++) {
            v->to_voxel[a][r] = inverse[a][r];
            v->to_voxel[a][3] += inverse[a][r] * (o->isocentre_mm[r] - (r < 2 ? -1 : 1) * ras[4 * r + 3]);
        }
    }
    return 0;
}

/* As many samples per point of the measuring grid as it takes to miss no voxel, up to 8. */
static void choose_samples(volume *v, const kr_object *o, const kr_simulate *how)
{
    for (int r = 0; r < 3; r++) {
        double fastest = 0, fov = how->fov_mm[r] != 0 ? how->fov_mm[r] : r == 2 && how->n[2] == 1 ? 5 : o->fov_mm[r];
        double points = r == 2 && how->n[2] == 1 ? 1 : 2 * (double)how->n[r];
        for (int a = 0; a < 3; a++)
            fastest = fmax(fastest, fabs(v->to_voxel[a][r]));
        double voxels = fov / points * fastest;
        v->sub[r] = voxels > 1 ? (int)fmin(ceil(voxels), 8) : 1;
    }
}

/* A copy with a border of nothing. Where real values go below 0 (Hounsfield units), the lowest becomes nothing. */
static int load(volume *v, const kr_array *data, const kr_trace *trace)
{
    v->complex = data->type == KR_C32;
    long parts = v->complex ? 2 : 1, line = parts * (v->n[0] + 2 * BORDER), plane = line * (v->n[1] + 2 * BORDER), from = parts * v->n[0];
    v->voxels = kr_alloc_zero((size_t)plane, (size_t)(v->n[2] + 2 * BORDER) * sizeof *v->voxels);
    if (!v->voxels)
        return kr_error_code();
    const float *in = data->data;
    float lowest = 0;
    for (long i = 0; !v->complex && i < v->n[0] * v->n[1] * v->n[2]; i++)
        lowest = fminf(lowest, in[i]);
    if (lowest < 0)
        kr_say(trace, KR_INFO, "the volume's lowest value, %g, is taken as no signal", (double)lowest);
    for (long k = 0; k < v->n[2]; k++)
        for (long j = 0; j < v->n[1]; j++, in += from)
            for (long i = 0; i < from; i++)
                v->voxels[(k + BORDER) * plane + (j + BORDER) * line + parts * BORDER + i] = in[i] - lowest;
    return 0;
}

static int measure(kr_scan **out, const kr_simulate *how, const kr_trace *trace)
{
    *out = NULL;
    if (!how->volume)
        return kr_fail(KR_EUSAGE, "which volume? the phantom 'volume' wants a file, as in: kray simulate head.nii.gz -o scan.h5");
    kr_scoped(image) im = NULL;
    if (kr_image_read(&im, how->volume))
        return kr_error_code();
    kr_scoped(array) data = kr_array_packed(im->data);
    kr_auto char *protocol = kr_strf("volume %s", strrchr(how->volume, '/') ? strrchr(how->volume, '/') + 1 : how->volume);
    volume v = { 0 };
    kr_object o = { .row = row, .type = im->data->type, .self = &v, .spectrum = spectrum, .protocol = protocol };
    int e = data && protocol ? kr_image_check(im) : kr_error_code();
    e = e ? e : place(&v, &o, im);
    e = e ? e : load(&v, data, trace);
    if (e)
        return kr_fail_in("%s", how->volume);
    choose_samples(&v, &o, how);
    e = kr_measure(out, &o, how, trace);
    kr_free(v.voxels);
    return e;
}

const kr_phantom kr_phantom_volume = { "volume", "any volume of a file, where it says it is in the patient", NULL, measure };
