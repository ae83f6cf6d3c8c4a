/* net_denoiser.c: Kray's own denoiser: a U-Net without biases and norms on a complex image and the deviation of its noise, which gives what is to be added.
 * Image and noise twice as strong come out twice as strong, so that it denoises any amount of noise. */
#include "parts.h"

enum { CHANNELS = 3 };               /* real and imaginary part, and the noise */

static int matches(const kr_weights *w) { return net_has(w, "cascades.0.down.0.0.weight") && !net_has(w, "cascades.0.consistency") ? 90 : 0; }

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "cascades.0.down.0.0.weight");
    if (!w)
        return kr_error_code();
    kr_node x = graph_input(g, "adjoint", KR_IMAGE, 1, true), noise = graph_input(g, "noise", KR_REAL, 1, true), memory = { -1 };
    kr_node y = lay_add(g, x, refine_correction(g, w, 0, lay_features(g, (kr_node[]){ x, noise }, 2), &memory));
    graph_name(g, y, 0, 1, "image");
    graph_output(g, y);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed) { return refine_fresh(w, seed, 0, CHANNELS); }

static const kr_fact facts[] = {
    { "channels", "cascades.0.down.0.0.weight", 0, NULL, NULL }, { "pools", "cascades.0.down.%ld.0.weight", KR_FACT_COUNT, NULL, NULL }, { .key = NULL } };

const kr_net_kind kr_net_denoiser = { "denoiser", "denoiser of complex images for any amount of noise", "Mohan et al., ICLR 2020, arXiv:1906.05478", matches, build, false, false,
    .around = "kray", .facts = facts, .own_axes = true, .denoises = true, .refines = true, .fresh = fresh, .small = "channels=4,pools=2" };
