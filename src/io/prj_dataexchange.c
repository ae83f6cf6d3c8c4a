/* prj_dataexchange.c: Data Exchange, HDF5 of synchrotrons: counts, white and dark fields, angles; parallel beams. Source: De Carlo et al., J Synchrotron
 * Rad 21:1224 (2014), and dxchange's readers. */
#include "prj.h"

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    if (!prj_is_hdf5(source))
        return 0;
    kr_auto char *data = kr_strf("%s:exchange/data@view,v,u", source), *white = kr_strf("%s:exchange/data_white@view,v,u", source);
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
    }
    return 1;
}

const kr_projections_kind kr_projections_dataexchange = { "dataexchange", "Data Exchange (HDF5): counts, white and dark fields, angles; parallel beams", read, NULL };
