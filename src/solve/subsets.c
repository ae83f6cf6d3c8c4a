/* subsets.c: iterations on real samples whose weights are not negative, in subsets of the samples: SIRT and OS-SART, which add corrections, and
 * maximum likelihood, which multiplies by them. */
#include "kray/solve.h"
#include <math.h>

enum { OWN = 32 };                        /* up to so many subsets have sums of weights of their own at every voxel; of more, all of them make one, divided by their number */

/* Of each subset: 1 over the sums of weights of its samples, and of voxels; residuals, NULL where the operator has no need of room for them. */
struct part { kr_array *rows, *columns, *r; };
struct kr_sweep { const kr_subset *s; int subsets; bool likelihood, residuals; struct part *part; kr_array *z; };

static void invert(kr_array *a)                                      /* 0 where next to no weight is */
{
    long n = kr_count(kr_array_shape(a));
    float *v = KR_R(a), least = (float)(1e-6 * kr_max_abs(a));
    for (long i = 0; i < n; i++)
        v[i] = v[i] > least ? 1 / v[i] : 0;
}

static int open_part(struct kr_sweep *w, int i)
{
    struct part *p = &w->part[i];
    const kr_subset *s = &w->s[i];
    bool residuals = w->residuals || !kr_linop_in_parts(s->A);
    p->r = residuals ? kr_array_like(s->y) : NULL;
    p->rows = w->likelihood ? kr_array_ref(p->r) : kr_array_like(s->y);
    p->columns = w->subsets > OWN && i ? kr_array_ref(w->part[0].columns) : kr_array_new(KR_R32, kr_linop_domain(s->A));
    if ((residuals && !p->r) || !p->rows || !p->columns)
        return kr_error_code();
    kr_fill(p->rows, 1);
    kr_apply_adj(s->A, w->subsets > OWN ? w->z : p->columns, p->rows);
    if (w->subsets > OWN)
        kr_axpy(p->columns, 1 / (float)w->subsets, w->z);
    else
        invert(p->columns);
    kr_fill(w->z, 1);
    kr_apply(s->A, p->rows, w->z);
    if (!w->likelihood)
        invert(p->rows);
    return 0;
}

void kr_sweep_unref(kr_sweep **w)
{
    for (int i = 0; *w && (*w)->part && i < (*w)->subsets; i++) {
        kr_array_unref(&(*w)->part[i].rows);
        kr_array_unref(&(*w)->part[i].columns);
        kr_array_unref(&(*w)->part[i].r);
    }
    if (*w) {
        kr_free((*w)->part);
        kr_array_unref(&(*w)->z);
    }
    kr_free(*w);
    *w = NULL;
}

