/* simulate_ct.c: projections of bodies that are known exactly, or of a volume in Hounsfield units, with the noise of photons and electronics. */
#include "simulate_ct.h"
#include "json.h"
#include "kray/projections.h"
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

static int of_bodies(kr_projections *p, const kr_rays *r, const simulate_ct *o)
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
    if (!o->reference)
        return 0;
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
    return kr_meta_set(im->meta, "upright", "x to the right, y up") || kr_meta_set(im->meta, "unit", "1/mm") ? kr_error_code() : kr_image_write(im, o->reference, NULL);
}

int simulate_ct_run(const simulate_ct *o, struct answer *a)
{
    bool known = false;
    for (int i = 0; kr_bodies_name(i, NULL); i++)
        known |= !strcmp(kr_bodies_name(i, NULL), o->object);
    if (!(o->dose > 0 && o->dose <= 1) || !(o->photons >= 0) || !(o->electronic >= 0) || !(o->radius >= 0) || !isfinite(o->photons + o->electronic + o->radius))
        return kr_fail(KR_EUSAGE, "--dose is a part, above 0 and up to 1; --photons, --electronic and --radius must not be negative");
    if (!(o->photons > 0) && (o->dose < 1 || o->electronic > 0))
        return kr_fail(KR_EUSAGE, "--dose and --electronic are for noise: how many photons would a ray without the object have (--photons)?");
    if (kr_can_write(KR_PLAIN, o->output, NULL) || (o->reference && kr_can_write(KR_PICTURE, o->reference, NULL)))
        return kr_error_code();
    kr_projections *p = kr_alloc_zero(1, sizeof *p);
    if (!p)
        return kr_error_code();
    long size[2] = { 0, 0 };
    int e = kr_projections_geometry(p, o->geometry);
    e = e ? e : size_of(size, o->detector, p->volume);
    kr_rays *r = NULL;
    if (!e) {
        p->y = kr_array_new(KR_R32, KR_SHAPE([KR_U] = size[0], [KR_V] = size[1], [KR_VIEW] = p->rays ? p->rays->views : p->views > 0 ? p->views : 1));
        r = p->y ? kr_projections_rays(p, size[1], (double)(size[0] - 1) / 2) : NULL;
        e = r ? known ? of_bodies(p, r, o) : of_volume(p, r, o->object, o->reference) : kr_error_code();
    }
    kr_rays_unref(&r);
    if (!e) {
        if (o->photons > 0)
            kr_photons(KR_R(p->y), kr_count(kr_array_shape(p->y)), o->photons * o->dose, o->electronic, (uint64_t)o->seed);
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
