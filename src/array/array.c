/* array.c: named axes, views and copies. */
#include "kray/array.h"
#include "kray/pages.h"
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct kr_store { atomic_long refs; void *data; };

static const char *const names[KR_AXES] = { "x", "y", "z", "sample", "u", "v", "view", "coil", "map", "slice", "echo",
                                            "phase", "set", "time", "avg", "chan", "batch" };

const char *kr_axis_name(int axis) { return axis >= 0 && axis < KR_AXES ? names[axis] : "?"; }

int kr_axis_named(const char *name)
{
    for (int d = 0; d < KR_AXES; d++)
        if (!strcasecmp(name, names[d]))
            return d;
    return -1;
}

long kr_count(kr_shape s)
{
    long count = 1;
    for (int d = 0; d < KR_AXES; d++) {
        long n = s.n[d] ? s.n[d] : 1;
        if (n < 0 || __builtin_mul_overflow(count, n, &count))
            return -1;
    }
    return count;
}

bool kr_shape_equal(kr_shape a, kr_shape b)
{
    for (int d = 0; d < KR_AXES; d++)
        if ((a.n[d] ? a.n[d] : 1) != (b.n[d] ? b.n[d] : 1))
            return false;
    return true;
}

kr_shape kr_shape_without(kr_shape s, unsigned axes)
{
    for (int d = 0; d < KR_AXES; d++)
        if (axes & KR_ON(d))
            s.n[d] = 1;
    return s;
}

kr_shape kr_shape_only(kr_shape s, unsigned axes) { return kr_shape_without(s, ~axes); }

const char *kr_shape_text(kr_shape s)
{
    static _Thread_local char ring[8][256];
    static _Thread_local unsigned turn;
    char *t = ring[turn++ % 8];
    size_t at = 0;
    for (int d = 0; d < KR_AXES; d++)
        if (s.n[d] > 1 || s.n[d] < 0)
            at += (size_t)snprintf(t + at, 256 - at, "%s%s=%ld", at ? " " : "{", names[d], s.n[d]);
    snprintf(t + at, 256 - at, "%s", at ? "}" : "{1}");
    return t;
}

kr_shape kr_array_shape(const kr_array *a)
{
    kr_shape s;
    memcpy(s.n, a->n, sizeof s.n);
    return s;
}

static size_t width(enum kr_type type) { return type == KR_C32 ? sizeof(kr_cfloat) : sizeof(float); }

kr_array *kr_array_take_order(enum kr_type type, kr_shape shape, void *data, const int *order, int axes)
{
    kr_store *store = data ? kr_alloc(1, sizeof *store) : NULL;
    kr_array *a = store ? kr_alloc_zero(1, sizeof *a) : NULL;
    if (!a) {
        kr_free(store);
        return NULL;
    }
    atomic_init(&store->refs, 1);
    store->data = data;
    a->type = type;
    a->data = data;
    a->store = store;
    long step = 1;
    bool placed[KR_AXES] = { false };
    for (int i = 0; i < axes + KR_AXES; i++) {
        int d = i < axes ? order[i] : i - axes;
        if (placed[d])
            continue;
        placed[d] = true;
        a->n[d] = shape.n[d] ? shape.n[d] : 1;
        a->step[d] = a->n[d] > 1 ? step : 0;
        step *= a->n[d];
    }
    return a;
}

kr_array *kr_array_take(enum kr_type type, kr_shape shape, void *data)
{
    return kr_array_take_order(type, shape, data, NULL, 0);
}

static kr_array *array_of(enum kr_type type, kr_shape shape, bool zero, const int *order, int axes)
{
    long n = kr_count(shape);
    if (n < 0 || n > 1L << 48) {
        kr_fail(KR_EREFUSED, "an array of shape %s is too large", kr_shape_text(shape));
        return NULL;
    }
    void *data = zero ? kr_alloc_zero((size_t)n, width(type)) : kr_alloc((size_t)n, width(type));
    kr_array *a = kr_array_take_order(type, shape, data, order, axes);
    if (!a)
        kr_free(data);
    return a;
}

kr_array *kr_array_new(enum kr_type type, kr_shape shape) { return array_of(type, shape, true, NULL, 0); }
kr_array *kr_array_like(const kr_array *a) { return kr_array_new(a->type, kr_array_shape(a)); }

kr_array *kr_array_ref(const kr_array *a)
{
    kr_array *r = a ? kr_alloc(1, sizeof *r) : NULL;
    if (r) {
        *r = *a;
        atomic_fetch_add(&r->store->refs, 1);
    }
    return r;
}

void kr_array_unref(kr_array **a)
{
    if (!*a)
        return;
    kr_store *s = (*a)->store;
    if (atomic_fetch_sub(&s->refs, 1) == 1) {
        kr_free(s->data);
        kr_free(s);
    }
    kr_free(*a);
    *a = NULL;
}

