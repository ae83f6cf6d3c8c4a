/* net_rim_direct.c: the Recurrent Inference Machine of DIRECT. */
#include "parts.h"
#include <stdio.h>

enum { CELLS = 64 };

static int matches(const kr_weights *w)
{
    return net_has(w, "cell_list.0.reset_gates.0.0.weight") || net_has(w, "cell_list.0.reset_gates.0.1.weight") ? 90 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, net_has(all, "cell_list.0.reset_gates.0.0.weight") ? "cell_list.0.reset_gates.0.0.weight"
                                                                                               : "cell_list.0.reset_gates.0.1.weight");
    if (!w)
        return kr_error_code();
    gru r[CELLS];
    long cells = 0;
    bool good = true;
    char prefix[64];
    for (; cells < CELLS; cells++) {
        snprintf(prefix, sizeof prefix, "cell_list.%ld.", cells);
        if (!net_maybe(w, "%sconv_blocks.0.1.weight", prefix) && !net_maybe(w, "%sconv_blocks.0.0.weight", prefix))
            break;
        if (!gru_of(&r[cells], w, prefix, 4))
            return kr_error_code();
        if (!gru_alike(&r[cells], &r[0]))                    /* they hand on states */
            return kr_fail(KR_ESHAPE, "block %ld has other layers than the first", cells);
    }
    if (!cells)
        return kr_fail(KR_EFORMAT, "the weights lack 'cell_list.0.conv_blocks.0.1.weight'");
    long length = net_number(w, "run_steps", net_number(w, "length", cells > 1 ? cells : 8));
    /* Published models say sense in their configuration; where one says nothing, DIRECT's own preset holds. */
    bool silent = kr_meta_get(w->meta, "config_model") && !kr_weights_told(w, "image_initialization");
    bool zero_filled = net_either(w, "image_initialization", "sense", "zero_filled", &good) || silent;
    if (good && (length < 1 || length > 1000 || (cells > 1 && length > cells)))
        good = !kr_fail(KR_EFORMAT, "%ld time steps with %ld cells", length, cells);
    if (!good || !net_shared(w, cells))
        return kr_error_code();
    for (long b = length; b < cells; b++) {                  /* steps that are not run */
        snprintf(prefix, sizeof prefix, "cell_list.%ld.", b);
        net_left_out(w, prefix);
    }
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), given = graph_input(g, "sens", KR_COILS, 0, true);
    kr_node scaling = graph_input(g, "scaling", KR_NUMBERS, 1, false), sens = net_refined(g, all, given), h[GRU_LAYERS];
    kr_node x = zero_filled ? lay_sum(g, lay_fourier(g, y, true)) : net_adjoint(g, y, sens);
    gru_states(g, &r[0], w, "initializer.", x, h);
    for (long t = 0; t < length && !graph_refused(g); t++) {
        graph_segment(g);
        kr_node in[2] = { x, lay_scale(g, net_gradient(g, x, y, mask, sens), scaling) };
        x = lay_add(g, x, gru_step(g, &r[cells > 1 ? t : 0], w, in, 2, h, "cell", t));
        graph_output(g, x);
    }
    for (int l = 0; l < r[0].layers && !graph_refused(g); l++)
        graph_name(g, h[l], l, r[0].layers, "final_hidden");
    graph_name(g, lay_features(g, &x, 1), 0, 1, "image");
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[3] = { { "hidden_channels", 64, 1, 512 }, { "depth", 2, 1, GRU_LAYERS - 1 }, { "length", 8, 1, CELLS } };
    long n[3];
    int e = net_sizes(w, sizes, 3, n);
    for (long i = 0; i < (net_number(w, "no_parameter_sharing", 0) ? n[2] : 1) && !e; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "cell_list.%ld.", i);
        e = gru_fresh(w, seed, prefix, 4, n[0], n[1]);
    }
    e = e || !net_number(w, "learned_initializer", 0) ? e : gru_states_fresh(w, seed, "initializer.", n[0], n[1]);
    return e ? e : net_refined_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "hidden_channels", "cell_list.0.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "depth", "cell_list.0.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "depth", "cell_list.0.reset_gates.%ld.1.weight", KR_FACT_COUNT, NULL, NULL },
    { "length", "cell_list.%ld.conv_blocks.0.1.weight", KR_FACT_STEPS, NULL, NULL },
    { "instance_norm", "cell_list.0.reset_gates.0.1.weight", KR_FACT_THERE, "false", NULL },
    { "replication_padding", "cell_list.0.conv_blocks.0.1.weight", KR_FACT_THERE, "true", NULL },
    { .key = "dense_connect" }, { .key = "no_parameter_sharing" }, { .key = "image_initialization" }, { .key = "scale_loglikelihood" },
    { .key = "steps", .words = "1" }, { .key = "x_channels", .words = "2" }, { .key = "skip_connections", .words = "true|1" }, { .key = "whiten_input", .words = "false|0" },
    { .key = "normalized", .words = "false|0" }, { .key = "auxiliary_steps" }, FACTS_START("false"), FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_rim_direct = { "rim_direct", "Recurrent Inference Machine of DIRECT",
    "Putzky and Welling, arXiv:1706.04008; Lonning et al., Med Image Anal 53:64 (2019)", matches, build, false, true,
    .around = "direct", .steps = true, .facts = facts, .fresh = fresh,
    .small = "hidden_channels=6,depth=2,length=8,learned_initializer=true,initializer_channels=5 5,initializer_dilations=1 1;"
             "hidden_channels=4,depth=1,length=2,no_parameter_sharing=true,image_initialization=zero_filled,sensitivity_model.num_filters=4,sensitivity_model.num_pool_layers=2" };
