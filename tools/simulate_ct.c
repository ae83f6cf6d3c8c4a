/* simulate_ct.c: projections of bodies that are known exactly, or of a volume in Hounsfield units, with the noise of photons and electronics. */
#include "simulate_ct.h"
#include "json.h"
#include "kray/projections.h"
#include "tool.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double water = 0.0193;       /* 1/mm, at 70 keV: NIST XCOM */

static int size_of(long size[2], const char *text, bool volume)
{
    char end;
    size[1] = 1;
    int got = sscanf(text, "%ld,%ld%c", &size[0], &size[1], &end);
    return got < 1 || got > 2 || size[0] < 2 || size[1] < 1 || size[0] > 1L << 16 || size[1] > 1L << 16 || (got == 1 && strchr(text, ','))
           ? kr_fail(KR_EUSAGE, "--detector %s: COLUMNS[,ROWS] is wanted", text)
           : size[1] > 1 && !volume ? kr_fail(KR_EUSAGE, "--detector %s: rows are for cone and parallel3d; parallel and fan are one slice", text)
           : size[1] < 2 && volume ? kr_fail(KR_EUSAGE, "--detector %s: a volume wants rows too, such as --detector 256,192", text) : 0;
}

/* A volume in HU on its own grid, about the origin; what is below air counts as air. */
static int of_volume(kr_projections *p, const kr_rays *r, const char *file, const char *reference)
{
    kr_scoped(image) im = NULL;
    if (kr_image_read(&im, file))
        return kr_error_code();
    kr_scoped(array) x = im->data->type == KR_R32 ? kr_array_packed(im->data) : NULL;
    if (!x)
        return kr_fail(KR_EFORMAT, "%s: real numbers in Hounsfield units are wanted", file);
    long slices = x->n[KR_Z] * x->n[KR_SLICE], n[3] = { x->n[KR_X], x->n[KR_Y], slices };
    if (kr_count(kr_array_shape(x)) != n[0] * n[1] * n[2])
        return kr_fail(KR_ESHAPE, "%s: a single volume is wanted, not %s", file, kr_shape_text(kr_array_shape(x)));
    if (slices > 1 && !p->volume)
        return kr_fail(KR_EUSAGE, "%s holds %ld slices: cone or parallel3d measures them, parallel and fan one slice", file, slices);
    double step[3];
    for (int d = 0; d < 3; d++)
        step[d] = im->geom && im->geom->fov_mm[d] > 0 ? im->geom->fov_mm[d] / (double)(d == 2 && x->n[KR_Z] == 1 ? 1 : n[d]) : 1;
    kr_grid g = kr_grid_centred(n, step);
    for (long i = 0; i < n[0] * n[1] * n[2]; i++)
        KR_R(x)[i] = (float)(water * fmax(0, 1 + (double)KR_R(x)[i] / 1000));
    kr_projector *A = kr_projector_new(r, &g, KR_RAY_DISTANCE, false);
    if (!A)
        return kr_error_code();
    kr_project(A, KR_R(p->y), KR_R(x), 0, 1);
    kr_projector_unref(&A);
    return reference ? kr_fail(KR_EUSAGE, "--reference: the object is a file already") : 0;
}

/* ---- What is not ideal ---- */
/* Titanium at 70 keV, and both at the energies of a spectrum such as a tube of 120 kV has behind its filters, with how many of the photons (NIST XCOM; 1/mm). */
static const double titanium = 0.252;
static const struct { double share, water, titanium; } energies[] = { { 0.19, 0.02683, 0.998 }, { 0.40, 0.02059, 0.345 }, { 0.26, 0.01837, 0.183 }, { 0.15, 0.01707, 0.123 } };

/* Rods of titanium about the middle. */
static long rods(kr_ellipsoid *e, long count, double radius, bool volume)
{
    for (long i = 0; i < count; i++) {
        double at = 0.4 + 2 * M_PI * (double)i / (double)count;
        e[i] = (kr_ellipsoid){ titanium, { 0.45 * radius * cos(at), 0.35 * radius * sin(at), 0 }, { 0.03 * radius, 0.03 * radius, volume ? 0.3 * radius : 0 }, 0 };
    }
    return count;
}

