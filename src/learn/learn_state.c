/* learn_state.c: what a step changes, and how it is kept. */
#include "learn_state.h"
#include "kray/io.h"
#include "kray/lesson.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "cascades=3,channels=16" as hyper-parameters. */
static int sizes(kr_weights *w, const char *list)
{
    char word[128];
    while (list && learn_word(&list, word, sizeof word)) {
        char *v = strchr(word, '=');
        if (!v || v == word || !v[1])
            return kr_fail(KR_EUSAGE, "'%s' is no KEY=N of the network's size", word);
        *v++ = 0;
        kr_auto char *key = kr_strf("hyper.%s", word);
        if (!key || kr_meta_set(w->meta, key, "%s", v))
            return kr_error_code();
    }
    return 0;
}

/* Sizes are hyper-parameters that the network has; with them stands how it begins. */
static const kr_fact of_start[] = { { .key = "first_image" }, { .key = "normalization_type" }, { .key = NULL } };

static int known_sizes(const kr_net_kind *kind, const kr_weights *w)
{
    if (kr_meta_get(w->meta, "config_model"))                /* with keys of data, which are looked at where the data are */
        return 0;
    kr_scoped(weights) copy = kr_weights_under(w, "");
    return copy && !kr_meta_set(copy->meta, "config_model", "%s", kind->name) ? kr_net_known(kind, of_start, copy) : kr_error_code();
}

/* The image that it begins with, in the units of that image. */
static int started(kr_weights *w, const kr_learn *o)
{
    return o->start && (kr_meta_set(w->meta, "hyper.first_image", "%s", o->start) || kr_meta_set(w->meta, "hyper.normalization_type", "none")) ? kr_error_code() : 0;
}

static kr_weights *fresh(const kr_learn *o)
{
    const kr_net_kind *kind = kr_net_kind_named(o->network);
    kr_text known = { 0 };
    for (int i = 0; kr_nets[i]; i++)
        if (kr_nets[i]->fresh)
            kr_text_add(&known, "%s%s", known.len ? ", " : "", kr_nets[i]->name);
    kind = kind && kind->fresh ? kind : NULL;
    kr_weights *w = kind ? kr_weights_new() : NULL;
    if (!kind)
        kr_fail(KR_EUSAGE, "'%s' is no network that can be trained from nothing (%s); others need weights to begin with: init", o->network, known.s ? known.s : "none");
    kr_text_clear(&known);
    if (w && (sizes(w, o->size) || started(w, o) || kr_meta_set(w->meta, "network", "%s", kind->name) || kind->fresh(w, (uint64_t)o->seed)))
        kr_weights_unref(&w);
    if (w && known_sizes(kind, w))
        kr_weights_unref(&w);
    return w;
}

/* ---- The regulariser wcrr ---- */
static const char *const ridge_name = "wcrr";

bool learn_ridge(const kr_learn *o) { return !strcmp(o->network, ridge_name); }

enum { SIZES = 5, MASK = 4 };

static const char *const ridge_size[SIZES] = { "filters", "kernel", "last", "intervals", "mask" };

/* What the size says, and what stands in its place where it does not. */
static int ridge_sizes(long n[SIZES], const long usual[SIZES], const kr_learn *o)
{
    const char *const *key = ridge_size;
    kr_scoped(weights) said = kr_weights_new();
    if (!said || sizes(said, o->size))
        return kr_error_code();
    for (int i = 0; i < SIZES; i++) {
        kr_auto char *name = kr_strf("hyper.%s", key[i]);
        if (!name)
            return kr_error_code();
        n[i] = (long)kr_meta_number(said->meta, name, (double)usual[i]);
    }
    for (long i = 0; i < kr_meta_count(said->meta); i++) {
        bool known = false;
        for (int k = 0; k < SIZES; k++)
            known |= !strcmp(kr_meta_key(said->meta, i) + strlen("hyper."), key[k]);
        if (!known)
            return kr_fail(KR_EUSAGE, "the size of wcrr is filters, kernel, last, intervals and mask, not '%s'", kr_meta_key(said->meta, i) + strlen("hyper."));
    }
    return 0;
}

static kr_weights *fresh_ridge(const kr_learn *o)
{
    long n[SIZES];
    return ridge_sizes(n, (long[SIZES]){ 32, 5, 5, 40, 0 }, o) ? NULL : kr_ridge_fresh((long[3]){ 4, 8, n[0] }, (long[3]){ n[1], n[1], n[2] }, n[3], (uint64_t)o->seed);
}

