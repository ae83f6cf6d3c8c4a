/* net_rvn.c: ATOMMIC's RecurrentVarNet: the steps of DIRECT's, rounded up to a multiple of 8; its initialiser reads the k-space of the image that ATOMMIC begins with, and the
 * coil images are combined with their maps at the end. */
#include "parts.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int matches(const kr_weights *w) { return rvn_of_atommic(w) ? 96 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.learning_rate");
    descent d;
    atommic in;
    if (!w || !descent_of(&d, w) || atommic_of(&in, g, w))
        return kr_error_code();
    if (d.r[0].normalised)
        return kr_fail(KR_EREFUSED, "ATOMMIC's RecurrentVarNet has no standardised GRU ('%s')", d.r[0].prefix);
    const char *begin = net_word(w, "initializer_initialization", "sense");
    bool zero_filled = !strcasecmp(begin, "zero_filled");
    if (!zero_filled && strcasecmp(begin, "sense") && strcasecmp(begin, "input_image"))
        return kr_fail(KR_EFORMAT, "initializer_initialization is '%s'; Kray has sense, input_image and zero_filled", begin);
    long blocks = d.blocks, asked = net_number(w, "num_steps", blocks > 1 ? blocks : 8), whole = (asked + 7) / 8 * 8, steps = net_number(w, "run_steps", whole);
    if (asked < 1 || asked > 1000 || (blocks > 1 && blocks != whole))
        return kr_fail(KR_EFORMAT, "num_steps is %ld, of which ATOMMIC makes %ld; the weights have %ld blocks", asked, whole, blocks);
    if (steps < 1 || steps > 1000 || (blocks > 1 && steps > blocks))
        return kr_fail(KR_EFORMAT, "%ld steps with %ld blocks", steps, blocks);
    if (!net_shared(w, blocks))
        return kr_error_code();
    kr_node unit = graph_input(g, "kspace_unit", KR_NUMBERS, 1, false), first = zero_filled ? lay_sum(g, in.y) : lay_fourier(g, in.start, false);
    kr_node k = descent_run(g, &d, w, steps, in.y, in.mask, in.sens, lay_scale(g, first, unit)), image = atommic_image(g, &in, k);
    graph_name(g, image, 0, 1, "image");
    graph_output(g, image);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    int e = kr_meta_set(w->meta, "hyper.fft_normalization", "ortho");            /* by which ATOMMIC's weights are told from DIRECT's */
    e = e ? e : descent_fresh(w, seed, 8);
    return e ? e : atommic_fresh(w, seed);
}

static const kr_fact facts[] = {
    { .key = "num_steps" }, { "recurrent_hidden_channels", "block_list.0.regularizer.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "recurrent_num_layers", "block_list.0.regularizer.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL }, { .key = "no_parameter_sharing" },
    { .key = "initializer_initialization" }, { .key = "in_channels", .words = "2" }, FACTS_START("false"), FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_rvn = { "rvn", "RecurrentVarNet of ATOMMIC", "Yiasemis et al., CVPR 2022, arXiv:2111.09639", matches, build, false, true,
    .around = "atommic", .maps_too = true, .steps = true, .facts = facts, .fresh = fresh,
    .small = "no_parameter_sharing=false,num_steps=8,recurrent_hidden_channels=4,recurrent_num_layers=2,initializer_channels=4 5,initializer_dilations=1 2" };
