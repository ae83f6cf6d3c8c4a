/* mlem.c: maximum likelihood by expectation maximisation, of all views at once or in ordered subsets: no value below 0. */
#include "projected.h"

typedef struct opts { long iterations, subsets; } opts;
static const kr_opt table[] = {
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "50", "N", "iterations at most" },
    { "subsets", 0, KR_OPT_INT, offsetof(opts, subsets), "1", "N", "ordered subsets of the views, each a step of its own; more than 1: OSEM" },
    KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    projected_subsets p;
    int e = projected_split(&p, m, o->subsets);
    if (!e) {
        kr_fill(x, 1);
        e = kr_mlem(p.s, p.count, x, (int)o->iterations, trace);
    }
    projected_close(&p);
    return e;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_iterate(out, scan, solve, ((const opts *)options)->iterations, options, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    return projected_plan(cost, scan, (double)o->iterations, (double)o->subsets);
}

const kr_recon kr_recon_mlem = { "mlem", "maximum likelihood of X-ray projections by expectation maximisation; with --subsets OSEM",
    "Shepp and Vardi, IEEE Trans Med Imaging 1:113 (1982); Hudson and Larkin, IEEE Trans Med Imaging 13:601 (1994)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(opts), run, plan };
