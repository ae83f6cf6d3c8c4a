/* op_diff.c: finite differences along named axes, and the symmetric gradient made of them. */
#include "kray/linop.h"
#include "kray/pages.h"
#include <math.h>
#include <string.h>

struct diff { int count; long inner[KR_AXES], n[KR_AXES], all, width; };  /* width: floats of a number */

/* y += a D x along one axis, or y += a D^H x, a D^H D x: (D x)_k = x_(k+1) - x_k, 0 for the last; (D^H y)_k = y_(k-1) - y_k. */
enum { CHUNK = 4096 };
enum way { AHEAD, TURNED, BOTH };
struct job { float *y; const float *x; long inner, n, all, width; float a; enum way way; };

static void line(const struct job *j, float *restrict y, const float *restrict x, long width)
{
    long step = j->width * j->inner;
    for (long k = 0; k + 1 < j->n; k++) {
        if (width >= CHUNK && k % 32 == 31)
            kr_mem_kept();
        for (long i = 0; i < width; i++) {
            float v = j->way == TURNED ? -x[k * step + i] : x[(k + 1) * step + i] - x[k * step + i];
            y[k * step + i] += j->way == BOTH ? -j->a * v : j->a * v;
            if (j->way != AHEAD)
                y[(k + 1) * step + i] += j->way == BOTH ? j->a * v : j->a * x[k * step + i];
        }
    }
}

static int chunk(void *self, long i)
{
    const struct job *j = self;
    if (j->inner == 1) {                                             /* many short lines at a time */
        long per = (CHUNK + j->n - 1) / j->n, lines = j->all / j->n;
        for (long l = i * per; l < (i + 1) * per && l < lines; l++)
            line(j, j->y + j->width * l * j->n, j->x + j->width * l * j->n, j->width);
        return 0;
    }
    long chunks = (j->inner + CHUNK - 1) / CHUNK, o = i / chunks, from = i % chunks * CHUNK;
    long width = j->inner - from < CHUNK ? j->inner - from : CHUNK, at = j->width * (o * j->n * j->inner + from);
    line(j, j->y + at, j->x + at, j->width * width);
    return 0;
}

/* Into part `to` of y from part `from` of x, parts along CHAN. */
static void add(const struct diff *s, int d, enum way way, float a, kr_array *y, long to, const kr_array *x, long from)
{
    long part = s->width * s->all;
    struct job j = { (float *)y->data + to * part, (const float *)x->data + from * part, s->inner[d], s->n[d], s->all, s->width, a, way };
    long lines = s->all / s->n[d], per = (CHUNK + s->n[d] - 1) / s->n[d];
    long count = s->inner[d] == 1 ? (lines + per - 1) / per : (s->inner[d] + CHUNK - 1) / CHUNK * (s->all / s->n[d] / s->inner[d]);
    int e = kr_for(count, chunk, &j);
    kr_assert(!e);
}

static void forward(void *self, kr_array *y, const kr_array *x)
{
    const struct diff *s = self;
    memset(y->data, 0, (size_t)(s->width * s->all * s->count) * sizeof(float));
    for (int d = 0; d < s->count; d++)
        add(s, d, AHEAD, 1, y, d, x, 0);
}

static void adjoint(void *self, kr_array *x, const kr_array *y)
{
    const struct diff *s = self;
    memset(x->data, 0, (size_t)(s->width * s->all) * sizeof(float));
    for (int d = 0; d < s->count; d++)
        add(s, d, TURNED, 1, x, 0, y, d);
}

static void normal(void *self, kr_array *z, const kr_array *x)
{
    const struct diff *s = self;
    memset(z->data, 0, (size_t)(s->width * s->all) * sizeof(float));
    for (int d = 0; d < s->count; d++)
        add(s, d, BOTH, 1, z, 0, x, 0);
}

static void onto(void *self, bool turned, kr_array *y, float a, const kr_array *x)
{
    const struct diff *s = self;
    for (int d = 0; d < s->count; d++)
        add(s, d, turned ? TURNED : AHEAD, a, y, turned ? 0 : d, x, turned ? d : 0);
}

/* Backward differences are -D^H. */
static void symmetric(void *self, kr_array *y, const kr_array *v)
{
    const struct diff *s = self;
    int at = s->count;
    memset(y->data, 0, (size_t)(s->width * s->all * s->count * (s->count + 1) / 2) * sizeof(float));
    for (int d = 0; d < s->count; d++)
        add(s, d, TURNED, -1, y, d, v, d);
    for (int d = 0; d < s->count; d++)
        for (int e = d + 1; e < s->count; e++, at++) {
            add(s, e, TURNED, (float)-M_SQRT1_2, y, at, v, d);
            add(s, d, TURNED, (float)-M_SQRT1_2, y, at, v, e);
        }
}

static void symmetric_adjoint(void *self, kr_array *v, const kr_array *y)
{
    const struct diff *s = self;
    int at = s->count;
    memset(v->data, 0, (size_t)(s->width * s->all * s->count) * sizeof(float));
    for (int d = 0; d < s->count; d++)
        add(s, d, AHEAD, -1, v, d, y, d);
    for (int d = 0; d < s->count; d++)
        for (int e = d + 1; e < s->count; e++, at++) {
            add(s, e, AHEAD, (float)-M_SQRT1_2, v, d, y, at);
            add(s, d, AHEAD, (float)-M_SQRT1_2, v, e, y, at);
        }
}

static void destroy(void *self) { kr_free(self); }
static const kr_linop_ops diff_ops = { "differences", forward, adjoint, normal, destroy, NULL, NULL, onto };
static const kr_linop_ops symdiff_ops = { "symmetric gradient", symmetric, symmetric_adjoint, NULL, destroy, NULL };

static struct diff *plan(enum kr_type type, kr_shape shape, unsigned axes)
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
    if (s) {
        s->width = type == KR_C32 ? 2 : 1;
        s->all = inner;
    }
    return s;
}

kr_linop *kr_op_diff(enum kr_type type, kr_shape s, unsigned axes)
{
    struct diff *d = plan(type, s, axes);
    kr_shape to = s;
    to.n[KR_CHAN] = d ? d->count : 1;
    return d ? kr_linop_new(&diff_ops, type, s, to, d) : NULL;
}

kr_linop *kr_op_symdiff(enum kr_type type, kr_shape s, unsigned axes)
{
    struct diff *d = plan(type, s, axes);
    kr_shape from = s, to = s;
    from.n[KR_CHAN] = d ? d->count : 1;
    to.n[KR_CHAN] = d ? d->count * (d->count + 1) / 2 : 1;
    return d ? kr_linop_new(&symdiff_ops, type, from, to, d) : NULL;
}
