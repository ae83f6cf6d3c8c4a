/* backprojection.c: filtered back-projection; of cone beams by Feldkamp, Davis and Kress. */
#include "projected.h"

typedef struct opts { const char *window; } opts;
static const kr_opt table[] = {
    { "window", 0, KR_OPT_CHOICE, offsetof(opts, window), "ramp", "ramp|shepp-logan|cosine|hamming|hann", "window on the ramp filter" },
    KR_OPT_END };

static int solve(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    kr_fbp_opts how = { .window = (enum kr_fbp_window)kr_fbp_window_named(o->window) };
    return kr_fbp(KR_R(x), KR_R(m->part->data), m->part->rays, &m->part->grid, &how, trace);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    return projected_image(out, scan, solve, PROJECTED_DIRECT, options, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    (void)options;
    int e = projected_plan(cost, scan, 1, 0);
    double x = (double)scan->grid.n[0] * (double)scan->grid.n[1] * (double)scan->grid.n[2];
    cost->bytes = 4 * x * (double)kr_parts(scan) + (scan->rays ? kr_fbp_bytes(scan->rays, &scan->grid) : 0);
    return e;
}

const kr_recon kr_recon_backprojection = { "fbp", "filtered back-projection of X-ray projections (cone beams: FDK)",
    "Kak and Slaney, Principles of Computerized Tomographic Imaging (1988); Feldkamp et al., J Opt Soc Am A 1:612 (1984); Parker, Med Phys 9:254 (1982)",
    KR_TAKES_RAYS | KR_RAYS_ALONE, table, sizeof(opts), run, plan };
