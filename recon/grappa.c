/* grappa.c: missing samples of every coil from measured ones around them, then coil images and their combination. */
#include "kray/fourier.h"
#include "kernels.h"
#include "planes.h"
#include <math.h>

typedef struct opts { long kernel, neighbours; double lambda, floor; } opts;
static const kr_opt table[] = {
    { "kernel", 'k', KR_OPT_INT, offsetof(opts, kernel), "0", "N", "kernel size along the readout; 0: 9 with up to 8 coils, else 5, smaller if the ACS is small" },
    { "neighbours", 0, KR_OPT_INT, offsetof(opts, neighbours), "0", "N", "acquired neighbouring lines in the kernel; 0: 4 in 1D, 8 in 2D undersampling, fewer if the ACS is small" },
    { "lambda", 'l', KR_OPT_REAL, offsetof(opts, lambda), "0.001", "X", "Tikhonov regularisation of the kernel fit, relative to the mean power of a calibration sample" },
    { "floor", 0, KR_OPT_REAL, offsetof(opts, floor), "0", "X", "an equation of the calibration counts by 1 / (its power + X times the mean power): small X lets all of k-space count alike, large X "
      "its strong middle most; 0: by cross-validation" },
    KR_OPT_END };

/* What all planes share: which samples are made from which, and how many taps a kernel has along X. */
struct shared { kr_hoods *hoods; long taps; };

static void drop(void **p)
{
    struct shared *s = *p;
    if (s)
        kr_hoods_unref(&s->hoods);
    kr_free_at(p);
}

static void drop_kernel(void **p)
{
    kr_kernels *k = *p;
    kr_kernels_unref(&k);
    *p = NULL;
}

/* Enough placements in the calibration block for every hood? In each direction three quarters of the kernel's own length at
 * least: far sources that few lines tell of do more harm than good. */
static bool fits(const kr_hoods *h, const kr_array *block, long taps)
{
    for (long i = 0; i < h->count; i++) {
        const kr_hood *n = &h->hood[i];
        long rows = 1;
        for (int d = 0; d < 3; d++) {
            long places = block->n[d] - n->span[d] - (d == KR_X ? taps - 1 : 0) + 1;
            if (n->span[d] > 1 && 4 * places < 3 * n->span[d])
                return false;
            rows *= places;
        }
        if (rows < n->sources * taps * block->n[KR_COIL])
            return false;
    }
    return true;
}

/* Which samples are made from which: as many sources as wanted, or as the calibration area permits. */
static int neighbours(struct shared *j, const kr_plane *p, const kr_array *block)
{
    const opts *o = p->opts;
    long most[3], missing = 0;
    for (int d = 0; d < 3; d++) {
        most[d] = p->axes & KR_ON(d) ? block->n[d] : 1;
        missing += p->n[d] > 1;
    }
    long least = missing < 2 ? 2 : 4, sources = o->neighbours ? o->neighbours : missing ? 4 * missing : 1;
    for (;; sources--) {
        if (!(j->hoods = kr_hoods_new(p->mask, p->n, sources, most)))
            return kr_error_code();
        if (o->neighbours || sources <= least || fits(j->hoods, block, j->taps))
            break;
        kr_hoods_unref(&j->hoods);
    }
    while (!o->kernel && j->taps > 3 && !fits(j->hoods, block, j->taps))
        j->taps -= 2;
    const kr_hoods *h = j->hoods;
    if (!h->missing && h->left)
        return kr_fail(KR_EREFUSED, "the calibration area of %ld x %ld x %ld is too small: no missing sample fits into it together with measured ones "
                       "on both sides; measure more calibration lines, or accelerate less", block->n[0], block->n[1], block->n[2]);
    if (h->left)
        kr_say(p->trace, KR_DETAIL, "%ld of %ld missing samples have no measured ones around them and stay 0", h->left, h->missing + h->left);
    long most_targets = 0;
    for (long i = 0; i < h->count; i++)
        most_targets = h->hood[i].targets > most_targets ? h->hood[i].targets : most_targets;
    kr_say(p->trace, KR_DETAIL, "grappa: %ld kinds of neighbourhoods, up to %ld missing samples from %ld lines x %ld samples", h->count,
           most_targets, sources, j->taps);
    return 0;
}

static int set_up(void **shared, const kr_plane *p, const kr_array *block)
{
    const opts *o = p->opts;
    struct shared *s = *shared = kr_alloc_zero(1, sizeof *s);
    long room = block->n[KR_X], taps = o->kernel ? o->kernel : p->coils <= 8 ? 9 : 5;
    if (!s)
        return kr_error_code();
    s->taps = p->axes & KR_ON(KR_X) ? 1 : taps > room ? room - !(room & 1) : taps;
    return neighbours(s, p, block);
}

static int calibrate(void **kernel, const kr_plane *p, const void *shared, const kr_array *block)
{
    const struct shared *s = shared;
    const opts *o = p->opts;
    *kernel = kr_kernels_new(s->hoods, block, s->taps, o->lambda, o->floor > 0 ? o->floor : KR_CHOSEN);
    return *kernel ? 0 : kr_error_code();
}

static void chosen(const void *kernel, double range[2])
{
    const kr_kernels *k = kernel;
    for (long i = 0; i < k->h->count; i++) {
        range[0] = fmin(range[0], k->floor[i]);
        range[1] = fmax(range[1], k->floor[i]);
    }
}

