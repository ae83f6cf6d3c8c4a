/* plan.c: runs of a graph: extents, which values live when, where they lie in one block, and the steps of the forward and the
 * backward pass. A step makes instances of values; a value that is made again for the backward pass has a second instance. */
#include "plan.h"
#include <stdlib.h>
#include <string.h>

struct inst {
    int value, group;
    bool grad, outside;              /* gradient of the value; data that the caller owns */
    long first, last, halo;
    size_t bytes, at;                /* of the group's first member                      */
    kr_value v;
};
struct step { int node; bool back; int x[KR_INS], y[KR_OUTS], dx[KR_INS], dy[KR_OUTS]; unsigned clear; size_t scratch; int room; };
struct kr_run {
    const kr_graph *g;
    unsigned use;
    kr_extent *n;                    /* of each value                                    */
    int *same;                       /* the value that this one is, where a layer passes its input */
    bool *needed, *wanted;           /* of each value: to be made; its gradient is wanted */
    void **state;                    /* of each node                                     */
    struct inst *inst; long insts, inst_room;
    struct step *step; long steps, step_room, split;         /* split: the first backward step */
    int *in, *din, *out, *dout;      /* instances of the inputs, the outputs, their gradients */
    char *block, *own;
    size_t bytes;
};

/* Nodes of one layer share their state: the first of them owns it. */
static bool owns(const kr_run *r, long node)
{
    for (long i = 0; i < node; i++)
        if (r->state[i] == r->state[node])
            return false;
    return true;
}

void kr_run_unref(kr_run **pr)
{
    kr_run *r = *pr;
    if (!r)
        return;
    for (long i = 0; r->state && i < r->g->nodes; i++)
        if (r->state[i] && owns(r, i))
            r->g->node[i].l->op->close(r->state[i]);
    kr_free(r->n);
    kr_free(r->same);
    kr_free(r->needed);
    kr_free(r->wanted);
    kr_free(r->state);
    kr_free(r->inst);
    kr_free(r->step);
    kr_free(r->in);
    kr_free(r->din);
    kr_free(r->out);
    kr_free(r->dout);
    kr_free(r->own);
    kr_free_at(pr);
}

/* ---- Extents ---- */
static int input_extent(kr_run *r, long i, kr_extent given)
{
    const struct graph_input *in = &r->g->input[i];
    const kr_extent *is = &r->g->value[in->value].n;
    if (given.kind == KR_ABSENT && in->must)
        return kr_fail(KR_EREFUSED, "the network's input '%s' is missing", in->name);
    if (given.kind != KR_ABSENT && (given.kind != is->kind || (is->chan && given.chan != is->chan) || given.z != 1 || given.y < 1 || given.x < 1 || given.chan < 1))
        return kr_fail(KR_ESHAPE, "the network's input '%s' is of %ld x %ld x %ld x %ld", in->name, given.chan, given.z, given.y, given.x);
    r->n[in->value] = given;
    return 0;
}

static int extents(kr_run *r)
{
    const kr_graph *g = r->g;
    for (long i = 0; i < g->values; i++)
        r->same[i] = (int)i;
    for (long i = 0; i < g->nodes; i++) {
        const struct graph_node *n = &g->node[i];
        if (!n->l)
            continue;
        kr_extent x[KR_INS], y[KR_OUTS] = { { 0 } };
        for (int k = 0; k < n->l->ins; k++)
            x[k] = r->n[n->x[k]];
        int passes = n->l->op->passes ? n->l->op->passes(n->l, x) : -1;
        if (passes < 0 && n->l->op->shape(y, x, n->l))
            return kr_error_code();
        for (int o = 0; o < n->l->outs; o++)
            r->n[n->y[o]] = y[o];
        if (passes >= 0) {
            r->n[n->y[0]] = x[passes];
            r->same[n->y[0]] = r->same[n->x[passes]];
        }
    }
    return 0;
}

static bool passed(const kr_run *r, const struct graph_node *n) { return r->same[n->y[0]] != n->y[0]; }
static bool reads(const kr_layer *l, int i) { return !(l->op->sizes >> i & 1); }

/* To infer, the last output is made; to train, all of them are. */
enum { ALL_OUTPUTS = 1 << 16 };
static bool all_outputs(const kr_run *r) { return r->use & (KR_TRAIN | ALL_OUTPUTS); }

