/* os_sart.c: sirt in ten subsets of the views, where nobody says otherwise. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("20"),
    PROJECTED_SUBSETS("10", ""),
    PROJECTED_RELAX("1"),
    PROJECTED_NONNEG,
    KR_OPT_END };

const kr_recon kr_recon_os_sart = { "os-sart", "simultaneous algebraic reconstruction of X-ray projections in ordered subsets of the views",
    "Wang and Jiang, J X-Ray Sci Technol 12:169 (2004)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), projected_sirt, projected_subsets_plan };
