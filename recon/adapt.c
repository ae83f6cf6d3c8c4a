/* adapt.c: a network trained a little more on the very scan that it reconstructs. */
#include "adapt.h"
#include "kray/fourier.h"
#include "kray/lesson.h"
#include "kray/train.h"
#include "model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LESSONS = 8, STOPS = 4, LOOKS = 10 };
static const uint64_t seed = 2102;
static const double stopping = 0.2, loss_part = 0.4, rate = 5e-4, clip = 1;

typedef struct adaptation {
    const kr_net_kind *kind; const kr_weights *w; const kr_scan *scan; const kr_array *coils; const kr_trace *trace;
    kr_lesson lesson[LESSONS], stop[STOPS];
    int lessons, stops;
    kr_graph *graph;
    kr_run *run; bool train; kr_extent n[KR_NET_INPUTS];     /* of that slice, the last one that was used */
} adaptation;

/* ---- Lessons ---- */
/* Slice i, in k-space, with a mask {X,Y}; coils: its first set of maps. */
static int slice_of(kr_scan *part, kr_array **maps, const adaptation *a, long i)
{
    if (kr_part_open(part, a->scan, kr_problem_axes, i))
        return kr_error_code();
    kr_scoped(array) mask = kr_scan_mask(part);
    kr_scoped(array) wide = mask ? kr_array_spread(mask, KR_SHAPE([KR_X] = part->data->n[KR_X], [KR_Y] = part->data->n[KR_Y])) : NULL;
    kr_scoped(array) view = a->coils ? kr_part(a->coils, a->scan, i) : NULL;
    kr_scoped(array) set = view ? kr_array_at(view, KR_MAP, 0) : NULL;
    kr_array *own = wide ? kr_array_copy(wide) : NULL, *data = own ? kr_array_copy(part->data) : NULL;
    *maps = set ? kr_array_copy(set) : NULL;
    if (!data || (a->coils && !*maps) || (a->scan->in_image && kr_fourier(data, a->scan->in_image))) {
        kr_array_unref(&own);
        kr_array_unref(&data);
        return kr_error_code();
    }
    kr_array_unref(&part->mask);
    kr_array_unref(&part->data);
    kr_array_unref(&part->calib_area);
    part->mask = own;
    part->data = data;
    part->in_image = 0;
    part->shape = kr_array_shape(data);
    return 0;
}

/* What of the samples a mask has. */
static int with(kr_scan *out, const kr_scan *part, kr_array *mask)
{
    *out = *part;
    out->mask = mask;
    out->data = kr_array_copy(part->data);
    long n = mask->n[KR_X] * mask->n[KR_Y];
    for (long i = 0, all = out->data ? kr_count(kr_array_shape(out->data)) : 0; i < all; i++)
        if (KR_R(mask)[i % n] == 0)
            KR_C(out->data)[i] = kr_c(0, 0);
    return out->data ? 0 : kr_error_code();
}

/* Lessons of one slice: `count` of them, and one to stop by. */
static int lessons_of(adaptation *a, const kr_scan *part, const kr_array *maps, int count)
{
    kr_scoped(array) rest = NULL;
    kr_scoped(array) last = NULL;
    kr_scan known = { 0 }, given = { 0 };
    double sigma = a->kind->refines ? kr_noise_sigma(part, NULL) : 0;
    if (sigma < 0)
        kr_error_clear();
    sigma = fmax(sigma, 0);
    if (kr_lesson_split(&rest, &last, part->mask, stopping, seed, (uint64_t)a->stops) || with(&known, part, rest))
        return kr_error_code();
    int e = kr_lesson_of(&a->stop[a->stops], a->kind, a->w, &known, part, maps, sigma, NULL, NULL);
    a->stops += !e;
    for (int k = 0; k < count && !e; k++) {
        kr_scoped(array) less = NULL;
        kr_scoped(array) held = NULL;
        e = kr_lesson_split(&less, &held, rest, loss_part, seed, 1000 + (uint64_t)a->lessons) || with(&given, part, less) ? kr_error_code() : 0;
        e = e ? e : kr_lesson_of(&a->lesson[a->lessons], a->kind, a->w, &given, &known, maps, sigma, NULL, NULL);
        a->lessons += !e;
        kr_array_unref(&given.data);
    }
    kr_array_unref(&known.data);
    return e;
}

