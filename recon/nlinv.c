/* nlinv.c: image and coil maps at once, by the iteratively regularised Gauss-Newton method: no calibration area is needed.
 * Several sets of both (ENLIVE) explain what one cannot, as where an object is larger than the field of view. */
#include "kray/solve.h"
#include "model.h"
#include <math.h>
#include <string.h>

typedef struct opts { long steps, iterations, sets; double tolerance, start, fall; const char *towards; } opts;
static const kr_opt table[] = {
    { "steps", 'i', KR_OPT_INT, offsetof(opts, steps), "0", "N", "Gauss-Newton steps; more: sharper but noisier; 0: until a step reduces the data residual by less than 12 %, at most 14" },
    { "iterations", 0, KR_OPT_INT, offsetof(opts, iterations), "100", "N", "conjugate gradient iterations in each step, at most" },
    { "tolerance", 0, KR_OPT_REAL, offsetof(opts, tolerance), "0.1", "X", "a step ends once its residual is (X times its initial value)^2, with |y| = 100" },
    { "start", 0, KR_OPT_REAL, offsetof(opts, start), "1", "X", "regularisation of the first step" },
    { "fall", 0, KR_OPT_REAL, offsetof(opts, fall), "0.5", "X", "factor on the regularisation from step to step" },
    { "towards", 0, KR_OPT_CHOICE, offsetof(opts, towards), "zero", "zero|one", "image towards which the regularisation pulls" },
    { "sets", 0, KR_OPT_INT, offsetof(opts, sets), "1", "N", "sets of image and coil maps; 2 (ENLIVE) if the object is larger than the field of view" },
    KR_OPT_END };

/* A step that leaves more than this of the misfit has fitted noise. On two real brains (R = 2 to 8) and simulated ones (8 and 16 coils, SNR 10 to 200) 6 to 14 steps are
 * best, and this rule is within 0.4 dB of them; a noise scan is not needed. */
static const double SETTLED = 0.88;
enum { MOST_STEPS = 14 };
/* Noise and model leave at most 0.2 of a scan's samples on all of those, or about what the outermost of them hold. */
static const double UNEXPLAINED = 0.2, BEYOND_NOISE = 2;

struct parts { const kr_scan *scan; kr_array *image; const kr_joint_opts *o; const kr_trace *trace; int *taken; double *left, *all; };   /* left: |y - G(z)|; all: |y| */

static bool at_centre(const kr_array *mask, const kr_array *y)
{
    long at = 0;
    for (int d = 0; d < KR_AXES; d++)
        at += mask->n[d] > 1 ? y->n[d] / 2 * mask->step[d] : 0;
    return KR_R(mask)[at] != 0;
}

static int one(void *self, long i)
{
    const struct parts *j = self;
    kr_scoped(array) y = kr_part(j->scan->data, j->scan, i);
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, i) : NULL;
    kr_scoped(array) to = kr_part(j->image, j->scan, i);
    if (!y || (j->scan->mask && !mask) || !to)
        return kr_error_code();
    kr_scan part = { .shape = kr_array_shape(y), .data = y, .mask = mask, .in_image = j->scan->in_image };
    kr_scoped(array) P = kr_model_mask(&part);
    kr_scoped(array) image = P ? kr_array_like(to) : NULL;
    if (!image)
        return kr_error_code();
    if (!at_centre(P, y))
        return kr_fail(KR_EREFUSED, "nlinv finds coil maps in the middle of k-space, and there nothing was measured: take maps of another scan, "
                       "--coils FILE, with --method sense");
    kr_joint_opts o = *j->o;
    double misfit = 0;
    o.taken = &j->taken[i];
    o.misfit = &misfit;
    int e = kr_joint(image, NULL, y, P, kr_in_kspace(&part), &o, j->trace);
    if (!e)
        kr_array_assign(to, image);
    j->all[i] = kr_norm(y);
    j->left[i] = misfit * j->all[i];
    return e;
}

