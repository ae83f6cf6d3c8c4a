/* sart.c: sirt with each view a subset of its own. */
#include "projected.h"

static const kr_opt table[] = {
    PROJECTED_ITERATIONS("10"),
    PROJECTED_RELAX("0.5"),
    PROJECTED_NONNEG,
    KR_OPT_END };

const kr_recon kr_recon_sart = { "sart", "simultaneous algebraic reconstruction of X-ray projections, view by view",
    "Andersen and Kak, Ultrason Imaging 6:81 (1984)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(projected_opts), projected_sirt, projected_subsets_plan };
