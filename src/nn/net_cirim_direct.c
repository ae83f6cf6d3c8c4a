/* net_cirim_direct.c: the CIRIM of DIRECT, another network than ATOMMIC's: within a cascade the image stays, the last convolution is
 * rectified, and the gradient comes before the image. */
#include "parts.h"
#include <stdio.h>

static int matches(const kr_weights *w) { return net_has(w, "block_list.0.layers.0.recurrent.ih.weight") ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.layers.0.recurrent.ih.weight");
    if (!w)
        return kr_error_code();
    net_maybe(w, "dc_weight");                                        /* a parameter that the published code never uses */
    if (net_maybe(w, "block_list.0.dc_weight"))
        return kr_fail(KR_EFORMAT, "shared parameters (no_parameter_sharing = False) are not built: no published model has them");
    long steps = net_number(w, "run_steps", net_number(w, "time_steps", 8)), features = block_features(w, "block_list.0.");
    if (features && (steps < 1 || steps > 1000))
        return kr_fail(KR_EFORMAT, "%ld time steps", steps);
    if (!features)
        return kr_error_code();
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), given = graph_input(g, "sens", KR_COILS, 0, true);
    kr_node sens = net_refined(g, all, given), x = net_adjoint(g, y, sens), h[BLOCK_DEPTH];
    for (long i = 0; net_maybe(w, "block_list.%ld.layers.0.recurrent.ih.weight", i) && !graph_refused(g); i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "block_list.%ld.", i);
        graph_segment(g);
        kr_node in[2] = { net_gradient(g, x, y, mask, sens), x }, from = x;
        for (int l = 0; l < BLOCK_DEPTH; l++)
            h[l] = lay_zeros(g, x, features);
        for (long t = 0; t < steps && !graph_refused(g); t++) {      /* only the last step's image goes on */
            x = lay_add(g, block_step(g, w, prefix, "recurrent", in, h, KR_ACT_RELU), from);
            graph_name(g, x, 0, 1, "cascade%ld_timestep%ld", i, t);
        }
    }
    graph_output(g, lay_magnitude(g, x));                            /* the published output is a magnitude */
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "num_cascades", 8, 1, 64 }, { "recurrent_hidden_channels", 64, 1, 512 } };
    long n[2];
    int e = net_sizes(w, sizes, 2, n);
    for (long i = 0; i < n[0] && !e; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "block_list.%ld.", i);
        e = block_fresh(w, seed, prefix, "recurrent", 1, n[1]);
    }
    return e ? e : net_refined_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "num_cascades", "block_list.%ld.layers.0.recurrent.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.layers.0.recurrent.ih.weight", 0, NULL, NULL },
    { "depth", "block_list.0.layers.%ld.recurrent.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "time_steps" }, { .key = "in_channels", .words = "2" }, { .key = "no_parameter_sharing", .words = "true|1" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_cirim_direct = { "cirim_direct", "Cascades of Independently Recurrent Inference Machines of DIRECT",
    "Karkalousos et al., Phys Med Biol 67:124001 (2022)", matches, build, false, true,
    .around = "direct", .magnitude = true, .steps = true, .facts = facts, .fresh = fresh, .small = "num_cascades=2,recurrent_hidden_channels=6,time_steps=8" };
