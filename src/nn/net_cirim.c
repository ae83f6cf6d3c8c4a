/* net_cirim.c: RIM, IRIM and CIRIM of ATOMMIC and of mridc (NETWORKS 4): one class, told apart by its cells and cascades. The
 * two code bases differ: ATOMMIC carries the hidden states from cascade to cascade, mridc starts each from zero. */
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CASCADES = 32, DEPTH = 2 };
typedef struct block { kr_conv *conv[DEPTH + 1]; kr_cell *cell[DEPTH]; } block;
typedef struct cirim { long cascades, steps, features; bool carry, rss, centre; block block[CASCADES]; unet *maps; } cirim;

static bool atommic(const kr_weights *w) { return net_has(w, "reconstruction_module.0.layers.0.rnn.ih.weight"); }

static int matches(const kr_weights *w)
{
    return atommic(w) || net_has(w, "cirim.0.layers.0.rnn.ih.weight") ? 90 : 0;
}

static void destroy(void *self)
{
    cirim *r = self;
    for (int i = 0; i < CASCADES; i++) {
        for (int l = 0; l <= DEPTH; l++)
            kr_conv_unref(&r->block[i].conv[l]);
        for (int l = 0; l < DEPTH; l++)
            kr_cell_unref(&r->block[i].cell[l]);
    }
    unet_unref(&r->maps);
    kr_free(r);
}

/* f: features of the first block, 0 in that itself. */
static bool block_new(block *b, const kr_weights *w, const char *prefix, long f)
{
    for (int l = 0; l < DEPTH; l++) {
        const kr_tensor *t = net_tensor(w, "%slayers.%d.convs.conv_layer.weight", prefix, l);
        if (!net_shape(t, f, l ? f : 4, 0))
            return false;
        f = t->n[0];
        if (!(b->conv[l] = kr_conv_new(t, net_maybe(w, "%slayers.%d.convs.conv_layer.bias", prefix, l), l == 1 ? 2 : 1, KR_PAD_REPLICATE,
                                             KR_ACT_RELU, 1, NULL)))
            return false;
        const kr_tensor *ih = net_tensor(w, "%slayers.%d.rnn.ih.weight", prefix, l), *hh = net_maybe(w, "%slayers.%d.rnn.hh", prefix, l);
        bool ind = hh != NULL;
        if (ih && !ind)
            hh = net_tensor(w, "%slayers.%d.rnn.hh.weight", prefix, l);
        if (!net_shape(ih, 0, f, 0) || !hh)
            return false;
        enum kr_cell_kind kind = ind ? KR_CELL_INDRNN : ih->n[0] == 3 * ih->n[1] ? KR_CELL_GRU : KR_CELL_MGU;
        const kr_tensor *ws[2] = { ih, hh }, *bs[1] = { net_maybe(w, "%slayers.%d.rnn.ih.bias", prefix, l) };
        if (ih->n[0] != f * (kind == KR_CELL_GRU ? 3 : kind == KR_CELL_MGU ? 2 : 1) && !net_shape(ih, f, f, 0))
            return false;
        if (!(b->cell[l] = kr_cell_new(kind, ws, bs, false)))
            return false;
        if (net_bf16(w) && (kr_conv_bf16(b->conv[l]) || kr_cell_bf16(b->cell[l])))
            return false;
    }
    const kr_tensor *last = net_tensor(w, "%sfinal_layer.0.conv_layer.weight", prefix);
    return net_shape(last, 2, f, 0) && (b->conv[DEPTH] = kr_conv_new(last, net_maybe(w, "%sfinal_layer.0.conv_layer.bias", prefix), 1, KR_PAD_REPLICATE, KR_ACT_NONE, 1, NULL));
}

