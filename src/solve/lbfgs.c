/* lbfgs.c: limited memory quasi-Newton steps for a smooth term. What is followed is the gradient alone: values of the objective are never needed. A step is taken as
 * long as it is, unless the slope along it has turned and is more than half as steep as at first: then it ends where a straight line between the two slopes is 0. A step is about as long as the way to the solution: after SHORT in a row that
 * are no longer than `tolerance` of x it is reached. */
#include "kray/solve.h"
#include <math.h>

enum { PAIRS = 6, TRIES = 4, SHORT = 3 };
static bool can(const kr_problem *p) { return p->b && p->smooth && !p->terms && !p->positive; }

/* Steps s_i of the last iterations and changes y_i of the gradient along them, the last before `next`. */
typedef struct pairs { kr_array *s[PAIRS], *y[PAIRS]; double rho[PAIRS]; int count, next; } pairs;
typedef struct state { pairs q; kr_array *g, *h, *d, *z; } state;      /* gradients at x and z = x + d */

static void state_close(state *t)
{
    kr_array **all[] = { &t->g, &t->h, &t->d, &t->z };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kr_array_unref(all[i]);
    for (int i = 0; i < PAIRS; i++) {
        kr_array_unref(&t->q.s[i]);
        kr_array_unref(&t->q.y[i]);
    }
}

static int state_open(state *t, const kr_array *x)
{
    *t = (state){ .g = kr_array_like(x), .h = kr_array_like(x), .d = kr_array_like(x), .z = kr_array_like(x) };
    bool good = t->g && t->h && t->d && t->z;
    for (int i = 0; i < PAIRS && good; i++)
        good = (t->q.s[i] = kr_array_like(x)) && (t->q.y[i] = kr_array_like(x));
    return good ? 0 : kr_error_code();
}

static void gradient(const kr_problem *p, kr_array *g, const kr_array *x)
{
    kr_apply(p->N, g, x);
    kr_axpy(g, -1, p->b);
    p->smooth->add(p->smooth->self, g, x, 1);
}

static int before(const pairs *q, int i) { return (q->next - 1 - i + PAIRS) % PAIRS; }       /* the pair i iterations ago */

/* d = -H g; steep: the largest curvature, where no pair tells more. */
static void direction(kr_array *d, const kr_array *g, const pairs *q, double steep)
{
    double a[PAIRS];
    kr_array_assign(d, g);
    for (int i = 0; i < q->count; i++) {
        int j = before(q, i);
        a[j] = q->rho[j] * kr_dot_re(q->s[j], d);
        kr_axpy(d, (float)-a[j], q->y[j]);
    }
    int last = before(q, 0);
    kr_scale(d, (float)(q->count ? -1 / (q->rho[last] * kr_dot_re(q->y[last], q->y[last])) : -1 / steep));
    for (int i = q->count; i-- > 0;) {
        int j = before(q, i);
        kr_axpy(d, (float)(-a[j] - q->rho[j] * kr_dot_re(q->y[j], d)), q->s[j]);
    }
}

/* Where the objective curves down along the step, the pair is left out. */
static void remember(pairs *q, const kr_array *x, const kr_array *z, const kr_array *g, const kr_array *h)
{
    kr_array *s = q->s[q->next], *y = q->y[q->next];
    kr_array_assign(s, z);
    kr_axpy(s, -1, x);
    kr_array_assign(y, h);
    kr_axpy(y, -1, g);
    double along = kr_dot_re(s, y);
    if (!(along > 1e-6 * kr_dot_re(s, s)))
        return;
    q->rho[q->next] = 1 / along;
    q->next = (q->next + 1) % PAIRS;
    q->count += q->count < PAIRS;
}

static int iterate(const kr_problem *p, kr_array *x, state *t, kr_stop stop, kr_solution *s, const kr_trace *trace)
{
    double steep = p->bound + p->smooth->bound;
    gradient(p, t->g, x);
    int quiet = 0;
    while (s->iterations < stop.iterations && !s->converged) {
        if (kr_stopped(trace))
            return kr_error_code();
        direction(t->d, t->g, &t->q, steep);
        double slope = kr_dot_re(t->d, t->g), length = 1, next = 1;
        if (!isfinite(slope))
            return kr_fail(KR_ENUMBER, "lbfgs: numbers are no longer finite after %d iterations", s->iterations);
        if (!(slope < 0)) {
            t->q.count = 0;
            direction(t->d, t->g, &t->q, steep);
            slope = kr_dot_re(t->d, t->g);
        }
        for (int i = 0; i < TRIES; i++) {
            if (i)
                length = next;
            kr_array_assign(t->z, x);
            kr_axpy(t->z, (float)length, t->d);
            gradient(p, t->h, t->z);
            s->iterations++;
            double there = kr_dot_re(t->d, t->h);
            if (!(there > -0.5 * slope))
                break;
            next = length * slope / (slope - there);
        }
        remember(&t->q, x, t->z, t->g, t->h);
        kr_array_assign(x, t->z);
        kr_array_assign(t->g, t->h);
        quiet = length * kr_norm(t->d) <= stop.tolerance * kr_norm(x) ? quiet + 1 : 0;
        s->converged = stop.tolerance > 0 && quiet >= SHORT;
        kr_progress(trace, "lbfgs", s->iterations, stop.iterations);
    }
    return 0;
}

static int run(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *s, const kr_trace *trace)
{
    state t;
    int e = state_open(&t, x);
    e = e ? e : iterate(p, x, &t, stop, s, trace);
    state_close(&t);
    return e;
}

const kr_solver kr_solver_lbfgs = { "lbfgs", "Liu and Nocedal 1989", can, run };
