/* graph.c: building graphs of layers, their parameters and packed weights. */
#include "plan.h"
#include <stdio.h>
#include <string.h>

/* Room for one more of an array. */
static int grow(void *pp, long count, long *room, size_t size)
{
    if (count < *room)
        return 0;
    long more = *room ? 2 * *room : 16;
    void **p = pp, *q = kr_realloc(*p, (size_t)*room, (size_t)more, size);
    if (!q)
        return kr_error_code();
    *p = q;
    *room = more;
    return 0;
}

kr_graph *kr_graph_new(unsigned how, kr_graph *outer)
{
    kr_graph *g = kr_alloc_zero(1, sizeof *g);
    if (g) {
        g->root = outer ? outer->root : g;
        g->how = outer ? outer->how : how;
    }
    return g;
}

void kr_graph_unref(kr_graph **pg)
{
    kr_graph *g = *pg;
    if (!g)
        return;
    for (long i = 0; i < g->layers; i++) {
        kr_layer *l = g->layer[i];
        if (l->packed)
            l->op->unpack(l);
        kr_graph_unref(&l->inner);
        kr_free(l);
    }
    for (long i = 0; i < g->inputs; i++)
        kr_free(g->input[i].name);
    for (long i = 0; i < g->names; i++)
        kr_free(g->name[i].name);
    for (long i = 0; i < g->params; i++) {
        kr_free(g->param[i].value.name);
        kr_free(g->param[i].value.data);
        kr_free(g->param[i].gradient.data);
        kr_free(g->param[i].exact);
        kr_free(g->param[i].exact_gradient);
    }
    kr_free(g->node);
    kr_free(g->value);
    kr_free(g->layer);
    kr_free(g->input);
    kr_free(g->name);
    kr_free(g->output);
    kr_free(g->param);
    kr_free(g->source);
    kr_free_at(pg);
}

bool graph_bf16(const kr_graph *g) { return g->how & KR_BF16; }
int graph_refused(const kr_graph *g) { return g->failed; }

kr_node graph_fail(kr_graph *g)
{
    if (!g->failed)
        g->failed = kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "a network that cannot be built");
    return (kr_node){ -1 };
}

kr_extent graph_extent(const kr_graph *g, kr_node n) { return n.at < 0 ? (kr_extent){ 0 } : g->value[n.at].n; }

static int new_value(kr_graph *g, kr_extent n, int out)
{
    if (grow(&g->value, g->values, &g->value_room, sizeof *g->value))
        return -1;
    g->value[g->values] = (struct graph_value){ n, (int)g->nodes, out };
    return (int)g->values++;
}

static struct graph_node *new_node(kr_graph *g, kr_layer *l)
{
    if (grow(&g->node, g->nodes, &g->node_room, sizeof *g->node))
        return NULL;
    struct graph_node *n = &g->node[g->nodes];
    *n = (struct graph_node){ .l = l, .segment = g->segments };
    for (int i = 0; i < KR_INS; i++)
        n->x[i] = -1;
    for (int i = 0; i < KR_OUTS; i++)
        n->y[i] = -1;
    return n;
}

kr_node graph_input(kr_graph *g, const char *name, enum kr_value_kind kind, long chan, bool must)
{
    if (g->failed)
        return (kr_node){ -1 };
    struct graph_node *n = new_node(g, NULL);
    int v = n ? new_value(g, (kr_extent){ .kind = kind, .chan = chan }, 0) : -1;
    char *copy = v < 0 ? NULL : kr_strdup(name);
    if (!copy || grow(&g->input, g->inputs, &g->input_room, sizeof *g->input)) {
        kr_free(copy);
        return graph_fail(g);
    }
    n->y[0] = v;
    g->nodes++;
    g->input[g->inputs++] = (struct graph_input){ copy, v, must };
    return (kr_node){ v };
}

void graph_output(kr_graph *g, kr_node n)
{
    if (n.at < 0 || g->failed)
        return;
    if (grow(&g->output, g->outputs, &g->output_room, sizeof *g->output))
        graph_fail(g);
    else
        g->output[g->outputs++] = n.at;
}

