/* subsets.c: iterations on real samples whose weights are not negative, in subsets of the samples: SIRT and OS-SART, which add corrections, and
 * maximum likelihood, which multiplies by them. */
#include "kray/solve.h"
#include <math.h>

/* Of each subset: 1 over the sums of weights of its samples, and of voxels; residuals. */
struct part { kr_array *rows, *columns, *r; };
struct state { const kr_subset *s; int subsets; struct part *part; kr_array *z; };

static void invert(kr_array *a)                                      /* 0 where next to no weight is */
{
    long n = kr_count(kr_array_shape(a));
    float *v = KR_R(a), least = (float)(1e-6 * kr_max_abs(a));
    for (long i = 0; i < n; i++)
        v[i] = v[i] > least ? 1 / v[i] : 0;
}

static int open_part(struct part *p, const kr_subset *s, kr_array *z, bool likelihood)
{
    p->r = kr_array_like(s->y);
    p->rows = likelihood ? kr_array_ref(p->r) : kr_array_like(s->y);
    p->columns = kr_array_new(KR_R32, kr_linop_domain(s->A));
    if (!p->r || !p->rows || !p->columns)
        return kr_error_code();
    kr_fill(p->r, 1);
    kr_apply_adj(s->A, p->columns, p->r);
    invert(p->columns);
    kr_fill(z, 1);
    kr_apply(s->A, p->rows, z);
    if (!likelihood)
        invert(p->rows);
    return kr_max_abs(p->columns) > 0 ? 0 : kr_fail(KR_EREFUSED, "no ray meets the image");
}

/* x = x + C A^T R (y - A x) */
static void correct(struct state *s, int i, kr_array *x, bool positive)
{
    struct part *p = &s->part[i];
    long m = kr_count(kr_array_shape(p->r)), n = kr_count(kr_array_shape(x));
    kr_apply(s->s[i].A, p->r, x);
    for (long k = 0; k < m; k++)
        KR_R(p->r)[k] = KR_R(p->rows)[k] * (KR_R(s->s[i].y)[k] - KR_R(p->r)[k]);
    kr_apply_adj(s->s[i].A, s->z, p->r);
    for (long k = 0; k < n; k++) {
        float v = KR_R(x)[k] + KR_R(p->columns)[k] * KR_R(s->z)[k];
        KR_R(x)[k] = positive && v < 0 ? 0 : v;
    }
}

/* x = x C A^T (y / A x) */
static void multiply(struct state *s, int i, kr_array *x)
{
    struct part *p = &s->part[i];
    long m = kr_count(kr_array_shape(p->r)), n = kr_count(kr_array_shape(x));
    kr_apply(s->s[i].A, p->r, x);
    float least = (float)(1e-6 * kr_max_abs(p->r));
    for (long k = 0; k < m; k++) {
        float y = KR_R(s->s[i].y)[k];
        KR_R(p->r)[k] = KR_R(p->r)[k] > least && y > 0 ? y / KR_R(p->r)[k] : 0;
    }
    kr_apply_adj(s->s[i].A, s->z, p->r);
    for (long k = 0; k < n; k++)
        KR_R(x)[k] *= KR_R(p->columns)[k] * KR_R(s->z)[k];
}

static int run(struct state *s, kr_array *x, int iterations, bool positive, bool likelihood, const kr_trace *trace)
{
    for (int k = 0; k < iterations; k++) {
        for (int i = 0; i < s->subsets; i++) {
            if (kr_stopped(trace))
                return kr_error_code();
            if (likelihood)
                multiply(s, i, x);
            else
                correct(s, i, x, positive);
        }
        kr_progress(trace, likelihood ? "mlem" : "sirt", k + 1, iterations);
    }
    return isfinite(kr_norm(x)) ? 0 : kr_fail(KR_ENUMBER, "the numbers are no longer finite after %d iterations", iterations);
}

static int iterate(const kr_subset *s, int subsets, kr_array *x, int iterations, bool positive, bool likelihood, const kr_trace *trace)
{
    kr_auto struct part *part = kr_alloc_zero((size_t)subsets, sizeof *part);
    kr_scoped(array) z = kr_array_like(x);
    struct state all = { s, subsets, part, z };
    int e = part && z ? 0 : kr_error_code();
    for (int i = 0; i < subsets && !e; i++)
        e = open_part(&part[i], &s[i], z, likelihood);
    e = e ? e : run(&all, x, iterations, positive, likelihood, trace);
    for (int i = 0; part && i < subsets; i++) {
        kr_array_unref(&part[i].rows);
        kr_array_unref(&part[i].columns);
        kr_array_unref(&part[i].r);
    }
    return e;
}

int kr_sirt(const kr_subset *s, int subsets, kr_array *x, int iterations, bool positive, const kr_trace *trace)
{
    return iterate(s, subsets, x, iterations, positive, false, trace);
}

int kr_mlem(const kr_subset *s, int subsets, kr_array *x, int iterations, const kr_trace *trace)
{
    return iterate(s, subsets, x, iterations, true, true, trace);
}
