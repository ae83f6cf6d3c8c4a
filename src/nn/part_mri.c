/* part_mri.c: what reconstruction networks have in common: the model of the measurement, coil maps refined by a network, and the block of
 * ATOMMIC's recurrent inference machines. */
#include "parts.h"
#include <stdio.h>
#include <string.h>

kr_node net_forward(kr_graph *g, kr_node x, kr_node sens) { return lay_fourier(g, lay_expand(g, x, sens), false); }
kr_node net_adjoint(kr_graph *g, kr_node k, kr_node sens) { return lay_reduce(g, lay_fourier(g, k, true), sens); }
kr_node net_gradient(kr_graph *g, kr_node x, kr_node y, kr_node mask, kr_node sens) { return net_adjoint(g, lay_residual(g, net_forward(g, x, sens), y, mask), sens); }

kr_node net_refined(kr_graph *g, const kr_weights *all, kr_node sens)
{
    static const char first[] = "sensitivity_model.down_sample_layers.0.layers.0.weight";
    if (!net_has(all, first))
        return sens;
    kr_scoped(weights) w = net_weights(all, first);
    if (!w)
        return graph_fail(g);
    sens = lay_unit_maps(g, unet_maps(g, w, "sensitivity_model.", sens, false, 2));
    graph_name(g, sens, 0, 1, "sensitivity_map_refined");
    return sens;
}

int net_refined_fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "sensitivity_model.num_filters", 0, 0, 512 }, { "sensitivity_model.num_pool_layers", 4, 1, 8 } };
    long n[2];
    int e = net_sizes(w, sizes, 2, n);
    return e || !n[0] ? e : unet_fresh(w, seed, "sensitivity_model.", 2, 2, n[0], n[1]);
}

net_model net_model_of(kr_graph *g, const kr_weights *all)
{
    if (!strcmp(net_word(all, "operator", "mri"), "rays"))
        return (net_model){ .y = graph_input(g, "kspace", KR_COILS, 1, true), .mask = { -1 }, .sens = { -1 }, .rays = graph_input(g, "rays", KR_OPERATOR, 1, true) };
    net_model m = { .y = graph_input(g, "kspace", KR_COILS, 0, true), .mask = graph_input(g, "mask", KR_REAL, 1, true), .rays = { -1 } };
    m.sens = net_refined(g, all, graph_input(g, "sens", KR_COILS, 0, true));
    return m;
}

kr_node model_forward(kr_graph *g, const net_model *m, kr_node x)
{
    return m->rays.at >= 0 ? lay_operator(g, x, m->rays, m->y) : lay_select(g, net_forward(g, x, m->sens), m->mask, false);
}

kr_node model_adjoint(kr_graph *g, const net_model *m, kr_node y)
{
    return m->rays.at >= 0 ? lay_operator_adjoint(g, y, m->rays) : net_adjoint(g, lay_select(g, y, m->mask, false), m->sens);
}

long block_features(const kr_weights *w, const char *prefix)
{
    const kr_tensor *t = net_tensor(w, "%slayers.0.convs.conv_layer.weight", prefix);
    return net_shape(t, 0, 4, 0) ? t->n[0] : 0;
}

kr_node block_step(kr_graph *g, const kr_weights *w, const char *prefix, const char *cell, const kr_node *images, kr_node *h, enum kr_act last)
{
    kr_node x = lay_features(g, images, 2);
    for (int l = 0; l < BLOCK_DEPTH && !graph_refused(g); l++) {
        long f = graph_extent(g, h[l]).chan;
        const kr_tensor *t = net_tensor(w, "%slayers.%d.convs.conv_layer.weight", prefix, l);
        const kr_tensor *ih = t ? net_tensor(w, "%slayers.%d.%s.ih.weight", prefix, l, cell) : NULL, *hh = ih ? net_maybe(w, "%slayers.%d.%s.hh", prefix, l, cell) : NULL;
        bool ind = hh != NULL;
        if (ih && !ind)
            hh = net_tensor(w, "%slayers.%d.%s.hh.weight", prefix, l, cell);
        if (!hh || !net_shape(t, f, l ? f : 4, 0) || !net_shape(ih, 0, f, 0))
            return graph_fail(g);
        x = lay_conv(g, &x, 1, t, net_maybe(w, "%slayers.%d.convs.conv_layer.bias", prefix, l), l == 1 ? 2 : 1, KR_PAD_REPLICATE, KR_ACT_RELU, CONV_NARROW);
        enum kr_cell_kind kind = ind ? KR_CELL_INDRNN : ih->n[0] == 3 * ih->n[1] ? KR_CELL_GRU : KR_CELL_MGU;
        if (ih->n[0] != f * (kind == KR_CELL_GRU ? 3 : kind == KR_CELL_MGU ? 2 : 1) && !net_shape(ih, f, f, 0))
            return graph_fail(g);
        const kr_tensor *ws[2] = { ih, hh }, *bs[1] = { net_maybe(w, "%slayers.%d.%s.ih.bias", prefix, l, cell) };
        x = h[l] = lay_cell(g, NULL, x, h[l], kind, ws, bs, CONV_NARROW);          /* the state itself goes on */
    }
    if (graph_refused(g))
        return graph_fail(g);
    const kr_tensor *t = net_tensor(w, "%sfinal_layer.0.conv_layer.weight", prefix);
    if (!net_shape(t, 2, graph_extent(g, x).chan, 0))
        return graph_fail(g);
    return lay_image(g, lay_conv(g, &x, 1, t, net_maybe(w, "%sfinal_layer.0.conv_layer.bias", prefix), 1, KR_PAD_REPLICATE, last, 0));
}

int block_fresh(kr_weights *w, uint64_t seed, const char *prefix, const char *cell, long parts, long features)
{
    int e = 0;
    for (int l = 0; l < BLOCK_DEPTH && !e; l++) {
        e = net_fresh_conv(w, seed, 2, features, l ? features : 4, l ? 3 : 5, "%slayers.%d.convs.conv_layer.", prefix, l);
        e = e || l || !net_first(w) ? e : net_fresh_edges(w, "%slayers.0.convs.conv_layer.weight", prefix);
        e = e ? e : net_fresh_conv(w, seed, 1, parts * features, features, 1, "%slayers.%d.%s.ih.", prefix, l, cell);
        e = e ? e : net_fresh(w, seed, 1, parts > 1 ? parts * features : 1, features, 1, "%slayers.%d.%s.hh%s", prefix, l, cell, parts > 1 ? ".weight" : "");
    }
    return e ? e : net_fresh(w, seed, net_first(w) ? 0 : 0.1, 2, features, 3, "%sfinal_layer.0.conv_layer.weight", prefix);
}
