/* config.c: hyper-parameters that a configuration states, against the shapes of the weights: each that can be told from shapes must
 * agree. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *kr_weights_told(const kr_weights *w, const char *name)
{
    static const char *const prefix[] = { "hyper.", "hyper_parameters.cfg.", "hyper_parameters.", "cfg." };
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        kr_auto char *key = kr_strf("%s%s", prefix[i], name);
        const char *v = key ? kr_meta_get(w->meta, key) : NULL;
        if (v)
            return v;
    }
    return NULL;
}

/* What shapes say: how many tensors there are of a numbered name (dim < 0); else the length of dimension dim of one tensor, or of
 * each of the numbered ones. */
static const struct fact { const char *network, *key, *tensor; int dim; } facts[] = {
    { "recurrentvarnet", "num_steps", "block_list.%ld.learning_rate", -1 },
    { "recurrentvarnet", "recurrent_hidden_channels", "block_list.0.regularizer.conv_blocks.0.1.weight", 0 },
    { "recurrentvarnet", "recurrent_hidden_channels", "block_list.0.regularizer.convgru.conv_blocks.0.1.weight", 0 },
    { "recurrentvarnet", "recurrent_num_layers", "block_list.0.regularizer.reset_gates.%ld.0.weight", -1 },
    { "recurrentvarnet", "recurrent_num_layers", "block_list.0.regularizer.convgru.reset_gates.%ld.0.weight", -1 },
    { "recurrentvarnet", "initializer_channels", "initializer.conv_blocks.%ld.1.weight", 0 },
    { "recurrentvarnet", "sensitivity_model.num_filters", "sensitivity_model.down_sample_layers.0.layers.0.weight", 0 },
    { "recurrentvarnet", "sensitivity_model.num_pool_layers", "sensitivity_model.down_sample_layers.%ld.layers.0.weight", -1 },
    { "rim_direct", "hidden_channels", "cell_list.0.conv_blocks.0.1.weight", 0 },
    { "rim_direct", "depth", "cell_list.0.reset_gates.%ld.0.weight", -1 },
    { "rim_direct", "length", "cell_list.%ld.conv_blocks.0.1.weight", -1 },
    { "rim_direct", "initializer_channels", "initializer.conv_blocks.%ld.1.weight", 0 },
    { "rim_direct", "sensitivity_model.num_filters", "sensitivity_model.down_sample_layers.0.layers.0.weight", 0 },
    { "rim_direct", "sensitivity_model.num_pool_layers", "sensitivity_model.down_sample_layers.%ld.layers.0.weight", -1 },
    { "cirim_direct", "num_cascades", "block_list.%ld.layers.0.recurrent.ih.weight", -1 },
    { "cirim_direct", "recurrent_hidden_channels", "block_list.0.layers.0.recurrent.ih.weight", 0 },
    { "cirim_direct", "depth", "block_list.0.layers.%ld.recurrent.ih.weight", -1 },
    { "cirim_direct", "sensitivity_model.num_filters", "sensitivity_model.down_sample_layers.0.layers.0.weight", 0 },
    { "cirim_direct", "sensitivity_model.num_pool_layers", "sensitivity_model.down_sample_layers.%ld.layers.0.weight", -1 },
    { "cirim", "num_cascades", "reconstruction_module.%ld.layers.0.rnn.ih.weight", -1 },
    { "cirim", "num_cascades", "cirim.%ld.layers.0.rnn.ih.weight", -1 },
    { "cirim", "depth", "reconstruction_module.0.layers.%ld.rnn.ih.weight", -1 },
    { "cirim", "depth", "cirim.0.layers.%ld.rnn.ih.weight", -1 },
    { "varnet_direct", "num_layers", "layers_list.%ld.learning_rate", -1 },
    { "varnet_direct", "regularizer_num_filters", "layers_list.0.regularizer_model.down_sample_layers.0.layers.0.weight", 0 },
    { "varnet_direct", "regularizer_num_pull_layers", "layers_list.0.regularizer_model.down_sample_layers.%ld.layers.0.weight", -1 },
    { "varnet_direct", "sensitivity_model.num_filters", "sensitivity_model.down_sample_layers.0.layers.0.weight", 0 },
    { "varnet_direct", "sensitivity_model.num_pool_layers", "sensitivity_model.down_sample_layers.%ld.layers.0.weight", -1 },
    { "varnet", "num_cascades", "cascades.%ld.dc_weight", -1 },
    { "varnet", "chans", "cascades.0.model.unet.down_sample_layers.0.layers.0.weight", 0 },
    { "varnet", "pools", "cascades.0.model.unet.down_sample_layers.%ld.layers.0.weight", -1 },
    { "varnet", "sens_chans", "sens_net.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0 },
    { "varnet", "sens_pools", "sens_net.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", -1 },
    { "unet", "num_filters", "down_sample_layers.0.layers.0.weight", 0 },
    { "unet", "num_pool_layers", "down_sample_layers.%ld.layers.0.weight", -1 },
    { "unet", "channels", "down_sample_layers.0.layers.0.weight", 0 },
    { "unet", "pooling_layers", "down_sample_layers.%ld.layers.0.weight", -1 } };

/* The tensor whose name ends in that (a whole word). */
static const kr_tensor *ending(const kr_weights *w, const char *end)
{
    size_t k = strlen(end);
    for (long i = 0; i < w->count; i++) {
        const char *name = w->tensor[i].name;
        size_t n = strlen(name);
        if (n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.'))
            return &w->tensor[i];
    }
    return NULL;
}

/* What the shapes say, as numbers in order; 0: nothing. */
static int measured(const kr_weights *w, const struct fact *f, long *to, int room)
{
    char name[160];
    int n = 0;
    const char *d = strstr(f->tensor, "%ld");
    for (long i = 0; n < room; i++) {
        snprintf(name, sizeof name, "%.*s%ld%s", d ? (int)(d - f->tensor) : 0, f->tensor, i, d ? d + 3 : "");
        const kr_tensor *t = ending(w, d ? name : f->tensor);
        if (!t || f->dim >= t->dims)
            break;
        to[n++] = f->dim < 0 ? 0 : t->n[f->dim];
        if (!d)
            break;
    }
    if (f->dim < 0 && n) {
        to[0] = n;
        n = 1;
    }
    return n;
}

static bool yes(const char *v) { return v && (!strcasecmp(v, "true") || !strcmp(v, "1")); }

/* One block for all steps: how many steps it runs is the configuration's word alone. */
static bool shared_block(const kr_weights *w, const struct fact *f)
{
    const char *apart = kr_weights_told(w, "no_parameter_sharing");
    bool steps = !strcmp(f->key, "num_steps") || !strcmp(f->key, "length");
    long n[64];
    return steps && !yes(apart) && measured(w, f, n, 64) && n[0] == 1;
}

/* Words: the kind of cell, and whether the regulariser is standardised. */
static void words(kr_text *wrong, const kr_weights *w, const char *network)
{
    const char *layer = kr_weights_told(w, "recurrent_layer"), *normal = kr_weights_told(w, "normalized");
    const kr_tensor *ih = ending(w, "0.layers.0.rnn.ih.weight");
    if (!strcmp(network, "cirim") && layer && ih && ih->dims == 4) {
        const char *is = ih->n[0] == 3 * ih->n[1] ? "GRU" : ih->n[0] == 2 * ih->n[1] ? "MGU" : "IndRNN";
        if (strcasecmp(is, layer))
            kr_text_add(wrong, "%srecurrent_layer is %s, the weights have %s", wrong->len ? "; " : "", layer, is);
    }
    bool normalised = ending(w, "regularizer.convgru.conv_blocks.0.1.weight") != NULL;
    if (!strcmp(network, "recurrentvarnet") && normal && yes(normal) != normalised)
        kr_text_add(wrong, "%snormalized is %s, the weights are %s", wrong->len ? "; " : "", normal, normalised ? "of a normalised GRU" : "of a plain GRU");
}

int net_config(const kr_weights *w, const char *network)
{
    kr_text wrong = { 0 };
    words(&wrong, w, network);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const struct fact *f = &facts[i];
        const char *said = strcmp(f->network, network) ? NULL : kr_weights_told(w, f->key);
        long is[64], want[64];
        int n = said && strcmp(said, "none") ? measured(w, f, is, 64) : 0, k = 0;
        if (!n || shared_block(w, f))
            continue;
        for (const char *p = said; *p && k < 64; ) {
            char *end;
            long v = strtol(p, &end, 10);
            if (end == p)
                p++;
            else {
                want[k++] = v;
                p = end;
            }
        }
        bool same = k == n;
        for (int j = 0; same && j < n; j++)
            same = want[j] == is[j];
        if (same)
            continue;
        kr_text_add(&wrong, "%s%s is %s, the weights have", wrong.len ? "; " : "", f->key, said);
        for (int j = 0; j < n; j++)
            kr_text_add(&wrong, " %ld", is[j]);
    }
    int e = wrong.failed ? kr_fail(KR_EMEM, "no memory for a sentence") : 0;
    const char *file = kr_meta_get(w->meta, "config");
    if (!e && wrong.len)
        e = kr_fail(KR_EFORMAT, "the hyper-parameters %s%s do not fit the weights: %s", file ? "of " : "beside them", file ? file : "", wrong.s);
    kr_text_clear(&wrong);
    return e;
}
