/* cgls.c: least squares of X-ray projections by conjugate gradients. */
#include "projected.h"

static const kr_opt table[] = { PROJECTED_ITERATIONS("20"), KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const projected_opts *o = options;
    int done = kr_cg(m->A, x, m->part->data, 0, (kr_stop){ (int)o->iterations, 0 }, trace);
    return done < 0 ? done : 0;
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    return projected_plan(cost, scan, (double)((const projected_opts *)options)->iterations, 4, 0);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_iterate(out, scan, solve, ((const projected_opts *)options)->iterations, options, trace);
}

const kr_recon kr_recon_cgls = { "cgls", "least squares of X-ray projections by conjugate gradients; few iterations regularise",
    "Hestenes and Stiefel, J Res Nat Bur Stand 49:409 (1952)", KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, plan };
