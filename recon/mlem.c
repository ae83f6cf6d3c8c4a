/* mlem.c: maximum likelihood by expectation maximisation, of all views at once or in ordered subsets: no value below 0. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("50"),
    PROJECTED_SUBSETS("1", "; more than 1: OSEM"),
    KR_OPT_END };

static int update(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    kr_fill(x, 1);
    return kr_mlem(p->s, p->count, x, (int)o->iterations, trace);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_by_subsets(out, scan, update, options, trace);
}

const kr_recon kr_recon_mlem = { "mlem", "maximum likelihood of X-ray projections by expectation maximisation; with --subsets OSEM",
    "Shepp and Vardi, IEEE Trans Med Imaging 1:113 (1982); Hudson and Larkin, IEEE Trans Med Imaging 13:601 (1994)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), run, projected_subsets_plan };
