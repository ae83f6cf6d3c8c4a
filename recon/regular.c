/* regular.c: x = argmin 1/2 |P F S x - y|^2 + sum of lambda_i R_i(x), of a slice, a volume, or a series at once.
 *
 * The scale of the data. Maps of any size and data in any unit give the same problem: with u the largest sum over coils of |S|^2 (along trajectories: where the object is, model_level)
 * and s the 99th percentile of |A^H y| / u over the points of the whole scan where there is a coil map,
 * the unknown is x / s and the operator A / sqrt u, so that lambda is a fraction of the image's brightness. Of projections u is the bound of
 * A^T A: lambda then is a fraction of what the plain back-projection A^T y is. */
#include "kray/dealt.h"
#include "kray/range.h"
#include "kray/regularisers.h"
#include "kray_regs.h"
#include "net_method.h"
#include "projected.h"
#include "reg.h"
#include "regular.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const unsigned space = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);
static const int series_axes[] = { KR_TIME, KR_PHASE, KR_ECHO, KR_SET };

static const double EMPTY = 0.05;     /* model_kind.normal: of 0.01, 0.1 and 1 the larger blur images that a prior in time alone would sharpen */

/* ---- What is asked for ---- */
#define DECLARE(n) extern const reg_kind reg_##n;
KR_LIST(DECLARE)
#define POINT(n) &reg_##n,
static const reg_kind *const kinds[] = { KR_LIST(POINT) };
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *kr_regulariser(int i, const char **summary, const char **cite)
{
    const reg_kind *k = i >= 0 && i < KINDS ? kinds[i] : NULL;
    if (summary)
        *summary = k ? k->summary : NULL;
    if (cite)
        *cite = k ? k->cite : NULL;
    return k ? k->name : NULL;
}

struct sum { int count; const reg_kind *kind[KR_TERMS]; double lambda[KR_TERMS]; bool series; };

static int add_term(struct sum *s, const char *word, double lambda)
{
    const char *known[KINDS];
    for (int k = 0; k < KINDS; k++) {
        known[k] = kinds[k]->name;
        if (strcmp(word, kinds[k]->name))
            continue;
        if (s->count == KR_TERMS || !(lambda >= 0) || !isfinite(lambda))
            return kr_fail(KR_EREFUSED, "%s:%g: at most %d terms are possible, each of a strength (lambda) of 0 or more", word, lambda, KR_TERMS);
        s->kind[s->count] = kinds[k];
        s->lambda[s->count++] = lambda;
        s->series |= kinds[k]->series;
        return 0;
    }
    const char *near = kr_nearest(word, known, KINDS);
    return kr_fail(KR_EUSAGE, "there is no regularisation '%s'; %s%s%s", word, near ? "did you mean " : "known are " KR_REGULARISERS, near ? near : "", near ? "?" : "");
}

/* "wavelet:0.01+tv:2e-3": words joined by a plus that a letter follows. */
static int parse(struct sum *s, const char *text)
{
    kr_auto char *copy = kr_strdup(text);
    if (!copy)
        return kr_error_code();
    for (char *word = copy, *next; word; word = next) {
        next = word;
        while ((next = strchr(next, '+')) && !(next[1] >= 'a' && next[1] <= 'z'))
            next++;
        if (next)
            *next++ = 0;
        char *colon = strchr(word, ':'), *end = NULL;
        double lambda = colon ? strtod(colon + 1, &end) : 0;
        if (!colon || end == colon + 1 || *end)
            return kr_fail(KR_EUSAGE, "regularisation '%s'; what is wanted looks like wavelet:0.01+tv:0.002", word);
        *colon = 0;
        int e = add_term(s, word, lambda);
        if (e)
            return e;
    }
    return 0;
}

/* ---- The parts of a scan that are problems of their own ---- */
/* What a frame leaves for the next. */
struct before { kr_array *x; double scale, bound; };

struct job {
    struct before *before;            /* x NULL: the first; NULL: no frames that follow each other                */
    const kr_scan *scan; const kr_array *coils; const kr_regular *o; struct sum *sum; const kr_trace *trace;
    unsigned joint;                   /* axes of one problem                                                     */
    int frames;                       /* the axis of the series, or -1                                           */
    unsigned along;                   /* all axes of it: of --frames all there are several                       */
    kr_array *by;                     /* model_level; NULL: 1                                                   */
    kr_array *b, **held, *image;      /* A^H y / u with MAP, and where it is held; the result                    */
    double unit, scale;
    kr_solution *solved;              /* per part                                                                */
    double *yy;
    long parts;
    kr_weights *weights; char *weights_path;                         /* of a term that wants some, read once */
    kr_units *units;                  /* progress of the parts                                                   */
};

