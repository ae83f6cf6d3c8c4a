/* net_varnet_direct.c: the End-to-End Variational Network of DIRECT (NETWORKS 5.2): plain U-Nets, whose output is added. */
#include "parts.h"
#include <stdio.h>
#include <string.h>

enum { LAYERS = 64 };
typedef struct varnet { long layers; unet *unet[LAYERS], *refine; float rate[LAYERS]; } varnet;

static int matches(const kr_weights *w) { return net_has(w, "layers_list.0.regularizer_model.conv.layers.0.weight") ? 95 : 0; }

static void destroy(void *self)
{
    varnet *r = self;
    for (long i = 0; i < LAYERS; i++)
        unet_unref(&r->unet[i]);
    unet_unref(&r->refine);
    kr_free(r);
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "layers_list.0.learning_rate");
    varnet *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    bool good = true;
    char prefix[64];
    for (; good && r->layers < LAYERS; r->layers += good) {
        const kr_tensor *rate = net_maybe(w, "layers_list.%ld.learning_rate", r->layers);
        if (!rate)
            break;
        snprintf(prefix, sizeof prefix, "layers_list.%ld.regularizer_model.", r->layers);
        good = net_scalar(rate) && (r->unet[r->layers] = unet_new(w, prefix, 2));
        r->rate[r->layers] = good ? rate->data[0] : 0;
    }
    good = good && !refinement_of(&r->refine, all);
    for (long i = 1; good && i < r->layers; i++)
        unet_borrow(r->unet[i], r->unet[0]);        /* one runs at a time */
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    varnet *r = self;
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    kr_auto kr_cfloat *k = kr_alloc((size_t)(m.n * m.coils), sizeof *k);
    kr_map *in = kr_map_new(2, input->h, input->w, 1), *out = kr_map_new(2, input->h, input->w, 0);
    int e = k && in && out ? 0 : kr_error_code();
    if (!e)
        e = refine(&m, r->refine, watch);
    if (!e)
        memcpy(k, input->kspace, (size_t)(m.n * m.coils) * sizeof *k);
    for (long i = 0; !e && i < r->layers; i++) {
        mri_adjoint(&m, x, k);
        map_put_complex(in, 0, x);
        e = unet_forward(r->unet[i], out, in, NULL);
        map_get_complex(out, 0, x);
        mri_forward(&m, m.coil, x);
        /* k = k - rate M (k - y) + F E U(R F^-1 k) */
        for (long c = 0; c < m.coils; c++)
            for (long p = 0; p < m.n; p++) {
                kr_cfloat *v = k + c * m.n + p;
                *v = (input->mask[p] != 0 ? *v - r->rate[i] * (*v - input->kspace[c * m.n + p]) : *v) + m.coil[c * m.n + p];
            }
        net_see(watch, k, 2 * m.n * m.coils, 0, 1, "kspace_layer%ld", i);
    }
    if (!e) {
        net_see(watch, k, 2 * m.n * m.coils, 0, 1, "kspace_prediction");
        mri_rss(&m, x, k);
    }
    kr_map_unref(&in);
    kr_map_unref(&out);
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_layers", "layers_list.%ld.learning_rate", KR_FACT_COUNT, NULL, NULL },
    { "regularizer_num_filters", "layers_list.0.regularizer_model.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "regularizer_num_pull_layers", "layers_list.0.regularizer_model.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "regularizer_dropout" }, { .key = "in_channels", .words = "2" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_varnet_direct = { "varnet_direct", "End-to-End Variational Network of DIRECT", "Sriram et al., MICCAI 2020, arXiv:2004.06688",
    matches, build, destroy, run, false, false,
    .around = "direct", .magnitude = true, .facts = facts };
