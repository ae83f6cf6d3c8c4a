/* net_dncnn.c: DnCNN on one real image: convolutions with biases and ReLU, whose output is the noise. Keys as in cszn/KAIR: "model.0.", "model.2.", ... */
#include "parts.h"
#include <string.h>

static const kr_tensor *first(const kr_weights *w)
{
    const kr_tensor *t = kr_weights_find(w, "model.0.weight");
    return t && t->dims == 4 && t->n[2] == 3 && t->n[3] == 3 && kr_weights_find(w, "model.2.weight") && kr_weights_find(w, "model.0.bias") ? t : NULL;
}

static int matches(const kr_weights *w) { return first(w) ? 60 : 0; }

static int build(kr_graph *g, const kr_weights *w)
{
    int last = 0;
    while (net_maybe(w, "model.%d.weight", last + 2))
        last += 2;
    kr_node image = graph_input(g, "image", KR_REAL, 1, true), x = lay_features(g, &image, 1);
    if (first(w) && first(w)->n[1] != 1)
        return kr_fail(KR_EREFUSED, "a DnCNN of images of %ld channels; one is wanted", first(w)->n[1]);
    for (int i = 0; i <= last && !graph_refused(g); i += 2) {
        const kr_tensor *t = net_tensor(w, "model.%d.weight", i), *b = t ? net_tensor(w, "model.%d.bias", i) : NULL;
        if (!b || !net_shape(t, i == last ? 1 : 0, graph_extent(g, x).chan, 3))
            return kr_error_code();
        x = lay_conv(g, &x, 1, t, b, 1, KR_PAD_ZERO, i == last ? KR_ACT_NONE : KR_ACT_RELU, 0);
    }
    x = lay_plus(g, lay_features(g, &image, 1), x, -1);
    graph_name(g, x, 0, 1, "image");
    graph_output(g, lay_magnitude(g, x));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    static const net_size sizes[2] = { { "nc", 64, 1, 512 }, { "nb", 17, 2, 100 } };
    long n[2];
    int e = net_sizes(w, sizes, 2, n);
    for (long i = 0; i < n[1] && !e; i++) {
        bool last = i == n[1] - 1;
        e = net_fresh_conv(w, seed, last ? 0.1 : 2, last ? 1 : n[0], i ? n[0] : 1, 3, "model.%ld.", 2 * i);
    }
    return e;
}

static const kr_fact facts[] = { { .key = "in_nc", .words = "1" }, { .key = "out_nc", .words = "1" }, { .key = "act_mode", .words = "R" }, { .key = "nc" }, { .key = "nb" }, { .key = NULL } };

const kr_net_kind kr_net_dncnn = { "dncnn", "denoising convolutional network of KAIR on a real image", "Zhang et al., IEEE Trans Image Process 26:3142 (2017)", matches, build, false, false,
    .around = "fastmri", .of_image = true, .denoises = true, .facts = facts, .fresh = fresh, .small = "nc=5,nb=3" };
