/* netweights.h: small networks of each family, key by key as the published code names its tensors; random numbers. */
#ifndef KRAY_NETWEIGHTS_H
#define KRAY_NETWEIGHTS_H
#include "test.h"
#include "kray/net.h"

static void add(kr_weights *w, const char *name, long a, long b, long k)
{
    long n[4] = { a, b, k, k };
    kr_tensor *t = kr_weights_add(w, name, b ? 4 : 1, n);
    assert_non_null(t);
    for (long i = 0, count = kr_tensor_count(t); i < count; i++)
        t->data[i] = (float)(0.3 * (kr_rand_uniform(4, (uint64_t)w->count, (uint64_t)i) - 0.5));
}

#define NAME(...) (snprintf(name, sizeof name, __VA_ARGS__), name)

static void unet_to(kr_weights *w, const char *prefix, long in, long out, long chans, int pools)
{
    char name[200];
    for (int i = 0; i <= pools; i++) {
        long c = chans << i;
        char part[100];
        snprintf(part, sizeof part, i < pools ? "%sdown_sample_layers.%d" : "%sconv", prefix, i);
        add(w, NAME("%s.layers.0.weight", part), c, i ? c / 2 : in, 3);
        add(w, NAME("%s.layers.4.weight", part), c, c, 3);
    }
    for (int i = 0; i < pools; i++) {
        long c = chans << (pools - 1 - i);
        bool last = i == pools - 1;
        add(w, NAME("%sup_conv.%d.%slayers.0.weight", prefix, i, last ? "0." : ""), c, 2 * c, 3);
        add(w, NAME("%sup_conv.%d.%slayers.4.weight", prefix, i, last ? "0." : ""), c, c, 3);
        add(w, NAME("%sup_transpose_conv.%d.layers.0.weight", prefix, i), 2 * c, c, 2);
    }
    add(w, NAME("%sup_conv.%d.1.weight", prefix, pools - 1), out, chans, 1);
    add(w, NAME("%sup_conv.%d.1.bias", prefix, pools - 1), out, 0, 0);
}

static void unet(kr_weights *w, const char *prefix, long in, long chans, int pools) { unet_to(w, prefix, in, in, chans, pools); }

static void convgru(kr_weights *w, const char *prefix, long in, long f, int layers)
{
    static const char *const gate[] = { "reset_gates", "update_gates", "out_gates" };
    char name[200];
    for (int i = 0; i <= layers; i++) {
        add(w, NAME("%sconv_blocks.%d.1.weight", prefix, i), i < layers ? f : 2, i ? f : in, i ? 3 : 5);
        add(w, NAME("%sconv_blocks.%d.1.bias", prefix, i), i < layers ? f : 2, 0, 0);
    }
    for (int g = 0; g < 3; g++)
        for (int i = 0; i < layers; i++) {
            add(w, NAME("%s%s.%d.0.weight", prefix, gate[g], i), f, 2 * f, 1);
            add(w, NAME("%s%s.%d.0.bias", prefix, gate[g], i), f, 0, 0);
        }
}

static void initialiser(kr_weights *w, long f, int layers)
{
    char name[200];
    for (int i = 0; i < 2; i++) {
        add(w, NAME("initializer.conv_blocks.%d.1.weight", i), 5, i ? 5 : 2, 3);
        add(w, NAME("initializer.conv_blocks.%d.1.bias", i), 5, 0, 0);
    }
    for (int i = 0; i < layers; i++) {
        add(w, NAME("initializer.out_blocks.%d.0.weight", i), f, 5, 1);
        add(w, NAME("initializer.out_blocks.%d.0.bias", i), f, 0, 0);
    }
}

