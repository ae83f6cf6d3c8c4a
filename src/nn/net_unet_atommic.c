/* net_unet_atommic.c: ATOMMIC's UNet: a U-Net on the standardised image that it begins with. */
#include "parts.h"

static const char first[] = "reconstruction_module.unet.down_sample_layers.0.layers.0.weight";
static int matches(const kr_weights *w) { return net_has(w, first) ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, first);
    atommic in;
    if (!w || atommic_of(&in, g, w))
        return kr_error_code();
    long bits = net_number(w, "padding_size", 11);
    bool normalise = net_number(w, "normalize", 1) != 0;
    const kr_tensor *t = net_tensor(w, "%s", first);
    if (t->dims == 4 && t->n[1] != 2)
        return kr_fail(KR_EREFUSED, "in_channels is %ld; Kray has 2, complex images", t->n[1]);
    if (bits < 0 || bits > 1023)
        return kr_fail(KR_EFORMAT, "padding_size is %ld", bits);
    kr_node image = norm_unet_by(g, w, "reconstruction_module.unet.", in.start, bits, normalise);
    graph_name(g, image, 0, 1, "image");
    graph_output(g, image);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { CHANNELS, POOLS, SIZES };
    static const net_size sizes[SIZES] = { { "channels", 64, 1, 512 }, { "pooling_layers", 4, 1, 8 } };
    long n[SIZES];
    int e = net_sizes(w, sizes, SIZES, n);
    e = e ? e : unet_fresh(w, seed, "reconstruction_module.unet.", 2, 2, n[CHANNELS], n[POOLS]);
    return e ? e : atommic_fresh(w, seed);
}

static const kr_fact facts[] = {
    { "channels", first, 0, NULL, NULL }, { "pooling_layers", "reconstruction_module.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "in_channels", .words = "2" }, { .key = "out_channels", .words = "2" }, { .key = "norm_groups", .words = "2" }, { .key = "dropout" }, { .key = "padding_size" },
    { .key = "normalize" }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_unet_atommic = { "unet_atommic", "UNet of ATOMMIC on the zero-filled complex image", "Zbontar et al., arXiv:1811.08839", matches, build, false, false,
    .around = "atommic", .maps_too = true, .facts = facts, .fresh = fresh,
    .small = "channels=4,pooling_layers=2" };
