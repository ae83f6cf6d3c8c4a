/* part_didn.c: the networks MWCNN (multi-level wavelet CNN) and DIDN (iterative down-up) as DIRECT builds them. */
#include "parts.h"
#include <stdio.h>

enum { SCALES = 8, DUBS = 64 };

/* ---- MWCNN ---- */
/* Convolution at `prefix`N. and the batch norm behind it, if there is one; then ReLU. */
static kr_node conv_relu(kr_graph *g, const kr_weights *w, const char *prefix, int *n, kr_node x, long outs, int dilation)
{
    char name[256];
    const kr_tensor *t = net_tensor(w, "%s%d.weight", prefix, *n), *bias = t ? net_maybe(w, "%s%d.bias", prefix, *n) : NULL;
    snprintf(name, sizeof name, "%s%d.", prefix, *n + 1);
    bool batch = net_maybe(w, "%srunning_mean", name);
    *n += batch ? 3 : 2;
    if (!net_shape(t, outs, graph_extent(g, x).chan, 3))
        return graph_fail(g);
    x = lay_conv(g, &x, 1, t, bias, dilation, KR_PAD_ZERO, batch ? KR_ACT_NONE : KR_ACT_RELU, 0);
    return batch ? lay_act(g, batch_norm(g, w, name, x, 10000), LAY_RELU) : x;
}

/* One scale: a convolution and two dilated ones, or (up) these two and a convolution. */
static kr_node scale(kr_graph *g, const kr_weights *w, const char *prefix, int level, bool up, int scales, kr_node x, long outs)
{
    bool last = level == scales - 1;
    int at = up ? scales - 1 - level : level, name = up ? at - 1 : at, first = !last ? 2 : up ? 3 : 2, second = !last ? 1 : up ? 2 : 3, n;
    char dilated[256], plain[256];
    snprintf(dilated, sizeof dilated, "%s%s.%d.%sdilconvblock%d.net.", prefix, up ? "up" : "down", at, up ? "inv" : "", name);
    snprintf(plain, sizeof plain, "%s%s.%d.%sconvblock%d.net.", prefix, up ? "up" : "down", at, up ? "inv" : "", name);
    x = up || graph_refused(g) ? x : conv_relu(g, w, plain, (n = 0, &n), x, outs, 1);
    n = 0;
    for (int i = 0; i < 2 && !graph_refused(g); i++)
        x = conv_relu(g, w, dilated, &n, x, graph_extent(g, x).chan, i ? second : first);
    return up && !graph_refused(g) ? conv_relu(g, w, plain, (n = 0, &n), x, outs, 1) : x;
}

kr_node mwcnn(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x)
{
    kr_node kept[SCALES], given = x;
    long channels = graph_extent(g, x).chan;
    bool turned = net_turned(w);
    int scales = 0;
    while (scales < SCALES && net_maybe(w, "%sdown.%d.convblock%d.net.0.weight", prefix, scales, scales))
        scales++;
    if (!scales || net_maybe(w, "%sdown.%d.convblock%d.net.0.weight", prefix, scales, scales)) {
        kr_fail(KR_EFORMAT, "the weights have %s scales of an MWCNN under '%s'", scales ? "more than 8" : "no", prefix);
        return graph_fail(g);
    }
    x = lay_even(g, x);
    for (int i = 0; i < scales && !graph_refused(g); i++) {
        x = scale(g, w, prefix, i, false, scales, i ? lay_haar(g, x, turned) : x, 0);
        if (i < scales - 1 || !i)
            x = kept[i] = lay_even(g, x);
    }
    for (int i = scales - 1; i > 0 && !graph_refused(g); i--) {
        x = scale(g, w, prefix, i, true, scales, x, 4 * graph_extent(g, kept[i - 1]).chan);
        x = lay_plus(g, kept[i - 1], lay_crop(g, lay_unhaar(g, x, turned), kept[i - 1]), 1);
    }
    return graph_refused(g) ? graph_fail(g) : lay_crop(g, scale(g, w, prefix, 0, true, scales, x, channels), given);
}

/* ---- DIDN ---- */
static kr_node conv(kr_graph *g, const kr_weights *w, const char *prefix, const char *part, kr_node x, long outs, long k)
{
    const kr_tensor *t = graph_refused(g) ? NULL : net_tensor(w, "%s%s.weight", prefix, part), *bias = t ? net_tensor(w, "%s%s.bias", prefix, part) : NULL;
    if (!bias || !net_shape(t, outs, graph_extent(g, x).chan, k))
        return graph_fail(g);
    return lay_conv(g, &x, 1, t, bias, 1, KR_PAD_ZERO, KR_ACT_NONE, 0);
}

