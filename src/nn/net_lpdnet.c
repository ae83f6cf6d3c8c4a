/* net_lpdnet.c: the Learned Primal-Dual network of DIRECT: images and data in turn, each with a memory of several, made anew by one network for all
 * iterations from the memory, what the model makes of the other, and (data) what was measured. On any model of the measurement. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };                                          /* images in a memory */

/* The block of one half: what kind of network, its keys, and how many images it gives; `extra`: how many it takes beside its memory. */
typedef struct half { const char *word; char prefix[64]; int kind; long images; } half;
enum { UNET, NORM_UNET, MWCNN, DIDN, CONV, KINDS };          /* a DIDN has the key of CONV, too */
static const char *const kinds[] = { "UNET", "NORMUNET", "MWCNN", "DIDN", "CONV" };
static const char *const first_key[] = { "down_sample_layers.0.layers.0.weight", "unet2d.down_sample_layers.0.layers.0.weight", "0.down.0.convblock0.net.0.weight",
                                         "conv_in.0.weight", "conv.0.weight" };

static int matches(const kr_weights *w)
{
    for (int k = 0; k < KINDS; k++) {
        kr_auto char *key = kr_strf("dual_net.0.dual_block.%s", first_key[k]);
        if (key && net_has(w, key))
            return 95;
    }
    return 0;
}

static bool half_of(half *h, const kr_weights *w, const char *word, long extra)
{
    char key[160];
    const kr_tensor *t = NULL;
    *h = (half){ .word = word };
    snprintf(h->prefix, sizeof h->prefix, "%s_net.0.%s_block.", word, word);
    for (h->kind = UNET; h->kind < KINDS && !t; h->kind += !t)
        t = net_maybe(w, "%s%s", h->prefix, first_key[h->kind]);
    if (!t)
        return kr_fail(KR_EFORMAT, "the weights have no %s network", word) == 0;
    snprintf(key, sizeof key, "%s_model_architecture", word);
    const char *said = net_word(w, key, kinds[h->kind]);
    h->images = t->dims == 4 ? t->n[1] / 2 - extra : 0;
    if (strcmp(said, kinds[h->kind]))
        return kr_fail(KR_EFORMAT, "%s is %s, the weights have %s", key, said, kinds[h->kind]) == 0;
    snprintf(key, sizeof key, "num_%s", word);
    if (t->dims != 4 || t->n[1] % 2 || h->images < 1 || h->images > MOST)
        return kr_fail(KR_ESHAPE, "the tensor '%s' takes %ld channels; 1 to %d images and %ld more, of two channels each, are possible", t->name, t->dims == 4 ? t->n[1] : 0, MOST, extra) == 0;
    if (net_number(w, key, h->images) != h->images)
        return kr_fail(KR_EFORMAT, "%s is %ld, the weights have %ld", key, net_number(w, key, 0), h->images) == 0;
    return true;
}

/* The new memory from the old one and the rest. */
static kr_node run_half(kr_graph *g, const kr_weights *w, const half *h, const kr_node *x, int count)
{
    kr_node f = lay_features(g, x, count);
    long outs = 2 * h->images;
    char standard[sizeof h->prefix + 8];
    snprintf(standard, sizeof standard, "%sunet2d.", h->prefix);
    switch (h->kind) {
    case UNET: f = unet_to(g, w, h->prefix, f, outs, false); break;
    case NORM_UNET: f = norm_unet_to(g, w, standard, f, outs); break;
    case CONV: {
        const kr_tensor *slope = NULL;
        snprintf(standard, sizeof standard, "%sconv.", h->prefix);
        f = chain(g, w, standard, f, outs, &slope);
        break;
    }
    case DIDN: f = didn(g, w, h->prefix, f, outs); break;
    default: {                                               /* MWCNN, and a convolution to the number of channels that is wanted */
        const kr_tensor *last = net_tensor(w, "%s1.weight", h->prefix), *bias = last ? net_tensor(w, "%s1.bias", h->prefix) : NULL;
        long all = graph_extent(g, f).chan;
        snprintf(standard, sizeof standard, "%s0.", h->prefix);
        f = bias && net_shape(last, outs, all, 1) ? mwcnn(g, w, standard, f) : graph_fail(g);
        f = lay_conv(g, &f, 1, last, bias, 1, KR_PAD_ZERO, KR_ACT_NONE, 0);
    }
    }
    return lay_stack(g, f);
}