static kr_array *part(const kr_array *a, const struct job *j, long i) { return kr_part_of(a, j->scan, j->joint, i); }

/* One part and its model. */
struct one { kr_scan of; model m; };

static void close_part(struct one *p)
{
    kr_part_close(&p->of);
    model_close(&p->m);
}

static int open_part(struct one *p, const struct job *j, long i)
{
    *p = (struct one){ 0 };
    int e = kr_part_open(&p->of, j->scan, j->joint, i);
    kr_scoped(array) maps = e || !j->coils ? NULL : part(j->coils, j, i);
    bool turned = j->scan->rays && !j->weights;                      /* filters that were learned know axes apart */
    return e ? e : turned ? model_open_lying(&p->m, &p->of) : maps || !j->coils ? model_open(&p->m, &p->of, maps) : kr_error_code();
}

/* |N| at most, of a model without coils; negative: a refusal. */
static double bound_of(const struct job *j)
{
    struct one p;
    double bound = open_part(&p, j, 0) ? -1 : p.m.bound;
    close_part(&p);
    return bound;
}

/* b = A^H W y, in units of the maps. */
static int adjoint(void *self, long i)
{
    struct job *j = self;
    struct one p;
    int e = open_part(&p, j, i);
    kr_scoped(array) to = e ? NULL : part(j->b, j, i);
    kr_scoped(array) x = e ? NULL : kr_array_new(p.m.type, p.m.image);
    e = e ? e : x && to ? kr_stopped(j->trace) : kr_error_code();
    e = e ? e : p.m.kind->adjoint(&p.m, x, &j->yy[i]);
    if (!e) {
        kr_scale(x, (float)(1 / j->unit));
        kr_scoped(array) upright = model_upright(&p.m, x);
        if (upright)
            kr_array_assign(to, upright);
        else
            e = kr_error_code();
    }
    close_part(&p);
    return e;
}

double kr_regular_top(const kr_array *b)
{
    enum { BINS = 1 << 14 };
    double most = kr_max_abs(b);
    kr_auto long *bin = kr_alloc_zero(BINS, sizeof *bin);
    if (!bin || !(most > 0))
        return 0;
    long n = kr_count(kr_array_shape(b)), count = 0, sum = 0;
    float scale = (float)((BINS - 1) / most);
    for (long i = 0; i < n; i++) {
        float m = b->type == KR_C32 ? kr_cabs2(KR_C(b)[i]) : KR_R(b)[i] * KR_R(b)[i];
        if (m > 0) {
            bin[(long)(sqrtf(m) * scale)]++;
            count++;
        }
    }
    long k = 0;
    for (; k < BINS - 1 && (double)(sum + bin[k]) < 0.99 * (double)count; k++)
        sum += bin[k];
    return ((double)k + 0.5) / BINS * most;
}

/* ---- The problem of one part ---- */
static void close_problem(reg_problem *q)
{
    kr_linop_unref(&q->N);
    kr_linop_unref(&q->image);
    if (q->drop)
        q->drop(q->smooth.self);
    kr_prox_unref(&q->first);
    for (int i = 0; i < KR_TERMS; i++) {
        kr_linop_unref(&q->K[i]);
        kr_prox_unref(&q->g[i]);
    }
}

int reg_term(reg_problem *q, kr_prox *g, kr_linop *K)
{
    q->K[q->terms] = K;
    q->g[q->terms++] = g;
    return g ? 0 : kr_error_code();
}

int reg_differences(reg_problem *q, const reg_at *at, unsigned axes)
{
    kr_linop *D = kr_op_diff(at->type, at->n, axes);
    return D ? reg_term(q, kr_prox_l1(at->type, kr_linop_codomain(D), at->lambda), D) : kr_error_code();
}

kr_linop *reg_times(enum kr_type type, float f, kr_shape to, kr_shape from)
{
    kr_scoped(array) w = kr_array_new(KR_R32, (kr_shape){ 0 });
    if (!w)
        return NULL;
    kr_fill(w, f);
    return kr_op_weight(type, w, to, from);
}

kr_shape reg_chans(kr_shape s, long n)
{
    s.n[KR_CHAN] = n;
    return s;
}

