/* net_reconresnet.c: ReconResNet of NCC1701: a residual network on one magnitude image between 0 and 1, its trunk at a quarter of the size. */
#include "parts.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int matches(const kr_weights *w) { return net_has(w, "intialConv.1.weight") && net_has(w, "finalconv.1.weight") ? 95 : 0; }      /* spelled so */

/* A setting by its name in the network's class, or as the program's command line and checkpoints have it. */
static const char *word(const kr_weights *w, const char *name, const char *otherwise)
{
    kr_auto char *long_name = kr_strf("model_%s", name);
    const char *v = kr_weights_told(w, name);
    v = v || !long_name ? v : kr_weights_told(w, long_name);
    return v ? v : otherwise;                                /* "none" is a word of its own: no activation */
}

static bool yes(const char *v) { return !strcasecmp(v, "true") || !strcmp(v, "1"); }

typedef struct res { kr_graph *g; const kr_weights *w; enum kr_pad pad; } res;

/* Convolution `at` of a block with that padding. */
static kr_node conv(const res *r, const char *prefix, int at, kr_node x, long outs, long k, enum kr_pad pad)
{
    const kr_tensor *t = graph_refused(r->g) ? NULL : net_tensor(r->w, "%s%d.weight", prefix, at), *b = t ? net_tensor(r->w, "%s%d.bias", prefix, at) : NULL;
    if (!b || !net_shape(t, outs, graph_extent(r->g, x).chan, k))
        return graph_fail(r->g);
    return lay_conv(r->g, &x, 1, t, b, 1, pad, KR_ACT_NONE, 0);
}

/* Norm `at` (of the batch where there is one, else of the image) and (act) the activation behind it: PReLU where there is one, else ReLU. */
static kr_node norm(const res *r, const char *prefix, int at, kr_node x, bool act)
{
    char name[96];
    const kr_tensor *slope = act ? net_maybe(r->w, "%s%d.weight", prefix, at + 1) : NULL;
    snprintf(name, sizeof name, "%s%d.", prefix, at);
    bool batch = net_maybe(r->w, "%srunning_mean", name);
    x = batch ? batch_norm(r->g, r->w, name, x, 100000) : lay_norm(r->g, x, act && !slope ? KR_ACT_RELU : KR_ACT_NONE);
    return slope ? lay_prelu(r->g, x, slope) : batch && act ? lay_act(r->g, x, LAY_RELU) : x;
}

static kr_node last(const res *r, kr_node x)
{
    const char *act = word(r->w, "out_act", "sigmoid");
    const kr_tensor *slope = net_maybe(r->w, "finalconv.2.weight");
    x = conv(r, "finalconv.", 1, x, 1, 7, r->pad);
    if ((slope != NULL) && strcmp(act, "relu")) {
        kr_fail(KR_EFORMAT, "out_act is %s, the weights have a slope 'finalconv.2.weight' of relu", act);
        return graph_fail(r->g);
    }
    return slope ? lay_prelu(r->g, x, slope) : !strcmp(act, "relu") ? lay_act(r->g, x, LAY_RELU) : !strcmp(act, "sigmoid") ? lay_act(r->g, x, LAY_SIGMOID)
         : !strcmp(act, "tanh") ? lay_act(r->g, x, LAY_TANH) : x;
}