/* Weights have the sizes that are stated; a network of masks that is not there yet is added. */
static int ridge_agrees(kr_weights *w, const kr_learn *o)
{
    const kr_tensor *first = kr_weights_find(w, "filters.0.weight"), *last = kr_weights_find(w, "filters.2.weight"), *profile = kr_weights_find(w, "profile"), *mask = kr_weights_find(w, "mask.down.0.0.weight");
    if (!first || !last || !profile)                         /* refused where they are taken apart */
        return 0;
    long is[SIZES] = { last->n[0], first->n[2], last->n[2], profile->n[0], mask ? mask->n[0] : 0 }, n[SIZES];
    if (ridge_sizes(n, is, o))
        return kr_error_code();
    for (int i = 0; i < SIZES; i++)
        if (n[i] != is[i] && (i != MASK || mask))
            return kr_fail(KR_EUSAGE, "the size says %s=%ld; in these weights it is %ld", ridge_size[i], n[i], is[i]);
    return n[MASK] && !mask ? kr_ridge_mask_fresh(w, n[MASK], (uint64_t)o->seed) : 0;
}

/* With a network of masks that alone is trained: the filters stay those of the image that it looks at. */
static bool trained(const learn_state *s, const kr_tensor *t) { return !s->masks || !strncmp(t->name, "mask.", 5); }

/* Parameters whose numbers are those of two sets of weights. */
static int ridge_params(learn_state *s)
{
    s->masks = kr_ridge_masks(s->ridge_value);
    s->ridge_gradient = kr_weights_new();
    s->param = kr_alloc_zero((size_t)s->ridge_value->count, sizeof *s->param);
    if (!s->ridge_gradient || !s->param)
        return kr_error_code();
    for (long i = 0; i < s->ridge_value->count; i++)
        if (trained(s, &s->ridge_value->tensor[i]) && !kr_weights_add(s->ridge_gradient, s->ridge_value->tensor[i].name, s->ridge_value->tensor[i].dims, s->ridge_value->tensor[i].n))
            return kr_error_code();
    for (long i = 0; i < s->ridge_value->count; i++)
        if (trained(s, &s->ridge_value->tensor[i])) {
            s->param[s->params] = (kr_param){ s->ridge_value->tensor[i], s->ridge_gradient->tensor[s->params], false };
            s->params++;
        }
    return 0;
}

/* phi at most so steep: a reconstruction takes steps of 1 / (1 + this). */
static const double steepest = 8;

int learn_state_changed(learn_state *s)
{
    if (!s->graph && !s->masks && kr_ridge_settle(s->ridge_value, steepest))
        return kr_error_code();
    return learn_state_pack(s);
}

int learn_state_pack(learn_state *s)
{
    if (s->graph)
        return kr_graph_pack(s->graph);
    kr_ridge_unref(&s->ridge);
    s->ridge = kr_ridge_new(s->ridge_value);
    return s->ridge ? 0 : kr_error_code();
}

static int put(kr_weights *w, const char *before, const kr_tensor *t, float *data)
{
    kr_auto char *name = kr_strf("%s%s", before, t->name);
    kr_tensor *to = name ? kr_weights_add(w, name, t->dims, t->n) : NULL;
    if (to)
        memcpy(to->data, data, (size_t)kr_tensor_count(t) * sizeof(float));
    return to ? 0 : kr_error_code();
}

/* Adds the averages, as they may be used. */
static int put_average(kr_weights *w, const learn_state *s)
{
    int e = 0;
    for (long i = 0; i < s->params && !e; i++)
        e = put(w, "", &s->param[i].value, s->average[i]);
    for (long i = 0; !e && s->masks && i < s->ridge_value->count; i++)
        if (!trained(s, &s->ridge_value->tensor[i]))
            e = put(w, "", &s->ridge_value->tensor[i], s->ridge_value->tensor[i].data);
    e = e || s->graph ? e : kr_meta_set(w->meta, "hyper.range", "%s", kr_meta_get(s->told, "hyper.range"));
    return e || s->graph || s->masks ? e : kr_ridge_settle(w, steepest);
}

double learn_state_numbers(const learn_state *s)
{
    double n = 0;
    for (long i = 0; i < s->params; i++)
        n += (double)kr_tensor_count(&s->param[i].value);
    return n;
}