static void move(kr_array *a, long elements) { a->data = (char *)a->data + elements * (long)width(a->type); }

long kr_array_offset(const kr_array *a, kr_shape parts, long i)
{
    long at = 0;
    for (int d = 0; d < KR_AXES; d++) {
        long n = parts.n[d] > 1 ? parts.n[d] : 1;
        at += d != KR_CHAN && a->n[d] > 1 ? i % n * a->step[d] : 0;
        i /= n;
    }
    return at;
}

kr_array *kr_array_range(const kr_array *a, int axis, long from, long count)
{
    if (!a)
        return NULL;
    if (from < 0 || count < 1 || from + count > a->n[axis]) {
        kr_fail(KR_ESHAPE, "%s %ld to %ld asked of %s", names[axis], from, from + count - 1, kr_shape_text(kr_array_shape(a)));
        return NULL;
    }
    kr_array *v = kr_array_ref(a);
    if (v) {
        move(v, from * v->step[axis]);
        v->n[axis] = count;
        if (count == 1)
            v->step[axis] = 0;
    }
    return v;
}

kr_array *kr_array_at(const kr_array *a, int axis, long index) { return kr_array_range(a, axis, index, 1); }

kr_array *kr_array_flip(const kr_array *a, int axis)
{
    kr_array *v = kr_array_ref(a);
    if (v) {
        move(v, (v->n[axis] - 1) * v->step[axis]);
        v->step[axis] = -v->step[axis];
    }
    return v;
}

kr_array *kr_array_rename(const kr_array *a, int from, int to)
{
    kr_array *v = kr_array_ref(a);
    if (v) {
        v->n[from] = a->n[to];
        v->step[from] = a->step[to];
        v->n[to] = a->n[from];
        v->step[to] = a->step[from];
    }
    return v;
}

kr_array *kr_array_spread(const kr_array *a, kr_shape to)
{
    kr_array *v = kr_array_ref(a);
    for (int d = 0; v && d < KR_AXES; d++) {
        long n = to.n[d] ? to.n[d] : 1;
        if (v->n[d] == n)
            continue;
        if (v->n[d] != 1) {
            kr_fail(KR_ESHAPE, "%s cannot repeat to %s", kr_shape_text(kr_array_shape(a)), kr_shape_text(to));
            kr_array_unref(&v);
        } else
            v->n[d] = n;     /* step is 0 already */
    }
    return v;
}

bool kr_array_contiguous(const kr_array *a)
{
    long step = 1;
    for (int d = 0; d < KR_AXES; d++) {
        if (a->n[d] > 1 && a->step[d] != step)
            return false;
        step *= a->n[d];
    }
    return true;
}

kr_array *kr_array_copy(const kr_array *a) { return kr_array_copy_order(a, NULL, 0); }

kr_array *kr_array_copy_order(const kr_array *a, const int *order, int axes)
{
    kr_array *c = a ? array_of(a->type, kr_array_shape(a), false, order, axes) : NULL;
    if (c)
        kr_array_assign(c, a);
    return c;
}

kr_array *kr_array_packed(const kr_array *a)
{
    return !a ? NULL : kr_array_contiguous(a) ? kr_array_ref(a) : kr_array_copy(a);
}

kr_array *kr_array_complex(const kr_array *a)
{
    if (!a || a->type == KR_C32)
        return kr_array_ref(a);
    kr_array *c = array_of(KR_C32, kr_array_shape(a), false, NULL, 0);
    if (c)
        kr_array_assign(c, a);
    return c;
}

kr_array *kr_array_crop(const kr_array *a, int axis, long count)
{
    long n = a->n[axis];
    if (count <= n)
        return kr_array_range(a, axis, n / 2 - count / 2, count);
    kr_shape s = kr_array_shape(a);
    s.n[axis] = count;
    kr_array *p = kr_array_new(a->type, s);
    kr_scoped(array) inner = kr_array_range(p, axis, count / 2 - n / 2, n);
    if (!inner)
        kr_array_unref(&p);
    else
        kr_array_assign(inner, a);
    return p;
}

/* A walk over all axes at once, shortest steps innermost: the two innermost axes are given to a body that runs over
 * them, so that copies with swapped axes go in tiles and both sides stay in the cache. */
struct walk { long n[KR_AXES], to[KR_AXES], from[KR_AXES]; int axes; };

