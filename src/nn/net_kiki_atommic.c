/* net_kiki_atommic.c: KIKI-Net of ATOMMIC: in turn a network on the k-space of each coil, all of whose output is kept, and one on the combined image, which is subtracted in k-space, with
 * soft data consistency by the k-space before; all iterations share both. Its NormUnets take whatever `padding_size` and `normalize` say. */
#include "parts.h"
#include <stdio.h>
#include <string.h>

enum { NORM_UNET, CONV, DIDN, KINDS };
static const char *const words[KINDS] = { "UNET|NORMUNET", "CONV", "DIDN" };
static const char *const keys[KINDS] = { "unet.down_sample_layers.0.layers.0.weight", "conv.0.weight", "conv_in.0.weight" };

/* DIRECT's has no dc_weight. */
static int matches(const kr_weights *w) { return net_which(w, "kspace_model_list.0.model.", keys, KINDS) >= 0 && net_has(w, "dc_weight") ? 97 : 0; }

/* The kind of network under a prefix, as "WORD_model_architecture" says, if it does. -1: a refusal. */
static int kind_of(const kr_weights *w, const char *prefix, const char *word)
{
    int kind = net_which(w, prefix, keys, KINDS);
    kr_auto char *key = kr_strf("%s_model_architecture", word);
    const char *said = key && kind >= 0 ? net_word(w, key, words[kind]) : "";
    bool image = !strcmp(word, "imspace");
    if (kind < 0 || (image && kind != NORM_UNET))
        kr_fail(KR_EFORMAT, "the weights have no network of the %s under '%s'%s", word, prefix, image ? ": a U-Net is wanted, since ATOMMIC's own class fails with any other (MWCNN)" : "");
    else if (strcmp(said, words[kind]) && (kind != NORM_UNET || (strcmp(said, "UNET") && strcmp(said, "NORMUNET"))) )
        kr_fail(KR_EFORMAT, "%s_model_architecture is %s, the weights have %s", word, said, words[kind]);
    else
        return kind;
    return -1;
}

static kr_node run(kr_graph *g, const kr_weights *w, const char *prefix, const char *word, int kind, kr_node image)
{
    char name[96];
    const kr_tensor *slope = NULL;
    snprintf(name, sizeof name, "%s_unet_padding_size", word);
    long bits = net_number(w, name, 15);
    snprintf(name, sizeof name, "%s_unet_normalize", word);
    bool normalise = net_number(w, name, 1) != 0;
    if (kind == NORM_UNET && (bits < 1 || bits > 4095)) {
        kr_fail(KR_EFORMAT, "%s_unet_padding_size is %ld", word, bits);
        return graph_fail(g);
    }
    switch (kind) {
    case NORM_UNET: snprintf(name, sizeof name, "%sunet.", prefix); return norm_unet_by(g, w, name, image, bits, normalise);
    case CONV: snprintf(name, sizeof name, "%sconv.", prefix); return lay_image(g, chain(g, w, name, lay_features(g, &image, 1), 2, &slope));
    default: return lay_image(g, didn(g, w, prefix, lay_features(g, &image, 1), 2));
    }
}

/* a - b of images */
static kr_node minus(kr_graph *g, kr_node a, kr_node b) { return lay_image(g, lay_plus(g, lay_features(g, &a, 1), lay_features(g, &b, 1), -1)); }

