/* pocs.c: little total variation among the images that explain the data: passes through the data and steps down the total variation take turns, and the steps are
 * kept smaller than what the data changed. Letters: Sidky and Pan, Phys Med Biol 53:4777 (2008), ASD-POCS. */
#include "kray/solve.h"
#include <math.h>

enum { STEPS = 20 };                      /* down the total variation after each pass                                         */
static const double ALPHA = 0.2, R_MAX = 0.95, ALPHA_RED = 0.95, BETA_RED = 0.995;

struct field { const kr_array *x; kr_array *inverse, *down; long n[3]; float least; };

/* 1 over the length of the differences to the three neighbours ahead, at each voxel of a line. */
static int lengths(void *self, long line)
{
    const struct field *f = self;
    long nx = f->n[0], ny = f->n[1], nz = f->n[2], j = line % ny, k = line / ny;
    const float *x = KR_R(f->x) + line * nx, *up = j + 1 < ny ? x + nx : x, *deep = k + 1 < nz ? x + nx * ny : x;
    float *to = KR_R(f->inverse) + line * nx;
    for (long i = 0; i < nx; i++) {
        float a = i + 1 < nx ? x[i + 1] - x[i] : 0, b = up[i] - x[i], c = deep[i] - x[i];
        to[i] = 1 / sqrtf(a * a + b * b + c * c + f->least * f->least);
    }
    return 0;
}

/* The gradient of their sum. */
static int gradient(void *self, long line)
{
    const struct field *f = self;
    long nx = f->n[0], ny = f->n[1], nz = f->n[2], j = line % ny, k = line / ny, p = nx * ny;
    const float *x = KR_R(f->x) + line * nx, *w = KR_R(f->inverse) + line * nx;
    float *to = KR_R(f->down) + line * nx;
    for (long i = 0; i < nx; i++) {
        float sum = i + 1 < nx ? w[i] * (x[i] - x[i + 1]) : 0;
        sum += j + 1 < ny ? w[i] * (x[i] - x[i + nx]) : 0;
        sum += k + 1 < nz ? w[i] * (x[i] - x[i + p]) : 0;
        sum += i ? w[i - 1] * (x[i] - x[i - 1]) : 0;
        sum += j ? w[i - nx] * (x[i] - x[i - nx]) : 0;
        sum += k ? w[i - p] * (x[i] - x[i - p]) : 0;
        to[i] = sum;
    }
    return 0;
}

static double apart(const kr_array *x, const kr_array *y)
{
    double sum = 0;
    for (long i = 0, n = kr_count(kr_array_shape(x)); i < n; i++) {
        double d = (double)KR_R(x)[i] - (double)KR_R(y)[i];
        sum += d * d;
    }
    return sqrt(sum);
}

int kr_asd_pocs(const kr_subset *s, int subsets, kr_array *x, int iterations, double misfit, bool positive, const kr_trace *trace)
{
    kr_sweep *w = kr_sweep_new(s, subsets);
    kr_scoped(array) was = kr_array_like(x);
    kr_scoped(array) inverse = kr_array_like(x);
    kr_scoped(array) down = kr_array_like(x);
    struct field f = { x, inverse, down, { x->n[KR_X], x->n[KR_Y], x->n[KR_Z] }, 0 };
    int e = w && was && inverse && down ? 0 : kr_error_code(), k = 0;
    double beta = 1, step = 0, yy = 0;
    for (int i = 0; i < subsets && !e; i++)
        yy += kr_dot_re(s[i].y, s[i].y);
    for (; k < iterations && !e && beta >= 0.005; k++) {
        kr_array_assign(was, x);
        if ((e = kr_sweep_correct(w, x, beta, positive, trace)))
            break;
        double moved = apart(x, was), off = kr_sweep_misfit(w, x);
        step = k ? step : ALPHA * moved;
        f.least = (float)(1e-4 * kr_max_abs(x));
        kr_array_assign(was, x);
        for (int i = 0; i < STEPS && !e && f.least > 0; i++) {
            e = kr_for(f.n[1] * f.n[2], lengths, &f) || kr_for(f.n[1] * f.n[2], gradient, &f) ? kr_error_code() : 0;
            double size = kr_norm(down);
            if (!e && size > 0)
                kr_axpy(x, (float)(-step / size), down);
        }
        if (apart(x, was) > R_MAX * moved && off > misfit * sqrt(yy))
            step *= ALPHA_RED;
        beta *= BETA_RED;
        if (!isfinite(off) || !isfinite(moved))
            e = kr_fail(KR_ENUMBER, "asd-pocs: numbers are no longer finite after %d iterations", k + 1);
        kr_progress(trace, "asd-pocs", k + 1, iterations);
    }
    if (!e && k)
        kr_array_assign(x, was);                                     /* as the last pass through the data left it */
    kr_sweep_unref(&w);
    return e ? e : k;
}
