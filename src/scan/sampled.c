/* sampled.c: which samples were measured: found from the data, thinned out by a mask, and told in words. */
#include "kray/scan.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 256 };                    /* lines along X to one call of a loop's body */

/* Walks all lines along X of a shape, the later axes slower, keeping the offsets of several arrays. */
struct walk { kr_shape s; long i[KR_AXES]; const kr_array *a[2]; long at[2]; };

static void walk_start(struct walk *w, kr_shape s, long line, const kr_array *a, const kr_array *b)
{
    *w = (struct walk){ .s = s, .a = { a, b } };
    for (int d = KR_X + 1; d < KR_AXES; d++) {
        long n = s.n[d] > 1 ? s.n[d] : 1;
        w->i[d] = line % n;
        line /= n;
        for (int k = 0; k < 2; k++)
            if (w->a[k] && w->a[k]->n[d] > 1)
                w->at[k] += w->i[d] * w->a[k]->step[d];
    }
}

static void walk_next(struct walk *w)
{
    for (int d = KR_X + 1; d < KR_AXES; d++) {
        bool wraps = ++w->i[d] >= w->s.n[d];
        for (int k = 0; k < 2; k++)
            if (w->a[k] && w->a[k]->n[d] > 1)
                w->at[k] += (wraps ? 1 - w->i[d] : 1) * w->a[k]->step[d];
        if (!wraps)
            return;
        w->i[d] = 0;
    }
}

static long lines_of(kr_shape s) { return kr_count(kr_shape_without(s, KR_ON(KR_X))); }

/* ---- Without the axes along which nothing changes ---- */
static bool constant(const kr_array *m, int axis)
{
    kr_shape s = kr_array_shape(m), rest = kr_shape_without(s, KR_ON(axis) | KR_ON(KR_X));
    struct walk w;
    walk_start(&w, rest, 0, m, NULL);
    const float *p = m->data;
    for (long l = lines_of(rest); l; l--, walk_next(&w))
        for (long x = 0; x < (axis == KR_X ? 1 : m->n[KR_X]); x++) {
            const float *q = p + w.at[0] + x * m->step[KR_X];
            for (long i = 1; i < m->n[axis]; i++)
                if (q[i * m->step[axis]] != q[0])
                    return false;
        }
    return true;
}

static kr_array *reduced(const kr_array *m)
{
    kr_array *r = kr_array_ref(m);
    for (int d = 0; r && d < KR_AXES; d++)
        if (r->n[d] > 1 && constant(r, d)) {
            kr_array *at = kr_array_at(r, d, 0);
            kr_array_unref(&r);
            r = at;
        }
    kr_array *packed = r ? kr_array_packed(r) : NULL;
    kr_array_unref(&r);
    return packed;
}

/* ---- Found from zeros ---- */
enum { POOLED = KR_ON(KR_COIL) | KR_ON(KR_MAP) };
struct found { const kr_array *data; kr_array *mask; kr_shape pool; long nx; bool along_x; };

/* A line without steps, in a form that compilers turn into wide instructions: most lines not measured are found so. */
static bool all_zero(const kr_cfloat *line, long n)
{
    const float *p = (const float *)line;
    int any = 0;
    for (long i = 0; i < 2 * n; i++)
        any |= p[i] != 0;
    return !any;
}

/* 1 wherever a sample is not 0; how many are 1 then. Without a step that depends on another, for the same reason. */
static long mark(float *m, const kr_cfloat *line, long n)
{
    const float *p = (const float *)line;
    long seen = 0;
    for (long x = 0; x < n; x++)
        m[x] = ((p[2 * x] != 0) | (p[2 * x + 1] != 0)) ? 1 : m[x];
    for (long x = 0; x < n; x++)
        seen += m[x] > 0;
    return seen;
}

