/* nlinv.c: image and coil maps at once, by the iteratively regularised Gauss-Newton method: no calibration area is needed.
 * Several sets of both (ENLIVE) explain what one cannot, as where an object is larger than the field of view. */
#include "kray/dealt.h"
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

/* Samples at the rim of k-space hold noise alone, about. */
static const double RIM = .95;

struct parts { const kr_scan *scan; kr_array *image; const kr_joint_opts *o; const kr_trace *trace; int *taken; double *left, *all, *noise; kr_units *units; };   /* left: |y - G(z)|; all: |y|; noise: of it, along trajectories */

static bool at_centre(const kr_array *mask, const kr_array *y)
{
    long at = 0;
    for (int d = 0; d < KR_AXES; d++)
        at += mask->n[d] > 1 ? y->n[d] / 2 * mask->step[d] : 0;
    return KR_R(mask)[at] != 0;
}

/* |y| with weights of one part, how much of it noise would make, and whether samples come near the centre. */
static bool measure(double *all, double *noise, const kr_scan *p)
{
    long points = p->data->n[KR_SAMPLE] * p->data->n[KR_VIEW], coils = p->data->n[KR_COIL], count = 0;
    double most = 0, least = HUGE_VAL, sum = 0, rim = 0, weight = 0;
    for (int pass = 0; pass < 2; pass++)
        for (long i = 0; i < points; i++) {
            double r = 0, w = (double)KR_R(p->density)[i];
            for (long d = 0; d < p->traj->n[KR_CHAN]; d++)
                r = hypot(r, (double)KR_R(p->traj)[d * points + i]);
            most = fmax(most, r);
            least = fmin(least, r);
            for (long c = 0; pass && c < coils; c++) {
                double yy = (double)kr_cabs2(KR_C(p->data)[c * points + i]);
                sum += w * yy;
                weight += w;
                rim += r >= RIM * most ? yy : 0;
                count += r >= RIM * most;
            }
        }
    *all = sqrt(sum);
    *noise = sqrt(weight * rim / (double)(count ? count : 1));
    return least <= 1;
}

static int along(const struct parts *j, long i)
{
    kr_scan part;
    double misfit = 0;
    int e = kr_part_open(&part, j->scan, kr_problem_axes, i);
    kr_scoped(array) to = e ? NULL : kr_part(j->image, j->scan, i);
    kr_scoped(array) image = to ? kr_array_like(to) : NULL;
    kr_scoped(array) k = image ? kr_array_packed(part.traj) : NULL;
    if (!e && !k)
        e = kr_error_code();
    if (!e) {
        kr_scan packed = part;
        packed.traj = k;
        if (!measure(&j->all[i], &j->noise[i], &packed))
            e = kr_fail(KR_EREFUSED, "nlinv finds coil maps in the middle of k-space, and no readout comes near it: take maps of another scan, --coils FILE, with --method sense");
    }
    kr_joint_opts o = *j->o;
    o.taken = &j->taken[i];
    o.misfit = &misfit;
    e = e ? e : kr_joint_along(image, NULL, part.data, k, part.density, &o, j->trace);
    if (!e)
        kr_array_assign(to, image);
    j->left[i] = misfit * j->all[i];
    kr_part_close(&part);
    return e;
}

static int one(void *self, long i)
{
    const struct parts *j = self;
    if (j->scan->traj)
        return along(j, i);
    kr_scoped(array) y = kr_part(j->scan->data, j->scan, i);
    kr_scoped(array) mask = j->scan->mask ? kr_part(j->scan->mask, j->scan, i) : NULL;
    kr_scoped(array) to = kr_part(j->image, j->scan, i);
    if (!y || (j->scan->mask && !mask) || !to)
        return kr_error_code();
    if (!(kr_max_abs(y) > 0) && kr_parts(j->scan) > 1)               /* an empty slice or frame: its image is */
        return 0;
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

static int one_told(void *self, long i)
{
    struct parts j = *(const struct parts *)self;
    j.trace = kr_units_trace(j.units, i);
    int e = one(&j, i);
    kr_units_done(j.units, i);
    return e;
}

/* A model that does not fit leaves an image that looks like one. */
static int warn_of_misfit(const struct parts *j)
{
    double left = 0, all = 0, noise = 0;
    for (long i = 0; i < kr_parts(j->scan); i++) {
        left = hypot(left, j->left[i]);
        all = hypot(all, j->all[i]);
        noise = hypot(noise, j->noise[i]);
    }
    if (left > UNEXPLAINED * all && !j->scan->traj && kr_noise_level(&noise, j->scan))
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
    if (scan->field)
        return kr_fail(KR_EREFUSED, "nlinv takes no field map; sense, adjoint and the regularised methods do");
    kr_scoped(array) image = kr_array_new(KR_C32, kr_scan_image_shape(scan));
    kr_auto int *taken = kr_alloc_zero((size_t)kr_parts(scan), sizeof *taken);
    kr_auto double *left = kr_alloc_zero((size_t)kr_parts(scan), 3 * sizeof *left);
    if (!image || !taken || !left)
        return kr_error_code();
    const kr_joint_opts how = { .sets = o->sets, .steps = o->steps ? (int)o->steps : MOST_STEPS, .settle = o->steps ? 0 : SETTLED, .iterations = (int)o->iterations, .tolerance = o->tolerance,
                                .start = o->start, .fall = o->fall, .image = !strcmp(o->towards, "one") };
    struct parts j = { scan, image, &how, trace, taken, left, left + kr_parts(scan), left + 2 * kr_parts(scan) };
    long n = kr_parts(scan);
    const kr_made made[] = { kr_made_of(image), { taken, (size_t)n * sizeof *taken }, { left, 3 * (size_t)n * sizeof *left }, { NULL, 0 } };
    if (!(j.units = kr_units_new(trace, "slice", n)))
        return kr_error_code();
    int e = kr_deal(trace, n, n >= kr_threads(), one_told, &j, made);
    kr_units_unref(&j.units);
    if (e || warn_of_misfit(&j))
        return kr_error_code();
    *out = kr_image_new(image, scan->geom, scan->meta);
    return *out ? record(*out, &j) : kr_error_code();
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    kr_shape shape = kr_scan_image_shape(scan);
    shape.n[KR_COIL] = scan->shape.n[KR_COIL];
    double n = (double)kr_count(shape), parts = (double)kr_parts(scan), threads = kr_threads(), at_once = parts < threads ? 1 : threads;
    cost->bytes = at_once * kr_joint_bytes(kr_shape_only(shape, KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z) | KR_ON(KR_COIL)), o->sets)
                + 8 * n / (double)(scan->shape.n[KR_COIL] > 1 ? scan->shape.n[KR_COIL] : 1);
    double products = 0, a = 1;                                      /* as a falls, conjugate gradients take longer: 66 at 1/512 */
    for (long k = 0; k < (o->steps ? o->steps : 10); k++, a *= o->fall)
        products += 2 + fmin((double)o->iterations, 0.13 / a);
    cost->seconds = 8e-9 / threads * n * products * (double)o->sets;
    return 0;
}

const kr_recon kr_recon_nlinv = { "nlinv", "image and coil maps jointly by Gauss-Newton steps, without calibration (NLINV, ENLIVE)",
    "Uecker et al., Magn Reson Med 60:674 (2008); Holme et al., Sci Rep 9:3034 (2019)", KR_EACH_SLICE | KR_TAKES_TRAJECTORY, table, sizeof(opts), run, plan };
