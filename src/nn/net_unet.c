/* net_unet.c: fastMRI's U-Net on one magnitude image. */
#include "parts.h"
#include <string.h>

static int matches(const kr_weights *w)
{
    static const char *const larger[] = { "cascades.", "layers_list.", "block_list.", "primal_net.", "dual_net.", "kspace_model_list." };
    for (long i = 0; i < w->count; i++)           /* only where the U-Net is not a part of something else */
        for (size_t k = 0; k < sizeof larger / sizeof *larger; k++)
            if (strstr(w->tensor[i].name, larger[k]))
                return 0;
    return net_has(w, "down_sample_layers.0.layers.0.weight") ? 60 : 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "down_sample_layers.0.layers.0.weight");
    const kr_tensor *first = w ? net_maybe(w, "down_sample_layers.0.layers.0.weight") : NULL;
    if (!first)
        return kr_error_code();
    if (first->dims == 4 && first->n[1] != 1)
        return kr_fail(KR_EFORMAT, "a U-Net of %ld input channels; one (the magnitude) is wanted", first->n[1]);
    kr_node x = graph_input(g, "image", KR_REAL, 1, true), y = unet(g, w, "", lay_features(g, &x, 1), true);
    graph_name(g, y, 0, 1, "output");
    graph_output(g, lay_magnitude(g, y));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "chans", 32, 1, 512 }, { "num_pool_layers", 4, 1, 8 } };
    long n[2];
    return net_sizes(w, sizes, 2, n) ? kr_error_code() : unet_fresh(w, seed, "", 1, 1, n[0], n[1]);
}

static const kr_fact facts[] = {
    { "num_filters", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, { "chans", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "channels", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "num_pool_layers", "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "pooling_layers", "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "in_chans", .words = "1" }, { .key = "out_chans", .words = "1" }, { .key = "in_channels", .words = "1" }, { .key = "out_channels", .words = "1" },
    { .key = "drop_prob" }, { .key = "dropout_probability" }, { .key = NULL } };

const kr_net_kind kr_net_unet = { "unet", "U-Net of fastMRI on the zero-filled magnitude", "Zbontar et al., arXiv:1811.08839", matches, build, false, false,
    .around = "fastmri", .of_image = true, .facts = facts, .fresh = fresh, .small = "chans=4,num_pool_layers=3" };