/* One line of the mask: coils are looked at until every sample was seen, which mostly is the first. */
static int find_line(void *self, long block)
{
    const struct found *f = self;
    kr_shape s = kr_array_shape(f->mask);
    long from = block * BLOCK, lines = lines_of(s), pool = lines_of(f->pool);
    struct walk w, c;
    walk_start(&w, s, from, f->data, f->mask);
    for (long l = from; l < lines && l < from + BLOCK; l++, walk_next(&w)) {
        float *m = (float *)f->mask->data + w.at[1];
        long missing = f->nx;
        walk_start(&c, f->pool, 0, f->data, NULL);
        for (long i = 0; i < pool && missing; i++, walk_next(&c)) {
            const kr_cfloat *p = (const kr_cfloat *)f->data->data + w.at[0] + c.at[0];
            if (f->data->step[KR_X] == 1 && all_zero(p, f->data->n[KR_X]))
                continue;
            if (f->along_x && f->data->step[KR_X] == 1) {
                missing = f->nx - mark(m, p, f->nx);
                continue;
            }
            for (long x = 0; x < f->data->n[KR_X]; x++) {
                kr_cfloat v = p[x * f->data->step[KR_X]];
                float *to = m + (f->along_x ? x : 0);
                if (*to <= 0 && (kr_re(v) != 0 || kr_im(v) != 0)) {
                    *to = 1;
                    if (!--missing)
                        break;
                }
            }
        }
    }
    return 0;
}

/* Some samples of a line that was measured may be 0 by chance: a mask that is lines times a range of X is taken for what
 * was meant where it differs in at most 1 of 100 samples. */
static void straighten(kr_array *m)
{
    float *p = m->data;
    long nx = m->n[KR_X], lines = kr_count(kr_array_shape(m)) / nx, first = nx, last = -1, held = 0, measured = 0;
    for (long l = 0; l < lines; l++) {
        bool any = false;
        for (long x = 0; x < nx; x++)
            if (p[l * nx + x] > 0) {
                first = x < first ? x : first;
                last = x > last ? x : last;
                measured++;
                any = true;
            }
        held += any;
    }
    long meant = held * (last - first + 1);
    if (!held || (double)(meant - measured) > 0.01 * (double)meant)
        return;
    for (long l = 0; l < lines; l++) {
        bool any = false;
        for (long x = first; x <= last && !any; x++)
            any = p[l * nx + x] > 0;
        for (long x = first; any && x <= last; x++)
            p[l * nx + x] = 1;
    }
}

static long measured_of(const kr_array *m, long slice)
{
    kr_scoped(array) view = slice < 0 ? kr_array_ref(m) : kr_array_at(m, KR_SLICE, slice);
    kr_scoped(array) one = view ? kr_array_packed(view) : NULL;
    long sum = 0;
    for (long i = 0, n = one ? kr_count(kr_array_shape(one)) : 0; i < n; i++)
        sum += KR_R(one)[i] > 0;
    return one ? sum : -1;
}

/* 1 where any slice was measured. */
static kr_array *pool_of(const kr_array *m)
{
    kr_scoped(array) pool = kr_array_new(KR_R32, kr_shape_without(kr_array_shape(m), KR_ON(KR_SLICE)));
    for (long i = 0; pool && i < m->n[KR_SLICE]; i++) {
        kr_scoped(array) view = kr_array_at(m, KR_SLICE, i);
        kr_scoped(array) own = view ? kr_array_packed(view) : NULL;
        if (!own)
            return NULL;
        for (long k = 0, n = kr_count(kr_array_shape(own)); k < n; k++)
            KR_R(pool)[k] = KR_R(pool)[k] > 0 || KR_R(own)[k] > 0;
    }
    return pool ? kr_array_ref(pool) : NULL;
}

/* Slices share a mask, what was measured in any of them, unless one lacks more than 1 of 100 of its samples. Those that hold nothing lack nothing. */
static kr_array *of_slices(kr_array *m)
{
    kr_scoped(array) pool = pool_of(m);
    bool differ = false;
    long all = pool ? measured_of(pool, -1) : -1;
    for (long i = 0; all >= 0 && i < m->n[KR_SLICE]; i++) {
        long has = measured_of(m, i);
        if (has < 0)
            return NULL;
        differ |= has && (double)has < 0.99 * (double)all;
        kr_scoped(array) view = has ? NULL : kr_array_at(m, KR_SLICE, i);
        if (view)
            kr_array_assign(view, pool);
    }
    return all < 0 ? NULL : kr_array_ref(differ ? m : pool);
}