void learn_state_zero_gradients(learn_state *s)
{
    if (s->graph)
        kr_graph_zero_gradients(s->graph);
    else
        for (long i = 0; i < s->params; i++)
            memset(s->param[i].gradient.data, 0, (size_t)kr_tensor_count(&s->param[i].gradient) * sizeof(float));
}

/* Published denoisers of real images are not trained by slices of scans. */
static int fits(const kr_net_kind *kind, const kr_weights *w)
{
    const char *operator = kr_weights_told(w, "operator");
    if (kind->denoises && !kind->refines)
        return kr_fail(KR_EREFUSED, "the network %s is a denoiser of real images; slices of scans train networks that reconstruct, and Kray's own denoiser", kind->name);
    if (kind->rays_alone)
        return kr_fail(KR_EREFUSED, "the network %s is for X-ray projections; slices for training are those of MRI", kind->name);
    return operator && strcmp(operator, "mri") ? kr_fail(KR_EREFUSED, "these weights are for an operator of the kind '%s'; slices for training are those of MRI", operator) : 0;
}

/* Slices hold the image that the weights begin with. */
static int begins(const kr_net_kind *kind, const kr_weights *w, const kr_learn *o)
{
    const char *first = kr_weights_told(w, "first_image");
    if (o->start && !kr_lesson_begins(kind))
        return kr_fail(KR_EUSAGE, "start is for networks of ATOMMIC; %s has an image of its own to begin with", kind->name);
    if (strcmp(first ? first : "", o->start ? o->start : ""))
        return kr_fail(KR_EUSAGE, "the weights begin with the image of '%s'; start is '%s'", first ? first : "none", o->start ? o->start : "none");
    return o->start && o->self_supervised > 0 ? kr_fail(KR_EUSAGE, "self-supervised training holds samples back, which the images of start would be made of: leave one of them out") : 0;
}

/* Weights, with the configuration that lies beside them where they do not say themselves what they are. */
static int begin_with(kr_weights **w, const char *path)
{
    kr_auto char *beside = NULL;
    if (kr_weights_read(w, path))
        return kr_error_code();
    return !kr_meta_get((*w)->meta, "network") && (beside = kr_weights_config_beside(path)) ? kr_weights_config(*w, beside) : 0;
}

/* Products in bfloat16 are none in double. */
static int narrow(const kr_weights *w)
{
    const char *precision = kr_weights_told(w, "precision");
    return precision && !strcmp(precision, "bf16") ? kr_fail(KR_EUSAGE, "these weights ask for products in bfloat16 (precision: bf16), which training in double has not") : 0;
}

/* A size that is stated beside weights has to be theirs: what shapes tell is compared where the network is built. */
static int sizes_agree(kr_weights *w, const kr_learn *o)
{
    const kr_net_kind *kind = kr_net_kind_for(o->network, w);
    return !kind || sizes(w, o->size) || known_sizes(kind, w) ? kr_error_code() : 0;
}

int learn_state_new(learn_state *s, const kr_learn *o)
{
    *s = (learn_state){ .best = -INFINITY };
    bool ridge = learn_ridge(o);
    kr_scoped(weights) w = NULL;
    if (o->init ? begin_with(&w, o->init) || (!ridge && sizes_agree(w, o)) : !(w = ridge ? fresh_ridge(o) : fresh(o)))
        return kr_error_code();
    if (ridge && ridge_agrees(w, o))
        return kr_error_code();
    snprintf(s->began_with, sizeof s->began_with, "%s", o->init ? w->digest : "");
    s->kind = kr_optimiser_named(o->optimiser);
    if (s->kind && ridge)
        s->ridge = kr_ridge_new(w);
    else if (s->kind && (s->net = kr_net_kind_for(o->network, w)) && !fits(s->net, w))
        s->graph = begins(s->net, w, o) || (o->in_double && narrow(w)) ? NULL : kr_net_graph(s->net->name, w);
    s->told = s->graph || s->ridge ? kr_meta_copy(w->meta) : NULL;
    s->opts = s->told ? kr_alloc_zero(1, s->kind->opts_size ? s->kind->opts_size : 1) : NULL;
    if (!s->opts || kr_opt_defaults(s->kind->opts, s->opts))
        return kr_error_code();
    if (s->graph) {
        s->w = w;
        w = NULL;
    }
    if (ridge) {
        s->ridge_value = w;
        w = NULL;
        if (ridge_params(s))
            return kr_error_code();
    }
    char decay[32];
    snprintf(decay, sizeof decay, "%.9g", o->weight_decay);
    for (const kr_opt *k = s->kind->opts; k && k->name; k++)
        if ((!strcmp(k->name, "decay") || !strcmp(k->name, "weight-decay")) && kr_opt_set(s->kind->opts, s->opts, k->name, decay))
            return kr_error_code();
    if (s->kind->check && s->kind->check(s->opts))
        return kr_error_code();
    if (s->graph)
        s->param = kr_graph_params(s->graph, &s->params);
    s->average = kr_alloc_zero((size_t)s->params, sizeof *s->average);
    if (o->in_double && (kr_graph_exact(s->graph) || !(s->exact = kr_alloc_zero((size_t)s->params, sizeof *s->exact))))
        return kr_error_code();
    for (long i = 0; s->average && i < s->params; i++) {
        size_t n = (size_t)kr_tensor_count(&s->param[i].value);
        if (!(s->average[i] = kr_alloc(n, sizeof(float))) || (s->exact && !(s->exact[i] = kr_alloc(n, sizeof(double)))))
            return kr_error_code();
        memcpy(s->average[i], s->param[i].value.data, n * sizeof(float));
        if (s->exact)
            memcpy(s->exact[i], s->param[i].exact, n * sizeof(double));
    }
    s->optim = s->average ? kr_optim_new(s->kind, s->opts, s->param, s->params) : NULL;
    return s->optim ? 0 : kr_error_code();
}

