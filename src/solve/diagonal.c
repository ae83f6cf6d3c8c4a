/* diagonal.c: primal-dual steps of which each sample and each voxel has its own, 1 over the sum of its weights: rays through many voxels and voxels
 * that many rays meet hold up no others. Of real samples whose weights are not negative. Letters: Pock and Chambolle 2011. */
#include "kray/solve.h"
#include <math.h>

/* v NULL: K adds to p, and g's dual works in place. w: room of the shape of x, which v has where that is the first of several. */
struct dual { kr_array *p, *v, *w; float sigma; };
/* bar: 2 x - x before, and later the sum of A^T q and all K^T p; Ax NULL: q is made without room for it. */
struct state { const kr_problem *p; struct dual t[KR_TERMS]; kr_array *q, *Ax, *row, *column, *bar; float unit; };

/* Dual steps are taken STEP times, primal ones 1 / STEP: of 0.003 to 1 times the longest ray's sum this settled first (24 views of an image of 100 x 100:
 * 75 iterations). */
static const double STEP = 0.1;

static bool can(const kr_problem *p) { return p->A && p->y && !p->smooth; }

static int open(struct state *s, const kr_problem *p, const kr_array *x)
{
    bool whole = (s->q = kr_array_like(p->y)) && (kr_linop_in_parts(p->A) || (s->Ax = kr_array_like(p->y))) && (s->row = kr_array_like(p->y)) && (s->column = kr_array_like(x))
              && (s->bar = kr_array_like(x));
    s->unit = p->unit > 0 ? (float)p->unit : 1;
    for (int i = 0; i < p->terms && whole; i++) {
        kr_shape n = kr_prox_shape(p->term[i].g);
        struct dual *d = &s->t[i];
        whole = (d->p = kr_array_new(KR_R32, n)) != NULL;
        if (!whole || (p->term[i].K && kr_linop_adds(p->term[i].K) && kr_prox_has_dual(p->term[i].g)))
            continue;
        whole = (d->v = kr_array_new(KR_R32, n)) != NULL;
        kr_scoped(array) first = whole ? kr_array_at(d->v, KR_CHAN, 0) : NULL;
        bool fits = first && kr_array_contiguous(first) && kr_shape_equal(kr_array_shape(first), kr_array_shape(x));
        whole = whole && (!p->term[i].K || (d->w = fits ? kr_array_ref(first) : kr_array_like(x)));
    }
    if (!whole)
        return kr_error_code();
    kr_fill(s->bar, 1);
    kr_fill(s->q, 1);
    kr_apply(p->A, s->row, s->bar);
    kr_apply_adj(p->A, s->column, s->q);
    kr_fill(s->q, 0);
    kr_array_assign(s->bar, x);
    double rays = kr_max_abs(s->row), voxels = kr_max_abs(s->column), step = STEP * rays;
    if (!(rays > 0))
        return kr_fail(KR_EREFUSED, "no ray meets the image");
    float *r = KR_R(s->row), *c = KR_R(s->column);
    for (long i = 0, m = kr_count(kr_array_shape(s->row)); i < m; i++)
        r[i] = r[i] > 1e-6f * (float)rays ? (float)step / r[i] : 0;
    /* what the terms add to a voxel's sum is half of what most rays add */
    double share = p->terms ? voxels / 2 : 1e-6 * voxels;
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++)
        c[i] = (float)(1 / (step * ((double)c[i] + share)));
    for (int i = 0; i < p->terms; i++) {
        double K2 = p->term[i].K ? 1.05 * kr_linop_norm2(p->term[i].K, 20) : 1;
        if (K2 < 0)
            return kr_error_code();
        s->t[i].sigma = (float)(step * share / (p->terms * (K2 > 0 ? K2 : 1)));
    }
    return 0;
}