/* All iterations share their networks; a file holds them once for each iteration, or once. */
static bool iterations(long *count, const kr_weights *w)
{
    char prefix[64];
    const kr_tensor *first = NULL;
    long n = 1;
    for (bool any = true; any; ) {
        any = false;
        snprintf(prefix, sizeof prefix, "dual_net.%ld.", n);
        for (long i = 0; i < w->count && !any; i++)
            any = !strncmp(w->tensor[i].name, prefix, strlen(prefix));
        n += any;
    }
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        const char *dot = strncmp(t->name, "dual_net.", 9) && strncmp(t->name, "primal_net.", 11) ? NULL : strchr(strchr(t->name, '.') + 1, '.');
        long it = dot ? strtol(strchr(t->name, '.') + 1, NULL, 10) : 0;
        if (!dot || it < 1)
            continue;
        first = net_maybe(w, "%.*s.0%s", (int)(strchr(t->name, '.') - t->name), t->name, dot);
        if (!first || it >= n || !net_equal(first, t))
            return kr_fail(KR_EFORMAT, "the tensor '%s' differs from that of iteration 0: the iterations of LPDNet share one network", t->name) == 0;
        *t->read = true;
    }
    *count = net_number(w, "num_iter", n);
    return (*count >= 1 && *count <= 1000 && (n == 1 || n == *count)) || kr_fail(KR_EFORMAT, "num_iter is %ld, the weights have %ld", *count, n) == 0;
}

static int build(kr_graph *g, const kr_weights *all)
{
    half dual, primal;
    long count = 0;
    kr_weights *under = NULL;
    for (int k = 0; k < KINDS && !under; k++) {
        kr_auto char *key = kr_strf("dual_net.0.dual_block.%s", first_key[k]);
        under = key && net_has(all, key) ? net_weights(all, key) : NULL;
    }
    kr_scoped(weights) w = under;
    if (!w || !half_of(&dual, w, "dual", 2) || !half_of(&primal, w, "primal", 1) || !iterations(&count, w))
        return kr_error_code();
    if (primal.kind == CONV || primal.kind == DIDN || dual.kind == MWCNN)
        return kr_fail(KR_EREFUSED, "DIRECT's LPDNet has no %s network of the kind %s", dual.kind == MWCNN ? "dual" : "primal", kinds[dual.kind == MWCNN ? MWCNN : primal.kind]);
    if (primal.images < 2)
        return kr_fail(KR_EREFUSED, "num_primal is 1: DIRECT's LPDNet projects the second of its images");
    net_model m = net_model_of(g, all);
    kr_node f = lay_repeat(g, model_adjoint(g, &m, m.y), primal.images), h = lay_repeat(g, m.y, dual.images);
    kr_graph *one = graph_refused(g) ? NULL : kr_graph_new(0, g);
    bool owned = false;
    kr_node in[3] = { { -1 } };
    if (one) {
        in[0] = graph_input(one, "memory", KR_COILS, dual.images, true);
        in[1] = graph_input(one, "projection", KR_IMAGE, 1, true);
        in[2] = graph_input(one, "measured", KR_IMAGE, 1, true);
        graph_output(one, run_half(one, w, &dual, in, 3));
    }
    for (long i = 0; i < count && one && !graph_refused(g); i++) {
        graph_segment(g);
        h = lay_each_of(g, (kr_node[]){ h, model_forward(g, &m, lay_pick_image(g, f, 1)), m.y }, 3, &one, &owned);
        graph_name(g, h, 0, 1, "dual_buffer_iter%ld", i);
        f = run_half(g, w, &primal, (kr_node[]){ f, model_adjoint(g, &m, lay_pick(g, h, 0, dual.images)) }, 2);
        graph_name(g, f, 0, 1, "primal_buffer_iter%ld", i);
    }
    if (one && !owned)
        kr_graph_unref(&one);
    kr_node x = lay_pick_image(g, f, 0);
    graph_name(g, x, 0, 1, "image");
    graph_output(g, x);
    return graph_refused(g);
}