static void cirim(kr_weights *w, const char *family, const char *cell, int parts, int blocks, long f)
{
    char name[200];
    for (int b = 0; b < blocks; b++) {
        for (int l = 0; l < 2; l++) {
            add(w, NAME("%s.%d.layers.%d.convs.conv_layer.weight", family, b, l), f, l ? f : 4, l ? 3 : 5);
            add(w, NAME("%s.%d.layers.%d.convs.conv_layer.bias", family, b, l), f, 0, 0);
            add(w, NAME("%s.%d.layers.%d.%s.ih.weight", family, b, l, cell), parts * f, f, 1);
            add(w, NAME("%s.%d.layers.%d.%s.ih.bias", family, b, l, cell), parts * f, 0, 0);
            add(w, parts == 1 ? NAME("%s.%d.layers.%d.%s.hh", family, b, l, cell) : NAME("%s.%d.layers.%d.%s.hh.weight", family, b, l, cell),
                parts == 1 ? 1 : parts * f, f, 1);
        }
        add(w, NAME("%s.%d.final_layer.0.conv_layer.weight", family, b), 2, f, 3);
    }
}

enum { RIM_GRU, IRIM, MGU, RIM_MAPS, MRIDC, CIRIM_DIRECT, RIM_DIRECT, RVN, VARNET, VARNET_DIRECT, UNET, UNET_DIRECT, LPDNET, LPDNET_CONV, DNCNN, DENOISER, REFINE, KINDS };
static const char *const word[KINDS] = { "cirim", "cirim", "cirim", "cirim", "cirim", "cirim_direct", "rim_direct", "recurrentvarnet", "varnet", "varnet_direct", "unet", "unet_direct", "lpdnet", "lpdnet", "dncnn", "denoiser", "refine" };

/* Behind those: the small ones that the networks' own entries make, one for each part of `small`. */
static inline const kr_net_kind *listed(int kind, const char **sizes)
{
    int at = KINDS;
    for (int i = 0; kr_nets[i]; i++)
        for (const char *p = kr_nets[i]->small; p; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL)
            if (at++ == kind) {
                *sizes = p;
                return kr_nets[i];
            }
    return NULL;
}

static inline int kinds(void)
{
    const char *sizes = "";
    int n = KINDS;
    while (listed(n, &sizes))
        n++;
    return n;
}

static inline const char *word_of(int kind)
{
    const char *sizes = "";
    return kind < KINDS ? word[kind] : listed(kind, &sizes)->name;
}

static inline void make_listed(kr_weights *w, int kind)
{
    const char *sizes = "";
    const kr_net_kind *k = listed(kind, &sizes);
    char text[600];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(sizes, ";"), sizes);
    for (char *save, *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char key[100];
        snprintf(key, sizeof key, "hyper.%.*s", (int)strcspn(p, "="), p);
        assert_int_equal(kr_meta_set(w->meta, key, "%s", strchr(p, '=') + 1), 0);
    }
    if (k->fresh(w, 4))
        fail_msg("%s: %s", k->name, kr_error());
    for (long i = 0; i < w->count; i++)                      /* biases are not left at 0; two names of one module stay alike */
        for (long q = 0, n = kr_tensor_count(&w->tensor[i]); q < n && w->tensor[i].dims == 1; q++)
            w->tensor[i].data[q] += (float)(0.1 * kr_rand_uniform(5, (uint64_t)n, (uint64_t)q));
}