void graph_name(kr_graph *g, kr_node n, int layer, int layers, const char *fmt, ...)
{
    if (n.at < 0 || g->failed)
        return;
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *copy = kr_strdup(text);
    if (!copy || grow(&g->name, g->names, &g->name_room, sizeof *g->name)) {
        kr_free(copy);
        graph_fail(g);
        return;
    }
    g->name[g->names++] = (struct graph_name){ copy, n.at, layer, layers };
}

void graph_segment(kr_graph *g) { g->segments++; }

/* The parameter that this tensor is: the same numbers are one parameter, wherever they are used. -1: a refusal. */
static int param_of(kr_graph *g, const kr_tensor *t)
{
    kr_graph *r = g->root;
    for (int i = 0; i < r->params; i++)
        if (r->source[i].data == t->data)
            return i;
    if (grow(&r->param, r->params, &r->param_room, sizeof *r->param) || grow(&r->source, r->params, &r->source_room, sizeof *r->source))
        return -1;
    kr_param *p = &r->param[r->params];
    *p = (kr_param){ .value = *t, .gradient = *t };
    p->value.lent = p->gradient.lent = false;
    p->value.data = p->gradient.data = NULL;
    p->value.name = kr_strdup(t->name);
    bool good = p->value.name;
    size_t n = (size_t)kr_tensor_count(t);
    if (good && r->how & KR_KEEP)
        good = (p->value.data = kr_alloc(n, sizeof(float))) && (p->gradient.data = kr_alloc_zero(n, sizeof(float)));
    if (!good) {
        kr_free(p->value.name);
        kr_free(p->value.data);
        return -1;
    }
    if (p->value.data)
        memcpy(p->value.data, t->data, n * sizeof(float));
    p->gradient.name = p->value.name;
    r->source[r->params] = *t;
    r->source[r->params].name = p->value.name;
    return (int)r->params++;
}

static bool same(const kr_layer *a, const kr_layer *b)
{
    bool good = a->op == b->op && a->ins == b->ins && a->outs == b->outs && a->keys == b->keys && a->inner == b->inner
        && !memcmp(a->arg, b->arg, sizeof a->arg) && !memcmp(a->key, b->key, sizeof a->key);
    for (int i = 0; i < a->ins && good; i++)
        good = a->x[i].kind == b->x[i].kind && a->x[i].chan == b->x[i].chan;
    return good;
}

static kr_layer *layer_of(kr_graph *g, const kr_layer *wanted)
{
    for (long i = 0; i < g->layers; i++)
        if (same(g->layer[i], wanted))
            return g->layer[i];
    kr_layer *l = grow(&g->layer, g->layers, &g->layer_room, sizeof *g->layer) ? NULL : kr_alloc(1, sizeof *l);
    if (l)
        *(g->layer[g->layers++] = l) = *wanted;
    return l;
}

kr_node graph_add(kr_graph *g, kr_node *second, const kr_layer_ops *op, const kr_node *x, int ins, const kr_tensor *const *w, int keys, const long *arg, int args, kr_graph *inner)
{
    kr_assert(ins <= KR_INS && keys <= KR_KEYS && args <= KR_ARGS);
    kr_assert(!op->backward == !op->plain_back);             /* what is trained in float is trained in double */
    if (second)
        *second = (kr_node){ -1 };
    kr_layer l = { .op = op, .ins = ins, .outs = second ? 2 : 1, .keys = keys, .inner = inner };
    bool good = !g->failed;
    for (int i = 0; i < ins && good; i++) {
        good = x[i].at >= 0;
        if (good)
            l.x[i] = g->value[x[i].at].n;
    }
    for (int i = 0; i < args; i++)
        l.arg[i] = arg[i];
    for (int i = 0; i < keys && good; i++) {
        l.key[i] = w[i] ? param_of(g, w[i]) : -1;
        good = !w[i] || l.key[i] >= 0;
    }
    kr_extent y[KR_OUTS] = { { 0 } };
    if (!good || op->shape(y, l.x, &l)) {
        if (inner)
            kr_graph_unref(&inner);
        return graph_fail(g);
    }
    kr_layer *made = layer_of(g, &l);
    struct graph_node *n = made ? new_node(g, made) : NULL;
    if (!n) {
        if (inner && !made)
            kr_graph_unref(&inner);
        return graph_fail(g);
    }
    for (int i = 0; i < ins; i++)
        n->x[i] = x[i].at;
    for (int o = 0; o < l.outs; o++)
        if ((n->y[o] = new_value(g, y[o], o)) < 0)
            return graph_fail(g);
    g->nodes++;
    if (second)
        *second = (kr_node){ n->y[1] };
    return (kr_node){ n->y[0] };
}