/* Line integrals at 70 keV, of tissue (which hardens as water does) and of metal (NULL: none), as a detector sees them that counts all photons of a spectrum. */
static void harden(float *y, const float *metal, long n)
{
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < sizeof energies / sizeof *energies; k++)
            sum += energies[k].share * exp(-(double)y[i] * energies[k].water / water - (metal ? (double)metal[i] * energies[k].titanium / titanium : 0));
        y[i] = (float)-log(fmax(sum, 1e-30));
    }
}

/* Elements that see some of what falls on their neighbours: transmissions through a Gaussian of so many elements, along one axis of the detector. */
static int blur(float *y, long lines, long n, long step, long apart, double deviation)
{
    kr_auto double *t = kr_alloc((size_t)n, sizeof *t);
    long reach = (long)ceil(4 * deviation);
    if (!t)
        return kr_error_code();
    for (long l = 0; l < lines; l++) {                               /* step lines side by side, `apart` from those of the next view */
        float *p = y + l / step * apart + l % step;
        for (long k = 0; k < n; k++)
            t[k] = exp(-(double)p[k * step]);
        for (long k = 0; k < n; k++) {
            double sum = 0, all = 0;
            for (long j = k - reach; j <= k + reach; j++) {
                double w = exp(-0.5 * (double)((j - k) * (j - k)) / (deviation * deviation));
                sum += w * t[j < 0 ? 0 : j >= n ? n - 1 : j];
                all += w;
            }
            p[k * step] = (float)-log(fmax(sum / all, 1e-30));
        }
    }
    return 0;
}

/* Elements whose gain is not what the white field says: rings. */
static void gains(float *y, long elements, long views, double deviation, uint64_t seed)
{
    for (long k = 0; k < elements; k++) {
        double z[2];
        kr_rand_normal2(seed + 2, (uint64_t)k, 2, z);
        for (long v = 0; v < views; v++)
            y[v * elements + k] -= (float)log(fmax(1 + deviation * z[0], 0.01));
    }
}

static double width_of(const kr_rays *r)
{
    kr_grid g = kr_grid_of(r);
    return fabs(g.step[0]) * (double)g.n[0];
}

static int not_ideal(kr_projections *p, const kr_rays *r, const simulate_ct *o, double radius)
{
    long n = kr_count(kr_array_shape(p->y)), u = r->columns, v = r->rows;
    kr_scoped(array) metal = o->metal ? kr_array_like(p->y) : NULL;
    if (o->metal && !metal)
        return kr_error_code();
    if (metal) {
        kr_ellipsoid e[KR_BODIES];
        kr_ellipsoids_scan(KR_R(metal), e, rods(e, o->metal, radius, p->volume), r, 4);
        for (long i = 0; i < n && !o->spectrum; i++)
            KR_R(p->y)[i] += KR_R(metal)[i];
    }
    if (o->spectrum)
        harden(KR_R(p->y), metal ? KR_R(metal) : NULL, n);
    return o->blur > 0 && (blur(KR_R(p->y), v * r->views, u, 1, u, o->blur) || (v > 1 && blur(KR_R(p->y), u * r->views, v, u, u * v, o->blur))) ? kr_error_code() : 0;
}

