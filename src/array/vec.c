/* vec.c: arithmetic on arrays. Contiguous arrays go to the kernels in blocks; others line by line. Sums add fixed
 * blocks in a fixed order, so that they do not depend on the number of threads. */
#include "kern.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const kr_kern *kr_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_kern_v4 : cpu >= 3 ? &kr_kern_v3 : &kr_kern_base;
}

enum { BLOCK = 1 << 15, LANES = 16 };

static long floats(const kr_array *a) { return kr_count(kr_array_shape(a)) * (a->type == KR_C32 ? 2 : 1); }

static bool same(const kr_array *a, const kr_array *b)
{
    return a->type == b->type && kr_shape_equal(kr_array_shape(a), kr_array_shape(b));
}

/* Arrays that are not contiguous are first made so: such arithmetic is rare and never in a hot loop. On lack of
 * memory there is nothing sensible to do in the middle of mathematics. */
static const kr_array *flat(const kr_array *a, kr_array **copy)     /* a itself where it is contiguous: no allocation */
{
    if (kr_array_contiguous(a))
        return a;
    *copy = kr_array_copy(a);
    kr_assert(*copy && "memory for a contiguous copy");
    return *copy;
}

typedef struct job { const kr_kern *k; float *y; const float *x; float a; long n; double *sum; int op; } job;
enum { AXPY, XPAY, SCALE, DOT, CDOT, MAX, FINITE };

static int run(void *self, long b)
{
    job *j = self;
    long from = b * BLOCK, n = j->n - from < BLOCK ? j->n - from : BLOCK;
    float *y = j->y ? j->y + from : NULL;
    const float *x = j->x ? j->x + from : NULL;
    switch (j->op) {
    case AXPY: j->k->axpy(y, j->a, x, n); break;
    case XPAY: j->k->xpay(y, j->a, x, n); break;
    case SCALE: j->k->scale(y, j->a, n); break;
    case DOT: j->sum[b] = j->k->dot(x, y, n); break;
    case CDOT: j->k->cdot(x, y, n / 2, j->sum + 2 * b); break;
    case MAX: {                           /* of |x|^2; n is even. Many partial results: one would be a chain of waits */
        float m[LANES] = { 0 };
        long i = 0;
        for (; i + 2 * LANES <= n; i += 2 * LANES)
            for (int l = 0; l < LANES; l++) {
                float s = x[i + 2 * l] * x[i + 2 * l] + x[i + 2 * l + 1] * x[i + 2 * l + 1];
                m[l] = s > m[l] ? s : m[l];
            }
        for (; i < n; i += 2) {
            float s = x[i] * x[i] + x[i + 1] * x[i + 1];
            m[0] = s > m[0] ? s : m[0];
        }
        for (int l = 1; l < LANES; l++)
            m[0] = m[l] > m[0] ? m[l] : m[0];
        j->sum[b] = m[0];
        break;
    }
    case FINITE: {
        float s[LANES] = { 0 };           /* 0 times anything finite is 0; NaN and infinity stay */
        long i = 0;
        for (; i + LANES <= n; i += LANES)
            for (int l = 0; l < LANES; l++)
                s[l] += 0.f * x[i + l];
        for (; i < n; i++)
            s[0] += 0.f * x[i];
        for (int l = 1; l < LANES; l++)
            s[0] += s[l];
        j->sum[b] = s[0] == 0 ? 0 : 1;
        break;
    }
    }
    return 0;
}

/* A loop over blocks; small arrays stay on this thread. */
static void blocks(job *j)
{
    long n = (j->n + BLOCK - 1) / BLOCK;
    j->k = kr_kern_best();
    if (n < 4)
        for (long b = 0; b < n; b++)
            run(j, b);
    else if (kr_for(n, run, j))
        kr_assert(0 && "arithmetic cannot be refused");
}

static void each(kr_array *y, float a, const kr_array *x, int op)
{
    kr_assert(!x || same(y, x));
    kr_scoped(array) copy_x = NULL;
    kr_scoped(array) copy_y = NULL;
    const kr_array *fx = x ? flat(x, &copy_x) : NULL, *fy = flat(y, &copy_y);
    job j = { .y = fy->data, .x = fx ? fx->data : NULL, .a = a, .n = floats(fy), .op = op };
    blocks(&j);
    if (copy_y)
        kr_array_assign(y, copy_y);
}

void kr_scale(kr_array *a, float s) { each(a, s, NULL, SCALE); }
void kr_axpy(kr_array *y, float a, const kr_array *x) { each(y, a, x, AXPY); }
void kr_xpay(kr_array *y, float a, const kr_array *x) { each(y, a, x, XPAY); }

