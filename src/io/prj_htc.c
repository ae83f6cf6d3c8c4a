/* prj_htc.c: the Helsinki Tomography Challenge 2022: MATLAB structures CtDataFull, CtDataLimited; one slice of a fan beam. Source: the challenge's
 * data, Zenodo 6984868. */
#include "prj.h"
#include "mat5.h"
#include <string.h>

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    (void)trace;
    static const char *const kinds[] = { "CtDataFull", "CtDataLimited" };
    for (int i = 0; prj_ends(source, ".mat") && i < 2; i++) {
        kr_auto char *text = kr_strf("%s:%s.sinogram@view,u", source, kinds[i]), *angles = kr_strf("%s:%s.parameters.angles", source, kinds[i]);
        kr_auto char *sod = kr_strf("%s.parameters.distanceSourceOrigin", kinds[i]), *sdd = kr_strf("%s.parameters.distanceSourceDetector", kinds[i]);
        kr_auto char *pixel = kr_strf("%s.parameters.pixelSizePost", kinds[i]);
        if (!text || !angles || !sod || !sdd || !pixel)
            return kr_error_code();
        if (kr_projections_array(&p->y, text)) {
            if (prj_absent())
                return kr_error_code();
            continue;
        }
        char unit[16] = "mm";
        kr_auto char *of = kr_strf("%s.parameters.distanceUnit", kinds[i]);
        int e = of ? kr_mat5_text(unit, sizeof unit, source, of) : kr_error_code();
        if (e == KR_EREFUSED)
            return kr_fail(KR_EREFUSED, "%s: %s is no text, such as mm", source, of);
        if (e && prj_absent())
            return kr_error_code();
        if (strcmp(unit, "mm"))
            return kr_fail(KR_EREFUSED, "%s: distances in '%s' (%s); millimetres are wanted: name the sinogram alone (%s) and give --geometry fan:sod=,sdd=,pixel= and --angles", source, unit, of, text);
        p->kind = "Helsinki Tomography Challenge";
        p->beam = KR_DIVERGENT;
        p->lengths = p->integrals = true;
        return prj_number(&p->sod, source, sod) || prj_number(&p->sdd, source, sdd) || prj_number(&p->pixel[0], source, pixel) || kr_projections_angles(p, angles)
               ? kr_error_code() : 1;
    }
    return 0;
}

const kr_projections_kind kr_projections_htc = { "htc", "Helsinki Tomography Challenge 2022 (.mat): line integrals of a fan beam", read, NULL };
