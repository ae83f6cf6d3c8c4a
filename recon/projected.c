/* projected.c: slices of X-ray projections one after the other, and subsets of views. */
#include "projected.h"
#include <math.h>
#include <string.h>

static int misfit_of(double *rr, const model *m, const kr_array *x)
{
    kr_scoped(array) r = kr_array_like(m->part->data);
    if (!r)
        return kr_error_code();
    kr_apply(m->A, r, x);
    kr_axpy(r, -1, m->part->data);
    *rr += kr_dot_re(r, r);
    return 0;
}

static int one(kr_array *image, const kr_scan *scan, long i, projected_solve *solve, double sums[2], enum projected_kind kind, const void *opts, const kr_trace *trace)
{
    kr_scan part = { 0 };
    model m = { 0 };
    kr_scoped(array) to = kr_part(image, scan, i);
    int e = to ? kr_part_open(&part, scan, kr_problem_axes, i) : kr_error_code();
    e = e ? e : model_open_lying(&m, &part);
    bool own = e || m.turn >= 0 || !kr_array_contiguous(to) || !kr_shape_equal(kr_array_shape(to), m.image);      /* else x is the image itself */
    kr_scoped(array) x = e ? NULL : own ? kr_array_new(KR_R32, m.image) : kr_array_ref(to);
    e = e ? e : x ? solve(x, &m, opts, trace) : kr_error_code();
    if (!e && own) {
        kr_scoped(array) upright = model_upright(&m, x);
        if (upright)
            kr_array_assign(to, upright);
        else
            e = kr_error_code();
    }
    sums[1] += e ? 0 : kr_dot_re(part.data, part.data);
    e = e || kind != PROJECTED_FITTED ? e : misfit_of(&sums[0], &m, x);
    model_close(&m);
    kr_part_close(&part);
    return e;
}

int projected_image(kr_image **out, const kr_scan *scan, projected_solve *solve, enum projected_kind kind, const void *opts, const kr_trace *trace)
{
    *out = NULL;
    if (!scan->rays)
        return kr_fail(KR_EREFUSED, "this method takes X-ray projections, and these are data of MRI");
    kr_scoped(array) image = kr_array_new(KR_R32, kr_scan_image_shape(scan));
    int e = image ? 0 : kr_error_code();
    double sums[2] = { 0, 0 };
    long parts = kr_parts(scan);
    for (long i = 0; i < parts && !e; i++) {
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, parts);
        e = kr_stopped(t) ? kr_error_code() : one(image, scan, i, solve, sums, kind, opts, t);
    }
    if (e)
        return e;
    *out = kr_image_new(image, scan->geom, scan->meta);
    if (*out && kind == PROJECTED_FITTED && sums[1] > 0)
        e = kr_meta_set((*out)->meta, "kray_misfit", "%.6g", sqrt(sums[0] / sums[1]));
    return *out ? e : kr_error_code();
}

enum { AT_ONCE = 16 };                    /* slices that gridding does at a time                       */

/* Slices from..from + n - 1. */
static int filtered(kr_array *image, const kr_scan *scan, long from, long n, const kr_fbp_opts *how, const kr_trace *trace)
{
    kr_shape shape = KR_SHAPE([KR_X] = scan->grid.n[0], [KR_Y] = scan->grid.n[1], [KR_Z] = scan->grid.n[2]);
    kr_scan part[AT_ONCE] = { 0 };
    kr_array *to[AT_ONCE] = { 0 }, *own[AT_ONCE] = { 0 };
    float *x[AT_ONCE];
    const float *y[AT_ONCE];
    int e = 0;
    for (long i = 0; i < n && !e; i++) {
        to[i] = kr_part(image, scan, from + i);
        e = to[i] ? kr_part_open(&part[i], scan, kr_problem_axes, from + i) : kr_error_code();
        if (e)
            break;
        if (!kr_array_contiguous(to[i]) || !kr_shape_equal(kr_array_shape(to[i]), shape))      /* else it is written to as it lies */
            e = (own[i] = kr_array_new(KR_R32, shape)) ? 0 : kr_error_code();
        x[i] = e ? NULL : KR_R(own[i] ? own[i] : to[i]);
        y[i] = KR_R(part[i].data);
    }
    e = e ? e : kr_fbp_slices(x, y, n, scan->rays, &scan->grid, how, trace);
    for (long i = 0; i < n; i++) {
        if (own[i] && !e)
            kr_array_assign(to[i], own[i]);
        kr_array_unref(&own[i]);
        kr_array_unref(&to[i]);
        kr_part_close(&part[i]);
    }
    return e;
}

/* Splines keep what is finest: the object's edges where views are dense, else the streaks between views. Of simulated heads and thoraces of 256 columns without noise they are better from 180
 * views of half a turn on. */
static int are_dense(bool *yes, const kr_rays *r)
{
    kr_arc a;
    *yes = false;
    if (r->views < 2)
        return 0;
    int e = kr_arc_of(&a, r, NULL);
    *yes = !e && a.usual > 0 && M_PI / a.usual >= 0.9 * (double)r->columns;
    return e;
}