/* A slice of which no line was measured is no undersampled one: its mask is that of the others together. */
static kr_array *without_empty(const kr_array *mask)
{
    kr_scoped(array) pool = pool_of(mask);
    kr_scoped(array) m = pool ? kr_array_copy(mask) : NULL;
    for (long i = 0; m && i < m->n[KR_SLICE]; i++) {
        long has = measured_of(m, i);
        kr_scoped(array) view = has ? NULL : kr_array_at(m, KR_SLICE, i);
        if (has < 0 || (!has && !view))
            return NULL;
        if (view)
            kr_array_assign(view, pool);
    }
    return m ? kr_array_ref(m) : NULL;
}

kr_array *kr_scan_mask(const kr_scan *s)
{
    if (s->mask && s->mask->n[KR_SLICE] > 1) {
        kr_scoped(array) m = without_empty(s->mask);
        return m ? reduced(m) : NULL;
    }
    if (s->mask)
        return reduced(s->mask);
    if (!s->data) {
        kr_fail(KR_EREFUSED, "what was measured cannot be found without data");
        return NULL;
    }
    struct found f = { .data = s->data, .along_x = !(s->in_image & KR_ON(KR_X)) && s->data->n[KR_X] > 1 };
    kr_shape shape = kr_array_shape(s->data);
    unsigned pooled = POOLED | s->in_image;
    f.pool = kr_shape_only(shape, pooled & ~KR_ON(KR_X));
    f.nx = f.along_x ? s->data->n[KR_X] : 1;
    kr_scoped(array) m = f.mask = kr_array_new(KR_R32, kr_shape_without(shape, f.along_x ? pooled : pooled | KR_ON(KR_X)));
    if (!m || kr_for((lines_of(kr_array_shape(m)) + BLOCK - 1) / BLOCK, find_line, &f))
        return NULL;
    if (f.along_x)
        straighten(m);
    kr_scoped(array) shared = m->n[KR_SLICE] > 1 ? of_slices(m) : kr_array_ref(m);
    return shared ? reduced(shared) : NULL;
}

/* ---- Undersampling ---- */
static int check_mask(const kr_array *mask, kr_shape s, unsigned in_image)
{
    if (mask->type != KR_R32)
        return kr_fail(KR_EREFUSED, "a sampling mask is real, this one is complex");
    for (int d = 0; d < KR_AXES; d++) {
        if (mask->n[d] > 1 && mask->n[d] != s.n[d])
            return kr_fail(KR_ESHAPE, "the mask %s does not fit k-space %s: %ld points along %s instead of %ld", kr_shape_text(kr_array_shape(mask)), kr_shape_text(s),
                           mask->n[d], kr_axis_name(d), s.n[d]);
        if (mask->n[d] > 1 && in_image & KR_ON(d))
            return kr_fail(KR_EREFUSED, "the data are in image space along %s and cannot be undersampled there", kr_axis_name(d));
    }
    return 0;
}

static kr_array *kept(const kr_array *measured, const kr_array *mask)
{
    kr_shape s = { 0 };
    for (int d = 0; d < KR_AXES; d++)
        s.n[d] = mask->n[d] > measured->n[d] ? mask->n[d] : measured->n[d];
    kr_scoped(array) m = kr_array_new(KR_R32, s);
    if (!m)
        return NULL;
    struct walk w;
    walk_start(&w, s, 0, measured, mask);
    float *to = m->data;
    bool any = false;
    for (long l = lines_of(s); l; l--, walk_next(&w))
        for (long x = 0; x < s.n[KR_X]; x++) {
            float a = ((float *)measured->data)[w.at[0] + (measured->n[KR_X] > 1 ? x * measured->step[KR_X] : 0)];
            float b = ((float *)mask->data)[w.at[1] + (mask->n[KR_X] > 1 ? x * mask->step[KR_X] : 0)];
            any |= (*to++ = a != 0 && b != 0) > 0;
        }
    if (!any) {
        kr_fail(KR_ENUMBER, "the mask keeps none of the samples that were measured");
        return NULL;
    }
    return reduced(m);
}

struct thin { kr_array *data; const kr_array *mask; };

/* The common case without steps stands by itself, for wide instructions. */
static void thin_line(kr_cfloat *line, long step, const float *m, long mask_step, long n)
{
    float *v = (float *)line;
    if (step == 1 && mask_step == 1)
        for (long x = 0; x < n; x++) {
            v[2 * x] = m[x] != 0 ? v[2 * x] : 0;
            v[2 * x + 1] = m[x] != 0 ? v[2 * x + 1] : 0;
        }
    else
        for (long x = 0; x < n; x++)
            if (m[x * mask_step] == 0)
                line[x * step] = 0;
}

