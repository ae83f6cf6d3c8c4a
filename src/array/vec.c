/* vec.c: arithmetic on arrays. Contiguous arrays go to the kernels in blocks; others pass through a buffer, a piece at a
 * time, so that arithmetic wants no memory and cannot be refused. Sums add fixed blocks in a fixed order, so that they do
 * not depend on the number of threads. */
#include "kern.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const kr_kern *kr_kern_best(void)
{
    int cpu = kr_cpu();
    return cpu >= 4 ? &kr_kern_v4 : cpu >= 3 ? &kr_kern_v3 : &kr_kern_base;
}

enum { BLOCK = 1 << 15, MOST_BLOCKS = 1024, PIECE = 4096, LANES = 16 };

static long floats(const kr_array *a) { return kr_count(kr_array_shape(a)) * (a->type == KR_C32 ? 2 : 1); }

static bool same(const kr_array *a, const kr_array *b)
{
    return a->type == b->type && kr_shape_equal(kr_array_shape(a), kr_array_shape(b));
}

/* Copies elements from..from+n-1 of an array, X fastest, to or from a line of floats. */
static void pass(const kr_array *a, long from, long n, float *line, bool back)
{
    long i[KR_AXES], at = 0, width = a->type == KR_C32 ? 2 : 1;
    for (int d = 0; d < KR_AXES; d++) {
        i[d] = from % a->n[d];
        from /= a->n[d];
        at += i[d] * a->step[d];
    }
    for (; n; n--, line += width) {
        float *p = (float *)a->data + at * width;
        if (back)
            memcpy(p, line, (size_t)width * sizeof *p);
        else
            memcpy(line, p, (size_t)width * sizeof *p);
        for (int d = 0; d < KR_AXES; d++) {
            at += a->step[d];
            if (++i[d] < a->n[d])
                break;
            at -= a->n[d] * a->step[d];
            i[d] = 0;
        }
    }
}

typedef struct job { const kr_kern *k; float *y; const float *x; float a; long n, block; double *sum; int op; } job;
enum { AXPY, XPAY, SCALE, DOT, CDOT, MAX, CMAX, FINITE };