static kr_weights *small(int kind)
{
    kr_weights *w = kr_weights_new();
    char name[100];
    assert_non_null(w);
    if (kind >= KINDS) {
        make_listed(w, kind);
        return w;
    }
    switch (kind) {
    case RIM_GRU: cirim(w, "reconstruction_module", "rnn", 3, 1, 6); break;
    case IRIM: cirim(w, "reconstruction_module", "rnn", 1, 2, 6); break;
    case MGU: cirim(w, "model.reconstruction_module", "rnn", 2, 1, 3); break;
    case RIM_MAPS:
        cirim(w, "reconstruction_module", "rnn", 3, 1, 3);
        unet(w, "coil_sensitivity_maps_nn.norm_unet.unet.", 2, 4, 2);
        break;
    case MRIDC: cirim(w, "state_dict.cirim", "rnn", 1, 2, 6); break;
    case CIRIM_DIRECT: cirim(w, "model.block_list", "recurrent", 1, 2, 6); break;
    case RIM_DIRECT:
        convgru(w, "cell_list.0.", 4, 6, 2);
        initialiser(w, 6, 2);
        break;
    case RVN:
        for (int i = 0; i < 2; i++) {
            add(w, NAME("model.block_list.%d.learning_rate", i), 1, 0, 0);
            convgru(w, NAME("model.block_list.%d.regularizer.", i), 2, 6, 2);
        }
        unet(w, "sensitivity_model.", 2, 4, 2);
        break;
    case VARNET:
        unet(w, "sens_net.norm_unet.unet.", 2, 4, 2);
        for (int i = 0; i < 2; i++) {
            add(w, NAME("cascades.%d.dc_weight", i), 1, 0, 0);
            unet(w, NAME("cascades.%d.model.unet.", i), 2, 4, 2);
        }
        break;
    case VARNET_DIRECT:
        for (int i = 0; i < 2; i++) {
            add(w, NAME("model.layers_list.%d.learning_rate", i), 1, 0, 0);
            unet(w, NAME("model.layers_list.%d.regularizer_model.", i), 2, 4, 2);
        }
        unet(w, "sensitivity_model.", 2, 4, 2);
        break;
    case DNCNN:
        for (int i = 0; i < 6; i += 2) {
            add(w, NAME("model.%d.weight", i), i < 4 ? 5 : 1, i ? 5 : 1, 3);
            add(w, NAME("model.%d.bias", i), i < 4 ? 5 : 1, 0, 0);
        }
        break;
    case DENOISER:
    case REFINE:
        assert_int_equal(kr_meta_set(w->meta, "hyper.cascades", "2") | kr_meta_set(w->meta, "hyper.channels", "4") | kr_meta_set(w->meta, "hyper.pools", "2")
                         | kr_meta_set(w->meta, "hyper.digits", "6"), 0);
        for (int i = 0; kr_nets[i]; i++)
            if (!strcmp(kr_nets[i]->name, word[kind]))
                assert_int_equal(kr_nets[i]->fresh(w, 4), 0);
        for (long i = 0; i < w->count; i++)                          /* the last layers are not left at 0 */
            if (strstr(w->tensor[i].name, "last"))
                for (long k = 0; k < kr_tensor_count(&w->tensor[i]); k++)
                    w->tensor[i].data[k] = (float)(0.3 * (kr_rand_uniform(4, (uint64_t)i, (uint64_t)k) - 0.5));
        break;
    case LPDNET:
    case LPDNET_CONV:
        unet_to(w, "model.primal_net.0.primal_block.", 6, 4, 3, 2);
        if (kind == LPDNET)
            unet_to(w, "model.dual_net.0.dual_block.unet2d.", 10, 6, 3, 2);
        for (int i = 0; i < 5 && kind == LPDNET_CONV; i++)
            if (i % 2) {                                             /* one slope, held twice */
                add(w, NAME("model.dual_net.0.dual_block.conv.%d.weight", i), 1, 0, 0);
                w->tensor[w->count - 1].data[0] = 0.15f;
            }
            else {
                add(w, NAME("model.dual_net.0.dual_block.conv.%d.weight", i), i < 4 ? 5 : 18, i ? 5 : 22, 3);
                add(w, NAME("model.dual_net.0.dual_block.conv.%d.bias", i), i < 4 ? 5 : 18, 0, 0);
            }
        assert_int_equal(kr_meta_set(w->meta, "hyper.num_iter", "2"), 0);
        unet(w, "sensitivity_model.", 2, 4, 2);
        break;
    case UNET: unet(w, "", 1, 4, 3); break;
    case UNET_DIRECT:
        unet(w, "model.unet.unet2d.", 2, 4, 2);
        unet(w, "sensitivity_model.", 2, 4, 2);
        break;
    }
    return w;
}
#endif
