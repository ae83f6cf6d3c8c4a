/* net_recurrentvarnet.c: the Recurrent Variational Network (NETWORKS 1): gradient descent in k-space, whose regulariser is a
 * convolutional GRU on the combined image; its states start from the data, its coil maps are refined by a U-Net. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 64, LAYERS = 8, SENSE = 0, ZERO_FILLED };
typedef struct rvn {
    long steps, blocks;
    int start_from;
    convgru *gru[STEPS];
    float rate[STEPS];
    initialiser *start;
    unet *refine;
    kr_map *in, *out, *h[LAYERS];                /* for one image size, made again only when that changes */
} rvn;

static int matches(const kr_weights *w)
{
    return net_has(w, "block_list.0.regularizer.conv_blocks.0.1.weight") || net_has(w, "block_list.0.regularizer.convgru.conv_blocks.0.1.weight")
        || net_has(w, "block_list.0.regularizer.conv_blocks.0.0.weight") ? 95 : 0;
}

static void drop_maps(rvn *r)
{
    kr_map_unref(&r->in);
    kr_map_unref(&r->out);
    states_clear(r->h, LAYERS);
}

static void destroy(void *self)
{
    rvn *r = self;
    for (long i = 0; i < STEPS; i++)
        convgru_unref(&r->gru[i]);
    initialiser_unref(&r->start);
    unet_unref(&r->refine);
    drop_maps(r);
    kr_free(r);
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.learning_rate");
    rvn *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    bool good = true;
    char prefix[64];
    for (; good && r->blocks < STEPS; r->blocks += good) {
        const kr_tensor *rate = net_maybe(w, "block_list.%ld.learning_rate", r->blocks);
        if (!rate)
            break;
        snprintf(prefix, sizeof prefix, "block_list.%ld.regularizer.", r->blocks);
        good = net_scalar(rate) && (r->gru[r->blocks] = convgru_new(w, prefix, 2));
        r->rate[r->blocks] = good ? rate->data[0] : 0;
    }
    for (long i = 1; good && i < r->blocks; i++)                        /* they hand on states */
        good = convgru_alike(r->gru[i], r->gru[0]) || kr_fail(KR_ESHAPE, "block %ld has other layers than the first", i) == 0;
    r->steps = net_number(w, "num_steps", r->blocks > 1 ? r->blocks : 8);
    r->start_from = net_either(w, "initializer_initialization", "sense", "zero_filled", &good) ? ZERO_FILLED : SENSE;
    if (good && net_maybe(w, "initializer.conv_blocks.0.1.weight"))
        good = (r->start = initialiser_new(w, "initializer.", r->gru[0]));
    good = good && net_shared(w, r->blocks) && !refinement_of(&r->refine, all);
    if (good && (r->steps < 1 || (r->blocks > 1 && r->steps > r->blocks)))
        good = !kr_fail(KR_EFORMAT, "%ld steps with %ld blocks", r->steps, r->blocks);
    for (long i = 1; good && i < r->blocks; i++)
        convgru_borrow(r->gru[i], r->gru[0]);        /* one runs at a time */
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

/* The initialiser reads k-space: that of the combined image, or the sum of the coils' own. */
static int start(const rvn *r, const mri *m, kr_map *in, kr_cfloat *x, kr_map *const *h, const kr_net_watch *watch)
{
    const kr_net_input *d = m->in;
    if (r->start_from == SENSE) {
        mri_adjoint(m, x, d->kspace);
        kr_fft *one = kr_fft_new(KR_SHAPE([KR_X] = d->w, [KR_Y] = d->h), KR_ON(KR_X) | KR_ON(KR_Y), d->centred ? KR_CENTRED : 0);
        if (!one)
            return kr_error_code();
        kr_fft_forward(one, x);
        kr_fft_unref(&one);
    } else {
        memset((void *)x, 0, (size_t)m->n * sizeof *x);
        for (long c = 0; c < m->coils; c++)
            for (long i = 0; i < m->n; i++)
                x[i] += d->kspace[c * m->n + i];
    }
    for (long i = 0; d->kspace_unit > 0 && d->kspace_unit != 1 && i < m->n; i++)
        x[i] *= (float)d->kspace_unit;
    map_put_complex(in, 0, x);
    if (net_see_map(watch, in, 0, 1, "initializer_input") || initialiser_forward(r->start, h, in))
        return kr_error_code();
    long layers = convgru_layers(r->gru[0]);
    for (long l = 0; l < layers; l++)
        if (net_see_map(watch, h[l], (int)l, (int)layers, "initializer_hidden"))
            return kr_error_code();
    return 0;
}

struct update { const mri *m; kr_cfloat *k; const kr_cfloat *prior; float rate; };

/* k = k - rate M (k - y) + F E(w), one coil at a time. */
static int update_coil(void *self, long c)
{
    const struct update *u = self;
    const kr_net_input *d = u->m->in;
    long n = u->m->n;
    kr_cfloat *k = u->k + c * n;
    const kr_cfloat *y = d->kspace + c * n, *p = u->prior + c * n;
    for (long i = 0; i < n; i++)
        k[i] = d->mask[i] != 0 ? k[i] - u->rate * (k[i] - y[i]) + p[i] : k[i] + p[i];
    return 0;
}

static int steps(const rvn *r, const mri *m, kr_cfloat *k, kr_cfloat *x, kr_map *in, kr_map *out, kr_map *const *h, const kr_net_watch *watch)
{
    long layers = convgru_layers(r->gru[0]);
    for (long t = 0; t < r->steps; t++) {
        long b = r->blocks > 1 ? t : 0;
        mri_adjoint(m, x, k);                                        /* w = R F^-1 k */
        map_put_complex(in, 0, x);
        if (net_see_map(watch, in, 0, 1, "regularizer_input_step%ld", t) || convgru_forward(r->gru[b], out, in, h)
            || net_see_map(watch, out, 0, 1, "regularizer_output_step%ld", t))
            return kr_error_code();
        for (long l = 0; l < layers; l++)
            if (net_see_map(watch, h[l], (int)l, (int)layers, "hidden_step%ld", t))
                return kr_error_code();
        map_get_complex(out, 0, x);
        mri_forward(m, m->coil, x);                                  /* F E w */
        struct update u = { m, k, m->coil, r->rate[b] };
        if (kr_for(m->coils, update_coil, &u))
            return kr_error_code();
        net_see(watch, k, 2 * m->n * m->coils, 0, 1, "kspace_step%ld", t);
    }
    return 0;
}

/* Maps of that size; states are 0 where no initialiser writes them. */
static int maps_for(rvn *r, long h, long w)
{
    long layers = convgru_layers(r->gru[0]);
    if (r->in && r->in->h == h && r->in->w == w && r->h[layers - 1]) {
        for (long l = 0; l < layers && !r->start; l++)
            memset(r->h[l]->store, 0, (size_t)(r->h[l]->blocks * r->h[l]->block) * sizeof(float));
        return 0;
    }
    drop_maps(r);
    if (!(r->in = kr_map_new(2, h, w, convgru_halo(r->gru[0]))) || !(r->out = kr_map_new(2, h, w, 0)))
        return kr_error_code();
    return states_new(r->h, layers, convgru_hidden(r->gru[0]), h, w);
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    rvn *r = self;
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    kr_auto kr_cfloat *k = kr_alloc((size_t)(m.n * m.coils), sizeof *k);
    int e = k ? maps_for(r, input->h, input->w) : kr_error_code();
    if (!e)
        e = refine(&m, r->refine, watch);
    if (!e && r->start)
        e = start(r, &m, r->in, x, r->h, watch);
    if (!e) {
        memcpy(k, input->kspace, (size_t)(m.n * m.coils) * sizeof *k);
        e = steps(r, &m, k, x, r->in, r->out, r->h, watch);
    }
    if (!e) {
        net_see(watch, k, 2 * m.n * m.coils, 0, 1, "kspace_prediction");
        for (long i = 0; input->padding && i < m.n * m.coils; i++)
            k[i] = input->padding[i % m.n] != 0 ? kr_c(0, 0) : k[i];
        mri_rss(&m, x, k);
    }
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_steps", "block_list.%ld.learning_rate", KR_FACT_STEPS, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.regularizer.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.regularizer.convgru.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "recurrent_num_layers", "block_list.0.regularizer.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "recurrent_num_layers", "block_list.0.regularizer.convgru.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "no_parameter_sharing" }, { .key = "initializer_initialization" },
    { "normalized", "block_list.0.regularizer.convgru.conv_blocks.0.1.weight", KR_FACT_THERE, "false", NULL },
    { .key = "in_channels", .words = "2" }, FACTS_START("true"), FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_recurrentvarnet = { "recurrentvarnet", "Recurrent Variational Network of DIRECT",
    "Yiasemis et al., CVPR 2022, arXiv:2111.09639", matches, build, destroy, run, false, true,
    .around = "direct", .magnitude = true, .steps = true, .facts = facts };