/* Along which neighbours are alike: the slices of a band are far apart. */
static unsigned smooth_axes(const kr_scan *s) { return s->multiband.depth ? space & ~KR_ON(KR_Z) : space; }

static unsigned long_axes(kr_shape s, unsigned axes)
{
    unsigned on = 0;
    for (int d = 0; d < KR_AXES; d++)
        on |= axes & KR_ON(d) && s.n[d] > 1 ? KR_ON(d) : 0;
    return on;
}

static int open_problem(reg_problem *q, const struct job *j, const struct one *p)
{
    *q = (reg_problem){ .bound = p->m.bound > 0 ? j->unit : 0 };
    bool spatial = false;                                             /* is there a prior in space? */
    for (int i = 0; i < j->sum->count; i++)
        spatial |= !j->sum->kind[i]->series;
    q->N = p->m.kind->normal(&p->m, spatial ? 0 : EMPTY);
    if (!q->N)
        return kr_error_code();
    kr_shape n = kr_linop_domain(q->N);
    reg_at at = { j->o, &p->m, p->m.type, n, long_axes(n, smooth_axes(j->scan)), j->frames, j->along, 0, 0, (float)(1 / (j->unit * j->scale)), j->weights, j->sum->count == 1 };
    int e = 0;
    for (int i = 0; i < j->sum->count && !e; i++) {
        at.relative = j->sum->lambda[i];
        at.lambda = at.relative * j->unit;
        e = j->sum->kind[i]->add(q, &at);
    }
    return e;
}

/* The image of x {.., MAP, .., CHAN}: both parts of L + S; x of TGV's (x, v). */
static int image_of(const struct job *j, long i, const model *m, kr_array *x)
{
    kr_scoped(array) to = part(j->image, j, i);
    kr_scoped(array) lying = kr_array_at(x, KR_CHAN, 0);
    kr_scoped(array) first = lying ? model_upright(m, lying) : NULL;
    kr_scoped(array) sum = first ? kr_array_copy(first) : NULL;
    if (!to || !sum)
        return kr_error_code();
    if (j->sum->kind[0]->sum) {
        kr_scoped(array) second = kr_array_at(x, KR_CHAN, 1);
        if (!second)
            return kr_error_code();
        kr_axpy(sum, 1, second);
    }
    kr_scale(sum, (float)j->scale);
    kr_scoped(array) by = j->by ? part(j->by, j, i) : NULL;
    if (j->by && (!by || model_times(&sum, by)))
        return kr_error_code();
    if (sum->n[KR_MAP] == 1) {
        kr_array_assign(to, sum);
        return 0;
    }
    for (long f = 0; f < (j->frames < 0 ? 1 : sum->n[j->frames]); f++) {
        int d = j->frames < 0 ? KR_TIME : j->frames;
        kr_scoped(array) from = kr_array_at(sum, d, f);
        kr_scoped(array) packed = from ? kr_array_packed(from) : NULL;
        kr_scoped(array) slot = kr_array_at(to, d, f);
        kr_scoped(array) z = slot ? kr_array_copy(slot) : NULL;
        if (!packed || !z)
            return kr_error_code();
        kr_combine_sets(z, packed);
        kr_array_assign(slot, z);
    }
    return 0;
}

/* The bound of N, which frames share but for a few percent. */
static int bound_before(reg_problem *q, struct before *b)
{
    if (!(b->bound > 0)) {
        double found = kr_linop_norm2(q->N, 15);
        if (found < 0)
            return kr_error_code();
        b->bound = 1.1 * sqrt(found);
    }
    q->bound = b->bound;
    return 0;
}

static int leave(const struct job *j, const kr_array *x)
{
    if (!j->before)
        return 0;
    kr_array *copy = kr_array_copy(x);
    if (!copy)
        return kr_error_code();
    kr_array_unref(&j->before->x);
    j->before->x = copy;
    return 0;
}

/* x = where the problem's own solver begins. */
static int begin(const kr_problem *p, kr_prox *first, kr_array *x, const kr_trace *trace)
{
    static const kr_stop stop = { 300, 3e-3 };
    kr_problem other = *p;
    other.term = &(kr_term){ first, NULL };
    other.terms = 1;
    other.smooth = NULL;
    return kr_solve(&other, "fista", x, stop, NULL, trace);
}

