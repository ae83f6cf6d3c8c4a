/* part_gru.c: DIRECT's Conv2dGRU, and the network that starts its states. */
#include "parts.h"
#include <stdio.h>

const kr_tensor *gru_tensor(const kr_weights *w, const char *prefix, const char *part, int i, const char *what)
{
    const kr_tensor *t = net_maybe(w, "%s%s.%d.1.%s", prefix, part, i, what);
    return t ? t : net_maybe(w, "%s%s.%d.0.%s", prefix, part, i, what);
}

bool gru_of(gru *r, const kr_weights *w, const char *given, long in)
{
    *r = (gru){ 0 };
    snprintf(r->prefix, sizeof r->prefix, "%sconvgru.", given);
    r->normalised = gru_tensor(w, r->prefix, "conv_blocks", 0, "weight");
    if (!r->normalised)
        snprintf(r->prefix, sizeof r->prefix, "%s", given);
    while (r->layers < GRU_LAYERS && gru_tensor(w, r->prefix, "reset_gates", r->layers, "weight"))
        r->layers++;
    const kr_tensor *first = gru_tensor(w, r->prefix, "conv_blocks", 0, "weight");
    if (!first || !r->layers)
        return kr_fail(KR_EFORMAT, "the weights have no convolutional GRU under '%s'", r->prefix) == 0;
    if (!net_shape(first, 0, in, 0))
        return false;
    if (r->normalised && in != 2)
        return kr_fail(KR_EREFUSED, "a normalised convolutional GRU of %ld channels ('%s') is not built", in, r->prefix) == 0;
    r->hidden = first->n[0];
    r->norm = net_maybe(w, "%sreset_gates.0.1.weight", r->prefix);
    for (int i = 1; i <= r->layers; i++) {                   /* channels (1 + min(i, d)) C tell d */
        const kr_tensor *t = gru_tensor(w, r->prefix, "conv_blocks", i, "weight");
        if (!t)
            return kr_fail(KR_EFORMAT, "the weights lack '%sconv_blocks.%d'", r->prefix, i) == 0;
        if (t->dims == 4 && t->n[1] / r->hidden - 1 > r->dense)
            r->dense = (int)(t->n[1] / r->hidden) - 1;
    }
    if (net_number(w, "dense_connect", r->dense) != r->dense)
        return kr_fail(KR_EFORMAT, "dense_connect is %s, the weights have %d", net_word(w, "dense_connect", ""), r->dense) == 0;
    return r->dense < 4 || kr_fail(KR_EFORMAT, "'%s' is connected more densely than to 3 earlier layers", r->prefix) == 0;
}

bool gru_alike(const gru *a, const gru *b) { return a->layers == b->layers && a->hidden == b->hidden && a->dense == b->dense; }

kr_node gru_step(kr_graph *g, const gru *r, const kr_weights *w, const kr_node *images, int count, kr_node *h, const char *word, long step)
{
    static const char *const gate[3] = { "update_gates", "reset_gates", "out_gates" };
    kr_node x = lay_features(g, images, count), moments, feature[GRU_LAYERS], y = x;
    graph_name(g, x, 0, 1, "%s_input_step%ld", word, step);
    if (r->normalised)
        x = lay_standard(g, &moments, images[0], 0, false);
    for (int i = 0; i <= r->layers && !graph_refused(g); i++) {
        kr_node read[KR_INS] = { x };
        int maps = 1;
        if (i && r->dense) {                                 /* the last d features, then x */
            int d = i < r->dense ? i : r->dense;
            for (maps = 0; maps < d; maps++)
                read[maps] = feature[i - d + maps];
            read[maps++] = x;
        }
        const kr_tensor *t = gru_tensor(w, r->prefix, "conv_blocks", i, "weight");
        if (!net_shape(t, i < r->layers ? r->hidden : 2, i ? maps * r->hidden : 0, 0))
            return graph_fail(g);
        /* Instance norms divide features by their deviation, which may be small: what was rounded before becomes large. */
        y = lay_conv(g, read, maps, t, gru_tensor(w, r->prefix, "conv_blocks", i, "bias"), i == 1 ? 2 : 1, KR_PAD_REPLICATE,
                     i < r->layers ? KR_ACT_RELU : KR_ACT_NONE, (r->norm && i < r->layers ? CONV_EXACT : 0) | CONV_NARROW);
        if (i == r->layers)
            break;
        const kr_tensor *ws[3], *bs[3];
        for (int k = 0; k < 3; k++) {
            ws[k] = gru_tensor(w, r->prefix, gate[k], i, "weight");
            bs[k] = gru_tensor(w, r->prefix, gate[k], i, "bias");
        }
        feature[i] = y;
        h[i] = lay_cell(g, &x, y, h[i], KR_CELL_GRU_DIRECT, ws, bs, (r->norm ? CONV_NORM : 0) | CONV_NARROW);
        graph_name(g, h[i], i, r->layers, "hidden_step%ld", step);
    }
    kr_node image = r->normalised ? lay_unstandard(g, y, moments, images[0]) : lay_image(g, y);
    graph_name(g, r->normalised ? lay_features(g, &image, 1) : y, 0, 1, "%s_output_step%ld", word, step);
    return image;
}

