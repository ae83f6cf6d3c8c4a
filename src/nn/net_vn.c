/* net_vn.c: ATOMMIC's VarNet: U-Nets on the standardised image, whose output is subtracted in k-space, and soft data consistency; coil maps from outside or by ATOMMIC's network. */
#include "parts.h"
#include <stdio.h>

/* fastMRI's has the same cascades, and a network for coil maps of its own name. */
static int matches(const kr_weights *w) { return net_has(w, "cascades.0.model.unet.conv.layers.0.weight") && !net_sens_net(w) ? 96 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "cascades.0.dc_weight");
    atommic in;
    if (!w || atommic_of(&in, g, w))
        return kr_error_code();
    bool normalise = net_number(w, "normalize", 1) != 0;
    long bits = net_number(w, "padding_size", 11);
    if (bits < 0 || bits > 1023)
        return kr_fail(KR_EFORMAT, "padding_size is %ld", bits);
    kr_node k = in.y;
    for (long i = 0; net_maybe(w, "cascades.%ld.dc_weight", i) && !graph_refused(g); i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "cascades.%ld.model.unet.", i);
        graph_segment(g);
        k = atommic_cascade(g, &in, w, "cascades", i, k, norm_unet_by(g, w, prefix, net_adjoint(g, k, in.sens), bits, normalise));
    }
    kr_node image = atommic_image(g, &in, k);
    graph_name(g, image, 0, 1, "image");
    graph_output(g, image);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[3] = { { "num_cascades", 8, 1, 100 }, { "channels", 18, 1, 512 }, { "pooling_layers", 4, 1, 8 } };
    long n[3];
    int e = net_sizes(w, sizes, 3, n);
    e = e ? e : unets_fresh(w, seed, "cascades", "dc_weight", "model.unet", n);
    return e ? e : atommic_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "num_cascades", "cascades.%ld.dc_weight", KR_FACT_COUNT, NULL, NULL }, { "channels", "cascades.0.model.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "pooling_layers", "cascades.0.model.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }, { .key = "in_chans", .words = "2" },
    { .key = "out_chans", .words = "2" }, { .key = "dropout" }, { .key = "padding_size" }, { .key = "normalize" }, { .key = "no_dc" }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_vn = { "vn", "VarNet of ATOMMIC", "Sriram et al., MICCAI 2020, arXiv:2004.06688", matches, build, false, false,
    .around = "atommic", .maps_too = true, .facts = facts, .fresh = fresh,
    .small = "num_cascades=2,channels=4,pooling_layers=2;num_cascades=1,channels=4,pooling_layers=2,normalize=false,padding_size=7" };
