/* part_chain.c: convolutions one after the other, as PyTorch numbers the modules of a Sequential: convolutions, batch norms and PReLUs; and networks that a file holds
 * several times over. */
#include "parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool net_equal(const kr_tensor *a, const kr_tensor *b)
{
    return kr_tensor_count(a) == kr_tensor_count(b) && !memcmp(a->data, b->data, (size_t)kr_tensor_count(a) * sizeof *a->data);
}

kr_node batch_norm(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long by)
{
    static const char *const part[4] = { "weight", "bias", "running_mean", "running_var" };
    const kr_tensor *t[4];
    net_maybe(w, "%snum_batches_tracked", prefix);
    for (int i = 0; i < 4; i++)
        if (!(t[i] = net_tensor(w, "%s%s", prefix, part[i])))
            return graph_fail(g);
    return lay_batch_norm(g, x, t, by);
}

kr_node chain(kr_graph *g, const kr_weights *w, const char *prefix, kr_node x, long outs, const kr_tensor **slope)
{
    char name[256];
    for (int i = 0; net_maybe(w, "%s%d.weight", prefix, i) && !graph_refused(g); i++) {
        const kr_tensor *t = net_tensor(w, "%s%d.weight", prefix, i);
        snprintf(name, sizeof name, "%s%d.", prefix, i);
        if (net_maybe(w, "%srunning_mean", name))
            x = batch_norm(g, w, name, x, 10000);
        else if (t->dims == 4)
            x = net_shape(t, 0, graph_extent(g, x).chan, 3) ? lay_conv(g, &x, 1, t, net_tensor(w, "%sbias", name), 1, KR_PAD_ZERO, KR_ACT_NONE, 0) : graph_fail(g);
        else {                                               /* one module for all: the same numbers under each name */
            *slope = !*slope ? t : *slope;
            x = lay_prelu(g, x, net_equal(t, *slope) ? *slope : t);
        }
    }
    if (!graph_refused(g) && graph_extent(g, x).chan != outs) {
        kr_fail(KR_ESHAPE, "the convolutions under '%s' give %ld channels; %ld are wanted there", prefix, graph_extent(g, x).chan, outs);
        return graph_fail(g);
    }
    return x;
}

int chain_fresh(kr_weights *w, uint64_t seed, const char *prefix, long ins, long outs, long hidden, long convs, bool batch)
{
    static const char *const part[4] = { "bias", "running_mean", "weight", "running_var" };
    int e = 0;
    for (long i = 0, at = 0; i < convs && !e; i++, at++) {
        bool last = i == convs - 1;
        e = net_fresh_conv(w, seed, last ? 0.1 : 2, last ? outs : hidden, i ? hidden : ins, 3, "%s%ld.", prefix, at);      /* the last one: a small correction */
        at += batch;
        for (int k = 0; k < 4 && batch && !e; k++)
            e = net_fresh_value(w, k / 2, last ? outs : hidden, "%s%ld.%s", prefix, at, part[k]);
        e = e || last ? e : net_fresh_value(w, 0.25, 1, "%s%ld.weight", prefix, ++at);
    }
    return e;
}

long net_pairs(const kr_weights *w, long usual)
{
    long copies = net_copies(w, "image_model_list."), more = copies ? net_copies(w, "kspace_model_list.") : 0, count = net_number(w, "num_iter", copies > 1 ? copies : usual);
    if (!more)
        return kr_error_code();
    if (copies != more || count < 1 || count > 1000 || (copies > 1 && copies != count))
        return kr_fail(KR_EFORMAT, "num_iter is %ld, the weights have %ld networks of images and %ld of k-space", count, copies, more);
    return count;
}

int net_which(const kr_weights *w, const char *prefix, const char *const *keys, int count)
{
    while (--count >= 0) {
        kr_auto char *key = kr_strf("%s%s", prefix, keys[count]);
        if (key && net_has(w, key))
            break;
    }
    return count;
}

long net_copies(const kr_weights *w, const char *list)
{
    long most = 0;
    size_t k = strlen(list);
    for (long i = 0; i < w->count; i++) {
        const kr_tensor *t = &w->tensor[i];
        char *rest = NULL;
        long at = !strncmp(t->name, list, k) ? strtol(t->name + k, &rest, 10) : -1;
        most = at > most ? at : most;
        if (at < 1 || !rest)
            continue;
        const kr_tensor *first = net_maybe(w, "%s0%s", list, rest);
        if (!first || !net_equal(first, t)) {
            kr_fail(KR_EFORMAT, "the tensor '%s' differs from '%s0%s': the iterations share one network", t->name, list, rest);
            return 0;
        }
        *t->read = true;
    }
    return most + 1;
}

/* ---- As it is published ---- */
/* The tensor at `index` again, under a name. */
static int as_well(kr_weights *w, long index, char *name)
{
    kr_auto char *own = name;
    if (!own)
        return kr_error_code();
    if (kr_weights_find(w, own))
        return 0;
    const kr_tensor t = w->tensor[index];
    kr_tensor *to = kr_weights_add(w, own, t.dims, t.n);
    if (to)
        memcpy(to->data, t.data, (size_t)kr_tensor_count(&t) * sizeof *t.data);
    return to ? 0 : kr_error_code();
}

int net_again(kr_weights *w, const char *list, long copies)
{
    size_t k = strlen(list);
    int e = 0;
    for (long c = 1; c < copies; c++)
        for (long i = 0, n = w->count; i < n && !e; i++) {
            const char *name = w->tensor[i].name, *at = strstr(name, list);
            if (at && at[k] == '0' && at[k + 1] == '.')
                e = as_well(w, i, kr_strf("%.*s%s%ld%s", (int)(at - name), name, list, c, at + k + 1));
        }
    return e;
}

/* A slope stands right before every convolution but the first. */
int chain_again(kr_weights *w, const char *chains)
{
    long slope = -1;
    int e = 0;
    for (long i = 0; i < w->count && slope < 0; i++)
        slope = strstr(w->tensor[i].name, chains) && kr_tensor_count(&w->tensor[i]) == 1 && strstr(w->tensor[i].name, ".weight") ? i : -1;
    for (long i = 0, n = w->count; i < n && slope >= 0 && !e; i++) {
        const char *name = w->tensor[i].name, *at = strstr(name, chains);
        char *rest = NULL;
        long number = at && w->tensor[i].dims == 4 ? strtol(at + strlen(chains), &rest, 10) : 0;
        if (number > 0 && !strcmp(rest, ".weight"))
            e = as_well(w, slope, kr_strf("%.*s%ld.weight", (int)(at + strlen(chains) - name), name, number - 1));
    }
    return e;
}

static int didn_again(kr_weights *w)
{
    static const char *const twice[] = { ".conv1_1.", ".conv1_2." };
    int e = 0;
    for (int k = 0; k < 2; k++)
        for (long i = 0, n = w->count; i < n && !e; i++) {
            const char *name = w->tensor[i].name, *at = strstr(name, twice[k]);
            if (at && (at[9] == '0' || at[9] == '1') && at[10] == '.')
                e = as_well(w, i, kr_strf("%.*s%c%s", (int)(at + 9 - name), name, at[9] + 2, at + 10));
        }
    return e;
}

int lists_again(kr_weights *w, const char *chains, const char *list, const char *other, long copies)
{
    int e = chain_again(w, chains);
    e = e ? e : didn_again(w);
    e = e ? e : net_again(w, list, copies);
    return e ? e : net_again(w, other, copies);
}