void gru_states(kr_graph *g, const gru *r, const kr_weights *w, const char *prefix, kr_node image, kr_node *h)
{
    long dilation[GRU_LAYERS] = { 1, 1, 2, 4, 1, 1, 1, 1 };
    kr_node feature[GRU_LAYERS], x = lay_features(g, &image, 1);
    int depth = 0, outs = 0, multiscale = 0;
    if (!gru_tensor(w, prefix, "conv_blocks", 0, "weight")) {
        for (int i = 0; i < r->layers; i++)
            h[i] = lay_zeros(g, image, r->hidden);
        return;
    }
    graph_name(g, x, 0, 1, "initializer_input");
    net_list(w, "initializer_dilations", "1 1 2 4", dilation, GRU_LAYERS);
    /* What reads k-space, whose numbers differ by thousands, keeps its products. */
    for (; depth < GRU_LAYERS && gru_tensor(w, prefix, "conv_blocks", depth, "weight") && !graph_refused(g); x = feature[depth++]) {
        const kr_tensor *t = gru_tensor(w, prefix, "conv_blocks", depth, "weight");
        feature[depth] = net_shape(t, 0, graph_extent(g, x).chan, 0)
            ? lay_conv(g, &x, 1, t, gru_tensor(w, prefix, "conv_blocks", depth, "bias"), (int)dilation[depth], KR_PAD_REPLICATE, KR_ACT_RELU, 0) : graph_fail(g);
    }
    for (; outs < GRU_LAYERS && gru_tensor(w, prefix, "out_blocks", outs, "weight") && !graph_refused(g); outs++) {
        const kr_tensor *t = gru_tensor(w, prefix, "out_blocks", outs, "weight");
        long in = t->dims == 4 ? t->n[1] : 0, sum = 0;
        int k = 0;
        while (k < depth && sum < in)                        /* how many of the last features are read: their channels tell */
            sum += graph_extent(g, feature[depth - 1 - k++]).chan;
        if (outs && multiscale != k)
            sum = -1;
        multiscale = k;
        if (!net_shape(t, r->hidden, 0, 1))
            graph_fail(g);
        else if (sum != in || k > 4) {
            kr_fail(KR_EFORMAT, "'%sout_blocks.%d' reads %ld channels, which no number of features gives", prefix, outs, in);
            graph_fail(g);
        } else if (outs < r->layers) {
            h[outs] = lay_conv(g, feature + depth - k, k, t, gru_tensor(w, prefix, "out_blocks", outs, "bias"), 1, KR_PAD_ZERO, KR_ACT_RELU, CONV_NARROW);
            graph_name(g, h[outs], outs, r->layers, "initializer_hidden");
        }
    }
    if (!graph_refused(g) && net_number(w, "initializer_multiscale", multiscale) != multiscale) {
        kr_fail(KR_EFORMAT, "initializer_multiscale is %s, the weights have %d", net_word(w, "initializer_multiscale", ""), multiscale);
        graph_fail(g);
    }
    if (!graph_refused(g) && outs != r->layers) {
        kr_fail(KR_EFORMAT, "the initialiser under '%s' starts %d states from %d features; the network has %d", prefix, outs, depth, r->layers);
        graph_fail(g);
    }
}

/* ---- Descent in k-space with a GRU as regulariser: the steps of RecurrentVarNet ---- */
bool descent_of(descent *d, const kr_weights *w)
{
    char prefix[64];
    for (d->blocks = 0; net_maybe(w, "block_list.%ld.learning_rate", d->blocks); d->blocks++) {
        if (d->blocks == DESCENT_STEPS)
            return kr_fail(KR_EREFUSED, "more than %d blocks", DESCENT_STEPS) == 0;
        gru *r = &d->r[d->blocks];
        snprintf(prefix, sizeof prefix, "block_list.%ld.regularizer.", d->blocks);
        if (!net_scalar(net_maybe(w, "block_list.%ld.learning_rate", d->blocks)) || !gru_of(r, w, prefix, 2))
            return false;
        if (!gru_alike(r, &d->r[0]))                         /* they hand on states */
            return kr_fail(KR_ESHAPE, "block %ld has other layers than the first", d->blocks) == 0;
    }
    return true;
}

