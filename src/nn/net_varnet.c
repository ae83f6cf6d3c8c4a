/* net_varnet.c: the End-to-End Variational Network of fastMRI: U-Nets on the standardised image as regulariser, coil maps by another
 * U-Net from the calibration lines. */
#include "parts.h"
#include <stdio.h>

/* With a network for coil maps of its own; without it the cascades are ATOMMIC's. */
static int matches(const kr_weights *w) { return net_has(w, "cascades.0.model.unet.conv.layers.0.weight") && net_sens_net(w) ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "cascades.0.dc_weight");
    if (!w)
        return kr_error_code();
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), acs = graph_input(g, "acs", KR_REAL, 1, true), k = y;
    kr_node low = lay_fourier(g, lay_select(g, y, acs, false), true);
    graph_name(g, low, 0, 1, "sens_unet_input");
    kr_node sens = lay_unit_maps(g, unet_maps(g, w, "sens_net.norm_unet.unet.", low, true, 1));
    graph_name(g, sens, 0, 1, "sens_maps");
    for (long i = 0; net_maybe(w, "cascades.%ld.dc_weight", i) && !graph_refused(g); i++) {
        const kr_tensor *dc = net_tensor(w, "cascades.%ld.dc_weight", i);
        char prefix[64];
        snprintf(prefix, sizeof prefix, "cascades.%ld.model.unet.", i);
        if (!net_scalar(dc))
            return kr_error_code();
        graph_segment(g);
        kr_node x = net_adjoint(g, k, sens);
        graph_name(g, x, 0, 1, "unet_input_cascade%ld", i);
        x = norm_unet(g, w, prefix, x);
        graph_name(g, x, 0, 1, "unet_output_cascade%ld", i);
        k = lay_consistency(g, k, y, mask, net_forward(g, x, sens), dc, -1);   /* k - dc M (k - y) - F S U(R F^-1 k) */
        graph_name(g, k, 0, 1, "kspace_cascade%ld", i);
    }
    graph_output(g, lay_rss(g, lay_fourier(g, k, true)));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[5] = { { "num_cascades", 12, 1, 100 }, { "chans", 18, 1, 512 }, { "pools", 4, 1, 8 }, { "sens_chans", 8, 1, 512 }, { "sens_pools", 4, 1, 8 } };
    long n[5];
    int e = net_sizes(w, sizes, 5, n);
    e = e ? e : unet_fresh(w, seed, "sens_net.norm_unet.unet.", 2, 2, n[3], n[4]);
    return e ? e : unets_fresh(w, seed, "cascades", "dc_weight", "model.unet", n);
}

static const kr_fact facts[] = {
    { "num_cascades", "cascades.%ld.dc_weight", KR_FACT_COUNT, NULL, NULL },
    { "chans", "cascades.0.model.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "pools", "cascades.0.model.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "sens_chans", "sens_net.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "sens_pools", "sens_net.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "mask_center" }, { .key = NULL } };

const kr_net_kind kr_net_varnet = { "varnet", "End-to-End Variational Network of fastMRI", "Sriram et al., MICCAI 2020, arXiv:2004.06688",
    matches, build, true, false,
    .around = "fastmri", .magnitude = true, .facts = facts, .fresh = fresh, .small = "num_cascades=2,chans=4,pools=2,sens_chans=4,sens_pools=2" };
