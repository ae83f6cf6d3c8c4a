/* kernels.c: the weights of GRAPPA, and their use. The samples that were not measured are found in (x, k_y, k_z): there the taps along
 * the readout are one product for each x, and all samples of a hood a product of matrices. */
#include "kernels.h"
#include "fit.h"
#include "kray/la.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 3, WIDE = 8, CHUNK = 128 };      /* WIDE: complex numbers of a cache line; CHUNK: bases per product */

/* For the floor of equations: 0.015 is within 0.45 dB of the best of 0.01, 0.1, 1 and 10 on two real brains, R = 2 to 8; 0.07 loses 0.6 at R = 3. */
static const double SLACK = 0.015;

/* ---- Weights ---- */
/* Sources with all taps, then targets, as offsets; and the box around them. */
static long stencil(const kr_hood *n, long taps, long (*o)[D], long low[D], long span[D])
{
    long count = 0;
    for (long d = 0; d < taps; d++)
        for (long s = 0; s < n->sources; s++, count++) {
            memcpy(o[count], n->source[s], sizeof *o);
            o[count][0] += d - taps / 2;
        }
    memcpy(o + count, n->target, (size_t)n->targets * sizeof *o);
    memcpy(low, n->low, sizeof n->low);
    memcpy(span, n->span, sizeof n->span);
    low[0] -= taps / 2;
    span[0] += taps - 1;
    return count;
}

/* The normal equations of one hood: G = A^H A (lower triangle), X = A^H B, unknowns ordered [tap][source][coil]. */
struct normal { const kr_hood *n; kr_cfloat *G, *X; long columns, right; double floor; float *count; };

static void normal_drop(struct normal *e)
{
    kr_free_at(&e->G);
    kr_free_at(&e->X);
    kr_free_at(&e->count);
}

static int normal_new(struct normal *e, const kr_hood *n, long taps, long coils, double floor)
{
    *e = (struct normal){ .n = n, .columns = taps * n->sources * coils, .right = n->targets * coils, .floor = floor };
    e->G = kr_alloc((size_t)e->columns, (size_t)e->columns * sizeof *e->G);
    e->X = kr_alloc((size_t)e->columns, (size_t)e->right * sizeof *e->X);
    return e->G && e->X ? 0 : kr_error_code();
}

/* Of any hood, from all its placements in one block side by side. */
static int gather_one(struct normal *e, const kr_array *block, long taps)
{
    long low[D], span[D], rows;
    kr_auto long (*o)[D] = kr_alloc((size_t)(taps * e->n->sources + e->n->targets), sizeof *o);
    kr_auto kr_cfloat *A = NULL;
    if (!o)
        return kr_error_code();
    long sources = stencil(e->n, taps, o, low, span), enough = 4 * e->columns > 4096 ? 4 * e->columns : 4096;
    if (kr_fit_shifts(&A, &rows, block, o, sources + e->n->targets, low, span, enough)
        || (e->floor > 0 && kr_fit_weigh(A, rows, e->columns, e->columns + e->right, e->floor))
        || kr_fit_products(e->G, A, e->columns, A, e->columns, rows, true)
        || kr_fit_products(e->X, A, e->columns, A + e->columns * rows, e->right, rows, false))
        return kr_error_code();
    return 0;
}

/* Of all blocks: the sum of their equations. */
static int gather_normal(struct normal *e, const kr_array *blocks, long taps)
{
    for (long b = 0; b < blocks->n[KR_BATCH]; b++) {
        kr_scoped(array) block = kr_array_at(blocks, KR_BATCH, b);
        struct normal more = { 0 };
        int r = !block ? kr_error_code() : b ? normal_new(&more, e->n, taps, block->n[KR_COIL], e->floor) : 0;
        if (!r)
            r = gather_one(b ? &more : e, block, taps);
        for (long i = 0; b && !r && i < e->columns * e->columns; i++)
            e->G[i] += more.G[i];
        for (long i = 0; b && !r && i < e->columns * e->right; i++)
            e->X[i] += more.X[i];
        normal_drop(&more);
        if (r)
            return r;
    }
    return 0;
}

