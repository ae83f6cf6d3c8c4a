/* net_recurrentvarnet.c: the Recurrent Variational Network: gradient descent in k-space, whose regulariser is a convolutional GRU on
 * the combined image; its states start from the data, its coil maps are refined by a U-Net. */
#include "parts.h"

static int matches(const kr_weights *w)
{
    return rvn_of_atommic(w) ? 0 : net_has(w, "block_list.0.regularizer.conv_blocks.0.1.weight") || net_has(w, "block_list.0.regularizer.convgru.conv_blocks.0.1.weight")
        || net_has(w, "block_list.0.regularizer.conv_blocks.0.0.weight") ? 95 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.learning_rate");
    if (!w)
        return kr_error_code();
    descent d;
    bool good = descent_of(&d, w);
    long blocks = d.blocks, steps = net_number(w, "run_steps", net_number(w, "num_steps", blocks > 1 ? blocks : 8));
    bool zero_filled = good && net_either(w, "initializer_initialization", "sense", "zero_filled", &good);
    if (good && (steps < 1 || steps > 1000 || (blocks > 1 && steps > blocks)))
        good = !kr_fail(KR_EFORMAT, "%ld steps with %ld blocks", steps, blocks);
    if (!good || !net_shared(w, blocks))
        return kr_error_code();
    kr_node y = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), given = graph_input(g, "sens", KR_COILS, 0, true);
    kr_node padding = graph_input(g, "padding", KR_REAL, 1, false), sens = net_refined(g, all, given);
    /* The initialiser reads k-space, as large as in training: that of the combined image, or the sum of the coils' own. */
    kr_node unit = graph_input(g, "kspace_unit", KR_NUMBERS, 1, false), first = zero_filled ? lay_sum(g, y) : lay_fourier(g, net_adjoint(g, y, sens), false);
    kr_node k = descent_run(g, &d, w, steps, y, mask, sens, lay_scale(g, first, unit));
    graph_name(g, k, 0, 1, "kspace_prediction");
    graph_output(g, lay_rss(g, lay_fourier(g, lay_select(g, k, padding, true), true)));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    int e = descent_fresh(w, seed, 1);
    return e ? e : net_refined_fresh(w, seed);
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
    .around = "direct", .twin = "rvn", .magnitude = true, .steps = true, .facts = facts, .fresh = fresh,
    .small = "num_steps=2,recurrent_hidden_channels=6,recurrent_num_layers=2,learned_initializer=false,sensitivity_model.num_filters=4,sensitivity_model.num_pool_layers=2;"
             "num_steps=3,no_parameter_sharing=false,recurrent_hidden_channels=4,recurrent_num_layers=1,initializer_channels=4 5,initializer_dilations=1 2" };
