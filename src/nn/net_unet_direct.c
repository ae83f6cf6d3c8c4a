/* net_unet_direct.c: the U-Net of DIRECT on the complex zero-filled image: x + U(x) or U(x), with or without standardising. */
#include "parts.h"
#include <string.h>

static const char plain[] = "unet.down_sample_layers.0.layers.0.weight", standard[] = "unet.unet2d.down_sample_layers.0.layers.0.weight";

static bool ends(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.');
}

/* Two channels in, and no part of a larger network. */
static int matches(const kr_weights *w)
{
    int sure = 0;
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        if (strstr(t->name, "cascades.") || strstr(t->name, "layers_list.") || strstr(t->name, "block_list.") || strstr(t->name, "reconstruction_module.") || strstr(t->name, "kspace_model_list."))
            return 0;
        if (t->dims == 4 && t->n[1] == 2 && (ends(t->name, plain) || ends(t->name, standard)))
            sure = 80;
    }
    return sure;
}

static int build(kr_graph *g, const kr_weights *all)
{
    bool normalised = net_has(all, standard), good = true;
    kr_scoped(weights) w = net_weights(all, normalised ? standard : plain);
    if (!w)
        return kr_error_code();
    bool skip = net_either(w, "skip_connection", "false", "true", &good), sense = net_either(w, "image_initialization", "zero_filled", "sense", &good);
    if (!good)
        return kr_error_code();
    kr_node k = graph_input(g, "kspace", KR_COILS, 0, true), given = graph_input(g, "sens", KR_COILS, 0, true), sens = net_refined(g, all, given);
    kr_node x = sense ? net_adjoint(g, k, sens) : lay_sum(g, lay_fourier(g, k, true));
    kr_node y = normalised ? norm_unet(g, w, "unet.unet2d.", x) : unet_image(g, w, "unet.", x);
    y = skip ? lay_add(g, x, y) : y;
    graph_name(g, y, 0, 1, "image");
    graph_output(g, y);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "num_filters", 32, 1, 512 }, { "num_pool_layers", 4, 1, 8 } };
    long n[2];
    int e = net_sizes(w, sizes, 2, n);
    e = e ? e : unet_fresh(w, seed, net_number(w, "normalized", 0) ? "unet.unet2d." : "unet.", 2, 2, n[0], n[1]);
    return e ? e : net_refined_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "num_filters", "unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, { "num_filters", "unet2d.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "num_pool_layers", "unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "num_pool_layers", "unet2d.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "normalized", "unet2d.down_sample_layers.0.layers.0.weight", KR_FACT_THERE, "false", NULL },
    { .key = "skip_connection" }, { .key = "image_initialization" }, { .key = "dropout_probability" }, { .key = "cwn_conv", .words = "false|0" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_unet_direct = { "unet_direct", "U-Net of DIRECT on the zero-filled complex image", "Yiasemis et al., J Open Source Softw 7:4278 (2022)",
    matches, build, false, false,
    .around = "direct", .magnitude = true, .facts = facts, .fresh = fresh,
    .small = "num_filters=4,num_pool_layers=2,normalized=true,sensitivity_model.num_filters=4,sensitivity_model.num_pool_layers=2;"
             "num_filters=4,num_pool_layers=2,skip_connection=true,image_initialization=sense" };