int graph_full_names(kr_graph *g, const kr_weights *all)
{
    for (long p = 0; p < g->params; p++)
        for (long i = 0; i < all->count; i++)
            if (all->tensor[i].data == g->source[p].data && strcmp(all->tensor[i].name, g->param[p].value.name)) {
                char *name = kr_strdup(all->tensor[i].name);
                if (!name)
                    return kr_error_code();
                kr_free(g->param[p].value.name);
                g->param[p].value.name = g->param[p].gradient.name = g->source[p].name = name;
                break;
            }
    return 0;
}

kr_param *graph_param(const kr_graph *g, int key) { return &g->root->param[key]; }

void graph_freeze(kr_graph *g, const kr_tensor *t)
{
    for (long i = 0; i < g->root->params; i++)
        if (g->root->source[i].data == t->data)
            g->root->param[i].frozen = true;
}

bool layer_trains(const kr_graph *g, const kr_layer *l)
{
    for (int i = 0; i < l->keys; i++)
        if (l->key[i] >= 0 && !graph_param(g, l->key[i])->frozen)
            return true;
    for (long i = 0; l->inner && i < l->inner->layers; i++)
        if (layer_trains(l->inner, l->inner->layer[i]))
            return true;
    return false;
}

kr_param *kr_graph_params(kr_graph *g, long *count)
{
    *count = g->how & KR_KEEP ? g->params : 0;
    return g->param;
}

void kr_graph_zero_gradients(kr_graph *g)
{
    for (long i = 0; i < g->params && g->how & KR_KEEP; i++) {
        size_t n = (size_t)kr_tensor_count(&g->param[i].gradient);
        memset(g->param[i].gradient.data, 0, n * sizeof(float));
        if (g->param[i].exact_gradient)
            memset(g->param[i].exact_gradient, 0, n * sizeof(double));
    }
}

int kr_graph_exact(kr_graph *g)
{
    for (long i = 0; i < g->params && g->how & KR_KEEP; i++) {
        kr_param *p = &g->param[i];
        size_t n = (size_t)kr_tensor_count(&p->value);
        if (!(p->exact = kr_alloc(n, sizeof(double))) || !(p->exact_gradient = kr_alloc_zero(n, sizeof(double))))
            return kr_error_code();
        for (size_t k = 0; k < n; k++)
            p->exact[k] = (double)p->value.data[k];
    }
    return 0;
}

double kr_graph_params_count(const kr_graph *g)
{
    double n = 0;
    for (long i = 0; i < g->params; i++)
        n += (double)kr_tensor_count(&g->param[i].value);
    return n;
}

static int pack(kr_graph *g)
{
    for (long i = 0; i < g->layers; i++) {
        kr_layer *l = g->layer[i];
        if (l->inner && pack(l->inner))
            return kr_error_code();
        if (!l->op->pack)
            continue;
        const kr_tensor *w[KR_KEYS] = { NULL };
        for (int k = 0; k < l->keys; k++)
            if (l->key[k] >= 0)
                w[k] = g->how & KR_KEEP ? &graph_param(g, l->key[k])->value : &g->root->source[l->key[k]];
        if (l->packed && l->op->repack) {
            if (l->op->repack(l, w))
                return kr_error_code();
            continue;
        }
        if (l->packed)
            l->op->unpack(l);
        l->packed = NULL;
        if (l->op->pack(l, w, g->how & KR_KEEP))
            return kr_error_code();
    }
    return 0;
}