static int thin_lines(void *self, long block)
{
    const struct thin *t = self;
    kr_shape s = kr_array_shape(t->data);
    long from = block * BLOCK, lines = lines_of(s), nx = t->data->n[KR_X], step = t->data->step[KR_X];
    struct walk w;
    walk_start(&w, s, from, t->data, t->mask);
    for (long l = from; l < lines && l < from + BLOCK; l++, walk_next(&w)) {
        kr_cfloat *p = (kr_cfloat *)t->data->data + w.at[0];
        const float *m = (const float *)t->mask->data + w.at[1];
        if (t->mask->n[KR_X] > 1)
            thin_line(p, step, m, t->mask->step[KR_X], nx);
        else if (*m == 0 && step == 1)
            memset((void *)p, 0, (size_t)nx * sizeof *p);
        else if (*m == 0)
            thin_line(p, step, m, 0, nx);
    }
    return 0;
}

int kr_scan_undersample(kr_scan *s, const kr_array *mask)
{
    if (!s->data)
        return kr_fail(KR_EREFUSED, "there are no data to undersample");
    if (check_mask(mask, kr_array_shape(s->data), s->in_image))
        return kr_error_code();
    kr_scoped(array) measured = kr_scan_mask(s);
    kr_array *both = measured ? kept(measured, mask) : NULL;
    if (!both)
        return kr_error_code();
    struct thin t = { s->data, mask };
    int e = kr_for((lines_of(kr_array_shape(s->data)) + BLOCK - 1) / BLOCK, thin_lines, &t);
    kr_array_unref(&s->mask);
    s->mask = both;
    return e;
}

/* ---- In words ---- */
/* Frames of a mask as bytes, X fastest. */
struct grid { long n[3], frames; uint8_t *m; };

static int as_grid(struct grid *g, const kr_array *mask)
{
    for (int d = 0; d < 3; d++)
        g->n[d] = mask->n[d];
    kr_shape s = kr_array_shape(mask);
    g->frames = kr_count(kr_shape_without(s, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z)));
    uint8_t *to = g->m = kr_alloc((size_t)kr_count(s), 1);
    if (!to)
        return KR_EMEM;
    struct walk w;
    walk_start(&w, s, 0, mask, NULL);
    for (long l = lines_of(s); l; l--, walk_next(&w))
        for (long x = 0; x < g->n[0]; x++) {
            float v = ((float *)mask->data)[w.at[0] + x * mask->step[KR_X]];
            if (v != 0 && v != 1)
                return kr_fail(KR_ENUMBER, "a sampling mask holds 0 and 1, this one holds %g", (double)v);
            *to++ = v > 0;
        }
    return 0;
}

struct box { long from[3], to[3]; };

/* Of a long thin box only four times its thickness counts. */
static double worth(const struct grid *g, const struct box *b)
{
    double volume = 1, thin = 1e9, most = 1;
    for (int d = 0; d < 3; d++) {
        double n = (double)(b->to[d] - b->from[d]);
        volume *= n;
        if (g->n[d] > 1)
            thin = n < thin ? n : thin;
    }
    for (int d = 0; d < 3; d++)
        most *= g->n[d] > 1 ? (most > 1 ? 4 * thin : thin) : 1;
    return (volume < most ? volume : most) + 1e-9 * volume;
}

/* plane: points of axes a and b (a fastest) that are measured all through the third axis of `box`. For each stack of
 * lines around DC, the run around DC that they have in common. */
static void best_of_plane(const struct grid *g, const uint8_t *plane, int a, int b, struct box box, struct box *best)
{
    long na = g->n[a], ca = na / 2, cb = g->n[b] / 2, lower_lo = 0, lower_hi = na;
    for (long b0 = cb; b0 >= 0 && plane[b0 * na + ca]; b0--) {
        long lo = ca, hi = ca;
        while (lo > lower_lo && plane[b0 * na + lo - 1])
            lo--;
        while (hi < lower_hi && plane[b0 * na + hi])
            hi++;
        lower_lo = lo;
        lower_hi = hi;
        for (long b1 = cb; b1 < g->n[b] && plane[b1 * na + ca]; b1++) {
            long run = ca;
            while (run > lo && plane[b1 * na + run - 1])
                run--;
            lo = run;
            for (run = ca; run < hi && plane[b1 * na + run]; run++)
                ;
            hi = run;
            box.from[a] = lo;
            box.to[a] = hi;
            box.from[b] = b0;
            box.to[b] = b1 + 1;
            if (worth(g, &box) > worth(g, best))
                *best = box;
        }
    }
}

