/* net_unet.c: fastMRI's U-Net on one magnitude image (NETWORKS 6). */
#include "parts.h"
#include <string.h>

static int matches(const kr_weights *w)
{
    for (long i = 0; i < w->count; i++)           /* only where the U-Net is not a part of something else */
        if (strstr(w->tensor[i].name, "cascades.") || strstr(w->tensor[i].name, "layers_list.") || strstr(w->tensor[i].name, "block_list."))
            return 0;
    return net_has(w, "down_sample_layers.0.layers.0.weight") ? 60 : 0;
}

static void destroy(void *self)
{
    unet *u = self;
    unet_unref(&u);
}

static int build(void **self, const kr_weights *all)
{
    kr_scoped(weights) w = net_weights(all, "down_sample_layers.0.layers.0.weight");
    const kr_tensor *first = w ? net_maybe(w, "down_sample_layers.0.layers.0.weight") : NULL;
    if (w && first->dims == 4 && first->n[1] != 1)
        return kr_fail(KR_EFORMAT, "a U-Net of %ld input channels; one (the magnitude) is wanted", first->n[1]);
    return w && (*self = unet_new(w, "", 1)) ? 0 : kr_error_code();
}

static int run(void *self, kr_cfloat *x, const kr_net_input *input, const kr_net_watch *watch)
{
    if (!input->image)
        return kr_fail(KR_EREFUSED, "network unet needs an image");
    kr_scoped(map) in = kr_map_new(1, input->h, input->w, 1);
    kr_scoped(map) out = kr_map_new(1, input->h, input->w, 0);
    if (!in || !out)
        return kr_error_code();
    kr_map_put(in, input->image);
    if (unet_forward(self, out, in, watch) || net_see_map(watch, out, 0, 1, "output"))
        return kr_error_code();
    for (long y = 0; y < out->h; y++)
        for (long i = 0; i < out->w; i++)
            x[y * out->w + i] = kr_c(kr_map_at(out, 0, y, i)[0], 0);
    return 0;
}

static const kr_fact facts[] = {
    { "num_filters", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL }, { "chans", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "channels", "down_sample_layers.0.layers.0.weight", 0, NULL, NULL },
    { "num_pool_layers", "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { "pooling_layers", "down_sample_layers.%ld.layers.0.weight", KR_FACT_COUNT, NULL, NULL },
    { .key = "in_chans", .words = "1" }, { .key = "out_chans", .words = "1" }, { .key = "in_channels", .words = "1" }, { .key = "out_channels", .words = "1" },
    { .key = "drop_prob" }, { .key = "dropout_probability" }, { .key = NULL } };

const kr_net_kind kr_net_unet = { "unet", "U-Net of fastMRI on the zero-filled magnitude", "Zbontar et al., arXiv:1811.08839", matches, build, destroy, run, false, false,
    .around = "fastmri", .of_image = true, .facts = facts };