/* ---- Calibration lines along one direction ----
 * There all hoods are made of the same products of two lines, M[y c, y' c'] = sum over x of conj(v(x + d, y, c)) v(x + d', y', c'), which
 * are made once for each pair of taps d <= d'. From one pair to the next with the same d' - d, one x leaves and one comes. */
struct lines {
    struct normal *e; long hoods;
    const kr_cfloat *v;              /* [line, coil][x]                                               */
    const float *count;              /* by what the equations at x count; NULL: all alike             */
    kr_cfloat *M;                    /* of each thread                                                */
    long lines, coils, nx, taps;
    int axis;
};

/* sum[c] = sum over placements p of m[p step + c], counted by count[p] unless that is NULL */
static void over_places(kr_cfloat *restrict sum, const kr_cfloat *restrict m, long coils, long step, long places, const float *count)
{
    for (long c = 0; c < coils; c++)
        sum[c] = count ? kr_c(count[0] * kr_re(m[c]), count[0] * kr_im(m[c])) : m[c];
    for (long p = 1; p < places; p++)
        for (long c = 0; c < coils; c++) {
            kr_cfloat a = m[p * step + c];
            sum[c] += count ? kr_c(count[p] * kr_re(a), count[p] * kr_im(a)) : a;
        }
}

/* The part of one hood's equations that a pair of taps gives: M[d, d1], and of it columns (line q) at rows (line r). */
static void add_pair(struct normal *e, const struct lines *j, const kr_cfloat *M, kr_cfloat *sum, long d, long d1)
{
    const kr_hood *n = e->n;
    long coils = j->coils, size = j->lines * coils, step = coils * (size + 1), places = j->lines - n->span[j->axis] + 1;
    long first = -n->low[j->axis], h = j->taps / 2;
    const float *count = j->count ? e->count : NULL;
    for (long i = 0; i < n->sources * coils; i++) {
        long col = d1 * n->sources * coils + i, q = (first + n->source[i / coils][j->axis]) * coils + i % coils;
        for (long s = 0; s < n->sources; s++) {
            over_places(sum, M + q * size + (first + n->source[s][j->axis]) * coils, coils, step, places, count);
            for (long c = 0; c < coils; c++)             /* into the lower triangle */
                e->G[((d * n->sources + s) * coils + c) * e->columns + col] = kr_cconj(sum[c]);
        }
    }
    for (long i = 0; d1 == h && i < e->right; i++)       /* the target is the later tap */
        for (long s = 0; s < n->sources; s++) {
            long q = (first + n->target[i / coils][j->axis]) * coils + i % coils;
            over_places(e->X + i * e->columns + (d * n->sources + s) * coils, M + q * size + (first + n->source[s][j->axis]) * coils, coils, step,
                        places, count);
        }
    for (long i = 0; d == h && d1 > h && i < n->sources * coils; i++)      /* the earlier one */
        for (long t = 0; t < n->targets; t++) {
            long q = (first + n->source[i / coils][j->axis]) * coils + i % coils;
            over_places(sum, M + q * size + (first + n->target[t][j->axis]) * coils, coils, step, places, count);
            for (long c = 0; c < coils; c++)
                e->X[(t * coils + c) * e->columns + d1 * n->sources * coils + i] = kr_cconj(sum[c]);
        }
}

static int add_lag(void *self, long lag)
{
    const struct lines *j = self;
    long size = j->lines * j->coils, run = j->nx - j->taps + 1;
    kr_cfloat *M = j->M + kr_worker() * size * (size + 4), *out = M + size * size, *in = out + 2 * size;
    kr_la_gemm('C', 'N', size, size, run, 1, j->v, j->nx, j->v + lag, j->nx, 0, M, size);
    for (long d = 0; d + lag < j->taps; d++) {
        for (long i = 0; i < j->hoods; i++)
            add_pair(&j->e[i], j, M, out, d, d + lag);
        for (long i = 0; i < size && d + lag + 1 < j->taps; i++) {
            const kr_cfloat *v = j->v + i * j->nx;
            out[2 * i] = -v[d];
            out[2 * i + 1] = v[d + run];
            in[2 * i] = v[d + lag];
            in[2 * i + 1] = v[d + lag + run];
        }
        if (d + lag + 1 < j->taps)
            kr_la_gemm('C', 'N', size, size, 2, 1, out, 2, in, 2, 1, M, size);
    }
    return 0;
}