/* What outputs (and names, if watched) want. */
static void need(kr_run *r)
{
    const kr_graph *g = r->g;
    for (long i = all_outputs(r) ? 0 : g->outputs - 1; i < g->outputs; i++)
        r->needed[r->same[g->output[i]]] = true;
    for (long i = 0; i < g->names && r->use & KR_WATCH; i++)
        r->needed[r->same[g->name[i].value]] = true;
    for (long i = g->nodes - 1; i >= 0; i--) {
        const struct graph_node *n = &g->node[i];
        bool made = false;
        for (int o = 0; n->l && o < n->l->outs; o++)
            made |= r->needed[n->y[o]];
        for (int k = 0; made && !passed(r, n) && k < n->l->ins; k++)
            if (reads(n->l, k) && r->n[n->x[k]].kind != KR_ABSENT)
                r->needed[r->same[n->x[k]]] = true;
    }
}

static bool made(const kr_run *r, const struct graph_node *n)
{
    bool any = false;
    for (int o = 0; n->l && o < n->l->outs; o++)
        any |= r->needed[n->y[o]];
    return any && !passed(r, n);
}

/* Whose gradients are wanted: of all that parameters have a part in, and (KR_INPUTS) inputs. */
static int want(kr_run *r)
{
    const kr_graph *g = r->g;
    for (long i = 0; i < g->inputs && r->use & KR_INPUTS; i++)
        r->wanted[g->input[i].value] = r->n[g->input[i].value].kind != KR_ABSENT;
    for (long i = 0; i < g->nodes; i++) {
        const struct graph_node *n = &g->node[i];
        if (!made(r, n))
            continue;
        bool any = layer_trains(g, n->l);
        for (int k = 0; k < n->l->ins; k++)
            any |= reads(n->l, k) && r->wanted[r->same[n->x[k]]];
        for (int o = 0; o < n->l->outs; o++)
            r->wanted[n->y[o]] = any;
        for (int k = 0; k < n->l->ins && !(any && !n->l->op->backward); k++)
            if (n->l->op->fixed >> k & 1 && r->wanted[r->same[n->x[k]]])
                return kr_fail(KR_EREFUSED, "the layer %s gives no gradient of its input: what stands before it cannot be trained", n->l->op->name);
        if (any && !n->l->op->backward)
            return kr_fail(KR_EREFUSED, "the layer %s cannot be trained: it has no backward pass", n->l->op->name);
    }
    return 0;
}

/* ---- Steps and instances ---- */
static int instance(kr_run *r, int value, bool grad)
{
    if (r->insts == r->inst_room) {
        long room = r->inst_room ? 2 * r->inst_room : 64;
        struct inst *p = kr_realloc(r->inst, (size_t)r->inst_room, (size_t)room, sizeof *p);
        if (!p)
            return -1;
        r->inst = p;
        r->inst_room = room;
    }
    r->inst[r->insts] = (struct inst){ .value = value, .group = (int)r->insts, .grad = grad, .first = r->steps, .last = r->steps, .v.n = value < 0 ? (kr_extent){ 0 } : r->n[value] };
    return (int)r->insts++;
}

static int use(kr_run *r, int i)
{
    if (i >= 0)
        r->inst[i].last = r->steps;
    return i;
}

static struct step *new_step(kr_run *r, int node, bool back)
{
    if (r->steps == r->step_room) {
        long room = r->step_room ? 2 * r->step_room : 64;
        struct step *p = kr_realloc(r->step, (size_t)r->step_room, (size_t)room, sizeof *p);
        if (!p)
            return NULL;
        r->step = p;
        r->step_room = room;
    }
    struct step *s = &r->step[r->steps];
    *s = (struct step){ .node = node, .back = back, .room = -1 };
    for (int i = 0; i < KR_INS; i++)
        s->x[i] = s->dx[i] = -1;
    for (int i = 0; i < KR_OUTS; i++)
        s->y[i] = s->dy[i] = -1;
    return s;
}

static void extents_of(const kr_run *r, const struct graph_node *n, kr_extent *x, kr_extent *y)
{
    for (int k = 0; k < n->l->ins; k++)
        x[k] = r->n[n->x[k]];
    for (int o = 0; o < n->l->outs; o++)
        y[o] = r->n[n->y[o]];
}

static int add_scratch(kr_run *r, struct step *s)
{
    const struct graph_node *n = &r->g->node[s->node];
    kr_extent x[KR_INS], y[KR_OUTS];
    extents_of(r, n, x, y);
    s->scratch = n->l->op->scratch ? n->l->op->scratch(n->l, r->state[s->node], y, x, s->back) : 0;
    if (s->scratch && (s->room = instance(r, -1, false)) < 0)
        return kr_error_code();
    if (s->scratch)
        r->inst[s->room].bytes = s->scratch;
    return 0;
}

