/* info_rays.c: what kray info tells of X-ray projections: geometry, views, detector, units. */
#include "info_rays.h"
#include <math.h>

/* What follows from the geometry, where it is whole. */
struct derived { bool known; kr_arc arc; kr_grid grid; double angle[2], pixel[2]; };      /* pixel: 0 where not known */

static int derive(struct derived *d, const kr_projections *p)
{
    kr_rays *r = kr_projections_rays(p, p->volume ? p->y->n[KR_V] : 1, (double)(p->y->n[KR_U] - 1) / 2);
    *d = (struct derived){ .known = r != NULL, .angle = { INFINITY, -INFINITY }, .pixel = { p->pixel[0], p->pixel[1] > 0 ? p->pixel[1] : p->pixel[0] } };
    for (int k = 0; p->rays && p->lengths && k < 2; k++) {
        const double *v = k ? p->rays->v[0] : p->rays->u[0];
        d->pixel[k] = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    }
    if (!r && kr_error_code() == KR_EMEM)
        return kr_error_code();
    kr_error_clear();                                                /* what is missing is left out */
    if (d->known) {
        d->known = !kr_arc_of(&d->arc, r, NULL);
        d->grid = p->grid.n[0] ? p->grid : kr_grid_of(r);
        d->grid.n[2] = p->volume ? d->grid.n[2] : p->y->n[KR_V];
    }
    kr_error_clear();
    for (long i = 0; p->angle && i < p->views; i++) {
        d->angle[0] = fmin(d->angle[0], p->angle[i]);
        d->angle[1] = fmax(d->angle[1], p->angle[i]);
    }
    kr_rays_unref(&r);
    return 0;
}

static const char *beam(const kr_projections *p)
{
    return p->beam == KR_PARALLEL ? "parallel" : p->volume ? "cone" : p->curved ? "fan, curved detector" : "fan";
}

static const char *numbers(const kr_projections *p)
{
    return p->integrals ? "line integrals" : p->white ? "counts" : "counts or line integrals: the file does not say";
}

static int as_json(json_t **o, const kr_projections *p, const struct derived *d)
{
    *o = json_object();
    json_object_set_new(*o, "kind", json_words("projections"));
    json_object_set_new(*o, "source", json_words(p->kind));
    json_object_set_new(*o, "shape", json_shape(kr_array_shape(p->y)));
    json_object_set_new(*o, "beam", json_words(p->beam == KR_PARALLEL ? "parallel" : p->volume ? "cone" : "fan"));
    json_object_set_new(*o, "views", json_integer(p->y->n[KR_VIEW]));
    json_object_set_new(*o, "columns", json_integer(p->y->n[KR_U]));
    json_object_set_new(*o, "rows", json_integer(p->y->n[KR_V]));
    json_object_set_new(*o, "lengths", json_words(p->lengths ? "mm" : "pixel"));
    json_object_set_new(*o, "pixel", json_number(d->pixel[0] > 0 ? d->pixel[0] : (double)NAN));
    json_object_set_new(*o, "source_to_axis", json_number(p->sod > 0 ? p->sod : (double)NAN));
    json_object_set_new(*o, "source_to_detector", json_number(p->sdd > 0 ? p->sdd : (double)NAN));
    json_object_set_new(*o, "first_degrees", json_number(isfinite(d->angle[0]) ? d->angle[0] : (double)NAN));
    json_object_set_new(*o, "last_degrees", json_number(isfinite(d->angle[1]) ? d->angle[1] : (double)NAN));
    json_object_set_new(*o, "covered_degrees", json_number(d->known ? d->arc.covered * 180 / M_PI : (double)NAN));
    json_object_set_new(*o, "white_frames", json_integer(p->white ? p->white->n[KR_VIEW] : 0));
    json_object_set_new(*o, "dark_frames", json_integer(p->dark ? p->dark->n[KR_VIEW] : 0));
    json_object_set_new(*o, "numbers", json_words(numbers(p)));
    return *o ? 0 : kr_fail(KR_EMEM, "no memory");
}

int info_rays(json_t **o, kr_text *t, const kr_projections *p)
{
    struct derived d;
    if (derive(&d, p))
        return kr_error_code();
    if (o)
        return as_json(o, p, &d);
    const char *mm = p->lengths ? "mm" : "elements";
    kr_text_add(t, "  %-12s %s, %s beam\n", "projections", p->kind ? p->kind : "bare array", beam(p));
    kr_text_add(t, "  %-12s %ld", "views", p->y->n[KR_VIEW]);
    if (isfinite(d.angle[0]))
        kr_text_add(t, " from %.6g to %.6g degrees", d.angle[0], d.angle[1]);
    if (d.known)
        kr_text_add(t, ", %.4g degrees of %.4g covered", d.arc.covered * 180 / M_PI, d.arc.period * 180 / M_PI);
    for (long i = 0; d.known && i < d.arc.holes; i++)
        kr_text_add(t, "%s%.4g to %.4g", i ? ", " : "; gaps: ", d.arc.hole[i][0] * 180 / M_PI, d.arc.hole[i][1] * 180 / M_PI);
    kr_text_add(t, "\n  %-12s %ld columns x %ld row%s", "detector", p->y->n[KR_U], p->y->n[KR_V], p->y->n[KR_V] == 1 ? "" : "s");
    if (d.pixel[0] > 0 && p->lengths)
        kr_text_add(t, " of %.5g x %.5g mm", d.pixel[0], d.pixel[1]);
    else
        kr_text_add(t, ", size of the elements unknown");
    if (p->sod > 0)
        kr_text_add(t, "\n  %-12s source to axis %.6g %s, source to detector %.6g %s", "distances", p->sod, mm, p->sdd, mm);
    kr_text_add(t, "\n  %-12s %s", "numbers", numbers(p));
    if (p->white)
        kr_text_add(t, ", %ld white frame%s", p->white->n[KR_VIEW], p->white->n[KR_VIEW] == 1 ? "" : "s");
    if (p->dark)
        kr_text_add(t, ", %ld dark frame%s", p->dark->n[KR_VIEW], p->dark->n[KR_VIEW] == 1 ? "" : "s");
    if (d.known)
        kr_text_add(t, "\n  %-12s %ld x %ld x %ld voxels", "image", d.grid.n[0], d.grid.n[1], d.grid.n[2]);
    if (d.known && p->lengths)
        kr_text_add(t, " of %.5g mm, values per mm (kray ct --water MU: HU)", fabs(d.grid.step[0]));
    else if (d.known)
        kr_text_add(t, " as wide as an element, values per element");
    kr_text_add(t, "\n");
    return t->failed ? kr_error_code() : 0;
}