/* A model that does not fit leaves an image that looks like one. */
static int warn_of_misfit(const struct parts *j)
{
    double left = 0, all = 0, noise = 0;
    for (long i = 0; i < kr_parts(j->scan); i++) {
        left = hypot(left, j->left[i]);
        all = hypot(all, j->all[i]);
    }
    if (left > UNEXPLAINED * all && kr_noise_level(&noise, j->scan))
        return kr_error_code();
    if (left > UNEXPLAINED * all && left > BEYOND_NOISE * noise)
        kr_say(j->trace, KR_WARNING, "nlinv: image and coil maps leave %.0f %% of the data unexplained, and noise would leave %.0f %%: the image is not to be relied on; "
               "try more --steps, --sets 2, or another method", 100 * left / all, 100 * noise / all);
    return 0;
}

static int record(kr_image *image, const struct parts *j)
{
    int least = j->taken[0], most = j->taken[0];
    for (long i = 1; i < kr_parts(j->scan); i++) {
        least = j->taken[i] < least ? j->taken[i] : least;
        most = j->taken[i] > most ? j->taken[i] : most;
    }
    kr_say(j->trace, KR_DETAIL, least < most ? "nlinv: %d to %d steps" : "nlinv: %d steps", least, most);
    return kr_meta_set(image->meta, "kray_steps", least < most ? "%d to %d" : "%d", least, most);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    (void)coils;
    const opts *o = options;
    if (o->steps < 0 || o->steps > 100 || o->iterations < 1 || o->iterations > 10000 || !(o->start > 0) || !(o->fall > 0) || !(o->fall <= 1) || !isfinite(o->start))
        return kr_fail(KR_EREFUSED, "nlinv wants 1 to 100 steps (0: by the misfit), iterations >= 1, start > 0 and 0 < fall <= 1, not %ld, %ld, %g and %g", o->steps, o->iterations,
                       o->start, o->fall);
    if (o->sets < 1 || o->sets > 8 || !(o->tolerance >= 0) || !(o->tolerance < 1))
        return kr_fail(KR_EREFUSED, "nlinv wants 1 to 8 sets and 0 <= tolerance < 1, not %ld and %g", o->sets, o->tolerance);
    kr_scoped(array) image = kr_array_new(KR_C32, kr_shape_without(scan->shape, KR_ON(KR_COIL)));
    kr_auto int *taken = kr_alloc_zero((size_t)kr_parts(scan), sizeof *taken);
    kr_auto double *left = kr_alloc_zero((size_t)kr_parts(scan), 2 * sizeof *left);
    if (!image || !taken || !left)
        return kr_error_code();
    const kr_joint_opts how = { .sets = o->sets, .steps = o->steps ? (int)o->steps : MOST_STEPS, .settle = o->steps ? 0 : SETTLED, .iterations = (int)o->iterations, .tolerance = o->tolerance,
                                .start = o->start, .fall = o->fall, .image = !strcmp(o->towards, "one") };
    struct parts j = { scan, image, &how, trace, taken, left, left + kr_parts(scan) };
    int e = 0;
    if (kr_parts(scan) >= kr_threads())
        e = kr_for(kr_parts(scan), one, &j);
    else
        for (long i = 0; i < kr_parts(scan) && !e; i++) {
            kr_trace_unit room;
            j.trace = kr_trace_of(&room, trace, "slice", i, kr_parts(scan));
            e = one(&j, i);
        }
    j.trace = trace;
    if (e || (e = warn_of_misfit(&j)))
        return e;
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? record(*out, &j) : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    double n = (double)kr_count(scan->shape), parts = (double)kr_parts(scan), threads = kr_threads(), at_once = parts < threads ? 1 : threads;
    cost->bytes = at_once * kr_joint_bytes(kr_shape_only(scan->shape, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL)), o->sets)
                + 8 * n / (double)(scan->shape.n[KR_COIL] > 1 ? scan->shape.n[KR_COIL] : 1);
    double products = 0, a = 1;                                      /* as a falls, conjugate gradients take longer: 66 at 1/512 */
    for (long k = 0; k < (o->steps ? o->steps : 10); k++, a *= o->fall)
        products += 2 + fmin((double)o->iterations, 0.13 / a);
    cost->seconds = 8e-9 / threads * n * products * (double)o->sets;
    return 0;
}

const kr_recon kr_recon_nlinv = { "nlinv", "image and coil maps jointly by Gauss-Newton steps, without calibration (NLINV, ENLIVE)",
    "Uecker et al., Magn Reson Med 60:674 (2008); Holme et al., Sci Rep 9:3034 (2019)", KR_EACH_SLICE, table, sizeof(opts), run, plan };