enum { HALVINGS = 8 };
static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "intialConv.1.weight");
    if (!w)
        return kr_error_code();
    const char *replicate = word(w, "is_replicatepad", "0"), *version = word(w, "forwardV", "0"), *up = word(w, "upinterp_algo", "convtrans");
    res r = { g, w, yes(replicate) ? KR_PAD_REPLICATE : KR_PAD_REFLECT };
    long skips = version[0] >= '0' && version[0] <= '5' && !version[1] ? version[0] - '0' : -1;
    if (!yes(replicate) && strcmp(replicate, "0") && strcasecmp(replicate, "false"))
        return kr_fail(KR_EREFUSED, "is_replicatepad is %s; Kray has 0 (reflected) and 1 (replicated)", replicate);
    if (skips < 0)
        return kr_fail(KR_EREFUSED, "forwardV is %s; ReconResNet has 0 to 5", version);
    if (strcmp(up, "convtrans"))
        return kr_fail(KR_EREFUSED, "upinterp_algo is %s; Kray has convtrans, transposed convolutions", up);
    char prefix[64];
    kr_node image = graph_input(g, "image", KR_REAL, 1, true), given = lay_features(g, &image, 1), level[HALVINGS + 1];
    kr_node x = norm(&r, "intialConv.", 2, conv(&r, "intialConv.", 1, given, 0, 7, r.pad), true);
    graph_name(g, x, 0, 1, "initial");
    x = skips >= 3 ? lay_plus(g, x, given, 1) : x;
    long c = graph_extent(g, x).chan;
    int n = 0;
    level[0] = x;
    for (; net_maybe(w, "downsam.%d.conv_block.0.weight", n) && !graph_refused(g); n++) {
        if (n == HALVINGS)
            return kr_fail(KR_EREFUSED, "more than %d blocks that halve the image", HALVINGS);
        snprintf(prefix, sizeof prefix, "downsam.%d.conv_block.", n);
        x = level[n + 1] = norm(&r, prefix, 1, lay_second(g, conv(&r, prefix, 0, x, c << (n + 1), 3, KR_PAD_ZERO)), true);
    }
    for (int i = 0; net_maybe(w, "resblocks.%d.conv_block.1.weight", i) && !graph_refused(g); i++) {
        long wide = graph_extent(g, x).chan;
        snprintf(prefix, sizeof prefix, "resblocks.%d.conv_block.", i);
        kr_node y = norm(&r, prefix, 2, conv(&r, prefix, 1, x, wide, 3, r.pad), true);
        x = lay_plus(g, x, norm(&r, prefix, 7, conv(&r, prefix, 6, y, wide, 3, r.pad), false), 1);
    }
    graph_name(g, x, 0, 1, "resblocks");
    x = skips >= 2 ? lay_plus(g, level[n], x, 1) : x;
    for (int i = 0; i < n && !graph_refused(g); i++) {
        snprintf(prefix, sizeof prefix, "upsam.%d.conv_block.", i);
        const kr_tensor *t = net_tensor(w, "%s0.weight", prefix), *b = t ? net_tensor(w, "%s0.bias", prefix) : NULL;
        if (!b || !net_shape(t, graph_extent(g, x).chan, c << (n - 1 - i), 3))
            return kr_error_code();
        x = norm(&r, prefix, 1, lay_double(g, x, level[n - 1 - i], t, b), true);
        x = skips == 5 ? lay_plus(g, level[n - 1 - i], x, 1) : x;
        snprintf(prefix, sizeof prefix, "upsam.%d.post_conv.", i);
        net_left_out(w, prefix);                             /* behind an interpolation to other sizes, which such images do not need */
    }
    x = skips == 4 ? lay_plus(g, level[0], x, 1) : x;
    x = last(&r, x);
    x = skips >= 1 ? lay_plus(g, given, x, 1) : x;
    graph_name(g, x, 0, 1, "output");
    graph_output(g, lay_magnitude(g, x));
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { FEATURES, HALVES, BLOCKS, SIZES };
    static const net_size sizes[SIZES] = { { "starting_nfeatures", 64, 1, 512 }, { "updown_blocks", 2, 1, HALVINGS }, { "res_blocks", 14, 1, 100 } };
    long n[SIZES];
    int e = net_sizes(w, sizes, SIZES, n);
    long c = n[FEATURES];
    e = e ? e : net_fresh_conv(w, seed, 1.5, c, 1, 7, "intialConv.1.");
    e = e ? e : net_fresh_value(w, 0.25, 1, "intialConv.3.weight");
    for (long i = 0; i < n[HALVES] && !e; i++, c *= 2) {
        e = net_fresh_conv(w, seed, 1.5, 2 * c, c, 3, "downsam.%ld.conv_block.0.", i);
        e = e ? e : net_fresh_value(w, 0.25, 1, "downsam.%ld.conv_block.2.weight", i);
    }
    for (long i = 0; i < n[BLOCKS] && !e; i++) {
        e = net_fresh_conv(w, seed, 1.5, c, c, 3, "resblocks.%ld.conv_block.1.", i);
        e = e ? e : net_fresh_value(w, 0.25, 1, "resblocks.%ld.conv_block.3.weight", i);
        e = e ? e : net_fresh_conv(w, seed, 1, c, c, 3, "resblocks.%ld.conv_block.6.", i);
    }
    for (long i = 0; i < n[HALVES] && !e; i++, c /= 2) {
        e = net_fresh(w, seed, 4, c, c / 2, 3, "upsam.%ld.conv_block.0.weight", i);
        e = e ? e : net_fresh_value(w, 0, c / 2, "upsam.%ld.conv_block.0.bias", i);
        e = e ? e : net_fresh_value(w, 0.25, 1, "upsam.%ld.conv_block.2.weight", i);
    }
    return e ? e : net_fresh_conv(w, seed, 1, 1, c, 7, "finalconv.1.");
}

#define BOTH(name, ...) { name, __VA_ARGS__, NULL }, { "model_" name, __VA_ARGS__, NULL }
static const kr_fact facts[] = {
    BOTH("starting_nfeatures", "intialConv.1.weight", 0, NULL), BOTH("updown_blocks", "downsam.%ld.conv_block.0.weight", KR_FACT_COUNT, NULL),
    BOTH("res_blocks", "resblocks.%ld.conv_block.1.weight", KR_FACT_COUNT, NULL), BOTH("do_batchnorm", "intialConv.2.running_mean", KR_FACT_THERE, NULL),
    BOTH("is_relu_leaky", "intialConv.3.weight", KR_FACT_THERE, NULL), { "model_relu_leaky", "intialConv.3.weight", KR_FACT_THERE, NULL, NULL },
    BOTH("forwardV", NULL, 0, "0|1|2|3|4|5"), BOTH("out_act", NULL, 0, NULL), BOTH("upinterp_algo", NULL, 0, "convtrans"), BOTH("is_replicatepad", NULL, 0, NULL),
    BOTH("post_interp_convtrans", NULL, 0, NULL), { .key = "is3D", .words = "false|0" }, { .key = "in_channels", .words = "1" }, { .key = "out_channels", .words = "1" },
    { .key = NULL } };

const kr_net_kind kr_net_reconresnet = { "reconresnet", "ReconResNet of NCC1701 on the zero-filled magnitude", "Chatterjee et al., Comput Biol Med 143:105321 (2022)", matches, build,
    false, false, .around = "ncc1701", .of_image = true, .facts = facts, .fresh = fresh,
    .small = "starting_nfeatures=4,updown_blocks=2,res_blocks=2;starting_nfeatures=4,updown_blocks=1,res_blocks=1,forwardV=5,out_act=tanh;"
             "starting_nfeatures=4,updown_blocks=1,res_blocks=1,forwardV=3,out_act=relu,is_replicatepad=1" };