/* cur: the instance of each value that is read now. */
static int forward_step(kr_run *r, int node, int *cur)
{
    const struct graph_node *n = &r->g->node[node];
    struct step *s = new_step(r, node, false);
    if (!s)
        return kr_error_code();
    for (int k = 0; k < n->l->ins; k++) {
        int v = r->same[n->x[k]];
        if (r->n[v].kind == KR_ABSENT || !reads(n->l, k))
            continue;
        int i = s->x[k] = use(r, cur[v]);
        long halo = n->l->op->halo ? n->l->op->halo(n->l, k) : 0;
        if (halo > r->inst[i].halo)
            r->inst[i].halo = halo;
    }
    for (int o = 0; o < n->l->outs; o++) {
        int i = instance(r, n->y[o], false);
        if (i < 0)
            return kr_error_code();
        s->y[o] = cur[n->y[o]] = i;
    }
    if (add_scratch(r, s))
        return kr_error_code();
    r->steps++;
    return 0;
}

/* Bits of the inputs whose gradient is wanted. */
static unsigned wants(const kr_run *r, const struct graph_node *n)
{
    unsigned w = 0;
    for (int k = 0; k < n->l->ins; k++)
        if (reads(n->l, k) && r->n[n->x[k]].kind != KR_ABSENT && r->wanted[r->same[n->x[k]]])
            w |= 1u << k;
    return w;
}

static bool flows(const struct graph_node *n, const int *grad)
{
    bool any = false;
    for (int o = 0; o < n->l->outs; o++)
        any |= grad[n->y[o]] >= 0;
    return any;
}

/* grad: the instance of each value's gradient, -1: nobody gave any yet. */
static int backward_step(kr_run *r, int node, const int *cur, int *grad)
{
    const struct graph_node *n = &r->g->node[node];
    struct step *s = new_step(r, node, true);
    if (!s)
        return kr_error_code();
    unsigned w = wants(r, n), x = 0, y = 0;
    n->l->op->keeps(n->l, w, &x, &y);
    for (int k = 0; k < n->l->ins; k++) {
        int v = r->same[n->x[k]];
        if (x >> k & 1 && r->n[v].kind != KR_ABSENT) {
            int i = s->x[k] = use(r, cur[v]);
            long halo = n->l->op->halo ? n->l->op->halo(n->l, k) : 0;
            if (halo > r->inst[i].halo)
                r->inst[i].halo = halo;
        }
        if (w >> k & 1) {
            if (grad[v] < 0) {
                if ((grad[v] = instance(r, v, true)) < 0)
                    return kr_error_code();
                s->clear |= 1u << k;
            }
            s->dx[k] = use(r, grad[v]);
        }
    }
    for (int o = 0; o < n->l->outs; o++) {
        if (y >> o & 1)
            s->y[o] = use(r, cur[n->y[o]]);
        if (grad[n->y[o]] < 0) {
            if ((grad[n->y[o]] = instance(r, n->y[o], true)) < 0)
                return kr_error_code();
            s->clear |= 1u << (KR_INS + o);
        }
        s->dy[o] = use(r, grad[n->y[o]]);
    }
    if (add_scratch(r, s))
        return kr_error_code();
    r->steps++;
    return 0;
}

/* What the backward steps of a segment read is made again, and what that is made from. */
static int again(kr_run *r, int segment, int *cur, const int *grad, bool *again_needed)
{
    const kr_graph *g = r->g;
    memset(again_needed, 0, (size_t)g->values * sizeof *again_needed);
    for (long i = g->nodes - 1; i >= 0; i--) {
        const struct graph_node *n = &g->node[i];
        if (n->segment != segment || !made(r, n) || !r->wanted[n->y[0]])
            continue;
        unsigned x = 0, y = 0;
        n->l->op->keeps(n->l, wants(r, n), &x, &y);
        for (int k = 0; k < n->l->ins; k++)
            if (x >> k & 1 && r->n[n->x[k]].kind != KR_ABSENT)
                again_needed[r->same[n->x[k]]] = true;
        for (int o = 0; o < n->l->outs; o++)
            if (y >> o & 1)
                again_needed[n->y[o]] = true;
    }
    (void)grad;
    for (int pass = 0; pass < 2; pass++)
        for (long q = 0; q < g->nodes; q++) {
            long i = pass ? q : g->nodes - 1 - q;
            const struct graph_node *n = &g->node[i];
            if (n->segment != segment || !made(r, n))
                continue;
            bool any = false;
            for (int o = 0; o < n->l->outs; o++)
                any |= again_needed[n->y[o]];
            for (int k = 0; k < n->l->ins && any && !pass; k++)
                if (reads(n->l, k) && r->n[n->x[k]].kind != KR_ABSENT)
                    again_needed[r->same[n->x[k]]] = true;
            if (any && pass && forward_step(r, (int)i, cur))
                return kr_error_code();
        }
    return 0;
}

