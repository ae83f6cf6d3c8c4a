/* prox_tv.c: isotropic total variation along any axes, by fast gradient projection on its dual.
 *
 * u = v - w D^H p with |p| <= 1 in every point; two passes over memory per step, row by row. p is kept from call to call: in a
 * solver v moves little, and a few steps are enough. Letters: Beck and Teboulle 2009. */
#include "kray/prox.h"
#include "proxkern.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 4096 };
struct tv {
    double lambda;
    int axes, steps, width;           /* floats of a number                                                     */
    long inner[TV_AXES], n[TV_AXES];  /* elements between neighbours, and the length, of each axis             */
    long nx, rows, per, all;          /* rows of nx points, so many to a job                                    */
    float *p[TV_AXES], *q[TV_AXES];
};
struct job { const struct tv *s; float *u; const float *v; float w, b; double *sum; };

/* Whether row r has a neighbour `way` (1 or -1) along axis d; along X itself always: the rows' ends are seen to apart. */
static bool has(const struct tv *s, int d, long r, int way)
{
    if (s->inner[d] == 1)
        return true;
    long i = r * s->nx / s->inner[d] % s->n[d] + way;
    return i >= 0 && i < s->n[d];
}

static int primal(void *self, long i)                                /* u = v - w D^H q */
{
    const struct job *j = self;
    const struct tv *s = j->s;
    const kr_proxkern *k = kr_proxkern_best();
    for (long r = i * s->per; r < (i + 1) * s->per && r < s->rows; r++) {
        long at = s->width * r * s->nx, n = s->width * s->nx;
        memcpy(j->u + at, j->v + at, (size_t)n * sizeof(float));
        for (int d = 0; d < s->axes; d++) {
            const float *q = s->q[d] + at;
            if (s->inner[d] == 1) {
                k->diverge(j->u + at, j->w, q, NULL, s->width);
                k->diverge(j->u + at + s->width, j->w, q + s->width, q, n - s->width);
            } else
                k->diverge(j->u + at, j->w, q, has(s, d, r, -1) ? q - s->width * s->inner[d] : NULL, n);
        }
    }
    return 0;
}

static int dual(void *self, long i)                                  /* p = P(q + 1/(4 axes w) D u), q = p + b (p - p before) */
{
    const struct job *j = self;
    const struct tv *s = j->s;
    const kr_proxkern *k = kr_proxkern_best();
    float step = 1 / (4 * (float)s->axes * j->w);
    for (long r = i * s->per; r < (i + 1) * s->per && r < s->rows; r++)
        for (long x = 0; x < s->nx; ) {
            bool along = false, last = x == s->nx - 1;
            for (int d = 0; d < s->axes; d++)
                along |= s->inner[d] == 1;
            long n = s->nx - x - (along && !last), at = s->width * (r * s->nx + x);
            n = n < TV_RUN ? n : TV_RUN;
            float *p[TV_AXES], *q[TV_AXES];
            const float *ahead[TV_AXES];
            for (int d = 0; d < s->axes; d++) {
                p[d] = s->p[d] + at;
                q[d] = s->q[d] + at;
                ahead[d] = s->inner[d] == 1 ? last ? NULL : j->u + at + s->width : has(s, d, r, 1) ? j->u + at + s->width * s->inner[d] : NULL;
            }
            k->dual(p, q, j->u + at, ahead, step, j->b, s->axes, n, s->width);
            x += n;
        }
    return 0;
}

static int sums(void *self, long i)                                  /* sum of |D u| */
{
    const struct job *j = self;
    const struct tv *s = j->s;
    double all = 0;
    for (long r = i * s->per; r < (i + 1) * s->per && r < s->rows; r++)
        for (long x = 0; x < s->nx; x++) {
            double n2 = 0;
            long at = s->width * (r * s->nx + x);
            for (int d = 0; d < s->axes; d++) {
                bool inside = s->inner[d] == 1 ? x + 1 < s->nx : has(s, d, r, 1);
                const float *a = j->v + at, *b = a + (inside ? s->width * s->inner[d] : 0);
                for (int c = 0; c < s->width; c++)
                    n2 += (double)(b[c] - a[c]) * (double)(b[c] - a[c]);
            }
            all += sqrt(n2);
        }
    j->sum[i] = all;
    return 0;
}