/* x += A^H (y - A x) in units of the maps: on a grid, with one set of maps, the measured samples in the place of the image's. */
static int put_back(const struct job *j, const model *m, const reg_problem *q, const kr_array *b, kr_array *x)
{
    if (!m->mask || !m->coils)
        return kr_fail(KR_EREFUSED, "put-back is for samples on a grid and with coil maps: others do not stand for points of k-space");
    kr_array *r = kr_array_like(x);
    if (!r)
        return kr_error_code();
    kr_apply(q->N, r, x);
    kr_xpay(r, -1, b);
    kr_axpy(x, (float)(1 / j->unit), r);
    kr_array_unref(&r);
    return 0;
}

/* The same with terms that the solution x has changed, from there, as often as is asked for. */
static int again(const struct job *j, const kr_problem *p, reg_problem *q, const char *solver, kr_array *x, kr_stop stop, kr_solution *solved)
{
    long rounds = !q->look ? 1 : j->o->rounds > 0 ? j->o->rounds : 2;
    kr_scoped(array) first = rounds > 1 ? kr_array_copy(p->b) : NULL;
    int e = rounds > 1 && !first ? kr_error_code() : 0;
    if (first)
        kr_scale(first, (float)(1 / j->unit));
    for (long k = 1; k < rounds && !e; k++) {
        e = q->look(q, x, first);
        e = e ? e : kr_solve(p, solver, x, stop, solved, j->trace);
    }
    return e;
}

static int solve(void *self, long i)
{
    struct job *j = self;
    struct one p;
    reg_problem q = { 0 };
    int e = open_part(&p, j, i);
    if (!e)
        e = open_problem(&q, j, &p);
    if (!p.m.A)
        kr_part_close(&p.of);
    if (!e) {
        const kr_solver *asked = kr_solver_named(j->o->solver);
        const char *solver = asked ? asked->name : NULL;                                     /* else auto */
        bool samples = p.m.A && !q.smooth.add && (!asked || asked->samples);      /* it goes by them, and b has done its work */
        if (samples && j->parts == 1)
            kr_array_unref(j->held);
        kr_scoped(linop) A = p.m.A && q.image ? kr_mul(kr_linop_ref(p.m.A), kr_linop_ref(q.image)) : p.m.A ? kr_linop_ref(p.m.A) : NULL;
        kr_scoped(array) held = samples ? NULL : part(j->b, j, i);
        kr_scoped(array) from = held ? model_lying(&p.m, held) : NULL;
        kr_shape n = kr_linop_domain(q.N);
        bool same = from && kr_array_contiguous(from) && kr_shape_equal(kr_array_shape(from), n);      /* used once: in place */
        kr_scoped(array) b = same ? kr_array_ref(from) : from ? kr_array_new(p.m.type, n) : NULL;
        kr_scoped(array) x = kr_array_new(p.m.type, n);
        if (x && (b || samples) && (A || !p.m.A)) {
            for (long c = 0; c < (same || samples ? 0 : j->sum->kind[0]->sum ? 2 : 1) && !e; c++) {
                kr_scoped(array) to = kr_array_at(b, KR_CHAN, c);
                if (to)
                    kr_array_assign(to, from);
                else
                    e = kr_error_code();
            }
            if (b)
                kr_scale(b, (float)(j->unit / j->scale));
            kr_term term[KR_TERMS];
            for (int k = 0; k < q.terms; k++)
                term[k] = (kr_term){ q.g[k], q.K[k] };
            if (!e && j->before && !(q.bound > 0))
                e = bound_before(&q, j->before);
            bool warm = j->before && j->before->x && kr_shape_equal(kr_array_shape(j->before->x), n);
            if (warm)
                kr_array_assign(x, j->before->x);
            kr_problem problem = { q.N, b, j->yy[i] / (j->scale * j->scale), q.bound, term, q.terms, !p.m.coils || p.m.coils->n[KR_COIL] > 1 ? 1 : 100,
                                   A, A ? p.of.data : NULL, j->o->positive, q.smooth.add ? &q.smooth : NULL, 1 / j->scale };
            kr_stop stop = { (int)j->o->iterations, j->o->tolerance };
            double size = warm ? kr_norm(x) : 0;
            if (!e && q.first && q.terms == 0)
                e = begin(&problem, q.first, x, j->trace);
            e = e ? e : kr_solve(&problem, solver, x, stop, warm ? NULL : &j->solved[i], j->trace);
            if (!e && warm && kr_norm(x) > 2 * size) {               /* another scene, or steps too long for it: from nothing, with a bound of its own */
                kr_fill(x, 0);
                problem.bound = p.m.bound > 0 ? q.bound : 0;
                e = kr_solve(&problem, solver, x, stop, &j->solved[i], j->trace);
            }
            e = e ? e : again(j, &problem, &q, solver, x, stop, warm ? NULL : &j->solved[i]);
            e = e ? e : leave(j, x);
            e = e || !j->o->put_back ? e : put_back(j, &p.m, &q, b, x);
            e = e ? e : image_of(j, i, &p.m, x);
        } else
            e = kr_error_code();
    }
    close_problem(&q);
    close_part(&p);
    return e;
}

