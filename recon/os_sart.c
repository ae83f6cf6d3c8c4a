/* os_sart.c: sirt in ten subsets of the views, where nobody says otherwise. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("20"),
    PROJECTED_SUBSETS("10", ""),
    PROJECTED_RELAX("1"),
    PROJECTED_NONNEG,
    KR_OPT_END };

static int update(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    return kr_sirt(p->s, p->count, x, (int)o->iterations, o->relax, o->positive, trace);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    projected_opts o = *(const projected_opts *)options;
    return projected_by_subsets(out, scan, update, &o, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return projected_subsets_plan(cost, scan, options); }

const kr_recon kr_recon_os_sart = { "os-sart", "simultaneous algebraic reconstruction of X-ray projections in ordered subsets of the views",
    "Wang and Jiang, J X-Ray Sci Technol 12:169 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, plan };