static int steps(kr_run *r)
{
    const kr_graph *g = r->g;
    kr_auto int *cur = kr_alloc((size_t)g->values, sizeof *cur), *grad = kr_alloc((size_t)g->values, sizeof *grad);
    kr_auto bool *some = kr_alloc((size_t)g->values, sizeof *some);
    if (!cur || !grad || !some)
        return kr_error_code();
    for (long i = 0; i < g->values; i++)
        cur[i] = grad[i] = -1;
    for (long i = 0; i < g->inputs; i++) {
        int v = g->input[i].value;
        if (r->n[v].kind == KR_ABSENT)
            continue;
        if ((r->in[i] = cur[v] = instance(r, v, false)) < 0)
            return kr_error_code();
        r->inst[cur[v]].outside = r->n[v].kind != KR_FEATURES;           /* these are copied into blocks of channels */
    }
    for (long i = 0; i < g->nodes; i++)
        if (made(r, &g->node[i]) && forward_step(r, (int)i, cur))
            return kr_error_code();
    r->split = r->steps;
    for (long i = 0; i < g->outputs; i++)
        r->out[i] = all_outputs(r) || i + 1 == g->outputs ? use(r, cur[r->same[g->output[i]]]) : -1;
    if (!(r->use & KR_TRAIN))
        return 0;
    for (long i = 0; i < g->outputs; i++) {
        int v = r->same[g->output[i]];
        if (grad[v] < 0 && (grad[v] = instance(r, v, true)) < 0)
            return kr_error_code();
        r->dout[i] = grad[v];
    }
    if (!new_step(r, -1, true))                              /* here the caller reads the outputs and writes their gradients */
        return kr_error_code();
    r->steps++;
    for (int seg = g->segments; seg >= 0; seg--) {
        /* The last segment is not made again: it has just been. */
        if (r->use & KR_AGAIN && seg < g->segments && again(r, seg, cur, grad, some))
            return kr_error_code();
        for (long i = g->nodes - 1; i >= 0; i--) {
            const struct graph_node *n = &g->node[i];
            if (n->segment == seg && made(r, n) && r->wanted[n->y[0]] && flows(n, grad) && backward_step(r, (int)i, cur, grad))
                return kr_error_code();
        }
    }
    for (long i = 0; i < g->inputs && r->use & KR_INPUTS; i++)
        r->din[i] = use(r, grad[g->input[i].value]);
    return 0;
}

/* ---- Where they lie ---- */
static bool alike(const kr_extent *a, const kr_extent *b)
{
    return a->kind == b->kind && a->chan == b->chan && a->z == b->z && a->y == b->y && a->x == b->x;
}

/* An output lies on the input that the layer may write over, where that is read for the last time. */
static void in_place(kr_run *r)
{
    for (long t = 0; t < r->steps; t++) {
        const struct step *s = &r->step[t];
        int on = s->back ? -1 : r->g->node[s->node].l->op->on;
        if (on < 0 || s->x[on] < 0)
            continue;
        struct inst *a = &r->inst[s->x[on]], *b = &r->inst[s->y[0]];
        int times = 0;
        for (int k = 0; k < KR_INS; k++)
            times += s->x[k] == s->x[on];
        if (!a->outside && a->last == t && times == 1 && alike(&a->v.n, &b->v.n))
            b->group = a->group;
    }
}

static size_t size_of(const struct inst *i)
{
    const kr_extent *n = &i->v.n;
    size_t pixels = (size_t)(n->y * n->x);
    switch (n->kind) {
    case KR_FEATURES: return (size_t)((n->chan + 15) / 16 * 16) * (size_t)(n->y + 2 * i->halo) * (size_t)(n->x + 2 * i->halo) * sizeof(float);
    case KR_COILS: return (size_t)n->chan * pixels * sizeof(kr_cfloat);
    case KR_IMAGE: return pixels * sizeof(kr_cfloat);
    case KR_REAL: return pixels * sizeof(float);
    case KR_NUMBERS: return (size_t)n->chan * sizeof(float) * 2;         /* moments are kept in double */
    case KR_OPERATOR:
    case KR_ABSENT: break;
    }
    return i->bytes;
}

static int larger_first(const void *a, const void *b)
{
    const struct inst *x = *(const struct inst *const *)a, *y = *(const struct inst *const *)b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : x < y ? -1 : x > y;
}

