/* sirt.c: simultaneous iterations of X-ray projections, of all views at once or in ordered subsets. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("100"),
    PROJECTED_SUBSETS("1", "; as many as views: SART"),
    PROJECTED_RELAX("1"),
    PROJECTED_NONNEG,
    KR_OPT_END };

const kr_recon kr_recon_sirt = { "sirt", "simultaneous iterative reconstruction of X-ray projections; with --subsets OS-SART, or SART",
    "Gilbert, J Theor Biol 36:105 (1972); Andersen and Kak, Ultrason Imaging 6:81 (1984); Wang and Jiang, J X-Ray Sci Technol 12:169 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), projected_sirt, projected_subsets_plan };
