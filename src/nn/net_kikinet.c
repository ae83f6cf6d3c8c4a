/* net_kikinet.c: KIKI-Net of DIRECT: in turn a network on the k-space of each coil, of which what was measured is kept, and one on the combined image; all iterations
 * share both. */
#include "parts.h"
#include <stdio.h>
#include <string.h>

enum { UNET, NORM_UNET, MWCNN, CONV, DIDN, KINDS };
static const char *const words[KINDS] = { "UNET", "NORMUNET", "MWCNN", "CONV", "DIDN" };
static const char *const keys[KINDS] = { "down_sample_layers.0.layers.0.weight", "unet2d.down_sample_layers.0.layers.0.weight", "down.0.convblock0.net.0.weight", "conv.0.weight",
    "conv_in.0.weight" };

/* ATOMMIC's has a dc_weight. */
static int matches(const kr_weights *w) { return net_which(w, "kspace_model_list.0.model.", keys, KINDS) < 0 || net_has(w, "dc_weight") ? 0 : 95; }

/* The kind of network under a prefix, as "WORD_model_architecture" says, if it does. -1: a refusal. */
static int kind_of(const kr_weights *w, const char *prefix, const char *word)
{
    int kind = net_which(w, prefix, keys, KINDS);
    kr_auto char *key = kr_strf("%s_model_architecture", word);
    const char *said = key ? net_word(w, key, kind < 0 ? "" : words[kind]) : "";
    bool image = !strcmp(word, "image");
    if (kind < 0)
        kr_fail(KR_EFORMAT, "the weights have no %s network under '%s'", word, prefix);
    else if (image ? kind > MWCNN : kind == MWCNN)
        kr_fail(KR_EREFUSED, "DIRECT's KIKI-Net has no %s network of the kind %s", word, words[kind]);
    else if (strcmp(said, words[kind]))
        kr_fail(KR_EFORMAT, "%s_model_architecture is %s, the weights have %s", word, said, words[kind]);
    else
        return kind;
    return -1;
}

static kr_node run(kr_graph *g, const kr_weights *w, const char *prefix, int kind, kr_node image)
{
    char name[96];
    kr_node x = lay_features(g, &image, 1);
    const kr_tensor *slope = NULL;
    switch (kind) {
    case UNET: return lay_image(g, unet(g, w, prefix, x, false));
    case NORM_UNET: snprintf(name, sizeof name, "%sunet2d.", prefix); return norm_unet(g, w, name, image);
    case MWCNN: return lay_image(g, mwcnn(g, w, prefix, x));
    case CONV: snprintf(name, sizeof name, "%sconv.", prefix); return lay_image(g, chain(g, w, name, x, 2, &slope));
    default: return lay_image(g, didn(g, w, prefix, x, 2));
    }
}