/* ---- All of it ---- */
static int check(const kr_regular *o, const struct sum *s)
{
    if (o->iterations < 1 || o->iterations > 100000 || !(o->tolerance >= 0) || !isfinite(o->tolerance))
        return kr_fail(KR_EREFUSED, "1 to 100000 iterations and tolerance >= 0 are wanted, not %ld and %g", o->iterations, o->tolerance);
    if (o->rounds < 0 || o->rounds > 20)
        return kr_fail(KR_EREFUSED, "rounds are 0 to 20, not %ld", o->rounds);
    if (o->order < 1 || o->order > 10 || o->block < 1 || o->block > 64)
        return kr_fail(KR_EREFUSED, "wavelets have orders 1 to 10, blocks have 1 to 64 points; not %ld and %ld", o->order, o->block);
    for (int i = 0; i < s->count; i++)
        if (s->kind[i]->alone && s->count > 1)
            return kr_fail(KR_EREFUSED, "%s cannot be summed with other terms", s->kind[i]->name);
    return 0;
}

static kr_regular filled(const kr_regular *options)                  /* what a method has no option for */
{
    kr_regular o = *options;
    o.frames = o.frames ? o.frames : "auto";
    o.order = o.order ? o.order : 2;
    o.block = o.block ? o.block : 8;
    return o;
}

/* The axis along which the scan is a series; -1: none. */
static int series_axis(const kr_regular *o, const kr_scan *scan)
{
    for (int k = 0; k < 4; k++) {
        int d = series_axes[k];
        if (scan->shape.n[d] > 1 && (!strcmp(o->frames, "auto") || !strcmp(o->frames, "all") || !strcmp(o->frames, kr_axis_name(d))))
            return d;
    }
    return -1;
}

static int solve_told(void *self, long i)
{
    struct job j = *(const struct job *)self;
    j.trace = kr_units_trace(j.units, i);
    int e = solve(&j, i);
    kr_units_done(j.units, i);
    return e;
}

static int record(kr_image *image, const struct job *j)
{
    double objective = 0, misfit = 0;
    int most = 0, converged = 0;
    if (!*j->solved[0].solver)                                       /* of a frame that follows another nothing more is known */
        return kr_meta_set(image->meta, "kray_scale", "%.9g", j->scale);
    for (long i = 0; i < j->parts; i++) {
        objective += j->solved[i].objective / j->unit;
        misfit += 2 * j->solved[i].misfit * j->scale * j->scale;
        most = j->solved[i].iterations > most ? j->solved[i].iterations : most;
        converged += j->solved[i].converged;
    }
    kr_say(j->trace, KR_DETAIL, "%s: %d iterations, objective %.7g, |Ax - y| %.5g, scale %.5g%s", j->solved[0].solver, most, objective, sqrt(misfit), j->scale,
           converged == j->parts ? ", converged" : "");
    if (converged < j->parts && j->o->tolerance > 0)
        kr_say(j->trace, KR_INFO, "%s: not converged after %d iterations: more --iterations would change the image", j->solved[0].solver, most);
    int e = kr_meta_set(image->meta, "kray_objective", "%.9g", objective);
    e = e ? e : kr_meta_set(image->meta, "kray_residual", "%.9g", sqrt(misfit));
    e = e ? e : kr_meta_set(image->meta, "kray_scale", "%.9g", j->scale);
    for (int i = 0; i < j->sum->count && !e; i++)
        if (j->sum->kind[i]->by_noise)
            e = kr_meta_set(image->meta, "kray_strength", "%s:%.6g", j->sum->kind[i]->name, j->sum->lambda[i]);
    if (!e && j->o->put_back)
        e = kr_meta_set(image->meta, "kray_put_back", "yes");
    if (!e && j->weights)
        e = kr_meta_set(image->meta, "kray_weights", "%s", j->weights_path);
    if (!e && j->weights)
        e = kr_meta_set(image->meta, "kray_weights_digest", "%s", j->weights->digest);
    return e ? e : kr_meta_set(image->meta, "kray_iterations", "%d", most);
}

