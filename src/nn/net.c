/* net.c: the table of networks; keys and hyper-parameters. */
#include "parts.h"
#include "kray_nets.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_net_kind kr_net_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_net_##name,
const kr_net_kind *const kr_nets[] = { KR_LIST(ENTRY) NULL };

struct kr_net { const kr_net_kind *kind; void *self; };

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n >= k && !strcmp(s + n - k, with) && (n == k || s[n - k - 1] == '.');
}

bool net_has(const kr_weights *w, const char *key)
{
    for (long i = 0; i < w->count; i++)
        if (ends(w->tensor[i].name, key))
            return true;
    return false;
}

kr_weights *net_weights(const kr_weights *w, const char *key)
{
    for (long i = 0; i < w->count; i++)
        if (ends(w->tensor[i].name, key)) {
            kr_auto char *prefix = kr_strf("%.*s", (int)(strlen(w->tensor[i].name) - strlen(key)), w->tensor[i].name);
            return prefix ? kr_weights_under(w, prefix) : NULL;
        }
    kr_fail(KR_EFORMAT, "the weights have no '%s'; the first of their %ld tensors is '%s'", key, w->count, w->count ? w->tensor[0].name : "");
    return NULL;
}

static const kr_tensor *asked(const kr_tensor *t)
{
    if (t)
        *t->read = true;
    return t;
}

const kr_tensor *net_maybe(const kr_weights *w, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return asked(kr_weights_find(w, name));
}

const kr_tensor *net_tensor(const kr_weights *w, const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const kr_tensor *t = asked(kr_weights_find(w, name));
    if (!t)
        kr_fail(KR_EFORMAT, "the weights lack the tensor '%s'", name);
    return t;
}

bool net_scalar(const kr_tensor *t)
{
    return kr_tensor_count(t) == 1 || kr_fail(KR_ESHAPE, "the tensor '%s' has %ld numbers; one is wanted there", t->name, kr_tensor_count(t)) == 0;
}

bool net_either(const kr_weights *w, const char *name, const char *a, const char *b, bool *good)
{
    const char *v = net_word(w, name, a);
    bool is_b = !strcasecmp(v, b);
    if (*good && !is_b && strcasecmp(v, a))
        *good = kr_fail(KR_EFORMAT, "%s is '%s'; Kray has %s and %s", name, v, a, b) == 0;
    return is_b;
}

/* "64 x any x 3 x 3" */
static void lengths(kr_text *to, const long *n, int count)
{
    for (int d = 0; d < count; d++)
        kr_text_add(to, n[d] ? "%s%ld" : "%sany", d ? " x " : "", n[d]);
}

bool net_shape(const kr_tensor *t, long outs, long ins, long k)
{
    if (!t)
        return kr_error_code() ? false : kr_fail(KR_EFORMAT, "the weights lack a tensor") == 0;
    if (t->dims == 4 && t->n[0] > 0 && t->n[1] > 0 && (!outs || t->n[0] == outs) && (!ins || t->n[1] == ins) && (!k || (t->n[2] == k && t->n[3] == k)))
        return true;
    kr_text is = { 0 }, wanted = { 0 };
    lengths(&is, t->n, t->dims);
    lengths(&wanted, (long[]){ outs, ins, k, k }, 4);
    kr_fail(KR_ESHAPE, "the tensor '%s' has the shape %s; %s is wanted there", t->name, is.s ? is.s : "of one number", wanted.s ? wanted.s : "another");
    kr_text_clear(&is);
    kr_text_clear(&wanted);
    return false;
}

const char *net_word(const kr_weights *w, const char *name, const char *otherwise)
{
    const char *v = kr_weights_told(w, name);
    return v && strcmp(v, "none") ? v : otherwise;
}

long net_number(const kr_weights *w, const char *name, long otherwise)
{
    const char *v = net_word(w, name, NULL);
    if (!v)
        return otherwise;
    return !strcmp(v, "True") || !strcmp(v, "true") ? 1 : strtol(v, NULL, 10);
}

bool net_shared(const kr_weights *w, long blocks)
{
    const char *said = net_word(w, "no_parameter_sharing", NULL);
    bool apart = net_number(w, "no_parameter_sharing", blocks > 1) != 0;
    return !said || blocks < 1 || apart == (blocks > 1) || (apart && net_number(w, "num_steps", net_number(w, "length", 0)) == 1)
        || kr_fail(KR_EFORMAT, "no_parameter_sharing is %s, the weights have %ld blocks", said, blocks) == 0;
}

bool net_bf16(const kr_weights *w) { return !strcmp(net_word(w, "precision", "f32"), "bf16"); }

int net_list(const kr_weights *w, const char *name, const char *otherwise, long *to, int room)
{
    int n = 0;
    for (const char *p = net_word(w, name, otherwise); p && *p && n < room; ) {
        if (!isdigit((unsigned char)*p)) {
            p++;
            continue;
        }
        char *end;
        to[n++] = strtol(p, &end, 10);
        p = end;
    }
    return n;
}

void net_see(const kr_net_watch *watch, const void *numbers, long count, int layer, int layers, const char *fmt, ...)
{
    if (!watch)
        return;
    char name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    watch->see(watch->self, name, numbers, count, layer, layers);
}

int net_see_map(const kr_net_watch *watch, const kr_map *m, int layer, int layers, const char *fmt, ...)
{
    if (!watch)
        return 0;
    char name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    kr_auto float *planar = kr_alloc((size_t)(m->c * m->h * m->w), sizeof *planar);
    if (!planar)
        return kr_error_code();
    kr_map_get(m, planar);
    watch->see(watch->self, name, planar, m->c * m->h * m->w, layer, layers);
    return 0;
}