static int build(void **self, const kr_weights *all)
{
    const char *family = atommic(all) ? "reconstruction_module." : "cirim.";
    char key[80];
    snprintf(key, sizeof key, "%s0.layers.0.rnn.ih.weight", family);
    kr_scoped(weights) w = net_weights(all, key);
    cirim *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    net_maybe(w, "dc_weight");                                        /* of explicit data consistency, see below */
    bool good = !net_maybe(w, "%s0.layers.2.rnn.ih.weight", family) || kr_fail(KR_EFORMAT, "a depth of more than %d recurrent layers", DEPTH) == 0;
    for (; good && r->cascades < CASCADES && net_maybe(w, "%s%ld.layers.0.rnn.ih.weight", family, r->cascades); r->cascades += good) {
        snprintf(key, sizeof key, "%s%ld.", family, r->cascades);
        good = block_new(&r->block[r->cascades], w, key, r->cascades ? kr_conv_outs(r->block[0].conv[0]) : 0);
    }
    for (long i = 1; good && i < r->cascades; i++)                   /* they work in the same maps */
        for (int l = 0; good && l <= DEPTH; l++)
            good = kr_conv_halo(r->block[i].conv[l]) == kr_conv_halo(r->block[0].conv[l]) || kr_fail(KR_ESHAPE, "the kernels of cascade %ld are not those of the first", i) == 0;
    r->carry = atommic(all);
    r->steps = net_number(w, "steps", 0);                             /* as the user wants */
    if (!r->steps)
        r->steps = (net_number(w, "time_steps", 8) + 7) / 8 * 8;      /* as the configuration says; the published code rounds up */
    r->features = good ? kr_conv_outs(r->block[0].conv[0]) : 0;
    if (good && (r->steps < 1 || r->steps > 1000))
        good = !kr_fail(KR_EFORMAT, "%ld time steps", r->steps);
    if (good && net_number(w, "no_dc", 1) == 0)
        good = !kr_fail(KR_EFORMAT, "explicit data consistency (no_dc = False) is not built: no published model has it");
    r->rss = good && net_either(w, "coil_combination_method", "sense", "rss", &good);
    r->centre = net_number(w, "coil_sensitivity_maps_nn_mask_center", 1) != 0;
    if (good && net_maybe(w, "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight"))
        good = (r->maps = unet_new(w, "coil_sensitivity_maps_nn.norm_unet.unet.", 2));
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

struct maps { kr_map *in, *feature, *out, *h[DEPTH]; };

static int cascade(const cirim *r, long i, const mri *m, kr_cfloat *x, kr_cfloat *g, const struct maps *p, const kr_net_watch *watch)
{
    const block *b = &r->block[i];
    kr_map *read;
    for (long t = 0; t < r->steps; t++) {
        mri_gradient(m, g, x);
        for (long k = 0; m->in->scaling > 0 && m->in->scaling != 1 && k < m->n; k++)
            g[k] *= (float)m->in->scaling;
        map_put_complex(p->in, 0, x);                                 /* [x, g] */
        map_put_complex(p->in, 2, g);
        read = p->in;
        for (int l = 0; l < DEPTH; l++) {
            kr_conv_forward(b->conv[l], p->feature, &read);
            if (kr_cell_forward(b->cell[l], p->h[l], p->feature, NULL))
                return kr_error_code();
            read = p->h[l];                                           /* the state itself goes on */
        }
        kr_conv_forward(b->conv[DEPTH], p->out, &read);
        map_get_complex(p->out, 0, g);
        for (long k = 0; k < m->n; k++)
            x[k] += g[k];
        net_see(watch, x, 2 * m->n, 0, 1, "cascade%ld_timestep%ld", i, t);
        if (!i)
            for (int l = 0; l < DEPTH; l++)
                if (net_see_map(watch, p->h[l], 0, 1, "hidden%d_call%ld", l, t))
                    return kr_error_code();
    }
    for (int l = 0; l < DEPTH; l++)
        if (net_see_map(watch, p->h[l], 0, 1, "cascade%ld_final_hidden%d", i, l))
            return kr_error_code();
    return 0;
}

/* ATOMMIC's coil maps: coil images of the calibration area, each through a NormUnet, divided by their root of sum of squares. */
static int maps(const cirim *r, mri *m, const kr_net_watch *watch)
{
    for (long c = 0; c < m->coils; c++)
        for (long i = 0; i < m->n; i++)
            m->sens[c * m->n + i] = !r->centre || m->in->acs[i] != 0 ? m->in->kspace[c * m->n + i] : kr_c(0, 0);
    kr_fft_inverse(m->fft, m->sens);
    if (refine_maps(m, r->maps, true))
        return kr_error_code();
    net_see(watch, m->sens, 2 * m->n * m->coils, 0, 1, "sensitivity_maps");
    return 0;
}

/* The image to begin with, from k-space; RSS: of real and imaginary parts apart, as the published code has it. */
static void combine(const cirim *r, mri *m, kr_cfloat *x)
{
    if (!r->rss) {
        mri_adjoint(m, x, m->in->kspace);
        return;
    }
    kr_fft_inverse_to(m->fft, m->coil, m->in->kspace);
    for (long i = 0; i < m->n; i++) {
        float re = 0, im = 0;
        for (long c = 0; c < m->coils; c++) {
            kr_cfloat v = m->coil[c * m->n + i];
            re += kr_re(v) * kr_re(v);
            im += kr_im(v) * kr_im(v);
        }
        x[i] = kr_c(sqrtf(re), sqrtf(im));
    }
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    const cirim *r = self;
    const block *b = &r->block[0];
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    long h = input->h, w = input->w, halo = kr_conv_halo(b->conv[1]) > kr_conv_halo(b->conv[2]) ? kr_conv_halo(b->conv[1]) : kr_conv_halo(b->conv[2]);
    struct maps p = { kr_map_new(4, h, w, kr_conv_halo(b->conv[0])), kr_map_new(r->features, h, w, 0), kr_map_new(2, h, w, 0),
                      { kr_map_new(r->features, h, w, halo), kr_map_new(r->features, h, w, halo) } };
    kr_auto kr_cfloat *g = kr_alloc((size_t)m.n, sizeof *g);
    int e = p.in && p.feature && p.out && p.h[0] && p.h[1] && g ? 0 : kr_error_code();
    if (!e && !input->sens)
        e = r->maps ? maps(r, &m, watch) : kr_fail(KR_EREFUSED, "network cirim needs coil maps");
    if (!e && input->start)
        memcpy(x, input->start, (size_t)m.n * sizeof *x);
    else if (!e)
        combine(r, &m, x);
    for (long i = 0; !e && i < r->cascades; i++) {
        for (int l = 0; l < DEPTH && i && !r->carry; l++)
            memset(p.h[l]->store, 0, (size_t)(p.h[l]->blocks * p.h[l]->block) * sizeof(float));
        e = cascade(r, i, &m, x, g, &p, watch);
    }
    if (!e)
        net_see(watch, x, 2 * m.n, 0, 1, "image");
    kr_map_unref(&p.in);
    kr_map_unref(&p.feature);
    kr_map_unref(&p.out);
    states_clear(p.h, DEPTH);
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_cascades", "reconstruction_module.%ld.layers.0.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "num_cascades", "cirim.%ld.layers.0.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "depth", "0.layers.%ld.rnn.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "conv_filters", "0.layers.%ld.convs.conv_layer.weight", 0, NULL, "0.final_layer.0.conv_layer.weight" },
    { "conv_kernels", "0.layers.%ld.convs.conv_layer.weight", 2, NULL, "3" },
    { "recurrent_filters", "0.layers.%ld.rnn.ih.weight", 1, NULL, "0" },
    { "recurrent_kernels", "0.layers.%ld.rnn.ih.weight", 2, NULL, "0" },
    { .key = "conv_dilations", .words = "1 2 1" }, { .key = "recurrent_dilations", .words = "1 1 0" }, { .key = "conv_bias", .words = "true true false|1 1 0" },
    { .key = "recurrent_bias", .words = "true true false|1 1 0" }, { .key = "conv_dim", .words = "2" }, { .key = "dimensionality", .words = "2" },
    { .key = "spatial_dims", .words = "-2 -1|none" }, { .key = "consecutive_slices", .words = "1" }, { "estimate_coil_sensitivity_maps_with_nn", "coil_sensitivity_maps_nn.norm_unet.unet.conv.layers.0.weight", KR_FACT_THERE, "false", NULL },
    { "coil_sensitivity_maps_nn_chans", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "coil_sensitivity_maps_nn_pools", "coil_sensitivity_maps_nn.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "coil_sensitivity_maps_nn_mask_type", .words = "1D|2D" }, { .key = "coil_sensitivity_maps_nn_mask_center" },
    { .key = "coil_sensitivity_maps_nn_normalize", .words = "true|1" },
    { .key = "use_sens_net", .words = "false|0|none" },
    { .key = "recurrent_layer" }, { .key = "time_steps" }, { .key = "no_dc" }, { .key = "keep_prediction" }, { .key = "keep_eta" }, { .key = "fft_normalization" },
    { .key = "coil_combination_method" }, { .key = "coil_dim" }, { .key = NULL } };

const kr_net_kind kr_net_cirim = { "cirim", "Recurrent Inference Machines of ATOMMIC and mridc: RIM (GRU, MGU), IRIM and CIRIM (IndRNN)",
    "Karkalousos et al., Phys Med Biol 67:124001 (2022)", matches, build, destroy, run, false, true,
    .around = "atommic", .maps_too = true, .steps = true, .facts = facts };
