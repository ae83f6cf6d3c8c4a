/* net.c: the table of networks; keys and hyper-parameters. */
#include "parts.h"
#include "kray_nets.h"
#include "kray/linop.h"
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DECLARE(name) extern const kr_net_kind kr_net_##name;
KR_LIST(DECLARE)
#define ENTRY(name) &kr_net_##name,
const kr_net_kind *const kr_nets[] = { KR_LIST(ENTRY) NULL };

const kr_net_kind *kr_net_kind_named(const char *name)
{
    int i = 0;
    while (kr_nets[i] && strcmp(kr_nets[i]->name, name))
        i++;
    return kr_nets[i];
}

/* Runs that wait for the next slice: one for each thread that runs the network. */
enum { IDLE = 16, INPUTS = KR_NET_INPUTS };
struct idle { kr_run *run; unsigned use; int threads; kr_extent n[INPUTS]; };       /* threads: that it was planned for */
struct kr_net { const kr_net_kind *kind; kr_graph *graph; pthread_mutex_t lock; struct idle idle[IDLE]; kr_net_take *take; void *self; };

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

void net_left_out(const kr_weights *w, const char *prefix)
{
    for (long i = 0; i < w->count; i++)
        if (!strncmp(w->tensor[i].name, prefix, strlen(prefix)))
            *w->tensor[i].read = true;
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

bool net_real(double *to, const kr_weights *w, const char *name, double otherwise)
{
    const char *v = net_word(w, name, NULL);
    char *end = NULL;
    *to = v ? strtod(v, &end) : otherwise;
    return !v || (end != v && !*end && *to - *to == 0) || kr_fail(KR_EFORMAT, "%s is '%s'; a number is wanted", name, v) == 0;
}

static const char turned_key[] = "turned";
bool net_turned(const kr_weights *w) { return kr_meta_get(w->meta, turned_key) != NULL; }

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

bool net_is_conv(const kr_tensor *t, long ins)
{
    if (t->dims == 4 && t->n[0] > 0 && t->n[1] == ins && t->n[2] == t->n[3] && t->n[2] % 2 && t->n[2] < 32)
        return true;
    return kr_fail(KR_ESHAPE, "the tensor '%s' is no convolution of %ld channels with an odd square kernel", t->name, ins) == 0;
}

/* Kernels of all convolutions with their two axes exchanged (those of complex numbers have a fifth axis of two); the other numbers are those of w. */
static kr_weights *turn(const kr_weights *w)
{
    kr_weights *t = kr_weights_under(w, "");
    if (t && kr_meta_set(t->meta, turned_key, "1"))
        kr_weights_unref(&t);
    for (long i = 0; t && i < t->count; i++) {
        kr_tensor *k = &t->tensor[i];
        long of = k->dims == 5 && k->n[4] == 2 ? 2 : 1, n = (k->dims == 4 || of == 2) && k->n[2] == k->n[3] ? k->n[2] : 1;
        float *turned = n > 1 ? kr_alloc((size_t)kr_tensor_count(k), sizeof *turned) : NULL;
        for (long f = 0; turned && f < k->n[0] * k->n[1]; f++)
            for (long y = 0; y < n; y++)
                for (long x = 0; x < n * of; x++)
                    turned[((f * n + y) * n + x / of) * of + x % of] = k->data[((f * n + x / of) * n + y) * of + x % of];
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
    long before = kr_mem_refused();
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
    if (kr_mem_lacked(0, before))                            /* a look that could not be taken */
        best = NULL;
    else if (!best && name)
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

static kr_graph *graph_of(const kr_net_kind *kind, const kr_weights *w, unsigned how)
{
    for (long i = 0; i < w->count; i++)
        *w->tensor[i].read = false;
    if (strcmp(net_word(w, "operator", "mri"), "mri") && !kind->any_operator) {
        kr_fail(KR_EREFUSED, "network %s is for data of MRI", kind->name);
        return NULL;
    }
    kr_graph *g = net_config(w, kind) ? NULL : kr_graph_new(how | (net_bf16(w) ? KR_BF16 : 0), NULL);
    if (g && (kind->build(g, w) || graph_refused(g) || all_read(w, kind) || graph_full_names(g, w) || kr_graph_pack(g)))
        kr_graph_unref(&g);
    if (!g)
        kr_fail_in("network %s", kind->name);
    return g;
}

kr_graph *kr_net_graph(const char *name, const kr_weights *w)
{
    const kr_net_kind *kind = kr_net_kind_for(name, w);
    return kind ? graph_of(kind, w, KR_KEEP) : NULL;
}

kr_net *kr_net_new(const char *name, const kr_weights *w, bool turned)
{
    const kr_net_kind *kind = kr_net_kind_for(name, w);
    if (kind && net_bf16(w) && !kind->bf16) {
        kr_fail(KR_EREFUSED, "network %s runs in float32 only: its instance norms magnify what bfloat16 loses", kind->name);
        return NULL;
    }
    turned = turned && kind && !kind->own_axes;
    kr_scoped(weights) t = turned ? turn(w) : NULL;
    if (!kind || (turned && !t))
        return NULL;
    kr_net *n = kr_alloc_zero(1, sizeof *n);
    if (!n)
        return NULL;
    n->kind = kind;
    pthread_mutex_init(&n->lock, NULL);
    if (!(n->graph = graph_of(kind, t ? t : w, 0)))
        kr_net_unref(&n);
    return n;
}

int kr_net_complete(kr_weights *w, const kr_net_kind *kind, const kr_weights *began)
{
    if (kind->again && kind->again(w))
        return kr_error_code();
    for (long i = 0; i < began->count; i++) {
        const kr_tensor *t = &began->tensor[i];
        kr_tensor *to = kr_weights_find(w, t->name) ? NULL : kr_weights_add(w, t->name, t->dims, t->n);
        if (!to && !kr_weights_find(w, t->name))
            return kr_error_code();
        if (to)
            memcpy(to->data, t->data, (size_t)kr_tensor_count(t) * sizeof *t->data);
    }
    return 0;
}

kr_net *kr_net_stand_in(const kr_net_kind *kind, kr_net_take *take, void *self)
{
    kr_net *n = kr_alloc_zero(1, sizeof *n);
    if (!n)
        return NULL;
    n->kind = kind;
    n->take = take;
    n->self = self;
    pthread_mutex_init(&n->lock, NULL);
    return n;
}

static void idle_clear(struct idle *i)
{
    kr_run_unref(&i->run);
    *i = (struct idle){ 0 };
}

void kr_net_unref(kr_net **pn)
{
    kr_net *n = *pn;
    for (int i = 0; n && i < IDLE; i++)
        idle_clear(&n->idle[i]);
    if (n) {
        kr_graph_unref(&n->graph);
        pthread_mutex_destroy(&n->lock);
    }
    kr_free_at(pn);
}

const kr_net_kind *kr_net_kind_of(const kr_net *n) { return n->kind; }

/* What a slice offers, by the names of inputs. */
static const struct { const char *name, *word; enum kr_value_kind kind; } offered[] = { { "kspace", "k-space", KR_COILS }, { "mask", "a mask", KR_REAL },
    { "acs", "a calibration area", KR_REAL }, { "padding", "padding", KR_REAL }, { "sens", "coil maps", KR_COILS }, { "start", "a first image", KR_IMAGE },
    { "image", "an image", KR_REAL }, { "scaling", "a factor", KR_NUMBERS },
    { "kspace_unit", "a factor", KR_NUMBERS }, { "squared_scale", "a factor", KR_NUMBERS }, { "adjoint", "the adjoint of the samples", KR_IMAGE }, { "noise", "the noise of the samples", KR_REAL }, { "rays", "an operator", KR_OPERATOR }, { "filtered", "filtered back-projection", KR_OPERATOR } };
enum { OFFERED = sizeof offered / sizeof *offered };

/* A factor, where it is one: 0 and 1 change nothing. */
static const double *other(const double *v) { return *v > 0 && *v != 1 ? v : NULL; }

/* Extents and data of the graph's inputs. */
int kr_net_inputs(const kr_graph *g, const char *name, const kr_net_input *in, kr_extent *n, const void **data)
{
    const void *have[OFFERED] = { in->kspace, in->mask, in->acs, in->padding, in->sens, in->start, in->image, other(&in->scaling), other(&in->kspace_unit), other(&in->squared_scale), in->adjoint, in->noise, in->rays, in->filtered };
    for (long i = 0; i < kr_graph_inputs(g); i++) {
        int k = 0;
        while (k < OFFERED && strcmp(offered[k].name, kr_graph_input_name(g, i)))
            k++;
        if (k == OFFERED || i >= INPUTS)
            return kr_fail(KR_EREFUSED, "%s takes '%s', which is no part of a scan", name, kr_graph_input_name(g, i));
        data[i] = have[k];
        if (!data[i] && kr_graph_input_must(g, i))
            return kr_fail(KR_EREFUSED, "network %s needs %s", name, offered[k].word);
        bool number = offered[k].kind == KR_NUMBERS;
        if (in->rays && !strcmp(offered[k].name, "kspace")) {
            n[i] = (kr_extent){ KR_COILS, 1, 1, in->views, in->columns };
            continue;
        }
        n[i] = data[i] ? (kr_extent){ offered[k].kind, offered[k].kind == KR_COILS ? in->coils : 1, 1, number ? 1 : in->h, number ? 1 : in->w } : (kr_extent){ KR_ABSENT, 0, 0, 0, 0 };
    }
    return 0;
}

static bool same(const struct idle *a, const kr_extent *n, long inputs, unsigned use, int threads)
{
    bool good = a->run && a->use == use && a->threads == threads;
    for (long i = 0; good && i < inputs; i++)
        good = a->n[i].kind == n[i].kind && a->n[i].chan == n[i].chan && a->n[i].y == n[i].y && a->n[i].x == n[i].x;
    return good;
}

static void drop_others(kr_net *n, const struct idle *r)
{
    for (int i = 0; i < IDLE; i++)
        if (n->idle[i].run && !same(&n->idle[i], r->n, kr_graph_inputs(n->graph), r->use, r->threads))
            idle_clear(&n->idle[i]);
}

/* A run for that size, out of those that wait or a new one; several threads may ask at once. Those of other sizes go first. */
static int run_for(kr_net *n, struct idle *r, unsigned use)
{
    long inputs = kr_graph_inputs(n->graph);
    pthread_mutex_lock(&n->lock);
    r->use = use;
    r->threads = kr_threads();
    drop_others(n, r);
    for (int i = 0; i < IDLE && !r->run; i++)
        if (same(&n->idle[i], r->n, inputs, use, r->threads)) {
            *r = n->idle[i];
            n->idle[i].run = NULL;
        }
    pthread_mutex_unlock(&n->lock);
    return r->run || ((r->run = kr_graph_plan(n->graph, r->n, use, 0)) && !kr_run_lend(r->run, NULL)) ? 0 : kr_error_code();
}

/* It waits for the next slice of its size. */
static void run_back(kr_net *n, struct idle *r)
{
    pthread_mutex_lock(&n->lock);
    drop_others(n, r);
    for (int i = 0; i < IDLE && r->run; i++)
        if (!n->idle[i].run) {
            n->idle[i] = *r;
            r->run = NULL;
        }
    pthread_mutex_unlock(&n->lock);
    idle_clear(r);
}

struct seeing { const kr_net_watch *watch; int failed; };

static void see(void *self, const kr_value *v, const char *name, int layer, int layers)
{
    struct seeing *s = self;
    long pixels = v->n.y * v->n.x, numbers = v->n.kind == KR_REAL ? pixels : 2 * pixels * (v->n.kind == KR_COILS ? v->n.chan : 1);
    if (v->n.kind != KR_FEATURES) {
        s->watch->see(s->watch->self, name, v->data, numbers, layer, layers);
        return;
    }
    kr_auto float *planar = kr_alloc((size_t)(v->n.chan * pixels), sizeof *planar);
    if (!planar) {
        s->failed = kr_error_code();
        return;
    }
    kr_map_get(&v->map, planar);
    s->watch->see(s->watch->self, name, planar, v->n.chan * pixels, layer, layers);
}

int kr_net_run(kr_net *n, kr_cfloat *image, const kr_net_input *in, const kr_net_watch *watch)
{
    if (in->h < 1 || in->w < 1 || (in->kspace && in->coils < 1))
        return kr_fail(KR_ESHAPE, "network %s: a slice of %ld x %ld with %ld coils", n->kind->name, in->h, in->w, in->coils);
    if (n->kind->maps_too && in->kspace && !in->sens && !in->acs)
        return kr_fail(KR_EREFUSED, "network %s needs coil maps", n->kind->name);
    if (n->take)
        return n->take(n->self, image, in);
    struct idle r = { 0 };
    const void *data[INPUTS];
    if (kr_net_inputs(n->graph, n->kind->name, in, r.n, data))
        return kr_error_code();
    if (run_for(n, &r, (in->centred ? 0 : KR_CORNER) | (watch ? KR_WATCH : 0))) {
        idle_clear(&r);
        return kr_fail_in("network %s", n->kind->name);
    }
    struct seeing s = { watch, 0 };
    for (long i = 0; i < kr_graph_inputs(n->graph); i++)
        kr_run_input(r.run, i, data[i]);
    kr_error_clear();
    kr_run_forward(r.run, watch ? see : NULL, &s);
    int e = kr_error_code() == KR_EMEM ? kr_error_code() : s.failed;        /* the plain way that a layer then took has other last digits */
    const kr_value *out = kr_run_output(r.run, kr_graph_outputs(n->graph) - 1);
    for (long i = 0; i < in->h * in->w; i++)
        image[i] = out->n.kind == KR_IMAGE ? LAY_C(out)[i] : kr_c(LAY_R(out)[i], 0);
    run_back(n, &r);
    return e;
}

int kr_net_cost(const kr_net_kind *kind, const kr_weights *w, const kr_net_input *of, double *bytes, double *flops)
{
    kr_graph *g = graph_of(kind, w, 0);
    kr_extent n[INPUTS];
    const void *data[INPUTS];
    const kr_cfloat some = 0;
    const float one = 1;
    kr_net_input in = { .coils = of->coils, .h = of->h, .w = of->w, .views = of->views, .columns = of->columns, .kspace = &some, .mask = &one, .acs = &one, .sens = &some, .image = &one, .scaling = 1, .adjoint = &some, .noise = &one };
    for (long i = 0; g && i < kr_graph_inputs(g); i++)       /* a first image is a matter of choice to others */
        if (!strcmp(kr_graph_input_name(g, i), "start") && kr_graph_input_must(g, i))
            in.start = &some;
    if (!strcmp(net_word(w, "operator", "mri"), "rays"))
        in.rays = in.filtered = (const kr_linop *)(const void *)&some;               /* their size alone is looked at */
    kr_run *r = g && !kr_net_inputs(g, kind->name, &in, n, data) ? kr_graph_plan(g, n, 0, 0) : NULL;
    int e = r ? 0 : kr_error_code();
    *bytes = *flops = 0;
    if (r) {
        /* Weights as they were read and as they are packed, the block of the run and what it is planned with, the slice itself. */
        double numbers = kr_graph_params_count(g), pixels = (double)of->h * (double)of->w;
        *bytes = 4 * numbers + (double)kr_graph_bytes(g) + (double)kr_run_bytes(r) + (double)kr_run_overhead(r) + pixels * (24 * (double)of->coils + 16);
        *flops = kr_run_flops(r);
    }
    kr_run_unref(&r);
    kr_graph_unref(&g);
    return e;
}