/* Of up to four slices that hold something, far apart. */
static int prepare(adaptation *a)
{
    long parts = kr_parts(a->scan), found = 0;
    kr_auto long *good = kr_alloc((size_t)parts, sizeof *good);
    for (long i = 0; good && i < parts; i++) {
        kr_scoped(array) view = kr_part(a->scan->data, a->scan, i);
        if (!view)
            return kr_error_code();
        if (kr_max_abs(view) > 0)
            good[found++] = i;
    }
    if (!good)
        return kr_error_code();
    if (!found)
        return kr_fail(KR_ENUMBER, "the scan is 0 everywhere");
    int slices = found < STOPS ? (int)found : STOPS, e = 0;
    for (int s = 0; s < slices && !e; s++) {
        kr_scan part = { 0 };
        kr_scoped(array) maps = NULL;
        e = slice_of(&part, &maps, a, good[(2 * s + 1) * found / (2 * slices)]);
        e = e ? e : lessons_of(a, &part, maps, (LESSONS - a->lessons) / (slices - s));
        kr_part_close(&part);
    }
    return e;
}

/* ---- Steps ---- */
static kr_run *run_of(adaptation *a, const kr_lesson *l, bool train)
{
    kr_extent n[KR_NET_INPUTS] = { 0 };
    const void *data[KR_NET_INPUTS];
    if (kr_net_inputs(a->graph, a->kind->name, &l->in, n, data))
        return NULL;
    if (!a->run || a->train != train || memcmp(n, a->n, sizeof n)) {
        kr_run_unref(&a->run);
        double half = 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
        a->run = kr_graph_plan(a->graph, n, (train ? KR_TRAIN : 0) | (l->in.centred ? 0 : KR_CORNER), train ? (size_t)half : 0);
        a->train = train;
        memcpy(a->n, n, sizeof n);
        if (!a->run || kr_run_lend(a->run, NULL))
            return NULL;
    }
    for (long i = 0; i < kr_graph_inputs(a->graph); i++)
        kr_run_input(a->run, i, data[i]);
    kr_run_forward(a->run, NULL, NULL);
    return a->run;
}

static int score(double *value, adaptation *a)
{
    *value = 0;
    for (int k = 0; k < a->stops; k++) {
        double one;
        kr_run *r = run_of(a, &a->stop[k], false);
        if (!r || kr_lesson_misfit(&one, NULL, &a->stop[k], kr_run_output(r, kr_graph_outputs(a->graph) - 1)->data, 1))
            return kr_error_code();
        *value += one / a->stops;
    }
    return 0;
}

static int step(adaptation *a, kr_optim *optim, kr_param *p, long count, long t)
{
    const kr_lesson *l = &a->lesson[t % a->lessons];
    kr_run *r = run_of(a, l, true);
    long outputs = kr_graph_outputs(a->graph);
    double value;
    if (!r)
        return kr_error_code();
    kr_graph_zero_gradients(a->graph);
    for (long i = 0; i < outputs; i++) {
        kr_value *dy = kr_run_dy(r, i);
        if (i < outputs - 1)
            memset(dy->data, 0, (size_t)(dy->n.y * dy->n.x) * sizeof(kr_cfloat));
        else if (kr_lesson_misfit(&value, dy->data, l, kr_run_output(r, i)->data, 1))
            return kr_error_code();
    }
    kr_run_backward(r);
    kr_clip_norm(p, count, clip);
    return kr_optim_step(optim, rate) || kr_graph_pack(a->graph) ? kr_error_code() : 0;
}

