/* cost.c: what a slice will cost, from the names and shapes of the weights alone: every multiplication of a network is in one of its
 * convolutions, and its memory is feature maps and coil data. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double padded(double channels) { return 16 * (double)(long)((channels + 15) / 16); }

/* How often a tensor of a U-Net meets each pixel of the image: every level down halves both sides. 1 outside of U-Nets. */
static double visits(const char *name, long pools)
{
    const char *p;
    long level = 0;
    if ((p = strstr(name, "down_sample_layers.")))
        level = atol(p + 19);
    else if ((p = strstr(name, "up_transpose_conv.")))
        level = pools - atol(p + 18);
    else if ((p = strstr(name, "up_conv.")))
        level = pools - 1 - atol(p + 8);
    else if ((p = strstr(name, "conv.layers.")))
        level = pools;
    level = level < 0 ? 0 : level > 15 ? 15 : level;
    return 1 / (double)(1L << 2 * level);
}

/* Poolings of the U-Net a tensor is part of: its name up to the word before them. */
static long poolings(const kr_weights *w, const char *name)
{
    static const char *const part[] = { "down_sample_layers.", "up_transpose_conv.", "up_conv.", "conv.layers." };
    for (int i = 0; i < 4; i++) {
        const char *p = strstr(name, part[i]);
        long n = 0;
        for (char key[320]; p && n < 16; n++) {
            snprintf(key, sizeof key, "%.*sdown_sample_layers.%ld.layers.0.weight", (int)(p - name), name, n);
            if (!kr_weights_find(w, key))
                break;
        }
        if (n)
            return n;
    }
    return 0;
}

static long number(const kr_weights *w, const char *name, long otherwise)
{
    long v = net_number(w, name, 0);
    return v > 0 ? v : otherwise;
}

void kr_net_cost(const kr_net_kind *kind, const kr_weights *w, long coils, long h, long wd, double *bytes, double *flops)
{
    double n = (double)h * (double)wd, c = (double)coils, numbers = 0, features = 0, initial = 0, nets[2] = { 0 };
    bool recurrent = strstr(kind->name, "rim") || !strcmp(kind->name, "recurrentvarnet");
    long layers = 0, steps = number(w, "steps", 0);
    steps = steps ? steps : number(w, "time_steps", 8);
    if (!strcmp(kind->name, "rim_direct"))
        steps = net_has(w, "cell_list.1.conv_blocks.0.1.weight") ? 1 : number(w, "length", 8);
    if (!strcmp(kind->name, "recurrentvarnet"))
        steps = net_has(w, "block_list.1.learning_rate") ? 1 : number(w, "num_steps", 8);
    *flops = 0;
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        double count = (double)kr_tensor_count(t), times = 1;
        bool maps = strstr(t->name, "sens_net.") || strstr(t->name, "sensitivity_model.");
        long pools = poolings(w, t->name);
        numbers += count;
        if (t->dims != 4)
            continue;
        if (maps)
            times = c;
        else if (recurrent && !pools && !strstr(t->name, "initializer."))
            times = (double)steps;
        *flops += 2 * count * n * times * visits(t->name, pools);
        if (!pools && !strstr(t->name, "initializer.") && (double)t->n[0] > features && !strstr(t->name, "rnn.") && !strstr(t->name, "recurrent."))
            features = (double)t->n[0];
        initial += strstr(t->name, "initializer.conv_blocks.") ? padded((double)t->n[0]) : 0;
        layers += strstr(t->name, "reset_gates.") && (strstr(t->name, "block_list.0.") || strstr(t->name, "cell_list.0."));
        /* The maps that live together on a level: before and after each block, the skip, what comes up. */
        if (pools && strstr(t->name, "down_sample_layers.0.layers.0.weight")) {
            double room = 0, chans = (double)t->n[0], pixels = n;
            for (long l = 0; l <= pools; l++, chans *= 2, pixels /= 4)
                room += padded(chans) * pixels * (l < pools ? 4.25 : 2);
            nets[maps] = room > nets[maps] ? room : nets[maps];      /* cascades share theirs */
        }
    }
    double states = strcmp(kind->name, "cirim") && strcmp(kind->name, "cirim_direct") ? (double)layers + 2 : 3;
    *bytes = 4 * numbers * 3 + 8 * n * (7 * c + 4) + 4 * n * (recurrent ? states * padded(features) + 32 + initial : strcmp(kind->name, "unet_direct") ? 32 : 64) + 4 * (nets[0] + nets[1]);
}