void learn_state_clear(learn_state *s)
{
    for (long i = 0; i < s->params; i++) {
        if (s->average)
            kr_free(s->average[i]);
        if (s->exact)
            kr_free(s->exact[i]);
    }
    kr_free(s->average);
    kr_free(s->exact);
    if (!s->graph)
        kr_free(s->param);
    kr_ridge_unref(&s->ridge);
    kr_weights_unref(&s->ridge_value);
    kr_weights_unref(&s->ridge_gradient);
    kr_free(s->opts);
    kr_optim_unref(&s->optim);
    kr_meta_unref(&s->told);
    kr_weights_unref(&s->w);
    kr_graph_unref(&s->graph);
    *s = (learn_state){ 0 };
}

void learn_state_average(learn_state *s, double a)
{
    a = fmin(a, (1 + (double)s->step) / (10 + (double)s->step));
    for (long i = 0; i < s->params; i++)
        for (long k = 0, n = kr_tensor_count(&s->param[i].value); k < n; k++)
            if (s->exact) {
                s->exact[i][k] = a * s->exact[i][k] + (1 - a) * s->param[i].exact[k];
                s->average[i][k] = (float)s->exact[i][k];
            } else
                s->average[i][k] = (float)(a * (double)s->average[i][k] + (1 - a) * (double)s->param[i].value.data[k]);
}

int learn_state_exchange(learn_state *s)
{
    s->exchanged = !s->exchanged;
    if (!s->graph) {                                         /* averages have to be settled, and may not be changed */
        kr_scoped(weights) w = kr_weights_new();
        if (!s->exchanged)
            return learn_state_pack(s);
        if (!w || put_average(w, s))
            return kr_error_code();
        kr_ridge_unref(&s->ridge);
        s->ridge = kr_ridge_new(w);
        return s->ridge ? 0 : kr_error_code();
    }
    for (long i = 0; i < s->params; i++) {
        float *v = s->param[i].value.data;
        s->param[i].value.data = s->average[i];
        s->average[i] = v;
    }
    return learn_state_pack(s);
}

/* ---- Files ---- */
static int describe(kr_meta *m, const kr_learn *o)
{
    kr_text t = { 0 };
    kr_opt_describe(&t, kr_learn_opts, o);
    int e = t.failed ? kr_error_code() : kr_meta_set(m, "options", "%s", t.s ? t.s : "");
    kr_text_clear(&t);
    return e ? e : kr_meta_set(m, "kray_version", "%s", kr_version());
}

/* A number in double as its 64 bits in three whole numbers below 2^22, which float holds exactly and no file of weights takes amiss. */
enum { PIECES = 3, BITS = 22 };
static int put_exact(kr_weights *w, const char *before, const kr_tensor *t, double *data)
{
    kr_auto char *name = kr_strf("%s%s", before, t->name);
    kr_tensor *to = name ? kr_weights_add(w, name, 2, (long[]){ kr_tensor_count(t), PIECES }) : NULL;
    for (long i = 0; to && i < kr_tensor_count(t); i++) {
        uint64_t bits;
        memcpy(&bits, &data[i], sizeof bits);
        for (int k = 0; k < PIECES; k++)
            to->data[PIECES * i + k] = (float)(bits >> (BITS * k) & ((1u << BITS) - 1));
    }
    return to ? 0 : kr_error_code();
}