/* Where equations do not count alike: pair by pair. */
static int add_counted(void *self, long pair)
{
    const struct lines *j = self;
    long size = j->lines * j->coils, run = j->nx - j->taps + 1, d = 0, first = pair;
    while (first >= j->taps - d)
        first -= j->taps - d++;
    kr_cfloat *M = j->M + kr_worker() * size * (size + 1 + run), *sum = M + size * size, *v = sum + size;
    for (long i = 0; i < size; i++)
        for (long x = 0; x < run; x++) {
            kr_cfloat a = j->v[i * j->nx + x + d];
            v[i * run + x] = kr_c(j->count[x] * kr_re(a), j->count[x] * kr_im(a));
        }
    kr_la_gemm('C', 'N', size, size, run, 1, v, run, j->v + d + first, j->nx, 0, M, size);
    for (long i = 0; i < j->hoods; i++)
        add_pair(&j->e[i], j, M, sum, d, d + first);
    return 0;
}

/* 1 / (p / mean + floor), p the power of all lines around each place along x. */
static int count_places(float *count, const struct lines *j, double floor)
{
    long size = j->lines * j->coils, run = j->nx - j->taps + 1;
    double mean = 0;
    kr_auto double *p = kr_alloc_zero((size_t)run, sizeof *p);
    if (!p)
        return kr_error_code();
    for (long x = 0; x < run; x++) {
        for (long i = 0; i < size; i++)
            for (long d = 0; d < j->taps; d++)
                p[x] += (double)kr_cabs2(j->v[i * j->nx + x + d]);
        mean += p[x] / (double)run;
    }
    for (long x = 0; x < run; x++)
        count[x] = mean > 0 ? (float)(1 / (p[x] / mean + floor)) : 1;
    return 0;
}

/* The same of the placements of one hood: power of its sources, of all x. */
static int count_lines(struct normal *e, const struct lines *j)
{
    long places = j->lines - e->n->span[j->axis] + 1, row = j->coils * j->nx, first = -e->n->low[j->axis];
    double mean = 0;
    e->count = kr_alloc((size_t)places, sizeof *e->count);
    kr_auto double *p = kr_alloc_zero((size_t)places, sizeof *p);
    if (!e->count || !p)
        return kr_error_code();
    for (long i = 0; i < places; i++) {
        for (long s = 0; s < e->n->sources; s++)
            for (long k = 0; k < row; k++)
                p[i] += (double)kr_cabs2(j->v[(first + i + e->n->source[s][j->axis]) * row + k]);
        mean += p[i] / (double)places;
    }
    for (long i = 0; i < places; i++)
        e->count[i] = mean > 0 ? (float)(1 / (p[i] / mean + e->floor)) : 1;
    return 0;
}

static int line_normals(struct normal *e, long hoods, const kr_array *block, long taps, int axis)
{
    struct lines j = { e, hoods, NULL, NULL, NULL, block->n[axis], block->n[KR_COIL], block->n[KR_X], taps, axis };
    long size = j.lines * j.coils;
    bool counted = e->floor > 0;
    kr_auto kr_cfloat *v = kr_alloc((size_t)(size * j.nx), sizeof *v), *M = kr_alloc((size_t)(kr_threads() * size), (size_t)(size + (counted ? j.nx : 4)) * sizeof *M);
    kr_auto float *count = kr_alloc((size_t)j.nx, sizeof *count);
    if (!v || !M || !count)
        return kr_error_code();
    for (long i = 0; i < size; i++)
        memcpy((void *)(v + i * j.nx), KR_C(block) + i / j.coils * block->step[axis] + i % j.coils * block->step[KR_COIL],
               (size_t)j.nx * sizeof *v);
    j.v = v;
    j.M = M;
    if (!counted)
        return kr_for(taps, add_lag, &j);
    if (count_places(count, &j, e->floor))
        return kr_error_code();
    for (long i = 0; i < hoods; i++)
        if (count_lines(&e[i], &j))
            return kr_error_code();
    j.count = count;
    return kr_for(taps * (taps + 1) / 2, add_counted, &j);
}

