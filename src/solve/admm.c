/* admm.c: the alternating direction method of multipliers, any sum of terms. Letters: Boyd et al. 2011, scaled form. */
#include "kray/solve.h"
#include <math.h>

struct split { kr_array *z, *u, *Kx, *old; };                         /* z_i = K_i x; scaled dual variable          */
struct state { const kr_problem *p; struct split t[KR_TERMS]; kr_array *r, *d, *q, *w; double rho; };

static bool can(const kr_problem *p) { return p->b && !p->positive && !p->smooth && p->terms >= 1; }

static void K(const kr_term *t, kr_array *y, const kr_array *x)
{
    if (t->K)
        kr_apply(t->K, y, x);
    else
        kr_array_assign(y, x);
}

static void KH(const kr_term *t, kr_array *x, const kr_array *y)
{
    if (t->K)
        kr_apply_adj(t->K, x, y);
    else
        kr_array_assign(x, y);
}

static void system_of(struct state *s, kr_array *q, const kr_array *d)      /* q = (N + rho sum K^H K) d */
{
    kr_apply(s->p->N, q, d);
    for (int i = 0; i < s->p->terms; i++)
        if (s->p->term[i].K) {
            kr_apply_normal(s->p->term[i].K, s->w, d);
            kr_axpy(q, (float)s->rho, s->w);
        } else
            kr_axpy(q, (float)s->rho, d);
}

/* (N + rho sum K^H K) x = b + rho sum K^H (z - u), from the x there is; returns the products with N. */
static int least_squares(struct state *s, kr_array *x, int most)
{
    kr_array_assign(s->r, s->p->b);
    for (int i = 0; i < s->p->terms; i++) {
        kr_array_assign(s->t[i].old, s->t[i].z);
        kr_axpy(s->t[i].old, -1, s->t[i].u);
        KH(&s->p->term[i], s->w, s->t[i].old);
        kr_axpy(s->r, (float)s->rho, s->w);
    }
    double start = kr_dot_re(s->r, s->r);
    system_of(s, s->q, x);
    kr_axpy(s->r, -1, s->q);
    kr_array_assign(s->d, s->r);
    double rr = kr_dot_re(s->r, s->r), enough = fmax(0.01 * rr, 1e-12 * start);
    int k = 1;
    for (; k < most && rr > enough; k++) {
        system_of(s, s->q, s->d);
        double dq = kr_dot_re(s->d, s->q);
        if (!(dq > 0))
            break;
        kr_axpy(x, (float)(rr / dq), s->d);
        kr_axpy(s->r, (float)(-rr / dq), s->q);
        double rr1 = kr_dot_re(s->r, s->r);
        kr_xpay(s->d, (float)(rr1 / rr), s->r);
        rr = rr1;
    }
    return k;
}

/* z = prox of g / rho at K x + u, u = u + K x - z; the residuals' squares and those of what they are compared with. */
static void split(struct state *s, const kr_array *x, double *primal, double *size, double *dual, double *force)
{
    *primal = *dual = *force = 0;
    double Kx2 = 0, z2 = 0;
    for (int i = 0; i < s->p->terms; i++) {
        const kr_term *t = &s->p->term[i];
        struct split *v = &s->t[i];
        kr_array_assign(v->old, v->z);
        K(t, v->Kx, x);
        Kx2 += kr_dot_re(v->Kx, v->Kx);
        kr_axpy(v->u, 1, v->Kx);                                     /* u + K x */
        kr_prox_apply(t->g, (float)(1 / s->rho), v->z, v->u);
        kr_axpy(v->u, -1, v->z);
        kr_axpy(v->Kx, -1, v->z);
        kr_axpy(v->old, -1, v->z);
        *primal += kr_dot_re(v->Kx, v->Kx);                          /* |K x - z|^2 */
        z2 += kr_dot_re(v->z, v->z);
        KH(t, s->w, v->old);
        *dual += s->rho * s->rho * kr_dot_re(s->w, s->w);            /* |rho K^H (z - z before)|^2 */
        KH(t, s->w, v->u);
        *force += s->rho * s->rho * kr_dot_re(s->w, s->w);
    }
    *size = fmax(Kx2, z2);
}

static int run(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *out, const kr_trace *trace)
{
    struct state s = { .p = p, .rho = (p->bound > 0 ? p->bound : 1) / 4 };
    bool whole = (s.r = kr_array_like(x)) && (s.d = kr_array_like(x)) && (s.q = kr_array_like(x)) && (s.w = kr_array_like(x));
    for (int i = 0; i < p->terms && whole; i++) {
        kr_array **a[4] = { &s.t[i].z, &s.t[i].u, &s.t[i].Kx, &s.t[i].old };
        for (int k = 0; k < 4; k++)
            whole = whole && (*a[k] = kr_array_new(x->type, kr_prox_shape(p->term[i].g)));
        if (whole)
            K(&p->term[i], s.t[i].z, x);
    }
    kr_rest rest;
    int e = kr_rest_open(&rest, x);
    e = e ? e : whole ? 0 : kr_error_code();
    for (int k = 0; !e && out->iterations < stop.iterations && !out->converged; k++) {
        double primal, size, dual, force;
        int left = stop.iterations - out->iterations;
        out->iterations += least_squares(&s, x, left < 10 ? left + 1 : 10);
        split(&s, x, &primal, &size, &dual, &force);
        if (!isfinite(primal + dual))
            e = kr_fail(KR_ENUMBER, "admm: numbers are no longer finite after %d iterations", out->iterations);
        else
            e = kr_stopped(trace);
        out->converged = kr_rest_at(&rest, x, k + 1, stop.tolerance);
        double pr = size > 0 ? primal / size : 0, du = force > 0 ? dual / force : 0, change = pr > 25 * du ? 2 : du > 25 * pr ? 0.5 : 1;
        if (!e && change != 1 && k < 40 && k % 2) {                  /* balance, for a while: then it converges as theory says */
            s.rho *= change;
            for (int i = 0; i < p->terms; i++)
                kr_scale(s.t[i].u, (float)(1 / change));
        }
        kr_progress(trace, "admm", out->iterations, stop.iterations);
    }
    kr_rest_close(&rest);
    for (int i = 0; i < p->terms; i++) {
        kr_array_unref(&s.t[i].z);
        kr_array_unref(&s.t[i].u);
        kr_array_unref(&s.t[i].Kx);
        kr_array_unref(&s.t[i].old);
    }
    kr_array_unref(&s.r);
    kr_array_unref(&s.d);
    kr_array_unref(&s.q);
    kr_array_unref(&s.w);
    return e;
}

const kr_solver kr_solver_admm = { "admm", "Boyd et al. 2011", can, run };
