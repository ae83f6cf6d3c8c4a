/* net_varnet.c: the End-to-End Variational Network of fastMRI (NETWORKS 5.1): U-Nets on the standardised image as regulariser,
 * coil maps by another U-Net from the calibration lines. */
#include "parts.h"
#include <stdio.h>
#include <string.h>

enum { CASCADES = 64 };
typedef struct varnet { long cascades; unet *unet[CASCADES], *sens; float weight[CASCADES]; } varnet;

static int matches(const kr_weights *w) { return net_has(w, "cascades.0.model.unet.conv.layers.0.weight") ? 95 : 0; }

static void destroy(void *self)
{
    varnet *r = self;
    for (long i = 0; i < CASCADES; i++)
        unet_unref(&r->unet[i]);
    unet_unref(&r->sens);
    kr_free(r);
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "cascades.0.dc_weight");
    varnet *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    bool good = true;
    char prefix[64];
    for (; good && r->cascades < CASCADES; r->cascades += good) {
        const kr_tensor *dc = net_maybe(w, "cascades.%ld.dc_weight", r->cascades);
        if (!dc)
            break;
        snprintf(prefix, sizeof prefix, "cascades.%ld.model.unet.", r->cascades);
        good = net_scalar(dc) && (r->unet[r->cascades] = unet_new(w, prefix, 2));
        r->weight[r->cascades] = good ? dc->data[0] : 0;
    }
    good = good && (r->sens = unet_new(w, "sens_net.norm_unet.unet.", 2));
    for (long i = 1; good && i < r->cascades; i++)
        unet_borrow(r->unet[i], r->unet[0]);        /* one runs at a time */
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

struct update { const mri *m; kr_cfloat *k; const kr_cfloat *prior; float weight; };

/* k = k - dc M (k - y) - F S U(R F^-1 k) */
static int update_coil(void *self, long c)
{
    const struct update *u = self;
    const kr_net_input *d = u->m->in;
    long n = u->m->n;
    kr_cfloat *k = u->k + c * n;
    const kr_cfloat *y = d->kspace + c * n, *p = u->prior + c * n;
    for (long i = 0; i < n; i++)
        k[i] = d->mask[i] != 0 ? k[i] - u->weight * (k[i] - y[i]) - p[i] : k[i] - p[i];
    return 0;
}

static int calibration(void *self, long c)
{
    const mri *m = self;
    for (long i = 0; i < m->n; i++)
        m->sens[c * m->n + i] = m->in->acs[i] != 0 ? m->in->kspace[c * m->n + i] : kr_c(0, 0);
    return 0;
}

static int maps(varnet *r, mri *m, const kr_net_watch *watch)
{
    if (kr_for(m->coils, calibration, m))
        return kr_error_code();
    kr_fft_inverse(m->fft, m->sens);
    net_see(watch, m->sens, 2 * m->n * m->coils, 0, 1, "sens_unet_input");
    if (refine_maps(m, r->sens, true))
        return kr_error_code();
    net_see(watch, m->sens, 2 * m->n * m->coils, 0, 1, "sens_maps");
    return 0;
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    varnet *r = self;
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    kr_auto kr_cfloat *k = kr_alloc((size_t)(m.n * m.coils), sizeof *k);
    int e = k ? maps(r, &m, watch) : kr_error_code();
    if (!e)
        memcpy(k, input->kspace, (size_t)(m.n * m.coils) * sizeof *k);
    for (long i = 0; !e && i < r->cascades; i++) {
        mri_adjoint(&m, x, k);
        net_see(watch, x, 2 * m.n, 0, 1, "unet_input_cascade%ld", i);
        e = norm_unet(r->unet[i], x, x, input->h, input->w);
        net_see(watch, x, 2 * m.n, 0, 1, "unet_output_cascade%ld", i);
        mri_forward(&m, m.coil, x);
        struct update u = { &m, k, m.coil, r->weight[i] };
        if (!e)
            e = kr_for(m.coils, update_coil, &u);
        net_see(watch, k, 2 * m.n * m.coils, 0, 1, "kspace_cascade%ld", i);
    }
    if (!e)
        mri_rss(&m, x, k);
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_cascades", "cascades.%ld.dc_weight", KR_FACT_COUNT, NULL, NULL },
    { "chans", "cascades.0.model.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "pools", "cascades.0.model.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "sens_chans", "sens_net.norm_unet.unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "sens_pools", "sens_net.norm_unet.unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "mask_center" }, { .key = NULL } };

const kr_net_kind kr_net_varnet = { "varnet", "End-to-End Variational Network of fastMRI", "Sriram et al., MICCAI 2020, arXiv:2004.06688",
    matches, build, destroy, run, true, false,
    .around = "fastmri", .magnitude = true, .facts = facts };
