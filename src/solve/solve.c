/* solve.c: the table of solvers, and the objective that they lower. */
#include "kray/solve.h"
#include "kray_solvers.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DECLARE(n) extern const kr_solver kr_solver_##n;
KR_LIST(DECLARE)
#define WORD(n) " " #n
#define POINT(n) &kr_solver_##n,
const kr_solver *const kr_solvers[] = { KR_LIST(POINT) NULL };

double kr_ease(const kr_problem *p, int k) { return p->start > 1 ? fmax(1, p->start * pow(0.98, k)) : 1; }

double kr_momentum(double *t, int k)
{
    double next = (1 + sqrt(1 + 4 * *t * *t)) / 2, free = (*t - 1) / next;
    *t = next;
    return fmin(free, fmax(0.9, 1 - 10. / (k + 1)));
}

/* 1/2 |A x - y|^2 by the samples, of count views of A x. */
struct apart { const kr_array *y; double sum; float unit; long each; };
static void apart(void *with, float *Ax, long first, long step, long count)
{
    struct apart *s = with;
    for (long v = 0; v < count; v++)
        for (long k = 0; k < s->each; k++) {
            double r = (double)(Ax[v * s->each + k] - s->unit * KR_R(s->y)[(first + v * step) * s->each + k]);
            s->sum += r * r / 2;
        }
}

static double misfit_of(const kr_problem *p, const kr_array *x)
{
    bool parts = kr_linop_in_parts(p->A);
    long all = kr_count(kr_array_shape(p->y));
    struct apart s = { p->y, 0, p->unit > 0 ? (float)p->unit : 1, parts ? all / p->y->n[KR_VIEW] : all };
    kr_scoped(array) Ax = parts ? NULL : kr_array_like(p->y);
    if (!parts && !Ax)
        return NAN;
    if (parts)
        kr_apply_through(p->A, NULL, x, apart, &s);
    else {
        kr_apply(p->A, Ax, x);
        apart(&s, KR_R(Ax), 0, 1, 1);
    }
    return s.sum;
}

static double misfit_by_normal(const kr_problem *p, const kr_array *x)
{
    kr_scoped(array) Nx = kr_array_like(x);
    if (!Nx)
        return NAN;
    kr_apply(p->N, Nx, x);
    return kr_dot_re(x, Nx) / 2 - kr_dot_re(x, p->b) + p->yy / 2;
}

double kr_objective(const kr_problem *p, const kr_array *x, double *misfit)
{
    double sum = p->b ? misfit_by_normal(p, x) : misfit_of(p, x);
    if (misfit)
        *misfit = sum;
    for (int i = 0; i < p->terms; i++) {
        const kr_term *t = &p->term[i];
        kr_scoped(array) Kx = t->K ? kr_array_new(x->type, kr_linop_codomain(t->K)) : NULL;
        if (t->K && !Kx)
            return NAN;
        if (t->K)
            kr_apply(t->K, Kx, x);
        sum += kr_prox_value(t->g, t->K ? Kx : x);
    }
    sum += p->smooth ? p->smooth->value(p->smooth->self, x) : 0;
    return sum;
}

static int fits(const kr_problem *p, const kr_array *x)
{
    kr_shape n = kr_array_shape(x);
    bool good = kr_linop_type(p->N) == x->type && kr_shape_equal(kr_linop_domain(p->N), n) && (p->b ? p->b->type == x->type && kr_shape_equal(kr_array_shape(p->b), n) : p->A && p->y) && p->terms >= 0 && p->terms <= KR_TERMS;
    for (int i = 0; good && i < p->terms; i++) {
        const kr_term *t = &p->term[i];
        good = kr_prox_type(t->g) == x->type && (!t->K || kr_linop_type(t->K) == x->type) && kr_shape_equal(kr_prox_shape(t->g), t->K ? kr_linop_codomain(t->K) : n) && (!t->K || kr_shape_equal(kr_linop_domain(t->K), n));
    }
    return good ? 0 : kr_fail(KR_ESHAPE, "a problem of up to %d terms whose shapes and numbers fit is wanted, for %s x of shape %s", KR_TERMS, x->type == KR_C32 ? "complex" : "real", kr_shape_text(n));
}

const kr_solver *kr_solver_named(const char *name)
{
    int i = 0;
    while (kr_solvers[i] && strcmp(name, kr_solvers[i]->name))
        i++;
    return kr_solvers[i];
}

int kr_solve(const kr_problem *p, const char *solver, kr_array *x, kr_stop stop, kr_solution *s, const kr_trace *trace)
{
    const kr_solver *use = solver ? kr_solver_named(solver) : NULL;
    for (int i = 0; !solver && kr_solvers[i] && !use; i++)
        if (kr_solvers[i]->can(p))
            use = kr_solvers[i];
    if (!use && !solver && p->smooth)
        return kr_fail(KR_EREFUSED, "no solver takes a smooth term beside these%s", p->positive ? ", or keeps values from going below 0 with it" : "");
    if (!use && !solver)
        return kr_fail(KR_EREFUSED, "no solver keeps this problem's values from going below 0");
    if (!use)
        return kr_fail(KR_EUSAGE, "there is no solver '%s'; known are" KR_LIST(WORD), solver);
    if (!use->can(p))
        return kr_fail(KR_EREFUSED, "%s cannot solve a problem of these terms%s", use->name, p->positive ? ", no value below 0" : p->A ? "" : " and data");
    if (fits(p, x))
        return kr_error_code();
    kr_problem q = *p;
    if (!(q.bound > 0)) {                                            /* of N^H N, from below: a little more than what was found */
        double found = kr_linop_norm2(p->N, 15);
        if (found < 0)
            return kr_error_code();
        q.bound = 1.02 * sqrt(found);
    }
    kr_solution own;
    bool told = s != NULL;
    s = s ? s : &own;
    *s = (kr_solution){ .iterations = 0 };
    snprintf(s->solver, sizeof s->solver, "%s", use->name);
    if (!(q.bound >= 0) || !isfinite(q.bound) || !isfinite(p->b ? kr_dot_re(p->b, p->b) : kr_dot_re(p->y, p->y)))
        return kr_fail(KR_ENUMBER, "the data or the coil maps hold numbers that are not finite");
    if (use->run(&q, x, stop, s, trace))
        return kr_error_code();
    if (!told)
        return 0;
    s->objective = kr_objective(p, x, &s->misfit);
    if (!isfinite(s->objective))
        return kr_error_code() ? kr_error_code() : kr_fail(KR_ENUMBER, "%s: numbers are no longer finite after %d iterations", use->name, s->iterations);
    return 0;
}
