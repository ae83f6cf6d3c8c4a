/* asd_pocs.c: passes of SART that take turns with steps down the total variation. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("50"),
    PROJECTED_SUBSETS("0", "; 0: each view"),
    { "misfit", 0, KR_OPT_REAL, offsetof(projected_opts, misfit), "0", "PART", "how far |A x - y| / |y| may stay from 0: the noise of the data" },
    PROJECTED_NONNEG,
    KR_OPT_END };

static int update(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    if (!(o->misfit >= 0 && o->misfit < 1))
        return kr_fail(KR_EREFUSED, "--misfit %g: a part of the data, from 0 to below 1, is wanted", o->misfit);
    int done = kr_asd_pocs(p->s, p->count, x, (int)o->iterations, o->misfit, o->positive, trace);
    return done < 0 ? done : 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_by_subsets(out, scan, update, options, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    int e = projected_subsets_plan(cost, scan, options);
    cost->bytes += 4 * (3 * (double)scan->grid.n[0] * (double)scan->grid.n[1] * (double)scan->grid.n[2] + (double)kr_count(scan->shape) / (double)kr_parts(scan));      /* steps down; residuals */
    return e;
}

const kr_recon kr_recon_asd_pocs = { "asd-pocs", "smallest total variation among the images that explain X-ray projections (ASD-POCS)",
    "Sidky and Pan, Phys Med Biol 53:4777 (2008)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, plan };