/* All that a step changes and a checkpoint keeps, as floats or in double. */
static int each_kept(const learn_state *s, kr_weights *w, int (*floats)(kr_weights *, const char *, const kr_tensor *, float *), int (*doubles)(kr_weights *, const char *, const kr_tensor *, double *))
{
    long states;
    kr_tensor *state = kr_optim_state(s->optim, &states);
    double *const *exact = kr_optim_exact(s->optim);
    int e = 0;
    for (long i = 0; i < s->params && !e; i++) {
        const kr_param *p = &s->param[i];
        e = s->exact ? doubles(w, "value.", &p->value, p->exact) : floats(w, "value.", &p->value, p->value.data);
        e = e ? e : s->exact ? doubles(w, "average.", &p->value, s->exact[i]) : floats(w, "average.", &p->value, s->average[i]);
    }
    for (long i = 0; i < states && !e; i++)
        e = s->exact ? doubles(w, "optimiser.", &state[i], exact[i]) : floats(w, "optimiser.", &state[i], state[i].data);
    return e;
}

int learn_state_save(const learn_state *s, const kr_learn *o)
{
    kr_scoped(weights) w = kr_weights_new();
    kr_auto char *path = kr_strf("%s/checkpoint.safetensors", o->output);
    int e = w && path ? describe(w->meta, o) : kr_error_code();
    e = e ? e : each_kept(s, w, put, put_exact);
    if (e || (s->exact && kr_meta_set(w->meta, "double", "1")) || kr_meta_set(w->meta, "step", "%ld", s->step) || kr_meta_set(w->meta, "halvings", "%ld", s->halvings) || kr_meta_set(w->meta, "best", "%.17g", s->best)
        || kr_meta_set(w->meta, "best_step", "%ld", s->best_step) || kr_meta_set(w->meta, "elapsed", "%.3f", s->elapsed) || kr_meta_set(w->meta, "seed", "%ld", o->seed)
        || learn_range_keep(w->meta, &s->range))
        return kr_error_code();
    kr_weights_digest(w);
    return kr_weights_write(w, path);
}

/* NULL: a refusal. */
static const kr_tensor *taken(const kr_weights *w, const char *before, const kr_tensor *t, long pieces)
{
    kr_auto char *name = kr_strf("%s%s", before, t->name);
    const kr_tensor *from = name ? kr_weights_find(w, name) : NULL;
    if (name && (!from || kr_tensor_count(from) != pieces * kr_tensor_count(t))) {
        kr_fail(KR_EFORMAT, "the checkpoint is of another network: %s '%s'", from ? "another shape of" : "it lacks", name);
        return NULL;
    }
    return from;
}

static int take(kr_weights *w, const char *before, const kr_tensor *t, float *data)
{
    const kr_tensor *from = taken(w, before, t, 1);
    if (from)
        memcpy(data, from->data, (size_t)kr_tensor_count(t) * sizeof(float));
    return from ? 0 : kr_error_code();
}

static int take_exact(kr_weights *w, const char *before, const kr_tensor *t, double *data)
{
    const kr_tensor *from = taken(w, before, t, PIECES);
    for (long i = 0; from && i < kr_tensor_count(t); i++) {
        uint64_t bits = 0;
        for (int k = 0; k < PIECES; k++) {
            float v = from->data[PIECES * i + k];
            if (!(v >= 0 && v < (float)(1u << BITS)))
                return kr_fail(KR_EFORMAT, "'%s' holds no numbers in double", from->name);
            bits |= (uint64_t)v << (BITS * k);
        }
        memcpy(&data[i], &bits, sizeof bits);
    }
    return from ? 0 : kr_error_code();
}