/* ---- From equations to weights ---- */
static int enough(const kr_hood *n, const kr_array *block, long taps)
{
    long rows = 1, columns = taps * n->sources * block->n[KR_COIL];
    for (int d = 0; d < D; d++)
        rows *= block->n[d] - n->span[d] - (d == KR_X ? taps - 1 : 0) + 1;
    return rows >= columns ? 0 :
        kr_fail(KR_EREFUSED, "the calibration area of %ld x %ld x %ld gives %ld equations for the %ld unknowns of a kernel from %ld samples of %ld "
                "coils: measure more calibration lines, or take fewer --neighbours, a smaller --kernel or fewer coils (--compress)",
                block->n[0], block->n[1], block->n[2], rows, columns, taps * n->sources, block->n[KR_COIL]);
}

static int decided(int e)                                /* e of LAPACK: no memory is another matter */
{
    return e != KR_ENUMBER ? e
         : kr_fail(KR_ENUMBER, "the calibration area does not decide the kernel (its equations are singular): take a larger --lambda, "
                               "fewer --neighbours or fewer coils (--compress)");
}

/* X = (A^H A + ridge)^-1 A^H B, then in the order of kernels.h. */
static int solve(kr_cfloat **w, struct normal *e, long taps, double lambda)
{
    long inner = e->columns / taps;
    *w = kr_alloc((size_t)e->columns, (size_t)e->right * sizeof **w);
    if (!*w)
        return kr_error_code();
    if (decided(kr_la_solve_posdef(e->columns, e->G, kr_fit_ridge(e->G, e->columns, lambda), e->right, e->X)))
        return kr_error_code();
    for (long r = 0; r < e->right; r++)
        for (long d = 0; d < taps; d++)
            memcpy((void *)(*w + (d * e->right + r) * inner), e->X + r * e->columns + d * inner, (size_t)inner * sizeof *e->X);
    return 0;
}

struct weighing { kr_kernels *f; const kr_array *block; double lambda; struct normal *e; long *which; };

static int solve_one(void *self, long i)
{
    const struct weighing *j = self;
    return solve(&j->f->w[j->which[i]], &j->e[i], j->f->taps, j->lambda);
}

static int weigh_one(void *self, long i)
{
    const struct weighing *j = self;
    struct normal e;
    int r = normal_new(&e, &j->f->h->hood[i], j->f->taps, j->f->coils, j->f->floor[i]);
    if (!r)
        r = gather_normal(&e, j->block, j->f->taps);
    if (!r)
        r = solve(&j->f->w[i], &e, j->f->taps, j->lambda);
    normal_drop(&e);
    return r;
}

/* Hoods of one floor, in batches whose equations take BATCH numbers at most. */
static int weigh_lines(struct weighing *j, int axis, double floor)
{
    enum { BATCH = 1 << 24, MOST = 256 };
    struct normal e[MOST];
    long i = 0, hoods = j->f->h->count;
    int r = 0;
    while (!r && i < hoods) {
        long size = 0, count = 0;
        for (; !r && i < hoods && count < MOST && (!count || size < BATCH); i++)
            if (!(j->f->floor[i] < floor) && !(j->f->floor[i] > floor)) {
                j->which[count] = i;
                r = normal_new(&e[count], &j->f->h->hood[i], j->f->taps, j->f->coils, floor);
                size += e[count].columns * (e[count].columns + e[count].right);
                count++;
            }
        j->e = e;
        if (!r && count)
            r = line_normals(e, count, j->block, j->f->taps, axis);
        if (!r)
            r = kr_for(count, solve_one, j);
        for (long k = 0; k < count; k++)
            normal_drop(&e[k]);
    }
    return r;
}