/* m [coil][measured][x] of one plane, in image space along X. */
static int gather(kr_cfloat *m, const kr_plane *p, const kr_hoods *h, const kr_array *y, long nx)
{
    long coils = y->n[KR_COIL];
    for (long c = 0; c < coils; c++)
        for (long i = 0; i < h->measured; i++) {
            long e = h->sample[i], at = c * y->step[KR_COIL];
            for (int d = 0; d < 3; d++, e /= h->n[d - 1])
                at += e % h->n[d] * y->step[d];
            for (long x = 0; x < nx; x++)
                m[(c * h->measured + i) * nx + x] = KR_C(y)[at + x * y->step[KR_X]];
        }
    if (nx == 1 || p->in_image)
        return 0;
    kr_fft *f = kr_fft_new(KR_SHAPE([KR_X] = nx, [KR_Y] = h->measured * coils), KR_ON(KR_X), KR_CENTRED);
    if (!f)
        return kr_error_code();
    kr_fft_inverse(f, m);
    kr_fft_unref(&f);
    return 0;
}

static int fill(const kr_plane *p, const void *shared, const void *kernel, kr_array *to, const kr_array *from)
{
    const kr_hoods *h = ((const struct shared *)shared)->hoods;
    long nx = p->axes & KR_ON(KR_X) ? 1 : from->n[KR_X];
    kr_auto kr_cfloat *m = kr_alloc((size_t)(nx * h->measured), (size_t)p->coils * sizeof *m);
    return m && !gather(m, p, h, from, nx) ? kr_kernels_apply(kernel, KR_C(to), m, nx) : kr_error_code();
}

static int spread(const kr_plane *p, const void *shared, const void *kernel, kr_array *variance, const kr_array *S)
{
    (void)shared;
    return kr_kernels_noise(kernel, KR_R(variance), KR_C(S), p->axes & KR_ON(KR_X) ? 1 : S->n[KR_X]);
}

static int unmix(void **u, const kr_plane *p, const void *kernel, const kr_array *S, long frames)
{
    kr_unmix *made = NULL;
    int e = kr_unmix_new(&made, kernel, KR_C(S), p->axes & KR_ON(KR_X) ? 1 : S->n[KR_X], frames);
    *u = made;
    return e;
}

static int apply(const kr_plane *p, const void *shared, const void *u, kr_array *z, const kr_array *from)
{
    const kr_hoods *h = ((const struct shared *)shared)->hoods;
    long nx = p->axes & KR_ON(KR_X) ? 1 : from->n[KR_X];
    kr_auto kr_cfloat *m = kr_alloc((size_t)(nx * h->measured), (size_t)p->coils * sizeof *m);
    return m && !gather(m, p, h, from, nx) ? kr_unmix_apply(u, KR_C(z), m) : kr_error_code();
}

static void drop_unmix(void **p)
{
    kr_unmix *u = *p;
    kr_unmix_unref(&u);
    *p = NULL;
}

static const kr_filling grappa = { set_up, calibrate, chosen, fill, spread, drop, drop_kernel, unmix, apply, drop_unmix };

static int check(const opts *o)
{
    if (o->kernel < 0 || o->kernel > 31 || (o->kernel && !(o->kernel & 1)) || o->neighbours < 0 || o->neighbours > 32 || !(o->lambda >= 0)
        || !isfinite(o->lambda) || !(o->floor >= 0) || !isfinite(o->floor))
        return kr_fail(KR_EREFUSED, "grappa wants an odd --kernel of 1 to 31, 0 to 32 --neighbours, --lambda >= 0 and --floor >= 0, not %ld, %ld, %g and %g",
                       o->kernel, o->neighbours, o->lambda, o->floor);
    return 0;
}

static int run(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return check(options) ? kr_error_code() : kr_fill_planes(out, scan, coils, &grappa, options, trace);
}

static int again(kr_image **out, const kr_scan *scan, const kr_array *coils, const void *options, void **left, const kr_trace *trace)
{
    return check(options) ? kr_error_code() : kr_fill_planes_again(out, scan, coils, &grappa, options, sizeof(opts), left, trace);
}

static int deviation(kr_image **sd, const kr_scan *scan, const kr_array *coils, const void *options, const kr_trace *trace)
{
    return check(options) ? kr_error_code() : kr_fill_planes_noise(sd, scan, coils, &grappa, options, trace);
}

static int plan(kr_cost *cost, const kr_scan *scan, const void *options)
{
    const opts *o = options;
    double n = (double)kr_count(scan->shape), coils = scan->shape.n[KR_COIL] > 1 ? (double)scan->shape.n[KR_COIL] : 1;
    double unknowns = coils * (double)(o->kernel > 0 ? o->kernel : coils > 8 ? 5 : 9) * (double)(o->neighbours > 0 ? o->neighbours : 4);
    cost->bytes = 8 * n + 8 * n / coils + 8 * 16 * unknowns * unknowns;      /* normal equations of some ten kinds of neighbourhoods, with right sides */
    cost->seconds = n * 5e-9 * coils;
    return 0;
}

const kr_recon kr_recon_grappa = { "grappa", "GRAPPA: missing samples from acquired neighbours of all coils, by kernels fitted to the ACS",
    "Griswold et al., Magn Reson Med 47:1202 (2002); 2D and CAIPI patterns: Breuer et al., Magn Reson Med 55:549 (2006)",
    KR_MAY_USE_COILS | KR_UNFOLDS, table, sizeof(opts), run, plan, NULL, NULL, again, kr_fill_planes_forget,
    .deviation = deviation };
