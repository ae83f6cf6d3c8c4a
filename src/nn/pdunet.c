/* pdunet.c: the two blocks of the Primal-Dual U-Net, each by itself and no entry of the table of networks: of the data (circular along the angles, the nearest value along the detector) and of
 * the image (a U-Net). Axes as in the published code: rows are elements of the detector, columns are angles. */
#include "parts.h"
#include <stdio.h>

enum { LEVELS = 8 };

static kr_node conv(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *x, int count, long outs, long k, enum kr_act act)
{
    long in = 0;
    for (int i = 0; i < count; i++)
        in += graph_extent(g, x[i]).chan;
    const kr_tensor *t = graph_refused(g) ? NULL : net_tensor(w, "%sweight", prefix), *b = t ? net_tensor(w, "%sbias", prefix) : NULL;
    if (!b || !net_shape(t, outs, in, k))
        return graph_fail(g);
    return lay_conv(g, x, count, t, b, 1, KR_PAD_ZERO, act, 0);
}

/* h + w conv(cat[h, mean f, g]) */
static kr_node dual(kr_graph *g, const kr_weights *w, const char *prefix, kr_node h, kr_node f, kr_node y)
{
    char name[128];
    kr_node x[3] = { h, lay_mean(g, f), y };
    for (int i = 0; i < 5 && !graph_refused(g); i += 2) {
        for (int k = 0; k < (i ? 1 : 3); k++)
            x[k] = lay_frame(g, x[k], 1, LAY_NEAREST, LAY_CIRCULAR);
        snprintf(name, sizeof name, "%slayers.%d.conv.", prefix, i);
        x[0] = lay_frame(g, conv(g, w, name, x, i ? 1 : 3, i == 4 ? graph_extent(g, h).chan : 0, 3, KR_ACT_NONE), -1, LAY_ZERO, LAY_ZERO);
        if (i < 4)
            x[0] = lay_prelu(g, x[0], net_tensor(w, "%slayers.%d.weight", prefix, i + 1));
    }
    return lay_gain(g, h, x[0], net_tensor(w, "%sdiff_weight", prefix));
}

/* Convolution, ReLU, batch norm, twice. */
static kr_node twice(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *x, int count)
{
    char name[160];
    kr_node y = { -1 };
    for (int i = 0; i < 2 && !graph_refused(g); i++) {
        snprintf(name, sizeof name, "%sblock.%d.", prefix, 3 * i);
        y = conv(g, w, name, i ? &y : x, i ? 1 : count, 0, 3, KR_ACT_RELU);
        snprintf(name, sizeof name, "%sblock.%d.", prefix, 3 * i + 2);
        y = batch_norm(g, w, name, y, 100000);
    }
    return y;
}

static kr_node unet_of(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, long outs)
{
    char name[160];
    kr_node skip[LEVELS], x = { -1 };
    int levels = 0;
    while (levels < LEVELS && net_maybe(w, "%sdown_path.%d.block.0.weight", prefix, levels))
        levels++;
    for (int i = 0; i < levels; i++) {
        snprintf(name, sizeof name, "%sdown_path.%d.", prefix, i);
        x = skip[i] = twice(g, w, name, i ? &x : in, i ? 1 : count);
        x = i + 1 < levels ? lay_pool(g, x) : x;
    }
    for (int i = 0; i + 1 < levels && !graph_refused(g); i++) {
        kr_node level = skip[levels - 2 - i];
        snprintf(name, sizeof name, "%sup_path.%d.up.1.", prefix, i);
        x = lay_bilinear(g, x);
        x = conv(g, w, name, &x, 1, graph_extent(g, level).chan, 1, KR_ACT_NONE);
        kr_node both[2] = { lay_middle(g, x, level, LAY_ZERO, LAY_CIRCULAR), level };
        snprintf(name, sizeof name, "%sup_path.%d.conv_block.", prefix, i);
        x = twice(g, w, name, both, 2);
    }
    snprintf(name, sizeof name, "%slast.", prefix);
    return conv(g, w, name, &x, 1, outs, 1, KR_ACT_NONE);
}

/* f + w U(cat[f, mean b]) */
static kr_node primal(kr_graph *g, const kr_weights *w, const char *prefix, kr_node f, kr_node b)
{
    char name[128];
    snprintf(name, sizeof name, "%slayers.", prefix);
    kr_node y = unet_of(g, w, name, (kr_node[]){ f, lay_mean(g, b) }, 2, graph_extent(g, f).chan);
    return lay_gain(g, f, y, net_tensor(w, "%sdiff_weight", prefix));
}

static int build(kr_graph *g, const kr_weights *w)
{
    const kr_tensor *d = net_tensor(w, "dual_block.diff_weight"), *p = d ? net_tensor(w, "primal_unet_block.diff_weight") : NULL;
    if (!p)
        return kr_error_code();
    long data = kr_tensor_count(d), images = kr_tensor_count(p);
    kr_node h = graph_input(g, "dual_h", KR_FEATURES, data, true), pf = graph_input(g, "dual_projected_f", KR_FEATURES, images, true), y = graph_input(g, "dual_g", KR_FEATURES, 1, true);
    kr_node f = graph_input(g, "primal_f", KR_FEATURES, images, true), b = graph_input(g, "primal_backprojected_h", KR_FEATURES, data, true);
    kr_node out = dual(g, w, "dual_block.", h, pf, y);
    graph_name(g, out, 0, 1, "dual_out");
    graph_output(g, lay_magnitude(g, lay_mean(g, out)));
    out = primal(g, w, "primal_unet_block.", f, b);
    graph_name(g, out, 0, 1, "primal_out");
    graph_output(g, lay_magnitude(g, lay_mean(g, out)));
    return graph_refused(g);
}

kr_graph *kr_pdunet_blocks(const kr_weights *w)
{
    for (long i = 0; i < w->count; i++)
        *w->tensor[i].read = false;
    kr_graph *g = kr_graph_new(KR_KEEP, NULL);
    int e = !g || build(g, w) || graph_refused(g) ? kr_error_code() : 0;
    for (long i = 0; i < w->count && !e; i++)
        if (!*w->tensor[i].read)
            e = kr_fail(KR_EFORMAT, "the tensor '%s' belongs to something that the blocks of a Primal-Dual U-Net have not", w->tensor[i].name);
    if (g && (e || kr_graph_pack(g)))
        kr_graph_unref(&g);
    return g;
}