/* The largest first, each at the lowest place that is free as long as it lives. */
static int place(kr_run *r)
{
    long count = 0;
    for (long i = 0; i < r->insts; i++) {                    /* groups take the lives and the halos of all their members */
        struct inst *m = &r->inst[i], *g = &r->inst[m->group];
        g->first = m->first < g->first ? m->first : g->first;
        g->last = m->last > g->last ? m->last : g->last;
        g->halo = m->halo > g->halo ? m->halo : g->halo;
    }
    kr_auto struct inst **order = kr_alloc((size_t)r->insts + 1, sizeof *order), **put = kr_alloc((size_t)r->insts + 1, sizeof *put);
    if (!order || !put)
        return kr_error_code();
    for (long i = 0; i < r->insts; i++) {
        struct inst *m = &r->inst[i];
        m->halo = r->inst[m->group].halo;
        if (m->group != i || m->outside)
            continue;
        m->bytes = (size_of(m) + 63) / 64 * 64;
        order[count++] = m;
    }
    qsort(order, (size_t)count, sizeof *order, larger_first);
    for (long i = 0; i < count; i++) {
        struct inst *m = order[i];
        long q = 0;
        size_t at = 0;
        for (; q < i; q++) {                                 /* those placed so far, in the order of their places */
            const struct inst *p = put[q];
            if (p->last < m->first || p->first > m->last)
                continue;
            if (p->at >= at + m->bytes)
                break;
            at = p->at + p->bytes > at ? p->at + p->bytes : at;
        }
        m->at = at;
        for (q = i; q > 0 && put[q - 1]->at > at; q--)
            put[q] = put[q - 1];
        put[q] = m;
        r->bytes = at + m->bytes > r->bytes ? at + m->bytes : r->bytes;
    }
    for (long i = 0; i < r->insts; i++) {
        struct inst *m = &r->inst[i];
        m->at = r->inst[m->group].at;
    }
    return 0;
}

static int open_states(kr_run *r)
{
    for (long i = 0; i < r->g->nodes; i++) {
        const struct graph_node *n = &r->g->node[i];
        kr_extent x[KR_INS], y[KR_OUTS];
        if (!made(r, n) || !n->l->op->open)
            continue;
        extents_of(r, n, x, y);
        for (long k = 0; k < i && !r->state[i]; k++)         /* one layer on values of one size */
            if (r->g->node[k].l == n->l && r->state[k] && alike(&r->n[r->g->node[k].x[0]], &x[0]) && alike(&r->n[r->g->node[k].y[0]], &y[0]))
                r->state[i] = r->state[k];
        if (!r->state[i] && n->l->op->open(&r->state[i], n->l, y, x, r->use))
            return kr_error_code();
    }
    return 0;
}

static kr_run *plan(const kr_graph *g, const kr_extent *inputs, unsigned how)
{
    kr_run *r = kr_alloc_zero(1, sizeof *r);
    if (!r)
        return NULL;
    r->g = g;
    r->use = how;
    size_t values = (size_t)g->values, outs = (size_t)g->outputs + 1, ins = (size_t)g->inputs + 1;
    r->n = kr_alloc_zero(values, sizeof *r->n);
    r->same = kr_alloc_zero(values, sizeof *r->same);
    r->needed = kr_alloc_zero(values, sizeof *r->needed);
    r->wanted = kr_alloc_zero(values, sizeof *r->wanted);
    r->state = kr_alloc_zero((size_t)g->nodes, sizeof *r->state);
    r->in = kr_alloc(ins, sizeof *r->in);
    r->din = kr_alloc(ins, sizeof *r->din);
    r->out = kr_alloc(outs, sizeof *r->out);
    r->dout = kr_alloc(outs, sizeof *r->dout);
    bool good = r->n && r->same && r->needed && r->wanted && r->state && r->in && r->din && r->out && r->dout;
    for (long i = 0; i < g->inputs && good; i++) {
        r->in[i] = r->din[i] = -1;
        good = !input_extent(r, i, inputs[i]);
    }
    good = good && !extents(r);
    if (good)
        need(r);
    good = good && !(how & KR_TRAIN && want(r)) && !open_states(r) && !steps(r);
    if (good)
        in_place(r);
    if (!good || place(r))
        kr_run_unref(&r);
    return r;
}