kr_node descent_run(kr_graph *g, const descent *d, const kr_weights *w, long steps, kr_node y, kr_node mask, kr_node sens, kr_node first)
{
    kr_node k = y, h[GRU_LAYERS];
    char prefix[64];
    for (long b = steps; b < d->blocks; b++) {               /* steps that are not run */
        snprintf(prefix, sizeof prefix, "block_list.%ld.", b);
        net_left_out(w, prefix);
    }
    gru_states(g, &d->r[0], w, "initializer.", first, h);
    for (long t = 0; t < steps && !graph_refused(g); t++) {
        long b = d->blocks > 1 ? t : 0;
        graph_segment(g);
        kr_node x = net_adjoint(g, k, sens);
        x = gru_step(g, &d->r[b], w, &x, 1, h, "regularizer", t);
        k = lay_consistency(g, k, y, mask, net_forward(g, x, sens), net_tensor(w, "block_list.%ld.learning_rate", b), 1);
        graph_name(g, k, 0, 1, "kspace_step%ld", t);
    }
    return k;
}

int gru_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long hidden, long layers)
{
    static const char *const gate[] = { "reset_gates", "update_gates", "out_gates" };
    int e = 0;
    for (long i = 0; i <= layers && !e; i++)
        e = net_fresh_conv(w, seed, i < layers ? 2 : net_first(w) ? 0 : 0.1, i < layers ? hidden : 2, i ? hidden : ins, i ? 3 : 5, "%sconv_blocks.%ld.1.", prefix, i);
    e = e || !net_first(w) ? e : net_fresh_edges(w, "%sconv_blocks.0.1.weight", prefix);
    for (long k = 0; k < 3 * layers && !e; k++) {
        e = net_fresh(w, seed, 1, hidden, 2 * hidden, 1, "%s%s.%ld.0.weight", prefix, gate[k / layers], k % layers);
        e = e ? e : net_fresh_value(w, k < layers ? -1 : 0, hidden, "%s%s.%ld.0.bias", prefix, gate[k / layers], k % layers);      /* the old state counts little */
    }
    return e;
}

int gru_states_fresh(kr_weights *w, uint64_t seed, const char *prefix, long hidden, long layers)
{
    long channels[GRU_LAYERS];
    int e = 0, depth = net_list(w, "initializer_channels", "32 32 64 64", channels, GRU_LAYERS);
    for (int i = 0; i < depth; i++)
        if (channels[i] < 1 || channels[i] > 1024)
            return kr_fail(KR_EUSAGE, "initializer_channels are 1 to 1024 each, not %ld", channels[i]);
    for (int i = 0; i < depth && !e; i++)
        e = net_fresh_conv(w, seed, 2, channels[i], i ? channels[i - 1] : 2, 3, "%sconv_blocks.%d.1.", prefix, i);
    for (long i = 0; i < layers && !e; i++)
        e = net_fresh_conv(w, seed, 1, hidden, depth ? channels[depth - 1] : 2, 1, "%sout_blocks.%ld.0.", prefix, i);
    return e;
}

int descent_fresh(kr_weights *w, uint64_t seed, long multiple)
{
    enum { HIDDEN, LAYERS, STEPS, SIZES };
    static const net_size sizes[SIZES] = { { "recurrent_hidden_channels", 64, 1, 512 }, { "recurrent_num_layers", 4, 1, GRU_LAYERS - 1 }, { "num_steps", 8, 1, DESCENT_STEPS } };
    long n[SIZES];
    int e = net_sizes(w, sizes, SIZES, n);
    bool shared = net_number(w, "no_parameter_sharing", 1) == 0;
    e = e || !net_number(w, "learned_initializer", 1) ? e : gru_states_fresh(w, seed, "initializer.", n[HIDDEN], n[LAYERS]);
    for (long i = 0; i < (shared ? 1 : (n[STEPS] + multiple - 1) / multiple * multiple) && !e; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "block_list.%ld.regularizer.", i);
        e = net_fresh_value(w, 1, 1, "block_list.%ld.learning_rate", i);
        e = e ? e : gru_fresh(w, seed, prefix, 2, n[HIDDEN], n[LAYERS]);
    }
    return e;
}
