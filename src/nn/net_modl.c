/* net_modl.c: ATOMMIC's MoDL: one residual network again and again on the image, each time (if so configured) followed by conjugate gradients on S^H S + mu, an operator
 * without the sampling mask. */
#include "parts.h"
#include <string.h>

static int matches(const kr_weights *w) { return net_has(w, "reconstruction_module.layers1.0.weight") && net_has(w, "reconstruction_module.last_layer.weight") ? 95 : 0; }

/* x + factor conv(relu(conv(x))) some times, between convolutions; no biases. */
static kr_node residual(kr_graph *g, const kr_weights *w, kr_node image, double factor)
{
    const kr_tensor *first = net_tensor(w, "reconstruction_module.conv1.weight");
    kr_node x = lay_features(g, &image, 1), begin;
    if (graph_refused(g) || !net_shape(first, 0, 2, 3))
        return graph_fail(g);
    long c = first->n[0];
    x = begin = lay_conv(g, &x, 1, first, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 0);
    for (long i = 0; net_maybe(w, "reconstruction_module.layers1.%ld.weight", i) && !graph_refused(g); i++) {
        const kr_tensor *a = net_tensor(w, "reconstruction_module.layers1.%ld.weight", i), *b = net_tensor(w, "reconstruction_module.layers2.%ld.weight", i);
        if (!b || !net_shape(a, c, c, 3) || !net_shape(b, c, c, 3))
            return graph_fail(g);
        kr_node y = lay_conv(g, &x, 1, a, NULL, 1, KR_PAD_ZERO, KR_ACT_RELU, 0);
        x = lay_plus(g, x, lay_conv(g, &y, 1, b, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 0), factor);
    }
    const kr_tensor *last = net_tensor(w, "reconstruction_module.last_layer.weight"), *final = last ? net_tensor(w, "reconstruction_module.final_layer.weight") : NULL;
    if (!final || !net_shape(last, c, c, 3) || !net_shape(final, 2, c, 3))
        return graph_fail(g);
    x = lay_plus(g, lay_conv(g, &x, 1, last, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 0), begin, 1);
    return lay_conv(g, &x, 1, final, NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 0);
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "reconstruction_module.conv1.weight");
    atommic in;
    double factor;
    if (!w || !net_real(&factor, w, "regularization_factor", 0.1) || atommic_of(&in, g, w))
        return kr_error_code();
    const kr_tensor *mu = net_maybe(w, "mu"), *again = net_maybe(w, "dc_block.mu");
    long iterations = net_number(w, "run_steps", net_number(w, "unrolled_iterations", 10)), steps = net_number(w, "conjugate_gradient_iterations", 10);
    if (iterations < 1 || iterations > 1000)
        return kr_fail(KR_EFORMAT, "%ld iterations (unrolled_iterations)", iterations);
    if ((mu && !net_scalar(mu)) || (again && !net_scalar(again)))
        return kr_error_code();
    if (again && (!mu || !net_equal(mu, again)))             /* one parameter under two names */
        return kr_fail(KR_EFORMAT, "the tensors 'mu' and 'dc_block.mu' differ: they are one number");
    if (mu && in.rss)
        return kr_fail(KR_EREFUSED, "coil_combination_method RSS with conjugate_gradient_dc: an operator that is not linear, which conjugate gradients cannot solve");
    kr_node x = in.start;
    for (long i = 0; i < iterations && !graph_refused(g); i++) {
        graph_segment(g);
        kr_node y = residual(g, w, x, factor);
        graph_name(g, y, 0, 1, "resnet_output_iter%ld", i);
        x = lay_image(g, y);
        x = mu ? lay_solve(g, in.start, x, in.sens, mu, steps) : x;
    }
    graph_name(g, x, 0, 1, "image");
    graph_output(g, x);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { CHANNELS, BLOCKS, SIZES };
    static const net_size sizes[SIZES] = { { "channels", 64, 1, 1024 }, { "residual_blocks", 5, 1, 200 } };
    long n[SIZES];
    const char *dc = net_word(w, "conjugate_gradient_dc", "false");
    double mu;
    int e = net_sizes(w, sizes, SIZES, n);
    if (e || !net_real(&mu, w, "penalization_weight", 1))
        return kr_error_code();
    if (!strcmp(dc, "true") || !strcmp(dc, "True") || !strcmp(dc, "1")) {
        e = net_fresh_value(w, mu, 1, "mu");
        e = e ? e : net_fresh_value(w, mu, 1, "dc_block.mu");
    }
    e = e ? e : net_fresh(w, seed, 1, n[CHANNELS], 2, 3, "reconstruction_module.conv1.weight");
    for (long i = 0; i < n[BLOCKS] && !e; i++) {
        e = net_fresh(w, seed, 2, n[CHANNELS], n[CHANNELS], 3, "reconstruction_module.layers1.%ld.weight", i);
        e = e ? e : net_fresh(w, seed, 1, n[CHANNELS], n[CHANNELS], 3, "reconstruction_module.layers2.%ld.weight", i);
    }
    e = e ? e : net_fresh(w, seed, 1, n[CHANNELS], n[CHANNELS], 3, "reconstruction_module.last_layer.weight");
    e = e ? e : net_fresh(w, seed, 1, 2, n[CHANNELS], 3, "reconstruction_module.final_layer.weight");
    return e ? e : atommic_fresh(w, seed);
}

/* One parameter under two names. */
static int again(kr_weights *w)
{
    for (long i = 0; i < w->count; i++) {
        char *name = w->tensor[i].name;
        size_t n = strlen(name);
        if (n < 2 || strcmp(name + n - 2, "mu") || (n > 2 && name[n - 3] != '.') || strstr(name, "dc_block."))
            continue;
        kr_auto char *two = kr_strf("%.*sdc_block.mu", (int)n - 2, name);
        double mu = (double)w->tensor[i].data[0];
        return !two ? kr_error_code() : kr_weights_find(w, two) ? 0 : net_fresh_value(w, mu, 1, "%s", two);
    }
    return 0;
}

static const kr_fact facts[] = {
    { .key = "unrolled_iterations" }, { "channels", "reconstruction_module.conv1.weight", 0, NULL, NULL },
    { "residual_blocks", "reconstruction_module.layers1.%ld.weight", KR_FACT_COUNT, NULL, NULL }, { .key = "regularization_factor" },
    { "conjugate_gradient_dc", "mu", KR_FACT_THERE, "false", NULL }, { .key = "conjugate_gradient_iterations" }, { .key = "penalization_weight" }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_modl = { "modl", "MoDL of ATOMMIC: a residual network again and again", "Aggarwal et al., IEEE Trans Med Imaging 38:394 (2019)", matches, build, false, false,
    .around = "atommic", .maps_too = true, .steps = true, .facts = facts, .fresh = fresh, .again = again,
    .small = "channels=4,residual_blocks=2,unrolled_iterations=2;channels=4,residual_blocks=1,unrolled_iterations=2,conjugate_gradient_dc=true,conjugate_gradient_iterations=3" };
