/* op_diff.c: finite differences along named axes, and the symmetric gradient made of them. */
#include "kray/linop.h"
#include <math.h>
#include <string.h>

struct diff { int count; long inner[KR_AXES], n[KR_AXES], all; };

/* y += a D x along one axis, or y += a D^H x: (D x)_k = x_(k+1) - x_k, 0 for the last; (D^H y)_k = y_(k-1) - y_k. */
enum { CHUNK = 4096 };
struct job { float *y; const float *x; long inner, n, all; float a; bool turned; };

static void line(const struct job *j, float *restrict y, const float *restrict x, long width)
{
    long step = 2 * j->inner;
    for (long k = 0; k + 1 < j->n; k++)
        for (long i = 0; i < width; i++) {
            float v = j->turned ? -x[k * step + i] : x[(k + 1) * step + i] - x[k * step + i];
            y[k * step + i] += j->a * v;
            if (j->turned)
                y[(k + 1) * step + i] += j->a * x[k * step + i];
        }
}

static int chunk(void *self, long i)
{
    const struct job *j = self;
    if (j->inner == 1) {                                             /* many short lines at a time */
        long per = (CHUNK + j->n - 1) / j->n, lines = j->all / j->n;
        for (long l = i * per; l < (i + 1) * per && l < lines; l++)
            line(j, j->y + 2 * l * j->n, j->x + 2 * l * j->n, 2);
        return 0;
    }
    long chunks = (j->inner + CHUNK - 1) / CHUNK, o = i / chunks, from = i % chunks * CHUNK;
    long width = j->inner - from < CHUNK ? j->inner - from : CHUNK, at = 2 * (o * j->n * j->inner + from);
    line(j, j->y + at, j->x + at, 2 * width);
    return 0;
}

static void add(const struct diff *s, int d, bool turned, float a, kr_cfloat *y, const kr_cfloat *x)
{
    struct job j = { (float *)y, (const float *)x, s->inner[d], s->n[d], s->all, a, turned };
    long lines = s->all / s->n[d], per = (CHUNK + s->n[d] - 1) / s->n[d];
    long count = s->inner[d] == 1 ? (lines + per - 1) / per : (s->inner[d] + CHUNK - 1) / CHUNK * (s->all / s->n[d] / s->inner[d]);
    int e = kr_for(count, chunk, &j);
    kr_assert(!e);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct diff *s = self;
    memset(y->data, 0, (size_t)(s->all * s->count) * sizeof(kr_cfloat));
    for (int d = 0; d < s->count; d++)
        add(s, d, false, 1, KR_C(y) + d * s->all, KR_C(x));
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct diff *s = self;
    memset(x->data, 0, (size_t)s->all * sizeof(kr_cfloat));
    for (int d = 0; d < s->count; d++)
        add(s, d, true, 1, KR_C(x), KR_C(y) + d * s->all);
}

/* Backward differences are -D^H. */
static void symmetric(void *self, kr_array *y, const kr_array *v)
{
    const struct diff *s = self;
    int at = s->count;
    memset(y->data, 0, (size_t)(s->all * s->count * (s->count + 1) / 2) * sizeof(kr_cfloat));
    for (int d = 0; d < s->count; d++)
        add(s, d, true, -1, KR_C(y) + d * s->all, KR_C(v) + d * s->all);
    for (int d = 0; d < s->count; d++)
        for (int e = d + 1; e < s->count; e++, at++) {
            add(s, e, true, (float)-M_SQRT1_2, KR_C(y) + at * s->all, KR_C(v) + d * s->all);
            add(s, d, true, (float)-M_SQRT1_2, KR_C(y) + at * s->all, KR_C(v) + e * s->all);
        }
}

static void symmetric_adjoint(void *self, kr_array *v, const kr_array *y)
{
    const struct diff *s = self;
    int at = s->count;
    memset(v->data, 0, (size_t)(s->all * s->count) * sizeof(kr_cfloat));
    for (int d = 0; d < s->count; d++)
        add(s, d, false, -1, KR_C(v) + d * s->all, KR_C(y) + d * s->all);
    for (int d = 0; d < s->count; d++)
        for (int e = d + 1; e < s->count; e++, at++) {
            add(s, e, false, (float)-M_SQRT1_2, KR_C(v) + d * s->all, KR_C(y) + at * s->all);
            add(s, d, false, (float)-M_SQRT1_2, KR_C(v) + e * s->all, KR_C(y) + at * s->all);
        }
}

static void destroy(void *self) { kr_free(self); }
static const kr_linop_ops diff_ops = { "differences", forward, adjoint, NULL, destroy, NULL };
static const kr_linop_ops symdiff_ops = { "symmetric gradient", symmetric, symmetric_adjoint, NULL, destroy, NULL };

static struct diff *plan(kr_shape shape, unsigned axes)
{
    if (shape.n[KR_CHAN] > 1 || shape.n[KR_BATCH] > 1 || axes & KR_ON(KR_CHAN) || !axes || kr_count(shape) < 1) {
        kr_fail(KR_ESHAPE, "differences want at least one axis other than chan, and a shape without it, not %s", kr_shape_text(shape));
        return NULL;
    }
    struct diff *s = kr_alloc_zero(1, sizeof *s);
    long inner = 1;
    for (int d = 0; s && d < KR_AXES; d++) {
        long n = shape.n[d] ? shape.n[d] : 1;
        if (axes & KR_ON(d)) {
            s->inner[s->count] = inner;
            s->n[s->count++] = n;
        }
        inner *= n;
    }
    if (s)
        s->all = inner;
    return s;
}

kr_linop *kr_op_diff(kr_shape s, unsigned axes)
{
    struct diff *d = plan(s, axes);
    kr_shape to = s;
    to.n[KR_CHAN] = d ? d->count : 1;
    return d ? kr_linop_new(&diff_ops, s, to, d) : NULL;
}

kr_linop *kr_op_symdiff(kr_shape s, unsigned axes)
{
    struct diff *d = plan(s, axes);
    kr_shape from = s, to = s;
    from.n[KR_CHAN] = d ? d->count : 1;
    to.n[KR_CHAN] = d ? d->count * (d->count + 1) / 2 : 1;
    return d ? kr_linop_new(&symdiff_ops, from, to, d) : NULL;
}