/* The best fully sampled box around DC: every one of the two longer axes, and those about DC of the shortest. */
static int centre_of(struct box *best, const struct grid *g)
{
    long stride[3] = { 1, g->n[0], g->n[0] * g->n[1] }, frame = g->n[0] * g->n[1] * g->n[2];
    int c = g->n[0] <= g->n[1] && g->n[0] <= g->n[2] ? 0 : g->n[1] <= g->n[2] ? 1 : 2, a = c == 0 ? 1 : 0, b = c == 2 ? 1 : 2;
    *best = (struct box){ { 0 }, { 0 } };
    kr_auto uint8_t *plane = kr_alloc((size_t)(g->n[a] * g->n[b]), 1);
    if (!plane)
        return KR_EMEM;
    memset(plane, 1, (size_t)(g->n[a] * g->n[b]));
    for (long h = 0, mid = g->n[c] / 2; h <= mid; h++) {
        struct box box = { { 0 }, { 0 } };
        box.from[c] = mid - h;
        box.to[c] = mid + h < g->n[c] ? mid + h + 1 : g->n[c];
        for (long f = 0; f < g->frames; f++)
            for (long i = 0; i < g->n[a] * g->n[b]; i++) {
                const uint8_t *m = g->m + f * frame + i % g->n[a] * stride[a] + i / g->n[a] * stride[b];
                plane[i] &= m[box.from[c] * stride[c]] & m[(box.to[c] - 1) * stride[c]];
            }
        if (!plane[g->n[b] / 2 * g->n[a] + g->n[a] / 2])
            return 0;
        best_of_plane(g, plane, a, b, box, best);
    }
    return 0;
}

static bool inside(const struct box *b, const long at[3])
{
    for (int d = 0; d < 3; d++)
        if (at[d] < b->from[d] || at[d] >= b->to[d])
            return false;
    return true;
}

/* Lines of one frame that hold anything outside the centre, along each axis: line[d][i]. */
static void lines_outside(const struct grid *g, const uint8_t *m, const struct box *b, uint8_t *line[3])
{
    long at[3];
    for (int d = 0; d < 3; d++)
        memset(line[d], 0, (size_t)g->n[d]);
    for (at[2] = 0; at[2] < g->n[2]; at[2]++)
        for (at[1] = 0; at[1] < g->n[1]; at[1]++)
            for (at[0] = 0; at[0] < g->n[0]; at[0]++)
                if (*m++ && !inside(b, at))
                    for (int d = 0; d < 3; d++)
                        line[d][at[d]] = 1;
}

/* Whether outside the centre exactly the crossings of these lines are measured. */
static bool is_lattice(const struct grid *g, const uint8_t *m, const struct box *b, uint8_t *line[3])
{
    long at[3];
    for (at[2] = 0; at[2] < g->n[2]; at[2]++)
        for (at[1] = 0; at[1] < g->n[1]; at[1]++)
            for (at[0] = 0; at[0] < g->n[0]; at[0]++, m++)
                if (!inside(b, at) && *m != (line[0][at[0]] && line[1][at[1]] && line[2][at[2]]))
                    return false;
    return true;
}

/* The distance of equispaced lines, which pass under the centre [from,to) unseen where it spans the other axes. */
static long step_of(const uint8_t *line, long n, long from, long to)
{
    long first = -1, last = -1, step = 0;
    for (long i = 0; i < n; i++)
        if (line[i]) {
            if (last >= 0 && (!step || i - last < step))
                step = i - last;
            first = first < 0 ? i : first;
            last = i;
        }
    if (!step)
        return 0;
    for (long i = first; i <= last; i++) {
        bool on = (i - first) % step == 0;
        if (line[i] != on && !(on && i >= from && i < to))
            return 0;
    }
    return step;
}

/* Along axis d: the first and the last line that hold anything, and the widest step from one such line to the next. */
struct span { long first, last, gap; };

