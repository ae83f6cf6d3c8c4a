/* prj_metaimage.c: projections as RTK writes them, MetaImage (column, row, view) with the size and place of the detector; or a raw file with a header. */
#include "prj.h"
#include "metaimage.h"
#include <math.h>

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    kr_metaimage m;
    if (!prj_ends(source, ".mhd") && !prj_ends(source, ".mha"))
        return 0;
    if (kr_metaimage_read(&m, source))
        return kr_fail_in("%s", source);
    kr_free(m.data);
    if (m.turned)
        kr_say(trace, KR_WARNING, "%s: TransformMatrix turns or mirrors the axes: that is not used (--geometry with flip=u or flip=v turns columns or rows about)", source);
    if (kr_projections_array(&p->y, source))
        return kr_error_code();
    for (int d = 0; d < 2; d++) {
        p->pixel[d] = m.spacing[d] > 0 ? m.spacing[d] : 0;
        p->middle[d] = m.first[d] + p->pixel[d] * (double)(m.n[d] - 1) / 2;
    }
    if (!(fabs(m.first[0]) > 0))                                     /* no place was said, or the first element's is 0: the middle is 0 */
        p->middle[0] = p->middle[1] = 0;
    p->lengths = p->pixel[0] > 0;
    return 1;
}

const kr_projections_kind kr_projections_metaimage = { "metaimage", "MetaImage (.mha, .mhd, also as the header of a raw file): RTK's projections", read, NULL };