static int of_bodies(kr_projections *p, const kr_rays *r, const simulate_ct *o, double *reach)
{
    kr_ellipsoid e[KR_BODIES];
    kr_grid g = kr_grid_of(r);
    if (!p->volume) {
        g.n[2] = 1;
        g.first[2] = 0;
    }
    double radius = o->radius > 0 ? o->radius : 0.45 * fabs(g.step[0]) * (double)g.n[0];
    long count = kr_bodies(e, o->object, radius, water, p->volume);
    kr_ellipsoids_scan(KR_R(p->y), e, count, r, 4);
    *reach = radius;
    if (!o->reference)
        return 0;
    count += rods(e + count, count + o->metal <= KR_BODIES ? o->metal : 0, radius, p->volume);
    kr_scoped(array) x = kr_array_new(KR_R32, KR_SHAPE([KR_X] = g.n[0], [KR_Y] = g.n[1], [KR_Z] = g.n[2]));
    if (!x)
        return kr_error_code();
    kr_ellipsoids_draw(KR_R(x), e, count, &g, 4);
    kr_geom *geom = kr_geom_new(1);
    kr_scoped(image) im = geom ? kr_image_new(x, geom, NULL) : NULL;
    kr_geom_unref(&geom);
    if (!im)
        return kr_error_code();
    for (int d = 0; d < 3; d++)
        im->geom->fov_mm[d] = fabs(g.step[d]) * (double)g.n[d];
    kr_meta_set_whole(im->meta, kr_whole());
    return kr_meta_set(im->meta, "upright", "x to the right, y up") || kr_meta_set(im->meta, "unit", "1/mm") ? kr_error_code() : kr_image_write(im, o->reference, NULL);
}

int simulate_ct_run(const simulate_ct *o, struct answer *a)
{
    bool known = false;
    for (int i = 0; kr_bodies_name(i, NULL); i++)
        known |= !strcmp(kr_bodies_name(i, NULL), o->object);
    if (!(o->dose > 0 && o->dose <= 1) || !(o->photons >= 0) || !(o->electronic >= 0) || !(o->radius >= 0) || !isfinite(o->photons + o->electronic + o->radius))
        return kr_fail(KR_EUSAGE, "--dose is a part, above 0 and up to 1; --photons, --electronic and --radius must not be negative");
    if (!(o->blur >= 0 && o->blur <= 100) || !(o->rings >= 0 && o->rings < 0.5) || o->metal < 0 || o->metal > 8)
        return kr_fail(KR_EUSAGE, "--blur takes 0 to 100 elements, --rings 0 to 0.5, --metal 0 to 8 rods");
    if (!(o->photons > 0) && (o->dose < 1 || o->electronic > 0))
        return kr_fail(KR_EUSAGE, "--dose and --electronic are for noise: how many photons would a ray without the object have (--photons)?");
    if (kr_can_write(KR_PLAIN, o->output, NULL) || (o->reference && kr_can_write(KR_PICTURE, o->reference, NULL)))
        return kr_error_code();
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return kr_error_code();
    long size[2] = { 0, 0 };
    double reach = 0;
    int e = kr_projections_geometry(p, o->geometry);
    e = e ? e : size_of(size, o->detector, p->volume);
    kr_rays *r = NULL;
    if (!e) {
        p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = size[0], [KR_V] = size[1], [KR_VIEW] = p->rays ? p->rays->views : p->views > 0 ? p->views : 1));
        r = p->y ? kr_projections_rays(p, size[1], (double)(size[0] - 1) / 2) : NULL;
        e = r ? known ? of_bodies(p, r, o, &reach) : of_volume(p, r, o->object, o->reference) : kr_error_code();
        e = e ? e : not_ideal(p, r, o, reach > 0 ? reach : 0.3 * width_of(r));
    }
    kr_rays_unref(&r);
    if (!e) {
        if (o->photons > 0)
            kr_photons(KR_R(p->y), kr_count(kr_array_shape(p->y)), o->photons * o->dose, o->electronic, (uint64_t)o->seed);
        if (o->rings > 0)
            gains(KR_R(p->y), size[0] * size[1], p->y->n[KR_VIEW], o->rings, (uint64_t)o->seed);
        e = kr_array_write(p->y, NULL, o->output);
    }
    if (!e) {
        kr_say(&a->trace, KR_INFO, "%s: line integrals of %s, %ld views of %ld x %ld elements%s", o->output, o->object, p->y->n[KR_VIEW], size[0], size[1],
               o->photons > 0 ? "" : ", without noise");
        json_t *j = answer_add(a, o->output);
        json_object_set_new(j, "phantom", json_words(o->object));
        json_object_set_new(j, "shape", json_shape(kr_array_shape(p->y)));
        json_object_set_new(j, "photons", json_number(o->photons * o->dose));
        json_object_set_new(j, "electronic", json_number(o->electronic));
    }
    kr_projections_unref(&p);
    return e;
}
