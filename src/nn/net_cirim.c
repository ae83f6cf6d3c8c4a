/* net_cirim.c: RIM, IRIM and CIRIM of ATOMMIC and of mridc: one class, told apart by its cells and cascades. The two code bases
 * differ: ATOMMIC carries the hidden states from cascade to cascade, mridc starts each from zero. */
#include "parts.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool atommic(const kr_weights *w) { return net_has(w, "reconstruction_module.0.layers.0.rnn.ih.weight"); }

static int matches(const kr_weights *w)
{
    return atommic(w) || net_has(w, "cirim.0.layers.0.rnn.ih.weight") ? 90 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    const char *family = atommic(all) ? "reconstruction_module." : "cirim.";
    char prefix[80];
    snprintf(prefix, sizeof prefix, "%s0.layers.0.rnn.ih.weight", family);
    kr_scoped(weights) w = net_weights(all, prefix);
    if (!w)
        return kr_error_code();
    if (net_maybe(w, "%s0.layers.2.rnn.ih.weight", family))
        return kr_fail(KR_EFORMAT, "a depth of more than %d recurrent layers", BLOCK_DEPTH);
    net_maybe(w, "dc_weight");                                        /* of explicit data consistency, see below */
    long steps = net_number(w, "run_steps", 0);                           /* as the user wants */
    if (!steps)
        steps = (net_number(w, "time_steps", 8) + 7) / 8 * 8;         /* as the configuration says; the published code rounds up */
    if (steps < 1 || steps > 1000)
        return kr_fail(KR_EFORMAT, "%ld time steps", steps);
    if (net_number(w, "no_dc", 1) == 0)
        return kr_fail(KR_EFORMAT, "explicit data consistency (no_dc = False) is not built: no published model has it");
    if (!atommic(all) && net_maybe(w, "cirim.1.layers.0.rnn.ih.weight")) {   /* one cascade, and ATOMMIC, begin alike either way */
        const char *keep = kr_weights_told(w, "keep_eta");
        keep = keep ? keep : kr_weights_told(w, "keep_prediction");
        if (keep ? !strcasecmp(keep, "false") || !strcmp(keep, "0") || !strcasecmp(keep, "none") : kr_meta_get(w->meta, "config_model") != NULL)
            return kr_fail(KR_EREFUSED, "keep_eta (keep_prediction) of the configuration is %s: mridc then begins each further cascade with the Fourier "
                           "transform of an image, which is not built", keep ? keep : "not stated, which means false");
    }
    snprintf(prefix, sizeof prefix, "%s0.", family);
    long features = block_features(w, prefix);
    if (!features)
        return kr_error_code();
    bool good = true, rss = net_either(w, "coil_combination_method", "sense", "rss", &good), maps = net_maybe(w, "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight");
    if (!good)
        return kr_error_code();
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), sens = graph_input(g, "sens", KR_COILS, 0, !maps);
    kr_node start = graph_input(g, "start", KR_IMAGE, 1, false), scaling = graph_input(g, "scaling", KR_NUMBERS, 1, false), h[BLOCK_DEPTH];
    if (maps) {                              /* coil images of the calibration area, each through a NormUnet, then normalised */
        kr_node acs = graph_input(g, "acs", KR_REAL, 1, false);
        kr_node low = net_number(w, "coil_sensitivity_maps_nn_mask_center", 1) != 0 ? lay_select(g, y, acs, false) : y;
        kr_node made = lay_atommic_maps(g, unet_maps(g, w, "coil_sensitivity_maps_nn.norm_unet.unet.", lay_fourier(g, low, true), true, 1));
        graph_name(g, made, 0, 1, "sensitivity_maps");
        sens = lay_either(g, sens, made);
    }
    /* The image to begin with; RSS: of real and imaginary parts apart, as the published code has it. */
    kr_node x = lay_either(g, start, rss ? lay_rss_parts(g, lay_fourier(g, y, true)) : net_adjoint(g, y, sens));
    for (long i = 0; net_maybe(w, "%s%ld.layers.0.rnn.ih.weight", family, i) && !graph_refused(g); i++) {
        snprintf(prefix, sizeof prefix, "%s%ld.", family, i);
        for (int l = 0; l < BLOCK_DEPTH && (!i || !atommic(all)); l++)
            h[l] = lay_zeros(g, x, features);
        for (long t = 0; t < steps && !graph_refused(g); t++) {
            graph_segment(g);
            kr_node in[2] = { x, lay_scale(g, net_gradient(g, x, y, mask, sens), scaling) };
            x = lay_add(g, x, block_step(g, w, prefix, "rnn", in, h, KR_ACT_NONE));
            graph_output(g, x);
            graph_name(g, x, 0, 1, "cascade%ld_timestep%ld", i, t);
            for (int l = 0; l < BLOCK_DEPTH && !i; l++)
                graph_name(g, h[l], 0, 1, "hidden%d_call%ld", l, t);
        }
        for (int l = 0; l < BLOCK_DEPTH; l++)
            graph_name(g, h[l], 0, 1, "cascade%ld_final_hidden%d", i, l);
    }
    graph_name(g, x, 0, 1, "image");
    return graph_refused(g);
}

static const kr_fact facts[] = {
    { "num_cascades", "reconstruction_module.%ld.layers.0.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "num_cascades", "cirim.%ld.layers.0.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "depth", "0.layers.%ld.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "conv_filters", "0.layers.%ld.convs.conv_layer.weight", 0, NULL, "0.final_layer.0.conv_layer.weight" },
    { "conv_kernels", "0.layers.%ld.convs.conv_layer.weight", 2, NULL, "3" },
    { "recurrent_filters", "0.layers.%ld.rnn.ih.weight", 1, NULL, "0" },
    { "recurrent_kernels", "0.layers.%ld.rnn.ih.weight", 2, NULL, "0" },
    { .key = "conv_dilations", .words = "1 2 1" }, { .key = "recurrent_dilations", .words = "1 1 0" }, { .key = "conv_bias", .words = "true true false|1 1 0" },
    { .key = "recurrent_bias", .words = "true true false|1 1 0" }, { .key = "conv_dim", .words = "2" }, { .key = "dimensionality", .words = "2" },
    { .key = "spatial_dims", .words = "-2 -1|none" }, { .key = "consecutive_slices", .words = "1" }, { "estimate_coil_sensitivity_maps_with_nn", "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight", KR_FACT_THERE, "false", NULL },
    { "coil_sensitivity_maps_nn_chans", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "coil_sensitivity_maps_nn_pools", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "coil_sensitivity_maps_nn_mask_type", .words = "1D|2D" }, { .key = "coil_sensitivity_maps_nn_mask_center" },
    { .key = "coil_sensitivity_maps_nn_normalize", .words = "true|1" },
    { .key = "use_sens_net", .words = "false|0|none" },
    { .key = "recurrent_layer" }, { .key = "time_steps" }, { .key = "no_dc" }, { .key = "keep_prediction" }, { .key = "keep_eta" }, { .key = "fft_normalization" },
    { .key = "coil_combination_method" }, { .key = "coil_dim" }, { .key = NULL } };

const kr_net_kind kr_net_cirim = { "cirim", "Recurrent Inference Machines of ATOMMIC and mridc: RIM (GRU, MGU), IRIM and CIRIM (IndRNN)",
    "Karkalousos et al., Phys Med Biol 67:124001 (2022)", matches, build, false, true,
    .around = "atommic", .maps_too = true, .steps = true, .facts = facts };
