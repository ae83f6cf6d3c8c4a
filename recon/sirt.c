/* sirt.c: simultaneous iterations of X-ray projections, of all views at once or in ordered subsets. */
#include "projected.h"

typedef struct opts { long iterations, subsets; bool positive; } opts;
static const kr_opt table[] = {
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "100", "N", "iterations at most" },
    { "subsets", 0, KR_OPT_INT, offsetof(opts, subsets), "1", "N", "ordered subsets of the views, each a step of its own; as many as views: SART" },
    { "nonneg", 0, KR_OPT_FLAG, offsetof(opts, positive), NULL, NULL, "no value below 0" },
    KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    projected_subsets p;
    int e = projected_split(&p, m, o->subsets);
    e = e ? e : kr_sirt(p.s, p.count, x, (int)o->iterations, o->positive, trace);
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

const kr_recon kr_recon_sirt = { "sirt", "simultaneous iterative reconstruction of X-ray projections; with --subsets OS-SART, or SART",
    "Gilbert, J Theor Biol 36:105 (1972); Andersen and Kak, Ultrason Imaging 6:81 (1984); Wang and Jiang, J X-Ray Sci Technol 12:169 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(opts), run, plan };
