/* lsqr.c: least squares of X-ray projections by bidiagonalisation. */
#include "projected.h"
#include <math.h>

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("20"),
    { "damp", 0, KR_OPT_REAL, offsetof(projected_opts, lambda), "0", "D", "adds |D x|^2, D relative to the norm of the line integrals" },
    KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const projected_opts *o = options;
    if (!(o->lambda >= 0) || !isfinite(o->lambda))
        return kr_fail(KR_EREFUSED, "--damp %g: 0 or more is wanted", o->lambda);
    int done = kr_lsqr(m->A, x, m->part->data, o->lambda * sqrt(m->bound), (kr_stop){ (int)o->iterations, 0 }, trace);
    return done < 0 ? done : 0;
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    return projected_plan(cost, scan, (double)((const projected_opts *)options)->iterations, 4, 2);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_iterate(out, scan, solve, ((const projected_opts *)options)->iterations, options, trace);
}

const kr_recon kr_recon_lsqr = { "lsqr", "least squares of X-ray projections by bidiagonalisation; few iterations, or --damp, regularise",
    "Paige and Saunders, ACM Trans Math Softw 8:43 (1982)", KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, plan };