static int build(kr_graph *g, const kr_weights *all)
{
    static const char image_prefix[] = "image_model_list.0.", kspace_prefix[] = "kspace_model_list.0.model.";
    int at = net_which(all, kspace_prefix, keys, KINDS);
    kr_auto char *key = at < 0 ? NULL : kr_strf("%s%s", kspace_prefix, keys[at]);
    kr_scoped(weights) w = key ? net_weights(all, key) : NULL;
    int image = w ? kind_of(w, image_prefix, "image") : -1, kspace = image < 0 ? -1 : kind_of(w, kspace_prefix, "kspace");
    if (kspace < 0)
        return kr_error_code();
    long count = net_pairs(w, 10);
    if (count < 0)
        return kr_error_code();
    net_model m = net_model_of(g, all);
    bool normalise = net_number(w, "normalize", 0) != 0, owned = false;
    kr_node unit = normalise ? graph_input(g, "squared_scale", KR_NUMBERS, 1, false) : (kr_node){ -1 };
    kr_graph *one = graph_refused(g) ? NULL : kr_graph_new(0, g);
    kr_node k = normalise ? lay_unscale(g, m.y, unit) : m.y, x = k;
    if (one)
        graph_output(one, run(one, w, kspace_prefix, kspace, graph_input(one, "image", KR_IMAGE, 1, true)));
    for (long i = 0; i < count && one && !graph_refused(g); i++) {
        graph_segment(g);
        k = lay_each_of(g, &k, 1, &one, &owned);
        graph_name(g, k, 0, 1, "kspace_model_output_call%ld", i);
        x = run(g, w, image_prefix, image, model_adjoint(g, &m, k));
        graph_name(g, lay_features(g, &x, 1), 0, 1, "image_model_output_call%ld", i);
        k = model_forward(g, &m, x);
    }
    if (one && !owned)
        kr_graph_unref(&one);
    x = normalise ? lay_scale(g, x, unit) : x;
    graph_name(g, x, 0, 1, "image");
    graph_output(g, x);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { IMAGE, SCALES, KSPACE, CONVS, SIZES };
    static const net_size sizes[SIZES] = { { "image_mwcnn_hidden_channels", 16, 1, 512 }, { "image_mwcnn_num_scales", 4, 1, 8 }, { "kspace_conv_hidden_channels", 16, 1, 512 },
        { "kspace_conv_n_convs", 4, 2, 100 } };
    static const net_size didns[] = { { "kspace_didn_hidden_channels", 16, 1, 512 }, { "kspace_didn_num_dubs", 6, 1, 64 }, { "kspace_didn_num_convs_recon", 9, 1, 100 } };
    const char *kind = net_word(w, "kspace_model_architecture", "CONV");
    long n[SIZES], d[3];
    if (net_sizes(w, sizes, SIZES, n) || net_sizes(w, didns, 3, d))
        return kr_error_code();
    int e = mwcnn_fresh(w, seed, "image_model_list.0.", 2, n[IMAGE], n[SCALES]);
    if (!e && !strcmp(kind, "DIDN"))
        return didn_fresh(w, seed, "kspace_model_list.0.model.", 2, 2, d[0], d[1], d[2]);
    if (!e && strcmp(kind, "CONV"))
        return kr_fail(KR_EUSAGE, "kspace_model_architecture is '%s'; untrained networks are CONV or DIDN", kind);
    return e ? e : chain_fresh(w, seed, "kspace_model_list.0.model.conv.", 2, 2, n[KSPACE], n[CONVS], net_number(w, "kspace_conv_batchnorm", 0) != 0);
}

static int again(kr_weights *w) { return lists_again(w, "kspace_model_list.0.model.conv.", "image_model_list.", "kspace_model_list.", net_number(w, "num_iter", 10)); }

#define UNET_FACTS(word, list, under) \
    { word "_unet_num_filters", list under "down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, \
    { word "_unet_num_pool_layers", list under "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }
#define IMAGE "image_model_list.0."
#define KSPACE "kspace_model_list.0.model."
static const kr_fact facts[] = {
    { .key = "num_iter" }, { .key = "image_model_architecture" }, { .key = "kspace_model_architecture" }, { .key = "normalize" },
    UNET_FACTS("image", IMAGE, ""), UNET_FACTS("image", IMAGE, "unet2d."), UNET_FACTS("kspace", KSPACE, ""), UNET_FACTS("kspace", KSPACE, "unet2d."),
    { "image_mwcnn_hidden_channels", IMAGE "down.0.convblock0.net.0.weight", 0, NULL, NULL }, FACTS_MWCNN("image", IMAGE),
    { "kspace_didn_hidden_channels", KSPACE "conv_in.0.weight", 0, NULL, NULL },
    { "kspace_didn_num_dubs", KSPACE "dubs.%ld.down1.weight", KR_FACT_COUNT, NULL, NULL }, FACTS_CHAINS("kspace", KSPACE),
    { "kspace_conv_hidden_channels", KSPACE "conv.0.weight", 0, NULL, NULL },
    { .key = "image_unet_dropout_probability" }, { .key = "kspace_unet_dropout_probability" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_kikinet = { "kikinet", "KIKI-Net of DIRECT", "Eo et al., Magn Reson Med 80:2188 (2018)", matches, build, false, false, .around = "direct", .facts = facts,
    .fresh = fresh, .again = again,
    .small = "num_iter=2,image_mwcnn_hidden_channels=4,image_mwcnn_num_scales=3,kspace_conv_hidden_channels=4,kspace_conv_n_convs=3;"
             "num_iter=2,image_mwcnn_hidden_channels=3,image_mwcnn_num_scales=2,kspace_model_architecture=DIDN,kspace_didn_hidden_channels=3,kspace_didn_num_dubs=2,"
             "kspace_didn_num_convs_recon=2,normalize=true" };
