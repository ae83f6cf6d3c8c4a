/* net_fourierpd.c: Fourier-PD and Fourier-PDUNet: k-space and image in turn, each with a memory of several complex ones, by complex convolutions; the phase of the image is kept, as MR
 * thermometry wants it. The block of k-space is circular along the phase encodes and takes the nearest value along the readout; that of the image is of convolutions or a U-Net. As
 * NCC1701 has them (CReLU; primal complex); k-space there is of one coil: here of each, by the same block, and the image is combined by the maps. */
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 64 };                                          /* images in a memory */
static const char first[] = "dual_blocks.0.diff_weight";

static int matches(const kr_weights *w)
{
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        size_t n = strlen(t->name), m = sizeof first - 1;
        if (n >= m && !strcmp(t->name + n - m, first) && t->dims == 5 && t->n[4] == 2 && net_has(w, "primal_blocks.0.diff_weight"))
            return 97;
    }
    return 0;
}

/* The edges of the published rows (readout) and columns (phase encodes), where images have their axes exchanged, too. */
static enum lay_edge rows(const kr_weights *w, enum lay_edge readout, enum lay_edge encodes) { return net_turned(w) ? encodes : readout; }
static enum lay_edge columns(const kr_weights *w, enum lay_edge readout, enum lay_edge encodes) { return net_turned(w) ? readout : encodes; }

/* h + w conv(cat[h, F S mean f, y]) of one coil, as stacks of images. */
static kr_graph *dual(kr_graph *g, const kr_weights *w, const char *prefix, long images)
{
    kr_graph *one = kr_graph_new(0, g);
    if (!one)
        return NULL;
    kr_node in[3] = { graph_input(one, "memory", KR_COILS, images, true), graph_input(one, "projection", KR_IMAGE, 1, true), graph_input(one, "measured", KR_IMAGE, 1, true) };
    kr_node h = lay_features(one, in, 1), all = lay_features(one, in, 3);
    kr_node y = primal_dual_three(one, w, prefix, &all, 1, rows(w, LAY_NEAREST, LAY_CIRCULAR), columns(w, LAY_NEAREST, LAY_CIRCULAR));
    graph_output(one, lay_stack(one, lay_complex_gain(one, h, y, net_tensor(w, "%sdiff_weight", prefix))));
    return one;
}

static kr_node primal(kr_graph *g, const kr_weights *w, const char *prefix, kr_node f, kr_node b)
{
    char name[128];
    kr_node x[2] = { f, b };
    snprintf(name, sizeof name, "%slayers.", prefix);
    kr_node y = net_maybe(w, "%s0.conv.weight", name) ? primal_dual_three(g, w, prefix, x, 2, LAY_NEAREST, LAY_NEAREST)
              : primal_dual_unet(g, w, name, x, 2, rows(w, LAY_ZERO, LAY_CIRCULAR), columns(w, LAY_ZERO, LAY_CIRCULAR));
    return lay_complex_gain(g, f, y, net_tensor(w, "%sdiff_weight", prefix));
}

/* The mean over the stack of each coil, as one complex feature of the combined image. */
static kr_node projected(kr_graph *g, kr_node h, long images, kr_node sens, kr_node unit)
{
    kr_node sum = { -1 };
    for (long j = 0; j < images && !graph_refused(g); j++) {
        kr_node x = lay_scale(g, net_adjoint(g, lay_pick(g, h, j, images), sens), unit), f = lay_features(g, &x, 1);
        sum = j ? lay_plus(g, sum, f, 1) : f;
    }
    return lay_plus(g, lay_zeros(g, sum, 2), sum, 1 / (double)images);
}