/* Of the term that wants trained weights: those that were given, or that come with Kray. */
static int read_weights(struct job *j)
{
    const char *name = NULL;
    for (int i = 0; i < j->sum->count; i++)
        name = j->sum->kind[i]->weights ? j->sum->kind[i]->weights : name;
    if (!name)
        return 0;
    j->weights_path = j->o->weights ? kr_strdup(j->o->weights) : shipped_weights(name);
    if (!j->weights_path)
        return kr_error_code() ? kr_error_code() : kr_fail(KR_EREFUSED, "the weights of %s were not found where Kray was installed: KR_WEIGHTS names their folder, --weights a file", name);
    return kr_weights_read(&j->weights, j->weights_path);
}

/* The deviation of the samples' noise in units of the image, by the noise scan or beside the object, if the outermost samples do not say less (as a rule they say up to twice as
 * much). 0: neither tells; below 0: refused. */
static double noise_of(const struct job *j)
{
    double square = 0;
    if (j->scan->rays)
        return 0;
    if (j->scan->whitened)
        return kr_noise_sigma(j->scan, j->trace) / j->scale;
    for (long i = 0; i < j->parts; i++) {
        kr_scan part = { 0 };
        double beside = kr_part_open(&part, j->scan, j->joint, i) ? -1 : kr_noise_beside(&part), outer = beside > 0 ? kr_noise_sigma(&part, NULL) : 0;
        kr_part_close(&part);
        if (!(beside > 0) || (outer < 0 && kr_error_code() == KR_EMEM))
            return beside > 0 ? outer : beside;
        if (outer < 0)                       /* nothing is measured far out */
            kr_error_clear();
        beside = outer > 0 ? fmin(beside, outer) : beside;   /* an object that fills the field of view has nothing beside it */
        square += beside * beside / (double)j->parts;
    }
    return sqrt(square) / j->scale;
}

/* The range of levels that weights were trained on: where a network of masks looks at the image, its own. */
static const char *levels_of(const struct job *j)
{
    return !j->scan->rays && j->o->rounds != 1 && kr_meta_get(j->weights->meta, "trained.mask_levels") ? "trained.mask_levels" : "trained.levels";
}

/* Strengths of 0: by the scan's noise, as the term has it. */
static int strengths(struct job *j)
{
    for (int i = 0; i < j->sum->count; i++)
        if (j->sum->kind[i]->by_noise && !(j->sum->lambda[i] > 0)) {
            double noise = noise_of(j);
            if (noise < 0)
                return kr_error_code();
            if (j->weights && noise > 0.1)
                kr_range_compare(j->weights->meta, levels_of(j), noise, "noise of images, relative to them,", j->trace);
            j->sum->lambda[i] = j->sum->kind[i]->by_noise(noise, j->scan->rays);
            kr_say(j->trace, KR_DETAIL, "%s: lambda = %.4f, %s", j->sum->kind[i]->name, j->sum->lambda[i], noise > 0 ? "by the noise of the scan" : "as usual: nothing tells the noise");
        }
    return 0;
}

/* All axes of the series, of which `first` is one. */
static unsigned series_axes_of(const kr_regular *o, const kr_scan *scan, int first)
{
    unsigned along = first < 0 ? 0 : KR_ON(first);
    for (int k = 0; first >= 0 && !strcmp(o->frames, "all") && k < 4; k++)
        along |= scan->shape.n[series_axes[k]] > 1 ? KR_ON(series_axes[k]) : 0;
    return along;
}

/* Small problems side by side; large ones one after the other, each on all threads. */
static bool side_by_side(const kr_scan *scan, unsigned joint)
{
    return kr_count(kr_shape_without(scan->shape, joint)) >= kr_threads() && kr_count(kr_shape_only(scan->shape, joint)) <= 1 << 23;
}