/* p = prox of sigma g* at p + sigma K x, by Moreau: u - sigma prox of g / sigma at u / sigma. */
static void ascend(struct state *s, int i)
{
    const kr_term *t = &s->p->term[i];
    struct dual *d = &s->t[i];
    if (!d->v) {
        kr_apply_add(t->K, d->p, d->sigma, s->bar);
        kr_prox_dual(t->g, d->p);
        return;
    }
    if (t->K)
        kr_apply(t->K, d->v, s->bar);
    else
        kr_array_assign(d->v, s->bar);
    kr_scale(d->p, 1 / d->sigma);
    kr_axpy(d->p, 1, d->v);                                          /* u / sigma */
    kr_prox_apply(t->g, 1 / d->sigma, d->v, d->p);
    kr_axpy(d->p, -1, d->v);
    kr_scale(d->p, d->sigma);
}

/* The dual of 1/2 |A x - y|^2: A x of `count` views first, first + step, ... becomes q. */
static void dual_of(void *with, float *Ax, long first, long step, long count)
{
    const struct state *s = with;
    long each = kr_count(kr_array_shape(s->p->y)) / (s->Ax ? 1 : s->p->y->n[KR_VIEW]);
    for (long v = 0; v < count; v++) {
        long at = (first + v * step) * each;
        float *q = KR_R(s->q) + at, *ax = Ax + v * each;
        const float *row = KR_R(s->row) + at, *y = KR_R(s->p->y) + at;
        for (long i = 0; i < each; i++)
            q[i] = (q[i] + row[i] * (ax[i] - s->unit * y[i])) / (1 + row[i]);
    }
}

static int steps(struct state *s, kr_array *x, kr_stop stop, kr_rest *rest, kr_solution *out, const kr_trace *trace)
{
    const kr_problem *p = s->p;
    long n = kr_count(kr_array_shape(x)), image = n / x->n[KR_CHAN];      /* of an unknown of several parts the first is the image */
    for (int k = 0; k < stop.iterations && !out->converged; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        if (s->Ax) {
            kr_apply(p->A, s->Ax, s->bar);
            dual_of(s, KR_R(s->Ax), 0, 1, 1);
        } else
            kr_apply_through(p->A, NULL, s->bar, dual_of, s);
        for (int i = 0; i < p->terms; i++)
            ascend(s, i);
        kr_apply_adj(p->A, s->bar, s->q);
        for (int i = 0; i < p->terms; i++) {
            const kr_linop *K = p->term[i].K;
            if (!s->t[i].v) {
                kr_apply_adj_add(K, s->bar, 1, s->t[i].p);
                continue;
            }
            if (K)
                kr_apply_adj(K, s->t[i].w, s->t[i].p);
            kr_axpy(s->bar, 1, K ? s->t[i].w : s->t[i].p);
        }
        for (long i = 0; i < n; i++) {
            float was = KR_R(x)[i], next = was - KR_R(s->column)[i] * KR_R(s->bar)[i];
            next = p->positive && i < image && next < 0 ? 0 : next;
            KR_R(s->bar)[i] = 2 * next - was;
            KR_R(x)[i] = next;
        }
        out->iterations = k + 1;
        out->converged = kr_rest_at(rest, x, k + 1, stop.tolerance);
        kr_progress(trace, "diagonal", kr_rest_part(rest, k + 1, stop.iterations), 1);
    }
    return isfinite(kr_norm(x)) ? 0 : kr_fail(KR_ENUMBER, "diagonal: numbers are no longer finite after %d iterations", out->iterations);
}

static int run(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *out, const kr_trace *trace)
{
    struct state s = { .p = p };
    kr_rest rest;
    int e = kr_rest_open(&rest, x);
    e = e ? e : open(&s, p, x);
    e = e ? e : steps(&s, x, stop, &rest, out, trace);
    kr_rest_close(&rest);
    kr_array **all[] = { &s.q, &s.Ax, &s.row, &s.column, &s.bar };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kr_array_unref(all[i]);
    for (int i = 0; i < p->terms; i++) {
        kr_array_unref(&s.t[i].p);
        kr_array_unref(&s.t[i].v);
        kr_array_unref(&s.t[i].w);
    }
    return e;
}

const kr_solver kr_solver_diagonal = { "diagonal", "Pock and Chambolle 2011", can, run, .samples = true };
