/* net_pdunet.c: the Primal-Dual U-Net of X-ray projections, and the Primal-Dual network that it was made from: data and images in turn, each with a memory of several. The block of the data is
 * circular along the angles and takes the nearest value along the detector, that of the image is a U-Net or (the older network) of convolutions. Axes as in the published code: rows are
 * elements of the detector, columns are angles. kr_pdunet_blocks: the two blocks by themselves. */
#include "parts.h"
#include <stdio.h>

/* h + w conv(cat[h, mean f, g]) */
static kr_node dual(kr_graph *g, const kr_weights *w, const char *prefix, kr_node h, kr_node f, kr_node y)
{
    return lay_gain(g, h, primal_dual_three(g, w, prefix, (kr_node[]){ h, lay_mean(g, f), y }, 3, LAY_NEAREST, LAY_CIRCULAR), net_tensor(w, "%sdiff_weight", prefix));
}

/* f + w U(cat[f, mean b]) */
static kr_node primal(kr_graph *g, const kr_weights *w, const char *prefix, kr_node f, kr_node b)
{
    char name[128];
    kr_node x[2] = { f, lay_mean(g, b) };
    snprintf(name, sizeof name, "%slayers.", prefix);
    kr_node y = net_maybe(w, "%s0.conv.weight", name) ? primal_dual_three(g, w, prefix, x, 2, LAY_NEAREST, LAY_NEAREST) : primal_dual_unet(g, w, name, x, 2, LAY_ZERO, LAY_CIRCULAR);
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
