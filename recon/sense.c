/* sense.c: CG-SENSE: x = argmin |P F S x - y|^2 + lambda |x|^2, several sets of maps as in soft-SENSE; then a x, a = argmin |P F S a x - y|^2. */
#include "kray/dealt.h"
#include "kray/solve.h"
#include "model.h"
#include "sense_noise.h"
#include <math.h>

typedef struct opts { long iterations; double lambda, tolerance; bool rescale; } opts;
static const kr_opt table[] = {
    { "iterations", 'i', KR_OPT_INT, offsetof(opts, iterations), "30", "N", "conjugate gradient steps at most" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.01", "X", "Tikhonov regularisation, relative to the largest sum of squares of the coil maps" },
    { "tolerance", 0, KR_OPT_REAL, offsetof(opts, tolerance), "1e-4", "X", "stop when the residual of the normal equations is X times its initial value" },
    { "rescale", 0, KR_OPT_FLAG, offsetof(opts, rescale), "on", NULL, "multiply the image by the factor that brings its samples nearest to those measured: lambda dims it" },
    KR_OPT_END };

/* model_kind.normal: corners of k-space that no readout reaches; without it they fill with what maps and samples disagree in, a checkerboard. */
static const double EMPTY = 0.05;

struct job { const kr_scan *scan; const kr_array *coils; kr_array *image; const opts *o; const kr_trace *trace; double *factor; kr_units *units; };       /* factor: of each part */

/* (A^H W A + lambda u) x = A^H W y. Along a trajectory the weights let all of k-space count alike, so that lambda means what it means on a grid, and
 * few iterations are enough. Source: Pruessmann et al., Magn Reson Med 46:638 (2001). */
static int solve(kr_array **x, double *factor, model *m, const opts *o, const kr_trace *trace)
{
    kr_stop stop = { (int)o->iterations, o->tolerance };
    if (m->mask && kr_cg_sense_can(kr_array_shape(m->mask), m->axes))
        return kr_cg_sense(*x, m->part->data, m->coils, m->mask, m->axes, (float)o->lambda, stop, factor, trace);
    double yy;
    kr_array *maps, *by;
    kr_scoped(array) b = kr_array_like(*x);
    if (!b || m->kind->adjoint(m, b, &yy) || model_level(&maps, &by, m->coils, b, m->part))
        return kr_error_code();
    kr_array_unref(&m->coils);
    m->coils = maps;
    kr_scoped(array) f = by;
    kr_scoped(linop) N = f && model_times(&b, f) ? NULL : m->kind->normal(m, m->part->traj ? EMPTY : 0);
    if (!N)
        return kr_error_code();
    float lambda = (float)o->lambda * kr_sense_unit(m->coils);
    int k = kr_cg_normal(N, *x, b, lambda, stop, trace);
    *factor = kr_cg_nearest(kr_dot_re(*x, b), lambda, *x);
    return k >= 0 && f && model_times(x, f) ? kr_error_code() : k;
}

static int one(void *self, long i)
{
    const struct job *j = self;
    kr_scan part;
    model m = { 0 };
    int e = kr_part_open(&part, j->scan, kr_problem_axes, i);
    kr_scoped(array) maps = e ? NULL : kr_part(j->coils, j->scan, i);
    kr_scoped(array) z = maps ? kr_part(j->image, j->scan, i) : NULL;
    e = e ? e : z ? model_open(&m, &part, maps) : kr_error_code();
    kr_scoped(array) x = e ? NULL : kr_array_new(m.type, m.image);
    int k = e ? e : x ? solve(&x, &j->factor[i], &m, j->o, j->trace) : kr_error_code();
    model_close(&m);
    kr_part_close(&part);
    if (k < 0)
        return k;
    if (j->o->rescale)
        kr_scale(x, (float)j->factor[i]);
    kr_combine_sets(z, x);
    kr_units_done(j->units, i);
    return 0;
}

static int check(const opts *o)
{
    if (o->iterations < 1 || o->iterations > 100000 || !(o->lambda >= 0) || !isfinite(o->lambda) || !(o->tolerance >= 0))
        return kr_fail(KR_EREFUSED, "sense wants 1 to 100000 iterations, lambda >= 0 and tolerance >= 0, not %ld, %g and %g",
                       o->iterations, o->lambda, o->tolerance);
    return 0;
}

/* All parts; factor: what each was multiplied by. */
static int reconstruct(kr_array *image, double *factor, const kr_scan *scan, const kr_array *coils, const opts *o, const kr_trace *trace)
{
    long n = kr_parts(scan);
    struct job j = { scan, coils, image, o, trace, factor, kr_units_new(trace, "slice", n) };
    if (!j.units)
        return kr_error_code();
    bool wide = n >= 2 * kr_threads();                               /* many slices: one a thread; few: one after the other */
    int e = kr_deal(trace, n, wide, one, &j, (const kr_made[]){ kr_made_of(image), { factor, (size_t)n * sizeof *factor }, { NULL, 0 } });
    kr_units_unref(&j.units);
    return e;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    if (check(o))
        return kr_error_code();
    kr_scoped(array) image = kr_array_new(KR_C32, kr_scan_image_shape(scan));
    kr_auto double *factor = kr_alloc((size_t)kr_parts(scan), sizeof *factor);
    if (!image || !factor || kr_coils_check(coils, scan) || reconstruct(image, factor, scan, coils, o, trace))
        return kr_error_code();
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? 0 : kr_error_code();
}

/* What the image is multiplied by, its noise is, too. */
static int deviation(kr_image **sd, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const opts *o = options;
    int e = check(o) ? kr_error_code() : kr_sense_deviation(sd, scan, coils, o->lambda, trace);
    if (e || !o->rescale || !(o->lambda > 0))
        return e;
    kr_scoped(array) image = kr_array_new(KR_C32, kr_scan_image_shape(scan));
    kr_auto double *factor = kr_alloc((size_t)kr_parts(scan), sizeof *factor);
    e = image && factor ? reconstruct(image, factor, scan, coils, o, trace) : kr_error_code();
    for (long i = 0, n = kr_parts(scan); i < n && !e; i++) {
        kr_scoped(array) part = kr_part((*sd)->data, scan, i);
        if (part)
            kr_scale(part, (float)factor[i]);
        e = part ? 0 : kr_error_code();
    }
    if (e)
        kr_image_unref(sd);
    return e;
}

/* How many iterations a tolerance asks for. Found on undersampled real and simulated scans, R = 4 to 7. */
static double steps(const opts *o)
{
    double most = (double)o->iterations, lambda = o->lambda > 1e-6 ? o->lambda : 1e-6;
    double k = o->tolerance > 0 ? log(1 / fmin(o->tolerance, 0.5)) / log(1e4) * (10 + 11.5 * log10(fmax(0.1 / lambda, 1))) : most;
    return fmax(1, fmin(k, most));
}

/* Where the mask is not known yet: lines, or planes of a volume. */
static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const unsigned within = KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z);
    kr_shape shape = scan->shape, one = kr_shape_only(shape, within | KR_ON(KR_COIL)), P = kr_shape_only(shape, KR_ON(KR_Y) | KR_ON(KR_Z));
    double kept = 0.5, parts = (double)kr_parts(scan), pixels = (double)kr_count(kr_shape_only(shape, within));
    if (scan->mask) {
        kr_scan whole = { .shape = one, .mask = kr_part(scan->mask, scan, 0), .in_image = scan->in_image };
        kr_scoped(array) m = whole.mask ? kr_model_mask(&whole) : NULL;
        kr_array_unref(&whole.mask);
        if (!m)
            return kr_error_code();
        P = kr_array_shape(m);
        kept = kr_dot_re(m, m) / (double)kr_count(P);
    }
    double at_once = parts >= 2 * kr_threads() ? kr_threads() : 1, per = at_once > 1 ? (double)kr_threads() : 1;
    if (!kr_cg_sense_can(P, kr_in_kspace(scan))) {
        cost->bytes = 8 * pixels * (parts + at_once * 24);
        cost->seconds = 120e-9 * pixels * (double)(one.n[KR_COIL] ? one.n[KR_COIL] : 1) * steps(options) * parts;
        return 0;
    }
    double t = kr_cg_sense_seconds(one, P, (int)steps(options));
    if (t < 0)
        return kr_error_code();
    cost->bytes = 8 * pixels * (parts + at_once) + at_once / per * kr_cg_sense_bytes(one, P, kept);
    cost->seconds = t * parts;
    return 0;
}

const kr_recon kr_recon_sense = { "sense", "iterative SENSE by conjugate gradients, with Tikhonov regularisation",
    "Pruessmann et al., Magn Reson Med 46:638 (2001); soft-SENSE: Uecker et al., Magn Reson Med 71:990 (2014)",
    KR_NEEDS_COILS | KR_EACH_SLICE | KR_UNFOLDS | KR_TAKES_PRIOR | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, table, sizeof(opts), run, plan, .deviation = deviation };
