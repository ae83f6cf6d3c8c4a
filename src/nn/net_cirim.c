/* net_cirim.c: RIM, IRIM and CIRIM of ATOMMIC and of mridc: one class, told apart by its cells and cascades. The two code bases
 * differ: ATOMMIC carries the hidden states from cascade to cascade, mridc starts each from zero. */
#include "parts.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool of_atommic(const kr_weights *w) { return net_has(w, "reconstruction_module.0.layers.0.rnn.ih.weight"); }

static int matches(const kr_weights *w)
{
    return of_atommic(w) || net_has(w, "cirim.0.layers.0.rnn.ih.weight") ? 90 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    const char *family = of_atommic(all) ? "reconstruction_module." : "cirim.";
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
    if (!of_atommic(all) && net_maybe(w, "cirim.1.layers.0.rnn.ih.weight")) {   /* one cascade, and ATOMMIC, begin alike either way */
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
    atommic in;
    if (atommic_of(&in, g, w))
        return kr_error_code();
    kr_node y = in.y, mask = in.mask, sens = in.sens, scaling = graph_input(g, "scaling", KR_NUMBERS, 1, false), x = in.start, h[BLOCK_DEPTH];
    for (long i = 0; net_maybe(w, "%s%ld.layers.0.rnn.ih.weight", family, i) && !graph_refused(g); i++) {
        snprintf(prefix, sizeof prefix, "%s%ld.", family, i);
        for (int l = 0; l < BLOCK_DEPTH && (!i || !of_atommic(all)); l++)
            h[l] = lay_zeros(g, x, features);
        for (long t = 0; t < steps && !graph_refused(g); t++) {
            graph_segment(g);
            kr_node both[2] = { x, lay_scale(g, net_gradient(g, x, y, mask, sens), scaling) };
            x = lay_add(g, x, block_step(g, w, prefix, "rnn", both, h, KR_ACT_NONE));
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

static int fresh(kr_weights *w, uint64_t seed)
{
    static const char *const cells[] = { "IndRNN", "MGU", "GRU" };
    static const net_size sizes[1] = { { "num_cascades", 5, 1, 64 } };
    long n[1], filters[1] = { 0 }, parts = 0;
    int e = net_sizes(w, sizes, 1, n);
    const char *cell = net_word(w, "recurrent_layer", cells[0]);
    net_list(w, "conv_filters", "64 64 2", filters, 1);
    for (int i = 0; i < 3; i++)
        parts = strcasecmp(cell, cells[i]) ? parts : i + 1;
    if (!e && (!parts || filters[0] < 1 || filters[0] > 512))
        return kr_fail(KR_EUSAGE, "recurrent_layer is '%s' (IndRNN, MGU, GRU are possible), conv_filters are %ld (1 to 512)", cell, filters[0]);
    for (long i = 0; i < n[0] && !e; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "reconstruction_module.%ld.", i);
        e = block_fresh(w, seed, prefix, "rnn", parts, filters[0]);
    }
    return e ? e : atommic_fresh(w, seed);
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
    { .key = "recurrent_bias", .words = "true true false|1 1 0" }, { .key = "conv_dim", .words = "2" }, { .key = "recurrent_layer" }, { .key = "time_steps" }, { .key = "no_dc" },
    { .key = "keep_prediction" }, { .key = "keep_eta" }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_cirim = { "cirim", "Recurrent Inference Machines of ATOMMIC and mridc: RIM (GRU, MGU), IRIM and CIRIM (IndRNN)",
    "Karkalousos et al., Phys Med Biol 67:124001 (2022)", matches, build, false, true,
    .around = "atommic", .maps_too = true, .steps = true, .facts = facts, .fresh = fresh,
    .small = "recurrent_layer=GRU,num_cascades=1,conv_filters=6 6 2;recurrent_layer=IndRNN,num_cascades=2,conv_filters=6 6 2;recurrent_layer=MGU,num_cascades=1,conv_filters=3 3 2;"
             "recurrent_layer=GRU,num_cascades=1,conv_filters=3 3 2,estimate_coil_sensitivity_maps_with_nn=true,coil_sensitivity_maps_nn_chans=4,coil_sensitivity_maps_nn_pools=2" };
