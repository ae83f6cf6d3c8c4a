/* net_pdunet.c: the Primal-Dual U-Net of X-ray projections, and the Primal-Dual network that it was made from: data and images in turn, each with a memory of several. The block of the data is
 * circular along the angles and takes the nearest value along the detector, that of the image is a U-Net or (the older network) of convolutions. Axes as in the published code: rows are
 * elements of the detector, columns are angles. kr_pdunet_blocks: the two blocks by themselves. */
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

/* Three convolutions to as many channels as x[0] has, in frames of the nearest value, or circular along columns. */
static kr_node three(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *in, int count, enum lay_edge columns)
{
    char name[128];
    kr_node x[3];
    for (int i = 0; i < 5 && !graph_refused(g); i += 2) {
        for (int k = 0; k < (i ? 1 : count); k++)
            x[k] = lay_frame(g, i ? x[k] : in[k], 1, LAY_NEAREST, columns);
        snprintf(name, sizeof name, "%slayers.%d.conv.", prefix, i);
        x[0] = lay_frame(g, conv(g, w, name, x, i ? 1 : count, i == 4 ? graph_extent(g, in[0]).chan : 0, 3, KR_ACT_NONE), -1, LAY_ZERO, LAY_ZERO);
        if (i < 4)
            x[0] = lay_prelu(g, x[0], net_tensor(w, "%slayers.%d.weight", prefix, i + 1));
    }
    return x[0];
}

/* h + w conv(cat[h, mean f, g]) */
static kr_node dual(kr_graph *g, const kr_weights *w, const char *prefix, kr_node h, kr_node f, kr_node y)
{
    return lay_gain(g, h, three(g, w, prefix, (kr_node[]){ h, lay_mean(g, f), y }, 3, LAY_CIRCULAR), net_tensor(w, "%sdiff_weight", prefix));
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
    kr_node x[2] = { f, lay_mean(g, b) };
    snprintf(name, sizeof name, "%slayers.", prefix);
    kr_node y = net_maybe(w, "%s0.conv.weight", name) ? three(g, w, prefix, x, 2, LAY_NEAREST) : unet_of(g, w, name, x, 2, graph_extent(g, f).chan);
    return lay_gain(g, f, y, net_tensor(w, "%sdiff_weight", prefix));
}

static int both(kr_graph *g, const kr_weights *w)
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
    int e = !g || both(g, w) || graph_refused(g) ? kr_error_code() : 0;
    for (long i = 0; i < w->count && !e; i++)
        if (!*w->tensor[i].read)
            e = kr_fail(KR_EFORMAT, "the tensor '%s' belongs to something that the blocks of a Primal-Dual U-Net have not", w->tensor[i].name);
    if (g && (e || kr_graph_pack(g)))
        kr_graph_unref(&g);
    return g;
}

/* ---- The network ---- */
static const char first[] = "dual_blocks.0.diff_weight", old[] = "primal_blocks.0.layers.0.conv.weight";

static int matches(const kr_weights *w) { return net_has(w, first) && net_has(w, "primal_blocks.0.diff_weight") ? 95 : 0; }

static kr_node repeated(kr_graph *g, kr_node x, long times)
{
    kr_node y = x;
    for (long i = 1; i < times && !graph_refused(g); i++)
        y = lay_concat(g, y, x);
    return y;
}

static int build(kr_graph *g, const kr_weights *all)
{
    enum { MOST = 64 };                                      /* images in a memory */
    kr_scoped(weights) w = net_weights(all, first);
    const kr_tensor *d = w ? net_tensor(w, "dual_blocks.0.diff_weight") : NULL, *p = d ? net_tensor(w, "primal_blocks.0.diff_weight") : NULL;
    if (!p)
        return kr_error_code();
    long data = kr_tensor_count(d), images = kr_tensor_count(p), count = 0;
    bool good = true, plain = net_maybe(w, "%s", old) != NULL, zero = plain != net_either(w, "use_original_init", plain ? "true" : "false", plain ? "false" : "true", &good);
    if (!good || data > MOST || images > MOST)
        return good ? kr_fail(KR_ESHAPE, "memories of %ld images and %ld data; up to %d are possible", images, data, MOST) : kr_error_code();
    while (net_maybe(w, "primal_blocks.%ld.diff_weight", count))
        count++;
    kr_node y = graph_input(g, "kspace", KR_COILS, 1, true), A = graph_input(g, "rays", KR_OPERATOR, 1, true), B = graph_input(g, "filtered", KR_OPERATOR, 1, true);
    kr_node measured = lay_score(g, y, y), h = lay_zeros(g, measured, data), f = lay_real(g, lay_operator_adjoint(g, y, B));
    f = zero ? lay_zeros(g, f, images) : repeated(g, f, images);
    for (long i = 0; i < count && !graph_refused(g); i++) {
        char name[64];
        graph_segment(g);
        snprintf(name, sizeof name, "dual_blocks.%ld.", i);
        h = dual(g, w, name, h, lay_score(g, lay_operator(g, lay_real_image(g, lay_mean(g, f)), A, y), y), measured);       /* of means, as A and the filter are linear */
        graph_name(g, h, 0, 1, "dual%ld", i);
        snprintf(name, sizeof name, "primal_blocks.%ld.", i);
        f = primal(g, w, name, f, lay_real(g, lay_operator_adjoint(g, lay_unscore(g, lay_mean(g, h), y), B)));
        graph_name(g, f, 0, 1, "primal%ld", i);
    }
    graph_output(g, lay_magnitude(g, lay_mean(g, f)));
    return graph_refused(g);
}

static const kr_fact facts[] = {
    { "n_iterations", "primal_blocks.%ld.diff_weight", KR_FACT_COUNT, NULL, NULL }, { "n_primary", "primal_blocks.0.diff_weight", 1, NULL, NULL }, { "n_dual", first, 1, NULL, NULL },
    { "use_original_block", old, KR_FACT_THERE, NULL, NULL }, { .key = "use_original_init" }, { .key = NULL } };

const kr_net_kind kr_net_pdunet = { "pdunet", "Primal-Dual U-Net and Primal-Dual network of X-ray projections", "Ernst et al., Comput Methods Programs Biomed 230:107338 (2023)",
    matches, build, false, false, .around = "phernst", .facts = facts, .any_operator = true, .rays_alone = true, .own_axes = true };