/* Convolution .0 and PReLU .1; where they stand twice, as .2 and .3 too, they are the same ones. */
static kr_node conv_prelu(kr_graph *g, const kr_weights *w, const char *prefix, const char *part, kr_node x, int times)
{
    char name[64];
    long outs = graph_extent(g, x).chan;
    for (int i = 0; i < times && !graph_refused(g); i++) {
        snprintf(name, sizeof name, "%s.0", part);
        x = conv(g, w, prefix, name, x, i || times > 1 ? outs : 0, 3);
        x = lay_prelu(g, x, graph_refused(g) ? NULL : net_tensor(w, "%s%s.1.weight", prefix, part));
    }
    static const char *const key[3] = { "weight", "bias", "weight" };
    for (int i = 0; i < 3 && times > 1 && !graph_refused(g); i++) {
        const kr_tensor *one = net_tensor(w, "%s%s.%d.%s", prefix, part, i / 2, key[i]), *two = one ? net_tensor(w, "%s%s.%d.%s", prefix, part, 2 + i / 2, key[i]) : NULL;
        if (!two)
            return graph_fail(g);
        if (!net_equal(one, two)) {
            kr_fail(KR_EFORMAT, "the tensors '%s' and '%s' differ: they are one module", one->name, two->name);
            return graph_fail(g);
        }
    }
    return x;
}

/* To half the size, and (by PixelShuffle) to twice that of x, cropped to that of `like`. */
static kr_node down(kr_graph *g, const kr_weights *w, const char *prefix, const char *part, kr_node x, long outs) { return lay_second(g, conv(g, w, prefix, part, x, outs, 3)); }
static kr_node up(kr_graph *g, const kr_weights *w, const char *prefix, const char *part, kr_node x, long outs, kr_node like)
{
    return lay_crop(g, lay_shuffle(g, conv(g, w, prefix, part, x, 4 * outs, 1), net_turned(w)), like);
}

static kr_node dub(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x)
{
    long c = graph_extent(g, x).chan;
    kr_node x1 = lay_even(g, x);
    x1 = lay_plus(g, x1, conv_prelu(g, w, prefix, "conv1_1", x1, 2), 1);
    kr_node x2 = down(g, w, prefix, "down1", x1, 2 * c);
    x2 = lay_plus(g, x2, conv_prelu(g, w, prefix, "conv2_1", x2, 1), 1);
    kr_node y = down(g, w, prefix, "down2", x2, 4 * c);
    y = lay_plus(g, y, conv_prelu(g, w, prefix, "conv3_1", y, 1), 1);
    y = lay_concat(g, x2, up(g, w, prefix, "up1.0.conv", y, 2 * c, x2));
    y = conv(g, w, prefix, "conv_agg_1", y, 2 * c, 1);
    y = lay_plus(g, y, conv_prelu(g, w, prefix, "conv2_2", y, 1), 1);
    y = lay_concat(g, x1, up(g, w, prefix, "up2.0.conv", y, c, x1));
    y = conv(g, w, prefix, "conv_agg_2", y, c, 1);
    y = lay_plus(g, y, conv_prelu(g, w, prefix, "conv1_2", y, 2), 1);
    return lay_plus(g, x, lay_crop(g, conv_prelu(g, w, prefix, "conv_out", y, 1), x), 1);
}

/* x + convolutions of it, with PReLU between them. */
static kr_node recon_block(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x)
{
    long c = graph_extent(g, x).chan;
    char name[64];
    kr_node y = x;
    int n = 0;
    for (; !graph_refused(g) && net_maybe(w, "%srecon_block.convs.%d.1.weight", prefix, n); n++) {
        snprintf(name, sizeof name, "recon_block.convs.%d", n);
        y = conv_prelu(g, w, prefix, name, y, 1);
    }
    snprintf(name, sizeof name, "recon_block.convs.%d", n);
    return lay_plus(g, x, conv(g, w, prefix, name, y, c, 3), 1);
}

kr_node didn(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs)
{
    char name[256];
    kr_node all = { -1 }, y = conv_prelu(g, w, prefix, "conv_in", x, 1);
    long c = graph_refused(g) ? 0 : graph_extent(g, y).chan;
    y = down(g, w, prefix, "down", y, c);
    if (!graph_refused(g) && !net_maybe(w, "%sdubs.0.down1.weight", prefix)) {
        kr_fail(KR_EFORMAT, "the weights lack the tensor '%sdubs.0.down1.weight'", prefix);
        return graph_fail(g);
    }
    for (int i = 0; !graph_refused(g) && net_maybe(w, "%sdubs.%d.down1.weight", prefix, i); i++) {
        snprintf(name, sizeof name, "%sdubs.%d.", prefix, i);
        y = dub(g, w, name, y);
        kr_node r = recon_block(g, w, prefix, y);
        all = i ? lay_concat(g, all, r) : r;
    }
    y = conv(g, w, prefix, "recon_agg", all, c, 1);
    y = conv_prelu(g, w, prefix, "conv", y, 1);
    y = lay_shuffle(g, conv(g, w, prefix, "up2.conv", y, 4 * c, 1), net_turned(w));
    return lay_crop(g, conv(g, w, prefix, "conv_out", y, outs, 3), x);
}

