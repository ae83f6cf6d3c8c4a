/* net_cascadenet.c: ATOMMIC's CascadeNet: convolutions on the combined image, whose output is subtracted in k-space, and soft data consistency. All activations of all
 * cascades have one slope, for all are one module in the published code. */
#include "parts.h"
#include <stdio.h>

static int matches(const kr_weights *w) { return net_has(w, "reconstruction_module.0.model.conv.0.weight") ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "reconstruction_module.0.dc_weight");
    atommic in;
    if (!w || atommic_of(&in, g, w))
        return kr_error_code();
    const kr_tensor *slope = NULL;
    kr_node k = in.y;
    for (long i = 0; net_maybe(w, "reconstruction_module.%ld.dc_weight", i) && !graph_refused(g); i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "reconstruction_module.%ld.model.conv.", i);
        if (!net_tensor(w, "%s0.weight", prefix))
            return kr_error_code();
        graph_segment(g);
        kr_node x = net_adjoint(g, k, in.sens);
        k = atommic_cascade(g, &in, w, "reconstruction_module", i, k, lay_image(g, chain(g, w, prefix, lay_features(g, &x, 1), 2, &slope)));
    }
    kr_node image = atommic_image(g, &in, k);
    graph_name(g, image, 0, 1, "image");
    graph_output(g, image);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { CASCADES, CHANNELS, CONVS, SIZES };
    static const net_size sizes[SIZES] = { { "num_cascades", 5, 1, 100 }, { "hidden_channels", 32, 1, 1024 }, { "n_convs", 5, 2, 100 } };
    long n[SIZES];
    int e = net_sizes(w, sizes, SIZES, n);
    for (long c = 0; c < n[CASCADES] && !e; c++) {
        e = net_fresh_value(w, 1, 1, "reconstruction_module.%ld.dc_weight", c);
        char prefix[80];
        snprintf(prefix, sizeof prefix, "reconstruction_module.%ld.model.conv.", c);
        e = e ? e : chain_fresh(w, seed, prefix, 2, 2, n[CHANNELS], n[CONVS], net_number(w, "batchnorm", 0) != 0);
    }
    return e ? e : atommic_fresh(w, seed);
}

static int again(kr_weights *w) { return chain_again(w, ".model.conv."); }

static const kr_fact facts[] = {
    { "num_cascades", "reconstruction_module.%ld.dc_weight", KR_FACT_COUNT, NULL, NULL },
    { "hidden_channels", "reconstruction_module.0.model.conv.0.weight", 0, NULL, NULL }, { .key = "n_convs" },
    { "batchnorm", "reconstruction_module.0.model.conv.1.running_mean", KR_FACT_THERE, "false", NULL }, { .key = "no_dc" }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_cascadenet = { "cascadenet", "CascadeNet of ATOMMIC", "Schlemper et al., IEEE Trans Med Imaging 37:491 (2018)", matches, build, false, false,
    .around = "atommic", .maps_too = true, .facts = facts, .fresh = fresh, .again = again,
    .small = "num_cascades=2,hidden_channels=5,n_convs=3;num_cascades=2,hidden_channels=4,n_convs=2,batchnorm=true,coil_combination_method=RSS" };
