/* wcrr.c: x = argmin 1/2 |P F S x - y|^2 + lambda level R(x / level), R learned. */
#include "doubt.h"
#include "kray/io.h"
#include "regular.h"

typedef struct wcrr_opts { kr_regular solve; const char *residual, *uncertainty; } wcrr_opts;      /* `solve` first: its options tell where they lie in it */
#define IN(x) (offsetof(wcrr_opts, solve) + offsetof(kr_regular, x))
_Static_assert(offsetof(wcrr_opts, solve) == 0, "KR_REGULAR_SHARED counts from there");
static const kr_opt table[] = {
    { "lambda", 'l', KR_OPT_REAL, IN(lambda), "0", "X", "strength, relative to the image as that of wavelet is; 0: 0.43 times the noise of the scan (by a noise scan, or beside the object), from 0.004 to 0.03; 0.006 where neither tells, 0.008 of projections" },
    KR_REGULAR_SHARED("100", "1e-3"),
    { "level", 0, KR_OPT_REAL, IN(level), "0", "X", "answers of the filters above it count as edges, relative to the image; 0: lambda / 0.3, of projections lambda" },
    { "rounds", 0, KR_OPT_INT, IN(rounds), "0", "N", "solutions, each but the first with the answers of filters weighed by what a network makes of the one before; 1: none weighed; 0: 2 where the weights have such a network" },
    { "put-back", 0, KR_OPT_FLAG, IN(put_back), NULL, NULL, "on a grid: measured samples in the place of the image's, with their noise" },
    { "weights", 'w', KR_OPT_FILE, IN(weights), NULL, "FILE", "of kray train; default: those that come with Kray" },
    DOUBT_OPTS(wcrr_opts),
    KR_OPT_END };

/* doubt_image */
static int without_some(void *self, kr_array *z, const kr_scan *one, const kr_array *maps)
{
    kr_scoped(image) im = NULL;
    if (kr_regularised(&im, one, maps, self, "wcrr", NULL))
        return kr_error_code();
    kr_array_assign(z, im->data);
    return 0;
}

static int write(kr_array *a, const kr_scan *scan, const char *path)
{
    kr_scoped(image) im = kr_image_new(a, scan->geom, scan->meta);
    return !im || kr_image_write(im, path, NULL) ? kr_error_code() : 0;
}

static int save_residual(kr_image *im, const kr_scan *scan, const kr_array *coils, const wcrr_opts *o, const kr_trace *trace)
{
    double part;
    kr_scoped(array) residual = kr_array_new(KR_R32, kr_array_shape(im->data));
    if (!residual || doubt_residual_of(residual, &part, scan, coils, im->data))
        return kr_error_code();
    return doubt_residual_told(im, part, o->residual, trace) ? kr_error_code() : write(residual, scan, o->residual);
}

static int save_uncertainty(const kr_image *im, const kr_scan *scan, const kr_array *coils, const wcrr_opts *o, const kr_trace *trace)
{
    long parts = kr_parts(scan);
    kr_scoped(array) spread = kr_array_new(KR_R32, kr_array_shape(im->data));
    int e = spread ? 0 : kr_error_code();
    for (long i = 0; i < parts && !e; i++) {
        bool measured;
        kr_scoped(array) of = kr_part(spread, scan, i);
        kr_scoped(array) full = kr_part(im->data, scan, i);
        kr_scoped(array) packed = full ? kr_array_packed(full) : NULL;
        e = !of || !packed || kr_stopped(trace) ? kr_error_code() : kr_max_abs(packed) > 0 ? doubt_spread(of, &measured, packed, without_some, (void *)(uintptr_t)&o->solve, true, scan, coils, i) : 0;
        kr_progress(trace, "uncertainty", (double)(i + 1), (double)parts);
    }
    return e ? e : write(spread, scan, o->uncertainty);
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    const wcrr_opts *o = options;
    const char *beside = o->residual ? "residual" : o->uncertainty ? "uncertainty" : NULL;
    if (beside && (scan->rays || scan->traj))
        return kr_fail(KR_EREFUSED, "--%s is for scans of MRI on a grid", beside);
    if (beside && coils->n[KR_MAP] > 1)
        return kr_fail(KR_EREFUSED, "--%s is for one set of coil maps, not for %ld", beside, coils->n[KR_MAP]);
    if (o->uncertainty && scan->shape.n[KR_Z] > 1)
        return kr_fail(KR_EREFUSED, "--uncertainty is for slices, not yet for 3D scans");
    if (kr_regularised(out, scan, coils, &o->solve, "wcrr", trace))
        return kr_error_code();
    if ((o->residual && save_residual(*out, scan, coils, o, trace)) || (o->uncertainty && save_uncertainty(*out, scan, coils, o, trace))) {
        kr_image_unref(out);
        return kr_error_code();
    }
    return 0;
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const wcrr_opts *o = options;
    int e = kr_regular_plan(cost, scan, &o->solve, "wcrr");
    cost->seconds *= o->uncertainty ? 220 : 20;
    return e;
}

const kr_recon kr_recon_wcrr = { "wcrr", "a learned regulariser: weakly convex ridge functions",
    "Goujon, Neumayer and Unser, SIAM J Imaging Sci 17:91 (2024)", KR_NEEDS_COILS | KR_SOFT_MAPS | KR_TAKES_RAYS | KR_TAKES_SLABS | KR_TAKES_TRAJECTORY, table, sizeof(wcrr_opts), run, plan };