/* ---- Untrained ---- */
int mwcnn_fresh(kr_weights *w, uint64_t seed, const char *prefix, long channels, long hidden, long scales)
{
    int e = 0;
    for (long s = 0; s < 2 * scales && !e; s++) {
        bool back = s >= scales;
        long level = back ? 2 * scales - 1 - s : s, at = back ? s - scales : s, c = hidden << level, in = level ? 2 * c : channels;
        for (int i = 0; i < 3 && !e; i++) {
            bool single = back ? i == 2 : i == 0;
            long outs = single && back ? (level ? 4 * (c / 2) : channels) : c;
            e = net_fresh_conv(w, seed, 2, outs, single && !back ? in : c, 3, "%s%s.%ld.%s%sconvblock%ld.net.%d.", prefix, back ? "up" : "down", at, back ? "inv" : "", single ? "" : "dil", back ? at - 1 : at,
                     single ? 0 : 2 * (i - !back));
        }
    }
    return e;
}

static int fresh_prelu(kr_weights *w, uint64_t seed, const char *prefix, const char *part, long outs, long ins, int times)
{
    int e = 0;
    for (int i = 0; i < times && !e; i++) {
        e = i ? 0 : net_fresh_conv(w, seed, 1.5, outs, ins, 3, "%s%s.%d.", prefix, part, 2 * i);
        for (int k = 0; k < 2 && i && !e; k++) {             /* the same numbers again */
            kr_auto char *from = kr_strf("%s%s.0.%s", prefix, part, k ? "bias" : "weight"), *to = kr_strf("%s%s.%d.%s", prefix, part, 2 * i, k ? "bias" : "weight");
            const long n[4] = { outs, ins, 3, 3 };
            kr_tensor *two = from && to ? kr_weights_add(w, to, k ? 1 : 4, n) : NULL;
            const kr_tensor *one = two ? net_tensor(w, "%s", from) : NULL;
            for (long q = 0; one && q < kr_tensor_count(one); q++)
                two->data[q] = one->data[q];
            e = one ? 0 : kr_error_code();
        }
        e = e ? e : net_fresh_value(w, 0.25, 1, "%s%s.%d.weight", prefix, part, 2 * i + 1);
    }
    return e;
}

int didn_fresh(kr_weights *w, uint64_t seed, const char *prefix, long channels, long outs, long c, long dubs, long convs)
{
    char name[256];
    int e = fresh_prelu(w, seed, prefix, "conv_in", c, channels, 1);
    e = e ? e : net_fresh_conv(w, seed, 1, c, c, 3, "%sdown.", prefix);
    for (long i = 0; i < dubs && !e; i++) {
        snprintf(name, sizeof name, "%sdubs.%ld.", prefix, i);
        e = fresh_prelu(w, seed, name, "conv1_1", c, c, 2);
        e = e ? e : net_fresh_conv(w, seed, 1, 2 * c, c, 3, "%sdown1.", name);
        e = e ? e : fresh_prelu(w, seed, name, "conv2_1", 2 * c, 2 * c, 1);
        e = e ? e : net_fresh_conv(w, seed, 1, 4 * c, 2 * c, 3, "%sdown2.", name);
        e = e ? e : fresh_prelu(w, seed, name, "conv3_1", 4 * c, 4 * c, 1);
        e = e ? e : net_fresh_conv(w, seed, 1, 8 * c, 4 * c, 1, "%sup1.0.conv.", name);
        e = e ? e : net_fresh_conv(w, seed, 1, 2 * c, 4 * c, 1, "%sconv_agg_1.", name);
        e = e ? e : fresh_prelu(w, seed, name, "conv2_2", 2 * c, 2 * c, 1);
        e = e ? e : net_fresh_conv(w, seed, 1, 4 * c, 2 * c, 1, "%sup2.0.conv.", name);
        e = e ? e : net_fresh_conv(w, seed, 1, c, 2 * c, 1, "%sconv_agg_2.", name);
        e = e ? e : fresh_prelu(w, seed, name, "conv1_2", c, c, 2);
        e = e ? e : fresh_prelu(w, seed, name, "conv_out", c, c, 1);
    }
    for (long i = 0; i < convs && !e; i++) {
        snprintf(name, sizeof name, "recon_block.convs.%ld", i);
        e = i < convs - 1 ? fresh_prelu(w, seed, prefix, name, c, c, 1) : net_fresh_conv(w, seed, 1, c, c, 3, "%s%s.", prefix, name);
    }
    e = e ? e : net_fresh_conv(w, seed, 1, c, dubs * c, 1, "%srecon_agg.", prefix);
    e = e ? e : fresh_prelu(w, seed, prefix, "conv", c, c, 1);
    e = e ? e : net_fresh_conv(w, seed, 1, 4 * c, c, 1, "%sup2.conv.", prefix);
    return e ? e : net_fresh_conv(w, seed, 1, outs, c, 3, "%sconv_out.", prefix);
}
