/* net_unet_direct.c: the U-Net of DIRECT on the complex zero-filled image (NETWORKS 6): x + U(x) or U(x), with or without
 * standardising. */
#include "parts.h"
#include <string.h>

typedef struct direct { unet *unet, *refine; bool normalised, skip, sense; } direct;

static const char plain[] = "unet.down_sample_layers.0.layers.0.weight", standard[] = "unet.unet2d.down_sample_layers.0.layers.0.weight";

static bool ends(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.');
}

/* Two channels in, and no part of a larger network. */
static int matches(const kr_weights *w)
{
    int sure = 0;
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        if (strstr(t->name, "cascades.") || strstr(t->name, "layers_list.") || strstr(t->name, "block_list."))
            return 0;
        if (t->dims == 4 && t->n[1] == 2 && (ends(t->name, plain) || ends(t->name, standard)))
            sure = 80;
    }
    return sure;
}

static void destroy(void *self)
{
    direct *r = self;
    unet_unref(&r->unet);
    unet_unref(&r->refine);
    kr_free(r);
}

static int build(void **self, const kr_weights *all)
{
    bool normalised = net_has(all, standard), good = true;
    kr_scoped(weights) w = net_weights(all, normalised ? standard : plain);
    direct *r = w ? kr_alloc_zero(1, sizeof *r) : NULL;
    if (!r)
        return kr_error_code();
    r->normalised = normalised;
    r->skip = net_either(w, "skip_connection", "false", "true", &good);
    r->sense = net_either(w, "image_initialization", "zero_filled", "sense", &good);
    good = good && (r->unet = unet_new(w, normalised ? "unet.unet2d." : "unet.", 2)) && !refinement_of(&r->refine, all);
    if (!good) {
        destroy(r);
        return kr_error_code();
    }
    *self = r;
    return 0;
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    direct *r = self;
    mri m;
    if (mri_new(&m, input))
        return kr_error_code();
    kr_auto kr_cfloat *z = kr_alloc((size_t)m.n, sizeof *z);
    kr_scoped(map) in = kr_map_new(2, input->h, input->w, 1);
    kr_scoped(map) out = kr_map_new(2, input->h, input->w, 0);
    int e = z && in && out ? refine(&m, r->refine, watch) : kr_error_code();
    if (!e && r->sense)
        mri_adjoint(&m, x, input->kspace);
    else if (!e)
        mri_sum(&m, x, input->kspace);
    if (!e && r->normalised)
        e = norm_unet(r->unet, z, x, input->h, input->w);
    else if (!e) {
        map_put_complex(in, 0, x);
        e = unet_forward(r->unet, out, in, NULL);
        map_get_complex(out, 0, z);
    }
    for (long p = 0; p < m.n && !e; p++)
        x[p] = r->skip ? x[p] + z[p] : z[p];
    if (!e)
        net_see(watch, x, 2 * m.n, 0, 1, "image");
    mri_clear(&m);
    return e;
}

static const kr_fact facts[] = {
    { "num_filters", "unet.down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, { "num_filters", "unet2d.down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "num_pool_layers", "unet.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "num_pool_layers", "unet2d.down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "normalized", "unet2d.down_sample_layers.0.layers.0.weight", KR_FACT_THERE, "false", NULL },
    { .key = "skip_connection" }, { .key = "image_initialization" }, { .key = "dropout_probability" }, { .key = "cwn_conv", .words = "false|0" }, FACTS_REFINE, { .key = NULL } };

const kr_net_kind kr_net_unet_direct = { "unet_direct", "U-Net of DIRECT on the zero-filled complex image", "Yiasemis et al., J Open Source Softw 7:4278 (2022)",
    matches, build, destroy, run, false, false,
    .around = "direct", .magnitude = true, .facts = facts };