static int build(kr_graph *g, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, first);
    const kr_tensor *d = w ? net_tensor(w, "%s", first) : NULL, *p = d ? net_tensor(w, "primal_blocks.0.diff_weight") : NULL;
    if (!p)
        return kr_error_code();
    long data = kr_tensor_count(d) / 2, images = kr_tensor_count(p) / 2, count = 0;
    if (p->dims != 5 || p->n[4] != 2)
        return kr_fail(KR_EREFUSED, "the tensor '%s' is of real numbers: with use_complex_primal false the network gives magnitudes without a phase, which Kray does not run", p->name);
    bool good = true, plain = net_maybe(w, "primal_blocks.0.layers.0.conv.weight") != NULL, zero = plain != net_either(w, "use_original_init", plain ? "true" : "false", plain ? "false" : "true", &good);
    if (!good || data < 1 || data > MOST || images < 1 || images > MOST)
        return good ? kr_fail(KR_ESHAPE, "memories of %ld images and %ld data; 1 to %d are possible", images, data, MOST) : kr_error_code();
    while (net_maybe(w, "primal_blocks.%ld.diff_weight", count))
        count++;
    kr_node k = graph_input(g, "kspace", KR_COILS, 0, true), mask = graph_input(g, "mask", KR_REAL, 1, true), sens = graph_input(g, "sens", KR_COILS, 0, true),
            unit = graph_input(g, "scaling", KR_NUMBERS, 1, false);
    kr_node y = lay_unscale(g, k, unit), start = net_adjoint(g, k, sens), f0 = lay_features(g, &start, 1), f = zero ? lay_zeros(g, f0, 2 * images) : f0;
    for (long i = 1; i < images && !zero && !graph_refused(g); i++)
        f = lay_concat(g, f, f0);
    kr_node h = lay_repeat(g, lay_residual(g, y, y, mask), data);            /* it begins at 0 */
    for (long i = 0; i < count && !graph_refused(g); i++) {
        char name[64];
        graph_segment(g);
        snprintf(name, sizeof name, "dual_blocks.%ld.", i);
        kr_graph *one = dual(g, w, name, data);
        bool owned = false;
        kr_node x = lay_image(g, lay_complex_mean(g, f));
        h = one ? lay_each_of(g, (kr_node[]){ h, lay_unscale(g, net_forward(g, x, sens), unit), y }, 3, &one, &owned) : graph_fail(g);
        if (one && !owned)
            kr_graph_unref(&one);
        graph_name(g, h, 0, 1, "dual%ld", i);
        snprintf(name, sizeof name, "primal_blocks.%ld.", i);
        f = primal(g, w, name, f, projected(g, h, data, sens, unit));
        graph_name(g, f, 0, 1, "primal%ld", i);
    }
    kr_node x = lay_image(g, lay_complex_mean(g, f));
    graph_name(g, x, 0, 1, "image");
    graph_output(g, x);
    return graph_refused(g);
}

/* ---- Untrained ---- */
static int fresh_conv(kr_weights *w, uint64_t seed, double gain, long outs, long ins, long k, const char *prefix)
{
    kr_auto char *weight = kr_strf("%sweight", prefix), *bias = kr_strf("%sbias", prefix);
    kr_tensor *t = weight && bias ? kr_weights_add(w, weight, 5, (long[]){ outs, ins, k, k, 2 }) : NULL;
    for (long i = 0, n = t ? kr_tensor_count(t) / 2 : 0; i < n; i++) {
        double z[2];
        kr_rand_normal2(seed, (uint64_t)w->count, (uint64_t)i, z);
        for (int part = 0; part < 2; part++)
            t->data[2 * i + part] = (float)(sqrt(gain / (double)(2 * ins * k * k)) * z[part]);
    }
    return t && kr_weights_add(w, bias, 2, (long[]){ outs, 2 }) ? 0 : kr_error_code();
}

static int fresh_number(kr_weights *w, double re, long count, const char *prefix)
{
    kr_auto char *name = kr_strf("%sdiff_weight", prefix);
    kr_tensor *t = name ? kr_weights_add(w, name, 5, (long[]){ 1, count, 1, 1, 2 }) : NULL;
    for (long i = 0; t && i < count; i++)
        t->data[2 * i] = (float)re;
    return t ? 0 : kr_error_code();
}

static int fresh_three(kr_weights *w, uint64_t seed, long ins, long hidden, long outs, const char *prefix)
{
    int e = 0;
    for (int i = 0; i < 5 && !e; i += 2) {
        kr_auto char *name = kr_strf("%slayers.%d.conv.", prefix, i);
        e = name ? fresh_conv(w, seed, i < 4 ? 2 : 1, i < 4 ? hidden : outs, i ? hidden : ins, 3, name) : kr_error_code();
    }
    return e;
}

/* Two convolutions, each with a norm that changes nothing. */
static int fresh_twice(kr_weights *w, uint64_t seed, long ins, long outs, const char *prefix)
{
    static const char *const parts[4] = { "weight", "bias", "running_mean", "running_var" };
    int e = 0;
    for (int i = 0; i < 2 && !e; i++) {
        kr_auto char *name = kr_strf("%sblock.%d.", prefix, 3 * i);
        e = name ? fresh_conv(w, seed, 2, outs, i ? outs : ins, 3, name) : kr_error_code();
        for (int k = 0; k < 4 && !e; k++) {
            kr_auto char *of = kr_strf("%sblock.%d.%s", prefix, 3 * i + 2, parts[k]);
            bool matrix = k % 3 == 0;
            kr_tensor *t = of ? kr_weights_add(w, of, matrix ? 3 : 2, matrix ? (long[]){ 2, 2, outs } : (long[]){ 2, outs }) : NULL;
            for (long q = 0; t && matrix && q < outs; q++)
                t->data[q] = t->data[3 * outs + q] = 1;
            e = t ? 0 : kr_error_code();
        }
    }
    return e;
}

