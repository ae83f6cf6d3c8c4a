/* net_rim_direct.c: the Recurrent Inference Machine of DIRECT (NETWORKS 2). */
#include "parts.h"
#include <stdio.h>
#include <string.h>

enum { CELLS = 64 };
typedef struct rim { long length, cells; bool zero_filled; convgru *cell[CELLS]; initialiser *start; unet *refine; } rim;

static int matches(const kr_weights *w)
{
    return net_has(w, "cell_list.0.reset_gates.0.0.weight") || net_has(w, "cell_list.0.reset_gates.0.1.weight") ? 90 : 0;
}

static void destroy(void *self)
{
    rim *r = self;
    for (long i = 0; i < r->cells; i++)
        convgru_unref(&r->cell[i]);
    initialiser_unref(&r->start);
    unet_unref(&r->refine);
    kr_free(r);
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, net_has(all, "cell_list.0.reset_gates.0.0.weight") ? "cell_list.0.reset_gates.0.0.weight"
                                                                                               : "cell_list.0.reset_gates.0.1.weight");
    rim *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    bool good = true;
    char prefix[64];
    for (; good && r->cells < CELLS; r->cells += good) {
        snprintf(prefix, sizeof prefix, "cell_list.%ld.", r->cells);
        if (!net_maybe(w, "%sconv_blocks.0.1.weight", prefix) && !net_maybe(w, "%sconv_blocks.0.0.weight", prefix))
            break;
        good = (r->cell[r->cells] = convgru_new(w, prefix, 4));
    }
    for (long i = 1; good && i < r->cells; i++)                        /* they hand on states */
        good = convgru_alike(r->cell[i], r->cell[0]) || kr_fail(KR_ESHAPE, "block %ld has other layers than the first", i) == 0;
    if (good && !r->cells)
        good = !kr_fail(KR_EFORMAT, "the weights lack 'cell_list.0.conv_blocks.0.1.weight'");
    r->length = net_number(w, "length", r->cells > 1 ? r->cells : 8);
    /* Published models say sense in their configuration; where one says nothing, DIRECT's own preset holds. */
    bool silent = kr_meta_get(w->meta, "config_model") && !kr_weights_told(w, "image_initialization");
    r->zero_filled = net_either(w, "image_initialization", "sense", "zero_filled", &good) || silent;
    if (good && net_maybe(w, "initializer.conv_blocks.0.1.weight"))
        good = (r->start = initialiser_new(w, "initializer.", r->cell[0]));
    good = good && net_shared(w, r->cells) && !refinement_of(&r->refine, all);
    if (good && (r->length < 1 || r->length > 1000 || (r->cells > 1 && r->length > r->cells)))
        good = !kr_fail(KR_EFORMAT, "%ld time steps with %ld cells", r->length, r->cells);
    for (long i = 1; good && i < r->cells; i++)
        convgru_borrow(r->cell[i], r->cell[0]);        /* one runs at a time */
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

static int steps(const rim *r, const mri *m, kr_cfloat *x, kr_cfloat *g, kr_map *in, kr_map *out, kr_map **h, const kr_net_watch *watch)
{
    long layers = convgru_layers(r->cell[0]);
    for (long t = 0; t < r->length; t++) {
        mri_gradient(m, g, x);
        for (long i = 0; i < m->n; i++)
            g[i] *= (float)m->in->scaling;
        map_put_complex(in, 0, x);                                   /* [x, g] */
        map_put_complex(in, 2, g);
        if (net_see_map(watch, in, 0, 1, "cell_input_step%ld", t)
            || convgru_forward(r->cell[r->cells > 1 ? t : 0], out, in, h) || net_see_map(watch, out, 0, 1, "cell_output_step%ld", t))
            return kr_error_code();
        for (long l = 0; l < layers; l++)
            if (net_see_map(watch, h[l], (int)l, (int)layers, "hidden_step%ld", t))
                return kr_error_code();
        map_get_complex(out, 0, g);
        for (long i = 0; i < m->n; i++)
            x[i] += g[i];                                            /* x = x + d */
    }
    map_put_complex(out, 0, x);
    for (long l = 0; l < layers; l++)
        if (net_see_map(watch, h[l], (int)l, (int)layers, "final_hidden"))
            return kr_error_code();
    return net_see_map(watch, out, 0, 1, "image");
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    const rim *r = self;
    long layers = convgru_layers(r->cell[0]);
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    kr_map *in = kr_map_new(4, input->h, input->w, convgru_halo(r->cell[0])), *out = kr_map_new(2, input->h, input->w, 0), *h[8] = { NULL };
    kr_auto kr_cfloat *g = kr_alloc((size_t)m.n, sizeof *g);
    int e = in && out && g ? states_new(h, layers, convgru_hidden(r->cell[0]), input->h, input->w) : kr_error_code();
    if (!e)
        e = refine(&m, r->refine, watch);
    if (!e && r->zero_filled)
        mri_sum(&m, x, input->kspace);
    else if (!e)
        mri_adjoint(&m, x, input->kspace);
    if (!e && r->start) {
        map_put_complex(out, 0, x);
        e = initialiser_forward(r->start, h, out);
    }
    if (!e)
        e = steps(r, &m, x, g, in, out, h, watch);
    kr_map_unref(&in);
    kr_map_unref(&out);
    states_clear(h, layers);
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "hidden_channels", "cell_list.0.conv_blocks.0.1.weight", 0, NULL, NULL },
    { "depth", "cell_list.0.reset_gates.%ld.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "depth", "cell_list.0.reset_gates.%ld.1.weight", KR_FACT_COUNT, NULL, NULL },
    { "length", "cell_list.%ld.conv_blocks.0.1.weight", KR_FACT_STEPS, NULL, NULL },
    { "instance_norm", "cell_list.0.reset_gates.0.1.weight", KR_FACT_THERE, "false", NULL },
    { "replication_padding", "cell_list.0.conv_blocks.0.1.weight", KR_FACT_THERE, "true", NULL },
    { .key = "dense_connect" }, { .key = "no_parameter_sharing" }, { .key = "image_initialization" }, { .key = "scale_loglikelihood" },
    { .key = "steps" }, { .key = "x_channels", .words = "2" }, { .key = "skip_connections", .words = "true|1" }, { .key = "whiten_input", .words = "false|0" },
    { .key = "normalized", .words = "false|0" }, { .key = "auxiliary_steps" }, FACTS_START("false"), FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_rim_direct = { "rim_direct", "Recurrent Inference Machine of DIRECT",
    "Putzky and Welling, arXiv:1706.04008; Lonning et al., Med Image Anal 53:64 (2019)", matches, build, destroy, run, false, true,
    .around = "direct", .steps = true, .facts = facts };
