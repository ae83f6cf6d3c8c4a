/* net_recurrentvarnet.c: the Recurrent Variational Network: gradient descent in k-space, whose regulariser is a convolutional GRU on
 * the combined image; its states start from the data, its coil maps are refined by a U-Net. */
#include "parts.h"
#include <stdio.h>

enum { STEPS = 64 };

static int matches(const kr_weights *w)
{
    return net_has(w, "block_list.0.regularizer.conv_blocks.0.1.weight") || net_has(w, "block_list.0.regularizer.convgru.conv_blocks.0.1.weight")
        || net_has(w, "block_list.0.regularizer.conv_blocks.0.0.weight") ? 95 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.learning_rate");
    if (!w)
        return kr_error_code();
    gru r[STEPS];
    long blocks = 0;
    bool good = true;
    char prefix[64];
    for (; blocks < STEPS && net_maybe(w, "block_list.%ld.learning_rate", blocks); blocks++) {
        snprintf(prefix, sizeof prefix, "block_list.%ld.regularizer.", blocks);
        if (!net_scalar(net_maybe(w, "block_list.%ld.learning_rate", blocks)) || !gru_of(&r[blocks], w, prefix, 2))
            return kr_error_code();
        if (!gru_alike(&r[blocks], &r[0]))                   /* they hand on states */
            return kr_fail(KR_ESHAPE, "block %ld has other layers than the first", blocks);
    }
    long steps = net_number(w, "run_steps", net_number(w, "num_steps", blocks > 1 ? blocks : 8));
    bool zero_filled = net_either(w, "initializer_initialization", "sense", "zero_filled", &good);
    if (good && (steps < 1 || steps > 1000 || (blocks > 1 && steps > blocks)))
        good = !kr_fail(KR_EFORMAT, "%ld steps with %ld blocks", steps, blocks);
    if (!good || !net_shared(w, blocks))
        return kr_error_code();
    for (long b = steps; b < blocks; b++) {                  /* steps that are not run */
        snprintf(prefix, sizeof prefix, "block_list.%ld.", b);
        net_left_out(w, prefix);
    }
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), given = graph_input(g, "sens", KR_COILS, 0, true);
    kr_node padding = graph_input(g, "padding", KR_REAL, 1, false), sens = net_refined(g, all, given), k = y, h[GRU_LAYERS];
    /* The initialiser reads k-space, as large as in training: that of the combined image, or the sum of the coils' own. */
    kr_node unit = graph_input(g, "kspace_unit", KR_NUMBERS, 1, false), first = zero_filled ? lay_sum(g, y) : lay_fourier(g, net_adjoint(g, y, sens), false);
    gru_states(g, &r[0], w, "initializer.", lay_scale(g, first, unit), h);
    for (long t = 0; t < steps && !graph_refused(g); t++) {
        long b = blocks > 1 ? t : 0;
        graph_segment(g);
        kr_node x = net_adjoint(g, k, sens);
        x = gru_step(g, &r[b], w, &x, 1, h, "regularizer", t);
        k = lay_consistency(g, k, y, mask, net_forward(g, x, sens), net_tensor(w, "block_list.%ld.learning_rate", b), 1);
        graph_name(g, k, 0, 1, "kspace_step%ld", t);
    }
    graph_name(g, k, 0, 1, "kspace_prediction");
    graph_output(g, lay_rss(g, lay_fourier(g, lay_select(g, k, padding, true), true)));
    return graph_refused(g);
}

static const kr_fact facts[] = {
    { "num_steps", "block_list.%ld.learning_rate", KR_FACT_STEPS, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.regularizer.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.regularizer.convgru.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "recurrent_num_layers", "block_list.0.regularizer.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "recurrent_num_layers", "block_list.0.regularizer.convgru.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "no_parameter_sharing" }, { .key = "initializer_initialization" },
    { "normalized", "block_list.0.regularizer.convgru.conv_blocks.0.1.weight", KR_FACT_THERE, "false", NULL },
    { .key = "in_channels", .words = "2" }, FACTS_START("true"), FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_recurrentvarnet = { "recurrentvarnet", "Recurrent Variational Network of DIRECT",
    "Yiasemis et al., CVPR 2022, arXiv:2111.09639", matches, build, false, true,
    .around = "direct", .magnitude = true, .steps = true, .facts = facts };
