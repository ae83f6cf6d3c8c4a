/* pdhg.c: primal-dual splitting: no inner problems, any sum of terms. The data term by its gradient, or, where N is a projector (one coil), by its
 * proximal map, which then is as cheap and leaves the step size free. Letters: Condat 2013. */
#include "kray/solve.h"
#include <math.h>

struct dual { kr_array *p, *v, *z; };
struct state { const kr_problem *p; struct dual t[KR_TERMS]; kr_array *x1, *g, *w; double tau, sigma, ease, relax; bool exact; };

enum { FAR = 10 };                                                   /* tau L of an exact data step: of 1, 10, 30, 100, 1000 for TV of a brain 10 and 30 did best; of 10 and 30 for TGV 10 */

static bool can(const kr_problem *p) { return p->b && !p->positive && !p->smooth && p->terms >= 1; }

/* p = prox of sigma g* at p + sigma K x, by Moreau: v - sigma prox of g / sigma at v / sigma; and on by relax. Adds |p - p before|^2. */
static void ascend(struct state *s, int i, const kr_array *x, double *moved)
{
    const kr_term *t = &s->p->term[i];
    struct dual *d = &s->t[i];
    float sigma = (float)s->sigma;
    if (t->K)
        kr_apply(t->K, d->v, x);
    else
        kr_array_assign(d->v, x);
    kr_axpy(d->v, 1 / sigma, d->p);                                  /* v / sigma */
    kr_prox_apply(t->g, (float)s->ease / sigma, d->z, d->v);
    kr_axpy(d->v, -1, d->z);
    kr_scale(d->v, sigma);
    kr_axpy(d->p, -1, d->v);
    *moved += kr_dot_re(d->p, d->p);
    if (s->relax > 1)
        kr_axpy(d->v, (float)(1 - s->relax), d->p);
    kr_array *swap = d->p;
    d->p = d->v;
    d->v = swap;
}

/* Whether N N = L N, and N not L, as for one coil whose map is 1 everywhere and that is undersampled. By a random array, of which a single
 * eigenvalue that is neither 0 nor L would leave more than the rounding of the transforms (1e-6). */
static bool projects(const kr_problem *p, kr_array *v, kr_array *w)
{
    for (long i = 0, n = kr_count(kr_array_shape(v)); i < n; i++) {
        double g[2];
        kr_rand_normal2(20260102, 0, (uint64_t)i, g);
        if (v->type == KR_C32)
            KR_C(v)[i] = kr_c((float)g[0], (float)g[1]);
        else
            KR_R(v)[i] = (float)g[0];
    }
    double L = p->bound, all = kr_norm(v);
    kr_apply(p->N, w, v);
    kr_apply(p->N, v, w);
    kr_axpy(v, (float)-L, w);
    return kr_norm(v) <= 1e-5 * L * kr_norm(w) && kr_norm(w) < 0.999 * L * all;
}

static int steps(struct state *s)
{
    const kr_problem *p = s->p;
    double K2 = 0, L = p->bound > 0 ? p->bound : 1;
    for (int i = 0; i < p->terms; i++) {
        double K = p->term[i].K ? kr_linop_norm2(p->term[i].K, 20) : 1 / 1.05;
        if (K < 0)
            return kr_error_code();
        K2 += 1.05 * K;
    }
    if (!(K2 > 0))
        K2 = 1;
    s->exact = projects(p, s->g, s->w);
    s->relax = s->exact ? 1.9 : 1;                                   /* below 2; by the gradient below 1 at the largest tau */
    if (s->exact) {                                                  /* 1/tau >= sigma |K|^2 */
        s->tau = FAR / L;
        s->sigma = 1 / (s->tau * K2);
    } else {
        s->sigma = (p->terms > 1 ? 1 : 0.5) * L / K2;                /* of 1/16 to 4, these came down fastest: TGV, TV of a brain */
        s->tau = 1 / (L / 2 + s->sigma * K2);                        /* 1/tau - sigma |K|^2 >= L/2 */
    }
    return isfinite(K2) ? 0 : kr_fail(KR_ENUMBER, "pdhg: an operator's norm is not finite");
}

static int run(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *out, const kr_trace *trace)
{
    struct state s = { .p = p };
    bool whole = (s.x1 = kr_array_like(x)) && (s.g = kr_array_like(x)) && (s.w = kr_array_like(x));
    for (int i = 0; i < p->terms && whole; i++) {
        kr_shape n = kr_prox_shape(p->term[i].g);
        whole = (s.t[i].p = kr_array_new(x->type, n)) && (s.t[i].v = kr_array_new(x->type, n)) && (s.t[i].z = kr_array_new(x->type, n));
    }
    kr_rest rest;
    int e = kr_rest_open(&rest, x);
    e = e ? e : whole ? steps(&s) : kr_error_code();
    for (int k = 0; !e && k < stop.iterations && !out->converged; k++) {
        double moved = 0;
        s.ease = s.exact ? 1 : kr_ease(p, k);                        /* far steps need no easing */
        if (s.exact)
            kr_fill(s.g, 0);
        else
            kr_apply(p->N, s.g, x);
        kr_axpy(s.g, -1, p->b);                                      /* g = N x - b + sum K^H p, without N x where exact */
        for (int i = 0; i < p->terms; i++)
            if (p->term[i].K) {
                kr_apply_adj(p->term[i].K, s.w, s.t[i].p);
                kr_axpy(s.g, 1, s.w);
            } else
                kr_axpy(s.g, 1, s.t[i].p);
        kr_array_assign(s.x1, x);
        kr_axpy(x, (float)-s.tau, s.g);                              /* x = x - tau g */
        if (s.exact) {                                               /* (1 + tau N)^-1 = 1 - tau N / (1 + tau L) */
            kr_apply(p->N, s.g, x);
            kr_axpy(x, (float)(-s.tau / (1 + s.tau * p->bound)), s.g);
        }
        kr_xpay(s.x1, -1, x);                                        /* x - x before  */
        double change = kr_dot_re(s.x1, s.x1);
        kr_axpy(s.x1, 1, x);                                         /* 2 x - x before */
        for (int i = 0; i < p->terms; i++)
            ascend(&s, i, s.x1, &moved);
        if (s.relax > 1) {                                           /* x + (relax - 1) (x - x before) */
            kr_scale(x, (float)(2 - s.relax));
            kr_axpy(x, (float)(s.relax - 1), s.x1);
        }
        out->iterations = k + 1;
        out->converged = s.ease <= 1 && kr_rest_at(&rest, x, k + 1, stop.tolerance);
        e = isfinite(change + moved) ? kr_stopped(trace) : kr_fail(KR_ENUMBER, "pdhg: numbers are no longer finite after %d iterations", k + 1);
        kr_progress(trace, "pdhg", kr_rest_part(&rest, k + 1, stop.iterations), 1);
    }
    kr_rest_close(&rest);
    for (int i = 0; i < p->terms; i++) {
        kr_array_unref(&s.t[i].p);
        kr_array_unref(&s.t[i].v);
        kr_array_unref(&s.t[i].z);
    }
    kr_array_unref(&s.x1);
    kr_array_unref(&s.g);
    kr_array_unref(&s.w);
    return e;
}

const kr_solver kr_solver_pdhg = { "pdhg", "Condat 2013; Vu 2013", can, run };