/* Kernels of all convolutions with their two axes exchanged; the other numbers are those of w. */
static kr_weights *turn(const kr_weights *w)
{
    kr_weights *t = kr_weights_under(w, "");
    for (long i = 0; t && i < t->count; i++) {
        kr_tensor *k = &t->tensor[i];
        long n = k->dims == 4 && k->n[2] == k->n[3] ? k->n[2] : 1;
        float *turned = n > 1 ? kr_alloc((size_t)kr_tensor_count(k), sizeof *turned) : NULL;
        for (long f = 0; turned && f < k->n[0] * k->n[1]; f++)
            for (long y = 0; y < n; y++)
                for (long x = 0; x < n; x++)
                    turned[(f * n + y) * n + x] = k->data[(f * n + x) * n + y];
        bool *read = turned ? kr_alloc_zero(1, sizeof *read) : NULL;
        if (read) {
            k->data = turned;
            k->read = read;
            k->lent = false;
        } else if (n > 1) {
            kr_free(turned);
            kr_weights_unref(&t);
        }
    }
    return t;
}

const kr_net_kind *kr_net_kind_for(const char *name, const kr_weights *w)
{
    const kr_net_kind *best = NULL;
    int sure = 0;
    if (!name)
        name = kr_meta_get(w->meta, "network");
    kr_text known = { 0 };
    for (int i = 0; kr_nets[i]; i++) {
        kr_text_add(&known, "%s%s", i ? ", " : "", kr_nets[i]->name);
        int p = kr_nets[i]->matches(w);
        /* A family word ("rim") names all whose names begin so ("rim_direct"). */
        if (name && strncmp(kr_nets[i]->name, name, strlen(name)))
            continue;
        if (p > sure) {
            sure = p;
            best = kr_nets[i];
        }
    }
    const char *first = w->count ? w->tensor[0].name : "", *all = known.s ? known.s : "none";
    if (!best && name)
        kr_fail(KR_EFORMAT, "these weights do not belong to a network '%s' (networks are %s); their first tensor is '%s'", name, all, first);
    else if (!best)
        kr_fail(KR_EFORMAT, "the keys of the weights fit no network that Kray has (%s); the first tensor is '%s'", all, first);
    kr_text_clear(&known);
    return best;
}

/* Is this tensor of the training alone (a loss, an optimiser)? */
static bool of_training(const char *name)
{
    static const char *const word[] = { "loss", "optimizer", "lr_scheduler", "scaler" };
    size_t k = strcspn(name, ".");
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        const char *at = strstr(name, word[i]);
        if (at && (size_t)(at - name) < k)
            return true;
    }
    return false;
}

/* Tensors that nobody read belong to something that would be left out. */
static int all_read(const kr_weights *w, const kr_net_kind *kind)
{
    kr_text some = { 0 };
    long n = 0;
    for (long i = 0; i < w->count; i++)
        if (!*w->tensor[i].read && !of_training(w->tensor[i].name) && n++ < 3)
            kr_text_add(&some, "%s'%s'", some.len ? ", " : "", w->tensor[i].name);
    if (n)
        kr_fail(KR_EFORMAT, "%ld of the %ld tensors belong to something that %s has not: %s%s", n, w->count, kind->name, some.s ? some.s : "",
                n > 3 ? ", ..." : "");
    kr_text_clear(&some);
    return n ? kr_error_code() : 0;
}

kr_net *kr_net_new(const char *name, const kr_weights *w, bool turned)
{
    const kr_net_kind *kind = kr_net_kind_for(name, w);
    if (kind && net_bf16(w) && !kind->bf16) {
        kr_fail(KR_EREFUSED, "network %s runs in float32 only: its instance norms magnify what bfloat16 loses", kind->name);
        return NULL;
    }
    kr_scoped(weights) t = kind && turned ? turn(w) : NULL;
    if (!kind || (turned && !t))
        return NULL;
    kr_net *n = kr_alloc_zero(1, sizeof *n);
    if (!n)
        return NULL;
    n->kind = kind;
    for (long i = 0; i < w->count; i++)
        *w->tensor[i].read = false;
    if (net_config(w, kind) || kind->build(&n->self, t ? t : w)) {
        kr_fail_in("network %s", kind->name);
        kr_free_at(&n);
    } else if (all_read(t ? t : w, kind)) {
        kr_fail_in("network %s", kind->name);
        kind->destroy(n->self);
        kr_free_at(&n);
    }
    return n;
}

void kr_net_unref(kr_net **n)
{
    if (*n)
        (*n)->kind->destroy((*n)->self);
    kr_free_at(n);
}

const kr_net_kind *kr_net_kind_of(const kr_net *n) { return n->kind; }

int kr_net_run(kr_net *n, kr_cfloat *image, const kr_net_input *in, const kr_net_watch *watch)
{
    if (in->h < 1 || in->w < 1 || (in->kspace && in->coils < 1))
        return kr_fail(KR_ESHAPE, "network %s: a slice of %ld x %ld with %ld coils", n->kind->name, in->h, in->w, in->coils);
    if (n->kind->own_maps ? in->kspace && !in->acs : in->kspace && !in->sens && !(n->kind->maps_too && in->acs))
        return kr_fail(KR_EREFUSED, "network %s needs %s", n->kind->name, n->kind->own_maps ? "a calibration area" : "coil maps");
    return n->kind->run(n->self, image, in, watch);
}