static long jobs(const struct tv *s) { return (s->rows + s->per - 1) / s->per; }

static void apply(void *self, float t, kr_array *z, const kr_array *v)
{
    struct tv *s = self;
    struct job j = { s, z->data, v->data, (float)s->lambda * t, 0, NULL };
    if (j.w <= 0 || !s->axes) {
        kr_array_assign(z, v);
        return;
    }
    double a = 1;
    int e = 0;
    for (int d = 0; d < s->axes; d++)
        memcpy(s->q[d], s->p[d], (size_t)(s->width * s->all) * sizeof(float));
    for (int k = 0; k < s->steps && !e; k++) {
        double a1 = (1 + sqrt(1 + 4 * a * a)) / 2;
        j.b = k + 1 < s->steps ? (float)((a - 1) / a1) : 0;          /* q = p at the end: u belongs to p */
        e = kr_for(jobs(s), primal, &j);
        e = e ? e : kr_for(jobs(s), dual, &j);
        a = a1;
    }
    e = e ? e : kr_for(jobs(s), primal, &j);
    kr_assert(!e);
}

static double value(void *self, const kr_array *u)
{
    struct tv *s = self;
    kr_auto double *sum = kr_alloc((size_t)jobs(s), sizeof *sum);
    struct job j = { .s = s, .v = u->data, .sum = sum };
    if (!sum || kr_for(jobs(s), sums, &j))
        return NAN;
    double all = 0;
    for (long i = 0; i < jobs(s); i++)
        all += sum[i];
    return s->lambda * all;
}

static void destroy(void *self)
{
    struct tv *s = self;
    for (int d = 0; d < TV_AXES; d++) {
        kr_free(s->p[d]);
        kr_free(s->q[d]);
    }
    kr_free(s);
}

static const kr_prox_ops ops = { "tv", apply, value, NULL, destroy };

kr_prox *kr_prox_tv(enum kr_type type, kr_shape shape, unsigned axes, double lambda, int steps)
{
    int count = 0;
    for (int d = 0; d < KR_AXES; d++)
        count += axes >> d & 1;
    if (!(lambda >= 0) || !isfinite(lambda) || steps < 1 || count < 1 || count > TV_AXES) {
        kr_fail(KR_EREFUSED, "total variation wants lambda >= 0, at least one step and 1 to %d axes, not %g, %d and %d", TV_AXES, lambda, steps, count);
        return NULL;
    }
    struct tv *s = kr_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct tv){ .lambda = lambda, .steps = steps, .width = type == KR_C32 ? 2 : 1, .all = kr_count(shape), .nx = 1 };
    for (int d = 0; d < KR_AXES && s->nx == 1; d++)                  /* rows run along the fastest axis there is */
        s->nx = shape.n[d] > 1 ? shape.n[d] : 1;
    s->rows = s->all / s->nx;
    s->per = (CHUNK + s->nx - 1) / s->nx;
    long inner = 1;
    for (int d = 0; d < KR_AXES; d++) {
        long n = shape.n[d] ? shape.n[d] : 1;
        if (axes & KR_ON(d) && n > 1) {
            s->inner[s->axes] = inner;
            s->n[s->axes++] = n;
        }
        inner *= n;
    }
    for (int d = 0; d < s->axes; d++) {
        s->p[d] = kr_alloc_zero((size_t)(s->width * s->all), sizeof(float));
        s->q[d] = kr_alloc((size_t)(s->width * s->all), sizeof(float));
        if (!s->p[d] || !s->q[d]) {
            destroy(s);
            return NULL;
        }
    }
    return kr_prox_new(&ops, type, shape, s);
}