static int span_of(struct span *s, const struct grid *g, int d)
{
    long stride = d == 0 ? 1 : d == 1 ? g->n[0] : g->n[0] * g->n[1], n = g->n[d], all = g->n[0] * g->n[1] * g->n[2] * g->frames;
    kr_auto uint8_t *line = kr_alloc_zero((size_t)n, 1);
    if (!line)
        return kr_error_code();
    for (long i = 0; i < all; i++)
        line[i / stride % n] |= g->m[i];
    *s = (struct span){ -1, -1, 1 };
    for (long i = 0; i < n; i++)
        if (line[i]) {
            s->gap = s->last >= 0 && i - s->last > s->gap ? i - s->last : s->gap;
            s->first = s->first < 0 ? i : s->first;
            s->last = i;
        }
    return 0;
}

/* By how much the sides may differ: N/2 lines below DC and N/2 - 1 above are no partial Fourier, nor is the last line of a comb, or less than a
 * sixteenth of what was encoded (sequences leave out an eighth or more); three lines where zeros lie on both sides, since padding need not be even.
 * Irregular lines are rare at the edges, and leave out much there by chance. */
static double slack_of(const struct span *s, long step, long n)
{
    bool irregular = step < 1 && s->gap > 1;
    long c = n / 2, longer = c - s->first > s->last - c ? c - s->first : s->last - c, uneven = s->first > 0 && s->last < n - 1 && longer >= 12 ? 3 : 1;
    double lines = irregular ? 3 * (double)s->gap : step > uneven ? (double)step : (double)uneven, part = irregular ? (double)n / 4 : (double)longer / 8;
    return lines > part ? lines : part;
}

static double partial_of(const struct span *s, long n, double slack)
{
    long c = n / 2, below = c - s->first, above = s->last - c, longer = below > above ? below : above, shorter = below < above ? below : above;
    return (double)(longer - shorter) <= slack ? 1 : (double)(longer + shorter + 1) / (double)(2 * longer + 1);
}

/* What lies within the outermost lines on both sides, if that is full, or a comb along that axis; partial Fourier aside. */
static int find_encoded(kr_mask_facts *f, const struct grid *g)
{
    struct span s[3];
    long inside = g->frames;
    for (int d = 0; d < 3; d++) {
        if (span_of(&s[d], g, d))
            return kr_error_code();
        inside *= s[d].last - s[d].first + 1;
    }
    f->full = inside == f->measured;
    for (int d = 0; d < 3; d++) {
        double slack = slack_of(&s[d], f->step[d], g->n[d]);
        f->partial[d] = g->n[d] > 1 ? partial_of(&s[d], g->n[d], slack) : 1;
        long step = f->full ? 1 : f->step[d], wide = s[d].last - s[d].first + (step > 1 ? step : 1);
        bool padded = g->n[d] > 1 && f->partial[d] >= 1 && (f->full || (step > 1 && (double)(g->n[d] - wide) > slack));
        f->encoded[d] = padded && wide < g->n[d] ? wide : f->n[d];
        f->full = f->full && f->partial[d] >= 1;
    }
    return 0;
}

static int find_steps(kr_mask_facts *f, const struct grid *g, const struct box *b)
{
    long frame = g->n[0] * g->n[1] * g->n[2];
    kr_auto uint8_t *lines = kr_alloc((size_t)(g->n[0] + g->n[1] + g->n[2]), 1);
    if (!lines)
        return KR_EMEM;
    uint8_t *line[3] = { lines, lines + g->n[0], lines + g->n[0] + g->n[1] };
    for (long t = 0; t < g->frames; t++) {
        const uint8_t *m = g->m + t * frame;
        lines_outside(g, m, b, line);
        bool lattice = is_lattice(g, m, b, line);
        for (int d = 0; d < 3; d++) {
            long step = g->n[d] == 1 || b->to[d] - b->from[d] == g->n[d] ? 1 : lattice ? step_of(line[d], g->n[d], b->from[d], b->to[d]) : 0;
            f->step[d] = t && f->step[d] != step ? 0 : step;
        }
        f->varies |= memcmp(m, g->m, (size_t)frame) != 0;
    }
    return 0;
}