kr_run *kr_graph_plan(const kr_graph *g, const kr_extent *inputs, unsigned how, size_t memory)
{
    if (how & KR_TRAIN && !(g->root->how & KR_KEEP)) {
        kr_fail(KR_EREFUSED, "a network whose parameters were not kept cannot be trained");
        return NULL;
    }
    kr_run *r = plan(g, inputs, how);
    if (!r || !memory || r->bytes <= memory)
        return r;
    size_t first = r->bytes;
    kr_run_unref(&r);
    if (how & KR_TRAIN && !(how & KR_AGAIN) && g->segments)
        r = plan(g, inputs, how | KR_AGAIN);
    if (r && r->bytes > memory)
        kr_run_unref(&r);
    if (!r)
        kr_fail(KR_EREFUSED, "a run of the network takes %.0f MB; %.0f MB are allowed", (double)first / 1e6, (double)memory / 1e6);
    return r;
}

size_t kr_run_bytes(const kr_run *r) { return r->bytes; }

/* What the plan itself takes and layers take besides, FFT plans at what they need for lines of ordinary length. */
size_t kr_run_overhead(const kr_run *r)
{
    size_t n = (size_t)r->inst_room * sizeof *r->inst + (size_t)r->step_room * sizeof *r->step + (size_t)r->g->values * 16;
    size_t besides = 0;
    for (long i = 0; i < r->g->nodes; i++) {
        const struct graph_node *k = &r->g->node[i];
        kr_extent x[KR_INS], y[KR_OUTS];
        n += r->state[i] && owns(r, i) ? (size_t)kr_threads() << 17 : 0;
        if (!made(r, k) || !k->l->op->besides)
            continue;
        extents_of(r, k, x, y);
        size_t b = k->l->op->besides(x);
        besides = b > besides ? b : besides;
    }
    return n + besides;
}

double kr_run_flops(const kr_run *r)
{
    double sum = 0;
    for (long t = 0; t < r->split; t++) {
        const struct graph_node *n = &r->g->node[r->step[t].node];
        kr_extent x[KR_INS], y[KR_OUTS];
        if (!n->l->op->flops)
            continue;
        extents_of(r, n, x, y);
        sum += n->l->op->flops(n->l, r->state[r->step[t].node], y, x);
    }
    return sum;
}

/* ---- Running ---- */
int kr_run_lend(kr_run *r, void *block)
{
    if (!block && !r->own && !(r->own = kr_alloc(r->bytes ? r->bytes : 1, 1)))
        return kr_error_code();
    r->block = block ? block : r->own;
    for (long i = 0; i < r->insts; i++) {
        struct inst *m = &r->inst[i];
        if (m->outside)
            continue;
        lay_room room = { r->block + m->at, 0 };
        if (m->v.n.kind == KR_FEATURES)
            m->v.map = map_in(&room, m->v.n.chan, m->v.n.y, m->v.n.x, m->halo);
        m->v.data = r->block + m->at;
    }
    return 0;
}

void kr_run_input(kr_run *r, long input, const void *data)
{
    kr_value *v = r->in[input] < 0 ? NULL : &r->inst[r->in[input]].v;
    if (v && v->n.kind == KR_FEATURES) {
        memset(v->map.store, 0, (size_t)(v->map.blocks * v->map.block) * sizeof(float));
        kr_map_put(&v->map, data);
    } else if (v)
        v->data = (void *)(uintptr_t)data;
}

static kr_value *value_of(const kr_run *r, int i) { return i < 0 ? NULL : &r->inst[i].v; }

static void clear(const kr_run *r, int i)
{
    const struct inst *m = &r->inst[i];
    memset(m->v.data, 0, size_of(m));
}

static void run_step(const kr_run *r, const struct step *s)
{
    const struct graph_node *n = &r->g->node[s->node];
    kr_call c = { .l = n->l, .state = r->state[s->node], .scratch = s->room < 0 ? NULL : value_of(r, s->room)->data };
    for (int k = 0; k < n->l->ins; k++) {
        c.x[k] = value_of(r, s->x[k]);
        c.dx[k] = value_of(r, s->dx[k]);
        if (s->clear >> k & 1 && n->l->op->writes)
            c.fresh |= 1u << k;
        else if (s->clear >> k & 1)
            clear(r, s->dx[k]);
    }
    for (int o = 0; o < n->l->outs; o++) {
        c.y[o] = value_of(r, s->y[o]);
        c.dy[o] = value_of(r, s->dy[o]);
        if (s->clear >> (KR_INS + o) & 1)
            clear(r, s->dy[o]);
    }
    for (int k = 0; k < n->l->keys && s->back; k++)
        if (n->l->key[k] >= 0 && !graph_param(r->g, n->l->key[k])->frozen)
            c.dw[k] = &graph_param(r->g, n->l->key[k])->gradient;
    (s->back ? n->l->op->backward : n->l->op->forward)(&c);
}

