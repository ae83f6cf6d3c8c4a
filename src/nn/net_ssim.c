/* net_ssim.c: Kray's own judge of motion: a U-Net on one magnitude image, halved by Haar bands, whose output is a map of the SSIM that the image would have against itself
 * without motion. In the source a
 * residual network gives one number for a slice; a map has as many numbers to learn from as there are pixels. */
#include "parts.h"

static const char *const prefix = "ssim.";
enum { BANDS = 4 };

static int matches(const kr_weights *w) { return net_has(w, "ssim.down_sample_layers.0.layers.0.weight") ? 95 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "ssim.down_sample_layers.0.layers.0.weight");
    if (!w)
        return kr_error_code();
    bool turned = net_turned(all);
    kr_node image = graph_input(g, "image", KR_REAL, 1, true), x = lay_features(g, &image, 1), y = lay_haar(g, lay_even(g, x), turned);
    y = lay_act(g, unet_to(g, w, prefix, y, 1, false), LAY_SIGMOID);
    graph_name(g, y, 0, 1, "halved");
    graph_output(g, lay_magnitude(g, lay_crop(g, lay_bilinear(g, y), x)));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "chans", 8, 1, 512 }, { "num_pool_layers", 3, 1, 8 } };
    long n[2];
    return net_sizes(w, sizes, 2, n) ? kr_error_code() : unet_fresh(w, seed, prefix, BANDS, 1, n[0], n[1]);
}

static const kr_fact facts[] = {
    { "chans", "ssim.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, { "num_pool_layers", "ssim.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }, { .key = NULL } };

const kr_net_kind kr_net_ssim = { "ssim", "map of the SSIM that a magnitude image would have against itself without motion", "Sciarra, Chatterjee et al., arXiv:2206.06725", matches, build, false, false,
    .around = "kray", .of_image = true, .judges = true, .facts = facts, .fresh = fresh, .small = "chans=4,num_pool_layers=2" };