static int weights_of(void *self, kr_cfloat *W, kr_cfloat *G, kr_cfloat *X)
{
    const struct normal *e = self;
    memcpy((void *)W, X, (size_t)(e->columns * e->right) * sizeof *W);
    return decided(kr_la_solve_posdef(e->columns, G, kr_fit_ridge(G, e->columns, e->floor), e->right, W));
}

/* Adds what each floor leaves in the middle target of one hood. */
static int add_errors(double errors[KR_FLOORS], const kr_kernels *f, const kr_hood *n, const kr_array *block, double lambda)
{
    unsigned axes = 0;
    for (int d = 0; d < D; d++)
        axes |= f->h->n[d] > 1 ? KR_ON(d) : 0;
    long low[D], span[D], columns = f->taps * n->sources * f->coils;
    struct normal ridge = { .n = n, .columns = columns, .right = f->coils, .floor = lambda };
    kr_fit_split s = { .known = columns, .right = f->coils, .targets = columns, .edge = kr_fit_edge(block, axes), .weights = weights_of, .self = &ridge };
    kr_auto long (*o)[D] = kr_alloc((size_t)(f->taps * n->sources + n->targets), sizeof *o);
    kr_auto kr_cfloat *A = NULL;
    if (!o || s.edge < 0)
        return kr_error_code();
    long sources = stencil(n, f->taps, o, low, span);
    memcpy(o[sources], n->target[n->targets / 2], sizeof *o);
    if (kr_fit_shifts(&A, &s.rows, block, o, sources + 1, low, span, 8 * columns > 1024 ? 8 * columns : 1024))
        return kr_error_code();
    s.A = A;
    return s.rows >= 2 * columns ? kr_fit_errors(errors, &s) : 0;     /* fewer: a half does not decide kernels */
}

struct wide { long box, hood; };

static int by_box(const void *a, const void *b)
{
    const struct wide *x = a, *y = b;
    return x->box != y->box ? (x->box > y->box) - (x->box < y->box) : (x->hood > y->hood) - (x->hood < y->hood);
}

/* Hoods from those in small boxes to those in large ones, in four groups of a quarter of the missing samples each: the hood in the middle of a group decides for
 * all of them. */
static int choose_floors(kr_kernels *f, const kr_array *block, double lambda)
{
    enum { GROUPS = 4 };
    const kr_hoods *h = f->h;
    kr_auto struct wide *order = kr_alloc((size_t)(h->count + 1), sizeof *order);
    long all = 0, before = -1, first = 0, seen = 0;
    if (!order)
        return kr_error_code();
    for (long i = 0; i < h->count; i++) {
        order[i] = (struct wide){ h->hood[i].span[0] * h->hood[i].span[1] * h->hood[i].span[2], i };
        all += h->hood[i].bases * h->hood[i].targets;
    }
    qsort(order, (size_t)h->count, sizeof *order, by_box);
    for (int g = 0; g < GROUPS && first < h->count; g++) {
        long middle = first, last = first;
        for (long s = seen; last < h->count && (last == first || GROUPS * seen < (g + 1) * all || g == GROUPS - 1); last++) {
            const kr_hood *n = &h->hood[order[last].hood];
            seen += n->bases * n->targets;
            if (2 * GROUPS * s < (2 * g + 1) * all)
                middle = last;
            s = seen;
        }
        double errors[KR_FLOORS] = { 0 }, floor = before >= 0 ? f->floor[order[before].hood] : KR_ALIKE;
        if (middle != before && add_errors(errors, f, &h->hood[order[middle].hood], block, lambda))
            return kr_error_code();
        if (errors[0] > 0)
            floor = kr_fit_floor(errors, SLACK);
        for (long i = first; i < last; i++)
            f->floor[order[i].hood] = floor;
        before = middle;
        first = last;
    }
    return 0;
}

