/* netweights.h: small networks of each kind, as their entries in the table make them (kr_net_kind.small), and some under the names that published files have. */
#ifndef KRAY_NETWEIGHTS_H
#define KRAY_NETWEIGHTS_H
#include "test.h"
#include "kray/net.h"

/* The n-th small one of a network again, with the names of its tensors that begin with `from` beginning with `to`. */
static const struct { const char *net; int n; const char *from, *to; } renamed[] = {
    { "cirim", 1, "reconstruction_module.", "state_dict.cirim." },               /* mridc's, whose states begin anew in each cascade */
    { "cirim", 2, "reconstruction_module.", "model.reconstruction_module." },
    { "recurrentvarnet", 0, "block_list.", "model.block_list." },
    { "varnet_direct", 0, "layers_list.", "model.layers_list." },
};
enum { RENAMED = sizeof renamed / sizeof *renamed };

/* The kinds of small ones: each part of each `small` in the order of the table, then those renamed. NULL: there are no more. */
static inline const kr_net_kind *listed(int kind, const char **sizes, int *again)
{
    int at = 0;
    for (int i = 0; kr_nets[i]; i++)
        for (const char *p = kr_nets[i]->small; p; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL)
            if (at++ == kind) {
                *sizes = p;
                return kr_nets[i];
            }
    *again = kind - at;
    return NULL;
}

static inline int kinds(void)
{
    const char *sizes = "";
    int n = 0, again;
    while (listed(n, &sizes, &again))
        n++;
    return n + RENAMED;
}

static inline const char *word_of(int kind)
{
    const char *sizes = "";
    int again;
    const kr_net_kind *k = listed(kind, &sizes, &again);
    return k ? k->name : renamed[again].net;
}

/* The n-th of a network, those renamed last. */
static inline int kind_of(const char *net, int n)
{
    for (int kind = 0; kind < kinds(); kind++)
        if (!strcmp(word_of(kind), net) && !n--)
            return kind;
    fail_msg("no small network %s", net);
    return -1;
}

static inline kr_weights *small(int kind)
{
    const char *sizes = "";
    int again;
    const kr_net_kind *k = listed(kind, &sizes, &again);
    if (k)
        again = -1;
    else
        k = listed(kind_of(renamed[again].net, renamed[again].n), &sizes, &(int){ 0 });
    kr_weights *w = kr_weights_new();
    assert_non_null(w);
    char text[600];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(sizes, ";"), sizes);
    for (char *save, *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char key[100];
        snprintf(key, sizeof key, "hyper.%.*s", (int)strcspn(p, "="), p);
        assert_int_equal(kr_meta_set(w->meta, key, "%s", strchr(p, '=') + 1), 0);
    }
    if (k->fresh(w, 4))
        fail_msg("%s: %s", k->name, kr_error());
    for (long i = 0; i < w->count; i++) {                    /* biases are not left at 0, nor are last layers; two names of one module stay alike */
        kr_tensor *t = &w->tensor[i];
        bool zero = true;
        for (long q = 0, n = kr_tensor_count(t); q < n; q++)
            zero &= t->data[q] == 0;
        for (long q = 0, n = kr_tensor_count(t); q < n && (t->dims == 1 || zero); q++)
            t->data[q] += (float)(t->dims == 1 ? 0.1 * kr_rand_uniform(5, (uint64_t)n, (uint64_t)q) : 0.3 * (kr_rand_uniform(5, (uint64_t)i, (uint64_t)q) - 0.5));
        size_t head = again < 0 ? 0 : strlen(renamed[again].from);
        if (head && !strncmp(t->name, renamed[again].from, head)) {
            char *name = kr_strf("%s%s", renamed[again].to, t->name + head);
            kr_free(t->name);
            t->name = name;
        }
    }
    return w;
}

/* The tensors alone, as in a file that says nothing of itself. */
static inline kr_weights *bare(int kind)
{
    kr_weights *w = small(kind);
    kr_meta *none = kr_meta_new();
    assert_non_null(none);
    kr_meta_unref(&w->meta);
    w->meta = none;
    return w;
}
#endif
