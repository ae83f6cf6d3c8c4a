/* ridge_mask.c: what each answer of a ridge regulariser's filters weighs, pixel by pixel, by an image that was found before: a U-Net sees how strong the answers are there, so no
 * phase matters, and gives for each filter a weight between 0 and RIDGE_MOST. Its last layer at 0 gives 1 everywhere: the regulariser as it is.
 * Sources: Neumayer, Pourya, Goujon and Unser, arXiv:2407.06608; Pourya et al., arXiv:2502.04079. */
#include "parts.h"
#include "ridge_parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POOLS = 2, WIDEST = 256 };

static kr_node two(kr_graph *g, const kr_weights *w, const char *place, const kr_node *x, int ins)
{
    kr_node y = { -1 };
    for (int i = 0; i < 2; i++) {
        const kr_tensor *t = net_tensor(w, "mask.%s.%d.weight", place, i), *b = t ? net_tensor(w, "mask.%s.%d.bias", place, i) : NULL;
        y = b ? lay_conv(g, i ? &y : x, i ? 1 : ins, t, b, 1, KR_PAD_ZERO, KR_ACT_LEAKY, 0) : graph_fail(g);
    }
    return y;
}

static int build(kr_graph *g, const kr_weights *w, long filters)
{
    static const char *const down[POOLS] = { "down.0", "down.1" }, *const up[POOLS] = { "up.0", "up.1" };
    kr_node x = graph_input(g, "answers", KR_FEATURES, filters + RIDGE_BESIDE, true), skip[POOLS];
    for (int i = 0; i < POOLS; i++) {
        skip[i] = two(g, w, down[i], &x, 1);
        x = lay_pool(g, skip[i]);
    }
    x = two(g, w, "bottom", &x, 1);
    for (int i = POOLS - 1; i >= 0 && !graph_refused(g); i--) {
        const kr_tensor *t = net_tensor(w, "mask.up.%d.transposed.weight", i);
        kr_node both[2] = { t ? lay_up_linear(g, x, skip[i], t) : graph_fail(g), skip[i] };
        x = two(g, w, up[i], both, 2);
    }
    if (graph_refused(g))
        return kr_error_code();
    const kr_tensor *last = net_tensor(w, "mask.last.weight"), *bias = last ? net_tensor(w, "mask.last.bias") : NULL;
    if (!bias || !net_shape(last, filters, graph_extent(g, x).chan, 1))
        return kr_error_code();
    graph_output(g, lay_conv(g, &x, 1, last, bias, 1, KR_PAD_ZERO, KR_ACT_NONE, 0));
    return graph_refused(g) ? kr_error_code() : kr_graph_pack(g);
}

bool kr_ridge_masks(const kr_weights *w) { return kr_weights_find(w, "mask.last.weight"); }

kr_graph *ridge_mask_graph(const kr_weights *w, long filters)
{
    kr_graph *g = kr_graph_new(KR_KEEP, NULL);
    if (g && build(g, w, filters)) {
        kr_fail_in("the network of masks");
        kr_graph_unref(&g);
    }
    return g;
}

int kr_ridge_mask_fresh(kr_weights *w, long channels, uint64_t seed)
{
    static const double gain = 2 / 1.04;                      /* the variance of features stays, before leaky ReLUs */
    const kr_tensor *scale = kr_weights_find(w, "scale");
    if (!scale || kr_ridge_masks(w))
        return kr_fail(KR_EUSAGE, scale ? "these weights have a network of masks" : "a network of masks is for weights of a ridge regulariser");
    if (channels < 1 || channels > WIDEST)
        return kr_fail(KR_EUSAGE, "1 to %d channels of masks are possible, not %ld", WIDEST, channels);
    long filters = scale->n[0];
    int e = 0;
    for (int i = 0; i <= POOLS && !e; i++) {
        long wide = channels << i, in = i ? wide / 2 : filters + RIDGE_BESIDE;
        char place[32];
        snprintf(place, sizeof place, i < POOLS ? "down.%d" : "bottom", i);
        e = net_fresh_conv(w, seed, gain, wide, in, 3, "mask.%s.0.", place);
        e = e ? e : net_fresh_conv(w, seed, gain, wide, wide, 3, "mask.%s.1.", place);
    }
    for (int i = POOLS - 1; i >= 0 && !e; i--) {
        long wide = channels << i;
        e = net_fresh(w, seed, 2, 2 * wide, wide, 2, "mask.up.%d.transposed.weight", i);
        e = e ? e : net_fresh_conv(w, seed, gain, wide, 2 * wide, 3, "mask.up.%d.0.", i);
        e = e ? e : net_fresh_conv(w, seed, gain, wide, wide, 3, "mask.up.%d.1.", i);
    }
    return e ? e : net_fresh_conv(w, seed, 0, filters, channels, 1, "mask.last.");
}

kr_run *ridge_mask_plan(const kr_ridge *r, long ny, long nx, bool train)
{
    return kr_graph_plan(r->mask, &(kr_extent){ KR_FEATURES, r->chan[RIDGE_LAYERS] + RIDGE_BESIDE, 1, ny, nx }, train ? KR_TRAIN : 0, 0);
}

float ridge_mask_run(kr_run *run, float *mask)
{
    kr_run_forward(run, NULL, NULL);
    const kr_map *out = &kr_run_output(run, 0)->map;
    kr_map_get(out, mask);
    float most = 1;
    for (long i = 0, n = out->c * out->h * out->w; i < n; i++) {
        mask[i] = RIDGE_MOST / (1 + (RIDGE_MOST - 1) * expf(-mask[i]));
        most = fmaxf(most, mask[i]);
    }
    return most;
}

void ridge_mask_back(kr_run *run, const kr_ridge *r, kr_weights *gradient, const float *slope)
{
    kr_map *dy = &kr_run_dy(run, 0)->map;
    memset(dy->store, 0, (size_t)(dy->blocks * dy->block) * sizeof(float));       /* unused channels, too */
    kr_map_put(dy, slope);
    kr_graph_zero_gradients(r->mask);
    kr_run_backward(run);
    long count;
    kr_param *p = kr_graph_params(r->mask, &count);
    for (long i = 0; i < count; i++) {
        const kr_tensor *to = kr_weights_find(gradient, p[i].value.name);
        kr_assert(to && kr_tensor_count(to) == kr_tensor_count(&p[i].gradient));
        for (long k = 0, n = kr_tensor_count(to); k < n; k++)
            to->data[k] += p[i].gradient.data[k];
    }
}
