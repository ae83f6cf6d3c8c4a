/* part_unet.c: the U-Net of fastMRI, DIRECT and ATOMMIC; NormUnet around it; coil maps refined by it. */
#include "parts.h"
#include <stdio.h>

enum { POOLS = 8 };

/* [conv, norm, leaky] twice, from one or two inputs to outs channels (0: any). */
static kr_node block(kr_graph *g, const kr_weights *w, const char *prefix, long outs, const kr_node *x, int ins)
{
    long in = 0;
    for (int i = 0; i < ins; i++)
        in += graph_extent(g, x[i]).chan;
    if (graph_refused(g))
        return graph_fail(g);
    const kr_tensor *t0 = net_tensor(w, "%slayers.0.weight", prefix), *t1 = t0 ? net_tensor(w, "%slayers.4.weight", prefix) : NULL;
    if (!t1 || !net_shape(t0, outs, in, 3) || !net_shape(t1, t0->n[0], t0->n[0], 3))
        return graph_fail(g);
    kr_node mid = lay_conv(g, x, ins, t0, NULL, 1, KR_PAD_ZERO, KR_ACT_LEAKY, CONV_NORM);
    return lay_conv(g, &mid, 1, t1, NULL, 1, KR_PAD_ZERO, KR_ACT_LEAKY, CONV_NORM);
}

kr_node unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, bool named) { return unet_to(g, w, prefix, x, graph_extent(g, x).chan, named); }

kr_node unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs, bool named)
{
    char name[256];
    int pools = 0;
    kr_node skip[POOLS];
    while (pools < POOLS && net_maybe(w, "%sdown_sample_layers.%d.layers.0.weight", prefix, pools))
        pools++;
    if (!pools) {
        kr_fail(KR_EFORMAT, "the weights have no U-Net under '%s'", prefix);
        return graph_fail(g);
    }
    for (int i = 0; i < pools; i++) {
        snprintf(name, sizeof name, "%sdown_sample_layers.%d.", prefix, i);
        skip[i] = block(g, w, name, 0, &x, 1);
        if (named)
            graph_name(g, skip[i], 0, 1, "down%d", i);
        x = lay_pool(g, skip[i]);
    }
    snprintf(name, sizeof name, "%sconv.", prefix);
    x = block(g, w, name, 0, &x, 1);
    if (named)
        graph_name(g, x, 0, 1, "bottleneck");
    for (int i = 0; i < pools && !graph_refused(g); i++) {
        kr_node level = skip[pools - 1 - i];
        long c = graph_extent(g, level).chan;
        const kr_tensor *t = net_tensor(w, "%sup_transpose_conv.%d.layers.0.weight", prefix, i);
        if (!net_shape(t, graph_extent(g, x).chan, c, 2))
            return graph_fail(g);
        kr_node both[2] = { lay_up(g, x, level, t), level };
        if (named)
            graph_name(g, both[0], 0, 1, "up_transpose%d", i);
        snprintf(name, sizeof name, "%sup_conv.%d.%s", prefix, i, i == pools - 1 ? "0." : "");
        x = block(g, w, name, c, both, 2);
        if (named && i + 1 < pools)
            graph_name(g, x, 0, 1, "up%d", i);
    }
    if (graph_refused(g))
        return graph_fail(g);
    const kr_tensor *t = net_tensor(w, "%sup_conv.%d.1.weight", prefix, pools - 1), *b = t ? net_tensor(w, "%sup_conv.%d.1.bias", prefix, pools - 1) : NULL;
    if (!b || !net_shape(t, outs, graph_extent(g, x).chan, 1))
        return graph_fail(g);
    x = lay_conv(g, &x, 1, t, b, 1, KR_PAD_ZERO, KR_ACT_NONE, 0);
    if (named)
        graph_name(g, x, 0, 1, "up%d", pools - 1);
    return x;
}

kr_node unet_image(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x) { return lay_image(g, unet(g, w, prefix, lay_features(g, &x, 1), false)); }

kr_node norm_unet(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x) { return norm_unet_by(g, w, prefix, x, 15, true); }

kr_node norm_unet_by(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long bits, bool normalise)
{
    kr_node moments, y = lay_standard(g, &moments, x, bits, !normalise);
    return lay_unstandard(g, unet(g, w, prefix, y, false), moments, x);
}

kr_node norm_unet_to(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs)
{
    kr_node moments, y = lay_halves(g, &moments, x, 16);
    return lay_unhalves(g, unet_to(g, w, prefix, y, outs, false), moments, x);
}

kr_node unet_maps(kr_graph *g, const kr_weights *w, const char *prefix, kr_node maps, bool norm, long least)
{
    kr_graph *one = graph_refused(g) ? NULL : kr_graph_new(0, g);
    if (!one)
        return graph_fail(g);
    kr_node x = graph_input(one, "image", KR_IMAGE, 1, true);
    graph_output(one, (norm ? norm_unet : unet_image)(one, w, prefix, x));
    return lay_each(g, maps, one, least);
}

int unet_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long outs, long chans, long pools)
{
    int e = 0;
    for (long i = 0; i <= pools && !e; i++) {
        long c = chans << i;
        char part[256];
        snprintf(part, sizeof part, i < pools ? "%sdown_sample_layers.%ld" : "%sconv", prefix, i);
        e = net_fresh(w, seed, 1.9, c, i ? c / 2 : ins, 3, "%s.layers.0.weight", part);
        e = e ? e : net_fresh(w, seed, 1.9, c, c, 3, "%s.layers.4.weight", part);
    }
    for (long i = 0; i < pools && !e; i++) {
        long c = chans << (pools - 1 - i);
        const char *last = i == pools - 1 ? "0." : "";
        e = net_fresh(w, seed, 1.9, c, 2 * c, 3, "%sup_conv.%ld.%slayers.0.weight", prefix, i, last);
        e = e ? e : net_fresh(w, seed, 1.9, c, c, 3, "%sup_conv.%ld.%slayers.4.weight", prefix, i, last);
        e = e ? e : net_fresh(w, seed, 3.8, 2 * c, c, 2, "%sup_transpose_conv.%ld.layers.0.weight", prefix, i);
    }
    return e ? e : net_fresh_conv(w, seed, 0.3, outs, chans, 1, "%sup_conv.%ld.1.", prefix, pools - 1);
}

int unets_fresh(kr_weights *w, uint64_t seed, const char *list, const char *rate, const char *unet, const long n[3])
{
    int e = 0;
    for (long i = 0; i < n[0] && !e; i++) {
        char prefix[96];
        snprintf(prefix, sizeof prefix, "%s.%ld.%s.", list, i, unet);
        e = net_fresh_value(w, 1, 1, "%s.%ld.%s", list, i, rate);
        e = e ? e : unet_fresh(w, seed, prefix, 2, 2, n[1], n[2]);
    }
    return e;
}

bool net_sens_net(const kr_weights *w)
{
    return net_has(w, "sens_net.norm_unet.unet.conv.layers.0.weight") || net_has(w, "sens_net.norm_unet.unet.conv.layers.4.weight");
}
