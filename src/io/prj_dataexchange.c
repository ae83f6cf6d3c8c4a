/* prj_dataexchange.c: Data Exchange, HDF5 of synchrotrons: counts, white and dark fields, angles; parallel beams. Source: De Carlo et al., J Synchrotron
 * Rad 21:1224 (2014), and dxchange's readers. */
#include "prj.h"
#include "h5.h"
#include <math.h>
#include <string.h>

/* The order of axes in the file's own words ("theta:y:x", or of sinograms "y:theta:x"), and what angles are told in: degrees, unless `units` says radians. */
static int words(char order[16], bool *radians, const char *source)
{
    strcpy(order, "view,v,u");
    *radians = false;
    kr_h5 *f = kr_h5_open(source);
    if (!f)
        return kr_error_code();
    kr_auto char *axes = kr_h5_has(f, "exchange/data") ? kr_h5_attr_text(f, "exchange/data", "axes") : NULL;
    kr_auto char *units = kr_h5_has(f, "exchange/theta") ? kr_h5_attr_text(f, "exchange/theta", "units") : NULL;
    kr_h5_unref(&f);
    if (axes && !strncmp(axes, "y:theta", 7))
        strcpy(order, "v,view,u");
    *radians = units && !strncmp(units, "rad", 3);
    return 0;
}

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    if (!prj_is_hdf5(source))
        return 0;
    char order[16];
    bool radians;
    if (words(order, &radians, source))
        return prj_absent();
    kr_auto char *data = kr_strf("%s:exchange/data@%s", source, order), *white = kr_strf("%s:exchange/data_white@view,v,u", source);
    kr_auto char *dark = kr_strf("%s:exchange/data_dark@view,v,u", source), *theta = kr_strf("%s:exchange/theta", source);
    if (!data || !white || !dark || !theta)
        return kr_error_code();
    if (kr_projections_array(&p->y, data))
        return prj_absent();
    p->kind = "Data Exchange";
    if (kr_projections_array(&p->white, white)) {
        if (prj_absent())
            return kr_error_code();
        kr_say(trace, KR_WARNING, "%s: no white field (exchange/data_white)", source);
    }
    if (kr_projections_array(&p->dark, dark)) {
        if (prj_absent())
            return kr_error_code();
        kr_say(trace, KR_WARNING, "%s: no dark field (exchange/data_dark): 0 is taken", source);
    }
    if (kr_projections_angles(p, theta)) {
        if (prj_absent())
            return kr_error_code();
        kr_say(trace, KR_WARNING, "%s: no angles (exchange/theta): half a turn in equal steps is taken, its end left out", source);
        p->views = p->y->n[KR_VIEW];
        p->angle = kr_alloc((size_t)p->views, sizeof *p->angle);
        for (long i = 0; p->angle && i < p->views; i++)
            p->angle[i] = 180 * (double)i / (double)p->views;
        if (!p->angle)
            return kr_error_code();
    } else if (radians)
        for (long i = 0; i < p->views; i++)
            p->angle[i] *= 180 / M_PI;
    return 1;
}

const kr_projections_kind kr_projections_dataexchange = { "dataexchange", "Data Exchange (HDF5): counts, white and dark fields, angles; parallel beams", read, NULL };