/* Of the first image that holds something: is its norm one that the weights were trained on? */
static int norm_told(const struct job *j)
{
    for (long i = 0; i < j->parts && kr_meta_get(j->weights->meta, "trained.norm"); i++) {
        kr_scoped(array) one = kr_part(j->image, j->scan, i);
        kr_scoped(array) packed = one ? kr_array_packed(one) : NULL;
        if (!packed)
            return kr_error_code();
        if (packed->n[KR_Z] > 1)
            return 0;                        /* a volume: the weights were trained on planes */
        double norm = kr_image_norm(packed);
        if (norm > 0)
            kr_range_compare(j->weights->meta, "trained.norm", norm, "images of a norm, beside their brightness,", j->trace);
        if (norm > 0 || kr_error_code())
            return kr_error_code();
    }
    return 0;
}

static int regularised(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *options, const char *kind, struct before *before, const kr_trace *trace)
{
    struct sum sum = { 0 };
    const kr_regular whole = filled(options), *o = &whole;
    int e = kind ? add_term(&sum, kind, o->lambda) : parse(&sum, o->reg);
    if (e || (e = check(o, &sum)) || (coils && (e = kr_coils_check(coils, scan))))
        return e;
    if (o->positive && !scan->rays)
        return kr_fail(KR_EREFUSED, "--nonneg is for projections, whose images are real");
    struct job j = { .before = before, .scan = scan, .coils = coils, .o = o, .sum = &sum, .trace = trace, .frames = sum.series ? series_axis(o, scan) : -1 };
    if (sum.series && j.frames < 0)
        return kr_fail(KR_EREFUSED, "%s wants a series of frames along time, phase, echo or set; this scan is %s", sum.kind[0]->name, kr_shape_text(scan->shape));
    j.along = series_axes_of(o, scan, j.frames);
    if (j.frames >= 0 && !strcmp(o->frames, "all")) {
        for (int i = 0; i < sum.count; i++)
            if ((sum.kind[i]->series && !sum.kind[i]->many) || (coils && coils->n[KR_MAP] > 1))
                return kr_fail(KR_EREFUSED, "--frames all is for ttv and llr with one set of maps, not for %s with %ld", sum.kind[i]->name, coils ? coils->n[KR_MAP] : 1);
    }
    j.joint = kr_problem_axes | j.along;
    for (int k = 0; k < 4; k++)
        if (coils && j.along & KR_ON(series_axes[k]) && coils->n[series_axes[k]] > 1)
            return kr_fail(KR_ESHAPE, "coil maps that change along %s: one set for the series is wanted", kr_axis_name(series_axes[k]));
    j.parts = kr_count(kr_shape_without(scan->shape, j.joint));
    kr_shape shape = kr_scan_image_shape(scan), sets = shape;
    sets.n[KR_MAP] = coils ? coils->n[KR_MAP] : 1;
    e = read_weights(&j);
    kr_scoped(weights) weights = j.weights;
    kr_auto char *path = j.weights_path;
    (void)weights, (void)path;                   /* held here for the job, and dropped at the end */
    if (e)
        return e;
    enum kr_type type = scan->rays ? KR_R32 : KR_C32;
    kr_scoped(array) b = kr_array_new(type, sets);
    kr_scoped(array) image = b ? kr_array_new(type, shape) : NULL;
    kr_auto kr_solution *solved = kr_alloc_zero((size_t)j.parts, sizeof *solved);
    kr_auto double *yy = kr_alloc_zero((size_t)j.parts, sizeof *yy);
    j.unit = coils ? (double)kr_sense_unit(coils) : bound_of(&j);
    if (!image || !solved || !yy || j.unit < 0)
        return kr_error_code();
    if (!(j.unit > 0) || !isfinite(j.unit))
        return kr_fail(KR_ENUMBER, "the coil maps are all zero or not finite");
    if (j.parts > 1)
        j.before = NULL;
    j.b = b;
    j.held = &b;
    j.image = image;
    j.solved = solved;
    j.yy = yy;
    if (kr_deal(trace, j.parts, false, adjoint, &j, (const kr_made[]){ kr_made_of(b), { yy, (size_t)j.parts * sizeof *yy }, { NULL, 0 } }))
        return kr_error_code();
    kr_array *levelled = NULL, *factor = NULL;
    if (coils && model_level(&levelled, &factor, coils, b, scan))
        return kr_error_code();
    kr_scoped(array) maps = levelled;
    kr_scoped(array) by = factor;
    if (by) {
        if (model_times(&b, by))
            return kr_error_code();
        double unit = (double)kr_sense_unit(maps);
        kr_scale(b, (float)(j.unit / unit));
        j.unit = unit;
        j.b = b;
        j.coils = maps;
        j.by = by;
    }
    j.scale = j.before && j.before->scale > 0 ? j.before->scale : kr_regular_top(b);
    if (!(j.scale > 0) || !isfinite(j.scale))
        return kr_error_code() ? kr_error_code() : kr_fail(KR_ENUMBER, scan->rays ? "the line integrals are all zero or not finite" : "the data are all zero where there are coil maps, or not finite");
    if (strengths(&j))
        return kr_error_code();
    for (int i = 0; j.weights && i < sum.count; i++)
        if (sum.kind[i]->level)
            kr_range_compare(j.weights->meta, levels_of(&j), sum.kind[i]->level(o, sum.lambda[i], scan->rays), "noise of images, relative to them,", trace);
    if (j.before)
        j.before->scale = j.scale;
    bool wide = side_by_side(scan, j.joint);
    if (!(j.units = kr_units_new(trace, "slice", j.parts)))
        return kr_error_code();
    e = kr_deal(trace, j.parts, wide, solve_told, &j, (const kr_made[]){ kr_made_of(image), { solved, (size_t)j.parts * sizeof *solved }, { NULL, 0 } });
    kr_units_unref(&j.units);
    if (e)
        return e;
    if (j.weights && !scan->rays && norm_told(&j))
        return kr_error_code();
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? record(*out, &j) : kr_error_code();
}