static int weigh_all(struct weighing *j)
{
    kr_kernels *f = j->f;
    const kr_hoods *h = f->h;
    int e = 0;
    if (h->n[KR_X] == 1 && (h->n[KR_Y] == 1 || h->n[KR_Z] == 1) && j->block->n[KR_BATCH] == 1) {
        for (double last = -INFINITY, floor = -INFINITY; !e; last = floor) {
            floor = INFINITY;
            for (long i = 0; i < h->count; i++)
                floor = f->floor[i] > last ? fmin(floor, f->floor[i]) : floor;
            if (!isfinite(floor))
                break;
            e = weigh_lines(j, h->n[KR_Z] == 1 ? KR_Y : KR_Z, floor);
        }
        return e;
    }
    if (h->count >= 2 * kr_threads())
        return kr_for(h->count, weigh_one, j);
    for (long i = 0; !e && i < h->count; i++)            /* few hoods: the threads share each */
        e = weigh_one(j, i);
    return e;
}

kr_kernels *kr_kernels_new(const kr_hoods *h, const kr_array *block, long taps, double lambda, double floor)
{
    kr_assert(kr_array_contiguous(block));
    kr_kernels *f = kr_alloc_zero(1, sizeof *f);
    if (!f)
        return NULL;
    size_t count = (size_t)(h->count ? h->count : 1);
    *f = (kr_kernels){ h, block->n[KR_COIL], taps, kr_alloc(count, sizeof *f->floor), kr_alloc_zero(count, sizeof *f->w) };
    kr_auto long *which = kr_alloc(count, sizeof *which);
    struct weighing j = { .f = f, .block = block, .lambda = lambda, .which = which };
    int e = f->w && f->floor && which ? 0 : kr_error_code();
    for (long i = 0; !e && i < h->count; i++) {
        e = enough(&h->hood[i], block, taps);
        f->floor[i] = floor;
    }
    if (!e && !(floor < 0) && !(floor > 0))
        e = choose_floors(f, block, lambda);
    e = e ? e : weigh_all(&j);
    if (e)
        kr_kernels_unref(&f);
    return f;
}

void kr_kernels_unref(kr_kernels **p)
{
    kr_kernels *f = *p;
    *p = NULL;
    for (long i = 0; f && f->w && i < f->h->count; i++)
        kr_free(f->w[i]);
    if (f) {
        kr_free(f->floor);
        kr_free(f->w);
        kr_free(f);
    }
}

/* ---- Use ---- */
struct use {
    const kr_kernels *f;
    kr_cfloat *y;
    const kr_cfloat *m;
    long nx, wide, room, products;   /* wide: x at a time; room, products: numbers of scratch of one thread       */
    kr_cfloat *panels, *scratch, *phase;
};

/* [x][point][coil] of a few x, from [coil][point][x], and back. */
static void to_panel(kr_cfloat *p, const kr_cfloat *m, const struct use *j, long x0, long count)
{
    long points = j->f->h->measured, coils = j->f->coils;
    for (long c = 0; c < coils; c++)
        for (long i = 0; i < points; i++)
            for (long x = 0; x < count; x++)
                p[(x * points + i) * coils + c] = m[(c * points + i) * j->nx + x0 + x];
}

static void from_panel(kr_cfloat *y, const kr_cfloat *p, const struct use *j, long x0, long count)
{
    long points = j->f->h->samples, coils = j->f->coils;
    for (long c = 0; c < coils; c++)
        for (long i = 0; i < points; i++)
            for (long x = 0; x < count; x++)
                y[(c * points + i) * j->nx + x0 + x] = p[(x * points + i) * coils + c];
}

struct chunk { const struct use *j; const kr_hood *n; const kr_cfloat *w, *from; kr_cfloat *to; };