static int describe(kr_mask_facts *f, struct grid *g, const kr_array *mask)
{
    if (as_grid(g, mask))
        return kr_error_code();
    f->slices = mask->n[KR_SLICE] > 1;
    long frame = g->n[0] * g->n[1] * g->n[2];
    f->points = frame * g->frames;
    for (long i = 0; i < f->points; i++)
        f->measured += g->m[i];
    if (!f->measured)
        return kr_fail(KR_ENUMBER, "the sampling mask keeps nothing");
    struct box b;
    if (centre_of(&b, g))
        return kr_error_code();
    long held = g->frames;
    for (int d = 0; d < 3; d++) {
        held *= b.to[d] - b.from[d];
        f->centre_from[d] = g->n[d] > 1 ? b.from[d] : 0;
        f->centre[d] = g->n[d] > 1 ? b.to[d] - b.from[d] : f->n[d];
    }
    if (find_steps(f, g, &b) || find_encoded(f, g))
        return kr_error_code();
    long points = g->frames;
    for (int d = 0; d < 3; d++)
        points *= g->n[d] > 1 ? f->encoded[d] : 1;
    f->accel = (double)points / (double)f->measured;
    f->outer_accel = f->measured > held ? (double)(points - held) / (double)(f->measured - held) : 0;
    return 0;
}

int kr_mask_describe(kr_mask_facts *f, const kr_array *mask, kr_shape shape)
{
    *f = (kr_mask_facts){ .points = 1, .measured = 1, .accel = 1, .full = true };
    for (int d = 0; d < 3; d++) {
        f->n[d] = f->centre[d] = f->encoded[d] = shape.n[d] > 1 ? shape.n[d] : 1;
        f->step[d] = 1;
        f->partial[d] = 1;
    }
    if (!mask)
        return 0;
    if (check_mask(mask, shape, 0))
        return kr_error_code();
    f->points = f->measured = 0;
    struct grid g = { .m = NULL };
    int e = describe(f, &g, mask);
    kr_free(g.m);
    return e;
}

void kr_mask_facts_text(kr_text *t, const kr_mask_facts *f)
{
    bool under[3], first = true, padded = false;
    for (int d = 0; d < 3; d++)
        padded |= f->encoded[d] < f->n[d];
    if (f->full) {
        kr_text_add(t, "fully sampled");
        for (int d = 0; d < 3 && padded; d++)
            if (f->encoded[d] < f->n[d]) {
                kr_text_add(t, "%s %ld of %ld lines along %s", first ? "," : " and", f->encoded[d], f->n[d], kr_axis_name(d));
                first = false;
            }
        kr_text_add(t, padded ? " measured, the rest zero-padded" : "");
        return;
    }
    if (padded) {
        kr_text_add(t, "R = %.3g in", f->accel);
        for (int d = 0; d < 3; d++)
            if (f->encoded[d] < f->n[d]) {
                kr_text_add(t, "%s %ld of %ld lines along %s", first ? "" : " and", f->encoded[d], f->n[d], kr_axis_name(d));
                first = false;
            }
        kr_text_add(t, " (zero-padded), %ld measured", f->measured);
        first = true;
    } else
        kr_text_add(t, "R = %.3g (%ld of %ld)", f->accel, f->measured, f->points);
    for (int d = 0; d < 3; d++) {
        under[d] = f->centre[d] < f->n[d];
        if (under[d] && !padded)
            kr_text_add(t, "%s%s", first ? " along " : " and ", kr_axis_name(d));
        first &= !under[d];
    }
    first = true;
    bool acs = false;                                        /* a single line in the middle is none */
    for (int d = 0; d < 3; d++)
        acs |= under[d] && f->centre[d] > 1;
    for (int d = 0; d < 3; d++)
        if (under[d] && acs) {
            kr_text_add(t, "%s%ld", first ? ", ACS " : " x ", f->centre[d]);
            first = false;
        }
    for (int d = 0; d < 3; d++)
        if (under[d] && f->step[d] > 1)
            kr_text_add(t, ", every %ld%s along %s", f->step[d], f->step[d] == 2 ? "nd" : f->step[d] == 3 ? "rd" : "th", kr_axis_name(d));
    for (int d = 0; d < 3; d++)
        if (f->partial[d] < 1)
            kr_text_add(t, ", partial Fourier %.2f along %s", f->partial[d], kr_axis_name(d));
    if (f->varies)
        kr_text_add(t, ", another pattern in each %s", f->slices ? "slice" : "frame");
}