int kr_regularised(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *o, const char *kind, const kr_trace *trace)
{
    return regularised(out, scan, coils, o, kind, NULL, trace);
}

int kr_regular_follow(kr_image **out, const kr_scan *scan, const kr_array *coils, const kr_regular *o, const char *kind, void **left, const kr_trace *trace)
{
    if (!*left && !(*left = kr_alloc_zero(1, sizeof(struct before))))
        return kr_error_code();
    return regularised(out, scan, coils, o, kind, *left, trace);
}

void kr_regular_forget(void **left)
{
    struct before *b = *left;
    if (b)
        kr_array_unref(&b->x);
    kr_free_at(left);
}

/* Of rays, by the solver diagonal: image, direction and steps, and of each term its dual, which total variation changes in place; weights and dual of the samples. */
static int plan_rays(kr_cost *cost, const kr_scan *scan, const kr_regular *o, const struct sum *sum)
{
    double images = 3, dims = 0;
    for (int d = 0; d < 3; d++)
        dims += scan->grid.n[d] > 1;
    for (int i = 0; i < sum->count; i++)
        images += sum->kind[i]->rays > 0 ? dims * sum->kind[i]->rays : 2 + sum->kind[i]->images + dims * sum->kind[i]->each;
    return projected_plan(cost, scan, fmin((double)o->iterations, 300), images, 2);
}

/* Every solver holds some images of a problem; each regulariser adds its own. Then there are the maps of a problem, in the order in which
 * the operator wants them, and A^H y of all problems. */
int kr_regular_plan(kr_cost *cost, const kr_scan *scan, const kr_regular *options, const char *kind)
{
    enum { SPACE = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) };
    static const double solver = 5.5;
    struct sum sum = { 0 };
    const kr_regular whole = filled(options), *o = &whole;
    if (kind ? add_term(&sum, kind, o->lambda) : parse(&sum, o->reg))
        return kr_error_code();
    if (scan->rays)
        return plan_rays(cost, scan, o, &sum);
    unsigned joint = kr_problem_axes | (sum.series ? series_axes_of(o, scan, series_axis(o, scan)) : 0);
    double n = (double)kr_count(scan->shape), images = solver, axes = 0;
    for (int d = KR_X; d <= KR_Z; d++)
        axes += scan->shape.n[d] > 1;
    for (int i = 0; i < sum.count; i++)
        images += sum.kind[i]->images + axes * sum.kind[i]->each + (axes < 3 ? sum.kind[i]->planes : 0);
    double one = (double)kr_count(kr_shape_without(kr_shape_only(scan->shape, joint), KR_ON(KR_COIL)));
    double maps = (double)kr_count(kr_shape_only(scan->shape, SPACE | KR_ON(KR_COIL))), at_once = side_by_side(scan, joint) ? kr_threads() : 1;
    cost->bytes = 8 * ((double)kr_count(kr_shape_without(scan->shape, KR_ON(KR_COIL))) + at_once * (maps + images * one));
    cost->seconds = n * 2e-8 * (double)o->iterations;
    return 0;
}
