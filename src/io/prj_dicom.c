/* prj_dicom.c: DICOM-CT-PD, a folder of one file a view, of helical scanners with curved detectors: line integrals, and geometry from private tags.
 * Source: DICOM-CT-PD User Manual, version 3 (TCIA, LDCT-and-Projection-data). Where the manual's directions of columns and rows
 * are turned about for a scanner, --geometry ...:flip= puts it right. */
#include "prj.h"
#include "dcm.h"
#include "number.h"
#include "tiff.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Number i of an element; floats in elements of unknown kind (UN) come as bytes in hexadecimal, and so do the whole numbers of the detector's group. NAN: it is not there. */
static double number(kr_dcm *d, uint32_t tag, size_t i)
{
    char text[256];
    unsigned byte[9];
    double v[8];
    if (!kr_dcm_text(text, sizeof text, d, 0, tag))
        return NAN;
    size_t n = strlen(text), tokens = (n + 1) / 3;
    bool bytes = n == 11 || n == 23;
    for (size_t k = 0; bytes && k < tokens; k++)
        bytes = sscanf(text + 3 * k, "%2x", &byte[k]) == 1 && strspn(text + 3 * k, "0123456789abcdefABCDEF") == 2;
    unsigned low, high;
    if (n == 5 && tag >> 16 == 0x7029 && sscanf(text, "%2x\\%2x", &low, &high) == 2)
        return (double)(low + 256 * high);
    if (bytes && 4 * i + 4 <= tokens) {
        unsigned char own[4] = { (unsigned char)byte[4 * i], (unsigned char)byte[4 * i + 1], (unsigned char)byte[4 * i + 2], (unsigned char)byte[4 * i + 3] };
        return kr_number_double(own, KR_F32);
    }
    return kr_dcm_numbers(v, 8, d, 0, tag) > (int)i ? v[i] : NAN;
}

/* ---- A folder ---- */
struct view { double phi, z, rho, dphi, dz, drho; };

static int one(kr_projections *p, struct view *view, kr_dcm *d, long i, long views, double central[2])
{
    double rows = number(d, 0x00280010, 0), columns = number(d, 0x00280011, 0), channels = number(d, 0x70291011, 0), lines = number(d, 0x70291010, 0);
    double slope = number(d, 0x00281053, 0), intercept = number(d, 0x00281052, 0);
    double pitch[2] = { number(d, 0x70291002, 0), number(d, 0x70291006, 0) }, far = number(d, 0x70311031, 0);
    double c[2] = { number(d, 0x70311033, 0), number(d, 0x70311033, 1) };
    view[i] = (struct view){ number(d, 0x70311001, 0), number(d, 0x70311002, 0), number(d, 0x70311003, 0), number(d, 0x7033100B, 0), number(d, 0x7033100C, 0), number(d, 0x7033100D, 0) };
    struct view *v = &view[i];
    v->dphi = isnan(v->dphi) ? 0 : v->dphi;
    v->dz = isnan(v->dz) ? 0 : v->dz;
    v->drho = isnan(v->drho) ? 0 : v->drho;
    if (!isfinite(v->phi + v->z + v->rho) || !(v->rho > 0) || !(far > v->rho) || !(pitch[0] > 0) || !(pitch[1] > 0) || !isfinite(c[0] + c[1]))
        return kr_fail(KR_EFORMAT, "no projection of DICOM-CT-PD: the source's place (7031,1001-1003), the detector's distance (7031,1031), spacing (7029,1002 and 1006) or central "
                       "element (7031,1033) are missing or make no sense");
    if (!(rows >= 1) || !(columns >= 1) || rows > 65535 || columns > 65535)
        return kr_fail(KR_EFORMAT, "pictures of %g x %g pixels", columns, rows);
    kr_auto float *pixel = kr_alloc((size_t)(rows * columns), sizeof *pixel);
    if (!pixel || kr_dcm_pixels(pixel, d, 0, (long)(rows * columns)))
        return kr_error_code();
    bool u_fast = channels >= 1 && channels <= columns && channels >= columns && !(channels >= rows && channels <= rows);      /* else a DICOM row is a channel */
    long U = (long)(u_fast ? columns : rows), V = (long)(u_fast ? rows : columns);
    if (channels >= 1 && lines >= 1 && ((long)channels != U || (long)lines != V))
        return kr_fail(KR_EFORMAT, "%g x %g pixels for a detector of %g channels and %g rows", columns, rows, channels, lines);
    if (!i) {
        p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = U, [KR_V] = V, [KR_VIEW] = views));
        if (!p->y)
            return kr_error_code();
        p->sdd = far;
        for (int k = 0; k < 2; k++) {
            p->pixel[k] = pitch[k];
            central[k] = c[k];
        }
        double water = number(d, 0x70411001, 0);
        p->water = water > 0.1 ? water / 10 : water > 0 ? water : 0; /* per cm, or per mm */
    } else if (p->y->n[KR_U] != U || p->y->n[KR_V] != V || fabs(far - p->sdd) > 1e-3 || fabs(pitch[0] - p->pixel[0]) > 1e-6)
        return kr_fail(KR_ESHAPE, "a projection of %ld x %ld elements %g mm from the source, the first one of %ld x %ld at %g mm", U, V, far, p->y->n[KR_U], p->y->n[KR_V], p->sdd);
    slope = isnan(slope) ? 1 : slope;
    intercept = isnan(intercept) ? 0 : intercept;
    float *to = KR_R(p->y) + i * U * V;
    for (long u = 0; u < U; u++)
        for (long k = 0; k < V; k++)
            to[k * U + u] = (float)(slope * (double)pixel[u_fast ? k * U + u : u * V + k] + intercept);
    return 0;
}