static void walk_plan(struct walk *w, const kr_array *to, const kr_array *from)
{
    w->axes = 0;
    for (int d = 0; d < KR_AXES; d++) {
        kr_assert(from->n[d] == to->n[d] || from->n[d] == 1);
        if (to->n[d] == 1)
            continue;
        int k = w->axes++;
        long st = labs(to->step[d]);
        for (; k > 0 && labs(w->to[k - 1]) > st; k--) {
            w->n[k] = w->n[k - 1];
            w->to[k] = w->to[k - 1];
            w->from[k] = w->from[k - 1];
        }
        w->n[k] = to->n[d];
        w->to[k] = to->step[d];
        w->from[k] = from->n[d] == 1 ? 0 : from->step[d];
    }
    /* Axes that follow each other without a gap on both sides are one. */
    for (int k = 0; k + 1 < w->axes; )
        if (w->to[k + 1] == w->n[k] * w->to[k] && w->from[k + 1] == w->n[k] * w->from[k]) {
            w->n[k] *= w->n[k + 1];
            for (int j = k + 1; j + 1 < w->axes; j++) {
                w->n[j] = w->n[j + 1];
                w->to[j] = w->to[j + 1];
                w->from[j] = w->from[j + 1];
            }
            w->axes--;
        } else
            k++;
    /* The axis that is fastest in `from` comes second, where tiles are cut. */
    int fast = 0;
    for (int k = 1; k < w->axes; k++)
        if (w->from[k] && (!w->from[fast] || labs(w->from[k]) < labs(w->from[fast])))
            fast = k;
    if (fast > 1) {
        long n = w->n[fast], t = w->to[fast], f = w->from[fast];
        for (int k = fast; k > 1; k--) {
            w->n[k] = w->n[k - 1];
            w->to[k] = w->to[k - 1];
            w->from[k] = w->from[k - 1];
        }
        w->n[1] = n;
        w->to[1] = t;
        w->from[1] = f;
    }
}

enum pair { RR, RC, CC };

static void copy_line(enum pair p, char *to, long st, const char *from, long sf, long n)
{
    switch (p) {
    case RR: {
        float *t = (float *)(void *)to;
        const float *f = (const float *)(const void *)from;
        if (st == 1 && sf == 1)
            memcpy(t, f, (size_t)n * sizeof *t);
        else
            for (long i = 0; i < n; i++)
                t[i * st] = f[i * sf];
        break;
    }
    case RC: {
        kr_cfloat *t = (kr_cfloat *)(void *)to;
        const float *f = (const float *)(const void *)from;
        for (long i = 0; i < n; i++)
            t[i * st] = kr_c(f[i * sf], 0);
        break;
    }
    case CC: {
        kr_cfloat *t = (kr_cfloat *)(void *)to;
        const kr_cfloat *f = (const kr_cfloat *)(const void *)from;
        if (st == 1 && sf == 1)
            memcpy(t, f, (size_t)n * sizeof *t);
        else
            for (long i = 0; i < n; i++)
                t[i * st] = f[i * sf];
        break;
    }
    }
}

struct copy { struct walk w; enum pair p; char *to; const char *from; long wt, wf; };

/* One index over all outer axes (from the third on). */
static int copy_outer(void *self, long index)
{
    const struct copy *c = self;
    const struct walk *w = &c->w;
    char *to = c->to;
    const char *from = c->from;
    for (int k = 2; k < w->axes; k++) {
        long i = index % w->n[k];
        index /= w->n[k];
        to += i * w->to[k] * c->wt;
        from += i * w->from[k] * c->wf;
    }
    enum { TILE = 32, LONG = 1 << 18 };
    long n0 = w->n[0], n1 = w->axes > 1 ? w->n[1] : 1, t1 = w->axes > 1 ? w->to[1] : 0, f1 = w->axes > 1 ? w->from[1] : 0;
    bool straight = w->from[0] == 1 || w->axes < 2;
    long cut = !straight ? TILE : n0 < LONG ? n0 : LONG;
    for (long b = 0; b < n1; b += TILE)
        for (long a = 0; a < n0; a += cut)
            for (long j = b; j < n1 && j < b + TILE; j++) {
                copy_line(c->p, to + (j * t1 + a * w->to[0]) * c->wt, w->to[0], from + (j * f1 + a * w->from[0]) * c->wf,
                          w->from[0], a + cut > n0 ? n0 - a : cut);
                if (cut == LONG)
                    kr_mem_kept();
            }
    return 0;
}

void kr_array_assign(kr_array *to, const kr_array *from)
{
    kr_assert(to->type == from->type || to->type == KR_C32);
    struct copy c = { .p = to->type == KR_R32 ? RR : from->type == KR_R32 ? RC : CC, .to = to->data, .from = from->data,
                      .wt = (long)width(to->type), .wf = (long)width(from->type) };
    walk_plan(&c.w, to, from);
    if (!c.w.axes) {
        copy_line(c.p, c.to, 1, c.from, 1, 1);
        return;
    }
    long outer = 1, all = 1;
    for (int k = 0; k < c.w.axes; k++) {
        outer *= k < 2 ? 1 : c.w.n[k];
        all *= c.w.n[k];
    }
    if (all < 1 << 16)
        for (long i = 0; i < outer; i++)
            copy_outer(&c, i);
    else if (kr_for(outer, copy_outer, &c))
        kr_assert(0 && "a copy cannot be refused");
}
