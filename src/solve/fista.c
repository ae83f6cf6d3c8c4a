/* fista.c: accelerated proximal gradients with adaptive restart, for one term without an operator. Two passes over memory
 * beside the operator and the proximal map. Letters: Beck and Teboulle 2009; z is their y. */
#include "kray/solve.h"
#include <math.h>

enum { BLOCK = 1 << 14 };
struct pass { float *z, *v, *x, *x0; const float *Nz, *b; float step, beta; long n; double (*sum)[4]; };

static bool can(const kr_problem *p) { return p->b && !p->positive && (p->terms == 0 || (p->terms == 1 && !p->term[0].K)); }

static int descend(void *self, long i)                                /* v = z - (N z - b) / L */
{
    const struct pass *j = self;
    long from = i * BLOCK, to = from + BLOCK < j->n ? from + BLOCK : j->n;
    for (long k = from; k < to; k++)
        j->v[k] = j->z[k] - j->step * (j->Nz[k] - j->b[k]);
    return 0;
}

/* z = x + beta (x - x0), x0 = x; |z - x|^2, <z - x, x - x0>, |x|^2, |x - x0|^2 of before. Short runs in float, then in double. */
static int extrapolate(void *self, long i)
{
    const struct pass *j = self;
    enum { LANES = 16, RUN = 16 * LANES };
    long from = i * BLOCK, to = from + BLOCK < j->n ? from + BLOCK : j->n;
    double all[4] = { 0 };
    for (long run = from; run < to; run += RUN) {
        float s[4][LANES] = { { 0 } };
        long end = run + RUN < to ? run + RUN : to;
        for (long k = run; k < end; k += LANES) {
            long lanes = end - k < LANES ? end - k : LANES;
            for (long l = 0; l < lanes; l++) {
                float x = j->x[k + l], d = j->z[k + l] - x, m = x - j->x0[k + l];
                s[0][l] += d * d;
                s[1][l] += d * m;
                s[2][l] += x * x;
                s[3][l] += m * m;
                j->z[k + l] = x + j->beta * m;
                j->x0[k + l] = x;
            }
        }
        for (int c = 0; c < 4; c++)
            for (int l = 0; l < LANES; l++)
                all[c] += (double)s[c][l];
    }
    for (int c = 0; c < 4; c++)
        j->sum[i][c] = all[c];
    return 0;
}

static int iterate(const kr_problem *p, kr_array *x, kr_rest *rest, kr_stop stop, kr_solution *s, const kr_trace *trace)
{
    long n = kr_count(kr_array_shape(x)) * (x->type == KR_C32 ? 2 : 1), blocks = (n + BLOCK - 1) / BLOCK;
    kr_prox *g = p->terms ? p->term[0].g : NULL;
    kr_scoped(array) z = kr_array_copy(x);
    kr_scoped(array) x0 = kr_array_copy(x);
    kr_scoped(array) Nz = kr_array_like(x);
    kr_auto double (*sum)[4] = kr_alloc((size_t)blocks, sizeof *sum);
    if (!z || !x0 || !Nz || !sum)
        return kr_error_code();
    double L = p->bound > 0 ? p->bound : 1, t = 1;
    struct pass j = { z->data, Nz->data, x->data, x0->data, Nz->data, p->b->data, (float)(1 / L), 0, n, sum };
    for (int k = 0; k < stop.iterations && !s->converged; k++) {
        if (kr_stopped(trace))
            return kr_error_code();
        double ease = kr_ease(p, k), steep = L + (p->smooth ? ease * p->smooth->bound : 0);
        j.step = (float)(1 / steep);
        kr_apply(p->N, Nz, z);
        if (p->smooth)
            p->smooth->add(p->smooth->self, Nz, z, ease);
        if (kr_for(blocks, descend, &j))                             /* v = z - (N z + grad - b) / L, over N z */
            return kr_error_code();
        if (g)
            kr_prox_apply(g, (float)(ease / steep), x, Nz);          /* x = prox of g / L at v */
        else
            kr_array_assign(x, Nz);
        double all[4] = { 0 };
        j.beta = (float)kr_momentum(&t, k);
        if (kr_for(blocks, extrapolate, &j))
            return kr_error_code();
        for (long i = 0; i < blocks; i++)
            for (int c = 0; c < 4; c++)
                all[c] += sum[i][c];
        if (!isfinite(all[2]))
            return kr_fail(KR_ENUMBER, "fista: numbers are no longer finite after %d iterations", k + 1);
        if (all[1] > 0)                                              /* the step turned against the momentum */
            t = 1;
        s->iterations = k + 1;
        s->converged = ease <= 1 && kr_rest_at(rest, x, k + 1, stop.tolerance);
        kr_progress(trace, "fista", kr_rest_part(rest, k + 1, stop.iterations), 1);
    }
    return 0;
}

static int run(const kr_problem *p, kr_array *x, kr_stop stop, kr_solution *s, const kr_trace *trace)
{
    kr_rest rest;
    int e = kr_rest_open(&rest, x);
    e = e ? e : iterate(p, x, &rest, stop, s, trace);
    kr_rest_close(&rest);
    return e;
}

const kr_solver kr_solver_fista = { "fista", "Beck and Teboulle 2009; O'Donoghue and Candes 2015", can, run, .proximal = true };