static void show(const kr_run *r, const struct step *s, kr_run_see *see, void *self)
{
    const struct graph_node *n = &r->g->node[s->node];
    for (int o = 0; o < n->l->outs; o++)
        for (long k = 0; k < r->g->names; k++)
            if (r->same[r->g->name[k].value] == n->y[o])
                see(self, value_of(r, s->y[o]), r->g->name[k].name, r->g->name[k].layer, r->g->name[k].layers);
}

void kr_run_forward(kr_run *r, kr_run_see *see, void *self)
{
    kr_assert(r->block);
    for (long t = 0; t < r->split; t++) {
        run_step(r, &r->step[t]);
        if (see)
            show(r, &r->step[t], see, self);
    }
}

void kr_run_backward(kr_run *r)
{
    kr_assert(r->use & KR_TRAIN && r->block);
    for (long t = r->split + 1; t < r->steps; t++)
        run_step(r, &r->step[t]);
}

const kr_value *kr_run_output(const kr_run *r, long i) { return value_of(r, r->out[i]); }
kr_value *kr_run_dy(kr_run *r, long i) { return value_of(r, r->dout[i]); }
const kr_value *kr_run_dx(const kr_run *r, long i) { return value_of(r, r->din[i]); }

/* ---- In double ---- */
struct kr_plain_run { kr_run *r; kr_plain *v; double **d; unsigned use; };       /* of each value: itself, and its gradient where one flows */

static size_t plain_count(const kr_extent *n)
{
    size_t pixels = (size_t)(n->y * n->x);
    return n->kind == KR_OPERATOR ? 0 : n->kind == KR_NUMBERS ? (size_t)n->chan : n->kind == KR_IMAGE ? 2 * pixels : n->kind == KR_REAL ? pixels : (size_t)n->chan * pixels * (n->kind == KR_COILS ? 2 : 1);
}

/* Values that have numbers of their own. */
static size_t plain_own(const kr_run *r, long i) { return r->same[i] == i && r->n[i].kind != KR_ABSENT ? plain_count(&r->n[i]) : 0; }

void kr_plain_run_unref(kr_plain_run **pr)
{
    kr_plain_run *p = *pr;
    for (long i = 0; p && p->r && i < p->r->g->values; i++) {
        if (p->v && p->v[i].n.kind != KR_OPERATOR)
            kr_free(p->v[i].v);
        if (p->d)
            kr_free(p->d[i]);
    }
    if (p) {
        kr_run_unref(&p->r);
        kr_free(p->v);
        kr_free(p->d);
    }
    kr_free_at(pr);
}

kr_plain_run *kr_plain_plan(const kr_graph *g, const kr_extent *inputs, unsigned use, size_t memory)
{
    kr_scoped(plain_run) p = kr_alloc_zero(1, sizeof *p);
    double bytes = 0;
    if (!p || !(p->r = plan(g, inputs, (use & ~(unsigned)(KR_TRAIN | KR_AGAIN)) | ALL_OUTPUTS)) || (use & KR_TRAIN && want(p->r)))
        return NULL;
    p->use = use;
    for (long i = 0; i < g->values; i++)
        bytes += (double)plain_own(p->r, i) * (p->r->wanted[i] ? 16 : 8);
    if (memory && bytes > (double)memory) {
        kr_fail(KR_EREFUSED, "a run of the network in double takes %.0f MB; %.0f MB are allowed", bytes / 1e6, (double)memory / 1e6);
        return NULL;
    }
    if (!(p->v = kr_alloc_zero((size_t)g->values, sizeof *p->v)) || !(p->d = kr_alloc_zero((size_t)g->values, sizeof *p->d)))
        return NULL;
    for (long i = 0; i < g->values; i++) {
        p->v[i].n = p->r->n[i];
        if (plain_own(p->r, i) && !(p->v[i].v = kr_alloc_zero(plain_own(p->r, i), sizeof(double))))
            return NULL;
    }
    kr_plain_run *made = p;
    p = NULL;
    return made;
}

double *kr_plain_input(kr_plain_run *p, long input) { return p->v[p->r->g->input[input].value].v; }

void kr_plain_give(kr_plain_run *p, long input, const void *data)
{
    kr_plain *x = &p->v[p->r->g->input[input].value];
    if (x->n.kind == KR_OPERATOR)                            /* itself */
        x->v = (double *)(uintptr_t)data;
    for (size_t k = 0; x->v && k < plain_count(&x->n); k++)
        x->v[k] = x->n.kind == KR_NUMBERS ? ((const double *)data)[k] : (double)((const float *)data)[k];
}

