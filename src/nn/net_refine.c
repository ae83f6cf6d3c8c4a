/* net_refine.c: Kray's own network: a classical image made better. Each cascade is a U-Net without biases and norms, so that an image twice as
 * strong comes out twice as strong, on the image, the image that it all began with, its distance from the data and the noise of the samples;
 * then data consistency by conjugate gradients, looser where there is more noise. The last features go on to the next cascade. With the last
 * layers at 0 it gives back the image that it began with, made consistent with the data. */
#include "parts.h"
#include <math.h>
#include <stdio.h>

enum { POOLS = 6, CASCADES = 32 };

static int matches(const kr_weights *w) { return net_has(w, "cascades.0.consistency") && net_has(w, "cascades.0.down.0.0.weight") ? 95 : 0; }

/* Two convolutions, from images or features to features. */
static kr_node two(kr_graph *g, const kr_weights *w, const char *prefix, const kr_node *x, int ins)
{
    kr_node y = { -1 };
    for (int i = 0; i < 2; i++) {
        const kr_tensor *t = net_tensor(w, "%s%d.weight", prefix, i);
        y = lay_conv(g, i ? &y : x, i ? 1 : ins, t, NULL, 1, KR_PAD_ZERO, KR_ACT_LEAKY, 0);
    }
    return y;
}

kr_node refine_correction(kr_graph *g, const kr_weights *w, long cascade, kr_node x, kr_node *memory)
{
    char prefix[64];
    kr_node skip[POOLS], in[2] = { x, *memory };
    int pools = 0;
    while (pools < POOLS && net_maybe(w, "cascades.%ld.down.%d.0.weight", cascade, pools))
        pools++;
    for (int i = 0; i < pools; i++) {
        snprintf(prefix, sizeof prefix, "cascades.%ld.down.%d.", cascade, i);
        skip[i] = two(g, w, prefix, in, !i && memory->at >= 0 ? 2 : 1);
        in[0] = lay_pool(g, skip[i]);
    }
    snprintf(prefix, sizeof prefix, "cascades.%ld.bottom.", cascade);
    x = two(g, w, prefix, in, 1);
    for (int i = pools - 1; i >= 0 && !graph_refused(g); i--) {
        kr_node both[2] = { lay_up_linear(g, x, skip[i], net_tensor(w, "cascades.%ld.up.%d.transposed.weight", cascade, i)), skip[i] };
        snprintf(prefix, sizeof prefix, "cascades.%ld.up.%d.", cascade, i);
        x = two(g, w, prefix, both, 2);
    }
    *memory = x;
    return lay_image(g, lay_conv(g, &x, 1, net_tensor(w, "cascades.%ld.last.weight", cascade), NULL, 1, KR_PAD_ZERO, KR_ACT_NONE, 0));
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "cascades.0.consistency");
    long digits = w ? net_number(w, "digits", 4) : 0;
    if (!w)
        return kr_error_code();
    if (digits < 2 || digits > 7)
        return kr_fail(KR_EFORMAT, "data consistency to %ld digits; 2 to 7 are possible", digits);
    kr_node start = graph_input(g, "start", KR_IMAGE, 1, true), b = graph_input(g, "adjoint", KR_IMAGE, 1, true), sens = graph_input(g, "sens", KR_COILS, 0, true);
    kr_node mask = graph_input(g, "mask", KR_REAL, 1, true), noise = graph_input(g, "noise", KR_REAL, 1, true), x = start, memory = { -1 };
    for (long i = 0; net_maybe(w, "cascades.%ld.consistency", i) && !graph_refused(g); i++) {
        graph_segment(g);
        kr_node images[4] = { x, start, lay_misfit(g, b, x, sens, mask), noise };
        kr_node z = lay_add(g, x, refine_correction(g, w, i, lay_features(g, images, 4), &memory));
        graph_name(g, z, 0, 1, "corrected%ld", i);
        x = lay_cg(g, b, z, sens, mask, &noise, net_tensor(w, "cascades.%ld.consistency", i), digits);
        graph_name(g, x, 0, 1, "consistent%ld", i);
        graph_output(g, x);
    }
    return graph_refused(g);
}

/* ---- Untrained ---- */
enum { IMAGES = 7 };                 /* channels: three complex images and the noise */

/* The variance of features stays: 2 / (1 + 0.2^2) before leaky ReLU. */
static int fresh_two(kr_weights *w, uint64_t seed, const char *prefix, long in, long out)
{
    int e = net_fresh(w, seed, 2 / 1.04, out, in, 3, "%s0.weight", prefix);
    return e ? e : net_fresh(w, seed, 2 / 1.04, out, out, 3, "%s1.weight", prefix);
}

int refine_fresh(kr_weights *w, uint64_t seed, long cascade, long ins)
{
    long channels = net_number(w, "channels", 16), pools = net_number(w, "pools", 3), c = cascade;
    char name[96];
    int e = channels < 1 || channels > 512 || pools < 1 || pools > POOLS
          ? kr_fail(KR_EUSAGE, "1 to 512 channels and 1 to %d pools are possible, not %ld and %ld", POOLS, channels, pools) : 0;
    for (int i = 0; i <= pools && !e; i++) {
        long wide = channels << i, in = i ? wide / 2 : ins + (c ? channels : 0);
        if (i < pools)
            snprintf(name, sizeof name, "cascades.%ld.down.%d.", c, i);
        else
            snprintf(name, sizeof name, "cascades.%ld.bottom.", c);
        e = fresh_two(w, seed, name, in, wide);
    }
    for (long i = pools - 1; i >= 0 && !e; i--) {
        long wide = channels << i;
        e = net_fresh(w, seed, 2, 2 * wide, wide, 2, "cascades.%ld.up.%ld.transposed.weight", c, i);
        snprintf(name, sizeof name, "cascades.%ld.up.%ld.", c, i);
        e = e ? e : fresh_two(w, seed, name, 2 * wide, wide);
    }
    return e ? e : net_fresh(w, seed, 0, 2, channels, 1, "cascades.%ld.last.weight", c);
}

static int fresh(kr_weights *w, uint64_t seed)
{
    long cascades = net_number(w, "cascades", 3);
    if (cascades < 1 || cascades > CASCADES)
        return kr_fail(KR_EUSAGE, "1 to %d cascades are possible, not %ld", CASCADES, cascades);
    char name[96];
    int e = 0;
    for (long c = 0; c < cascades && !e; c++) {
        e = refine_fresh(w, seed, c, IMAGES);
        snprintf(name, sizeof name, "cascades.%ld.consistency", c);
        kr_tensor *t = e ? NULL : kr_weights_add(w, name, 1, (long[]){ 2 });
        if (!t)
            return kr_error_code();
        t->data[0] = 3.4f;                                   /* w = 30 times the noise, in units of the image */
        t->data[1] = 1;
    }
    return e;
}

static const kr_fact facts[] = {
    { "cascades", "cascades.%ld.consistency", KR_FACT_COUNT, NULL, NULL },
    { "channels", "cascades.0.down.0.0.weight", 0, NULL, NULL },
    { "pools", "cascades.0.down.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "digits" }, { .key = NULL } };

const kr_net_kind kr_net_refine = { "refine", "refinement of the l1-wavelet image by U-Nets and data consistency",
    "Aggarwal et al., IEEE Trans Med Imaging 38:394 (2019); Mohan et al., ICLR 2020, arXiv:1906.05478", matches, build, false, false,
    .around = "kray", .facts = facts, .own_axes = true, .refines = true, .fresh = fresh, .small = "cascades=2,channels=4,pools=2,digits=6" };