/* Source at angle phi from +y, counter-clockwise, with its flying focal spot; the arc of the detector is about the focal centre, taken to be about the
 * source: within 1e-4 of the fan angle for displacements of a mm. */
static int geometry(kr_projections *p, const struct view *view, const double central[2])
{
    long U = p->y->n[KR_U], V = p->y->n[KR_V], views = p->y->n[KR_VIEW];
    p->rays = kr_rays_new(KR_DIVERGENT, views, U, V);
    if (!p->rays)
        return kr_error_code();
    p->rays->curved = true;
    for (long i = 0; i < views; i++) {
        const struct view *w = &view[i];
        double f[2] = { -w->rho * sin(w->phi), w->rho * cos(w->phi) }, in[2] = { sin(w->phi), -cos(w->phi) };      /* focal centre, and from there to the axis */
        double g = ((double)(U - 1) / 2 - (central[0] - 1)) * p->pixel[0] / p->sdd, z = w->z + ((double)(V - 1) / 2 - (central[1] - 1)) * p->pixel[1];
        double along[2] = { -in[1], in[0] };                         /* counter-clockwise about the axis, at the detector */
        double rho = w->rho + w->drho, phi = w->phi + w->dphi;
        memcpy(p->rays->source[i], (double[3]){ -rho * sin(phi), rho * cos(phi), w->z + w->dz }, sizeof(double[3]));
        memcpy(p->rays->centre[i], (double[3]){ f[0] + p->sdd * (cos(g) * in[0] + sin(g) * along[0]), f[1] + p->sdd * (cos(g) * in[1] + sin(g) * along[1]), z }, sizeof(double[3]));
        memcpy(p->rays->u[i], (double[3]){ p->pixel[0] * (cos(g) * along[0] - sin(g) * in[0]), p->pixel[0] * (cos(g) * along[1] - sin(g) * in[1]), 0 }, sizeof(double[3]));
        memcpy(p->rays->v[i], (double[3]){ 0, 0, p->pixel[1] }, sizeof(double[3]));
    }
    p->beam = KR_DIVERGENT;
    p->curved = p->volume = p->lengths = p->integrals = true;
    return 0;
}

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    (void)trace;
    struct stat st;
    if (stat(source, &st) || !S_ISDIR(st.st_mode))
        return 0;
    long views = 0;
    char **name = kr_files_named(source, NULL, ".dcm .ima", &views);
    kr_auto struct view *view = kr_alloc((size_t)views + 1, sizeof *view);
    double central[2] = { 0, 0 };
    int e = view ? 0 : kr_error_code();
    for (long i = 0; i < views && !e; i++) {
        kr_dcm *d = kr_dcm_read(name[i], true);
        if (d && !i && isnan(number(d, 0x70311003, 0))) {            /* DICOM of another kind: images, say */
            kr_dcm_unref(&d);
            kr_files_named_free(name, views);
            return 0;
        }
        e = d ? one(p, view, d, i, views, central) ? kr_fail_in("%s", name[i]) : 0 : kr_error_code();
        kr_dcm_unref(&d);
    }
    kr_files_named_free(name, views);
    if (!views || e)
        return e;
    p->kind = "DICOM-CT-PD";
    return geometry(p, view, central) ? kr_error_code() : 1;
}

const kr_projections_kind kr_projections_dicom = { "dicom", "DICOM-CT-PD, a folder of one file a view: line integrals of helical scans", read, NULL };