int projected_filtered(kr_image **out, const kr_scan *scan, const projected_window *o, double gridded, const kr_trace *trace)
{
    kr_fbp_opts how = { .window = (enum kr_fbp_window)kr_fbp_window_named(o->window), .gridded = gridded };
    *out = NULL;
    if (!scan->rays)
        return kr_fail(KR_EREFUSED, "this method takes X-ray projections, and these are data of MRI");
    if (o->between && !strcmp(o->between, "spline") && scan->rays && (scan->grid.n[2] > 1 || scan->rays->rows > 1))
        return kr_fail(KR_EREFUSED, "--between spline is for slices of parallel beams and fans; volumes go by straight lines");
    if (!o->between || !strcmp(o->between, "auto")) {
        if (scan->rays && are_dense(&how.spline, scan->rays))
            return kr_error_code();
    } else
        how.spline = !strcmp(o->between, "spline");
    kr_scoped(array) image = kr_array_new(KR_R32, kr_scan_image_shape(scan));
    int e = image ? 0 : kr_error_code();
    long parts = kr_parts(scan), n;
    for (long i = 0; i < parts && !e; i += n) {
        n = gridded > 0 ? (parts - i < AT_ONCE ? parts - i : AT_ONCE) : 1;
        kr_trace_unit room;
        const kr_trace *t = kr_trace_of(&room, trace, "slice", i, parts);
        if (t && i)                                                  /* of the same rays the same is to be said */
            room.trace.say = NULL;
        e = kr_stopped(t) ? kr_error_code() : filtered(image, scan, i, n, &how, t);
    }
    *out = e ? NULL : kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

static int iterations_make_sense(long iterations)
{
    return iterations < 1 || iterations > 1000000 ? kr_fail(KR_EREFUSED, "%ld iterations; 1 to 1000000 are possible", iterations) : 0;
}

int projected_iterate(kr_image **out, const kr_scan *scan, projected_solve *solve, long iterations, const void *opts, const kr_trace *trace)
{
    return iterations_make_sense(iterations) ? kr_error_code() : projected_image(out, scan, solve, PROJECTED_FITTED, opts, trace);
}

int projected_plan(kr_cost *cost, const kr_scan *scan, double iterations, double images, double samples)
{
    double views = (double)scan->shape.n[KR_VIEW], x = (double)scan->grid.n[0] * (double)scan->grid.n[1] * (double)scan->grid.n[2], parts = (double)kr_parts(scan);
    double y = (double)kr_count(scan->shape) / parts;
    cost->bytes = 4 * (x * (parts - 1) + x * images + y * samples) + fmin(4 * y, 12 << 20);      /* the last: what a projector holds of them; measured */
    cost->seconds = parts * iterations * x * views * 1e-9;
    return 0;
}

static int subsets_make_sense(long count, long views)
{
    return count < 1 || count > views ? kr_fail(KR_EREFUSED, "%ld subsets of %ld views; 1 to %ld are possible", count, views, views) : 0;
}

int projected_split(projected_subsets *p, const model *m, long count)
{
    const kr_rays *r = m->rays;
    *p = (projected_subsets){ 0 };
    if (subsets_make_sense(count, r->views))
        return kr_error_code();
    kr_auto kr_linop **A = kr_alloc_zero((size_t)count, sizeof *A);
    if (!A || !(p->s = kr_alloc_zero((size_t)count, sizeof *p->s)) || (count > 1 && kr_op_rays_split(A, (int)count, r, &m->grid, m->part->ray_model)))
        return kr_error_code();
    p->count = (int)count;
    for (long i = 0; i < count; i++)
        p->s[i] = (kr_subset){ count > 1 ? A[i] : kr_linop_ref(m->A), NULL };
    for (long i = 0; i < count; i++) {
        kr_subset *s = &p->s[i];
        s->y = count > 1 ? kr_array_new(KR_R32, kr_linop_codomain(s->A)) : kr_array_ref(m->part->data);
        if (!s->y)
            return kr_error_code();
        for (long v = i; count > 1 && v < r->views; v += count) {
            kr_scoped(array) from = kr_array_at(m->part->data, KR_VIEW, v);
            kr_scoped(array) to = kr_array_at(s->y, KR_VIEW, v / count);
            if (!from || !to)
                return kr_error_code();
            kr_array_assign(to, from);
        }
    }
    return 0;
}

/* ---- Methods by ordered subsets ---- */
struct by_subsets { projected_update *update; const projected_opts *o; };

static int solve_by_subsets(kr_array *x, const model *m, const void *options, const kr_trace *trace)
{
    const struct by_subsets *b = options;
    projected_subsets p;
    int e = projected_split(&p, m, b->o->subsets ? b->o->subsets : m->part->rays->views);
    e = e ? e : b->update(x, &p, b->o, trace);
    projected_close(&p);
    return e;
}

int projected_by_subsets(kr_image **out, const kr_scan *scan, projected_update *update, const projected_opts *o, const kr_trace *trace)
{
    return projected_iterate(out, scan, solve_by_subsets, o->iterations, &(struct by_subsets){ update, o }, trace);
}

int projected_subsets_plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const projected_opts *o = options;
    double n = o->subsets ? (double)o->subsets : (double)scan->shape.n[KR_VIEW];
    return projected_plan(cost, scan, (double)o->iterations, 2 + (n > 32 ? 1 : n), n > 1 ? 2 : 1);      /* sums of weights: as kr_sirt keeps them; views of each subset side by side */
}

static int simultaneous(kr_array *x, const projected_subsets *p, const projected_opts *o, const kr_trace *trace)
{
    return kr_sirt(p->s, p->count, x, (int)o->iterations, o->relax, o->positive, trace);
}

static int relax_makes_sense(double relax)
{
    return relax > 0 && relax < 2 ? 0 : kr_fail(KR_EREFUSED, "--relax %g: above 0 and below 2 is wanted", relax);
}

int projected_sirt(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    const projected_opts *o = options;
    return relax_makes_sense(o->relax) ? kr_error_code() : projected_by_subsets(out, scan, simultaneous, o, trace);
}

void projected_close(projected_subsets *p)
{
    for (int i = 0; i < p->count; i++) {
        kr_linop_unref(&p->s[i].A);
        kr_array_unref(&p->s[i].y);
    }
    kr_free(p->s);
    *p = (projected_subsets){ 0 };
}
