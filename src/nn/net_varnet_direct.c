/* net_varnet_direct.c: the End-to-End Variational Network of DIRECT: plain U-Nets, whose output is added. */
#include "parts.h"
#include <stdio.h>

static int matches(const kr_weights *w) { return net_has(w, "layers_list.0.regularizer_model.conv.layers.0.weight") ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "layers_list.0.learning_rate");
    if (!w)
        return kr_error_code();
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), given = graph_input(g, "sens", KR_COILS, 0, true), k = y;
    kr_node sens = net_refined(g, all, given);
    for (long i = 0; net_maybe(w, "layers_list.%ld.learning_rate", i) && !graph_refused(g); i++) {
        const kr_tensor *rate = net_tensor(w, "layers_list.%ld.learning_rate", i);
        char prefix[64];
        snprintf(prefix, sizeof prefix, "layers_list.%ld.regularizer_model.", i);
        if (!net_scalar(rate))
            return kr_error_code();
        graph_segment(g);
        kr_node x = unet_image(g, w, prefix, net_adjoint(g, k, sens));
        k = lay_consistency(g, k, y, mask, net_forward(g, x, sens), rate, 1);  /* k - rate M (k - y) + F E U(R F^-1 k) */
        graph_name(g, k, 0, 1, "kspace_layer%ld", i);
    }
    graph_name(g, k, 0, 1, "kspace_prediction");
    graph_output(g, lay_rss(g, lay_fourier(g, k, true)));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[3] = { { "num_layers", 8, 1, 100 }, { "regularizer_num_filters", 18, 1, 512 }, { "regularizer_num_pull_layers", 4, 1, 8 } };
    long n[3];
    int e = net_sizes(w, sizes, 3, n);
    e = e ? e : unets_fresh(w, seed, "layers_list", "learning_rate", "regularizer_model", n);
    return e ? e : net_refined_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "num_layers", "layers_list.%ld.learning_rate", KR_FACT_COUNT, NULL, NULL },
    { "regularizer_num_filters", "layers_list.0.regularizer_model.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "regularizer_num_pull_layers", "layers_list.0.regularizer_model.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "regularizer_dropout" }, { .key = "in_channels", .words = "2" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_varnet_direct = { "varnet_direct", "End-to-End Variational Network of DIRECT", "Sriram et al., MICCAI 2020, arXiv:2004.06688",
    matches, build, false, false,
    .around = "direct", .magnitude = true, .facts = facts, .fresh = fresh,
    .small = "num_layers=2,regularizer_num_filters=4,regularizer_num_pull_layers=2,sensitivity_model.num_filters=4,sensitivity_model.num_pool_layers=2" };