static kr_sweep *sweep_new(const kr_subset *s, int subsets, bool likelihood, bool residuals)
{
    kr_sweep *w = kr_alloc_zero(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (kr_sweep){ s, subsets, likelihood, residuals, kr_alloc_zero((size_t)subsets, sizeof *w->part), kr_array_new(KR_R32, kr_linop_domain(s[0].A)) };
    int e = w->part && w->z ? 0 : kr_error_code();
    for (int i = 0; i < subsets && !e; i++)
        e = open_part(w, i);
    if (!e && subsets > OWN)
        invert(w->part[0].columns);
    for (int i = 0; i < subsets && !e; i++)
        if (!(kr_max_abs(w->part[i].columns) > 0))
            e = kr_fail(KR_EREFUSED, "no ray meets the image");
    if (e)
        kr_sweep_unref(&w);
    return w;
}

kr_sweep *kr_sweep_new(const kr_subset *s, int subsets) { return sweep_new(s, subsets, false, true); }

/* A x becomes R (y - A x), of `count` views first, first + step, ... */
struct beside { const float *y, *rows; long each; };
static void residual(void *with, float *r, long first, long step, long count)
{
    const struct beside *b = with;
    for (long v = 0; v < count; v++)
        for (long k = 0, at = (first + v * step) * b->each; k < b->each; k++)
            r[v * b->each + k] = b->rows[at + k] * (b->y[at + k] - r[v * b->each + k]);
}

/* x = x + relax C A^T R (y - A x) */
static void correct(kr_sweep *s, int i, kr_array *x, float relax, bool positive)
{
    struct part *p = &s->part[i];
    const kr_array *y = s->s[i].y;
    long m = kr_count(kr_array_shape(y)), n = kr_count(kr_array_shape(x));
    struct beside b = { KR_R(y), KR_R(p->rows), p->r ? m : m / y->n[KR_VIEW] };
    if (p->r) {
        kr_apply(s->s[i].A, p->r, x);
        residual(&b, KR_R(p->r), 0, 1, 1);
        kr_apply_adj(s->s[i].A, s->z, p->r);
    } else
        kr_apply_through(s->s[i].A, s->z, x, residual, &b);
    for (long k = 0; k < n; k++) {
        float v = KR_R(x)[k] + relax * KR_R(p->columns)[k] * KR_R(s->z)[k];
        KR_R(x)[k] = positive && v < 0 ? 0 : v;
    }
}

/* x = x C A^T (y / A x) */
static void multiply(kr_sweep *s, int i, kr_array *x)
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

/* Subset number k of a pass: each next one is far from those before (bits of its number turned about; of other counts than powers of two those that exist). */
static int order(int k, int bits) { int r = 0; for (int b = 0; b < bits; b++) r |= (k >> b & 1) << (bits - 1 - b); return r; }

int kr_subset_turn(int turn, int subsets)
{
    int bits = 0;
    while (1 << bits < subsets)
        bits++;
    for (int k = 0; k < 1 << bits; k++) {
        int i = order(k, bits);
        if (i < subsets && !turn--)
            return i;
    }
    return -1;
}

int kr_sweep_correct(kr_sweep *s, kr_array *x, double relax, bool positive, const kr_trace *trace)
{
    for (int turn = 0, i; (i = kr_subset_turn(turn, s->subsets)) >= 0; turn++) {
        if (kr_stopped(trace))
            return kr_error_code();
        correct(s, i, x, (float)relax, positive);
    }
    return 0;
}

double kr_sweep_misfit(kr_sweep *s, const kr_array *x)
{
    double sum = 0;
    for (int i = 0; i < s->subsets; i++) {
        struct part *p = &s->part[i];
        kr_apply(s->s[i].A, p->r, x);
        kr_axpy(p->r, -1, s->s[i].y);
        sum += kr_dot_re(p->r, p->r);
    }
    return sqrt(sum);
}

static int still_finite(const kr_array *x, int iterations)
{
    return isfinite(kr_norm(x)) ? 0 : kr_fail(KR_ENUMBER, "the numbers are no longer finite after %d iterations", iterations);
}

int kr_sirt(const kr_subset *s, int subsets, kr_array *x, int iterations, double relax, bool positive, const kr_trace *trace)
{
    kr_sweep *w = sweep_new(s, subsets, false, false);
    int e = w ? 0 : kr_error_code();
    for (int k = 0; k < iterations && !e; k++) {
        e = kr_sweep_correct(w, x, relax, positive, trace);
        kr_progress(trace, "sirt", k + 1, iterations);
    }
    kr_sweep_unref(&w);
    return e ? e : still_finite(x, iterations);
}

int kr_mlem(const kr_subset *s, int subsets, kr_array *x, int iterations, const kr_trace *trace)
{
    kr_sweep *w = sweep_new(s, subsets, true, true);
    int e = w ? 0 : kr_error_code();
    for (int k = 0; k < iterations && !e; k++) {
        for (int i = 0; i < subsets && !e; i++) {
            e = kr_stopped(trace) ? kr_error_code() : 0;
            if (!e)
                multiply(w, i, x);
        }
        kr_progress(trace, "mlem", k + 1, iterations);
    }
    kr_sweep_unref(&w);
    return e ? e : still_finite(x, iterations);
}
