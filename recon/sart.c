/* sart.c: sirt with each view a subset of its own. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("10"),
    PROJECTED_RELAX("0.5"),
    PROJECTED_NONNEG,
    KR_OPT_END };

static int update(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    return kr_sirt(p->s, p->count, x, (int)o->iterations, o->relax, o->positive, trace);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    projected_opts o = *(const projected_opts *)options;            /* subsets 0: as many as views */
    return projected_by_subsets(out, scan, update, &o, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options) { return projected_subsets_plan(cost, scan, options); }

const kr_recon kr_recon_sart = { "sart", "simultaneous algebraic reconstruction of X-ray projections, view by view",
    "Andersen and Kak, Ultrason Imaging 6:81 (1984)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, plan };