static int run(void *self, long b)
{
    job *j = self;
    long from = b * j->block, n = j->n - from < j->block ? j->n - from : j->block;
    float *y = j->y ? j->y + from : NULL;
    const float *x = j->x ? j->x + from : NULL;
    switch (j->op) {
    case AXPY: j->k->axpy(y, j->a, x, n); break;
    case XPAY: j->k->xpay(y, j->a, x, n); break;
    case SCALE: j->k->scale(y, j->a, n); break;
    case DOT: j->sum[b] = j->k->dot(x, y, n); break;
    case CDOT: j->k->cdot(x, y, n / 2, j->sum + 2 * b); break;
    case MAX: {
        float m = 0;
        for (long i = 0; i < n; i++)
            m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
        j->sum[b] = m;
        break;
    }
    case CMAX: {                          /* of |x|^2; n is even. Many partial results: one would be a chain of waits */
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

/* A loop over blocks of n floats, at most MOST_BLOCKS of them; small arrays stay on this thread. Returns how many. */
static long blocks(job *j)
{
    long most = (long)BLOCK * MOST_BLOCKS;
    j->block = BLOCK * ((j->n + most - 1) / most);
    long n = j->n ? (j->n + j->block - 1) / j->block : 0;
    j->k = kr_kern_best();
    if (n < 4)
        for (long b = 0; b < n; b++)
            run(j, b);
    else if (kr_for(n, run, j))
        kr_assert(0 && "arithmetic cannot be refused");
    return n;
}

static void each(kr_array *y, float a, const kr_array *x, int op)
{
    kr_assert(!x || same(y, x));
    if (kr_array_contiguous(y) && (!x || kr_array_contiguous(x))) {
        job j = { .y = y->data, .x = x ? x->data : NULL, .a = a, .n = floats(y), .op = op };
        blocks(&j);
        return;
    }
    float py[PIECE], px[PIECE];
    long width = y->type == KR_C32 ? 2 : 1, count = kr_count(kr_array_shape(y)), n;
    for (long from = 0; from < count; from += n) {
        n = count - from < PIECE / width ? count - from : PIECE / width;
        pass(y, from, n, py, false);
        if (x)
            pass(x, from, n, px, false);
        job j = { .y = py, .x = px, .a = a, .n = n * width, .op = op };
        blocks(&j);
        pass(y, from, n, py, true);
    }
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

/* out += the partial sums, or the larger one. */
static void gather(double out[2], const double *sum, long count, int op)
{
    for (long b = 0; b < count; b++)
        if (op == CDOT) {
            out[0] += sum[2 * b];
            out[1] += sum[2 * b + 1];
        } else if (op == MAX || op == CMAX)
            out[0] = sum[b] > out[0] ? sum[b] : out[0];
        else
            out[0] += sum[b];
}

static void reduce(const kr_array *x, const kr_array *y, int op, double out[2])
{
    double sum[2 * MOST_BLOCKS];
    out[0] = out[1] = 0;
    if (kr_array_contiguous(x) && (!y || kr_array_contiguous(y))) {
        job j = { .x = x->data, .y = y ? y->data : NULL, .n = floats(x), .op = op, .sum = sum };
        gather(out, sum, blocks(&j), op);
        return;
    }
    float px[PIECE], py[PIECE];
    long width = x->type == KR_C32 ? 2 : 1, count = kr_count(kr_array_shape(x)), n;
    for (long from = 0; from < count; from += n) {
        n = count - from < PIECE / width ? count - from : PIECE / width;
        pass(x, from, n, px, false);
        if (y)
            pass(y, from, n, py, false);
        job j = { .x = px, .y = py, .n = n * width, .op = op, .sum = sum };
        gather(out, sum, blocks(&j), op);
    }
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

bool kr_all_finite(const kr_array *x)
{
    double s[2];
    reduce(x, NULL, FINITE, s);
    return s[0] == 0;
}

/* Squares of such numbers leave single precision: they are taken in double. */
static bool extreme(double size) { return !(size > 1e-15 && size < 1e15); }

struct wide { const kr_array *x; double sum, most; };

static int in_double(struct wide *w)
{
    kr_scoped(array) f = kr_array_packed(w->x);
    if (!f) {                            /* no memory: the answer in single precision stands */
        kr_error_clear();
        return KR_EMEM;
    }
    long n = kr_count(kr_array_shape(f)), each = f->type == KR_C32 ? 2 : 1;
    const float *p = f->data;
    for (long i = 0; i < n; i++) {
        double re = p[i * each], im = each > 1 ? p[i * each + 1] : 0, v = re * re + im * im;
        w->sum += v;
        w->most = v > w->most ? v : w->most;
    }
    return 0;
}

double kr_norm(const kr_array *x)
{
    double size = sqrt(kr_dot_re(x, x));
    struct wide w = { x, 0, 0 };
    return extreme(size) && !in_double(&w) ? sqrt(w.sum) : size;
}

double kr_max_abs(const kr_array *x)
{
    double s[2];
    reduce(x, NULL, x->type == KR_C32 ? CMAX : MAX, s);
    double most = x->type == KR_C32 ? sqrt(s[0]) : s[0];
    struct wide w = { x, 0, 0 };
    return x->type == KR_C32 && extreme(most) && !in_double(&w) ? sqrt(w.most) : most;
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
    for (long i = 0; i < n && f->type == KR_C32; i++)
        if (extreme(to[i])) {
            kr_cfloat v = ((const kr_cfloat *)f->data)[i];
            to[i] = (float)sqrt((double)kr_re(v) * (double)kr_re(v) + (double)kr_im(v) * (double)kr_im(v));
        }
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