int learn_state_load(learn_state *s, const kr_learn *o)
{
    kr_scoped(weights) w = NULL;
    kr_auto char *path = kr_strf("%s/checkpoint.safetensors", o->output);
    int e = path ? kr_weights_read(&w, path) : kr_error_code();
    bool exact = !e && kr_meta_get(w->meta, "double");
    if (!e && exact != (s->exact != NULL))
        e = exact ? kr_fail(KR_EREFUSED, "the checkpoint was trained in double: --double goes on from it") : kr_fail(KR_EREFUSED, "the checkpoint was not trained in double: without --double it goes on");
    if (!e && (long)kr_meta_number(w->meta, "seed", -1) != o->seed)
        e = kr_fail(KR_EREFUSED, "the checkpoint was trained with the seed %s, not %ld", kr_meta_get(w->meta, "seed"), o->seed);
    e = e ? e : each_kept(s, w, take, take_exact);
    if (e)
        return kr_fail_in("%s", path ? path : "checkpoint");
    s->step = (long)kr_meta_number(w->meta, "step", 0);
    s->halvings = (long)kr_meta_number(w->meta, "halvings", 0);
    s->best = kr_meta_number(w->meta, "best", -INFINITY);
    s->best_step = (long)kr_meta_number(w->meta, "best_step", 0);
    s->elapsed = kr_meta_number(w->meta, "elapsed", 0);
    learn_range_take(&s->range, w->meta);
    *kr_optim_steps(s->optim) = s->step;
    for (long i = 0; i < s->params && s->exact; i++)
        for (long k = 0; k < kr_tensor_count(&s->param[i].value); k++) {
            s->param[i].value.data[k] = (float)s->param[i].exact[k];
            s->average[i][k] = (float)s->exact[i][k];
        }
    return learn_state_pack(s);
}

/* The least and the largest number of a list, as "trained.KEY": outside of it nothing was learned. */
static int span(kr_meta *m, const char *key, const char *list)
{
    double low = INFINITY, high = -INFINITY;
    char word[64];
    while (learn_word(&list, word, sizeof word)) {
        low = fmin(low, strtod(word, NULL));
        high = fmax(high, strtod(word, NULL));
    }
    return kr_meta_set(m, key, "%g to %g", low, high);
}

/* Of networks that reconstruct. */
static int scanned(kr_meta *m, const kr_learn *o)
{
    int e = span(m, "trained.coils", o->coils);
    e = e ? e : span(m, "trained.accel", o->accel);
    return e ? e : kr_meta_set(m, "trained.lines", "%d to %d", LEARN_LEAST_LINES, LEARN_MOST_LINES);
}

int learn_state_export(const learn_state *s, const kr_learn *o, const char *file, const char *scores)
{
    kr_scoped(weights) w = kr_weights_new();
    kr_auto char *path = kr_strf("%s/%s.safetensors", o->output, file);
    kr_learn public = *o;                                    /* without the places of files on this machine */
    public.output = public.cache = public.folder = public.init = NULL;
    int e = w && path ? describe(w->meta, &public) : kr_error_code();
    for (long i = 0; i < kr_meta_count(s->told) && !e; i++) {            /* what the network is; how the first weights were made is theirs */
        const char *key = kr_meta_key(s->told, i);
        if (!strncmp(key, "hyper.", 6) || !strcmp(key, "network") || !strcmp(key, "licence"))
            e = kr_meta_set(w->meta, key, "%s", kr_meta_value(s->told, i));
    }
    if (!e && *s->began_with)
        e = kr_meta_set(w->meta, "began_with", "sha256 %s", s->began_with);
    e = e ? e : span(w->meta, "trained.noise", o->noise);
    e = e ? e : learn_judges(o) ? span(w->meta, "trained.motion", o->motion) : scanned(w->meta, o);
    e = e ? e : learn_range_tell(w->meta, &s->range, learn_judges(o));
    const char *filters = s->masks ? kr_meta_get(s->told, "trained.levels") : NULL;          /* which stay as they were */
    e = e || !filters ? e : kr_meta_set(w->meta, "trained.levels", "%s", filters);
    e = e || !s->masks ? e : span(w->meta, "trained.mask_levels", o->levels);
    e = e || !s->ridge || s->masks || !(o->denoise > 0) ? e : span(w->meta, "trained.levels", o->levels);
    e = e ? e : put_average(w, s);
    e = e || !s->graph ? e : kr_meta_get(w->meta, "network") ? 0 : kr_meta_set(w->meta, "network", "%s", s->net->name);
    e = e || !s->graph ? e : kr_net_complete(w, s->net, s->w);
    if (e || kr_meta_set(w->meta, "trained_steps", "%ld", s->step) || kr_meta_set(w->meta, "validation", "%s", scores))
        return kr_error_code();
    kr_weights_digest(w);
    return kr_weights_write(w, path);
}
