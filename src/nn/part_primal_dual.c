/* part_primal_dual.c: blocks of Primal-Dual networks, of real features, or of complex ones where the tensors end with an axis of two. */
#include "parts.h"
#include <stdio.h>

enum { LEVELS = PRIMAL_DUAL_LEVELS };

static bool is_complex(const kr_tensor *t) { return t && t->dims == 5; }

/* outs 0: any, as with complex features, of which what takes them looks at the number. */
static kr_node conv(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *x, int count, long outs, long k, enum kr_act act)
{
    long in = 0;
    for (int i = 0; i < count; i++)
        in += graph_extent(g, x[i]).chan;
    const kr_tensor *t = graph_refused(g) ? NULL : net_tensor(w, "%sweight", prefix), *b = t ? net_tensor(w, "%sbias", prefix) : NULL;
    if (b && is_complex(t)) {
        kr_node y = lay_complex_conv(g, x, count, t, b);
        return act == KR_ACT_RELU ? lay_act(g, y, LAY_RELU) : y;
    }
    if (!b || !net_shape(t, outs, in, k))
        return graph_fail(g);
    return lay_conv(g, x, count, t, b, 1, KR_PAD_ZERO, act, 0);
}

kr_node primal_dual_three(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, enum lay_edge rows, enum lay_edge columns)
{
    char name[128];
    kr_node x[3];
    bool complex = is_complex(net_maybe(w, "%slayers.0.conv.weight", prefix));
    for (int i = 0; i < 5 && !graph_refused(g); i += 2) {
        for (int k = 0; k < (i ? 1 : count); k++)
            x[k] = lay_frame(g, i ? x[k] : in[k], 1, rows, columns);
        snprintf(name, sizeof name, "%slayers.%d.conv.", prefix, i);
        x[0] = lay_frame(g, conv(g, w, name, x, i ? 1 : count, i == 4 ? graph_extent(g, in[0]).chan : 0, 3, KR_ACT_NONE), -1, LAY_ZERO, LAY_ZERO);
        if (i < 4)
            x[0] = complex ? lay_act(g, x[0], LAY_RELU) : lay_prelu(g, x[0], net_tensor(w, "%slayers.%d.weight", prefix, i + 1));
    }
    return x[0];
}

/* A batch norm of complex features. */
static kr_node whitened(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x)
{
    static const char *const parts[4] = { "weight", "bias", "running_mean", "running_var" };
    const kr_tensor *t[4] = { NULL };
    for (int k = 0; k < 4; k++)
        t[k] = graph_refused(g) || (k && !t[k - 1]) ? NULL : net_tensor(w, "%s%s", prefix, parts[k]);
    net_maybe(w, "%snum_batches_tracked", prefix);           /* tells of training alone */
    return lay_complex_norm(g, x, t);
}

/* Convolution, ReLU, batch norm, twice. */
static kr_node twice(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *x, int count)
{
    char name[160];
    kr_node y = { -1 };
    for (int i = 0; i < 2 && !graph_refused(g); i++) {
        snprintf(name, sizeof name, "%sblock.%d.", prefix, 3 * i);
        y = conv(g, w, name, i ? &y : x, i ? 1 : count, 0, 3, KR_ACT_RELU);
        bool complex = is_complex(net_maybe(w, "%sweight", name));
        snprintf(name, sizeof name, "%sblock.%d.", prefix, 3 * i + 2);
        y = complex ? whitened(g, w, name, y) : batch_norm(g, w, name, y, 100000);
    }
    return y;
}

kr_node primal_dual_unet(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, enum lay_edge rows, enum lay_edge columns)
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
        kr_node both[2] = { lay_middle(g, x, level, rows, columns), level };
        snprintf(name, sizeof name, "%sup_path.%d.conv_block.", prefix, i);
        x = twice(g, w, name, both, 2);
    }
    snprintf(name, sizeof name, "%slast.", prefix);
    return conv(g, w, name, &x, 1, graph_extent(g, in[0]).chan, 1, KR_ACT_NONE);
}