/* Up to CHUNK bases of one hood at one x: their sources side by side, all targets in one product. */
static int fill_chunk(void *self, long i)
{
    const struct chunk *q = self;
    const kr_hood *n = q->n;
    long coils = q->j->f->coils, inner = n->sources * coils, right = n->targets * coils, first = i * CHUNK;
    long count = n->bases - first < CHUNK ? n->bases - first : CHUNK;
    kr_cfloat *v = q->j->scratch + kr_worker() * q->j->products, *r = v + inner * CHUNK;
    for (long b = 0; b < count; b++)
        for (long s = 0; s < n->sources; s++)
            memcpy((void *)(v + b * inner + s * coils), q->from + n->at[(first + b) * n->sources + s] * coils, (size_t)coils * sizeof *v);
    kr_la_gemm('T', 'N', right, count, inner, 1, q->w, inner, v, inner, 0, r, right);
    for (long b = 0; b < count; b++)
        for (long t = 0; t < n->targets; t++) {
            int sample = n->fill[(first + b) * n->targets + t];
            if (sample >= 0)
                memcpy((void *)(q->to + sample * coils), r + b * right + t * coils, (size_t)coils * sizeof *r);
        }
    return 0;
}

static int fill_block(void *self, long block)
{
    const struct use *j = self;
    const kr_hoods *h = j->f->h;
    long x0 = block * j->wide, count = j->nx - x0 < j->wide ? j->nx - x0 : j->wide, coils = j->f->coils;
    kr_cfloat *from = j->panels + kr_worker() * j->room, *to = from + j->wide * h->measured * coils, *w = to + j->wide * h->samples * coils;
    to_panel(from, j->m, j, x0, count);
    memset((void *)to, 0, (size_t)(count * h->samples * coils) * sizeof *to);
    for (long x = 0; x < count; x++)
        for (long i = 0; i < h->measured; i++)
            memcpy((void *)(to + (x * h->samples + h->sample[i]) * coils), from + (x * h->measured + i) * coils, (size_t)coils * sizeof *to);
    int e = 0;
    for (long k = 0; k < h->count; k++) {
        const kr_hood *n = &h->hood[k];
        long entries = n->sources * n->targets * coils * coils;
        if (j->f->taps > 1)                                              /* w(x) = sum over d of w_d exp(-2 pi i d x / N) */
            kr_la_gemm('N', 'N', entries, count, j->f->taps, 1, j->f->w[k], entries, j->phase + x0 * j->f->taps, j->f->taps, 0, w, entries);
        for (long x = 0; x < count && !e; x++) {
            struct chunk q = { j, n, j->f->taps > 1 ? w + x * entries : j->f->w[k], from + x * h->measured * coils, to + x * h->samples * coils };
            e = kr_for((n->bases + CHUNK - 1) / CHUNK, fill_chunk, &q);
        }
    }
    from_panel(j->y, to, j, x0, count);
    return e;
}

int kr_kernels_apply(const kr_kernels *f, kr_cfloat *y, const kr_cfloat *m, long nx)
{
    const kr_hoods *h = f->h;
    struct use j = { .f = f, .y = y, .m = m, .nx = nx, .wide = nx < WIDE ? nx : WIDE };
    long entries = 0;
    for (long k = 0; k < h->count; k++) {
        const kr_hood *n = &h->hood[k];
        long e = n->sources * n->targets * f->coils * f->coils, p = (n->sources + n->targets) * f->coils * CHUNK;
        entries = e > entries ? e : entries;
        j.products = p > j.products ? p : j.products;
    }
    j.room = j.wide * ((h->measured + h->samples) * f->coils + (f->taps > 1 ? entries : 0));
    kr_auto kr_cfloat *panels = j.panels = kr_alloc((size_t)(kr_threads() * j.room), sizeof *panels);
    kr_auto kr_cfloat *scratch = j.scratch = kr_alloc((size_t)(kr_threads() * j.products + 1), sizeof *scratch);
    kr_auto kr_cfloat *phase = j.phase = kr_alloc((size_t)(nx * f->taps), sizeof *phase);
    if (!panels || !scratch || !phase)
        return kr_error_code();
    for (long x = 0; x < nx; x++)
        for (long d = 0; d < f->taps; d++) {
            double a = -2 * M_PI * (double)((d - f->taps / 2) * (x - nx / 2)) / (double)nx;
            phase[x * f->taps + d] = kr_c((float)cos(a), (float)sin(a));
        }
    long blocks = (nx + j.wide - 1) / j.wide;
    return blocks > 1 ? kr_for(blocks, fill_block, &j) : fill_block(&j, 0);     /* one block: its chunks are shared out */
}