void kr_fill(kr_array *a, float value)
{
    kr_array one = { .type = KR_R32, .data = &value };
    for (int d = 0; d < KR_AXES; d++)
        one.n[d] = 1;
    kr_array_assign(a, &one);
}

static void reduce(const kr_array *x, const kr_array *y, int op, double out[2])
{
    kr_scoped(array) copy_x = NULL;
    kr_scoped(array) copy_y = NULL;
    const kr_array *fx = flat(x, &copy_x), *fy = y ? flat(y, &copy_y) : NULL;
    long n = floats(fx), count = (n + BLOCK - 1) / BLOCK, w = op == CDOT ? 2 : 1;
    double small[64], *sum = count * w <= 64 ? small : kr_alloc((size_t)(count * w), sizeof *sum);
    kr_assert(sum && "memory for partial sums");
    job j = { .x = fx->data, .y = fy ? fy->data : NULL, .n = n, .op = op, .sum = sum };
    blocks(&j);
    out[0] = out[1] = 0;
    for (long b = 0; b < count; b++) {
        if (op == MAX)
            out[0] = sum[b] > out[0] ? sum[b] : out[0];
        else
            for (long k = 0; k < w; k++)
                out[k] += sum[w * b + k];
    }
    if (sum != small)
        kr_free(sum);
}

double kr_dot_re(const kr_array *x, const kr_array *y)
{
    kr_assert(same(x, y));
    double s[2];
    reduce(x, y, DOT, s);
    return s[0];
}

void kr_dot(const kr_array *x, const kr_array *y, double out[2])
{
    kr_assert(same(x, y));
    if (x->type == KR_C32) {
        reduce(x, y, CDOT, out);
    } else {
        reduce(x, y, DOT, out);
        out[1] = 0;
    }
}

double kr_norm(const kr_array *x) { return sqrt(kr_dot_re(x, x)); }

bool kr_all_finite(const kr_array *x)
{
    double s[2];
    reduce(x, NULL, FINITE, s);
    return s[0] == 0;
}

double kr_max_abs(const kr_array *x)
{
    double s[2];
    if (x->type == KR_C32) {
        reduce(x, NULL, MAX, s);
        return sqrt(s[0]);
    }
    kr_scoped(array) copy = NULL;
    const kr_array *f = flat(x, &copy);
    const float *p = f->data;
    float m = 0;
    for (long i = 0, n = floats(f); i < n; i++)
        m = fabsf(p[i]) > m ? fabsf(p[i]) : m;
    return m;
}

kr_array *kr_abs(const kr_array *x)
{
    kr_scoped(array) f = kr_array_packed(x);
    kr_array *r = f ? kr_array_new(KR_R32, kr_array_shape(f)) : NULL;
    if (!r)
        return NULL;
    long n = kr_count(kr_array_shape(f));
    float *to = r->data;
    if (f->type == KR_R32)
        for (long i = 0; i < n; i++)
            to[i] = fabsf(((const float *)f->data)[i]);
    else
        for (long i = 0; i < n; i++)
            to[i] = sqrtf(kr_cabs2(((const kr_cfloat *)f->data)[i]));
    return r;
}

struct rss { const kr_array *x; float *to; long inner, count, outer; };

static int rss_outer(void *self, long o)
{
    struct rss *r = self;
    float *to = r->to + o * r->inner;
    for (long c = 0; c < r->count; c++) {
        long at = (o * r->count + c) * r->inner;
        if (r->x->type == KR_C32) {
            const kr_cfloat *x = (const kr_cfloat *)r->x->data + at;
            for (long i = 0; i < r->inner; i++)
                to[i] += kr_cabs2(x[i]);
        } else {
            const float *x = (const float *)r->x->data + at;
            for (long i = 0; i < r->inner; i++)
                to[i] += x[i] * x[i];
        }
    }
    for (long i = 0; i < r->inner; i++)
        to[i] = sqrtf(to[i]);
    return 0;
}

kr_array *kr_rss(const kr_array *x, int axis)
{
    kr_scoped(array) f = kr_array_packed(x);
    kr_array *r = f ? kr_array_new(KR_R32, kr_shape_without(kr_array_shape(f), KR_ON(axis))) : NULL;
    if (!r)
        return NULL;
    struct rss j = { f, r->data, 1, f->n[axis], 1 };
    for (int d = 0; d < axis; d++)
        j.inner *= f->n[d];
    for (int d = axis + 1; d < KR_AXES; d++)
        j.outer *= f->n[d];
    if (kr_for(j.outer, rss_outer, &j))
        kr_array_unref(&r);
    return r;
}
