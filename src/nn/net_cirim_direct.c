/* net_cirim_direct.c: the CIRIM of DIRECT (NETWORKS 3), another network than ATOMMIC's: within a cascade the image stays, the last
 * convolution is rectified, and the gradient comes before the image. */
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CASCADES = 32, DEPTH = 2 };
typedef struct block { kr_conv *conv[DEPTH + 1]; kr_cell *cell[DEPTH]; } block;
typedef struct cirim { long cascades, steps, features; block block[CASCADES]; unet *refine; } cirim;

static int matches(const kr_weights *w) { return net_has(w, "block_list.0.layers.0.recurrent.ih.weight") ? 95 : 0; }

static void destroy(void *self)
{
    cirim *r = self;
    for (int i = 0; i < CASCADES; i++) {
        for (int l = 0; l <= DEPTH; l++)
            kr_conv_unref(&r->block[i].conv[l]);
        for (int l = 0; l < DEPTH; l++)
            kr_cell_unref(&r->block[i].cell[l]);
    }
    unet_unref(&r->refine);
    kr_free(r);
}

/* f: features of the first block, 0 in that itself. */
static bool block_new(block *b, const kr_weights *w, long i, long f)
{
    for (int l = 0; l < DEPTH; l++) {
        const kr_tensor *t = net_tensor(w, "block_list.%ld.layers.%d.convs.conv_layer.weight", i, l);
        if (!net_shape(t, f, l ? f : 4, 0))
            return false;
        f = t->n[0];
        if (!(b->conv[l] = kr_conv_new(t, net_maybe(w, "block_list.%ld.layers.%d.convs.conv_layer.bias", i, l), l == 1 ? 2 : 1,
                                             KR_PAD_REPLICATE, KR_ACT_RELU, 1, NULL)))
            return false;
        const kr_tensor *ws[2] = { net_tensor(w, "block_list.%ld.layers.%d.recurrent.ih.weight", i, l),
                                   net_tensor(w, "block_list.%ld.layers.%d.recurrent.hh", i, l) };
        const kr_tensor *bs[1] = { net_maybe(w, "block_list.%ld.layers.%d.recurrent.ih.bias", i, l) };
        if (!net_shape(ws[0], f, f, 0) || !ws[1] || !(b->cell[l] = kr_cell_new(KR_CELL_INDRNN, ws, bs, false)))
            return false;
        if (net_bf16(w) && (kr_conv_bf16(b->conv[l]) || kr_cell_bf16(b->cell[l])))
            return false;
    }
    const kr_tensor *last = net_tensor(w, "block_list.%ld.final_layer.0.conv_layer.weight", i);
    return net_shape(last, 2, f, 0) && (b->conv[DEPTH] = kr_conv_new(last, NULL, 1, KR_PAD_REPLICATE, KR_ACT_RELU, 1, NULL));
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "block_list.0.layers.0.recurrent.ih.weight");
    cirim *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    bool good = true;
    net_maybe(w, "dc_weight");                                        /* a parameter that the published code never uses */
    if (net_maybe(w, "block_list.0.dc_weight"))
        good = !kr_fail(KR_EFORMAT, "shared parameters (no_parameter_sharing = False) are not built: no published model has them");
    for (; good && r->cascades < CASCADES && net_maybe(w, "block_list.%ld.layers.0.recurrent.ih.weight", r->cascades); r->cascades += good)
        good = block_new(&r->block[r->cascades], w, r->cascades, r->cascades ? kr_conv_outs(r->block[0].conv[0]) : 0);
    for (long i = 1; good && i < r->cascades; i++)                   /* they work in the same maps */
        for (int l = 0; good && l <= DEPTH; l++)
            good = kr_conv_halo(r->block[i].conv[l]) == kr_conv_halo(r->block[0].conv[l]) || kr_fail(KR_ESHAPE, "the kernels of cascade %ld are not those of the first", i) == 0;
    good = good && !refinement_of(&r->refine, all);
    r->steps = net_number(w, "steps", net_number(w, "time_steps", 8));
    r->features = good ? kr_conv_outs(r->block[0].conv[0]) : 0;
    if (good && (r->steps < 1 || r->steps > 1000))
        good = !kr_fail(KR_EFORMAT, "%ld time steps", r->steps);
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

struct maps { kr_map *in, *feature, *out, *h[DEPTH]; };

/* x becomes x + relu(final(h)) after the last step; the states start from zero. */
static int cascade(const cirim *r, long i, const mri *m, kr_cfloat *x, kr_cfloat *d, const struct maps *p, const kr_net_watch *watch)
{
    const block *b = &r->block[i];
    for (int l = 0; l < DEPTH; l++)
        memset(p->h[l]->store, 0, (size_t)(p->h[l]->blocks * p->h[l]->block) * sizeof(float));
    mri_gradient(m, d, x);
    map_put_complex(p->in, 0, d);                                     /* [g, x] */
    map_put_complex(p->in, 2, x);
    for (long t = 0; t < r->steps; t++) {
        kr_map *read = p->in;
        for (int l = 0; l < DEPTH; l++) {
            kr_conv_forward(b->conv[l], p->feature, &read);
            if (kr_cell_forward(b->cell[l], p->h[l], p->feature, NULL))
                return kr_error_code();
            read = p->h[l];
        }
        if (!watch && t + 1 < r->steps)
            continue;                                                 /* only the last step's image goes on */
        kr_conv_forward(b->conv[DEPTH], p->out, &read);
        map_get_complex(p->out, 0, d);
        for (long k = 0; k < m->n; k++)
            d[k] += x[k];
        net_see(watch, d, 2 * m->n, 0, 1, "cascade%ld_timestep%ld", i, t);
    }
    memcpy(x, d, (size_t)m->n * sizeof *x);
    return 0;
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    const cirim *r = self;
    const block *b = &r->block[0];
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    long h = input->h, w = input->w, halo = kr_conv_halo(b->conv[1]);
    struct maps p = { kr_map_new(4, h, w, kr_conv_halo(b->conv[0])), kr_map_new(r->features, h, w, 0), kr_map_new(2, h, w, 0),
                      { kr_map_new(r->features, h, w, halo), kr_map_new(r->features, h, w, halo) } };
    kr_auto kr_cfloat *d = kr_alloc((size_t)m.n, sizeof *d);
    int e = p.in && p.feature && p.out && p.h[0] && p.h[1] && d ? 0 : kr_error_code();
    if (!e)
        e = refine(&m, r->refine, watch);
    if (!e)
        mri_adjoint(&m, x, input->kspace);
    for (long i = 0; !e && i < r->cascades; i++)
        e = cascade(r, i, &m, x, d, &p, watch);
    for (long k = 0; !e && k < m.n; k++)                              /* the published output is a magnitude */
        x[k] = kr_c(sqrtf(kr_cabs2(x[k])), 0);
    kr_map_unref(&p.in);
    kr_map_unref(&p.feature);
    kr_map_unref(&p.out);
    states_clear(p.h, DEPTH);
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_cascades", "block_list.%ld.layers.0.recurrent.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { "recurrent_hidden_channels", "block_list.0.layers.0.recurrent.ih.weight", 0, NULL, NULL },
    { "depth", "block_list.0.layers.%ld.recurrent.ih.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "time_steps" }, { .key = "in_channels", .words = "2" }, { .key = "no_parameter_sharing", .words = "true|1" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_cirim_direct = { "cirim_direct", "Cascades of Independently Recurrent Inference Machines of DIRECT",
    "Karkalousos et al., Phys Med Biol 67:124001 (2022)", matches, build, destroy, run, false, true,
    .around = "direct", .steps = true, .facts = facts };