/* Dual DIDN and primal MWCNN as DIRECT's preset, or U-Nets. */
static int fresh(kr_weights *w, uint64_t seed)
{
    enum { PRIMAL, DUAL, HIDDEN, SCALES, DIDN_HIDDEN, DUBS, CONVS, CONV_HIDDEN, N_CONVS, SIZES };
    static const net_size sizes[SIZES] = { { "num_primal", 5, 2, MOST }, { "num_dual", 5, 1, MOST }, { "primal_mwcnn_hidden_channels", 16, 1, 512 }, { "primal_mwcnn_num_scales", 4, 1, 8 },
        { "dual_didn_hidden_channels", 64, 1, 512 }, { "dual_didn_num_dubs", 6, 1, 64 }, { "dual_didn_num_convs_recon", 9, 1, 100 }, { "dual_conv_hidden_channels", 16, 1, 512 },
        { "dual_conv_n_convs", 4, 2, 100 } };
    static const char *const key[2] = { "primal", "dual" };
    long n[SIZES];
    int e = net_sizes(w, sizes, SIZES, n);
    e = e || net_word(w, "num_iter", NULL) ? e : kr_meta_set(w->meta, "hyper.num_iter", "25");
    for (int h = 0; h < 2 && !e; h++) {
        long outs = 2 * n[h], ins = outs + (h ? 4 : 2);
        kr_auto char *architecture = kr_strf("%s_model_architecture", key[h]), *prefix = kr_strf("%s_net.0.%s_block.", key[h], key[h]), *of_unet = kr_strf("%sunet2d.", prefix ? prefix : ""),
                     *of_conv = kr_strf("%sconv.", prefix ? prefix : ""), *mwcnn = kr_strf("%s0.", prefix ? prefix : ""), *filters = kr_strf("%s_unet_num_filters", key[h]),
                     *pools = kr_strf("%s_unet_num_pool_layers", key[h]);
        if (!architecture || !prefix || !of_unet || !of_conv || !mwcnn || !filters || !pools)
            return kr_error_code();
        const char *kind = net_word(w, architecture, h ? "DIDN" : "MWCNN");
        net_size u[2] = { { filters, 8, 1, 512 }, { pools, 4, 1, 8 } };
        long of[2];
        if (net_sizes(w, u, 2, of))
            return kr_error_code();
        if (!strcmp(kind, kinds[UNET]) || !strcmp(kind, kinds[NORM_UNET]))
            e = unet_fresh(w, seed, !strcmp(kind, kinds[UNET]) ? prefix : of_unet, ins, outs, of[0], of[1]);
        else if (!h && !strcmp(kind, kinds[MWCNN])) {
            e = mwcnn_fresh(w, seed, mwcnn, ins, n[HIDDEN], n[SCALES]);
            e = e ? e : net_fresh_conv(w, seed, 1, outs, ins, 1, "%s1.", prefix);
        } else if (h && !strcmp(kind, kinds[DIDN]))
            e = didn_fresh(w, seed, prefix, ins, outs, n[DIDN_HIDDEN], n[DUBS], n[CONVS]);
        else if (h && !strcmp(kind, kinds[CONV]))
            e = chain_fresh(w, seed, of_conv, ins, outs, n[CONV_HIDDEN], n[N_CONVS], net_number(w, "dual_conv_batchnorm", 0) != 0);
        else
            e = kr_fail(KR_EUSAGE, "%s is '%s'; %s are possible", architecture, kind, h ? "DIDN, CONV, UNET and NORMUNET" : "MWCNN, UNET and NORMUNET");
    }
    return e;
}

static int again(kr_weights *w) { return lists_again(w, "dual_net.0.dual_block.conv.", "dual_net.", "primal_net.", net_number(w, "num_iter", 1)); }

#define UNET_FACTS(word, under) \
    { word "_unet_num_filters", word "_net.0." word "_block." under "down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, \
    { word "_unet_num_pool_layers", word "_net.0." word "_block." under "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL }
static const kr_fact facts[] = {
    { .key = "num_iter" }, { .key = "num_primal" }, { .key = "num_dual" }, { .key = "primal_model_architecture" }, { .key = "dual_model_architecture" },
    UNET_FACTS("primal", ""), UNET_FACTS("primal", "unet2d."), UNET_FACTS("dual", ""), UNET_FACTS("dual", "unet2d."),
    { .key = "primal_unet_dropout_probability" }, { .key = "dual_unet_dropout_probability" },
    { "dual_conv_hidden_channels", "dual_net.0.dual_block.conv.0.weight", 0, NULL, NULL },
    { "primal_mwcnn_hidden_channels", "primal_net.0.primal_block.0.down.0.convblock0.net.0.weight", 0, NULL, NULL }, FACTS_MWCNN("primal", "primal_net.0.primal_block.0."),
    { "dual_didn_hidden_channels", "dual_net.0.dual_block.conv_in.0.weight", 0, NULL, NULL }, { "dual_didn_num_dubs", "dual_net.0.dual_block.dubs.%ld.down1.weight", KR_FACT_COUNT, NULL, NULL }, FACTS_CHAINS("dual", "dual_net.0.dual_block."), FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_lpdnet = { "lpdnet", "Learned Primal-Dual network of DIRECT", "Adler and Oktem, IEEE Trans Med Imaging 37:1322 (2018)",
    matches, build, false, false, .around = "direct", .facts = facts, .any_operator = true, .fresh = fresh, .again = again,
    .small = "num_iter=2,num_primal=2,num_dual=2,primal_mwcnn_hidden_channels=4,primal_mwcnn_num_scales=3,dual_didn_hidden_channels=3,dual_didn_num_dubs=2,dual_didn_num_convs_recon=2;"
             "num_iter=2,num_primal=2,num_dual=2,primal_model_architecture=NORMUNET,dual_model_architecture=CONV,primal_unet_num_filters=4,primal_unet_num_pool_layers=2,dual_conv_hidden_channels=4,dual_conv_n_convs=3" };