static int fresh_unet(kr_weights *w, uint64_t seed, long ins, long outs, long channels, long levels, const char *prefix)
{
    int e = 0;
    long c = ins;
    for (long i = 0; i < levels && !e; i++) {
        kr_auto char *name = kr_strf("%sdown_path.%ld.", prefix, i);
        e = name ? fresh_twice(w, seed, c, channels << i, name) : kr_error_code();
        c = channels << i;
    }
    for (long i = 0; i + 1 < levels && !e; i++) {
        kr_auto char *up = kr_strf("%sup_path.%ld.up.1.", prefix, i), *block = kr_strf("%sup_path.%ld.conv_block.", prefix, i);
        e = up && block ? fresh_conv(w, seed, 1, c / 2, c, 1, up) : kr_error_code();
        e = e ? e : fresh_twice(w, seed, c, c / 2, block);
        c /= 2;
    }
    kr_auto char *last = kr_strf("%slast.", prefix);
    return e ? e : last ? fresh_conv(w, seed, 1, outs, c, 1, last) : kr_error_code();
}

static int fresh(kr_weights *w, uint64_t seed)
{
    enum { ITERATIONS, PRIMARY, DUAL, HIDDEN, CHANNELS, DEPTH, SIZES };
    bool good = true, unet = net_either(w, "use_original_block", "true", "false", &good);
    const net_size sizes[SIZES] = { { "n_iterations", unet ? 2 : 10, 1, 100 }, { "n_primary", unet ? 4 : 5, 1, MOST }, { "n_dual", 5, 1, MOST }, { "hidden", 32, 1, 512 }, { "channels", 32, 1, 512 },
                                    { "depth", 4, 1, PRIMAL_DUAL_LEVELS } };
    long n[SIZES];
    int e = good ? net_sizes(w, sizes, SIZES, n) : kr_error_code();
    for (long i = 0; i < n[ITERATIONS] && !e; i++) {
        kr_auto char *dual_of = kr_strf("dual_blocks.%ld.", i), *primal_of = kr_strf("primal_blocks.%ld.", i), *layers = kr_strf("primal_blocks.%ld.layers.", i);
        e = dual_of && primal_of && layers ? fresh_number(w, 1, n[DUAL], dual_of) : kr_error_code();
        e = e ? e : fresh_three(w, seed, n[DUAL] + 2, n[HIDDEN], n[DUAL], dual_of);
        e = e ? e : fresh_number(w, 0, n[PRIMARY], primal_of);
        if (!e)
            e = unet ? fresh_unet(w, seed, n[PRIMARY] + 1, n[PRIMARY], n[CHANNELS], n[DEPTH], layers) : fresh_three(w, seed, n[PRIMARY] + 1, n[HIDDEN], n[PRIMARY], primal_of);
    }
    return e;
}

static const kr_fact facts[] = {
    { "n_iterations", "primal_blocks.%ld.diff_weight", KR_FACT_COUNT, NULL, NULL }, { "n_primary", "primal_blocks.0.diff_weight", 1, NULL, NULL }, { "n_dual", first, 1, NULL, NULL },
    { "use_original_block", "primal_blocks.0.layers.0.conv.weight", KR_FACT_THERE, NULL, NULL }, { .key = "use_original_init" }, { .key = "use_complex_primal", .words = "true|1" },
    { .key = "complex_weights", .words = "true|1" }, { .key = "transform", .words = "Fourier" }, { .key = "g_normtype", .words = "magmax" }, { .key = "f_normtype", .words = "factor" },
    { .key = "f_normfactor", .words = "1|1.0|none" }, { .key = "return_abs" }, { "hidden", "dual_blocks.0.layers.0.conv.weight", 0, NULL, NULL }, { "channels", "primal_blocks.0.layers.down_path.0.block.0.weight", 0, NULL, NULL },
    { "depth", "primal_blocks.0.layers.down_path.%ld.block.0.weight", KR_FACT_COUNT, NULL, NULL }, { .key = NULL } };

const kr_net_kind kr_net_fourierpd = { "fourierpd", "Fourier-PD and Fourier-PDUNet of NCC1701, complex-valued", "Khatun, Chatterjee et al., Sci Rep 15 (2025), arXiv:2310.01073", matches, build,
    false, false, .around = "ncc1701", .facts = facts, .fresh = fresh,
    .small = "n_iterations=2,n_primary=2,n_dual=2,hidden=4,use_original_init=false;n_iterations=2,n_primary=3,n_dual=2,hidden=4;"
             "n_iterations=1,n_primary=2,n_dual=2,hidden=3,use_original_block=false,channels=2,depth=3" };