int kr_graph_pack(kr_graph *g)
{
    if (!(g->how & KR_KEEP) && !g->source)
        return kr_fail(KR_EREFUSED, "the parameters of a network that only infers were not kept");
    int e = pack(g);
    if (!(g->how & KR_KEEP))                                 /* the tensors may go now */
        kr_free_at(&g->source);
    return e;
}

size_t kr_graph_bytes(const kr_graph *g)
{
    size_t n = g->root == g && g->how & KR_KEEP ? (size_t)((g->params && g->param[0].exact ? 24 : 8) * kr_graph_params_count(g)) : 0;
    for (long i = 0; i < g->layers; i++)
        n += (g->layer[i]->op->bytes && g->layer[i]->packed ? g->layer[i]->op->bytes(g->layer[i]) : 0) + (g->layer[i]->inner ? kr_graph_bytes(g->layer[i]->inner) : 0);
    return n;
}

long kr_graph_inputs(const kr_graph *g) { return g->inputs; }
const char *kr_graph_input_name(const kr_graph *g, long i) { return g->input[i].name; }
kr_extent kr_graph_input_extent(const kr_graph *g, long i) { return g->value[g->input[i].value].n; }
bool kr_graph_input_must(const kr_graph *g, long i) { return g->input[i].must; }
long kr_graph_outputs(const kr_graph *g) { return g->outputs; }

/* ---- What layers share ---- */
int extent_is(const kr_layer *l, const kr_extent *x, enum kr_value_kind kind, long chan)
{
    static const char *const word[] = { "nothing", "features", "coil images", "an image", "a real image", "numbers", "an operator" };
    if (x->kind != kind)
        return kr_fail(KR_EREFUSED, "the layer %s reads %s where it wants %s", l->op->name, word[x->kind], word[kind]);
    if (chan && x->chan != chan)
        return kr_fail(KR_ESHAPE, "the layer %s reads %ld channels where it wants %ld", l->op->name, x->chan, chan);
    return 0;
}

int extent_flat(const kr_layer *l, const kr_extent *x, int count)
{
    for (int i = 0; i < count; i++) {
        if (x[i].z > 1)
            return kr_fail(KR_EREFUSED, "the layer %s works on planes, not on volumes of %ld planes", l->op->name, x[i].z);
        if (x[i].y != x[0].y || x[i].x != x[0].x)
            return kr_fail(KR_ESHAPE, "the layer %s reads %ld x %ld and %ld x %ld pixels", l->op->name, x[0].y, x[0].x, x[i].y, x[i].x);
    }
    return 0;
}

int lay_numbers(kr_layer *l, const kr_tensor *const *w, bool train)
{
    (void)train;
    size_t n = (size_t)kr_tensor_count(w[0]);
    float *v = l->packed = kr_alloc(n, sizeof *v);
    if (v)
        memcpy(v, w[0]->data, n * sizeof *v);
    return v ? 0 : kr_error_code();
}

void lay_unpack(kr_layer *l) { kr_free(l->packed); }

void *room_for(lay_room *r, size_t bytes)
{
    void *p = r->base ? r->base + r->used : NULL;
    r->used += (bytes + 63) / 64 * 64;
    return p;
}

kr_map map_in(lay_room *r, long c, long h, long w, long halo)
{
    kr_map m = { .c = c, .h = h, .w = w, .halo = halo, .blocks = (c + 15) / 16, .row = (w + 2 * halo) * 16 };
    m.block = m.row * (h + 2 * halo);
    m.store = room_for(r, (size_t)(m.blocks * m.block) * sizeof(float));
    m.data = m.store ? m.store + halo * (m.row + 16) : NULL;
    return m;
}