/* Puts the parameters into weights of their own, in place of what is there. */
static int keep(kr_weights **best, const adaptation *a, const kr_param *p, long count)
{
    kr_weights_unref(best);
    *best = kr_weights_new();
    for (long i = 0; *best && i < count; i++) {
        kr_tensor *t = kr_weights_add(*best, p[i].value.name, p[i].value.dims, p[i].value.n);
        if (!t)
            return kr_error_code();
        memcpy(t->data, p[i].value.data, (size_t)kr_tensor_count(t) * sizeof *t->data);
    }
    if (!*best)
        return kr_error_code();
    for (long i = 0; i < kr_meta_count(a->w->meta); i++)
        if (kr_meta_set((*best)->meta, kr_meta_key(a->w->meta, i), "%s", kr_meta_value(a->w->meta, i)))
            return kr_error_code();
    return 0;
}

static int adapt(adaptation *a, kr_weights **best, char *told, size_t room, long steps)
{
    const kr_optimiser *adam = kr_optimiser_named("adam");
    kr_auto void *opts = kr_alloc_zero(1, adam->opts_size ? adam->opts_size : 1);
    double first, now, least;
    long at = 0, count = 0, every = steps < LOOKS ? 1 : steps / LOOKS;
    if (!opts || kr_opt_defaults(adam->opts, opts) || prepare(a) || !(a->graph = kr_net_graph(a->kind->name, a->w)) || score(&first, a))
        return kr_error_code();
    kr_param *p = kr_graph_params(a->graph, &count);
    kr_optim *optim = kr_optim_new(adam, opts, p, count);
    int e = optim ? keep(best, a, p, count) : kr_error_code();
    least = first;
    for (long t = 0; t < steps && !e; t++) {
        e = kr_stopped(a->trace);
        e = e ? e : step(a, optim, p, count, t);
        if (e == KR_ENUMBER) {                               /* what was best so far stays */
            kr_say(a->trace, KR_WARNING, "step %ld of the adaptation is not finite: it ends there", t + 1);
            kr_error_clear();
            e = 0;
            break;
        }
        if (!e && ((t + 1) % every == 0 || t + 1 == steps) && !(e = score(&now, a)) && now < least) {
            least = now;
            at = t + 1;
            e = keep(best, a, p, count);
        }
        kr_progress(a->trace, "adaptation", (double)(t + 1), (double)steps);
    }
    kr_optim_unref(&optim);
    snprintf(told, room, "%ld steps on this scan: loss over samples held back %.4f before, %.4f after (%s)", steps, first, least, at ? "" : "no step made it better: the weights as they were");
    if (at)
        snprintf(told, room, "%ld steps on this scan: loss over samples held back %.4f before, %.4f after (step %ld)", steps, first, least, at);
    return e;
}

int net_adapted(kr_weights **out, char told[200], const kr_net_kind *kind, const kr_weights *w, const kr_scan *scan, const kr_array *coils, long steps, const kr_trace *trace)
{
    adaptation a = { .kind = kind, .w = w, .scan = scan, .coils = coils, .trace = trace };
    *out = NULL;
    int e = kind->magnitude || kind->of_image ? kr_fail(KR_EREFUSED, "--adapt: the network %s gives magnitudes, which cannot be compared with samples", kind->name) : adapt(&a, out, told, 200, steps);
    e = e ? e : kr_net_complete(*out, kind, w);
    if (!e)
        kr_weights_digest(*out);
    for (int k = 0; k < a.lessons; k++)
        kr_lesson_clear(&a.lesson[k]);
    for (int k = 0; k < a.stops; k++)
        kr_lesson_clear(&a.stop[k]);
    kr_run_unref(&a.run);
    kr_graph_unref(&a.graph);
    if (e)
        kr_weights_unref(out);
    return e;
}