const double *kr_plain_output(const kr_plain_run *p, long i) { return p->v[p->r->same[p->r->g->output[i]]].v; }
kr_extent kr_plain_output_extent(const kr_plain_run *p, long i) { return p->r->n[p->r->g->output[i]]; }

static kr_plain_call call_of(const kr_plain_run *p, const struct graph_node *n, double *const *value)
{
    kr_plain_call c = { .l = n->l, .use = p->use, .value = value };
    for (int k = 0; k < n->l->ins; k++)
        c.x[k] = p->r->n[n->x[k]].kind == KR_ABSENT ? NULL : &p->v[p->r->same[n->x[k]]];
    for (int o = 0; o < n->l->outs; o++)
        c.y[o] = &p->v[n->y[o]];
    for (int k = 0; k < n->l->keys; k++)
        if (n->l->key[k] >= 0) {
            const kr_param *q = graph_param(p->r->g, n->l->key[k]);
            c.w[k] = value ? value[n->l->key[k]] : q->exact;
            c.t[k] = &q->value;
        }
    return c;
}

int kr_plain_forward(kr_plain_run *p, double *const *value)
{
    const kr_run *r = p->r;
    kr_error_clear();
    for (long i = 0; i < r->g->values; i++)
        kr_free_at(&p->d[i]);
    for (long t = 0; t < r->split; t++) {
        const struct graph_node *n = &r->g->node[r->step[t].node];
        kr_plain_call c = call_of(p, n, value);
        for (int o = 0; o < n->l->outs; o++)
            memset(c.y[o]->v, 0, plain_count(&c.y[o]->n) * sizeof(double));
        n->l->op->plain(&c);
        if (kr_error_code())
            return kr_error_code();
    }
    return 0;
}

/* The gradient of a value, zeros at first. */
static double *gradient_of(kr_plain_run *p, int value)
{
    int v = p->r->same[value];
    if (!p->d[v])
        p->d[v] = kr_alloc_zero(plain_own(p->r, v), sizeof(double));
    return p->d[v];
}

double *kr_plain_dy(kr_plain_run *p, long i) { return gradient_of(p, p->r->g->output[i]); }

int kr_plain_backward(kr_plain_run *p, double *const *value)
{
    const kr_run *r = p->r;
    kr_assert(p->use & KR_TRAIN);
    kr_error_clear();
    for (long t = r->split - 1; t >= 0; t--) {
        const struct graph_node *n = &r->g->node[r->step[t].node];
        kr_plain_call c = call_of(p, n, value);
        unsigned w = wants(r, n);
        bool any = false;
        for (int o = 0; o < n->l->outs; o++)
            any |= p->d[n->y[o]] != NULL;
        for (int k = 0; k < n->l->ins && any && r->wanted[n->y[0]]; k++)
            if (w >> k & 1 && !(c.dx[k] = gradient_of(p, n->x[k])))
                return kr_error_code();
        for (int o = 0; o < n->l->outs && any && r->wanted[n->y[0]]; o++)
            if (!(c.dy[o] = gradient_of(p, n->y[o])))
                return kr_error_code();
        for (int k = 0; k < n->l->keys; k++)
            if (n->l->key[k] >= 0 && !graph_param(r->g, n->l->key[k])->frozen)
                c.dw[k] = graph_param(r->g, n->l->key[k])->exact_gradient;
        if (any && r->wanted[n->y[0]])
            n->l->op->plain_back(&c);
        for (int o = 0; o < n->l->outs; o++)                 /* nobody reads it any more */
            kr_free_at(&p->d[n->y[o]]);
        if (kr_error_code())
            return kr_error_code();
    }
    return 0;
}

const double *kr_plain_dx(const kr_plain_run *p, long input) { return p->d[p->r->g->input[input].value]; }

int kr_graph_plain(const kr_graph *g, const kr_extent *inputs, unsigned how, const double *const *data, double *const *value, double *const *outputs)
{
    kr_scoped(plain_run) p = kr_plain_plan(g, inputs, how & KR_CORNER, 0);
    for (long i = 0; p && i < g->inputs; i++) {
        kr_plain *x = &p->v[g->input[i].value];
        if (x->n.kind == KR_OPERATOR)
            x->v = (double *)(uintptr_t)data[i];
        else if (x->v)
            memcpy(x->v, data[i], plain_count(&x->n) * sizeof(double));
    }
    if (!p || kr_plain_forward(p, value))
        return kr_error_code();
    for (long i = 0; i < g->outputs; i++)
        memcpy(outputs[i], kr_plain_output(p, i), plain_own(p->r, p->r->same[g->output[i]]) * sizeof(double));
    return 0;
}
