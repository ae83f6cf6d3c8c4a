/* part_atommic.c: what ATOMMIC gives to each of its reconstruction networks: data, mask, coil maps (or a network that makes them), an image to begin with. */
#include "parts.h"
#include <string.h>

int atommic_of(atommic *a, kr_graph *g, const kr_weights *w)
{
    bool good = true, maps = net_maybe(w, "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight");
    *a = (atommic){ .rss = net_either(w, "coil_combination_method", "sense", "rss", &good) };
    if (!good)
        return kr_error_code();
    a->y = graph_input(g, "kspace", KR_COILS, 0, true);
    a->mask = graph_input(g, "mask", KR_REAL, 1, true);
    a->sens = graph_input(g, "sens", KR_COILS, 0, !maps);
    kr_node start = graph_input(g, "start", KR_IMAGE, 1, false);
    if (maps) {                              /* coil images of the calibration area, each through a NormUnet, then normalised */
        kr_node acs = graph_input(g, "acs", KR_REAL, 1, false);
        kr_node low = net_number(w, "coil_sensitivity_maps_nn_mask_center", 1) != 0 ? lay_select(g, a->y, acs, false) : a->y;
        kr_node made = lay_atommic_maps(g, unet_maps(g, w, "coil_sensitivity_maps_nn.norm_unet.unet.", lay_fourier(g, low, true), true, 1));
        graph_name(g, made, 0, 1, "sensitivity_maps");
        a->sens = lay_either(g, a->sens, made);
    }
    a->start = lay_either(g, start, atommic_image(g, a, a->y));
    return graph_refused(g);
}

/* RSS: of real and imaginary parts apart, as the published code has it. */
kr_node atommic_image(kr_graph *g, const atommic *a, kr_node k)
{
    return a->rss ? lay_rss_parts(g, lay_fourier(g, k, true)) : net_adjoint(g, k, a->sens);
}

kr_node atommic_cascade(kr_graph *g, const atommic *a, const kr_weights *w, const char *list, long i, kr_node k, kr_node x)
{
    const kr_tensor *dc = net_tensor(w, "%s.%ld.dc_weight", list, i);
    if (!net_scalar(dc))
        return graph_fail(g);
    kr_node f = net_forward(g, x, a->sens);
    k = net_number(w, "no_dc", 0) == 0 ? lay_consistency(g, k, a->y, a->mask, f, dc, -1) : f;
    graph_name(g, k, 0, 1, "kspace_cascade%ld", i);
    return k;
}

int atommic_fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "coil_sensitivity_maps_nn_chans", 8, 1, 512 }, { "coil_sensitivity_maps_nn_pools", 4, 1, 8 } };
    long n[2];
    int e = net_sizes(w, sizes, 2, n);
    return e || !net_number(w, "estimate_coil_sensitivity_maps_with_nn", 0) ? e : unet_fresh(w, seed, "coil_sensitivity_maps_nn.norm_unet.unet.", 2, 2, n[0], n[1]);
}

/* ATOMMIC saves "state_dict.block_list...", DIRECT "model.block_list..."; ATOMMIC's configurations name the class alone, and have keys that DIRECT's have not. */
bool rvn_of_atommic(const kr_weights *w)
{
    const char *model = kr_meta_get(w->meta, "config_model");
    bool saved = false;
    for (long i = 0; i < w->count && !saved; i++)
        saved = !strncmp(w->tensor[i].name, "state_dict.", 11) || strstr(w->tensor[i].name, "coil_sensitivity_maps_nn.");
    return net_has(w, "block_list.0.learning_rate") && (saved || (model && (!strcmp(model, "RVN") || !strcmp(model, "RecurrentVarNet"))) || kr_weights_told(w, "fft_normalization"));
}
