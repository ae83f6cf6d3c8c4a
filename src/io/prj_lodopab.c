/* prj_lodopab.c: LoDoPaB-CT, observation_*.hdf5: `data` (sample, 1000 views, 513 columns) of parallel beams, line integrals divided by 81.35858 per m.
 * FILE:N takes sample N (FILE: 0). Source: Leuschner et al., Sci Data 8:109 (2021); dival's lodopab_dataset.py: angles (i + 0.5) pi / 1000,
 * detector -+ 0.13 sqrt(2) m. */
#include "prj.h"
#include "h5sets.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int read(kr_projections *p, const char *source, const kr_trace *trace)
{
    (void)trace;
    const char *slash = strrchr(source, '/'), *name = slash ? slash + 1 : source, *colon = strrchr(name, ':');
    kr_auto char *file = colon ? kr_strf("%.*s", (int)(colon - source), source) : kr_strdup(source);
    if (!file)
        return kr_error_code();
    if (!strstr(name, "observation") || !prj_is_hdf5(file))
        return 0;
    char *end = NULL;
    long sample = colon ? strtol(colon + 1, &end, 10) : 0;
    if (colon && (!colon[1] || *end))
        return 0;                                                    /* FILE:data, an array as any other */
    kr_h5 *f = kr_h5_open(file);
    kr_h5_set *s = f && kr_h5_has(f, "data") ? kr_h5_set_open(f, "data") : NULL;
    int e = !f ? kr_error_code() : 0;
    if (s && s->dims == 3 && s->kind == KR_H5_REAL) {
        static const int order[3] = { KR_AXES, KR_VIEW, KR_U };
        if (sample < 0 || sample >= s->n[0])
            e = kr_fail(KR_EUSAGE, "%s: sample %ld of %ld; they count from 0", file, sample, s->n[0]);
        else
            e = kr_h5_read(&p->y, s, order, (long[3]){ sample, 0, 0 }, (long[3]){ 1, s->n[1], s->n[2] });
        e = e ? e : 1;
    }
    kr_h5_set_unref(&s);
    kr_h5_unref(&f);
    if (e <= 0)
        return e ? e : prj_absent();
    long n = p->y->n[KR_U] * p->y->n[KR_VIEW];
    p->kind = "LoDoPaB-CT";
    p->integrals = p->lengths = true;
    p->views = p->y->n[KR_VIEW];
    p->pixel[0] = 2 * 130 * M_SQRT2 / (double)p->y->n[KR_U];
    p->angle = kr_alloc((size_t)p->views, sizeof *p->angle);
    if (!p->angle)
        return kr_error_code();
    for (long i = 0; i < p->views; i++)
        p->angle[i] = 180 * ((double)i + 0.5) / (double)p->views;
    for (long i = 0; i < n; i++)                                     /* lengths in mm, values in the data set's unit */
        KR_R(p->y)[i] *= 1000;
    p->unit = "81.35858/m";
    p->water = 20 / 81.35858;
    p->grid = kr_grid_centred((long[3]){ 362, 362, 1 }, (double[3]){ 260.0 / 362, 260.0 / 362, 1 });
    return 1;
}

const kr_projections_kind kr_projections_lodopab = { "lodopab", "LoDoPaB-CT (observation_*.hdf5[:SAMPLE]): line integrals of parallel beams", read, NULL };