static int build(kr_graph *g, const kr_weights *all)
{
    static const char image_prefix[] = "image_model_list.0.", kspace_prefix[] = "kspace_model_list.0.model.";
    int at = net_which(all, kspace_prefix, keys, KINDS);
    kr_auto char *key = at < 0 ? NULL : kr_strf("%s%s", kspace_prefix, keys[at]);
    kr_scoped(weights) w = key ? net_weights(all, key) : NULL;
    atommic in;
    int image = w ? kind_of(w, image_prefix, "imspace") : -1, kspace = image < 0 ? -1 : kind_of(w, kspace_prefix, "kspace");
    if (kspace < 0 || atommic_of(&in, g, w))
        return kr_error_code();
    long count = net_pairs(w, 2);
    const kr_tensor *dc = net_tensor(w, "dc_weight");
    if (count < 0 || !net_scalar(dc))
        return kr_error_code();
    bool no_dc = net_number(w, "no_dc", 0) != 0, owned = false;
    kr_graph *one = graph_refused(g) ? NULL : kr_graph_new(0, g);
    kr_node k = in.y, x = in.y, unit = graph_input(g, "kspace_unit", KR_NUMBERS, 1, false);
    if (one)
        graph_output(one, run(one, w, kspace_prefix, "kspace", kspace, graph_input(one, "image", KR_IMAGE, 1, true)));
    for (long i = 0; i < count && one && !graph_refused(g); i++) {
        graph_segment(g);
        kr_node scaled = lay_scale(g, k, unit), made = lay_unscale(g, lay_each_of(g, &scaled, 1, &one, &owned), unit);
        graph_name(g, made, 0, 1, "kspace_model_output_call%ld", i);
        kr_node combined = net_adjoint(g, made, in.sens);
        x = run(g, w, image_prefix, "imspace", image, combined);
        graph_name(g, lay_features(g, &x, 1), 0, 1, "image_model_output_call%ld", i);
        /* S^H F^-1 (made - w M (k - y) - F S x): the transform of k - w M (k - y) - F S x, without that of k and with that of `made` */
        if (!no_dc)
            x = lay_add(g, combined, minus(g, net_adjoint(g, lay_consistency(g, k, in.y, in.mask, net_forward(g, x, in.sens), dc, -1), in.sens), net_adjoint(g, k, in.sens)));
        if (i + 1 < count)
            k = net_forward(g, x, in.sens);
    }
    if (one && !owned)
        kr_graph_unref(&one);
    graph_name(g, x, 0, 1, "image");
    graph_output(g, x);
    return graph_refused(g);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { KSPACE, CONVS, SIZES };
    static const net_size sizes[SIZES] = { { "kspace_conv_hidden_channels", 16, 1, 512 }, { "kspace_conv_n_convs", 4, 2, 100 } };
    static const net_size unets[] = { { "imspace_unet_num_filters", 16, 1, 512 }, { "imspace_unet_num_pool_layers", 2, 1, 8 }, { "kspace_unet_num_filters", 16, 1, 512 },
        { "kspace_unet_num_pool_layers", 2, 1, 8 } };
    static const net_size didns[] = { { "kspace_didn_hidden_channels", 16, 1, 512 }, { "kspace_didn_num_dubs", 6, 1, 64 }, { "kspace_didn_num_convs_recon", 9, 1, 100 } };
    const char *kspace = net_word(w, "kspace_model_architecture", "UNET"), *at = "kspace_model_list.0.model.";
    long n[SIZES], u[4], d[3];
    if (net_sizes(w, sizes, SIZES, n) || net_sizes(w, unets, 4, u) || net_sizes(w, didns, 3, d))
        return kr_error_code();
    const char *image = net_word(w, "imspace_model_architecture", "UNET");
    int e = strcmp(image, "UNET") ? kr_fail(KR_EUSAGE, "imspace_model_architecture is '%s'; UNET is built", image) : unet_fresh(w, seed, "image_model_list.0.unet.", 2, 2, u[0], u[1]);
    if (!e)
        e = !strcmp(kspace, "UNET") ? unet_fresh(w, seed, "kspace_model_list.0.model.unet.", 2, 2, u[2], u[3]) : !strcmp(kspace, "DIDN") ? didn_fresh(w, seed, at, 2, 2, d[0], d[1], d[2])
          : !strcmp(kspace, "CONV") ? chain_fresh(w, seed, "kspace_model_list.0.model.conv.", 2, 2, n[KSPACE], n[CONVS], net_number(w, "kspace_conv_batchnorm", 0) != 0)
          : kr_fail(KR_EUSAGE, "kspace_model_architecture is '%s'; UNET, CONV and DIDN are built", kspace);
    e = e ? e : net_fresh_value(w, 1, 1, "dc_weight");
    return e ? e : atommic_fresh(w, seed);
}

static int again(kr_weights *w) { return lists_again(w, "kspace_model_list.0.model.conv.", "image_model_list.", "kspace_model_list.", net_number(w, "num_iter", 2)); }

#define UNET_FACTS(word, list) \
    { word "_unet_num_filters", list "unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, \
    { word "_unet_num_pool_layers", list "unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }, \
    { .key = word "_unet_dropout_probability" }, { .key = word "_unet_padding_size" }, { .key = word "_unet_normalize" }, { .key = word "_in_channels", .words = "2" }, \
    { .key = word "_out_channels", .words = "2" }
#define IMAGE "image_model_list.0."
#define KSPACE "kspace_model_list.0.model."
static const kr_fact facts[] = {
    { .key = "num_iter" }, { .key = "imspace_model_architecture" }, { .key = "kspace_model_architecture" }, { .key = "no_dc" }, UNET_FACTS("imspace", IMAGE), UNET_FACTS("kspace", KSPACE),
    { "kspace_didn_hidden_channels", KSPACE "conv_in.0.weight", 0, NULL, NULL },
    { "kspace_didn_num_dubs", KSPACE "dubs.%ld.down1.weight", KR_FACT_COUNT, NULL, NULL }, FACTS_CHAINS("kspace", KSPACE),
    { "kspace_conv_hidden_channels", KSPACE "conv.0.weight", 0, NULL, NULL }, FACTS_ATOMMIC, { .key = NULL } };

const kr_net_kind kr_net_kiki_atommic = { "kiki_atommic", "KIKI-Net of ATOMMIC", "Eo et al., Magn Reson Med 80:2188 (2018)", matches, build, false, false, .around = "atommic", .maps_too = true,
    .facts = facts, .fresh = fresh, .again = again,
    .small = "num_iter=2,imspace_unet_num_filters=4,imspace_unet_num_pool_layers=2,kspace_unet_num_filters=4,kspace_unet_num_pool_layers=2,imspace_unet_padding_size=11,kspace_unet_padding_size=11;"
             "num_iter=2,imspace_unet_num_filters=4,imspace_unet_num_pool_layers=2,imspace_unet_normalize=false,kspace_model_architecture=CONV,kspace_conv_hidden_channels=4,kspace_conv_n_convs=3;"
             "num_iter=3,imspace_unet_num_filters=3,imspace_unet_num_pool_layers=2,kspace_model_architecture=DIDN,kspace_didn_hidden_channels=3,kspace_didn_num_dubs=2,kspace_didn_num_convs_recon=2" };
